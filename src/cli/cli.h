/* SPDX-License-Identifier: MIT
 * The command's verbs and what they share. Each verb runs in a process of its own, with
 * the rights of whoever typed it, single-threaded. argv[0] is the verb; the answer is the
 * exit code. */
#ifndef SBX_CLI_CLI_H
#define SBX_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "sbx.h"

#define EXIT_WRONG_USAGE 2
#define EXIT_OUR_FAULT 125

int cli_run(int argc, char **argv);
int cli_serve(int argc, char **argv);
int cli_log(int argc, char **argv);
int cli_mcp(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_policy(int argc, char **argv);
int cli_policy_suggest(int argc, char **argv); /* suggest.c */

/* One line on standard error, "sandbox: ...", safe for a terminal. Returns exit_code. */
int cli_fail(int exit_code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An argument that the verb does not know: names the nearest of its options. Returns
 * EXIT_WRONG_USAGE. */
int cli_unknown(const char *verb, const char *arg, const char *const *options);
/* The word of a NULL-terminated list that was probably meant, or NULL. */
const char *cli_nearest(const char *word, const char *const *words);

/* An option with a value, `--name value` or `--name=value`, at argv[*i]. 0: it is
 * another. 1: *ret_value points into argv and *i is at its last word. -1: the value is
 * missing, which has been said. */
int cli_value(int argc, char **argv, int *i, const char *name, const char **ret_value);

/* What --preset, --policy and --set say, in the order in which it is applied. */
struct cli_policy {
	const char *preset; /* NULL: none given */
	const char *file;
	char *text; /* of file, after cli_policy_load() */
	size_t len;
	struct sbx_setting *settings; /* both texts of each are owned */
	size_t setting_count;
};
#define CLI_POLICY_OPTIONS "--preset", "--policy", "--set"
/* As cli_value(), for these three options. */
int cli_policy_option(struct cli_policy *policy, int argc, char **argv, int *i);
int cli_policy_load(struct cli_policy *policy); /* 0, or an exit code after a message */
struct sbx_policy;
/* What they come to: preset, document, settings, checked. policy: initialized. 0, or an
 * exit code after a message. */
int cli_policy_make(struct cli_policy *source, struct sbx_policy *policy);
void cli_policy_clear(struct cli_policy *policy);

/* Messages are wanted in Chinese: by LANGUAGE, LC_ALL, LC_MESSAGES, LANG, the first that
 * is set. */
bool cli_chinese(void);
/* Colour is wanted on this descriptor: a terminal, and neither NO_COLOR nor TERM=dumb. */
bool cli_colour(int fd);

#endif
