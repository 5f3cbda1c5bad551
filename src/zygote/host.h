/* SPDX-License-Identifier: MIT
 * What the engine knows of the machine and shares with its templates: ids, walls,
 * cgroups, the ways to the broker. */
#ifndef SBX_ZYGOTE_HOST_H
#define SBX_ZYGOTE_HOST_H

#include "base/buf.h"
#include "base/call.h"
#include "base/loop.h"
#include "zygote/messages.h"

struct host {
	struct loop *loop;
	struct broker_hello hello;
	unsigned walls; /* WALL_* that stand here */
	int broker_fd;  /* quick calls, host_call() */
	int caller_fd; /* his connection, while an interpreter is looked for as he asked; or -1 */
	struct call_queue *mover; /* BROKER_CGROUP_ENTER */
	uint32_t next_jail;       /* index of the next jail, never reused */
	uint32_t spans;           /* bits: spans of ids in use by templates */
	struct buf zygote_filter;
	struct groups *groups; /* removes them; NULL where there are none */
	struct known *known;   /* interpreter_admit() */
};

/* Starts from the descriptors of the role (daemon/broker.h): receives the hello. */
int host_begin(struct host *host, struct loop *loop, int broker_fd, int mover_fd,
	       struct sbx_err *err);
/* One quick call, answered at once (below a millisecond). fd: to send, or -1. ret_fd:
 * NULL if none is expected. */
int host_call(struct host *host, const struct broker_request *request, int fd,
	      struct broker_reply *ret_reply, int *ret_fd, struct sbx_err *err);
/* realpath(3) as the starter sees it; started as root as anybody does, or the caller, if
 * he is the starter's user (caller_fd). path: absolute. */
int host_resolve(struct host *host, const char *path, char ret[4096],
		 struct sbx_err *err);
/* A directory or file to read in, with these rights: a detached read-only mount when
 * started as root (so that nothing above it can be reached), a plain descriptor
 * otherwise. */
int host_open(struct host *host, const char *path, unsigned tree_flags, int *ret_fd,
	      struct sbx_err *err);

#endif
