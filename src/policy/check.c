/* SPDX-License-Identifier: MIT
 * Purpose: whether a policy holds together, and whether one lies within another.
 * Process: engine and command; any thread.
 * Trusts: nothing; a struct may have been filled by hand.
 * Invariants: every field of the table is judged by its row; a field that is not
 * understood is refused. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "policy/internal.h"

const char *policy_range(const struct policy_field *field, char ret[96])
{
	bool unit = *field->unit != '\0';

	snprintf(ret, 96, "%s%s from %.15g to %.15g%s%s%s",
		 field->zero_is_none ? "0 (none) or " : "",
		 field->type == POLICY_INT ? "a whole number" : "a number", field->min,
		 field->max, unit ? " (" : "", field->unit, unit ? ")" : "");
	return ret;
}

int policy_check_number(const struct policy_field *field, double value, const char *shown,
			struct sbx_err *err)
{
	char range[96];

	/* a NaN fails every comparison */
	if ((field->zero_is_none && value == 0) ||
	    (value >= field->min && value <= field->max &&
	     (field->type != POLICY_INT || value == trunc(value))))
		return 0;
	return err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
			     "%s: expected %s, got %s", field->name,
			     policy_range(field, range), shown);
}

int policy_check_count(const struct policy_field *field, size_t count,
		       struct sbx_err *err)
{
	if ((double)count <= field->max)
		return 0;
	return err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
			     "%s: expected at most %.15g items, got %zu", field->name,
			     field->max, count);
}

int policy_check_string(const struct policy_field *field, const char *text,
			struct sbx_err *err)
{
	if ((double)strlen(text) > field->max)
		return err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
				     "%s: expected text of at most %.15g bytes, got %zu",
				     field->name, field->max, strlen(text));
	return field->check ? field->check(text, err) : 0;
}

static int check_list(const struct policy_field *field, const struct policy_list *list,
		      struct sbx_err *err)
{
	int r = policy_check_count(field, list->count, err);

	for (size_t i = 0; i < list->count && r == 0; i++)
		if (field->check)
			r = field->check(list->items[i], err);
	return r;
}

/* The value of one field by its row. */
static int check_field(const struct policy_field *field, const void *at,
		       struct sbx_err *err)
{
	char shown[32];
	int choice, i;

	switch (field->type) {
	case POLICY_INT:
		snprintf(shown, sizeof(shown), "%lld", (long long)*(const int64_t *)at);
		return policy_check_number(field, (double)*(const int64_t *)at, shown,
					   err);
	case POLICY_NUMBER:
		snprintf(shown, sizeof(shown), "%.15g", *(const double *)at);
		return policy_check_number(field, *(const double *)at, shown, err);
	case POLICY_BOOL:
		return 0;
	case POLICY_STRING:
		return policy_check_string(
			field, *(char *const *)at ? *(char *const *)at : "", err);
	case POLICY_LIST:
	case POLICY_MAP:
		return check_list(field, at, err);
	case POLICY_CHOICE:
		choice = *(const int *)at;
		for (i = 0; field->choices[i]; i++)
			if (i == choice)
				return 0;
		break;
	}
	return err_set_field(err, SBX_AT_POLICY, EINVAL, field->name,
			     "%s: expected one of its choices", field->name);
}

/* One directory, once: two modes for it would leave open which counts. */
static int check_directories(const struct policy_list *list, struct sbx_err *err)
{
	char left[POLICY_SHOWN], right[POLICY_SHOWN];
	struct policy_grant a, b;

	for (size_t i = 0; i < list->count; i++) {
		if (policy_grant_parse(list->items[i], &a, err) < 0)
			return -EINVAL;
		for (size_t j = 0; j < i; j++) {
			if (policy_grant_parse(list->items[j], &b, err) < 0)
				return -EINVAL;
			if (policy_path_within(a.path, b.path) &&
			    policy_path_within(b.path, a.path))
				return err_set_field(
					err, SBX_AT_POLICY, EINVAL, "allowed_directories",
					"allowed_directories: %s and %s are the same directory",
					policy_shown(list->items[j], left),
					policy_shown(list->items[i], right));
		}
	}
	return 0;
}

static size_t list_bytes(const struct policy_list *list)
{
	size_t sum = 0;

	for (size_t i = 0; i < list->count; i++)
		sum += strlen(list->items[i]) + 1;
	return sum;
}

/* What an interpreter reads only when it starts would be without any effect on the
 * program, which runs in a fork of one that is started already. Interpreters that it
 * starts itself do read it. */
static int check_environment(const struct sbx_policy *policy, struct sbx_err *err)
{
	static const char *const at_start[] = { "PYTHONPATH", "PYTHONHOME",
						"PYTHONHASHSEED", "PYTHONSTARTUP" };
	const struct policy_list *list = &policy->environment;

	for (size_t i = 0; i < list->count && !policy->allow_subprocess; i++)
		for (size_t j = 0; j < sizeof(at_start) / sizeof(at_start[0]); j++)
			if (strcspn(list->items[i], "=") == strlen(at_start[j]) &&
			    strncmp(list->items[i], at_start[j], strlen(at_start[j])) ==
				    0)
				return err_set_field(
					err, SBX_AT_POLICY, EINVAL, "environment",
					"environment: %s would have no effect: the interpreter is started "
					"already, and without allow_subprocess there is no other",
					at_start[j]);
	/* a twentieth of the message that carries it to the worker, next to the code
	 * (WORKER_RUN_MAX) */
	if (list_bytes(list) > POLICY_ENVIRONMENT_BYTES)
		return err_set_field(
			err, SBX_AT_POLICY, EINVAL, "environment",
			"environment: expected at most %u bytes together, got %zu",
			POLICY_ENVIRONMENT_BYTES, list_bytes(list));
	return 0;
}

int policy_check(const struct sbx_policy *policy, struct sbx_err *err)
{
	int r = 0;

	for (size_t i = 0; i < policy_field_count && r == 0; i++)
		if (!policy_fields[i].ignored)
			r = check_field(&policy_fields[i],
					policy_at_const(policy, &policy_fields[i]), err);
	if (r == 0)
		r = check_directories(&policy->allowed_directories, err);
	if (r == 0)
		r = check_environment(policy, err);
	/* they travel with the interpreter's other arguments in one fixed-size message
	 * (JAILER_ZYGOTE) */
	if (r == 0 && list_bytes(&policy->preload) > POLICY_PRELOAD_BYTES)
		r = err_set_field(
			err, SBX_AT_POLICY, EINVAL, "preload",
			"preload: expected at most %u bytes of names together, got %zu",
			POLICY_PRELOAD_BYTES, list_bytes(&policy->preload));
	return r;
}

/* ---- ceilings ---- */

static int above(const struct policy_field *field, const char *asked, const char *ceiling,
		 struct sbx_err *err)
{
	return err_set_field(err, SBX_AT_CEILING, EPERM, field->name,
			     "%s: %s is more than the operator allows (%s)", field->name,
			     asked, ceiling);
}

static int within_number(const struct policy_field *field, double asked, double ceiling,
			 struct sbx_err *err)
{
	char left[64], right[64];

	if (field->zero_is_none && ceiling == 0)
		return 0;
	if (!(field->zero_is_none && asked == 0) &&
	    (field->permissive > 0 ? asked <= ceiling : asked >= ceiling))
		return 0;
	snprintf(left, sizeof(left), "%.15g%s", asked,
		 field->zero_is_none && asked == 0 ? " (none)" : "");
	snprintf(right, sizeof(right), "%.15g%s%s", ceiling, *field->unit ? " " : "",
		 field->unit);
	return above(field, left, right, err);
}

static int within_list(const struct policy_field *field, const struct policy_list *asked,
		       const struct policy_list *ceiling, struct sbx_err *err)
{
	for (size_t i = 0; i < asked->count; i++) {
		char left[POLICY_SHOWN], first[POLICY_SHOWN],
			right[POLICY_SHOWN + 32] = "nothing";
		bool covered = false;

		for (size_t j = 0; j < ceiling->count && !covered; j++)
			covered = field->covers ? field->covers(ceiling->items[j],
								asked->items[i])
						: strcmp(ceiling->items[j],
							 asked->items[i]) == 0;
		if (covered)
			continue;
		if (ceiling->count == 1)
			snprintf(right, sizeof(right), "%s",
				 policy_shown(ceiling->items[0], first));
		else if (ceiling->count > 1)
			snprintf(right, sizeof(right), "%s and %zu more",
				 policy_shown(ceiling->items[0], first),
				 ceiling->count - 1);
		return above(field, policy_shown(asked->items[i], left), right, err);
	}
	return 0;
}

static int within_field(const struct policy_field *field, const void *asked,
			const void *ceiling, struct sbx_err *err)
{
	int a, c;

	switch (field->type) {
	case POLICY_INT:
		return within_number(field, (double)*(const int64_t *)asked,
				     (double)*(const int64_t *)ceiling, err);
	case POLICY_NUMBER:
		return within_number(field, *(const double *)asked,
				     *(const double *)ceiling, err);
	case POLICY_BOOL:
		a = *(const bool *)asked;
		c = *(const bool *)ceiling;
		if (field->permissive > 0 ? a <= c : a >= c)
			return 0;
		return above(field, a ? "true" : "false", c ? "true" : "false", err);
	case POLICY_CHOICE:
		a = *(const int *)asked;
		c = *(const int *)ceiling;
		if (field->permissive > 0 ? a <= c : a >= c)
			return 0;
		return above(field, field->choices[a], field->choices[c], err);
	case POLICY_LIST:
	case POLICY_MAP:
		return within_list(field, asked, ceiling, err);
	case POLICY_STRING:
		if (strcmp(*(char *const *)asked, *(char *const *)ceiling) == 0)
			return 0;
		break;
	}
	return above(field, "the value", "another", err);
}

int policy_within(const struct sbx_policy *asked, const struct sbx_policy *ceiling,
		  struct sbx_err *err)
{
	for (size_t i = 0; i < policy_field_count; i++) {
		const struct policy_field *field = &policy_fields[i];
		int r;

		if (field->ignored || field->permissive == 0)
			continue;
		/* lists that nothing looks at: the defaults have some that a ceiling need
		 * not have */
		if (field->offset == offsetof(struct sbx_policy, allowed_hosts) &&
		    !asked->network_access)
			continue;
		if (field->offset == offsetof(struct sbx_policy, allowed_modules) &&
		    !asked->allow_imports)
			continue;
		r = within_field(field, policy_at_const(asked, field),
				 policy_at_const(ceiling, field), err);
		if (r < 0)
			return r;
	}
	return 0;
}

bool policy_module_allowed(const struct sbx_policy *policy, const char *module)
{
	for (size_t i = 0; i < policy->allowed_modules.count && policy->allow_imports;
	     i++)
		if (policy_covers_module(policy->allowed_modules.items[i], module))
			return true;
	return false;
}
