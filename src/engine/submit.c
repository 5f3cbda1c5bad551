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
#include "engine/session.h"

#define CODE_MAX (16u << 20)

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

int engine_new_id(char id[33])
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
	const struct sbx_policy *policy = x->session ? session_policy(x->session)
						     : request->policy;

	if (policy_copy(&x->policy, policy) < 0)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "policy");
	if (request->timeout_s > 0 && request->timeout_s < x->policy.max_execution_time)
		x->policy.max_execution_time = request->timeout_s;
	x->code = malloc(request->code_len + 1);
	x->filename = request->filename ? strdup(request->filename) : NULL;
	x->stdin_data = malloc(request->stdin_len + 1);
	if (!x->code || (request->filename && !x->filename) || !x->stdin_data ||
	    engine_new_id(x->id) < 0 || (x->session && copy_files(x, request) < 0))
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	memcpy(x->code, request->code, request->code_len);
	x->code_len = request->code_len;
	if (request->stdin_len)
		memcpy(x->stdin_data, request->stdin_data, request->stdin_len);
	x->stdin_len = request->stdin_len;
	x->stdin_open = request->stdin_open;
	x->held = request->hold_start;
	return 0;
}

static void on_opened(void *arg)
{
	execution_opened(arg);
}

static void on_ended(void *arg)
{
	execution_box_ended(arg);
}

static int make_box(struct execution *x, const struct execution_request *request,
		    struct sbx_err *err)
{
	const struct box_owner owner = { .opened = on_opened,
					 .ended = on_ended,
					 .arg = x };
	const struct box_spec spec = { .policy = &x->policy,
				       .cwd = request->cwd,
				       .files = request->files,
				       .file_count = request->file_count,
				       .peer_fd = request->peer_fd,
				       .remote = request->remote,
				       .offers = request->offers,
				       .offer_count = request->offer_count,
				       .caller = request->caller,
				       .running = x };

	return box_new(x->engine, &spec, &owner, &x->box, err);
}

/* What a request holds while it waits. */
static size_t weight_of(const struct execution_request *request)
{
	size_t sum = request->code_len + request->stdin_len;

	for (size_t i = 0; i < request->file_count; i++)
		sum += request->files[i].len;
	return sum;
}

/* It waits for its turn in its session, then among all. */
static int queue(struct execution *x, const struct execution_request *request,
		 struct sbx_err *err)
{
	size_t weight = weight_of(request);
	int r = admission_room(x->engine->admission, err);

	if (r == 0 && request->caller && !(x->caller = strdup(request->caller)))
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "request");
	if (r == 0)
		r = admission_hold(x->engine->admission, weight, err);
	if (r < 0)
		return r;
	x->waiting_bytes = weight;
	return session_queue(x->session, x, err);
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
	x->session = request->session;
	x->input = -1;
	x->next = engine->executions;
	engine->executions = x;
	engine->execution_count++;
	engine->begun++;
	r = copy_request(x, request, err);
	if (r == 0 && x->session)
		r = queue(x, request, err);
	else if (r == 0)
		r = make_box(x, request, err);
	if (r == 0 && x->box && x->box->ticket)
		r = admission_weigh(x->box->ticket, weight_of(request), err);
	if (r < 0 && err->stage == SBX_AT_WALL) {
		/* A verdict, not a refusal: the result says WallMissing. */
		x->fault = *err;
		x->stop = STOP_FAULT;
		x->state = CLOSING;
		execution_finish_soon(x);
		*ret_execution = x;
		return 0;
	}
	if (r < 0) {
		execution_release(x);
		return r;
	}
	*ret_execution = x;
	return 0;
}
