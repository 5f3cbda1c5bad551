/* SPDX-License-Identifier: MIT
 * Purpose: YAML to the tree that JSON gives, so that one validator serves both.
 * Process: engine and command; any thread.
 * Trusts: nothing; the text is a user's.
 * Invariants: one document of at most POLICY_DOCUMENT_MAX bytes and POLICY_DEPTH_MAX
 *   levels; what lets a document be larger than its text, or mean something else than it
 *   shows (aliases, anchors, tags, directives, merge keys, duplicate keys), is refused.
 *   The text is read once, by events: nothing is built before it is judged. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"
#include "policy/internal.h"

#define KEY_MAX 255
#define NUMBER_MAX 64 /* bytes of text; more digits than any double or int64_t has */

struct builder {
	json_t *root;  /* owned; NULL until the first value */
	json_t *lines; /* owned; where each value stands, see policy_lines_in() */
	size_t depth;
	struct {
		json_t *node;  /* owned by root */
		json_t *lines; /* owned by lines */
		char key[KEY_MAX + 1];
		size_t key_line;
		bool has_key;
	} stack[POLICY_DEPTH_MAX];
	bool ended; /* the document; a second one is refused */
};

/* ---- plain scalars: YAML 1.2, 10.3.2 ---- */

static bool is_one_of(const char *text, size_t len, const char *const *words)
{
	for (; *words; words++)
		if (strlen(*words) == len && memcmp(text, *words, len) == 0)
			return true;
	return false;
}

static size_t digits(const char *text, size_t len, const char *set)
{
	size_t n = 0;

	while (n < len && text[n] != '\0' && strchr(set, text[n]))
		n++;
	return n;
}

#define DECIMAL "0123456789"

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_float(const char *text, size_t len)
{
	size_t at = 0, whole, fraction = 0, exponent;

	if (at < len && (text[at] == '-' || text[at] == '+'))
		at++;
	whole = digits(text + at, len - at, DECIMAL);
	at += whole;
	if (at < len && text[at] == '.') {
		fraction = digits(text + at + 1, len - at - 1, DECIMAL);
		at += 1 + fraction;
	}
	if (whole + fraction == 0)
		return false;
	if (at < len && (text[at] == 'e' || text[at] == 'E')) {
		at++;
		if (at < len && (text[at] == '-' || text[at] == '+'))
			at++;
		exponent = digits(text + at, len - at, DECIMAL);
		if (exponent == 0)
			return false;
		at += exponent;
	}
	return at == len;
}

/* The base of an integer's text, 0 if it is none; *ret_skip: what stands before its
 * digits. */
static int integer_base(const char *text, size_t len, size_t *ret_skip)
{
	size_t sign = len > 0 && (text[0] == '-' || text[0] == '+');

	*ret_skip = 2;
	if (len > 2 && memcmp(text, "0o", 2) == 0 &&
	    digits(text + 2, len - 2, "01234567") == len - 2)
		return 8;
	if (len > 2 && memcmp(text, "0x", 2) == 0 &&
	    digits(text + 2, len - 2, DECIMAL "abcdefABCDEF") == len - 2)
		return 16;
	*ret_skip = 0;
	return len > sign && digits(text + sign, len - sign, DECIMAL) == len - sign ? 10
										    : 0;
}

json_t *policy_plain_scalar(const char *text, size_t len, const char **why)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", NULL };
	static const char *const nans[] = { ".nan", ".NaN", ".NAN", NULL };
	static const char *const infs[] = { ".inf", ".Inf", ".INF", NULL };
	size_t sign = len > 0 && (text[0] == '-' || text[0] == '+'), skip;
	char number[NUMBER_MAX + 1];
	int base;

	*why = "out of memory";
	if (is_one_of(text, len, nulls))
		return json_null();
	if (is_one_of(text, len, trues))
		return json_true();
	if (is_one_of(text, len, falses))
		return json_false();
	*why = "not a finite number";
	if (is_one_of(text, len, nans) || is_one_of(text + sign, len - sign, infs))
		return NULL;
	base = integer_base(text, len, &skip);
	if (base == 0 && !is_float(text, len)) {
		*why = "not valid UTF-8, or with a NUL in it";
		return json_stringn(text, len);
	}
	*why = "a number that is too large";
	if (len > NUMBER_MAX)
		return NULL;
	memcpy(number, text, len);
	number[len] = '\0';
	errno = 0;
	if (base != 0) {
		long long value = strtoll(number + skip, NULL, base);

		return errno == 0 ? json_integer(value) : NULL;
	} else {
		/* LC_NUMERIC is "C" in our processes: nothing calls setlocale(3) */
		double value = strtod(number, NULL);

		return isfinite(value) ? json_real(value) : NULL;
	}
}

/* ---- events ---- */

static int refuse(struct sbx_err *err, const yaml_event_t *event, const char *what,
		  const char *name)
{
	char text[POLICY_SHOWN];

	return err_set(err, SBX_AT_POLICY, EINVAL, "line %zu: %s%s%s",
		       event->start_mark.line + 1, what, name ? " " : "",
		       name ? policy_shown(name, text) : "");
}

/* A scalar's line is a number; a container's [line, the lines of what it holds]. */
static int note_line(struct builder *b, size_t line, json_t *inner)
{
	size_t top = b->depth - 1;
	json_t *node;

	if (b->depth > 0 && b->stack[top].has_key)
		line = b->stack[top].key_line;
	node = inner ? json_pack("[I,O]", (json_int_t)line, inner)
		     : json_integer((json_int_t)line);
	if (!node)
		return -ENOMEM;
	if (b->depth == 0) {
		b->lines = node;
		return 0;
	}
	return json_is_array(b->stack[top].lines)
		       ? json_array_append_new(b->stack[top].lines, node)
		       : json_object_set_new(b->stack[top].lines, b->stack[top].key,
					     node);
}

/* Takes value. */
static int attach(struct builder *b, json_t *value, size_t line, json_t *inner,
		  struct sbx_err *err)
{
	size_t top = b->depth - 1;
	int r;

	if (note_line(b, line, inner) < 0) {
		json_decref(value);
		return policy_no_memory(err);
	}
	if (b->depth == 0) {
		b->root = value;
		return 0;
	}
	if (json_is_array(b->stack[top].node)) {
		r = json_array_append_new(b->stack[top].node, value);
	} else {
		r = json_object_set_new(b->stack[top].node, b->stack[top].key, value);
		b->stack[top].has_key = false;
	}
	return r < 0 ? policy_no_memory(err) : 0;
}

static int scalar(struct builder *b, const yaml_event_t *event, struct sbx_err *err)
{
	const char *text = (const char *)event->data.scalar.value, *why = "out of memory";
	size_t len = event->data.scalar.length, top = b->depth - 1;
	json_t *value;

	if (event->data.scalar.anchor)
		return refuse(err, event, "anchors are not allowed:",
			      (char *)event->data.scalar.anchor);
	if (event->data.scalar.tag)
		return refuse(err, event,
			      "tags are not allowed:", (char *)event->data.scalar.tag);
	if (memchr(text, '\0', len))
		return refuse(err, event, "a NUL character is not allowed", NULL);
	if (b->depth > 0 && json_is_object(b->stack[top].node) &&
	    !b->stack[top].has_key) {
		if (len == 0 || len > KEY_MAX)
			return refuse(err, event, "expected a key of 1 to 255 bytes, got",
				      text);
		if (json_object_get(b->stack[top].node, text))
			return refuse(err, event, "duplicate key", text);
		memcpy(b->stack[top].key, text, len + 1);
		b->stack[top].key_line = event->start_mark.line + 1;
		b->stack[top].has_key = true;
		return 0;
	}
	value = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
			? policy_plain_scalar(text, len, &why)
			: json_stringn(text, len);
	if (value)
		return attach(b, value, event->start_mark.line + 1, NULL, err);
	if (b->depth > 0 && b->stack[top].has_key) {
		char key[POLICY_SHOWN], shown[POLICY_SHOWN];

		return err_set(err, SBX_AT_POLICY, EINVAL, "line %zu: %s: %s is %s",
			       event->start_mark.line + 1,
			       policy_shown_plain(b->stack[top].key, key, sizeof(key)),
			       policy_shown(text, shown), why);
	}
	return refuse(err, event, why, text);
}

static int container(struct builder *b, const yaml_event_t *event, bool mapping,
		     struct sbx_err *err)
{
	const char *anchor = (const char *)(mapping ? event->data.mapping_start.anchor
						    : event->data.sequence_start.anchor);
	const char *tag = (const char *)(mapping ? event->data.mapping_start.tag
						 : event->data.sequence_start.tag);
	_cleanup_json_ json_t *lines = NULL;
	json_t *node;
	int r;

	if (anchor)
		return refuse(err, event, "anchors are not allowed:", anchor);
	if (tag)
		return refuse(err, event, "tags are not allowed:", tag);
	if (b->depth >= POLICY_DEPTH_MAX)
		return refuse(err, event, "nested deeper than 8 levels", NULL);
	if (b->depth > 0 && json_is_object(b->stack[b->depth - 1].node) &&
	    !b->stack[b->depth - 1].has_key)
		return refuse(err, event, "a key has to be text, not a list or a mapping",
			      NULL);
	node = mapping ? json_object() : json_array();
	lines = mapping ? json_object() : json_array();
	if (!node || !lines) {
		json_decref(node);
		return policy_no_memory(err);
	}
	r = attach(b, node, event->start_mark.line + 1, lines, err);
	if (r < 0)
		return r;
	b->stack[b->depth].node = node;
	b->stack[b->depth].lines = lines;
	b->stack[b->depth].has_key = false;
	b->depth++;
	return 0;
}

/* 0, 1 at the end of the text, or -errno. */
static int handle(struct builder *b, const yaml_event_t *event, struct sbx_err *err)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (b->ended)
			return refuse(err, event, "only one document is allowed", NULL);
		if (event->data.document_start.version_directive ||
		    event->data.document_start.tag_directives.start !=
			    event->data.document_start.tag_directives.end)
			return refuse(err, event, "directives are not allowed", NULL);
		return 0;
	case YAML_DOCUMENT_END_EVENT:
		b->ended = true;
		return 0;
	case YAML_ALIAS_EVENT:
		return refuse(
			err, event,
			"aliases are not allowed (text that starts with * has to be in quotes):",
			(char *)event->data.alias.anchor);
	case YAML_SCALAR_EVENT:
		return scalar(b, event, err);
	case YAML_SEQUENCE_START_EVENT:
		return container(b, event, false, err);
	case YAML_MAPPING_START_EVENT:
		return container(b, event, true, err);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return 0;
	case YAML_STREAM_END_EVENT:
		return 1;
	case YAML_STREAM_START_EVENT:
	case YAML_NO_EVENT:
		return 0;
	}
	return refuse(err, event, "not understood", NULL);
}

static int parse_error(const yaml_parser_t *parser, struct sbx_err *err)
{
	const char *problem = parser->problem ? parser->problem : "not valid YAML";

	if (parser->error == YAML_MEMORY_ERROR)
		return policy_no_memory(err);
	if (parser->error == YAML_READER_ERROR)
		return err_set(err, SBX_AT_POLICY, EINVAL,
			       "not valid YAML at byte %zu: %s", parser->problem_offset,
			       problem);
	/* what everyone writes once: allowed_modules: [*] */
	if (parser->context && strstr(parser->context, "alias"))
		return err_set(err, SBX_AT_POLICY, EINVAL,
			       "line %zu: text that starts with * has to be in quotes",
			       parser->problem_mark.line + 1);
	return err_set(err, SBX_AT_POLICY, EINVAL,
		       "line %zu, column %zu: not valid YAML: %s%s%s",
		       parser->problem_mark.line + 1, parser->problem_mark.column + 1,
		       problem, parser->context ? " " : "",
		       parser->context ? parser->context : "");
}

static int yaml_to_json(const char *text, size_t len, json_t **ret, json_t **ret_lines,
			struct sbx_err *err)
{
	struct builder b = { 0 };
	yaml_parser_t parser;
	int r = 0;

	if (len > POLICY_DOCUMENT_MAX)
		return err_set(err, SBX_AT_POLICY, EINVAL,
			       "expected a document of at most 1 MiB, got %zu bytes",
			       len);
	if (!yaml_parser_initialize(&parser))
		return policy_no_memory(err);
	/* not by the text's own byte order mark: UTF-16 would be read as well */
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		len -= 3;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (r == 0) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			r = parse_error(&parser, err);
			break;
		}
		r = handle(&b, &event, err);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	if (r < 0) {
		json_decref(b.root);
		json_decref(b.lines);
		return r;
	}
	*ret = b.root ? b.root : json_null();
	*ret_lines = b.lines;
	return 0;
}

int policy_yaml_to_json(const char *text, size_t len, json_t **ret, struct sbx_err *err)
{
	json_t *lines = NULL;
	int r = yaml_to_json(text, len, ret, &lines, err);

	json_decref(lines);
	return r;
}

/* ---- documents, JSON or YAML ---- */

static bool deeper(const json_t *value, int levels)
{
	const char *key;
	json_t *item;
	size_t i;

	if (!json_is_array(value) && !json_is_object(value))
		return false;
	if (levels == 0)
		return true;
	json_array_foreach((json_t *)value, i,
			   item) if (deeper(item, levels - 1)) return true;
	json_object_foreach((json_t *)value, key,
			    item) if (deeper(item, levels - 1)) return true;
	return false;
}

static int json_document(const char *text, size_t len, json_t **ret, struct sbx_err *err)
{
	_cleanup_json_ json_t *value = NULL;
	json_error_t error;

	value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!value)
		return err_set(
			err, SBX_AT_POLICY, EINVAL,
			"line %d, column %d: not valid JSON (as which text with { at its start is read): %s",
			error.line, error.column, error.text);
	if (deeper(value, POLICY_DEPTH_MAX))
		return err_set(err, SBX_AT_POLICY, EINVAL, "nested deeper than 8 levels");
	*ret = json_incref(value);
	return 0;
}

int policy_document(const char *text, size_t len, json_t **ret, json_t **ret_lines,
		    struct sbx_err *err)
{
	json_t *value = NULL, *again = NULL, *lines = NULL;
	size_t start = 0;
	int r;

	if (len > POLICY_DOCUMENT_MAX)
		return err_set(err, SBX_AT_POLICY, EINVAL,
			       "expected a document of at most 1 MiB, got %zu bytes",
			       len);
	if (len > 0 && memchr(text, '\0', len))
		return err_set(err, SBX_AT_POLICY, EINVAL,
			       "a NUL character is not allowed in a policy document");
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		start = 3;
	while (start < len && strchr(" \t\r\n", text[start]))
		start++;
	if (start == len || text[start] != '{') {
		r = yaml_to_json(text, len, &value, &lines, err);
	} else {
		r = json_document(text + start, len - start, &value, err);
		/* Most JSON is YAML as well, whose parser knows the lines. */
		if (r == 0 && yaml_to_json(text, len, &again, &lines, NULL) == 0)
			json_decref(again);
	}
	if (r < 0)
		return r;
	*ret = value;
	*ret_lines = lines;
	return 0;
}

const json_t *policy_lines_in(const json_t *lines, const char *key)
{
	return json_object_get(json_array_get(lines, 1), key);
}

const json_t *policy_lines_at(const json_t *lines, size_t i)
{
	return json_array_get(json_array_get(lines, 1), i);
}

int policy_at_line(const json_t *lines, struct sbx_err *err)
{
	json_int_t line = json_integer_value(
		json_is_array(lines) ? json_array_get(lines, 0) : lines);
	int errnum = err && err->errnum > 0 ? err->errnum : EINVAL;
	char field[sizeof(err->field)];

	if (!err || line <= 0 || strncmp(err->msg, "line ", 5) == 0)
		return -errnum;
	memcpy(field, err->field, sizeof(field));
	return err_set_field(err, (enum sbx_stage)err->stage,
			     err->stage <= SBX_AT_CEILING ? errnum : 0, field,
			     "line %lld: %s", (long long)line, err->msg);
}
