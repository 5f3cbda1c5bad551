/* SPDX-License-Identifier: MIT
 * Purpose: the runs of HTTP callers, live and just ended (runs.h).
 * Process: the engine. Trusts: results that the engine made; their sizes are the program's.
 * Invariants: a run that is submitted is in the list until its last callback returned, also
 *   where its caller or the list itself is gone; what is kept is bounded in number and
 *   bytes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "daemon/metrics.h"
#include "daemon/problem.h"
#include "daemon/runs.h"

#define CALLER_MAX 80u

struct sample {
	uint32_t at_ms, processes;
	uint64_t memory_bytes;
	double cpu_ms;
};

struct run {
	struct run *next;
	struct runs *runs; /* NULL once the list is gone */
	uint64_t serial;
	int64_t at_ms; /* wall clock */
	char id[40], caller[CALLER_MAX], filename[256];
	bool detached;
	struct execution *execution; /* NULL: ended, and kept */
	struct execution_sink sink;
	json_t *events;
	struct sample *samples; /* at most RUNS_SAMPLES, evenly over its time */
	uint32_t sample_count, stride, skipped;
	json_t *result; /* once it ended */
	size_t bytes;
};

struct runs {
	struct run *live, *kept; /* newest first */
	size_t live_count, kept_count, kept_bytes;
	uint64_t serial;
	struct metrics *metrics;
	runs_submit_fn submit; /* NULL: engine_submit() */
	void *submit_arg;
};

int runs_new(struct metrics *metrics, struct runs **ret)
{
	struct runs *runs = calloc(1, sizeof(*runs));

	if (!runs)
		return -ENOMEM;
	runs->metrics = metrics;
	*ret = runs;
	return 0;
}

static void run_free(struct run *run)
{
	json_decref(run->events);
	json_decref(run->result);
	free(run->samples);
	free(run);
}

void runs_free(struct runs **runs_)
{
	struct runs *runs = *runs_;
	struct run *run, *next;

	*runs_ = NULL;
	if (!runs)
		return;
	for (run = runs->live; run; run = next) {
		next = run->next;
		run->runs = NULL;
		execution_cancel(run->execution);
	}
	for (run = runs->kept; run; run = next) {
		next = run->next;
		run_free(run);
	}
	free(runs);
}

size_t runs_live(const struct runs *runs)
{
	return runs->live_count;
}

/* ---- what is kept ---- */

/* About what a tree costs in memory. */
static size_t weigh(const json_t *value)
{
	size_t sum = 64, i;
	const char *name;
	json_t *member;

	switch (json_typeof(value)) {
	case JSON_STRING:
		return sum + json_string_length(value);
	case JSON_ARRAY:
		json_array_foreach(value, i, member) sum += weigh(member);
		return sum;
	case JSON_OBJECT:
		json_object_foreach((json_t *)(uintptr_t)value, name, member)
			sum += strlen(name) + weigh(member);
		return sum;
	case JSON_INTEGER:
	case JSON_REAL:
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL:
		return sum;
	}
	return sum;
}

static void forget_oldest(struct runs *runs)
{
	struct run **at = &runs->kept, *run;

	while ((*at)->next)
		at = &(*at)->next;
	run = *at;
	*at = NULL;
	runs->kept_count--;
	runs->kept_bytes -= run->bytes;
	run_free(run);
}

static void unlink_live(struct run *run)
{
	struct run **at = &run->runs->live;

	while (*at != run)
		at = &(*at)->next;
	*at = run->next;
	run->runs->live_count--;
}

static void keep(struct run *run, json_t *result)
{
	struct runs *runs = run->runs;

	run->bytes = sizeof(*run) + weigh(result) +
		     run->sample_count * sizeof(struct sample);
	if (run->bytes > RUNS_KEPT_BYTES) {
		run_free(run);
		return;
	}
	run->execution = NULL;
	run->result = json_incref(result);
	run->next = runs->kept;
	runs->kept = run;
	runs->kept_count++;
	runs->kept_bytes += run->bytes;
	while (runs->kept_count > RUNS_KEPT || runs->kept_bytes > RUNS_KEPT_BYTES)
		forget_oldest(runs);
}

/* ---- while it runs ---- */

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct run *run = arg;

	if (run->sink.output)
		run->sink.output(run->sink.arg, stream, data, len);
}

static void on_event(void *arg, const json_t *event)
{
	struct run *run = arg;

	if (json_array_size(run->events) < RUNS_EVENTS)
		(void)json_array_append(run->events, (json_t *)(uintptr_t)event);
	if (run->sink.event)
		run->sink.event(run->sink.arg, event);
}

static void on_display(void *arg, const json_t *bundle)
{
	struct run *run = arg;

	if (run->sink.display)
		run->sink.display(run->sink.arg, bundle);
}

static void add_sample(struct run *run, const json_t *sample)
{
	if (run->skipped++ % run->stride != 0)
		return;
	if (run->sample_count == RUNS_SAMPLES) {
		/* Every second one goes, and of the next ones, too. */
		for (uint32_t i = 0; i < RUNS_SAMPLES / 2; i++)
			run->samples[i] = run->samples[2 * i];
		run->sample_count = RUNS_SAMPLES / 2;
		run->stride *= 2;
		run->skipped = 1;
	}
	if (run->sample_count % 32 == 0) {
		struct sample *grown = reallocarray(run->samples, run->sample_count + 32,
						    sizeof(*grown));

		if (!grown)
			return;
		run->samples = grown;
	}
	run->samples[run->sample_count++] = (struct sample){
		.at_ms = (uint32_t)json_integer_value(json_object_get(sample, "at_ms")),
		.processes = (uint32_t)json_integer_value(
			json_object_get(sample, "processes")),
		.memory_bytes = (uint64_t)json_integer_value(
			json_object_get(sample, "memory_bytes")),
		.cpu_ms = json_number_value(json_object_get(sample, "cpu_ms")),
	};
}

static void on_sample(void *arg, const json_t *sample)
{
	struct run *run = arg;

	add_sample(run, sample);
	if (run->sink.sample)
		run->sink.sample(run->sink.arg, sample);
}

static void on_file(void *arg, const char *path, const char *data, size_t len)
{
	struct run *run = arg;

	run->sink.file(run->sink.arg, path, data, len);
}

static void on_done(void *arg, json_t *result)
{
	struct run *run = arg;
	struct execution_times times;

	if (run->runs) {
		execution_times(run->execution, &times);
		metrics_run(run->runs->metrics, result, &times, loop_now_us());
	}
	run->sink.done(run->sink.arg, result);
	if (!run->runs) {
		run_free(run);
		return;
	}
	unlink_live(run);
	keep(run, result);
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct run *run = arg;

	json_t *result = NULL;

	if (run->runs) {
		metrics_run(run->runs->metrics, NULL, NULL, 0);
		unlink_live(run);
	}
	run->sink.refused(run->sink.arg, err);
	/* Nobody else will tell the caller of a detached one. */
	if (run->runs && run->detached)
		result = json_pack("{s:s,s:s,s:o}", "id", run->id, "status", "refused",
				   "error", problem_of(err));
	if (result)
		keep(run, result);
	else
		run_free(run);
	json_decref(result);
}

void runs_submit_by(struct runs *runs, runs_submit_fn submit, void *arg)
{
	runs->submit = submit;
	runs->submit_arg = arg;
}

int runs_submit(struct runs *runs, struct engine *engine,
		const struct execution_request *request,
		const struct record_caller *caller, bool detached,
		const struct execution_sink *sink, struct run **ret, struct sbx_err *err)
{
	struct execution_sink mine = { .output = on_output,
				       .event = on_event,
				       .display = on_display,
				       .sample = on_sample,
				       .file = sink->file ? on_file : NULL,
				       .refused = on_refused,
				       .done = on_done };
	struct run *run = calloc(1, sizeof(*run));
	struct timespec now;
	int r;

	if (!run || !(run->events = json_array())) {
		free(run);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	}
	mine.arg = run;
	run->runs = runs;
	run->sink = *sink;
	run->detached = detached;
	run->stride = 1;
	run->serial = ++runs->serial;
	(void)snprintf(run->caller, sizeof(run->caller), "%s", caller->name);
	(void)snprintf(run->filename, sizeof(run->filename), "%s",
		       request->filename ? request->filename : "<program>");
	if (clock_gettime(CLOCK_REALTIME, &now) == 0)
		run->at_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
	r = runs->submit ? runs->submit(runs->submit_arg, request, caller, &mine,
					&run->execution, err)
			 : engine_submit(engine, request, &mine, &run->execution, err);
	if (r < 0) {
		run_free(run);
		return r;
	}
	(void)snprintf(run->id, sizeof(run->id), "%s", execution_id(run->execution));
	run->next = runs->live;
	runs->live = run;
	runs->live_count++;
	*ret = run;
	return 0;
}

const char *run_id(const struct run *run)
{
	return run->id;
}

struct execution *run_execution(const struct run *run)
{
	return run->execution;
}

void run_cancel(struct run *run)
{
	if (run->execution)
		execution_cancel(run->execution);
}

/* ---- questions ---- */

static bool may_see(const struct run *run, const char *caller)
{
	return !caller || strcmp(run->caller, caller) == 0;
}

static struct run *find(struct run *list, const char *id, const char *caller)
{
	for (; list; list = list->next)
		if (strcmp(list->id, id) == 0)
			return may_see(list, caller) ? list : NULL;
	return NULL;
}

struct run *runs_find(struct runs *runs, const char *id, const char *caller)
{
	return find(runs->live, id, caller);
}

static const char *status_of(const struct run *run)
{
	return run->result ? json_string_value(json_object_get(run->result, "status"))
			   : "running";
}

static json_t *row(const struct run *run)
{
	time_t seconds = (time_t)(run->at_ms / 1000);
	char at[40] = "", text[sizeof(at) + 8];
	static const char *const usage[] = { "wall_ms", "cpu_ms", "memory_peak_bytes",
					     "processes_peak", NULL };
	struct tm parts;
	json_t *made;

	if (gmtime_r(&seconds, &parts))
		(void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &parts);
	(void)snprintf(text, sizeof(text), "%s.%03dZ", at, (int)(run->at_ms % 1000));
	made = json_pack("{s:s,s:s,s:s,s:s,s:s?,s:b}", "id", run->id, "at", text,
			 "status", status_of(run), "caller", run->caller, "filename",
			 run->filename, "detached", run->detached);
	for (size_t i = 0; made && run->result && usage[i]; i++)
		(void)json_object_set(
			made, usage[i],
			json_object_get(json_object_get(run->result, "usage"), usage[i]));
	return made;
}

static int newest_first(const void *a, const void *b)
{
	const struct run *x = *(struct run *const *)a, *y = *(struct run *const *)b;

	return x->serial < y->serial ? 1 : x->serial > y->serial ? -1 : 0;
}

json_t *runs_list(struct runs *runs, const char *caller, const char *status,
		  const char *before, size_t limit)
{
	struct run *const lists[] = { runs->live, runs->kept };
	struct run **all = calloc(runs->live_count + runs->kept_count + 1, sizeof(*all));
	json_t *rows = json_array();
	size_t count = 0;
	bool begun = !before;

	for (size_t i = 0; all && i < 2; i++)
		for (struct run *run = lists[i]; run; run = run->next)
			if (may_see(run, caller))
				all[count++] = run;
	if (!all || !rows) {
		free((void *)all);
		json_decref(rows);
		return NULL;
	}
	qsort((void *)all, count, sizeof(*all), newest_first);
	for (size_t i = 0; i < count && json_array_size(rows) < limit; i++) {
		if (begun && (!status || strcmp(status, status_of(all[i])) == 0))
			(void)json_array_append_new(rows, row(all[i]));
		if (before && strcmp(all[i]->id, before) == 0)
			begun = true;
	}
	free((void *)all);
	return rows;
}

static struct run *find_any(struct runs *runs, const char *id, const char *caller)
{
	struct run *run = find(runs->live, id, caller);

	return run ? run : find(runs->kept, id, caller);
}

json_t *runs_describe(struct runs *runs, const char *id, const char *caller)
{
	struct run *run = find_any(runs, id, caller);
	json_t *made = run ? row(run) : NULL;

	if (made && run->result)
		(void)json_object_set(made, "result", run->result);
	return made;
}

static json_t *samples_of(const struct run *run)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list && i < run->sample_count; i++) {
		const struct sample *s = &run->samples[i];

		(void)json_array_append_new(
			list,
			json_pack("{s:I,s:I,s:f,s:I}", "at_ms", (json_int_t)s->at_ms,
				  "memory_bytes", (json_int_t)s->memory_bytes, "cpu_ms",
				  s->cpu_ms, "processes", (json_int_t)s->processes));
	}
	return list;
}

json_t *runs_part(struct runs *runs, const char *id, const char *caller, const char *part)
{
	struct run *run = find_any(runs, id, caller);

	if (!run)
		return NULL;
	if (strcmp(part, "samples") == 0)
		return samples_of(run);
	if (run->result)
		return json_incref(json_object_get(run->result, part));
	return strcmp(part, "events") == 0 ? json_copy(run->events) : json_array();
}
