/* SPDX-License-Identifier: MIT
 * Purpose: the verb `follow`: records as they are committed, by whichever process.
 * Process: the engine, in a question's thread, for as long as its asker stays.
 * Trusts: nothing of a filter.
 * Invariants: each record is handed out once, in the order of its table; those of one
 *   commit in the order begin, events, verdict, session. A step reads STEP rows of a table
 *   at most, in a transaction that is over before they are handed out. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "journal/question.h"

#define STEP 200

enum stream { BEGINS, EVENTS, VERDICTS, SESSIONS, STREAMS };

struct follower {
	const char *status, *session, *event, *caller;
	int64_t seen[STREAMS];
	sqlite3_stmt *statements[STREAMS];
	int64_t version; /* of the data; -1: not asked yet */
	int64_t heads_s; /* 0: no heads */
	time_t head_at;
	int64_t head_version;
};

static const char *const tables[STREAMS] = {
	[BEGINS] = "executions",
	[EVENTS] = "events",
	[VERDICTS] = "verdicts",
	[SESSIONS] = "sessions",
};

static int number_of(struct question *question, const char *sql, int64_t *ret)
{
	sqlite3_stmt *s = NULL;
	int r = question_prepare(question, sql, &s);

	if (r == 0)
		r = question_step(question, s);
	if (r > 0)
		*ret = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return r < 0 ? r : 0;
}

static int prepare(struct question *question, struct follower *f)
{
	char sql[STREAMS][1024];
	int r = 0;

	(void)snprintf(sql[BEGINS], sizeof(sql[0]),
		       "SELECT %s, e.seq FROM executions e LEFT JOIN verdicts v ON 0"
		       " WHERE e.seq > ? ORDER BY e.seq LIMIT ?",
		       list_columns);
	(void)snprintf(sql[VERDICTS], sizeof(sql[0]),
		       "SELECT %s, v.seq FROM verdicts v JOIN executions e"
		       " ON e.seq = v.execution WHERE v.seq > ? ORDER BY v.seq LIMIT ?",
		       list_columns);
	(void)snprintf(sql[EVENTS], sizeof(sql[0]),
		       "SELECT %s, e.id, e.session, e.caller, k.seq FROM events k"
		       " JOIN executions e ON e.seq = k.execution WHERE k.seq > ?"
		       " ORDER BY k.seq LIMIT ?",
		       event_columns);
	(void)snprintf(sql[SESSIONS], sizeof(sql[0]),
		       "SELECT id, at_us, what, json, seq FROM sessions WHERE seq > ?"
		       " ORDER BY seq LIMIT ?");
	for (int i = 0; r == 0 && i < STREAMS; i++)
		r = question_prepare(question, sql[i], &f->statements[i]);
	return r;
}

/* ---- records ---- */

static bool is(const json_t *row, const char *key, const char *wanted)
{
	const char *value = json_string_value(json_object_get(row, key));

	return !wanted || (value && strcmp(value, wanted) == 0);
}

static bool wanted(const struct follower *f, enum stream stream, const json_t *row)
{
	if (f->event && stream != EVENTS)
		return false;
	if (f->status && stream != VERDICTS)
		return false;
	if (stream == SESSIONS)
		return !f->caller && is(row, "id", f->session);
	return is(row, "session", f->session) && is(row, "caller", f->caller) &&
	       (stream != EVENTS || is(row, "kind", f->event)) &&
	       (stream != VERDICTS || is(row, "status", f->status));
}

static json_t *record(struct question *question, enum stream stream, sqlite3_stmt *s)
{
	static const char *const names[STREAMS] = {
		[BEGINS] = "begin",
		[EVENTS] = "event",
		[VERDICTS] = "verdict",
		[SESSIONS] = "session",
	};
	json_t *row;

	if (stream == EVENTS) {
		row = event_row(s);
		(void)json_object_set_new(row, "execution", column_text(s, 10, 100));
		(void)json_object_set_new(row, "session", column_text(s, 11, 100));
		(void)json_object_set_new(row, "caller", column_text(s, 12, 200));
	} else if (stream == SESSIONS) {
		row = json_pack("{s:o, s:o, s:o}", "id", column_text(s, 0, 100), "at",
				time_json(sqlite3_column_int64(s, 1)), "what",
				column_text(s, 2, 40));
	} else {
		row = list_row(question, s);
	}
	if (stream == BEGINS)
		(void)json_object_set_new(row, "status", json_string("running"));
	(void)json_object_set_new(row, "record", json_string(names[stream]));
	return row;
}

/* *ret_more: there may be more of this table. */
static int read_stream(struct question *question, struct follower *f, enum stream stream,
		       json_t *rows, bool *ret_more)
{
	sqlite3_stmt *s = f->statements[stream];
	int count = 0, r;

	(void)sqlite3_bind_int64(s, 1, f->seen[stream]);
	(void)sqlite3_bind_int(s, 2, STEP);
	while ((r = question_step(question, s)) > 0) {
		json_t *row = record(question, stream, s);

		f->seen[stream] = sqlite3_column_int64(s, sqlite3_column_count(s) - 1);
		count++;
		if (!wanted(f, stream, row))
			json_decref(row);
		else if (json_array_append_new(rows, row) < 0) {
			r = -ENOMEM;
			break;
		}
	}
	(void)sqlite3_reset(s);
	*ret_more |= count == STEP;
	return r;
}

static int step(struct question *question, struct follower *f)
{
	int64_t version = 0;
	bool more = true;
	int r = number_of(question, "PRAGMA data_version", &version);

	if (r < 0 || version == f->version)
		return r;
	f->version = version;
	while (r == 0 && more) {
		json_t *rows = json_array();

		more = false;
		r = sqlite3_exec(question->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK
			    ? 0
			    : -EIO;
		for (int i = 0; r == 0 && i < STREAMS; i++)
			r = read_stream(question, f, (enum stream)i, rows, &more);
		(void)sqlite3_exec(question->db, "COMMIT", NULL, NULL, NULL);
		for (size_t i = 0; r == 0 && i < json_array_size(rows); i++)
			r = question_emit(question, json_incref(json_array_get(rows, i)));
		json_decref(rows);
	}
	return r;
}

/* A head for who keeps it elsewhere, where something has come since the last. */
static int head(struct question *question, struct follower *f)
{
	struct timespec now;
	json_t *row = NULL;
	int r;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (f->version == f->head_version ||
	    (f->head_at != 0 && now.tv_sec - f->head_at < f->heads_s))
		return 0;
	f->head_at = now.tv_sec;
	f->head_version = f->version;
	r = head_describe(question->journal, &row, question->err);
	if (r < 0)
		return r;
	(void)json_object_set_new(row, "record", json_string("head"));
	return question_emit(question, row);
}

/* From the newest record on, or from the execution after "after" on. */
static int begin(struct question *question, struct follower *f)
{
	int64_t after = 0;
	bool given;
	int r = filter_number(question, "after", 0, INT64_MAX, &after, &given);

	for (int i = 0; r == 0 && i < STREAMS; i++) {
		char sql[200];

		if (!given)
			(void)snprintf(sql, sizeof(sql),
				       "SELECT coalesce(max(seq), 0) FROM %s", tables[i]);
		else if (i == BEGINS)
			(void)snprintf(sql, sizeof(sql), "SELECT %lld", (long long)after);
		else if (i == SESSIONS)
			(void)snprintf(sql, sizeof(sql),
				       "SELECT coalesce(max(seq), 0) FROM sessions");
		else
			(void)snprintf(sql, sizeof(sql),
				       "SELECT coalesce(min(seq) - 1, (SELECT"
				       " coalesce(max(seq), 0) FROM %s)) FROM %s"
				       " WHERE execution > %lld",
				       tables[i], tables[i], (long long)after);
		r = number_of(question, sql, &f->seen[i]);
	}
	return r;
}

int answer_follow(struct question *question)
{
	static const char *const keys[] = { "status", "session", "event", "caller",
					    "after",  "heads",   NULL };
	struct follower f = { .version = -1, .head_version = -1 };
	bool heads;
	int r = filter_known(question, keys);

	question_without_deadline(question);
	if (r == 0)
		r = filter_text(question, "status", 40, &f.status);
	if (r == 0)
		r = filter_text(question, "session", 100, &f.session);
	if (r == 0)
		r = filter_text(question, "event", 100, &f.event);
	if (r == 0)
		r = filter_text(question, "caller", 200, &f.caller);
	if (r == 0)
		r = filter_number(question, "heads", 1, 30 * 86400, &f.heads_s, &heads);
	if (r == 0)
		r = begin(question, &f);
	/* Whoever asked may begin what is to be followed. */
	if (r == 0)
		r = question_emit(question, json_pack("{s:s}", "record", "following"));
	if (r == 0)
		r = prepare(question, &f);
	while (r == 0) {
		r = step(question, &f);
		if (r == 0 && f.heads_s > 0)
			r = head(question, &f);
		if (r == 0)
			r = question_pause(question, QUESTION_FOLLOW_MS);
	}
	for (int i = 0; i < STREAMS; i++)
		(void)sqlite3_finalize(f.statements[i]);
	return r;
}
