/* SPDX-License-Identifier: MIT
 * Alterations of a journal by somebody without its key: each is found. JOURNAL_SEED and
 * JOURNAL_ALTERATIONS choose others and more. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "journal/index.h"
#include "journal/writer.h"
#include "journal_help.h"

#define RUNS 90u

struct fixture {
	struct box box;
	char *database; /* as it was written */
	size_t len;
	unsigned seed;
	char did[400]; /* what was altered */
};

static unsigned pick(struct fixture *f, unsigned below)
{
	f->seed = f->seed * 1103515245u + 12345u;
	return (f->seed >> 8) % below;
}

/* Every kind of row, some of it pruned, one run without a verdict. */
static void fill(struct box *box)
{
	json_t *session = json_pack("{s:s,s:s}", "id", "s1", "state", "idle");
	json_t *done = NULL;
	unsigned answers;

	assert_int_equal(box_open(box), 0);
	for (unsigned i = 1; i <= RUNS; i++) {
		box_record(box, i);
		if (i % 10 == 0)
			journal_session(box->journal, session, "created");
	}
	box_wait(box, 2 * RUNS);
	box_indexed(box);
	/* The oldest of them go. */
	assert_int_equal(
		prune_run(box->journal, UINT32_MAX, 200000, NULL, &done, &box->err), 0);
	assert_true(json_integer_value(json_object_get(done, "executions")) > 0);
	json_decref(done);
	answers = box->answers;
	box_record(box, RUNS + 1);
	box_begin(box, "never ends", "while True: pass");
	box_wait(box, answers + 3);
	box_indexed(box);
	json_decref(session);
	box_close(box);
	/* Two engines: one of them is gone. */
	assert_int_equal(box_open(box), 0);
	box_begin(box, "never ends either", "pass");
	answers = box->answers;
	box_record(box, RUNS + 2);
	box_wait(box, answers + 3);
	box_indexed(box);
	box_close(box);
	box_sql(box, "PRAGMA wal_checkpoint(TRUNCATE)");
	assert_int_equal(box->failures, 0);
}

static int group_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	f->seed = getenv("JOURNAL_SEED") ? (unsigned)atoi(getenv("JOURNAL_SEED")) : 1;
	box_make(&f->box);
	fill(&f->box);
	(void)snprintf(path, sizeof(path), "%s/journal.db", f->box.dir);
	assert_int_equal(fd_read_file(AT_FDCWD, path, 64u << 20, &f->database, &f->len),
			 0);
	*state = f;
	return 0;
}

static int group_teardown(void **state)
{
	struct fixture *f = *state;

	box_remove(&f->box);
	free(f->database);
	free(f);
	return 0;
}

static void restore(struct fixture *f)
{
	char path[128];
	int fd;

	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/journal.db%s", f->box.dir,
			       i ? "-shm" : "-wal");
		(void)unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/journal.db", f->box.dir);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, f->database, f->len), 0);
	(void)close(fd);
}

static bool found(struct fixture *f)
{
	json_t *report = box_verify(&f->box, NULL, NULL);
	bool ok = report && json_is_true(json_object_get(report, "ok"));

	json_decref(report);
	return !ok;
}

/* ---- values ---- */

static const char *const tables[] = {
	"starts",   "executions", "verdicts",    "events",     "samples",
	"sessions", "files",      "cuts",        "signatures", "meta",
	"head",     "running",    "search_data", "search_idx", "search_config",
};
#define CHAINED 9u
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static int64_t count_of(sqlite3 *db, const char *table)
{
	sqlite3_stmt *get = NULL;
	char sql[128];
	int64_t count;

	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &get, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(get), SQLITE_ROW);
	count = sqlite3_column_int64(get, 0);
	(void)sqlite3_finalize(get);
	return count;
}

/* One bit of one value. False: this one cannot be changed so (a key that is taken). */
static bool flip(struct fixture *f, sqlite3 *db, const char *table)
{
	int64_t count = count_of(db, table), row;
	sqlite3_stmt *get = NULL, *put = NULL;
	unsigned char *bytes = NULL;
	char sql[256], where[160];
	int column, columns, type, len;
	bool rowid = strcmp(table, "search_idx") != 0 &&
		     strcmp(table, "search_config") != 0,
	     done;

	assert_true(count > 0);
	row = pick(f, (unsigned)count);
	(void)snprintf(sql, sizeof(sql), "SELECT * FROM %s LIMIT 1 OFFSET %lld", table,
		       (long long)row);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &get, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(get), SQLITE_ROW);
	columns = sqlite3_column_count(get);
	column = (int)pick(f, (unsigned)columns);
	type = sqlite3_column_type(get, column);
	len = sqlite3_column_bytes(get, column);
	if (rowid)
		(void)snprintf(where, sizeof(where),
			       "rowid = (SELECT rowid FROM %s LIMIT 1 OFFSET %lld)",
			       table, (long long)row);
	else
		(void)snprintf(where, sizeof(where),
			       "(%s) = (SELECT %s FROM %s LIMIT 1 OFFSET %lld)",
			       columns == 3 ? "segid,term" : "k",
			       columns == 3 ? "segid,term" : "k", table, (long long)row);
	(void)snprintf(sql, sizeof(sql), "UPDATE %s SET %s = ? WHERE %s", table,
		       sqlite3_column_name(get, column), where);
	(void)snprintf(f->did, sizeof(f->did), "%s type %d", sql, type);
	done = (type == SQLITE_INTEGER || len > 0) &&
	       sqlite3_prepare_v2(db, sql, -1, &put, NULL) == SQLITE_OK;
	if (done && type == SQLITE_INTEGER) {
		(void)sqlite3_bind_int64(
			put, 1, sqlite3_column_int64(get, column) ^ (1ll << pick(f, 16)));
	} else if (done) {
		bytes = malloc((size_t)len);
		memcpy(bytes, sqlite3_column_blob(get, column), (size_t)len);
		bytes[pick(f, (unsigned)len)] ^= (unsigned char)(1u << pick(f, 7));
		if (type == SQLITE_TEXT)
			(void)sqlite3_bind_text(put, 1, (char *)bytes, len,
						SQLITE_STATIC);
		else
			(void)sqlite3_bind_blob(put, 1, bytes, len, SQLITE_STATIC);
	}
	(void)sqlite3_finalize(get);
	done = done && sqlite3_step(put) == SQLITE_DONE && sqlite3_changes(db) == 1;
	(void)sqlite3_finalize(put);
	free(bytes);
	return done;
}

/* ---- rows ---- */

static bool run(struct fixture *f, sqlite3 *db, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static bool run(struct fixture *f, sqlite3 *db, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(f->did, sizeof(f->did), fmt, args);
	va_end(args);
	return sqlite3_exec(db, f->did, NULL, NULL, NULL) == SQLITE_OK &&
	       sqlite3_total_changes(db) > 0;
}

static bool remove_row(struct fixture *f, sqlite3 *db, const char *table)
{
	const char *key = strcmp(table, "search_idx") == 0      ? "(segid,term)"
			  : strcmp(table, "search_config") == 0 ? "k"
								: "rowid";

	return run(f, db,
		   "DELETE FROM %s WHERE %s = (SELECT %.*s FROM %s LIMIT 1 OFFSET %u)",
		   table, key, key[0] == '(' ? (int)strlen(key) - 2 : (int)strlen(key),
		   key[0] == '(' ? key + 1 : key, table,
		   pick(f, (unsigned)count_of(db, table)));
}

static bool swap_rows(struct fixture *f, sqlite3 *db, const char *table)
{
	int64_t count = count_of(db, table);
	unsigned a, b;

	if (count < 2)
		return false;
	a = pick(f, (unsigned)count);
	b = (a + 1 + pick(f, (unsigned)count - 1)) % (unsigned)count;
	return run(
		f, db,
		"CREATE TEMP TABLE two AS SELECT (SELECT seq FROM %s LIMIT 1 OFFSET %u) a,"
		" (SELECT seq FROM %s LIMIT 1 OFFSET %u) b;"
		"UPDATE %s SET seq = -1 WHERE seq = (SELECT a FROM two);"
		"UPDATE %s SET seq = (SELECT a FROM two) WHERE seq = (SELECT b FROM two);"
		"UPDATE %s SET seq = (SELECT b FROM two) WHERE seq = -1",
		table, a, table, b, table, table, table);
}

/* A copy of a row under a new number; ids that must be unique are made so. */
static bool insert_row(struct fixture *f, sqlite3 *db, unsigned table)
{
	const struct schema_columns *columns = &schema_tables[table];
	const char *rest = columns->columns;
	char first[32];
	size_t len = strcspn(rest, ",");

	(void)snprintf(first, sizeof(first), "%.*s", (int)len, rest);
	return run(
		f, db,
		"INSERT INTO %s (seq,%s,mac) SELECT (SELECT max(seq) FROM %s) + 1, %s%s,mac "
		"FROM %s LIMIT 1 OFFSET %u",
		columns->name, rest, columns->name,
		table == TABLE_EXECUTIONS ? "id || 'x'"
		: table == TABLE_VERDICTS ? "execution + 100000"
					  : first,
		rest + len, columns->name,
		pick(f, (unsigned)count_of(db, columns->name)));
}

static bool cut_rows(struct fixture *f, sqlite3 *db, const char *table, bool tail)
{
	unsigned count = 1 + pick(f, 5);

	return run(
		f, db,
		"DELETE FROM %s WHERE seq IN (SELECT seq FROM %s ORDER BY seq %s LIMIT %u)",
		table, table, tail ? "DESC" : "ASC", count);
}

static const char *const strange[] = {
	"CREATE TRIGGER t AFTER INSERT ON executions BEGIN DELETE FROM events; END;"
	"DELETE FROM running WHERE 0",
	"CREATE VIEW v AS SELECT * FROM executions",
	"CREATE TABLE more (a)",
	"CREATE INDEX more ON events (line)",
	"DROP INDEX events_kind",
	"DROP TABLE running",
	"PRAGMA user_version = 7",
	"PRAGMA application_id = 7",
	"DROP TABLE search",
	"INSERT INTO meta (key, value) VALUES ('id2', 'x')",
	"INSERT INTO running (execution, start) VALUES (100000, 1)",
	"INSERT INTO search (rowid, code) VALUES (3, 'more')",
	"INSERT INTO search (search) VALUES ('optimize')",
	"UPDATE running SET start = start + 1",
	"DELETE FROM running",
	"DELETE FROM head",
	"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, "
	"'CHECK (id = 1)', 'CHECK (id = 2)') WHERE name = 'head'",
};

static bool alter(struct fixture *f, sqlite3 *db, unsigned n)
{
	const unsigned table = pick(f, TABLES), chained = pick(f, CHAINED);

	switch (n % 8) {
	case 0:
	case 1:
	case 2:
		return flip(f, db, tables[table]);
	case 3:
		return remove_row(f, db, tables[table]);
	case 4:
		return swap_rows(f, db, tables[chained]);
	case 5:
		return insert_row(f, db, chained);
	case 6:
		return cut_rows(f, db, tables[chained], pick(f, 2));
	default:
		(void)run(f, db, "%s",
			  strange[pick(f, sizeof(strange) / sizeof(strange[0]))]);
		return true;
	}
}

static void alterations(void **state)
{
	struct fixture *f = *state;
	unsigned wanted = getenv("JOURNAL_ALTERATIONS")
				  ? (unsigned)atoi(getenv("JOURNAL_ALTERATIONS"))
				  : 1000,
		 done = 0, missed = 0;

	restore(f);
	assert_false(found(f));
	for (unsigned n = 0; done < wanted; n++) {
		sqlite3 *db;
		bool altered;

		assert_true(n < 4 * wanted);
		restore(f);
		db = box_edit(&f->box);
		altered = alter(f, db, n);
		(void)sqlite3_close(db);
		if (!altered)
			continue;
		done++;
		if (!found(f)) {
			missed++;
			(void)fprintf(stderr, "not found: %s\n", f->did);
		}
	}
	assert_int_equal(missed, 0);
	restore(f);
	assert_false(found(f));
}

/* ---- files beside the database ---- */

static int first_object(void *arg, const unsigned char *name, const char *path,
			uint64_t bytes, int64_t modified_us)
{
	(void)bytes;
	(void)modified_us;
	if (!name)
		return 0;
	(void)snprintf(arg, 100, "%s", path);
	return 1;
}

static void write_at(const char *path, off_t at, const char *data)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, strlen(data), at), (ssize_t)strlen(data));
	(void)close(fd);
}

static void objects(void **state)
{
	struct fixture *f = *state;
	struct box reader = { .loop = f->box.loop };
	char object[100], path[300], other[300];

	restore(f);
	reader.options = f->box.options;
	reader.options.read_only = true;
	assert_int_equal(box_open(&reader), 0);
	assert_int_equal(object_each(reader.journal, first_object, object), 1);
	box_close(&reader);
	(void)snprintf(path, sizeof(path), "%s/objects/%s", f->box.dir, object);
	(void)snprintf(other, sizeof(other), "%s/moved", f->box.dir);
	assert_false(found(f));
	/* Gone; empty; altered; another's; a stranger's. */
	assert_int_equal(rename(path, other), 0);
	assert_true(found(f));
	write_at(path, 0, "x");
	assert_true(found(f));
	assert_int_equal(rename(other, path), 0);
	assert_false(found(f));
	copy_tree(path, other);
	write_at(path, 20, "????");
	assert_true(found(f));
	assert_int_equal(rename(other, path), 0);
	(void)snprintf(other, sizeof(other), "%s/objects/%.2s/strange", f->box.dir,
		       object);
	write_at(other, 0, "x");
	assert_true(found(f));
	assert_int_equal(unlink(other), 0);
	(void)snprintf(other, sizeof(other), "%s/journal.pub", f->box.dir);
	copy_tree(other, path[0] ? "/tmp/test-journal-pub" : "");
	write_at(other, 3, "zz");
	assert_true(found(f));
	copy_tree("/tmp/test-journal-pub", other);
	(void)unlink("/tmp/test-journal-pub");
	assert_false(found(f));
}

/* ---- heads ---- */

static char *head_text(struct box *box, char **ret_public)
{
	struct box reader = { .loop = box->loop };
	json_t *head = NULL;
	char *text;

	reader.options = box->options;
	reader.options.read_only = true;
	assert_int_equal(box_open(&reader), 0);
	assert_int_equal(head_describe(reader.journal, &head, &reader.err), 0);
	text = strdup(json_string_value(json_object_get(head, "head")));
	*ret_public = strdup(json_string_value(json_object_get(head, "public_key")));
	json_decref(head);
	box_close(&reader);
	return text;
}

static bool finds(struct box *box, const char *noted, const char *public)
{
	json_t *report = box_verify(box, noted, public);
	bool ok;

	assert_non_null(report);
	ok = json_is_true(json_object_get(report, "ok"));
	json_decref(report);
	return !ok;
}

/* An older genuine copy of everything is found by a head that was noted, by nothing else. */
static void set_back(void **state)
{
	struct fixture *f = *state;
	char *noted, *public;
	unsigned answers;

	restore(f);
	assert_int_equal(box_open(&f->box), 0);
	answers = f->box.answers;
	box_record(&f->box, 5000);
	box_wait(&f->box, answers + 2);
	box_close(&f->box);
	noted = head_text(&f->box, &public);
	assert_false(finds(&f->box, noted, NULL));
	/* It goes on from there. */
	assert_int_equal(box_open(&f->box), 0);
	box_record(&f->box, 5001);
	box_wait(&f->box, answers + 4);
	box_close(&f->box);
	assert_false(finds(&f->box, noted, NULL));
	restore(f);
	assert_false(found(f));
	assert_true(finds(&f->box, noted, NULL));
	assert_true(finds(&f->box, "sandbox-journal 1\n", NULL));
	noted[60] ^= 1;
	assert_true(finds(&f->box, noted, NULL));
	free(noted);
	free(public);
}

/* Who has the public key alone sees an alteration of what was signed, whoever made it. */
static void public_key(void **state)
{
	struct fixture *f = *state;
	char *noted, *public;
	json_t *report;

	restore(f);
	noted = head_text(&f->box, &public);
	assert_false(finds(&f->box, NULL, public));
	assert_false(finds(&f->box, noted, public));
	report = box_verify(&f->box, NULL, public);
	assert_true(json_integer_value(json_object_get(report, "signatures")) > 0);
	json_decref(report);
	box_sql(&f->box, "UPDATE executions SET caller = 'nobody' WHERE seq = (SELECT "
			 "min(seq) FROM executions)");
	assert_true(finds(&f->box, NULL, public));
	restore(f);
	box_sql(&f->box, "UPDATE signatures SET signature = zeroblob(64)");
	assert_true(finds(&f->box, NULL, public));
	restore(f);
	public[0] = public[0] == '0' ? '1' : '0';
	assert_true(finds(&f->box, NULL, public));
	free(noted);
	free(public);
}

/* ---- the search index ---- */

struct wrong {
	const char *sql;
	int64_t execution; /* :run; 0: none */
	bool forget;
};

/* A mistake of ours: the index changes through the writer's own hook, so that its sum is right. */
static int fill_wrongly(struct rows *rows, void *arg, struct sbx_err *err)
{
	const struct wrong *wrong = arg;
	sqlite3_stmt *s = NULL;
	int r = 0;

	if (wrong->forget)
		r = index_forget(rows, wrong->execution, err);
	if (r == 0 && wrong->sql) {
		assert_int_equal(sqlite3_prepare_v2(rows->db, wrong->sql, -1, &s, NULL),
				 SQLITE_OK);
		(void)sqlite3_bind_int64(s, 1, wrong->execution);
		assert_int_equal(sqlite3_step(s), SQLITE_DONE);
		(void)sqlite3_finalize(s);
	}
	return r == 0 ? index_flush(rows, err) : r;
}

static int64_t first_run(struct fixture *f)
{
	sqlite3 *db = box_edit(&f->box);
	sqlite3_stmt *get = NULL;
	int64_t first;

	assert_int_equal(sqlite3_prepare_v2(db, "SELECT min(seq) + 1 FROM executions", -1,
					    &get, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(get), SQLITE_ROW);
	first = sqlite3_column_int64(get, 0);
	(void)sqlite3_finalize(get);
	(void)sqlite3_close(db);
	return first;
}

static void index_filled_wrongly(void **state)
{
	static const struct wrong all[] = {
		{ "INSERT INTO search (rowid, code) VALUES (?, 'more')", 1, false },
		{ "INSERT INTO search (rowid, subjects) VALUES (?, 'more')", 100000,
		  false },
		{ NULL, 1, true },
		/* Words in another column, in another order. */
		{ "INSERT INTO search (rowid, output) VALUES (?, 'number1')", 1, true },
		{ "INSERT INTO search (search) VALUES ('delete-all')", 0, false },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct wrong wrong = all[i];
		const json_t *finding;
		json_t *report;

		restore(f);
		report = box_verify_deep(&f->box);
		assert_true(json_is_true(json_object_get(report, "ok")));
		assert_true(json_integer_value(json_object_get(report, "words")) > 100);
		json_decref(report);
		if (wrong.execution == 1)
			wrong.execution = first_run(f);
		assert_int_equal(box_open(&f->box), 0);
		assert_int_equal(
			writer_call(f->box.journal, fill_wrongly, &wrong, &f->box.err),
			0);
		box_close(&f->box);
		assert_false(found(f));
		report = box_verify_deep(&f->box);
		assert_true(json_is_false(json_object_get(report, "ok")));
		finding = json_object_get(report, "finding");
		assert_string_equal(json_string_value(json_object_get(finding, "table")),
				    "search");
		if (wrong.execution > 0)
			assert_int_equal(
				json_integer_value(json_object_get(finding, "seq")),
				wrong.execution);
		json_decref(report);
	}
	restore(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alterations),
		cmocka_unit_test(objects),
		cmocka_unit_test(set_back),
		cmocka_unit_test(public_key),
		cmocka_unit_test(index_filled_wrongly),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
