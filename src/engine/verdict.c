/* SPDX-License-Identifier: MIT
 * Purpose: what happened to a program that is over: facts of its box and of its own into a
 *   result, which its sink gets (execution.h).
 * Process: the engine, on its loop.
 * Trusts: the box; of what the worker says nothing.
 * Invariants: called once for each, when its jail is empty or, in a session, its worker
 *   has said that it is over (INV-3); the execution is gone afterwards. */
#include <stdio.h>
#include <string.h>

#include "engine/execution.h"
#include "engine/session.h"

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
static void note_written(const struct execution *x, struct meter_usage *usage)
{
	const struct box *box = x->box;
	uint64_t seen = box->disk_used_bytes > x->disk_before_bytes
				? box->disk_used_bytes - x->disk_before_bytes
				: 0;

	for (int i = 0; box->has_stdio && i < 2; i++)
		seen += box->stdio.streams[i].kept.total;
	if (seen > usage->written_bytes)
		usage->written_bytes = seen;
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
static void note_network(struct execution *x)
{
	struct network *network = x->box->network;
	uint64_t dropped;

	if (!network)
		return;
	network_finish(network, &x->network, x->box->state != BOX_ENDING);
	dropped = network_dropped(network);
	x->events.denials += dropped - x->dropped_before;
	x->events.dropped += dropped - x->dropped_before;
}

static bool is_refusal(const struct execution *x)
{
	if (x->stop != STOP_FAULT || x->started_us)
		return false;
	return (x->fault.stage >= SBX_AT_USAGE && x->fault.stage <= SBX_AT_INTERPRETER) ||
	       x->fault.stage == SBX_AT_BUSY;
}

/* What was passed between the last look and the end counts as well. */
static enum outcome_stop late_stop(const struct execution *x,
				   const struct meter_usage *usage)
{
	if (x->stop != STOP_NONE)
		return x->stop;
	if (x->started_us && x->box->stdio.flooded)
		return STOP_OUTPUT;
	if (x->started_us && x->policy.max_cpu_time > 0 &&
	    (double)usage->cpu_us >= x->policy.max_cpu_time * 1e6)
		return STOP_CPU;
	return STOP_NONE;
}

/* The figures of a program whose box was there for it. */
static void measure(struct execution *x, struct outcome_facts *facts,
		    struct meter_usage *usage)
{
	struct box *box = x->box;

	if (!box)
		return;
	facts->exited = box->exited;
	facts->wait_status = box->wait_status;
	facts->disk_used_bytes = box->disk_used_bytes;
	facts->disk_used_inodes = box->disk_used_inodes;
	/* Of a session's only a program that had its turn. */
	if (x->session && !x->started_us)
		return;
	if (box->has_stdio && x->answered)
		stdio_take(&box->stdio);
	else if (box->has_stdio)
		stdio_drain(&box->stdio);
	if (box->has_meter) {
		meter_stop(&box->meter);
		meter_read(&box->meter);
		*usage = box->meter.usage;
		/* The supervisor's last sample is older than the end; the zygote's wait
		 * has it all for the main process. */
		if (!x->session && box_supervised(box) &&
		    box->exit_cpu_us > usage->cpu_us)
			usage->cpu_us = box->exit_cpu_us;
		facts->oom_kills = usage->oom_kills;
		facts->memory_refused = usage->memory_refused;
		facts->processes_refused = usage->processes_refused;
		facts->memory_peak_bytes = usage->memory_peak_bytes;
		facts->processes_peak = usage->processes_peak;
	}
	note_written(x, usage);
	note_network(x);
}

/* What it left: of a session's program, what is new or other than before it. */
static void tell_files(struct execution *x, struct result_parts *parts)
{
	const struct collect *left = x->session ? x->collect
				     : x->box   ? x->box->collect
						: NULL,
			     *known = x->session ? session_known(x->session) : NULL;

	parts->files = collect_list(left, known);
	parts->files_omitted = collect_omitted(left);
	if (x->sink.file)
		collect_contents(left, known, x->sink.file, x->sink.arg);
}

void execution_conclude(struct execution *x)
{
	struct session *session = x->session;

	if (x->refused)
		x->sink.refused(x->sink.arg, &x->fault);
	else
		x->sink.done(x->sink.arg, x->result);
	if (x->session && x->collect && x->answered)
		session_know(x->session, &x->collect);
	execution_release(x);
	if (session)
		session_turn(session);
}

static void hand_over(struct execution *x, struct result_parts *parts)
{
	x->refused = x->sink.refused && is_refusal(x);
	if (!x->refused) {
		tell_files(x, parts);
		x->result = result_make(parts);
	}
	if (x->sink.outcome)
		x->sink.outcome(x->sink.arg, x->result, x->refused ? &x->fault : NULL);
	else
		execution_conclude(x);
}

void verdict_reach(struct execution *x)
{
	struct box *box = x->box;
	struct template *template = box && box->worker ? worker_template(box->worker)
						       : NULL;
	struct meter_usage usage = { 0 };
	struct outcome_facts facts = {
		.policy = &x->policy,
		.fault = x->fault,
		.done = x->done,
		.done_error = x->done_error,
		.lives = x->answered,
		.supervised = x->engine->host.hello.cgroup.version == CGROUP_NONE,
		.disk_inodes = (uint64_t)x->policy.max_disk_mb * INODES_PER_MB
	};
	struct result_parts parts = { .id = x->id,
				      .facts = &facts,
				      .usage = &usage,
				      .events = &x->events,
				      .displays = &x->displays,
				      .python = box ? box->python : NULL };

	x->state = FINISHED;
	measure(x, &facts, &usage);
	facts.stop = late_stop(x, &usage);
	facts.denials = x->events.denials;
	note_line(x);
	note_verdict(x, &facts);
	if (x->started_us) {
		parts.wall_us = x->ended_us - x->started_us;
		parts.walls = box->walls;
		parts.stdio = &box->stdio;
	}
	parts.network = x->network;
	parts.limits = limits_kept_by(x);
	parts.python_version = template ? template_python_version(template) : 0;
	if (x->session) {
		parts.session = session_id(x->session);
		parts.count = x->count;
		parts.session_ended = session_why(x->session);
	}
	hand_over(x, &parts);
}
