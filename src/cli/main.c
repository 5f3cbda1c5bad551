/* SPDX-License-Identifier: MIT
 * Purpose: the `sandbox` command: a table of verbs, and the roles that it starts itself
 * in.
 * Process: the command's, with the rights of whoever typed it; in a role the broker's or
 * the engine's.
 * Trusts: its arguments to be its user's own. What it prints may come from elsewhere and
 * is made safe first. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/session.h"
#include "daemon/broker.h"
#include "daemon/engine_main.h"
#include "lib/internal.h"
#include "mcp/mcp.h"

const char sandbox_command = 1;

static int version(int argc, char **argv);
static int help(int argc, char **argv);

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *meaning;
	const char *usage;
} verbs[] = {
	{ "run", cli_run, "run a Python program behind walls",
	  "usage: sandbox run [--preset NAME] [--policy FILE] [--set KEY=VALUE]... [--json] [--quiet]\n"
	  "                   [--template NAME] [--config FILE] [--session NAME [--socket PATH] [--end]]\n"
	  "                   [--file [NAME=]PATH]... [--files DIR]\n"
	  "                   [--journal DIR | --no-journal] [--journal-required] [--journal-full]\n"
	  "                   [-c CODE | FILE | -]\n"
	  "\n"
	  "Runs the program in CODE, in FILE, or on standard input (-). Its output is passed on while it runs; it\n"
	  "reads standard input, unless that is the program itself. Options go before FILE.\n"
	  "\n"
	  "  --preset NAME     strict (the default), data or open: see `sandbox policy presets`\n"
	  "  --policy FILE     a policy in YAML or JSON, over the preset\n"
	  "  --set KEY=VALUE   one field of the policy, over both; VALUE is JSON where it parses as JSON\n"
	  "  --template NAME   interpreter and preloads of that name in the configuration\n"
	  "  --config FILE     the configuration, as of `sandbox serve`: its defaults and ceilings hold here, too\n"
	  "  --file [NAME=]PATH  a copy of PATH in the program's working directory, as NAME\n"
	  "  --files DIR       copy out to DIR what the program left in its working directory\n"
	  "  --journal DIR     record the run there; default $XDG_STATE_HOME/interpreter-sandbox/journal\n"
	  "                    (~/.local/state/...), as root /var/lib/interpreter-sandbox/journal\n"
	  "  --no-journal      record nothing\n"
	  "  --journal-required   do not run what cannot be recorded; --journal-full: on disk before the end\n"
	  "  --json            print one result object instead of the program's output and a summary\n"
	  "  --quiet           no summary\n"
	  "  --session NAME    in a session that keeps variables, imports and files from program to program, on the\n"
	  "                    server at --socket PATH (default: that of `sandbox serve`); a server is started if\n"
	  "                    none is there, and ends when it was unused for 15 minutes. The policy is that of the\n"
	  "                    first program: another one is refused. No standard input. --end ends the session\n"
	  "                    (behind the program, if there is one); the first Ctrl-C interrupts the program only\n"
	  "\n"
	  "exit code: 0 ok, 1 the program raised, 2 wrong usage or policy (nothing on standard output, --json or\n"
	  "not), 3 a limit, 4 denied, 125 our own fault, 130 interrupted, 137 killed, 143 terminated\n" },
	{ "session", cli_session, "sessions of `sandbox run --session`",
	  "usage: sandbox session list [--socket PATH] [--json]\n"
	  "       sandbox session end|interrupt|restart NAME [--socket PATH]\n"
	  "\n"
	  "Those of this user. restart: a new interpreter under the same name, with the files. Exit code 1: there is\n"
	  "no such session; 2: no server listens there.\n" },
	{ "serve", cli_serve, "serve HTTP on a unix socket and on loopback",
	  "usage: sandbox serve [--listen ADDRESS:PORT]... [--socket PATH] [--socket-group GROUP]\n"
	  "                     [--config FILE] [--journal DIR | --no-journal] [--token-file FILE]\n"
	  "                     [--tls-certificate FILE --tls-key FILE] [--insecure]\n"
	  "                     [--door NAME=ADDRESS:PORT]... [--door-open] [--grace S] [--exit-with-stdin] [--idle-exit S]\n"
	  "                     [--grantable DIR]... [--python PATH]...\n"
	  "\n"
	  "  --listen ADDR:PORT  default 127.0.0.1:5000; none with --socket alone. [::1]:5000 for IPv6\n"
	  "  --socket PATH       default $XDG_RUNTIME_DIR/sandbox.sock, as root /run/sandbox.sock; mode 0600\n"
	  "  --socket-group G    the group G may use the socket (mode 0660)\n"
	  "  --config FILE       default /etc/interpreter-sandbox/sandbox.yaml as root, else\n"
	  "                      $XDG_CONFIG_HOME/interpreter-sandbox/sandbox.yaml; see docs/configuration.md\n"
	  "  --journal DIR       where every run is recorded; default as of `sandbox log`. --journal-key FILE: the\n"
	  "                      key of its records, elsewhere; --no-journal: none\n"
	  "  --token-file FILE   the token that TCP callers send; made (0600) if absent. Without one, and\n"
	  "                      without tokens in the configuration, one is made and printed as a URL\n"
	  "  --tls-certificate, --tls-key   PEM files for TCP\n"
	  "  --insecure          TCP that other machines reach, without TLS\n"
	  "  --door NAME=ADDR    another program's protocol on a port of its own; --door-open: without a token\n"
	  "  --grace S           how long what runs may go on after SIGTERM; default 30\n"
	  "  --grantable DIR     what lies in it can be granted to callers over TCP; DIR:ro to read only\n"
	  "  --python PATH       an interpreter that any caller may name, although not everybody may read it\n"
	  "                      (started as root)\n"
	  "  --exit-with-stdin   end at once when standard input does\n"
	  "  --handed-only       listen on nothing but sockets that were handed over (LISTEN_FDS)\n"
	  "  --idle-exit S       end when for so long there was no session and no program\n"
	  "\n"
	  "Prints `listening on unix:PATH` and `listening on http://ADDR:PORT` on standard error when ready. SIGHUP\n"
	  "reads the configuration again. SIGINT or SIGTERM: nothing new is accepted, what runs is finished; a\n"
	  "second one ends everything at once. It takes over sockets of systemd, and tells it how it is.\n" },
	{ "mcp", cli_mcp, "Model Context Protocol on standard input and output",
	  "usage: sandbox mcp [--preset NAME] [--policy FILE] [--set KEY=VALUE]... [--template NAME]\n"
	  "                   [--journal DIR | --no-journal] [--config FILE] | [--socket PATH]\n"
	  "\n"
	  "For Claude, Codex, Open Interpreter and whatever else starts a tool server: see docs/mcp.md. Programs\n"
	  "run under the preset `data` unless told otherwise; a model cannot change that.\n"
	  "\n"
	  "  --journal DIR     record every run there, and not where `sandbox run` does; --no-journal: nowhere\n"
	  "  --config FILE     the configuration, as of `sandbox serve`\n"
	  "  --socket PATH     the server that listens there, in place of one of its own\n"
	  "\n"
	  "Ends when standard input has ended and all is answered.\n" },
	{ "log", cli_log, "look into the security journal",
	  "usage: sandbox log list    [FILTER]... [--limit N] [--reverse] [--before SEQ | --after SEQ]\n"
	  "       sandbox log show ID\n"
	  "       sandbox log follow  [--status S] [--session ID] [--event KIND] [--caller C] [--after SEQ]\n"
	  "       sandbox log export  [--format jsonl|csv] [FILTER]... [--limit N] [--reverse]\n"
	  "       sandbox log verify  [--public-key HEX|FILE] [--head TEXT|FILE] [--deep]\n"
	  "       sandbox log head    [--signed]\n"
	  "       sandbox log prune   [--older-than 30d] [--larger-than 1GB] [--dry-run]\n"
	  "       sandbox log stats\n"
	  "\n"
	  "  --journal DIR     default $XDG_STATE_HOME/interpreter-sandbox/journal (~/.local/state/...), as root\n"
	  "                    /var/lib/interpreter-sandbox/journal\n"
	  "  --journal-key FILE   the key of its records, where it is not in the directory\n"
	  "  --json            JSON, a line for each record\n"
	  "\n"
	  "filters, all of which must hold:\n"
	  "  --status S        ok, error, timeout, memory, ..., running, lost, refused\n"
	  "  --since T, --until T   2026-11-24, 2026-11-24T16:20 (local time; Z at the end: UTC), @1790000000, or\n"
	  "                    how long ago: 30m, 2h, 7d\n"
	  "  --text WORDS      in code, output or what was denied: all words, \"a phrase\", a beginning*\n"
	  "  --event KIND      with an event of that kind: import, open, connect, ...\n"
	  "  --session ID, --caller C\n"
	  "\n"
	  "list shows the newest first, 50 at most; export the oldest first, all. ID may be cut short.\n"
	  "exit code: 0; 1 when verify found something or there is no such ID; 2 wrong usage; 125 our own fault\n" },
	{ "doctor", cli_doctor, "say which walls stand on this machine",
	  "usage: sandbox doctor [--json]\n"
	  "\n"
	  "Tries every wall and limit here, and runs one program. Exit code 0 when all stand, 1 when one is\n"
	  "missing.\n" },
	{ "policy", cli_policy, "show and check policies",
	  "usage: sandbox policy show [--preset NAME] [--policy FILE] [--set KEY=VALUE]... [--json]\n"
	  "       sandbox policy check FILE          a policy, or a configuration (sandbox.yaml)\n"
	  "       sandbox policy presets [--json]\n"
	  "       sandbox policy suggest [--preset NAME] [--policy FILE] [--set KEY=VALUE]... [--yes] [--json]\n"
	  "                              [-c CODE | FILE]\n"
	  "\n"
	  "suggest runs the program with an empty standard input, asks for each denial whether to allow it (--yes:\n"
	  "allow), and runs it again, ten times at most; then it prints the smallest policy that lets it run. What\n"
	  "the program does meanwhile it does; its output is not shown. Exit code as of `sandbox run`, of the last\n"
	  "run.\n" },
	{ "version", version, "print the version", "usage: sandbox version\n" },
	{ "help", help, "explain a verb", "usage: sandbox help [VERB]\n" },
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

/* ---- what the verbs share ---- */

int cli_fail(int exit_code, const char *fmt, ...)
{
	char text[2048];
	char *line;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	line = summary_line(text, strlen(text), sizeof(text));
	(void)fprintf(stderr, "sandbox: %s\n", line ? line : "out of memory");
	free(line);
	return exit_code;
}

/* Edit distance with swaps of neighbours, of words that are short; longer ones are far
 * from everything. */
static size_t distance(const char *a, const char *b)
{
	enum { LONGEST = 32 };
	size_t rows[3][LONGEST + 1], la = strlen(a), lb = strlen(b), i, j;

	if (la > LONGEST || lb > LONGEST)
		return LONGEST;
	for (j = 0; j <= lb; j++)
		rows[0][j] = j;
	for (i = 1; i <= la; i++) {
		size_t *now = rows[i % 3], *above = rows[(i + 2) % 3],
		       *two_above = rows[(i + 1) % 3];

		now[0] = i;
		for (j = 1; j <= lb; j++) {
			size_t least = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < least)
				least = above[j] + 1;
			if (now[j - 1] + 1 < least)
				least = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && two_above[j - 2] + 1 < least)
				least = two_above[j - 2] + 1;
			now[j] = least;
		}
	}
	return rows[la % 3][lb];
}

const char *cli_nearest(const char *word, const char *const *words)
{
	const char *best = NULL;
	size_t least = strlen(word) / 3 + 2;

	for (; *words; words++) {
		size_t d = strncmp(*words, word, strlen(word)) == 0 && word[0]
				   ? 1
				   : distance(word, *words);

		if (d < least) {
			least = d;
			best = *words;
		}
	}
	return best;
}

int cli_unknown(const char *verb, const char *arg, const char *const *options)
{
	char name[64];
	const char *near;

	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(arg, "="), arg);
	near = arg[0] == '-' ? cli_nearest(name, options) : NULL;
	if (arg[0] != '-')
		return cli_fail(EXIT_WRONG_USAGE,
				"%s: unexpected argument \"%s\" (see `sandbox help %s`)",
				verb, arg, verb);
	if (near)
		return cli_fail(EXIT_WRONG_USAGE,
				"%s: unknown option %s; did you mean %s?", verb, name,
				near);
	return cli_fail(EXIT_WRONG_USAGE, "%s: unknown option %s (see `sandbox help %s`)",
			verb, name, verb);
}

int cli_value(int argc, char **argv, int *i, const char *name, const char **ret_value)
{
	const char *arg = argv[*i];
	size_t len = strlen(name);

	if (strncmp(arg, name, len) != 0)
		return 0;
	if (arg[len] == '=') {
		*ret_value = arg + len + 1;
		return 1;
	}
	if (arg[len] != '\0')
		return 0;
	if (*i + 1 >= argc) {
		(void)cli_fail(0, "%s needs a value", name);
		return -1;
	}
	*ret_value = argv[++*i];
	return 1;
}

static int add_setting(struct cli_policy *policy, const char *text)
{
	const char *equals = strchr(text, '=');
	struct sbx_setting *grown, *setting;

	if (!equals || equals == text) {
		(void)cli_fail(0, "--set wants KEY=VALUE, not \"%s\"", text);
		return -1;
	}
	grown = reallocarray(policy->settings, policy->setting_count + 1, sizeof(*grown));
	if (grown) {
		policy->settings = grown;
		setting = &grown[policy->setting_count++];
		setting->key = strndup(text, (size_t)(equals - text));
		setting->value = strdup(equals + 1);
		if (setting->key && setting->value)
			return 1;
	}
	(void)cli_fail(0, "out of memory");
	return -1;
}

int cli_policy_option(struct cli_policy *policy, int argc, char **argv, int *i)
{
	const char *text;
	int r;

	r = cli_value(argc, argv, i, "--preset", &policy->preset);
	if (r == 0)
		r = cli_value(argc, argv, i, "--policy", &policy->file);
	if (r == 0) {
		r = cli_value(argc, argv, i, "--set", &text);
		if (r > 0)
			r = add_setting(policy, text);
	}
	return r;
}

int cli_policy_load(struct cli_policy *policy)
{
	int r;

	if (!policy->file || policy->text)
		return 0;
	r = fd_read_file(AT_FDCWD, policy->file, POLICY_MAX, &policy->text, &policy->len);
	if (r == -EFBIG)
		return cli_fail(EXIT_WRONG_USAGE, "policy %s is longer than %u MiB",
				policy->file, POLICY_MAX >> 20);
	if (r < 0)
		return cli_fail(EXIT_WRONG_USAGE, "policy %s: %s", policy->file,
				strerror(-r));
	return 0;
}

void cli_policy_clear(struct cli_policy *policy)
{
	size_t i;

	for (i = 0; i < policy->setting_count; i++) {
		free((char *)policy->settings[i].key);
		free((char *)policy->settings[i].value);
	}
	free(policy->settings);
	free(policy->text);
	*policy = (struct cli_policy){ 0 };
}

bool cli_chinese(void)
{
	static const char *const names[] = { "LANGUAGE", "LC_ALL", "LC_MESSAGES",
					     "LANG" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value && *value)
			return strncmp(value, "zh", 2) == 0;
	}
	return false;
}

bool cli_colour(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fd) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* ---- verbs that are only text ---- */

static const struct verb *find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < VERB_COUNT; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int unknown_verb(const char *name)
{
	const char *names[VERB_COUNT + 1] = { NULL }, *near;
	size_t i;

	for (i = 0; i < VERB_COUNT; i++)
		names[i] = verbs[i].name;
	near = cli_nearest(name, names);
	if (near)
		return cli_fail(EXIT_WRONG_USAGE,
				"there is no verb \"%s\"; did you mean `sandbox %s`?",
				name, near);
	return cli_fail(EXIT_WRONG_USAGE, "there is no verb \"%s\" (see `sandbox help`)",
			name);
}

static void overview(FILE *out)
{
	size_t i;

	(void)fputs(
		"sandbox: run Python that you do not trust\n\nusage: sandbox VERB ...\n\n",
		out);
	for (i = 0; i < VERB_COUNT; i++)
		(void)fprintf(out, "  %-10s%s\n", verbs[i].name, verbs[i].meaning);
	(void)fputs("\n`sandbox help VERB` says more.\n", out);
}

static int help(int argc, char **argv)
{
	const struct verb *verb;

	if (argc > 2)
		return cli_fail(EXIT_WRONG_USAGE, "help: one verb at a time");
	if (argc < 2) {
		overview(stdout);
		return 0;
	}
	verb = find_verb(argv[1]);
	if (!verb)
		return unknown_verb(argv[1]);
	(void)fputs(verb->usage, stdout);
	return 0;
}

static int version(int argc, char **argv)
{
	if (argc > 1)
		return cli_unknown("version", argv[1], (const char *const[]){ NULL });
	(void)puts("sandbox " SBX_VERSION);
	return 0;
}

/* ---- the table at work ---- */

/* Descriptors that are opened later must not become what a program's output is written
 * to. */
static int standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null",
			  O_RDWR); /* kept over exec where it stays, as the others are */
	while (fd >= 0 && fd <= 2);
	if (fd < 0)
		return -errno;
	(void)close(fd);
	return 0;
}

static int dispatch(int argc, char **argv)
{
	const struct verb *verb;
	bool nested;
	int i;

	if (argc < 2) {
		overview(stderr);
		return EXIT_WRONG_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		overview(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0)
		return version(1, argv + 1);
	verb = find_verb(argv[1]);
	if (!verb)
		return unknown_verb(argv[1]);
	/* Up to the first word that is no option: after it come a program's own. Where a
	 * verb has verbs of its own, no words are a program's but that of -c. */
	nested = verb->run == cli_log || verb->run == cli_policy;
	for (i = 2; i < argc && (nested || argv[i][0] == '-') &&
		    strcmp(argv[i], "--") != 0 && strcmp(argv[i], "-c") != 0;
	     i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			(void)fputs(verb->usage, stdout);
			return 0;
		}
	return verb->run(argc - 1, argv + 1);
}

/* What stands on the engine's own interface, which knows nothing of it. */
static const struct route_table *const more[] = { &mcp_table, NULL };

int main(int argc, char **argv)
{
	bool role = argc == 2 || (argc == 3 && strcmp(argv[2], ROLE_READER) == 0);
	int code;

	if (role && strcmp(argv[1], "--role=broker") == 0)
		return broker_main(argc, argv);
	if (role && strcmp(argv[1], "--role=engine") == 0)
		return engine_main(argc, argv, more);
	if (standard_descriptors() < 0)
		return EXIT_OUR_FAULT;
	code = dispatch(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout))
		code = cli_fail(code ? code : EXIT_OUR_FAULT,
				"writing standard output: %s", strerror(errno));
	return code;
}
