/* SPDX-License-Identifier: MIT
 * Purpose: the journal's directory: key, lock file, connections to the database
 *   (internal.h).
 * Process: the engine; opening on its loop, the rest in the journal's threads.
 * Trusts: the directory's owner. The database is read with every defence that SQLite has: it may
 *   have been altered by whoever can write the file, and no schema of a stranger runs anything.
 * Invariants: a key that is missing beside records is never made anew; files are the owner's
 *   alone (0600), but journal.pub. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/internal.h"

#define BUSY_MS 5000
#define KEY_NAME "journal.key"
#define LENGTH_MAX (16 << 20) /* of a value: what is longer lies in an object */

int64_t store_now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int store_error(sqlite3 *db, const char *what, struct sbx_err *err)
{
	int code = sqlite3_extended_errcode(db), errnum = sqlite3_system_errno(db);

	switch (code & 0xff) {
	case SQLITE_FULL:
		return err_set(err, SBX_AT_JOURNAL, ENOSPC, "journal: %s", what);
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return err_set(err, SBX_AT_JOURNAL, EROFS, "journal: %s", what);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		(void)err_set(err, SBX_AT_JOURNAL, 0,
			      "journal: %s: another process has kept it locked for %d s",
			      what, BUSY_MS / 1000);
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		(void)err_set(err, SBX_AT_JOURNAL, 0,
			      "journal: %s: the file is damaged (%s)", what,
			      sqlite3_errmsg(db));
		if (err)
			err->errnum = EBADMSG;
		return -EBADMSG;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return err_set(err, SBX_AT_JOURNAL, errnum ? errnum : EIO, "journal: %s",
			       what);
	case SQLITE_NOMEM:
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal: %s", what);
	default:
		return err_set(err, SBX_AT_JOURNAL, EIO, "journal: %s: %s", what,
			       sqlite3_errmsg(db));
	}
}

/* ---- connections ---- */

static const struct {
	int limit, value;
} limits[] = {
	{ SQLITE_LIMIT_LENGTH, LENGTH_MAX },
	{ SQLITE_LIMIT_SQL_LENGTH, 65536 },
	{ SQLITE_LIMIT_COLUMN, 64 },
	{ SQLITE_LIMIT_EXPR_DEPTH, 100 },
	{ SQLITE_LIMIT_COMPOUND_SELECT, 8 },
	{ SQLITE_LIMIT_VDBE_OP, 50000 },
	{ SQLITE_LIMIT_FUNCTION_ARG, 16 },
	{ SQLITE_LIMIT_ATTACHED, 0 },
	{ SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000 },
	{ SQLITE_LIMIT_VARIABLE_NUMBER, 100 },
	{ SQLITE_LIMIT_TRIGGER_DEPTH, 1 },
	{ SQLITE_LIMIT_WORKER_THREADS, 0 },
};

static const struct {
	int option, value;
} defences[] = {
	{ SQLITE_DBCONFIG_DEFENSIVE, 1 },
	{ SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
	{ SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
	{ SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
	{ SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
	{ SQLITE_DBCONFIG_DQS_DDL, 0 },
	{ SQLITE_DBCONFIG_DQS_DML, 0 },
	/* At the last one's end the file would be synced on the way of its caller. */
	{ SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
};

static int run_sql(sqlite3 *db, const char *sql, const char *what, struct sbx_err *err)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : store_error(db, what, err);
}

static int defend(sqlite3 *db, struct sbx_err *err)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		(void)sqlite3_limit(db, limits[i].limit, limits[i].value);
	for (size_t i = 0; i < sizeof(defences) / sizeof(defences[0]); i++) {
		int got = -1;

		if (sqlite3_db_config(db, defences[i].option, defences[i].value, &got) !=
			    SQLITE_OK ||
		    got != defences[i].value)
			return err_set(err, SBX_AT_JOURNAL, ENOTSUP,
				       "journal: this SQLite (%s) lacks a defence",
				       sqlite3_libversion());
	}
	(void)sqlite3_busy_timeout(db, BUSY_MS);
	return run_sql(db,
		       "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
		       "PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;",
		       "settings", err);
}

static int open_database(const struct journal *journal, int flags, sqlite3 **ret,
			 struct sbx_err *err)
{
	_cleanup_free_ char *uri = NULL;
	sqlite3 *db = NULL;
	int r = 0;

	/* A path of ours, or one of the command's: percent signs and question marks are the
	 * URI's. */
	if (journal->immutable && !strpbrk(journal->path, "%?#") &&
	    asprintf(&uri, "file:%s?immutable=1", journal->path) < 0)
		uri = NULL;
	if (sqlite3_open_v2(uri ? uri : journal->path, &db,
			    flags | SQLITE_OPEN_NOMUTEX | (uri ? SQLITE_OPEN_URI : 0),
			    NULL) != SQLITE_OK)
		r = db ? store_error(db, "opening it", err)
		       : err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	if (r == 0) {
		(void)sqlite3_extended_result_codes(db, 1);
		r = defend(db, err);
	}
	if (r < 0) {
		(void)sqlite3_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

int store_open_reader(const struct journal *journal, sqlite3 **ret, struct sbx_err *err)
{
	sqlite3 *db;
	int r = open_database(journal, SQLITE_OPEN_READONLY, &db, err);

	if (r == 0) {
		r = run_sql(db, "PRAGMA query_only = ON; PRAGMA cache_size = -16000;",
			    "settings", err);
		if (r < 0)
			(void)sqlite3_close(db);
		else
			*ret = db;
	}
	return r;
}

int store_open_keeper(const struct journal *journal, sqlite3 **ret, struct sbx_err *err)
{
	int r = open_database(journal, SQLITE_OPEN_READWRITE, ret, err);

	return r == 0 ? run_sql(*ret, "PRAGMA wal_autocheckpoint = 0;", "settings", err)
		      : r;
}

static int open_writer(struct journal *journal, struct sbx_err *err)
{
	int r = open_database(journal, SQLITE_OPEN_READWRITE, &journal->db, err);
	struct stat st;

	if (r == 0 && fstatat(journal->dir_fd, "journal.db", &st, 0) < 0)
		r = err_set(err, SBX_AT_JOURNAL, errno, "journal: journal.db");
	/* Space that pruning frees goes back in steps. In a file that is not new it would only
	 * be a commit of its own, with a sync. */
	if (r == 0 && st.st_size == 0)
		r = run_sql(journal->db, "PRAGMA auto_vacuum = INCREMENTAL;", "settings",
			    err);
	if (r == 0)
		r = run_sql(journal->db, "PRAGMA journal_mode = WAL;", "WAL mode", err);
	if (r == 0)
		r = run_sql(journal->db,
			    journal->durability == JOURNAL_FULL
				    ? "PRAGMA synchronous = FULL;"
				    : "PRAGMA synchronous = NORMAL;",
			    "settings", err);
	/* The keeper's thread checkpoints, beside the writer. */
	return r == 0 ? run_sql(journal->db,
				"PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -16000;"
				"PRAGMA journal_size_limit = 67108864;",
				"settings", err)
		      : r;
}

/* ---- the key ---- */

static int read_key(int fd, const char *name, struct chain_keys *ret, struct sbx_err *err)
{
	char text[CHAIN_KEY_TEXT + 1];
	struct stat st;
	ssize_t n;
	int r;

	if (fstat(fd, &st) < 0)
		return err_set(err, SBX_AT_JOURNAL, errno, "journal: %s", name);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		return err_set(
			err, SBX_AT_JOURNAL, EPERM,
			"journal: %s can be read by others (mode %04o): make it 0600, "
			"and ask who has read it",
			name, (unsigned)st.st_mode & 07777);
	n = pread(fd, text, sizeof(text), 0);
	r = n < 0 ? -errno : chain_key_parse(text, (size_t)n, ret);
	sodium_memzero(text, sizeof(text));
	return r < 0 ? err_set(err, SBX_AT_JOURNAL, -r, "journal: %s is no key file",
			       name)
		     : 0;
}

/* Complete under its name or not there at all. */
static int make_file(int dir, const char *name, const char *text, mode_t mode)
{
	char temporary[64];
	uint32_t number;
	int fd, r;

	/* Before anything is written: each opening asks for a public key. */
	if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	randombytes_buf(&number, sizeof(number));
	(void)snprintf(temporary, sizeof(temporary), "%.32s.%08x", name, number);
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		    mode);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, text, strlen(text));
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = -errno;
	(void)close(fd);
	if (r == 0 && linkat(dir, temporary, dir, name, 0) < 0)
		r = -errno;
	(void)unlinkat(dir, temporary, 0);
	if (r == 0 && fsync(dir) < 0)
		r = -errno;
	return r;
}

/* With the lock on byte 0. */
static int own_key(struct journal *journal, struct sbx_err *err)
{
	_cleanup_fd_ int fd = openat(journal->dir_fd, KEY_NAME,
				     O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[CHAIN_KEY_TEXT];
	struct stat st;
	int r;

	if (fd >= 0)
		return read_key(fd, KEY_NAME, &journal->keys, err);
	if (errno != ENOENT)
		return err_set(err, SBX_AT_JOURNAL, errno, "journal: " KEY_NAME);
	if (journal->read_only ||
	    (fstatat(journal->dir_fd, "journal.db", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	     st.st_size > 0))
		return err_set(err, SBX_AT_JOURNAL, ENOENT,
			       "journal: the key of these records, " KEY_NAME);
	chain_key_make(text);
	r = make_file(journal->dir_fd, KEY_NAME, text, 0600);
	if (r == 0)
		r = chain_key_parse(text, strlen(text), &journal->keys);
	sodium_memzero(text, sizeof(text));
	return r < 0 ? err_set(err, SBX_AT_JOURNAL, -r, "journal: making " KEY_NAME) : 0;
}

static int find_key(struct journal *journal, const struct journal_options *options,
		    struct sbx_err *err)
{
	char text[80];
	size_t at;
	int r;

	if (options->key_fd > 0) {
		r = read_key(options->key_fd, "the key", &journal->keys, err);
	} else if (options->key) {
		_cleanup_fd_ int fd = open(options->key, O_RDONLY | O_CLOEXEC);

		r = fd < 0 ? err_set(err, SBX_AT_JOURNAL, errno, "journal: %.200s",
				     options->key)
			   : read_key(fd, options->key, &journal->keys, err);
	} else {
		r = own_key(journal, err);
	}
	if (r < 0 || journal->read_only)
		return r;
	(void)sodium_bin2hex(text, sizeof(text), journal->keys.public, 32);
	at = strlen(text);
	text[at] = '\n';
	text[at + 1] = '\0';
	/* Verifying compares one that is there. */
	r = make_file(journal->dir_fd, "journal.pub", text, 0644);
	return r < 0 && r != -EEXIST
		       ? err_set(err, SBX_AT_JOURNAL, -r, "journal: making journal.pub")
		       : 0;
}

/* ---- the directory ---- */

static int lock_byte(int fd, int64_t byte, short type, int command)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};
	int r;

	do
		r = fcntl(fd, command, &lock);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return command == F_OFD_GETLK && lock.l_type != F_UNLCK;
}

bool store_is_alive(const struct journal *journal, int64_t start)
{
	/* Of an open file of its own: our own lock is to be seen as well. */
	_cleanup_fd_ int fd = openat(journal->dir_fd, "journal.lock",
				     O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	/* Where nobody can tell, nothing is called lost. */
	return fd < 0 ? errno != ENOENT && !journal->immutable
		      : lock_byte(fd, start, F_WRLCK, F_OFD_GETLK) != 0;
}

int store_hold_start(struct journal *journal, int64_t start)
{
	return lock_byte(journal->lock_fd, start, F_WRLCK, F_OFD_SETLK);
}

static int open_directory(struct journal *journal, const char *dir, struct sbx_err *err)
{
	struct stat st;

	journal->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (journal->dir_fd < 0 || fstat(journal->dir_fd, &st) < 0)
		return err_set(err, SBX_AT_JOURNAL, errno, "journal: its directory");
	if ((st.st_mode & 022) != 0)
		return err_set(
			err, SBX_AT_JOURNAL, EPERM,
			"journal: others can write its directory (mode %04o): make it 0700",
			(unsigned)st.st_mode & 07777);
	if (asprintf(&journal->path, "%s/journal.db", dir) < 0) {
		journal->path = NULL;
		return err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
	}
	return 0;
}

static int make_files(struct journal *journal, struct sbx_err *err)
{
	int fd;

	journal->lock_fd = openat(journal->dir_fd, "journal.lock",
				  O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (journal->lock_fd < 0)
		return err_set(err, SBX_AT_JOURNAL, errno, "journal: journal.lock");
	if (mkdirat(journal->dir_fd, "objects", 0700) < 0 && errno != EEXIST)
		return err_set(err, SBX_AT_JOURNAL, errno, "journal: objects/");
	/* SQLite gives its other files the mode of this one. */
	fd = openat(journal->dir_fd, "journal.db",
		    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, SBX_AT_JOURNAL, errno, "journal: journal.db");
	(void)close(fd);
	return 0;
}

static int open_read_only(struct journal *journal, struct sbx_err *err)
{
	struct stat st;

	if (fstatat(journal->dir_fd, "journal.db", &st, 0) < 0)
		return err_set(err, SBX_AT_JOURNAL, errno, "journal: journal.db");
	/* Without a place for its index a WAL cannot be read; without a WAL none is needed. */
	journal->immutable = faccessat(journal->dir_fd, ".", W_OK, 0) < 0 &&
			     (fstatat(journal->dir_fd, "journal.db-wal", &st, 0) < 0 ||
			      st.st_size == 0);
	return 0;
}

static int open_locked(struct journal *journal, const struct journal_options *options,
		       struct sbx_err *err)
{
	int r = find_key(journal, options, err);

	if (r == 0)
		r = make_files(journal, err);
	return r == 0 ? open_writer(journal, err) : r;
}

int store_open(struct journal *journal, const struct journal_options *options,
	       struct sbx_err *err)
{
	int r;

	if (sodium_init() < 0)
		return err_set(err, SBX_AT_JOURNAL, EIO, "journal: libsodium");
	r = open_directory(journal, options->dir, err);
	if (r == 0 && journal->read_only) {
		r = open_read_only(journal, err);
		if (r == 0)
			r = find_key(journal, options, err);
	} else if (r == 0) {
		_cleanup_fd_ int init = openat(journal->dir_fd, "journal.lock",
					       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
					       0600);

		/* Two that begin at once: the second finds the first one's key. */
		if (init < 0)
			return err_set(err, SBX_AT_JOURNAL, errno,
				       "journal: journal.lock");
		r = lock_byte(init, 0, F_WRLCK, F_OFD_SETLKW);
		r = r < 0 ? err_set(err, SBX_AT_JOURNAL, -r, "journal: journal.lock")
			  : open_locked(journal, options, err);
	}
	if (r < 0)
		return r;
	journal->objects_fd = openat(journal->dir_fd, "objects",
				     O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return journal->objects_fd < 0
		       ? err_set(err, SBX_AT_JOURNAL, errno, "journal: objects/")
		       : 0;
}

void store_close(struct journal *journal)
{
	if (journal->db)
		(void)sqlite3_close(journal->db);
	journal->db = NULL;
	free(journal->path);
	journal->path = NULL;
	fd_close(&journal->dir_fd);
	fd_close(&journal->objects_fd);
	fd_close(&journal->lock_fd);
	sodium_memzero(&journal->keys, sizeof(journal->keys));
}
