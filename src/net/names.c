/* SPDX-License-Identifier: MIT
 * Purpose: the names of one run (names.h).
 * Process: the engine, on its loop. Trusts: nothing that comes by the socket; of a name
 *   server nothing but that it answers.
 * Invariants: only names that an item allows leave the machine; only addresses that may
 *   be dialled on some port are handed out, and remembered before they are; all tables
 *   are of fixed size; the engine's work for one run is bounded by QUESTIONS_PER_SECOND. */
#include "net/names.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#define AT_ONCE 32u
#define KNOWN_MAX 1024u
#define DENIED_MAX 254u
#define LOOKUPS_MAX 128u
#define QUESTIONS_BURST 400u
#define QUESTIONS_PER_SECOND 100u
#define TTL_MAX 30u /* of what we hand out */
/* How long an address belongs to its name: programs keep one longer than they should. */
#define KEEP_US 600000000ull

struct known {
	char name[DNS_NAME_MAX];
	struct net_address address;
	uint64_t until_us; /* 0: a free place */
};

struct denied {
	struct names_denied seen;
	char name[DNS_NAME_MAX];
	bool told;
};

struct asked {
	struct names *names; /* NULL: a free place */
	struct lookup *lookup;
	struct dns_question question;
	struct sockaddr_storage from;
	socklen_t from_len;
};

struct names {
	struct loop *loop;
	struct loop_io *io;
	int fd;
	const struct hosts *hosts;
	struct resolver *resolver;
	uint64_t credit, credit_at_us; /* questions, in millionths */
	struct known known[KNOWN_MAX];
	struct denied denied[DENIED_MAX];
	size_t denied_count;
	struct asked asked[LOOKUPS_MAX];
};

/* ---- what is remembered ---- */

const char *names_of(const struct names *names, const struct net_address *address,
		     size_t *at)
{
	uint64_t now = loop_now_us();

	for (; names && *at < KNOWN_MAX; (*at)++) {
		const struct known *k = &names->known[*at];

		if (k->until_us <= now || !net_address_same(&k->address, address))
			continue;
		(*at)++;
		return k->name;
	}
	return NULL;
}

static void remember(struct names *names, const char *name,
		     const struct net_address *address)
{
	struct known *place = &names->known[0];

	for (size_t i = 0; i < KNOWN_MAX; i++) {
		struct known *k = &names->known[i];

		if (k->until_us && net_address_same(&k->address, address) &&
		    strcmp(k->name, name) == 0) {
			place = k;
			break;
		}
		if (k->until_us < place->until_us)
			place = k;
	}
	(void)snprintf(place->name, sizeof(place->name), "%s", name);
	place->address = *address;
	place->until_us = loop_now_us() + KEEP_US;
}

static bool is_ours(const struct net_address *address)
{
	return address->family == AF_INET && address->bytes[0] == 240 &&
	       address->bytes[1] == 0 && address->bytes[2] == 0;
}

const struct names_denied *names_denied(struct names *names,
					const struct net_address *address)
{
	size_t i = address->bytes[3];

	if (!names || !is_ours(address) || i == 0 || i > names->denied_count)
		return NULL;
	names->denied[i - 1].told = true;
	return &names->denied[i - 1].seen;
}

const struct names_denied *names_untold(struct names *names)
{
	for (size_t i = 0; names && i < names->denied_count; i++)
		if (!names->denied[i].told) {
			names->denied[i].told = true;
			return &names->denied[i].seen;
		}
	return NULL;
}

/* The number of its place, from 1; 0: there is no place left. One for a name, whichever
 * of its addresses is refused. */
static size_t deny(struct names *names, const char *name,
		   const struct net_address *address)
{
	struct denied *d;
	size_t i;

	for (i = 0; i < names->denied_count; i++) {
		d = &names->denied[i];
		if (strcmp(d->name, name) == 0 &&
		    d->seen.has_address == (address != NULL))
			break;
	}
	if (i == DENIED_MAX)
		return 0;
	d = &names->denied[i];
	if (i == names->denied_count) {
		(void)snprintf(d->name, sizeof(d->name), "%s", name);
		d->seen.name = d->name;
		names->denied_count++;
	}
	/* That of version 4 is the one that a connection will tell of. */
	if (address && (!d->seen.has_address || address->family == AF_INET))
		d->seen.address = *address;
	d->seen.has_address = address != NULL;
	return i + 1;
}

/* ---- answers ---- */

static void send_answer(struct names *names, const struct sockaddr_storage *to,
			socklen_t to_len, const uint8_t *message, size_t len)
{
	/* A full buffer, or nobody there any more: as a lost datagram. */
	(void)sendto(names->fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		     (const struct sockaddr *)to, to_len);
}

static void reply(const struct asked *asked, const struct dns_answer *answer)
{
	uint8_t message[DNS_MESSAGE_MAX];
	size_t len = dns_make_answer(&asked->question, answer, message);

	send_answer(asked->names, &asked->from, asked->from_len, message, len);
}

/* Has no address, or for one of version 4 that one of ours. */
static void reply_denied(const struct asked *asked, const struct net_address *address)
{
	size_t place = deny(asked->names, asked->question.name, address);
	struct dns_answer answer = { .code = place ? DNS_OK : DNS_NO_NAME };

	if (place && asked->question.type == DNS_A) {
		answer.addresses[0] = (struct net_address){ .family = AF_INET };
		answer.addresses[0].bytes[0] = 240;
		answer.addresses[0].bytes[3] = (uint8_t)place;
		answer.count = 1;
	}
	reply(asked, &answer);
}

static void reply_found(const struct asked *asked, const struct dns_answer *found)
{
	struct dns_answer answer = { .code = found->code, .ttl = found->ttl };
	const char *name = asked->question.name;

	if (answer.ttl > TTL_MAX)
		answer.ttl = TTL_MAX;
	for (size_t i = 0; i < found->count; i++) {
		struct net_address address = found->addresses[i];
		struct sockaddr_storage shape;

		/* In the form in which it will come back with a connect. */
		(void)net_address_to(&address, address.family, &shape);
		(void)net_address_from((struct sockaddr *)&shape, sizeof(shape),
				       &address);
		if (!hosts_allow(asked->names->hosts, name, &address))
			continue;
		remember(asked->names, name, &address);
		answer.addresses[answer.count++] = found->addresses[i];
	}
	if (found->count > 0 && answer.count == 0)
		reply_denied(asked, &found->addresses[0]);
	else
		reply(asked, &answer);
}

static void on_found(void *arg, const struct dns_answer *answer)
{
	struct asked *asked = arg;

	asked->lookup = NULL;
	reply_found(asked, answer);
	asked->names = NULL;
}

/* ---- questions ---- */

/* What the C library takes for an address in one of its odd forms (127.1, 0x7f000001) it
 * does not ask for; whoever does gets no answer from elsewhere. */
static bool looks_numeric(const char *name)
{
	const char *last = strrchr(name, '.');

	last = last ? last + 1 : name;
	return last[0] >= '0' && last[0] <= '9' &&
	       (strspn(last, "0123456789") == strlen(last) ||
		(last[1] == 'x' &&
		 strspn(last + 2, "0123456789abcdef") == strlen(last + 2)));
}

static bool is_localhost(const char *name)
{
	size_t len = strlen(name);

	return strcmp(name, "localhost") == 0 ||
	       (len > 10 && strcmp(name + len - 10, ".localhost") == 0);
}

static void reply_localhost(const struct asked *asked)
{
	struct dns_answer answer = { .count = 1 };

	answer.addresses[0].family = asked->question.type == DNS_A ? AF_INET : AF_INET6;
	answer.addresses[0].bytes[0] = asked->question.type == DNS_A ? 127 : 0;
	answer.addresses[0].bytes[asked->question.type == DNS_A ? 3 : 15] = 1;
	reply(asked, &answer);
}

static void look_up(struct asked *asked)
{
	static const struct dns_answer failed = { .code = DNS_FAILED };
	struct names *names = asked->names;
	struct dns_answer answer;
	struct asked *place = NULL;
	int r;

	for (size_t i = 0; i < LOOKUPS_MAX && !place; i++)
		if (!names->asked[i].names)
			place = &names->asked[i];
	/* No answer: the C library asks once more, after a while. */
	if (!place)
		return;
	*place = *asked;
	r = resolver_lookup(names->resolver, asked->question.name,
			    (enum dns_type)asked->question.type, on_found, place, &answer,
			    &place->lookup);
	if (r == 0)
		return;
	place->names = NULL;
	if (r > 0)
		reply_found(asked, &answer);
	else
		reply(asked, &failed);
}

static void answer_question(struct asked *asked)
{
	static const struct dns_answer nothing = { .code = DNS_OK };
	static const struct dns_answer no_name = { .code = DNS_NO_NAME };
	const struct dns_question *q = &asked->question;
	bool address = q->type == DNS_A || q->type == DNS_AAAA;

	if (looks_numeric(q->name))
		reply(asked, &no_name);
	else if (is_localhost(q->name) && address)
		reply_localhost(asked);
	else if (!hosts_allow_lookup(asked->names->hosts, q->name))
		reply_denied(asked, NULL);
	else if (!address)
		reply(asked, &nothing);
	else
		look_up(asked);
}

static bool may_ask(struct names *names)
{
	uint64_t now = loop_now_us(), passed = now - names->credit_at_us;

	names->credit_at_us = now;
	names->credit += (passed < 60000000u ? passed : 60000000u) * QUESTIONS_PER_SECOND;
	if (names->credit > QUESTIONS_BURST * 1000000ull)
		names->credit = QUESTIONS_BURST * 1000000ull;
	if (names->credit < 1000000u)
		return false;
	names->credit -= 1000000u;
	return true;
}

static void on_question(void *arg, uint32_t events)
{
	struct names *names = arg;

	(void)events;
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct asked asked = { .names = names, .from_len = sizeof(asked.from) };
		uint8_t message[DNS_MESSAGE_MAX];
		ssize_t n;
		int code;

		n = recvfrom(names->fd, message, sizeof(message), MSG_DONTWAIT,
			     (struct sockaddr *)&asked.from, &asked.from_len);
		if (n < 0)
			return;
		if (!may_ask(names))
			continue;
		code = dns_parse_question(message, (size_t)n, &asked.question);
		if (code > 0)
			send_answer(names, &asked.from, asked.from_len, message,
				    dns_make_error(asked.question.id, (enum dns_code)code,
						   message));
		else if (code == 0)
			answer_question(&asked);
	}
}

int names_new(struct loop *loop, int fd, const struct hosts *hosts,
	      struct resolver *resolver, struct names **ret)
{
	struct names *names = calloc(1, sizeof(*names));
	int r;

	if (!names) {
		(void)close(fd);
		return -ENOMEM;
	}
	names->loop = loop;
	names->fd = fd;
	names->hosts = hosts;
	names->resolver = resolver;
	names->credit = QUESTIONS_BURST * 1000000ull;
	names->credit_at_us = loop_now_us();
	r = loop_add(loop, fd, EPOLLIN, on_question, names, &names->io);
	if (r < 0) {
		names_free(&names);
		return r;
	}
	*ret = names;
	return 0;
}

void names_free(struct names **names)
{
	struct names *n = *names;

	*names = NULL;
	if (!n)
		return;
	for (size_t i = 0; i < LOOKUPS_MAX; i++)
		lookup_forget(&n->asked[i].lookup);
	loop_remove(&n->io);
	fd_close(&n->fd);
	free(n);
}
