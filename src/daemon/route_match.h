/* SPDX-License-Identifier: MIT
 * From a request's target to the row that answers it. Engine; any thread. */
#ifndef SBX_DAEMON_ROUTE_MATCH_H
#define SBX_DAEMON_ROUTE_MATCH_H

#include "daemon/route.h"

#define ROUTE_SEGMENTS 64u
#define ROUTE_PATH_MAX 4096u
#define ROUTE_PARAMS 4u

/* A path in its decoded segments. */
struct route_path {
	char text[ROUTE_PATH_MAX];
	const char *segments[ROUTE_SEGMENTS];
	size_t count;
};

struct route_param {
	char name[24];
	char value[ROUTE_PATH_MAX];
};

struct route_match {
	const struct route *route; /* NULL: none */
	const struct route_table *table;
	bool known;      /* something is at this path, for other methods or types */
	bool wrong_type; /* this method, too, but for other types */
	struct route_param params[ROUTE_PARAMS];
	size_t param_count;
};

/* %XX decoded in place, strictly; false where it is no text: a broken escape, NUL or another
 * control character, not UTF-8. */
bool route_decode(char *text);
/* The same for a field of a form: '+' is a space, and any character but NUL may be in it. */
bool route_decode_text(char *text);
/* url: as it was sent, without its query. false: a target that no honest client sends (no
 * path, an escape that hides a separator, dot segments, not UTF-8). */
bool route_split(const char *url, struct route_path *ret);
/* type: the Content-Type or NULL. HEAD is found as GET. */
void route_find(const struct route_table *const *tables, const struct route_path *path,
		const char *method, const char *type, struct route_match *ret);
/* "GET, HEAD, POST" of what is at the path. */
void route_allow(const struct route_table *const *tables, const struct route_path *path,
		 char *ret, size_t size);
/* A media type with or without parameters. */
bool route_is_type(const char *header, const char *type);
/* One of a header's comma-separated items is of the type and not refused by q=0. */
bool route_accepts(const char *header, const char *type);
const char *route_body_type(enum route_body body); /* NULL: none */

#endif
