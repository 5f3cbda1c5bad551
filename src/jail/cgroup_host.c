/* SPDX-License-Identifier: MIT
 * Purpose: the host's half of the cgroup wall (cgroup.h): finds the hierarchies, makes
 *   the base group of an instance and takes it away again, also after instances that were
 *   killed.
 * Process: the broker, with the rights of whoever started `sandbox`.
 * Trusts: the kernel's files; of the names in a hierarchy only those of the form
 * `sandbox-<id>` are touched.
 * Invariants: no process that is not ours is moved or, outside of a group of ours,
 *   killed. What was made is either told in struct cgroup_host or removed again. On v2
 *   processes live in leaves only (cgroups(7), no internal processes): a group whose
 *   processes are all ours gets them moved to a leaf `sandbox-<id>.self`;
 *   cgroup_host_remove() moves them back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "jail/cgroup.h"

#define TOP "/sys/fs/cgroup"
#define PREFIX "sandbox-"
#define SELF ".self"
#define ID_MAX 32
#define LONG_PATH \
	(3 * CGROUP_PATH) /* a path that is still to be judged, and a name behind it */
#define DEPTH_MAX 8
#define REMOVE_MS 2000

/* v2 counts CPU time without a controller. A test on a machine whose v1 has these gives
 * one that is left. */
#ifndef V2_CONTROLLERS
#define V2_CONTROLLERS                                        \
	{ "memory", CGROUP_MEMORY }, { "pids", CGROUP_PIDS }, \
	{                                                     \
		"cpu", CGROUP_CPU                             \
	}
#define V2_WANTED (CGROUP_MEMORY | CGROUP_PIDS | CGROUP_CPU)
#endif
static const struct {
	const char *name;
	unsigned bit;
} v2_controllers[] = { V2_CONTROLLERS };
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void pause_ms(long ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* ---- where we are ---- */

/* Whether a list of words has this one. */
static bool has_word(const char *list, size_t len, char separator, const char *word)
{
	size_t want = strlen(word);
	const char *end = list + len;

	while (list < end) {
		const char *stop = memchr(list, separator, (size_t)(end - list));
		size_t n = (size_t)((stop ? stop : end) - list);

		if (n == want && memcmp(list, word, n) == 0)
			return true;
		if (!stop)
			return false;
		list = stop + 1;
	}
	return false;
}

/* mountinfo(5) writes blanks and their kin as three octal digits. False if it does not
 * fit. */
static bool unescape(const char *from, size_t len, char *ret, size_t size)
{
	size_t at = 0, i;

	for (i = 0; i < len; i++) {
		char c = from[i];

		if (c == '\\' && len - i > 3) {
			c = (char)((from[i + 1] - '0') * 64 + (from[i + 2] - '0') * 8 +
				   (from[i + 3] - '0'));
			i += 3;
		}
		if (at + 1 >= size)
			return false;
		ret[at++] = c;
	}
	ret[at] = '\0';
	return true;
}

/* The path of the line `<n>:<controllers>:<path>` that has the controller; NULL: of the
 * unified hierarchy, `0::`. */
static bool own_path(const char *self_cgroup, const char *controller, char *ret,
		     size_t size)
{
	const char *line, *next;

	for (line = self_cgroup; *line; line = next) {
		const char *end = strchrnul(line, '\n');
		const char *list = memchr(line, ':', (size_t)(end - line)), *path;

		next = *end ? end + 1 : end;
		path = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
		if (!path)
			continue;
		list++;
		if (controller ? !has_word(list, (size_t)(path - list), ',', controller)
			       : path != list)
			continue;
		path++;
		if (path == end || *path != '/' || (size_t)(end - path) >= size)
			return false;
		memcpy(ret, path, (size_t)(end - path));
		ret[end - path] = '\0';
		return true;
	}
	return false;
}

/* A group's path below a mount whose top is the group `root`. A group outside of what is
 * mounted (a container without a cgroup namespace, or a namespace's "/..") is not to be
 * reached: the top of the mount stands for it. */
static void below_root(const char *path, const char *root, char ret[CGROUP_PATH])
{
	size_t len = strlen(root);

	if (strcmp(root, "/") == 0)
		len = 0;
	else if (strncmp(path, root, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		path = "/", len = 0;
	path += len;
	if (strcmp(path, "/") == 0 || strncmp(path, "/..", 3) == 0)
		path = "";
	(void)snprintf(ret, CGROUP_PATH, "%s", path);
}

struct mount_line {
	char root[CGROUP_PATH], point[CGROUP_PATH];
	bool v2;
	const char *options; /* of the super block: v1's controllers */
	size_t options_len;
};

/* `36 35 98:0 /root /point rw,noatime shared:1 - cgroup source rw,cpu,cpuacct` */
static bool parse_mount(const char *line, const char *end, struct mount_line *ret)
{
	const char *field[11];
	size_t len[11], count = 0, dash = 0;

	while (line < end && count < 11) {
		const char *stop = memchr(line, ' ', (size_t)(end - line));

		if (!stop)
			stop = end;
		if (!dash || count < dash + 4) {
			/* There may be any number of optional fields before the dash:
			 * only the last is kept. */
			if (!dash && count == 7)
				count = 6;
			field[count] = line;
			len[count] = (size_t)(stop - line);
			if (!dash && count >= 6 && len[count] == 1 && *line == '-')
				dash = count;
			count++;
		}
		line = stop < end ? stop + 1 : end;
	}
	if (!dash || count < dash + 4)
		return false;
	ret->v2 = len[dash + 1] == 7 && memcmp(field[dash + 1], "cgroup2", 7) == 0;
	if (!ret->v2 &&
	    !(len[dash + 1] == 6 && memcmp(field[dash + 1], "cgroup", 6) == 0))
		return false;
	ret->options = field[dash + 3];
	ret->options_len = len[dash + 3];
	return unescape(field[3], len[3], ret->root, sizeof(ret->root)) &&
	       unescape(field[4], len[4], ret->point, sizeof(ret->point));
}

void cgroup_place_parse(const char *mountinfo, const char *self_cgroup, const char *top,
			struct cgroup_place *ret)
{
	const char *line, *next;
	size_t i, top_len = strlen(top);
	struct mount_line mount;
	char path[CGROUP_PATH], own[CGROUP_PATH];

	memset(ret, 0, sizeof(*ret));
	for (line = mountinfo; *line; line = next) {
		const char *end = strchrnul(line, '\n');

		next = *end ? end + 1 : end;
		if (!parse_mount(line, end, &mount) ||
		    strncmp(mount.point, top, top_len) != 0 ||
		    (mount.point[top_len] != '/' && mount.point[top_len] != '\0'))
			continue;
		if (mount.v2 && ret->v2_mount[0] == '\0' &&
		    own_path(self_cgroup, NULL, path, sizeof(path))) {
			below_root(path, mount.root, ret->v2_own);
			memcpy(ret->v2_mount, mount.point, sizeof(ret->v2_mount));
		}
		for (i = 0; i < CGROUP_CONTROLLERS && !mount.v2; i++) {
			const char *name = cgroup_controller_names[i];

			if (ret->v1_own[i][0] ||
			    !has_word(mount.options, mount.options_len, ',', name) ||
			    !own_path(self_cgroup, name, path, sizeof(path)))
				continue;
			below_root(path, mount.root, own);
			if (snprintf(ret->v1_own[i], CGROUP_PATH, "%s%s", mount.point,
				     own) >= CGROUP_PATH)
				ret->v1_own[i][0] = '\0';
		}
	}
}

/* ---- files ---- */

/* The kernel's small files, NUL-terminated. */
static ssize_t get(const char *dir, const char *file, char *ret, size_t size)
{
	char path[LONG_PATH];
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = fd_read_all(fd, ret, size - 1);
	if (n >= 0)
		ret[n] = '\0';
	return n;
}

static int put(const char *dir, const char *file, const char *text)
{
	char path[LONG_PATH];

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return fd_write_file(AT_FDCWD, path, text);
}

static int put_pid(const char *dir, pid_t pid)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	return put(dir, "cgroup.procs", text);
}

/* ---- removing ---- */

static int remove_tree(const char *dir, uint64_t deadline_ms, int depth);

static void remove_children(const char *dir, uint64_t deadline_ms, int depth)
{
	DIR *list = depth < DEPTH_MAX ? opendir(dir) : NULL;
	struct dirent *entry;
	char path[LONG_PATH];

	if (!list)
		return;
	while ((entry = readdir(list)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
		    snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) <
			    (int)sizeof(path))
			(void)remove_tree(path, deadline_ms, depth + 1);
	(void)closedir(list);
}

/* Everything below and in a group of ours is ended. Killing is repeated, for a fork may
 * slip through one sweep. */
static int remove_tree(const char *dir, uint64_t deadline_ms, int depth)
{
	for (;;) {
		if (rmdir(dir) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY)
			return -errno;
		(void)cgroup_kill_group(dir);
		remove_children(dir, deadline_ms, depth);
		if (rmdir(dir) == 0 || errno == ENOENT)
			return 0;
		if (now_ms() >= deadline_ms)
			return -EBUSY;
		pause_ms(2);
	}
}

/* Takes back what v2_move_self() did; base is ".../sandbox-<id>". */
static void v2_move_back(const char *base)
{
	char parent[LONG_PATH], leaf[LONG_PATH], text[4096];
	char *at, *end;
	size_t i;

	(void)snprintf(leaf, sizeof(leaf), "%s" SELF, base);
	if (access(leaf, F_OK) < 0)
		return;
	(void)snprintf(parent, sizeof(parent), "%s", base);
	at = strrchr(parent, '/');
	if (!at)
		return;
	*at = '\0';
	/* Refused while another instance below needs them; the leaf then stays until that
	 * one has gone, too. */
	for (i = 0; i < COUNT(v2_controllers); i++) {
		(void)snprintf(text, sizeof(text), "-%s", v2_controllers[i].name);
		(void)put(parent, "cgroup.subtree_control", text);
	}
	if (get(leaf, "cgroup.procs", text, sizeof(text)) < 0)
		return;
	for (at = text; *at; at = *end ? end + 1 : end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		if (pid > 0)
			(void)put_pid(parent, (pid_t)pid);
	}
	(void)rmdir(leaf);
}

int cgroup_host_remove(const struct cgroup_host *host)
{
	const char *bases[CGROUP_CONTROLLERS];
	size_t count = cgroup_bases(host, bases), i;
	uint64_t deadline = now_ms() + REMOVE_MS;
	int result = 0, r;

	for (i = 0; i < count; i++) {
		r = remove_tree(bases[i], deadline, 0);
		if (r < 0)
			result = r;
		else if (host->version == CGROUP_V2)
			v2_move_back(bases[i]);
	}
	return result;
}

static bool id_valid(const char *id)
{
	size_t len = strlen(id);

	return len > 0 && len < ID_MAX &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* Groups in parent of instances that are gone; of the own id, too: it is ours now, so
 * that whoever had it is gone. */
static void sweep(const char *parent, const char *own_id,
		  bool (*alive)(void *arg, const char *id), void *arg,
		  uint64_t deadline_ms)
{
	DIR *list = opendir(parent);
	struct dirent *entry;
	char path[LONG_PATH], id[ID_MAX + sizeof(SELF)];
	bool is_self;

	if (!list)
		return;
	while ((entry = readdir(list))) {
		size_t len = strlen(entry->d_name);

		if (entry->d_type != DT_DIR ||
		    strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 ||
		    len - strlen(PREFIX) >= sizeof(id))
			continue;
		memcpy(id, entry->d_name + strlen(PREFIX), len - strlen(PREFIX) + 1);
		len = strlen(id);
		is_self = len > strlen(SELF) &&
			  strcmp(id + len - strlen(SELF), SELF) == 0;
		if (is_self)
			id[len - strlen(SELF)] = '\0';
		if (!id_valid(id) ||
		    (strcmp(id, own_id) != 0 && (!alive || alive(arg, id))))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name) >=
		    (int)sizeof(path))
			continue;
		/* A leaf held the command of that instance, perhaps started by hand by
		 * now from within: never killed. */
		if (is_self)
			(void)rmdir(path);
		else
			(void)remove_tree(path, deadline_ms, 0);
	}
	(void)closedir(list);
}

/* ---- making, v1 ---- */

static int make_base(const char *parent, const char *id, uid_t owner,
		     char ret[CGROUP_PATH])
{
	char path[LONG_PATH];

	if (snprintf(path, sizeof(path), "%s/" PREFIX "%s", parent, id) >= CGROUP_PATH)
		return -ENAMETOOLONG;
	if (mkdir(path, 0755) < 0)
		return -errno;
	if (owner != geteuid() && chown(path, owner, (gid_t)-1) < 0) {
		int r = -errno;

		(void)rmdir(path);
		return r;
	}
	memcpy(ret, path, strlen(path) + 1);
	return 0;
}

/* The jails' groups are made by their owner and belong to it; processes are moved by the
 * broker, since v1 lets nobody but root move another uid's. */
static bool v1_make(struct cgroup_host *ret, const struct cgroup_place *place,
		    const char *id, uid_t owner, bool (*alive)(void *arg, const char *id),
		    void *arg, char why[256])
{
	char *const bases[CGROUP_CONTROLLERS] = { ret->memory, ret->cpu, ret->cpuacct,
						  ret->pids };
	uint64_t deadline = now_ms() + REMOVE_MS;
	size_t i, k;
	int r;

	for (i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (place->v1_own[i][0] == '\0')
			continue;
		for (k = 0; k < i; k++)
			if (strcmp(place->v1_own[k], place->v1_own[i]) == 0)
				break;
		if (k < i) {
			memcpy(bases[i], bases[k], CGROUP_PATH);
			if (bases[i][0])
				ret->controllers |= 1u << i;
			continue;
		}
		sweep(place->v1_own[i], id, alive, arg, deadline);
		r = make_base(place->v1_own[i], id, owner, bases[i]);
		if (r < 0) {
			(void)snprintf(why, 256,
				       "no group can be made in %.160s (cgroup v1): %s",
				       place->v1_own[i], strerror(-r));
			continue;
		}
		/* Before 5.11 a v1 group limits what is below it only if it says so,
		 * before there is anything. */
		if (i == 0)
			(void)put(bases[i], "memory.use_hierarchy", "1");
		ret->controllers |= 1u << i;
	}
	if (ret->controllers == 0)
		return false;
	ret->version = CGROUP_V1;
	return true;
}

/* ---- making, v2 ---- */

static unsigned v2_mask(const char *dir, const char *file)
{
	char text[512];
	ssize_t n = get(dir, file, text, sizeof(text));
	unsigned mask = 0;
	size_t i;

	if (n < 0)
		return 0;
	while (n > 0 && text[n - 1] == '\n')
		n--;
	for (i = 0; i < COUNT(v2_controllers); i++)
		if (has_word(text, (size_t)n, ' ', v2_controllers[i].name))
			mask |= v2_controllers[i].bit;
	return mask;
}

/* Hands controllers down from dir to its children, one by one, since one refusal takes
 * the whole line. What is handed down then; *ret_error the last refusal. */
static unsigned v2_enable(const char *dir, int *ret_error)
{
	unsigned have = v2_mask(dir, "cgroup.subtree_control");
	char text[16];
	size_t i;
	int r;

	for (i = 0; i < COUNT(v2_controllers); i++) {
		if (have & v2_controllers[i].bit)
			continue;
		(void)snprintf(text, sizeof(text), "+%s", v2_controllers[i].name);
		r = put(dir, "cgroup.subtree_control", text);
		if (r < 0 && (v2_mask(dir, "cgroup.controllers") & v2_controllers[i].bit))
			*ret_error = r;
	}
	return v2_mask(dir, "cgroup.subtree_control");
}

static bool same_program(pid_t pid)
{
	char path[32];
	struct stat own, its;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return stat("/proc/self/exe", &own) == 0 && stat(path, &its) == 0 &&
	       own.st_dev == its.st_dev && own.st_ino == its.st_ino;
}

/* Moves the processes of a group to a leaf in it, if they are the broker and the command
 * that started it and no other: what a service of its own or a container has that runs
 * nothing else. */
static int v2_move_self(const char *dir, const char *base)
{
	char text[1024], leaf[LONG_PATH];
	pid_t pids[2];
	size_t count = 0, i;
	char *at, *end;
	int r;
	ssize_t n = get(dir, "cgroup.procs", text, sizeof(text));

	if (n < 0)
		return (int)n;
	for (at = text; *at; at = *end ? end + 1 : end) {
		pid_t pid = (pid_t)strtol(at, &end, 10);

		if (end == at || count == 2 ||
		    (pid != getpid() && (pid != getppid() || !same_program(pid))))
			return -EBUSY;
		pids[count++] = pid;
	}
	if (snprintf(leaf, sizeof(leaf), "%s" SELF, base) >= (int)sizeof(leaf))
		return -ENAMETOOLONG;
	if (mkdir(leaf, 0755) < 0 && errno != EEXIST)
		return -errno;
	for (i = 0, r = 0; i < count && r == 0; i++)
		r = put_pid(leaf, pids[i]);
	if (r == 0)
		return 0;
	while (i-- > 0)
		(void)put_pid(dir, pids[i]);
	(void)rmdir(leaf);
	return r;
}

/* Delegation (cgroups(7)): the directory and these files belong to the one that manages
 * what is below. */
static int v2_give(const char *base, uid_t owner)
{
	static const char *const files[] = { "cgroup.procs", "cgroup.subtree_control",
					     "cgroup.threads" };
	char path[LONG_PATH];
	size_t i;

	for (i = 0; i < COUNT(files) && owner != geteuid(); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", base, files[i]);
		if (chown(path, owner, (gid_t)-1) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

/* An ordinary user may own a group and still not move a process there: it takes the right
 * to write in the closest group that is above both. Only trying tells; a child is moved
 * that does nothing. */
static int v2_try_moving(const char *base)
{
	char path[LONG_PATH];
	int gate[2], r;
	pid_t pid;

	(void)snprintf(path, sizeof(path), "%s/probe", base);
	if (mkdir(path, 0755) < 0)
		return -errno;
	r = pipe2(gate, O_CLOEXEC) < 0 ? -errno : 0;
	if (r == 0) {
		pid = fork();
		if (pid == 0) {
			char c;

			(void)close(gate[1]);
			(void)!read(gate[0], &c, 1);
			_exit(0);
		}
		r = pid < 0 ? -errno : put_pid(path, pid);
		(void)close(gate[0]);
		(void)close(gate[1]);
		while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (r < 0)
		(void)rmdir(path);
	else
		r = remove_tree(path, now_ms() + REMOVE_MS, 0);
	return r;
}

static void v2_undo(const char *base)
{
	(void)rmdir(base);
	v2_move_back(base);
}

/* The base below one group, and what its jails would have; or -errno and nothing is
 * left. */
static int v2_make_below(const char *parent, const char *id, uid_t owner, bool is_own,
			 char base[CGROUP_PATH], unsigned *ret_mask)
{
	unsigned mask;
	int refused = 0, r;

	if (snprintf(base, CGROUP_PATH, "%s/" PREFIX "%s", parent, id) >= CGROUP_PATH)
		return -ENAMETOOLONG;
	mask = v2_enable(parent, &refused);
	if (refused == -EBUSY && is_own && v2_move_self(parent, base) == 0)
		mask = v2_enable(parent, &refused);
	r = mask & CGROUP_MEMORY ? make_base(parent, id, owner, base)
	    : refused            ? refused
				 : -ENOTSUP;
	if (r == 0) {
		*ret_mask = v2_enable(base, &refused);
		r = v2_give(base, owner);
	}
	if (r == 0 && geteuid() != 0)
		r = v2_try_moving(base);
	if (r < 0)
		v2_undo(base);
	return r;
}

static void v2_why(char why[256], const char *own, int r)
{
	if (r == -ENOTSUP)
		(void)snprintf(why, 256, "cgroup v2 has no memory controller for %.120s",
			       own[0] ? own : "/");
	else if (geteuid() != 0)
		(void)snprintf(
			why, 256,
			"no cgroup v2 subtree is delegated to this session (%.80s: %s); `systemd-run --user "
			"--scope -p Delegate=yes` gives one",
			own[0] ? own : "/", strerror(-r));
	else if (r == -EBUSY)
		(void)snprintf(
			why, 256,
			"other processes share the cgroup %.120s, so that none can be made below it",
			own[0] ? own : "/");
	else
		(void)snprintf(why, 256, "no group can be made in %.120s (cgroup v2): %s",
			       own[0] ? own : "/", strerror(-r));
}

/* From the own group upwards, so that limits above ours hold for what we start; the first
 * one that hands down all controllers, else the one that has the most. */
static bool v2_make(struct cgroup_host *ret, const struct cgroup_place *place,
		    const char *id, uid_t owner, bool (*alive)(void *arg, const char *id),
		    void *arg, char why[256])
{
	uint64_t deadline = now_ms() + REMOVE_MS;
	char rel[CGROUP_PATH], parent[LONG_PATH], base[CGROUP_PATH],
		best[CGROUP_PATH] = "";
	unsigned mask = 0, best_mask = 0;
	size_t at, len;
	int r, first = 0;
	char *cut;

	/* What the top hands down reaches the own group only if every group between them
	 * does so, too. */
	len = strlen(place->v2_own);
	for (at = 0; at < len; at++) {
		if (place->v2_own[at] != '/')
			continue;
		(void)snprintf(parent, sizeof(parent), "%s%.*s", place->v2_mount, (int)at,
			       place->v2_own);
		(void)v2_enable(parent, &(int){ 0 });
	}
	(void)snprintf(rel, sizeof(rel), "%s", place->v2_own);
	for (;;) {
		(void)snprintf(parent, sizeof(parent), "%s%s", place->v2_mount, rel);
		sweep(parent, id, alive, arg, deadline);
		r = v2_make_below(parent, id, owner, strcmp(rel, place->v2_own) == 0,
				  base, &mask);
		if (r < 0 && first == 0)
			first = r;
		if (r == 0 && __builtin_popcount(mask) > __builtin_popcount(best_mask)) {
			if (best[0])
				v2_undo(best);
			memcpy(best, base, sizeof(best));
			best_mask = mask;
		} else if (r == 0) {
			v2_undo(base);
		}
		cut = strrchr(rel, '/');
		if (!cut || best_mask == V2_WANTED)
			break;
		*cut = '\0';
	}
	if (!(best_mask & CGROUP_MEMORY)) {
		if (best[0])
			v2_undo(best);
		v2_why(why, place->v2_own, first ? first : -ENOTSUP);
		return false;
	}
	ret->version = CGROUP_V2;
	ret->controllers = best_mask | CGROUP_CPUACCT;
	memcpy(ret->memory, best, CGROUP_PATH);
	memcpy(ret->cpu, best, CGROUP_PATH);
	memcpy(ret->cpuacct, best, CGROUP_PATH);
	memcpy(ret->pids, best, CGROUP_PATH);
	return true;
}

void cgroup_host_make_at(struct cgroup_host *ret, const struct cgroup_place *place,
			 const char *id, uid_t owner,
			 bool (*alive)(void *arg, const char *id), void *arg,
			 char why[256])
{
	size_t i;
	bool any_v1 = false;

	memset(ret, 0, sizeof(*ret));
	memset(why, 0, 256);
	if (!id_valid(id)) {
		(void)snprintf(why, 256, "the instance has no valid name");
		return;
	}
	for (i = 0; i < CGROUP_CONTROLLERS; i++)
		any_v1 = any_v1 || place->v1_own[i][0] != '\0';
	if (!any_v1 && place->v2_mount[0] == '\0') {
		(void)snprintf(why, 256, "no cgroup hierarchy is mounted in " TOP);
		return;
	}
	/* A controller is in one kind of hierarchy only. Memory decides: without it there
	 * is least to win. */
	if (place->v2_mount[0] && place->v1_own[0][0] == '\0' &&
	    v2_make(ret, place, id, owner, alive, arg, why)) {
		why[0] = '\0';
		return;
	}
	if (any_v1 && !v1_make(ret, place, id, owner, alive, arg, why) && why[0] == '\0')
		(void)snprintf(why, 256, "no group can be made (cgroup v1)");
}

void cgroup_host_make(struct cgroup_host *ret, const char *id, uid_t owner,
		      bool (*alive)(void *arg, const char *id), void *arg, char why[256])
{
	_cleanup_free_ char *mounts = NULL, *own = NULL;
	struct cgroup_place place;
	int r;

	r = fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 4u << 20, &mounts, NULL);
	if (r == 0)
		r = fd_read_file(AT_FDCWD, "/proc/self/cgroup", 1u << 20, &own, NULL);
	if (r < 0) {
		memset(ret, 0, sizeof(*ret));
		(void)snprintf(why, 256, "the hierarchies cannot be told: %s",
			       strerror(-r));
		return;
	}
	cgroup_place_parse(mounts, own, TOP, &place);
	cgroup_host_make_at(ret, &place, id, owner, alive, arg, why);
}
