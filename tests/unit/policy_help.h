/* SPDX-License-Identifier: MIT
 * What the tests of the policy share. */
#ifndef SBX_TESTS_POLICY_HELP_H
#define SBX_TESTS_POLICY_HELP_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/policy.h"

static inline void has(const char *msg, const char *part)
{
	if (!strstr(msg, part))
		fail_msg("expected \"%s\" in \"%s\"", part, msg);
}

static inline struct sbx_policy fresh(void)
{
	struct sbx_policy policy;

	policy_init(&policy);
	return policy;
}

static inline char *dump(const struct sbx_policy *policy)
{
	json_t *json = policy_to_json(policy);
	char *text;

	assert_non_null(json);
	text = json_dumps(json, JSON_COMPACT);
	assert_non_null(text);
	json_decref(json);
	return text;
}

static inline void assert_same(const struct sbx_policy *a, const struct sbx_policy *b)
{
	char *left = dump(a), *right = dump(b);

	assert_string_equal(left, right);
	free(left);
	free(right);
}

static inline int document(struct sbx_policy *policy, const char *text,
			   struct sbx_err *err)
{
	return policy_set_document(policy, text, strlen(text), err);
}

/* The document is refused with such a message, and nothing of it was set. */
static inline void refused_len(const char *text, size_t len, const char *part)
{
	struct sbx_policy policy = fresh(), defaults = fresh();
	struct sbx_err err = { 0 };
	int r = policy_set_document(&policy, text, len, &err);

	if (r >= 0)
		fail_msg("accepted: %.200s", text);
	assert_int_equal(err.stage, SBX_AT_POLICY);
	has(err.msg, part);
	assert_same(&policy, &defaults);
	policy_clear(&policy);
	policy_clear(&defaults);
}

static inline void refused(const char *text, const char *part)
{
	refused_len(text, strlen(text), part);
}

static inline void accepted(const char *text)
{
	struct sbx_policy policy = fresh();
	struct sbx_err err = { 0 };

	if (document(&policy, text, &err) < 0 || policy_check(&policy, &err) < 0)
		fail_msg("refused: %s: %s", text, err.msg);
	policy_clear(&policy);
}

#endif
