/* SPDX-License-Identifier: MIT
 * Problem documents (RFC 9457). Engine. */
#ifndef SBX_DAEMON_PROBLEM_H
#define SBX_DAEMON_PROBLEM_H

#include <jansson.h>

#include "sbx.h"

/* {"type", "title", "status", "detail", "name", "field"}; new reference, NULL: no memory.
 * name: of base/err.c's table or one of the door's own; field: of the policy or request, or
 * NULL. */
json_t *problem_object(int status, const char *name, const char *field,
		       const char *detail);
json_t *problem_of(const struct sbx_err *err);

#endif
