/* SPDX-License-Identifier: MIT
 * Purpose: admission.h: places, turns, promised memory.
 * Process: the engine, on its loop. Trusts: the numbers of a checked policy. A caller's name
 *   is a key and nothing more.
 * Invariants:
 *   1. promised == the sum of memory of all tickets that hold some; it never exceeds the
 *	limit, but for a limit that was lowered below it.
 *   2. A caller is in the ring exactly while something of it waits; turns go around the
 *	ring, so that who asks for a thousand waits for whoever asks for one, not the other
 *	way round.
 *   3. Nobody's callback runs inside another's call: grants come from the loop.
 *   4. What does not fit now is passed by what does, but only PASSES_MAX times: from then on
 *	nothing is admitted before it, unless it waits for sessions, which may live long. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/admission.h"

#define PASSES_MAX 32u
#define PER_CORE 8u
#define EXECUTIONS_LEAST 64u
#define RETRY_MAX_S 60u
#define NAME_BYTES 96u

struct waiting_caller {
	struct waiting_caller *next, *prev; /* the ring */
	struct admission_ticket *first, *last;
	char name[NAME_BYTES];
};

struct admission_ticket {
	struct admission *admission;
	struct waiting_caller *caller; /* NULL: it does not wait */
	struct admission_ticket *next, *prev;
	enum admission_kind kind;
	uint64_t memory_bytes, since_us;
	size_t bytes; /* of its request, while it waits */
	unsigned passes;
	bool admitted;
	void (*fn)(void *arg);
	void *arg;
};

struct admission {
	struct loop *loop;
	struct loop_timer *timer; /* grants to make */
	struct admission_limits limits;
	struct waiting_caller *turn; /* whose turn is next; NULL: nobody waits */
	size_t callers, waiting, running, sessions;
	size_t waiting_bytes;
	uint64_t promised, promised_sessions;
	double run_us; /* what a program took of late */
};

int admission_new(struct loop *loop, struct admission **ret)
{
	struct admission *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->loop = loop;
	a->limits = (struct admission_limits){ .executions = ADMISSION_EXECUTIONS_MAX,
					       .queue = ADMISSION_EXECUTIONS_MAX };
	a->run_us = 100000;
	*ret = a;
	return 0;
}

void admission_free(struct admission **admission)
{
	if (*admission)
		loop_timer_cancel(&(*admission)->timer);
	free(*admission);
	*admission = NULL;
}

/* ---- what there is ---- */

static uint64_t read_number(const char *path)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long value;
	size_t len;

	if (fd_read_file(AT_FDCWD, path, 64, &text, &len) < 0 ||
	    sscanf(text, "%llu", &value) != 1)
		return UINT64_MAX; /* "max" too */
	return value;
}

/* The least limit from a group up to the root of its hierarchy. */
static uint64_t group_limit(const char *top, const char *group, const char *file)
{
	uint64_t least = UINT64_MAX;
	char at[1024], path[1280];

	(void)snprintf(at, sizeof(at), "%s", group);
	for (;;) {
		uint64_t limit;
		char *slash;

		(void)snprintf(path, sizeof(path), "%s%s/%s", top, at, file);
		limit = read_number(path);
		if (limit < least)
			least = limit;
		slash = strrchr(at, '/');
		if (!slash || !*at)
			return least;
		*slash = '\0';
	}
}

/* Of the cgroup that the machine (a container's, a service's) gives us. */
static uint64_t cgroup_limit(void)
{
	_cleanup_free_ char *text = NULL;
	uint64_t least = UINT64_MAX, limit;
	size_t len;
	char *line, *next;

	if (fd_read_file(AT_FDCWD, "/proc/self/cgroup", 65536, &text, &len) < 0)
		return least;
	for (line = text; line && *line; line = next) {
		char *colon = strchr(line, ':'), *path;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		path = colon ? strchr(colon + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = '\0';
		if (colon[1] == '\0')
			limit = group_limit("/sys/fs/cgroup", path, "memory.max");
		else if (strcmp(colon + 1, "memory") == 0)
			limit = group_limit("/sys/fs/cgroup/memory", path,
					    "memory.limit_in_bytes");
		else
			continue;
		if (limit < least)
			least = limit;
	}
	return least;
}

void admission_suggest(struct admission_limits *ret)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t memory = cgroup_limit();
	struct sysinfo info;

	if (sysinfo(&info) == 0 && (uint64_t)info.totalram * info.mem_unit < memory)
		memory = (uint64_t)info.totalram * info.mem_unit;
	ret->executions = cores > 0 ? (uint32_t)cores * PER_CORE : 0;
	if (ret->executions < EXECUTIONS_LEAST)
		ret->executions = EXECUTIONS_LEAST;
	if (ret->executions > ADMISSION_EXECUTIONS_MAX)
		ret->executions = ADMISSION_EXECUTIONS_MAX;
	ret->queue = 1024;
	ret->memory_bytes = memory == UINT64_MAX ? 0 : memory / 10 * 9;
}

/* ---- whether it fits ---- */

static bool memory_fits(const struct admission *a, uint64_t held, uint64_t bytes)
{
	return !a->limits.memory_bytes || !bytes ||
	       (held <= a->limits.memory_bytes && bytes <= a->limits.memory_bytes - held);
}

static bool fits(const struct admission *a, const struct admission_ticket *t)
{
	return (t->kind == ADMISSION_SESSION || a->running < a->limits.executions) &&
	       memory_fits(a, a->promised, t->memory_bytes);
}

static void admit(struct admission_ticket *t)
{
	struct admission *a = t->admission;

	t->admitted = true;
	t->since_us = loop_now_us();
	a->promised += t->memory_bytes;
	if (t->kind == ADMISSION_SESSION) {
		a->promised_sessions += t->memory_bytes;
		a->sessions++;
	} else {
		a->running++;
	}
}

/* ---- turns ---- */

static struct waiting_caller *find_caller(struct admission *a, const char *name)
{
	struct waiting_caller *c = a->turn;

	for (size_t i = 0; i < a->callers; i++, c = c->next)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

/* At the end of the ring: before the one whose turn is next. */
static struct waiting_caller *add_caller(struct admission *a, const char *name)
{
	struct waiting_caller *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	c->next = c->prev = c;
	if (a->turn) {
		c->next = a->turn;
		c->prev = a->turn->prev;
		c->prev->next = c->next->prev = c;
	} else {
		a->turn = c;
	}
	a->callers++;
	return c;
}

static void enqueue(struct waiting_caller *c, struct admission_ticket *t)
{
	t->caller = c;
	t->prev = c->last;
	if (c->last)
		c->last->next = t;
	else
		c->first = t;
	c->last = t;
	t->admission->waiting++;
}

/* Out of the queue; a caller that waits for nothing leaves the ring. */
static void dequeue(struct admission_ticket *t)
{
	struct admission *a = t->admission;
	struct waiting_caller *c = t->caller;

	if (t->prev)
		t->prev->next = t->next;
	else
		c->first = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		c->last = t->prev;
	t->next = t->prev = NULL;
	t->caller = NULL;
	a->waiting--;
	admission_drop(a, &t->bytes);
	if (c->first)
		return;
	if (a->turn == c)
		a->turn = c->next == c ? NULL : c->next;
	c->prev->next = c->next;
	c->next->prev = c->prev;
	a->callers--;
	free(c);
}

/* Of a caller's line the first; what waits for memory lets a program of its session pass,
 * which takes none. */
static struct admission_ticket *first_that_fits(const struct admission *a,
						const struct waiting_caller *c)
{
	struct admission_ticket *t = c->first;

	while (t && !fits(a, t) && a->running < a->limits.executions)
		do
			t = t->next;
		while (t && t->kind != ADMISSION_IN);
	return t && fits(a, t) ? t : NULL;
}

/* The next ticket to admit, or NULL. Goes once around the ring. */
static struct admission_ticket *choose(struct admission *a)
{
	struct waiting_caller *c = a->turn;

	for (size_t i = 0; i < a->callers; i++, c = c->next) {
		struct admission_ticket *t = first_that_fits(a, c);

		if (t) {
			a->turn = c->next;
			return t;
		}
		/* It has waited long enough for its share; but sessions may live for
		 * hours. */
		if (c->first->passes >= PASSES_MAX &&
		    memory_fits(a, a->promised_sessions, c->first->memory_bytes))
			return NULL;
	}
	return NULL;
}

/* Everybody whose turn this would have been. */
static void count_passes(struct admission *a, const struct waiting_caller *from,
			 const struct waiting_caller *to)
{
	const struct waiting_caller *c = from;

	for (size_t i = 0; i < a->callers && c != to; i++, c = c->next)
		c->first->passes++;
}

static void grant(void *arg);

static void grant_soon(struct admission *a)
{
	if (!a->waiting)
		return;
	/* Without its timer a grant comes with the next end of a program. */
	(void)loop_timer_at(a->loop, &a->timer, loop_now_us(), grant, a);
}

/* One at a time, so that a callback may do what it likes. */
static void grant(void *arg)
{
	struct admission *a = arg;
	struct waiting_caller *from = a->turn;
	struct admission_ticket *t;

	loop_timer_cancel(&a->timer);
	if (!a->turn)
		return;
	t = choose(a);
	if (!t)
		return;
	count_passes(a, from, t->caller);
	dequeue(t);
	admit(t);
	grant_soon(a);
	t->fn(t->arg);
}

/* ---- the door ---- */

void admission_configure(struct admission *a, const struct admission_limits *limits)
{
	a->limits = *limits;
	grant_soon(a);
}

static int refuse(const struct admission *a, struct sbx_err *err)
{
	return err_set(err, SBX_AT_BUSY, EAGAIN,
		       "%zu programs run and %zu wait already; try again in %u s",
		       a->running, a->waiting, admission_retry_after(a));
}

int admission_ask(struct admission *a, enum admission_kind kind, const char *caller,
		  uint64_t memory_bytes, void (*fn)(void *arg), void *arg,
		  struct admission_ticket **ret, struct sbx_err *err)
{
	struct waiting_caller *line;
	struct admission_ticket *t;

	memory_bytes = kind == ADMISSION_IN ? 0 : memory_bytes + ADMISSION_OVERHEAD_BYTES;
	if (!memory_fits(a, 0, memory_bytes))
		return err_set_field(
			err, SBX_AT_CEILING, EPERM, "max_memory_mb",
			"max_memory_mb: %llu MiB and overhead are more than this server promises to all "
			"programs together (%llu MiB)",
			(unsigned long long)(memory_bytes - ADMISSION_OVERHEAD_BYTES) >>
				20,
			(unsigned long long)a->limits.memory_bytes >> 20);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "admission");
	*t = (struct admission_ticket){ .admission = a,
					.kind = kind,
					.memory_bytes = memory_bytes,
					.fn = fn,
					.arg = arg };
	/* Nobody goes before those who wait. */
	if (!a->waiting && fits(a, t)) {
		admit(t);
		*ret = t;
		return 1;
	}
	if (kind != ADMISSION_IN && a->waiting >= a->limits.queue) {
		free(t);
		return refuse(a, err);
	}
	caller = caller ? caller : "";
	line = find_caller(a, caller);
	if (!line && a->callers >= ADMISSION_CALLERS_MAX)
		line = a->turn->prev;
	if (!line)
		line = add_caller(a, caller);
	if (!line) {
		free(t);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "admission");
	}
	enqueue(line, t);
	/* What waits for memory lets a smaller one pass. */
	grant_soon(a);
	*ret = t;
	return 0;
}

int admission_room(const struct admission *a, struct sbx_err *err)
{
	bool now = !a->waiting && a->running < a->limits.executions;

	return now || a->waiting < a->limits.queue ? 0 : refuse(a, err);
}

int admission_hold(struct admission *a, size_t bytes, struct sbx_err *err)
{
	if (bytes > ADMISSION_WAITING_BYTES - a->waiting_bytes)
		return err_set(err, SBX_AT_BUSY, EAGAIN,
			       "requests of %u MiB wait already; try again in %u s",
			       ADMISSION_WAITING_BYTES >> 20, admission_retry_after(a));
	a->waiting_bytes += bytes;
	return 0;
}

void admission_drop(struct admission *a, size_t *bytes)
{
	a->waiting_bytes -= *bytes;
	*bytes = 0;
}

int admission_weigh(struct admission_ticket *t, size_t bytes, struct sbx_err *err)
{
	int r = t->caller ? admission_hold(t->admission, bytes, err) : 0;

	if (t->caller && r == 0)
		t->bytes += bytes;
	return r;
}

void admission_done(struct admission_ticket **ticket)
{
	struct admission_ticket *t = *ticket;
	struct admission *a;

	*ticket = NULL;
	if (!t)
		return;
	a = t->admission;
	if (t->caller)
		dequeue(t);
	if (t->admitted) {
		a->promised -= t->memory_bytes;
		if (t->kind == ADMISSION_SESSION) {
			a->promised_sessions -= t->memory_bytes;
			a->sessions--;
		} else {
			a->running--;
			a->run_us += ((double)(loop_now_us() - t->since_us) - a->run_us) /
				     16;
		}
	}
	free(t);
	grant_soon(a);
}

unsigned admission_retry_after(const struct admission *a)
{
	double seconds;

	if (!a)
		return 1;
	seconds = a->run_us / 1e6 * (double)(a->waiting + 1) /
		  (double)(a->limits.executions ? a->limits.executions : 1);
	if (!(seconds < RETRY_MAX_S))
		return RETRY_MAX_S;
	return (unsigned)seconds + 1;
}

json_t *admission_describe(const struct admission *a)
{
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "running",
		(json_int_t)a->running, "waiting", (json_int_t)a->waiting,
		"callers_waiting", (json_int_t)a->callers, "sessions",
		(json_int_t)a->sessions, "promised_bytes", (json_int_t)a->promised,
		"memory_bytes", (json_int_t)a->limits.memory_bytes, "executions",
		(json_int_t)a->limits.executions, "queue", (json_int_t)a->limits.queue);
}
