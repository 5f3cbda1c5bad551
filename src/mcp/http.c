/* SPDX-License-Identifier: MIT
 * Purpose: POST /mcp: Streamable HTTP, and the same with lines, which `sandbox mcp` passes
 *   through to its standard streams (cli/mcp.c).
 * Process: the engine, on its loop. Trusts: who the caller is; nothing of a message.
 * Invariants: a call ends once, and its exchange is held until then; nothing is kept between
 *   two messages but calls under way; who cancels a call is of the caller and the scope
 *   (Mcp-Session-Id, which is a name of the client's and no right) that made it. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/jsontext.h"
#include "daemon/api.h"
#include "daemon/stream.h"
#include "mcp/call.h"
#include "mcp/mcp.h"
#include "mcp/text.h"

#define OK 200
#define ACCEPTED 202
#define BAD_REQUEST 400
#define NOT_FOUND 404

#define PROGRESS_MAX (256u << 10) /* bytes of output that one call tells as it comes */
#define HEADER_MAX 1024u

static struct call *calls; /* under way */

/* ---- the end of a call ---- */

static void call_free(struct call *call)
{
	struct exchange *ex = call->ex;

	if (call->prev)
		call->prev->next = call->next;
	else if (calls == call)
		calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	json_decref(call->root);
	free(call);
	exchange_release(ex);
}

/* Takes the message; NULL: no memory. Of a cancelled call nothing is said. */
static void call_end(struct call *call, json_t *message)
{
	struct exchange *ex = call->ex;

	if (call->streaming) {
		if (call->cancelled)
			json_decref(message);
		else
			stream_object(exchange_lines(ex), message);
		exchange_end(ex);
		exchange_flush(ex);
	} else if (call->cancelled) {
		json_decref(message);
		exchange_empty(ex, ACCEPTED);
	} else {
		exchange_json(ex, OK, message);
	}
	call_free(call);
}

void call_answer(struct call *call, json_t *content, json_t *structured, bool is_error)
{
	json_t *result = json_pack("{s:o,s:b}", "content", content, "isError", is_error);

	if (result && structured)
		(void)json_object_set(result, "structuredContent", structured);
	json_decref(structured);
	call_end(call, message_result(&call->message, result));
}

void call_object(struct call *call, json_t *structured)
{
	char *text = structured ? json_dumps(structured, JSON_INDENT(1)) : NULL;
	json_t *content = json_array();

	(void)content_add(content, text ? text_short(text, strlen(text), 60000) : NULL);
	free(text);
	call_answer(call, content, structured, false);
}

void call_refused(struct call *call, const struct sbx_err *err)
{
	struct sbx_err clean = *err;
	char text[sizeof(clean.msg) + 64];

	err_sanitize(&clean);
	(void)snprintf(text, sizeof(text), "%s: %s", err_kind(clean.stage)->name,
		       clean.msg);
	call_answer(call, content_text(text), NULL, true);
}

/* ---- output as it comes ---- */

static json_t *progress(void *arg, int stream, const char *text, size_t len)
{
	struct call *call = arg;
	json_t *clean = text_short(text, len, len + 1);

	(void)stream;
	return json_pack("{s:s,s:s,s:{s:O,s:I,s:o}}", "jsonrpc", "2.0", "method",
			 "notifications/progress", "params", "progressToken",
			 call->message.progress, "progress", (json_int_t)++call->progress,
			 "message", clean);
}

void call_stream(struct call *call)
{
	struct stream *lines = exchange_lines(call->ex);

	if (!call->lines && !exchange_accepts(call->ex, STREAM_SSE))
		return;
	lines->plain = true;
	lines->text_as = progress;
	lines->text_arg = call;
	if (!call->lines)
		exchange_header(call->ex, "X-Accel-Buffering", "no");
	exchange_stream(call->ex, call->lines ? STREAM_NDJSON : STREAM_SSE);
	call->streaming = true;
}

void call_output(struct call *call, int stream, const char *data, size_t len)
{
	static const char more[] = "\n[more output is left to the result]\n";

	if (!call->streaming || !call->message.progress || call->cancelled ||
	    (stream != 1 && stream != 2) || call->progress_bytes >= PROGRESS_MAX)
		return;
	if (len > PROGRESS_MAX - call->progress_bytes)
		len = PROGRESS_MAX - call->progress_bytes;
	call->progress_bytes += len;
	stream_text(exchange_lines(call->ex), stream, data, len);
	if (call->progress_bytes == PROGRESS_MAX)
		stream_text(exchange_lines(call->ex), stream, more, strlen(more));
}

/* ---- what tools ask ---- */

const char *call_text(const struct call *call, const char *name)
{
	return json_string_value(json_object_get(call->arguments, name));
}

long long call_number(const struct call *call, const char *name, long long otherwise)
{
	const json_t *value = json_object_get(call->arguments, name);

	return value ? json_integer_value(value) : otherwise;
}

struct session *call_session(const struct call *call, struct sbx_err *err)
{
	struct session *session = api_session_find(call->ex, call_text(call, "session"));

	if (!session)
		(void)err_set(
			err, SBX_AT_USAGE, ENOENT,
			"there is no session with this id, or it has ended; make one "
			"with session_new");
	return session;
}

json_t *call_settings(const struct call *call, struct sbx_err *err)
{
	static const struct {
		const char *name;
		bool json;
	} keys[] = { { "preset", false },
		     { "template", false },
		     { "cwd", false },
		     { "policy", true },
		     { "settings", true } };
	json_t *object = json_object(), *value;

	for (size_t i = 0; object && i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *text = exchange_query(call->ex, keys[i].name);

		if (!text)
			continue;
		value = keys[i].json
				? json_loads(text,
					     JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
					     NULL)
				: json_string(text);
		if (!value) {
			json_decref(object);
			(void)err_set_field(err, SBX_AT_USAGE, 0, keys[i].name,
					    "the query's %s has to be JSON",
					    keys[i].name);
			return NULL;
		}
		(void)json_object_set_new(object, keys[i].name, value);
	}
	if (!object)
		(void)err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	return object;
}

/* ---- methods ---- */

static void fail(struct exchange *ex, const struct message *m,
		 const struct message_error *error)
{
	int status = BAD_REQUEST;

	if (error->code == MCP_NO_METHOD)
		status = m->modern ? NOT_FOUND : OK;
	else if (error->code == MCP_INTERNAL ||
		 (error->code == MCP_INVALID_PARAMS && !m->modern))
		status = OK;
	exchange_json(ex, status, message_fault(m, error));
}

static const char *scope_of(const struct exchange *ex)
{
	const char *scope = exchange_request_header(ex, "Mcp-Session-Id");

	return scope && strlen(scope) < CALL_SCOPE_MAX ? scope : "";
}

static void begin_call(struct exchange *ex, json_t *root, const struct message *m,
		       const struct tool *tool, json_t *arguments, bool lines)
{
	struct call *call = calloc(1, sizeof(*call));
	struct sbx_err err = { 0 };

	if (!call) {
		exchange_json(ex, OK, NULL);
		return;
	}
	call->ex = exchange_hold(ex);
	call->root = json_incref(root);
	call->message = *m;
	call->tool = tool;
	call->arguments = arguments;
	call->lines = lines;
	(void)snprintf(call->caller, sizeof(call->caller), "%s",
		       exchange_caller(ex)->name);
	(void)snprintf(call->scope, sizeof(call->scope), "%s", scope_of(ex));
	call->next = calls;
	if (calls)
		calls->prev = call;
	calls = call;
	if (tool_check(tool, arguments, &err) < 0 || tool->run(call, &err) < 0)
		call_refused(call, &err);
}

static int call_tool(struct exchange *ex, json_t *root, const struct message *m,
		     bool lines, struct message_error *error)
{
	const char *name = json_string_value(json_object_get(m->params, "name"));
	const struct tool *tool = name ? tool_find(name) : NULL;
	json_t *arguments = json_object_get(m->params, "arguments");

	if (!tool)
		return message_wrong(error, MCP_INVALID_PARAMS, "Unknown tool: %.100s",
				     name ? name : "");
	if (arguments && !json_is_object(arguments))
		return message_wrong(error, MCP_INVALID_PARAMS,
				     "arguments has to be an object");
	begin_call(ex, root, m, tool, arguments, lines);
	return 0;
}

static int dispatch(struct exchange *ex, json_t *root, const struct message *m,
		    bool lines, struct message_error *error)
{
	json_t *result = NULL;

	if (strcmp(m->method, "tools/call") == 0)
		return call_tool(ex, root, m, lines, error);
	if (strcmp(m->method, "tools/list") == 0) {
		if (json_object_get(m->params, "cursor"))
			return message_wrong(error, MCP_INVALID_PARAMS,
					     "there is one page: no cursor is known");
		result = m->modern ? json_pack("{s:o,s:i,s:s}", "tools", tool_list(),
					       "ttlMs", 3600000, "cacheScope", "public")
				   : json_pack("{s:o}", "tools", tool_list());
	} else if (m->modern && strcmp(m->method, "server/discover") == 0) {
		result = message_discover();
	} else if (!m->modern && strcmp(m->method, "initialize") == 0) {
		result = message_initialize(m);
		if (!lines) {
			unsigned char bytes[16];
			char id[2 * sizeof(bytes) + 1];

			randombytes_buf(bytes, sizeof(bytes));
			(void)sodium_bin2hex(id, sizeof(id), bytes, sizeof(bytes));
			exchange_header(ex, "Mcp-Session-Id", id);
		}
	} else if (!m->modern && strcmp(m->method, "ping") == 0) {
		result = json_object();
	} else {
		return message_wrong(error, MCP_NO_METHOD, "Method not found: %.100s",
				     m->method);
	}
	exchange_json(ex, OK, message_result(m, result));
	return 0;
}

static void cancel(const struct exchange *ex, const struct message *m)
{
	const json_t *id = json_object_get(m->params, "requestId");
	const char *scope = scope_of(ex), *caller = exchange_caller(ex)->name;
	struct call *found = NULL;

	for (struct call *call = calls; call; call = call->next) {
		if (!json_equal(call->message.id, id) ||
		    strcmp(call->scope, scope) != 0 ||
		    strcmp(call->caller, caller) != 0 || call->cancelled)
			continue;
		if (found) /* two clients of one caller that did not tell themselves apart */
			return;
		found = call;
	}
	if (!found)
		return;
	found->cancelled = true;
	exchange_stop_run(found->ex);
}

/* ---- headers, which say again what the message says ---- */

static bool header_is(const struct exchange *ex, const char *name, const char *value)
{
	static const char begin[] = "=?base64?";
	const char *header = exchange_request_header(ex, name);
	size_t len = header ? strlen(header) : 0, used = 0;
	unsigned char data[HEADER_MAX + 1];

	if (!header || !value || len > HEADER_MAX)
		return false;
	if (len < strlen(begin) + 2 || strncmp(header, begin, strlen(begin)) != 0 ||
	    strcmp(header + len - 2, "?=") != 0)
		return strcmp(header, value) == 0;
	return sodium_base642bin(data, HEADER_MAX, header + strlen(begin),
				 len - strlen(begin) - 2, NULL, &used, NULL,
				 sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       used == strlen(value) && memcmp(data, value, used) == 0;
}

static int check_headers(const struct exchange *ex, struct message *m,
			 struct message_error *error)
{
	const char *version = exchange_request_header(ex, "MCP-Protocol-Version"),
		   *name = json_string_value(json_object_get(m->params, "name"));

	if (m->modern && !header_is(ex, "MCP-Protocol-Version", m->version))
		return message_wrong(error, MCP_HEADER_MISMATCH,
				     "MCP-Protocol-Version is not what _meta says");
	if (m->modern && m->id && !header_is(ex, "Mcp-Method", m->method))
		return message_wrong(error, MCP_HEADER_MISMATCH,
				     "Mcp-Method is not the message's method");
	if (m->modern && m->id && strcmp(m->method, "tools/call") == 0 && name &&
	    !header_is(ex, "Mcp-Name", name))
		return message_wrong(error, MCP_HEADER_MISMATCH,
				     "Mcp-Name is not the tool's name");
	if (m->modern || !version || message_legacy_version(version))
		return 0;
	if (m->method && strcmp(m->method, "initialize") == 0)
		return 0;
	m->modern = true;
	if (strcmp(version, MCP_MODERN) == 0)
		return message_wrong(error, MCP_INVALID_PARAMS,
				     "_meta: io.modelcontextprotocol/protocolVersion is "
				     "missing");
	error->requested = version;
	return message_wrong(error, MCP_UNSUPPORTED_VERSION,
			     "Unsupported protocol version");
}

static int post_mcp(struct exchange *ex, struct sbx_err *err)
{
	bool lines = exchange_accepts(ex, STREAM_NDJSON);
	struct message_error error = { .code = 0 };
	struct message m = { .id = NULL };
	json_t *root = exchange_parse(ex, err);
	int r;

	if (!root)
		r = message_wrong(&error, MCP_PARSE_ERROR, "Parse error: %.150s",
				  err->msg);
	else
		r = message_read(root, &m, &error);
	if (root && !lines && (r == 0 || error.code == MCP_UNSUPPORTED_VERSION)) {
		struct message_error mismatch = { .code = 0 };

		if (check_headers(ex, &m, &mismatch) < 0) {
			error = mismatch;
			r = -EINVAL;
		}
	}
	if (r == 0 && m.response && m.modern)
		r = message_wrong(&error, MCP_INVALID_REQUEST, "nothing was asked");
	if (r == 0 && (m.response || !m.id)) {
		if (!m.response && strcmp(m.method, "notifications/cancelled") == 0)
			cancel(ex, &m);
		exchange_empty(ex, ACCEPTED);
	} else if (r == 0) {
		r = dispatch(ex, root, &m, lines, &error);
	}
	if (r < 0)
		fail(ex, &m, &error);
	json_decref(root);
	return 0;
}

/* ---- the table ---- */

static const struct route_query query[] = {
	{ "preset", "string", "Of the programs; `data` if not given." },
	{ "template", "string", "As of an execution." },
	{ "policy", "string",
	  "Fields of the policy over the preset: a JSON object, or a JSON string with the "
	  "text of a policy file." },
	{ "settings", "string", "As of an execution: JSON, `[[field, text], ...]`." },
	{ "cwd", "string", "Where relative `allowed_directories` begin." },
	{ NULL, NULL, NULL },
};

static const struct route_answer answers[] = {
	{ OK, NULL, "Object", "The JSON-RPC response." },
	{ OK, STREAM_SSE, NULL,
	  "Of a program, with this type in Accept: progress, then the "
	  "response." },
	{ ACCEPTED, NULL, NULL, "To a notification." },
	{ BAD_REQUEST, NULL, "Object", "A JSON-RPC error: the message cannot be used." },
	{ NOT_FOUND, NULL, "Object", "A JSON-RPC error: there is no such method." },
	{ 0, NULL, NULL, NULL },
};

static const struct route routes[] = {
	{ .method = "POST",
	  .pattern = "/mcp",
	  .handle = post_mcp,
	  .body = BODY_TEXT_JSON,
	  .body_schema = "Object",
	  .id = "mcp",
	  .summary = "Model Context Protocol",
	  .description = "Streamable HTTP: one JSON-RPC message. Revisions 2025-06-18, "
			 "2025-11-25 and 2026-07-28; see docs/mcp.md.",
	  .query = query,
	  .answers = answers },
};

const struct route_table mcp_table = { .name = "mcp",
				       .routes = routes,
				       .count = sizeof(routes) / sizeof(routes[0]),
				       .door = "mcp" };
