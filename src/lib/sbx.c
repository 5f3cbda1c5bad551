/* SPDX-License-Identifier: MIT
 * Purpose: the public library (sbx.h): a broker and an engine for each handle, programs
 *   run through the inside door (daemon/door.h), one after the other.
 * Process: the command, or a program that uses libsbx.
 * Trusts: the engine to follow the door's protocol no further than this: every frame has
 *   a type that we know, a length that its type allows and a payload that parses;
 *   anything else ends the handle. A result's texts are the program's and stay hostile.
 * Invariants: after a failure other than a refused request the door is closed, which
 *   stops what runs, and the handle runs nothing more; memory is taken as bytes arrive,
 *   never by an announced length; at most DOOR_STDIN_WINDOW bytes of stdin are under
 *   way. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "daemon/door.h"
#include "daemon/request.h"
#include "lib/internal.h"
#include "lib/offer.h"
#include "zygote/messages.h"

#define STARTED_MAX 256u
#define EVENT_MAX (64u << 10)
#define CANCEL_MS \
	10000 /* a cancelled run is over within a second; later than this the engine hangs */
#define BACKGROUND_MS \
	500 /* how often a job in the background looks whether the terminal is its own again */
#define RECEIVE_SIZE (128u << 10)

struct sbx {
	struct spawned spawned;
	const char *template; /* NULL: none */
	pthread_mutex_t lock; /* one run at a time */
	struct buf
		out; /* frames that the door has not taken yet; may begin in the middle of one */
	struct buf in; /* what came and is no whole frame yet */
	bool broken;
};

struct sbx_result {
	enum sbx_status status;
	char *json, *summary;
};

struct run {
	struct sbx *box;
	const struct sbx_request *request;
	struct sbx_result *result;
	struct sbx_err *err;
	size_t under_way; /* bytes of stdin */
	bool stdin_open, cancelled, ended;
	uint32_t first_offer, offers; /* lib/offer.h */
	char path[DOOR_PATH_MAX + 1]; /* of the file that comes, "": none */
	struct buf file;
	uint64_t file_size, file_bytes; /* this one's, and of all before it */
	int64_t give_up_ms;
};

/* ---- what a request may be ---- */

static int check_text(const char *text, size_t len, const char *what,
		      enum sbx_stage stage, struct sbx_err *err)
{
	size_t at = 0, n;
	uint32_t c;

	while (at < len) {
		n = utf8_next(text + at, len - at, &c);
		if (n == 0)
			return err_set(err, stage, 0,
				       "%s is not UTF-8: byte %zu is 0x%02x", what, at,
				       (unsigned char)text[at]);
		if (c == 0)
			return err_set(err, stage, 0, "%s has a NUL byte at %zu", what,
				       at);
		at += n;
	}
	return 0;
}

int sbx_request_check(const struct sbx_request *request, struct sbx_err *err)
{
	size_t i;
	int r;

	if (request->file_count > FILES_MAX)
		return err_set(err, SBX_AT_USAGE, 0, "more than %u files", FILES_MAX);
	if (!request->code && request->code_len > 0)
		return err_set(err, SBX_AT_USAGE, 0, "a request without code");
	if (request->code_len > CODE_MAX)
		return err_set(err, SBX_AT_USAGE, 0, "the program is longer than %u MiB",
			       CODE_MAX >> 20);
	r = check_text(request->code, request->code_len, "the program", SBX_AT_USAGE,
		       err);
	if (r < 0)
		return r;
	if (request->policy) {
		if (request->policy_len > POLICY_MAX)
			return err_set(err, SBX_AT_POLICY, 0,
				       "the policy is longer than %u MiB",
				       POLICY_MAX >> 20);
		r = check_text(request->policy, request->policy_len, "the policy",
			       SBX_AT_POLICY, err);
		if (r < 0)
			return r;
	}
	if (request->preset) {
		r = check_text(request->preset, strlen(request->preset),
			       "the preset's name", SBX_AT_POLICY, err);
		if (r < 0)
			return r;
	}
	if (request->setting_count > SETTINGS_MAX)
		return err_set(err, SBX_AT_USAGE, 0, "more than %d settings",
			       SETTINGS_MAX);
	for (i = 0; i < request->file_count; i++) {
		const struct sbx_file *file = &request->files[i];

		if (!file->name || (!file->data && file->len > 0))
			return err_set(err, SBX_AT_USAGE, 0,
				       "a file without name or data");
		r = check_text(file->name, strlen(file->name), "a file's name",
			       SBX_AT_USAGE, err);
		if (r < 0)
			return r;
		for (size_t j = 0; j < i; j++)
			if (strcmp(file->name, request->files[j].name) == 0)
				return err_set(err, SBX_AT_USAGE, 0,
					       "two files are called \"%.100s\"",
					       file->name);
	}
	for (i = 0; i < request->setting_count; i++) {
		const struct sbx_setting *setting = &request->settings[i];

		if (!setting->key || !setting->value)
			return err_set(err, SBX_AT_USAGE, 0,
				       "a setting without key or value");
		r = check_text(setting->key, strlen(setting->key), "a setting's name",
			       SBX_AT_POLICY, err);
		if (r == 0)
			r = check_text(setting->value, strlen(setting->value),
				       "a setting's value", SBX_AT_POLICY, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A name for people, which may be any bytes on this file system. */
static json_t *lossy(const char *text)
{
	size_t len = strlen(text), at = 0, n;
	char *copy = strdup(text);
	uint32_t c;
	json_t *value;

	if (!copy)
		return NULL;
	while (at < len) {
		n = utf8_next(copy + at, len - at, &c);
		if (n == 0)
			copy[at] = '?';
		at += n ? n : 1;
	}
	value = json_stringn(copy, len);
	free(copy);
	return value;
}

static json_t *base64(const unsigned char *data, size_t len)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = len < REQUEST_MAX ? malloc((len + 2) / 3 * 4 + 1) : NULL;
	json_t *value;
	size_t at = 0;

	for (size_t i = 0; text && i < len; i += 3) {
		uint32_t bits = (uint32_t)data[i] << 16;

		bits |= i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0;
		bits |= i + 2 < len ? data[i + 2] : 0;
		text[at++] = letters[bits >> 18];
		text[at++] = letters[bits >> 12 & 63];
		text[at++] = i + 1 < len ? letters[bits >> 6 & 63] : '=';
		text[at++] = i + 2 < len ? letters[bits & 63] : '=';
	}
	value = text ? json_stringn(text, at) : NULL;
	free(text);
	return value;
}

/* Text as it is, so that a request can be read; all else as base64. */
static int fill_files(json_t *object, const struct sbx_request *request)
{
	json_t *files = json_object();
	size_t i;
	int r = files ? 0 : -1;

	for (i = 0; r == 0 && i < request->file_count; i++) {
		const struct sbx_file *file = &request->files[i];
		json_t *value = json_stringn(file->data ? file->data : "", file->len);

		if (!value)
			value = json_pack("{s:o}", "base64",
					  base64(file->data, file->len));
		r = json_object_set_new(files, file->name, value);
	}
	return r | json_object_set_new(object, "files", files);
}

/* json_object_set_new() takes NULL, and says -1 of it. */
static int fill(json_t *object, const struct sbx_request *request, const char *template)
{
	json_t *settings = json_array();
	char cwd[PATH_MAX];
	size_t i;
	int r = 0;

	r |= json_object_set_new(object, "settings", settings);
	for (i = 0; r == 0 && i < request->setting_count; i++)
		r |= json_array_append_new(settings,
					   json_pack("[ss]", request->settings[i].key,
						     request->settings[i].value));
	r |= json_object_set_new(
		object, "code",
		json_stringn(request->code ? request->code : "", request->code_len));
	if (request->filename)
		r |= json_object_set_new(object, "filename", lossy(request->filename));
	if (request->preset)
		r |= json_object_set_new(object, "preset", json_string(request->preset));
	if (template)
		r |= json_object_set_new(object, "template", json_string(template));
	if (request->policy)
		r |= json_object_set_new(
			object, "policy",
			json_stringn(request->policy, request->policy_len));
	/* A directory that is gone or has no name in UTF-8 is none; relative grants are
	 * then refused by the engine. */
	if (getcwd(cwd, sizeof(cwd)) && cwd[0] == '/' &&
	    check_text(cwd, strlen(cwd), "", SBX_AT_USAGE, NULL) == 0)
		r |= json_object_set_new(object, "cwd", json_string(cwd));
	if (request->file_count > 0)
		r |= fill_files(object, request);
	if (request->on_file)
		r |= json_object_set_new(object, "file_contents", json_true());
	if (request->stdin_fd >= 0)
		r |= json_object_set_new(object, "stdin_open", json_true());
	return r ? -ENOMEM : 0;
}

/* ---- frames out ---- */

static int queue_frame(struct sbx *box, uint32_t type, const void *data, size_t len)
{
	struct wire_frame frame = { .type = type, .len = (uint32_t)len };
	size_t before = box->out.len;
	int r = buf_add(&box->out, &frame, sizeof(frame));

	if (r == 0 && len > 0)
		r = buf_add(&box->out, data, len);
	/* Half a frame would make nonsense of all that follows. */
	if (r < 0)
		box->out.len = before;
	return r;
}

static int queue_run(struct run *run)
{
	struct sbx *box = run->box;
	struct sbx_err *err = run->err;
	_cleanup_buf_ struct buf grants = { 0 };
	json_t *object = json_object();
	char *text = NULL;
	size_t len;
	int r;

	r = object ? fill(object, run->request, box->template) : -ENOMEM;
	if (r == 0) {
		r = offer_request(&box->spawned, object, &grants, &run->first_offer,
				  &run->offers, err);
		if (r < 0) {
			json_decref(object);
			return r;
		}
		text = json_dumps(object, JSON_COMPACT);
	}
	json_decref(object);
	if (!text)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "the request");
	len = strlen(text);
	if (len > REQUEST_MAX)
		r = err_set(err, SBX_AT_USAGE, 0,
			    "the request is longer than %u MiB once it is JSON",
			    REQUEST_MAX >> 20);
	else if (grants.len > 0)
		r = queue_frame(box, DOOR_GRANTS, grants.data, grants.len);
	if (r == 0)
		r = queue_frame(box, DOOR_RUN, text, len);
	free(text);
	return r == -ENOMEM || r == -EMSGSIZE
		       ? err_set(err, SBX_AT_ENGINE, -r, "the request")
		       : r;
}

static int flush(struct sbx *box)
{
	size_t at = 0;
	int r = 0;

	while (at < box->out.len) {
		ssize_t n = send(box->spawned.door, box->out.data + at, box->out.len - at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = errno == EAGAIN ? 0 : -errno;
			break;
		}
		at += (size_t)n;
	}
	buf_consume(&box->out, at);
	return r;
}

/* ---- frames in ---- */

/* The longest payload of a frame that an engine may send; SIZE_MAX: none is. */
static size_t payload_max(uint32_t type)
{
	switch (type) {
	case DOOR_STARTED:
		return STARTED_MAX;
	case DOOR_STDOUT:
	case DOOR_STDERR:
		return DOOR_CHUNK;
	case DOOR_EVENT:
		return EVENT_MAX;
	case DOOR_RESULT:
		return DOOR_RESULT_MAX;
	case DOOR_ERROR:
		return sizeof(struct sbx_err);
	case DOOR_STDIN_TAKEN:
		return sizeof(uint32_t);
	case DOOR_FILE:
		return sizeof(struct door_file) + DOOR_PATH_MAX;
	case DOOR_FILE_DATA:
		return DOOR_CHUNK;
	default:
		return SIZE_MAX;
	}
}

static int status_of(const json_t *object, enum sbx_status *ret)
{
	const char *name = json_string_value(json_object_get(object, "status"));
	int i;

	for (i = SBX_OK; name && i <= SBX_FAULT; i++)
		if (strcmp(name, sbx_status_name((enum sbx_status)i)) == 0) {
			*ret = (enum sbx_status)i;
			return 0;
		}
	return -EBADMSG;
}

static int take_result(struct run *run, const char *data, size_t len)
{
	struct sbx_result *result;
	enum sbx_status status = SBX_FAULT;
	json_error_t where;
	json_t *object;
	int r = -ENOMEM;

	object = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
	if (!object || status_of(object, &status) < 0) {
		json_decref(object);
		return -EBADMSG;
	}
	result = calloc(1, sizeof(*result));
	if (result) {
		result->status = status;
		result->json = strndup(data, len);
		result->summary = summary_make(object, false);
		if (result->json && result->summary)
			r = 0;
	}
	json_decref(object);
	if (r < 0) {
		sbx_result_free(result);
		return r;
	}
	run->result = result;
	run->ended = true;
	return 0;
}

static int take_error(struct run *run, const char *data, size_t len)
{
	struct sbx_err err;

	if (len != sizeof(err))
		return -EBADMSG;
	memcpy(&err, data, sizeof(err));
	err_sanitize(&err);
	if (err.stage == SBX_AT_NONE)
		return -EBADMSG;
	if (run->err)
		*run->err = err;
	run->ended = true;
	return err.errnum > 0 && err.errnum < 4096 ? -err.errnum : -EINVAL;
}

static int file_complete(struct run *run)
{
	if (run->file.len < run->file_size)
		return 0;
	if (run->file.len > run->file_size)
		return -EBADMSG;
	run->file_bytes += run->file_size;
	run->request->on_file(run->request->arg, run->path,
			      run->file.data ? run->file.data : "", run->file.len);
	run->path[0] = '\0';
	buf_free(&run->file);
	return 0;
}

static int take_file(struct run *run, const char *data, size_t len)
{
	struct door_file file;

	if (len <= sizeof(file) || !run->request->on_file || run->path[0])
		return -EBADMSG;
	memcpy(&file, data, sizeof(file));
	data += sizeof(file);
	len -= sizeof(file);
	if (memchr(data, '\0', len) || file.size > FILES_LEFT_BYTES - run->file_bytes)
		return -EBADMSG;
	memcpy(run->path, data, len);
	run->path[len] = '\0';
	run->file_size = file.size;
	return file_complete(run);
}

static int take_file_data(struct run *run, const char *data, size_t len)
{
	int r = run->path[0] && len > 0 ? buf_add(&run->file, data, len) : -EBADMSG;

	return r < 0 ? r : file_complete(run);
}

/* 0, or -errno; with run->ended the run's own answer, without it the end of the
 * handle. */
static int take_frame(struct run *run, uint32_t type, const char *data, size_t len)
{
	const struct sbx_request *request = run->request;
	uint32_t taken;

	switch (type) {
	case DOOR_STDOUT:
	case DOOR_STDERR:
		if (request->on_output && len > 0)
			request->on_output(request->arg, type == DOOR_STDOUT ? 1 : 2,
					   data, len);
		return 0;
	case DOOR_STDIN_TAKEN:
		if (len != sizeof(taken))
			return -EBADMSG;
		memcpy(&taken, data, sizeof(taken));
		if (taken > run->under_way)
			return -EBADMSG;
		run->under_way -= taken;
		return 0;
	case DOOR_FILE:
		return take_file(run, data, len);
	case DOOR_FILE_DATA:
		return take_file_data(run, data, len);
	case DOOR_RESULT:
		return take_result(run, data, len);
	case DOOR_ERROR:
		return take_error(run, data, len);
	default: /* DOOR_STARTED, DOOR_EVENT: the result says it all once more */
		return 0;
	}
}

static int take_frames(struct run *run)
{
	struct buf *in = &run->box->in;
	struct wire_frame frame;
	size_t at = 0;
	int r = 0;

	while (r == 0 && !run->ended && in->len - at >= sizeof(frame)) {
		size_t max;

		memcpy(&frame, in->data + at, sizeof(frame));
		max = payload_max(frame.type);
		if (max == SIZE_MAX || frame.len > max) {
			r = -EBADMSG;
			break;
		}
		if (in->len - at - sizeof(frame) < frame.len)
			break;
		r = take_frame(run, frame.type, in->data + at + sizeof(frame), frame.len);
		at += sizeof(frame) + frame.len;
	}
	buf_consume(in, at);
	return r;
}

static int receive(struct run *run)
{
	char chunk[RECEIVE_SIZE];
	ssize_t n;
	int r;

	do
		n = recv(run->box->spawned.door, chunk, sizeof(chunk), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	r = buf_add(&run->box->in, chunk, (size_t)n);
	return r < 0 ? r : take_frames(run);
}

/* ---- one run ---- */

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A job in the background that reads its terminal is stopped for it. */
static bool in_background(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group >= 0 && group != getpgrp();
}

static int forward_stdin(struct run *run)
{
	size_t room = DOOR_STDIN_WINDOW - run->under_way;
	char chunk[DOOR_CHUNK];
	ssize_t n;

	n = read(run->request->stdin_fd, chunk,
		 room < sizeof(chunk) ? room : sizeof(chunk));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		run->stdin_open = false;
		return queue_frame(run->box, DOOR_STDIN_END, NULL, 0);
	}
	run->under_way += (size_t)n;
	return queue_frame(run->box, DOOR_STDIN, chunk, (size_t)n);
}

static int cancel(struct run *run)
{
	run->cancelled = true;
	run->give_up_ms = now_ms() + CANCEL_MS;
	return queue_frame(run->box, DOOR_CANCEL, NULL, 0);
}

/* Waits for whatever happens next and handles it. */
static int step(struct run *run)
{
	const struct sbx_request *request = run->request;
	bool background = run->stdin_open && in_background(request->stdin_fd);
	struct pollfd fds[3] = {
		{ .fd = run->box->spawned.door,
		  .events = POLLIN | (run->box->out.len > 0 ? POLLOUT : 0) },
		{ .fd = -1, .events = POLLIN },
		{ .fd = request->cancel_fd && !run->cancelled ? *request->cancel_fd : -1,
		  .events = POLLIN },
	};
	int timeout = -1, r = 0;

	if (run->stdin_open && !background && run->under_way < DOOR_STDIN_WINDOW)
		fds[1].fd = request->stdin_fd;
	if (background)
		timeout = BACKGROUND_MS;
	if (run->cancelled) {
		int64_t left = run->give_up_ms - now_ms();

		if (left <= 0)
			return -ETIMEDOUT;
		if (timeout < 0 || left < timeout)
			timeout = (int)left;
	}
	if (poll(fds, 3, timeout) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[2].revents)
		r = cancel(run);
	if (r == 0 && fds[1].revents)
		r = forward_stdin(run);
	/* Before what came is looked at: an engine that refuses and closes is read to its
	 * last word first. */
	if (r == 0 && run->box->out.len > 0 && (r = flush(run->box)) == -EPIPE &&
	    (fds[0].revents & POLLIN))
		r = 0;
	if (r == 0 && (fds[0].revents & (POLLIN | POLLHUP | POLLERR)))
		r = receive(run);
	return r;
}

static int explain(int r, struct sbx_err *err)
{
	switch (-r) {
	case EBADMSG:
		return err_set(err, SBX_AT_ENGINE, EBADMSG,
			       "the engine broke the door's protocol");
	case EPIPE:
	case ECONNRESET:
		return err_set(err, SBX_AT_ENGINE, EPIPE,
			       "the engine has ended unexpectedly");
	case ETIMEDOUT:
		return err_set(err, SBX_AT_ENGINE, ETIMEDOUT,
			       "the engine did not stop the run within %d s",
			       CANCEL_MS / 1000);
	default:
		return err_set(err, SBX_AT_ENGINE, -r, "talking to the engine");
	}
}

static int run_locked(struct run *run)
{
	struct sbx *box = run->box;
	int r;

	if (box->broken)
		return err_set(run->err, SBX_AT_ENGINE, EPIPE,
			       "this sandbox's engine is gone");
	r = queue_run(run);
	if (r < 0)
		return r;
	while (r == 0 && !run->ended)
		r = step(run);
	offer_withdraw(&box->spawned, run->first_offer, run->offers);
	if (!run->ended)
		r = explain(r, run->err);
	/* The engine has stopped answering, or speaks when it is not its turn: nobody
	 * knows any more what the next bytes belong to. */
	if (!run->ended || box->in.len > 0) {
		box->broken = true;
		fd_close(&box->spawned.door);
	}
	return r;
}

int sbx_run(struct sbx *box, const struct sbx_request *request,
	    struct sbx_result **ret_result, struct sbx_err *err)
{
	struct run run = { .box = box, .request = request, .err = err };
	int r;

	if (!box || !request || !ret_result)
		return err_set(
			err, SBX_AT_USAGE, 0,
			"sbx_run needs a sandbox, a request and a place for its result");
	r = sbx_request_check(request, err);
	if (r < 0)
		return r;
	run.stdin_open = request->stdin_fd >= 0;
	(void)pthread_mutex_lock(&box->lock);
	r = run_locked(&run);
	(void)pthread_mutex_unlock(&box->lock);
	buf_free(&run.file);
	if (r == 0)
		*ret_result = run.result;
	return r;
}

/* ---- the handle ---- */

int sbx_over(const struct spawned *spawned, struct sbx **ret_box, struct sbx_err *err)
{
	struct spawned taken = *spawned;
	struct sbx *box = calloc(1, sizeof(*box));

	if (!box || pthread_mutex_init(&box->lock, NULL) != 0) {
		free(box);
		(void)spawn_end(&taken);
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "a sandbox");
	}
	box->spawned = taken;
	box->out.max = sizeof(struct wire_frame) * 16 + (size_t)REQUEST_MAX * 2 +
		       DOOR_STDIN_WINDOW * 2;
	box->in.max = sizeof(struct wire_frame) + (size_t)DOOR_RESULT_MAX + RECEIVE_SIZE;
	*ret_box = box;
	return 0;
}

int sbx_open(struct sbx **ret_box, const struct sbx_options *options, struct sbx_err *err)
{
	struct spawn_options spawn = { .door = true, .journal_fd = -1 };

	if (!ret_box || (options && options->flags != 0))
		return err_set(err, SBX_AT_USAGE, 0,
			       "sbx_open: no place for the handle, or an unknown flag");
	spawn.binary = options ? options->binary : NULL;
	return sbx_open_with(&spawn, NULL, 0, ret_box, err);
}

void sbx_template(struct sbx *box, const char *name)
{
	box->template = name;
}

void sbx_close(struct sbx *box)
{
	if (!box)
		return;
	(void)spawn_end(&box->spawned);
	buf_free(&box->out);
	buf_free(&box->in);
	(void)pthread_mutex_destroy(&box->lock);
	free(box);
}

/* ---- the result ---- */

enum sbx_status sbx_result_status(const struct sbx_result *result)
{
	return result->status;
}

const char *sbx_result_json(const struct sbx_result *result)
{
	return result->json;
}

const char *sbx_result_summary(const struct sbx_result *result)
{
	return result->summary;
}

void sbx_result_free(struct sbx_result *result)
{
	if (!result)
		return;
	free(result->json);
	free(result->summary);
	free(result);
}
