/* SPDX-License-Identifier: MIT
 * Purpose: from a request to a worker: checks, resolves what the policy names, waits in
 * the pool's queue.
 * Process: the engine, on its loop. Trusts: nothing in a request but its policy's types,
 * which the table checked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/execution.h"
#include "engine/grants.h"
#include "zygote/interpreter.h"

#define CODE_MAX (16u << 20)
#define SETUP_US 10000000u /* from taking a worker to its first instruction */

static void on_setup_timeout(void *arg)
{
	struct execution *x = arg;

	loop_timer_cancel(&x->timer);
	execution_fault_with(x, SBX_AT_JAIL, ETIMEDOUT,
			     "the jail was not set up in time");
}

static void on_worker(void *arg, struct worker *worker, const struct sbx_err *err)
{
	struct execution *x = arg;
	struct worker_events events;
	struct sbx_err mine = { 0 };

	x->take = NULL;
	if (!worker) {
		execution_fault(x, err);
		return;
	}
	x->worker = worker;
	x->taken_us = loop_now_us();
	execution_events(x, &events);
	worker_take(worker, &events);
	x->state = SETUP;
	if (loop_timer_at(x->engine->loop, &x->timer, loop_now_us() + SETUP_US,
			  on_setup_timeout, x) < 0) {
		execution_fault_with(x, SBX_AT_ENGINE, ENOMEM, "timer");
		return;
	}
	if (setup_begin(x, &mine) < 0)
		execution_fault(x, &mine);
}

/* Only now: a pool that nobody takes from may be given up at any time. */
static int take_worker(struct execution *x, struct sbx_err *err)
{
	int r = engine_pool(x->engine, &x->policy, x->python, x->walls, &x->pool, err);

	return r < 0 ? r : pool_take(x->pool, on_worker, x, &x->take, err);
}

static void on_admitted(void *arg)
{
	struct execution *x = arg;
	struct sbx_err err = { 0 };

	if (x->state == QUEUED && take_worker(x, &err) < 0)
		execution_fault(x, &err);
}

static int check_code(const char *code, size_t len, struct sbx_err *err)
{
	json_t *text;

	if (len > CODE_MAX)
		return err_set(err, SBX_AT_USAGE, 0, "the program is longer than %u MiB",
			       CODE_MAX >> 20);
	if (memchr(code, '\0', len))
		return err_set(err, SBX_AT_USAGE, 0,
			       "the program has a NUL byte at offset %zu",
			       (size_t)((const char *)memchr(code, '\0', len) - code));
	text = json_stringn(code, len);
	if (!text)
		return err_set(err, SBX_AT_USAGE, 0, "the program is not UTF-8");
	json_decref(text);
	return 0;
}

static int make_id(char id[33])
{
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static int copy_files(struct execution *x, const struct execution_request *request)
{
	x->files = calloc(request->file_count + 1, sizeof(*x->files));
	if (!x->files)
		return -ENOMEM;
	for (size_t i = 0; i < request->file_count; i++) {
		const struct execution_file *from = &request->files[i];
		char *name = strdup(from->name), *data = malloc(from->len + 1);

		if (!name || !data) {
			free(name);
			free(data);
			return -ENOMEM;
		}
		if (from->len > 0)
			memcpy(data, from->data, from->len);
		x->files[x->file_count++] = (struct execution_file){ name, data,
								     from->len };
	}
	return 0;
}

static int copy_request(struct execution *x, const struct execution_request *request,
			struct sbx_err *err)
{
	if (policy_copy(&x->policy, request->policy) < 0)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "policy");
	x->code = malloc(request->code_len + 1);
	x->filename = strdup(request->filename ? request->filename : "<program>");
	x->cwd = request->cwd ? strdup(request->cwd) : NULL;
	x->stdin_data = malloc(request->stdin_len + 1);
	if (!x->code || !x->filename || !x->stdin_data || (request->cwd && !x->cwd) ||
	    make_id(x->id) < 0 || copy_files(x, request) < 0)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	memcpy(x->code, request->code, request->code_len);
	x->code_len = request->code_len;
	if (request->stdin_len)
		memcpy(x->stdin_data, request->stdin_data, request->stdin_len);
	x->stdin_len = request->stdin_len;
	x->stdin_open = request->stdin_open;
	if (request->peer_fd >= 0 &&
	    (x->peer_fd = fcntl(request->peer_fd, F_DUPFD_CLOEXEC, 0)) < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "the caller's socket");
	return 0;
}

static int prepare(struct execution *x, const struct execution_request *request,
		   struct sbx_err *err)
{
	const char *python = x->policy.python;
	int r;

	r = engine_walls(x->engine, &x->policy, &x->walls, err);
	if (r < 0)
		return r;
	/* Whatever else may be missing: without these two a program would be in the
	 * host's network, or could not be given a connection. */
	if (x->policy.network_access &&
	    ((x->walls & (WALL_NET | WALL_SECCOMP)) != (WALL_NET | WALL_SECCOMP) ||
	     !x->engine->network_cookie))
		return err_set(
			err, SBX_AT_WALL, 0,
			"network_access takes a network namespace, seccomp and Linux "
			"5.14; `sandbox doctor` says what is missing");
	if (!python || !python[0])
		python = engine_default_python(x->engine, err);
	else if (x->engine->host.hello.root && x->peer_fd >= 0)
		interpreter_admit(&x->engine->host, python, x->peer_fd);
	if (!python)
		return -ENOENT;
	x->python = strdup(python);
	if (!x->python)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	return grants_resolve(x, request, err);
}

/* What a request holds while it waits. */
static size_t weight_of(const struct execution *x)
{
	size_t sum = x->code_len + x->stdin_len;

	for (size_t i = 0; i < x->file_count; i++)
		sum += x->files[i].len;
	return sum;
}

int engine_submit(struct engine *engine, const struct execution_request *request,
		  const struct execution_sink *sink, struct execution **ret_execution,
		  struct sbx_err *err)
{
	struct sbx_err own = { 0 };
	struct execution *x;
	int r;

	err = err ? err : &own;
	r = check_code(request->code, request->code_len, err);
	if (r < 0)
		return r;
	x = calloc(1, sizeof(*x));
	if (!x)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	x->engine = engine;
	x->submitted_us = loop_now_us();
	x->sink = *sink;
	x->peer_fd = x->theirs[0] = x->theirs[1] = x->theirs[2] = -1;
	x->next = engine->executions;
	engine->executions = x;
	engine->execution_count++;
	r = copy_request(x, request, err);
	if (r == 0)
		r = prepare(x, request, err);
	if (r < 0 && err->stage == SBX_AT_WALL) {
		/* A verdict, not a refusal: the result says WallMissing. */
		x->fault = *err;
		x->stop = STOP_FAULT;
		x->state = ENDING;
		execution_finish_soon(x);
		*ret_execution = x;
		return 0;
	}
	if (r == 0)
		r = admission_ask(engine->admission, ADMISSION_RUN, request->caller,
				  (uint64_t)x->policy.max_memory_mb << 20, on_admitted, x,
				  &x->ticket, err);
	if (r > 0)
		r = take_worker(x, err);
	else if (r == 0 && x->ticket)
		r = admission_weigh(x->ticket, weight_of(x), err);
	if (r < 0) {
		execution_release(x);
		return r;
	}
	*ret_execution = x;
	return 0;
}
