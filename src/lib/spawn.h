/* SPDX-License-Identifier: MIT
 * Starts the broker (and through it the engine) for a command: libsbx and `sandbox
 * serve`. Any process. */
#ifndef SBX_LIB_SPAWN_H
#define SBX_LIB_SPAWN_H

#include "sbx.h"
#include "zygote/messages.h"

struct spawned {
	int pidfd;    /* the broker */
	int lifeline; /* closing it ends broker, engine and everything they started */
	int door;     /* the command's end of the inside door, a stream; -1 without one */
	struct broker_hello hello;
	uint32_t next_offer; /* lib/offer.h */
	char python[1024];   /* the last that was offered */
};
/* binary: NULL for this executable's own file (/proc/self/exe; libsbx in another program:
 * SANDBOX_BIN, else `sandbox` on PATH). listen_fd: for HTTP, or -1. with_door: make the
 * door. Waits for the broker's hello. */
int spawn_broker(const char *binary, int listen_fd, bool with_door, struct spawned *ret,
		 struct sbx_err *err);
/* Ends it orderly and waits for it, 5 s at most, then kills it. Returns the broker's exit
 * status, or -errno. */
int spawn_end(struct spawned *spawned);

#endif
