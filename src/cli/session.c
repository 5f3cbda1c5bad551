/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox run --session NAME` and `sandbox session`: sessions of a server, by
 *   name (session.h).
 * Process: the command's; a client like any other, over the server's unix socket.
 * Trusts: nothing that the server passes on of a program: it is shown as `sandbox run`
 *   shows it.
 * Invariants: a session is never gone on with under another policy than was asked for (the
 *   server compares); a first signal interrupts the program and leaves the session. */
#include "cli/session.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/listen.h"
#include "cli/output.h"
#include "cli/session_server.h"
#include "lib/client.h"
#include "lib/internal.h"

#define TRIES 50 /* while a server ends and another starts */
#define TRY_MS 100

struct talk {
	struct client *client;
	char *socket; /* absolute */
	char path[96], id[40];
	struct cli_output output;
	bool json;
	json_t *last; /* line of a stream: its result or its error */
};

static int no_memory(void)
{
	return cli_fail(EXIT_OUR_FAULT, "out of memory");
}

/* ---- the server ---- */

static int place(const char *given, char **ret)
{
	char text[PATH_MAX];
	int code;

	if (!given && geteuid() != 0 && !getenv("XDG_RUNTIME_DIR"))
		return cli_fail(EXIT_WRONG_USAGE,
				"XDG_RUNTIME_DIR is not set; give --socket PATH");
	code = given ? 0 : listen_default_path(text, sizeof(text));
	if (code != 0)
		return code;
	if (given && *given != '/') {
		_cleanup_free_ char *here = getcwd(NULL, 0);

		if (!here || asprintf(ret, "%s/%s", here, given) < 0)
			return no_memory();
		return 0;
	}
	*ret = strdup(given ? given : text);
	return *ret ? 0 : no_memory();
}

static int open_talk(const char *socket, struct talk *talk)
{
	struct client_options options = { 0 };
	struct sbx_err err = { 0 };
	int code = place(socket, &talk->socket);

	if (code != 0)
		return code;
	options.socket = talk->socket;
	if (client_open(&options, &talk->client, &err) < 0)
		return cli_fail(EXIT_OUR_FAULT, "%s", err.msg);
	return 0;
}

static void close_talk(struct talk *talk)
{
	client_close(talk->client);
	free(talk->socket);
	json_decref(talk->last);
}

static int ask(struct talk *talk, const char *method, const char *path,
	       const json_t *body, struct client_answer *ret, struct sbx_err *err)
{
	const struct client_request request = { .method = method,
						.path = path,
						.body = body };

	return client_send(talk->client, &request, ret, err);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* Says a problem document; the exit code that its kind has everywhere. */
static int problem(int status, const json_t *object)
{
	const char *name = text_of(object, "name"), *field = text_of(object, "field");
	const char *detail = text_of(object, "detail");
	int code = status >= 500 || status == 429 ? EXIT_OUR_FAULT : EXIT_WRONG_USAGE;

	for (int stage = SBX_AT_USAGE; stage <= SBX_AT_JOURNAL; stage++)
		if (strcmp(err_kind(stage)->name, name) == 0)
			code = err_kind(stage)->exit_code;
	if (strcmp(name, "SessionExists") == 0)
		return cli_fail(code, "%s: %s", field, detail);
	return cli_fail(code, "%s",
			*detail ? detail : "the server's answer says nothing");
}

/* One request whose answer is not a run's. 0 for 2xx. */
static int demand(struct talk *talk, const char *method, const char *path,
		  const json_t *body, struct client_answer *ret)
{
	struct sbx_err err = { 0 };
	int r = ask(talk, method, path, body, ret, &err);

	if (r == -ENOTCONN)
		return cli_fail(EXIT_WRONG_USAGE, "no server listens on %s",
				talk->socket);
	if (r < 0)
		return cli_fail(EXIT_OUR_FAULT, "%s", err.msg);
	return ret->status / 100 == 2 ? 0 : problem(ret->status, ret->json);
}

/* ---- the session ---- */

static json_t *policy_of(const struct cli_session *session,
			 const struct sbx_request *request)
{
	_cleanup_free_ char *here = getcwd(NULL, 0);
	json_t *settings = json_array(), *object;

	for (size_t i = 0; i < request->setting_count; i++)
		(void)json_array_append_new(settings,
					    json_pack("[s, s]", request->settings[i].key,
						      request->settings[i].value));
	object = json_pack("{s:s, s:s*, s:s*, s:s*}", "name", session->name, "preset",
			   request->preset, "template", session->template, "cwd", here);
	if (object && request->policy)
		(void)json_object_set_new(
			object, "policy",
			json_stringn(request->policy, request->policy_len));
	if (object && request->setting_count > 0)
		(void)json_object_set(object, "settings", settings);
	json_decref(settings);
	return object;
}

/* Whether the next try may find a server that serves. */
static bool passes(int r, const struct client_answer *answer)
{
	return r == -EPIPE ||
	       (r == 0 && strcmp(text_of(answer->json, "name"), "Stopping") == 0);
}

/* Goes on with the session of that name, or makes it; starts a server if need be. */
static int enter(struct talk *talk, const json_t *wanted)
{
	const struct timespec pause = { .tv_nsec = TRY_MS * 1000000L };
	struct client_answer answer = { 0 };
	struct sbx_err err = { 0 };
	int r = 0, code = 0;

	for (int i = 0; i < TRIES && code == 0; i++) {
		client_answer_clear(&answer);
		r = ask(talk, "POST", "/v1/sessions", wanted, &answer, &err);
		if (r == -ENOTCONN)
			code = session_server_start(talk->socket);
		else if (!passes(r, &answer))
			break;
		else
			(void)nanosleep(&pause, NULL);
	}
	if (code == 0 && r < 0)
		code = cli_fail(EXIT_OUR_FAULT, "%s", err.msg);
	else if (code == 0 && answer.status / 100 != 2)
		code = problem(answer.status, answer.json);
	if (code == 0 && strlen(text_of(answer.json, "id")) == 32) {
		strcpy(talk->id, text_of(answer.json, "id"));
		(void)snprintf(talk->path, sizeof(talk->path), "/v1/sessions/%s",
			       talk->id);
	} else if (code == 0) {
		code = cli_fail(EXIT_OUR_FAULT, "the server's answer has no id");
	}
	client_answer_clear(&answer);
	return code;
}

/* ---- a program in it ---- */

static json_t *files_of(const struct sbx_file *files, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++) {
		size_t size = sodium_base64_encoded_len(files[i].len,
							sodium_base64_VARIANT_ORIGINAL);
		char *text = malloc(size);

		if (text)
			(void)json_object_set_new(
				object, files[i].name,
				json_pack("{s:s}", "base64",
					  sodium_bin2base64(
						  text, size, files[i].data, files[i].len,
						  sodium_base64_VARIANT_ORIGINAL)));
		free(text);
	}
	if (json_object_size(object) != count) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static bool on_line(void *arg, const json_t *line)
{
	struct talk *talk = arg;
	const char *type = text_of(line, "type");
	const json_t *text = json_object_get(line, "text");
	int stream = strcmp(type, "stdout") == 0   ? 1
		     : strcmp(type, "stderr") == 0 ? 2
						   : 0;

	if (stream && !talk->json)
		cli_output_write(&talk->output, stream, json_string_value(text),
				 json_string_length(text));
	if (strcmp(type, "result") == 0 || strcmp(type, "error") == 0) {
		json_decref(talk->last);
		talk->last = json_deep_copy(line);
	}
	return true;
}

/* KeyboardInterrupt in the program; its result then comes by itself. */
static void on_wake(void *arg)
{
	struct talk *talk = arg;
	struct client_answer answer = { 0 };
	struct sbx_err err = { 0 };
	char path[128];
	uint64_t count;

	if (read(cli_cancel_fd, &count, sizeof(count)) < 0)
		return;
	(void)snprintf(path, sizeof(path), "%s/interrupt", talk->path);
	(void)ask(talk, "POST", path, NULL, &answer, &err);
	client_answer_clear(&answer);
}

static int show(struct talk *talk, const struct cli_session *session,
		const json_t *result)
{
	_cleanup_free_ char *text = NULL;
	const char *status = text_of(result, "status");
	int code = EXIT_OUR_FAULT;

	for (int i = SBX_OK; i <= SBX_FAULT; i++)
		if (strcmp(status, sbx_status_name((enum sbx_status)i)) == 0)
			code = sbx_status_exit_code((enum sbx_status)i);
	if (session->json) {
		text = json_dumps(result, JSON_COMPACT);
		if (!text || puts(text) < 0 || fflush(stdout) != 0)
			code = cli_fail(EXIT_OUR_FAULT, "writing the result: %s",
					strerror(errno));
	} else if (!session->quiet) {
		cli_output_summary(&talk->output, result);
	}
	if (talk->output.failed)
		code = cli_fail(EXIT_OUR_FAULT, "writing the output: %s",
				strerror(talk->output.failed));
	if (*text_of(result, "session_ended"))
		(void)cli_fail(0, "the session has ended: %s",
			       text_of(result, "session_ended"));
	return cli_caught() ? 128 + cli_caught() : code;
}

/* What the program left in its directory, as --files of `sandbox run`. */
static int fetch_files(struct talk *talk, struct cli_files *files, const json_t *result)
{
	json_t *item;
	size_t i;
	int code = 0;

	json_array_foreach(json_object_get(result, "files"), i, item)
	{
		const json_t *name = json_object_get(item, "path");
		struct client_answer answer = { 0 };
		char *rest, *path = NULL;

		rest = client_escape(json_string_value(name) ? json_string_value(name)
							     : "",
				     json_string_length(name));
		/* A path's own slashes stay. */
		for (char *at = rest; at && (at = strstr(at, "%2F")) != NULL;) {
			*at++ = '/';
			memmove(at, at + 2, strlen(at + 2) + 1);
		}
		if (!rest || asprintf(&path, "%s/files/%s", talk->path, rest) < 0)
			code = no_memory();
		else
			code = demand(talk, "GET", path, NULL, &answer);
		if (code == 0)
			cli_files_write(files, json_string_value(name), answer.data,
					answer.len);
		client_answer_clear(&answer);
		free(rest);
		free(path);
		if (code != 0)
			return code;
	}
	return files->failed[0] ? cli_fail(EXIT_OUR_FAULT, "--files %s: %s", files->out,
					   files->failed)
				: 0;
}

static json_t *program_of(const struct talk *talk, const struct sbx_request *request,
			  const struct cli_files *files)
{
	json_t *object = json_pack(
		"{s:s, s:s*, s:o*}", "session", talk->id, "filename", request->filename,
		"files",
		files->given_count ? files_of(files->given, files->given_count) : NULL);
	json_t *code = json_stringn(request->code, request->code_len);

	if (!object || json_object_set_new(object, "code", code) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static int run(struct talk *talk, const struct cli_session *session,
	       const struct sbx_request *request, struct cli_files *files)
{
	json_t *body = program_of(talk, request, files);
	const struct client_request wanted = { .method = "POST",
					       .path = "/v1/executions",
					       .body = body,
					       .on_line = on_line,
					       .wake_fd = &cli_cancel_fd,
					       .on_wake = on_wake,
					       .arg = talk };
	struct client_answer answer = { 0 };
	struct sbx_err err = { 0 };
	const json_t *result;
	int code, written;

	if (!body)
		return cli_fail(EXIT_WRONG_USAGE, "the program is not UTF-8");
	cli_output_begin(&talk->output);
	talk->json = session->json;
	code = client_send(talk->client, &wanted, &answer, &err) < 0
		       ? cli_fail(EXIT_OUR_FAULT, "%s", err.msg)
		       : 0;
	result = json_object_get(talk->last, "result");
	if (code == 0 && json_is_object(result)) {
		code = show(talk, session, result);
		written = files->out ? fetch_files(talk, files, result) : 0;
		code = written ? written : code;
	} else if (code == 0) {
		code = problem(answer.status,
			       talk->last ? json_object_get(talk->last, "error")
					  : answer.json);
	}
	client_answer_clear(&answer);
	json_decref(body);
	return code;
}

/* ---- by name ---- */

/* Of a list: the one with this name or id. */
static int find(struct talk *talk, const char *name)
{
	struct client_answer answer = { 0 };
	int code = demand(talk, "GET", "/v1/sessions", NULL, &answer);
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(answer.json, "sessions"), i, item)
	{
		const char *id = text_of(item, "id");

		if (strcmp(text_of(item, "state"), "ended") == 0 || strlen(id) != 32 ||
		    (strcmp(text_of(item, "name"), name) != 0 && strcmp(id, name) != 0))
			continue;
		strcpy(talk->id, id);
		(void)snprintf(talk->path, sizeof(talk->path), "/v1/sessions/%s", id);
	}
	client_answer_clear(&answer);
	if (code == 0 && !talk->id[0])
		code = cli_fail(1, "there is no session \"%s\" on %s", name,
				talk->socket);
	return code;
}

/* verb: NULL: it is ended. */
static int tell(struct talk *talk, const char *verb)
{
	struct client_answer answer = { 0 };
	char path[128];
	int code;

	(void)snprintf(path, sizeof(path), "%s%s%s", talk->path, verb ? "/" : "",
		       verb ? verb : "");
	code = demand(talk, verb ? "POST" : "DELETE", path, NULL, &answer);
	client_answer_clear(&answer);
	return code;
}

int session_run(const struct cli_session *session, const struct sbx_request *request,
		struct cli_files *files)
{
	struct talk talk = { 0 };
	json_t *wanted = NULL;
	int code = cli_files_begin(files), ended;

	if (code == 0 && cli_catch_signals() < 0)
		code = cli_fail(EXIT_OUR_FAULT, "signals: %s", strerror(errno));
	if (code == 0)
		code = open_talk(session->socket, &talk);
	if (code == 0 && request->code) {
		wanted = policy_of(session, request);
		code = wanted ? enter(&talk, wanted)
			      : cli_fail(EXIT_WRONG_USAGE, "the policy is not UTF-8");
		if (code == 0)
			code = run(&talk, session, request, files);
	} else if (code == 0) {
		code = find(&talk, session->name);
	}
	if (session->end && talk.id[0]) {
		ended = tell(&talk, NULL);
		code = code ? code : ended;
	}
	json_decref(wanted);
	close_talk(&talk);
	return code;
}

/* ---- the verb ---- */

static const char *const option_names[] = { "--socket", "--json", "--help", NULL };

static int list(struct talk *talk, bool json)
{
	struct client_answer answer = { 0 };
	int code = demand(talk, "GET", "/v1/sessions", NULL, &answer);
	_cleanup_free_ char *text = NULL;
	json_t *item;
	size_t i;

	if (code == 0 && json) {
		text = json_dumps(json_object_get(answer.json, "sessions"), JSON_COMPACT);
		code = text && puts(text) >= 0 ? 0 : no_memory();
	}
	json_array_foreach(json_object_get(answer.json, "sessions"), i, item)
	{
		const char *name = text_of(item, "name");
		char line[256];
		char *shown;

		if (json)
			break;
		(void)snprintf(line, sizeof(line), "%-32s  %-20s  %-8s  %3lld programs",
			       text_of(item, "id"), *name ? name : "-",
			       text_of(item, "state"),
			       (long long)json_integer_value(
				       json_object_get(item, "executions")));
		shown = summary_line(line, strlen(line), sizeof(line));
		(void)puts(shown ? shown : "");
		free(shown);
	}
	client_answer_clear(&answer);
	return code;
}

int cli_session(int argc, char **argv)
{
	static const char *const verbs[] = { "end", "interrupt", "restart" };
	const char *socket = NULL, *words[2] = { NULL, NULL };
	struct talk talk = { 0 };
	bool json = false, known;
	int count = 0, code, r;

	for (int i = 1; i < argc; i++) {
		r = cli_value(argc, argv, &i, "--socket", &socket);
		if (r < 0)
			return EXIT_WRONG_USAGE;
		if (r > 0)
			continue;
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (argv[i][0] == '-' || count == 2)
			return cli_unknown("session", argv[i], option_names);
		else
			words[count++] = argv[i];
	}
	known = count == 1 && strcmp(words[0], "list") == 0;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		known = known || (count == 2 && strcmp(words[0], verbs[i]) == 0);
	if (!known)
		return cli_fail(EXIT_WRONG_USAGE,
				"session: list, or end, interrupt or restart with a NAME "
				"(see `sandbox help session`)");
	code = open_talk(socket, &talk);
	if (code == 0 && count == 1)
		code = list(&talk, json);
	else if (code == 0 && (code = find(&talk, words[1])) == 0)
		code = tell(&talk, strcmp(words[0], "end") == 0 ? NULL : words[0]);
	close_talk(&talk);
	return code;
}
