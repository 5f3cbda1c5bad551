/* SPDX-License-Identifier: MIT
 * Purpose: the inside door (door.h): the command's requests, one at a time, and what
 * becomes of them.
 * Process: the engine, on its loop. Trusts: the command's identity (it made the socket),
 * not its bytes.
 * Invariants: a malformed frame closes the door; what waits to be written is bounded by
 * holding the program back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/jsontext.h"
#include "base/wire.h"
#include "daemon/door.h"
#include "daemon/log_door.h"
#include "daemon/request.h"

#define OUT_HIGH (2u << 20) /* above this the program's output is not read */
#define OUT_LOW (256u << 10)

struct door {
	struct service *service; /* NULL: a reader of the journal, without an engine */
	struct engine *engine;
	struct loop *loop;
	int fd;
	struct loop_io *io;
	struct buf in, out;
	struct buf grants;           /* of the run to come */
	struct execution *execution; /* NULL: none runs */
	struct log_door *log;        /* NULL: nothing was asked */
	bool held, dead;
	void (*closed)(void *arg);
	void *arg;
};

static void door_close(struct door *door)
{
	if (door->dead)
		return;
	door->dead = true;
	log_door_free(&door->log);
	loop_remove(&door->io);
	fd_close(&door->fd);
	buf_free(&door->in);
	buf_free(&door->out);
	if (door->service)
		service_stop_forget(door->service);
	buf_free(&door->grants);
	if (door->execution)
		execution_cancel(door->execution);
	door->closed(door->arg);
	/* Freed by the last of closing and done(). */
	if (!door->execution)
		free(door);
}

static int flush(struct door *door)
{
	while (door->out.len > 0) {
		ssize_t n = send(door->fd, door->out.data, door->out.len,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		buf_consume(&door->out, (size_t)n);
	}
	if (door->held && door->out.len < OUT_LOW && door->execution) {
		door->held = false;
		execution_hold_output(door->execution, false);
	}
	if (door->out.len < OUT_LOW)
		log_door_hold(door->log, false);
	return loop_modify(door->io, door->out.len > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Errors show when the loop writes: never inside a callback of the execution. */
static void put(struct door *door, uint32_t type, const void *data, size_t len)
{
	const struct wire_frame frame = { .type = type, .len = (uint32_t)len };
	bool idle = door->out.len == 0;

	if (door->dead)
		return;
	if (buf_add(&door->out, &frame, sizeof(frame)) < 0 ||
	    (len && buf_add(&door->out, data, len) < 0) ||
	    (idle && loop_modify(door->io, EPOLLIN | EPOLLOUT) < 0)) {
		(void)shutdown(door->fd, SHUT_RDWR);
		return;
	}
	if (!door->held && door->out.len > OUT_HIGH && door->execution) {
		door->held = true;
		execution_hold_output(door->execution, true);
	}
	if (door->out.len > OUT_HIGH)
		log_door_hold(door->log, true);
}

static void put_log(void *arg, uint32_t type, const void *data, size_t len)
{
	put(arg, type, data, len);
}

/* ---- from the engine ---- */

static void on_output(void *arg, int stream, const char *data, size_t len)
{
	struct door *door = arg;

	while (len > 0) {
		size_t part = len < DOOR_CHUNK ? len : DOOR_CHUNK;

		put(door, stream == 1 ? DOOR_STDOUT : DOOR_STDERR, data, part);
		data += part;
		len -= part;
	}
}

static void on_event(void *arg, const json_t *event)
{
	char *text = jsontext(event, NULL);

	if (text)
		put(arg, DOOR_EVENT, text, strlen(text));
	free(text);
}

static void on_taken(void *arg, size_t len)
{
	uint32_t n = (uint32_t)len;

	put(arg, DOOR_STDIN_TAKEN, &n, sizeof(n));
}

static void on_done(void *arg, json_t *result)
{
	struct door *door = arg;
	struct sbx_err err = { 0 };
	size_t len = 0;
	char *text;

	door->execution = NULL;
	door->held = false;
	if (door->dead) {
		free(door);
		return;
	}
	text = jsontext(result, &len);
	if (text && len <= DOOR_RESULT_MAX) {
		put(door, DOOR_RESULT, text, len);
	} else {
		(void)err_set(&err, SBX_AT_ENGINE, ENOMEM, "the result");
		put(door, DOOR_ERROR, &err, sizeof(err));
	}
	free(text);
}

static void on_file(void *arg, const char *path, const char *data, size_t len)
{
	char head[sizeof(struct door_file) + DOOR_PATH_MAX];
	const struct door_file file = { .size = len };
	size_t path_len = strnlen(path, DOOR_PATH_MAX);

	memcpy(head, &file, sizeof(file));
	memcpy(head + sizeof(file), path, path_len);
	put(arg, DOOR_FILE, head, sizeof(file) + path_len);
	while (len > 0) {
		size_t part = len < DOOR_CHUNK ? len : DOOR_CHUNK;

		put(arg, DOOR_FILE_DATA, data, part);
		data += part;
		len -= part;
	}
}

static void on_refused(void *arg, const struct sbx_err *err)
{
	struct door *door = arg;

	door->execution = NULL;
	door->held = false;
	if (door->dead)
		free(door);
	else
		put(door, DOOR_ERROR, err, sizeof(*err));
}

/* ---- from the command ---- */

static int set_template(void *arg, const char *name, struct sbx_policy *policy)
{
	return config_set_template(arg, name, policy);
}

/* Under the configuration, if the command gave one: its defaults, templates and ceilings. */
static int parse_request(struct door *door, json_t *object, struct request *ret,
			 struct sbx_err *err)
{
	const struct config *config = service_config(door->service);
	const struct request_rules rules = { .defaults = &config->defaults,
					     .template = set_template,
					     .arg = (void *)(uintptr_t)config };
	int r;

	if (!config->set)
		return request_parse(object, NULL, ret, err);
	r = request_parse(object, &rules, ret, err);
	if (r < 0)
		return r;
	if (ret->session || ret->detach)
		r = err_set(err, SBX_AT_USAGE, 0,
			    "request: there are no sessions, and none is detached, here");
	if (r == 0)
		r = policy_within(&ret->policy, &config->ceilings, err);
	if (r < 0)
		request_clear(ret);
	return r;
}

static int submit(struct door *door, const json_t *object, const struct request *request,
		  const struct execution_sink *sink, struct sbx_err *err)
{
	const struct record_caller caller = {
		.name = "command",
		.door = "command",
		.preset = json_string_value(json_object_get(object, "preset")),
		.template = json_string_value(json_object_get(object, "template")),
	};

	return service_submit(door->service, &request->execution, &caller, sink,
			      &door->execution, err);
}

/* Into offers, POLICY_GRANTS_MAX of them; the paths stay in door->grants. False: not to be
 * understood. */
static bool read_grants(const struct door *door, struct execution_offer *offers,
			size_t *ret_count)
{
	size_t at = 0, len = door->grants.len, count = 0;

	for (; at < len; count++) {
		const char *path = door->grants.data + at + sizeof(uint32_t), *end;

		if (count == POLICY_GRANTS_MAX || len - at <= sizeof(uint32_t))
			return false;
		end = memchr(path, '\0', len - at - sizeof(uint32_t));
		if (!end)
			return false;
		memcpy(&offers[count].number, door->grants.data + at, sizeof(uint32_t));
		offers[count].path = path;
		at = (size_t)(end + 1 - door->grants.data);
	}
	*ret_count = count;
	return true;
}

static bool run(struct door *door, const char *data, size_t len)
{
	struct execution_offer offers[POLICY_GRANTS_MAX];

	struct execution_sink sink = { .output = on_output,
				       .event = on_event,
				       .stdin_taken = on_taken,
				       .refused = on_refused,
				       .done = on_done,
				       .arg = door };
	json_t *object = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
				    NULL);
	struct request request = { 0 };
	struct sbx_err err = { 0 };
	size_t offer_count;
	int r;

	if (!read_grants(door, offers, &offer_count)) {
		json_decref(object);
		return false;
	}
	r = object ? parse_request(door, object, &request, &err)
		   : err_set(&err, SBX_AT_USAGE, 0, "request: not JSON in UTF-8");
	if (r == 0 && request.file_contents)
		sink.file = on_file;
	request.execution.offers = offers;
	request.execution.offer_count = offer_count;
	if (r == 0)
		r = submit(door, object, &request, &sink, &err);
	if (r < 0)
		put(door, DOOR_ERROR, &err, sizeof(err));
	else
		put(door, DOOR_STARTED, execution_id(door->execution),
		    strlen(execution_id(door->execution)));
	request_clear(&request);
	json_decref(object);
	buf_free(&door->grants);
	return true;
}

static bool ask(struct door *door, const char *data, size_t len)
{
	struct journal *journal = door->service ? service_journal(door->service) : NULL;

	if (!door->log && log_door_new(door->loop, journal, !door->service, put_log, door,
				       &door->log) < 0)
		return false;
	return log_door_ask(door->log, data, len);
}

/* The first time the listeners follow, and then nobody has to wait to connect. */
static void configure(struct door *door, const char *data, size_t len)
{
	bool first = !service_config(door->service)->set;
	_cleanup_free_ char *restart = NULL;
	struct sbx_err err = { 0 };

	if (service_configure(door->service, data, len, &restart, &err) < 0) {
		put(door, DOOR_ERROR, &err, sizeof(err));
		return;
	}
	put(door, DOOR_CONFIG_DONE, restart, strlen(restart));
	if (first)
		put(door, DOOR_READY, NULL, 0);
}

static void on_stopped(void *arg)
{
	put(arg, DOOR_STOPPED, NULL, 0);
}

static bool stop(struct door *door, const char *data, size_t len)
{
	struct door_stop how;

	if (len != sizeof(how))
		return false;
	memcpy(&how, data, sizeof(how));
	service_stop(door->service, how.grace_ms, on_stopped, door);
	return true;
}

static void pong(struct door *door)
{
	struct door_pong now = { 0 };

	if (door->engine)
		engine_use(door->engine, &now.live, &now.begun);
	put(door, DOOR_PONG, &now, sizeof(now));
}

/* False: not to be understood. */
static bool on_frame(struct door *door, uint32_t type, const char *data, size_t len)
{
	if (!door->service && type != DOOR_LOG)
		return false;
	switch (type) {
	case DOOR_RUN:
		if (door->execution)
			return false;
		return run(door, data, len);
	case DOOR_STDIN:
		/* A program that reads nothing more: the rest is dropped, and reported as
		 * taken. */
		if (door->execution &&
		    execution_stdin(door->execution, data, len) == -EPIPE)
			on_taken(door, len);
		return true;
	case DOOR_STDIN_END:
		if (door->execution)
			execution_stdin_close(door->execution);
		return true;
	case DOOR_CONFIG:
		configure(door, data, len);
		return true;
	case DOOR_STOP:
		return stop(door, data, len);
	case DOOR_PING:
		pong(door);
		return true;
	case DOOR_GRANTS:
		return !door->execution && door->grants.len == 0 &&
		       buf_add(&door->grants, data, len) == 0;
	case DOOR_CANCEL:
		if (door->execution)
			execution_cancel(door->execution);
		return true;
	case DOOR_LOG:
		return ask(door, data, len);
	default:
		return false;
	}
}

static size_t frame_max(uint32_t type)
{
	switch (type) {
	case DOOR_RUN:
		return REQUEST_MAX;
	case DOOR_CONFIG:
		return CONFIG_FRAME_MAX;
	case DOOR_STDIN:
		return DOOR_CHUNK;
	case DOOR_LOG:
		return DOOR_LOG_MAX;
	case DOOR_GRANTS:
		return DOOR_GRANTS_MAX;
	case DOOR_STOP:
		return sizeof(struct door_stop);
	default:
		return 0;
	}
}

/* 1: one was taken, 0: not all of it is there, -errno. */
static int take_frame(struct door *door)
{
	struct wire_frame frame;
	bool understood;

	if (door->in.len < sizeof(frame))
		return 0;
	memcpy(&frame, door->in.data, sizeof(frame));
	if (frame.len > frame_max(frame.type))
		return -EMSGSIZE;
	if (door->in.len - sizeof(frame) < frame.len)
		return 0;
	understood = on_frame(door, frame.type, door->in.data + sizeof(frame), frame.len);
	buf_consume(&door->in, sizeof(frame) + frame.len);
	return understood ? 1 : -EBADMSG;
}

static void on_io(void *arg, uint32_t events)
{
	static char chunk[64u << 10];
	struct door *door = arg;
	ssize_t n;
	int r = 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = recv(door->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n == 0)
			r = -EPIPE;
		else if (n < 0)
			r = errno == EAGAIN || errno == EINTR ? 0 : -errno;
		else
			r = buf_add(&door->in, chunk, (size_t)n);
		while (r >= 0 && (r = take_frame(door)) > 0)
			;
	}
	if (r >= 0)
		r = flush(door);
	if (r < 0)
		door_close(door);
}

int door_open(struct loop *loop, struct service *service, int fd,
	      void (*closed)(void *arg), void *arg, struct sbx_err *err)
{
	struct door *door = calloc(1, sizeof(*door));
	int r = door ? fd_nonblock(fd, true) : -ENOMEM;

	if (r == 0) {
		*door = (struct door){ .service = service,
				       .engine = service ? service_engine(service) : NULL,
				       .loop = loop,
				       .fd = fd,
				       .closed = closed,
				       .arg = arg };
		door->in.max = REQUEST_MAX + 2 * DOOR_CHUNK;
		r = loop_add(loop, fd, EPOLLIN, on_io, door, &door->io);
	}
	if (r < 0) {
		free(door);
		(void)close(fd);
		return err_set(err, SBX_AT_ENGINE, -r, "the command's door");
	}
	return 0;
}
