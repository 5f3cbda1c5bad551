/* SPDX-License-Identifier: MIT
 * Purpose: lines of JSON for a stream (ndjson.h).
 * Process: the engine; one thread. Trusts: nothing about a program's bytes.
 * Invariants: every line is whole, unless `broken`; partial holds a right beginning of a
 *   sequence, never a whole or a wrong one. */
#include <stdint.h>
#include <string.h>

#include "base/jsontext.h"
#include "daemon/ndjson.h"

#define TEXT_CHUNK (16u << 10)

void ndjson_object(struct ndjson *n, json_t *object)
{
	if (!object || jsontext_add(&n->lines, object) < 0 ||
	    buf_add(&n->lines, "\n", 1) < 0)
		n->broken = true;
	json_decref(object);
}

void ndjson_typed(struct ndjson *n, const char *type, const json_t *object)
{
	json_t *line = json_pack("{s:s}", "type", type);

	/* Only the counts of references to its members change. */
	if (line && json_object_update_missing(line, (json_t *)(uintptr_t)object) < 0) {
		json_decref(line);
		line = NULL;
	}
	ndjson_object(n, line);
}

void ndjson_display(struct ndjson *n, const json_t *bundle)
{
	ndjson_object(n, json_pack("{s:s,s:O}", "type", "display", "bundle",
				   (json_t *)(uintptr_t)bundle));
}

/* One sequence at p: its length if it is whole and right; 0 if it is right so far but not
 * whole; else minus the number of bytes that one replacement stands for. */
static int utf8_sequence(const unsigned char *p, size_t len)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t need, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return -1;
	need = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	for (i = 1; i < need; i++) {
		if (i == len)
			return 0;
		if (p[i] < lo || p[i] > hi)
			return -(int)i;
		lo = 0x80;
		hi = 0xbf;
	}
	return (int)need;
}

/* At most TEXT_CHUNK bytes. */
static void text_chunk(struct ndjson *n, int stream, const char *data, size_t len,
		       bool last)
{
	unsigned char in[TEXT_CHUNK + sizeof(n->partial[0].bytes)];
	size_t have = n->partial[stream - 1].len, at = 0, used = 0;
	unsigned char *partial = n->partial[stream - 1].bytes;
	char out[3 * sizeof(in)];
	int r;

	memcpy(in, partial, have);
	memcpy(in + have, data, len);
	have += len;
	n->partial[stream - 1].len = 0;
	while (at < have) {
		r = utf8_sequence(in + at, have - at);
		if (r == 0 && !last) {
			n->partial[stream - 1].len = have - at;
			memcpy(partial, in + at, have - at);
			break;
		}
		if (r > 0) {
			memcpy(out + used, in + at, (size_t)r);
			used += (size_t)r;
			at += (size_t)r;
			continue;
		}
		memcpy(out + used, "\xef\xbf\xbd", 3);
		used += 3;
		at += r == 0 ? have - at : (size_t)-r;
	}
	if (used)
		ndjson_object(n, json_pack("{s:s,s:s%}", "type",
					   stream == 1 ? "stdout" : "stderr", "text", out,
					   used));
}

void ndjson_text(struct ndjson *n, int stream, const char *data, size_t len)
{
	size_t part;

	for (; len; data += part, len -= part) {
		part = len < TEXT_CHUNK ? len : TEXT_CHUNK;
		text_chunk(n, stream, data, part, false);
	}
}

void ndjson_text_end(struct ndjson *n)
{
	text_chunk(n, 1, "", 0, true);
	text_chunk(n, 2, "", 0, true);
}

size_t ndjson_read(struct ndjson *n, char *data, size_t max)
{
	size_t len = ndjson_waiting(n);

	if (len > max)
		len = max;
	if (!len)
		return 0;
	memcpy(data, n->lines.data + n->at, len);
	n->at += len;
	/* Half at least is moved over by bytes that go: a long text is not copied again
	 * for each part of it. */
	if (n->at >= n->lines.len - n->at) {
		buf_consume(&n->lines, n->at);
		n->at = 0;
	}
	return len;
}

void ndjson_free(struct ndjson *n)
{
	buf_free(&n->lines);
}
