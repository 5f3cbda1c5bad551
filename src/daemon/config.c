/* SPDX-License-Identifier: MIT
 * Purpose: sandbox.yaml, options and what the command brings along into one checked struct
 *   (config.h), and what a caller may ask for under it.
 * Process: the engine; a child of the command without rights; `sandbox policy check`.
 * Trusts: nothing in a file. The frame comes from the command, which made the door.
 * Invariants: a configuration is made and checked aside and then put in place; a key that
 *   is not in the table is refused by its name; no secret gets into a message. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "daemon/config_internal.h"

#define ITEM_MAX 4096u /* bytes of one item of a list */
#define NAME_MAX_ 31u  /* of a token, a template, a door */

int config_no_memory(struct sbx_err *err)
{
	return err_set(err, SBX_AT_ENGINE, ENOMEM, "configuration");
}

static char *dup_or_abort(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		abort();
	return copy;
}

static void list_free(struct policy_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct policy_list){ 0 };
}

static void *at_of(struct config *config, const struct config_field *field)
{
	return (char *)config + field->offset;
}

void config_init(struct config *config)
{
	*config = (struct config){ .admission_queue = 1024,
				   .sessions_max = 1024,
				   .sessions_idle_timeout = 3600,
				   .journal_keep_days = 90,
				   .journal_keep_mb = 2048,
				   .log_level = 2 };
	for (size_t i = 0; i < config_field_count; i++)
		if (config_fields[i].type == CONFIG_STRING)
			*(char **)at_of(config, &config_fields[i]) = dup_or_abort("");
	policy_init(&config->defaults);
	policy_widest(&config->ceilings);
}

void config_secret_free(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}

static void tokens_free(struct config *config)
{
	for (size_t i = 0; i < config->token_count; i++) {
		struct config_token *token = &config->tokens[i];

		if (token->ceilings)
			policy_clear(token->ceilings);
		free(token->ceilings);
		free(token->name);
		free(token->file);
		config_secret_free(&token->secret);
	}
	free(config->tokens);
	config->tokens = NULL;
	config->token_count = 0;
}

static void templates_free(struct config *config)
{
	for (size_t i = 0; i < config->template_count; i++) {
		free(config->templates[i].name);
		free(config->templates[i].python);
		list_free(&config->templates[i].preload);
	}
	free(config->templates);
	config->templates = NULL;
	config->template_count = 0;
}

static void doors_free(struct config *config)
{
	for (size_t i = 0; i < config->door_count; i++) {
		free(config->doors[i].name);
		free(config->doors[i].address);
	}
	free(config->doors);
	config->doors = NULL;
	config->door_count = 0;
}

void config_clear(struct config *config)
{
	for (size_t i = 0; i < config_field_count; i++) {
		const struct config_field *field = &config_fields[i];

		if (field->type == CONFIG_STRING)
			free(*(char **)at_of(config, field));
		else if (field->type == CONFIG_LIST)
			list_free(at_of(config, field));
		else if (field->type == CONFIG_POLICY)
			policy_clear(at_of(config, field));
	}
	tokens_free(config);
	templates_free(config);
	doors_free(config);
	free(config->certificate);
	config_secret_free(&config->key);
	free(config->journal_error);
	*config = (struct config){ 0 };
}

/* ---- values ---- */

static const char *shown(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return "text";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		return "nothing";
	case JSON_ARRAY:
		return "a list";
	case JSON_OBJECT:
		return "a mapping";
	}
	return "something else";
}

int config_wrong(const char *name, const char *expected, const json_t *value,
		 const json_t *lines, struct sbx_err *err)
{
	(void)err_set_field(err, SBX_AT_USAGE, EINVAL, name, "%s: expected %s, got %s",
			    name, expected, shown(value));
	return policy_at_line(lines, err);
}

/* err holds why an item is wrong: says where it is. */
static int within(const char *name, const json_t *lines, struct sbx_err *err)
{
	struct sbx_err inner = *err;

	(void)err_set_field(err, (enum sbx_stage)inner.stage,
			    inner.stage <= SBX_AT_CEILING ? EINVAL : 0, name, "%s: %s",
			    name, inner.msg);
	return policy_at_line(lines, err);
}

/* A string as C has it: no NUL. */
bool config_is_text(const json_t *value, size_t max)
{
	return json_is_string(value) && json_string_length(value) <= max &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

int config_replace(char **at, const char *text, struct sbx_err *err)
{
	char *copy = strdup(text);

	if (!copy)
		return config_no_memory(err);
	free(*at);
	*at = copy;
	return 0;
}

static int set_text(char **at, const struct config_field *field, const json_t *value,
		    const json_t *lines, struct sbx_err *err)
{
	char expected[64];

	(void)snprintf(expected, sizeof(expected), "text of at most %.0f bytes",
		       field->max);
	if (!config_is_text(value, (size_t)field->max))
		return config_wrong(field->name, expected, value, lines, err);
	if (field->check && field->check(json_string_value(value), err) < 0)
		return within(field->name, lines, err);
	return config_replace(at, json_string_value(value), err);
}

static int list_add(struct policy_list *list, const char *item)
{
	char **grown = reallocarray(list->items, list->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->items = grown;
	grown[list->count] = strdup(item);
	if (!grown[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

static int set_list(struct policy_list *at, const struct config_field *field,
		    const json_t *value, const json_t *lines, struct sbx_err *err)
{
	struct policy_list list = { 0 };
	char expected[64];
	json_t *item;
	size_t i;
	int r = 0;

	(void)snprintf(expected, sizeof(expected), "a list of at most %.0f texts",
		       field->max);
	if (!json_is_array(value) || (double)json_array_size(value) > field->max)
		return config_wrong(field->name, expected, value, lines, err);
	json_array_foreach((json_t *)value, i, item)
	{
		const json_t *line = policy_lines_at(lines, i);

		if (!config_is_text(item, ITEM_MAX))
			r = config_wrong(field->name, "a list of texts", item,
					 line ? line : lines, err);
		else if (field->check && field->check(json_string_value(item), err) < 0)
			r = within(field->name, line ? line : lines, err);
		else if (list_add(&list, json_string_value(item)) < 0)
			r = config_no_memory(err);
		if (r < 0) {
			list_free(&list);
			return r;
		}
	}
	list_free(at);
	*at = list;
	return 0;
}

static int set_int(int64_t *at, const struct config_field *field, const json_t *value,
		   const json_t *lines, struct sbx_err *err)
{
	char expected[96];

	if (json_is_integer(value) && (double)json_integer_value(value) >= field->min &&
	    (double)json_integer_value(value) <= field->max) {
		*at = json_integer_value(value);
		return 0;
	}
	(void)snprintf(expected, sizeof(expected), "a whole number from %.0f to %.0f",
		       field->min, field->max);
	if (!json_is_integer(value))
		return config_wrong(field->name, expected, value, lines, err);
	(void)err_set_field(err, SBX_AT_USAGE, EINVAL, field->name,
			    "%s: expected %s, got %lld", field->name, expected,
			    (long long)json_integer_value(value));
	return policy_at_line(lines, err);
}

static int set_choice(int *at, const struct config_field *field, const json_t *value,
		      const json_t *lines, struct sbx_err *err)
{
	char expected[96] = "";

	for (int i = 0; field->choices[i]; i++)
		if (json_is_string(value) &&
		    strcmp(json_string_value(value), field->choices[i]) == 0) {
			*at = i;
			return 0;
		}
	for (int i = 0; field->choices[i]; i++) {
		size_t len = strlen(expected);

		(void)snprintf(expected + len, sizeof(expected) - len, "%s\"%s\"",
			       i ? ", " : "", field->choices[i]);
	}
	return config_wrong(field->name, expected, value, lines, err);
}

/* What a policy of the file comes to, over *at. */
static int set_policy(struct sbx_policy *at, const char *name, const json_t *value,
		      const json_t *lines, struct sbx_err *err)
{
	int r;

	if (!json_is_object(value))
		return config_wrong(name, "a mapping of fields of a policy", value, lines,
				    err);
	r = policy_set_lines(at, value, lines, err);
	if (r == 0)
		r = policy_check(at, err);
	return r < 0 ? policy_at_line(lines, err) : 0;
}

static int set_field(struct config *config, const struct config_field *field,
		     const json_t *value, const json_t *lines, struct sbx_err *err)
{
	void *at = at_of(config, field);

	switch (field->type) {
	case CONFIG_INT:
		return set_int(at, field, value, lines, err);
	case CONFIG_BOOL:
		if (!json_is_boolean(value))
			return config_wrong(field->name, "true or false", value, lines,
					    err);
		*(bool *)at = json_is_true(value);
		return 0;
	case CONFIG_STRING:
		return set_text(at, field, value, lines, err);
	case CONFIG_CHOICE:
		return set_choice(at, field, value, lines, err);
	case CONFIG_LIST:
		return set_list(at, field, value, lines, err);
	case CONFIG_POLICY:
		return set_policy(at, field->name, value, lines, err);
	case CONFIG_PARTS:
		return field->parse(config, value, lines, err);
	}
	return -EINVAL;
}

/* ---- parts of lists ---- */

bool config_is_name(const json_t *value)
{
	const char *text = json_string_value(value);

	return config_is_text(value, NAME_MAX_) && *text &&
	       text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789_-.")] == '\0';
}

static const char name_expected[] =
	"a name of at most 31 letters, digits, \"_\", \"-\" and \".\"";

/* An object with no other keys than these. */
int config_check_keys(const char *what, const json_t *object, const char *const *known,
		      const json_t *lines, struct sbx_err *err)
{
	const char *key;
	json_t *value;
	size_t i;

	if (!json_is_object(object))
		return config_wrong(what, "a mapping", object, lines, err);
	json_object_foreach((json_t *)object, key, value)
	{
		for (i = 0; known[i] && strcmp(known[i], key) != 0; i++)
			;
		if (!known[i]) {
			(void)err_set_field(err, SBX_AT_USAGE, EINVAL, what,
					    "%s: unknown key \"%.60s\"", what, key);
			return policy_at_line(policy_lines_in(lines, key), err);
		}
	}
	return 0;
}

static int token_ceilings(struct config_token *token, const json_t *value,
			  const json_t *lines, struct sbx_err *err)
{
	token->ceilings = calloc(1, sizeof(*token->ceilings));
	if (!token->ceilings)
		return config_no_memory(err);
	policy_widest(token->ceilings);
	return set_policy(token->ceilings, "tokens", value, lines, err);
}

static int parse_token(struct config *config, const json_t *value, const json_t *lines,
		       struct sbx_err *err)
{
	static const char *const known[] = { "name", "file", "owner", "ceilings", NULL };
	const json_t *name = json_object_get(value, "name"),
		     *file = json_object_get(value, "file"),
		     *owner = json_object_get(value, "owner"),
		     *ceilings = json_object_get(value, "ceilings");
	struct config_token *token = &config->tokens[config->token_count];
	int r;

	r = config_check_keys("tokens", value, known, lines, err);
	if (r < 0)
		return r;
	if (!name || !config_is_name(name))
		return config_wrong("tokens: name", name_expected, name ? name : value,
				    lines, err);
	if (!file || !config_is_text(file, ITEM_MAX) || json_string_value(file)[0] != '/')
		return config_wrong("tokens: file", "an absolute path",
				    file ? file : value, lines, err);
	if (owner && !json_is_boolean(owner))
		return config_wrong("tokens: owner", "true or false", owner, lines, err);
	for (size_t i = 0; i < config->token_count; i++)
		if (strcmp(config->tokens[i].name, json_string_value(name)) == 0) {
			(void)err_set_field(err, SBX_AT_USAGE, EINVAL, "tokens",
					    "tokens: \"%s\" is there twice",
					    json_string_value(name));
			return policy_at_line(lines, err);
		}
	config->token_count++;
	token->owner = json_is_true(owner);
	r = config_replace(&token->name, json_string_value(name), err);
	if (r == 0)
		r = config_replace(&token->file, json_string_value(file), err);
	if (r == 0 && ceilings)
		r = token_ceilings(token, ceilings, policy_lines_in(lines, "ceilings"),
				   err);
	return r;
}

int config_parse_tokens(struct config *config, const json_t *value, const json_t *lines,
			struct sbx_err *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (!json_is_array(value) || json_array_size(value) > CONFIG_TOKENS_MAX)
		return config_wrong("tokens", "a list of at most 64", value, lines, err);
	tokens_free(config);
	config->tokens = calloc(json_array_size(value) + 1, sizeof(*config->tokens));
	if (!config->tokens)
		return config_no_memory(err);
	json_array_foreach((json_t *)value, i, item)
	{
		if (r == 0)
			r = parse_token(config, item, policy_lines_at(lines, i), err);
	}
	return r;
}

static int parse_template(struct config *config, const char *name, const json_t *value,
			  const json_t *lines, struct sbx_err *err)
{
	static const char *const known[] = { "python", "preload", NULL };
	struct config_template *template = &config->templates[config->template_count];
	_cleanup_json_ json_t *key = json_string(name);
	struct sbx_policy policy;
	int r;

	r = config_check_keys("templates", value, known, lines, err);
	if (r < 0)
		return r;
	if (!key || !config_is_name(key)) {
		(void)err_set_field(err, SBX_AT_USAGE, EINVAL, "templates",
				    "templates: expected %s, got \"%.60s\"",
				    name_expected, name);
		return policy_at_line(lines, err);
	}
	/* The policy's own rows judge both. */
	policy_init(&policy);
	r = set_policy(&policy, "templates", value, lines, err);
	if (r == 0) {
		config->template_count++;
		r = config_replace(&template->name, name, err);
	}
	if (r == 0)
		r = config_replace(&template->python, policy.python, err);
	for (size_t i = 0; r == 0 && i < policy.preload.count; i++)
		if (list_add(&template->preload, policy.preload.items[i]) < 0)
			r = config_no_memory(err);
	policy_clear(&policy);
	return r;
}

int config_parse_templates(struct config *config, const json_t *value,
			   const json_t *lines, struct sbx_err *err)
{
	const char *name;
	json_t *item;
	int r = 0;

	if (!json_is_object(value) || json_object_size(value) > CONFIG_TEMPLATES_MAX)
		return config_wrong("templates", "a mapping of at most 14", value, lines,
				    err);
	templates_free(config);
	config->templates = calloc(json_object_size(value) + 1,
				   sizeof(*config->templates));
	if (!config->templates)
		return config_no_memory(err);
	json_object_foreach((json_t *)value, name, item)
	{
		if (r == 0)
			r = parse_template(config, name, item,
					   policy_lines_in(lines, name), err);
	}
	return r;
}

static int parse_door(struct config *config, const json_t *value, const json_t *lines,
		      struct sbx_err *err)
{
	static const char *const known[] = { "name", "address", "open", NULL };
	const json_t *name = json_object_get(value, "name"),
		     *address = json_object_get(value, "address"),
		     *open = json_object_get(value, "open");
	struct config_door *door = &config->doors[config->door_count];
	struct config_address parsed;
	int r;

	r = config_check_keys("doors", value, known, lines, err);
	if (r < 0)
		return r;
	if (!name || !config_is_name(name))
		return config_wrong("doors: name", name_expected, name ? name : value,
				    lines, err);
	if (!address || !config_is_text(address, 100) ||
	    config_address(json_string_value(address), &parsed) < 0)
		return config_wrong("doors: address", "ADDRESS:PORT",
				    address ? address : value, lines, err);
	if (open && !json_is_boolean(open))
		return config_wrong("doors: open", "true or false", open, lines, err);
	config->door_count++;
	door->open = json_is_true(open);
	r = config_replace(&door->name, json_string_value(name), err);
	return r < 0 ? r
		     : config_replace(&door->address, json_string_value(address), err);
}

int config_parse_doors(struct config *config, const json_t *value, const json_t *lines,
		       struct sbx_err *err)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (!json_is_array(value) || json_array_size(value) > CONFIG_DOORS_MAX)
		return config_wrong("doors", "a list of at most 8", value, lines, err);
	doors_free(config);
	config->doors = calloc(json_array_size(value) + 1, sizeof(*config->doors));
	if (!config->doors)
		return config_no_memory(err);
	json_array_foreach((json_t *)value, i, item)
	{
		if (r == 0)
			r = parse_door(config, item, policy_lines_at(lines, i), err);
	}
	return r;
}

/* ---- the whole ---- */

static const char *key_name(size_t i)
{
	return i < config_field_count ? config_fields[i].name : NULL;
}

static const struct config_field *find(const char *name)
{
	for (size_t i = 0; i < config_field_count; i++)
		if (strcmp(config_fields[i].name, name) == 0)
			return &config_fields[i];
	return NULL;
}

static bool is_section(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < config_field_count; i++)
		if (strncmp(config_fields[i].name, name, len) == 0 &&
		    config_fields[i].name[len] == '.')
			return true;
	return false;
}

static int unknown(const char *name, const json_t *lines, struct sbx_err *err)
{
	const char *near = policy_nearest(name, key_name);

	(void)err_set_field(
		err, SBX_AT_USAGE, EINVAL, name, "unknown key \"%.80s\"%s%s%s", name,
		near ? ": did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return policy_at_line(lines, err);
}

static int set_keys(struct config *config, const char *section, const json_t *object,
		    const json_t *lines, struct sbx_err *err);

/* A mapping, or whether there is one at all. */
static int set_journal(struct config *config, const json_t *value, const json_t *lines,
		       struct sbx_err *err)
{
	if (!json_is_boolean(value) && !json_is_object(value))
		return config_wrong("journal", "a mapping, true or false", value, lines,
				    err);
	config->journal_off = json_is_false(value);
	return json_is_object(value) ? set_keys(config, "journal", value, lines, err) : 0;
}

/* section: NULL at the top. */
static int set_keys(struct config *config, const char *section, const json_t *object,
		    const json_t *lines, struct sbx_err *err)
{
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)object, key, value)
	{
		const json_t *line = policy_lines_in(lines, key);
		const struct config_field *field;
		char name[320];

		(void)snprintf(name, sizeof(name), "%s%s%.255s", section ? section : "",
			       section ? "." : "", key);
		/* A dotted key at the top would be a second way to write one. */
		field = section || !strchr(key, '.') ? find(name) : NULL;
		if (field)
			r = set_field(config, field, value, line, err);
		else if (section || !is_section(key))
			r = unknown(name, line, err);
		else if (strcmp(key, "journal") == 0 && !json_is_null(value))
			r = set_journal(config, value, line, err);
		else if (json_is_object(value))
			r = set_keys(config, key, value, line, err);
		else if (!json_is_null(value))
			r = config_wrong(key, "a mapping", value, line, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int config_set_object(struct config *config, const json_t *object, const json_t *lines,
		      struct sbx_err *err)
{
	if (!json_is_object(object))
		return config_wrong("sandbox.yaml", "a mapping of keys", object, lines,
				    err);
	return set_keys(config, NULL, object, lines, err);
}

int config_set_document(struct config *config, const char *text, size_t len,
			struct sbx_err *err)
{
	_cleanup_json_ json_t *object = NULL, *lines = NULL;
	int r;

	r = policy_document(text, len, &object, &lines, err);
	if (r < 0 || json_is_null(object))
		return r;
	return config_set_object(config, object, lines, err);
}

int config_check(const struct config *config, struct sbx_err *err)
{
	if (!*config->tls_certificate != !*config->tls_key)
		return err_set_field(err, SBX_AT_USAGE, EINVAL, "tls",
				     "tls: certificate and key go together");
	if (config->journal_required && config->journal_off)
		return err_set_field(err, SBX_AT_USAGE, EINVAL, "journal.required",
				     "journal.required: there is to be no journal");
	/* A request that asks for nothing must not be refused. */
	if (policy_within(&config->defaults, &config->ceilings, err) < 0)
		return within("defaults", NULL, err);
	return 0;
}

bool config_looks_like(const json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		if (strcmp(key, "preset") == 0 || policy_field_find(key))
			return false;
		if (find(key) || is_section(key))
			return true;
	}
	return false;
}

int config_set_template(const struct config *config, const char *name,
			struct sbx_policy *policy)
{
	const struct config_template *template = NULL;
	_cleanup_json_ json_t *preload = json_array();
	int r;

	for (size_t i = 0; i < config->template_count; i++)
		if (strcmp(config->templates[i].name, name) == 0)
			template = &config->templates[i];
	if (!template)
		return -ENOENT;
	for (size_t i = 0; i < template->preload.count; i++)
		if (json_array_append_new(preload,
					  json_string(template->preload.items[i])) < 0)
			return -ENOMEM;
	r = config_replace(&policy->python, template->python, NULL);
	return r < 0 ? r : policy_set_json(policy, "preload", preload, NULL);
}
