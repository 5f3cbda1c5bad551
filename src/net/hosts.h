/* SPDX-License-Identifier: MIT
 * allowed_hosts of one run, and what may be dialled under it. Engine. */
#ifndef SBX_NET_HOSTS_H
#define SBX_NET_HOSTS_H

#include "net/address.h"
#include "policy/policy.h"

struct hosts {
	struct policy_host *items;
	size_t count;
};

/* The list is a checked one. 0, -ENOMEM, -EINVAL. An empty one allows nothing. */
int hosts_init(struct hosts *ret, const struct policy_list *list);
void hosts_free(struct hosts *hosts);

/* Whether a name may be looked up at all: some item names it, on whatever port. Names are
 * lower case, without a dot at the end. */
bool hosts_allow_lookup(const struct hosts *hosts, const char *name);
/* Whether an address may be dialled. name: what a look-up of this run found it under, or
 * NULL: then only as an address. Port 0: on some port. */
bool hosts_allow(const struct hosts *hosts, const char *name,
		 const struct net_address *address);

#endif
