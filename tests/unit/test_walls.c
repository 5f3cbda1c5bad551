/* SPDX-License-Identifier: MIT
 * Purpose: unit tests of the walls that a process puts around itself: capabilities,
 *   no_new_privs, rlimits, Landlock, seccomp. Each shows that the attack fails and that
 *   its control succeeds.
 * Process: one child a test; root or any user, who then gets what a test needs from a
 *   user namespace. Where there is none, or a kernel lacks a wall, the test is skipped
 *   and says why.
 * Invariants: nothing outlives a test: mounts are in a namespace of the child's own, its
 * children die with it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "jail/caps.h"
#include "jail/landlock.h"
#include "jail/rlimits.h"
#include "jail/seccomp.h"

enum { PASSED = 0, FAILED = 1, SKIPPED = 77 };

static struct sbx_err err;

#define CHECK(condition)                                                                 \
	do {                                                                             \
		if (!(condition)) {                                                      \
			(void)dprintf(2, "%s:%d: %s (errno %d, err \"%s\")\n", __FILE__, \
				      __LINE__, #condition, errno, err.msg);             \
			_exit(FAILED);                                                   \
		}                                                                        \
	} while (0)
#define CHECK_ERRNO(expression, number)                       \
	do {                                                  \
		errno = 0;                                    \
		CHECK((expression) < 0 && errno == (number)); \
	} while (0)

static _Noreturn void skip_child(const char *why)
{
	(void)dprintf(2, "skipped: %s\n", why);
	_exit(SKIPPED);
}

static int wait_status(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void in_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		/* Nothing of a test may stay if it hangs or its parent dies. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)alarm(20);
		body();
		_exit(PASSED);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		skip();
	assert_int_equal(status, PASSED);
}

/* Status of a nested child that does `body`. */
static int nested(void (*body)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		body();
		_exit(PASSED);
	}
	return wait_status(pid);
}

static void write_file(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
}

/* In a new user namespace, seen there as uid and gid `inside`, with all capabilities over
 * it. */
static void enter_user_namespace(unsigned inside, int more_flags)
{
	unsigned uid = geteuid(), gid = getegid();
	char text[64];

	if (unshare(CLONE_NEWUSER | more_flags) < 0)
		skip_child("no user namespace for this user here");
	if (fd_write_file(AT_FDCWD, "/proc/self/setgroups", "deny") < 0)
		skip_child("/proc/self/setgroups cannot be written");
	(void)snprintf(text, sizeof(text), "%u %u 1", inside, uid);
	CHECK(fd_write_file(AT_FDCWD, "/proc/self/uid_map", text) == 0);
	(void)snprintf(text, sizeof(text), "%u %u 1", inside, gid);
	CHECK(fd_write_file(AT_FDCWD, "/proc/self/gid_map", text) == 0);
}

/* Uid 0 with CAP_SYS_ADMIN: as it is for root, from a user namespace for others and for a
 * root without it. */
static void be_root(int more_flags)
{
	if (geteuid() != 0 || unshare(CLONE_NEWUTS | more_flags) < 0)
		enter_user_namespace(0, more_flags);
}

/* ---- capabilities ---- */

static void exec_without_caps(void)
{
	(void)execl("/bin/grep", "grep", "-q", "^CapPrm:.0000000000000000$",
		    "/proc/self/status", (char *)NULL);
	_exit(99);
}

static void check_no_caps(void)
{
	char text[8192];
	_cleanup_fd_ int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd_read_all(fd, text, sizeof(text) - 1);
	int cap;

	CHECK(n > 0);
	text[n] = '\0';
	CHECK(strstr(
		text,
		"CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
		"CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n"));
	for (cap = 0; cap < 64; cap++)
		CHECK(prctl(PR_CAPBSET_READ, cap) <= 0);
}

static void body_caps_none(void)
{
	be_root(0);
	/* controls: both work while the capabilities are there */
	CHECK(unshare(CLONE_NEWUTS) == 0);
	CHECK(chroot("/") == 0);
	CHECK(nested(exec_without_caps) == 1 << 8);
	CHECK(caps_keep(0, &err) == 0);
	check_no_caps();
	CHECK_ERRNO(unshare(CLONE_NEWUTS), EPERM);
	CHECK_ERRNO(chroot("/"), EPERM);
	/* an exec as uid 0 brings nothing back, since the bounding set is empty */
	CHECK(nested(exec_without_caps) == 0);
	CHECK(caps_keep(0, &err) == 0);
}

static void body_caps_worker(void)
{
	/* as in a jail: no uid 0 in the namespace */
	enter_user_namespace(1000, 0);
	CHECK(geteuid() == 1000);
	CHECK(unshare(CLONE_NEWUTS) == 0);
	CHECK(caps_keep(0, &err) == 0);
	check_no_caps();
	CHECK_ERRNO(unshare(CLONE_NEWUTS), EPERM);
}

static void body_caps_some(void)
{
	int cap;

	be_root(0);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0);
	CHECK(caps_keep(1ull << CAP_SYS_ADMIN | 1ull << 63, &err) == 0);
	CHECK(unshare(CLONE_NEWUTS) == 0);
	CHECK_ERRNO(chroot("/"), EPERM);
	for (cap = 0; cap < 64; cap++)
		CHECK((prctl(PR_CAPBSET_READ, cap) > 0) == (cap == CAP_SYS_ADMIN));
	/* CAP_SETPCAP is gone, so that what is left cannot be dropped from the bounding
	 * set any more: said, not hidden
	 */
	CHECK(caps_keep(0, &err) == -EPERM);
	CHECK(err.stage == SBX_AT_WALL && err.errnum == EPERM);
}

static void body_caps_inherited(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	be_root(0);
	CHECK(syscall(SYS_capget, &head, data) == 0);
	data[0].inheritable = data[0].permitted;
	CHECK(syscall(SYS_capset, &head, data) == 0);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0) == 0);
	CHECK(caps_keep(0, &err) == 0);
	check_no_caps();
}

static void body_no_new_privs(void)
{
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
	CHECK(caps_no_new_privs(&err) == 0);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
	CHECK(caps_no_new_privs(&err) == 0);
}

/* ---- rlimits ---- */

static struct rlimit limit_of(int resource)
{
	struct rlimit limit;

	CHECK(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
	return limit;
}

static void set_hard(int resource, rlim_t value)
{
	struct rlimit limit = { value, value };

	CHECK(setrlimit((__rlimit_resource_t)resource, &limit) == 0);
}

static void body_rlimits_values(void)
{
	const struct rlimits limits = { .open_files = 50 };
	static const int small[] = { RLIMIT_RTPRIO, RLIMIT_NICE, RLIMIT_MSGQUEUE };
	struct rlimit stack = limit_of(RLIMIT_STACK), data = limit_of(RLIMIT_DATA),
		      nproc = limit_of(RLIMIT_NPROC);
	rlim_t core = limit_of(RLIMIT_CORE).rlim_max;
	size_t i;

	be_root(0);
	CHECK(caps_keep(0, &err) == 0);
	CHECK(rlimits_apply(&limits, &err) == 0);
	CHECK(limit_of(RLIMIT_CORE).rlim_max == (core < 1 ? core : 1));
	CHECK(limit_of(RLIMIT_CORE).rlim_cur == limit_of(RLIMIT_CORE).rlim_max);
	CHECK(limit_of(RLIMIT_MEMLOCK).rlim_max <= 65536);
	CHECK(limit_of(RLIMIT_SIGPENDING).rlim_max <= 256);
	for (i = 0; i < sizeof(small) / sizeof(small[0]); i++)
		CHECK(limit_of(small[i]).rlim_max == 0);
	/* what was 0 in the struct, and the stack, stay */
	CHECK(limit_of(RLIMIT_STACK).rlim_cur == stack.rlim_cur &&
	      limit_of(RLIMIT_STACK).rlim_max == stack.rlim_max);
	CHECK(limit_of(RLIMIT_DATA).rlim_cur == data.rlim_cur &&
	      limit_of(RLIMIT_NPROC).rlim_cur == nproc.rlim_cur);
	/* nothing inside raises one */
	CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 51, 51 }), EPERM);
	CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 50, 51 }), EPERM);
}

static void body_rlimits_hard(void)
{
	const struct rlimits limits = { .open_files = 1000,
					.file_bytes = 1 << 20,
					.data_bytes = 1ull << 40 };

	set_hard(RLIMIT_NOFILE, 64);
	set_hard(RLIMIT_FSIZE, 5000);
	set_hard(RLIMIT_CORE, 0);
	CHECK(rlimits_apply(&limits, &err) == 0);
	CHECK(limit_of(RLIMIT_NOFILE).rlim_cur == 64 &&
	      limit_of(RLIMIT_NOFILE).rlim_max == 64);
	CHECK(limit_of(RLIMIT_FSIZE).rlim_max == 5000);
	CHECK(limit_of(RLIMIT_CORE).rlim_max == 0);
}

static int opens(void)
{
	int fds[60], count = 0, i;

	while (count < 60 && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	for (i = 0; i < count; i++)
		(void)close(fds[i]);
	return count;
}

static void body_rlimits_files(void)
{
	const struct rlimits limits = { .open_files = 40, .file_bytes = 4096 };
	char path[] = "/tmp/sbx-test-walls-XXXXXX", block[5000] = { 0 };
	_cleanup_fd_ int fd = mkostemp(path, O_CLOEXEC);

	CHECK(fd >= 0 && unlink(path) == 0);
	CHECK(opens() == 60);
	CHECK(pwrite(fd, block, sizeof(block), 0) == sizeof(block));
	CHECK(rlimits_apply(&limits, &err) == 0);
	CHECK(opens() < 40 && opens() > 10);
	CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	CHECK(pwrite(fd, block, 4096, 0) == 4096);
	CHECK_ERRNO(pwrite(fd, block, 1, 4096), EFBIG);
}

static int maps(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);

	if (at == MAP_FAILED)
		return -1;
	CHECK(munmap(at, bytes) == 0);
	return 0;
}

static void check_data(void)
{
	const struct rlimits limits = { .open_files = 64, .data_bytes = 16 << 20 };

	/* what is there already does not count */
	CHECK(mmap(NULL, 48 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0) != MAP_FAILED);
	CHECK(maps(64 << 20) == 0);
	CHECK(rlimits_apply(&limits, &err) == 0);
	CHECK(limit_of(RLIMIT_DATA).rlim_cur == limit_of(RLIMIT_DATA).rlim_max);
	CHECK(maps((16 << 20) - 65536) == 0);
	CHECK_ERRNO(maps((16 << 20) + 65536), ENOMEM);
}

static void body_rlimits_data(void)
{
	check_data();
}

static void body_rlimits_data_without_proc(void)
{
	char path[] = "/tmp/sbx-test-walls-XXXXXX";

	be_root(0);
	CHECK(mkdtemp(path) && chdir(path) == 0 && rmdir(path) == 0);
	/* an empty root: no /proc to ask */
	CHECK(chroot(".") == 0);
	CHECK(access("/proc", F_OK) < 0);
	check_data();
}

/* The same with a hard limit, which the search must neither pass nor lower too far. */
static void body_rlimits_data_tight(void)
{
	const struct rlimits limits = { .open_files = 64, .data_bytes = 1ull << 40 };
	char path[] = "/tmp/sbx-test-walls-XXXXXX";
	const rlim_t hard = (rlim_t)1 << 46;

	be_root(0);
	CHECK(mkdtemp(path) && chdir(path) == 0 && rmdir(path) == 0 && chroot(".") == 0);
	set_hard(RLIMIT_DATA, hard);
	CHECK(caps_keep(0, &err) == 0);
	CHECK(rlimits_apply(&limits, &err) == 0);
	CHECK(limit_of(RLIMIT_DATA).rlim_max <= hard &&
	      limit_of(RLIMIT_DATA).rlim_max >= 1ull << 40);
	/* no room left at all: it stays as tight as it was */
	set_hard(RLIMIT_DATA, 4096);
	CHECK(rlimits_apply(&limits, &err) == 0);
	CHECK(limit_of(RLIMIT_DATA).rlim_max == 4096);
	CHECK_ERRNO(maps(4096), ENOMEM);
}

/* Starts up to count children at a time, then ends them: how many came. */
static int forks(int count)
{
	pid_t pids[16];
	int started = 0, failure = 0, i;

	for (; started < count; started++) {
		pids[started] = fork();
		if (pids[started] < 0) {
			failure = errno;
			break;
		}
		if (pids[started] == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			(void)pause();
			_exit(0);
		}
	}
	for (i = 0; i < started; i++) {
		CHECK(kill(pids[i], SIGKILL) == 0);
		(void)wait_status(pids[i]);
	}
	errno = failure;
	return started;
}

static void body_rlimits_processes(void)
{
	const struct rlimits limits = { .open_files = 64, .processes = 4 };

	/* Root of the initial namespace is exempt; a worker never is that. */
	if (geteuid() == 0) {
		CHECK(setresgid(61234, 61234, 61234) == 0 &&
		      setresuid(61234, 61234, 61234) == 0);
	} else {
		enter_user_namespace(1000, 0);
		CHECK(caps_keep(0, &err) == 0);
	}
	CHECK(forks(8) == 8);
	CHECK(rlimits_apply(&limits, &err) == 0);
	CHECK(forks(8) == 3 && errno == EAGAIN);
}

/* ---- Landlock ---- */

static void bind_at(const char *from, const char *to)
{
	CHECK(mount(from, to, NULL, MS_BIND | MS_REC, NULL) == 0);
}

/* A root as a jail has it, but writable and in the open, so that only Landlock can refuse
 * what is tried. */
static void enter_root(void)
{
	static const char *const dirs[] = { "tmp",     "work",       "dev",
					    "dev/shm", "etc",        "usr",
					    "grant",   "grant/deep", "proc" };
	static const char *const nodes[] = { "null", "zero", "full", "random",
					     "urandom" };
	static const char *const links[] = { "bin", "lib", "lib64" };
	char from[64], to[64];
	size_t i;

	if (landlock_abi() == 0)
		skip_child("no Landlock in this kernel");
	be_root(CLONE_NEWNS | CLONE_NEWNET);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("tmpfs", "/tmp", "tmpfs", 0, "size=4m,mode=0755") == 0 &&
	      chdir("/tmp") == 0);
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		CHECK(mkdir(dirs[i], 0755) == 0);
	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		(void)snprintf(from, sizeof(from), "/dev/%s", nodes[i]);
		(void)snprintf(to, sizeof(to), "dev/%s", nodes[i]);
		write_file(to, "");
		bind_at(from, to);
	}
	bind_at("/usr", "usr");
	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		(void)snprintf(from, sizeof(from), "/%s", links[i]);
		if (access(from, F_OK) == 0) {
			CHECK(mkdir(links[i], 0755) == 0);
			bind_at(from, links[i]);
		}
	}
	write_file("etc/file", "text");
	write_file("grant/deep/file", "text");
	write_file("grant/file", "text");
	CHECK(chroot(".") == 0 && chdir("/") == 0);
}

static int can_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		return -1;
	(void)close(fd);
	return 0;
}

static void confine(struct landlock *landlock)
{
	CHECK(caps_no_new_privs(&err) == 0);
	CHECK(landlock_apply(landlock, &err) == 0);
	CHECK(landlock->fd == -1);
}

static void body_landlock_files(void)
{
	struct landlock landlock;
	char block[16];

	enter_root();
	CHECK(can_open("/etc/file", O_RDWR) == 0);
	CHECK(can_open("/etc/new", O_WRONLY | O_CREAT) == 0);
	CHECK(can_open("/grant/file", O_WRONLY) == 0);
	CHECK(landlock_prepare(&landlock, &err) == 0);
	CHECK(fcntl(landlock.fd, F_GETFD) == FD_CLOEXEC);
	confine(&landlock);

	CHECK(can_open("/etc/file", O_RDONLY) == 0);
	CHECK(can_open("/", O_RDONLY | O_DIRECTORY) == 0);
	CHECK(can_open("/usr/bin", O_RDONLY | O_DIRECTORY) == 0);
	CHECK_ERRNO(can_open("/etc/file", O_RDWR), EACCES);
	CHECK_ERRNO(can_open("/etc/file", O_WRONLY), EACCES);
	CHECK_ERRNO(can_open("/etc/newer", O_WRONLY | O_CREAT), EACCES);
	CHECK_ERRNO(can_open("/grant/file", O_WRONLY), EACCES);
	CHECK_ERRNO(mkdir("/etc/dir", 0755), EACCES);
	CHECK_ERRNO(unlink("/etc/new"), EACCES);
	CHECK(rename("/etc/new", "/work/new") < 0 && (errno == EACCES || errno == EXDEV));
	CHECK_ERRNO(symlink("x", "/dev/link"), EACCES);
	CHECK_ERRNO(mkfifo("/etc/fifo", 0600), EACCES);
	if (landlock.abi >= 3)
		CHECK_ERRNO(truncate("/etc/file", 0), EACCES);
	/* EACCES by Landlock, or EPERM by the kernel where a user namespace gave the
	 * rights */
	CHECK(mknod("/work/null", S_IFCHR | 0666, 0x103) < 0 &&
	      (errno == EACCES || errno == EPERM));
	CHECK_ERRNO(mount("tmpfs", "/work", "tmpfs", 0, NULL), EPERM);

	/* the private directories are for everything */
	CHECK(mkdir("/work/a", 0755) == 0 && mkdir("/work/b", 0755) == 0);
	CHECK(can_open("/work/a/file", O_RDWR | O_CREAT | O_TRUNC) == 0);
	CHECK(can_open("/tmp/file", O_RDWR | O_CREAT | O_TRUNC) == 0);
	CHECK(can_open("/dev/shm/file", O_RDWR | O_CREAT | O_TRUNC) == 0);
	CHECK(truncate("/work/a/file", 10) == 0);
	if (landlock.abi >= 2)
		CHECK(rename("/work/a/file", "/work/b/file") == 0 &&
		      unlink("/work/b/file") == 0);
	CHECK(symlink("x", "/work/link") == 0 && mkfifo("/work/fifo", 0600) == 0);
	CHECK(unlink("/work/link") == 0 && rmdir("/work/b") == 0);

	CHECK(can_open("/dev/null", O_RDWR | O_TRUNC) == 0 &&
	      can_open("/dev/full", O_RDWR) == 0);
	CHECK(can_open("/dev/zero", O_RDWR) == 0 &&
	      can_open("/dev/urandom", O_RDWR) == 0);
	CHECK(fd_read_all(open("/dev/random", O_RDONLY | O_CLOEXEC), block,
			  sizeof(block)) == sizeof(block));
	/* nodes, not their directory */
	CHECK_ERRNO(can_open("/dev/other", O_WRONLY | O_CREAT), EACCES);
}

static void body_landlock_ioctl(void)
{
	struct termios termios;
	struct landlock landlock;
	int before, after;

	enter_root();
	before = open("/dev/null", O_RDWR | O_CLOEXEC);
	CHECK(landlock_prepare(&landlock, &err) == 0);
	if (landlock.abi < 5)
		skip_child("Landlock's ABI is older than 5");
	CHECK_ERRNO(ioctl(before, TCGETS, &termios), ENOTTY);
	confine(&landlock);
	after = open("/dev/null", O_RDWR | O_CLOEXEC);
	CHECK(after >= 0);
	CHECK_ERRNO(ioctl(after, TCGETS, &termios), EACCES);
}

static void body_landlock_grants(void)
{
	struct landlock landlock;

	enter_root();
	write_file("/grant/read", "text");
	write_file("/etc/one", "text");
	CHECK(landlock_prepare(&landlock, &err) == 0);
	CHECK(landlock_grant(&landlock, "/grant/deep", LANDLOCK_WRITE, &err) == 0);
	CHECK(landlock_grant(&landlock, "/grant/read", LANDLOCK_READ, &err) == 0);
	CHECK(landlock_grant(&landlock, "/etc/one", LANDLOCK_READ | LANDLOCK_WRITE,
			     &err) == 0);
	CHECK(landlock_grant(&landlock, "/none", LANDLOCK_READ, &err) == -ENOENT);
	CHECK(err.stage == SBX_AT_GRANT);
	CHECK(landlock_grant(&landlock, "/grant", 0, &err) == -EINVAL);
	CHECK(landlock_grant(&landlock, "/grant", 8, &err) == -EINVAL);
	confine(&landlock);
	CHECK(can_open("/grant/deep/file", O_RDWR | O_TRUNC) == 0);
	CHECK(can_open("/grant/deep/new", O_RDWR | O_CREAT) == 0 &&
	      unlink("/grant/deep/new") == 0);
	CHECK(can_open("/etc/one", O_RDWR | O_TRUNC) == 0);
	CHECK(can_open("/grant/read", O_RDONLY) == 0);
	CHECK_ERRNO(can_open("/grant/read", O_RDWR), EACCES);
	CHECK_ERRNO(can_open("/grant/file", O_RDWR), EACCES);
	CHECK_ERRNO(unlink("/etc/one"), EACCES);
	/* entered: nothing can be added any more */
	CHECK(landlock_grant(&landlock, "/grant", LANDLOCK_WRITE, &err) == -EINVAL);
	CHECK(landlock_apply(&landlock, &err) == -EBADF);
}

static void exec_true(void)
{
	(void)execl("/usr/bin/true", "true", (char *)NULL);
	_exit(errno == EACCES ? 98 : 99);
}

static void confined_exec(void)
{
	struct landlock landlock;

	CHECK(landlock_prepare(&landlock, &err) == 0);
	confine(&landlock);
	exec_true();
}

static void granted_exec(void)
{
	struct landlock landlock;

	CHECK(landlock_prepare(&landlock, &err) == 0);
	CHECK(landlock_grant(&landlock, "/usr", LANDLOCK_EXEC, &err) == 0);
	/* mounts of their own, where the program's loader is */
	if (access("/lib", F_OK) == 0)
		CHECK(landlock_grant(&landlock, "/lib", LANDLOCK_EXEC, &err) == 0);
	if (access("/lib64", F_OK) == 0)
		CHECK(landlock_grant(&landlock, "/lib64", LANDLOCK_EXEC, &err) == 0);
	confine(&landlock);
	CHECK_ERRNO(can_open("/usr/sbx-test-walls", O_WRONLY | O_CREAT), EACCES);
	exec_true();
}

static void body_landlock_exec(void)
{
	enter_root();
	CHECK(nested(exec_true) == 0);
	CHECK(nested(confined_exec) == 98 << 8);
	CHECK(nested(granted_exec) == 0);
}

/* Ends with its parent by a pipe: the signal of PR_SET_PDEATHSIG is the parent's, and
 * does not leave the parent's Landlock domain either. */
static pid_t start_sleeper(void)
{
	int ends[2];
	pid_t pid;
	char byte;

	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		(void)close(ends[1]);
		(void)fd_read_all(ends[0], &byte, 1);
		_exit(0);
	}
	(void)close(ends[0]);
	return pid;
}

static void body_landlock_signals(void)
{
	struct landlock landlock;
	pid_t outside, inside;
	int status;

	enter_root();
	outside = start_sleeper();
	CHECK(landlock_prepare(&landlock, &err) == 0);
	if (landlock.abi < 6)
		skip_child("Landlock's ABI is older than 6");
	CHECK(kill(outside, 0) == 0);
	confine(&landlock);
	CHECK_ERRNO(kill(outside, 0), EPERM);
	CHECK_ERRNO(kill(outside, SIGKILL), EPERM);
	CHECK_ERRNO(kill(getppid(), 0), EPERM);
	CHECK(waitpid(outside, &status, WNOHANG) == 0);
	/* its own children, and itself */
	CHECK(raise(SIGCHLD) == 0);
	inside = start_sleeper();
	CHECK(kill(inside, SIGSTOP) == 0);
	CHECK(waitpid(inside, &status, WUNTRACED) == inside && WIFSTOPPED(status));
	CHECK(kill(inside, SIGTERM) == 0 && kill(inside, SIGCONT) == 0);
	status = wait_status(inside);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static int try_connect(const struct sockaddr *address, socklen_t len)
{
	_cleanup_fd_ int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	CHECK(fd >= 0);
	r = connect(fd, address, len);
	return r < 0 ? -errno : 0;
}

static int try_bind(const struct sockaddr *address, socklen_t len, int keep[1])
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	if (bind(fd, address, len) < 0 || listen(fd, 8) < 0) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	keep[0] = fd;
	return 0;
}

static void body_landlock_abstract(void)
{
	struct sockaddr_un outside = { .sun_family = AF_UNIX,
				       .sun_path = "\0sbx-test-outside" };
	struct sockaddr_un inside = { .sun_family = AF_UNIX,
				      .sun_path = "\0sbx-test-inside" };
	const struct sockaddr *to_outside = (const struct sockaddr *)&outside;
	const struct sockaddr *to_inside = (const struct sockaddr *)&inside;
	struct landlock landlock;
	int fd, own;

	enter_root();
	CHECK(try_bind(to_outside, sizeof(outside), &fd) == 0);
	CHECK(landlock_prepare(&landlock, &err) == 0);
	if (landlock.abi < 6)
		skip_child("Landlock's ABI is older than 6");
	CHECK(try_connect(to_outside, sizeof(outside)) == 0);
	confine(&landlock);
	CHECK(try_connect(to_outside, sizeof(outside)) == -EPERM);
	CHECK(try_bind(to_inside, sizeof(inside), &own) == 0);
	CHECK(try_connect(to_inside, sizeof(inside)) == 0);
}

static void body_landlock_tcp(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_ANY) };
	struct sockaddr_in there = { .sin_family = AF_INET,
				     .sin_port = htons(9),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct landlock landlock;
	int fd, before;

	enter_root();
	CHECK(landlock_prepare(&landlock, &err) == 0);
	if (landlock.abi < 4)
		skip_child("Landlock's ABI is older than 4");
	CHECK(try_bind((const struct sockaddr *)&any, sizeof(any), &fd) == 0);
	/* the loopback of a new network namespace is down: refused by the network, not by
	 * a wall */
	before = try_connect((const struct sockaddr *)&there, sizeof(there));
	CHECK(before == -ENETUNREACH || before == -ECONNREFUSED);
	confine(&landlock);
	CHECK(try_bind((const struct sockaddr *)&any, sizeof(any), &fd) == -EACCES);
	CHECK(try_connect((const struct sockaddr *)&there, sizeof(there)) == -EACCES);
}

static void body_landlock_not_in_a_jail(void)
{
	struct landlock landlock = { .fd = 55, .abi = 66 };
	int next, after;

	enter_root();
	next = open("/", O_PATH | O_CLOEXEC);
	(void)close(next);
	CHECK(landlock_prepare(&landlock, &err) == 0);
	(void)close(landlock.fd);
	landlock = (struct landlock){ .fd = 55, .abi = 66 };
	/* the directories that only a jail has are what it goes by */
	CHECK(rmdir("/work") == 0);
	CHECK(landlock_prepare(&landlock, &err) == -ENOENT);
	CHECK(err.stage == SBX_AT_WALL && strstr(err.msg, "/work"));
	CHECK(landlock.fd == 55 && landlock.abi == 66);
	/* a symlink in the place of one */
	CHECK(symlink("/etc", "/work") == 0);
	CHECK(landlock_prepare(&landlock, &err) < 0);
	after = open("/", O_PATH | O_CLOEXEC);
	CHECK(next == after);
}

static void body_landlock_needs_no_new_privs(void)
{
	struct landlock landlock;

	enter_root();
	CHECK(landlock_prepare(&landlock, &err) == 0);
	CHECK(caps_keep(0, &err) == 0);
	CHECK(landlock_apply(&landlock, &err) == -EPERM);
	CHECK(err.stage == SBX_AT_WALL);
	CHECK(can_open("/etc/file", O_RDWR) == 0);
	confine(&landlock);
	CHECK_ERRNO(can_open("/etc/file", O_RDWR), EACCES);
}

/* ---- seccomp ---- */

/* getppid(2) gets `action`, all else is allowed. */
#define FILTER(action)                                                                 \
	{                                                                              \
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), \
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),        \
			BPF_STMT(BPF_RET | BPF_K, (action)),                           \
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                  \
	}

static long ask(void)
{
	return syscall(SYS_getppid);
}

static void body_seccomp(void)
{
	const struct sock_filter filter[] = FILTER(SECCOMP_RET_ERRNO | EDOM);
	const struct sock_filter wrong[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4096),
					     BPF_STMT(BPF_RET | BPF_K, 0) };
	static const struct sock_filter many[BPF_MAXINSNS + 1];
	char moved[sizeof(filter) + 1];
	int listener = 5;

	if (prctl(PR_GET_SECCOMP) < 0)
		skip_child("no seccomp in this kernel");
	CHECK(caps_no_new_privs(&err) == 0);
	CHECK(seccomp_apply(filter, 0, false, &listener, &err) == -EINVAL);
	CHECK(seccomp_apply(NULL, 8, false, &listener, &err) == -EINVAL);
	CHECK(seccomp_apply(filter, sizeof(filter) - 1, false, &listener, &err) ==
	      -EINVAL);
	CHECK(seccomp_apply(many, sizeof(many), false, &listener, &err) == -EINVAL);
	CHECK(seccomp_apply(wrong, sizeof(wrong), false, &listener, &err) == -EINVAL);
	CHECK(err.stage == SBX_AT_WALL && listener == 5);
	CHECK(ask() > 0);
	/* from any address, as it comes out of a message */
	memcpy(moved + 1, filter, sizeof(filter));
	CHECK(seccomp_apply(moved + 1, sizeof(filter), false, &listener, &err) == 0);
	CHECK(listener == -1);
	CHECK_ERRNO(ask(), EDOM);
	CHECK(getpid() > 0);
}

static void body_seccomp_needs_no_new_privs(void)
{
	const struct sock_filter filter[] = FILTER(SECCOMP_RET_ERRNO | EDOM);
	int listener;

	be_root(0);
	CHECK(caps_keep(0, &err) == 0);
	CHECK(seccomp_apply(filter, sizeof(filter), false, &listener, &err) == -EACCES);
	CHECK(ask() >= 0);
	CHECK(caps_no_new_privs(&err) == 0);
	CHECK(seccomp_apply(filter, sizeof(filter), false, &listener, &err) == 0);
	CHECK_ERRNO(ask(), EDOM);
}

static int supervisor_pair[2];

static void notifying(void)
{
	const struct sock_filter filter[] = FILTER(SECCOMP_RET_USER_NOTIF);
	int listener = -1, second = -1;
	char done;

	CHECK(caps_no_new_privs(&err) == 0);
	CHECK(seccomp_apply(filter, sizeof(filter), true, &listener, &err) == 0);
	CHECK(listener >= 0 && fcntl(listener, F_GETFD) == FD_CLOEXEC);
	/* there can be one only: said, not dropped */
	CHECK(seccomp_apply(filter, sizeof(filter), true, &second, &err) == -EBUSY);
	CHECK(wire_send(supervisor_pair[1], "x", 1, &listener, 1) == 0);
	(void)close(listener);
	CHECK_ERRNO(ask(), EXDEV);
	/* the supervisor goes: denied stays denied */
	CHECK(wire_send(supervisor_pair[1], "x", 1, NULL, 0) == 0);
	CHECK(wire_recv(supervisor_pair[1], &done, 1, NULL, 0, NULL) == 0);
	CHECK_ERRNO(ask(), ENOSYS);
}

static void body_seccomp_listener(void)
{
	struct seccomp_notif_resp answer = { 0 };
	struct seccomp_notif ask_of = { 0 };
	int listener = -1;
	size_t count;
	pid_t pid;
	char done;

	CHECK(wire_pair(SOCK_SEQPACKET, supervisor_pair) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		notifying();
		_exit(PASSED);
	}
	(void)close(supervisor_pair[1]);
	CHECK(wire_recv(supervisor_pair[0], &done, 1, &listener, 1, &count) == 0 &&
	      count == 1);
	CHECK(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &ask_of) == 0);
	CHECK(ask_of.data.nr == SYS_getppid && ask_of.pid == (__u32)pid);
	answer.id = ask_of.id;
	answer.error = -EXDEV;
	CHECK(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0);
	CHECK(wire_recv(supervisor_pair[0], &done, 1, NULL, 0, &count) == 0);
	CHECK(close(listener) == 0);
	CHECK(wire_send(supervisor_pair[0], "x", 1, NULL, 0) == 0);
	CHECK(wait_status(pid) == PASSED);
}

#define TEST(name)                     \
	static void name(void **state) \
	{                              \
		(void)state;           \
		in_child(body_##name); \
	}
TEST(caps_none)
TEST(caps_worker)
TEST(caps_some)
TEST(caps_inherited)
TEST(no_new_privs)
TEST(rlimits_values)
TEST(rlimits_hard)
TEST(rlimits_files)
TEST(rlimits_data)
TEST(rlimits_data_without_proc)
TEST(rlimits_data_tight)
TEST(rlimits_processes)
TEST(landlock_files)
TEST(landlock_ioctl)
TEST(landlock_grants)
TEST(landlock_exec)
TEST(landlock_signals)
TEST(landlock_abstract)
TEST(landlock_tcp)
TEST(landlock_not_in_a_jail)
TEST(landlock_needs_no_new_privs)
TEST(seccomp)
TEST(seccomp_needs_no_new_privs)
TEST(seccomp_listener)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caps_none),
		cmocka_unit_test(caps_worker),
		cmocka_unit_test(caps_some),
		cmocka_unit_test(caps_inherited),
		cmocka_unit_test(no_new_privs),
		cmocka_unit_test(rlimits_values),
		cmocka_unit_test(rlimits_hard),
		cmocka_unit_test(rlimits_files),
		cmocka_unit_test(rlimits_data),
		cmocka_unit_test(rlimits_data_without_proc),
		cmocka_unit_test(rlimits_data_tight),
		cmocka_unit_test(rlimits_processes),
		cmocka_unit_test(landlock_files),
		cmocka_unit_test(landlock_ioctl),
		cmocka_unit_test(landlock_grants),
		cmocka_unit_test(landlock_exec),
		cmocka_unit_test(landlock_signals),
		cmocka_unit_test(landlock_abstract),
		cmocka_unit_test(landlock_tcp),
		cmocka_unit_test(landlock_not_in_a_jail),
		cmocka_unit_test(landlock_needs_no_new_privs),
		cmocka_unit_test(seccomp),
		cmocka_unit_test(seccomp_needs_no_new_privs),
		cmocka_unit_test(seccomp_listener),
	};

	return cmocka_run_group_tests_name("walls", tests, NULL, NULL);
}
