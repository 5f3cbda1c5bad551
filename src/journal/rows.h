/* SPDX-License-Identifier: MIT
 * The writing connection: transactions that go on with the chains from the head that they find,
 * so that several processes can share a journal. One thread at a time. */
#ifndef SBX_JOURNAL_ROWS_H
#define SBX_JOURNAL_ROWS_H

#include "journal/internal.h"

struct rows {
	struct journal *journal;
	sqlite3 *db;
	struct head head;              /* of the open transaction, with its own rows */
	char head_text[HEAD_TEXT_MAX]; /* as it was last read or written */
	bool known;                    /* head and head_text belong together */
	struct buf scratch;
	sqlite3_stmt *insert[TABLE_COUNT], *begin, *commit, *rollback, *head_get,
		*head_put, *run_put, *run_del;
	bool index_failed; /* a row of the search index could not be hashed */
	int64_t signed_us, signed_commit;
};

int rows_new(struct journal *journal, struct rows **ret, struct sbx_err *err);
void rows_free(struct rows **rows); /* sets NULL, takes a pointer to NULL */

/* BEGIN IMMEDIATE, and the head. */
int rows_begin(struct rows *rows, struct sbx_err *err);
/* Renews the head. After a failure the transaction is gone. */
int rows_commit(struct rows *rows, struct sbx_err *err);
void rows_rollback(struct rows *rows);
/* The next row of a table; its seq, or -errno. */
int64_t rows_insert(struct rows *rows, enum schema_table table,
		    const struct chain_value *values, struct sbx_err *err);
/* `running`, which is derived. */
int rows_set_running(struct rows *rows, int64_t execution, bool running,
		     struct sbx_err *err);
/* A signature of the head as it was before this transaction. */
int rows_sign(struct rows *rows, struct sbx_err *err);

#endif
