/* SPDX-License-Identifier: MIT
 * Purpose: unit tests of src/jail/walls.c and walls_probe.c: the table is whole, every
 *   probe answers with a sentence, leaves nothing behind and is quick; as the user that
 *   runs the test and, from root, as an ordinary one.
 * Process: one and its children. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "jail/walls.h"
#include "zygote/messages.h"

static int open_fds(void)
{
	int fd, count = 0;

	for (fd = 0; fd < 512; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void whole(void **state)
{
	unsigned bits = 0;
	size_t i;

	(void)state;
	for (i = 0; i < wall_count; i++) {
		assert_int_equal(bits & walls[i].bit, 0);
		assert_int_equal(walls[i].bit & (walls[i].bit - 1), 0);
		bits |= walls[i].bit;
		assert_true(walls[i].name[0] && walls[i].name_zh[0] &&
			    walls[i].enforced[0]);
		assert_true(walls[i].probed_with[0] && walls[i].remedy[0] &&
			    walls[i].remedy_zh[0]);
		assert_non_null(walls[i].probe);
	}
	assert_int_equal(bits, WALL_ALL);
}

/* How many rows are wrong. */
static int try_all(void)
{
	struct utsname before, after;
	struct rlimit files_before, files_after;
	int fds = open_fds(), wrong = 0;
	unsigned standing = 0, quick;
	uint64_t began;
	size_t i;

	(void)uname(&before);
	(void)getrlimit(RLIMIT_NOFILE, &files_before);
	for (i = 0; i < wall_count; i++) {
		char detail[512] = "";
		int r;

		began = now_us();
		r = walls[i].probe(detail, sizeof(detail));
		print_message("%5u %-18s %3d %6.2f ms  %s\n", (unsigned)geteuid(),
			      walls[i].name, r, (double)(now_us() - began) / 1000,
			      detail);
		wrong += r > 0 || detail[0] == '\0' || now_us() - began > 2500000;
		if (r == 0)
			standing |= walls[i].bit;
		/* A short buffer is kept to. */
		detail[8] = 'x';
		(void)walls[i].probe(detail, 8);
		wrong += detail[7] != '\0' || detail[8] != 'x';
	}
	began = now_us();
	quick = walls_standing();
	print_message("walls_standing: %#x in %.2f ms\n", quick,
		      (double)(now_us() - began) / 1000);
	wrong += quick != standing;
	wrong += open_fds() != fds;
	wrong += waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD;
	(void)uname(&after);
	(void)getrlimit(RLIMIT_NOFILE, &files_after);
	wrong += memcmp(&before, &after, sizeof(before)) != 0;
	wrong += files_before.rlim_cur != files_after.rlim_cur;
	return wrong;
}

static void as_we_are(void **state)
{
	(void)state;
	assert_int_equal(try_all(), 0);
}

static int in_child(bool (*prepare)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (!prepare())
			_exit(99);
		_exit(try_all());
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static bool become_user(void)
{
	return setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0;
}

/* Where namespaces are refused the rest still answers, and nothing hangs:
 * max_user_namespaces is the user namespace's own to lower, and counts what is below. */
static bool without_namespaces(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[48];

	if (unshare(CLONE_NEWUSER) < 0)
		return false;
	(void)fd_write_file(AT_FDCWD, "/proc/self/setgroups", "deny");
	(void)snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
	if (fd_write_file(AT_FDCWD, "/proc/self/gid_map", map) < 0)
		return false;
	(void)snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
	return fd_write_file(AT_FDCWD, "/proc/self/uid_map", map) == 0 &&
	       fd_write_file(AT_FDCWD, "/proc/sys/user/max_user_namespaces", "0") == 0;
}

static void refused(void **state)
{
	int r = in_child(without_namespaces);

	(void)state;
	if (r == 99) {
		print_message("skipped: user namespaces are refused already\n");
		skip();
	}
	assert_int_equal(r, 0);
}

static void as_a_user(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root becomes another user\n");
		skip();
	}
	assert_int_equal(in_child(become_user), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(as_we_are),
		cmocka_unit_test(as_a_user),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests_name("walls_table", tests, NULL, NULL);
}
