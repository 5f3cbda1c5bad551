/* SPDX-License-Identifier: MIT
 * Other programs' interfaces over the same engine, so that their clients work unchanged
 * (docs/doors.md): a table of routes each, and what they share. Engine, on its loop. */
#ifndef SBX_DAEMON_DOORS_DOORS_H
#define SBX_DAEMON_DOORS_DOORS_H

#include "daemon/request.h"
#include "daemon/route.h"

extern const struct route_table door_first;   /* first.c */
extern const struct route_table door_e2b;     /* e2b.c */
extern const struct route_table door_fusion;  /* fusion.c */
extern const struct route_table door_snekbox; /* snekbox.c */

/* For a port of its own: the tables of the door of this name, NULL at the end, for ever;
 * NULL: there is none. */
const struct route_table *const *doors_of(const char *name);
const char *doors_names(void); /* "first, e2b, ..." */
/* For a unix socket: our own interface and all doors. */
const struct route_table *const *doors_all(void);

/* A request of ours (request.h) over a preset, lowered to the ceilings of the server and of
 * the caller. The object's reference is taken, also on failure; NULL is lack of memory. */
int doors_request(struct exchange *ex, const char *preset, json_t *object,
		  struct request *ret, struct sbx_err *err);
/* A program's end as a process's: exit status, 128 + signal, 137 for time and memory, 143
 * for output. -1: it is our fault, or it was stopped. */
int doors_exit_status(const json_t *result);
const char *doors_status(const json_t *result); /* never NULL */
/* error's "name: value", or "". New; NULL: no memory. */
json_t *doors_error_text(const json_t *result);
/* The same of what refused it. */
json_t *doors_refusal_text(const struct sbx_err *err);
json_t *doors_base64(const void *data, size_t len); /* new; NULL: no memory */
/* An answer that is a text of known length. */
void doors_text(struct exchange *ex, int status, const char *text);
/* Plain, relative, without "." but for a leading "./", which is left out. NULL: it is not. */
const char *doors_path(const json_t *path);

#endif
