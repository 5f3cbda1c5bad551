/* SPDX-License-Identifier: MIT
 * Purpose: the text of the database (schema.h) and its versions.
 * Process: the engine, a thread of the journal. Trusts: nothing in the file.
 * Invariants: a text that has been released is never edited; a change is a new version. */
#include "journal/schema.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

/* clang-format off */
static const char version_1[] =
"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;\n"
/* One row: what every chain has come to; renewed by each commit (docs/journal.md). */
"CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), statement TEXT NOT NULL,\n"
"  mac BLOB NOT NULL) STRICT;\n"
/* An engine that opened the journal. While it lives it holds a lock on byte `seq` of
 * journal.lock: what it began and did not end is running, else lost. */
"CREATE TABLE starts (seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, version TEXT NOT NULL,\n"
"  durability TEXT NOT NULL, uid INTEGER NOT NULL, mac BLOB NOT NULL) STRICT;\n"
/* Before a program starts. code or code_object, policy_object always (they repeat). */
"CREATE TABLE executions (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at_us INTEGER NOT NULL,\n"
"  start INTEGER NOT NULL, caller TEXT NOT NULL, door TEXT NOT NULL, session TEXT,\n"
"  filename TEXT, preset TEXT, template TEXT, python TEXT, code_bytes INTEGER NOT NULL, code TEXT,\n"
"  code_object BLOB, policy_object BLOB NOT NULL, mac BLOB NOT NULL) STRICT;\n"
"CREATE UNIQUE INDEX executions_id ON executions (id);\n"
"CREATE INDEX executions_at ON executions (at_us);\n"
"CREATE INDEX executions_session ON executions (session) WHERE session IS NOT NULL;\n"
/* Before the caller is told. result: the result's JSON without policy, events, stdout and
 * stderr, which are beside it. status "lost": the engine died. */
"CREATE TABLE verdicts (seq INTEGER PRIMARY KEY, execution INTEGER NOT NULL,\n"
"  at_us INTEGER NOT NULL, status TEXT NOT NULL, error TEXT, wall_us INTEGER, cpu_us INTEGER,\n"
"  memory_peak_bytes INTEGER, processes_peak INTEGER, written_bytes INTEGER,\n"
"  events INTEGER NOT NULL, samples_dropped INTEGER NOT NULL, result TEXT, result_object BLOB,\n"
"  stdout_bytes INTEGER NOT NULL, stdout TEXT, stdout_object BLOB,\n"
"  stderr_bytes INTEGER NOT NULL, stderr TEXT, stderr_object BLOB, mac BLOB NOT NULL) STRICT;\n"
"CREATE UNIQUE INDEX verdicts_execution ON verdicts (execution);\n"
"CREATE INDEX verdicts_status ON verdicts (status, execution);\n"
/* rest: JSON of what the event has besides. */
"CREATE TABLE events (seq INTEGER PRIMARY KEY, execution INTEGER NOT NULL,\n"
"  at_ms INTEGER NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT, rule TEXT,\n"
"  line INTEGER, remedy TEXT, count INTEGER NOT NULL, rest TEXT, mac BLOB NOT NULL) STRICT;\n"
"CREATE INDEX events_execution ON events (execution);\n"
"CREATE INDEX events_kind ON events (kind, execution);\n"
/* data: count times struct journal_sample (internal.h), little-endian. */
"CREATE TABLE samples (seq INTEGER PRIMARY KEY, execution INTEGER NOT NULL,\n"
"  first_at_ms INTEGER NOT NULL, count INTEGER NOT NULL, data BLOB NOT NULL,\n"
"  mac BLOB NOT NULL) STRICT;\n"
"CREATE INDEX samples_execution ON samples (execution);\n"
"CREATE TABLE sessions (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at_us INTEGER NOT NULL,\n"
"  start INTEGER NOT NULL, what TEXT NOT NULL, json TEXT NOT NULL, mac BLOB NOT NULL) STRICT;\n"
"CREATE INDEX sessions_id ON sessions (id);\n"
/* object NULL: beyond what is kept of one run. */
"CREATE TABLE files (seq INTEGER PRIMARY KEY, execution INTEGER NOT NULL, path BLOB NOT NULL,\n"
"  size INTEGER NOT NULL, object BLOB, mac BLOB NOT NULL) STRICT;\n"
"CREATE INDEX files_execution ON files (execution);\n"
/* The beginning of a table was pruned: its first row is now first_seq, and what its chain had
 * come to before that. */
"CREATE TABLE cuts (seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, name TEXT NOT NULL,\n"
"  first_seq INTEGER NOT NULL, before_mac BLOB NOT NULL, before_digest BLOB NOT NULL,\n"
"  why TEXT NOT NULL, mac BLOB NOT NULL) STRICT;\n"
"CREATE TABLE signatures (seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL,\n"
"  statement TEXT NOT NULL, signature BLOB NOT NULL, mac BLOB NOT NULL) STRICT;\n"
/* Derived: the executions without a verdict. What a dead engine left here is lost. */
"CREATE TABLE running (execution INTEGER PRIMARY KEY, start INTEGER NOT NULL) STRICT;\n"
/* Derived, filled in batches up to the verdict that the head names. rowid: executions.seq.
 * No copy of the texts, only the index; deletions give the same texts again (index.c). */
"CREATE VIRTUAL TABLE search USING fts5(code, output, subjects, content='', columnsize=0,\n"
"  tokenize=\"unicode61 tokenchars '_'\");\n";
/* clang-format on */

const struct schema_version schema_versions[] = { { version_1, NULL } };
const size_t schema_version_count = sizeof(schema_versions) / sizeof(schema_versions[0]);

const struct schema_columns schema_tables[TABLE_COUNT] = {
	[TABLE_STARTS] = { "starts", "at_us,version,durability,uid", 4, 0 },
	[TABLE_EXECUTIONS] = { "executions",
			       "id,at_us,start,caller,door,session,filename,preset,template,python,"
			       "code_bytes,code,code_object,policy_object",
			       14, 1u << 12 | 1u << 13 },
	[TABLE_VERDICTS] = { "verdicts",
			     "execution,at_us,status,error,wall_us,cpu_us,memory_peak_bytes,"
			     "processes_peak,written_bytes,events,samples_dropped,result,"
			     "result_object,stdout_bytes,stdout,stdout_object,stderr_bytes,"
			     "stderr,stderr_object",
			     19, 1u << 12 | 1u << 15 | 1u << 18 },
	[TABLE_EVENTS] = { "events",
			   "execution,at_ms,source,kind,subject,rule,line,remedy,count,rest",
			   10, 0 },
	[TABLE_SAMPLES] = { "samples", "execution,first_at_ms,count,data", 4, 0 },
	[TABLE_SESSIONS] = { "sessions", "id,at_us,start,what,json", 5, 0 },
	[TABLE_FILES] = { "files", "execution,path,size,object", 4, 1u << 3 },
	[TABLE_CUTS] = { "cuts", "at_us,name,first_seq,before_mac,before_digest,why", 6,
			 0 },
	[TABLE_SIGNATURES] = { "signatures", "at_us,statement,signature", 3, 0 },
};

int schema_apply(sqlite3 *db, const struct schema_version *versions, size_t count,
		 void *arg, struct sbx_err *err)
{
	sqlite3_stmt *get = NULL;
	int64_t at = -1;
	char text[64];
	int r = 0;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &get, NULL) == SQLITE_OK &&
	    sqlite3_step(get) == SQLITE_ROW)
		at = sqlite3_column_int64(get, 0);
	(void)sqlite3_finalize(get);
	if (at < 0)
		return err_set(err, SBX_AT_JOURNAL, EIO, "the journal's version: %s",
			       sqlite3_errmsg(db));
	if (at > (int64_t)count) {
		(void)err_set(
			err, SBX_AT_JOURNAL, 0,
			"the journal was written by a newer version of this program "
			"(format %lld, this one knows %zu)",
			(long long)at, count);
		return -EPROTO;
	}
	for (; r == 0 && at < (int64_t)count; at++) {
		const struct schema_version *next = &versions[at];

		if (sqlite3_exec(db, next->sql, NULL, NULL, NULL) != SQLITE_OK)
			return err_set(err, SBX_AT_JOURNAL, EIO,
				       "the journal's format %lld: %s", (long long)at + 1,
				       sqlite3_errmsg(db));
		if (next->migrate)
			r = next->migrate(db, arg, err);
		(void)snprintf(text, sizeof(text), "PRAGMA user_version = %lld",
			       (long long)at + 1);
		if (r == 0 && sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
			r = err_set(err, SBX_AT_JOURNAL, EIO, "the journal's version: %s",
				    sqlite3_errmsg(db));
	}
	return r;
}

#define ALL_OF "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"

static bool same(sqlite3_stmt *a, sqlite3_stmt *b, int column)
{
	const unsigned char *x = sqlite3_column_text(a, column),
			    *y = sqlite3_column_text(b, column);

	return x && y ? strcmp((const char *)x, (const char *)y) == 0 : x == y;
}

/* Both come in the same order: the first pair that differs tells. */
static int compare_rows(sqlite3 *db, sqlite3_stmt *ours, sqlite3_stmt *theirs,
			struct sbx_err *err)
{
	for (;;) {
		int a = sqlite3_step(ours), b = sqlite3_step(theirs);
		int order = 0;

		if (b != SQLITE_ROW && b != SQLITE_DONE)
			return err_set(err, SBX_AT_JOURNAL, EBADMSG, "the schema: %s",
				       sqlite3_errmsg(db));
		if (a != SQLITE_ROW && b != SQLITE_ROW)
			return 0;
		if (a == SQLITE_ROW && b == SQLITE_ROW) {
			bool equal = true;

			for (int i = 0; i < 4; i++)
				equal = equal && same(ours, theirs, i);
			if (equal)
				continue;
			for (int i = 0; i < 2 && order == 0; i++)
				order = strcmp(
					(const char *)sqlite3_column_text(ours, i),
					(const char *)sqlite3_column_text(theirs, i));
			if (order == 0) {
				(void)err_set(err, SBX_AT_JOURNAL, 0,
					      "the schema: %s %.100s is not ours",
					      sqlite3_column_text(ours, 0),
					      sqlite3_column_text(ours, 1));
				return -EBADMSG;
			}
		}
		if (b != SQLITE_ROW || (a == SQLITE_ROW && order < 0))
			(void)err_set(err, SBX_AT_JOURNAL, 0,
				      "the schema: %s %.100s is missing",
				      sqlite3_column_text(ours, 0),
				      sqlite3_column_text(ours, 1));
		else
			(void)err_set(err, SBX_AT_JOURNAL, 0,
				      "the schema: a foreign %.20s %.100s",
				      sqlite3_column_text(theirs, 0),
				      sqlite3_column_text(theirs, 1));
		return -EBADMSG;
	}
}

int schema_compare(sqlite3 *db, struct sbx_err *err)
{
	sqlite3_stmt *ours = NULL, *theirs = NULL;
	sqlite3 *model = NULL;
	int r = 0;

	if (sqlite3_open_v2(":memory:", &model,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY |
				    SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK ||
	    schema_apply(model, schema_versions, schema_version_count, NULL, NULL) < 0 ||
	    sqlite3_prepare_v2(model, ALL_OF, -1, &ours, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, ALL_OF, -1, &theirs, NULL) != SQLITE_OK)
		r = err_set(err, SBX_AT_JOURNAL, EIO, "comparing the schema: %s",
			    sqlite3_errmsg(db));
	if (r == 0)
		r = compare_rows(db, ours, theirs, err);
	(void)sqlite3_finalize(ours);
	(void)sqlite3_finalize(theirs);
	(void)sqlite3_close(model);
	return r;
}
