/* SPDX-License-Identifier: MIT
 * Purpose: the verb `list`: executions by what a filter says of them, newest first, by pages.
 * Process: the engine, in a question's thread.
 * Trusts: nothing of a filter: its words reach SQL as bound values only, and the full-text
 *   index as quoted words.
 * Invariants: one filter drives the walk over an index that has the executions in order, so
 *   that the first rows come at once; the others are looked up for each. A page is one read
 *   transaction, and the next begins after the last row's seq. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/question.h"

#define PAGE 500
#define PAGE_FULL 8 /* of rows that may have megabytes */
#define WORDS_MAX 32
#define SQL_MAX 2048

struct filter {
	const char *status, *text, *session, *event, *caller;
	int64_t since_us, until_us, limit, before, after;
	bool since, until, cursor, reverse, full;
	char *match;       /* of text, in FTS5's language; owned */
	int64_t low, high; /* no other seq can be within since and until */
	int64_t last;      /* seq of the last row that was seen */
};

const char list_columns[] =
	"e.seq, e.id, e.at_us, e.start, e.caller, e.door, e.session, e.filename, e.preset,"
	" e.python, e.code_bytes, e.code, e.code_object, v.at_us, v.status, v.error,"
	" v.wall_us, v.cpu_us, v.memory_peak_bytes, v.processes_peak, v.events";

/* ---- rows ---- */

static json_t *micros(sqlite3_stmt *statement, int column)
{
	return sqlite3_column_type(statement, column) == SQLITE_INTEGER
		       ? json_real((double)sqlite3_column_int64(statement, column) / 1000)
		       : json_null();
}

static json_t *code_shown(struct question *question, sqlite3_stmt *statement)
{
	struct buf code = { 0 };
	json_t *shown = NULL;
	const void *name = sqlite3_column_blob(statement, 12);

	if (sqlite3_column_type(statement, 11) != SQLITE_NULL)
		return column_text(statement, 11, QUESTION_CODE_SHOWN);
	if (name && sqlite3_column_bytes(statement, 12) == JOURNAL_OBJECT_BYTES &&
	    object_read(question->journal, name, QUESTION_TEXT_MAX, &code, NULL) == 0)
		shown = text_json(code.data ? code.data : "",
				  code.len < QUESTION_CODE_SHOWN ? code.len
								 : QUESTION_CODE_SHOWN);
	buf_free(&code);
	/* Too long to be looked at for a line, or gone: `show` says which. */
	return shown ? shown : json_null();
}

json_t *list_row(struct question *question, sqlite3_stmt *s)
{
	bool ended = sqlite3_column_type(s, 14) != SQLITE_NULL;
	json_t *status = ended ? column_text(s, 14, 40)
			 : store_is_alive(question->journal, sqlite3_column_int64(s, 3))
				 ? json_string("running")
				 : json_string("lost");

	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
		" s:o, s:o, s:o, s:o, s:o}",
		"seq", column_number(s, 0), "id", column_text(s, 1, 100), "at",
		time_json(sqlite3_column_int64(s, 2)), "ended_at",
		ended ? time_json(sqlite3_column_int64(s, 13)) : json_null(), "status",
		status, "error", column_text(s, 15, 400), "caller",
		column_text(s, 4, 200), "door", column_text(s, 5, 40), "session",
		column_text(s, 6, 100), "filename", column_text(s, 7, 400), "preset",
		column_text(s, 8, 100), "python", column_text(s, 9, 400), "wall_ms",
		micros(s, 16), "cpu_ms", micros(s, 17), "memory_peak_bytes",
		column_number(s, 18), "processes_peak", column_number(s, 19),
		"event_count", column_number(s, 20), "code_bytes", column_number(s, 10),
		"code", code_shown(question, s));
}

/* ---- the filter ---- */

/* Words and "phrases", all of which must occur; word* by its beginning. Each is quoted, so
 * that nothing of the index's own language is left in it. */
static int match_of(struct question *question, const char *text, char **ret)
{
	struct buf out = { .max = 16384 };
	int words = 0, r = buf_add(&out, "", 0);

	while (r == 0 && *text) {
		bool phrase = *text == '"';
		size_t len;

		text += phrase;
		len = strcspn(text, phrase ? "\"" : " \t\r\n\"");
		if (len > 0 && ++words > WORDS_MAX)
			r = -EMSGSIZE;
		if (r == 0 && len > 0) {
			bool prefix = !phrase && len > 1 && text[len - 1] == '*';

			r = buf_addf(&out, "%s\"%.*s\"%s", words > 1 ? " AND " : "",
				     (int)(len - prefix), text, prefix ? " *" : "");
		}
		text += len;
		if (*text && (phrase || *text != '"'))
			text++;
	}
	if (r == 0 && words > 0) {
		*ret = out.data;
		return 0;
	}
	buf_free(&out);
	return err_set(question->err, SBX_AT_USAGE, r == -ENOMEM ? ENOMEM : 0,
		       "\"text\" wants 1 to %d words", WORDS_MAX);
}

static int read_filter(struct question *question, struct filter *f)
{
	static const char *const keys[] = { "status", "text",  "session", "event",
					    "caller", "since", "until",   "limit",
					    "before", "after", "reverse", NULL };
	bool limited, before, after;
	int r = filter_known(question, keys);

	f->limit = QUESTION_LIMIT;
	f->before = INT64_MAX;
	if (r == 0)
		r = filter_text(question, "status", 40, &f->status);
	if (r == 0)
		r = filter_text(question, "text", 4096, &f->text);
	if (r == 0)
		r = filter_text(question, "session", 100, &f->session);
	if (r == 0)
		r = filter_text(question, "event", 100, &f->event);
	if (r == 0)
		r = filter_text(question, "caller", 200, &f->caller);
	if (r == 0)
		r = filter_number(question, "since", 0, INT64_MAX, &f->since_us,
				  &f->since);
	if (r == 0)
		r = filter_number(question, "until", 0, INT64_MAX, &f->until_us,
				  &f->until);
	if (r == 0)
		r = filter_number(question, "limit", 1, QUESTION_LIMIT_MAX, &f->limit,
				  &limited);
	if (r == 0)
		r = filter_number(question, "before", 0, INT64_MAX, &f->before, &before);
	if (r == 0)
		r = filter_number(question, "after", 0, INT64_MAX, &f->after, &after);
	if (r == 0)
		r = filter_flag(question, "reverse", &f->reverse);
	if (r == 0)
		r = filter_flag(question, "full", &f->full);
	f->cursor = (r == 0) && (f->reverse ? after : before);
	return r == 0 && f->text ? match_of(question, f->text, &f->match) : r;
}

/* ---- SQL ---- */

/* What walks, the column that has its order, and what it asks for. By priority: the first
 * that the filter has. */
enum driver { BY_TEXT, BY_EVENT, BY_STATUS, BY_SESSION, BY_TIME, BY_ALL };
static const struct {
	const char *from, *key, *where;
} drivers[] = {
	[BY_TEXT] = { "search f CROSS JOIN executions e ON e.seq = f.rowid"
		      " LEFT JOIN verdicts v ON v.execution = e.seq",
		      "f.rowid", "f.search MATCH :match" },
	[BY_EVENT] = { "events k CROSS JOIN executions e ON e.seq = k.execution"
		       " LEFT JOIN verdicts v ON v.execution = e.seq",
		       "k.execution",
		       "k.kind = :event AND k.seq = (SELECT min(seq) FROM events"
		       " WHERE kind = :event AND execution = k.execution)" },
	[BY_STATUS] = { "verdicts v CROSS JOIN executions e ON e.seq = v.execution",
			"v.execution", "v.status = :status" },
	[BY_SESSION] = { "executions e LEFT JOIN verdicts v ON v.execution = e.seq",
			 "e.seq", "e.session = :session" },
	[BY_TIME] = { "executions e LEFT JOIN verdicts v ON v.execution = e.seq", "e.seq",
		      "1" },
	[BY_ALL] = { "executions e LEFT JOIN verdicts v ON v.execution = e.seq", "e.seq",
		     "1" },
};

static bool is_open(const char *status)
{
	return status && (strcmp(status, "running") == 0 || strcmp(status, "lost") == 0);
}

static enum driver driver_of(const struct filter *f)
{
	bool time = f->since || f->until;

	if (f->match)
		return BY_TEXT;
	if (f->event)
		return BY_EVENT;
	if (f->status && !is_open(f->status))
		return BY_STATUS;
	if (f->session)
		return BY_SESSION;
	return time && !f->caller && !f->status ? BY_TIME : BY_ALL;
}

/* Alone, time has its own index and order; beside others it has become bounds of seq. */
static int write_sql(const struct filter *f, enum driver driver, char *sql, size_t size)
{
	const char *down = f->reverse ? "ASC" : "DESC", *beyond = f->reverse ? ">" : "<";
	char order[160], cursor[200];
	int n;

	if (driver == BY_TIME) {
		(void)snprintf(order, sizeof(order), "e.at_us %s, e.seq %s", down, down);
		(void)snprintf(cursor, sizeof(cursor),
			       "(e.at_us, e.seq) %s ((SELECT at_us FROM executions"
			       " WHERE seq = :cursor), :cursor)",
			       beyond);
	} else {
		(void)snprintf(order, sizeof(order), "%s %s", drivers[driver].key, down);
		(void)snprintf(cursor, sizeof(cursor), "%s %s :cursor",
			       drivers[driver].key, beyond);
	}
	n = snprintf(
		sql, size,
		"SELECT %s%s FROM %s WHERE %s AND (%s)%s%s%s%s%s%s%s%s%s ORDER BY %s LIMIT :page",
		list_columns, f->full ? show_columns : "", drivers[driver].from,
		drivers[driver].where, f->cursor ? cursor : "1",
		driver != BY_TIME ? " AND " : "",
		driver == BY_TIME ? "" : drivers[driver].key,
		driver == BY_TIME ? "" : " BETWEEN :low AND :high",
		f->event && driver != BY_EVENT
			? " AND EXISTS (SELECT 1 FROM events k WHERE k.kind = :event"
			  " AND k.execution = e.seq)"
			: "",
		!f->status || driver == BY_STATUS ? ""
		: is_open(f->status) ? " AND (v.status IS NULL OR v.status = :status)"
				     : " AND v.status = :status",
		f->session && driver != BY_SESSION ? " AND e.session = :session" : "",
		f->caller ? " AND e.caller = :caller" : "",
		f->since ? " AND e.at_us >= :since" : "",
		f->until ? " AND e.at_us <= :until" : "", order);
	return n > 0 && (size_t)n < size ? 0 : -EMSGSIZE;
}

static void bind_text(sqlite3_stmt *s, const char *name, const char *text)
{
	int index = sqlite3_bind_parameter_index(s, name);

	if (index > 0 && text)
		(void)sqlite3_bind_text(s, index, text, -1, SQLITE_STATIC);
}

static void bind_number(sqlite3_stmt *s, const char *name, int64_t number)
{
	int index = sqlite3_bind_parameter_index(s, name);

	if (index > 0)
		(void)sqlite3_bind_int64(s, index, number);
}

/* ---- the walk ---- */

/* What time leaves of seq: exact, also where the clock was set back. */
static int bound(struct question *question, struct filter *f)
{
	sqlite3_stmt *s = NULL;
	int r;

	f->low = 0;
	f->high = INT64_MAX;
	if (driver_of(f) == BY_TIME || !(f->since || f->until))
		return 0;
	r = question_prepare(question,
			     "SELECT min(seq), max(seq) FROM executions INDEXED BY"
			     " executions_at WHERE at_us BETWEEN :since AND :until",
			     &s);
	if (r == 0) {
		bind_number(s, ":since", f->since ? f->since_us : 0);
		bind_number(s, ":until", f->until ? f->until_us : INT64_MAX);
		r = question_step(question, s);
		if (r > 0) {
			f->low = sqlite3_column_int64(s, 0);
			f->high = sqlite3_column_int64(s, 1);
			r = 0;
		}
	}
	(void)sqlite3_finalize(s);
	return r;
}

/* All rows of a page are taken before the first is handed out: what waits for a reader must
 * not keep the journal from being checkpointed. */
static int read_page(struct question *question, struct filter *f, sqlite3_stmt *s,
		     json_t *rows, int64_t *ret_seen)
{
	int r;

	while ((r = question_step(question, s)) > 0) {
		json_t *row = f->full ? show_row(question, s) : list_row(question, s);
		const char *status = json_string_value(json_object_get(row, "status"));

		f->last = sqlite3_column_int64(s, 0);
		++*ret_seen;
		/* Whether an engine lives the database does not know. */
		if (is_open(f->status) && status && strcmp(status, f->status) != 0)
			json_decref(row);
		else if (json_array_append_new(rows, row) < 0)
			return -ENOMEM;
	}
	return r;
}

static void bind(const struct filter *f, sqlite3_stmt *s, int64_t count)
{
	bind_text(s, ":match", f->match);
	bind_text(s, ":event", f->event);
	bind_text(s, ":status", f->status);
	bind_text(s, ":session", f->session);
	bind_text(s, ":caller", f->caller);
	bind_number(s, ":since", f->since_us);
	bind_number(s, ":until", f->until_us);
	bind_number(s, ":cursor", f->reverse ? f->after : f->before);
	bind_number(s, ":low", f->low);
	bind_number(s, ":high", f->high);
	bind_number(s, ":page", count);
}

/* *ret_seen: what the page held, of which *ret_rows were handed out. */
static int page(struct question *question, struct filter *f, int64_t count, int64_t left,
		int64_t *ret_seen, int64_t *ret_rows)
{
	json_t *rows = json_array();
	sqlite3_stmt *s = NULL;
	char sql[SQL_MAX];
	size_t i;
	int r = write_sql(f, driver_of(f), sql, sizeof(sql));

	*ret_seen = 0;
	if (r == 0)
		r = rows ? question_prepare(question, sql, &s) : -ENOMEM;
	if (r == 0) {
		bind(f, s, count);
		r = read_page(question, f, s, rows, ret_seen);
	}
	(void)sqlite3_finalize(s);
	for (i = 0; r == 0 && i < json_array_size(rows) && (int64_t)i < left; i++)
		r = question_emit(question, json_incref(json_array_get(rows, i)));
	*ret_rows = (int64_t)i;
	json_decref(rows);
	return r;
}

int answer_list(struct question *question)
{
	int64_t left, seen, rows, count;
	struct filter f = { 0 };
	int r = read_filter(question, &f);

	if (r == 0)
		r = bound(question, &f);
	left = f.limit;
	while (r == 0 && left > 0) {
		count = f.full ? PAGE_FULL : PAGE;
		if (left < count && !is_open(f.status))
			count = left;
		r = page(question, &f, count, left, &seen, &rows);
		if (seen < count)
			break;
		left -= rows;
		f.cursor = true;
		f.before = f.after = f.last;
	}
	free(f.match);
	return r;
}
