/* SPDX-License-Identifier: MIT
 * Purpose: makes, watches and ends one worker (worker.h).
 * Process: the engine. Trusts: jailer, init and broker. The channel is hostile: frames
 *   are bounded by type, only a WORKER_STARTED carries a descriptor, and one malformed
 *   byte closes the channel for good.
 * Invariants: a worker's cgroup is left only when its pid namespace is empty; its uid and
 *   serial are not used again before that. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "zygote/groups.h"
#include "zygote/worker.h"

/* A request that the init's socket has not taken yet. */
struct waiting {
	struct waiting *next;
	int fd;
	struct init_request request;
};

/* A worker of ours sends a few dozen for a program: at most 64 different events, twice,
 * DISPLAYS_MAX and four others. */
#define FRAMES_MAX 512u

struct worker {
	struct waiting *first_waiting, **last_waiting;
	struct template *template; /* NULL once it is gone */
	struct host *host;
	struct worker_events events;
	uint32_t serial, uid_index;
	int init_pidfd, init_fd, channel_fd, pidfd;
	struct loop_io *init_io, *init_pidfd_io, *channel_io;
	struct loop_timer *timer; /* a fork or a removal that is tried again */
	struct call *making, *moving;
	bool has_cgroup, init_ready, forked, moved, waiting, failed, exited, gone,
		is_ready, closed;
	int far_fd; /* the worker's end of the channel, until it is forked */
	struct buf in, out;
	size_t in_at;    /* of `in`, what is parsed */
	size_t received; /* bytes of all, and frames: a bound on what a program can have us
			  * do */
	unsigned frames;
	int out_fds[3];
	size_t out_fd_count;
	int in_fd; /* a descriptor that came with bytes not yet parsed */
	void (*released)(void *arg, struct worker *worker);
	void *released_arg;
	bool releasing;
};

uint32_t worker_serial(const struct worker *w)
{
	return w->serial;
}

uint32_t worker_uid_index(const struct worker *w)
{
	return w->uid_index;
}

struct template *worker_template(const struct worker *w)
{
	return w->template;
}

bool worker_is_ready(const struct worker *w)
{
	return w->is_ready;
}

int worker_pidfd(const struct worker *w)
{
	return w->pidfd;
}

int worker_init_pidfd(const struct worker *w)
{
	return w->init_pidfd;
}

static void fail(struct worker *w, const struct sbx_err *err)
{
	if (w->failed || w->releasing)
		return;
	w->failed = true;
	if (w->events.failed)
		w->events.failed(w->events.arg, w, err);
}

static void fail_with(struct worker *w, enum sbx_stage stage, int errnum,
		      const char *what)
{
	struct sbx_err err = { 0 };

	(void)err_set(&err, stage, errnum, "%s", what);
	fail(w, &err);
}

static void advance(struct worker *w)
{
	if (w->is_ready || w->failed || w->releasing || !w->waiting || !w->moved)
		return;
	w->is_ready = true;
	w->events.ready(w->events.arg, w);
}

/* ---- the channel ---- */

static void channel_close(struct worker *w)
{
	loop_remove(&w->channel_io);
	fd_close(&w->channel_fd);
	fd_close(&w->in_fd);
	buf_free(&w->in);
	w->in_at = 0;
	w->closed = true;
}

static size_t frame_max(uint32_t type)
{
	switch ((enum worker_frame)type) {
	case WORKER_WAITING:
	case WORKER_STARTED:
	case WORKER_LOOK:
		return 0;
	case WORKER_FAILED:
		return sizeof(struct sbx_err);
	case WORKER_EVENT:
		return WORKER_EVENT_MAX;
	case WORKER_DONE:
		return WORKER_DONE_MAX;
	case WORKER_ANSWER:
		return WORKER_ANSWER_MAX;
	case WORKER_DISPLAY:
		return DISPLAY_MAX;
	case WORKER_RUN:
	case WORKER_LOOKED:
	case WORKER_DISPLAYED:
	case WORKER_CELL:
	case WORKER_ASK:
		break;
	}
	return SIZE_MAX; /* not one that a worker sends */
}

static void on_frame(struct worker *w, uint32_t type, const char *data, size_t len)
{
	struct sbx_err err;

	if (type == WORKER_WAITING) {
		w->waiting = true;
		advance(w);
	} else if (type == WORKER_FAILED && !w->is_ready) {
		if (len != sizeof(err)) {
			fail_with(w, SBX_AT_WORKER, EBADMSG,
				  "a worker's report of its failure");
			return;
		}
		memcpy(&err, data, sizeof(err));
		err_sanitize(&err);
		fail(w, &err);
	} else if (w->events.frame && w->is_ready) {
		w->events.frame(w->events.arg, type, data, len,
				type == WORKER_STARTED ? fd_take(&w->in_fd) : -1);
	}
}

/* At most one frame. True: there may be another. */
static bool parse(struct worker *w)
{
	struct wire_frame frame;
	_cleanup_buf_ struct buf taken = { 0 };
	size_t max;

	if (w->closed || w->in.len - w->in_at < sizeof(frame))
		return false;
	memcpy(&frame, w->in.data + w->in_at, sizeof(frame));
	max = frame_max(frame.type);
	if (max == SIZE_MAX || frame.len > max || w->frames >= FRAMES_MAX) {
		channel_close(w);
		return false;
	}
	if (w->in.len - w->in_at - sizeof(frame) < frame.len)
		return false;
	/* The callee may close or release. */
	if (buf_add(&taken, w->in.data + w->in_at + sizeof(frame), frame.len) < 0) {
		channel_close(w);
		return false;
	}
	w->in_at += sizeof(frame) + frame.len;
	w->frames++;
	on_frame(w, frame.type, taken.data ? taken.data : "", frame.len);
	return true;
}

/* All frames that are there; what they took is moved out of the way once, not once for
 * each. */
static void parse_all(struct worker *w)
{
	while (!w->closed && parse(w))
		;
	if (!w->closed) {
		buf_consume(&w->in, w->in_at);
		w->in_at = 0;
	}
}

static int receive(struct worker *w)
{
	static char chunk[256u << 10];
	char control[CMSG_SPACE(sizeof(int) * 4)];
	struct iovec iov = { chunk, sizeof(chunk) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(w->channel_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t count = c->cmsg_type == SCM_RIGHTS
				       ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
				       : 0;

		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			/* One, once: the listener. Whatever a program sends later is
			 * dropped. */
			if (w->in_fd < 0)
				w->in_fd = fd;
			else
				(void)close(fd);
		}
	}
	if (n == 0)
		return -EPIPE;
	w->received += (size_t)n;
	if (w->received >
	    WORKER_DONE_MAX + DISPLAYS_BYTES_MAX +
		    FRAMES_MAX * (sizeof(struct wire_frame) + WORKER_EVENT_MAX))
		return -EMSGSIZE;
	w->in.max = WORKER_DONE_MAX + 2 * sizeof(chunk);
	return buf_add(&w->in, chunk, (size_t)n);
}

static int flush(struct worker *w)
{
	char control[CMSG_SPACE(sizeof(w->out_fds))] = { 0 };

	while (w->out.len > 0) {
		struct iovec iov = { w->out.data, w->out.len };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (w->out_fd_count > 0) {
			struct cmsghdr *c;

			msg.msg_control = control;
			msg.msg_controllen = CMSG_SPACE(w->out_fd_count * sizeof(int));
			c = CMSG_FIRSTHDR(&msg);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(w->out_fd_count * sizeof(int));
			memcpy(CMSG_DATA(c), w->out_fds, w->out_fd_count * sizeof(int));
		}
		n = sendmsg(w->channel_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return loop_modify(w->channel_io, EPOLLIN | EPOLLOUT);
		if (n < 0)
			return -errno;
		for (; w->out_fd_count > 0; w->out_fd_count--)
			(void)close(w->out_fds[w->out_fd_count - 1]);
		buf_consume(&w->out, (size_t)n);
	}
	return loop_modify(w->channel_io, EPOLLIN);
}

static void on_channel(void *arg, uint32_t events)
{
	struct worker *w = arg;
	int r = 0;

	if (events & EPOLLOUT)
		r = flush(w);
	if (r == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		r = receive(w);
	parse_all(w);
	if (r < 0 && !w->closed)
		channel_close(w);
	if (r < 0 && !w->is_ready)
		fail_with(w, SBX_AT_WORKER, 0, "a worker ended before it was ready");
}

void worker_drain(struct worker *w)
{
	/* Children of the program may hold the other end and go on writing: what fits
	 * into the socket, no more. */
	for (int i = 0; i < 256 && !w->closed; i++) {
		size_t before = w->received;
		int r = receive(w);

		if (r == 0 && w->received == before)
			break;
		parse_all(w);
		if (r < 0)
			break;
	}
}

int worker_run(struct worker *w, const void *data, size_t len, const int stdio[3])
{
	const struct wire_frame frame = { .type = WORKER_RUN, .len = (uint32_t)len };
	int r;

	if (w->closed || len > WORKER_RUN_MAX)
		return w->closed ? -EPIPE : -EMSGSIZE;
	r = buf_add(&w->out, &frame, sizeof(frame));
	if (r == 0)
		r = buf_add(&w->out, data, len);
	for (size_t i = 0; r == 0 && i < 3; i++) {
		int fd = fcntl(stdio[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0)
			return -errno;
		w->out_fds[w->out_fd_count++] = fd;
	}
	return r < 0 ? r : flush(w);
}

int worker_send(struct worker *w, enum worker_frame type, const void *data, size_t len,
		int fd)
{
	const struct wire_frame frame = { .type = type, .len = (uint32_t)len };
	int r, copy;

	if (w->closed || len > WORKER_RUN_MAX)
		return w->closed ? -EPIPE : -EMSGSIZE;
	/* Descriptors go with the first byte that is sent: not with another frame's. */
	if (fd >= 0 && w->out.len > 0)
		return -EAGAIN;
	r = buf_add(&w->out, &frame, sizeof(frame));
	if (r == 0)
		r = buf_add(&w->out, data, len);
	if (r == 0 && fd >= 0) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (copy < 0)
			return -errno;
		w->out_fds[w->out_fd_count++] = copy;
	}
	w->received = 0;
	w->frames = 0;
	return r < 0 ? r : flush(w);
}

void worker_interrupt(struct worker *w, uint32_t count)
{
	if (w->pidfd >= 0 && !w->exited)
		(void)k_pidfd_queue_signal(w->pidfd, SIGINT, (int)count);
}

static int answer(struct worker *w, enum worker_frame type)
{
	const struct wire_frame frame = { .type = type };
	int r = w->closed ? -EPIPE : buf_add(&w->out, &frame, sizeof(frame));

	return r < 0 ? r : flush(w);
}

int worker_looked(struct worker *w)
{
	return answer(w, WORKER_LOOKED);
}

int worker_displayed(struct worker *w)
{
	return answer(w, WORKER_DISPLAYED);
}

/* ---- the jail ---- */

static void on_moved(void *arg, const void *reply, int fd)
{
	struct worker *w = arg;
	const struct broker_reply *r = reply;

	w->moving = NULL;
	fd_close(&fd);
	if (r->err.stage != SBX_AT_NONE) {
		fail(w, &r->err);
		return;
	}
	w->moved = true;
	advance(w);
}

static void enter_cgroup(struct worker *w)
{
	const struct broker_request request = { .op = BROKER_CGROUP_ENTER,
						.index = w->serial };
	int r;

	if (!w->has_cgroup) {
		w->moved = true;
		advance(w);
		return;
	}
	r = call_send(w->host->mover, &request, &w->pidfd, 1, on_moved, w, &w->moving);
	if (r < 0)
		fail_with(w, SBX_AT_JAIL, -r, "a request to the broker");
}

static void try_fork(void *arg)
{
	struct worker *w = arg;
	int r;

	loop_timer_cancel(&w->timer);
	r = w->template ? template_fork(w->template, w->serial, w->init_pidfd, w->far_fd)
			: -EPIPE;
	if (r == -EAGAIN) {
		r = loop_timer_at(w->host->loop, &w->timer, loop_now_us() + 2000,
				  try_fork, w);
		if (r == 0)
			return;
	}
	if (r < 0)
		fail_with(w, SBX_AT_ZYGOTE, -r, "a request to the zygote");
	else
		fd_close(&w->far_fd);
}

static int flush_init(struct worker *w);

static void on_init(void *arg, uint32_t events)
{
	struct worker *w = arg;
	struct init_report report;
	_cleanup_fd_ int fd = -1;
	size_t count = 0;
	int r;

	/* What cannot be sent any more shows as the end of the init. */
	if (events & EPOLLOUT)
		(void)flush_init(w);
	r = wire_recv(w->init_fd, &report, sizeof(report), &fd, 1, &count);
	if (r < 0 || count == 0)
		fd = -1;
	if (r == -EAGAIN || r == -EINTR)
		return;
	if (r < 0) {
		loop_remove(&w->init_io);
		/* Its pidfd says the rest. */
		return;
	}
	err_sanitize(&report.err);
	if (report.kind == INIT_READY && !w->init_ready) {
		/* It may be here before the jailer's answer, by which the jail can be
		 * named to the zygote. */
		w->init_ready = true;
		if (w->init_pidfd >= 0)
			try_fork(w);
	} else if (!w->is_ready) {
		fail(w, &report.err);
	} else {
		if (w->events.init)
			w->events.init(w->events.arg, &report, fd_take(&fd));
	}
}

static void remove_group(void *arg);

static void on_gone(void *arg, uint32_t events)
{
	struct worker *w = arg;

	(void)events;
	loop_remove(&w->init_pidfd_io);
	w->gone = true;
	if (w->releasing) {
		remove_group(w);
		return;
	}
	if (!w->is_ready) {
		fail_with(w, SBX_AT_JAIL, 0, "a jail ended before it was ready");
		return;
	}
	if (w->events.gone)
		w->events.gone(w->events.arg);
}

static void on_made(void *arg, const void *reply, int fd)
{
	struct worker *w = arg;
	const struct jailer_reply *r = reply;
	int e;

	w->making = NULL;
	if (r->err.stage != SBX_AT_NONE || fd < 0) {
		fd_close(&fd);
		w->gone = true;
		if (w->releasing)
			remove_group(w);
		else if (r->err.stage != SBX_AT_NONE)
			fail(w, &r->err);
		else
			fail_with(w, SBX_AT_JAIL, EBADMSG,
				  "the jailer sent no descriptor");
		return;
	}
	w->init_pidfd = fd;
	if (w->releasing)
		(void)k_pidfd_send_signal(fd, SIGKILL);
	e = loop_add(w->host->loop, fd, EPOLLIN, on_gone, w, &w->init_pidfd_io);
	if (e < 0)
		fail_with(w, SBX_AT_JAIL, -e, "watching an init");
	else if (w->init_ready && !w->releasing)
		try_fork(w);
}

static int flush_init(struct worker *w)
{
	struct waiting *one;
	int r;

	while ((one = w->first_waiting)) {
		r = wire_send(w->init_fd, &one->request, sizeof(one->request), &one->fd,
			      one->fd >= 0 ? 1 : 0);
		if (r < 0)
			return r;
		w->first_waiting = one->next;
		if (!one->next)
			w->last_waiting = &w->first_waiting;
		fd_close(&one->fd);
		free(one);
	}
	return loop_modify(w->init_io, EPOLLIN);
}

/* A policy with many grants is more than the socket takes at once. */
int worker_init_request(struct worker *w, const struct init_request *request, int fd)
{
	struct waiting *one;
	int r = -EAGAIN;

	if (!w->init_io)
		return -EPIPE;
	if (!w->first_waiting)
		r = wire_send(w->init_fd, request, sizeof(*request), &fd,
			      fd >= 0 ? 1 : 0);
	if (r != -EAGAIN)
		return r;
	one = calloc(1, sizeof(*one));
	if (!one)
		return -ENOMEM;
	one->request = *request;
	one->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0 && one->fd < 0) {
		free(one);
		return -EMFILE;
	}
	*w->last_waiting = one;
	w->last_waiting = &one->next;
	return loop_modify(w->init_io, EPOLLIN | EPOLLOUT);
}

void worker_kill(struct worker *w)
{
	if (w->init_pidfd >= 0 && !w->gone)
		(void)k_pidfd_send_signal(w->init_pidfd, SIGKILL);
}

/* ---- reports of the zygote ---- */

void worker_report(struct worker *w, const struct zygote_report *report, int fd)
{
	switch ((enum zygote_report_kind)report->kind) {
	case ZYGOTE_FORKED:
		if (w->forked || fd < 0)
			break;
		w->forked = true;
		w->pidfd = fd;
		if (!w->releasing)
			enter_cgroup(w);
		return;
	case ZYGOTE_EXITED:
		w->exited = true;
		if (!w->is_ready)
			fail_with(w, SBX_AT_WORKER, 0,
				  "a worker ended before it was ready");
		else if (w->events.exited)
			w->events.exited(w->events.arg, report->wait_status,
					 report->cpu_us);
		break;
	case ZYGOTE_FAILED:
		fail(w, &report->err);
		break;
	case ZYGOTE_READY:
		break;
	}
	fd_close(&fd);
}

void worker_template_gone(struct worker *w, const struct sbx_err *err)
{
	w->template = NULL;
	/* A call that is under way is forgotten with the jailer's queue; the jail died
	 * with its jailer. */
	if (w->making) {
		w->making = NULL;
		w->gone = true;
		if (w->releasing) {
			remove_group(w);
			return;
		}
	}
	if (!w->is_ready)
		fail(w, err);
}

/* ---- making and ending ---- */

int worker_new(struct template *template, struct host *host, uint32_t serial,
	       uint32_t uid_index, const struct worker_events *events,
	       struct worker **ret, struct sbx_err *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	struct jailer_request *request = calloc(1, sizeof(*request));
	_cleanup_fd_ int far_init = -1;
	int pair[2], r = w && request ? 0 : err_set(err, SBX_AT_ENGINE, ENOMEM, "worker");

	if (r < 0) {
		free(w);
		free(request);
		return r;
	}
	*w = (struct worker){ .template = template,
			      .host = host,
			      .events = *events,
			      .serial = serial,
			      .uid_index = uid_index,
			      .init_pidfd = -1,
			      .init_fd = -1,
			      .channel_fd = -1,
			      .pidfd = -1,
			      .far_fd = -1,
			      .in_fd = -1 };
	w->last_waiting = &w->first_waiting;
	r = wire_pair(SOCK_SEQPACKET, pair);
	if (r == 0) {
		w->init_fd = pair[0];
		far_init = pair[1];
		r = wire_pair(SOCK_STREAM, pair);
	}
	if (r == 0) {
		w->channel_fd = pair[0];
		w->far_fd = pair[1];
		r = fd_nonblock(w->init_fd, true);
	}
	if (r == 0)
		r = fd_nonblock(w->channel_fd, true);
	if (r == 0)
		r = loop_add(host->loop, w->init_fd, EPOLLIN, on_init, w, &w->init_io);
	if (r == 0)
		r = loop_add(host->loop, w->channel_fd, EPOLLIN, on_channel, w,
			     &w->channel_io);
	if (r < 0)
		(void)err_set(err, SBX_AT_JAIL, -r, "sockets of a worker");
	if (r == 0 && host->hello.cgroup.version != CGROUP_NONE) {
		r = cgroup_make(&host->hello.cgroup, serial, err);
		w->has_cgroup = r == 0;
	}
	if (r == 0) {
		request->op = JAILER_JAIL;
		request->walls = template_walls(template);
		request->uid_index = uid_index;
		request->disk_bytes = WORKER_DISK_BYTES;
		request->disk_inodes = WORKER_DISK_INODES;
		r = template_make_jail(template, request, far_init, on_made, w,
				       &w->making);
		if (r < 0)
			(void)err_set(err, SBX_AT_JAIL, -r, "a request to the jailer");
	}
	free(request);
	if (r < 0) {
		w->gone = true;
		worker_release(&w, NULL, NULL);
		return r;
	}
	*ret = w;
	return 0;
}

void worker_take(struct worker *w, const struct worker_events *events)
{
	w->events = *events;
}

static void finish(struct worker *w)
{
	loop_timer_cancel(&w->timer);
	loop_remove(&w->init_io);
	loop_remove(&w->init_pidfd_io);
	if (!w->closed)
		channel_close(w);
	buf_free(&w->out);
	while (w->first_waiting) {
		struct waiting *one = w->first_waiting;

		w->first_waiting = one->next;
		fd_close(&one->fd);
		free(one);
	}
	for (; w->out_fd_count > 0; w->out_fd_count--)
		(void)close(w->out_fds[w->out_fd_count - 1]);
	fd_close(&w->far_fd);
	fd_close(&w->init_fd);
	fd_close(&w->init_pidfd);
	fd_close(&w->pidfd);
	call_forget(&w->moving);
	if (w->released)
		w->released(w->released_arg, w);
	free(w);
}

static void remove_group(void *arg)
{
	struct worker *w = arg;

	loop_timer_cancel(&w->timer);
	if (w->has_cgroup)
		groups_remove(w->host->groups, w->serial);
	finish(w);
}

void worker_release(struct worker **worker,
		    void (*released)(void *arg, struct worker *worker), void *arg)
{
	struct worker *w = *worker;

	*worker = NULL;
	if (!w || w->releasing)
		return;
	w->releasing = true;
	/* Reports of the zygote may come after the init's end, and after the taker's. */
	w->events = (struct worker_events){ 0 };
	w->released = released;
	w->released_arg = arg;
	loop_timer_cancel(&w->timer);
	call_forget(&w->moving);
	/* The init ends at the end of file, too; the signal is for one that is
	 * stopped. */
	loop_remove(&w->init_io);
	fd_close(&w->init_fd);
	worker_kill(w);
	if (!w->closed)
		channel_close(w);
	if (w->gone) {
		/* Never from inside the caller's stack: it may be one of our own
		 * callbacks. */
		if (loop_timer_at(w->host->loop, &w->timer, loop_now_us(), remove_group,
				  w) < 0)
			remove_group(w);
	}
}
