/* SPDX-License-Identifier: MIT
 * Purpose: records on their way into the database (jobs.h).
 * Process: the engine, the writer's thread.
 * Trusts: nothing in a result: every member is looked at for its type, every text is the
 *   program's.
 * Invariants: an object is written before the row that names it is inserted, and looked for once
 *   more under the write lock, since a prune may have swept it meanwhile. */
#include "journal/jobs.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/jsontext.h"
#include "journal/redact.h"

/* ---- life ---- */

static void left_free(struct left_file *left)
{
	struct left_file *next;

	for (; left; left = next) {
		next = left->next;
		free(left->path);
		free(left);
	}
}

void live_unref(struct live *live)
{
	if (!live || --live->refs > 0)
		return;
	left_free(live->left);
	free(live->samples);
	free(live);
}

static void stored_clear(struct stored *stored)
{
	buf_free(&stored->text);
}

void job_free(struct job *job)
{
	if (!job)
		return;
	free(job->id);
	free(job->caller);
	free(job->door);
	free(job->session);
	free(job->filename);
	free(job->preset);
	free(job->template);
	free(job->what);
	free(job->data);
	free(job->python);
	free(job->samples);
	json_decref(job->json);
	json_decref(job->events);
	stored_clear(&job->code);
	stored_clear(&job->policy);
	stored_clear(&job->result);
	stored_clear(&job->out);
	stored_clear(&job->err_out);
	left_free(job->left);
	live_unref(job->live);
	free(job);
}

/* ---- before the transaction ---- */

/* Takes what is in ret->text: short and not `always`, it stays, else it becomes an object. */
static int store(struct journal *journal, struct stored *ret, bool always,
		 struct sbx_err *err)
{
	ret->present = true;
	ret->bytes = ret->text.len;
	ret->is_object = always || ret->bytes > JOURNAL_INLINE_MAX;
	return ret->is_object
		       ? object_write(journal, ret->text.data ? ret->text.data : "",
				      ret->bytes, ret->object, err)
		       : 0;
}

static int store_text(struct journal *journal, const char *text, size_t len,
		      struct stored *ret, struct sbx_err *err)
{
	if (redact_text(journal->redact, text, len, &ret->text) < 0)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	return store(journal, ret, false, err);
}

static int store_json(struct journal *journal, json_t *value, struct stored *ret,
		      bool always, struct sbx_err *err)
{
	json_t *masked = redact_json(journal->redact, value);
	int r = masked ? jsontext_add(&ret->text, masked) : -ENOMEM;

	json_decref(masked);
	return r < 0 ? err_set(err, SBX_AT_JOURNAL, -r, "journal")
		     : store(journal, ret, always, err);
}

static int mask(struct journal *journal, char **text, struct sbx_err *err)
{
	struct buf out = { 0 };

	if (!*text || !journal->redact)
		return 0;
	if (redact_text(journal->redact, *text, strlen(*text), &out) < 0 ||
	    buf_add(&out, "", 0) < 0 || !out.data) {
		buf_free(&out);
		return **text ? err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal") : 0;
	}
	free(*text);
	*text = out.data;
	return 0;
}

static int prepare_begin(struct journal *journal, struct job *job, struct sbx_err *err)
{
	const char *python = json_string_value(json_object_get(job->json, "python"));
	int r = mask(journal, &job->filename, err);

	if (python && !(job->python = strdup(python)))
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	if (r == 0)
		r = store_text(journal, job->data, job->len, &job->code, err);
	return r == 0 ? store_json(journal, job->json, &job->policy, true, err) : r;
}

static int prepare_output(struct journal *journal, const json_t *result, const char *name,
			  struct stored *ret, struct sbx_err *err)
{
	const json_t *text = json_object_get(result, name);

	return json_is_string(text) ? store_text(journal, json_string_value(text),
						 json_string_length(text), ret, err)
				    : 0;
}

static int prepare_end(struct journal *journal, struct job *job, struct sbx_err *err)
{
	/* Shallow: the result itself is the engine's. */
	json_t *rest = json_copy(job->json);
	int r;

	if (!rest)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	(void)json_object_del(rest, "policy");
	(void)json_object_del(rest, "events");
	(void)json_object_del(rest, "stdout");
	(void)json_object_del(rest, "stderr");
	r = store_json(journal, rest, &job->result, false, err);
	json_decref(rest);
	if (r == 0)
		r = prepare_output(journal, job->json, "stdout", &job->out, err);
	if (r == 0)
		r = prepare_output(journal, job->json, "stderr", &job->err_out, err);
	if (r == 0 && json_is_array(json_object_get(job->json, "events"))) {
		job->events = redact_json(journal->redact,
					  json_object_get(job->json, "events"));
		if (!job->events)
			r = err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	}
	return r;
}

static int prepare_file(struct journal *journal, struct job *job, struct sbx_err *err)
{
	struct left_file *left = calloc(1, sizeof(*left));
	int r = 0;

	if (!left || !(left->path = strdup(job->id))) {
		free(left);
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	}
	left->size = job->len;
	if (job->data)
		r = object_write(journal, job->data, job->len, left->object, err);
	left->kept = job->data && r == 0;
	job->left = left;
	/* The verdict is written without it, and its caller told so. */
	if (r < 0)
		job->live->file_err = *err;
	return 0;
}

int job_prepare(struct journal *journal, struct job *job, struct sbx_err *err)
{
	switch (job->kind) {
	case JOB_BEGIN:
		return prepare_begin(journal, job, err);
	case JOB_END:
		return prepare_end(journal, job, err);
	case JOB_FILE:
		return prepare_file(journal, job, err);
	case JOB_SESSION:
		return jsontext_add(&job->result.text, job->json) < 0
			       ? err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal")
			       : 0;
	case JOB_SAMPLES:
	case JOB_CALL:
		break;
	}
	return 0;
}

/* ---- in the transaction ---- */

static int still_there(struct rows *rows, struct stored *stored, struct sbx_err *err)
{
	if (!stored->is_object || object_exists(rows->journal, stored->object))
		return 0;
	return object_write(rows->journal, stored->text.data ? stored->text.data : "",
			    stored->bytes, stored->object, err);
}

static struct chain_value text_of(const struct stored *stored)
{
	return stored->present && !stored->is_object
		       ? chain_text(stored->text.data ? stored->text.data : "",
				    stored->text.len)
		       : chain_text(NULL, 0);
}

static struct chain_value object_of(const struct stored *stored)
{
	return chain_blob(stored->is_object ? stored->object : NULL,
			  JOURNAL_OBJECT_BYTES);
}

static int apply_begin(struct rows *rows, struct job *job, struct sbx_err *err)
{
	const struct chain_value values[] = {
		chain_string(job->id),
		chain_number(job->at_us),
		chain_number(rows->journal->start),
		chain_string(job->caller),
		chain_string(job->door),
		chain_string(job->session),
		chain_string(job->filename),
		chain_string(job->preset),
		chain_string(job->template),
		chain_string(job->python),
		chain_number((int64_t)job->len),
		text_of(&job->code),
		object_of(&job->code),
		object_of(&job->policy),
	};
	int r = still_there(rows, &job->code, err);
	int64_t seq;

	if (r == 0)
		r = still_there(rows, &job->policy, err);
	if (r < 0)
		return r;
	seq = rows_insert(rows, TABLE_EXECUTIONS, values, err);
	if (seq < 0)
		return (int)seq;
	job->live->seq = seq;
	return rows_set_running(rows, seq, true, err);
}

static int put_samples(struct rows *rows, int64_t execution,
		       const struct journal_sample *samples, size_t count,
		       struct sbx_err *err)
{
	const struct chain_value values[] = {
		chain_number(execution),
		chain_number(samples[0].at_ms),
		chain_number((int64_t)count),
		chain_blob(samples, count * sizeof(*samples)),
	};
	int64_t seq = rows_insert(rows, TABLE_SAMPLES, values, err);

	return seq < 0 ? (int)seq : 0;
}

/* A number as JSON has it, NULL where it is none. */
static struct chain_value number_of(const json_t *object, const char *name, double scale)
{
	const json_t *value = json_object_get(object, name);
	double number = json_number_value(value) * scale;

	if (!json_is_number(value) || !isfinite(number) || fabs(number) > 9e18)
		return (struct chain_value){ .type = SQLITE_NULL };
	return chain_number(scale == 1 && json_is_integer(value)
				    ? json_integer_value(value)
				    : llround(number));
}

static struct chain_value string_of(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return chain_text(json_string_value(value), json_string_length(value));
}

static struct chain_value or_else(struct chain_value value, struct chain_value other)
{
	return value.type == SQLITE_NULL ? other : value;
}

/* What an event has besides its columns, as text; NULL: nothing. */
static char *rest_of(const json_t *event)
{
	static const char *const columns[] = { "at_ms", "source", "kind",   "subject",
					       "rule",  "line",   "remedy", "count" };
	json_t *rest = json_copy((json_t *)(uintptr_t)event);
	char *text = NULL;

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		(void)json_object_del(rest, columns[i]);
	if (json_object_size(rest) > 0)
		text = jsontext(rest, NULL);
	json_decref(rest);
	return text;
}

static int put_event(struct rows *rows, int64_t execution, const json_t *event,
		     struct sbx_err *err)
{
	char *rest = rest_of(event);
	const struct chain_value values[] = {
		chain_number(execution),
		or_else(number_of(event, "at_ms", 1), chain_number(0)),
		or_else(string_of(event, "source"), chain_string("")),
		or_else(string_of(event, "kind"), chain_string("")),
		string_of(event, "subject"),
		string_of(event, "rule"),
		number_of(event, "line", 1),
		string_of(event, "remedy"),
		or_else(number_of(event, "count", 1), chain_number(1)),
		chain_string(rest),
	};
	int64_t seq = rows_insert(rows, TABLE_EVENTS, values, err);

	free(rest);
	return seq < 0 ? (int)seq : 0;
}

static int put_left(struct rows *rows, int64_t execution, const struct left_file *left,
		    struct sbx_err *err)
{
	const struct chain_value values[] = {
		chain_number(execution),
		chain_blob(left->path, strlen(left->path)),
		chain_number((int64_t)left->size),
		chain_blob(left->kept ? left->object : NULL, JOURNAL_OBJECT_BYTES),
	};
	int64_t seq;

	if (left->kept && !object_exists(rows->journal, left->object)) {
		(void)err_set(err, SBX_AT_JOURNAL, ENOENT, "journal: a file's contents");
		return -ENOENT;
	}
	seq = rows_insert(rows, TABLE_FILES, values, err);
	return seq < 0 ? (int)seq : 0;
}

/* Those that were too much to be handed over: name and size. */
static int put_listed(struct rows *rows, struct job *job, int64_t execution,
		      struct sbx_err *err)
{
	const json_t *file;
	size_t i;
	int r = 0;

	json_array_foreach(json_object_get(job->json, "files"), i, file)
	{
		struct chain_value path = string_of(file, "path"),
				   size = number_of(file, "size", 1);
		const struct chain_value values[] = {
			chain_number(execution),
			chain_blob(path.data, path.len),
			or_else(size, chain_number(0)),
			{ .type = SQLITE_NULL },
		};
		const struct left_file *left = job->live->left;

		/* One whose name is not UTF-8 is told of by its contents only. */
		if (!path.data || json_object_get(file, "path_bytes"))
			continue;
		while (left && strcmp(left->path, path.data) != 0)
			left = left->next;
		if (!left && rows_insert(rows, TABLE_FILES, values, err) < 0)
			r = -EIO;
		if (r < 0)
			break;
	}
	return r;
}

static int put_verdict(struct rows *rows, struct job *job, int64_t execution,
		       struct sbx_err *err)
{
	const json_t *usage = json_object_get(job->json, "usage");
	const struct chain_value values[] = {
		chain_number(execution),
		chain_number(job->at_us),
		or_else(string_of(job->json, "status"), chain_string("")),
		string_of(json_object_get(job->json, "error"), "name"),
		number_of(usage, "wall_ms", 1000),
		number_of(usage, "cpu_ms", 1000),
		number_of(usage, "memory_peak_bytes", 1),
		number_of(usage, "processes_peak", 1),
		number_of(usage, "written_bytes", 1),
		chain_number((int64_t)json_array_size(job->events)),
		chain_number(job->samples_dropped),
		text_of(&job->result),
		object_of(&job->result),
		chain_number((int64_t)job->out.bytes),
		text_of(&job->out),
		object_of(&job->out),
		chain_number((int64_t)job->err_out.bytes),
		text_of(&job->err_out),
		object_of(&job->err_out),
	};
	int64_t seq = rows_insert(rows, TABLE_VERDICTS, values, err);

	return seq < 0 ? (int)seq : rows_set_running(rows, execution, false, err);
}

static int apply_end(struct rows *rows, struct job *job, struct sbx_err *err)
{
	const int64_t execution = job->live->seq;
	struct left_file *left;
	const json_t *event;
	size_t i;
	int r = 0;

	if (execution <= 0) {
		(void)err_set(err, SBX_AT_JOURNAL, 0,
			      "journal: its beginning is not recorded");
		return -ENOENT;
	}
	r = still_there(rows, &job->result, err);
	if (r == 0)
		r = still_there(rows, &job->out, err);
	if (r == 0)
		r = still_there(rows, &job->err_out, err);
	if (r == 0 && job->sample_count > 0)
		r = put_samples(rows, execution, job->samples, job->sample_count, err);
	json_array_foreach(job->events, i, event) if (r == 0)
		r = put_event(rows, execution, event, err);
	for (left = job->live->left; r == 0 && left; left = left->next)
		r = put_left(rows, execution, left, err);
	if (r == 0)
		r = put_listed(rows, job, execution, err);
	return r == 0 ? put_verdict(rows, job, execution, err) : r;
}

static int apply_session(struct rows *rows, struct job *job, struct sbx_err *err)
{
	const struct chain_value values[] = {
		chain_string(job->id),
		chain_number(job->at_us),
		chain_number(rows->journal->start),
		chain_string(job->what),
		chain_text(job->result.text.data ? job->result.text.data : "",
			   job->result.text.len),
	};
	int64_t seq = rows_insert(rows, TABLE_SESSIONS, values, err);

	return seq < 0 ? (int)seq : 0;
}

int job_apply(struct rows *rows, struct job *job, struct sbx_err *err)
{
	switch (job->kind) {
	case JOB_BEGIN:
		return apply_begin(rows, job, err);
	case JOB_END:
		return apply_end(rows, job, err);
	case JOB_SAMPLES:
		return job->live->seq > 0
			       ? put_samples(rows, job->live->seq, job->samples,
					     job->sample_count, err)
			       : 0;
	case JOB_FILE:
		/* Its row comes with the verdict. */
		if (job->left) {
			job->left->next = job->live->left;
			job->live->left = job->left;
			job->left = NULL;
		}
		return 0;
	case JOB_SESSION:
		return apply_session(rows, job, err);
	case JOB_CALL:
		return job->call(rows, job->arg, err);
	}
	return -EINVAL;
}

/* ---- engines that are gone ---- */

#define SETTLE_MAX 256u

static int put_lost(struct rows *rows, int64_t execution, struct sbx_err *err)
{
	const struct chain_value null = { .type = SQLITE_NULL };
	const struct chain_value values[] = {
		chain_number(execution),
		chain_number(store_now_us()),
		chain_string("lost"),
		null,
		null,
		null,
		null,
		null,
		null,
		chain_number(0),
		chain_number(0),
		null,
		null,
		chain_number(0),
		null,
		null,
		chain_number(0),
		null,
		null,
	};
	int64_t seq = rows_insert(rows, TABLE_VERDICTS, values, err);

	return seq < 0 ? (int)seq : rows_set_running(rows, execution, false, err);
}

int jobs_settle(struct rows *rows, void *arg, struct sbx_err *err)
{
	int64_t lost[SETTLE_MAX], last_start = 0;
	sqlite3_stmt *get = NULL;
	bool last_alive = true;
	size_t count = 0;
	int r = 0, step = SQLITE_DONE;

	(void)arg;
	if (sqlite3_prepare_v2(rows->db,
			       "SELECT execution, start FROM running WHERE start <> ?",
			       -1, &get, NULL) != SQLITE_OK)
		return store_error(rows->db, "running", err);
	(void)sqlite3_bind_int64(get, 1, rows->journal->start);
	while (count < SETTLE_MAX && (step = sqlite3_step(get)) == SQLITE_ROW) {
		int64_t start = sqlite3_column_int64(get, 1);

		if (start != last_start)
			last_alive = store_is_alive(rows->journal, start);
		last_start = start;
		if (!last_alive)
			lost[count++] = sqlite3_column_int64(get, 0);
	}
	if (step != SQLITE_DONE && step != SQLITE_ROW)
		r = store_error(rows->db, "running", err);
	(void)sqlite3_finalize(get);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = put_lost(rows, lost[i], err);
	return r;
}
