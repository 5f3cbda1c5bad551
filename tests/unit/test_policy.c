/* SPDX-License-Identifier: MIT
 * Purpose: the policy's fields: defaults, presets, round trips, every kind of bad value
 *   with its message, names, text. POLICY_DOC_WRITE=1 in the environment writes
 *   docs/policy.md before comparing it.
 * Process: one unprivileged test process; reads docs/policy.md of the checkout, found by
 *   SBX_SOURCE_ROOT (macro or variable) or by this file's own name. */
#include <fcntl.h>
#include <math.h>

#include "base/fd.h"
#include "policy_help.h"

/* ---- defaults and presets ---- */

static void test_defaults(void **state)
{
	struct sbx_policy policy = fresh();
	struct sbx_err err;
	char *text = dump(&policy);

	(void)state;
	assert_string_equal(
		text,
		"{\"max_memory_mb\":100,\"max_cpu_percent\":50,\"max_cpu_time\":0,"
		"\"max_execution_time\":5,\"max_processes\":32,\"max_output_bytes\":1048576,"
		"\"max_disk_mb\":64,\"max_open_files\":256,\"allow_file_operations\":false,"
		"\"allowed_directories\":[],\"network_access\":false,\"allowed_hosts\":[\"*\"],"
		"\"allow_imports\":true,\"allowed_modules\":[\"math\",\"random\"],"
		"\"allow_subprocess\":false,\"preload\":[],\"python\":\"\",\"environment\":{},"
		"\"degraded\":\"refuse\"}");
	free(text);
	assert_int_equal(policy_check(&policy, &err), 0);
	policy_clear(&policy);
	policy_clear(&policy); /* takes a cleared one */
}

static void test_table(void **state)
{
	size_t covered = 0, previous = 0;

	(void)state;
	for (size_t i = 0; i < policy_field_count; i++) {
		const struct policy_field *field = &policy_fields[i];

		assert_non_null(field->unit);
		assert_true(strlen(field->meaning) > 10 &&
			    strlen(field->meaning_zh) > 10);
		assert_true(strlen(field->name) < sizeof(((struct sbx_err *)0)->field));
		assert_ptr_equal(policy_field_find(field->name), field);
		assert_true(field->min <= field->max);
		if (field->ignored)
			continue;
		assert_true(covered == 0 || field->offset > previous);
		previous = field->offset;
		covered++;
		if (field->type == POLICY_LIST || field->type == POLICY_MAP)
			assert_non_null(field->check);
		if (field->type == POLICY_CHOICE)
			assert_non_null(field->choices);
	}
	assert_int_equal(covered, 19);
	assert_null(policy_field_find("preset"));
}

static void test_presets(void **state)
{
	struct sbx_policy policy = fresh(), defaults = fresh();
	struct sbx_err err = { 0 };

	(void)state;
	assert_int_equal(policy_set_text(&policy, "max_memory_mb", "7", &err), 0);
	assert_int_equal(policy_preset(&policy, "strict", &err), 0);
	assert_same(&policy, &defaults);
	assert_int_equal(policy_preset(&policy, "data", &err), 0);
	assert_int_equal(policy_check(&policy, &err), 0);
	assert_int_equal(policy.max_memory_mb, 1024);
	assert_true(policy.max_cpu_percent == 100 && policy.max_execution_time == 60);
	assert_true(policy.allow_file_operations && !policy.network_access &&
		    !policy.allow_subprocess);
	assert_true(policy_module_allowed(&policy, "anything.at.all"));
	assert_int_equal(policy.preload.count, 4);
	assert_string_equal(policy.preload.items[3], "matplotlib.pyplot?");
	assert_int_equal(policy_preset(&policy, "open", &err), 0);
	assert_true(policy.network_access && policy.allow_subprocess &&
		    policy.allow_file_operations);
	assert_int_equal(policy_preset(&policy, "lax", &err), -ENOENT);
	assert_int_equal(err.stage, SBX_AT_POLICY);
	has(err.msg, "preset: expected \"strict\", \"data\" or \"open\", got \"lax\"");
	assert_true(policy.network_access);
	for (size_t i = 0; i < 3; i++)
		assert_true(policy_preset_name(i) && policy_preset_meaning(i) &&
			    policy_preset_meaning_zh(i));
	assert_null(policy_preset_name(3));
	assert_null(policy_preset_meaning(3));
	policy_clear(&policy);
	policy_clear(&defaults);
}

/* ---- round trips ---- */

static const char every[] =
	"{\"max_memory_mb\":1048576,\"max_cpu_percent\":0.0,\"max_cpu_time\":0.1,"
	"\"max_execution_time\":0.3,\"max_processes\":1,\"max_output_bytes\":1,"
	"\"max_disk_mb\":3,\"max_open_files\":16,\"allow_file_operations\":true,"
	"\"allowed_directories\":[\"rel/dir\",\"/a b:ro\",\"\xe6\x95\xb0\xe6\x8d\xae:rw\"],\"network_access\":true,"
	"\"allowed_hosts\":[\"a.example\",\"*.b.example:443\",\"10.0.0.0/8\",\"[::1]:80\"],"
	"\"allow_imports\":false,\"allowed_modules\":[\"\xce\xbb_1\",\"*\"],"
	"\"allow_subprocess\":true,\"preload\":[\"os.path\",\"numpy?\"],\"python\":\"/opt/py/bin/python3\","
	"\"environment\":{\"A\":\"\",\"A0\":\"x=y\",\"B\":\"\\\"q\\\\ \\u0001\\u007f\xc2\x85\xe2\x80\xa8\xe2\x80\xae\\n"
	"\xf0\x9f\x98\x80\",\"_\":\"z\"},\"degraded\":\"allow\"}";

static void test_round_trip(void **state)
{
	struct sbx_policy policy = fresh(), again = fresh(), copy;
	struct sbx_err err = { 0 };
	char *json = strdup(every), *text, *at;
	json_t *object;

	(void)state;
	at = strstr(json, "0.0,");
	memcpy(at, "1.5,", 4);
	if (document(&policy, json, &err) < 0 || policy_check(&policy, &err) < 0)
		fail_msg("%s", err.msg);
	/* each field one by one */
	object = policy_to_json(&policy);
	for (size_t i = 0; i < policy_field_count; i++)
		if (!policy_fields[i].ignored)
			assert_int_equal(
				policy_set_json(
					&again, policy_fields[i].name,
					json_object_get(object, policy_fields[i].name),
					&err),
				0);
	assert_same(&policy, &again);
	json_decref(object);
	policy_clear(&again);

	assert_int_equal(policy_to_yaml(&policy, &text), 0);
	has(text, "# Wall time for one execution");
	has(text, "max_execution_time: 0.3 # s\n");
	again = fresh();
	if (document(&again, text, &err) < 0)
		fail_msg("%s\n%s", err.msg, text);
	assert_same(&policy, &again);
	free(text);

	assert_int_equal(policy_copy(&copy, &again), 0);
	policy_clear(&again);
	assert_same(&policy, &copy);
	policy_clear(&copy);
	policy_clear(&policy);
	free(json);
}

static void test_redacted(void **state)
{
	struct sbx_policy policy = fresh();
	json_t *json;
	char *text;

	(void)state;
	assert_int_equal(document(&policy, "environment: {TOKEN: hunter2, B: ''}", NULL),
			 0);
	json = policy_to_json_redacted(&policy);
	text = json_dumps(json, JSON_COMPACT);
	has(text, "\"environment\":{\"B\":\"***\",\"TOKEN\":\"***\"}");
	assert_null(strstr(text, "hunter2"));
	free(text);
	json_decref(json);
	policy_clear(&policy);
}

/* ---- values ---- */

static void test_bad_values(void **state)
{
	static const struct {
		const char *json, *field, *msg;
	} bad[] = {
		{ "-5", "max_memory_mb",
		  "max_memory_mb: expected a whole number from 1 to 1048576 (MiB), got -5" },
		{ "0", "max_memory_mb", "got 0" },
		{ "1048577", "max_memory_mb", "got 1048577" },
		{ "1.5", "max_memory_mb",
		  "expected a whole number from 1 to 1048576 (MiB), got 1.5" },
		{ "9223372036854775807", "max_memory_mb", "got 9223372036854775807" },
		{ "-9223372036854775808", "max_memory_mb", "got -9223372036854775808" },
		{ "1e300", "max_memory_mb", "got 1e+300" },
		{ "\"100\"", "max_memory_mb",
		  "expected a whole number from 1 to 1048576 (MiB), got \"100\"" },
		{ "true", "max_memory_mb", "got true" },
		{ "null", "max_memory_mb", "got null" },
		{ "[1]", "max_memory_mb", "got a list" },
		{ "{}", "max_memory_mb", "got a mapping" },
		{ "0.5", "max_cpu_percent",
		  "max_cpu_percent: expected a number from 1 to 102400 (%), got 0.5" },
		{ "102401", "max_cpu_percent", "got 102401" },
		{ "-1", "max_cpu_time",
		  "max_cpu_time: expected 0 (none) or a number from 0.001 to 604800 (s), got -1" },
		{ "0.0001", "max_cpu_time", "got 0.0001" },
		{ "0", "max_execution_time",
		  "max_execution_time: expected a number from 0.001 to 604800 (s), got 0" },
		{ "604801", "max_execution_time", "got 604801" },
		{ "0", "max_processes",
		  "max_processes: expected a whole number from 1 to 4194304, got 0" },
		{ "0", "max_output_bytes", "from 1 to 33554432 (bytes), got 0" },
		{ "33554433", "max_output_bytes", "got 33554433" },
		{ "0", "max_disk_mb", "got 0" },
		{ "15", "max_open_files", "from 16 to 1048576, got 15" },
		{ "\"yes\"", "network_access",
		  "network_access: expected true or false, got \"yes\"" },
		{ "1", "allow_imports", "allow_imports: expected true or false, got 1" },
		{ "\"math\"", "allowed_modules",
		  "allowed_modules: expected a list, got \"math\"" },
		{ "[\"math\", 5]", "allowed_modules",
		  "expected a list of text, got 5 at item 2" },
		{ "[\"\"]", "allowed_modules",
		  "expected the name of a module, or \"*\", got \"\"" },
		{ "[\"a-b\"]", "allowed_modules", "got \"a-b\"" },
		{ "[\"a..b\"]", "allowed_modules", "got \"a..b\"" },
		{ "[\".a\"]", "allowed_modules", "got \".a\"" },
		{ "[\"a.\"]", "allowed_modules", "got \"a.\"" },
		{ "[\"1a\"]", "allowed_modules", "got \"1a\"" },
		{ "[\"a?\"]", "allowed_modules", "got \"a?\"" },
		{ "[\"*.x\"]", "allowed_modules", "got \"*.x\"" },
		{ "[\"a\\u202eb\"]", "allowed_modules", "got \"a\\u202eb\"" },
		{ "[\"*\"]", "preload", "preload: expected the name of a module" },
		{ "[\"?\"]", "preload", "got \"?\"" },
		{ "[\"a??\"]", "preload", "got \"a??\"" },
		{ "5", "python", "python: expected text, got 5" },
		{ "\"python3\"", "python",
		  "python: expected the absolute path of an interpreter" },
		{ "\"/usr/../bin/python\"", "python",
		  "python: expected a path without \"..\"" },
		{ "\"/a\\nb\"", "python", "got \"/a\\nb\"" },
		{ "\"maybe\"", "degraded",
		  "degraded: expected \"refuse\" or \"allow\", got \"maybe\"" },
		{ "true", "degraded", "got true" },
		{ "[]", "environment",
		  "environment: expected a mapping of text to text, got a list" },
		{ "{\"A\": 1}", "environment",
		  "environment: A: expected text, got a number (put it in quotes)" },
		{ "{\"A\": null}", "environment",
		  "environment: A: expected text, got null" },
		{ "{\"1A\": \"\"}", "environment",
		  "names of letters, digits and \"_\", at most 255, got \"1A\"" },
		{ "{\"\": \"\"}", "environment", "got \"\"" },
		{ "{\"A B\": \"\"}", "environment", "got \"A B\"" },
		{ "{\"A=B\": \"\"}", "environment", "got \"A=B\"" },
		{ "{\"\xc3\xa4\": \"\"}", "environment", "got \"\xc3\xa4\"" },
		{ "{\"LD_PRELOAD\": \"/x\"}", "environment",
		  "LD_PRELOAD is the dynamic loader's" },
		{ "{\"GLIBC_TUNABLES\": \"x\"}", "environment",
		  "GLIBC_TUNABLES is the dynamic loader's" },
		{ "\"x\"", "check_interval", "check_interval: expected a number" },
		{ "-1", "check_interval", "check_interval: expected a number" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sbx_policy policy = fresh(), defaults = fresh();
		json_t *value = json_loads(bad[i].json, JSON_DECODE_ANY, NULL);
		struct sbx_err err = { 0 };

		assert_non_null(value);
		if (policy_set_json(&policy, bad[i].field, value, &err) != -EINVAL)
			fail_msg("accepted: %s = %s", bad[i].field, bad[i].json);
		assert_int_equal(err.stage, SBX_AT_POLICY);
		assert_string_equal(err.field, bad[i].field);
		has(err.msg, bad[i].msg);
		has(err.msg, bad[i].field);
		assert_same(&policy, &defaults);
		assert_int_equal(policy_set_json(&policy, bad[i].field, value, NULL),
				 -EINVAL);
		json_decref(value);
		policy_clear(&policy);
		policy_clear(&defaults);
	}
}

static void test_good_values(void **state)
{
	struct sbx_policy policy = fresh();
	struct sbx_err err = { 0 };

	(void)state;
	accepted("{\"max_memory_mb\": 100.0}");
	accepted("{\"max_memory_mb\": 1e3}");
	accepted("{\"max_cpu_percent\": 102400}");
	accepted("{\"max_execution_time\": 0.001}");
	accepted("{\"check_interval\": 0.1}");
	accepted(
		"{\"allowed_modules\": [\"os.path\", \"_x1\", \"\xe6\xa8\xa1\xe5\x9d\x97\"]}");
	accepted("{\"allowed_hosts\": []}");
	accepted("{\"environment\": {\"PYTHONWARNINGS\": \"ignore\"}}");
	accepted("{\"environment\": {\"LDAP\": \"x\", \"_LD_\": \"\"}}");
	assert_int_equal(policy_set_text(&policy, "max_cpu_time", "-0.0", &err), 0);
	assert_false(signbit(policy.max_cpu_time));
	policy_clear(&policy);
}

/* Long and many: bounded, with a message. */
static void test_sizes(void **state)
{
	struct sbx_policy policy = fresh();
	json_t *list = json_array(), *map = json_object();
	struct sbx_err err = { 0 };
	char *text = malloc(200001), key[32];

	(void)state;
	for (int i = 0; i < 65; i++)
		json_array_append_new(list, json_sprintf("d%d", i));
	assert_int_equal(policy_set_json(&policy, "allowed_directories", list, &err),
			 -EINVAL);
	has(err.msg, "allowed_directories: expected at most 64 items, got 65");
	json_array_clear(list);

	memset(text, 'a', 200000);
	text[200000] = '\0';
	json_array_append_new(list, json_string(text));
	assert_int_equal(policy_set_json(&policy, "allowed_directories", list, &err),
			 -EINVAL);
	has(err.msg, "expected text of at most 131072 bytes, got 200000");
	assert_int_equal(policy_set_text(&policy, "python", text, &err), -EINVAL);
	text[5000] = '\0';
	assert_int_equal(policy_set_text(&policy, "allowed_directories", text, &err),
			 -EINVAL);
	has(err.msg, "a path of at most 4095 bytes, got \"aaaa");
	has(err.msg, "...\"");
	assert_true(strlen(err.msg) < 200);
	assert_int_equal(policy_set_text(&policy, "allowed_hosts", text, &err), -EINVAL);
	assert_int_equal(policy_set_text(&policy, "allowed_modules", text, &err),
			 -EINVAL);
	text[0] = '/';
	assert_int_equal(policy_set_text(&policy, "python", text, &err), -EINVAL);
	has(err.msg, "python: expected text of at most 1023 bytes, got 5000");
	memset(text, 'a', 200000);
	text[131071] = '\0';
	json_object_set_new(map, "A", json_string(text));
	assert_int_equal(policy_set_json(&policy, "environment", map, &err), -EINVAL);
	has(err.msg, "environment: A: expected at most 131071 bytes");
	json_object_clear(map);

	text[130000] = '\0';
	for (int i = 0; i < 9; i++) {
		snprintf(key, sizeof(key), "K%d", i);
		json_object_set_new(map, key, json_string(text));
	}
	assert_int_equal(policy_set_json(&policy, "environment", map, &err), 0);
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	has(err.msg, "environment: expected at most 1048576 bytes together");
	assert_int_equal(policy_set_text(&policy, "environment", "", &err), 0);

	json_array_clear(list);
	text[200] = '\0';
	for (int i = 0; i < 20; i++)
		json_array_append_new(list, json_string(text));
	assert_int_equal(policy_set_json(&policy, "preload", list, &err), 0);
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	has(err.msg, "preload: expected at most 3072 bytes");
	json_decref(list);
	json_decref(map);
	free(text);
	policy_clear(&policy);
}

/* A struct that was filled by hand. */
static void test_check(void **state)
{
	struct sbx_policy policy = fresh();
	struct sbx_err err = { 0 };

	(void)state;
	policy.max_execution_time = NAN;
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	has(err.msg,
	    "max_execution_time: expected a number from 0.001 to 604800 (s), got");
	policy.max_execution_time = INFINITY;
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	policy.max_execution_time = 1;
	policy.max_cpu_time = -INFINITY;
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	policy.max_cpu_time = 0;
	policy.max_memory_mb = INT64_MIN;
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	policy.max_memory_mb = 1;
	policy.degraded = 2;
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	assert_string_equal(err.field, "degraded");
	policy.degraded = -1;
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	policy.degraded = POLICY_ALLOW;
	free(policy.allowed_modules.items[0]);
	policy.allowed_modules.items[0] = strdup("a/b");
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	assert_string_equal(err.field, "allowed_modules");
	free(policy.allowed_modules.items[0]);
	policy.allowed_modules.items[0] = strdup("m\xff");
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	has(err.msg, "got \"m\\xff\"");
	policy_clear(&policy);

	policy = fresh();
	assert_int_equal(policy_set_text(&policy, "allowed_directories",
					 "/a/b:ro, /a//./b/", &err),
			 0);
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	has(err.msg,
	    "allowed_directories: \"/a/b:ro\" and \"/a//./b/\" are the same directory");
	assert_int_equal(policy_set_text(&policy, "allowed_directories",
					 "/a/b:ro,/a/b/out,a/b", &err),
			 0);
	assert_int_equal(policy_check(&policy, &err), 0);
	assert_int_equal(policy_set_text(&policy, "environment", "PYTHONPATH=/x", &err),
			 0);
	assert_int_equal(policy_check(&policy, &err), -EINVAL);
	has(err.msg, "environment: PYTHONPATH would have no effect");
	policy.allow_subprocess = true;
	assert_int_equal(policy_check(&policy, &err), 0);
	policy_clear(&policy);
}

/* ---- unknown fields ---- */

static void test_unknown(void **state)
{
	static const struct {
		const char *name, *near;
	} names[] = {
		{ "max_memory", "max_memory_mb" },
		{ "max_memroy_mb", "max_memory_mb" },
		{ "maxMemoryMb", "max_memory_mb" },
		{ "MAX-MEMORY-MB", "max_memory_mb" },
		{ "memory", "max_memory_mb" },
		{ "max_execution_tme", "max_execution_time" },
		{ "allow_network_access", "network_access" },
		{ "allowed_module", "allowed_modules" },
		{ "network", "network_access" },
		{ "max_cpu_pecent", "max_cpu_percent" },
		{ "env", NULL },
		{ "degrade", "degraded" },
		{ "completely_different", NULL },
		{ "", NULL },
		{ "\xff\x1b[31m", NULL },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  NULL },
	};
	struct sbx_policy policy = fresh();
	char expected[128];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct sbx_err err = { 0 };

		assert_int_equal(policy_set_text(&policy, names[i].name, "1", &err),
				 -EINVAL);
		assert_int_equal(err.stage, SBX_AT_POLICY);
		has(err.msg, "unknown field \"");
		assert_null(strchr(err.msg, '\x1b'));
		if (names[i].near) {
			snprintf(expected, sizeof(expected), "did you mean \"%s\"?",
				 names[i].near);
			has(err.msg, expected);
		} else {
			has(err.msg, "`sandbox policy show`");
		}
		if (i == 0) {
			assert_string_equal(err.field, "max_memory");
			assert_string_equal(
				err.msg,
				"unknown field \"max_memory\": did you mean \"max_memory_mb\"?");
		}
	}
	refused("max_memory: 5", "did you mean \"max_memory_mb\"?");
	refused("{\"max_memory_mb\": 5, \"sudo\": true}", "unknown field \"sudo\"");
	policy_clear(&policy);
}

/* ---- text ---- */

static void text_gives(const char *field, const char *text, const char *json)
{
	struct sbx_policy policy = fresh();
	struct sbx_err err = { 0 };
	json_t *all;
	char *got;

	if (policy_set_text(&policy, field, text, &err) < 0)
		fail_msg("%s=%s: %s", field, text, err.msg);
	all = policy_to_json(&policy);
	got = json_dumps(json_object_get(all, field), JSON_COMPACT | JSON_ENCODE_ANY);
	assert_string_equal(got, json);
	free(got);
	json_decref(all);
	policy_clear(&policy);
}

static void text_refused(const char *field, const char *text, const char *part)
{
	struct sbx_policy policy = fresh(), defaults = fresh();
	struct sbx_err err = { 0 };

	if (policy_set_text(&policy, field, text, &err) >= 0)
		fail_msg("accepted: %s=%s", field, text);
	assert_string_equal(err.field, field);
	has(err.msg, part);
	assert_same(&policy, &defaults);
	policy_clear(&policy);
	policy_clear(&defaults);
}

static void test_text(void **state)
{
	(void)state;
	text_gives("max_memory_mb", "50", "50");
	text_gives("max_memory_mb", " 50 ", "50");
	text_gives("max_memory_mb", "+50", "50");
	text_gives("max_memory_mb", "1e2", "100");
	text_gives("max_execution_time", ".5", "0.5");
	text_gives("network_access", "true", "true");
	text_gives("network_access", "True", "true");
	text_gives("allow_imports", "False", "false");
	text_gives("allowed_modules", "math,json", "[\"math\",\"json\"]");
	text_gives("allowed_modules", "math", "[\"math\"]");
	text_gives("allowed_modules", " math , os.path ", "[\"math\",\"os.path\"]");
	text_gives("allowed_modules", "*", "[\"*\"]");
	text_gives("allowed_modules", "null", "[\"null\"]");
	text_gives("allowed_modules", "", "[]");
	text_gives("allowed_modules", "[]", "[]");
	text_gives("allowed_modules", "\"math\"", "[\"math\"]");
	text_gives("allowed_modules", "[\"a\", \"b\"]", "[\"a\",\"b\"]");
	text_gives("allowed_hosts", "[::1]:80,a.example", "[\"[::1]:80\",\"a.example\"]");
	text_gives("allowed_directories", "[\"a,b:ro\"]", "[\"a,b:ro\"]");
	text_gives("environment", "A=1,B=x=y", "{\"A\":\"1\",\"B\":\"x=y\"}");
	text_gives("environment", "B=,A=", "{\"A\":\"\",\"B\":\"\"}");
	text_gives("environment", "{\"A\": \"1,2\"}", "{\"A\":\"1,2\"}");
	text_gives("environment", "", "{}");
	text_gives("python", "/usr/bin/python3", "\"/usr/bin/python3\"");
	text_gives("python", "", "\"\"");
	text_gives("degraded", "allow", "\"allow\"");
	text_gives("degraded", "\"allow\"", "\"allow\"");

	text_refused("max_memory_mb", "lots", "got \"lots\"");
	text_refused("max_memory_mb", "", "got \"\"");
	text_refused("max_memory_mb", "-1", "got -1");
	text_refused("max_memory_mb", "99999999999999999999",
		     "got \"99999999999999999999\"");
	text_refused("max_execution_time", "1e400", "got \"1e400\"");
	text_refused("max_execution_time", "nan", "got \"nan\"");
	text_refused("max_execution_time", "NaN", "got \"NaN\"");
	text_refused("max_execution_time", ".inf", "got \".inf\"");
	text_refused("max_execution_time", "inf", "got \"inf\"");
	text_refused("max_execution_time", "5s", "got \"5s\"");
	text_refused("network_access", "yes", "expected true or false, got \"yes\"");
	text_refused("network_access", "1", "expected true or false, got 1");
	text_refused("network_access", "", "expected true or false, got \"\"");
	text_refused("allowed_modules", "a,,b",
		     "expected something before and behind each comma");
	text_refused("allowed_modules", "a,",
		     "expected something before and behind each comma");
	text_refused("allowed_modules", ",",
		     "expected something before and behind each comma");
	text_refused("allowed_modules", "{\"a\": 1}", "expected a list");
	text_refused("allowed_modules", "a b", "got \"a b\"");
	text_refused("environment", "A", "expected KEY=VALUE,...");
	text_refused("environment", "A=1,A=2", "environment: A is given twice");
	text_refused("environment", "[\"A=1\"]", "expected a mapping");
	text_refused("environment", "=x", "names of letters");
	text_refused("environment", "{\"A\": \"1\", \"A\": \"2\"}",
		     "expected a JSON object without duplicate keys");
	text_refused("python", "\xff/x", "expected valid UTF-8");
	text_refused("degraded", "warn",
		     "expected \"refuse\" or \"allow\", got \"warn\"");
}

/* A value of the environment may be a secret: it is in no message. */
static void test_secrets(void **state)
{
	static const char *const texts[] = {
		"hunter2",     "\"hunter2\"",
		"A=1,hunter2", "{\"A\": \"hunter2\", \"B\": 5}",
		"1A=hunter2",  "LD_PRELOAD=hunter2",
		"A B=hunter2", "PYTHONPATH=hunter2",
		"=hunter2",    "[\"hunter2\"]",
	};
	struct sbx_policy policy = fresh();

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct sbx_err err = { 0 };
		int r = policy_set_text(&policy, "environment", texts[i], &err);

		if (r == 0)
			r = policy_check(&policy, &err);
		assert_int_equal(r, -EINVAL);
		assert_null(strstr(err.msg, "hunter2"));
		assert_int_equal(policy_set_text(&policy, "environment", "", &err), 0);
	}
	policy_clear(&policy);
}

/* ---- docs/policy.md ---- */

static void doc_path(char *ret, size_t size)
{
	const char *root = getenv("SBX_SOURCE_ROOT"), *slash;

#ifdef SBX_SOURCE_ROOT
	if (!root)
		root = SBX_SOURCE_ROOT;
#endif
	slash = strrchr(__FILE__, '/');
	if (root)
		snprintf(ret, size, "%s/docs/policy.md", root);
	else
		snprintf(ret, size, "%.*s/../../docs/policy.md",
			 slash ? (int)(slash - __FILE__) : 1, slash ? __FILE__ : ".");
}

static void test_docs(void **state)
{
	char path[4096], *text, *file = NULL;
	size_t len = 0;
	int r;

	(void)state;
	doc_path(path, sizeof(path));
	assert_int_equal(policy_to_markdown(&text), 0);
	for (size_t i = 0; i < policy_field_count; i++)
		has(text, policy_fields[i].name);
	if (getenv("POLICY_DOC_WRITE")) {
		FILE *out = fopen(path, "we");

		assert_non_null(out);
		assert_true(fputs(text, out) >= 0);
		assert_int_equal(fclose(out), 0);
	}
	r = fd_read_file(AT_FDCWD, path, 1 << 20, &file, &len);
	if (r < 0)
		fail_msg("%s: %s (SBX_SOURCE_ROOT names the checkout)", path,
			 strerror(-r));
	if (strcmp(file, text) != 0)
		fail_msg("%s is not up to date: run this test with POLICY_DOC_WRITE=1",
			 path);
	free(file);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),    cmocka_unit_test(test_table),
		cmocka_unit_test(test_presets),     cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_redacted),    cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_good_values), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_check),       cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_text),        cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_docs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
