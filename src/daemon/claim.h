/* SPDX-License-Identifier: MIT
 * Which instance this is: a number of its own on this machine, by a locked file, so that
 * two instances share neither host uids nor groups, and so that the groups of one that
 * was killed are told from those of one that lives. Broker. */
#ifndef SBX_DAEMON_CLAIM_H
#define SBX_DAEMON_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "sbx.h"

#define CLAIM_ID_MAX 32

struct claim {
	int dir, file; /* -1: no place for claims; then nothing is ever swept */
	uint32_t number;
	char id[CLAIM_ID_MAX];       /* "r5-0123abcd": never another instance's */
	char previous[CLAIM_ID_MAX]; /* who had the number before, and is gone; or "" */
};

/* Takes a number below count. prefix: letters and digits. EADDRINUSE: all are taken. */
int claim_take(struct claim *ret, const char *prefix, uint32_t count,
	       struct sbx_err *err);
/* Whether the instance with this id may live: false only where its file says that it had
 * the number and does not hold it any more. arg: struct claim. */
bool claim_is_alive(void *arg, const char *id);

#endif
