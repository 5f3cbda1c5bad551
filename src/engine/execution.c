/* SPDX-License-Identifier: MIT
 * Purpose: a run from its first instruction to its result: watches it, ends it, says what
 * happened (execution.h).
 * Process: the engine, on its loop.
 * Trusts: jailer, init, zygote and broker; of the worker nothing once WORKER_STARTED was
 * received.
 * Invariants: states go one way: QUEUED -> SETUP -> STARTING -> RUNNING -> ENDING ->
 *   done(). From STARTING on the jail is sealed and every limit is set. The verdict is
 *   formed only when the jail's pid namespace is empty. The first reason to end a run is
 *   the one that counts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/execution.h"
#include "engine/grants.h"

#define COLLECT_US 500000u /* the init looks through what the program left */
#define EXIT_US 2000000u   /* from killing a jail to its end */
#define NOTIFY_BURST 100u
#define NOTIFY_PER_SECOND 50u

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
	pool_forget(&x->take);
	admission_done(&x->ticket);
	loop_timer_cancel(&x->timer);
	loop_timer_cancel(&x->now_timer);
	network_free(&x->network);
	notify_free(&x->notify);
	if (x->has_meter)
		meter_stop(&x->meter);
	if (x->has_stdio)
		stdio_free(&x->stdio);
	for (int i = 0; i < 3; i++)
		fd_close(&x->theirs[i]);
	grants_free(x);
	if (x->worker)
		pool_release(x->pool, &x->worker);
	fd_close(&x->peer_fd);
	collect_free(&x->collect);
	events_free(&x->events);
	json_decref(x->done);
	policy_clear(&x->policy);
	for (size_t i = 0; i < x->file_count; i++) {
		free((char *)x->files[i].name);
		free((char *)x->files[i].data);
	}
	free(x->files);
	free(x->code);
	free(x->filename);
	free(x->cwd);
	free(x->stdin_data);
	free(x->python);
	free(x);
}

static const char *limits_kept_by(const struct execution *x)
{
	const struct cgroup_host *host = &x->engine->host.hello.cgroup;

	return host->version == CGROUP_NONE ? "rlimit+supervised" : cgroup_name(host);
}

static void limit_event(struct execution *x, const char *source, const char *field,
			const char *text)
{
	char remedy[96];
	struct event event = { .source = source,
			       .kind = "limit",
			       .subject = text,
			       .rule = field,
			       .remedy = remedy };
	uint64_t now = x->ended_us ? x->ended_us : loop_now_us();
	const json_t *added;

	(void)snprintf(remedy, sizeof(remedy), "raise %s", field);
	added = events_add(&x->events, x->started_us ? (now - x->started_us) / 1000 : 0,
			   &event);
	if (added && x->sink.event)
		x->sink.event(x->sink.arg, added);
}

/* The limit that made the verdict is an event, too, so that a reader of events alone
 * misses nothing. */
static void note_verdict(struct execution *x, const struct outcome_facts *facts)
{
	/* Without a cgroup it rests on the interpreter's word where nobody stopped it. */
	const char *source = facts->stop == STOP_NONE && facts->oom_kills == 0 &&
					     facts->supervised
				     ? "python"
				     : "supervisor";
	json_t *error = NULL;
	enum sbx_status status = outcome_status(facts, &error);

	json_decref(error);
	switch (status) {
	case SBX_TIMEOUT:
		limit_event(x, source, "max_execution_time", "wall time");
		break;
	case SBX_MEMORY:
		limit_event(x, source, "max_memory_mb", "memory");
		break;
	case SBX_CPU:
		limit_event(x, source, "max_cpu_time", "CPU time");
		break;
	case SBX_PROCESSES:
		limit_event(x, source, "max_processes", "processes and threads");
		break;
	case SBX_OUTPUT:
		limit_event(x, source, "max_output_bytes", "output");
		break;
	case SBX_DISK:
		limit_event(x, source, "max_disk_mb", "private disk");
		break;
	case SBX_OK:
	case SBX_ERROR:
	case SBX_DENIED:
	case SBX_KILLED:
	case SBX_FAULT:
		break;
	}
}

/* What the kernel counted of the process's writes may be out of reach (its file belongs
 * to the worker's uid) or have come too early. What certainly was written: its output,
 * and what its private disk holds at the end. */
static void note_written(struct execution *x)
{
	uint64_t seen = x->disk_used_bytes;

	for (int i = 0; x->has_stdio && i < 2; i++)
		seen += x->stdio.streams[i].kept.total;
	if (x->has_meter && seen > x->meter.usage.written_bytes)
		x->meter.usage.written_bytes = seen;
}

/* The kernel cannot say which line it was; where the exception of a denial ended the
 * program, the interpreter does. */
static void note_line(struct execution *x)
{
	const json_t *error = json_object_get(x->done, "error");
	const char *cause = json_string_value(json_object_get(x->done, "cause"));

	if (cause && strcmp(cause, "denied") == 0)
		events_claim_line(&x->events, (long)json_integer_value(
						      json_object_get(error, "line")));
}

/* What the connection broker has left to tell, and what was transferred. */
static void note_network(struct execution *x, struct result_parts *parts)
{
	uint64_t dropped;

	if (!x->network)
		return;
	network_finish(x->network, &parts->network);
	dropped = network_dropped(x->network);
	x->events.denials += dropped;
	x->events.dropped += dropped;
}

static bool is_refusal(const struct execution *x)
{
	if (x->stop != STOP_FAULT || x->started_us)
		return false;
	return (x->fault.stage >= SBX_AT_USAGE && x->fault.stage <= SBX_AT_INTERPRETER) ||
	       x->fault.stage == SBX_AT_BUSY;
}

/* What was passed between the last look and the end counts as well. */
static enum outcome_stop late_stop(const struct execution *x)
{
	if (x->stop != STOP_NONE)
		return x->stop;
	if (x->has_stdio && x->stdio.flooded)
		return STOP_OUTPUT;
	if (x->has_meter && x->policy.max_cpu_time > 0 &&
	    (double)x->meter.usage.cpu_us >= x->policy.max_cpu_time * 1e6)
		return STOP_CPU;
	return STOP_NONE;
}

static void finish(struct execution *x)
{
	struct template *template = x->worker ? worker_template(x->worker) : NULL;
	struct meter_usage none = { 0 };
	struct outcome_facts facts = { .policy = &x->policy,
				       .stop = x->stop,
				       .fault = x->fault,
				       .done = x->done,
				       .done_error = x->done_error,
				       .exited = x->exited,
				       .wait_status = x->wait_status };
	struct result_parts parts = { .id = x->id,
				      .facts = &facts,
				      .usage = &none,
				      .events = &x->events,
				      .python = x->python };
	bool supervised = x->engine->host.hello.cgroup.version == CGROUP_NONE;
	json_t *result;

	if (x->has_stdio) {
		stdio_drain(&x->stdio);
		parts.stdio = &x->stdio;
	}
	if (x->has_meter) {
		meter_stop(&x->meter);
		meter_read(&x->meter);
		/* The supervisor's last sample is older than the end; the zygote's wait
		 * has it all for the main process. */
		if (x->exit_cpu_us > x->meter.usage.cpu_us && supervised)
			x->meter.usage.cpu_us = x->exit_cpu_us;
		parts.usage = &x->meter.usage;
		facts.oom_kills = x->meter.usage.oom_kills;
		facts.memory_refused = x->meter.usage.memory_refused;
		facts.processes_refused = x->meter.usage.processes_refused;
		facts.memory_peak_bytes = x->meter.usage.memory_peak_bytes;
		facts.processes_peak = x->meter.usage.processes_peak;
	}
	facts.stop = late_stop(x);
	facts.supervised = supervised;
	facts.disk_used_bytes = x->disk_used_bytes;
	facts.disk_used_inodes = x->disk_used_inodes;
	facts.disk_inodes = (uint64_t)x->policy.max_disk_mb * INODES_PER_MB;
	note_written(x);
	note_network(x, &parts);
	facts.denials = x->events.denials;
	note_line(x);
	note_verdict(x, &facts);
	if (x->started_us) {
		parts.wall_us = x->ended_us - x->started_us;
		parts.walls = x->walls;
	}
	parts.limits = limits_kept_by(x);
	parts.python_version = template ? template_python_version(template) : 0;
	x->finished = true;
	if (x->sink.refused && is_refusal(x)) {
		x->sink.refused(x->sink.arg, &x->fault);
	} else {
		parts.files = collect_list(x->collect);
		parts.files_omitted = collect_omitted(x->collect);
		result = result_make(&parts);
		if (x->sink.file)
			collect_contents(x->collect, x->sink.file, x->sink.arg);
		x->sink.done(x->sink.arg, result);
		json_decref(result);
	}
	execution_release(x);
}

static void on_finish(void *arg)
{
	struct execution *x = arg;

	loop_timer_cancel(&x->now_timer);
	finish(x);
}

/* On the loop, with nothing of ours on the stack. */
void execution_finish_soon(struct execution *x)
{
	if (x->finished || x->now_timer)
		return;
	if (loop_timer_at(x->engine->loop, &x->now_timer, loop_now_us(), on_finish, x) <
	    0)
		finish(x);
}

static void on_patience(void *arg)
{
	struct execution *x = arg;

	/* A jail that does not die within two seconds of SIGKILL hangs in the kernel. It
	 * is not our verdict that is in doubt then, but whether everything is gone: say
	 * so. */
	loop_timer_cancel(&x->timer);
	(void)err_set(&x->fault, SBX_AT_JAIL, 0,
		      "the jail did not end within two seconds of being killed");
	x->stop = STOP_FAULT;
	execution_finish_soon(x);
}

/* How full the private file system is, as seen through the init, which lives until we
 * kill it. */
static void look_at_disk(struct execution *x)
{
	char path[64];
	struct statfs fs;
	pid_t pid;

	if (fd_pidfd_host_pid(worker_init_pidfd(x->worker), &pid) < 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/root/dev/shm", (int)pid);
	if (statfs(path, &fs) < 0)
		return;
	x->disk_used_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
	x->disk_used_inodes = (uint64_t)(fs.f_files - fs.f_ffree);
}

static void kill_jail(struct execution *x)
{
	worker_kill(x->worker);
	(void)loop_timer_at(x->engine->loop, &x->timer, loop_now_us() + EXIT_US,
			    on_patience, x);
	if (x->gone)
		execution_finish_soon(x);
}

static void on_collected(void *arg)
{
	kill_jail(arg);
}

static void on_collect_late(void *arg)
{
	struct execution *x = arg;

	loop_timer_cancel(&x->timer);
	kill_jail(x);
}

/* Whatever was left: most programs leave nothing, and then nobody is asked. Files that
 * came with the request may have been replaced one by one. */
static bool left_something(const struct execution *x)
{
	return x->file_count > 0 || x->disk_first_inodes == 0 ||
	       x->disk_used_inodes == 0 || x->disk_used_inodes > x->disk_first_inodes;
}

/* True: kill_jail() will be called. */
static bool begin_collect(struct execution *x)
{
	if (!x->started_us || x->gone || x->stop == STOP_CANCELLED ||
	    x->stop == STOP_FAULT || !left_something(x) ||
	    collect_begin(x->engine->loop, x->worker, x->sink.file != NULL, on_collected,
			  x, &x->collect) < 0)
		return false;
	return loop_timer_at(x->engine->loop, &x->timer, loop_now_us() + COLLECT_US,
			     on_collect_late, x) == 0;
}

void execution_end(struct execution *x, enum outcome_stop stop)
{
	if (x->stop == STOP_NONE && x->state != ENDING)
		x->stop = stop;
	if (x->state == ENDING)
		return;
	x->ended_us = loop_now_us();
	if (!x->worker) {
		x->state = ENDING;
		pool_forget(&x->take);
		execution_finish_soon(x);
		return;
	}
	x->state = ENDING;
	if (x->network)
		network_stop(x->network);
	/* Denials that wait for their answer are told of before the program is gone. */
	if (x->notify)
		notify_drain(x->notify);
	if (x->has_meter)
		meter_read(&x->meter);
	if (x->started_us)
		look_at_disk(x);
	/* A throttled process dies only in its next turn: the group's kill lifts the
	 * quota first. The init is not in the group. */
	if (x->stop != STOP_NONE && x->engine->host.hello.cgroup.version != CGROUP_NONE)
		(void)cgroup_kill(&x->engine->host.hello.cgroup,
				  worker_serial(x->worker));
	if (!begin_collect(x))
		kill_jail(x);
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

/* ---- while it runs ---- */

static void on_flood(void *arg)
{
	execution_end(arg, STOP_OUTPUT);
}

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct execution *x = arg;

	if (x->sink.output)
		x->sink.output(x->sink.arg, stream, data, len);
}

static void on_taken(void *arg, size_t len)
{
	struct execution *x = arg;

	if (x->sink.stdin_taken)
		x->sink.stdin_taken(x->sink.arg, len);
}

static uint64_t at_ms(const struct execution *x)
{
	return x->started_us ? (loop_now_us() - x->started_us) / 1000 : 0;
}

static void on_denial(void *arg, const struct notify_denial *denial)
{
	struct execution *x = arg;
	struct event event = { .source = "kernel",
			       .kind = denial->call->kind,
			       .rule = denial->call->rule,
			       .subject = denial->subject[0] ? denial->subject
							     : denial->call->name,
			       .remedy = denial->call->remedy,
			       .count = 1 };
	const json_t *added;

	x->events.denials += denial->dropped;
	x->events.dropped += denial->dropped;
	added = events_add(&x->events, at_ms(x), &event);
	if (added && x->sink.event)
		x->sink.event(x->sink.arg, added);
}

void execution_network_event(void *arg, const struct event *event, uint64_t at_us)
{
	struct execution *x = arg;
	const json_t *added;

	added = events_add(&x->events,
			   x->started_us && at_us > x->started_us
				   ? (at_us - x->started_us) / 1000
				   : 0,
			   event);
	if (added && x->sink.event)
		x->sink.event(x->sink.arg, added);
}

void execution_usage(void *arg, const struct meter_usage *usage)
{
	struct execution *x = arg;
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

static void on_started(struct execution *x, int listener)
{
	struct sbx_err err = { 0 };

	if (x->state != STARTING) {
		fd_close(&listener);
		return;
	}
	x->state = RUNNING;
	x->started_us = loop_now_us();
	if (listener >= 0 &&
	    notify_new(x->engine->loop, listener, NOTIFY_BURST, NOTIFY_PER_SECOND,
		       on_denial, x, &x->notify, &err) < 0) {
		execution_fault(x, &err);
		return;
	}
	if (x->network && (!x->notify || network_start(x->network, x->notify) < 0)) {
		execution_fault_with(x, SBX_AT_WALL, 0,
				     "the connection broker could not be started");
		return;
	}
	meter_start(&x->meter);
	if (loop_timer_at(x->engine->loop, &x->timer,
			  x->started_us + (uint64_t)(x->policy.max_execution_time * 1e6),
			  on_deadline, x) < 0)
		execution_fault_with(x, SBX_AT_ENGINE, ENOMEM, "timer");
}

/* Once a run, so that a program cannot keep us busy with it. */
static void look(struct execution *x)
{
	const struct init_request request = { .op = INIT_LOOK };

	if (x->state != RUNNING || x->look_asked ||
	    x->engine->host.hello.cgroup.version != CGROUP_NONE)
		return;
	x->look_asked = true;
	x->look_due = worker_init_request(x->worker, &request, -1) == 0;
	if (!x->look_due)
		(void)worker_looked(x->worker);
}

static void on_frame(void *arg, uint32_t type, const char *data, size_t len, int fd)
{
	struct execution *x = arg;
	struct sbx_err err;
	const json_t *added;

	switch ((enum worker_frame)type) {
	case WORKER_STARTED:
		on_started(x, fd);
		return;
	case WORKER_FAILED:
		if (x->state == STARTING && len == sizeof(err)) {
			memcpy(&err, data, sizeof(err));
			err_sanitize(&err);
			execution_fault(x, &err);
		}
		break;
	case WORKER_EVENT:
		if (x->state != RUNNING)
			break;
		added = events_add_claim(&x->events, at_ms(x), data, len);
		if (added && x->sink.event)
			x->sink.event(x->sink.arg, added);
		break;
	case WORKER_DONE:
		/* The first counts; a second would be the program's own. */
		if (x->state != RUNNING || x->done || x->done_error)
			break;
		x->done = outcome_parse(data, len, &x->done_error);
		meter_read(&x->meter);
		break;
	case WORKER_LOOK:
		look(x);
		break;
	case WORKER_RUN:
	case WORKER_LOOKED:
	case WORKER_WAITING:
		break;
	}
	fd_close(&fd);
}

static void on_exited(void *arg, int wait_status, uint64_t cpu_us)
{
	struct execution *x = arg;

	x->exited = true;
	x->wait_status = wait_status;
	x->exit_cpu_us = cpu_us;
	/* Its first and last words came by another socket than this news, and may be
	 * behind it. */
	if (x->state == STARTING || x->state == RUNNING)
		worker_drain(x->worker);
	if (x->state == STARTING || x->state == SETUP) {
		execution_fault_with(
			x, SBX_AT_WORKER, 0,
			"the worker ended before the program's first instruction");
		return;
	}
	/* Whatever it has left running in its jail ends with it. */
	execution_end(x, STOP_NONE);
}

static void on_gone(void *arg)
{
	struct execution *x = arg;

	x->gone = true;
	if (x->state == ENDING) {
		execution_finish_soon(x);
		return;
	}
	execution_fault_with(
		x, SBX_AT_JAIL, 0,
		"the jail ended by itself: its init, template or jailer is gone");
}

static void on_init(void *arg, const struct init_report *report)
{
	struct execution *x = arg;

	switch ((enum init_report_kind)report->kind) {
	case INIT_DONE:
		if (report->tmpfs_inodes > 0)
			x->disk_first_inodes = report->tmpfs_inodes;
		if (x->look_due) {
			x->look_due = false;
			(void)worker_looked(x->worker);
		} else {
			setup_answered(x);
		}
		break;
	case INIT_FAILED:
		execution_fault(x, &report->err);
		break;
	case INIT_USAGE:
		meter_report(&x->meter, report);
		break;
	case INIT_EXCEEDED:
		meter_report(&x->meter, report);
		execution_end(x, STOP_MEMORY);
		break;
	case INIT_READY:
		break;
	}
}

static void on_names(void *arg, int fd)
{
	struct execution *x = arg;

	if (!x->network || x->state != SETUP)
		fd_close(&fd);
	else if (network_names(x->network, fd) < 0)
		execution_fault_with(x, SBX_AT_JAIL, 0, "the jail's socket for names");
}

static void on_failed(void *arg, struct worker *worker, const struct sbx_err *err)
{
	(void)worker;
	execution_fault(arg, err);
}

void execution_events(struct execution *x, struct worker_events *ret)
{
	*ret = (struct worker_events){ .init = on_init,
				       .names = on_names,
				       .frame = on_frame,
				       .exited = on_exited,
				       .gone = on_gone,
				       .failed = on_failed,
				       .arg = x };
}

void execution_streams(struct execution *x, struct stdio_events *ret)
{
	*ret = (struct stdio_events){ on_output, on_taken, on_flood, x };
}

/* ---- from outside ---- */

int execution_stdin(struct execution *x, const char *data, size_t len)
{
	char *grown;

	if (x->has_stdio)
		return stdio_in(&x->stdio, data, len);
	if (x->state >= STARTING)
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
	if (x->has_stdio)
		stdio_in_close(&x->stdio);
}

void execution_hold_output(struct execution *x, bool hold)
{
	x->hold = hold;
	if (x->has_stdio)
		stdio_hold(&x->stdio, hold);
}

void execution_cancel(struct execution *x)
{
	execution_end(x, STOP_CANCELLED);
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
