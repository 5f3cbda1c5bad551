/* SPDX-License-Identifier: MIT
 * Purpose: the inside door (door.h): the command's requests, one at a time, and what
 * becomes of them.
 * Process: the engine, on its loop. Trusts: the command's identity (it made the socket),
 * not its bytes.
 * Invariants: a malformed frame closes the door; what waits to be written is bounded by
 * holding the program back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/jsontext.h"
#include "base/wire.h"
#include "daemon/door.h"
#include "daemon/request.h"

#define OUT_HIGH (2u << 20) /* above this the program's output is not read */
#define OUT_LOW (256u << 10)

struct door {
	struct engine *engine;
	int fd;
	struct loop_io *io;
	struct buf in, out;
	struct execution *execution; /* NULL: none runs */
	bool held, dead;
	void (*closed)(void *arg);
	void *arg;
};

static void door_close(struct door *door)
{
	if (door->dead)
		return;
	door->dead = true;
	loop_remove(&door->io);
	fd_close(&door->fd);
	buf_free(&door->in);
	buf_free(&door->out);
	if (door->execution)
		execution_cancel(door->execution);
	door->closed(door->arg);
	/* Freed by the last of closing and done(). */
	if (!door->execution)
		free(door);
}

static int flush(struct door *door)
{
	while (door->out.len > 0) {
		ssize_t n = send(door->fd, door->out.data, door->out.len,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		buf_consume(&door->out, (size_t)n);
	}
	if (door->held && door->out.len < OUT_LOW && door->execution) {
		door->held = false;
		execution_hold_output(door->execution, false);
	}
	return loop_modify(door->io, door->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Errors show when the loop writes: never inside a callback of the execution. */
static void put(struct door *door, uint32_t type, const void *data, size_t len)
{
	const struct wire_frame frame = { .type = type, .len = (uint32_t)len };
	bool idle = door->out.len == 0;

	if (door->dead)
		return;
	if (buf_add(&door->out, &frame, sizeof(frame)) < 0 ||
	    (len && buf_add(&door->out, data, len) < 0) ||
	    (idle && loop_modify(door->io, EPOLLIN | EPOLLOUT) < 0)) {
		(void)shutdown(door->fd, SHUT_RDWR);
		return;
	}
	if (!door->held && door->out.len > OUT_HIGH && door->execution) {
		door->held = true;
		execution_hold_output(door->execution, true);
	}
}

/* ---- from the engine ---- */

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct door *door = arg;

	while (len > 0) {
		size_t part = len < DOOR_CHUNK ? len : DOOR_CHUNK;

		put(door, stream == 1 ? DOOR_STDOUT : DOOR_STDERR, data, part);
		data += part;
		len -= part;
	}
}

static void on_event(void *arg, const json_t *event)
{
	char *text = jsontext(event, NULL);

	if (text)
		put(arg, DOOR_EVENT, text, strlen(text));
	free(text);
}

static void on_taken(void *arg, size_t len)
{
	uint32_t n = (uint32_t)len;

	put(arg, DOOR_STDIN_TAKEN, &n, sizeof(n));
}

static void on_done(void *arg, json_t *result)
{
	struct door *door = arg;
	struct sbx_err err = { 0 };
	size_t len = 0;
	char *text;

	door->execution = NULL;
	door->held = false;
	if (door->dead) {
		free(door);
		return;
	}
	text = jsontext(result, &len);
	if (text && len <= DOOR_RESULT_MAX) {
		put(door, DOOR_RESULT, text, len);
	} else {
		(void)err_set(&err, SBX_AT_ENGINE, ENOMEM, "the result");
		put(door, DOOR_ERROR, &err, sizeof(err));
	}
	free(text);
}

static void on_file(void *arg, const char *path, const char *data, size_t len)
{
	char head[sizeof(struct door_file) + DOOR_PATH_MAX];
	const struct door_file file = { .size = len };
	size_t path_len = strnlen(path, DOOR_PATH_MAX);

	memcpy(head, &file, sizeof(file));
	memcpy(head + sizeof(file), path, path_len);
	put(arg, DOOR_FILE, head, sizeof(file) + path_len);
	while (len > 0) {
		size_t part = len < DOOR_CHUNK ? len : DOOR_CHUNK;

		put(arg, DOOR_FILE_DATA, data, part);
		data += part;
		len -= part;
	}
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct door *door = arg;

	door->execution = NULL;
	door->held = false;
	if (door->dead)
		free(door);
	else
		put(door, DOOR_ERROR, err, sizeof(*err));
}

/* ---- from the command ---- */

static void run(struct door *door, const char *data, size_t len)
{
	struct execution_sink sink = { .output = on_output,
				       .event = on_event,
				       .stdin_taken = on_taken,
				       .refused = on_refused,
				       .done = on_done,
				       .arg = door };
	json_t *object = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
				    NULL);
	struct request request = { 0 };
	struct sbx_err err = { 0 };
	int r;

	r = object ? request_parse(object, NULL, &request, &err)
		   : err_set(&err, SBX_AT_USAGE, 0, "request: not JSON in UTF-8");
	if (r == 0 && request.file_contents)
		sink.file = on_file;
	if (r == 0)
		r = engine_submit(door->engine, &request.execution, &sink,
				  &door->execution, &err);
	if (r < 0)
		put(door, DOOR_ERROR, &err, sizeof(err));
	else
		put(door, DOOR_STARTED, execution_id(door->execution),
		    strlen(execution_id(door->execution)));
	request_clear(&request);
	json_decref(object);
}

/* False: not to be understood. */
static bool on_frame(struct door *door, uint32_t type, const char *data, size_t len)
{
	switch (type) {
	case DOOR_RUN:
		if (door->execution)
			return false;
		run(door, data, len);
		return true;
	case DOOR_STDIN:
		/* A program that reads nothing more: the rest is dropped, and reported as
		 * taken. */
		if (door->execution &&
		    execution_stdin(door->execution, data, len) == -EPIPE)
			on_taken(door, len);
		return true;
	case DOOR_STDIN_END:
		if (door->execution)
			execution_stdin_close(door->execution);
		return true;
	case DOOR_CANCEL:
		if (door->execution)
			execution_cancel(door->execution);
		return true;
	default:
		return false;
	}
}

static size_t frame_max(uint32_t type)
{
	return type == DOOR_RUN ? REQUEST_MAX : type == DOOR_STDIN ? DOOR_CHUNK : 0;
}

/* 1: one was taken, 0: not all of it is there, -errno. */
static int take_frame(struct door *door)
{
	struct wire_frame frame;
	bool understood;

	if (door->in.len < sizeof(frame))
		return 0;
	memcpy(&frame, door->in.data, sizeof(frame));
	if (frame.len > frame_max(frame.type))
		return -EMSGSIZE;
	if (door->in.len - sizeof(frame) < frame.len)
		return 0;
	understood = on_frame(door, frame.type, door->in.data + sizeof(frame), frame.len);
	buf_consume(&door->in, sizeof(frame) + frame.len);
	return understood ? 1 : -EBADMSG;
}

static void on_io(void *arg, uint32_t events)
{
	static char chunk[64u << 10];
	struct door *door = arg;
	ssize_t n;
	int r = 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = recv(door->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n == 0)
			r = -EPIPE;
		else if (n < 0)
			r = errno == EAGAIN || errno == EINTR ? 0 : -errno;
		else
			r = buf_add(&door->in, chunk, (size_t)n);
		while (r >= 0 && (r = take_frame(door)) > 0)
			;
	}
	if (r >= 0)
		r = flush(door);
	if (r < 0)
		door_close(door);
}

int door_open(struct engine *engine, int fd, void (*closed)(void *arg), void *arg,
	      struct sbx_err *err)
{
	struct door *door = calloc(1, sizeof(*door));
	int r = door ? fd_nonblock(fd, true) : -ENOMEM;

	if (r == 0) {
		*door = (struct door){
			.engine = engine, .fd = fd, .closed = closed, .arg = arg
		};
		door->in.max = REQUEST_MAX + 2 * DOOR_CHUNK;
		r = loop_add(engine_loop(engine), fd, EPOLLIN, on_io, door, &door->io);
	}
	if (r < 0) {
		free(door);
		(void)close(fd);
		return err_set(err, SBX_AT_ENGINE, -r, "the command's door");
	}
	return 0;
}
