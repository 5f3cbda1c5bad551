/* SPDX-License-Identifier: MIT
 * Wall: the file system that a program sees. A list of what it is made of, kept by the
 * jailer, and the steps that turn the list into the root of the calling process. Jailer,
 * and its forks (init, zygote); child-safe: no malloc. */
#ifndef SBX_JAIL_ROOT_H
#define SBX_JAIL_ROOT_H

#include <stdbool.h>
#include <stdint.h>

#include "sbx.h"

#define ROOT_ENTRIES_MAX 96
#define ROOT_TEXT_MAX 4096

enum root_kind { ROOT_TREE = 1, ROOT_LINK = 2, ROOT_FILE = 3 };
struct root_entry {
	enum root_kind kind;
	bool is_file;      /* ROOT_TREE: of a file */
	char target[1024]; /* absolute, no "..", inside the root */
	char text
		[ROOT_TEXT_MAX]; /* ROOT_LINK: what it points to; ROOT_FILE: its content */
};
/* In the jailer's own mount namespace every ROOT_TREE number i is mounted, read-only, at
 * /trees/<i>, and the small /dev at /dev-tree; "/mnt" and "/private" are empty mount
 * points; "/old" is the starter's view. */
struct root {
	uint32_t count;
	struct root_entry entries[ROOT_ENTRIES_MAX];
};

/* Jailer, once: leaves the starter's view for a tmpfs of its own with the layout
 * above. */
int root_begin(struct sbx_err *err);
/* Jailer: adds a tree, from a detached mount (tree_fd >= 0) or, with tree_fd < 0, from
 * `path` in the starter's view. With optional a missing path adds nothing. */
int root_add_tree(struct root *root, int tree_fd, const char *path, const char *target,
		  bool optional, struct sbx_err *err);
int root_add_text(struct root *root, enum root_kind kind, const char *target,
		  const char *text, struct sbx_err *err);
/* Jailer: from now on roots show of the directory `target` (a path of the root, in one of
 * its trees) no more than these names, each of one or two parts, and a file `target` not
 * at all. names: `count` of them, each with its NUL, within ROOT_NAMES_MAX bytes. With
 * more, the next call goes on with the same target. */
#define ROOT_NAMES_MAX 8192
int root_hide(const struct root *root, const char *target, const char *names,
	      uint32_t count, bool more, struct sbx_err *err);
/* A detached mount (open_tree(2), 5.2) of a path in the starter's view, with nosuid and
 * nodev and the given TREE_* flags (mount_setattr(2), 5.12). */
int root_open_tree(const char *path, unsigned tree_flags, int *ret_fd,
		   struct sbx_err *err);

/* What a process has after root_enter(). */
struct root_view {
	int rw_fd; /* the root tmpfs, writable, for mount points of grants; -1 with none */
	int private_fd; /* the private tmpfs */
};
struct root_private {
	uint64_t bytes, inodes;
	const char *
		extension; /* path in the jailer's root of a file shown as EXTENSION_PATH, or NULL */
	bool proc; /* mount a /proc of the caller's pid namespace */
};
/* Init or zygote, in a mount namespace of its own (a copy of the jailer's), with
 * CAP_SYS_ADMIN over it: builds the root from the list, with one private tmpfs behind
 * /tmp, /dev/shm and /work, and makes it the only thing there is. */
int root_enter(const struct root *root, const struct root_private *priv,
	       struct root_view *ret, struct sbx_err *err);
/* Init: puts a detached mount at path, which is made if it is not there. Parts of the
 * root that lie below it (an interpreter in a project's directory) stay as they are; what
 * lies in one of them is there already to be read, and never to be written. */
int root_grant(const struct root *root, const struct root_view *view, int tree_fd,
	       const char *path, struct sbx_err *err);
int root_resize(const struct root_view *view, uint64_t bytes, uint64_t inodes,
		struct sbx_err *err);

#endif
