/* SPDX-License-Identifier: MIT
 * Errors: struct sbx_err of sbx.h, filled in one way, and the table that turns a stage
 * into an exit code, an HTTP status and a name. Any process, any thread. */
#ifndef SBX_BASE_ERR_H
#define SBX_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include "sbx.h"

/* Fills *err (may be NULL) and returns -errnum (or -EINVAL where errnum is 0), so that a
 * caller writes `return err_set(err, SBX_AT_JAIL, errno, "mount %s", path);`. The message
 * gets ": strerror" added when errnum is not 0 and the stage is not one of the user's own
 * faults (USAGE, POLICY, CEILING). No malloc; but vsnprintf, so not for child-safe code
 * (see err_set_plain). */
int err_set(struct sbx_err *err, enum sbx_stage stage, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The same with the policy field at fault. */
int err_set_field(struct sbx_err *err, enum sbx_stage stage, int errnum,
		  const char *field, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* child-safe: no formatting, no stdio, no malloc. */
int err_set_plain(struct sbx_err *err, enum sbx_stage stage, int errnum, const char *msg);

struct err_kind {
	const char *name; /* e.g. "WallMissing" */
	int exit_code;    /* 2 or 125 */
	int http_status;
};
const struct err_kind *err_kind(
	int stage); /* any number; unknown ones give the ENGINE row */

/* Whether a recorded run can have this status: a verdict, "running", "lost", "refused". */
bool status_known(const char *name);

/* A struct that came from another process: terminates the strings, makes them printable
 * ASCII or UTF-8, clamps the stage. */
void err_sanitize(struct sbx_err *err);

#endif
