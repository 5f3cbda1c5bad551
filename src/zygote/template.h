/* SPDX-License-Identifier: MIT
 * One template: a jailer and the warm interpreter that it started, from which workers are
 * forked. Engine, on its loop.
 *
 * The life of a template: template_start() -> STARTING -> ready() once -> READY -> gone()
 * once, in any state, when it failed, was stopped, or died. The owner frees it after
 * gone() at the latest by template_free(). */
#ifndef SBX_ZYGOTE_TEMPLATE_H
#define SBX_ZYGOTE_TEMPLATE_H

#include "zygote/host.h"

struct template;

struct template_spec {
	const char *python; /* absolute */
	const char *const *
		preload; /* names, NULL-terminated; a trailing '?' skips what is not installed */
	unsigned walls; /* WALL_* to put up */
	/* What the jails show of the installed packages: "numpy,pandas,!_ctypes,mmap,":
	 * these and what they need, and not these extension modules. NULL: everything. */
	const char *view;
};
struct template_events {
	void (*ready)(void *arg);
	void (*gone)(void *arg,
		     const struct sbx_err
			     *err); /* err: why; stage NONE after template_stop() */
	/* A report about worker report->serial (FORKED, EXITED, FAILED). fd: the pidfd
	 * with FORKED, the callee's. */
	void (*report)(void *arg, const struct zygote_report *report, int fd);
	void *arg;
};

/* 0, or -errno with err filled (INTERPRETER, WALL, ZYGOTE). The spec is copied. Never
 * calls back from inside. */
int template_start(struct host *host, const struct template_spec *spec,
		   const struct template_events *events, struct template **ret,
		   struct sbx_err *err);
/* Ends it and all that came from it: no event follows. Takes a pointer to NULL, sets
 * NULL. */
void template_free(struct template **template);

bool template_is_ready(const struct template *template);
uint64_t template_born_us(const struct template *template);
uint32_t template_forks(const struct template *template);
uint32_t template_python_version(const struct template *template); /* PY_VERSION_HEX */
uint32_t template_span(const struct template *template);
unsigned template_walls(const struct template *template);

/* A jail: the answer of JAILER_JAIL comes to fn (struct jailer_reply, the init's pidfd).
 * control_fd: the init's end. */
int template_make_jail(struct template *template, const struct jailer_request *request,
		       int control_fd, call_fn fn, void *arg, struct call **ret_call);
/* A fork: answered by report(). */
int template_fork(struct template *template, uint32_t serial, int init_pidfd,
		  int channel_fd);
/* A detached mount of a path with the starter's rights; answered to fn. Where the starter
 * is no root. */
int template_open_tree(struct template *template, const char *path, unsigned tree_flags,
		       call_fn fn, void *arg, struct call **ret_call);

#endif
