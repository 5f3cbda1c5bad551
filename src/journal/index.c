/* SPDX-License-Identifier: MIT
 * Purpose: the search index (index.h).
 * Process: the engine; changes in the writer's thread, sums in a question's.
 * Trusts: nothing that it reads back; an object that is gone is an empty text.
 * Invariants: a text is taken out of the index as it was put in: both come from the same rows. */
#include "journal/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* ---- the sum ---- */

static struct chain_value of_value(sqlite3_value *value)
{
	struct chain_value out = { .type = sqlite3_value_type(value) };

	if (out.type == SQLITE_INTEGER) {
		out.number = sqlite3_value_int64(value);
	} else if (out.type == SQLITE_TEXT || out.type == SQLITE_BLOB) {
		out.data = sqlite3_value_blob(value);
		out.len = (size_t)sqlite3_value_bytes(value);
	}
	return out;
}

static int side(struct rows *rows, const char *table, bool before)
{
	struct chain_value values[8];
	unsigned char row[CHAIN_BYTES];
	int count = sqlite3_preupdate_count(rows->db), r;

	if (count < 1 || count > 8)
		return -EBADMSG;
	for (int i = 0; i < count; i++) {
		sqlite3_value *value = NULL;

		if ((before ? sqlite3_preupdate_old(rows->db, i, &value)
			    : sqlite3_preupdate_new(rows->db, i, &value)) != SQLITE_OK)
			return -EIO;
		values[i] = of_value(value);
	}
	r = chain_index_row(&rows->journal->keys, table, values, (size_t)count,
			    &rows->scratch, row);
	if (r == 0 && before)
		sodium_sub(rows->head.index, row, CHAIN_BYTES);
	else if (r == 0)
		sodium_add(rows->head.index, row, CHAIN_BYTES);
	return r;
}

static void on_change(void *arg, sqlite3 *db, int op, const char *schema,
		      const char *table, sqlite3_int64 before, sqlite3_int64 after)
{
	struct rows *rows = arg;
	int r = 0;

	(void)db;
	(void)schema;
	(void)before;
	(void)after;
	if (strncmp(table, "search_", 7) != 0)
		return;
	if (op == SQLITE_DELETE || op == SQLITE_UPDATE)
		r = side(rows, table, true);
	if (r == 0 && (op == SQLITE_INSERT || op == SQLITE_UPDATE))
		r = side(rows, table, false);
	if (r < 0)
		rows->index_failed = true;
}

void index_watch(struct rows *rows)
{
	(void)sqlite3_preupdate_hook(rows->db, on_change, rows);
}

int index_sum(sqlite3 *db, const struct chain_keys *keys, unsigned char ret[CHAIN_BYTES],
	      struct sbx_err *err)
{
	static const struct {
		const char *name, *sql;
	} tables[] = {
		{ "search_data", "SELECT * FROM search_data" },
		{ "search_idx", "SELECT * FROM search_idx" },
		{ "search_config", "SELECT * FROM search_config" },
	};
	_cleanup_buf_ struct buf scratch = { 0 };
	unsigned char row[CHAIN_BYTES];
	int r = 0;

	memset(ret, 0, CHAIN_BYTES);
	for (size_t i = 0; r == 0 && i < sizeof(tables) / sizeof(tables[0]); i++) {
		sqlite3_stmt *get = NULL;
		int step = SQLITE_ERROR;

		if (sqlite3_prepare_v2(db, tables[i].sql, -1, &get, NULL) != SQLITE_OK)
			return store_error(db, tables[i].name, err);
		while (r == 0 && (step = sqlite3_step(get)) == SQLITE_ROW) {
			struct chain_value values[8];
			int count = sqlite3_column_count(get);

			if (count > 8)
				r = -EBADMSG;
			for (int c = 0; r == 0 && c < count; c++)
				values[c] = chain_column(get, c);
			if (r == 0)
				r = chain_index_row(keys, tables[i].name, values,
						    (size_t)count, &scratch, row);
			if (r == 0)
				sodium_add(ret, row, CHAIN_BYTES);
		}
		if (r == 0 && step != SQLITE_DONE)
			r = store_error(db, tables[i].name, err);
		(void)sqlite3_finalize(get);
	}
	return r;
}

/* ---- texts ---- */

void index_texts_clear(struct index_texts *texts)
{
	buf_free(&texts->code);
	buf_free(&texts->output);
	buf_free(&texts->subjects);
}

/* A text of its own column, or the object's; never more than max bytes, cut before a
 * character. */
static int add_text(const struct journal *journal, sqlite3_stmt *row, int text,
		    int object, size_t max, struct buf *ret, bool *missing)
{
	_cleanup_buf_ struct buf whole = { 0 };
	struct chain_value value = chain_column(row, text);
	int r = 0;

	if (value.type != SQLITE_TEXT) {
		value = chain_column(row, object);
		if (value.type != SQLITE_BLOB || value.len != JOURNAL_OBJECT_BYTES)
			return 0;
		r = object_read(journal, value.data, JOURNAL_OBJECT_MAX, &whole, NULL);
		value.data = whole.data;
		value.len = whole.len;
	}
	if (r == -ENOMEM)
		return r;
	*missing |= r < 0;
	if (r < 0 || value.len == 0)
		return 0;
	if (value.len > max) {
		value.len = max;
		while (value.len > 0 &&
		       (((const unsigned char *)value.data)[value.len] & 0xc0) == 0x80)
			value.len--;
	}
	return buf_add(ret, value.data, value.len);
}

static int add_subjects(sqlite3 *db, int64_t execution, struct buf *ret,
			struct sbx_err *err)
{
	sqlite3_stmt *get = NULL;
	int r = 0, step = SQLITE_ERROR;

	if (sqlite3_prepare_v2(db,
			       "SELECT subject FROM events WHERE execution = ? "
			       "ORDER BY seq",
			       -1, &get, NULL) != SQLITE_OK)
		return store_error(db, "events", err);
	(void)sqlite3_bind_int64(get, 1, execution);
	while (r == 0 && (step = sqlite3_step(get)) == SQLITE_ROW) {
		struct chain_value value = chain_column(get, 0);

		if (value.len == 0 || ret->len + value.len > INDEX_TEXT_MAX)
			continue;
		r = buf_add(ret, value.data, value.len);
		if (r == 0)
			r = buf_add(ret, "\n", 1);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = store_error(db, "events", err);
	(void)sqlite3_finalize(get);
	return r;
}

int index_texts(const struct journal *journal, sqlite3 *db, int64_t execution,
		struct index_texts *ret, struct sbx_err *err)
{
	struct index_texts texts = { .missing = false };
	sqlite3_stmt *get = NULL;
	int r = 0, step;

	if (sqlite3_prepare_v2(db,
			       "SELECT code, code_object, stdout, stdout_object, stderr, "
			       "stderr_object FROM executions e LEFT JOIN verdicts v "
			       "ON v.execution = e.seq WHERE e.seq = ?",
			       -1, &get, NULL) != SQLITE_OK)
		return store_error(db, "texts", err);
	(void)sqlite3_bind_int64(get, 1, execution);
	step = sqlite3_step(get);
	if (step == SQLITE_ROW) {
		r = add_text(journal, get, 0, 1, INDEX_CODE_MAX, &texts.code,
			     &texts.missing);
		if (r == 0)
			r = add_text(journal, get, 2, 3, INDEX_TEXT_MAX, &texts.output,
				     &texts.missing);
		if (r == 0)
			r = buf_add(&texts.output, "\n", 1);
		if (r == 0)
			r = add_text(journal, get, 4, 5, INDEX_TEXT_MAX, &texts.output,
				     &texts.missing);
	} else if (step != SQLITE_DONE) {
		r = store_error(db, "texts", err);
	}
	(void)sqlite3_finalize(get);
	if (r == 0)
		r = add_subjects(db, execution, &texts.subjects, err);
	if (r < 0) {
		index_texts_clear(&texts);
		return r == -ENOMEM ? err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal") : r;
	}
	*ret = texts;
	return 0;
}

/* ---- changes ---- */

static int put(struct rows *rows, const char *sql, int64_t execution, struct sbx_err *err)
{
	struct index_texts texts;
	sqlite3_stmt *statement = NULL;
	int r = index_texts(rows->journal, rows->db, execution, &texts, err);

	if (r < 0)
		return r;
	if (sqlite3_prepare_v2(rows->db, sql, -1, &statement, NULL) != SQLITE_OK)
		r = store_error(rows->db, "the search index", err);
	if (r == 0) {
		const struct buf *parts[] = { &texts.code, &texts.output,
					      &texts.subjects };

		(void)sqlite3_bind_int64(statement, 1, execution);
		for (int i = 0; i < 3; i++)
			(void)sqlite3_bind_text64(
				statement, i + 2, parts[i]->data ? parts[i]->data : "",
				parts[i]->len, SQLITE_STATIC, SQLITE_UTF8);
		if (sqlite3_step(statement) != SQLITE_DONE)
			r = store_error(rows->db, "the search index", err);
	}
	(void)sqlite3_finalize(statement);
	index_texts_clear(&texts);
	return r;
}

int index_fill(struct rows *rows, unsigned count, struct sbx_err *err)
{
	sqlite3_stmt *next = NULL;
	int r = 0, done = 0, step = SQLITE_DONE;

	if (rows->head.indexed >= rows->head.tables[TABLE_VERDICTS].last.seq)
		return 0;
	if (sqlite3_prepare_v2(rows->db,
			       "SELECT seq, execution FROM verdicts WHERE seq > ? "
			       "ORDER BY seq LIMIT ?",
			       -1, &next, NULL) != SQLITE_OK)
		return store_error(rows->db, "the search index", err);
	(void)sqlite3_bind_int64(next, 1, rows->head.indexed);
	(void)sqlite3_bind_int64(next, 2, (int64_t)count);
	while (r == 0 && (step = sqlite3_step(next)) == SQLITE_ROW) {
		/* A run whose beginning was pruned while it went on has no more to find. */
		if (sqlite3_column_int64(next, 1) >=
		    rows->head.tables[TABLE_EXECUTIONS].first)
			r = put(rows,
				"INSERT INTO search (rowid, code, output, subjects) "
				"VALUES (?, ?, ?, ?)",
				sqlite3_column_int64(next, 1), err);
		rows->head.indexed = sqlite3_column_int64(next, 0);
		done++;
	}
	if (r == 0 && step != SQLITE_DONE)
		r = store_error(rows->db, "the search index", err);
	(void)sqlite3_finalize(next);
	if (r == 0)
		r = index_flush(rows, err);
	return r < 0 ? r : done;
}

int index_forget(struct rows *rows, int64_t execution, struct sbx_err *err)
{
	return put(rows,
		   "INSERT INTO search (search, rowid, code, output, subjects) "
		   "VALUES ('delete', ?, ?, ?, ?)",
		   execution, err);
}

int index_flush(struct rows *rows, struct sbx_err *err)
{
	return sqlite3_exec(rows->db, "SAVEPOINT flushed; RELEASE flushed", NULL, NULL,
			    NULL) == SQLITE_OK
		       ? 0
		       : store_error(rows->db, "the search index", err);
}
