/* SPDX-License-Identifier: MIT
 * Purpose: what a question's filter says, and columns as JSON (question.h).
 * Process: the engine, in a question's thread. Trusts: no type and no length. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/question.h"

/* ---- filters ---- */

int filter_known(struct question *question, const char *const *keys)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)question->filter, key, value)
	{
		size_t i;

		for (i = 0; keys[i] && strcmp(keys[i], key) != 0; i++)
			;
		if (!keys[i])
			return err_set(question->err, SBX_AT_USAGE, 0,
				       "the filter \"%.60s\" is not known here", key);
	}
	return 0;
}

int filter_text(struct question *question, const char *key, size_t max, const char **ret)
{
	const json_t *value = json_object_get(question->filter, key);
	size_t len = json_string_length(value);

	*ret = NULL;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value) || len > max || len == 0 ||
	    strlen(json_string_value(value)) != len)
		return err_set(question->err, SBX_AT_USAGE, 0,
			       "\"%s\" wants a text of 1 to %zu bytes without NUL", key,
			       max);
	*ret = json_string_value(value);
	return 0;
}

int filter_number(struct question *question, const char *key, int64_t least, int64_t most,
		  int64_t *ret, bool *ret_given)
{
	const json_t *value = json_object_get(question->filter, key);

	*ret_given = value && !json_is_null(value);
	if (!*ret_given)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < least ||
	    json_integer_value(value) > most)
		return err_set(question->err, SBX_AT_USAGE, 0,
			       "\"%s\" wants a whole number from %lld to %lld", key,
			       (long long)least, (long long)most);
	*ret = json_integer_value(value);
	return 0;
}

int filter_flag(struct question *question, const char *key, bool *ret)
{
	const json_t *value = json_object_get(question->filter, key);

	*ret = json_is_true(value);
	if (!value || json_is_null(value) || json_is_boolean(value))
		return 0;
	return err_set(question->err, SBX_AT_USAGE, 0, "\"%s\" wants true or false", key);
}

/* ---- columns ---- */

/* The length of the valid character at s, 0: there is none. jansson judges what it is given
 * as a whole only. */
static size_t character(const unsigned char *s, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80   ? 1
		   : s[0] < 0xc2 ? 0
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
		   : s[0] < 0xf5 ? 4
				 : 0;
	uint32_t c = n < 2 ? s[0] : s[0] & (0xffu >> (n + 1));

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

json_t *text_json(const char *text, size_t len)
{
	json_t *value = json_stringn(text, len);
	struct buf out = { 0 };
	size_t at = 0;
	int r;

	if (value)
		return value;
	r = buf_add(&out, "", 0);
	while (r == 0 && at < len) {
		size_t n = character((const unsigned char *)text + at, len - at);

		r = n ? buf_add(&out, text + at, n) : buf_add(&out, "\xef\xbf\xbd", 3);
		at += n ? n : 1;
	}
	value = r == 0 ? json_stringn_nocheck(out.data, out.len) : NULL;
	buf_free(&out);
	return value;
}

json_t *column_text(sqlite3_stmt *statement, int column, size_t max)
{
	/* As bytes: the type that the column has may be another than the schema's. */
	const char *text = sqlite3_column_blob(statement, column);
	size_t len = (size_t)sqlite3_column_bytes(statement, column);

	if (sqlite3_column_type(statement, column) == SQLITE_NULL)
		return json_null();
	if (len > max) {
		len = max;
		/* Not in the middle of a character. */
		while (len > 0 && len > max - 4 &&
		       ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
	}
	return text_json(text ? text : "", len);
}

json_t *column_number(sqlite3_stmt *statement, int column)
{
	return sqlite3_column_type(statement, column) == SQLITE_INTEGER
		       ? json_integer(sqlite3_column_int64(statement, column))
		       : json_null();
}

json_t *time_json(int64_t at_us)
{
	time_t seconds = (time_t)(at_us / 1000000);
	struct tm parts;
	char text[64];
	size_t n;

	if (at_us < 0 || !gmtime_r(&seconds, &parts) || parts.tm_year > 8099)
		return json_null();
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	(void)snprintf(text + n, sizeof(text) - n, ".%06dZ", (int)(at_us % 1000000));
	return json_string(text);
}
