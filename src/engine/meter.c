/* SPDX-License-Identifier: MIT
 * Purpose: usage and samples (meter.h). Process: the engine. Trusts: the kernel's files,
 * the jail's init. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "engine/meter.h"

static void keep_max(uint64_t *peak, uint64_t value)
{
	if (value > *peak)
		*peak = value;
}

/* proc(5), /proc/PID/io: what the process, its threads and its reaped children have
 * written. */
static void read_written(struct meter *m)
{
	char path[48], text[512];
	_cleanup_fd_ int fd = -1;
	const char *line;
	ssize_t n;

	if (m->pid <= 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/io", (int)m->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = fd_read_all(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return;
	text[n] = '\0';
	line = strstr(text, "wchar: ");
	if (line)
		keep_max(&m->all.written_bytes, strtoull(line + 7, NULL, 10));
}

/* A peak of the jail is this program's where it is higher than before it. */
static void keep_peak(uint64_t *peak, uint64_t now, uint64_t all, uint64_t before)
{
	keep_max(peak, now);
	if (all > before)
		keep_max(peak, all);
}

/* What is all of the jail's, less what the programs before have used. */
static void derive(struct meter *m)
{
	const struct meter_usage *all = &m->all, *before = &m->before;
	uint64_t processes = m->usage.processes_peak;

	m->usage.memory_bytes = all->memory_bytes;
	keep_peak(&m->usage.memory_peak_bytes, all->memory_bytes, all->memory_peak_bytes,
		  before->memory_peak_bytes);
	m->usage.processes = all->processes;
	keep_peak(&processes, all->processes, all->processes_peak,
		  before->processes_peak);
	m->usage.processes_peak = (uint32_t)processes;
	m->usage.cpu_us = all->cpu_us - before->cpu_us;
	m->usage.written_bytes = all->written_bytes - before->written_bytes;
	m->usage.memory_refused = all->memory_refused - before->memory_refused;
	m->usage.processes_refused = all->processes_refused - before->processes_refused;
	m->usage.oom_kills = all->oom_kills;
}

void meter_read(struct meter *m)
{
	struct cgroup_usage now;
	struct meter_usage *all = &m->all;

	read_written(m);
	if (m->host && cgroup_usage(m->host, m->index, &now) == 0) {
		all->memory_bytes = now.memory_bytes > m->base_memory_bytes
					    ? now.memory_bytes - m->base_memory_bytes
					    : 0;
		keep_max(&all->memory_peak_bytes, all->memory_bytes);
		if (now.memory_peak_bytes > m->base_memory_bytes)
			keep_max(&all->memory_peak_bytes,
				 now.memory_peak_bytes - m->base_memory_bytes);
		if (now.cpu_us > m->base_cpu_us)
			keep_max(&all->cpu_us, now.cpu_us - m->base_cpu_us);
		all->processes = now.processes;
		if (now.processes_peak > all->processes_peak)
			all->processes_peak = now.processes_peak;
		keep_max(&all->oom_kills, now.oom_kills);
		keep_max(&all->memory_refused, now.memory_refused);
		keep_max(&all->processes_refused, now.processes_refused);
	}
	derive(m);
}

void meter_renew(struct meter *m)
{
	meter_read(m);
	m->before = m->all;
	m->usage = (struct meter_usage){ 0 };
	derive(m);
}

static void on_sample(void *arg)
{
	struct meter *m = arg;
	uint64_t now = loop_now_us(), age = now - m->started_us;
	uint64_t wait = age < 10000000u    ? METER_FIRST_MS * 1000u
			: age < 100000000u ? 100000u
					   : 1000000u;

	meter_read(m);
	if (loop_timer_at(m->loop, &m->timer, now + wait, on_sample, m) < 0)
		meter_stop(m);
	/* Last: it may end the run, and the meter with it. */
	m->fn(m->arg, &m->usage);
}

void meter_begin(struct meter *m, struct loop *loop, const struct cgroup_host *host,
		 uint32_t index, int pidfd, meter_fn fn, void *arg)
{
	struct cgroup_usage now;
	pid_t pid;

	memset(m, 0, sizeof(*m));
	m->loop = loop;
	m->host = host && host->version != CGROUP_NONE ? host : NULL;
	m->index = index;
	m->pidfd = pidfd;
	m->fn = fn;
	m->arg = arg;
	m->all.processes = m->all.processes_peak = 1;
	m->usage = m->all;
	if (fd_pidfd_host_pid(pidfd, &pid) == 0)
		m->pid = (int32_t)pid;
	if (m->host && cgroup_usage(m->host, index, &now) == 0) {
		m->base_memory_bytes = now.memory_bytes;
		m->base_cpu_us = now.cpu_us;
	}
}

void meter_start(struct meter *m)
{
	m->started_us = loop_now_us();
	(void)loop_timer_at(m->loop, &m->timer, m->started_us + METER_FIRST_MS * 1000u,
			    on_sample, m);
}

void meter_report(struct meter *m, const struct init_report *report)
{
	if (m->host)
		return;
	m->all.memory_bytes = report->memory_bytes;
	keep_max(&m->all.memory_peak_bytes, report->memory_bytes);
	keep_max(&m->all.cpu_us, report->cpu_us);
	m->all.processes = report->processes;
	if (report->processes_peak > m->all.processes_peak)
		m->all.processes_peak = report->processes_peak;
	derive(m);
}

void meter_stop(struct meter *m)
{
	loop_timer_cancel(&m->timer);
}
