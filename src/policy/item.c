/* SPDX-License-Identifier: MIT
 * Purpose: what one item of a list may be: directories, hosts, modules, variables; and
 *   when an item of a ceiling contains one that is asked for.
 * Process: engine and command; any thread. Looks at text only: nothing is opened,
 * resolved or imported.
 * Trusts: nothing; an item is whatever a user wrote, NUL-terminated.
 * Invariants: what is not understood is refused; a covers function that cannot parse says
 * no. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "policy/internal.h"

static int bad(struct sbx_err *err, const char *field, const char *expected,
	       const char *got)
{
	char text[POLICY_SHOWN];

	return err_set_field(err, SBX_AT_POLICY, EINVAL, field, "%s: expected %s, got %s",
			     field, expected, policy_shown(got, text));
}

/* ---- directories ---- */

/* The next component of a path, without "." and empty ones. False at the end. */
static bool component(const char **path, const char **ret, size_t *ret_len)
{
	for (;;) {
		size_t len;

		*path += strspn(*path, "/");
		len = strcspn(*path, "/");
		if (len == 0)
			return false;
		*ret = *path;
		*ret_len = len;
		*path += len;
		if (!(len == 1 && **ret == '.'))
			return true;
	}
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

static bool has_dotdot(const char *path)
{
	const char *part;
	size_t len;

	while (component(&path, &part, &len))
		if (len == 2 && memcmp(part, "..", 2) == 0)
			return true;
	return false;
}

int policy_grant_parse(const char *item, struct policy_grant *ret, struct sbx_err *err)
{
	static const char field[] = "allowed_directories";
	const char *colon = strrchr(item, ':');
	size_t len = strlen(item);
	bool writable = true;

	if (colon && !strchr(colon, '/')) {
		/* a mode that is not known must not become part of a name, with the right
		 * to write */
		if (strcmp(colon, ":ro") == 0)
			writable = false;
		else if (strcmp(colon, ":rw") != 0)
			return bad(
				err, field,
				"PATH, PATH:ro or PATH:rw (a name with a colon in it needs one of the "
				"two)",
				item);
		len = (size_t)(colon - item);
	}
	if (len == 0)
		return bad(err, field, "a path", item);
	if (len >= sizeof(ret->path))
		return bad(err, field, "a path of at most 4095 bytes", item);
	if (has_control(item) || !policy_utf8_valid(item))
		return bad(err, field, "a path without control characters", item);
	memcpy(ret->path, item, len);
	ret->path[len] = '\0';
	ret->writable = writable;
	if (has_dotdot(ret->path))
		return bad(err, field, "a path without \"..\"", item);
	return 0;
}

int policy_item_directory(const char *item, struct sbx_err *err)
{
	struct policy_grant grant;

	return policy_grant_parse(item, &grant, err);
}

bool policy_path_within(const char *path, const char *above)
{
	bool absolute = *path == '/', above_absolute = *above == '/';
	const char *part, *above_part;
	size_t len, above_len;

	if (absolute != above_absolute) {
		const char *rest = above;

		/* wherever a relative path leads, it is beneath the root */
		return above_absolute && !component(&rest, &above_part, &above_len);
	}
	while (component(&above, &above_part, &above_len))
		if (!component(&path, &part, &len) || len != above_len ||
		    memcmp(part, above_part, len) != 0)
			return false;
	return true;
}

bool policy_covers_directory(const char *ceiling, const char *asked)
{
	struct policy_grant c, a;

	if (policy_grant_parse(ceiling, &c, NULL) < 0 ||
	    policy_grant_parse(asked, &a, NULL) < 0)
		return false;
	return (c.writable || !a.writable) && policy_path_within(a.path, c.path);
}

/* ---- hosts ---- */

struct block {
	uint8_t addr[16];
	unsigned prefix;
};

/* Everything that is not the public internet: RFC 6890 and its registry, and the metadata
 * service that one cloud keeps at a public address (168.63.129.16; the others' are
 * link-local, shared or unique local). */
static const struct block special4[] = {
	{ { 0 }, 8 },
	{ { 10 }, 8 },
	{ { 100, 64 }, 10 },
	{ { 127 }, 8 },
	{ { 168, 63, 129, 16 }, 32 },
	{ { 169, 254 }, 16 },
	{ { 172, 16 }, 12 },
	{ { 192, 0, 0 }, 24 },
	{ { 192, 0, 2 }, 24 },
	{ { 192, 88, 99 }, 24 },
	{ { 192, 168 }, 16 },
	{ { 198, 18 }, 15 },
	{ { 198, 51, 100 }, 24 },
	{ { 203, 0, 113 }, 24 },
	{ { 224 }, 4 },
	{ { 240 }, 4 },
};
/* Only 2000::/3 is in public use; of it these are not, or carry an IPv4 address of
 * anyone's choice (Teredo, 6to4). */
static const struct block global6 = { { 0x20 }, 3 };
static const struct block special6[] = {
	{ { 0x20, 0x01, 0x00 }, 23 },
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 },
	{ { 0x20, 0x02 }, 16 },
	{ { 0x3f, 0xff, 0x00 }, 20 },
};
static const struct block mapped6 = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96 };

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 ||
	       ((a[bits / 8] ^ b[bits / 8]) & (0xff00 >> (bits % 8)) & 0xff) == 0;
}

static bool meets(const struct policy_host *net, const struct block *block)
{
	return same_prefix(net->addr, block->addr,
			   net->prefix < block->prefix ? net->prefix : block->prefix);
}

bool policy_host_public(const struct policy_host *net)
{
	if (net->kind != POLICY_HOST_NET)
		return false;
	if (net->family == AF_INET) {
		for (size_t i = 0; i < sizeof(special4) / sizeof(special4[0]); i++)
			if (meets(net, &special4[i]))
				return false;
		return true;
	}
	if (net->prefix < global6.prefix || !meets(net, &global6))
		return false;
	for (size_t i = 0; i < sizeof(special6) / sizeof(special6[0]); i++)
		if (meets(net, &special6[i]))
			return false;
	return true;
}

/* Decimal digits only, no leading zero, at most max. -1: not so. */
static long decimal(const char *text, long max)
{
	long value = 0;

	if (*text == '\0' || (*text == '0' && text[1] != '\0'))
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		value = value * 10 + (*text - '0');
		if (value > max)
			return -1;
	}
	return value;
}

static const char *parse_net(const char *text, const char *prefix,
			     struct policy_host *ret)
{
	unsigned bits;
	long value;

	ret->kind = POLICY_HOST_NET;
	ret->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	bits = ret->family == AF_INET6 ? 128 : 32;
	if (inet_pton(ret->family, text, ret->addr) != 1)
		return ret->family == AF_INET6
			       ? "an IPv6 address"
			       : "an IPv4 address of four decimal numbers";
	value = prefix ? decimal(prefix, (long)bits) : (long)bits;
	if (value < 0)
		return bits == 128 ? "a prefix from /0 to /128"
				   : "a prefix from /0 to /32";
	ret->prefix = (unsigned)value;
	/* 10.0.0.1/8 may be meant as the one address or as all of them */
	for (unsigned bit = ret->prefix; bit < bits; bit++)
		if (ret->addr[bit / 8] & (0x80 >> bit % 8))
			return "a block whose address has no bits set behind the prefix";
	if (ret->family == AF_INET6 && ret->prefix >= 96 && meets(ret, &mapped6))
		return "an IPv4-mapped address in its IPv4 form";
	return NULL;
}

static const char *parse_name(const char *text, struct policy_host *ret)
{
	size_t len = strlen(text), label = 0;

	if (len == 0 || len >= sizeof(ret->name))
		return "a host name of 1 to 253 bytes";
	for (size_t i = 0; i <= len; i++) {
		char c = text[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		ret->name[i] = c;
		if (c == '.' || c == '\0') {
			if (label == 0)
				return "a host name without empty parts and without a dot at its end";
			if (text[i - 1] == '-')
				return "a host name whose parts do not end in \"-\"";
			label = 0;
			continue;
		}
		if ((unsigned char)c >= 0x80)
			return "an international name in its ASCII form (xn--...)";
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
		      (c == '-' && label > 0)))
			return "host, *.host, host:port, an address, a CIDR block or \"*\"";
		if (++label > 63)
			return "a host name with parts of at most 63 bytes";
	}
	return NULL;
}

/* What resolvers take for an address in one of its odd forms: 127.1, 0x7f000001,
 * 017700000001, 2130706433. */
static bool looks_numeric(const char *text)
{
	const char *last = strrchr(text, '.');

	last = last ? last + 1 : text;
	return *last >= '0' && *last <= '9' &&
	       (strspn(last, "0123456789") == strlen(last) ||
		((last[1] == 'x' || last[1] == 'X') &&
		 strspn(last + 2, "0123456789abcdefABCDEF") == strlen(last + 2)));
}

/* NULL, or what was expected. */
static const char *parse_host(char *text, struct policy_host *ret)
{
	char *slash = strchr(text, '/'), *colon = strchr(text, ':'), *end;
	long port = 0;

	if (strcmp(text, "*") == 0) {
		ret->kind = POLICY_HOST_ANY;
		return NULL;
	}
	if (slash) {
		*slash = '\0';
		return parse_net(text, slash + 1, ret);
	}
	if (*text == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] != '\0' && end[1] != ':'))
			return "[IPv6]:port";
		colon = end[1] == ':' ? end + 1 : NULL;
		*end = '\0';
		text++;
		if (!strchr(text, ':'))
			return "an IPv6 address between brackets";
	} else if (colon && strchr(colon + 1, ':')) {
		return parse_net(text, NULL, ret);
	}
	if (colon) {
		*colon = '\0';
		port = decimal(colon + 1, 65535);
		if (port <= 0)
			return "a port from 1 to 65535 behind the colon";
	}
	ret->port = (uint16_t)port;
	if (strchr(text, ':') || looks_numeric(text))
		return parse_net(text, NULL, ret);
	ret->kind = POLICY_HOST_NAME;
	if (strncmp(text, "*.", 2) == 0) {
		ret->kind = POLICY_HOST_SUFFIX;
		text += 2;
	}
	return parse_name(text, ret);
}

int policy_host_parse(const char *item, struct policy_host *ret, struct sbx_err *err)
{
	struct policy_host host = { 0 };
	const char *expected;
	char text[272]; /* "*." and 253 bytes, a colon, five digits */

	if (strlen(item) >= sizeof(text))
		return bad(err, "allowed_hosts", "a host name of 1 to 253 bytes", item);
	strcpy(text, item);
	expected = parse_host(text, &host);
	if (expected)
		return bad(err, "allowed_hosts", expected, item);
	*ret = host;
	return 0;
}

int policy_item_host(const char *item, struct sbx_err *err)
{
	struct policy_host host;

	return policy_host_parse(item, &host, err);
}

static bool ends_with_part(const char *name, const char *suffix)
{
	size_t len = strlen(name), suffix_len = strlen(suffix);

	return len > suffix_len && name[len - suffix_len - 1] == '.' &&
	       strcmp(name + len - suffix_len, suffix) == 0;
}

bool policy_covers_host(const char *ceiling, const char *asked)
{
	struct policy_host c, a;

	if (policy_host_parse(ceiling, &c, NULL) < 0 ||
	    policy_host_parse(asked, &a, NULL) < 0)
		return false;
	if (c.port != 0 && c.port != a.port)
		return false;
	switch (c.kind) {
	case POLICY_HOST_ANY:
		if (a.kind == POLICY_HOST_NET)
			return policy_host_public(&a);
		/* by definition loopback (RFC 6761) */
		return strcmp(a.name, "localhost") != 0 &&
		       !ends_with_part(a.name, "localhost");
	case POLICY_HOST_NAME:
		return a.kind == POLICY_HOST_NAME && strcmp(a.name, c.name) == 0;
	case POLICY_HOST_SUFFIX:
		if (a.kind == POLICY_HOST_SUFFIX && strcmp(a.name, c.name) == 0)
			return true;
		return (a.kind == POLICY_HOST_NAME || a.kind == POLICY_HOST_SUFFIX) &&
		       ends_with_part(a.name, c.name);
	case POLICY_HOST_NET:
		return a.kind == POLICY_HOST_NET && a.family == c.family &&
		       a.prefix >= c.prefix && same_prefix(a.addr, c.addr, c.prefix);
	}
	return false;
}

/* ---- modules ---- */

/* Identifiers with dots between. Which letters Python takes is its own affair (a name
 * that it cannot import does no harm); what deceives a reader is refused. */
static bool is_dotted(const char *text, size_t len)
{
	const char *end = text + len;
	bool first = true;

	if (len == 0 || len > 255)
		return false;
	while (text < end) {
		int32_t c = policy_utf8_next(&text);
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			      c == '_' || (c >= 0xaa && policy_codepoint_shown(c));

		if (c == '.' && !first) {
			first = true;
			continue;
		}
		if (!letter && !(c >= '0' && c <= '9' && !first))
			return false;
		first = false;
	}
	return !first;
}

int policy_item_module(const char *item, struct sbx_err *err)
{
	if (strcmp(item, "*") == 0 || is_dotted(item, strlen(item)))
		return 0;
	return bad(err, "allowed_modules", "the name of a module, or \"*\"", item);
}

int policy_item_preload(const char *item, struct sbx_err *err)
{
	size_t len = strlen(item);

	if (len > 0 && item[len - 1] == '?')
		len--;
	if (is_dotted(item, len))
		return 0;
	return bad(err, "preload",
		   "the name of a module, with \"?\" behind it if it may be missing",
		   item);
}

bool policy_covers_module(const char *ceiling, const char *asked)
{
	size_t len = strcspn(ceiling, ".");

	if (strcmp(ceiling, "*") == 0)
		return true;
	return len == strcspn(asked, ".") && memcmp(ceiling, asked, len) == 0;
}

/* ---- the interpreter and the environment ---- */

int policy_item_python(const char *item, struct sbx_err *err)
{
	if (*item == '\0')
		return 0;
	if (*item != '/' || has_control(item) || !policy_utf8_valid(item))
		return bad(err, "python",
			   "the absolute path of an interpreter, or \"\" for the default",
			   item);
	if (has_dotdot(item))
		return bad(err, "python", "a path without \"..\"", item);
	return 0;
}

/* What the dynamic loader reads is refused: it has no effect on the interpreter, which is
 * started already, and a library put before the others of a child program is nothing that
 * a policy should hide among its variables. No wall rests on that (the program can set
 * them for its children itself). PYTHON*: check.c. */
int policy_item_variable(const char *item, struct sbx_err *err)
{
	static const char field[] = "environment";
	size_t len = strcspn(item, "="), i;
	char name[POLICY_SHOWN];

	for (i = 0; i < len; i++)
		if (!((item[i] >= 'a' && item[i] <= 'z') ||
		      (item[i] >= 'A' && item[i] <= 'Z') || item[i] == '_' ||
		      (item[i] >= '0' && item[i] <= '9' && i > 0)))
			break;
	if (len == 0 || i < len || len > 255 || item[len] != '=') {
		_cleanup_buf_ struct buf key = { 0 };

		/* the value may be a secret: it never gets into a message */
		if (buf_add(&key, item, len < 255 ? len : 255) < 0 || !key.data)
			return bad(err, field,
				   "names of letters, digits and \"_\", at most 255", "");
		return bad(err, field, "names of letters, digits and \"_\", at most 255",
			   key.data);
	}
	snprintf(name, sizeof(name), "%.*s", (int)(len < 60 ? len : 60), item);
	if (strlen(item) >=
	    131072) /* the kernel's bound of one string (MAX_ARG_STRLEN) */
		return err_set_field(
			err, SBX_AT_POLICY, EINVAL, field,
			"environment: %s: expected at most 131071 bytes, name and \"=\" included",
			name);
	if (strncmp(item, "LD_", 3) == 0 || strncmp(item, "GLIBC_TUNABLES=", 15) == 0)
		return err_set_field(
			err, SBX_AT_POLICY, EINVAL, field,
			"environment: %s is the dynamic loader's and cannot be set: the interpreter is "
			"started already",
			name);
	if (!policy_utf8_valid(item))
		return err_set_field(err, SBX_AT_POLICY, EINVAL, field,
				     "environment: %s: expected valid UTF-8", name);
	return 0;
}
