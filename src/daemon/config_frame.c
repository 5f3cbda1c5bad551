/* SPDX-License-Identifier: MIT
 * Purpose: what the command hands over (DOOR_CONFIG) into one configuration, and how two of
 *   them differ (config.h).
 * Process: the engine. Trusts: the command made the door; each part is bounded and checked
 *   all the same.
 * Invariants: no secret gets into a message. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "daemon/config_internal.h"

static bool is_secret(const json_t *value)
{
	const char *text = json_string_value(value);

	if (!config_is_text(value, CONFIG_SECRET_MAX) || strlen(text) < CONFIG_SECRET_MIN)
		return false;
	for (; *text; text++)
		if (*text <= 0x20 || *text >= 0x7f)
			return false;
	return true;
}

/* One that no file named is the option's, the operator's own. */
static struct config_token *token_named(struct config *config, const char *name)
{
	struct config_token *grown;

	for (size_t i = 0; i < config->token_count; i++)
		if (strcmp(config->tokens[i].name, name) == 0)
			return &config->tokens[i];
	grown = reallocarray(config->tokens, config->token_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	config->tokens = grown;
	grown[config->token_count] = (struct config_token){ .name = strdup(name),
							    .owner = true };
	if (!grown[config->token_count].name)
		return NULL;
	return &grown[config->token_count++];
}

static int take_tokens(struct config *config, const json_t *list, struct sbx_err *err)
{
	json_t *item;
	size_t i;

	if (list && (!json_is_array(list) || json_array_size(list) > CONFIG_TOKENS_MAX))
		return config_wrong("tokens", "a list of at most 64", list, NULL, err);
	json_array_foreach((json_t *)list, i, item)
	{
		const json_t *name = json_object_get(item, "name"),
			     *secret = json_object_get(item, "token");
		struct config_token *token;

		if (!config_is_name(name) || !is_secret(secret))
			return err_set_field(
				err, SBX_AT_USAGE, EINVAL, "tokens",
				"tokens: a token has %u to %u printable characters",
				CONFIG_SECRET_MIN, CONFIG_SECRET_MAX);
		token = token_named(config, json_string_value(name));
		if (!token)
			return config_no_memory(err);
		config_secret_free(&token->secret);
		token->secret = strdup(json_string_value(secret));
		if (!token->secret)
			return config_no_memory(err);
	}
	for (i = 0; i < config->token_count; i++)
		if (!config->tokens[i].secret)
			return err_set_field(err, SBX_AT_USAGE, EINVAL, "tokens",
					     "tokens: \"%s\" came without its secret",
					     config->tokens[i].name);
	return 0;
}

static int take_listener(struct config *config, const json_t *item, struct sbx_err *err)
{
	static const char *const kinds[] = {
		[CONFIG_UNIX] = "unix", [CONFIG_TCP] = "tcp", [CONFIG_DOOR] = "door"
	};
	struct config_listener *listener = &config->listeners[config->listener_count];
	const char *kind = json_string_value(json_object_get(item, "kind"));
	const char *door = json_string_value(json_object_get(item, "door"));
	const char *host = json_string_value(json_object_get(item, "host"));
	json_int_t fd = json_integer_value(json_object_get(item, "fd"));
	size_t i;

	for (i = 0; kind && i < 3 && strcmp(kind, kinds[i]) != 0; i++)
		;
	if (!kind || i == 3 || fd < ROLE_LISTENERS_FD ||
	    fd >= ROLE_LISTENERS_FD + ROLE_LISTENERS_MAX ||
	    (door && strlen(door) >= sizeof(listener->door)) ||
	    (host && strlen(host) >= sizeof(listener->host)) ||
	    (i == CONFIG_DOOR && !door))
		return err_set_field(err, SBX_AT_USAGE, EINVAL, "listeners",
				     "listeners: malformed");
	listener->fd = (int)fd;
	listener->kind = (enum config_listener_kind)i;
	listener->open = json_is_true(json_object_get(item, "open"));
	listener->tls = json_is_true(json_object_get(item, "tls"));
	if (door)
		strcpy(listener->door, door);
	if (host)
		strcpy(listener->host, host);
	config->listener_count++;
	return 0;
}

static int take_listeners(struct config *config, const json_t *list, struct sbx_err *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (list && (!json_is_array(list) || json_array_size(list) > ROLE_LISTENERS_MAX))
		return config_wrong("listeners", "a list of at most 32", list, NULL, err);
	json_array_foreach((json_t *)list, i, item)
	{
		if (r == 0)
			r = take_listener(config, item, err);
	}
	return r;
}

static int take_tls(struct config *config, const json_t *tls, struct sbx_err *err)
{
	const json_t *certificate = json_object_get(tls, "certificate"),
		     *key = json_object_get(tls, "key");

	if (!tls || json_is_null(tls))
		return 0;
	if (!config_is_text(certificate, 1u << 20) || !config_is_text(key, 1u << 16))
		return err_set_field(err, SBX_AT_USAGE, EINVAL, "tls",
				     "tls: certificate and key in PEM are expected");
	if (config_replace(&config->certificate, json_string_value(certificate), err) < 0)
		return -ENOMEM;
	return config_replace(&config->key, json_string_value(key), err);
}

static int take_frame(struct config *config, const json_t *frame, struct sbx_err *err)
{
	static const char *const known[] = { "file", "options",       "tokens",
					     "tls",  "journal_error", "listeners",
					     NULL };
	const json_t *file = json_object_get(frame, "file"),
		     *why = json_object_get(frame, "journal_error"),
		     *options = json_object_get(frame, "options");
	int r;

	r = config_check_keys("configuration", frame, known, NULL, err);
	if (r == 0 && json_is_string(file))
		r = config_set_document(config, json_string_value(file),
					json_string_length(file), err);
	if (r == 0 && options && !json_is_null(options))
		r = config_set_object(config, options, NULL, err);
	if (r == 0)
		r = take_tokens(config, json_object_get(frame, "tokens"), err);
	if (r == 0 && why && !json_is_null(why))
		r = config_is_text(why, 1024)
			    ? config_replace(&config->journal_error,
					     json_string_value(why), err)
			    : err_set(err, SBX_AT_USAGE, EINVAL, "journal_error: a text");
	if (r == 0)
		r = take_tls(config, json_object_get(frame, "tls"), err);
	if (r == 0)
		r = take_listeners(config, json_object_get(frame, "listeners"), err);
	return r < 0 ? r : config_check(config, err);
}

int config_from_frame(const char *data, size_t len, struct config *ret,
		      struct sbx_err *err)
{
	_cleanup_json_ json_t *frame = json_loadb(
		data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	struct config config;
	int r;

	if (!json_is_object(frame))
		return err_set(err, SBX_AT_USAGE, EINVAL,
			       "configuration: not a JSON object in UTF-8");
	config_init(&config);
	r = take_frame(&config, frame, err);
	if (r < 0) {
		config_clear(&config);
		return r;
	}
	config.set = true;
	*ret = config;
	return 0;
}

bool config_list_same(const struct policy_list *a, const struct policy_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

static bool doors_same(const struct config *a, const struct config *b)
{
	if (a->door_count != b->door_count)
		return false;
	for (size_t i = 0; i < a->door_count; i++)
		if (strcmp(a->doors[i].name, b->doors[i].name) != 0 ||
		    strcmp(a->doors[i].address, b->doors[i].address) != 0 ||
		    a->doors[i].open != b->doors[i].open)
			return false;
	return true;
}

/* Of the keys that take a restart. */
static bool field_same(const struct config_field *field, const struct config *a,
		       const struct config *b)
{
	const void *left = (const char *)a + field->offset,
		   *right = (const char *)b + field->offset;

	switch (field->type) {
	case CONFIG_INT:
		return *(const int64_t *)left == *(const int64_t *)right;
	case CONFIG_BOOL:
		return *(const bool *)left == *(const bool *)right;
	case CONFIG_STRING:
		return strcmp(*(char *const *)left, *(char *const *)right) == 0;
	case CONFIG_CHOICE:
		return *(const int *)left == *(const int *)right;
	case CONFIG_LIST:
		return config_list_same(left, right);
	case CONFIG_PARTS: /* doors: the only such that takes a restart */
		return doors_same(a, b);
	case CONFIG_POLICY:
		break;
	}
	return true;
}

char *config_restart_keys(const struct config *now, const struct config *next)
{
	_cleanup_buf_ struct buf keys = { 0 };
	char *text;

	for (size_t i = 0; i < config_field_count; i++)
		if (config_fields[i].restart &&
		    !field_same(&config_fields[i], now, next) &&
		    buf_addf(&keys, "%s%s", keys.len ? ", " : "", config_fields[i].name) <
			    0)
			return NULL;
	if (!keys.data)
		return strdup("");
	text = keys.data;
	keys = (struct buf){ 0 };
	return text;
}

/* ---- the plan ---- */

static json_t *list_json(const struct policy_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		if (json_array_append_new(array, json_string(list->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *tokens_json(const struct config *config)
{
	json_t *array = json_array();

	for (size_t i = 0; i < config->token_count; i++)
		if (json_array_append_new(array, json_pack("{s:s,s:s}", "name",
							   config->tokens[i].name, "file",
							   config->tokens[i].file)) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *doors_json(const struct config *config)
{
	json_t *array = json_array();

	for (size_t i = 0; i < config->door_count; i++)
		if (json_array_append_new(array,
					  json_pack("{s:s,s:s,s:b}", "name",
						    config->doors[i].name, "address",
						    config->doors[i].address, "open",
						    config->doors[i].open)) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

/* Interpreters that others than the starter may not be able to read. */
static json_t *pythons_json(const struct config *config)
{
	json_t *array = json_array();
	int r = 0;

	if (*config->defaults.python)
		r = json_array_append_new(array, json_string(config->defaults.python));
	for (size_t i = 0; i < config->template_count && r == 0; i++)
		if (*config->templates[i].python)
			r = json_array_append_new(
				array, json_string(config->templates[i].python));
	if (r < 0) {
		json_decref(array);
		return NULL;
	}
	return array;
}

json_t *config_plan(const struct config *config)
{
	return json_pack(
		"{s:o, s:s, s:s, s:{s:s, s:s}, s:o, s:{s:b, s:s, s:s, s:o}, s:o, s:o, s:o}",
		"listen", list_json(&config->listen), "socket", config->socket,
		"socket_group", config->socket_group, "tls", "certificate",
		config->tls_certificate, "key", config->tls_key, "tokens",
		tokens_json(config), "journal", "off", config->journal_off, "dir",
		config->journal_dir, "key", config->journal_key, "forward",
		list_json(&config->journal_forward), "grantable",
		list_json(&config->grantable_directories), "pythons",
		pythons_json(config), "doors", doors_json(config));
}
