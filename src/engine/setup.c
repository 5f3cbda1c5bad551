/* SPDX-License-Identifier: MIT
 * Purpose: puts a policy on a waiting worker's jail: limits of its cgroup, size of its
 *   disk, granted directories, standard streams, the seal; then has the worker put up its
 *   walls.
 * Process: the engine, on its loop. Trusts: broker, jailer and init.
 * Invariants: no program is sent before the init has answered every step, the seal
 * last. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/execution.h"
#include "engine/grants.h"

static uint64_t memory_bytes(const struct box *box)
{
	return (uint64_t)box->policy.max_memory_mb << 20;
}

static unsigned run_flags(const struct box *box)
{
	return (box->policy.allow_file_operations ? RUN_FILE_OPERATIONS : 0) |
	       (box->policy.allow_imports ? RUN_IMPORTS : 0) |
	       (box->policy.network_access ? RUN_NETWORK : 0) |
	       (box->policy.allow_subprocess ? RUN_SUBPROCESS : 0) | RUN_LISTENER |
	       (box->session ? RUN_SESSION : 0) | (box_supervised(box) ? RUN_LOOK : 0);
}

static bool any_writable(const struct box *box)
{
	for (size_t i = 0; i < box->grant_count; i++)
		if (box->grants[i].writable)
			return true;
	return false;
}

static int add_words(struct buf *buf, const struct policy_list *list)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->count; i++)
		r = buf_add(buf, list->items[i], strlen(list->items[i]) + 1);
	return r;
}

/* The caller's directory if a grant holds it. */
static const char *start_directory(const struct box *box)
{
	for (size_t i = 0; box->cwd && i < box->grant_count; i++) {
		size_t len = strlen(box->grants[i].path);

		if (strncmp(box->cwd, box->grants[i].path, len) == 0 &&
		    (box->cwd[len] == '/' || box->cwd[len] == '\0'))
			return box->cwd;
	}
	return "";
}

static int build_run(struct box *box, struct buf *out, struct sbx_err *err)
{
	bool supervised = box_supervised(box);
	struct worker_run run = { .walls = box->walls, .flags = run_flags(box) };
	const char *cwd = start_directory(box);
	const struct buf *filter;
	size_t at;
	int r;

	r = engine_filter(box->engine, run.flags, supervised, &filter, err);
	if (r < 0)
		return r;
	run.cpu_threads = (uint32_t)(box->policy.max_cpu_percent / 100.0);
	run.cpu_threads = run.cpu_threads < 1    ? 1
			  : run.cpu_threads > 64 ? 64
						 : run.cpu_threads;
	run.open_files = (uint32_t)box->policy.max_open_files;
	/* Without a cgroup. The init is one more of the same user in the same
	 * namespace. */
	run.processes = supervised ? (uint32_t)box->policy.max_processes + 1 : 0;
	/* The backstop of the supervisor, which looks every few milliseconds: what is
	 * mapped, not what is used. */
	run.data_bytes = supervised ? 2 * memory_bytes(box) + (64u << 20) : 0;
	run.file_bytes = any_writable(box) ? 0 : (uint64_t)box->policy.max_disk_mb << 20;
	run.memory_bytes = memory_bytes(box);
	run.filter_len = (uint32_t)filter->len;
	run.cwd_len = (uint32_t)strlen(cwd);
	r = buf_add(out, &run, sizeof(run));
	if (r == 0)
		r = buf_add(out, filter->data, filter->len);
	at = out->len;
	if (r == 0)
		r = add_words(out, &box->policy.allowed_modules);
	run.modules_len = (uint32_t)(out->len - at);
	at = out->len;
	if (r == 0)
		r = add_words(out, &box->policy.environment);
	run.environment_len = (uint32_t)(out->len - at);
	at = out->len;
	for (size_t i = 0; r == 0 && i < box->grant_count; i++) {
		r = buf_add(out, box->grants[i].writable ? "w" : "r", 1);
		if (r == 0)
			r = buf_add(out, box->grants[i].path,
				    strlen(box->grants[i].path) + 1);
	}
	run.grants_len = (uint32_t)(out->len - at);
	if (r == 0)
		r = buf_add(out, cwd, run.cwd_len);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the request to a worker");
	memcpy(out->data, &run, sizeof(run));
	return 0;
}

/* A program whose turn is now goes with it: that saves it the way there and back. */
static void begin_worker(struct box *box)
{
	_cleanup_buf_ struct buf run = { 0 };
	struct sbx_err err = { 0 };
	int r;

	box->state = BOX_STARTING;
	r = build_run(box, &run, &err);
	if (r == 0) {
		r = worker_run(box->worker, run.data, run.len, box->theirs);
		if (r < 0)
			(void)err_set(&err, SBX_AT_WORKER, -r, "the request to a worker");
	}
	for (int i = 0; i < 3; i++)
		fd_close(&box->theirs[i]);
	if (r < 0)
		box_fault(box, &err);
	else if (box->running)
		execution_begin(box->running);
}

int setup_ask(struct box *box, const struct init_request *request, int fd,
	      struct sbx_err *err)
{
	int r = worker_init_request(box->worker, request, fd);

	if (r < 0)
		return err_set(err, SBX_AT_JAIL, -r, "a request to the init");
	box->answers++;
	return 0;
}

int setup_seal(struct box *box, struct sbx_err *err)
{
	struct init_request request = { .op = INIT_SEAL };
	bool supervised = box_supervised(box);

	if (supervised) {
		request.memory_bytes = memory_bytes(box);
		request.cpu_percent = (uint32_t)(box->policy.max_cpu_percent < 1
							 ? 1
							 : box->policy.max_cpu_percent);
		request.processes = (uint32_t)box->policy.max_processes;
		request.sample_ms = METER_FIRST_MS;
	}
	box->sealed_sent = true;
	return setup_ask(box, &request, -1, err);
}

static int put_files(struct box *box, struct sbx_err *err)
{
	const struct init_request request = { .op = INIT_FILES };
	int r = setup_ask(box, &request, box->archive, err);

	fd_close(&box->archive);
	return r;
}

static int set_limits(struct box *box, struct sbx_err *err)
{
	const struct cgroup_host *group = &box->engine->host.hello.cgroup;
	uint32_t index = worker_serial(box->worker);
	int r;

	meter_begin(&box->meter, box->engine->loop, group, index,
		    worker_pidfd(box->worker), box_usage, box);
	box->has_meter = true;
	if (group->version == CGROUP_NONE)
		return 0;
	r = cgroup_set_memory(group, index,
			      box->meter.base_memory_bytes + memory_bytes(box), err);
	if (r == 0)
		r = cgroup_set_cpu(group, index, box->policy.max_cpu_percent, err);
	if (r == 0)
		r = cgroup_set_processes(group, index,
					 (uint32_t)box->policy.max_processes, err);
	return r;
}

static int begin_network(struct box *box, struct sbx_err *err)
{
	const struct init_request request = { .op = INIT_NAMES };
	int r = network_new(box->engine, &box->policy, box_network_event, box,
			    &box->network, err);

	return r < 0 ? r : setup_ask(box, &request, -1, err);
}

int setup_begin(struct box *box, struct sbx_err *err)
{
	const struct execution *x = box->running;
	struct stdio_events events;
	struct init_request disk = {
		.op = INIT_DISK,
		.disk_bytes = (uint64_t)box->policy.max_disk_mb << 20,
		.disk_inodes = (uint64_t)box->policy.max_disk_mb * INODES_PER_MB
	};
	int r;

	box_streams(box, &events);
	r = set_limits(box, err);
	if (r == 0)
		r = stdio_begin(&box->stdio, box->engine->loop,
				(size_t)box->policy.max_output_bytes,
				x ? x->stdin_data : NULL, x ? x->stdin_len : 0,
				x && x->stdin_open, &events, box->theirs, err);
	if (r < 0)
		return r;
	box->has_stdio = true;
	if (x)
		stdio_hold(&box->stdio, x->hold);
	else
		stdio_rest(&box->stdio);
	if (disk.disk_bytes != WORKER_DISK_BYTES)
		r = setup_ask(box, &disk, -1, err);
	if (r == 0 && box->archive >= 0)
		r = put_files(box, err);
	if (r == 0 && box->policy.network_access)
		r = begin_network(box, err);
	if (r == 0 && box->grant_count > 0)
		r = grants_open(box, err);
	/* Rootless grants are opened by the jailer; the last answer seals. */
	if (r == 0 && (box->grant_count == 0 || box->engine->host.hello.root))
		r = setup_seal(box, err);
	return r;
}

void setup_answered(struct box *box)
{
	if (box->answers > 0 && --box->answers == 0 && box->state == BOX_SETUP &&
	    box->sealed_sent)
		begin_worker(box);
}
