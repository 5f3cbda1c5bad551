/* SPDX-License-Identifier: MIT
 * The engine's process: `sandbox --role=engine`, started by the broker with the
 * descriptors of daemon/broker.h. */
#ifndef SBX_DAEMON_ENGINE_MAIN_H
#define SBX_DAEMON_ENGINE_MAIN_H

int engine_main(int argc, char **argv);

#endif
