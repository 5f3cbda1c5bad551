/* SPDX-License-Identifier: MIT
 * Purpose: long values beside the database: objects/ab/cdef..., a zstd frame each, named by the
 *   hash of the content; and making what was written last (internal.h).
 * Process: the engine, threads of the journal (and its loop, when too much waits).
 * Trusts: nothing that it reads: sizes are bounded before memory is taken, the hash is compared.
 * Invariants: a file appears under its name complete; objects are synced before the rows that
 *   name them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/internal.h"

#define LEVEL 3
#define NAME_HEX (2 * JOURNAL_OBJECT_BYTES)
#define PATH_SIZE (NAME_HEX + 2) /* with the slash and the NUL */
#define UNSYNCED_MAX 4096u
#define REMEMBERED 16u             /* of them that were written last are compared */
#define FRESH_US (300 * 1000000ll) /* who made it so lately may not have synced it yet */

static void path_of(const unsigned char name[JOURNAL_OBJECT_BYTES], char ret[PATH_SIZE])
{
	char hex[NAME_HEX + 1];

	(void)sodium_bin2hex(hex, sizeof(hex), name, JOURNAL_OBJECT_BYTES);
	(void)snprintf(ret, PATH_SIZE, "%.2s/%s", hex, hex + 2);
}

bool object_exists(const struct journal *journal,
		   const unsigned char name[JOURNAL_OBJECT_BYTES])
{
	char path[PATH_SIZE];

	path_of(name, path);
	return faccessat(journal->objects_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- making it last ---- */

/* Runs after one another mostly have one policy: it is synced once for all of them. */
static bool is_remembered(const struct journal *journal, const unsigned char *name)
{
	const struct unsynced *item = journal->unsynced;

	for (unsigned i = 0; item && i < REMEMBERED; i++, item = item->next)
		if (memcmp(item->name, name, sizeof(item->name)) == 0)
			return true;
	return false;
}

static void remember(struct journal *journal, const unsigned char *name)
{
	struct unsynced *item = malloc(sizeof(*item));

	(void)pthread_mutex_lock(&journal->lock);
	if (is_remembered(journal, name)) {
		/* Nothing more is to be done for it. */
	} else if (item && journal->unsynced_count < UNSYNCED_MAX) {
		memcpy(item->name, name, sizeof(item->name));
		item->next = journal->unsynced;
		journal->unsynced = item;
		journal->unsynced_count++;
		item = NULL;
	} else {
		journal->unsynced_lost = true;
	}
	(void)pthread_mutex_unlock(&journal->lock);
	free(item);
}

static int sync_path(int dir, const char *path, int flags)
{
	_cleanup_fd_ int fd = openat(dir, path,
				     O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);

	/* What a prune took away needs no disk. */
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_object(const struct journal *journal, const unsigned char *name)
{
	char path[PATH_SIZE];
	int r;

	path_of(name, path);
	r = sync_path(journal->objects_fd, path, 0);
	path[2] = '\0';
	return r == 0 ? sync_path(journal->objects_fd, path, O_DIRECTORY) : r;
}

int store_sync(struct journal *journal)
{
	struct unsynced *list, *next;
	bool all;
	int r = 0;

	(void)pthread_mutex_lock(&journal->lock);
	list = journal->unsynced;
	all = journal->unsynced_lost;
	journal->unsynced = NULL;
	journal->unsynced_count = 0;
	journal->unsynced_lost = false;
	(void)pthread_mutex_unlock(&journal->lock);
	if (all && syncfs(journal->objects_fd) < 0)
		r = -errno;
	for (; list; list = next) {
		next = list->next;
		if (!all && r == 0)
			r = sync_object(journal, list->name);
		free(list);
	}
	if (r == 0 && fsync(journal->objects_fd) < 0)
		r = -errno;
	return r == 0 ? sync_path(journal->dir_fd, "journal.db-wal", 0) : r;
}

/* ---- writing ---- */

static int write_file(struct journal *journal, const char *path, const void *data,
		      size_t len)
{
	char temporary[32], folder[3] = { path[0], path[1], '\0' };
	uint64_t number;
	int fd, r;

	randombytes_buf(&number, sizeof(number));
	(void)snprintf(temporary, sizeof(temporary), "new-%016llx",
		       (unsigned long long)number);
	fd = openat(journal->objects_fd, temporary,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, data, len);
	if (r == 0 && journal->durability == JOURNAL_FULL && fsync(fd) < 0)
		r = -errno;
	(void)close(fd);
	if (r == 0 &&
	    renameat(journal->objects_fd, temporary, journal->objects_fd, path) < 0) {
		r = -errno;
		if (r == -ENOENT) {
			r = mkdirat(journal->objects_fd, folder, 0700) < 0 &&
					    errno != EEXIST
				    ? -errno
				    : 0;
			if (r == 0 && journal->durability == JOURNAL_FULL)
				r = fsync(journal->objects_fd) < 0 ? -errno : 0;
			if (r == 0 && renameat(journal->objects_fd, temporary,
					       journal->objects_fd, path) < 0)
				r = -errno;
		}
	}
	if (r < 0)
		(void)unlinkat(journal->objects_fd, temporary, 0);
	else if (journal->durability == JOURNAL_FULL)
		r = sync_path(journal->objects_fd, folder, O_DIRECTORY);
	return r;
}

/* One that is there: others may have made it a moment ago, and not synced it. */
static int use_again(struct journal *journal, const unsigned char *name, const char *path)
{
	struct stat st;

	if (fstatat(journal->objects_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (store_now_us() - (int64_t)st.st_mtim.tv_sec * 1000000 >= FRESH_US)
		return 0;
	if (journal->durability == JOURNAL_FULL)
		return sync_object(journal, name);
	remember(journal, name);
	return 0;
}

int object_write(struct journal *journal, const void *data, size_t len,
		 unsigned char ret_name[JOURNAL_OBJECT_BYTES], struct sbx_err *err)
{
	_cleanup_free_ void *packed = NULL;
	char path[PATH_SIZE];
	size_t size;
	int r;

	(void)crypto_generichash(ret_name, JOURNAL_OBJECT_BYTES, data, len, NULL, 0);
	path_of(ret_name, path);
	r = use_again(journal, ret_name, path);
	if (r != -ENOENT)
		return r < 0 ? err_set(err, SBX_AT_JOURNAL, -r, "journal: objects/%s",
				       path)
			     : 0;
	packed = malloc(ZSTD_compressBound(len));
	if (!packed)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal: an object");
	size = ZSTD_compress(packed, ZSTD_compressBound(len), data, len, LEVEL);
	if (ZSTD_isError(size))
		return err_set(err, SBX_AT_JOURNAL, EIO, "journal: compressing: %s",
			       ZSTD_getErrorName(size));
	r = write_file(journal, path, packed, size);
	if (r < 0)
		return err_set(err, SBX_AT_JOURNAL, -r, "journal: writing objects/%s",
			       path);
	if (journal->durability != JOURNAL_FULL)
		remember(journal, ret_name);
	return 0;
}

/* ---- reading ---- */

static int damaged(struct sbx_err *err, const char *path, const char *why)
{
	(void)err_set(err, SBX_AT_JOURNAL, 0, "journal: objects/%s: %s", path, why);
	return -EBADMSG;
}

int object_read(const struct journal *journal,
		const unsigned char name[JOURNAL_OBJECT_BYTES], size_t max,
		struct buf *ret, struct sbx_err *err)
{
	unsigned char hash[JOURNAL_OBJECT_BYTES];
	_cleanup_free_ char *packed = NULL, *plain = NULL;
	char path[PATH_SIZE];
	unsigned long long size;
	size_t len = 0;
	int r;

	path_of(name, path);
	r = fd_read_file(journal->objects_fd, path,
			 ZSTD_compressBound(JOURNAL_OBJECT_MAX), &packed, &len);
	if (r == -ENOENT) {
		(void)err_set(err, SBX_AT_JOURNAL, 0, "journal: objects/%s is missing",
			      path);
		return r;
	}
	if (r < 0)
		return err_set(err, SBX_AT_JOURNAL, -r, "journal: objects/%s", path);
	size = ZSTD_getFrameContentSize(packed, len);
	if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN ||
	    size > JOURNAL_OBJECT_MAX)
		return damaged(err, path, "it is no object of ours");
	if (size > max)
		return -EFBIG;
	plain = malloc(size + 1);
	if (!plain)
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal: an object");
	if (ZSTD_decompress(plain, size, packed, len) != size)
		return damaged(err, path, "it does not unpack");
	(void)crypto_generichash(hash, sizeof(hash), (unsigned char *)plain, size, NULL,
				 0);
	if (memcmp(hash, name, sizeof(hash)) != 0)
		return damaged(err, path, "its content was altered");
	r = size ? buf_add(ret, plain, size) : 0;
	return r < 0 ? err_set(err, SBX_AT_JOURNAL, -r, "journal: an object") : 0;
}

/* ---- all of them ---- */

static bool name_of(const char *folder, const char *file,
		    unsigned char ret[JOURNAL_OBJECT_BYTES])
{
	char hex[NAME_HEX + 1];
	size_t got = 0;

	if (strlen(folder) != 2 || strlen(file) != NAME_HEX - 2)
		return false;
	memcpy(hex, folder, 2);
	memcpy(hex + 2, file, NAME_HEX - 1);
	for (const char *at = hex; *at; at++)
		if (*at >= 'A' && *at <= 'F')
			return false;
	return sodium_hex2bin(ret, JOURNAL_OBJECT_BYTES, hex, NAME_HEX, NULL, &got,
			      NULL) == 0 &&
	       got == JOURNAL_OBJECT_BYTES;
}

static int each_in(const struct journal *journal, const char *folder, object_fn fn,
		   void *arg)
{
	int fd = openat(journal->objects_fd, folder[0] ? folder : ".",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		fd_close(&fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		unsigned char name[JOURNAL_OBJECT_BYTES];
		char path[300];
		struct stat st;
		bool ours;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!folder[0] && S_ISDIR(st.st_mode) && strlen(entry->d_name) == 2) {
			r = each_in(journal, entry->d_name, fn, arg);
			continue;
		}
		(void)snprintf(path, sizeof(path), "%s%s%s", folder, folder[0] ? "/" : "",
			       entry->d_name);
		ours = S_ISREG(st.st_mode) && name_of(folder, entry->d_name, name);
		r = fn(arg, ours ? name : NULL, path, (uint64_t)st.st_blocks * 512,
		       (int64_t)st.st_mtim.tv_sec * 1000000);
	}
	(void)closedir(dir);
	return r;
}

int object_each(const struct journal *journal, object_fn fn, void *arg)
{
	return each_in(journal, "", fn, arg);
}

int object_remove(const struct journal *journal, const char *path)
{
	return unlinkat(journal->objects_fd, path, 0) < 0 ? -errno : 0;
}
