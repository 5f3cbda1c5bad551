/* SPDX-License-Identifier: MIT */
#include "journal_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void box_make(struct box *box)
{
	memset(box, 0, sizeof(*box));
	strcpy(box->dir, "/tmp/test-journal-XXXXXX");
	assert_non_null(mkdtemp(box->dir));
	assert_int_equal(loop_new(&box->loop), 0);
	box->options.dir = box->dir;
}

int box_open(struct box *box)
{
	memset(&box->err, 0, sizeof(box->err));
	return journal_open(box->loop, &box->options, &box->journal, &box->err);
}

void box_close(struct box *box)
{
	journal_close(&box->journal);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

void box_remove(struct box *box)
{
	box_close(box);
	loop_free(box->loop);
	(void)chmod(box->dir, 0700);
	(void)nftw(box->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void on_answer(void *arg, const struct sbx_err *err)
{
	struct box *box = arg;

	box->answers++;
	if (err) {
		box->failures++;
		box->err = *err;
	}
	if (box->answers >= box->stop_at)
		loop_stop(box->loop);
}

static void on_late(void *arg)
{
	(void)arg;
	fail_msg("the journal did not answer in 30 s");
}

void box_wait(struct box *box, unsigned answers)
{
	struct loop_timer *timer = NULL;

	box->stop_at = answers;
	if (box->answers >= answers)
		return;
	assert_int_equal(
		loop_timer_at(box->loop, &timer, loop_now_us() + 30000000, on_late, box),
		0);
	assert_int_equal(loop_run(box->loop), 0);
	loop_timer_cancel(&timer);
}

void box_begin(struct box *box, const char *id, const char *code)
{
	json_t *policy = json_pack("{s:i,s:s}", "max_memory_mb", 100, "python",
				   "/usr/bin/python3");
	const struct journal_begin begin = { .id = id,
					     .caller = "command",
					     .door = "command",
					     .filename = "a.py",
					     .preset = "strict",
					     .code = code,
					     .code_len = strlen(code),
					     .policy = policy };

	assert_int_equal(journal_begin(box->journal, &begin, on_answer, box), 0);
	json_decref(policy);
}

void box_end(struct box *box, json_t *result)
{
	assert_int_equal(journal_end(box->journal, result, on_answer, box), 0);
	json_decref(result);
}

json_t *box_result(const char *id, unsigned salt, size_t output)
{
	char *text = malloc(output + 32);
	json_t *result;
	size_t len;

	(void)snprintf(text, 32, "output number%u ", salt);
	len = strlen(text);
	for (; len < output; len++)
		text[len] = (char)('a' + (salt + len * len) % 26);
	text[len] = '\0';
	result = json_pack(
		"{s:s,s:s,s:n,s:s,s:s,s:n,s:[],s:{s:f,s:f,s:i,s:i,s:i},s:[{s:i,s:s,s:s,s:s,s:s,"
		"s:i,s:n,s:i,s:s}],s:{s:s},s:{s:i},s:[]}",
		"id", id, "status", salt % 3 ? "ok" : "error", "result", "stdout", text,
		"stderr", "", "error", "displays", "usage", "wall_ms", 12.5, "cpu_ms",
		3.0, "memory_peak_bytes", 1000000, "processes_peak", 1, "written_bytes",
		0, "events", "at_ms", 3, "source", "kernel", "kind", "open", "subject",
		"/etc/shadow", "rule", "allow_file_operations", "line", 2, "remedy",
		"count", 1, "extra", "more", "enforced", "memory", "cgroup2", "policy",
		"max_memory_mb", 100, "files");
	assert_non_null(result);
	free(text);
	return result;
}

void box_record(struct box *box, unsigned salt)
{
	char id[33], code[64];

	(void)snprintf(id, sizeof(id), "%032x", salt);
	(void)snprintf(code, sizeof(code), "print('number%u')\n", salt);
	box_begin(box, id, code);
	for (unsigned i = 0; i < salt % 4; i++)
		journal_sample(box->journal, id, i * 50, 1000000 + i, i * 900, 1);
	if (salt % 5 == 0)
		journal_file(box->journal, id, "left.txt", code, strlen(code));
	box_end(box, box_result(id, salt, salt % 7 == 0 ? 6000 : 0));
}

void box_indexed(struct box *box)
{
	char text[HEAD_TEXT_MAX];
	struct head head;
	sqlite3 *db;

	for (int tries = 0; tries < 300; tries++) {
		assert_int_equal(store_open_reader(box->journal, &db, &box->err), 0);
		assert_int_equal(
			head_load(db, &box->journal->keys, &head, text, &box->err), 0);
		(void)sqlite3_close(db);
		if (head.indexed == head.tables[TABLE_VERDICTS].last.seq)
			return;
		(void)usleep(50000);
	}
	fail_msg("the search index does not catch up");
}

static json_t *verify(struct box *box, const struct journal_verify *what)
{
	struct box reader = { .loop = box->loop };
	json_t *report = NULL;

	reader.options = box->options;
	reader.options.read_only = true;
	if (box_open(&reader) < 0) {
		box->err = reader.err;
		return NULL;
	}
	if (verify_run(reader.journal, what, NULL, &report, &reader.err) < 0)
		box->err = reader.err;
	box_close(&reader);
	return report;
}

json_t *box_verify(struct box *box, const char *noted, const char *public_key)
{
	const struct journal_verify what = { .noted = noted, .public_key = public_key };

	return verify(box, &what);
}

json_t *box_verify_deep(struct box *box)
{
	const struct journal_verify what = { .deep = true };

	return verify(box, &what);
}

bool box_is_good(struct box *box)
{
	json_t *report = box_verify(box, NULL, NULL);
	bool good = report && json_is_true(json_object_get(report, "ok"));

	if (!good && report)
		(void)json_dumpf(json_object_get(report, "finding"), stderr, 0);
	else if (!good)
		(void)fprintf(stderr, "%s\n", box->err.msg);
	json_decref(report);
	return good;
}

sqlite3 *box_edit(struct box *box)
{
	char path[128];
	sqlite3 *db;

	(void)snprintf(path, sizeof(path), "%s/journal.db", box->dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 5000);
	return db;
}

void box_sql(struct box *box, const char *sql)
{
	sqlite3 *db = box_edit(box);

	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	(void)sqlite3_close(db);
}

void copy_tree(const char *from, const char *to)
{
	char command[300];

	(void)snprintf(command, sizeof(command), "rm -rf '%s' && cp -a '%s' '%s'", to,
		       from, to);
	assert_int_equal(system(command), 0);
}
