/* SPDX-License-Identifier: MIT
 * Purpose: connects sockets that programs hold, too (dial.h).
 * Process: the engine, on its loop.
 * Trusts: nothing of the socket's state: a program's other threads may change it between
 *   any two of our calls (O_NONBLOCK, SO_SNDTIMEO, a connection of their own).
 * Invariants: no call here waits. O_NONBLOCK alone would not do, since the program can
 *   take it off again: a timer's signal ends a connect that waits after all, and the
 *   kernel then goes on with it by itself, as after EINPROGRESS. */
#include "net/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include "base/fd.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* 5.14 */
#endif
#define WAIT_US 2000

static int option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

static int cookie_of(int fd, uint64_t *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &len) < 0 ? -errno : 0;
}

int dial_namespace(uint64_t *ret_cookie)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : cookie_of(fd, ret_cookie);
}

enum socket_kind socket_kind_of(int fd, uint64_t cookie, int *ret_family)
{
	int family = option(fd, SO_DOMAIN), type = option(fd, SO_TYPE);
	uint64_t own;

	if (family != AF_INET && family != AF_INET6)
		return SOCKET_NONE;
	if (cookie_of(fd, &own) < 0)
		return SOCKET_FOREIGN;
	*ret_family = family;
	if (type == SOCK_STREAM && own == cookie)
		return SOCKET_STREAM;
	return type == SOCK_DGRAM && own != cookie ? SOCKET_DATAGRAM : SOCKET_FOREIGN;
}

bool dial_waits(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && !(flags & O_NONBLOCK);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void set_alarm(long us)
{
	/* Again and again, for the first one may come before the call. */
	const struct itimerval every = { { 0, us }, { 0, us } };

	(void)setitimer(ITIMER_REAL, &every, NULL);
}

int dial(int fd, const struct sockaddr *to, socklen_t len)
{
	struct sigaction action = { .sa_handler = on_alarm }, old;
	int flags = fcntl(fd, F_GETFL), r;

	if (flags < 0 || sigaction(SIGALRM, &action, &old) < 0)
		return -errno;
	if (!(flags & O_NONBLOCK))
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	set_alarm(WAIT_US);
	r = connect(fd, to, len) < 0 ? -errno : 0;
	set_alarm(0);
	if (!(flags & O_NONBLOCK))
		(void)fcntl(fd, F_SETFL, flags);
	(void)sigaction(SIGALRM, &old, NULL);
	return r == -EINTR ? -EINPROGRESS : r;
}

int dial_result(int fd, const struct sockaddr *to, socklen_t len)
{
	/* Asking by connect(2) rather than SO_ERROR leaves the socket as a connect that
	 * waited would: connected, or free for another. */
	int r = dial(fd, to, len);

	if (r == -EISCONN)
		return 0;
	return r == -EALREADY ? -EINPROGRESS : r;
}
