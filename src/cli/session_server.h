/* SPDX-License-Identifier: MIT
 * The server that `sandbox run --session` starts where none listens: it stays behind and
 * ends when nobody has used it for a while. The command. */
#ifndef SBX_CLI_SESSION_SERVER_H
#define SBX_CLI_SESSION_SERVER_H

#include "sbx.h"

/* socket: absolute. Returns when somebody listens there, whoever started it. 0, or an exit
 * code after a message. */
int session_server_start(const char *socket);

#endif
