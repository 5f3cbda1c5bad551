/* SPDX-License-Identifier: MIT
 * Purpose: runs on their way into the journal (record.h).
 * Process: the engine, on its loop. Trusts: the engine's results to be its own.
 * Invariants:
 *   1. A program starts after the commit that records its beginning, while its jail is being set
 *	up; where the journal is required and fails, it does not start at all.
 *   2. A caller is told after the commit that records the verdict, or told that there is none; where
 *      the journal is required that is a fault, and no result.
 *   3. A refusal that comes late has a verdict, too: "refused". */
#include "daemon/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "engine/session.h"

struct recorder {
	struct engine *engine;
	struct journal *journal;
	bool required;
	char error[256]; /* "": none */
	struct record *records;
};

struct record {
	struct record *next, **at;
	struct recorder *recorder;
	struct execution *execution;
	struct execution_sink sink; /* the caller's */
	char id[40];
	json_t *result; /* the engine's, until it is concluded; NULL: a refusal */
	bool begin_asked, begun; /* the answer is to come; it came, and is good */
	bool over, concluding;   /* outcome() came; execution_conclude() is due */
	struct sbx_err err;      /* why it is not recorded */
};

int recorder_new(struct engine *engine, struct recorder **ret, struct sbx_err *err)
{
	struct recorder *recorder = calloc(1, sizeof(*recorder));

	if (!recorder)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "recorder");
	recorder->engine = engine;
	*ret = recorder;
	return 0;
}

static void record_free(struct record *record)
{
	*record->at = record->next;
	if (record->next)
		record->next->at = record->at;
	free(record);
}

void recorder_free(struct recorder **r)
{
	struct recorder *recorder = *r;

	*r = NULL;
	if (!recorder)
		return;
	journal_close(&recorder->journal);
	while (recorder->records)
		record_free(recorder->records);
	free(recorder);
}

void recorder_close(struct recorder *recorder)
{
	journal_close(&recorder->journal);
}

int recorder_open(struct recorder *recorder, const struct record_options *options,
		  struct sbx_err *err)
{
	struct sbx_err mine = { 0 };
	char by_fd[32];
	struct journal_options journal = {
		.durability = options->durability,
		.required = options->required,
		.key_fd = options->key_fd > 0 ? options->key_fd : 0,
		.keep_days = options->keep_days,
		.keep_bytes = options->keep_bytes,
		.redact = options->redact,
		.redact_count = options->redact_count,
		.starter_uid = options->starter_uid,
	};
	int r;

	if (!options->enabled)
		return 0;
	(void)snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", options->dir_fd);
	journal.dir = by_fd;
	r = options->dir_fd < 0
		    ? err_set(&mine, SBX_AT_JOURNAL, 0, "journal: %.200s",
			      options->why_none ? options->why_none : "no directory")
		    : journal_open(engine_loop(recorder->engine), &journal,
				   &recorder->journal, &mine);
	if (r < 0 && options->required) {
		if (err)
			*err = mine;
		return r;
	}
	recorder->required = options->required;
	if (r < 0)
		(void)snprintf(recorder->error, sizeof(recorder->error), "%.250s",
			       mine.msg);
	return 0;
}

struct journal *recorder_journal(struct recorder *recorder)
{
	return recorder->journal;
}

const char *recorder_error(const struct recorder *recorder)
{
	return recorder->error[0] ? recorder->error : NULL;
}

/* ---- the end ---- */

static void say(json_t *result, bool recorded, const char *why)
{
	(void)json_object_set_new(result, "recorded", json_boolean(recorded));
	if (why && *why)
		(void)json_object_set_new(result, "record_error", json_string(why));
}

/* It ran, and that it did is not to be known from the record: no success is handed out. */
static void withhold(json_t *result, const struct sbx_err *err)
{
	(void)json_object_set_new(result, "status",
				  json_string(sbx_status_name(SBX_FAULT)));
	(void)json_object_set_new(result, "result", json_null());
	(void)json_object_set_new(result, "error",
				  json_pack("{s:s, s:s, s:n, s:n}", "name",
					    err_kind(err->stage)->name, "value", err->msg,
					    "traceback", "line"));
}

static void conclude(struct record *record)
{
	if (record->result && record->recorder->required &&
	    record->err.stage == SBX_AT_JOURNAL)
		withhold(record->result, &record->err);
	if (record->result)
		say(record->result, record->begun && record->err.stage == SBX_AT_NONE,
		    record->err.stage != SBX_AT_NONE ? record->err.msg : NULL);
	/* done() or refused() of ours follow from inside, and free the record. */
	execution_conclude(record->execution);
}

static void on_end(void *arg, const struct sbx_err *err)
{
	struct record *record = arg;

	if (err)
		record->err = *err;
	conclude(record);
}

/* What a refusal leaves in the journal. */
static json_t *refusal(const struct record *record, const struct sbx_err *err)
{
	return json_pack("{s:s,s:s,s:{s:s,s:o}}", "id", record->id, "status", "refused",
			 "error", "name", err_kind(err->stage)->name, "value",
			 json_string(err->msg) ?: json_string(""));
}

static void end(struct record *record)
{
	json_t *text = record->result ? json_incref(record->result)
				      : refusal(record, &record->err);
	int r = text ? journal_end(record->recorder->journal, text, on_end, record)
		     : -ENOMEM;

	json_decref(text);
	/* The refusal itself is no failure to record it. */
	if (!record->result)
		memset(&record->err, 0, sizeof(record->err));
	if (r < 0) {
		(void)err_set(&record->err, SBX_AT_JOURNAL, -r, "journal: the verdict");
		conclude(record);
	}
}

static void on_outcome(void *arg, json_t *result, const struct sbx_err *err)
{
	struct record *record = arg;

	record->over = true;
	record->result = result;
	if (!result && err)
		record->err = *err;
	/* Its beginning may still be on the way: then on_begin() goes on. */
	if (record->begin_asked)
		return;
	if (record->begun)
		end(record);
	else
		conclude(record);
}

static void on_begin(void *arg, const struct sbx_err *err)
{
	struct record *record = arg;

	record->begin_asked = false;
	record->begun = err == NULL;
	if (err && record->err.stage == SBX_AT_NONE)
		record->err = *err;
	if (record->over) {
		if (record->begun)
			end(record);
		else
			conclude(record);
	} else if (err && record->recorder->required) {
		execution_fail(record->execution, err);
	} else {
		execution_start(record->execution);
	}
}

/* ---- while it runs ---- */

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct record *record = arg;

	if (record->sink.output)
		record->sink.output(record->sink.arg, stream, data, len);
}

static void on_event(void *arg, const json_t *event)
{
	struct record *record = arg;

	if (record->sink.event)
		record->sink.event(record->sink.arg, event);
}

static void on_display(void *arg, const json_t *bundle)
{
	struct record *record = arg;

	if (record->sink.display)
		record->sink.display(record->sink.arg, bundle);
}

static void on_taken(void *arg, size_t len)
{
	struct record *record = arg;

	if (record->sink.stdin_taken)
		record->sink.stdin_taken(record->sink.arg, len);
}

static uint64_t whole(const json_t *object, const char *name, double scale)
{
	double value = json_number_value(json_object_get(object, name)) * scale;

	return value > 0 && value < 1e18 ? (uint64_t)value : 0;
}

static void on_sample(void *arg, const json_t *sample)
{
	struct record *record = arg;

	if (record->recorder->journal && (record->begin_asked || record->begun))
		journal_sample(
			record->recorder->journal, record->id, whole(sample, "at_ms", 1),
			whole(sample, "memory_bytes", 1), whole(sample, "cpu_ms", 1000),
			(uint32_t)whole(sample, "processes", 1));
	if (record->sink.sample)
		record->sink.sample(record->sink.arg, sample);
}

static void on_file(void *arg, const char *path, const char *data, size_t len)
{
	struct record *record = arg;

	if (record->recorder->journal && (record->begin_asked || record->begun))
		journal_file(record->recorder->journal, record->id, path, data, len);
	if (record->sink.file)
		record->sink.file(record->sink.arg, path, data, len);
}

static void on_done(void *arg, json_t *result)
{
	struct record *record = arg;
	const struct execution_sink sink = record->sink;

	record_free(record);
	sink.done(sink.arg, result);
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct record *record = arg;
	const struct execution_sink sink = record->sink;

	record_free(record);
	sink.refused(sink.arg, err);
}

/* ---- the beginning ---- */

static int begin(struct record *record, const struct execution_request *request,
		 const struct record_caller *caller)
{
	json_t *policy = policy_to_json_redacted(request->policy);
	const struct journal_begin what = {
		.id = record->id,
		.caller = caller->name,
		.door = caller->door,
		.session = request->session ? session_id(request->session) : NULL,
		.filename = request->filename,
		.preset = caller->preset,
		.template = caller->template,
		.code = request->code,
		.code_len = request->code_len,
		.policy = policy,
	};
	int r = policy ? journal_begin(record->recorder->journal, &what, on_begin, record)
		       : -ENOMEM;

	json_decref(policy);
	return r;
}

/* What every run of a recorder without a journal says. */
static void on_unrecorded(void *arg, json_t *result, const struct sbx_err *err)
{
	struct record *record = arg;

	(void)err;
	if (result)
		say(result, false, recorder_error(record->recorder));
	execution_conclude(record->execution);
}

int record_submit(struct recorder *recorder, const struct execution_request *request,
		  const struct record_caller *caller, const struct execution_sink *sink,
		  struct execution **ret, struct sbx_err *err)
{
	struct record *record = calloc(1, sizeof(*record));
	struct execution_request held = *request;
	const struct execution_sink ours = {
		.output = sink->output ? on_output : NULL,
		.event = sink->event ? on_event : NULL,
		.display = sink->display ? on_display : NULL,
		.stdin_taken = sink->stdin_taken ? on_taken : NULL,
		.sample = recorder->journal || sink->sample ? on_sample : NULL,
		.file = recorder->journal || sink->file ? on_file : NULL,
		.refused = sink->refused ? on_refused : NULL,
		.outcome = recorder->journal ? on_outcome : on_unrecorded,
		.done = on_done,
		.arg = record,
	};
	int r;

	if (!record)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	record->recorder = recorder;
	record->sink = *sink;
	record->next = recorder->records;
	record->at = &recorder->records;
	if (record->next)
		record->next->at = &record->next;
	recorder->records = record;
	held.hold_start = recorder->journal != NULL;
	r = engine_submit(recorder->engine, &held, &ours, &record->execution, err);
	if (r < 0) {
		record_free(record);
		return r;
	}
	*ret = record->execution;
	if (!recorder->journal)
		return 0;
	(void)snprintf(record->id, sizeof(record->id), "%s",
		       execution_id(record->execution));
	record->begin_asked = true;
	if (begin(record, request, caller) < 0) {
		record->begin_asked = false;
		(void)err_set(&record->err, SBX_AT_JOURNAL, ENOMEM, "journal");
		if (recorder->required)
			execution_fail(record->execution, &record->err);
		else
			execution_start(record->execution);
	}
	return 0;
}
