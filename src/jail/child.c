/* SPDX-License-Identifier: MIT
 * Purpose: the ordered list of steps by which a fork of the zygote becomes a walled
 *   worker (child.h). This is the heart of the project: read it from top to bottom.
 * Process: the worker. It starts as uid 0 of the template's user namespace Z with
 *   CAP_SYS_ADMIN there, pid 2 of the jail's pid namespace; it ends as WORKER_UID of the
 *   jail's user namespace with nothing.
 * Trusts: the init's pidfd and the run's numbers, both from the engine.
 * Invariants: child-safe throughout. Any step that fails ends the worker before the
 *   program's first instruction. A step whose WALL_* bit is not asked for is left out,
 *   and only then; the engine says so in `enforced`. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/kernel.h"
#include "jail/caps.h"
#include "jail/child.h"
#include "jail/rlimits.h"
#include "jail/seccomp.h"

static int fail(struct sbx_err *err, const char *what)
{
	return err_set_plain(err, SBX_AT_WORKER, errno, what);
}

/* Namespaces. One setns(2) with a pidfd (5.8) enters all of them or none; the user
 * namespace comes with all capabilities over the others. The pid namespace was entered by
 * the fork, the time namespace too. */
static int enter_namespaces(const struct child_join *join, struct sbx_err *err)
{
	static const struct {
		unsigned wall;
		int flag;
	} kinds[] = {
		{ WALL_USER, CLONE_NEWUSER }, { WALL_MOUNT, CLONE_NEWNS },
		{ WALL_NET, CLONE_NEWNET },   { WALL_IPC, CLONE_NEWIPC },
		{ WALL_UTS, CLONE_NEWUTS },   { WALL_CGROUP, CLONE_NEWCGROUP },
	};
	int flags = 0;
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (join->walls & kinds[i].wall)
			flags |= kinds[i].flag;
	if (flags && setns(join->init_pidfd, flags) < 0)
		return fail(err, "setns into the jail");
	return 0;
}

/* Ids. By raw system calls, for this thread is the only one and glibc's broadcast wants
 * its own state. Groups first: they need a capability that must not be counted on later.
 * Where the starter is an ordinary user the kernel denies setgroups in the whole
 * namespace; the user's groups then stay, as in every rootless sandbox, and meet no file
 * but those that the policy grants. */
static int become_worker(struct sbx_err *err)
{
	if (syscall(SYS_setresgid, WORKER_UID, WORKER_UID, WORKER_UID) < 0)
		return fail(err, "setresgid");
	if (syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
		return fail(err, "setgroups");
	if (syscall(SYS_setresuid, WORKER_UID, WORKER_UID, WORKER_UID) < 0)
		return fail(err, "setresuid");
	if (getuid() != WORKER_UID || geteuid() != WORKER_UID || getgid() != WORKER_UID ||
	    getegid() != WORKER_UID)
		return err_set_plain(err, SBX_AT_WORKER, EPERM, "the ids did not change");
	return 0;
}

/* Descriptors: the channel becomes CHILD_CHANNEL_FD, /dev/null of the jail 0 to 2, all
 * else is closed, among it the init's pidfd and the zygote's own control socket. */
static int keep_descriptors(const struct child_join *join, struct sbx_err *err)
{
	int null;

	if (join->channel_fd != CHILD_CHANNEL_FD &&
	    syscall(SYS_dup3, join->channel_fd, CHILD_CHANNEL_FD, O_CLOEXEC) < 0)
		return fail(err, "dup of the channel");
	if (syscall(SYS_close_range, CHILD_CHANNEL_FD + 1, ~0u, 0) < 0)
		return fail(err, "close_range");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return fail(err, "open of /dev/null");
	if (close(null) < 0)
		return fail(err, "close");
	return 0;
}

/* What a fork inherits besides: signals, timers, umask, priority, affinity, session,
 * directory. */
static int forget_inherited(struct sbx_err *err)
{
	const struct itimerval off = { 0 };
	sigset_t none;
	int sig, which;

	for (sig = 1; sig < 65; sig++) {
		struct {
			void *handler;
			unsigned long flags;
			void *restorer;
			unsigned long mask;
		} action = { .handler = (void *)SIG_DFL };

		/* SIGPIPE and SIGXFSZ are the interpreter's: ignored, so that the program
		 * sees an exception. SIGINT keeps CPython's handler, harmless without a
		 * terminal. */
		if (sig == SIGKILL || sig == SIGSTOP || sig == SIGPIPE ||
		    sig == SIGXFSZ || sig == SIGINT)
			continue;
		if (syscall(SYS_rt_sigaction, sig, &action, NULL, 8) < 0 &&
		    errno != EINVAL)
			return fail(err, "rt_sigaction");
	}
	(void)sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return fail(err, "sigprocmask");
	for (which = ITIMER_REAL; which <= ITIMER_PROF; which++)
		if (setitimer((__itimer_which_t)which, &off, NULL) < 0)
			return fail(err, "setitimer");
	(void)umask(022);
	if (setsid() < 0)
		return fail(err, "setsid");
	/* Also leaves the zygote's directory, which is in another mount namespace
	 * (CVE-2024-21626). */
	if (chdir("/work") < 0)
		return fail(err, "chdir to /work");
	return 0;
}

int child_join(const struct child_join *join, struct landlock *landlock,
	       struct sbx_err *err)
{
	int r;

	landlock->fd = -1;
	landlock->abi = 0;
	r = enter_namespaces(join, err);
	if (r < 0)
		return r;
	/* Before anything is opened, so that nothing is opened with the zygote's id. */
	r = become_worker(err);
	if (r < 0)
		return r;
	/* After the namespaces, since /dev/null shall be the jail's. */
	r = keep_descriptors(join, err);
	if (r < 0)
		return r;
	r = forget_inherited(err);
	if (r < 0)
		return r;
	/* After the change of ids, which clears both. Dumpable: only then may the engine,
	 * which owns the user namespace, read what a denied call's arguments point to;
	 * nobody of this uid is there to abuse it, and the filter refuses ptrace and its
	 * kin as well as this prctl to the program. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return fail(err, "PR_SET_PDEATHSIG");
	if (join->walls & WALL_CAPS) {
		r = caps_keep(0, err);
		if (r < 0)
			return r;
	}
	if (prctl(PR_SET_DUMPABLE, 1) < 0)
		return fail(err, "PR_SET_DUMPABLE");
	/* Landlock and seccomp demand it, and it outlives them. */
	r = caps_no_new_privs(err);
	if (r < 0)
		return r;
	/* The costly half of Landlock, ahead of the request. */
	if (join->walls & WALL_LANDLOCK) {
		r = landlock_prepare(landlock, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Standard streams of the run take the places of /dev/null. Their originals are above
 * CHILD_CHANNEL_FD. */
static int take_stdio(const int stdio[3], struct sbx_err *err)
{
	int i;

	for (i = 0; i < 3; i++) {
		if (stdio[i] <= CHILD_CHANNEL_FD)
			return err_set_plain(err, SBX_AT_WORKER, EBADF,
					     "a standard stream is missing");
		if (dup2(stdio[i], i) < 0)
			return fail(err, "dup of a standard stream");
	}
	for (i = 0; i < 3; i++)
		(void)close(stdio[i]);
	return 0;
}

static int grant_paths(const struct child_confine *confine, struct landlock *landlock,
		       struct sbx_err *err)
{
	const char *at = confine->grants, *end = at + confine->run->grants_len;
	unsigned exec = (confine->run->flags & RUN_SUBPROCESS) ? LANDLOCK_EXEC : 0;
	int r;

	if (exec) {
		static const char *const roots[] = { "/usr",  "/bin",  "/lib", "/lib64",
						     "/sbin", "/work", "/tmp" };
		size_t i;

		for (i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
			if (access(roots[i], F_OK) < 0)
				continue;
			r = landlock_grant(landlock, roots[i], exec, err);
			if (r < 0)
				return r;
		}
	}
	while (at < end) {
		size_t len = strnlen(at, (size_t)(end - at));

		if (at + len >= end || len < 2)
			return err_set_plain(err, SBX_AT_WORKER, EINVAL,
					     "malformed grants");
		r = landlock_grant(
			landlock, at + 1,
			(at[0] == 'w' ? LANDLOCK_READ | LANDLOCK_WRITE : LANDLOCK_READ) |
				exec,
			err);
		if (r < 0)
			return r;
		at += len + 1;
	}
	return 0;
}

int child_confine(const struct child_confine *confine, struct landlock *landlock,
		  int *ret_listener, struct sbx_err *err)
{
	const struct worker_run *run = confine->run;
	const struct rlimits limits = {
		.open_files = run->open_files,
		.processes = run->processes,
		.data_bytes = run->data_bytes,
		.file_bytes = run->file_bytes,
	};
	int listener = -1, r;

	r = take_stdio(confine->stdio, err);
	if (r < 0)
		return r;
	/* The caller's directory, if a grant holds it. Before Landlock, which needs no
	 * such exception then. */
	if (confine->cwd[0] && chdir(confine->cwd) < 0)
		return fail(err, "chdir to the working directory");
	if (run->walls & WALL_RLIMITS) {
		r = rlimits_apply(&limits, err);
		if (r < 0)
			return r;
	}
	if (run->walls & WALL_LANDLOCK) {
		r = grant_paths(confine, landlock, err);
		if (r < 0)
			return r;
		r = landlock_apply(landlock, err);
		if (r < 0)
			return r;
	}
	/* Last, for the filter refuses most of what stands above. */
	if (run->walls & WALL_SECCOMP) {
		r = seccomp_apply(confine->filter, run->filter_len,
				  run->flags & RUN_LISTENER, &listener, err);
		if (r < 0)
			return r;
	}
	*ret_listener = listener;
	return 0;
}
