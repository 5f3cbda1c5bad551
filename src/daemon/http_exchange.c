/* SPDX-License-Identifier: MIT
 * Purpose: the life of an exchange and its answer (route.h).
 * Process: the engine. Trusts: handlers; nothing that a program made, which goes out as
 *   JSON or as an attachment only.
 * Invariants: one answer an exchange; what comes for a caller that is gone is dropped; a
 *   status is known before anything of the answer is sent. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/jsontext.h"
#include "daemon/asset.h"
#include "daemon/http_internal.h"
#include "daemon/problem.h"
#include "daemon/request.h"
#include "daemon/route_match.h"

#define CSP_NOTHING "default-src 'none'; frame-ancestors 'none'"

/* ---- life ---- */

struct exchange *exchange_new(struct connection *c, struct MHD_Connection *mhd,
			      const char *method)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE" };
	struct exchange *ex = calloc(1, sizeof(*ex));

	if (!ex)
		return NULL;
	ex->holds = 1;
	ex->http = c->listener->http;
	ex->mhd = mhd;
	ex->connection = c;
	ex->auth = auth_hold(ex->http->auth);
	ex->caller.name = "nobody";
	ex->method = "other"; /* what the library has is gone before us */
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(method, methods[i]) == 0)
			ex->method = methods[i];
	ex->body.max = REQUEST_MAX;
	ex->lines.text.max = STREAM_MAX;
	ex->begun_us = loop_now_us();
	c->exchange = ex;
	return ex;
}

void exchange_forget_body(struct exchange *ex)
{
	if (ex->http)
		ex->http->body_bytes -= ex->body.len;
	buf_free(&ex->body);
	ex->body.len = 0;
}

struct exchange *exchange_hold(struct exchange *ex)
{
	ex->holds++;
	return ex;
}

static void pairs_free(struct pair *pairs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(pairs[i].name);
		free(pairs[i].value);
	}
}

void exchange_release(struct exchange *ex)
{
	if (--ex->holds > 0)
		return;
	exchange_forget_body(ex);
	json_decref(ex->object);
	if (ex->response)
		MHD_destroy_response(ex->response);
	pairs_free(ex->params, HTTP_PARAMS_MAX);
	pairs_free(ex->query, HTTP_QUERY_MAX);
	pairs_free(ex->headers, HTTP_EXTRA_HEADERS);
	stream_free(&ex->lines);
	auth_release(&ex->auth);
	free(ex);
}

bool exchange_gone(const struct exchange *ex)
{
	return ex->gone || !ex->mhd;
}

void exchange_on_gone(struct exchange *ex, void (*fn)(void *arg), void *arg)
{
	ex->gone_fn = fn;
	ex->gone_arg = arg;
}

void exchange_stop_run(struct exchange *ex)
{
	if (ex->gone_fn)
		ex->gone_fn(ex->gone_arg);
}

static void tell_gone(struct exchange *ex)
{
	void (*fn)(void *) = ex->gone_fn;

	ex->gone = true;
	ex->gone_fn = NULL;
	if (fn)
		fn(ex->gone_arg);
}

static void on_caller_gone(void *arg, uint32_t events)
{
	struct exchange *ex = exchange_hold(arg);

	(void)events;
	loop_remove(&ex->watch);
	tell_gone(ex);
	http_wake(ex); /* the library finds the end of the connection then */
	exchange_release(ex);
}

/* On a unix socket the kernel tells a caller that only has nothing more to say (`... |
 * socat`) from one that is gone; TCP does not, and there the first is taken for the
 * second. */
static int watch_caller(struct exchange *ex)
{
	uint32_t events = ex->connection->listener->rules.tcp ? EPOLLRDHUP : EPOLLHUP;

	if (ex->watch)
		return 0;
	return loop_add(ex->http->loop, ex->connection->fd, events, on_caller_gone, ex,
			&ex->watch);
}

enum MHD_Result exchange_suspend(struct exchange *ex)
{
	/* A caller whose going away nobody would notice is not served. */
	if (watch_caller(ex) < 0)
		return MHD_NO;
	ex->suspended = true;
	MHD_suspend_connection(ex->mhd);
	return MHD_YES;
}

static void log_request(struct exchange *ex, bool whole)
{
	unsigned long us = (unsigned long)(loop_now_us() - ex->begun_us);
	enum log_level level = ex->status >= 500 ? LOG_WARN : LOG_INFO;

	log_line(level, "request",
		 "method=%s route=%s status=%d caller=%s ms=%lu.%03lu in=%zu out=%zu%s",
		 ex->method, ex->route ? ex->route->id : "none", ex->status,
		 log_value(ex->caller.name), us / 1000, us % 1000, ex->received, ex->sent,
		 whole ? "" : " cut=1");
}

void http_on_completed(void *cls, struct MHD_Connection *mhd, void **context,
		       enum MHD_RequestTerminationCode code)
{
	struct exchange *ex = *context;
	bool whole = code == MHD_REQUEST_TERMINATED_COMPLETED_OK;

	(void)cls;
	(void)mhd;
	if (!ex)
		return;
	*context = NULL;
	ex->connection->exchange = NULL;
	connection_deadline(ex->connection, HTTP_IDLE_MS);
	loop_remove(&ex->watch);
	loop_timer_cancel(&ex->alive);
	metrics_request(&ex->http->metrics, ex->route ? ex->route->id : "none",
			ex->status, loop_now_us() - ex->begun_us, ex->received, ex->sent);
	log_request(ex, whole);
	exchange_forget_body(ex);
	ex->mhd = NULL;
	ex->connection = NULL;
	ex->http = NULL;
	if (!whole)
		tell_gone(ex);
	ex->gone_fn = NULL;
	exchange_release(ex);
}

/* ---- the request ---- */

const struct caller *exchange_caller(const struct exchange *ex)
{
	return &ex->caller;
}

static const char *find_pair(const struct pair *pairs, size_t count, const char *name)
{
	for (size_t i = 0; i < count && pairs[i].name; i++)
		if (strcmp(pairs[i].name, name) == 0)
			return pairs[i].value;
	return NULL;
}

const char *exchange_param(const struct exchange *ex, const char *name)
{
	return find_pair(ex->params, HTTP_PARAMS_MAX, name);
}

const char *exchange_query(const struct exchange *ex, const char *name)
{
	return find_pair(ex->query, HTTP_QUERY_MAX, name);
}

int exchange_query_number(const struct exchange *ex, const char *name, long long least,
			  long long most, long long otherwise, long long *ret,
			  struct sbx_err *err)
{
	const char *text = exchange_query(ex, name);
	char *end;

	*ret = otherwise;
	if (!text)
		return 0;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	if (errno || end == text || *end || *ret < least || *ret > most)
		return err_set_field(err, SBX_AT_USAGE, 0, name,
				     "%s has to be a number from %lld to %lld", name,
				     least, most);
	return 0;
}

json_t *exchange_body(const struct exchange *ex)
{
	return ex->object;
}

const char *exchange_bytes(const struct exchange *ex, size_t *ret_len)
{
	*ret_len = ex->body.len;
	return ex->body.data ? ex->body.data : "";
}

const char *exchange_request_header(const struct exchange *ex, const char *name)
{
	return ex->mhd ? MHD_lookup_connection_value(ex->mhd, MHD_HEADER_KIND, name)
		       : NULL;
}

bool exchange_accepts(const struct exchange *ex, const char *type)
{
	return route_accepts(exchange_request_header(ex, "Accept"), type);
}

struct http *exchange_http(const struct exchange *ex)
{
	return ex->http;
}

struct engine *exchange_engine(const struct exchange *ex)
{
	return ex->http ? ex->http->engine : NULL;
}

/* ---- the answer ---- */

void exchange_header(struct exchange *ex, const char *name, const char *value)
{
	for (size_t i = 0; i < HTTP_EXTRA_HEADERS; i++)
		if (!ex->headers[i].name) {
			ex->headers[i].name = strdup(name);
			ex->headers[i].value = strdup(value);
			return;
		}
}

static bool add_headers(struct exchange *ex, struct MHD_Response *response,
			const char *type, const char *csp, const char *cache)
{
	const struct pair always[] = {
		{ (char *)(uintptr_t) "Content-Type", (char *)(uintptr_t)type },
		{ (char *)(uintptr_t) "Cache-Control", (char *)(uintptr_t)cache },
		{ (char *)(uintptr_t) "Content-Security-Policy", (char *)(uintptr_t)csp },
		{ (char *)(uintptr_t) "X-Content-Type-Options",
		  (char *)(uintptr_t) "nosniff" },
		{ (char *)(uintptr_t) "Referrer-Policy",
		  (char *)(uintptr_t) "no-referrer" },
		{ (char *)(uintptr_t) "Cross-Origin-Resource-Policy",
		  (char *)(uintptr_t) "same-origin" },
		{ (char *)(uintptr_t) "X-Frame-Options", (char *)(uintptr_t) "DENY" },
	};

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (always[i].value &&
		    MHD_add_response_header(response, always[i].name, always[i].value) !=
			    MHD_YES)
			return false;
	for (size_t i = 0; i < HTTP_EXTRA_HEADERS && ex->headers[i].name; i++)
		if (!ex->headers[i].value ||
		    MHD_add_response_header(response, ex->headers[i].name,
					    ex->headers[i].value) != MHD_YES)
			return false;
	return !ex->final_ ||
	       MHD_add_response_header(response, "Connection", "close") == MHD_YES;
}

/* Takes the response; NULL is lack of memory, which ends the connection. */
static void set_answer(struct exchange *ex, int status, struct MHD_Response *response,
		       const char *type, const char *csp, const char *cache)
{
	if (exchange_gone(ex) || ex->status || !response ||
	    !add_headers(ex, response, type, csp ? csp : CSP_NOTHING, cache)) {
		if (response)
			MHD_destroy_response(response);
		if (!ex->status && ex->mhd) {
			ex->gone = true; /* http_on_request() then ends it */
			http_wake(ex);
		}
		return;
	}
	ex->status = status;
	ex->response = response;
	if (!ex->streaming)
		loop_remove(&ex->watch);
	http_wake(ex);
}

enum MHD_Result exchange_queue(struct exchange *ex)
{
	enum MHD_Result r;

	if (!ex->response)
		return MHD_NO;
	if (!ex->streaming)
		connection_deadline(ex->connection, HTTP_ANSWER_MS);
	r = MHD_queue_response(ex->mhd, (unsigned)ex->status, ex->response);
	MHD_destroy_response(ex->response);
	ex->response = NULL;
	return r;
}

void exchange_text(struct exchange *ex, int status, const char *type, char *text,
		   size_t len)
{
	struct MHD_Response *response = NULL;

	if (text && !exchange_gone(ex) && !ex->status) {
		ex->sent = len;
		response = MHD_create_response_from_buffer(len, text,
							   MHD_RESPMEM_MUST_FREE);
	}
	if (!response)
		free(text);
	set_answer(ex, status, response, type, NULL, "no-store");
}

void exchange_json(struct exchange *ex, int status, json_t *object)
{
	size_t len = 0;
	char *text = exchange_gone(ex) ? NULL : jsontext(object, &len);

	json_decref(object);
	exchange_text(ex, status, TYPE_JSON, text, len);
}

void exchange_asset(struct exchange *ex, const struct asset *asset)
{
	bool packed = asset->gzip && ex->mhd &&
		      route_accepts(MHD_lookup_connection_value(ex->mhd, MHD_HEADER_KIND,
								"Accept-Encoding"),
				    "gzip");
	const void *data = packed ? asset->gzip : asset->data;

	ex->sent = packed ? asset->gzip_len : asset->len;
	exchange_header(ex, "Vary", "Accept-Encoding");
	if (packed)
		exchange_header(ex, "Content-Encoding", "gzip");
	set_answer(ex, MHD_HTTP_OK,
		   MHD_create_response_from_buffer(ex->sent, (void *)(uintptr_t)data,
						   MHD_RESPMEM_PERSISTENT),
		   asset->type, asset->csp ? asset->csp : ASSET_CSP,
		   asset->immutable ? "public, max-age=31536000, immutable" : "no-cache");
}

void exchange_empty(struct exchange *ex, int status)
{
	set_answer(ex, status,
		   MHD_create_response_from_buffer(0, (void *)(uintptr_t) "",
						   MHD_RESPMEM_PERSISTENT),
		   NULL, NULL, "no-store");
}

void exchange_problem_as(struct exchange *ex, int status, const char *name,
			 const char *field, const char *detail)
{
	json_t *object;
	size_t len = 0;
	char *text;

	if (status == MHD_HTTP_TOO_MANY_REQUESTS ||
	    status == MHD_HTTP_SERVICE_UNAVAILABLE) {
		char after[16];

		(void)snprintf(after, sizeof(after), "%u",
			       ex->http ? admission_retry_after(
						  engine_admission(ex->http->engine))
					: 1);
		exchange_header(ex, "Retry-After", after);
	}
	if (ex->table && ex->table->problem) {
		ex->table->problem(ex, status, name, field, detail);
		return;
	}
	object = problem_object(status, name, field, detail);
	text = jsontext(object, &len);
	json_decref(object);
	exchange_text(ex, status, TYPE_PROBLEM, text, len);
}

void exchange_problem(struct exchange *ex, const struct sbx_err *err)
{
	const struct err_kind *kind = err_kind(err->stage);
	struct sbx_err clean = *err;

	err_sanitize(&clean);
	exchange_problem_as(ex, kind->http_status, kind->name,
			    clean.field[0] ? clean.field : NULL, clean.msg);
}

/* ---- files ---- */

struct file {
	int fd;
};

static ssize_t read_file(void *cls, uint64_t pos, char *data, size_t max)
{
	const struct file *file = cls;
	ssize_t n = pread(file->fd, data, max, (off_t)pos);

	/* Shorter than it was: the length has been told. */
	return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_file(void *cls)
{
	struct file *file = cls;

	(void)close(file->fd);
	free(file);
}

/* What a browser does not run, whatever is in it. */
static const char *safe_type(const char *path)
{
	static const struct {
		const char *ending, *type;
	} types[] = {
		{ ".txt", "text/plain; charset=utf-8" },
		{ ".csv", "text/csv" },
		{ ".json", "application/json" },
		{ ".png", "image/png" },
		{ ".jpg", "image/jpeg" },
		{ ".jpeg", "image/jpeg" },
		{ ".gif", "image/gif" },
		{ ".webp", "image/webp" },
	};
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcasecmp(dot, types[i].ending) == 0)
			return types[i].type;
	return "application/octet-stream";
}

static void attach(struct exchange *ex, const char *path)
{
	const char *slash = strrchr(path, '/');
	char text[1200] = "attachment; filename*=UTF-8''";
	size_t used = strlen(text);

	for (const char *at = slash ? slash + 1 : path; *at && used < 1100; at++) {
		unsigned char c = (unsigned char)*at;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z') || strchr("._-", c))
			text[used++] = (char)c;
		else
			used += (size_t)snprintf(text + used, 4, "%%%02X", c);
	}
	text[used] = '\0';
	exchange_header(ex, "Content-Disposition", text);
}

void exchange_file(struct exchange *ex, const char *path, int fd, size_t size)
{
	struct file *file = malloc(sizeof(*file));
	struct MHD_Response *response = NULL;

	if (file) {
		file->fd = fd;
		response = MHD_create_response_from_callback(size, 64u << 10, read_file,
							     file, free_file);
	}
	if (!response) {
		fd_close(&fd);
		free(file);
	}
	ex->sent = size;
	attach(ex, path);
	set_answer(ex, MHD_HTTP_OK, response, safe_type(path), CSP_NOTHING "; sandbox",
		   "no-store");
}

void exchange_download(struct exchange *ex, const char *path, char *data, size_t len)
{
	struct MHD_Response *response = NULL;

	if (data)
		response = MHD_create_response_from_buffer(len, data,
							   MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(data);
	ex->sent = len;
	attach(ex, path);
	set_answer(ex, MHD_HTTP_OK, response, safe_type(path), CSP_NOTHING "; sandbox",
		   "no-store");
}

/* ---- pieces ---- */

static ssize_t read_stream(void *cls, uint64_t pos, char *data, size_t max)
{
	struct exchange *ex = cls;
	size_t len;

	(void)pos;
	if (ex->lines.broken || ((ex->http->closing || ex->gone) && !ex->ended))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	len = stream_read(&ex->lines, data, max);
	if (!len) {
		if (ex->ended)
			return MHD_CONTENT_READER_END_OF_STREAM;
		ex->suspended = true;
		MHD_suspend_connection(ex->mhd);
		return 0;
	}
	ex->sent += len;
	if (ex->drained_fn && stream_waiting(&ex->lines) < STREAM_LOW)
		ex->drained_fn(ex->drained_arg);
	return (ssize_t)len;
}

static void on_alive(void *arg)
{
	struct exchange *ex = arg;

	stream_alive(&ex->lines);
	exchange_flush(ex);
	(void)loop_timer_at(ex->http->loop, &ex->alive,
			    loop_now_us() + HTTP_ALIVE_MS * 1000ull, on_alive, ex);
}

void exchange_stream(struct exchange *ex, const char *type)
{
	if (exchange_gone(ex) || ex->status)
		return;
	ex->lines.events = strcmp(type, STREAM_SSE) == 0;
	ex->streaming = true;
	if (watch_caller(ex) < 0) {
		set_answer(ex, 0, NULL, NULL, NULL, NULL);
		return;
	}
	if (ex->lines.events)
		(void)loop_timer_at(ex->http->loop, &ex->alive,
				    loop_now_us() + HTTP_ALIVE_MS * 1000ull, on_alive,
				    ex);
	set_answer(ex, MHD_HTTP_OK,
		   MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
						     read_stream, ex, NULL),
		   type, NULL, "no-store");
}

struct stream *exchange_lines(struct exchange *ex)
{
	return &ex->lines;
}

void exchange_flush(struct exchange *ex)
{
	http_wake(ex);
}

size_t exchange_waiting(const struct exchange *ex)
{
	return stream_waiting(&ex->lines);
}

void exchange_on_drained(struct exchange *ex, void (*fn)(void *arg), void *arg)
{
	ex->drained_fn = fn;
	ex->drained_arg = arg;
}

void exchange_end(struct exchange *ex)
{
	ex->ended = true;
	loop_timer_cancel(&ex->alive);
	loop_remove(&ex->watch);
	http_wake(ex);
}
