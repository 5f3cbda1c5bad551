/* SPDX-License-Identifier: MIT
 * What the tests of the HTTP door share: a stand-in for the engine, where what "code" says
 * is what the execution does, a server in a thread of its own, and a raw caller. */
#ifndef TEST_HTTP_HELP_H
#define TEST_HTTP_HELP_H

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "daemon/api.h"
#include "daemon/http.h"

/* ---- the stand-in: what "code" says is what the execution does ---- */

struct engine {
	struct loop *loop;
	int refuse_stage; /* engine_submit() fails with it */
	atomic_int running, cancelled, submitted;
	atomic_ulong produced; /* bytes that the flood made */
	atomic_int peer_ok, last_peer;
	struct http **http;
};

struct execution {
	struct engine *engine;
	struct execution_sink sink;
	struct loop_timer *timer;
	char code[64];
	bool held, cancelled;
	int step;
};

static void step(void *arg);

static void again(struct execution *x, unsigned ms)
{
	assert_int_equal(loop_timer_at(x->engine->loop, &x->timer,
				       loop_now_us() + ms * 1000u, step, x),
			 0);
}

static void finish(struct execution *x, json_t *result)
{
	struct execution_sink sink = x->sink;

	loop_timer_cancel(&x->timer);
	x->engine->running--;
	free(x);
	assert_non_null(result);
	sink.done(sink.arg, result);
	json_decref(result);
}

static void refuse_late(struct execution *x, const struct sbx_err *err)
{
	struct execution_sink sink = x->sink;

	loop_timer_cancel(&x->timer);
	x->engine->running--;
	free(x);
	sink.refused(sink.arg, err);
}

static void say(struct execution *x, int stream, const char *data, size_t len)
{
	if (x->sink.output)
		x->sink.output(x->sink.arg, stream, data, len);
}

static void step(void *arg)
{
	struct execution *x = arg;
	char chunk[8192];

	if (x->cancelled) {
		finish(x, json_pack("{s:s}", "status", "killed"));
	} else if (strcmp(x->code, "wait") == 0) {
		again(x, 5000);
	} else if (strcmp(x->code, "flood") == 0) {
		memset(chunk, 'x', sizeof(chunk));
		if (!x->held && x->engine->produced < (8u << 20)) {
			say(x, 1, chunk, sizeof(chunk));
			x->engine->produced += sizeof(chunk);
		}
		if (x->engine->produced >= (8u << 20))
			finish(x, json_pack("{s:s}", "status", "ok"));
		else
			again(x, x->held);
	} else if (strcmp(x->code, "pieces") == 0) {
		/* An e with acute and a snowman cut in two, a byte that is none, a
		 * sequence that never ends. */
		static const char *const parts[] = { "caf\xc3",      "\xa9 \xe2\x98",
						     "\x83",         "\xff",
						     "\xed\xa0\x80", "\xf0\x9f" };

		if (x->step < 6) {
			say(x, 1, parts[x->step], strlen(parts[x->step]));
			x->step++;
			again(x, 1);
			return;
		}
		say(x, 2, "err", 3);
		if (x->sink.event) {
			json_t *event = json_pack("{s:s,s:i}", "kind", "import", "line",
						  3);
			json_t *sample = json_pack("{s:i,s:i}", "at_ms", 20, "processes",
						   1);

			x->sink.event(x->sink.arg, event);
			x->sink.sample(x->sink.arg, sample);
			json_decref(event);
			json_decref(sample);
		}
		finish(x, json_pack("{s:s,s:i}", "status", "ok", "result", 7));
	} else if (strcmp(x->code, "big") == 0) {
		char *text = calloc(1, (8u << 20) + 1);

		memset(text, 'x', 8u << 20);
		finish(x, json_pack("{s:s,s:s}", "status", "ok", "stdout", text));
		free(text);
	} else if (strcmp(x->code, "stop") == 0) {
		http_stop(*x->engine->http);
		finish(x, json_pack("{s:s}", "status", "ok"));
	} else if (strcmp(x->code, "wall") == 0) {
		finish(x, json_pack("{s:s,s:{s:s}}", "status", "fault", "error", "name",
				    "WallMissing"));
	} else if (strcmp(x->code, "fault") == 0) {
		finish(x, json_pack("{s:s,s:{s:s}}", "status", "fault", "error", "name",
				    "EngineError"));
	} else if (strcmp(x->code, "late") == 0) {
		struct sbx_err err;

		(void)err_set_field(&err, SBX_AT_GRANT, ENOENT, "allowed_directories",
				    "/x");
		refuse_late(x, &err);
	} else if (strcmp(x->code, "timeout") == 0) {
		finish(x, json_pack("{s:s}", "status", "timeout"));
	} else {
		finish(x, json_pack("{s:s,s:s}", "status", "ok", "result", x->code));
	}
}

int engine_submit(struct engine *engine, const struct execution_request *request,
		  const struct execution_sink *sink, struct execution **ret_execution,
		  struct sbx_err *err)
{
	struct execution *x;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (engine->refuse_stage)
		return err_set_field(err, (enum sbx_stage)engine->refuse_stage, EPERM,
				     "max_memory_mb", "no \xff");
	engine->last_peer = request->peer_fd;
	engine->peer_ok = getsockopt(request->peer_fd, SOL_SOCKET, SO_PEERCRED, &peer,
				     &len) == 0 &&
			  peer.pid == getpid();
	x = calloc(1, sizeof(*x));
	assert_non_null(x);
	x->engine = engine;
	x->sink = *sink;
	(void)snprintf(x->code, sizeof(x->code), "%.*s", (int)request->code_len,
		       request->code);
	engine->running++;
	engine->submitted++;
	again(x, 1);
	*ret_execution = x;
	return 0;
}

void execution_hold_output(struct execution *x, bool hold)
{
	x->held = hold;
}

void execution_cancel(struct execution *x)
{
	x->cancelled = true;
	x->engine->cancelled++;
	again(x, 1);
}

const char *execution_id(const struct execution *x)
{
	(void)x;
	return "id-1";
}

struct loop *engine_loop(struct engine *engine)
{
	return engine->loop;
}

void execution_times(const struct execution *x, struct execution_times *ret)
{
	(void)x;
	*ret = (struct execution_times){ 1000000, 1002000, 1005000, 1009000 };
}

/* Nothing waits here. */
struct admission *engine_admission(struct engine *engine)
{
	(void)engine;
	return NULL;
}

uid_t engine_starter_uid(const struct engine *engine)
{
	(void)engine;
	return getuid();
}

int engine_own_listener(struct engine *engine, int listen_fd)
{
	(void)engine;
	return listen_fd >= 0 ? 0 : -EBADF;
}

json_t *engine_doctor(const struct engine *engine)
{
	(void)engine;
	return json_pack("{s:b,s:[]}", "ok", 1, "walls");
}

json_t *engine_health(struct engine *engine)
{
	return json_pack("{s:s,s:i}", "status", "ok", "running", (int)engine->running);
}

/* There are no sessions here. */
const struct route_table api_sessions = { .name = "sessions" };

struct session *api_session(struct exchange *ex, const char *id, const char *field)
{
	(void)id;
	exchange_problem_as(ex, 404, "NotFound", field, "no session");
	return NULL;
}

void api_session_request(struct session *session, struct execution_request *request)
{
	request->session = session;
}

void *session_arg(const struct session *session)
{
	(void)session;
	return NULL;
}

/* ---- a server in a thread of its own ---- */

struct server {
	struct engine engine;
	union {
		struct sockaddr_un at;
		struct sockaddr_in tcp;
	};
	char host[32]; /* "127.0.0.1:PORT", with TCP */
	struct http *http;
	pthread_t thread;
	int listen_fd, stop_fd;
	struct http_options options;
	struct http_listener listener;
	struct loop_io *stop_io;
	char dir[32];
};

static void on_stop(void *arg, uint32_t events)
{
	struct server *s = arg;

	(void)events;
	loop_stop(s->engine.loop);
}

static void on_late(void *arg)
{
	loop_stop(((struct server *)arg)->engine.loop);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	struct loop_timer *late = NULL;
	struct sbx_err err;
	int i;

	assert_int_equal(http_new(&s->engine, &s->options, &s->http, &err), 0);
	s->listener.fd = s->listen_fd;
	assert_int_equal(http_listen(s->http, &s->listener, &err), 0);
	assert_int_equal(loop_run(s->engine.loop), 0);
	loop_remove(&s->stop_io);
	http_close(&s->http);
	assert_null(s->http);
	/* What still runs was cancelled, and ends after the door did. */
	for (i = 0; i < 100 && s->engine.running; i++) {
		assert_int_equal(loop_timer_at(s->engine.loop, &late,
					       loop_now_us() + 5000, on_late, s),
				 0);
		assert_int_equal(loop_run(s->engine.loop), 0);
	}
	loop_timer_cancel(&late);
	loop_free(s->engine.loop);
	return NULL;
}

static struct server *start_with(struct server *s)
{
	struct http_options none = { 0 };

	if (!memcmp(&s->options, &none, sizeof(none)))
		s->options.log_level = LOG_OFF;
	s->engine.http = &s->http;
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(loop_new(&s->engine.loop), 0);
	assert_int_equal(
		loop_add(s->engine.loop, s->stop_fd, EPOLLIN, on_stop, s, &s->stop_io),
		0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	return s;
}

__attribute__((unused)) static int start(void **state)
{
	struct server *s = calloc(1, sizeof(*s));

	(void)snprintf(s->dir, sizeof(s->dir), "/tmp/sbx-http.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->at.sun_family = AF_UNIX;
	(void)snprintf(s->at.sun_path, sizeof(s->at.sun_path), "%s/s", s->dir);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&s->at, sizeof(s->at)), 0);
	assert_int_equal(listen(s->listen_fd, 16), 0);
	*state = start_with(s);
	return 0;
}

static int stop(void **state)
{
	struct server *s = *state;

	assert_int_equal(eventfd_write(s->stop_fd, 1), 0);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	assert_int_equal(s->engine.running, 0);
	(void)close(s->stop_fd);
	if (s->dir[0]) {
		(void)unlink(s->at.sun_path);
		(void)rmdir(s->dir);
	}
	free(s);
	return 0;
}

/* ---- a caller ---- */

static int dial(struct server *s)
{
	struct timeval patience = { .tv_sec = 5 };
	int fd = socket(s->at.sun_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
		connect(fd, (struct sockaddr *)&s->at,
			s->at.sun_family == AF_UNIX ? sizeof(s->at) : sizeof(s->tcp)),
		0);
	assert_int_equal(
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

__attribute__((unused)) static void post(int fd, const char *headers, const char *body)
{
	char *text = NULL;

	assert_true(
		asprintf(
			&text,
			"POST /v1/executions HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n%s\r\n%s",
			strlen(body), headers, body) > 0);
	put(fd, text);
	free(text);
}
#define JSON "Content-Type: application/json\r\n"
#define STREAM JSON "Accept: text/plain;q=0.1, application/x-ndjson\r\n"

struct reply {
	int status;
	char head[2048];
	char *body;
	size_t len;
};

static void read_exactly(int fd, char *to, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, to, len, 0);

		assert_true(n > 0);
		to += n;
		len -= (size_t)n;
	}
}

static size_t read_line(int fd, char *to, size_t size)
{
	size_t n = 0;

	do {
		assert_true(n + 1 < size);
		read_exactly(fd, to + n, 1);
	} while (to[n++] != '\n');
	to[n] = '\0';
	return n;
}

static void read_chunks(int fd, struct reply *r)
{
	char line[64];
	size_t len;

	for (;;) {
		(void)read_line(fd, line, sizeof(line));
		len = strtoul(line, NULL, 16);
		r->body = realloc(r->body, r->len + len + 3);
		read_exactly(fd, r->body + r->len, len + 2);
		r->len += len;
		r->body[r->len] = '\0';
		if (!len)
			return;
	}
}

static struct reply get(int fd)
{
	struct reply r = { 0 };
	size_t used = 0, n;
	const char *length;

	do {
		n = read_line(fd, r.head + used, sizeof(r.head) - used);
		used += n;
	} while (n > 2);
	r.status = atoi(r.head + strlen("HTTP/1.1 "));
	length = strcasestr(r.head, "\r\nContent-Length:");
	if (strcasestr(r.head, "\r\nTransfer-Encoding: chunked")) {
		read_chunks(fd, &r);
		return r;
	}
	if (r.status == 204)
		return r;
	assert_non_null(length);
	r.len = strtoul(strchr(length + 2, ':') + 1, NULL, 10);
	r.body = calloc(1, r.len + 1);
	read_exactly(fd, r.body, r.len);
	return r;
}

__attribute__((unused)) static void expect(int fd, int status, const char *part)
{
	struct reply r = get(fd);

	if (r.status != status || !strstr(r.body, part))
		fail_msg("%d %s, not %d with %s", r.status, r.body, status, part);
	free(r.body);
}

__attribute__((unused)) static void expect_end(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	assert_true(n == 0 || (n < 0 && (errno == ECONNRESET || errno == EPIPE)));
}

static void until(atomic_int *value, int wanted)
{
	int i;

	for (i = 0; i < 400 && *value != wanted; i++)
		(void)poll(NULL, 0, 5);
	assert_int_equal(*value, wanted);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, start, stop)

#endif
