/* SPDX-License-Identifier: MIT
 * Purpose: the keeper's thread (writer.h): what would hold up the writer. Syncs what was committed
 *   within a second, checkpoints the WAL, settles what dead engines left, prunes.
 * Process: the engine; one thread of its own, a connection of its own for checkpoints.
 * Invariants: a row is called synced only after a sync that began behind its commit. */
#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/prune.h"
#include "journal/writer.h"

#define SYNC_MS 500
#define CHECKPOINT_BYTES (8u << 20)
#define SETTLE_TICKS 60 /* of SYNC_MS */
#define PRUNE_TICKS 240

/* True: the journal closes. */
static bool pause_a_tick(struct journal *journal)
{
	struct timespec until;
	bool closing;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += SYNC_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_mutex_lock(&journal->lock);
	while (!journal->closing && pthread_cond_timedwait(&journal->tick, &journal->lock,
							   &until) != ETIMEDOUT)
		;
	closing = journal->closing;
	(void)pthread_mutex_unlock(&journal->lock);
	return closing;
}

static void sync_if_dirty(struct journal *journal)
{
	int64_t executions, verdicts;
	bool dirty;

	(void)pthread_mutex_lock(&journal->lock);
	dirty = journal->dirty;
	journal->dirty = false;
	executions = journal->written_executions;
	verdicts = journal->written_verdicts;
	(void)pthread_mutex_unlock(&journal->lock);
	if (!dirty || journal->durability == JOURNAL_FULL)
		return;
	if (store_sync(journal) == 0) {
		(void)pthread_mutex_lock(&journal->lock);
		journal->synced_executions = executions;
		journal->synced_verdicts = verdicts;
	} else {
		/* A disk that is full or gone shows in the next commit. */
		(void)pthread_mutex_lock(&journal->lock);
		journal->dirty = true;
		journal->unsynced_lost = true;
	}
	(void)pthread_mutex_unlock(&journal->lock);
}

static void checkpoint(struct journal *journal, sqlite3 *db)
{
	struct stat st;

	if (!db || fstatat(journal->dir_fd, "journal.db-wal", &st, 0) < 0 ||
	    st.st_size < (off_t)CHECKPOINT_BYTES)
		return;
	(void)pthread_mutex_lock(&journal->lock);
	if (journal->written_bytes < CHECKPOINT_BYTES / 2) {
		(void)pthread_mutex_unlock(&journal->lock);
		return;
	}
	journal->written_bytes = 0;
	(void)pthread_mutex_unlock(&journal->lock);
	/* Passive: nobody waits for it. */
	(void)sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

void *keeper_main(void *arg)
{
	struct journal *journal = arg;
	sqlite3 *db = NULL;
	unsigned tick = 0;

	if (store_open_keeper(journal, &db, NULL) < 0)
		db = NULL;
	while (!pause_a_tick(journal)) {
		tick++;
		sync_if_dirty(journal);
		checkpoint(journal, db);
		if (tick % SETTLE_TICKS == 0)
			(void)writer_call(journal, jobs_settle, NULL, NULL);
		if (tick % PRUNE_TICKS == 1)
			prune_if_due(journal);
	}
	/* The writer has been told to end as well; what it still commits is synced by
	 * journal_close(). */
	(void)sqlite3_close(db);
	return NULL;
}
