/* SPDX-License-Identifier: MIT
 * What libsbx shares with the command that is linked with it, and with its tests. Not
 * installed. */
#ifndef SBX_LIB_INTERNAL_H
#define SBX_LIB_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/spawn.h"
#include "sbx.h"

#define CODE_MAX (16u << 20)
#define POLICY_MAX (1u << 20)
#define SETTINGS_MAX 1024

/* Defined by src/cli/main.c alone. A program that has it is the command itself, and may
 * be started again in a role; starting any other program so would run whatever it
 * does. */
extern const char sandbox_command __attribute__((weak));

/* ---- sbx.c ---- */
/* A handle over a door that is there already. Takes everything in *spawned, on failure
 * too. */
int sbx_over(const struct spawned *spawned, struct sbx **ret_box, struct sbx_err *err);
/* sbx_open() with a configuration, DOOR_CONFIG's text (NULL: none); -errno with the engine's
 * reason. */
int sbx_open_with(const struct spawn_options *options, const char *config, size_t len,
		  struct sbx **ret_box, struct sbx_err *err);
/* Every run from now on has this template of the configuration; the text stays the
 * caller's. */
void sbx_template(struct sbx *box, const char *name);
/* What sbx_run() checks before it sends anything: 0, or -EINVAL with stage USAGE or
 * POLICY. Any thread. */
int sbx_request_check(const struct sbx_request *request, struct sbx_err *err);

/* ---- journal_dir.c; any thread ---- */
/* SANDBOX_JOURNAL, else as root /var/lib/interpreter-sandbox/journal, else below
 * XDG_STATE_HOME or HOME/.local/state. 0, -ENOENT, -ENAMETOOLONG. */
int journal_dir_default(char *ret, size_t size);
/* dir: NULL for the default. make_it: with mode 0700, and what is missing above it. *ret_fd is
 * the caller's. -ENOENT: there is none. Errors have the stage USAGE or JOURNAL. */
int journal_dir_open(const char *dir, bool make_it, int *ret_fd, struct sbx_err *err);

/* ---- log.c ---- */
struct log_question {
	const char *verb;     /* docs/log.md */
	const json_t *filter; /* an object, or NULL */
	/* row: borrowed; text: the same as it came, len bytes. False: enough. */
	bool (*on_row)(void *arg, const json_t *row, const char *text, size_t len);
	void *arg;
	const int *cancel_fd; /* when it becomes readable the answer ends; NULL: none */
	int output_fd;        /* as soon as nobody reads it the answer ends; -1: none */
};
/* Asks, and hands out the rows. 0: all came; 1: the caller had enough, and the door is
 * closed; -errno. The engine must have been started with a journal (spawn.h). */
int log_ask(struct spawned *spawned, const struct log_question *question,
	    struct sbx_err *err);

/* ---- summary.c; any thread ---- */
/* One character of UTF-8: its length (1 to 4) and value, or 0 where s does not begin with
 * a valid one (len 0 too). */
size_t utf8_next(const char *s, size_t len, uint32_t *ret_character);
/* True for what changes a terminal or how a line reads: controls, bidi and zero-width
 * characters. */
bool utf8_is_unsafe(uint32_t character);
/* The text as one line that is safe on a terminal, at most `columns` characters, unsafe
 * ones as \xNN or \u{NNNN}. malloc'ed; NULL without memory. */
char *summary_line(const char *text, size_t len, size_t columns);
/* A few lines, each with its newline, about one result. malloc'ed; NULL without
 * memory. */
char *summary_make(const json_t *result, bool colour);

#endif
