/* SPDX-License-Identifier: MIT
 * What the engine can ask the broker for: one table. Broker. */
#ifndef SBX_DAEMON_BROKER_OPS_H
#define SBX_DAEMON_BROKER_OPS_H

#include "daemon/claim.h"
#include "daemon/opened.h"
#include "zygote/messages.h"

struct broker {
	struct broker_hello hello;
	uid_t engine_uid;
	struct claim claim;
	int engine_pidfd;
	int sync_fd, mover_fd;
	bool reader;                         /* its engine runs nothing: no cgroup */
	bool has_door, has_journal, has_key; /* the role's descriptors that were given */
	int listener_count;                  /* from ROLE_LISTENERS_FD on */
	struct opened opened;
};

/* Serves one request on the socket. -EBADMSG: the engine has asked for what is not in the
 * table or not its own, and has to end. Else 0, or -errno: it is gone. Any thread, one for
 * each socket. */
int broker_serve(struct broker *b, int socket, bool mover);

#endif
