/* SPDX-License-Identifier: MIT
 * Wall: rlimits, the backstop behind the cgroup (and the only keeper of open files).
 * child-safe. */
#ifndef SBX_JAIL_RLIMITS_H
#define SBX_JAIL_RLIMITS_H

#include <stdint.h>

#include "sbx.h"

struct rlimits {
	uint64_t open_files;
	uint64_t processes; /* RLIMIT_NPROC, counted by user namespace; 0: leave */
	uint64_t
		data_bytes; /* RLIMIT_DATA above the present VmData of this process; 0: leave */
	uint64_t file_bytes; /* RLIMIT_FSIZE; 0: leave */
};
/* Soft and hard alike, never raised above the present hard limit. Core: 1 byte soft and
 * hard (0 does not stop a piped core_pattern, core(5)). Also memlock, msgqueue, rtprio,
 * nice, sigpending small. Stack stays. */
int rlimits_apply(const struct rlimits *limits, struct sbx_err *err);

#endif
