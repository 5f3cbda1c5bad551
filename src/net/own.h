/* SPDX-License-Identifier: MIT
 * The server's own TCP ports, which no program of its may dial, whatever its policy says: a
 * program that holds a token, or meets an open door, would run others. Engine. */
#ifndef SBX_NET_OWN_H
#define SBX_NET_OWN_H

#include "net/address.h"

#define OWN_PORTS 16u

struct own {
	uint16_t ports[OWN_PORTS];
	size_t count;
};

/* 0, -ENOSPC, or -errno of getsockname(2). */
int own_add(struct own *own, int listen_fd);
/* Whether the address is this machine's, and the port one of ours. */
bool own_is(const struct own *own, const struct net_address *address);

#endif
