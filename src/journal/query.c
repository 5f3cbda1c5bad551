/* SPDX-License-Identifier: MIT
 * Purpose: questions to the journal: a thread for each, and the way of its rows to the loop.
 * Process: the engine. A question's thread has a connection of its own that only reads;
 *   callbacks come on the loop.
 * Trusts: nothing of a filter but that it is JSON, nothing of the database but its types.
 * Invariants: what waits on the way to the loop is bounded by ROWS_WAITING and
 *   BYTES_WAITING; an answer takes DEADLINE_S at most, unless its verb says otherwise; a
 *   question that was cancelled calls nobody, and its memory lasts as long as its thread;
 *   no read transaction stays open while a row waits for its reader (list.c pages). */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/question.h"

#define QUESTIONS_MAX 32
#define ROWS_WAITING 256
#define BYTES_WAITING (8u << 20)
#define ROW_MAX (62u << 20)
#define DEPTH_MAX 272 /* a result's, as the engine lets it pass, in its row */
#define DEADLINE_S 20
#define PROGRESS_STEPS 20000 /* of SQLite's machine, well below a millisecond */

struct row {
	struct row *next;
	json_t *json;
	size_t size;
};

struct journal_question {
	struct journal_reader *all;
	struct journal_question *next;
	struct question asked;
	struct sbx_err err;
	json_t *filter;
	int (*answer)(struct question *question);
	journal_row_fn on_row;
	journal_fn on_end;
	void *arg;
	pthread_t thread;
	bool cancelled, held; /* the loop's */
	/* Between the two threads. */
	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct row *first, **last;
	size_t rows, bytes;
	bool ended;
	int stop; /* atomic */
	/* The thread's. */
	bool no_deadline;
	time_t until;
};

struct journal_reader {
	int wake; /* eventfd: some question has rows or an end */
	struct loop_io *io;
	struct journal_question *first;
	unsigned count;
};

/* ---- in the thread ---- */

static struct journal_question *handle_of(struct question *question)
{
	return question->handle;
}

static bool stopped(const struct journal_question *q)
{
	return __atomic_load_n(&q->stop, __ATOMIC_ACQUIRE) != 0;
}

static void wake(struct journal_question *q)
{
	const uint64_t one = 1;

	/* It can only fail where it is awake already. */
	if (write(q->all->wake, &one, sizeof(one)) < 0)
		return;
}

static time_t now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static int on_progress(void *arg)
{
	const struct journal_question *q = arg;

	return stopped(q) || (!q->no_deadline && now_s() > q->until);
}

static int too_long(struct question *question)
{
	return err_set(question->err, SBX_AT_JOURNAL, ETIMEDOUT,
		       "the answer takes longer than %d s; ask for less", DEADLINE_S);
}

/* About what a row takes, as text as well as in memory; its depth is our own making but for
 * values that programs returned. */
static size_t size_of(const json_t *value, int depth)
{
	size_t size = 64, i;
	const char *key;
	json_t *part;

	if (depth > DEPTH_MAX)
		return ROW_MAX + 1;
	if (json_is_string(value))
		return size + json_string_length(value);
	json_array_foreach(value, i, part) size += size_of(part, depth + 1);
	json_object_foreach((json_t *)value, key, part)
		size += strlen(key) + size_of(part, depth + 1);
	return size;
}

/* A program chooses how many parts its result has: the rest of its record is shown all the
 * same. */
static bool leave_out_result(json_t *row)
{
	json_t *missing = json_object_get(row, "missing");

	return json_is_object(missing) &&
	       json_object_set_new(missing, "result",
				   json_string("it is too large for an answer")) == 0 &&
	       json_object_set_new(row, "result", json_null()) == 0;
}

int question_emit(struct question *question, json_t *json)
{
	struct journal_question *q = handle_of(question);
	struct row *row = json ? calloc(1, sizeof(*row)) : NULL;
	int r = 0;

	if (!row) {
		json_decref(json);
		return err_set(question->err, SBX_AT_JOURNAL, ENOMEM, "a row");
	}
	row->json = json;
	row->size = size_of(json, 0);
	if (row->size > ROW_MAX && leave_out_result(json))
		row->size = size_of(json, 0);
	if (row->size > ROW_MAX)
		r = err_set(question->err, SBX_AT_JOURNAL, EMSGSIZE, "a record");
	(void)pthread_mutex_lock(&q->lock);
	while (r == 0 && !stopped(q) && q->rows > 0 &&
	       (q->rows >= ROWS_WAITING || q->bytes + row->size > BYTES_WAITING))
		(void)pthread_cond_wait(&q->moved, &q->lock);
	if (r == 0 && stopped(q))
		r = -ECANCELED;
	if (r == 0) {
		*q->last = row;
		q->last = &row->next;
		q->rows++;
		q->bytes += row->size;
		q->until = now_s() + DEADLINE_S;
	}
	(void)pthread_mutex_unlock(&q->lock);
	if (r < 0) {
		json_decref(json);
		free(row);
		return r;
	}
	wake(q);
	return 0;
}

int question_pause(struct question *question, unsigned ms)
{
	struct journal_question *q = handle_of(question);
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += (time_t)(ms / 1000) + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_mutex_lock(&q->lock);
	while (!stopped(q) &&
	       pthread_cond_timedwait(&q->moved, &q->lock, &until) != ETIMEDOUT)
		;
	(void)pthread_mutex_unlock(&q->lock);
	return stopped(q) ? -ECANCELED : 0;
}

const int *question_stop(struct question *question)
{
	return &handle_of(question)->stop;
}

void question_without_deadline(struct question *question)
{
	handle_of(question)->no_deadline = true;
}

int question_prepare(struct question *question, const char *sql, sqlite3_stmt **ret)
{
	if (sqlite3_prepare_v2(question->db, sql, -1, ret, NULL) == SQLITE_OK)
		return 0;
	return err_set(question->err, SBX_AT_JOURNAL, EIO, "journal.db: %.300s",
		       sqlite3_errmsg(question->db));
}

int question_step(struct question *question, sqlite3_stmt *statement)
{
	int code = sqlite3_step(statement);

	if (code == SQLITE_ROW)
		return 1;
	if (code == SQLITE_DONE)
		return 0;
	if (code == SQLITE_INTERRUPT)
		return stopped(handle_of(question)) ? -ECANCELED : too_long(question);
	return err_set(question->err, SBX_AT_JOURNAL, code == SQLITE_BUSY ? EBUSY : EIO,
		       "journal.db: %.300s", sqlite3_errmsg(question->db));
}

static void *answer(void *arg)
{
	struct journal_question *q = arg;
	int r;

	q->until = now_s() + DEADLINE_S;
	r = store_open_reader(q->asked.journal, &q->asked.db, &q->err);
	if (r == 0) {
		sqlite3_progress_handler(q->asked.db, PROGRESS_STEPS, on_progress, q);
		r = q->answer(&q->asked);
	}
	if (r < 0 && q->err.stage == SBX_AT_NONE)
		(void)err_set(&q->err, SBX_AT_JOURNAL, -r, "the answer");
	(void)sqlite3_close_v2(q->asked.db);
	(void)pthread_mutex_lock(&q->lock);
	q->ended = true;
	(void)pthread_mutex_unlock(&q->lock);
	wake(q);
	return NULL;
}

/* ---- on the loop ---- */

static void drop_rows(struct journal_question *q)
{
	while (q->first) {
		struct row *row = q->first;

		q->first = row->next;
		json_decref(row->json);
		free(row);
	}
	q->last = &q->first;
	q->rows = q->bytes = 0;
}

/* After its thread has ended, or will at once. */
static void question_free(struct journal_question *q)
{
	struct journal_question **at = &q->all->first;

	(void)pthread_join(q->thread, NULL);
	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	q->all->count--;
	drop_rows(q);
	json_decref(q->filter);
	(void)pthread_mutex_destroy(&q->lock);
	(void)pthread_cond_destroy(&q->moved);
	free(q);
}

static json_t *take_row(struct journal_question *q)
{
	json_t *json = NULL;
	struct row *row;

	(void)pthread_mutex_lock(&q->lock);
	row = q->first;
	if (row) {
		q->first = row->next;
		if (!q->first)
			q->last = &q->first;
		q->rows--;
		q->bytes -= row->size;
		json = row->json;
		free(row);
		(void)pthread_cond_signal(&q->moved);
	}
	(void)pthread_mutex_unlock(&q->lock);
	return json;
}

static bool has_ended(struct journal_question *q)
{
	bool ended;

	(void)pthread_mutex_lock(&q->lock);
	ended = q->ended && (q->cancelled || !q->first);
	(void)pthread_mutex_unlock(&q->lock);
	return ended;
}

/* Hands out what waits. True: the question is gone. */
static bool deliver(struct journal_question *q)
{
	json_t *row;

	while (!q->cancelled && !q->held && (row = take_row(q))) {
		q->on_row(q->arg, row);
		json_decref(row);
	}
	if ((q->held && !q->cancelled) || !has_ended(q))
		return false;
	if (!q->cancelled) {
		/* Its handle ends here, also for who cancels from inside. */
		q->cancelled = true;
		q->on_end(q->arg, q->err.stage == SBX_AT_NONE ? NULL : &q->err);
	}
	question_free(q);
	return true;
}

static void on_wake(void *arg, uint32_t events)
{
	struct journal_reader *all = arg;
	uint64_t count;
	bool gone;

	(void)events;
	if (read(all->wake, &count, sizeof(count)) < 0)
		return;
	/* A callback may ask, cancel and hold: from the beginning after each end. */
	do {
		struct journal_question *q = all->first;

		gone = false;
		while (q && !(gone = deliver(q)))
			q = q->next;
	} while (gone);
}

static void stop(struct journal_question *q)
{
	q->cancelled = true;
	(void)pthread_mutex_lock(&q->lock);
	__atomic_store_n(&q->stop, 1, __ATOMIC_RELEASE);
	(void)pthread_cond_signal(&q->moved);
	(void)pthread_mutex_unlock(&q->lock);
	wake(q);
}

void journal_query_cancel(struct journal_question **question)
{
	struct journal_question *q = *question;

	*question = NULL;
	if (q && !q->cancelled)
		stop(q);
}

void journal_query_hold(struct journal_question *question, bool hold)
{
	question->held = hold;
	if (!hold)
		wake(question);
}

static int reader_new(struct loop *loop, struct journal_reader **ret)
{
	struct journal_reader *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	all->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = all->wake < 0 ? -errno
			  : loop_add(loop, all->wake, EPOLLIN, on_wake, all, &all->io);
	if (r < 0) {
		fd_close(&all->wake);
		free(all);
		return r;
	}
	*ret = all;
	return 0;
}

void reader_free(struct journal_reader **reader)
{
	struct journal_reader *all = *reader;

	*reader = NULL;
	if (!all)
		return;
	for (struct journal_question *q = all->first; q; q = q->next)
		stop(q);
	while (all->first)
		question_free(all->first);
	loop_remove(&all->io);
	(void)close(all->wake);
	free(all);
}

/* ---- verbs ---- */

static int answer_head(struct question *question)
{
	json_t *row = NULL;
	int r = head_describe(question->journal, &row, question->err);

	return r < 0 ? r : question_emit(question, row);
}

static int answer_verify(struct question *question)
{
	static const char *const keys[] = { "noted", "public_key", NULL };
	struct journal_verify what = { 0 };
	json_t *row = NULL;
	int r = filter_known(question, keys);

	question_without_deadline(question);
	if (r == 0)
		r = filter_text(question, "noted", 65536, &what.noted);
	if (r == 0)
		r = filter_text(question, "public_key", 64, &what.public_key);
	if (r == 0)
		r = verify_run(question->journal, &what, question_stop(question), &row,
			       question->err);
	return r < 0 ? r : question_emit(question, row);
}

static int answer_prune(struct question *question)
{
	static const char *const keys[] = { "keep_days", "keep_bytes", "dry_run", NULL };
	struct journal *journal = question->journal;
	int64_t days = UINT32_MAX, bytes = -1; /* -1: any */
	bool by_days = false, by_bytes = false, dry = false;
	json_t *row = NULL;
	int r = filter_known(question, keys);

	question_without_deadline(question);
	if (r == 0)
		r = filter_number(question, "keep_days", 1, UINT32_MAX, &days, &by_days);
	if (r == 0)
		r = filter_number(question, "keep_bytes", 1, INT64_MAX, &bytes,
				  &by_bytes);
	if (r == 0)
		r = filter_flag(question, "dry_run", &dry);
	/* Without a word about either, both as they are configured. */
	if (!by_days && !by_bytes) {
		days = journal->keep_days;
		bytes = (int64_t)journal->keep_bytes;
	}
	if (r == 0)
		r = dry ? prune_look(journal, (uint32_t)days, (uint64_t)bytes, &row,
				     question->err)
			: prune_run(journal, (uint32_t)days, (uint64_t)bytes,
				    question_stop(question), &row, question->err);
	return r < 0 ? r : question_emit(question, row);
}

static const struct {
	const char *name;
	int (*answer)(struct question *question);
} verbs[] = {
	{ "list", answer_list },     { "show", answer_show },
	{ "events", answer_events }, { "samples", answer_samples },
	{ "files", answer_files },   { "file", answer_file },
	{ "stats", answer_stats },   { "follow", answer_follow },
	{ "head", answer_head },     { "verify", answer_verify },
	{ "prune", answer_prune },
};

/* No signal of the process is for a thread that reads. */
static int start(struct journal_question *q)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&q->thread, NULL, answer, q);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int journal_query(struct journal *journal, const char *verb, const json_t *filter,
		  journal_row_fn on_row, journal_fn on_end, void *arg,
		  struct journal_question **ret, struct sbx_err *err)
{
	struct journal_question *q;
	size_t i;
	int r = 0;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verb, verbs[i].name) == 0)
			break;
	if (i == sizeof(verbs) / sizeof(verbs[0]))
		return err_set(err, SBX_AT_USAGE, 0,
			       "the journal does not know \"%.40s\"", verb);
	if (filter && !json_is_object(filter))
		return err_set(err, SBX_AT_USAGE, 0, "the filter is no object");
	if (!journal->reader)
		r = reader_new(journal->loop, &journal->reader);
	if (r < 0)
		return err_set(err, SBX_AT_JOURNAL, -r, "the journal's reader");
	if (journal->reader->count >= QUESTIONS_MAX)
		return err_set(err, SBX_AT_BUSY, 0,
			       "more than %d questions to the journal at once",
			       QUESTIONS_MAX);
	q = calloc(1, sizeof(*q));
	if (!q)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "a question");
	*q = (struct journal_question){ .all = journal->reader,
					.answer = verbs[i].answer,
					.on_row = on_row,
					.on_end = on_end,
					.arg = arg };
	/* A copy, and nobody else's: counting references is not for two threads. */
	q->filter = filter ? json_deep_copy(filter) : json_object();
	q->asked = (struct question){
		.journal = journal, .filter = q->filter, .err = &q->err, .handle = q
	};
	q->last = &q->first;
	(void)pthread_mutex_init(&q->lock, NULL);
	(void)pthread_cond_init(&q->moved, NULL);
	r = q->filter ? start(q) : -ENOMEM;
	if (r < 0) {
		json_decref(q->filter);
		free(q);
		return err_set(err, SBX_AT_JOURNAL, -r, "a question");
	}
	q->next = q->all->first;
	q->all->first = q;
	q->all->count++;
	*ret = q;
	return 0;
}
