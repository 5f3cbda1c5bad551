/* SPDX-License-Identifier: MIT
 * Purpose: the writer's thread and its queue (writer.h).
 * Process: the engine; one thread of its own, with every signal blocked.
 * Trusts: the jobs to be whole.
 * Invariants:
 *   1. Jobs are written in the order in which they were handed in, and told of in it.
 *   2. A job is told of after the commit that holds it, never before.
 *   3. One bad record does not take those with it that share its transaction. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "journal/index.h"
#include "journal/writer.h"

#define BATCH_JOBS 256u
#define BATCH_BYTES (32u << 20)
#define IDLE_MS 100        /* then the search index catches up */
#define INDEX_BATCH 64u    /* runs in one transaction, so that a record waits no longer */
#define INDEX_BEHIND 20000 /* runs; from here on it goes before new records */
#define SIGN_US (600 * 1000000ll)

/* ---- the queue ---- */

static void push(struct journal *journal, struct job *job)
{
	job->next = NULL;
	if (journal->last)
		journal->last->next = job;
	else
		journal->first = job;
	journal->last = job;
	journal->waiting++;
	journal->waiting_bytes += job->bytes;
	(void)pthread_cond_signal(&journal->work);
}

void writer_post(struct journal *journal, struct job *job)
{
	(void)pthread_mutex_lock(&journal->lock);
	push(journal, job);
	(void)pthread_mutex_unlock(&journal->lock);
}

int writer_call(struct journal *journal, job_call fn, void *arg, struct sbx_err *err)
{
	struct job job = { .kind = JOB_CALL, .call = fn, .arg = arg };

	(void)pthread_mutex_lock(&journal->lock);
	if (journal->closing || !journal->threads) {
		(void)pthread_mutex_unlock(&journal->lock);
		(void)err_set(err, SBX_AT_JOURNAL, 0,
			      "the journal is being closed, or cannot be written");
		return -ECANCELED;
	}
	push(journal, &job);
	while (!job.finished)
		(void)pthread_cond_wait(&journal->room, &journal->lock);
	(void)pthread_mutex_unlock(&journal->lock);
	if (!job.failed)
		return 0;
	if (err)
		*err = job.err;
	return job.err.errnum ? -job.err.errnum : -EIO;
}

struct job *writer_take_done(struct journal *journal, bool *ret_committed)
{
	struct job *jobs;
	uint64_t count;

	(void)!read(journal->event_fd, &count, sizeof(count));
	(void)pthread_mutex_lock(&journal->lock);
	jobs = journal->done;
	journal->done = journal->done_last = NULL;
	*ret_committed = journal->committed;
	journal->committed = false;
	(void)pthread_mutex_unlock(&journal->lock);
	return jobs;
}

/* The first jobs, at most BATCH_BYTES of them; NULL at the end, or when none has come within
 * the idle time (*ret_idle). */
static struct job *take_batch(struct journal *journal, bool *ret_idle, size_t *ret_left)
{
	struct job *first, *last;
	struct timespec until;
	size_t count = 1, bytes;

	*ret_idle = false;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += IDLE_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_mutex_lock(&journal->lock);
	while (!journal->first && !journal->closing && !*ret_idle)
		*ret_idle = pthread_cond_timedwait(&journal->work, &journal->lock,
						   &until) == ETIMEDOUT;
	first = last = journal->first;
	if (first) {
		bytes = first->bytes;
		while (last->next && count < BATCH_JOBS &&
		       bytes + last->next->bytes < BATCH_BYTES) {
			last = last->next;
			bytes += last->bytes;
			count++;
		}
		journal->first = last->next;
		last->next = NULL;
		if (!journal->first)
			journal->last = NULL;
		*ret_idle = false;
	} else if (journal->closing) {
		*ret_idle = false;
	}
	*ret_left = journal->waiting;
	(void)pthread_mutex_unlock(&journal->lock);
	return first;
}

static void tell(struct rows *rows, struct job *jobs, bool committed)
{
	struct journal *journal = rows->journal;
	const uint64_t one = 1;
	struct job *job, *next;

	(void)pthread_mutex_lock(&journal->lock);
	for (job = jobs; job; job = next) {
		next = job->next;
		job->next = NULL;
		journal->waiting--;
		journal->waiting_bytes -= job->bytes;
		journal->written_bytes += job->bytes + 8192;
		if (job->kind == JOB_CALL) {
			job->finished = true;
			continue;
		}
		if (journal->done_last)
			journal->done_last->next = job;
		else
			journal->done = job;
		journal->done_last = job;
	}
	journal->committed |= committed;
	journal->dirty |= committed;
	if (committed) {
		journal->written_executions =
			rows->head.tables[TABLE_EXECUTIONS].last.seq;
		journal->written_verdicts = rows->head.tables[TABLE_VERDICTS].last.seq;
	}
	(void)pthread_cond_broadcast(&journal->room);
	(void)pthread_mutex_unlock(&journal->lock);
	(void)!write(journal->event_fd, &one, sizeof(one));
}

/* ---- batches ---- */

static void fail(struct job *job, const struct sbx_err *err)
{
	job->failed = true;
	job->err = *err;
	if (job->kind == JOB_BEGIN)
		job->live->seq = 0;
}

/* All of them, or none: *ret_bad is the one that failed, or NULL. */
static int try_together(struct rows *rows, struct job *jobs, struct sbx_err *err)
{
	int r = rows_begin(rows, err);

	if (r < 0)
		return r;
	for (struct job *job = jobs; r == 0 && job; job = job->next)
		if (!job->failed)
			r = job_apply(rows, job, err);
	if (r < 0) {
		rows_rollback(rows);
		return r;
	}
	return rows_commit(rows, err);
}

static bool try_alone(struct rows *rows, struct job *job)
{
	struct job *next = job->next;
	struct sbx_err err = { 0 };
	int r;

	job->next = NULL;
	r = try_together(rows, job, &err);
	job->next = next;
	if (r < 0)
		fail(job, &err);
	return r == 0;
}

static void write_batch(struct rows *rows, struct job *jobs)
{
	struct sbx_err err = { 0 };
	bool committed = false, any = false;
	struct job *job;

	for (job = jobs; job; job = job->next) {
		if (job_prepare(rows->journal, job, &err) < 0)
			fail(job, &err);
		else
			any = true;
	}
	if (any && try_together(rows, jobs, &err) == 0) {
		committed = true;
	} else if (any && !jobs->next) {
		fail(jobs, &err);
	} else if (any) {
		for (job = jobs; job; job = job->next)
			if (!job->failed)
				committed |= try_alone(rows, job);
	}
	for (job = jobs; job; job = job->next)
		if (!job->failed && job->kind == JOB_END &&
		    job->live->file_err.stage != SBX_AT_NONE)
			fail(job, &job->live->file_err);
	tell(rows, jobs, committed);
}

/* ---- what needs no job ---- */

static bool index_some(struct rows *rows)
{
	int r = rows_begin(rows, NULL);

	if (r < 0)
		return false;
	r = index_fill(rows, INDEX_BATCH, NULL);
	if (r <= 0 || rows_commit(rows, NULL) < 0) {
		rows_rollback(rows);
		return false;
	}
	tell(rows, NULL, true);
	return true;
}

static int64_t behind(const struct rows *rows)
{
	return rows->known
		       ? rows->head.tables[TABLE_VERDICTS].last.seq - rows->head.indexed
		       : 0;
}

/* Now and then, and only of something new. */
static void sign_if_due(struct rows *rows)
{
	if (!rows->known || (int64_t)rows->head.commit == rows->signed_commit ||
	    store_now_us() - rows->signed_us < SIGN_US)
		return;
	/* Another process may have. */
	rows->signed_us = store_now_us();
	if (rows_begin(rows, NULL) < 0)
		return;
	if (rows_sign(rows, NULL) < 0)
		rows_rollback(rows);
	else if (rows_commit(rows, NULL) == 0)
		rows->signed_commit = (int64_t)rows->head.commit;
}

static void *writer_main(void *arg)
{
	struct journal *journal = arg;
	struct rows *rows = journal->rows;

	for (;;) {
		size_t waiting;
		bool idle;
		struct job *jobs = take_batch(journal, &idle, &waiting);

		if (jobs)
			write_batch(rows, jobs);
		else if (!idle)
			break;
		if (idle || behind(rows) > INDEX_BEHIND) {
			while (behind(rows) > 0 && index_some(rows)) {
				bool stop;

				(void)pthread_mutex_lock(&journal->lock);
				stop = journal->closing || journal->first;
				(void)pthread_mutex_unlock(&journal->lock);
				if (stop)
					break;
			}
			sign_if_due(rows);
		}
	}
	/* A short life leaves its runs to be found. */
	if (behind(rows) > 0)
		(void)index_some(rows);
	return NULL;
}

/* ---- life ---- */

int writer_start(struct journal *journal, struct sbx_err *err)
{
	pthread_condattr_t monotonic;
	sigset_t all, before;
	int r;

	if (pthread_condattr_init(&monotonic) != 0 ||
	    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
	    pthread_cond_init(&journal->work, &monotonic) != 0 ||
	    pthread_cond_init(&journal->room, &monotonic) != 0 ||
	    pthread_cond_init(&journal->tick, &monotonic) != 0)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal: threads");
	(void)pthread_condattr_destroy(&monotonic);
	/* Signals are the loop's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	journal->threads = true;
	r = pthread_create(&journal->writer, NULL, writer_main, journal);
	if (r == 0) {
		r = pthread_create(&journal->keeper, NULL, keeper_main, journal);
		if (r != 0) {
			(void)pthread_mutex_lock(&journal->lock);
			journal->closing = true;
			(void)pthread_cond_broadcast(&journal->work);
			(void)pthread_mutex_unlock(&journal->lock);
			(void)pthread_join(journal->writer, NULL);
		}
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		journal->threads = false;
		return err_set(err, SBX_AT_JOURNAL, r, "journal: threads");
	}
	return 0;
}

void writer_stop(struct journal *journal)
{
	if (!journal->threads)
		return;
	__atomic_store_n(&journal->stop, 1, __ATOMIC_RELAXED);
	(void)pthread_mutex_lock(&journal->lock);
	journal->closing = true;
	(void)pthread_cond_broadcast(&journal->work);
	(void)pthread_cond_broadcast(&journal->room);
	(void)pthread_cond_broadcast(&journal->tick);
	(void)pthread_mutex_unlock(&journal->lock);
	(void)pthread_join(journal->writer, NULL);
	(void)pthread_join(journal->keeper, NULL);
	journal->threads = false;
}
