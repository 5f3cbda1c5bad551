/* SPDX-License-Identifier: MIT
 * Purpose: SandboxFusion's POST /run_code (docs/doors.md).
 * Process: the engine. Trusts: nothing in a body; files that a program left go out in base64.
 * Invariants: what a run cannot be is a 200 whose status is SandboxError, in words; only a
 *   body of another shape is a 422, as there. */
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "daemon/doors/doors.h"

#define FETCH_MAX 256u
#define TIMEOUT_S 10.0 /* without run_timeout */

struct fusion {
	struct exchange *ex;
	json_t *given; /* of the request: {path: base64} */
	json_t *fetch; /* names as they were asked for */
	json_t *files; /* of the answer */
};

/* Takes the references. */
static void answer(struct exchange *ex, const char *status, json_t *message,
		   json_t *run_result, json_t *files)
{
	exchange_json(ex, MHD_HTTP_OK,
		      json_pack("{s:s,s:o,s:n,s:o?,s:n,s:o}", "status", status, "message",
				message, "compile_result", "run_result", run_result,
				"executor_pod_name", "files",
				files ? files : json_object()));
}

static void problem(struct exchange *ex, int status, const char *name, const char *field,
		    const char *detail)
{
	if (status == MHD_HTTP_BAD_REQUEST && strcmp(name, "UsageError") == 0)
		exchange_json(ex, MHD_HTTP_UNPROCESSABLE_CONTENT,
			      json_pack("{s:[{s:s,s:[s,s*],s:s}]}", "detail", "type",
					"value_error", "loc", "body", field, "msg",
					detail));
	else
		exchange_json(ex, status,
			      json_pack("{s:o}", "detail",
					json_sprintf("%s: %s", name, detail)));
}

static void sandbox_error(struct exchange *ex, const struct sbx_err *err)
{
	answer(ex, "SandboxError", doors_refusal_text(err), NULL, NULL);
}

static void fusion_free(struct fusion *f)
{
	json_decref(f->given);
	json_decref(f->fetch);
	json_decref(f->files);
	free(f);
}

/* ---- its end ---- */

static void on_file(void *arg, const char *path, const char *data, size_t len)
{
	struct fusion *f = arg;
	json_t *name;
	size_t i;

	json_array_foreach(f->fetch, i, name)
	{
		const char *asked = doors_path(name);

		if (asked && strcmp(asked, path) == 0)
			(void)json_object_set_new(f->files, json_string_value(name),
						  doors_base64(data, len));
	}
}

/* What was given and not written to is not told of again. */
static void add_given(struct fusion *f)
{
	json_t *name;
	size_t i;

	json_array_foreach(f->fetch, i, name)
	{
		const char *asked = doors_path(name);
		json_t *given = asked ? json_object_get(f->given, asked) : NULL;

		if (given && !json_object_get(f->files, json_string_value(name)))
			(void)json_object_set(f->files, json_string_value(name), given);
	}
}

static void on_done(void *arg, json_t *result)
{
	struct fusion *f = arg;
	const char *status = doors_status(result);
	bool late = strcmp(status, "timeout") == 0 || strcmp(status, "cpu") == 0;
	int code = doors_exit_status(result);
	double wall_ms = json_number_value(
		json_object_get(json_object_get(result, "usage"), "wall_ms"));
	json_t *run;

	if (code < 0) {
		answer(f->ex, "SandboxError", doors_error_text(result), NULL, NULL);
		fusion_free(f);
		return;
	}
	/* A process that a signal ended, as asyncio has it. */
	if (code > 128)
		code = 128 - code;
	run = json_pack("{s:s,s:f,s:o?,s:O?,s:O?}", "status",
			late ? "TimeLimitExceeded" : "Finished", "execution_time",
			wall_ms / 1000, "return_code", late ? NULL : json_integer(code),
			"stdout", json_object_get(result, "stdout"), "stderr",
			json_object_get(result, "stderr"));
	add_given(f);
	answer(f->ex, late || code != 0 ? "Failed" : "Success",
	       strcmp(status, "error") == 0 ? json_string("") : doors_error_text(result),
	       run, json_incref(f->files));
	fusion_free(f);
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct fusion *f = arg;

	sandbox_error(f->ex, err);
	fusion_free(f);
}

/* ---- the request ---- */

static int wrong(const char *field, const char *expected, struct sbx_err *err)
{
	return err_set_field(err, SBX_AT_USAGE, 0, field, "Input should be %s", expected);
}

static int check_types(const json_t *body, struct sbx_err *err)
{
	const json_t *memory = json_object_get(body, "memory_limit_MB"),
		     *stdin_ = json_object_get(body, "stdin"),
		     *timeout = json_object_get(body, "run_timeout"),
		     *files = json_object_get(body, "files"),
		     *fetch = json_object_get(body, "fetch_files"), *item;
	size_t i;

	if (!json_is_string(json_object_get(body, "code")))
		return wrong("code", "a valid string", err);
	if (!json_is_string(json_object_get(body, "language")))
		return wrong("language", "a valid string", err);
	if (stdin_ && !json_is_string(stdin_) && !json_is_null(stdin_))
		return wrong("stdin", "a valid string", err);
	if (timeout && !json_is_number(timeout))
		return wrong("run_timeout", "a valid number", err);
	if (memory && !json_is_integer(memory))
		return wrong("memory_limit_MB", "a valid integer", err);
	if (files && !json_is_object(files))
		return wrong("files", "a valid dictionary", err);
	if (fetch && (!json_is_array(fetch) || json_array_size(fetch) > FETCH_MAX))
		return wrong("fetch_files", "a valid list of at most 256", err);
	json_array_foreach(fetch, i, item)
	{
		if (!json_is_string(item) ||
		    strlen(json_string_value(item)) != json_string_length(item))
			return wrong("fetch_files", "a valid list of strings", err);
	}
	return 0;
}

/* {name: {"base64": text}}, and {name: text} in f->given. */
static json_t *take_files(struct fusion *f, json_t *files, struct sbx_err *err)
{
	json_t *made = json_object(), *value;
	const char *name;

	json_object_foreach(files, name, value)
	{
		json_t *key = json_string(name);
		const char *path = doors_path(key);
		int r = 0;

		if (json_is_null(value) || strstr(name, "IGNORE_THIS_FILE")) {
			json_decref(key);
			continue;
		}
		if (!json_is_string(value))
			r = err_set_field(err, SBX_AT_POLICY, 0, "files",
					  "files: \"%.100s\" is no base64 text", name);
		else if (!path)
			r = err_set_field(err, SBX_AT_POLICY, 0, "files",
					  "files: \"%.100s\" is no plain relative path",
					  name);
		else if (json_object_set(f->given, path, value) < 0 ||
			 json_object_set_new(made, path,
					     json_pack("{s:O}", "base64", value)) < 0)
			r = err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
		json_decref(key);
		if (r < 0) {
			json_decref(made);
			return NULL;
		}
	}
	return made;
}

static json_t *object_of(struct fusion *f, const json_t *body, struct sbx_err *err)
{
	json_int_t memory_mb = json_integer_value(
		json_object_get(body, "memory_limit_MB"));
	const json_t *timeout = json_object_get(body, "run_timeout");
	json_t *files, *policy, *stdin_ = json_object_get(body, "stdin");

	files = take_files(f, json_object_get(body, "files"), err);
	if (!files)
		return NULL;
	policy = timeout ? json_pack("{s:O}", "max_execution_time", timeout)
			 : json_object();
	if (memory_mb > 0)
		(void)json_object_set_new(policy, "max_memory_mb",
					  json_integer(memory_mb));
	return json_pack("{s:O,s:O*,s:o,s:o,s:o*}", "code", json_object_get(body, "code"),
			 "stdin", json_is_string(stdin_) ? stdin_ : NULL, "files", files,
			 "policy", policy, "timeout",
			 timeout ? NULL : json_real(TIMEOUT_S));
}

static int run(struct fusion *f, json_t *body, struct sbx_err *err)
{
	const struct execution_sink sink = {
		.file = json_array_size(f->fetch) ? on_file : NULL,
		.refused = on_refused,
		.done = on_done,
		.arg = f,
	};
	json_t *object = object_of(f, body, err);
	struct request request;
	int r;

	if (!object && err->stage != SBX_AT_NONE)
		return -EINVAL;
	r = doors_request(f->ex, "data", object, &request, err);
	if (r < 0)
		return r;
	r = exchange_run(f->ex, &request.execution, &sink, false, NULL, err);
	request_clear(&request);
	return r;
}

static int run_code(struct exchange *ex, struct sbx_err *err)
{
	json_t *body = exchange_body(ex);
	const char *language = json_string_value(json_object_get(body, "language"));
	struct fusion *f;
	int r = check_types(body, err);

	if (r < 0)
		return r;
	if (strcmp(language, "python") != 0) {
		(void)err_set(err, SBX_AT_USAGE, 0,
			      "language \"%.40s\" is not run here, only \"python\" is",
			      language);
		sandbox_error(ex, err);
		return 0;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	f->ex = ex;
	f->given = json_object();
	f->files = json_object();
	f->fetch = json_incref(json_object_get(body, "fetch_files"));
	if (run(f, body, err) < 0) {
		sandbox_error(ex, err);
		fusion_free(f);
	}
	return 0;
}

static int ping(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	exchange_json(ex, MHD_HTTP_OK, json_string("pong"));
	return 0;
}

static const struct route_answer run_answers[] = {
	{ 200, NULL, NULL, "Its end, also of what could not be run." },
	{ 0, NULL, NULL, NULL },
};

static const struct route routes[] = {
	{ .method = "POST",
	  .pattern = "/run_code",
	  .handle = run_code,
	  .body = BODY_JSON,
	  .id = "fusionRunCode",
	  .summary = "Run a program",
	  .answers = run_answers },
	{ .method = "GET",
	  .pattern = "/v1/ping",
	  .handle = ping,
	  .may = ROUTE_OPEN,
	  .id = "fusionPing",
	  .summary = "Whether it answers",
	  .answers = run_answers },
};

const struct route_table door_fusion = { .name = "sandboxfusion",
					 .routes = routes,
					 .count = sizeof(routes) / sizeof(routes[0]),
					 .door = "sandboxfusion",
					 .loose = true,
					 .problem = problem };
