/* SPDX-License-Identifier: MIT
 * Questions to a journal: pages and filters, hostile ones too, records as they come, answers
 * that are cancelled, held and too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "journal_help.h"

static struct box box;

struct answer {
	json_t *rows;
	struct sbx_err err;
	bool ended;
	size_t stop_after; /* rows; 0: at the end */
	struct journal_question *question;
};

static void on_row(void *arg, const json_t *row)
{
	struct answer *answer = arg;

	assert_false(answer->ended);
	(void)json_array_append(answer->rows, (json_t *)row);
	if (answer->stop_after && json_array_size(answer->rows) >= answer->stop_after)
		loop_stop(box.loop);
}

static void on_end(void *arg, const struct sbx_err *err)
{
	struct answer *answer = arg;

	assert_false(answer->ended);
	answer->ended = true;
	if (err)
		answer->err = *err;
	loop_stop(box.loop);
}

static void on_late(void *arg)
{
	(void)arg;
	fail_msg("no answer in 30 s");
}

static void run_loop(void)
{
	struct loop_timer *timer = NULL;

	assert_int_equal(
		loop_timer_at(box.loop, &timer, loop_now_us() + 30000000, on_late, NULL),
		0);
	assert_int_equal(loop_run(box.loop), 0);
	loop_timer_cancel(&timer);
}

static void begin_asking(struct answer *answer, const char *verb, json_t *filter)
{
	memset(answer, 0, sizeof(*answer));
	answer->rows = json_array();
	if (journal_query(box.journal, verb, filter, on_row, on_end, answer,
			  &answer->question, &answer->err) < 0)
		answer->ended = true;
	json_decref(filter);
}

/* The rows, a new reference; NULL: refused, with *ret_stage. Takes the filter. */
static json_t *ask(const char *verb, json_t *filter, int *ret_stage)
{
	struct answer answer;

	assert_non_null(filter);
	begin_asking(&answer, verb, filter);
	while (!answer.ended)
		run_loop();
	if (ret_stage)
		*ret_stage = answer.err.stage;
	else if (answer.err.stage)
		fail_msg("%s: %s", verb, answer.err.msg);
	if (!answer.err.stage)
		return answer.rows;
	json_decref(answer.rows);
	return NULL;
}

static size_t count(const char *verb, json_t *filter)
{
	json_t *rows = ask(verb, filter, NULL);
	size_t n = json_array_size(rows);

	json_decref(rows);
	return n;
}

static long long number_of(const json_t *rows, size_t i, const char *key)
{
	return json_integer_value(json_object_get(json_array_get(rows, i), key));
}

static const char *text_of(const json_t *rows, size_t i, const char *key)
{
	const char *text = json_string_value(
		json_object_get(json_array_get(rows, i), key));

	return text ? text : "(null)";
}

#define RUNS 60u

static int set_up(void **state)
{
	(void)state;
	box_make(&box);
	assert_int_equal(box_open(&box), 0);
	for (unsigned i = 1; i <= RUNS; i++)
		box_record(&box, i);
	box_wait(&box, 2 * RUNS);
	box_indexed(&box);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	box_remove(&box);
	return 0;
}

/* ---- list ---- */

static void test_list(void **state)
{
	json_t *rows = ask("list", json_object(), NULL);

	(void)state;
	assert_int_equal(json_array_size(rows), 50);
	for (size_t i = 0; i < 50; i++)
		assert_int_equal(number_of(rows, i, "seq"), (long long)(RUNS - i));
	assert_string_equal(text_of(rows, 0, "status"), RUNS % 3 ? "ok" : "error");
	assert_string_equal(text_of(rows, 0, "caller"), "command");
	assert_string_equal(text_of(rows, 0, "code"), "print('number60')\n");
	assert_int_equal(number_of(rows, 0, "event_count"), 1);
	json_decref(rows);
}

/* Every page, either way, whatever the filter: each once. */
static void test_pages(void **state)
{
	static const char *const filters[] = { "{}", "{\"status\": \"ok\"}",
					       "{\"event\": \"open\"}",
					       "{\"text\": \"output\"}",
					       "{\"since\": 1}" };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(filters) / sizeof(filters[0]); i++) {
		bool up = i % 2;
		size_t total = 0, n;
		long long last = up ? 0 : RUNS + 1;

		do {
			json_t *filter = json_loads(filters[i / 2], 0, NULL), *rows;

			(void)json_object_set_new(filter, "limit", json_integer(7));
			(void)json_object_set_new(filter, "reverse", json_boolean(up));
			(void)json_object_set_new(filter, up ? "after" : "before",
						  json_integer(last));
			rows = ask("list", filter, NULL);
			n = json_array_size(rows);
			for (size_t j = 0; j < n; j++) {
				long long seq = number_of(rows, j, "seq");

				assert_true(up ? seq > last : seq < last);
				last = seq;
			}
			total += n;
			json_decref(rows);
		} while (n == 7);
		assert_int_equal(total, i / 2 == 1 ? RUNS - RUNS / 3 : RUNS);
	}
}

static void test_filters(void **state)
{
	json_t *all = ask("list", json_pack("{s:i}", "limit", 1000), NULL);

	(void)state;
	assert_int_equal(
		count("list", json_pack("{s:s,s:i}", "status", "error", "limit", 99)),
		RUNS / 3);
	assert_int_equal(count("list", json_pack("{s:s}", "status", "timeout")), 0);
	assert_int_equal(count("list", json_pack("{s:s}", "status", "running")), 0);
	assert_int_equal(count("list", json_pack("{s:s}", "text", "number42")), 1);
	assert_int_equal(count("list", json_pack("{s:s}", "text", "print number42")), 1);
	assert_int_equal(count("list", json_pack("{s:s}", "text", "\"output number42\"")),
			 1);
	assert_int_equal(count("list", json_pack("{s:s}", "text", "\"number42 output\"")),
			 0);
	assert_int_equal(count("list", json_pack("{s:s}", "text", "number4*")), 11);
	assert_int_equal(count("list", json_pack("{s:s}", "text", "number42 number43")),
			 0);
	assert_int_equal(
		count("list", json_pack("{s:s,s:s}", "text", "number42", "status", "ok")),
		0);
	assert_int_equal(
		count("list", json_pack("{s:s,s:s}", "text", "number43", "status", "ok")),
		1);
	assert_int_equal(
		count("list", json_pack("{s:s,s:i}", "event", "open", "limit", 99)),
		RUNS);
	assert_int_equal(count("list", json_pack("{s:s}", "event", "connect")), 0);
	assert_int_equal(
		count("list", json_pack("{s:s,s:i}", "caller", "command", "limit", 99)),
		RUNS);
	assert_int_equal(count("list", json_pack("{s:s}", "session", "none")), 0);
	assert_int_equal(count("list", json_pack("{s:I}", "since",
						 (json_int_t)store_now_us() + 1000000)),
			 0);
	assert_int_equal(count("list", json_pack("{s:I}", "until", (json_int_t)1)), 0);
	assert_int_equal(count("list", json_pack("{s:I,s:s}", "since", (json_int_t)1,
						 "status", "error")),
			 RUNS / 3);
	assert_int_equal(json_array_size(all), RUNS);
	json_decref(all);
}

/* A run without a verdict is found by its code, whatever drives the walk. */
static void test_text_of_running(void **state)
{
	json_t *rows;
	unsigned answers = box.answers;

	(void)state;
	box_begin(&box, "open1", "print('unfinished symphony')");
	box_wait(&box, answers + 1);
	rows = ask("list", json_pack("{s:s}", "text", "unfinished symph*"), NULL);
	assert_int_equal(json_array_size(rows), 1);
	assert_string_equal(text_of(rows, 0, "id"), "open1");
	assert_string_equal(text_of(rows, 0, "status"), "running");
	json_decref(rows);
	assert_int_equal(count("list", json_pack("{s:s,s:s}", "text", "symphony",
						 "status", "running")),
			 1);
	assert_int_equal(count("list", json_pack("{s:s,s:s}", "text", "number42",
						 "status", "running")),
			 0);
	assert_int_equal(count("list", json_pack("{s:s,s:s}", "text", "symphony",
						 "status", "lost")),
			 0);
	assert_int_equal(
		count("list", json_pack("{s:s,s:s}", "text", "symphony", "status", "ok")),
		0);
	box_end(&box, box_result("open1", 1, 0));
	box_wait(&box, answers + 2);
	assert_int_equal(count("list", json_pack("{s:s}", "text", "symphony")), 1);
	box_indexed(&box);
	assert_int_equal(count("list", json_pack("{s:s}", "text", "symphony")), 1);
}

/* Words of SQL and of the index's language are words; what is no filter is refused. */
static void test_hostile_filters(void **state)
{
	static const char *const harmless[] = {
		"{\"status\": \"ok' OR 1=1 --\"}",
		"{\"caller\": \"\\\"; DROP TABLE executions; --\"}",
		"{\"text\": \"number42 OR number43\"}",
		"{\"text\": \"NOT number42x\"}",
		"{\"text\": \"code:number42\"}",
		"{\"text\": \"NEAR(number42 print)\"}",
		"{\"text\": \"number42) OR (number43\"}",
		"{\"text\": \"^number42 + - {code}: nothing\"}",
		"{\"text\": \"\\\"\\\"\\\"unbalanced\"}",
		"{\"text\": \"%%_[]\"}",
		"{\"session\": \"\\u202e\"}",
		"{\"event\": \"open\\\" UNION SELECT\"}",
	};
	static const char *const wrong[] = {
		"{\"limit\": 0}",
		"{\"limit\": 1000001}",
		"{\"limit\": 99999999999999999999}",
		"{\"limit\": \"5\"}",
		"{\"limit\": -1}",
		"{\"before\": -1}",
		"{\"since\": 1.5}",
		"{\"status\": 1}",
		"{\"status\": \"\"}",
		"{\"status\": [\"ok\"]}",
		"{\"status\": \"0123456789012345678901234567890123456789x\"}",
		"{\"text\": \"\"}",
		"{\"text\": \"  \"}",
		"{\"reverse\": \"yes\"}",
		"{\"stauts\": \"ok\"}",
		"{\"text\": \"a\\u0000b\"}",
	};
	int stage;

	(void)state;
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		json_t *rows = ask("list", json_loads(harmless[i], 0, NULL), NULL);

		assert_int_equal(json_array_size(rows), 0);
		json_decref(rows);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		json_t *filter = json_loads(wrong[i], JSON_ALLOW_NUL, NULL);

		if (!filter) /* jansson itself refuses the number */
			continue;
		assert_null(ask("list", filter, &stage));
		assert_int_equal(stage, SBX_AT_USAGE);
	}
	assert_null(ask("drop", json_object(), &stage));
	assert_int_equal(stage, SBX_AT_USAGE);
	assert_null(ask("list", json_array(), &stage));
	assert_int_equal(count("list", json_pack("{s:i}", "limit", 1000)), RUNS);
}

/* ---- one execution ---- */

static void test_show(void **state)
{
	json_t *rows = ask("show",
			   json_pack("{s:s}", "id", "0000000000000000000000000000002a"),
			   NULL);
	const json_t *row = json_array_get(rows, 0), *events, *policy;
	int stage;

	(void)state;
	assert_int_equal(json_array_size(rows), 1);
	assert_int_equal(number_of(rows, 0, "seq"), 42);
	assert_string_equal(text_of(rows, 0, "code"), "print('number42')\n");
	assert_memory_equal(text_of(rows, 0, "stdout"), "output number42 ", 16);
	events = json_object_get(row, "events");
	assert_int_equal(json_array_size(events), 1);
	assert_string_equal(text_of(events, 0, "subject"), "/etc/shadow");
	assert_string_equal(text_of(events, 0, "extra"), "more");
	policy = json_object_get(row, "policy");
	assert_int_equal(json_integer_value(json_object_get(policy, "max_memory_mb")),
			 100);
	assert_true(json_is_object(json_object_get(row, "result")));
	assert_int_equal(json_object_size(json_object_get(row, "missing")), 0);
	json_decref(rows);

	/* By its beginning, if that is enough. */
	assert_int_equal(count("show", json_pack("{s:s}", "id", "ffff")), 0);
	assert_null(ask("show", json_pack("{s:s}", "id", "000"), &stage));
	assert_int_equal(stage, SBX_AT_USAGE);
	assert_null(ask("show", json_pack("{s:s}", "id", "%"), &stage));
	assert_null(ask("show", json_object(), &stage));
	assert_int_equal(count("events", json_pack("{s:s}", "id",
						   "0000000000000000000000000000002a")),
			 1);
	assert_int_equal(count("samples", json_pack("{s:s}", "id",
						    "0000000000000000000000000000002b")),
			 43 % 4);
	assert_int_equal(count("samples", json_pack("{s:s}", "id", "ffff")), 0);
	assert_int_equal(count("stats", json_object()), 1);
}

/* Of many samples the points that were asked for, with the highest memory among them. */
static void test_samples(void **state)
{
	const char *id = "aa";
	long long most = 0, last = -1;
	json_t *rows;

	(void)state;
	box_begin(&box, id, "x");
	for (unsigned i = 0; i < 5000; i++)
		journal_sample(box.journal, id, i, i == 3333 ? 9999999 : 1000 + i, i, 1);
	box_end(&box, box_result(id, 1, 10));
	box_wait(&box, box.answers + 2);
	rows = ask("samples", json_pack("{s:s,s:i}", "id", id, "points", 100), NULL);
	assert_int_equal(json_array_size(rows), 100);
	for (size_t i = 0; i < 100; i++) {
		assert_true(number_of(rows, i, "at_ms") > last);
		last = number_of(rows, i, "at_ms");
		if (number_of(rows, i, "memory_bytes") > most)
			most = number_of(rows, i, "memory_bytes");
	}
	assert_int_equal(most, 9999999);
	assert_int_equal(last, 4999);
	json_decref(rows);
	rows = ask("samples", json_pack("{s:s,s:i}", "id", id, "points", 100000), NULL);
	assert_int_equal(json_array_size(rows), 5000);
	json_decref(rows);
}

/* ---- follow, cancel, hold ---- */

static void test_follow(void **state)
{
	unsigned recorded = box.answers + 2;
	struct answer answer;

	(void)state;
	begin_asking(&answer, "follow", json_object());
	answer.stop_after = 1;
	run_loop();
	assert_string_equal(text_of(answer.rows, 0, "record"), "following");
	box.stop_at = UINT32_MAX;
	box_record(&box, 1001);
	answer.stop_after = 4;
	run_loop();
	assert_string_equal(text_of(answer.rows, 1, "record"), "begin");
	assert_string_equal(text_of(answer.rows, 1, "status"), "running");
	assert_string_equal(text_of(answer.rows, 2, "record"), "event");
	assert_string_equal(text_of(answer.rows, 2, "execution"),
			    text_of(answer.rows, 1, "id"));
	assert_string_equal(text_of(answer.rows, 3, "record"), "verdict");
	assert_int_equal(number_of(answer.rows, 3, "seq"),
			 number_of(answer.rows, 1, "seq"));
	assert_false(answer.ended);
	journal_query_cancel(&answer.question);
	assert_null(answer.question);
	json_decref(answer.rows);
	box_wait(&box, recorded);
}

/* Words are found before the index has them. */
static void test_newest(void **state)
{
	(void)state;
	for (unsigned i = 2001; i <= 2020; i++) {
		char word[32];

		box_record(&box, i);
		box_wait(&box, box.answers + 2);
		(void)snprintf(word, sizeof(word), "number%u", i);
		assert_int_equal(count("list", json_pack("{s:s}", "text", word)), 1);
	}
	assert_int_equal(
		count("list", json_pack("{s:s,s:i}", "text", "number20*", "limit", 100)),
		21); /* and the 20th */
	assert_int_equal(
		count("list", json_pack("{s:s,s:i}", "text", "number20*", "limit", 5)),
		5);
}

static void test_cancel(void **state)
{
	struct answer answers[40];
	size_t asked = 0, refused = 0;

	(void)state;
	/* As many as may be, none of which anybody listens to any more. */
	for (size_t i = 0; i < 40; i++) {
		begin_asking(&answers[i], i % 2 ? "follow" : "list", json_object());
		if (answers[i].err.stage == SBX_AT_BUSY)
			refused++;
		else
			asked++;
	}
	/* The one before may not have ended yet. */
	assert_int_equal(asked + refused, 40);
	assert_in_range(asked, 30, 32);
	for (size_t i = 0; i < 40; i++) {
		journal_query_cancel(&answers[i].question);
		assert_int_equal(json_array_size(answers[i].rows), 0);
		json_decref(answers[i].rows);
	}
	/* Their places are free as soon as they have ended. */
	for (int i = 0; i < 200; i++) {
		int stage = 0;
		json_t *rows = ask("list", json_object(), &stage);

		json_decref(rows);
		if (rows)
			return;
		struct loop_timer *timer = NULL;

		(void)loop_timer_at(box.loop, &timer, loop_now_us() + 10000,
				    (loop_timer_fn)(void (*)(void))loop_stop, box.loop);
		(void)loop_run(box.loop);
		loop_timer_cancel(&timer);
	}
	fail_msg("cancelled questions keep their places");
}

static void stop_loop(void *arg)
{
	(void)arg;
	loop_stop(box.loop);
}

static void test_hold(void **state)
{
	struct loop_timer *timer = NULL;
	struct answer answer;

	(void)state;
	begin_asking(&answer, "list", json_object());
	journal_query_hold(answer.question, true);
	(void)loop_timer_at(box.loop, &timer, loop_now_us() + 100000, stop_loop, NULL);
	(void)loop_run(box.loop);
	loop_timer_cancel(&timer);
	assert_int_equal(json_array_size(answer.rows), 0);
	assert_false(answer.ended);
	journal_query_hold(answer.question, false);
	while (!answer.ended)
		run_loop();
	assert_int_equal(json_array_size(answer.rows), 50);
	json_decref(answer.rows);
}

/* A journal that is closed while it answers. */
static void test_close(void **state)
{
	struct answer answer;

	(void)state;
	begin_asking(&answer, "follow", json_object());
	box_close(&box);
	assert_false(answer.ended);
	json_decref(answer.rows);
	box.options.read_only = true;
	assert_int_equal(box_open(&box), 0);
	assert_true(count("list", json_object()) > 0);
	box_close(&box);
	box.options.read_only = false;
	assert_int_equal(box_open(&box), 0);
}

/* Texts of any bytes and any length are rows of JSON. */
static void test_hostile_records(void **state)
{
	char *code = malloc((1u << 20) + 64);
	json_t *rows;

	(void)state;
	memset(code, 'x', 1u << 20);
	strcpy(code + (1u << 20), "\033[2J\n\xff\xfe\u202e{\"record\": \"forged\"}\n");
	box_begin(&box, "bb", code);
	box_end(&box, box_result("bb", 1, 2u << 20));
	box_begin(&box, "cc", "\xff\033]0;title\a\n");
	box_end(&box, box_result("cc", 1, 10));
	box_wait(&box, box.answers + 4);
	rows = ask("show", json_pack("{s:s}", "id", "bb"), NULL);
	assert_int_equal(json_array_size(rows), 1);
	assert_int_equal(strlen(text_of(rows, 0, "code")), 1u << 20);
	assert_int_equal(number_of(rows, 0, "code_bytes"), (long long)strlen(code));
	assert_int_equal(strlen(text_of(rows, 0, "stdout")), 1u << 20);
	assert_true(number_of(rows, 0, "stdout_bytes") > 1 << 20);
	json_decref(rows);
	rows = ask("list", json_pack("{s:i}", "limit", 2), NULL);
	assert_string_equal(text_of(rows, 0, "code"), "\xef\xbf\xbd\033]0;title\a\n");
	json_decref(rows);
	free(code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),    cmocka_unit_test(test_pages),
		cmocka_unit_test(test_filters), cmocka_unit_test(test_hostile_filters),
		cmocka_unit_test(test_show),    cmocka_unit_test(test_hold),
		cmocka_unit_test(test_samples), cmocka_unit_test(test_follow),
		cmocka_unit_test(test_newest),  cmocka_unit_test(test_text_of_running),
		cmocka_unit_test(test_cancel),  cmocka_unit_test(test_hostile_records),
		cmocka_unit_test(test_close),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
