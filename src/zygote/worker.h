/* SPDX-License-Identifier: MIT
 * One worker: a jail with its init, its cgroup, and the fork of the zygote that lives in
 * it. Used for one program, or one session's. Engine, on its loop.
 *
 * The life of a worker: worker_new() -> the jail is made -> INIT_READY -> the zygote
 * forks -> the fork joins the jail and is moved into its cgroup -> ready() ->
 * worker_run() -> worker_cell() -> frames -> exited() -> worker_kill() -> gone() ->
 * worker_release(). failed() may come instead of ready(), gone() at any time after
 * worker_new(). */
#ifndef SBX_ZYGOTE_WORKER_H
#define SBX_ZYGOTE_WORKER_H

#include "zygote/template.h"

struct worker;

struct worker_events {
	void (*ready)(void *arg, struct worker *worker);
	/* Before ready(), or a step of the set-up after it. The worker is to be
	 * released. */
	void (*failed)(void *arg, struct worker *worker, const struct sbx_err *err);
	/* From ready() on. NULL before. fd: what came with it, or -1; the callee's. */
	void (*init)(void *arg, const struct init_report *report, int fd);
	/* A frame from the program's side. fd: with WORKER_STARTED the listener, or -1;
	 * the callee's. */
	void (*frame)(void *arg, uint32_t type, const char *data, size_t len, int fd);
	void (*exited)(void *arg, int wait_status, uint64_t cpu_us);
	void (*gone)(void *arg); /* its pid namespace is empty */
	void *arg;
};

#define WORKER_DISK_BYTES (64u << 20) /* the private tmpfs before a policy is known */
#define WORKER_DISK_INODES 16384u

int worker_new(struct template *template, struct host *host, uint32_t serial,
	       uint32_t uid_index, const struct worker_events *events,
	       struct worker **ret, struct sbx_err *err);
/* Whoever takes a ready worker gets its events from here on. */
void worker_take(struct worker *worker, const struct worker_events *events);
/* Forgets its events, kills it, and frees it and its cgroup when its pid namespace is
 * empty; released() is called then (may be NULL). Sets NULL; takes a pointer to NULL. */
void worker_release(struct worker **worker,
		    void (*released)(void *arg, struct worker *worker), void *arg);
void worker_kill(struct worker *worker); /* everything in its jail */

/* By the owner of its template: a report about it, and the template's end. */
void worker_report(struct worker *worker, const struct zygote_report *report, int fd);
void worker_template_gone(struct worker *worker, const struct sbx_err *err);

/* One request to the init; the answer comes to init(). fd: a detached mount with
 * INIT_GRANT, or -1. */
int worker_init_request(struct worker *worker, const struct init_request *request,
			int fd);
/* WORKER_RUN: the struct and its sections; the three descriptors are duplicated. */
int worker_run(struct worker *worker, const void *data, size_t len, const int stdio[3]);

/* WORKER_CELL or WORKER_ASK, the struct and its sections. fd is duplicated; -1: none. What
 * the worker may say is counted from here on. */
int worker_send(struct worker *worker, enum worker_frame type, const void *data,
		size_t len, int fd);
int worker_looked(struct worker *worker);     /* WORKER_LOOKED */
int worker_displayed(struct worker *worker);  /* WORKER_DISPLAYED */
/* SIGINT to its process, for a session's program COUNT alone if that is not 0: one that it
 * has been sent and not begun yet keeps it, and it is lost on any other. */
void worker_interrupt(struct worker *worker, uint32_t count);

uint32_t worker_serial(const struct worker *worker);
uint32_t worker_uid_index(const struct worker *worker);
struct template *worker_template(const struct worker *worker);
bool worker_is_ready(const struct worker *worker);
int worker_pidfd(const struct worker *worker);
int worker_init_pidfd(const struct worker *worker);
/* Its process has exited: takes what is still in the channel, as frames, now. */
void worker_drain(struct worker *worker);

#endif
