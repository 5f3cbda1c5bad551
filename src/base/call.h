/* SPDX-License-Identifier: MIT
 * Asynchronous calls over a SOCK_SEQPACKET socket whose other end answers each packet
 * with one, in order (zygote/messages.h). On the loop; one thread. */
#ifndef SBX_BASE_CALL_H
#define SBX_BASE_CALL_H

#include <stddef.h>

#include "base/loop.h"

struct call_queue;
struct call;

/* reply: reply_size bytes, valid during the call. fd: the descriptor that came with it,
 * or -1; the callee's. */
typedef void (*call_fn)(void *arg, const void *reply, int fd);
/* The other end is gone. No call is answered any more; the queue is to be freed by its
 * owner, later or now. */
typedef void (*call_lost_fn)(void *arg);

/* Takes fd. */
int call_queue_new(struct loop *loop, int fd, size_t request_size, size_t reply_size,
		   call_lost_fn lost, void *arg, struct call_queue **ret);
/* Unanswered calls are forgotten. Takes a pointer to NULL, sets NULL. */
void call_queue_free(struct call_queue **queue);

/* Copies the request; duplicates of the descriptors are kept until sent. *ret_call (may
 * be NULL) is valid until fn is called or call_forget(). 0, -EPIPE once lost, -ENOMEM,
 * -errno. */
int call_send(struct call_queue *queue, const void *request, const int *fds,
	      size_t fd_count, call_fn fn, void *arg, struct call **ret_call);
void call_forget(
	struct call **
		call); /* its answer is thrown away; sets NULL, takes a pointer to NULL */

#endif
