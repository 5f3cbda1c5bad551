/* SPDX-License-Identifier: MIT
 * Purpose: /v1/sessions: make, list, look, interrupt, restart, end; their variables and
 *   files.
 * Process: the engine. Trusts: nothing in a body.
 * Invariants: a caller sees its own sessions only, unless it sees everybody's. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "daemon/api.h"
#include "daemon/http_internal.h"
#include "journal/journal.h"

#define IDLE_S_MAX (7u * 24 * 3600)

#define NAME_MAX_CHARS (API_SESSION_NAME_MAX - 1)

static void record(struct session *session, const char *what)
{
	const struct api_owner *owner = session_arg(session);
	struct journal *journal = owner && owner->journal
					  ? owner->journal(owner->journal_arg)
					  : NULL;
	json_t *described = journal ? session_describe(session) : NULL;

	if (described)
		journal_session(journal, described, what);
	json_decref(described);
}

static void owner_free(struct api_owner *owner)
{
	if (owner) {
		free(owner->cwd);
		json_decref(owner->passing);
	}
	free(owner);
}

static void on_ended(void *arg, struct session *session, const char *reason)
{
	(void)reason;
	record(session, "ended");
	owner_free(arg);
}

/* New reference. */
static json_t *describe(struct session *session)
{
	const struct api_owner *owner = session_arg(session);
	json_t *object = session_describe(session);

	(void)json_object_set_new(object, "name",
				  owner && owner->session_name[0]
					  ? json_string(owner->session_name)
					  : json_null());
	return object;
}

static bool may_see(const struct exchange *ex, const struct session *session)
{
	const struct api_owner *owner = session_arg(session);

	return ex->caller.owner || (owner && strcmp(owner->name, ex->caller.name) == 0);
}

static void not_found(struct exchange *ex, const char *field)
{
	exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotFound", field,
			    "there is no session with this id");
}

struct session *api_session_find(const struct exchange *ex, const char *id)
{
	struct session *session = engine_session(exchange_engine(ex), id);

	return session && may_see(ex, session) ? session : NULL;
}

struct session *api_session(struct exchange *ex, const char *id, const char *field)
{
	struct session *session = api_session_find(ex, id);

	if (session)
		return session;
	not_found(ex, field);
	return NULL;
}

static struct session *of_path(struct exchange *ex)
{
	return api_session(ex, exchange_param(ex, "id"), NULL);
}

/* ---- made, listed, ended ---- */

/* Letters, digits, ".", "_" and "-": it goes into command lines and lists. */
static bool is_name(const json_t *value)
{
	static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "abcdefghijklmnopqrstuvwxyz0123456789._-";
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);

	return text && len > 0 && len <= NAME_MAX_CHARS &&
	       strspn(text, characters) == len;
}

struct wanted {
	struct request request;
	const char *name; /* of the exchange's body, or NULL */
	uint32_t idle_s;
	bool any_policy; /* it says nothing of one */
};

static int check_keys(const json_t *body, struct wanted *wanted, struct sbx_err *err)
{
	static const char *const others[] = { "code",    "filename", "stdin",
					      "timeout", "detach",   "session" };
	const json_t *idle = json_object_get(body, "idle_timeout"),
		     *name = json_object_get(body, "name");
	json_int_t seconds = json_integer_value(idle);

	if (idle && (!json_is_integer(idle) || seconds < 1 || seconds > IDLE_S_MAX))
		return err_set_field(err, SBX_AT_USAGE, 0, "idle_timeout",
				     "request: \"idle_timeout\" has to be a number of "
				     "seconds between 1 and %u",
				     IDLE_S_MAX);
	if (name && !is_name(name))
		return err_set_field(err, SBX_AT_USAGE, 0, "name",
				     "request: \"name\" has to be of 1 to %d letters, "
				     "digits, \".\", \"_\" and \"-\"",
				     NAME_MAX_CHARS);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (json_object_get(body, others[i]))
			return err_set_field(err, SBX_AT_USAGE, 0, others[i],
					     "request: \"%s\" is for an execution",
					     others[i]);
	wanted->name = json_string_value(name);
	wanted->idle_s = (uint32_t)seconds;
	wanted->any_policy = !json_object_get(body, "preset") &&
			     !json_object_get(body, "policy") &&
			     !json_object_get(body, "settings") &&
			     !json_object_get(body, "template");
	return 0;
}

/* defaults: NULL: the configuration's. */
static int take_body(struct exchange *ex, const json_t *object,
		     const struct sbx_policy *defaults, struct wanted *wanted,
		     struct sbx_err *err)
{
	json_t *body = json_copy((json_t *)(uintptr_t)object);
	int r = body ? check_keys(object, wanted, err)
		     : err_set(err, SBX_AT_ENGINE, ENOMEM, "request");

	(void)json_object_del(body, "idle_timeout");
	(void)json_object_del(body, "name");
	if (r == 0 && json_object_set_new(body, "code", json_string("")) < 0)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	if (r == 0)
		r = defaults ? api_request_over(ex, body, defaults, &wanted->request, err)
			     : api_request_of(ex, body, &wanted->request, err);
	json_decref(body);
	return r;
}

int api_session_make(struct exchange *ex, const struct request *request, uint32_t idle_s,
		     const struct api_owner *whose, struct session **ret,
		     struct sbx_err *err)
{
	const struct execution_request *asked = &request->execution;
	struct api_owner *owner = calloc(1, sizeof(*owner));
	const struct session_events events = { .ended = on_ended, .arg = owner };
	const struct session_request wanted = { .policy = asked->policy,
						.cwd = asked->cwd,
						.files = asked->files,
						.file_count = asked->file_count,
						.peer_fd = ex->caller.peer_fd,
						.remote = ex->caller.confined,
						.caller = ex->caller.name,
						.idle_timeout_s = idle_s };
	char *cwd = asked->cwd ? strdup(asked->cwd) : NULL;
	int r;

	if (!owner || (asked->cwd && !cwd)) {
		free(cwd);
		free(owner);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	}
	*owner = *whose;
	owner->cwd = cwd;
	(void)snprintf(owner->name, sizeof(owner->name), "%s", ex->caller.name);
	(void)snprintf(owner->preset, sizeof(owner->preset), "%s",
		       request->execution.preset ? request->execution.preset : "");
	(void)snprintf(owner->template, sizeof(owner->template), "%s",
		       request->execution.template ? request->execution.template : "");
	owner->journal = ex->http->journal;
	owner->journal_arg = ex->http->journal_arg;
	r = exchange_check_policy(ex, wanted.policy, err);
	if (r == 0)
		r = session_new(exchange_engine(ex), &wanted, &events, ret, err);
	if (r < 0)
		owner_free(owner);
	else
		record(*ret, "created");
	return r;
}

void api_session_request(struct session *session, struct execution_request *request)
{
	const struct api_owner *owner = session_arg(session);

	request->session = session;
	request->policy = session_policy(session);
	request->preset = *owner->preset ? owner->preset : NULL;
	request->template = *owner->template ? owner->template : NULL;
}

int api_session_restart(struct session *session, struct sbx_err *err)
{
	int r = session_restart(session, err);

	if (r == 0)
		record(session, "restarted");
	return r;
}

int api_session_of(struct exchange *ex, const json_t *object,
		   const struct sbx_policy *defaults, struct session **ret,
		   struct sbx_err *err)
{
	const struct api_owner whose = { .door = NULL };
	struct wanted wanted = { 0 };
	int r = take_body(ex, object, defaults, &wanted, err);

	if (r < 0)
		return r;
	r = api_session_make(ex, &wanted.request, wanted.idle_s, &whose, ret, err);
	request_clear(&wanted.request);
	return r;
}

/* ---- by name ---- */

struct search {
	const char *owner, *name;
	struct session *found;
};

static void look(void *arg, struct session *session)
{
	struct search *search = arg;
	const struct api_owner *owner = session_arg(session);

	/* One that is ending is nobody's any more; its name is free. */
	if (owner && strcmp(owner->session_name, search->name) == 0 &&
	    strcmp(owner->name, search->owner) == 0 && !session_is_ending(session))
		search->found = session;
}

/* The field in which two policies differ, or NULL. */
static const char *difference(const struct session *session,
			      const struct sbx_policy *policy)
{
	json_t *there = policy_to_json(session_policy(session)),
	       *here = policy_to_json(policy), *value;
	const char *key, *found = there && here ? NULL : "policy";

	json_object_foreach(here, key,
			    value) if (!found &&
				       !json_equal(value, json_object_get(there, key)))
		found = policy_field_find(key)->name;
	json_decref(there);
	json_decref(here);
	return found;
}

/* Where relative directories begin. */
static bool same_place(const struct api_owner *owner, const struct wanted *wanted)
{
	const struct sbx_policy *policy = wanted->request.execution.policy;
	const char *cwd = wanted->request.execution.cwd;

	return policy->allowed_directories.count == 0 ||
	       (owner->cwd && cwd ? strcmp(owner->cwd, cwd) == 0 : owner->cwd == cwd);
}

/* One that is there: gone on with, but never under other walls than were asked for. */
static void go_on(struct exchange *ex, struct session *session,
		  const struct wanted *wanted)
{
	const char *field = NULL;

	if (!wanted->any_policy) {
		field = difference(session, wanted->request.execution.policy);
		if (!field && !same_place(session_arg(session), wanted))
			field = "cwd";
	}
	if (field)
		exchange_problem_as(ex, MHD_HTTP_CONFLICT, "SessionExists", field,
				    "there is a session with this name, and it was made "
				    "with something else here: end it first, or do "
				    "without");
	else
		exchange_json(ex, MHD_HTTP_OK, describe(session));
}

static int post_session(struct exchange *ex, struct sbx_err *err)
{
	struct api_owner whose = { .door = NULL };
	struct wanted wanted = { 0 };
	struct session *session = NULL;
	char location[80];
	int r = take_body(ex, exchange_body(ex), NULL, &wanted, err);

	if (r < 0)
		return r;
	if (wanted.name) {
		struct search search = { .owner = ex->caller.name, .name = wanted.name };

		engine_sessions(exchange_engine(ex), look, &search);
		if (search.found) {
			go_on(ex, search.found, &wanted);
			request_clear(&wanted.request);
			return 0;
		}
		(void)snprintf(whose.session_name, sizeof(whose.session_name), "%s",
			       wanted.name);
	}
	r = api_session_make(ex, &wanted.request, wanted.idle_s, &whose, &session, err);
	request_clear(&wanted.request);
	if (r < 0)
		return r;
	(void)snprintf(location, sizeof(location), "/v1/sessions/%s",
		       session_id(session));
	exchange_header(ex, "Location", location);
	exchange_json(ex, MHD_HTTP_CREATED, describe(session));
	return 0;
}

struct listing {
	struct exchange *ex;
	json_t *list;
};

static void list_one(void *arg, struct session *session)
{
	struct listing *listing = arg;

	if (may_see(listing->ex, session))
		(void)json_array_append_new(listing->list, describe(session));
}

json_t *api_session_list(struct exchange *ex)
{
	struct listing listing = { ex, json_array() };

	engine_sessions(exchange_engine(ex), list_one, &listing);
	return listing.list;
}

static int list_sessions(struct exchange *ex, struct sbx_err *err)
{
	(void)err;
	exchange_json(ex, MHD_HTTP_OK,
		      json_pack("{s:o}", "sessions", api_session_list(ex)));
	return 0;
}

static int get_session(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);

	(void)err;
	if (session)
		exchange_json(ex, MHD_HTTP_OK, describe(session));
	return 0;
}

static int delete_session(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);

	(void)err;
	if (!session)
		return 0;
	session_end(session, "it was ended by its owner");
	exchange_empty(ex, MHD_HTTP_NO_CONTENT);
	return 0;
}

static int interrupt(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);

	(void)err;
	if (!session)
		return 0;
	session_interrupt(session);
	exchange_empty(ex, MHD_HTTP_NO_CONTENT);
	return 0;
}

static int restart(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);
	int r;

	if (!session)
		return 0;
	r = api_session_restart(session, err);
	if (r == 0)
		exchange_json(ex, MHD_HTTP_OK, describe(session));
	return r;
}

/* ---- what is answered later ---- */

static void problem(struct exchange *ex, const struct sbx_err *err)
{
	if (err->stage == SBX_AT_USAGE && err->errnum == ENOENT)
		exchange_problem_as(ex, MHD_HTTP_NOT_FOUND, "NotFound", NULL, err->msg);
	else
		exchange_problem(ex, err);
}

static void on_answer(void *arg, json_t *answer, const struct sbx_err *err)
{
	struct exchange *ex = arg;

	if (err)
		problem(ex, err);
	else
		exchange_json(ex, MHD_HTTP_OK, json_incref(answer));
	exchange_release(ex);
}

static void on_deleted(void *arg, json_t *answer, const struct sbx_err *err)
{
	struct exchange *ex = arg;

	(void)answer;
	if (err)
		problem(ex, err);
	else
		exchange_empty(ex, MHD_HTTP_NO_CONTENT);
	exchange_release(ex);
}

static int later(struct exchange *ex, int r)
{
	if (r == 0)
		(void)exchange_hold(ex);
	return r;
}

static int get_variables(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);

	return session ? later(ex, session_inspect(session, "variables", NULL, on_answer,
						   ex, err))
		       : 0;
}

static int complete(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);

	return session ? later(ex, session_inspect(session, "complete", exchange_body(ex),
						   on_answer, ex, err))
		       : 0;
}

static int list_files(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);

	return session ? later(ex, session_file_list(session, on_answer, ex, err)) : 0;
}

static int put_file(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);
	const char *data;
	size_t len;

	if (!session)
		return 0;
	data = exchange_bytes(ex, &len);
	return later(ex, session_file_put(session, exchange_param(ex, "path"), data, len,
					  on_answer, ex, err));
}

static int delete_file(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);

	return session ? later(ex,
			       session_file_delete(session, exchange_param(ex, "path"),
						   on_deleted, ex, err))
		       : 0;
}

static void on_file(void *arg, int fd, uint64_t size, const struct sbx_err *err)
{
	struct exchange *ex = arg;

	if (err) {
		problem(ex, err);
		fd_close(&fd);
	} else {
		exchange_file(ex, exchange_param(ex, "path"), fd, (size_t)size);
	}
	exchange_release(ex);
}

static int get_file(struct exchange *ex, struct sbx_err *err)
{
	struct session *session = of_path(ex);

	return session ? later(ex, session_file_get(session, exchange_param(ex, "path"),
						    on_file, ex, err))
		       : 0;
}

/* ---- the table ---- */

static const struct route_answer made_answers[] = {
	{ 200, NULL, "Session", "There is one of this name, made with the same." },
	{ 201, NULL, "Session", "It is being started; programs may be sent at once." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer list_answers[] = {
	{ 200, NULL, "SessionList", "The caller's." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer one_answers[] = {
	{ 200, NULL, "Session", "As it is now." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer empty_answers[] = {
	{ 204, NULL, NULL, "It was told." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer object_answers[] = {
	{ 200, NULL, "Object", "What its interpreter says, bounded: a claim." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer file_answers[] = {
	{ 200, NULL, "Files", "What lies in its working directory." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer put_answers[] = {
	{ 200, NULL, "Object", "Its path and size." },
	{ 0, NULL, NULL, NULL },
};
static const struct route_answer content_answers[] = {
	{ 200, "*/*", NULL, "The file, as an attachment." },
	{ 0, NULL, NULL, NULL },
};

static const struct route routes[] = {
	{ .method = "POST",
	  .pattern = "/v1/sessions",
	  .handle = post_session,
	  .body = BODY_JSON,
	  .body_schema = "SessionRequest",
	  .id = "makeSession",
	  .summary = "Make a session",
	  .description =
		  "A jail in which programs run one after the other and keep their "
		  "state: send them to /v1/executions with `session`. With a `name` "
		  "that one of the caller's sessions has, that one is gone on with; "
		  "409 if the policy that is asked for is another.",
	  .answers = made_answers },
	{ .method = "GET",
	  .pattern = "/v1/sessions",
	  .handle = list_sessions,
	  .id = "listSessions",
	  .summary = "Sessions",
	  .answers = list_answers },
	{ .method = "GET",
	  .pattern = "/v1/sessions/{id}",
	  .handle = get_session,
	  .id = "getSession",
	  .summary = "One session",
	  .answers = one_answers },
	{ .method = "DELETE",
	  .pattern = "/v1/sessions/{id}",
	  .handle = delete_session,
	  .id = "endSession",
	  .summary = "End a session",
	  .answers = empty_answers },
	{ .method = "POST",
	  .pattern = "/v1/sessions/{id}/interrupt",
	  .handle = interrupt,
	  .id = "interruptSession",
	  .summary = "KeyboardInterrupt in the program that runs now",
	  .answers = empty_answers },
	{ .method = "POST",
	  .pattern = "/v1/sessions/{id}/restart",
	  .handle = restart,
	  .id = "restartSession",
	  .summary = "A new interpreter under the same id, with the files",
	  .answers = one_answers },
	{ .method = "GET",
	  .pattern = "/v1/sessions/{id}/variables",
	  .handle = get_variables,
	  .id = "getSessionVariables",
	  .summary = "Its variables, while it is idle",
	  .answers = object_answers },
	{ .method = "POST",
	  .pattern = "/v1/sessions/{id}/complete",
	  .handle = complete,
	  .body = BODY_JSON,
	  .body_schema = "CompleteRequest",
	  .id = "completeInSession",
	  .summary = "How a name could go on, while it is idle",
	  .answers = object_answers },
	{ .method = "GET",
	  .pattern = "/v1/sessions/{id}/files",
	  .handle = list_files,
	  .id = "listSessionFiles",
	  .summary = "Its files",
	  .answers = file_answers },
	{ .method = "GET",
	  .pattern = "/v1/sessions/{id}/files/{path...}",
	  .handle = get_file,
	  .id = "getSessionFile",
	  .summary = "One of its files",
	  .answers = content_answers },
	{ .method = "PUT",
	  .pattern = "/v1/sessions/{id}/files/{path...}",
	  .handle = put_file,
	  .body = BODY_BYTES,
	  .id = "putSessionFile",
	  .summary = "Put a file in the place of what is there",
	  .answers = put_answers },
	{ .method = "DELETE",
	  .pattern = "/v1/sessions/{id}/files/{path...}",
	  .handle = delete_file,
	  .id = "deleteSessionFile",
	  .summary = "Delete a file",
	  .answers = empty_answers },
};

const struct route_table api_sessions = { .name = "sessions",
					  .routes = routes,
					  .count = sizeof(routes) / sizeof(routes[0]) };
