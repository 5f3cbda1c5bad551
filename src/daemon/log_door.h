/* SPDX-License-Identifier: MIT
 * DOOR_LOG: the command's questions to the journal (door.h). On the engine's loop. */
#ifndef SBX_DAEMON_LOG_DOOR_H
#define SBX_DAEMON_LOG_DOOR_H

#include "base/loop.h"
#include "journal/journal.h"

struct log_door;
/* A frame for the command. */
typedef void (*log_door_put)(void *arg, uint32_t type, const void *data, size_t len);

/* journal: the engine's own, or NULL. reader: the directory that this process was given
 * (ROLE_JOURNAL_FD) is opened by the first question, for as long as this lives, for
 * writing only where the verb writes. */
int log_door_new(struct loop *loop, struct journal *journal, bool reader,
		 log_door_put put, void *arg, struct log_door **ret);
/* One question, the payload of DOOR_LOG. What is wrong with it is said in DOOR_LOG_END.
 * False: it is not its turn; the door is to be closed. */
bool log_door_ask(struct log_door *door, const char *data, size_t len);
/* The command does not read as fast as the journal answers. */
void log_door_hold(struct log_door *door, bool hold);
/* No frame comes any more. Sets NULL, takes a pointer to NULL. */
void log_door_free(struct log_door **door);

#endif
