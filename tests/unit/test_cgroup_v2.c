/* SPDX-License-Identifier: MIT
 * Purpose: the making of a base group on the kernel's own cgroup v2, also where v1 has
 *   the controllers that matter: the hugetlb controller, which nobody mounts, then stands
 *   for memory. No internal processes, delegation, sweeping.
 * Process: root, and children that become uid 1000. Makes groups `sbxtest-<pid>` at the
 * top of the unified hierarchy. Includes cgroup_host.c itself, to give it that
 * controller. */
#include "jail/cgroup.h"
#define V2_CONTROLLERS                   \
	{                                \
		"hugetlb", CGROUP_MEMORY \
	}
#define V2_WANTED CGROUP_MEMORY
#include "jail/cgroup_host.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static char mount_point[CGROUP_PATH], home[LONG_PATH], why_not[256];
static unsigned handed_down;

static int find_mount(void **state)
{
	_cleanup_free_ char *mounts = NULL;
	struct cgroup_place place;

	(void)state;
	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 4u << 20, &mounts, NULL) < 0)
		return -1;
	cgroup_place_parse(mounts, "0::/\n", TOP, &place);
	memcpy(mount_point, place.v2_mount, sizeof(mount_point));
	(void)snprintf(home, sizeof(home), "%s/sbxtest-%d", mount_point, (int)getpid());
	if (geteuid() != 0)
		(void)snprintf(why_not, sizeof(why_not), "only root makes groups here");
	else if (mount_point[0] == '\0')
		(void)snprintf(why_not, sizeof(why_not),
			       "no unified hierarchy is mounted");
	else if (!(v2_mask(mount_point, "cgroup.controllers") & CGROUP_MEMORY))
		(void)snprintf(why_not, sizeof(why_not),
			       "cgroup v2 has no hugetlb controller to spare");
	else if (handed_down = v2_mask(mount_point, "cgroup.subtree_control"),
		 mkdir(home, 0755) < 0)
		(void)snprintf(why_not, sizeof(why_not), "%.200s: %s", home,
			       strerror(errno));
	return 0;
}

static int remove_home(void **state)
{
	(void)state;
	if (why_not[0])
		return 0;
	if (remove_tree(home, now_ms() + REMOVE_MS, 0) < 0)
		return -1;
	return handed_down ? 0 : put(mount_point, "cgroup.subtree_control", "-hugetlb");
}

static void need(void)
{
	if (why_not[0] == '\0')
		return;
	print_message("skipped: %s\n", why_not);
	skip();
}

/* A child in the group `home` + name, which is made; what fn returns is its exit
 * status. */
static int run_in(const char *name, uid_t uid, int (*fn)(const char *rel, uid_t uid))
{
	char group[LONG_PATH];
	int status;
	pid_t pid;

	(void)snprintf(group, sizeof(group), "%.1000s%s", home, name);
	if (mkdir(group, 0755) < 0 && errno != EEXIST)
		return -1;
	pid = fork();
	if (pid == 0) {
		if (put_pid(group, getpid()) < 0)
			_exit(90);
		if (uid && (chown(group, uid, uid) < 0 || v2_give(group, uid) < 0 ||
			    setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
			_exit(91);
		_exit(fn(group + strlen(mount_point), uid));
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static struct cgroup_place place_of(const char *rel)
{
	struct cgroup_place place = { 0 };

	memcpy(place.v2_mount, mount_point, sizeof(mount_point));
	(void)snprintf(place.v2_own, sizeof(place.v2_own), "%s", rel);
	return place;
}

static bool group_has(const char *dir, pid_t want)
{
	char text[4096], *at = text, *end;

	if (get(dir, "cgroup.procs", text, sizeof(text)) < 0)
		return false;
	for (; *at; at = *end ? end + 1 : end)
		if (strtol(at, &end, 10) == (long)want)
			return true;
		else if (end == at)
			break;
	return false;
}

/* Alone in its group: goes to a leaf, has the base beside it, and is back in the end. */
static int alone(const char *rel, uid_t uid)
{
	struct cgroup_place place = place_of(rel);
	struct cgroup_host host;
	struct cgroup_usage usage;
	struct sbx_err err;
	char why[256], own[LONG_PATH], leaf[LONG_PATH];
	pid_t pid;

	(void)snprintf(own, sizeof(own), "%s%.600s", mount_point, rel);
	(void)snprintf(leaf, sizeof(leaf), "%.700s/sandbox-alone.self", own);
	cgroup_host_make_at(&host, &place, "alone", uid ? uid : 1000, NULL, NULL, why);
	if (host.version != CGROUP_V2) {
		(void)fprintf(stderr, "%s\n", why);
		return 1;
	}
	if (!group_has(leaf, getpid()) || !(host.controllers & CGROUP_MEMORY))
		return 2;
	if (strncmp(host.memory, own, strlen(own)) != 0 ||
	    strcmp(host.memory, host.pids) != 0)
		return 3;
	if (cgroup_make(&host, 1, &err) < 0)
		return 4;
	pid = fork();
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	if (cgroup_enter(&host, 1, pid, &err) < 0)
		return 5;
	if (cgroup_usage(&host, 1, &usage) < 0 || cgroup_remove(&host, 1) != -EBUSY)
		return 6;
	/* Kills the child, by cgroup.kill, and moves us back. */
	if (cgroup_host_remove(&host) < 0 || waitpid(pid, NULL, 0) != pid)
		return 7;
	if (!group_has(own, getpid()) || access(leaf, F_OK) == 0 ||
	    access(host.memory, F_OK) == 0)
		return 8;
	return v2_mask(own, "cgroup.subtree_control") == 0 ? 0 : 9;
}

static void alone_as_root(void **state)
{
	(void)state;
	need();
	assert_int_equal(run_in("/alone", 0, alone), 0);
}

static void alone_as_user(void **state)
{
	(void)state;
	need();
	/* The controller has to be handed down that far by its owner. */
	assert_int_equal(v2_enable(mount_point, &(int){ 0 }) & CGROUP_MEMORY,
			 CGROUP_MEMORY);
	assert_int_equal(v2_enable(home, &(int){ 0 }) & CGROUP_MEMORY, CGROUP_MEMORY);
	assert_int_equal(run_in("/user", 1000, alone), 0);
}

/* With a stranger in the group nobody is moved; root goes to the group above. */
static int shared(const char *rel, uid_t uid)
{
	struct cgroup_place place = place_of(rel);
	struct cgroup_host host;
	char why[256], own[LONG_PATH];
	pid_t pid = fork();
	int r = 0;

	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	(void)snprintf(own, sizeof(own), "%s%.600s", mount_point, rel);
	cgroup_host_make_at(&host, &place, "shared", uid ? uid : 1000, NULL, NULL, why);
	if (!group_has(own, pid) || !group_has(own, getpid()))
		r = 1;
	else if (uid == 0 && (host.version != CGROUP_V2 ||
			      strncmp(host.memory, own, strlen(own)) == 0))
		r = 2;
	else if (uid != 0 &&
		 (host.version != CGROUP_NONE || !strstr(why, "Delegate=yes")))
		r = 3;
	if (host.version != CGROUP_NONE && cgroup_host_remove(&host) < 0)
		r = 4;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return r;
}

static void shared_as_root(void **state)
{
	(void)state;
	need();
	assert_int_equal(run_in("/shared", 0, shared), 0);
}

static void shared_as_user(void **state)
{
	(void)state;
	need();
	assert_int_equal(run_in("/shareduser", 1000, shared), 0);
}

/* A group that we own, while we are in one that we do not: making works, moving does not,
 * and nothing stays. */
static int outside(const char *rel, uid_t uid)
{
	struct cgroup_place place = place_of(rel);
	struct cgroup_host host;
	char why[256], base[LONG_PATH];

	strcat(place.v2_own, "/given");
	cgroup_host_make_at(&host, &place, "outside", uid, NULL, NULL, why);
	(void)snprintf(base, sizeof(base), "%s%s/sandbox-outside", mount_point,
		       place.v2_own);
	if (host.version != CGROUP_NONE || !strstr(why, "Permission denied"))
		return 1;
	return access(base, F_OK) == 0 ? 2 : 0;
}

static int outside_begin(const char *rel, uid_t uid)
{
	char given[LONG_PATH];

	(void)uid;
	/* We are root here, in home/outside; only the group below is handed to the
	 * user. */
	(void)snprintf(given, sizeof(given), "%s%.600s/given", mount_point, rel);
	if (mkdir(given, 0755) < 0 || chown(given, 1000, 1000) < 0 ||
	    v2_give(given, 1000) < 0)
		return 80;
	/* Into a sibling, so that the controller can be handed to `given`. */
	(void)snprintf(given, sizeof(given), "%s%.600s/aside", mount_point, rel);
	if (mkdir(given, 0755) < 0 || put_pid(given, getpid()) < 0)
		return 81;
	(void)snprintf(given, sizeof(given), "%s%.600s", mount_point, rel);
	if (!(v2_enable(given, &(int){ 0 }) & CGROUP_MEMORY))
		return 82;
	if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
		return 83;
	return outside(rel, 1000);
}

static void outside_as_user(void **state)
{
	(void)state;
	need();
	assert_int_equal(v2_enable(mount_point, &(int){ 0 }) & CGROUP_MEMORY,
			 CGROUP_MEMORY);
	assert_int_equal(v2_enable(home, &(int){ 0 }) & CGROUP_MEMORY, CGROUP_MEMORY);
	assert_int_equal(run_in("/outside", 0, outside_begin), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alone_as_root),   cmocka_unit_test(alone_as_user),
		cmocka_unit_test(shared_as_root),  cmocka_unit_test(shared_as_user),
		cmocka_unit_test(outside_as_user),
	};

	return cmocka_run_group_tests_name("cgroup_v2", tests, find_mount, remove_home);
}
