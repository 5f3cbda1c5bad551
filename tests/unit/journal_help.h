/* SPDX-License-Identifier: MIT
 * A journal in a directory of its own, and records made up for it. */
#ifndef SBX_TEST_JOURNAL_HELP_H
#define SBX_TEST_JOURNAL_HELP_H

#include "journal/internal.h"

struct box {
	struct loop *loop;
	struct journal *journal;
	struct journal_options options;
	char dir[64];
	unsigned answers, failures;
	unsigned stop_at; /* answers: the loop stops */
	struct sbx_err err;
};

void box_make(struct box *box); /* a directory and a loop */
int box_open(struct box *box);
void box_close(struct box *box);
void box_remove(struct box *box);
void box_wait(struct box *box, unsigned answers); /* until so many have come */
/* One run, from its beginning to its verdict; `salt` makes its texts different. */
void box_begin(struct box *box, const char *id, const char *code);
void box_end(struct box *box, json_t *result); /* takes the reference */
void box_record(struct box *box, unsigned salt);
json_t *box_result(const char *id, unsigned salt, size_t output);
/* Waits until the search index holds all. */
void box_indexed(struct box *box);
/* Verifies, the words of the search index, too. */
json_t *box_verify_deep(struct box *box);
/* Verifies with a journal that only reads. Its report; new reference. */
json_t *box_verify(struct box *box, const char *noted, const char *public_key);
bool box_is_good(struct box *box); /* verify finds nothing; else it says what on stderr */

/* Edits journal.db as an intruder would, with SQLite's command line of our own. */
sqlite3 *box_edit(struct box *box);
void box_sql(struct box *box, const char *sql);
void copy_tree(const char *from, const char *to);

#endif
