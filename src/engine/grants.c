/* SPDX-License-Identifier: MIT
 * Purpose: the directories that a policy grants, as they are when the jail is made: real
 *   paths, none that a jail has of its own, none through a link.
 * Process: the engine. Trusts: the broker's resolution, nothing in the policy. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "engine/box.h"

#define GRANTS_MAX 64u

/* What a jail has of its own at these places cannot be covered, and what the host has
 * there is nobody's to give. */
static int check_place(const char *path, struct sbx_err *err)
{
	static const char *const own[] = { "/",     "/tmp", "/work",  "/usr",   "/bin",
					   "/sbin", "/lib", "/lib32", "/lib64", NULL };
	static const char *const closed[] = { "/proc", "/sys", "/dev", "/.sbx", NULL };

	for (const char *const *at = own; *at; at++)
		if (strcmp(path, *at) == 0)
			return err_set_field(
				err, SBX_AT_GRANT, 0, "allowed_directories",
				"allowed_directories: %s cannot be granted as a whole: %s",
				path,
				path[1] == '\0' ? "it is everything"
				: strcmp(path, "/tmp") == 0 || strcmp(path, "/work") == 0
					? "every program has one of its own; grant a directory in it"
					: "every program sees it read-only; grant a directory in it");
	for (const char *const *at = closed; *at; at++) {
		size_t len = strlen(*at);

		if (strncmp(path, *at, len) == 0 && (path[len] == '/' || !path[len]))
			return err_set_field(
				err, SBX_AT_GRANT, 0, "allowed_directories",
				"allowed_directories: nothing in %s can be granted: every program "
				"has its own",
				*at);
	}
	return 0;
}

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

/* A grant is the directory that was named. Where a program may write it can plant a link,
 * and the next run's grant would be what the link leads to. */
static int check_links(const char *named, const char *real, struct sbx_err *err)
{
	char plain[8194] = "";
	size_t len = 0;

	for (const char *at = named; *at;) {
		size_t part = strcspn(at, "/");

		if (part > 0 && !(part == 1 && at[0] == '.') &&
		    len + part + 2 < sizeof(plain)) {
			plain[len++] = '/';
			memcpy(plain + len, at, part);
			len += part;
		}
		at += part + (at[part] == '/');
	}
	plain[len] = '\0';
	if (strcmp(plain, real) == 0)
		return 0;
	return err_set_field(err, SBX_AT_GRANT, 0, "allowed_directories",
			     "allowed_directories: \"%.180s\" leads through a symbolic "
			     "link; if that is meant, name \"%.180s\"",
			     named, real);
}

/* Relative grants need the caller's directory. Real paths: a grant is what it is when the
 * run begins. */
int grants_resolve(struct box *box, struct sbx_err *err)
{
	const struct policy_list *list = &box->policy.allowed_directories;
	struct policy_grant *parsed;
	char *joined;
	int r = 0;

	if (list->count == 0)
		return 0;
	if (list->count > GRANTS_MAX)
		return err_set_field(err, SBX_AT_POLICY, 0, "allowed_directories",
				     "allowed_directories: at most %u entries",
				     GRANTS_MAX);
	box->grants = calloc(list->count, sizeof(*box->grants));
	parsed = malloc(sizeof(*parsed));
	joined = malloc(8194);
	if (!box->grants || !parsed || !joined)
		r = err_set(err, SBX_AT_ENGINE, ENOMEM, "grants");
	for (size_t i = 0; r == 0 && i < list->count; i++) {
		r = policy_grant_parse(list->items[i], parsed, err);
		if (r < 0)
			break;
		if (parsed->path[0] != '/' && !box->cwd) {
			r = err_set_field(
				err, SBX_AT_GRANT, 0, "allowed_directories",
				"allowed_directories: \"%.200s\" is relative, and the caller named no "
				"working directory",
				parsed->path);
			break;
		}
		(void)snprintf(joined, 8194, "%s%s%s",
			       parsed->path[0] == '/' ? "" : box->cwd,
			       parsed->path[0] == '/' ? "" : "/", parsed->path);
		r = strlen(joined) < 4096
			    ? host_resolve_as(&box->engine->host, joined, box->peer_fd,
					      box->grants[i].path, err)
			    : -ENAMETOOLONG;
		if (r < 0) {
			r = err_set_field(
				err, SBX_AT_GRANT, -r, "allowed_directories",
				"allowed_directories: \"%.200s\" cannot be granted",
				parsed->path);
			break;
		}
		r = check_place(box->grants[i].path, err);
		if (r == 0)
			r = check_links(joined, box->grants[i].path, err);
		if (r < 0)
			break;
		box->grants[i].writable = parsed->writable;
		box->grant_count = i + 1;
	}
	free(parsed);
	free(joined);
	return r < 0 ? r : sort_grants(box, err);
}
