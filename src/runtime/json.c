/* SPDX-License-Identifier: MIT
 * A bounded JSON writer. Worker; its input is the program's and may be anything that is
 * UTF-8. */
#include "runtime/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *reserve(struct json *json, size_t len)
{
	size_t cap = json->cap;
	char *data;

	if (json->error)
		return NULL;
	if (len > json->max - json->len) {
		json->error = EMSGSIZE;
		return NULL;
	}
	if (json->len + len > cap) {
		cap = cap ? cap : 1024;
		while (cap < json->len + len)
			cap *= 2;
		data = realloc(json->data, cap);
		if (!data) {
			json->error = ENOMEM;
			return NULL;
		}
		json->data = data;
		json->cap = cap;
	}
	return json->data + json->len;
}

void json_free(struct json *json)
{
	free(json->data);
	json->data = NULL;
	json->len = json->cap = 0;
}

void json_raw(struct json *json, const char *text, size_t len)
{
	char *at = reserve(json, len);

	if (at) {
		memcpy(at, text, len);
		json->len += len;
	}
}

void json_lit(struct json *json, const char *text)
{
	json_raw(json, text, strlen(text));
}

static void escape(struct json *json, unsigned char c)
{
	char text[8];

	switch (c) {
	case '"':
		json_lit(json, "\\\"");
		break;
	case '\\':
		json_lit(json, "\\\\");
		break;
	case '\n':
		json_lit(json, "\\n");
		break;
	case '\t':
		json_lit(json, "\\t");
		break;
	case '\r':
		json_lit(json, "\\r");
		break;
	case 0:
		json_lit(json, "\\\\x00");
		break;
	default:
		(void)snprintf(text, sizeof(text), "\\u%04x", c);
		json_lit(json, text);
	}
}

static void text_body(struct json *json, const char *utf8, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)utf8[i];

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		json_raw(json, utf8 + from, i - from);
		escape(json, c);
		from = i + 1;
	}
	json_raw(json, utf8 + from, len - from);
}

void json_text(struct json *json, const char *utf8, size_t len)
{
	json_lit(json, "\"");
	text_body(json, utf8, len);
	json_lit(json, "\"");
}

void json_text_cut(struct json *json, const char *utf8, size_t len, size_t max)
{
	size_t head, tail;
	char note[64];

	if (len <= max) {
		json_text(json, utf8, len);
		return;
	}
	/* Continuation bytes are 10xxxxxx: step back, and forward, to a character's first
	 * byte. */
	for (head = max / 2; head > 0 && ((unsigned char)utf8[head] & 0xc0) == 0x80;
	     head--)
		;
	for (tail = len - max / 2;
	     tail < len && ((unsigned char)utf8[tail] & 0xc0) == 0x80; tail++)
		;
	(void)snprintf(note, sizeof(note), "\n[... %zu bytes left out ...]\n",
		       tail - head);
	json_lit(json, "\"");
	text_body(json, utf8, head);
	text_body(json, note, strlen(note));
	text_body(json, utf8 + tail, len - tail);
	json_lit(json, "\"");
}

void json_long(struct json *json, long long number)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", number);
	json_lit(json, text);
}

void json_base64(struct json *json, const void *data, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = data;
	char *out;

	/* len / 3 * 4 cannot overflow: max is far below SIZE_MAX / 4, and this test comes
	 * first */
	if (!json->error && len > json->max)
		json->error = EMSGSIZE;
	out = reserve(json, (len + 2) / 3 * 4 + 2);
	if (!out)
		return;
	json->len += (len + 2) / 3 * 4 + 2;
	*out++ = '"';
	for (; len >= 3; len -= 3, in += 3) {
		*out++ = digits[in[0] >> 2];
		*out++ = digits[(in[0] & 3) << 4 | in[1] >> 4];
		*out++ = digits[(in[1] & 15) << 2 | in[2] >> 6];
		*out++ = digits[in[2] & 63];
	}
	if (len) {
		unsigned char second = len == 2 ? in[1] : 0;

		*out++ = digits[in[0] >> 2];
		*out++ = digits[(in[0] & 3) << 4 | second >> 4];
		*out++ = len == 2 ? digits[(second & 15) << 2] : '=';
		*out++ = '=';
	}
	*out = '"';
}
