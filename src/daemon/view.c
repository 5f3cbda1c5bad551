/* SPDX-License-Identifier: MIT
 * Purpose: the engine's file wall (view.h). Not Landlock: a process in a Landlock domain
 *   may not mount, and may not read what a denied call's arguments point to
 *   (shared/proved.md).
 * Process: a fork of the broker, root, single thread. Trusts: the machine's own mounts.
 * Invariants: all of it is read-only but the cgroup file systems, in which only the own
 * group is writable by owner, and the journal's directory. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "daemon/view.h"

#define TOP "/tmp"

enum { SHOW_OPTIONAL = 1, SHOW_WRITABLE = 2, SHOW_DEVICE = 4, SHOW_EXEC = 8 };

static const struct {
	const char *path;
	unsigned flags;
} shown[] = {
	{ "/usr", SHOW_EXEC },
	{ "/bin", SHOW_EXEC | SHOW_OPTIONAL },
	{ "/sbin", SHOW_EXEC | SHOW_OPTIONAL },
	{ "/lib", SHOW_EXEC | SHOW_OPTIONAL },
	{ "/lib64", SHOW_EXEC | SHOW_OPTIONAL },
	{ "/lib32", SHOW_EXEC | SHOW_OPTIONAL },
	{ "/etc/ld.so.cache", SHOW_OPTIONAL },
	{ "/etc/localtime", SHOW_OPTIONAL },
	{ "/proc", SHOW_WRITABLE },
	{ "/sys/fs/cgroup", SHOW_WRITABLE | SHOW_OPTIONAL },
	{ "/dev/null", SHOW_DEVICE },
	{ "/dev/zero", SHOW_DEVICE },
	{ "/dev/full", SHOW_DEVICE },
	{ "/dev/random", SHOW_DEVICE },
	{ "/dev/urandom", SHOW_DEVICE },
};

static int make_parents(const char *path)
{
	char part[256];
	size_t i;

	(void)snprintf(part, sizeof(part), TOP "%s", path);
	for (i = sizeof(TOP); part[i]; i++) {
		if (part[i] != '/')
			continue;
		part[i] = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		part[i] = '/';
	}
	return 0;
}

static int show(const char *path, unsigned flags, struct sbx_err *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID,
				   .propagation = MS_PRIVATE };
	_cleanup_fd_ int tree = -1, point = -1;
	char at[256], text[256];
	struct stat st;
	ssize_t len;

	(void)snprintf(at, sizeof(at), TOP "%s", path);
	if (lstat(path, &st) < 0) {
		if ((flags & SHOW_OPTIONAL) && errno == ENOENT)
			return 0;
		return err_set(err, SBX_AT_ENGINE, errno, "stat of %s", path);
	}
	if (make_parents(path) < 0)
		return err_set(err, SBX_AT_ENGINE, errno,
			       "directories for the engine's view");
	if (S_ISLNK(st.st_mode) && !(flags & SHOW_DEVICE)) {
		len = readlink(path, text, sizeof(text) - 1);
		if (len < 0)
			return err_set(err, SBX_AT_ENGINE, errno, "readlink of %s", path);
		text[len] = '\0';
		if (symlink(text, at) < 0)
			return err_set(err, SBX_AT_ENGINE, errno, "symlink %s", at);
		return 0;
	}
	tree = open_tree(AT_FDCWD, path,
			 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "open_tree of %s", path);
	if (!(flags & SHOW_WRITABLE))
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (!(flags & SHOW_DEVICE))
		attr.attr_set |= MOUNT_ATTR_NODEV;
	if (!(flags & SHOW_EXEC))
		attr.attr_set |= MOUNT_ATTR_NOEXEC;
	/* /proc stays as it is: the kernel mounts a new one for a jail only where one
	 * with no more flags is seen. */
	if (strcmp(path, "/proc") != 0 &&
	    mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) <
		    0)
		return err_set(err, SBX_AT_ENGINE, errno, "mount_setattr of %s", path);
	if (S_ISDIR(st.st_mode))
		(void)mkdir(at, 0755);
	else
		point = open(at, O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
	if (move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "mounting %s", at);
	return 0;
}

static int show_journal(int journal, struct sbx_err *err)
{
	if (mkdir(TOP VIEW_JOURNAL, 0755) < 0 ||
	    move_mount(journal, "", AT_FDCWD, TOP VIEW_JOURNAL, MOVE_MOUNT_F_EMPTY_PATH) <
		    0)
		return err_set(err, SBX_AT_ENGINE, errno, "mounting the journal");
	return 0;
}

int view_enter(int journal, struct sbx_err *err)
{
	size_t i;
	int r;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_set(err, SBX_AT_ENGINE, errno,
			       "a mount namespace for the engine");
	if (mount("sandbox", TOP, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755") <
		    0 ||
	    mkdir(TOP "/tmp", 0755) < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "tmpfs for the engine");
	for (i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		r = show(shown[i].path, shown[i].flags, err);
		if (r < 0)
			return r;
	}
	if (journal >= 0 && (r = show_journal(journal, err)) < 0)
		return r;
	if (mount(NULL, TOP, NULL,
		  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0 ||
	    chdir(TOP) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "pivot_root of the engine");
	return 0;
}
