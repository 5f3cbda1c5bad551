/* SPDX-License-Identifier: MIT
 * Text of programs on a terminal, in JSON and in CSV: what it may contain, how wide it is.
 * The command's process, single thread. What is not safe (controls, escapes, bidi and
 * invisible characters, bytes that are no UTF-8) is shown as \xNN or \u{NNNN}. */
#ifndef SBX_CLI_TERMINAL_H
#define SBX_CLI_TERMINAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define TERMINAL_UNBOUNDED 0

/* Columns of the terminal at fd; TERMINAL_UNBOUNDED where it is none. COLUMNS goes first. */
size_t terminal_columns(int fd);

/* 0 (combining), 1 or 2 (East Asian wide, emoji) columns. A character of which nothing is
 * known counts as 2, so that a line is never longer than it was thought to be. */
size_t terminal_width(uint32_t character);

/* The text as one line: at most `columns` wide (TERMINAL_UNBOUNDED: whole), cut with "...".
 * *ret_width (may be NULL): columns that were written. 0, -ENOMEM or -EMSGSIZE. */
int terminal_fit(struct buf *out, const char *text, size_t len, size_t columns,
		 size_t *ret_width);
/* The same, filled with spaces to exactly `columns`. */
int terminal_cell(struct buf *out, const char *text, size_t len, size_t columns);

/* The text as lines, each behind `margin` and cut to `columns` (of the text), at most
 * `lines` of them: the first half and the last, with a word about what lies between. So
 * nothing that a program wrote begins a line of ours. Tabs become spaces. */
int terminal_lines(struct buf *out, const char *text, size_t len, const char *margin,
		   size_t columns, size_t lines);

/* JSON text in which each unsafe character is \uNNNN: the same value. */
int terminal_json(struct buf *out, const char *json, size_t len);

/* One field of CSV (RFC 4180), in one line, that no spreadsheet takes for a formula. */
int terminal_csv(struct buf *out, const char *text, size_t len);

/* A chart of a few characters, one for each of `columns` equal parts of the values (their
 * largest), against `top` (0: the largest value). */
int terminal_chart(struct buf *out, const double *values, size_t count, size_t columns,
		   double top);

#endif
