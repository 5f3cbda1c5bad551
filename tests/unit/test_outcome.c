/* SPDX-License-Identifier: MIT
 * The verdict table: from facts to a status. And texts and reports of programs, which are
 * hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/jsontext.h"
#include "engine/events.h"
#include "engine/outcome.h"
#include "engine/result.h"

#define EXITED(code) ((code) << 8)
#define DIED(sig) (sig)

static struct sbx_policy policy;

static int begin(void **state)
{
	(void)state;
	policy_init(&policy);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	policy_clear(&policy);
	return 0;
}

static const struct {
	const char *what;
	struct outcome_facts facts;
	const char *done; /* NULL: none came */
	enum sbx_status status;
	const char *error; /* its name, NULL: none */
} table[] = {
	{ "ok", { .exited = true }, "{\"outcome\":\"ok\"}", SBX_OK, NULL },
	{ "says ok, exits 7",
	  { .exited = true, .wait_status = EXITED(7) },
	  "{\"outcome\":\"ok\"}",
	  SBX_ERROR,
	  "SystemExit" },
	{ "says ok, dies",
	  { .exited = true, .wait_status = DIED(11) },
	  "{\"outcome\":\"ok\"}",
	  SBX_ERROR,
	  "Signal" },
	{ "says nothing, exits 0", { .exited = true }, NULL, SBX_OK, NULL },
	{ "says nothing, exits 3",
	  { .exited = true, .wait_status = EXITED(3) },
	  NULL,
	  SBX_ERROR,
	  "SystemExit" },
	{ "nobody saw its end",
	  { .exited = false },
	  "{\"outcome\":\"ok\"}",
	  SBX_FAULT,
	  "InternalError" },
	{ "raised",
	  { .exited = true, .wait_status = EXITED(1) },
	  "{\"outcome\":\"error\",\"error\":{\"name\":\"ValueError\"}}",
	  SBX_ERROR,
	  "ValueError" },
	{ "raised, unnamed",
	  { .exited = true, .wait_status = EXITED(1) },
	  "{\"outcome\":\"error\"}",
	  SBX_ERROR,
	  "Error" },
	{ "raised, malformed",
	  { .exited = true, .wait_status = EXITED(1) },
	  "{\"outcome\":\"error\",\"error\":[1],\"cause\":7}",
	  SBX_ERROR,
	  "Error" },
	{ "exit 0 of os._exit after an OOM kill of a child",
	  { .exited = true, .oom_kills = 1 },
	  "{\"outcome\":\"ok\"}",
	  SBX_MEMORY,
	  "MemoryLimit" },
	{ "a claim of memory without evidence",
	  { .exited = true, .wait_status = EXITED(1), .memory_peak_bytes = 1 << 20 },
	  "{\"outcome\":\"error\",\"cause\":\"memory\",\"error\":{\"name\":\"MemoryError\"}}",
	  SBX_ERROR,
	  "MemoryError" },
	{ "a claim of memory near the limit",
	  { .exited = true, .wait_status = EXITED(1), .memory_peak_bytes = 90u << 20 },
	  "{\"outcome\":\"error\",\"cause\":\"memory\",\"error\":{\"name\":\"MemoryError\"}}",
	  SBX_MEMORY,
	  "MemoryError" },
	{ "a claim of a denial without an event",
	  { .exited = true, .wait_status = EXITED(1) },
	  "{\"outcome\":\"error\",\"cause\":\"denied\",\"error\":{\"name\":\"PermissionError\"}}",
	  SBX_ERROR,
	  "PermissionError" },
	{ "a denial",
	  { .exited = true, .wait_status = EXITED(1), .denials = 1 },
	  "{\"outcome\":\"error\",\"cause\":\"denied\",\"error\":{\"name\":\"PermissionError\"}}",
	  SBX_DENIED,
	  "PermissionError" },
	{ "processes",
	  { .exited = true, .wait_status = EXITED(1), .processes_refused = 1 },
	  "{\"outcome\":\"error\",\"cause\":\"processes\",\"error\":{\"name\":\"BlockingIOError\"}}",
	  SBX_PROCESSES,
	  "BlockingIOError" },
	{ "a claim of processes",
	  { .exited = true, .wait_status = EXITED(1), .processes_peak = 2 },
	  "{\"outcome\":\"error\",\"cause\":\"processes\",\"error\":{\"name\":\"BlockingIOError\"}}",
	  SBX_ERROR,
	  "BlockingIOError" },
	{ "disk",
	  { .exited = true, .wait_status = EXITED(1), .disk_used_bytes = 63u << 20 },
	  "{\"outcome\":\"error\",\"cause\":\"disk\",\"error\":{\"name\":\"OSError\"}}",
	  SBX_DISK,
	  "OSError" },
	{ "a claim of disk",
	  { .exited = true, .wait_status = EXITED(1) },
	  "{\"outcome\":\"error\",\"cause\":\"disk\",\"error\":{\"name\":\"OSError\"}}",
	  SBX_ERROR,
	  "OSError" },
	{ "timeout wins over what the program says",
	  { .exited = true, .stop = STOP_TIMEOUT },
	  "{\"outcome\":\"ok\"}",
	  SBX_TIMEOUT,
	  "TimeLimit" },
	{ "cancelled", { .stop = STOP_CANCELLED }, NULL, SBX_KILLED, "Killed" },
	{ "cpu", { .stop = STOP_CPU }, NULL, SBX_CPU, "CpuLimit" },
	{ "output", { .stop = STOP_OUTPUT }, NULL, SBX_OUTPUT, "OutputLimit" },
	{ "fault",
	  { .stop = STOP_FAULT, .fault = { .stage = SBX_AT_WALL, .msg = "gone" } },
	  NULL,
	  SBX_FAULT,
	  "WallMissing" },
};

static void verdicts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct outcome_facts facts = table[i].facts;
		json_t *done = table[i].done ? json_loads(table[i].done, 0, NULL) : NULL,
		       *error = NULL;
		enum sbx_status status;
		const char *name;

		facts.policy = &policy;
		facts.done = done;
		status = outcome_status(&facts, &error);
		name = json_string_value(json_object_get(error, "name"));
		if (status != table[i].status)
			fail_msg("%s: %s", table[i].what, sbx_status_name(status));
		if (table[i].error)
			assert_string_equal(name, table[i].error);
		else
			assert_true(json_is_null(error));
		json_decref(error);
		json_decref(done);
	}
}

static void assert_text(const char *in, size_t len, const char *out)
{
	json_t *text = outcome_text(in, len);

	assert_non_null(text);
	assert_string_equal(json_string_value(text), out);
	json_decref(text);
}

static void texts(void **state)
{
	(void)state;
#define TEXT(in, out) assert_text(in, sizeof(in) - 1, out)
	TEXT("", "");
	TEXT("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d",
	     "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x8d");
	TEXT("\xff", "\xef\xbf\xbd");
	TEXT("\xc3", "\xef\xbf\xbd");
	TEXT("\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd");                 /* overlong NUL */
	TEXT("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* a surrogate */
	TEXT("\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	TEXT("\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd");
}

static void reports(void **state)
{
	const char *why = NULL;
	char *big = malloc(9000002);
	json_t *done;

	(void)state;
	done = outcome_parse("{\"outcome\":\"ok\"}", 16, &why);
	assert_non_null(done);
	json_decref(done);
	assert_null(outcome_parse("[1]", 3, &why));
	assert_null(outcome_parse("", 0, &why));
	assert_null(outcome_parse("{\"a\":1,\"a\":2}", 13, &why));
	assert_null(outcome_parse("{\"a\":1} x", 9, &why));
	assert_null(outcome_parse("{\"a\":\"\xff\"}", 9, &why));
	assert_non_null(big);
	memset(big, '[', 300);
	assert_null(outcome_parse(big, 300, &why));
	big[0] = '[';
	for (size_t i = 1; i < 9000000; i += 2)
		memcpy(big + i, "1,", 2);
	assert_null(outcome_parse(big, 9000000, &why));
	/* commas in a text cost nothing */
	memset(big, ',', 9000000);
	memcpy(big, "{\"result\":\"", 11);
	memcpy(big + 9000000, "\"}", 2);
	done = outcome_parse(big, 9000002, &why);
	assert_non_null(done);
	json_decref(done);
	free(big);
}

static const json_t *claim(struct events *events, const char *text)
{
	return events_add_claim(events, 3, text, strlen(text));
}

static void event_lists(void **state)
{
	struct events events = { 0 };
	struct event event = { .source = "kernel",
			       .kind = "ptrace",
			       .rule = "always",
			       .subject = "ptrace" };
	char subject[64];
	size_t last;
	json_t *list;

	(void)state;
	assert_non_null(events_add(&events, 1, &event));
	assert_null(events_add(&events, 2, &event));
	/* a program cannot speak for the kernel, nor invent a limit */
	assert_non_null(
		claim(&events,
		      "{\"kind\":\"ptrace\",\"rule\":\"always\",\"source\":\"kernel\"}"));
	assert_null(claim(&events, "{\"kind\":\"limit\",\"rule\":\"max_memory_mb\"}"));
	assert_null(claim(&events, "{\"kind\":\"A\\nB\",\"rule\":\"x\"}"));
	assert_null(claim(&events, "garbage"));
	/* neither claims nor one kind crowd out what else the kernel saw */
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(subject, sizeof(subject),
			       "{\"kind\":\"import\",\"rule\":\"x%c%c\"}",
			       'a' + i / 26 % 26, 'a' + i % 26);
		(void)claim(&events, subject);
		(void)snprintf(subject, sizeof(subject), "%d", i);
		event.subject = subject;
		(void)events_add(&events, 4, &event);
	}
	event.kind = "mount";
	assert_non_null(events_add(&events, 5, &event));
	list = events_list(&events);
	assert_in_range(json_array_size(list), 30, EVENTS_MAX + 1);
	last = json_array_size(list) - 1;
	assert_int_equal(
		json_integer_value(json_object_get(json_array_get(list, 0), "count")), 2);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(list, 1), "source")),
		"python");
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(list, last), "kind")),
		"more");
	json_decref(list);
	events_free(&events);
}

static void changes(void **state)
{
	static const struct {
		const char *kind, *rule, *item, *change; /* NULL: none */
	} cases[] = {
		{ "import", "allowed_modules", "numpy",
		  "{\"field\":\"allowed_modules\",\"add\":\"numpy\"}" },
		{ "import", "allowed_modules", "*", NULL },
		{ "import", "allowed_modules", "a b", NULL },
		{ "import", "allowed_modules", "", NULL },
		{ "import", "allowed_modules", NULL, NULL },
		{ "import", "allow_imports", "x",
		  "{\"field\":\"allow_imports\",\"set\":true}" },
		{ "exec", "allow_subprocess", NULL,
		  "{\"field\":\"allow_subprocess\",\"set\":true}" },
		{ "connect", "allowed_hosts", "example.org:443",
		  "{\"field\":\"allowed_hosts\",\"add\":\"example.org:443\"}" },
		{ "connect", "allowed_hosts", "*", NULL },
		{ "connect", "allowed_hosts", "example.org:443 (192.0.2.1)", NULL },
		{ "open", "allowed_directories", "/data/in/x.csv",
		  "{\"field\":\"allowed_directories\",\"add\":\"/data/in:ro\"}" },
		{ "write", "allowed_directories", "/data/x",
		  "{\"field\":\"allowed_directories\",\"add\":\"/data:rw\"}" },
		{ "open", "allowed_directories", "/x", NULL },
		{ "open", "allowed_directories", "x/y", NULL },
		{ "x", "max_memory_mb", "1", NULL },
		{ "x", "degraded", "allow", NULL },
		{ "x", "python", "/bin/sh", NULL },
		{ "x", "environment", "A=1", NULL },
		{ "ptrace", "always", "ptrace", NULL },
		{ "x", "check_interval", "1", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *change = events_change(cases[i].kind, cases[i].rule,
					       cases[i].item);
		json_t *expected = cases[i].change ? json_loads(cases[i].change, 0, NULL)
						   : NULL;

		assert_true(expected ? json_equal(change, expected) : !change);
		json_decref(change);
		json_decref(expected);
	}
}

/* The line that the interpreter claims is the kernel's latest denial's, and labelled. */
static void claimed_lines(void **state)
{
	struct events events = { 0 };
	struct event event = { .source = "kernel", .kind = "exec", .rule = "always" };
	json_t *list;

	(void)state;
	events_claim_line(&events, 3); /* nothing to have it */
	event.subject = "a";
	(void)events_add(&events, 1, &event);
	event.subject = "b";
	(void)events_add(&events, 2, &event);
	event.subject = "a";
	(void)events_add(&events, 3, &event); /* once more */
	assert_non_null(claim(&events, "{\"kind\":\"import\",\"rule\":\"x\"}"));
	events_claim_line(&events, -1);
	events_claim_line(&events, 7);
	events_claim_line(&events, 8);
	list = events_list(&events);
	for (size_t i = 0; i < 3; i++) {
		json_t *one = json_array_get(list, i);

		assert_int_equal(json_integer_value(json_object_get(one, "line")),
				 i == 0 ? 7 : 0);
		assert_true(json_is_string(json_object_get(one, "line_source")) ==
			    (i == 0));
	}
	json_decref(list);
	events_free(&events);
}

static void numbers(void **state)
{
	static const char *const same[] = { "0.1",
					    "1.0",
					    "-0.0",
					    "1e+300",
					    "123456789012345680.0",
					    "[1,2.5,{\"a\":null}]",
					    "\"\\u0001\"",
					    "5e-324",
					    "{}" };

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		json_t *value = json_loads(same[i], JSON_DECODE_ANY, NULL), *back;
		char *text = jsontext(value, NULL);

		assert_non_null(text);
		back = json_loads(text, JSON_DECODE_ANY, NULL);
		assert_true(json_equal(value, back));
		if (i < 4)
			assert_string_equal(text, same[i]);
		free(text);
		json_decref(back);
		json_decref(value);
	}
}

/* INV-2: a wall that the policy let be missing is named. */
static void enforced_names_what_is_missing(void **state)
{
	static const struct {
		unsigned walls;
		const char *isolation;
	} cases[] = {
		{ WALL_ALL, "namespaces" },
		{ WALL_ALL & ~WALL_TIME, "namespaces, without: time" },
		{ WALL_PID,
		  "namespaces, without: user, mount, network, ipc, uts, cgroup, time, "
		  "/proc" },
		{ WALL_ALL & ~WALL_PID, "none" },
	};
	const struct outcome_facts facts = { .policy = &policy, .exited = true };
	const struct meter_usage usage = { 0 };
	struct events events = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct result_parts parts = { .id = "x",
						    .facts = &facts,
						    .usage = &usage,
						    .events = &events,
						    .walls = cases[i].walls,
						    .limits = "cgroup2" };
		json_t *result = result_make(&parts);

		assert_string_equal(
			json_string_value(json_object_get(
				json_object_get(result, "enforced"), "isolation")),
			cases[i].isolation);
		json_decref(result);
	}
	events_free(&events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(verdicts, begin, finish),
		cmocka_unit_test(texts),
		cmocka_unit_test(reports),
		cmocka_unit_test(event_lists),
		cmocka_unit_test(changes),
		cmocka_unit_test(claimed_lines),
		cmocka_unit_test(numbers),
		cmocka_unit_test_setup_teardown(enforced_names_what_is_missing, begin,
						finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
