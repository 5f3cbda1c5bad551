/* SPDX-License-Identifier: MIT
 * Purpose: numbers of instances by locked files (claim.h).
 * Process: the broker, with the starter's rights.
 * Trusts: a directory of mode 0700 that belongs to its own uid: nobody else can take
 *   names there, as could be done with abstract sockets.
 * Invariants: a file's lock says whether its instance lives (flock(2): it ends with the
 *   last descriptor), its content which one it is. Where the file of an instance is not
 *   to be seen (another mount namespace shares the groups) the instance lives. */
#include "daemon/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

static int open_directory(const char *path)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return -EPERM;
	return fd_take(&fd);
}

static int open_place(void)
{
	const char *runtime = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	char path[512];
	int fd = -ENOENT;

	if (runtime && runtime[0] == '/' &&
	    (size_t)snprintf(path, sizeof(path), "%s/interpreter-sandbox", runtime) <
		    sizeof(path))
		fd = open_directory(path);
	if (fd < 0) {
		(void)snprintf(path, sizeof(path), "/tmp/interpreter-sandbox-%u",
			       (unsigned)geteuid());
		fd = open_directory(path);
	}
	return fd;
}

static void read_id(int file, char ret[CLAIM_ID_MAX])
{
	ssize_t n = pread(file, ret, CLAIM_ID_MAX - 1, 0);

	ret[n > 0 ? n : 0] = '\0';
}

/* 0: taken; -EWOULDBLOCK: somebody's. */
static int try_number(struct claim *c, const char *prefix, uint32_t number, uint32_t salt)
{
	char name[24];
	int r;

	(void)snprintf(name, sizeof(name), "%s%u", prefix, number);
	if ((size_t)snprintf(c->id, sizeof(c->id), "%s-%08x", name, salt) >=
	    sizeof(c->id))
		return -ENAMETOOLONG;
	c->number = number;
	if (c->dir < 0)
		return 0;
	c->file = openat(c->dir, name, O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (c->file < 0)
		return -errno;
	r = flock(c->file, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	if (r == 0) {
		read_id(c->file, c->previous);
		if (ftruncate(c->file, 0) < 0 ||
		    pwrite(c->file, c->id, strlen(c->id), 0) != (ssize_t)strlen(c->id))
			r = -EIO;
	}
	if (r < 0)
		fd_close(&c->file);
	return r;
}

int claim_take(struct claim *ret, const char *prefix, uint32_t count, struct sbx_err *err)
{
	uint32_t random[2];
	int r = -EADDRINUSE;

	*ret = (struct claim){ .dir = -1, .file = -1 };
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_set(err, SBX_AT_ENGINE, errno, "getrandom");
	ret->dir = open_place();
	/* From anywhere, so that two that do not see each other's files (containers on
	 * one machine) hardly ever have the same block of ids. */
	for (uint32_t i = 0; i < count; i++) {
		r = try_number(ret, prefix, (random[0] + i) % count, random[1]);
		if (r != -EWOULDBLOCK)
			break;
	}
	if (r == -EWOULDBLOCK || r == -EADDRINUSE)
		return err_set(err, SBX_AT_ENGINE, EADDRINUSE,
			       "all %u instances of this machine are in use", count);
	return r < 0 ? err_set(err, SBX_AT_ENGINE, -r, "a file for this instance") : 0;
}

bool claim_is_alive(void *arg, const char *id)
{
	const struct claim *own = arg;
	_cleanup_fd_ int file = -1;
	char name[CLAIM_ID_MAX], was[CLAIM_ID_MAX];

	if (own->previous[0] && strcmp(id, own->previous) == 0)
		return false;
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(id, "-"), id);
	if (own->dir < 0 || strlen(id) >= sizeof(name) || !name[0])
		return true;
	file = openat(own->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0)
		return true;
	/* The lock first: its holder writes the content. */
	if (flock(file, LOCK_SH | LOCK_NB) < 0)
		return true;
	read_id(file, was);
	return strcmp(was, id) != 0;
}
