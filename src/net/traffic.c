/* SPDX-License-Identifier: MIT
 * Purpose: counts bytes (traffic.h).
 * Process: the engine, on its loop. Trusts: the kernel's messages; they come from port 0
 *   or are dropped.
 * Invariants: a socket is known by its cookie, which the kernel gives once; the kernel is
 *   listened to only while a run with a network is under way; a message that was lost
 *   makes a sum too small, nothing else. */
#include "net/traffic.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "net/address.h"

#define BUCKETS 256u
#define AT_ONCE 256u

struct traffic_socket {
	struct traffic_socket *next, **back; /* of its run */
	struct traffic_socket *next_cookie, **back_cookie;
	struct traffic_run *run;
	struct traffic_sum *sum; /* NULL: never connected */
	uint64_t cookie;
	struct inet_diag_req_v2 who;
};

struct traffic {
	struct loop_io *io;
	int events_fd, ask_fd;
	unsigned runs;
	struct traffic_socket *buckets[BUCKETS];
};

static struct traffic_socket **bucket(struct traffic *t, uint64_t cookie)
{
	return &t->buckets[cookie % BUCKETS];
}

static struct traffic_socket *find(struct traffic *t, uint64_t cookie)
{
	struct traffic_socket *s = *bucket(t, cookie);

	while (s && s->cookie != cookie)
		s = s->next_cookie;
	return s;
}

static void forget(struct traffic_socket *s)
{
	*s->back = s->next;
	if (s->next)
		s->next->back = s->back;
	*s->back_cookie = s->next_cookie;
	if (s->next_cookie)
		s->next_cookie->back_cookie = s->back_cookie;
	s->run->live--;
	free(s);
}

/* ---- the kernel's messages ---- */

static void add_counters(struct traffic_socket *s, const void *data, size_t len)
{
	struct tcp_info info = { 0 };

	if (!s->sum)
		return;
	memcpy(&info, data, len < sizeof(info) ? len : sizeof(info));
	s->sum->sent_bytes += info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
	s->sum->received_bytes += info.tcpi_bytes_received;
	/* The request for a connection counts as one byte that was acknowledged. */
	s->sum->connections += info.tcpi_bytes_acked > 0;
}

static void take_message(struct traffic *t, const struct nlmsghdr *message)
{
	const struct inet_diag_msg *diag = NLMSG_DATA(message);
	struct traffic_socket *s;
	const struct rtattr *attr;
	uint64_t cookie;
	int left;

	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    message->nlmsg_len < NLMSG_LENGTH(sizeof(*diag)))
		return;
	memcpy(&cookie, diag->id.idiag_cookie, sizeof(cookie));
	s = find(t, cookie);
	if (!s)
		return;
	left = (int)(message->nlmsg_len - NLMSG_LENGTH(sizeof(*diag)));
	for (attr = (const struct rtattr *)(diag + 1); RTA_OK(attr, left);
	     attr = RTA_NEXT(attr, left))
		if (attr->rta_type == INET_DIAG_INFO)
			add_counters(s, RTA_DATA(attr), RTA_PAYLOAD(attr));
	/* It ended, or it was asked about for the last time. */
	forget(s);
}

/* False: there is nothing more. */
static bool receive(struct traffic *t, int fd)
{
	_Alignas(struct nlmsghdr) char data[8192];
	struct sockaddr_nl from = { 0 };
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT,
			     (struct sockaddr *)&from, &from_len);
	const struct nlmsghdr *message = (const struct nlmsghdr *)(void *)data;

	if (n < 0)
		return errno == ENOBUFS || errno == EINTR;
	if (from.nl_pid != 0)
		return true;
	for (; NLMSG_OK(message, (size_t)n); message = NLMSG_NEXT(message, n))
		take_message(t, message);
	return true;
}

static void collect(struct traffic *t, int fd)
{
	for (unsigned i = 0; i < AT_ONCE && receive(t, fd); i++)
		;
}

static void on_events(void *arg, uint32_t events)
{
	struct traffic *t = arg;

	(void)events;
	collect(t, t->events_fd);
}

/* About one that lives, by name and cookie. The kernel answers within the send. */
static void ask(struct traffic *t, const struct traffic_socket *s)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 who;
	} request = { .head = { .nlmsg_len = sizeof(request),
				.nlmsg_type = SOCK_DIAG_BY_FAMILY,
				.nlmsg_flags = NLM_F_REQUEST },
		      .who = s->who };

	if (send(t->ask_fd, &request, sizeof(request), MSG_DONTWAIT) == sizeof(request))
		collect(t, t->ask_fd);
}

static int open_socket(void)
{
	const struct sockaddr_nl name = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&name, sizeof(name)) < 0)
		fd_close(&fd);
	return fd;
}

static int listen_to(struct traffic *t, int option)
{
	static const int groups[] = { SKNLGRP_INET_TCP_DESTROY,
				      SKNLGRP_INET6_TCP_DESTROY };

	for (size_t i = 0; i < 2; i++)
		if (setsockopt(t->events_fd, SOL_NETLINK, option, &groups[i],
			       sizeof(groups[i])) < 0)
			return -errno;
	return 0;
}

int traffic_new(struct loop *loop, struct traffic **ret)
{
	struct traffic *t = calloc(1, sizeof(*t));
	int room = 4 << 20, r = 0;

	if (!t)
		return -ENOMEM;
	t->events_fd = open_socket();
	t->ask_fd = open_socket();
	if (t->events_fd < 0 || t->ask_fd < 0)
		r = -EPROTONOSUPPORT;
	if (r == 0)
		r = listen_to(t, NETLINK_ADD_MEMBERSHIP);
	if (r == 0)
		r = listen_to(t, NETLINK_DROP_MEMBERSHIP);
	if (r == 0)
		r = loop_add(loop, t->events_fd, EPOLLIN, on_events, t, &t->io);
	if (r < 0) {
		traffic_free(&t);
		return r;
	}
	(void)setsockopt(t->events_fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	*ret = t;
	return 0;
}

void traffic_free(struct traffic **traffic)
{
	struct traffic *t = *traffic;

	*traffic = NULL;
	if (!t)
		return;
	loop_remove(&t->io);
	fd_close(&t->events_fd);
	fd_close(&t->ask_fd);
	free(t);
}

/* ---- sockets ---- */

void traffic_begin(struct traffic *t, struct traffic_run *run)
{
	*run = (struct traffic_run){ 0 };
	if (!t)
		return;
	if (t->runs == 0 && listen_to(t, NETLINK_ADD_MEMBERSHIP) < 0)
		return;
	t->runs++;
	run->counted = true;
}

static bool cookie_of(int fd, uint64_t *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret, &len) == 0;
}

void traffic_watch(struct traffic *t, struct traffic_run *run, int fd)
{
	struct traffic_socket *s, **first;
	uint64_t cookie;

	if (!run->counted || !cookie_of(fd, &cookie) || !(s = calloc(1, sizeof(*s))))
		return;
	s->run = run;
	s->cookie = cookie;
	s->next = run->sockets;
	s->back = &run->sockets;
	if (s->next)
		s->next->back = &s->next;
	run->sockets = s;
	first = bucket(t, cookie);
	s->next_cookie = *first;
	s->back_cookie = first;
	if (s->next_cookie)
		s->next_cookie->back_cookie = &s->next_cookie;
	*first = s;
	run->live++;
}

static void end_of(const struct sockaddr_storage *from, __be16 *port, __be32 *address)
{
	const struct sockaddr_in *in = (const void *)from;
	const struct sockaddr_in6 *in6 = (const void *)from;

	if (from->ss_family == AF_INET) {
		*port = in->sin_port;
		memcpy(address, &in->sin_addr, 4);
	} else {
		*port = in6->sin6_port;
		memcpy(address, &in6->sin6_addr, 16);
	}
}

bool traffic_connected(struct traffic *t, int fd, const struct sockaddr_storage *there,
		       struct traffic_sum *sum)
{
	struct sockaddr_storage here = { 0 };
	socklen_t here_len = sizeof(here);
	struct traffic_socket *s;
	uint64_t cookie;

	if (!t || !cookie_of(fd, &cookie) || !(s = find(t, cookie)))
		return true;
	if (s->sum == sum)
		return false;
	s->sum = sum;
	s->who = (struct inet_diag_req_v2){ .sdiag_protocol = IPPROTO_TCP,
					    .idiag_ext = 1 << (INET_DIAG_INFO - 1),
					    .idiag_states = ~0u };
	if (getsockname(fd, (struct sockaddr *)&here, &here_len) < 0)
		return true;
	s->who.sdiag_family = (__u8)here.ss_family;
	end_of(&here, &s->who.id.idiag_sport, s->who.id.idiag_src);
	end_of(there, &s->who.id.idiag_dport, s->who.id.idiag_dst);
	memcpy(s->who.id.idiag_cookie, &cookie, sizeof(cookie));
	return true;
}

void traffic_dissolved(struct traffic *t, int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	struct traffic_socket *s;
	uint64_t cookie;

	if (!t || !cookie_of(fd, &cookie) || !(s = find(t, cookie)) || !s->sum)
		return;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
		add_counters(s, &info, len);
	s->sum = NULL;
}

void traffic_end(struct traffic *t, struct traffic_run *run)
{
	struct traffic_socket *s, *next;

	if (!run->counted)
		return;
	collect(t, t->events_fd);
	for (s = run->sockets; s; s = next) {
		next = s->next;
		if (s->sum && s->who.sdiag_family)
			ask(t, s);
	}
	while (run->sockets)
		forget(run->sockets);
	run->counted = false;
	if (--t->runs == 0)
		(void)listen_to(t, NETLINK_DROP_MEMBERSHIP);
}
