/* SPDX-License-Identifier: MIT
 * Purpose: looks names up (resolver.h).
 * Process: the engine, on its loop; unprivileged, in the host's network namespace.
 * Trusts: the host's two files. A name server's answer counts if it comes from the server
 *   that was asked, to the port, number and question that were asked; what it says is
 *   judged by hosts.h before anything is done with it.
 * Invariants: nothing blocks; every look-up ends, by an answer or after at most SERVERS_MAX
 *   tries of TRY_US each; a number and a source port serve one try. */
#include "net/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

#define SERVERS_MAX 3u
#define TRIES 2u
#define TRY_US 2000000u
#define LOOKUPS_MAX 512u
#define FRESH_US 5000000u /* the two files are read again after so long */

struct resolver {
	struct loop *loop;
	resolver_read_fn read;
	void *arg;
	bool fixed; /* servers were given */
	struct net_address servers[SERVERS_MAX];
	size_t server_count;
	char *hosts; /* text of /etc/hosts */
	uint64_t read_us;
	size_t under_way;
};

struct lookup {
	struct resolver *resolver;
	lookup_fn fn;
	void *arg;
	char name[DNS_NAME_MAX];
	enum dns_type type;
	uint16_t id;
	unsigned tries;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer;
};

/* ---- what the host says ---- */

static bool parse_server(const char *text, struct net_address *ret)
{
	struct net_address made = { .family = AF_INET, .port = 53 };
	const char *colon = strrchr(text, ':');
	char address[NET_ADDRESS_TEXT];
	size_t len = strlen(text);

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len + 1);
	if (address[0] == '[') {
		char *end = strchr(address, ']');

		if (!end)
			return false;
		*end = '\0';
		memmove(address, address + 1, strlen(address + 1) + 1);
		colon = strrchr(text, ']')[1] == ':' ? colon : NULL;
	} else if (colon && strchr(text, ':') != colon) {
		colon = NULL; /* IPv6 without a port */
	} else if (colon) {
		address[colon - text] = '\0';
	}
	if (colon) {
		unsigned long port = strtoul(colon + 1, NULL, 10);

		if (port == 0 || port > 65535)
			return false;
		made.port = (uint16_t)port;
	}
	if (strchr(address, ':'))
		made.family = AF_INET6;
	if (inet_pton(made.family, address, made.bytes) != 1)
		return false;
	*ret = made;
	return true;
}

static void add_server(struct resolver *r, const char *text)
{
	if (r->server_count < SERVERS_MAX &&
	    parse_server(text, &r->servers[r->server_count]))
		r->server_count++;
}

static void read_resolv_conf(struct resolver *r, char *text)
{
	char *line, *rest, *word, *words;

	r->server_count = 0;
	for (line = text ? strtok_r(text, "\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\n", &rest)) {
		word = strtok_r(line, " \t\r", &words);
		if (!word || strcmp(word, "nameserver") != 0)
			continue;
		word = strtok_r(NULL, " \t\r", &words);
		if (word)
			add_server(r, word);
	}
	/* As the C library has it. */
	if (r->server_count == 0)
		add_server(r, "127.0.0.1");
}

static void refresh(struct resolver *r)
{
	uint64_t now = loop_now_us();
	char *text;

	if (r->read_us && now - r->read_us < FRESH_US)
		return;
	r->read_us = now;
	free(r->hosts);
	r->hosts = r->read(r->arg, "/etc/hosts");
	if (r->fixed)
		return;
	text = r->read(r->arg, "/etc/resolv.conf");
	read_resolv_conf(r, text);
	free(text);
}

/* One line of /etc/hosts. True: it names the name. */
static bool hosts_line(const char *line, size_t len, const char *name, enum dns_type type,
		       struct dns_answer *answer)
{
	struct net_address address = { .family = type == DNS_A ? AF_INET : AF_INET6 };
	char text[1024], *rest, *word, *first;
	char *comment;

	if (len >= sizeof(text))
		return false;
	memcpy(text, line, len);
	text[len] = '\0';
	comment = strchr(text, '#');
	if (comment)
		*comment = '\0';
	first = strtok_r(text, " \t\r", &rest);
	while (first && (word = strtok_r(NULL, " \t\r", &rest))) {
		if (strcasecmp(word, name) != 0)
			continue;
		if (inet_pton(address.family, first, address.bytes) == 1 &&
		    answer->count < DNS_ADDRESSES)
			answer->addresses[answer->count++] = address;
		return true;
	}
	return false;
}

static bool from_hosts(const struct resolver *r, const char *name, enum dns_type type,
		       struct dns_answer *answer)
{
	const char *line = r->hosts ? r->hosts : "";
	bool found = false;

	*answer = (struct dns_answer){ .ttl = 0 };
	while (*line) {
		size_t len = strcspn(line, "\n");

		found = hosts_line(line, len, name, type, answer) || found;
		line += len + (line[len] == '\n');
	}
	return found;
}

int resolver_new(struct loop *loop, resolver_read_fn read, void *arg, const char *servers,
		 struct resolver **ret)
{
	struct resolver *r = calloc(1, sizeof(*r));
	char *copy, *word, *rest;

	if (!r)
		return -ENOMEM;
	*r = (struct resolver){ .loop = loop, .read = read, .arg = arg };
	if (servers) {
		copy = strdup(servers);
		if (!copy) {
			free(r);
			return -ENOMEM;
		}
		r->fixed = true;
		for (word = strtok_r(copy, ",", &rest); word;
		     word = strtok_r(NULL, ",", &rest))
			add_server(r, word);
		free(copy);
	}
	*ret = r;
	return 0;
}

void resolver_free(struct resolver **resolver)
{
	struct resolver *r = *resolver;

	*resolver = NULL;
	if (!r)
		return;
	free(r->hosts);
	free(r);
}

/* ---- one look-up ---- */

static void let_go(struct lookup *l)
{
	loop_remove(&l->io);
	fd_close(&l->fd);
}

void lookup_forget(struct lookup **lookup)
{
	struct lookup *l = *lookup;

	*lookup = NULL;
	if (!l)
		return;
	let_go(l);
	loop_timer_cancel(&l->timer);
	l->resolver->under_way--;
	free(l);
}

static void finish(struct lookup *l, const struct dns_answer *answer)
{
	lookup_fn fn = l->fn;
	void *arg = l->arg;

	/* It is gone when fn is called: the caller's handle, too. */
	lookup_forget(&l);
	fn(arg, answer);
}

static bool may_try(const struct lookup *l)
{
	size_t servers = l->resolver->server_count;

	return l->tries < (servers > TRIES ? servers : TRIES);
}

static void on_timeout(void *arg);

static void on_answer(void *arg, uint32_t events)
{
	struct lookup *l = arg;
	uint8_t message[DNS_ANSWER_MAX];
	struct dns_answer answer;
	ssize_t n;

	(void)events;
	n = recv(l->fd, message, sizeof(message), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* Nobody listens there (an ICMP error): the next one, at once. */
	if (n < 0) {
		on_timeout(l);
		return;
	}
	/* Whatever is no answer to the question is somebody's guess: the true one may
	 * come yet. */
	if (dns_parse_answer(message, (size_t)n, l->id, l->name, l->type, &answer) < 0)
		return;
	if (answer.code == DNS_FAILED && may_try(l)) {
		on_timeout(l);
		return;
	}
	finish(l, &answer);
}

static int send_question(struct lookup *l)
{
	const struct resolver *r = l->resolver;
	const struct net_address *server;
	struct sockaddr_storage to;
	uint8_t message[DNS_MESSAGE_MAX];
	socklen_t to_len;
	size_t len;
	int n;

	let_go(l);
	if (r->server_count == 0)
		return -EHOSTUNREACH;
	server = &r->servers[l->tries++ % r->server_count];
	if (getrandom(&l->id, sizeof(l->id), GRND_NONBLOCK) != (ssize_t)sizeof(l->id))
		return -EIO;
	len = dns_make_question(l->id, l->name, l->type, message);
	if (len == 0)
		return -EINVAL;
	to_len = net_address_to(server, server->family, &to);
	l->fd = socket(server->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Connected: the kernel drops what comes from elsewhere, and picks a port by
	 * chance. */
	if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&to, to_len) < 0 ||
	    send(l->fd, message, len, MSG_NOSIGNAL) < 0)
		return -errno;
	n = loop_add(r->loop, l->fd, EPOLLIN, on_answer, l, &l->io);
	return n < 0 ? n
		     : loop_timer_at(r->loop, &l->timer, loop_now_us() + TRY_US,
				     on_timeout, l);
}

static void on_timeout(void *arg)
{
	static const struct dns_answer failed = { .code = DNS_FAILED };
	struct lookup *l = arg;

	while (may_try(l))
		if (send_question(l) == 0)
			return;
	finish(l, &failed);
}

int resolver_lookup(struct resolver *r, const char *name, enum dns_type type,
		    lookup_fn fn, void *arg, struct dns_answer *answer,
		    struct lookup **lookup)
{
	struct lookup *l;

	refresh(r);
	if (from_hosts(r, name, type, answer))
		return 1;
	if (r->under_way >= LOOKUPS_MAX)
		return -EBUSY;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct lookup){
		.resolver = r, .fn = fn, .arg = arg, .type = type, .fd = -1
	};
	(void)snprintf(l->name, sizeof(l->name), "%s", name);
	r->under_way++;
	while (may_try(l))
		if (send_question(l) == 0) {
			*lookup = l;
			return 0;
		}
	lookup_forget(&l);
	return -EHOSTUNREACH;
}
