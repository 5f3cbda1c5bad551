/* SPDX-License-Identifier: MIT
 * What the broker has opened for callers, and what its starter named: granted files and
 * directories by number, places for callers over TCP, places where interpreters are.
 * Broker, started as root; one thread. */
#ifndef SBX_DAEMON_OPENED_H
#define SBX_DAEMON_OPENED_H

#include <stdbool.h>

#include "daemon/peer.h"
#include "zygote/messages.h"

#define GRANTS_OPEN_MAX 8192
#define GRANTABLE_MAX 64
#define SHOWN_MAX 512

struct granted {
	uint32_t number; /* 0: free */
	int node;        /* O_PATH */
	uint32_t tree_flags;
	uid_t uid; /* whose rights they are; root's stand for the owner's */
	gid_t gid;
};
struct opened {
	struct listeners listeners;
	struct granted *grants; /* GRANTS_OPEN_MAX, or NULL so far */
	struct {
		int dir;
		uint32_t tree_flags;
		char *path;
	} grantable[GRANTABLE_MAX];
	size_t grantable_count;
	char *shown[SHOWN_MAX]; /* a ring */
	size_t shown_next;
};

/* Reads what waits on the lifeline, which does not block. 0, or -errno: the command has
 * gone, or is none of ours. */
int opened_offers(struct opened *opened, int lifeline);
/* Takes the node. number 0: one is chosen. NULL: the table is full. */
struct granted *opened_add(struct opened *opened, uint32_t number, int node,
			   uint32_t tree_flags);
struct granted *opened_find(const struct opened *opened, uint32_t number); /* or NULL */
void opened_drop(struct granted *granted);
/* A place that is shown from now on. 0 or -ENOMEM. */
int opened_show(struct opened *opened, const char *path);
/* Whether path is such a place or in one; with above, one that leads to one, too. */
bool opened_shows(const struct opened *opened, const char *path, bool above);
/* Opens path beneath what callers over TCP may be granted. tree_flags: not more than
 * these. 0 or -errno. */
int opened_grantable(const struct opened *opened, const char *path, uint32_t tree_flags,
		     int *ret_node);

#endif
