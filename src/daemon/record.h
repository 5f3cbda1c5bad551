/* SPDX-License-Identifier: MIT
 * Between the doors and the engine: every run that a caller asks for is in the journal, from
 * before its program starts until before its caller is told. Engine, on its loop. */
#ifndef SBX_DAEMON_RECORD_H
#define SBX_DAEMON_RECORD_H

#include "engine/engine.h"
#include "journal/journal.h"

struct recorder;

struct record_caller {
	const char *name;              /* "command", "unix uid 1000", "token NAME" */
	const char *door;              /* "command", "http", "mcp", ... */
	const char *preset, *template; /* their names, or NULL */
};

struct record_options {
	bool enabled; /* false: nothing is recorded, and no result says that it should be */
	bool required;
	enum journal_durability durability;
	int dir_fd; /* the directory, or -1: there is none, and why_none says why */
	const char *why_none;
	int key_fd; /* or -1: the directory's own */
	uint32_t keep_days, starter_uid;
	uint64_t keep_bytes;
	const char *const *redact;
	size_t redact_count;
};

/* Records nothing until recorder_open(). */
int recorder_new(struct engine *engine, struct recorder **ret, struct sbx_err *err);
/* After engine_free(), with which no callback comes any more: closes the journal. Sets NULL,
 * takes a pointer to NULL. */
void recorder_free(struct recorder **recorder);
/* Before the first run. With `required` a journal that does not open is an error; else runs
 * say in their results that they were not recorded, and why. */
int recorder_open(struct recorder *recorder, const struct record_options *options,
		  struct sbx_err *err);
/* Writes and syncs what there is. Runs that go on have no verdict; nothing is recorded any more. */
void recorder_close(struct recorder *recorder);
struct journal *recorder_journal(struct recorder *recorder); /* NULL: none is open */
/* Why runs are not recorded though they should be; NULL: they are, or need not be. */
const char *recorder_error(const struct recorder *recorder);

/* engine_submit(), with a result that has "recorded" and, where it should have been and was
 * not, "record_error". Of the sink `outcome` is ours. */
int record_submit(struct recorder *recorder, const struct execution_request *request,
		  const struct record_caller *caller, const struct execution_sink *sink,
		  struct execution **ret, struct sbx_err *err);

#endif
