/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox policy suggest`: runs a program, applies the remedies of its denials,
 * runs it again, and prints the smallest policy that lets it run.
 * Process: the command's, with its user's rights; talks to its engine through libsbx.
 * Trusts: nothing of the program's. An event is a question to the user, or, with --yes,
 *   what the user has said yes to: its change is one that events.c made from a known rule
 *   (engine/events.h), its text is made safe before it is shown.
 * Invariants: a policy is only ever widened by an event's change, and only after a yes;
 *   what was given (preset, document, settings) is never taken back. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "lib/internal.h"
#include "policy/policy.h"

#define RUNS_MAX 10u

struct suggest {
	struct cli_policy source;
	const char *code, *file; /* one of them */
	bool yes, json;
	char *text;     /* of file */
	json_t *base;   /* the preset, every field */
	json_t *now;    /* the policy of the next run, every field */
	json_t *asked;  /* changes that were asked for, each with "accepted" */
	json_t *result; /* of the last run */
	unsigned runs;
};

static const char *const option_names[] = { CLI_POLICY_OPTIONS, "--yes", "--json", "-c",
					    "--help",           NULL };

/* ---- arguments ---- */

static int parse(int argc, char **argv, struct suggest *s)
{
	int r;

	for (int i = 1; i < argc; i++) {
		r = cli_policy_option(&s->source, argc, argv, &i);
		if (r == 0 && !s->code)
			r = cli_value(argc, argv, &i, "-c", &s->code);
		if (r < 0)
			return EXIT_WRONG_USAGE;
		if (r > 0)
			continue;
		if (strcmp(argv[i], "--yes") == 0)
			s->yes = true;
		else if (strcmp(argv[i], "--json") == 0)
			s->json = true;
		else if (argv[i][0] == '-' && strcmp(argv[i], "--") != 0)
			return cli_unknown("policy suggest", argv[i], option_names);
		else if (strcmp(argv[i], "--") == 0 && i + 2 == argc)
			s->file = argv[++i];
		else if (i + 1 == argc)
			s->file = argv[i];
		else
			return cli_fail(EXIT_WRONG_USAGE,
					"policy suggest: options go before the file, and "
					"a program takes no arguments yet");
	}
	if (!s->code == !s->file)
		return cli_fail(EXIT_WRONG_USAGE,
				"policy suggest: one program: -c CODE or FILE");
	if (!s->yes && !isatty(0))
		return cli_fail(EXIT_WRONG_USAGE,
				"policy suggest: nobody is there to be asked; give --yes "
				"to allow whatever the program is denied");
	return 0;
}

static int read_file(struct suggest *s)
{
	size_t len = 0;
	int r;

	if (!s->file)
		return 0;
	r = fd_read_file(AT_FDCWD, s->file, CODE_MAX, &s->text, &len);
	if (r < 0)
		return cli_fail(EXIT_WRONG_USAGE, "%s: %s", s->file, strerror(-r));
	if (strlen(s->text) != len)
		return cli_fail(EXIT_WRONG_USAGE, "%s has a NUL byte", s->file);
	s->code = strncmp(s->text, "\xef\xbb\xbf", 3) == 0 ? s->text + 3 : s->text;
	return 0;
}

static int begin(struct suggest *s)
{
	struct sbx_policy policy;
	struct sbx_err err = { 0 };
	int code;

	policy_init(&policy);
	code = cli_policy_make(&s->source, &policy);
	if (code == 0)
		s->now = policy_to_json(&policy);
	/* A document may begin with a preset of its own. What is printed is over the one
	 * that was named. */
	if (code == 0 &&
	    policy_preset(&policy, s->source.preset ? s->source.preset : "strict",
			  &err) == 0)
		s->base = policy_to_json(&policy);
	policy_clear(&policy);
	s->asked = json_array();
	if (code == 0 && (!s->now || !s->base || !s->asked))
		code = cli_fail(EXIT_OUR_FAULT, "out of memory");
	return code;
}

/* ---- changes ---- */

static bool in_list(const json_t *list, const json_t *item)
{
	size_t i;
	json_t *one;

	json_array_foreach((json_t *)list, i, one)
	{
		if (json_equal(one, item))
			return true;
	}
	return false;
}

/* The policy with the change, new reference; NULL where that is no valid policy. */
static json_t *changed(const struct suggest *s, const json_t *change)
{
	const char *field = json_string_value(json_object_get(change, "field"));
	json_t *item = json_object_get(change, "add"),
	       *value = json_object_get(change, "set");
	json_t *next = json_deep_copy(s->now), *list = json_object_get(next, field);
	struct sbx_policy policy;
	bool ok = false;

	if (json_is_array(list) && item)
		ok = json_array_append(list, item) == 0;
	else if (list && value)
		ok = json_object_set(next, field, value) == 0;
	/* Which hosts it takes, the next denials say; all of them is not the smallest
	 * policy. */
	if (ok && strcmp(field, "network_access") == 0 &&
	    json_is_false(json_object_get(s->now, "network_access")) &&
	    json_equal(json_object_get(s->now, "allowed_hosts"),
		       json_object_get(s->base, "allowed_hosts")))
		ok = json_object_set_new(next, "allowed_hosts", json_array()) == 0;
	policy_init(&policy);
	ok = ok && policy_set_object(&policy, next, NULL) == 0 &&
	     policy_check(&policy, NULL) == 0;
	policy_clear(&policy);
	if (!ok) {
		json_decref(next);
		return NULL;
	}
	return next;
}

static bool has(const json_t *now, const json_t *change)
{
	json_t *held = json_object_get(
		now, json_string_value(json_object_get(change, "field")));
	json_t *item = json_object_get(change, "add");

	return item ? in_list(held, item)
		    : json_equal(held, json_object_get(change, "set"));
}

static bool was_asked(const json_t *asked, const json_t *change)
{
	size_t i;
	json_t *one;

	json_array_foreach((json_t *)asked, i, one)
	{
		if (json_equal(json_object_get(one, "change"), change))
			return true;
	}
	return false;
}

static const char *string_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void say(const json_t *event, const char *end)
{
	char text[2048];
	_cleanup_free_ char *line = NULL;

	(void)snprintf(text, sizeof(text), "%s [%s of %.400s, seen by: %s]",
		       string_of(event, "remedy"), string_of(event, "kind"),
		       string_of(event, "subject"), string_of(event, "source"));
	line = summary_line(text, strlen(text), 600);
	(void)fprintf(stderr, "sandbox: %s%s", line ? line : "", end);
}

static bool ask(const struct suggest *s, const json_t *event)
{
	char answer[64];

	if (s->yes) {
		if (!s->json)
			say(event, "\n");
		return true;
	}
	say(event, " [y/N] ");
	(void)fflush(stderr);
	return fgets(answer, sizeof(answer), stdin) &&
	       (answer[0] == 'y' || answer[0] == 'Y');
}

/* The changes that the last run's denials ask for. True: one was made. */
static bool apply(struct suggest *s)
{
	json_t *events = json_object_get(s->result, "events"), *event, *change, *next;
	bool any = false, yes;
	size_t i;

	json_array_foreach(events, i, event)
	{
		change = json_object_get(event, "change");
		if (!json_is_object(change) || has(s->now, change) ||
		    was_asked(s->asked, change))
			continue;
		next = changed(s, change);
		yes = next && ask(s, event);
		(void)json_array_append_new(s->asked, json_pack("{s:O,s:b}", "change",
								change, "accepted", yes));
		if (!yes) {
			json_decref(next);
			continue;
		}
		json_decref(s->now);
		s->now = next;
		any = true;
	}
	return any;
}

/* ---- runs ---- */

static int run_once(struct suggest *s, struct sbx *box)
{
	_cleanup_free_ char *policy = json_dumps(s->now, JSON_COMPACT);
	struct sbx_request request = { .code = s->code,
				       .code_len = strlen(s->code),
				       .filename = s->file,
				       .stdin_fd = -1 };
	struct sbx_result *result;
	struct sbx_err err = { 0 };

	if (!policy)
		return cli_fail(EXIT_OUR_FAULT, "out of memory");
	request.policy = policy;
	request.policy_len = strlen(policy);
	if (sbx_run(box, &request, &result, &err) < 0)
		return cli_fail(err_kind(err.stage)->exit_code, "run %u: %s", s->runs + 1,
				err.msg);
	s->runs++;
	json_decref(s->result);
	s->result = json_loads(sbx_result_json(result), JSON_ALLOW_NUL, NULL);
	sbx_result_free(result);
	if (!s->result)
		return cli_fail(EXIT_OUR_FAULT, "a result that is no JSON");
	if (!s->json)
		(void)fprintf(stderr, "sandbox: run %u: %s\n", s->runs,
			      string_of(s->result, "status"));
	return 0;
}

static int run_all(struct suggest *s)
{
	struct sbx_err err = { 0 };
	struct sbx *box;
	int code = 0;

	if (sbx_open(&box, NULL, &err) < 0)
		return cli_fail(err_kind(err.stage)->exit_code, "%s", err.msg);
	do
		code = run_once(s, box);
	while (code == 0 && apply(s) && s->runs < RUNS_MAX);
	sbx_close(box);
	return code;
}

/* ---- what comes of it ---- */

/* The fields that differ from the preset, in the table's order. */
static json_t *difference(const struct suggest *s)
{
	json_t *diff = json_object();

	for (size_t i = 0; i < policy_field_count; i++) {
		const char *name = policy_fields[i].name;
		json_t *value = json_object_get(s->now, name);

		if (value && !json_equal(value, json_object_get(s->base, name)))
			(void)json_object_set(diff, name, value);
	}
	return diff;
}

static void print_yaml(const struct suggest *s, const json_t *diff)
{
	const char *name;
	json_t *value;

	if (s->source.preset)
		(void)printf("preset: %s\n", s->source.preset);
	json_object_foreach((json_t *)diff, name, value)
	{
		/* JSON's values are YAML's too. */
		_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);

		(void)printf("%s: %s\n", name, text ? text : "");
	}
	if (!s->source.preset && json_object_size(diff) == 0)
		(void)puts("preset: strict");
}

static int print_json(const struct suggest *s, const json_t *diff, bool clean)
{
	json_t *whole = json_pack(
		"{s:s,s:O,s:i,s:b,s:s,s:O,s:O}", "preset",
		s->source.preset ? s->source.preset : "strict", "policy", diff, "runs",
		(int)s->runs, "clean", clean, "status", string_of(s->result, "status"),
		"asked", s->asked, "events", json_object_get(s->result, "events"));
	_cleanup_free_ char *text = whole ? json_dumps(whole, JSON_INDENT(2)) : NULL;

	json_decref(whole);
	return text && puts(text) >= 0 ? 0 : cli_fail(EXIT_OUR_FAULT, "out of memory");
}

static int report(const struct suggest *s)
{
	json_t *events = json_object_get(s->result, "events"), *event;
	const char *status = string_of(s->result, "status");
	json_t *diff = difference(s);
	bool clean = strcmp(status, "ok") == 0;
	int code = EXIT_OUR_FAULT, r = 0;
	size_t i;

	json_array_foreach(events, i, event)
	{
		if (strcmp(string_of(event, "kind"), "limit") != 0)
			clean = false;
	}
	for (int st = SBX_OK; st <= SBX_FAULT; st++)
		if (strcmp(sbx_status_name((enum sbx_status)st), status) == 0)
			code = sbx_status_exit_code((enum sbx_status)st);
	if (!diff)
		return cli_fail(EXIT_OUR_FAULT, "out of memory");
	if (s->json)
		r = print_json(s, diff, clean);
	else
		print_yaml(s, diff);
	json_decref(diff);
	if (!s->json && !clean)
		(void)cli_fail(0, "with this policy it is not clean yet: %s%s%s", status,
			       json_array_size(events) ? ", " : "",
			       json_array_size(events)
				       ? "with denials that no change was made for"
				       : "");
	return r ? r : code;
}

int cli_policy_suggest(int argc, char **argv)
{
	struct suggest s = { 0 };
	int code = parse(argc, argv, &s);

	if (code == 0)
		code = read_file(&s);
	if (code == 0)
		code = begin(&s);
	if (code == 0)
		code = run_all(&s);
	if (code == 0)
		code = report(&s);
	json_decref(s.base);
	json_decref(s.now);
	json_decref(s.asked);
	json_decref(s.result);
	free(s.text);
	cli_policy_clear(&s.source);
	return code;
}
