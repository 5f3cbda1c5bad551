/* SPDX-License-Identifier: MIT
 * Purpose: makes or takes over the sockets of `sandbox serve` (listen.h).
 * Process: the command, with its user's rights. It accepts no connection.
 * Trusts: the directory of a socket to be one that its user chose; what lies at the
 *   socket's path is looked at.
 * Invariants: only a socket that nobody listens on is replaced, and only under a lock on
 *   its directory; what is removed at the end is the very socket that was made here. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/listen.h"
#include "cli/notify.h"
#include "daemon/config.h"

#define LOCK_TRIES 40
#define LOCK_WAIT_MS 50

int listen_default_path(char *ret, size_t size)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0) {
		(void)snprintf(ret, size, "/run/sandbox.sock");
		return 0;
	}
	if (!dir || dir[0] != '/')
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: XDG_RUNTIME_DIR is not set; give --socket PATH");
	if (snprintf(ret, size, "%s/sandbox.sock", dir) >= (int)size)
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: XDG_RUNTIME_DIR is too long; give --socket PATH");
	return 0;
}

/* Two servers that start at once must not take each other's new socket for a stale one.
 * The lock is on the directory, so that no file of it stays. */
static int lock_directory(const char *path, int *ret_fd)
{
	char copy[PATH_MAX];
	const char *dir;
	int fd, i;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	dir = dirname(copy);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", dir, strerror(errno));
	for (i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		int errnum = errno;

		if ((errnum != EWOULDBLOCK && errnum != EINTR) || i == LOCK_TRIES) {
			(void)close(fd);
			return cli_fail(EXIT_OUR_FAULT, "serve: locking %s: %s", dir,
					strerror(errnum));
		}
		(void)nanosleep(&(struct timespec){ .tv_nsec = LOCK_WAIT_MS * 1000000L },
				NULL);
	}
	*ret_fd = fd;
	return 0;
}

/* Makes room at the path, if what is there is a socket that nobody listens on. */
static int clear_stale(const struct sockaddr_un *address)
{
	_cleanup_fd_ int fd = -1;
	const char *path = address->sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", path,
						  strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s is there and is no socket",
				path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	    errno == EAGAIN)
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: a server is listening on %s already", path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", path, strerror(errno));
	if (unlink(path) < 0 && errno != ENOENT)
		return cli_fail(EXIT_WRONG_USAGE, "serve: the stale socket %s: %s", path,
				strerror(errno));
	return 0;
}

/* Its place in the set, or NULL after a message. */
static struct listener *add(struct listen_set *listeners, enum listen_kind kind)
{
	struct listener *listener = &listeners->of[listeners->count];

	if (listeners->count == ROLE_LISTENERS_MAX) {
		(void)cli_fail(EXIT_WRONG_USAGE, "serve: at most %d sockets",
			       ROLE_LISTENERS_MAX);
		return NULL;
	}
	*listener = (struct listener){ .fd = -1, .kind = kind };
	return listener;
}

/* Nobody else's from the first moment, not only after a chmod. */
static int bind_private(int fd, const struct sockaddr_un *address)
{
	mode_t before = umask(0177);
	int r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno
										 : 0;

	(void)umask(before);
	return r;
}

static int admit_group(const char *path, const char *name)
{
	const struct group *group = getgrnam(name);

	if (!group)
		return cli_fail(EXIT_WRONG_USAGE, "serve: there is no group \"%s\"",
				name);
	if (lchown(path, (uid_t)-1, group->gr_gid) < 0 || chmod(path, 0660) < 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: giving %s to the group %s: %s",
				path, name, strerror(errno));
	return 0;
}

int listen_unix(struct listen_set *listeners, const char *path, const char *group)
{
	/* Its name appears when it listens: a client that waits for it may connect. */
	struct sockaddr_un address = { .sun_family = AF_UNIX },
			   unready = { .sun_family = AF_UNIX };
	struct listener *listener = add(listeners, LISTEN_UNIX);
	_cleanup_fd_ int lock = -1, fd = -1;
	struct stat st;
	int code, r;

	if (!listener)
		return EXIT_WRONG_USAGE;
	if (strlen(path) == 0 || strlen(path) >= sizeof(address.sun_path))
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: the path of a socket has 1 to %zu bytes",
				sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	code = lock_directory(path, &lock);
	if (code == 0)
		code = clear_stale(&address);
	if (code != 0)
		return code;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: socket: %s", strerror(errno));
	if ((size_t)snprintf(unready.sun_path, sizeof(unready.sun_path), "%s.%d", path,
			     (int)getpid()) >= sizeof(unready.sun_path))
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: the path is too long",
				path);
	r = bind_private(fd, &unready);
	if (r != 0 || lstat(unready.sun_path, &st) < 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", path,
				strerror(r ? r : errno));
	code = *group ? admit_group(unready.sun_path, group) : 0;
	if (code == 0 &&
	    (listen(fd, SOMAXCONN) < 0 || rename(unready.sun_path, path) < 0))
		code = cli_fail(EXIT_OUR_FAULT, "serve: %s: %s", path, strerror(errno));
	if (code != 0) {
		(void)unlink(unready.sun_path);
		return code;
	}
	listener->fd = fd_take(&fd);
	listener->own = true;
	listener->dev = st.st_dev;
	listener->ino = st.st_ino;
	strcpy(listener->host, path);
	listeners->count++;
	return 0;
}

/* ---- TCP ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

static void name_tcp(struct listener *listener, const union address *at)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (at->any.sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &at->v6.sin6_addr, text, sizeof(text));
		listener->loopback = IN6_IS_ADDR_LOOPBACK(&at->v6.sin6_addr);
		(void)snprintf(listener->host, sizeof(listener->host), "[%s]:%u", text,
			       (unsigned)ntohs(at->v6.sin6_port));
	} else {
		(void)inet_ntop(AF_INET, &at->v4.sin_addr, text, sizeof(text));
		listener->loopback = ntohl(at->v4.sin_addr.s_addr) >> 24 == 127;
		(void)snprintf(listener->host, sizeof(listener->host), "%s:%u", text,
			       (unsigned)ntohs(at->v4.sin_port));
	}
}

static int bind_tcp(int fd, const struct config_address *parsed)
{
	union address at = { 0 };
	socklen_t len = sizeof(at.v4);
	int on = 1;

	at.any.sa_family = (sa_family_t)parsed->family;
	if (parsed->family == AF_INET6) {
		len = sizeof(at.v6);
		at.v6.sin6_port = htons((uint16_t)parsed->port);
		memcpy(&at.v6.sin6_addr, parsed->bytes, 16);
		if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
			return errno;
	} else {
		at.v4.sin_port = htons((uint16_t)parsed->port);
		memcpy(&at.v4.sin_addr, parsed->bytes, 4);
	}
	/* A port whose last connections wait for their end (TIME_WAIT) is free. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, &at.any, len) < 0 || listen(fd, SOMAXCONN) < 0)
		return errno;
	return 0;
}

int listen_tcp(struct listen_set *listeners, const char *address, const char *door,
	       bool open)
{
	struct listener *listener = add(listeners, door ? LISTEN_DOOR : LISTEN_TCP);
	struct config_address parsed;
	_cleanup_fd_ int fd = -1;
	union address at = { 0 };
	socklen_t len = sizeof(at);
	int r;

	if (!listener)
		return EXIT_WRONG_USAGE;
	if (config_address(address, &parsed) < 0)
		return cli_fail(
			EXIT_WRONG_USAGE,
			"serve: expected ADDRESS:PORT as in 127.0.0.1:5000 or [::1]:5000, got \"%s\"",
			address);
	fd = socket(parsed.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: %s: socket: %s", address,
				strerror(errno));
	r = bind_tcp(fd, &parsed);
	if (r == EADDRINUSE)
		return cli_fail(
			EXIT_WRONG_USAGE,
			"serve: %s: another program listens there; choose another with --listen",
			address);
	if (r != 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", address, strerror(r));
	if (getsockname(fd, &at.any, &len) < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: getsockname: %s",
				strerror(errno));
	name_tcp(listener, &at);
	listener->fd = fd_take(&fd);
	listener->open = open;
	if (door)
		(void)snprintf(listener->door, sizeof(listener->door), "%s", door);
	listeners->count++;
	return 0;
}

/* ---- of the service manager ---- */

static int take_over(struct listen_set *listeners, int fd, const char *name)
{
	struct listener *listener = add(listeners, LISTEN_UNIX);
	union address at = { 0 };
	socklen_t len = sizeof(at), size = sizeof(int);
	int listens = 0, type = 0;

	if (!listener)
		return EXIT_WRONG_USAGE;
	if (getsockname(fd, &at.any, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: descriptor %d (%s) is no listening stream socket",
				fd, name);
	if (at.any.sa_family == AF_UNIX) {
		(void)snprintf(listener->host, sizeof(listener->host), "%.107s",
			       at.un.sun_path);
	} else if (at.any.sa_family == AF_INET || at.any.sa_family == AF_INET6) {
		listener->kind = LISTEN_TCP;
		name_tcp(listener, &at);
	} else {
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: descriptor %d (%s) is neither unix nor TCP", fd,
				name);
	}
	if (strncmp(name, "door-", 5) == 0) {
		listener->kind = LISTEN_DOOR;
		(void)snprintf(listener->door, sizeof(listener->door), "%.31s", name + 5);
	}
	listener->fd = fcntl(fd, F_DUPFD_CLOEXEC, 64);
	(void)close(fd);
	if (listener->fd < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: descriptor %d: %s", fd,
				strerror(errno));
	listeners->count++;
	return 0;
}

int listen_handed(struct listen_set *listeners)
{
	int code = 0;

	for (size_t i = 0; i < notify_listen_count() && code == 0; i++)
		code = take_over(listeners, 3 + (int)i, notify_listen_name(i));
	return code;
}

/* ---- what is told, and the end ---- */

json_t *listen_json(const struct listen_set *listeners, bool tls)
{
	static const char *const kinds[] = {
		[LISTEN_UNIX] = "unix", [LISTEN_TCP] = "tcp", [LISTEN_DOOR] = "door"
	};
	json_t *list = json_array();

	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->of[i];
		bool tcp = listener->kind != LISTEN_UNIX;
		json_t *item = json_pack(
			"{s:i, s:s, s:b, s:b, s:s, s:s*}", "fd",
			ROLE_LISTENERS_FD + (int)i, "kind", kinds[listener->kind], "open",
			listener->open, "tls", tcp && tls, "host",
			tcp ? listener->host : "", "door",
			listener->kind == LISTEN_DOOR ? listener->door : NULL);

		if (json_array_append_new(list, item) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

void listen_end(struct listen_set *listeners)
{
	for (size_t i = 0; i < listeners->count; i++) {
		struct listener *listener = &listeners->of[i];
		struct stat st;

		if (listener->own && lstat(listener->host, &st) == 0 &&
		    st.st_dev == listener->dev && st.st_ino == listener->ino)
			(void)unlink(listener->host);
		fd_close(&listener->fd);
	}
	listeners->count = 0;
}
