/* SPDX-License-Identifier: MIT
 * Purpose: keys and hashes of the journal (chain.h).
 * Process: the engine; any thread. Trusts: nothing; hashes what it is given.
 * Invariants: two different rows never have the same encoding: every value carries its type and
 *   its length. */
#include "journal/chain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEY_HEAD "sandbox-journal-key 1\n"

/* ---- keys ---- */

void chain_key_make(char ret[CHAIN_KEY_TEXT])
{
	unsigned char master[crypto_kdf_KEYBYTES];
	char hex[2 * sizeof(master) + 1];

	crypto_kdf_keygen(master);
	(void)sodium_bin2hex(hex, sizeof(hex), master, sizeof(master));
	(void)snprintf(ret, CHAIN_KEY_TEXT, KEY_HEAD "%s\n", hex);
	sodium_memzero(master, sizeof(master));
	sodium_memzero(hex, sizeof(hex));
}

int chain_key_parse(const char *text, size_t len, struct chain_keys *ret)
{
	static const char context[crypto_kdf_CONTEXTBYTES + 1] = "sbxjourn";
	unsigned char master[crypto_kdf_KEYBYTES], seed[crypto_sign_SEEDBYTES];
	const size_t head = sizeof(KEY_HEAD) - 1, digits = 2 * sizeof(master);
	size_t got = 0;

	while (len > 0 && text[len - 1] == '\n')
		len--;
	if (len != head + digits || memcmp(text, KEY_HEAD, head) != 0 ||
	    sodium_hex2bin(master, sizeof(master), text + head, digits, NULL, &got,
			   NULL) != 0 ||
	    got != sizeof(master))
		return -EINVAL;
	(void)crypto_kdf_derive_from_key(ret->mac, sizeof(ret->mac), 1, context, master);
	(void)crypto_kdf_derive_from_key(seed, sizeof(seed), 2, context, master);
	(void)crypto_kdf_derive_from_key(ret->index, sizeof(ret->index), 3, context,
					 master);
	(void)crypto_sign_seed_keypair(ret->public, ret->secret, seed);
	sodium_memzero(master, sizeof(master));
	sodium_memzero(seed, sizeof(seed));
	return 0;
}

/* ---- values ---- */

struct chain_value chain_number(int64_t number)
{
	return (struct chain_value){ .type = SQLITE_INTEGER, .number = number };
}

struct chain_value chain_text(const char *text, size_t len)
{
	return (struct chain_value){ .type = text ? SQLITE_TEXT : SQLITE_NULL,
				     .data = text,
				     .len = text ? len : 0 };
}

struct chain_value chain_string(const char *text)
{
	return chain_text(text, text ? strlen(text) : 0);
}

struct chain_value chain_blob(const void *data, size_t len)
{
	return (struct chain_value){ .type = data ? SQLITE_BLOB : SQLITE_NULL,
				     .data = data,
				     .len = data ? len : 0 };
}

struct chain_value chain_column(sqlite3_stmt *row, int i)
{
	struct chain_value value = { .type = sqlite3_column_type(row, i) };

	if (value.type == SQLITE_INTEGER) {
		value.number = sqlite3_column_int64(row, i);
	} else if (value.type == SQLITE_TEXT || value.type == SQLITE_BLOB) {
		/* The bytes as they are stored, valid UTF-8 or not. */
		value.data = sqlite3_column_blob(row, i);
		value.len = (size_t)sqlite3_column_bytes(row, i);
	}
	return value;
}

/* ---- encoding ---- */

static void put_u64(unsigned char *at, uint64_t value)
{
	for (size_t i = 0; i < 8; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static int add_value(struct buf *out, const struct chain_value *value)
{
	unsigned char head[9] = { (unsigned char)value->type };
	int r;

	if (value->type == SQLITE_INTEGER) {
		put_u64(head + 1, (uint64_t)value->number);
		return buf_add(out, head, sizeof(head));
	}
	if (value->type != SQLITE_TEXT && value->type != SQLITE_BLOB)
		return buf_add(out, head, 1);
	put_u64(head + 1, value->len);
	r = buf_add(out, head, sizeof(head));
	return r == 0 && value->len > 0 ? buf_add(out, value->data, value->len) : r;
}

static int add_values(struct buf *out, const struct chain_value *values, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_value(out, &values[i]);
	return r;
}

static void hash(const void *data, size_t len, const unsigned char *key,
		 unsigned char ret[CHAIN_BYTES])
{
	(void)crypto_generichash(ret, CHAIN_BYTES, data, len, key, key ? 32 : 0);
}

int chain_next(const struct chain_keys *keys, const char *table,
	       const struct chain_value *values, size_t count, struct buf *scratch,
	       struct chain_point *at)
{
	struct chain_value seq = chain_number(at->seq + 1);
	int r;

	scratch->len = 0;
	r = buf_add(scratch, at->mac, CHAIN_BYTES);
	if (r == 0)
		r = buf_add(scratch, table, strlen(table) + 1);
	if (r == 0)
		r = add_value(scratch, &seq);
	if (r == 0)
		r = add_values(scratch, values, count);
	if (r < 0)
		return r;
	if (keys)
		hash(scratch->data, scratch->len, keys->mac, at->mac);
	memcpy(scratch->data, at->digest, CHAIN_BYTES);
	hash(scratch->data, scratch->len, NULL, at->digest);
	at->seq++;
	return 0;
}

void chain_mac(const struct chain_keys *keys, const char *label, const void *data,
	       size_t len, unsigned char ret[CHAIN_BYTES])
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, keys ? keys->mac : NULL, keys ? 32 : 0,
				      CHAIN_BYTES);
	(void)crypto_generichash_update(&state, (const unsigned char *)label,
					strlen(label) + 1);
	(void)crypto_generichash_update(&state, data, len);
	(void)crypto_generichash_final(&state, ret, CHAIN_BYTES);
}

void chain_genesis(const struct chain_keys *keys, const char *id, const char *table,
		   struct chain_point *ret)
{
	char text[128];
	int len = snprintf(text, sizeof(text), "%.40s %.40s", id, table);

	ret->seq = 0;
	memset(ret->mac, 0, sizeof(ret->mac));
	if (keys)
		chain_mac(keys, "genesis", text, (size_t)len, ret->mac);
	chain_mac(NULL, "genesis", text, (size_t)len, ret->digest);
}

int chain_index_row(const struct chain_keys *keys, const char *table,
		    const struct chain_value *values, size_t count, struct buf *scratch,
		    unsigned char ret[CHAIN_BYTES])
{
	int r;

	scratch->len = 0;
	r = buf_add(scratch, table, strlen(table) + 1);
	if (r == 0)
		r = add_values(scratch, values, count);
	if (r == 0)
		hash(scratch->data, scratch->len, keys->index, ret);
	return r;
}
