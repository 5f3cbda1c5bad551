/* SPDX-License-Identifier: MIT
 * Purpose: readiness, reload, watchdog and sockets between `sandbox serve` and systemd
 *   (notify.h).
 * Process: the command. Trusts: its environment, which is its starter's.
 * Invariants: no descriptor is taken for the manager's unless LISTEN_PID names us. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/notify.h"
#include "daemon/broker.h"

static struct {
	struct sockaddr_un address;
	socklen_t address_len; /* 0: no manager */
	uint64_t watchdog_us;
	size_t listen_count;
	char names[2048]; /* separated by NULs */
} manager;

static bool is_for_us(const char *name)
{
	const char *text = getenv(name);
	char own[16];

	(void)snprintf(own, sizeof(own), "%d", (int)getpid());
	return text && strcmp(text, own) == 0;
}

static uint64_t number(const char *name, uint64_t max)
{
	const char *text = getenv(name);
	unsigned long long value;
	char *end;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' && value <= max ? value : 0;
}

void notify_begin(void)
{
	static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC",
					     "WATCHDOG_PID",  "LISTEN_PID",
					     "LISTEN_FDS",    "LISTEN_FDNAMES" };
	const char *path = getenv("NOTIFY_SOCKET"), *fd_names = getenv("LISTEN_FDNAMES");
	size_t len = path ? strlen(path) : 0;

	if (len > 1 && len < sizeof(manager.address.sun_path) &&
	    (*path == '/' || *path == '@')) {
		manager.address.sun_family = AF_UNIX;
		memcpy(manager.address.sun_path, path, len);
		if (*path == '@')
			manager.address.sun_path[0] = '\0';
		manager.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
						  len);
	}
	if (!getenv("WATCHDOG_PID") || is_for_us("WATCHDOG_PID"))
		manager.watchdog_us = number("WATCHDOG_USEC", UINT64_C(3600000000));
	if (is_for_us("LISTEN_PID"))
		manager.listen_count = (size_t)number("LISTEN_FDS", ROLE_LISTENERS_MAX);
	if (fd_names && strlen(fd_names) < sizeof(manager.names) - 1) {
		strcpy(manager.names, fd_names);
		for (char *at = manager.names; (at = strchr(at, ':')); at++)
			*at = '\0';
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unsetenv(names[i]);
}

void notify_say(const char *lines)
{
	_cleanup_fd_ int fd = -1;

	if (!manager.address_len)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, lines, strlen(lines), MSG_NOSIGNAL | MSG_DONTWAIT,
			     (const struct sockaddr *)&manager.address,
			     manager.address_len);
}

void notify_reloading(void)
{
	struct timespec now;
	char lines[80];

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%lld",
		       (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	notify_say(lines);
}

uint64_t notify_watchdog_us(void)
{
	return manager.watchdog_us;
}

size_t notify_listen_count(void)
{
	return manager.listen_count;
}

const char *notify_listen_name(size_t i)
{
	const char *at = manager.names;

	for (; i > 0 && at < manager.names + sizeof(manager.names) - 1; i--)
		at += strlen(at) + 1;
	return at < manager.names + sizeof(manager.names) - 1 ? at : "";
}
