/* SPDX-License-Identifier: MIT
 * Purpose: puts the request's files into /work and tells of what a program left there
 *   (files.h).
 * Process: the init of a jail, as WORKER_UID; sealed, without a capability, but where it
 *   puts the request's files; alone in its pid namespace where a program has ended, among
 *   a session's programs otherwise.
 * Trusts: the engine's archive (and checks it all the same). What a program left is
 *   hostile: any names, any types, any depth, any size.
 * Invariants: no symlink is followed, no mount is entered (a granted directory is the
 *   host's own), nothing is opened for reading that was not seen to be a regular file
 *   with one name, and nothing that can block; a walk is bounded in files, entries, depth
 *   and time. child-safe: no malloc. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "jail/files.h"

#define LOOKED_MAX 65536u /* entries of directories */
#define REFS_TRIES 200    /* of a millisecond, while too many descriptors are under way */

uint64_t files_now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int open_here(int dirfd, const char *name, uint64_t flags, uint64_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how)); /* 5.6 */
}

static int open_work(void)
{
	return open("/work", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- given ---- */

/* Plain: components that name something, and nothing above. */
static bool is_plain(const char *name, size_t len)
{
	size_t at = 0;

	if (len == 0 || strlen(name) != len)
		return false;
	while (at <= len) {
		size_t part = strcspn(name + at, "/");

		if (part == 0 || part > 255 || (part == 1 && name[at] == '.') ||
		    (part == 2 && name[at] == '.' && name[at + 1] == '.'))
			return false;
		at += part + 1;
	}
	return true;
}

/* The directory that a path's last part is in, which is *ret_name. One step at a time: a
 * program may put a link in the place of each. */
static int open_parent(int work, char *path, const char **ret_name, bool make)
{
	int dir = open_here(work, ".", O_PATH | O_DIRECTORY, 0), next, saved;
	char *at = path, *slash;

	while (dir >= 0 && (slash = strchr(at, '/'))) {
		*slash = '\0';
		if (make && mkdirat(dir, at, 0755) < 0 && errno != EEXIST)
			next = -1;
		else
			next = open_here(dir, at, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
		saved = errno;
		*slash = '/';
		(void)close(dir);
		errno = saved;
		dir = next;
		at = slash + 1;
	}
	*ret_name = at;
	return dir;
}

static int copy(int from, int to, uint64_t len)
{
	static char chunk[64u << 10];

	while (len > 0) {
		size_t want = len < sizeof(chunk) ? (size_t)len : sizeof(chunk);
		ssize_t n = fd_read_all(from, chunk, want);

		if (n != (ssize_t)want)
			return errno = n < 0 ? (int)-n : EBADMSG, -1;
		n = fd_write_all(to, chunk, want);
		if (n < 0)
			return errno = (int)-n, -1;
		len -= want;
	}
	return 0;
}

/* Its time of change is set a second back, so that any write, however soon, shows. */
static int remember(int fd, struct files_given *given)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct stat st;

	if (clock_gettime(CLOCK_REALTIME, &times[1]) < 0)
		return -1;
	times[1].tv_sec -= 1;
	times[1].tv_nsec = 0;
	if (futimens(fd, times) < 0 || fstat(fd, &st) < 0)
		return -1;
	given->files[given->count].inode = st.st_ino;
	given->files[given->count].size = (uint64_t)st.st_size;
	given->files[given->count].modified_s = st.st_mtim.tv_sec;
	given->count++;
	return 0;
}

static int put_one(int work, int archive, const struct init_file *head,
		   struct files_given *given, struct sbx_err *err)
{
	char name[FILES_NAME_MAX];
	_cleanup_fd_ int dir = -1, fd = -1;
	const char *last;

	if (head->name_len >= sizeof(name) || given->count >= FILES_MAX ||
	    fd_read_all(archive, name, head->name_len) != (ssize_t)head->name_len)
		return err_set_plain(err, SBX_AT_USAGE, EBADMSG, "malformed files");
	name[head->name_len] = '\0';
	if (!is_plain(name, head->name_len))
		return err_set_plain(err, SBX_AT_USAGE, EINVAL,
				     "a file's name is no plain relative path");
	dir = open_parent(work, name, &last, true);
	if (dir >= 0)
		fd = open_here(dir, last, O_CREAT | O_EXCL | O_WRONLY, 0644);
	if (fd < 0 || copy(archive, fd, head->len) < 0 || remember(fd, given) < 0)
		return errno == ENOSPC
			       ? err_set_plain(
					 err, SBX_AT_USAGE, ENOSPC,
					 "the files of the request need more than max_disk_mb")
			       : err_set_plain(
					 err, SBX_AT_USAGE, errno,
					 "putting a file of the request into /work");
	return 0;
}

int files_put(int archive_fd, struct files_given *given, struct sbx_err *err)
{
	_cleanup_fd_ int work = open_work();
	struct init_file head;
	ssize_t n;
	int r;

	if (work < 0 || lseek(archive_fd, 0, SEEK_SET) < 0)
		return err_set_plain(err, SBX_AT_JAIL, errno, "open of /work");
	for (;;) {
		n = fd_read_all(archive_fd, &head, sizeof(head));
		if (n == 0)
			return 0;
		if (n != sizeof(head))
			return err_set_plain(err, SBX_AT_USAGE, EBADMSG,
					     "malformed files");
		r = put_one(work, archive_fd, &head, given, err);
		if (r < 0)
			return r;
	}
}

/* ---- left ---- */

struct walk {
	struct files_look ask;
	uint64_t until_us, left_bytes;
	uint64_t omitted;
	uint32_t told, looked;
	bool stopped;
	struct init_found found; /* its path is the way to where we are */
	char entries[FILES_LEFT_DEPTH + 1][8192];
};

/* As the kernel has it; glibc's struct dirent64 is for its own readdir(3). */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

static void send_found(struct walk *walk, int fd)
{
	const struct timespec wait = { .tv_nsec = 1000000 };
	int r = -ETOOMANYREFS;

	/* Descriptors under way are counted against our user until they are taken. */
	for (int i = 0; i < REFS_TRIES && r == -ETOOMANYREFS; i++) {
		if (i > 0)
			(void)nanosleep(&wait, NULL);
		r = wire_send(walk->ask.out_fd, &walk->found, sizeof(walk->found), &fd,
			      fd >= 0 ? 1 : 0);
	}
	if (r < 0)
		walk->stopped = true;
}

static bool is_as_given(const struct walk *walk, const struct stat *st)
{
	const struct files_given *given = walk->ask.given;

	for (uint32_t i = 0; given && i < given->count; i++)
		if (given->files[i].inode == st->st_ino)
			return given->files[i].size == (uint64_t)st->st_size &&
			       given->files[i].modified_s == st->st_mtim.tv_sec &&
			       st->st_mtim.tv_nsec == 0;
	return false;
}

static uint64_t nanoseconds(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

static void tell(struct walk *walk, int dir, const char *name, const struct stat *st)
{
	_cleanup_fd_ int fd = -1;
	struct stat opened;

	if (is_as_given(walk, st))
		return;
	if (walk->told >= FILES_LEFT_MAX) {
		walk->omitted++;
		return;
	}
	/* One that may not be read (mode 0) is told of without its contents. */
	if (walk->ask.contents && nanoseconds(&st->st_ctim) >= walk->ask.since_ns &&
	    (uint64_t)st->st_size <= walk->left_bytes) {
		fd = open_here(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
			       0);
		if (fd >= 0 && (fstat(fd, &opened) < 0 || opened.st_ino != st->st_ino ||
				!S_ISREG(opened.st_mode)))
			fd_close(&fd);
		if (fd >= 0)
			walk->left_bytes -= (uint64_t)st->st_size;
	}
	walk->told++;
	walk->found.kind = FOUND_FILE;
	walk->found.size = (uint64_t)st->st_size;
	walk->found.stored_bytes = (uint64_t)st->st_blocks * 512u;
	walk->found.inode = st->st_ino;
	walk->found.changed_ns = nanoseconds(&st->st_ctim);
	walk->found.modified_ns = nanoseconds(&st->st_mtim);
	send_found(walk, fd);
}

static void visit(struct walk *walk, int dir, unsigned depth);

static void look(struct walk *walk, int dir, const char *name, unsigned depth)
{
	_cleanup_fd_ int fd = open_here(dir, name, O_PATH | O_NOFOLLOW, 0);
	_cleanup_fd_ int inner = -1;
	struct stat st;

	if (fd < 0 && errno == EXDEV)
		return; /* a grant */
	if (fd < 0 || fstat(fd, &st) < 0) {
		walk->omitted++;
	} else if (S_ISREG(st.st_mode) && st.st_nlink == 1) {
		tell(walk, dir, name, &st);
	} else if (S_ISDIR(st.st_mode) && depth < FILES_LEFT_DEPTH) {
		inner = open_here(fd, ".", O_RDONLY | O_DIRECTORY, 0);
		if (inner >= 0)
			visit(walk, inner, depth + 1);
		else
			walk->omitted++;
	} else {
		walk->omitted++;
	}
}

static void visit(struct walk *walk, int dir, unsigned depth)
{
	char *buf = walk->entries[depth];
	size_t before = walk->found.path_len;

	while (!walk->stopped) {
		long n = syscall(SYS_getdents64, dir, buf, sizeof(walk->entries[0]));

		if (n <= 0) {
			walk->omitted += n < 0;
			return;
		}
		for (long at = 0; at < n && !walk->stopped;) {
			const struct entry *entry = (const void *)(buf + at);
			size_t len = strlen(entry->name), need;

			at += entry->size;
			if (strcmp(entry->name, ".") == 0 ||
			    strcmp(entry->name, "..") == 0)
				continue;
			if (++walk->looked > LOOKED_MAX ||
			    files_now_us() > walk->until_us) {
				walk->omitted++;
				walk->stopped = true;
				return;
			}
			need = before + (before > 0) + len;
			if (need >= sizeof(walk->found.path)) {
				walk->omitted++;
				continue;
			}
			if (before > 0)
				walk->found.path[before] = '/';
			memcpy(walk->found.path + need - len, entry->name, len + 1);
			walk->found.path_len = (uint32_t)need;
			look(walk, dir, entry->name, depth);
			walk->found.path_len = (uint32_t)before;
		}
	}
}

void files_collect(const struct files_look *ask, uint64_t until_us)
{
	static struct walk walk;
	_cleanup_fd_ int work = open_work();

	walk.ask = *ask;
	walk.omitted = 0;
	walk.told = walk.looked = 0;
	walk.stopped = false;
	walk.found.path_len = 0;
	walk.until_us = until_us;
	walk.left_bytes = FILES_LEFT_BYTES;
	if (work >= 0)
		visit(&walk, work, 0);
	else
		walk.omitted++;
	/* Also where it gave up: the end says that it was all. */
	memset(&walk.found, 0, sizeof(walk.found));
	walk.found.kind = FOUND_END;
	walk.found.size = walk.omitted;
	send_found(&walk, -1);
}

/* ---- of a session, while its programs run ---- */

static int refuse(struct sbx_err *err)
{
	switch (errno) {
	case ENOENT:
	case ENOTDIR:
		return err_set_plain(err, SBX_AT_USAGE, ENOENT, "there is no such file");
	case ELOOP:
	case EXDEV:
		return err_set_plain(err, SBX_AT_USAGE, 0,
				     "the way to the file leads out of /work");
	case ENOSPC:
		return err_set_plain(err, SBX_AT_USAGE, 0,
				     "there is no room for it within max_disk_mb");
	default:
		return err_set_plain(err, SBX_AT_USAGE, errno, "a file of the session");
	}
}

/* Written under a name of our own, and given its own when it is whole: what has it now, a
 * FIFO or a link, is not followed but replaced. */
static int replace_one(int work, int archive, const struct init_file *head)
{
	static const char temporary[] = ".sandbox-put";
	char name[FILES_NAME_MAX];
	_cleanup_fd_ int dir = -1, fd = -1;
	const char *last;

	if (head->name_len >= sizeof(name) ||
	    fd_read_all(archive, name, head->name_len) != (ssize_t)head->name_len)
		return errno = EBADMSG, -1;
	name[head->name_len] = '\0';
	if (!is_plain(name, head->name_len))
		return errno = EINVAL, -1;
	dir = open_parent(work, name, &last, true);
	if (dir < 0)
		return -1;
	(void)unlinkat(dir, temporary, 0);
	fd = open_here(dir, temporary, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -1;
	if (copy(archive, fd, head->len) < 0 || renameat(dir, temporary, dir, last) < 0) {
		int saved = errno;

		(void)unlinkat(dir, temporary, 0);
		return errno = saved, -1;
	}
	return 0;
}

int files_replace(int archive_fd, struct sbx_err *err)
{
	_cleanup_fd_ int work = open_work();
	struct init_file head;
	ssize_t n;

	if (work < 0 || lseek(archive_fd, 0, SEEK_SET) < 0)
		return refuse(err);
	while ((n = fd_read_all(archive_fd, &head, sizeof(head))) != 0)
		if (n != sizeof(head) || replace_one(work, archive_fd, &head) < 0) {
			if (n != sizeof(head))
				errno = EBADMSG;
			return refuse(err);
		}
	return 0;
}

int files_open(const char *path, uint64_t *ret_size, struct sbx_err *err)
{
	_cleanup_fd_ int work = open_work();
	_cleanup_fd_ int seen = -1, fd = -1;
	struct stat st, opened;

	errno = EINVAL;
	if (work < 0 || !is_plain(path, strlen(path)))
		return refuse(err);
	/* Looked at first: an open of a FIFO or a device is a deed. */
	seen = open_here(work, path, O_PATH | O_NOFOLLOW, 0);
	if (seen < 0 || fstat(seen, &st) < 0)
		return refuse(err);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set_plain(err, SBX_AT_USAGE, 0,
				     "it is no regular file with one name");
	fd = open_here(work, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0 || fstat(fd, &opened) < 0)
		return refuse(err);
	if (!S_ISREG(opened.st_mode) || opened.st_ino != st.st_ino)
		return err_set_plain(err, SBX_AT_USAGE, 0,
				     "it was changed while it was opened");
	*ret_size = (uint64_t)opened.st_size;
	return fd_take(&fd);
}

int files_delete(const char *path, struct sbx_err *err)
{
	char copy_of[FILES_NAME_MAX];
	_cleanup_fd_ int work = open_work();
	_cleanup_fd_ int dir = -1;
	const char *last;
	size_t len = strlen(path);

	errno = EINVAL;
	if (work < 0 || len >= sizeof(copy_of) || !is_plain(path, len))
		return refuse(err);
	memcpy(copy_of, path, len + 1);
	dir = open_parent(work, copy_of, &last, false);
	if (dir < 0 || unlinkat(dir, last, 0) < 0)
		return refuse(err);
	return 0;
}
