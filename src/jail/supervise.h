/* SPDX-License-Identifier: MIT
 * Limits without a cgroup, kept by the jail's init: memory as the sum of private, shmem and tmpfs pages of everything
 * in the jail, CPU by stopping and continuing everything in turns. Runs in the init (pid 1 of the jail, uid 1000
 * inside, no capability), single thread; needs the jail's own /proc. No malloc. */
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
	uint64_t opaque[64]; /* supervise.c's own state */
};

/* proc_fd: the jail's /proc; tmpfs_fd: a directory of the private tmpfs. Takes the baseline. */
int supervise_begin(struct supervise *s, const struct supervise_limits *limits, int proc_fd, int tmpfs_fd,
		    struct sbx_err *err);
/* Looks, and stops or continues. Returns the microseconds until it wants to be called again (1,000 to 20,000),
 * 0 once the memory limit was exceeded (everything is stopped then), -errno if it cannot see. */
int supervise_tick(struct supervise *s);
void supervise_reaped(struct supervise *s, uint64_t cpu_us); /* a child of the init that it has waited for */

#endif
