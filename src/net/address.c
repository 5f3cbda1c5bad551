/* SPDX-License-Identifier: MIT
 * Purpose: internet addresses (address.h). Process: the engine; any thread.
 * Trusts: nothing; a sockaddr is whatever a program wrote.
 * Invariants: an address that was judged is the one that is dialled. */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "policy/policy.h"

static const uint8_t loopback4[4] = { 127, 0, 0, 1 };
static const uint8_t loopback6[16] = { [15] = 1 };
static const uint8_t none[16];

int net_address_from(const struct sockaddr *from, size_t len, struct net_address *ret)
{
	struct net_address made = { .family = from->sa_family };
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	switch (from->sa_family) {
	case AF_INET:
		if (len < sizeof(in))
			return -EINVAL;
		memcpy(&in, from, sizeof(in));
		memcpy(made.bytes, &in.sin_addr, 4);
		made.port = ntohs(in.sin_port);
		break;
	case AF_INET6:
		/* Without its last member it is what older programs give. */
		if (len < offsetof(struct sockaddr_in6, sin6_scope_id))
			return -EINVAL;
		memset(&in6, 0, sizeof(in6));
		memcpy(&in6, from, len < sizeof(in6) ? len : sizeof(in6));
		made.port = ntohs(in6.sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
			made.family = AF_INET;
			memcpy(made.bytes, in6.sin6_addr.s6_addr + 12, 4);
		} else {
			memcpy(made.bytes, &in6.sin6_addr, 16);
			if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr))
				made.scope = in6.sin6_scope_id;
		}
		break;
	default:
		return -EAFNOSUPPORT;
	}
	if (made.family == AF_INET && memcmp(made.bytes, none, 4) == 0)
		memcpy(made.bytes, loopback4, 4);
	if (made.family == AF_INET6 && memcmp(made.bytes, none, 16) == 0)
		memcpy(made.bytes, loopback6, 16);
	*ret = made;
	return 0;
}

socklen_t net_address_to(const struct net_address *from, int family,
			 struct sockaddr_storage *ret)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(from->port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(from->port),
				    .sin6_scope_id = from->scope };

	memset(ret, 0, sizeof(*ret));
	if (family == AF_INET) {
		if (from->family != AF_INET)
			return 0;
		memcpy(&in.sin_addr, from->bytes, 4);
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	if (from->family == AF_INET) {
		in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
		memcpy(in6.sin6_addr.s6_addr + 12, from->bytes, 4);
	} else {
		memcpy(&in6.sin6_addr, from->bytes, 16);
	}
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

bool net_address_same(const struct net_address *a, const struct net_address *b)
{
	return a->family == b->family &&
	       memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 16) == 0;
}

bool net_address_public(const struct net_address *address)
{
	struct policy_host net = { .kind = POLICY_HOST_NET,
				   .family = address->family,
				   .prefix = address->family == AF_INET ? 32 : 128 };

	memcpy(net.addr, address->bytes, sizeof(net.addr));
	return policy_host_public(&net);
}

bool net_address_loopback(const struct net_address *address)
{
	return address->family == AF_INET ? memcmp(address->bytes, loopback4, 4) == 0
					  : memcmp(address->bytes, loopback6, 16) == 0;
}

void net_address_text(const struct net_address *address, char ret[NET_ADDRESS_TEXT])
{
	char text[INET6_ADDRSTRLEN] = "";
	bool six = address->family == AF_INET6;

	(void)inet_ntop(address->family, address->bytes, text, sizeof(text));
	if (address->port)
		(void)snprintf(ret, NET_ADDRESS_TEXT, "%s%s%s:%u", six ? "[" : "", text,
			       six ? "]" : "", address->port);
	else
		(void)snprintf(ret, NET_ADDRESS_TEXT, "%s", text);
}
