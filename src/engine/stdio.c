/* SPDX-License-Identifier: MIT
 * Purpose: the pipes of a jail (stdio.h). Process: the engine. Trusts: nothing that
 * comes through them.
 * Invariants: at most max_output_bytes of each stream are kept; what is read at once is
 *   bounded, so that one flooding program does not starve the others on the loop. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/stdio.h"

static char chunk[64u << 10];

static void end_stream(struct stdio_stream *s)
{
	loop_remove(&s->io);
	fd_close(&s->fd);
}

/* False: nothing is left to read now, or for good. */
static bool read_some(struct stdio_stream *s)
{
	struct stdio *stdio = s->stdio;
	ssize_t n = read(s->fd, chunk, sizeof(chunk));

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		end_stream(s);
		return false;
	}
	if (headtail_add(&s->kept, chunk, (size_t)n) < 0) {
		end_stream(s);
		return false;
	}
	if (stdio->events.output)
		stdio->events.output(stdio->events.arg, s->number, chunk, (size_t)n);
	if (!stdio->flooded &&
	    s->kept.total > (unsigned long long)stdio->max * STDIO_FLOOD) {
		stdio->flooded = true;
		if (stdio->events.flood)
			stdio->events.flood(stdio->events.arg);
	}
	return s->fd >= 0;
}

static void on_output(void *arg, uint32_t events)
{
	struct stdio_stream *s = arg;

	(void)events;
	(void)read_some(s);
}

static void end_input(struct stdio *stdio)
{
	loop_remove(&stdio->in_io);
	fd_close(&stdio->in_fd);
	buf_free(&stdio->in);
}

static void on_input(void *arg, uint32_t events)
{
	struct stdio *stdio = arg;
	ssize_t n = 0;

	/* The program has closed it: the rest has no reader. */
	if (events & (EPOLLERR | EPOLLHUP)) {
		end_input(stdio);
		return;
	}
	if (stdio->in.len > 0) {
		n = write(stdio->in_fd, stdio->in.data, stdio->in.len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			end_input(stdio);
			return;
		}
		buf_consume(&stdio->in, (size_t)n);
	}
	if (stdio->in.len == 0) {
		if (stdio->in_open)
			(void)loop_modify(stdio->in_io, 0);
		else
			end_input(stdio);
	}
	if (n > 0 && stdio->events.taken)
		stdio->events.taken(stdio->events.arg, (size_t)n);
}

static int make_pipe(int *ret_read, int *ret_write)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	*ret_read = pair[0];
	*ret_write = pair[1];
	return 0;
}

int stdio_begin(struct stdio *stdio, struct loop *loop, size_t max_output_bytes,
		const char *stdin_data, size_t stdin_len, bool stdin_open,
		const struct stdio_events *events, int ret_theirs[3], struct sbx_err *err)
{
	int r, i;

	memset(stdio, 0, sizeof(*stdio));
	stdio->loop = loop;
	stdio->events = *events;
	stdio->max = max_output_bytes;
	stdio->in_open = stdin_open;
	stdio->in_fd = stdio->streams[0].fd = stdio->streams[1].fd = -1;
	ret_theirs[0] = ret_theirs[1] = ret_theirs[2] = -1;
	r = make_pipe(&ret_theirs[0], &stdio->in_fd);
	for (i = 0; r == 0 && i < 2; i++) {
		struct stdio_stream *s = &stdio->streams[i];

		s->stdio = stdio;
		s->number = i + 1;
		r = make_pipe(&s->fd, &ret_theirs[i + 1]);
		if (r == 0)
			r = fd_nonblock(s->fd, true);
		if (r == 0)
			r = headtail_init(&s->kept, max_output_bytes);
		if (r == 0)
			r = loop_add(loop, s->fd, EPOLLIN, on_output, s, &s->io);
	}
	if (r == 0)
		r = fd_nonblock(stdio->in_fd, true);
	if (r == 0 && stdin_len > 0)
		r = buf_add(&stdio->in, stdin_data, stdin_len);
	if (r == 0)
		r = loop_add(loop, stdio->in_fd, EPOLLOUT, on_input, stdio,
			     &stdio->in_io);
	if (r < 0) {
		for (i = 0; i < 3; i++)
			fd_close(&ret_theirs[i]);
		stdio_free(stdio);
		return err_set(err, SBX_AT_ENGINE, -r, "standard streams");
	}
	return 0;
}

int stdio_in(struct stdio *stdio, const char *data, size_t len)
{
	int r;

	if (stdio->in_fd < 0 || !stdio->in_open)
		return -EPIPE;
	if (stdio->in.len + len > STDIO_STDIN_MAX)
		return -ENOBUFS;
	r = buf_add(&stdio->in, data, len);
	return r < 0 ? r : loop_modify(stdio->in_io, EPOLLOUT);
}

void stdio_in_close(struct stdio *stdio)
{
	stdio->in_open = false;
	if (stdio->in_fd >= 0 && stdio->in.len == 0)
		end_input(stdio);
}

void stdio_hold(struct stdio *stdio, bool hold)
{
	if (stdio->held == hold)
		return;
	stdio->held = hold;
	for (int i = 0; i < 2; i++)
		if (stdio->streams[i].io)
			(void)loop_modify(stdio->streams[i].io, hold ? 0 : EPOLLIN);
}

void stdio_rest(struct stdio *stdio)
{
	stdio_hold(stdio, true);
	end_input(stdio);
	for (int i = 0; i < 2; i++)
		headtail_free(&stdio->streams[i].kept);
}

int stdio_renew(struct stdio *stdio, const char *stdin_data, size_t stdin_len,
		bool stdin_open, int *ret_input, struct sbx_err *err)
{
	int r = 0;

	end_input(stdio);
	stdio->flooded = false;
	*ret_input = -1;
	for (int i = 0; r == 0 && i < 2; i++) {
		headtail_free(&stdio->streams[i].kept);
		r = headtail_init(&stdio->streams[i].kept, stdio->max);
	}
	if (r == 0 && (stdin_len > 0 || stdin_open)) {
		stdio->in_open = stdin_open;
		r = make_pipe(ret_input, &stdio->in_fd);
		if (r == 0)
			r = fd_nonblock(stdio->in_fd, true);
		if (r == 0 && stdin_len > 0)
			r = buf_add(&stdio->in, stdin_data, stdin_len);
		if (r == 0)
			r = loop_add(stdio->loop, stdio->in_fd, EPOLLOUT, on_input, stdio,
				     &stdio->in_io);
	}
	return r < 0 ? err_set(err, SBX_AT_ENGINE, -r, "standard streams") : 0;
}

void stdio_take(struct stdio *stdio)
{
	for (int i = 0; i < 2; i++) {
		struct stdio_stream *s = &stdio->streams[i];
		int left = 0;

		if (s->fd < 0 || ioctl(s->fd, FIONREAD, &left) < 0)
			continue;
		while (left > 0) {
			unsigned long long before = s->kept.total;

			if (!read_some(s))
				break;
			left -= (int)(s->kept.total - before);
		}
	}
}

void stdio_drain(struct stdio *stdio)
{
	/* A pipe holds 1 MiB at most (fs.pipe-max-size for who may not raise it). */
	for (int i = 0; i < 2; i++)
		while (stdio->streams[i].fd >= 0 && read_some(&stdio->streams[i]))
			;
	for (int i = 0; i < 2; i++)
		end_stream(&stdio->streams[i]);
	end_input(stdio);
}

void stdio_free(struct stdio *stdio)
{
	for (int i = 0; i < 2; i++) {
		end_stream(&stdio->streams[i]);
		headtail_free(&stdio->streams[i].kept);
	}
	end_input(stdio);
}
