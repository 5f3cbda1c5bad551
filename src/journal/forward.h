/* SPDX-License-Identifier: MIT
 * Records as text to where they are read: JSON lines in a file, syslog, journald. For the
 * process that follows the journal and has the rights to write there; a thread writes, so
 * that whoever has a record never waits. */
#ifndef SBX_JOURNAL_FORWARD_H
#define SBX_JOURNAL_FORWARD_H

#include <jansson.h>
#include <stddef.h>

#include "sbx.h"

#define FORWARD_TARGETS_MAX 8
#define FORWARD_FILE_BYTES (64u << 20) /* of a file before it is turned over */
#define FORWARD_FILES 8                /* that are kept: PATH, PATH.1 ... PATH.7 */

struct forward;

/* targets: "file:PATH" ("file:PATH?max_mb=64&keep=8"), "syslog" (the local format on /dev/log),
 * "syslog:rfc5424", either with ":PATH" behind it for another socket, "journald"
 * ("journald:PATH"). Opens files, so that a path that cannot be written is told at once; a
 * socket is connected with the first record, and again after it was gone. -EINVAL (USAGE) for
 * what is none of these. */
int forward_new(const char *const *targets, size_t count, struct forward **ret,
		struct sbx_err *err);
/* A record as one JSON object in one line of len bytes. Copied; never waits. What finds no
 * room is dropped, and counted in a record {"record": "dropped", "count": n} as soon as there
 * is room again. */
void forward_record(struct forward *forward, const json_t *record, const char *text,
		    size_t len);
/* {"written": n, "dropped": n, "failed": n, "error": text or null}; new reference. */
json_t *forward_state(struct forward *forward);
/* Writes what waits, a second at most. Sets NULL, takes a pointer to NULL. */
void forward_free(struct forward **forward);

#endif
