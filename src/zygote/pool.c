/* SPDX-License-Identifier: MIT
 * Purpose: templates and waiting workers of one specification (pool.h).
 * Process: the engine. Trusts: as template.c and worker.c.
 * Invariants: a slot (a live template) stays until its last worker is released; of a
 *   pool's slots at most one is current and one is its successor, the others are retired
 *   and fork no more. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "zygote/pool.h"

#define MAKING_MAX 4u       /* at once: two cores are busy with two */
#define DEMAND_US 10000000u /* two takes within this time are demand: keep some waiting */
#define QUIET_US 60000000u  /* after this time without one they are let go */
#define FILL_AFTER_US 300u  /* the request that took one goes first */
#define FIRST_TARGET 4u
#define UID_WORDS (IDS_PER_TEMPLATE / 32u)

struct slot {
	struct slot *next;
	struct pool *pool;
	struct template *template;
	bool was_ready, retired, dead;
	uint32_t workers, next_uid;
	uint32_t uids[UID_WORDS]; /* bits: in use */
};

enum entry_state { MAKING, WAITING, TAKEN, RELEASED };

struct entry {
	struct entry *next;
	struct slot *slot;
	struct worker *worker;
	enum entry_state state;
};

struct pool_take {
	struct pool_take *next;
	pool_fn fn; /* NULL: forgotten */
	void *arg;
};

struct pool {
	struct host *host;
	char *python;
	char **preload;
	char *view; /* or NULL */
	unsigned walls;
	struct slot *slots, *current, *successor;
	struct entry *entries;
	struct pool_take *takes, **takes_end;
	uint32_t target, forks_max;
	uint64_t age_max_us, last_take_us;
	struct loop_timer *fill_timer, *quiet_timer;
};

static void fill(struct pool *pool);

/* ---- lists ---- */

static uint32_t count_state(const struct pool *pool, enum entry_state state)
{
	uint32_t n = 0;

	for (const struct entry *e = pool->entries; e; e = e->next)
		n += e->state == state;
	return n;
}

static uint32_t count_takes(const struct pool *pool)
{
	uint32_t n = 0;

	for (const struct pool_take *t = pool->takes; t; t = t->next)
		n += t->fn != NULL;
	return n;
}

static struct pool_take *pop_take(struct pool *pool)
{
	struct pool_take *t = pool->takes;

	if (!t)
		return NULL;
	pool->takes = t->next;
	if (!pool->takes)
		pool->takes_end = &pool->takes;
	return t;
}

static void fail_takes(struct pool *pool, const struct sbx_err *err)
{
	/* Those that a callee adds are not failed with the old error. */
	struct pool_take *list = pool->takes, *t;

	pool->takes = NULL;
	pool->takes_end = &pool->takes;
	while ((t = list)) {
		list = t->next;
		if (t->fn)
			t->fn(t->arg, NULL, err);
		free(t);
	}
}

static void slot_free(struct slot *slot)
{
	struct slot **at = &slot->pool->slots;

	while (*at && *at != slot)
		at = &(*at)->next;
	if (*at)
		*at = slot->next;
	if (slot->pool->current == slot)
		slot->pool->current = NULL;
	if (slot->pool->successor == slot)
		slot->pool->successor = NULL;
	template_free(&slot->template);
	free(slot);
}

/* ---- the workers ---- */

static uint32_t take_uid(struct slot *slot)
{
	for (uint32_t tries = 0; tries < IDS_PER_TEMPLATE; tries++) {
		uint32_t uid = slot->next_uid++ % IDS_PER_TEMPLATE;

		if (uid == 0 || (slot->uids[uid / 32] & (1u << (uid % 32))))
			continue;
		slot->uids[uid / 32] |= 1u << (uid % 32);
		return uid;
	}
	return 0;
}

static void on_released(void *arg, struct worker *worker)
{
	struct pool *pool = arg;
	struct entry **at = &pool->entries;
	struct entry *e;
	struct slot *slot;
	uint32_t uid = worker_uid_index(worker);

	while (*at && (*at)->worker != worker)
		at = &(*at)->next;
	if (!*at)
		return;
	e = *at;
	*at = e->next;
	slot = e->slot;
	free(e);
	slot->uids[uid / 32] &= ~(1u << (uid % 32));
	slot->workers--;
	if (slot->workers == 0 && (slot->retired || slot->dead))
		slot_free(slot);
}

static void release_entry(struct entry *e)
{
	struct worker *w = e->worker;

	e->state = RELEASED;
	worker_release(&w, on_released, e->slot->pool);
}

/* True: at least one was served. */
static bool serve(struct pool *pool)
{
	struct entry *e;
	bool served = false;

	while (pool->takes) {
		struct pool_take *take;

		for (e = pool->entries; e && e->state != WAITING; e = e->next)
			;
		if (!e)
			break;
		take = pop_take(pool);
		if (take->fn) {
			e->state = TAKEN;
			served = true;
			take->fn(take->arg, e->worker, NULL);
		}
		free(take);
	}
	return served;
}

static void on_ready(void *arg, struct worker *worker)
{
	struct entry *e = arg;

	(void)worker;
	if (e->state != MAKING)
		return;
	e->state = WAITING;
	(void)serve(e->slot->pool);
	fill(e->slot->pool);
}

static void on_failed(void *arg, struct worker *worker, const struct sbx_err *err)
{
	struct entry *e = arg;
	struct pool *pool = e->slot->pool;

	(void)worker;
	if (e->state != MAKING)
		return;
	release_entry(e);
	/* Tried again for nobody: what fails once fails until something changes, and the
	 * takers are told what. A template that died meanwhile is not their fault; the
	 * next is started for them. */
	if (!e->slot->dead && !e->slot->retired)
		fail_takes(pool, err);
	fill(pool);
}

/* A jail or its worker ended while it waited. */
static void on_waiting_gone(void *arg)
{
	struct entry *e = arg;

	if (e->state != WAITING)
		return;
	release_entry(e);
	fill(e->slot->pool);
}

static void on_waiting_exited(void *arg, int wait_status, uint64_t cpu_us)
{
	(void)wait_status;
	(void)cpu_us;
	on_waiting_gone(arg);
}

static int make_worker(struct pool *pool, struct sbx_err *err)
{
	struct slot *slot = pool->current;
	struct entry *e = calloc(1, sizeof(*e));
	const struct worker_events events = { .ready = on_ready,
					      .failed = on_failed,
					      .gone = on_waiting_gone,
					      .exited = on_waiting_exited,
					      .arg = e };
	uint32_t uid = pool->host->hello.root ? take_uid(slot) : 0;
	int r;

	if (!e || (uid == 0 && pool->host->hello.root)) {
		free(e);
		return err_set(err, SBX_AT_BUSY, EAGAIN,
			       "no id is free for one more worker");
	}
	r = worker_new(slot->template, pool->host, pool->host->next_jail++, uid, &events,
		       &e->worker, err);
	if (r < 0) {
		slot->uids[uid / 32] &= ~(1u << (uid % 32));
		free(e);
		return r;
	}
	e->slot = slot;
	e->next = pool->entries;
	pool->entries = e;
	slot->workers++;
	return 0;
}

/* ---- the templates ---- */

static void retire(struct slot *slot)
{
	if (!slot)
		return;
	slot->retired = true;
	for (struct entry *e = slot->pool->entries, *next; e; e = next) {
		next = e->next;
		if (e->slot == slot && (e->state == MAKING || e->state == WAITING))
			release_entry(e);
	}
	if (slot->workers == 0)
		slot_free(slot);
}

static void on_template_ready(void *arg)
{
	struct slot *slot = arg;
	struct pool *pool = slot->pool;

	slot->was_ready = true;
	if (pool->successor == slot) {
		struct slot *old = pool->current;

		pool->current = slot;
		pool->successor = NULL;
		retire(old);
	}
	fill(pool);
}

static void on_template_gone(void *arg, const struct sbx_err *err)
{
	struct slot *slot = arg;
	struct pool *pool = slot->pool;
	bool was_current = pool->current == slot;

	slot->dead = true;
	if (was_current)
		pool->current = NULL;
	if (pool->successor == slot)
		pool->successor = NULL;
	for (struct entry *e = pool->entries, *next; e; e = next) {
		next = e->next;
		if (e->slot != slot)
			continue;
		worker_template_gone(e->worker, err);
		if (e->state == WAITING || e->state == MAKING)
			release_entry(e);
	}
	/* One that never worked will not work the next time either. */
	if (was_current && !slot->was_ready)
		fail_takes(pool, err);
	fill(pool);
}

static void on_report(void *arg, const struct zygote_report *report, int fd)
{
	struct slot *slot = arg;

	for (struct entry *e = slot->pool->entries; e; e = e->next)
		if (e->slot == slot && worker_serial(e->worker) == report->serial) {
			worker_report(e->worker, report, fd);
			return;
		}
	fd_close(&fd);
}

static int start_slot(struct pool *pool, struct slot **ret, struct sbx_err *err)
{
	const struct template_spec spec = { pool->python,
					    (const char *const *)pool->preload,
					    pool->walls, pool->view };
	struct template_events events = { on_template_ready, on_template_gone, on_report,
					  NULL };
	struct slot *slot = calloc(1, sizeof(*slot));
	int r;

	if (!slot)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "template");
	slot->pool = pool;
	events.arg = slot;
	r = template_start(pool->host, &spec, &events, &slot->template, err);
	if (r < 0) {
		free(slot);
		return r;
	}
	slot->next = pool->slots;
	pool->slots = slot;
	*ret = slot;
	return 0;
}

/* ---- demand ---- */

static void sweep(struct pool *pool)
{
	for (struct slot *s = pool->slots, *next; s; s = next) {
		next = s->next;
		if (s->workers == 0 && (s->dead || s->retired))
			slot_free(s);
	}
}

static void fill_at(struct pool *pool, uint64_t at_us);

static void on_fill(void *arg)
{
	struct pool *pool = arg;
	struct sbx_err err = { 0 };
	uint32_t takes, making, waiting, wanted;

	loop_timer_cancel(&pool->fill_timer);
	sweep(pool);
	if (serve(pool) && !pool->takes) {
		fill_at(pool, loop_now_us() + FILL_AFTER_US);
		return;
	}
	takes = count_takes(pool);
	wanted = takes + pool->target;
	if (wanted == 0)
		return;
	if (!pool->current) {
		if (start_slot(pool, &pool->current, &err) < 0) {
			pool->current = NULL;
			fail_takes(pool, &err);
		}
		return;
	}
	if (!template_is_ready(pool->current->template))
		return;
	if (!pool->successor &&
	    (template_forks(pool->current->template) >= pool->forks_max ||
	     loop_now_us() - template_born_us(pool->current->template) >=
		     pool->age_max_us))
		/* Without a place for a second one the old one goes on; the next fill
		 * tries again. */
		(void)start_slot(pool, &pool->successor, &err);
	making = count_state(pool, MAKING);
	waiting = count_state(pool, WAITING);
	while (making < MAKING_MAX && waiting + making < wanted) {
		if (make_worker(pool, &err) < 0) {
			if (making == 0)
				fail_takes(pool, &err);
			return;
		}
		making++;
	}
}

static void fill_at(struct pool *pool, uint64_t at_us)
{
	struct sbx_err err = { 0 };

	if (loop_timer_at(pool->host->loop, &pool->fill_timer, at_us, on_fill, pool) <
	    0) {
		(void)err_set(&err, SBX_AT_ENGINE, ENOMEM, "timer");
		fail_takes(pool, &err);
	}
}

/* From the loop, never inside a callback of a worker or template that it might end. */
static void fill(struct pool *pool)
{
	fill_at(pool, loop_now_us());
}

static void on_quiet(void *arg)
{
	struct pool *pool = arg;
	uint64_t quiet_at = pool->last_take_us + QUIET_US;

	if (loop_now_us() < quiet_at) {
		(void)loop_timer_at(pool->host->loop, &pool->quiet_timer, quiet_at,
				    on_quiet, pool);
		return;
	}
	loop_timer_cancel(&pool->quiet_timer);
	pool->target = 0;
	for (struct entry *e = pool->entries, *next; e; e = next) {
		next = e->next;
		if (e->state == WAITING)
			release_entry(e);
	}
}

static void note_demand(struct pool *pool, bool missed)
{
	uint64_t now = loop_now_us();

	/* A single run (the command) wants no second worker; whoever comes again soon
	 * will come once more. */
	if (pool->last_take_us && now - pool->last_take_us < DEMAND_US) {
		if (pool->target == 0)
			pool->target = FIRST_TARGET;
		else if (missed && pool->target < POOL_WAITING_MAX)
			pool->target *= 2;
	}
	pool->last_take_us = now;
	if (pool->target && !pool->quiet_timer)
		(void)loop_timer_at(pool->host->loop, &pool->quiet_timer, now + QUIET_US,
				    on_quiet, pool);
}

/* ---- for the engine ---- */

static uint32_t limit_from(const char *name, uint32_t limit)
{
	const char *text = getenv(name);
	unsigned long value = text ? strtoul(text, NULL, 10) : 0;

	return value > 0 && value < limit ? (uint32_t)value : limit;
}

int pool_new(struct host *host, const struct template_spec *spec, struct pool **ret,
	     struct sbx_err *err)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	size_t count = 0;

	while (spec->preload && spec->preload[count])
		count++;
	if (pool) {
		pool->host = host;
		pool->walls = spec->walls;
		pool->takes_end = &pool->takes;
		pool->python = strdup(spec->python);
		pool->preload = calloc(count + 1, sizeof(char *));
		pool->view = spec->view ? strdup(spec->view) : NULL;
		pool->forks_max = limit_from("SANDBOX_TEMPLATE_FORKS",
					     POOL_TEMPLATE_FORKS);
		pool->age_max_us = 1000000ull * limit_from("SANDBOX_TEMPLATE_SECONDS",
							   POOL_TEMPLATE_SECONDS);
		for (size_t i = 0; pool->preload && i < count; i++)
			if (!(pool->preload[i] = strdup(spec->preload[i])))
				count = SIZE_MAX - 1;
	}
	if (!pool || !pool->python || !pool->preload || (spec->view && !pool->view) ||
	    count == SIZE_MAX - 1) {
		pool_free(&pool);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "pool");
	}
	*ret = pool;
	return 0;
}

void pool_free(struct pool **p)
{
	struct pool *pool = *p;
	struct pool_take *take;

	*p = NULL;
	if (!pool)
		return;
	loop_timer_cancel(&pool->fill_timer);
	loop_timer_cancel(&pool->quiet_timer);
	/* The jailers first: with them every jail ends at once and every release below
	 * finds it gone. */
	for (struct slot *s = pool->slots, *next; s; s = next) {
		next = s->next;
		template_free(&s->template);
	}
	for (struct entry *e = pool->entries, *next; e; e = next) {
		struct worker *w = e->worker;

		next = e->next;
		if (e->state != RELEASED)
			worker_release(&w, NULL, NULL);
		free(e);
	}
	for (struct slot *s = pool->slots, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	while ((take = pop_take(pool)))
		free(take);
	for (size_t i = 0; pool->preload && pool->preload[i]; i++)
		free(pool->preload[i]);
	free(pool->preload);
	free(pool->view);
	free(pool->python);
	free(pool);
}

bool pool_is_spec(const struct pool *pool, const struct template_spec *spec)
{
	size_t i;

	if (strcmp(pool->python, spec->python) != 0 || pool->walls != spec->walls ||
	    !pool->view != !spec->view ||
	    (pool->view && strcmp(pool->view, spec->view) != 0))
		return false;
	for (i = 0; pool->preload[i] && spec->preload && spec->preload[i]; i++)
		if (strcmp(pool->preload[i], spec->preload[i]) != 0)
			return false;
	return !pool->preload[i] && (!spec->preload || !spec->preload[i]);
}

int pool_take(struct pool *pool, pool_fn fn, void *arg, struct pool_take **ret_take,
	      struct sbx_err *err)
{
	struct pool_take *take = calloc(1, sizeof(*take));
	bool missed = count_state(pool, WAITING) == 0;

	if (!take)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "pool");
	take->fn = fn;
	take->arg = arg;
	*pool->takes_end = take;
	pool->takes_end = &take->next;
	*ret_take = take;
	note_demand(pool, missed);
	/* Served from the loop (fill), so that the caller has returned by then. */
	fill_at(pool, loop_now_us());
	return 0;
}

void pool_forget(struct pool_take **take)
{
	if (*take)
		(*take)->fn = NULL;
	*take = NULL;
}

void pool_release(struct pool *pool, struct worker **worker)
{
	struct entry *e = pool->entries;

	while (e && e->worker != *worker)
		e = e->next;
	*worker = NULL;
	if (e && e->state == TAKEN)
		release_entry(e);
}

bool pool_is_idle(const struct pool *pool)
{
	return count_takes(pool) == 0 && count_state(pool, TAKEN) == 0 &&
	       count_state(pool, RELEASED) == 0;
}

void pool_drop(struct pool *pool)
{
	pool->target = 0;
	retire(pool->successor);
	pool->successor = NULL;
	retire(pool->current);
	pool->current = NULL;
}

uint64_t pool_last_used_us(const struct pool *pool)
{
	return pool->last_take_us;
}

bool pool_has_template(const struct pool *pool)
{
	return pool->slots != NULL;
}

json_t *pool_health(const struct pool *pool)
{
	const struct template *t = pool->current ? pool->current->template : NULL;
	json_t *preload = json_array();

	for (size_t i = 0; pool->preload[i]; i++)
		(void)json_array_append_new(preload, json_string(pool->preload[i]));
	return json_pack("{s:s,s:o,s:b,s:i,s:i,s:i,s:I}", "python", pool->python,
			 "preload", preload, "ready", t && template_is_ready(t),
			 "waiting", (int)count_state(pool, WAITING), "running",
			 (int)count_state(pool, TAKEN), "target", (int)pool->target,
			 "forks", (json_int_t)(t ? template_forks(t) : 0));
}
