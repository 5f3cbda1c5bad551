/* SPDX-License-Identifier: MIT
 * Purpose: who may (auth.h).
 * Process: the engine. Trusts: the configuration; nothing of a request.
 * Invariants: of a token only its keyed hash is kept; every token is compared, in constant
 *   time. What is not allowed by a list is refused. */
#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "daemon/auth.h"

#define SECRET_MIN 32u
#define SECRET_MAX 512u
#define NAME_MAX_BYTES 64u

struct token {
	char *name;
	unsigned char hash[32];
	bool owner, has_ceilings;
	struct sbx_policy ceilings;
};

struct auth {
	unsigned holds;
	uid_t server_uid;
	unsigned char key[32];
	struct token *tokens;
	size_t token_count;
	char **hosts, **origins;
	struct sbx_policy grantable; /* the widest but for its directories */
	struct sbx_policy defaults, ceilings;
	bool has_defaults, has_ceilings;
	struct http_template *templates;
	size_t template_count;
};

/* ---- life ---- */

static void list_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free((void *)list);
}

void auth_release(struct auth **auth_)
{
	struct auth *auth = *auth_;

	*auth_ = NULL;
	if (!auth || --auth->holds > 0)
		return;
	for (size_t i = 0; auth->tokens && i < auth->token_count; i++) {
		free(auth->tokens[i].name);
		policy_clear(&auth->tokens[i].ceilings);
	}
	free(auth->tokens);
	for (size_t i = 0; auth->templates && i < auth->template_count; i++) {
		struct http_template *t = &auth->templates[i];

		free((char *)(uintptr_t)t->name);
		free((char *)(uintptr_t)t->python);
		for (size_t j = 0; j < t->preload.count; j++)
			free(t->preload.items[j]);
		free((void *)t->preload.items);
	}
	free(auth->templates);
	list_free(auth->hosts);
	list_free(auth->origins);
	policy_clear(&auth->grantable);
	policy_clear(&auth->defaults);
	policy_clear(&auth->ceilings);
	sodium_memzero(auth, sizeof(*auth));
	free(auth);
}

struct auth *auth_hold(struct auth *auth)
{
	auth->holds++;
	return auth;
}

static int list_copy(const char *const *from, char ***ret)
{
	size_t count = 0;

	while (from && from[count])
		count++;
	*ret = calloc(count + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		(*ret)[i] = strdup(from[i]);
		if (!(*ret)[i])
			return -ENOMEM;
	}
	return 0;
}

static void hash(const struct auth *auth, const char *secret, unsigned char ret[32])
{
	(void)crypto_generichash(ret, 32, (const unsigned char *)secret, strlen(secret),
				 auth->key, sizeof(auth->key));
}

static int add_token(struct auth *auth, const struct http_token *from,
		     struct sbx_err *err)
{
	struct token *token = &auth->tokens[auth->token_count];
	size_t len = strlen(from->secret), name_len = strlen(from->name);

	for (size_t i = 0; i < name_len; i++)
		if (!isgraph((unsigned char)from->name[i]))
			name_len = 0;
	if (name_len < 1 || name_len > NAME_MAX_BYTES)
		return err_set(err, SBX_AT_USAGE, 0,
			       "a token's name has 1 to %u printable characters",
			       NAME_MAX_BYTES);
	if (len < SECRET_MIN || len > SECRET_MAX)
		return err_set(err, SBX_AT_USAGE, 0,
			       "token \"%s\": it has to have %u to %u characters",
			       from->name, SECRET_MIN, SECRET_MAX);
	hash(auth, from->secret, token->hash);
	for (size_t i = 0; i < auth->token_count; i++)
		if (strcmp(auth->tokens[i].name, from->name) == 0 ||
		    sodium_memcmp(auth->tokens[i].hash, token->hash, 32) == 0)
			return err_set(err, SBX_AT_USAGE, 0,
				       "token \"%s\": there are two of it", from->name);
	auth->token_count++;
	token->owner = from->owner;
	token->name = strdup(from->name);
	if (!token->name ||
	    (from->ceilings && policy_copy(&token->ceilings, from->ceilings) < 0))
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "tokens");
	token->has_ceilings = from->ceilings != NULL;
	return 0;
}

static int add_template(struct auth *auth, const struct http_template *from)
{
	struct http_template *to = &auth->templates[auth->template_count++];

	to->name = strdup(from->name);
	to->python = strdup(from->python ? from->python : "");
	to->preload.items = calloc(from->preload.count + 1, sizeof(*to->preload.items));
	if (!to->name || !to->python || !to->preload.items)
		return -ENOMEM;
	for (size_t i = 0; i < from->preload.count; i++, to->preload.count++) {
		to->preload.items[i] = strdup(from->preload.items[i]);
		if (!to->preload.items[i])
			return -ENOMEM;
	}
	return 0;
}

static int copy_options(struct auth *auth, const struct http_options *from,
			struct sbx_err *err)
{
	json_t *grantable = json_array();
	int r = 0;

	auth->tokens = calloc(from->token_count + 1, sizeof(*auth->tokens));
	auth->templates = calloc(from->template_count + 1, sizeof(*auth->templates));
	if (!grantable || !auth->tokens || !auth->templates ||
	    list_copy(from->hosts, &auth->hosts) < 0 ||
	    list_copy(from->origins, &auth->origins) < 0)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "configuration");
	for (size_t i = 0; r == 0 && i < from->token_count; i++)
		r = add_token(auth, &from->tokens[i], err);
	for (size_t i = 0; r == 0 && i < from->template_count; i++)
		r = add_template(auth, &from->templates[i]);
	policy_widest(&auth->grantable);
	for (size_t i = 0; r == 0 && from->grantable && from->grantable[i]; i++)
		r = json_array_append_new(grantable, json_string(from->grantable[i]));
	if (r == 0)
		r = policy_set_json(&auth->grantable, "allowed_directories", grantable,
				    err);
	json_decref(grantable);
	if (r == 0 && from->defaults) {
		r = policy_copy(&auth->defaults, from->defaults);
		auth->has_defaults = r == 0;
	}
	if (r == 0 && from->ceilings) {
		r = policy_copy(&auth->ceilings, from->ceilings);
		auth->has_ceilings = r == 0;
	}
	return r;
}

int auth_new(const struct http_options *options, uid_t server_uid, struct auth **ret,
	     struct sbx_err *err)
{
	struct auth *auth = calloc(1, sizeof(*auth));
	int r;

	if (!auth || sodium_init() < 0) {
		free(auth);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "tokens");
	}
	auth->holds = 1;
	auth->server_uid = server_uid;
	randombytes_buf(auth->key, sizeof(auth->key));
	r = copy_options(auth, options, err);
	if (r < 0) {
		if (r == -ENOMEM)
			(void)err_set(err, SBX_AT_ENGINE, ENOMEM, "configuration");
		auth_release(&auth);
		return r;
	}
	*ret = auth;
	return 0;
}

/* ---- Host and Origin ---- */

static const char *port_of(const char *host)
{
	const char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');

	return colon && (!bracket || colon > bracket) ? colon + 1 : NULL;
}

static bool is_loopback(const char *host)
{
	return strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0 ||
	       strncasecmp(host, "localhost", 9) == 0;
}

/* The same name and port, where a port that is the scheme's own may be left out. */
static bool same_host(const char *asked, const char *known, bool tls)
{
	const char *port = port_of(known), *usual = tls ? "443" : "80";
	size_t len = port ? (size_t)(port - known - 1) : strlen(known);

	if (strcasecmp(asked, known) == 0)
		return true;
	if (port && strcmp(port, usual) == 0)
		return strlen(asked) == len && strncasecmp(asked, known, len) == 0;
	return !port && strncasecmp(asked, known, len) == 0 && asked[len] == ':' &&
	       strcmp(asked + len + 1, usual) == 0;
}

static bool own_host(const struct auth_listener *listener, const char *host)
{
	static const char *const names[] = { "localhost", "127.0.0.1", "[::1]", NULL };
	const char *port = port_of(listener->host);
	char other[64];

	if (same_host(host, listener->host, listener->tls))
		return true;
	/* No page of another's has one of these names. */
	for (size_t i = 0; names[i] && port && is_loopback(listener->host); i++) {
		(void)snprintf(other, sizeof(other), "%s:%s", names[i], port);
		if (same_host(host, other, listener->tls))
			return true;
	}
	return false;
}

bool auth_host(const struct auth *auth, const struct auth_listener *listener,
	       const char *host)
{
	if (own_host(listener, host))
		return true;
	for (size_t i = 0; auth->hosts[i]; i++)
		if (same_host(host, auth->hosts[i], listener->tls))
			return true;
	return false;
}

bool auth_origin(const struct auth *auth, const struct auth_listener *listener,
		 const char *origin)
{
	const char *scheme = listener->tls ? "https://" : "http://";
	size_t len = strlen(scheme);

	for (size_t i = 0; auth->origins[i]; i++)
		if (strcasecmp(origin, auth->origins[i]) == 0)
			return true;
	return listener->tcp && strncasecmp(origin, scheme, len) == 0 &&
	       auth_host(auth, listener, origin + len);
}

/* ---- callers ---- */

bool auth_token(const struct auth *auth, const char *authorization, struct caller *ret)
{
	unsigned char asked[32];
	const struct token *found = NULL;
	const char *secret;

	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return false;
	secret = authorization + 7;
	secret += strspn(secret, " ");
	if (strlen(secret) > SECRET_MAX)
		return false;
	hash(auth, secret, asked);
	for (size_t i = 0; i < auth->token_count; i++)
		if (sodium_memcmp(auth->tokens[i].hash, asked, sizeof(asked)) == 0)
			found = &auth->tokens[i];
	if (!found)
		return false;
	ret->name = found->name;
	ret->owner = found->owner;
	ret->ceilings = found->has_ceilings ? &found->ceilings : NULL;
	return true;
}

void auth_peer(const struct auth *auth, uid_t uid, struct caller *ret)
{
	ret->uid = uid;
	ret->owner = ret->templates = uid == auth->server_uid || uid == 0;
	/* Only root can open with the rights of whoever asks; a user's server has but its
	 * user's. */
	ret->confined = auth->server_uid != 0 && !ret->owner;
}

/* ---- policies ---- */

static bool same_list(const struct policy_list *a, const struct policy_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

static bool same_template(const struct sbx_policy *policy, const char *python,
			  const struct policy_list *preload)
{
	return strcmp(policy->python ? policy->python : "", python ? python : "") == 0 &&
	       same_list(&policy->preload, preload);
}

/* Whether its template is one that the operator has made a name for: a preset's, the
 * defaults', a configured one. */
static bool known_template(const struct auth *auth, const struct sbx_policy *policy)
{
	const char *name;

	if (auth->has_defaults &&
	    same_template(policy, auth->defaults.python, &auth->defaults.preload))
		return true;
	for (size_t i = 0; i < auth->template_count; i++)
		if (same_template(policy, auth->templates[i].python,
				  &auth->templates[i].preload))
			return true;
	for (size_t i = 0; (name = policy_preset_name(i)) != NULL; i++) {
		struct sbx_policy preset;
		bool same;

		policy_init(&preset);
		same = policy_preset(&preset, name, NULL) == 0 &&
		       same_template(policy, preset.python, &preset.preload);
		policy_clear(&preset);
		if (same)
			return true;
	}
	return false;
}

static int check_grants(const struct auth *auth, const struct sbx_policy *policy,
			struct sbx_err *err)
{
	const struct policy_list *list = &policy->allowed_directories;

	for (size_t i = 0; i < list->count; i++)
		if (list->items[i][0] != '/')
			return err_set_field(err, SBX_AT_GRANT, 0, "allowed_directories",
					     "allowed_directories: \"%.200s\" is "
					     "relative, which over TCP, and of another "
					     "user, it may not be",
					     list->items[i]);
	if (policy_within(policy, &auth->grantable, err) < 0)
		return err_set_field(
			err, SBX_AT_CEILING, 0, "allowed_directories",
			"allowed_directories: over TCP, and of another user than the "
			"server's where that is not root, only what lies beneath its "
			"grantable_directories");
	return 0;
}

int auth_policy(const struct auth *auth, const struct caller *caller,
		const struct sbx_policy *policy, struct sbx_err *err)
{
	int r = 0;

	if (auth->has_ceilings)
		r = policy_within(policy, &auth->ceilings, err);
	if (r == 0 && caller->ceilings)
		r = policy_within(policy, caller->ceilings, err);
	if (r == 0 && caller->confined)
		r = check_grants(auth, policy, err);
	if (r == 0 && !caller->templates && !known_template(auth, policy))
		return err_set_field(err, SBX_AT_CEILING, 0,
				     policy->python && policy->python[0] ? "python"
									 : "preload",
				     "python and preload come from the server's "
				     "templates for this caller; name one");
	return r;
}

const struct sbx_policy *auth_defaults(const struct auth *auth)
{
	return auth->has_defaults ? &auth->defaults : NULL;
}

const struct sbx_policy *auth_ceilings(const struct auth *auth)
{
	return auth->has_ceilings ? &auth->ceilings : NULL;
}

const struct http_template *auth_templates(const struct auth *auth, size_t *ret_count)
{
	*ret_count = auth->template_count;
	return auth->templates;
}

const struct http_template *auth_template(const struct auth *auth, const char *name)
{
	for (size_t i = 0; i < auth->template_count; i++)
		if (strcmp(auth->templates[i].name, name) == 0)
			return &auth->templates[i];
	return NULL;
}
