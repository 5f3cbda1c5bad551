/* SPDX-License-Identifier: MIT
 * Purpose: the head of a journal (heads.h): text, keyed hash, signature.
 * Process: the engine, threads of the journal. Trusts: the key; no text.
 * Invariants: a head has one text only: what is parsed must come out as it went in. */
#include "journal/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"

#define HEX (2 * CHAIN_BYTES)
#define SIGN_LABEL "sandbox-journal-signature\n"

void head_begin(const struct chain_keys *keys, const char *id, struct head *ret)
{
	memset(ret, 0, sizeof(*ret));
	(void)snprintf(ret->id, sizeof(ret->id), "%s", id);
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		struct head_table *table = &ret->tables[i];

		chain_genesis(keys, id, schema_tables[i].name, &table->before);
		table->last = table->before;
		table->first = 1;
	}
}

static const char *hex(const unsigned char bytes[CHAIN_BYTES], char ret[HEX + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < CHAIN_BYTES; i++) {
		ret[2 * i] = digits[bytes[i] >> 4];
		ret[2 * i + 1] = digits[bytes[i] & 15];
	}
	ret[HEX] = '\0';
	return ret;
}

size_t head_format(const struct head *head, char ret[HEAD_TEXT_MAX])
{
	char a[HEX + 1], b[HEX + 1], c[HEX + 1], d[HEX + 1];
	size_t at;

	at = (size_t)snprintf(ret, HEAD_TEXT_MAX,
			      "sandbox-journal 1\nid %s\ncommit %" PRIu64
			      "\nat_us %" PRId64 "\nsynced %" PRId64 " %" PRId64
			      "\nmeta %s\nsearch %" PRId64 " %s\n",
			      head->id, head->commit, head->at_us,
			      head->synced_executions, head->synced_verdicts,
			      hex(head->meta, a), head->indexed, hex(head->index, b));
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		const struct head_table *table = &head->tables[i];

		at += (size_t)snprintf(
			ret + at, HEAD_TEXT_MAX - at,
			"%s %" PRId64 " %s %s %" PRId64 " %s %s\n", schema_tables[i].name,
			table->first, hex(table->before.mac, a),
			hex(table->before.digest, b), table->last.seq,
			hex(table->last.mac, c), hex(table->last.digest, d));
	}
	return at;
}

static bool unhex(const char *text, unsigned char ret[CHAIN_BYTES])
{
	size_t got = 0;

	return sodium_hex2bin(ret, CHAIN_BYTES, text, HEX, NULL, &got, NULL) == 0 &&
	       got == CHAIN_BYTES;
}

static bool parse_table(const char *line, const char *name, struct head_table *ret)
{
	char format[96], a[HEX + 1], b[HEX + 1], c[HEX + 1], d[HEX + 1];
	long long first, last;
	size_t len = strlen(name);

	if (strncmp(line, name, len) != 0 || line[len] != ' ')
		return false;
	(void)snprintf(format, sizeof(format), "%%lld %%%us %%%us %%lld %%%us %%%us", HEX,
		       HEX, HEX, HEX);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (sscanf(line + len + 1, format, &first, a, b, &last, c, d) != 6)
		return false;
#pragma GCC diagnostic pop
	if (first < 1 || last < first - 1 || last == INT64_MAX)
		return false;
	ret->first = first;
	ret->before.seq = first - 1;
	ret->last.seq = last;
	return unhex(a, ret->before.mac) && unhex(b, ret->before.digest) &&
	       unhex(c, ret->last.mac) && unhex(d, ret->last.digest);
}

int head_parse(const char *text, size_t len, struct head *ret)
{
	char again[HEAD_TEXT_MAX], meta[HEX + 1], index[HEX + 1];
	char copy[HEAD_TEXT_MAX];
	struct head head = { 0 };
	const char *at = copy;
	unsigned long long commit;
	long long at_us, executions, verdicts, indexed;

	if (len >= sizeof(copy) || memchr(text, '\0', len))
		return -EBADMSG;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (sscanf(at,
		   "sandbox-journal 1\nid %32s\ncommit %llu\nat_us %lld\nsynced "
		   "%lld %lld\nmeta %64s\nsearch %lld %64s\n",
		   head.id, &commit, &at_us, &executions, &verdicts, meta, &indexed,
		   index) != 8 ||
	    !unhex(meta, head.meta) || !unhex(index, head.index))
		return -EBADMSG;
	head.commit = commit;
	head.at_us = at_us;
	head.synced_executions = executions;
	head.synced_verdicts = verdicts;
	head.indexed = indexed;
	for (size_t i = 0; i < 7 && at; i++)
		at = (at = strchr(at, '\n')) ? at + 1 : NULL;
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (!at || !parse_table(at, schema_tables[i].name, &head.tables[i]))
			return -EBADMSG;
		at = (at = strchr(at, '\n')) ? at + 1 : NULL;
	}
	if (head_format(&head, again) != len || memcmp(again, text, len) != 0)
		return -EBADMSG;
	*ret = head;
	return 0;
}

void head_mac(const struct chain_keys *keys, const char *text, size_t len,
	      unsigned char ret[CHAIN_BYTES])
{
	chain_mac(keys, "head", text, len, ret);
}

static size_t signed_text(const char *text, size_t len,
			  unsigned char ret[HEAD_TEXT_MAX + sizeof(SIGN_LABEL)])
{
	memcpy(ret, SIGN_LABEL, sizeof(SIGN_LABEL) - 1);
	memcpy(ret + sizeof(SIGN_LABEL) - 1, text, len);
	return len + sizeof(SIGN_LABEL) - 1;
}

int head_sign(const struct chain_keys *keys, const char *text, size_t len,
	      unsigned char ret[HEAD_SIGNATURE_BYTES])
{
	unsigned char whole[HEAD_TEXT_MAX + sizeof(SIGN_LABEL)];

	if (len > HEAD_TEXT_MAX)
		return -EMSGSIZE;
	len = signed_text(text, len, whole);
	return crypto_sign_detached(ret, NULL, whole, len, keys->secret) == 0 ? 0 : -EIO;
}

bool head_check(const unsigned char public[32], const char *text, size_t len,
		const unsigned char signature[HEAD_SIGNATURE_BYTES])
{
	unsigned char whole[HEAD_TEXT_MAX + sizeof(SIGN_LABEL)];

	if (len > HEAD_TEXT_MAX)
		return false;
	len = signed_text(text, len, whole);
	return crypto_sign_verify_detached(signature, whole, len, public) == 0;
}

/* ---- in the database ---- */

int head_load(sqlite3 *db, const struct chain_keys *keys, struct head *ret,
	      char ret_text[HEAD_TEXT_MAX], struct sbx_err *err)
{
	unsigned char mac[CHAIN_BYTES];
	sqlite3_stmt *get = NULL;
	const char *text;
	size_t len;
	int r = -EBADMSG, step;

	if (sqlite3_prepare_v2(db, "SELECT id, statement, mac FROM head", -1, &get,
			       NULL) != SQLITE_OK)
		return err_set(err, SBX_AT_JOURNAL, EBADMSG, "the head: %s",
			       sqlite3_errmsg(db));
	step = sqlite3_step(get);
	if (step != SQLITE_ROW) {
		(void)err_set(err, SBX_AT_JOURNAL, 0, "the head: %s",
			      step == SQLITE_DONE ? "there is none" : sqlite3_errmsg(db));
		goto out;
	}
	text = sqlite3_column_blob(get, 1);
	len = (size_t)sqlite3_column_bytes(get, 1);
	if (!text || len >= HEAD_TEXT_MAX || head_parse(text, len, ret) < 0 ||
	    sqlite3_column_int64(get, 0) != 1) {
		(void)err_set(err, SBX_AT_JOURNAL, 0, "the head: it is not readable");
		goto out;
	}
	if (keys) {
		head_mac(keys, text, len, mac);
		if (sqlite3_column_bytes(get, 2) != CHAIN_BYTES ||
		    sodium_memcmp(sqlite3_column_blob(get, 2), mac, CHAIN_BYTES) != 0) {
			(void)err_set(
				err, SBX_AT_JOURNAL, 0,
				"the head: it was not written with this key, or was "
				"altered");
			goto out;
		}
	}
	memcpy(ret_text, text, len);
	ret_text[len] = '\0';
	r = 0;
	if (sqlite3_step(get) != SQLITE_DONE) {
		(void)err_set(err, SBX_AT_JOURNAL, 0, "the head: there is a second one");
		r = -EBADMSG;
	}
out:
	(void)sqlite3_finalize(get);
	return r;
}

int head_store(sqlite3 *db, const struct chain_keys *keys, const struct head *head,
	       struct sbx_err *err)
{
	unsigned char mac[CHAIN_BYTES];
	char text[HEAD_TEXT_MAX];
	size_t len = head_format(head, text);
	sqlite3_stmt *put = NULL;
	int r = 0;

	head_mac(keys, text, len, mac);
	if (sqlite3_prepare_v3(db,
			       "INSERT OR REPLACE INTO head (id, statement, mac) "
			       "VALUES (1, ?, ?)",
			       -1, 0, &put, NULL) != SQLITE_OK ||
	    sqlite3_bind_text(put, 1, text, (int)len, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_blob(put, 2, mac, CHAIN_BYTES, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_step(put) != SQLITE_DONE)
		r = err_set(err, SBX_AT_JOURNAL, EIO, "the head: %s", sqlite3_errmsg(db));
	(void)sqlite3_finalize(put);
	return r;
}

int head_meta(sqlite3 *db, unsigned char ret[CHAIN_BYTES])
{
	_cleanup_buf_ struct buf all = { .max = 1u << 20 };
	sqlite3_stmt *get = NULL;
	int r, step = SQLITE_ERROR;

	r = sqlite3_prepare_v2(db, "SELECT key, value FROM meta ORDER BY key", -1, &get,
			       NULL) == SQLITE_OK
		    ? 0
		    : -EIO;
	while (r == 0 && (step = sqlite3_step(get)) == SQLITE_ROW)
		for (int i = 0; r == 0 && i < 2; i++) {
			struct chain_value value = chain_column(get, i);

			r = buf_addf(&all, "%d %zu ", value.type, value.len);
			if (r == 0 && value.len > 0)
				r = buf_add(&all, value.data, value.len);
		}
	if (r == 0 && step != SQLITE_DONE)
		r = -EIO;
	(void)sqlite3_finalize(get);
	if (r == 0)
		chain_mac(NULL, "meta", all.data ? all.data : "", all.len, ret);
	return r;
}

int head_describe(const struct journal *journal, json_t **ret, struct sbx_err *err)
{
	unsigned char signature[HEAD_SIGNATURE_BYTES];
	char hex_signature[2 * sizeof(signature) + 1], public[HEX + 1];
	char text[HEAD_TEXT_MAX];
	struct head head;
	sqlite3 *db = NULL;
	int r = store_open_reader(journal, &db, err);

	if (r == 0)
		r = head_load(db, &journal->keys, &head, text, err);
	(void)sqlite3_close(db);
	if (r == 0 && head_sign(&journal->keys, text, strlen(text), signature) < 0)
		r = err_set(err, SBX_AT_JOURNAL, EIO, "journal: signing");
	if (r < 0)
		return r;
	(void)sodium_bin2hex(hex_signature, sizeof(hex_signature), signature,
			     sizeof(signature));
	*ret = json_pack("{s:s,s:s,s:s,s:I,s:I}", "head", text, "signature",
			 hex_signature, "public_key", hex(journal->keys.public, public),
			 "commit", (json_int_t)head.commit, "at_us",
			 (json_int_t)head.at_us);
	return *ret ? 0 : err_set(err, SBX_AT_JOURNAL, ENOMEM, "journal");
}
