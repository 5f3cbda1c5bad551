/* SPDX-License-Identifier: MIT
 * Denied system calls: answers the user notifications of one worker's filter and tells of
 * each. Engine, on its loop. What it reads from the worker's memory is a claim for people
 * to read; it never decides anything. */
#ifndef SBX_ENGINE_NOTIFY_H
#define SBX_ENGINE_NOTIFY_H

#include "base/loop.h"
#include "jail/filter.h"

struct notify;
struct notify_denial {
	const struct filter_call *call;
	char subject
		[256]; /* printable: path, family, request; "" if nothing more is known */
	unsigned long long
		dropped; /* denials before this one that were answered but not told of */
};
typedef void (*notify_fn)(void *arg, const struct notify_denial *denial);

/* Takes the listener. Every notification gets its table's errno, at once and without
 * CONTINUE; fn is called for at most `burst` at once and `per_second` after that (token
 * bucket). */
int notify_new(struct loop *loop, int listener, unsigned burst, unsigned per_second,
	       notify_fn fn, void *arg, struct notify **ret, struct sbx_err *err);
unsigned long long notify_count(const struct notify *notify); /* all denials */
void notify_drain(
	struct notify *notify); /* answers what waits now (before a verdict is formed) */
void notify_free(struct notify **notify);

#endif
