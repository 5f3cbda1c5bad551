/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox log`: what the security journal holds.
 * Process: the command's, with its user's rights: it opens the directory, and starts an
 *   engine that reads what is in it. Neither the database nor a key is touched here.
 * Trusts: its arguments to be its user's own. What records hold of programs' text passes
 *   terminal.h on its way out.
 * Invariants: SIGINT, SIGTERM and a reader that goes away end every verb quietly. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/log.h"
#include "cli/terminal.h"

#define HEAD_MAX (64u << 10)
#define KEY_FILE_MAX 4096u

static int cancel_fd = -1;
static bool reader_gone; /* of standard output */

/* ---- arguments ---- */

enum {
	FOR_LIST = 1,
	FOR_SHOW = 2,
	FOR_FOLLOW = 4,
	FOR_EXPORT = 8,
	FOR_VERIFY = 16,
	FOR_HEAD = 32,
	FOR_PRUNE = 64,
	FOR_STATS = 128,
	FOR_ALL = 255
};

static const struct {
	const char *name;
	unsigned verb;
	int (*run)(struct log_session *session);
} verbs[] = {
	{ "list", FOR_LIST, log_list },       { "show", FOR_SHOW, log_show },
	{ "follow", FOR_FOLLOW, log_follow }, { "export", FOR_EXPORT, log_export },
	{ "verify", FOR_VERIFY, log_verify }, { "head", FOR_HEAD, log_head },
	{ "prune", FOR_PRUNE, log_prune },    { "stats", FOR_STATS, log_stats },
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

/* A length of time (90s, 30m, 2h, 7d, 4w) in seconds; -1: it is none. */
static int64_t length_of(const char *text)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 }
	};
	char *end;
	long long n;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (*end == units[i].unit && end[1] == '\0' && errno == 0 &&
		    n < 100LL * 366 * 86400 / units[i].seconds)
			return n * units[i].seconds;
	return -1;
}

/* Since 1970, in microseconds; -1: it is no time. */
static int64_t time_of(const char *text)
{
	static const char *const formats[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
					       "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
					       "%Y-%m-%d" };
	int64_t length = length_of(text), seconds;
	char *end;

	if (length >= 0)
		return ((int64_t)time(NULL) - length) * 1000000;
	if (text[0] == '@' && text[1] >= '0' && text[1] <= '9') {
		errno = 0;
		seconds = strtoll(text + 1, &end, 10);
		return *end || errno || seconds > INT32_MAX * 100LL ? -1
								    : seconds * 1000000;
	}
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct tm parts = { .tm_isdst = -1 };
		const char *rest = strptime(text, formats[i], &parts);

		if (!rest || (*rest && strcmp(rest, "Z") != 0))
			continue;
		seconds = *rest ? (int64_t)timegm(&parts) : (int64_t)mktime(&parts);
		return seconds < 0 ? -1 : seconds * 1000000;
	}
	return -1;
}

/* 500MB, 1GB, 2GiB or plain bytes; -1: it is no size. */
static int64_t size_of(const char *text)
{
	static const struct {
		const char *unit;
		int64_t bytes;
	} units[] = { { "", 1 },          { "K", 1 << 10 }, { "KB", 1000 },
		      { "KiB", 1 << 10 }, { "M", 1 << 20 }, { "MB", 1000000 },
		      { "MiB", 1 << 20 }, { "G", 1 << 30 }, { "GB", 1000000000 },
		      { "GiB", 1 << 30 } };
	char *end;
	long long n;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcasecmp(end, units[i].unit) == 0 && errno == 0 && n > 0 &&
		    n <= INT64_MAX / units[i].bytes)
			return n * units[i].bytes;
	return -1;
}

static int set_text(struct log_options *options, const char *key, const char *text)
{
	json_t *value = *text ? json_string(text) : NULL;

	if (value && json_object_set_new(options->filter, key, value) == 0)
		return 0;
	return cli_fail(EXIT_WRONG_USAGE, "log: --%s wants a text in UTF-8", key);
}

static int set_number(struct log_options *options, const char *name, const char *key,
		      int64_t number, const char *wants)
{
	if (number < 0)
		return cli_fail(EXIT_WRONG_USAGE, "log: %s wants %s", name, wants);
	return json_object_set_new(options->filter, key, json_integer(number)) == 0
		       ? 0
		       : cli_fail(EXIT_OUR_FAULT, "out of memory");
}

static int64_t whole(const char *text)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	return *text < '0' || *text > '9' || *end || errno ? -1 : n;
}

static int on_text(struct log_options *o, const char *name, const char *value)
{
	return set_text(o, name + 2, value);
}
static int on_status(struct log_options *o, const char *name, const char *value)
{
	return status_known(value)
		       ? set_text(o, name + 2, value)
		       : cli_fail(
				 EXIT_WRONG_USAGE,
				 "log: --status wants a verdict (ok, error, timeout, memory,"
				 " cpu, processes, output, disk, denied, killed, fault),"
				 " running, lost or refused");
}
static int on_time(struct log_options *o, const char *name, const char *value)
{
	return set_number(
		o, name, name + 2, time_of(value),
		"a time (2026-11-24, 2026-11-24T16:20, ...Z, @1790000000) or how"
		" long ago (30m, 2h, 7d)");
}
static int on_number(struct log_options *o, const char *name, const char *value)
{
	return set_number(o, name, name + 2, whole(value), "a whole number");
}
static int on_limit(struct log_options *o, const char *name, const char *value)
{
	int64_t n = whole(value);

	return set_number(o, name, "limit", n >= 1 && n <= 1000000 ? n : -1,
			  "a number from 1 to 1000000");
}
static int on_age(struct log_options *o, const char *name, const char *value)
{
	int64_t seconds = length_of(value);

	return set_number(o, name, "keep_days", seconds >= 86400 ? seconds / 86400 : -1,
			  "days, as 30d (at least one)");
}
static int on_size(struct log_options *o, const char *name, const char *value)
{
	return set_number(o, name, "keep_bytes", size_of(value),
			  "a size, as 500MB or 1GB");
}
static int on_format(struct log_options *o, const char *name, const char *value)
{
	(void)name;
	o->format = value;
	return strcmp(value, "jsonl") == 0 || strcmp(value, "csv") == 0
		       ? 0
		       : cli_fail(EXIT_WRONG_USAGE,
				  "log export: --format is jsonl or csv");
}
static int on_journal(struct log_options *o, const char *name, const char *value)
{
	(void)name;
	o->dir = value;
	return *value ? 0
		      : cli_fail(EXIT_WRONG_USAGE, "log: --journal wants a directory");
}
static int on_key(struct log_options *o, const char *name, const char *value)
{
	(void)name;
	o->key = value;
	return 0;
}
static int on_public_key(struct log_options *o, const char *name, const char *value)
{
	(void)name;
	o->public_key = value;
	return 0;
}
static int on_noted(struct log_options *o, const char *name, const char *value)
{
	(void)name;
	o->noted = value;
	return 0;
}

#define FOR_FILTERS (FOR_LIST | FOR_EXPORT)
static const struct option_row {
	const char *name;
	unsigned verbs;
	int (*take)(struct log_options *o, const char *name, const char *value);
} valued[] = {
	{ "--journal", FOR_ALL, on_journal },
	{ "--journal-key", FOR_ALL, on_key },
	{ "--status", FOR_FILTERS | FOR_FOLLOW, on_status },
	{ "--session", FOR_FILTERS | FOR_FOLLOW, on_text },
	{ "--event", FOR_FILTERS | FOR_FOLLOW, on_text },
	{ "--caller", FOR_FILTERS | FOR_FOLLOW, on_text },
	{ "--text", FOR_FILTERS, on_text },
	{ "--since", FOR_FILTERS, on_time },
	{ "--until", FOR_FILTERS, on_time },
	{ "--limit", FOR_FILTERS, on_limit },
	{ "--before", FOR_FILTERS, on_number },
	{ "--after", FOR_FILTERS | FOR_FOLLOW, on_number },
	{ "--format", FOR_EXPORT, on_format },
	{ "--public-key", FOR_VERIFY, on_public_key },
	{ "--head", FOR_VERIFY, on_noted },
	{ "--older-than", FOR_PRUNE, on_age },
	{ "--larger-than", FOR_PRUNE, on_size },
};
#define VALUED_COUNT (sizeof(valued) / sizeof(valued[0]))

/* 0: another; 1: taken; -1: failed, after a message. */
static int take_flag(struct log_options *o, unsigned verb, const char *arg)
{
	if (strcmp(arg, "--json") == 0) {
		o->json = true;
		return 1;
	}
	if (strcmp(arg, "--reverse") == 0 && (verb & FOR_FILTERS))
		return json_object_set_new(o->filter, "reverse", json_true()) == 0 ? 1
										   : -1;
	if (strcmp(arg, "--deep") == 0 && verb == FOR_VERIFY) {
		o->deep = true;
		return 1;
	}
	if (strcmp(arg, "--signed") == 0 && verb == FOR_HEAD) {
		o->signed_too = true;
		return 1;
	}
	if (strcmp(arg, "--dry-run") == 0 && verb == FOR_PRUNE) {
		o->dry_run = true;
		return 1;
	}
	return 0;
}

static int parse(int argc, char **argv, unsigned verb, struct log_options *o)
{
	const char *names[VALUED_COUNT + 5] = { "--json", "--reverse", "--help", NULL };
	size_t count = 3;

	for (size_t j = 0; j < VALUED_COUNT; j++)
		if (valued[j].verbs & verb)
			names[count++] = valued[j].name;
	for (int i = 1; i < argc; i++) {
		int r = take_flag(o, verb, argv[i]);
		const char *value;

		for (size_t j = 0; r == 0 && j < VALUED_COUNT; j++) {
			if (!(valued[j].verbs & verb))
				continue;
			r = cli_value(argc, argv, &i, valued[j].name, &value);
			if (r > 0 && valued[j].take(o, valued[j].name, value) != 0)
				r = -1;
		}
		if (r < 0)
			return EXIT_WRONG_USAGE;
		if (r == 0 && argv[i][0] != '-' && verb == FOR_SHOW && !o->id) {
			o->id = argv[i];
			r = 1;
		}
		if (r == 0)
			return cli_unknown("log", argv[i], names);
	}
	if (verb == FOR_SHOW && !o->id)
		return cli_fail(EXIT_WRONG_USAGE,
				"log show: which execution? (see `sandbox log list`)");
	return 0;
}

/* ---- signals ---- */

static void on_signal(int sig)
{
	const uint64_t one = 1;
	int saved = errno;

	(void)sig;
	if (write(cancel_fd, &one, sizeof(one)) < 0)
		_exit(128 + sig);
	errno = saved;
}

static int catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	/* A second one ends us at once; the engine ends with its lifeline. */
	struct sigaction action = { .sa_handler = on_signal,
				    .sa_flags = (int)SA_RESETHAND };

	cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cancel_fd < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], &action, NULL) < 0)
			return -errno;
	return 0;
}

/* ---- output ---- */

bool log_put(const struct buf *text)
{
	if ((text->len == 0 || fwrite(text->data, 1, text->len, stdout) == text->len) &&
	    fflush(stdout) == 0)
		return true;
	reader_gone = errno == EPIPE;
	return false;
}

bool log_put_json(const char *text, size_t len)
{
	struct buf line = { 0 };
	bool ok = terminal_json(&line, text, len) == 0 && buf_add(&line, "\n", 1) == 0 &&
		  log_put(&line);

	buf_free(&line);
	return ok;
}

/* ---- asking ---- */

int log_ask_rows(struct log_session *session, const char *verb, const json_t *filter,
		 log_row_fn fn, void *arg)
{
	const struct log_question question = { .verb = verb,
					       .filter = filter,
					       .on_row = fn,
					       .arg = arg,
					       .cancel_fd = &cancel_fd,
					       .output_fd = 1 };
	struct sbx_err err = { 0 };
	int r = log_ask(session->spawned, &question, &err);

	if (r >= 0)
		return 0;
	/* What cannot even be opened is what verify is asked for. */
	if (strcmp(verb, "verify") == 0 && err.errnum == EBADMSG) {
		json_t *row = json_pack("{s:b,s:{s:s,s:i,s:s}}", "ok", 0, "finding",
					"table", "journal.db", "seq", 0, "what", err.msg);

		if (row)
			(void)fn(arg, row, NULL, 0);
		json_decref(row);
		return row ? 0 : cli_fail(EXIT_OUR_FAULT, "out of memory");
	}
	return cli_fail(err_kind(err.stage)->exit_code == EXIT_WRONG_USAGE
				? EXIT_WRONG_USAGE
				: EXIT_OUR_FAULT,
			"log: %s", err.msg[0] ? err.msg : strerror(-r));
}

static int run_verb(const struct log_options *options, int (*verb)(struct log_session *))
{
	struct spawn_options how = { .reader = true, .door = true, .journal_fd = -1 };
	struct spawned spawned;
	struct log_session session = { .options = options, .spawned = &spawned };
	struct sbx_err err = { 0 };
	int code = 0;

	if (journal_dir_open(options->dir, false, &how.journal_fd, &err) < 0)
		return cli_fail(EXIT_WRONG_USAGE, "log: %s", err.msg);
	if (options->key) {
		how.key_fd = open(options->key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (how.key_fd < 0)
			return cli_fail(EXIT_WRONG_USAGE, "log: --journal-key %s: %s",
					options->key, strerror(errno));
	}
	if (catch_signals() < 0)
		return cli_fail(EXIT_OUR_FAULT, "signals: %s", strerror(errno));
	if (spawn_broker(&how, &spawned, &err) < 0)
		code = cli_fail(EXIT_OUR_FAULT, "log: %s", err.msg);
	(void)close(how.journal_fd);
	fd_close(options->key ? &how.key_fd : &(int){ -1 });
	if (code != 0)
		return code;
	code = verb(&session);
	(void)spawn_end(&spawned);
	/* A reader that has seen enough is no failure. */
	if (!reader_gone)
		return code;
	__fpurge(stdout);
	clearerr(stdout);
	return code == EXIT_OUR_FAULT ? 0 : code;
}

int cli_log(int argc, char **argv)
{
	const char *names[VERB_COUNT + 1] = { NULL }, *near;
	struct log_options options = { .filter = json_object(),
				       .columns = terminal_columns(1),
				       .colour = cli_colour(1) };
	int code;
	size_t i;

	if (argc < 2) {
		json_decref(options.filter);
		return cli_fail(EXIT_WRONG_USAGE,
				"log: list, show, follow, verify, head, export, prune or"
				" stats? (see `sandbox help log`)");
	}
	for (i = 0; i < VERB_COUNT; i++)
		names[i] = verbs[i].name;
	for (i = 0; i < VERB_COUNT && strcmp(argv[1], verbs[i].name) != 0; i++)
		;
	if (i == VERB_COUNT) {
		near = cli_nearest(argv[1], names);
		json_decref(options.filter);
		return near ? cli_fail(EXIT_WRONG_USAGE,
				       "log: there is no \"%s\"; did you mean %s?",
				       argv[1], near)
			    : cli_fail(EXIT_WRONG_USAGE,
				       "log: there is no \"%s\" (see `sandbox help log`)",
				       argv[1]);
	}
	options.verb = verbs[i].name;
	code = options.filter ? parse(argc - 1, argv + 1, verbs[i].verb, &options)
			      : cli_fail(EXIT_OUR_FAULT, "out of memory");
	if (code == 0)
		code = run_verb(&options, verbs[i].run);
	json_decref(options.filter);
	return code;
}
