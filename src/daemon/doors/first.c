/* SPDX-License-Identifier: MIT
 * Purpose: the first version's web interface: its form, its samples, its page of a run
 *   (docs/doors.md).
 * Process: the engine. Trusts: nothing in a form; what a program said is escaped text.
 * Invariants: a form comes from a page of this very server, or from no page (the door's
 *   Origin rules). */
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/jsontext.h"
#include "daemon/doors/doors.h"
#include "daemon/http_internal.h"

#define SUCCEEDED "\xe6\x88\x90\xe5\x8a\x9f"                      /* 成功 */
#define FAILED "\xe6\x89\xa7\xe8\xa1\x8c\xe5\xa4\xb1\xe8\xb4\xa5" /* 执行失败 */
#define PAGE_MAX (8u << 20)

/* Takes the references; NULL is null. */
static void answer(struct exchange *ex, int http_status, json_t *id, bool succeeded,
		   json_t *result, json_t *error, double seconds)
{
	exchange_json(ex, http_status,
		      json_pack("{s:o?,s:s,s:o?,s:o?,s:f}", "id", id, "status",
				succeeded ? SUCCEEDED : FAILED, "result", result, "error",
				error, "execution_time", seconds));
}

static void problem(struct exchange *ex, int status, const char *name, const char *field,
		    const char *detail)
{
	(void)name;
	(void)field;
	answer(ex, status, NULL, false, NULL, json_string(detail), 0);
}

/* ---- POST /execute ---- */

/* As str() has it: text is itself, all else its repr. */
static json_t *result_text(const json_t *result)
{
	json_t *value = json_object_get(result, "result"),
	       *repr = json_object_get(result, "result_repr");

	if (json_is_string(value))
		return json_incref(value);
	return json_is_string(repr) ? json_incref(repr) : NULL;
}

static void on_done(void *arg, json_t *result)
{
	bool succeeded = strcmp(doors_status(result), "ok") == 0;
	double wall_ms = json_number_value(
		json_object_get(json_object_get(result, "usage"), "wall_ms"));

	answer(arg, exchange_result_status(result),
	       json_incref(json_object_get(result, "id")), succeeded,
	       succeeded ? result_text(result) : NULL,
	       succeeded ? NULL : doors_error_text(result), wall_ms / 1000);
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	exchange_problem(arg, err);
}

/* [[field, text], ...] of what the form says of the policy; a field left empty says
 * nothing. */
static json_t *settings_of(json_t *form)
{
	static const char *const fields[] = {
		"max_memory_mb",         "max_cpu_percent", "max_execution_time",
		"allow_file_operations", "network_access",  "allow_imports",
		"allowed_modules",
	};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		json_t *value = json_object_get(form, fields[i]);

		if (json_string_length(value) > 0 &&
		    json_array_append_new(list, json_pack("[s,O]", fields[i], value)) <
			    0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int execute(struct exchange *ex, struct sbx_err *err)
{
	const struct execution_sink sink = { .refused = on_refused,
					     .done = on_done,
					     .arg = ex };
	json_t *form = exchange_body(ex), *code = json_object_get(form, "code");
	struct request request;
	int r;

	if (!code)
		return err_set_field(err, SBX_AT_USAGE, 0, "code",
				     "the form has no field \"code\"");
	r = doors_request(
		ex, "strict",
		json_pack("{s:O,s:o}", "code", code, "settings", settings_of(form)),
		&request, err);
	if (r < 0)
		return r;
	r = exchange_run(ex, &request.execution, &sink, false, NULL, err);
	request_clear(&request);
	return r;
}

/* ---- what is remembered of a run ---- */

static const char *whose(const struct exchange *ex)
{
	return ex->caller.owner ? NULL : ex->caller.name;
}

static json_t *find(struct exchange *ex)
{
	json_t *found = runs_describe(ex->http->runs, exchange_param(ex, "id"),
				      whose(ex));

	if (!found)
		exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotFound", NULL,
				    "no execution with this id is remembered");
	return found;
}

/* Seconds since 1970 of "2026-11-24T16:00:00.123Z". */
static double seconds_of(const char *text)
{
	struct tm parts = { 0 };
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) : NULL;

	return rest ? (double)timegm(&parts) + strtod(rest, NULL) : 0;
}

static int resource_data(struct exchange *ex, struct sbx_err *err)
{
	json_t *found = find(ex), *samples, *sample, *list = json_array();
	double start, last_ms = 0, last_cpu_ms = 0;
	size_t i;

	(void)err;
	if (!found) {
		json_decref(list);
		return 0;
	}
	start = seconds_of(json_string_value(json_object_get(found, "at")));
	samples = runs_part(ex->http->runs, exchange_param(ex, "id"), whose(ex),
			    "samples");
	json_array_foreach(samples, i, sample)
	{
		double ms = json_number_value(json_object_get(sample, "at_ms")),
		       cpu_ms = json_number_value(json_object_get(sample, "cpu_ms")),
		       memory = json_number_value(
			       json_object_get(sample, "memory_bytes"));

		(void)json_array_append_new(
			list,
			json_pack("{s:f,s:f,s:f,s:f}", "timestamp", start + ms / 1000,
				  "memory_mb", memory / (1 << 20), "cpu_percent",
				  ms > last_ms
					  ? 100 * (cpu_ms - last_cpu_ms) / (ms - last_ms)
					  : 0.0,
				  "elapsed_time", ms / 1000));
		last_ms = ms;
		last_cpu_ms = cpu_ms;
	}
	json_decref(samples);
	json_decref(found);
	exchange_json(ex, MHD_HTTP_OK, list);
	return 0;
}

static int add_escaped(struct buf *page, const char *text, size_t len)
{
	static const struct {
		char c;
		const char *entity;
	} entities[] = { { '&', "&amp;" },
			 { '<', "&lt;" },
			 { '>', "&gt;" },
			 { '"', "&quot;" },
			 { '\'', "&#39;" } };
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i++) {
		const char *entity = NULL;

		for (size_t j = 0; j < sizeof(entities) / sizeof(entities[0]); j++)
			if (text[i] == entities[j].c)
				entity = entities[j].entity;
		/* HTML has no NUL and no other control characters. */
		if ((unsigned char)text[i] < 0x20 && !strchr("\t\n\r", text[i]))
			entity = "&#xfffd;";
		r = entity ? buf_add(page, entity, strlen(entity))
			   : buf_add(page, text + i, 1);
	}
	return r;
}

/* A heading and what is there, as text. */
static int add_part(struct buf *page, const char *heading, const json_t *value)
{
	_cleanup_buf_ struct buf text = { .max = PAGE_MAX };
	int r;

	if (!value || json_is_null(value))
		return 0;
	if (json_is_string(value))
		r = buf_add(&text, json_string_value(value), json_string_length(value));
	else
		r = jsontext_add(&text, value);
	if (r == 0 && text.len == 0)
		return 0;
	if (r == 0)
		r = buf_addf(page, "<h2>%s</h2>\n<pre>", heading);
	if (r == 0)
		r = add_escaped(page, text.data, text.len);
	return r < 0 ? r : buf_addf(page, "</pre>\n");
}

static int history(struct exchange *ex, struct sbx_err *err)
{
	static const struct {
		const char *heading, *member;
	} parts[] = { { "result", "result_repr" }, { "error", "error" },
		      { "stdout", "stdout" },      { "stderr", "stderr" },
		      { "events", "events" },      { "usage", "usage" },
		      { "policy", "policy" } };
	json_t *found = find(ex), *result;
	struct buf page = { .max = PAGE_MAX };
	int r;

	if (!found)
		return 0;
	result = json_object_get(found, "result");
	r = buf_addf(&page, "<!DOCTYPE html>\n<html lang=\"zh\">\n<head><meta "
			    "charset=\"utf-8\">"
			    "<title>sandbox</title></head>\n<body>\n<h1>");
	if (r == 0)
		r = add_escaped(&page, exchange_param(ex, "id"),
				strlen(exchange_param(ex, "id")));
	if (r == 0)
		r = buf_addf(&page, "</h1>\n");
	if (r == 0)
		r = add_part(&page, "status", json_object_get(found, "status"));
	if (r == 0)
		r = add_part(&page, "time", json_object_get(found, "at"));
	for (size_t i = 0; r == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
		r = add_part(&page, parts[i].heading,
			     json_object_get(result, parts[i].member));
	if (r == 0)
		r = buf_addf(&page, "</body>\n</html>\n");
	json_decref(found);
	if (r < 0) {
		buf_free(&page);
		return err_set(err, SBX_AT_ENGINE, -r, "the page is too large");
	}
	/* Nothing may be loaded or run, whatever the text is (exchange_text()). */
	exchange_text(ex, MHD_HTTP_OK, "text/html; charset=utf-8", page.data, page.len);
	return 0;
}

/* ---- the table ---- */

static const struct route_answer answers[] = {
	{ 200, NULL, NULL, "Its end." },
	{ 0, NULL, NULL, NULL },
};

static const struct route routes[] = {
	{ .method = "POST",
	  .pattern = "/execute",
	  .handle = execute,
	  .body = BODY_FORM,
	  .id = "firstExecute",
	  .summary = "Run a program",
	  .answers = answers },
	{ .method = "GET",
	  .pattern = "/resource_data/{id}",
	  .handle = resource_data,
	  .id = "firstResourceData",
	  .summary = "What it used, over its time",
	  .answers = answers },
	{ .method = "GET",
	  .pattern = "/history/{id}",
	  .handle = history,
	  .id = "firstHistory",
	  .summary = "What is remembered of it, as a page",
	  .answers = answers },
};

const struct route_table door_first = { .name = "first",
					.routes = routes,
					.count = sizeof(routes) / sizeof(routes[0]),
					.door = "first",
					.loose = true,
					.problem = problem };
