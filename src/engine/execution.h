/* SPDX-License-Identifier: MIT
 * One run, as its three files share it: submit.c (from request to worker), setup.c (the
 * policy put on the jail), and execution.c (while it runs, and its end). */
#ifndef SBX_ENGINE_EXECUTION_H
#define SBX_ENGINE_EXECUTION_H

#include "engine/collect.h"
#include "engine/internal.h"
#include "engine/network.h"
#include "engine/notify.h"
#include "engine/result.h"

#define INODES_PER_MB 256u

/* One way, from left to right. */
enum state { QUEUED, SETUP, STARTING, RUNNING, ENDING };

struct grant {
	char path[4096]; /* real */
	uint32_t number; /* the broker's; 0: none */
	bool writable;
	struct call *call; /* opening it, where the jailer does */
};

struct execution {
	struct execution *next;
	struct engine *engine;
	struct execution_sink sink;
	enum state state;
	char id[33];
	struct sbx_policy policy;
	char *code, *filename, *cwd, *stdin_data, *python;
	size_t code_len, stdin_len;
	bool stdin_open, hold, finished;
	bool look_asked, look_due; /* the program's one last look */
	int peer_fd;
	unsigned walls;
	struct grant *grants;
	size_t grant_count;
	struct pool *pool;
	struct admission_ticket *ticket;
	struct pool_take *take;
	struct worker *worker;
	unsigned answers; /* of the init, still to come */
	bool sealed_sent, has_stdio, has_meter;
	int theirs[3];
	struct stdio stdio;
	struct meter meter;
	struct notify *notify;
	struct network *network; /* with network_access */
	struct events events;
	struct loop_timer *timer; /* set-up, deadline, then the end's patience */
	struct loop_timer
		*now_timer; /* work that must not be done in a callback of its object */
	uint64_t submitted_us, taken_us, started_us, ended_us;
	enum outcome_stop stop;
	struct sbx_err fault;
	json_t *done;
	const char *done_error;
	bool exited, gone;
	int wait_status;
	uint64_t exit_cpu_us;
	uint64_t disk_used_bytes, disk_used_inodes;
	uint64_t disk_first_inodes;   /* in use when the program started; 0: not known */
	struct execution_file *files; /* of the request, for /work */
	size_t file_count;
	struct collect *collect; /* what the program left */
};

/* ---- execution.c ---- */
/* Ends it, for the first reason that is given; STOP_NONE: its process has ended. */
void execution_end(struct execution *x, enum outcome_stop stop);
void execution_fault(struct execution *x, const struct sbx_err *err);
void execution_fault_with(struct execution *x, enum sbx_stage stage, int errnum,
			  const char *what);
void execution_finish_soon(struct execution *x); /* done() comes from the loop */
void execution_release(struct execution *x);
void execution_events(
	struct execution *x,
	struct worker_events *ret); /* what it wants to hear of its worker */
void execution_streams(struct execution *x, struct stdio_events *ret);
void execution_network_event(void *arg, const struct event *event, uint64_t at_us);
void execution_usage(void *arg, const struct meter_usage *usage); /* a sample */

/* ---- setup.c ---- */
/* Limits, grants, streams and the seal; the answers of the init come to setup_answered(),
 * which hands the program over after the last. */
int setup_begin(struct execution *x, struct sbx_err *err);
/* A request to the init that setup_answered() counts; the last one is the seal. */
int setup_ask(struct execution *x, const struct init_request *request, int fd,
	      struct sbx_err *err);
int setup_seal(struct execution *x, struct sbx_err *err);
void setup_answered(struct execution *x);

#endif
