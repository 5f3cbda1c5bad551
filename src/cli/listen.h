/* SPDX-License-Identifier: MIT
 * The sockets that `sandbox serve` listens on: bound with the rights of whoever typed the
 * command, or handed over by the service manager; served by the engine. */
#ifndef SBX_CLI_LISTEN_H
#define SBX_CLI_LISTEN_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "daemon/broker.h"

enum listen_kind { LISTEN_UNIX, LISTEN_TCP, LISTEN_DOOR };

struct listener {
	int fd;
	enum listen_kind kind;
	bool open;     /* no token is asked for */
	bool loopback; /* TCP: nobody else reaches it */
	bool own; /* a unix socket that was made here: its file is removed at the end */
	char door[32];
	char host[280]; /* TCP: address and port; UNIX: its path */
	dev_t dev;      /* of the unix socket's file, to know it again */
	ino_t ino;
};
struct listen_set {
	struct listener of[ROLE_LISTENERS_MAX];
	size_t count;
};

/* All 0, or an exit code after a message. */
int listen_unix(struct listen_set *listeners, const char *path, const char *group);
int listen_tcp(struct listen_set *listeners, const char *address, const char *door,
	       bool open);
/* Those of the service manager (notify.h), by what they are: unix, TCP, or with a name of
 * "door-NAME" a door. */
int listen_handed(struct listen_set *listeners);
/* "/run/sandbox.sock" or below XDG_RUNTIME_DIR. */
int listen_default_path(char *ret, size_t size);
/* A list for DOOR_CONFIG; new reference, NULL: no memory. */
json_t *listen_json(const struct listen_set *listeners, bool tls);
/* Removes the files of our own, so that nobody connects to what is ending, and closes all. */
void listen_end(struct listen_set *listeners);

#endif
