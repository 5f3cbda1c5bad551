/* SPDX-License-Identifier: MIT
 * The Model Context Protocol at /mcp (docs/mcp.md): revisions 2025-06-18 and 2025-11-25, which
 * begin with `initialize`, and 2026-07-28, whose requests each say what they need. Engine, on
 * its loop. */
#ifndef SBX_MCP_MCP_H
#define SBX_MCP_MCP_H

#include "daemon/route.h"

extern const struct route_table mcp_table;

#endif
