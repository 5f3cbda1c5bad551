/* SPDX-License-Identifier: MIT
 * HTTP over a unix socket (and later TCP): libmicrohttpd on the engine's loop. Engine;
 * every byte is hostile. */
#ifndef SBX_DAEMON_HTTP_H
#define SBX_DAEMON_HTTP_H

#include "engine/engine.h"

struct http;

/* Serves on listen_fd (a listening unix socket; taken). Routes: docs/api.md. */
int http_open(struct engine *engine, int listen_fd, struct http **ret,
	      struct sbx_err *err);
void http_close(struct http **http); /* sets NULL; takes a pointer to NULL */

#endif
