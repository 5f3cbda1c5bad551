/* SPDX-License-Identifier: MIT
 * A growable byte buffer with a ceiling. */
#ifndef SBX_BASE_BUF_H
#define SBX_BASE_BUF_H

#include <stddef.h>

struct buf {
	char *data; /* len bytes and a NUL after them, once anything was added */
	size_t len;
	size_t cap;
	size_t max; /* 0: no ceiling */
};

int buf_add(struct buf *b, const void *data,
	    size_t len); /* 0, -ENOMEM, -EMSGSIZE over max */
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* drops the first n bytes */
void buf_free(struct buf *b);
#define _cleanup_buf_ __attribute__((cleanup(buf_free)))

/* Keeps the first and the last half of what is added, drops the middle and counts it. */
struct headtail {
	struct buf head;
	char *ring;  /* tail, ring buffer of half bytes */
	size_t half; /* max / 2 */
	size_t ring_len, ring_at;
	unsigned long long total; /* bytes ever added */
};
int headtail_init(struct headtail *h, size_t max);
int headtail_add(struct headtail *h, const void *data, size_t len);
/* malloc'ed joined text (head then tail), *ret_len its length, *ret_dropped the bytes
 * lost between. The cut never splits a UTF-8 sequence more than once on each side;
 * callers replace invalid sequences. */
int headtail_join(const struct headtail *h, char **ret_text, size_t *ret_len,
		  unsigned long long *ret_dropped);
void headtail_free(struct headtail *h);

#endif
