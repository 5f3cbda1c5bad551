/* SPDX-License-Identifier: MIT
 * sandbox.yaml: every key by its table, what is refused and on which line, the frame, and
 * the documents made of the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "daemon/config.h"

#define SECRET "0123456789abcdef0123456789abcdef"

static int set(struct config *config, const char *text, struct sbx_err *err)
{
	return config_set_document(config, text, strlen(text), err);
}

/* The message of what is refused. */
static void refuse(const char *text, const char *message)
{
	struct config config;
	struct sbx_err err = { 0 };
	int r;

	config_init(&config);
	r = set(&config, text, &err);
	if (r == 0)
		r = config_check(&config, &err);
	if (r == 0)
		fail_msg("taken: %s", text);
	if (!strstr(err.msg, message))
		fail_msg("%s: said \"%s\", not \"%s\"", text, err.msg, message);
	config_clear(&config);
}

static void test_all_keys(void **state)
{
	static const char text[] =
		"listen: [\"127.0.0.1:5000\", \"[::1]:0\", \"localhost:80\"]\n"
		"socket: /run/s.sock\n"
		"socket_group: sandbox\n"
		"tls: {certificate: /c.pem, key: /k.pem}\n"
		"tokens:\n"
		"  - {name: ci, file: /t1, ceilings: {max_memory_mb: 256}}\n"
		"  - {name: op, file: /t2, owner: true}\n"
		"hosts: [box.example, \"box.example:443\", \"[2001:db8::1]:80\"]\n"
		"origins: [\"https://box.example\"]\n"
		"grantable_directories: [\"/srv/data:ro\"]\n"
		"defaults: {preset: data, max_execution_time: 30}\n"
		"ceilings: {max_memory_mb: 2048}\n"
		"templates:\n"
		"  science: {python: /opt/s/bin/python, preload: [numpy, \"scipy?\"]}\n"
		"admission: {executions: 7, queue: 9, memory_mb: 4096}\n"
		"sessions: {max: 3, idle_timeout: 60}\n"
		"journal: {dir: /j, required: true, durability: full, key: /jk, keep_days: 7,\n"
		"          keep_mb: 64, forward: [syslog]}\n"
		"redact: [\"sk-live-*\"]\n"
		"log_level: info\n"
		"doors: [{name: e2b, address: \"127.0.0.1:49999\", open: true}]\n";
	struct config c;
	struct sbx_err err = { 0 };
	struct sbx_policy policy;

	(void)state;
	config_init(&c);
	if (set(&c, text, &err) < 0 || config_check(&c, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(c.listen.count, 3);
	assert_string_equal(c.socket, "/run/s.sock");
	assert_string_equal(c.tls_key, "/k.pem");
	assert_int_equal(c.token_count, 2);
	assert_int_equal(c.tokens[0].ceilings->max_memory_mb, 256);
	assert_true(c.tokens[0].ceilings->network_access); /* not named: no ceiling */
	assert_null(c.tokens[1].ceilings);
	assert_false(c.tokens[0].owner);
	assert_true(c.tokens[1].owner);
	assert_int_equal(c.hosts.count, 3);
	assert_true(c.defaults.max_execution_time == 30);
	assert_true(c.defaults.allow_file_operations); /* of the preset */
	assert_int_equal(c.ceilings.max_memory_mb, 2048);
	assert_int_equal(c.admission_executions, 7);
	assert_int_equal(c.sessions_idle_timeout, 60);
	assert_true(c.journal_required);
	assert_int_equal(c.journal_durability, CONFIG_FULL);
	assert_int_equal(c.journal_keep_mb, 64);
	assert_int_equal(c.log_level, 3);
	assert_true(c.doors[0].open);
	policy_init(&policy);
	assert_int_equal(config_set_template(&c, "science", &policy), 0);
	assert_string_equal(policy.python, "/opt/s/bin/python");
	assert_int_equal(policy.preload.count, 2);
	assert_int_equal(config_set_template(&c, "other", &policy), -ENOENT);
	policy_clear(&policy);
	config_clear(&c);
}

static void test_empty(void **state)
{
	struct config c;

	(void)state;
	config_init(&c);
	assert_int_equal(set(&c, "", NULL), 0);
	assert_int_equal(set(&c, "# nothing\n", NULL), 0);
	assert_int_equal(set(&c, "journal:\ntls:\n", NULL), 0);
	assert_int_equal(config_check(&c, NULL), 0);
	assert_int_equal(c.admission_queue, 1024);
	config_clear(&c);
	config_clear(&c); /* takes a cleared one */
}

static void test_refusals(void **state)
{
	(void)state;
	refuse("a: 1\n", "line 1: unknown key \"a\"");
	refuse("\nlisten: []\nlistn: []\n",
	       "line 3: unknown key \"listn\": did you mean \"listen\"?");
	refuse("journal:\n  dir: /j\n  dirr: /j\n",
	       "line 3: unknown key \"journal.dirr\"");
	refuse("journal.dir: /j\n", "line 1: unknown key \"journal.dir\"");
	refuse("journal: 5\n", "line 1: journal: expected a mapping");
	refuse("[]\n", "expected a mapping");
	refuse("listen: \"127.0.0.1:5000\"\n", "line 1: listen: expected a list");
	refuse("listen:\n  - 127.0.0.1:5000\n  - nowhere\n",
	       "line 3: listen: expected ADDRESS:PORT");
	refuse("listen: [\"127.0.0.1:70000\"]\n", "ADDRESS:PORT");
	refuse("listen: [\"::1:80\"]\n", "ADDRESS:PORT");
	refuse("socket: run/s.sock\n", "line 1: socket: expected an absolute path");
	refuse("socket: 5\n", "socket: expected text");
	refuse("socket_group: \"a b\"\n", "group");
	refuse("tls: {certificate: /c}\n", "certificate and key go together");
	refuse("tokens: [{name: a}]\n",
	       "line 1: tokens: file: expected an absolute path");
	refuse("tokens: [{name: a, file: /f, token: secret}]\n",
	       "tokens: unknown key \"token\"");
	refuse("tokens:\n  - {name: a, file: /f}\n  - {name: a, file: /g}\n",
	       "line 3: tokens: \"a\" is there twice");
	refuse("tokens:\n  - name: a\n    file: /f\n    ceilings:\n      max_memory: 1\n",
	       "line 5: unknown field \"max_memory\"");
	refuse("hosts: [\"http://a\"]\n", "hosts: expected");
	refuse("origins: [\"https://a/path\"]\n", "origins: expected an origin");
	refuse("grantable_directories: [data]\n", "absolute directory");
	refuse("defaults:\n  max_memory_mb: -1\n",
	       "line 2: max_memory_mb: expected a whole number");
	refuse("ceilings: {max_memory_mb: 50}\n", "defaults: max_memory_mb: 100 is more");
	refuse("templates: {a: {modules: [x]}}\n", "templates: unknown key \"modules\"");
	refuse("templates:\n  a:\n    python: python3\n",
	       "line 3: python: expected the absolute path");
	refuse("templates: {\"a b\": {}}\n", "expected a name");
	refuse("admission: {queue: -1}\n",
	       "admission.queue: expected a whole number from 0 to 65536, got -1");
	refuse("admission: {queue: 1.5}\n", "got a number");
	refuse("journal: {durability: some}\n", "expected \"normal\", \"full\"");
	refuse("redact: [\"sk-*\"]\n", "4 before the first");
	refuse("redact: [\"secret*a*b*c*d\"]\n", "three *");
	refuse("journal: 3\n", "true or false");
	refuse("log_level: loud\n", "line 1: log_level: expected");
	refuse("doors: [{name: e2b, address: here}]\n",
	       "doors: address: expected ADDRESS:PORT");
	refuse("a: &x 1\n", "anchors are not allowed");
	refuse("listen: []\nlisten: []\n", "duplicate key");
	refuse("{\"listen\": [],\n \"bogus\": 1}\n", "line 2: unknown key \"bogus\"");
}

/* A value out of bounds on either side, for every number of the table. */
static void test_every_number_is_bounded(void **state)
{
	(void)state;
	for (size_t i = 0; i < config_field_count; i++) {
		const struct config_field *field = &config_fields[i];
		const char *dot = strchr(field->name, '.');
		char text[256];

		assert_true(field->type == CONFIG_BOOL || field->type == CONFIG_CHOICE ||
			    field->type == CONFIG_POLICY || field->max > 0);
		if (field->type != CONFIG_INT)
			continue;
		assert_non_null(dot);
		for (int side = 0; side < 2; side++) {
			(void)snprintf(text, sizeof(text), "%.*s: {%s: %.0f}\n",
				       (int)(dot - field->name), field->name, dot + 1,
				       side ? field->max + 1 : field->min - 1);
			refuse(text, "expected a whole number");
		}
	}
}

static int from(const char *frame, struct config *ret, struct sbx_err *err)
{
	return config_from_frame(frame, strlen(frame), ret, err);
}

static void test_frame(void **state)
{
	static const char good[] =
		"{\"file\": \"socket: /a\\ntokens: [{name: ci, file: /f}]\\n\","
		" \"options\": {\"socket\": \"/b\", \"journal\": {\"dir\": \"/j\"}},"
		" \"tokens\": [{\"name\": \"ci\", \"token\": \"" SECRET "\"},"
		"  {\"name\": \"start\", \"token\": \"x" SECRET "\"}],"
		" \"tls\": {\"certificate\": \"C\", \"key\": \"K\"},"
		" \"listeners\": [{\"fd\": 10, \"kind\": \"unix\"}, {\"fd\": 11, \"kind\": \"tcp\","
		"  \"tls\": true, \"host\": \"127.0.0.1:5000\"}]}";
	static const char *const bad[] = {
		"",
		"[]",
		"{\"more\": 1}",
		"{\"file\": \"x: 1\"}",
		"{\"options\": {\"sockt\": \"/b\"}}",
		"{\"tokens\": [{\"name\": \"a\", \"token\": \"short\"}]}",
		"{\"tokens\": [{\"name\": \"a\", \"token\": \"" SECRET " \"}]}",
		"{\"file\": \"tokens: [{name: ci, file: /f}]\"}",
		"{\"listeners\": [{\"fd\": 3, \"kind\": \"unix\"}]}",
		"{\"listeners\": [{\"fd\": 42, \"kind\": \"unix\"}]}",
		"{\"listeners\": [{\"fd\": 10, \"kind\": \"door\"}]}",
		"{\"listeners\": [{\"fd\": 10, \"kind\": \"pipe\"}]}",
		"{\"tls\": {\"certificate\": \"C\"}}",
	};
	struct config c = { 0 };
	struct sbx_err err = { 0 };

	(void)state;
	if (from(good, &c, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(c.set);
	assert_string_equal(c.socket, "/b");
	assert_int_equal(c.token_count, 2);
	assert_string_equal(c.tokens[0].secret, SECRET);
	assert_false(c.tokens[0].owner);
	assert_true(c.tokens[1].owner);
	assert_int_equal(c.listener_count, 2);
	assert_true(c.listeners[1].tls);
	assert_string_equal(c.key, "K");
	config_clear(&c);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&err, 0, sizeof(err));
		if (from(bad[i], &c, &err) == 0)
			fail_msg("taken: %s", bad[i]);
		assert_null(strstr(err.msg, SECRET));
		assert_false(c.set);
	}
}

static void test_restart(void **state)
{
	struct config a, b;
	char *keys;

	(void)state;
	config_init(&a);
	config_init(&b);
	keys = config_restart_keys(&a, &b);
	assert_string_equal(keys, "");
	free(keys);
	assert_int_equal(set(&b,
			     "listen: [\"127.0.0.1:1\"]\njournal: {keep_days: 1}\n"
			     "redact: [abcd]\nceilings: {max_processes: 99}\n"
			     "doors: [{name: e2b, address: \"127.0.0.1:2\"}]\n",
			     NULL),
			 0);
	keys = config_restart_keys(&a, &b);
	assert_string_equal(keys, "listen, journal.keep_days, doors");
	free(keys);
	config_clear(&a);
	config_clear(&b);
}

static void test_looks_like(void **state)
{
	static const struct {
		const char *text;
		bool config;
	} cases[] = { { "{\"max_memory_mb\": 1}", false },
		      { "{\"preset\": \"data\"}", false },
		      { "{\"listen\": []}", true },
		      { "{\"journal\": {}}", true },
		      { "{\"bogus\": 1, \"ceilings\": {}}", true },
		      { "{\"bogus\": 1}", false },
		      { "{}", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *object = json_loads(cases[i].text, 0, NULL);

		assert_int_equal(config_looks_like(object), cases[i].config);
		json_decref(object);
	}
}

static void test_plan(void **state)
{
	struct config c;
	json_t *plan;

	(void)state;
	config_init(&c);
	assert_int_equal(
		set(&c,
		    "templates: {a: {python: /p}}\ntokens: [{name: t, file: /f}]\n"
		    "grantable_directories: [/d]\n",
		    NULL),
		0);
	plan = config_plan(&c);
	assert_non_null(plan);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(plan, "pythons"), 0)),
		"/p");
	assert_int_equal(json_array_size(json_object_get(plan, "tokens")), 1);
	assert_int_equal(json_array_size(json_object_get(plan, "grantable")), 1);
	json_decref(plan);
	config_clear(&c);
}

/* ---- the documents ---- */

static void same(const char *path, const char *text)
{
	_cleanup_free_ char *there = NULL;
	size_t len = 0;

	if (getenv("CONFIG_DOC_WRITE")) {
		FILE *file = fopen(path, "w");

		assert_non_null(file);
		assert_true(fputs(text, file) >= 0);
		assert_int_equal(fclose(file), 0);
	}
	/* A copy of the tests alone has no documents. */
	if (access(path, F_OK) < 0)
		return;
	assert_int_equal(fd_read_file(AT_FDCWD, path, 1u << 20, &there, &len), 0);
	if (strcmp(there, text) != 0)
		fail_msg("%s is out of date: run this test with CONFIG_DOC_WRITE=1",
			 path);
}

static void test_documents(void **state)
{
	_cleanup_free_ char *markdown = NULL, *yaml = NULL;
	struct config c;

	(void)state;
	assert_int_equal(config_to_markdown(&markdown), 0);
	same(SBX_SOURCE_ROOT "/docs/configuration.md", markdown);
	assert_int_equal(config_to_yaml(&yaml), 0);
	same(SBX_SOURCE_ROOT "/deploy/sandbox.yaml", yaml);
	for (size_t i = 0; i < config_field_count; i++) {
		assert_non_null(strstr(markdown, config_fields[i].name));
		assert_true(strlen(config_fields[i].meaning) > 10);
		assert_true(strlen(config_fields[i].meaning_zh) > 6);
	}
	config_init(&c);
	assert_int_equal(set(&c, yaml, NULL), 0);
	config_clear(&c);
}

/* What the commented file shows is a configuration once the "#" are gone. */
static void test_the_examples_hold(void **state)
{
	_cleanup_free_ char *yaml = NULL, *live = calloc(1, 65536);
	struct config c;
	struct sbx_err err = { 0 };
	char *line, *save = NULL;

	(void)state;
	assert_non_null(live);
	assert_int_equal(config_to_yaml(&yaml), 0);
	for (line = strtok_r(yaml, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		/* "# word" is prose; "#key:" and "#  key:" are not. */
		if (strncmp(line, "# ", 2) == 0 && line[2] != ' ')
			continue;
		if (strncmp(line, "  #", 3) == 0)
			continue;
		strcat(live, *line == '#' ? line + 1 : line);
		strcat(live, "\n");
	}
	config_init(&c);
	if (set(&c, live, &err) < 0)
		fail_msg("%s in:\n%s", err.msg, live);
	if (config_check(&c, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(c.token_count, 1);
	assert_int_equal(c.template_count, 1);
	assert_int_equal(c.door_count, 1);
	config_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_every_number_is_bounded),
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_looks_like),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_the_examples_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
