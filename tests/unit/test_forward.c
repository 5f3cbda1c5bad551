/* SPDX-License-Identifier: MIT
 * Records to files that are turned over, to syslog and to journald: a socket of ours stands
 * in for theirs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"
#include "journal/forward.h"

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/sandbox-forward.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char path[128];

	(void)state;
	static const char *const names[] = { "f", "f.1", "f.2", "f.3", "s" };

	for (size_t i = 0; i < 5; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	return rmdir(dir);
}

static struct forward *forward_to(const char *format)
{
	struct forward *forward = NULL;
	struct sbx_err err = { 0 };
	char target[200];
	const char *targets[] = { target }, *hole = strstr(format, "%s");

	(void)snprintf(target, sizeof(target), "%.*s%s%s", (int)(hole - format), format,
		       dir, hole + 2);
	if (forward_new(targets, 1, &forward, &err) < 0)
		fail_msg("%s", err.msg);
	return forward;
}

static void hand_in(struct forward *forward, const char *text)
{
	json_t *record = json_loads(text, 0, NULL);

	assert_non_null(record);
	forward_record(forward, record, text, strlen(text));
	json_decref(record);
}

static char *content(const char *name)
{
	char path[128], *text = NULL;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fd_read_file(AT_FDCWD, path, 8u << 20, &text, &len) < 0 ? NULL : text;
}

static int listen_at(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, name);
	(void)unlink(address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static char *receive(int fd)
{
	static char data[70000];
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&ready, 1, 10000), 1);
	n = recv(fd, data, sizeof(data) - 1, 0);
	assert_true(n > 0);
	data[n] = '\0';
	return data;
}

static void test_targets(void **state)
{
	static const char *const wrong[] = { "",
					     "file",
					     "file:",
					     "file:relative",
					     "file:/tmp/x?keep=0",
					     "file:/tmp/x?max_mb=x",
					     "file:/tmp/x?other=1",
					     "syslogd",
					     "journald:relative",
					     "file:/proc/self/nothing/x",
					     "file:/dev/null" };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct forward *forward = NULL;
		struct sbx_err err = { 0 };

		assert_true(forward_new(&wrong[i], 1, &forward, &err) < 0);
		assert_null(forward);
		assert_int_equal(err.stage, SBX_AT_USAGE);
	}
}

static void test_file(void **state)
{
	struct forward *forward = forward_to("file:%s/f");
	_cleanup_free_ char *text = NULL;
	struct stat st;
	char path[128];

	(void)state;
	hand_in(forward, "{\"record\":\"begin\",\"id\":\"a\"}");
	hand_in(forward, "{\"record\":\"verdict\",\"id\":\"a\",\"status\":\"ok\"}");
	forward_free(&forward);
	text = content("f");
	assert_string_equal(text,
			    "{\"record\":\"begin\",\"id\":\"a\"}\n"
			    "{\"record\":\"verdict\",\"id\":\"a\",\"status\":\"ok\"}\n");
	(void)snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* More than one line is no record: it is counted, and told of before the next. */
static void test_not_a_line(void **state)
{
	struct forward *forward = forward_to("file:%s/f");
	_cleanup_free_ char *text = NULL;

	(void)state;
	forward_record(forward, NULL, "{}\n{}", 5);
	hand_in(forward, "{\"record\":\"begin\"}");
	forward_free(&forward);
	text = content("f");
	assert_string_equal(text, "{\"record\":\"dropped\",\"count\":1}\n"
				  "{\"record\":\"begin\"}\n");
}

static void test_rotation(void **state)
{
	struct forward *forward = forward_to("file:%s/f?max_mb=1&keep=3");
	char *line = malloc(400001), *text, path[128];
	size_t kept = 0;

	(void)state;
	assert_non_null(line);
	for (int i = 0; i < 12; i++) {
		(void)snprintf(line, 64, "{\"n\":%d,\"x\":\"", i);
		memset(line + strlen(line), 'x', 400000 - strlen(line));
		strcpy(line + 399998, "\"}");
		hand_in(forward, line);
	}
	forward_free(&forward);
	free(line);
	/* Two fit into each. */
	for (int i = 2; i >= 0; i--) {
		(void)snprintf(path, sizeof(path), i ? "f.%d" : "f", i);
		text = content(path);
		assert_non_null(text);
		assert_true(strlen(text) <= 1u << 20);
		assert_true(text[strlen(text) - 1] == '\n');
		for (const char *at = text; *at; at = strchr(at, '\n') + 1, kept++)
			assert_int_equal(atoi(at + 5), (int)(6 + kept));
		free(text);
	}
	assert_int_equal(kept, 6);
	assert_null(content("f.3"));
}

static void test_syslog(void **state)
{
	int fd = listen_at("s");
	struct forward *forward = forward_to("syslog:%s/s");
	const char *text;

	(void)state;
	hand_in(forward, "{\"record\":\"verdict\",\"id\":\"a\",\"status\":\"denied\"}");
	text = receive(fd);
	assert_memory_equal(text, "<84>", 4); /* authpriv, warning */
	assert_non_null(strstr(text, "]: {\"record\":\"verdict\""));
	/* Started again: another socket at the same path. */
	(void)close(fd);
	fd = listen_at("s");
	hand_in(forward, "{\"record\":\"verdict\",\"id\":\"b\",\"status\":\"ok\"}");
	text = receive(fd);
	assert_memory_equal(text, "<86>", 4);
	assert_non_null(strstr(text, "\"id\":\"b\""));
	forward_free(&forward);
	(void)close(fd);
}

static void test_rfc5424(void **state)
{
	int fd = listen_at("s");
	struct forward *forward = forward_to("syslog:rfc5424:%s/s");
	const char *text;

	(void)state;
	hand_in(forward, "{\"record\":\"event\",\"execution\":\"a\"}");
	text = receive(fd);
	assert_memory_equal(text, "<84>1 2", 7);
	assert_non_null(strstr(text, " sandbox "));
	assert_non_null(strstr(text, " record - {\"record\":\"event\""));
	forward_free(&forward);
	(void)close(fd);
}

/* Nobody listens; then somebody does and is told how many are missing. */
static void test_lost(void **state)
{
	struct forward *forward = forward_to("journald:%s/s");
	const char *text;
	json_t *before;
	int fd;

	(void)state;
	for (int i = 0; i < 3; i++)
		hand_in(forward, "{\"record\":\"begin\",\"id\":\"a\"}");
	for (int i = 0; i < 1000; i++) {
		before = forward_state(forward);
		if (json_integer_value(json_object_get(before, "failed")) == 3)
			break;
		json_decref(before);
		(void)usleep(10000);
		before = NULL;
	}
	assert_non_null(before);
	assert_true(json_is_string(json_object_get(before, "error")));
	json_decref(before);
	fd = listen_at("s");
	hand_in(forward,
		"{\"record\":\"begin\",\"id\":\"x\\ny=1\",\"status\":\"running\"}");
	text = receive(fd);
	assert_non_null(strstr(text, "MESSAGE={\"record\":\"dropped\",\"count\":3}\n"));
	text = receive(fd);
	assert_non_null(strstr(text, "\nSANDBOX_EXECUTION=x?y?1\n"));
	assert_non_null(strstr(text, "PRIORITY=6\n"));
	forward_free(&forward);
	(void)close(fd);
}

/* Whoever hands in never waits, however many there are and however slow the reader. */
static void test_bounded(void **state)
{
	int fd = listen_at("s");
	struct forward *forward = forward_to("syslog:%s/s");
	uint64_t written, dropped, failed;
	json_t *after;

	(void)state;
	for (int i = 0; i < 100000; i++)
		hand_in(forward, "{\"record\":\"begin\",\"id\":\"a\"}");
	for (int i = 0; i < 1000; i++) {
		after = forward_state(forward);
		written = (uint64_t)json_integer_value(json_object_get(after, "written"));
		dropped = (uint64_t)json_integer_value(json_object_get(after, "dropped"));
		failed = (uint64_t)json_integer_value(json_object_get(after, "failed"));
		json_decref(after);
		if (written + dropped + failed == 100000)
			break;
		(void)usleep(10000);
	}
	assert_int_equal(written + dropped + failed, 100000);
	assert_true(failed > 0);
	forward_free(&forward);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test_setup_teardown(test_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_a_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rotation, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_syslog, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rfc5424, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounded, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
