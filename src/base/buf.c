/* SPDX-License-Identifier: MIT
 * Purpose: growable bytes with a ceiling, and the keeper of a stream's head and tail
 * (buf.h).
 * Process: any, one thread a buffer. Trusts: nothing about lengths.
 * Invariants: len < cap once data is there, data[len] is NUL, len <= max where there is
 *   one; a failed call changes nothing. Head and tail: the ring holds bytes only once the
 *   head is full. */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define BUF_FIRST 64u

/* Room for len bytes more and a NUL. */
static int reserve(struct buf *b, size_t len)
{
	size_t need, cap;
	char *grown;

	if (len > SIZE_MAX / 2 - b->len - 1 ||
	    (b->max && (b->len > b->max || len > b->max - b->len)))
		return -EMSGSIZE;
	need = b->len + len + 1;
	if (need <= b->cap)
		return 0;
	cap = b->cap > SIZE_MAX / 4 ? need : b->cap * 2;
	if (cap < need)
		cap = need;
	if (cap < BUF_FIRST)
		cap = BUF_FIRST;
	grown = realloc(b->data, cap);
	if (!grown)
		return -ENOMEM;
	b->data = grown;
	b->cap = cap;
	return 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	int r = reserve(b, len);

	if (r < 0)
		return r;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	int n, r;

	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0)
		return -errno;
	r = reserve(b, (size_t)n);
	if (r < 0)
		return r;
	va_start(args, fmt);
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, args);
	va_end(args);
	b->len += (size_t)n;
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n == 0 || !b->data)
		return;
	if (n > b->len)
		n = b->len;
	memmove(b->data, b->data + n, b->len - n + 1);
	b->len -= n;
}

void buf_free(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = 0;
	b->cap = 0;
}

/* An odd byte goes to the head, so that a text of exactly max bytes is kept whole. */
int headtail_init(struct headtail *h, size_t max)
{
	if (max > SIZE_MAX / 4)
		return -EINVAL;
	*h = (struct headtail){ .half = max / 2, .head.max = max - max / 2 };
	return 0;
}

int headtail_add(struct headtail *h, const void *data, size_t len)
{
	const char *at = data;
	size_t n = h->head.max - h->head.len, skip;
	int r;

	if (n > len)
		n = len;
	/* Before anything is added: made when it is first needed, which for most streams
	 * is never. */
	if (len > n && h->half > 0 && !h->ring) {
		h->ring = malloc(h->half);
		if (!h->ring)
			return -ENOMEM;
	}
	if (n > 0) {
		r = buf_add(&h->head, at, n);
		if (r < 0)
			return r;
	}
	h->total += len;
	at += n;
	len -= n;
	if (len == 0 || h->half == 0)
		return 0;
	/* Of a piece longer than the ring only the end can stay. */
	skip = len > h->half ? len - h->half : 0;
	at += skip;
	len -= skip;
	h->ring_len = len > h->half - h->ring_len ? h->half : h->ring_len + len;
	while (len > 0) {
		n = h->half - h->ring_at;
		if (n > len)
			n = len;
		memcpy(h->ring + h->ring_at, at, n);
		h->ring_at = (h->ring_at + n) % h->half;
		at += n;
		len -= n;
	}
	return 0;
}

int headtail_join(const struct headtail *h, char **ret_text, size_t *ret_len,
		  unsigned long long *ret_dropped)
{
	size_t len = h->head.len + h->ring_len, first;
	char *text = malloc(len + 1), *at = text;

	if (!text)
		return -ENOMEM;
	if (h->head.len > 0)
		memcpy(at, h->head.data, h->head.len);
	at += h->head.len;
	if (h->ring_len == h->half && h->half > 0) {
		/* Full: the oldest byte is where the next one would go. */
		first = h->half - h->ring_at;
		memcpy(at, h->ring + h->ring_at, first);
		memcpy(at + first, h->ring, h->ring_at);
	} else if (h->ring_len > 0) {
		memcpy(at, h->ring, h->ring_len);
	}
	text[len] = '\0';
	*ret_text = text;
	*ret_len = len;
	*ret_dropped = h->total - len;
	return 0;
}

void headtail_free(struct headtail *h)
{
	buf_free(&h->head);
	free(h->ring);
	h->ring = NULL;
	h->ring_len = 0;
	h->ring_at = 0;
	h->total = 0;
}
