/* SPDX-License-Identifier: MIT
 * Purpose: the event loop (loop.h). Process: engine, broker, command; one thread a loop.
 *   Trusts: its callers to remove a descriptor before they close it.
 * Invariants: a handle that was removed is never called again, also when its event had
 *   been fetched already: its memory stays until the batch is over. Timers due at the
 *   same time fire in the order in which they were armed; a
 * timer armed by a timer's callback fires in a later round, so that descriptors get their
 *   turn. Handles outlive loop_free(): removing them then only frees them. */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"

#define BATCH 64
#define STALL_US 10000u
#define UNARMED SIZE_MAX

struct loop_io {
	struct loop *loop; /* NULL: the loop is gone */
	struct loop_io *next, **back;
	loop_io_fn fn;
	void *arg;
	uint32_t events;
	int fd;
	bool removed;
};

struct loop_timer {
	struct loop *loop;
	struct loop_timer *next, **back;
	loop_timer_fn fn;
	void *arg;
	uint64_t at_us, order;
	size_t index; /* in the heap, or UNARMED */
};

struct loop {
	int epoll_fd, timer_fd;
	bool stop, running;
	struct loop_io *ios, *removed;
	struct loop_timer *timers, **heap;
	size_t heap_len, heap_cap;
	uint64_t order;
	uint64_t set_us;    /* what timer_fd is set to, 0: nothing */
	uint64_t firing_us; /* while timers fire: the time of this round, else 0 */
};

uint64_t loop_now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

int loop_new(struct loop **ret_loop)
{
	/* data.ptr NULL is the timer's. */
	struct epoll_event event = { .events = EPOLLIN };
	struct loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return -ENOMEM;
	loop->timer_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd >= 0)
		loop->timer_fd = timerfd_create(CLOCK_MONOTONIC,
						TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timer_fd < 0 ||
	    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->timer_fd, &event) < 0) {
		r = -errno;
		loop_free(loop);
		return r;
	}
	*ret_loop = loop;
	return 0;
}

static void free_removed(struct loop *loop)
{
	while (loop->removed) {
		struct loop_io *io = loop->removed;

		loop->removed = io->next;
		free(io);
	}
}

void loop_free(struct loop *loop)
{
	struct loop_io *io;
	struct loop_timer *timer;

	if (!loop)
		return;
	free_removed(loop);
	for (io = loop->ios; io; io = io->next)
		io->loop = NULL;
	for (timer = loop->timers; timer; timer = timer->next)
		timer->loop = NULL;
	fd_close(&loop->timer_fd);
	fd_close(&loop->epoll_fd);
	free(loop->heap);
	free(loop);
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_io_fn fn, void *arg,
	     struct loop_io **ret_io)
{
	struct loop_io *io = calloc(1, sizeof(*io));
	struct epoll_event event = { .events = events, .data.ptr = io };
	int r;

	if (!io)
		return -ENOMEM;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		r = -errno;
		free(io);
		return r;
	}
	*io = (struct loop_io){
		.loop = loop, .fn = fn, .arg = arg, .events = events, .fd = fd
	};
	io->next = loop->ios;
	io->back = &loop->ios;
	if (io->next)
		io->next->back = &io->next;
	loop->ios = io;
	*ret_io = io;
	return 0;
}

int loop_modify(struct loop_io *io, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = io };

	if (!io->loop)
		return -ESHUTDOWN;
	/* One-shot and edge-triggered descriptors are armed again by the same call. */
	if (events == io->events && !(events & (EPOLLONESHOT | EPOLLET)))
		return 0;
	if (epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &event) < 0)
		return -errno;
	io->events = events;
	return 0;
}

void loop_remove(struct loop_io **io)
{
	struct loop_io *gone = *io;
	struct loop *loop;

	*io = NULL;
	if (!gone)
		return;
	loop = gone->loop;
	if (!loop) {
		free(gone);
		return;
	}
	/* Fails only for a descriptor that was closed already and so left the set by
	 * itself. */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, gone->fd, NULL);
	*gone->back = gone->next;
	if (gone->next)
		gone->next->back = gone->back;
	if (!loop->running) {
		free(gone);
		return;
	}
	gone->removed = true;
	gone->next = loop->removed;
	loop->removed = gone;
}

static bool earlier(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void heap_put(struct loop *loop, size_t index, struct loop_timer *timer)
{
	loop->heap[index] = timer;
	timer->index = index;
}

/* Moves a timer from a hole at index to where it belongs. */
static void heap_settle(struct loop *loop, size_t index, struct loop_timer *timer)
{
	while (index > 0 && earlier(timer, loop->heap[(index - 1) / 2])) {
		heap_put(loop, index, loop->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	for (;;) {
		size_t child = index * 2 + 1;

		if (child + 1 < loop->heap_len &&
		    earlier(loop->heap[child + 1], loop->heap[child]))
			child++;
		if (child >= loop->heap_len || !earlier(loop->heap[child], timer))
			break;
		heap_put(loop, index, loop->heap[child]);
		index = child;
	}
	heap_put(loop, index, timer);
}

static void heap_remove(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer *last;

	if (timer->index == UNARMED)
		return;
	last = loop->heap[--loop->heap_len];
	if (last != timer)
		heap_settle(loop, timer->index, last);
	timer->index = UNARMED;
}

static int heap_reserve(struct loop *loop)
{
	size_t cap = loop->heap_cap ? loop->heap_cap * 2 : 16;
	struct loop_timer **grown;

	if (loop->heap_len < loop->heap_cap)
		return 0;
	grown = reallocarray(loop->heap, cap, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	loop->heap = grown;
	loop->heap_cap = cap;
	return 0;
}

int loop_timer_at(struct loop *loop, struct loop_timer **timer, uint64_t at_us,
		  loop_timer_fn fn, void *arg)
{
	struct loop_timer *t = *timer;
	int r;

	if (t && t->loop != loop)
		return -ESHUTDOWN;
	if (!t || t->index == UNARMED) {
		r = heap_reserve(loop);
		if (r < 0)
			return r;
	}
	if (!t) {
		t = calloc(1, sizeof(*t));
		if (!t)
			return -ENOMEM;
		t->loop = loop;
		t->index = UNARMED;
		t->next = loop->timers;
		t->back = &loop->timers;
		if (t->next)
			t->next->back = &t->next;
		loop->timers = t;
		*timer = t;
	}
	heap_remove(loop, t);
	t->fn = fn;
	t->arg = arg;
	t->at_us = at_us > loop->firing_us ? at_us : loop->firing_us + 1;
	t->order = loop->order++;
	loop->heap_len++;
	heap_settle(loop, loop->heap_len - 1, t);
	return 0;
}

void loop_timer_cancel(struct loop_timer **timer)
{
	struct loop_timer *t = *timer;

	*timer = NULL;
	if (!t)
		return;
	if (t->loop) {
		heap_remove(t->loop, t);
		*t->back = t->next;
		if (t->next)
			t->next->back = t->back;
	}
	free(t);
}

static int set_timer_fd(struct loop *loop)
{
	uint64_t at_us = loop->heap_len > 0 ? loop->heap[0]->at_us : 0;
	struct itimerspec spec = { 0 };

	if (at_us == loop->set_us)
		return 0;
	/* Beyond what time_t and the kernel's nanoseconds hold it is never. */
	if (at_us < (uint64_t)INT64_MAX / 1000u) {
		spec.it_value.tv_sec = (time_t)(at_us / 1000000u);
		spec.it_value.tv_nsec = (long)(at_us % 1000000u) * 1000;
	}
	if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
		return -errno;
	loop->set_us = at_us;
	return 0;
}

static void fire_timers(struct loop *loop, uint64_t due_us)
{
	if (loop->heap_len == 0)
		return;
	loop->firing_us = due_us;
	while (!loop->stop && loop->heap_len > 0 &&
	       loop->heap[0]->at_us <= loop->firing_us) {
		struct loop_timer *timer = loop->heap[0];

		heap_remove(loop, timer);
		/* The callback may free it. */
		timer->fn(timer->arg);
	}
	loop->firing_us = 0;
}

static int turn(struct loop *loop)
{
	struct epoll_event events[BATCH];
	uint64_t begun_us, now_us;
	int count, i, r;

	r = set_timer_fd(loop);
	if (r < 0)
		return r;
	count = epoll_wait(loop->epoll_fd, events, BATCH, -1);
	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	begun_us = loop_now_us();
	for (i = 0; i < count && !loop->stop; i++) {
		struct loop_io *io = events[i].data.ptr;
		uint64_t expirations;

		if (!io) {
			if (read(loop->timer_fd, &expirations, sizeof(expirations)) < 0 &&
			    errno != EAGAIN && errno != EINTR)
				return -errno;
			loop->set_us = 0;
		} else if (!io->removed) {
			io->fn(io->arg, events[i].events);
		}
	}
	/* Where one callback took long, what came in time meanwhile is still unread: no
	 * deadline may pass before it. */
	now_us = loop_now_us();
	if (!loop->stop)
		fire_timers(loop, now_us - begun_us > STALL_US ? begun_us : now_us);
	return 0;
}

int loop_run(struct loop *loop)
{
	int r = 0;

	if (loop->running)
		return -EBUSY;
	loop->running = true;
	while (!loop->stop && r == 0) {
		r = turn(loop);
		free_removed(loop);
	}
	loop->running = false;
	loop->stop = false;
	return r;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}
