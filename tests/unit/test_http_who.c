/* SPDX-License-Identifier: MIT
 * Purpose: who may ask the HTTP door over TCP (tokens, Host, Origin), what a caller may ask
 *   for (ceilings, grants, templates), requests that could be read in two ways, and what
 *   is remembered of runs.
 * Each refusal has a control that is the same but for one thing, and is answered. */
#include "http_help.h"

#define OWNER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GUEST "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define AS_OWNER "Authorization: Bearer " OWNER "\r\n"
#define AS_GUEST "Authorization: Bearer " GUEST "\r\n"
#define OK_BODY "{\"code\": \"ok\"}"

static struct sbx_policy guest_ceilings;
static const struct http_token tokens[] = {
	{ .name = "operator", .secret = OWNER, .owner = true },
	{ .name = "guest", .secret = GUEST, .ceilings = &guest_ceilings },
};
static char preload_item[] = "json";
static char *preload_items[] = { preload_item };
static const struct http_template templates[] = {
	{ .name = "parsing", .python = "", .preload = { 1, preload_items } },
};
static const char *const hosts[] = { "sandbox.example", "other.example:8443", NULL };
static const char *const origins[] = { "https://page.example", NULL };
static const char *const grantable[] = { "/srv/shared:ro", NULL };

static struct server *prepare_tcp(bool open)
{
	struct server *s = calloc(1, sizeof(*s));
	socklen_t len = sizeof(s->tcp);

	s->tcp = (struct sockaddr_in){ .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&s->tcp, len), 0);
	assert_int_equal(listen(s->listen_fd, 16), 0);
	assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&s->tcp, &len), 0);
	(void)snprintf(s->host, sizeof(s->host), "127.0.0.1:%u", ntohs(s->tcp.sin_port));
	policy_widest(&guest_ceilings);
	guest_ceilings.max_memory_mb = 64;
	s->options = (struct http_options){ .tokens = tokens,
					    .token_count = 2,
					    .hosts = hosts,
					    .origins = origins,
					    .grantable = grantable,
					    .templates = templates,
					    .template_count = 1,
					    .log_level = LOG_OFF };
	s->listener = (struct http_listener){ .kind = HTTP_TCP,
					      .open = open,
					      .host = s->host };
	return s;
}

static int start_tcp(void **state)
{
	*state = start_with(prepare_tcp(false));
	return 0;
}

static int start_open(void **state)
{
	*state = start_with(prepare_tcp(true));
	return 0;
}

static int stop_tcp(void **state)
{
	policy_clear(&guest_ceilings);
	return stop(state);
}

/* One request on a connection of its own; returns its status. */
static int ask(struct server *s, const char *line, const char *host, const char *headers,
	       const char *body, char *ret_head, char *ret_body)
{
	char *text = NULL;
	int fd = dial(s), status;
	struct reply r;

	assert_true(asprintf(&text,
			     "%s HTTP/1.1\r\n%s%s%s%sContent-Length: %zu\r\n\r\n%s", line,
			     host ? "Host: " : "", host ? host : "", host ? "\r\n" : "",
			     headers, strlen(body), body) > 0);
	put(fd, text);
	free(text);
	r = get(fd);
	status = r.status;
	if (ret_head)
		(void)snprintf(ret_head, sizeof(r.head), "%s", r.head);
	if (ret_body)
		(void)snprintf(ret_body, 8192, "%s", r.body ? r.body : "");
	/* Nowhere, whatever is asked. */
	assert_null(strcasestr(r.head, "Access-Control-"));
	if (host && *host) { /* else the library's own words, without our headers */
		assert_non_null(
			strcasestr(r.head, "\r\nX-Content-Type-Options: nosniff\r\n"));
		assert_non_null(strcasestr(r.head, "frame-ancestors 'none'"));
	}
	free(r.body);
	(void)close(fd);
	return status;
}

static int run_as(struct server *s, const char *headers, const char *body, char *ret_body)
{
	char with_type[1024];

	(void)snprintf(with_type, sizeof(with_type), JSON "%s", headers);
	return ask(s, "POST /v1/executions", s->host, with_type, body, NULL, ret_body);
}

/* ---- tokens ---- */

static void a_token_is_needed(void **state)
{
	static const char *const wrong[] = {
		"",
		"Authorization: Bearer\r\n",
		"Authorization: Bearer \r\n",
		"Authorization: Basic " OWNER "\r\n",
		"Authorization: " OWNER "\r\n",
		"Authorization: Bearer " OWNER "0\r\n",
		"Authorization: Bearer 1" OWNER "\r\n",
		"Authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\r\n",
		"Cookie: token=" OWNER "\r\n",
		"X-Authorization: Bearer " OWNER "\r\n",
	};
	struct server *s = *state;
	char head[2048];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(run_as(s, wrong[i], OK_BODY, NULL), 401);
	assert_int_equal(ask(s, "GET /v1/nothing", s->host, "", "", head, NULL), 401);
	assert_non_null(strcasestr(head, "\r\nWWW-Authenticate: Bearer realm="));
	assert_int_equal(
		ask(s, "GET /v1/executions?token=" OWNER, s->host, "", "", NULL, NULL),
		401);
	assert_int_equal(s->engine.submitted, 0);
	assert_int_equal(run_as(s, AS_OWNER, OK_BODY, NULL), 200);
	assert_int_equal(run_as(s, AS_GUEST, OK_BODY, NULL), 200);
	assert_int_equal(s->engine.submitted, 2);
	assert_int_equal(s->engine.last_peer, -1);
	/* Who has no token learns nothing but what is open. */
	assert_int_equal(ask(s, "GET /", s->host, "", "", head, NULL), 200);
	assert_int_equal(ask(s, "GET /openapi.json", s->host, "", "", NULL, NULL), 200);
	assert_int_equal(ask(s, "GET /metrics", s->host, "", "", NULL, NULL), 401);
}

static void health_without_a_token_says_little(void **state)
{
	struct server *s = *state;
	char body[8192];

	assert_int_equal(ask(s, "GET /v1/health", s->host, "", "", NULL, body), 200);
	assert_non_null(strstr(body, "\"ready\":true"));
	assert_null(strstr(body, "running"));
	assert_int_equal(ask(s, "GET /v1/health", s->host, AS_GUEST, "", NULL, body),
			 200);
	assert_non_null(strstr(body, "running"));
}

static void an_open_listener_asks_for_none(void **state)
{
	struct server *s = *state;

	assert_int_equal(run_as(s, "", OK_BODY, NULL), 200);
	assert_int_equal(run_as(s, "Authorization: Bearer x\r\n", OK_BODY, NULL), 401);
	assert_int_equal(ask(s, "GET /v1/executions", "evil.example", "", "", NULL, NULL),
			 421);
}

/* ---- Host, Origin, preflights ---- */

static void hosts_are_exact(void **state)
{
	struct server *s = *state;
	char port[8], text[64];
	const char *good[] = { s->host, "sandbox.example", "SANDBOX.example:80",
			       "other.example:8443" };
	const char *bad[] = { "evil.example",       "127.0.0.1",
			      "127.0.0.1:1",        "other.example",
			      "sandbox.example:81", "",
			      "sandbox.example.",   "sandbox.example@evil.example" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(
			ask(s, "GET /v1/executions", good[i], AS_OWNER, "", NULL, NULL),
			200);
	(void)snprintf(port, sizeof(port), "%u", ntohs(s->tcp.sin_port));
	(void)snprintf(text, sizeof(text), "localhost:%s", port);
	assert_int_equal(ask(s, "GET /", text, "", "", NULL, NULL), 200);
	(void)snprintf(text, sizeof(text), "127.0.0.1.nip.example:%s", port);
	assert_int_equal(ask(s, "GET /", text, "", "", NULL, NULL), 421);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			ask(s, "GET /v1/executions", bad[i], AS_OWNER, "", NULL, NULL),
			421);
	assert_int_equal(ask(s, "GET /", NULL, AS_OWNER, "", NULL, NULL), 400);
	assert_int_equal(ask(s, "GET /", "", AS_OWNER, "", NULL, NULL), 421);
}

static void origins_are_exact(void **state)
{
	static const char *const bad[] = { "null",
					   "https://evil.example",
					   "http://127.0.0.1",
					   "https://page.example.evil.example",
					   "http://page.example",
					   "" };
	struct server *s = *state;
	char header[512];

	(void)snprintf(header, sizeof(header), AS_OWNER "Origin: http://%s\r\n", s->host);
	assert_int_equal(run_as(s, header, OK_BODY, NULL), 200);
	assert_int_equal(
		run_as(s, AS_OWNER "Origin: https://page.example\r\n", OK_BODY, NULL),
		200);
	(void)snprintf(header, sizeof(header), AS_OWNER "Origin: https://%s\r\n",
		       s->host);
	assert_int_equal(run_as(s, header, OK_BODY, NULL), 403);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(header, sizeof(header), AS_OWNER "Origin: %s\r\n", bad[i]);
		assert_int_equal(run_as(s, header, OK_BODY, NULL), 403);
	}
	assert_int_equal(s->engine.submitted, 2);
	(void)snprintf(header, sizeof(header),
		       "Origin: http://%s\r\nAccess-Control-Request-Method: POST\r\n",
		       s->host);
	assert_int_equal(
		ask(s, "OPTIONS /v1/executions", s->host, header, "", NULL, NULL), 401);
	assert_int_equal(
		ask(s, "OPTIONS /v1/executions", s->host, AS_OWNER, "", NULL, NULL), 405);
}

/* ---- what may be asked for ---- */

static void ceilings_grants_templates(void **state)
{
	static const struct {
		const char *headers, *body, *part;
		int status;
	} cases[] = {
		{ AS_GUEST, "{\"code\":\"ok\"}", "ok",
		  200 }, /* 100 by default, lowered */
		{ AS_GUEST, "{\"code\":\"ok\",\"policy\":{\"max_memory_mb\":64}}", "ok",
		  200 },
		{ AS_GUEST, "{\"code\":\"ok\",\"policy\":{\"max_memory_mb\":65}}",
		  "\"field\":\"max_memory_mb\"", 403 },
		{ AS_OWNER, "{\"code\":\"ok\",\"policy\":{\"max_memory_mb\":65}}", "ok",
		  200 },
		{ AS_OWNER, "{\"code\":\"ok\",\"policy\":{\"preload\":[\"os\"]}}",
		  "\"field\":\"preload\"", 403 },
		{ AS_OWNER, "{\"code\":\"ok\",\"policy\":{\"python\":\"/bin/x\"}}",
		  "\"field\":\"python\"", 403 },
		{ AS_OWNER, "{\"code\":\"ok\",\"preset\":\"data\"}", "ok", 200 },
		{ AS_OWNER, "{\"code\":\"ok\",\"template\":\"parsing\"}", "ok", 200 },
		{ AS_OWNER, "{\"code\":\"ok\",\"template\":\"other\"}",
		  "\"field\":\"template\"", 400 },
		{ AS_OWNER,
		  "{\"code\":\"ok\",\"policy\":{\"allowed_directories\":[\"/srv/shared/a:ro\"]}}",
		  "ok", 200 },
		{ AS_OWNER,
		  "{\"code\":\"ok\",\"policy\":{\"allowed_directories\":[\"/srv/shared:rw\"]}}",
		  "\"field\":\"allowed_directories\"", 403 },
		{ AS_OWNER,
		  "{\"code\":\"ok\",\"policy\":{\"allowed_directories\":[\"/srv/shared2:ro\"]}}",
		  "\"field\":\"allowed_directories\"", 403 },
		{ AS_OWNER,
		  "{\"code\":\"ok\",\"policy\":{\"allowed_directories\":[\"/srv/shared/../..:ro\"]}}",
		  "\"field\":\"allowed_directories\"", 400 },
		{ AS_OWNER,
		  "{\"code\":\"ok\",\"cwd\":\"/srv/shared\",\"policy\":{\"allowed_directories\":[\"./:ro\"]}}",
		  "\"field\":\"allowed_directories\"", 400 },
		{ AS_OWNER, "{\"code\":\"ok\",\"detach\":1}", "\"field\":\"detach\"",
		  400 },
		{ AS_OWNER, "{\"code\":\"ok\",\"timeout\":0}", "\"field\":\"timeout\"",
		  400 },
		{ AS_OWNER, "{\"code\":\"ok\",\"session\":\"x\"}",
		  "\"field\":\"session\"", 404 },
		{ AS_OWNER, "{\"code\":\"ok\",\"session\":\"x\",\"preset\":\"data\"}",
		  "\"field\":\"preset\"", 400 },
	};
	struct server *s = *state;
	char body[8192];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = run_as(s, cases[i].headers, cases[i].body, body);

		if (status != cases[i].status || !strstr(body, cases[i].part))
			fail_msg("%s: %d %s", cases[i].body, status, body);
	}
}

/* ---- two ways to read it ---- */

#define RUN_LINE "POST /v1/executions HTTP/1.1\r\n"
#define INNER "GET /v1/executions HTTP/1.1\r\nHost: x\r\n" AS_OWNER "\r\n"

/* Each is refused with 400 (or the connection simply ends), and nothing behind it is
 * taken for a request. */
static void doubtful_requests_end_the_connection(void **state)
{
	static const char *const texts[] = {
		RUN_LINE "%s" JSON
			 "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n\r\n"
			 "e\r\n" OK_BODY "\r\n0\r\n\r\n" INNER,
		RUN_LINE "%s" JSON
			 "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
			 "e\r\n" OK_BODY "\r\n0\r\n\r\n" INNER,
		RUN_LINE "%s" JSON
			 "Content-Length: 14\r\nContent-Length: 14\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON
			 "Content-Length: 14\r\nContent-Length: 0\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON "Content-Length: 14, 14\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON "Content-Length: +14\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON "Content-Length: 0xe\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON
			 "Content-Length: 14 \r\nContent-Length: 0\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
			 "identity\r\n\r\ne\r\n" OK_BODY "\r\n0\r\n\r\n" INNER,
		RUN_LINE "%s" JSON "Transfer-Encoding: xchunked\r\n\r\ne\r\n" OK_BODY
			 "\r\n0\r\n\r\n" INNER,
		RUN_LINE "%s" JSON "Transfer-Encoding: gzip, chunked\r\n\r\ne\r\n" OK_BODY
			 "\r\n0\r\n\r\n" INNER,
		"POST /v1/executions HTTP/1.0\r\n%s" JSON
		"Transfer-Encoding: chunked\r\n\r\ne\r\n" OK_BODY "\r\n0\r\n\r\n" INNER,
		RUN_LINE "%s" JSON
			 "Content-Length: 4\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"
			 "e\r\n" OK_BODY "\r\n0\r\n\r\n" INNER,
		RUN_LINE "%s" JSON
			 "Transfer-Encoding: chunked\r\n , identity\r\n\r\ne\r\n" OK_BODY
			 "\r\n0\r\n\r\n" INNER,
		RUN_LINE "%s" JSON "Transfer-Encoding : chunked\r\n\r\ne\r\n" OK_BODY
			 "\r\n0\r\n\r\n" INNER,
		RUN_LINE "%s" JSON "Content-Length : 14\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%sHost: other.example:8443\r\n" JSON
			 "Content-Length: 14\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" AS_GUEST JSON "Content-Length: 14\r\n\r\n" OK_BODY INNER,
		RUN_LINE
		"%s" JSON
		"Content-Type: text/plain\r\nContent-Length: 14\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON "Content-Length: 14\r\nX: a\x01"
			 "b\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON
			 "Content-Length: 14\r\nX\x01Y: a\r\n\r\n" OK_BODY INNER,
		RUN_LINE "%s" JSON
			 "Content-Length: 14\r\n no name\r\n: x\r\n\r\n" OK_BODY INNER,
		"POST http://127.0.0.1/v1/executions HTTP/1.1\r\n%s" JSON
		"Content-Length: 14\r\n\r\n" OK_BODY INNER,
		"CONNECT 127.0.0.1:80 HTTP/1.1\r\n%s\r\n" INNER,
		"OPTIONS * HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/executions%%00 HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/executions%%00/x HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/x/%%2e%%2e/executions HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/x/../executions HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/./executions HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1%%2fexecutions HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1\\executions HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1%%5cexecutions HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/executions/\xff HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/executions/%%ff HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/executions/%%c0%%ae HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/executions/%%0d%%0aX:%%20y HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/executions/%%zz HTTP/1.1\r\n%s\r\n" INNER,
		"GET /v1/executions/%% HTTP/1.1\r\n%s\r\n" INNER,
	};
	struct server *s = *state;
	char own[512], sink[16384];

	(void)snprintf(own, sizeof(own), "Host: %s\r\n" AS_OWNER, s->host);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t used = 0;
		ssize_t n;
		char *text = NULL;
		int fd = dial(s);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		assert_true(asprintf(&text, texts[i], own) > 0);
#pragma GCC diagnostic pop
		put(fd, text);
		while ((n = recv(fd, sink + used, sizeof(sink) - 1 - used, 0)) > 0)
			used += (size_t)n;
		sink[used] = '\0';
		/* Ended by the server, not by our patience; at most one answer, and that
		 * a refusal. */
		if (n < 0 && errno == EAGAIN)
			fail_msg("%zu: left open: %s\n%s", i, text, sink);
		if (used && (strncmp(sink, "HTTP/1.1 400", 12) != 0 &&
			     strncmp(sink, "HTTP/1.0 400", 12) != 0))
			fail_msg("%zu: %s\n%s", i, text, sink);
		if (strstr(sink + (used ? 8 : 0), "HTTP/1.1 2") ||
		    strstr(sink, "executions\":"))
			fail_msg("%zu: smuggled: %s\n%s", i, text, sink);
		free(text);
		(void)close(fd);
	}
	assert_int_equal(s->engine.submitted, 0);
	assert_int_equal(run_as(s, AS_OWNER, OK_BODY, NULL), 200);
}

static void bad_chunks(void **state)
{
	static const char *const bodies[] = { "-1\r\n" OK_BODY,
					      "e;\x01\r\nx",
					      "0xe\r\n" OK_BODY,
					      "fffffffffffffffff\r\n" OK_BODY,
					      "\r\n",
					      "e\n\n" };
	struct server *s = *state;
	char text[1024], sink[4096];

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		int fd = dial(s);

		(void)snprintf(text, sizeof(text),
			       RUN_LINE "Host: %s\r\n" AS_OWNER JSON
					"Transfer-Encoding: chunked\r\n\r\n%s\r\n\r\n",
			       s->host, bodies[i]);
		put(fd, text);
		while (recv(fd, sink, sizeof(sink), 0) > 0)
			assert_memory_not_equal(sink, "HTTP/1.1 2", 10);
		assert_int_not_equal(errno, EAGAIN);
		(void)close(fd);
	}
	assert_int_equal(s->engine.submitted, 0);
}

static void too_many_headers(void **state)
{
	struct server *s = *state;
	char head[8192] = AS_OWNER;

	for (int i = 0; i < 90; i++)
		(void)strcat(head, "X: y\r\n");
	assert_int_equal(ask(s, "GET /", s->host, head, "", NULL, NULL), 200);
	for (int i = 0; i < 20; i++)
		(void)strcat(head, "X: y\r\n");
	assert_int_equal(ask(s, "GET /", s->host, head, "", NULL, NULL), 400);
}

/* ---- another's interface ---- */

static int say_json(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	exchange_json(ex, 200,
		      json_pack("{s:s,s:O}", "as", "json", "got", exchange_body(ex)));
	return 0;
}

static int say_form(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	exchange_json(ex, 200,
		      json_pack("{s:s,s:O}", "as", "form", "got", exchange_body(ex)));
	return 0;
}

static int say_bytes(struct exchange *ex, struct sbx_err *err)
{
	size_t len;

	if (exchange_param(ex, "path")[0] == 'n')
		return err_set_field(err, SBX_AT_USAGE, 0, "path", "no");
	(void)exchange_bytes(ex, &len);
	exchange_json(ex, 201,
		      json_pack("{s:I,s:s}", "len", (json_int_t)len, "path",
				exchange_param(ex, "path")));
	return 0;
}

static const struct route_answer any_answer[] = { { 200, NULL, NULL, "x" }, { 0 } };
static const struct route form_routes[] = {
	{ .method = "POST",
	  .pattern = "/execute",
	  .handle = say_form,
	  .body = BODY_FORM,
	  .id = "f",
	  .summary = "f",
	  .answers = any_answer },
};
static const struct route json_routes[] = {
	{ .method = "POST",
	  .pattern = "/execute",
	  .handle = say_json,
	  .body = BODY_JSON,
	  .id = "j",
	  .summary = "j",
	  .answers = any_answer },
	{ .method = "PUT",
	  .pattern = "/put/{path...}",
	  .handle = say_bytes,
	  .body = BODY_BYTES,
	  .id = "b",
	  .summary = "b",
	  .answers = any_answer },
};
static const struct route_table form_door = {
	.name = "form", .routes = form_routes, .count = 1, .loose = true
};
static const struct route_table json_door = {
	.name = "json", .routes = json_routes, .count = 2, .door = "e2b"
};
static const struct route_table *const doors[] = { &form_door, &json_door, NULL };

static int start_doors(void **state)
{
	struct server *s = prepare_tcp(true);

	s->listener.tables = doors;
	*state = start_with(s);
	return 0;
}

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"

static void the_type_chooses_the_door(void **state)
{
	static const struct {
		const char *line, *headers, *body, *part;
		int status;
	} cases[] = {
		{ "POST /execute", JSON, "{\"a\": 1}",
		  "{\"as\":\"json\",\"got\":{\"a\":1}}", 200 },
		{ "POST /execute?x=1", FORM, "code=print%281%29%0A+x&b=&c",
		  "{\"as\":\"form\",\"got\":{\"code\":\"print(1)\\n x\",\"b\":\"\",\"c\":\"\"}}",
		  200 },
		{ "POST /execute", FORM, "", "{\"as\":\"form\",\"got\":{}}", 200 },
		{ "POST /execute", FORM, "a=1&a=2", "UsageError", 400 },
		{ "POST /execute", FORM, "a=%00", "UsageError", 400 },
		{ "POST /execute", FORM, "a=%ff", "UsageError", 400 },
		{ "POST /execute", FORM, "a=%f", "UsageError", 400 },
		{ "POST /execute?x=1", JSON, "{}", "UsageError", 400 },
		{ "POST /execute", "Content-Type: text/plain\r\n", "{}",
		  "UnsupportedMediaType", 415 },
		{ "POST /execute", "", "{}", "UnsupportedMediaType", 415 },
		{ "PUT /put/a%20b/c", "", "xyz", "{\"len\":3,\"path\":\"a b/c\"}", 201 },
		{ "PUT /put/no", "", "xyz", "\"field\":\"path\"", 400 },
		{ "PUT /put/", "", "xyz", "NotFound", 404 },
		{ "PUT /put/a//b", "", "xyz", "NotFound", 404 },
		{ "PUT /put", "", "xyz", "NotFound", 404 },
		{ "GET /put/a", "", "", "MethodNotAllowed", 405 },
		{ "GET /v1/health", "", "", "NotFound", 404 },
	};
	struct server *s = *state;
	char body[8192];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = ask(s, cases[i].line, s->host, cases[i].headers,
				 cases[i].body, NULL, body);

		if (status != cases[i].status || !strstr(body, cases[i].part))
			fail_msg("%s %s: %d %s", cases[i].line, cases[i].body, status,
				 body);
	}
}

/* ---- runs that are looked at ---- */

static void detached_listed_stopped(void **state)
{
	struct server *s = *state;
	char head[2048], body[8192];

	assert_int_equal(ask(s, "POST /v1/executions", s->host, JSON AS_GUEST,
			     "{\"code\":\"wait\",\"detach\":true}", head, body),
			 202);
	assert_non_null(strcasestr(head, "\r\nLocation: /v1/executions/id-1\r\n"));
	until(&s->engine.running, 1);
	assert_int_equal(
		ask(s, "GET /v1/executions/id-1", s->host, AS_GUEST, "", NULL, body),
		200);
	assert_non_null(strstr(body, "\"status\":\"running\""));
	assert_non_null(strstr(body, "\"caller\":\"token guest\""));
	assert_int_equal(ask(s, "GET /v1/executions?status=running", s->host, AS_OWNER,
			     "", NULL, body),
			 200);
	assert_non_null(strstr(body, "id-1"));
	assert_int_equal(
		ask(s, "GET /v1/executions?status=ok", s->host, AS_OWNER, "", NULL, body),
		200);
	assert_null(strstr(body, "id-1"));
	assert_int_equal(
		ask(s, "DELETE /v1/executions/other", s->host, AS_GUEST, "", NULL, NULL),
		404);
	assert_int_equal(s->engine.running, 1);
	assert_int_equal(
		ask(s, "DELETE /v1/executions/id-1", s->host, AS_GUEST, "", NULL, NULL),
		204);
	until(&s->engine.running, 0);
	assert_int_equal(
		ask(s, "GET /v1/executions/id-1", s->host, AS_GUEST, "", NULL, body),
		200);
	assert_non_null(strstr(body, "\"status\":\"killed\""));
	assert_int_equal(ask(s, "GET /v1/executions/id-1/files/x", s->host, AS_GUEST, "",
			     NULL, body),
			 404);
	assert_non_null(strstr(body, "NotRecorded"));
}

static void a_guest_sees_its_own(void **state)
{
	struct server *s = *state;
	char body[8192];

	assert_int_equal(ask(s, "POST /v1/executions", s->host, JSON AS_OWNER,
			     "{\"code\":\"wait\",\"detach\":true}", NULL, NULL),
			 202);
	until(&s->engine.running, 1);
	assert_int_equal(ask(s, "GET /v1/executions", s->host, AS_GUEST, "", NULL, body),
			 200);
	assert_null(strstr(body, "id-1"));
	assert_int_equal(
		ask(s, "GET /v1/executions/id-1", s->host, AS_GUEST, "", NULL, NULL),
		404);
	assert_int_equal(
		ask(s, "DELETE /v1/executions/id-1", s->host, AS_GUEST, "", NULL, NULL),
		404);
	assert_int_equal(s->engine.running, 1);
	assert_int_equal(
		ask(s, "DELETE /v1/executions/id-1", s->host, AS_OWNER, "", NULL, NULL),
		204);
	until(&s->engine.running, 0);
}

static void stopping(void **state)
{
	struct server *s = *state;
	char body[8192];

	assert_int_equal(run_as(s, AS_OWNER, "{\"code\":\"stop\"}", NULL), 200);
	assert_int_equal(ask(s, "GET /v1/health?ready", s->host, "", "", NULL, body),
			 503);
	assert_non_null(strstr(body, "\"ready\":false"));
	assert_int_equal(ask(s, "GET /v1/health?live", s->host, "", "", NULL, body), 200);
	assert_int_equal(run_as(s, AS_OWNER, OK_BODY, body), 503);
	assert_non_null(strstr(body, "Stopping"));
	assert_int_equal(ask(s, "GET /v1/executions", s->host, AS_OWNER, "", NULL, NULL),
			 200);
}

static void server_timing_and_head(void **state)
{
	struct server *s = *state;
	char head[2048], line[64];
	int fd = dial(s);

	assert_int_equal(ask(s, "POST /v1/executions", s->host, JSON AS_OWNER, OK_BODY,
			     head, NULL),
			 200);
	assert_non_null(strstr(head,
			       "\r\nServer-Timing: queue;dur=2.000, setup;dur=3.000, "
			       "run;dur=4.000, total;dur="));
	put(fd, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
	(void)read_line(fd, line, sizeof(line));
	assert_non_null(strstr(line, "421"));
	(void)close(fd);
	fd = dial(s);
	(void)snprintf(head, sizeof(head),
		       "HEAD /v1/policy HTTP/1.1\r\nHost: %s\r\n" AS_OWNER
		       "\r\nGET /nothing HTTP/1.1\r\nHost: %s\r\n" AS_OWNER "\r\n",
		       s->host, s->host);
	put(fd, head);
	(void)read_line(fd, line, sizeof(line));
	assert_string_equal(line, "HTTP/1.1 200 OK\r\n");
	while (read_line(fd, head, sizeof(head)) > 2)
		;
	(void)read_line(fd, line, sizeof(line));
	assert_string_equal(line, "HTTP/1.1 404 Not Found\r\n"); /* no body was between */
	(void)close(fd);
}

#define OVER_TCP(test) cmocka_unit_test_setup_teardown(test, start_tcp, stop_tcp)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OVER_TCP(a_token_is_needed),
		OVER_TCP(health_without_a_token_says_little),
		cmocka_unit_test_setup_teardown(an_open_listener_asks_for_none,
						start_open, stop_tcp),
		OVER_TCP(hosts_are_exact),
		OVER_TCP(origins_are_exact),
		OVER_TCP(ceilings_grants_templates),
		OVER_TCP(doubtful_requests_end_the_connection),
		OVER_TCP(bad_chunks),
		OVER_TCP(too_many_headers),
		cmocka_unit_test_setup_teardown(the_type_chooses_the_door, start_doors,
						stop_tcp),
		OVER_TCP(detached_listed_stopped),
		OVER_TCP(a_guest_sees_its_own),
		OVER_TCP(stopping),
		OVER_TCP(server_timing_and_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
