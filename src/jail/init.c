/* SPDX-License-Identifier: MIT
 * Purpose: pid 1 of a jail (init.h).
 * Process: a clone of the jailer in new user, pid, mount, net, ipc, uts and cgroup
 *   namespaces; WORKER_UID inside, with all capabilities over these namespaces until
 *   INIT_SEAL, none afterwards.
 * Trusts: the engine on its control socket. Nothing of the program's is read but numbers
 * of /proc.
 * Invariants: it ends when the control socket does, and the kernel then ends everything
 *   in the jail; it is not dumpable while a program runs, so that no program of the same
 *   uid reaches its memory or descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/vfs.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "jail/caps.h"
#include "jail/files.h"
#include "jail/init.h"
#include "jail/supervise.h"

#define ALONE_US 100000u   /* for the others of the jail to be gone */
#define COLLECT_US 300000u /* and for a look at what they left */
#define REST_US 1000000u   /* between two looks at a session that does nothing */
#define LIVE_US 50000u     /* for a look while programs go on, and limits are kept */

struct init {
	const struct root *root;
	int control_fd, signal_fd, proc_fd;
	struct root_view view;
	bool supervising;
	struct supervise supervise;
	struct files_given given;
	uint32_t sample_ms; /* 0: no program of a session runs */
	uint64_t rest_us, rest_cpu_us, rest_at_us;
	uint64_t next_tick_us, next_sample_us; /* CLOCK_MONOTONIC, 0: none */
};

static uint64_t now_us(void)
{
	return files_now_us();
}

static void report(const struct init *init, const struct init_report *report)
{
	/* An engine that does not listen any more ends us by closing its end; nothing
	 * else to do here. */
	(void)wire_send(init->control_fd, report, sizeof(*report), NULL, 0);
}

static void report_kind(const struct init *init, uint32_t kind, uint32_t serial,
			const struct sbx_err *err)
{
	struct init_report r = { .kind = kind, .serial = serial };

	if (err)
		r.err = *err;
	report(init, &r);
}

static void report_usage(const struct init *init, uint32_t kind)
{
	const struct supervise_usage *u = &init->supervise.usage;
	struct init_report r = {
		.kind = kind,
		.memory_bytes = kind == INIT_EXCEEDED ? u->memory_peak_bytes
						      : u->memory_bytes,
		.cpu_us = u->cpu_us,
		.tmpfs_bytes = u->tmpfs_bytes,
		.processes = u->processes,
		.processes_peak = u->processes_peak,
	};

	report(init, &r);
}

static int become_worker(struct sbx_err *err)
{
	if (setresgid(WORKER_UID, WORKER_UID, WORKER_UID) < 0)
		return err_set_plain(err, SBX_AT_JAIL, errno, "setresgid of the init");
	/* EPERM where the starter is an ordinary user: setgroups(2) is denied in such a
	 * user namespace. */
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return err_set_plain(err, SBX_AT_JAIL, errno, "setgroups of the init");
	if (setresuid(WORKER_UID, WORKER_UID, WORKER_UID) < 0)
		return err_set_plain(err, SBX_AT_JAIL, errno, "setresuid of the init");
	/* After the change of uid, which clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_set_plain(err, SBX_AT_JAIL, errno, "PR_SET_PDEATHSIG");
	/* Cleared too: setns(2) by pidfd asks for the right to trace us, which the
	 * zygote, as owner of our user namespace, has only of a dumpable process. Until
	 * the seal nobody else is here to use it. */
	if (prctl(PR_SET_DUMPABLE, 1) < 0)
		return err_set_plain(err, SBX_AT_JAIL, errno, "PR_SET_DUMPABLE");
	return 0;
}

static int build(struct init *init, const struct init_start *start, struct sbx_err *err)
{
	const struct root_private priv = {
		.bytes = start->request->disk_bytes,
		.inodes = start->request->disk_inodes,
		.proc = start->request->walls & WALL_PROC,
	};
	int r;

	r = become_worker(err);
	if (r < 0)
		return r;
	if (setsid() < 0 && errno != EPERM)
		return err_set_plain(err, SBX_AT_JAIL, errno, "setsid");
	r = root_enter(start->root, &priv, &init->view, err);
	if (r < 0)
		return r;
	if ((start->request->walls & WALL_UTS) &&
	    (sethostname("sandbox", 7) < 0 || setdomainname("(none)", 6) < 0))
		return err_set_plain(err, SBX_AT_JAIL, errno, "sethostname");
	init->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static void seal(struct init *init, const struct init_request *request)
{
	const struct supervise_limits limits = {
		.memory_bytes = request->memory_bytes,
		.cpu_percent = request->cpu_percent,
		.processes = request->processes,
	};
	struct init_report done = { .kind = INIT_DONE, .serial = request->serial };
	struct sbx_err err = { 0 };
	struct statfs fs;

	/* With what is there already the engine tells whether a program left anything. */
	if (fstatfs(init->view.private_fd, &fs) == 0)
		done.tmpfs_inodes = fs.f_files - fs.f_ffree;
	fd_close(&init->view.rw_fd);
	(void)err_set_plain(&err, SBX_AT_JAIL, EPERM, "the init could not be sealed");
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || caps_no_new_privs(&err) < 0 ||
	    caps_keep(0, &err) < 0) {
		report_kind(init, INIT_FAILED, request->serial, &err);
		_exit(1);
	}
	if (limits.memory_bytes == 0 && limits.cpu_percent == 0 &&
	    request->sample_ms == 0) {
		report(init, &done);
		return;
	}
	if (supervise_begin(&init->supervise, &limits, init->proc_fd,
			    init->view.private_fd, &err) < 0) {
		report_kind(init, INIT_FAILED, request->serial, &err);
		_exit(1);
	}
	init->supervising = true;
	init->sample_ms = request->sample_ms;
	init->next_tick_us = now_us();
	init->next_sample_us = request->sample_ms ? now_us() : 0;
	report(init, &done);
}

static void supervise(struct init *init);

/* A short program can be over between two looks: it asks for one before it lets go of
 * what it holds. */
static void look(struct init *init, const struct init_request *request)
{
	if (init->supervising) {
		init->next_tick_us = 0;
		supervise(init);
	}
	if (init->supervising)
		report_usage(init, INIT_USAGE);
	report_kind(init, INIT_DONE, request->serial, NULL);
}

static void reap(struct init *init);

/* Nobody changes what we are about to look at. As pid 1 we reach everything in the jail,
 * which has our uid; what does not go (it waits in the kernel, or for its turn of a
 * quota) can only make the list older than it is. */
static void be_alone(struct init *init)
{
	const struct timespec wait = { .tv_nsec = 200000 };
	uint64_t until = now_us() + ALONE_US;

	init->supervising = false;
	/* Without a pid namespace (a wall that the policy let be missing) "everything" would
	 * be the host's. */
	while (getpid() == 1 && kill(-1, SIGKILL) == 0 && now_us() < until) {
		reap(init);
		(void)nanosleep(&wait, NULL);
	}
}

static void collect(struct init *init, const struct init_request *request, int out_fd)
{
	const struct files_look look = {
		.out_fd = out_fd,
		.contents = request->flags & COLLECT_CONTENTS,
		.since_ns = request->since_ns,
		/* A session knows again by itself what it has seen. */
		.given = request->flags & (COLLECT_LIVE | COLLECT_ALL) ? NULL
								       : &init->given,
	};

	if (out_fd < 0)
		_exit(1);
	if (request->flags & COLLECT_LIVE) {
		files_collect(&look, now_us() + LIVE_US);
		return;
	}
	be_alone(init);
	files_collect(&look, now_us() + COLLECT_US);
}

/* One file of /work, while programs may be running. */
static void file(struct init *init, const struct init_request *request, int archive)
{
	struct init_report done = { .kind = INIT_FILE_DONE, .serial = request->serial };
	_cleanup_fd_ int fd = -1;
	int r;

	if (request->op == INIT_PUT)
		r = archive < 0 ? err_set_plain(&done.err, SBX_AT_JAIL, EBADF, "no files")
				: files_replace(archive, &done.err);
	else if (request->op == INIT_DELETE)
		r = files_delete(request->path, &done.err);
	else
		r = fd = files_open(request->path, &done.tmpfs_bytes, &done.err);
	if (r < 0)
		done.kind = INIT_FILE_FAILED;
	(void)wire_send(init->control_fd, &done, sizeof(done), &fd, fd >= 0 ? 1 : 0);
}

/* The jail's network namespace has an interface to itself, and nothing else. */
static int loopback_up(int fd)
{
	struct ifreq ifr = { .ifr_name = "lo" };

	if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

/* Where the C library asks for names. The engine answers there, which is in another
 * namespace. */
static int names_socket(struct sbx_err *err)
{
	const struct sockaddr_in here = { .sin_family = AF_INET,
					  .sin_port = htons(53),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = fd < 0 ? -errno : loopback_up(fd);

	if (r == 0 && bind(fd, (const struct sockaddr *)&here, sizeof(here)) < 0)
		r = -errno;
	if (r < 0) {
		fd_close(&fd);
		return err_set_plain(err, SBX_AT_JAIL, -r, "the jail's socket for names");
	}
	return fd;
}

static void names(struct init *init, const struct init_request *request)
{
	struct init_report done = { .kind = INIT_DONE, .serial = request->serial };
	struct sbx_err err = { 0 };
	_cleanup_fd_ int fd = names_socket(&err);

	if (fd < 0)
		report_kind(init, INIT_FAILED, request->serial, &err);
	else
		(void)wire_send(init->control_fd, &done, sizeof(done), &fd, 1);
}

static void handle(struct init *init)
{
	struct init_request request;
	struct sbx_err err = { 0 };
	int tree = -1, r;
	size_t count = 0;

	r = wire_recv(init->control_fd, &request, sizeof(request), &tree, 1, &count);
	if (r == -EAGAIN || r == -EINTR)
		return;
	if (r < 0)
		_exit(0); /* the engine let go of this jail */
	if (count == 0)
		tree = -1;
	request.path[sizeof(request.path) - 1] = '\0';
	switch ((enum init_op)request.op) {
	case INIT_DISK:
		r = root_resize(&init->view, request.disk_bytes, request.disk_inodes,
				&err);
		report_kind(init, r < 0 ? INIT_FAILED : INIT_DONE, request.serial, &err);
		break;
	case INIT_GRANT:
		r = tree < 0 ? err_set_plain(&err, SBX_AT_GRANT, EBADF,
					     "a grant without its tree")
			     : root_grant(init->root, &init->view, tree, request.path,
					  &err);
		report_kind(init, r < 0 ? INIT_FAILED : INIT_DONE, request.serial, &err);
		break;
	case INIT_SEAL:
		seal(init, &request);
		break;
	case INIT_NAMES:
		names(init, &request);
		break;
	case INIT_LOOK:
		look(init, &request);
		break;
	case INIT_FILES:
		r = tree < 0 ? err_set_plain(&err, SBX_AT_JAIL, EBADF, "no files")
			     : files_put(tree, &init->given, &err);
		report_kind(init, r < 0 ? INIT_FAILED : INIT_DONE, request.serial, &err);
		break;
	case INIT_COLLECT:
		collect(init, &request, tree);
		break;
	case INIT_PACE:
		init->sample_ms = request.sample_ms;
		init->next_sample_us = request.sample_ms ? now_us() : 0;
		init->next_tick_us = 0;
		break;
	case INIT_PUT:
	case INIT_GET:
	case INIT_DELETE:
		file(init, &request, tree);
		break;
	default:
		_exit(1);
	}
	fd_close(&tree);
}

static void reap(struct init *init)
{
	struct signalfd_siginfo info[8];
	struct rusage usage;

	/* Only that something is there matters; the signals themselves coalesce. */
	(void)!read(init->signal_fd, info, sizeof(info));
	while (wait4(-1, NULL, WNOHANG, &usage) > 0)
		if (init->supervising)
			supervise_reaped(&init->supervise,
					 (uint64_t)usage.ru_utime.tv_sec * 1000000u +
						 (uint64_t)usage.ru_utime.tv_usec +
						 (uint64_t)usage.ru_stime.tv_sec *
							 1000000u +
						 (uint64_t)usage.ru_stime.tv_usec);
}

/* Threads of a session may go on between its programs: while they use less than a
 * hundredth of a core they can fill no memory to speak of, and are looked at less and less
 * often. A thousand sessions that rest would else cost the machine more than they are. */
static uint64_t pause_us(struct init *init, uint64_t wait_us)
{
	uint64_t now = now_us(), cpu = init->supervise.usage.cpu_us;
	bool quiet = (cpu - init->rest_cpu_us) * 100 <= now - init->rest_at_us;

	init->rest_cpu_us = cpu;
	init->rest_at_us = now;
	init->rest_us = init->sample_ms || !quiet ? 0
			: init->rest_us           ? init->rest_us * 2
						  : wait_us;
	if (init->rest_us > REST_US)
		init->rest_us = REST_US;
	return init->rest_us > wait_us ? init->rest_us : wait_us;
}

static void supervise(struct init *init)
{
	uint64_t now = now_us();
	int r;

	if (now >= init->next_tick_us) {
		r = supervise_tick(&init->supervise);
		/* A process that ends while it is looked at may show as an error: that is
		 * over at the next look. One that goes on is blindness. */
		for (int tries = 0; r < 0 && r != -EPERM && tries < 3; tries++)
			r = supervise_tick(&init->supervise);
		if (r == 0) {
			report_usage(init, INIT_EXCEEDED);
			init->supervising = false;
			return;
		}
		if (r < 0) {
			/* Blind: fail closed. The engine sees the jail gone without a
			 * verdict. */
			struct sbx_err err = { 0 };

			(void)err_set_plain(&err, SBX_AT_JAIL, -r,
					    "the supervisor cannot see its jail");
			report_kind(init, INIT_FAILED, 0, &err);
			_exit(1);
		}
		init->next_tick_us = now_us() + pause_us(init, (uint64_t)r);
	}
	if (init->next_sample_us && now >= init->next_sample_us) {
		report_usage(init, INIT_USAGE);
		init->next_sample_us = now + (uint64_t)init->sample_ms * 1000u;
	}
}

static struct timespec until(const struct init *init)
{
	uint64_t at = init->next_tick_us, now = now_us();
	uint64_t wait;

	if (init->next_sample_us && init->next_sample_us < at)
		at = init->next_sample_us;
	wait = at > now ? at - now : 0;
	return (struct timespec){ .tv_sec = (time_t)(wait / 1000000u),
				  .tv_nsec = (long)(wait % 1000000u) * 1000 };
}

_Noreturn void init_main(const struct init_start *start)
{
	static struct init init;
	struct sbx_err err = { 0 };
	sigset_t all;
	char go;

	init.root = start->root;
	init.control_fd = start->control_fd;
	init.view = (struct root_view){ -1, -1 };
	/* The jailer's end closing means that it failed to map us. */
	if (fd_read_all(start->go_fd, &go, 1) != 1)
		_exit(1);
	(void)close(start->go_fd);
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	if (build(&init, start, &err) < 0) {
		report_kind(&init, INIT_FAILED, 0, &err);
		_exit(1);
	}
	(void)sigemptyset(&all);
	(void)sigaddset(&all, SIGCHLD);
	init.signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (init.signal_fd < 0)
		_exit(1);
	report_kind(&init, INIT_READY, 0, NULL);
	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = init.control_fd, .events = POLLIN },
			{ .fd = init.signal_fd, .events = POLLIN },
		};
		struct timespec wait;

		if (init.supervising)
			wait = until(&init);
		if (ppoll(fds, 2, init.supervising ? &wait : NULL, NULL) < 0 &&
		    errno != EINTR)
			_exit(1);
		if (fds[0].revents)
			handle(&init);
		if (fds[1].revents)
			reap(&init);
		if (init.supervising)
			supervise(&init);
	}
}
