/* SPDX-License-Identifier: MIT
 * Purpose: unit tests of src/base: errors, descriptors, buffers, messages, the loop,
 * asynchronous calls.
 * Process: one, any user, no privilege. Opens nothing but sockets, pipes and temporary
 * files. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/call.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/loop.h"
#include "base/wire.h"

/* How many descriptors are open: a test that leaks one is wrong. */
static int open_fds(void)
{
	int fd, count = 0;

	for (fd = 0; fd < 512; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int fds_before;

static int remember_fds(void **state)
{
	(void)state;
	fds_before = open_fds();
	return 0;
}

static int compare_fds(void **state)
{
	(void)state;
	assert_int_equal(open_fds(), fds_before);
	return 0;
}

static bool is_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

/* ---- err ---- */

static void err_fills(void **state)
{
	struct sbx_err err;

	(void)state;
	memset(&err, 0xaa, sizeof(err));
	assert_int_equal(err_set(&err, SBX_AT_JAIL, ENOENT, "mount %s", "/x"), -ENOENT);
	assert_int_equal(err.stage, SBX_AT_JAIL);
	assert_int_equal(err.errnum, ENOENT);
	assert_string_equal(err.msg, "mount /x: No such file or directory");
	assert_string_equal(err.field, "");
	/* nothing of what was there before: the struct crosses pipes whole */
	assert_int_equal(err.msg[sizeof(err.msg) - 1], 0);
	assert_int_equal(err.field[sizeof(err.field) - 1], 0);

	assert_int_equal(err_set(&err, SBX_AT_ENGINE, 0, "odd"), -EINVAL);
	assert_int_equal(err.errnum, 0);
	assert_string_equal(err.msg, "odd");

	assert_int_equal(err_set_field(&err, SBX_AT_POLICY, ERANGE, "max_memory_mb",
				       "%d is too much", 7),
			 -ERANGE);
	assert_string_equal(err.field, "max_memory_mb");
	assert_string_equal(err.msg, "7 is too much");

	assert_int_equal(err_set_plain(&err, SBX_AT_WORKER, EPERM, "setns"), -EPERM);
	assert_string_equal(err.msg, "setns: Operation not permitted");
	assert_string_equal(err.field, "");
	assert_int_equal(err_set_plain(NULL, SBX_AT_WORKER, EPERM, "setns"), -EPERM);
	assert_int_equal(err_set(NULL, SBX_AT_WORKER, 0, "x"), -EINVAL);
}

static void err_wraps_itself(void **state)
{
	struct sbx_err err;

	(void)state;
	(void)err_set(&err, SBX_AT_ENGINE, 0, "inner");
	(void)err_set(&err, SBX_AT_ZYGOTE, 0, "outer: %s", err.msg);
	assert_string_equal(err.msg, "outer: inner");
	(void)err_set_plain(&err, SBX_AT_JAIL, 0, err.msg);
	assert_string_equal(err.msg, "outer: inner");
}

static void err_long_and_dirty(void **state)
{
	struct sbx_err err;
	char text[1000];

	(void)state;
	/* two-byte characters at every position of the cut */
	for (size_t shift = 0; shift < 2; shift++) {
		memset(text, 'a', sizeof(text));
		for (size_t i = shift; i + 1 < sizeof(text) - 1; i += 2)
			memcpy(text + i, "\xc3\xa9", 2);
		text[sizeof(text) - 2] = '\0';
		(void)err_set(&err, SBX_AT_ENGINE, EIO, "%s", text);
		assert_int_equal(err.msg[sizeof(err.msg) - 1], 0);
		assert_true(strlen(err.msg) >= sizeof(err.msg) - 2);
		assert_null(strchr(err.msg, '?'));
	}
	(void)err_set(&err, SBX_AT_ENGINE, 0,
		      "a\nb\033[31m\xe2\x80\xae"
		      "c\xff");
	assert_string_equal(err.msg, "a b?[31m???c?");
}

static void err_sanitizes(void **state)
{
	struct sbx_err err;

	(void)state;
	memset(&err, 0xff, sizeof(err));
	err.stage = 13;
	err_sanitize(&err);
	assert_int_equal(err.stage, SBX_AT_ENGINE);
	assert_int_equal(err.errnum, 0);
	assert_int_equal(strlen(err.field), sizeof(err.field) - 1);
	assert_int_equal(strspn(err.msg, "?"), sizeof(err.msg) - 1);

	memset(&err, 0, sizeof(err));
	err.stage = INT32_MIN;
	err.errnum = 5000;
	/* overlong slash, surrogate, beyond U+10FFFF, lone continuation, DEL, C1, LRI,
	 * line separator; then good */
	strcpy(err.msg,
	       "\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\x80|\x7f|\xc2\x9b|\xe2\x81\xa6|\xe2\x80\xa8|"
	       "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x90\x8d");
	strcpy(err.field, "x\xe4\xb8"); /* a sequence that its end cuts off */
	strcpy(err.msg + 100, "behind");
	err_sanitize(&err);
	assert_int_equal(err.stage, SBX_AT_ENGINE);
	assert_int_equal(err.errnum, 0);
	assert_string_equal(err.field, "x");
	assert_string_equal(err.msg, "\?\?|\?\?\?|\?\?\?\?|?|?|\?\?|\?\?\?|\?\?\?|"
				     "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x90\x8d");
	assert_int_equal(err.msg[100], 0);

	memset(&err, 0, sizeof(err));
	err_sanitize(&err);
	assert_int_equal(err.stage, SBX_AT_NONE);
}

static void err_tables(void **state)
{
	static const int exits[] = { 0, 1, 3, 3, 3, 3, 3, 3, 4, 137, 125 };
	int i;

	(void)state;
	for (i = SBX_AT_USAGE; i <= SBX_AT_JOURNAL; i++) {
		const struct err_kind *kind = err_kind(i);
		int j;

		assert_int_equal(kind->exit_code, i <= SBX_AT_INTERPRETER ? 2 : 125);
		assert_in_range(kind->http_status, 400, 503);
		for (j = SBX_AT_USAGE; j < i; j++)
			assert_string_not_equal(kind->name, err_kind(j)->name);
	}
	assert_string_equal(err_kind(SBX_AT_WALL)->name, "WallMissing");
	assert_int_equal(err_kind(SBX_AT_WALL)->http_status, 503);
	assert_int_equal(err_kind(SBX_AT_BUSY)->http_status, 429);
	assert_int_equal(err_kind(SBX_AT_CEILING)->http_status, 403);
	assert_ptr_equal(err_kind(-1), err_kind(SBX_AT_ENGINE));
	assert_ptr_equal(err_kind(0), err_kind(SBX_AT_ENGINE));
	assert_ptr_equal(err_kind(13), err_kind(SBX_AT_ENGINE));
	for (i = SBX_OK; i <= SBX_FAULT; i++)
		assert_int_equal(sbx_status_exit_code((enum sbx_status)i), exits[i]);
	assert_string_equal(sbx_status_name(SBX_PROCESSES), "processes");
	assert_string_equal(sbx_status_name((enum sbx_status)99), "fault");
	assert_int_equal(sbx_status_exit_code((enum sbx_status) - 1), 125);
}

/* ---- fd ---- */

static void fd_files(void **state)
{
	char path[] = "/tmp/sbx-test-base-XXXXXX", big[10000];
	_cleanup_free_ char *text = NULL;
	_cleanup_fd_ int fd = mkostemp(path, O_CLOEXEC);
	char *untouched = (char *)0x1;
	size_t len = 0;

	(void)state;
	assert_true(fd >= 0);
	memset(big, 'x', sizeof(big));
	assert_int_equal(fd_write_all(fd, big, sizeof(big)), 0);
	assert_int_equal(fd_read_file(AT_FDCWD, path, sizeof(big), &text, &len), 0);
	assert_int_equal(len, sizeof(big));
	assert_int_equal(text[len], 0);
	assert_memory_equal(text, big, len);
	assert_int_equal(fd_read_file(AT_FDCWD, path, sizeof(big) - 1, &untouched, &len),
			 -EFBIG);
	assert_ptr_equal(untouched, (char *)0x1);
	assert_int_equal(fd_read_file(AT_FDCWD, "/nonexistent", 1, &untouched, &len),
			 -ENOENT);
	assert_int_equal(ftruncate(fd, 0), 0);
	free(text);
	text = NULL;
	assert_int_equal(fd_read_file(AT_FDCWD, path, 0, &text, NULL), 0);
	assert_string_equal(text, "");
	assert_int_equal(fd_write_file(AT_FDCWD, path, "12\n"), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_all(fd, big, sizeof(big)), 3);
	assert_memory_equal(big, "12\n", 3);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_all(fd, big, 2), 2);
	assert_int_equal(fd_write_file(AT_FDCWD, "/nonexistent/x", "1"), -ENOENT);
	assert_int_equal(fd_read_all(-1, big, 1), -EBADF);
	assert_int_equal(fd_write_all(-1, big, 1), -EBADF);
	assert_int_equal(unlink(path), 0);
}

static void fd_pidfd(void **state)
{
	_cleanup_fd_ int pidfd = -1, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid, told = 0;

	(void)state;
	pid = fork();
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	pidfd = k_pidfd_open(pid, 0);
	assert_true(pidfd >= 0);
	assert_int_equal(fd_pidfd_host_pid(pidfd, &told), 0);
	assert_int_equal(told, pid);
	assert_int_equal(k_pidfd_send_signal(pidfd, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(fd_pidfd_host_pid(pidfd, &told), -ESRCH);
	assert_int_equal(fd_pidfd_host_pid(null, &told), -EBADF);
	assert_int_equal(fd_pidfd_host_pid(-1, &told), -EBADF);
}

/* ---- buf ---- */

static void buf_grows(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct buf limited = { .max = 5 };

	(void)state;
	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_string_equal(b.data, "");
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_addf(&b, "%03d", i), 0);
	assert_int_equal(b.len, 3000);
	assert_memory_equal(b.data + 2997, "999", 4);
	buf_consume(&b, 2994);
	assert_string_equal(b.data, "998999");
	buf_consume(&b, 100);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");

	assert_int_equal(buf_add(&limited, "1234", 4), 0);
	assert_int_equal(buf_add(&limited, "56", 2), -EMSGSIZE);
	assert_int_equal(buf_addf(&limited, "%d", 56), -EMSGSIZE);
	assert_int_equal(buf_add(&limited, "x", SIZE_MAX), -EMSGSIZE);
	assert_string_equal(limited.data, "1234");
	assert_int_equal(buf_add(&limited, "5", 1), 0);
	assert_string_equal(limited.data, "12345");
	buf_free(&limited);
	assert_int_equal(limited.max, 5);
	buf_free(&limited);
	buf_consume(&limited, 3);
}

/* Every way of cutting a stream into pieces gives what the definition says. */
static void headtail_by_definition(void **state)
{
	char stream[64];

	(void)state;
	for (size_t i = 0; i < sizeof(stream); i++)
		stream[i] = (char)('0' + i);
	for (size_t max = 0; max <= 21; max++)
		for (size_t len = 0; len <= sizeof(stream); len++)
			for (size_t piece = 1; piece <= 23; piece += 2) {
				size_t half = max / 2, head = max - half, told;
				struct headtail h;
				unsigned long long dropped;
				char *text;

				assert_int_equal(headtail_init(&h, max), 0);
				for (size_t at = 0; at < len; at += piece)
					assert_int_equal(headtail_add(&h, stream + at,
								      piece < len - at
									      ? piece
									      : len - at),
							 0);
				assert_int_equal(
					headtail_join(&h, &text, &told, &dropped), 0);
				assert_int_equal(h.total, len);
				if (len <= max) {
					assert_int_equal(told, len);
					assert_int_equal(dropped, 0);
					assert_memory_equal(text, stream, len);
				} else {
					assert_int_equal(told, max);
					assert_int_equal(dropped, len - max);
					assert_memory_equal(text, stream, head);
					assert_memory_equal(text + head,
							    stream + len - half, half);
				}
				assert_int_equal(text[told], 0);
				free(text);
				headtail_free(&h);
				headtail_free(&h);
			}
}

/* ---- wire ---- */

static void wire_packets(void **state)
{
	int pair[2], sent[2], got[WIRE_FDS_MAX];
	char data[8];
	size_t count;
	struct stat a, b;

	(void)state;
	assert_int_equal(wire_pair(SOCK_DGRAM, pair), -EINVAL);
	assert_int_equal(wire_pair(SOCK_SEQPACKET, pair), 0);
	assert_true(is_cloexec(pair[0]) && is_cloexec(pair[1]));
	assert_int_equal(pipe2(sent, O_CLOEXEC), 0);
	assert_int_equal(wire_send(pair[0], "12345678", 8, sent, 2), 0);
	assert_int_equal(wire_recv(pair[1], data, 8, got, 2, &count), 0);
	assert_int_equal(count, 2);
	assert_memory_equal(data, "12345678", 8);
	assert_true(is_cloexec(got[0]) && is_cloexec(got[1]));
	assert_int_equal(fstat(sent[1], &a), 0);
	assert_int_equal(fstat(got[1], &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	close(got[0]);
	close(got[1]);
	/* without descriptors, and without asking for their count */
	assert_int_equal(wire_send(pair[0], "abcd", 4, NULL, 0), 0);
	assert_int_equal(wire_recv_some(pair[1], data, 8, NULL, 0, NULL), 4);
	assert_int_equal(wire_send(pair[0], "", 0, NULL, 0), -EINVAL);
	assert_int_equal(wire_send(pair[0], "a", 1, sent, WIRE_FDS_MAX + 1), -EINVAL);
	assert_int_equal(fd_nonblock(pair[1], true), 0);
	assert_int_equal(wire_recv(pair[1], data, 8, NULL, 0, &count), -EAGAIN);
	close(pair[0]);
	assert_int_equal(wire_recv(pair[1], data, 8, NULL, 0, &count), -EPIPE);
	assert_int_equal(wire_send(pair[1], "a", 1, NULL, 0), -EPIPE);
	close(pair[1]);
	close(sent[0]);
	close(sent[1]);
}

/* Whatever comes wrong is refused, and no descriptor of it stays. */
static void wire_refuses(void **state)
{
	int pair[2], many[64], got[WIRE_FDS_MAX], before;
	char data[8];
	size_t count = 77, i;

	(void)state;
	assert_int_equal(wire_pair(SOCK_SEQPACKET, pair), 0);
	for (i = 0; i < 64; i++)
		many[i] = pair[0];
	before = open_fds();
	/* too long, too short */
	assert_int_equal(wire_send(pair[0], "123456789", 9, many, 3), 0);
	assert_int_equal(wire_recv(pair[1], data, 8, got, 3, &count), -EBADMSG);
	assert_int_equal(wire_send(pair[0], "1234567", 7, many, 3), 0);
	assert_int_equal(wire_recv(pair[1], data, 8, got, 3, &count), -EBADMSG);
	assert_int_equal(wire_send(pair[0], "123456789", 9, many, 1), 0);
	assert_int_equal(wire_recv_some(pair[1], data, 8, got, 3, &count), -EBADMSG);
	/* more descriptors than asked for, by one, by all */
	assert_int_equal(wire_send(pair[0], "12345678", 8, many, 2), 0);
	assert_int_equal(wire_recv(pair[1], data, 8, got, 1, &count), -EBADMSG);
	assert_int_equal(wire_send(pair[0], "12345678", 8, many, WIRE_FDS_MAX), 0);
	assert_int_equal(wire_recv(pair[1], data, 8, NULL, 0, &count), -EBADMSG);
	assert_int_equal(count, 77);
	/* more than a message of ours can carry: by hand */
	{
		char space[CMSG_SPACE(sizeof(many))];
		struct iovec iov = { .iov_base = data, .iov_len = 8 };
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = space,
				      .msg_controllen = sizeof(space) };
		struct cmsghdr *head;

		memset(space, 0, sizeof(space));
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(many));
		memcpy(CMSG_DATA(head), many, sizeof(many));
		assert_int_equal(sendmsg(pair[0], &msg, 0), 8);
		assert_int_equal(wire_recv(pair[1], data, 8, got, WIRE_FDS_MAX, &count),
				 -EBADMSG);
		/* an empty packet that carries some */
		iov.iov_len = 0;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * 2);
		head->cmsg_len = CMSG_LEN(sizeof(int) * 2);
		assert_int_equal(sendmsg(pair[0], &msg, 0), 0);
		assert_int_equal(wire_recv(pair[1], data, 8, got, WIRE_FDS_MAX, &count),
				 -EPIPE);
	}
	assert_int_equal(open_fds(), before);
	/* the control: the same socket still works */
	assert_int_equal(wire_send(pair[0], "12345678", 8, many, WIRE_FDS_MAX), 0);
	assert_int_equal(wire_recv(pair[1], data, 8, got, WIRE_FDS_MAX, &count), 0);
	assert_int_equal(count, WIRE_FDS_MAX);
	for (i = 0; i < count; i++)
		close(got[i]);
	close(pair[0]);
	close(pair[1]);
}

static void wire_frames(void **state)
{
	enum { BIG = 3 << 20 };
	char *big = malloc(BIG), *back = malloc(BIG);
	struct wire_frame frame;
	int pair[2], got[3];
	size_t count;
	pid_t pid;
	int status;

	(void)state;
	memset(big, 'q', BIG);
	big[BIG - 1] = 'z';
	assert_int_equal(wire_pair(SOCK_STREAM, pair), 0);
	pid = fork();
	if (pid == 0) {
		int fds[3] = { 0, 1, 2 };
		int bad = wire_send_frame(pair[0], 7, big, BIG, fds, 3) ||
			  wire_send_frame(pair[0], 8, NULL, 0, NULL, 0);

		_exit(bad ? 1 : 0);
	}
	close(pair[0]);
	assert_int_equal(wire_recv(pair[1], &frame, sizeof(frame), got, 3, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(frame.type, 7);
	assert_int_equal(frame.len, BIG);
	assert_int_equal(wire_read(pair[1], back, BIG), 0);
	assert_memory_equal(big, back, BIG);
	assert_int_equal(wire_recv(pair[1], &frame, sizeof(frame), got + 3, 0, &count),
			 0);
	assert_int_equal(frame.type, 8);
	assert_int_equal(frame.len, 0);
	assert_int_equal(wire_read(pair[1], back, 1), -EPIPE);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (count = 0; count < 3; count++)
		close(got[count]);
	close(pair[1]);
	/* a stream that does not block and has no room: cut, and said so */
	assert_int_equal(wire_pair(SOCK_STREAM, pair), 0);
	assert_int_equal(fd_nonblock(pair[0], true), 0);
	assert_int_equal(wire_send_frame(pair[0], 7, big, BIG, NULL, 0), -EAGAIN);
	close(pair[0]);
	/* the end comes inside of a frame */
	assert_int_equal(wire_read(pair[1], &frame, sizeof(frame)), 0);
	assert_int_equal(wire_read(pair[1], back, frame.len), -EPIPE);
	close(pair[1]);
	free(big);
	free(back);
}

/* ---- loop ---- */

static struct loop *loop;
static char trace[256];

static void note(void *arg)
{
	strncat(trace, arg, sizeof(trace) - strlen(trace) - 1);
}

static void note_and_stop(void *arg)
{
	note(arg);
	loop_stop(loop);
}

static int loop_setup(void **state)
{
	(void)remember_fds(state);
	trace[0] = '\0';
	return loop_new(&loop);
}

static int loop_teardown(void **state)
{
	loop_free(loop);
	return compare_fds(state);
}

static void timers_in_order(void **state)
{
	struct loop_timer *t[6] = { NULL };
	uint64_t now = loop_now_us();

	(void)state;
	assert_int_equal(loop_timer_at(loop, &t[0], now + 6000, note, "d"), 0);
	assert_int_equal(loop_timer_at(loop, &t[1], now + 2000, note, "b"), 0);
	assert_int_equal(loop_timer_at(loop, &t[2], now + 2000, note, "c"), 0);
	assert_int_equal(loop_timer_at(loop, &t[3], 0, note, "a"), 0);
	assert_int_equal(loop_timer_at(loop, &t[4], UINT64_MAX, note, "never"), 0);
	assert_int_equal(loop_timer_at(loop, &t[5], now + 9000, note_and_stop, "e"), 0);
	/* armed anew, with another text */
	assert_int_equal(loop_timer_at(loop, &t[0], now + 7000, note, "D"), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "abcDe");
	assert_in_range(loop_now_us() - now, 9000, 500000);
	/* a fired handle arms again */
	assert_int_equal(loop_timer_at(loop, &t[3], 1, note_and_stop, "!"), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "abcDe!");
	for (int i = 0; i < 6; i++)
		loop_timer_cancel(&t[i]);
	assert_null(t[0]);
	loop_timer_cancel(&t[0]);
}

static struct loop_timer *mine, *other;
static int rounds;

static void cancel_both(void *arg)
{
	note(arg);
	loop_timer_cancel(&mine);
	loop_timer_cancel(&other);
}

static void again(void *arg)
{
	(void)arg;
	if (++rounds < 100) {
		assert_int_equal(loop_timer_at(loop, &mine, 0, again, NULL), 0);
		return;
	}
	loop_stop(loop);
}

static void on_pipe(void *arg, uint32_t events)
{
	(void)events;
	note("p");
	loop_remove(arg);
}

static void timers_change_in_callbacks(void **state)
{
	struct loop_timer *end = NULL;
	struct loop_io *io = NULL;
	int fds[2];

	(void)state;
	mine = other = NULL;
	rounds = 0;
	assert_int_equal(loop_timer_at(loop, &mine, 1, cancel_both, "x"), 0);
	assert_int_equal(loop_timer_at(loop, &other, 2, note, "never"), 0);
	assert_int_equal(loop_timer_at(loop, &end, 3, note_and_stop, "y"), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "xy");
	assert_null(mine);
	/* one that always arms itself for at once starves neither descriptors nor
	 * others */
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(loop_add(loop, fds[0], EPOLLIN, on_pipe, &io, &io), 0);
	assert_int_equal(loop_timer_at(loop, &mine, 0, again, NULL), 0);
	assert_int_equal(loop_timer_at(loop, &end, loop_now_us(), note, "z"), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(rounds, 100);
	assert_int_equal(strlen(trace), 4);
	assert_non_null(strchr(trace, 'p'));
	assert_non_null(strchr(trace, 'z'));
	loop_timer_cancel(&mine);
	loop_timer_cancel(&end);
	close(fds[0]);
	close(fds[1]);
}

static int late_pipe[2];

static void hold_up(void *arg, uint32_t events)
{
	uint64_t until = loop_now_us() + 40000;

	(void)events;
	note("s");
	loop_remove(arg);
	assert_int_equal(write(late_pipe[1], "x", 1), 1);
	while (loop_now_us() < until)
		;
}

/* What came before a deadline is read before it, however long another callback took. */
static void no_deadline_before_what_came(void **state)
{
	struct loop_io *io = NULL, *late = NULL;
	struct loop_timer *deadline = NULL;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(pipe2(late_pipe, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(loop_add(loop, fds[0], EPOLLIN, hold_up, &io, &io), 0);
	assert_int_equal(loop_add(loop, late_pipe[0], EPOLLIN, on_pipe, &late, &late), 0);
	assert_int_equal(
		loop_timer_at(loop, &deadline, loop_now_us() + 20000, note_and_stop, "t"),
		0);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "spt");
	loop_timer_cancel(&deadline);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		close(late_pipe[i]);
	}
}

static uint64_t last_at;
static int fired;
struct shot {
	struct loop_timer *timer;
	uint64_t at_us;
};

static void in_turn(void *arg)
{
	struct shot *shot = arg;

	assert_true(shot->at_us >= last_at);
	last_at = shot->at_us;
	fired++;
}

static void timers_many(void **state)
{
	enum { MANY = 5000 };
	struct shot *shots = calloc(MANY, sizeof(*shots));
	struct loop_timer *end = NULL;
	uint64_t now = loop_now_us();
	unsigned seed = 1;
	int left = MANY;

	(void)state;
	last_at = 0;
	fired = 0;
	for (int turn = 0; turn < 3; turn++)
		for (int i = 0; i < MANY; i++) {
			shots[i].at_us = now + (unsigned)rand_r(&seed) % 3000;
			assert_int_equal(loop_timer_at(loop, &shots[i].timer,
						       shots[i].at_us, in_turn,
						       &shots[i]),
					 0);
		}
	for (int i = 0; i < MANY; i += 3, left--)
		loop_timer_cancel(&shots[i].timer);
	assert_int_equal(loop_timer_at(loop, &end, now + 3001, note_and_stop, "."), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(fired, left);
	for (int i = 0; i < MANY; i++)
		loop_timer_cancel(&shots[i].timer);
	loop_timer_cancel(&end);
	free(shots);
}

enum { WATCHED = 40 };
static struct loop_io *watched[WATCHED];
static int calls;

static void remove_all(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	calls++;
	for (int i = 0; i < WATCHED; i++)
		loop_remove(&watched[i]);
	loop_stop(loop);
}

static void remove_all_go_on(void *arg, uint32_t events)
{
	struct loop_timer **end = arg;

	remove_all(NULL, events);
	/* not stopped, so that the rest of the batch is gone through */
	assert_int_equal(loop_timer_at(loop, end, 1, note_and_stop, "end"), 0);
}

static void io_removed_in_callback(void **state)
{
	struct loop_timer *end = NULL;
	int fds[WATCHED][2];

	(void)state;
	calls = 0;
	for (int i = 0; i < WATCHED; i++) {
		assert_int_equal(pipe2(fds[i], O_CLOEXEC), 0);
		assert_int_equal(write(fds[i][1], "x", 1), 1);
		assert_int_equal(loop_add(loop, fds[i][0], EPOLLIN, remove_all_go_on,
					  &end, &watched[i]),
				 0);
	}
	assert_int_equal(
		loop_add(loop, fds[0][0], EPOLLIN, remove_all, NULL, &watched[0]),
		-EEXIST);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(calls, 1);
	assert_null(watched[WATCHED - 1]);
	loop_timer_cancel(&end);
	/* once more outside of a callback: at once */
	assert_int_equal(
		loop_add(loop, fds[0][0], EPOLLIN, remove_all, NULL, &watched[0]), 0);
	loop_remove(&watched[0]);
	loop_remove(&watched[0]);
	for (int i = 0; i < WATCHED; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

static void on_writable(void *arg, uint32_t events)
{
	struct loop_io **io = arg;

	note(events & EPOLLOUT ? "w" : "?");
	assert_int_equal(loop_run(loop), -EBUSY);
	assert_int_equal(loop_modify(*io, 0), 0);
}

static void io_modified(void **state)
{
	struct loop_timer *end = NULL;
	struct loop_io *io = NULL;
	int pair[2];

	(void)state;
	assert_int_equal(wire_pair(SOCK_STREAM, pair), 0);
	assert_int_equal(loop_add(loop, pair[0], EPOLLIN, on_writable, &io, &io), 0);
	assert_int_equal(loop_modify(io, EPOLLIN), 0);
	assert_int_equal(loop_modify(io, EPOLLIN | EPOLLOUT), 0);
	assert_int_equal(
		loop_timer_at(loop, &end, loop_now_us() + 3000, note_and_stop, "."), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_string_equal(trace, "w.");
	/* a stop ahead of the run holds */
	loop_stop(loop);
	assert_int_equal(loop_run(loop), 0);
	/* handles may outlive the loop */
	loop_free(loop);
	assert_int_equal(loop_modify(io, EPOLLIN), -ESHUTDOWN);
	loop_remove(&io);
	loop_timer_cancel(&end);
	loop = NULL;
	close(pair[0]);
	close(pair[1]);
}

/* ---- call ---- */

struct message {
	uint32_t number;
	char pad[124];
};
static struct call_queue *queue;
static int lost;

static void on_lost(void *arg)
{
	(void)arg;
	lost++;
	loop_stop(loop);
}

static void on_lost_free(void *arg)
{
	on_lost(arg);
	call_queue_free(&queue);
}

/* The other end in a process of its own: answers with the number and, for odd ones, a
 * descriptor; a number with 1000 in it ends it. Sends back the descriptor that it got. */
static pid_t start_answerer(int *ret_fd)
{
	int pair[2];
	pid_t pid;

	assert_int_equal(wire_pair(SOCK_SEQPACKET, pair), 0);
	pid = fork();
	if (pid == 0) {
		struct message m;
		size_t count;
		int fd;

		close(pair[0]);
		for (;;) {
			fd = -1;
			if (wire_recv(pair[1], &m, sizeof(m), &fd, 1, &count) < 0 ||
			    m.number >= 1000)
				_exit(0);
			if (wire_send(pair[1], &m, sizeof(m), &fd, count) < 0)
				_exit(0); /* the queue was freed meanwhile */
			if (count > 0)
				close(fd);
		}
	}
	close(pair[1]);
	*ret_fd = pair[0];
	return pid;
}

static void end_answerer(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static uint32_t next_number;
static ino_t expected_ino;
static int with_fd;

static void on_answer(void *arg, const void *reply, int fd)
{
	const struct message *m = reply;
	struct stat st;

	assert_int_equal(m->number, next_number);
	assert_int_equal(m->number, (uintptr_t)arg);
	next_number++;
	if (fd >= 0) {
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_ino, expected_ino);
		assert_true(is_cloexec(fd));
		close(fd);
		with_fd++;
	}
	if (next_number == 300)
		loop_stop(loop);
}

static void unexpected(void *arg, const void *reply, int fd)
{
	(void)arg;
	(void)reply;
	(void)fd;
	fail_msg("a forgotten call was answered");
}

static void calls_in_order(void **state)
{
	struct call *forgotten = NULL;
	int fd, pipe_fds[2];
	struct stat st;
	pid_t pid;

	(void)state;
	lost = with_fd = 0;
	next_number = 0;
	pid = start_answerer(&fd);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(fstat(pipe_fds[0], &st), 0);
	expected_ino = st.st_ino;
	assert_int_equal(call_queue_new(loop, fd, sizeof(struct message),
					sizeof(struct message), on_lost, NULL, &queue),
			 0);
	/* more than the socket holds, so that some wait for it to be writable */
	for (uintptr_t i = 0; i < 300; i++) {
		struct message m = { .number = (uint32_t)i };

		assert_int_equal(
			call_send(queue, &m, pipe_fds, i % 2, on_answer, (void *)i, NULL),
			0);
	}
	/* the caller's own may be closed: duplicates were kept */
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(next_number, 300);
	assert_int_equal(with_fd, 150);
	assert_int_equal(lost, 0);
	/* a forgotten one between two others */
	next_number = 298;
	for (uintptr_t i = 298; i < 300; i++) {
		struct message m = { .number = (uint32_t)i };

		assert_int_equal(
			call_send(queue, &m, NULL, 0, on_answer, (void *)i, NULL), 0);
		if (i == 298)
			assert_int_equal(call_send(queue, &m, NULL, 0, unexpected, NULL,
						   &forgotten),
					 0);
	}
	call_forget(&forgotten);
	call_forget(&forgotten);
	assert_int_equal(loop_run(loop), 0);
	call_queue_free(&queue);
	call_queue_free(&queue);
	end_answerer(pid);
}

static void call_other_end_lost(void **state)
{
	_cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct message end = { .number = 1000 }, m = { 0 };
	int fd;
	pid_t pid;

	(void)state;
	lost = 0;
	pid = start_answerer(&fd);
	assert_int_equal(
		call_queue_new(loop, fd, sizeof(m), sizeof(m), on_lost, NULL, &queue), 0);
	assert_int_equal(call_send(queue, &end, NULL, 0, unexpected, NULL, NULL), 0);
	assert_int_equal(call_send(queue, &m, &null, 1, unexpected, NULL, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(lost, 1);
	assert_int_equal(call_send(queue, &m, NULL, 0, unexpected, NULL, NULL), -EPIPE);
	call_queue_free(&queue);
	end_answerer(pid);
	/* the same, freed by its own callback */
	pid = start_answerer(&fd);
	assert_int_equal(call_queue_new(loop, fd, sizeof(m), sizeof(m), on_lost_free,
					NULL, &queue),
			 0);
	assert_int_equal(call_send(queue, &end, NULL, 0, unexpected, NULL, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(lost, 2);
	assert_null(queue);
	end_answerer(pid);
}

static void free_the_queue(void *arg, const void *reply, int fd)
{
	(void)arg;
	(void)reply;
	assert_int_equal(fd, -1);
	call_queue_free(&queue);
	loop_stop(loop);
}

static void call_freed_by_an_answer(void **state)
{
	_cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct message m = { .number = 1 };
	int fd;
	pid_t pid;

	(void)state;
	lost = 0;
	pid = start_answerer(&fd);
	assert_int_equal(
		call_queue_new(loop, fd, sizeof(m), sizeof(m), on_lost, NULL, &queue), 0);
	assert_int_equal(call_send(queue, &m, NULL, 0, free_the_queue, NULL, NULL), 0);
	/* Not the socket's own end: in flight through itself it would keep itself open
	 * until the kernel's garbage collector finds it. */
	assert_int_equal(call_send(queue, &m, &null, 1, unexpected, NULL, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_null(queue);
	assert_int_equal(lost, 0);
	end_answerer(pid);
}

static void call_ends_on_nonsense(void **state)
{
	struct message m = { .number = 1 };
	int pair[2];

	(void)state;
	lost = 0;
	/* an answer to no question */
	assert_int_equal(wire_pair(SOCK_SEQPACKET, pair), 0);
	assert_int_equal(call_queue_new(loop, pair[0], sizeof(m), sizeof(m), on_lost,
					NULL, &queue),
			 0);
	assert_int_equal(wire_send(pair[1], &m, sizeof(m), pair, 1), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(lost, 1);
	call_queue_free(&queue);
	close(pair[1]);
	/* one of another length */
	assert_int_equal(wire_pair(SOCK_SEQPACKET, pair), 0);
	assert_int_equal(call_queue_new(loop, pair[0], sizeof(m), sizeof(m), on_lost,
					NULL, &queue),
			 0);
	assert_int_equal(call_send(queue, &m, NULL, 0, unexpected, NULL, NULL), 0);
	assert_int_equal(wire_send(pair[1], &m, sizeof(m) - 1, NULL, 0), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(lost, 2);
	call_queue_free(&queue);
	close(pair[1]);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, remember_fds, compare_fds)
#define LOOPED(test) cmocka_unit_test_setup_teardown(test, loop_setup, loop_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAIN(err_fills),
		PLAIN(err_wraps_itself),
		PLAIN(err_long_and_dirty),
		PLAIN(err_sanitizes),
		PLAIN(err_tables),
		PLAIN(fd_files),
		PLAIN(fd_pidfd),
		PLAIN(buf_grows),
		PLAIN(headtail_by_definition),
		PLAIN(wire_packets),
		PLAIN(wire_refuses),
		PLAIN(wire_frames),
		LOOPED(timers_in_order),
		LOOPED(timers_change_in_callbacks),
		LOOPED(timers_many),
		LOOPED(no_deadline_before_what_came),
		LOOPED(io_removed_in_callback),
		LOOPED(io_modified),
		LOOPED(calls_in_order),
		LOOPED(call_other_end_lost),
		LOOPED(call_freed_by_an_answer),
		LOOPED(call_ends_on_nonsense),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
