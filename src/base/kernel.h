/* SPDX-License-Identifier: MIT
 * Kernel interfaces newer than Debian 12's headers (6.1), in one place, each with the version that brought it. */
#ifndef SBX_BASE_KERNEL_H
#define SBX_BASE_KERNEL_H

#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080 /* 5.6 */
#endif

/* pidfds are plain system calls in glibc 2.36's header <sys/pidfd.h>; we avoid its redefinitions. */
static inline int k_pidfd_send_signal(int pidfd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0); /* 5.1 */
}
static inline int k_pidfd_open(pid_t pid, unsigned flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags); /* 5.3 */
}

#endif
