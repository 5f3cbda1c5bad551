/* SPDX-License-Identifier: MIT
 * Purpose: messages with descriptors over unix sockets (wire.h).
 * Process: any, any thread, child-safe; also linked into the static jailer.
 * Trusts: nothing of the other end: it may send any length, any number of descriptors, or
 * nothing.
 * Invariants: a received descriptor is either handed to the caller or closed, and is
 *   close-on-exec from the moment it exists; no call raises SIGPIPE. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/wire.h"

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
};

int wire_pair(int type, int ret_fds[2])
{
	int fds[2];

	if (type != SOCK_SEQPACKET && type != SOCK_STREAM)
		return -EINVAL;
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

/* Sends all of it; the array is used up. Only a stream ever takes more than one turn. */
static int send_all(int fd, struct iovec *iov, size_t iov_count, const int *fds,
		    size_t fd_count)
{
	union control control;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = iov_count };
	size_t left = 0, i;

	if (fd_count > WIRE_FDS_MAX)
		return -EINVAL;
	for (i = 0; i < iov_count; i++)
		left += iov[i].iov_len;
	/* On a packet socket nothing would come out as the end of the stream. */
	if (left == 0)
		return -EINVAL;
	if (fd_count > 0) {
		struct cmsghdr *head;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
	}
	while (left > 0) {
		ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);
		size_t done;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done = (size_t)n;
		left -= done;
		/* The descriptors went with the first bytes. */
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
		while (msg.msg_iovlen > 0 && done >= msg.msg_iov->iov_len) {
			done -= msg.msg_iov->iov_len;
			msg.msg_iov++;
			msg.msg_iovlen--;
		}
		if (done > 0) {
			msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + done;
			msg.msg_iov->iov_len -= done;
		}
	}
	return 0;
}

int wire_send(int fd, const void *data, size_t len, const int *fds, size_t fd_count)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };

	return send_all(fd, &iov, 1, fds, fd_count);
}

int wire_send_frame(int fd, uint32_t type, const void *data, size_t len, const int *fds,
		    size_t fd_count)
{
	struct wire_frame frame = { .type = type, .len = (uint32_t)len };
	struct iovec iov[2] = {
		{ .iov_base = &frame, .iov_len = sizeof(frame) },
		{ .iov_base = (void *)data, .iov_len = len },
	};

	if (len > UINT32_MAX)
		return -EMSGSIZE;
	return send_all(fd, iov, len > 0 ? 2 : 1, fds, fd_count);
}

/* Takes the descriptors out of every control message: up to max into fds, the others are
 * closed. Returns how many there were in all. */
static size_t take_fds(struct msghdr *msg, int *fds, size_t max)
{
	struct cmsghdr *head;
	size_t seen = 0;

	for (head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
		size_t count, i;

		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
			if (seen < max)
				fds[seen] = fd;
			else
				(void)close(fd);
			seen++;
		}
	}
	return seen;
}

ssize_t wire_recv_some(int fd, void *data, size_t max, int *fds, size_t fd_max,
		       size_t *ret_fd_count)
{
	union control control;
	struct iovec iov = { .iov_base = data, .iov_len = max };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	int taken[WIRE_FDS_MAX], bad = 0;
	size_t count, i;
	ssize_t n;

	if (max == 0 || fd_max > WIRE_FDS_MAX)
		return -EINVAL;
	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0) /* ECONNRESET: it is gone and never read what we sent last */
		return errno == ECONNRESET ? -EPIPE : -errno;
	count = take_fds(&msg, taken, WIRE_FDS_MAX);
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || count > fd_max)
		bad = -EBADMSG;
	else if (n == 0)
		bad = -EPIPE;
	if (bad) {
		for (i = 0; i < count && i < WIRE_FDS_MAX; i++)
			(void)close(taken[i]);
		return bad;
	}
	if (count > 0)
		memcpy(fds, taken, count * sizeof(int));
	if (ret_fd_count)
		*ret_fd_count = count;
	return n;
}

int wire_recv(int fd, void *data, size_t len, int *fds, size_t fd_max,
	      size_t *ret_fd_count)
{
	int taken[WIRE_FDS_MAX];
	size_t count = 0, i;
	ssize_t n;

	if (fd_max > WIRE_FDS_MAX)
		return -EINVAL;
	n = wire_recv_some(fd, data, len, taken, fd_max, &count);
	if (n < 0)
		return (int)n;
	if ((size_t)n != len) {
		for (i = 0; i < count; i++)
			(void)close(taken[i]);
		return -EBADMSG;
	}
	if (count > 0)
		memcpy(fds, taken, count * sizeof(int));
	if (ret_fd_count)
		*ret_fd_count = count;
	return 0;
}

int wire_read(int fd, void *data, size_t len)
{
	char *at = data;

	while (len > 0) {
		ssize_t n = read(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		if (n == 0)
			return -EPIPE;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}
