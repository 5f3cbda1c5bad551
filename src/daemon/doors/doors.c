/* SPDX-License-Identifier: MIT
 * Purpose: what the doors for other programs' clients share (doors.h).
 * Process: the engine. Trusts: results that the engine made; nothing of a request. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "daemon/api.h"
#include "daemon/doors/doors.h"

#define TABLES_MAX 32u

static const struct route_table *const first[] = { &door_first, NULL };
static const struct route_table *const e2b[] = { &door_e2b, NULL };
static const struct route_table *const fusion[] = { &door_fusion, NULL };
static const struct route_table *const snekbox[] = { &door_snekbox, NULL };

static const struct route_table *const *const doors[] = { first, e2b, fusion, snekbox };

const struct route_table *const *doors_of(const char *name)
{
	for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
		if (strcmp(doors[i][0]->door, name) == 0)
			return doors[i];
	return NULL;
}

const char *doors_names(void)
{
	return "first, e2b, sandboxfusion, snekbox";
}

const struct route_table *const *doors_all(void)
{
	static const struct route_table *all[TABLES_MAX];
	size_t count = 0;

	for (size_t i = 0; api_tables[i] && count < TABLES_MAX - 5; i++)
		all[count++] = api_tables[i];
	for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
		all[count++] = doors[i][0];
	all[count] = NULL;
	return all;
}

int doors_request(struct exchange *ex, const char *preset, json_t *object,
		  struct request *ret, struct sbx_err *err)
{
	struct sbx_policy policy;
	int r = object ? 0 : err_set(err, SBX_AT_ENGINE, ENOMEM, "request");

	policy_init(&policy);
	if (r == 0)
		r = policy_preset(&policy, preset, err);
	if (r == 0)
		r = api_request_over(ex, object, &policy, ret, err);
	policy_clear(&policy);
	json_decref(object);
	return r;
}

const char *doors_status(const json_t *result)
{
	const char *status = json_string_value(json_object_get(result, "status"));

	return status ? status : "fault";
}

/* Of SystemExit: a number, or a text that Python prints before it exits with 1. */
static int exit_status(const char *value)
{
	char *end;
	long number = strtol(value, &end, 10);

	return *value && !*end ? (int)(number & 0xff) : 1;
}

int doors_exit_status(const json_t *result)
{
	static const struct {
		const char *status;
		int exit;
	} statuses[] = { { "ok", 0 },    { "timeout", 137 }, { "memory", 137 },
			 { "cpu", 137 }, { "output", 143 },  { "processes", 1 },
			 { "disk", 1 },  { "denied", 1 } };
	const json_t *error = json_object_get(result, "error");
	const char *name = json_string_value(json_object_get(error, "name")),
		   *value = json_string_value(json_object_get(error, "value"));

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (strcmp(doors_status(result), statuses[i].status) == 0)
			return statuses[i].exit;
	if (strcmp(doors_status(result), "error") != 0)
		return -1;
	if (name && value && strcmp(name, "Signal") == 0)
		return 128 + (int)(strtol(value, NULL, 10) & 0x7f);
	if (name && value && strcmp(name, "SystemExit") == 0)
		return exit_status(value);
	return 1;
}

json_t *doors_error_text(const json_t *result)
{
	const json_t *error = json_object_get(result, "error");
	const char *name = json_string_value(json_object_get(error, "name")),
		   *value = json_string_value(json_object_get(error, "value"));

	return json_sprintf("%s%s%s", name ? name : "", value && *value ? ": " : "",
			    value ? value : "");
}

json_t *doors_refusal_text(const struct sbx_err *err)
{
	struct sbx_err clean = *err;

	err_sanitize(&clean);
	return json_sprintf("%s: %s", err_kind(err->stage)->name, clean.msg);
}

json_t *doors_base64(const void *data, size_t len)
{
	size_t size = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
	char *text = malloc(size);
	json_t *made = NULL;

	if (text &&
	    sodium_bin2base64(text, size, data, len, sodium_base64_VARIANT_ORIGINAL))
		made = json_stringn_nocheck(text, size - 1);
	free(text);
	return made;
}

void doors_text(struct exchange *ex, int status, const char *text)
{
	char *copy = strdup(text);

	exchange_text(ex, status, "text/plain; charset=utf-8", copy,
		      copy ? strlen(copy) : 0);
}

const char *doors_path(const json_t *path)
{
	const char *text = json_string_value(path);

	if (!text || strlen(text) != json_string_length(path))
		return NULL;
	while (text[0] == '.' && text[1] == '/')
		text += 2;
	/* request_parse() judges each again, with its own words. */
	for (const char *at = text;; at++) {
		size_t part = strcspn(at, "/");

		if (part == 0 || part > 255 || (part == 1 && at[0] == '.') ||
		    (part == 2 && at[0] == '.' && at[1] == '.'))
			return NULL;
		at += part;
		if (!*at)
			return text;
	}
}
