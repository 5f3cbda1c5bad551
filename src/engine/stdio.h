/* SPDX-License-Identifier: MIT
 * Standard streams of a jail: three pipes, its own or one program's after the other. Output is passed on as it comes and its head
 * and tail are kept; input is handed over as the program takes it. Engine, on its
 * loop. */
#ifndef SBX_ENGINE_STDIO_H
#define SBX_ENGINE_STDIO_H

#include "base/buf.h"
#include "base/loop.h"
#include "sbx.h"

#define STDIO_STDIN_MAX \
	(1u << 20)      /* bytes that wait for the program, beyond those of the request */
#define STDIO_FLOOD 64u /* times max_output_bytes: the end */

struct stdio_events {
	void (*output)(void *arg, int stream, const char *data, size_t len);
	void (*taken)(void *arg, size_t len);
	void (*flood)(void *arg); /* once */
	void *arg;
};

struct stdio_stream {
	struct stdio *stdio;
	int number; /* 1 or 2 */
	int fd;
	struct loop_io *io;
	struct headtail kept;
};
struct stdio {
	struct loop *loop;
	struct stdio_events events;
	struct stdio_stream streams[2];
	size_t max;
	bool held, flooded;
	int in_fd;
	struct loop_io *in_io;
	struct buf in;
	bool in_open; /* more may come */
};

/* ret_theirs: the program's ends, close-on-exec, the caller's. stdin_data is copied. */
int stdio_begin(struct stdio *stdio, struct loop *loop, size_t max_output_bytes,
		const char *stdin_data, size_t stdin_len, bool stdin_open,
		const struct stdio_events *events, int ret_theirs[3],
		struct sbx_err *err);
int stdio_in(struct stdio *stdio, const char *data, size_t len); /* -ENOBUFS, -EPIPE */
void stdio_in_close(struct stdio *stdio);
void stdio_hold(struct stdio *stdio, bool hold);
/* Between programs of a session: nothing is read, nothing is kept. What is written then
 * is the next one's. */
void stdio_rest(struct stdio *stdio);
/* For the next one: its output is counted and kept from here on. *ret_input: its end of a
 * new pipe, the caller's; -1: it reads nothing. */
int stdio_renew(struct stdio *stdio, const char *stdin_data, size_t stdin_len,
		bool stdin_open, int *ret_input, struct sbx_err *err);
/* It said that it is over, or shows something: reads what it has written before, though
 * others may go on. */
void stdio_take(struct stdio *stdio);
/* Every writer has ended: reads what is left in the pipes, and closes. */
void stdio_drain(struct stdio *stdio);
void stdio_free(struct stdio *stdio);

#endif
