/* SPDX-License-Identifier: MIT
 * The head: what all chains of a journal have come to, as a text that can be noted and signed
 * (docs/journal.md, "The head"). */
#ifndef SBX_JOURNAL_HEADS_H
#define SBX_JOURNAL_HEADS_H

#include <stdbool.h>

#include "journal/chain.h"
#include "journal/schema.h"

#define HEAD_TEXT_MAX 8192u

struct head_table {
	int64_t first; /* seq of the first row that is kept; last.seq + 1: none is */
	struct chain_point before; /* seq first - 1 */
	struct chain_point last;
};

struct head {
	char id[33];
	uint64_t commit;
	int64_t at_us;
	/* Rows up to these were on disk, their objects too. */
	int64_t synced_executions, synced_verdicts;
	unsigned char meta[CHAIN_BYTES]; /* of the rows of `meta` */
	int64_t indexed; /* verdicts up to this seq are in the search index */
	unsigned char index[CHAIN_BYTES]; /* sum of its rows */
	struct head_table tables[TABLE_COUNT];
};

/* A journal without a row. */
void head_begin(const struct chain_keys *keys, const char *id, struct head *ret);
/* The one text of this head, NUL-terminated; its length. */
size_t head_format(const struct head *head, char ret[HEAD_TEXT_MAX]);
/* -EBADMSG: not what head_format() writes. */
int head_parse(const char *text, size_t len, struct head *ret);
/* What authenticates it in the table `head`. */
void head_mac(const struct chain_keys *keys, const char *text, size_t len,
	      unsigned char ret[CHAIN_BYTES]);
/* Ed25519 over the text with a label before it, so that the key signs nothing else. */
#define HEAD_SIGNATURE_BYTES 64u
int head_sign(const struct chain_keys *keys, const char *text, size_t len,
	      unsigned char ret[HEAD_SIGNATURE_BYTES]);
bool head_check(const unsigned char public[32], const char *text, size_t len,
		const unsigned char signature[HEAD_SIGNATURE_BYTES]);

/* From the database: the row of `head`, authenticated (keys NULL: only read). -EBADMSG: it is
 * missing, or not ours, *err says which. */
int head_load(sqlite3 *db, const struct chain_keys *keys, struct head *ret,
	      char ret_text[HEAD_TEXT_MAX], struct sbx_err *err);
/* In a write transaction. */
int head_store(sqlite3 *db, const struct chain_keys *keys, const struct head *head,
	       struct sbx_err *err);
/* The hash of the rows of `meta`. */
int head_meta(sqlite3 *db, unsigned char ret[CHAIN_BYTES]);

#endif
