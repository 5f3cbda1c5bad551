/* SPDX-License-Identifier: MIT
 * Purpose: what the broker does for the engine (broker_ops.h): ids, groups, and mounts of
 *   what others granted.
 * Process: the broker, with the starter's rights.
 * Trusts: not the engine. Whatever a request names is checked to belong to this instance,
 *   or opened with the rights of the caller that the kernel names, of anybody, or of the
 *   starter where it named the place itself.
 * Invariants: a request that is not in `ops`, has not its shape, or names what is not this
 *   instance's is the engine's end: an honest one sends none. A file or directory that is
 *   refused to a caller is an answer like any other. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "daemon/broker.h"
#include "daemon/broker_ops.h"
#include "daemon/idmap.h"

#define TEMPLATES 15 /* spans in a block, the last span is for the engine's own id */

/* ---- processes ---- */

static int text_of(int dirfd, const char *name, char *ret, size_t size)
{
	_cleanup_fd_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = fd_read_all(fd, ret, size - 1);
	if (n < 0)
		return (int)n;
	ret[n] = '\0';
	return 0;
}

static bool ours(const struct broker *b, uid_t uid)
{
	if (!b->hello.root)
		return uid == getuid();
	return uid >= b->hello.ids_base && uid - b->hello.ids_base < IDS_PER_INSTANCE;
}

/* The process of a pidfd, by its directory in /proc, proved to be alive after the
 * directory was opened (so that the number is not another's) and to run under an id of
 * this instance. */
static int process_of(const struct broker *b, int pidfd, pid_t *ret_pid,
		      struct sbx_err *err)
{
	char path[32], text[4096];
	_cleanup_fd_ int dir = -1;
	struct pollfd alive = { .fd = pidfd, .events = POLLIN };
	unsigned real, effective;
	const char *line;
	pid_t pid;
	int r;

	r = fd_pidfd_host_pid(pidfd, &pid);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, r == -EBADF ? EBADMSG : -r,
			       "a process that is not there");
	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "%s", path);
	r = text_of(dir, "status", text, sizeof(text));
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "%s/status", path);
	if (poll(&alive, 1, 0) != 0)
		return err_set(err, SBX_AT_ENGINE, ESRCH, "a process that has ended");
	line = strstr(text, "\nUid:");
	if (!line || sscanf(line, "\nUid: %u %u", &real, &effective) != 2 ||
	    !ours(b, real) || !ours(b, effective))
		return err_set(err, SBX_AT_ENGINE, EBADMSG,
			       "process %d is not of this instance", (int)pid);
	*ret_pid = pid;
	return 0;
}

static int write_proc(pid_t pid, const char *name, const char *text, struct sbx_err *err)
{
	char path[64];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	r = fd_write_file(AT_FDCWD, path, text);
	return r < 0 ? err_set(err, SBX_AT_JAIL, -r, "writing %s", path) : 0;
}

static int map_ids(struct broker *b, const struct broker_request *request, int fd,
		   int *ret_fd, struct broker_reply *reply)
{
	char path[64], map[64];
	_cleanup_fd_ int ns = -1, parent = -1;
	struct stat own, above;
	uid_t owner;
	pid_t pid;
	int r;

	(void)ret_fd;
	if (request->index >= TEMPLATES)
		return -EBADMSG;
	r = process_of(b, fd, &pid, &reply->err);
	if (r < 0)
		return r;
	/* Only a namespace that the engine made, directly below ours. */
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return err_set(&reply->err, SBX_AT_ENGINE, errno, "%s", path);
	if (ioctl(ns, NS_GET_OWNER_UID, &owner) < 0 || owner != b->engine_uid)
		return -EBADMSG;
	parent = ioctl(ns, NS_GET_PARENT);
	if (parent < 0 || fstat(parent, &above) < 0 ||
	    stat("/proc/self/ns/user", &own) < 0 || above.st_ino != own.st_ino ||
	    above.st_dev != own.st_dev)
		return -EBADMSG;
	(void)snprintf(map, sizeof(map), "0 %u %u\n",
		       b->hello.ids_base + request->index * IDS_PER_TEMPLATE,
		       IDS_PER_TEMPLATE);
	r = write_proc(pid, "gid_map", map, &reply->err);
	return r < 0 ? r : write_proc(pid, "uid_map", map, &reply->err);
}

static int enter_cgroup(struct broker *b, const struct broker_request *request, int fd,
			int *ret_fd, struct broker_reply *reply)
{
	pid_t pid;
	int r;

	(void)ret_fd;
	r = process_of(b, fd, &pid, &reply->err);
	return r < 0 ? r
		     : cgroup_enter(&b->hello.cgroup, request->index, pid, &reply->err);
}

/* ---- files ---- */

/* A uid of the instance's block with no groups: what it may, everybody may. */
static struct identity anybody(const struct broker *b)
{
	return (struct identity){ .uid = b->engine_uid, .gid = b->engine_uid };
}

/* Whose rights a request about interpreters has. 0 or -errno. */
static int identity_shown(const struct broker *b, const char *path, bool above, int fd,
			  struct identity *ret)
{
	int r;

	if (opened_shows(&b->opened, path, above)) {
		*ret = (struct identity){ .group_count = 0 };
		return 0;
	}
	if (fd >= 0) {
		r = peer_identity(&b->opened.listeners, fd, ret);
		if (r == -EBADMSG)
			return r;
		if (r == 0 && ret->uid == b->hello.starter_uid)
			return 0;
	}
	*ret = anybody(b);
	return 0;
}

/* Opens with exactly their rights. O_PATH: nothing is set off in what turns out to be a
 * device, and the rights to the contents are asked for by themselves. */
static int open_as(const struct identity *who, const char *path, uint32_t writable,
		   struct stat *ret_st)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				      .resolve = RESOLVE_NO_SYMLINKS |
						 RESOLVE_NO_MAGICLINKS };
	int mode = R_OK | (writable ? W_OK : 0), count, fd, r;
	gid_t mine[1024];

	r = peer_become(who, mine, &count);
	if (r < 0)
		return r;
	fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	if (fd < 0 || fstat(fd, ret_st) < 0)
		r = -errno;
	else if (syscall(SYS_faccessat2, fd, "",
			 mode | (S_ISDIR(ret_st->st_mode) ? X_OK : 0),
			 AT_EMPTY_PATH | AT_EACCESS) < 0) /* 5.8 */
		r = -errno;
	peer_unbecome(mine, count);
	if (r < 0) {
		fd_close(&fd);
		return r;
	}
	return fd;
}

static int real_path(const struct identity *who, const char *path, char ret[PATH_MAX])
{
	gid_t mine[1024];
	int count, r = peer_become(who, mine, &count);

	if (r < 0)
		return r;
	r = realpath(path, ret) ? 0 : -errno;
	peer_unbecome(mine, count);
	return r;
}

static int resolve(struct broker *b, const struct broker_request *request, int fd,
		   int *ret_fd, struct broker_reply *reply)
{
	struct identity who;
	char found[PATH_MAX];
	int r;

	(void)ret_fd;
	r = identity_shown(b, request->path, true, fd, &who);
	if (r == 0)
		r = real_path(&who, request->path, found);
	if (r < 0)
		return err_set(&reply->err, SBX_AT_GRANT, -r, "%s", request->path);
	memcpy(reply->path, found, strlen(found) + 1);
	return 0;
}

static int clone_tree(int node, unsigned recursive, struct mount_attr *attr,
		      int *ret_tree)
{
	_cleanup_fd_ int tree = open_tree(node, "",
					  AT_EMPTY_PATH | OPEN_TREE_CLONE |
						  OPEN_TREE_CLOEXEC | recursive);
	int r;

	if (tree < 0)
		return -errno;
	r = mount_setattr(tree, "", AT_EMPTY_PATH | recursive, attr, sizeof(*attr));
	if (r < 0)
		return -errno;
	*ret_tree = fd_take(&tree);
	return 0;
}

/* Private: a copy of a shared mount (systemd's default) is its peer, and what is mounted
 * in the copy would appear on the host (INV-5). */
static struct mount_attr attributes(uint32_t tree_flags)
{
	return (struct mount_attr){
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			    ((tree_flags & TREE_WRITABLE) ? 0ull : MOUNT_ATTR_RDONLY) |
			    ((tree_flags & TREE_EXEC) ? 0ull : MOUNT_ATTR_NOEXEC),
		.propagation = MS_PRIVATE,
	};
}

static int open_shown(struct broker *b, const struct broker_request *request, int fd,
		      int *ret_fd, struct broker_reply *reply)
{
	struct mount_attr attr = attributes(request->tree_flags);
	bool is_file = request->tree_flags & TREE_FILE;
	_cleanup_fd_ int node = -1;
	struct identity who;
	struct stat st;
	int r;

	r = identity_shown(b, request->path, false, fd, &who);
	if (r < 0)
		return r;
	node = open_as(&who, request->path, 0, &st);
	r = node < 0 ? node : 0;
	if (r == 0 && !(is_file ? S_ISREG(st.st_mode) : S_ISDIR(st.st_mode)))
		r = is_file ? -EINVAL : -ENOTDIR;
	if (r == 0)
		r = clone_tree(node, AT_RECURSIVE, &attr, ret_fd);
	if (r == 0 && who.uid == b->hello.starter_uid &&
	    !opened_shows(&b->opened, request->path, false))
		r = opened_show(&b->opened, request->path);
	return r < 0 ? err_set(&reply->err, SBX_AT_GRANT, -r, "%s", request->path) : 0;
}

static int grant(struct broker *b, const struct broker_request *request, int fd,
		 int *ret_fd, struct broker_reply *reply)
{
	char found[PATH_MAX], link[64];
	struct identity who = { 0 };
	struct granted *granted;
	struct stat st;
	int node = -1, r;
	ssize_t n;

	(void)ret_fd;
	r = fd < 0 ? -ENOTSOCK : peer_identity(&b->opened.listeners, fd, &who);
	if (r == -EBADMSG)
		return r;
	if (r == -ENOTSOCK) {
		r = opened_grantable(&b->opened, request->path, request->tree_flags,
				     &node);
		if (r == 0 && fstat(node, &st) < 0)
			r = -errno;
	} else if (r == 0) {
		r = real_path(&who, request->path, found);
		if (r == 0)
			node = open_as(&who, found, request->tree_flags & TREE_WRITABLE,
				       &st);
		if (node < 0 && r == 0)
			r = node;
	}
	if (r == 0 && !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
		(void)close(node);
		return err_set(&reply->err, SBX_AT_GRANT, 0,
			       "%.200s is neither directory nor file", request->path);
	}
	if (r == 0) {
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", node);
		n = readlink(link, reply->path, sizeof(reply->path) - 1);
		r = n < 0 ? -errno : 0;
		reply->path[n < 0 ? 0 : n] = '\0';
	}
	if (r < 0) {
		fd_close(&node);
		return err_set(&reply->err, SBX_AT_GRANT, -r, "%s", request->path);
	}
	granted = opened_add(&b->opened, 0, node, request->tree_flags);
	if (!granted)
		return err_set(&reply->err, SBX_AT_BUSY, EAGAIN,
			       "too many directories are granted at once");
	granted->uid = who.uid;
	granted->gid = who.gid;
	reply->grant = granted->number;
	return 0;
}

static int drop(struct broker *b, const struct broker_request *request, int fd,
		int *ret_fd, struct broker_reply *reply)
{
	struct granted *granted = opened_find(&b->opened, request->grant);

	(void)fd;
	(void)ret_fd;
	(void)reply;
	/* What the command offered it takes back itself. */
	if (!granted || (request->grant & OFFERED))
		return -EBADMSG;
	opened_drop(granted);
	return 0;
}

static int open_a_tree(struct broker *b, const struct broker_request *request, int fd,
		       int *ret_fd, struct broker_reply *reply)
{
	struct granted *granted = opened_find(&b->opened, request->grant);
	struct mount_attr attr = attributes(request->tree_flags);
	_cleanup_fd_ int ns = -1;
	struct stat st;
	int r;

	(void)fd;
	if (!granted) /* also one that the command offered, and for which there was no room */
		return err_set(&reply->err, SBX_AT_GRANT, ESTALE,
			       "a directory that is not granted any more");
	if (request->index >= TEMPLATES || request->uid_index >= IDS_PER_TEMPLATE ||
	    (request->tree_flags & ~granted->tree_flags) != 0)
		return -EBADMSG;
	if (fstat(granted->node, &st) < 0)
		return err_set(&reply->err, SBX_AT_GRANT, errno, "a granted directory");
	/* A caller gives the rights that it has itself; root may give anyone's. */
	ns = idmap_namespace(granted->uid ? granted->uid : st.st_uid,
			     granted->uid ? granted->gid : st.st_gid,
			     b->hello.ids_base + request->index * IDS_PER_TEMPLATE +
				     request->uid_index);
	if (ns < 0)
		return err_set(&reply->err, SBX_AT_GRANT, -ns, "an id map");
	attr.attr_set |= MOUNT_ATTR_IDMAP;
	attr.userns_fd = (uint64_t)ns;
	r = clone_tree(granted->node, 0, &attr, ret_fd);
	if (r == -EINVAL || r == -EPERM) {
		/* A file system that knows no id mapping. To read, it is shown as it is:
		 * the worker has the rights of a stranger there, fewer than asked for and
		 * never more. To write, new files would be the worker's. */
		if ((request->tree_flags & (TREE_WRITABLE | TREE_PLAIN)) == TREE_WRITABLE)
			return err_set_field(
				&reply->err, SBX_AT_WALL, -r, "allowed_directories",
				"its file system refuses id-mapped mounts, so files written "
				"there would not be yours; grant it :ro");
		attr.attr_set &= ~(uint64_t)MOUNT_ATTR_IDMAP;
		attr.userns_fd = 0;
		r = clone_tree(granted->node, 0, &attr, ret_fd);
	}
	return r < 0 ? err_set(&reply->err, SBX_AT_GRANT, -r, "a mount of it") : 0;
}

/* ---- the table ---- */

enum descriptor { NO_FD, MAY_HAVE_FD, NEEDS_FD };
enum who { ANY_START, ROOT_START }; /* with whose rights the broker was started */

/* Everything that the engine can ask for. */
static const struct op {
	uint32_t op;
	enum who who;
	bool mover; /* on the mover's socket, else on the other */
	enum descriptor fd;
	bool path;           /* absolute; else all zeroes */
	uint32_t tree_flags; /* these and no others */
	int (*serve)(struct broker *b, const struct broker_request *request, int fd,
		     int *ret_fd, struct broker_reply *reply);
} ops[] = {
	{ BROKER_MAP_IDS, ROOT_START, false, NEEDS_FD, false, 0, map_ids },
	{ BROKER_CGROUP_ENTER, ANY_START, true, NEEDS_FD, false, 0, enter_cgroup },
	{ BROKER_RESOLVE, ROOT_START, false, MAY_HAVE_FD, true, 0, resolve },
	{ BROKER_OPEN_SHOWN, ROOT_START, false, MAY_HAVE_FD, true, TREE_EXEC | TREE_FILE,
	  open_shown },
	{ BROKER_GRANT, ROOT_START, false, MAY_HAVE_FD, true,
	  TREE_WRITABLE | TREE_EXEC | TREE_PLAIN, grant },
	{ BROKER_OPEN_TREE, ROOT_START, false, NO_FD, false,
	  TREE_WRITABLE | TREE_EXEC | TREE_PLAIN, open_a_tree },
	{ BROKER_DROP, ROOT_START, false, NO_FD, false, 0, drop },
};
_Static_assert(sizeof(ops) / sizeof(ops[0]) == BROKER_DROP, "each has its row");

static const struct op *op_of(const struct broker *b,
			      const struct broker_request *request, bool has_fd,
			      bool mover)
{
	static const char zeroes[sizeof(request->path)];
	size_t len = strnlen(request->path, sizeof(request->path)), i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		const struct op *op = &ops[i];

		if (op->op != request->op)
			continue;
		if (op->mover != mover || (op->who == ROOT_START && !b->hello.root) ||
		    (op->fd == NO_FD && has_fd) || (op->fd == NEEDS_FD && !has_fd) ||
		    (request->tree_flags & ~op->tree_flags) != 0 ||
		    op->path != (request->path[0] == '/') ||
		    len == sizeof(request->path) ||
		    memcmp(request->path + len, zeroes, sizeof(request->path) - len) != 0)
			return NULL;
		return op;
	}
	return NULL;
}

int broker_serve(struct broker *b, int socket, bool mover)
{
	struct broker_request request;
	struct broker_reply reply = { 0 };
	_cleanup_fd_ int fd = -1, made = -1;
	const struct op *op;
	size_t count = 0;
	int r;

	r = wire_recv(socket, &request, sizeof(request), &fd, 1, &count);
	if (r < 0)
		return r == -EINTR ? 0 : r;
	op = op_of(b, &request, count > 0, mover);
	if (!op)
		return -EBADMSG;
	/* What the command has offered for this request was sent before it. */
	if (!mover && opened_offers(&b->opened, ROLE_LIFELINE_FD) < 0)
		return -EPIPE;
	reply.op = request.op;
	reply.serial = request.serial;
	r = op->serve(b, &request, fd, &made, &reply);
	if (r == -EBADMSG)
		return r;
	if (r < 0 && reply.err.stage == SBX_AT_NONE)
		(void)err_set(&reply.err, SBX_AT_ENGINE, -r, "the broker");
	return wire_send(socket, &reply, sizeof(reply), &made, made >= 0 ? 1 : 0);
}
