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

/* ---- two at once ---- */

static void child(const char *dir, unsigned from, unsigned count, bool full)
{
	struct box box = { 0 };

	if (loop_new(&box.loop) < 0)
		_exit(1);
	box.options.dir = dir;
	box.options.durability = full ? JOURNAL_FULL : JOURNAL_NORMAL;
	if (box_open(&box) < 0) {
		(void)fprintf(stderr, "%s\n", box.err.msg);
		_exit(2);
	}
	for (unsigned i = 0; i < count; i++) {
		box_record(&box, from + i);
		box_wait(&box, 2 * i + 2);
	}
	box_close(&box);
	_exit(box.failures ? 3 : 0);
}

static void two_processes(void **state)
{
	struct box *box = *state;
	pid_t pids[3];
	int status;

	/* From nothing: they also make its key and its file at the same time. */
	for (unsigned i = 0; i < 3; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			child(box->dir, i * 1000 + 1, 60, i == 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_true(box_is_good(box));
	assert_int_equal(ask(box, "SELECT count(*) FROM verdicts"), 180);
	assert_int_equal(ask(box, "SELECT count(*) FROM starts"), 3);
}

/* ---- engines that die ---- */

static void killed(void **state)
{
	struct box *box = *state;
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct box its = { 0 };

		if (loop_new(&its.loop) < 0)
			_exit(1);
		its.options.dir = box->dir;
		if (box_open(&its) < 0)
			_exit(2);
		box_record(&its, 1);
		box_begin(&its, "unfinished", "while True: pass");
		box_wait(&its, 3);
		(void)!write(ready[1], "x", 1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	/* It lives, so nothing is lost. */
	assert_int_equal(box_open(box), 0);
	box_close(box);
	assert_int_equal(ask(box, "SELECT count(*) FROM running"), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(box_is_good(box));
	assert_int_equal(box_open(box), 0);
	box_close(box);
	assert_int_equal(ask(box, "SELECT count(*) FROM running"), 0);
	assert_int_equal(ask(box, "SELECT count(*) FROM verdicts v JOIN executions e "
				  "ON e.seq = v.execution WHERE status = 'lost' AND "
				  "id = 'unfinished'"),
			 1);
	assert_true(box_is_good(box));
	(void)close(ready[0]);
	(void)close(ready[1]);
}

/* ---- what cannot be written ---- */

static void no_place(void **state)
{
	struct box *box = *state;
	struct rlimit before, small = { .rlim_cur = 600000 };
	unsigned answers = 0;

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(box_open(box), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (unsigned i = 1000; i < 1400 && box->failures == 0; i++) {
		box_record(box, i);
		answers += 2;
		box_wait(box, answers);
	}
	assert_true(box->failures > 0);
	assert_int_equal(box->err.stage, SBX_AT_JOURNAL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	/* What was told of is there; and it goes on when there is room. */
	box->failures = 0;
	box_record(box, 5000);
	box_wait(box, answers + 2);
	assert_int_equal(box->failures, 0);
	box_close(box);
	assert_true(box_is_good(box));
}

static void refuses(void **state)
{
	struct box *box = *state;
	char path[128], moved[128];
	sqlite3 *db;

	(void)snprintf(path, sizeof(path), "%s/journal.key", box->dir);
	(void)snprintf(moved, sizeof(moved), "%s/moved", box->dir);
	assert_int_equal(box_open(box), 0);
	box_record(box, 1);
	box_wait(box, 2);
	box_close(box);
	/* A key that others can read, another's, none. */
	assert_int_equal(chmod(path, 0640), 0);
	assert_true(box_open(box) < 0);
	assert_non_null(strstr(box->err.msg, "0600"));
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(rename(path, moved), 0);
	assert_true(box_open(box) < 0);
	assert_int_equal(box->err.errnum, ENOENT);
	assert_int_not_equal(access(path, F_OK), 0);
	{
		char text[CHAIN_KEY_TEXT];
		int fd = open(path, O_WRONLY | O_CREAT, 0600);

		chain_key_make(text);
		assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
		(void)close(fd);
	}
	assert_true(box_open(box) < 0);
	assert_non_null(strstr(box->err.msg, "key"));
	assert_int_equal(rename(moved, path), 0);
	/* A directory that others can write. */
	assert_int_equal(chmod(box->dir, 0777), 0);
	assert_true(box_open(box) < 0);
	assert_int_equal(chmod(box->dir, 0700), 0);
	/* An end that was cut off is not gone on from. */
	assert_int_equal(box_open(box), 0);
	box_close(box);
	box_sql(box, "DELETE FROM starts WHERE seq = (SELECT max(seq) FROM starts)");
	assert_true(box_open(box) < 0);
	assert_non_null(strstr(box->err.msg, "starts"));
	/* No database at all. */
	db = box_edit(box);
	(void)sqlite3_close(db);
	(void)snprintf(path, sizeof(path), "%s/journal.db", box->dir);
	{
		int fd = open(path, O_WRONLY | O_TRUNC);

		assert_int_equal(write(fd, "this is no database at all, is it", 33), 33);
		(void)close(fd);
	}
	assert_true(box_open(box) < 0);
	assert_int_equal(box->err.stage, SBX_AT_JOURNAL);
}

static void locked(void **state)
{
	struct box *box = *state;
	sqlite3 *db;

	assert_int_equal(box_open(box), 0);
	box_close(box);
	db = box_edit(box);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL),
			 SQLITE_OK);
	assert_true(box_open(box) < 0);
	assert_non_null(strstr(box->err.msg, "locked"));
	(void)sqlite3_close(db);
	assert_int_equal(box_open(box), 0);
}

/* ---- pruning ---- */

static void prunes(void **state)
{
	struct box *box = *state;
	json_t *done = NULL;
	unsigned answers;

	assert_int_equal(box_open(box), 0);
	box_begin(box, "early", "while True: pass");
	for (unsigned i = 1; i <= 300; i++)
		box_record(box, i);
	box_wait(box, 601);
	box_indexed(box);
	/* Everything is older than this; but the first still runs. */
	assert_int_equal(prune_run(box->journal, 0, UINT64_MAX, NULL, &done, &box->err),
			 0);
	assert_int_equal(json_integer_value(json_object_get(done, "executions")), 0);
	json_decref(done);
	box_end(box, box_result("early", 0, 0));
	box_wait(box, 602);
	box_begin(box, "late", "while True: pass");
	box_wait(box, 603);
	assert_int_equal(prune_run(box->journal, 0, UINT64_MAX, NULL, &done, &box->err),
			 0);
	assert_int_equal(json_integer_value(json_object_get(done, "executions")), 301);
	json_decref(done);
	assert_true(box_is_good(box));
	assert_int_equal(ask(box, "SELECT count(*) FROM executions"), 1);
	assert_int_equal(ask(box, "SELECT count(*) FROM verdicts"), 0);
	assert_int_equal(ask(box, "SELECT count(*) FROM events"), 0);
	assert_int_equal(ask(box, "SELECT count(*) FROM samples"), 0);
	assert_int_equal(ask(box, "SELECT count(*) FROM search('number77')"), 0);
	assert_true(ask(box, "SELECT count(*) FROM cuts") >= 5);
	answers = box->answers;
	box_end(box, box_result("late", 0, 0));
	box_record(box, 900);
	box_wait(box, answers + 3);
	box_indexed(box);
	assert_true(box_is_good(box));
	assert_int_equal(box->failures, 0);
	assert_int_equal(ask(box, "SELECT count(*) FROM search('number900')"), 1);
}

/* Objects that no record names any more go, once they are old. */
static int age(void *arg, const unsigned char *name, const char *path, uint64_t bytes,
	       int64_t modified_us)
{
	const struct timespec old[2] = { { .tv_sec = 1000000000 },
					 { .tv_sec = 1000000000 } };
	struct box *box = arg;

	(void)name;
	(void)bytes;
	(void)modified_us;
	assert_int_equal(utimensat(box->journal->objects_fd, path, old, 0), 0);
	return 0;
}

static void sweeps(void **state)
{
	struct box *box = *state;
	json_t *done = NULL;

	assert_int_equal(box_open(box), 0);
	for (unsigned i = 1; i <= 70; i++)
		box_record(box, i * 7);
	box_wait(box, 140);
	assert_int_equal(prune_run(box->journal, 0, UINT64_MAX, NULL, &done, &box->err),
			 0);
	assert_int_equal(json_integer_value(json_object_get(done, "objects")), 0);
	json_decref(done);
	box_begin(box, "keeps", "pass");
	box_wait(box, 141);
	assert_int_equal(object_each(box->journal, age, box), 0);
	assert_int_equal(prune_run(box->journal, 90, UINT64_MAX, NULL, &done, &box->err),
			 0);
	/* All but the policy, which the last one names. */
	assert_true(json_integer_value(json_object_get(done, "objects")) >= 70);
	json_decref(done);
	assert_true(box_is_good(box));
}

/* ---- versions ---- */

static int migrated;

static int migrate(sqlite3 *db, void *arg, struct sbx_err *err)
{
	(void)db;
	(void)err;
	migrated = *(int *)arg;
	return migrated == 13 ? -EIO : 0;
}

static void versions(void **state)
{
	const struct schema_version all[] = {
		{ "CREATE TABLE a (x)", NULL },
		{ "ALTER TABLE a ADD COLUMN y", migrate },
		{ "CREATE TABLE b (z)", NULL },
	};
	struct sbx_err err = { 0 };
	int seen = 7;
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(schema_apply(db, all, 1, &seen, &err), 0);
	assert_int_equal(migrated, 0);
	assert_int_equal(schema_apply(db, all, 3, &seen, &err), 0);
	assert_int_equal(migrated, 7);
	assert_int_equal(sqlite3_exec(db,
				      "INSERT INTO a (x, y) VALUES (1, 2);"
				      "INSERT INTO b VALUES (1)",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(schema_apply(db, all, 3, &seen, &err), 0);
	/* Newer than we are. */
	assert_int_equal(schema_apply(db, all, 2, &seen, &err), -EPROTO);
	(void)sqlite3_close(db);
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	seen = 13;
	assert_int_equal(schema_apply(db, all, 3, &seen, &err), -EIO);
	(void)sqlite3_close(db);
}

/* ---- masking ---- */

static void masks(void **state)
{
	static const char *const patterns[] = { "hunter2-secret", "sk-live-*",
						"key=*;end" };
	struct box *box = *state;
	_cleanup_buf_ struct buf out = { 0 };
	struct redact *redact;
	struct sbx_err err;
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "a hunter2-secret b", "a *** b" },
		{ "hunter2-secrehunter2-secret", "hunter2-secre***" },
		{ "sk-live-abc/DEF_1 x sk-live-", "*** x ***" },
		{ "key=abc;end key=abc end", "*** key=abc end" },
		{ "nothing", "nothing" },
		{ "", "" },
	};

	assert_int_equal(redact_new(patterns, 3, &redact, &err), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		out.len = 0;
		assert_int_equal(
			redact_text(redact, cases[i].in, strlen(cases[i].in), &out), 0);
		assert_int_equal(out.len, strlen(cases[i].out));
		assert_memory_equal(out.data ? out.data : "", cases[i].out, out.len);
	}
	redact_free(&redact);
	assert_true(redact_new(&(const char *){ "abc" }, 1, &redact, &err) < 0);
	assert_true(redact_new(&(const char *){ "*" }, 1, &redact, &err) < 0);
	box->options.redact = patterns;
	box->options.redact_count = 3;
	assert_int_equal(box_open(box), 0);
	box_begin(box, "m", "password = 'hunter2-secret'");
	{
		json_t *result = box_result("m", 1, 0);

		(void)json_object_set_new(result, "stdout",
					  json_string("it is hunter2-secret"));
		(void)json_object_set_new(result, "result_repr",
					  json_string("'sk-live-1234567890'"));
		(void)json_object_set_new(
			json_array_get(json_object_get(result, "events"), 0), "subject",
			json_string("/home/hunter2-secret"));
		(void)json_object_set_new(
			result, "files",
			json_pack("[{s:s,s:i},{s:s,s:i}]", "path", "hunter2-secret.txt",
				  "size", 1, "path", "sk-live-1234567890", "size", 2));
		journal_file(box->journal, "m", "hunter2-secret.txt", "x", 1);
		box_end(box, result);
	}
	box_wait(box, 2);
	box_indexed(box);
	box_close(box);
	assert_int_equal(box->failures, 0);
	box_sql(box, "PRAGMA wal_checkpoint(TRUNCATE)");
	{
		char command[200];

		(void)snprintf(command, sizeof(command),
			       "grep -rqE 'hunter2-secret|1234567890' %s", box->dir);
		assert_int_not_equal(system(command), 0);
		(void)snprintf(command, sizeof(command), "grep -rqF '***' %s", box->dir);
		assert_int_equal(system(command), 0);
	}
}

/* Any bytes in any field. */
static void hostile(void **state)
{
	struct box *box = *state;
	size_t len = 1u << 20;
	char *code = malloc(len + 1);
	json_t *result = box_result("h", 1, 0);

	memset(code, '\n', len);
	memcpy(code, "\x1b[2J\xff\xfe\xe2\x80\xae", 9);
	code[len] = '\0';
	assert_int_equal(box_open(box), 0);
	box_begin(box, "h", code);
	(void)json_object_set_new(result, "stdout", json_stringn("a\0b\n\x1b]0;x\a", 10));
	(void)json_object_set_new(result, "status",
				  json_string("x'); DROP TABLE events;--"));
	(void)json_object_set_new(result, "usage", json_string("no object"));
	(void)json_array_append_new(json_object_get(result, "events"), json_true());
	(void)json_array_append_new(json_object_get(result, "events"),
				    json_pack("{s:s,s:[]}", "at_ms", "x", "kind"));
	box_end(box, result);
	box_wait(box, 2);
	assert_int_equal(box->failures, 0);
	box_indexed(box);
	assert_true(box_is_good(box));
	assert_int_equal(ask(box, "SELECT length(CAST(stdout AS BLOB)) FROM verdicts"),
			 10);
	assert_int_equal(ask(box, "SELECT code_bytes FROM executions"), 1 << 20);
	free(code);
}

static void measure(void **state)
{
	struct box *box = *state;
	unsigned count = getenv("JOURNAL_RECORDS")
				 ? (unsigned)atoi(getenv("JOURNAL_RECORDS"))
				 : 0;
	json_t *report;
	uint64_t began;

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
		cmocka_unit_test_setup_teardown(two_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(killed, setup, teardown),
		cmocka_unit_test_setup_teardown(no_place, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(locked, setup, teardown),
		cmocka_unit_test_setup_teardown(prunes, setup, teardown),
		cmocka_unit_test_setup_teardown(sweeps, setup, teardown),
		cmocka_unit_test_setup_teardown(masks, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile, setup, teardown),
		cmocka_unit_test(versions),
	};
	/* JOURNAL_RECORDS=250000: what it costs. */
	const struct CMUnitTest figures[] = {
		cmocka_unit_test_setup_teardown(measure, setup, teardown),
	};

	return getenv("JOURNAL_RECORDS") ? cmocka_run_group_tests(figures, NULL, NULL)
					 : cmocka_run_group_tests(tests, NULL, NULL);
}
