/* SPDX-License-Identifier: MIT
 * Purpose: a program from its turn to its end: sends it, watches it, ends it
 *   (execution.h); verdict.c says what happened.
 * Process: the engine, on its loop.
 * Trusts: the box; of what the worker says nothing.
 * Invariants: states go one way: WAITING -> PREPARING -> RUNNING -> CLOSING -> FINISHED,
 *   then done(). The verdict of a lone program is formed only when its jail's pid
 *   namespace is empty; that of a session's, when its worker has said that it is over, or
 *   when the jail is empty (INV-3). The first reason to end a program is the one that
 *   counts. */
#include "engine/execution.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/session.h"

#define LEFT_US 500000u      /* the init looks through what a session's program left */
#define GRACE_US 1000000u    /* from the first interrupt to the end of the session */
#define INTERRUPT_US 150000u /* from one to the next */

/* ---- its end ---- */

void execution_release(struct execution *x)
{
	struct execution **at = &x->engine->executions;

	while (*at && *at != x)
		at = &(*at)->next;
	if (*at) {
		*at = x->next;
		x->engine->execution_count--;
	}
	loop_timer_cancel(&x->timer);
	loop_timer_cancel(&x->now_timer);
	if (x->box && x->box->running == x)
		x->box->running = NULL;
	if (x->box)
		box_forget(x->box, x);
	if (!x->session)
		box_free(&x->box);
	admission_done(&x->place);
	admission_drop(x->engine->admission, &x->waiting_bytes);
	if (x->member)
		session_leaves(x->session, x);
	fd_close(&x->input);
	collect_free(&x->collect);
	events_free(&x->events);
	displays_free(&x->displays);
	json_decref(x->result);
	json_decref(x->done);
	policy_clear(&x->policy);
	for (size_t i = 0; i < x->file_count; i++) {
		free((char *)x->files[i].name);
		free((char *)x->files[i].data);
	}
	free(x->files);
	free(x->caller);
	free(x->code);
	free(x->filename);
	free(x->stdin_data);
	free(x);
}

static void on_finish(void *arg)
{
	struct execution *x = arg;

	loop_timer_cancel(&x->now_timer);
	verdict_reach(x);
}

/* On the loop, with nothing of ours on the stack. */
void execution_finish_soon(struct execution *x)
{
	if (x->state == FINISHED || x->now_timer)
		return;
	loop_timer_cancel(&x->timer);
	if (loop_timer_at(x->engine->loop, &x->now_timer, loop_now_us(), on_finish, x) <
	    0)
		verdict_reach(x);
}

/* Its box is to end, and it with it. */
static void end_box(struct execution *x)
{
	x->state = CLOSING;
	x->ended_us = loop_now_us();
	loop_timer_cancel(&x->timer);
	box_end(x->box, x->stop);
}

static void on_interrupt(void *arg)
{
	struct execution *x = arg;

	if (loop_now_us() >= x->grace_until_us) {
		session_says(x->session,
			     "the program could not be interrupted at its limit");
		end_box(x);
		return;
	}
	/* Once more: it may have caught one. */
	worker_interrupt(x->box->worker, x->count);
	if (loop_timer_at(x->engine->loop, &x->timer, loop_now_us() + INTERRUPT_US,
			  on_interrupt, x) < 0)
		end_box(x);
}

void execution_end(struct execution *x, enum outcome_stop stop)
{
	bool first = x->stop == STOP_NONE && stop != STOP_NONE;

	if (x->state >= CLOSING)
		return;
	if (x->stop == STOP_NONE)
		x->stop = stop;
	if (x->session && x->box && x->box->state == BOX_ENDING)
		return;
	if (x->session && x->state == RUNNING && stop != STOP_MEMORY &&
	    stop != STOP_FAULT) {
		/* The others of its session go on with what it had. */
		if (first) {
			x->grace_until_us = loop_now_us() + GRACE_US;
			on_interrupt(x);
		}
		return;
	}
	if (x->session && x->state <= PREPARING) {
		/* The box is the next one's, and may be gone before our end is told. */
		session_unqueue(x->session, x);
		if (x->box)
			box_forget(x->box, x);
		collect_free(&x->collect);
		x->box = NULL;
		x->state = CLOSING;
		execution_finish_soon(x);
		return;
	}
	if (x->box) {
		end_box(x);
		return;
	}
	x->state = CLOSING;
	execution_finish_soon(x);
}

void execution_fault(struct execution *x, const struct sbx_err *err)
{
	if (x->stop == STOP_NONE)
		x->fault = *err;
	execution_end(x, STOP_FAULT);
}

void execution_fault_with(struct execution *x, enum sbx_stage stage, int errnum,
			  const char *what)
{
	struct sbx_err err = { 0 };

	(void)err_set(&err, stage, errnum, "%s", what);
	execution_fault(x, &err);
}

void execution_box_ended(struct execution *x)
{
	if (x->state == FINISHED)
		return;
	/* A session's that was over before its jail has its verdict. */
	if (!x->answered &&
	    (x->stop == STOP_NONE || x->box->fault.stage != SBX_AT_NONE)) {
		x->stop = x->box->stop;
		x->fault = x->box->fault;
	}
	if (x->session && !x->started_us &&
	    (x->stop == STOP_NONE || x->stop == STOP_MEMORY)) {
		x->stop = STOP_FAULT;
		(void)err_set(&x->fault, SBX_AT_USAGE, 0, "the session has ended: %.120s",
			      session_why(x->session));
	}
	if (!x->ended_us)
		x->ended_us = x->box->ended_us;
	x->state = CLOSING;
	execution_finish_soon(x);
}

/* ---- while it runs ---- */

void execution_flood(struct execution *x)
{
	if (x->state == RUNNING)
		execution_end(x, STOP_OUTPUT);
}

void execution_output(struct execution *x, int stream, const char *data, size_t len)
{
	if (x->sink.output)
		x->sink.output(x->sink.arg, stream, data, len);
}

void execution_taken(struct execution *x, size_t len)
{
	if (x->sink.stdin_taken)
		x->sink.stdin_taken(x->sink.arg, len);
}

static uint64_t at_ms(const struct execution *x)
{
	return x->started_us ? (loop_now_us() - x->started_us) / 1000 : 0;
}

static void tell(struct execution *x, const json_t *added)
{
	if (added && x->sink.event)
		x->sink.event(x->sink.arg, added);
}

void execution_denial(struct execution *x, const struct event *event, uint64_t at_us,
		      uint64_t dropped)
{
	x->events.denials += dropped;
	x->events.dropped += dropped;
	tell(x, events_add(&x->events,
			   x->started_us && at_us > x->started_us
				   ? (at_us - x->started_us) / 1000
				   : 0,
			   event));
}

void execution_usage(struct execution *x, const struct meter_usage *usage)
{
	json_t *sample;

	if (x->sink.sample) {
		sample = json_pack("{s:I,s:I,s:f,s:i}", "at_ms", (json_int_t)at_ms(x),
				   "memory_bytes", (json_int_t)usage->memory_bytes,
				   "cpu_ms", (double)usage->cpu_us / 1000.0, "processes",
				   (int)usage->processes);
		if (sample)
			x->sink.sample(x->sink.arg, sample);
		json_decref(sample);
	}
	if (usage->oom_kills > 0)
		execution_end(x, STOP_MEMORY);
	else if (x->policy.max_cpu_time > 0 &&
		 (double)usage->cpu_us >= x->policy.max_cpu_time * 1e6)
		execution_end(x, STOP_CPU);
}

static void on_deadline(void *arg)
{
	struct execution *x = arg;

	loop_timer_cancel(&x->timer);
	execution_end(x, STOP_TIMEOUT);
}

static void run(struct execution *x)
{
	struct box *box = x->box;

	x->state = RUNNING;
	x->started_us = loop_now_us();
	meter_start(&box->meter);
	if (loop_timer_at(x->engine->loop, &x->timer,
			  x->started_us + (uint64_t)(x->policy.max_execution_time * 1e6),
			  on_deadline, x) < 0)
		execution_fault_with(x, SBX_AT_ENGINE, ENOMEM, "timer");
	else if (x->interrupted)
		worker_interrupt(box->worker, x->count);
}

/* Once a run, so that a program cannot keep us busy with it. */
static void look(struct execution *x)
{
	const struct init_request request = { .op = INIT_LOOK };

	if (x->state != RUNNING || x->look_asked || !box_supervised(x->box))
		return;
	x->look_asked = true;
	x->look_due = worker_init_request(x->box->worker, &request, -1) == 0;
	if (!x->look_due)
		(void)worker_looked(x->box->worker);
}

/* What the program wrote before comes before it, and what it writes after behind it. */
static void show(struct execution *x, const char *data, size_t len)
{
	const json_t *bundle;

	stdio_take(&x->box->stdio);
	if (x->state != RUNNING)
		return;
	bundle = displays_add(&x->displays, data, len);
	if (bundle && x->sink.display)
		x->sink.display(x->sink.arg, bundle);
	(void)worker_displayed(x->box->worker);
}

void execution_looked(struct execution *x)
{
	if (!x->look_due)
		return;
	x->look_due = false;
	(void)worker_looked(x->box->worker);
}

static void on_left(void *arg)
{
	execution_finish_soon(arg);
}

static void on_left_late(void *arg)
{
	struct execution *x = arg;

	collect_free(&x->collect);
	execution_finish_soon(x);
}

/* A session's program says that it is over, and its worker waits for the next one: what
 * it was asked to leave is looked at while others of it may go on. */
static void on_answered(struct execution *x)
{
	struct box *box = x->box;
	const struct collect_asked asked = { .live = true,
					     .contents = x->sink.file != NULL,
					     .since_ns = x->began_ns };

	x->answered = true;
	x->state = CLOSING;
	x->ended_us = loop_now_us();
	loop_timer_cancel(&x->timer);
	if (box->notify)
		notify_drain(box->notify);
	box_look_at_disk(box);
	if (!box_left_something(box) ||
	    collect_begin(x->engine->loop, box->worker, &asked, on_left, x, &x->collect) <
		    0 ||
	    loop_timer_at(x->engine->loop, &x->timer, loop_now_us() + LEFT_US,
			  on_left_late, x) < 0)
		execution_finish_soon(x);
}

void execution_frame(struct execution *x, uint32_t type, const char *data, size_t len)
{
	if (x->state != RUNNING)
		return;
	if (type == WORKER_EVENT) {
		tell(x, events_add_claim(&x->events, at_ms(x), data, len));
	} else if (type == WORKER_LOOK) {
		look(x);
	} else if (type == WORKER_DISPLAY) {
		show(x, data, len);
	} else if (type == WORKER_DONE && !x->done && !x->done_error) {
		/* The first counts; a second would be the program's own. */
		x->done = outcome_parse(data, len, &x->done_error);
		meter_read(&x->box->meter);
		if (x->session)
			on_answered(x);
	}
}

/* ---- its beginning ---- */

/* What a session's program has to itself of the box. */
static int take_turn(struct execution *x, struct sbx_err *err)
{
	struct box *box = x->box;
	struct timespec now;
	int r;

	r = stdio_renew(&box->stdio, x->stdin_data, x->stdin_len, x->stdin_open,
			&x->input, err);
	if (r < 0)
		return r;
	stdio_hold(&box->stdio, x->hold);
	meter_renew(&box->meter);
	x->events = box->between;
	box->between = (struct events){ 0 };
	x->disk_before_bytes = box->disk_used_bytes;
	x->dropped_before = box->network ? network_dropped(box->network) : 0;
	/* Times of files come from a clock that ticks. */
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	x->began_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	return 0;
}

static void send_program(struct execution *x)
{
	char cell[32];
	struct sbx_err err = { 0 };
	int r = x->session ? take_turn(x, &err) : 0;

	if (x->session)
		x->count = session_count(x->session);
	(void)snprintf(cell, sizeof(cell), "<cell %u>", x->count);
	if (r == 0)
		r = box_send(x->box, x->code, x->code_len,
			     x->filename  ? x->filename
			     : x->session ? cell
					  : "<program>",
			     x->count, x->input, &err);
	fd_close(&x->input);
	if (r < 0) {
		/* A worker that cannot be reached is of no use to the next one. */
		if (x->session) {
			session_says(x->session, "its worker could not be reached");
			err.stage = SBX_AT_USAGE;
		}
		if (x->stop == STOP_NONE) {
			x->fault = err;
			x->stop = STOP_FAULT;
		}
		end_box(x);
		return;
	}
	x->sent = true;
	if (x->box->state == BOX_OPEN)
		run(x);
}

static void on_known(void *arg)
{
	struct execution *x = arg;

	loop_timer_cancel(&x->timer);
	session_know(x->session, &x->collect);
	if (x->state == PREPARING && x->box->state == BOX_OPEN)
		send_program(x);
}

/* What is there before it, if others than programs have changed it. */
static void know(struct execution *x)
{
	const struct collect_asked asked = { .live = true };

	if (!session_is_unsure(x->session) ||
	    collect_begin(x->engine->loop, x->box->worker, &asked, on_known, x,
			  &x->collect) < 0)
		send_program(x);
}

static void on_put(void *arg, const struct sbx_err *err, int fd, uint64_t size)
{
	struct execution *x = arg;

	(void)size;
	fd_close(&fd);
	/* Of a box that ends its end is told. */
	if (x->state != PREPARING || x->box->state != BOX_OPEN)
		return;
	if (err)
		execution_fault(x, err);
	else
		know(x);
}

static void put_files(struct execution *x)
{
	_cleanup_fd_ int archive = box_archive(x->files, x->file_count);
	int r = archive < 0 ? archive : 0;

	for (size_t i = 0; r == 0 && i < x->file_count; i++)
		r = box_give(x->box, x->files[i].name);
	if (r == 0)
		r = box_file(x->box, INIT_PUT, "", archive, on_put, x);
	if (r < 0)
		execution_fault_with(x, r == -ENOSPC ? SBX_AT_USAGE : SBX_AT_ENGINE, -r,
				     "the files of a request");
	else
		session_doubts(x->session);
}

void execution_begin(struct execution *x)
{
	if (x->held || x->sent || x->state != WAITING)
		return;
	if (!x->session) {
		send_program(x);
		return;
	}
	x->state = PREPARING;
	if (x->file_count > 0)
		put_files(x);
	else
		know(x);
}

void execution_opened(struct execution *x)
{
	if (x->state != WAITING)
		return;
	if (x->sent)
		run(x);
	else
		execution_begin(x);
}

void execution_start(struct execution *x)
{
	if (!x->held)
		return;
	x->held = false;
	if (x->box && x->box->running == x && x->box->state >= BOX_STARTING &&
	    x->box->state != BOX_ENDING)
		execution_begin(x);
}

/* ---- from outside ---- */

int execution_stdin(struct execution *x, const char *data, size_t len)
{
	char *grown;

	if (x->box && x->box->running == x && x->box->has_stdio &&
	    (!x->session || x->sent))
		return stdio_in(&x->box->stdio, data, len);
	if (x->state >= CLOSING || x->sent)
		return -EPIPE;
	if (x->stdin_len + len > STDIO_STDIN_MAX)
		return -ENOBUFS;
	grown = realloc(x->stdin_data, x->stdin_len + len + 1);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + x->stdin_len, data, len);
	x->stdin_data = grown;
	x->stdin_len += len;
	return 0;
}

void execution_stdin_close(struct execution *x)
{
	x->stdin_open = false;
	if (x->box && x->box->running == x && x->box->has_stdio &&
	    (!x->session || x->sent))
		stdio_in_close(&x->box->stdio);
}

void execution_hold_output(struct execution *x, bool hold)
{
	x->hold = hold;
	if (x->box && x->box->running == x && x->box->has_stdio &&
	    (!x->session || x->sent))
		stdio_hold(&x->box->stdio, hold);
}

void execution_cancel(struct execution *x)
{
	execution_end(x, STOP_CANCELLED);
}

void execution_fail(struct execution *x, const struct sbx_err *err)
{
	execution_fault(x, err);
}

void execution_interrupt(struct execution *x)
{
	if (x->state == RUNNING)
		worker_interrupt(x->box->worker, x->count);
	else if (x->state < RUNNING)
		x->interrupted = true;
}

const char *execution_id(const struct execution *x)
{
	return x->id;
}

void execution_times(const struct execution *x, struct execution_times *ret)
{
	*ret = (struct execution_times){ x->submitted_us, x->taken_us, x->started_us,
					 x->ended_us };
}

void engine_cancel_all(struct engine *engine)
{
	/* An end comes from the loop: the list stays as it is meanwhile. */
	for (struct execution *x = engine->executions; x; x = x->next)
		execution_cancel(x);
}

void execution_end_all(struct engine *engine)
{
	while (engine->executions)
		execution_release(engine->executions);
}
