/* SPDX-License-Identifier: MIT
 * Purpose: the jails' half of the cgroup wall (cgroup.h): groups `j<index>`, their
 * limits, their usage.
 * Process: the engine, unprivileged owner of the base directory; cgroup_enter() alone is
 * the broker's.
 * Trusts: the kernel's files. Numbers in them are parsed with bounds all the same.
 * Invariants: no heap and no state: a path is made, opened, used and closed. v1's four
 *   hierarchies may share directories (cpu,cpuacct); each directory is touched once. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "jail/cgroup.h"

#define FILE_PATH (CGROUP_PATH + 64)
#define DIR_PATH (2 * CGROUP_PATH + 64)
#define PIDS_TEXT \
	16384 /* of cgroup.procs, read in one piece: more than 1,000 processes */

const char *const cgroup_controller_names[CGROUP_CONTROLLERS] = { "memory", "cpu",
								  "cpuacct", "pids" };

const char *cgroup_name(const struct cgroup_host *host)
{
	return host->version == CGROUP_V2   ? "cgroup2"
	       : host->version == CGROUP_V1 ? "cgroup1"
					    : "none";
}

size_t cgroup_bases(const struct cgroup_host *host, const char *ret[CGROUP_CONTROLLERS])
{
	const char *const all[] = { host->memory, host->cpu, host->cpuacct, host->pids };
	size_t count = 0, i, k;

	for (i = 0; i < CGROUP_CONTROLLERS; i++) {
		for (k = 0; k < count; k++)
			if (strcmp(ret[k], all[i]) == 0)
				break;
		if (k == count && all[i][0] != '\0')
			ret[count++] = all[i];
	}
	return count;
}

/* ---- files of a group ---- */

static void file_path(char ret[FILE_PATH], const char *base, uint32_t index,
		      const char *file)
{
	(void)snprintf(ret, FILE_PATH, "%s/j%u%s%s", base, index, file[0] ? "/" : "",
		       file);
}

static int put(const char *base, uint32_t index, const char *file, const char *text)
{
	char path[FILE_PATH];

	file_path(path, base, index, file);
	return fd_write_file(AT_FDCWD, path, text);
}

static int put_number(const char *base, uint32_t index, const char *file, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return put(base, index, file, text);
}

static ssize_t get(const char *base, uint32_t index, const char *file, char *ret,
		   size_t size)
{
	char path[FILE_PATH];
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	file_path(path, base, index, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* One read(2): such a file comes whole, and a second one to see the end would
	 * double the price. */
	do
		n = read(fd, ret, size - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	ret[n] = '\0';
	return n;
}

/* "max" reads as the largest number. */
static int get_number(const char *base, uint32_t index, const char *file, uint64_t *ret)
{
	char text[64], *end;
	ssize_t n = get(base, index, file, text, sizeof(text));
	unsigned long long value;

	if (n < 0)
		return (int)n;
	if (strncmp(text, "max", 3) == 0) {
		*ret = UINT64_MAX;
		return 0;
	}
	errno = 0;
	value = strtoull(text, &end, 10);
	if (end == text || errno)
		return -EBADMSG;
	*ret = value;
	return 0;
}

/* The number behind `key ` at the start of a line. */
static uint64_t keyed(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && *text) {
		if (strncmp(text, key, len) == 0 && text[len] == ' ')
			return strtoull(text + len + 1, NULL, 10);
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return 0;
}

/* ---- making ---- */

/* Best effort of a kind that weakens nothing: what these files would say is repeated by
 * the limit itself, or they are missing where the kernel has no swap to give. */
static void prepare_memory(const struct cgroup_host *host, uint32_t index)
{
	if (host->version == CGROUP_V2) {
		/* 4.19: one process that meets the limit takes the whole jail with it, so
		 * that no program goes on with a part of itself missing. v1 has no such
		 * thing: there the engine acts on oom_kills. */
		(void)put(host->memory, index, "memory.oom.group", "1");
		(void)put(host->memory, index, "memory.swap.max", "0");
	} else {
		(void)put(host->memory, index, "memory.swappiness", "0");
	}
}

int cgroup_make(const struct cgroup_host *host, uint32_t index, struct sbx_err *err)
{
	const char *bases[CGROUP_CONTROLLERS];
	size_t count = cgroup_bases(host, bases), i;
	char path[FILE_PATH];

	if (count == 0)
		return err_set(err, SBX_AT_WALL, ENOTSUP,
			       "cgroups are not to be had here");
	for (i = 0; i < count; i++) {
		file_path(path, bases[i], index, "");
		/* One that is there already is a leftover with limits and counts of its
		 * own. */
		if (mkdir(path, 0755) < 0) {
			int r = err_set(err, SBX_AT_JAIL, errno, "making the group %s",
					path);

			(void)cgroup_remove(host, index);
			return r;
		}
	}
	if (host->controllers & CGROUP_MEMORY)
		prepare_memory(host, index);
	return 0;
}

int cgroup_enter(const struct cgroup_host *host, uint32_t index, pid_t pid,
		 struct sbx_err *err)
{
	const char *bases[CGROUP_CONTROLLERS];
	size_t count = cgroup_bases(host, bases), i;
	int r;

	if (pid <= 0 || count == 0)
		return err_set(err, SBX_AT_JAIL, EINVAL,
			       "no process or no group to enter");
	for (i = 0; i < count; i++) {
		r = put_number(bases[i], index, "cgroup.procs", (uint64_t)pid);
		if (r < 0)
			return err_set(err, SBX_AT_JAIL, -r,
				       "moving process %d into %s/j%u", (int)pid,
				       bases[i], index);
	}
	return 0;
}

/* ---- limits ---- */

static int v1_set_memory(const char *base, uint32_t index, uint64_t bytes)
{
	/* Memory and swap together get a page more than memory alone: they are charged
	 * first, and the refusal is to be the one that memory.failcnt counts. Missing
	 * where swap is not accounted for; swappiness 0 then keeps the group out of
	 * it. */
	const uint64_t both = bytes + 4096;
	uint64_t now;
	int r = get_number(base, index, "memory.limit_in_bytes", &now);

	if (r < 0)
		return r;
	/* Together they may never be below memory alone: upwards they go first. */
	if (bytes > now) {
		r = put_number(base, index, "memory.memsw.limit_in_bytes", both);
		if (r < 0 && r != -ENOENT && r != -EOPNOTSUPP)
			return r;
	}
	r = put_number(base, index, "memory.limit_in_bytes", bytes);
	if (r < 0)
		return r;
	r = put_number(base, index, "memory.memsw.limit_in_bytes", both);
	return r == -ENOENT || r == -EOPNOTSUPP ? 0 : r;
}

int cgroup_set_memory(const struct cgroup_host *host, uint32_t index, uint64_t bytes,
		      struct sbx_err *err)
{
	bool v2 = host->version == CGROUP_V2;
	uint64_t used;
	int r;

	if (!(host->controllers & CGROUP_MEMORY))
		return err_set(err, SBX_AT_WALL, ENOTSUP, "no memory controller");
	if (bytes > INT64_MAX)
		bytes = INT64_MAX;
	r = get_number(host->memory, index,
		       v2 ? "memory.current" : "memory.usage_in_bytes", &used);
	/* v2 would kill at once; v1 refuses only after a search for something to
	 * reclaim. */
	if (r == 0 && used > bytes)
		r = -EBUSY;
	if (r == 0)
		r = v2 ? put_number(host->memory, index, "memory.max", bytes)
		       : v1_set_memory(host->memory, index, bytes);
	return r < 0 ? err_set(err, SBX_AT_WALL, -r, "a memory limit of %llu bytes",
			       (unsigned long long)bytes)
		     : 0;
}

/* The quota's period. A program that has used its share waits for the rest of the period,
 * so that the period is what a person or a caller feels: 20 ms is no pause that one
 * notices, and the kernel's default of 100 ms is. Below about 10 ms the scheduler tick (1
 * to 10 ms), at which the use is looked at, and the 5 ms slices that each core takes of
 * the quota would blur the share. The kernel takes no quota below 1 ms (sched-bwc): where
 * 20 ms would need one, below 5 %, the period grows instead, up to its own maximum of 1
 * s. */
static void cpu_quota(double percent, uint64_t *ret_quota_us, uint64_t *ret_period_us)
{
	double period = 20000, quota;

	if (percent < 5)
		period = percent > 0.1 ? 100000 / percent : 1000000;
	quota = percent < 1e7 ? period * percent / 100 : period * 1e5;
	*ret_period_us = (uint64_t)lround(period);
	*ret_quota_us = quota < 1000 ? 1000 : (uint64_t)llround(quota);
}

/* v1 refuses a share that is larger than that of a group above. If one above has less
 * than what is asked for, it keeps the limit on its own. */
static bool v1_kept_above(const char *base, double percent)
{
	char path[FILE_PATH];
	long long quota, period;
	char *cut;

	(void)snprintf(path, sizeof(path), "%s", base);
	for (;;) {
		char file[FILE_PATH + 32], text[32];
		_cleanup_fd_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int i;

		if (dir < 0)
			return false;
		quota = period = 0;
		for (i = 0; i < 2; i++) {
			_cleanup_fd_ int fd = -1;
			ssize_t n;

			(void)snprintf(file, sizeof(file), "cpu.cfs_%s_us",
				       i ? "period" : "quota");
			fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				return false; /* the root has none: nothing is left to look at */
			n = fd_read_all(fd, text, sizeof(text) - 1);
			if (n <= 0)
				return false;
			text[n] = '\0';
			*(i ? &period : &quota) = strtoll(text, NULL, 10);
		}
		if (quota > 0 && period > 0 &&
		    (double)quota * 100 / (double)period <= percent)
			return true;
		cut = strrchr(path, '/');
		if (!cut || cut == path)
			return false;
		*cut = '\0';
	}
}

static int v1_set_cpu(const char *base, uint32_t index, double percent, uint64_t quota,
		      uint64_t period)
{
	int r;

	/* Each file is judged with what the other has at that moment: without a quota any
	 * period will do. */
	r = put(base, index, "cpu.cfs_quota_us", "-1");
	if (r == 0)
		r = put_number(base, index, "cpu.cfs_period_us", period);
	if (r == 0)
		r = put_number(base, index, "cpu.cfs_quota_us", quota);
	if (r == -EINVAL && v1_kept_above(base, percent))
		r = 0;
	return r;
}

int cgroup_set_cpu(const struct cgroup_host *host, uint32_t index,
		   double percent_of_a_core, struct sbx_err *err)
{
	uint64_t quota, period;
	char text[64];
	int r;

	if (!(host->controllers & CGROUP_CPU))
		return err_set(err, SBX_AT_WALL, ENOTSUP, "no CPU controller");
	/* Nothing at all would be a program that can never end; not a number is refused
	 * along with it. */
	if (!(percent_of_a_core > 0))
		return err_set(err, SBX_AT_WALL, EINVAL,
			       "a CPU share that is not above 0");
	cpu_quota(percent_of_a_core, &quota, &period);
	if (host->version == CGROUP_V2) {
		(void)snprintf(text, sizeof(text), "%llu %llu", (unsigned long long)quota,
			       (unsigned long long)period);
		r = put(host->cpu, index, "cpu.max", text);
	} else {
		r = v1_set_cpu(host->cpu, index, percent_of_a_core, quota, period);
	}
	return r < 0 ? err_set(err, SBX_AT_WALL, -r, "a CPU share of %g %%",
			       percent_of_a_core)
		     : 0;
}

int cgroup_set_processes(const struct cgroup_host *host, uint32_t index, uint32_t count,
			 struct sbx_err *err)
{
	int r;

	if (!(host->controllers & CGROUP_PIDS))
		return err_set(err, SBX_AT_WALL, ENOTSUP, "no pids controller");
	r = put_number(host->pids, index, "pids.max", count);
	return r < 0 ? err_set(err, SBX_AT_WALL, -r, "a limit of %u processes", count)
		     : 0;
}

/* ---- usage ---- */

static void optional_number(const char *base, uint32_t index, const char *file,
			    uint64_t *ret)
{
	if (get_number(base, index, file, ret) < 0)
		*ret = 0;
}

static uint64_t optional_keyed(const char *base, uint32_t index, const char *file,
			       const char *key)
{
	char text[1024];

	return get(base, index, file, text, sizeof(text)) < 0 ? 0 : keyed(text, key);
}

static void memory_usage(const struct cgroup_host *host, uint32_t index,
			 struct cgroup_usage *ret)
{
	char text[1024];

	if (host->version == CGROUP_V2) {
		optional_number(host->memory, index, "memory.current",
				&ret->memory_bytes);
		optional_number(host->memory, index, "memory.peak",
				&ret->memory_peak_bytes); /* 5.19 */
		if (get(host->memory, index, "memory.events", text, sizeof(text)) >= 0) {
			ret->oom_kills = keyed(text, "oom_kill");
			ret->memory_refused = keyed(text, "max");
		}
		return;
	}
	optional_number(host->memory, index, "memory.usage_in_bytes", &ret->memory_bytes);
	optional_number(host->memory, index, "memory.max_usage_in_bytes",
			&ret->memory_peak_bytes);
	optional_number(host->memory, index, "memory.failcnt", &ret->memory_refused);
	/* 4.13. Not only after a refusal of its own: a group above may have been full. */
	ret->oom_kills = optional_keyed(host->memory, index, "memory.oom_control",
					"oom_kill");
}

int cgroup_usage(const struct cgroup_host *host, uint32_t index, struct cgroup_usage *ret)
{
	const char *bases[CGROUP_CONTROLLERS];
	struct cgroup_usage usage = { 0 };
	char path[FILE_PATH];
	uint64_t value = 0;

	if (cgroup_bases(host, bases) == 0)
		return -ENOTSUP;
	file_path(path, bases[0], index, "");
	if (access(path, F_OK) < 0)
		return -errno;
	if (host->controllers & CGROUP_MEMORY)
		memory_usage(host, index, &usage);
	if (host->version == CGROUP_V2) {
		/* There without any controller. */
		usage.cpu_us = optional_keyed(bases[0], index, "cpu.stat", "usage_usec");
	} else if (host->controllers & CGROUP_CPUACCT) {
		optional_number(host->cpuacct, index, "cpuacct.usage", &value);
		usage.cpu_us = value / 1000;
	}
	if (host->controllers & CGROUP_PIDS) {
		optional_number(host->pids, index, "pids.current", &value);
		usage.processes = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
		optional_number(host->pids, index, "pids.peak", &value); /* 6.1 */
		usage.processes_peak = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
		usage.processes_refused = optional_keyed(host->pids, index, "pids.events",
							 "max");
	}
	*ret = usage;
	return 0;
}

/* ---- ending ---- */

static ssize_t read_procs(const char *dir, char text[PIDS_TEXT])
{
	char path[DIR_PATH];
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/cgroup.procs", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = fd_read_all(fd, text, PIDS_TEXT - 1);
	if (n >= 0)
		text[n] = '\0';
	return n;
}

/* The text is "12\n345\n". */
static bool lists(const char *text, long pid)
{
	while (*text) {
		char *end;
		long value = strtol(text, &end, 10);

		if (end == text)
			return false;
		if (value == pid)
			return true;
		text = *end ? end + 1 : end;
	}
	return false;
}

static int kill_listed(const char *dir)
{
	enum { BATCH = 64 };
	char text[PIDS_TEXT], again[PIDS_TEXT];
	const char *at = text;
	int sent = 0;
	ssize_t n = read_procs(dir, text);

	if (n < 0)
		return (int)n;
	while (*at) {
		int fds[BATCH];
		long pids[BATCH];
		size_t count = 0, i;

		while (*at && count < BATCH) {
			char *end;
			long pid = strtol(at, &end, 10);

			if (end == at)
				return -EBADMSG;
			at = *end ? end + 1 : end;
			/* 0: a process of a pid namespace that is not below ours. */
			if (pid <= 0 || pid == (long)getpid())
				continue;
			fds[count] = k_pidfd_open((pid_t)pid, 0);
			if (fds[count] >= 0)
				pids[count++] = pid;
		}
		/* A number may have become another process's before it was opened. One
		 * that is listed after the opening is the one that was opened, or the one
		 * opened is dead and the signal goes nowhere. */
		n = read_procs(dir, again);
		for (i = 0; i < count; i++) {
			if (n >= 0 && lists(again, pids[i]) &&
			    k_pidfd_send_signal(fds[i], SIGKILL) == 0)
				sent++;
			(void)close(fds[i]);
		}
		if (n < 0)
			return (int)n;
	}
	return sent;
}

int cgroup_kill_group(const char *dir)
{
	char path[DIR_PATH];
	int r;

	if (snprintf(path, sizeof(path), "%s/cgroup.kill", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	r = fd_write_file(AT_FDCWD, path, "1"); /* v2, 5.14 */
	return r == 0 ? 1 : kill_listed(dir);
}

int cgroup_kill(const struct cgroup_host *host, uint32_t index)
{
	const char *bases[CGROUP_CONTROLLERS];
	size_t count = cgroup_bases(host, bases), i;
	char path[FILE_PATH];
	int result = 0;

	/* A process that is out of quota dies when it is its turn again: before 6.18 it
	 * waits inside the kernel. */
	if (host->controllers & CGROUP_CPU)
		(void)put(host->cpu, index,
			  host->version == CGROUP_V2 ? "cpu.max" : "cpu.cfs_quota_us",
			  host->version == CGROUP_V2 ? "max" : "-1");
	/* All of v1's hierarchies: a process may have been on its way into them. */
	for (i = 0; i < count; i++) {
		int r;

		file_path(path, bases[i], index, "");
		r = cgroup_kill_group(path);
		if (r < 0 && r != -ENOENT && r != -ENODEV)
			result = r;
	}
	return result;
}

int cgroup_remove(const struct cgroup_host *host, uint32_t index)
{
	const char *bases[CGROUP_CONTROLLERS];
	size_t count = cgroup_bases(host, bases), i;
	char path[FILE_PATH];
	int result = 0;

	for (i = 0; i < count; i++) {
		file_path(path, bases[i], index, "");
		if (rmdir(path) < 0 && errno != ENOENT)
			result = -errno;
	}
	return result;
}
