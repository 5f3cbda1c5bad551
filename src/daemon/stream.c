/* SPDX-License-Identifier: MIT
 * Purpose: lines of JSON, or server-sent events, for a stream (stream.h).
 * Process: the engine; one thread. Trusts: nothing about a program's bytes.
 * Invariants: every line and event is whole, unless `broken`; partial holds a right beginning of a
 *   sequence, never a whole or a wrong one. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/jsontext.h"
#include "daemon/stream.h"

#define TEXT_CHUNK (16u << 10)

void stream_object(struct stream *s, json_t *object)
{
	const char *type = json_string_value(json_object_get(object, "type"));
	int r = object ? 0 : -1;

	/* Types are words of ours and JSON has no bare line end: nothing that a program says
	 * can end an event or begin one. */
	if (r == 0 && s->events && s->plain)
		r = buf_add(&s->text, "data: ", 6);
	else if (r == 0 && s->events)
		r = buf_addf(&s->text,
			     "event: %s\nid: %llu\ndata: ", type ? type : "message",
			     (unsigned long long)s->next++);
	if (r == 0)
		r = jsontext_add(&s->text, object);
	if (r == 0)
		r = buf_add(&s->text, "\n\n", s->events ? 2 : 1);
	if (r < 0)
		s->broken = true;
	json_decref(object);
}

void stream_typed(struct stream *s, const char *type, const json_t *object)
{
	json_t *line = json_pack("{s:s}", "type", type);

	/* Only the counts of references to its members change. */
	if (line && json_object_update_missing(line, (json_t *)(uintptr_t)object) < 0) {
		json_decref(line);
		line = NULL;
	}
	stream_object(s, line);
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

static json_t *text_line(const struct stream *s, int stream, const char *text, size_t len)
{
	char at[32] = "", stamp[sizeof(at) + 16];
	struct timespec now = { 0 };
	struct tm parts;

	if (s->stamped && clock_gettime(CLOCK_REALTIME, &now) == 0 &&
	    gmtime_r(&now.tv_sec, &parts))
		(void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &parts);
	(void)snprintf(stamp, sizeof(stamp), "%s.%06ld+00:00", at, now.tv_nsec / 1000);
	return json_pack("{s:s,s:s%,s:s*}", "type", stream == 1 ? "stdout" : "stderr",
			 "text", text, len, "timestamp", at[0] ? stamp : NULL);
}

/* At most TEXT_CHUNK bytes. */
static void text_chunk(struct stream *s, int stream, const char *data, size_t len,
		       bool last)
{
	unsigned char in[TEXT_CHUNK + sizeof(s->partial[0].bytes)];
	size_t have = s->partial[stream - 1].len, at = 0, used = 0;
	unsigned char *partial = s->partial[stream - 1].bytes;
	char out[3 * sizeof(in)];
	int r;

	memcpy(in, partial, have);
	memcpy(in + have, data, len);
	have += len;
	s->partial[stream - 1].len = 0;
	while (at < have) {
		r = utf8_sequence(in + at, have - at);
		if (r == 0 && !last) {
			s->partial[stream - 1].len = have - at;
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
	if (used && s->text_as)
		stream_object(s, s->text_as(s->text_arg, stream, out, used));
	else if (used)
		stream_object(s, text_line(s, stream, out, used));
}

void stream_text(struct stream *s, int stream, const char *data, size_t len)
{
	size_t part;

	for (; len; data += part, len -= part) {
		part = len < TEXT_CHUNK ? len : TEXT_CHUNK;
		text_chunk(s, stream, data, part, false);
	}
}

void stream_text_end(struct stream *s)
{
	text_chunk(s, 1, "", 0, true);
	text_chunk(s, 2, "", 0, true);
}

void stream_alive(struct stream *s)
{
	if (s->events && buf_add(&s->text, ":\n\n", 3) < 0)
		s->broken = true;
}

size_t stream_read(struct stream *s, char *data, size_t max)
{
	size_t len = stream_waiting(s);

	if (len > max)
		len = max;
	if (!len)
		return 0;
	memcpy(data, s->text.data + s->at, len);
	s->at += len;
	/* Half at least is moved over by bytes that go: a long text is not copied again
	 * for each part of it. */
	if (s->at >= s->text.len - s->at) {
		buf_consume(&s->text, s->at);
		s->at = 0;
	}
	return len;
}

void stream_free(struct stream *s)
{
	buf_free(&s->text);
}
