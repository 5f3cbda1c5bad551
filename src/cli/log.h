/* SPDX-License-Identifier: MIT
 * The parts of `sandbox log` (log.c). The command's process. */
#ifndef SBX_CLI_LOG_H
#define SBX_CLI_LOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "lib/internal.h"

struct log_options {
	const char *verb;
	const char *dir; /* --journal; NULL: the default */
	const char *key; /* --journal-key; NULL: the directory's own */
	const char *id;  /* show */
	const char *format, *public_key, *noted;
	json_t *filter; /* owned */
	bool json, signed_too, dry_run;
	size_t columns; /* of the terminal; TERMINAL_UNBOUNDED: standard output is none */
	bool colour;
};

/* One verb's dealing with the answer: an exit code, after a message where it is not 0. */
struct log_session {
	const struct log_options *options;
	struct spawned *spawned;
};
typedef bool (*log_row_fn)(void *arg, const json_t *row, const char *text, size_t len);
/* Asks; rows go to fn. 0, or an exit code after a message. */
int log_ask_rows(struct log_session *session, const char *verb, const json_t *filter,
		 log_row_fn fn, void *arg);
/* A line of JSON, safe on a terminal. False: standard output is gone. */
bool log_put_json(const char *text, size_t len);
bool log_put(const struct buf *text);

/* log_list.c */
int log_list(struct log_session *session);
int log_follow(struct log_session *session);
/* log_show.c */
int log_show(struct log_session *session);
/* log_export.c */
int log_export(struct log_session *session);
/* log_check.c */
int log_verify(struct log_session *session);
int log_head(struct log_session *session);
int log_prune(struct log_session *session);
int log_stats(struct log_session *session);

/* ---- what they share of rows (log_list.c) ---- */
const char *row_text(const json_t *row, const char *key); /* "": none */
size_t row_text_len(const json_t *row, const char *key);
double row_number(const json_t *row, const char *key); /* 0: none */
bool row_has(const json_t *row, const char *key);
void put_bytes(struct buf *out, double bytes);
void put_ms(struct buf *out, double ms);
/* "2026-11-24 16:20:01", local time, of the row's UTC text; what is no time stays as it is,
 * made safe. */
void put_time(struct buf *out, const char *utc);
void put_status(struct buf *out, const char *status, size_t columns, bool colour);

#endif
