/* SPDX-License-Identifier: MIT
 * Purpose: E2B's code interpreter and the part of its control API that its clients need
 *   (docs/doors.md). A context is a session.
 * Process: the engine. Trusts: nothing in a body or a header.
 * Invariants: a caller finds only the contexts that it made through this door, of the
 *   sandbox that it names; a token is said only to who has just sent it. */
#include <errno.h>
#include <microhttpd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/jsontext.h"
#include "daemon/api.h"
#include "daemon/doors/doors.h"
#include "daemon/doors/e2b.h"
#include "daemon/http_internal.h"

#define CWD "/work"
#define VARIABLES_MAX 256u
#define SESSIONS_FOUND 256u /* at a time */
#define PENDING_US 1000000  /* for which a display waits to be known as the main one */

static const char *const token_headers[] = { "X-API-Key", "X-Access-Token",
					     "E2B-Traffic-Access-Token", NULL };

/* As FastAPI says it, or the control API, or in plain words. */
static void problem(struct exchange *ex, int status, const char *name, const char *field,
		    const char *detail)
{
	json_t *words = json_sprintf("%s: %s", name, detail);

	if (ex->route && strncmp(ex->route->pattern, "/sandboxes", 10) == 0)
		exchange_json(ex, status,
			      json_pack("{s:i,s:O?}", "code", status, "message", words));
	else if (status == MHD_HTTP_BAD_REQUEST && strcmp(name, "UsageError") == 0)
		exchange_json(ex, MHD_HTTP_UNPROCESSABLE_CONTENT,
			      json_pack("{s:[{s:s,s:[s,s*],s:s}]}", "detail", "type",
					"value_error", "loc", "body", field, "msg",
					detail));
	else
		doors_text(ex, status, words ? json_string_value(words) : name);
	json_decref(words);
}

static int wrong(const char *field, const char *expected, struct sbx_err *err)
{
	return err_set_field(err, SBX_AT_USAGE, 0, field, "Input should be %s", expected);
}

/* ---- contexts ---- */

/* Of a sandbox, in a header or a path. */
static bool is_space(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= 64 &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789_-") == len;
}

/* "": it names none. */
static int space_of(const struct exchange *ex, const char **ret, struct sbx_err *err)
{
	const char *text = exchange_request_header(ex, "E2b-Sandbox-Id");

	*ret = text ? text : "";
	if (text && !is_space(text))
		return err_set(err, SBX_AT_USAGE, 0,
			       "E2b-Sandbox-Id is no id of a sandbox");
	return 0;
}

struct search {
	const struct exchange *ex;
	const char *space;
	const char *id; /* NULL: the first one */
	json_t *list;   /* not NULL: all of them */
	bool all;       /* of them, into found */
	struct session *found[SESSIONS_FOUND];
	size_t count;
};

static json_t *describe(struct session *session)
{
	return json_pack("{s:s,s:s,s:s}", "id", session_id(session), "language", "python",
			 "cwd", CWD);
}

static void look(void *arg, struct session *session)
{
	struct search *search = arg;
	const struct api_owner *owner = session_arg(session);

	/* One that has ended goes when the loop comes to it. */
	if (!session_takes(session) || !owner || owner->door != door_e2b.door ||
	    strcmp(owner->name, search->ex->caller.name) != 0 ||
	    strcmp(owner->space, search->space) != 0)
		return;
	if (search->list)
		(void)json_array_append_new(search->list, describe(session));
	else if (search->count < SESSIONS_FOUND &&
		 (search->all ||
		  (search->id ? strcmp(search->id, session_id(session)) == 0
			      : owner->first)))
		search->found[search->count++] = session;
}

/* id NULL: the default one. NULL: there is none. */
static struct session *find(const struct exchange *ex, const char *space, const char *id)
{
	struct search search = { .ex = ex, .space = space, .id = id };

	engine_sessions(exchange_engine(ex), look, &search);
	return search.count ? search.found[0] : NULL;
}

static int make(struct exchange *ex, const char *space, bool first, json_t *variables,
		struct session **ret, struct sbx_err *err)
{
	struct api_owner owner = { .door = door_e2b.door, .first = first };
	struct request request;
	int r = doors_request(ex, "data", json_pack("{s:s}", "code", ""), &request, err);

	if (r < 0)
		return r;
	(void)snprintf(owner.space, sizeof(owner.space), "%s", space);
	if (variables)
		r = policy_set_json(&request.policy, "environment", variables, err);
	if (r == 0)
		r = policy_check(&request.policy, err);
	if (r == 0)
		r = api_session_make(ex, &request, 0, &owner, ret, err);
	request_clear(&request);
	return r;
}

static void no_context(struct exchange *ex, const char *id)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "Context %.64s not found",
		       is_space(id) ? id : "of this id");
	doors_text(ex, MHD_HTTP_NOT_FOUND, text);
}

/* NULL: it was answered. */
static struct session *of_path(struct exchange *ex, struct sbx_err *err, int *ret_r)
{
	struct session *session = NULL;
	const char *space, *id = exchange_param(ex, "id");

	*ret_r = space_of(ex, &space, err);
	if (*ret_r == 0) {
		session = find(ex, space, id);
		if (!session)
			no_context(ex, id);
	}
	return session;
}

/* ---- languages, variables ---- */

/* False: none of ours, and it was answered. */
static bool check_language(struct exchange *ex, const json_t *language)
{
	const char *text = json_string_value(language);

	if (!text || strcasecmp(text, "python") == 0)
		return true;
	doors_text(ex, MHD_HTTP_BAD_REQUEST,
		   "This language is not run here: this server runs python only");
	return false;
}

static int check_variables(const json_t *variables, struct sbx_err *err)
{
	const char *name;
	json_t *value;

	if (!variables || json_is_null(variables))
		return 0;
	if (!json_is_object(variables) || json_object_size(variables) > VARIABLES_MAX)
		return wrong("env_vars", "a valid dictionary of at most 256", err);
	json_object_foreach((json_t *)(uintptr_t)variables, name, value)
	{
		if (!*name || strchr(name, '=') || !json_is_string(value) ||
		    strlen(json_string_value(value)) != json_string_length(value))
			return wrong("env_vars", "a dictionary of texts without NUL",
				     err);
	}
	return 0;
}

/* The program, behind a line that sets its variables and takes those of the one before
 * away, as there: they hold for one run. New; NULL: no memory. */
static json_t *code_of(const json_t *code, const json_t *variables, json_t *passing)
{
	_cleanup_buf_ struct buf text = { .max = REQUEST_MAX };
	bool forget = json_array_size(passing) > 0;
	int r = 0;

	if (!forget && json_object_size(variables) == 0)
		return json_incref((json_t *)(uintptr_t)code);
	/* Texts in JSON are the same in Python: nothing is escaped that would not be read
	 * as it was. */
	if (forget) {
		r = buf_addf(&text, "[__import__('os').environ.pop(_, 0) for _ in ");
		r = r < 0 ? r : jsontext_add(&text, passing);
		r = r < 0 ? r : buf_addf(&text, "]; ");
	}
	if (r == 0 && json_object_size(variables) > 0) {
		r = buf_addf(&text, "__import__('os').environ.update(");
		r = r < 0 ? r : jsontext_add(&text, variables);
		r = r < 0 ? r : buf_addf(&text, ")");
	}
	r = r < 0 ? r : buf_addf(&text, "\n");
	r = r < 0 ? r : buf_add(&text, json_string_value(code), json_string_length(code));
	return r < 0 ? NULL : json_stringn(text.data, text.len);
}

static json_t *names_of(const json_t *variables)
{
	json_t *list = json_array(), *value;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)variables, name, value)(void)
		json_array_append_new(list, json_string(name));
	return list;
}

/* ---- POST /execute ---- */

struct run_lines {
	struct exchange *ex;
	json_t *pending; /* the last display */
	json_int_t shown;
	struct loop *loop;
	struct loop_timer *timer;
};

static void flush(struct run_lines *lines, bool is_main)
{
	json_t *bundle = lines->pending;

	loop_timer_cancel(&lines->timer);
	lines->pending = NULL;
	if (bundle)
		stream_object(exchange_lines(lines->ex), e2b_result(bundle, is_main));
	json_decref(bundle);
}

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct run_lines *lines = arg;

	if (stream == 1 || stream == 2)
		stream_text(exchange_lines(lines->ex), stream, data, len);
}

static void on_waited(void *arg)
{
	struct run_lines *lines = arg;

	if (exchange_gone(lines->ex))
		return;
	flush(lines, false);
	exchange_flush(lines->ex);
}

/* Which one is the value of the last expression is known at the end: the last of all. */
static void on_display(void *arg, const json_t *bundle)
{
	struct run_lines *lines = arg;

	flush(lines, false);
	lines->pending = json_incref((json_t *)(uintptr_t)bundle);
	lines->shown++;
	(void)loop_timer_at(lines->loop, &lines->timer, loop_now_us() + PENDING_US,
			    on_waited, lines);
}

static void add_error(struct stream *out, const json_t *error)
{
	json_t *value = json_object_get(error, "value"),
	       *traceback = json_object_get(error, "traceback");

	if (json_is_object(error))
		stream_object(out,
			      json_pack("{s:s,s:O,s:o,s:o}", "type", "error", "name",
					json_object_get(error, "name"), "value",
					json_is_string(value) ? json_incref(value)
							      : json_string(""),
					"traceback",
					json_is_string(traceback) ? json_incref(traceback)
								  : json_string("")));
}

static void lines_end(struct run_lines *lines, const char *how)
{
	struct exchange *ex = lines->ex;

	stream_object(exchange_lines(ex), json_pack("{s:s}", "type", how));
	exchange_end(ex);
	loop_timer_cancel(&lines->timer);
	json_decref(lines->pending);
	free(lines);
}

static void on_done(void *arg, json_t *result)
{
	struct run_lines *lines = arg;
	struct stream *out = exchange_lines(lines->ex);
	json_t *count = json_object_get(result, "execution_count"),
	       *which = json_object_get(result, "result_display"), *bundle;
	json_int_t at = json_is_integer(which) ? json_integer_value(which) : -1;
	const char *status = doors_status(result);

	stream_text_end(out);
	if (lines->pending) {
		flush(lines, at >= 0 && at == lines->shown - 1);
	} else if (at >= 0) {
		/* It was taken for another one: that it is the main one is said behind. */
		bundle = json_array_get(json_object_get(result, "displays"), (size_t)at);
		if (bundle)
			stream_object(out, e2b_result(bundle, true));
	}
	add_error(out, json_object_get(result, "error"));
	if (json_is_integer(count))
		stream_object(out, json_pack("{s:s,s:O}", "type", "number_of_executions",
					     "execution_count", count));
	lines_end(lines, json_is_string(json_object_get(result, "session_ended")) ||
					 strcmp(status, "fault") == 0
				 ? "unexpected_end_of_execution"
				 : "end_of_execution");
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct run_lines *lines = arg;
	struct sbx_err clean = *err;

	err_sanitize(&clean);
	stream_object(exchange_lines(lines->ex),
		      json_pack("{s:s,s:s,s:s,s:s}", "type", "error", "name",
				err_kind(err->stage)->name, "value", clean.msg,
				"traceback", ""));
	lines_end(lines, "unexpected_end_of_execution");
}

static int run_in(struct exchange *ex, struct session *session, json_t *code,
		  struct sbx_err *err)
{
	struct execution_sink sink = { .output = on_output,
				       .display = on_display,
				       .refused = on_refused,
				       .done = on_done };
	struct execution_request request = { .code = json_string_value(code),
					     .code_len = json_string_length(code),
					     .peer_fd = -1 };
	struct run_lines *lines = calloc(1, sizeof(*lines));
	int r;

	if (!lines || !code) {
		free(lines);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	}
	api_session_request(session, &request);
	lines->ex = ex;
	lines->loop = engine_loop(exchange_engine(ex));
	sink.arg = lines;
	r = exchange_run(ex, &request, &sink, false, NULL, err);
	if (r < 0) {
		free(lines);
		return r;
	}
	exchange_stream(ex, STREAM_NDJSON);
	exchange_lines(ex)->stamped = true;
	return 0;
}

static int check_execute(const json_t *body, struct sbx_err *err)
{
	static const char *const texts[] = { "context_id", "language" };

	if (!json_is_string(json_object_get(body, "code")))
		return wrong("code", "a valid string", err);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const json_t *value = json_object_get(body, texts[i]);

		if (value && !json_is_string(value) && !json_is_null(value))
			return wrong(texts[i], "a valid string", err);
	}
	return check_variables(json_object_get(body, "env_vars"), err);
}

static int execute(struct exchange *ex, struct sbx_err *err)
{
	const json_t *body = exchange_body(ex),
		     *variables = json_object_get(body, "env_vars"),
		     *language = json_object_get(body, "language");
	const char *space, *id = json_string_value(json_object_get(body, "context_id"));
	struct session *session;
	struct api_owner *owner;
	json_t *code;
	int r = check_execute(body, err);

	if (r == 0)
		r = space_of(ex, &space, err);
	if (r < 0)
		return r;
	if (id && *id && json_string_length(language) > 0) {
		doors_text(ex, MHD_HTTP_BAD_REQUEST,
			   "Only one of context_id or language can be provided");
		return 0;
	}
	if (!check_language(ex, language))
		return 0;
	if (id && (!*id || strcmp(id, "default") == 0))
		id = NULL;
	session = find(ex, space, id);
	if (!session && id) {
		no_context(ex, id);
		return 0;
	}
	if (!session)
		r = make(ex, space, true, NULL, &session, err);
	if (r < 0)
		return r;
	owner = session_arg(session);
	code = code_of(json_object_get(body, "code"), variables, owner->passing);
	r = run_in(ex, session, code, err);
	json_decref(code);
	if (r == 0) {
		json_decref(owner->passing);
		owner->passing = json_object_size(variables) > 0 ? names_of(variables)
								 : NULL;
	}
	return r;
}

/* ---- /contexts ---- */

static int get_contexts(struct exchange *ex, struct sbx_err *err)
{
	struct search search = { .ex = ex };
	int r = space_of(ex, &search.space, err);

	if (r < 0)
		return r;
	search.list = json_array();
	engine_sessions(exchange_engine(ex), look, &search);
	exchange_json(ex, MHD_HTTP_OK, search.list);
	return 0;
}

static int post_contexts(struct exchange *ex, struct sbx_err *err)
{
	json_t *body = exchange_body(ex), *variables = json_object_get(body, "env_vars");
	const json_t *cwd = json_object_get(body, "cwd"),
		     *language = json_object_get(body, "language");
	const char *space, *at = json_string_value(cwd);
	struct session *session = NULL;
	int r = space_of(ex, &space, err);

	if (r == 0 && cwd && !at && !json_is_null(cwd))
		r = wrong("cwd", "a valid string", err);
	if (r == 0 && language && !json_is_string(language) && !json_is_null(language))
		r = wrong("language", "a valid string", err);
	if (r == 0)
		r = check_variables(variables, err);
	if (r < 0)
		return r;
	if (!check_language(ex, language))
		return 0;
	/* /home/user is E2B's word for where a program starts. */
	if (at && strcmp(at, CWD) != 0 && strcmp(at, "/home/user") != 0) {
		doors_text(ex, MHD_HTTP_BAD_REQUEST,
			   "Contexts start in " CWD " (or /home/user, which is it)");
		return 0;
	}
	r = make(ex, space, false, json_is_object(variables) ? variables : NULL, &session,
		 err);
	if (r == 0)
		exchange_json(ex, MHD_HTTP_OK, describe(session));
	return r;
}

static int restart_context(struct exchange *ex, struct sbx_err *err)
{
	int r;
	struct session *session = of_path(ex, err, &r);

	if (!session)
		return r;
	r = api_session_restart(session, err);
	if (r == 0)
		exchange_json(ex, MHD_HTTP_OK, json_null());
	return r;
}

static int delete_context(struct exchange *ex, struct sbx_err *err)
{
	int r;
	struct session *session = of_path(ex, err, &r);

	if (!session)
		return r;
	session_end(session, "its context was removed");
	exchange_json(ex, MHD_HTTP_OK, json_null());
	return 0;
}

static int get_health(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	exchange_json(ex, MHD_HTTP_OK, json_string("OK"));
	return 0;
}

/* ---- /sandboxes ---- */

/* A sandbox is a name for contexts that belong together; it is kept nowhere. */
static void answer_sandbox(struct exchange *ex, int status, const char *id,
			   const json_t *template)
{
	const char *token = NULL;

	/* What the client is to send with everything else: what it has just sent. */
	for (size_t i = 0;
	     ex->known && ex->connection && ex->connection->listener->rules.tcp &&
	     token_headers[i] && !token;
	     i++)
		token = exchange_request_header(ex, token_headers[i]);
	if (ex->connection && ex->connection->listener->rules.open)
		token = NULL;
	exchange_json(ex, status,
		      json_pack("{s:s,s:s,s:s,s:s,s:s*,s:s*}", "templateID",
				json_string_length(template) > 0 &&
						json_string_length(template) <= 128
					? json_string_value(template)
					: "code-interpreter-v1",
				"sandboxID", id, "clientID", "sandbox", "envdVersion",
				"0.2.4", "envdAccessToken", token, "trafficAccessToken",
				token));
}

static int post_sandboxes(struct exchange *ex, struct sbx_err *err)
{
	const json_t *body = exchange_body(ex),
		     *template = json_object_get(body, "templateID");
	unsigned char bytes[10];
	char id[2 + 2 * sizeof(bytes)] = "i";

	if (template && !json_is_string(template))
		return wrong("templateID", "a valid string", err);
	if (json_object_size(json_object_get(body, "envVars")) > 0)
		return err_set_field(err, SBX_AT_USAGE, 0, "envVars",
				     "variables of a sandbox are not kept here: give "
				     "env_vars with a context or a run");
	randombytes_buf(bytes, sizeof(bytes));
	(void)sodium_bin2hex(id + 1, sizeof(id) - 1, bytes, sizeof(bytes));
	answer_sandbox(ex, MHD_HTTP_CREATED, id, template);
	return 0;
}

/* False: it is no id of one. */
static bool check_sandbox(struct exchange *ex)
{
	if (is_space(exchange_param(ex, "id")))
		return true;
	exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotFound", NULL,
			    "there is no sandbox with this id");
	return false;
}

static int connect_sandbox(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	if (check_sandbox(ex))
		answer_sandbox(ex, MHD_HTTP_OK, exchange_param(ex, "id"), NULL);
	return 0;
}

/* Contexts have idle time-outs of their own. */
static int sandbox_timeout(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	if (check_sandbox(ex))
		exchange_empty(ex, MHD_HTTP_NO_CONTENT);
	return 0;
}

static int delete_sandbox(struct exchange *ex, struct sbx_err *err)
{
	struct search search = { .ex = ex, .all = true };

	(void)err;
	if (!check_sandbox(ex))
		return 0;
	search.space = exchange_param(ex, "id");
	do {
		search.count = 0;
		engine_sessions(exchange_engine(ex), look, &search);
		for (size_t i = 0; i < search.count; i++)
			session_end(search.found[i], "its sandbox was killed");
		/* An ended one takes no programs and is not found again. */
	} while (search.count == SESSIONS_FOUND);
	exchange_empty(ex, MHD_HTTP_NO_CONTENT);
	return 0;
}

/* ---- the table ---- */

static const struct route_answer answers[] = {
	{ 200, NULL, NULL, "As there." },
	{ 0, NULL, NULL, NULL },
};

#define ROW(m, p, h, b, name, what)                                                      \
	{                                                                                \
		.method = (m), .pattern = (p), .handle = (h), .body = (b), .id = (name), \
		.summary = (what), .answers = answers                                    \
	}

static const struct route routes[] = {
	ROW("POST", "/execute", execute, BODY_JSON, "e2bExecute", "Run in a context"),
	ROW("GET", "/contexts", get_contexts, BODY_NONE, "e2bContexts", "Contexts"),
	ROW("POST", "/contexts", post_contexts, BODY_JSON, "e2bMakeContext",
	    "Make a context"),
	ROW("POST", "/contexts/{id}/restart", restart_context, BODY_NONE, "e2bRestart",
	    "A new interpreter under the same id"),
	ROW("DELETE", "/contexts/{id}", delete_context, BODY_NONE, "e2bRemoveContext",
	    "End a context"),
	ROW("POST", "/sandboxes", post_sandboxes, BODY_JSON, "e2bMakeSandbox",
	    "A name for contexts that belong together"),
	ROW("POST", "/sandboxes/{id}/connect", connect_sandbox, BODY_JSON,
	    "e2bConnectSandbox", "The same of one that there is"),
	ROW("POST", "/sandboxes/{id}/timeout", sandbox_timeout, BODY_JSON,
	    "e2bSandboxTimeout", "Taken, without effect"),
	ROW("DELETE", "/sandboxes/{id}", delete_sandbox, BODY_NONE, "e2bKillSandbox",
	    "End its contexts"),
	{ .method = "GET",
	  .pattern = "/health",
	  .handle = get_health,
	  .may = ROUTE_OPEN,
	  .id = "e2bHealth",
	  .summary = "Whether it answers",
	  .answers = answers },
};

const struct route_table door_e2b = { .name = "e2b",
				      .routes = routes,
				      .count = sizeof(routes) / sizeof(routes[0]),
				      .door = "e2b",
				      .loose = true,
				      .token_headers = token_headers,
				      .problem = problem };
