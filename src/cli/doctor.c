/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox doctor`: which walls and limits stand on this machine, tried and not
 *   guessed, and how to get those that do not.
 * Process: the command's, with its user's rights and one thread; the walls' probes fork.
 *   A broker and an engine are started for what only they can tell: the cgroups, and
 *   whether a program really runs.
 * Trusts: the table of walls. Text of the trial's result is made safe before it is shown.
 * Invariants: exit code 0 only if every wall stands and the trial ran to its end with
 * every one of them. */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "jail/walls.h"
#include "lib/internal.h"
#include "lib/spawn.h"

#define DETAIL_SIZE 256
#define NAME_COLUMNS 24
#define SHOWN_MAX 400

/* The trial's program: the interpreter says who it is. No more of its answer is believed
 * than two lines of text. */
#define TRIAL "import sys\n__result__ = [sys.executable, sys.version.split()[0]]\n"

struct finding {
	bool stands;
	char detail[DETAIL_SIZE];
};

struct report {
	struct finding *walls; /* wall_count of them */
	size_t missing;
	bool started; /* broker and engine */
	struct broker_hello hello;
	struct sbx_err err; /* why not, or why the trial failed */
	bool ran;
	char *interpreter, *version, *why_no_cgroup; /* safe to show; NULL: not known */
	json_t *enforced;                            /* of the trial, or NULL */
};

/* ---- finding out ---- */

static int probe_walls(struct report *report)
{
	size_t i;

	report->walls = calloc(wall_count ? wall_count : 1, sizeof(*report->walls));
	if (!report->walls)
		return -ENOMEM;
	for (i = 0; i < wall_count; i++) {
		struct finding *found = &report->walls[i];

		found->stands = walls[i].probe(found->detail, sizeof(found->detail)) == 0;
		found->detail[sizeof(found->detail) - 1] = '\0';
		report->missing += !found->stands;
	}
	return 0;
}

static char *safe_text(const json_t *value)
{
	return json_is_string(value) ? summary_line(json_string_value(value),
						    json_string_length(value), SHOWN_MAX)
				     : NULL;
}

static void keep_trial(struct report *report, const struct sbx_result *result)
{
	json_t *object = json_loads(sbx_result_json(result), JSON_ALLOW_NUL, NULL);
	const json_t *value = json_object_get(object, "result"),
		     *error = json_object_get(object, "error");

	report->ran = sbx_result_status(result) == SBX_OK;
	report->enforced = json_incref(json_object_get(object, "enforced"));
	report->interpreter = safe_text(json_array_get(value, 0));
	report->version = safe_text(json_array_get(value, 1));
	if (!report->ran) {
		_cleanup_free_ char *name = safe_text(json_object_get(error, "name"));
		_cleanup_free_ char *why = safe_text(json_object_get(error, "value"));

		(void)err_set(&report->err, SBX_AT_ENGINE, 0, "%s: %s: %s",
			      sbx_status_name(sbx_result_status(result)),
			      name ? name : "", why ? why : "");
	}
	json_decref(object);
}

/* Missing walls are seen already: the trial is to say what is left. */
static void try_a_program(struct report *report)
{
	static const struct sbx_setting settings[] = {
		{ "allowed_modules", "[\"sys\"]" },
		{ "degraded", "allow" },
		{ "max_execution_time", "20" },
	};
	const struct sbx_request request = {
		.code = TRIAL,
		.code_len = sizeof(TRIAL) - 1,
		.settings = settings,
		.setting_count = sizeof(settings) / sizeof(settings[0]),
		.stdin_fd = -1,
	};
	struct sbx_result *result;
	struct spawned spawned;
	struct sbx *box;

	if (spawn_broker(&(struct spawn_options){ .door = true, .journal_fd = -1 },
			 &spawned, &report->err) < 0)
		return;
	report->started = true;
	report->hello = spawned.hello;
	report->why_no_cgroup = summary_line(spawned.hello.why_no_cgroup,
					     strlen(spawned.hello.why_no_cgroup),
					     SHOWN_MAX);
	if (sbx_over(&spawned, &box, &report->err) < 0)
		return;
	if (sbx_run(box, &request, &result, &report->err) == 0) {
		keep_trial(report, result);
		sbx_result_free(result);
	}
	sbx_close(box);
}

/* ---- limits ---- */

static const struct {
	const char *name, *name_zh, *key;
	unsigned controller;
} limits[] = {
	{ "memory", "内存", "memory", CGROUP_MEMORY },
	{ "CPU share", "CPU 份额", "cpu", CGROUP_CPU },
	{ "processes", "进程数", "processes", CGROUP_PIDS },
};
#define LIMIT_COUNT (sizeof(limits) / sizeof(limits[0]))

/* What the trial's own result says, else what the broker found. */
static const char *kept_by(const struct report *report, size_t i)
{
	const char *by = json_string_value(
		json_object_get(report->enforced, limits[i].key));

	if (by)
		return by;
	if (!report->started)
		return "none";
	return (report->hello.cgroup.controllers & limits[i].controller) &&
			       report->hello.cgroup.version != CGROUP_NONE
		       ? cgroup_name(&report->hello.cgroup)
		       : "rlimit+supervised";
}

static bool all_well(const struct report *report)
{
	size_t i;

	for (i = 0; i < LIMIT_COUNT; i++)
		if (strcmp(kept_by(report, i), "none") == 0)
			return false;
	return report->missing == 0 && report->ran;
}

/* ---- for a person ---- */

/* Columns that text takes on a terminal: Chinese characters take two. */
static int width(const char *text)
{
	size_t len = strlen(text), n;
	uint32_t c;
	int columns = 0;

	while (len > 0 && (n = utf8_next(text, len, &c)) > 0) {
		columns += c >= 0x1100 && c < 0x20000 ? 2 : 1;
		text += n;
		len -= n;
	}
	return columns;
}

static void print_row(const char *mark, const char *name, const char *what)
{
	int pad = NAME_COLUMNS - width(name);

	(void)printf("  %s %s%*s %s\n", mark, name, pad > 0 ? pad : 0, "", what);
}

static void print_note(const char *label, const char *text)
{
	_cleanup_free_ char *line = summary_line(text, strlen(text), SHOWN_MAX);

	if (line && *line)
		(void)printf("          %s: %s\n", label, line);
}

static void print_walls(const struct report *report, bool zh)
{
	const char *stands = zh ? "有  " : "stands ", *missing = zh ? "缺失" : "MISSING";
	size_t i;

	(void)puts(zh ? "墙" : "walls");
	for (i = 0; i < wall_count; i++) {
		const struct finding *found = &report->walls[i];

		print_row(found->stands ? stands : missing,
			  zh ? walls[i].name_zh : walls[i].name, walls[i].probed_with);
		if (found->detail[0])
			print_note(zh ? "详情" : "detail", found->detail);
		if (!found->stands)
			print_note(zh ? "办法" : "remedy",
				   zh ? walls[i].remedy_zh : walls[i].remedy);
	}
}

static void print_limits(const struct report *report, bool zh)
{
	const char *kept = zh ? "有  " : "kept   ", *missing = zh ? "缺失" : "MISSING";
	size_t i;

	(void)puts(zh ? "限额" : "limits");
	for (i = 0; i < LIMIT_COUNT; i++) {
		const char *by = kept_by(report, i);

		print_row(strcmp(by, "none") == 0 ? missing : kept,
			  zh ? limits[i].name_zh : limits[i].name, by);
	}
	if (report->why_no_cgroup)
		print_note(zh ? "没有 cgroup 的原因" : "why no cgroup",
			   report->why_no_cgroup);
}

static void print_report(const struct report *report, const struct utsname *system,
			 bool zh)
{
	(void)printf("sandbox %s, %s %s %s, %s\n", SBX_VERSION, system->sysname,
		     system->release, system->machine,
		     geteuid() == 0 ? (zh ? "以 root 运行" : "as root")
				    : (zh ? "以普通用户运行" : "as an ordinary user"));
	print_walls(report, zh);
	print_limits(report, zh);
	(void)puts(zh ? "试运行" : "trial run");
	if (report->ran)
		(void)printf("  %s %s %s\n", zh ? "成功" : "ok     ",
			     report->interpreter ? report->interpreter : "",
			     report->version ? report->version : "");
	else
		(void)printf("  %s %s\n", zh ? "失败" : "FAILED ", report->err.msg);
	if (all_well(report))
		(void)puts(zh ? "所有的墙都在。" : "All walls stand.");
	else
		(void)puts(
			zh ? "有缺失：策略要求的墙立不起来时，程序不会运行，除非 degraded 为 allow。"
			   : "Something is missing: programs are refused, unless the policy says degraded: allow.");
}

/* ---- for a program ---- */

static json_t *walls_json(const struct report *report)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; list && i < wall_count; i++) {
		const struct finding *found = &report->walls[i];
		_cleanup_free_ char *detail = summary_line(
			found->detail, strlen(found->detail), DETAIL_SIZE);

		if (json_array_append_new(
			    list, json_pack("{s:s, s:b, s:s, s:s, s:s, s:s?}", "name",
					    walls[i].name, "stands", found->stands,
					    "enforced", walls[i].enforced, "probed_with",
					    walls[i].probed_with, "detail",
					    detail ? detail : "", "remedy",
					    found->stands ? NULL : walls[i].remedy)) <
		    0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int print_json(const struct report *report, const struct utsname *system)
{
	json_t *kept = json_object(), *object;
	_cleanup_free_ char *text = NULL;
	size_t i;

	for (i = 0; i < LIMIT_COUNT; i++)
		(void)json_object_set_new(kept, limits[i].key,
					  json_string(kept_by(report, i)));
	object = json_pack(
		"{s:b, s:s, s:s, s:s, s:b, s:o, s:o, s:s?, s:{s:b, s:s?, s:s?, s:s?, s:O?}}",
		"ok", all_well(report), "version", SBX_VERSION, "kernel", system->release,
		"machine", system->machine, "root", geteuid() == 0, "walls",
		walls_json(report), "limits", kept, "why_no_cgroup",
		report->why_no_cgroup, "trial", "ok", report->ran, "python",
		report->interpreter, "python_version", report->version, "error",
		report->ran ? NULL : report->err.msg, "enforced", report->enforced);
	text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
	json_decref(object);
	if (!text)
		return cli_fail(EXIT_OUR_FAULT, "out of memory");
	(void)puts(text);
	return 0;
}

int cli_doctor(int argc, char **argv)
{
	static const char *const names[] = { "--json", "--help", NULL };
	struct report report = { 0 };
	struct utsname system;
	bool json = false;
	int i, code = 0;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") != 0)
			return cli_unknown("doctor", argv[i], names);
		json = true;
	}
	if (uname(&system) < 0 || probe_walls(&report) < 0)
		return cli_fail(EXIT_OUR_FAULT, "doctor: %s", strerror(errno));
	try_a_program(&report);
	if (json)
		code = print_json(&report, &system);
	else
		print_report(&report, &system, cli_chinese());
	if (code == 0 && !all_well(&report))
		code = 1;
	json_decref(report.enforced);
	free(report.interpreter);
	free(report.version);
	free(report.why_no_cgroup);
	free(report.walls);
	return code;
}
