/* SPDX-License-Identifier: MIT
 * Purpose: starts and watches one template (template.h).
 * Process: the engine; the jailer's first steps run in its fork until the embedded jailer
 * is executed.
 * Trusts: broker and jailer. The zygote is an interpreter that has run installed
 *   packages, never a program: its reports are bounded and checked all the same.
 * Invariants: nothing of a template outlives its jailer, which is pid 1 of its pid
 *   namespace, nor the engine, whose death the jailer does not survive
 *   (PR_SET_PDEATHSIG). One span of ids belongs to one template at a time. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/wire.h"
#include "runtime/boot.h"
#include "zygote/embed.h"
#include "zygote/interpreter.h"
#include "zygote/layout.h"
#include "zygote/template.h"

#define SPANS 15u
#define START_MAX_US \
	(60u * 1000000u) /* a preload of pandas takes 0.3 s, a cold disk ten times that */
#define STDERR_MAX 16384u
#define PRELOAD_MAX 60u
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* 6.3 */
#endif

struct template
{
	struct host *host;
	struct template_events events;
	char **preload; /* NULL-terminated, owned */
	unsigned walls;
	uint32_t span;
	bool has_span, ready, dead, explained; /* the zygote itself said why it failed */
	uint64_t born_us;
	uint32_t forks, python_version;
	char *view; /* or NULL */
	struct interpreter interpreter;
	int jailer_pidfd, zygote_pidfd, control_fd, stderr_fd;
	struct loop_io *jailer_io, *control_io, *stderr_io;
	struct loop_timer *start_timer;
	struct call_queue *jailer;
	struct buf stderr_text;
	struct sbx_err err; /* the first thing that failed */
	struct jailer_request request;
};

bool template_is_ready(const struct template *t)
{
	return t->ready && !t->dead;
}

uint64_t template_born_us(const struct template *t)
{
	return t->born_us;
}

uint32_t template_forks(const struct template *t)
{
	return t->forks;
}

uint32_t template_python_version(const struct template *t)
{
	return t->python_version;
}

uint32_t template_span(const struct template *t)
{
	return t->span;
}

unsigned template_walls(const struct template *t)
{
	return t->walls;
}

/* ---- its end ---- */

static void die(struct template *t, const struct sbx_err *err)
{
	if (t->dead)
		return;
	t->dead = true;
	if (t->err.stage == SBX_AT_NONE)
		t->err = *err;
	/* What the interpreter said is the best explanation that there is. */
	if (!t->ready && !t->explained && t->err.stage != SBX_AT_INTERPRETER &&
	    t->stderr_text.len > 0) {
		const char *text = t->stderr_text.data, *last;
		size_t len = t->stderr_text.len;

		while (len > 0 && text[len - 1] == '\n')
			t->stderr_text.data[--len] = '\0';
		last = strrchr(text, '\n');
		(void)err_set_field(&t->err, SBX_AT_INTERPRETER, 0, "python",
				    "python: %s did not start: %.300s",
				    t->interpreter.argv0, last ? last + 1 : text);
		err_sanitize(&t->err);
	}
	loop_timer_cancel(&t->start_timer);
	if (t->jailer_pidfd >= 0)
		(void)k_pidfd_send_signal(t->jailer_pidfd, SIGKILL);
	t->events.gone(t->events.arg, &t->err);
}

void template_free(struct template **template)
{
	struct template *t = *template;

	*template = NULL;
	if (!t)
		return;
	t->dead = true;
	loop_timer_cancel(&t->start_timer);
	loop_remove(&t->jailer_io);
	loop_remove(&t->control_io);
	loop_remove(&t->stderr_io);
	call_queue_free(&t->jailer);
	fd_close(&t->control_fd);
	fd_close(&t->stderr_fd);
	fd_close(&t->zygote_pidfd);
	if (t->jailer_pidfd >= 0) {
		siginfo_t info;

		/* The kernel has ended the whole pid namespace when this wait returns. */
		(void)k_pidfd_send_signal(t->jailer_pidfd, SIGKILL);
		(void)waitid((idtype_t)P_PIDFD, (id_t)t->jailer_pidfd, &info, WEXITED);
		fd_close(&t->jailer_pidfd);
	}
	if (t->has_span)
		t->host->spans &= ~(1u << t->span);
	for (size_t i = 0; t->preload && t->preload[i]; i++)
		free(t->preload[i]);
	free(t->preload);
	free(t->view);
	buf_free(&t->stderr_text);
	free(t);
}

/* ---- events ---- */

static void on_jailer_exit(void *arg, uint32_t events)
{
	struct template *t = arg;
	struct sbx_err err = { 0 };

	(void)events;
	loop_remove(&t->jailer_io);
	(void)err_set(&err, SBX_AT_ZYGOTE, 0, "the jailer of a template ended");
	die(t, &err);
}

static void on_jailer_lost(void *arg)
{
	on_jailer_exit(arg, 0);
}

static void on_start_timeout(void *arg)
{
	struct template *t = arg;
	struct sbx_err err = { 0 };

	loop_timer_cancel(&t->start_timer);
	(void)err_set(&err, SBX_AT_ZYGOTE, ETIMEDOUT,
		      "the template was not ready in %u s", START_MAX_US / 1000000u);
	die(t, &err);
}

static void on_stderr(void *arg, uint32_t events)
{
	struct template *t = arg;
	char chunk[4096];
	ssize_t n = read(t->stderr_fd, chunk, sizeof(chunk));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_remove(&t->stderr_io);
		return;
	}
	/* The last words count; what is before them is dropped. */
	if (t->stderr_text.len + (size_t)n > STDERR_MAX)
		buf_consume(&t->stderr_text, t->stderr_text.len);
	(void)buf_add(&t->stderr_text, chunk, (size_t)n);
}

static int hide_packages(struct template *t, int fd, struct sbx_err *err);

static void on_ready(struct template *t, const struct zygote_report *report, int fd)
{
	struct sbx_err err = { 0 };

	t->python_version = report->python_version;
	if (report->python_version < 0x030a0000) {
		(void)err_set_field(&err, SBX_AT_INTERPRETER, 0, "python",
				    "python: %s is older than 3.10",
				    t->interpreter.argv0);
		t->err = err;
		die(t, &err);
		return;
	}
	/* The jailer takes requests in order: before the first jail is made they are
	 * hidden, or the template is dead. */
	if (t->view && hide_packages(t, fd, &err) < 0) {
		t->explained = true;
		die(t, &err);
		return;
	}
	loop_timer_cancel(&t->start_timer);
	t->ready = true;
	t->born_us = loop_now_us();
	t->events.ready(t->events.arg);
}

static void on_control(void *arg, uint32_t events)
{
	struct template *t = arg;
	struct zygote_report report;
	struct sbx_err err = { 0 };
	int fd = -1, r;
	size_t count = 0;

	(void)events;
	r = wire_recv(t->control_fd, &report, sizeof(report), &fd, 1, &count);
	if (r == -EAGAIN || r == -EINTR)
		return;
	if (r == 0 && count == 0)
		fd = -1;
	if (r < 0) {
		on_stderr(t, 0);
		loop_remove(&t->control_io);
		(void)err_set(&err, SBX_AT_ZYGOTE, 0,
			      "the interpreter of a template ended");
		die(t, &err);
		return;
	}
	err_sanitize(&report.err);
	if (report.kind == ZYGOTE_READY && !t->ready) {
		on_ready(t, &report, fd);
		fd_close(&fd);
	} else if (report.kind == ZYGOTE_FAILED && report.serial == 0) {
		fd_close(&fd);
		t->err = report.err;
		t->explained = true;
		die(t, &report.err);
	} else {
		t->events.report(t->events.arg, &report, fd);
	}
}

/* The answers of the set-up: any failure ends the template. */
static void on_setup(void *arg, const void *reply, int fd)
{
	struct template *t = arg;
	const struct jailer_reply *r = reply;

	if (r->op == JAILER_ZYGOTE && r->err.stage == SBX_AT_NONE) {
		t->zygote_pidfd = fd;
		return;
	}
	fd_close(&fd);
	if (r->err.stage != SBX_AT_NONE && !t->dead) {
		t->err = r->err;
		err_sanitize(&t->err);
		die(t, &t->err);
	}
}

/* ---- what the jails do not show ---- */

#define VIEW_MAX (1u << 20)

static int send_hide(struct template *t, struct jailer_request *request,
		     struct sbx_err *err)
{
	int r = call_send(t->jailer, request, NULL, 0, on_setup, t, NULL);

	return r < 0 ? err_set(err, SBX_AT_ZYGOTE, -r, "a request to the jailer") : 0;
}

/* The names that follow a directory, as many requests as they take. *at moves on to the
 * next record that is none. */
static int hide_but(struct template *t, const char **at, const char *end,
		    struct sbx_err *err)
{
	struct jailer_request *request = &t->request;
	size_t used = 0;
	int r;

	while (*at < end && **at == '+') {
		size_t len = strlen(*at + 1) + 1;

		if (len > 512)
			return err_set(err, SBX_AT_ZYGOTE, ENAMETOOLONG,
				       "the name of a package");
		if (used + len > sizeof(request->path)) {
			request->tree_flags = HIDE_MORE;
			r = send_hide(t, request, err);
			if (r < 0)
				return r;
			memset(request->path, 0, sizeof(request->path));
			request->count = 0;
			used = 0;
		}
		memcpy(request->path + used, *at + 1, len);
		request->count++;
		used += len;
		*at += len + 1;
	}
	request->tree_flags = 0;
	return send_hide(t, request, err);
}

/* The zygote's list, which can do no more than hide. */
static int hide_packages(struct template *t, int fd, struct sbx_err *err)
{
	struct jailer_request *request = &t->request;
	_cleanup_free_ char *text = malloc(VIEW_MAX + 1);
	struct stat st;
	const char *at, *end;
	ssize_t len = -1;
	int r = 0;

	if (text && fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		len = pread(fd, text, VIEW_MAX + 1, 0);
	if (len < 0 || (size_t)len > VIEW_MAX || (len > 0 && text[len - 1] != '\0'))
		return err_set(err, SBX_AT_ZYGOTE, EBADMSG,
			       "what the zygote says of the installed packages");
	for (at = text, end = text + len; r == 0 && at < end;) {
		size_t size = strlen(at);
		bool is_file = *at == 'F';

		if ((*at != 'D' && !is_file) || size > sizeof(request->target))
			return err_set(err, SBX_AT_ZYGOTE, EBADMSG,
				       "what the zygote says of the installed packages");
		memset(request, 0, sizeof(*request));
		request->op = JAILER_HIDE;
		memcpy(request->target, at + 1, size);
		at += size + 1;
		r = is_file ? send_hide(t, request, err) : hide_but(t, &at, end, err);
	}
	return r;
}

/* ---- its start ---- */

static int memfd_of(const char *name, const char *from, const char *end,
		    struct sbx_err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || fd_write_all(fd, from, (size_t)(end - from)) < 0 ||
	    fchmod(fd, 0755) < 0 ||
	    fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
		int r = err_set(err, SBX_AT_ZYGOTE, errno, "memory for %s", name);

		fd_close(&fd);
		return r;
	}
	return fd;
}

/* Between fork and exec; the ids are mapped when the byte comes. */
static _Noreturn void jailer_child(int go, int control, int binary)
{
	char *const argv[] = { "sandbox-jailer", NULL };
	char *const environment[] = { NULL };
	sigset_t none;
	char byte;
	int null;

	if (fd_read_all(go, &byte, 1) != 1)
		_exit(125);
	/* No id may be left from outside; by raw calls, as this is a clone without
	 * glibc's knowledge. */
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	    (syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM) ||
	    syscall(SYS_setresuid, 0, 0, 0) < 0)
		_exit(124);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || setsid() < 0)
		_exit(123);
	/* Out of the way of the numbers that they are to have. */
	control = fcntl(control, F_DUPFD_CLOEXEC, 64);
	binary = fcntl(binary, F_DUPFD_CLOEXEC, 64);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (control < 0 || binary < 0 || null < 0 || dup2(null, 0) < 0 ||
	    dup2(null, 1) < 0 || dup2(null, 2) < 0 || dup2(control, 3) < 0)
		_exit(122);
	if (syscall(SYS_close_range, 4, binary - 1, 0) < 0 ||
	    syscall(SYS_close_range, binary + 1, ~0u, 0) < 0)
		_exit(121);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)syscall(SYS_execveat, binary, "", argv, environment, AT_EMPTY_PATH);
	_exit(120);
}

static int write_map(pid_t pid, const char *name, const char *text)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fd_write_file(AT_FDCWD, path, text);
}

static int map_ids(struct template *t, pid_t pid, struct sbx_err *err)
{
	struct broker_request request = { .op = BROKER_MAP_IDS, .index = t->span };
	struct broker_reply reply;
	char map[64];
	int r;

	if (t->host->hello.root)
		return host_call(t->host, &request, t->jailer_pidfd, &reply, NULL, err);
	(void)write_map(pid, "setgroups", "deny");
	(void)snprintf(map, sizeof(map), "0 %u 1\n", (unsigned)getgid());
	r = write_map(pid, "gid_map", map);
	(void)snprintf(map, sizeof(map), "0 %u 1\n", (unsigned)getuid());
	if (r == 0)
		r = write_map(pid, "uid_map", map);
	return r < 0 ? err_set(err, SBX_AT_WALL, -r,
			       "mapping the ids of a user namespace")
		     : 0;
}

static int start_jailer(struct template *t, struct sbx_err *err)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS |
			 CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
		.exit_signal = SIGCHLD,
	};
	_cleanup_fd_ int binary = -1, go_read = -1, go_write = -1, theirs = -1, ours = -1;
	int pair[2], r;
	pid_t pid;

	binary = memfd_of("sandbox-jailer", embed_jailer, embed_jailer_end, err);
	if (binary < 0)
		return binary;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_set(err, SBX_AT_ZYGOTE, errno, "pipe");
	go_read = pair[0];
	go_write = pair[1];
	r = wire_pair(SOCK_SEQPACKET, pair);
	if (r < 0)
		return err_set(err, SBX_AT_ZYGOTE, -r, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	args.pidfd = (uint64_t)(uintptr_t)&t->jailer_pidfd;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0) {
		t->jailer_pidfd = -1;
		return err_set(
			err, SBX_AT_WALL, errno,
			"clone3 of new user, pid, mount, net, ipc and uts namespaces");
	}
	if (pid == 0) {
		/* Else the parent's death would not be seen as an end of file. */
		(void)close(go_write);
		jailer_child(go_read, theirs, binary);
	}
	r = map_ids(t, pid, err);
	if (r < 0)
		return r;
	if (fd_write_all(go_write, "", 1) < 0)
		return err_set(err, SBX_AT_ZYGOTE, EPIPE, "the jailer is gone");
	r = loop_add(t->host->loop, t->jailer_pidfd, EPOLLIN, on_jailer_exit, t,
		     &t->jailer_io);
	if (r == 0)
		r = call_queue_new(
			t->host->loop, fd_take(&ours), sizeof(struct jailer_request),
			sizeof(struct jailer_reply), on_jailer_lost, t, &t->jailer);
	return r < 0 ? err_set(err, SBX_AT_ZYGOTE, -r, "watching the jailer") : 0;
}

static int send_part(void *arg, const struct jailer_request *request, int fd,
		     struct sbx_err *err)
{
	struct template *t = arg;
	int r = call_send(t->jailer, request, &fd, fd >= 0 ? 1 : 0, on_setup, t, NULL);

	return r < 0 ? err_set(err, SBX_AT_ZYGOTE, -r, "a request to the jailer") : 0;
}

static int add_word(struct jailer_request *request, size_t *at, const char *word)
{
	size_t len = strlen(word) + 1;

	if (*at + len > sizeof(request->path))
		return -E2BIG;
	memcpy(request->path + *at, word, len);
	*at += len;
	return 0;
}

static int start_zygote(struct template *t, int control, int messages,
			struct sbx_err *err)
{
	static const char *const boot[] = { RUNTIME_ARGV };
	struct jailer_request *request = &t->request;
	_cleanup_fd_ int extension = -1, filter = -1;
	size_t at = 0, i;
	int fds[3], r;

	extension = memfd_of("sbx-extension", embed_extension, embed_extension_end, err);
	if (extension < 0)
		return extension;
	memset(request, 0, sizeof(*request));
	request->op = JAILER_EXTENSION;
	r = call_send(t->jailer, request, &extension, 1, on_setup, t, NULL);
	if (r < 0)
		return err_set(err, SBX_AT_ZYGOTE, -r, "a request to the jailer");
	filter = memfd_of("sbx-filter", t->host->zygote_filter.data,
			  t->host->zygote_filter.data + t->host->zygote_filter.len, err);
	if (filter < 0)
		return filter;
	memset(request, 0, sizeof(*request));
	request->op = JAILER_ZYGOTE;
	request->walls = t->walls;
	r = add_word(request, &at, t->interpreter.file);
	if (r == 0)
		r = add_word(request, &at, t->interpreter.argv0);
	for (i = 0; r == 0 && i < sizeof(boot) / sizeof(boot[0]); i++)
		r = add_word(request, &at, boot[i]);
	request->count = 1 + (uint32_t)i;
	if (r == 0 && t->view) {
		const char mark[] = { RUNTIME_VIEW, '\0' };

		r = add_word(request, &at, mark);
		at--; /* one word */
		if (r == 0)
			r = add_word(request, &at, t->view);
		request->count++;
	}
	for (i = 0; r == 0 && t->preload[i]; i++, request->count++)
		r = add_word(request, &at, t->preload[i]);
	if (r < 0 || i > PRELOAD_MAX)
		return err_set_field(err, SBX_AT_POLICY, 0, "preload",
				     "preload: at most %u names, 4 KiB in all",
				     PRELOAD_MAX);
	fds[0] = control;
	fds[1] = messages;
	fds[2] = filter;
	r = call_send(t->jailer, request, fds, (t->walls & WALL_SECCOMP) ? 3 : 2,
		      on_setup, t, NULL);
	return r < 0 ? err_set(err, SBX_AT_ZYGOTE, -r, "a request to the jailer") : 0;
}

static int watch_zygote(struct template *t, int *ret_control, int *ret_messages,
			struct sbx_err *err)
{
	int pair[2], r;

	r = wire_pair(SOCK_SEQPACKET, pair);
	if (r < 0)
		return err_set(err, SBX_AT_ZYGOTE, -r, "socketpair");
	t->control_fd = pair[0];
	*ret_control = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_set(err, SBX_AT_ZYGOTE, errno, "pipe");
	t->stderr_fd = pair[0];
	*ret_messages = pair[1];
	r = fd_nonblock(t->control_fd, true);
	if (r == 0)
		r = fd_nonblock(t->stderr_fd, true);
	if (r == 0)
		r = loop_add(t->host->loop, t->control_fd, EPOLLIN, on_control, t,
			     &t->control_io);
	if (r == 0)
		r = loop_add(t->host->loop, t->stderr_fd, EPOLLIN, on_stderr, t,
			     &t->stderr_io);
	return r < 0 ? err_set(err, SBX_AT_ZYGOTE, -r, "watching the zygote") : 0;
}

static int take_span(struct template *t, struct sbx_err *err)
{
	for (t->span = 0; t->span < SPANS; t->span++)
		if (!(t->host->spans & (1u << t->span)))
			break;
	if (t->span == SPANS)
		return err_set(err, SBX_AT_BUSY, EAGAIN,
			       "%u templates are live; try again when one is idle",
			       SPANS);
	t->host->spans |= 1u << t->span;
	t->has_span = true;
	return 0;
}

static int copy_preload(struct template *t, const char *const *names)
{
	size_t count = 0;

	while (names && names[count])
		count++;
	t->preload = calloc(count + 1, sizeof(char *));
	for (size_t i = 0; t->preload && i < count; i++) {
		t->preload[i] = strdup(names[i]);
		if (!t->preload[i])
			return -ENOMEM;
	}
	return t->preload ? 0 : -ENOMEM;
}

static int start(struct template *t, const struct template_spec *spec,
		 struct sbx_err *err)
{
	_cleanup_fd_ int control = -1, messages = -1;
	int r;

	t->view = spec->view ? strdup(spec->view) : NULL;
	if (copy_preload(t, spec->preload) < 0 || (spec->view && !t->view))
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "template");
	r = interpreter_find(t->host, spec->python, &t->interpreter, err);
	if (r == 0)
		r = take_span(t, err);
	if (r == 0)
		r = start_jailer(t, err);
	if (r == 0)
		r = layout_walk(t->host, &t->interpreter, send_part, t, err);
	if (r == 0)
		r = watch_zygote(t, &control, &messages, err);
	if (r == 0)
		r = start_zygote(t, control, messages, err);
	if (r < 0)
		return r;
	r = loop_timer_at(t->host->loop, &t->start_timer, loop_now_us() + START_MAX_US,
			  on_start_timeout, t);
	return r < 0 ? err_set(err, SBX_AT_ENGINE, -r, "timer") : 0;
}

int template_start(struct host *host, const struct template_spec *spec,
		   const struct template_events *events, struct template **ret,
		   struct sbx_err *err)
{
	struct template *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "template");
	t->host = host;
	t->events = *events;
	t->walls = spec->walls;
	t->born_us = loop_now_us();
	t->jailer_pidfd = t->zygote_pidfd = t->control_fd = t->stderr_fd = -1;
	r = start(t, spec, err);
	if (r < 0) {
		template_free(&t);
		return r;
	}
	*ret = t;
	return 0;
}

/* ---- what is asked of it ---- */

int template_make_jail(struct template *t, const struct jailer_request *request,
		       int control_fd, call_fn fn, void *arg, struct call **ret_call)
{
	if (t->dead)
		return -EPIPE;
	return call_send(t->jailer, request, &control_fd, 1, fn, arg, ret_call);
}

int template_fork(struct template *t, uint32_t serial, int init_pidfd, int channel_fd)
{
	const struct zygote_request request = { .serial = serial, .walls = t->walls };
	const int fds[] = { init_pidfd, channel_fd };
	int r;

	if (!template_is_ready(t))
		return -EPIPE;
	/* Non-blocking: a zygote that has a hundred forks waiting is asked again later by
	 * the caller. */
	r = wire_send(t->control_fd, &request, sizeof(request), fds, 2);
	if (r == 0)
		t->forks++;
	return r;
}

int template_open_tree(struct template *t, const char *path, unsigned tree_flags,
		       call_fn fn, void *arg, struct call **ret_call)
{
	struct jailer_request *request = &t->request;

	if (t->dead)
		return -EPIPE;
	if (strlen(path) >= sizeof(request->path))
		return -ENAMETOOLONG;
	memset(request, 0, sizeof(*request));
	request->op = JAILER_TREE;
	request->tree_flags = tree_flags;
	strcpy(request->path, path);
	return call_send(t->jailer, request, NULL, 0, fn, arg, ret_call);
}
