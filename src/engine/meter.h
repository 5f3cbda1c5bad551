/* SPDX-License-Identifier: MIT
 * What a program uses: read from its jail's cgroup, or, where there is none, told by the jail's
 * supervisor. Sampled every 20 ms, less often once the run is long. Engine, on its
 * loop. */
#ifndef SBX_ENGINE_METER_H
#define SBX_ENGINE_METER_H

#include "base/loop.h"
#include "jail/cgroup.h"
#include "zygote/messages.h"

#define METER_FIRST_MS 20u

struct meter;
struct meter_usage {
	uint64_t memory_bytes,
		memory_peak_bytes; /* the program's own: what was there before it is taken off */
	uint64_t cpu_us;
	uint64_t
		written_bytes; /* as far as the kernel counted write(2) and its kin when we looked, or see execution.c */
	uint32_t processes, processes_peak;
	uint64_t oom_kills, memory_refused, processes_refused;
};
typedef void (*meter_fn)(void *arg, const struct meter_usage *usage);

struct meter {
	struct loop *loop;
	const struct cgroup_host *host; /* NULL: supervised */
	uint32_t index;
	int pidfd; /* of the worker, borrowed */
	meter_fn fn;
	void *arg;
	struct loop_timer *timer;
	uint64_t started_us;
	uint64_t base_memory_bytes, base_cpu_us; /* before the first program */
	/* What the programs before have used: sums and peaks since base. */
	struct meter_usage before;
	struct meter_usage all;   /* sums and peaks of all of them */
	struct meter_usage usage; /* of this one */
	int32_t pid;
};

/* Reads what is there before the program. The group's usage, for the limit to be set
 * above it, is in base_memory_bytes. host: NULL or version NONE where the supervisor
 * tells. */
void meter_begin(struct meter *meter, struct loop *loop, const struct cgroup_host *host,
		 uint32_t index, int pidfd, meter_fn fn, void *arg);
void meter_renew(struct meter *meter); /* the next program of a session */
void meter_start(struct meter *meter); /* the program runs: samples from here on */
void meter_report(struct meter *meter,
		  const struct init_report *report); /* the supervisor's sample */
void meter_read(struct meter *meter);                /* now */
void meter_stop(struct meter *meter);

#endif
