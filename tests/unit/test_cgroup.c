/* SPDX-License-Identifier: MIT
 * Purpose: unit tests of src/jail/cgroup.c and cgroup_host.c: finding the hierarchies in
 *   texts of other machines, v2's files in a made-up directory, and, as root, real
 *   processes under real limits.
 * Process: one and its children. Makes groups `sandbox-test-<pid>` only and removes
 * them. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "jail/cgroup.h"

#define MIB (1024u * 1024u)

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ---- where the hierarchies are ---- */

static struct cgroup_place parsed(const char *mounts, const char *own)
{
	struct cgroup_place place;

	cgroup_place_parse(mounts, own, "/sys/fs/cgroup", &place);
	return place;
}

static void place_v2(void **state)
{
	const char *mounts =
		"22 1 0:21 / /proc rw,relatime shared:2 - proc proc rw\n"
		"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:7 - cgroup2 cgroup2 rw,nsdelegate\n";
	struct cgroup_place p;

	(void)state;
	p = parsed(mounts, "0::/user.slice/user-1000.slice/session-3.scope\n");
	assert_string_equal(p.v2_mount, "/sys/fs/cgroup");
	assert_string_equal(p.v2_own, "/user.slice/user-1000.slice/session-3.scope");
	assert_string_equal(p.v1_own[0], "");
	/* At the top; and outside of the cgroup namespace, which the top stands for. */
	p = parsed(mounts, "0::/\n");
	assert_string_equal(p.v2_own, "");
	p = parsed(mounts, "0::/../../system.slice\n");
	assert_string_equal(p.v2_own, "");
	/* A container with a mount of its own group. */
	p = parsed("30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
		   "0::/docker/abc/inner\n");
	assert_string_equal(p.v2_own, "/inner");
	p = parsed("30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
		   "0::/docker/abcd\n");
	assert_string_equal(p.v2_own, "");
}

static void place_v1(void **state)
{
	const char *mounts =
		"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
		"32 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		"33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
		"34 31 0:31 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		"35 31 0:32 / /sys/fs/cgroup/pids\\040here rw - cgroup cgroup rw,pids\n"
		"36 31 0:33 / /elsewhere/pids rw - cgroup cgroup rw,pids\n";
	const char *own =
		"5:memory:/docker/x/y\n4:cpu,cpuacct:/user.slice\n3:pids:/a:b\n2:name=systemd:/q\n0::/u\n";
	struct cgroup_place p = parsed(mounts, own);

	(void)state;
	assert_string_equal(p.v1_own[0], "/sys/fs/cgroup/memory/y");
	assert_string_equal(p.v1_own[1], "/sys/fs/cgroup/cpu,cpuacct/user.slice");
	assert_string_equal(p.v1_own[2], "/sys/fs/cgroup/cpu,cpuacct/user.slice");
	assert_string_equal(p.v1_own[3], "/sys/fs/cgroup/pids here/a:b");
	assert_string_equal(p.v2_mount, "/sys/fs/cgroup/unified");
	assert_string_equal(p.v2_own, "/u");
}

static void place_malformed(void **state)
{
	static const char *const mounts[] = {
		"",
		"\n\n",
		"30",
		"30 23 0:26 / /sys/fs/cgroup rw -",
		"30 23 0:26 / /sys/fs/cgroup rw - cgroup2",
		"30 23 0:26 / /sys/fs/cgroupx rw - cgroup2 c rw\n",
		"- - - - - - - - - - - -\n",
		"30 23 0:26 / \\",
		"30 23 0:26 / /sys/fs/cgroup/\\04 rw - cgroup cgroup rw,memoryx\n",
	};
	static const char *const owns[] = {
		"", ":", "::", "0:", "0::", "0::relative\n", "5:memory\n", "x\n\n"
	};
	char *longest = malloc(4096);
	struct cgroup_place p;
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		for (k = 0; k < sizeof(owns) / sizeof(owns[0]); k++) {
			p = parsed(mounts[i], owns[k]);
			assert_string_equal(p.v2_mount, "");
			assert_string_equal(p.v1_own[0], "");
		}
	}
	/* A path that does not fit is none. */
	assert_non_null(longest);
	(void)snprintf(longest, 4096, "0::/%04000d\n", 1);
	p = parsed("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n", longest);
	assert_string_equal(p.v2_mount, "");
	free(longest);
}

static void nothing_mounted(void **state)
{
	struct cgroup_place place = { 0 };
	struct cgroup_usage usage;
	struct cgroup_host host;
	struct sbx_err err;
	char why[256];

	(void)state;
	cgroup_host_make_at(&host, &place, "test", getuid(), NULL, NULL, why);
	assert_int_equal(host.version, CGROUP_NONE);
	assert_string_equal(cgroup_name(&host), "none");
	assert_true(strlen(why) > 10);
	assert_int_equal(cgroup_make(&host, 1, &err), -ENOTSUP);
	assert_int_equal(cgroup_set_memory(&host, 1, 1, &err), -ENOTSUP);
	assert_int_equal(cgroup_set_cpu(&host, 1, 1, &err), -ENOTSUP);
	assert_int_equal(cgroup_set_processes(&host, 1, 1, &err), -ENOTSUP);
	assert_int_equal(cgroup_usage(&host, 1, &usage), -ENOTSUP);
	assert_int_equal(cgroup_remove(&host, 1), 0);
	assert_int_equal(cgroup_host_remove(&host), 0);
	cgroup_host_make_at(&host, &place, "../x", getuid(), NULL, NULL, why);
	assert_int_equal(host.version, CGROUP_NONE);
}

/* ---- v2's files, in a directory of our own ---- */

struct fake {
	struct cgroup_host host;
	char dir[64];
};

static const char *const fake_files[] = {
	"memory.max",  "memory.swap.max", "memory.oom.group", "memory.current",
	"memory.peak", "memory.events",   "cpu.max",          "cpu.stat",
	"pids.max",    "pids.current",    "pids.peak",        "pids.events",
	"cgroup.kill", "cgroup.procs"
};

static void fake_write(const struct fake *f, const char *file, const char *text)
{
	char path[256];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/j7/%s", f->dir, file);
	out = fopen(path, "w");
	assert_non_null(out);
	(void)fputs(text, out);
	(void)fclose(out);
}

static void assert_file(const struct fake *f, const char *file, const char *want)
{
	char path[256], text[256] = "";
	FILE *in;

	(void)snprintf(path, sizeof(path), "%s/j7/%s", f->dir, file);
	in = fopen(path, "r");
	assert_non_null(in);
	(void)!fgets(text, sizeof(text), in);
	(void)fclose(in);
	assert_string_equal(text, want);
}

static int fake_make(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));
	char path[128];
	size_t i;

	if (!f)
		return -1;
	strcpy(f->dir, "/tmp/test-cgroup-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->host.version = CGROUP_V2;
	f->host.controllers = CGROUP_MEMORY | CGROUP_CPU | CGROUP_CPUACCT | CGROUP_PIDS;
	strcpy(f->host.memory, f->dir);
	strcpy(f->host.cpu, f->dir);
	strcpy(f->host.cpuacct, f->dir);
	strcpy(f->host.pids, f->dir);
	(void)snprintf(path, sizeof(path), "%s/j7", f->dir);
	if (mkdir(path, 0755) < 0)
		return -1;
	for (i = 0; i < sizeof(fake_files) / sizeof(fake_files[0]); i++)
		fake_write(f, fake_files[i], "");
	*state = f;
	return 0;
}

static int fake_remove(void **state)
{
	struct fake *f = *state;
	char path[128];
	size_t i;

	for (i = 0; i < sizeof(fake_files) / sizeof(fake_files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/j7/%s", f->dir, fake_files[i]);
		(void)unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/j7", f->dir);
	(void)rmdir(path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void v2_limits(void **state)
{
	struct fake *f = *state;
	struct sbx_err err;
	const char *bases[CGROUP_CONTROLLERS];

	assert_int_equal(cgroup_bases(&f->host, bases), 1);
	fake_write(f, "memory.current", "5000000\n");
	assert_int_equal(cgroup_set_memory(&f->host, 7, 10000000, &err), 0);
	assert_file(f, "memory.max", "10000000");
	assert_int_equal(cgroup_set_memory(&f->host, 7, 4000000, &err), -EBUSY);
	assert_file(f, "memory.max", "10000000");
	assert_int_equal(cgroup_set_processes(&f->host, 7, 32, &err), 0);
	assert_file(f, "pids.max", "32");
	assert_int_equal(cgroup_enter(&f->host, 7, 4711, &err), 0);
	assert_file(f, "cgroup.procs", "4711");
	assert_int_equal(cgroup_set_memory(&f->host, 8, 4000000, &err), -ENOENT);
	assert_int_equal(err.stage, SBX_AT_WALL);
}

static void v2_cpu(void **state)
{
	static const struct {
		double percent;
		const char *want;
	} cases[] = {
		{ 50, "10000 20000" },         { 100, "20000 20000" },
		{ 250, "50000 20000" },        { 10, "2000 20000" },
		{ 5, "1000 20000" },           { 2, "1000 50000" },
		{ 1, "1000 100000" },          { 0.1, "1000 1000000" },
		{ 0.001, "1000 1000000" },     { 33.3, "6660 20000" },
		{ 1e300, "2000000000 20000" },
	};
	struct fake *f = *state;
	struct sbx_err err;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_write(f, "cpu.max", "");
		assert_int_equal(cgroup_set_cpu(&f->host, 7, cases[i].percent, &err), 0);
		assert_file(f, "cpu.max", cases[i].want);
	}
	assert_int_equal(cgroup_set_cpu(&f->host, 7, 0, &err), -EINVAL);
	assert_int_equal(cgroup_set_cpu(&f->host, 7, -5, &err), -EINVAL);
	assert_int_equal(cgroup_set_cpu(&f->host, 7, NAN, &err), -EINVAL);
}

static void v2_usage(void **state)
{
	struct fake *f = *state;
	struct cgroup_usage u;

	fake_write(f, "memory.current", "1048576\n");
	fake_write(f, "memory.peak", "2097152\n");
	fake_write(f, "memory.events",
		   "low 0\nhigh 0\nmax 17\noom 2\noom_kill 1\noom_group_kill 1\n");
	fake_write(f, "cpu.stat", "usage_usec 123456\nuser_usec 1\nsystem_usec 2\n");
	fake_write(f, "pids.current", "3\n");
	fake_write(f, "pids.peak", "max\n");
	fake_write(f, "pids.events", "max 9\n");
	assert_int_equal(cgroup_usage(&f->host, 7, &u), 0);
	assert_int_equal(u.memory_bytes, 1048576);
	assert_int_equal(u.memory_peak_bytes, 2097152);
	assert_int_equal(u.memory_refused, 17);
	assert_int_equal(u.oom_kills, 1);
	assert_int_equal(u.cpu_us, 123456);
	assert_int_equal(u.processes, 3);
	assert_int_equal(u.processes_peak, UINT32_MAX);
	assert_int_equal(u.processes_refused, 9);
	/* Older kernels have no peaks; malformed is as good as missing. */
	fake_write(f, "memory.peak", "x\n");
	fake_write(f, "memory.events", "");
	assert_int_equal(cgroup_usage(&f->host, 7, &u), 0);
	assert_int_equal(u.memory_peak_bytes, 0);
	assert_int_equal(u.oom_kills, 0);
	assert_int_equal(cgroup_usage(&f->host, 8, &u), -ENOENT);
	fake_write(f, "cpu.max", "");
	assert_int_equal(cgroup_kill(&f->host, 7), 0);
	assert_file(f, "cpu.max", "max");
	assert_file(f, "cgroup.kill", "1");
}

/* ---- real groups ---- */

static struct cgroup_host real;
static char real_why[256];
static char real_id[32];

/* As the broker says that an instance lives: a sandbox that starts beside this test would
 * sweep its groups. */
static int claim(const char *id)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1,
			 "interpreter-sandbox/%s", id);

	if (fd >= 0 &&
	    bind(fd, (struct sockaddr *)&name,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) < 0)
		(void)fprintf(stderr, "%s is claimed already\n", id);
	return fd;
}

static int real_make(void **state)
{
	(void)state;
	(void)snprintf(real_id, sizeof(real_id), "test-%d", (int)getpid());
	(void)claim(real_id);
	cgroup_host_make(&real, real_id, getuid(), NULL, NULL, real_why);
	return 0;
}

static int real_remove(void **state)
{
	(void)state;
	return real.version == CGROUP_NONE ? 0 : cgroup_host_remove(&real);
}

static void need(unsigned controllers)
{
	if ((real.controllers & controllers) == controllers)
		return;
	print_message("skipped: %s\n",
		      real_why[0] ? real_why : "a controller is missing here");
	skip();
}

struct child {
	pid_t pid;
	int go, said;
};

/* Runs fn in a child that is in group index before, once release() says so. */
static struct child start(uint32_t index, int (*fn)(void *arg), void *arg)
{
	struct child c;
	struct sbx_err err = { 0 };
	int go[2], said[2];

	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		char ch;

		(void)close(go[1]);
		if (read(go[0], &ch, 1) != 1)
			_exit(99);
		_exit(fn(arg));
	}
	(void)close(go[0]);
	(void)close(said[1]);
	c.go = go[1];
	c.said = said[0];
	if (cgroup_enter(&real, index, c.pid, &err) < 0)
		fail_msg("%s", err.msg);
	return c;
}

static void release(struct child *c)
{
	assert_int_equal(write(c->go, "", 1), 1);
}

static int finish(struct child *c)
{
	int status = 0;

	(void)close(c->go);
	(void)close(c->said);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void remove_soon(uint32_t index)
{
	int tries, r = -EBUSY;

	for (tries = 0; tries < 200 && r == -EBUSY; tries++) {
		r = cgroup_remove(&real, index);
		(void)usleep(2000);
	}
	assert_int_equal(r, 0);
}

static int touch(void *arg)
{
	size_t bytes = *(size_t *)arg, i;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED)
		return 98;
	(void)madvise(p, bytes, MADV_NOHUGEPAGE);
	for (i = 0; i < bytes; i += 4096)
		p[i] = 1;
	return 0;
}

/* max_memory_mb=10: 2 MB run, 11 MB do not; what the process has before is not
 * charged. */
static void memory(void **state)
{
	static const struct {
		size_t mib;
		bool runs;
	} cases[] = { { 2, true }, { 9, true }, { 11, false }, { 200, false } };
	size_t i, bytes;
	struct cgroup_usage u;
	struct sbx_err err;
	uint32_t index;

	(void)state;
	need(CGROUP_MEMORY);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct child c;
		int status;

		bytes = cases[i].mib * MIB;
		index = 100 + (uint32_t)i;
		assert_int_equal(cgroup_make(&real, index, &err), 0);
		c = start(index, touch, &bytes);
		assert_int_equal(cgroup_usage(&real, index, &u), 0);
		assert_int_equal(
			cgroup_set_memory(&real, index, u.memory_bytes + 10u * MIB, &err),
			0);
		release(&c);
		status = finish(&c);
		assert_int_equal(cgroup_usage(&real, index, &u), 0);
		if (cases[i].runs) {
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
			assert_int_equal(u.oom_kills, 0);
			assert_true(u.memory_peak_bytes == 0 ||
				    u.memory_peak_bytes > bytes);
		} else {
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
			assert_true(u.oom_kills > 0);
			assert_true(u.memory_refused > 0);
		}
		remove_soon(index);
	}
}

static int hold(void *arg)
{
	(void)touch(arg);
	(void)pause();
	return 0;
}

static void memory_below_usage(void **state)
{
	size_t bytes = 8u * MIB;
	struct cgroup_usage u;
	struct sbx_err err;
	struct child c;
	int i;

	(void)state;
	need(CGROUP_MEMORY);
	assert_int_equal(cgroup_make(&real, 2, &err), 0);
	c = start(2, hold, &bytes);
	release(&c);
	for (i = 0; i < 500; i++) {
		assert_int_equal(cgroup_usage(&real, 2, &u), 0);
		if (u.memory_bytes >= bytes)
			break;
		(void)usleep(2000);
	}
	assert_true(u.memory_bytes >= bytes);
	assert_int_equal(cgroup_set_memory(&real, 2, 4u * MIB, &err), -EBUSY);
	/* Up, down, up: v1 has an order for its two files. */
	assert_int_equal(cgroup_set_memory(&real, 2, 40u * MIB, &err), 0);
	assert_int_equal(cgroup_set_memory(&real, 2, 20u * MIB, &err), 0);
	assert_int_equal(cgroup_set_memory(&real, 2, 80u * MIB, &err), 0);
	assert_int_equal(waitpid(c.pid, NULL, WNOHANG), 0);
	/* Busy while it lives; killed by the group; then it goes. */
	assert_int_equal(cgroup_remove(&real, 2), -EBUSY);
	assert_int_equal(cgroup_kill(&real, 2), 0);
	assert_true(WTERMSIG(finish(&c)) == SIGKILL);
	remove_soon(2);
	assert_int_equal(cgroup_usage(&real, 2, &u), -ENOENT);
}

static int spin(void *arg)
{
	volatile bool forever = true;

	(void)arg;
	while (forever)
		;
	return 0;
}

static void cpu_share(void **state)
{
	static const struct {
		double percent;
		int spinners;
	} cases[] = { { 50, 1 }, { 10, 1 }, { 2, 1 }, { 60, 2 } };
	size_t i;

	(void)state;
	need(CGROUP_CPU | CGROUP_CPUACCT);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cgroup_usage before, after;
		uint32_t index = 10 + (uint32_t)i;
		struct child c[2];
		struct sbx_err err;
		uint64_t began;
		double got;
		int k;

		assert_int_equal(cgroup_make(&real, index, &err), 0);
		assert_int_equal(cgroup_set_cpu(&real, index, cases[i].percent, &err), 0);
		for (k = 0; k < cases[i].spinners; k++) {
			c[k] = start(index, spin, NULL);
			release(&c[k]);
		}
		(void)usleep(200000);
		assert_int_equal(cgroup_usage(&real, index, &before), 0);
		began = now_us();
		(void)usleep(1000000);
		assert_int_equal(cgroup_usage(&real, index, &after), 0);
		got = (double)(after.cpu_us - before.cpu_us) * 100 /
		      (double)(now_us() - began);
		began = now_us();
		assert_int_equal(cgroup_kill(&real, index), 0);
		for (k = 0; k < cases[i].spinners; k++)
			(void)finish(&c[k]);
		print_message("%g %% of a core, %d spinning: %.2f %%, ended in %.1f ms\n",
			      cases[i].percent, cases[i].spinners, got,
			      (double)(now_us() - began) / 1000);
		remove_soon(index);
		/* Never more; less only where the machine has other things to do. */
		assert_true(got < cases[i].percent * 1.25 + 0.5);
		assert_true(got > cases[i].percent * 0.4);
	}
}

static int fork_some(void *arg)
{
	int made = 0;

	(void)arg;
	while (made < 20) {
		pid_t pid = fork();

		if (pid < 0)
			break;
		if (pid == 0) {
			(void)pause();
			_exit(0);
		}
		made++;
	}
	if (made == 20 || errno != EAGAIN)
		return 97;
	return made;
}

static void processes(void **state)
{
	struct cgroup_usage u;
	struct sbx_err err;
	struct child c;
	int status;

	(void)state;
	need(CGROUP_PIDS);
	assert_int_equal(cgroup_make(&real, 3, &err), 0);
	assert_int_equal(cgroup_set_processes(&real, 3, 6, &err), 0);
	c = start(3, fork_some, NULL);
	release(&c);
	status = finish(&c);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 5);
	assert_int_equal(cgroup_usage(&real, 3, &u), 0);
	assert_int_equal(u.processes, 5);
	assert_true(u.processes_peak == 6 || u.processes_peak == 0);
	assert_true(u.processes_refused > 0);
	/* The orphans are not ours to wait for; the group tells when they are gone. */
	assert_int_equal(cgroup_kill(&real, 3), 0);
	remove_soon(3);
}

static void made_twice(void **state)
{
	struct sbx_err err;

	(void)state;
	need(CGROUP_MEMORY);
	assert_int_equal(cgroup_make(&real, 4, &err), 0);
	assert_int_equal(cgroup_make(&real, 4, &err), -EEXIST);
	(void)cgroup_remove(&real, 4);
	assert_int_equal(cgroup_remove(&real, 4), 0);
}

static void usage_is_cheap(void **state)
{
	enum { ROUNDS = 200 };
	struct cgroup_usage u;
	struct sbx_err err;
	uint64_t began;
	int i;

	(void)state;
	need(CGROUP_MEMORY);
	assert_int_equal(cgroup_make(&real, 5, &err), 0);
	began = now_us();
	for (i = 0; i < ROUNDS; i++)
		assert_int_equal(cgroup_usage(&real, 5, &u), 0);
	began = now_us() - began;
	print_message("cgroup_usage: %.1f us\n", (double)began / ROUNDS);
	assert_true(began / ROUNDS < 2000);
	began = now_us();
	for (i = 0; i < ROUNDS; i++) {
		remove_soon(5);
		assert_int_equal(cgroup_make(&real, 5, &err), 0);
	}
	remove_soon(5);
}

static bool nobody_lives(void *arg, const char *id)
{
	/* Other tests and real instances are left alone. */
	return strcmp(id, arg) != 0;
}

/* An instance that was killed leaves its groups and a process; the next one to start
 * takes them away. */
static void sweep_dead(void **state)
{
	struct cgroup_host dead, next;
	struct cgroup_usage u;
	char why[256], id[32], next_id[32];
	_cleanup_fd_ int dead_claim = -1, next_claim = -1;
	struct sbx_err err;
	pid_t pid;

	(void)state;
	need(CGROUP_MEMORY);
	(void)snprintf(id, sizeof(id), "test-dead-%d", (int)getpid());
	(void)snprintf(next_id, sizeof(next_id), "test-next-%d", (int)getpid());
	dead_claim = claim(id);
	next_claim = claim(next_id);
	cgroup_host_make(&dead, id, getuid(), NULL, NULL, why);
	assert_int_not_equal(dead.version, CGROUP_NONE);
	assert_int_equal(cgroup_make(&dead, 1, &err), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	assert_int_equal(cgroup_enter(&dead, 1, pid, &err), 0);
	/* Alive: untouched. */
	cgroup_host_make(&next, next_id, getuid(), nobody_lives, (char *)"test-other",
			 why);
	assert_int_equal(cgroup_usage(&dead, 1, &u), 0);
	assert_int_equal(cgroup_host_remove(&next), 0);
	cgroup_host_make(&next, next_id, getuid(), nobody_lives, id, why);
	assert_int_not_equal(next.version, CGROUP_NONE);
	assert_int_equal(cgroup_usage(&dead, 1, &u), -ENOENT);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(cgroup_host_remove(&next), 0);
	assert_int_equal(cgroup_host_remove(&dead), 0);
}

/* The engine's half with nothing but ownership of the base; the broker's as root. */
static void another_owner(void **state)
{
	struct cgroup_host host;
	struct sbx_err err;
	char why[256], id[32];
	_cleanup_fd_ int held = -1;
	pid_t pid;
	int status;

	(void)state;
	need(CGROUP_MEMORY);
	if (geteuid() != 0) {
		print_message("skipped: only root gives groups away\n");
		skip();
	}
	(void)snprintf(id, sizeof(id), "test-owner-%d", (int)getpid());
	held = claim(id);
	cgroup_host_make(&host, id, 1000, NULL, NULL, why);
	assert_int_not_equal(host.version, CGROUP_NONE);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
			_exit(1);
		if (cgroup_make(&host, 1, &err) < 0)
			_exit(2);
		if (cgroup_set_memory(&host, 1, 50u * MIB, &err) < 0)
			_exit(3);
		if ((host.controllers & CGROUP_CPU) &&
		    cgroup_set_cpu(&host, 1, 50, &err) < 0)
			_exit(4);
		if ((host.controllers & CGROUP_PIDS) &&
		    cgroup_set_processes(&host, 1, 5, &err) < 0)
			_exit(5);
		if (cgroup_make(&host, 2, &err) < 0 || cgroup_remove(&host, 2) < 0)
			_exit(6);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(cgroup_host_remove(&host), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(place_v2),
		cmocka_unit_test(place_v1),
		cmocka_unit_test(place_malformed),
		cmocka_unit_test(nothing_mounted),
		cmocka_unit_test_setup_teardown(v2_limits, fake_make, fake_remove),
		cmocka_unit_test_setup_teardown(v2_cpu, fake_make, fake_remove),
		cmocka_unit_test_setup_teardown(v2_usage, fake_make, fake_remove),
		cmocka_unit_test(memory),
		cmocka_unit_test(memory_below_usage),
		cmocka_unit_test(cpu_share),
		cmocka_unit_test(processes),
		cmocka_unit_test(made_twice),
		cmocka_unit_test(usage_is_cheap),
		cmocka_unit_test(sweep_dead),
		cmocka_unit_test(another_owner),
	};

	return cmocka_run_group_tests_name("cgroup", tests, real_make, real_remove);
}
