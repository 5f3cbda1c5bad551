/* SPDX-License-Identifier: MIT
 * Purpose: a program's result as a model reads it (blocks) and as a host does (structured).
 * Process: the engine. Trusts: the result's shape, which is ours; no text in it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"
#include "mcp/call.h"
#include "mcp/text.h"

#define STDOUT_MAX 20000u
#define STDERR_MAX 8000u
#define VALUE_MAX 8000u
#define RESULT_MAX 16384u /* of `result` as JSON; a larger one is left to result_repr */
#define EVENTS_MAX 30u
#define FILES_MAX 100u
#define IMAGES_MAX 10u
#define IMAGE_MAX (4u << 20) /* base64 */

int content_add(json_t *content, json_t *text)
{
	return json_array_append_new(
		content, json_pack("{s:s,s:o}", "type", "text", "text", text));
}

json_t *content_text(const char *text)
{
	json_t *content = json_array();

	if (content &&
	    content_add(content, text_short(text, strlen(text), VALUE_MAX)) == 0)
		return content;
	json_decref(content);
	return NULL;
}

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int add_format(json_t *content, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static int add_format(json_t *content, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n, r = -ENOMEM;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		r = content_add(content, text_short(text, (size_t)n, STDOUT_MAX));
	if (n >= 0)
		free(text);
	return r;
}

/* ---- as blocks ---- */

static int add_end(json_t *content, const json_t *result)
{
	const json_t *error = json_object_get(result, "error");
	const char *status = text_at(result, "status"),
		   *trace = text_at(error, "traceback"),
		   *ended = text_at(result, "session_ended");
	int r = 0;

	/* A traceback is mostly on stderr, too. */
	if (strcmp(status, "ok") != 0 && *trace &&
	    !strstr(text_at(result, "stderr"), trace))
		r = add_format(content, "%s", trace);
	if (r == 0 && strcmp(status, "ok") != 0)
		r = add_format(content, "The program ended with status %s: %s%s%s",
			       status, text_at(error, "name"),
			       *text_at(error, "value") ? ": " : "",
			       text_at(error, "value"));
	if (r == 0 && *ended)
		r = add_format(content,
			       "The session has ended, with its variables and files: %s. "
			       "Make another with session_new.",
			       ended);
	return r;
}

static int add_denials(json_t *content, const json_t *result)
{
	const json_t *event, *events = json_object_get(result, "events");
	size_t i, said = 0;
	int r = 0;

	json_array_foreach((json_t *)(uintptr_t)events, i, event)
	{
		const json_t *line = json_object_get(event, "line");
		char at[32] = "";

		if (strcmp(text_at(event, "kind"), "connection") == 0 || r < 0)
			continue;
		if (said++ == EVENTS_MAX)
			return content_add(
				content, json_string("More was denied; the structured "
						     "result and the journal say what."));
		if (json_is_integer(line))
			(void)snprintf(at, sizeof(at), " in line %lld",
				       (long long)json_integer_value(line));
		r = add_format(content, "Denied by the sandbox: %s %s%s. %s%s%s.",
			       text_at(event, "kind"), text_at(event, "subject"), at,
			       *text_at(event, "remedy") ? "To allow it, the user can "
							 : "No setting allows it",
			       text_at(event, "remedy"), "");
	}
	return r;
}

static int add_files(json_t *content, const json_t *result)
{
	const json_t *file, *files = json_object_get(result, "files");
	json_t *text;
	char *line = NULL;
	size_t i, len = 0;
	FILE *out = json_array_size(files) ? open_memstream(&line, &len) : NULL;
	int r;

	if (!out)
		return json_array_size(files) ? -ENOMEM : 0;
	(void)fputs("Files in /work:", out);
	json_array_foreach((json_t *)(uintptr_t)files, i, file)
	{
		if (i < FILES_MAX)
			(void)fprintf(out, "%s %s (%lld bytes)", i ? "," : "",
				      text_at(file, "path"),
				      (long long)json_integer_value(
					      json_object_get(file, "size")));
	}
	if (fclose(out) != 0) {
		free(line);
		return -ENOMEM;
	}
	text = text_short(line, len, VALUE_MAX);
	r = content_add(content, text);
	free(line);
	return r;
}

static int add_image(json_t *content, const json_t *bundle, const char *type)
{
	json_t *data = json_object_get(bundle, type);

	if (!json_is_string(data))
		return 0;
	if (json_string_length(data) > IMAGE_MAX)
		return add_format(content, "An image (%s) is too large to be shown here.",
				  type);
	return json_array_append_new(content, json_pack("{s:s,s:O,s:s}", "type", "image",
							"data", data, "mimeType", type)) <
			       0
		       ? -ENOMEM
		       : 1;
}

static int add_displays(json_t *content, const json_t *result)
{
	static const char *const types[] = { "image/png", "image/jpeg" };
	const json_t *bundle, *main = json_object_get(result, "result_display");
	size_t i, shown = 0;

	json_array_foreach(json_object_get(result, "displays"), i, bundle)
	{
		int r = 0;

		if (shown++ == IMAGES_MAX)
			return add_format(content, "More was shown than fits here.");
		for (size_t t = 0; r == 0 && t < sizeof(types) / sizeof(types[0]); t++)
			r = add_image(content, bundle, types[t]);
		/* The value itself is said as text anyway. */
		if (r == 0 && *text_at(bundle, "text/plain") &&
		    !(json_is_integer(main) && json_integer_value(main) == (json_int_t)i))
			r = content_add(content,
					text_of(json_object_get(bundle, "text/plain"),
						VALUE_MAX));
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_output(json_t *content, const json_t *result)
{
	const json_t *out = json_object_get(result, "stdout"),
		     *err = json_object_get(result, "stderr"),
		     *repr = json_object_get(result, "result_repr");
	json_t *text;
	int r = 0;

	if (json_string_length(out))
		r = content_add(content, text_of(out, STDOUT_MAX));
	if (r == 0 && json_string_length(err)) {
		text = text_of(err, STDERR_MAX);
		r = add_format(content, "stderr:\n%s",
			       text ? json_string_value(text) : "");
		json_decref(text);
	}
	if (r == 0 && json_is_string(repr))
		r = content_add(content, text_of(repr, VALUE_MAX));
	return r;
}

/* ---- structured ---- */

static json_t *value_of(const json_t *result)
{
	json_t *value = json_object_get(result, "result");
	size_t len = 0;
	char *text = value ? jsontext(value, &len) : NULL;
	bool fits = text && len <= RESULT_MAX;

	free(text);
	return fits ? json_incref(value) : json_null();
}

static json_t *mimes(const json_t *result)
{
	json_t *lists = json_array(), *bundle, *data;
	const char *type;
	size_t i;

	json_array_foreach(json_object_get(result, "displays"), i, bundle)
	{
		json_t *list = json_array();

		json_object_foreach(bundle, type, data)(void)
			json_array_append_new(list, json_string(type));
		(void)json_array_append_new(lists, list);
	}
	return lists;
}

static json_t *structured_of(const json_t *result)
{
	static const char *const same[] = { "id",        "status",
					    "truncated", "usage",
					    "session",   "execution_count",
					    "recorded",  "result_display" };
	size_t budget = 4000;
	json_t *made = json_object(), *value;
	int r = made ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < sizeof(same) / sizeof(same[0]); i++) {
		value = json_object_get(result, same[i]);
		if (value)
			r = json_object_set(made, same[i], value);
	}
	if (r == 0)
		r = json_object_set_new(made, "result", value_of(result)) |
		    json_object_set_new(
			    made, "result_repr",
			    text_of(json_object_get(result, "result_repr"), VALUE_MAX)) |
		    json_object_set_new(
			    made, "stdout",
			    text_of(json_object_get(result, "stdout"), STDOUT_MAX)) |
		    json_object_set_new(
			    made, "stderr",
			    text_of(json_object_get(result, "stderr"), STDERR_MAX)) |
		    json_object_set_new(made, "session_ended",
					text_of(json_object_get(result, "session_ended"),
						VALUE_MAX)) |
		    json_object_set_new(made, "error",
					text_bounded(json_object_get(result, "error"),
						     VALUE_MAX, 20, &budget)) |
		    json_object_set_new(made, "events",
					text_bounded(json_object_get(result, "events"),
						     500, 50, &budget)) |
		    json_object_set_new(made, "files",
					text_bounded(json_object_get(result, "files"),
						     4096, FILES_MAX, &budget)) |
		    json_object_set_new(made, "displays", mimes(result));
	if (r == 0)
		return made;
	json_decref(made);
	return NULL;
}

json_t *content_of(const json_t *result, json_t **ret_structured)
{
	json_t *content = json_array(), *structured = structured_of(result);
	int r = content && structured ? 0 : -ENOMEM;

	if (r == 0)
		r = add_output(content, result);
	if (r == 0)
		r = add_end(content, result);
	if (r == 0)
		r = add_denials(content, result);
	if (r == 0)
		r = add_displays(content, result);
	if (r == 0)
		r = add_files(content, result);
	if (r == 0 && json_array_size(content) == 0)
		r = content_add(content, json_string("(no output)"));
	if (r < 0) {
		json_decref(content);
		json_decref(structured);
		return NULL;
	}
	*ret_structured = structured;
	return content;
}
