/* SPDX-License-Identifier: MIT
 * Purpose: snekbox's POST /eval (docs/doors.md).
 * Process: the engine. Trusts: nothing in a body; what a program wrote goes out as JSON.
 * Invariants: the output that is kept is bounded; a program that writes more is stopped, as
 *   there. */
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/jsontext.h"
#include "daemon/doors/doors.h"
#include "daemon/http_internal.h"

#define OUTPUT_MAX 1000000u /* as there */
#define FILES_OUT 100u      /* as there */
#define ARGS_MAX 256u

struct snekbox {
	struct exchange *ex;
	struct buf output;
	bool over; /* more than OUTPUT_MAX */
	char id[40];
	json_t *files; /* {path: {"path", "size", "content"}} */
};

static void snekbox_free(struct snekbox *s)
{
	buf_free(&s->output);
	json_decref(s->files);
	free(s);
}

/* As falcon says it. */
static void problem(struct exchange *ex, int status, const char *name, const char *field,
		    const char *detail)
{
	const char *title = status != MHD_HTTP_BAD_REQUEST ? name
			    : field && strcmp(field, "files") == 0
				    ? "Request file is invalid"
				    : "Request data failed validation";

	exchange_json(ex, status,
		      json_pack("{s:s,s:s}", "title", title, "description", detail));
}

/* ---- while it runs ---- */

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct snekbox *s = arg;
	size_t room = OUTPUT_MAX - s->output.len;
	struct run *run;

	(void)stream;
	if (s->over)
		return;
	if (len > room) {
		len = room;
		s->over = true;
		run = runs_find(s->ex->http->runs, s->id, NULL);
		if (run)
			run_cancel(run);
	}
	if (buf_add(&s->output, data, len) < 0)
		s->over = true;
}

static void on_file(void *arg, const char *path, const char *data, size_t len)
{
	struct snekbox *s = arg;
	const char *slash = strrchr(path, '/');

	/* Names that begin with an underscore stay there, as in "**" "/[!_]*". */
	if ((slash ? slash[1] : path[0]) == '_' ||
	    json_object_size(s->files) >= FILES_OUT)
		return;
	/* A path that is no UTF-8 is left out: it cannot be said. */
	(void)json_object_set_new(s->files, path,
				  json_pack("{s:s,s:I,s:o}", "path", path, "size",
					    (json_int_t)len, "content",
					    doors_base64(data, len)));
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *sorted(json_t *files)
{
	const char *names[FILES_OUT], *name;
	json_t *list = json_array(), *file;
	size_t count = 0;

	json_object_foreach(files, name, file) names[count++] = name;
	qsort((void *)names, count, sizeof(names[0]), compare);
	for (size_t i = 0; i < count; i++)
		(void)json_array_append(list, json_object_get(files, names[i]));
	return list;
}

/* Takes the references; code < 0: none. */
static void answer(struct exchange *ex, json_t *output, int code, json_t *files)
{
	exchange_json(ex, MHD_HTTP_OK,
		      json_pack("{s:o,s:o?,s:o}", "stdout", output, "returncode",
				code < 0 ? NULL : json_integer(code), "files",
				files ? files : json_array()));
}

static void on_done(void *arg, json_t *result)
{
	struct snekbox *s = arg;
	int code = s->over ? 143 : doors_exit_status(result);
	json_t *output = json_stringn(s->output.data ? s->output.data : "",
				      s->output.len);

	if (code < 0) {
		json_decref(output);
		answer(s->ex, doors_error_text(result), -1, NULL);
	} else if (!output) {
		/* A character that the bound has cut is no fault of the program's. */
		while (s->over && s->output.len > OUTPUT_MAX - 4 && !output)
			output = json_stringn(s->output.data, --s->output.len);
		if (output)
			answer(s->ex, output, code, sorted(s->files));
		else
			answer(s->ex,
			       json_string("UnicodeDecodeError: invalid Unicode in "
					   "output pipe"),
			       -1, NULL);
	} else {
		answer(s->ex, output, code, sorted(s->files));
	}
	snekbox_free(s);
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct snekbox *s = arg;

	exchange_problem(s->ex, err);
	snekbox_free(s);
}

/* ---- what python's command line says ---- */

/* Options of python's that do not matter here, or take a value that does not. */
static bool skip_option(const json_t *args, size_t *at)
{
	const char *text = json_string_value(json_array_get(args, *at));

	if (!text || text[0] != '-' || !text[1] || strcmp(text, "-c") == 0 ||
	    strcmp(text, "-m") == 0)
		return false;
	if (strcmp(text, "-X") == 0 || strcmp(text, "-W") == 0)
		++*at;
	++*at;
	return true;
}

/* A program of three lines around two values. Text and lists of it in JSON are the same in
 * Python: nothing is escaped that Python would not read as it was. */
static json_t *program(const char *const parts[3], json_t *argv, const char *what)
{
	_cleanup_buf_ struct buf text = { .max = REQUEST_MAX };
	json_t *name = json_string(what), *code = NULL;

	if (name && buf_add(&text, parts[0], strlen(parts[0])) == 0 &&
	    jsontext_add(&text, argv) == 0 &&
	    buf_add(&text, parts[1], strlen(parts[1])) == 0 &&
	    jsontext_add(&text, name) == 0 &&
	    buf_add(&text, parts[2], strlen(parts[2])) == 0)
		code = json_stringn(text.data, text.len);
	json_decref(name);
	return code;
}

static const char *const run_text[] = { "import sys\nsys.argv[:] = ", "\nexec(compile(",
					", '<string>', 'exec'))\n" };
static const char *const run_path[] = { "import sys, runpy\nsys.argv[:] = ",
					"\nrunpy.run_path(", ", run_name='__main__')\n" };
static const char *const run_module[] = { "import sys, runpy\nsys.argv[:] = ",
					  "\nrunpy.run_module(",
					  ", run_name='__main__', alter_sys=True)\n" };

/* argv: ["-c" | file | module, ...]. */
static json_t *argv_of(const json_t *args, size_t at, const char *name)
{
	json_t *argv = json_pack("[s]", name);

	for (; at < json_array_size(args); at++)
		(void)json_array_append(argv, json_array_get(args, at));
	return argv;
}

/* New: {"code", "filename"}; NULL: err is set. */
static json_t *code_of(const json_t *args, struct sbx_err *err)
{
	json_t *code, *argv = NULL, *made;
	const char *text, *value;
	size_t at = 0;
	bool inline_ = false;

	while (skip_option(args, &at))
		;
	text = json_string_value(json_array_get(args, at));
	value = json_string_value(json_array_get(args, at + 1));
	if (text && (strcmp(text, "-c") == 0 || strcmp(text, "-m") == 0) && !value) {
		(void)err_set_field(err, SBX_AT_USAGE, 0, "args",
				    "args: %s needs something to run", text);
		return NULL;
	}
	if (!text || !*text || strcmp(text, "-") == 0) {
		code = json_string(""); /* python reads its input, which is empty */
	} else if (strcmp(text, "-c") == 0 && at + 2 == json_array_size(args)) {
		code = json_string(value);
		inline_ = true;
	} else if (strcmp(text, "-c") == 0) {
		argv = argv_of(args, at + 2, "-c");
		code = program(run_text, argv, value);
	} else if (strcmp(text, "-m") == 0) {
		argv = argv_of(args, at + 2, value);
		code = program(run_module, argv, value);
	} else {
		argv = argv_of(args, at + 1, text);
		code = program(run_path, argv, text);
	}
	json_decref(argv);
	made = json_pack("{s:o,s:s*}", "code", code, "filename",
			 inline_ ? "<string>" : NULL);
	if (!made)
		(void)err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	return made;
}

/* ---- the request ---- */

static int invalid(const char *field, const char *what, struct sbx_err *err)
{
	return err_set_field(err, SBX_AT_USAGE, 0, field, "%s has to be %s", field, what);
}

static bool is_text(const json_t *value)
{
	return json_is_string(value) &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

static int check_types(const json_t *body, struct sbx_err *err)
{
	const json_t *input = json_object_get(body, "input"),
		     *args = json_object_get(body, "args"),
		     *files = json_object_get(body, "files"), *item;
	size_t i;

	if (input && !is_text(input))
		return invalid("input", "a string without NUL", err);
	if (args && (!json_is_array(args) || json_array_size(args) > ARGS_MAX))
		return invalid("args", "an array of at most 256 strings", err);
	json_array_foreach(args, i, item)
	{
		if (!is_text(item))
			return invalid("args", "an array of strings without NUL", err);
	}
	if (!input && !args)
		return err_set(err, SBX_AT_USAGE, 0, "input or args has to be there");
	if (files && !json_is_array(files))
		return invalid("files", "an array of objects", err);
	if (json_object_get(body, "executable_path") &&
	    !json_is_null(json_object_get(body, "executable_path")))
		return err_set_field(err, SBX_AT_USAGE, 0, "executable_path",
				     "executable_path cannot be chosen here");
	return 0;
}

/* {path: {"base64": content}}; NULL: err is set. */
static json_t *files_of(const json_t *files, struct sbx_err *err)
{
	json_t *made = json_object(), *file;
	size_t i;
	int r = 0;

	json_array_foreach(files, i, file)
	{
		const char *path = doors_path(json_object_get(file, "path"));
		json_t *content = json_object_get(file, "content");

		if (!path)
			r = err_set_field(err, SBX_AT_USAGE, 0, "files",
					  "files[%zu]: path has to be plain and relative",
					  i);
		else if (content && !json_is_string(content))
			r = invalid("files", "with contents in base64", err);
		else if (json_object_get(made, path))
			r = err_set_field(err, SBX_AT_USAGE, 0, "files",
					  "files[%zu]: its path is there twice", i);
		else
			r = json_object_set_new(made, path,
						json_pack("{s:o}", "base64",
							  content ? json_incref(content)
								  : json_string("")));
		if (r < 0)
			break;
	}
	if (r < 0) {
		json_decref(made);
		if (err->stage == SBX_AT_NONE)
			(void)err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
		return NULL;
	}
	return made;
}

/* As a request of ours; NULL: err is set. */
static json_t *object_of(const json_t *body, struct sbx_err *err)
{
	json_t *input = json_object_get(body, "input"),
	       *args = json_object_get(body, "args"), *files, *object;

	args = args ? json_copy(args) : json_pack("[s]", "-c");
	if (input)
		(void)json_array_append(args, input);
	files = files_of(json_object_get(body, "files"), err);
	object = files ? code_of(args, err) : NULL;
	json_decref(args);
	if (object)
		(void)json_object_set(object, "files", files);
	json_decref(files);
	return object;
}

static int eval(struct exchange *ex, struct sbx_err *err)
{
	struct execution_sink sink = { .output = on_output,
				       .file = on_file,
				       .refused = on_refused,
				       .done = on_done };
	struct snekbox *s;
	struct request request;
	const char *id = NULL;
	json_t *object;
	int r = check_types(exchange_body(ex), err);

	if (r < 0)
		return r;
	object = object_of(exchange_body(ex), err);
	if (!object)
		return -EINVAL;
	r = doors_request(ex, "data", object, &request, err);
	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s || !(s->files = json_object())) {
		free(s);
		request_clear(&request);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	}
	s->ex = ex;
	sink.arg = s;
	r = exchange_run(ex, &request.execution, &sink, false, &id, err);
	request_clear(&request);
	if (r < 0)
		snekbox_free(s);
	else
		(void)snprintf(s->id, sizeof(s->id), "%s", id);
	return r;
}

static const struct route_answer answers[] = {
	{ 200, NULL, NULL, "Its output, exit status and files." },
	{ 0, NULL, NULL, NULL },
};

static const struct route routes[] = {
	{ .method = "POST",
	  .pattern = "/eval",
	  .handle = eval,
	  .body = BODY_JSON,
	  .id = "snekboxEval",
	  .summary = "Run a program",
	  .answers = answers },
};

const struct route_table door_snekbox = { .name = "snekbox",
					  .routes = routes,
					  .count = sizeof(routes) / sizeof(routes[0]),
					  .door = "snekbox",
					  .loose = true,
					  .problem = problem };
