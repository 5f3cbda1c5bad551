/* SPDX-License-Identifier: MIT
 * Purpose: dispatch by the route tables (route.h, route_match.h).
 * Process: the engine. Trusts: nothing in a target.
 * Invariants: a path is decoded once and judged after it; what two readers could take for
 *   two different paths is none. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/route_match.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_utf8(const char *text)
{
	json_t *string = json_string(text);

	json_decref(string);
	return string != NULL;
}

static bool decode(char *text, bool plus)
{
	char *to = text;

	for (const char *at = text; *at; at++, to++) {
		*to = plus && *at == '+' ? ' ' : *at;
		if (*at != '%')
			continue;
		if (hex(at[1]) < 0 || hex(at[2]) < 0)
			return false;
		*to = (char)(hex(at[1]) << 4 | hex(at[2]));
		if (!*to)
			return false;
		at += 2;
	}
	*to = '\0';
	return is_utf8(text);
}

bool route_decode_text(char *text)
{
	return decode(text, true);
}

bool route_decode(char *text)
{
	if (!decode(text, false))
		return false;
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			return false;
	return true;
}

bool route_split(const char *url, struct route_path *ret)
{
	size_t len = strlen(url);
	char *at, *next;

	ret->count = 0;
	if (url[0] != '/' || len >= sizeof(ret->text))
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)url[i] <= 0x20 || (unsigned char)url[i] >= 0x7f ||
		    strchr("\\#?", url[i]))
			return false;
	memcpy(ret->text, url, len + 1);
	for (at = ret->text + 1; at && *at; at = next) {
		next = strchr(at, '/');
		if (next)
			*next++ = '\0';
		if (ret->count == ROUTE_SEGMENTS || !route_decode(at) ||
		    strcmp(at, ".") == 0 || strcmp(at, "..") == 0 || strchr(at, '/') ||
		    strchr(at, '\\'))
			return false;
		ret->segments[ret->count++] = at;
		if (next && !*next) { /* a slash at the end is a segment without a name */
			if (ret->count == ROUTE_SEGMENTS)
				return false;
			ret->segments[ret->count++] = next;
		}
	}
	return true;
}

static void add_param(struct route_match *match, const char *name, size_t len)
{
	struct route_param *param = &match->params[match->param_count++];

	(void)snprintf(param->name, sizeof(param->name), "%.*s", (int)len, name);
	param->value[0] = '\0';
}

/* Whether the path is the pattern's; the parameters are added then. */
static bool fits(const char *pattern, const struct route_path *path,
		 struct route_match *match)
{
	size_t used = 0, before = match->param_count;

	for (const char *at = pattern + 1; *at; at++, used++) {
		size_t len = strcspn(at, "/");
		const char *segment = path->segments[used];

		if (used == path->count)
			break;
		if (at[0] != '{') {
			if (strlen(segment) != len || memcmp(segment, at, len) != 0)
				break;
		} else if (len > 5 && memcmp(at + len - 4, "...}", 4) == 0) {
			char *value = match->params[match->param_count].value;
			size_t have = 0;

			add_param(match, at + 1, len - 5);
			for (; used < path->count; used++) {
				if (!*path->segments[used])
					goto no; /* "a//b" */
				have += (size_t)snprintf(
					value + have, ROUTE_PATH_MAX - have, "%s%s",
					have ? "/" : "", path->segments[used]);
			}
			return true;
		} else {
			if (!*segment)
				break;
			add_param(match, at + 1, len - 2);
			(void)snprintf(match->params[match->param_count - 1].value,
				       ROUTE_PATH_MAX, "%s", segment);
		}
		at += len;
		if (!*at) {
			if (++used == path->count)
				return true;
			break;
		}
	}
	if (!pattern[1] && path->count == 0)
		return true;
no:
	match->param_count = before;
	return false;
}

const char *route_body_type(enum route_body body)
{
	switch (body) {
	case BODY_JSON:
	case BODY_TEXT_JSON:
		return "application/json";
	case BODY_FORM:
		return "application/x-www-form-urlencoded";
	case BODY_BYTES:
		return "application/octet-stream";
	case BODY_NONE:
		break;
	}
	return NULL;
}

static bool type_fits(const struct route *route, const char *type)
{
	switch (route->body) {
	case BODY_NONE:
		return true;
	case BODY_BYTES:
		return !type || route_is_type(type, route_body_type(route->body));
	case BODY_JSON:
	case BODY_TEXT_JSON:
	case BODY_FORM:
		break;
	}
	/* A web page can send other types across origins without asking; never JSON. */
	return route_is_type(type, route_body_type(route->body)) && !strchr(type, ',');
}

void route_find(const struct route_table *const *tables, const struct route_path *path,
		const char *method, const char *type, struct route_match *ret)
{
	ret->route = NULL;
	ret->table = NULL;
	ret->known = ret->wrong_type = false;
	ret->param_count = 0;
	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (; *tables; tables++)
		for (size_t i = 0; i < (*tables)->count; i++) {
			const struct route *route = &(*tables)->routes[i];

			if (!fits(route->pattern, path, ret))
				continue;
			ret->known = true;
			if (strcmp(route->method, method) == 0) {
				if (type_fits(route, type)) {
					ret->route = route;
					ret->table = *tables;
					ret->wrong_type = false;
					return;
				}
				ret->wrong_type = true;
			}
			ret->param_count = 0;
		}
}

void route_allow(const struct route_table *const *tables, const struct route_path *path,
		 char *ret, size_t size)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "DELETE", "PATCH" };
	struct route_match match;
	size_t used = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		route_find(tables, path, methods[i], NULL, &match);
		if (!match.route && !match.wrong_type)
			continue;
		used += (size_t)snprintf(ret + used, used < size ? size - used : 0,
					 "%s%s%s", used ? ", " : "", methods[i],
					 i == 0 ? ", HEAD" : "");
	}
}

bool route_is_type(const char *header, const char *type)
{
	size_t len = strlen(type);

	if (!header || strncasecmp(header, type, len) != 0)
		return false;
	header += len;
	header += strspn(header, " \t");
	return !*header || *header == ';' || *header == ',';
}

bool route_accepts(const char *header, const char *type)
{
	const char *q;
	size_t len;

	for (; header && *header; header += len + (header[len] == ',')) {
		header += strspn(header, " \t");
		len = strcspn(header, ",");
		if (!route_is_type(header, type))
			continue;
		q = memmem(header, len, "q=0", 3);
		if (!q || strspn(q + 3, ".0") != strcspn(q + 3, " \t;,"))
			return true;
	}
	return false;
}
