/* SPDX-License-Identifier: MIT
 * sandbox.yaml as the command needs it: where it is, its text, and what the command has to
 * open for it. The command; one thread. */
#ifndef SBX_CLI_CONFIG_FILE_H
#define SBX_CLI_CONFIG_FILE_H

#include <jansson.h>
#include <stddef.h>

struct config_file {
	const char *given; /* of --config, or NULL */
	char path[4096];   /* "": there is none */
	char *text;        /* malloc; NULL: there is none */
	size_t len;
};

/* Reads the file that was given or, if it is there, the default one. 0, or an exit code
 * after a message. */
int config_file_read(struct config_file *file, const char *verb);
void config_file_clear(struct config_file *file);

/* What file and options (of the same keys, over it) come to, as config_plan() says it; new
 * reference. Parsed in a process of its own without any rights. 0, or an exit code after a
 * message, which names the line. */
int config_file_plan(const struct config_file *file, const json_t *options, json_t **ret,
		     const char *verb);

/* A text of the plan, "" if it has none. keys: up to two, the second may be NULL. */
const char *plan_text(const json_t *plan, const char *key, const char *inner);

#endif
