/* SPDX-License-Identifier: MIT
 * Purpose: the broker (broker.h): starts the engine, makes its cgroup, and has its requests
 *   served (broker_ops.c).
 * Process: its own, with the rights of whoever started `sandbox`. Two threads once the
 *   engine runs: one serves quick requests and watches, one serves BROKER_CGROUP_ENTER,
 *   which can wait 100 ms for the kernel.
 * Trusts: the command that started it. The engine is not trusted. Parses nothing that a
 *   user or a program wrote.
 * Invariants: it outlives the engine and removes the cgroups after it; it ends when the
 * command does. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "daemon/broker.h"
#include "daemon/broker_ops.h"
#include "daemon/idmap.h"
#include "daemon/view.h"
#include "jail/caps.h"

#define INSTANCES 128 /* blocks of ids above IDS_BASE that fit into 32 bits */

/* ---- which instance we are ---- */

/* Root as it is meant here: it can give away ids, build the engine's view, and the ids
 * exist. A root that cannot (in a container, or of a user namespace of one id) is served
 * like an ordinary user. */
static bool is_root(void)
{
	static const char *const maps[] = { "/proc/self/uid_map", "/proc/self/gid_map" };
	const uint64_t wanted = 1ull << CAP_SYS_ADMIN | 1ull << CAP_SETUID |
				1ull << CAP_SETGID | 1ull << CAP_SETPCAP |
				1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE;
	const uint64_t first = IDS_BASE,
		       last = IDS_BASE + (uint64_t)INSTANCES * IDS_PER_INSTANCE - 1;

	if (geteuid() != 0 || (caps_effective() & wanted) != wanted)
		return false;
	for (size_t i = 0; i < 2; i++) {
		_cleanup_free_ char *text = NULL;
		unsigned long inside, outside, count;
		bool covered = false;
		size_t len;

		if (fd_read_file(AT_FDCWD, maps[i], 65536, &text, &len) < 0)
			return false;
		for (const char *line = text; line; line = strchr(line, '\n')) {
			line += *line == '\n';
			if (sscanf(line, "%lu %lu %lu", &inside, &outside, &count) == 3)
				covered |= inside <= first && last < inside + count;
		}
		if (!covered)
			return false;
	}
	return true;
}

static int claim_instance(struct broker *b, struct sbx_err *err)
{
	char prefix[16];
	int r;

	if (!b->hello.root) {
		(void)snprintf(prefix, sizeof(prefix), "u%ux", (unsigned)getuid());
		return claim_take(&b->claim, prefix, 1024, err);
	}
	r = claim_take(&b->claim, "r", INSTANCES, err);
	if (r < 0)
		return r;
	b->hello.ids_base = IDS_BASE + b->claim.number * IDS_PER_INSTANCE;
	/* A uid in no use by anyone but the instance, and not mapped into any jail. */
	b->engine_uid = b->hello.ids_base + IDS_PER_INSTANCE - 1;
	return 0;
}

/* ---- the engine's start ---- */

#define JOURNAL_END_MS 3000
#define HIGH_FD 128 /* above every number of a role */

/* Moves descriptors to the numbers of the role; `from` may overlap with them. */
static int place_fds(const int *from, const int *to, size_t count)
{
	int high[8];
	size_t i;

	for (i = 0; i < count; i++) {
		high[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, HIGH_FD);
		if (from[i] >= 0 && high[i] < 0)
			return -errno;
	}
	for (i = 0; i < count; i++) {
		if (high[i] < 0)
			(void)close(to[i]);
		else if (dup2(high[i], to[i]) < 0)
			return -errno;
	}
	return 0;
}

/* Of the starter's environment the engine gets where to look for an interpreter, and what
 * tests turn down. */
static void keep_environment(char **ret, size_t size)
{
	static const char *const names[] = { "PATH", "SANDBOX_TEMPLATE_FORKS",
					     "SANDBOX_TEMPLATE_SECONDS",
					     "SANDBOX_NAMESERVERS" };
	static char language[] = "LANG=C.UTF-8";
	size_t n = 0;

	ret[n++] = language;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && n + 1 < size; i++) {
		const char *value = getenv(names[i]);

		/* In the block of the process a value follows its name and '='. */
		if (value)
			ret[n++] = (char *)(uintptr_t)(value - strlen(names[i]) - 1);
	}
	ret[n] = NULL;
}

/* The engine's uid is not root's, and the next engine's is another: in its view the files
 * are its own, outside they are root's. The directory's own descriptor would be a way out
 * of the view (".."). */
static int journal_for_view(const struct broker *b)
{
	struct sbx_err err = { 0 };
	int tree = -1, full;

	if (!b->has_journal)
		return -1;
	if (idmap_tree(ROLE_JOURNAL_FD, b->engine_uid, &tree, &err) == 0) {
		tree = fcntl(tree, F_DUPFD_CLOEXEC, HIGH_FD);
		(void)close(ROLE_JOURNAL_FD);
		return tree;
	}
	full = open("/dev/full", O_RDONLY | O_CLOEXEC);
	if (full < 0 || dup2(full, ROLE_JOURNAL_FD) < 0)
		_exit(126);
	return -1;
}

static void open_shown_journal(void)
{
	int fd = open(VIEW_JOURNAL, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || (fd != ROLE_JOURNAL_FD && dup2(fd, ROLE_JOURNAL_FD) < 0))
		_exit(126);
	if (fd != ROLE_JOURNAL_FD)
		(void)close(fd);
	else
		(void)fcntl(fd, F_SETFD, 0);
}

static _Noreturn void engine_child(struct broker *b, int sync_fd, int mover_fd,
				   int binary)
{
	const int from[] = { b->has_door ? ROLE_DOOR_FD : -1, sync_fd, mover_fd,
			     b->has_journal ? ROLE_JOURNAL_FD : -1,
			     b->has_key ? ROLE_JOURNAL_KEY_FD : -1 };
	const int to[] = { ROLE_DOOR_FD, ROLE_BROKER_FD, ROLE_MOVER_FD, ROLE_JOURNAL_FD,
			   ROLE_JOURNAL_KEY_FD };
	char *const argv[] = { "sandbox", "--role=engine", b->reader ? ROLE_READER : NULL,
			       NULL };
	char *environment[8];
	struct sbx_err err = { 0 };
	int exe, journal;

	keep_environment(environment, sizeof(environment) / sizeof(environment[0]));

	exe = fcntl(binary, F_DUPFD_CLOEXEC, HIGH_FD);
	if (exe < 0 || place_fds(from, to, 5) < 0 ||
	    syscall(SYS_close_range, ROLE_LISTENERS_FD + b->listener_count, HIGH_FD - 1,
		    0) < 0)
		_exit(126);
	/* No terminal to read keys from, none to push them into. */
	(void)setsid();
	if (b->hello.root) {
		journal = journal_for_view(b);
		if (view_enter(journal, &err) < 0) {
			(void)fprintf(stderr, "sandbox: %s\n", err.msg);
			_exit(126);
		}
		if (journal >= 0)
			open_shown_journal();
		/* Capabilities outlive the change of ids, so that caps_keep() can empty
		 * the bounding set, too, and reads back that nothing is left; a new user
		 * namespace begins with the bits at their defaults. */
		if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0 ||
		    setgroups(0, NULL) < 0 ||
		    setresgid(b->engine_uid, b->engine_uid, b->engine_uid) < 0 ||
		    setresuid(b->engine_uid, b->engine_uid, b->engine_uid) < 0 ||
		    caps_keep(0, &err) < 0) {
			(void)fprintf(stderr, "sandbox: dropping root: %s\n",
				      strerror(errno));
			_exit(126);
		}
	} else if (getuid() == 0 && caps_keep(1ull << CAP_SETFCAP, &err) < 0) {
		/* user_namespaces(7): without it (5.12) id 0 cannot be mapped into a
		 * namespace, and there may be no other. */
		(void)fprintf(stderr, "sandbox: dropping capabilities: %s\n", err.msg);
		_exit(126);
	}
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(126);
	(void)syscall(SYS_execveat, exe, "", argv, environment, AT_EMPTY_PATH);
	(void)fprintf(stderr, "sandbox: execveat of the engine: %s\n", strerror(errno));
	_exit(126);
}

static int start_engine(struct broker *b, struct sbx_err *err)
{
	_cleanup_fd_ int binary = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct clone_args args = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD };
	int quick[2], mover[2], r;
	pid_t pid;

	if (binary < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "/proc/self/exe");
	r = wire_pair(SOCK_SEQPACKET, quick);
	if (r == 0)
		r = wire_pair(SOCK_SEQPACKET, mover);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "socketpair");
	args.pidfd = (uint64_t)(uintptr_t)&b->engine_pidfd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "clone3 of the engine");
	if (pid == 0)
		engine_child(b, quick[1], mover[1], binary);
	(void)close(quick[1]);
	(void)close(mover[1]);
	b->sync_fd = quick[0];
	b->mover_fd = mover[0];
	/* They are the engine's from here on: its end of file is the command's doing, not
	 * ours. */
	(void)close(ROLE_DOOR_FD);
	for (int i = 0; i < b->listener_count; i++)
		(void)close(ROLE_LISTENERS_FD + i);
	return 0;
}

static void end_engine(struct broker *b)
{
	(void)fprintf(stderr,
		      "sandbox: the engine asked the broker for what no engine may; it "
		      "is ended\n");
	(void)k_pidfd_send_signal(b->engine_pidfd, SIGKILL);
}

static void *mover_thread(void *arg)
{
	struct broker *b = arg;
	int r;

	while ((r = broker_serve(b, b->mover_fd, true)) == 0)
		;
	if (r == -EBADMSG)
		end_engine(b);
	return NULL;
}

/* True: the command asked for the end. False: the engine ended. */
static bool watch(struct broker *b)
{
	bool serving = true;

	for (;;) {
		struct pollfd fds[3] = {
			{ .fd = b->engine_pidfd, .events = POLLIN },
			{ .fd = ROLE_LIFELINE_FD, .events = POLLIN },
			{ .fd = serving ? b->sync_fd : -1, .events = POLLIN },
		};
		int r = 0;

		if (poll(fds, 3, -1) < 0) {
			if (errno != EINTR)
				return false;
			continue;
		}
		if (fds[0].revents)
			return false;
		/* The command is gone: nobody waits for an answer. */
		if (fds[1].revents && opened_offers(&b->opened, ROLE_LIFELINE_FD) < 0)
			return true;
		if (fds[2].revents)
			r = broker_serve(b, b->sync_fd, false);
		if (r == -EBADMSG)
			end_engine(b);
		serving &= r == 0;
	}
}

/* Every directory that is granted takes one. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur < GRANTS_OPEN_MAX + 256) {
		limit.rlim_cur = limit.rlim_max < GRANTS_OPEN_MAX + 256
					 ? limit.rlim_max
					 : GRANTS_OPEN_MAX + 256;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Whether the role's number was given. If not it is occupied: what is opened next would
 * take it, and pass for a door to everyone who can reach it. */
static int occupy(int fd, bool *ret_given)
{
	int null;

	*ret_given = fcntl(fd, F_GETFD) >= 0;
	if (*ret_given)
		return 0;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || (null != fd && dup3(null, fd, O_CLOEXEC) < 0))
		return -errno;
	if (null != fd)
		(void)close(null);
	return 0;
}

/* What they accept are callers. */
static int note_listeners(struct broker *b)
{
	int r = 0;

	for (int i = 0; i < b->listener_count && r == 0; i++)
		r = peer_listener(&b->opened.listeners, ROLE_LISTENERS_FD + i);
	return r;
}

int broker_main(int argc, char **argv)
{
	struct broker b = { .engine_pidfd = -1, .sync_fd = -1, .mover_fd = -1 };
	struct sbx_err err = { 0 };
	siginfo_t info = { 0 };
	pthread_t mover;
	bool asked = false;
	int status = 125;

	b.reader = argc > 2 && strcmp(argv[2], ROLE_READER) == 0;
	/* Interrupts from the terminal are the command's to handle; it ends us by its
	 * lifeline. */
	(void)setsid();
	(void)umask(
		022); /* what the view and the groups are made with is read by the engine's uid */
	(void)signal(SIGPIPE, SIG_IGN);
	while (b.listener_count < ROLE_LISTENERS_MAX &&
	       fcntl(ROLE_LISTENERS_FD + b.listener_count, F_GETFD) >= 0)
		b.listener_count++;
	if (syscall(SYS_close_range, ROLE_LIFELINE_FD + 1, ROLE_MOVER_FD, 0) < 0 ||
	    syscall(SYS_close_range, ROLE_LISTENERS_FD + b.listener_count, ~0u, 0) < 0)
		return 125;
	(void)fcntl(ROLE_LIFELINE_FD, F_SETFD, FD_CLOEXEC);
	if (occupy(ROLE_DOOR_FD, &b.has_door) < 0 ||
	    occupy(ROLE_JOURNAL_FD, &b.has_journal) < 0 ||
	    occupy(ROLE_JOURNAL_KEY_FD, &b.has_key) < 0)
		return 125;
	b.hello.root = is_root();
	b.hello.starter_uid = getuid();
	b.hello.starter_gid = getgid();
	b.engine_uid = getuid();
	if (claim_instance(&b, &err) < 0)
		goto failed;
	if (!b.reader)
		cgroup_host_make(&b.hello.cgroup, b.claim.id, b.engine_uid,
				 claim_is_alive, &b.claim, b.hello.why_no_cgroup);
	if (b.hello.root && note_listeners(&b) < 0) {
		/* Nobody can be told to be a caller; all else works. */
		(void)fprintf(stderr,
			      "sandbox: the kernel does not tell whose connections "
			      "are whose (CONFIG_UNIX_DIAG): allowed_directories "
			      "are refused to callers on the socket\n");
	}
	if (start_engine(&b, &err) < 0)
		goto failed;
	raise_files();
	if (wire_send(b.sync_fd, &b.hello, sizeof(b.hello), NULL, 0) < 0 ||
	    wire_send(ROLE_LIFELINE_FD, &b.hello, sizeof(b.hello), NULL, 0) < 0)
		goto failed;
	if (fd_nonblock(ROLE_LIFELINE_FD, true) < 0 ||
	    pthread_create(&mover, NULL, mover_thread, &b) != 0) {
		(void)err_set(&err, SBX_AT_ENGINE, EAGAIN, "pthread_create");
		goto failed;
	}
	asked = watch(&b);
	status = 0;
failed:
	if (err.msg[0])
		(void)fprintf(stderr, "sandbox: %s\n", err.msg);
	if (b.engine_pidfd >= 0) {
		/* Its door has ended, too: it syncs its journal. */
		if (asked && b.has_journal)
			(void)poll(&(struct pollfd){ .fd = b.engine_pidfd,
						     .events = POLLIN },
				   1, JOURNAL_END_MS);
		(void)k_pidfd_send_signal(b.engine_pidfd, SIGKILL);
		if (waitid((idtype_t)P_PIDFD, (id_t)b.engine_pidfd, &info, WEXITED) ==
			    0 &&
		    status == 0 && !asked &&
		    (info.si_code != CLD_EXITED || info.si_status != 0))
			status = 125;
	}
	if (b.hello.cgroup.version != CGROUP_NONE)
		(void)cgroup_host_remove(&b.hello.cgroup);
	return status;
}
