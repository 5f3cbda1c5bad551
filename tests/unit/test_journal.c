/* SPDX-License-Identifier: MIT
 * The journal: records, durability, two at once, failures, keys, pruning, masking. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal/prune.h"
#include "journal/redact.h"
#include "journal/writer.h"
#include "journal_help.h"

static int setup(void **state)
{
	struct box *box = calloc(1, sizeof(*box));

	box_make(box);
	*state = box;
	return 0;
}

static int teardown(void **state)
{
	box_remove(*state);
	free(*state);
	return 0;
}

static int64_t ask(struct box *box, const char *sql)
{
	sqlite3 *db = box_edit(box);
	sqlite3_stmt *get = NULL;
	int64_t value;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &get, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(get), SQLITE_ROW);
	value = sqlite3_column_int64(get, 0);
	(void)sqlite3_finalize(get);
	(void)sqlite3_close(db);
	return value;
}

static void records(void **state)
{
	struct box *box = *state;

	assert_int_equal(box_open(box), 0);
	for (unsigned i = 1; i <= 200; i++)
		box_record(box, i);
	box_wait(box, 400);
	assert_int_equal(box->failures, 0);
	box_indexed(box);
	assert_true(box_is_good(box));
	assert_int_equal(ask(box, "SELECT count(*) FROM executions"), 200);
	assert_int_equal(ask(box, "SELECT count(*) FROM verdicts WHERE status = 'error'"),
			 66);
	assert_int_equal(ask(box, "SELECT count(*) FROM events WHERE rest = "
				  "'{\"extra\":\"more\"}'"),
			 200);
	assert_int_equal(ask(box, "SELECT sum(count) FROM samples"), 300);
	assert_int_equal(ask(box, "SELECT count(*) FROM files"), 40);
	assert_int_equal(ask(box, "SELECT count(*) FROM running"), 0);
	assert_int_equal(ask(box, "SELECT count(*) FROM verdicts WHERE stdout_object IS "
				  "NOT NULL AND stdout_bytes = 6000"),
			 28);
	assert_int_equal(ask(box, "SELECT rowid FROM search('number77')"), 77);
	box_close(box);
	assert_true(box_is_good(box));
	/* And on from there. */
	assert_int_equal(box_open(box), 0);
	box_record(box, 1000);
	box_wait(box, 402);
	assert_int_equal(box->failures, 0);
	assert_true(box_is_good(box));
}

static void measure(void **state)
{
	struct box *box = *state;
	unsigned count = getenv("JOURNAL_RECORDS")
				 ? (unsigned)atoi(getenv("JOURNAL_RECORDS"))
				 : 0;
	json_t *report;
	uint64_t began;

	if (!count)
		skip();
	assert_int_equal(box_open(box), 0);
	began = loop_now_us();
	for (unsigned i = 1; i <= count; i++) {
		box_record(box, i);
		if (i % 500 == 0)
			box_wait(box, 2 * i);
	}
	box_wait(box, 2 * count);
	(void)fprintf(stderr, "%.1f us a run\n", (double)(loop_now_us() - began) / count);
	began = loop_now_us();
	box_indexed(box);
	(void)fprintf(stderr, "index: %.1f s more\n",
		      (double)(loop_now_us() - began) / 1e6);
	box_close(box);
	report = box_verify(box, NULL, NULL);
	(void)json_dumpf(report, stderr, JSON_INDENT(1));
	json_decref(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(records, setup, teardown),
		cmocka_unit_test_setup_teardown(measure, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
