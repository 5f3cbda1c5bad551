/* SPDX-License-Identifier: MIT
 * Masks secrets in what is recorded. Any thread. */
#ifndef SBX_JOURNAL_REDACT_H
#define SBX_JOURNAL_REDACT_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "sbx.h"

struct redact;

#define REDACT_PATTERN_MAX 256u
#define REDACT_PATTERN_MIN 4u /* shorter ones would eat every text */
#define REDACT_STARS_MAX 3u
#define REDACT_RUN_MAX 256u
#define REDACT_MASK "***"

/* A pattern is a text to be found as it is, in which "*" stands for up to REDACT_RUN_MAX
 * characters of A-Z a-z 0-9 _ - . + / = (as many as there are). *ret is NULL without patterns,
 * which all functions take. */
int redact_new(const char *const *patterns, size_t count, struct redact **ret,
	       struct sbx_err *err);
void redact_free(struct redact **redact);
/* Appends the text with what matches replaced. 0, -ENOMEM. */
int redact_text(const struct redact *redact, const char *text, size_t len,
		struct buf *ret);
/* The same for every string and key of a tree. New reference; NULL: no memory. */
json_t *redact_json(const struct redact *redact, json_t *value);

#endif
