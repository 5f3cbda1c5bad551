/* SPDX-License-Identifier: MIT
 * Wall: seccomp. The filters, compiled ahead by the engine from one table of verdicts
 * (filter_table.h); installing them is seccomp.h's. Engine; may allocate. */
#ifndef SBX_JAIL_FILTER_H
#define SBX_JAIL_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "sbx.h"

/* run_flags: RUN_NETWORK, RUN_SUBPROCESS, RUN_LISTENER of zygote/messages.h (without
 * RUN_LISTENER what would be notified gets its table's errno at once). supervised: limits
 * are kept by the init, so that memfd_create is ENOSYS and SIGCHLD's disposition stays.
 * *ret gets struct sock_filter[] in bytes. */
int filter_worker(unsigned run_flags, bool supervised, struct buf *ret,
		  struct sbx_err *err);
int filter_zygote(
	struct buf *ret,
	struct sbx_err
		*err); /* the fork server: fork, setns, openat and what a preload needs */
int filter_engine(struct buf *ret, struct sbx_err *err); /* the engine itself */

/* One line of the table by system call number: NULL for one that is not in it. For
 * events. */
struct filter_call {
	int nr;           /* x86_64 */
	const char *name; /* "ptrace" */
	const char *
		kind; /* event kind: "ptrace", "mount", "namespace", "socket", "exec", "kernel", ... */
	const char *rule;   /* policy field that governs it, or "always" */
	const char *remedy; /* smallest policy change that would allow it, or NULL */
	int errnum;         /* what the program is told */
};
const struct filter_call *filter_describe(int nr);

#endif
