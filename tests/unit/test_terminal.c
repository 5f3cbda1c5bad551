/* SPDX-License-Identifier: MIT
 * What programs wrote, on a terminal: nothing unsafe comes through, lines are as wide as was
 * said, and JSON keeps its value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "cli/terminal.h"
#include "lib/internal.h"

#define HOSTILE                                                                               \
	"a\033[2Jb\r\x07\x7f\x9b\xc2\x9b"                                                     \
	"31m\u202e\u2066\u200b\ufeff\U000e0041\u3164\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80" \
	"\xe4\xb8"

/* Every character of the text is valid and safe; newlines count if they may be there. */
static void assert_safe(const char *text, size_t len, bool lines)
{
	uint32_t c = 0;

	for (size_t at = 0, n; at < len; at += n) {
		n = utf8_next(text + at, len - at, &c);
		assert_true(n > 0);
		assert_true((lines && c == '\n') || !utf8_is_unsafe(c));
	}
}

static size_t width_of(const char *text)
{
	size_t width = 0, len = strlen(text);
	uint32_t c = 0;

	for (size_t at = 0, n; at < len; at += n) {
		n = utf8_next(text + at, len - at, &c);
		assert_true(n > 0);
		width += terminal_width(c);
	}
	return width;
}

static void test_width(void **state)
{
	(void)state;
	assert_int_equal(terminal_width('a'), 1);
	assert_int_equal(terminal_width(0x4e2d), 2);  /* CJK */
	assert_int_equal(terminal_width(0xff21), 2);  /* full-width A */
	assert_int_equal(terminal_width(0x1f600), 2); /* an emoji */
	assert_int_equal(terminal_width(0xe9), 1);
	assert_int_equal(terminal_width(0x301), 0); /* combining acute */
	assert_int_equal(terminal_width(0x378), 2); /* not assigned: never too few */
}

static void test_fit(void **state)
{
	static const struct {
		const char *text;
		size_t columns;
		const char *want;
	} rows[] = {
		{ "plain", 10, "plain" },
		{ "plain", 5, "plain" },
		{ "plainer", 5, "pl..." },
		{ "plainer", 2, ".." },
		{ "", 5, "" },
		{ "a\nb\tc", 0, "a\\nb\\tc" },
		{ "\033[31mred", 0, "\\x1b[31mred" },
		{ "\u4e2d\u6587\u5b57", 6, "\u4e2d\u6587\u5b57" },
		{ "\u4e2d\u6587\u5b57", 5, "\u4e2d..." },
		{ "x\u4e2d\u6587\u5b57", 6, "x\u4e2d..." },
		{ "\u202eabc", 0, "\\u{202e}abc" },
		{ "\xff", 0, "\\xff" },
		/* Cut inside of what stands for a character: all of it goes. */
		{ "ab\033cdefgh", 6, "ab..." },
		{ "e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = { 0 };
		size_t width = 99;

		assert_int_equal(terminal_fit(&out, rows[i].text, strlen(rows[i].text),
					      rows[i].columns, &width),
				 0);
		assert_string_equal(out.data, rows[i].want);
		assert_int_equal(width, width_of(rows[i].want));
		if (rows[i].columns)
			assert_true(width <= rows[i].columns);
		buf_free(&out);
	}
}

/* Any bytes, any width: safe, and never wider. */
static void test_fit_random(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char text[64];
		struct buf out = { 0 }, cell = { 0 };
		size_t len = (size_t)(rand_r(&seed) % 64), columns, width;

		for (size_t i = 0; i < len; i++)
			text[i] = (char)(round % 2
						 ? rand_r(&seed)
						 : "\xe2\x80\xae\xe4\xb8\xad\033a\xcc\x81"
							   [rand_r(&seed) % 10]);
		columns = (size_t)(rand_r(&seed) % 30) + 1;
		assert_int_equal(terminal_fit(&out, text, len, columns, &width), 0);
		assert_safe(out.data, out.len, false);
		assert_true(width <= columns);
		assert_int_equal(width_of(out.data), width);
		assert_int_equal(terminal_cell(&cell, text, len, columns), 0);
		assert_int_equal(width_of(cell.data), columns);
		buf_free(&out);
		buf_free(&cell);
	}
}

static void test_marks(void **state)
{
	char text[400] = "a";
	struct buf out = { 0 };
	uint32_t c = 0;
	size_t marks = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		strcat(text, "\u0301");
	assert_int_equal(terminal_fit(&out, text, strlen(text), 0, NULL), 0);
	for (size_t at = 0; at < out.len;) {
		at += utf8_next(out.data + at, out.len - at, &c);
		marks += c == 0x301;
	}
	assert_true(marks <= 8);
	buf_free(&out);
}

static void test_lines(void **state)
{
	static const char text[] = "one\r\n\ttwo\nid         forged\n" HOSTILE "\nlast";
	struct buf out = { 0 };
	size_t lines = 0;

	(void)state;
	assert_int_equal(terminal_lines(&out, text, strlen(text), "  | ", 40, 100), 0);
	assert_safe(out.data, out.len, true);
	assert_non_null(
		strstr(out.data, "  | one\n  |         two\n  | id         forged\n"));
	for (const char *at = out.data; *at; at = strchr(at, '\n') + 1, lines++)
		assert_memory_equal(at, "  | ", 4);
	assert_int_equal(lines, 5);
	buf_free(&out);

	/* Of many the first and the last. */
	assert_int_equal(terminal_lines(&out, "1\n2\n3\n4\n5\n6\n7\n", 14, "> ", 40, 4),
			 0);
	assert_string_equal(out.data, "> 1\n> 2\n> ... 3 lines ...\n> 6\n> 7\n");
	buf_free(&out);
	assert_int_equal(terminal_lines(&out, "", 0, "> ", 40, 4), 0);
	assert_int_equal(out.len, 0);
	buf_free(&out);
}

static void test_json(void **state)
{
	json_t *value = json_object(), *back;
	struct buf out = { 0 };
	char *text;

	(void)state;
	assert_int_equal(
		json_object_set_new(value, "\u202ekey\x7f",
				    json_string("\033[2J\xc2\x9b\U000e0041\u4e2d")),
		0);
	text = json_dumps(value, 0);
	assert_int_equal(terminal_json(&out, text, strlen(text)), 0);
	assert_safe(out.data, out.len, false);
	assert_non_null(strstr(out.data, "\u4e2d"));
	back = json_loadb(out.data, out.len, 0, NULL);
	assert_true(json_equal(value, back));
	json_decref(back);
	json_decref(value);
	free(text);
	buf_free(&out);
}

static void test_csv(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "plain", "\"plain\"" },
		{ "", "\"\"" },
		{ "a \"b\", c", "\"a \"\"b\"\", c\"" },
		{ "=1+1", "\"'=1+1\"" },
		{ "+1", "\"'+1\"" },
		{ "-1", "\"'-1\"" },
		{ "@SUM(A1)", "\"'@SUM(A1)\"" },
		{ "\t=1", "\"'\\t=1\"" },
		{ " \r\n=1", "\"' \\x0d\\n=1\"" },
		{ "\uff1d1", "\"'\uff1d1\"" },
		{ "a\nb", "\"a\\nb\"" },
		{ "\033]0;x\a", "\"\\x1b]0;x\\x07\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = { 0 };

		assert_int_equal(terminal_csv(&out, rows[i].text, strlen(rows[i].text)),
				 0);
		assert_string_equal(out.data, rows[i].want);
		buf_free(&out);
	}
}

static void test_chart(void **state)
{
	static const double values[] = { 0, 1, 2, 4, 8, 8, 4, 0 };
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(terminal_chart(&out, values, 8, 4, 0), 0);
	assert_string_equal(out.data, "\u2581\u2584\u2588\u2584");
	buf_free(&out);
	assert_int_equal(terminal_chart(&out, values, 0, 4, 0), 0);
	assert_int_equal(out.len, 0);
	buf_free(&out);
	assert_int_equal(terminal_chart(&out, values, 8, 100, 80), 0);
	assert_int_equal(width_of(out.data), 8);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_width),      cmocka_unit_test(test_fit),
		cmocka_unit_test(test_fit_random), cmocka_unit_test(test_marks),
		cmocka_unit_test(test_lines),      cmocka_unit_test(test_json),
		cmocka_unit_test(test_csv),        cmocka_unit_test(test_chart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
