/* SPDX-License-Identifier: MIT
 * The event loop: epoll, one thread. Descriptors are watched until removed; timers are a
 * heap in front of one timerfd (CLOCK_MONOTONIC). A callback may add and remove anything,
 * itself included. */
#ifndef SBX_BASE_LOOP_H
#define SBX_BASE_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_io;
struct loop_timer;

typedef void (*loop_io_fn)(void *arg, uint32_t events);
typedef void (*loop_timer_fn)(void *arg);

int loop_new(struct loop **ret_loop);
void loop_free(struct loop *loop);
int loop_run(struct loop *loop); /* until loop_stop; 0 or -errno */
void loop_stop(struct loop *loop);
uint64_t loop_now_us(void); /* CLOCK_MONOTONIC */

/* fd stays the caller's. Remove before closing it. */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_io_fn fn, void *arg,
	     struct loop_io **ret_io);
int loop_modify(struct loop_io *io, uint32_t events);
void loop_remove(struct loop_io **io); /* sets NULL; takes a pointer to NULL */

/* One shot at an absolute time. Re-arm by calling again with the same handle (NULL handle
 * makes one). */
int loop_timer_at(struct loop *loop, struct loop_timer **timer, uint64_t at_us,
		  loop_timer_fn fn, void *arg);
void loop_timer_cancel(
	struct loop_timer **timer); /* sets NULL; takes a pointer to NULL */

#endif
