/* SPDX-License-Identifier: MIT
 * A jail with its worker, for one program or for a session's: what lives as long as the
 * jail. What lives as long as one program is execution.h's. Engine, on its loop.
 *
 * box_new() -> box_begin() -> opened() -> programs, one at a time -> box_end() -> ended()
 * -> box_free(). ended() may come at any time after box_begin(); it is the last call and
 * comes once. */
#ifndef SBX_ENGINE_BOX_H
#define SBX_ENGINE_BOX_H

#include "engine/collect.h"
#include "engine/internal.h"
#include "engine/meter.h"
#include "engine/network.h"
#include "engine/notify.h"
#include "engine/outcome.h"
#include "engine/stdio.h"

#define INODES_PER_MB 256u

/* One way, from left to right. */
enum box_state { BOX_QUEUED, BOX_SETUP, BOX_STARTING, BOX_OPEN, BOX_ENDING };

struct grant {
	char path[4096]; /* real */
	uint32_t number; /* the broker's; 0: none */
	bool writable;
	struct call *call; /* opening it, where the jailer does */
};

/* An answer of the init about a file; err NULL: done. fd: with INIT_GET, the callee's. */
typedef void (*box_file_fn)(void *arg, const struct sbx_err *err, int fd, uint64_t size);

struct box_owner {
	void (*opened)(void *arg); /* every wall is up: a program may be sent */
	void (*ended)(void *arg);  /* the jail is empty, as far as could be waited for */
	/* Of a session: what the worker answered (WORKER_ANSWER). */
	void (*answered)(void *arg, const char *data, size_t len);
	void *arg;
};

struct box {
	struct engine *engine;
	struct box_owner owner;
	bool session;
	enum box_state state;
	struct execution *running; /* whose output and deeds these are, or NULL */
	struct events between;     /* of a session: deeds when no program ran */

	struct sbx_policy policy;
	char *cwd, *python;
	unsigned walls;
	struct grant *grants;
	size_t grant_count;
	int archive;      /* what is put into /work before the seal; -1: nothing */
	struct buf given; /* names of files that were given, each with its NUL */
	size_t given_count;

	struct pool *pool;
	struct admission_ticket *ticket;
	struct pool_take *take;
	struct worker *worker;
	unsigned answers; /* of the init to the set-up, still to come */
	bool sealed_sent, has_stdio, has_meter;
	int theirs[3];
	struct stdio stdio;
	struct meter meter;
	struct notify *notify;
	struct network *network;             /* with network_access */
	struct box_call *calls, **calls_end; /* about files, in their order */

	struct loop_timer *timer;     /* set-up, then the end's patience */
	struct loop_timer *now_timer; /* ended(), from the loop */
	enum outcome_stop stop;
	struct sbx_err fault;
	bool started;      /* the worker said so: a program may have run */
	uint64_t ended_us; /* when it was told to end, or its worker had ended */
	bool exited, gone;
	int wait_status;
	uint64_t exit_cpu_us;
	uint64_t disk_used_bytes, disk_used_inodes;
	uint64_t disk_first_inodes; /* in use when it was sealed; 0: not known */
	bool collects, contents;    /* at the end, what is left in /work */
	uint64_t contents_since_ns;
	struct collect *collect;
};

struct box_spec {
	const struct sbx_policy *policy;
	const char *cwd; /* NULL: none */
	const struct execution_file *files;
	size_t file_count;
	/* Whose rights its grants are opened with: as of struct execution_request. */
	int peer_fd;
	bool remote;
	const struct execution_offer *offers;
	size_t offer_count;
	struct box
		*after; /* of the same session: its grants are taken over; NULL: none */
	const char *caller;        /* whose turn it is; NULL: the starter */
	struct execution *running; /* the one program; NULL: of a session */
};

/* Checks and copies; waits in the pool's queue. 0, or -errno with err filled and nothing
 * made. */
int box_new(struct engine *engine, const struct box_spec *spec,
	    const struct box_owner *owner, struct box **ret, struct sbx_err *err);
/* For the first reason that is given. */
void box_end(struct box *box, enum outcome_stop stop);
void box_fault(struct box *box, const struct sbx_err *err);
void box_fault_with(struct box *box, enum sbx_stage stage, int errnum, const char *what);
void box_free(struct box **box); /* sets NULL, takes a pointer to NULL */

/* Sends a program to a box that is not ENDING; from BOX_STARTING on. input: its stdin in a
 * session, or -1. */
int box_send(struct box *box, const char *code, size_t code_len, const char *filename,
	     uint32_t count, int input, struct sbx_err *err);
/* How full its private file system is: disk_used_*. */
void box_look_at_disk(struct box *box);
/* Whatever was left: most programs leave nothing, and then nobody is asked. */
bool box_left_something(const struct box *box);
bool box_supervised(const struct box *box);
/* Names that count as given from here on. -ENOSPC: too many. */
int box_give(struct box *box, const char *name);
/* INIT_PUT (fd: an archive), INIT_GET, INIT_DELETE. fn is called once, never from inside
 * this; with an error where the box ends. */
int box_file(struct box *box, enum init_op op, const char *path, int fd, box_file_fn fn,
	     void *arg);
/* A memfd for INIT_FILES and INIT_PUT; -errno. */
int box_archive(const struct execution_file *files, size_t count);
/* Answers to calls with this arg go nowhere. */
void box_forget(struct box *box, void *arg);
void box_streams(struct box *box, struct stdio_events *ret);
void box_network_event(void *arg, const struct event *event, uint64_t at_us);
void box_usage(void *arg, const struct meter_usage *usage); /* a sample */

/* ---- setup.c ---- */
/* Limits, grants, streams and the seal; the answers of the init come to setup_answered(),
 * which sends the walls' description after the last. */
int setup_begin(struct box *box, struct sbx_err *err);
/* A request to the init that setup_answered() counts; the last one is the seal. */
int setup_ask(struct box *box, const struct init_request *request, int fd,
	      struct sbx_err *err);
int setup_seal(struct box *box, struct sbx_err *err);
void setup_answered(struct box *box);

#endif
