/* SPDX-License-Identifier: MIT
 * An internet address as it is judged: what would really be dialled. An IPv4-mapped IPv6
 * address is its IPv4 one, and the unspecified address is loopback, as the kernel takes
 * it. */
#ifndef SBX_NET_ADDRESS_H
#define SBX_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct net_address {
	int family; /* AF_INET, AF_INET6 */
	uint8_t bytes[16];
	uint16_t port;  /* 0: none in particular */
	uint32_t scope; /* of a link-local IPv6 address: an interface's index */
};

#define NET_ADDRESS_TEXT 64

/* len bytes of a sockaddr of anyone's. 0; -EINVAL: too short; -EAFNOSUPPORT. */
int net_address_from(const struct sockaddr *from, size_t len, struct net_address *ret);
/* The sockaddr to dial on a socket of this family. Returns its length; 0: an IPv6 address
 * for an IPv4 socket. */
socklen_t net_address_to(const struct net_address *from, int family,
			 struct sockaddr_storage *ret);
bool net_address_same(const struct net_address *a,
		      const struct net_address *b); /* ports aside */
bool net_address_public(const struct net_address *address);
bool net_address_loopback(const struct net_address *address);
/* "1.2.3.4:80", "[::1]:80"; without a port "1.2.3.4" and "::1". */
void net_address_text(const struct net_address *address, char ret[NET_ADDRESS_TEXT]);

#endif
