/* SPDX-License-Identifier: MIT
 * The journal as its own files share it. */
#ifndef SBX_JOURNAL_INTERNAL_H
#define SBX_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdint.h>

#include "base/buf.h"
#include "journal/chain.h"
#include "journal/heads.h"
#include "journal/journal.h"
#include "journal/schema.h"

#define JOURNAL_MAC_BYTES 32u
#define JOURNAL_OBJECT_BYTES 32u /* BLAKE2b-256 of the content, not keyed */
#define JOURNAL_OBJECT_MAX (512u << 20)

/* One of samples.data, little-endian. */
struct journal_sample {
	uint32_t at_ms, processes;
	uint64_t memory_bytes, cpu_us;
};

struct live;
struct job;
struct redact;
struct rows;
struct journal_reader;

/* An object that is written and not yet synced. */
struct unsynced {
	struct unsynced *next;
	unsigned char name[JOURNAL_OBJECT_BYTES];
};

struct journal {
	/* fixed by journal_open() */
	struct loop *loop;
	enum journal_durability durability;
	bool required, read_only;
	bool immutable; /* a directory that cannot be written, and no WAL: read as it is */
	char *path;     /* of journal.db */
	uint32_t keep_days;
	uint64_t keep_bytes;
	int dir_fd, objects_fd, lock_fd;
	int64_t start; /* our row in `starts`, whose byte of journal.lock we hold */
	struct chain_keys keys;
	struct redact *redact;
	char id[33];

	/* the loop's */
	struct live *live[256]; /* executions under way, by the first byte of their ids */
	struct journal_watch *watches;
	struct journal_reader *reader; /* query.c's */
	struct loop_io *io;
	uint64_t recorded, failed;
	char last_error[256];

	/* shared: lock */
	pthread_mutex_t lock;
	pthread_cond_t work, room, tick; /* the writer; who waits for a job; the keeper */
	struct job *first, *last;        /* to be written */
	struct job *done, *done_last;    /* written: for the loop */
	size_t waiting, waiting_bytes;
	bool closing;
	bool committed;         /* since the loop last looked */
	bool dirty;             /* committed and not synced */
	uint64_t written_bytes; /* since the last checkpoint, about */
	/* The last rows that were committed, and those that are on disk. */
	int64_t written_executions, written_verdicts, synced_executions, synced_verdicts;
	struct unsynced *unsynced;
	size_t unsynced_count;
	bool unsynced_lost; /* more than are remembered: all is synced */
	int stop;           /* atomic: long work gives up */

	int event_fd;
	bool threads;
	struct rows *rows; /* the writer's; journal_open()'s before there is one */
	pthread_t writer, keeper;
	sqlite3 *db; /* of rows */
};

/* ---- query.c ---- */
void reader_free(struct journal_reader **reader); /* sets NULL, takes a pointer to NULL */

/* ---- store.c: any thread ---- */

/* Directory, key and connection; journal->db is made. */
int store_open(struct journal *journal, const struct journal_options *options,
	       struct sbx_err *err);
void store_close(struct journal *journal);
/* A connection that only reads, with every limit and defence set; the caller's to close. Each
 * thread has one of its own. */
int store_open_reader(const struct journal *journal, sqlite3 **ret, struct sbx_err *err);
/* One for checkpoints. */
int store_open_keeper(const struct journal *journal, sqlite3 **ret, struct sbx_err *err);
/* Whether the engine of this start (starts.seq) still has the journal open: what it began and
 * did not end is running, else lost. */
bool store_is_alive(const struct journal *journal, int64_t start);
/* Ours from now on, until the process ends. */
int store_hold_start(struct journal *journal, int64_t start);
/* Makes what was committed before `until_us` (wall clock) last. 0, -errno. */
int store_sync(struct journal *journal);
int64_t store_now_us(void); /* CLOCK_REALTIME */
/* SQLite's error as ours: full, read-only, locked, damaged. */
int store_error(sqlite3 *db, const char *what, struct sbx_err *err);

/* ---- objects.c: any thread ---- */

/* Writes it if it is not there. With JOURNAL_FULL it is on disk then. */
int object_write(struct journal *journal, const void *data, size_t len,
		 unsigned char ret_name[JOURNAL_OBJECT_BYTES], struct sbx_err *err);
bool object_exists(const struct journal *journal,
		   const unsigned char name[JOURNAL_OBJECT_BYTES]);
/* Appends the content of an object; its hash is compared. -ENOENT, -EBADMSG (altered), -EFBIG
 * over max bytes. */
int object_read(const struct journal *journal,
		const unsigned char name[JOURNAL_OBJECT_BYTES], size_t max,
		struct buf *ret, struct sbx_err *err);
/* Every file below objects/: name NULL for what is none of ours. Nonzero of fn ends it. */
typedef int (*object_fn)(void *arg, const unsigned char *name, const char *path,
			 uint64_t bytes, int64_t modified_us);
int object_each(const struct journal *journal, object_fn fn, void *arg);
int object_remove(const struct journal *journal, const char *path);

/* ---- verify.c, heads.c, prune.c: in the thread of a question, which they may keep for
 * long; `stop` (atomic, may be NULL) ends them with -ECANCELED ---- */

struct journal_verify {
	const char *noted;      /* a head's text that was noted elsewhere, or NULL */
	const char *public_key; /* 64 hex digits: only what this can check; or NULL */
	bool deep; /* the words of the search index, too: minutes for a million runs */
};
/* *ret: {"ok": bool, "finding": {"table", "seq", "what"} | null, "notes": [text],
 * "rows": {table: n}, "objects": n, "signatures": n, "words": n of the index compared (deep), "head": text, "seconds": x}; new ref. */
int verify_run(const struct journal *journal, const struct journal_verify *what,
	       const int *stop, json_t **ret, struct sbx_err *err);
/* {"head": text to note, "signature": hex, "public_key": hex, "at_us", "commit"}, signed here and
 * now; new ref. */
int head_describe(const struct journal *journal, json_t **ret, struct sbx_err *err);
/* keep_days and keep_bytes as in the options; hands the work to the writer and comes back when
 * done. {"executions": n removed, "rows": n, "objects": n, "bytes": n freed}; new ref. */
int prune_run(struct journal *journal, uint32_t keep_days, uint64_t keep_bytes,
	      const int *stop, json_t **ret, struct sbx_err *err);
/* The same, but nothing is removed: {"executions": n that would go at most, "before": seconds since
 * 1970 or null}; new ref. */
int prune_look(struct journal *journal, uint32_t keep_days, uint64_t keep_bytes,
	       json_t **ret, struct sbx_err *err);

#endif
