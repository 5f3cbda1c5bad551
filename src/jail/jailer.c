/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox-jailer`, the small static process that makes everything of one
 *   template: the parts of the root file system, the zygote, and the jails with their
 *   inits.
 * Process: pid 1 of the template's pid namespace, uid 0 of its user namespace Z, which
 *   the engine owns. Started by the engine from memory (template.c), with one control
 *   socket on descriptor 3.
 * Trusts: the engine. Reads nothing that a program or a user wrote but path names in
 * fixed-size requests.
 * Invariants: single thread, no heap; one request is handled at a time and answered in
 *   order; when it ends, for whatever reason, the kernel ends the zygote, every init and
 *   every program of the template (pid_namespaces(7)). */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "jail/caps.h"
#include "jail/init.h"
#include "jail/root.h"

#define CONTROL_FD 3
#define EXTENSION_FILE "/extension"

static struct root root;
static bool extension;

/* clone3(2), 5.3, used as fork: the pid in our namespace, 0 in the child. */
static pid_t clone_process(uint64_t flags, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = flags | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* The number by which the starter's /proc knows a process of ours: its pidfd's fdinfo
 * tells the pid in the namespace that the /proc belongs to. */
static int host_pid(int pidfd, char ret[16])
{
	char path[64] = "/old/proc/self/fdinfo/", text[512];
	_cleanup_fd_ int fd = -1;
	char digits[12];
	size_t n = 0, at = strlen(path);
	ssize_t len;
	char *line;
	int value = pidfd;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	while (n > 0)
		path[at++] = digits[--n];
	path[at] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = fd_read_all(fd, text, sizeof(text) - 1);
	if (len < 0)
		return (int)len;
	text[len] = '\0';
	line = strstr(text, "\nPid:\t");
	if (!line)
		return -ESRCH;
	line += 6;
	for (n = 0; n < 15 && line[n] >= '0' && line[n] <= '9'; n++)
		ret[n] = line[n];
	ret[n] = '\0';
	return n == 0 || strcmp(ret, "0") == 0 ? -ESRCH : 0;
}

static int write_map(const char *pid, const char *name, const char *text)
{
	char path[96] = "/old/proc/";

	strcat(path, pid);
	strcat(path, "/");
	strcat(path, name);
	return fd_write_file(AT_FDCWD, path, text);
}

static int map_worker(int pidfd, uint32_t uid_index, struct sbx_err *err)
{
	char pid[16], text[64];
	int r;

	r = host_pid(pidfd, pid);
	if (r < 0)
		return err_set_plain(err, SBX_AT_JAIL, -r, "the host's pid of an init");
	/* WORKER_UID inside is uid_index of Z. */
	(void)snprintf(text, sizeof(text), "%u %u 1\n", WORKER_UID, uid_index);
	r = write_map(pid, "gid_map", text);
	if (r == -EPERM) {
		/* user_namespaces(7): who may not set groups may map after giving that
		 * up. */
		(void)write_map(pid, "setgroups", "deny");
		r = write_map(pid, "gid_map", text);
	}
	if (r == 0)
		r = write_map(pid, "uid_map", text);
	if (r < 0)
		return err_set_plain(err, SBX_AT_JAIL, -r, "mapping the ids of a jail");
	return 0;
}

static int close_but(int a, int b)
{
	int low = a < b ? a : b, high = a < b ? b : a;

	/* close_range(2), 5.9 */
	if ((low > 0 && syscall(SYS_close_range, 0, low - 1, 0) < 0) ||
	    (high - low > 1 && syscall(SYS_close_range, low + 1, high - 1, 0) < 0) ||
	    syscall(SYS_close_range, high + 1, ~0u, 0) < 0)
		return -errno;
	return 0;
}

static int make_jail(const struct jailer_request *request, int control, int *ret_pidfd,
		     struct sbx_err *err)
{
	uint64_t flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
			 CLONE_NEWIPC | CLONE_NEWUTS;
	_cleanup_fd_ int pidfd = -1, go_read = -1, go_write = -1;
	int go[2], r;
	pid_t pid;

	if (control < 0)
		return err_set_plain(err, SBX_AT_JAIL, EBADF,
				     "a jail without its control socket");
	if (pipe2(go, O_CLOEXEC) < 0)
		return err_set_plain(err, SBX_AT_JAIL, errno, "pipe");
	go_read = go[0];
	go_write = go[1];
	if (request->walls & WALL_CGROUP)
		flags |= CLONE_NEWCGROUP;
	pid = clone_process(flags, &pidfd);
	if (pid < 0)
		return err_set_plain(err, SBX_AT_JAIL, errno, "clone3 of a jail");
	if (pid == 0) {
		const struct init_start start = { &root, request, control, go_read };

		if (close_but(control, go_read) < 0)
			_exit(1);
		init_main(&start);
	}
	r = map_worker(pidfd, request->uid_index, err);
	if (r == 0 && fd_write_all(go_write, "", 1) < 0)
		r = err_set_plain(err, SBX_AT_JAIL, errno, "the init is gone");
	if (r < 0) {
		(void)k_pidfd_send_signal(pidfd, SIGKILL);
		return r;
	}
	*ret_pidfd = fd_take(&pidfd);
	return 0;
}

/* The zygote's own half: never returns. What fails is told on its stderr, which the
 * engine reads. */
static _Noreturn void zygote_child(const struct jailer_request *request,
				   char *const *argv, const int *fds, size_t fd_count)
{
	/* setns of the workers; what the time namespace wants is given up by the zygote
	 * itself after it. */
	const uint64_t caps = 1ull << CAP_SYS_ADMIN | 1ull << CAP_SYS_TIME |
			      1ull << CAP_SETPCAP;
	const struct root_private priv = {
		.bytes = 64u << 20,
		.inodes = 4096,
		.extension = extension ? EXTENSION_FILE : NULL,
		.proc = request->walls & WALL_PROC,
	};
	static char walls[32];
	char *const environment[] = {
		"PATH=/usr/bin:/bin",
		"HOME=/work",
		"LANG=C.UTF-8",
		"TMPDIR=/tmp",
		"MPLBACKEND=Agg",
		"MPLCONFIGDIR=/tmp/.matplotlib",
		"PLOTLY_RENDERER=plotly_mimetype",
		"OPENBLAS_NUM_THREADS=1",
		"OMP_NUM_THREADS=1",
		"MKL_NUM_THREADS=1",
		"NUMEXPR_NUM_THREADS=1",
		"PYTHONDONTWRITEBYTECODE=1",
		walls,
		NULL,
	};
	struct root_view view = { -1, -1 };
	struct sbx_err err = { 0 };
	sigset_t none;
	int at;

	(void)snprintf(walls, sizeof(walls), "SBX_WALLS=%x", request->walls);
	/* Out of the way of the numbers that they are to have. */
	int control = fcntl(fds[0], F_DUPFD_CLOEXEC, 10),
	    messages = fcntl(fds[1], F_DUPFD_CLOEXEC, 10);
	int filter = fd_count > 2 ? fcntl(fds[2], F_DUPFD_CLOEXEC, 10) : -1;

	if (control < 0 || messages < 0 || dup2(messages, 2) < 0)
		_exit(126);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || setsid() < 0)
		goto failed;
	if (root_enter(&root, &priv, &view, &err) < 0)
		goto failed;
	at = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (at < 0 || dup2(at, 0) < 0 || dup2(at, 1) < 0 || dup2(control, 3) < 0)
		goto failed;
	if (filter >= 0 ? dup2(filter, 4) < 0 : close(4) < 0 && errno != EBADF)
		goto failed;
	if (syscall(SYS_close_range, filter >= 0 ? 5 : 4, ~0u, 0) < 0)
		goto failed;
	if (chdir("/work") < 0 || caps_keep(caps, &err) < 0 ||
	    caps_no_new_privs(&err) < 0)
		goto failed;
	(void)umask(022);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execve(argv[0], argv + 1, environment);
	(void)err_set_plain(&err, SBX_AT_INTERPRETER, errno,
			    "the interpreter cannot be executed");
failed:
	if (err.msg[0] == '\0')
		(void)err_set_plain(&err, SBX_AT_ZYGOTE, errno, "starting the zygote");
	(void)fd_write_all(2, err.msg, strlen(err.msg));
	_exit(127);
}

static int make_zygote(const struct jailer_request *request, const int *fds,
		       size_t fd_count, int *ret_pidfd, struct sbx_err *err)
{
	char *argv[72];
	const char *at = request->path, *end = request->path + sizeof(request->path);
	uint32_t i, count = request->count + 1; /* the file, then its arguments */
	pid_t pid;

	if (fd_count < 2 || count < 2 || count > 71)
		return err_set_plain(err, SBX_AT_ZYGOTE, EINVAL,
				     "malformed request for a zygote");
	for (i = 0; i < count; i++) {
		size_t len = strnlen(at, (size_t)(end - at));

		if (at + len >= end)
			return err_set_plain(err, SBX_AT_ZYGOTE, EINVAL,
					     "malformed arguments of a zygote");
		argv[i] = (char *)(uintptr_t)at;
		at += len + 1;
	}
	argv[count] = NULL;
	pid = clone_process(CLONE_NEWNS, ret_pidfd);
	if (pid < 0)
		return err_set_plain(err, SBX_AT_ZYGOTE, errno, "clone3 of a zygote");
	if (pid == 0)
		zygote_child(request, argv, fds, fd_count);
	return 0;
}

static int keep_extension(int from, struct sbx_err *err)
{
	_cleanup_fd_ int out = open(EXTENSION_FILE,
				    O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
	char chunk[65536];
	off_t offset = 0;
	ssize_t n;

	if (from < 0 || out < 0)
		return err_set_plain(err, SBX_AT_ZYGOTE, errno, "the extension module");
	while ((n = pread(from, chunk, sizeof(chunk), offset)) > 0) {
		if (fd_write_all(out, chunk, (size_t)n) < 0)
			return err_set_plain(err, SBX_AT_ZYGOTE, errno,
					     "copying the extension module");
		offset += n;
	}
	if (n < 0)
		return err_set_plain(err, SBX_AT_ZYGOTE, errno,
				     "copying the extension module");
	extension = true;
	return 0;
}

static int serve(struct jailer_request *request, const int *fds, size_t count,
		 int *ret_fd, struct sbx_err *err)
{
	int first = count > 0 ? fds[0] : -1;

	request->target[sizeof(request->target) - 1] = '\0';
	request->path[sizeof(request->path) - 1] = '\0';
	switch ((enum jailer_op)request->op) {
	case JAILER_MOUNT:
		return root_add_tree(&root, first, request->path, request->target,
				     request->tree_flags & MOUNT_OPTIONAL, err);
	case JAILER_LINK:
		return root_add_text(&root, ROOT_LINK, request->target, request->path,
				     err);
	case JAILER_FILE:
		return root_add_text(&root, ROOT_FILE, request->target, request->path,
				     err);
	case JAILER_ZYGOTE:
		return make_zygote(request, fds, count, ret_fd, err);
	case JAILER_JAIL:
		return make_jail(request, first, ret_fd, err);
	case JAILER_EXTENSION:
		return keep_extension(first, err);
	case JAILER_HIDE:
		return root_hide(&root, request->target, request->path, request->count,
				 request->tree_flags & HIDE_MORE, err);
	case JAILER_TREE:
		return root_open_tree(request->path, request->tree_flags, ret_fd, err);
	}
	return err_set_plain(err, SBX_AT_JAIL, EINVAL, "unknown request to the jailer");
}

static void handle(void)
{
	static struct jailer_request request;
	static struct jailer_reply reply;
	int fds[WIRE_FDS_MAX], made = -1, r;
	size_t count = 0, i;

	r = wire_recv(CONTROL_FD, &request, sizeof(request), fds, WIRE_FDS_MAX, &count);
	if (r == -EAGAIN || r == -EINTR)
		return;
	if (r < 0)
		_exit(0);
	memset(&reply, 0, sizeof(reply));
	reply.op = request.op;
	reply.serial = request.serial;
	if (serve(&request, fds, count, &made, &reply.err) < 0 &&
	    reply.err.stage == SBX_AT_NONE)
		reply.err.stage = SBX_AT_JAIL;
	r = wire_send(CONTROL_FD, &reply, sizeof(reply), &made, made >= 0 ? 1 : 0);
	for (i = 0; i < count; i++)
		(void)close(fds[i]);
	if (made >= 0)
		(void)close(made);
	if (r < 0)
		_exit(0);
}

static _Noreturn void die(const struct sbx_err *err)
{
	struct jailer_reply reply = { .err = *err };

	(void)wire_send(CONTROL_FD, &reply, sizeof(reply), NULL, 0);
	_exit(1);
}

int main(void)
{
	struct sbx_err err = { 0 };
	sigset_t signals;
	int signal_fd;

	/* The starter set it before execve already; a change of ids in between would have
	 * cleared it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(1);
	(void)umask(022);
	/* Modules that the zygote imports ask for it and keep it: platform.uname(). */
	if (sethostname("sandbox", 7) < 0 || setdomainname("(none)", 6) < 0) {
		(void)err_set_plain(&err, SBX_AT_JAIL, errno, "sethostname");
		die(&err);
	}
	if (root_begin(&err) < 0)
		die(&err);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		_exit(1);
	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = CONTROL_FD, .events = POLLIN },
			{ .fd = signal_fd, .events = POLLIN },
		};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if (fds[0].revents)
			handle();
		if (fds[1].revents) {
			struct signalfd_siginfo info[8];

			(void)!read(signal_fd, info, sizeof(info));
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
		}
	}
}
