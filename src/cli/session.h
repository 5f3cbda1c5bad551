/* SPDX-License-Identifier: MIT
 * `sandbox run --session` and `sandbox session`: a client of the server on a unix socket,
 * which is started if nobody listens there. The command's process, single thread. */
#ifndef SBX_CLI_SESSION_H
#define SBX_CLI_SESSION_H

#include "cli/files.h"

struct cli_session {
	const char *name;
	const char *socket;   /* NULL: the default one */
	const char *template; /* NULL: none */
	bool end;             /* end the session, after the program if there is one */
	bool json, quiet;
};

/* request: code NULL: no program. Returns the exit code, after a message where it is not
 * the program's. */
int session_run(const struct cli_session *session, const struct sbx_request *request,
		struct cli_files *files);
int cli_session(int argc, char **argv);

#endif
