/* SPDX-License-Identifier: MIT
 * What a template's root file system shows: the list of trees, links and made-up files
 * that the engine tells the jailer. The one place that says what of the host is readable
 * for a program. */
#ifndef SBX_ZYGOTE_LAYOUT_H
#define SBX_ZYGOTE_LAYOUT_H

#include "zygote/host.h"
#include "zygote/interpreter.h"

/* One part: op and the fields of a jailer_request for it; fd: a detached mount, or -1 for
 * the path in the jailer's view. The callee takes neither. Returns 0 to go on, -errno to
 * stop. */
typedef int (*layout_fn)(void *arg, const struct jailer_request *request, int fd,
			 struct sbx_err *err);

/* Calls fn for every part, parents before what lies in them. */
int layout_walk(struct host *host, const struct interpreter *interpreter, layout_fn fn,
		void *arg, struct sbx_err *err);

#endif
