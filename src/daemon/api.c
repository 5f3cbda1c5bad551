/* SPDX-License-Identifier: MIT
 * Purpose: which tables are our interface. Process: the engine. */
#include "daemon/api.h"

const struct route_table *const api_tables[] = { &api_executions, &api_sessions,
						 &api_server, NULL };
