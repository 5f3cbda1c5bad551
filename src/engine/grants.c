/* SPDX-License-Identifier: MIT
 * Purpose: a policy's directories (grants.h).
 * Process: the engine. Trusts: nothing in a request; broker and jailer to open with the
 *   caller's rights and no more.
 * Invariants: a grant is what it is when the run begins: a real path, no symbolic link in
 *   what was named; the innermost is mounted last and decides. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/grants.h"

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct grant *)a)->path, ((const struct grant *)b)->path);
}

/* One in another is mounted after it, over it: the innermost decides. */
static int sort_grants(struct execution *x, struct sbx_err *err)
{
	qsort(x->grants, x->grant_count, sizeof(*x->grants), by_path);
	for (size_t i = 1; i < x->grant_count; i++)
		if (strcmp(x->grants[i - 1].path, x->grants[i].path) == 0)
			return err_set_field(
				err, SBX_AT_GRANT, 0, "allowed_directories",
				"allowed_directories: two of them are %.200s",
				x->grants[i].path);
	return 0;
}

/* The broker opens it now, while the caller is there. */
static int ask_broker(struct execution *x, const char *named, struct grant *grant,
		      struct sbx_err *err)
{
	struct broker_request request = {
		.op = BROKER_GRANT,
		.tree_flags = grants_flags(&x->policy, grant->writable),
	};
	struct broker_reply reply;
	int r;

	memcpy(request.path, named, strlen(named) + 1);
	r = host_call(&x->engine->host, &request, x->peer_fd, &reply, NULL, err);
	if (r < 0)
		return r;
	reply.path[sizeof(reply.path) - 1] = '\0';
	memcpy(grant->path, reply.path, sizeof(grant->path));
	grant->number = reply.grant;
	return 0;
}

/* What the command opened for its own user, in the policy's order. */
static int take_offer(const struct execution_request *request, size_t i,
		      struct grant *grant, struct sbx_err *err)
{
	if (request->offer_count != request->policy->allowed_directories.count ||
	    strlen(request->offers[i].path) >= sizeof(grant->path) ||
	    request->offers[i].path[0] != '/')
		return err_set_field(
			err, SBX_AT_GRANT, 0, "allowed_directories",
			"allowed_directories: the command did not open them");
	strcpy(grant->path, request->offers[i].path);
	grant->number = request->offers[i].number;
	return 0;
}

/* For a caller over TCP, who has no rights of his own on this machine. */
static int check_remote(const struct execution_request *request,
			const struct policy_grant *wanted, struct sbx_err *err)
{
	const struct policy_list *list = request->grantable;
	struct policy_grant *top = malloc(sizeof(*top));
	bool found = false;

	if (!top)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "grants");
	for (size_t i = 0; list && !found && i < list->count; i++) {
		size_t len;

		if (policy_grant_parse(list->items[i], top, NULL) < 0)
			continue;
		len = strlen(top->path);
		found = (top->writable || !wanted->writable) && wanted->path[0] == '/' &&
			strncmp(wanted->path, top->path, len) == 0 &&
			(wanted->path[len] == '/' || wanted->path[len] == '\0');
	}
	free(top);
	return found ? 0 : policy_grant_refused(wanted->path, EACCES, err);
}

static int resolve_one(struct execution *x, const struct execution_request *request,
		       size_t i, struct policy_grant *parsed, char named[4096],
		       struct sbx_err *err)
{
	struct grant *grant = &x->grants[i];
	int r;

	r = policy_grant_parse(x->policy.allowed_directories.items[i], parsed, err);
	if (r == 0 && request->remote)
		r = check_remote(request, parsed, err);
	if (r == 0)
		r = policy_grant_join(parsed, x->cwd, named, err);
	if (r < 0)
		return r;
	grant->writable = parsed->writable;
	if (!x->engine->host.hello.root)
		r = host_resolve(&x->engine->host, named, grant->path, err);
	else if (x->peer_fd >= 0)
		r = ask_broker(x, named, grant, err);
	else
		return take_offer(request, i, grant, err);
	if (r < 0 && err->stage == SBX_AT_GRANT && err->errnum > 0)
		return policy_grant_refused(parsed->path, -r, err);
	return r;
}

int grants_resolve(struct execution *x, const struct execution_request *request,
		   struct sbx_err *err)
{
	const struct policy_list *list = &x->policy.allowed_directories;
	struct policy_grant *parsed;
	char *named;
	int r = 0;

	if (list->count == 0)
		return 0;
	if (list->count > POLICY_GRANTS_MAX)
		return err_set_field(err, SBX_AT_POLICY, 0, "allowed_directories",
				     "allowed_directories: at most %u entries",
				     POLICY_GRANTS_MAX);
	x->grants = calloc(list->count, sizeof(*x->grants));
	parsed = malloc(sizeof(*parsed));
	named = malloc(4096);
	if (!x->grants || !parsed || !named)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "grants");
	for (size_t i = 0; r == 0 && i < list->count; i++) {
		x->grant_count = i + 1;
		r = resolve_one(x, request, i, parsed, named, err);
		if (r == 0)
			r = policy_grant_place(x->grants[i].path, err);
		if (r == 0)
			r = policy_grant_links(named, x->grants[i].path, err);
	}
	free(parsed);
	free(named);
	return r < 0 ? r : sort_grants(x, err);
}

/* ---- into the jail ---- */

static int place_grant(struct execution *x, const struct grant *grant, int tree,
		       struct sbx_err *err)
{
	struct init_request *request = calloc(1, sizeof(*request));
	int r;

	if (!request)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "grant");
	request->op = INIT_GRANT;
	memcpy(request->path, grant->path, strlen(grant->path) + 1);
	r = setup_ask(x, request, tree, err);
	free(request);
	return r;
}

static void on_tree(void *arg, const void *reply, int fd)
{
	struct execution *x = arg;
	const struct jailer_reply *r = reply;
	struct grant *grant = NULL;
	struct sbx_err err = { 0 };
	bool more = false;

	/* They are answered in order. */
	for (size_t i = 0; i < x->grant_count; i++)
		if (x->grants[i].call) {
			if (grant)
				more = true;
			else
				grant = &x->grants[i];
		}
	/* It is freed behind us, whatever becomes of the run. */
	if (grant)
		grant->call = NULL;
	if (!grant || x->state != SETUP) {
		fd_close(&fd);
		return;
	}
	if (r->err.stage != SBX_AT_NONE) {
		err = r->err;
		if (err.stage != SBX_AT_WALL)
			err.stage = SBX_AT_GRANT;
		(void)snprintf(err.field, sizeof(err.field), "allowed_directories");
		fd_close(&fd);
		execution_fault(x, &err);
		return;
	}
	if (place_grant(x, grant, fd, &err) < 0 || (!more && setup_seal(x, &err) < 0))
		execution_fault(x, &err);
	fd_close(&fd);
}

/* The jailer answers in on_tree(). */
static int ask_jailer(struct execution *x, struct grant *grant, struct sbx_err *err)
{
	int r = template_open_tree(worker_template(x->worker), grant->path,
				   TREE_ANY | grants_flags(&x->policy, grant->writable),
				   on_tree, x, &grant->call);

	return r < 0 ? err_set(err, SBX_AT_GRANT, -r, "%.200s", grant->path) : 0;
}

static int mount_granted(struct execution *x, struct grant *grant, struct sbx_err *err)
{
	const struct broker_request request = {
		.op = BROKER_OPEN_TREE,
		.grant = grant->number,
		.index = template_span(worker_template(x->worker)),
		.uid_index = worker_uid_index(x->worker),
		.tree_flags = grants_flags(&x->policy, grant->writable),
	};
	struct sbx_err why = { 0 };
	struct broker_reply reply;
	_cleanup_fd_ int tree = -1;
	int r;

	r = host_call(&x->engine->host, &request, -1, &reply, &tree, &why);
	if (r == 0)
		return place_grant(x, grant, tree, err);
	/* The broker knows it by its number. */
	return err_set_field(err, (enum sbx_stage)why.stage, 0, "allowed_directories",
			     "%.200s: %.250s", grant->path, why.msg);
}

int grants_open(struct execution *x, struct sbx_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < x->grant_count; i++)
		r = x->engine->host.hello.root ? mount_granted(x, &x->grants[i], err)
					       : ask_jailer(x, &x->grants[i], err);
	return r;
}

void grants_free(struct execution *x)
{
	struct broker_request request = { .op = BROKER_DROP };
	struct broker_reply reply;

	for (size_t i = 0; i < x->grant_count; i++) {
		call_forget(&x->grants[i].call);
		request.grant = x->grants[i].number;
		if (request.grant && !(request.grant & OFFERED))
			(void)host_call(&x->engine->host, &request, -1, &reply, NULL,
					NULL);
	}
	free(x->grants);
	x->grants = NULL;
	x->grant_count = 0;
}
