/* SPDX-License-Identifier: MIT
 * A tools/call under way, and the tools. Engine, on its loop. */
#ifndef SBX_MCP_CALL_H
#define SBX_MCP_CALL_H

#include "daemon/route.h"
#include "mcp/message.h"

#define CALL_SCOPE_MAX 80u

struct tool;

struct call {
	struct exchange *ex; /* held */
	struct call *prev, *next;
	struct message message; /* of root */
	json_t *root;
	char caller[80], scope[CALL_SCOPE_MAX]; /* whose id it is, for who cancels it */
	bool lines; /* messages as lines (stdio), not as server-sent events */
	bool streaming, cancelled;
	size_t progress, progress_bytes;
	const struct tool *tool;
	json_t *arguments; /* an object, of root; checked against the tool's */
};

/* ---- what a tool answers: exactly one of these, which ends the call ---- */

/* content: a list of blocks; structured: by the tool's schema; both taken. */
void call_answer(struct call *call, json_t *content, json_t *structured, bool is_error);
/* structured, and as text what it says; taken. */
void call_object(struct call *call, json_t *structured);
/* Something that its caller can do differently. */
void call_refused(struct call *call, const struct sbx_err *err);

/* From now on the answer comes as a stream, if the client takes one. */
void call_stream(struct call *call);
/* A program's output, as progress where the client asked for it. */
void call_output(struct call *call, int stream, const char *data, size_t len);
/* What a program or session is asked for with: the settings that the client's user gave with
 * the address (preset, policy, ...). New reference or NULL and err. */
json_t *call_settings(const struct call *call, struct sbx_err *err);
#define CALL_PRESET "data" /* where none is given: lowered to the ceilings */
const char *call_text(const struct call *call, const char *name); /* or NULL */
long long call_number(const struct call *call, const char *name, long long otherwise);
struct session;
/* That the argument `session` names, or NULL and err. */
struct session *call_session(const struct call *call, struct sbx_err *err);

/* ---- the tools ---- */

struct tool_arg {
	const char *name, *type; /* of JSON schema; ends with a row without a name */
	const char *meaning;
	bool required;
	long long least, most; /* of a number; both 0: any */
};

struct tool {
	const char *name, *title, *description;
	const struct tool_arg *args;
	const char *output; /* JSON schema of structuredContent */
	bool read_only, destructive, idempotent;
	/* 0: it has answered, or will; -errno with err. */
	int (*run)(struct call *call, struct sbx_err *err);
};

const struct tool *tool_find(const char *name);
/* For tools/list. New reference or NULL. */
json_t *tool_list(void);
/* 0, or -EINVAL and err in words for a model. */
int tool_check(const struct tool *tool, const json_t *arguments, struct sbx_err *err);

int tool_run_python(struct call *call, struct sbx_err *err);  /* run.c */
int tool_policy_show(struct call *call, struct sbx_err *err); /* run.c */
int tool_session_new(struct call *call, struct sbx_err *err); /* sessions.c */
int tool_session_reset(struct call *call, struct sbx_err *err);
int tool_session_list(struct call *call, struct sbx_err *err);
int tool_session_end(struct call *call, struct sbx_err *err);
int tool_files_list(struct call *call, struct sbx_err *err);
int tool_files_read(struct call *call, struct sbx_err *err);
int tool_files_write(struct call *call, struct sbx_err *err);
int tool_journal_list(struct call *call, struct sbx_err *err); /* look.c */
int tool_journal_show(struct call *call, struct sbx_err *err);

/* content.c: a result (docs/api.md) as blocks and as structured content; *ret_structured: new
 * references. NULL: no memory. */
json_t *content_of(const json_t *result, json_t **ret_structured);
json_t *content_text(const char *text);         /* a list of one block */
int content_add(json_t *content, json_t *text); /* takes text; 0, -ENOMEM */

#endif
