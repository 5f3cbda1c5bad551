/* SPDX-License-Identifier: MIT
 * Who may ask, and for what: tokens, Host and Origin lists, peers of unix sockets, ceilings,
 * grants and templates. Engine. Plain judgements over copies of the configuration; knows
 * nothing of the library that carries HTTP. */
#ifndef SBX_DAEMON_AUTH_H
#define SBX_DAEMON_AUTH_H

#include "daemon/http.h"

struct auth;

/* One reference; a request keeps the one that it was judged by. */
int auth_new(const struct http_options *options, uid_t server_uid, struct auth **ret,
	     struct sbx_err *err);
struct auth *auth_hold(struct auth *auth);
void auth_release(struct auth **auth); /* sets NULL; takes a pointer to NULL */

/* What a listener says of itself. */
struct auth_listener {
	bool tcp, open, tls;
	char host[300]; /* "127.0.0.1:5000" */
};

/* Exactly one of the list, ASCII case apart. */
bool auth_host(const struct auth *auth, const struct auth_listener *listener,
	       const char *host);
bool auth_origin(const struct auth *auth, const struct auth_listener *listener,
		 const char *origin);
/* The value of Authorization, NULL: none. Fills the caller's rights; false: unknown. */
bool auth_token(const struct auth *auth, const char *authorization, struct caller *ret);
void auth_peer(const struct auth *auth, uid_t uid,
	       struct caller *ret); /* of a unix socket */

/* Ceilings, grants and templates, for a checked policy. 0 or -errno, err filled. */
int auth_policy(const struct auth *auth, const struct caller *caller,
		const struct sbx_policy *policy, struct sbx_err *err);
/* For request_parse(). NULL: strict; NULL where there is no such template. */
const struct sbx_policy *auth_defaults(const struct auth *auth);
const struct sbx_policy *auth_ceilings(const struct auth *auth);
const struct http_template *auth_template(const struct auth *auth, const char *name);
const struct http_template *auth_templates(const struct auth *auth, size_t *ret_count);

#endif
