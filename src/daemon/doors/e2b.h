/* SPDX-License-Identifier: MIT
 * What the files of the E2B door share. Engine. */
#ifndef SBX_DAEMON_DOORS_E2B_H
#define SBX_DAEMON_DOORS_E2B_H

#include <jansson.h>
#include <stdbool.h>

/* A line of type "result" of a display (docs/displays.md); new, NULL: no memory. */
json_t *e2b_result(const json_t *bundle, bool is_main);

#endif
