/* SPDX-License-Identifier: MIT
 * What the engine's doors share: the configuration that holds now, the listeners, and the
 * orderly end. Engine, on its loop. */
#ifndef SBX_DAEMON_SERVICE_H
#define SBX_DAEMON_SERVICE_H

#include "daemon/config.h"
#include "daemon/record.h"
#include "engine/engine.h"

struct route_table;
struct service;

/* The engine stays the caller's and outlives it. more: what HTTP serves beside our own
 * interface and the doors, NULL at the end; lives as long as the process. */
int service_new(struct engine *engine, const struct route_table *const *more,
		struct service **ret, struct sbx_err *err);
void service_free(struct service **service); /* sets NULL; takes a pointer to NULL */
/* Before engine_free(), and not from the loop: nothing is listened to any more, the journal is
 * closed. service_free() follows behind it. */
void service_close(struct service *service); /* takes NULL */

struct engine *service_engine(const struct service *service);
/* Valid until the next service_configure(). */
const struct config *service_config(const struct service *service);

/* A DOOR_CONFIG. The first one opens the listeners; a later one replaces all that does not
 * take a restart, and *ret_restart (malloc) names what does. On failure nothing has
 * changed. */
int service_configure(struct service *service, const char *data, size_t len,
		      char **ret_restart, struct sbx_err *err);

/* Every run comes through here: record_submit() into the journal that the configuration names;
 * without one, into that at ROLE_JOURNAL_FD, if there is one. */
int service_submit(struct service *service, const struct execution_request *request,
		   const struct record_caller *caller, const struct execution_sink *sink,
		   struct execution **ret, struct sbx_err *err);
/* Opens it, if it is not open; NULL: there is none. */
struct journal *service_journal(struct service *service);

/* Nothing new is accepted. stopped() is called once, from the loop, when all that was
 * accepted is answered; after grace_ms what still runs is ended. A second call shortens the
 * grace. */
void service_stop(struct service *service, uint32_t grace_ms, void (*stopped)(void *arg),
		  void *arg);
void service_stop_forget(struct service *service); /* stopped() is not called any more */

#endif
