/* SPDX-License-Identifier: MIT
 * Connects a socket that a program holds, too, without ever waiting for it. Engine. */
#ifndef SBX_NET_DIAL_H
#define SBX_NET_DIAL_H

#include <stdbool.h>

#include "net/address.h"

/* Whose socket a duplicate is. */
enum socket_kind {
	SOCKET_NONE,     /* no socket, or not one of the internet */
	SOCKET_STREAM,   /* one that we made, in our network namespace */
	SOCKET_DATAGRAM, /* one of the jail's, in its own */
	SOCKET_FOREIGN,  /* anything else */
};
/* cookie: of our network namespace (dial_namespace()). ret_family: AF_INET or AF_INET6. */
enum socket_kind socket_kind_of(int fd, uint64_t cookie, int *ret_family);
int dial_namespace(uint64_t *ret_cookie); /* SO_NETNS_COOKIE, 5.14; -errno */

bool dial_waits(int fd); /* whether a connect(2) of its program's would wait */
/* connect(2) as it is for a socket that does not block, whatever this one is set to, and
 * whatever its program sets it to meanwhile. 0 or -errno: -EINPROGRESS goes on by
 * itself. */
int dial(int fd, const struct sockaddr *to, socklen_t len);
/* 0: connected now; -EINPROGRESS: not yet; else why not. After -EINPROGRESS, when the
 * socket is ready; to and len as before. */
int dial_result(int fd, const struct sockaddr *to, socklen_t len);

#endif
