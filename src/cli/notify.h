/* SPDX-License-Identifier: MIT
 * The service manager's protocol (sd_notify(3), sd_listen_fds(3)) without its library. The
 * command; one thread. */
#ifndef SBX_CLI_NOTIFY_H
#define SBX_CLI_NOTIFY_H

#include <stddef.h>
#include <stdint.h>

/* Reads NOTIFY_SOCKET, WATCHDOG_*, LISTEN_* of the environment and takes them out of it, so
 * that no child takes itself for the service. */
void notify_begin(void);
/* One datagram of lines such as "READY=1". Without a manager nothing happens; one that does
 * not listen is none. */
void notify_say(const char *lines);
/* What came up with the time that RELOADING=1 has to carry. */
void notify_reloading(void);
uint64_t notify_watchdog_us(void); /* how often it wants to hear of us; 0: never */
/* Sockets that the manager listens on for us: they begin at 3. */
size_t notify_listen_count(void);
const char *notify_listen_name(size_t i); /* of LISTEN_FDNAMES, or "" */

#endif
