/* SPDX-License-Identifier: MIT
 * One request to run a program, as a JSON object: the same for the command's door and for
 * HTTP. Engine. */
#ifndef SBX_DAEMON_REQUEST_H
#define SBX_DAEMON_REQUEST_H

#include <jansson.h>

#include "engine/engine.h"

/* {"code": str,			required; "" is a program too
 *  "filename": str,			for tracebacks, default "<program>"
 *  "preset": str,			default "strict"
 *  "policy": {field: value} or str	object, or the text of a JSON or YAML document, over the preset
 *  "settings": [[key, text], ...]	as --set, over both
 *  "cwd": str,				the caller's working directory, absolute
 *  "stdin": str,			what the program reads, default nothing
 *  "files": {name: text or {"base64": text}}	put into /work; names are plain relative paths
 *  "stdin_open": bool,			more comes later (the command's door only)
 *  "file_contents": bool,		hand out what the program leaves (the command's door only)
 *  "timeout": seconds,		lowers max_execution_time
 *  "template": str,			python and preload as the server's configuration names them (HTTP only)
 *  "session": str,			id of a session, whose policy it has (HTTP only)
 *  "detach": bool}			the run outlives its caller (HTTP only)
 * Anything else is refused by name. */
struct request {
	struct sbx_policy policy; /* checked */
	struct execution_request
		execution; /* policy and strings point into this struct and its object */
	json_t *object;
	bool file_contents, detach;
	double timeout_s;    /* 0: not given */
	const char *session; /* NULL: none; of the object */
	struct execution_file *files;
	char **decoded; /* of base64, file_count of them or NULL */
};

/* What the server's configuration adds. */
struct request_rules {
	const struct sbx_policy *defaults; /* without "preset"; NULL: strict */
	/* What is not asked for is never above them, so that a request that says nothing is
	 * not refused; NULL: none. Whether what was asked for is within is another's
	 * question. */
	const struct sbx_policy *ceilings[2];
	/* Sets python and preload. 0, -ENOENT. */
	int (*template)(void *arg, const char *name, struct sbx_policy *policy);
	void *arg;
};

/* rules: NULL: the command's door. 0 or -errno, err filled (USAGE, POLICY). On failure *ret
 * is cleared. */
int request_parse(json_t *object, const struct request_rules *rules, struct request *ret,
		  struct sbx_err *err);
void request_clear(struct request *request); /* takes a zeroed one */

#define REQUEST_MAX (24u << 20) /* bytes of JSON text */

#endif
