/* SPDX-License-Identifier: MIT
 * Purpose: telling our own doors from other places (own.h).
 * Process: the engine, in the network namespace of its listeners.
 * Invariants: what cannot be told is taken for ours. */
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "net/own.h"

int own_add(struct own *own, int listen_fd)
{
	struct sockaddr_storage at;
	struct net_address address;
	socklen_t len = sizeof(at);
	int r;

	if (getsockname(listen_fd, (struct sockaddr *)&at, &len) < 0)
		return -errno;
	r = net_address_from((const struct sockaddr *)&at, len, &address);
	if (r < 0)
		return r;
	if (own->count == OWN_PORTS)
		return -ENOSPC;
	own->ports[own->count++] = address.port;
	return 0;
}

/* A machine has more addresses than anybody lists (127.0.0.0/8, every interface's), and they
 * come and go: the kernel says which are its own, by letting one be bound. */
static bool is_here(const struct net_address *address)
{
	struct net_address any_port = *address;
	struct sockaddr_storage to;
	socklen_t len;
	int fd, r;

	any_port.port = 0;
	len = net_address_to(&any_port, address->family, &to);
	fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true;
	r = len == 0 || bind(fd, (const struct sockaddr *)&to, len) == 0 ? 0 : -errno;
	(void)close(fd);
	return r != -EADDRNOTAVAIL;
}

bool own_is(const struct own *own, const struct net_address *address)
{
	for (size_t i = 0; i < own->count; i++)
		if (own->ports[i] == address->port)
			return is_here(address);
	return false;
}
