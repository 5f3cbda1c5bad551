/* SPDX-License-Identifier: MIT
 * Purpose: the life of a worker: into its jail, wait for the request, confine, run, tell,
 * end.
 * Process: a fork of the zygote. Until child_confine() it runs no code but ours and the
 *   template's; afterwards it is the program, and what it says on the channel is a claim.
 * Trusts: the engine, though every length of its request is checked.
 * Invariants: a step that fails before the program's first instruction ends in
 *   WORKER_FAILED and _exit(). Only this process speaks on the channel, and only while
 *   descriptor 3 still is the channel: a program may close it, put another file there, or
 *   fork. */
#include "runtime/runtime.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "jail/child.h"
#include "runtime/json.h"

#define EVENTS_MAX \
	64u /* different events of one run; what is beyond is counted together */
#define SUBJECT_MAX 4096u /* bytes of an event's subject */

static struct {
	pid_t pid; /* 0: not yet, or not any more */
	dev_t dev;
	ino_t ino; /* of the channel's socket */
} self;

static bool is_channel(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == self.dev &&
	       st.st_ino == self.ino;
}

bool worker_is_self(void)
{
	return self.pid != 0 && getpid() == self.pid;
}

static _Noreturn void fail(const struct sbx_err *err)
{
	(void)wire_send_frame(CHILD_CHANNEL_FD, WORKER_FAILED, err, sizeof(*err), NULL,
			      0);
	_exit(1);
}

static _Noreturn void fail_plain(int errnum, const char *what)
{
	struct sbx_err err;

	(void)err_set(&err, SBX_AT_WORKER, errnum, "%s", what);
	fail(&err);
}

/* With the present Python exception. */
static _Noreturn void fail_python(const char *what)
{
	_cleanup_py_ PyObject *type = NULL, *value = NULL, *trace = NULL, *text = NULL;
	const char *said = NULL;
	struct sbx_err err;

	PyErr_Fetch(&type, &value, &trace);
	text = value ? PyObject_Str(value) : NULL;
	said = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	(void)err_set(&err, SBX_AT_WORKER, 0, "%s: %.300s", what,
		      said ? said : "no more is known");
	fail(&err);
}

/* ---- events ---- */

static struct {
	struct {
		char *text; /* JSON without the closing brace */
		size_t len,
			key_len; /* of the whole, and of what makes it another event */
		unsigned long more;
	} known[EVENTS_MAX];
	size_t count;
	unsigned long dropped;
} events;

static void send_event(const char *text, size_t len, unsigned long count)
{
	struct json out = { .max = WORKER_EVENT_MAX };

	json_raw(&out, text, len);
	if (count > 0) {
		json_lit(&out, ",\"count\":");
		json_long(&out, (long long)count);
	}
	json_lit(&out, "}");
	if (!out.error && worker_is_self() && is_channel(CHILD_CHANNEL_FD))
		(void)wire_send_frame(CHILD_CHANNEL_FD, WORKER_EVENT, out.data, out.len,
				      NULL, 0);
	json_free(&out);
}

static void write_subject(struct json *out, PyObject *subject)
{
	_cleanup_py_ PyObject *bytes = NULL;
	char *data;
	Py_ssize_t len;

	if (subject && PyUnicode_Check(subject))
		bytes = PyUnicode_AsEncodedString(subject, "utf-8", "backslashreplace");
	if (bytes && PyBytes_AsStringAndSize(bytes, &data, &len) == 0)
		json_text_cut(out, data, (size_t)len, SUBJECT_MAX);
	else
		json_lit(out, "null");
}

void worker_event(const char *kind, PyObject *subject, const char *rule, long line,
		  const char *remedy)
{
	struct json out = { .max = WORKER_EVENT_MAX - 64 };
	PyObject *type, *value, *trace;
	size_t key_len, i;

	PyErr_Fetch(&type, &value, &trace); /* may be called with one set */
	json_lit(&out, "{\"kind\":");
	json_text(&out, kind, strlen(kind));
	json_lit(&out, ",\"subject\":");
	write_subject(&out, subject);
	json_lit(&out, ",\"rule\":");
	json_text(&out, rule, strlen(rule));
	key_len = out.len;
	json_lit(&out, ",\"line\":");
	if (line > 0)
		json_long(&out, line);
	else
		json_lit(&out, "null");
	json_lit(&out, ",\"remedy\":");
	if (remedy)
		json_text(&out, remedy, strlen(remedy));
	else
		json_lit(&out, "null");
	if (out.error)
		goto out;
	for (i = 0; i < events.count; i++) {
		if (events.known[i].key_len == key_len &&
		    memcmp(events.known[i].text, out.data, key_len) == 0) {
			events.known[i].more++;
			goto out;
		}
	}
	if (events.count == EVENTS_MAX) {
		events.dropped++;
		goto out;
	}
	send_event(out.data, out.len, 0);
	events.known[events.count].text = out.data;
	events.known[events.count].len = out.len;
	events.known[events.count].key_len = key_len;
	events.known[events.count].more = 0;
	events.count++;
	out.data = NULL;
out:
	json_free(&out);
	PyErr_Clear();
	PyErr_Restore(type, value, trace);
}

void worker_events_flush(void)
{
	static const char dropped[] =
		"{\"kind\":\"more\",\"subject\":null,\"rule\":\"\",\"line\":null,\"remedy\":null";
	size_t i;

	for (i = 0; i < events.count; i++) {
		if (events.known[i].more > 0)
			send_event(events.known[i].text, events.known[i].len,
				   events.known[i].more);
		events.known[i].more = 0;
	}
	if (events.dropped > 0)
		send_event(dropped, sizeof(dropped) - 1, events.dropped);
	events.dropped = 0;
}

/* ---- the request ---- */

struct request {
	char *payload; /* malloc'ed: struct worker_run, its sections, and one NUL of ours */
	struct worker_run run;
	const char *filter, *code, *filename, *modules, *environment, *grants, *files,
		*cwd;
	int stdio[3];
};

static void receive(struct request *ret)
{
	struct wire_frame frame;
	size_t count = 0;
	ssize_t got;
	int r;

	do
		got = wire_recv_some(CHILD_CHANNEL_FD, &frame, sizeof(frame), ret->stdio,
				     3, &count);
	while (got == -EINTR);
	if (got == -EPIPE)
		_exit(0); /* never taken out of the pool */
	if (got <= 0)
		fail_plain(got < 0 ? (int)-got : EBADMSG, "receiving the request");
	r = wire_read(CHILD_CHANNEL_FD, (char *)&frame + got,
		      sizeof(frame) - (size_t)got);
	if (r < 0 || frame.type != WORKER_RUN || frame.len < sizeof(ret->run) ||
	    frame.len > WORKER_RUN_MAX || count != 3)
		fail_plain(r < 0 ? -r : EBADMSG, "malformed request");
	ret->payload = malloc((size_t)frame.len + 1);
	if (!ret->payload)
		fail_plain(ENOMEM, "memory for the request");
	r = wire_read(CHILD_CHANNEL_FD, ret->payload, frame.len);
	if (r < 0)
		fail_plain(-r, "receiving the request");
	ret->payload[frame.len] = '\0';
	memcpy(&ret->run, ret->payload, sizeof(ret->run));
	{
		const struct {
			uint32_t len;
			const char **at;
		} sections[] = {
			{ ret->run.filter_len, &ret->filter },
			{ ret->run.code_len, &ret->code },
			{ ret->run.filename_len, &ret->filename },
			{ ret->run.modules_len, &ret->modules },
			{ ret->run.environment_len, &ret->environment },
			{ ret->run.grants_len, &ret->grants },
			{ ret->run.files_len, &ret->files },
			{ ret->run.cwd_len, &ret->cwd },
		};
		size_t i, left = frame.len - sizeof(ret->run);
		const char *at = ret->payload + sizeof(ret->run);

		for (i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
			if (sections[i].len > left)
				fail_plain(EBADMSG, "malformed sections of the request");
			*sections[i].at = at;
			at += sections[i].len;
			left -= sections[i].len;
		}
		/* The last one is followed by our NUL. */
		if (left != 0 || strlen(ret->cwd) != ret->run.cwd_len)
			fail_plain(EBADMSG, "malformed sections of the request");
	}
}

/* "KEY=VALUE" each with its NUL. */
static PyObject *parse_environment(const char *at, size_t len)
{
	const char *end = at + len;
	PyObject *dict = PyDict_New();

	while (dict && at < end) {
		size_t size = strnlen(at, (size_t)(end - at));
		const char *equals = memchr(at, '=', size);
		_cleanup_py_ PyObject *key = NULL, *value = NULL;

		if (at + size >= end || !equals || equals == at) {
			PyErr_SetString(PyExc_ValueError, "malformed environment");
			Py_CLEAR(dict);
			break;
		}
		key = PyUnicode_DecodeUTF8(at, equals - at, "surrogateescape");
		value = PyUnicode_DecodeUTF8(equals + 1, at + size - equals - 1,
					     "surrogateescape");
		if (!key || !value || PyDict_SetItem(dict, key, value) < 0)
			Py_CLEAR(dict);
		at += size + 1;
	}
	return dict;
}

/* Words, each with its NUL. For good: the gate reads them to the end. */
static const char *keep_words(const char *words, size_t len)
{
	char *kept;

	if (len > 0 && words[len - 1] != '\0')
		fail_plain(EBADMSG, "malformed list in the request");
	kept = malloc(len + 1);
	if (!kept)
		fail_plain(ENOMEM, "memory for the request");
	memcpy(kept, words, len);
	return kept;
}

static void prepare_program(const struct request *request, struct program *ret)
{
	const struct worker_run *run = &request->run;

	ret->run = *run;
	ret->modules = keep_words(request->modules, run->modules_len);
	ret->files = keep_words(request->files, run->files_len);
	ret->source = PyUnicode_DecodeUTF8(request->code, (Py_ssize_t)run->code_len,
					   "strict");
	ret->filename = PyUnicode_DecodeUTF8(request->filename,
					     (Py_ssize_t)run->filename_len, "replace");
	ret->environment = parse_environment(request->environment, run->environment_len);
	if (!ret->source || !ret->filename || !ret->environment)
		fail_python("reading the request");
	if (program_environ(ret) < 0)
		fail_python("the environment");
}

/* ---- the life ---- */

static void join(int init_pidfd, int channel_fd, unsigned walls,
		 struct landlock *landlock)
{
	const struct child_join how = { .init_pidfd = init_pidfd,
					.channel_fd = channel_fd,
					.walls = walls };
	struct sbx_err err = { 0 };
	struct stat st;

	if (fstat(channel_fd, &st) < 0)
		_exit(1);
	self.dev = st.st_dev;
	self.ino = st.st_ino;
	self.pid = getpid();
	/* The two ends of a socketpair have separate flags: whatever the engine does with
	 * its own. */
	if (fd_nonblock(channel_fd, false) < 0)
		_exit(1);
	if (child_join(&how, landlock, &err) < 0) {
		/* It may have moved already. */
		(void)wire_send_frame(is_channel(CHILD_CHANNEL_FD) ? CHILD_CHANNEL_FD
								   : channel_fd,
				      WORKER_FAILED, &err, sizeof(err), NULL, 0);
		_exit(1);
	}
	if (reseed_all(&err) < 0)
		fail(&err);
}

static bool looks;          /* RUN_LOOK */
static unsigned unanswered; /* WORKER_DISPLAYs */

void worker_look(void)
{
	struct pollfd answered = { .fd = CHILD_CHANNEL_FD, .events = POLLIN };
	struct wire_frame frame;

	if (!looks || !worker_is_self() || !is_channel(CHILD_CHANNEL_FD))
		return;
	looks = false;
	if (wire_send_frame(CHILD_CHANNEL_FD, WORKER_LOOK, NULL, 0, NULL, 0) < 0)
		return;
	do {
		if (poll(&answered, 1, 200) != 1 ||
		    wire_read(CHILD_CHANNEL_FD, &frame, sizeof(frame)) < 0)
			return;
	} while (frame.type != WORKER_LOOKED);
}

bool worker_display(const char *json, size_t len, bool wait)
{
	struct pollfd answered = { .fd = CHILD_CHANNEL_FD, .events = POLLIN };
	struct wire_frame frame;
	int r;

	if (!worker_is_self() || !is_channel(CHILD_CHANNEL_FD) ||
	    wire_send_frame(CHILD_CHANNEL_FD, WORKER_DISPLAY, json, len, NULL, 0) < 0)
		return false;
	unanswered++;
	while (wait && unanswered > 0) {
		do
			r = poll(&answered, 1, 1000);
		while (r < 0 && errno == EINTR);
		if (r != 1 || wire_read(CHILD_CHANNEL_FD, &frame, sizeof(frame)) < 0)
			break;
		unanswered--;
	}
	return true;
}

_Noreturn void worker_main(int init_pidfd, int channel_fd, unsigned walls)
{
	static struct program program;
	static struct request request;
	struct json done = { .max = WORKER_DONE_MAX };
	struct landlock landlock;
	struct sbx_err err = { 0 };
	struct child_confine confine;
	int listener = -1, code, r;

	join(init_pidfd, channel_fd, walls, &landlock);
	if (program_prepare() < 0)
		fail_python("preparing the interpreter");
	r = wire_send_frame(CHILD_CHANNEL_FD, WORKER_WAITING, NULL, 0, NULL, 0);
	if (r < 0)
		_exit(0);

	receive(&request);
	prepare_program(&request, &program);
	if (gate_install(&program) < 0)
		fail_python("the import gate");
	confine = (struct child_confine){
		.run = &request.run,
		.stdio = { request.stdio[0], request.stdio[1], request.stdio[2] },
		.filter = request.filter,
		.grants = request.grants,
		.cwd = request.cwd,
	};
	if (child_confine(&confine, &landlock, &listener, &err) < 0)
		fail(&err);
	/* From here to STARTED no call may be one that the filter asks about: nobody
	 * answers yet. */
	free(request.payload);
	if (stdio_open() < 0)
		fail_python("the standard streams");
	r = wire_send_frame(CHILD_CHANNEL_FD, WORKER_STARTED, NULL, 0, &listener,
			    listener >= 0 ? 1 : 0);
	if (r < 0)
		_exit(1);
	fd_close(&listener);

	looks = program.run.flags & RUN_LOOK;
	code = program_run(&program, &done);
	if (worker_is_self()) {
		worker_events_flush();
		if (!done.error && is_channel(CHILD_CHANNEL_FD))
			(void)wire_send_frame(CHILD_CHANNEL_FD, WORKER_DONE, done.data,
					      done.len, NULL, 0);
	}
	_exit(code);
}
