/* SPDX-License-Identifier: MIT
 * What a program claims to show: which bundles the engine takes, and what it leaves of
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/jsontext.h"
#include "engine/displays.h"
#include "zygote/messages.h"

static const struct {
	const char *text, *left; /* NULL: refused */
} table[] = {
	{ "{\"text/plain\":\"a\"}", "{\"text/plain\":\"a\"}" },
	{ "{\"text/html\":\"<b>\"}", "{\"text/html\":\"<b>\",\"text/plain\":\"\"}" },
	{ "{\"text/plain\":1,\"text/html\":\"x\"}",
	  "{\"text/html\":\"x\",\"text/plain\":\"\"}" },
	{ "{\"image/png\":\"QUJD\",\"application/pdf\":\"QQ==\"}",
	  "{\"image/png\":\"QUJD\",\"application/pdf\":\"QQ==\",\"text/plain\":\"\"}" },
	{ "{\"image/png\":\"QUJ\"}", NULL },
	{ "{\"image/png\":\"QU D\"}", NULL },
	{ "{\"image/png\":\"Q===\"}", NULL },
	{ "{\"image/png\":\"=QUJ\"}", NULL },
	{ "{\"audio/wav\":\"<script>\"}", NULL },
	{ "{\"image/svg+xml\":\"<svg/>\"}",
	  "{\"image/svg+xml\":\"<svg/>\",\"text/plain\":\"\"}" },
	{ "{\"application/vnd.a.v1+json\":[1,{}],\"application/json\":null}",
	  "{\"application/vnd.a.v1+json\":[1,{}],\"application/json\":null,\"text/plain\":\"\"}" },
	{ "{\"text\":\"x\"}", NULL },
	{ "{\"/x\":\"x\",\"x/\":\"x\",\"\":\"x\",\"a/b/c\":\"x\",\"a/b c\":\"x\",\"a/b\\n\":\"x\"}",
	  NULL },
	{ "{}", NULL },
	{ "[]", NULL },
	{ "", NULL },
	{ "{\"a/b\":\"x\"} ", "{\"a/b\":\"x\",\"text/plain\":\"\"}" },
	{ "{\"a/b\":\"x\"}{", NULL },
	{ "{\"a/b\":\"x\",\"a/b\":\"y\"}", NULL },
	{ "{\"a/b\":\"\\u0000\"}", NULL },
	{ "{\"a/b\":\"\xff\"}", NULL },
};

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct displays displays = { 0 };
		const json_t *bundle = displays_add(&displays, table[i].text,
						    strlen(table[i].text));
		json_t *list = displays_list(&displays);
		char *text = bundle ? jsontext(bundle, NULL) : NULL;

		if (table[i].left)
			assert_non_null(text);
		else
			assert_null(text);
		if (text)
			assert_string_equal(text, table[i].left);
		assert_int_equal(json_array_size(list), table[i].left ? 1 : 0);
		free(text);
		json_decref(list);
		displays_free(&displays);
	}
}

static void add_large(struct displays *displays, size_t len, bool taken)
{
	char *text = malloc(len);

	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, "{\"a/b\":\"", 8);
	memcpy(text + len - 2, "\"}", 2);
	assert_true(!!displays_add(displays, text, len) == taken);
	free(text);
}

static void test_bounds(void **state)
{
	struct displays displays = { 0 };
	json_t *list;

	(void)state;
	add_large(&displays, DISPLAY_MAX + 1, false);
	for (int i = 0; i < 3; i++)
		add_large(&displays, DISPLAY_MAX, true);
	add_large(&displays, 64, false);
	displays_free(&displays);
	for (unsigned i = 0; i < DISPLAYS_MAX; i++)
		add_large(&displays, 64, true);
	add_large(&displays, 64, false);
	list = displays_list(&displays);
	assert_int_equal(json_array_size(list), DISPLAYS_MAX);
	json_decref(list);
	displays_free(&displays);
}

static json_t *claim(const struct displays *displays, json_t *index)
{
	json_t *done = json_pack("{s:o}", "result_display", index);
	json_t *found = displays_claim(displays, done);

	json_decref(done);
	return found;
}

static void test_claim(void **state)
{
	struct displays displays = { 0 };
	json_t *found;

	(void)state;
	assert_true(json_is_null(displays_claim(&displays, NULL)));
	add_large(&displays, 64, true);
	found = claim(&displays, json_integer(0));
	assert_int_equal(json_integer_value(found), 0);
	assert_true(json_is_integer(found));
	json_decref(found);
	assert_true(json_is_null(claim(&displays, json_integer(1))));
	assert_true(json_is_null(claim(&displays, json_integer(-1))));
	assert_true(json_is_null(claim(&displays, json_string("0"))));
	displays_free(&displays);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
