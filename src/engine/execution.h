/* SPDX-License-Identifier: MIT
 * One program: from its request to its result. It runs in a box of its own, or as one of
 * a session's. submit.c makes it, execution.c watches and ends it. Engine, on its loop. */
#ifndef SBX_ENGINE_EXECUTION_H
#define SBX_ENGINE_EXECUTION_H

#include "engine/box.h"
#include "engine/displays.h"
#include "engine/result.h"

/* One way, from left to right. WAITING: for its box, or for its turn. PREPARING: files of
 * its own are put into a session's box. CLOSING: it is over, its box is not, or what it
 * left is looked at. */
enum execution_state { WAITING, PREPARING, RUNNING, CLOSING, FINISHED };

struct execution {
	struct execution *next;
	struct engine *engine;
	struct execution_sink sink;
	enum execution_state state;
	char id[33];
	struct sbx_policy policy;
	char *code, *filename, *stdin_data;
	size_t code_len, stdin_len;
	struct execution_file *files; /* of a request to a session, for /work */
	size_t file_count;
	bool stdin_open, hold;
	bool held; /* until execution_start() */
	bool sent; /* to its worker, which may not have said yet that its walls are up */

	struct box *box; /* NULL: none yet, or not any more */
	struct session *session;
	struct execution *behind;       /* in the session's queue */
	bool member;                    /* the session counts it */
	char *caller;                   /* whose turn it is there; NULL: the starter's */
	struct admission_ticket *place; /* among all that run; of a session's program */
	bool placed;                    /* it was admitted */
	size_t waiting_bytes;           /* what admission counts of it */
	uint32_t count;                 /* in its session, from 1 */
	int input;                      /* its end of stdin, until it is sent */

	bool look_asked, look_due; /* the program's one last look */
	bool interrupted; /* before it began: at its start */
	bool answered; /* in a session: it said that it is over, its worker lives */
	struct events events;
	struct loop_timer *timer;     /* deadline; interrupts; what it left */
	struct loop_timer *now_timer; /* work that must not be done in a callback */
	uint64_t submitted_us, taken_us, started_us, ended_us, grace_until_us;
	uint64_t began_ns; /* by the clock of files' times */
	uint64_t disk_before_bytes, dropped_before;
	size_t kept_bytes; /* of its request, which its session counts */
	enum outcome_stop stop;
	struct sbx_err fault;
	struct displays displays;
	json_t *result; /* between outcome() and execution_conclude() */
	bool refused;
	json_t *done;
	const char *done_error;
	struct network_usage network;
	struct collect *collect; /* what it left, in a session */
};

/* ---- execution.c ---- */
/* Its turn has come: its box is open, or will be. */
void execution_begin(struct execution *x);
/* Ends it, for the first reason that is given; STOP_NONE: its process has ended. */
void execution_end(struct execution *x, enum outcome_stop stop);
void execution_fault(struct execution *x, const struct sbx_err *err);
void execution_fault_with(struct execution *x, enum sbx_stage stage, int errnum,
			  const char *what);
void execution_finish_soon(struct execution *x); /* done() comes from the loop */
void execution_release(struct execution *x);

/* ---- verdict.c ---- */
void verdict_reach(struct execution *x); /* and hands it over; frees it */

/* ---- its box tells ---- */
void execution_opened(struct execution *x);
void execution_frame(struct execution *x, uint32_t type, const char *data, size_t len);
void execution_output(struct execution *x, int stream, const char *data, size_t len);
void execution_taken(struct execution *x, size_t len);
void execution_flood(struct execution *x);
void execution_denial(struct execution *x, const struct event *event, uint64_t at_us,
		      uint64_t dropped);
void execution_usage(struct execution *x, const struct meter_usage *usage);
void execution_looked(struct execution *x);
void execution_box_ended(struct execution *x);

/* ---- session.c ---- */
int session_queue(struct session *session, struct execution *x, struct sbx_err *err);
void session_leaves(struct session *session, /* one that it counted is gone */
		    const struct execution *x);
void session_unqueue(struct session *session, struct execution *x);
void session_turn(struct session *session); /* a program of it is over: the next one */
uint32_t session_count(struct session *session); /* of the program that begins */
/* What was in /work before a program, and is from now on. Somebody else changed it:
 * session_doubts(); session_is_unsure() until it is known again. */
const struct collect *session_known(const struct session *session);
void session_know(struct session *session, struct collect **collect);
void session_doubts(struct session *session);
bool session_is_unsure(const struct session *session);
/* Why its box ends, in words, by who ends it; the first counts. Static text. */
void session_says(struct session *session, const char *why);
const char *session_why(const struct session *session); /* NULL: it lives */
void session_end_all(struct engine *engine);

#endif
