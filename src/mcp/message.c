/* SPDX-License-Identifier: MIT
 * Purpose: JSON-RPC 2.0 as MCP has it (message.h).
 * Process: the engine. Trusts: nothing in a message.
 * Invariants: what is no single request, notification or response is refused, batches too;
 *   a message is of one generation, by its own words alone. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mcp/message.h"

#define ID_MAX 256u
#define NAME_MAX_BYTES 128u

#define META "io.modelcontextprotocol/"

static const char instructions[] =
	"Runs Python in a sandbox on the user's machine. run_python runs one program in a fresh "
	"sandbox; with `session` (from session_new) variables, imports and files stay from one "
	"call to the next. A program's working directory is /work. What a policy denies is named "
	"in the answer with the change that would allow it, which is the user's to make: see "
	"policy_show for what holds.";

int message_wrong(struct message_error *error, enum mcp_code code, const char *fmt, ...)
{
	va_list ap;

	error->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(error->text, sizeof(error->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

bool message_legacy_version(const char *version)
{
	return strcmp(version, MCP_LEGACY) == 0 || strcmp(version, MCP_LEGACY_OLDER) == 0;
}

/* Without NUL, and short. */
static const char *word(const json_t *value, size_t max)
{
	const char *text = json_string_value(value);

	return text && *text && strlen(text) == json_string_length(value) &&
			       strlen(text) <= max
		       ? text
		       : NULL;
}

static bool is_id(const json_t *value)
{
	return json_is_integer(value) ||
	       (json_is_string(value) && json_string_length(value) <= ID_MAX &&
		strlen(json_string_value(value)) == json_string_length(value));
}

static int read_meta(struct message *m, struct message_error *error)
{
	json_t *meta = json_object_get(m->params, "_meta");
	const json_t *version = json_object_get(meta, META "protocolVersion");

	if (meta && !json_is_object(meta))
		return message_wrong(error, MCP_INVALID_PARAMS,
				     "_meta has to be an object");
	m->progress = json_object_get(meta, "progressToken");
	if (m->progress && !is_id(m->progress)) {
		m->progress = NULL;
		return message_wrong(error, MCP_INVALID_PARAMS,
				     "progressToken has to be a string or an integer");
	}
	if (!version)
		return 0;
	m->modern = true;
	m->version = word(version, NAME_MAX_BYTES);
	if (!m->version)
		return message_wrong(error, MCP_INVALID_PARAMS,
				     "_meta: " META "protocolVersion has to be a string");
	if (strcmp(m->version, MCP_MODERN) != 0) {
		error->requested = m->version;
		return message_wrong(error, MCP_UNSUPPORTED_VERSION,
				     "Unsupported protocol version");
	}
	if (m->id && !json_is_object(json_object_get(meta, META "clientCapabilities")))
		return message_wrong(error, MCP_INVALID_PARAMS,
				     "_meta: " META "clientCapabilities is missing");
	return 0;
}

int message_read(json_t *value, struct message *ret, struct message_error *error)
{
	json_t *id = json_object_get(value, "id"), *params;
	const char *version = json_string_value(json_object_get(value, "jsonrpc"));

	*ret = (struct message){ .id = NULL };
	*error = (struct message_error){ .code = 0 };
	if (json_is_array(value))
		return message_wrong(error, MCP_INVALID_REQUEST,
				     "batches are not taken: send one message at a time");
	if (!json_is_object(value))
		return message_wrong(error, MCP_INVALID_REQUEST,
				     "a message has to be an object");
	if (id && !is_id(id))
		return message_wrong(error, MCP_INVALID_REQUEST,
				     "id has to be an integer or a string of at most %u "
				     "bytes",
				     ID_MAX);
	ret->id = id;
	if (!version || strcmp(version, "2.0") != 0)
		return message_wrong(error, MCP_INVALID_REQUEST,
				     "jsonrpc has to be \"2.0\"");
	if (id && !json_object_get(value, "method") &&
	    (json_object_get(value, "result") || json_object_get(value, "error"))) {
		ret->response = true;
		return 0;
	}
	ret->method = word(json_object_get(value, "method"), NAME_MAX_BYTES);
	if (!ret->method)
		return message_wrong(error, MCP_INVALID_REQUEST,
				     "method has to be a string of 1 to %u bytes",
				     NAME_MAX_BYTES);
	params = json_object_get(value, "params");
	if (params && !json_is_object(params))
		return message_wrong(error, MCP_INVALID_PARAMS,
				     "params has to be an object");
	ret->params = params;
	return read_meta(ret, error);
}

/* ---- what is said back ---- */

static json_t *server_info(void)
{
	return json_pack("{s:s,s:s,s:s}", "name", "interpreter-sandbox", "title",
			 "Interpreter sandbox", "version", SBX_VERSION);
}

json_t *message_result(const struct message *m, json_t *result)
{
	if (result && m->modern) {
		json_t *meta = json_pack("{s:o}", META "serverInfo", server_info());

		if (json_object_set_new(result, "resultType", json_string("complete")) <
			    0 ||
		    json_object_set_new(result, "_meta", meta) < 0) {
			json_decref(result);
			return NULL;
		}
	}
	return json_pack("{s:s,s:O,s:o}", "jsonrpc", "2.0", "id", m->id, "result",
			 result);
}

json_t *message_versions(void)
{
	return json_pack("[s,s,s]", MCP_MODERN, MCP_LEGACY, MCP_LEGACY_OLDER);
}

json_t *message_fault(const struct message *m, const struct message_error *error)
{
	json_t *data = NULL, *answer;

	if (error->code == MCP_UNSUPPORTED_VERSION)
		data = json_pack("{s:o,s:s}", "supported", message_versions(),
				 "requested", error->requested ? error->requested : "");
	answer = json_pack("{s:s,s:{s:i,s:s,s:o*}}", "jsonrpc", "2.0", "error", "code",
			   (int)error->code, "message", error->text, "data", data);
	/* JSON-RPC has null where the id could not be read, 2026-07-28 none. */
	if (answer && m->id)
		(void)json_object_set(answer, "id", m->id);
	else if (answer && !m->modern)
		(void)json_object_set_new(answer, "id", json_null());
	return answer;
}

json_t *message_initialize(const struct message *m)
{
	const char *asked = json_string_value(
		json_object_get(m->params, "protocolVersion"));

	return json_pack("{s:s,s:{s:{}},s:o,s:s}", "protocolVersion",
			 asked && message_legacy_version(asked) ? asked : MCP_LEGACY,
			 "capabilities", "tools", "serverInfo", server_info(),
			 "instructions", instructions);
}

json_t *message_discover(void)
{
	return json_pack("{s:o,s:{s:{}},s:s,s:i,s:s}", "supportedVersions",
			 message_versions(), "capabilities", "tools", "instructions",
			 instructions, "ttlMs", 3600000, "cacheScope", "public");
}
