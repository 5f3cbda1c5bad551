/* SPDX-License-Identifier: MIT
 * Admission: places, turns between callers, promised memory. Counts only, no timings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/admission.h"

#define MB ((uint64_t)1 << 20)
#define JOBS 64

static struct loop *loop;
static struct admission *admission;

struct job {
	struct admission_ticket *ticket;
	int number;
	bool admitted;
};
static struct job jobs[JOBS];
static int order[JOBS], order_count;

static void on_admitted(void *arg)
{
	struct job *job = arg;

	assert_false(job->admitted);
	job->admitted = true;
	order[order_count++] = job->number;
}

static void on_end(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

/* Lets the loop make what grants there are. */
static void settle(void)
{
	struct loop_timer *timer = NULL;

	assert_int_equal(loop_timer_at(loop, &timer, loop_now_us() + 5000, on_end, NULL),
			 0);
	assert_int_equal(loop_run(loop), 0);
	loop_timer_cancel(&timer);
}

static int begin(void **state)
{
	(void)state;
	memset(jobs, 0, sizeof(jobs));
	order_count = 0;
	for (int i = 0; i < JOBS; i++)
		jobs[i].number = i;
	return loop_new(&loop) < 0 || admission_new(loop, &admission) < 0;
}

static int end(void **state)
{
	(void)state;
	for (int i = 0; i < JOBS; i++)
		admission_done(&jobs[i].ticket);
	admission_free(&admission);
	loop_free(loop);
	return 0;
}

static void limit(uint32_t executions, uint32_t queue, uint64_t memory_bytes)
{
	const struct admission_limits limits = { executions, queue, memory_bytes };

	admission_configure(admission, &limits);
}

static int ask_as(int i, const char *caller, enum admission_kind kind, uint64_t bytes,
		  struct sbx_err *err)
{
	return admission_ask(admission, kind, caller, bytes, on_admitted, &jobs[i],
			     &jobs[i].ticket, err);
}

static long long described(const char *key)
{
	json_t *all = admission_describe(admission);
	long long value = json_integer_value(json_object_get(all, key));

	json_decref(all);
	return value;
}

static void test_places(void **state)
{
	(void)state;
	limit(2, 10, 0);
	assert_int_equal(ask_as(0, "a", ADMISSION_RUN, MB, NULL), 1);
	assert_int_equal(ask_as(1, "a", ADMISSION_RUN, MB, NULL), 1);
	assert_int_equal(ask_as(2, "a", ADMISSION_RUN, MB, NULL), 0);
	settle();
	assert_int_equal(order_count, 0);
	admission_done(&jobs[0].ticket);
	assert_null(jobs[0].ticket);
	assert_int_equal(order_count, 0); /* never from inside */
	settle();
	assert_int_equal(order_count, 1);
	assert_true(jobs[2].admitted);
	assert_int_equal(described("running"), 2);
}

/* One caller has forty waiting, another comes with two: they are the first and the third
 * to run, not the last. */
static void test_turns(void **state)
{
	(void)state;
	limit(1, 100, 0);
	assert_int_equal(ask_as(0, "busy", ADMISSION_RUN, MB, NULL), 1);
	for (int i = 1; i <= 40; i++)
		assert_int_equal(ask_as(i, "busy", ADMISSION_RUN, MB, NULL), 0);
	assert_int_equal(ask_as(50, "other", ADMISSION_RUN, MB, NULL), 0);
	assert_int_equal(ask_as(51, "other", ADMISSION_RUN, MB, NULL), 0);
	assert_int_equal(described("callers_waiting"), 2);
	admission_done(&jobs[0].ticket);
	for (int turn = 0; turn < 42; turn++) {
		settle();
		assert_int_equal(order_count, turn + 1);
		admission_done(&jobs[order[turn]].ticket);
	}
	assert_int_equal(order[0], 1);
	assert_int_equal(order[1], 50);
	assert_int_equal(order[2], 2);
	assert_int_equal(order[3], 51);
	for (int i = 4; i < 42; i++)
		assert_int_equal(order[i], i - 1);
	assert_int_equal(described("running"), 0);
	assert_int_equal(described("callers_waiting"), 0);
}

static void test_queue_is_bounded(void **state)
{
	struct sbx_err err = { 0 };

	(void)state;
	limit(1, 2, 0);
	assert_int_equal(ask_as(0, "a", ADMISSION_RUN, MB, NULL), 1);
	assert_int_equal(ask_as(1, "a", ADMISSION_RUN, MB, NULL), 0);
	assert_int_equal(ask_as(2, "b", ADMISSION_RUN, MB, NULL), 0);
	assert_int_equal(ask_as(3, "c", ADMISSION_RUN, MB, &err), -EAGAIN);
	assert_int_equal(err.stage, SBX_AT_BUSY);
	assert_null(jobs[3].ticket);
	assert_in_range(admission_retry_after(admission), 1, 60);
	/* One that goes away makes room. */
	admission_done(&jobs[1].ticket);
	assert_int_equal(ask_as(3, "c", ADMISSION_RUN, MB, NULL), 0);
	settle();
	assert_int_equal(order_count, 0);
}

static void test_what_waits_is_bounded_in_bytes(void **state)
{
	struct sbx_err err = { 0 };

	(void)state;
	limit(1, 10, 0);
	assert_int_equal(ask_as(0, "a", ADMISSION_RUN, MB, NULL), 1);
	assert_int_equal(admission_weigh(jobs[0].ticket, SIZE_MAX, NULL), 0);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(ask_as(i, "a", ADMISSION_RUN, MB, NULL), 0);
		assert_int_equal(admission_weigh(jobs[i].ticket,
						 ADMISSION_WAITING_BYTES / 2, NULL),
				 0);
	}
	assert_int_equal(ask_as(3, "a", ADMISSION_RUN, MB, NULL), 0);
	assert_int_equal(admission_weigh(jobs[3].ticket, 1, &err), -EAGAIN);
	assert_int_equal(err.stage, SBX_AT_BUSY);
	admission_done(&jobs[0].ticket); /* the first of them waits no more */
	settle();
	assert_int_equal(admission_weigh(jobs[3].ticket, 1, NULL), 0);
}

static void test_memory(void **state)
{
	struct sbx_err err = { 0 };

	(void)state;
	limit(10, 10, 100 * MB + 2 * (uint64_t)ADMISSION_OVERHEAD_BYTES);
	assert_int_equal(ask_as(0, "a", ADMISSION_RUN, 200 * MB, &err), -EPERM);
	assert_int_equal(err.stage, SBX_AT_CEILING);
	assert_string_equal(err.field, "max_memory_mb");
	assert_int_equal(ask_as(0, "a", ADMISSION_RUN, 60 * MB, NULL), 1);
	assert_int_equal(ask_as(1, "a", ADMISSION_RUN, 60 * MB, NULL), 0);
	/* What fits passes what does not. */
	assert_int_equal(ask_as(2, "b", ADMISSION_RUN, 40 * MB, NULL), 0);
	settle();
	assert_int_equal(order_count, 1);
	assert_true(jobs[2].admitted);
	assert_int_equal(described("promised_bytes"), described("memory_bytes"));
	admission_done(&jobs[0].ticket);
	settle();
	assert_true(jobs[1].admitted);
	admission_done(&jobs[1].ticket);
	admission_done(&jobs[2].ticket);
	assert_int_equal(described("promised_bytes"), 0);
}

/* A stream of small ones does not keep a large one waiting for ever. */
static void test_a_large_one_has_its_turn(void **state)
{
	int small = 2, passed = 0;

	(void)state;
	limit(2, 64, 100 * MB + 2 * (uint64_t)ADMISSION_OVERHEAD_BYTES);
	assert_int_equal(ask_as(0, "small", ADMISSION_RUN, 40 * MB, NULL), 1);
	assert_int_equal(ask_as(1, "large", ADMISSION_RUN, 100 * MB, NULL), 0);
	for (; small < JOBS && !jobs[1].admitted; small++) {
		assert_int_equal(ask_as(small, "small", ADMISSION_RUN, 40 * MB, NULL), 0);
		settle();
		passed += jobs[small].admitted;
		/* The one before is done only after the next has come: something always
		 * runs, until the large one's patience ends. */
		for (int i = 0; i < small; i++)
			if (i != 1 && (i == 0 || jobs[i].admitted))
				admission_done(&jobs[i].ticket);
		settle();
	}
	assert_true(jobs[1].admitted);
	assert_true(passed > 0);
}

/* Memory that sessions hold is theirs; what waits for it blocks nobody. */
static void test_sessions(void **state)
{
	(void)state;
	limit(1, 64, 100 * MB + 2 * (uint64_t)ADMISSION_OVERHEAD_BYTES);
	assert_int_equal(ask_as(0, "a", ADMISSION_SESSION, 50 * MB, NULL), 1);
	assert_int_equal(ask_as(1, "a", ADMISSION_IN, 50 * MB, NULL), 1);
	assert_int_equal(described("promised_bytes"), 50 * MB + ADMISSION_OVERHEAD_BYTES);
	assert_int_equal(ask_as(2, "a", ADMISSION_SESSION, 60 * MB, NULL), 0);
	for (int i = 3; i < 50; i++) {
		assert_int_equal(ask_as(i, "b", ADMISSION_IN, 0, NULL), 0);
		admission_done(&jobs[i == 3 ? 1 : i - 1].ticket);
		settle();
		assert_true(jobs[i].admitted);
	}
	/* Nor of the same caller. */
	admission_done(&jobs[49].ticket);
	assert_int_equal(ask_as(50, "a", ADMISSION_IN, 0, NULL), 0);
	settle();
	assert_true(jobs[50].admitted);
	assert_false(jobs[2].admitted);
	admission_done(&jobs[0].ticket);
	settle();
	assert_true(jobs[2].admitted);
	assert_int_equal(described("sessions"), 1);
}

/* A program of a session is refused when it is accepted, or never; what it holds counts. */
static void test_room(void **state)
{
	struct sbx_err err = { 0 };
	size_t held = ADMISSION_WAITING_BYTES;

	(void)state;
	limit(1, 1, 0);
	assert_int_equal(admission_room(admission, NULL), 0);
	assert_int_equal(ask_as(0, "a", ADMISSION_RUN, MB, NULL), 1);
	assert_int_equal(admission_room(admission, NULL), 0);
	assert_int_equal(ask_as(1, "a", ADMISSION_IN, 0, NULL), 0);
	assert_int_equal(admission_room(admission, &err), -EAGAIN);
	assert_int_equal(err.stage, SBX_AT_BUSY);
	assert_int_equal(ask_as(2, "b", ADMISSION_IN, 0, NULL), 0);
	assert_int_equal(ask_as(3, "b", ADMISSION_RUN, MB, NULL), -EAGAIN);
	assert_int_equal(admission_hold(admission, held, NULL), 0);
	assert_int_equal(admission_hold(admission, 1, NULL), -EAGAIN);
	assert_int_equal(admission_weigh(jobs[1].ticket, 1, NULL), -EAGAIN);
	admission_drop(admission, &held);
	assert_int_equal(held, 0);
	assert_int_equal(admission_weigh(jobs[1].ticket, 1, NULL), 0);
	limit(1, 0, 0);
	assert_int_equal(admission_room(admission, NULL), -EAGAIN);
	for (int i = 0; i < 3; i++)
		admission_done(&jobs[i].ticket);
	assert_int_equal(admission_room(admission, NULL), 0);
}

static void test_limits_change(void **state)
{
	(void)state;
	limit(1, 10, 0);
	assert_int_equal(ask_as(0, "a", ADMISSION_RUN, MB, NULL), 1);
	assert_int_equal(ask_as(1, "a", ADMISSION_RUN, MB, NULL), 0);
	limit(2, 10, 0);
	settle();
	assert_true(jobs[1].admitted);
	limit(1, 10, MB); /* below what is promised */
	assert_int_equal(ask_as(2, "a", ADMISSION_IN, 0, NULL), 0);
	admission_done(&jobs[0].ticket);
	settle();
	assert_false(jobs[2].admitted);
	admission_done(&jobs[1].ticket);
	settle();
	assert_true(jobs[2].admitted);
}

static void test_suggestion(void **state)
{
	struct admission_limits limits;

	(void)state;
	admission_suggest(&limits);
	assert_in_range(limits.executions, 64, ADMISSION_EXECUTIONS_MAX);
	assert_int_equal(limits.queue, 1024);
	assert_true(limits.memory_bytes > 16 * MB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_places, begin, end),
		cmocka_unit_test_setup_teardown(test_turns, begin, end),
		cmocka_unit_test_setup_teardown(test_queue_is_bounded, begin, end),
		cmocka_unit_test_setup_teardown(test_what_waits_is_bounded_in_bytes,
						begin, end),
		cmocka_unit_test_setup_teardown(test_memory, begin, end),
		cmocka_unit_test_setup_teardown(test_a_large_one_has_its_turn, begin,
						end),
		cmocka_unit_test_setup_teardown(test_sessions, begin, end),
		cmocka_unit_test_setup_teardown(test_room, begin, end),
		cmocka_unit_test_setup_teardown(test_limits_change, begin, end),
		cmocka_unit_test(test_suggestion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
