/* SPDX-License-Identifier: MIT
 * Our own interface (docs/api.md), a table a subject. Engine. */
#ifndef SBX_DAEMON_API_H
#define SBX_DAEMON_API_H

#include "daemon/request.h"
#include "daemon/route.h"

extern const struct route_table api_executions; /* api_executions.c */
extern const struct route_table api_server;     /* api_server.c */

/* The body of POST /v1/executions, with what the configuration adds; cleared by
 * request_clear(). 0 or -errno, err filled. */
int api_request(struct exchange *ex, struct request *ret, struct sbx_err *err);

#endif
