/* SPDX-License-Identifier: MIT
 * Purpose: the table of verdicts (filter_table.h), for x86_64.
 * Process: the engine. Trusts: nothing; it is constant.
 * Invariants: every number that the kernel headers of 6.1 name has a row, and so do the
 *   newer ones that C libraries try on their own; what has none is ENOSYS. A row's RECORD
 *   has one errno, but for socket(2). What the worker may do the zygote and the engine
 *   may (the filters of a process only add up), so a step for these two only allows. */
#include "jail/filter_table.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/kernel.h"

#ifndef __x86_64__
#error "the numbers below are those of x86_64"
#endif

/* -- steps -- */
/* clang-format off */
#define IF(op_, arg_, mask_, value_, ...)                                                                     \
	{ .op = op_, .arg = arg_, .mask = mask_, .value = (uint32_t)(value_), __VA_ARGS__ }
#define ALLOW .verdict = FILTER_ALLOW
#define DENY(errno_) .verdict = FILTER_DENY, .errnum = errno_
#define RECORD(errno_) .verdict = FILTER_RECORD, .errnum = errno_
#define SKIP(count_) .verdict = FILTER_SKIP, .skip = count_
#define IS(arg_, value_, ...) IF(OP_IS, arg_, ~0u, value_, __VA_ARGS__)
#define NOT(arg_, value_, ...) IF(OP_NOT, arg_, ~0u, value_, __VA_ARGS__)
#define ANY(arg_, bits_, ...) IF(OP_ANY, arg_, ~0u, bits_, __VA_ARGS__)
#define ELSE(...) IF(OP_ELSE, 0, 0, 0, __VA_ARGS__)
#define ONLY(modes_) .modes = modes_
#define OURS (FILTER_ZYGOTE | FILTER_ENGINE)

/* -- files -- */

/* A set-id file that a program leaves in a granted directory would give others the rights
 * of its owner. */
#define SET_ID (S_ISUID | S_ISGID)
#define MAKES_A_FILE (O_CREAT | (__O_TMPFILE & ~O_DIRECTORY)) /* else the mode is whatever was in the register */

static const struct filter_step steps_open[] = { /* path, flags, mode */
	IF(OP_IS, 1, MAKES_A_FILE, 0, ALLOW),
	ANY(2, SET_ID, RECORD(EPERM)),
	ELSE(ALLOW),
};
static const struct filter_step steps_openat[] = { /* dirfd, path, flags, mode */
	IF(OP_IS, 2, MAKES_A_FILE, 0, ALLOW),
	ANY(3, SET_ID, RECORD(EPERM)),
	ELSE(ALLOW),
};
static const struct filter_step steps_mode1[] = { /* x, mode */
	ANY(1, SET_ID, RECORD(EPERM)),
	ELSE(ALLOW),
};
static const struct filter_step steps_mode2[] = { /* dirfd, path, mode */
	ANY(2, SET_ID, RECORD(EPERM)),
	ELSE(ALLOW),
};
static const struct filter_step steps_mknod[] = { /* path, mode, device */
	ANY(1, SET_ID, RECORD(EPERM)),
	IF(OP_IS, 1, S_IFMT, S_IFCHR, RECORD(EPERM)),
	IF(OP_IS, 1, S_IFMT, S_IFBLK, RECORD(EPERM)),
	ELSE(ALLOW),
};
static const struct filter_step steps_mknodat[] = { /* dirfd, path, mode, device */
	ANY(2, SET_ID, RECORD(EPERM)),
	IF(OP_IS, 2, S_IFMT, S_IFCHR, RECORD(EPERM)),
	IF(OP_IS, 2, S_IFMT, S_IFBLK, RECORD(EPERM)),
	ELSE(ALLOW),
};

/* Without F_NOTIFY and leases, which tell of other jails' use of a shared inode, and
 * without locks that belong to open files (F_OFD_*): of the locks SQLite needs those of
 * POSIX. Pipes are kernel memory, which only a cgroup counts. */
static const struct filter_step steps_fcntl[] = { /* fd, command */
	IS(1, F_SETPIPE_SZ, DENY(EPERM), ONLY(FILTER_SUPERVISED)),
	IS(1, F_GETFL, ALLOW), IS(1, F_SETFL, ALLOW), IS(1, F_GETFD, ALLOW), IS(1, F_SETFD, ALLOW),
	IS(1, F_DUPFD, ALLOW), IS(1, F_DUPFD_CLOEXEC, ALLOW),
	IS(1, 1027 /* F_DUPFD_QUERY, 6.10 */, ALLOW),
	IS(1, F_GETLK, ALLOW), IS(1, F_SETLK, ALLOW), IS(1, F_SETLKW, ALLOW),
	IS(1, F_GETPIPE_SZ, ALLOW), IS(1, F_SETPIPE_SZ, ALLOW),
	IS(1, F_ADD_SEALS, ALLOW), IS(1, F_GET_SEALS, ALLOW),
	IS(1, F_GETOWN, ALLOW), IS(1, F_GETSIG, ALLOW),
	/* Which engines have a journal open. */
	IS(1, F_OFD_GETLK, ALLOW, ONLY(FILTER_ENGINE)), IS(1, F_OFD_SETLK, ALLOW, ONLY(FILTER_ENGINE)),
	IS(1, F_OFD_SETLKW, ALLOW, ONLY(FILTER_ENGINE)),
	ELSE(DENY(EPERM)),
};

#define TTY_GETATTR2 0x802c542au /* TCGETS2, for isatty() of newer C libraries */
static const struct filter_step steps_ioctl[] = { /* fd, request */
	IS(1, 0x5401 /* TCGETS */, ALLOW),    IS(1, TTY_GETATTR2, ALLOW),
	IS(1, 0x5413 /* TIOCGWINSZ */, ALLOW), IS(1, 0x540f /* TIOCGPGRP */, ALLOW),
	IS(1, 0x5411 /* TIOCOUTQ */, ALLOW),  IS(1, 0x541b /* FIONREAD */, ALLOW),
	IS(1, 0x5421 /* FIONBIO */, ALLOW),   IS(1, 0x5450 /* FIONCLEX */, ALLOW),
	IS(1, 0x5451 /* FIOCLEX */, ALLOW),   IS(1, 0x5460 /* FIOQSIZE */, ALLOW),
	/* Keys pushed into a terminal's input (CVE-2017-5226), and the console's own way
	 * to do so. */
	IS(1, 0x5412 /* TIOCSTI */, RECORD(EPERM)), IS(1, 0x541c /* TIOCLINUX */, RECORD(EPERM)),
	/* Of the init, in whose namespace they speak of the jail's loopback. */
	IS(1, 0x8913 /* SIOCGIFFLAGS */, ALLOW, ONLY(FILTER_ENGINE)),
	IS(1, 0x8914 /* SIOCSIFFLAGS */, ALLOW, ONLY(FILTER_ENGINE)),
	IS(1, SECCOMP_IOCTL_NOTIF_RECV, ALLOW, ONLY(FILTER_ENGINE)),
	IS(1, SECCOMP_IOCTL_NOTIF_SEND, ALLOW, ONLY(FILTER_ENGINE)),
	IS(1, SECCOMP_IOCTL_NOTIF_ID_VALID, ALLOW, ONLY(FILTER_ENGINE)),
	IS(1, SECCOMP_IOCTL_NOTIF_ADDFD, ALLOW, ONLY(FILTER_ENGINE)),
	IS(1, SECCOMP_IOCTL_NOTIF_SET_FLAGS, ALLOW, ONLY(FILTER_ENGINE)),
	ELSE(DENY(EPERM)),
};

/* -- memory -- */

/* Huge pages of the reserved pool are charged to no memory cgroup. Told as a machine
 * without any tells it. */
static const struct filter_step steps_mmap[] = { /* at, length, protection, flags */
	/* Pages of a shared anonymous object stay when the part that they are in is
	 * unmapped, where no look at /proc shows them. (The other way to one, /dev/zero,
	 * is left out of such a jail's /dev.) */
	IF(OP_IS, 3, MAP_ANONYMOUS | MAP_TYPE, MAP_ANONYMOUS | MAP_SHARED, DENY(ENOMEM), ONLY(FILTER_SUPERVISED)),
	ANY(3, MAP_HUGETLB, DENY(ENOMEM)),
	ELSE(ALLOW),
};
static const struct filter_step steps_memfd_create[] = { /* name, flags */
	/* Pages that no process has mapped are seen by cgroups only. */
	ELSE(DENY(ENOSYS), ONLY(FILTER_SUPERVISED)),
	ANY(1, 4 /* MFD_HUGETLB */, DENY(EINVAL)),
	ELSE(ALLOW),
};
/* Pages merged between jails tell each what the other has. */
static const struct filter_step steps_madvise[] = { /* at, length, advice */
	IS(2, MADV_MERGEABLE, DENY(EINVAL)),
	ELSE(ALLOW),
};

/* -- processes -- */

#define NEW_NAMESPACES                                                                                        \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |         \
	 CLONE_NEWNET)
/* CLONE_PARENT makes the caller's parent the parent: a child of the zygote's, which reaps
 * none but its workers, so that the jail's pid namespace never becomes empty. */
static const struct filter_step steps_clone[] = { /* flags */
	ELSE(ALLOW, ONLY(FILTER_ENGINE)),
	ANY(0, CLONE_PARENT, RECORD(EPERM), ONLY(FILTER_WORKER)),
	ANY(0, NEW_NAMESPACES, RECORD(EPERM)),
	ELSE(ALLOW),
};
/* EACCES, for Python makes PermissionError of it and shells say "Permission denied". */
static const struct filter_step steps_exec[] = {
	ELSE(ALLOW, ONLY(FILTER_SUBPROCESS)),
	ELSE(RECORD(EACCES)),
};
/* Without a cgroup CPU time is counted by who waits for a child; with SIGCHLD ignored
 * nobody would. */
static const struct filter_step steps_rt_sigaction[] = { /* signal, new action, old */
	NOT(0, SIGCHLD, ALLOW, ONLY(FILTER_SUPERVISED)),
	NOT(1, 0, DENY(EPERM), ONLY(FILTER_SUPERVISED)),
	NOT(1 | FILTER_HIGH, 0, DENY(EPERM), ONLY(FILTER_SUPERVISED)),
	ELSE(ALLOW),
};
/* Pid 1 is the jail's init, of the same uid as the program: its limits, priority and CPUs
 * are not the program's. */
static const struct filter_step steps_pid[] = { /* pid */
	IS(0, 1, DENY(EPERM), ONLY(FILTER_WORKER)),
	ELSE(ALLOW),
};
static const struct filter_step steps_setpriority[] = { /* which, who, value */
	IS(0, 2 /* PRIO_USER */, DENY(EPERM), ONLY(FILTER_WORKER)),
	IS(1, 1, DENY(EPERM), ONLY(FILTER_WORKER)),
	ELSE(ALLOW),
};
static const struct filter_step steps_personality[] = {
	IS(0, 0xffffffffu /* which one it is */, ALLOW),
	ELSE(DENY(EPERM)),
};
static const struct filter_step steps_prctl[] = { /* option */
	IS(0, PR_SET_SECCOMP, RECORD(EPERM)),
	ELSE(ALLOW, ONLY(OURS)),
	IS(0, PR_SET_NAME, ALLOW), IS(0, PR_GET_NAME, ALLOW),
	IS(0, PR_SET_PDEATHSIG, ALLOW), IS(0, PR_GET_PDEATHSIG, ALLOW),
	IS(0, PR_GET_DUMPABLE, ALLOW), IS(0, PR_GET_KEEPCAPS, ALLOW), IS(0, PR_GET_TIMING, ALLOW),
	IS(0, PR_GET_SECCOMP, ALLOW), IS(0, PR_CAPBSET_READ, ALLOW), IS(0, PR_GET_SECUREBITS, ALLOW),
	IS(0, PR_GET_TSC, ALLOW), IS(0, PR_SET_TIMERSLACK, ALLOW), IS(0, PR_GET_TIMERSLACK, ALLOW),
	IS(0, PR_GET_CHILD_SUBREAPER, ALLOW), IS(0, PR_SET_NO_NEW_PRIVS, ALLOW),
	IS(0, PR_GET_NO_NEW_PRIVS, ALLOW), IS(0, PR_GET_TID_ADDRESS, ALLOW),
	IS(0, PR_SET_THP_DISABLE, ALLOW), IS(0, PR_GET_THP_DISABLE, ALLOW),
	IS(0, PR_GET_SPECULATION_CTRL, ALLOW),
	/* The C library names its arenas where it can, and does without. */
	IS(0, PR_SET_VMA, DENY(EINVAL)),
	ELSE(DENY(EPERM)),
};
/* EINVAL is what a kernel says that does not know one; C libraries ask for shadow stacks
 * so. */
static const struct filter_step steps_arch_prctl[] = { /* option */
	IS(0, 0x1001 /* ARCH_SET_GS */, ALLOW), IS(0, 0x1002 /* ARCH_SET_FS */, ALLOW),
	IS(0, 0x1003 /* ARCH_GET_FS */, ALLOW), IS(0, 0x1004 /* ARCH_GET_GS */, ALLOW),
	/* For matrix tiles (AMX), which some BLAS libraries use. */
	IS(0, 0x1021 /* ARCH_GET_XCOMP_SUPP */, ALLOW), IS(0, 0x1022 /* ARCH_GET_XCOMP_PERM */, ALLOW),
	IS(0, 0x1023 /* ARCH_REQ_XCOMP_PERM */, ALLOW),
	ELSE(DENY(EINVAL)),
};

/* -- sockets -- */

static const struct filter_step steps_socket[] = { /* family, type, protocol */
	IS(0, AF_UNIX, ALLOW, ONLY(FILTER_ENGINE)),
	IS(0, AF_INET, ALLOW, ONLY(FILTER_ENGINE)),
	IS(0, AF_INET6, ALLOW, ONLY(FILTER_ENGINE)),
	/* Datagrams stay in the jail's own network namespace, where there is nobody but
	 * who answers for names. A stream's socket is made, and judged, by the engine. */
	IS(0, AF_INET, SKIP(1), ONLY(FILTER_NETWORK)),
	NOT(0, AF_INET6, SKIP(3), ONLY(FILTER_NETWORK)),
	IF(OP_NOT, 1, 0xf, SOCK_DGRAM, SKIP(2), ONLY(FILTER_NETWORK)),
	IS(2, 0, ALLOW, ONLY(FILTER_NETWORK)),
	IS(2, 17 /* UDP */, ALLOW, ONLY(FILTER_NETWORK)),
	/* How the C library asks, before it looks a name up, which versions of IP there
	 * are: no program's doing, and it goes on without. */
	NOT(0, AF_NETLINK, SKIP(1), ONLY(FILTER_NETWORK)),
	IS(2, 0 /* NETLINK_ROUTE */, DENY(EAFNOSUPPORT), ONLY(FILTER_NETWORK)),
	/* Python makes PermissionError of EACCES. */
	IS(0, AF_INET, RECORD(EACCES)),
	IS(0, AF_INET6, RECORD(EACCES)),
	NOT(0, AF_UNIX, RECORD(EAFNOSUPPORT)),
	/* How the C library looks for the name service's cache before it reads
	 * /etc/passwd (getpwuid, ls -l, tarfile): no program's doing, and it goes on
	 * without. */
	IS(1, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, DENY(EAFNOSUPPORT)),
	ELSE(RECORD(EAFNOSUPPORT)),
};
/* Not SOCK_DGRAM: sendmsg(2) on one of these takes the path of any socket beneath a
 * granted directory, in memory that no filter sees. Sockets of the other types that are
 * already connected take no address. */
static const struct filter_step steps_socketpair[] = { /* family, type, protocol */
	NOT(0, AF_UNIX, RECORD(EAFNOSUPPORT)),
	IF(OP_IS, 1, 0xf, SOCK_STREAM, ALLOW),
	IF(OP_IS, 1, 0xf, SOCK_SEQPACKET, ALLOW),
	ELSE(RECORD(EAFNOSUPPORT)),
};
#define ODD_FLAGS (MSG_OOB | MSG_FASTOPEN)
static const struct filter_step steps_flags2[] = { /* fd, message, flags */
	ANY(2, ODD_FLAGS, RECORD(EPERM)),
	ELSE(ALLOW),
};
static const struct filter_step steps_flags3[] = { /* fd, data, length, flags */
	ANY(3, ODD_FLAGS, RECORD(EPERM)),
	ELSE(ALLOW),
};
#define SOL_TCP_ 6
#define TCP_ULP_ 31
#define SOL_TLS_ 282
#define COMMON_OPTIONS                                                                                        \
	IS(2, SO_TYPE, ALLOW), IS(2, SO_ERROR, ALLOW), IS(2, SO_DOMAIN, ALLOW), IS(2, SO_PROTOCOL, ALLOW),    \
	IS(2, SO_ACCEPTCONN, ALLOW), IS(2, SO_SNDBUF, ALLOW), IS(2, SO_RCVBUF, ALLOW),                        \
	IS(2, SO_REUSEADDR, ALLOW), IS(2, SO_REUSEPORT, ALLOW), IS(2, SO_KEEPALIVE, ALLOW),                   \
	IS(2, SO_BROADCAST, ALLOW), IS(2, SO_LINGER, ALLOW), IS(2, SO_PASSCRED, ALLOW),                       \
	IS(2, SO_RCVTIMEO, ALLOW), IS(2, SO_SNDTIMEO, ALLOW)
/* What clients set on their connections. Not the ones that speak of interfaces, routes,
 * marks or the fast open, which would go past the judgement of connect(2). */
#define NETWORK_LEVELS                                                                                        \
	NOT(1, SOL_TCP_, SKIP(10), ONLY(FILTER_NETWORK)),                                                     \
	IS(2, 1 /* TCP_NODELAY */, ALLOW, ONLY(FILTER_NETWORK)),                                              \
	IS(2, 3 /* TCP_CORK */, ALLOW, ONLY(FILTER_NETWORK)),                                                 \
	IS(2, 4 /* TCP_KEEPIDLE */, ALLOW, ONLY(FILTER_NETWORK)),                                             \
	IS(2, 5 /* TCP_KEEPINTVL */, ALLOW, ONLY(FILTER_NETWORK)),                                            \
	IS(2, 6 /* TCP_KEEPCNT */, ALLOW, ONLY(FILTER_NETWORK)),                                              \
	IS(2, 7 /* TCP_SYNCNT */, ALLOW, ONLY(FILTER_NETWORK)),                                               \
	IS(2, 8 /* TCP_LINGER2 */, ALLOW, ONLY(FILTER_NETWORK)),                                              \
	IS(2, 12 /* TCP_QUICKACK */, ALLOW, ONLY(FILTER_NETWORK)),                                            \
	IS(2, 18 /* TCP_USER_TIMEOUT */, ALLOW, ONLY(FILTER_NETWORK)),                                        \
	IS(2, 25 /* TCP_NOTSENT_LOWAT */, ALLOW, ONLY(FILTER_NETWORK)),                                       \
	NOT(1, 0 /* SOL_IP */, SKIP(1), ONLY(FILTER_NETWORK)),                                                \
	IS(2, 11 /* IP_RECVERR: the C library's resolver */, ALLOW, ONLY(FILTER_NETWORK)),                    \
	NOT(1, 41 /* SOL_IPV6 */, SKIP(2), ONLY(FILTER_NETWORK)),                                             \
	IS(2, 25 /* IPV6_RECVERR */, ALLOW, ONLY(FILTER_NETWORK)),                                            \
	IS(2, 26 /* IPV6_V6ONLY */, ALLOW, ONLY(FILTER_NETWORK))
static const struct filter_step steps_setsockopt[] = { /* fd, level, option */
	NOT(1, SOL_TCP_, SKIP(1), ONLY(FILTER_ENGINE)),
	IS(2, TCP_ULP_, RECORD(EPERM), ONLY(FILTER_ENGINE)),
	IS(1, SOL_TLS_, RECORD(EPERM), ONLY(FILTER_ENGINE)),
	ELSE(ALLOW, ONLY(FILTER_ENGINE)),
	NETWORK_LEVELS,
	NOT(1, SOL_SOCKET, RECORD(EPERM)),
	/* What waits in a socket is kernel memory, which only a cgroup counts. */
	IS(2, SO_SNDBUF, DENY(EPERM), ONLY(FILTER_SUPERVISED)),
	IS(2, SO_RCVBUF, DENY(EPERM), ONLY(FILTER_SUPERVISED)),
	/* The engine closes duplicates of a program's sockets, and must not wait at
	 * that. */
	IS(2, SO_LINGER, ALLOW, ONLY(FILTER_ZYGOTE)),
	IS(2, SO_LINGER, RECORD(EPERM), ONLY(FILTER_NETWORK)),
	COMMON_OPTIONS,
	ELSE(RECORD(EPERM)),
};
/* Not SO_PEERPIDFD, which would be a handle to the engine. */
static const struct filter_step steps_getsockopt[] = { /* fd, level, option */
	ELSE(ALLOW, ONLY(FILTER_ENGINE)),
	NETWORK_LEVELS,
	NOT(1, SOL_SOCKET, DENY(ENOPROTOOPT)),
	COMMON_OPTIONS,
	IS(2, SO_PEERCRED, ALLOW),
	ELSE(DENY(ENOPROTOOPT)),
};

/* -- rows -- */
#define CALL(name_, kind_, rule_, remedy_, errno_)                                                            \
	.call = { .nr = __NR_##name_, .name = #name_, .kind = kind_, .rule = rule_, .remedy = remedy_,        \
		  .errnum = errno_ }
#define YES(name_) { CALL(name_, "", "", NULL, 0), .verdict = FILTER_ALLOW }
#define NO(name_, errno_) { CALL(name_, "kernel", "always", NULL, errno_), .verdict = FILTER_DENY }
#define NO_BUT(name_, errno_, also_)                                                                          \
	{ CALL(name_, "kernel", "always", NULL, errno_), .verdict = FILTER_DENY, .also = also_ }
#define TELL(name_, kind_) { CALL(name_, kind_, "always", NULL, EPERM), .verdict = FILTER_RECORD }
#define TELL_BUT(name_, kind_, also_)                                                                         \
	{ CALL(name_, kind_, "always", NULL, EPERM), .verdict = FILTER_RECORD, .also = also_ }
#define LOOK(name_, kind_, steps_)                                                                            \
	{ CALL(name_, kind_, "always", NULL, EPERM), .steps = steps_,                                         \
	  .step_count = sizeof(steps_) / sizeof(steps_[0]) }
#define LOOK_AS(name_, steps_, kind_, rule_, remedy_, errno_)                                                 \
	{ CALL(name_, kind_, rule_, remedy_, errno_), .steps = steps_,                                        \
	  .step_count = sizeof(steps_) / sizeof(steps_[0]) }

/* Newer than Debian 12's headers. What C libraries try by themselves has a row, so that
 * it is no event. */
#define __NR_cachestat 451	   /* 6.5 */
#define __NR_fchmodat2 452	   /* 6.6 */
#define __NR_map_shadow_stack 453  /* 6.6 */
#define __NR_futex_wake 454	   /* 6.7 */
#define __NR_futex_wait 455	   /* 6.7 */
#define __NR_futex_requeue 456	   /* 6.7 */
#define __NR_statmount 457	   /* 6.8 */
#define __NR_listmount 458	   /* 6.8 */
#define __NR_lsm_get_self_attr 459 /* 6.8 */
#define __NR_lsm_set_self_attr 460 /* 6.8 */
#define __NR_lsm_list_modules 461  /* 6.8 */
#define __NR_mseal 462		   /* 6.10 */
#define __NR_setxattrat 463	   /* 6.13 */
#define __NR_getxattrat 464	   /* 6.13 */
#define __NR_listxattrat 465	   /* 6.13 */
#define __NR_removexattrat 466	   /* 6.13 */
#define __NR_open_tree_attr 467	   /* 6.15 */
#define __NR_file_getattr 468	   /* 6.17 */
#define __NR_file_setattr 469	   /* 6.17 */

const struct filter_row filter_rows[] = {
	YES(read), YES(write), LOOK(open, "file", steps_open), YES(close), YES(stat), YES(fstat), YES(lstat),
	YES(poll), YES(lseek), LOOK(mmap, "memory", steps_mmap), YES(mprotect), YES(munmap), YES(brk),
	LOOK(rt_sigaction, "kernel", steps_rt_sigaction), YES(rt_sigprocmask), YES(rt_sigreturn),
	LOOK(ioctl, "ioctl", steps_ioctl), YES(pread64), YES(pwrite64), YES(readv), YES(writev), YES(access),
	YES(pipe), YES(select), YES(sched_yield), YES(mremap), YES(msync), YES(mincore),
	LOOK(madvise, "memory", steps_madvise), TELL(shmget, "ipc"), TELL(shmat, "ipc"), TELL(shmctl, "ipc"),
	YES(dup), YES(dup2), YES(pause), YES(nanosleep), YES(getitimer), YES(alarm), YES(setitimer), YES(getpid),
	YES(sendfile),
	/* 41 */
	LOOK_AS(socket, steps_socket, "socket", "always", NULL, EAFNOSUPPORT),
	TELL_BUT(connect, "socket", FILTER_ENGINE), TELL_BUT(accept, "socket", FILTER_ENGINE),
	LOOK(sendto, "socket", steps_flags3), YES(recvfrom), LOOK(sendmsg, "socket", steps_flags2), YES(recvmsg),
	YES(shutdown), TELL_BUT(bind, "socket", FILTER_ENGINE), TELL_BUT(listen, "socket", FILTER_ENGINE),
	YES(getsockname), YES(getpeername),
	LOOK_AS(socketpair, steps_socketpair, "socket", "always", NULL, EAFNOSUPPORT),
	LOOK(setsockopt, "socket", steps_setsockopt), LOOK(getsockopt, "socket", steps_getsockopt),
	/* 56 */
	LOOK(clone, "namespace", steps_clone), YES(fork), YES(vfork),
	LOOK_AS(execve, steps_exec, "exec", "allow_subprocess", "set allow_subprocess to true", EACCES), YES(exit),
	YES(wait4), YES(kill), YES(uname), TELL(semget, "ipc"), TELL(semop, "ipc"), TELL(semctl, "ipc"),
	TELL(shmdt, "ipc"), TELL(msgget, "ipc"), TELL(msgsnd, "ipc"), TELL(msgrcv, "ipc"), TELL(msgctl, "ipc"),
	LOOK(fcntl, "file", steps_fcntl),
	/* Locks of a shared, even read-only, inode are seen in every jail. ENOSYS, for
	 * which lock libraries have a second way; with another errno they wait for
	 * ever. */
	NO_BUT(flock, ENOSYS, FILTER_ENGINE), YES(fsync), YES(fdatasync), YES(truncate), YES(ftruncate),
	YES(getdents), YES(getcwd), YES(chdir), YES(fchdir), YES(rename), YES(mkdir), YES(rmdir),
	LOOK(creat, "file", steps_mode1), YES(link), YES(unlink), YES(symlink), YES(readlink),
	LOOK(chmod, "file", steps_mode1), LOOK(fchmod, "file", steps_mode1), YES(chown), YES(fchown), YES(lchown),
	YES(umask), YES(gettimeofday), YES(getrlimit), YES(getrusage), YES(sysinfo), YES(times),
	/* 101 */
	TELL(ptrace, "ptrace"), YES(getuid), TELL(syslog, "kernel"), YES(getgid), NO(setuid, EPERM),
	NO(setgid, EPERM), YES(geteuid), YES(getegid), YES(setpgid), YES(getppid), YES(getpgrp), YES(setsid),
	NO(setreuid, EPERM), NO(setregid, EPERM), YES(getgroups), NO_BUT(setgroups, EPERM, OURS),
	NO_BUT(setresuid, EPERM, OURS), YES(getresuid), NO_BUT(setresgid, EPERM, OURS), YES(getresgid),
	YES(getpgid), NO(setfsuid, EPERM), NO(setfsgid, EPERM), YES(getsid), YES(capget),
	NO_BUT(capset, EPERM, OURS), YES(rt_sigpending), YES(rt_sigtimedwait), YES(rt_sigqueueinfo),
	YES(rt_sigsuspend), YES(sigaltstack), YES(utime), LOOK(mknod, "file", steps_mknod), NO(uselib, ENOSYS),
	LOOK(personality, "kernel", steps_personality), NO(ustat, ENOSYS), YES(statfs), YES(fstatfs),
	NO(sysfs, ENOSYS), YES(getpriority), LOOK(setpriority, "kernel", steps_setpriority),
	NO(sched_setparam, EPERM), YES(sched_getparam), NO(sched_setscheduler, EPERM), YES(sched_getscheduler),
	YES(sched_get_priority_max), YES(sched_get_priority_min), YES(sched_rr_get_interval), YES(mlock),
	YES(munlock), YES(mlockall), YES(munlockall),
	/* 153 */
	TELL(vhangup, "kernel"), TELL(modify_ldt, "kernel"), TELL_BUT(pivot_root, "mount", FILTER_ENGINE),
	NO(_sysctl, ENOSYS), LOOK(prctl, "wall", steps_prctl), LOOK(arch_prctl, "kernel", steps_arch_prctl),
	TELL(adjtimex, "clock"), YES(setrlimit), TELL(chroot, "mount"), TELL(sync, "kernel"), TELL(acct, "kernel"),
	TELL(settimeofday, "clock"), TELL_BUT(mount, "mount", FILTER_ENGINE),
	TELL_BUT(umount2, "mount", FILTER_ENGINE), TELL(swapon, "kernel"), TELL(swapoff, "kernel"),
	TELL(reboot, "kernel"), TELL_BUT(sethostname, "kernel", FILTER_ENGINE),
	TELL_BUT(setdomainname, "kernel", FILTER_ENGINE), TELL(iopl, "kernel"), TELL(ioperm, "kernel"),
	TELL(create_module, "kernel"), TELL(init_module, "kernel"), TELL(delete_module, "kernel"),
	NO(get_kernel_syms, ENOSYS), TELL(query_module, "kernel"), TELL(quotactl, "kernel"),
	NO(nfsservctl, ENOSYS), NO(getpmsg, ENOSYS), NO(putpmsg, ENOSYS), NO(afs_syscall, ENOSYS),
	NO(tuxcall, ENOSYS), NO(security, ENOSYS),
	/* 186 */
	YES(gettid), YES(readahead), YES(setxattr), YES(lsetxattr), YES(fsetxattr), YES(getxattr), YES(lgetxattr),
	YES(fgetxattr), YES(listxattr), YES(llistxattr), YES(flistxattr), YES(removexattr), YES(lremovexattr),
	YES(fremovexattr), YES(tkill), YES(time), YES(futex), LOOK(sched_setaffinity, "kernel", steps_pid),
	YES(sched_getaffinity), NO(set_thread_area, ENOSYS), NO(io_setup, ENOSYS), NO(io_destroy, ENOSYS),
	NO(io_getevents, ENOSYS), NO(io_submit, ENOSYS), NO(io_cancel, ENOSYS), NO(get_thread_area, ENOSYS),
	TELL(lookup_dcookie, "kernel"), YES(epoll_create), NO(epoll_ctl_old, ENOSYS), NO(epoll_wait_old, ENOSYS),
	NO(remap_file_pages, ENOSYS), YES(getdents64), YES(set_tid_address), YES(restart_syscall),
	TELL(semtimedop, "ipc"), YES(fadvise64), YES(timer_create), YES(timer_settime), YES(timer_gettime),
	YES(timer_getoverrun), YES(timer_delete), TELL(clock_settime, "clock"), YES(clock_gettime),
	YES(clock_getres), YES(clock_nanosleep), YES(exit_group), YES(epoll_wait), YES(epoll_ctl), YES(tgkill),
	YES(utimes), NO(vserver, ENOSYS), NO(mbind, EPERM), NO(set_mempolicy, EPERM), YES(get_mempolicy),
	/* 240 */
	TELL(mq_open, "ipc"), TELL(mq_unlink, "ipc"), TELL(mq_timedsend, "ipc"), TELL(mq_timedreceive, "ipc"),
	TELL(mq_notify, "ipc"), TELL(mq_getsetattr, "ipc"), TELL(kexec_load, "kernel"), YES(waitid),
	TELL(add_key, "keyring"), TELL(request_key, "keyring"), TELL(keyctl, "keyring"), NO(ioprio_set, EPERM),
	YES(ioprio_get),
	/* A watch on an inode that jails share tells of what the neighbours open. ENOSYS:
	 * watchers then poll. */
	NO(inotify_init, ENOSYS), NO(inotify_add_watch, ENOSYS), NO(inotify_rm_watch, ENOSYS),
	NO(migrate_pages, EPERM), LOOK(openat, "file", steps_openat), YES(mkdirat),
	LOOK(mknodat, "file", steps_mknodat), YES(fchownat), YES(futimesat), YES(newfstatat), YES(unlinkat),
	YES(renameat), YES(linkat), YES(symlinkat), YES(readlinkat), LOOK(fchmodat, "file", steps_mode2),
	YES(faccessat), YES(pselect6), YES(ppoll), TELL_BUT(unshare, "namespace", FILTER_ENGINE),
	YES(set_robust_list), NO(get_robust_list, EPERM), YES(splice), TELL(tee, "kernel"), YES(sync_file_range),
	TELL(vmsplice, "kernel"), NO(move_pages, EPERM), YES(utimensat), YES(epoll_pwait), YES(signalfd),
	YES(timerfd_create), YES(eventfd), YES(fallocate), YES(timerfd_settime), YES(timerfd_gettime),
	/* 288 */
	TELL_BUT(accept4, "socket", FILTER_ENGINE), YES(signalfd4), YES(eventfd2), YES(epoll_create1), YES(dup3),
	YES(pipe2), NO(inotify_init1, ENOSYS), YES(preadv), YES(pwritev), YES(rt_tgsigqueueinfo),
	TELL(perf_event_open, "kernel"), YES(recvmmsg), TELL(fanotify_init, "kernel"),
	TELL(fanotify_mark, "kernel"), LOOK(prlimit64, "kernel", steps_pid), NO(name_to_handle_at, EOPNOTSUPP),
	TELL(open_by_handle_at, "mount"), TELL(clock_adjtime, "clock"), TELL_BUT(syncfs, "kernel", FILTER_ENGINE),
	LOOK(sendmmsg, "socket", steps_flags3), TELL_BUT(setns, "namespace", OURS), YES(getcpu),
	TELL_BUT(process_vm_readv, "ptrace", FILTER_ENGINE), TELL(process_vm_writev, "ptrace"),
	TELL(kcmp, "ptrace"), TELL(finit_module, "kernel"), NO(sched_setattr, EPERM), YES(sched_getattr),
	YES(renameat2), TELL_BUT(seccomp, "wall", OURS), YES(getrandom),
	LOOK(memfd_create, "memory", steps_memfd_create), TELL(kexec_file_load, "kernel"), TELL(bpf, "kernel"),
	LOOK_AS(execveat, steps_exec, "exec", "allow_subprocess", "set allow_subprocess to true", EACCES),
	TELL(userfaultfd, "kernel"), YES(membarrier), YES(mlock2), YES(copy_file_range), YES(preadv2),
	YES(pwritev2), NO(pkey_mprotect, ENOSYS), NO(pkey_alloc, ENOSYS), NO(pkey_free, ENOSYS), YES(statx),
	NO(io_pgetevents, ENOSYS), YES(rseq),
	/* 424 */
	YES(pidfd_send_signal),
	{ CALL(io_uring_setup, "io_uring", "always", NULL, ENOSYS), .verdict = FILTER_RECORD },
	{ CALL(io_uring_enter, "io_uring", "always", NULL, ENOSYS), .verdict = FILTER_RECORD },
	{ CALL(io_uring_register, "io_uring", "always", NULL, ENOSYS), .verdict = FILTER_RECORD },
	TELL_BUT(open_tree, "mount", FILTER_ENGINE), TELL_BUT(move_mount, "mount", FILTER_ENGINE),
	TELL_BUT(fsopen, "mount", FILTER_ENGINE), TELL_BUT(fsconfig, "mount", FILTER_ENGINE),
	TELL_BUT(fsmount, "mount", FILTER_ENGINE), TELL_BUT(fspick, "mount", FILTER_ENGINE), YES(pidfd_open),
	/* Its flags are in memory, which no filter sees; C libraries then take
	 * clone(2). */
	NO_BUT(clone3, ENOSYS, FILTER_ENGINE), YES(close_range),
	/* The same for its mode; openat(2) is there. */
	NO_BUT(openat2, ENOSYS, FILTER_ENGINE), TELL_BUT(pidfd_getfd, "ptrace", FILTER_ENGINE), YES(faccessat2),
	TELL(process_madvise, "ptrace"), YES(epoll_pwait2), TELL_BUT(mount_setattr, "mount", FILTER_ENGINE),
	TELL(quotactl_fd, "kernel"), TELL_BUT(landlock_create_ruleset, "wall", OURS),
	TELL_BUT(landlock_add_rule, "wall", OURS), TELL_BUT(landlock_restrict_self, "wall", OURS),
	TELL(memfd_secret, "kernel"), TELL(process_mrelease, "ptrace"), NO(futex_waitv, ENOSYS),
	NO(set_mempolicy_home_node, EPERM), NO(cachestat, ENOSYS), NO(fchmodat2, ENOSYS),
	NO(map_shadow_stack, ENOSYS), NO(futex_wake, ENOSYS), NO(futex_wait, ENOSYS), NO(futex_requeue, ENOSYS),
	NO(statmount, ENOSYS), NO(listmount, ENOSYS), NO(lsm_get_self_attr, ENOSYS), NO(lsm_set_self_attr, ENOSYS),
	NO(lsm_list_modules, ENOSYS), NO(mseal, ENOSYS), NO(setxattrat, ENOSYS), NO(getxattrat, ENOSYS),
	NO(listxattrat, ENOSYS), NO(removexattrat, ENOSYS), NO(open_tree_attr, ENOSYS), NO(file_getattr, ENOSYS),
	NO(file_setattr, ENOSYS),
};
/* clang-format on */
const size_t filter_row_count = sizeof(filter_rows) / sizeof(filter_rows[0]);

const struct filter_call filter_unknown = {
	.nr = -1,
	.name = "unknown",
	.kind = "kernel",
	.rule = "always",
	.remedy = NULL,
	.errnum = ENOSYS,
};

const struct filter_call filter_foreign = {
	.nr = -1,
	.name = "foreign",
	.kind = "kernel",
	.rule = "always",
	.remedy = NULL,
	.errnum = ENOSYS,
};

/* The one row whose answer, and remedy, depend on an argument. */
static const struct filter_call internet_socket = {
	.nr = __NR_socket,
	.name = "socket",
	.kind = "socket",
	.rule = "network_access",
	.remedy = "set network_access to true",
	.errnum = EACCES,
};

static const struct filter_row *row_of(int nr)
{
	size_t low = 0, high = filter_row_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (filter_rows[mid].call.nr == nr)
			return &filter_rows[mid];
		if (filter_rows[mid].call.nr < nr)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static bool step_holds(const struct filter_step *step, const uint64_t args[6])
{
	uint64_t arg = args[step->arg & 7u];
	uint32_t half = (uint32_t)(step->arg & FILTER_HIGH ? arg >> 32 : arg);

	switch ((enum filter_op)step->op) {
	case OP_ELSE:
		return true;
	case OP_IS:
		return (half & step->mask) == step->value;
	case OP_NOT:
		return (half & step->mask) != step->value;
	case OP_ANY:
		return half & step->value;
	}
	return false;
}

enum filter_verdict filter_judge(unsigned modes, int nr, const uint64_t args[6],
				 int *ret_errnum)
{
	const struct filter_row *row = row_of(nr);
	size_t i;

	if (!row) {
		*ret_errnum = filter_unknown.errnum;
		return FILTER_RECORD;
	}
	*ret_errnum = row->call.errnum;
	if (row->also & modes)
		return FILTER_ALLOW;
	if (!row->steps)
		return row->verdict;
	for (i = 0; i < row->step_count; i++) {
		const struct filter_step *step = &row->steps[i];

		if ((step->modes && !(step->modes & modes)) || !step_holds(step, args))
			continue;
		if (step->verdict == FILTER_SKIP) {
			i += step->skip;
			continue;
		}
		*ret_errnum = step->errnum;
		return (enum filter_verdict)step->verdict;
	}
	*ret_errnum = EPERM;
	return FILTER_RECORD;
}

const struct filter_call *filter_describe(int nr)
{
	const struct filter_row *row = row_of(nr);

	return row ? &row->call : NULL;
}

const struct filter_call *filter_describe_call(int nr, const uint64_t args[6])
{
	const struct filter_row *row = row_of(nr);

	if (!row)
		return &filter_unknown;
	if (nr == __NR_socket &&
	    ((uint32_t)args[0] == AF_INET || (uint32_t)args[0] == AF_INET6))
		return &internet_socket;
	return &row->call;
}
