/* SPDX-License-Identifier: MIT
 * The engine's process: `sandbox --role=engine`, started by the broker with the
 * descriptors of daemon/broker.h. */
#ifndef SBX_DAEMON_ENGINE_MAIN_H
#define SBX_DAEMON_ENGINE_MAIN_H

struct route_table;
/* more: as service_new()'s. */
int engine_main(int argc, char **argv, const struct route_table *const *more);

#endif
