/* SPDX-License-Identifier: MIT
 * Counts the bytes of connections that were handed to programs, without holding on to
 * them (a descriptor of ours would keep a connection open that its program has closed):
 * the kernel tells of every TCP socket that ends, with its counters
 * (SKNLGRP_INET_TCP_DESTROY, 4.4, open to every user for its own network namespace), and
 * can be asked about one that lives. Engine, on its loop.
 *
 * received_bytes counts the end of a stream as one byte, as the kernel does. */
#ifndef SBX_NET_TRAFFIC_H
#define SBX_NET_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/loop.h"

struct traffic;
struct traffic_socket;

/* Where bytes are added up, and the sockets of one run; both the caller's. */
struct traffic_sum {
	uint64_t sent_bytes, received_bytes;
	uint64_t connections; /* that the other side answered */
};
struct traffic_run {
	struct traffic_socket *sockets;
	unsigned live;
	bool counted; /* else live stays 0, and so does every sum */
};

/* Before the engine's filter is on, which lets no netlink socket be made. -errno: nothing
 * is counted here. */
int traffic_new(struct loop *loop, struct traffic **ret);
void traffic_free(struct traffic **traffic); /* sets NULL; takes a pointer to NULL */

/* traffic may be NULL: nothing is counted. */
void traffic_begin(struct traffic *traffic, struct traffic_run *run);
/* A TCP socket from here on; fd stays the caller's. */
void traffic_watch(struct traffic *traffic, struct traffic_run *run, int fd);
/* It is being connected to `there`: what it carries is added to *sum. fd: a duplicate will
 * do. False: that was known already. */
bool traffic_connected(struct traffic *traffic, int fd,
		       const struct sockaddr_storage *there, struct traffic_sum *sum);
/* Before its connection is dissolved, to be used for another. */
void traffic_dissolved(struct traffic *traffic, int fd);
/* Counts what there is, of living ones too, and forgets all. */
void traffic_end(struct traffic *traffic, struct traffic_run *run);

#endif
