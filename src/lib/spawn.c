/* SPDX-License-Identifier: MIT
 * Purpose: starts the broker and ends it (spawn.h).
 * Process: the command, or a program that uses libsbx; with its rights, possibly with
 * many threads.
 * Trusts: the binary that it is told to start.
 * Invariants: the child runs nothing but system calls before it executes; it has the
 *   descriptors of daemon/broker.h, standard error, and /dev/null; it never outlives
 *   spawn_end(). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "daemon/broker.h"
#include "lib/internal.h"
#include "lib/spawn.h"

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL /* 5.5 */
#endif

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2) /* 5.11 */
#endif

#define HELLO_MS \
	30000 /* making cgroups and starting the engine takes milliseconds; a machine may be busy */
#define END_MS 5000

extern char **environ;

/* ---- which file ---- */

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int on_path(char ret[PATH_MAX], struct sbx_err *err)
{
	const char *at = secure_getenv("PATH");

	while (at && *at) {
		size_t len = strcspn(at, ":");

		/* An empty or relative part would take whatever lies in the working
		 * directory. */
		if (*at == '/' && len + sizeof("/sandbox") <= PATH_MAX) {
			(void)snprintf(ret, PATH_MAX, "%.*s/sandbox", (int)len, at);
			if (is_program(ret))
				return 0;
		}
		at += len;
		at += *at == ':';
	}
	return err_set(
		err, SBX_AT_USAGE, ENOENT,
		"no `sandbox` command was found: set SANDBOX_BIN, or put it on PATH");
}

static int find_binary(const char *binary, char ret[PATH_MAX], struct sbx_err *err)
{
	if (!binary && &sandbox_command)
		binary = "/proc/self/exe";
	if (!binary)
		binary = secure_getenv("SANDBOX_BIN");
	if (!binary || !*binary)
		return on_path(ret, err);
	if (strlen(binary) >= PATH_MAX)
		return err_set(err, SBX_AT_USAGE, ENAMETOOLONG,
			       "the path of the sandbox command is too long");
	if (!is_program(binary))
		return err_set(err, SBX_AT_USAGE, ENOENT,
			       "%.300s is not a program that can be started", binary);
	strcpy(ret, binary);
	return 0;
}

/* ---- the child ---- */

struct plan {
	const char *binary;
	bool reader;
	int null, lifeline;
	size_t count; /* of the role's descriptors */
	int from[6 + ROLE_LISTENERS_MAX], to[6 + ROLE_LISTENERS_MAX]; /* from -1: none */
};

#define HIGH_FD 128 /* above every number of a role */

/* child-safe. Descriptors to the numbers of the role; whatever else a program that uses us
 * has open is nobody's business behind this. */
static int place(const struct plan *plan)
{
	int high[6 + ROLE_LISTENERS_MAX];
	size_t i;

	/* First all of them out of the way of the numbers that they are to have. */
	for (i = 0; i < plan->count; i++) {
		high[i] = plan->from[i] < 0
				  ? -1
				  : fcntl(plan->from[i], F_DUPFD_CLOEXEC, HIGH_FD);
		if (plan->from[i] >= 0 && high[i] < 0)
			return -1;
	}
	if (fcntl(2, F_GETFD) < 0 && dup2(high[0], 2) < 0)
		return -1;
	if (syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	for (i = 0; i < plan->count; i++)
		if (high[i] >= 0 && dup2(high[i], plan->to[i]) < 0)
			return -1;
	return 0;
}

/* child-safe. The reason of a failure is one packet on the lifeline, shorter than any
 * hello. */
static _Noreturn void child_main(const struct plan *plan)
{
	char *const argv[] = { "sandbox", "--role=broker",
			       plan->reader ? ROLE_READER : NULL, NULL };
	int errnum, report;
	sigset_t none;

	report = fcntl(plan->lifeline, F_DUPFD_CLOEXEC, HIGH_FD);
	if (place(plan) < 0)
		goto failed;
	/* An interrupt from the terminal is the command's to handle. */
	(void)setsid();
	/* Handlers were cleared by clone3; what was ignored still is, and an ignored
	 * SIGCHLD would lose exits. */
	if (signal(SIGCHLD, SIG_DFL) == SIG_ERR || sigemptyset(&none) < 0 ||
	    sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		goto failed;
	(void)execve(plan->binary, argv, environ);
failed:
	errnum = errno;
	if (report >= 0)
		(void)send(report, &errnum, sizeof(errnum), MSG_NOSIGNAL);
	_exit(127);
}

static int start(const struct plan *plan, int *ret_pidfd, struct sbx_err *err)
{
	struct clone_args args = { .flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
				   .exit_signal = SIGCHLD };
	int pidfd = -1;
	pid_t pid;

	args.pidfd = (uint64_t)(uintptr_t)&pidfd;
	/* Not fork(): no pthread_atfork() handler of a program that uses us runs, and no
	 * pid is ever guessed at. */
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "clone3 of the broker");
	if (pid == 0)
		child_main(plan);
	*ret_pidfd = pidfd;
	return 0;
}

/* ---- waiting ---- */

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* poll(2) with a deadline that interruptions do not move. */
static int poll_until(struct pollfd *fds, nfds_t count, int64_t deadline_ms)
{
	for (;;) {
		int64_t left = deadline_ms - now_ms();
		int r = poll(fds, count, left > 0 ? (int)left : 0);

		if (r >= 0)
			return r;
		if (errno != EINTR)
			return -errno;
	}
}

static int wait_hello(struct spawned *spawned, const char *binary, struct sbx_err *err)
{
	struct pollfd ready = { .fd = spawned->lifeline, .events = POLLIN };
	union {
		struct broker_hello hello;
		int errnum;
	} packet;
	ssize_t n;
	int r;

	r = poll_until(&ready, 1, now_ms() + HELLO_MS);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "poll");
	if (r == 0)
		return err_set(err, SBX_AT_ENGINE, ETIMEDOUT,
			       "the broker was not ready within %d s", HELLO_MS / 1000);
	n = wire_recv_some(spawned->lifeline, &packet, sizeof(packet), NULL, 0,
			   &(size_t){ 0 });
	if (n == (ssize_t)sizeof(packet.hello)) {
		spawned->hello = packet.hello;
		spawned->hello.why_no_cgroup[sizeof(spawned->hello.why_no_cgroup) - 1] =
			'\0';
		return 0;
	}
	if (n == (ssize_t)sizeof(packet.errnum))
		return err_set(err, SBX_AT_ENGINE,
			       packet.errnum > 0 ? packet.errnum : EIO, "starting %.300s",
			       binary);
	if (n == -EPIPE || n == -ECONNRESET || n == 0)
		return err_set(err, SBX_AT_ENGINE, 0,
			       "the broker ended before it was ready");
	return err_set(err, SBX_AT_ENGINE, n < 0 ? (int)-n : EBADMSG,
		       "%.300s is of another version", binary);
}

static void plan_fd(struct plan *plan, int from, int to)
{
	plan->from[plan->count] = from;
	plan->to[plan->count++] = to;
}

static void make_plan(struct plan *plan, const struct spawn_options *options, int door)
{
	plan_fd(plan, plan->null, 0);
	plan_fd(plan, plan->null, 1);
	plan_fd(plan, door, ROLE_DOOR_FD);
	plan_fd(plan, plan->lifeline, ROLE_LIFELINE_FD);
	plan_fd(plan, options->journal_fd, ROLE_JOURNAL_FD);
	plan_fd(plan, options->key_fd > 0 ? options->key_fd : -1, ROLE_JOURNAL_KEY_FD);
	for (size_t i = 0; i < options->listener_count; i++)
		plan_fd(plan, options->listeners[i], ROLE_LISTENERS_FD + (int)i);
}

int spawn_broker(const struct spawn_options *options, struct spawned *ret,
		 struct sbx_err *err)
{
	struct spawned spawned = { .pidfd = -1, .lifeline = -1, .door = -1 };
	_cleanup_fd_ int null = -1, far_door = -1, far_lifeline = -1;
	struct plan plan = { 0 };
	char path[PATH_MAX];
	int pair[2], r;

	if (options->listener_count > ROLE_LISTENERS_MAX)
		return err_set(err, SBX_AT_USAGE, 0, "at most %d listeners",
			       ROLE_LISTENERS_MAX);
	r = find_binary(options->binary, path, err);
	if (r < 0)
		return r;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "/dev/null");
	r = wire_pair(SOCK_SEQPACKET, pair);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "socketpair");
	spawned.lifeline = pair[0];
	far_lifeline = pair[1];
	if (options->door) {
		r = wire_pair(SOCK_STREAM, pair);
		if (r < 0) {
			r = err_set(err, SBX_AT_ENGINE, -r, "socketpair");
			goto failed;
		}
		spawned.door = pair[0];
		far_door = pair[1];
	}
	plan.binary = path;
	plan.null = null;
	plan.lifeline = far_lifeline;
	plan.reader = options->reader;
	make_plan(&plan, options, far_door);
	r = start(&plan, &spawned.pidfd, err);
	if (r < 0)
		goto failed;
	/* Ours would keep the lifeline open after the broker's end. */
	fd_close(&far_lifeline);
	fd_close(&far_door);
	r = wait_hello(&spawned, path, err);
	if (r < 0)
		goto failed;
	*ret = spawned;
	return 0;
failed:
	(void)spawn_end(&spawned);
	return r;
}

int spawn_end(struct spawned *spawned)
{
	struct pollfd ended = { .fd = spawned->pidfd, .events = POLLIN };
	siginfo_t info = { 0 };
	int r = 0;

	fd_close(&spawned->door);
	fd_close(&spawned->lifeline);
	if (spawned->pidfd < 0)
		return 0;
	if (poll_until(&ended, 1, now_ms() + END_MS) <= 0)
		(void)k_pidfd_send_signal(spawned->pidfd, SIGKILL);
	do
		r = waitid((idtype_t)P_PIDFD, (id_t)spawned->pidfd, &info,
			   WEXITED); /* 5.4 */
	while (r < 0 && errno == EINTR);
	if (r < 0)
		r = -errno;
	else
		r = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	fd_close(&spawned->pidfd);
	/* It takes its groups away itself; one that was killed could not, and has the
	 * same rights as its starter. */
	if (r >= 128 && spawned->hello.cgroup.version != CGROUP_NONE)
		(void)cgroup_host_remove(&spawned->hello.cgroup);
	return r;
}
