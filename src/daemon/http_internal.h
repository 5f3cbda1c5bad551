/* SPDX-License-Identifier: MIT
 * What the files of the HTTP door share: http.c (the library, listeners, connections),
 * http_request.c (a request until its handler), http_exchange.c (its answer), http_run.c
 * (a run and its caller). Not for other directories. */
#ifndef SBX_DAEMON_HTTP_INTERNAL_H
#define SBX_DAEMON_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "base/buf.h"
#include "daemon/auth.h"
#include "daemon/http.h"
#include "daemon/metrics.h"
#include "daemon/route.h"
#include "daemon/runs.h"
#include "daemon/stream.h"

#define HTTP_CONNECTION_MEMORY (32u << 10) /* its head and its buffers */
#define HTTP_HEADERS_MAX 100u
#define HTTP_SEGMENTS_MAX 64u
#define HTTP_PARAMS_MAX 4u
#define HTTP_QUERY_MAX 16u
#define HTTP_EXTRA_HEADERS 8u
#ifndef HTTP_IDLE_MS
#define HTTP_IDLE_MS \
	60000u /* between requests, for a whole head, and without progress of an answer */
#endif
#ifndef HTTP_BODY_MS
#define HTTP_BODY_MS 60000u /* from the end of a head to the end of its body */
#endif
#ifndef HTTP_ANSWER_MS
#define HTTP_ANSWER_MS 300000u /* for a whole answer to be read, streams apart */
#endif
#ifndef HTTP_ALIVE_MS
#define HTTP_ALIVE_MS 15000u /* a comment in a silent event stream */
#endif
#define HTTP_BODIES_MAX (256u << 20) /* bytes of all bodies that are being received */
#define HTTP_CALLERS_MAX 256u        /* connections of one caller */
#ifndef HTTP_CONNECTIONS
#define HTTP_CONNECTIONS 512u /* of one listener; more wait */
#endif

#define STREAM_HIGH (256u << 10) /* a program's output is held above this */
#define STREAM_LOW (64u << 10)   /* and let go below this */
#define STREAM_EVENTS_MAX \
	(1u << 20) /* above this events are left to the result, which has them all */
#define STREAM_MAX (544u << 20) /* a result is the largest thing, see DOOR_RESULT_MAX */
#define STREAM_BLOCK (16u << 10)

#define TYPE_JSON "application/json"
#define TYPE_PROBLEM "application/problem+json"

struct listener {
	struct listener *next;
	struct http *http;
	struct MHD_Daemon *daemon;
	struct loop_io *io;
	struct loop_timer *timer; /* libmicrohttpd's own time-outs */
	const struct route_table *const *tables;
	struct auth_listener rules;
	char *certificate, *key;
	bool closed_one;
};

struct http {
	struct engine *engine;
	struct loop *loop;
	struct listener *listeners;
	struct loop_timer *sweep; /* callers that are too slow */
	uint64_t sweep_at_us;     /* 0: not armed */
	struct connection *connections;
	struct auth *auth;
	struct runs *runs;
	struct journal *(*journal)(void *arg); /* NULL: none is kept */
	void *journal_arg;
	struct metrics metrics;
	size_t body_bytes;
	bool stopping, closing;
};

struct connection {
	struct listener *listener;
	struct connection *prev, *next;
	int fd;
	uid_t uid;                 /* unix */
	struct exchange *exchange; /* the one that goes on, or NULL */
	uint64_t
		deadline_us; /* by which the caller has to be heard; 0: it waits for us */
};

struct pair {
	char *name, *value;
};

struct exchange {
	unsigned holds;
	struct http *http;          /* NULL once the door closed */
	struct MHD_Connection *mhd; /* NULL once the connection let go of it */
	struct connection *connection;
	const struct route *route;
	const struct route_table
		*table; /* with route; before it, the listener's where it has one only */
	const char *method;
	struct auth *auth; /* that it is judged by */
	struct caller caller;
	bool known; /* the caller; a route may be open to others */
	char caller_name[80];
	uint64_t begun_us;

	/* the request */
	struct buf body;
	json_t *object;
	size_t received;
	struct pair params[HTTP_PARAMS_MAX], query[HTTP_QUERY_MAX];

	/* the answer */
	struct pair headers[HTTP_EXTRA_HEADERS];
	struct MHD_Response *response; /* until it is queued */
	int status;                    /* 0: not known yet */
	bool at_once;                  /* the answer does not wait for the body */
	bool final_;                   /* the connection ends with it */
	bool called, suspended, gone;
	size_t sent;
	struct loop_io *watch;
	void (*gone_fn)(void *arg);
	void *gone_arg;

	struct stream lines;
	bool streaming, ended;
	struct loop_timer *alive;
	void (*drained_fn)(void *arg);
	void *drained_arg;
};

/* ---- http.c ---- */
void http_wake(struct exchange *ex); /* the library is run for it soon */
void connection_deadline(struct connection *c, unsigned ms); /* 0: none */

/* ---- http_request.c ---- */
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
				const char *method, const char *version,
				const char *upload, size_t *upload_size, void **context);

/* ---- http_exchange.c ---- */
struct exchange *exchange_new(struct connection *c, struct MHD_Connection *mhd,
			      const char *method);
void exchange_forget_body(struct exchange *ex);
enum MHD_Result exchange_queue(struct exchange *ex); /* the response, once it is there */
enum MHD_Result exchange_suspend(struct exchange *ex);
void http_on_completed(void *cls, struct MHD_Connection *mhd, void **context,
		       enum MHD_RequestTerminationCode code);

#endif
