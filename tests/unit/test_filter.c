/* SPDX-License-Identifier: MIT
 * The seccomp filters: the table against libseccomp's names, the compiled programs
 * against the table and against libseccomp's in a simulator, and verdicts by hand against
 * both. What the kernel makes of them: test_notify.c. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter_help.h"

/* ---- the table ---- */

static void test_table_names_every_call(void **state)
{
	size_t i;
	int nr;

	(void)state;
	for (i = 0; i < filter_row_count; i++) {
		const struct filter_call *call = &filter_rows[i].call;
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, call->nr);

		if (i > 0)
			assert_true(filter_rows[i - 1].call.nr < call->nr);
		if (name)
			assert_string_equal(name, call->name);
		else
			assert_true(call->nr > 456);
		free(name);
		assert_ptr_equal(filter_describe(call->nr), call);
	}
	for (nr = 0; nr <= 456; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

		if (name && !filter_describe(nr))
			fail_msg("%d %s has no row", nr, name);
		free(name);
	}
	assert_null(filter_describe(600));
	assert_null(filter_describe(-1));
	assert_null(filter_describe(400));
}

/* Every list ends with a step that always holds, and tells one errno, which is the one
 * that notify.c sends. */
static void test_lists_are_complete(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < filter_row_count; i++) {
		const struct filter_row *row = &filter_rows[i];

		if (!row->steps)
			continue;
		assert_int_equal(row->steps[row->step_count - 1].op, OP_ELSE);
		assert_int_equal(row->steps[row->step_count - 1].modes, 0);
		for (j = 0; j < row->step_count; j++)
			if (row->steps[j].verdict == FILTER_RECORD &&
			    row->call.nr != SYS_socket)
				assert_int_equal(row->steps[j].errnum, row->call.errnum);
	}
}

/* ---- the compiler ---- */

/* Values that the steps compare with, their neighbours, and all of these with bits above
 * 32. */
static size_t interesting(const struct filter_row *row, unsigned arg, uint64_t *ret,
			  size_t max)
{
	size_t count = 0, i;

	ret[count++] = 0;
	ret[count++] = 1;
	ret[count++] = ~0ull;
	ret[count++] = HIGH;
	ret[count++] = 1ull << 32;
	for (i = 0; row && i < row->step_count && count + 4 < max; i++) {
		const struct filter_step *step = &row->steps[i];

		if ((step->arg & 7u) != arg || step->op == OP_ELSE)
			continue;
		ret[count++] = step->value;
		ret[count++] = step->value | HIGH;
		ret[count++] = step->value | ~(uint64_t)step->mask;
		ret[count++] = step->value + 1;
	}
	return count;
}

static void compare(const struct buf *b, unsigned modes, bool listener, int nr,
		    const uint64_t args[6])
{
	int errnum = 0, want, got = verdict(b, (uint32_t)nr, args);
	enum filter_verdict judged = filter_judge(modes, nr, args, &errnum);

	if (judged == FILTER_ALLOW)
		want = YES;
	else if (!(modes & FILTER_WORKER))
		want = ENOSYS;
	else
		want = judged == FILTER_RECORD && listener ? NOTIFY : errnum;
	if (got != want)
		fail_msg("modes %#x, call %d(%#llx, %#llx, %#llx, %#llx): %d, not %d",
			 modes, nr, (unsigned long long)args[0],
			 (unsigned long long)args[1], (unsigned long long)args[2],
			 (unsigned long long)args[3], got, want);
	/* What is not let through has an errno that notify.c can send. */
	if (want != YES)
		assert_in_range(filter_describe_call(nr, args)->errnum, 1, 4095);
	if (want == NOTIFY)
		assert_int_equal(filter_describe_call(nr, args)->errnum, errnum);
}

static void test_programs_say_what_the_table_says(void **state)
{
	static const struct {
		unsigned modes;
		bool listener;
	} all[] = {
		{ FILTER_WORKER, true },
		{ FILTER_WORKER, false },
		{ FILTER_WORKER | FILTER_SUBPROCESS, true },
		{ FILTER_WORKER | FILTER_SUPERVISED, true },
		{ FILTER_WORKER | FILTER_SUBPROCESS | FILTER_SUPERVISED, false },
		{ FILTER_WORKER | FILTER_NETWORK, true },
		{ FILTER_WORKER | FILTER_NETWORK | FILTER_SUBPROCESS, true },
		{ FILTER_ZYGOTE | FILTER_SUBPROCESS | FILTER_NETWORK, false },
		{ FILTER_ENGINE | FILTER_SUBPROCESS, false },
	};
	size_t m, i, x, y;

	(void)state;
	for (m = 0; m < COUNT(all); m++) {
		struct buf b = all[m].modes & FILTER_WORKER
				       ? worker((all[m].modes & FILTER_SUBPROCESS
							 ? RUN_SUBPROCESS
							 : 0) |
							(all[m].modes & FILTER_NETWORK
								 ? RUN_NETWORK
								 : 0) |
							(all[m].listener ? RUN_LISTENER
									 : 0),
						all[m].modes & FILTER_SUPERVISED)
				       : inner(all[m].modes & FILTER_ENGINE);
		int nr;

		for (nr = 0; nr < 700; nr++) {
			const uint64_t none[6] = { 0 };

			compare(&b, all[m].modes, all[m].listener, nr, none);
		}
		/* Pairs of neighbouring arguments: every list looks at two at most, at
		 * most one apart. */
		for (i = 0; i < filter_row_count; i++) {
			unsigned arg;

			for (arg = 0; filter_rows[i].steps && arg < 4; arg++) {
				uint64_t first[128], second[128];
				size_t a = interesting(&filter_rows[i], arg, first,
						       COUNT(first));
				size_t c = interesting(&filter_rows[i], arg + 1, second,
						       COUNT(second));

				for (x = 0; x < a; x++) {
					for (y = 0; y < c; y++) {
						uint64_t args[6] = { 0 };

						args[arg] = first[x];
						args[arg + 1] = second[y];
						compare(&b, all[m].modes, all[m].listener,
							filter_rows[i].call.nr, args);
					}
				}
			}
		}
		buf_free(&b);
	}
}

/* The filters of a process add up: what a worker may do its ancestors' filters must let
 * through. */
static void test_each_filter_allows_what_the_next_one_does(void **state)
{
	struct buf w = worker(RUN_SUBPROCESS | RUN_NETWORK, false), z = inner(false),
		   e = inner(true);
	size_t i, x, y;

	(void)state;
	for (i = 0; i < filter_row_count; i++) {
		unsigned arg;

		for (arg = 0; arg < 4; arg++) {
			uint64_t first[128], second[128];
			size_t a = interesting(&filter_rows[i], arg, first, COUNT(first));
			size_t c = interesting(&filter_rows[i], arg + 1, second,
					       COUNT(second));

			for (x = 0; x < a; x++) {
				for (y = 0; y < c; y++) {
					uint64_t args[6] = { 0 };
					uint32_t nr = (uint32_t)filter_rows[i].call.nr;

					args[arg] = first[x];
					args[arg + 1] = second[y];
					if (verdict(&w, nr, args) == YES &&
					    verdict(&z, nr, args) != YES)
						fail_msg("the zygote's filter denies %s",
							 filter_rows[i].call.name);
					if (verdict(&z, nr, args) == YES &&
					    verdict(&e, nr, args) != YES)
						fail_msg("the engine's filter denies %s",
							 filter_rows[i].call.name);
				}
			}
		}
	}
	buf_free(&w);
	buf_free(&z);
	buf_free(&e);
}

/* libseccomp's own compiler on the rows that need no list. */
static void test_libseccomp_agrees(void **state)
{
	static const uint64_t none[6];
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRACE(1));
	struct buf ours = worker(RUN_LISTENER, false), theirs = { 0 };
	int fd = memfd_create("filter", MFD_CLOEXEC);
	off_t size;
	size_t i, seen = 0;

	(void)state;
	assert_non_null(ctx);
	assert_true(fd >= 0);
	for (i = 0; i < filter_row_count; i++) {
		const struct filter_row *row = &filter_rows[i];
		uint32_t act = row->verdict == FILTER_ALLOW ? SCMP_ACT_ALLOW
			       : row->verdict == FILTER_RECORD
				       ? SCMP_ACT_NOTIFY
				       : SCMP_ACT_ERRNO((unsigned)row->call.errnum);

		if (!row->steps && row->call.nr <= 456)
			assert_int_equal(seccomp_rule_add(ctx, act, row->call.nr, 0), 0);
	}
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	size = lseek(fd, 0, SEEK_END);
	theirs.data = malloc((size_t)size);
	theirs.len = (size_t)size;
	assert_int_equal(pread(fd, theirs.data, theirs.len, 0), size);
	for (i = 0; i < filter_row_count; i++) {
		uint32_t nr = (uint32_t)filter_rows[i].call.nr;

		if (filter_rows[i].steps || nr > 456)
			continue;
		assert_int_equal(simulate(&ours, AUDIT_ARCH_X86_64, nr, none),
				 simulate(&theirs, AUDIT_ARCH_X86_64, nr, none));
		seen++;
	}
	assert_true(seen > 300);
	seccomp_release(ctx);
	(void)close(fd);
	buf_free(&ours);
	buf_free(&theirs);
}

/* ---- verdicts by hand ---- */

struct vcase {
	int nr;
	uint64_t args[4];
	int plain, supervised; /* of a worker with a listener; subprocesses off */
};
#define ALL(nr_, verdict_)                     \
	{                                      \
		nr_, { 0 }, verdict_, verdict_ \
	}

/* clang-format off */
static const struct vcase cases[] = {
	/* walls.md, the table */
	ALL(SYS_clone3, ENOSYS),
	{ SYS_clone, ARGS(0x3d0f00 /* a thread */), YES, YES },
	{ SYS_clone, ARGS(SIGCHLD), YES, YES },
	{ SYS_clone, ARGS(CLONE_VM | CLONE_VFORK | SIGCHLD), YES, YES },
	{ SYS_clone, ARGS(CLONE_NEWUSER | SIGCHLD), NOTIFY, NOTIFY },
	{ SYS_clone, ARGS(CLONE_NEWNS), NOTIFY, NOTIFY },
	{ SYS_clone, ARGS(CLONE_NEWPID), NOTIFY, NOTIFY },
	{ SYS_clone, ARGS(CLONE_NEWNET), NOTIFY, NOTIFY },
	{ SYS_clone, ARGS(CLONE_NEWIPC), NOTIFY, NOTIFY },
	{ SYS_clone, ARGS(CLONE_NEWUTS), NOTIFY, NOTIFY },
	{ SYS_clone, ARGS(CLONE_NEWCGROUP | HIGH), NOTIFY, NOTIFY },
	ALL(SYS_unshare, NOTIFY), ALL(SYS_setns, NOTIFY), ALL(SYS_mount, NOTIFY), ALL(SYS_umount2, NOTIFY),
	ALL(SYS_open_tree, NOTIFY), ALL(SYS_move_mount, NOTIFY), ALL(SYS_fsopen, NOTIFY),
	ALL(SYS_fsconfig, NOTIFY), ALL(SYS_fsmount, NOTIFY), ALL(SYS_fspick, NOTIFY),
	ALL(SYS_mount_setattr, NOTIFY), ALL(SYS_pivot_root, NOTIFY), ALL(SYS_chroot, NOTIFY),
	ALL(SYS_open_by_handle_at, NOTIFY), ALL(SYS_ptrace, NOTIFY), ALL(SYS_process_vm_readv, NOTIFY),
	ALL(SYS_process_vm_writev, NOTIFY), ALL(SYS_pidfd_getfd, NOTIFY), ALL(SYS_kcmp, NOTIFY),
	ALL(SYS_process_madvise, NOTIFY), ALL(SYS_bpf, NOTIFY), ALL(SYS_perf_event_open, NOTIFY),
	ALL(SYS_userfaultfd, NOTIFY), ALL(SYS_keyctl, NOTIFY), ALL(SYS_add_key, NOTIFY),
	ALL(SYS_request_key, NOTIFY), ALL(SYS_io_uring_setup, NOTIFY), ALL(SYS_io_uring_enter, NOTIFY),
	ALL(SYS_io_uring_register, NOTIFY), ALL(SYS_init_module, NOTIFY), ALL(SYS_finit_module, NOTIFY),
	ALL(SYS_delete_module, NOTIFY), ALL(SYS_kexec_load, NOTIFY), ALL(SYS_kexec_file_load, NOTIFY),
	ALL(SYS_reboot, NOTIFY), ALL(SYS_swapon, NOTIFY), ALL(SYS_swapoff, NOTIFY), ALL(SYS_iopl, NOTIFY),
	ALL(SYS_ioperm, NOTIFY), ALL(SYS_clock_settime, NOTIFY), ALL(SYS_settimeofday, NOTIFY),
	ALL(SYS_clock_adjtime, NOTIFY), ALL(SYS_adjtimex, NOTIFY), ALL(SYS_quotactl, NOTIFY),
	ALL(SYS_acct, NOTIFY), ALL(SYS_syslog, NOTIFY), ALL(SYS_seccomp, NOTIFY),
	ALL(SYS_landlock_create_ruleset, NOTIFY), ALL(SYS_landlock_add_rule, NOTIFY),
	ALL(SYS_landlock_restrict_self, NOTIFY), ALL(SYS_memfd_secret, NOTIFY), ALL(SYS_modify_ldt, NOTIFY),
	ALL(SYS_vmsplice, NOTIFY), ALL(SYS_shmget, NOTIFY), ALL(SYS_semget, NOTIFY), ALL(SYS_msgget, NOTIFY),
	ALL(SYS_shmat, NOTIFY), ALL(SYS_mq_open, NOTIFY), ALL(SYS_setuid, EPERM), ALL(SYS_setgid, EPERM),
	ALL(SYS_setreuid, EPERM), ALL(SYS_setresuid, EPERM), ALL(SYS_setgroups, EPERM), ALL(SYS_capset, EPERM),
	ALL(SYS_sched_setscheduler, EPERM), ALL(SYS_mbind, EPERM), ALL(600, NOTIFY), ALL(400, NOTIFY),
	ALL(470, NOTIFY), ALL(0x3fffffff, NOTIFY), ALL(-1, NOTIFY), ALL(0x40000000, KILL),
	ALL(0x40000001, KILL), ALL(0x40000000 + 520, KILL), ALL(0x7fffffff, KILL), ALL(-2, KILL),
	ALL(452 /* fchmodat2 */, ENOSYS),
	/* sockets */
	{ SYS_socket, ARGS(AF_INET, SOCK_STREAM), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_INET6 | HIGH, SOCK_DGRAM), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK), EAFNOSUPPORT, EAFNOSUPPORT },
	{ SYS_socket, ARGS(AF_ALG, SOCK_SEQPACKET), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_VSOCK, SOCK_STREAM), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_NETLINK, SOCK_RAW), NOTIFY, NOTIFY },
	{ SYS_socketpair, ARGS(AF_UNIX, SOCK_STREAM), YES, YES },
	{ SYS_socketpair, ARGS(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK), YES, YES },
	{ SYS_socketpair, ARGS(AF_UNIX, SOCK_DGRAM), NOTIFY, NOTIFY },
	{ SYS_socketpair, ARGS(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | HIGH), NOTIFY, NOTIFY },
	{ SYS_socketpair, ARGS(AF_TIPC, SOCK_STREAM), NOTIFY, NOTIFY },
	ALL(SYS_connect, NOTIFY), ALL(SYS_bind, NOTIFY), ALL(SYS_listen, NOTIFY), ALL(SYS_accept4, NOTIFY),
	{ SYS_sendto, ARGS(3, 0, 0, MSG_NOSIGNAL), YES, YES },
	{ SYS_sendto, ARGS(3, 0, 0, MSG_OOB), NOTIFY, NOTIFY },
	{ SYS_sendto, ARGS(3, 0, 0, MSG_FASTOPEN | HIGH), NOTIFY, NOTIFY },
	{ SYS_sendmsg, ARGS(3, 0, MSG_OOB | MSG_DONTWAIT), NOTIFY, NOTIFY },
	{ SYS_sendmmsg, ARGS(3, 0, 1, MSG_FASTOPEN), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_KEEPALIVE), YES, YES },
	/* what waits in a socket or a shared object is counted by a cgroup only */
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_SNDBUF), YES, EPERM },
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_RCVBUF | HIGH), YES, EPERM },
	{ SYS_mmap, ARGS(0, 1, 7, MAP_SHARED | MAP_ANONYMOUS), YES, ENOMEM },
	/* a child of its parent's parent */
	{ SYS_clone, ARGS(CLONE_PARENT | SIGCHLD), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_BINDTODEVICE), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_ATTACH_FILTER), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 6, 31 /* TCP_ULP */), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 6 | HIGH, 30 | HIGH), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 282 /* SOL_TLS */, 1), NOTIFY, NOTIFY },
	{ SYS_getsockopt, ARGS(3, SOL_SOCKET, SO_TYPE), YES, YES },
	{ SYS_getsockopt, ARGS(3, SOL_SOCKET, 77 /* SO_PEERPIDFD */), ENOPROTOOPT, ENOPROTOOPT },
	/* by argument */
	{ SYS_ioctl, ARGS(0, 0x5401), YES, YES }, { SYS_ioctl, ARGS(0, 0x541b | HIGH), YES, YES },
	{ SYS_ioctl, ARGS(0, 0x5412), NOTIFY, NOTIFY }, { SYS_ioctl, ARGS(0, 0x5412 | HIGH), NOTIFY, NOTIFY },
	{ SYS_ioctl, ARGS(0, 0x541c), NOTIFY, NOTIFY },
	{ SYS_ioctl, ARGS(0, 0x541c | 1ull << 32), NOTIFY, NOTIFY },
	{ SYS_ioctl, ARGS(0, 0x8912 /* SIOCGIFCONF */), EPERM, EPERM },
	{ SYS_ioctl, ARGS(0, 0x5402 /* TCSETS */), EPERM, EPERM },
	{ SYS_ioctl, ARGS(0, 0xb701 /* NS_GET_USERNS */), EPERM, EPERM },
	{ SYS_ioctl, ARGS(0, 0xc0502100 /* SECCOMP_IOCTL_NOTIF_RECV */), EPERM, EPERM },
	{ SYS_prctl, ARGS(PR_SET_NAME), YES, YES }, { SYS_prctl, ARGS(PR_SET_DUMPABLE), EPERM, EPERM },
	{ SYS_prctl, ARGS(PR_SET_SECCOMP), NOTIFY, NOTIFY },
	{ SYS_prctl, ARGS(PR_SET_SECCOMP | HIGH), NOTIFY, NOTIFY },
	{ SYS_prctl, ARGS(PR_SET_MM), EPERM, EPERM }, { SYS_prctl, ARGS(PR_SET_CHILD_SUBREAPER), EPERM, EPERM },
	{ SYS_prctl, ARGS(0x59616d61 /* PR_SET_PTRACER */), EPERM, EPERM },
	{ SYS_prctl, ARGS(67 /* PR_SET_MEMORY_MERGE */), EPERM, EPERM },
	{ SYS_fcntl, ARGS(0, F_SETFL), YES, YES }, { SYS_fcntl, ARGS(0, F_SETLKW), YES, YES },
	{ SYS_fcntl, ARGS(0, F_DUPFD_CLOEXEC), YES, YES }, { SYS_fcntl, ARGS(0, F_NOTIFY), EPERM, EPERM },
	{ SYS_fcntl, ARGS(0, F_SETLEASE), EPERM, EPERM }, { SYS_fcntl, ARGS(0, F_OFD_SETLK), EPERM, EPERM },
	{ SYS_fcntl, ARGS(0, F_OFD_GETLK | HIGH), EPERM, EPERM },
	{ SYS_fcntl, ARGS(0, F_SETPIPE_SZ), YES, EPERM }, ALL(SYS_flock, ENOSYS), ALL(SYS_inotify_init1, ENOSYS),
	{ SYS_personality, ARGS(0xffffffff), YES, YES }, { SYS_personality, ARGS(~0ull), YES, YES },
	{ SYS_personality, ARGS(0x0040000 /* ADDR_NO_RANDOMIZE */), EPERM, EPERM },
	{ SYS_mmap, ARGS(0, 1, 7, MAP_PRIVATE | MAP_ANONYMOUS), YES, YES },
	{ SYS_mmap, ARGS(0, 1, 7, MAP_PRIVATE | MAP_HUGETLB), ENOMEM, ENOMEM },
	{ SYS_madvise, ARGS(0, 1, MADV_DONTNEED), YES, YES },
	{ SYS_madvise, ARGS(0, 1, MADV_MERGEABLE), EINVAL, EINVAL },
	{ SYS_memfd_create, ARGS(0, MFD_CLOEXEC), YES, ENOSYS },
	{ SYS_memfd_create, ARGS(0, MFD_HUGETLB), EINVAL, ENOSYS },
	{ SYS_rt_sigaction, ARGS(SIGCHLD, 0, 1), YES, YES },
	{ SYS_rt_sigaction, ARGS(SIGCHLD, 0x7fff00001000), YES, EPERM },
	{ SYS_rt_sigaction, ARGS(SIGCHLD | HIGH, 0x1000), YES, EPERM },
	{ SYS_rt_sigaction, ARGS(SIGCHLD, 0x100000000), YES, EPERM },
	{ SYS_rt_sigaction, ARGS(SIGTERM, 0x7fff00001000), YES, YES },
	{ SYS_prlimit64, ARGS(0), YES, YES }, { SYS_prlimit64, ARGS(1), EPERM, EPERM },
	{ SYS_sched_setaffinity, ARGS(0), YES, YES }, { SYS_sched_setaffinity, ARGS(1 | HIGH), EPERM, EPERM },
	{ SYS_setpriority, ARGS(0, 0, 5), YES, YES }, { SYS_setpriority, ARGS(0, 1, 5), EPERM, EPERM },
	{ SYS_setpriority, ARGS(2, 0, 5), EPERM, EPERM },
	/* set-id files and devices */
	{ SYS_chmod, ARGS(0, 0755), YES, YES }, { SYS_chmod, ARGS(0, 04755), NOTIFY, NOTIFY },
	{ SYS_fchmod, ARGS(3, 02755 | HIGH), NOTIFY, NOTIFY }, { SYS_fchmodat, ARGS(3, 0, 06755), NOTIFY, NOTIFY },
	{ SYS_fchmodat, ARGS(3, 0, 01777), YES, YES },
	{ SYS_openat, ARGS(3, 0, O_RDONLY, 07777), YES, YES },
	{ SYS_openat, ARGS(3, 0, O_CREAT | O_WRONLY, 0666), YES, YES },
	{ SYS_openat, ARGS(3, 0, O_CREAT | O_WRONLY, 04755), NOTIFY, NOTIFY },
	{ SYS_openat, ARGS(3, 0, O_TMPFILE | O_WRONLY, 04755), NOTIFY, NOTIFY },
	{ SYS_openat, ARGS(3, 0, O_DIRECTORY, 04755), YES, YES },
	{ SYS_open, ARGS(0, O_CREAT, 02755), NOTIFY, NOTIFY }, { SYS_creat, ARGS(0, 04755), NOTIFY, NOTIFY },
	ALL(SYS_openat2, ENOSYS), { SYS_mknod, ARGS(0, S_IFIFO | 0600), YES, YES },
	{ SYS_mknodat, ARGS(3, 0, S_IFREG | 0600), YES, YES }, { SYS_mknodat, ARGS(3, 0, S_IFCHR), NOTIFY, NOTIFY },
	{ SYS_mknodat, ARGS(3, 0, S_IFBLK | HIGH), NOTIFY, NOTIFY },
	{ SYS_mknod, ARGS(0, S_IFREG | 04755), NOTIFY, NOTIFY },
	/* other programs */
	ALL(SYS_execve, NOTIFY), ALL(SYS_execveat, NOTIFY), ALL(SYS_fork, YES), ALL(SYS_vfork, YES),
	/* own processes */
	ALL(SYS_kill, YES), ALL(SYS_tgkill, YES), ALL(SYS_pidfd_open, YES), ALL(SYS_wait4, YES),
	ALL(SYS_exit, YES), ALL(SYS_exit_group, YES),
};
/* With the network: what changes, and what does not. The last is the verdict without
 * it. */
static const struct vcase network_cases[] = {
	{ SYS_socket, ARGS(AF_INET, SOCK_STREAM), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_INET6 | HIGH, SOCK_STREAM | SOCK_CLOEXEC, 6), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_INET, SOCK_DGRAM), YES, NOTIFY },
	{ SYS_socket, ARGS(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 17 | HIGH), YES, NOTIFY },
	{ SYS_socket, ARGS(AF_INET, SOCK_DGRAM, 1 /* ICMP */), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_INET, SOCK_DGRAM, 136 /* UDP-Lite */), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_INET, SOCK_STREAM, 262 /* MPTCP */), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_INET, SOCK_RAW, 255), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_INET6, SOCK_SEQPACKET, 132), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_UNIX, SOCK_DGRAM), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_PACKET, SOCK_DGRAM), NOTIFY, NOTIFY },
	{ SYS_socket, ARGS(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0), EAFNOSUPPORT, NOTIFY },
	{ SYS_socket, ARGS(AF_NETLINK, SOCK_RAW, 4 /* SOCK_DIAG */), NOTIFY, NOTIFY },
	ALL(SYS_connect, NOTIFY), ALL(SYS_bind, NOTIFY), ALL(SYS_listen, NOTIFY), ALL(SYS_accept, NOTIFY),
	ALL(SYS_accept4, NOTIFY), ALL(SYS_shutdown, YES),
	{ SYS_setsockopt, ARGS(3, 6, 1 /* TCP_NODELAY */), YES, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 6, 30 /* TCP_FASTOPEN_CONNECT */), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 6, 23 /* TCP_FASTOPEN */), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 6, 19 /* TCP_REPAIR */), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 6, 31 /* TCP_ULP */), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_LINGER), NOTIFY, YES },
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_BINDTODEVICE), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_MARK), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, SOL_SOCKET, SO_KEEPALIVE), YES, YES },
	{ SYS_setsockopt, ARGS(3, 0, 11 /* IP_RECVERR */), YES, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 0, 35 /* IP_ADD_MEMBERSHIP */), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 0, 25), NOTIFY, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 41, 26 /* IPV6_V6ONLY */), YES, NOTIFY },
	{ SYS_setsockopt, ARGS(3, 41, 11), NOTIFY, NOTIFY },
	{ SYS_sendto, ARGS(3, 0, 0, MSG_FASTOPEN), NOTIFY, NOTIFY },
	{ SYS_sendmsg, ARGS(3, 0, MSG_FASTOPEN | HIGH), NOTIFY, NOTIFY },
	{ SYS_ioctl, ARGS(3, 0x8912 /* SIOCGIFCONF */), EPERM, EPERM },
	{ SYS_ioctl, ARGS(3, 0x8914 /* SIOCSIFFLAGS */), EPERM, EPERM },
	{ SYS_ioctl, ARGS(3, 0x8927 /* SIOCGIFHWADDR */), EPERM, EPERM },
};
/* clang-format on */

static void test_network_verdicts(void **state)
{
	struct buf with = worker(RUN_LISTENER | RUN_NETWORK, false),
		   without = worker(RUN_LISTENER, false), z = inner(false);
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(network_cases); i++) {
		const struct vcase *c = &network_cases[i];
		uint64_t args[6] = { c->args[0], c->args[1], c->args[2], c->args[3] };
		uint32_t nr = (uint32_t)c->nr;

		if (verdict(&with, nr, args) != c->plain ||
		    verdict(&without, nr, args) != c->supervised)
			fail_msg("case %zu, call %d(%#llx, %#llx, %#llx): %d and %d", i,
				 c->nr, (unsigned long long)args[0],
				 (unsigned long long)args[1], (unsigned long long)args[2],
				 verdict(&with, nr, args), verdict(&without, nr, args));
		/* What either is allowed the zygote's filter, beneath both, allows. */
		if (c->plain == YES || c->supervised == YES)
			assert_int_equal(verdict(&z, nr, args), YES);
	}
	buf_free(&with);
	buf_free(&without);
	buf_free(&z);
}

static void test_verdicts(void **state)
{
	struct buf plain = worker(RUN_LISTENER, false),
		   supervised = worker(RUN_LISTENER, true);
	struct buf silent = worker(0, false);
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		const struct vcase *c = &cases[i];
		uint64_t args[6] = { c->args[0], c->args[1], c->args[2], c->args[3] };
		uint32_t nr = (uint32_t)c->nr;
		int without = verdict(&silent, nr, args);

		/* A foreign entry is ended by the listener, so that it is told of. */
		if (verdict(&plain, nr, args) != (c->plain == KILL ? NOTIFY : c->plain) ||
		    verdict(&supervised, nr, args) !=
			    (c->supervised == KILL ? NOTIFY : c->supervised))
			fail_msg("case %zu, call %d(%#llx, %#llx): %d and %d", i, c->nr,
				 (unsigned long long)args[0], (unsigned long long)args[1],
				 verdict(&plain, nr, args),
				 verdict(&supervised, nr, args));
		/* Without a listener: the errno that it would have sent. */
		assert_int_equal(without,
				 c->plain == NOTIFY
					 ? filter_describe_call(c->nr, args)->errnum
					 : c->plain);
		/* i386, whatever the number; and a number of x86_64 is none of another
		 * architecture. */
		assert_int_equal(simulate(&silent, AUDIT_ARCH_I386, nr, args),
				 SECCOMP_RET_KILL_PROCESS);
		assert_int_equal(simulate(&silent, AUDIT_ARCH_AARCH64, nr, args),
				 SECCOMP_RET_KILL_PROCESS);
		assert_int_equal(simulate(&plain, AUDIT_ARCH_I386, nr, args),
				 SECCOMP_RET_USER_NOTIF);
	}
	buf_free(&plain);
	buf_free(&supervised);
	buf_free(&silent);
}

static void test_errnos(void **state)
{
	const uint64_t inet[6] = { AF_INET | HIGH }, unix_[6] = { AF_UNIX },
		       none[6] = { 0 };

	(void)state;
	assert_int_equal(filter_describe_call(SYS_socket, inet)->errnum, EACCES);
	assert_string_equal(filter_describe_call(SYS_socket, inet)->rule,
			    "network_access");
	assert_int_equal(filter_describe_call(SYS_socket, unix_)->errnum, EAFNOSUPPORT);
	assert_int_equal(filter_describe_call(SYS_execve, none)->errnum, EACCES);
	assert_string_equal(filter_describe_call(SYS_execve, none)->rule,
			    "allow_subprocess");
	assert_int_equal(filter_describe_call(SYS_io_uring_setup, none)->errnum, ENOSYS);
	assert_int_equal(filter_describe_call(SYS_unshare, none)->errnum, EPERM);
	assert_int_equal(filter_describe_call(600, none)->errnum, ENOSYS);
}

/* The calls of ten workloads (shared/python-syscalls.txt), but for those on the internet,
 * flock and clone3. */
static void test_what_python_needs(void **state)
{
	static const char *const names[] = {
		"access",
		"arch_prctl",
		"brk",
		"chdir",
		"chmod",
		"clock_nanosleep",
		"clone",
		"close",
		"close_range",
		"dup2",
		"epoll_create1",
		"epoll_ctl",
		"epoll_wait",
		"eventfd2",
		"execve",
		"fadvise64",
		"fchown",
		"fcntl",
		"fdatasync",
		"fsync",
		"ftruncate",
		"futex",
		"getcwd",
		"getdents64",
		"getegid",
		"geteuid",
		"getgid",
		"getpeername",
		"getpid",
		"getppid",
		"getpriority",
		"getrandom",
		"getrusage",
		"getsockname",
		"getsockopt",
		"gettid",
		"getuid",
		"ioctl",
		"kill",
		"link",
		"listxattr",
		"lseek",
		"madvise",
		"memfd_create",
		"mkdir",
		"mmap",
		"mprotect",
		"mremap",
		"msync",
		"munmap",
		"newfstatat",
		"openat",
		"pipe2",
		"poll",
		"pread64",
		"prlimit64",
		"pselect6",
		"pwrite64",
		"read",
		"readlink",
		"recvfrom",
		"rename",
		"rmdir",
		"rseq",
		"rt_sigaction",
		"rt_sigprocmask",
		"rt_sigreturn",
		"sched_getaffinity",
		"sendfile",
		"sendto",
		"set_robust_list",
		"set_tid_address",
		"setitimer",
		"setsockopt",
		"shutdown",
		"socketpair",
		"statfs",
		"statx",
		"symlink",
		"sysinfo",
		"times",
		"truncate",
		"umask",
		"uname",
		"unlink",
		"unlinkat",
		"utimensat",
		"vfork",
		"wait4",
		"write",
		"exit",
		"exit_group",
	};
	struct buf b = worker(RUN_SUBPROCESS | RUN_LISTENER, false);
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(names); i++) {
		int nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, names[i]);
		uint64_t args[6] = { 0 };

		if (nr == SYS_arch_prctl)
			args[0] = 0x1002;
		if (nr == SYS_ioctl)
			args[1] = 0x5401;
		if (nr == SYS_setsockopt || nr == SYS_getsockopt)
			args[1] = SOL_SOCKET, args[2] = SO_SNDBUF;
		if (nr == SYS_socketpair)
			args[0] = AF_UNIX, args[1] = SOCK_STREAM;
		if (verdict(&b, (uint32_t)nr, args) != YES)
			fail_msg("%s is denied", names[i]);
	}
	buf_free(&b);
}

/* A call that the kernel finds to be always allowed costs no run of the filter. */
static void test_hot_calls_cost_nothing(void **state)
{
	static const int hot[] = {
		SYS_read,     SYS_write,          SYS_close,        SYS_futex,
		SYS_lseek,    SYS_fstat,          SYS_newfstatat,   SYS_munmap,
		SYS_brk,      SYS_poll,           SYS_epoll_wait,   SYS_clock_nanosleep,
		SYS_getpid,   SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_pread64,
		SYS_recvfrom, SYS_wait4
	};
	struct buf b = worker(RUN_LISTENER, false);
	size_t count = b.len / sizeof(struct sock_filter), steps, i;

	(void)state;
	for (i = 0; i < COUNT(hot); i++)
		assert_true(bpf_sim_always_allowed(code_of(&b), count, AUDIT_ARCH_X86_64,
						   hot[i]));
	assert_false(
		bpf_sim_always_allowed(code_of(&b), count, AUDIT_ARCH_X86_64, SYS_ioctl));
	for (i = 0; i < 470; i++) {
		const struct seccomp_data data = { .nr = (int)i,
						   .arch = AUDIT_ARCH_X86_64 };

		(void)bpf_sim_run(code_of(&b), count, &data, &steps);
		assert_true(steps < 50);
	}
	assert_true(count < 500);
	buf_free(&b);
}

/* What jailer, init, zygote and a worker on its way in do beneath the engine's filter,
 * and what none of them does. */
static void test_ancestors(void **state)
{
	static const int set_up[] = { SYS_setns,
				      SYS_setresuid,
				      SYS_setresgid,
				      SYS_setgroups,
				      SYS_capset,
				      SYS_landlock_create_ruleset,
				      SYS_landlock_add_rule,
				      SYS_landlock_restrict_self,
				      SYS_seccomp,
				      SYS_setsid,
				      SYS_close_range,
				      SYS_dup3,
				      SYS_prctl,
				      SYS_execve };
	static const int engine_only[] = { SYS_mount,         SYS_umount2,
					   SYS_pivot_root,    SYS_open_tree,
					   SYS_move_mount,    SYS_fsopen,
					   SYS_fsconfig,      SYS_fsmount,
					   SYS_fspick,        SYS_mount_setattr,
					   SYS_clone3,        SYS_unshare,
					   SYS_openat2,       SYS_sethostname,
					   SYS_setdomainname, SYS_process_vm_readv,
					   SYS_pidfd_getfd,   SYS_accept4,
					   SYS_bind,          SYS_listen };
	static const int nobody[] = { SYS_bpf,
				      SYS_perf_event_open,
				      SYS_io_uring_setup,
				      SYS_keyctl,
				      SYS_add_key,
				      SYS_init_module,
				      SYS_finit_module,
				      SYS_kexec_load,
				      SYS_ptrace,
				      SYS_userfaultfd,
				      SYS_clock_settime,
				      SYS_swapon,
				      SYS_quotactl,
				      SYS_acct,
				      SYS_syslog,
				      SYS_open_by_handle_at,
				      SYS_shmget,
				      SYS_modify_ldt,
				      SYS_reboot,
				      SYS_process_vm_writev,
				      600 };
	struct buf z = inner(false), e = inner(true);
	const uint64_t none[6] = { 0 }, alg[6] = { AF_ALG }, inet[6] = { AF_INET },
		       user[6] = { CLONE_NEWUSER };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(set_up); i++) {
		assert_int_equal(verdict(&z, (uint32_t)set_up[i], none), YES);
		assert_int_equal(verdict(&e, (uint32_t)set_up[i], none), YES);
	}
	for (i = 0; i < COUNT(engine_only); i++) {
		assert_int_equal(verdict(&z, (uint32_t)engine_only[i], none), ENOSYS);
		assert_int_equal(verdict(&e, (uint32_t)engine_only[i], none), YES);
	}
	for (i = 0; i < COUNT(nobody); i++) {
		assert_int_equal(verdict(&z, (uint32_t)nobody[i], none), ENOSYS);
		assert_int_equal(verdict(&e, (uint32_t)nobody[i], none), ENOSYS);
		/* Weaker than a notification, or the worker's denials would stay
		 * untold. */
		assert_int_equal(
			simulate(&e, AUDIT_ARCH_X86_64, (uint32_t)nobody[i], none),
			SECCOMP_RET_TRACE);
	}
	assert_int_equal(verdict(&z, SYS_socket, inet), ENOSYS);
	assert_int_equal(verdict(&e, SYS_socket, inet), YES);
	assert_int_equal(verdict(&e, SYS_socket, alg), ENOSYS);
	assert_int_equal(verdict(&z, SYS_clone, user), ENOSYS);
	assert_int_equal(verdict(&e, SYS_clone, user), YES);
	/* Not stronger than the worker's notification, or its death would be untold. */
	assert_int_equal(verdict(&e, 0x40000000, none), NOTIFY);
	assert_int_equal(simulate(&e, AUDIT_ARCH_I386, 1, none), SECCOMP_RET_USER_NOTIF);
	buf_free(&z);
	buf_free(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_names_every_call),
		cmocka_unit_test(test_lists_are_complete),
		cmocka_unit_test(test_programs_say_what_the_table_says),
		cmocka_unit_test(test_each_filter_allows_what_the_next_one_does),
		cmocka_unit_test(test_libseccomp_agrees),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_network_verdicts),
		cmocka_unit_test(test_errnos),
		cmocka_unit_test(test_what_python_needs),
		cmocka_unit_test(test_hot_calls_cost_nothing),
		cmocka_unit_test(test_ancestors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
