/* SPDX-License-Identifier: MIT
 * journal.forward of `sandbox serve`: the journal is followed through a reader of its own
 * (spawn.h), and its records go where the configuration says, with this command's rights. A
 * thread; the server and its engine know nothing of it. */
#ifndef SBX_CLI_LOG_FORWARD_H
#define SBX_CLI_LOG_FORWARD_H

#include <jansson.h>

#include "sbx.h"

struct log_forward;

/* targets: a list of texts, journal/forward.h; NULL or none of them: nothing is started, *ret is
 * NULL. The descriptors stay the caller's, for as long as this lives. */
int log_forward_start(const json_t *targets, int journal_fd, int key_fd,
		      struct log_forward **ret, struct sbx_err *err);
/* What is recorded is forwarded first, within a second. Sets NULL, takes a pointer to NULL. */
void log_forward_stop(struct log_forward **forward);

#endif
