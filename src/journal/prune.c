/* SPDX-License-Identifier: MIT
 * Purpose: pruning: the oldest rows of each table go, in steps of which each is one short
 *   transaction of the writer's, so that records wait for none of it (internal.h, prune.h).
 * Process: the engine; the keeper's or a question's thread, which plans and waits; the steps run in
 *   the writer's.
 * Invariants:
 *   1. Rows go from the beginning of a table only, and the head says with the same commit where it
 *	now begins and what its chain had come to there.
 *   2. What is running stays, and everything younger than it.
 *   3. An object is unlinked under the write lock, after no row names it and it is old: a writer
 *	looks for its objects under the same lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/index.h"
#include "journal/prune.h"
#include "journal/writer.h"

#define STEP_EXECUTIONS 100
#define STEP_ROWS 2000
#define STEP_OBJECTS 500u
#define GRACE_US (3600 * 1000000ll) /* of an object that no row names yet */
#define DUE_S (6 * 3600)
#define STAMP "journal.pruned"

/* One prune, from plan to end. */
struct prune {
	struct journal *journal;
	int64_t before_us;      /* what is older goes */
	int64_t last_execution; /* the last that goes; 0: none */
	int64_t executions, rows, objects;
	uint64_t bytes;
	bool more; /* of a step: there is something left to do */
	const char *why;
	int64_t first_was[TABLE_COUNT];
	bool planned;
	/* sweep */
	unsigned char (*named)[JOURNAL_OBJECT_BYTES];
	size_t named_count, named_room;
	char (*unnamed)[80];
	size_t unnamed_count, unnamed_room, swept;
};

static int64_t number(sqlite3 *db, const char *sql, int64_t bound)
{
	sqlite3_stmt *get = NULL;
	int64_t value = 0;

	if (sqlite3_prepare_v2(db, sql, -1, &get, NULL) == SQLITE_OK) {
		if (sqlite3_bind_parameter_count(get) > 0)
			(void)sqlite3_bind_int64(get, 1, bound);
		if (sqlite3_step(get) == SQLITE_ROW)
			value = sqlite3_column_int64(get, 0);
	}
	(void)sqlite3_finalize(get);
	return value;
}

/* ---- rows ---- */

/* Takes the first rows of a table away, as long as `condition` (on its columns, one bound number)
 * holds for them without a gap; at most STEP_ROWS. */
static int cut(struct rows *rows, struct prune *prune, enum schema_table table,
	       const char *condition, int64_t bound, struct sbx_err *err)
{
	const struct schema_columns *columns = &schema_tables[table];
	struct head_table *head = &rows->head.tables[table];
	struct chain_value values[CHAIN_COLUMNS_MAX];
	struct chain_point at = head->before;
	sqlite3_stmt *get = NULL, *del = NULL;
	char sql[1024];
	int r = 0, step = SQLITE_DONE;

	(void)snprintf(sql, sizeof(sql),
		       "SELECT seq,mac,(%s),%s FROM %s ORDER BY seq LIMIT %d", condition,
		       columns->columns, columns->name, STEP_ROWS);
	if (sqlite3_prepare_v2(rows->db, sql, -1, &get, NULL) != SQLITE_OK)
		return store_error(rows->db, columns->name, err);
	(void)sqlite3_bind_int64(get, 1, bound);
	while (r == 0 && (step = sqlite3_step(get)) == SQLITE_ROW &&
	       sqlite3_column_int(get, 2) != 0) {
		for (unsigned i = 0; i < columns->count; i++)
			values[i] = chain_column(get, (int)i + 3);
		r = chain_next(&rows->journal->keys, columns->name, values,
			       columns->count, &rows->scratch, &at);
		/* What is not as it was written is not pruned out of sight. */
		if (r == 0 &&
		    (sqlite3_column_int64(get, 0) != at.seq ||
		     sqlite3_column_bytes(get, 1) != CHAIN_BYTES ||
		     memcmp(sqlite3_column_blob(get, 1), at.mac, CHAIN_BYTES) != 0)) {
			(void)err_set(err, SBX_AT_JOURNAL, 0,
				      "journal: %s %lld was altered; nothing is pruned",
				      columns->name, (long long)at.seq);
			r = -EBADMSG;
		}
	}
	if (r == 0 && step != SQLITE_DONE && step != SQLITE_ROW)
		r = store_error(rows->db, columns->name, err);
	(void)sqlite3_finalize(get);
	if (r < 0 || at.seq == head->before.seq)
		return r;
	(void)snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE seq <= ?", columns->name);
	if (sqlite3_prepare_v2(rows->db, sql, -1, &del, NULL) != SQLITE_OK ||
	    sqlite3_bind_int64(del, 1, at.seq) != SQLITE_OK ||
	    sqlite3_step(del) != SQLITE_DONE)
		r = store_error(rows->db, columns->name, err);
	(void)sqlite3_finalize(del);
	prune->rows += at.seq - head->before.seq;
	prune->more |= at.seq - head->before.seq == STEP_ROWS;
	head->before = at;
	head->first = at.seq + 1;
	return r;
}

/* The texts of the runs first..last leave the index, if they are in it. */
static int forget(struct rows *rows, int64_t first, int64_t last, struct sbx_err *err)
{
	sqlite3_stmt *get = NULL;
	int64_t indexed[STEP_EXECUTIONS];
	size_t count = 0;
	int r = 0;

	if (sqlite3_prepare_v2(rows->db,
			       "SELECT execution FROM verdicts WHERE execution >= ? AND "
			       "execution <= ? AND seq <= ?",
			       -1, &get, NULL) != SQLITE_OK)
		return store_error(rows->db, "verdicts", err);
	(void)sqlite3_bind_int64(get, 1, first);
	(void)sqlite3_bind_int64(get, 2, last);
	(void)sqlite3_bind_int64(get, 3, rows->head.indexed);
	while (count < STEP_EXECUTIONS && sqlite3_step(get) == SQLITE_ROW)
		indexed[count++] = sqlite3_column_int64(get, 0);
	(void)sqlite3_finalize(get);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = index_forget(rows, indexed[i], err);
	return r == 0 && count > 0 ? index_flush(rows, err) : r;
}

/* The last execution that may go: before the first that is running. */
static int64_t last_that_may(struct rows *rows, int64_t last)
{
	int64_t running = number(rows->db, "SELECT min(execution) FROM running", 0);

	return running > 0 && running <= last ? running - 1 : last;
}

static int step_rows(struct rows *rows, void *arg, struct sbx_err *err)
{
	struct prune *prune = arg;
	int64_t first = rows->head.tables[TABLE_EXECUTIONS].first, last;
	int r = 0;

	for (size_t i = 0; !prune->planned && i < TABLE_COUNT; i++)
		prune->first_was[i] = rows->head.tables[i].first;
	prune->planned = true;
	prune->more = false;
	last = last_that_may(rows, prune->last_execution);
	if (last >= first + STEP_EXECUTIONS) {
		last = first + STEP_EXECUTIONS - 1;
		prune->more = true;
	}
	if (last >= first) {
		r = forget(rows, first, last, err);
		if (r == 0)
			r = cut(rows, prune, TABLE_EXECUTIONS, "seq <= ?", last, err);
		prune->executions += last - first + 1;
	}
	/* What belongs to them, and to those that went before. */
	last = rows->head.tables[TABLE_EXECUTIONS].first;
	if (r == 0)
		r = cut(rows, prune, TABLE_EVENTS, "execution < ?", last, err);
	if (r == 0)
		r = cut(rows, prune, TABLE_SAMPLES, "execution < ?", last, err);
	if (r == 0)
		r = cut(rows, prune, TABLE_FILES, "execution < ?", last, err);
	if (r == 0)
		r = cut(rows, prune, TABLE_VERDICTS, "execution < ?", last, err);
	if (r == 0)
		r = cut(rows, prune, TABLE_SESSIONS, "at_us < ?", prune->before_us, err);
	if (r == 0)
		r = cut(rows, prune, TABLE_SIGNATURES, "at_us < ?", prune->before_us,
			err);
	if (r == 0 && rows->head.indexed < rows->head.tables[TABLE_VERDICTS].first - 1)
		rows->head.indexed = rows->head.tables[TABLE_VERDICTS].first - 1;
	return r;
}

/* Engines of which nothing is left. */
static int step_starts(struct rows *rows, void *arg, struct sbx_err *err)
{
	struct prune *prune = arg;
	int64_t kept = number(rows->db, "SELECT min(start) FROM executions", 0);

	if (kept == 0 || kept > rows->journal->start)
		kept = rows->journal->start;
	prune->more = false;
	return cut(rows, prune, TABLE_STARTS, "seq < ?", kept, err);
}

/* What was cut, for whoever reads the record, and a signature over where it begins now. */
static int finish(struct rows *rows, void *arg, struct sbx_err *err)
{
	struct prune *prune = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < TABLE_COUNT; i++) {
		const struct head_table *table = &rows->head.tables[i];
		const struct chain_point before = table->before;
		const struct chain_value values[] = {
			chain_number(store_now_us()),
			chain_string(schema_tables[i].name),
			chain_number(table->first),
			chain_blob(before.mac, CHAIN_BYTES),
			chain_blob(before.digest, CHAIN_BYTES),
			chain_string(prune->why),
		};

		if (table->first != prune->first_was[i] &&
		    rows_insert(rows, TABLE_CUTS, values, err) < 0)
			r = -EIO;
	}
	return r;
}

static int sign(struct rows *rows, void *arg, struct sbx_err *err)
{
	(void)arg;
	return rows_sign(rows, err);
}

/* Pages go back to the file system a few at a time. */
static int step_vacuum(struct rows *rows, void *arg, struct sbx_err *err)
{
	struct prune *prune = arg;
	int64_t before = number(rows->db, "PRAGMA freelist_count", 0);

	if (before > 0 && sqlite3_exec(rows->db, "PRAGMA incremental_vacuum(500)", NULL,
				       NULL, NULL) != SQLITE_OK)
		return store_error(rows->db, "giving pages back", err);
	prune->bytes += (uint64_t)(before > 500 ? 500 : before) * 4096;
	prune->more = before > 500;
	return 0;
}

/* ---- objects ---- */

static int by_name(const void *a, const void *b)
{
	return memcmp(a, b, JOURNAL_OBJECT_BYTES);
}

static int add_name(struct prune *prune, const struct chain_value *value)
{
	if (value->type != SQLITE_BLOB || value->len != JOURNAL_OBJECT_BYTES)
		return 0;
	if (prune->named_count == prune->named_room) {
		size_t room = prune->named_room ? prune->named_room * 2 : 1024;
		void *grown = realloc(prune->named, room * JOURNAL_OBJECT_BYTES);

		if (!grown)
			return -ENOMEM;
		prune->named = grown;
		prune->named_room = room;
	}
	memcpy(prune->named[prune->named_count++], value->data, JOURNAL_OBJECT_BYTES);
	return 0;
}

static int collect_names(struct prune *prune, sqlite3 *db, const int *stop,
			 struct sbx_err *err)
{
	static const char sql[] =
		"SELECT code_object FROM executions WHERE code_object IS NOT NULL"
		" UNION ALL SELECT policy_object FROM executions"
		" UNION ALL SELECT result_object FROM verdicts WHERE result_object IS NOT NULL"
		" UNION ALL SELECT stdout_object FROM verdicts WHERE stdout_object IS NOT NULL"
		" UNION ALL SELECT stderr_object FROM verdicts WHERE stderr_object IS NOT NULL"
		" UNION ALL SELECT object FROM files WHERE object IS NOT NULL";
	sqlite3_stmt *get = NULL;
	int r = 0, step = SQLITE_ERROR;

	if (sqlite3_prepare_v2(db, sql, -1, &get, NULL) != SQLITE_OK)
		return store_error(db, "objects", err);
	while (r == 0 && (step = sqlite3_step(get)) == SQLITE_ROW) {
		struct chain_value value = chain_column(get, 0);

		r = stop && __atomic_load_n(stop, __ATOMIC_RELAXED)
			    ? -ECANCELED
			    : add_name(prune, &value);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = store_error(db, "objects", err);
	(void)sqlite3_finalize(get);
	if (r == 0 && prune->named_count > 0)
		qsort(prune->named, prune->named_count, JOURNAL_OBJECT_BYTES, by_name);
	return r;
}

static int on_object(void *arg, const unsigned char *name, const char *path,
		     uint64_t bytes, int64_t modified_us)
{
	struct prune *prune = arg;

	(void)bytes;
	if (modified_us > store_now_us() - GRACE_US || strlen(path) >= 80)
		return 0;
	/* Ours by name, or by a beginning of write_file(): a stranger's stays, and is a
	 * finding of verify. */
	if (name ? prune->named_count > 0 &&
			    bsearch(name, prune->named, prune->named_count,
				    JOURNAL_OBJECT_BYTES, by_name)
		 : strncmp(path, "new-", 4) != 0)
		return 0;
	if (prune->unnamed_count == prune->unnamed_room) {
		size_t room = prune->unnamed_room ? prune->unnamed_room * 2 : 256;
		void *grown = realloc(prune->unnamed, room * sizeof(prune->unnamed[0]));

		if (!grown)
			return -ENOMEM;
		prune->unnamed = grown;
		prune->unnamed_room = room;
	}
	(void)snprintf(prune->unnamed[prune->unnamed_count++], 80, "%s", path);
	return 0;
}

/* Under the write lock. Who has used one since has made it young again. */
static int step_sweep(struct rows *rows, void *arg, struct sbx_err *err)
{
	struct prune *prune = arg;
	struct journal *journal = rows->journal;
	unsigned count = 0;

	(void)err;
	for (; prune->swept < prune->unnamed_count && count < STEP_OBJECTS;
	     prune->swept++, count++) {
		const char *path = prune->unnamed[prune->swept];
		struct stat st;

		if (fstatat(journal->objects_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (int64_t)st.st_mtim.tv_sec * 1000000 > store_now_us() - GRACE_US)
			continue;
		if (object_remove(journal, path) == 0) {
			prune->objects++;
			prune->bytes += (uint64_t)st.st_blocks * 512;
		}
	}
	prune->more = prune->swept < prune->unnamed_count;
	return 0;
}

/* ---- the plan ---- */

static int add_bytes(void *arg, const unsigned char *name, const char *path,
		     uint64_t bytes, int64_t modified_us)
{
	(void)name;
	(void)path;
	(void)modified_us;
	*(uint64_t *)arg += bytes;
	return 0;
}

/* By age; and, where it is larger than it may be, the oldest share that brings it to nine tenths of
 * that. Runs differ in size, so this is right on the average; the next time mends the rest. */
static int plan(struct prune *prune, sqlite3 *db, uint32_t keep_days, uint64_t keep_bytes,
		struct sbx_err *err)
{
	int64_t pages = number(db, "PRAGMA page_count", 0) -
			number(db, "PRAGMA freelist_count", 0);
	uint64_t bytes = (uint64_t)pages * 4096;
	int64_t first = number(db, "SELECT min(seq) FROM executions", 0),
		last = number(db, "SELECT max(seq) FROM executions", 0);
	int r;

	prune->why = "age";
	if (keep_days != UINT32_MAX) {
		prune->before_us = store_now_us() - (int64_t)keep_days * 86400 * 1000000;
		prune->last_execution = number(
			db, "SELECT max(seq) FROM executions WHERE at_us < ?",
			prune->before_us);
	}
	r = object_each(prune->journal, add_bytes, &bytes);
	if (r < 0)
		return err_set(err, SBX_AT_JOURNAL, -r, "journal: objects/");
	if (bytes > keep_bytes && first > 0) {
		double goes = 1 - (double)keep_bytes * 0.9 / (double)bytes;
		int64_t by_size = first + (int64_t)((double)(last - first + 1) * goes) -
				  1;

		if (by_size > prune->last_execution) {
			prune->last_execution = by_size;
			prune->why = "size";
			prune->before_us = number(
				db, "SELECT at_us FROM executions WHERE seq = ?",
				by_size);
		}
	}
	return 0;
}

static int steps(struct prune *prune, job_call fn, const int *stop, struct sbx_err *err)
{
	int r;

	do {
		r = stop && __atomic_load_n(stop, __ATOMIC_RELAXED)
			    ? -ECANCELED
			    : writer_call(prune->journal, fn, prune, err);
	} while (r == 0 && prune->more);
	return r;
}

int prune_run(struct journal *journal, uint32_t keep_days, uint64_t keep_bytes,
	      const int *stop, json_t **ret, struct sbx_err *err)
{
	struct prune prune = { .journal = journal };
	sqlite3 *db = NULL;
	int r = store_open_reader(journal, &db, err);

	if (r == 0)
		r = writer_call(journal, jobs_settle, NULL, err);
	if (r == 0)
		r = plan(&prune, db, keep_days, keep_bytes, err);
	if (r == 0)
		r = steps(&prune, step_rows, stop, err);
	if (r == 0 && prune.rows > 0)
		r = steps(&prune, step_starts, stop, err);
	if (r == 0 && prune.rows > 0)
		r = writer_call(journal, finish, &prune, err);
	if (r == 0 && prune.rows > 0)
		r = writer_call(journal, sign, NULL, err);
	if (r == 0)
		r = steps(&prune, step_vacuum, stop, err);
	if (r == 0)
		r = collect_names(&prune, db, stop, err);
	if (r == 0) {
		r = object_each(journal, on_object, &prune);
		r = r < 0 ? err_set(err, SBX_AT_JOURNAL, -r, "journal: objects/")
			  : steps(&prune, step_sweep, stop, err);
	}
	(void)sqlite3_close(db);
	free(prune.named);
	free(prune.unnamed);
	if (r < 0)
		return r;
	*ret = json_pack("{s:I,s:I,s:I,s:I}", "executions", (json_int_t)prune.executions,
			 "rows", (json_int_t)prune.rows, "objects",
			 (json_int_t)prune.objects, "bytes", (json_int_t)prune.bytes);
	return *ret ? 0 : err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
}

int prune_look(struct journal *journal, uint32_t keep_days, uint64_t keep_bytes,
	       json_t **ret, struct sbx_err *err)
{
	struct prune prune = { .journal = journal };
	int64_t count = 0;
	sqlite3 *db = NULL;
	int r = store_open_reader(journal, &db, err);

	if (r == 0)
		r = plan(&prune, db, keep_days, keep_bytes, err);
	if (r == 0 && prune.last_execution > 0)
		count = number(db, "SELECT count(*) FROM executions WHERE seq <= ?",
			       prune.last_execution);
	(void)sqlite3_close(db);
	if (r < 0)
		return r;
	*ret = json_pack("{s:I,s:o}", "executions", (json_int_t)count, "before",
			 count > 0 ? json_integer(prune.before_us / 1000000)
				   : json_null());
	return *ret ? 0 : err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
}

void prune_if_due(struct journal *journal)
{
	_cleanup_fd_ int stamp = openat(journal->dir_fd, STAMP,
					O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	json_t *done = NULL;
	struct stat st;

	if (stamp < 0 || fstat(stamp, &st) < 0 ||
	    (st.st_size > 0 &&
	     store_now_us() / 1000000 - (int64_t)st.st_mtim.tv_sec < DUE_S))
		return;
	/* Its time is what counts. */
	if (pwrite(stamp, "\n", 1, 0) != 1)
		return;
	(void)prune_run(journal, journal->keep_days, journal->keep_bytes, &journal->stop,
			&done, NULL);
	json_decref(done);
}
