/* SPDX-License-Identifier: MIT
 * Purpose: the broker (broker.h): starts the engine, makes its cgroup, and does for it
 *   the four things in `ops` that need the starter's rights.
 * Process: its own, with the rights of whoever started `sandbox`. Two threads once the
 *   engine runs: one serves quick requests and watches, one serves BROKER_CGROUP_ENTER,
 *   which can wait 100 ms for the kernel.
 * Trusts: the command that started it. The engine is not trusted: a request has a fixed
 *   size and one of four shapes, and whatever it names is checked to belong to this
 *   instance. Parses nothing that a user or a program wrote.
 * Invariants: it outlives the engine and removes the cgroups after it; it ends when the
 * command does. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <linux/securebits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "daemon/broker.h"
#include "daemon/claim.h"
#include "daemon/idmap.h"
#include "daemon/view.h"
#include "jail/caps.h"
#include "zygote/messages.h"

#define INSTANCES 128 /* blocks of ids above IDS_BASE that fit into 32 bits */
#define TEMPLATES 15  /* spans in a block, the last span is for the engine's own id */

struct broker {
	struct broker_hello hello;
	uid_t engine_uid;
	struct claim claim;
	int engine_pidfd;
	int sync_fd, mover_fd;
	bool reader;
	bool has_door, has_journal, has_key; /* the role's descriptors that were given */
	int listener_count;                  /* from ROLE_LISTENERS_FD on */
};

/* ---- which instance we are ---- */

/* Root as it is meant here: it can give away ids, build the engine's view, and the ids
 * exist. A root that cannot (in a container, or of a user namespace of one id) is served
 * like an ordinary user. */
static bool is_root(void)
{
	static const char *const maps[] = { "/proc/self/uid_map", "/proc/self/gid_map" };
	const uint64_t wanted = 1ull << CAP_SYS_ADMIN | 1ull << CAP_SETUID |
				1ull << CAP_SETGID | 1ull << CAP_SETPCAP |
				1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE;
	const uint64_t first = IDS_BASE,
		       last = IDS_BASE + (uint64_t)INSTANCES * IDS_PER_INSTANCE - 1;

	if (geteuid() != 0 || (caps_effective() & wanted) != wanted)
		return false;
	for (size_t i = 0; i < 2; i++) {
		_cleanup_free_ char *text = NULL;
		unsigned long inside, outside, count;
		bool covered = false;
		size_t len;

		if (fd_read_file(AT_FDCWD, maps[i], 65536, &text, &len) < 0)
			return false;
		for (const char *line = text; line; line = strchr(line, '\n')) {
			line += *line == '\n';
			if (sscanf(line, "%lu %lu %lu", &inside, &outside, &count) == 3)
				covered |= inside <= first && last < inside + count;
		}
		if (!covered)
			return false;
	}
	return true;
}

static int claim_instance(struct broker *b, struct sbx_err *err)
{
	char prefix[16];
	int r;

	if (!b->hello.root) {
		(void)snprintf(prefix, sizeof(prefix), "u%ux", (unsigned)getuid());
		return claim_take(&b->claim, prefix, 1024, err);
	}
	r = claim_take(&b->claim, "r", INSTANCES, err);
	if (r < 0)
		return r;
	b->hello.ids_base = IDS_BASE + b->claim.number * IDS_PER_INSTANCE;
	/* A uid in no use by anyone but the instance, and not mapped into any jail. */
	b->engine_uid = b->hello.ids_base + IDS_PER_INSTANCE - 1;
	return 0;
}

/* ---- requests ---- */

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
		return err_set(err, SBX_AT_ENGINE, -r, "a process that is not there");
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
		return err_set(err, SBX_AT_ENGINE, EPERM,
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
	if (!b->hello.root || request->index >= TEMPLATES)
		return err_set(&reply->err, SBX_AT_ENGINE, EINVAL, "no such span of ids");
	r = process_of(b, fd, &pid, &reply->err);
	if (r < 0)
		return r;
	/* Only a namespace that the engine made, directly below ours. */
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || ioctl(ns, NS_GET_OWNER_UID, &owner) < 0 || owner != b->engine_uid)
		return err_set(&reply->err, SBX_AT_ENGINE, EPERM,
			       "a user namespace that the engine does not own");
	parent = ioctl(ns, NS_GET_PARENT);
	if (parent < 0 || fstat(parent, &above) < 0 ||
	    stat("/proc/self/ns/user", &own) < 0 || above.st_ino != own.st_ino ||
	    above.st_dev != own.st_dev)
		return err_set(&reply->err, SBX_AT_ENGINE, EPERM,
			       "a user namespace that is not below ours");
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

struct identity {
	uid_t uid;
	gid_t gid;
	gid_t groups[1024];
	int group_count;
};

static int identity_of_peer(int peer, struct identity *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	ret->uid = cred.uid;
	ret->gid = cred.gid;
	len = sizeof(ret->groups);
	if (getsockopt(peer, SOL_SOCKET, SO_PEERGROUPS, ret->groups, &len) < 0) /* 4.13 */
		return -errno;
	ret->group_count = (int)(len / sizeof(gid_t));
	return 0;
}

/* Ids that cannot be taken back end the broker. */
static void become_again(const gid_t *mine, int count)
{
	if (syscall(SYS_setresuid, -1, 0, -1) < 0 ||
	    syscall(SYS_setresgid, -1, 0, -1) < 0 ||
	    syscall(SYS_setgroups, count, mine) < 0)
		_exit(1);
}

/* This thread only: the raw calls change one thread's ids (glibc's change all), and the
 * other thread, which moves processes, keeps its own. -errno: nothing has changed. */
static int become(const struct identity *who, gid_t mine[1024], int *ret_count)
{
	int count = getgroups(1024, mine);

	if (count < 0 || syscall(SYS_setgroups, who->group_count, who->groups) < 0)
		return -errno;
	*ret_count = count;
	if (syscall(SYS_setresgid, -1, who->gid, -1) < 0 ||
	    syscall(SYS_setresuid, -1, who->uid, -1) < 0) {
		int r = -errno;

		become_again(mine, count);
		return r;
	}
	return 0;
}

/* Opens with exactly the caller's rights. O_PATH: nothing is set off in what turns out to
 * be a device, and the rights to the contents are asked for by themselves. */
static int open_as(const struct identity *who, const char *path, unsigned flags)
{
	struct open_how how = {
		.flags = (uint64_t)(O_CLOEXEC |
				    ((flags & TREE_ANY)    ? O_PATH
				     : (flags & TREE_FILE) ? O_RDONLY | O_NONBLOCK
							   : O_RDONLY | O_DIRECTORY)),
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int mode = R_OK | ((flags & TREE_WRITABLE) ? W_OK : 0), count, fd, r;
	gid_t mine[1024];
	struct stat st;

	r = become(who, mine, &count);
	if (r < 0)
		return r;
	fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0)
		r = -errno;
	else if ((flags & TREE_ANY) &&
		 syscall(SYS_faccessat2, fd, "", mode | (S_ISDIR(st.st_mode) ? X_OK : 0),
			 AT_EMPTY_PATH | AT_EACCESS) < 0) /* 5.8 */
		r = -errno;
	become_again(mine, count);
	if (r < 0) {
		fd_close(&fd);
		return r;
	}
	return fd;
}

/* With a caller's socket as the caller, so that nobody learns here what lies where he may
 * not look. */
static int resolve(struct broker *b, const struct broker_request *request, int fd,
		   int *ret_fd, struct broker_reply *reply)
{
	struct identity who = { 0 };
	char found[PATH_MAX];
	gid_t mine[1024];
	int count = 0, r = 0;
	bool as_caller = b->hello.root && fd >= 0, ok;

	(void)ret_fd;
	if (request->path[0] != '/')
		return err_set(&reply->err, SBX_AT_GRANT, EINVAL, "%s", request->path);
	if (as_caller)
		r = identity_of_peer(fd, &who);
	if (as_caller && r == 0)
		r = become(&who, mine, &count);
	if (r < 0)
		return err_set(&reply->err, SBX_AT_GRANT, -r,
			       "whose directory it is cannot be told");
	ok = realpath(request->path, found) != NULL;
	r = errno;
	if (as_caller)
		become_again(mine, count);
	if (!ok)
		return err_set(&reply->err, SBX_AT_GRANT, r, "%s", request->path);
	memcpy(reply->path, found, strlen(found) + 1);
	return 0;
}

/* A throwaway user namespace with one line of map: what is `owner` on disk is `worker`
 * for the mount. */
static int idmap_namespace(uid_t owner, gid_t group, uid_t worker, int *ret_fd,
			   struct sbx_err *err)
{
	struct clone_args args = { .flags = CLONE_NEWUSER | CLONE_PIDFD,
				   .exit_signal = SIGCHLD };
	_cleanup_fd_ int pidfd = -1, ns = -1;
	char text[64], path[64];
	pid_t pid;
	int r;

	args.pidfd = (uint64_t)(uintptr_t)&pidfd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return err_set(err, SBX_AT_GRANT, errno, "clone3 for an id map");
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	(void)snprintf(text, sizeof(text), "%u %u 1\n", (unsigned)group,
		       (unsigned)worker);
	r = write_proc(pid, "gid_map", text, err);
	if (r == 0) {
		(void)snprintf(text, sizeof(text), "%u %u 1\n", (unsigned)owner,
			       (unsigned)worker);
		r = write_proc(pid, "uid_map", text, err);
	}
	if (r == 0) {
		(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
		ns = open(path, O_RDONLY | O_CLOEXEC);
		if (ns < 0)
			r = err_set(err, SBX_AT_GRANT, errno, "an id map");
	}
	(void)k_pidfd_send_signal(pidfd, SIGKILL);
	(void)waitpid(pid, NULL, __WALL);
	if (r < 0)
		return r;
	*ret_fd = fd_take(&ns);
	return 0;
}

static int open_a_tree(struct broker *b, const struct broker_request *request, int fd,
		       int *ret_fd, struct broker_reply *reply)
{
	struct identity who = { 0 };
	/* Private: a copy of a shared mount (systemd's default) is its peer, and what is
	 * mounted in the copy would appear on the host (INV-5). */
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
				   .propagation = MS_PRIVATE };
	_cleanup_fd_ int node = -1, tree = -1, ns = -1;
	unsigned recursive = (request->tree_flags & TREE_IDMAP) ? 0 : AT_RECURSIVE;
	struct stat st;
	int r;

	if (!b->hello.root || request->index >= TEMPLATES ||
	    request->uid_index >= IDS_PER_TEMPLATE)
		return err_set(&reply->err, SBX_AT_ENGINE, EINVAL,
			       "malformed request for a tree");
	r = fd >= 0 ? identity_of_peer(fd, &who) : 0;
	if (r < 0)
		return err_set(&reply->err, SBX_AT_GRANT, -r,
			       "whose directory it is cannot be told");
	node = open_as(&who, request->path, request->tree_flags);
	if (node < 0)
		return err_set(&reply->err, SBX_AT_GRANT, -node, "%s", request->path);
	if (fstat(node, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
		return err_set(&reply->err, SBX_AT_GRANT, EINVAL,
			       "%s is neither directory nor file", request->path);
	tree = open_tree(node, "",
			 AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
	if (tree < 0)
		return err_set(&reply->err, SBX_AT_GRANT, errno, "open_tree of %s",
			       request->path);
	if (!(request->tree_flags & TREE_WRITABLE))
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (!(request->tree_flags & TREE_EXEC))
		attr.attr_set |= MOUNT_ATTR_NOEXEC;
	if (request->tree_flags & TREE_IDMAP) {
		uid_t worker = b->hello.ids_base + request->index * IDS_PER_TEMPLATE +
			       request->uid_index;

		/* A caller gives the rights that it has itself; root may give
		 * anyone's. */
		r = idmap_namespace(who.uid ? who.uid : st.st_uid,
				    who.uid ? who.gid : st.st_gid, worker, &ns,
				    &reply->err);
		if (r < 0)
			return r;
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)ns;
	}
	r = mount_setattr(tree, "", AT_EMPTY_PATH | recursive, &attr, sizeof(attr));
	if (r < 0 && (errno == EINVAL || errno == EPERM) &&
	    (request->tree_flags & TREE_IDMAP)) {
		/* A file system that knows no id mapping. To read, it is shown as it is:
		 * the worker has the rights of a stranger there, fewer than asked for and
		 * never more. To write, new files would be the worker's. */
		if ((request->tree_flags & (TREE_WRITABLE | TREE_PLAIN)) == TREE_WRITABLE)
			return err_set_field(
				&reply->err, SBX_AT_WALL, errno, "allowed_directories",
				"%.200s: its file system refuses id-mapped mounts, so files written "
				"there would not be yours; grant it :ro",
				request->path);
		attr.attr_set &= ~(uint64_t)MOUNT_ATTR_IDMAP;
		attr.userns_fd = 0;
		r = mount_setattr(tree, "", AT_EMPTY_PATH | recursive, &attr,
				  sizeof(attr));
	}
	if (r < 0)
		return err_set(&reply->err, SBX_AT_GRANT, errno, "mount_setattr of %s",
			       request->path);
	*ret_fd = fd_take(&tree);
	return 0;
}

/* Everything that the engine can ask for. */
static const struct op {
	uint32_t op;
	bool mover; /* on the mover's socket, else on the other */
	bool wants_fd;
	int (*serve)(struct broker *b, const struct broker_request *request, int fd,
		     int *ret_fd, struct broker_reply *reply);
} ops[] = {
	{ BROKER_MAP_IDS, false, true, map_ids },
	{ BROKER_CGROUP_ENTER, true, true, enter_cgroup },
	{ BROKER_OPEN_TREE, false, false, open_a_tree },
	{ BROKER_RESOLVE, false, false, resolve },
};

/* One request. False: the engine is gone or has said something that is not in the table;
 * the end either way. */
static bool serve_one(struct broker *b, int socket, bool mover)
{
	struct broker_request request;
	struct broker_reply reply = { 0 };
	int fd = -1, made = -1, r;
	size_t count = 0, i;

	r = wire_recv(socket, &request, sizeof(request), &fd, 1, &count);
	if (r == -EINTR)
		return true;
	if (r < 0)
		return false;
	if (count == 0)
		fd = -1;
	request.path[sizeof(request.path) - 1] = '\0';
	reply.op = request.op;
	reply.serial = request.serial;
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (ops[i].op == request.op && ops[i].mover == mover &&
		    (fd >= 0 || !ops[i].wants_fd))
			break;
	if (i == sizeof(ops) / sizeof(ops[0])) {
		fd_close(&fd);
		return false;
	}
	(void)ops[i].serve(b, &request, fd, &made, &reply);
	r = wire_send(socket, &reply, sizeof(reply), &made, made >= 0 ? 1 : 0);
	fd_close(&fd);
	fd_close(&made);
	return r == 0;
}

static void *mover_thread(void *arg)
{
	struct broker *b = arg;

	while (serve_one(b, b->mover_fd, true))
		;
	return NULL;
}

/* ---- the engine's start ---- */

#define JOURNAL_END_MS 3000
#define HIGH_FD 128 /* above every number of a role */

/* Moves descriptors to the numbers of the role; `from` may overlap with them. */
static int place_fds(const int *from, const int *to, size_t count)
{
	int high[8];
	size_t i;

	for (i = 0; i < count; i++) {
		high[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, HIGH_FD);
		if (from[i] >= 0 && high[i] < 0)
			return -errno;
	}
	for (i = 0; i < count; i++) {
		if (high[i] < 0)
			(void)close(to[i]);
		else if (dup2(high[i], to[i]) < 0)
			return -errno;
	}
	return 0;
}

/* Of the starter's environment the engine gets where to look for an interpreter, and what
 * tests turn down. */
static void keep_environment(char **ret, size_t size)
{
	static const char *const names[] = { "PATH", "SANDBOX_TEMPLATE_FORKS",
					     "SANDBOX_TEMPLATE_SECONDS",
					     "SANDBOX_NAMESERVERS" };
	static char language[] = "LANG=C.UTF-8";
	size_t n = 0;

	ret[n++] = language;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && n + 1 < size; i++) {
		const char *value = getenv(names[i]);

		/* In the block of the process a value follows its name and '='. */
		if (value)
			ret[n++] = (char *)(uintptr_t)(value - strlen(names[i]) - 1);
	}
	ret[n] = NULL;
}

/* The engine's uid is not root's, and the next engine's is another: in its view the files
 * are its own, outside they are root's. The directory's own descriptor would be a way out
 * of the view (".."). */
static int journal_for_view(const struct broker *b)
{
	struct sbx_err err = { 0 };
	int tree = -1, full;

	if (!b->has_journal)
		return -1;
	if (idmap_tree(ROLE_JOURNAL_FD, b->engine_uid, &tree, &err) == 0) {
		tree = fcntl(tree, F_DUPFD_CLOEXEC, HIGH_FD);
		(void)close(ROLE_JOURNAL_FD);
		return tree;
	}
	full = open("/dev/full", O_RDONLY | O_CLOEXEC);
	if (full < 0 || dup2(full, ROLE_JOURNAL_FD) < 0)
		_exit(126);
	return -1;
}

static void open_shown_journal(void)
{
	int fd = open(VIEW_JOURNAL, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || (fd != ROLE_JOURNAL_FD && dup2(fd, ROLE_JOURNAL_FD) < 0))
		_exit(126);
	if (fd != ROLE_JOURNAL_FD)
		(void)close(fd);
	else
		(void)fcntl(fd, F_SETFD, 0);
}

static _Noreturn void engine_child(struct broker *b, int sync_fd, int mover_fd,
				   int binary)
{
	const int from[] = { b->has_door ? ROLE_DOOR_FD : -1, sync_fd, mover_fd,
			     b->has_journal ? ROLE_JOURNAL_FD : -1,
			     b->has_key ? ROLE_JOURNAL_KEY_FD : -1 };
	const int to[] = { ROLE_DOOR_FD, ROLE_BROKER_FD, ROLE_MOVER_FD, ROLE_JOURNAL_FD,
			   ROLE_JOURNAL_KEY_FD };
	char *const argv[] = { "sandbox", "--role=engine", b->reader ? ROLE_READER : NULL,
			       NULL };
	char *environment[8];
	struct sbx_err err = { 0 };
	int exe, journal;

	keep_environment(environment, sizeof(environment) / sizeof(environment[0]));

	exe = fcntl(binary, F_DUPFD_CLOEXEC, HIGH_FD);
	if (exe < 0 || place_fds(from, to, 5) < 0 ||
	    syscall(SYS_close_range, ROLE_LISTENERS_FD + b->listener_count, HIGH_FD - 1,
		    0) < 0)
		_exit(126);
	/* No terminal to read keys from, none to push them into. */
	(void)setsid();
	if (b->hello.root) {
		journal = journal_for_view(b);
		if (view_enter(journal, &err) < 0) {
			(void)fprintf(stderr, "sandbox: %s\n", err.msg);
			_exit(126);
		}
		if (journal >= 0)
			open_shown_journal();
		/* Capabilities outlive the change of ids, so that caps_keep() can empty
		 * the bounding set, too, and reads back that nothing is left; a new user
		 * namespace begins with the bits at their defaults. */
		if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0 ||
		    setgroups(0, NULL) < 0 ||
		    setresgid(b->engine_uid, b->engine_uid, b->engine_uid) < 0 ||
		    setresuid(b->engine_uid, b->engine_uid, b->engine_uid) < 0 ||
		    caps_keep(0, &err) < 0) {
			(void)fprintf(stderr, "sandbox: dropping root: %s\n",
				      strerror(errno));
			_exit(126);
		}
	} else if (getuid() == 0 && caps_keep(1ull << CAP_SETFCAP, &err) < 0) {
		/* user_namespaces(7): without it (5.12) id 0 cannot be mapped into a
		 * namespace, and there may be no other. */
		(void)fprintf(stderr, "sandbox: dropping capabilities: %s\n", err.msg);
		_exit(126);
	}
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(126);
	(void)syscall(SYS_execveat, exe, "", argv, environment, AT_EMPTY_PATH);
	(void)fprintf(stderr, "sandbox: execveat of the engine: %s\n", strerror(errno));
	_exit(126);
}

static int start_engine(struct broker *b, struct sbx_err *err)
{
	_cleanup_fd_ int binary = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct clone_args args = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD };
	int quick[2], mover[2], r;
	pid_t pid;

	if (binary < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "/proc/self/exe");
	r = wire_pair(SOCK_SEQPACKET, quick);
	if (r == 0)
		r = wire_pair(SOCK_SEQPACKET, mover);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "socketpair");
	args.pidfd = (uint64_t)(uintptr_t)&b->engine_pidfd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "clone3 of the engine");
	if (pid == 0)
		engine_child(b, quick[1], mover[1], binary);
	(void)close(quick[1]);
	(void)close(mover[1]);
	b->sync_fd = quick[0];
	b->mover_fd = mover[0];
	/* They are the engine's from here on: its end of file is the command's doing, not
	 * ours. */
	(void)close(ROLE_DOOR_FD);
	for (int i = 0; i < b->listener_count; i++)
		(void)close(ROLE_LISTENERS_FD + i);
	return 0;
}

/* True: the command asked for the end. False: the engine ended by itself. */
static bool watch(struct broker *b)
{
	bool serving = true;

	for (;;) {
		struct pollfd fds[3] = {
			{ .fd = b->engine_pidfd, .events = POLLIN },
			{ .fd = ROLE_LIFELINE_FD, .events = POLLIN },
			{ .fd = serving ? b->sync_fd : -1, .events = POLLIN },
		};

		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			return false;
		if (fds[0].revents)
			return false;
		/* The command is gone (nothing is ever sent on it): nobody waits for an
		 * answer. */
		if (fds[1].revents)
			return true;
		if (fds[2].revents && !serve_one(b, b->sync_fd, false))
			serving = false;
	}
}

/* Whether the role's number was given. If not it is occupied: what is opened next would
 * take it, and pass for a door to everyone who can reach it. */
static int occupy(int fd, bool *ret_given)
{
	int null;

	*ret_given = fcntl(fd, F_GETFD) >= 0;
	if (*ret_given)
		return 0;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || (null != fd && dup3(null, fd, O_CLOEXEC) < 0))
		return -errno;
	if (null != fd)
		(void)close(null);
	return 0;
}

int broker_main(int argc, char **argv)
{
	struct broker b = { .engine_pidfd = -1, .sync_fd = -1, .mover_fd = -1 };
	struct sbx_err err = { 0 };
	siginfo_t info = { 0 };
	pthread_t mover;
	bool asked = false;
	int status = 125;

	b.reader = argc > 2 && strcmp(argv[2], ROLE_READER) == 0;
	/* Interrupts from the terminal are the command's to handle; it ends us by its
	 * lifeline. */
	(void)setsid();
	(void)umask(
		022); /* what the view and the groups are made with is read by the engine's uid */
	(void)signal(SIGPIPE, SIG_IGN);
	while (b.listener_count < ROLE_LISTENERS_MAX &&
	       fcntl(ROLE_LISTENERS_FD + b.listener_count, F_GETFD) >= 0)
		b.listener_count++;
	if (syscall(SYS_close_range, ROLE_LIFELINE_FD + 1, ROLE_MOVER_FD, 0) < 0 ||
	    syscall(SYS_close_range, ROLE_LISTENERS_FD + b.listener_count, ~0u, 0) < 0)
		return 125;
	(void)fcntl(ROLE_LIFELINE_FD, F_SETFD, FD_CLOEXEC);
	if (occupy(ROLE_DOOR_FD, &b.has_door) < 0 ||
	    occupy(ROLE_JOURNAL_FD, &b.has_journal) < 0 ||
	    occupy(ROLE_JOURNAL_KEY_FD, &b.has_key) < 0)
		return 125;
	b.hello.root = is_root();
	b.hello.starter_uid = getuid();
	b.hello.starter_gid = getgid();
	b.engine_uid = getuid();
	if (claim_instance(&b, &err) < 0)
		goto failed;
	if (!b.reader)
		cgroup_host_make(&b.hello.cgroup, b.claim.id, b.engine_uid,
				 claim_is_alive, &b.claim, b.hello.why_no_cgroup);
	if (start_engine(&b, &err) < 0)
		goto failed;
	if (wire_send(b.sync_fd, &b.hello, sizeof(b.hello), NULL, 0) < 0 ||
	    wire_send(ROLE_LIFELINE_FD, &b.hello, sizeof(b.hello), NULL, 0) < 0)
		goto failed;
	if (pthread_create(&mover, NULL, mover_thread, &b) != 0) {
		(void)err_set(&err, SBX_AT_ENGINE, EAGAIN, "pthread_create");
		goto failed;
	}
	asked = watch(&b);
	status = 0;
failed:
	if (err.msg[0])
		(void)fprintf(stderr, "sandbox: %s\n", err.msg);
	if (b.engine_pidfd >= 0) {
		/* Its door has ended, too: it syncs its journal, and hangs up. */
		if (asked && b.has_journal)
			(void)poll(
				(struct pollfd[]){
					{ .fd = b.engine_pidfd, .events = POLLIN },
					{ .fd = b.sync_fd, .events = POLLRDHUP } },
				2, JOURNAL_END_MS);
		(void)k_pidfd_send_signal(b.engine_pidfd, SIGKILL);
		if (waitid((idtype_t)P_PIDFD, (id_t)b.engine_pidfd, &info, WEXITED) ==
			    0 &&
		    status == 0 && !asked &&
		    (info.si_code != CLD_EXITED || info.si_status != 0))
			status = 125;
	}
	if (b.hello.cgroup.version != CGROUP_NONE)
		(void)cgroup_host_remove(&b.hello.cgroup);
	return status;
}
