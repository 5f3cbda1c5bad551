/* SPDX-License-Identifier: MIT
 * Purpose: what a handler of the HTTP door sees: a row of a route table and the exchange
 *   (one request and its answer). Dispatch, Allow, HEAD, 404, 405, 415 and /openapi.json
 *   come from the rows alone; drop-in doors are tables of their own over the same calls.
 * Process: the engine, on its loop, one thread. Handlers never wait.
 * Trusts: nothing in a request. A handler gets what was checked against its row: who may,
 *   the body's type, size and depth, known query names, parameters that are whole UTF-8
 *   path segments without NUL, "." or "..". */
#ifndef SBX_DAEMON_ROUTE_H
#define SBX_DAEMON_ROUTE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "engine/engine.h"

struct http;
struct exchange;
struct asset;

enum route_may {
	ROUTE_TOKEN, /* whoever the listener knows: a token, a unix peer, anybody where it is open */
	ROUTE_OWNER, /* the server's own user on a unix socket, or a token that is an operator's */
	ROUTE_OPEN, /* also without a token: says nothing that is anybody's */
};

enum route_body {
	BODY_NONE,
	BODY_JSON,      /* an object; application/json */
	BODY_FORM,      /* application/x-www-form-urlencoded, as an object of strings */
	BODY_BYTES,     /* application/octet-stream (or no type): as it is */
	BODY_TEXT_JSON, /* application/json as it is, for exchange_parse() */
};

struct route_query {
	const char *name;
	const char *type; /* "string", "integer", "boolean" */
	const char *meaning;
};

struct route_answer {
	int status;
	const char *type;   /* NULL: application/json */
	const char *schema; /* a name of openapi_schemas, or NULL: anything of the type */
	const char *meaning;
};

/* 0: it has answered, or will (exchange_hold()); else -errno with err filled, which becomes
 * a problem document. */
typedef int (*route_fn)(struct exchange *ex, struct sbx_err *err);

/* "/v1/sessions/{id}/files/{path...}": {name} is one segment, {name...} the rest. A row
 * with GET answers HEAD, too. Two rows with the same method and pattern differ in body:
 * the Content-Type chooses. */
struct route {
	const char *method;
	const char *pattern;
	route_fn handle;
	enum route_may may;
	enum route_body body;
	const char *body_schema; /* a name of openapi_schemas */
	const char *id;          /* operationId, unique */
	const char *summary;
	const char *description;         /* NULL: none */
	const struct route_query *query; /* NULL: none; ends with a row without a name */
	const struct route_answer
		*answers; /* ends with a row of status 0; problems are added */
};

struct route_table {
	const char *name; /* the tag in OpenAPI; a door's name */
	const struct route *routes;
	size_t count;
	const char *door; /* for the record; NULL: "http" */
	/* Of another's interface: unknown query names are ignored; headers whose value is a
	 * token (NULL at the end; NULL: Authorization only); how it says what went wrong
	 * (NULL: a problem document). problem() gives the one answer, from anywhere. */
	bool loose;
	const char *const *token_headers;
	void (*problem)(struct exchange *ex, int status, const char *name,
			const char *field, const char *detail);
};

/* The tables of our own interface, NULL at the end (daemon/api.c). */
extern const struct route_table *const api_tables[];

/* ---- who asks ---- */

struct caller {
	const char *name; /* for the record: "unix uid 1000", "token NAME", "anybody" */
	bool confined; /* no rights of his own here: grants beneath grantable_directories */
	bool owner;    /* sees and ends everybody's runs */
	bool templates;                    /* may give python and preload */
	uid_t uid;                         /* of a unix peer */
	int peer_fd;                       /* for execution_request; -1 over TCP */
	const struct sbx_policy *ceilings; /* of its token; NULL: none */
};
/* All that is borrowed from an exchange lives as long as it is held. */
const struct caller *exchange_caller(const struct exchange *ex);

/* ---- the request ---- */

const char *exchange_param(const struct exchange *ex, const char *name);
const char *exchange_query(const struct exchange *ex, const char *name); /* or NULL */
/* An integer of the query. 0, or -EINVAL with err (USAGE). */
int exchange_query_number(const struct exchange *ex, const char *name, long long least,
			  long long most, long long otherwise, long long *ret,
			  struct sbx_err *err);
json_t *exchange_body(const struct exchange *ex); /* BODY_JSON, BODY_FORM: borrowed */
const char *exchange_bytes(const struct exchange *ex, size_t *ret_len); /* BODY_BYTES */
const char *exchange_request_header(const struct exchange *ex,
				    const char *name); /* in a handler; or NULL */
/* BODY_TEXT_JSON: any JSON value within the bounds that hold for all. New reference, or
 * NULL and err filled. The text is gone then. */
json_t *exchange_parse(struct exchange *ex, struct sbx_err *err);
bool exchange_accepts(const struct exchange *ex, const char *type); /* named in Accept */
struct http *exchange_http(const struct exchange *ex); /* NULL once the door closed */
struct engine *exchange_engine(const struct exchange *ex);

/* ---- the answer ----
 * Exactly one of these, from the handler or, while held, at any later time on the loop. A
 * caller that is gone meanwhile makes them do nothing. */

void exchange_json(struct exchange *ex, int status,
		   json_t *object); /* takes the reference */
/* Takes text (malloc). type: with its charset. */
void exchange_text(struct exchange *ex, int status, const char *type, char *text,
		   size_t len);
/* A file of the page, compressed where the caller takes that. */
void exchange_asset(struct exchange *ex, const struct asset *asset);
void exchange_empty(struct exchange *ex, int status); /* 202, 204 */
/* A program's file: always an attachment, never shown. fd is taken. */
void exchange_file(struct exchange *ex, const char *path, int fd, size_t size);
void exchange_download(struct exchange *ex, const char *path, char *data,
		       size_t len); /* the same; takes data (malloc) */
void exchange_problem(struct exchange *ex, const struct sbx_err *err);
void exchange_problem_as(struct exchange *ex, int status, const char *name,
			 const char *field, const char *detail);
/* Before the answer. Both are copied; at most eight. */
void exchange_header(struct exchange *ex, const char *name, const char *value);

/* For an answer that comes later. Each hold needs its release, which may free it. */
struct exchange *exchange_hold(struct exchange *ex);
void exchange_release(struct exchange *ex);
bool exchange_gone(const struct exchange *ex); /* nobody will read the answer */
/* Called once, when the caller goes before its answer is whole. */
void exchange_on_gone(struct exchange *ex, void (*fn)(void *arg), void *arg);

/* ---- an answer in pieces ---- */

#define STREAM_NDJSON "application/x-ndjson"
#define STREAM_SSE "text/event-stream"

void exchange_stream(struct exchange *ex, const char *type); /* 200 and the head */
struct stream *exchange_lines(struct exchange *ex); /* to add to; then exchange_flush() */
void exchange_flush(struct exchange *ex);
size_t exchange_waiting(const struct exchange *ex); /* bytes that were not read yet */
/* Called when what waited has become little. */
void exchange_on_drained(struct exchange *ex, void (*fn)(void *arg), void *arg);
void exchange_end(struct exchange *ex); /* after what was added */

/* ---- a run ---- */

/* Submits for this caller, with its rights (ceilings, grants, templates, peer), and holds
 * the exchange until sink->done() or refused() has returned. The run ends with the caller,
 * unless it is detached; output is held while the caller reads too slowly. sink is copied;
 * sink->output, event, sample and display are not called for a caller that is gone.
 * *ret_id: valid while it runs. 0 or -errno, err filled. */
/* Of a checked policy: ceilings, grants, templates of this caller. exchange_run() asks
 * itself. */
int exchange_check_policy(const struct exchange *ex, const struct sbx_policy *policy,
			  struct sbx_err *err);
int exchange_run(struct exchange *ex, struct execution_request *request,
		 const struct execution_sink *sink, bool detach, const char **ret_id,
		 struct sbx_err *err);
/* Stops the run that exchange_run() began, if it goes on; its sink is still called. */
void exchange_stop_run(struct exchange *ex);
/* 200 for every verdict of a program; for a fault what its kind says. */
int exchange_result_status(const json_t *result);

#endif
