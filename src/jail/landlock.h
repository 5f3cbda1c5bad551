/* SPDX-License-Identifier: MIT
 * Wall: Landlock (5.13; ABI 1 to 7). What a worker may open by path, execute, and, from
 * ABI 6 on, whom it may signal and which abstract sockets it may reach. All functions
 * child-safe. */
#ifndef SBX_JAIL_LANDLOCK_H
#define SBX_JAIL_LANDLOCK_H

#include "sbx.h"

struct landlock {
	int fd; /* ruleset, close-on-exec; -1: none */
	int abi;
};
#define LANDLOCK_READ 1u  /* open for reading, list */
#define LANDLOCK_WRITE 2u /* write, make, remove, rename, truncate; implies READ */
#define LANDLOCK_EXEC 4u  /* execve of what is beneath */

int landlock_abi(void); /* 0: none */
/* Called inside the jail's root: a ruleset of everything this ABI handles with the rules
 * that every worker has: read of the whole (read-only) root, write in /tmp, /dev/shm,
 * /work and of /dev's own nodes, no execution. */
int landlock_prepare(struct landlock *ret, struct sbx_err *err);
int landlock_grant(struct landlock *landlock, const char *path, unsigned rights,
		   struct sbx_err *err);
/* Enters it (no_new_privs must be set) and closes the ruleset. */
int landlock_apply(struct landlock *landlock, struct sbx_err *err);

#endif
