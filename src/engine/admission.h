/* SPDX-License-Identifier: MIT
 * Who may run when: so many programs at once, a bounded queue with turns between callers,
 * and memory that is never promised twice. Engine, on its loop. */
#ifndef SBX_ENGINE_ADMISSION_H
#define SBX_ENGINE_ADMISSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "sbx.h"

struct admission;
struct admission_ticket;

#define ADMISSION_OVERHEAD_BYTES \
	(8u << 20) /* of each jail: its init, page tables, our buffers */
#define ADMISSION_EXECUTIONS_MAX 1024u       /* an engine holds no more at a time */
#define ADMISSION_WAITING_BYTES (256u << 20) /* of the requests that wait, together */
#define ADMISSION_CALLERS_MAX 4096u          /* that wait; more wait in one line */

struct admission_limits {
	uint32_t executions;   /* at once */
	uint32_t queue;        /* that wait */
	uint64_t memory_bytes; /* promised together; 0: no bound */
};

/* Without limits all is admitted that ADMISSION_EXECUTIONS_MAX lets. 0, -ENOMEM. */
int admission_new(struct loop *loop, struct admission **ret);
void admission_free(struct admission **admission); /* every ticket is done before */
/* What runs and waits stays. */
void admission_configure(struct admission *admission,
			 const struct admission_limits *limits);
/* As this machine suggests: eight programs for each core and 64 at least, nine tenths of
 * the memory of the machine or of the own cgroup. */
void admission_suggest(struct admission_limits *ret);

enum admission_kind {
	ADMISSION_RUN,     /* takes a place and memory */
	ADMISSION_SESSION, /* takes memory only, for long */
	ADMISSION_IN,      /* a program of a session: takes a place only, and is not
			    * refused: admission_room() was asked when it was accepted */
};
/* 1: admitted now. 0: it waits, and fn is called once, from the loop, when its turn has
 * come. caller: whose turn it is (NULL: the starter). -EPERM (CEILING, max_memory_mb): it can
 * never be; -EAGAIN (BUSY): the queue is full. */
int admission_ask(struct admission *admission, enum admission_kind kind,
		  const char *caller, uint64_t memory_bytes, void (*fn)(void *arg),
		  void *arg, struct admission_ticket **ret, struct sbx_err *err);
/* What waits holds its request, so long: 0, or -EAGAIN (BUSY) where all that wait would hold
 * more than ADMISSION_WAITING_BYTES; then it is to be given up. One that does not wait
 * weighs nothing. */
int admission_weigh(struct admission_ticket *ticket, size_t bytes, struct sbx_err *err);
/* Of what will ask with ADMISSION_IN once its turn in its session has come: whether the queue
 * takes it, 0 or -EAGAIN (BUSY), and what it holds until then, which counts as of
 * admission_weigh(). admission_drop() sets *bytes to 0. */
int admission_room(const struct admission *admission, struct sbx_err *err);
int admission_hold(struct admission *admission, size_t bytes, struct sbx_err *err);
void admission_drop(struct admission *admission, size_t *bytes);
/* It has ended, or waits no more. Sets NULL, takes a pointer to NULL. */
void admission_done(struct admission_ticket **ticket);

/* Seconds after which a refused caller may try again, by what programs took of late: from 1
 * to 60; of NULL 1. */
unsigned admission_retry_after(const struct admission *admission);
/* {"running", "waiting", "callers_waiting", "sessions", "promised_bytes", "memory_bytes",
 * "executions", "queue"}; new reference, NULL: no memory. */
json_t *admission_describe(const struct admission *admission);

#endif
