/* SPDX-License-Identifier: MIT
 * Purpose: setting fields of a policy from JSON, from text as on a command line, and from
 * whole documents.
 * Process: engine and command; any thread.
 * Trusts: nothing; names, values and documents are a user's.
 * Invariants: a value is made and checked aside and then put in place, so that a failure
 *   leaves the policy as it was; every message names the field and says what was
 *   expected. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/internal.h"

#define ITEM_MAX \
	(128u << 10) /* bytes of one string; nothing that a policy takes is longer */

static const char *field_name(size_t i)
{
	return i < policy_field_count ? policy_fields[i].name : NULL;
}

static int unknown(const char *name, struct sbx_err *err)
{
	const char *near = policy_nearest(name, field_name);
	char text[POLICY_SHOWN], field[sizeof((struct sbx_err){ 0 }.field)];

	if (strcmp(name, "preset") == 0)
		return err_set_field(
			err, SBX_AT_POLICY, EINVAL, name,
			"preset: not a field; expected as --preset, or first in a document");

	policy_shown_plain(name, field, sizeof(field));
	if (near)
		return err_set_field(err, SBX_AT_POLICY, EINVAL, field,
				     "unknown field %s: did you mean \"%s\"?",
				     policy_shown(name, text), near);
	return err_set_field(err, SBX_AT_POLICY, EINVAL, field,
			     "unknown field %s: `sandbox policy show` lists all",
			     policy_shown(name, text));
}

/* A value for a message. Returns ret. */
static const char *value_shown(const json_t *value, char ret[POLICY_SHOWN])
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return policy_shown(json_string_value(value), ret);
	case JSON_INTEGER:
		snprintf(ret, POLICY_SHOWN, "%" JSON_INTEGER_FORMAT,
			 json_integer_value(value));
		return ret;
	case JSON_REAL:
		snprintf(ret, POLICY_SHOWN, "%.15g", json_real_value(value));
		return ret;
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
		return "null";
	case JSON_ARRAY:
		return "a list";
	case JSON_OBJECT:
		return "a mapping";
	}
	return "something else";
}

/* The same without the value, which may be a secret. */
static const char *kind_shown(const json_t *value)
{
	char unused[POLICY_SHOWN];

	return json_is_string(value)   ? "text"
	       : json_is_number(value) ? "a number"
				       : value_shown(value, unused);
}

static int wrong(const struct policy_field *field, const char *expected,
		 const json_t *value, struct sbx_err *err)
{
	char text[POLICY_SHOWN];

	if (field->type == POLICY_MAP)
		return err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
				     "%s: expected %s, got %s", field->name, expected,
				     kind_shown(value));
	return err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
			     "%s: expected %s, got %s", field->name, expected,
			     value_shown(value, text));
}

static int set_number(struct sbx_policy *policy, const struct policy_field *field,
		      const json_t *value, struct sbx_err *err)
{
	char text[POLICY_SHOWN], range[96], expected[160];
	double number;
	int r;

	if (!json_is_number(value)) {
		snprintf(expected, sizeof(expected), "%s", policy_range(field, range));
		return wrong(field, expected, value, err);
	}
	/* a whole number in its floating form, 1e3 or 5.0, is one; beyond a field's range
	 * an int64_t may round, but not into the range */
	number = json_number_value(value);
	r = policy_check_number(field, number, value_shown(value, text), err);
	if (r < 0 || field->ignored)
		return r;
	if (field->type == POLICY_INT)
		*(int64_t *)policy_at(policy, field) = (int64_t)number;
	else
		*(double *)policy_at(policy, field) = number + 0.0; /* -0.0 is 0 */
	return 0;
}

static int set_bool(struct sbx_policy *policy, const struct policy_field *field,
		    const json_t *value, struct sbx_err *err)
{
	if (!json_is_boolean(value))
		return wrong(field, "true or false", value, err);
	*(bool *)policy_at(policy, field) = json_is_true(value);
	return 0;
}

/* The text of one string of a policy: no NUL, not too long. */
static int check_text(const struct policy_field *field, const json_t *value,
		      struct sbx_err *err)
{
	size_t len = json_string_length(value);

	if (strlen(json_string_value(value)) != len)
		return err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
				     "%s: a NUL character is not allowed", field->name);
	if (len > ITEM_MAX)
		return err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
				     "%s: expected text of at most %u bytes, got %zu",
				     field->name, ITEM_MAX, len);
	return 0;
}

static int set_string(struct sbx_policy *policy, const struct policy_field *field,
		      const json_t *value, struct sbx_err *err)
{
	char *copy, **at = policy_at(policy, field);
	int r;

	if (!json_is_string(value))
		return wrong(field, "text", value, err);
	r = check_text(field, value, err);
	if (r == 0)
		r = policy_check_string(field, json_string_value(value), err);
	if (r < 0)
		return r;
	copy = strdup(json_string_value(value));
	if (!copy)
		return policy_no_memory(err);
	free(*at);
	*at = copy;
	return 0;
}

static int set_choice(struct sbx_policy *policy, const struct policy_field *field,
		      const json_t *value, struct sbx_err *err)
{
	char expected[160] = "";
	size_t len = 0;

	for (int i = 0; field->choices[i]; i++) {
		if (json_is_string(value) &&
		    strcmp(json_string_value(value), field->choices[i]) == 0 &&
		    json_string_length(value) == strlen(field->choices[i])) {
			*(int *)policy_at(policy, field) = i;
			return 0;
		}
		len += (size_t)snprintf(expected + len, sizeof(expected) - len,
					"%s\"%s\"", i ? " or " : "", field->choices[i]);
		if (len >= sizeof(expected))
			break;
	}
	return wrong(field, expected, value, err);
}

static int set_list(struct sbx_policy *policy, const struct policy_field *field,
		    const json_t *value, struct sbx_err *err)
{
	struct policy_list list = { 0 };
	char text[POLICY_SHOWN];
	json_t *item;
	size_t i;
	int r;

	if (!json_is_array(value))
		return wrong(field, "a list", value, err);
	r = policy_check_count(field, json_array_size(value), err);
	json_array_foreach((json_t *)value, i, item)
	{
		if (r < 0)
			break;
		if (!json_is_string(item))
			r = err_set_field(
				err, SBX_AT_POLICY, EINVAL, field->name,
				"%s: expected a list of text, got %s at item %zu",
				field->name, value_shown(item, text), i + 1);
		else
			r = check_text(field, item, err);
		if (r == 0)
			r = field->check(json_string_value(item), err);
		if (r == 0 && policy_list_add(&list, json_string_value(item)) < 0)
			r = policy_no_memory(err);
	}
	if (r < 0) {
		policy_list_clear(&list);
		return r;
	}
	policy_list_clear(policy_at(policy, field));
	*(struct policy_list *)policy_at(policy, field) = list;
	return 0;
}

/* Order of "KEY=VALUE" by key; the keys of one map differ. */
static int by_key(const void *a, const void *b)
{
	const char *left = *(char *const *)a, *right = *(char *const *)b;
	size_t len_left = strcspn(left, "="), len_right = strcspn(right, "=");
	int order = memcmp(left, right, len_left < len_right ? len_left : len_right);

	return order ? order : len_left < len_right ? -1 : len_left > len_right;
}

static int add_variable(struct policy_list *list, const struct policy_field *field,
			const char *key, const json_t *value, struct sbx_err *err)
{
	char text[POLICY_SHOWN];
	_cleanup_buf_ struct buf item = { 0 };
	int r;

	if (!json_is_string(value))
		return err_set_field(
			err, SBX_AT_POLICY, EINVAL, field->name,
			"%s: %s: expected text, got %s (put it in quotes)", field->name,
			policy_shown_plain(key, text, sizeof(text)), kind_shown(value));
	/* an "=" in the key would move the boundary between it and the value */
	if (strchr(key, '='))
		return err_set_field(
			err, SBX_AT_POLICY, EINVAL, field->name,
			"%s: expected names of letters, digits and \"_\", got %s",
			field->name, policy_shown(key, text));
	r = check_text(field, value, err);
	if (r < 0)
		return r;
	if (buf_add(&item, key, strlen(key)) < 0 || buf_add(&item, "=", 1) < 0 ||
	    buf_add(&item, json_string_value(value), json_string_length(value)) < 0)
		return policy_no_memory(err);
	r = field->check(item.data, err);
	if (r == 0 && policy_list_add(list, item.data) < 0)
		r = policy_no_memory(err);
	return r;
}

static int set_map(struct sbx_policy *policy, const struct policy_field *field,
		   const json_t *value, struct sbx_err *err)
{
	struct policy_list list = { 0 };
	const char *key;
	json_t *item;
	int r;

	if (!json_is_object(value))
		return wrong(field, "a mapping of text to text", value, err);
	r = policy_check_count(field, json_object_size(value), err);
	json_object_foreach((json_t *)value, key, item)
	{
		if (r < 0)
			break;
		r = add_variable(&list, field, key, item, err);
	}
	if (r < 0) {
		policy_list_clear(&list);
		return r;
	}
	if (list.count > 0)
		qsort(list.items, list.count, sizeof(*list.items), by_key);
	policy_list_clear(policy_at(policy, field));
	*(struct policy_list *)policy_at(policy, field) = list;
	return 0;
}

static int set_field(struct sbx_policy *policy, const struct policy_field *field,
		     const json_t *value, struct sbx_err *err)
{
	switch (field->type) {
	case POLICY_INT:
	case POLICY_NUMBER:
		return set_number(policy, field, value, err);
	case POLICY_BOOL:
		return set_bool(policy, field, value, err);
	case POLICY_STRING:
		return set_string(policy, field, value, err);
	case POLICY_LIST:
		return set_list(policy, field, value, err);
	case POLICY_MAP:
		return set_map(policy, field, value, err);
	case POLICY_CHOICE:
		return set_choice(policy, field, value, err);
	}
	return unknown(field->name, err);
}

int policy_set_json(struct sbx_policy *policy, const char *name, const json_t *value,
		    struct sbx_err *err)
{
	const struct policy_field *field = policy_field_find(name);

	if (!field)
		return unknown(name, err);
	if (!value)
		return err_set_field(err, SBX_AT_POLICY, EINVAL, name,
				     "%s: expected a value", name);
	return set_field(policy, field, value, err);
}

/* ---- text, as on a command line ---- */

static const char *skip_space(const char *text, size_t *len)
{
	while (*len > 0 && strchr(" \t\r\n", text[0])) {
		text++;
		*len -= 1;
	}
	while (*len > 0 && strchr(" \t\r\n", text[*len - 1]))
		*len -= 1;
	return text;
}

/* Adds one piece between commas to the list or map. */
static int add_piece(const struct policy_field *field, json_t *all, const char *piece,
		     size_t len, struct sbx_err *err)
{
	_cleanup_json_ json_t *item = NULL;
	const char *equals;
	char *key;
	int r;

	piece = skip_space(piece, &len);
	if (len == 0)
		return err_set_field(
			err, SBX_AT_POLICY, EINVAL, field->name,
			"%s: expected something before and behind each comma",
			field->name);
	if (field->type == POLICY_LIST) {
		item = json_stringn(piece, len);
		return item && json_array_append(all, item) == 0 ? 0
								 : policy_no_memory(err);
	}
	equals = memchr(piece, '=', len);
	if (!equals) /* what it is may be the rest of a secret that had a comma in it */
		return err_set_field(
			err, SBX_AT_POLICY, EINVAL, field->name,
			"%s: expected KEY=VALUE,... or a JSON object (needed for a value with a comma)",
			field->name);
	key = strndup(piece, (size_t)(equals - piece));
	item = json_stringn(equals + 1, len - (size_t)(equals + 1 - piece));
	if (!key || !item)
		r = policy_no_memory(err);
	else if (json_object_get(all, key))
		r = err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
				  "%s: %s is given twice", field->name, key);
	else
		r = json_object_set(all, key, item) == 0 ? 0 : policy_no_memory(err);
	free(key);
	return r;
}

static int split(const struct policy_field *field, const char *text, json_t *all,
		 struct sbx_err *err)
{
	size_t len = strlen(text), n;
	int r = 0;

	text = skip_space(text, &len);
	while (len > 0 && r == 0) {
		const char *comma = memchr(text, ',', len);

		n = comma ? (size_t)(comma - text) : len;
		r = add_piece(field, all, text, n, err);
		if (r == 0 && comma && n + 1 == len) /* nothing behind the last comma */
			r = add_piece(field, all, text, 0, err);
		n += comma ? 1 : 0;
		text += n;
		len -= n;
	}
	return r;
}

int policy_set_text(struct sbx_policy *policy, const char *name, const char *text,
		    struct sbx_err *err)
{
	const struct policy_field *field = policy_field_find(name);
	_cleanup_json_ json_t *value = NULL;
	size_t len = strlen(text);
	const char *why;
	int r;

	if (!field)
		return unknown(name, err);
	if (len > POLICY_DOCUMENT_MAX)
		return err_set_field(err, SBX_AT_POLICY, EINVAL, name,
				     "%s: expected at most 1 MiB of text", name);
	if (!policy_utf8_valid(text))
		return err_set_field(err, SBX_AT_POLICY, EINVAL, name,
				     "%s: expected valid UTF-8", name);
	value = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	if (field->type == POLICY_LIST || field->type == POLICY_MAP) {
		/* math is a word and not JSON; so, for the list, are null, 5 and "math"
		 * in quotes */
		if (field->type == POLICY_LIST && json_is_string(value)) {
			json_t *list = json_pack("[O]", value);

			if (!list)
				return policy_no_memory(err);
			json_decref(value);
			value = list;
		} else if (!value && field->type == POLICY_MAP &&
			   *skip_space(text, &len) == '{') {
			/* without jansson's words, which quote what may be a secret */
			return err_set_field(
				err, SBX_AT_POLICY, EINVAL, name,
				"%s: expected a JSON object without duplicate keys, or KEY=VALUE,...",
				name);
		} else if (!json_is_array(value) && !json_is_object(value)) {
			json_decref(value);
			value = field->type == POLICY_LIST ? json_array() : json_object();
			if (!value)
				return policy_no_memory(err);
			r = split(field, text, value, err);
			if (r < 0)
				return r;
		}
	} else if (!value &&
		   (field->type == POLICY_STRING || field->type == POLICY_CHOICE)) {
		value = json_string(text);
	} else if (!value) {
		/* True, .5 and +5 as in YAML; what else it is, the message shows as
		 * text */
		text = skip_space(text, &len);
		value = policy_plain_scalar(text, len, &why);
		if (!value || json_is_null(value))
			value = json_stringn(text, len);
	}
	return value ? set_field(policy, field, value, err) : policy_no_memory(err);
}

/* ---- objects and documents ---- */

int policy_set_object(struct sbx_policy *policy, const json_t *object,
		      struct sbx_err *err)
{
	return policy_set_lines(policy, object, NULL, err);
}

int policy_set_lines(struct sbx_policy *policy, const json_t *object, const json_t *lines,
		     struct sbx_err *err)
{
	struct sbx_policy copy;
	bool first = true;
	const char *key;
	json_t *value;
	int r = 0;

	if (!json_is_object(object))
		return err_set(err, SBX_AT_POLICY, EINVAL,
			       "expected a mapping of fields");
	if (policy_copy(&copy, policy) < 0)
		return policy_no_memory(err);
	json_object_foreach((json_t *)object, key, value)
	{
		if (strcmp(key, "preset") != 0)
			r = policy_set_json(&copy, key, value, err);
		else if (!first)
			r = err_set_field(
				err, SBX_AT_POLICY, EINVAL, key,
				"preset: expected as the first field, since it sets all of them");
		else if (!json_is_string(value))
			r = err_set_field(err, SBX_AT_POLICY, EINVAL, key,
					  "preset: expected the name of a preset");
		else
			r = policy_preset(&copy, json_string_value(value), err);
		first = false;
		if (r < 0) {
			policy_clear(&copy);
			(void)policy_at_line(policy_lines_in(lines, key), err);
			return r;
		}
	}
	policy_clear(policy);
	*policy = copy;
	return 0;
}

int policy_set_document(struct sbx_policy *policy, const char *text, size_t len,
			struct sbx_err *err)
{
	_cleanup_json_ json_t *value = NULL, *lines = NULL;
	int r;

	r = policy_document(text, len, &value, &lines, err);
	if (r < 0 || json_is_null(value))
		return r;
	return policy_set_lines(policy, value, lines, err);
}
