/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox serve`: a unix socket for HTTP, which the engine serves, for as long
 * as this process lives.
 * Process: the command's, with its user's rights. It accepts no connection and reads no
 * request itself.
 * Trusts: the directory of the socket to be one that its user chose; what lies at the
 * socket's path is looked at.
 * Invariants: only a socket that nobody listens on is replaced, and only under a lock on
 *   its directory; what is removed at the end is the very socket that was made here. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "lib/internal.h"
#include "lib/offer.h"
#include "lib/spawn.h"

#define LOCK_TRIES 40
#define LOCK_WAIT_MS 50

#define OFFERS_MAX 64

static const char *const option_names[] = { "--socket", "--grantable",
					    "--python", "--exit-with-stdin",
					    "--help",   NULL };

/* What the broker is told before the first request: places of root's own that callers may
 * be shown. */
struct named {
	const char *item[OFFERS_MAX];
	size_t count;
};

struct server {
	struct sockaddr_un address;
	int fd;
	dev_t dev; /* of the socket's file, to know it again */
	ino_t ino;
};

/* ---- the socket ---- */

static int default_path(char *ret, size_t size)
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

static int listen_here(struct server *server, const char *path)
{
	/* Its name appears when it listens: a client that waits for it may connect. */
	struct sockaddr_un unready = { .sun_family = AF_UNIX };
	_cleanup_fd_ int lock = -1;
	struct stat st;
	mode_t before;
	int code, r;

	server->address.sun_family = AF_UNIX;
	if (strlen(path) == 0 || strlen(path) >= sizeof(server->address.sun_path))
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: the path of a socket has 1 to %zu bytes",
				sizeof(server->address.sun_path) - 1);
	strcpy(server->address.sun_path, path);
	code = lock_directory(path, &lock);
	if (code == 0)
		code = clear_stale(&server->address);
	if (code != 0)
		return code;
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server->fd < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: socket: %s", strerror(errno));
	if ((size_t)snprintf(unready.sun_path, sizeof(unready.sun_path), "%s.%d", path,
			     (int)getpid()) >= sizeof(unready.sun_path))
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: the path is too long",
				path);
	/* Nobody else's from the first moment, not only after a chmod. */
	before = umask(0177);
	r = bind(server->fd, (const struct sockaddr *)&unready, sizeof(unready));
	(void)umask(before);
	if (r < 0 || lstat(unready.sun_path, &st) < 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", path, strerror(errno));
	if (listen(server->fd, SOMAXCONN) < 0 || rename(unready.sun_path, path) < 0) {
		r = errno;
		(void)unlink(unready.sun_path);
		return cli_fail(EXIT_OUR_FAULT, "serve: %s: %s", path, strerror(r));
	}
	server->dev = st.st_dev;
	server->ino = st.st_ino;
	return 0;
}

/* Takes a server that never came to listen, too. */
static void unlink_socket(struct server *server)
{
	struct stat st;

	if (server->ino != 0 && lstat(server->address.sun_path, &st) == 0 &&
	    st.st_dev == server->dev && st.st_ino == server->ino)
		(void)unlink(server->address.sun_path);
	server->ino = 0;
}

/* ---- until the end ---- */

/* True at its end. What is written to it means nothing. */
static bool stdin_ended(void)
{
	char thrown_away[4096];
	ssize_t n = read(0, thrown_away, sizeof(thrown_away));

	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

/* 0 when asked to end, EXIT_OUR_FAULT when the broker ended by itself. */
static int wait_for_end(const struct spawned *spawned, int signals, bool with_stdin)
{
	struct pollfd fds[3] = {
		{ .fd = spawned->pidfd, .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
		{ .fd = with_stdin ? 0 : -1, .events = POLLIN },
	};

	for (;;) {
		if (poll(fds, 3, -1) < 0) {
			if (errno != EINTR)
				return cli_fail(EXIT_OUR_FAULT, "serve: poll: %s",
						strerror(errno));
			continue;
		}
		if (fds[0].revents)
			return cli_fail(EXIT_OUR_FAULT,
					"serve: the engine has ended unexpectedly");
		if (fds[1].revents || (fds[2].revents && stdin_ended()))
			return 0;
	}
}

static int offer_all(const struct spawned *spawned, const struct named *named,
		     int (*offer)(const struct spawned *spawned, const char *item,
				  struct sbx_err *err))
{
	struct sbx_err err = { 0 };

	for (size_t i = 0; i < named->count; i++)
		if (offer(spawned, named->item[i], &err) < 0)
			return cli_fail(EXIT_WRONG_USAGE, "serve: %s", err.msg);
	return 0;
}

static int add_named(struct named *named, const char *item)
{
	if (named->count == OFFERS_MAX)
		return cli_fail(EXIT_WRONG_USAGE, "serve: at most %d of an option",
				OFFERS_MAX);
	named->item[named->count++] = item;
	return 0;
}

static int serve(struct server *server, const char *path, bool with_stdin,
		 const struct named *grantable, const struct named *pythons)
{
	_cleanup_fd_ int signals = -1;
	struct spawned spawned;
	struct sbx_err err = { 0 };
	char *shown;
	sigset_t set;
	int code, r;

	/* Blocked before anything is made that they would leave behind. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigemptyset(&set) < 0 ||
	    sigaddset(&set, SIGINT) < 0 || sigaddset(&set, SIGTERM) < 0 ||
	    sigaddset(&set, SIGHUP) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: signals: %s", strerror(errno));
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: signalfd: %s", strerror(errno));
	code = listen_here(server, path);
	if (code != 0)
		return code;
	/* A door that nobody uses: its end, before the lifeline's, tells the engine to
	 * end by itself. */
	if (spawn_broker(NULL, server->fd, true, &spawned, &err) < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: %s", err.msg);
	/* Ours would keep taking connections after the engine's end. */
	fd_close(&server->fd);
	code = offer_all(&spawned, grantable, offer_grantable);
	if (code == 0)
		code = offer_all(&spawned, pythons, offer_python);
	if (code != 0) {
		unlink_socket(server);
		(void)spawn_end(&spawned);
		return code;
	}
	shown = summary_line(path, strlen(path), PATH_MAX);
	(void)fprintf(stderr, "listening on unix:%s\n", shown ? shown : path);
	free(shown);
	code = wait_for_end(&spawned, signals, with_stdin);
	/* First the name, so that nobody connects to what is ending. */
	unlink_socket(server);
	r = spawn_end(&spawned);
	if (code == 0 && (r < 0 || r == 128 + SIGKILL))
		code = cli_fail(EXIT_OUR_FAULT, "serve: the broker had to be killed");
	return code;
}

int cli_serve(int argc, char **argv)
{
	struct server server = { .fd = -1 };
	char path[PATH_MAX];
	const char *given = NULL, *listener, *item;
	struct named grantable = { .count = 0 }, pythons = { .count = 0 };
	bool with_stdin = false;
	int i, r, code;

	for (i = 1; i < argc; i++) {
		r = cli_value(argc, argv, &i, "--socket", &given);
		if (r < 0)
			return EXIT_WRONG_USAGE;
		if (r > 0)
			continue;
		r = cli_value(argc, argv, &i, "--grantable", &item);
		if (r > 0 && add_named(&grantable, item) == 0)
			continue;
		if (r == 0)
			r = cli_value(argc, argv, &i, "--python", &item);
		else
			return EXIT_WRONG_USAGE;
		if (r > 0 && add_named(&pythons, item) == 0)
			continue;
		if (r != 0)
			return EXIT_WRONG_USAGE;
		r = cli_value(argc, argv, &i, "--listen", &listener);
		if (r != 0)
			return cli_fail(
				EXIT_WRONG_USAGE,
				"serve: --listen is not available yet; this version serves a unix socket");
		if (strcmp(argv[i], "--exit-with-stdin") != 0)
			return cli_unknown("serve", argv[i], option_names);
		with_stdin = true;
	}
	if (!given) {
		r = default_path(path, sizeof(path));
		if (r != 0)
			return r;
		given = path;
	}
	code = serve(&server, given, with_stdin, &grantable, &pythons);
	unlink_socket(&server);
	fd_close(&server.fd);
	return code;
}
