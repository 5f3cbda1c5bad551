/* SPDX-License-Identifier: MIT
 * Purpose: finds what of the file system an interpreter needs, so that a jail shows that
 * and no more (interpreter.h).
 * Process: the engine. Trusts: nothing in what it reads; a wrong pyvenv.cfg shows other
 *   directories read-only, which the policy's author could have granted as well, and
 *   never one that its starter cannot read. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "zygote/interpreter.h"

#define KNOWN_MAX 16
#define KNOWN_US 10000000u /* a venv may have changed since */

static bool beneath(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Cuts the last part off; "/" stays. */
static void parent_of(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash == path)
		path[1] = '\0';
	else if (slash)
		*slash = '\0';
}

static int add_tree(struct interpreter *in, const char *path, const char *target,
		    bool is_file, struct sbx_err *err)
{
	struct interpreter_tree *tree = &in->trees[in->tree_count];
	size_t i;

	if (beneath(target, "/usr"))
		return 0;
	for (i = 0; i < in->tree_count; i++)
		if (beneath(target, in->trees[i].target))
			return 0;
	if (in->tree_count == INTERPRETER_TREES || strlen(path) >= sizeof(tree->path) ||
	    strlen(target) >= sizeof(tree->target))
		return err_set(err, SBX_AT_INTERPRETER, E2BIG,
			       "the interpreter's tree is too spread out");
	strcpy(tree->path, path);
	strcpy(tree->target, target);
	tree->is_file = is_file;
	in->tree_count++;
	return 0;
}

/* bin, lib and their kin of one prefix, not the prefix itself: a home directory or / can
 * be one. */
static int add_prefix(struct host *host, struct interpreter *in, const char *prefix,
		      const char *shown_as, struct sbx_err *err)
{
	static const char *const parts[] = { "bin", "lib", "lib64", "share", "include" };
	char real[4096], path[2048], target[2048];
	size_t i;
	int r;

	if (strcmp(prefix, "/") == 0 || beneath(prefix, "/usr"))
		return 0;
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", prefix, parts[i]) >=
			    sizeof(path) ||
		    (size_t)snprintf(target, sizeof(target), "%s/%s", shown_as,
				     parts[i]) >= sizeof(target))
			return err_set(err, SBX_AT_INTERPRETER, ENAMETOOLONG,
				       "the interpreter's tree");
		if (host_resolve(host, path, real, NULL) < 0)
			continue;
		r = add_tree(in, real, target, false, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* `key = value` of pyvenv.cfg, as site.py reads it. */
static bool config_value(const char *text, const char *key, char *ret, size_t size)
{
	const char *line = text;

	while (line && *line) {
		const char *end = strchr(line, '\n'), *at = line;
		size_t len = end ? (size_t)(end - line) : strlen(line);
		const char *stop = line + len;

		while (at < stop && isspace((unsigned char)*at))
			at++;
		if ((size_t)(stop - at) > strlen(key) &&
		    strncasecmp(at, key, strlen(key)) == 0) {
			at += strlen(key);
			while (at < stop && isspace((unsigned char)*at))
				at++;
			if (at < stop && *at == '=') {
				at++;
				while (at < stop && isspace((unsigned char)*at))
					at++;
				while (stop > at && isspace((unsigned char)stop[-1]))
					stop--;
				if ((size_t)(stop - at) >= size)
					return false;
				memcpy(ret, at, (size_t)(stop - at));
				ret[stop - at] = '\0';
				return true;
			}
		}
		line = end ? end + 1 : NULL;
	}
	return false;
}

static int add_venv(struct host *host, struct interpreter *in, const char *venv,
		    const char *shown_as, struct sbx_err *err)
{
	_cleanup_fd_ int file = -1;
	_cleanup_free_ char *text = NULL;
	char home[1024], real[4096], path[2048], target[2048], link[64];
	size_t len;
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/pyvenv.cfg", venv) >= sizeof(path) ||
	    host_open(host, path, TREE_FILE, &file, NULL) < 0)
		return 0;
	/* A mount's descriptor is O_PATH: opened once more to be read. */
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	if (fd_read_file(AT_FDCWD, link, 65536, &text, &len) < 0)
		return 0;
	r = add_prefix(host, in, venv, shown_as, err);
	if (r < 0)
		return r;
	if ((size_t)snprintf(target, sizeof(target), "%s/pyvenv.cfg", shown_as) >=
	    sizeof(target))
		return err_set(err, SBX_AT_INTERPRETER, ENAMETOOLONG,
			       "the interpreter's venv");
	r = add_tree(in, path, target, true, err);
	if (r < 0)
		return r;
	/* CPython looks for its library by the text of `home`, which may be a symlink. */
	if (config_value(text, "home", home, sizeof(home)) && home[0] == '/' &&
	    host_resolve(host, home, real, NULL) == 0) {
		parent_of(home);
		parent_of(real);
		r = add_prefix(host, in, real, home, err);
		if (r == 0)
			r = add_prefix(host, in, real, real, err);
	}
	return r;
}

static int find(struct host *host, const char *python, struct interpreter *ret,
		struct sbx_err *err)
{
	char real[4096], above[4096], shown_as[1024];
	_cleanup_fd_ int fd = -1;
	struct stat st;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (python[0] != '/' || strlen(python) >= sizeof(ret->argv0))
		return err_set_field(err, SBX_AT_INTERPRETER, 0, "python",
				     "python: \"%.200s\" is not an absolute path",
				     python);
	r = host_resolve(host, python, real, err);
	if (r < 0 || strlen(real) >= sizeof(ret->file))
		return err_set_field(err, SBX_AT_INTERPRETER, r < 0 ? -r : ENAMETOOLONG,
				     "python",
				     "python: there is no interpreter at %.200s", python);
	r = host_open(host, real, TREE_FILE, &fd, err);
	if (r < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return err_set_field(err, SBX_AT_INTERPRETER, r < 0 ? -r : EACCES,
				     "python", "python: %.200s is not an executable file",
				     python);
	strcpy(ret->file, real);
	strcpy(ret->argv0, python);
	strcpy(shown_as, python);
	parent_of(shown_as);
	parent_of(shown_as);
	/* A venv is recognized by the file beside or above the name that it was called
	 * by. */
	if (host_resolve(host, shown_as, above, NULL) == 0) {
		r = add_venv(host, ret, above, shown_as, err);
		if (r < 0)
			return r;
	}
	strcpy(above, real);
	parent_of(above);
	parent_of(above);
	return add_prefix(host, ret, above, above, err);
}

/* ---- those that a caller may read and not everybody ---- */

struct known {
	struct known *next;
	uint64_t at_us;
	struct interpreter found;
};

int interpreter_find(struct host *host, const char *python, struct interpreter *ret,
		     struct sbx_err *err)
{
	for (const struct known *known = host->known; known; known = known->next)
		if (strcmp(known->found.argv0, python) == 0) {
			*ret = known->found;
			return 0;
		}
	return find(host, python, ret, err);
}

int interpreter_each(const struct interpreter *in,
		     int (*fn)(void *arg, const char *path, bool is_file), void *arg)
{
	int r = fn(arg, in->file, true);

	for (size_t i = 0; r == 0 && i < in->tree_count; i++)
		r = fn(arg, in->trees[i].path, in->trees[i].is_file);
	return r;
}

static int open_once(void *arg, const char *path, bool is_file)
{
	_cleanup_fd_ int fd = -1;

	return host_open(arg, path, is_file ? TREE_FILE : 0, &fd, NULL);
}

void interpreter_admit(struct host *host, const char *python, int caller_fd)
{
	struct known **at, *known;
	uint64_t now = loop_now_us();
	size_t count = 0;

	for (at = &host->known; *at; at = &(*at)->next, count++)
		if (strcmp((*at)->found.argv0, python) == 0)
			break;
	if (*at && now - (*at)->at_us < KNOWN_US)
		return;
	/* The last of a full list makes room. */
	if (!*at && count == KNOWN_MAX)
		for (at = &host->known; (*at)->next; at = &(*at)->next)
			;
	if ((known = *at)) {
		*at = known->next;
		free(known);
	}
	known = malloc(sizeof(*known));
	if (!known)
		return;
	host->caller_fd = caller_fd;
	/* Without success all is as it was: what starts the template says why it fails. */
	if (find(host, python, &known->found, NULL) < 0 ||
	    interpreter_each(&known->found, open_once, host) < 0) {
		free(known);
	} else {
		known->at_us = now;
		known->next = host->known;
		host->known = known;
	}
	host->caller_fd = -1;
}

void interpreter_forget(struct host *host)
{
	while (host->known) {
		struct known *known = host->known;

		host->known = known->next;
		free(known);
	}
}

/* A number of a file's name such as python3.9 that is below 3.10; a name without one says
 * nothing. */
static bool is_too_old(const char *real)
{
	const char *name = strrchr(real, '/'),
		   *at = name ? strstr(name, "python3.") : NULL;
	char *end;
	long minor = at ? strtol(at + 8, &end, 10) : 0;

	return at && end != at + 8 && minor < 10;
}

/* A program that a worker's uid can read and execute; no script (pyenv's shims) and
 * nothing of root's own. */
static bool is_usable(struct host *host, const char *path)
{
	char real[4096], link[64], magic[4] = "";
	_cleanup_fd_ int fd = -1, file = -1;
	struct stat st;

	if (host_resolve(host, path, real, NULL) < 0 || is_too_old(real) ||
	    host_open(host, real, TREE_FILE, &fd, NULL) < 0 || fstat(fd, &st) < 0 ||
	    !S_ISREG(st.st_mode) || (st.st_mode & 0005) != 0005)
		return false;
	/* A mount's descriptor is O_PATH: opened once more to be read. */
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	file = open(link, O_RDONLY | O_CLOEXEC);
	return file >= 0 && fd_read_all(file, magic, sizeof(magic)) == 4 &&
	       memcmp(magic, "\177ELF", 4) == 0;
}

int interpreter_default(struct host *host, char ret[1024], struct sbx_err *err)
{
	static const char *const names[] = { "python3", "python3.13", "python3.12",
					     "python3.11", "python3.10" };
	const char *path = getenv("PATH"), *part;
	size_t len, i;

	if (is_usable(host, "/usr/bin/python3")) {
		strcpy(ret, "/usr/bin/python3");
		return 0;
	}
	for (part = path ? path : ""; *part; part += len + (part[len] == ':')) {
		len = strcspn(part, ":");
		for (i = 0;
		     part[0] == '/' && len < 900 && i < sizeof(names) / sizeof(names[0]);
		     i++) {
			(void)snprintf(ret, 1024, "%.*s/%s", (int)len, part, names[i]);
			if (is_usable(host, ret))
				return 0;
		}
	}
	return err_set_field(
		err, SBX_AT_INTERPRETER, ENOENT, "python",
		"python: no interpreter of version 3.10 or newer was found on PATH; name one");
}
