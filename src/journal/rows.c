/* SPDX-License-Identifier: MIT
 * Purpose: the writing connection and its transactions (rows.h).
 * Process: the engine: journal_open(), then the writer's thread.
 * Trusts: the head only once it is authenticated: nothing is added to records that somebody else
 *   has altered the end of.
 * Invariants:
 *   1. A transaction begins IMMEDIATE and reads the head before it adds: two processes never go on
 *	from the same row.
 *   2. What a commit adds and the head that says so are one transaction. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/index.h"
#include "journal/rows.h"

static int prepare(struct rows *rows, const char *sql, sqlite3_stmt **ret,
		   struct sbx_err *err)
{
	return sqlite3_prepare_v3(rows->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret,
				  NULL) == SQLITE_OK
		       ? 0
		       : store_error(rows->db, "preparing", err);
}

static int prepare_insert(struct rows *rows, size_t i, struct sbx_err *err)
{
	const struct schema_columns *table = &schema_tables[i];
	char sql[1024];
	size_t at;

	at = (size_t)snprintf(sql, sizeof(sql), "INSERT INTO %s (seq,%s,mac) VALUES (?",
			      table->name, table->columns);
	for (unsigned c = 0; c <= table->count; c++)
		at += (size_t)snprintf(sql + at, sizeof(sql) - at, ",?");
	(void)snprintf(sql + at, sizeof(sql) - at, ")");
	return prepare(rows, sql, &rows->insert[i], err);
}

int rows_new(struct journal *journal, struct rows **ret, struct sbx_err *err)
{
	struct rows *rows = calloc(1, sizeof(*rows));
	int r;

	if (!rows)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	rows->journal = journal;
	rows->db = journal->db;
	index_watch(rows);
	r = prepare(rows, "BEGIN IMMEDIATE", &rows->begin, err);
	if (r == 0)
		r = prepare(rows, "COMMIT", &rows->commit, err);
	if (r == 0)
		r = prepare(rows, "ROLLBACK", &rows->rollback, err);
	if (r == 0)
		r = prepare(rows, "SELECT statement FROM head WHERE id = 1",
			    &rows->head_get, err);
	if (r == 0)
		r = prepare(rows,
			    "INSERT OR REPLACE INTO head (id, statement, mac) "
			    "VALUES (1, ?, ?)",
			    &rows->head_put, err);
	if (r == 0)
		r = prepare(rows, "INSERT INTO running (execution, start) VALUES (?, ?)",
			    &rows->run_put, err);
	if (r == 0)
		r = prepare(rows, "DELETE FROM running WHERE execution = ?",
			    &rows->run_del, err);
	for (size_t i = 0; r == 0 && i < TABLE_COUNT; i++)
		r = prepare_insert(rows, i, err);
	if (r < 0)
		rows_free(&rows);
	*ret = rows;
	return r;
}

void rows_free(struct rows **r)
{
	struct rows *rows = *r;

	*r = NULL;
	if (!rows)
		return;
	for (size_t i = 0; i < TABLE_COUNT; i++)
		(void)sqlite3_finalize(rows->insert[i]);
	(void)sqlite3_finalize(rows->begin);
	(void)sqlite3_finalize(rows->commit);
	(void)sqlite3_finalize(rows->rollback);
	(void)sqlite3_finalize(rows->head_get);
	(void)sqlite3_finalize(rows->head_put);
	(void)sqlite3_finalize(rows->run_put);
	(void)sqlite3_finalize(rows->run_del);
	buf_free(&rows->scratch);
	free(rows);
}

static int step(struct rows *rows, sqlite3_stmt *statement, const char *what,
		struct sbx_err *err)
{
	int r = sqlite3_step(statement) == SQLITE_DONE ? 0
						       : store_error(rows->db, what, err);

	(void)sqlite3_reset(statement);
	return r;
}

void rows_rollback(struct rows *rows)
{
	rows->known = false;
	/* Some errors have rolled back already. */
	if (!sqlite3_get_autocommit(rows->db))
		(void)step(rows, rows->rollback, "rolling back", NULL);
}

/* Mostly nobody else has written since: then it is the text that we wrote. */
static bool head_is_known(struct rows *rows)
{
	const char *text;
	bool same = false;

	if (sqlite3_step(rows->head_get) == SQLITE_ROW) {
		text = sqlite3_column_blob(rows->head_get, 0);
		same = rows->known && text &&
		       strlen(rows->head_text) ==
			       (size_t)sqlite3_column_bytes(rows->head_get, 0) &&
		       memcmp(text, rows->head_text, strlen(rows->head_text)) == 0;
	}
	(void)sqlite3_reset(rows->head_get);
	return same;
}

int rows_begin(struct rows *rows, struct sbx_err *err)
{
	int r = step(rows, rows->begin, "locking it", err);

	if (r < 0)
		return r;
	rows->index_failed = false;
	if (head_is_known(rows))
		return 0;
	r = head_load(rows->db, &rows->journal->keys, &rows->head, rows->head_text, err);
	if (r < 0) {
		rows_rollback(rows);
		return r;
	}
	rows->known = true;
	return 0;
}

/* What the keeper has made last, or what this very commit does. */
static void synced(struct journal *journal, struct head *head)
{
	int64_t executions = head->tables[TABLE_EXECUTIONS].last.seq,
		verdicts = head->tables[TABLE_VERDICTS].last.seq;

	if (journal->durability != JOURNAL_FULL) {
		(void)pthread_mutex_lock(&journal->lock);
		executions = journal->synced_executions;
		verdicts = journal->synced_verdicts;
		(void)pthread_mutex_unlock(&journal->lock);
	}
	if (executions > head->synced_executions)
		head->synced_executions = executions;
	if (verdicts > head->synced_verdicts)
		head->synced_verdicts = verdicts;
}

int rows_commit(struct rows *rows, struct sbx_err *err)
{
	struct journal *journal = rows->journal;
	unsigned char mac[CHAIN_BYTES];
	size_t len;
	int r;

	if (rows->index_failed) {
		rows_rollback(rows);
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal: the search index");
	}
	rows->head.commit++;
	rows->head.at_us = store_now_us();
	synced(journal, &rows->head);
	len = head_format(&rows->head, rows->head_text);
	head_mac(&journal->keys, rows->head_text, len, mac);
	if (sqlite3_bind_text(rows->head_put, 1, rows->head_text, (int)len,
			      SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_blob(rows->head_put, 2, mac, CHAIN_BYTES, SQLITE_STATIC) !=
		    SQLITE_OK)
		r = store_error(rows->db, "the head", err);
	else
		r = step(rows, rows->head_put, "writing the head", err);
	if (r == 0)
		r = step(rows, rows->commit, "writing", err);
	if (r < 0)
		rows_rollback(rows);
	return r;
}

static int bind(sqlite3_stmt *statement, int i, const struct chain_value *value)
{
	switch (value->type) {
	case SQLITE_INTEGER:
		return sqlite3_bind_int64(statement, i, value->number);
	case SQLITE_TEXT:
		return sqlite3_bind_text64(statement, i, value->data ? value->data : "",
					   value->len, SQLITE_STATIC, SQLITE_UTF8);
	case SQLITE_BLOB:
		return sqlite3_bind_blob64(statement, i, value->data ? value->data : "",
					   value->len, SQLITE_STATIC);
	default:
		return sqlite3_bind_null(statement, i);
	}
}

int64_t rows_insert(struct rows *rows, enum schema_table table,
		    const struct chain_value *values, struct sbx_err *err)
{
	struct chain_point *last = &rows->head.tables[table].last;
	sqlite3_stmt *insert = rows->insert[table];
	const unsigned count = schema_tables[table].count;
	int r;

	if (chain_next(&rows->journal->keys, schema_tables[table].name, values, count,
		       &rows->scratch, last) < 0)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	r = sqlite3_bind_int64(insert, 1, last->seq);
	for (unsigned i = 0; r == SQLITE_OK && i < count; i++)
		r = bind(insert, (int)i + 2, &values[i]);
	if (r == SQLITE_OK)
		r = sqlite3_bind_blob(insert, (int)count + 2, last->mac, CHAIN_BYTES,
				      SQLITE_STATIC);
	if (r != SQLITE_OK)
		return store_error(rows->db, schema_tables[table].name, err);
	r = step(rows, insert, schema_tables[table].name, err);
	return r < 0 ? r : last->seq;
}

int rows_set_running(struct rows *rows, int64_t execution, bool running,
		     struct sbx_err *err)
{
	sqlite3_stmt *statement = running ? rows->run_put : rows->run_del;

	if (sqlite3_bind_int64(statement, 1, execution) != SQLITE_OK ||
	    (running &&
	     sqlite3_bind_int64(statement, 2, rows->journal->start) != SQLITE_OK))
		return store_error(rows->db, "running", err);
	return step(rows, statement, "running", err);
}

int rows_sign(struct rows *rows, struct sbx_err *err)
{
	unsigned char signature[HEAD_SIGNATURE_BYTES];
	size_t len = strlen(rows->head_text);
	const struct chain_value values[] = {
		chain_number(store_now_us()),
		chain_text(rows->head_text, len),
		chain_blob(signature, sizeof(signature)),
	};
	int64_t seq;

	if (head_sign(&rows->journal->keys, rows->head_text, len, signature) < 0)
		return err_set(err, SBX_AT_JOURNAL, EIO, "journal: signing");
	seq = rows_insert(rows, TABLE_SIGNATURES, values, err);
	if (seq < 0)
		return (int)seq;
	rows->signed_us = values[0].number;
	rows->signed_commit = (int64_t)rows->head.commit;
	return 0;
}
