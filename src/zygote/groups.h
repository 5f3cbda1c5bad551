/* SPDX-License-Identifier: MIT
 * Removes the groups of jails that have ended, beside the loop: the kernel takes up to tens
 * of milliseconds for one (v1 memory). Engine. */
#ifndef SBX_ZYGOTE_GROUPS_H
#define SBX_ZYGOTE_GROUPS_H

#include "jail/cgroup.h"

struct groups;

/* host has to live as long. No thread is started yet: one has the filter of its maker, and
 * the engine puts its on later. 0 or -ENOMEM. */
int groups_new(const struct cgroup_host *host, struct groups **ret);
/* The group of a jail whose pid namespace is empty. Returns at once, unless a thousand are
 * waiting or there is no thread to be had: then it is done here. */
void groups_remove(struct groups *groups, uint32_t index);
/* Waits for the one that is being removed; what is left is the broker's. Sets NULL; takes a
 * pointer to NULL. */
void groups_free(struct groups **groups);

#endif
