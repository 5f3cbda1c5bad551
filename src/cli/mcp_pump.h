/* SPDX-License-Identifier: MIT
 * Lines of standard input to a server's /mcp, its answers to standard output. The command;
 * single thread. */
#ifndef SBX_CLI_MCP_PUMP_H
#define SBX_CLI_MCP_PUMP_H

/* socket: path of the server's; target: "/mcp?..."; until standard input ends and all is
 * answered, or nobody reads standard output. Returns the exit code. */
int mcp_pump(const char *socket, const char *target);

#endif
