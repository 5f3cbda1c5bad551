/* SPDX-License-Identifier: MIT
 * Purpose: asynchronous calls in order over one socket (call.h).
 * Process: the engine. Trusts: the other end, broker or jailer, to answer in order;
 * anything else ends the queue.
 * Invariants: waiting calls are a list in the order of sending; the first `sent` of them
 * are with the other end. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/call.h"
#include "base/fd.h"
#include "base/wire.h"

struct call {
	struct call *next;
	struct call_queue *queue;
	call_fn fn; /* NULL: forgotten */
	void *arg;
	bool sent;
	int fds[WIRE_FDS_MAX];
	size_t fd_count;
	char request[];
};

struct call_queue {
	struct loop *loop;
	struct loop_io *io;
	int fd;
	size_t request_size, reply_size;
	call_lost_fn lost;
	void *arg;
	struct call *first, *last;
	char *reply;
	bool is_lost, freed, busy;
};

static void drop_fds(struct call *call)
{
	size_t i;

	for (i = 0; i < call->fd_count; i++)
		(void)close(call->fds[i]);
	call->fd_count = 0;
}

static void release(struct call_queue *queue)
{
	loop_remove(&queue->io);
	fd_close(&queue->fd);
	while (queue->first) {
		struct call *call = queue->first;

		queue->first = call->next;
		drop_fds(call);
		free(call);
	}
	free(queue->reply);
	free(queue);
}

static void lose(struct call_queue *queue)
{
	if (queue->is_lost)
		return;
	queue->is_lost = true;
	loop_remove(&queue->io);
	if (queue->lost && !queue->freed)
		queue->lost(queue->arg);
}

static int flush(struct call_queue *queue)
{
	struct call *call;
	int r;

	for (call = queue->first; call; call = call->next) {
		if (call->sent)
			continue;
		r = wire_send(queue->fd, call->request, queue->request_size, call->fds,
			      call->fd_count);
		if (r == -EAGAIN)
			return loop_modify(queue->io, EPOLLIN | EPOLLOUT);
		if (r < 0)
			return r;
		call->sent = true;
		drop_fds(call);
	}
	return loop_modify(queue->io, EPOLLIN);
}

static int receive(struct call_queue *queue)
{
	struct call *call;
	int fd = -1, r;
	size_t count = 0;

	r = wire_recv(queue->fd, queue->reply, queue->reply_size, &fd, 1, &count);
	if (r < 0)
		return r;
	if (count == 0)
		fd = -1;
	call = queue->first;
	if (!call || !call->sent) {
		fd_close(&fd);
		return -EBADMSG;
	}
	queue->first = call->next;
	if (!queue->first)
		queue->last = NULL;
	if (call->fn)
		call->fn(call->arg, queue->reply, fd);
	else
		fd_close(&fd);
	free(call);
	return 0;
}

static void on_io(void *arg, uint32_t events)
{
	struct call_queue *queue = arg;
	int r = -EAGAIN;

	queue->busy = true;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		while (!queue->freed && (r = receive(queue)) == 0)
			;
	if (!queue->freed) {
		if (r == -EAGAIN || r == -EINTR)
			r = (events & EPOLLOUT) ? flush(queue) : 0;
		if (r < 0)
			lose(queue);
	}
	queue->busy = false;
	if (queue->freed)
		release(queue);
}

int call_queue_new(struct loop *loop, int fd, size_t request_size, size_t reply_size,
		   call_lost_fn lost, void *arg, struct call_queue **ret)
{
	struct call_queue *queue = calloc(1, sizeof(*queue));
	int r;

	if (!queue)
		return -ENOMEM;
	queue->loop = loop;
	queue->fd = fd;
	queue->request_size = request_size;
	queue->reply_size = reply_size;
	queue->lost = lost;
	queue->arg = arg;
	queue->reply = malloc(reply_size);
	r = queue->reply ? fd_nonblock(fd, true) : -ENOMEM;
	if (r == 0)
		r = loop_add(loop, fd, EPOLLIN, on_io, queue, &queue->io);
	if (r < 0) {
		queue->fd = -1;
		release(queue);
		return r;
	}
	*ret = queue;
	return 0;
}

void call_queue_free(struct call_queue **queue)
{
	struct call_queue *q = *queue;

	*queue = NULL;
	if (!q)
		return;
	q->freed = true;
	for (struct call *call = q->first; call; call = call->next)
		call->fn = NULL;
	if (!q->busy)
		release(q);
}

int call_send(struct call_queue *queue, const void *request, const int *fds,
	      size_t fd_count, call_fn fn, void *arg, struct call **ret_call)
{
	struct call *call;
	int r;

	if (queue->is_lost || queue->freed)
		return -EPIPE;
	if (fd_count > WIRE_FDS_MAX)
		return -EINVAL;
	call = malloc(sizeof(*call) + queue->request_size);
	if (!call)
		return -ENOMEM;
	*call = (struct call){ .queue = queue, .fn = fn, .arg = arg };
	memcpy(call->request, request, queue->request_size);
	for (; call->fd_count < fd_count; call->fd_count++) {
		call->fds[call->fd_count] = fcntl(fds[call->fd_count], F_DUPFD_CLOEXEC,
						  0);
		if (call->fds[call->fd_count] < 0) {
			r = -errno;
			drop_fds(call);
			free(call);
			return r;
		}
	}
	if (queue->last)
		queue->last->next = call;
	else
		queue->first = call;
	queue->last = call;
	/* A broken socket shows on the loop, where lost() is called; the caller's state
	 * is not changed under it. */
	if (flush(queue) < 0)
		(void)loop_modify(queue->io, EPOLLIN | EPOLLOUT);
	if (ret_call)
		*ret_call = call;
	return 0;
}

void call_forget(struct call **call)
{
	if (*call)
		(*call)->fn = NULL;
	*call = NULL;
}
