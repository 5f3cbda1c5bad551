/* SPDX-License-Identifier: MIT
 * The seccomp filters in the real kernel, in forked children: without a listener, with
 * one that engine/notify.h serves, and beneath the filters of their ancestors. As root or
 * not. */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/wire.h"
#include "engine/notify.h"
#include "filter_help.h"
#include "jail/seccomp.h"

/* ---- the real kernel ---- */

static char path_text[] = "/usr/bin/\n\x1b[31mx";

static const struct {
	int nr;
	uint64_t args[4];
	int result; /* 0: goes through; else the errno */
} tries[] = {
	{ SYS_getpid, { 0 }, 0 },
	{ SYS_unshare, ARGS(CLONE_NEWUSER), EPERM },
	{ SYS_ptrace, ARGS(0), EPERM },
	{ SYS_ioctl, ARGS(0, 0x5412 | HIGH), EPERM },
	{ SYS_ioctl, ARGS(0, 0x541c | HIGH), EPERM },
	{ SYS_clone3, ARGS(0), ENOSYS },
	{ SYS_clone, ARGS(CLONE_NEWUSER | SIGCHLD), EPERM },
	{ SYS_socket, ARGS(AF_INET, SOCK_STREAM), EACCES },
	{ SYS_socket, ARGS(AF_INET6 | HIGH, SOCK_STREAM), EACCES },
	{ SYS_socket, ARGS(AF_UNIX, SOCK_STREAM), EAFNOSUPPORT },
	{ SYS_socket, ARGS(AF_ALG, SOCK_SEQPACKET), EAFNOSUPPORT },
	{ SYS_bpf, ARGS(0), EPERM },
	{ SYS_perf_event_open, ARGS(0), EPERM },
	{ SYS_keyctl, ARGS(0), EPERM },
	{ SYS_io_uring_setup, ARGS(1), ENOSYS },
	{ SYS_mount, ARGS(0), EPERM },
	{ SYS_seccomp, ARGS(1), EPERM },
	{ SYS_landlock_create_ruleset, ARGS(0, 0, 1), EPERM },
	{ SYS_prctl, ARGS(PR_SET_SECCOMP, 1), EPERM },
	{ SYS_prctl, ARGS(PR_SET_DUMPABLE, 0), EPERM },
	{ SYS_prctl, ARGS(PR_GET_DUMPABLE), 0 },
	{ SYS_flock, ARGS(0, 1), ENOSYS },
	{ SYS_setuid, ARGS(0), EPERM },
	{ SYS_personality, ARGS(0xffffffff), 0 },
	{ SYS_personality, ARGS(0x40000), EPERM },
	{ 600, ARGS(0), ENOSYS },
	{ -1, ARGS(0), ENOSYS },
	{ 335 + 20, ARGS(0), ENOSYS },
	{ SYS_chmod, ARGS(0, 04755), EPERM },
	{ SYS_execve, ARGS(0), EACCES },
	{ SYS_mmap, ARGS(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB),
	  ENOMEM },
};

static int try_all(int *shared)
{
	size_t i;

	for (i = 0; i < COUNT(tries); i++) {
		const uint64_t *a = tries[i].args;
		long r;

		/* Where the pointer is looked at by notify.c. */
		uint64_t first = tries[i].nr == SYS_execve || tries[i].nr == SYS_chmod
					 ? (uint64_t)(uintptr_t)path_text
					 : a[0];

		errno = 0;
		r = syscall(tries[i].nr, first, a[1], a[2], a[3], 0, 0);
		shared[i] = r < 0 ? errno : 0;
	}
	return 0;
}

static void *share(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	memset(at, 0xff, size);
	return at;
}

/* In a child: installs, outermost first. Returns the listener of the last one, or -1. */
static int install(const struct buf *filters, size_t count, bool listener)
{
	struct sbx_err err;
	int fd = -1;
	size_t i;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(90);
	for (i = 0; i < count; i++)
		if (seccomp_apply(filters[i].data, filters[i].len,
				  listener && i + 1 == count, &fd, &err) < 0)
			_exit(91);
	return fd;
}

static int ended(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void check_tries(const int *shared)
{
	size_t i;

	for (i = 0; i < COUNT(tries); i++)
		if (shared[i] != tries[i].result)
			fail_msg("try %zu, call %d: %d, not %d", i, tries[i].nr,
				 shared[i], tries[i].result);
}

static void test_kernel_without_listener(void **state)
{
	struct buf w = worker(0, false);
	int *shared = share(sizeof(int) * COUNT(tries));
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)install(&w, 1, false);
		_exit(try_all(shared));
	}
	assert_int_equal(ended(pid), 0);
	check_tries(shared);
	buf_free(&w);
	(void)munmap(shared, sizeof(int) * COUNT(tries));
}

/* Entries that no 64-bit program uses end the process (or are not there at all). */
static void test_kernel_kills_foreign_entries(void **state)
{
	struct buf w = worker(0, false);
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0) {
			(void)install(&w, 1, false);
			if (i == 0)
				(void)syscall(0x40000000 + SYS_getpid);
			else
				__asm__ volatile("int $0x80"
						 :
						 : "a"(20)
						 : "memory"); /* i386's getpid */
			_exit(0);
		}
		status = ended(pid);
		assert_true(WIFSIGNALED(status));
		if (i == 0)
			assert_int_equal(WTERMSIG(status), SIGSYS);
	}
	buf_free(&w);
}

/* ---- with a listener ---- */

struct told {
	int count, stop_after;
	unsigned long long dropped;
	struct {
		int nr, errnum;
		char subject[256];
	} seen[64];
	struct loop *loop;
	struct notify *notify, *free_me;
};

static void tell(void *arg, const struct notify_denial *denial)
{
	struct told *t = arg;

	if (t->count < (int)COUNT(t->seen)) {
		t->seen[t->count].nr = denial->call->nr;
		t->seen[t->count].errnum = denial->call->errnum;
		memcpy(t->seen[t->count].subject, denial->subject,
		       sizeof(denial->subject));
	}
	t->count++;
	t->dropped += denial->dropped;
	if (t->free_me)
		notify_free(&t->free_me);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void run_for(struct loop *loop, unsigned ms)
{
	struct loop_timer *timer = NULL;

	assert_int_equal(
		loop_timer_at(loop, &timer, loop_now_us() + ms * 1000u, stop, loop), 0);
	assert_int_equal(loop_run(loop), 0);
	loop_timer_cancel(&timer);
}

/* A child under the filters that runs body; its listener in *ret_fd. */
static pid_t child_with(const struct buf *filters, size_t count, int (*body)(int *shared),
			int *shared, int *ret_fd)
{
	int ends[2];
	size_t got = 0;
	char byte;
	pid_t pid;

	assert_int_equal(wire_pair(SOCK_SEQPACKET, ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int fd = install(filters, count, true);

		if (wire_send(ends[1], "", 1, &fd, 1) < 0)
			_exit(92);
		(void)close(fd);
		(void)close(ends[0]);
		(void)close(ends[1]);
		_exit(body(shared));
	}
	(void)close(ends[1]);
	assert_int_equal(wire_recv(ends[0], &byte, 1, ret_fd, 1, &got), 0);
	assert_int_equal(got, 1);
	(void)close(ends[0]);
	return pid;
}

static void serve(struct told *t, int fd, unsigned burst, unsigned per_second)
{
	struct sbx_err err = { 0 };

	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(
		notify_new(t->loop, fd, burst, per_second, tell, t, &t->notify, &err), 0);
}

static void end_service(struct told *t)
{
	notify_free(&t->notify);
	loop_free(t->loop);
}

static int told_of(const struct told *t, int nr)
{
	int i;

	for (i = 0; i < t->count && i < (int)COUNT(t->seen); i++)
		if (t->seen[i].nr == nr)
			return i;
	return -1;
}

static void check_told(const struct told *t)
{
	struct buf w = worker(RUN_LISTENER, false);
	int recorded = 0, i;
	size_t k;

	for (k = 0; k < COUNT(tries); k++) {
		uint64_t args[6] = { tries[k].args[0], tries[k].args[1], tries[k].args[2],
				     tries[k].args[3] };

		recorded += verdict(&w, (uint32_t)tries[k].nr, args) == NOTIFY;
	}
	assert_int_equal(t->count, recorded);
	assert_int_equal(notify_count(t->notify), recorded);
	i = told_of(t, SYS_execve);
	assert_true(i >= 0);
	assert_string_equal(t->seen[i].subject, "/usr/bin/\\x0a\\x1b[31mx");
	assert_string_equal(t->seen[told_of(t, SYS_unshare)].subject, "CLONE_NEWUSER");
	assert_string_equal(t->seen[told_of(t, SYS_ioctl)].subject, "TIOCSTI");
	assert_string_equal(t->seen[told_of(t, SYS_socket)].subject, "AF_INET");
	assert_string_equal(t->seen[told_of(t, -1)].subject, "system call 600");
	buf_free(&w);
}

static void test_listener_answers_and_tells(void **state)
{
	struct buf w = worker(RUN_LISTENER, false);
	int *shared = share(sizeof(int) * COUNT(tries)), fd = -1;
	struct told t = { 0 };
	pid_t pid = child_with(&w, 1, try_all, shared, &fd);

	(void)state;
	serve(&t, fd, 1000, 1000);
	run_for(t.loop, 200);
	assert_int_equal(ended(pid), 0);
	check_tries(shared);
	check_told(&t);
	end_service(&t);
	buf_free(&w);
	(void)munmap(shared, sizeof(int) * COUNT(tries));
}

/* The whole chain: what the ancestors' filters deny too is still the worker's to tell,
 * with the worker's errno. */
static void test_listener_beneath_ancestors(void **state)
{
	struct buf chain[3] = { inner(true), inner(false), worker(RUN_LISTENER, false) };
	int *shared = share(sizeof(int) * COUNT(tries)), fd = -1;
	struct told t = { 0 };
	pid_t pid = child_with(chain, 3, try_all, shared, &fd);
	size_t i;

	(void)state;
	serve(&t, fd, 1000, 1000);
	run_for(t.loop, 200);
	assert_int_equal(ended(pid), 0);
	check_tries(shared);
	check_told(&t);
	end_service(&t);
	for (i = 0; i < 3; i++)
		buf_free(&chain[i]);
	(void)munmap(shared, sizeof(int) * COUNT(tries));
}

static int deny_fifty(int *shared)
{
	int i;

	for (i = 0; i < 50; i++)
		if (syscall(SYS_unshare, CLONE_NEWNS) == 0 || errno != EPERM)
			return 1;
	*shared = 50;
	return 0;
}

static void test_flood_is_answered_and_counted(void **state)
{
	struct buf w = worker(RUN_LISTENER, false);
	int *shared = share(sizeof(int)), fd = -1;
	struct told t = { 0 };
	pid_t pid = child_with(&w, 1, deny_fifty, shared, &fd);

	(void)state;
	serve(&t, fd, 3, 0);
	run_for(t.loop, 200);
	assert_int_equal(ended(pid), 0);
	assert_int_equal(*shared, 50);
	assert_int_equal(t.count, 3);
	assert_int_equal(t.dropped, 0);
	assert_int_equal(notify_count(t.notify), 50);
	end_service(&t);

	/* With a token in 20 ms more come, and tell how many were left out before
	 * them. */
	t = (struct told){ 0 };
	pid = child_with(&w, 1, deny_fifty, shared, &fd);
	serve(&t, fd, 1, 50);
	run_for(t.loop, 5);
	(void)ended(pid);
	pid = 0;
	assert_int_equal(notify_count(t.notify), 50);
	assert_in_range(t.count, 1, 3);
	end_service(&t);
	buf_free(&w);
	(void)munmap(shared, sizeof(int));
}

static int exec_at_the_edge(int *shared)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = pages + 4096 - 5;

	(void)shared;
	memcpy(at, "/bin", 5);
	if (munmap(pages + 4096, 4096) < 0)
		return 1;
	(void)syscall(SYS_execve, at, NULL, NULL); /* to the last byte of a page */
	(void)syscall(SYS_execve, 16, NULL, NULL); /* not there */
	memset(pages, 'a', 4096);
	(void)syscall(SYS_execve, pages, NULL, NULL); /* no end */
	return syscall(SYS_execve, pages + 4090, NULL, NULL) < 0 && errno == EACCES
		       ? 0
		       : 2; /* no end, then no page */
}

static void test_subjects_are_bounded(void **state)
{
	struct buf w = worker(RUN_LISTENER, false);
	struct told t = { 0 };
	int fd = -1;
	pid_t pid = child_with(&w, 1, exec_at_the_edge, NULL, &fd);

	(void)state;
	serve(&t, fd, 100, 0);
	run_for(t.loop, 100);
	assert_int_equal(ended(pid), 0);
	assert_int_equal(t.count, 4);
	assert_string_equal(t.seen[0].subject, "/bin");
	assert_string_equal(t.seen[1].subject, "");
	assert_int_equal(strlen(t.seen[2].subject), 255);
	assert_string_equal(t.seen[3].subject, "aaaaaa");
	end_service(&t);
	buf_free(&w);
}

static int deny_for_ever(int *shared)
{
	(void)shared;
	while (syscall(SYS_unshare, CLONE_NEWNS) < 0)
		;
	return 1;
}

/* A process that is killed in a call is no error, nor is a listener without processes a
 * busy loop. */
static void test_death_and_silence(void **state)
{
	struct buf w = worker(RUN_LISTENER, false);
	struct told t = { 0 };
	struct rusage before, after;
	int fd = -1, i;
	pid_t pid;

	(void)state;
	for (i = 0; i < 20; i++) {
		pid = child_with(&w, 1, deny_for_ever, NULL, &fd);
		t = (struct told){ 0 };
		serve(&t, fd, 1, 0);
		run_for(t.loop, 2);
		(void)kill(pid, SIGKILL);
		run_for(t.loop, 1);
		assert_true(WIFSIGNALED(ended(pid)));
		notify_drain(t.notify);
		if (i < 19)
			end_service(&t);
	}
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	run_for(t.loop, 200);
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	assert_true((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
			    after.ru_utime.tv_usec - before.ru_utime.tv_usec +
			    (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
			    after.ru_stime.tv_usec - before.ru_stime.tv_usec <
		    50000);
	end_service(&t);
	buf_free(&w);
}

static int deny_until_enosys(int *shared)
{
	int i;

	for (i = 0; i < 1000; i++) {
		if (syscall(SYS_unshare, CLONE_NEWNS) == 0)
			return 1;
		if (errno == ENOSYS) {
			*shared = 1;
			return 0;
		}
		(void)usleep(100);
	}
	return 2;
}

/* Freed in its own callback; and what was denied stays denied when nobody listens any
 * more. */
static void test_denied_stays_denied(void **state)
{
	struct buf w = worker(RUN_LISTENER, false);
	int *shared = share(sizeof(int)), fd = -1;
	struct told t = { 0 };
	pid_t pid = child_with(&w, 1, deny_until_enosys, shared, &fd);

	(void)state;
	serve(&t, fd, 10, 0);
	t.free_me = t.notify;
	run_for(t.loop, 100);
	assert_int_equal(t.count, 1);
	assert_int_equal(ended(pid), 0);
	assert_int_equal(*shared, 1);
	loop_free(t.loop);
	buf_free(&w);
	(void)munmap(shared, sizeof(int));
}

static int deny_thrice(int *shared)
{
	*shared = 0;
	while (*shared < 3 && syscall(SYS_unshare, CLONE_NEWNS) < 0)
		(*shared)++;
	return 0;
}

static void test_drain(void **state)
{
	struct buf w = worker(RUN_LISTENER, false);
	int *shared = share(sizeof(int)), fd = -1, i;
	struct told t = { 0 };
	pid_t pid = child_with(&w, 1, deny_thrice, shared, &fd);

	(void)state;
	serve(&t, fd, 10, 0);
	for (i = 0; i < 2000 && t.count < 3; i++) {
		notify_drain(t.notify);
		(void)usleep(500);
	}
	assert_int_equal(t.count, 3);
	assert_int_equal(ended(pid), 0);
	assert_int_equal(*shared, 3);
	end_service(&t);
	buf_free(&w);
	(void)munmap(shared, sizeof(int));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel_without_listener),
		cmocka_unit_test(test_kernel_kills_foreign_entries),
		cmocka_unit_test(test_listener_answers_and_tells),
		cmocka_unit_test(test_listener_beneath_ancestors),
		cmocka_unit_test(test_flood_is_answered_and_counted),
		cmocka_unit_test(test_subjects_are_bounded),
		cmocka_unit_test(test_death_and_silence),
		cmocka_unit_test(test_denied_stays_denied),
		cmocka_unit_test(test_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
