/* SPDX-License-Identifier: MIT
 * Limits without a cgroup, kept by the jail's init: memory as the sum of private, shmem
 * and tmpfs pages of everything in the jail, CPU by stopping and continuing everything in
 * turns. Runs in the init (pid 1 of the jail, uid 1000 inside, no capability), single
 * thread, one at a time; needs the jail's own /proc. No malloc. What it cannot see, so
 * that the filter refuses it where this stands in for a cgroup: memfd_create(2), and
 * SIGCHLD being ignored, for then children's times are lost. Shared anonymous memory
 * counts by its size, since pages that nobody has mapped show nowhere. Kernel memory
 * (sockets, pipes, page tables) is not counted; descriptors bound it. */
#ifndef SBX_JAIL_SUPERVISE_H
#define SBX_JAIL_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

#include "sbx.h"

struct supervise_limits {
	uint64_t memory_bytes; /* above the baseline at begin; 0: none */
	uint32_t cpu_percent;  /* of one core; 0: none */
	uint32_t processes;    /* for the peak only; RLIMIT_NPROC keeps it */
};
struct supervise_usage {
	uint64_t memory_bytes; /* above the baseline */
	uint64_t memory_peak_bytes;
	uint64_t cpu_us;
	uint64_t tmpfs_bytes;
	uint32_t processes, processes_peak;
};
struct supervise {
	struct supervise_limits limits;
	struct supervise_usage usage;
	uint64_t opaque[256]; /* supervise.c's own state */
};

/* proc_fd: the jail's /proc; tmpfs_fd: a directory of the private tmpfs; both stay the
 * caller's, open until the end. Takes the baseline of what is in the jail beside pid 1.
 * 0, or -errno with err filled. */
int supervise_begin(struct supervise *s, const struct supervise_limits *limits,
		    int proc_fd, int tmpfs_fd, struct sbx_err *err);
/* Looks, and stops or continues. Returns the microseconds until it wants to be called
 * again (1,000 to 20,000), 0 once the memory limit was exceeded (everything is stopped
 * then), -errno if it cannot see or stop (-EPERM: the program makes itself go on). */
int supervise_tick(struct supervise *s);
void supervise_reaped(struct supervise *s,
		      uint64_t cpu_us); /* a child of the init that it has waited for */

#endif
