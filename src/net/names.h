/* SPDX-License-Identifier: MIT
 * The names of one run: answers the questions that come to port 53 of its jail's own
 * loopback, and remembers which address was handed out for which name. Engine, on its
 * loop.
 *
 * A name that may not be reached is answered with an address of ours that nobody has
 * (240.0.0.N), one for each: so a program that goes on to connect is told by the natural
 * PermissionError, and the denial can name host and port. */
#ifndef SBX_NET_NAMES_H
#define SBX_NET_NAMES_H

#include "net/hosts.h"
#include "net/resolver.h"

struct names;

/* fd: the jail's socket, bound; taken. hosts, resolver: the caller's, for longer. */
int names_new(struct loop *loop, int fd, const struct hosts *hosts,
	      struct resolver *resolver, struct names **ret);
void names_free(struct names **names); /* sets NULL; takes a pointer to NULL */

/* The names that an address was handed out for: *at from 0, NULL at the end. */
const char *names_of(const struct names *names, const struct net_address *address,
		     size_t *at);

/* A name that was not handed out, and why. */
struct names_denied {
	const char *name;
	bool has_address; /* an item allows the name, but not this address of it */
	struct net_address address;
};
/* What one of our addresses stands for; NULL: none of them. It counts as told of. */
const struct names_denied *names_denied(struct names *names,
					const struct net_address *address);
/* Those that no connection has told of, one after the other; NULL at the end. */
const struct names_denied *names_untold(struct names *names);

#endif
