/* SPDX-License-Identifier: MIT
 * Purpose: the connection broker of one run (network.h).
 * Process: the engine, on its loop; unprivileged, in the host's network namespace, where
 *   the sockets that it hands out are. The program has no way to bind, listen or connect
 *   there but through here.
 * Trusts: the filter, that these calls come here and no other call of an internet socket
 *   gets by; the kernel. Nothing that a program says: an address is copied once, and the
 *   copy is judged and dialled.
 * Invariants: a socket of the host's namespace is connected only by us, and only to what
 *   hosts_allow() allows; every call that was taken is answered once, or its caller dies
 *   with the run; nothing here waits. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "engine/network.h"
#include "net/dial.h"
#include "net/names.h"
#include "net/traffic.h"

#define LIVE_MAX 1024u    /* sockets of one run; their buffers are charged to us */
#define PENDING_MAX 256u  /* connects that somebody waits for */
#define PEERS_MAX 64u     /* told of by name; further ones are summed up in the last */
#define EVENTS_BURST 100u /* denials that are told of, as notify.c has it */
#define EVENTS_PER_SECOND 50u
#define SUBJECT_MAX 400u

struct pending {
	struct pending *next;
	struct network *network;
	struct peer *peer;
	uint64_t id;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer; /* SO_SNDTIMEO of the caller's */
	struct sockaddr_storage to;
	socklen_t to_len;
};

struct peer {
	char subject[SUBJECT_MAX];
	uint64_t first_us, count;
	struct traffic_sum sum;
};

struct network {
	struct engine *engine;
	struct notify *notify;
	network_event_fn fn;
	void *arg;
	struct hosts hosts;
	struct names *names;
	struct traffic_run traffic;
	struct pending *pending;
	size_t pending_count, peer_count;
	struct peer peers[PEERS_MAX];
	uint64_t credit, credit_at_us; /* of events, in millionths */
	uint64_t dropped;
	bool stopped;
};

/* ---- events ---- */

static bool may_tell(struct network *n)
{
	uint64_t now = loop_now_us(), passed = now - n->credit_at_us;

	n->credit_at_us = now;
	n->credit += (passed < 60000000u ? passed : 60000000u) * EVENTS_PER_SECOND;
	if (n->credit > EVENTS_BURST * 1000000ull)
		n->credit = EVENTS_BURST * 1000000ull;
	if (n->credit < 1000000u)
		return false;
	n->credit -= 1000000u;
	return true;
}

/* item: what allowed_hosts lacks, NULL where no list would help. */
static void tell(struct network *n, const char *kind, const char *subject,
		 const char *rule, const char *item)
{
	char remedy[SUBJECT_MAX];
	const struct event event = { .source = "supervisor",
				     .kind = kind,
				     .subject = subject,
				     .rule = rule,
				     .remedy = item ? remedy : NULL,
				     .item = item,
				     .count = 1 };

	if (item)
		(void)snprintf(remedy, sizeof(remedy), "add \"%s\" to %s", item, rule);
	if (may_tell(n))
		n->fn(n->arg, &event, loop_now_us());
	else
		n->dropped++;
}

/* name: NULL where there is none. by_name: whether the name is what is to be allowed, or
 * the address. */
static void tell_denied(struct network *n, const char *kind, const char *name,
			const struct net_address *address, uint16_t port, bool by_name)
{
	char text[NET_ADDRESS_TEXT] = "", where[16] = "", item[SUBJECT_MAX];
	char subject[SUBJECT_MAX];
	struct net_address plain;

	if (port)
		(void)snprintf(where, sizeof(where), ":%u", port);
	if (address) {
		plain = *address;
		plain.port = name ? 0 : port;
		net_address_text(&plain, text);
	}
	if (name && address)
		(void)snprintf(subject, sizeof(subject), "%s%s (%s)", name, where, text);
	else
		(void)snprintf(subject, sizeof(subject), "%s%s", name ? name : text,
			       name ? where : "");
	if (by_name) {
		(void)snprintf(item, sizeof(item), "%s%s", name, where);
	} else {
		plain.port = port;
		net_address_text(&plain, text);
		(void)snprintf(item, sizeof(item), "%s", text);
	}
	tell(n, kind, subject, "allowed_hosts", item);
}

static void tell_connect(struct network *n, const struct net_address *address)
{
	const struct names_denied *denied = names_denied(n->names, address);
	const char *name;
	size_t at = 0;

	if (denied) {
		tell_denied(n, "connect", denied->name,
			    denied->has_address ? &denied->address : NULL, address->port,
			    !denied->has_address);
		return;
	}
	name = names_of(n->names, address, &at);
	tell_denied(n, "connect", name, address, address->port,
		    name && net_address_public(address));
}

static void tell_own(struct network *n, const struct net_address *address)
{
	char text[NET_ADDRESS_TEXT];

	net_address_text(address, text);
	tell(n, "connect", text, "this server", NULL);
}

/* ---- the judgement ---- */

/* ret_name: by which it is allowed, NULL as an address. */
static bool is_allowed(struct network *n, const struct net_address *address,
		       const char **ret_name)
{
	const char *name;
	size_t at = 0;

	*ret_name = NULL;
	if (names_denied(n->names, address))
		return false;
	while ((name = names_of(n->names, address, &at)))
		if (hosts_allow(&n->hosts, name, address)) {
			*ret_name = name;
			return true;
		}
	return hosts_allow(&n->hosts, NULL, address);
}

static struct peer *peer_of(struct network *n, const char *name,
			    const struct net_address *address)
{
	char text[NET_ADDRESS_TEXT], subject[SUBJECT_MAX];
	struct net_address plain = *address;
	struct peer *peer;
	size_t i;

	plain.port = name ? 0 : address->port;
	net_address_text(&plain, text);
	if (name)
		(void)snprintf(subject, sizeof(subject), "%s:%u (%s)", name,
			       address->port, text);
	else
		(void)snprintf(subject, sizeof(subject), "%s", text);
	for (i = 0; i < n->peer_count; i++)
		if (strcmp(n->peers[i].subject, subject) == 0)
			return &n->peers[i];
	if (i == PEERS_MAX) {
		(void)snprintf(n->peers[PEERS_MAX - 1].subject, SUBJECT_MAX,
			       "further hosts");
		return &n->peers[PEERS_MAX - 1];
	}
	peer = &n->peers[n->peer_count++];
	memcpy(peer->subject, subject, sizeof(subject));
	peer->first_us = loop_now_us();
	return peer;
}

/* ---- connections ---- */

static void pending_free(struct pending *p)
{
	struct pending **at = &p->network->pending;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->network->pending_count--;
	loop_remove(&p->io);
	loop_timer_cancel(&p->timer);
	fd_close(&p->fd);
	free(p);
}

static void pending_answer(struct pending *p, int errnum)
{
	if (errnum == 0)
		p->peer->count++;
	(void)notify_answer(p->network->notify, p->id, 0, errnum);
	pending_free(p);
}

static void on_ready(void *arg, uint32_t events)
{
	struct pending *p = arg;
	int r;

	(void)events;
	if (!notify_is_valid(p->network->notify, p->id)) {
		pending_free(p);
		return;
	}
	r = dial_result(p->fd, (struct sockaddr *)&p->to, p->to_len);
	if (r != -EINPROGRESS)
		pending_answer(p, -r);
}

static void on_patience(void *arg)
{
	pending_answer(arg, EINPROGRESS);
}

/* Those whose callers were killed make room. */
static void sweep(struct network *n)
{
	struct pending *p, *next;

	for (p = n->pending; p; p = next) {
		next = p->next;
		if (!notify_is_valid(n->notify, p->id))
			pending_free(p);
	}
}

/* Takes fd. 0, or -errno: then it is to be answered with that. */
static int wait_for(struct network *n, uint64_t id, int fd, struct peer *peer,
		    const struct sockaddr_storage *to, socklen_t to_len)
{
	struct timeval patience = { 0 };
	socklen_t len = sizeof(patience);
	struct pending *p;
	int r;

	if (n->pending_count >= PENDING_MAX)
		sweep(n);
	p = n->pending_count >= PENDING_MAX ? NULL : calloc(1, sizeof(*p));
	if (!p) {
		(void)close(fd);
		return -EAGAIN;
	}
	*p = (struct pending){ .next = n->pending,
			       .network = n,
			       .peer = peer,
			       .id = id,
			       .fd = fd,
			       .to = *to,
			       .to_len = to_len };
	n->pending = p;
	n->pending_count++;
	r = loop_add(n->engine->loop, fd, EPOLLOUT, on_ready, p, &p->io);
	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, &len) == 0 &&
	    (patience.tv_sec || patience.tv_usec))
		r = loop_timer_at(n->engine->loop, &p->timer,
				  loop_now_us() + (uint64_t)patience.tv_sec * 1000000u +
					  (uint64_t)patience.tv_usec,
				  on_patience, p);
	if (r < 0)
		pending_free(p);
	return r;
}

/* Takes fd. 0 or -errno: what the call is to be answered with. 1: it is answered
 * later. */
static int connect_stream(struct network *n, uint64_t id, int fd, int family,
			  const struct net_address *address)
{
	struct sockaddr_storage to;
	socklen_t to_len = net_address_to(address, family, &to);
	const char *name;
	struct peer *peer;
	bool waits, first;
	int r;

	if (own_is(&n->engine->own, address)) {
		(void)close(fd);
		tell_own(n, address);
		return -EACCES;
	}
	if (!is_allowed(n, address, &name)) {
		(void)close(fd);
		tell_connect(n, address);
		return -EACCES;
	}
	if (to_len == 0) {
		(void)close(fd);
		return -EAFNOSUPPORT;
	}
	peer = peer_of(n, name, address);
	waits = dial_waits(fd);
	r = dial(fd, (struct sockaddr *)&to, to_len);
	first = (r == 0 || r == -EINPROGRESS) &&
		traffic_connected(n->engine->traffic, fd, &to, &peer->sum);
	if (waits && (r == -EINPROGRESS || r == -EALREADY)) {
		r = wait_for(n, id, fd, peer, &to, to_len);
		return r == 0 ? 1 : r;
	}
	/* One that goes on by itself is counted when it has ended, if that is told. */
	if (first && (r == 0 || !n->traffic.counted))
		peer->count++;
	(void)close(fd);
	return r;
}

/* Takes fd. As connect_stream(). */
static int connect_any(struct network *n, uint64_t id, int fd, enum socket_kind kind,
		       int family, const struct sockaddr_storage *to, socklen_t len)
{
	struct net_address address;
	int r;

	if (kind == SOCKET_DATAGRAM) {
		/* In the jail's own namespace, where there is its loopback and no way on. */
		r = connect(fd, (const struct sockaddr *)to, len) < 0 ? -errno : 0;
		(void)close(fd);
		return r;
	}
	if (to->ss_family == AF_UNSPEC) {
		traffic_dissolved(n->engine->traffic, fd);
		r = dial(fd, (const struct sockaddr *)to, len);
		(void)close(fd);
		return r;
	}
	r = to->ss_family == family
		    ? net_address_from((const struct sockaddr *)to, len, &address)
		    : -EAFNOSUPPORT;
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	return connect_stream(n, id, fd, family, &address);
}

static void answer(struct network *n, uint64_t id, int r)
{
	if (r <= 0)
		(void)notify_answer(n->notify, id, 0, -r);
}

static bool on_connect(void *arg, const struct notify_call *call)
{
	struct network *n = arg;
	struct sockaddr_storage to = { 0 };
	socklen_t len = (socklen_t)call->args[2];
	enum socket_kind kind;
	int fd, family, r;

	/* Whoever calls now is about to be killed. */
	if (n->stopped)
		return true;
	fd = notify_take_fd(n->notify, call, (int)call->args[0]);
	if (fd < 0) {
		if (fd != -EBADF)
			return false;
		answer(n, call->id, fd);
		return true;
	}
	kind = socket_kind_of(fd, n->engine->network_cookie, &family);
	if (kind != SOCKET_STREAM && kind != SOCKET_DATAGRAM) {
		(void)close(fd);
		return false;
	}
	if (len < sizeof(to.ss_family) || len > sizeof(to))
		r = -EINVAL;
	else
		r = notify_read(n->notify, call, call->args[1], &to, len);
	if (r == 0)
		r = connect_any(n, call->id, fd, kind, family, &to, len);
	else
		(void)close(fd);
	answer(n, call->id, r);
	return true;
}

/* ---- sockets ---- */

static bool on_socket(void *arg, const struct notify_call *call)
{
	struct network *n = arg;
	int family = (int)call->args[0], type = (int)call->args[1],
	    protocol = (int)call->args[2], r;
	int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC);
	char subject[96];
	int fd;

	if (family != AF_INET && family != AF_INET6)
		return false;
	if (n->stopped)
		return true;
	if ((type & ~flags) != SOCK_STREAM ||
	    (protocol != 0 && protocol != IPPROTO_TCP)) {
		(void)snprintf(subject, sizeof(subject), "%s, type %u, protocol %u",
			       family == AF_INET ? "AF_INET" : "AF_INET6",
			       (unsigned)(type & ~flags), (unsigned)protocol);
		tell(n, "socket", subject, "always", NULL);
		answer(n, call->id, -EPERM);
		return true;
	}
	fd = n->traffic.live < LIVE_MAX
		     ? socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, IPPROTO_TCP)
		     : -1;
	if (fd < 0) {
		answer(n, call->id, n->traffic.live < LIVE_MAX ? -errno : -ENOBUFS);
		return true;
	}
	traffic_watch(n->engine->traffic, &n->traffic, fd);
	r = notify_answer_fd(n->notify, call->id, fd, flags & SOCK_CLOEXEC);
	/* Its table of descriptors is full, or it is gone. */
	if (r < 0)
		answer(n, call->id, r);
	(void)close(fd);
	return true;
}

/* ---- one run ---- */

int network_new(struct engine *engine, const struct sbx_policy *policy,
		network_event_fn fn, void *arg, struct network **ret, struct sbx_err *err)
{
	struct network *n = calloc(1, sizeof(*n));
	int r = n ? hosts_init(&n->hosts, &policy->allowed_hosts) : -ENOMEM;

	if (r < 0) {
		free(n);
		return err_set(err, SBX_AT_ENGINE, -r, "the network of a run");
	}
	n->engine = engine;
	n->fn = fn;
	n->arg = arg;
	n->credit = EVENTS_BURST * 1000000ull;
	n->credit_at_us = loop_now_us();
	traffic_begin(engine->traffic, &n->traffic);
	*ret = n;
	return 0;
}

int network_names(struct network *n, int fd)
{
	if (n->names || n->stopped) {
		(void)close(fd);
		return -EBUSY;
	}
	return names_new(n->engine->loop, fd, &n->hosts, n->engine->resolver, &n->names);
}

int network_start(struct network *n, struct notify *notify)
{
	int r;

	if (!n->names)
		return -ENOTCONN;
	n->notify = notify;
	r = notify_judge(notify, SYS_socket, on_socket, n);
	return r < 0 ? r : notify_judge(notify, SYS_connect, on_connect, n);
}

void network_stop(struct network *n)
{
	n->stopped = true;
	while (n->pending)
		pending_free(n->pending);
}

static void tell_peer(struct network *n, const struct peer *peer)
{
	const struct event event = { .source = "supervisor",
				     .kind = "connection",
				     .subject = peer->subject,
				     .rule = "allowed_hosts",
				     .count = peer->count,
				     .has_traffic = n->engine->traffic != NULL,
				     .sent_bytes = peer->sum.sent_bytes,
				     .received_bytes = peer->sum.received_bytes };

	n->fn(n->arg, &event, peer->first_us);
}

void network_finish(struct network *n, struct network_usage *ret, bool goes_on)
{
	const struct names_denied *d;

	if (!goes_on)
		traffic_end(n->engine->traffic, &n->traffic);
	while ((d = names_untold(n->names)))
		tell_denied(n, "resolve", d->name, d->has_address ? &d->address : NULL, 0,
			    !d->has_address);
	*ret = (struct network_usage){ 0 };
	for (size_t i = 0; i < n->peer_count; i++) {
		if (n->peers[i].sum.connections > n->peers[i].count)
			n->peers[i].count = n->peers[i].sum.connections;
		ret->connections += n->peers[i].count;
		ret->sent_bytes += n->peers[i].sum.sent_bytes;
		ret->received_bytes += n->peers[i].sum.received_bytes;
		if (n->peers[i].count)
			tell_peer(n, &n->peers[i]);
		/* What a connection of now carries is told when it has ended. */
		n->peers[i].count = 0;
		n->peers[i].sum = (struct traffic_sum){ 0 };
	}
}

uint64_t network_dropped(const struct network *n)
{
	return n->dropped;
}

void network_free(struct network **network)
{
	struct network *n = *network;

	*network = NULL;
	if (!n)
		return;
	network_stop(n);
	traffic_end(n->engine->traffic, &n->traffic);
	names_free(&n->names);
	hosts_free(&n->hosts);
	free(n);
}
