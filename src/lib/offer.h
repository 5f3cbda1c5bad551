/* SPDX-License-Identifier: MIT
 * What the command opens for its engine, which was started as root and has dropped root's
 * rights: what its own user's policy grants and names. It goes to the broker over the
 * lifeline, past the engine. The command; not thread-safe for one `spawned`. */
#ifndef SBX_LIB_OFFER_H
#define SBX_LIB_OFFER_H

#include <jansson.h>

#include "base/buf.h"
#include "lib/spawn.h"

/* For the request (daemon/request.h) that is about to be sent: its directories and its
 * interpreter. *grants is filled with the payload of DOOR_GRANTS, and *ret_first,
 * *ret_count with the numbers to withdraw when the run is over. What does not parse is
 * left for the engine to refuse. Where the engine was not started as root nothing is done.
 * 0 or -errno (stage GRANT: refused, as the engine would). */
int offer_request(struct spawned *spawned, const json_t *request, struct buf *grants,
		  uint32_t *ret_first, uint32_t *ret_count, struct sbx_err *err);
void offer_withdraw(const struct spawned *spawned, uint32_t first, uint32_t count);

/* `sandbox serve`: PATH[:ro|:rw] that callers over TCP may be granted what lies in. */
int offer_grantable(const struct spawned *spawned, const char *item, struct sbx_err *err);
/* An interpreter that any caller may name although not everybody can read it. */
int offer_python(const struct spawned *spawned, const char *python, struct sbx_err *err);

#endif
