/* SPDX-License-Identifier: MIT
 * Purpose: the parts of a verification besides the chains (verify.h): signed heads, a head that
 *   was noted elsewhere, objects.
 * Process: the engine, a question's thread. Trusts: as verify.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/verify.h"

/* Room for one more at *at. */
static void *grow(void *at, size_t count, size_t *room, size_t size)
{
	size_t wanted = *room ? *room * 2 : 256;
	void *grown;

	if (count < *room)
		return at;
	grown = realloc(at, wanted * size);
	if (grown)
		*room = wanted;
	return grown;
}

void verify_clear(struct verify *v)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		free(v->points[i].at);
	free(v->verdict_of);
	free(v->start_of);
	free(v->named);
	free(v->lost);
	json_decref(v->notes);
}

/* ---- signed heads ---- */

static int add_points(struct verify *v, const struct head *head)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		struct signed_points *points = &v->points[i];
		void *grown;

		/* What was pruned since is nothing that can be compared. */
		if (head->tables[i].last.seq < v->head.tables[i].before.seq)
			continue;
		grown = grow(points->at, points->count, &points->room,
			     sizeof(*points->at));
		if (!grown)
			return -ENOMEM;
		points->at = grown;
		points->at[points->count++] = head->tables[i].last;
	}
	return 0;
}

/* One head follows another: nothing goes back. */
static bool follows(const struct head *before, const struct head *after)
{
	if (strcmp(before->id, after->id) != 0 || after->commit < before->commit)
		return false;
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (after->tables[i].last.seq < before->tables[i].last.seq ||
		    after->tables[i].first < before->tables[i].first)
			return false;
	return true;
}

static int check_signature(struct verify *v, sqlite3_stmt *row, struct head *before,
			   bool *have_before)
{
	int64_t seq = sqlite3_column_int64(row, 0);
	const char *text = sqlite3_column_blob(row, 1);
	size_t len = (size_t)sqlite3_column_bytes(row, 1);
	struct head head;

	if (!text || head_parse(text, len, &head) < 0)
		return finding(v, "signatures", seq, "what was signed is no head");
	if (sqlite3_column_bytes(row, 2) != HEAD_SIGNATURE_BYTES ||
	    !head_check(v->public, text, len, sqlite3_column_blob(row, 2)))
		return finding(v, "signatures", seq,
			       "the signature is not one of this public key");
	if (*have_before && !follows(before, &head))
		return finding(v, "signatures", seq,
			       "the signed head does not follow the one before it");
	*before = head;
	*have_before = true;
	v->signatures++;
	return add_points(v, &head);
}

int verify_signed(struct verify *v)
{
	struct head before = { 0 };
	sqlite3_stmt *get = NULL;
	bool have = false;
	int r = 0, step = SQLITE_ERROR;

	if (sqlite3_prepare_v2(v->db,
			       "SELECT seq, statement, signature FROM signatures "
			       "ORDER BY seq",
			       -1, &get, NULL) != SQLITE_OK)
		return finding(v, "signatures", 0, "%s", sqlite3_errmsg(v->db));
	while (r == 0 && (step = sqlite3_step(get)) == SQLITE_ROW)
		r = check_signature(v, get, &before, &have);
	if (r == 0 && step != SQLITE_DONE)
		r = finding(v, "signatures", 0, "%s", sqlite3_errmsg(v->db));
	(void)sqlite3_finalize(get);
	if (r == 0 && have && !follows(&before, &v->head))
		r = finding(v, "head", 1, "it does not follow the last signed head");
	if (r == 0 && !v->keys && !have)
		return finding(
			v, "signatures", 0,
			"nothing is signed yet: with the public key nothing can be checked");
	else if (r == 0 && !v->keys)
		note(v,
		     "with the public key, rows are checked up to the last signed head "
		     "(commit %llu of %llu)",
		     (unsigned long long)before.commit,
		     (unsigned long long)v->head.commit);
	return r;
}

/* A head that somebody noted: what it says is still so. */
int verify_noted(struct verify *v)
{
	struct head noted;
	size_t len = v->noted ? strlen(v->noted) : 0;
	char text[HEAD_TEXT_MAX];

	if (!v->noted)
		return 0;
	if (len > 0 && len < sizeof(text) - 1) {
		memcpy(text, v->noted, len + 1);
		/* An editor may have taken the last newline. */
		if (text[len - 1] != '\n') {
			text[len++] = '\n';
			text[len] = '\0';
		}
	}
	if (len == 0 || len >= sizeof(text) || head_parse(text, len, &noted) < 0)
		return finding(v, "noted head", 0, "it is not the text of a head");
	if (!follows(&noted, &v->head))
		return finding(
			v, "head", 1,
			"it does not follow the noted head: the journal is another, or "
			"was set back to an older state (commit %llu, noted %llu)",
			(unsigned long long)v->head.commit,
			(unsigned long long)noted.commit);
	if (noted.commit == v->head.commit && strcmp(text, v->head_text) != 0)
		return finding(v, "head", 1,
			       "it is not the noted head of the same commit");
	/* Points are looked at in order, so those of the signed heads make room. */
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		struct signed_points *points = &v->points[i];
		const struct chain_point *point = &noted.tables[i].last;
		size_t at;
		void *grown;

		if (point->seq < v->head.tables[i].before.seq)
			continue;
		grown = grow(points->at, points->count, &points->room,
			     sizeof(*points->at));
		if (!grown)
			return -ENOMEM;
		points->at = grown;
		for (at = points->count++; at > 0 && points->at[at - 1].seq > point->seq;
		     at--)
			points->at[at] = points->at[at - 1];
		points->at[at] = *point;
	}
	return 0;
}

/* ---- objects ---- */

static int name_object(struct verify *v, uint8_t table, int64_t seq, bool synced,
		       const struct chain_value *value)
{
	void *grown;

	if (value->type == SQLITE_NULL)
		return 0;
	if (value->type != SQLITE_BLOB || value->len != JOURNAL_OBJECT_BYTES)
		return finding(v, schema_tables[table].name, seq,
			       "it names an object that cannot be");
	grown = grow(v->named, v->named_count, &v->named_room, sizeof(*v->named));
	if (!grown)
		return -ENOMEM;
	v->named = grown;
	v->named[v->named_count] = (struct named_object){ .seq = seq,
							  .table = table,
							  .synced = synced };
	memcpy(v->named[v->named_count++].name, value->data, JOURNAL_OBJECT_BYTES);
	return 0;
}

int verify_execution(struct verify *v, int64_t seq, const struct chain_value *values)
{
	bool synced = seq <= v->head.synced_executions;
	int r;

	if (v->execution_count == v->execution_room) {
		size_t room = v->execution_room ? v->execution_room * 2 : 1024;
		int64_t *verdicts = realloc(v->verdict_of, room * sizeof(*verdicts));
		int64_t *starts;

		if (verdicts)
			v->verdict_of = verdicts;
		starts = realloc(v->start_of, room * sizeof(*starts));
		if (starts)
			v->start_of = starts;
		if (!verdicts || !starts)
			return -ENOMEM;
		v->execution_room = room;
	}
	v->verdict_of[v->execution_count] = 0;
	v->start_of[v->execution_count++] = values[2].number;
	r = name_object(v, TABLE_EXECUTIONS, seq, synced, &values[12]);
	return r == 0 ? name_object(v, TABLE_EXECUTIONS, seq, synced, &values[13]) : r;
}

static int64_t *verdict_of(struct verify *v, int64_t execution)
{
	int64_t at = execution - v->head.tables[TABLE_EXECUTIONS].first;

	return at >= 0 && at < (int64_t)v->execution_count ? &v->verdict_of[at] : NULL;
}

int verify_verdict(struct verify *v, int64_t seq, const struct chain_value *values)
{
	bool synced = seq <= v->head.synced_verdicts;
	int64_t *verdict = verdict_of(v, values[0].number);
	int r = 0;

	if (verdict)
		*verdict = seq;
	for (size_t i = 0; r == 0 && i < schema_tables[TABLE_VERDICTS].count; i++)
		if (schema_tables[TABLE_VERDICTS].objects & (1u << i))
			r = name_object(v, TABLE_VERDICTS, seq, synced, &values[i]);
	return r;
}

int verify_file(struct verify *v, int64_t seq, const struct chain_value *values)
{
	const int64_t *verdict = verdict_of(v, values[0].number);

	return name_object(v, TABLE_FILES, seq,
			   !verdict || *verdict <= v->head.synced_verdicts, &values[3]);
}

/* An object that was gone after a power failure, of a row that was not called synced: the
 * journal has recorded that when it was opened next. */
int verify_cut(struct verify *v, int64_t seq, const struct chain_value *values)
{
	void *grown;

	(void)seq;
	if (values[1].type != SQLITE_TEXT || values[1].len != 6 ||
	    memcmp(values[1].data, "object", 6) != 0 || values[3].len != CHAIN_BYTES)
		return 0;
	grown = grow(v->lost, v->lost_count, &v->lost_room, sizeof(*v->lost));
	if (!grown)
		return -ENOMEM;
	v->lost = grown;
	memcpy(v->lost[v->lost_count++], values[3].data, CHAIN_BYTES);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return memcmp(a, b, JOURNAL_OBJECT_BYTES);
}

static bool is_lost(const struct verify *v, const unsigned char *name)
{
	for (size_t i = 0; i < v->lost_count; i++)
		if (memcmp(v->lost[i], name, JOURNAL_OBJECT_BYTES) == 0)
			return true;
	return false;
}

static int check_object(struct verify *v, const struct named_object *object)
{
	_cleanup_buf_ struct buf content = { 0 };
	struct sbx_err err = { 0 };
	int r = object_read(v->journal, object->name, JOURNAL_OBJECT_MAX, &content, &err);

	if (r == -ENOMEM)
		return r;
	if (r == 0) {
		v->objects++;
		return 0;
	}
	if (is_lost(v, object->name) || !object->synced) {
		note(v, "%s %lld: %s; it was not on disk when the machine stopped",
		     schema_tables[object->table].name, (long long)object->seq, err.msg);
		return 0;
	}
	return finding(v, schema_tables[object->table].name, object->seq, "%s", err.msg);
}

static int on_object(void *arg, const unsigned char *name, const char *path,
		     uint64_t bytes, int64_t modified_us)
{
	struct verify *v = arg;
	_cleanup_buf_ struct buf content = { 0 };
	struct sbx_err err = { 0 };

	(void)bytes;
	(void)modified_us;
	if (stopped(v))
		return -ECANCELED;
	if (!name && strncmp(path, "new-", 4) == 0)
		return 0;
	if (!name)
		return finding(v, "objects", 0, "%.100s is no object of ours", path);
	if (v->named_count > 0 &&
	    bsearch(name, v->named, v->named_count, sizeof(*v->named), by_name))
		return 0;
	/* Written for a record that never came to be; a prune takes it away. */
	if (object_read(v->journal, name, JOURNAL_OBJECT_MAX, &content, &err) < 0)
		return finding(v, "objects", 0, "%s", err.msg);
	note(v, "objects/%s is named by no record", path);
	return 0;
}

int verify_objects(struct verify *v)
{
	int r = 0;

	if (v->named_count > 0)
		qsort(v->named, v->named_count, sizeof(*v->named), by_name);
	for (size_t i = 0; r == 0 && i < v->named_count; i++) {
		/* One that has to be there stands for those that name the same. */
		while (i + 1 < v->named_count &&
		       by_name(&v->named[i], &v->named[i + 1]) == 0) {
			v->named[i + 1].synced |= v->named[i].synced;
			i++;
		}
		r = stopped(v) ? -ECANCELED : check_object(v, &v->named[i]);
	}
	return r == 0 ? object_each(v->journal, on_object, v) : r;
}
