/* SPDX-License-Identifier: MIT
 * What programs printed and files hold, made fit for a model and whoever looks over its
 * shoulder: short, and without characters that steer a terminal or turn text around.
 * Engine. */
#ifndef SBX_MCP_TEXT_H
#define SBX_MCP_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* Head and tail of UTF-8 text, at most about max bytes, with a line between them that says how
 * much is left out; line ends as \n; other control and direction characters as U+FFFD. New
 * reference, NULL: no memory, or text is no UTF-8. */
json_t *text_short(const char *text, size_t len, size_t max);
/* The same of a string or null; anything else becomes null. */
json_t *text_of(const json_t *value, size_t max);
/* A copy in which no string is longer than max and no list longer than items, `budget` values
 * in all. New reference, NULL: no memory. */
json_t *text_bounded(const json_t *value, size_t max, size_t items, size_t *budget);

#endif
