/* SPDX-License-Identifier: MIT
 * Purpose: `verify` with `deep`: the search index against the records that it is derived from. The
 *   keyed sum (index.h) shows what somebody else did to it; this, what we did wrong.
 * Process: the engine, a question's thread. Trusts: SQLite's tokenizer, which both sides share;
 *   the rows, which were checked before. Nothing in the index.
 * Invariants: no more memory than a number for each execution: a sum of hashes over its words
 *   and their places, the index's taken away from the records'. The hash has a key of this very
 *   verification, so that nobody can choose words whose sums are equal. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "journal/index.h"
#include "journal/verify.h"

#define TOKEN_MAX 32768 /* FTS5 cuts longer ones */
#define PLACE_BYTES 8

struct compared {
	unsigned char key[crypto_shorthash_KEYBYTES];
	uint64_t *left; /* of the executions from the first on */
	fts5_tokenizer tokenizer;
	Fts5Tokenizer *tokens;
	/* The text that is being cut into words: whose, which column, how many words so far. */
	size_t run;
	uint32_t column, place;
	unsigned char word[PLACE_BYTES + TOKEN_MAX];
};

static uint64_t hash(struct compared *c, uint32_t column, uint32_t place,
		     const void *token, size_t len)
{
	unsigned char out[crypto_shorthash_BYTES];
	uint64_t ret;

	if (len > TOKEN_MAX)
		len = TOKEN_MAX;
	memcpy(c->word, &column, 4);
	memcpy(c->word + 4, &place, 4);
	if (len > 0)
		memcpy(c->word + PLACE_BYTES, token, len);
	(void)crypto_shorthash(out, c->word, PLACE_BYTES + len, c->key);
	memcpy(&ret, out, sizeof(ret));
	return ret;
}

/* ---- the records' side ---- */

static int find_tokenizer(struct verify *v, struct compared *c)
{
	static const char *args[] = { SCHEMA_SEARCH_TOKENIZER_ARGS };
	sqlite3_stmt *get = NULL;
	fts5_api *api = NULL;
	void *context = NULL;
	int r;

	r = sqlite3_prepare_v2(v->db, "SELECT fts5(?1)", -1, &get, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_bind_pointer(get, 1, &api, "fts5_api_ptr", NULL);
	if (r == SQLITE_OK)
		(void)sqlite3_step(get);
	(void)sqlite3_finalize(get);
	if (!api ||
	    api->xFindTokenizer(api, SCHEMA_SEARCH_TOKENIZER, &context, &c->tokenizer) !=
		    SQLITE_OK ||
	    c->tokenizer.xCreate(context, args, sizeof(args) / sizeof(args[0]),
				 &c->tokens) != SQLITE_OK)
		return -ENOTSUP;
	return 0;
}

static int on_token(void *arg, int flags, const char *token, int len, int start, int end)
{
	struct compared *c = arg;

	(void)start;
	(void)end;
	if (!(flags & FTS5_TOKEN_COLOCATED) || c->place == 0)
		c->place++;
	c->left[c->run] += hash(c, c->column, c->place - 1, token, (size_t)len);
	return SQLITE_OK;
}

static int add_run(struct verify *v, struct compared *c, size_t run, bool *ret_missing)
{
	struct index_texts texts;
	struct sbx_err err = { 0 };
	int64_t execution = v->head.tables[TABLE_EXECUTIONS].first + (int64_t)run;
	int r = index_texts(v->journal, v->db, execution, &texts, &err);

	if (r < 0)
		return r == -ENOMEM ? r
				    : finding(v, "executions", execution, "%s", err.msg);
	const struct buf *parts[] = { &texts.code, &texts.output, &texts.subjects };

	c->run = run;
	for (uint32_t i = 0; r == 0 && i < 3; i++) {
		c->column = i;
		c->place = 0;
		if (parts[i]->len > 0 &&
		    c->tokenizer.xTokenize(c->tokens, c, FTS5_TOKENIZE_DOCUMENT,
					   parts[i]->data, (int)parts[i]->len,
					   on_token) != SQLITE_OK)
			r = -ENOMEM;
	}
	*ret_missing = texts.missing;
	index_texts_clear(&texts);
	return r;
}

/* What the index should hold: runs with a verdict, up to the one that the head names. */
static bool is_indexed(const struct verify *v, size_t run)
{
	return v->verdict_of[run] > 0 && v->verdict_of[run] <= v->head.indexed;
}

static int add_records(struct verify *v, struct compared *c)
{
	bool missing;
	int r = 0;

	for (size_t run = 0; r == 0 && run < v->execution_count; run++) {
		if ((run & 255) == 0 && stopped(v))
			return -ECANCELED;
		if (is_indexed(v, run))
			r = add_run(v, c, run, &missing);
	}
	return r;
}

/* ---- the index's side ---- */

static int column_of(const char *name)
{
	static const char *const names[] = { "code", "output", "subjects" };

	for (int i = 0; name && i < 3; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	return -1;
}

static int take_word(struct verify *v, struct compared *c, sqlite3_stmt *row,
		     uint64_t *stale)
{
	int64_t doc = sqlite3_column_int64(row, 1),
		run = doc - v->head.tables[TABLE_EXECUTIONS].first;
	int column = column_of((const char *)sqlite3_column_text(row, 2));
	const void *term = sqlite3_column_blob(row, 0);

	if (run < 0) {
		(*stale)++;
		return 0;
	}
	if (run >= (int64_t)v->execution_count || column < 0)
		return finding(v, "search", doc,
			       "it has words of a run that is not there");
	c->left[run] -= hash(c, (uint32_t)column, (uint32_t)sqlite3_column_int64(row, 3),
			     term, (size_t)sqlite3_column_bytes(row, 0));
	return 0;
}

static int take_index(struct verify *v, struct compared *c)
{
	sqlite3_stmt *get = NULL;
	uint64_t stale = 0;
	int r = 0, step = SQLITE_ERROR;

	/* A table of this connection alone; its database stays read-only. */
	if (sqlite3_exec(v->db,
			 "PRAGMA query_only = OFF;"
			 "CREATE VIRTUAL TABLE temp.words USING"
			 " fts5vocab(main, search, instance);"
			 "PRAGMA query_only = ON;",
			 NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(v->db, "SELECT term, doc, col, \"offset\" FROM temp.words",
			       -1, &get, NULL) != SQLITE_OK)
		return finding(v, "search", 0, "it is not readable: %s",
			       sqlite3_errmsg(v->db));
	while (r == 0 && (step = sqlite3_step(get)) == SQLITE_ROW) {
		r = take_word(v, c, get, &stale);
		if ((++v->words & 4095) == 0 && stopped(v))
			r = -ECANCELED;
	}
	if (r == 0 && step != SQLITE_DONE)
		r = finding(v, "search", 0, "it is not readable: %s",
			    sqlite3_errmsg(v->db));
	(void)sqlite3_finalize(get);
	/* Of a pruned run whose object was gone; no question sees them. */
	if (r == 0 && stale > 0)
		note(v, "the search index has %llu words of runs that were pruned",
		     (unsigned long long)stale);
	return r;
}

/* ---- both ---- */

static int check_run(struct verify *v, struct compared *c, size_t run)
{
	int64_t execution = v->head.tables[TABLE_EXECUTIONS].first + (int64_t)run;
	bool missing = false;
	int r = 0;

	if (c->left[run] == 0)
		return 0;
	if (is_indexed(v, run))
		r = add_run(v, c, run, &missing);
	if (r == 0 && !missing)
		return finding(v, "search", execution,
			       "the search index does not have the words of this run");
	/* verify_objects() has said whether that is a finding. */
	if (r == 0)
		note(v, "executions %lld: a text is gone, the search index has its words",
		     (long long)execution);
	return r;
}

int verify_index(struct verify *v)
{
	struct compared *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (c)
		c->left = calloc(v->execution_count + 1, sizeof(*c->left));
	if (c && c->left) {
		randombytes_buf(c->key, sizeof(c->key));
		r = find_tokenizer(v, c);
	}
	if (r == 0)
		r = add_records(v, c);
	if (r == 0)
		r = take_index(v, c);
	for (size_t run = 0; r == 0 && run < v->execution_count; run++)
		r = check_run(v, c, run);
	if (c && c->tokens)
		c->tokenizer.xDelete(c->tokens);
	if (c)
		free(c->left);
	free(c);
	return r;
}
