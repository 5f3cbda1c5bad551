/* SPDX-License-Identifier: MIT
 * Purpose: a request's JSON into a checked policy and a program (request.h).
 * Process: the engine. Trusts: nothing in it. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "daemon/request.h"

#define SETTINGS_MAX 256u

enum key { CODE, FILENAME, PRESET, POLICY, SETTINGS, CWD, STDIN, STDIN_OPEN, KEYS };

static const struct {
	const char *name;
	const char *expected;
} keys[KEYS] = {
	[CODE] = { "code", "a string" },
	[FILENAME] = { "filename", "a string" },
	[PRESET] = { "preset", "a string" },
	[POLICY] = { "policy", "an object of fields, or the text of a policy file" },
	[SETTINGS] = { "settings", "a list of [field, text] pairs" },
	[CWD] = { "cwd", "an absolute path" },
	[STDIN] = { "stdin", "a string" },
	[STDIN_OPEN] = { "stdin_open", "true or false" },
};

static int wrong(enum key key, struct sbx_err *err)
{
	return err_set(err, SBX_AT_USAGE, 0, "request: \"%s\" has to be %s",
		       keys[key].name, keys[key].expected);
}

static bool is_text(const json_t *value)
{
	/* C strings are made of it. */
	return json_is_string(value) &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

static int find_keys(json_t *object, const json_t *found[KEYS], struct sbx_err *err)
{
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach(object, name, value)
	{
		for (i = 0; i < KEYS; i++)
			if (strcmp(name, keys[i].name) == 0)
				break;
		if (i == KEYS)
			return err_set(err, SBX_AT_USAGE, 0,
				       "request: unknown key \"%.64s\"", name);
		found[i] = json_is_null(value) ? NULL : value;
	}
	return 0;
}

static int set_policy(struct sbx_policy *policy, const json_t *const found[KEYS],
		      struct sbx_err *err)
{
	const json_t *pair;
	size_t i;
	int r = 0;

	if (found[PRESET]) {
		if (!is_text(found[PRESET]))
			return wrong(PRESET, err);
		r = policy_preset(policy, json_string_value(found[PRESET]), err);
	}
	if (r == 0 && json_is_object(found[POLICY]))
		r = policy_set_object(policy, found[POLICY], err);
	else if (r == 0 && json_is_string(found[POLICY]))
		r = policy_set_document(policy, json_string_value(found[POLICY]),
					json_string_length(found[POLICY]), err);
	else if (r == 0 && found[POLICY])
		return wrong(POLICY, err);
	if (r == 0 && found[SETTINGS] &&
	    (!json_is_array(found[SETTINGS]) ||
	     json_array_size(found[SETTINGS]) > SETTINGS_MAX))
		return wrong(SETTINGS, err);
	json_array_foreach(found[SETTINGS], i, pair)
	{
		const json_t *name = json_array_get(pair, 0),
			     *text = json_array_get(pair, 1);

		if (r < 0)
			break;
		if (json_array_size(pair) != 2 || !is_text(name) || !is_text(text))
			return wrong(SETTINGS, err);
		r = policy_set_text(policy, json_string_value(name),
				    json_string_value(text), err);
	}
	return r < 0 ? r : policy_check(policy, err);
}

static int parse(struct request *ret, const json_t *const found[KEYS],
		 struct sbx_err *err)
{
	struct execution_request *x = &ret->execution;

	if (!json_is_string(found[CODE]))
		return err_set(err, SBX_AT_USAGE, 0,
			       "request: \"code\" is missing or no string");
	if (found[FILENAME] && !is_text(found[FILENAME]))
		return wrong(FILENAME, err);
	if (found[CWD] &&
	    (!is_text(found[CWD]) || json_string_value(found[CWD])[0] != '/' ||
	     json_string_length(found[CWD]) >= 4096))
		return wrong(CWD, err);
	if (found[STDIN] && !json_is_string(found[STDIN]))
		return wrong(STDIN, err);
	if (found[STDIN_OPEN] && !json_is_boolean(found[STDIN_OPEN]))
		return wrong(STDIN_OPEN, err);
	x->policy = &ret->policy;
	x->code = json_string_value(found[CODE]);
	x->code_len = json_string_length(found[CODE]);
	x->filename = json_string_value(found[FILENAME]);
	x->cwd = json_string_value(found[CWD]);
	x->stdin_data = json_string_value(found[STDIN]);
	x->stdin_len = json_string_length(found[STDIN]);
	x->stdin_open = json_is_true(found[STDIN_OPEN]);
	x->peer_fd = -1;
	return set_policy(&ret->policy, found, err);
}

int request_parse(json_t *object, struct request *ret, struct sbx_err *err)
{
	const json_t *found[KEYS] = { NULL };
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!json_is_object(object))
		return err_set(err, SBX_AT_USAGE, 0,
			       "request: a JSON object is expected");
	policy_init(&ret->policy);
	ret->object = json_incref(object);
	r = find_keys(object, found, err);
	if (r == 0)
		r = parse(ret, found, err);
	if (r < 0)
		request_clear(ret);
	return r;
}

void request_clear(struct request *request)
{
	if (!request->object)
		return;
	policy_clear(&request->policy);
	json_decref(request->object);
	memset(request, 0, sizeof(*request));
}
