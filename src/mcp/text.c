/* SPDX-License-Identifier: MIT
 * Purpose: text.h. Process: the engine. Trusts: jansson's strings to be UTF-8; nothing else. */
#include "mcp/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"

#define DEPTH_MAX 32u

static size_t sequence(unsigned char first)
{
	if (first < 0x80)
		return 1;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Of valid UTF-8: C0 but \n and \t, DEL, C1, and what sets the direction of text. */
static bool steers(const unsigned char *p, size_t n)
{
	if (n == 1)
		return (p[0] < 0x20 && p[0] != '\n' && p[0] != '\t') || p[0] == 0x7f;
	if (n == 2)
		return p[0] == 0xc2 && p[1] < 0xa0;
	if (n == 3 && p[0] == 0xe2 && p[1] == 0x80)
		return (p[2] >= 0xaa && p[2] <= 0xae) || p[2] == 0x8e || p[2] == 0x8f;
	return n == 3 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
}

static int add_clean(struct buf *out, const char *text, size_t len)
{
	size_t kept = 0, n;
	int r = 0;

	for (size_t i = 0; i < len && r == 0; i += n) {
		const unsigned char *p = (const unsigned char *)text + i;

		n = sequence(*p);
		if (n > len - i)
			n = len - i;
		if (!steers(p, n))
			continue;
		r = buf_add(out, text + kept, i - kept);
		kept = i + n;
		if (r == 0 && *p == '\r' && (i + 1 == len || p[1] != '\n'))
			r = buf_add(out, "\n", 1);
		else if (r == 0 && *p != '\r')
			r = buf_add(out, "\xef\xbf\xbd", 3);
	}
	return r < 0 || kept >= len ? r : buf_add(out, text + kept, len - kept);
}

/* The next beginning of a character, at or after at. */
static size_t boundary(const char *text, size_t len, size_t at)
{
	while (at < len && ((unsigned char)text[at] & 0xc0) == 0x80)
		at++;
	return at;
}

json_t *text_short(const char *text, size_t len, size_t max)
{
	_cleanup_buf_ struct buf out = { 0 };
	size_t head = len, tail = len;
	int r;

	if (len > max) {
		head = boundary(text, len, max * 3 / 5);
		tail = boundary(text, len, len - (max - max * 3 / 5));
	}
	r = add_clean(&out, text, head);
	if (r == 0 && tail > head)
		r = buf_addf(&out, "\n[... %zu bytes are left out here ...]\n",
			     tail - head);
	if (r == 0 && tail < len)
		r = add_clean(&out, text + tail, len - tail);
	return r < 0 ? NULL : json_stringn(out.data ? out.data : "", out.len);
}

json_t *text_of(const json_t *value, size_t max)
{
	return json_is_string(value) ? text_short(json_string_value(value),
						  json_string_length(value), max)
				     : json_null();
}

static json_t *bounded(const json_t *value, size_t max, size_t items, size_t *budget,
		       unsigned depth)
{
	json_t *copy, *item;
	const char *key;
	size_t i;
	int r = 0;

	if (*budget == 0 || depth > DEPTH_MAX)
		return json_string("[left out]");
	--*budget;
	if (json_is_string(value))
		return text_of(value, max);
	if (json_is_array(value)) {
		copy = json_array();
		json_array_foreach((json_t *)(uintptr_t)value, i, item)
		{
			if (i < items && r == 0)
				r = json_array_append_new(
					copy,
					bounded(item, max, items, budget, depth + 1));
		}
	} else if (json_is_object(value)) {
		copy = json_object();
		i = 0;
		json_object_foreach((json_t *)(uintptr_t)value, key, item)
		{
			if (i++ < items && r == 0)
				r = json_object_set_new(
					copy, key,
					bounded(item, max, items, budget, depth + 1));
		}
	} else {
		return json_incref((json_t *)(uintptr_t)value);
	}
	if (r == 0)
		return copy;
	json_decref(copy);
	return NULL;
}

json_t *text_bounded(const json_t *value, size_t max, size_t items, size_t *budget)
{
	return bounded(value, max, items, budget, 0);
}
