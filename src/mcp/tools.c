/* SPDX-License-Identifier: MIT
 * Purpose: the tools, in the order in which they are listed (call.h).
 * Process: the engine. Trusts: nothing in arguments. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "mcp/call.h"

#define OBJECT(properties, required)                                                   \
	"{\"type\":\"object\",\"properties\":{" properties "},\"required\":[" required \
	"]}"
#define SESSION                                                         \
	"\"id\":{\"type\":\"string\"},\"state\":{\"type\":\"string\"}," \
	"\"executions\":{\"type\":\"integer\"},\"idle_timeout_s\":{\"type\":\"integer\"}"
#define FILES "\"files\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"

static const char run_output[] = OBJECT(
	"\"id\":{\"type\":\"string\"},"
	"\"status\":{\"enum\":[\"ok\",\"error\",\"timeout\",\"memory\",\"cpu\",\"processes\","
	"\"output\",\"disk\",\"denied\",\"killed\",\"fault\"]},"
	"\"result\":{\"description\":\"The value of __result__ or of a last expression, as JSON; "
	"null where it is large: see result_repr\"},"
	"\"result_repr\":{\"type\":[\"string\",\"null\"]},"
	"\"stdout\":{\"type\":\"string\",\"description\":\"Its head and tail\"},"
	"\"stderr\":{\"type\":\"string\"},"
	"\"truncated\":{\"type\":\"object\"},"
	"\"error\":{\"type\":[\"object\",\"null\"],\"description\":\"name, value, traceback, "
	"line\"},"
	"\"events\":{\"type\":\"array\",\"items\":{\"type\":\"object\"},\"description\":\"What was "
	"denied, and the change that would allow it\"}," FILES ","
	"\"displays\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":"
	"\"string\"}},\"description\":\"MIME types of what it showed\"},"
	"\"result_display\":{\"type\":[\"integer\",\"null\"]},"
	"\"usage\":{\"type\":\"object\"},"
	"\"session\":{\"type\":[\"string\",\"null\"]},"
	"\"execution_count\":{\"type\":[\"integer\",\"null\"]},"
	"\"session_ended\":{\"type\":[\"string\",\"null\"]},"
	"\"recorded\":{\"type\":\"boolean\"}",
	"\"id\",\"status\",\"stdout\",\"stderr\",\"error\",\"events\",\"files\"");

static const struct tool_arg run_args[] = {
	{ "code", "string", "The program.", true, 0, 0 },
	{ "session", "string",
	  "Id of a session, whose variables, imports and files it has. Without one it runs "
	  "alone.",
	  false, 0, 0 },
	{ "timeout", "number",
	  "Seconds after which it is ended; never above the policy's.", false, 0, 0 },
	{ "files", "object",
	  "Files to put into its working directory /work first: name to text, or to "
	  "{\"base64\": text}.",
	  false, 0, 0 },
	{ NULL, NULL, NULL, false, 0, 0 }
};
static const struct tool_arg new_args[] = {
	{ "idle_timeout", "integer", "Seconds without a program after which it ends.",
	  false, 1, 604800 },
	{ "files", "object",
	  "Files to put into /work: name to text, or {\"base64\": text}.", false, 0, 0 },
	{ NULL, NULL, NULL, false, 0, 0 }
};
static const struct tool_arg session_args[] = { { "session", "string",
						  "Id of the session.", true, 0, 0 },
						{ NULL, NULL, NULL, false, 0, 0 } };
static const struct tool_arg read_args[] = {
	{ "session", "string", "Id of the session.", true, 0, 0 },
	{ "path", "string", "Relative to /work.", true, 0, 0 },
	{ "offset", "integer", "Bytes to leave out at its beginning.", false, 0,
	  1ll << 40 },
	{ "limit", "integer", "Bytes at most; 65536 if not given.", false, 1, 1 << 20 },
	{ NULL, NULL, NULL, false, 0, 0 }
};
static const struct tool_arg write_args[] = {
	{ "session", "string", "Id of the session.", true, 0, 0 },
	{ "path", "string", "Relative to /work; what is there is replaced.", true, 0, 0 },
	{ "text", "string", "What it will hold; or give base64.", false, 0, 0 },
	{ "base64", "string", "The same as base64.", false, 0, 0 },
	{ NULL, NULL, NULL, false, 0, 0 }
};
static const struct tool_arg list_args[] = {
	{ "limit", "integer", "How many at most; 20 if not given.", false, 1, 100 },
	{ "status", "string", "A verdict: ok, error, timeout, memory, denied, ...", false,
	  0, 0 },
	{ "text", "string", "Words in code, output or what was denied.", false, 0, 0 },
	{ "session", "string", "Id of a session.", false, 0, 0 },
	{ "event", "string", "Kind of a denial: import, open, connect, ...", false, 0,
	  0 },
	{ NULL, NULL, NULL, false, 0, 0 }
};
static const struct tool_arg show_args[] = {
	{ "id", "string", "Of the execution, as run_python and journal_list say it.",
	  true, 0, 0 },
	{ NULL, NULL, NULL, false, 0, 0 }
};
static const struct tool_arg no_args[] = { { NULL, NULL, NULL, false, 0, 0 } };

static const struct tool tools[] = {
	{ "run_python", "Run Python",
	  "Run a Python program in a sandbox: its output, the value of its last expression, "
	  "plots as images. One that fails or is denied something says why.",
	  run_args, run_output, false, false, false, tool_run_python },
	{ "session_new", "New session",
	  "Make a session, in which variables, imports and files stay from one run_python to "
	  "the next. It ends when it was idle for half an hour, or as idle_timeout says.",
	  new_args, OBJECT(SESSION, "\"id\""), false, false, false, tool_session_new },
	{ "session_reset", "Reset session",
	  "A new interpreter under the same session id: variables are gone, files stay.",
	  session_args, OBJECT(SESSION, "\"id\""), false, true, false,
	  tool_session_reset },
	{ "session_list", "Sessions", "The sessions that are there.", no_args,
	  OBJECT("\"sessions\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}",
		 "\"sessions\""),
	  true, false, true, tool_session_list },
	{ "session_end", "End session", "End a session; its files are gone.",
	  session_args,
	  OBJECT("\"id\":{\"type\":\"string\"},\"state\":{\"type\":\"string\"}",
		 "\"id\""),
	  false, true, true, tool_session_end },
	{ "files_list", "Files", "What lies in a session's working directory.",
	  session_args, OBJECT(FILES, "\"files\""), true, false, true, tool_files_list },
	{ "files_read", "Read file",
	  "Read a file of a session: text, an image, or base64 where it is neither.",
	  read_args,
	  OBJECT("\"path\":{\"type\":\"string\"},\"size\":{\"type\":\"integer\"},"
		 "\"offset\":{\"type\":\"integer\"},\"text\":{\"type\":\"string\"},"
		 "\"base64\":{\"type\":\"string\"},\"image\":{\"type\":\"string\"}",
		 "\"path\",\"size\""),
	  true, false, true, tool_files_read },
	{ "files_write", "Write file", "Put a file into a session's working directory.",
	  write_args,
	  OBJECT("\"path\":{\"type\":\"string\"},\"size\":{\"type\":\"integer\"}",
		 "\"path\""),
	  false, true, true, tool_files_write },
	{ "policy_show", "Policy",
	  "What a program may do and use here. Only the user can change it.", no_args,
	  OBJECT("\"policy\":{\"type\":\"object\"}", "\"policy\""), true, false, true,
	  tool_policy_show },
	{ "journal_list", "Past runs", "Programs that ran, newest first.", list_args,
	  OBJECT("\"executions\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"
		 "\"recorded\":{\"type\":\"boolean\"}",
		 "\"executions\""),
	  true, false, true, tool_journal_list },
	{ "journal_show", "One past run",
	  "One program that ran: its code, verdict, output, use and denials.", show_args,
	  OBJECT("\"execution\":{\"type\":\"object\"}", "\"execution\""), true, false,
	  true, tool_journal_show },
};
#define TOOLS (sizeof(tools) / sizeof(tools[0]))

const struct tool *tool_find(const char *name)
{
	for (size_t i = 0; i < TOOLS; i++)
		if (strcmp(tools[i].name, name) == 0)
			return &tools[i];
	return NULL;
}

static json_t *input_of(const struct tool *tool)
{
	json_t *properties = json_object(), *required = json_array(), *one;

	for (const struct tool_arg *arg = tool->args; arg->name; arg++) {
		one = json_pack("{s:s,s:s}", "type", arg->type, "description",
				arg->meaning);
		if (arg->most) {
			(void)json_object_set_new(one, "minimum",
						  json_integer(arg->least));
			(void)json_object_set_new(one, "maximum",
						  json_integer(arg->most));
		}
		(void)json_object_set_new(properties, arg->name, one);
		if (arg->required)
			(void)json_array_append_new(required, json_string(arg->name));
	}
	return json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", properties,
			 "required", required, "additionalProperties", 0);
}

json_t *tool_list(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < TOOLS; i++) {
		const struct tool *t = &tools[i];
		json_t *one = json_pack(
			"{s:s,s:s,s:s,s:o,s:o,s:{s:s,s:b,s:b,s:b,s:b}}", "name", t->name,
			"title", t->title, "description", t->description, "inputSchema",
			input_of(t), "outputSchema",
			json_loads(t->output, JSON_REJECT_DUPLICATES, NULL),
			"annotations", "title", t->title, "readOnlyHint", t->read_only,
			"destructiveHint", t->destructive, "idempotentHint",
			t->idempotent, "openWorldHint", 0);

		if (json_array_append_new(list, one) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static bool type_fits(const struct tool_arg *arg, const json_t *value)
{
	if (strcmp(arg->type, "string") == 0)
		return json_is_string(value) &&
		       (strcmp(arg->name, "text") == 0 ||
			strlen(json_string_value(value)) == json_string_length(value));
	if (strcmp(arg->type, "object") == 0)
		return json_is_object(value);
	if (strcmp(arg->type, "number") == 0)
		return json_is_number(value);
	return json_is_integer(value);
}

int tool_check(const struct tool *tool, const json_t *arguments, struct sbx_err *err)
{
	const struct tool_arg *arg;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)arguments, name, value)
	{
		for (arg = tool->args; arg->name && strcmp(arg->name, name) != 0; arg++)
			;
		if (!arg->name)
			return err_set(err, SBX_AT_USAGE, EINVAL,
				       "%s takes no argument \"%.64s\"", tool->name,
				       name);
		if (!type_fits(arg, value))
			return err_set(err, SBX_AT_USAGE, EINVAL,
				       "%s: \"%s\" has to be of type %s, without NUL",
				       tool->name, name, arg->type);
		if (arg->most && (json_integer_value(value) < arg->least ||
				  json_integer_value(value) > arg->most))
			return err_set(err, SBX_AT_USAGE, EINVAL,
				       "%s: \"%s\" has to be from %lld to %lld",
				       tool->name, name, arg->least, arg->most);
	}
	for (arg = tool->args; arg->name; arg++)
		if (arg->required && !json_object_get(arguments, arg->name))
			return err_set(err, SBX_AT_USAGE, EINVAL, "%s needs \"%s\"",
				       tool->name, arg->name);
	return 0;
}
