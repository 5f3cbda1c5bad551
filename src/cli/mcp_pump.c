/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox mcp` between its standard streams and the server (mcp_pump.h). Each line
 *   is a request of its own, all at once; what they mean only the server knows.
 * Process: the command's. Trusts: the server to answer in lines; a client as the user who
 *   started it.
 * Invariants: nothing but whole lines of the server's is written, and one error for a request
 *   that the server did not answer; nothing of it is ever read as anything else. */
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/mcp_pump.h"

#define LINE_MAX_BYTES (24u << 20) /* what the server takes as a body */
#define ANSWER_MAX (128u << 20)    /* one line of it */
#define UNDER_WAY_MAX 64u
#define LINES_TYPE "application/x-ndjson"

/* Loaded when it is used: linked, it would cost every process of ours 4 ms. */
#define FUNCTIONS(_)           \
	_(global_init)         \
	_(easy_init)           \
	_(easy_setopt)         \
	_(easy_getinfo)        \
	_(easy_cleanup)        \
	_(slist_append)        \
	_(slist_free_all)      \
	_(multi_init)          \
	_(multi_add_handle)    \
	_(multi_remove_handle) \
	_(multi_perform)       \
	_(multi_poll)          \
	_(multi_info_read)     \
	_(multi_cleanup)
#define MEMBER(name) __typeof__(curl_##name) *name;
static struct {
	FUNCTIONS(MEMBER)
} curl;

struct pump {
	const char *socket;
	char *url;
	CURLM *multi;
	struct curl_slist *headers;
	struct buf in;
	struct asked *first; /* of those under way */
	size_t under_way;
	bool ended;    /* standard input */
	bool skipping; /* a line that is too long */
	bool unread;   /* standard output */
};

struct asked {
	struct pump *pump;
	struct asked *prev, *next;
	CURL *easy;
	char *line;
	size_t len;
	struct buf answer;
	bool lines; /* a stream: each line goes on as it comes */
};

static int load(void)
{
	static const char *const names[] = { "libcurl-gnutls.so.4", "libcurl.so.4" };
	void *library = NULL;
	bool whole = true;

	for (size_t i = 0; !library && i < sizeof(names) / sizeof(names[0]); i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return cli_fail(EXIT_OUR_FAULT,
				"mcp: libcurl is not installed here (Debian: "
				"libcurl3-gnutls or libcurl4)");
#define FIND(name)                                            \
	*(void **)&curl.name = dlsym(library, "curl_" #name); \
	whole = whole && curl.name;
	FUNCTIONS(FIND)
	return whole && curl.global_init(CURL_GLOBAL_NOTHING) == CURLE_OK
		       ? 0
		       : cli_fail(EXIT_OUR_FAULT, "mcp: this libcurl is too old");
}

/* ---- answers ---- */

static void write_all(struct pump *pump, const char *data, size_t len)
{
	while (len && !pump->unread) {
		ssize_t n = write(1, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			pump->unread = true;
		else
			data += n, len -= (size_t)n;
	}
}

/* For a request that got none: what is no request gets nothing. */
static void write_error(struct pump *pump, const char *line, size_t len, int code,
			const char *text)
{
	json_t *message = line ? json_loadb(line, len, 0, NULL) : NULL,
	       *id = json_object_get(message, "id"), *answer;
	char *out;

	if (line && (!(json_is_string(id) || json_is_integer(id)) ||
		     !json_object_get(message, "method"))) {
		json_decref(message);
		return;
	}
	answer = json_pack("{s:s,s:O,s:{s:i,s:s}}", "jsonrpc", "2.0", "id",
			   id ? id : json_null(), "error", "code", code, "message", text);
	out = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	if (out) {
		write_all(pump, out, strlen(out));
		write_all(pump, "\n", 1);
	}
	free(out);
	json_decref(answer);
	json_decref(message);
}

static bool has_type(const struct asked *asked, const char *type)
{
	char *found = NULL;

	return curl.easy_getinfo(asked->easy, CURLINFO_CONTENT_TYPE, &found) ==
		       CURLE_OK &&
	       found && strncasecmp(found, type, strlen(type)) == 0;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct asked *asked = arg;
	size_t len = size * count;
	const char *end;

	if (asked->pump->unread || asked->answer.len + len > ANSWER_MAX ||
	    buf_add(&asked->answer, data, len) < 0)
		return 0;
	asked->lines = asked->lines || has_type(asked, LINES_TYPE);
	end = asked->lines ? memrchr(asked->answer.data, '\n', asked->answer.len) : NULL;
	if (end) {
		size_t whole = (size_t)(end - asked->answer.data) + 1;

		write_all(asked->pump, asked->answer.data, whole);
		buf_consume(&asked->answer, whole);
	}
	return len;
}

static void asked_free(struct asked *asked)
{
	if (asked->easy) {
		(void)curl.multi_remove_handle(asked->pump->multi, asked->easy);
		curl.easy_cleanup(asked->easy);
	}
	buf_free(&asked->answer);
	free(asked->line);
	free(asked);
}

static void end_asked(struct asked *asked)
{
	struct pump *pump = asked->pump;

	if (asked->prev)
		asked->prev->next = asked->next;
	else
		pump->first = asked->next;
	if (asked->next)
		asked->next->prev = asked->prev;
	pump->under_way--;
	asked_free(asked);
}

static void finish(struct asked *asked, CURLcode result)
{
	struct pump *pump = asked->pump;
	json_t *problem;

	if (result != CURLE_OK) {
		write_error(pump, asked->line, asked->len, -32603,
			    "the sandbox server did not answer");
	} else if (has_type(asked, "application/json")) {
		write_all(pump, asked->answer.data, asked->answer.len);
		write_all(pump, "\n", 1);
	} else if (has_type(asked, "application/problem+json")) {
		problem = json_loadb(asked->answer.data ? asked->answer.data : "",
				     asked->answer.len, 0, NULL);
		write_error(
			pump, asked->line, asked->len, -32603,
			json_object_get(problem, "detail")
				? json_string_value(json_object_get(problem, "detail"))
				: "the sandbox server refused it");
		json_decref(problem);
	}
	end_asked(asked);
}

/* ---- requests ---- */

static bool set_options(struct asked *asked)
{
	struct pump *pump = asked->pump;
	CURL *e = asked->easy;

	return curl.easy_setopt(e, CURLOPT_URL, pump->url) == CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, pump->socket) == CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) ==
		       CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_HTTPHEADER, pump->headers) == CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)asked->len) ==
		       CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_POSTFIELDS, asked->line) == CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_WRITEDATA, asked) == CURLE_OK &&
	       curl.easy_setopt(e, CURLOPT_PRIVATE, asked) == CURLE_OK &&
	       curl.multi_add_handle(pump->multi, e) == CURLM_OK;
}

static void ask(struct pump *pump, const char *line, size_t len)
{
	struct asked *asked;

	if (len && line[len - 1] == '\r')
		len--;
	if (!len)
		return;
	if (pump->under_way >= UNDER_WAY_MAX) {
		write_error(pump, line, len, -32603, "too many requests at once");
		return;
	}
	asked = calloc(1, sizeof(*asked));
	if (asked) {
		asked->pump = pump;
		asked->len = len;
		asked->line = malloc(len);
		asked->easy = curl.easy_init();
	}
	if (asked && asked->line)
		memcpy(asked->line, line, len);
	if (!asked || !asked->line || !asked->easy || !set_options(asked)) {
		write_error(pump, line, len, -32603, "out of memory");
		if (asked)
			asked_free(asked);
		return;
	}
	asked->next = pump->first;
	if (pump->first)
		pump->first->prev = asked;
	pump->first = asked;
	pump->under_way++;
}

static void take_lines(struct pump *pump)
{
	size_t at = 0;

	while (at < pump->in.len) {
		const char *end = memchr(pump->in.data + at, '\n', pump->in.len - at);

		if (!end)
			break;
		if (!pump->skipping)
			ask(pump, pump->in.data + at, (size_t)(end - pump->in.data) - at);
		pump->skipping = false;
		at = (size_t)(end - pump->in.data) + 1;
	}
	if (at)
		buf_consume(&pump->in, at);
	if (pump->in.len > LINE_MAX_BYTES) {
		if (!pump->skipping)
			write_error(pump, NULL, 0, -32600,
				    "a message is larger than 24 MiB");
		pump->skipping = true;
		buf_consume(&pump->in, pump->in.len);
	}
}

static int read_input(struct pump *pump)
{
	static char chunk[65536];
	ssize_t n = read(0, chunk, sizeof(chunk));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n > 0 && buf_add(&pump->in, chunk, (size_t)n) < 0)
		return cli_fail(EXIT_OUR_FAULT, "mcp: out of memory");
	if (n <= 0) {
		pump->ended = true;
		if (pump->in.len && !pump->skipping && buf_add(&pump->in, "\n", 1) < 0)
			return cli_fail(EXIT_OUR_FAULT, "mcp: out of memory");
	}
	take_lines(pump);
	return 0;
}

static int turn(struct pump *pump)
{
	struct curl_waitfd fd = { .fd = 0, .events = CURL_WAIT_POLLIN };
	int running, left;
	CURLMsg *news;

	if (curl.multi_perform(pump->multi, &running) != CURLM_OK)
		return cli_fail(EXIT_OUR_FAULT, "mcp: libcurl");
	while ((news = curl.multi_info_read(pump->multi, &left)) != NULL) {
		struct asked *asked = NULL;
		CURLcode result = news->data.result;

		if (news->msg == CURLMSG_DONE &&
		    curl.easy_getinfo(news->easy_handle, CURLINFO_PRIVATE, &asked) ==
			    CURLE_OK)
			finish(asked, result);
	}
	if (pump->unread || (pump->ended && !pump->under_way))
		return 0;
	if (curl.multi_poll(pump->multi, &fd, pump->ended ? 0 : 1, 60000, NULL) !=
	    CURLM_OK)
		return cli_fail(EXIT_OUR_FAULT, "mcp: libcurl");
	return !pump->ended && fd.revents ? read_input(pump) : 0;
}

/* A name of this client's, so that nobody else's request is cancelled by its ids. */
static int make_headers(struct pump *pump)
{
	unsigned char bytes[16];
	char scope[64] = "Mcp-Session-Id: ";
	const char *lines[] = { "Content-Type: application/json", "Accept: " LINES_TYPE,
				"Expect:", scope };

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -errno;
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(scope + strlen(scope), 3, "%02x", bytes[i]);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct curl_slist *more = curl.slist_append(pump->headers, lines[i]);

		if (!more)
			return -ENOMEM;
		pump->headers = more;
	}
	return 0;
}

int mcp_pump(const char *socket, const char *target)
{
	struct pump pump = { .socket = socket };
	int code = load();

	if (code != 0)
		return code;
	(void)signal(SIGPIPE, SIG_IGN);
	pump.multi = curl.multi_init();
	if (!pump.multi || make_headers(&pump) < 0 ||
	    asprintf(&pump.url, "http://localhost%s", target) < 0)
		code = cli_fail(EXIT_OUR_FAULT, "mcp: out of memory");
	while (code == 0 && !pump.unread && !(pump.ended && !pump.under_way))
		code = turn(&pump);
	/* What is under way at an early end is cut, and its program ends. */
	while (pump.first)
		end_asked(pump.first);
	if (pump.multi)
		(void)curl.multi_cleanup(pump.multi);
	curl.slist_free_all(pump.headers);
	buf_free(&pump.in);
	free(pump.url);
	return code;
}
