/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox run`: one program, its output as it comes, a summary, an exit code.
 * Process: the command's, with its user's rights; talks to its engine through libsbx.
 * Trusts: nothing that the program prints: it is passed on byte for byte to wherever the
 *   user sent it, and what the summary quotes of it is made safe. With --json nothing of
 *   it is shown but inside the result.
 * Invariants: nothing is printed on standard output by us without --json; with it exactly
 *   one object for each run that was begun; a first signal stops the program and waits
 *   for its result, a second one ends everything. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/config_file.h"
#include "cli/files.h"
#include "cli/output.h"
#include "cli/session.h"
#include "lib/internal.h"

struct options {
	struct cli_policy policy;
	const char *code, *file; /* one of them; file "-" is standard input */
	const char *template;
	struct config_file config;
	const char *journal; /* directory; NULL: the configured or the default one */
	const char *journal_key;
	char journal_error[512]; /* why there is none where there should be */
	bool no_journal, journal_required, journal_full;
	bool json, quiet;
	struct cli_session session; /* name NULL: a jail of its own */
	struct cli_files files;
};

static const char *const option_names[] = {
	CLI_POLICY_OPTIONS, "--template",    "--config",
	"--json",           "--quiet",       "-c",
	"--file",           "--files",       "--help",
	"--journal",        "--no-journal",  "--journal-required",
	"--journal-full",   "--journal-key", "--session",
	"--socket",         "--end",         NULL
};

/* ---- arguments ---- */

static int set_program(struct options *options, const char *code, const char *file)
{
	if (options->code || options->file)
		return cli_fail(EXIT_WRONG_USAGE, "run: one program at a time");
	options->code = code;
	options->file = file;
	return 0;
}

/* FILE: it is the last word, since those behind it will be the program's own one day. */
static int parse_file(struct options *options, int argc, char **argv, int i)
{
	int r;

	if (i >= argc)
		return cli_fail(EXIT_WRONG_USAGE, "run: no program after --");
	r = set_program(options, NULL, argv[i]);
	if (r != 0)
		return r;
	if (i + 1 >= argc)
		return 0;
	if (argv[i + 1][0] == '-')
		return cli_fail(EXIT_WRONG_USAGE,
				"run: options go before the file, %s came after it",
				argv[i + 1]);
	return cli_fail(EXIT_WRONG_USAGE,
			"run: a program takes no arguments yet, \"%s\" came after it",
			argv[i + 1]);
}

static int parse(int argc, char **argv, struct options *options)
{
	const char *code;
	int i, r;

	for (i = 1; i < argc; i++) {
		r = cli_policy_option(&options->policy, argc, argv, &i);
		if (r < 0)
			return EXIT_WRONG_USAGE;
		if (r == 0)
			r = cli_value(argc, argv, &i, "--template", &options->template);
		if (r == 0)
			r = cli_value(argc, argv, &i, "--config", &options->config.given);
		if (r == 0)
			r = cli_value(argc, argv, &i, "--journal", &options->journal);
		if (r == 0)
			r = cli_value(argc, argv, &i, "--journal-key",
				      &options->journal_key);
		if (r == 0)
			r = cli_value(argc, argv, &i, "--session",
				      &options->session.name);
		if (r == 0)
			r = cli_value(argc, argv, &i, "--socket",
				      &options->session.socket);
		if (r == 0)
			r = cli_files_option(&options->files, argc, argv, &i);
		if (r < 0)
			return EXIT_WRONG_USAGE;
		if (r > 0)
			continue;
		r = cli_value(argc, argv, &i, "-c", &code);
		if (r < 0)
			return EXIT_WRONG_USAGE;
		if (r > 0) {
			r = set_program(options, code, NULL);
			if (r != 0)
				return r;
		} else if (strcmp(argv[i], "--json") == 0) {
			options->json = true;
		} else if (strcmp(argv[i], "--end") == 0) {
			options->session.end = true;
		} else if (strcmp(argv[i], "--quiet") == 0) {
			options->quiet = true;
		} else if (strcmp(argv[i], "--no-journal") == 0) {
			options->no_journal = true;
		} else if (strcmp(argv[i], "--journal-required") == 0) {
			options->journal_required = true;
		} else if (strcmp(argv[i], "--journal-full") == 0) {
			options->journal_full = true;
		} else if (strcmp(argv[i], "--") == 0) {
			return parse_file(options, argc, argv, i + 1);
		} else if (argv[i][0] != '-' || argv[i][1] == '\0') {
			return parse_file(options, argc, argv, i);
		} else {
			return cli_unknown("run", argv[i], option_names);
		}
	}
	if (!options->code && !options->file && !options->session.end)
		return cli_fail(EXIT_WRONG_USAGE,
				"run: no program; give -c CODE, FILE or -");
	return 0;
}

/* What belongs to one way of running only. */
static int check(const struct options *options)
{
	const struct cli_session *session = &options->session;

	if (!session->name && (session->socket || session->end))
		return cli_fail(EXIT_WRONG_USAGE, "run: %s is about --session NAME",
				session->socket ? "--socket" : "--end");
	if (session->name &&
	    (options->config.given || options->journal || options->no_journal ||
	     options->journal_required || options->journal_full))
		return cli_fail(
			EXIT_WRONG_USAGE,
			"run: with --session the configuration and the journal are "
			"the server's: give these options to `sandbox serve`");
	return 0;
}

static int run_in_session(struct options *options, struct sbx_request *request)
{
	request->preset = options->policy.preset;
	request->policy = options->policy.text;
	request->policy_len = options->policy.len;
	request->settings = options->policy.settings;
	request->setting_count = options->policy.setting_count;
	options->session.template = options->template;
	options->session.json = options->json;
	options->session.quiet = options->quiet;
	return session_run(&options->session, request, &options->files);
}

/* ---- the program's text ---- */

static int read_stdin(struct buf *ret)
{
	char chunk[65536];

	for (;;) {
		ssize_t n = read(0, chunk, sizeof(chunk));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return buf_add(ret, "", 0);
		r = buf_add(ret, chunk, (size_t)n);
		if (r < 0)
			return r == -EMSGSIZE ? -EFBIG : r;
	}
}

/* Fills code, filename and stdin of the request. *ret_text is malloc'ed, or NULL. */
static int read_program(const struct options *options, struct sbx_request *request,
			char **ret_text)
{
	struct buf text = { .max = CODE_MAX };
	bool from_stdin = options->file && strcmp(options->file, "-") == 0;
	const char *name = from_stdin ? "standard input" : options->file;
	int r;

	request->stdin_fd = from_stdin ? -1 : 0;
	if (options->code) {
		request->code = options->code;
		request->code_len = strlen(options->code);
		return 0;
	}
	r = from_stdin ? read_stdin(&text)
		       : fd_read_file(AT_FDCWD, options->file, CODE_MAX, &text.data,
				      &text.len);
	if (r < 0)
		buf_free(&text);
	if (r == -EFBIG)
		return cli_fail(EXIT_WRONG_USAGE, "%s: the program is longer than %u MiB",
				name, CODE_MAX >> 20);
	if (r < 0)
		return cli_fail(EXIT_WRONG_USAGE, "%s: %s", name, strerror(-r));
	request->filename = from_stdin ? "<stdin>" : options->file;
	request->code = text.data;
	request->code_len = text.len;
	*ret_text = text.data;
	/* As python itself does with a file's first three bytes. */
	if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) {
		request->code += 3;
		request->code_len -= 3;
	}
	return 0;
}

/* What both callbacks of a request get. */
struct run_output {
	struct cli_output output; /* first: cli_output_write() knows it alone */
	struct cli_files *files;
};

static void on_file(void *arg, const char *path, const void *data, size_t len)
{
	const struct run_output *output = arg;

	cli_files_write(output->files, path, data, len);
}

/* A run that was begun and whose engine was lost has a result too: of the same shape,
 * made here. */
static int print_fault(const struct sbx_err *err)
{
	json_t *object = json_pack(
		"{s:n, s:s, s:n, s:n, s:s, s:s, s:{s:i, s:i, s:i}, s:{s:s, s:s, s:n, s:n}, s:[], s:[],"
		" s:{s:i, s:i, s:i, s:i, s:i}, s:[], s:{}, s:n, s:n, s:n}",
		"id", "status", sbx_status_name(SBX_FAULT), "result", "result_repr",
		"stdout", "", "stderr", "", "truncated", "stdout", 0, "stderr", 0,
		"files", 0, "error", "name", err_kind(err->stage)->name, "value",
		err->msg, "traceback", "line", "displays", "files", "usage", "wall_ms", 0,
		"cpu_ms", 0, "memory_peak_bytes", 0, "processes_peak", 0, "written_bytes",
		0, "events", "enforced", "policy", "template", "result_display");
	_cleanup_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text && puts(text) >= 0 ? 0 : -ENOMEM;
}

/* ---- the run ---- */

static int report_error(const struct options *options, const struct sbx_err *err)
{
	int code = err_kind(err->stage)->exit_code;

	(void)cli_fail(0, "%s", err->msg[0] ? err->msg : "the run failed");
	if (options->json && code == EXIT_OUR_FAULT)
		(void)print_fault(err);
	return cli_caught() ? 128 + cli_caught() : code;
}

static void print_summary(const struct sbx_result *result,
			  const struct cli_output *output)
{
	json_t *object = json_loads(sbx_result_json(result), JSON_ALLOW_NUL, NULL);

	if (object)
		cli_output_summary(output, object);
	json_decref(object);
}

static int report(const struct options *options, const struct sbx_result *result,
		  const struct cli_output *output)
{
	int code = sbx_status_exit_code(sbx_result_status(result));

	if (options->json && (puts(sbx_result_json(result)) < 0 || fflush(stdout) != 0))
		code = cli_fail(EXIT_OUR_FAULT, "writing the result: %s",
				strerror(errno));
	else if (output->failed)
		code = cli_fail(EXIT_OUR_FAULT, "writing the output: %s",
				strerror(output->failed));
	if (!options->json && !options->quiet)
		print_summary(result, output);
	if (options->files.failed[0])
		code = cli_fail(EXIT_OUR_FAULT, "--files %s: %s", options->files.out,
				options->files.failed);
	return cli_caught() ? 128 + cli_caught() : code;
}

/* What the command line says over the configuration. New reference, NULL: no memory. */
static json_t *journal_options(const struct options *options, int journal_fd)
{
	json_t *journal = json_object();
	char link[32], path[PATH_MAX];
	ssize_t len;

	/* What was opened, so that `required` is about something. */
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", journal_fd);
	len = journal_fd < 0 ? -1 : readlink(link, path, sizeof(path));
	if (len > 0)
		(void)json_object_set_new(journal, "dir",
					  json_stringn(path, (size_t)len));

	if (options->journal_required)
		(void)json_object_set_new(journal, "required", json_true());
	if (options->journal_full)
		(void)json_object_set_new(journal, "durability", json_string("full"));
	if (options->no_journal) {
		json_decref(journal);
		journal = json_false();
	}
	return json_pack("{s:o}", "journal", journal);
}

/* The journal's directory, and its key's file where the configuration names one; made if
 * need be. What cannot be opened is the engine's to tell, unless it was asked for. */
static int open_journal(struct options *options, struct spawn_options *ret,
			struct sbx_err *err)
{
	const char *dir = options->journal, *key = options->journal_key;
	json_t *plan = NULL;
	bool off = options->no_journal;
	int r;

	if (off && (options->journal || options->journal_required || key))
		return err_set(err, SBX_AT_USAGE, 0, "--no-journal is about all of it");
	if (options->config.text && !off) {
		if (config_file_plan(&options->config, NULL, &plan, "run") != 0)
			return err_set(err, SBX_AT_USAGE, 0, "%s is not to be used",
				       options->config.path);
		if (!dir && *plan_text(plan, "journal", "dir"))
			dir = plan_text(plan, "journal", "dir");
		if (!key && *plan_text(plan, "journal", "key"))
			key = plan_text(plan, "journal", "key");
		off = !options->journal && !options->journal_required &&
		      json_is_true(
			      json_object_get(json_object_get(plan, "journal"), "off"));
	}
	if (off) {
		json_decref(plan);
		return 0;
	}
	r = journal_dir_open(dir, true, &ret->journal_fd, err);
	if (r == 0 && key) {
		ret->key_fd = open(key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (ret->key_fd < 0)
			r = err_set(err, SBX_AT_JOURNAL, errno, "journal: %.200s", key);
	}
	json_decref(plan);
	if (r == 0 || options->journal_required || key)
		return r;
	/* One that cannot be is no reason not to run; the result says so. */
	(void)snprintf(options->journal_error, sizeof(options->journal_error), "%s",
		       err->msg);
	if (options->json && !options->quiet) /* else the summary says so */
		(void)fprintf(stderr, "sandbox: run: not recorded: %s\n", err->msg);
	*err = (struct sbx_err){ 0 };
	return 0;
}

/* An engine under the configuration, if there is one. 0 or -errno. */
static int open_box(struct options *options, struct sbx **ret, struct sbx_err *err)
{
	struct spawn_options spawn = { .door = true, .journal_fd = -1, .key_fd = -1 };
	_cleanup_free_ char *text = NULL;
	json_t *frame;
	int r = open_journal(options, &spawn, err);
	_cleanup_fd_ int dir_fd = spawn.journal_fd, key_fd = spawn.key_fd;

	(void)dir_fd;
	(void)key_fd;
	if (r < 0)
		return r;
	if (!options->config.text && !options->journal_required &&
	    !options->journal_full && !options->journal_error[0])
		return sbx_open_with(&spawn, NULL, 0, ret, err);
	frame = json_pack("{s:o, s:o, s:s?}", "file",
			  options->config.text ? json_stringn(options->config.text,
							      options->config.len)
					       : json_null(),
			  "options", journal_options(options, spawn.journal_fd),
			  "journal_error",
			  options->journal_error[0] ? options->journal_error : NULL);
	text = frame ? json_dumps(frame, JSON_COMPACT) : NULL;
	json_decref(frame);
	if (!text)
		return err_set(err, SBX_AT_USAGE, 0, "%s is not UTF-8",
			       options->config.path);
	r = sbx_open_with(&spawn, text, strlen(text), ret, err);
	if (r < 0 && (err->stage == SBX_AT_USAGE || err->stage == SBX_AT_POLICY ||
		      err->stage == SBX_AT_CEILING))
		return options->config.text ? err_set(err, SBX_AT_USAGE, 0, "%s: %s",
						      options->config.path, err->msg)
					    : r;
	return r;
}

static int run_it(struct options *options, struct sbx_request *request)
{
	struct run_output output = { .files = &options->files };
	struct sbx_err err = { 0 };
	struct sbx_result *result;
	struct sbx *box;
	int code, r;

	request->preset = options->policy.preset;
	request->policy = options->policy.text;
	request->policy_len = options->policy.len;
	request->settings = options->policy.settings;
	request->setting_count = options->policy.setting_count;
	request->files = options->files.given;
	request->file_count = options->files.given_count;
	if (sbx_request_check(request, &err) < 0)
		return request->filename ? cli_fail(EXIT_WRONG_USAGE, "%s: %s",
						    request->filename, err.msg)
					 : cli_fail(EXIT_WRONG_USAGE, "%s", err.msg);
	code = cli_files_begin(&options->files);
	if (code != 0)
		return code;
	r = cli_catch_signals();
	if (r < 0)
		return cli_fail(EXIT_OUR_FAULT, "signals: %s", strerror(-r));
	cli_output_begin(&output.output);
	request->cancel_fd = &cli_cancel_fd;
	request->arg = &output;
	if (!options->json)
		request->on_output = cli_output_write;
	if (options->files.out)
		request->on_file = on_file;
	if (options->template && !options->config.text)
		return cli_fail(
			EXIT_WRONG_USAGE,
			"run: there is no configuration that has a template \"%s\"",
			options->template);
	if (open_box(options, &box, &err) < 0)
		return report_error(options, &err);
	sbx_template(box, options->template);
	if (sbx_run(box, request, &result, &err) < 0) {
		code = report_error(options, &err);
	} else {
		code = report(options, result, &output.output);
		sbx_result_free(result);
	}
	sbx_close(box);
	return code;
}

int cli_run(int argc, char **argv)
{
	struct options options = { .files.out_fd = -1 };
	struct sbx_request request = { .stdin_fd = -1 };
	char *text = NULL;
	int code;

	code = parse(argc, argv, &options);
	if (code == 0)
		code = check(&options);
	if (code == 0 && (options.code || options.file))
		code = read_program(&options, &request, &text);
	if (code == 0)
		code = cli_policy_load(&options.policy);
	if (code == 0 && options.session.name)
		code = run_in_session(&options, &request);
	else if (code == 0)
		code = config_file_read(&options.config, "run");
	if (code == 0 && !options.session.name)
		code = run_it(&options, &request);
	cli_policy_clear(&options.policy);
	cli_files_clear(&options.files);
	config_file_clear(&options.config);
	free(text);
	return code;
}
