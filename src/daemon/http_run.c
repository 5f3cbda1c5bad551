/* SPDX-License-Identifier: MIT
 * Purpose: a run on behalf of an HTTP caller (exchange_run()): its rights, its end with the
 *   caller, and its output held for a slow reader.
 * Process: the engine. Trusts: the caller's identity, which the door found; nothing else of
 *   the request.
 * Invariants: the exchange is held until the run's last callback has returned; no run of a
 *   caller that is gone goes on, unless it is detached. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "daemon/http_internal.h"

struct ours {
	struct exchange *ex;
	struct execution_sink sink; /* the handler's */
	struct run *run;
	bool detached, held;
};

static void on_gone(void *arg)
{
	struct ours *ours = arg;

	if (ours->held) {
		ours->held = false;
		execution_hold_output(run_execution(ours->run), false);
	}
	run_cancel(ours->run);
}

static void on_drained(void *arg)
{
	struct ours *ours = arg;

	if (!ours->held)
		return;
	ours->held = false;
	execution_hold_output(run_execution(ours->run), false);
}

static void grew(struct ours *ours)
{
	if (!ours->held && exchange_waiting(ours->ex) > STREAM_HIGH) {
		ours->held = true;
		execution_hold_output(run_execution(ours->run), true);
	}
	exchange_flush(ours->ex);
}

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct ours *ours = arg;

	if (!ours->sink.output || exchange_gone(ours->ex))
		return;
	ours->sink.output(ours->sink.arg, stream, data, len);
	grew(ours);
}

static void on_event(void *arg, const json_t *event)
{
	struct ours *ours = arg;

	if (!ours->sink.event || exchange_gone(ours->ex) ||
	    exchange_waiting(ours->ex) > STREAM_EVENTS_MAX)
		return;
	ours->sink.event(ours->sink.arg, event);
	grew(ours);
}

static void on_display(void *arg, const json_t *bundle)
{
	struct ours *ours = arg;

	if (!ours->sink.display || exchange_gone(ours->ex))
		return;
	ours->sink.display(ours->sink.arg, bundle);
	grew(ours);
}

static void on_sample(void *arg, const json_t *sample)
{
	struct ours *ours = arg;

	/* For a caller that reads as it comes; what waits is not a picture of now. */
	if (!ours->sink.sample || exchange_gone(ours->ex) ||
	    exchange_waiting(ours->ex) > STREAM_HIGH)
		return;
	ours->sink.sample(ours->sink.arg, sample);
	grew(ours);
}

static void on_file(void *arg, const char *path, const char *data, size_t len)
{
	struct ours *ours = arg;

	if (!exchange_gone(ours->ex))
		ours->sink.file(ours->sink.arg, path, data, len);
}

static void end(struct ours *ours)
{
	struct exchange *ex = ours->ex;

	if (!ours->detached) {
		exchange_on_gone(ex, NULL, NULL);
		exchange_on_drained(ex, NULL, NULL);
	}
	free(ours);
	exchange_flush(ex);
	exchange_release(ex);
}

/* Server-Timing in milliseconds (W3C), for who asks where the time went. */
static void add_timing(struct ours *ours)
{
	struct execution_times t;
	uint64_t now = loop_now_us();
	char text[160];

	if (ours->ex->status || exchange_gone(ours->ex))
		return;
	execution_times(run_execution(ours->run), &t);
	if (t.started_us)
		(void)snprintf(text, sizeof(text),
			       "queue;dur=%.3f, setup;dur=%.3f, run;dur=%.3f, "
			       "total;dur=%.3f",
			       (double)(t.taken_us - t.submitted_us) / 1e3,
			       (double)(t.started_us - t.taken_us) / 1e3,
			       (double)(t.ended_us - t.started_us) / 1e3,
			       (double)(now - ours->ex->begun_us) / 1e3);
	else
		(void)snprintf(text, sizeof(text), "total;dur=%.3f",
			       (double)(now - ours->ex->begun_us) / 1e3);
	exchange_header(ours->ex, "Server-Timing", text);
}

static void on_done(void *arg, json_t *result)
{
	struct ours *ours = arg;

	add_timing(ours);
	ours->sink.done(ours->sink.arg, result);
	end(ours);
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct ours *ours = arg;

	ours->sink.refused(ours->sink.arg, err);
	end(ours);
}

int exchange_check_policy(const struct exchange *ex, const struct sbx_policy *policy,
			  struct sbx_err *err)
{
	return auth_policy(ex->auth, &ex->caller, policy, err);
}

int exchange_run(struct exchange *ex, struct execution_request *request,
		 const struct execution_sink *sink, bool detach, const char **ret_id,
		 struct sbx_err *err)
{
	struct execution_sink mine = { .output = on_output,
				       .event = on_event,
				       .display = on_display,
				       .sample = on_sample,
				       .file = sink->file ? on_file : NULL,
				       .refused = on_refused,
				       .done = on_done };
	const struct record_caller caller = {
		.name = ex->caller.name,
		.door = ex->table->door ? ex->table->door : "http",
	};
	struct ours *ours;
	int r;

	if (!ex->http || ex->http->stopping)
		return err_set(err, SBX_AT_BUSY, 0, "the server is stopping");
	r = exchange_check_policy(ex, request->policy, err);
	if (r < 0)
		return r;
	ours = calloc(1, sizeof(*ours));
	if (!ours)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	ours->ex = ex;
	ours->sink = *sink;
	ours->detached = detach;
	mine.arg = ours;
	request->peer_fd = ex->caller.peer_fd;
	request->remote = ex->caller.confined;
	request->caller = ex->caller.name;
	r = runs_submit(ex->http->runs, ex->http->engine, request, &caller, detach, &mine,
			&ours->run, err);
	if (r < 0) {
		free(ours);
		return r;
	}
	(void)exchange_hold(ex);
	if (!detach) {
		exchange_on_gone(ex, on_gone, ours);
		exchange_on_drained(ex, on_drained, ours);
	}
	if (ret_id)
		*ret_id = run_id(ours->run);
	return 0;
}

int exchange_result_status(const json_t *result)
{
	const char *status = json_string_value(json_object_get(result, "status"));
	const char *name = json_string_value(
		json_object_get(json_object_get(result, "error"), "name"));
	const struct err_kind *kind;
	int stage;

	if (status && strcmp(status, sbx_status_name(SBX_FAULT)) != 0)
		return MHD_HTTP_OK;
	for (stage = SBX_AT_USAGE; name && stage <= SBX_AT_JOURNAL; stage++) {
		kind = err_kind(stage);
		if (strcmp(kind->name, name) == 0)
			return kind->http_status;
	}
	return MHD_HTTP_INTERNAL_SERVER_ERROR;
}
