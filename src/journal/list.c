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
#define FEW "2000" /* rows that are looked at without a thought */
#define FEW_NUMBER 2000
#define OPEN_MAX 10000
#define SQL_MAX 2048

enum driver {
	BY_TEXT,
	BY_TAIL,
	BY_EVENT,
	BY_STATUS,
	BY_OPEN,
	BY_SESSION,
	BY_TIME,
	BY_ALL
};

struct filter {
	const char *status, *text, *session, *event, *caller;
	int64_t since_us, until_us, limit;
	int64_t before, after; /* beyond these no seq */
	bool since, until, cursor, reverse, full;
	char *match; /* of text, in FTS5's language; owned */
	enum driver driver;
	int64_t low, high; /* no other seq can be within since and until */
	struct buf tail;   /* JSON: executions that match and are not indexed */
	struct buf open;   /* JSON: executions that are `running` or `lost` */
};

static bool is_open(const char *status)
{
	return status && (strcmp(status, "running") == 0 || strcmp(status, "lost") == 0);
}

const char list_columns[] =
	"e.seq, e.id, e.at_us, e.start, e.caller, e.door, e.session, e.filename, e.preset,"
	" e.python, e.code_bytes, e.code, e.code_object, v.at_us, v.status, v.error,"
	" v.wall_us, v.cpu_us, v.memory_peak_bytes, v.processes_peak, v.events, e.template";

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
		" s:o, s:o, s:o, s:o, s:o, s:o}",
		"seq", column_number(s, 0), "id", column_text(s, 1, 100), "at",
		time_json(sqlite3_column_int64(s, 2)), "ended_at",
		ended ? time_json(sqlite3_column_int64(s, 13)) : json_null(), "status",
		status, "error", column_text(s, 15, 400), "caller",
		column_text(s, 4, 200), "door", column_text(s, 5, 40), "session",
		column_text(s, 6, 100), "filename", column_text(s, 7, 400), "preset",
		column_text(s, 8, 100), "template", column_text(s, 21, 100), "python",
		column_text(s, 9, 400), "wall_ms", micros(s, 16), "cpu_ms", micros(s, 17),
		"memory_peak_bytes", column_number(s, 18), "processes_peak",
		column_number(s, 19), "event_count", column_number(s, 20), "code_bytes",
		column_number(s, 10), "code", code_shown(question, s));
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
					    "before", "after", "reverse", "full",
					    NULL };
	bool limited, before = false, after = false;
	int r = filter_known(question, keys);

	f->limit = QUESTION_LIMIT;
	f->before = INT64_MAX;
	f->after = -1;
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
		r = filter_number(question, "after", 0, INT64_MAX - 1, &f->after, &after);
	if (r == 0)
		r = filter_flag(question, "reverse", &f->reverse);
	if (r == 0)
		r = filter_flag(question, "full", &f->full);
	f->cursor = r == 0 && (f->reverse ? after : before);
	return r == 0 && f->text ? match_of(question, f->text, &f->match) : r;
}

/* ---- SQL ---- */

/* What walks, the column that has its order, and what it asks for. */
static const struct {
	const char *from, *key, *where;
} drivers[] = {
	[BY_TEXT] = { "search f CROSS JOIN executions e ON e.seq = f.rowid"
		      " LEFT JOIN verdicts v ON v.execution = e.seq",
		      "f.rowid", "f.search MATCH :match" },
	[BY_TAIL] = { "json_each(:tail) t CROSS JOIN executions e ON e.seq = t.value"
		      " LEFT JOIN verdicts v ON v.execution = e.seq",
		      "t.value", "1" },
	[BY_EVENT] = { "events k CROSS JOIN executions e ON e.seq = k.execution"
		       " LEFT JOIN verdicts v ON v.execution = e.seq",
		       "k.execution",
		       "k.kind = :event AND k.seq = (SELECT min(seq) FROM events"
		       " WHERE kind = :event AND execution = k.execution)" },
	[BY_STATUS] = { "verdicts v CROSS JOIN executions e ON e.seq = v.execution",
			"v.execution", "v.status = :status" },
	[BY_OPEN] = { "(SELECT value AS seq FROM json_each(:open) UNION"
		      " SELECT execution FROM verdicts WHERE status = :status) o"
		      " CROSS JOIN executions e ON e.seq = o.seq"
		      " LEFT JOIN verdicts v ON v.execution = e.seq",
		      "o.seq", "1" },
	[BY_SESSION] = { "executions e LEFT JOIN verdicts v ON v.execution = e.seq",
			 "e.seq", "e.session = :session" },
	[BY_TIME] = { "executions e LEFT JOIN verdicts v ON v.execution = e.seq", "e.seq",
		      "1" },
	[BY_ALL] = { "executions e LEFT JOIN verdicts v ON v.execution = e.seq", "e.seq",
		     "1" },
};

/* Alone, time has its own index and order; beside others it is looked at in each row, and
 * where it helps it has become bounds of seq. */
static int write_sql(const struct filter *f, char *sql, size_t size)
{
	const char *down = f->reverse ? "ASC" : "DESC";
	char order[160], within[240];
	int n;

	if (f->driver == BY_TIME) {
		(void)snprintf(order, sizeof(order), "e.at_us %s, e.seq %s", down, down);
		/* Of a row that was pruned, or is yet to come, its neighbour's time. */
		(void)snprintf(within, sizeof(within), "%s",
			       !f->cursor ? "1"
			       : f->reverse
				       ? "(e.at_us, e.seq) > (coalesce((SELECT at_us FROM"
					 " executions WHERE seq <= :cursor ORDER BY seq"
					 " DESC LIMIT 1), -1), :cursor)"
				       : "(e.at_us, e.seq) < (coalesce((SELECT at_us FROM"
					 " executions WHERE seq >= :cursor ORDER BY seq"
					 " LIMIT 1), 9223372036854775807), :cursor)");
	} else {
		(void)snprintf(order, sizeof(order), "%s %s", drivers[f->driver].key,
			       down);
		(void)snprintf(within, sizeof(within), "%s BETWEEN :low AND :high",
			       drivers[f->driver].key);
	}
	n = snprintf(
		sql, size,
		"SELECT %s%s FROM %s WHERE %s AND %s%s%s%s%s%s%s%s ORDER BY %s LIMIT :page",
		list_columns, f->full ? show_columns : "", drivers[f->driver].from,
		drivers[f->driver].where, within,
		f->match && f->driver != BY_TEXT && f->driver != BY_TAIL
			? " AND (e.seq IN (SELECT rowid FROM search WHERE search MATCH"
			  " :match AND rowid = e.seq) OR e.seq IN (SELECT value FROM"
			  " json_each(:tail)))"
			: "",
		f->event && f->driver != BY_EVENT
			? " AND EXISTS (SELECT 1 FROM events k WHERE k.kind = :event"
			  " AND k.execution = e.seq)"
			: "",
		f->status && f->driver != BY_STATUS && f->driver != BY_OPEN
			? " AND v.status = :status"
			: "",
		f->session && f->driver != BY_SESSION ? " AND e.session = :session" : "",
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

/* One number; *ret stays where it is NULL. */
static int number(struct question *question, const struct filter *f, const char *sql,
		  int64_t *ret)
{
	sqlite3_stmt *s = NULL;
	int r = question_prepare(question, sql, &s);

	if (r == 0) {
		bind_text(s, ":event", f->event);
		bind_text(s, ":status", f->status);
		bind_text(s, ":session", f->session);
		bind_number(s, ":since", f->since ? f->since_us : 0);
		bind_number(s, ":until", f->until ? f->until_us : INT64_MAX);
		r = question_step(question, s);
	}
	if (r > 0 && sqlite3_column_type(s, 0) == SQLITE_INTEGER)
		*ret = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return r < 0 ? r : 0;
}

/* What an index finds few of walks; else the words, which are many in every record. */
static int choose(struct question *question, struct filter *f)
{
	const struct {
		const char *wanted;
		enum driver driver;
		const char *few;
	} rows[] = {
		{ f->event, BY_EVENT,
		  "SELECT count(*) FROM (SELECT 1 FROM events WHERE kind = :event LIMIT " FEW
		  ")" },
		{ f->status, BY_STATUS,
		  "SELECT count(*) FROM (SELECT 1 FROM verdicts WHERE status = :status"
		  " LIMIT " FEW ")" },
		{ f->session, BY_SESSION,
		  "SELECT count(*) FROM (SELECT 1 FROM executions WHERE session = :session"
		  " LIMIT " FEW ")" },
	};
	bool time = f->since || f->until, decided = false;
	int r = 0;

	f->driver = f->match ? BY_TEXT : time && !f->caller ? BY_TIME : BY_ALL;
	if (is_open(f->status)) {
		f->driver = BY_OPEN;
		return 0;
	}
	for (size_t i = 0; r == 0 && !decided && i < sizeof(rows) / sizeof(rows[0]);
	     i++) {
		int64_t count = 0;

		if (!rows[i].wanted)
			continue;
		r = number(question, f, rows[i].few, &count);
		decided = count < FEW_NUMBER;
		/* Of several that are many the first. */
		if (decided || f->driver == BY_TIME || f->driver == BY_ALL)
			f->driver = rows[i].driver;
	}
	return r;
}

/* What time leaves of seq: exact, also where the clock was set back. Of a long time only the
 * end at which the walk begins: what it passes before its first row. */
static int bound(struct question *question, struct filter *f)
{
	int64_t count = 0;
	bool few;
	int r;

	f->high = INT64_MAX;
	if (f->driver == BY_TIME || !(f->since || f->until))
		return 0;
	r = number(question, f,
		   "SELECT count(*) FROM (SELECT 1 FROM executions WHERE at_us BETWEEN"
		   " :since AND :until LIMIT " FEW ")",
		   &count);
	few = count < FEW_NUMBER;
	if (r == 0 && (few || (f->until && !f->reverse)))
		r = number(question, f,
			   "SELECT coalesce(max(seq), 0) FROM executions INDEXED BY"
			   " executions_at WHERE at_us BETWEEN :since AND :until",
			   &f->high);
	if (r == 0 && (few || (f->since && f->reverse)))
		r = number(question, f,
			   "SELECT coalesce(min(seq), 0) FROM executions INDEXED BY"
			   " executions_at WHERE at_us BETWEEN :since AND :until",
			   &f->low);
	return r;
}

/* Executions without a verdict whose engine lives (running) or does not (lost): f->open.
 * They are few, and how many is known, so that the look for them ends with the last. */
static int find_open(struct question *question, struct filter *f)
{
	bool running = strcmp(f->status, "running") == 0;
	sqlite3_stmt *s = NULL;
	int64_t left = 0;
	int r = buf_add(&f->open, "[", 1);

	if (sqlite3_exec(question->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		return -EIO;
	if (r == 0)
		r = number(question, f,
			   "SELECT (SELECT count(*) FROM executions) -"
			   " (SELECT count(*) FROM verdicts)",
			   &left);
	if (r == 0)
		r = question_prepare(
			question,
			"SELECT seq, start FROM executions e WHERE NOT EXISTS"
			" (SELECT 1 FROM verdicts WHERE execution = e.seq)"
			" ORDER BY seq DESC LIMIT :left",
			&s);
	if (r == 0)
		bind_number(s, ":left", left < OPEN_MAX ? left : OPEN_MAX);
	while (r == 0 && (r = question_step(question, s)) > 0)
		r = store_is_alive(question->journal, sqlite3_column_int64(s, 1)) !=
				    running
			    ? 0
			    : buf_addf(&f->open, "%s%lld", f->open.len > 1 ? "," : "",
				       (long long)sqlite3_column_int64(s, 0));
	(void)sqlite3_finalize(s);
	(void)sqlite3_exec(question->db, "COMMIT", NULL, NULL, NULL);
	return r < 0 ? r : buf_add(&f->open, "]", 1);
}

/* All rows of a page are taken before the first is handed out: what waits for a reader must
 * not keep the journal from being checkpointed. */
static int read_page(struct question *question, const struct filter *f, sqlite3_stmt *s,
		     json_t *rows)
{
	int r;

	while ((r = question_step(question, s)) > 0)
		if (json_array_append_new(rows, f->full ? show_row(question, s)
							: list_row(question, s)) < 0)
			return -ENOMEM;
	return r;
}

static void bind(const struct filter *f, sqlite3_stmt *s, int64_t count)
{
	bind_text(s, ":match", f->match);
	bind_text(s, ":event", f->event);
	bind_text(s, ":status", f->status);
	bind_text(s, ":session", f->session);
	bind_text(s, ":caller", f->caller);
	bind_text(s, ":open", f->open.data);
	bind_text(s, ":tail", f->tail.data);
	bind_number(s, ":since", f->since_us);
	bind_number(s, ":until", f->until_us);
	bind_number(s, ":cursor", f->reverse ? f->after : f->before);
	bind_number(s, ":low", f->low > f->after ? f->low : f->after + 1);
	bind_number(s, ":high", f->high < f->before ? f->high : f->before - 1);
	bind_number(s, ":page", count);
}

static int read_rows(struct question *question, const struct filter *f, int64_t count,
		     json_t *rows)
{
	sqlite3_stmt *s = NULL;
	char sql[SQL_MAX];
	int r = write_sql(f, sql, sizeof(sql));

	if (r == 0)
		r = question_prepare(question, sql, &s);
	if (r == 0) {
		bind(f, s, count);
		r = read_page(question, f, s, rows);
	}
	(void)sqlite3_finalize(s);
	return r;
}

/* Those of the tail among those of the index: both in order, `count` of them, each once. */
static int merge_tail(struct question *question, const struct filter *f, int64_t count,
		      json_t *rows)
{
	struct filter tail = *f;
	json_t *more = json_array();
	size_t at = 0;
	int r;

	tail.driver = BY_TAIL;
	r = more ? read_rows(question, &tail, count, more) : -ENOMEM;
	for (size_t i = 0; r == 0 && i < json_array_size(more); i++) {
		json_t *row = json_array_get(more, i);
		int64_t seq = json_integer_value(json_object_get(row, "seq")), other = -1;

		for (; at < json_array_size(rows); at++) {
			other = json_integer_value(
				json_object_get(json_array_get(rows, at), "seq"));
			if (f->reverse ? other >= seq : other <= seq)
				break;
		}
		if (at == json_array_size(rows) || other != seq)
			r = json_array_insert(rows, at, row) < 0 ? -ENOMEM : 0;
	}
	while (r == 0 && (int64_t)json_array_size(rows) > count)
		r = json_array_remove(rows, json_array_size(rows) - 1);
	json_decref(more);
	return r;
}

static int page(struct question *question, struct filter *f, int64_t count,
		int64_t *ret_rows)
{
	json_t *rows = json_array();
	size_t i;
	int r = rows ? read_rows(question, f, count, rows) : -ENOMEM;

	if (r == 0 && f->driver == BY_TEXT)
		r = merge_tail(question, f, count, rows);
	for (i = 0; r == 0 && i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		int64_t seq = json_integer_value(json_object_get(row, "seq"));

		*(f->reverse ? &f->after : &f->before) = seq;
		r = question_emit(question, json_incref(row));
	}
	f->cursor = true;
	*ret_rows = (int64_t)i;
	json_decref(rows);
	return r;
}

int answer_list(struct question *question)
{
	struct filter f = { 0 };
	int64_t rows, count;
	int r = read_filter(question, &f);

	if (r == 0)
		r = choose(question, &f);
	if (r == 0 && f.driver == BY_OPEN)
		r = find_open(question, &f);
	if (r == 0 && f.match)
		r = tail_find(question, f.match, &f.tail);
	if (r == 0)
		r = bound(question, &f);
	for (int64_t left = f.limit; r == 0 && left > 0; left -= rows) {
		count = f.full ? PAGE_FULL : PAGE;
		count = left < count ? left : count;
		r = page(question, &f, count, &rows);
		if (rows < count)
			break;
	}
	free(f.match);
	buf_free(&f.open);
	buf_free(&f.tail);
	return r;
}
