/* SPDX-License-Identifier: MIT
 * Purpose: executions that have ended, as the journal has them.
 * Process: the engine; the journal's own threads do the work.
 * Trusts: nothing in a query; rows are what a program and its caller wrote, and go out as
 *   JSON or as attachments.
 * Invariants: of one execution nothing is told before it is known that its caller is who
 *   asks, or an operator; a caller that goes takes its question with it. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "daemon/api.h"
#include "daemon/http_internal.h"

#define ROWS_MAX 100000u

struct asked {
	struct exchange *ex;
	struct journal_question *question;
	json_t *rows;
	size_t limit;
	const char
		*part; /* of one execution, once it is known whose it is; NULL: itself */
	void (*answer)(struct asked *asked); /* with all rows */
};

static void asked_free(struct asked *asked)
{
	struct exchange *ex = asked->ex;

	journal_query_cancel(&asked->question);
	json_decref(asked->rows);
	free(asked);
	exchange_release(ex);
}

static void on_gone(void *arg)
{
	asked_free(arg);
}

static void on_row(void *arg, const json_t *row)
{
	struct asked *asked = arg;

	if (json_array_size(asked->rows) < ROWS_MAX)
		(void)json_array_append(asked->rows, (json_t *)(uintptr_t)row);
}

static void on_end(void *arg, const struct sbx_err *err)
{
	struct asked *asked = arg;

	asked->question = NULL;
	exchange_on_gone(asked->ex, NULL, NULL);
	if (err) {
		exchange_problem(asked->ex, err);
		asked_free(asked);
		return;
	}
	asked->answer(asked); /* frees it */
}

/* Takes the filter's reference. 0 or -errno: then asked is as it was. */
static int ask(struct asked *asked, const char *verb, json_t *filter, struct sbx_err *err)
{
	struct journal *journal = api_journal(asked->ex);
	int r = -ENOENT;

	json_decref(asked->rows);
	asked->rows = json_array();
	if (!journal)
		r = err_set(err, SBX_AT_JOURNAL, 0, "the journal is closed");
	else if (!asked->rows || !filter)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	else
		r = journal_query(journal, verb, filter, on_row, on_end, asked,
				  &asked->question, err);
	json_decref(filter);
	if (r == 0)
		exchange_on_gone(asked->ex, on_gone, asked);
	return r;
}

static int begin(struct exchange *ex, const char *verb, json_t *filter, size_t limit,
		 const char *part, void (*answer)(struct asked *asked),
		 struct sbx_err *err)
{
	struct asked *asked = calloc(1, sizeof(*asked));
	int r;

	if (!asked) {
		json_decref(filter);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	}
	asked->ex = exchange_hold(ex);
	asked->limit = limit;
	asked->part = part;
	asked->answer = answer;
	r = ask(asked, verb, filter, err);
	if (r < 0)
		asked_free(asked);
	return r;
}

struct journal *api_journal(const struct exchange *ex)
{
	return ex->http && ex->http->journal ? ex->http->journal(ex->http->journal_arg)
					     : NULL;
}

/* ---- the list ---- */

/* RFC 3339 in UTC, or seconds since 1970. -1: neither. */
static int64_t micros_of(const char *text)
{
	struct tm parts = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
	char *end;
	double seconds = 0;

	if (!rest) {
		seconds = strtod(text, &end);
		return *end || end == text || !(seconds >= 0 && seconds < 1e11)
			       ? -1
			       : (int64_t)(seconds * 1e6);
	}
	if (*rest == '.') {
		seconds = strtod(rest, &end);
		rest = end;
	}
	if (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0)
		return -1;
	return (int64_t)timegm(&parts) * 1000000 + (int64_t)(seconds * 1e6);
}

static void answer_list(struct asked *asked)
{
	size_t count = json_array_size(asked->rows);
	json_t *last = json_object_get(json_array_get(asked->rows, count ? count - 1 : 0),
				       "seq");
	char next[24] = "";

	if (count == asked->limit)
		(void)snprintf(next, sizeof(next), "%lld",
			       (long long)json_integer_value(last));
	exchange_json(asked->ex, MHD_HTTP_OK,
		      json_pack("{s:O,s:b,s:s?}", "executions", asked->rows, "recorded",
				1, "next", next[0] ? next : NULL));
	asked_free(asked);
}

static int add_numbers(const struct exchange *ex, json_t *filter, struct sbx_err *err)
{
	static const char *const times[] = { "since", "until" };
	long long before;
	int r = exchange_query_number(ex, "before", 0, INT64_MAX, -1, &before, err);

	if (r == 0 && before >= 0)
		(void)json_object_set_new(filter, "before", json_integer(before));
	for (size_t i = 0; r == 0 && i < 2; i++) {
		const char *text = exchange_query(ex, times[i]);
		int64_t us = text ? micros_of(text) : 0;

		if (us < 0)
			r = err_set_field(err, SBX_AT_USAGE, 0, times[i],
					  "%s has to be a time, as 2026-11-24T16:00:00Z",
					  times[i]);
		else if (text)
			(void)json_object_set_new(filter, times[i], json_integer(us));
	}
	return r;
}

int api_journal_list(struct exchange *ex, size_t limit, struct sbx_err *err)
{
	static const char *const texts[] = { "status", "text", "session", "event" };
	json_t *filter = json_pack("{s:I}", "limit", (json_int_t)limit);
	int r = add_numbers(ex, filter, err);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (exchange_query(ex, texts[i]))
			(void)json_object_set_new(
				filter, texts[i],
				json_string(exchange_query(ex, texts[i])));
	if (!ex->caller.owner)
		(void)json_object_set_new(filter, "caller", json_string(ex->caller.name));
	if (r < 0) {
		json_decref(filter);
		return r;
	}
	return begin(ex, "list", filter, limit, NULL, answer_list, err);
}

/* ---- one ---- */

static void answer_file(struct asked *asked)
{
	const json_t *file = json_array_get(asked->rows, 0), *row;
	size_t size = (size_t)json_integer_value(json_object_get(file, "size")), i;
	bool stored = json_is_true(json_object_get(file, "stored"));
	char *data = stored && size <= JOURNAL_FILES_BYTES ? calloc(1, size + 1) : NULL;
	size_t used = 0, len = 0;

	json_array_foreach(asked->rows, i, row)
	{
		const char *text = json_string_value(json_object_get(row, "base64"));

		if (data && text &&
		    sodium_base642bin((unsigned char *)data + used, size - used, text,
				      strlen(text), NULL, &len, NULL,
				      sodium_base64_VARIANT_ORIGINAL) == 0)
			used += len;
	}
	if (!file)
		exchange_problem_as(asked->ex, MHD_HTTP_NOT_FOUND, "NotFound", NULL,
				    "it left no file of this name");
	else if (!data || used != size)
		exchange_problem_as(asked->ex, MHD_HTTP_NOT_FOUND, "NotRecorded", NULL,
				    "what was in this file is not in the journal");
	else
		exchange_download(asked->ex, exchange_param(asked->ex, "path"), data,
				  size);
	if (!file || used != size)
		free(data);
	asked_free(asked);
}

static void answer_part(struct asked *asked)
{
	exchange_json(asked->ex, MHD_HTTP_OK,
		      json_pack("{s:O}", asked->part, asked->rows));
	asked_free(asked);
}

static void ask_part(struct asked *asked)
{
	const char *id = exchange_param(asked->ex, "id");
	json_t *filter = json_pack("{s:s}", "id", id);
	struct sbx_err err = { 0 };

	asked->answer = answer_part;
	if (strcmp(asked->part, "file") == 0) {
		(void)json_object_set_new(filter, "path",
					  json_string(exchange_param(asked->ex, "path")));
		asked->answer = answer_file;
	}
	if (ask(asked, asked->part, filter, &err) < 0) {
		exchange_problem(asked->ex, &err);
		asked_free(asked);
	}
}

/* The journal finds by the beginning of an id, too: not here. */
static void answer_one(struct asked *asked)
{
	const struct exchange *ex = asked->ex;
	json_t *row = json_array_get(asked->rows, 0);
	const char *id = json_string_value(json_object_get(row, "id")),
		   *caller = json_string_value(json_object_get(row, "caller"));

	if (!id || !caller || strcmp(id, exchange_param(ex, "id")) != 0 ||
	    (!ex->caller.owner && strcmp(caller, ex->caller.name) != 0)) {
		exchange_problem_as(asked->ex, MHD_HTTP_NOT_FOUND, "NotFound", NULL,
				    "there is no execution with this id");
		asked_free(asked);
	} else if (asked->part) {
		ask_part(asked);
	} else {
		exchange_json(asked->ex, MHD_HTTP_OK, json_incref(row));
		asked_free(asked);
	}
}

int api_journal_one(struct exchange *ex, const char *part, struct sbx_err *err)
{
	const char *id = exchange_param(ex, "id");

	if (strlen(id) > 64 || strspn(id, "0123456789abcdef") != strlen(id)) {
		exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotFound", NULL,
				    "there is no execution with this id");
		return 0;
	}
	return begin(ex, "show", json_pack("{s:s}", "id", id), 1, part, answer_one, err);
}

/* ---- the head ---- */

static void answer_head(struct asked *asked)
{
	json_t *row = json_array_get(asked->rows, 0);

	exchange_json(asked->ex, MHD_HTTP_OK, row ? json_incref(row) : json_object());
	asked_free(asked);
}

int api_journal_head(struct exchange *ex, struct sbx_err *err)
{
	return begin(ex, "head", json_object(), 1, NULL, answer_head, err);
}
