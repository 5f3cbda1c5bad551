/* SPDX-License-Identifier: MIT
 * Purpose: journal_list and journal_show: what ran, from the journal or, without one, from
 *   what the server remembers.
 * Process: the engine; the journal's own threads do the work.
 * Trusts: nothing of the client; rows are what programs and callers wrote.
 * Invariants: a caller sees its own programs, unless it sees everybody's; a client that goes
 *   takes its question with it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "daemon/api.h"
#include "journal/journal.h"
#include "mcp/call.h"
#include "mcp/text.h"

#define TEXT_MAX 6000u
#define ID_CHARS 64u

struct look {
	struct call *call;
	struct journal_question *question;
	json_t *rows;
	const char *id; /* of one; NULL: the list */
};

static void look_free(struct look *look)
{
	journal_query_cancel(&look->question);
	json_decref(look->rows);
	free(look);
}

static json_t *row_of(const json_t *row)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)row),
	       *result = json_copy(json_object_get(row, "result")), *bounded;
	size_t budget = 4000;

	/* Images are no use in words. */
	if (json_is_object(result)) {
		(void)json_object_del(result, "displays");
		(void)json_object_set(copy, "result", result);
	}
	json_decref(result);
	bounded = text_bounded(copy, TEXT_MAX, 200, &budget);
	json_decref(copy);
	return bounded;
}

static json_t *list_of(const json_t *rows, bool recorded)
{
	size_t budget = 6000;

	return json_pack("{s:o,s:b}", "executions", text_bounded(rows, 600, 100, &budget),
			 "recorded", recorded);
}

static int unknown(struct sbx_err *err)
{
	return err_set(err, SBX_AT_USAGE, ENOENT, "there is no execution with this id");
}

static bool is_its(const struct look *look, const json_t *row)
{
	const struct caller *caller = exchange_caller(look->call->ex);
	const char *id = json_string_value(json_object_get(row, "id")),
		   *name = json_string_value(json_object_get(row, "caller"));

	/* The journal finds by the beginning of an id, too: not here. */
	return id && name && strcmp(id, look->id) == 0 &&
	       (caller->owner || strcmp(name, caller->name) == 0);
}

static void on_row(void *arg, const json_t *row)
{
	struct look *look = arg;

	if (json_array_size(look->rows) < 1000)
		(void)json_array_append(look->rows, (json_t *)(uintptr_t)row);
}

static void on_end(void *arg, const struct sbx_err *err)
{
	struct look *look = arg;
	const json_t *row = json_array_get(look->rows, 0);
	struct call *call = look->call;
	struct sbx_err own = { 0 };

	look->question = NULL;
	exchange_on_gone(call->ex, NULL, NULL);
	if (err) {
		call_refused(call, err);
	} else if (!look->id) {
		call_object(call, list_of(look->rows, true));
	} else if (is_its(look, row)) {
		call_object(call, json_pack("{s:o}", "execution", row_of(row)));
	} else {
		(void)unknown(&own);
		call_refused(call, &own);
	}
	look_free(look);
}

static void on_gone(void *arg)
{
	struct look *look = arg;
	struct call *call = look->call;
	const struct sbx_err gone = { .stage = SBX_AT_BUSY, .msg = "it was cancelled" };

	exchange_on_gone(call->ex, NULL, NULL);
	look_free(look);
	call_refused(call, &gone);
}

static int ask(struct call *call, const char *verb, json_t *filter, const char *id,
	       struct sbx_err *err)
{
	struct look *look = calloc(1, sizeof(*look));
	int r = 0;

	if (look)
		look->rows = json_array();
	if (!look || !look->rows || !filter)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	if (r == 0) {
		look->call = call;
		look->id = id;
		r = journal_query(api_journal(call->ex), verb, filter, on_row, on_end,
				  look, &look->question, err);
	}
	json_decref(filter);
	if (r < 0 && look)
		look_free(look);
	if (r == 0)
		exchange_on_gone(call->ex, on_gone, look);
	return r;
}

int tool_journal_list(struct call *call, struct sbx_err *err)
{
	static const char *const keys[] = { "status", "text", "session", "event" };
	const struct caller *caller = exchange_caller(call->ex);
	long long limit = call_number(call, "limit", 20);
	json_t *filter, *rows;

	if (!api_journal(call->ex)) {
		for (size_t i = 1; i < 4; i++)
			if (call_text(call, keys[i]))
				return err_set(
					err, SBX_AT_USAGE, EINVAL,
					"this server keeps no journal to look \"%s\" "
					"up in",
					keys[i]);
		rows = api_remembered(call->ex, call_text(call, "status"), (size_t)limit);
		call_object(call, list_of(rows, false));
		json_decref(rows);
		return 0;
	}
	filter = json_pack("{s:I}", "limit", (json_int_t)limit);
	for (size_t i = 0; i < 4; i++)
		if (call_text(call, keys[i]))
			(void)json_object_set_new(filter, keys[i],
						  json_string(call_text(call, keys[i])));
	if (!caller->owner)
		(void)json_object_set_new(filter, "caller", json_string(caller->name));
	return ask(call, "list", filter, NULL, err);
}

int tool_journal_show(struct call *call, struct sbx_err *err)
{
	const char *id = call_text(call, "id");
	json_t *found;

	if (strlen(id) > ID_CHARS || strspn(id, "0123456789abcdef") != strlen(id))
		return unknown(err);
	if (api_journal(call->ex))
		return ask(call, "show", json_pack("{s:s}", "id", id), id, err);
	found = api_remembered_one(call->ex, id);
	if (!found)
		return unknown(err);
	call_object(call, json_pack("{s:o}", "execution", row_of(found)));
	json_decref(found);
	return 0;
}
