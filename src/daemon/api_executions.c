/* SPDX-License-Identifier: MIT
 * Purpose: /v1/executions: run, stream, detach, look, stop.
 * Process: the engine. Trusts: nothing in a body. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "daemon/api.h"
#include "daemon/http_internal.h"
#include "daemon/problem.h"

/* ---- POST /v1/executions ---- */

static int use_template(void *arg, const char *name, struct sbx_policy *policy)
{
	const struct exchange *ex = arg;
	const struct http_template *found = auth_template(ex->auth, name);
	json_t *preload = json_array();
	int r = found && preload ? 0 : -ENOENT;

	for (size_t i = 0; r == 0 && i < found->preload.count; i++)
		r = json_array_append_new(preload, json_string(found->preload.items[i]));
	if (r == 0)
		r = policy_set_json(policy, "preload", preload, NULL);
	json_decref(preload);
	if (r == 0) {
		json_t *python = json_string(found->python);

		r = policy_set_json(policy, "python", python, NULL);
		json_decref(python);
	}
	return r;
}

int api_request(struct exchange *ex, struct request *ret, struct sbx_err *err)
{
	return api_request_of(ex, exchange_body(ex), ret, err);
}

int api_request_of(struct exchange *ex, json_t *object, struct request *ret,
		   struct sbx_err *err)
{
	return api_request_over(ex, object, auth_defaults(ex->auth), ret, err);
}

int api_request_over(struct exchange *ex, json_t *object,
		     const struct sbx_policy *defaults, struct request *ret,
		     struct sbx_err *err)
{
	const struct request_rules rules = { .defaults = defaults,
					     .ceilings = { auth_ceilings(ex->auth),
							   ex->caller.ceilings },
					     .template = use_template,
					     .arg = ex };
	int r = request_parse(object, &rules, ret, err);

	if (r < 0)
		return r;
	if (ret->execution.stdin_open)
		r = err_set_field(err, SBX_AT_USAGE, 0, "stdin_open",
				  "stdin cannot be kept open over HTTP");
	else if (ret->file_contents)
		r = err_set_field(err, SBX_AT_USAGE, 0, "file_contents",
				  "contents of files are not part of this answer");
	if (r < 0)
		request_clear(ret);
	return r;
}

static void on_done(void *arg, json_t *result)
{
	exchange_json(arg, exchange_result_status(result), json_incref(result));
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	exchange_problem(arg, err);
}

/* ---- as a stream ---- */

static void stream_output(void *arg, int stream, const char *data, size_t len)
{
	if (stream == 1 || stream == 2)
		stream_text(exchange_lines(arg), stream, data, len);
}

static void stream_event(void *arg, const json_t *event)
{
	stream_typed(exchange_lines(arg), "event", event);
}

static void stream_display(void *arg, const json_t *bundle)
{
	stream_object(exchange_lines(arg),
		      json_pack("{s:s,s:O}", "type", "display", "bundle",
				(json_t *)(uintptr_t)bundle));
}

static void stream_sample(void *arg, const json_t *sample)
{
	stream_typed(exchange_lines(arg), "sample", sample);
}

static void stream_done(void *arg, json_t *result)
{
	struct stream *lines = exchange_lines(arg);

	stream_text_end(lines);
	stream_object(lines, json_pack("{s:s,s:O}", "type", "result", "result", result));
	exchange_end(arg);
}

/* Its 200 is on the way; the line says what the status would have. */
static void stream_refused(void *arg, const struct sbx_err *err)
{
	stream_object(exchange_lines(arg),
		      json_pack("{s:s,s:o}", "type", "error", "error", problem_of(err)));
	exchange_end(arg);
}

static const char *stream_type(const struct exchange *ex)
{
	if (exchange_accepts(ex, STREAM_SSE))
		return STREAM_SSE;
	return exchange_accepts(ex, STREAM_NDJSON) ? STREAM_NDJSON : NULL;
}

/* Submits, and begins the answer where it begins at once. */
static int begin(struct exchange *ex, struct request *request, struct sbx_err *err)
{
	struct execution_sink plain = { .refused = on_refused,
					.done = on_done,
					.arg = ex };
	const struct execution_sink pieces = { .output = stream_output,
					       .event = stream_event,
					       .display = stream_display,
					       .sample = stream_sample,
					       .refused = stream_refused,
					       .done = stream_done,
					       .arg = ex };
	const char *type = request->detach ? NULL : stream_type(ex), *id = NULL;
	char location[80];
	int r = exchange_run(ex, &request->execution, type ? &pieces : &plain,
			     request->detach, &id, err);

	if (r < 0)
		return r;
	if (type) {
		exchange_stream(ex, type);
		stream_object(exchange_lines(ex),
			      json_pack("{s:s,s:s}", "type", "start", "id", id));
	} else if (request->detach) {
		(void)snprintf(location, sizeof(location), "/v1/executions/%s", id);
		exchange_header(ex, "Location", location);
		exchange_json(ex, MHD_HTTP_ACCEPTED,
			      json_pack("{s:s,s:s}", "id", id, "status", "running"));
	}
	return 0;
}

static int post_execution(struct exchange *ex, struct sbx_err *err)
{
	struct request request;
	int r = api_request(ex, &request, err);

	if (r < 0)
		return r;
	if (request.session) {
		struct session *session = api_session(ex, request.session, "session");

		request.execution.timeout_s = request.timeout_s;
		if (session)
			api_session_request(session, &request.execution);
	}
	if (!request.session || request.execution.session)
		r = begin(ex, &request, err);
	request_clear(&request);
	return r;
}

/* ---- GET ---- */

/* Who sees everybody's. */
static const char *whose(const struct exchange *ex)
{
	return ex->caller.owner ? NULL : ex->caller.name;
}

static int list_executions(struct exchange *ex, struct sbx_err *err)
{
	static const char *const recorded[] = { "since", "until", "text", "session",
						"event" };
	const char *next = NULL, *status = exchange_query(ex, "status");
	long long limit;
	json_t *rows;
	int r = exchange_query_number(ex, "limit", 1, 1000, 50, &limit, err);

	if (r < 0)
		return r;
	if (status && !status_known(status))
		return err_set_field(
			err, SBX_AT_USAGE, 0, "status",
			"status has to be a verdict, running, lost or refused");
	if (api_journal(ex))
		return api_journal_list(ex, (size_t)limit, err);
	for (size_t i = 0; i < sizeof(recorded) / sizeof(recorded[0]); i++)
		if (exchange_query(ex, recorded[i])) {
			exchange_problem_as(
				ex, MHD_HTTP_NOT_FOUND, "NotRecorded", recorded[i],
				"this server keeps no journal to look this up in");
			return 0;
		}
	rows = runs_list(ex->http->runs, whose(ex), status, exchange_query(ex, "before"),
			 (size_t)limit);
	if (json_array_size(rows) == (size_t)limit)
		next = json_string_value(
			json_object_get(json_array_get(rows, (size_t)limit - 1), "id"));
	exchange_json(ex, MHD_HTTP_OK,
		      json_pack("{s:s?,s:o?,s:b}", "next", next, "executions", rows,
				"recorded", 0));
	return 0;
}

json_t *api_remembered(const struct exchange *ex, const char *status, size_t limit)
{
	return ex->http ? runs_list(ex->http->runs, whose(ex), status, NULL, limit)
			: NULL;
}

json_t *api_remembered_one(const struct exchange *ex, const char *id)
{
	return ex->http ? runs_describe(ex->http->runs, id, whose(ex)) : NULL;
}

/* What goes on is at hand; what has ended is the journal's, or, without one, what is
 * remembered. */
static bool from_journal(struct exchange *ex)
{
	return api_journal(ex) &&
	       !runs_find(ex->http->runs, exchange_param(ex, "id"), whose(ex));
}

static void not_recorded(struct exchange *ex)
{
	exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotRecorded", NULL,
			    "no execution with this id goes on or is remembered; this "
			    "server keeps no journal");
}

static int get_execution(struct exchange *ex, struct sbx_err *err)
{
	json_t *found;

	if (from_journal(ex))
		return api_journal_one(ex, NULL, err);
	found = runs_describe(ex->http->runs, exchange_param(ex, "id"), whose(ex));
	if (found)
		exchange_json(ex, MHD_HTTP_OK, found);
	else
		not_recorded(ex);
	return 0;
}

static int get_part(struct exchange *ex, const char *part, struct sbx_err *err)
{
	json_t *found;

	if (from_journal(ex))
		return api_journal_one(ex, part, err);
	found = runs_part(ex->http->runs, exchange_param(ex, "id"), whose(ex), part);
	if (found)
		exchange_json(ex, MHD_HTTP_OK, json_pack("{s:o}", part, found));
	else
		not_recorded(ex);
	return 0;
}

static int get_samples(struct exchange *ex, struct sbx_err *err)
{
	return get_part(ex, "samples", err);
}

static int get_events(struct exchange *ex, struct sbx_err *err)
{
	return get_part(ex, "events", err);
}

static int get_files(struct exchange *ex, struct sbx_err *err)
{
	return get_part(ex, "files", err);
}

static int get_file(struct exchange *ex, struct sbx_err *err)
{
	if (api_journal(ex))
		return api_journal_one(ex, "file", err);
	exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotRecorded", NULL,
			    "contents of files are kept by a journal, which this server "
			    "does not have");
	return 0;
}

static int delete_execution(struct exchange *ex, struct sbx_err *err)
{
	struct run *run = runs_find(ex->http->runs, exchange_param(ex, "id"), whose(ex));

	(void)err;
	if (!run) {
		exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotFound", NULL,
				    "no execution with this id goes on");
		return 0;
	}
	run_cancel(run);
	exchange_empty(ex, MHD_HTTP_NO_CONTENT);
	return 0;
}

/* ---- the table ---- */

static const struct route_query list_query[] = {
	{ "limit", "integer", "How many at most, 1 to 1,000; 50 if not given." },
	{ "before", "string", "`next` of the page before." },
	{ "status", "string", "A verdict, `running`, `lost` or `refused`." },
	{ "since", "string",
	  "RFC 3339 in UTC, or seconds since 1970; began then or later." },
	{ "until", "string", "The same; began then or before." },
	{ "text", "string", "Words in the program, its output or its denials." },
	{ "session", "string", "Id of its session." },
	{ "event", "string", "Kind of a denial that it had." },
	{ NULL, NULL, NULL },
};

static const struct route_answer run_answers[] = {
	{ 200, NULL, "Result", "The result, for every verdict of a program." },
	{ 200, STREAM_NDJSON, "StreamLine", "As it happens, with this type in Accept." },
	{ 200, STREAM_SSE, "StreamLine", "The same as server-sent events." },
	{ 202, NULL, "Accepted", "With `detach`: it goes on, see Location." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer list_answers[] = {
	{ 200, NULL, "ExecutionList", "Newest first." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer one_answers[] = {
	{ 200, NULL, "Execution", "As it is now; with `result` once it has ended." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer sample_answers[] = {
	{ 200, NULL, "Samples", "Memory and CPU over its time." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer event_answers[] = {
	{ 200, NULL, "Events", "What was denied, and to whom it connected." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer file_answers[] = {
	{ 200, NULL, "Files", "What it left in its working directory." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer content_answers[] = {
	{ 200, "*/*", NULL, "The file, as an attachment." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer stop_answers[] = {
	{ 204, NULL, NULL, "It is being stopped: its verdict will be `killed`." },
	{ 0, NULL, NULL, NULL },
};

static const struct route routes[] = {
	{ .method = "POST",
	  .pattern = "/v1/executions",
	  .handle = post_execution,
	  .body = BODY_JSON,
	  .body_schema = "ExecutionRequest",
	  .id = "run",
	  .summary = "Run a program",
	  .description = "In a fresh jail, or in a session. A caller that goes away ends "
			 "its run, unless it asked for `detach`.",
	  .answers = run_answers },
	{ .method = "GET",
	  .pattern = "/v1/executions",
	  .handle = list_executions,
	  .id = "listExecutions",
	  .summary = "Executions, newest first",
	  .description = "A caller sees its own; the server's user and operators' tokens "
			 "see all.",
	  .query = list_query,
	  .answers = list_answers },
	{ .method = "GET",
	  .pattern = "/v1/executions/{id}",
	  .handle = get_execution,
	  .id = "getExecution",
	  .summary = "One execution",
	  .answers = one_answers },
	{ .method = "DELETE",
	  .pattern = "/v1/executions/{id}",
	  .handle = delete_execution,
	  .id = "stopExecution",
	  .summary = "Stop an execution",
	  .answers = stop_answers },
	{ .method = "GET",
	  .pattern = "/v1/executions/{id}/samples",
	  .handle = get_samples,
	  .id = "getExecutionSamples",
	  .summary = "What it used, over its time",
	  .answers = sample_answers },
	{ .method = "GET",
	  .pattern = "/v1/executions/{id}/events",
	  .handle = get_events,
	  .id = "getExecutionEvents",
	  .summary = "What it was denied",
	  .answers = event_answers },
	{ .method = "GET",
	  .pattern = "/v1/executions/{id}/files",
	  .handle = get_files,
	  .id = "listExecutionFiles",
	  .summary = "Files that it left",
	  .answers = file_answers },
	{ .method = "GET",
	  .pattern = "/v1/executions/{id}/files/{path...}",
	  .handle = get_file,
	  .id = "getExecutionFile",
	  .summary = "One file that it left",
	  .answers = content_answers },
};

const struct route_table api_executions = { .name = "executions",
					    .routes = routes,
					    .count = sizeof(routes) / sizeof(routes[0]) };
