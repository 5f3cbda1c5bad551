/* SPDX-License-Identifier: MIT
 * The parts of a program's network that need none: what may be dialled, and messages of
 * the domain name system, hostile ones included. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/dns.h"
#include "net/hosts.h"
#include "net/own.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct net_address address_of(const char *text, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct net_address ret;

	if (strchr(text, ':')) {
		assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
		assert_int_equal(
			net_address_from((struct sockaddr *)&in6, sizeof(in6), &ret), 0);
	} else {
		assert_int_equal(inet_pton(AF_INET, text, &in.sin_addr), 1);
		assert_int_equal(
			net_address_from((struct sockaddr *)&in, sizeof(in), &ret), 0);
	}
	return ret;
}

static struct hosts list_of(const char *text)
{
	char copy[256], *items[16], *rest, *word;
	struct policy_list list = { .items = items };
	struct hosts hosts;

	strcpy(copy, text);
	for (word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		items[list.count++] = word;
	assert_int_equal(hosts_init(&hosts, &list), 0);
	return hosts;
}

static void test_judgement(void **state)
{
	static const struct {
		const char *list, *name, *address;
		uint16_t port;
		bool allowed;
	} cases[] = {
		{ "", NULL, "1.1.1.1", 80, false },
		{ "", "good.com", "1.1.1.1", 80, false },
		{ "*", NULL, "1.1.1.1", 80, true },
		{ "*", NULL, "2606:4700::1", 80, true },
		{ "*", "good.com", "127.0.0.1", 80, false },
		{ "*", NULL, "0.0.0.0", 80, false },
		{ "*", NULL, "::", 80, false },
		{ "*", NULL, "::ffff:127.0.0.1", 80, false },
		{ "*", NULL, "::ffff:1.1.1.1", 80, true },
		{ "*", NULL, "::127.0.0.1", 80, false },
		{ "*", NULL, "64:ff9b::7f00:1", 80, false },
		{ "*", NULL, "2002:7f00:1::", 80, false },
		{ "*", NULL, "fe80::1", 80, false },
		{ "*", NULL, "fd00::1", 80, false },
		{ "*", NULL, "ff02::1", 80, false },
		{ "*", NULL, "169.254.169.254", 80, false },
		{ "*", NULL, "168.63.129.16", 80, false },
		{ "*", NULL, "100.64.0.1", 80, false },
		{ "*", NULL, "224.0.0.1", 80, false },
		{ "*", NULL, "240.0.0.1", 80, false },
		{ "*", NULL, "10.0.0.1", 80, false },
		{ "* 10.0.0.0/8", NULL, "10.0.0.1", 80, true },
		{ "10.0.0.0/8", NULL, "11.0.0.1", 80, false },
		{ "10.0.0.0/9", NULL, "10.128.0.1", 80, false },
		{ "10.0.0.0/9", NULL, "10.127.0.1", 80, true },
		{ "0.0.0.0/0", NULL, "127.0.0.1", 80, true },
		{ "0.0.0.0/0", NULL, "::1", 80, false },
		{ "127.0.0.1", NULL, "0.0.0.0", 80, true },
		{ "127.0.0.1", NULL, "::ffff:127.0.0.1", 80, true },
		{ "127.0.0.1", NULL, "::1", 80, false },
		{ "127.0.0.1:80", NULL, "127.0.0.1", 80, true },
		{ "127.0.0.1:80", NULL, "127.0.0.1", 81, false },
		{ "127.0.0.1:80", NULL, "127.0.0.1", 0, true },
		{ "[2606:4700::1]:443", NULL, "2606:4700::1", 443, true },
		{ "[2606:4700::1]:443", NULL, "2606:4700::1", 80, false },
		{ "localhost", NULL, "127.0.0.1", 80, true },
		{ "localhost", NULL, "::1", 80, true },
		{ "localhost", NULL, "127.0.0.2", 80, false },
		{ "localhost", "localhost", "1.1.1.1", 80, false },
		{ "localhost:80", NULL, "127.0.0.1", 81, false },
		{ "good.com", NULL, "1.1.1.1", 80, false },
		{ "good.com", "good.com", "1.1.1.1", 80, true },
		{ "good.com", "good.com", "10.0.0.1", 80, false },
		{ "good.com", "good.com", "127.0.0.1", 80, false },
		{ "good.com", "notgood.com", "1.1.1.1", 80, false },
		{ "good.com", "good.com.evil", "1.1.1.1", 80, false },
		{ "good.com", "www.good.com", "1.1.1.1", 80, false },
		{ "good.com:443", "good.com", "1.1.1.1", 443, true },
		{ "good.com:443", "good.com", "1.1.1.1", 80, false },
		{ "*.good.com", "www.good.com", "1.1.1.1", 80, true },
		{ "*.good.com", "a.b.good.com", "1.1.1.1", 80, true },
		{ "*.good.com", "good.com", "1.1.1.1", 80, false },
		{ "*.good.com", "notgood.com", "1.1.1.1", 80, false },
		{ "*.good.com", "www.good.com", "192.168.0.1", 80, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct hosts hosts = list_of(cases[i].list);
		struct net_address a = address_of(cases[i].address, cases[i].port);

		if (hosts_allow(&hosts, cases[i].name, &a) != cases[i].allowed)
			fail_msg("case %zu: [%s] %s %s:%u", i, cases[i].list,
				 cases[i].name ? cases[i].name : "-", cases[i].address,
				 cases[i].port);
		hosts_free(&hosts);
	}
}

static void test_lookups(void **state)
{
	struct hosts hosts = list_of("good.com:443 *.example.org 10.0.0.0/8");
	struct hosts any = list_of("*"), none = list_of("");

	(void)state;
	assert_true(hosts_allow_lookup(&hosts, "good.com"));
	assert_true(hosts_allow_lookup(&hosts, "www.example.org"));
	assert_false(hosts_allow_lookup(&hosts, "example.org"));
	assert_false(hosts_allow_lookup(&hosts, "xgood.com"));
	assert_false(hosts_allow_lookup(&hosts, "good.com.evil"));
	assert_true(hosts_allow_lookup(&any, "anything.net"));
	assert_false(hosts_allow_lookup(&any, "localhost"));
	assert_false(hosts_allow_lookup(&any, "x.localhost"));
	assert_false(hosts_allow_lookup(&none, "good.com"));
	hosts_free(&hosts);
	hosts_free(&any);
	hosts_free(&none);
}

static void test_addresses(void **state)
{
	struct net_address a = address_of("::ffff:1.2.3.4", 80), b;
	struct sockaddr_storage to;
	char text[NET_ADDRESS_TEXT];
	struct sockaddr_in in = { .sin_family = AF_INET };

	(void)state;
	net_address_text(&a, text);
	assert_string_equal(text, "1.2.3.4:80");
	assert_int_equal(net_address_to(&a, AF_INET6, &to), sizeof(struct sockaddr_in6));
	assert_int_equal(net_address_from((struct sockaddr *)&to, sizeof(to), &b), 0);
	assert_true(net_address_same(&a, &b) && b.port == 80);
	assert_int_equal(net_address_to(&a, AF_INET, &to), sizeof(struct sockaddr_in));
	a = address_of("fe80::1", 443);
	net_address_text(&a, text);
	assert_string_equal(text, "[fe80::1]:443");
	assert_int_equal(net_address_to(&a, AF_INET, &to), 0);
	assert_int_equal(net_address_from((struct sockaddr *)&in, 15, &a), -EINVAL);
	in.sin_family = AF_UNIX;
	assert_int_equal(net_address_from((struct sockaddr *)&in, sizeof(in), &a),
			 -EAFNOSUPPORT);
}

/* ---- names ---- */

static const uint8_t query[] = "\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x04gOOd\x03"
			       "com\0\0\x01\0\x01";
#define QUERY_LEN (sizeof(query) - 1)

static void test_questions(void **state)
{
	struct dns_question q;
	uint8_t copy[QUERY_LEN];

	(void)state;
	assert_int_equal(dns_parse_question(query, QUERY_LEN, &q), DNS_OK);
	assert_string_equal(q.name, "good.com");
	assert_true(q.id == 0x1234 && q.type == DNS_A && q.recursion);
	for (size_t len = 0; len < QUERY_LEN; len++)
		assert_int_equal(dns_parse_question(query, len, &q),
				 len < 12 ? -EBADMSG : DNS_MALFORMED);
	memcpy(copy, query, sizeof(copy));
	copy[2] = 0x80; /* an answer */
	assert_int_equal(dns_parse_question(copy, sizeof(copy), &q), -EBADMSG);
	copy[2] = 0x28; /* an update */
	assert_int_equal(dns_parse_question(copy, sizeof(copy), &q), DNS_NOT_DONE);
	copy[2] = 1;
	copy[5] = 2; /* two questions */
	assert_int_equal(dns_parse_question(copy, sizeof(copy), &q), DNS_MALFORMED);
	copy[5] = 1;
	copy[QUERY_LEN - 1] = 3; /* another class */
	assert_int_equal(dns_parse_question(copy, sizeof(copy), &q), DNS_NOT_DONE);
	copy[QUERY_LEN - 1] = 1;
	copy[12] = 0xc0; /* a pointer */
	assert_int_equal(dns_parse_question(copy, sizeof(copy), &q), DNS_MALFORMED);
	copy[12] = 4;
	copy[14] = '\0'; /* NUL within a name */
	assert_int_equal(dns_parse_question(copy, sizeof(copy), &q), DNS_MALFORMED);
	copy[14] = '.'; /* a dot within a label, which would read as two */
	assert_int_equal(dns_parse_question(copy, sizeof(copy), &q), DNS_MALFORMED);
}

static size_t answer_with(uint8_t *ret, const char *records, size_t len, uint16_t count)
{
	size_t at = dns_make_question(7, "good.com", DNS_A, ret) - 11;

	ret[2] = 0x81;
	ret[3] = 0x80;
	ret[6] = (uint8_t)(count >> 8);
	ret[7] = (uint8_t)count;
	ret[10] = ret[11] = 0;
	memcpy(ret + at, records, len);
	return at + len;
}

#define ADDRESS(owner_, last_) owner_ "\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03" last_
#define ALIAS(owner_, to_, len_) owner_ "\0\x05\0\x01\0\0\0\x05\0" len_ to_

static void test_answers(void **state)
{
	static const char plain[] = ADDRESS("\xc0\x0c", "\x04")
		ADDRESS("\xc0\x0c", "\x05");
	static const char chain[] = ALIAS("\xc0\x0c", "\x03www\xc0\x0c", "\x06")
		ADDRESS("\x03WWW\xc0\x0c", "\x09");
	static const char others[] = ADDRESS("\x04"
					     "evil\x03"
					     "com\0",
					     "\x04");
	static const char loop[] = ALIAS("\xc0\x0c", "\xc0\x0c", "\x02");
	static const char forward[] = ADDRESS("\xc0\xff", "\x04");
	static const char itself[] = ADDRESS("\xc0\x1a", "\x04");
	struct dns_answer a;
	uint8_t m[DNS_MESSAGE_MAX];
	size_t len;

	(void)state;
	len = answer_with(m, plain, sizeof(plain) - 1, 2);
	assert_int_equal(dns_parse_answer(m, len, 7, "good.com", DNS_A, &a), 0);
	assert_true(a.code == DNS_OK && a.count == 2 && a.ttl == 60);
	assert_int_equal(a.addresses[1].bytes[3], 5);
	/* of another question, number or type */
	assert_int_equal(dns_parse_answer(m, len, 8, "good.com", DNS_A, &a), -EBADMSG);
	assert_int_equal(dns_parse_answer(m, len, 7, "evil.com", DNS_A, &a), -EBADMSG);
	assert_int_equal(dns_parse_answer(m, len, 7, "good.com", DNS_AAAA, &a), -EBADMSG);
	/* cut anywhere */
	for (size_t cut = 0; cut < len; cut++)
		if (dns_parse_answer(m, cut, 7, "good.com", DNS_A, &a) == 0)
			assert_true(a.count < 2);
	len = answer_with(m, chain, sizeof(chain) - 1, 2);
	assert_int_equal(dns_parse_answer(m, len, 7, "good.com", DNS_A, &a), 0);
	assert_true(a.count == 1 && a.ttl == 5 && a.addresses[0].bytes[3] == 9);
	len = answer_with(m, others, sizeof(others) - 1, 1);
	assert_int_equal(dns_parse_answer(m, len, 7, "good.com", DNS_A, &a), 0);
	assert_int_equal(a.count, 0);
	len = answer_with(m, loop, sizeof(loop) - 1, 1);
	assert_int_equal(dns_parse_answer(m, len, 7, "good.com", DNS_A, &a), 0);
	assert_int_equal(a.count, 0);
	len = answer_with(m, forward, sizeof(forward) - 1, 1);
	assert_int_equal(dns_parse_answer(m, len, 7, "good.com", DNS_A, &a), 0);
	assert_int_equal(a.count, 0);
	len = answer_with(m, itself, sizeof(itself) - 1, 1);
	assert_int_equal(dns_parse_answer(m, len, 7, "good.com", DNS_A, &a), 0);
	assert_int_equal(a.count, 0);
	m[3] |= 2; /* its failure */
	assert_int_equal(dns_parse_answer(m, len, 7, "good.com", DNS_A, &a), 0);
	assert_int_equal(a.code, DNS_FAILED);
}

/* What we answer is what we would take, and never longer than 512 bytes. */
static void test_answers_of_ours(void **state)
{
	struct dns_question q = { .id = 9, .recursion = true };
	struct dns_answer a = { .ttl = 30, .count = DNS_ADDRESSES }, back;
	uint8_t m[DNS_MESSAGE_MAX];
	size_t len;

	(void)state;
	for (int six = 0; six < 2; six++) {
		q.type = six ? DNS_AAAA : DNS_A;
		for (size_t i = 0; i < DNS_ADDRESSES; i++) {
			a.addresses[i].family = six ? AF_INET6 : AF_INET;
			a.addresses[i].bytes[six ? 15 : 3] = (uint8_t)i;
		}
		memset(q.name, 'a', sizeof(q.name));
		for (size_t i = 60; i < 253; i += 61)
			q.name[i] = '.';
		q.name[253] = '\0';
		len = dns_make_answer(&q, &a, m);
		assert_true(len <= DNS_MESSAGE_MAX);
		assert_int_equal(dns_parse_answer(m, len, 9, q.name,
						  six ? DNS_AAAA : DNS_A, &back),
				 0);
		assert_true(back.count >= 8 &&
			    back.addresses[3].bytes[six ? 15 : 3] == 3);
	}
	assert_int_equal(dns_make_question(1, "", DNS_A, m), 0);
	assert_int_equal(dns_make_question(1, "a..b", DNS_A, m), 0);
	assert_int_equal(dns_make_question(1, "a.", DNS_A, m), 0);
}

/* Bytes of chance, and good messages with some bytes of chance in them. Under --sanitize
 * a read too far is a failure. */
static void test_noise(void **state)
{
	static const char plain[] = ADDRESS("\xc0\x0c", "\x04")
		ALIAS("\xc0\x0c", "\x03www\xc0\x0c", "\x06")
			ADDRESS("\x03www\xc0\x0c", "\x09");
	unsigned seed = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint8_t good[DNS_MESSAGE_MAX], *m;
		size_t len = answer_with(good, plain, sizeof(plain) - 1, 3);
		struct dns_question q;
		struct dns_answer a;

		if (i % 2) {
			memcpy(good, query, QUERY_LEN);
			len = QUERY_LEN;
		}
		len -= (size_t)(rand_r(&seed) % 4) * (size_t)(rand_r(&seed) % 8 == 0);
		m = malloc(len);
		assert_non_null(m);
		memcpy(m, good, len);
		for (int k = rand_r(&seed) % 5; k > 0; k--)
			m[(size_t)rand_r(&seed) % len] = (uint8_t)rand_r(&seed);
		if (dns_parse_question(m, len, &q) == DNS_OK)
			assert_true(strlen(q.name) < DNS_NAME_MAX);
		if (dns_parse_answer(m, len, 7, "good.com", DNS_A, &a) == 0)
			assert_true(a.count <= DNS_ADDRESSES);
		free(m);
	}
}

static void test_own_ports(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct own own = { 0 };
	struct net_address address;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(own_add(&own, fd), 0);
	assert_int_equal(net_address_from((struct sockaddr *)&at, len, &address), 0);
	assert_true(own_is(&own, &address));
	address.bytes[3] = 77; /* 127.0.0.77 is this machine, too */
	assert_true(own_is(&own, &address));
	address.port++;
	assert_false(own_is(&own, &address));
	address.port--;
	memcpy(address.bytes, "\xc0\x00\x02\x01", 4); /* 192.0.2.1 is nobody's */
	assert_false(own_is(&own, &address));
	for (size_t i = 1; i < OWN_PORTS; i++)
		assert_int_equal(own_add(&own, fd), 0);
	assert_int_equal(own_add(&own, fd), -ENOSPC);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judgement), cmocka_unit_test(test_lookups),
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_questions),
		cmocka_unit_test(test_answers),   cmocka_unit_test(test_answers_of_ours),
		cmocka_unit_test(test_noise),     cmocka_unit_test(test_own_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
