/* SPDX-License-Identifier: MIT
 * One verification, as its files share it: verify.c (chains, head, file), verify_parts.c
 * (signatures, a noted head, objects), verify_index.c (words of the search index). */
#ifndef SBX_JOURNAL_VERIFY_H
#define SBX_JOURNAL_VERIFY_H

#include "journal/internal.h"

#define NOTES_MAX 20u

struct signed_points {
	struct chain_point *at; /* by seq */
	size_t count, room, next;
};

/* An object that a row names. */
struct named_object {
	unsigned char name[JOURNAL_OBJECT_BYTES];
	int64_t seq; /* of a row that names it */
	uint8_t table;
	bool synced; /* of the rows that name it one was on disk: it has to be there */
};

struct verify {
	const struct journal *journal;
	const struct chain_keys *keys; /* NULL: with the public key only */
	unsigned char public[32];
	const char *noted;
	bool deep;
	const int *stop;
	sqlite3 *db;
	struct head head;
	char head_text[HEAD_TEXT_MAX];

	bool found;
	char table[32], what[256];
	int64_t seq;
	json_t *notes;
	int64_t rows[TABLE_COUNT];
	uint64_t objects, signatures, words;

	/* Called for each good row. */
	int (*each[TABLE_COUNT])(struct verify *v, int64_t seq,
				 const struct chain_value *values);
	struct signed_points points[TABLE_COUNT];
	int64_t *verdict_of; /* of the executions from the first on; 0: none */
	int64_t *start_of;
	size_t execution_count, execution_room;
	struct named_object *named;
	size_t named_count, named_room;
	unsigned char (*lost)[JOURNAL_OBJECT_BYTES]; /* by the journal's own record */
	size_t lost_count, lost_room;
};

/* The first finding: -EBADMSG, which ends it. */
int finding(struct verify *v, const char *table, int64_t seq, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void note(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool stopped(const struct verify *v);

/* ---- verify_parts.c ---- */
int verify_signed(struct verify *v);
int verify_noted(struct verify *v);
int verify_objects(struct verify *v);
int verify_execution(struct verify *v, int64_t seq, const struct chain_value *values);
int verify_verdict(struct verify *v, int64_t seq, const struct chain_value *values);
int verify_file(struct verify *v, int64_t seq, const struct chain_value *values);
int verify_cut(struct verify *v, int64_t seq, const struct chain_value *values);
void verify_clear(struct verify *v);

/* ---- verify_index.c, after all the others ---- */
int verify_index(struct verify *v);

#endif
