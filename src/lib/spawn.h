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
struct spawn_options {
	const char
		*binary; /* NULL for this executable's own file (/proc/self/exe; libsbx in
			     * another program: SANDBOX_BIN, else `sandbox` on PATH) */
	bool reader;     /* of the journal only: no program can be run */
	bool door;       /* make one */
	const int *listeners; /* listening sockets for HTTP; stay the caller's */
	size_t listener_count;
	int journal_fd; /* the journal's directory, stays the caller's; -1: none */
	int key_fd;     /* its key's file, the same; 0 and -1: none */
};
/* Waits for the broker's hello. */
int spawn_broker(const struct spawn_options *options, struct spawned *ret,
		 struct sbx_err *err);
/* Ends it orderly and waits for it, 5 s at most, then kills it. Returns the broker's exit
 * status, or -errno. */
int spawn_end(struct spawned *spawned);

#endif
