/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox policy show | check | presets`: what a policy comes to, without
 * running anything (suggest.c runs something).
 * Process: the command's, with its user's rights; no other process is started.
 * Trusts: its arguments and files to be its user's; they are parsed by the bounded
 * parsers of src/policy/ alone. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "daemon/config.h"
#include "policy/policy.h"

static int refuse(const struct cli_policy *source, bool in_file,
		  const struct sbx_err *err)
{
	int code = err_kind(err->stage)->exit_code;

	return in_file ? cli_fail(code, "policy %s: %s", source->file, err->msg)
		       : cli_fail(code, "%s", err->msg);
}

/* The same order as a run's: preset, document, settings. 0, or an exit code after a
 * message. */
int cli_policy_make(struct cli_policy *source, struct sbx_policy *policy)
{
	struct sbx_err err = { 0 };
	size_t i;
	int code;

	code = cli_policy_load(source);
	if (code != 0)
		return code;
	if (policy_preset(policy, source->preset ? source->preset : "strict", &err) < 0)
		return refuse(source, false, &err);
	if (source->text &&
	    policy_set_document(policy, source->text, source->len, &err) < 0)
		return refuse(source, true, &err);
	for (i = 0; i < source->setting_count; i++)
		if (policy_set_text(policy, source->settings[i].key,
				    source->settings[i].value, &err) < 0)
			return refuse(source, false, &err);
	if (policy_check(policy, &err) < 0)
		return refuse(source, source->text && source->setting_count == 0, &err);
	return 0;
}

static int print_json(json_t *value)
{
	_cleanup_free_ char *text = value ? json_dumps(value, JSON_INDENT(2)) : NULL;

	json_decref(value);
	if (!text)
		return cli_fail(EXIT_OUR_FAULT, "out of memory");
	(void)puts(text);
	return 0;
}

static int show(int argc, char **argv)
{
	static const char *const names[] = { CLI_POLICY_OPTIONS, "--json", "--help",
					     NULL };
	struct cli_policy source = { 0 };
	struct sbx_policy policy;
	_cleanup_free_ char *text = NULL;
	bool json = false;
	int i, r, code = 0;

	policy_init(&policy);
	for (i = 1; i < argc && code == 0; i++) {
		r = cli_policy_option(&source, argc, argv, &i);
		if (r < 0)
			code = EXIT_WRONG_USAGE;
		else if (r == 0 && strcmp(argv[i], "--json") == 0)
			json = true;
		else if (r == 0)
			code = cli_unknown("policy", argv[i], names);
	}
	if (code == 0)
		code = cli_policy_make(&source, &policy);
	if (code == 0 && json)
		code = print_json(policy_to_json(&policy));
	else if (code == 0 && policy_to_yaml(&policy, &text) < 0)
		code = cli_fail(EXIT_OUR_FAULT, "out of memory");
	else if (code == 0)
		(void)fputs(text, stdout);
	policy_clear(&policy);
	cli_policy_clear(&source);
	return code;
}

/* A sandbox.yaml: the same parser as the engine's. */
static int check_config(const char *path, const json_t *object, const json_t *lines)
{
	struct config config;
	struct sbx_err err = { 0 };
	int r;

	config_init(&config);
	r = config_set_object(&config, object, lines, &err);
	if (r == 0)
		r = config_check(&config, &err);
	config_clear(&config);
	if (r < 0)
		return cli_fail(err_kind(err.stage)->exit_code, "configuration %s: %s",
				path, err.msg);
	(void)printf("%s: ok (a configuration)\n", path);
	return 0;
}

static int check(int argc, char **argv)
{
	struct cli_policy source = { 0 };
	json_t *object = NULL, *lines = NULL;
	struct sbx_policy policy;
	int code;

	if (argc < 2)
		return cli_fail(EXIT_WRONG_USAGE, "policy check: which file?");
	if (argc > 2 || (argv[1][0] == '-' && argv[1][1] == '-'))
		return cli_unknown("policy", argv[argc > 2 ? 2 : 1],
				   (const char *const[]){ "--help", NULL });
	source.file = argv[1];
	policy_init(&policy);
	code = cli_policy_load(&source);
	/* What does not even parse is told below. */
	if (code == 0 &&
	    policy_document(source.text, source.len, &object, &lines, NULL) == 0 &&
	    config_looks_like(object)) {
		code = check_config(source.file, object, lines);
	} else if (code == 0) {
		code = cli_policy_make(&source, &policy);
		if (code == 0)
			(void)printf("%s: ok\n", source.file);
	}
	json_decref(object);
	json_decref(lines);
	policy_clear(&policy);
	cli_policy_clear(&source);
	return code;
}

static int presets(int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	json_t *list;
	size_t i;

	if (argc > 1 && !json)
		return cli_unknown("policy", argv[1],
				   (const char *const[]){ "--json", "--help", NULL });
	if (!json) {
		for (i = 0; policy_preset_name(i); i++)
			(void)printf("%-8s %s\n", policy_preset_name(i),
				     policy_preset_meaning(i));
		return 0;
	}
	list = json_array();
	for (i = 0; list && policy_preset_name(i); i++)
		if (json_array_append_new(
			    list, json_pack("{s:s, s:s}", "name", policy_preset_name(i),
					    "meaning", policy_preset_meaning(i))) < 0) {
			json_decref(list);
			list = NULL;
		}
	return print_json(list);
}

int cli_policy(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} parts[] = { { "show", show },
		      { "check", check },
		      { "presets", presets },
		      { "suggest", cli_policy_suggest } };
	static const char *const names[] = { "show", "check", "presets", "suggest",
					     NULL };
	const char *near;
	size_t i;

	if (argc < 2)
		return cli_fail(
			EXIT_WRONG_USAGE,
			"policy: show, check, presets or suggest? (see `sandbox help policy`)");
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(parts[i].name, argv[1]) == 0)
			return parts[i].run(argc - 1, argv + 1);
	near = cli_nearest(argv[1], names);
	if (near)
		return cli_fail(EXIT_WRONG_USAGE,
				"policy: there is no \"%s\"; did you mean %s?", argv[1],
				near);
	return cli_fail(EXIT_WRONG_USAGE,
			"policy: there is no \"%s\" (see `sandbox help policy`)",
			argv[1]);
}
