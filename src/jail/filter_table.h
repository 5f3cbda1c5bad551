/* SPDX-License-Identifier: MIT
 * The table behind the seccomp filters (filter.h): one row for each system call of
 * x86_64, with its verdict, and for some a short list of steps that look at arguments.
 * filter.c compiles it; notify.c asks it about one call. */
#ifndef SBX_JAIL_FILTER_TABLE_H
#define SBX_JAIL_FILTER_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "jail/filter.h"

/* Whose filter, and what the policy and the machine add. */
#define FILTER_WORKER 1u
#define FILTER_ZYGOTE 2u
#define FILTER_ENGINE 4u
#define FILTER_SUBPROCESS 8u  /* may execute; on for zygote and engine */
#define FILTER_SUPERVISED 16u /* no cgroup keeps the worker's limits */
#define FILTER_NETWORK 32u    /* connections are made on its behalf */

enum filter_verdict {
	FILTER_ALLOW,
	FILTER_DENY,   /* errno, silently: what ordinary programs try and do without */
	FILTER_RECORD, /* errno, and an event */
	FILTER_SKIP,   /* steps only: leave out the next `skip` steps */
};

/* Steps are taken in order; the first that holds decides; the last one is OP_ELSE.
 * Arguments are looked at in halves of 32 bits, as the kernel does where it takes an int:
 * bits above are never seen, so none can slip by. */
enum filter_op {
	OP_ELSE,
	OP_IS,  /* (half & mask) == value */
	OP_NOT, /* (half & mask) != value */
	OP_ANY, /* half & value */
};
#define FILTER_HIGH 8u /* in `arg`: the upper half */
struct filter_step {
	uint8_t modes; /* only in a filter with one of these; 0: in all */
	uint8_t op, arg;
	uint8_t verdict;
	uint8_t errnum; /* DENY and RECORD */
	uint8_t skip;
	uint32_t mask, value;
};

struct filter_row {
	struct filter_call call;
	enum filter_verdict verdict; /* without steps */
	unsigned also; /* allowed in the filters of these, whatever the verdict */
	const struct filter_step *steps;
	size_t step_count;
};

extern const struct filter_row filter_rows[]; /* in order of numbers */
extern const size_t filter_row_count;
extern const struct filter_call
	filter_foreign; /* of another architecture: ENOSYS, recorded */
extern const struct filter_call
	filter_unknown; /* for every number without a row: ENOSYS, recorded */

/* The verdict of the table itself for one call, by interpretation: what a compiled filter
 * must say. *ret_errnum is set for DENY and RECORD. */
enum filter_verdict filter_judge(unsigned modes, int nr, const uint64_t args[6],
				 int *ret_errnum);
/* filter_describe() for a call whose arguments are known; never NULL. */
const struct filter_call *filter_describe_call(int nr, const uint64_t args[6]);

#endif
