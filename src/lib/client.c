/* SPDX-License-Identifier: MIT
 * Purpose: HTTP to a server of ours (client.h).
 * Process: the command's, chat's, mcp's; never the broker or the engine.
 * Trusts: the server as far as the user chose it; what it sends is bounded and is JSON or
 *   bytes for somebody else.
 * Invariants: only http and https, no redirects, no proxy of the environment: a request
 *   goes to the server that was named and to nobody else. */
#include "lib/client.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"

#define ANSWER_MAX (128u << 20)
#define CONNECT_S 10L
#define NDJSON "application/x-ndjson"

/* What is used of it. */
#define FUNCTIONS(_)           \
	_(global_init)         \
	_(easy_init)           \
	_(easy_setopt)         \
	_(easy_getinfo)        \
	_(easy_cleanup)        \
	_(easy_strerror)       \
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
	void *library;
	FUNCTIONS(MEMBER)
} curl;

struct client {
	char *socket, *base, *authorization;
};

/* ---- the library ---- */

static int load(struct sbx_err *err)
{
	static const char *const names[] = { "libcurl-gnutls.so.4", "libcurl.so.4" };
	const char *missing = NULL;
	void *library = NULL;

	if (curl.library)
		return 0;
	for (size_t i = 0; !library && i < sizeof(names) / sizeof(names[0]); i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return err_set(err, SBX_AT_ENGINE, 0,
			       "libcurl is not installed here (Debian: libcurl3-gnutls "
			       "or libcurl4)");
#define FIND(name)                                            \
	*(void **)&curl.name = dlsym(library, "curl_" #name); \
	if (!curl.name)                                       \
		missing = #name;
	FUNCTIONS(FIND)
	if (missing || curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		(void)dlclose(library);
		return err_set(err, SBX_AT_ENGINE, 0, "this libcurl is too old%s%s",
			       missing ? ": it has no curl_" : "",
			       missing ? missing : "");
	}
	curl.library = library;
	return 0;
}

int client_open(const struct client_options *options, struct client **ret,
		struct sbx_err *err)
{
	struct client *client;
	int r = load(err);

	if (r < 0)
		return r;
	client = calloc(1, sizeof(*client));
	if (client && options->socket)
		client->socket = strdup(options->socket);
	if (client)
		client->base = strdup(options->socket ? "http://localhost"
						      : options->url);
	if (client && options->token &&
	    asprintf(&client->authorization, "Authorization: Bearer %s", options->token) <
		    0)
		client->authorization = NULL;
	if (!client || !client->base || (options->socket && !client->socket) ||
	    (options->token && !client->authorization)) {
		client_close(client);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "a client");
	}
	*ret = client;
	return 0;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	if (client->authorization)
		explicit_bzero(client->authorization, strlen(client->authorization));
	free(client->authorization);
	free(client->socket);
	free(client->base);
	free(client);
}

void client_answer_clear(struct client_answer *answer)
{
	json_decref(answer->json);
	free(answer->data);
	*answer = (struct client_answer){ 0 };
}

char *client_escape(const char *segment, size_t len)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";
	struct buf text = { 0 };
	int r = buf_add(&text, "", 0);

	for (size_t i = 0; r == 0 && i < len; i++)
		r = segment[i] && strchr(plain, segment[i])
			    ? buf_add(&text, &segment[i], 1)
			    : buf_addf(&text, "%%%02X", (unsigned char)segment[i]);
	if (r < 0)
		buf_free(&text);
	return text.data;
}

/* ---- one request ---- */

struct transfer {
	const struct client_request *request;
	CURL *easy;
	CURLM *multi;
	struct curl_slist *head;
	char *url, *body;
	struct buf in;
	bool lines;   /* the answer is a stream */
	bool stopped; /* by on_line() */
	int failed;   /* -errno of ours */
};

static const char *content_type(const struct transfer *t)
{
	char *type = NULL;

	(void)curl.easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
	return type ? type : "";
}

static bool take_lines(struct transfer *t)
{
	char *end;

	while (!t->stopped && (end = memchr(t->in.data, '\n', t->in.len)) != NULL) {
		size_t len = (size_t)(end - t->in.data);
		json_t *line = json_loadb(t->in.data, len, JSON_ALLOW_NUL, NULL);

		if (!line) {
			t->failed = -EBADMSG;
			return false;
		}
		t->stopped = !t->request->on_line(t->request->arg, line);
		json_decref(line);
		buf_consume(&t->in, len + 1);
	}
	return !t->stopped;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * count;

	if (t->in.len == 0 && t->request->on_line)
		t->lines = strncmp(content_type(t), NDJSON, strlen(NDJSON)) == 0;
	t->failed = buf_add(&t->in, data, len);
	if (t->failed == 0 && t->lines && !take_lines(t))
		return 0;
	return t->failed == 0 ? len : 0;
}

static int add_head(struct transfer *t, const char *line)
{
	struct curl_slist *grown = curl.slist_append(t->head, line);

	if (!grown)
		return -ENOMEM;
	t->head = grown;
	return 0;
}

static int set_up(const struct client *client, struct transfer *t)
{
	const struct client_request *request = t->request;
	CURLcode bad = CURLE_OK;

	if (asprintf(&t->url, "%s%s", client->base, request->path) < 0) {
		t->url = NULL;
		return -ENOMEM;
	}
	if (request->body && !(t->body = json_dumps(request->body, JSON_COMPACT)))
		return -ENOMEM;
	t->easy = curl.easy_init();
	t->multi = curl.multi_init();
	if (!t->easy || !t->multi ||
	    add_head(t, request->on_line ? "Accept: " NDJSON
					 : "Accept: application/json, */*") < 0 ||
	    add_head(t, "Expect:") < 0 ||
	    (t->body && add_head(t, "Content-Type: application/json") < 0) ||
	    (client->authorization && add_head(t, client->authorization) < 0))
		return -ENOMEM;
#define SET(option, value)                                              \
	do {                                                            \
		if (bad == CURLE_OK)                                    \
			bad = curl.easy_setopt(t->easy, option, value); \
	} while (0)
	SET(CURLOPT_URL, t->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	SET(CURLOPT_PATH_AS_IS, 1L);
	if (client->socket)
		SET(CURLOPT_UNIX_SOCKET_PATH, client->socket);
	if (t->body) {
		SET(CURLOPT_POSTFIELDS, t->body);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(t->body));
	}
	SET(CURLOPT_CUSTOMREQUEST, request->method);
	SET(CURLOPT_HTTPHEADER, t->head);
	SET(CURLOPT_WRITEFUNCTION, on_data);
	SET(CURLOPT_WRITEDATA, t);
#undef SET
	if (bad != CURLE_OK || curl.multi_add_handle(t->multi, t->easy) != CURLM_OK)
		return -EINVAL;
	return 0;
}

static void clear(struct transfer *t)
{
	if (t->multi && t->easy)
		(void)curl.multi_remove_handle(t->multi, t->easy);
	if (t->easy)
		curl.easy_cleanup(t->easy);
	if (t->multi)
		(void)curl.multi_cleanup(t->multi);
	curl.slist_free_all(t->head);
	free(t->url);
	free(t->body);
	buf_free(&t->in);
}

/* Until the answer is whole. */
static CURLcode wait_for(struct transfer *t)
{
	const struct client_request *request = t->request;
	struct curl_waitfd wake = { .fd = request->wake_fd ? *request->wake_fd : -1,
				    .events = CURL_WAIT_POLLIN };
	int running = 1, left;
	CURLMsg *message;

	while (running) {
		if (curl.multi_perform(t->multi, &running) != CURLM_OK)
			return CURLE_RECV_ERROR;
		if (!running)
			break;
		wake.revents = 0;
		if (curl.multi_poll(t->multi, &wake, request->wake_fd ? 1 : 0, 60000,
				    NULL) != CURLM_OK)
			return CURLE_RECV_ERROR;
		if (wake.revents && request->on_wake)
			request->on_wake(request->arg);
	}
	message = curl.multi_info_read(t->multi, &left);
	return message && message->msg == CURLMSG_DONE ? message->data.result
						       : CURLE_RECV_ERROR;
}

static int failure(const struct client *client, const struct transfer *t, CURLcode code,
		   struct sbx_err *err)
{
	const char *where = client->socket ? client->socket : client->base;

	if (t->stopped)
		return err_set(err, SBX_AT_USAGE, ECANCELED, "the answer was not wanted");
	if (t->failed == -EBADMSG)
		return err_set(err, SBX_AT_ENGINE, EBADMSG,
			       "%s sent a line that is no JSON", where);
	if (t->failed < 0)
		return err_set(err, SBX_AT_ENGINE, -t->failed, "the answer of %s", where);
	if (code == CURLE_COULDNT_CONNECT)
		return err_set(err, SBX_AT_ENGINE, ENOTCONN, "%s", where);
	return err_set(err, SBX_AT_ENGINE, EPIPE, "%s: %s", where,
		       curl.easy_strerror(code));
}

static int take_answer(struct transfer *t, struct client_answer *ret, struct sbx_err *err)
{
	const char *type = content_type(t);
	long status = 0;

	(void)curl.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	ret->status = (int)status;
	if (t->lines || t->in.len == 0)
		return 0;
	if (strncasecmp(type, "application/json", 16) == 0 ||
	    strncasecmp(type, "application/problem+json", 24) == 0) {
		ret->json = json_loadb(t->in.data, t->in.len, JSON_ALLOW_NUL, NULL);
		return ret->json ? 0
				 : err_set(err, SBX_AT_ENGINE, EBADMSG,
					   "the server's answer is no JSON");
	}
	ret->data = t->in.data;
	ret->len = t->in.len;
	t->in = (struct buf){ 0 };
	return 0;
}

int client_send(struct client *client, const struct client_request *request,
		struct client_answer *ret, struct sbx_err *err)
{
	struct transfer t = { .request = request, .in = { .max = ANSWER_MAX } };
	CURLcode code;
	int r = set_up(client, &t);

	*ret = (struct client_answer){ 0 };
	if (r < 0) {
		(void)err_set(err, SBX_AT_ENGINE, -r, "a request");
	} else {
		code = wait_for(&t);
		r = code == CURLE_OK && !t.stopped ? take_answer(&t, ret, err)
						   : failure(client, &t, code, err);
	}
	clear(&t);
	return r;
}
