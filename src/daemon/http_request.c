/* SPDX-License-Identifier: MIT
 * Purpose: a request until its handler: who asks, what is asked for, the body.
 * Process: the engine. Trusts: libmicrohttpd's reading of a head; nothing in it.
 * Invariants: whatever could be read in two ways is refused and its connection ended; a
 *   refusal that could tell a stranger something (404, 405, 415) comes after the question
 *   who asks; a handler sees a whole, bounded body. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "daemon/http_internal.h"
#include "daemon/request.h"
#include "daemon/route_match.h"

#define JSON_TOKENS_MAX \
	65536u /* a body of "[1,1,1..." would cost forty times its size as a tree */
#define JSON_DEPTH_MAX 32u

/* ---- the head ---- */

struct head {
	unsigned count, hosts, authorizations, lengths, encodings, types, origins;
	bool doubtful;
};

static enum MHD_Result count_header(void *cls, enum MHD_ValueKind kind, const char *name,
				    const char *value)
{
	struct head *head = cls;
	const struct {
		const char *name;
		unsigned *count;
	} once[] = {
		{ "Host", &head->hosts },
		{ "Authorization", &head->authorizations },
		{ "Content-Length", &head->lengths },
		{ "Transfer-Encoding", &head->encodings },
		{ "Content-Type", &head->types },
		{ "Origin", &head->origins },
	};

	(void)kind;
	head->count++;
	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		if (strcasecmp(name, once[i].name) == 0)
			++*once[i].count;
	for (const char *at = name; *at; at++)
		if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f)
			head->doubtful = true;
	for (const char *at = value; at && *at; at++)
		if (((unsigned char)*at < 0x20 && *at != '\t') || *at == 0x7f)
			head->doubtful = true;
	return MHD_YES;
}

static const char *header(const struct exchange *ex, const char *name)
{
	return MHD_lookup_connection_value(ex->mhd, MHD_HEADER_KIND, name);
}

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

/* NULL where there is one way to read it. */
static const char *doubt(struct exchange *ex, const char *version)
{
	const char *coding = header(ex, "Transfer-Encoding"),
		   *length = header(ex, "Content-Length");
	struct head head = { 0 };

	(void)MHD_get_connection_values(ex->mhd, MHD_HEADER_KIND, count_header, &head);
	if (head.count > HTTP_HEADERS_MAX)
		return "too many header fields";
	if (head.doubtful)
		return "a header field with a control character";
	if (head.hosts > 1 || head.authorizations > 1 || head.types > 1 ||
	    head.origins > 1)
		return "a header field that may be there once is there twice";
	if (head.lengths > 1 || head.encodings > 1 || (head.lengths && head.encodings))
		return "two lengths of one body";
	if (coding && strcasecmp(coding, "chunked") != 0)
		return "a Transfer-Encoding that is not chunked";
	if (coding && strcmp(version, MHD_HTTP_VERSION_1_1) != 0)
		return "a Transfer-Encoding in HTTP/1.0";
	if (length && !is_number(length))
		return "a Content-Length that is no number";
	return NULL;
}

static void refuse(struct exchange *ex, int status, const char *name, const char *text,
		   bool end)
{
	ex->final_ = ex->final_ || end;
	exchange_problem_as(ex, status, name, NULL, text);
}

/* Where it is not known what follows, or is not worth reading. */
static void refuse_at_once(struct exchange *ex, int status, const char *name,
			   const char *text)
{
	ex->at_once = true;
	refuse(ex, status, name, text, true);
}

/* ---- who ---- */

static void refuse_stranger(struct exchange *ex, const char *authorization)
{
	exchange_header(ex, "WWW-Authenticate",
			authorization
				? "Bearer realm=\"sandbox\", error=\"invalid_token\""
				: "Bearer realm=\"sandbox\"");
	refuse(ex, MHD_HTTP_UNAUTHORIZED, "Unauthorized",
	       authorization ? "this token is not known here"
			     : "a token is needed: Authorization: Bearer TOKEN",
	       false);
	ex->http->metrics.unauthorized++;
}

/* False: refused. */
static bool check_places(struct exchange *ex)
{
	const struct auth_listener *rules = &ex->connection->listener->rules;
	const char *host = header(ex, "Host"), *origin = header(ex, "Origin");

	if (rules->tcp && !host)
		refuse(ex, MHD_HTTP_BAD_REQUEST, "UsageError", "there is no Host", true);
	else if (rules->tcp && !auth_host(ex->auth, rules, host))
		refuse(ex, MHD_HTTP_MISDIRECTED_REQUEST, "WrongHost",
		       "this Host is not one of this server's", true);
	else if (origin && !auth_origin(ex->auth, rules, origin))
		refuse(ex, MHD_HTTP_FORBIDDEN, "WrongOrigin",
		       "pages of this Origin may not ask this server", true);
	else
		return true;
	ex->http->metrics.misplaced++;
	return false;
}

/* What another's clients have for Authorization, as if they had it. */
static const char *other_token(const struct exchange *ex, char *text, size_t size)
{
	const char *const *names = ex->table ? ex->table->token_headers : NULL, *value;

	for (; names && *names; names++) {
		value = header(ex, *names);
		if (value)
			return (size_t)snprintf(text, size, "Bearer %s", value) < size
				       ? text
				       : NULL;
	}
	return NULL;
}

/* False: nobody that is known. */
static bool find_caller(struct exchange *ex)
{
	const struct auth_listener *rules = &ex->connection->listener->rules;
	const char *authorization = header(ex, "Authorization");
	struct caller *caller = &ex->caller;
	char other[600];
	bool known;

	*caller = (struct caller){ .name = "anybody",
				   .confined = rules->tcp,
				   .peer_fd = -1 };
	if (!rules->tcp) {
		caller->peer_fd = ex->connection->fd;
		auth_peer(ex->auth, ex->connection->uid, caller);
		(void)snprintf(ex->caller_name, sizeof(ex->caller_name), "unix uid %u",
			       (unsigned)ex->connection->uid);
		caller->name = ex->caller_name;
		return ex->connection->uid != (uid_t)-1;
	}
	known = auth_token(ex->auth,
			   authorization ? authorization
					 : other_token(ex, other, sizeof(other)),
			   caller);
	explicit_bzero(other, sizeof(other));
	if (known) {
		(void)snprintf(ex->caller_name, sizeof(ex->caller_name), "token %s",
			       caller->name);
		caller->name = ex->caller_name;
	}
	/* A wrong token is told, also where none is asked for; not where clients have to
	 * have one (other_token()). */
	return known || (rules->open && !authorization);
}

/* ---- what ---- */

static bool add_query(struct exchange *ex, const struct route_query *known, bool loose,
		      const char *name, const char *value)
{
	struct pair *at = ex->query;
	size_t used = 0;

	while (known && known->name && strcmp(known->name, name) != 0)
		known++;
	if (!known || !known->name)
		return loose;
	for (; used < HTTP_QUERY_MAX && at->name; used++, at++)
		if (strcmp(at->name, name) == 0)
			return false;
	if (used == HTTP_QUERY_MAX)
		return false;
	at->name = strdup(name);
	at->value = strdup(value ? value : "");
	return at->name && at->value && route_decode(at->value);
}

struct query {
	struct exchange *ex;
	bool loose, wrong;
};

static enum MHD_Result on_query(void *cls, enum MHD_ValueKind kind, const char *name,
				const char *value)
{
	struct query *query = cls;

	(void)kind;
	if (!add_query(query->ex, query->ex->route->query, query->loose, name, value))
		query->wrong = true;
	return query->wrong ? MHD_NO : MHD_YES;
}

static bool keep_params(struct exchange *ex, const struct route_match *match)
{
	for (size_t i = 0; i < match->param_count; i++) {
		ex->params[i].name = strdup(match->params[i].name);
		ex->params[i].value = strdup(match->params[i].value);
		if (!ex->params[i].name || !ex->params[i].value)
			return false;
	}
	return true;
}

static void refuse_route(struct exchange *ex, const struct route_path *path,
			 const struct route_match *match)
{
	char allow[64];

	if (!match->known) {
		refuse(ex, MHD_HTTP_NOT_FOUND, "NotFound",
		       "there is nothing at this path", false);
	} else if (match->wrong_type) {
		refuse(ex, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType",
		       "this path takes another Content-Type; see /openapi.json", false);
	} else {
		route_allow(ex->connection->listener->tables, path, allow, sizeof(allow));
		exchange_header(ex, "Allow", allow);
		refuse(ex, MHD_HTTP_METHOD_NOT_ALLOWED, "MethodNotAllowed",
		       "this path does not take this method; Allow says which", false);
	}
}

static void choose(struct exchange *ex, const char *url)
{
	struct route_path path;
	struct route_match match;
	struct query query = { .ex = ex };
	const char *length;
	bool known;

	if (!route_split(url, &path)) {
		refuse_at_once(ex, MHD_HTTP_BAD_REQUEST, "UsageError",
			       "the target is no plain path of this server");
		return;
	}
	if (!check_places(ex))
		return;
	known = find_caller(ex);
	route_find(ex->connection->listener->tables, &path, ex->method,
		   header(ex, "Content-Type"), &match);
	/* A caller without a token learns of nothing but what is open. */
	if (!known && (!match.route || match.route->may != ROUTE_OPEN)) {
		refuse_stranger(ex, header(ex, "Authorization"));
		return;
	}
	if (!match.route) {
		refuse_route(ex, &path, &match);
		return;
	}
	ex->known = known;
	ex->route = match.route;
	ex->table = match.table;
	query.loose = match.table->loose;
	if (match.route->may == ROUTE_OWNER && !ex->caller.owner) {
		refuse(ex, MHD_HTTP_FORBIDDEN, "Forbidden",
		       "this is for the server's own user and operators' tokens", false);
		return;
	}
	if (!keep_params(ex, &match)) {
		refuse(ex, MHD_HTTP_INTERNAL_SERVER_ERROR, "EngineError", "no memory",
		       true);
		return;
	}
	(void)MHD_get_connection_values(ex->mhd, MHD_GET_ARGUMENT_KIND, on_query, &query);
	length = header(ex, "Content-Length");
	if (query.wrong)
		refuse(ex, MHD_HTTP_BAD_REQUEST, "UsageError",
		       "the query has an unknown, repeated or malformed parameter",
		       false);
	else if (length &&
		 (strlen(length) > 9 || strtoull(length, NULL, 10) > REQUEST_MAX))
		refuse_at_once(ex, MHD_HTTP_CONTENT_TOO_LARGE, "TooLarge",
			       "the body is larger than 24 MiB");
}

/* ---- the body ---- */

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

json_t *exchange_parse(struct exchange *ex, struct sbx_err *err)
{
	json_t *value = NULL;
	json_error_t why;

	if (!ex->body.len)
		(void)err_set(err, SBX_AT_USAGE, 0, "the request has no body");
	else if (!json_modest(ex->body.data, ex->body.len))
		(void)err_set(err, SBX_AT_USAGE, 0,
			      "the body has more than %u values or a depth over %u",
			      JSON_TOKENS_MAX, JSON_DEPTH_MAX);
	else if (!(value = json_loadb(ex->body.data, ex->body.len,
				      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why)))
		(void)err_set(err, SBX_AT_USAGE, 0,
			      "the body is not JSON: line %d: %.200s", why.line,
			      why.text);
	exchange_forget_body(ex);
	return value;
}

static int parse_json(struct exchange *ex, struct sbx_err *err)
{
	ex->object = exchange_parse(ex, err);
	if (!ex->object)
		return -EINVAL;
	return json_is_object(ex->object) ? 0
					  : err_set(err, SBX_AT_USAGE, 0,
						    "the body has to be a JSON object");
}

/* "a=1&b=%20": few fields, each once. */
static int parse_form(struct exchange *ex, struct sbx_err *err)
{
	char *text = ex->body.data, *field, *value;
	bool good = !text || strlen(text) == ex->body.len;

	ex->object = json_object();
	while (good && text && (field = strsep(&text, "&")) != NULL) {
		if (!*field)
			continue;
		value = strchr(field, '=');
		if (value)
			*value++ = '\0';
		/* Texts, programs even: line ends are as good as any character there. */
		good = route_decode_text(field) && (!value || route_decode_text(value)) &&
		       json_object_size(ex->object) < HTTP_HEADERS_MAX &&
		       !json_object_get(ex->object, field) &&
		       json_object_set_new(ex->object, field,
					   json_string(value ? value : "")) == 0;
	}
	exchange_forget_body(ex);
	return good && ex->object ? 0
				  : err_set(err, SBX_AT_USAGE, 0,
					    "the body is no form of at most %u fields, "
					    "each there once and in UTF-8",
					    HTTP_HEADERS_MAX);
}

static int parse_body(struct exchange *ex, struct sbx_err *err)
{
	if (ex->route->body == BODY_JSON)
		return parse_json(ex, err);
	if (ex->route->body == BODY_FORM)
		return parse_form(ex, err);
	if (ex->route->body == BODY_NONE && ex->received)
		return err_set(err, SBX_AT_USAGE, 0, "this request takes no body");
	return 0;
}

static enum MHD_Result add_body(struct exchange *ex, const char *data, size_t len)
{
	struct http *http = ex->http;

	ex->received += len;
	if (ex->received > REQUEST_MAX) {
		if (!ex->status)
			refuse(ex, MHD_HTTP_CONTENT_TOO_LARGE, "TooLarge",
			       "the body is larger than 24 MiB", true);
		if (ex->received > 2 * (size_t)REQUEST_MAX)
			return MHD_NO;
	}
	if (ex->status || ex->route->body == BODY_NONE)
		return MHD_YES;
	if (http->body_bytes + len > HTTP_BODIES_MAX || buf_add(&ex->body, data, len) < 0)
		refuse(ex, MHD_HTTP_SERVICE_UNAVAILABLE, err_kind(SBX_AT_BUSY)->name,
		       "too many large requests at once", false);
	else
		http->body_bytes += len;
	return MHD_YES;
}

/* ---- the library's calls ---- */

static enum MHD_Result begin(struct listener *listener, struct MHD_Connection *mhd,
			     const char *url, const char *method, const char *version,
			     void **context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct exchange *ex;
	const char *why;

	if (listener->http->closing || !info || !info->socket_context)
		return MHD_NO;
	ex = exchange_new(info->socket_context, mhd, method);
	if (!ex)
		return MHD_NO;
	*context = ex;
	connection_deadline(ex->connection, HTTP_BODY_MS);
	if (listener->tables[0] && !listener->tables[1])
		ex->table = listener->tables[0]; /* whose words its refusals are in */
	why = doubt(ex, version);
	if (why)
		refuse_at_once(ex, MHD_HTTP_BAD_REQUEST, "UsageError", why);
	else
		choose(ex, url);
	/* Bodies are read before they are refused: their senders would find the connection
	 * broken instead of an answer, and it can be used again. */
	if (ex->status && (ex->at_once || header(ex, "Expect")))
		return exchange_queue(ex);
	return MHD_YES;
}

static enum MHD_Result handle(struct exchange *ex)
{
	struct sbx_err err = { 0 };
	int r;

	ex->called = true;
	r = parse_body(ex, &err);
	if (r == 0 && ex->http->stopping && strcmp(ex->route->method, "GET") != 0 &&
	    strcmp(ex->route->method, "DELETE") != 0)
		exchange_problem_as(ex, MHD_HTTP_SERVICE_UNAVAILABLE, "Stopping", NULL,
				    "the server is stopping and takes nothing new");
	else if (r == 0)
		r = ex->route->handle(ex, &err);
	if (r < 0)
		exchange_problem(ex, &err);
	return ex->status ? exchange_queue(ex) : exchange_suspend(ex);
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
				const char *method, const char *version,
				const char *upload, size_t *upload_size, void **context)
{
	struct listener *listener = cls;
	struct exchange *ex = *context;

	if (!ex)
		return begin(listener, mhd, url, method, version, context);
	if (*upload_size) {
		enum MHD_Result r = add_body(ex, upload, *upload_size);

		*upload_size = 0;
		return r;
	}
	connection_deadline(ex->connection, 0);
	if (listener->http->closing || ex->gone)
		return MHD_NO;
	if (ex->status)
		return exchange_queue(ex);
	if (!ex->called)
		return handle(ex);
	return exchange_suspend(ex); /* woken for nothing */
}
