/* SPDX-License-Identifier: MIT
 * What a program left in /work, as the init of its jail tells it: names and sizes for the
 * result, and on request the contents. Engine, on its loop. */
#ifndef SBX_ENGINE_COLLECT_H
#define SBX_ENGINE_COLLECT_H

#include <jansson.h>
#include <stdbool.h>

#include "zygote/worker.h"

struct collect;
struct collect_asked {
	bool contents;
	bool live;         /* others may go on; else all processes are ended first */
	bool all;          /* also what came with a request and nobody wrote to */
	uint64_t since_ns; /* contents of what was changed since then only */
};
/* Asks the init. fn is called at most once, when it has told all (or broke off). */
int collect_begin(struct loop *loop, struct worker *worker,
		  const struct collect_asked *asked, void (*fn)(void *arg), void *arg,
		  struct collect **ret);
/* New reference: the result's `files`, sorted by path; without those that are as known
 * has them (may be NULL). Takes NULL. */
json_t *collect_list(const struct collect *collect, const struct collect *known);
/* What was found and is not in the list; one more where the list broke off. Takes
 * NULL. */
uint64_t collect_omitted(const struct collect *collect);
/* Calls fn for each file whose contents are here. path: any bytes but NUL, plain and
 * relative. Takes NULL. */
void collect_contents(const struct collect *collect, const struct collect *known,
		      void (*fn)(void *arg, const char *path, const char *data,
				 size_t len),
		      void *arg);
void collect_forget_contents(struct collect *collect);
void collect_free(struct collect **collect);

#endif
