/* SPDX-License-Identifier: MIT
 * Purpose: what a power failure may have taken: objects of rows that were committed and not yet
 *   synced (durability `normal`). Opening the journal looks, and records what is gone, so that a
 *   later verification can tell it from an object that somebody removed.
 * Process: the engine; journal_open(). Trusts: the authenticated head. */
#include "journal/recover.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

#define LOST_MAX 4096

static int put_lost(struct rows *rows, const unsigned char *name, struct sbx_err *err)
{
	static const unsigned char none[CHAIN_BYTES];
	const struct chain_value values[] = {
		chain_number(store_now_us()),
		chain_string("object"),
		chain_number(0),
		chain_blob(name, JOURNAL_OBJECT_BYTES),
		chain_blob(none, sizeof(none)),
		chain_string("not on disk when the machine stopped"),
	};

	return rows_insert(rows, TABLE_CUTS, values, err) < 0 ? -EIO : 0;
}

static bool is_whole(const struct journal *journal, const unsigned char *name)
{
	_cleanup_buf_ struct buf content = { 0 };

	return object_exists(journal, name) &&
	       object_read(journal, name, JOURNAL_OBJECT_MAX, &content, NULL) == 0;
}

static bool was_recorded(struct rows *rows, const unsigned char *name)
{
	sqlite3_stmt *get = NULL;
	bool is = false;

	if (sqlite3_prepare_v2(
		    rows->db,
		    "SELECT 1 FROM cuts WHERE name = 'object' AND before_mac = ?", -1,
		    &get, NULL) == SQLITE_OK &&
	    sqlite3_bind_blob(get, 1, name, JOURNAL_OBJECT_BYTES, SQLITE_STATIC) ==
		    SQLITE_OK)
		is = sqlite3_step(get) == SQLITE_ROW;
	(void)sqlite3_finalize(get);
	return is;
}

static int look(struct rows *rows, const char *sql, int64_t after, unsigned *count,
		struct sbx_err *err)
{
	sqlite3_stmt *get = NULL;
	int r = 0, step = SQLITE_DONE;

	if (sqlite3_prepare_v2(rows->db, sql, -1, &get, NULL) != SQLITE_OK)
		return store_error(rows->db, "looking for objects", err);
	(void)sqlite3_bind_int64(get, 1, after);
	while (r == 0 && *count < LOST_MAX && (step = sqlite3_step(get)) == SQLITE_ROW)
		for (int i = 0; r == 0 && i < sqlite3_column_count(get); i++) {
			const struct chain_value value = chain_column(get, i);

			if (value.type != SQLITE_BLOB ||
			    value.len != JOURNAL_OBJECT_BYTES ||
			    is_whole(rows->journal, value.data) ||
			    was_recorded(rows, value.data))
				continue;
			(*count)++;
			r = put_lost(rows, value.data, err);
		}
	if (r == 0 && step != SQLITE_DONE && step != SQLITE_ROW)
		r = store_error(rows->db, "looking for objects", err);
	(void)sqlite3_finalize(get);
	return r;
}

int recover_objects(struct rows *rows, struct sbx_err *err)
{
	unsigned count = 0;
	int r = 0;

	if (rows->head.tables[TABLE_EXECUTIONS].last.seq > rows->head.synced_executions)
		r = look(
			rows,
			"SELECT code_object, policy_object FROM executions WHERE seq > ?",
			rows->head.synced_executions, &count, err);
	if (r == 0 &&
	    rows->head.tables[TABLE_VERDICTS].last.seq > rows->head.synced_verdicts) {
		r = look(
			rows,
			"SELECT result_object, stdout_object, stderr_object FROM verdicts "
			"WHERE seq > ?",
			rows->head.synced_verdicts, &count, err);
		if (r == 0)
			r = look(rows,
				 "SELECT f.object FROM verdicts v JOIN files f "
				 "ON f.execution = v.execution WHERE v.seq > ?",
				 rows->head.synced_verdicts, &count, err);
	}
	return r;
}
