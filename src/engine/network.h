/* SPDX-License-Identifier: MIT
 * The connection broker of one jail with network_access: makes its sockets, judges and
 * makes its connections, answers for its names, counts what it transfers. Engine, on its
 * loop; ends with the jail. */
#ifndef SBX_ENGINE_NETWORK_H
#define SBX_ENGINE_NETWORK_H

#include "engine/events.h"
#include "engine/internal.h"
#include "engine/notify.h"

struct network;

/* at_us: loop_now_us() when it was. */
typedef void (*network_event_fn)(void *arg, const struct event *event, uint64_t at_us);

struct network_usage {
	uint64_t connections, sent_bytes, received_bytes;
};

/* policy: the run's, for as long as it. */
int network_new(struct engine *engine, const struct sbx_policy *policy,
		network_event_fn fn, void *arg, struct network **ret,
		struct sbx_err *err);
/* The jail's socket for names (INIT_NAMES); taken. 0 or -errno. */
int network_names(struct network *network, int fd);
/* From here on it judges. notify: the run's; until network_free(). */
int network_start(struct network *network, struct notify *notify);
/* The run ends: nothing is dialled any more, what was under way is let go. */
void network_stop(struct network *network);
/* After network_stop(), when the jail is empty, or (goes_on) between two programs: what is
 * left to tell, and the sums since the last time. */
void network_finish(struct network *network, struct network_usage *ret, bool goes_on);
uint64_t network_dropped(const struct network *network); /* denials not told of */
void network_free(struct network **network); /* sets NULL; takes a pointer to NULL */

#endif
