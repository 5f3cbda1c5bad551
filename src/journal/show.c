/* SPDX-License-Identifier: MIT
 * Purpose: the verbs about one execution (show, events, samples, files, file) and `stats`.
 * Process: the engine, in a question's thread.
 * Trusts: nothing of the database but the types that are asked for.
 * Invariants: an answer's texts are bounded (question.h), and say how long they were. */
#include <errno.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/question.h"

#define ID_MAX 64
#define EVENTS_MAX 100000
#define EVENTS_IN_ROW 1000
#define POINTS 1000
#define POINTS_MAX 100000
#define FILES_MAX 10000

/* ---- which one ---- */

static bool is_id(const char *text)
{
	return strspn(text,
		      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		      "-_") == strlen(text);
}

static int too_many(struct question *question, const char *id)
{
	return err_set(question->err, SBX_AT_USAGE, 0,
		       "more than one execution begins with %.64s", id);
}

int find_execution(struct question *question, int64_t *ret_seq)
{
	sqlite3_stmt *s = NULL;
	char beyond[ID_MAX + 2];
	const char *id;
	int r = filter_text(question, "id", ID_MAX, &id);

	*ret_seq = 0;
	if (r < 0)
		return r;
	if (!id || !is_id(id))
		return err_set(question->err, SBX_AT_USAGE, 0,
			       "\"id\" wants an execution's id, or its beginning");
	(void)snprintf(beyond, sizeof(beyond), "%s\x7f", id);
	r = question_prepare(question,
			     "SELECT seq, id FROM executions WHERE id >= ? AND id < ?"
			     " ORDER BY id LIMIT 2",
			     &s);
	if (r == 0) {
		(void)sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
		(void)sqlite3_bind_text(s, 2, beyond, -1, SQLITE_STATIC);
		r = question_step(question, s);
	}
	if (r > 0) {
		const char *found = (const char *)sqlite3_column_text(s, 1);

		*ret_seq = sqlite3_column_int64(s, 0);
		r = found && strcmp(found, id) == 0 ? 0 : question_step(question, s);
		if (r > 0)
			r = too_many(question, id);
	}
	(void)sqlite3_finalize(s);
	return r;
}

/* A statement about the execution that the filter names; *ret NULL: there is none. */
static int about(struct question *question, const char *sql, sqlite3_stmt **ret)
{
	int64_t seq;
	int r = find_execution(question, &seq);

	*ret = NULL;
	if (r < 0 || seq == 0)
		return r;
	r = question_prepare(question, sql, ret);
	if (r == 0)
		(void)sqlite3_bind_int64(*ret, 1, seq);
	return r;
}

/* ---- show ---- */

/* A text that lies in its row or in an object, its first QUESTION_TEXT_MAX bytes. An object
 * that is gone or altered is null, and "missing" says why. */
static json_t *text_of(struct question *question, sqlite3_stmt *s, int text, int object,
		       size_t max, json_t *missing, const char *what)
{
	const void *name = sqlite3_column_blob(s, object);
	struct buf found = { 0 };
	struct sbx_err err = { 0 };
	json_t *value;
	int r;

	if (sqlite3_column_type(s, text) != SQLITE_NULL)
		return column_text(s, text, max);
	if (!name || sqlite3_column_bytes(s, object) != JOURNAL_OBJECT_BYTES)
		return json_null();
	/* An object is compared with its name as a whole. */
	r = object_read(question->journal, name, JOURNAL_OBJECT_MAX, &found, &err);
	value = r == 0 ? text_json(found.data ? found.data : "",
				   found.len < max ? found.len : max)
		       : json_null();
	if (r < 0)
		(void)json_object_set_new(missing, what,
					  text_json(err.msg, strlen(err.msg)));
	buf_free(&found);
	return value;
}

/* Takes the text. missing: an object that may get a word about it, or NULL. */
static json_t *parsed(json_t *text, json_t *missing, const char *what)
{
	bool there = json_is_string(text);
	json_t *value = there ? json_loadb(json_string_value(text),
					   json_string_length(text),
					   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL |
						   JSON_DECODE_ANY,
					   NULL)
			      : NULL;

	json_decref(text);
	/* It was JSON when it was written: it has been cut. */
	if (there && !value)
		(void)json_object_set_new(missing, what,
					  json_string("it is too large for an answer"));
	return value ? value : json_null();
}

/* The first EVENTS_IN_ROW of them; `events` has all. */
static int events_of(struct question *question, json_t *row)
{
	json_t *events = json_array();
	sqlite3_stmt *s = NULL;
	char sql[512];
	int r;

	(void)snprintf(
		sql, sizeof(sql),
		"SELECT %s FROM events k WHERE k.execution = ? ORDER BY k.seq LIMIT ?",
		event_columns);
	r = question_prepare(question, sql, &s);
	if (r == 0) {
		(void)sqlite3_bind_int64(s, 1,
					 json_integer_value(json_object_get(row, "seq")));
		(void)sqlite3_bind_int(s, 2, EVENTS_IN_ROW);
	}
	while (r == 0 && (r = question_step(question, s)) > 0)
		r = json_array_append_new(events, event_row(s));
	(void)sqlite3_finalize(s);
	return json_object_set_new(row, "events", events) < 0 ? -ENOMEM : r;
}

#define SHOW_FIRST 22 /* columns of list_columns */
const char show_columns[] =
	", e.policy_object, NULL, v.result, v.result_object, v.stdout, v.stdout_object,"
	" v.stderr, v.stderr_object, v.stdout_bytes, v.stderr_bytes, v.written_bytes,"
	" v.samples_dropped";

json_t *show_row(struct question *question, sqlite3_stmt *s)
{
	json_t *row = list_row(question, s), *missing = json_object();
	int c = SHOW_FIRST, r = 0;

	r |= json_object_set_new(
		row, "code",
		text_of(question, s, 11, 12, QUESTION_TEXT_MAX, missing, "code"));
	r |= json_object_set_new(row, "policy",
				 parsed(text_of(question, s, c + 1, c, QUESTION_TEXT_MAX,
						missing, "policy"),
					missing, "policy"));
	r |= json_object_set_new(row, "result",
				 parsed(text_of(question, s, c + 2, c + 3,
						QUESTION_RESULT_MAX, missing, "result"),
					missing, "result"));
	r |= json_object_set_new(
		row, "stdout",
		text_of(question, s, c + 4, c + 5, QUESTION_TEXT_MAX, missing, "stdout"));
	r |= json_object_set_new(
		row, "stderr",
		text_of(question, s, c + 6, c + 7, QUESTION_TEXT_MAX, missing, "stderr"));
	r |= json_object_set_new(row, "stdout_bytes", column_number(s, c + 8));
	r |= json_object_set_new(row, "stderr_bytes", column_number(s, c + 9));
	r |= json_object_set_new(row, "written_bytes", column_number(s, c + 10));
	r |= json_object_set_new(row, "samples_dropped", column_number(s, c + 11));
	r |= json_object_set_new(row, "missing", missing);
	r |= events_of(question, row);
	if (r == 0)
		return row;
	json_decref(row);
	return NULL;
}

int answer_show(struct question *question)
{
	static const char *const keys[] = { "id", NULL };
	sqlite3_stmt *s = NULL;
	char sql[1024];
	int r = filter_known(question, keys);

	(void)snprintf(sql, sizeof(sql),
		       "SELECT %s%s FROM executions e LEFT JOIN verdicts v"
		       " ON v.execution = e.seq WHERE e.seq = ?",
		       list_columns, show_columns);
	if (r == 0)
		r = about(question, sql, &s);
	if (r == 0 && s) {
		r = question_step(question, s);
		if (r > 0)
			r = question_emit(question, show_row(question, s));
	}
	(void)sqlite3_finalize(s);
	return r;
}

/* ---- events ---- */

const char event_columns[] =
	"k.seq, k.at_ms, k.source, k.kind, k.subject, k.rule, k.line,"
	" k.remedy, k.count, k.rest";

json_t *event_row(sqlite3_stmt *s)
{
	json_t *row = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seq",
		column_number(s, 0), "at_ms", column_number(s, 1), "source",
		column_text(s, 2, 40), "kind", column_text(s, 3, 100), "subject",
		column_text(s, 4, QUESTION_TEXT_MAX), "rule", column_text(s, 5, 400),
		"line", column_number(s, 6), "remedy", column_text(s, 7, 4096), "count",
		column_number(s, 8));
	json_t *rest = parsed(column_text(s, 9, QUESTION_TEXT_MAX), NULL, NULL);

	if (row && json_is_object(rest))
		(void)json_object_update_missing(row, rest);
	json_decref(rest);
	return row;
}

static int emit_all(struct question *question, sqlite3_stmt *s,
		    json_t *(*row)(sqlite3_stmt *s))
{
	int r;

	while ((r = question_step(question, s)) > 0) {
		r = question_emit(question, row(s));
		if (r < 0)
			break;
	}
	return r;
}

int answer_events(struct question *question)
{
	static const char *const keys[] = { "id", "limit", NULL };
	int64_t limit = EVENTS_MAX;
	sqlite3_stmt *s = NULL;
	bool limited;
	char sql[512];
	int r = filter_known(question, keys);

	(void)snprintf(
		sql, sizeof(sql),
		"SELECT %s FROM events k WHERE k.execution = ? ORDER BY k.seq LIMIT ?",
		event_columns);
	if (r == 0)
		r = filter_number(question, "limit", 1, EVENTS_MAX, &limit, &limited);
	if (r == 0)
		r = about(question, sql, &s);
	if (r == 0 && s) {
		(void)sqlite3_bind_int64(s, 2, limit);
		r = emit_all(question, s, event_row);
	}
	(void)sqlite3_finalize(s);
	return r;
}

/* ---- samples ---- */

struct reduction {
	int64_t total, points, seen, shown;
	struct journal_sample most; /* of what one point stands for; cpu_us the latest */
	bool any;
};

static int emit_point(struct question *question, struct reduction *reduction)
{
	const struct journal_sample *most = &reduction->most;
	json_t *row = json_pack(
		"{s:I, s:I, s:f, s:I}", "at_ms", (json_int_t)most->at_ms, "memory_bytes",
		(json_int_t)(most->memory_bytes & INT64_MAX), "cpu_ms",
		(double)most->cpu_us / 1000, "processes", (json_int_t)most->processes);

	reduction->any = false;
	reduction->shown++;
	return question_emit(question, row);
}

/* Points are equal parts of all samples, with the largest memory of each. */
static int add_sample(struct question *question, struct reduction *reduction,
		      const struct journal_sample *sample)
{
	struct journal_sample *most = &reduction->most;

	if (!reduction->any || sample->memory_bytes > most->memory_bytes)
		most->memory_bytes = sample->memory_bytes;
	if (!reduction->any || sample->processes > most->processes)
		most->processes = sample->processes;
	most->at_ms = sample->at_ms;
	most->cpu_us = sample->cpu_us;
	reduction->any = true;
	reduction->seen++;
	if (reduction->total > reduction->points &&
	    reduction->seen * reduction->points <
		    (reduction->shown + 1) * reduction->total)
		return 0;
	return emit_point(question, reduction);
}

static int add_block(struct question *question, struct reduction *reduction,
		     sqlite3_stmt *s)
{
	const char *data = sqlite3_column_blob(s, 0);
	size_t count = (size_t)sqlite3_column_bytes(s, 0) / sizeof(struct journal_sample);
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct journal_sample sample;

		memcpy(&sample, data + i * sizeof(sample), sizeof(sample));
		sample.at_ms = le32toh(sample.at_ms);
		sample.processes = le32toh(sample.processes);
		sample.memory_bytes = le64toh(sample.memory_bytes);
		sample.cpu_us = le64toh(sample.cpu_us);
		r = add_sample(question, reduction, &sample);
	}
	return r;
}

int answer_samples(struct question *question)
{
	static const char *const keys[] = { "id", "points", NULL };
	struct reduction reduction = { .points = POINTS };
	sqlite3_stmt *s = NULL;
	bool given;
	int r = filter_known(question, keys);

	if (r == 0)
		r = filter_number(question, "points", 1, POINTS_MAX, &reduction.points,
				  &given);
	if (r == 0)
		r = about(question,
			  "SELECT coalesce(sum(length(data)), 0) FROM samples"
			  " WHERE execution = ?",
			  &s);
	if (r == 0 && s && (r = question_step(question, s)) > 0) {
		reduction.total = sqlite3_column_int64(s, 0) /
				  (int64_t)sizeof(struct journal_sample);
		(void)sqlite3_finalize(s);
		r = about(question,
			  "SELECT data FROM samples WHERE execution = ? ORDER BY seq",
			  &s);
		while (r == 0 && s && (r = question_step(question, s)) > 0)
			r = add_block(question, &reduction, s);
		if (r == 0 && reduction.any)
			r = emit_point(question, &reduction);
	}
	(void)sqlite3_finalize(s);
	return r;
}

/* ---- files ---- */

static json_t *file_row(sqlite3_stmt *s)
{
	return json_pack("{s:o, s:o, s:o, s:b}", "seq", column_number(s, 0), "path",
			 column_text(s, 1, 4096), "size", column_number(s, 2), "stored",
			 sqlite3_column_type(s, 3) == SQLITE_BLOB);
}

int answer_files(struct question *question)
{
	static const char *const keys[] = { "id", NULL };
	sqlite3_stmt *s = NULL;
	char sql[160];
	int r = filter_known(question, keys);

	(void)snprintf(sql, sizeof(sql),
		       "SELECT seq, path, size, object FROM files WHERE execution = ?"
		       " ORDER BY seq LIMIT %d",
		       FILES_MAX);
	if (r == 0)
		r = about(question, sql, &s);
	if (r == 0 && s)
		r = emit_all(question, s, file_row);
	(void)sqlite3_finalize(s);
	return r;
}

static json_t *base64(const char *data, size_t len)
{
	size_t size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(size);
	json_t *value = NULL;

	if (text) {
		(void)sodium_bin2base64(text, size, (const unsigned char *)data, len,
					sodium_base64_VARIANT_ORIGINAL);
		value = json_string(text);
	}
	free(text);
	return value;
}

/* A row with the file, then rows {"offset", "base64"} with what is in it. */
static int emit_file(struct question *question, sqlite3_stmt *s)
{
	const void *name = sqlite3_column_blob(s, 3);
	struct buf data = { 0 };
	int r;

	if (sqlite3_column_bytes(s, 3) != JOURNAL_OBJECT_BYTES)
		return question_emit(question, file_row(s));
	r = object_read(question->journal, name, JOURNAL_FILES_BYTES, &data,
			question->err);
	if (r == 0)
		r = question_emit(question, file_row(s));
	for (size_t at = 0; r == 0 && at < data.len; at += QUESTION_FILE_CHUNK) {
		size_t len = data.len - at < QUESTION_FILE_CHUNK ? data.len - at
								 : QUESTION_FILE_CHUNK;

		r = question_emit(question,
				  json_pack("{s:I, s:o}", "offset", (json_int_t)at,
					    "base64", base64(data.data + at, len)));
	}
	buf_free(&data);
	return r;
}

int answer_file(struct question *question)
{
	static const char *const keys[] = { "id", "path", NULL };
	sqlite3_stmt *s = NULL;
	const char *path = NULL;
	int r = filter_known(question, keys);

	if (r == 0)
		r = filter_text(question, "path", 4096, &path);
	if (r == 0 && !path)
		r = err_set(question->err, SBX_AT_USAGE, 0, "\"path\" is missing");
	if (r == 0)
		r = about(question,
			  "SELECT seq, path, size, object FROM files WHERE execution = ?"
			  " AND path = ? LIMIT 1",
			  &s);
	if (r == 0 && s) {
		(void)sqlite3_bind_blob(s, 2, path, (int)strlen(path), SQLITE_STATIC);
		r = question_step(question, s);
		if (r > 0)
			r = emit_file(question, s);
	}
	(void)sqlite3_finalize(s);
	return r;
}

/* ---- stats ---- */

/* {text: number} of two columns. */
static int pairs(struct question *question, const char *sql, json_t *into,
		 const char *key)
{
	json_t *object = json_object();
	sqlite3_stmt *s = NULL;
	int r = question_prepare(question, sql, &s);

	while (r == 0 && (r = question_step(question, s)) > 0) {
		json_t *name = column_text(s, 0, 100);

		r = json_object_set_new(
			object, json_is_string(name) ? json_string_value(name) : "?",
			column_number(s, 1));
		json_decref(name);
	}
	(void)sqlite3_finalize(s);
	if (json_object_set_new(into, key, object) < 0 && r == 0)
		r = -ENOMEM;
	return r;
}

static int one(struct question *question, const char *sql, json_t *into, const char *key,
	       bool is_time)
{
	sqlite3_stmt *s = NULL;
	int r = question_prepare(question, sql, &s);

	if (r == 0)
		r = question_step(question, s);
	if (r > 0)
		r = json_object_set_new(into, key,
					is_time && sqlite3_column_type(s, 0) ==
								SQLITE_INTEGER
						? time_json(sqlite3_column_int64(s, 0))
						: column_number(s, 0));
	(void)sqlite3_finalize(s);
	return r;
}

int answer_stats(struct question *question)
{
	static const char *const keys[] = { NULL };
	static const struct {
		const char *key, *sql;
		bool is_time;
	} figures[] = {
		{ "executions", "SELECT count(*) FROM executions", false },
		{ "first_at", "SELECT at_us FROM executions ORDER BY seq LIMIT 1", true },
		{ "last_at", "SELECT at_us FROM executions ORDER BY seq DESC LIMIT 1",
		  true },
		{ "open",
		  "SELECT (SELECT count(*) FROM executions) - (SELECT count(*) FROM verdicts)",
		  false },
		{ "samples", "SELECT coalesce(sum(count), 0) FROM samples", false },
		{ "sessions", "SELECT count(DISTINCT id) FROM sessions", false },
		{ "files", "SELECT count(*) FROM files", false },
		{ "database_bytes",
		  "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
		  false },
	};
	json_t *row = json_object();
	int r = row ? filter_known(question, keys) : -ENOMEM;

	question_without_deadline(question);
	for (size_t i = 0; r == 0 && i < sizeof(figures) / sizeof(figures[0]); i++)
		r = one(question, figures[i].sql, row, figures[i].key,
			figures[i].is_time);
	if (r == 0)
		r = pairs(question,
			  "SELECT status, count(*) FROM verdicts GROUP BY status", row,
			  "status");
	if (r == 0)
		r = pairs(question,
			  "SELECT kind, count(*) FROM events GROUP BY kind ORDER BY"
			  " count(*) DESC LIMIT 100",
			  row, "events");
	if (r == 0)
		return question_emit(question, row);
	json_decref(row);
	return r;
}
