/* SPDX-License-Identifier: MIT
 * Purpose: the HTTP door over a raw unix socket, with a stand-in for the engine: framing,
 *   keep-alive, pipelining, hostile requests, streams with back-pressure, and callers
 *   that go away.
 * Links the door's own files, built with shorter time-outs (meson.build), policy and base. */
#include "http_help.h"

/* ---- tests ---- */

static void one_connection_many_requests(void **state)
{
	struct server *s = *state;
	int fd = dial(s), i;

	for (i = 0; i < 50; i++) {
		post(fd, JSON, "{\"code\": \"ok\"}");
		expect(fd, 200, "\"status\":\"ok\"");
	}
	put(fd, "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(fd, 200, "\"running\":0");
	assert_int_equal(s->engine.submitted, 50);
	assert_int_equal(s->engine.peer_ok, 1);
	(void)close(fd);
}

static void verdicts_and_faults(void **state)
{
	int fd = dial(*state);

	post(fd, JSON, "{\"code\": \"timeout\"}");
	expect(fd, 200, "timeout");
	post(fd, JSON, "{\"code\": \"wall\"}");
	expect(fd, 503, "WallMissing");
	post(fd, JSON, "{\"code\": \"fault\"}");
	expect(fd, 500, "EngineError");
	(void)close(fd);
}

static void refusals_of_the_engine(void **state)
{
	static const struct {
		int stage, status;
	} cases[] = { { SBX_AT_POLICY, 400 },
		      { SBX_AT_CEILING, 403 },
		      { SBX_AT_BUSY, 429 },
		      { SBX_AT_WALL, 503 },
		      { SBX_AT_ENGINE, 500 } };
	struct server *s = *state;
	int fd = dial(s);
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s->engine.refuse_stage = cases[i].stage;
		post(fd, STREAM, "{\"code\": \"ok\"}");
		expect(fd, cases[i].status, "\"field\":\"max_memory_mb\"");
	}
	(void)close(fd);
}

static void refused_only_later(void **state)
{
	int fd = dial(*state);

	post(fd, JSON, "{\"code\": \"late\"}");
	expect(fd, 400, "\"name\":\"GrantRefused\",\"field\":\"allowed_directories\"");
	post(fd, STREAM, "{\"code\": \"late\"}");
	expect(fd, 200,
	       "{\"type\":\"error\",\"error\":{\"type\":\"urn:interpreter-sandbox:problem:GrantRefused\"");
	post(fd, JSON, "{\"code\": \"late\"}");
	(void)close(fd);
}

static void routes_methods_types(void **state)
{
	struct server *s = *state;
	int fd = dial(s);
	struct reply r;

	put(fd, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(fd, 404, "NotFound");
	put(fd, "PUT /v1/executions HTTP/1.1\r\nHost: x\r\n\r\n");
	r = get(fd);
	assert_int_equal(r.status, 405);
	assert_non_null(strcasestr(r.head, "\r\nAllow: GET, HEAD, POST\r\n"));
	assert_non_null(strcasestr(r.head, "\r\nX-Content-Type-Options: nosniff\r\n"));
	free(r.body);
	put(fd, "DELETE /v1/health HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(fd, 405, "MethodNotAllowed");
	post(fd, "", "{\"code\": \"ok\"}");
	expect(fd, 415, "UnsupportedMediaType");
	post(fd, "Content-Type: text/plain\r\n", "{\"code\": \"ok\"}");
	expect(fd, 415, "UnsupportedMediaType");
	post(fd, "Content-Type: text/plain, application/json\r\n", "{\"code\": \"ok\"}");
	expect(fd, 415, "UnsupportedMediaType");
	post(fd, "Content-Type: application/jsonp\r\n", "{\"code\": \"ok\"}");
	expect(fd, 415, "UnsupportedMediaType");
	assert_int_equal(s->engine.submitted, 0);
	post(fd,
	     "Content-Type: Application/JSON; charset=utf-8\r\nAccept: application/x-ndjson;q=0\r\n",
	     "{\"code\": \"ok\"}");
	expect(fd, 200, "{\"status\":\"ok\"");
	(void)close(fd);
}

static void hostile_bodies(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"1",
		"{",
		"{\"code\": 1}",
		"{\"code\": \"a\", \"code\": \"b\"}",
		"{\"code\": \"a\"} x",
		"{\"code\": \"\xff\"}",
		"{\"code\": \"a\", \"surprise\": 1}",

		"{\"code\": \"a\", \"stdin_open\": true}",
		"{\"code\": \"a\", \"policy\": {\"max_memory_mb\": -1}}",
		"null",
		"{\"code\": \"a\", \"cwd\": \"../x\"}"
	};
	struct server *s = *state;
	char *wide = malloc(400001), *deep = malloc(200001);
	int fd = dial(s);
	size_t i;

	for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		post(fd, JSON, bodies[i]);
		expect(fd, 400, "urn:interpreter-sandbox:problem:");
	}
	for (i = 0; i < 400000; i++)
		wide[i] = i & 1 ? ',' : i ? '1' : '[';
	wide[400000] = '\0';
	post(fd, JSON, wide);
	expect(fd, 400, "values");
	memset(deep, '[', 200000);
	deep[200000] = '\0';
	post(fd, JSON, deep);
	expect(fd, 400, "depth");
	/* What looks like structure inside a string is none. */
	deep[0] = '\0';
	(void)strcat(deep, "{\"code\": \"\\\"");
	memset(deep + strlen(deep), '{', 1000);
	(void)strcpy(deep + 1011, "\\\\\"}");
	post(fd, JSON, deep);
	expect(fd, 200, "ok");
	assert_int_equal(s->engine.submitted, 1);
	free(wide);
	free(deep);
	(void)close(fd);
}

static void oversize(void **state)
{
	struct server *s = *state;
	char head[9000], chunk[65537];
	int fd = dial(s), i;

	put(fd, "POST /v1/executions HTTP/1.1\r\nHost: x\r\n" JSON
		"Content-Length: 25165825\r\n\r\n{");
	expect(fd, 413, "TooLarge");
	expect_end(fd);
	(void)close(fd);

	/* Chunked: the length shows only as it comes. */
	fd = dial(s);
	put(fd, "POST /v1/executions HTTP/1.1\r\nHost: x\r\n" JSON
		"Transfer-Encoding: chunked\r\n\r\n");
	memset(chunk, ' ', sizeof(chunk) - 1);
	chunk[sizeof(chunk) - 1] = '\0';
	for (i = 0; i < 390; i++) {
		put(fd, "10000\r\n");
		put(fd, chunk);
		put(fd, "\r\n");
	}
	put(fd, "0\r\n\r\n");
	expect(fd, 413, "TooLarge");
	(void)close(fd);

	fd = dial(s);
	put(fd, "GET /v1/health HTTP/1.1\r\nHost: x\r\nX: ");
	memset(head, 'a', sizeof(head) - 1);
	head[sizeof(head) - 1] = '\0';
	for (i = 0; i < 8; i++)
		(void)send(fd, head, strlen(head), MSG_NOSIGNAL);
	expect(fd, 431, "");
	(void)close(fd);

	/* A large one that is allowed. */
	fd = dial(s);
	put(fd, "POST /v1/executions HTTP/1.1\r\nHost: x\r\n" JSON
		"Expect: 100-continue\r\nContent-Length: 4194304\r\n\r\n");
	(void)read_line(fd, head, sizeof(head));
	assert_memory_equal(head, "HTTP/1.1 100", 12);
	(void)read_line(fd, head, sizeof(head));
	put(fd, "{\"code\": \"ok\"}");
	for (i = 0; i < 63; i++)
		put(fd, chunk);
	chunk[65536 - 14] = '\0';
	put(fd, chunk);
	expect(fd, 200, "ok");
	(void)close(fd);
	assert_int_equal(s->engine.submitted, 1);
}

static void malformed_requests(void **state)
{
	static const char *const texts[] = {
		"\x16\x03\x01\x02",
		"GET\r\n\r\n",
		"GET /v1/health HTTP/9.9\r\n\r\n",
		"POST /v1/executions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST /v1/executions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
		"POST /v1/executions HTTP/1.1\r\nHost: x\r\n" JSON
		"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /v1/executions HTTP/1.1\r\nHost: x\r\n" JSON
		"Content-Length: 90\r\n\r\n{"
	};
	struct server *s = *state;
	char sink[4096];
	size_t i;
	int fd;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		fd = dial(s);
		put(fd, texts[i]);
		(void)shutdown(fd, SHUT_WR);
		while (recv(fd, sink, sizeof(sink), 0) > 0)
			;
		(void)close(fd);
	}
	fd = dial(s);
	post(fd, JSON, "{\"code\": \"ok\"}");
	expect(fd, 200, "ok");
	assert_int_equal(s->engine.submitted, 1);
	(void)close(fd);
}

static void pipelining(void **state)
{
	struct server *s = *state;
	int fd = dial(s), i;

	for (i = 0; i < 8; i++)
		post(fd, i & 1 ? STREAM : JSON, i == 4 ? "{" : "{\"code\": \"pieces\"}");
	for (i = 0; i < 8; i++)
		expect(fd, i == 4 ? 400 : 200, i == 4 ? "problem" : "\"result\":7");
	assert_int_equal(s->engine.submitted, 7);
	(void)close(fd);
}

static void going_away_ends_the_run(void **state)
{
	struct server *s = *state;
	int fd = dial(s);

	post(fd, JSON, "{\"code\": \"wait\"}");
	until(&s->engine.running, 1);
	(void)close(fd);
	until(&s->engine.running, 0);
	assert_int_equal(s->engine.cancelled, 1);

	fd = dial(s);
	post(fd, STREAM, "{\"code\": \"wait\"}");
	until(&s->engine.running, 1);
	(void)close(fd);
	until(&s->engine.running, 0);

	/* While it is being written to. */
	fd = dial(s);
	post(fd, STREAM, "{\"code\": \"flood\"}");
	until(&s->engine.running, 1);
	(void)close(fd);
	until(&s->engine.running, 0);

	/* With the next request already there. */
	fd = dial(s);
	post(fd, JSON, "{\"code\": \"wait\"}");
	post(fd, JSON, "{\"code\": \"wait\"}");
	until(&s->engine.running, 1);
	(void)close(fd);
	until(&s->engine.running, 0);
	assert_int_equal(s->engine.submitted, 4);
}

static void having_said_all_is_not_going_away(void **state)
{
	struct server *s = *state;
	int fd = dial(s);

	post(fd, JSON, "{\"code\": \"pieces\"}");
	(void)shutdown(fd, SHUT_WR);
	expect(fd, 200, "\"result\":7");
	expect_end(fd);
	assert_int_equal(s->engine.cancelled, 0);
	(void)close(fd);
}

static void stream_lines(void **state)
{
	static const char *const types[] = {
		"\"start\",\"id\":\"id-1\"",
		"\"stdout\",\"text\":\"caf\"",
		"\"text\":\"\xc3\xa9 \"",
		"\"text\":\"\xe2\x98\x83\"",
		"\"text\":\"\xef\xbf\xbd\"",
		"\"text\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
		"\"stderr\",\"text\":\"err\"",
		"\"event\",\"kind\":\"import\"",
		"\"sample\",\"at_ms\":20",
		"\"stdout\",\"text\":\"\xef\xbf\xbd\"",
		"\"result\",\"result\":{\"status\":\"ok\""
	};
	struct server *s = *state;
	int fd = dial(s);
	struct reply r;
	char *line, *rest;
	size_t i;

	post(fd, STREAM, "{\"code\": \"pieces\"}");
	r = get(fd);
	assert_int_equal(r.status, 200);
	assert_non_null(strcasestr(r.head, "Content-Type: application/x-ndjson"));
	rest = r.body;
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		line = strsep(&rest, "\n");
		if (!line || !strstr(line, types[i]))
			fail_msg("line %zu is %s, not %s", i, line, types[i]);
	}
	assert_string_equal(rest, "");
	free(r.body);

	/* HTTP/1.0 has no chunks: the end of the connection ends it. */
	put(fd, "POST /v1/executions HTTP/1.0\r\n" STREAM
		"Content-Length: 14\r\n\r\n{\"code\": \"ok\"}");
	r = (struct reply){ .body = calloc(1, 4096) };
	while (r.len < 4000) {
		ssize_t n = recv(fd, r.body + r.len, 4000 - r.len, 0);

		if (n <= 0)
			break;
		r.len += (size_t)n;
	}
	assert_non_null(strstr(r.body, "\r\n\r\n{\"type\":\"start\""));
	free(r.body);
	(void)close(fd);
}

static void slow_reader_holds_the_program(void **state)
{
	struct server *s = *state;
	unsigned long before;
	struct reply r;
	int fd = dial(s), i;

	post(fd, STREAM, "{\"code\": \"flood\"}");
	until(&s->engine.running, 1);
	for (before = 1, i = 0; i < 100 && before != s->engine.produced; i++) {
		before = s->engine.produced;
		(void)poll(NULL, 0, 50);
	}
	assert_true(before > 0 && before < (2u << 20));
	r = get(fd);
	assert_int_equal(r.status, 200);
	assert_true(r.len > (8u << 20));
	assert_int_equal(s->engine.produced, 8u << 20);
	free(r.body);
	post(fd, JSON, "{\"code\": \"ok\"}");
	expect(fd, 200, "ok");
	(void)close(fd);
}

static void slow_callers_are_ended(void **state)
{
	struct server *s = *state;
	int idle = dial(s), head = dial(s), body = dial(s), wait = dial(s), i;

	put(head, "GET /v1/health HT");
	put(body, "POST /v1/executions HTTP/1.1\r\nHost: x\r\n" JSON
		  "Content-Length: 10000\r\n\r\n");
	post(wait, JSON, "{\"code\": \"wait\"}");
	for (i = 0; i < 30; i++) { /* a byte now and then is not enough */
		(void)send(head, "T", 1, MSG_NOSIGNAL);
		(void)send(body, " ", 1, MSG_NOSIGNAL);
		(void)poll(NULL, 0, 40);
	}
	assert_true(send(head, "T", 1, MSG_NOSIGNAL) < 0);
	assert_true(send(body, " ", 1, MSG_NOSIGNAL) < 0);
	expect_end(idle);
	/* But who waits for a run waits as long as it takes. */
	assert_int_equal(s->engine.running, 1);
	(void)close(idle);
	(void)close(head);
	(void)close(body);
	(void)close(wait);
}

static void an_answer_that_is_not_read_is_given_up(void **state)
{
	struct server *s = *state;
	size_t whole = 0;
	char part[65536];
	int fd = dial(s);
	ssize_t n;

	post(fd, JSON, "{\"code\": \"big\"}");
	(void)poll(NULL, 0, 3000);
	while ((n = recv(fd, part, sizeof(part), 0)) > 0)
		whole += (size_t)n;
	assert_true(whole < (8u << 20));
	(void)close(fd);
	/* The control: one that is read. */
	fd = dial(s);
	post(fd, JSON, "{\"code\": \"big\"}");
	expect(fd, 200, "xxxx");
	(void)close(fd);
}

static void a_silent_event_stream_shows_that_it_lives(void **state)
{
	struct server *s = *state;
	char line[256];
	int fd = dial(s), comments = 0, events = 0;

	post(fd, JSON "Accept: text/event-stream\r\n", "{\"code\": \"wait\"}");
	while (comments < 3) {
		(void)read_line(fd, line, sizeof(line));
		comments += strcmp(line, ":\n") == 0;
		events += strncmp(line, "event: ", 7) == 0;
	}
	assert_int_equal(events, 1);
	(void)close(fd);
	until(&s->engine.running, 0);
}

static void more_callers_than_connections(void **state)
{
	struct server *s = *state;
	int fds[300], tries = 2000, i;

	for (i = 0; i < 300; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		while (connect(fds[i], (struct sockaddr *)&s->at, sizeof(s->at)) < 0 &&
		       i < 256 && tries--)
			(void)poll(NULL, 0, 1);
	}
	assert_true(tries > 0);
	for (i = 0; i < 300; i++)
		(void)close(fds[i]);
	fds[0] = dial(s);
	post(fds[0], JSON, "{\"code\": \"ok\"}");
	expect(fds[0], 200, "ok");
	(void)close(fds[0]);
}

static void many_at_once_and_an_end_half_way(void **state)
{
	struct server *s = *state;
	int fds[40], i;

	for (i = 0; i < 40; i++) {
		fds[i] = dial(s);
		post(fds[i], i & 1 ? STREAM : JSON, "{\"code\": \"wait\"}");
	}
	until(&s->engine.running, 40);
	*state = s;
	/* stop() closes the door under them; the sanitizer and `running` see what is
	 * left. */
	for (i = 0; i < 20; i++)
		(void)close(fds[i]);
	(void)poll(NULL, 0, 2);
	for (; i < 40; i++)
		(void)shutdown(fds[i], SHUT_WR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SERVER(one_connection_many_requests),
		WITH_SERVER(verdicts_and_faults),
		WITH_SERVER(refusals_of_the_engine),
		WITH_SERVER(refused_only_later),
		WITH_SERVER(routes_methods_types),
		WITH_SERVER(hostile_bodies),
		WITH_SERVER(oversize),
		WITH_SERVER(malformed_requests),
		WITH_SERVER(pipelining),
		WITH_SERVER(going_away_ends_the_run),
		WITH_SERVER(having_said_all_is_not_going_away),
		WITH_SERVER(stream_lines),
		WITH_SERVER(slow_reader_holds_the_program),
		WITH_SERVER(slow_callers_are_ended),
		WITH_SERVER(an_answer_that_is_not_read_is_given_up),
		WITH_SERVER(a_silent_event_stream_shows_that_it_lives),
		WITH_SERVER(more_callers_than_connections),
		WITH_SERVER(many_at_once_and_an_end_half_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
