/* SPDX-License-Identifier: MIT
 * Who is at the other end of a connection that the engine hands over, and doing something
 * with his rights. Broker. */
#ifndef SBX_DAEMON_PEER_H
#define SBX_DAEMON_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sbx.h"

/* Unix sockets that the engine listens on, by the files that they are bound to. */
#define LISTENERS_MAX 16
struct listeners {
	struct {
		uint32_t ino, dev;
	} of[LISTENERS_MAX];
	size_t count;
};

struct identity {
	uid_t uid;
	gid_t gid;
	gid_t groups[1024];
	int group_count;
};

/* Takes note of a listening unix socket; anything else is passed over. 0 or -errno
 * (-ENOSPC). */
int peer_listener(struct listeners *listeners, int fd);
/* Whose connection it is. -ENOTSOCK: no unix socket, so that nobody can tell. -EPIPE: he
 * is gone. -EBADMSG: no connection that one of the listeners accepted; an honest engine
 * has no other to show. Else -errno. */
int peer_identity(const struct listeners *listeners, int fd, struct identity *ret);

/* This thread only, until peer_unbecome(). mine: room for what it takes to go back. -errno:
 * nothing has changed. */
int peer_become(const struct identity *who, gid_t mine[1024], int *ret_count);
void peer_unbecome(const gid_t *mine, int count); /* ends the process if it cannot */

#endif
