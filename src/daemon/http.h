/* SPDX-License-Identifier: MIT
 * HTTP over unix sockets and TCP: libmicrohttpd on the engine's loop. Engine; every byte is
 * hostile. */
#ifndef SBX_DAEMON_HTTP_H
#define SBX_DAEMON_HTTP_H

#include "daemon/log.h"
#include "daemon/record.h"
#include "daemon/route.h"
#include "engine/engine.h"

struct http_token {
	const char *name; /* printable, 1 to 64 bytes, unique */
	const char
		*secret; /* 32 to 512 bytes of base64url, hex, ...; 256 bits of chance */
	bool owner;      /* an operator's: sees and ends everybody's runs */
	const struct sbx_policy *ceilings; /* NULL: none of its own */
};

struct http_template {
	const char *name;
	const char *python; /* "": the default */
	struct policy_list preload;
};

/* Lists end with NULL; NULL is an empty one. */
struct http_options {
	const struct http_token *tokens;
	size_t token_count;
	const char *const *hosts; /* besides each listener's own: "host" or "host:port" */
	const char *const *origins; /* besides each listener's own: "https://host:port" */
	const char *const
		*grantable; /* "PATH", "PATH:ro": what TCP callers may be granted */
	const struct sbx_policy
		*defaults; /* of requests without a preset; NULL: strict */
	const struct sbx_policy *ceilings; /* for everybody; NULL: none */
	const struct http_template *templates;
	size_t template_count;
	enum log_level log_level;
	/* Of http_new() only: in place of engine_submit(), and the journal that it records
	 * in (NULL: none). NULL: engine_submit(), and none. */
	int (*submit)(void *arg, const struct execution_request *request,
		      const struct record_caller *caller,
		      const struct execution_sink *sink, struct execution **ret,
		      struct sbx_err *err);
	struct journal *(*journal)(void *arg);
	void *submit_arg;
};

enum http_kind { HTTP_UNIX, HTTP_TCP };

struct http_listener {
	int fd; /* listening; taken, also on failure */
	enum http_kind kind;
	bool open;        /* TCP: no token is asked for */
	const char *host; /* TCP: what it was told to listen on, "127.0.0.1:5000" */
	const char *certificate, *key;           /* PEM texts, NULL: no TLS */
	const struct route_table *const *tables; /* NULL: api_tables */
};

/* Everything given is copied. */
int http_new(struct engine *engine, const struct http_options *options, struct http **ret,
	     struct sbx_err *err);
/* Requests that begin from now on are judged by these; on failure nothing changes. */
int http_configure(struct http *http, const struct http_options *options,
		   struct sbx_err *err);
int http_listen(struct http *http, const struct http_listener *listener,
		struct sbx_err *err);
/* From now on /v1/health says 503 and nothing new is run; what runs goes on and is
 * answered. */
void http_stop(struct http *http);
/* Whoever connects from now on is refused, and may go elsewhere. Once. */
void http_stop_listening(struct http *http);
/* Requests whose answer is not whole yet, and runs. */
size_t http_busy(const struct http *http);
void http_close(struct http **http); /* sets NULL; takes a pointer to NULL */

#endif
