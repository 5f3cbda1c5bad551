/* SPDX-License-Identifier: MIT
 * A session, as its files share it: session.c (its life), session_ask.c (what is asked of
 * it besides programs). */
#ifndef SBX_ENGINE_SESSION_INTERNAL_H
#define SBX_ENGINE_SESSION_INTERNAL_H

#include <time.h>

#include "engine/execution.h"
#include "engine/session.h"

struct session {
	struct session *next;
	struct engine *engine;
	struct session_events events;
	char id[33];
	char why[160]; /* it ended, "": nobody said */
	struct sbx_policy policy;
	char *cwd;
	struct box *box; /* never NULL but while it is made */
	uint32_t idle_timeout_s, count, pace_ms;
	time_t created_s, used_s;

	struct execution *first, **last; /* those that wait for their turn */
	size_t queued, members;          /* members: all that name the session */
	size_t kept_bytes, given_bytes;  /* that wait for it; of them its first files */
	bool busy, over, restarting, quiet;

	struct collect *known; /* of /work, after the last program */
	bool unsure;
	int carried; /* at a restart: an archive of what lay in /work */
	bool carrying;

	struct loop_timer *idle_timer;
	struct loop_timer *now_timer;

	bool answering; /* the worker is asked something */
	struct inspection {
		session_fn fn;
		void *arg;
		bool complete, interrupted;
		size_t end; /* of a completion, characters */
		struct loop_timer *timer;
	} inspection;
	struct session_file *files; /* calls about files */
};

void session_turn_soon(struct session *session);
/* Counts what we keep until the session takes it; BUSY where that is too much. */
int session_keep(struct session *session, size_t bytes, struct sbx_err *err);
void session_let_go(struct session *session, size_t bytes);

/* ---- session_ask.c ---- */
void inspect_answered(struct session *session, const char *data, size_t len);
/* Whoever waits hears that the session has ended; nobody does where it is quiet. */
void inspect_end(struct session *session);
void files_opened(struct session *session);
void files_end(struct session *session);

#endif
