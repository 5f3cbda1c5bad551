/* SPDX-License-Identifier: MIT
 * The text of the database: tables, indexes, versions. Any thread that owns the connection. */
#ifndef SBX_JOURNAL_SCHEMA_H
#define SBX_JOURNAL_SCHEMA_H

#include <sqlite3.h>
#include <stddef.h>

#include "sbx.h"

#define SCHEMA_APPLICATION_ID 0x53424a31 /* "SBJ1" */

/* How the search index cuts texts into words; part of version 1's text. */
#define SCHEMA_SEARCH_TOKENIZER "unicode61"
#define SCHEMA_SEARCH_TOKENIZER_ARGS "tokenchars", "_"
#define SCHEMA_SEARCH_TOKENIZE "unicode61 tokenchars '_'"

/* The chained tables: `seq INTEGER PRIMARY KEY` first, `mac BLOB` last, rows are added at the
 * end and taken away from the beginning only. */
enum schema_table {
	TABLE_STARTS,
	TABLE_EXECUTIONS,
	TABLE_VERDICTS,
	TABLE_EVENTS,
	TABLE_SAMPLES,
	TABLE_SESSIONS,
	TABLE_FILES,
	TABLE_CUTS,
	TABLE_SIGNATURES,
	TABLE_COUNT
};

struct schema_columns {
	const char *name;
	const char *
		columns; /* all but seq and mac, comma separated, in the order of the chain */
	unsigned count;   /* of these */
	unsigned objects; /* bit i: column i names an object */
};
extern const struct schema_columns schema_tables[TABLE_COUNT];

struct schema_version {
	const char *sql;
	/* What SQL alone cannot do (chains to be computed anew); NULL: nothing. */
	int (*migrate)(sqlite3 *db, void *arg, struct sbx_err *err);
};
extern const struct schema_version schema_versions[];
extern const size_t schema_version_count;

/* In a write transaction: brings the database from its version to the newest of `versions`.
 * -EPROTO: it is newer than this program. */
int schema_apply(sqlite3 *db, const struct schema_version *versions, size_t count,
		 void *arg, struct sbx_err *err);
/* The database's tables, indexes, triggers and views are exactly ours. -EBADMSG, with the
 * first one that is missing, altered or foreign in *err. */
int schema_compare(sqlite3 *db, struct sbx_err *err);

#endif
