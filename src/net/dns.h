/* SPDX-License-Identifier: MIT
 * Messages of the domain name system, as far as we take and make them: one question, one
 * class, addresses. Pure: no descriptor, no clock, no allocation. What is parsed is
 * hostile on both sides: a program's question, and a name server's answer. */
#ifndef SBX_NET_DNS_H
#define SBX_NET_DNS_H

#include "net/address.h"

#define DNS_NAME_MAX 254u    /* with its NUL; text, lower case, no dot at the end */
#define DNS_ADDRESSES 16u    /* of one answer; further ones are left out */
#define DNS_MESSAGE_MAX 512u /* that we send: what every resolver takes without TCP */
#define DNS_ANSWER_MAX 4096u /* that we take */

enum dns_type { DNS_A = 1, DNS_AAAA = 28 };
enum dns_code {
	DNS_OK = 0,
	DNS_MALFORMED = 1,
	DNS_FAILED = 2,
	DNS_NO_NAME = 3,
	DNS_NOT_DONE = 4,
};

struct dns_question {
	uint16_t id;
	uint16_t type; /* of anything */
	bool recursion;
	char name[DNS_NAME_MAX];
};
/* A query that can be answered. DNS_OK; DNS_MALFORMED or DNS_NOT_DONE: ret->id alone is
 * set, answer with that code. -EBADMSG: answer nothing. */
int dns_parse_question(const uint8_t *message, size_t len, struct dns_question *ret);

struct dns_answer {
	enum dns_code code;
	uint32_t ttl; /* seconds */
	size_t count;
	struct net_address addresses[DNS_ADDRESSES];
};
/* Each returns the length of what it made in ret. */
size_t dns_make_answer(const struct dns_question *question,
		       const struct dns_answer *answer, uint8_t ret[DNS_MESSAGE_MAX]);
size_t dns_make_error(uint16_t id, enum dns_code code, uint8_t ret[DNS_MESSAGE_MAX]);
/* name: as above. 0 where it is no name. */
size_t dns_make_question(uint16_t id, const char *name, enum dns_type type,
			 uint8_t ret[DNS_MESSAGE_MAX]);
/* The answer to that very question: chains of aliases are followed within it, everything
 * else in it is passed over. 0; -EBADMSG: not an answer to it, to be ignored. */
int dns_parse_answer(const uint8_t *message, size_t len, uint16_t id, const char *name,
		     enum dns_type type, struct dns_answer *ret);

#endif
