/* SPDX-License-Identifier: MIT
 * What waits for the reader of a stream, made of a program's output and of objects: lines
 * of JSON (NDJSON), or the same as server-sent events with `event:` and `id:`. Engine; one
 * thread. */
#ifndef SBX_DAEMON_STREAM_H
#define SBX_DAEMON_STREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* A zeroed one with text.max set is empty; stream_free() ends it. */
struct stream {
	struct buf text; /* what was not read begins at `at` */
	size_t at;
	bool events;  /* server-sent events, else NDJSON */
	bool stamped; /* lines of text have a "timestamp", ISO 8601 */
	bool plain;   /* events have neither a name nor an id */
	/* What a text becomes; NULL: {"type", "text"}. New reference; NULL breaks. */
	json_t *(*text_as)(void *arg, int stream, const char *text, size_t len);
	void *text_arg;
	uint64_t next; /* id of the next event */
	bool broken; /* something did not fit, or there was no memory: the text is of no use any more */
	struct {
		unsigned char bytes[4];
		size_t len;
	} partial[2]; /* the begun UTF-8 sequence of stdout and stderr */
};

static inline size_t stream_waiting(const struct stream *s)
{
	return s->text.len - s->at;
}
/* One line, or one event named by the object's "type"; takes the reference; NULL
 * breaks. */
void stream_object(struct stream *s, json_t *object);
/* {"type": type, ...members of object}; the reference stays the caller's. */
void stream_typed(struct stream *s, const char *type, const json_t *object);
/* {"type": "stdout" | "stderr", "text"}, several where data is long, none where nothing
 * whole has come. Bytes that are not UTF-8 become U+FFFD; a sequence that the next chunk
 * completes does not. stream 1 or 2. */
void stream_text(struct stream *s, int stream, const char *data, size_t len);
/* A sequence that was begun will not be completed. */
void stream_text_end(struct stream *s);
/* Something to show that the connection lives; nothing in NDJSON, which has no comments. */
void stream_alive(struct stream *s);
/* Moves at most max bytes to data; returns how many. */
size_t stream_read(struct stream *s, char *data, size_t max);
void stream_free(struct stream *s);

#endif
