/* SPDX-License-Identifier: MIT
 * Looks names up for the runs: in the host's /etc/hosts, then with the name servers of
 * its /etc/resolv.conf, one question and one datagram each. Engine, on its loop. */
#ifndef SBX_NET_RESOLVER_H
#define SBX_NET_RESOLVER_H

#include "base/loop.h"
#include "net/dns.h"

struct resolver;
struct lookup;

/* Reads a file of the host's, at most 1 MiB: malloc'ed with a NUL behind it, NULL: none. */
typedef char *(*resolver_read_fn)(void *arg, const char *path);
/* answer is valid during the call; DNS_FAILED: nobody answered. */
typedef void (*lookup_fn)(void *arg, const struct dns_answer *answer);

/* servers: "ADDRESS:PORT,...", in place of /etc/resolv.conf's; NULL: those. 0, -ENOMEM. */
int resolver_new(struct loop *loop, resolver_read_fn read, void *arg, const char *servers,
		 struct resolver **ret);
void resolver_free(struct resolver **resolver); /* after its look-ups; sets NULL */

/* 1: *answer is set, fn is not called. 0: fn will be, never from inside this; *lookup is
 * set until then. -EBUSY: too many are under way. -errno. */
int resolver_lookup(struct resolver *resolver, const char *name, enum dns_type type,
		    lookup_fn fn, void *arg, struct dns_answer *answer,
		    struct lookup **lookup);
void lookup_forget(struct lookup **lookup); /* sets NULL; takes a pointer to NULL */

#endif
