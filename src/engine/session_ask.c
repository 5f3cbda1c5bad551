/* SPDX-License-Identifier: MIT
 * Purpose: what is asked of a session besides programs: its variables, how a name could go
 *   on, the files in its /work (session.h).
 * Process: the engine, on its loop.
 * Trusts: nothing that the worker answers: of an answer only what has its place is taken,
 *   bounded. Files are the init's, whose word on names and sizes is the program's.
 * Invariants: a question ends within two seconds, or its session does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/session_internal.h"

#define ASK_US 1000000u /* for an answer; then an interrupt, and once more */
#define ITEMS_MAX 500u
#define TEXT_MAX 1024u
#define CALL_BYTES 16384u /* what a call about a file costs besides what it carries */

/* ---- questions to the worker ---- */

static void inspected(struct session *s, json_t *answer, const struct sbx_err *err)
{
	session_fn fn = s->inspection.fn;
	void *arg = s->inspection.arg;

	loop_timer_cancel(&s->inspection.timer);
	s->inspection.fn = NULL;
	s->answering = false;
	if (fn && !s->quiet)
		fn(arg, answer, err);
}

void inspect_end(struct session *s)
{
	struct sbx_err err = { 0 };

	if (!s->answering)
		return;
	(void)err_set(&err, SBX_AT_USAGE, 0, "the session has ended");
	inspected(s, NULL, &err);
}

static void on_ask_late(void *arg)
{
	struct session *s = arg;

	loop_timer_cancel(&s->inspection.timer);
	if (!s->inspection.interrupted) {
		s->inspection.interrupted = true;
		worker_interrupt(s->box->worker, 0);
		if (loop_timer_at(s->engine->loop, &s->inspection.timer,
				  loop_now_us() + ASK_US, on_ask_late, s) == 0)
			return;
	}
	session_end(s, "it did not answer a question about its variables");
}

static json_t *text_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	size_t len = json_string_length(value);

	if (!json_is_string(value))
		return json_null();
	return outcome_text(json_string_value(value), len < TEXT_MAX ? len : TEXT_MAX);
}

static json_t *clean_variables(const json_t *claim)
{
	json_t *list = json_array(), *item;
	size_t i;

	json_array_foreach(json_object_get(claim, "variables"), i, item)
	{
		json_t *size = json_object_get(item, "size");

		if (i >= ITEMS_MAX || !json_is_string(json_object_get(item, "name")))
			continue;
		(void)json_array_append_new(
			list,
			json_pack("{s:o,s:o,s:o,s:o}", "name", text_of(item, "name"),
				  "type", text_of(item, "type"), "size",
				  json_is_integer(size) ? json_incref(size) : json_null(),
				  "preview", text_of(item, "preview")));
	}
	return json_pack("{s:o}", "variables", list);
}

static json_t *clean_matches(const json_t *claim, size_t end)
{
	json_t *list = json_array(), *item;
	json_int_t start = json_integer_value(json_object_get(claim, "start"));
	size_t i;

	json_array_foreach(json_object_get(claim, "matches"), i, item)
	{
		if (i < ITEMS_MAX && json_string_length(item) <= TEXT_MAX &&
		    json_is_string(item))
			(void)json_array_append(list, item);
	}
	if (start < 0 || start > (json_int_t)end)
		start = (json_int_t)end;
	return json_pack("{s:o,s:I,s:I}", "matches", list, "start", start, "end",
			 (json_int_t)end);
}

void inspect_answered(struct session *s, const char *data, size_t len)
{
	struct sbx_err err = { 0 };
	const char *why = NULL;
	json_t *claim, *answer = NULL;

	if (!s->answering)
		return;
	claim = outcome_parse(data, len, &why);
	if (claim)
		answer = s->inspection.complete ? clean_matches(claim, s->inspection.end)
						: clean_variables(claim);
	if (!answer)
		(void)err_set(&err, SBX_AT_WORKER, 0, "the session's answer: %s",
			      why ? why : "no memory");
	inspected(s, answer, answer ? NULL : &err);
	json_decref(answer);
	json_decref(claim);
	session_turn_soon(s);
}

/* Bytes of text up to a position in characters. */
static size_t offset_of(const char *text, size_t len, size_t position)
{
	size_t at = 0;

	for (; at < len; at++)
		if (((unsigned char)text[at] & 0xc0) != 0x80 && position-- == 0)
			break;
	return at;
}

static int take_args(const json_t *args, struct session *s, const char **ret_text,
		     size_t *ret_len, struct sbx_err *err)
{
	const json_t *code = json_object_get(args, "code"),
		     *cursor = json_object_get(args, "cursor");
	const char *text = json_string_value(code);
	size_t len = json_string_length(code), at;

	if (!text ||
	    (cursor && (!json_is_integer(cursor) || json_integer_value(cursor) < 0)))
		return err_set(
			err, SBX_AT_USAGE, 0,
			"\"code\" has to be a string, \"cursor\" a position in it");
	at = cursor ? offset_of(text, len, (size_t)json_integer_value(cursor)) : len;
	s->inspection.end = 0;
	for (size_t i = 0; i < at; i++)
		s->inspection.end += ((unsigned char)text[i] & 0xc0) != 0x80;
	if (at > ASK_TEXT_MAX)
		return err_set(err, SBX_AT_USAGE, 0, "\"code\" is longer than %u KiB",
			       ASK_TEXT_MAX >> 10);
	*ret_text = text;
	*ret_len = at;
	return 0;
}

int session_inspect(struct session *s, const char *what, json_t *args, session_fn fn,
		    void *arg, struct sbx_err *err)
{
	struct worker_ask ask = { .what = strcmp(what, "complete") == 0 ? ASK_COMPLETE
									: ASK_VARIABLES };
	_cleanup_buf_ struct buf message = { 0 };
	const char *text = "";
	size_t len = 0;
	int r;

	if (s->box->state != BOX_OPEN || s->box->running || s->first || s->answering ||
	    s->carrying)
		return err_set(err, SBX_AT_BUSY, EAGAIN, "the session is not idle");
	if (ask.what == ASK_COMPLETE && (r = take_args(args, s, &text, &len, err)) < 0)
		return r;
	ask.text_len = (uint32_t)len;
	r = buf_add(&message, &ask, sizeof(ask));
	if (r == 0 && len > 0)
		r = buf_add(&message, text, len);
	if (r == 0)
		r = loop_timer_at(s->engine->loop, &s->inspection.timer,
				  loop_now_us() + ASK_US, on_ask_late, s);
	if (r == 0)
		r = worker_send(s->box->worker, WORKER_ASK, message.data, message.len,
				-1);
	if (r < 0) {
		loop_timer_cancel(&s->inspection.timer);
		return err_set(err, SBX_AT_WORKER, -r, "a question to the session");
	}
	s->inspection.fn = fn;
	s->inspection.arg = arg;
	s->inspection.complete = ask.what == ASK_COMPLETE;
	s->inspection.interrupted = false;
	s->answering = true;
	s->used_s = time(NULL);
	return 0;
}

/* ---- files ---- */

struct session_file {
	struct session_file *next;
	struct session *session;
	session_fn fn;
	session_get_fn get_fn;
	void *arg;
	enum init_op op; /* INIT_COLLECT: a list */
	int archive;     /* INIT_PUT */
	bool begun;
	struct collect *collect;
	uint64_t size; /* of what is put */
	size_t kept_bytes;
	char path[];
};

static struct session_file *call_new(struct session *s, enum init_op op, const char *path,
				     void *arg)
{
	struct session_file *call = calloc(1, sizeof(*call) + strlen(path) + 1);
	struct session_file **at = &s->files;

	if (!call)
		return NULL;
	call->session = s;
	call->op = op;
	call->archive = -1;
	call->arg = arg;
	memcpy(call->path, path, strlen(path) + 1);
	while (*at)
		at = &(*at)->next;
	*at = call;
	s->used_s = time(NULL);
	return call;
}

static void call_free(struct session_file *call)
{
	struct session_file **at = &call->session->files;

	while (*at && *at != call)
		at = &(*at)->next;
	if (*at)
		*at = call->next;
	session_let_go(call->session, call->kept_bytes);
	collect_free(&call->collect);
	fd_close(&call->archive);
	free(call);
}

/* Takes answer, and fd. */
static void call_over(struct session_file *call, json_t *answer,
		      const struct sbx_err *err, int fd, uint64_t size)
{
	const struct session_file copy = *call;
	bool quiet = call->session->quiet;

	call_free(call);
	if (quiet)
		fd_close(&fd);
	else if (copy.get_fn)
		copy.get_fn(copy.arg, fd, size, err);
	else
		copy.fn(copy.arg, answer, err);
	json_decref(answer);
}

void files_end(struct session *s)
{
	struct sbx_err err = { 0 };

	(void)err_set(&err, SBX_AT_USAGE, 0, "the session has ended");
	while (s->files) {
		box_forget(s->box, s->files);
		call_over(s->files, NULL, &err, -1, 0);
	}
}

static void on_file(void *arg, const struct sbx_err *err, int fd, uint64_t size)
{
	struct session_file *call = arg;
	json_t *answer = NULL;

	if (!err && !call->get_fn)
		answer = call->op == INIT_DELETE
				 ? json_object()
				 : json_pack("{s:o,s:I}", "path",
					     outcome_text(call->path, strlen(call->path)),
					     "size", (json_int_t)call->size);
	call_over(call, answer, err, fd, size);
}

static int check_path(const char *path, struct sbx_err *err)
{
	size_t len = strlen(path);

	if (len == 0 || len >= FILES_NAME_MAX)
		return err_set(err, SBX_AT_USAGE, 0,
			       "a file's path has between 1 and %u bytes",
			       FILES_NAME_MAX - 1);
	for (const char *at = path;; at++) {
		size_t part = strcspn(at, "/");

		if (part == 0 || part > 255 || (part == 1 && at[0] == '.') ||
		    (part == 2 && at[0] == '.' && at[1] == '.'))
			return err_set(err, SBX_AT_USAGE, 0,
				       "a file's path is plain and relative to the "
				       "session's working directory");
		at += part;
		if (!*at)
			return 0;
	}
}

static void on_listed(void *arg)
{
	struct session_file *call = arg;

	call_over(call,
		  json_pack("{s:o,s:I}", "files", collect_list(call->collect, NULL),
			    "omitted", (json_int_t)collect_omitted(call->collect)),
		  NULL, -1, 0);
}

static int begin(struct session_file *call)
{
	const struct collect_asked asked = { .live = true };
	struct box *box = call->session->box;

	call->begun = true;
	if (call->op == INIT_COLLECT)
		return collect_begin(call->session->engine->loop, box->worker, &asked,
				     on_listed, call, &call->collect);
	return box_file(box, call->op, call->op == INIT_PUT ? "" : call->path,
			call->archive, on_file, call);
}

/* What was asked while it was starting. */
void files_opened(struct session *s)
{
	struct session_file *call = s->files, *next;
	struct sbx_err err = { 0 };

	(void)err_set(&err, SBX_AT_ENGINE, 0, "its jail could not be asked");
	for (; call; call = next) {
		next = call->next;
		if (!call->begun && begin(call) < 0)
			call_over(call, NULL, &err, -1, 0);
	}
}

/* Takes call; NULL: there was no memory for it. */
static int ask(struct session *s, struct session_file *call, struct sbx_err *err)
{
	int r = call ? 0 : -ENOMEM;

	/* Who asked may be gone long before a session that waits for its jail answers. */
	if (r == 0 && session_keep(s, CALL_BYTES + (size_t)call->size, err) < 0) {
		call_free(call);
		return -EAGAIN;
	}
	if (r == 0)
		call->kept_bytes = CALL_BYTES + (size_t)call->size;
	if (r == 0 && s->box->state == BOX_ENDING)
		r = -EPIPE;
	if (r == 0 && s->box->state == BOX_OPEN)
		r = begin(call);
	if (r == 0)
		return 0;
	if (call)
		call_free(call);
	if (r == -EPIPE)
		return err_set(err, SBX_AT_BUSY, EAGAIN, "the session is %s",
			       s->restarting ? "starting again" : "ending");
	return err_set(err, SBX_AT_ENGINE, -r, "a session's file");
}

int session_file_put(struct session *s, const char *path, const void *data, size_t len,
		     session_fn fn, void *arg, struct sbx_err *err)
{
	const struct execution_file file = { path, data, len };
	_cleanup_fd_ int archive = -1;
	struct session_file *call;
	int r = check_path(path, err);

	if (r < 0)
		return r;
	/* Where the program may open no file of its own choice, those that were given. */
	if (box_give(s->box, path) < 0 && !s->policy.allow_file_operations)
		return err_set(err, SBX_AT_USAGE, 0,
			       "at most %u files can be given without "
			       "allow_file_operations",
			       FILES_MAX);
	archive = box_archive(&file, 1);
	if (archive < 0)
		return err_set(err, SBX_AT_ENGINE, -archive, "a session's file");
	call = call_new(s, INIT_PUT, path, arg);
	if (call) {
		call->fn = fn;
		call->size = len;
		call->archive = fd_take(&archive);
	}
	s->unsure = true;
	return ask(s, call, err);
}

int session_file_delete(struct session *s, const char *path, session_fn fn, void *arg,
			struct sbx_err *err)
{
	struct session_file *call;
	int r = check_path(path, err);

	if (r < 0)
		return r;
	call = call_new(s, INIT_DELETE, path, arg);
	if (call)
		call->fn = fn;
	return ask(s, call, err);
}

int session_file_get(struct session *s, const char *path, session_get_fn fn, void *arg,
		     struct sbx_err *err)
{
	struct session_file *call;
	int r = check_path(path, err);

	if (r < 0)
		return r;
	call = call_new(s, INIT_GET, path, arg);
	if (call)
		call->get_fn = fn;
	return ask(s, call, err);
}

int session_file_list(struct session *s, session_fn fn, void *arg, struct sbx_err *err)
{
	struct session_file *call = call_new(s, INIT_COLLECT, "", arg);

	if (call)
		call->fn = fn;
	return ask(s, call, err);
}
