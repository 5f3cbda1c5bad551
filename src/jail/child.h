/* SPDX-License-Identifier: MIT
 * The worker's way into its jail: the ordered list, in two halves. child_join() runs
 * right after the fork from the zygote, ahead of any request; child_confine() when the
 * request is there. Both run in the worker, single threaded, child-safe: no malloc, no
 * stdio, nothing of the interpreter. */
#ifndef SBX_JAIL_CHILD_H
#define SBX_JAIL_CHILD_H

#include <stddef.h>
#include <stdint.h>

#include "jail/landlock.h"
#include "sbx.h"
#include "zygote/messages.h"

#define CHILD_CHANNEL_FD \
	3 /* the channel's number in a worker; 0, 1 and 2 are /dev/null until confined */

struct child_join {
	int init_pidfd; /* pid 1 of the jail; the caller has already entered its pid namespace by fork */
	int channel_fd; /* moved to CHILD_CHANNEL_FD; every other descriptor is closed */
	unsigned walls; /* WALL_* to put up */
};
/* Afterwards: in the jail, uid WORKER_UID, no capability, no_new_privs, dumpable (the
 * engine reads a denied call's arguments), Landlock prepared but not entered, descriptors
 * 0-2 (/dev/null), the channel and landlock->fd only. 0 or -errno with err filled. */
int child_join(const struct child_join *join, struct landlock *landlock,
	       struct sbx_err *err);

struct child_confine {
	const struct worker_run *run;
	int stdio[3];       /* become 0, 1 and 2 */
	const void *filter; /* struct sock_filter[], run->filter_len bytes */
	const char *grants; /* as in worker_run */
	const char *cwd;    /* NUL-terminated, "" = stay */
};
/* The last steps: stdio, working directory, rlimits, Landlock, seccomp. Takes the stdio
 * descriptors and the Landlock one. *ret_listener: the seccomp listener with
 * RUN_LISTENER, else -1; the caller sends it off with WORKER_STARTED and closes it. 0 or
 * -errno with err filled: then the caller must _exit. */
int child_confine(const struct child_confine *confine, struct landlock *landlock,
		  int *ret_listener, struct sbx_err *err);

#endif
