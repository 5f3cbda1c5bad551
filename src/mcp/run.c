/* SPDX-License-Identifier: MIT
 * Purpose: run_python and policy_show.
 * Process: the engine. Trusts: nothing of the client; the run has its caller's rights.
 * Invariants: what a model says changes no policy: only its user's address and the server's
 *   configuration do. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "daemon/api.h"
#include "daemon/doors/doors.h"
#include "mcp/call.h"

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	call_output(arg, stream, data, len);
}

static void on_done(void *arg, json_t *result)
{
	const char *status = json_string_value(json_object_get(result, "status"));
	json_t *structured = NULL, *content = content_of(result, &structured);

	call_answer(arg, content, structured, !status || strcmp(status, "ok") != 0);
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	call_refused(arg, err);
}

static int wanted(const struct call *call, bool session, json_t **ret,
		  struct sbx_err *err)
{
	static const char *const keys[] = { "code", "session", "timeout", "files" };
	json_t *object = session ? json_object() : call_settings(call, err);

	if (!object)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *value = json_object_get(call->arguments, keys[i]);

		if (value && json_object_set(object, keys[i], value) < 0) {
			json_decref(object);
			return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
		}
	}
	*ret = object;
	return 0;
}

int tool_run_python(struct call *call, struct sbx_err *err)
{
	const struct execution_sink sink = {
		.output = on_output, .refused = on_refused, .done = on_done, .arg = call
	};
	bool in_session = call_text(call, "session") != NULL;
	struct session *session = in_session ? call_session(call, err) : NULL;
	struct request request;
	json_t *object = NULL;
	int r;

	if (in_session && !session)
		return -ENOENT;
	r = wanted(call, in_session, &object, err);
	if (r < 0)
		return r;
	r = in_session ? api_request_of(call->ex, object, &request, err)
		       : doors_request(call->ex, CALL_PRESET, json_incref(object),
				       &request, err);
	json_decref(object);
	if (r < 0)
		return r;
	if (session) {
		request.execution.session = session;
		request.execution.policy = session_policy(session);
	}
	request.execution.timeout_s = request.timeout_s;
	r = exchange_run(call->ex, &request.execution, &sink, false, NULL, err);
	request_clear(&request);
	if (r == 0)
		call_stream(call);
	return r;
}

int tool_policy_show(struct call *call, struct sbx_err *err)
{
	json_t *object = call_settings(call, err);
	struct request request;
	int r;

	if (!object)
		return -EINVAL;
	r = json_object_set_new(object, "code", json_string("")) < 0
		    ? err_set(err, SBX_AT_ENGINE, ENOMEM, "request")
		    : doors_request(call->ex, CALL_PRESET, json_incref(object), &request,
				    err);
	json_decref(object);
	if (r < 0)
		return r;
	r = exchange_check_policy(call->ex, &request.policy, err);
	if (r == 0)
		call_object(call, json_pack("{s:o}", "policy",
					    policy_to_json_redacted(&request.policy)));
	request_clear(&request);
	return r;
}
