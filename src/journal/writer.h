/* SPDX-License-Identifier: MIT
 * The journal's two threads: the writer, which alone writes to the database, and the keeper, which
 * syncs, checkpoints and prunes beside it. */
#ifndef SBX_JOURNAL_WRITER_H
#define SBX_JOURNAL_WRITER_H

#include "journal/jobs.h"

int writer_start(struct journal *journal, struct sbx_err *err);
/* Writes what waits, syncs, ends both. */
void writer_stop(struct journal *journal);
/* The loop: takes the job. */
void writer_post(struct journal *journal, struct job *job);
/* The loop: what has been written since; the caller's to free, in order. */
struct job *writer_take_done(struct journal *journal, bool *ret_committed);
/* Any other thread: runs fn in a transaction of the writer's and waits for it. -ECANCELED when the
 * journal closes. */
int writer_call(struct journal *journal, job_call fn, void *arg, struct sbx_err *err);

/* keeper.c */
void *keeper_main(void *arg);

#endif
