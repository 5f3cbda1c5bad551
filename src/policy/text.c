/* SPDX-License-Identifier: MIT
 * Purpose: text of users within our own messages and documents: UTF-8, quoting, and the
 * nearest known name.
 * Process: engine and command; any thread.
 * Trusts: nothing; every text may be hostile, of any length, and need not be UTF-8.
 * Invariants: what comes out is printable UTF-8 on one line. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/internal.h"

int32_t policy_utf8_next(const char **text)
{
	static const int32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)*text;
	int more = p[0] < 0x80             ? 0
		   : (p[0] & 0xe0) == 0xc0 ? 1
		   : (p[0] & 0xf0) == 0xe0 ? 2
					   : 3;
	int32_t c = more == 0 ? p[0] : p[0] & (0x3f >> more);

	*text += 1;
	if (more == 3 && (p[0] & 0xf8) != 0xf0)
		return -1;
	for (int i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80) /* the closing NUL too */
			return -1;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return -1;
	*text += more;
	return c;
}

bool policy_utf8_valid(const char *text)
{
	while (*text)
		if (policy_utf8_next(&text) < 0)
			return false;
	return true;
}

bool policy_codepoint_shown(int32_t c)
{
	static const struct {
		int32_t first, last;
	} hidden[] = {
		{ INT32_MIN, 0x1f },    { 0x7f, 0xa0 },     { 0xad, 0xad },
		{ 0x61c, 0x61c },       { 0x115f, 0x1160 }, { 0x17b4, 0x17b5 },
		{ 0x180b, 0x180f },     { 0x2000, 0x200f }, /* spaces, joiners, direction marks */
		{ 0x2028, 0x202f }, /* line separators, embeddings and overrides */
		{ 0x205f, 0x206f },     { 0x3000, 0x3000 }, { 0x3164, 0x3164 },
		{ 0xd800, 0xf8ff },     { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff },
		{ 0xffa0, 0xffa0 },     { 0xfff0, 0xffff }, { 0x1fffe, 0x1ffff },
		{ 0xe0000, INT32_MAX },
	};

	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
		if (c >= hidden[i].first && c <= hidden[i].last)
			return false;
	return true;
}

/* One code point as it may stand between quotes. raw: the byte that was not UTF-8, where
 * c is -1. */
static int escape(int32_t c, unsigned char raw, char ret[12])
{
	if (c < 0)
		return snprintf(ret, 12, "\\x%02x", raw);
	if (c == '"' || c == '\\')
		return snprintf(ret, 12, "\\%c", (char)c);
	if (c == '\n' || c == '\t' || c == '\r')
		return snprintf(ret, 12, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
	if (c > 0xffff)
		return snprintf(ret, 12, "\\U%08x", (unsigned)c);
	return snprintf(ret, 12, "\\u%04x", (unsigned)c);
}

int policy_quote(struct buf *b, const char *text)
{
	int r = buf_add(b, "\"", 1);

	while (r >= 0 && *text) {
		const char *at = text;
		int32_t c = policy_utf8_next(&text);
		char escaped[12];

		if (policy_codepoint_shown(c) && c != '"' && c != '\\')
			r = buf_add(b, at, (size_t)(text - at));
		else
			r = buf_add(b, escaped,
				    (size_t)escape(c, (unsigned char)*at, escaped));
	}
	return r < 0 ? r : buf_add(b, "\"", 1);
}

/* As much of text as fits with "..." behind it; quoted or not. */
static void shown(const char *text, bool quoted, char *ret, size_t size)
{
	size_t len = 0, room = size - (quoted ? 6 : 4); /* two quotes, three dots, NUL */

	if (quoted)
		ret[len++] = '"';
	while (*text) {
		const char *at = text;
		int32_t c = policy_utf8_next(&text);
		char piece[12];
		size_t n;

		if (policy_codepoint_shown(c) && !(quoted && (c == '"' || c == '\\'))) {
			n = (size_t)(text - at);
			memcpy(piece, at, n);
		} else {
			n = (size_t)escape(c, (unsigned char)*at, piece);
		}
		if (len + n > room) {
			memcpy(ret + len, "...", 3);
			len += 3;
			break;
		}
		memcpy(ret + len, piece, n);
		len += n;
	}
	if (quoted)
		ret[len++] = '"';
	ret[len] = '\0';
}

const char *policy_shown(const char *text, char ret[POLICY_SHOWN])
{
	shown(text, true, ret, POLICY_SHOWN);
	return ret;
}

const char *policy_shown_plain(const char *text, char *ret, size_t size)
{
	shown(text, false, ret, size);
	return ret;
}

#define NEAREST_MAX 48

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edits from one to the other: insertions, deletions, substitutions and swaps of
 * neighbours. Both are shorter than NEAREST_MAX. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][NEAREST_MAX + 1], *before = rows[0], *last = rows[1],
					 *now = rows[2];
	size_t len_a = strlen(a), len_b = strlen(b);

	for (size_t j = 0; j <= len_b; j++)
		last[j] = j;
	for (size_t i = 1; i <= len_a; i++) {
		size_t *reuse = before;

		now[0] = i;
		for (size_t j = 1; j <= len_b; j++) {
			now[j] = min3(last[j] + 1, now[j - 1] + 1,
				      last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
		before = last;
		last = now;
		now = reuse;
	}
	return last[len_b];
}

/* The user's name in the spelling of ours: max-memory-MB is max_memory_mb. */
static void fold(const char *name, char ret[NEAREST_MAX])
{
	size_t i;

	for (i = 0; name[i]; i++)
		ret[i] = name[i] == '-' || name[i] == ' '   ? '_'
			 : name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a')
							    : name[i];
	ret[i] = '\0';
}

const char *policy_nearest(const char *name, const char *(*fn)(size_t i))
{
	size_t len = strnlen(name, NEAREST_MAX), best = SIZE_MAX;
	const char *known, *found = NULL;
	char folded[NEAREST_MAX];

	if (len == 0 || len >= NEAREST_MAX)
		return NULL;
	fold(name, folded);
	for (size_t i = 0; (known = fn(i)); i++) {
		size_t d;

		if (strlen(known) >= NEAREST_MAX)
			continue;
		d = distance(folded, known);
		/* a third of it may be wrong; or it is a good part of the name, as
		 * "memory" */
		if (d > (len + 2) / 3 && !(len >= 4 && strstr(known, folded)))
			continue;
		if (d < best) {
			best = d;
			found = known;
		}
	}
	return found;
}
