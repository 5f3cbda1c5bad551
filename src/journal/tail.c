/* SPDX-License-Identifier: MIT
 * Purpose: what the search index does not hold yet, searched as it would be: the newest runs
 *   and those without a verdict, in an index in memory.
 * Process: the engine, in a question's thread. Trusts: nothing of the texts.
 * Invariants: at most TAIL_MAX runs of each are looked at; the index follows within a second, so
 *   there are seldom more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "journal/index.h"
#include "journal/question.h"

#define TAIL_MAX "2000"

/* The verdict up to which the index reaches, by the head. */
static int read_indexed(struct question *question, int64_t *ret)
{
	sqlite3_stmt *s = NULL;
	const char *text, *at;
	long long number = 0;
	int r = question_prepare(question, "SELECT statement FROM head", &s);

	if (r == 0)
		r = question_step(question, s);
	if (r > 0) {
		text = (const char *)sqlite3_column_text(s, 0);
		at = text ? strstr(text, "\nsearch ") : NULL;
		if (at && sscanf(at, "\nsearch %lld", &number) == 1)
			*ret = number;
	}
	(void)sqlite3_finalize(s);
	return r < 0 ? r : 0;
}

static int add_run(struct question *question, sqlite3_stmt *insert, int64_t execution)
{
	struct index_texts texts;
	int r = index_texts(question->journal, question->db, execution, &texts,
			    question->err);

	if (r < 0)
		return r;
	const struct buf *parts[] = { &texts.code, &texts.output, &texts.subjects };

	(void)sqlite3_bind_int64(insert, 1, execution);
	for (int i = 0; i < 3; i++)
		(void)sqlite3_bind_text64(insert, i + 2,
					  parts[i]->data ? parts[i]->data : "",
					  parts[i]->len, SQLITE_STATIC, SQLITE_UTF8);
	r = sqlite3_step(insert) == SQLITE_DONE ? 0 : -EIO;
	(void)sqlite3_reset(insert);
	index_texts_clear(&texts);
	return r;
}

static int fill(struct question *question, sqlite3 *memory, int64_t indexed)
{
	sqlite3_stmt *runs = NULL, *insert = NULL;
	int r = question_prepare(question,
				 "SELECT execution FROM (SELECT execution FROM verdicts"
				 " WHERE seq > ? ORDER BY seq DESC LIMIT " TAIL_MAX ")"
				 " UNION SELECT execution FROM (SELECT execution FROM"
				 " running ORDER BY execution DESC LIMIT " TAIL_MAX ")",
				 &runs);

	if (r == 0 &&
	    sqlite3_prepare_v2(memory,
			       "INSERT INTO tail (rowid, code, output, subjects)"
			       " VALUES (?, ?, ?, ?)",
			       -1, &insert, NULL) != SQLITE_OK)
		r = -EIO;
	if (r == 0)
		(void)sqlite3_bind_int64(runs, 1, indexed);
	while (r == 0 && (r = question_step(question, runs)) > 0)
		r = add_run(question, insert, sqlite3_column_int64(runs, 0));
	(void)sqlite3_finalize(runs);
	(void)sqlite3_finalize(insert);
	return r;
}

static int find(sqlite3 *memory, const char *match, struct buf *ret)
{
	sqlite3_stmt *s = NULL;
	int step = SQLITE_ERROR, r = buf_add(ret, "[", 1);

	if (sqlite3_prepare_v2(memory, "SELECT rowid FROM tail WHERE tail MATCH ?", -1,
			       &s, NULL) != SQLITE_OK)
		r = -EIO;
	if (r == 0)
		(void)sqlite3_bind_text(s, 1, match, -1, SQLITE_STATIC);
	while (r == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
		r = buf_addf(ret, "%s%lld", ret->len > 1 ? "," : "",
			     (long long)sqlite3_column_int64(s, 0));
	if (r == 0 && step != SQLITE_DONE)
		r = -EIO;
	(void)sqlite3_finalize(s);
	return r < 0 ? r : buf_add(ret, "]", 1);
}

int tail_find(struct question *question, const char *match, struct buf *ret)
{
	int64_t indexed = INT64_MAX;
	sqlite3 *memory = NULL;
	int r = read_indexed(question, &indexed);

	if (r < 0)
		return r;
	if (sqlite3_open(":memory:", &memory) != SQLITE_OK ||
	    sqlite3_exec(memory,
			 "CREATE VIRTUAL TABLE tail USING fts5(code, output, subjects,"
			 " content='', columnsize=0, tokenize=\"" SCHEMA_SEARCH_TOKENIZE
			 "\")",
			 NULL, NULL, NULL) != SQLITE_OK)
		r = -EIO;
	if (r == 0)
		r = fill(question, memory, indexed);
	if (r == 0)
		r = find(memory, match, ret);
	(void)sqlite3_close(memory);
	return r == -EIO ? err_set(question->err, SBX_AT_JOURNAL, EIO,
				   "searching the newest")
			 : r;
}
