/* SPDX-License-Identifier: MIT
 * Purpose: the HTTP door (http.h, docs/api.md): libmicrohttpd on the engine's loop, requests in, results and
 *   NDJSON streams out.
 * Process: the engine; one thread, no privilege.
 * Trusts: nothing that comes over a connection. Bounded are heads, bodies (each, and all together), tokens and
 *   depth of JSON, connections, the time a head or a body may take, and what waits for a slow reader.
 * Invariants:
 *   1. A struct exchange has two owners, the connection (until on_completed) and the execution (until on_done);
 *	the last one frees it. So neither a caller that goes away nor http_close() leaves a sink dangling.
 *   2. A connection whose caller waits for a run is suspended: libmicrohttpd does not look at it, we watch it for
 *	its end, and the run is cancelled then.
 *   3. peer_fd of a submitted request is always the connection's socket, never -1 (which means the starter). */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/jsontext.h"
#include "daemon/http.h"
#include "daemon/ndjson.h"
#include "daemon/request.h"

#define HTTP_CONNECTIONS 256u
#define HTTP_CONNECTION_MEMORY (32u << 10) /* its head and its buffers */
#ifndef HTTP_IDLE_MS
#define HTTP_IDLE_MS \
	60000u /* between requests, for a whole head, and without progress of an answer */
#endif
#ifndef HTTP_BODY_MS
#define HTTP_BODY_MS 60000u /* from the end of a head to the end of its body */
#endif
#ifndef HTTP_BODIES_MAX
#define HTTP_BODIES_MAX (256u << 20) /* bytes of all bodies that are being received */
#endif
#define JSON_TOKENS_MAX \
	65536u /* a body of "[1,1,1..." would cost forty times its size as a tree */
#define JSON_DEPTH_MAX 32u

#define STREAM_HIGH (256u << 10) /* the program's output is held above this */
#define STREAM_LOW (64u << 10)   /* and let go below this */
#define STREAM_EVENTS_MAX \
	(1u << 20) /* above this events are left to the result, which has them all */
#define STREAM_MAX (544u << 20) /* a result is the largest thing, see DOOR_RESULT_MAX */
#define STREAM_BLOCK (16u << 10)

#define TYPE_JSON "application/json"
#define TYPE_NDJSON "application/x-ndjson"

struct http {
	struct engine *engine;
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct loop_io *io;
	struct loop_timer *timer; /* libmicrohttpd's own time-outs */
	struct loop_timer *sweep; /* ours */
	uint64_t sweep_at_us;     /* 0: not armed */
	struct connection *connections;
	size_t body_bytes;
	bool closed_one, closing;
};

struct connection {
	struct http *http;
	struct connection *prev, *next;
	int fd;
	struct exchange *exchange; /* the one that goes on, or NULL */
	uint64_t
		deadline_us; /* by which the caller has to be heard; 0: it waits for us */
};

enum route { ROUTE_NONE, ROUTE_EXECUTIONS, ROUTE_HEALTH };

struct exchange {
	struct http *http;          /* NULL once http_close() ran */
	struct MHD_Connection *mhd; /* NULL once the connection let go of it */
	struct connection *connection;
	enum route route;
	bool stream; /* the caller accepts NDJSON */
	int refusal; /* HTTP status, 0: none; decided before the body, told after it */
	const char *refusal_name, *refusal_text;
	struct buf body;
	size_t received;

	struct execution *execution; /* NULL once done */
	struct loop_io *watch;
	bool suspended;
	int status; /* of the answer, once done */
	char *answer;
	size_t answer_len;

	struct ndjson lines; /* with stream: what the caller has not read yet */
	bool held, ended;
};

static void forget_body(struct exchange *ex)
{
	if (ex->http)
		ex->http->body_bytes -= ex->body.len;
	buf_free(&ex->body);
	ex->body.len = 0;
}

static void exchange_free(struct exchange *ex)
{
	forget_body(ex);
	ndjson_free(&ex->lines);
	free(ex->answer);
	free(ex);
}

/* ---- libmicrohttpd on our loop ---- */

static void on_ready(void *arg, uint32_t events);

static void on_timer(void *arg)
{
	on_ready(arg, 0);
}

static void on_ready(void *arg, uint32_t events)
{
	struct http *http = arg;
	MHD_UNSIGNED_LONG_LONG ms;

	(void)events;
	http->closed_one = false;
	(void)MHD_run(http->daemon);
	/* At its limit of connections or descriptors the library stops listening, and
	 * begins again not when one is closed but when it is run the next time. */
	if (http->closed_one) {
		ms = 0;
	} else if (MHD_get_timeout(http->daemon, &ms) != MHD_YES) {
		loop_timer_cancel(&http->timer);
		return;
	}
	/* Without its timer a connection would only be ended later: the descriptor still
	 * wakes us. */
	(void)loop_timer_at(http->loop, &http->timer, loop_now_us() + ms * 1000, on_timer,
			    http);
}

/* ---- callers that are too slow ---- */

static void on_sweep(void *arg);

static void sweep_by(struct http *http, uint64_t at_us)
{
	if (http->sweep_at_us && http->sweep_at_us <= at_us)
		return;
	if (loop_timer_at(http->loop, &http->sweep, at_us, on_sweep, http) == 0)
		http->sweep_at_us = at_us;
}

static void on_sweep(void *arg)
{
	struct http *http = arg;
	uint64_t now = loop_now_us(), next = 0;
	struct connection *c;

	http->sweep_at_us = 0;
	for (c = http->connections; c; c = c->next) {
		if (!c->deadline_us)
			continue;
		if (c->deadline_us <= now) {
			/* There is no call to end a connection; at its end of file
			 * libmicrohttpd does. */
			c->deadline_us = 0;
			(void)shutdown(c->fd, SHUT_RDWR);
		} else if (!next || c->deadline_us < next) {
			next = c->deadline_us;
		}
	}
	if (next)
		sweep_by(http, next);
}

static void connection_deadline(struct connection *c, unsigned ms)
{
	if (!c)
		return;
	c->deadline_us = ms ? loop_now_us() + (uint64_t)ms * 1000 : 0;
	if (ms)
		sweep_by(c->http, c->deadline_us);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http *http = cls;
	struct connection *c = *context;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		c = calloc(1, sizeof(*c));
		if (!info || !c) {
			/* Unbounded in time it may not be served; on_request() refuses
			 * what has no context. */
			free(c);
			return;
		}
		c->http = http;
		c->fd = info->connect_fd;
		c->next = http->connections;
		if (c->next)
			c->next->prev = c;
		http->connections = c;
		*context = c;
		connection_deadline(c, HTTP_IDLE_MS);
		return;
	}
	http->closed_one = true;
	if (!c)
		return;
	if (c->prev)
		c->prev->next = c->next;
	else
		http->connections = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
	*context = NULL;
}

/* ---- answers ---- */

/* Takes text (malloc). allow: for the Allow header, or NULL. */
static enum MHD_Result answer(struct exchange *ex, int status, char *text, size_t len,
			      const char *allow)
{
	struct MHD_Response *response;
	enum MHD_Result r;

	if (!text)
		return MHD_NO;
	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, "Content-Type", TYPE_JSON) != MHD_YES ||
	    MHD_add_response_header(response, "Cache-Control", "no-store") != MHD_YES ||
	    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") !=
		    MHD_YES ||
	    (allow && MHD_add_response_header(response, "Allow", allow) != MHD_YES))
		r = MHD_NO;
	else
		r = MHD_queue_response(ex->mhd, (unsigned)status, response);
	MHD_destroy_response(response);
	return r;
}

/* Takes the reference. */
static enum MHD_Result answer_json(struct exchange *ex, int status, json_t *object,
				   const char *allow)
{
	size_t len = 0;
	char *text = jsontext(object, &len);

	json_decref(object);
	return answer(ex, status, text, len, allow);
}

/* New reference, NULL for lack of memory. */
static json_t *error_object(const char *name, const char *message, const char *field)
{
	return json_pack("{s:{s:s,s:s,s:s?}}", "error", "name", name, "message", message,
			 "field", field && *field ? field : NULL);
}

static enum MHD_Result answer_err(struct exchange *ex, struct sbx_err *err)
{
	const struct err_kind *kind;

	err_sanitize(err);
	kind = err_kind(err->stage);
	return answer_json(ex, kind->http_status,
			   error_object(kind->name, err->msg, err->field), NULL);
}

static enum MHD_Result answer_refusal(struct exchange *ex)
{
	const char *allow = ex->route == ROUTE_EXECUTIONS ? "POST" : "GET, HEAD";

	return answer_json(ex, ex->refusal,
			   error_object(ex->refusal_name, ex->refusal_text, NULL),
			   ex->refusal == MHD_HTTP_METHOD_NOT_ALLOWED ? allow : NULL);
}

/* 200 for every verdict of a program; for a fault what its kind says, as if it had been
 * refused at once. */
static int result_status(const json_t *result)
{
	const char *status = json_string_value(json_object_get(result, "status"));
	const char *name = json_string_value(
		json_object_get(json_object_get(result, "error"), "name"));
	const struct err_kind *kind;
	int stage;

	if (status && strcmp(status, sbx_status_name(SBX_FAULT)) != 0)
		return MHD_HTTP_OK;
	for (stage = SBX_AT_USAGE; name && stage <= SBX_AT_JOURNAL; stage++) {
		kind = err_kind(stage);
		if (strcmp(kind->name, name) == 0)
			return kind->http_status;
	}
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- a run and its caller ---- */

static void wake(struct exchange *ex)
{
	if (!ex->suspended || !ex->mhd)
		return;
	ex->suspended = false;
	MHD_resume_connection(ex->mhd);
	/* Without threads of its own the library does not wake itself. Not now: we may be
	 * inside MHD_run(). Should the timer fail for lack of memory, the next event of
	 * any connection does it. */
	if (!ex->http->closing)
		(void)loop_timer_at(ex->http->loop, &ex->http->timer, loop_now_us(),
				    on_timer, ex->http);
}

static void on_caller_gone(void *arg, uint32_t events)
{
	struct exchange *ex = arg;

	(void)events;
	loop_remove(&ex->watch);
	if (ex->execution)
		execution_cancel(
			ex->execution); /* on_done() wakes the connection, which then finds its end */
}

/* On a unix socket the kernel tells a caller that only has nothing more to say (`... |
 * socat`) from one that is gone; TCP does not, and there the first is taken for the
 * second. */
static int watch_caller(struct exchange *ex)
{
	socklen_t len = sizeof(int);
	uint32_t events = EPOLLRDHUP;
	int domain = 0;

	if (getsockopt(ex->connection->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	    domain == AF_UNIX)
		events = EPOLLHUP;
	return loop_add(ex->http->loop, ex->connection->fd, events, on_caller_gone, ex,
			&ex->watch);
}

static void on_done(void *arg, json_t *result)
{
	struct exchange *ex = arg;

	ex->execution = NULL;
	loop_remove(&ex->watch);
	if (!ex->mhd) {
		exchange_free(ex);
		return;
	}
	ex->status = result_status(result);
	ex->answer = jsontext(result, &ex->answer_len);
	wake(ex);
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct exchange *ex = arg;
	const struct err_kind *kind = err_kind(err->stage);
	json_t *object = error_object(kind->name, err->msg, err->field);

	ex->execution = NULL;
	loop_remove(&ex->watch);
	if (!ex->mhd) {
		json_decref(object);
		exchange_free(ex);
		return;
	}
	if (ex->stream) {
		/* Its 200 is on the way; the line says what the status would have. */
		ndjson_typed(&ex->lines, "error", object);
		ex->ended = true;
	} else {
		ex->status = kind->http_status;
		ex->answer = jsontext(object, &ex->answer_len);
	}
	json_decref(object);
	wake(ex);
}

/* ---- NDJSON ---- */

static void stream_grew(struct exchange *ex)
{
	if (!ex->held && ex->execution && ndjson_waiting(&ex->lines) > STREAM_HIGH) {
		ex->held = true;
		execution_hold_output(ex->execution, true);
	}
	wake(ex);
}

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct exchange *ex = arg;

	if (!ex->mhd || (stream != 1 && stream != 2))
		return;
	ndjson_text(&ex->lines, stream, data, len);
	stream_grew(ex);
}

static void on_event(void *arg, const json_t *event)
{
	struct exchange *ex = arg;

	if (!ex->mhd || ndjson_waiting(&ex->lines) > STREAM_EVENTS_MAX)
		return;
	ndjson_typed(&ex->lines, "event", event);
	stream_grew(ex);
}

static void on_display(void *arg, const json_t *bundle)
{
	struct exchange *ex = arg;

	if (!ex->mhd)
		return;
	ndjson_display(&ex->lines, bundle);
	stream_grew(ex);
}

static void on_sample(void *arg, const json_t *sample)
{
	struct exchange *ex = arg;

	/* For a caller that reads as it comes; what waits is not a picture of now. */
	if (!ex->mhd || ndjson_waiting(&ex->lines) > STREAM_HIGH)
		return;
	ndjson_typed(&ex->lines, "sample", sample);
	stream_grew(ex);
}

static void on_stream_done(void *arg, json_t *result)
{
	struct exchange *ex = arg;

	ex->execution = NULL;
	loop_remove(&ex->watch);
	if (!ex->mhd) {
		exchange_free(ex);
		return;
	}
	ndjson_text_end(&ex->lines);
	ndjson_object(&ex->lines,
		      json_pack("{s:s,s:O}", "type", "result", "result", result));
	ex->ended = true;
	wake(ex);
}

static ssize_t read_stream(void *cls, uint64_t pos, char *data, size_t max)
{
	struct exchange *ex = cls;
	size_t len;

	(void)pos;
	if (ex->lines.broken || (ex->http->closing && !ex->ended))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	len = ndjson_read(&ex->lines, data, max);
	if (!len) {
		if (ex->ended)
			return MHD_CONTENT_READER_END_OF_STREAM;
		ex->suspended = true;
		MHD_suspend_connection(ex->mhd);
		return 0;
	}
	if (ex->held && ex->execution && ndjson_waiting(&ex->lines) < STREAM_LOW) {
		ex->held = false;
		execution_hold_output(ex->execution, false);
	}
	return (ssize_t)len;
}

static enum MHD_Result start_stream(struct exchange *ex)
{
	struct MHD_Response *response;
	enum MHD_Result r;

	ndjson_object(&ex->lines, json_pack("{s:s,s:s}", "type", "start", "id",
					    execution_id(ex->execution)));
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
						     read_stream, ex, NULL);
	if (!response)
		return MHD_NO;
	if (MHD_add_response_header(response, "Content-Type", TYPE_NDJSON) != MHD_YES ||
	    MHD_add_response_header(response, "Cache-Control", "no-store") != MHD_YES ||
	    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") !=
		    MHD_YES)
		r = MHD_NO;
	else
		r = MHD_queue_response(ex->mhd, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return r;
}

/* ---- requests ---- */

/* Counts what a parser would make nodes of. Malformed text passes: the parser says better
 * what is wrong. */
static bool json_modest(const char *text, size_t len)
{
	size_t tokens = 0, depth = 0, i;
	bool quoted = false;

	for (i = 0; i < len; i++) {
		switch (text[i]) {
		case '"':
			quoted = !quoted;
			break;
		case '\\':
			i += quoted;
			break;
		case '[':
		case '{':
			if (!quoted &&
			    (++depth > JSON_DEPTH_MAX || ++tokens > JSON_TOKENS_MAX))
				return false;
			break;
		case ']':
		case '}':
			depth -= !quoted && depth;
			break;
		case ',':
			if (!quoted && ++tokens > JSON_TOKENS_MAX)
				return false;
			break;
		default:
			break;
		}
	}
	return true;
}

/* The body as a tree (new reference); the body is gone after it. NULL: err filled. */
static json_t *take_body(struct exchange *ex, struct sbx_err *err)
{
	json_error_t why;
	json_t *object = NULL;

	if (!ex->body.len)
		(void)err_set(err, SBX_AT_USAGE, 0, "the request has no body");
	else if (!json_modest(ex->body.data, ex->body.len))
		(void)err_set(err, SBX_AT_USAGE, 0,
			      "the body has more than %u values or a depth over %u",
			      JSON_TOKENS_MAX, JSON_DEPTH_MAX);
	else if (!(object = json_loadb(ex->body.data, ex->body.len,
				       JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why)))
		(void)err_set(err, SBX_AT_USAGE, 0,
			      "the body is not JSON: line %d: %.200s", why.line,
			      why.text);
	if (object && !json_is_object(object)) {
		json_decref(object);
		object = NULL;
		(void)err_set(err, SBX_AT_USAGE, 0, "the body has to be a JSON object");
	}
	forget_body(ex);
	return object;
}

static enum MHD_Result start_execution(struct exchange *ex)
{
	struct execution_sink sink = { .refused = on_refused,
				       .done = on_done,
				       .arg = ex };
	struct sbx_err err = { 0 };
	struct request request = { 0 };
	json_t *object = take_body(ex, &err);
	int r;

	if (!object)
		return answer_err(ex, &err);
	if (ex->stream)
		sink = (struct execution_sink){ .output = on_output,
						.event = on_event,
						.display = on_display,
						.sample = on_sample,
						.refused = on_refused,
						.done = on_stream_done,
						.arg = ex };
	r = request_parse(object, &request, &err);
	if (r == 0 && request.execution.stdin_open)
		r = err_set_field(&err, SBX_AT_USAGE, 0, "stdin_open",
				  "stdin cannot be kept open over HTTP");
	if (r == 0 && request.file_contents)
		r = err_set_field(&err, SBX_AT_USAGE, 0, "file_contents",
				  "contents of files are not part of this answer");
	if (r == 0) {
		request.execution.peer_fd = ex->connection->fd;
		r = engine_submit(ex->http->engine, &request.execution, &sink,
				  &ex->execution, &err);
	}
	request_clear(&request);
	json_decref(object);
	if (r < 0)
		return answer_err(ex, &err);
	/* A caller whose going away nobody would notice is not served. */
	if (watch_caller(ex) < 0)
		return MHD_NO;
	if (ex->stream)
		return start_stream(ex);
	ex->suspended = true;
	MHD_suspend_connection(ex->mhd);
	return MHD_YES;
}

static void refuse(struct exchange *ex, int status, const char *name, const char *text)
{
	if (ex->refusal)
		return;
	ex->refusal = status;
	ex->refusal_name = name;
	ex->refusal_text = text;
}

/* A media type with or without parameters. */
static bool is_type(const char *header, const char *type)
{
	size_t len = strlen(type);

	if (!header || strncasecmp(header, type, len) != 0)
		return false;
	header += len;
	header += strspn(header, " \t");
	return !*header || *header == ';' || *header == ',';
}

/* One of a header's comma-separated items is of the type and not refused by q=0. */
static bool accepts(const char *header, const char *type)
{
	const char *q;
	size_t len;

	for (; header && *header; header += len + (header[len] == ',')) {
		header += strspn(header, " \t");
		len = strcspn(header, ",");
		if (!is_type(header, type))
			continue;
		q = memmem(header, len, "q=0", 3);
		if (!q || strspn(q + 3, ".0") != strcspn(q + 3, " \t;,"))
			return true;
	}
	return false;
}

static void choose_route(struct exchange *ex, const char *url, const char *method)
{
	const char *accept = MHD_lookup_connection_value(ex->mhd, MHD_HEADER_KIND,
							 "Accept");
	const char *type = MHD_lookup_connection_value(ex->mhd, MHD_HEADER_KIND,
						       "Content-Type");
	const char *length = MHD_lookup_connection_value(ex->mhd, MHD_HEADER_KIND,
							 "Content-Length");

	if (strcmp(url, "/v1/executions") == 0)
		ex->route = ROUTE_EXECUTIONS;
	else if (strcmp(url, "/v1/health") == 0)
		ex->route = ROUTE_HEALTH;
	else
		refuse(ex, MHD_HTTP_NOT_FOUND, "NotFound",
		       "there is nothing at this path");
	if (ex->route == ROUTE_HEALTH && strcmp(method, "GET") != 0 &&
	    strcmp(method, "HEAD") != 0)
		refuse(ex, MHD_HTTP_METHOD_NOT_ALLOWED, "MethodNotAllowed",
		       "this path takes GET");
	if (ex->route == ROUTE_EXECUTIONS) {
		if (strcmp(method, "POST") != 0)
			refuse(ex, MHD_HTTP_METHOD_NOT_ALLOWED, "MethodNotAllowed",
			       "this path takes POST");
		/* A web page can send other types across origins without asking; never
		 * this one. */
		if (!is_type(type, TYPE_JSON) || strchr(type, ','))
			refuse(ex, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
			       "UnsupportedMediaType",
			       "Content-Type has to be " TYPE_JSON);
		ex->stream = accepts(accept, TYPE_NDJSON);
	}
	if (length && strtoull(length, NULL, 10) > REQUEST_MAX) {
		ex->refusal = 0;
		refuse(ex, MHD_HTTP_CONTENT_TOO_LARGE, "TooLarge",
		       "the body is larger than 24 MiB");
	}
}

static enum MHD_Result begin(struct http *http, struct MHD_Connection *mhd,
			     const char *url, const char *method, void **context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct exchange *ex;

	if (http->closing || !info || !info->socket_context)
		return MHD_NO;
	ex = calloc(1, sizeof(*ex));
	if (!ex)
		return MHD_NO;
	*context = ex;
	ex->http = http;
	ex->mhd = mhd;
	ex->connection = info->socket_context;
	ex->connection->exchange = ex;
	ex->body.max = REQUEST_MAX;
	ex->lines.lines.max = STREAM_MAX;
	connection_deadline(ex->connection, HTTP_BODY_MS);
	choose_route(ex, url, method);
	/* Small bodies are read before they are refused, so that the connection can be
	 * used again. */
	if (ex->refusal == MHD_HTTP_CONTENT_TOO_LARGE ||
	    (ex->refusal && MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Expect")))
		return answer_refusal(ex);
	return MHD_YES;
}

static enum MHD_Result add_body(struct exchange *ex, const char *data, size_t len)
{
	struct http *http = ex->http;

	ex->received += len;
	if (ex->received > REQUEST_MAX) {
		refuse(ex, MHD_HTTP_CONTENT_TOO_LARGE, "TooLarge",
		       "the body is larger than 24 MiB");
		if (ex->received > 2 * (size_t)REQUEST_MAX)
			return MHD_NO;
	}
	if (ex->refusal || ex->route != ROUTE_EXECUTIONS)
		return MHD_YES;
	if (http->body_bytes + len > HTTP_BODIES_MAX || buf_add(&ex->body, data, len) < 0)
		refuse(ex, MHD_HTTP_SERVICE_UNAVAILABLE, err_kind(SBX_AT_BUSY)->name,
		       "too many large requests at once");
	else
		http->body_bytes += len;
	return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
				  const char *method, const char *version,
				  const char *upload, size_t *upload_size, void **context)
{
	struct http *http = cls;
	struct exchange *ex = *context;
	char *text;

	(void)version;
	if (!ex)
		return begin(http, mhd, url, method, context);
	if (*upload_size) {
		enum MHD_Result r = add_body(ex, upload, *upload_size);

		*upload_size = 0;
		return r;
	}
	connection_deadline(ex->connection, 0);
	if (http->closing)
		return MHD_NO;
	if (ex->refusal)
		return answer_refusal(ex);
	if (ex->route == ROUTE_HEALTH)
		return answer_json(ex, MHD_HTTP_OK, engine_health(http->engine), NULL);
	if (!ex->status) /* the first time; after it resumed from its wait the answer is there */
		return start_execution(ex);
	text = ex->answer;
	ex->answer = NULL;
	return answer(ex, ex->status, text, ex->answer_len, NULL);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct exchange *ex = *context;

	(void)cls;
	(void)mhd;
	(void)code;
	if (!ex)
		return;
	*context = NULL;
	ex->connection->exchange = NULL;
	connection_deadline(ex->connection, HTTP_IDLE_MS);
	loop_remove(&ex->watch);
	ex->mhd = NULL;
	if (ex->execution) {
		forget_body(ex);
		ex->http = NULL;
		if (ex->held)
			execution_hold_output(ex->execution, false);
		execution_cancel(ex->execution); /* on_done() frees ex */
		return;
	}
	exchange_free(ex);
}

/* ---- life ---- */

static int start_daemon(struct http *http, int listen_fd, struct sbx_err *err)
{
	const union MHD_DaemonInfo *info;

	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, http,
		MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)HTTP_CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)((HTTP_IDLE_MS + 999) / 1000), MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
	if (!http->daemon)
		return err_set(err, SBX_AT_ENGINE, errno ? errno : ENOMEM,
			       "libmicrohttpd does not start");
	info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info || info->epoll_fd < 0)
		return err_set(err, SBX_AT_ENGINE, ENOTSUP,
			       "libmicrohttpd has no epoll descriptor");
	if (loop_add(http->loop, info->epoll_fd, EPOLLIN, on_ready, http, &http->io) < 0)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "watching the HTTP door");
	return 0;
}

int http_open(struct engine *engine, int listen_fd, struct http **ret,
	      struct sbx_err *err)
{
	struct http *http = calloc(1, sizeof(*http));
	int own_fd, r;

	/* A copy is what the library gets: whether it closes it where it does not start
	 * is not said anywhere. */
	own_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 3);
	(void)close(listen_fd);
	if (!http || own_fd < 0 || fd_nonblock(own_fd, true) < 0) {
		r = err_set(err, SBX_AT_ENGINE, errno ? errno : ENOMEM,
			    "opening the HTTP door");
		free(http);
		fd_close(&own_fd);
		return r;
	}
	http->engine = engine;
	http->loop = engine_loop(engine);
	r = start_daemon(http, own_fd, err);
	if (r < 0) {
		http_close(&http);
		return r;
	}
	*ret = http;
	return 0;
}

void http_close(struct http **http_)
{
	struct http *http = *http_;
	struct connection *c;

	if (!http)
		return;
	*http_ = NULL;
	http->closing = true;
	/* A suspended one is fatal to MHD_stop_daemon(). */
	for (c = http->connections; c; c = c->next)
		if (c->exchange)
			wake(c->exchange);
	loop_remove(&http->io);
	loop_timer_cancel(&http->timer);
	if (http->daemon)
		MHD_stop_daemon(http->daemon); /* on_completed() for each */
	loop_timer_cancel(&http->sweep);
	free(http);
}
