/* SPDX-License-Identifier: MIT
 * The calls that one worker's filter hands over: what is denied is answered at once and
 * told of; what somebody judges (connections, opens) goes to its judge, who answers it.
 * Engine, on its loop. What is read from the worker's memory for a subject is a claim for
 * people to read; what a judge reads it copies once, and acts on its copy itself. Nothing
 * is ever answered with CONTINUE (INV-9). */
#ifndef SBX_ENGINE_NOTIFY_H
#define SBX_ENGINE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"
#include "jail/filter.h"

struct notify;
struct notify_denial {
	const struct filter_call *call;
	char subject
		[256]; /* printable: path, family, request; "": nothing more is known */
	unsigned long long dropped; /* denials before this one that were not told of */
};
typedef void (*notify_fn)(void *arg, const struct notify_denial *denial);

/* Takes the listener. Every notification gets its table's errno, at once; fn is called
 * for at most `burst` at once and `per_second` after that (token bucket). */
int notify_new(struct loop *loop, int listener, unsigned burst, unsigned per_second,
	       notify_fn fn, void *arg, struct notify **ret, struct sbx_err *err);
unsigned long long notify_count(const struct notify *notify); /* all denials */
/* Answers what waits now (before a verdict is formed). */
void notify_drain(struct notify *notify);
void notify_free(struct notify **notify);

/* ---- for those who judge ---- */

struct notify_call {
	uint64_t id;
	pid_t tid; /* a thread's id, in our pid namespace; good while the id is valid */
	int nr;
	uint64_t args[6];
};
/* True: the judge has taken the call and answers it exactly once, now or later. False:
 * it is answered and told of like any denied call. Must not free the notify. */
typedef bool (*notify_judge_fn)(void *arg, const struct notify_call *call);
/* One judge a call number, eight in all. -ENOSPC. */
int notify_judge(struct notify *notify, int nr, notify_judge_fn fn, void *arg);

/* Answers: 0, or -errno; -ENOENT: the caller is gone, which is no fault of anyone. */
int notify_answer(struct notify *notify, uint64_t id, int64_t value, int errnum);
/* A descriptor of ours becomes the call's result (SECCOMP_ADDFD_FLAG_SEND, 5.14). fd
 * stays ours. */
int notify_answer_fd(struct notify *notify, uint64_t id, int fd, bool cloexec);
/* Puts a descriptor of ours in the place of the caller's `target`; answers nothing. */
int notify_place_fd(struct notify *notify, uint64_t id, int fd, int target, bool cloexec);
bool notify_is_valid(struct notify *notify, uint64_t id);
/* Copies len bytes of the caller's memory, all or nothing, and proves that they were the
 * caller's. -ESRCH if it is gone, -EFAULT. */
int notify_read(struct notify *notify, const struct notify_call *call, uint64_t address,
		void *ret, size_t len);
/* A NUL-terminated string of at most size - 1 bytes, as it is (not printable). Length,
 * -ENAMETOOLONG, -EFAULT, -ESRCH. */
ssize_t notify_read_path(struct notify *notify, const struct notify_call *call,
			 uint64_t address, char *ret, size_t size);
/* A duplicate of the caller's descriptor (pidfd_getfd(2), 5.6), close-on-exec; -errno. */
int notify_take_fd(struct notify *notify, const struct notify_call *call, int fd);
/* A judge's own denial, through the same token bucket as the others. */
void notify_tell(struct notify *notify, const struct filter_call *call,
		 const char *subject);

#endif
