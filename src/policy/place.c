/* SPDX-License-Identifier: MIT
 * Purpose: which places of the host's can be granted: for the engine, and for the command,
 *   which opens what its own user grants.
 * Process: any. Trusts: nothing in a path. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "policy/policy.h"

int policy_grant_join(const struct policy_grant *grant, const char *cwd, char ret[4096],
		      struct sbx_err *err)
{
	bool absolute = grant->path[0] == '/';

	if (!absolute && !cwd)
		return err_set_field(
			err, SBX_AT_GRANT, 0, "allowed_directories",
			"allowed_directories: \"%.200s\" is relative, and the caller named no "
			"working directory",
			grant->path);
	if (snprintf(ret, 4096, "%s%s%s", absolute ? "" : cwd, absolute ? "" : "/",
		     grant->path) >= 4096)
		return policy_grant_refused(grant->path, ENAMETOOLONG, err);
	return 0;
}

int policy_grant_refused(const char *named, int errnum, struct sbx_err *err)
{
	return err_set_field(err, SBX_AT_GRANT, errnum, "allowed_directories",
			     "allowed_directories: \"%.200s\" cannot be granted", named);
}

/* What a jail has of its own at these places cannot be covered, and what the host has
 * there is nobody's to give. */
int policy_grant_place(const char *path, struct sbx_err *err)
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

/* A grant is the directory that was named. Where a program may write it can plant a link,
 * and the next run's grant would be what the link leads to. */
int policy_grant_links(const char *named, const char *real, struct sbx_err *err)
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
