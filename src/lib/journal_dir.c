/* SPDX-License-Identifier: MIT
 * Purpose: the journal's directory, opened for the engine (internal.h).
 * Process: the command, or a program that uses libsbx; with its rights.
 * Trusts: the environment and the arguments to be its user's. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "lib/internal.h"

int journal_dir_default(char *ret, size_t size)
{
	const char *state = secure_getenv("XDG_STATE_HOME"),
		   *home = secure_getenv("HOME");
	const char *named = secure_getenv("SANDBOX_JOURNAL");
	int n;

	if (named && *named)
		n = snprintf(ret, size, "%s", named);
	else if (geteuid() == 0)
		n = snprintf(ret, size, "/var/lib/interpreter-sandbox/journal");
	else if (state && state[0] == '/')
		n = snprintf(ret, size, "%s/interpreter-sandbox/journal", state);
	else if (home && home[0] == '/')
		n = snprintf(ret, size, "%s/.local/state/interpreter-sandbox/journal",
			     home);
	else
		return -ENOENT;
	return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

/* The directory and those above it that are missing, for nobody else to look into. */
static int make(const char *path)
{
	char part[PATH_MAX];

	(void)snprintf(part, sizeof(part), "%s", path);
	for (char *at = part + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return mkdir(part, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int journal_dir_open(const char *dir, bool make_it, int *ret_fd, struct sbx_err *err)
{
	char path[PATH_MAX];
	struct stat st;
	_cleanup_fd_ int fd = -1;
	int r;

	if (!dir) {
		r = journal_dir_default(path, sizeof(path));
		if (r < 0)
			return err_set(err, SBX_AT_USAGE, 0,
				       "neither XDG_STATE_HOME nor HOME says where the"
				       " journal is; give --journal DIR");
	} else if (strlen(dir) >= sizeof(path)) {
		return err_set(err, SBX_AT_USAGE, 0, "the journal's path is too long");
	} else {
		(void)snprintf(path, sizeof(path), "%s", dir);
	}
	r = make_it ? make(path) : 0;
	fd = r == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (r == 0 && (fd < 0 || fstat(fd, &st) < 0))
		r = -errno;
	if (r < 0) {
		(void)err_set(err, SBX_AT_JOURNAL, 0, "journal %.300s: %s", path,
			      r == -ENOENT ? "there is none" : strerror(-r));
		return r;
	}
	/* Whoever else may write here could put another journal in its place. */
	if ((st.st_mode & 022) != 0 || (st.st_uid != geteuid() && geteuid() != 0))
		return err_set(err, SBX_AT_JOURNAL, EPERM,
			       "journal %.300s has to be yours alone (chmod 700)", path);
	*ret_fd = fd_take(&fd);
	return 0;
}
