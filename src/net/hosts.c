/* SPDX-License-Identifier: MIT
 * Purpose: the judgement over allowed_hosts (hosts.h). Process: the engine; any thread.
 * Trusts: the list, which the policy table checked.
 * Invariants: an address that is not public is dialled only where an address or a block
 *   names it, or as localhost, whatever name has led to it; what no item allows is
 *   denied. */
#include "net/hosts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int hosts_init(struct hosts *ret, const struct policy_list *list)
{
	struct hosts made = { 0 };

	made.items = calloc(list->count + 1, sizeof(*made.items));
	if (!made.items)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++, made.count++)
		if (policy_host_parse(list->items[i], &made.items[i], NULL) < 0) {
			free(made.items);
			return -EINVAL;
		}
	*ret = made;
	return 0;
}

void hosts_free(struct hosts *hosts)
{
	free(hosts->items);
	*hosts = (struct hosts){ 0 };
}

static bool is_below(const char *name, const char *suffix)
{
	size_t len = strlen(name), suffix_len = strlen(suffix);

	return len > suffix_len && name[len - suffix_len - 1] == '.' &&
	       strcmp(name + len - suffix_len, suffix) == 0;
}

/* By definition loopback (RFC 6761). */
static bool is_local(const char *name)
{
	return strcmp(name, "localhost") == 0 || is_below(name, "localhost");
}

static bool names(const struct policy_host *item, const char *name)
{
	if (item->kind == POLICY_HOST_ANY)
		return !is_local(name);
	if (item->kind == POLICY_HOST_NAME)
		return strcmp(name, item->name) == 0;
	return item->kind == POLICY_HOST_SUFFIX && is_below(name, item->name);
}

bool hosts_allow_lookup(const struct hosts *hosts, const char *name)
{
	for (size_t i = 0; i < hosts->count; i++)
		if (names(&hosts->items[i], name))
			return true;
	return false;
}

static bool holds(const struct policy_host *net, const struct net_address *address)
{
	unsigned bits = net->prefix;

	if (net->family != address->family ||
	    memcmp(net->addr, address->bytes, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((net->addr[bits / 8] ^ address->bytes[bits / 8]) &
				 (0xff00 >> (bits % 8)) & 0xff) == 0;
}

static bool item_allows(const struct policy_host *item, const char *name,
			const struct net_address *address)
{
	if (item->port && address->port && item->port != address->port)
		return false;
	switch (item->kind) {
	case POLICY_HOST_NET:
		return holds(item, address);
	case POLICY_HOST_ANY:
		return net_address_public(address);
	case POLICY_HOST_NAME:
		if (strcmp(item->name, "localhost") == 0)
			return net_address_loopback(address);
		return name && names(item, name) && net_address_public(address);
	case POLICY_HOST_SUFFIX:
		return name && names(item, name) && net_address_public(address);
	}
	return false;
}

bool hosts_allow(const struct hosts *hosts, const char *name,
		 const struct net_address *address)
{
	for (size_t i = 0; i < hosts->count; i++)
		if (item_allows(&hosts->items[i], name, address))
			return true;
	return false;
}
