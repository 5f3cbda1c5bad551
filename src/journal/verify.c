/* SPDX-License-Identifier: MIT
 * Purpose: verifying a journal: schema, pages, every row of every chain, the head, signatures, what
 *   is derived, objects (internal.h; docs/journal.md says what each finding means).
 * Process: the engine, a question's thread, with connections of its own.
 * Trusts: the key; with a public key alone, that. Nothing in the file or in objects/.
 * Invariants: everything is read in one snapshot; the first finding ends it. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/index.h"
#include "journal/verify.h"

int finding(struct verify *v, const char *table, int64_t seq, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(v->what, sizeof(v->what), fmt, args);
	va_end(args);
	(void)snprintf(v->table, sizeof(v->table), "%s", table);
	v->seq = seq;
	v->found = true;
	return -EBADMSG;
}

void note(struct verify *v, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (json_array_size(v->notes) < NOTES_MAX)
		(void)json_array_append_new(v->notes, json_string(text));
}

bool stopped(const struct verify *v)
{
	return v->stop && __atomic_load_n(v->stop, __ATOMIC_RELAXED);
}

/* ---- chains ---- */

/* A signed head says what the digest of a table was at some row. */
static int at_signed(struct verify *v, enum schema_table table,
		     const struct chain_point *at)
{
	struct signed_points *points = &v->points[table];

	while (points->next < points->count && points->at[points->next].seq <= at->seq) {
		const struct chain_point *point = &points->at[points->next++];

		if (point->seq == at->seq &&
		    memcmp(point->digest, at->digest, CHAIN_BYTES) != 0)
			return finding(
				v, schema_tables[table].name, at->seq,
				"the rows up to here are not those that were signed");
	}
	return 0;
}

static int check_row(struct verify *v, enum schema_table table, sqlite3_stmt *row,
		     struct buf *scratch, struct chain_point *at)
{
	const struct schema_columns *columns = &schema_tables[table];
	struct chain_value values[CHAIN_COLUMNS_MAX];
	int64_t seq = sqlite3_column_int64(row, 0);
	int last = (int)columns->count + 1;

	if (seq != at->seq + 1)
		return finding(v, columns->name, at->seq + 1,
			       seq > at->seq + 1 ? "the row is missing"
						 : "a row that was not there");
	for (unsigned i = 0; i < columns->count; i++)
		values[i] = chain_column(row, (int)i + 1);
	if (chain_next(v->keys, columns->name, values, columns->count, scratch, at) < 0)
		return -ENOMEM;
	if (v->keys &&
	    (sqlite3_column_type(row, last) != SQLITE_BLOB ||
	     sqlite3_column_bytes(row, last) != CHAIN_BYTES ||
	     memcmp(sqlite3_column_blob(row, last), at->mac, CHAIN_BYTES) != 0))
		return finding(
			v, columns->name, seq,
			"the row was altered, moved, or not written by this journal");
	return v->each[table] ? v->each[table](v, seq, values) : 0;
}

static int check_table(struct verify *v, enum schema_table table)
{
	const struct schema_columns *columns = &schema_tables[table];
	const struct head_table *head = &v->head.tables[table];
	struct chain_point at = head->before;
	_cleanup_buf_ struct buf scratch = { 0 };
	sqlite3_stmt *get = NULL;
	char sql[1024];
	int r = 0, step = SQLITE_ERROR;

	(void)snprintf(sql, sizeof(sql), "SELECT seq,%s,mac FROM %s ORDER BY seq",
		       columns->columns, columns->name);
	if (sqlite3_prepare_v2(v->db, sql, -1, &get, NULL) != SQLITE_OK)
		return finding(v, columns->name, 0, "it is not readable: %s",
			       sqlite3_errmsg(v->db));
	r = at_signed(v, table, &at);
	while (r == 0 && (step = sqlite3_step(get)) == SQLITE_ROW) {
		r = check_row(v, table, get, &scratch, &at);
		if (r == 0)
			r = at_signed(v, table, &at);
		if (r == 0 && (at.seq & 1023) == 0 && stopped(v))
			r = -ECANCELED;
		v->rows[table]++;
	}
	if (r == 0 && step != SQLITE_DONE)
		r = finding(v, columns->name, at.seq + 1, "it is not readable: %s",
			    sqlite3_errmsg(v->db));
	(void)sqlite3_finalize(get);
	if (r < 0)
		return r;
	if (at.seq != head->last.seq)
		return finding(v, columns->name, at.seq + 1,
			       at.seq < head->last.seq
				       ? "the end was cut off: the head counts up to %lld"
				       : "rows behind the head's last, %lld",
			       (long long)head->last.seq);
	if (v->keys ? memcmp(at.mac, head->last.mac, CHAIN_BYTES) != 0
		    : memcmp(at.digest, head->last.digest, CHAIN_BYTES) != 0)
		return finding(v, columns->name, at.seq,
			       "the rows do not lead to what the head says");
	return 0;
}

/* ---- the file ---- */

static int check_pages(struct verify *v)
{
	sqlite3_stmt *get = NULL;
	int r = 0;

	/* Of indexes, too: an altered one would hide rows from questions. */
	if (sqlite3_prepare_v2(v->db, "PRAGMA integrity_check(1)", -1, &get, NULL) !=
		    SQLITE_OK ||
	    sqlite3_step(get) != SQLITE_ROW)
		r = finding(v, "journal.db", 0, "%s", sqlite3_errmsg(v->db));
	else if (strcmp((const char *)sqlite3_column_text(get, 0), "ok") != 0)
		r = finding(v, "journal.db", 0, "%.200s",
			    (const char *)sqlite3_column_text(get, 0));
	(void)sqlite3_finalize(get);
	return r;
}

static int check_schema(struct verify *v)
{
	sqlite3_stmt *get = NULL;
	struct sbx_err err = { 0 };
	int64_t version = -1, application = -1;

	if (sqlite3_prepare_v2(v->db,
			       "SELECT (SELECT user_version FROM pragma_user_version), "
			       "(SELECT application_id FROM pragma_application_id)",
			       -1, &get, NULL) == SQLITE_OK &&
	    sqlite3_step(get) == SQLITE_ROW) {
		version = sqlite3_column_int64(get, 0);
		application = sqlite3_column_int64(get, 1);
	}
	(void)sqlite3_finalize(get);
	if (application != SCHEMA_APPLICATION_ID ||
	    version != (int64_t)schema_version_count)
		return finding(v, "journal.db", 0,
			       "its header names format %lld of application %lld",
			       (long long)version, (long long)application);
	return schema_compare(v->db, &err) < 0 ? finding(v, "schema", 0, "%s", err.msg)
					       : 0;
}

static int check_head(struct verify *v)
{
	unsigned char meta[CHAIN_BYTES];
	struct sbx_err err = { 0 };

	if (head_load(v->db, v->keys, &v->head, v->head_text, &err) < 0)
		return finding(v, "head", 1, "%s", err.msg);
	if (head_meta(v->db, meta) < 0 || memcmp(meta, v->head.meta, CHAIN_BYTES) != 0)
		return finding(v, "meta", 0, "it is not what the head says");
	return 0;
}

/* ---- what is derived ---- */

static int check_index(struct verify *v)
{
	unsigned char sum[CHAIN_BYTES];
	struct sbx_err err = { 0 };

	if (!v->keys)
		return 0;
	if (index_sum(v->db, v->keys, sum, &err) < 0)
		return finding(v, "search", 0, "%s", err.msg);
	if (memcmp(sum, v->head.index, CHAIN_BYTES) != 0)
		return finding(v, "search", 0, "the search index was altered");
	if (v->head.indexed > v->head.tables[TABLE_VERDICTS].last.seq)
		return finding(v, "search", v->head.indexed,
			       "more is indexed than there is");
	if (v->head.indexed < v->head.tables[TABLE_VERDICTS].last.seq)
		note(v, "%lld of the newest runs are not in the search index yet",
		     (long long)(v->head.tables[TABLE_VERDICTS].last.seq -
				 v->head.indexed));
	return 0;
}

/* Every execution has a verdict or is in `running`, and no other is. */
static int check_running(struct verify *v)
{
	sqlite3_stmt *get = NULL;
	int64_t first = v->head.tables[TABLE_EXECUTIONS].first, open = 0, listed = 0;
	int r = 0;

	for (size_t i = 0; i < v->execution_count; i++)
		open += v->verdict_of[i] == 0;
	if (sqlite3_prepare_v2(v->db, "SELECT execution, start FROM running", -1, &get,
			       NULL) != SQLITE_OK)
		return finding(v, "running", 0, "%s", sqlite3_errmsg(v->db));
	while (r == 0 && sqlite3_step(get) == SQLITE_ROW) {
		int64_t seq = sqlite3_column_int64(get, 0), at = seq - first;

		if (at < 0 || at >= (int64_t)v->execution_count || v->verdict_of[at] ||
		    v->start_of[at] != sqlite3_column_int64(get, 1))
			r = finding(v, "running", seq, "no such execution is running");
		listed++;
	}
	(void)sqlite3_finalize(get);
	if (r == 0 && listed != open)
		r = finding(v, "running", 0,
			    "it lists %lld executions, %lld have no verdict",
			    (long long)listed, (long long)open);
	return r;
}

/* ---- all of it ---- */

static int check_public_file(struct verify *v)
{
	_cleanup_free_ char *text = NULL;
	char hex[65];
	size_t len;
	int r;

	if (!v->keys)
		return 0;
	r = fd_read_file(v->journal->dir_fd, "journal.pub", 4096, &text, &len);
	(void)sodium_bin2hex(hex, sizeof(hex), v->keys->public, 32);
	if (r == -ENOENT) {
		note(v, "journal.pub is not there");
		return 0;
	}
	if (r < 0 || len < 64 || strncmp(text, hex, 64) != 0)
		return finding(v, "journal.pub", 0,
			       "it is not the public key of this journal");
	return 0;
}

static int check_all(struct verify *v)
{
	int r = check_schema(v);

	if (r == 0)
		r = check_head(v);
	if (r == 0)
		r = check_public_file(v);
	if (r == 0)
		r = verify_signed(v);
	if (r == 0)
		r = verify_noted(v);
	for (size_t i = 0; r == 0 && i < TABLE_COUNT; i++)
		r = check_table(v, (enum schema_table)i);
	if (r == 0)
		r = check_running(v);
	if (r == 0)
		r = check_index(v);
	if (r == 0)
		r = verify_objects(v);
	if (r == 0)
		r = check_pages(v);
	return r == 0 && v->deep ? verify_index(v) : r;
}

static json_t *report(struct verify *v, double seconds)
{
	json_t *rows = json_object();
	json_t *finding_ = v->found ? json_pack("{s:s,s:I,s:o}", "table", v->table, "seq",
						(json_int_t)v->seq, "what",
						json_string(v->what)
							?: json_string("damaged"))
				    : json_null();

	for (size_t i = 0; i < TABLE_COUNT; i++)
		(void)json_object_set_new(rows, schema_tables[i].name,
					  json_integer((json_int_t)v->rows[i]));
	return json_pack("{s:b,s:o,s:O,s:o,s:I,s:I,s:I,s:s,s:f}", "ok", !v->found,
			 "finding", finding_, "notes", v->notes, "rows", rows, "objects",
			 (json_int_t)v->objects, "signatures", (json_int_t)v->signatures,
			 "words", (json_int_t)v->words, "head", v->head_text, "seconds",
			 seconds);
}

static int begin(struct verify *v, const struct journal_verify *what, struct sbx_err *err)
{
	int r;

	v->notes = json_array();
	v->keys = what->public_key ? NULL : &v->journal->keys;
	if (!v->notes)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	if (what->public_key) {
		size_t got = 0;

		if (sodium_hex2bin(v->public, 32, what->public_key,
				   strnlen(what->public_key, 65), "\n", &got,
				   NULL) != 0 ||
		    got != 32)
			return err_set(err, SBX_AT_USAGE, 0,
				       "a public key has 64 hexadecimal digits");
	} else {
		memcpy(v->public, v->journal->keys.public, 32);
	}
	v->each[TABLE_EXECUTIONS] = verify_execution;
	v->each[TABLE_VERDICTS] = verify_verdict;
	v->each[TABLE_FILES] = verify_file;
	v->each[TABLE_CUTS] = verify_cut;
	r = store_open_reader(v->journal, &v->db, err);
	if (r == 0 && sqlite3_exec(v->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		r = store_error(v->db, "verifying", err);
	return r;
}

int verify_run(const struct journal *journal, const struct journal_verify *what,
	       const int *stop, json_t **ret, struct sbx_err *err)
{
	struct verify *v = calloc(1, sizeof(*v));
	int64_t began = store_now_us();
	int r;

	if (!v)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	v->journal = journal;
	v->noted = what->noted;
	v->deep = what->deep;
	v->stop = stop;
	r = begin(v, what, err);
	if (r == 0) {
		r = check_all(v);
		if (r == -EBADMSG && v->found)
			r = 0;
		else if (r < 0)
			r = err_set(err, SBX_AT_JOURNAL, -r, "verifying");
	}
	if (r == 0) {
		*ret = report(v, (double)(store_now_us() - began) / 1e6);
		if (!*ret)
			r = err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	}
	(void)sqlite3_close(v->db);
	verify_clear(v);
	free(v);
	return r;
}
