/* SPDX-License-Identifier: MIT
 * Purpose: builds the root file system of zygotes and jails (root.h).
 * Process: the jailer, and its forks before they run anything else; uid 0 of the
 *   template's user namespace, or WORKER_UID of the jail's, with CAP_SYS_ADMIN over the
 *   mount namespace.
 * Trusts: the engine's list of entries (bounded here), the kernel. No path of a program
 *   is ever resolved: every step happens before one runs, and existing things are opened
 *   without following a symlink.
 * Invariants: all mounts are nosuid and nodev but for the five device nodes; everything
 *   but the private tmpfs and writable grants is read-only; nothing of the starter's view
 *   stays reachable after root_enter(). */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "jail/root.h"
#include "zygote/messages.h"

struct root_inner {
	int fd;
	const char *target;
};

static int fail(struct sbx_err *err, const char *what)
{
	return err_set_plain(err, SBX_AT_JAIL, errno, what);
}

/* A number into a path; snprintf is not promised to be free of malloc. */
static void tree_path(uint32_t index, char ret[32])
{
	char digits[12];
	size_t n = 0, at;

	memcpy(ret, "/trees/", 7);
	at = 7;
	do {
		digits[n++] = (char)('0' + index % 10);
		index /= 10;
	} while (index > 0);
	while (n > 0)
		ret[at++] = digits[--n];
	ret[at] = '\0';
}

static void number_text(uint64_t value, char ret[24])
{
	char digits[24];
	size_t n = 0, at = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	while (n > 0)
		ret[at++] = digits[--n];
	ret[at] = '\0';
}

static int open_plain(int dirfd, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how)); /* 5.6 */
}

static int set_attr(int fd, bool recursive, uint64_t set, uint64_t clear)
{
	/* Private, whatever the original is: nothing that is mounted here shows there. */
	struct mount_attr attr = { .attr_set = set,
				   .attr_clr = clear,
				   .propagation = MS_PRIVATE };

	return mount_setattr(fd, "",
			     AT_EMPTY_PATH | (recursive ? (unsigned)AT_RECURSIVE : 0),
			     &attr, sizeof(attr));
}

static int make_tmpfs(uint64_t bytes, uint64_t inodes, const char *mode, unsigned attrs)
{
	_cleanup_fd_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	char size[24], count[24];

	if (fs < 0)
		return -1;
	number_text(bytes, size);
	number_text(inodes, count);
	if (fsconfig(fs, FSCONFIG_SET_STRING, "size", size, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", count, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "mode", mode, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return fsmount(fs, FSMOUNT_CLOEXEC, attrs);
}

static int attach(int tree, const char *at)
{
	return move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH);
}

/* mkdir -p beneath dirfd; a leading '/' is taken as the top of it. With last_is_file the
 * last part becomes an empty file. */
static int make_point(int dirfd, const char *path, bool last_is_file)
{
	char part[1025];
	size_t len = strlen(path), i;

	if (len >= sizeof(part))
		return errno = ENAMETOOLONG, -1;
	memcpy(part, path, len + 1);
	while (len > 1 && part[len - 1] == '/')
		part[--len] = '\0';
	for (i = 1; i <= len; i++) {
		char cut = part[i];

		if (cut != '/' && cut != '\0')
			continue;
		part[i] = '\0';
		if (part[1] != '\0') {
			if (cut == '\0' && last_is_file) {
				_cleanup_fd_ int fd = open_plain(dirfd, part + 1, O_PATH);

				if (fd < 0)
					fd = openat(dirfd, part + 1,
						    O_CREAT | O_EXCL | O_WRONLY |
							    O_CLOEXEC,
						    0444);
				if (fd < 0)
					return -1;
			} else if (mkdirat(dirfd, part + 1, 0755) < 0 &&
				   errno != EEXIST) {
				return -1;
			}
		}
		part[i] = cut;
	}
	return 0;
}

static const struct {
	const char *name;
	const char *path;
	unsigned minor;
} devices[] = {
	{ "/dev-tree/null", "/old/dev/null", 3 },
	{ "/dev-tree/zero", "/old/dev/zero", 5 },
	{ "/dev-tree/full", "/old/dev/full", 7 },
	{ "/dev-tree/random", "/old/dev/random", 8 },
	{ "/dev-tree/urandom", "/old/dev/urandom", 9 },
};

/* The device is checked after it was opened and bound by that descriptor, so that a
 * swapped path gives an error and never another file (CVE-2025-31133). */
static int bind_device(const char *path, unsigned minor, const char *at,
		       struct sbx_err *err)
{
	_cleanup_fd_ int node = open_plain(AT_FDCWD, path, O_PATH);
	_cleanup_fd_ int tree = -1, point = -1;
	struct stat st;

	if (node < 0 || fstat(node, &st) < 0)
		return fail(err, "open of a device node");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, minor))
		return err_set_plain(err, SBX_AT_JAIL, ENODEV,
				     "a node in /dev is not what it should be");
	tree = open_tree(node, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	point = openat(AT_FDCWD, at, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
	if (tree < 0 || point < 0 ||
	    set_attr(tree, false, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0) < 0 ||
	    attach(tree, at) < 0)
		return fail(err, "bind of a device node");
	return 0;
}

static int make_dev(struct sbx_err *err)
{
	_cleanup_fd_ int tree = make_tmpfs(65536, 32, "0755",
					   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	size_t i;
	int r;

	if (tree < 0 || attach(tree, "/dev-tree") < 0)
		return fail(err, "tmpfs for /dev");
	for (i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		r = bind_device(devices[i].path, devices[i].minor, devices[i].name, err);
		if (r < 0)
			return r;
	}
	if (mkdir("/dev-tree/shm", 0755) < 0 ||
	    symlink("/proc/self/fd", "/dev-tree/fd") < 0 ||
	    symlink("/proc/self/fd/0", "/dev-tree/stdin") < 0 ||
	    symlink("/proc/self/fd/1", "/dev-tree/stdout") < 0 ||
	    symlink("/proc/self/fd/2", "/dev-tree/stderr") < 0)
		return fail(err, "making /dev");
	if (set_attr(tree, false, MOUNT_ATTR_RDONLY, 0) < 0)
		return fail(err, "read-only /dev");
	return 0;
}

int root_begin(struct sbx_err *err)
{
	_cleanup_fd_ int tree = -1;

	/* Nothing that is mounted here may show outside, nor the other way round. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail(err, "making mounts private");
	tree = make_tmpfs(16u << 20, 4096, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (tree < 0)
		return fail(err, "tmpfs for the jailer's root");
	/* /tmp is on every machine. What it holds is back in sight as /old/tmp after the
	 * pivot. */
	if (attach(tree, "/tmp") < 0 || mkdir("/tmp/old", 0755) < 0 ||
	    syscall(SYS_pivot_root, "/tmp", "/tmp/old") < 0 || chdir("/") < 0)
		return fail(err, "pivot_root of the jailer");
	if (mkdir("/trees", 0755) < 0 || mkdir("/mnt", 0755) < 0 ||
	    mkdir("/private", 0755) < 0 || mkdir("/dev-tree", 0755) < 0)
		return fail(err, "the jailer's directories");
	return make_dev(err);
}

static bool target_ok(const char *target)
{
	return target[0] == '/' && target[1] != '\0' && strlen(target) < 1024 &&
	       !strstr(target, "/../") && !strstr(target, "//");
}

static struct root_entry *entry_new(struct root *root, const char *target,
				    struct sbx_err *err)
{
	struct root_entry *entry = &root->entries[root->count];

	if (root->count >= ROOT_ENTRIES_MAX || !target_ok(target)) {
		(void)err_set_plain(err, SBX_AT_JAIL, E2BIG,
				    "too many or malformed entries of the root");
		return NULL;
	}
	memset(entry, 0, sizeof(*entry));
	memcpy(entry->target, target, strlen(target) + 1);
	return entry;
}

/* A grant that its giver cannot use himself is said to be wrong before the program finds
 * out. */
static int check_rights(int node, unsigned tree_flags, struct sbx_err *err)
{
	int mode = R_OK | ((tree_flags & TREE_WRITABLE) ? W_OK : 0);
	struct stat st;

	if (fstat(node, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
		return err_set_plain(err, SBX_AT_GRANT, EINVAL,
				     "a grant is neither directory nor file");
	if (syscall(SYS_faccessat2, node, "", mode | (S_ISDIR(st.st_mode) ? X_OK : 0),
		    AT_EMPTY_PATH | AT_EACCESS) < 0) /* 5.8 */
		return err_set_plain(err, SBX_AT_GRANT, errno,
				     "a granted directory or file cannot be opened");
	return 0;
}

int root_open_tree(const char *path, unsigned tree_flags, int *ret_fd,
		   struct sbx_err *err)
{
	char inside[4096 + 8] = "/old";
	_cleanup_fd_ int node = -1, tree = -1;
	uint64_t attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

	if (path[0] != '/' || strlen(path) >= 4096)
		return err_set_plain(err, SBX_AT_GRANT, EINVAL, "not an absolute path");
	memcpy(inside + 4, path, strlen(path) + 1);
	/* The engine gives real paths; a symlink that has come since is refused
	 * (CVE-2025-52565). */
	node = open_plain(
		AT_FDCWD, inside,
		O_PATH | ((tree_flags & (TREE_FILE | TREE_ANY)) ? 0 : O_DIRECTORY));
	if (node < 0)
		return err_set_plain(err, SBX_AT_GRANT, errno,
				     "a directory or file to be shown cannot be opened");
	if ((tree_flags & TREE_ANY) && check_rights(node, tree_flags, err) < 0)
		return -EACCES;
	tree = open_tree(node, "",
			 AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
				 AT_RECURSIVE);
	if (tree < 0)
		return err_set_plain(err, SBX_AT_GRANT, errno, "open_tree");
	if (!(tree_flags & TREE_WRITABLE))
		attrs |= MOUNT_ATTR_RDONLY;
	if (!(tree_flags & TREE_EXEC))
		attrs |= MOUNT_ATTR_NOEXEC;
	if (set_attr(tree, true, attrs, 0) < 0)
		return err_set_plain(err, SBX_AT_GRANT, errno, "mount_setattr");
	*ret_fd = fd_take(&tree);
	return 0;
}

int root_add_tree(struct root *root, int tree_fd, const char *path, const char *target,
		  bool optional, struct sbx_err *err)
{
	struct root_entry *entry = entry_new(root, target, err);
	_cleanup_fd_ int own = -1, point = -1;
	struct stat st;
	char at[32];
	int r;

	if (!entry)
		return -E2BIG;
	tree_path(root->count, at);
	if (tree_fd < 0) {
		char inside[4096 + 8] = "/old";

		if (strlen(path) >= 4096)
			return err_set_plain(err, SBX_AT_JAIL, ENAMETOOLONG, "path");
		memcpy(inside + 4, path, strlen(path) + 1);
		if (stat(inside, &st) < 0) {
			if (optional &&
			    (errno == ENOENT || errno == EACCES || errno == ENOTDIR))
				return 0;
			return fail(err, "stat of a part of the root");
		}
		r = root_open_tree(path,
				   TREE_EXEC | (S_ISDIR(st.st_mode) ? 0 : TREE_FILE),
				   &own, err);
		if (r < 0) {
			err->stage = SBX_AT_JAIL;
			return optional ? 0 : r;
		}
		tree_fd = own;
	}
	if (fstat(tree_fd, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
		return err_set_plain(err, SBX_AT_JAIL, EINVAL,
				     "a part of the root is neither file nor directory");
	entry->kind = ROOT_TREE;
	entry->is_file = S_ISREG(st.st_mode);
	if (entry->is_file)
		point = openat(AT_FDCWD, at, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC,
			       0444);
	if ((entry->is_file ? point < 0 : mkdir(at, 0755) < 0) || attach(tree_fd, at) < 0)
		return fail(err, "attaching a part of the root");
	root->count++;
	return 0;
}

int root_add_text(struct root *root, enum root_kind kind, const char *target,
		  const char *text, struct sbx_err *err)
{
	struct root_entry *entry = entry_new(root, target, err);

	if (!entry)
		return -E2BIG;
	if (strlen(text) >= sizeof(entry->text))
		return err_set_plain(err, SBX_AT_JAIL, EMSGSIZE,
				     "a made-up file is too long");
	entry->kind = kind;
	memcpy(entry->text, text, strlen(text) + 1);
	root->count++;
	return 0;
}

/* Beneath one of the places of the private tmpfs. */
static bool in_private(const char *target)
{
	return strncmp(target, "/tmp/", 5) == 0 || strncmp(target, "/work/", 6) == 0 ||
	       strncmp(target, "/dev/shm/", 9) == 0;
}

static int place(const struct root_entry *entry, uint32_t index, struct sbx_err *err)
{
	char at[32], full[1024 + 8] = "/mnt";
	_cleanup_fd_ int top = open("/mnt", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fd_ int tree = -1, file = -1;
	char parent[1024];
	char *slash;

	if (top < 0)
		return fail(err, "open of the new root");
	memcpy(full + 4, entry->target, strlen(entry->target) + 1);
	memcpy(parent, entry->target, strlen(entry->target) + 1);
	slash = strrchr(parent, '/');
	*slash = '\0';
	if (parent[0] && make_point(top, parent, false) < 0 && errno != EROFS)
		return fail(err, "mkdir in the new root");
	switch (entry->kind) {
	case ROOT_TREE:
		/* EROFS: it lies in a tree that was placed before and has it already. */
		if (make_point(top, entry->target, entry->is_file) < 0 && errno != EROFS)
			return fail(err, "a mount point in the new root");
		tree_path(index, at);
		/* Recursive, since a tree's inner mounts are locked to it in this user
		 * namespace. */
		tree = open_tree(AT_FDCWD, at,
				 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		if (tree < 0 || attach(tree, full) < 0)
			return fail(err, "mounting a part of the new root");
		return 0;
	case ROOT_LINK:
		if (symlinkat(entry->text, top, entry->target + 1) < 0 &&
		    errno != EEXIST && errno != EROFS)
			return fail(err, "symlink in the new root");
		return 0;
	case ROOT_FILE:
		file = openat(top, entry->target + 1,
			      O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0444);
		if (file < 0 || fd_write_all(file, entry->text, strlen(entry->text)) < 0)
			return fail(err, "a made-up file in the new root");
		return 0;
	}
	return err_set_plain(err, SBX_AT_JAIL, EINVAL, "unknown entry of the root");
}

static int place_private(const struct root_private *priv, int *ret_fd,
			 struct sbx_err *err)
{
	static const struct {
		const char *from, *to;
		mode_t mode;
	} parts[] = {
		{ "/private/tmp", "/mnt/tmp", 01777 },
		{ "/private/shm", "/mnt/dev/shm", 01777 },
		{ "/private/work", "/mnt/work", 0755 },
	};
	_cleanup_fd_ int fs = make_tmpfs(priv->bytes, priv->inodes, "0755",
					 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	size_t i;

	if (fs < 0 || attach(fs, "/private") < 0)
		return fail(err, "the private tmpfs");
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		_cleanup_fd_ int tree = -1;

		if (mkdir(parts[i].from, 0755) < 0 ||
		    chmod(parts[i].from, parts[i].mode) < 0)
			return fail(err, "directories of the private tmpfs");
		tree = open_tree(AT_FDCWD, parts[i].from,
				 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (tree < 0 || attach(tree, parts[i].to) < 0)
			return fail(err, "binding the private tmpfs");
	}
	*ret_fd = fd_take(&fs);
	return 0;
}

static int place_proc(struct sbx_err *err)
{
	_cleanup_fd_ int fs = fsopen("proc", FSOPEN_CLOEXEC);
	_cleanup_fd_ int tree = -1;

	/* subset=pid (5.8): no /proc/sys, /proc/kcore or any other file of the
	 * machine's. */
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "subset", "pid", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fail(err, "a private /proc");
	tree = fsmount(fs, FSMOUNT_CLOEXEC,
		       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (tree < 0 || attach(tree, "/mnt/proc") < 0)
		return fail(err, "mounting a private /proc");
	return 0;
}

static int place_extension(const char *from, struct sbx_err *err)
{
	_cleanup_fd_ int fs = make_tmpfs(32u << 20, 8, "0755",
					 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	_cleanup_fd_ int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_fd_ int out = -1;
	char chunk[65536];
	ssize_t n;

	if (fs < 0 || in < 0 || attach(fs, "/mnt/.sbx") < 0)
		return fail(err, "the extension's directory");
	out = open("/mnt" EXTENSION_PATH, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
	if (out < 0)
		return fail(err, "the extension");
	while ((n = read(in, chunk, sizeof(chunk))) > 0)
		if (fd_write_all(out, chunk, (size_t)n) < 0)
			return fail(err, "copying the extension");
	/* A mount with a file open for writing does not become read-only. */
	fd_close(&out);
	if (n < 0 || set_attr(fs, false, MOUNT_ATTR_RDONLY, 0) < 0)
		return fail(err, "copying the extension");
	return 0;
}

int root_enter(const struct root *root, const struct root_private *priv,
	       struct root_view *ret, struct sbx_err *err)
{
	static const char *const points[] = { "/mnt/dev", "/mnt/proc", "/mnt/tmp",
					      "/mnt/work", "/mnt/.sbx" };
	_cleanup_fd_ int tree = make_tmpfs(4u << 20, 2048, "0755",
					   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	_cleanup_fd_ int rw = -1, dev = -1, private_fd = -1;
	uint32_t i;
	int r;

	if (tree < 0 || attach(tree, "/mnt") < 0)
		return fail(err, "tmpfs for the new root");
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		if (mkdir(points[i], 0755) < 0)
			return fail(err, "directories of the new root");
	for (i = 0; i < root->count; i++) {
		r = in_private(root->entries[i].target)
			    ? 0
			    : place(&root->entries[i], i, err);
		if (r < 0)
			return r;
	}
	dev = open_tree(AT_FDCWD, "/dev-tree",
			OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (dev < 0 || attach(dev, "/mnt/dev") < 0)
		return fail(err, "mounting /dev");
	r = place_private(priv, &private_fd, err);
	if (r < 0)
		return r;
	/* An interpreter or a venv below /tmp lies over the private tmpfs, not under
	 * it. */
	for (i = 0; i < root->count; i++) {
		r = in_private(root->entries[i].target) ? place(&root->entries[i], i, err)
							: 0;
		if (r < 0)
			return r;
	}
	/* While the starter's /proc is still in sight: the kernel mounts a new one only
	 * for who sees one whole. */
	if (priv->proc && (r = place_proc(err)) < 0)
		return r;
	if (priv->extension && (r = place_extension(priv->extension, err)) < 0)
		return r;
	rw = open_tree(AT_FDCWD, "/mnt", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (rw < 0 || set_attr(tree, false, MOUNT_ATTR_RDONLY, 0) < 0)
		return fail(err, "read-only root");
	/* pivot_root(2), "pivot_root(".", ".")": the old root lies over the new one, then
	 * goes, with all in it. */
	if (chdir("/mnt") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return fail(err, "pivot_root");
	ret->rw_fd = fd_take(&rw);
	ret->private_fd = fd_take(&private_fd);
	return 0;
}

static bool is_below(const char *path, const char *above)
{
	size_t len = strlen(above);

	return strncmp(path, above, len) == 0 && path[len] == '/';
}

/* The parts of the root below path, by descriptors of their own. How many, or -errno. */
static int take_inner(const struct root *root, const char *path,
		      struct root_inner inner[ROOT_ENTRIES_MAX], struct sbx_err *err)
{
	int count = 0;

	for (uint32_t i = 0; i < root->count; i++) {
		const struct root_entry *entry = &root->entries[i];
		int fd;

		if (entry->kind != ROOT_TREE || !is_below(entry->target, path))
			continue;
		fd = open_tree(AT_FDCWD, entry->target,
			       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		if (fd < 0)
			return err_set_plain(err, SBX_AT_GRANT, errno,
					     "what every program sees below a grant");
		inner[count].fd = fd;
		inner[count++].target = entry->target;
	}
	return count;
}

static int put_inner(const struct root_inner *inner, int count, struct sbx_err *err)
{
	for (int i = 0; i < count; i++) {
		_cleanup_fd_ int point = open_plain(AT_FDCWD, inner[i].target, O_PATH);

		/* A venv's lib64 is a symlink to its lib, which is here. */
		if (point < 0 && errno == ELOOP)
			continue;
		if (point < 0 ||
		    move_mount(inner[i].fd, "", point, "",
			       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
			return err_set_plain(
				err, SBX_AT_GRANT, errno,
				"a granted directory would hide what every program sees");
	}
	return 0;
}

static int put_grant(const struct root_view *view, int tree_fd, const char *path,
		     struct sbx_err *err)
{
	_cleanup_fd_ int point = -1, top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	bool is_file;

	if (fstat(tree_fd, &st) < 0 || top < 0)
		return err_set_plain(err, SBX_AT_GRANT, EINVAL, "malformed grant");
	is_file = !S_ISDIR(st.st_mode);
	point = open_plain(AT_FDCWD, path, O_PATH);
	if (point < 0) {
		/* In the root's own tmpfs by its writable descriptor; in the private one
		 * directly. */
		if (make_point(view->rw_fd, path, is_file) < 0 ||
		    (point = open_plain(AT_FDCWD, path, O_PATH)) < 0)
			if (make_point(top, path, is_file) < 0)
				return err_set_plain(
					err, SBX_AT_GRANT, errno,
					"no place for a granted directory: it lies in one "
					"that every program sees read-only");
		if (point < 0)
			point = open_plain(AT_FDCWD, path, O_PATH);
		if (point < 0)
			return err_set_plain(err, SBX_AT_GRANT, errno,
					     "the place of a granted directory");
	}
	if (move_mount(tree_fd, "", point, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_set_plain(err, SBX_AT_GRANT, errno,
				     "mounting a granted directory");
	return 0;
}

int root_grant(const struct root *root, const struct root_view *view, int tree_fd,
	       const char *path, struct sbx_err *err)
{
	struct root_inner inner[ROOT_ENTRIES_MAX];
	struct statvfs fs;
	int count, r;

	if (!target_ok(path) || fstatvfs(tree_fd, &fs) < 0)
		return err_set_plain(err, SBX_AT_GRANT, EINVAL,
				     "malformed grant, or a path longer than 1023 bytes");
	for (uint32_t i = 0; i < root->count; i++) {
		const struct root_entry *entry = &root->entries[i];

		if (entry->kind != ROOT_TREE ||
		    (strcmp(path, entry->target) != 0 && !is_below(path, entry->target)))
			continue;
		/* Mounted over, its libraries could not be loaded any more. */
		if (fs.f_flag & ST_RDONLY)
			return 0;
		return err_set_plain(err, SBX_AT_GRANT, EROFS,
				     "what every program runs from cannot be granted "
				     "for writing");
	}
	count = take_inner(root, path, inner, err);
	if (count < 0)
		return count;
	r = put_grant(view, tree_fd, path, err);
	if (r == 0)
		r = put_inner(inner, count, err);
	while (count > 0)
		(void)close(inner[--count].fd);
	return r;
}

int root_resize(const struct root_view *view, uint64_t bytes, uint64_t inodes,
		struct sbx_err *err)
{
	_cleanup_fd_ int fs = fspick(view->private_fd, "",
				     FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);
	char size[24], count[24];

	number_text(bytes, size);
	number_text(inodes, count);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", size, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", count, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return fail(err, "resizing the private tmpfs");
	return 0;
}

/* ---- what roots do not show ---- */

#define ALIASES 4u

/* One directory is hidden at a time; requests that go on with it find it here. */
static struct {
	size_t count;
	int shown[ALIASES];    /* the tmpfs that lies over it */
	int original[ALIASES]; /* what lies beneath */
} hiding;

static void hiding_end(void)
{
	for (; hiding.count > 0; hiding.count--) {
		fd_close(&hiding.shown[hiding.count - 1]);
		fd_close(&hiding.original[hiding.count - 1]);
	}
}

/* The tree of the root that has the last word at target, and what of target lies in
 * it. */
static const char *find_tree(const struct root *root, const char *target,
			     uint32_t *ret_index)
{
	const char *rest = NULL;
	size_t longest = 0;

	for (uint32_t i = 0; i < root->count; i++) {
		size_t len = strlen(root->entries[i].target);

		if (root->entries[i].kind != ROOT_TREE || len < longest ||
		    strncmp(root->entries[i].target, target, len) != 0 ||
		    target[len] != '/')
			continue;
		longest = len;
		rest = target + len + 1;
		*ret_index = i;
	}
	return rest;
}

static int hide_file(int node, struct sbx_err *err)
{
	/* No regular file, which is what an importer looks for; and with nodev not even a
	 * device that could be opened. */
	_cleanup_fd_ int null = open_tree(AT_FDCWD, "/dev-tree/null",
					  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (null < 0 ||
	    set_attr(null, false, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, 0) < 0 ||
	    move_mount(null, "", node, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail(err, "hiding a file");
	return 0;
}

static int hide_one(uint32_t index, const char *rest, struct sbx_err *err)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
					   RESOLVE_BENEATH };
	_cleanup_fd_ int top = -1, node = -1, over = -1;
	struct stat st;
	char at[32];

	tree_path(index, at);
	top = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
	node = top < 0 ? -1 : (int)syscall(SYS_openat2, top, rest, &how, sizeof(how));
	if (node < 0 || fstat(node, &st) < 0)
		return fail(err, "a part of the root to be hidden");
	if (!S_ISDIR(st.st_mode))
		return hide_file(node, err);
	over = make_tmpfs(1u << 20, 8192, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (over < 0 || move_mount(over, "", node, "",
				   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail(err, "hiding a directory");
	hiding.shown[hiding.count] = fd_take(&over);
	hiding.original[hiding.count] = fd_take(&node);
	hiding.count++;
	return 0;
}

/* Also where the same tree is shown by a second name. */
static int hide_begin(const struct root *root, const char *target, struct sbx_err *err)
{
	uint32_t index = 0, i;
	const char *rest = target_ok(target) ? find_tree(root, target, &index) : NULL;
	struct stat first, other;
	char at[32];
	int r;

	if (!rest)
		return err_set_plain(err, SBX_AT_JAIL, EINVAL,
				     "what is to be hidden lies in no tree");
	tree_path(index, at);
	if (stat(at, &first) < 0)
		return fail(err, "stat of a part of the root");
	for (i = 0; i < root->count; i++) {
		if (root->entries[i].kind != ROOT_TREE)
			continue;
		tree_path(i, at);
		if (i != index && (stat(at, &other) < 0 || other.st_dev != first.st_dev ||
				   other.st_ino != first.st_ino))
			continue;
		if (hiding.count == ALIASES)
			return err_set_plain(err, SBX_AT_JAIL, E2BIG,
					     "too many names of one tree");
		r = hide_one(i, rest, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool name_ok(const char *name)
{
	const char *slash = strchr(name, '/');

	return name[0] && strcmp(name, ".") != 0 && name[0] != '/' &&
	       !strstr(name, "..") && (!slash || (slash[1] && !strchr(slash + 1, '/')));
}

static int show_one(int original, int shown, const char *name, struct sbx_err *err)
{
	char inside[600] = "/", text[1024];
	_cleanup_fd_ int tree = -1;
	struct stat st;
	ssize_t len;

	if (!name_ok(name) || strlen(name) >= sizeof(inside) - 1)
		return err_set_plain(err, SBX_AT_JAIL, EINVAL,
				     "malformed name of what is to be shown");
	memcpy(inside + 1, name, strlen(name) + 1);
	if (fstatat(original, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0; /* it has gone since */
	if (S_ISLNK(st.st_mode)) {
		len = readlinkat(original, name, text, sizeof(text) - 1);
		if (len < 0)
			return fail(err, "a symlink to be shown");
		text[len] = '\0';
		return symlinkat(text, shown, name) < 0 && errno != EEXIST
			       ? fail(err, "a symlink to be shown")
			       : 0;
	}
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return 0;
	if (make_point(shown, inside, S_ISREG(st.st_mode)) < 0)
		return fail(err, "a mount point of what is to be shown");
	tree = open_tree(original, name,
			 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE |
				 AT_SYMLINK_NOFOLLOW);
	if (tree < 0 || move_mount(tree, "", shown, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return fail(err, "mounting what is to be shown");
	return 0;
}

int root_hide(const struct root *root, const char *target, const char *names,
	      uint32_t count, bool more, struct sbx_err *err)
{
	const char *at = names, *end = names + ROOT_NAMES_MAX;
	int r = hiding.count > 0 ? 0 : hide_begin(root, target, err);

	for (uint32_t i = 0; r == 0 && i < count; i++) {
		size_t len = strnlen(at, (size_t)(end - at));

		if (at + len >= end)
			r = err_set_plain(err, SBX_AT_JAIL, EINVAL,
					  "malformed names of what is to be shown");
		for (size_t j = 0; r == 0 && j < hiding.count; j++)
			r = show_one(hiding.original[j], hiding.shown[j], at, err);
		at += len + 1;
	}
	for (size_t j = 0; r == 0 && !more && j < hiding.count; j++)
		if (set_attr(hiding.shown[j], false, MOUNT_ATTR_RDONLY, 0) < 0)
			r = fail(err, "read-only packages");
	if (r < 0 || !more)
		hiding_end();
	return r;
}
