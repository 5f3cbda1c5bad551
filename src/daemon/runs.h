/* SPDX-License-Identifier: MIT
 * The runs that HTTP callers began: those that go on, by id, and the last results, which
 * stand in for a journal where there is none. Engine; one thread. */
#ifndef SBX_DAEMON_RUNS_H
#define SBX_DAEMON_RUNS_H

#include <jansson.h>
#include <stdbool.h>

#include "daemon/record.h"
#include "engine/engine.h"

#define RUNS_KEPT 64u
#define RUNS_KEPT_BYTES (64u << 20)
#define RUNS_SAMPLES 600u
#define RUNS_EVENTS 1000u

struct runs;
struct run;
struct metrics;

/* metrics outlive it. 0, -ENOMEM. */
int runs_new(struct metrics *metrics, struct runs **ret);
/* What goes on is cancelled; its sinks are still called. */
void runs_free(struct runs **runs);
size_t runs_live(const struct runs *runs);

/* In place of engine_submit(), from now on. */
typedef int (*runs_submit_fn)(void *arg, const struct execution_request *request,
			      const struct record_caller *caller,
			      const struct execution_sink *sink, struct execution **ret,
			      struct sbx_err *err);
void runs_submit_by(struct runs *runs, runs_submit_fn submit, void *arg);
/* Submits and keeps account. caller: copied. sink as engine_submit()'s. */
int runs_submit(struct runs *runs, struct engine *engine,
		const struct execution_request *request,
		const struct record_caller *caller, bool detached,
		const struct execution_sink *sink, struct run **ret, struct sbx_err *err);
/* The run is gone after its sink's done() or refused() was called. */
const char *run_id(const struct run *run);
struct execution *run_execution(const struct run *run);
void run_cancel(struct run *run);

/* caller: NULL sees everybody's. */
struct run *runs_find(struct runs *runs, const char *id, const char *caller);
/* Live ones and kept results, newest first, as rows of GET /v1/executions: new reference,
 * NULL: no memory. before: an id that they come after, or NULL. */
json_t *runs_list(struct runs *runs, const char *caller, const char *status,
		  const char *before, size_t limit);
/* {"id", "status", "started_at", ...}, of a kept one its result; new reference or NULL. */
json_t *runs_describe(struct runs *runs, const char *id, const char *caller);
/* "samples", "events" or "files" of one: an array; new reference or NULL. */
json_t *runs_part(struct runs *runs, const char *id, const char *caller,
		  const char *part);

#endif
