/* SPDX-License-Identifier: MIT
 * Purpose: masks secrets in what is recorded (redact.h).
 * Process: the engine, threads of the journal. Trusts: the operator's patterns to be well meant;
 *   the texts are hostile.
 * Invariants: the work is bounded by text times patterns times REDACT_RUN_MAX: no pattern can be
 *   made slow by a text. That is why it is no regular expression. */
#include "journal/redact.h"

#include <errno.h>
#include <stdbool.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "journal/journal.h"

#define PARTS_MAX (REDACT_STARS_MAX + 1)

struct pattern {
	char *text;                   /* owns what parts point to */
	const char *parts[PARTS_MAX]; /* between the stars */
	size_t lens[PARTS_MAX], count;
};

struct redact {
	size_t count;
	struct pattern patterns[];
};

static int parse(struct pattern *pattern, const char *text, struct sbx_err *err)
{
	const char *at;

	if (strlen(text) > REDACT_PATTERN_MAX || strcspn(text, "*") < REDACT_PATTERN_MIN)
		return err_set(
			err, SBX_AT_JOURNAL, EINVAL,
			"redact: a pattern has %u to %u characters, %u of them before "
			"the first *",
			REDACT_PATTERN_MIN, REDACT_PATTERN_MAX, REDACT_PATTERN_MIN);
	pattern->text = strdup(text);
	if (!pattern->text)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "redact");
	for (at = pattern->text;; at++) {
		size_t len = strcspn(at, "*");

		if (pattern->count == PARTS_MAX)
			return err_set(err, SBX_AT_JOURNAL, EINVAL,
				       "redact: a pattern has at most %u stars",
				       PARTS_MAX - 1);
		pattern->parts[pattern->count] = at;
		pattern->lens[pattern->count++] = len;
		at += len;
		if (!*at)
			return 0;
	}
}

int redact_new(const char *const *patterns, size_t count, struct redact **ret,
	       struct sbx_err *err)
{
	struct redact *redact;
	int r = 0;

	*ret = NULL;
	if (count == 0)
		return 0;
	if (count > JOURNAL_REDACT_MAX)
		return err_set(err, SBX_AT_JOURNAL, EINVAL,
			       "redact: more than %u patterns", JOURNAL_REDACT_MAX);
	redact = calloc(1, sizeof(*redact) + count * sizeof(redact->patterns[0]));
	if (!redact)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "redact");
	for (; r == 0 && redact->count < count; redact->count++)
		r = parse(&redact->patterns[redact->count], patterns[redact->count], err);
	if (r < 0)
		redact_free(&redact);
	*ret = redact;
	return r;
}

void redact_free(struct redact **r)
{
	struct redact *redact = *r;

	*r = NULL;
	if (!redact)
		return;
	for (size_t i = 0; i < redact->count; i++) {
		if (redact->patterns[i].text)
			sodium_memzero(redact->patterns[i].text,
				       strlen(redact->patterns[i].text));
		free(redact->patterns[i].text);
	}
	free(redact);
}

static bool is_run(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("_-.+/=", c));
}

/* The length of a match at the beginning of text, 0: none. */
static size_t match(const struct pattern *pattern, const char *text, size_t len)
{
	size_t at = pattern->lens[0];

	if (len < at || memcmp(text, pattern->parts[0], at) != 0)
		return 0;
	for (size_t i = 1; i < pattern->count; i++) {
		size_t run = 0, need = pattern->lens[i];

		while (run < REDACT_RUN_MAX && at + run < len && is_run(text[at + run]))
			run++;
		/* The longest run that the next part follows. */
		while (need > 0 &&
		       (len - at - run < need ||
			memcmp(text + at + run, pattern->parts[i], need) != 0))
			if (run-- == 0)
				return 0;
		at += run + need;
	}
	return at;
}

int redact_text(const struct redact *redact, const char *text, size_t len,
		struct buf *ret)
{
	size_t from = 0, at = 0;
	int r = 0;

	while (redact && r == 0 && at < len) {
		size_t longest = 0;

		for (size_t i = 0; i < redact->count; i++) {
			size_t found = text[at] == redact->patterns[i].parts[0][0]
					       ? match(&redact->patterns[i], text + at,
						       len - at)
					       : 0;

			longest = found > longest ? found : longest;
		}
		if (longest == 0) {
			at++;
			continue;
		}
		if (at > from)
			r = buf_add(ret, text + from, at - from);
		if (r == 0)
			r = buf_add(ret, REDACT_MASK, sizeof(REDACT_MASK) - 1);
		at += longest;
		from = at;
	}
	return r == 0 && len > from ? buf_add(ret, text + from, len - from) : r;
}

static json_t *redact_string(const struct redact *redact, const char *text, size_t len)
{
	_cleanup_buf_ struct buf out = { 0 };

	if (redact_text(redact, text, len, &out) < 0)
		return NULL;
	/* A pattern that ends inside a character would leave its rest. */
	return json_stringn(out.data ? out.data : "", out.len)
		       ?: json_string(REDACT_MASK);
}

static json_t *redact_object(const struct redact *redact, json_t *value)
{
	json_t *copy = json_object(), *item;
	const char *key;

	json_object_foreach(value, key, item)
	{
		_cleanup_buf_ struct buf name = { 0 };

		if (redact_text(redact, key, strlen(key), &name) < 0 ||
		    json_object_set_new(copy, name.data ? name.data : "",
					redact_json(redact, item)) < 0) {
			json_decref(copy);
			return NULL;
		}
	}
	return copy;
}

json_t *redact_json(const struct redact *redact, json_t *value)
{
	json_t *copy, *item;
	size_t i;

	if (!redact)
		return json_incref(value);
	if (json_is_string(value))
		return redact_string(redact, json_string_value(value),
				     json_string_length(value));
	if (json_is_object(value))
		return redact_object(redact, value);
	if (!json_is_array(value))
		return json_incref(value);
	copy = json_array();
	json_array_foreach(
		value, i,
		item) if (json_array_append_new(copy, redact_json(redact, item)) < 0)
	{
		json_decref(copy);
		return NULL;
	}
	return copy;
}
