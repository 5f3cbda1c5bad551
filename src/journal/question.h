/* SPDX-License-Identifier: MIT
 * One question to the journal, as the files that answer it see it (query.c, list.c, show.c,
 * follow.c). In the question's thread, which owns the connection. */
#ifndef SBX_JOURNAL_QUESTION_H
#define SBX_JOURNAL_QUESTION_H

#include <stdbool.h>

#include "journal/internal.h"

#define QUESTION_LIMIT 50u /* rows of an answer that says none */
#define QUESTION_LIMIT_MAX 1000000u
#define QUESTION_CODE_SHOWN 200u     /* bytes of code in a row of a list */
#define QUESTION_TEXT_MAX (1u << 20) /* of code, stdout, stderr in an answer to `show` */
/* Of a result: what a program shows (24 MiB) and its value (16 MiB); almost all have less. */
#define QUESTION_RESULT_MAX (40u << 20)
#define QUESTION_FILE_CHUNK (48u << 10)
#define QUESTION_FOLLOW_MS 100

struct question {
	struct journal *journal;
	sqlite3 *db;
	const json_t *filter; /* an object; any */
	struct sbx_err *err;  /* filled by whoever fails */
	void *handle;         /* query.c's */
};

/* Hands a row to the loop and waits while too many wait there. Takes the reference; NULL is
 * -ENOMEM. 0, -ECANCELED, -EMSGSIZE for a row that no door would take. */
int question_emit(struct question *question, json_t *row);
/* -ECANCELED as soon as nobody waits for the answer; else after `ms`. */
int question_pause(struct question *question, unsigned ms);
/* What stops verify and prune. */
const int *question_stop(struct question *question);
/* From now on the answer may take as long as it likes. */
void question_without_deadline(struct question *question);

/* ---- what a filter says; -EINVAL with a usage error where it has another type ---- */
int filter_text(struct question *question, const char *key, size_t max,
		const char **ret); /* NULL: not there; borrowed */
int filter_number(struct question *question, const char *key, int64_t least, int64_t most,
		  int64_t *ret, bool *ret_given);
int filter_flag(struct question *question, const char *key, bool *ret);
/* Every key of the filter is one of these. */
int filter_known(struct question *question, const char *const *keys);

/* ---- SQLite ---- */
int question_prepare(struct question *question, const char *sql, sqlite3_stmt **ret);
/* 1: a row, 0: the end, -errno. */
int question_step(struct question *question, sqlite3_stmt *statement);
/* Of a column: borrowed text as JSON; invalid UTF-8 becomes U+FFFD; NULL: null. New ref. */
json_t *column_text(sqlite3_stmt *statement, int column, size_t max);
json_t *text_json(const char *text, size_t len);
json_t *column_number(sqlite3_stmt *statement, int column);
json_t *time_json(int64_t at_us); /* "2026-11-24T16:20:00.123456Z" */

/* ---- the verbs ---- */
int answer_list(struct question *question);
int answer_show(struct question *question);
int answer_events(struct question *question);
int answer_samples(struct question *question);
int answer_files(struct question *question);
int answer_file(struct question *question);
int answer_stats(struct question *question);
int answer_follow(struct question *question);

/* list.c: what follow.c needs of it. The columns of a row, `e` executions and `v` verdicts
 * or NULLs, beginning at 0; and the row. */
extern const char list_columns[];
json_t *list_row(struct question *question, sqlite3_stmt *statement);
/* tail.c: seqs of executions that the search index does not hold yet and that match, as
 * JSON. */
int tail_find(struct question *question, const char *match, struct buf *ret);
/* show.c: the columns that follow list_columns in a whole row; and that row, with its first
 * events. */
extern const char show_columns[];
json_t *show_row(struct question *question, sqlite3_stmt *statement);
/* The execution that "id" names, whole or by its beginning; 0 where there is none. */
int find_execution(struct question *question, int64_t *ret_seq);
/* One event; the statement's columns are those of event_columns. */
extern const char event_columns[];
json_t *event_row(sqlite3_stmt *statement);

#endif
