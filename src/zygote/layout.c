/* SPDX-License-Identifier: MIT
 * Purpose: the parts of a template's root file system (layout.h).
 * Process: the engine. Trusts: the broker to open what the starter may open; the host's
 * /usr.
 * Invariants: of /etc only single files and directories that libraries read; no home, no
 * /var, no /sys, no /run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "zygote/layout.h"

struct walk {
	struct host *host;
	layout_fn fn;
	void *arg;
	struct jailer_request request; /* 9 KB: not on the stack of every step */
};

/* Of the host, read-only. A path that is a symlink on the host (/bin on a merged system)
 * is a symlink inside. */
enum { OPTIONAL = 1, IS_FILE = 2 };
static const struct {
	const char *path;
	unsigned flags;
} shown[] = {
	{ "/usr", 0 },
	{ "/bin", OPTIONAL },
	{ "/sbin", OPTIONAL },
	{ "/lib", OPTIONAL },
	{ "/lib64", OPTIONAL },
	{ "/lib32", OPTIONAL },
	{ "/etc/ld.so.cache",
	  OPTIONAL | IS_FILE }, /* else the loader searches, and finds less */
	{ "/etc/localtime", OPTIONAL | IS_FILE },
	{ "/etc/ssl/certs", OPTIONAL },
	{ "/etc/fonts", OPTIONAL },
	{ "/etc/matplotlibrc", OPTIONAL | IS_FILE },
	{ "/etc/alternatives", OPTIONAL }, /* Debian's libblas.so.3 leads through it */
	{ "/etc/mime.types", OPTIONAL | IS_FILE },
};

/* Made up: nothing of the host's users, name or network. */
static const struct {
	const char *target, *text;
} files[] = {
	{ "/etc/passwd", "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
			 "sandbox:x:1000:1000:sandbox:/work:/bin/sh\n" },
	{ "/etc/group", "root:x:0:\nsandbox:x:1000:\n" },
	{ "/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n" },
	{ "/etc/hostname", "sandbox\n" },
	{ "/etc/resolv.conf", "nameserver 127.0.0.1\n" },
	{ "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n" },
};

static int emit(struct walk *walk, uint32_t op, const char *target, const char *path,
		uint32_t flags, int fd, struct sbx_err *err)
{
	struct jailer_request *r = &walk->request;

	if (strlen(target) >= sizeof(r->target) || strlen(path) >= sizeof(r->path))
		return err_set(err, SBX_AT_JAIL, ENAMETOOLONG, "%.200s", target);
	memset(r, 0, sizeof(*r));
	r->op = op;
	r->tree_flags = flags;
	strcpy(r->target, target);
	strcpy(r->path, path);
	return walk->fn(walk->arg, r, fd, err);
}

/* real: without symlinks. */
static int emit_tree(struct walk *walk, const char *real, const char *target,
		     bool is_file, bool optional, struct sbx_err *err)
{
	_cleanup_fd_ int fd = -1;
	int r;

	/* Started as root the engine sees next to nothing itself: the broker opens. Else
	 * the jailer has the starter's own rights and does it by the path. */
	if (walk->host->hello.root) {
		r = host_open(walk->host, real, TREE_EXEC | (is_file ? TREE_FILE : 0),
			      &fd, err);
		if (r < 0)
			return optional ? 0 : r;
	}
	return emit(walk, JAILER_MOUNT, target, real, optional ? MOUNT_OPTIONAL : 0, fd,
		    err);
}

static int emit_shown(struct walk *walk, const char *path, unsigned flags,
		      struct sbx_err *err)
{
	char real[4096];

	if (host_resolve(walk->host, path, real, err) < 0)
		return (flags & OPTIONAL) ? 0 : -ENOENT;
	if (strncmp(real, "/usr/", 5) == 0 && strcmp(real, path) != 0)
		return emit(walk, JAILER_LINK, path, real, 0, -1, err);
	return emit_tree(walk, real, path, flags & IS_FILE, flags & OPTIONAL, err);
}

int layout_walk(struct host *host, const struct interpreter *interpreter, layout_fn fn,
		void *arg, struct sbx_err *err)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int r = 0;

	if (!walk)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "layout");
	walk->host = host;
	walk->fn = fn;
	walk->arg = arg;
	for (size_t i = 0; r == 0 && i < sizeof(shown) / sizeof(shown[0]); i++)
		r = emit_shown(walk, shown[i].path, shown[i].flags, err);
	for (size_t i = 0; r == 0 && i < interpreter->tree_count; i++) {
		const struct interpreter_tree *tree = &interpreter->trees[i];

		r = emit_tree(walk, tree->path, tree->target, tree->is_file, false, err);
	}
	for (size_t i = 0; r == 0 && i < sizeof(files) / sizeof(files[0]); i++)
		r = emit(walk, JAILER_FILE, files[i].target, files[i].text, 0, -1, err);
	free(walk);
	return r;
}
