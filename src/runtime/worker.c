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
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
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

/* The next program's are its own. */
static void forget_events(void)
{
	for (size_t i = 0; i < events.count; i++)
		free(events.known[i].text);
	events.count = 0;
}

/* ---- requests ---- */

/* A frame from the engine. */
struct message {
	struct wire_frame frame;
	char *payload; /* malloc'ed, with one NUL of ours behind it */
	int fds[3];
	size_t fd_count;
};

static void message_clear(struct message *m)
{
	free(m->payload);
	m->payload = NULL;
	for (size_t i = 0; i < m->fd_count; i++)
		(void)close(m->fds[i]);
	m->fd_count = 0;
}

/* 0 or -errno; -EPIPE: the engine let go of us. A signal that a program has a handler for
 * is not waited for here. */
static int receive(struct message *ret)
{
	ssize_t got;
	int r;

	*ret = (struct message){ 0 };
	do
		got = wire_recv_some(CHILD_CHANNEL_FD, &ret->frame, sizeof(ret->frame),
				     ret->fds, 3, &ret->fd_count);
	while (got == -EINTR);
	if (got <= 0)
		return got < 0 ? (int)got : -EBADMSG;
	r = wire_read(CHILD_CHANNEL_FD, (char *)&ret->frame + got,
		      sizeof(ret->frame) - (size_t)got);
	if (r == 0 && ret->frame.len > WORKER_RUN_MAX)
		r = -EMSGSIZE;
	if (r == 0) {
		ret->payload = malloc((size_t)ret->frame.len + 1);
		r = ret->payload
			    ? wire_read(CHILD_CHANNEL_FD, ret->payload, ret->frame.len)
			    : -ENOMEM;
	}
	if (r < 0) {
		message_clear(ret);
		return r;
	}
	ret->payload[ret->frame.len] = '\0';
	return 0;
}

struct section {
	uint32_t len;
	const char **at;
};

/* What lies behind the head of a message, to its last byte. */
static int cut_sections(const struct message *m, size_t head,
			const struct section *sections, size_t count)
{
	size_t left = m->frame.len - head;
	const char *at = m->payload + head;

	for (size_t i = 0; i < count; i++) {
		if (sections[i].len > left)
			return -EBADMSG;
		*sections[i].at = at;
		at += sections[i].len;
		left -= sections[i].len;
	}
	return left == 0 ? 0 : -EBADMSG;
}

struct request {
	struct message message;
	struct worker_run run;
	const char *filter, *modules, *environment, *grants, *cwd;
};

static void receive_run(struct request *ret)
{
	struct message *m = &ret->message;
	int r = receive(m);

	if (r == -EPIPE)
		_exit(0); /* never taken out of the pool */
	if (r < 0)
		fail_plain(-r, "receiving the request");
	if (m->frame.type != WORKER_RUN || m->frame.len < sizeof(ret->run) ||
	    m->fd_count != 3)
		fail_plain(EBADMSG, "malformed request");
	memcpy(&ret->run, m->payload, sizeof(ret->run));
	{
		const struct section sections[] = {
			{ ret->run.filter_len, &ret->filter },
			{ ret->run.modules_len, &ret->modules },
			{ ret->run.environment_len, &ret->environment },
			{ ret->run.grants_len, &ret->grants },
			{ ret->run.cwd_len, &ret->cwd },
		};

		/* The last one is followed by our NUL. */
		if (cut_sections(m, sizeof(ret->run), sections,
				 sizeof(sections) / sizeof(sections[0])) < 0 ||
		    strlen(ret->cwd) != ret->run.cwd_len)
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

/* Words, each with its NUL. NULL: malformed, or no memory. */
static char *keep_words(const char *words, size_t len)
{
	char *kept = len > 0 && words[len - 1] != '\0' ? NULL : malloc(len + 1);

	if (kept)
		memcpy(kept, words, len);
	return kept;
}

static void prepare_program(const struct request *request, struct program *ret)
{
	const struct worker_run *run = &request->run;

	ret->run = *run;
	ret->modules = keep_words(request->modules, run->modules_len);
	if (!ret->modules)
		fail_plain(EBADMSG, "the modules of the request");
	ret->environment = parse_environment(request->environment, run->environment_len);
	if (!ret->environment)
		fail_python("reading the request");
	if (program_environ(ret) < 0)
		fail_python("the environment");
}

/* What one program was given and did not read is not the next one's. */
static int take_input(const struct message *m)
{
	static bool given;
	_cleanup_fd_ int null = -1;

	if (m->fd_count == 0 && !given)
		return 0;
	if (m->fd_count == 0)
		null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	given = m->fd_count > 0;
	if (dup2(given ? m->fds[0] : null, 0) < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	return stdio_open_input();
}

/* A program in the place of the one before. 0, or -1 with an exception: what came is not
 * one, which only a program that reads our channel can bring about. */
static int take_cell(struct message *m, struct program *program)
{
	const char *code, *filename, *files;
	char *kept;

	if (m->frame.len < sizeof(program->cell))
		goto malformed;
	memcpy(&program->cell, m->payload, sizeof(program->cell));
	{
		const struct section sections[] = {
			{ program->cell.code_len, &code },
			{ program->cell.filename_len, &filename },
			{ program->cell.files_len, &files },
		};

		if (cut_sections(m, sizeof(program->cell), sections,
				 sizeof(sections) / sizeof(sections[0])) < 0)
			goto malformed;
	}
	kept = keep_words(files, program->cell.files_len);
	if (!kept)
		goto malformed;
	free((char *)program->files);
	program->files = kept;
	Py_CLEAR(program->source);
	Py_CLEAR(program->filename);
	program->source = PyUnicode_DecodeUTF8(code, (Py_ssize_t)program->cell.code_len,
					       "strict");
	program->filename = PyUnicode_DecodeUTF8(
		filename, (Py_ssize_t)program->cell.filename_len, "replace");
	if (!program->source || !program->filename)
		return -1;
	if (take_input(m) < 0)
		return -1;
	return gate_admit(program);
malformed:
	PyErr_SetString(PyExc_ValueError, "a malformed request");
	return -1;
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

/* ---- answers ---- */

static bool looks;          /* RUN_LOOK */
static unsigned unanswered; /* WORKER_DISPLAYs */
static bool between;        /* a session's programs: only next() reads the channel */

bool worker_in_program(void)
{
	return worker_is_self() && !between;
}

/* The next answer's type; 0: none has come in time. The others that may come are those to
 * what was not waited for, or not for long enough. */
static uint32_t take_answer(int timeout_ms)
{
	struct pollfd answered = { .fd = CHILD_CHANNEL_FD, .events = POLLIN };
	struct wire_frame frame;
	int r;

	do
		r = poll(&answered, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	if (r != 1 || wire_read(CHILD_CHANNEL_FD, &frame, sizeof(frame)) < 0)
		return 0;
	if (frame.type == WORKER_DISPLAYED && unanswered > 0)
		unanswered--;
	return frame.type;
}

void worker_look(void)
{
	uint32_t type;

	if (!looks || !worker_is_self() || !is_channel(CHILD_CHANNEL_FD))
		return;
	looks = false;
	if (wire_send_frame(CHILD_CHANNEL_FD, WORKER_LOOK, NULL, 0, NULL, 0) < 0)
		return;
	do
		type = take_answer(200);
	while (type != 0 && type != WORKER_LOOKED);
}

bool worker_display(const char *json, size_t len, bool wait)
{
	if (!worker_in_program() || !is_channel(CHILD_CHANNEL_FD) ||
	    wire_send_frame(CHILD_CHANNEL_FD, WORKER_DISPLAY, json, len, NULL, 0) < 0)
		return false;
	unanswered++;
	while (wait && unanswered > 0)
		if (take_answer(1000) == 0)
			break;
	return true;
}

/* ---- a session ---- */

static struct sigaction interrupt_action;
static atomic_int interrupted; /* the program that an interrupt between two was for */
static atomic_int current;     /* the program that may be interrupted, 0 between two */

static void interrupt_if_current(void)
{
	int count = atomic_load(&current);

	if (count != 0 && atomic_compare_exchange_strong(&interrupted, &count, 0))
		(void)kill(getpid(), SIGINT);
}

/* Between two programs. Threads that were left behind may run it late, when the next
 * program has begun. */
static void note_interrupt(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (info->si_code != SI_QUEUE)
		return;
	atomic_store(&interrupted, info->si_value.sival_int);
	interrupt_if_current();
}

/* The engine interrupts a program from when it has sent it until it hears that it is over,
 * by its number: what comes too late is for a program that is no more, what comes before
 * the program has begun is kept for it. */
static void interrupts_off(void)
{
	struct sigaction old, note = { .sa_sigaction = note_interrupt,
				       .sa_flags = SA_SIGINFO | SA_RESTART };

	atomic_store(&current, 0);
	(void)sigemptyset(&note.sa_mask);
	(void)sigaction(SIGINT, &note, &old);
	if (!(old.sa_flags & SA_SIGINFO) || old.sa_sigaction != note_interrupt)
		interrupt_action = old;
}

/* COUNT: of the program, or 0 for what is no program. */
static void interrupts_on(uint32_t count)
{
	/* One whose handler ran already is in the interpreter's books. */
	if (PyErr_CheckSignals() < 0)
		PyErr_Clear();
	(void)sigaction(SIGINT, &interrupt_action, NULL);
	atomic_store(&current, (int)count);
	interrupt_if_current();
}

static uint32_t cell; /* the session's program that is being run, or 0 */

void worker_interruptible(void)
{
	if (cell)
		interrupts_on(cell);
}

static int tell(uint32_t type, const struct json *text)
{
	if (text->error || !is_channel(CHILD_CHANNEL_FD))
		return -EPIPE;
	return wire_send_frame(CHILD_CHANNEL_FD, type, text->data, text->len, NULL, 0);
}

/* Whatever the program has turned the descriptor into: without its channel a session is
 * over. */
static int next(struct message *m)
{
	PyThreadState *state;
	int r;

	if (!is_channel(CHILD_CHANNEL_FD))
		return -EPIPE;
	/* Threads that programs have left behind go on. */
	state = PyEval_SaveThread();
	do {
		r = receive(m);
		/* An answer that nobody has waited for, or not for long enough. */
		if (r < 0 ||
		    (m->frame.type != WORKER_LOOKED && m->frame.type != WORKER_DISPLAYED))
			break;
		unanswered -= m->frame.type == WORKER_DISPLAYED && unanswered > 0;
		message_clear(m);
	} while (true);
	PyEval_RestoreThread(state);
	return r;
}

static int run_cell(struct message *m, struct program *program)
{
	struct json done = { .max = WORKER_DONE_MAX };
	int code, r;

	if (take_cell(m, program) < 0) {
		PyErr_Clear();
		return -EBADMSG;
	}
	message_clear(m);
	looks = program->run.flags & RUN_LOOK;
	between = false;
	cell = program->cell.count;
	code = program_run(program, &done);
	if (!worker_is_self())
		_exit(program_finish(code)); /* a child that came out at the end */
	worker_events_flush();
	forget_events();
	(void)stdio_flush();
	(void)fflush(NULL);
	interrupts_off();
	cell = 0;
	between = true;
	r = tell(WORKER_DONE, &done);
	json_free(&done);
	return r;
}

static int answer(const struct message *m)
{
	struct json text = { .max = WORKER_ANSWER_MAX };
	struct worker_ask ask;
	int r;

	if (m->frame.len < sizeof(ask))
		return -EBADMSG;
	memcpy(&ask, m->payload, sizeof(ask));
	if (ask.text_len != m->frame.len - sizeof(ask))
		return -EBADMSG;
	interrupts_on(0);
	session_answer(ask.what, m->payload + sizeof(ask), ask.text_len, &text);
	PyErr_Clear();
	interrupts_off();
	r = tell(WORKER_ANSWER, &text);
	json_free(&text);
	return r;
}

static _Noreturn void serve_session(struct program *program)
{
	struct message m;
	int r;

	between = true;
	if (session_begin() < 0)
		_exit(1);
	for (;;) {
		r = next(&m);
		if (r == 0 && m.frame.type == WORKER_CELL)
			r = run_cell(&m, program);
		else if (r == 0 && m.frame.type == WORKER_ASK)
			r = answer(&m);
		else if (r == 0)
			r = -EBADMSG;
		message_clear(&m);
		if (r < 0)
			_exit(r == -EPIPE ? 0 : 1);
	}
}

/* ---- one program ---- */

static _Noreturn void serve_one(struct program *program)
{
	struct json done = { .max = WORKER_DONE_MAX };
	struct message m;
	int code, r;

	r = receive(&m);
	if (r < 0 || m.frame.type != WORKER_CELL || take_cell(&m, program) < 0)
		_exit(1);
	message_clear(&m);
	looks = program->run.flags & RUN_LOOK;
	code = program_finish(program_run(program, &done));
	if (worker_is_self()) {
		worker_events_flush();
		(void)tell(WORKER_DONE, &done);
	}
	_exit(code);
}

_Noreturn void worker_main(int init_pidfd, int channel_fd, unsigned walls)
{
	static struct program program;
	static struct request request;
	struct landlock landlock;
	struct sbx_err err = { 0 };
	struct child_confine confine;
	int listener = -1, r;

	join(init_pidfd, channel_fd, walls, &landlock);
	if (program_prepare() < 0)
		fail_python("preparing the interpreter");
	r = wire_send_frame(CHILD_CHANNEL_FD, WORKER_WAITING, NULL, 0, NULL, 0);
	if (r < 0)
		_exit(0);

	receive_run(&request);
	prepare_program(&request, &program);
	if (gate_install(&program) < 0)
		fail_python("the import gate");
	confine = (struct child_confine){
		.run = &request.run,
		.stdio = { request.message.fds[0], request.message.fds[1],
			   request.message.fds[2] },
		.filter = request.filter,
		.grants = request.grants,
		.cwd = request.cwd,
	};
	request.message.fd_count = 0; /* taken */
	if (child_confine(&confine, &landlock, &listener, &err) < 0)
		fail(&err);
	if (program.run.flags & RUN_SESSION)
		interrupts_off(); /* its first program may be sent from STARTED on */
	/* From here to STARTED no call may be one that the filter asks about: nobody
	 * answers yet. */
	message_clear(&request.message);
	if (stdio_open() < 0)
		fail_python("the standard streams");
	r = wire_send_frame(CHILD_CHANNEL_FD, WORKER_STARTED, NULL, 0, &listener,
			    listener >= 0 ? 1 : 0);
	if (r < 0)
		_exit(1);
	fd_close(&listener);

	if (program.run.flags & RUN_SESSION)
		serve_session(&program);
	serve_one(&program);
}
