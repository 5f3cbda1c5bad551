/* SPDX-License-Identifier: MIT
 * The table of walls: what `sandbox doctor`, the engine's start and a result's `enforced`
 * walk. Any process; probes fork short children, so never where threads run. */
#ifndef SBX_JAIL_WALLS_H
#define SBX_JAIL_WALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "sbx.h"

struct wall {
	const char *name; /* "user namespace" */
	const char *name_zh;
	unsigned bit; /* WALL_* */
	const char *
		enforced; /* key of `enforced` that it stands for: "isolation", "filesystem", "network",
				   * "privileges", "syscalls", "open_files" */
	const char *probed_with; /* "clone3(CLONE_NEWUSER)" */
	const char *remedy;      /* how to get it where it is missing, English */
	const char *remedy_zh;
	/* 0 if it stands here, else -errno, with a sentence in detail */
	int (*probe)(char *detail, size_t size);
};
extern const struct wall walls[];
extern const size_t wall_count;

/* All walls that stand here, WALL_*. One quick probe of everything together first; each
 * by itself only if that fails. */
unsigned walls_standing(void);

#endif
