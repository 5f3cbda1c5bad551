/* SPDX-License-Identifier: MIT
 * libsbx against an engine that is made up here: a thread at the other end of the door.
 * And the broker's start, against a broker that is this very program. No privilege, no
 * kernel feature beyond pidfds. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "daemon/broker.h"
#include "daemon/door.h"
#include "daemon/request.h"
#include "lib/internal.h"

/* ---- the engine's end ---- */

struct fake;
typedef void (*script_fn)(struct fake *fake);

struct fake {
	int fd;
	script_fn script;
	pthread_t thread;
	struct sbx *box;
	const void *arg;
	size_t arg_len;
	char *bytes; /* stdin that came */
	size_t len;
	size_t most; /* the most of it that came before the first acknowledgement */
	int failed; /* line of a check that failed: cmocka's asserts are for its own thread */
};
#define CHECK(what)                              \
	do {                                     \
		if (!(what) && !fake->failed)    \
			fake->failed = __LINE__; \
	} while (0)

static char *read_frame(struct fake *fake, uint32_t *ret_type, uint32_t *ret_len)
{
	struct wire_frame frame = { 0 };
	char *data = NULL;

	*ret_type = 0;
	*ret_len = 0;
	if (wire_read(fake->fd, &frame, sizeof(frame)) < 0 || frame.len > REQUEST_MAX)
		return NULL;
	data = calloc(1, (size_t)frame.len + 1);
	if (!data || (frame.len > 0 && wire_read(fake->fd, data, frame.len) < 0)) {
		free(data);
		return NULL;
	}
	*ret_type = frame.type;
	*ret_len = frame.len;
	return data;
}

static json_t *read_run(struct fake *fake)
{
	uint32_t type, len;
	char *data = read_frame(fake, &type, &len);
	json_t *object = data ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL)
			      : NULL;

	CHECK(type == DOOR_RUN && object);
	free(data);
	return object;
}

static void say(struct fake *fake, uint32_t type, const void *data, size_t len)
{
	CHECK(wire_send_frame(fake->fd, type, data, len, NULL, 0) == 0);
}

static void say_result(struct fake *fake, const char *status)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "{\"status\": \"%s\", \"result\": 2}", status);
	say(fake, DOOR_RESULT, text, strlen(text));
}

static void *fake_main(void *arg)
{
	struct fake *fake = arg;

	fake->script(fake);
	(void)shutdown(fake->fd, SHUT_WR);
	return NULL;
}

static void fake_begin(struct fake *fake, script_fn script)
{
	struct spawned spawned = { .pidfd = -1, .lifeline = -1 };
	struct sbx_err err;
	int pair[2];

	assert_int_equal(wire_pair(SOCK_STREAM, pair), 0);
	spawned.door = pair[0];
	fake->fd = pair[1];
	fake->script = script;
	assert_int_equal(sbx_over(&spawned, &fake->box, &err), 0);
	assert_int_equal(pthread_create(&fake->thread, NULL, fake_main, fake), 0);
}

static void fake_end(struct fake *fake)
{
	sbx_close(fake->box);
	assert_int_equal(pthread_join(fake->thread, NULL), 0);
	assert_int_equal(close(fake->fd), 0);
	free(fake->bytes);
	assert_int_equal(fake->failed, 0);
}

static struct sbx_request program(const char *code)
{
	return (struct sbx_request){ .code = code,
				     .code_len = strlen(code),
				     .stdin_fd = -1 };
}

struct heard {
	struct buf out, err;
};

static void hear(void *arg, int stream, const void *data, size_t len)
{
	struct heard *heard = arg;

	assert_true(stream == 1 || stream == 2);
	assert_int_equal(buf_add(stream == 1 ? &heard->out : &heard->err, data, len), 0);
}

/* ---- a run ---- */

static void script_plain(struct fake *fake)
{
	json_t *run = read_run(fake);
	const char *cwd = json_string_value(json_object_get(run, "cwd"));
	json_t *settings = json_object_get(run, "settings");
	char bytes[64];
	size_t i;

	CHECK(strcmp(json_string_value(json_object_get(run, "code")),
		     "1 + 1\n\"\303\251\"") == 0);
	CHECK(strcmp(json_string_value(json_object_get(run, "filename")),
		     "odd?name.py") == 0);
	CHECK(strcmp(json_string_value(json_object_get(run, "preset")), "data") == 0);
	CHECK(strcmp(json_string_value(json_object_get(run, "policy")),
		     "max_processes: 3\n") == 0);
	CHECK(cwd && cwd[0] == '/');
	CHECK(!json_object_get(run, "stdin_open"));
	CHECK(json_array_size(settings) == 2);
	CHECK(strcmp(json_string_value(json_array_get(json_array_get(settings, 1), 0)),
		     "python") == 0);
	CHECK(strcmp(json_string_value(json_array_get(json_array_get(settings, 1), 1)),
		     "/x=y") == 0);
	CHECK(json_object_size(run) == 6);
	json_decref(run);
	say(fake, DOOR_STARTED, "r0-1", 4);
	say(fake, DOOR_STDOUT, "out", 3);
	say(fake, DOOR_STDERR, "err", 3);
	say(fake, DOOR_STDOUT, "", 0);
	say(fake, DOOR_EVENT, "{}", 2);
	/* The rest byte by byte, as a stream may deliver it. */
	memcpy(bytes, &(struct wire_frame){ .type = DOOR_STDOUT, .len = 3 }, 8);
	memcpy(bytes + 8, "put", 3);
	for (i = 0; i < 11; i++)
		CHECK(send(fake->fd, bytes + i, 1, MSG_NOSIGNAL) == 1);
	say_result(fake, "ok");
}

static void test_plain(void **state)
{
	static const struct sbx_setting settings[] = { { "max_memory_mb", "50" },
						       { "python", "/x=y" } };
	struct sbx_request request = program("1 + 1\n\"\303\251\"");
	struct heard heard = { 0 };
	struct fake fake = { 0 };
	struct sbx_result *result;
	struct sbx_err err;

	(void)state;
	request.filename = "odd\377name.py";
	request.preset = "data";
	request.policy = "max_processes: 3\n";
	request.policy_len = strlen(request.policy);
	request.settings = settings;
	request.setting_count = 2;
	request.on_output = hear;
	request.arg = &heard;
	fake_begin(&fake, script_plain);
	assert_int_equal(sbx_run(fake.box, &request, &result, &err), 0);
	assert_int_equal(sbx_result_status(result), SBX_OK);
	assert_string_equal(sbx_result_json(result),
			    "{\"status\": \"ok\", \"result\": 2}");
	assert_string_equal(sbx_result_summary(result), "ok\n");
	assert_string_equal(heard.out.data, "output");
	assert_string_equal(heard.err.data, "err");
	sbx_result_free(result);
	buf_free(&heard.out);
	buf_free(&heard.err);
	fake_end(&fake);
}

static void script_refusal_then_run(struct fake *fake)
{
	struct sbx_err err = { 0 };

	json_decref(read_run(fake));
	(void)err_set_field(&err, SBX_AT_POLICY, 0, "max_memory_mb",
			    "max_memory_mb: \033[31mnegative");
	memcpy(err.msg, "max_memory_mb: \033", 16); /* as if it had not been made safe */
	say(fake, DOOR_ERROR, &err, sizeof(err));
	json_decref(read_run(fake));
	say_result(fake, "timeout");
}

static void test_refusal_then_run(void **state)
{
	struct sbx_request request = program("");
	struct fake fake = { 0 };
	struct sbx_result *result = NULL;
	struct sbx_err err;

	(void)state;
	fake_begin(&fake, script_refusal_then_run);
	assert_int_equal(sbx_run(fake.box, &request, &result, &err), -EINVAL);
	assert_null(result);
	assert_int_equal(err.stage, SBX_AT_POLICY);
	assert_string_equal(err.field, "max_memory_mb");
	assert_null(strchr(err.msg, '\033'));
	assert_int_equal(sbx_run(fake.box, &request, &result, &err), 0);
	assert_int_equal(sbx_result_status(result), SBX_TIMEOUT);
	assert_int_equal(sbx_status_exit_code(sbx_result_status(result)), 3);
	sbx_result_free(result);
	fake_end(&fake);
}

/* ---- an engine that is not well ---- */

static void script_raw(struct fake *fake)
{
	json_decref(read_run(fake));
	CHECK(wire_send(fake->fd, fake->arg, fake->arg_len, NULL, 0) == 0);
}

#define FRAME(type, len, data)                              \
	{                                                   \
		{ (type), (len) }, (data), sizeof(data) - 1 \
	}
static const struct {
	struct wire_frame frame;
	const char *data;
	size_t data_len;
} hostile[] = {
	FRAME(DOOR_STDOUT, DOOR_CHUNK + 1, ""),
	FRAME(DOOR_STDERR, UINT32_MAX, ""),
	FRAME(DOOR_STARTED, 257, ""),
	FRAME(DOOR_EVENT, (64u << 10) + 1, ""),
	FRAME(DOOR_RESULT, DOOR_RESULT_MAX + 1, ""),
	FRAME(DOOR_RUN, 0, ""),
	FRAME(DOOR_CANCEL, 0, ""),
	FRAME(0, 0, ""),
	FRAME(23, 0, ""),
	FRAME(UINT32_MAX, 0, ""),
	FRAME(DOOR_STDIN_TAKEN, 4, "\1\0\0\0"), /* nothing was sent */
	FRAME(DOOR_STDIN_TAKEN, 3, "\0\0\0"),
	FRAME(DOOR_STDIN_TAKEN, 5, "\0\0\0\0\0"),
	FRAME(DOOR_RESULT, 0, ""),
	FRAME(DOOR_RESULT, 2, "{}"),
	FRAME(DOOR_RESULT, 2, "[]"),
	FRAME(DOOR_RESULT, 15, "{\"status\":\"ok\"}x"),
	FRAME(DOOR_RESULT, 16, "{\"status\":\"ok\"}x"),
	FRAME(DOOR_RESULT, 16, "{\"status\":\"okk\"}"),
	FRAME(DOOR_RESULT, 12, "{\"status\":0}"),
	FRAME(DOOR_RESULT, 14, "{\"status\":\"ok\""),
	FRAME(DOOR_RESULT, 29, "{\"status\":\"ok\",\"status\":\"ok\"}"),
	FRAME(DOOR_RESULT, 17, "{\"status\":\"\xff\xff\xff\xff\"}"),
	FRAME(DOOR_RESULT, 16, "{\"status\":\"ok\"}\0"),
	FRAME(DOOR_ERROR, 4, "\2\0\0\0"),
	FRAME(DOOR_ERROR, 0, ""),
	FRAME(DOOR_STDOUT, 3, "ou"), /* and the end of the stream */
};

static void test_hostile(void **state)
{
	struct sbx_request request = program("1");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		struct fake fake = { 0 };
		struct buf bytes = { 0 };
		struct sbx_result *result = NULL;
		struct sbx_err err = { 0 };
		int r;

		assert_int_equal(
			buf_add(&bytes, &hostile[i].frame, sizeof(hostile[i].frame)), 0);
		assert_int_equal(buf_add(&bytes, hostile[i].data, hostile[i].data_len),
				 0);
		fake.arg = bytes.data;
		fake.arg_len = bytes.len;
		fake_begin(&fake, script_raw);
		r = sbx_run(fake.box, &request, &result, &err);
		if (hostile[i].frame.len == 15) {
			/* The control: that one is a result. But what follows it is
			 * nobody's. */
			assert_int_equal(r, 0);
			sbx_result_free(result);
			result = NULL;
		} else {
			if (r >= 0 || err.stage != SBX_AT_ENGINE)
				fail_msg("row %zu: %d, stage %d", i, r, err.stage);
			assert_null(result);
		}
		assert_int_equal(sbx_run(fake.box, &request, &result, &err), -EPIPE);
		assert_int_equal(err.stage, SBX_AT_ENGINE);
		fake_end(&fake);
		buf_free(&bytes);
	}
}

static void script_error_of_nothing(struct fake *fake)
{
	struct sbx_err err = { 0 };

	json_decref(read_run(fake));
	say(fake, DOOR_ERROR, &err, sizeof(err));
}

static void script_gone(struct fake *fake)
{
	json_decref(read_run(fake));
	(void)shutdown(fake->fd, SHUT_RDWR);
}

static void test_no_answer(void **state)
{
	static const script_fn scripts[] = { script_error_of_nothing, script_gone };
	struct sbx_request request = program("1");
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct fake fake = { 0 };
		struct sbx_result *result = NULL;
		struct sbx_err err;

		fake_begin(&fake, scripts[i]);
		assert_true(sbx_run(fake.box, &request, &result, &err) < 0);
		assert_int_equal(err.stage, SBX_AT_ENGINE);
		assert_true(sbx_run(fake.box, &request, &result, NULL) < 0);
		assert_null(result);
		fake_end(&fake);
	}
}

/* ---- cancelling ---- */

static void script_until_cancel(struct fake *fake)
{
	uint32_t type, len;
	char *data;

	json_decref(read_run(fake));
	say(fake, DOOR_STARTED, "r0-1", 4);
	data = read_frame(fake, &type, &len);
	CHECK(type == DOOR_CANCEL && len == 0);
	free(data);
	say_result(fake, "killed");
}

static void test_cancel(void **state)
{
	struct sbx_request request = program("while True: pass");
	_cleanup_fd_ int cancel_fd = eventfd(1, EFD_CLOEXEC);
	struct fake fake = { 0 };
	struct sbx_result *result;
	struct sbx_err err;

	(void)state;
	request.cancel_fd = &cancel_fd;
	fake_begin(&fake, script_until_cancel);
	assert_int_equal(sbx_run(fake.box, &request, &result, &err), 0);
	assert_int_equal(sbx_result_status(result), SBX_KILLED);
	assert_int_equal(sbx_status_exit_code(SBX_KILLED), 137);
	sbx_result_free(result);
	fake_end(&fake);
}

/* ---- stdin ---- */

static void take_stdin(struct fake *fake, bool *ended)
{
	uint32_t type, len;
	char *data = read_frame(fake, &type, &len), *grown;

	if (type == DOOR_STDIN) {
		CHECK(len > 0 && len <= DOOR_CHUNK);
		grown = realloc(fake->bytes, fake->len + len);
		CHECK(grown);
		if (grown) {
			memcpy(grown + fake->len, data, len);
			fake->bytes = grown;
			fake->len += len;
		}
	} else {
		CHECK(type == DOOR_STDIN_END && len == 0);
		*ended = true;
	}
	free(data);
}

static void script_stdin(struct fake *fake)
{
	json_t *run = read_run(fake);
	bool ended = false;
	uint32_t taken;

	CHECK(json_is_true(json_object_get(run, "stdin_open")));
	json_decref(run);
	while (!fake->failed && fake->len < DOOR_STDIN_WINDOW)
		take_stdin(fake, &ended);
	/* Nothing more may come until some of it was taken. */
	(void)usleep(50000);
	fake->most = fake->len +
		     (size_t)(recv(fake->fd, &taken, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
	taken = DOOR_STDIN_WINDOW - 1;
	say(fake, DOOR_STDIN_TAKEN, &taken, sizeof(taken));
	while (!fake->failed && !ended) {
		size_t before = fake->len;

		take_stdin(fake, &ended);
		taken = (uint32_t)(fake->len - before);
		if (!ended)
			say(fake, DOOR_STDIN_TAKEN, &taken, sizeof(taken));
	}
	say_result(fake, "ok");
}

static void test_stdin_window(void **state)
{
	struct sbx_request request = program("input()");
	struct fake fake = { 0 };
	struct sbx_result *result;
	struct sbx_err err;
	FILE *file = tmpfile();
	uint32_t i, count = (1u << 20) / 4 + 7;

	(void)state;
	assert_non_null(file);
	for (i = 0; i < count; i++)
		assert_int_equal(fwrite(&i, 4, 1, file), 1);
	assert_int_equal(fflush(file), 0);
	rewind(file);
	request.stdin_fd = fileno(file);
	fake_begin(&fake, script_stdin);
	assert_int_equal(sbx_run(fake.box, &request, &result, &err), 0);
	sbx_result_free(result);
	assert_int_equal(fake.most, DOOR_STDIN_WINDOW);
	assert_int_equal(fake.len, count * 4);
	for (i = 0; i < count; i++)
		assert_memory_equal(fake.bytes + (size_t)i * 4, &i, 4);
	fake_end(&fake);
	assert_int_equal(fclose(file), 0);
}

static void script_stdin_end(struct fake *fake)
{
	uint32_t type, len;

	json_decref(read_run(fake));
	free(read_frame(fake, &type, &len));
	CHECK(type == DOOR_STDIN_END);
	say_result(fake, "ok");
}

/* A descriptor that cannot be read is at its end. */
static void test_stdin_closed(void **state)
{
	_cleanup_fd_ int writer = open("/dev/null", O_WRONLY | O_CLOEXEC),
			 dir = open("/", O_RDONLY | O_CLOEXEC);
	const int fds[] = { 1000000, writer, dir };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct sbx_request request = program("input()");
		struct fake fake = { 0 };
		struct sbx_result *result;
		struct sbx_err err;

		request.stdin_fd = fds[i];
		fake_begin(&fake, script_stdin_end);
		assert_int_equal(sbx_run(fake.box, &request, &result, &err), 0);
		sbx_result_free(result);
		fake_end(&fake);
	}
}

/* ---- sizes, sequence, threads ---- */

static void script_many(struct fake *fake)
{
	size_t *count = (size_t *)fake->arg;

	for (; *count > 0; (*count)--) {
		json_decref(read_run(fake));
		say(fake, DOOR_STDOUT, "x", 1);
		say_result(fake, "ok");
	}
}

static void *run_some(void *arg)
{
	struct sbx_request request = program("1");
	struct sbx_result *result;
	int i, failures = 0;

	for (i = 0; i < 50; i++) {
		if (sbx_run(arg, &request, &result, NULL) < 0)
			failures++;
		else
			sbx_result_free(result);
	}
	return (void *)(intptr_t)failures;
}

static void test_one_handle_many_threads(void **state)
{
	pthread_t threads[4];
	struct fake fake = { 0 };
	size_t count = 200, i;
	void *failures;

	(void)state;
	fake.arg = &count;
	fake_begin(&fake, script_many);
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_some, fake.box),
				 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &failures), 0);
		assert_null(failures);
	}
	fake_end(&fake);
}

static void script_large(struct fake *fake)
{
	json_t *run = read_run(fake);
	char chunk[DOOR_CHUNK];
	size_t i;

	CHECK(json_string_length(json_object_get(run, "code")) == CODE_MAX);
	json_decref(run);
	memset(chunk, 'y', sizeof(chunk));
	for (i = 0; i < 64; i++)
		say(fake, DOOR_STDOUT, chunk, sizeof(chunk));
	say_result(fake, "ok");
}

static void test_large(void **state)
{
	char *code = malloc(CODE_MAX + 1);
	struct sbx_request request = { .code = code,
				       .code_len = CODE_MAX,
				       .stdin_fd = -1 };
	struct heard heard = { 0 };
	struct fake fake = { 0 };
	struct sbx_result *result;
	struct sbx_err err;

	(void)state;
	assert_non_null(code);
	memset(code, '#', CODE_MAX + 1);
	request.on_output = hear;
	request.arg = &heard;
	fake_begin(&fake, script_large);
	assert_int_equal(sbx_run(fake.box, &request, &result, &err), 0);
	assert_int_equal(heard.out.len, 64 * DOOR_CHUNK);
	sbx_result_free(result);
	buf_free(&heard.out);
	fake_end(&fake);
	request.code_len++;
	assert_int_equal(sbx_request_check(&request, &err), -EINVAL);
	assert_int_equal(err.stage, SBX_AT_USAGE);
	free(code);
}

/* ---- what is refused before anything is sent ---- */

static void test_refused_texts(void **state)
{
	static const struct {
		const char *code;
		size_t len;
		const char *message; /* NULL: good */
	} rows[] = {
		{ "", 0, NULL },
		{ "x = '\xf0\x9f\x90\x8d'", 10, NULL },
		{ "ab\xff", 3, "the program is not UTF-8: byte 2 is 0xff" },
		{ "\xc0\x80", 2, "the program is not UTF-8: byte 0 is 0xc0" },
		{ "a\xed\xa0\x80", 4, "the program is not UTF-8: byte 1 is 0xed" },
		{ "\xf4\x90\x80\x80", 4, "the program is not UTF-8: byte 0 is 0xf4" },
		{ "\xe2\x82", 2, "the program is not UTF-8: byte 0 is 0xe2" },
		{ "a\0b", 3, "the program has a NUL byte at 1" },
		{ NULL, 1, "a request without code" },
	};
	struct sbx_request request = program("");
	struct sbx_setting bad = { "python", "\xff" };
	struct sbx_err err;
	struct sbx *box = NULL;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		request.code = rows[i].code;
		request.code_len = rows[i].len;
		assert_int_equal(sbx_request_check(&request, &err),
				 rows[i].message ? -EINVAL : 0);
		if (!rows[i].message)
			continue;
		assert_string_equal(err.msg, rows[i].message);
		assert_int_equal(err_kind(err.stage)->exit_code, 2);
	}
	request = program("1");
	request.policy = "a\xff";
	request.policy_len = 2;
	assert_int_equal(sbx_request_check(&request, &err), -EINVAL);
	assert_int_equal(err.stage, SBX_AT_POLICY);
	request = program("1");
	request.settings = &bad;
	request.setting_count = 1;
	assert_int_equal(sbx_request_check(&request, &err), -EINVAL);
	assert_int_equal(err.stage, SBX_AT_POLICY);
	assert_int_equal(sbx_open(&box, &(struct sbx_options){ .flags = 1 }, &err),
			 -EINVAL);
	assert_null(box);
	sbx_close(NULL);
	sbx_result_free(NULL);
}

/* ---- the summary ---- */

static const struct {
	const char *json, *text;
} summaries[] = {
	{ "{\"status\": \"ok\", \"usage\": {\"wall_ms\": 12, \"cpu_ms\": 8.4, \"memory_peak_bytes\": 2202009},"
	  " \"policy\": {\"max_memory_mb\": 100}, \"enforced\": {\"memory\": \"cgroup2\"}, \"result_repr\": \"2\"}",
	  "ok in 12 ms, CPU 8.4 ms, memory 2.1 MiB of 100 MiB\n  result: 2\n" },
	{ "{\"status\": \"timeout\", \"usage\": {\"wall_ms\": 5012, \"cpu_ms\": 2500},"
	  " \"policy\": {\"max_execution_time\": 5}, \"result_repr\": null}",
	  "timeout: ended, it ran longer than max_execution_time (5 s)\n  after 5.01 s, CPU 2.50 s\n" },
	{ "{\"status\": \"memory\", \"policy\": {\"max_memory_mb\": 50}}",
	  "memory: ended, it needed more than max_memory_mb (50 MiB)\n" },
	{ "{\"status\": \"error\", \"error\": {\"name\": \"ZeroDivisionError\", \"value\": \"division by zero\","
	  " \"line\": 3}}",
	  "error: ZeroDivisionError: division by zero (line 3)\n" },
	{ "{\"status\": \"error\", \"error\": {\"name\": \"SystemExit\", \"value\": \"3\", \"line\": null}}",
	  "error: the program exited with 3\n" },
	{ "{\"status\": \"error\", \"error\": {\"name\": \"Signal\", \"value\": 11}}",
	  "error: the program died of signal 11 SIGSEGV\n" },
	{ "{\"status\": \"error\", \"error\": {\"name\": \"Signal\", \"value\": \"99999999999999999999\"}}",
	  NULL },
	{ "{\"status\": \"error\"}", "error: no error was recorded\n" },
	{ "{\"status\": \"killed\"}", "killed: stopped on request\n" },
	{ "{\"status\": \"fault\", \"error\": {\"name\": \"WallMissing\", \"value\": \"no user namespaces\"}}",
	  "fault: not the program's doing, WallMissing: no user namespaces\n" },
	{ "{\"status\": \"denied\", \"error\": {\"name\": \"ImportError\", \"value\": \"os\"}, \"events\": ["
	  "{\"at_ms\": 1, \"source\": \"python\", \"kind\": \"import\", \"subject\": \"os\", \"line\": 3,"
	  " \"remedy\": \"add \\\"os\\\" to allowed_modules\", \"rule\": \"allowed_modules\", \"count\": 1},"
	  "{\"source\": \"kernel\", \"kind\": \"syscall\", \"subject\": \"ptrace\", \"line\": null, \"count\": 7},"
	  "{\"source\": \"supervisor\", \"kind\": \"limit\", \"subject\": \"max_processes\", \"count\": 2},"
	  "{\"source\": \"supervisor\", \"kind\": \"more\", \"subject\": \"further\", \"count\": 12}]}",
	  "denied: ImportError: os\n"
	  "  denied: import of os at line 3 - add \"os\" to allowed_modules [python]\n"
	  "  denied: system call ptrace, 7 times [kernel]\n"
	  "  limit: max_processes, 2 times [supervisor]\n"
	  "  12 further events were only counted\n" },
	{ "{\"status\": \"ok\", \"truncated\": {\"stdout\": 3145728, \"stderr\": 0}, \"displays\": [{}, {}],"
	  " \"files\": [{}], \"enforced\": {\"memory\": \"cgroup1\", \"cpu\": \"none\", \"network\": null}}",
	  "ok\n  stdout: the result keeps its head and tail, 3.0 MiB between them are dropped (max_output_bytes)\n"
	  "  2 displays: --json has them\n  1 file: --json names it\n"
	  "  not enforced here: cpu, network (sandbox doctor says why)\n" },
	{ "{\"status\": \"ok\", \"result_repr\": \"7\", \"result_display\": 0, \"displays\": [{\"text/plain\": \"7\"}]}",
	  "ok\n  result: 7\n" },
	{ "{\"status\": \"ok\", \"result_display\": 1, \"displays\": [{\"text/plain\": \"<F\\u001b>\", \"image/png\":"
	  " \"iVBORw0KGgoAAAANSUhEUgAAAoAAAAHgAAAA\", \"a/\\nb\": {}}, {\"text/plain\": \"7\"}]}",
	  "ok\n  1 display: --json has it\n    <F\\x1b> [image/png 640x480 27 bytes, a/\\nb]\n" },
	{ "{\"status\": \"ok\", \"result_display\": -7, \"displays\": [3, {\"text/html\": 5}, {\"image/png\": \"x\"}]}",
	  "ok\n  3 displays: --json has them\n     [text/html]\n     [image/png 0 bytes]\n" },
	/* Of every type but the right one. */
	{ "{\"status\": [], \"usage\": 1, \"policy\": \"\", \"error\": [], \"events\": {\"a\": 1}, \"truncated\": 3,"
	  " \"displays\": {}, \"files\": \"x\", \"enforced\": [1], \"result_repr\": {}}",
	  "fault: not the program's doing, no error was recorded\n" },
	{ "{\"status\": \"error\", \"usage\": {\"wall_ms\": -5, \"cpu_ms\": 1e308, \"memory_peak_bytes\": \"x\"},"
	  " \"error\": {\"name\": 5, \"value\": {}, \"line\": 1e300}, \"events\": [1, null, {}, {\"kind\": []}]}",
	  NULL },
	/* The terminal is not the program's. */
	{ "{\"status\": \"error\", \"error\": {\"name\": \"A\\u001b[2J\", \"value\": \"x\\n\\r\\u009b\\u202e\\u2028"
	  "\\u200b\\ufeff\\u007f\\udb40\\udc41\"}, \"result_repr\": \"\\u001b]52;c;AAAA\\u0007\", \"events\": ["
	  "{\"kind\": \"\\u001bk\", \"subject\": \"a\\nok: fine\", \"remedy\": \"\\u2066b\", \"source\": \"\\b\"}]}",
	  "error: A\\x1b[2J: x\\n\\x0d\\x9b\\u{202e}\\u{2028}\\u{200b}\\u{feff}\\x7f\\u{e0041}\n"
	  "  denied: \\x1bk a\\nok: fine - \\u{2066}b [\\x08]\n"
	  "  result: \\x1b]52;c;AAAA\\x07\n" },
	{ "{\"status\": \"ok\", \"result_repr\": \"\346\262\231\347\256\261 \303\251 \360\237\220\215\"}",
	  "ok\n  result: \346\262\231\347\256\261 \303\251 \360\237\220\215\n" },
};

static void assert_safe(const char *text, bool colour)
{
	size_t len = strlen(text), n;
	uint32_t c;

	while (len > 0) {
		n = utf8_next(text, len, &c);
		assert_true(n > 0);
		assert_true(c == '\n' || (colour && c == 033) || !utf8_is_unsafe(c));
		text += n;
		len -= n;
	}
}

static void test_summary(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(summaries) / sizeof(summaries[0]); i++) {
		json_t *object = json_loads(summaries[i].json, JSON_REJECT_DUPLICATES,
					    NULL);
		char *text, *coloured;

		if (!object)
			fail_msg("row %zu is no JSON", i);
		text = summary_make(object, false);
		coloured = summary_make(object, true);
		assert_non_null(text);
		assert_non_null(coloured);
		if (summaries[i].text)
			assert_string_equal(text, summaries[i].text);
		assert_safe(text, false);
		assert_safe(coloured, true);
		assert_true(strlen(coloured) > strlen(text));
		free(text);
		free(coloured);
		json_decref(object);
	}
}

/* A million characters, a thousand events, a thousand missing limits: a screenful. */
static void test_summary_is_bounded(void **state)
{
	json_t *events = json_array(), *enforced = json_object(), *object;
	char *huge = malloc((1u << 20) + 1), *text, key[32];
	int i;

	(void)state;
	assert_non_null(huge);
	memset(huge, 033, 1u << 20);
	huge[1u << 20] = '\0';
	for (i = 0; i < 1000; i++) {
		assert_int_equal(
			json_array_append_new(events,
					      json_pack("{s:s, s:s, s:s, s:s}", "kind",
							huge, "subject", huge, "remedy",
							huge, "source", huge)),
			0);
		(void)snprintf(key, sizeof(key), "key%d", i);
		assert_int_equal(json_object_set_new(enforced, key, json_string("none")),
				 0);
		if (i == 20)
			huge[1000] = '\0';
	}
	object = json_pack("{s:s, s:{s:s, s:s}, s:o, s:o, s:s}", "status", "error",
			   "error", "name", huge, "value", huge, "events", events,
			   "enforced", enforced, "result_repr", huge);
	assert_non_null(object);
	text = summary_make(object, false);
	assert_non_null(text);
	assert_true(strlen(text) < 32768);
	assert_non_null(strstr(text, "and 990 more events"));
	assert_safe(text, false);
	free(text);
	free(huge);
	json_decref(object);
}

static void test_summary_line(void **state)
{
	static const struct {
		const char *text;
		size_t len, columns;
		const char *line;
	} rows[] = {
		{ "", 0, 10, "" },
		{ "abc", 3, 3, "abc" },
		{ "abcd", 4, 3, "abc..." },
		{ "a\0b", 3, 10, "a\\x00b" },
		{ "\xff\xfe", 2, 10, "\\xff\\xfe" },
		{ "\xe2\x82", 2, 10, "\\xe2\\x82" },
		{ "\303\251\303\251", 4, 1, "\303\251..." },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *line = summary_line(rows[i].text, rows[i].len, rows[i].columns);

		assert_string_equal(line, rows[i].line);
		free(line);
	}
}

/* ---- the broker's start; this program is the broker ---- */

static int broker_of_ours(void)
{
	const char *how = getenv("TEST_LIB_BROKER");
	struct broker_hello hello = { .root = 42, .why_no_cgroup = "a reason" };
	struct wire_frame frame;
	char data[64], byte;
	int type, fd;
	socklen_t len = sizeof(type);

	if (how && strcmp(how, "silent") == 0)
		return 9;
	if (how && strcmp(how, "short") == 0)
		return wire_send(ROLE_LIFELINE_FD, "short", 5, NULL, 0) < 0;
	/* Exactly the descriptors of daemon/broker.h. */
	if (getsockopt(ROLE_DOOR_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_STREAM)
		return 10;
	if (getsockopt(ROLE_LIFELINE_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_SEQPACKET)
		return 11;
	for (fd = ROLE_LIFELINE_FD + 1; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return 12;
	if (read(0, &byte, 1) != 0 || getsid(0) != getpid())
		return 13;
	if (wire_send(ROLE_LIFELINE_FD, &hello, sizeof(hello), NULL, 0) < 0)
		return 14;
	if (how && strcmp(how, "serve") == 0) {
		if (wire_read(ROLE_DOOR_FD, &frame, sizeof(frame)) < 0 ||
		    frame.len > sizeof(data) * 64)
			return 15;
		if (wire_send_frame(ROLE_DOOR_FD, DOOR_RESULT, "{\"status\":\"ok\"}", 15,
				    NULL, 0) < 0)
			return 16;
	}
	/* The lifeline's end is ours. */
	return read(ROLE_LIFELINE_FD, &byte, 1) == 0 ? 7 : 17;
}

static int count_fds(void)
{
	int fd, count = 0;

	for (fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int start_broker(const char *binary, struct spawned *ret, struct sbx_err *err)
{
	const struct spawn_options options = { .binary = binary,
					       .door = true,
					       .journal_fd = -1 };

	return spawn_broker(&options, ret, err);
}

static void test_spawn(void **state)
{
	struct spawned spawned;
	struct sbx_err err;
	int before = count_fds();

	(void)state;
	assert_int_equal(unsetenv("TEST_LIB_BROKER"), 0);
	assert_int_equal(start_broker("/proc/self/exe", &spawned, &err), 0);
	assert_int_equal(spawned.hello.root, 42);
	assert_string_equal(spawned.hello.why_no_cgroup, "a reason");
	assert_true(spawned.door >= 0 && spawned.pidfd >= 0);
	assert_int_equal(spawn_end(&spawned), 7);
	assert_int_equal(spawned.pidfd, -1);
	assert_int_equal(spawn_end(&spawned), 0);
	assert_int_equal(count_fds(), before);
}

static void test_spawn_fails(void **state)
{
	struct spawned spawned;
	struct sbx_err err;
	int before = count_fds();

	(void)state;
	assert_int_equal(setenv("TEST_LIB_BROKER", "silent", 1), 0);
	assert_true(start_broker("/proc/self/exe", &spawned, &err) < 0);
	assert_string_equal(err.msg, "the broker ended before it was ready");
	assert_int_equal(setenv("TEST_LIB_BROKER", "short", 1), 0);
	assert_true(start_broker("/proc/self/exe", &spawned, &err) < 0);
	assert_non_null(strstr(err.msg, "of another version"));
	assert_int_equal(unsetenv("TEST_LIB_BROKER"), 0);
	assert_true(start_broker("/nonexistent/sandbox", &spawned, &err) < 0);
	assert_int_equal(err.stage, SBX_AT_USAGE);
	assert_true(start_broker("/etc/passwd", &spawned, &err) < 0);
	/* A program that is not the command never starts itself again: it is looked
	 * for. */
	assert_int_equal(setenv("PATH", "relative::/nonexistent", 1), 0);
	assert_int_equal(unsetenv("SANDBOX_BIN"), 0);
	assert_int_equal(start_broker(NULL, &spawned, &err), -ENOENT);
	assert_int_equal(setenv("SANDBOX_BIN", "/proc/self/exe", 1), 0);
	assert_int_equal(start_broker(NULL, &spawned, &err), 0);
	assert_int_equal(spawn_end(&spawned), 7);
	assert_int_equal(count_fds(), before);
}

static void test_public_life(void **state)
{
	struct sbx_request request = program("1");
	struct sbx_result *result;
	struct sbx_err err;
	struct sbx *box;
	int before = count_fds();

	(void)state;
	assert_int_equal(setenv("TEST_LIB_BROKER", "serve", 1), 0);
	assert_int_equal(
		sbx_open(&box, &(struct sbx_options){ .binary = "/proc/self/exe" }, &err),
		0);
	assert_int_equal(sbx_run(box, &request, &result, &err), 0);
	assert_int_equal(sbx_result_status(result), SBX_OK);
	sbx_result_free(result);
	sbx_close(box);
	assert_int_equal(count_fds(), before);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_refusal_then_run),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_stdin_window),
		cmocka_unit_test(test_stdin_closed),
		cmocka_unit_test(test_one_handle_many_threads),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_refused_texts),
		cmocka_unit_test(test_summary),
		cmocka_unit_test(test_summary_is_bounded),
		cmocka_unit_test(test_summary_line),
		cmocka_unit_test(test_spawn),
		cmocka_unit_test(test_spawn_fails),
		cmocka_unit_test(test_public_life),
	};

	if (argc == 2 && strcmp(argv[1], "--role=broker") == 0)
		return broker_of_ours();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
