/* SPDX-License-Identifier: MIT
 * The security journal: what ran, under which policy, what it used and tried, in a SQLite
 * file whose every row is chained by a keyed hash (docs/journal.md). All functions are called
 * on the engine's loop, which is where callbacks come back, never from inside the call that
 * named them; the work is done by threads of the journal's own. */
#ifndef SBX_JOURNAL_JOURNAL_H
#define SBX_JOURNAL_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "sbx.h"

struct journal;

enum journal_durability {
	JOURNAL_NORMAL, /* a record is in the WAL before the reply, on disk within a second */
	JOURNAL_FULL, /* on disk before the reply */
};

#define JOURNAL_KEEP_DAYS 90u
#define JOURNAL_KEEP_BYTES (2ull << 30)
#define JOURNAL_INLINE_MAX 4096u        /* longer values lie in objects/ */
#define JOURNAL_FILES_BYTES (64u << 20) /* kept of what one run left */
#define JOURNAL_REDACT_MAX 256u

struct journal_options {
	const char *dir; /* exists */
	enum journal_durability durability;
	bool required; /* for who asks journal_is_required(); the journal itself does not */
	bool read_only;      /* nothing is made or written; only journal_query() */
	const char *key;     /* path; NULL: dir/journal.key, made if there is none */
	int key_fd;          /* above 0: the key is read from it instead */
	uint32_t keep_days;  /* 0: JOURNAL_KEEP_DAYS; UINT32_MAX: for ever */
	uint64_t keep_bytes; /* 0: JOURNAL_KEEP_BYTES; UINT64_MAX: any */
	const char *const *redact; /* patterns, docs/journal.md */
	size_t redact_count;
	uint32_t starter_uid; /* recorded in `starts` */
};

/* Copies the options. Opens or makes the files and starts the writer. Errors have the stage
 * SBX_AT_JOURNAL and name file and cause: no directory, read-only, full, locked, damaged, a
 * key of a wrong mode or none. */
int journal_open(struct loop *loop, const struct journal_options *options,
		 struct journal **ret, struct sbx_err *err);
/* Writes and syncs what was handed in (a few seconds at most, then gives up), ends the threads.
 * Callbacks that have not come by then do not come. Sets NULL, takes a pointer to NULL. */
void journal_close(struct journal **journal);
bool journal_is_required(const struct journal *journal);

/* err NULL: it is in the WAL (normal), on disk (full). */
typedef void (*journal_fn)(void *arg, const struct sbx_err *err);

struct journal_begin {
	const char *id;       /* of the execution; unique */
	const char *caller;   /* "command", "unix uid 1000", "token NAME" */
	const char *door;     /* "command", "http", "mcp", ... */
	const char *session;  /* id or NULL */
	const char *filename; /* or NULL */
	const char *preset;   /* or NULL */
	const char *template; /* the configuration's, by its name, or NULL */
	const char *code;
	size_t code_len;
	const json_t *policy; /* without values of `environment` */
};

/* Everything is copied (and redacted) before these return. 0, or -ENOMEM, or -EAGAIN when too
 * much is waiting to be written: the caller is told and waits, nothing is dropped. fn may be
 * NULL. After 0 fn is called exactly once. */
int journal_begin(struct journal *journal, const struct journal_begin *begin,
		  journal_fn fn, void *arg);
/* The whole result (docs/api.md), right before the caller is told; samples and files that
 * were handed in go with it. The result is kept, and must not be changed, until fn is called. */
int journal_end(struct journal *journal, const json_t *result, journal_fn fn, void *arg);
/* Of an execution that was begun. Dropped, and counted in the verdict, when too many wait. */
void journal_sample(struct journal *journal, const char *id, uint64_t at_ms,
		    uint64_t memory_bytes, uint64_t cpu_us, uint32_t processes);
/* Contents of a file that the program left. JOURNAL_FILES_BYTES a run are kept, of others
 * their name and size. path: any bytes. */
void journal_file(struct journal *journal, const char *id, const char *path,
		  const char *data, size_t len);
void journal_session(struct journal *journal, const json_t *session,
		     const char *what); /* "created", "restarted", "ended" */

/* Called on the loop after each commit: something new can be read. For who follows. */
typedef void (*journal_commit_fn)(void *arg);
struct journal_watch;
int journal_watch(struct journal *journal, journal_commit_fn fn, void *arg,
		  struct journal_watch **ret);
void journal_unwatch(
	struct journal_watch **watch); /* sets NULL, takes a pointer to NULL */

/* Questions, answered by a thread of their own (query.c). Verbs: list, show, events, samples,
 * files, file, stats, head, follow (list after a seq), verify, prune; filters and rows:
 * docs/journal.md. rows come in order, then on_end once. 0 or -errno with *err; after 0
 * on_end comes. */
typedef void (*journal_row_fn)(void *arg, const json_t *row);
struct journal_question;
int journal_query(struct journal *journal, const char *verb, const json_t *filter,
		  journal_row_fn on_row, journal_fn on_end, void *arg,
		  struct journal_question **ret, struct sbx_err *err);
/* Neither callback comes any more. */
void journal_query_cancel(struct journal_question **question);
/* While held no callback comes, and what waits is bounded: for who reads too slowly. */
void journal_query_hold(struct journal_question *question, bool hold);

/* {"recorded": n, "waiting": n, "failed": n, "error": text or null, "bytes": n}; new ref. */
json_t *journal_health(struct journal *journal);

#endif
