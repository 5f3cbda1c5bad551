/* SPDX-License-Identifier: MIT
 * Purpose: a jail from the pool's queue to its empty pid namespace (box.h).
 * Process: the engine, on its loop.
 * Trusts: jailer, init, zygote and broker; of the worker nothing once WORKER_STARTED was
 * received.
 * Invariants: states go one way: QUEUED -> SETUP -> STARTING -> OPEN -> ENDING -> ended().
 *   From STARTING on the jail is sealed and every limit is set. The first reason to end it
 *   is the one that counts. */
#include "engine/box.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/execution.h"
#include "engine/grants.h"
#include "zygote/interpreter.h"

#define SETUP_US 10000000u /* from taking a worker to its walls */
#define COLLECT_US 500000u /* the init looks through what the program left */
#define EXIT_US 2000000u   /* from killing a jail to its end */
#define NOTIFY_BURST 100u
#define NOTIFY_PER_SECOND 50u

struct box_call {
	struct box_call *next;
	box_file_fn fn; /* NULL: forgotten */
	void *arg;
};

bool box_supervised(const struct box *box)
{
	return box->engine->host.hello.cgroup.version == CGROUP_NONE;
}

/* ---- its end ---- */

/* For the callee it is as if the init had answered. */
static void fail_calls(struct box *box)
{
	struct box_call *call;
	struct sbx_err err = { 0 };

	(void)err_set(&err, SBX_AT_USAGE, 0, "the session has ended");
	while ((call = box->calls)) {
		box->calls = call->next;
		if (!call->next)
			box->calls_end = &box->calls;
		if (call->fn)
			call->fn(call->arg, &err, -1, 0);
		free(call);
	}
}

void box_free(struct box **b)
{
	struct box *box = *b;

	*b = NULL;
	if (!box)
		return;
	pool_forget(&box->take);
	admission_done(&box->ticket);
	loop_timer_cancel(&box->timer);
	loop_timer_cancel(&box->now_timer);
	network_free(&box->network);
	notify_free(&box->notify);
	if (box->has_meter)
		meter_stop(&box->meter);
	if (box->has_stdio)
		stdio_free(&box->stdio);
	for (int i = 0; i < 3; i++)
		fd_close(&box->theirs[i]);
	grants_free(box);
	if (box->worker)
		pool_release(box->pool, &box->worker);
	fail_calls(box);
	fd_close(&box->archive);
	collect_free(&box->collect);
	events_free(&box->between);
	policy_clear(&box->policy);
	buf_free(&box->given);
	free(box->cwd);
	free(box->python);
	free(box);
}

static void on_ended(void *arg)
{
	struct box *box = arg;

	loop_timer_cancel(&box->timer);
	loop_timer_cancel(&box->now_timer);
	box->owner.ended(box->owner.arg);
}

/* On the loop, with nothing of ours on the stack. */
static void ended_soon(struct box *box)
{
	if (!box->now_timer && loop_timer_at(box->engine->loop, &box->now_timer,
					     loop_now_us(), on_ended, box) < 0)
		on_ended(box);
}

static void on_patience(void *arg)
{
	struct box *box = arg;

	/* A jail that does not die within two seconds of SIGKILL hangs in the kernel. It
	 * is not our verdict that is in doubt then, but whether everything is gone: say
	 * so. */
	loop_timer_cancel(&box->timer);
	(void)err_set(&box->fault, SBX_AT_JAIL, 0,
		      "the jail did not end within two seconds of being killed");
	box->stop = STOP_FAULT;
	ended_soon(box);
}

/* As seen through the init, which lives until we kill it. */
void box_look_at_disk(struct box *box)
{
	char path[64];
	struct statfs fs;
	pid_t pid;

	if (fd_pidfd_host_pid(worker_init_pidfd(box->worker), &pid) < 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/root/dev/shm", (int)pid);
	if (statfs(path, &fs) < 0)
		return;
	box->disk_used_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) *
			       (uint64_t)fs.f_bsize;
	box->disk_used_inodes = (uint64_t)(fs.f_files - fs.f_ffree);
}

static void kill_jail(struct box *box)
{
	worker_kill(box->worker);
	(void)loop_timer_at(box->engine->loop, &box->timer, loop_now_us() + EXIT_US,
			    on_patience, box);
	if (box->gone)
		ended_soon(box);
}

static void on_collected(void *arg)
{
	kill_jail(arg);
}

static void on_collect_late(void *arg)
{
	struct box *box = arg;

	loop_timer_cancel(&box->timer);
	kill_jail(box);
}

/* Files that were given may have been replaced one by one. */
bool box_left_something(const struct box *box)
{
	return box->given_count > 0 || box->disk_first_inodes == 0 ||
	       box->disk_used_inodes == 0 ||
	       box->disk_used_inodes > box->disk_first_inodes;
}

/* True: kill_jail() will be called. */
static bool begin_collect(struct box *box)
{
	const struct collect_asked asked = { .contents = box->contents,
					     .all = box->session,
					     .since_ns = box->contents_since_ns };

	if (!box->collects || !box->started || box->gone || box->stop == STOP_CANCELLED ||
	    box->stop == STOP_FAULT || !box_left_something(box) ||
	    collect_begin(box->engine->loop, box->worker, &asked, on_collected, box,
			  &box->collect) < 0)
		return false;
	return loop_timer_at(box->engine->loop, &box->timer, loop_now_us() + COLLECT_US,
			     on_collect_late, box) == 0;
}

void box_end(struct box *box, enum outcome_stop stop)
{
	if (box->state == BOX_ENDING)
		return;
	if (box->stop == STOP_NONE)
		box->stop = stop;
	box->state = BOX_ENDING;
	box->ended_us = loop_now_us();
	loop_timer_cancel(&box->timer);
	if (!box->worker) {
		pool_forget(&box->take);
		ended_soon(box);
		return;
	}
	if (box->network)
		network_stop(box->network);
	/* Denials that wait for their answer are told of before the program is gone. */
	if (box->notify)
		notify_drain(box->notify);
	if (box->has_meter)
		meter_read(&box->meter);
	if (box->started)
		box_look_at_disk(box);
	/* A throttled process dies only in its next turn: the group's kill lifts the
	 * quota first. The init is not in the group. */
	if (box->stop != STOP_NONE && !box_supervised(box))
		(void)cgroup_kill(&box->engine->host.hello.cgroup,
				  worker_serial(box->worker));
	if (!begin_collect(box))
		kill_jail(box);
}

void box_fault(struct box *box, const struct sbx_err *err)
{
	if (box->stop == STOP_NONE && box->state != BOX_ENDING)
		box->fault = *err;
	box_end(box, STOP_FAULT);
}

void box_fault_with(struct box *box, enum sbx_stage stage, int errnum, const char *what)
{
	struct sbx_err err = { 0 };

	(void)err_set(&err, stage, errnum, "%s", what);
	box_fault(box, &err);
}

/* ---- what its programs do ---- */

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct box *box = arg;

	if (box->running)
		execution_output(box->running, stream, data, len);
}

static void on_taken(void *arg, size_t len)
{
	struct box *box = arg;

	if (box->running)
		execution_taken(box->running, len);
}

static void on_flood(void *arg)
{
	struct box *box = arg;

	if (box->running)
		execution_flood(box->running);
}

void box_streams(struct box *box, struct stdio_events *ret)
{
	*ret = (struct stdio_events){ on_output, on_taken, on_flood, box };
}

/* Threads that programs have left behind do things, too: the next one hears of it. */
static void tell(struct box *box, const struct event *event, uint64_t at_us,
		 uint64_t dropped)
{
	if (box->running) {
		execution_denial(box->running, event, at_us, dropped);
		return;
	}
	box->between.denials += dropped;
	box->between.dropped += dropped;
	(void)events_add(&box->between, 0, event);
}

static void on_denial(void *arg, const struct notify_denial *denial)
{
	const struct event event = { .source = "kernel",
				     .kind = denial->call->kind,
				     .rule = denial->call->rule,
				     .subject = denial->subject[0] ? denial->subject
								   : denial->call->name,
				     .remedy = denial->call->remedy,
				     .count = 1 };

	tell(arg, &event, loop_now_us(), denial->dropped);
}

void box_network_event(void *arg, const struct event *event, uint64_t at_us)
{
	tell(arg, event, at_us, 0);
}

void box_usage(void *arg, const struct meter_usage *usage)
{
	struct box *box = arg;

	if (box->running)
		execution_usage(box->running, usage);
}

/* ---- what its worker says ---- */

static void on_started(struct box *box, int listener)
{
	struct sbx_err err = { 0 };

	if (box->state != BOX_STARTING || box->started) {
		fd_close(&listener);
		return;
	}
	box->state = BOX_OPEN;
	box->started = true;
	loop_timer_cancel(&box->timer);
	if (listener >= 0 &&
	    notify_new(box->engine->loop, listener, NOTIFY_BURST, NOTIFY_PER_SECOND,
		       on_denial, box, &box->notify, &err) < 0) {
		box_fault(box, &err);
		return;
	}
	if (box->network &&
	    (!box->notify || network_start(box->network, box->notify) < 0)) {
		box_fault_with(box, SBX_AT_WALL, 0,
			       "the connection broker could not be started");
		return;
	}
	box->owner.opened(box->owner.arg);
}

static void on_frame(void *arg, uint32_t type, const char *data, size_t len, int fd)
{
	struct box *box = arg;
	struct sbx_err err;

	switch ((enum worker_frame)type) {
	case WORKER_STARTED:
		on_started(box, fd);
		return;
	case WORKER_FAILED:
		if (box->state == BOX_STARTING && len == sizeof(err)) {
			memcpy(&err, data, sizeof(err));
			err_sanitize(&err);
			box_fault(box, &err);
		}
		break;
	case WORKER_EVENT:
		if (box->state == BOX_OPEN && !box->running)
			(void)events_add_claim(&box->between, 0, data, len);
		else if (box->state == BOX_OPEN)
			execution_frame(box->running, type, data, len);
		break;
	case WORKER_DONE:
	case WORKER_LOOK:
	case WORKER_DISPLAY:
		if (box->state == BOX_OPEN && box->running)
			execution_frame(box->running, type, data, len);
		break;
	case WORKER_ANSWER:
		if (box->state == BOX_OPEN && box->owner.answered)
			box->owner.answered(box->owner.arg, data, len);
		break;
	case WORKER_RUN:
	case WORKER_CELL:
	case WORKER_ASK:
	case WORKER_LOOKED:
	case WORKER_DISPLAYED:
	case WORKER_WAITING:
		break;
	}
	fd_close(&fd);
}

static void on_exited(void *arg, int wait_status, uint64_t cpu_us)
{
	struct box *box = arg;

	box->exited = true;
	box->wait_status = wait_status;
	box->exit_cpu_us = cpu_us;
	/* Its first and last words came by another socket than this news, and may be
	 * behind it. */
	if (box->state == BOX_STARTING || box->state == BOX_OPEN)
		worker_drain(box->worker);
	if (box->state == BOX_STARTING || box->state == BOX_SETUP) {
		box_fault_with(box, SBX_AT_WORKER, 0,
			       "the worker ended before the program's first instruction");
		return;
	}
	/* Whatever it has left running in its jail ends with it. */
	box_end(box, STOP_NONE);
}

static void on_gone(void *arg)
{
	struct box *box = arg;

	box->gone = true;
	if (box->state == BOX_ENDING) {
		ended_soon(box);
		return;
	}
	box_fault_with(box, SBX_AT_JAIL, 0,
		       "the jail ended by itself: its init, template or jailer is gone");
}

/* The init answers in order. */
static void answer_call(struct box *box, const struct init_report *report, int fd)
{
	struct box_call *call = box->calls;
	const struct sbx_err *err = report->kind == INIT_FILE_FAILED ? &report->err
								     : NULL;

	if (!call) {
		fd_close(&fd);
		return;
	}
	box->calls = call->next;
	if (!call->next)
		box->calls_end = &box->calls;
	if (call->fn)
		call->fn(call->arg, err, fd, report->tmpfs_bytes);
	else
		fd_close(&fd);
	free(call);
}

static void on_init(void *arg, const struct init_report *report, int fd)
{
	struct box *box = arg;

	switch ((enum init_report_kind)report->kind) {
	case INIT_DONE:
		if (report->tmpfs_inodes > 0)
			box->disk_first_inodes = report->tmpfs_inodes;
		if (fd >= 0 && (!box->network || box->state != BOX_SETUP))
			fd_close(&fd);
		else if (fd >= 0 && network_names(box->network, fd_take(&fd)) < 0)
			box_fault_with(box, SBX_AT_JAIL, 0,
				       "the jail's socket for names");
		if (box->state == BOX_SETUP)
			setup_answered(box);
		else if (box->running)
			execution_looked(box->running);
		break;
	case INIT_FAILED:
		box_fault(box, &report->err);
		break;
	case INIT_USAGE:
		meter_report(&box->meter, report);
		break;
	case INIT_EXCEEDED:
		meter_report(&box->meter, report);
		box_end(box, STOP_MEMORY);
		break;
	case INIT_FILE_DONE:
	case INIT_FILE_FAILED:
		answer_call(box, report, fd_take(&fd));
		break;
	case INIT_READY:
		break;
	}
	fd_close(&fd);
}

static void on_failed(void *arg, struct worker *worker, const struct sbx_err *err)
{
	(void)worker;
	box_fault(arg, err);
}

/* ---- what is asked of it ---- */

int box_send(struct box *box, const char *code, size_t code_len, const char *filename,
	     uint32_t count, int input, struct sbx_err *err)
{
	const struct worker_cell head = { .count = count,
					  .code_len = (uint32_t)code_len,
					  .filename_len = (uint32_t)strlen(filename),
					  .files_len = (uint32_t)box->given.len };
	_cleanup_buf_ struct buf cell = { 0 };
	int r = buf_add(&cell, &head, sizeof(head));

	if (r == 0)
		r = buf_add(&cell, code, code_len);
	if (r == 0)
		r = buf_add(&cell, filename, head.filename_len);
	if (r == 0 && box->given.len > 0)
		r = buf_add(&cell, box->given.data, box->given.len);
	if (r == 0)
		r = worker_send(box->worker, WORKER_CELL, cell.data, cell.len, input);
	return r < 0 ? err_set(err, SBX_AT_WORKER, -r, "the program to its worker") : 0;
}

int box_give(struct box *box, const char *name)
{
	const char *at = box->given.data, *end = at + box->given.len;

	for (; at < end; at += strlen(at) + 1)
		if (strcmp(at, name) == 0)
			return 0;
	if (box->given_count >= FILES_MAX)
		return -ENOSPC;
	box->given_count++;
	return buf_add(&box->given, name, strlen(name) + 1);
}

int box_file(struct box *box, enum init_op op, const char *path, int fd, box_file_fn fn,
	     void *arg)
{
	struct init_request *request = calloc(1, sizeof(*request));
	struct box_call *call = calloc(1, sizeof(*call));
	int r = request && call ? 0 : -ENOMEM;

	if (r == 0 && (box->state != BOX_OPEN || strlen(path) >= sizeof(request->path)))
		r = box->state != BOX_OPEN ? -EPIPE : -ENAMETOOLONG;
	if (r == 0) {
		request->op = op;
		memcpy(request->path, path, strlen(path) + 1);
		r = worker_init_request(box->worker, request, fd);
	}
	free(request);
	if (r < 0) {
		free(call);
		return r;
	}
	call->fn = fn;
	call->arg = arg;
	*box->calls_end = call;
	box->calls_end = &call->next;
	return 0;
}

void box_forget(struct box *box, void *arg)
{
	for (struct box_call *call = box->calls; call; call = call->next)
		if (call->arg == arg)
			call->fn = NULL;
}

int box_archive(const struct execution_file *files, size_t count)
{
	_cleanup_fd_ int archive = memfd_create("files", MFD_CLOEXEC);
	int r = archive < 0 ? -errno : 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct init_file head = {
			.name_len = (uint32_t)strlen(files[i].name), .len = files[i].len
		};

		r = fd_write_all(archive, &head, sizeof(head));
		if (r == 0)
			r = fd_write_all(archive, files[i].name, head.name_len);
		if (r == 0)
			r = fd_write_all(archive, files[i].data, files[i].len);
	}
	return r < 0 ? r : fd_take(&archive);
}

/* ---- making it ---- */

static void on_setup_timeout(void *arg)
{
	struct box *box = arg;

	loop_timer_cancel(&box->timer);
	box_fault_with(box, SBX_AT_JAIL, ETIMEDOUT, "the jail was not set up in time");
}

static void on_worker(void *arg, struct worker *worker, const struct sbx_err *err)
{
	struct box *box = arg;
	const struct worker_events events = { .init = on_init,
					      .frame = on_frame,
					      .exited = on_exited,
					      .gone = on_gone,
					      .failed = on_failed,
					      .arg = box };
	struct sbx_err mine = { 0 };

	box->take = NULL;
	if (!worker) {
		box_fault(box, err);
		return;
	}
	box->worker = worker;
	worker_take(worker, &events);
	if (box->running)
		box->running->taken_us = loop_now_us();
	box->state = BOX_SETUP;
	if (loop_timer_at(box->engine->loop, &box->timer, loop_now_us() + SETUP_US,
			  on_setup_timeout, box) < 0) {
		box_fault_with(box, SBX_AT_ENGINE, ENOMEM, "timer");
		return;
	}
	if (setup_begin(box, &mine) < 0)
		box_fault(box, &mine);
}

static int copy_spec(struct box *box, const struct box_spec *spec, struct sbx_err *err)
{
	int r = policy_copy(&box->policy, spec->policy);

	box->cwd = spec->cwd ? strdup(spec->cwd) : NULL;
	if (r < 0 || (spec->cwd && !box->cwd))
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	for (size_t i = 0; r == 0 && i < spec->file_count; i++)
		r = box_give(box, spec->files[i].name);
	if (r == 0 && spec->file_count > 0)
		r = box->archive = box_archive(spec->files, spec->file_count);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the files of a request");
	return 0;
}

static int prepare(struct box *box, const struct box_spec *spec, struct sbx_err *err)
{
	const char *python = box->policy.python;
	int r;

	r = engine_walls(box->engine, &box->policy, &box->walls, err);
	if (r < 0)
		return r;
	/* Whatever else may be missing: without these two a program would be in the
	 * host's network, or could not be given a connection. */
	if (box->policy.network_access &&
	    ((box->walls & (WALL_NET | WALL_SECCOMP)) != (WALL_NET | WALL_SECCOMP) ||
	     !box->engine->network_cookie))
		return err_set(
			err, SBX_AT_WALL, 0,
			"network_access takes a network namespace, seccomp and Linux "
			"5.14; `sandbox doctor` says what is missing");
	if (!python || !python[0])
		python = engine_default_python(box->engine, err);
	else if (box->engine->host.hello.root && spec->peer_fd >= 0)
		interpreter_admit(&box->engine->host, python, spec->peer_fd);
	if (!python)
		return -ENOENT;
	box->python = strdup(python);
	if (!box->python)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	return grants_resolve(box, spec, err);
}

/* Only now: a pool that nobody takes from may be given up at any time. */
static int take_worker(struct box *box, struct sbx_err *err)
{
	int r = engine_pool(box->engine, &box->policy, box->python, box->walls,
			    &box->pool, err);

	return r < 0 ? r : pool_take(box->pool, on_worker, box, &box->take, err);
}

static void on_admitted(void *arg)
{
	struct box *box = arg;
	struct sbx_err err = { 0 };

	if (box->state != BOX_ENDING && take_worker(box, &err) < 0)
		box_fault(box, &err);
}

/* 1: admitted. 0: it waits. A session that begins again has what it was promised. */
static int ask_admission(struct box *box, const struct box_spec *spec,
			 struct sbx_err *err)
{
	if (spec->after) {
		box->ticket = spec->after->ticket;
		spec->after->ticket = NULL;
		return 1;
	}
	return admission_ask(box->engine->admission,
			     box->session ? ADMISSION_SESSION : ADMISSION_RUN,
			     spec->caller, (uint64_t)box->policy.max_memory_mb << 20,
			     on_admitted, box, &box->ticket, err);
}

int box_new(struct engine *engine, const struct box_spec *spec,
	    const struct box_owner *owner, struct box **ret, struct sbx_err *err)
{
	struct box *box = calloc(1, sizeof(*box));
	int r;

	if (!box)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "a jail");
	box->engine = engine;
	box->owner = *owner;
	box->running = spec->running;
	box->session = !spec->running;
	box->archive = box->theirs[0] = box->theirs[1] = box->theirs[2] = -1;
	box->calls_end = &box->calls;
	box->collects = !box->session;
	box->contents = spec->running && spec->running->sink.file;
	r = copy_spec(box, spec, err);
	if (r == 0)
		r = prepare(box, spec, err);
	if (r == 0)
		r = ask_admission(box, spec, err);
	if (r > 0)
		r = take_worker(box, err);
	if (r < 0) {
		box->running = NULL;
		box_free(&box);
		return r;
	}
	*ret = box;
	return 0;
}
