/* SPDX-License-Identifier: MIT
 * Purpose: JSON trees as text (jsontext.h). Trusts: the tree is one of jansson's, and no
 * deeper than its parser takes. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jsontext.h"

static int add_real(struct buf *out, double number)
{
	char text[40];

	/* 17 digits always do (IEEE 754 binary64). */
	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(text, sizeof(text) - 3, "%.*g", digits, number);
		if (strtod(text, NULL) == number)
			break;
	}
	/* What was a real stays one for the reader. */
	if (!strpbrk(text, ".eE"))
		strcat(text, ".0");
	return buf_add(out, text, strlen(text));
}

static int dump_to(const char *data, size_t len, void *arg)
{
	return buf_add(arg, data, len) < 0 ? -1 : 0;
}

static int add_leaf(struct buf *out, const json_t *value)
{
	return json_dump_callback(value, dump_to, out, JSON_ENCODE_ANY | JSON_COMPACT) < 0
		       ? -ENOMEM
		       : 0;
}

static int add_key(struct buf *out, const char *key)
{
	json_t *text = json_string_nocheck(key);
	int r = text ? add_leaf(out, text) : -ENOMEM;

	json_decref(text);
	return r < 0 ? r : buf_add(out, ":", 1);
}

static int add_object(struct buf *out, const json_t *object)
{
	const char *key;
	json_t *value;
	bool first = true;
	int r = buf_add(out, "{", 1);

	/* json_object_foreach wants no const, and changes nothing. */
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		if (r == 0 && !first)
			r = buf_add(out, ",", 1);
		first = false;
		if (r == 0)
			r = add_key(out, key);
		if (r == 0)
			r = jsontext_add(out, value);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : buf_add(out, "}", 1);
}

static int add_array(struct buf *out, const json_t *array)
{
	int r = buf_add(out, "[", 1);

	for (size_t i = 0; r == 0 && i < json_array_size(array); i++) {
		if (i > 0)
			r = buf_add(out, ",", 1);
		if (r == 0)
			r = jsontext_add(out, json_array_get(array, i));
	}
	return r < 0 ? r : buf_add(out, "]", 1);
}

int jsontext_add(struct buf *out, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return add_object(out, value);
	case JSON_ARRAY:
		return add_array(out, value);
	case JSON_REAL:
		return add_real(out, json_real_value(value));
	case JSON_STRING:
	case JSON_INTEGER:
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL:
		break;
	}
	return add_leaf(out, value);
}

char *jsontext(const json_t *value, size_t *ret_len)
{
	struct buf out = { 0 };

	if (!value || jsontext_add(&out, value) < 0) {
		buf_free(&out);
		return NULL;
	}
	if (ret_len)
		*ret_len = out.len;
	return out.data;
}
