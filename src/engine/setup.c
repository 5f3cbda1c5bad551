/* SPDX-License-Identifier: MIT
 * Purpose: puts a policy on a waiting worker's jail: limits of its cgroup, size of its
 *   disk, granted directories, standard streams, the seal; then hands the program over.
 * Process: the engine, on its loop. Trusts: broker, jailer and init.
 * Invariants: the program is sent only after the init has answered every step, the seal
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

static uint64_t memory_bytes(const struct execution *x)
{
	return (uint64_t)x->policy.max_memory_mb << 20;
}

static unsigned run_flags(const struct execution *x)
{
	return (x->policy.allow_file_operations ? RUN_FILE_OPERATIONS : 0) |
	       (x->policy.allow_imports ? RUN_IMPORTS : 0) |
	       (x->policy.network_access ? RUN_NETWORK : 0) |
	       (x->policy.allow_subprocess ? RUN_SUBPROCESS : 0) | RUN_LISTENER |
	       (x->engine->host.hello.cgroup.version == CGROUP_NONE ? RUN_LOOK : 0);
}

static bool any_writable(const struct execution *x)
{
	for (size_t i = 0; i < x->grant_count; i++)
		if (x->grants[i].writable)
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
static const char *start_directory(const struct execution *x)
{
	for (size_t i = 0; x->cwd && i < x->grant_count; i++) {
		size_t len = strlen(x->grants[i].path);

		if (strncmp(x->cwd, x->grants[i].path, len) == 0 &&
		    (x->cwd[len] == '/' || x->cwd[len] == '\0'))
			return x->cwd;
	}
	return "";
}

static int build_run(struct execution *x, struct buf *out, struct sbx_err *err)
{
	bool supervised = x->engine->host.hello.cgroup.version == CGROUP_NONE;
	struct worker_run run = { .walls = x->walls, .flags = run_flags(x) };
	const char *cwd = start_directory(x);
	const struct buf *filter;
	size_t at;
	int r;

	r = engine_filter(x->engine, run.flags, supervised, &filter, err);
	if (r < 0)
		return r;
	run.cpu_threads = (uint32_t)(x->policy.max_cpu_percent / 100.0);
	run.cpu_threads = run.cpu_threads < 1    ? 1
			  : run.cpu_threads > 64 ? 64
						 : run.cpu_threads;
	run.open_files = (uint32_t)x->policy.max_open_files;
	/* Without a cgroup. The init is one more of the same user in the same
	 * namespace. */
	run.processes = supervised ? (uint32_t)x->policy.max_processes + 1 : 0;
	/* The backstop of the supervisor, which looks every few milliseconds: what is
	 * mapped, not what is used. */
	run.data_bytes = supervised ? 2 * memory_bytes(x) + (64u << 20) : 0;
	run.file_bytes = any_writable(x) ? 0 : (uint64_t)x->policy.max_disk_mb << 20;
	run.memory_bytes = memory_bytes(x);
	run.filter_len = (uint32_t)filter->len;
	run.code_len = (uint32_t)x->code_len;
	run.filename_len = (uint32_t)strlen(x->filename);
	run.cwd_len = (uint32_t)strlen(cwd);
	r = buf_add(out, &run, sizeof(run));
	if (r == 0)
		r = buf_add(out, filter->data, filter->len);
	if (r == 0)
		r = buf_add(out, x->code, x->code_len);
	if (r == 0)
		r = buf_add(out, x->filename, run.filename_len);
	at = out->len;
	if (r == 0)
		r = add_words(out, &x->policy.allowed_modules);
	run.modules_len = (uint32_t)(out->len - at);
	at = out->len;
	if (r == 0)
		r = add_words(out, &x->policy.environment);
	run.environment_len = (uint32_t)(out->len - at);
	at = out->len;
	for (size_t i = 0; r == 0 && i < x->grant_count; i++) {
		r = buf_add(out, x->grants[i].writable ? "w" : "r", 1);
		if (r == 0)
			r = buf_add(out, x->grants[i].path,
				    strlen(x->grants[i].path) + 1);
	}
	run.grants_len = (uint32_t)(out->len - at);
	at = out->len;
	for (size_t i = 0; r == 0 && i < x->file_count; i++)
		r = buf_add(out, x->files[i].name, strlen(x->files[i].name) + 1);
	run.files_len = (uint32_t)(out->len - at);
	if (r == 0)
		r = buf_add(out, cwd, run.cwd_len);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the request to a worker");
	memcpy(out->data, &run, sizeof(run));
	return 0;
}

static void start_program(struct execution *x)
{
	_cleanup_buf_ struct buf run = { 0 };
	struct sbx_err err = { 0 };
	int r;

	x->state = STARTING;
	r = build_run(x, &run, &err);
	if (r == 0) {
		r = worker_run(x->worker, run.data, run.len, x->theirs);
		if (r < 0)
			(void)err_set(&err, SBX_AT_WORKER, -r, "the request to a worker");
	}
	for (int i = 0; i < 3; i++)
		fd_close(&x->theirs[i]);
	if (r < 0)
		execution_fault(x, &err);
}

int setup_ask(struct execution *x, const struct init_request *request, int fd,
	      struct sbx_err *err)
{
	int r = worker_init_request(x->worker, request, fd);

	if (r < 0)
		return err_set(err, SBX_AT_JAIL, -r, "a request to the init");
	x->answers++;
	return 0;
}

int setup_seal(struct execution *x, struct sbx_err *err)
{
	struct init_request request = { .op = INIT_SEAL };
	bool supervised = x->engine->host.hello.cgroup.version == CGROUP_NONE;

	if (supervised) {
		request.memory_bytes = memory_bytes(x);
		request.cpu_percent = (uint32_t)(x->policy.max_cpu_percent < 1
							 ? 1
							 : x->policy.max_cpu_percent);
		request.processes = (uint32_t)x->policy.max_processes;
		request.sample_ms = METER_FIRST_MS;
	}
	x->sealed_sent = true;
	return setup_ask(x, &request, -1, err);
}

/* One memfd with all of them, so that any number is one packet. */
static int put_files(struct execution *x, struct sbx_err *err)
{
	const struct init_request request = { .op = INIT_FILES };
	_cleanup_fd_ int archive = memfd_create("files", MFD_CLOEXEC);
	int r = archive < 0 ? -errno : 0;

	for (size_t i = 0; r == 0 && i < x->file_count; i++) {
		const struct execution_file *file = &x->files[i];
		const struct init_file head = { .name_len = (uint32_t)strlen(file->name),
						.len = file->len };

		r = fd_write_all(archive, &head, sizeof(head));
		if (r == 0)
			r = fd_write_all(archive, file->name, head.name_len);
		if (r == 0)
			r = fd_write_all(archive, file->data, file->len);
	}
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "the files of a request");
	return setup_ask(x, &request, archive, err);
}

static int set_limits(struct execution *x, struct sbx_err *err)
{
	const struct cgroup_host *group = &x->engine->host.hello.cgroup;
	uint32_t index = worker_serial(x->worker);
	int r;

	meter_begin(&x->meter, x->engine->loop, group, index, worker_pidfd(x->worker),
		    execution_usage, x);
	x->has_meter = true;
	if (group->version == CGROUP_NONE)
		return 0;
	r = cgroup_set_memory(group, index, x->meter.base_memory_bytes + memory_bytes(x),
			      err);
	if (r == 0)
		r = cgroup_set_cpu(group, index, x->policy.max_cpu_percent, err);
	if (r == 0)
		r = cgroup_set_processes(group, index, (uint32_t)x->policy.max_processes,
					 err);
	return r;
}

static int begin_network(struct execution *x, struct sbx_err *err)
{
	const struct init_request request = { .op = INIT_NAMES };
	int r = network_new(x->engine, &x->policy, execution_network_event, x,
			    &x->network, err);

	return r < 0 ? r : setup_ask(x, &request, -1, err);
}

int setup_begin(struct execution *x, struct sbx_err *err)
{
	struct stdio_events events;
	struct init_request disk = { .op = INIT_DISK,
				     .disk_bytes = (uint64_t)x->policy.max_disk_mb << 20,
				     .disk_inodes = (uint64_t)x->policy.max_disk_mb *
						    INODES_PER_MB };
	int r;

	execution_streams(x, &events);
	r = set_limits(x, err);
	if (r == 0)
		r = stdio_begin(&x->stdio, x->engine->loop,
				(size_t)x->policy.max_output_bytes, x->stdin_data,
				x->stdin_len, x->stdin_open, &events, x->theirs, err);
	if (r < 0)
		return r;
	x->has_stdio = true;
	stdio_hold(&x->stdio, x->hold);
	if (disk.disk_bytes != WORKER_DISK_BYTES)
		r = setup_ask(x, &disk, -1, err);
	if (r == 0 && x->file_count > 0)
		r = put_files(x, err);
	if (r == 0 && x->policy.network_access)
		r = begin_network(x, err);
	if (r == 0 && x->grant_count > 0)
		r = grants_open(x, err);
	/* Rootless grants are opened by the jailer; the last answer seals. */
	if (r == 0 && (x->grant_count == 0 || x->engine->host.hello.root))
		r = setup_seal(x, err);
	return r;
}

void setup_answered(struct execution *x)
{
	if (x->answers > 0 && --x->answers == 0 && x->state == SETUP && x->sealed_sent)
		start_program(x);
}
