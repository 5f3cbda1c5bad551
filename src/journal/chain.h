/* SPDX-License-Identifier: MIT
 * Keys, and what makes a row's hash: the chain of one table (docs/journal.md, "The chain").
 * Pure functions; any thread. */
#ifndef SBX_JOURNAL_CHAIN_H
#define SBX_JOURNAL_CHAIN_H

#include <sodium.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "sbx.h"

#define CHAIN_BYTES 32u
#define CHAIN_COLUMNS_MAX 24u

struct chain_keys {
	unsigned char mac[32];    /* rows and heads */
	unsigned char index[32];  /* rows of the search index */
	unsigned char secret[64]; /* Ed25519 */
	unsigned char public[32];
};

/* A new secret as the text of a key file. */
#define CHAIN_KEY_TEXT 128u
void chain_key_make(char ret[CHAIN_KEY_TEXT]);
/* -EINVAL: it is no key file's text. */
int chain_key_parse(const char *text, size_t len, struct chain_keys *ret);

/* A value as SQLite has it. data is borrowed. */
struct chain_value {
	int type; /* SQLITE_NULL, SQLITE_INTEGER, SQLITE_TEXT, SQLITE_BLOB */
	int64_t number;
	const void *data;
	size_t len;
};
struct chain_value chain_number(int64_t number);
struct chain_value chain_text(const char *text, size_t len); /* NULL: SQLITE_NULL */
struct chain_value chain_string(const char *text);           /* NULL: SQLITE_NULL */
struct chain_value chain_blob(const void *data, size_t len); /* NULL: SQLITE_NULL */
/* Column i of a statement's row; valid until the next step. A float, which no column of ours
 * holds, comes as an empty value of its type. */
struct chain_value chain_column(sqlite3_stmt *row, int i);

/* What a table has come to with the row `seq`: mac by our key, digest for those who have only
 * the public key and a signed head. */
struct chain_point {
	int64_t seq;
	unsigned char mac[CHAIN_BYTES], digest[CHAIN_BYTES];
};
/* The point before the first row (seq 0) of a table of the journal `id`. */
void chain_genesis(const struct chain_keys *keys, const char *id, const char *table,
		   struct chain_point *ret);
/* From a point to the next row's: *at is both. keys NULL: the digest only. scratch is reused from
 * row to row. 0, -ENOMEM. */
int chain_next(const struct chain_keys *keys, const char *table,
	       const struct chain_value *values, size_t count, struct buf *scratch,
	       struct chain_point *at);

/* Keyed hash of one text under the rows' key. */
void chain_mac(const struct chain_keys *keys, const char *label, const void *data,
	       size_t len, unsigned char ret[CHAIN_BYTES]);
/* One row of a table of the search index, to be added to or taken from a sum of them all
 * (mod 2^256), in whatever order. */
int chain_index_row(const struct chain_keys *keys, const char *table,
		    const struct chain_value *values, size_t count, struct buf *scratch,
		    unsigned char ret[CHAIN_BYTES]);

#endif
