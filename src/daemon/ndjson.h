/* SPDX-License-Identifier: MIT
 * Lines of JSON that wait for a reader, made of a program's output and of objects.
 * Engine; one thread. */
#ifndef SBX_DAEMON_NDJSON_H
#define SBX_DAEMON_NDJSON_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"

/* A zeroed one with lines.max set is empty; ndjson_free() ends it. */
struct ndjson {
	struct buf lines; /* what was not read begins at `at` */
	size_t at;
	bool broken; /* something did not fit, or there was no memory: the text is of no use any more */
	struct {
		unsigned char bytes[4];
		size_t len;
	} partial[2]; /* the begun UTF-8 sequence of stdout and stderr */
};

static inline size_t ndjson_waiting(const struct ndjson *n)
{
	return n->lines.len - n->at;
}
/* One line; takes the reference; NULL breaks. */
void ndjson_object(struct ndjson *n, json_t *object);
/* {"type": type, ...members of object}; the reference stays the caller's. */
void ndjson_typed(struct ndjson *n, const char *type, const json_t *object);
/* {"type": "display", "bundle": {mime: data}}; the reference stays the caller's. */
void ndjson_display(struct ndjson *n, const json_t *bundle);
/* {"type": "stdout" | "stderr", "text"}, several lines where data is long, none where
 * nothing whole has come. Bytes that are not UTF-8 become U+FFFD; a sequence that the
 * next chunk completes does not. stream 1 or 2. */
void ndjson_text(struct ndjson *n, int stream, const char *data, size_t len);
/* A sequence that was begun will not be completed. */
void ndjson_text_end(struct ndjson *n);
/* Moves at most max bytes to data; returns how many. */
size_t ndjson_read(struct ndjson *n, char *data, size_t max);
void ndjson_free(struct ndjson *n);

#endif
