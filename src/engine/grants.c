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
static int sort_grants(struct box *box, struct sbx_err *err)
{
	qsort(box->grants, box->grant_count, sizeof(*box->grants), by_path);
	for (size_t i = 1; i < box->grant_count; i++)
		if (strcmp(box->grants[i - 1].path, box->grants[i].path) == 0)
			return err_set_field(
				err, SBX_AT_GRANT, 0, "allowed_directories",
				"allowed_directories: two of them are %.200s",
				box->grants[i].path);
	return 0;
}

/* The broker opens it now, while the caller is there. */
static int ask_broker(struct box *box, int peer_fd, const char *named,
		      struct grant *grant, struct sbx_err *err)
{
	struct broker_request request = {
		.op = BROKER_GRANT,
		.tree_flags = grants_flags(&box->policy, grant->writable),
	};
	struct broker_reply reply;
	int r;

	memcpy(request.path, named, strlen(named) + 1);
	r = host_call(&box->engine->host, &request, peer_fd, &reply, NULL, err);
	if (r < 0)
		return r;
	reply.path[sizeof(reply.path) - 1] = '\0';
	memcpy(grant->path, reply.path, sizeof(grant->path));
	grant->number = reply.grant;
	return 0;
}

/* What the command opened for its own user, in the policy's order. */
static int take_offer(const struct box_spec *spec, size_t i, struct grant *grant,
		      struct sbx_err *err)
{
	if (spec->offer_count != spec->policy->allowed_directories.count ||
	    strlen(spec->offers[i].path) >= sizeof(grant->path) ||
	    spec->offers[i].path[0] != '/')
		return err_set_field(
			err, SBX_AT_GRANT, 0, "allowed_directories",
			"allowed_directories: the command did not open them");
	strcpy(grant->path, spec->offers[i].path);
	grant->number = spec->offers[i].number;
	return 0;
}

static int resolve_one(struct box *box, const struct box_spec *spec, size_t i,
		       struct policy_grant *parsed, char named[4096], struct sbx_err *err)
{
	struct grant *grant = &box->grants[i];
	int r;

	r = policy_grant_parse(box->policy.allowed_directories.items[i], parsed, err);
	if (r == 0)
		r = policy_grant_join(parsed, box->cwd, named, err);
	if (r < 0)
		return r;
	grant->writable = parsed->writable;
	if (!box->engine->host.hello.root)
		r = host_resolve(&box->engine->host, named, grant->path, err);
	else if (spec->peer_fd >= 0 || spec->remote)
		r = ask_broker(box, spec->peer_fd, named, grant, err);
	else
		return take_offer(spec, i, grant, err);
	if (r < 0 && err->stage == SBX_AT_GRANT && err->errnum > 0)
		return policy_grant_refused(parsed->path, -r, err);
	return r;
}

int grants_resolve(struct box *box, const struct box_spec *spec, struct sbx_err *err)
{
	const struct policy_list *list = &box->policy.allowed_directories;
	struct policy_grant *parsed;
	char *named;
	int r = 0;

	if (spec->after) {
		box->grants = spec->after->grants;
		box->grant_count = spec->after->grant_count;
		spec->after->grants = NULL;
		spec->after->grant_count = 0;
		return 0;
	}
	if (list->count == 0)
		return 0;
	if (list->count > POLICY_GRANTS_MAX)
		return err_set_field(err, SBX_AT_POLICY, 0, "allowed_directories",
				     "allowed_directories: at most %u entries",
				     POLICY_GRANTS_MAX);
	box->grants = calloc(list->count, sizeof(*box->grants));
	parsed = malloc(sizeof(*parsed));
	named = malloc(4096);
	if (!box->grants || !parsed || !named)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "grants");
	for (size_t i = 0; r == 0 && i < list->count; i++) {
		box->grant_count = i + 1;
		r = resolve_one(box, spec, i, parsed, named, err);
		if (r == 0)
			r = policy_grant_place(box->grants[i].path, err);
		if (r == 0)
			r = policy_grant_links(named, box->grants[i].path, err);
	}
	free(parsed);
	free(named);
	return r < 0 ? r : sort_grants(box, err);
}

/* ---- into the jail ---- */

static int place_grant(struct box *box, const struct grant *grant, int tree,
		       struct sbx_err *err)
{
	struct init_request *request = calloc(1, sizeof(*request));
	int r;

	if (!request)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "grant");
	request->op = INIT_GRANT;
	memcpy(request->path, grant->path, strlen(grant->path) + 1);
	r = setup_ask(box, request, tree, err);
	free(request);
	return r;
}

static void on_tree(void *arg, const void *reply, int fd)
{
	struct box *box = arg;
	const struct jailer_reply *r = reply;
	struct grant *grant = NULL;
	struct sbx_err err = { 0 };
	bool more = false;

	/* They are answered in order. */
	for (size_t i = 0; i < box->grant_count; i++)
		if (box->grants[i].call) {
			if (grant)
				more = true;
			else
				grant = &box->grants[i];
		}
	/* It is freed behind us, whatever becomes of the run. */
	if (grant)
		grant->call = NULL;
	if (!grant || box->state != BOX_SETUP) {
		fd_close(&fd);
		return;
	}
	if (r->err.stage != SBX_AT_NONE) {
		err = r->err;
		if (err.stage != SBX_AT_WALL)
			err.stage = SBX_AT_GRANT;
		(void)snprintf(err.field, sizeof(err.field), "allowed_directories");
		fd_close(&fd);
		box_fault(box, &err);
		return;
	}
	if (place_grant(box, grant, fd, &err) < 0 || (!more && setup_seal(box, &err) < 0))
		box_fault(box, &err);
	fd_close(&fd);
}

/* The jailer answers in on_tree(). */
static int ask_jailer(struct box *box, struct grant *grant, struct sbx_err *err)
{
	int r = template_open_tree(worker_template(box->worker), grant->path,
				   TREE_ANY | grants_flags(&box->policy, grant->writable),
				   on_tree, box, &grant->call);

	return r < 0 ? err_set(err, SBX_AT_GRANT, -r, "%.200s", grant->path) : 0;
}

static int mount_granted(struct box *box, struct grant *grant, struct sbx_err *err)
{
	const struct broker_request request = {
		.op = BROKER_OPEN_TREE,
		.grant = grant->number,
		.index = template_span(worker_template(box->worker)),
		.uid_index = worker_uid_index(box->worker),
		.tree_flags = grants_flags(&box->policy, grant->writable),
	};
	struct sbx_err why = { 0 };
	struct broker_reply reply;
	_cleanup_fd_ int tree = -1;
	int r;

	r = host_call(&box->engine->host, &request, -1, &reply, &tree, &why);
	if (r == 0)
		return place_grant(box, grant, tree, err);
	/* The broker knows it by its number. */
	return err_set_field(err, (enum sbx_stage)why.stage, 0, "allowed_directories",
			     "%.200s: %.250s", grant->path, why.msg);
}

int grants_open(struct box *box, struct sbx_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < box->grant_count; i++)
		r = box->engine->host.hello.root
			    ? mount_granted(box, &box->grants[i], err)
			    : ask_jailer(box, &box->grants[i], err);
	return r;
}

void grants_free(struct box *box)
{
	struct broker_request request = { .op = BROKER_DROP };
	struct broker_reply reply;

	for (size_t i = 0; i < box->grant_count; i++) {
		call_forget(&box->grants[i].call);
		request.grant = box->grants[i].number;
		if (request.grant && !(request.grant & OFFERED))
			(void)host_call(&box->engine->host, &request, -1, &reply, NULL,
					NULL);
	}
	free(box->grants);
	box->grants = NULL;
	box->grant_count = 0;
}
