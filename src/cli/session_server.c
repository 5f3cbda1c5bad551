/* SPDX-License-Identifier: MIT
 * Purpose: starts a `sandbox serve` that outlives this command (session_server.h).
 * Process: the command's, and a child of it that becomes the server. Trusts: the place of
 *   the socket, which its user chose.
 * Invariants: the server holds no descriptor, terminal or working directory of ours. */
#include "cli/session_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "lib/internal.h"

#define IDLE_S "900" /* without a session or a program */
#define START_MS 60000
#define LOOK_MS 20

static bool listens(const char *socket_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(socket_path) >= sizeof(address.sun_path))
		return false;
	strcpy(address.sun_path, socket_path);
	return connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

/* In the child. */
static void become_server(const char *socket_path, const char *journal, int log)
{
	const char *args[] = { "sandbox",   "serve",       "--socket",
			       socket_path, "--idle-exit", IDLE_S,
			       "--journal", journal,       NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (!journal)
		args[6] = NULL;
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0 ||
	    setsid() < 0 || chdir("/") < 0 || signal(SIGHUP, SIG_DFL) == SIG_ERR)
		_exit(EXIT_OUR_FAULT);
	(void)execv("/proc/self/exe", (char *const *)args);
	_exit(EXIT_OUR_FAULT);
}

/* The same record as of `sandbox run`; where there can be none there is none. */
static const char *journal_place(char *ret, size_t size)
{
	struct sbx_err err;
	int fd = -1;

	if (journal_dir_default(ret, size) < 0 ||
	    journal_dir_open(NULL, true, &fd, &err) < 0)
		return NULL;
	fd_close(&fd);
	return ret;
}

static int said(int log)
{
	char text[1024];
	ssize_t n = pread(log, text, sizeof(text) - 1, 0);
	char *line = text, *end;

	text[n > 0 ? n : 0] = '\0';
	/* Its own words have our name in front. */
	if (strncmp(line, "sandbox: ", 9) == 0)
		line += 9;
	if ((end = strchr(line, '\n')) != NULL)
		*end = '\0';
	return cli_fail(EXIT_OUR_FAULT, "the server did not start: %s",
			*line ? line : "it said nothing");
}

int session_server_start(const char *socket_path)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
	char place[PATH_MAX];
	const char *journal = journal_place(place, sizeof(place));
	_cleanup_fd_ int log = memfd_create("sandbox-serve", MFD_CLOEXEC);
	bool ended = false;
	pid_t pid;

	pid = log < 0 ? -1 : fork();
	if (pid < 0)
		return cli_fail(EXIT_OUR_FAULT, "starting a server: %s", strerror(errno));
	if (pid == 0)
		become_server(socket_path, journal, log);
	for (int waited = 0; waited < START_MS; waited += LOOK_MS) {
		if (listens(socket_path))
			return 0;
		/* Another one may have been faster. */
		if (ended)
			return said(log);
		ended = waitpid(pid, NULL, WNOHANG) == pid;
		if (!ended)
			(void)nanosleep(&pause, NULL);
	}
	return said(log);
}
