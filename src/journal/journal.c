/* SPDX-License-Identifier: MIT
 * Purpose: the journal as the loop sees it (journal.h): opens it, hands records to the writer,
 *   brings its answers back.
 * Process: the engine, on its loop. Trusts: its callers to be the loop's.
 * Invariants: no callback comes from inside a call that named it, nor after journal_close(). */
#include "journal/journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/index.h"
#include "journal/recover.h"
#include "journal/redact.h"
#include "journal/writer.h"

#define WAITING_BYTES (128u << 20) /* from here on a file is written by who brings it */
#define SAMPLES_BYTES (32u << 20)  /* from here on samples are dropped, and counted */

struct journal_watch {
	struct journal_watch *next;
	struct journal *journal;
	journal_commit_fn fn;
	void *arg;
};

/* ---- executions under way ---- */

static struct live **slot_of(struct journal *journal, const char *id)
{
	unsigned hash = 5381;

	for (const char *at = id; *at; at++)
		hash = hash * 33 + (unsigned char)*at;
	return &journal->live[hash % 256];
}

static struct live *find_live(struct journal *journal, const char *id)
{
	struct live *live = *slot_of(journal, id);

	while (live && strcmp(live->id, id) != 0)
		live = live->next;
	return live;
}

static void unlist(struct journal *journal, struct live *live)
{
	struct live **at = slot_of(journal, live->id);

	if (!live->listed)
		return;
	while (*at != live)
		at = &(*at)->next;
	*at = live->next;
	live->listed = false;
	live_unref(live);
}

/* ---- what comes back ---- */

static void finish(struct journal *journal, struct job *job)
{
	if (job->failed) {
		journal->failed++;
		(void)snprintf(journal->last_error, sizeof(journal->last_error), "%.250s",
			       job->err.msg);
		if (job->kind == JOB_BEGIN)
			unlist(journal, job->live);
	} else if (job->kind == JOB_END) {
		journal->recorded++;
	}
	if (job->fn)
		job->fn(job->arg, job->failed ? &job->err : NULL);
	job_free(job);
}

static void on_done(void *arg, uint32_t events)
{
	struct journal *journal = arg;
	bool committed = false;
	struct job *job = writer_take_done(journal, &committed), *next;
	struct journal_watch *watch, *after;

	(void)events;
	for (; job; job = next) {
		next = job->next;
		finish(journal, job);
	}
	for (watch = committed ? journal->watches : NULL; watch; watch = after) {
		after = watch->next;
		watch->fn(watch->arg);
	}
}

int journal_watch(struct journal *journal, journal_commit_fn fn, void *arg,
		  struct journal_watch **ret)
{
	struct journal_watch *watch = malloc(sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	*watch = (struct journal_watch){ journal->watches, journal, fn, arg };
	journal->watches = watch;
	*ret = watch;
	return 0;
}

void journal_unwatch(struct journal_watch **watch)
{
	struct journal_watch **at, *old = *watch;

	*watch = NULL;
	if (!old)
		return;
	for (at = &old->journal->watches; *at != old; at = &(*at)->next)
		;
	*at = old->next;
	free(old);
}

/* ---- records ---- */

static struct job *new_job(enum job_kind kind, struct live *live)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->kind = kind;
	job->at_us = store_now_us();
	job->bytes = sizeof(*job);
	job->live = live;
	if (live)
		live->refs++;
	return job;
}

static bool copy(char **ret, const char *text)
{
	*ret = text ? strdup(text) : NULL;
	return !text || *ret;
}

int journal_begin(struct journal *journal, const struct journal_begin *begin,
		  journal_fn fn, void *arg)
{
	struct live *live = calloc(1, sizeof(*live)), **slot;
	struct job *job = live ? new_job(JOB_BEGIN, live) : NULL;

	if (!job || strlen(begin->id) >= sizeof(live->id) || !copy(&job->id, begin->id) ||
	    !copy(&job->caller, begin->caller) || !copy(&job->door, begin->door) ||
	    !copy(&job->session, begin->session) ||
	    !copy(&job->filename, begin->filename) ||
	    !copy(&job->preset, begin->preset) ||
	    !copy(&job->template, begin->template) ||
	    !(job->data = malloc(begin->code_len + 1))) {
		if (job)
			job_free(job);
		else
			free(live);
		return -ENOMEM;
	}
	memcpy(job->data, begin->code, begin->code_len);
	job->len = begin->code_len;
	job->bytes += begin->code_len;
	job->json = json_incref((json_t *)(uintptr_t)begin->policy);
	job->fn = fn;
	job->arg = arg;
	(void)snprintf(live->id, sizeof(live->id), "%s", begin->id);
	slot = slot_of(journal, live->id);
	live->next = *slot;
	live->listed = true;
	live->refs++;
	*slot = live;
	writer_post(journal, job);
	return 0;
}

int journal_end(struct journal *journal, const json_t *result, journal_fn fn, void *arg)
{
	const char *id = json_string_value(json_object_get(result, "id"));
	struct live *live = id ? find_live(journal, id) : NULL;
	struct job *job;

	if (!live)
		return -ENOENT;
	job = new_job(JOB_END, live);
	if (!job)
		return -ENOMEM;
	job->json = json_incref((json_t *)(uintptr_t)result);
	job->samples = live->samples;
	job->sample_count = live->sample_count;
	job->samples_dropped = live->samples_dropped;
	live->samples = NULL;
	live->sample_count = live->sample_max = 0;
	job->fn = fn;
	job->arg = arg;
	unlist(journal, live);
	writer_post(journal, job);
	return 0;
}

static size_t waiting_bytes(struct journal *journal)
{
	size_t bytes;

	(void)pthread_mutex_lock(&journal->lock);
	bytes = journal->waiting_bytes;
	(void)pthread_mutex_unlock(&journal->lock);
	return bytes;
}

/* A full block is on its way, and the next begins. */
static void send_samples(struct journal *journal, struct live *live)
{
	struct job *job = waiting_bytes(journal) < SAMPLES_BYTES
				  ? new_job(JOB_SAMPLES, live)
				  : NULL;

	if (!job) {
		live->samples_dropped += (uint32_t)live->sample_count;
		live->sample_count = 0;
		return;
	}
	job->samples = live->samples;
	job->sample_count = live->sample_count;
	job->bytes += live->sample_count * sizeof(*live->samples);
	live->samples = NULL;
	live->sample_count = live->sample_max = 0;
	writer_post(journal, job);
}

void journal_sample(struct journal *journal, const char *id, uint64_t at_ms,
		    uint64_t memory_bytes, uint64_t cpu_us, uint32_t processes)
{
	struct live *live = find_live(journal, id);

	if (!live)
		return;
	if (live->sample_count == SAMPLES_BLOCK)
		send_samples(journal, live);
	if (live->sample_count == live->sample_max) {
		size_t room = live->sample_max ? live->sample_max * 4 : 32;
		void *grown;

		room = room > SAMPLES_BLOCK ? SAMPLES_BLOCK : room;
		grown = realloc(live->samples, room * sizeof(*live->samples));
		if (!grown) {
			live->samples_dropped++;
			return;
		}
		live->samples = grown;
		live->sample_max = room;
	}
	live->samples[live->sample_count++] = (struct journal_sample){
		.at_ms = at_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)at_ms,
		.processes = processes,
		.memory_bytes = memory_bytes,
		.cpu_us = cpu_us,
	};
}

void journal_file(struct journal *journal, const char *id, const char *path,
		  const char *data, size_t len)
{
	struct live *live = find_live(journal, id);
	struct job *job = live ? new_job(JOB_FILE, live) : NULL;

	/* Without memory for a job the file is one of those that the result lists. */
	if (!job || !copy(&job->id, path)) {
		job_free(job);
		return;
	}
	job->len = len;
	if (live->file_bytes + len <= JOURNAL_FILES_BYTES) {
		live->file_bytes += len;
		job->data = malloc(len + 1);
		if (job->data) {
			memcpy(job->data, data, len);
			job->bytes += len;
		}
	}
	/* Too much waits: whoever brings more is held up by writing it. */
	if (job->data && waiting_bytes(journal) > WAITING_BYTES) {
		unsigned char name[JOURNAL_OBJECT_BYTES];

		(void)object_write(journal, job->data, len, name, NULL);
	}
	writer_post(journal, job);
}

void journal_session(struct journal *journal, const json_t *session, const char *what)
{
	const char *id = json_string_value(json_object_get(session, "id"));
	struct job *job = id ? new_job(JOB_SESSION, NULL) : NULL;

	if (!job || !copy(&job->id, id) || !copy(&job->what, what) ||
	    !(job->json = json_deep_copy(session))) {
		job_free(job);
		return;
	}
	writer_post(journal, job);
}

bool journal_is_required(const struct journal *journal)
{
	return journal->required;
}

json_t *journal_health(struct journal *journal)
{
	size_t waiting;

	(void)pthread_mutex_lock(&journal->lock);
	waiting = journal->waiting;
	(void)pthread_mutex_unlock(&journal->lock);
	return json_pack("{s:I,s:I,s:I,s:s?}", "recorded", (json_int_t)journal->recorded,
			 "waiting", (json_int_t)waiting, "failed",
			 (json_int_t)journal->failed, "error",
			 journal->last_error[0] ? journal->last_error : NULL);
}

/* ---- opening ---- */

static int put_meta(sqlite3 *db, const char *key, const char *value, struct sbx_err *err)
{
	sqlite3_stmt *put = NULL;
	int r = 0;

	if (sqlite3_prepare_v2(db, "INSERT INTO meta (key, value) VALUES (?, ?)", -1,
			       &put, NULL) != SQLITE_OK ||
	    sqlite3_bind_text(put, 1, key, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_text(put, 2, value, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_step(put) != SQLITE_DONE)
		r = store_error(db, "a new journal", err);
	(void)sqlite3_finalize(put);
	return r;
}

static int begin_new(struct journal *journal, struct sbx_err *err)
{
	unsigned char id[16];
	struct head head;
	char text[33];
	int r;

	randombytes_buf(id, sizeof(id));
	(void)sodium_bin2hex(text, sizeof(text), id, sizeof(id));
	head_begin(&journal->keys, text, &head);
	r = put_meta(journal->db, "id", text, err);
	(void)snprintf(text, sizeof(text), "%lld", (long long)store_now_us());
	if (r == 0)
		r = put_meta(journal->db, "created_us", text, err);
	if (r == 0 && head_meta(journal->db, head.meta) < 0)
		r = store_error(journal->db, "a new journal", err);
	if (r == 0)
		r = index_sum(journal->db, &journal->keys, head.index, err);
	head.at_us = store_now_us();
	return r == 0 ? head_store(journal->db, &journal->keys, &head, err) : r;
}

static int64_t scalar(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *get = NULL;
	int64_t value = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &get, NULL) == SQLITE_OK &&
	    sqlite3_step(get) == SQLITE_ROW)
		value = sqlite3_column_int64(get, 0);
	(void)sqlite3_finalize(get);
	return value;
}

/* The format: a new file gets all of it, with the first head; an old one what it lacks. */
static int bring_up(struct journal *journal, struct sbx_err *err)
{
	bool empty;
	int r = 0;

	if (sqlite3_exec(journal->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return store_error(journal->db, "opening it", err);
	empty = scalar(journal->db, "SELECT count(*) FROM sqlite_schema") == 0;
	if (!empty &&
	    scalar(journal->db, "PRAGMA application_id") != SCHEMA_APPLICATION_ID) {
		(void)err_set(
			err, SBX_AT_JOURNAL, 0,
			"journal: journal.db is a database of something else, or was altered");
		r = -EBADMSG;
	}
	if (r == 0)
		r = schema_apply(journal->db, schema_versions, schema_version_count,
				 journal, err);
	if (r == 0 && empty &&
	    sqlite3_exec(journal->db, "PRAGMA application_id = 1396853297", NULL, NULL,
			 NULL) != SQLITE_OK)
		r = store_error(journal->db, "a new journal", err);
	if (r == 0 && empty)
		r = begin_new(journal, err);
	if (r == 0 && sqlite3_exec(journal->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		r = store_error(journal->db, "opening it", err);
	if (r < 0)
		(void)sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
	return r == 0 ? schema_compare(journal->db, err) : r;
}

/* The end of each table is what the head says: nothing is added behind a cut. */
static int check_ends(struct rows *rows, struct sbx_err *err)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		const struct head_table *table = &rows->head.tables[i];
		sqlite3_stmt *get = NULL;
		bool good = false;
		char sql[128];

		(void)snprintf(sql, sizeof(sql),
			       "SELECT seq, mac FROM %s ORDER BY seq DESC LIMIT 1",
			       schema_tables[i].name);
		if (sqlite3_prepare_v2(rows->db, sql, -1, &get, NULL) != SQLITE_OK)
			return store_error(rows->db, schema_tables[i].name, err);
		if (sqlite3_step(get) == SQLITE_ROW)
			good = sqlite3_column_int64(get, 0) == table->last.seq &&
			       sqlite3_column_bytes(get, 1) == CHAIN_BYTES &&
			       memcmp(sqlite3_column_blob(get, 1), table->last.mac,
				      CHAIN_BYTES) == 0;
		else
			good = table->first == table->last.seq + 1;
		(void)sqlite3_finalize(get);
		if (good)
			continue;
		(void)err_set(
			err, SBX_AT_JOURNAL, 0,
			"journal: the end of %s is not what the head says; `sandbox "
			"log verify` says more",
			schema_tables[i].name);
		return -EBADMSG;
	}
	return 0;
}

/* Our start, and what engines before us have left behind. */
static int put_start(struct rows *rows, uint32_t uid, struct sbx_err *err)
{
	struct journal *journal = rows->journal;
	const struct chain_value values[] = {
		chain_number(store_now_us()),
		chain_string(SBX_VERSION),
		chain_string(journal->durability == JOURNAL_FULL ? "full" : "normal"),
		chain_number(uid),
	};
	int64_t seq;
	int r;

	seq = rows_insert(rows, TABLE_STARTS, values, err);
	if (seq < 0)
		return (int)seq;
	journal->start = seq;
	r = store_hold_start(journal, seq);
	if (r < 0)
		return err_set(err, SBX_AT_JOURNAL, -r, "journal: journal.lock");
	return jobs_settle(rows, NULL, err);
}

/* Signs what there is, if something has come since the last signature. */
static int sign(struct rows *rows, struct sbx_err *err)
{
	int r = rows_begin(rows, err);

	if (r < 0)
		return r;
	if ((int64_t)rows->head.commit == rows->signed_commit) {
		rows_rollback(rows);
		return 0;
	}
	r = rows_sign(rows, err);
	if (r < 0) {
		rows_rollback(rows);
		return r;
	}
	r = rows_commit(rows, err);
	if (r == 0)
		rows->signed_commit = (int64_t)rows->head.commit;
	return r;
}

static int begin_writing(struct journal *journal, uint32_t uid, struct sbx_err *err)
{
	struct rows *rows;
	int r = bring_up(journal, err);

	if (r == 0)
		r = rows_new(journal, &journal->rows, err);
	if (r < 0)
		return r;
	rows = journal->rows;
	r = rows_begin(rows, err);
	if (r < 0)
		return r;
	memcpy(journal->id, rows->head.id, sizeof(journal->id));
	r = check_ends(rows, err);
	if (r == 0)
		r = recover_objects(rows, err);
	if (r == 0)
		r = put_start(rows, uid, err);
	if (r < 0) {
		rows_rollback(rows);
		return r;
	}
	r = rows_commit(rows, err);
	if (r == 0) {
		rows->signed_us = scalar(rows->db, "SELECT max(at_us) FROM signatures");
		journal->dirty = true;
		journal->written_executions =
			rows->head.tables[TABLE_EXECUTIONS].last.seq;
		journal->written_verdicts = rows->head.tables[TABLE_VERDICTS].last.seq;
	}
	/* A new journal is signed at once: no public key is without something to check. */
	if (r == 0 && rows->head.tables[TABLE_SIGNATURES].last.seq == 0)
		r = sign(rows, err);
	return r == 0 ? writer_start(journal, err) : r;
}

static int set_options(struct journal *journal, const struct journal_options *options,
		       struct sbx_err *err)
{
	journal->durability = options->durability;
	journal->required = options->required;
	journal->read_only = options->read_only;
	journal->keep_days = options->keep_days ? options->keep_days : JOURNAL_KEEP_DAYS;
	journal->keep_bytes = options->keep_bytes ? options->keep_bytes
						  : JOURNAL_KEEP_BYTES;
	return redact_new(options->redact, options->redact_count, &journal->redact, err);
}

int journal_open(struct loop *loop, const struct journal_options *options,
		 struct journal **ret, struct sbx_err *err)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	int r;

	if (!journal)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	journal->loop = loop;
	journal->dir_fd = journal->objects_fd = journal->lock_fd = -1;
	journal->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (journal->event_fd < 0 || pthread_mutex_init(&journal->lock, NULL) != 0) {
		r = err_set(err, SBX_AT_JOURNAL, errno, "journal: eventfd");
		fd_close(&journal->event_fd);
		free(journal);
		return r;
	}
	r = set_options(journal, options, err);
	if (r == 0)
		r = store_open(journal, options, err);
	if (r == 0 && !journal->read_only)
		r = begin_writing(journal, options->starter_uid, err);
	if (r == 0) {
		r = loop_add(loop, journal->event_fd, EPOLLIN, on_done, journal,
			     &journal->io);
		if (r < 0)
			r = err_set(err, SBX_AT_JOURNAL, -r, "journal: its event");
	}
	if (r < 0)
		journal_close(&journal);
	else
		*ret = journal;
	return r;
}

static void free_jobs(struct job *job)
{
	struct job *next;

	for (; job; job = next) {
		next = job->next;
		job_free(job);
	}
}

/* With the writer gone. The next to open it need not look for what is on disk. */
static void sync_last(struct journal *journal)
{
	if (!journal->rows)
		return;
	if (journal->durability != JOURNAL_FULL && journal->dirty &&
	    store_sync(journal) == 0) {
		journal->synced_executions = journal->written_executions;
		journal->synced_verdicts = journal->written_verdicts;
	}
	(void)sign(journal->rows, NULL);
}

void journal_close(struct journal **j)
{
	struct journal *journal = *j;
	struct journal_watch *watch;
	struct unsynced *unsynced;

	*j = NULL;
	if (!journal)
		return;
	/* Its questions may wait for the writer. */
	reader_free(&journal->reader);
	loop_remove(&journal->io);
	writer_stop(journal);
	sync_last(journal);
	free_jobs(journal->done);
	free_jobs(journal->first);
	for (size_t i = 0; i < 256; i++)
		while (journal->live[i])
			unlist(journal, journal->live[i]);
	while ((watch = journal->watches)) {
		journal->watches = watch->next;
		free(watch);
	}
	while ((unsynced = journal->unsynced)) {
		journal->unsynced = unsynced->next;
		free(unsynced);
	}
	rows_free(&journal->rows);
	store_close(journal);
	redact_free(&journal->redact);
	fd_close(&journal->event_fd);
	(void)pthread_mutex_destroy(&journal->lock);
	free(journal);
}
