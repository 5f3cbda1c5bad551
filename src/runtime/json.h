/* SPDX-License-Identifier: MIT
 * A bounded JSON writer. Errors stick: after the first one nothing more is written, and
 * the caller looks at `error` once. */
#ifndef SBX_RUNTIME_JSON_H
#define SBX_RUNTIME_JSON_H

#include <stddef.h>

struct json {
	char *data;
	size_t len, cap;
	size_t max;
	int error; /* 0, ENOMEM or EMSGSIZE */
};

void json_free(struct json *json);
void json_raw(struct json *json, const char *text, size_t len);
void json_lit(struct json *json, const char *text);
/* Quoted. utf8 is valid UTF-8; controls are escaped, a NUL becomes the four characters
 * \x00 (no C reader can take it as U+0000). */
void json_text(struct json *json, const char *utf8, size_t len);
/* The same, at most max bytes of text: head and tail with a note of what is left out
 * between. */
void json_text_cut(struct json *json, const char *utf8, size_t len, size_t max);
void json_long(struct json *json, long long number);
void json_base64(struct json *json, const void *data, size_t len); /* quoted */

#endif
