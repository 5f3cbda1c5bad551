/* SPDX-License-Identifier: MIT
 * Purpose: a request's JSON into a checked policy and a program (request.h).
 * Process: the engine. Trusts: nothing in it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "daemon/request.h"
#include "zygote/messages.h"

#define SETTINGS_MAX 256u

enum key {
	CODE,
	FILENAME,
	PRESET,
	POLICY,
	SETTINGS,
	CWD,
	STDIN,
	STDIN_OPEN,
	FILES,
	FILE_CONTENTS,
	TIMEOUT,
	/* HTTP only from here */
	TEMPLATE,
	SESSION,
	DETACH,
	KEYS
};

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
	[FILES] = { "files",
		    "an object of names and texts, or of names and {\"base64\": text}" },
	[FILE_CONTENTS] = { "file_contents", "true or false" },
	[TIMEOUT] = { "timeout", "a number of seconds, more than 0" },
	[TEMPLATE] = { "template", "the name of a template" },
	[SESSION] = { "session", "the id of a session" },
	[DETACH] = { "detach", "true or false" },
};

static int wrong(enum key key, struct sbx_err *err)
{
	return err_set_field(err, SBX_AT_USAGE, 0, keys[key].name,
			     "request: \"%s\" has to be %s", keys[key].name,
			     keys[key].expected);
}

static bool is_text(const json_t *value)
{
	/* C strings are made of it. */
	return json_is_string(value) &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

static int find_keys(json_t *object, size_t known, const json_t *found[KEYS],
		     struct sbx_err *err)
{
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach(object, name, value)
	{
		for (i = 0; i < known; i++)
			if (strcmp(name, keys[i].name) == 0)
				break;
		if (i == known)
			return err_set_field(err, SBX_AT_USAGE, 0, name,
					     "request: unknown key \"%.64s\"", name);
		found[i] = json_is_null(value) ? NULL : value;
	}
	return 0;
}

static bool covered(const struct policy_field *field, const struct policy_list *ceiling,
		    const char *item)
{
	for (size_t i = 0; i < ceiling->count; i++)
		if (field->covers ? field->covers(ceiling->items[i], item)
				  : strcmp(ceiling->items[i], item) == 0)
			return true;
	return false;
}

static void lower_number(const struct policy_field *field, double *value, double ceiling)
{
	bool none = field->zero_is_none && *value == 0,
	     no_ceiling = field->zero_is_none && ceiling == 0;

	if (!no_ceiling && (none || *value > ceiling))
		*value = ceiling;
}

/* All fields with a ceiling grow more permissive as they grow (table.c). */
static void lower_to(struct sbx_policy *policy, const struct sbx_policy *ceilings)
{
	for (size_t i = 0; i < policy_field_count; i++) {
		const struct policy_field *field = &policy_fields[i];
		void *at = (char *)policy + field->offset;
		const void *most = (const char *)ceilings + field->offset;
		struct policy_list *list = at;
		size_t kept = 0;

		if (field->ignored || field->permissive <= 0)
			continue;
		switch (field->type) {
		case POLICY_INT:
			if (*(int64_t *)at > *(const int64_t *)most)
				*(int64_t *)at = *(const int64_t *)most;
			break;
		case POLICY_NUMBER:
			lower_number(field, at, *(const double *)most);
			break;
		case POLICY_BOOL:
			*(bool *)at = *(bool *)at && *(const bool *)most;
			break;
		case POLICY_CHOICE:
			if (*(int *)at > *(const int *)most)
				*(int *)at = *(const int *)most;
			break;
		case POLICY_LIST:
			for (size_t j = 0; j < list->count; j++)
				if (covered(field, most, list->items[j]))
					list->items[kept++] = list->items[j];
				else
					free(list->items[j]);
			list->count = kept;
			break;
		case POLICY_STRING:
		case POLICY_MAP:
			break;
		}
	}
}

/* What the fields of a request are put over. */
static int set_base(struct sbx_policy *policy, const struct request_rules *rules,
		    const json_t *const found[KEYS], struct sbx_err *err)
{
	int r = 0;

	if (found[PRESET]) {
		if (!is_text(found[PRESET]))
			return wrong(PRESET, err);
		r = policy_preset(policy, json_string_value(found[PRESET]), err);
	} else if (rules && rules->defaults) {
		policy_clear(policy);
		if (policy_copy(policy, rules->defaults) < 0)
			r = err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	}
	for (size_t i = 0; i < 2; i++)
		if (r == 0 && rules && rules->ceilings[i] && !found[PRESET])
			lower_to(policy, rules->ceilings[i]);
	if (r < 0 || !found[TEMPLATE])
		return r;
	if (!is_text(found[TEMPLATE]))
		return wrong(TEMPLATE, err);
	if (!rules->template ||
	    rules->template(rules->arg, json_string_value(found[TEMPLATE]), policy) < 0)
		return err_set_field(err, SBX_AT_USAGE, 0, "template",
				     "there is no template \"%.64s\"",
				     json_string_value(found[TEMPLATE]));
	return 0;
}

static int set_policy(struct sbx_policy *policy, const struct request_rules *rules,
		      const json_t *const found[KEYS], struct sbx_err *err)
{
	const json_t *pair;
	size_t i;
	int r = set_base(policy, rules, found, err);

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

/* ---- files ---- */

/* A plain relative path, which reads as one on a terminal. */
static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= FILES_NAME_MAX)
		return false;
	for (const char *at = name; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			return false;
	for (const char *at = name;; at++) {
		size_t part = strcspn(at, "/");

		if (part == 0 || part > 255 || (part == 1 && at[0] == '.') ||
		    (part == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += part;
		if (!*at)
			return true;
	}
}

static int letter(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, padded, nothing else in it. malloc'ed; NULL: it is not that, or there is no
 * memory. */
static char *from_base64(const char *text, size_t len, size_t *ret_len)
{
	size_t pad = 0, at = 0;
	char *out;

	if (len % 4 != 0)
		return NULL;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	out = malloc(len / 4 * 3 + 1);
	for (size_t i = 0; out && i < len; i += 4) {
		uint32_t bits = 0;

		for (size_t j = 0; j < 4; j++) {
			int value = i + j < len - pad ? letter(text[i + j]) : 0;

			if (value < 0) {
				free(out);
				return NULL;
			}
			bits = bits << 6 | (uint32_t)value;
		}
		out[at++] = (char)(bits >> 16);
		out[at++] = (char)(bits >> 8);
		out[at++] = (char)bits;
	}
	if (out)
		*ret_len = at - pad;
	return out;
}

static int parse_file(struct request *ret, const char *name, const json_t *value,
		      struct sbx_err *err)
{
	struct execution_request *x = &ret->execution;
	struct execution_file *file = &ret->files[x->file_count];
	const json_t *coded = json_object_get(value, "base64");

	if (!name_ok(name))
		return err_set_field(
			err, SBX_AT_USAGE, 0, "files",
			"files: \"%.100s\" is no plain relative path of at most %u bytes",
			name, FILES_NAME_MAX - 1);
	file->name = name;
	if (json_is_string(value)) {
		file->data = json_string_value(value);
		file->len = json_string_length(value);
	} else if (json_is_string(coded) && json_object_size(value) == 1) {
		ret->decoded[x->file_count] = from_base64(
			json_string_value(coded), json_string_length(coded), &file->len);
		file->data = ret->decoded[x->file_count];
		if (!file->data)
			return err_set_field(err, SBX_AT_USAGE, 0, "files",
					     "files: \"%.100s\" is not base64", name);
	} else {
		return wrong(FILES, err);
	}
	x->file_count++;
	return 0;
}

static int parse_files(struct request *ret, json_t *object, struct sbx_err *err)
{
	size_t count = json_object_size(object);
	const char *name;
	json_t *value;
	int r = 0;

	if (!json_is_object(object))
		return wrong(FILES, err);
	if (count > FILES_MAX)
		return err_set_field(err, SBX_AT_USAGE, 0, "files",
				     "files: at most %u of them", FILES_MAX);
	ret->files = calloc(count + 1, sizeof(*ret->files));
	ret->decoded = calloc(count + 1, sizeof(*ret->decoded));
	if (!ret->files || !ret->decoded)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	ret->execution.files = ret->files;
	json_object_foreach(object, name, value)
	{
		r = parse_file(ret, name, value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* How it is to be run, beside the policy. */
static int parse_manner(struct request *ret, const json_t *const found[KEYS],
			struct sbx_err *err)
{
	static const enum key others[] = { PRESET, POLICY, SETTINGS, CWD, TEMPLATE };

	if (found[DETACH] && !json_is_boolean(found[DETACH]))
		return wrong(DETACH, err);
	ret->detach = json_is_true(found[DETACH]);
	if (found[TIMEOUT]) {
		ret->timeout_s = json_number_value(found[TIMEOUT]);
		if (!json_is_number(found[TIMEOUT]) || !(ret->timeout_s >= 0.001))
			return wrong(TIMEOUT, err);
	}
	if (!found[SESSION])
		return 0;
	if (!is_text(found[SESSION]))
		return wrong(SESSION, err);
	ret->session = json_string_value(found[SESSION]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (found[others[i]])
			return err_set_field(err, SBX_AT_USAGE, 0, keys[others[i]].name,
					     "request: \"%s\" is the session's already",
					     keys[others[i]].name);
	return 0;
}

static int parse(struct request *ret, const struct request_rules *rules,
		 const json_t *const found[KEYS], struct sbx_err *err)
{
	struct execution_request *x = &ret->execution;
	int r;

	if (!json_is_string(found[CODE]))
		return err_set_field(err, SBX_AT_USAGE, 0, keys[CODE].name,
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
	x->preset = json_string_value(found[PRESET]);
	x->template = json_string_value(found[TEMPLATE]);
	x->cwd = json_string_value(found[CWD]);
	x->stdin_data = json_string_value(found[STDIN]);
	x->stdin_len = json_string_length(found[STDIN]);
	x->stdin_open = json_is_true(found[STDIN_OPEN]);
	x->peer_fd = -1;
	if (found[FILE_CONTENTS] && !json_is_boolean(found[FILE_CONTENTS]))
		return wrong(FILE_CONTENTS, err);
	ret->file_contents = json_is_true(found[FILE_CONTENTS]);
	r = parse_manner(ret, found, err);
	if (r == 0 && found[FILES])
		r = parse_files(ret, (json_t *)(uintptr_t)found[FILES], err);
	if (r == 0)
		r = set_policy(&ret->policy, rules, found, err);
	if (r == 0 && ret->timeout_s > 0 && !ret->session &&
	    ret->timeout_s < ret->policy.max_execution_time)
		ret->policy.max_execution_time = ret->timeout_s;
	return r;
}

int request_parse(json_t *object, const struct request_rules *rules, struct request *ret,
		  struct sbx_err *err)
{
	const json_t *found[KEYS] = { NULL };
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!json_is_object(object))
		return err_set(err, SBX_AT_USAGE, 0,
			       "request: a JSON object is expected");
	policy_init(&ret->policy);
	ret->object = json_incref(object);
	r = find_keys(object, rules ? KEYS : TEMPLATE, found, err);
	if (r == 0)
		r = parse(ret, rules, found, err);
	if (r < 0)
		request_clear(ret);
	return r;
}

void request_clear(struct request *request)
{
	if (!request->object)
		return;
	for (size_t i = 0; request->decoded && i < request->execution.file_count + 1; i++)
		free(request->decoded[i]);
	free(request->decoded);
	free(request->files);
	policy_clear(&request->policy);
	json_decref(request->object);
	memset(request, 0, sizeof(*request));
}
