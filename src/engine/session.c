/* SPDX-License-Identifier: MIT
 * Purpose: the life of a session: its box, the programs that wait for their turn in it,
 *   idle time, restart, end (session.h).
 * Process: the engine, on its loop. Trusts: the box.
 * Invariants: one program at a time; nothing of a session reaches another, each has a box
 *   of its own; a session whose box has ended takes no program any more. */
#include "engine/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/execution.h"
#include "engine/session_internal.h"

#define SESSION_KEPT_BYTES (64u << 20) /* for one */
#define SESSIONS_KEPT_BYTES (512u << 20)

/* ---- telling ---- */

static void changed(struct session *s)
{
	if (s->events.changed)
		s->events.changed(s->events.arg, s);
}

void session_says(struct session *s, const char *why)
{
	if (!s->why[0])
		(void)snprintf(s->why, sizeof(s->why), "%s", why);
}

/* Who ends it says why; else what is known of its jail. */
const char *session_why(const struct session *s)
{
	const struct box *box = s->box;
	static char text[128];

	if (s->restarting)
		return "the session was started again";
	if (box->state != BOX_ENDING)
		return NULL;
	if (s->why[0])
		return s->why;
	if (box->stop == STOP_MEMORY ||
	    (box->has_meter && box->meter.usage.oom_kills > 0))
		return "it was ended at its memory limit";
	if (box->stop == STOP_FAULT)
		return box->fault.msg[0] ? box->fault.msg : "its jail failed";
	if (!box->exited)
		return "its jail was ended";
	if (WIFSIGNALED(box->wait_status))
		(void)snprintf(text, sizeof(text), "its process was ended by signal %d",
			       WTERMSIG(box->wait_status));
	else
		(void)snprintf(text, sizeof(text),
			       "the program ended its process with status %d",
			       WEXITSTATUS(box->wait_status));
	return text;
}

/* ---- idle ---- */

static void on_idle(void *arg)
{
	struct session *s = arg;

	loop_timer_cancel(&s->idle_timer);
	session_end(s, "it was idle for longer than its idle time-out");
}

/* Supervised jails report their usage to nobody while they are idle. */
static void set_pace(struct session *s, uint32_t sample_ms)
{
	const struct init_request request = { .op = INIT_PACE, .sample_ms = sample_ms };

	if (s->pace_ms == sample_ms || !box_supervised(s->box))
		return;
	s->pace_ms = sample_ms;
	(void)worker_init_request(s->box->worker, &request, -1);
}

static void rest(struct session *s)
{
	stdio_rest(&s->box->stdio);
	meter_stop(&s->box->meter);
	set_pace(s, 0);
	if (loop_timer_at(s->engine->loop, &s->idle_timer,
			  loop_now_us() + (uint64_t)s->idle_timeout_s * 1000000u, on_idle,
			  s) < 0)
		session_end(s, "no memory for its timer");
}

/* ---- what waits for it ---- */

int session_keep(struct session *s, size_t bytes, struct sbx_err *err)
{
	size_t *all = &s->engine->session_kept_bytes;

	if (bytes > SESSION_KEPT_BYTES - s->kept_bytes ||
	    bytes > SESSIONS_KEPT_BYTES - *all)
		return err_set(
			err, SBX_AT_BUSY, EAGAIN,
			"%zu MiB wait for the session and %zu MiB for all sessions",
			s->kept_bytes >> 20, *all >> 20);
	s->kept_bytes += bytes;
	*all += bytes;
	return 0;
}

void session_let_go(struct session *s, size_t bytes)
{
	s->kept_bytes -= bytes;
	s->engine->session_kept_bytes -= bytes;
}

/* ---- programs ---- */

static size_t weight_of(const struct execution *x)
{
	size_t sum = x->code_len + x->stdin_len;

	for (size_t i = 0; i < x->file_count; i++)
		sum += x->files[i].len;
	return sum;
}

int session_queue(struct session *s, struct execution *x, struct sbx_err *err)
{
	if (s->box->state == BOX_ENDING && !s->restarting)
		return err_set(err, SBX_AT_USAGE, 0, "the session has ended: %.120s",
			       session_why(s) ? session_why(s) : "");
	if (s->queued >= SESSION_QUEUE_MAX)
		return err_set(err, SBX_AT_BUSY, EAGAIN,
			       "%u programs wait for their turn in the session",
			       SESSION_QUEUE_MAX);
	if (session_keep(s, weight_of(x), err) < 0)
		return -EAGAIN;
	x->kept_bytes = weight_of(x);
	x->member = true;
	s->members++;
	*s->last = x;
	s->last = &x->behind;
	s->queued++;
	s->used_s = time(NULL);
	/* Never from inside the caller's call. */
	session_turn_soon(s);
	return 0;
}

void session_leaves(struct session *s, const struct execution *x)
{
	session_let_go(s, x->kept_bytes);
	s->members--;
}

static struct execution *unqueue(struct session *s, struct execution **at)
{
	struct execution *x = *at;

	*at = x->behind;
	if (!x->behind)
		s->last = at;
	x->behind = NULL;
	s->queued--;
	return x;
}

void session_unqueue(struct session *s, struct execution *x)
{
	struct execution **at = &s->first;

	if (s->box->running == x)
		s->box->running = NULL;
	while (*at && *at != x)
		at = &(*at)->behind;
	if (*at)
		(void)unqueue(s, at);
}

static void stop_queue(struct session *s, enum outcome_stop stop, const char *why)
{
	while (s->first) {
		struct execution *x = unqueue(s, &s->first);

		if (x->stop == STOP_NONE) {
			(void)err_set(&x->fault, SBX_AT_USAGE, 0, "%s", why);
			x->stop = stop;
		}
		x->state = CLOSING;
		execution_finish_soon(x);
	}
}

bool session_takes(const struct session *s)
{
	return s->box->state != BOX_ENDING || s->restarting;
}

void *session_arg(const struct session *s)
{
	return s->events.arg;
}

const struct sbx_policy *session_policy(const struct session *s)
{
	return &s->policy;
}

uint32_t session_count(struct session *s)
{
	return ++s->count;
}

const struct collect *session_known(const struct session *s)
{
	return s->known;
}

void session_know(struct session *s, struct collect **collect)
{
	collect_free(&s->known);
	s->known = *collect;
	*collect = NULL;
	if (s->known)
		collect_forget_contents(s->known);
	s->unsure = false;
}

void session_doubts(struct session *s)
{
	s->unsure = true;
}

bool session_is_unsure(const struct session *s)
{
	return s->unsure;
}

/* ---- its end, or a new beginning ---- */

static void session_free(struct session *s)
{
	struct session **at = &s->engine->sessions;

	while (*at && *at != s)
		at = &(*at)->next;
	if (*at) {
		*at = s->next;
		s->engine->session_count--;
	}
	loop_timer_cancel(&s->idle_timer);
	loop_timer_cancel(&s->now_timer);
	inspect_end(s);
	files_end(s);
	session_let_go(s, s->kept_bytes);
	box_free(&s->box);
	collect_free(&s->known);
	policy_clear(&s->policy);
	fd_close(&s->carried);
	free(s->cwd);
	free(s);
}

static void carry_one(void *arg, const char *path, const char *data, size_t len)
{
	struct session *s = arg;
	const struct init_file head = { .name_len = (uint32_t)strlen(path), .len = len };

	if (s->carried < 0 || fd_write_all(s->carried, &head, sizeof(head)) < 0 ||
	    fd_write_all(s->carried, path, head.name_len) < 0 ||
	    fd_write_all(s->carried, data, len) < 0)
		fd_close(&s->carried);
}

static int make_box(struct session *s, const struct session_request *request,
		    struct box **ret, struct sbx_err *err);

static void begin_again(struct session *s)
{
	struct box *old = s->box, *box = NULL;
	struct sbx_err err = { 0 };

	s->carried = box_archive(NULL, 0);
	collect_contents(old->collect, NULL, carry_one, s);
	if (make_box(s, NULL, &box, &err) < 0) {
		s->restarting = false;
		session_says(s, err.msg);
		return;
	}
	for (const char *at = old->given.data, *end = at + old->given.len; at < end;
	     at += strlen(at) + 1)
		(void)box_give(box, at);
	box_free(&s->box);
	s->box = box;
	s->restarting = s->over = s->answering = false;
	s->count = 0;
	s->pace_ms = METER_FIRST_MS;
	s->unsure = true;
	collect_free(&s->known);
	changed(s);
}

/* Nobody of it is left. */
static void conclude(struct session *s)
{
	char why[sizeof(s->why)];

	inspect_end(s);
	files_end(s);
	if (s->restarting)
		begin_again(s);
	if (!s->over)
		return;
	(void)snprintf(why, sizeof(why), "%s", session_why(s));
	/* Their ends come from the loop, and name the session: they go first. */
	if (s->first || s->members > 0) {
		stop_queue(s, STOP_FAULT, "the session has ended");
		if (s->members > 0)
			return;
	}
	if (s->events.ended)
		s->events.ended(s->events.arg, s, why);
	session_free(s);
}

static void on_place(void *arg)
{
	struct execution *x = arg;

	x->placed = true;
	session_turn(x->session);
}

/* Its turn among the programs of all sessions and all others. */
static bool has_place(struct session *s, struct execution *x)
{
	struct sbx_err err = { 0 };
	int r;

	if (x->placed || x->place)
		return x->placed;
	r = admission_ask(s->engine->admission, ADMISSION_IN, x->caller, 0, on_place, x,
			  &x->place, &err);
	if (r < 0)
		execution_fault(x, &err);
	x->placed = r > 0;
	return x->placed;
}

void session_turn(struct session *s)
{
	struct box *box = s->box;
	struct execution *x;

	if (box->running)
		return;
	if (s->over) {
		session_turn_soon(s);
		return;
	}
	if (box->state != BOX_OPEN || s->answering || s->carrying)
		return;
	if (!s->first) {
		/* Of one that only waited for its place, the timer alone is due. */
		if (s->busy || !s->idle_timer)
			rest(s);
		if (s->busy) {
			s->busy = false;
			changed(s);
		}
		return;
	}
	loop_timer_cancel(&s->idle_timer);
	if (!has_place(s, s->first))
		return;
	set_pace(s, METER_FIRST_MS);
	x = unqueue(s, &s->first);
	admission_drop(s->engine->admission, &x->waiting_bytes);
	x->box = box;
	x->taken_us = loop_now_us();
	box->running = x;
	s->used_s = time(NULL);
	if (!s->busy) {
		s->busy = true;
		changed(s);
	}
	execution_begin(x);
}

static void on_turn(void *arg)
{
	struct session *s = arg;

	loop_timer_cancel(&s->now_timer);
	if (s->over && !s->box->running)
		conclude(s);
	else
		session_turn(s);
}

void session_turn_soon(struct session *s)
{
	if (!s->now_timer)
		(void)loop_timer_at(s->engine->loop, &s->now_timer, loop_now_us(),
				    on_turn, s);
}

static void on_carried(void *arg, const struct sbx_err *err, int fd, uint64_t size)
{
	struct session *s = arg;

	(void)size;
	fd_close(&fd);
	s->carrying = false;
	/* Its box was freed meanwhile, and the session may go with it. */
	if (!s->box)
		return;
	if (err && s->box->state == BOX_OPEN) {
		session_end(s, "its files could not be put into its new jail");
		return;
	}
	session_turn_soon(s);
}

static void on_opened(void *arg)
{
	struct session *s = arg;

	s->busy = true; /* until its first turn finds nothing to do */
	session_let_go(s, s->given_bytes);
	s->given_bytes = 0;
	s->pace_ms = METER_FIRST_MS;
	if (s->carried >= 0) {
		s->carrying = box_file(s->box, INIT_PUT, "", s->carried, on_carried, s) ==
			      0;
		fd_close(&s->carried);
	}
	files_opened(s);
	session_turn(s);
}

static void on_ended(void *arg)
{
	struct session *s = arg;

	s->over = true;
	loop_timer_cancel(&s->idle_timer);
	if (s->box->running)
		execution_box_ended(s->box->running);
	else
		session_turn_soon(s);
}

static void on_answered(void *arg, const char *data, size_t len)
{
	inspect_answered(arg, data, len);
}

/* request: NULL for a session that begins again. */
static int make_box(struct session *s, const struct session_request *request,
		    struct box **ret, struct sbx_err *err)
{
	const struct box_owner owner = {
		.opened = on_opened, .ended = on_ended, .answered = on_answered, .arg = s
	};
	struct box_spec spec = {
		.policy = &s->policy, .cwd = s->cwd, .peer_fd = -1, .after = s->box
	};

	if (request) {
		spec.files = request->files;
		spec.file_count = request->file_count;
		spec.peer_fd = request->peer_fd;
		spec.remote = request->remote;
		spec.caller = request->caller;
	}
	return box_new(s->engine, &spec, &owner, ret, err);
}

/* ---- from outside ---- */

int session_new(struct engine *engine, const struct session_request *request,
		const struct session_events *events, struct session **ret,
		struct sbx_err *err)
{
	struct sbx_err own = { 0 };
	struct session *s;
	int r = 0;

	err = err ? err : &own;
	if (engine->session_count >= engine->session_max)
		return err_set(err, SBX_AT_BUSY, EAGAIN, "there are %zu sessions",
			       engine->session_count);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "a session");
	s->engine = engine;
	s->last = &s->first;
	s->carried = -1;
	s->created_s = s->used_s = time(NULL);
	s->idle_timeout_s = request->idle_timeout_s ? request->idle_timeout_s
						    : engine->session_idle_s;
	s->unsure = request->file_count > 0;
	s->cwd = request->cwd ? strdup(request->cwd) : NULL;
	if (policy_copy(&s->policy, request->policy) < 0 || (request->cwd && !s->cwd) ||
	    engine_new_id(s->id) < 0)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "a session");
	for (size_t i = 0; i < request->file_count; i++)
		s->given_bytes += request->files[i].len;
	if (r == 0)
		r = session_keep(s, s->given_bytes, err);
	if (r == 0)
		r = make_box(s, request, &s->box, err);
	if (r < 0) {
		session_free(s);
		return r;
	}
	if (events)
		s->events = *events;
	s->next = engine->sessions;
	engine->sessions = s;
	engine->session_count++;
	engine->begun++;
	*ret = s;
	return 0;
}

void session_interrupt(struct session *s)
{
	struct execution *x = s->box->running;

	/* One that is over is there until its end is told. */
	if (!x || x->state > RUNNING)
		x = s->first;
	if (x)
		execution_interrupt(x);
}

int session_restart(struct session *s, struct sbx_err *err)
{
	struct execution *x = s->box->running;

	if (s->restarting)
		return 0;
	if (s->box->state != BOX_OPEN)
		return err_set(err, SBX_AT_BUSY, EAGAIN, "the session is %s",
			       s->box->state == BOX_ENDING ? "ending" : "starting");
	s->restarting = true;
	stop_queue(s, STOP_CANCELLED, "");
	if (x && x->stop == STOP_NONE)
		x->stop = STOP_CANCELLED;
	s->box->collects = s->box->contents = true;
	box_end(s->box, STOP_NONE);
	changed(s);
	return 0;
}

void session_end(struct session *s, const char *reason)
{
	s->restarting = false;
	session_says(s, reason);
	stop_queue(s, STOP_CANCELLED, "");
	box_end(s->box, STOP_CANCELLED);
}

bool session_is_ending(const struct session *s)
{
	return s->box->state == BOX_ENDING && !s->restarting;
}

const char *session_id(const struct session *s)
{
	return s->id;
}

struct session *engine_session(struct engine *engine, const char *id)
{
	for (struct session *s = engine->sessions; s; s = s->next)
		if (strcmp(s->id, id) == 0)
			return s;
	return NULL;
}

void engine_sessions(struct engine *engine,
		     void (*fn)(void *arg, struct session *session), void *arg)
{
	for (struct session *s = engine->sessions; s; s = s->next)
		fn(arg, s);
}

static json_t *timestamp(time_t at)
{
	char text[32];
	struct tm tm;

	(void)gmtime_r(&at, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static const char *state_of(const struct session *s)
{
	if (s->restarting || s->box->state < BOX_OPEN)
		return "starting";
	if (s->box->state == BOX_ENDING)
		return "ended";
	return s->box->running || s->first || s->answering ? "busy" : "idle";
}

json_t *session_describe(struct session *s)
{
	struct box *box = s->box;
	struct template *template = box->worker ? worker_template(box->worker) : NULL;

	if (box->has_meter && box->state == BOX_OPEN)
		meter_read(&box->meter);
	return json_pack(
		"{s:s,s:s,s:o,s:o,s:I,s:I,s:o,s:o,s:I}", "id", s->id, "state",
		state_of(s), "created_at", timestamp(s->created_s), "used_at",
		timestamp(s->used_s), "executions", (json_int_t)s->count,
		"idle_timeout_s", (json_int_t)s->idle_timeout_s, "policy",
		policy_to_json_redacted(&s->policy), "template",
		result_template(&s->policy, box->python,
				template ? template_python_version(template) : 0),
		"memory_bytes",
		(json_int_t)(box->has_meter ? box->meter.usage.memory_bytes : 0));
}

void engine_session_limits(struct engine *engine, size_t max, uint32_t idle_s)
{
	engine->session_max = max;
	engine->session_idle_s = idle_s;
}

void session_end_all(struct engine *engine)
{
	while (engine->sessions) {
		engine->sessions->quiet = true;
		session_free(engine->sessions);
	}
}
