/* SPDX-License-Identifier: MIT
 * Purpose: the engine's process (engine_main.h): opens its doors, locks itself in, serves
 * until they close.
 * Process: the engine; started by the broker with the ids and the view that it is to
 * have.
 * Invariants: the filter is on before the first byte of a request is read. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "daemon/broker.h"
#include "daemon/door.h"
#include "daemon/engine_main.h"
#include "daemon/service.h"
#include "jail/caps.h"
#include "jail/filter.h"
#include "jail/seccomp.h"

static void on_door_closed(void *arg)
{
	loop_stop(arg);
}

/* Stdin and stdout are the command's, and of no use here; stderr stays for what cannot be
 * said otherwise. */
static int let_go_of_stdio(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int r = null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 ? 0 : -errno;

	if (null > 2)
		(void)close(null);
	return r;
}

/* Every waiting worker costs three descriptors, every running one eight. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* What is opened next would take the number, and pass for what the command gave. */
static int occupy(int fd)
{
	int null;

	if (fcntl(fd, F_GETFD) >= 0)
		return 0;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || (null != fd && dup3(null, fd, O_CLOEXEC) < 0))
		return -errno;
	if (null != fd)
		(void)close(null);
	return 0;
}

static int lock_in(struct sbx_err *err)
{
	_cleanup_buf_ struct buf filter = { 0 };
	int listener, r;

	r = filter_engine(&filter, err);
	if (r == 0)
		r = caps_no_new_privs(err);
	if (r == 0)
		r = seccomp_apply(filter.data, filter.len, false, &listener, err);
	return r;
}

/* Nothing is run: no wall is tried, no group is there. */
static int read_journal(struct sbx_err *err)
{
	struct loop *loop = NULL;
	int r = loop_new(&loop);

	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "event loop");
	r = lock_in(err);
	if (r == 0)
		r = door_open(loop, NULL, ROLE_DOOR_FD, on_door_closed, loop, err);
	if (r == 0 && (r = loop_run(loop)) < 0)
		(void)err_set(err, SBX_AT_ENGINE, -r, "event loop");
	loop_free(loop);
	return r;
}

static int serve(const struct route_table *const *more, struct sbx_err *err)
{
	struct service *service = NULL;
	struct engine *engine = NULL;
	struct loop *loop = NULL;
	bool door = fcntl(ROLE_DOOR_FD, F_GETFD) >= 0;
	int r;

	r = loop_new(&loop);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "event loop");
	r = engine_new(loop, ROLE_BROKER_FD, ROLE_MOVER_FD, &engine, err);
	if (r == 0)
		r = lock_in(err);
	if (r == 0)
		r = service_new(engine, more, &service, err);
	if (r == 0 && door)
		r = door_open(loop, service, ROLE_DOOR_FD, on_door_closed, loop, err);
	if (r == 0) {
		r = loop_run(loop);
		if (r < 0)
			(void)err_set(err, SBX_AT_ENGINE, -r, "event loop");
	}
	service_close(service);
	/* The broker need not wait for more: all else ends with this process. */
	(void)shutdown(ROLE_BROKER_FD, SHUT_RDWR);
	engine_free(&engine);
	service_free(&service);
	loop_free(loop);
	return r;
}

int engine_main(int argc, char **argv, const struct route_table *const *more)
{
	bool reader = argc > 2 && strcmp(argv[2], ROLE_READER) == 0;
	struct sbx_err err = { 0 };

	(void)signal(SIGPIPE, SIG_IGN);
	/* A limit of file size that we inherit is an error of a write, as a full disk is. */
	(void)signal(SIGXFSZ, SIG_IGN);
	/* The command handles the terminal's signals and ends the engine by its door. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_DFL);
	(void)prctl(PR_SET_NAME, "sandbox-engine");
	raise_files();
	for (int fd = ROLE_DOOR_FD; fd < ROLE_LISTENERS_FD + ROLE_LISTENERS_MAX; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (occupy(ROLE_JOURNAL_FD) < 0 || occupy(ROLE_JOURNAL_KEY_FD) < 0 ||
	    let_go_of_stdio() < 0 ||
	    (reader ? read_journal(&err) : serve(more, &err)) < 0) {
		(void)fprintf(stderr, "sandbox: engine: %s\n",
			      err.msg[0] ? err.msg : strerror(errno));
		return 125;
	}
	return 0;
}
