/* SPDX-License-Identifier: MIT
 * Purpose: a policy as JSON, for results and for people as YAML.
 * Process: engine and command; any thread.
 * Invariants: every field of the table is printed, none is named here; what is printed
 *   reads back as the same policy (but for the redacted form, which has no value of an
 *   environment variable in it). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/internal.h"

#define REDACTED "***"

/* ---- JSON ---- */

/* Whole numbers without ".0": 50 and not 50.0. All of them are far below 2^53. */
static json_t *number_json(double value)
{
	if (value == (double)(int64_t)value)
		return json_integer((int64_t)value);
	return json_real(value);
}

static json_t *list_json(const struct policy_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < list->count; i++) {
		if (json_array_append_new(array, json_string(list->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *map_json(const struct policy_list *list, bool redact)
{
	json_t *object = json_object();

	for (size_t i = 0; object && i < list->count; i++) {
		const char *item = list->items[i];
		size_t len = strcspn(item, "=");
		char *key = strndup(item, len);
		const char *value = redact ? REDACTED : item[len] ? item + len + 1 : "";

		if (!key || json_object_set_new(object, key, json_string(value)) < 0) {
			json_decref(object);
			object = NULL;
		}
		free(key);
	}
	return object;
}

static json_t *field_json(const struct policy_field *field, const void *at, bool redact)
{
	switch (field->type) {
	case POLICY_INT:
		return json_integer(*(const int64_t *)at);
	case POLICY_NUMBER:
		return number_json(*(const double *)at);
	case POLICY_BOOL:
		return json_boolean(*(const bool *)at);
	case POLICY_STRING:
		return json_string(*(char *const *)at ? *(char *const *)at : "");
	case POLICY_LIST:
		return list_json(at);
	case POLICY_MAP:
		return map_json(at, redact);
	case POLICY_CHOICE:
		return json_string(field->choices[*(const int *)at]);
	}
	return NULL;
}

static json_t *to_json(const struct sbx_policy *policy, bool redact)
{
	json_t *object = json_object();

	for (size_t i = 0; object && i < policy_field_count; i++) {
		const struct policy_field *field = &policy_fields[i];

		if (field->ignored)
			continue;
		if (json_object_set_new(object, field->name,
					field_json(field, policy_at_const(policy, field),
						   redact)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

json_t *policy_to_json(const struct sbx_policy *policy)
{
	return to_json(policy, false);
}

json_t *policy_to_json_redacted(const struct sbx_policy *policy)
{
	return to_json(policy, true);
}

/* ---- YAML ---- */

/* As few digits as read back the same. */
static int add_number(struct buf *b, double value)
{
	char text[40];

	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	return buf_add(b, text, strlen(text));
}

static int add_list(struct buf *b, const struct policy_list *list)
{
	int r = buf_add(b, "[", 1);

	for (size_t i = 0; i < list->count && r >= 0; i++) {
		if (i > 0)
			r = buf_add(b, ", ", 2);
		if (r >= 0)
			r = policy_quote(b, list->items[i]);
	}
	return r < 0 ? r : buf_add(b, "]", 1);
}

static int add_map(struct buf *b, const struct policy_list *list)
{
	int r = buf_add(b, "{", 1);

	for (size_t i = 0; i < list->count && r >= 0; i++) {
		const char *item = list->items[i];
		size_t len = strcspn(item, "=");

		r = buf_addf(b, "%s%.*s: ", i > 0 ? ", " : "", (int)len, item);
		if (r >= 0)
			r = policy_quote(b, item[len] ? item + len + 1 : "");
	}
	return r < 0 ? r : buf_add(b, "}", 1);
}

int policy_value_text(struct buf *b, const struct policy_field *field,
		      const struct sbx_policy *policy)
{
	const void *at = policy_at_const(policy, field);

	switch (field->type) {
	case POLICY_INT:
		return buf_addf(b, "%lld", (long long)*(const int64_t *)at);
	case POLICY_NUMBER:
		return add_number(b, *(const double *)at);
	case POLICY_BOOL:
		return buf_addf(b, "%s", *(const bool *)at ? "true" : "false");
	case POLICY_STRING:
		return policy_quote(b, *(char *const *)at ? *(char *const *)at : "");
	case POLICY_LIST:
		return add_list(b, at);
	case POLICY_MAP:
		return add_map(b, at);
	case POLICY_CHOICE:
		return buf_addf(b, "%s", field->choices[*(const int *)at]);
	}
	return -EINVAL;
}

/* A comment, broken at spaces before column 90. */
static int add_comment(struct buf *b, const char *text)
{
	size_t column = 1;
	int r = buf_add(b, "#", 1);

	while (*text && r >= 0) {
		size_t len = strcspn(text, " ");

		if (column > 1 && column + 1 + len > 90) {
			r = buf_add(b, "\n#", 2);
			column = 1;
		}
		if (r >= 0)
			r = buf_addf(b, " %.*s", (int)len, text);
		column += 1 + len;
		text += len;
		text += strspn(text, " ");
	}
	return r < 0 ? r : buf_add(b, "\n", 1);
}

int policy_to_yaml(const struct sbx_policy *policy, char **ret_text)
{
	_cleanup_buf_ struct buf b = { 0 };
	bool first = true;
	int r = 0;

	for (size_t i = 0; i < policy_field_count && r >= 0; i++) {
		const struct policy_field *field = &policy_fields[i];

		if (field->ignored)
			continue;
		if (!first)
			r = buf_add(&b, "\n", 1);
		first = false;
		if (r >= 0)
			r = add_comment(&b, field->meaning);
		if (r >= 0)
			r = buf_addf(&b, "%s: ", field->name);
		if (r >= 0)
			r = policy_value_text(&b, field, policy);
		if (r >= 0 && *field->unit)
			r = buf_addf(&b, " # %s", field->unit);
		if (r >= 0)
			r = buf_add(&b, "\n", 1);
	}
	if (r < 0)
		return r;
	*ret_text = b.data;
	b = (struct buf){ 0 };
	return 0;
}
