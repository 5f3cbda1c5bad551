/* SPDX-License-Identifier: MIT
 * Purpose: the fork server: imports what the template preloads, locks itself in, and
 * forks one worker a request.
 * Process: the zygote; uid 0 of the template's user namespace, with CAP_SYS_ADMIN there
 *   once it serves (setns into jails), a root of its own without a network, seccomp.
 * Trusts: the engine on its control socket, the template's modules. It never sees a
 *   program, its input or result: those travel on the channel between engine and worker,
 *   whose descriptor it only passes on.
 * Invariants: one thread, always (a fork copies only the thread that calls it); it ends
 * with its control socket. */
#include "runtime/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "jail/caps.h"
#include "jail/seccomp.h"
#include "runtime/boot.h"

#define WORKERS_MAX 4096u /* more than one machine's pool and its running programs */
#define FILTER_MAX (1u << 20)

static struct {
	int control_fd;
	int own_pidns_fd; /* -1: cannot go back */
	size_t count;
	struct pollfd polls[WORKERS_MAX +
			    1]; /* [0] is the control socket, [i + 1] live[i]'s pidfd */
	struct {
		pid_t pid;
		uint32_t serial;
	} live[WORKERS_MAX];
} zygote;

static void report(struct zygote_report *report, int fd)
{
	/* The engine is gone, or will read it. */
	if (wire_send(zygote.control_fd, report, sizeof(*report), &fd, fd >= 0 ? 1 : 0) <
	    0)
		_exit(0);
}

static _Noreturn void give_up(const struct sbx_err *err)
{
	struct zygote_report failed = { .kind = ZYGOTE_FAILED, .err = *err };

	report(&failed, -1);
	_exit(1);
}

/* With the present Python exception. */
static _Noreturn void give_up_python(int stage, const char *doing, const char *what)
{
	_cleanup_py_ PyObject *type = NULL, *value = NULL, *trace = NULL, *text = NULL,
			      *name = NULL;
	const char *said = NULL, *kind = NULL;
	struct sbx_err err;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	name = type ? PyObject_GetAttrString(type, "__name__") : NULL;
	text = value ? PyObject_Str(value) : NULL;
	kind = name ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
	said = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	(void)err_set(&err, stage, 0, "%s%s: %.60s: %.300s", doing, what,
		      kind ? kind : "unknown exception", said ? said : "");
	give_up(&err);
}

static _Noreturn void give_up_errno(const char *what)
{
	struct sbx_err err;

	(void)err_set(&err, SBX_AT_ZYGOTE, errno, "%s", what);
	give_up(&err);
}

/* ---- start ---- */

/* An optional module is missing if it, or the package that it is in, is what was not
 * found. */
static bool not_installed(const char *name)
{
	_cleanup_py_ PyObject *type = NULL, *value = NULL, *trace = NULL, *missing = NULL;
	const char *text;
	size_t len;
	bool match = false;

	if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError))
		return false;
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	missing = value ? PyObject_GetAttrString(value, "name") : NULL;
	text = missing && PyUnicode_Check(missing)
		       ? PyUnicode_AsUTF8AndSize(missing, NULL)
		       : NULL;
	if (text) {
		len = strlen(text);
		match = strncmp(name, text, len) == 0 &&
			(name[len] == '\0' || name[len] == '.');
	}
	PyErr_Clear();
	if (!match) {
		PyErr_Restore(type, value, trace);
		type = value = trace = NULL;
	}
	return match;
}

/* What every plot would do first: the scan of all fonts, and the choice of the default
 * one. */
static int warm_matplotlib(void)
{
	_cleanup_py_ PyObject *pyplot = PyImport_ImportModule("matplotlib.pyplot");
	_cleanup_py_ PyObject *fonts = pyplot ? PyImport_ImportModule(
							"matplotlib.font_manager")
					      : NULL;
	_cleanup_py_ PyObject *usual = fonts ? PyObject_CallMethod(fonts,
								   "FontProperties", NULL)
					     : NULL;
	_cleanup_py_ PyObject *found = usual ? PyObject_CallMethod(fonts, "findfont", "O",
								   usual)
					     : NULL;

	return found ? 0 : -1;
}

static void preload_one(const char *given)
{
	_cleanup_py_ PyObject *module = NULL;
	char name[256];
	size_t len = strlen(given);
	bool optional = len > 0 && given[len - 1] == '?';
	struct sbx_err err;

	if (optional)
		len--;
	if (len == 0 || len >= sizeof(name)) {
		(void)err_set(&err, SBX_AT_ZYGOTE, EINVAL,
			      "preload: \"%.100s\" is no name of a module", given);
		give_up(&err);
	}
	memcpy(name, given, len);
	name[len] = '\0';
	module = PyImport_ImportModule(name);
	if (!module && optional && not_installed(name))
		return;
	if (!module || (strcmp(name, "matplotlib") == 0 && warm_matplotlib() < 0))
		give_up_python(SBX_AT_POLICY, "preload: ", name);
	/* No effect but this check: unshare(2) refuses it to a process with threads. */
	if (unshare(CLONE_THREAD) < 0) {
		(void)err_set(
			&err, SBX_AT_POLICY, 0,
			"preload: %.100s starts threads, and a process with threads cannot be forked; "
			"take it out of preload",
			name);
		give_up(&err);
	}
}

/* The view, where one is given, is the first word. Returns it, or NULL. */
static const char *preload_all(PyObject *names)
{
	Py_ssize_t i, count = PyList_Size(names);
	const char *view = NULL;

	for (i = 0; i < count; i++) {
		const char *name = PyUnicode_AsUTF8AndSize(PyList_GetItem(names, i),
							   NULL);

		if (!name)
			give_up_python(SBX_AT_ZYGOTE, "preload", "");
		if (i == 0 && name[0] == RUNTIME_VIEW)
			view = name + 1;
		else
			preload_one(name);
	}
	return view;
}

/* A descriptor, or -1 where everything is shown. */
static int look_at_packages(const char *view)
{
	struct sbx_err err = { 0 };
	int fd = view ? packages_view(view, &err) : -1;

	if (!view || fd >= 0)
		return fd;
	if (err.stage == SBX_AT_NONE)
		give_up_python(SBX_AT_ZYGOTE, "looking at the installed packages", "");
	give_up(&err);
}

/* Everything so far is every worker's: the collector shall not write to its pages any
 * more. */
static int freeze(void)
{
	_cleanup_py_ PyObject *gc = PyImport_ImportModule("gc");
	_cleanup_py_ PyObject *collected = gc ? PyObject_CallMethod(gc, "collect", NULL)
					      : NULL;
	_cleanup_py_ PyObject *frozen = collected
						? PyObject_CallMethod(gc, "freeze", NULL)
						: NULL;

	return frozen ? 0 : -1;
}

/* A time namespace for all workers, in which the clocks that tell the host's uptime begin
 * now. Children enter it by fork; offsets can be written until the first does
 * (time_namespaces(7), 5.6). */
static void hide_uptime(void)
{
	static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	char text[160];
	size_t i, at = 0;

	if (unshare(CLONE_NEWTIME) < 0)
		give_up_errno("unshare of the time namespace");
	for (i = 0; i < 2; i++) {
		struct timespec now;

		if (clock_gettime(clocks[i], &now) < 0)
			give_up_errno("clock_gettime");
		/* -now, with nanoseconds that are not negative */
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%d -%lld %ld\n",
				       (int)clocks[i],
				       (long long)now.tv_sec + (now.tv_nsec > 0),
				       now.tv_nsec > 0 ? 1000000000L - now.tv_nsec : 0L);
	}
	/* Without a /proc the uptime shows; the walls that are missing then say so. */
	if (fd_write_file(AT_FDCWD, "/proc/self/timens_offsets", text) < 0 &&
	    access("/proc/self", F_OK) == 0)
		give_up_errno("offsets of the time namespace");
}

static void install_filter(void)
{
	struct stat st;
	struct sbx_err err;
	_cleanup_free_ char *code = NULL;
	int listener = -1;

	if (fstat(RUNTIME_FILTER_FD, &st) < 0 || st.st_size <= 0 ||
	    st.st_size > (off_t)FILTER_MAX)
		give_up_errno("the zygote's filter");
	code = malloc((size_t)st.st_size);
	if (!code || pread(RUNTIME_FILTER_FD, code, (size_t)st.st_size, 0) != st.st_size)
		give_up_errno("reading the zygote's filter");
	if (seccomp_apply(code, (size_t)st.st_size, false, &listener, &err) < 0)
		give_up(&err);
}

static void lock_in(unsigned walls)
{
	struct sbx_err err;

	if (walls & WALL_TIME)
		hide_uptime();
	/* Before the filter, and while /proc can still be looked at. Without it (no
	 * /proc) the next request's setns overrides the last one's anyway. */
	zygote.own_pidns_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if ((walls & WALL_CAPS) && caps_keep(1ull << CAP_SYS_ADMIN, &err) < 0)
		give_up(&err);
	if (walls & WALL_SECCOMP)
		install_filter();
	(void)close(RUNTIME_FILTER_FD);
}

/* ---- service ---- */

static void fail_request(uint32_t serial, const char *what, int errnum)
{
	struct zygote_report failed = { .kind = ZYGOTE_FAILED, .serial = serial };

	(void)err_set(&failed.err, SBX_AT_ZYGOTE, errnum, "%s", what);
	report(&failed, -1);
}

static void leave_jail(void)
{
	/* Rootless the kernel may refuse it. That is no loss: nothing is forked but
	 * workers, and each first enters the next jail's namespace. */
	if (zygote.own_pidns_fd >= 0 && setns(zygote.own_pidns_fd, CLONE_NEWPID) < 0)
		fd_close(&zygote.own_pidns_fd);
}

static void fork_worker(const struct zygote_request *request, int init_pidfd,
			int channel_fd)
{
	struct zygote_report forked = { .kind = ZYGOTE_FORKED,
					.serial = request->serial };
	int pidfd, errnum;
	pid_t pid;

	if (zygote.count == WORKERS_MAX) {
		fail_request(request->serial, "too many workers of one zygote", EAGAIN);
		return;
	}
	if ((request->walls & WALL_PID) && setns(init_pidfd, CLONE_NEWPID) < 0) {
		fail_request(request->serial, "setns into the pid namespace of a jail",
			     errno);
		return;
	}
	/* Not clone3(2): the C library's and CPython's own handlers have to run. */
	PyOS_BeforeFork();
	pid = fork();
	errnum = errno;
	if (pid == 0) {
		PyOS_AfterFork_Child();
		worker_main(init_pidfd, channel_fd, request->walls);
	}
	PyOS_AfterFork_Parent();
	leave_jail();
	if (pid < 0) {
		/* ENOMEM also means that the jail's init is dead, pid_namespaces(7). */
		fail_request(request->serial, "fork of a worker", errnum);
		return;
	}
	/* No race: only we reap it. */
	pidfd = k_pidfd_open(pid, 0);
	if (pidfd < 0) {
		errnum = errno;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		fail_request(request->serial, "pidfd_open of a worker", errnum);
		return;
	}
	zygote.live[zygote.count].pid = pid;
	zygote.live[zygote.count].serial = request->serial;
	zygote.polls[zygote.count + 1] = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	zygote.count++;
	report(&forked, pidfd);
}

static void serve_request(void)
{
	struct zygote_request request;
	int fds[2] = { -1, -1 };
	size_t count = 0, i;
	int r;

	r = wire_recv(zygote.control_fd, &request, sizeof(request), fds, 2, &count);
	if (r == -EINTR || r == -EAGAIN)
		return;
	if (r < 0)
		_exit(0);
	if (count == 2)
		fork_worker(&request, fds[0], fds[1]);
	else
		fail_request(request.serial, "a request without its descriptors", EBADF);
	for (i = 0; i < count; i++)
		(void)close(fds[i]);
}

/* Worker i has ended. */
static void reap(size_t i)
{
	struct zygote_report exited = { .kind = ZYGOTE_EXITED,
					.serial = zygote.live[i].serial };
	struct rusage usage;
	int status;

	if (wait4(zygote.live[i].pid, &status, WNOHANG, &usage) != zygote.live[i].pid)
		return;
	exited.wait_status = status;
	exited.cpu_us = (uint64_t)usage.ru_utime.tv_sec * 1000000u +
			(uint64_t)usage.ru_utime.tv_usec +
			(uint64_t)usage.ru_stime.tv_sec * 1000000u +
			(uint64_t)usage.ru_stime.tv_usec;
	(void)close(zygote.polls[i + 1].fd);
	zygote.count--;
	zygote.live[i] = zygote.live[zygote.count];
	zygote.polls[i + 1] = zygote.polls[zygote.count + 1];
	report(&exited, -1);
}

static _Noreturn void serve(void)
{
	for (;;) {
		size_t i;

		if (poll(zygote.polls, zygote.count + 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			give_up_errno("poll");
		}
		/* Backwards: reap() fills a hole with the last one. */
		for (i = zygote.count; i > 0; i--)
			if (zygote.polls[i].revents)
				reap(i - 1);
		if (zygote.polls[0].revents)
			serve_request();
	}
}

_Noreturn void zygote_serve(int fd, PyObject *preload)
{
	struct zygote_report ready = { .kind = ZYGOTE_READY };
	const char *text = getenv(RUNTIME_WALLS_ENV);
	unsigned walls = text ? (unsigned)strtoul(text, NULL, 16) : WALL_ALL;
	PyObject *version;
	const char *view;
	int packages;
	long number;

	zygote.control_fd = fd;
	zygote.polls[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
	/* A report that is cut or lost would be a worker without an owner. */
	if (fd_nonblock(fd, false) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		_exit(1);
	version = PySys_GetObject("hexversion");
	number = version ? PyLong_AsLong(version) : -1;
	view = preload_all(preload);
	packages = look_at_packages(view);
	if (program_init() < 0 || value_init() < 0 || trace_init() < 0 ||
	    display_init() < 0)
		give_up_python(SBX_AT_ZYGOTE, "preparing the interpreter", "");
	if (number < 0 || freeze() < 0)
		give_up_python(SBX_AT_ZYGOTE, "freezing the interpreter", "");
	lock_in(walls);
	ready.python_version = (uint32_t)number;
	report(&ready, packages);
	fd_close(&packages);
	serve();
}
