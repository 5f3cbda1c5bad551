/* SPDX-License-Identifier: MIT
 * Purpose: whole policy documents: what is read, and hostile JSON and YAML.
 * Process: one unprivileged test process. */
#include "policy_help.h"

/* ---- documents ---- */

static void test_documents(void **state)
{
	struct sbx_policy policy = fresh();
	struct sbx_err err = { 0 };

	(void)state;
	accepted("");
	accepted("# nothing\n");
	accepted("---\n...\n");
	accepted("{}");
	accepted(" \n\t{\"max_memory_mb\": 5}\n");
	accepted("\xef\xbb\xbf{\"max_memory_mb\": 5}");
	accepted("\xef\xbb\xbfmax_memory_mb: 5");
	accepted("allowed_directories:\n  - data:ro\n  - out\n");
	if (document(
		    &policy,
		    "preset: data\nmax_memory_mb: 0x10\nmax_execution_time: .5\nnetwork_access: True\n"
		    "allowed_hosts:\n- \"*\"\n- a.example:443\nenvironment:\n  A: \"1\"\n  true: x\n",
		    &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(policy.max_memory_mb, 16);
	assert_true(policy.max_execution_time == 0.5 && policy.network_access &&
		    policy.max_processes == 128);
	assert_string_equal(policy.environment.items[0], "A=1");
	assert_string_equal(policy.environment.items[1], "true=x");
	policy_clear(&policy);

	refused("max_memory_mb: 5\npreset: data\n",
		"preset: expected as the first field");
	refused("{\"max_memory_mb\": 5, \"preset\": \"data\"}",
		"preset: expected as the first field");
	refused("preset: nope\n", "got \"nope\"");
	refused("preset: 5\n", "preset: expected the name of a preset");
	refused("preset: data\nmax_memory_mb: -5\n",
		"max_memory_mb: expected a whole number");
	refused("max_memory_mb: '5'\n", "got \"5\"");
	refused("network_access: yes\n", "expected true or false, got \"yes\"");
	refused("[]", "expected a mapping of fields");
	refused("just text", "expected a mapping of fields");
	refused("5", "expected a mapping of fields");
}

static void test_hostile_json(void **state)
{
	char deep[64] = "";

	(void)state;
	refused("{\"max_memory_mb\": 5, \"max_memory_mb\": 6}", "duplicate object key");
	refused("{\"environment\": {\"A\": \"1\", \"A\": \"2\"}}",
		"duplicate object key");
	refused("{\"max_memory_mb\": 5} x", "end of file expected");
	refused("{\"max_memory_mb\": 5}{}", "end of file expected");
	refused("{\"max_memory_mb\": 5", "not valid JSON");
	refused("{max_memory_mb: 5}", "not valid JSON");
	refused("{\"max_memory_mb\": NaN}", "not valid JSON");
	refused("{\"max_memory_mb\": 0x10}", "not valid JSON");
	refused("{\"max_memory_mb\": 05}", "not valid JSON");
	refused("{\"max_memory_mb\": 5,}", "not valid JSON");
	refused("{\"max_memory_mb\": 99999999999999999999}", "too big integer");
	refused("{\"max_execution_time\": 1e400}", "real number overflow");
	refused("{\"python\": \"/a\\u0000b\"}", "not valid JSON");
	refused("{\"python\": \"/a\xff\"}", "not valid JSON");
	refused("{\"python\": \"\\ud800\"}", "not valid JSON");
	refused_len("{\"python\": \"/a\0\"}", 17, "a NUL character is not allowed");
	refused_len("{}\0", 3, "a NUL character is not allowed");
	/* eight levels are read, nine are not */
	refused("{\"a\": [[[[[[[1]]]]]]]}", "unknown field \"a\"");
	refused("{\"a\": [[[[[[[[1]]]]]]]]}", "nested deeper than 8 levels");
	memset(deep, '[', sizeof(deep) - 1);
	refused(deep, "nested deeper than 8 levels"); /* as YAML */
}

static void test_hostile_yaml(void **state)
{
	static const char laughs[] =
		"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
		"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";

	(void)state;
	refused(laughs, "line 1: anchors are not allowed: \"a\"");
	refused("python: &x /a\n", "anchors are not allowed");
	refused("a: &m {b: 1}\n", "anchors are not allowed");
	refused("python: *x\n", "aliases are not allowed");
	refused("allowed_modules: [*]\n", "text that starts with * has to be in quotes");
	refused("<<: {max_memory_mb: 5}\n", "unknown field \"<<\"");
	refused("max_memory_mb: !!int '5'\n", "line 1: tags are not allowed");
	refused("python: !!python/object/apply:os.system ['x']\n",
		"tags are not allowed");
	refused("python: ! x\n", "tags are not allowed");
	refused("!!map {max_memory_mb: 5}\n", "tags are not allowed");
	refused("allowed_modules: !x [a]\n", "tags are not allowed");
	refused("%YAML 1.1\n---\nmax_memory_mb: 5\n", "directives are not allowed");
	refused("%TAG ! tag:x,2000:\n---\nmax_memory_mb: 5\n",
		"directives are not allowed");
	refused("max_memory_mb: 5\n---\nmax_memory_mb: 6\n",
		"line 2: only one document is allowed");
	refused("max_memory_mb: 5\nmax_memory_mb: 6\n",
		"line 2: duplicate key \"max_memory_mb\"");
	refused("max_memory_mb: 5\n\"max_memory_mb\": 6\n", "duplicate key");
	refused("environment: {A: a, A: b}\n", "duplicate key \"A\"");
	refused("? [a]\n: b\n", "a key has to be text");
	refused("? {a: b}\n: b\n", "a key has to be text");
	refused("'': x\n", "expected a key of 1 to 255 bytes");
	refused("max_memory_mb: .nan\n",
		"line 1: max_memory_mb: \".nan\" is not a finite number");
	refused("max_memory_mb: -.INF\n", "not a finite number");
	refused("max_execution_time: 1e400\n",
		"max_execution_time: \"1e400\" is a number that is too large");
	refused("max_memory_mb: 99999999999999999999\n", "is a number that is too large");
	refused("max_memory_mb: 0xffffffffffffffff\n", "is a number that is too large");
	refused("max_memory_mb: 5\n\tx: y\n", "not valid YAML");
	refused("python: \"/a\\0b\"\n", "a NUL character is not allowed");
	refused("\"max\\0\": 5\n", "a NUL character is not allowed");
	refused_len("max_memory_mb: 5\n\0", 18, "a NUL character is not allowed");
	refused("python: /\xff\xfe\n", "not valid YAML");
	refused("python: /\xc0\x80\n", "not valid YAML");
	refused("python: /\xed\xa0\x80\n", "not valid YAML");
	refused("\xff\xfe"
		"a",
		"not valid YAML");
	refused("python: \x01\n", "not valid YAML");
	refused("a: [[[[[[[1]]]]]]]\n", "unknown field \"a\"");
	refused("a: [[[[[[[[1]]]]]]]]\n", "nested deeper than 8 levels");
	refused("a: {a: {a: {a: {a: {a: {a: {a: {}}}}}}}}\n",
		"nested deeper than 8 levels");
	refused("python: \"/a", "not valid YAML");
	refused("a: [1, 2", "not valid YAML");
}

static void test_large_documents(void **state)
{
	static const char *const fill[] = {
		"[",  "{", "- ",  "? ",        "[{",    "a: ",
		"\"", "!", "&a ", "- - - -\n", "{a: [", "#\n"
	};
	size_t max = POLICY_DOCUMENT_MAX;
	char *text = malloc(max + 2);
	struct sbx_policy policy = fresh();

	(void)state;
	memset(text, ' ', max + 1);
	refused_len(text, max + 1,
		    "expected a document of at most 1 MiB, got 1048577 bytes");
	memcpy(text, "{}", 2);
	assert_int_equal(policy_set_document(&policy, text, max, NULL), 0);
	for (size_t i = 0; i < sizeof(fill) / sizeof(fill[0]); i++) {
		size_t len = strlen(fill[i]), at = 0;

		for (; at + len <= max; at += len)
			memcpy(text + at, fill[i], len);
		(void)policy_set_document(&policy, text, at, NULL);
	}
	/* a wide one is read, and told off */
	memcpy(text, "a: [", 4);
	for (size_t at = 4; at + 2 <= max; at += 2)
		memcpy(text + at, "1,", 2);
	text[max - 1] = ']';
	refused_len(text, max, "unknown field \"a\"");
	policy_clear(&policy);
	free(text);
}

static void test_yaml_scalars(void **state)
{
	static const struct {
		const char *yaml, *json;
	} scalars[] = {
		{ "~", "null" },
		{ "null", "null" },
		{ "Null", "null" },
		{ "", "null" },
		{ "nUll", "\"nUll\"" },
		{ "TRUE", "true" },
		{ "tRUE", "\"tRUE\"" },
		{ "no", "\"no\"" },
		{ "off", "\"off\"" },
		{ "y", "\"y\"" },
		{ "12", "12" },
		{ "+12", "12" },
		{ "-0", "0" },
		{ "012", "12" },
		{ "0o17", "15" },
		{ "0xFf", "255" },
		{ "0b1", "\"0b1\"" },
		{ "1_000", "\"1_000\"" },
		{ "1.5", "1.5" },
		{ "1.", "1.0" },
		{ ".5", "0.5" },
		{ "-.5", "-0.5" },
		{ "1e3", "1000.0" },
		{ "1E+2", "100.0" },
		{ "1e", "\"1e\"" },
		{ ".", "\".\"" },
		{ "-", NULL },
		{ "+", "\"+\"" },
		{ "1:30", "\"1:30\"" },
		{ "'12'", "\"12\"" },
		{ "\"true\"", "\"true\"" },
		{ "2001-01-01", "\"2001-01-01\"" },
		{ "|\n  a\n  b\n", "\"a\\nb\\n\"" },
		{ "9223372036854775807", "9223372036854775807" },
		{ "-9223372036854775808", "-9223372036854775808" },
		{ "inf", "\"inf\"" },
		{ "nan", "\"nan\"" },
	};
	char yaml[128], *got;

	(void)state;
	for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++) {
		struct sbx_err err = { 0 };
		json_t *tree = NULL;
		int r;

		snprintf(yaml, sizeof(yaml), "k: %s", scalars[i].yaml);
		r = policy_yaml_to_json(yaml, strlen(yaml), &tree, &err);
		if (!scalars[i].json) {
			assert_true(r < 0);
			continue;
		}
		if (r < 0)
			fail_msg("%s: %s", yaml, err.msg);
		got = json_dumps(json_object_get(tree, "k"), JSON_ENCODE_ANY);
		assert_string_equal(got, scalars[i].json);
		free(got);
		json_decref(tree);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_hostile_json),
		cmocka_unit_test(test_hostile_yaml),
		cmocka_unit_test(test_large_documents),
		cmocka_unit_test(test_yaml_scalars),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
