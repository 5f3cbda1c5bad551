/* SPDX-License-Identifier: MIT
 * What the engine's doors share: the configuration that holds now, the listeners, and the
 * orderly end. Engine, on its loop. */
#ifndef SBX_DAEMON_SERVICE_H
#define SBX_DAEMON_SERVICE_H

#include "daemon/config.h"
#include "engine/engine.h"

struct service;

/* The engine stays the caller's and outlives it. */
int service_new(struct engine *engine, struct service **ret, struct sbx_err *err);
void service_free(struct service **service); /* sets NULL; takes a pointer to NULL */

struct engine *service_engine(const struct service *service);
/* Valid until the next service_configure(). */
const struct config *service_config(const struct service *service);

/* A DOOR_CONFIG. The first one opens the listeners; a later one replaces all that does not
 * take a restart, and *ret_restart (malloc) names what does. On failure nothing has
 * changed. */
int service_configure(struct service *service, const char *data, size_t len,
		      char **ret_restart, struct sbx_err *err);

/* Nothing new is accepted. stopped() is called once, from the loop, when all that was
 * accepted is answered; after grace_ms what still runs is ended. A second call shortens the
 * grace. */
void service_stop(struct service *service, uint32_t grace_ms, void (*stopped)(void *arg),
		  void *arg);
void service_stop_forget(struct service *service); /* stopped() is not called any more */

#endif
