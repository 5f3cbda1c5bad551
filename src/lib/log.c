/* SPDX-License-Identifier: MIT
 * Purpose: questions to the journal over the inside door (internal.h).
 * Process: the command. It has the directory's descriptor and gives it away; the database
 *   and the keys are read by the engine alone.
 * Trusts: the engine to follow the door's protocol no further than this: frames of known
 *   types and bounded lengths, rows that are JSON objects. Their texts are programs'. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "daemon/door.h"
#include "lib/internal.h"

#define CHUNK (128u << 10)

struct asking {
	const struct log_question *question;
	struct sbx_err *err;
	struct buf in;
	bool ended, stopped;
	int answer; /* of the end: 0 or -errno */
};

static int send_question(int door, const struct log_question *question,
			 struct sbx_err *err)
{
	json_t *object = json_pack("{s:s, s:O*}", "verb", question->verb, "filter",
				   question->filter);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	int r;

	json_decref(object);
	if (!text)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "the question");
	r = len > DOOR_LOG_MAX
		    ? err_set(err, SBX_AT_USAGE, 0, "the filter is longer than %u KiB",
			      DOOR_LOG_MAX >> 10)
		    : wire_send_frame(door, DOOR_LOG, text, len, NULL, 0);
	free(text);
	return r < 0 && len <= DOOR_LOG_MAX
		       ? err_set(err, SBX_AT_ENGINE, -r, "asking the engine")
		       : r;
}

static int take_row(struct asking *asking, const char *data, size_t len)
{
	json_t *row = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
				 NULL);

	if (!json_is_object(row)) {
		json_decref(row);
		return -EBADMSG;
	}
	if (!asking->stopped &&
	    !asking->question->on_row(asking->question->arg, row, data, len))
		asking->stopped = true;
	json_decref(row);
	return 0;
}

static int take_end(struct asking *asking, const char *data, size_t len)
{
	struct sbx_err err;

	if (len != sizeof(err))
		return -EBADMSG;
	memcpy(&err, data, sizeof(err));
	err_sanitize(&err);
	asking->ended = true;
	if (err.stage == SBX_AT_NONE)
		return 0;
	if (asking->err)
		*asking->err = err;
	asking->answer = err.errnum > 0 && err.errnum < 4096 ? -err.errnum : -EINVAL;
	return 0;
}

static int take_frames(struct asking *asking)
{
	struct wire_frame frame;
	size_t at = 0;
	int r = 0;

	while (r == 0 && !asking->ended && asking->in.len - at >= sizeof(frame)) {
		const char *data = asking->in.data + at + sizeof(frame);
		size_t max;

		memcpy(&frame, asking->in.data + at, sizeof(frame));
		max = frame.type == DOOR_LOG_ROW   ? DOOR_LOG_ROW_MAX
		      : frame.type == DOOR_LOG_END ? sizeof(struct sbx_err)
						   : 0;
		if (max == 0 || frame.len > max)
			return -EBADMSG;
		if (asking->in.len - at - sizeof(frame) < frame.len)
			break;
		r = frame.type == DOOR_LOG_ROW ? take_row(asking, data, frame.len)
					       : take_end(asking, data, frame.len);
		at += sizeof(frame) + frame.len;
	}
	buf_consume(&asking->in, at);
	return r;
}

/* 1: enough, by the caller's wish. */
static int step(struct asking *asking, int door, char *chunk)
{
	const struct log_question *question = asking->question;
	struct pollfd fds[3] = {
		{ .fd = door, .events = POLLIN },
		{ .fd = question->cancel_fd ? *question->cancel_fd : -1,
		  .events = POLLIN },
		/* Its reader is gone: POLLERR comes unasked. */
		{ .fd = question->output_fd, .events = 0 },
	};
	ssize_t n;

	if (poll(fds, 3, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[1].revents || (fds[2].revents & (POLLERR | POLLNVAL)))
		return 1;
	if (!fds[0].revents)
		return 0;
	n = recv(door, chunk, CHUNK, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	n = buf_add(&asking->in, chunk, (size_t)n);
	if (n == 0)
		n = take_frames(asking);
	return n < 0 ? (int)n : asking->stopped;
}

int log_ask(struct spawned *spawned, const struct log_question *question,
	    struct sbx_err *err)
{
	struct asking asking = { .question = question, .err = err };
	char *chunk = malloc(CHUNK);
	int r;

	asking.in.max = sizeof(struct wire_frame) + DOOR_LOG_ROW_MAX + CHUNK;
	r = chunk ? send_question(spawned->door, question, err)
		  : err_set(err, SBX_AT_ENGINE, ENOMEM, "an answer");
	if (r == 0) {
		while (r == 0 && !asking.ended)
			r = step(&asking, spawned->door, chunk);
		/* What was not asked for to its end cannot be followed by another
		 * question. */
		if (r != 0)
			fd_close(&spawned->door);
		if (r == -EPIPE || r == -ECONNRESET)
			r = err_set(err, SBX_AT_ENGINE, EPIPE,
				    "the engine has ended unexpectedly");
		else if (r < 0)
			r = err_set(err, SBX_AT_ENGINE, -r, "the engine's answer");
		else if (r == 0)
			r = asking.answer;
	}
	free(chunk);
	buf_free(&asking.in);
	return r;
}
