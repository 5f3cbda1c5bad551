/* SPDX-License-Identifier: MIT
 * Purpose: messages of the domain name system (dns.h). Process: the engine; any thread.
 * Trusts: nothing.
 * Invariants: no read beyond len; a pointer of a compressed name leads backwards, so that
 *   every name ends; a name has letters, digits, "-" and "_" only, so that its text says
 *   one thing. */
#include "net/dns.h"

#include <errno.h>
#include <string.h>

#define HEADER 12u
#define CLASS_INTERNET 1u
#define TYPE_ALIAS 5u
#define TYPE_OPTIONS 41u
#define RECORDS_MAX 64u
#define ALIASES_MAX 8u

#define FLAG_ANSWER 0x8000u
#define FLAG_OPCODE 0x7800u
#define FLAG_TRUNCATED 0x0200u
#define FLAG_RECURSION_WANTED 0x0100u
#define FLAG_RECURSION_DONE 0x0080u

struct reader {
	const uint8_t *data;
	size_t len, at;
	bool bad;
};

static uint16_t get16(struct reader *r)
{
	uint16_t value;

	if (r->len - r->at < 2) {
		r->bad = true;
		return 0;
	}
	value = (uint16_t)(r->data[r->at] << 8 | r->data[r->at + 1]);
	r->at += 2;
	return value;
}

static uint32_t get32(struct reader *r)
{
	uint32_t high = get16(r);

	return high << 16 | get16(r);
}

/* Lower case; 0: no letter of a host's name. */
static char letter(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'
		       ? (char)c
		       : 0;
}

/* A name, compressed or not; the reader goes on behind it. The text stays empty for the
 * root, and for a name of other letters, which is none that we deal with. */
static void get_name(struct reader *r, bool pointers, char ret[DNS_NAME_MAX])
{
	size_t at = r->at, lowest = r->at, len = 0;
	bool jumped = false, odd = false;

	for (;;) {
		uint8_t c;

		if (at >= r->len)
			goto bad;
		c = r->data[at++];
		if (c == 0)
			break;
		if ((c & 0xc0) == 0xc0) {
			size_t to;

			if (!pointers || at >= r->len)
				goto bad;
			to = (size_t)(c & 0x3f) << 8 | r->data[at++];
			if (!jumped)
				r->at = at;
			jumped = true;
			if (to >= lowest)
				goto bad;
			at = lowest = to;
			continue;
		}
		if (c > 63 || r->len - at < c || len + (len > 0) + c >= DNS_NAME_MAX)
			goto bad;
		if (len > 0)
			ret[len++] = '.';
		for (; c > 0; c--) {
			ret[len] = letter(r->data[at++]);
			odd = odd || ret[len] == 0;
			len++;
		}
	}
	if (!jumped)
		r->at = at;
	ret[odd ? 0 : len] = '\0';
	return;
bad:
	r->bad = true;
	ret[0] = '\0';
}

int dns_parse_question(const uint8_t *message, size_t len, struct dns_question *ret)
{
	struct reader r = { .data = message, .len = len };
	struct dns_question made = { 0 };
	uint16_t flags, questions, class;

	if (len < HEADER)
		return -EBADMSG;
	made.id = get16(&r);
	flags = get16(&r);
	questions = get16(&r);
	r.at = HEADER;
	if (flags & FLAG_ANSWER)
		return -EBADMSG;
	ret->id = made.id;
	if (flags & FLAG_OPCODE)
		return DNS_NOT_DONE;
	if (questions != 1)
		return DNS_MALFORMED;
	made.recursion = flags & FLAG_RECURSION_WANTED;
	get_name(&r, false, made.name);
	made.type = get16(&r);
	class = get16(&r);
	if (r.bad || made.name[0] == '\0')
		return DNS_MALFORMED;
	if (class != CLASS_INTERNET)
		return DNS_NOT_DONE;
	*ret = made;
	return DNS_OK;
}

/* ---- what we make ---- */

struct writer {
	uint8_t *data;
	size_t at;
};

static void put16(struct writer *w, unsigned value)
{
	w->data[w->at++] = (uint8_t)(value >> 8);
	w->data[w->at++] = (uint8_t)value;
}

static void put_header(struct writer *w, uint16_t id, unsigned flags, unsigned questions,
		       unsigned answers, unsigned additional)
{
	put16(w, id);
	put16(w, flags);
	put16(w, questions);
	put16(w, answers);
	put16(w, 0);
	put16(w, additional);
}

/* False: no name that could be asked for. */
static bool put_name(struct writer *w, const char *name)
{
	if (strlen(name) >= DNS_NAME_MAX)
		return false;
	while (*name) {
		size_t len = strcspn(name, ".");

		if (len == 0 || len > 63)
			return false;
		w->data[w->at++] = (uint8_t)len;
		memcpy(w->data + w->at, name, len);
		w->at += len;
		name += len;
		if (*name == '.' && *++name == '\0')
			return false;
	}
	w->data[w->at++] = 0;
	return true;
}

size_t dns_make_error(uint16_t id, enum dns_code code, uint8_t ret[DNS_MESSAGE_MAX])
{
	struct writer w = { .data = ret };

	put_header(&w, id, FLAG_ANSWER | FLAG_RECURSION_DONE | code, 0, 0, 0);
	return w.at;
}

size_t dns_make_answer(const struct dns_question *question,
		       const struct dns_answer *answer, uint8_t ret[DNS_MESSAGE_MAX])
{
	struct writer w = { .data = ret };
	unsigned count = 0;

	put_header(&w, question->id,
		   FLAG_ANSWER | FLAG_RECURSION_DONE |
			   (question->recursion ? FLAG_RECURSION_WANTED : 0) |
			   answer->code,
		   1, 0, 0);
	if (!put_name(&w, question->name))
		return dns_make_error(question->id, DNS_FAILED, ret);
	put16(&w, question->type);
	put16(&w, CLASS_INTERNET);
	for (size_t i = 0; answer->code == DNS_OK && i < answer->count; i++) {
		const struct net_address *address = &answer->addresses[i];
		size_t size = address->family == AF_INET ? 4 : 16;

		if (question->type != (size == 4 ? DNS_A : DNS_AAAA))
			continue;
		if (DNS_MESSAGE_MAX - w.at < 12 + size)
			break;
		put16(&w, 0xc000u | HEADER); /* the question's name */
		put16(&w, question->type);
		put16(&w, CLASS_INTERNET);
		put16(&w, answer->ttl >> 16);
		put16(&w, answer->ttl & 0xffff);
		put16(&w, (unsigned)size);
		memcpy(w.data + w.at, address->bytes, size);
		w.at += size;
		count++;
	}
	ret[7] = (uint8_t)count;
	return w.at;
}

size_t dns_make_question(uint16_t id, const char *name, enum dns_type type,
			 uint8_t ret[DNS_MESSAGE_MAX])
{
	struct writer w = { .data = ret };

	put_header(&w, id, FLAG_RECURSION_WANTED, 1, 0, 1);
	if (*name == '\0' || !put_name(&w, name))
		return 0;
	put16(&w, type);
	put16(&w, CLASS_INTERNET);
	/* That we take longer answers than the 512 bytes of old (RFC 6891); 1,232 bytes
	 * come in one piece on every path. */
	w.data[w.at++] = 0;
	put16(&w, TYPE_OPTIONS);
	put16(&w, 1232);
	put16(&w, 0);
	put16(&w, 0);
	put16(&w, 0);
	return w.at;
}

/* ---- answers of others ---- */

struct record {
	char owner[DNS_NAME_MAX];
	uint16_t type;
	uint32_t ttl;
	size_t at, len; /* its data */
};

static bool get_record(struct reader *r, struct record *ret)
{
	uint16_t class;

	get_name(r, true, ret->owner);
	ret->type = get16(r);
	class = get16(r);
	ret->ttl = get32(r);
	ret->len = get16(r);
	ret->at = r->at;
	if (r->bad || r->len - r->at < ret->len)
		return false;
	r->at += ret->len;
	if (class != CLASS_INTERNET)
		ret->type = 0;
	return true;
}

static void take_address(const uint8_t *data, const struct record *record,
			 enum dns_type type, struct dns_answer *ret)
{
	size_t size = type == DNS_A ? 4 : 16;
	struct net_address *to = &ret->addresses[ret->count];

	if (record->len != size || ret->count == DNS_ADDRESSES)
		return;
	*to = (struct net_address){ .family = type == DNS_A ? AF_INET : AF_INET6 };
	memcpy(to->bytes, data + record->at, size);
	ret->count++;
}

/* One pass over the records, for one name: its addresses, or the name that it stands
 * for (then true). */
static bool pass(const struct reader *from, unsigned count, char name[DNS_NAME_MAX],
		 enum dns_type type, struct dns_answer *ret)
{
	struct reader r = *from;
	struct record record;

	for (unsigned i = 0; i < count && get_record(&r, &record); i++) {
		if (strcmp(record.owner, name) != 0)
			continue;
		if (record.type == type)
			take_address(r.data, &record, type, ret);
		if (record.type != type && record.type != TYPE_ALIAS)
			continue;
		if (record.ttl < ret->ttl)
			ret->ttl = record.ttl;
		if (record.type == TYPE_ALIAS) {
			struct reader at = { .data = r.data,
					     .len = r.len,
					     .at = record.at };

			get_name(&at, true, name);
			return !at.bad && name[0] != '\0';
		}
	}
	return false;
}

int dns_parse_answer(const uint8_t *message, size_t len, uint16_t id, const char *name,
		     enum dns_type type, struct dns_answer *ret)
{
	struct reader r = { .data = message, .len = len };
	struct dns_answer made = { .ttl = 86400 };
	char at[DNS_NAME_MAX];
	uint16_t flags, questions, answers;

	if (len < HEADER || get16(&r) != id)
		return -EBADMSG;
	flags = get16(&r);
	questions = get16(&r);
	answers = get16(&r);
	r.at = HEADER;
	if (!(flags & FLAG_ANSWER) || (flags & FLAG_OPCODE) || questions != 1)
		return -EBADMSG;
	get_name(&r, false, at);
	if (get16(&r) != type || get16(&r) != CLASS_INTERNET || r.bad ||
	    strcmp(at, name) != 0)
		return -EBADMSG;
	made.code = (flags & 15) == DNS_OK || (flags & 15) == DNS_NO_NAME
			    ? (enum dns_code)(flags & 15)
			    : DNS_FAILED;
	for (unsigned i = 0; made.code == DNS_OK && i < ALIASES_MAX; i++)
		if (!pass(&r, answers < RECORDS_MAX ? answers : RECORDS_MAX, at, type,
			  &made))
			break;
	/* Cut, with nothing of use in it: no answer at all, rather than "has none". */
	if (made.code == DNS_OK && made.count == 0 && (flags & FLAG_TRUNCATED))
		made.code = DNS_FAILED;
	*ret = made;
	return 0;
}
