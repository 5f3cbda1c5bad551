/* SPDX-License-Identifier: MIT
 * The search index: an FTS5 table whose rows are derived from the records, filled behind them.
 * A sum of keyed hashes over every row of its tables, kept with each change, is in the head: so
 * that one altered byte of it shows, and no text is read again to see that. */
#ifndef SBX_JOURNAL_INDEX_H
#define SBX_JOURNAL_INDEX_H

#include "journal/rows.h"

#define INDEX_CODE_MAX \
	(256u << 10)               /* what is indexed of one run: bytes of its program, */
#define INDEX_TEXT_MAX (64u << 10) /* of each output, of all subjects */

/* From now on changes of the index by this connection are added to rows->head. */
void index_watch(struct rows *rows);
/* The sum over what is there. */
int index_sum(sqlite3 *db, const struct chain_keys *keys, unsigned char ret[CHAIN_BYTES],
	      struct sbx_err *err);
/* In a transaction: indexes up to `count` verdicts more. The number, 0: none is left. */
int index_fill(struct rows *rows, unsigned count, struct sbx_err *err);
/* In a transaction: takes a run's texts out again, before its rows are removed. */
int index_forget(struct rows *rows, int64_t execution, struct sbx_err *err);
/* In a transaction, after all of the above: SQLite would write only at the commit, behind
 * the head. */
int index_flush(struct rows *rows, struct sbx_err *err);
/* The texts of one run, as they are indexed. */
struct index_texts {
	struct buf code, output, subjects;
	bool missing; /* an object could not be read: its text is empty here */
};
int index_texts(const struct journal *journal, sqlite3 *db, int64_t execution,
		struct index_texts *ret, struct sbx_err *err);
void index_texts_clear(struct index_texts *texts);

#endif
