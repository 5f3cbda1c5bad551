/* SPDX-License-Identifier: MIT
 * The journal as its own files share it. */
#ifndef SBX_JOURNAL_INTERNAL_H
#define SBX_JOURNAL_INTERNAL_H

#include <sodium.h>
#include <sqlite3.h>
#include <stdint.h>

#include "base/buf.h"
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

/* ---- store.c: any thread ---- */

/* A connection that only reads, with every limit and defence set; the caller's to close. Each
 * thread has one of its own. */
int store_open_reader(const struct journal *journal, sqlite3 **ret, struct sbx_err *err);
/* Appends the content of an object; its hash is compared. -ENOENT, -EBADMSG (altered), -EFBIG
 * over max bytes. */
int object_read(const struct journal *journal,
		const unsigned char name[JOURNAL_OBJECT_BYTES], size_t max,
		struct buf *ret, struct sbx_err *err);
/* Whether the engine of this start (starts.seq) still has the journal open: what it began and
 * did not end is running, else lost. */
bool store_is_alive(const struct journal *journal, int64_t start);

/* ---- verify.c, heads.c, prune.c: in the thread of a question, which they may keep for
 * long; `stop` (atomic, may be NULL) ends them with -ECANCELED ---- */

struct journal_verify {
	const char *noted;      /* a head's text that was noted elsewhere, or NULL */
	const char *public_key; /* 64 hex digits: only what this can check; or NULL */
};
/* *ret: {"ok": bool, "finding": {"table", "seq", "what"} | null, "notes": [text],
 * "rows": {table: n}, "objects": n, "signatures": n, "head": text, "seconds": x}; new ref. */
int verify_run(const struct journal *journal, const struct journal_verify *what,
	       const int *stop, json_t **ret, struct sbx_err *err);
/* {"head": text to note, "signature": hex, "public_key": hex, "at_us", "commit"}; a signed head is
 * made by the writer if the latest is not of the latest commit. New ref. */
int head_describe(const struct journal *journal, json_t **ret, struct sbx_err *err);
/* keep_days and keep_bytes as in the options; hands the work to the writer and comes back when
 * done. {"executions": n removed, "rows": n, "objects": n, "bytes": n freed}; new ref. */
int prune_run(struct journal *journal, uint32_t keep_days, uint64_t keep_bytes,
	      const int *stop, json_t **ret, struct sbx_err *err);

#endif
