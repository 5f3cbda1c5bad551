/* SPDX-License-Identifier: MIT
 * What a program shows, as its side of the wall claims it: bundles {mime: data}, checked
 * and bounded (docs/displays.md). Engine, on its loop. */
#ifndef SBX_ENGINE_DISPLAYS_H
#define SBX_ENGINE_DISPLAYS_H

#include <jansson.h>
#include <stddef.h>

struct displays {
	json_t *list; /* NULL: none */
	size_t bytes, tokens;
};

/* One WORKER_DISPLAY. Borrowed, or NULL: it is no bundle, or the run has shown as much as
 * it may. */
const json_t *displays_add(struct displays *displays, const char *data, size_t len);
/* New references: all of them in order, and which of them is the value of the last
 * expression by the program's own report (null: none). displays may be NULL. */
json_t *displays_list(const struct displays *displays);
json_t *displays_claim(const struct displays *displays, const json_t *done);
void displays_free(struct displays *displays);

#endif
