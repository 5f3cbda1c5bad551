/* SPDX-License-Identifier: MIT
 * One request to run a program, as a JSON object: the same for the command's door and for
 * HTTP. Engine. */
#ifndef SBX_DAEMON_REQUEST_H
#define SBX_DAEMON_REQUEST_H

#include <jansson.h>

#include "daemon/config.h"
#include "engine/engine.h"

/* {"code": str,			required; "" is a program too
 *  "filename": str,			for tracebacks, default "<program>"
 *  "preset": str,			default: the configuration's defaults, "strict" without one
 *  "template": str,			interpreter and preloads by their name in the configuration
 *  "policy": {field: value} or str	object, or the text of a JSON or YAML document, over the preset
 *  "settings": [[key, text], ...]	as --set, over both
 *  "cwd": str,				the caller's working directory, absolute
 *  "stdin": str,			what the program reads, default nothing
 *  "files": {name: text or {"base64": text}}	put into /work; names are plain relative paths
 *  "stdin_open": bool,			more comes later (the command's door only)
 *  "file_contents": bool}		hand out what the program leaves (the command's door only)
 * Anything else is refused by name. */
struct request {
	struct sbx_policy policy; /* checked */
	struct execution_request
		execution; /* policy and strings point into this struct and its object */
	json_t *object;
	bool file_contents;
	struct execution_file *files;
	char **decoded; /* of base64, file_count of them or NULL */
};

/* 0 or -errno, err filled (USAGE, POLICY). On failure *ret is cleared. */
int request_parse(json_t *object, struct request *ret, struct sbx_err *err);
/* Under a configuration: its defaults, templates and ceilings (stage CEILING). */
int request_parse_with(json_t *object, const struct config *config, struct request *ret,
		       struct sbx_err *err);
void request_clear(struct request *request); /* takes a zeroed one */

#define REQUEST_MAX (24u << 20) /* bytes of JSON text */

#endif
