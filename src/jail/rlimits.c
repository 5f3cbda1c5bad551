/* SPDX-License-Identifier: MIT
 * Purpose: wall: rlimits (rlimits.h).
 * Process: the worker, single-threaded. child-safe: system calls only.
 * Trusts: the engine's numbers.
 * Invariants: soft and hard limit are the same afterwards, so that nothing inside can
 *   raise one; none is above the hard limit that was there, since a root without
 *   CAP_SYS_RESOURCE could not raise it. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "jail/rlimits.h"

/* The kernel's struct rlimit64; glibc's differs with _FILE_OFFSET_BITS. */
struct limit {
	uint64_t soft, hard;
};

static int limit_call(int resource, const struct limit *set, struct limit *get)
{
	return (int)syscall(SYS_prlimit64, 0, resource, set, get);
}

/* VmData in bytes. Without a /proc, or with one that shows something else, -1. */
static int data_from_proc(uint64_t *ret)
{
	_cleanup_fd_ int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	char text[4096];
	const char *at;
	uint64_t kib = 0;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = fd_read_all(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -1;
	text[n] = '\0';
	at = strstr(text, "\nVmData:");
	if (!at)
		return -1;
	at += strlen("\nVmData:");
	while (*at == ' ' || *at == '\t')
		at++;
	if (*at < '0' || *at > '9')
		return -1;
	while (*at >= '0' && *at <= '9' && kib < UINT64_MAX / 1024 / 16)
		kib = kib * 10 + (uint64_t)(*at++ - '0');
	if (strncmp(at, " kB\n", 4) != 0)
		return -1;
	*ret = kib * 1024;
	return 0;
}

/* Whether one more private page fits when RLIMIT_DATA is `bytes`; -1 with errno. */
static int page_fits(uint64_t bytes, uint64_t hard, size_t page)
{
	const struct limit limit = { .soft = bytes, .hard = hard };
	void *at;

	if (limit_call(RLIMIT_DATA, &limit, NULL) < 0)
		return -1;
	at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return errno == ENOMEM ? 0 : -1;
	return munmap(at, page) < 0 ? -1 : 1;
}

/* The same asked of the limit itself, for jails whose /proc the kernel denies (a
 * container with a masked one): the smallest limit under which one more page fits is that
 * page above VmData. The soft limit is set anew by the caller either way. */
static int data_from_limit(const struct limit *now, uint64_t *ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t low = 0, high = 1024, most = now->hard / page;
	int fits;

	/* In pages: at `low` it does not fit, at `high` it does. */
	while ((fits = page_fits((high < most ? high : most) * page, now->hard, page)) ==
	       0) {
		if (high >= most)
			break; /* no room below the hard limit, which is tight enough then */
		low = high;
		high *= 2;
	}
	if (high > most)
		high = most;
	while (fits >= 0 && high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		fits = page_fits(middle * page, now->hard, page);
		if (fits > 0)
			high = middle;
		else
			low = middle;
	}
	if (fits < 0)
		return -1;
	*ret = (high > 0 ? high - 1 : 0) * page;
	return 0;
}

static int lower(int resource, uint64_t value, const char *what, struct sbx_err *err)
{
	struct limit now, got;

	if (limit_call(resource, NULL, &now) < 0)
		return err_set_plain(err, SBX_AT_WALL, errno, what);
	if (value > now.hard)
		value = now.hard;
	now = (struct limit){ .soft = value, .hard = value };
	if (limit_call(resource, &now, NULL) < 0 || limit_call(resource, NULL, &got) < 0)
		return err_set_plain(err, SBX_AT_WALL, errno, what);
	if (got.soft != value || got.hard != value)
		return err_set_plain(err, SBX_AT_WALL, EPERM, what);
	return 0;
}

static int lower_data(uint64_t above, struct sbx_err *err)
{
	struct limit now;
	uint64_t present;

	if (limit_call(RLIMIT_DATA, NULL, &now) < 0)
		return err_set_plain(err, SBX_AT_WALL, errno, "RLIMIT_DATA");
	if (data_from_proc(&present) < 0 && data_from_limit(&now, &present) < 0)
		return err_set_plain(err, SBX_AT_WALL, errno, "measuring VmData");
	return lower(RLIMIT_DATA,
		     above > UINT64_MAX - present ? UINT64_MAX : present + above,
		     "RLIMIT_DATA", err);
}

int rlimits_apply(const struct rlimits *limits, struct sbx_err *err)
{
	const struct {
		int resource;
		uint64_t value;
		bool set;
		const char *what;
	} all[] = {
		/* 1, not 0: the one value that stops a piped core_pattern too
		 * (core(5)). */
		{ RLIMIT_CORE, 1, true, "RLIMIT_CORE" },
		/* What one jail could take from the machine or a neighbour: locked pages,
		 * queued signals and timers (both counted by user), real time, priority,
		 * message queues. */
		{ RLIMIT_MEMLOCK, 65536, true, "RLIMIT_MEMLOCK" },
		{ RLIMIT_SIGPENDING, 256, true, "RLIMIT_SIGPENDING" },
		{ RLIMIT_RTPRIO, 0, true, "RLIMIT_RTPRIO" },
		{ RLIMIT_NICE, 0, true, "RLIMIT_NICE" },
		{ RLIMIT_MSGQUEUE, 0, true, "RLIMIT_MSGQUEUE" },
		{ RLIMIT_NPROC, limits->processes, limits->processes > 0,
		  "RLIMIT_NPROC" },
		{ RLIMIT_FSIZE, limits->file_bytes, limits->file_bytes > 0,
		  "RLIMIT_FSIZE" },
	};
	size_t i;
	int r;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!all[i].set)
			continue;
		r = lower(all[i].resource, all[i].value, all[i].what, err);
		if (r < 0)
			return r;
	}
	if (limits->data_bytes > 0) {
		r = lower_data(limits->data_bytes, err);
		if (r < 0)
			return r;
	}
	/* After the look at /proc, which takes a descriptor. */
	return lower(RLIMIT_NOFILE, limits->open_files, "RLIMIT_NOFILE", err);
}
