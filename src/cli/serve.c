/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox serve`: opens what the configuration names (sockets, secrets, the
 *   journal's directory) and hands it to the engine, which serves HTTP there for as long
 *   as this process lives.
 * Process: the command's, with its user's rights. It accepts no connection and reads no
 *   request itself, and never parses the configuration (config_file.h).
 * Trusts: its arguments, its environment, the places of its files.
 * Invariants: TCP that others than this machine can reach has TLS, or was asked for by
 *   --insecure; a token is never printed but on a terminal or a pipe that is no log. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/jsontext.h"
#include "cli/cli.h"
#include "cli/notify.h"
#include "cli/secret.h"
#include "cli/log_forward.h"
#include "cli/serve.h"
#include "lib/internal.h"

#define DEFAULT_ADDRESS "127.0.0.1:5000"
#define SECONDS_MAX 86400

static const char *const option_names[] = { "--listen",
					    "--socket",
					    "--socket-group",
					    "--config",
					    "--journal",
					    "--token-file",
					    "--tls-key",
					    "--tls-certificate",
					    "--insecure",
					    "--door",
					    "--door-open",
					    "--grace",
					    "--no-journal",
					    "--idle-exit",
					    "--journal-key",
					    "--help",
					    "--exit-with-stdin",
					    "--handed-only",
					    NULL };

/* ---- options ---- */

static int no_memory(void)
{
	return cli_fail(EXIT_OUR_FAULT, "out of memory");
}

/* The section of the options, made if need be; NULL: the top. */
static json_t *section_of(json_t *options, const char *section)
{
	json_t *object = section ? json_object_get(options, section) : options;

	if (!object && json_object_set_new(options, section, json_object()) == 0)
		object = json_object_get(options, section);
	return object;
}

static int set_option(json_t *options, const char *section, const char *key,
		      json_t *value)
{
	json_t *object = section_of(options, section);

	return object && json_object_set_new(object, key, value) == 0 ? 0 : no_memory();
}

static int add_option(json_t *options, const char *key, json_t *value)
{
	if (!json_object_get(options, key) &&
	    json_object_set_new(options, key, json_array()) < 0) {
		json_decref(value);
		return no_memory();
	}
	return json_array_append_new(json_object_get(options, key), value) == 0
		       ? 0
		       : no_memory();
}

/* Paths of the command line are relative to where it is typed. */
static int set_path(json_t *options, const char *section, const char *key,
		    const char *path)
{
	char full[2 * PATH_MAX];
	_cleanup_free_ char *here = NULL;

	if (*path == '/')
		return set_option(options, section, key, json_string(path));
	here = getcwd(NULL, 0);
	if (!here ||
	    (size_t)snprintf(full, sizeof(full), "%s/%s", here, path) >= sizeof(full))
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", path,
				strerror(here ? ENAMETOOLONG : errno));
	return set_option(options, section, key, json_string(full));
}

static int add_door(json_t *options, const char *text)
{
	const char *equals = strchr(text, '=');
	json_t *door;

	if (!equals || equals == text || !equals[1])
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: --door wants NAME=ADDRESS:PORT, not \"%s\"",
				text);
	door = json_pack("{s:s%, s:s}", "name", text, (size_t)(equals - text), "address",
			 equals + 1);
	return door ? add_option(options, "doors", door) : no_memory();
}

static int parse_seconds(const char *name, const char *text, uint32_t *ret_ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (*end || end == text || !(seconds >= 0 && seconds <= SECONDS_MAX))
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: %s wants seconds from 0 to %d, not \"%s\"", name,
				SECONDS_MAX, text);
	*ret_ms = (uint32_t)(seconds * 1000);
	return 0;
}

/* Options with a value. 1: none of them; else 0 or an exit code. */
static int take_value(struct serve *serve, int argc, char **argv, int *i)
{
	static const struct {
		const char *name, *section, *key;
	} paths[] = { { "--socket", NULL, "socket" },
		      { "--journal", "journal", "dir" },
		      { "--journal-key", "journal", "key" },
		      { "--tls-certificate", "tls", "certificate" },
		      { "--tls-key", "tls", "key" } };
	const char *value = NULL;
	int r;

	for (size_t j = 0; j < sizeof(paths) / sizeof(paths[0]); j++) {
		r = cli_value(argc, argv, i, paths[j].name, &value);
		if (r > 0)
			return set_path(serve->options, paths[j].section, paths[j].key,
					value);
		if (r < 0)
			return EXIT_WRONG_USAGE;
	}
	if ((r = cli_value(argc, argv, i, "--listen", &value)) > 0)
		return add_option(serve->options, "listen", json_string(value));
	if (r == 0 && (r = cli_value(argc, argv, i, "--grantable", &value)) > 0)
		return add_option(serve->options, "grantable_directories",
				  json_string(value));
	if (r == 0 && (r = cli_value(argc, argv, i, "--python", &value)) > 0)
		return json_array_append_new(serve->pythons, json_string(value)) == 0
			       ? 0
			       : no_memory();
	if (r == 0 && (r = cli_value(argc, argv, i, "--socket-group", &value)) > 0)
		return set_option(serve->options, NULL, "socket_group",
				  json_string(value));
	if (r == 0 && (r = cli_value(argc, argv, i, "--door", &value)) > 0)
		return add_door(serve->options, value);
	if (r == 0 && (r = cli_value(argc, argv, i, "--grace", &value)) > 0)
		return parse_seconds("--grace", value, &serve->grace_ms);
	if (r == 0 && (r = cli_value(argc, argv, i, "--idle-exit", &value)) > 0)
		return parse_seconds("--idle-exit", value, &serve->idle_exit_ms);
	if (r == 0)
		r = cli_value(argc, argv, i, "--config", &serve->config);
	if (r == 0)
		r = cli_value(argc, argv, i, "--token-file", &serve->token_file);
	return r < 0 ? EXIT_WRONG_USAGE : r > 0 ? 0 : 1;
}

static int parse(struct serve *serve, int argc, char **argv)
{
	bool open = false;
	json_t *door;
	size_t at;

	for (int i = 1; i < argc; i++) {
		int r = take_value(serve, argc, argv, &i);

		if (r == 0)
			continue;
		if (r != 1)
			return r;
		if (strcmp(argv[i], "--insecure") == 0)
			serve->insecure = true;
		else if (strcmp(argv[i], "--door-open") == 0)
			open = true;
		else if (strcmp(argv[i], "--exit-with-stdin") == 0)
			serve->with_stdin = true;
		else if (strcmp(argv[i], "--handed-only") == 0)
			serve->handed_only = true;
		else if (strcmp(argv[i], "--no-journal") == 0)
			serve->no_journal = true;
		else
			return cli_unknown("serve", argv[i], option_names);
	}
	if (serve->no_journal && json_object_get(serve->options, "journal"))
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: --no-journal is about all of it");
	if (serve->no_journal &&
	    json_object_set_new(serve->options, "journal", json_false()) < 0)
		return no_memory();
	if (open && !json_object_get(serve->options, "doors"))
		return cli_fail(EXIT_WRONG_USAGE, "serve: --door-open is about --door");
	json_array_foreach(json_object_get(serve->options, "doors"), at, door)
	{
		if (json_object_set_new(door, "open", json_boolean(open)) < 0)
			return no_memory();
	}
	return 0;
}

/* ---- the configuration ---- */

static int add_token(json_t *tokens, const char *name, const char *secret)
{
	json_t *item = json_pack("{s:s,s:s}", "name", name, "token", secret);

	return json_array_append_new(tokens, item) == 0 ? 0 : no_memory();
}

static int add_token_file(json_t *tokens, const char *name, const char *path)
{
	char *secret = NULL;
	int code = secret_token_file(path, &secret);

	if (code == 0) {
		code = add_token(tokens, name, secret);
		explicit_bzero(secret, strlen(secret));
	}
	free(secret);
	return code;
}

static int read_tokens(const struct serve *serve, const json_t *plan, json_t *tokens)
{
	json_t *item;
	size_t i;
	int code = 0;

	if (serve->token_file)
		code = add_token_file(tokens, "file", serve->token_file);
	json_array_foreach(json_object_get(plan, "tokens"), i, item)
	{
		const char *file = plan_text(item, "file", NULL);

		/* One that the command line's own file stands in for has none. */
		if (code == 0)
			code = add_token_file(tokens, plan_text(item, "name", NULL),
					      file);
	}
	if (code == 0 && serve->made_token[0])
		code = add_token(tokens, "start", serve->made_token);
	return code;
}

int serve_configure(struct serve *serve)
{
	struct config_file file = { .given = serve->config };
	json_t *plan = NULL, *tls = NULL, *tokens = json_array();
	int code;

	code = tokens ? config_file_read(&file, "serve") : no_memory();
	if (code == 0)
		code = config_file_plan(&file, serve->options, &plan, "serve");
	if (code == 0 && *plan_text(plan, "tls", "certificate"))
		code = secret_tls(plan_text(plan, "tls", "certificate"),
				  plan_text(plan, "tls", "key"), &tls);
	if (code == 0)
		code = read_tokens(serve, plan, tokens);
	if (code != 0) {
		config_file_clear(&file);
		json_decref(plan);
		json_decref(tls);
		json_decref(tokens);
		return code;
	}
	config_file_clear(&serve->file);
	json_decref(serve->plan);
	json_decref(serve->tls);
	json_decref(serve->tokens);
	serve->file = file;
	serve->plan = plan;
	serve->tls = tls;
	serve->tokens = tokens;
	return 0;
}

char *serve_frame(const struct serve *serve)
{
	json_t *file = serve->file.text ? json_stringn(serve->file.text, serve->file.len)
					: json_null();
	json_t *listeners = listen_json(&serve->listeners, serve->tls != NULL);
	json_t *frame;
	char *text;

	/* Takes the references in any case. */
	frame = json_pack("{s:o, s:O, s:O, s:O?, s:o, s:s?}", "file", file, "options",
			  serve->options, "tokens", serve->tokens, "tls", serve->tls,
			  "listeners", listeners, "journal_error",
			  serve->journal_error[0] ? serve->journal_error : NULL);
	text = frame ? jsontext(frame, NULL) : NULL;
	json_decref(frame);
	return text;
}

/* ---- sockets ---- */

static bool already(const struct listen_set *listeners, const char *path)
{
	for (size_t i = 0; i < listeners->count; i++)
		if (listeners->of[i].kind == LISTEN_UNIX &&
		    strcmp(listeners->of[i].host, path) == 0)
			return true;
	return false;
}

static int open_unix(struct serve *serve)
{
	const char *path = plan_text(serve->plan, "socket", NULL);
	char place[PATH_MAX];
	int code = 0;

	if (!*path && notify_listen_count() > 0)
		return 0;
	if (!*path) {
		code = listen_default_path(place, sizeof(place));
		path = place;
	}
	if (code != 0 || already(&serve->listeners, path))
		return code;
	return listen_unix(&serve->listeners, path,
			   plan_text(serve->plan, "socket_group", NULL));
}

static int open_tcp(struct serve *serve)
{
	const json_t *list = json_object_get(serve->plan, "listen");
	json_t *item;
	size_t i;
	int code = 0;

	if (json_array_size(list) == 0 && notify_listen_count() == 0 &&
	    !*plan_text(serve->plan, "socket", NULL))
		code = listen_tcp(&serve->listeners, DEFAULT_ADDRESS, NULL, false);
	json_array_foreach((json_t *)list, i, item)
	{
		if (code == 0)
			code = listen_tcp(&serve->listeners, json_string_value(item),
					  NULL, false);
	}
	json_array_foreach(json_object_get(serve->plan, "doors"), i, item)
	{
		if (code == 0)
			code = listen_tcp(&serve->listeners,
					  plan_text(item, "address", NULL),
					  plan_text(item, "name", NULL),
					  json_is_true(json_object_get(item, "open")));
	}
	return code;
}

/* Nobody sends a token over a network in the clear without having been told so. */
static int check_exposed(const struct serve *serve)
{
	for (size_t i = 0; i < serve->listeners.count; i++) {
		const struct listener *listener = &serve->listeners.of[i];

		if (listener->kind != LISTEN_UNIX && !listener->loopback && !serve->tls &&
		    !serve->insecure)
			return cli_fail(
				EXIT_WRONG_USAGE,
				"serve: %s can be reached from other machines, and tokens and "
				"programs would cross the network in the clear: give "
				"--tls-certificate and --tls-key, or --insecure if that is meant",
				listener->host);
	}
	return 0;
}

static bool wants_token(const struct serve *serve)
{
	for (size_t i = 0; i < serve->listeners.count; i++)
		if (serve->listeners.of[i].kind != LISTEN_UNIX &&
		    !serve->listeners.of[i].open)
			return true;
	return false;
}

/* Standard error is what systemd keeps in its journal. */
static bool stderr_is_log(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(2, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* A token for this start, where none was configured. */
static int need_token(struct serve *serve)
{
	char token[SECRET_TOKEN_CHARS + 1];
	int code;

	if (!wants_token(serve) || json_array_size(serve->tokens) > 0)
		return 0;
	if (stderr_is_log())
		return cli_fail(
			EXIT_WRONG_USAGE,
			"serve: TCP takes a token, and one that is made now would be "
			"printed into a log: give --token-file FILE");
	code = secret_make(token);
	if (code != 0)
		return code;
	strcpy(serve->made_token, token);
	return add_token(serve->tokens, "start", token);
}

static int open_journal(struct serve *serve)
{
	const char *dir = plan_text(serve->plan, "journal", "dir"),
		   *key = plan_text(serve->plan, "journal", "key");
	struct sbx_err err = { 0 };

	if (json_is_true(json_object_get(json_object_get(serve->plan, "journal"), "off")))
		return 0;
	if (journal_dir_open(*dir ? dir : NULL, true, &serve->journal_fd, &err) < 0) {
		if (*dir)
			return cli_fail(EXIT_WRONG_USAGE, "serve: %s", err.msg);
		/* A default that cannot be is no reason not to serve; every result says so. */
		(void)snprintf(serve->journal_error, sizeof(serve->journal_error), "%s",
			       err.msg);
		(void)cli_fail(0, "serve: nothing is recorded: %s", err.msg);
	}
	if (!*key)
		return 0;
	serve->key_fd = open(key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return serve->key_fd < 0 ? cli_fail(EXIT_WRONG_USAGE, "serve: journal.key %s: %s",
					    key, strerror(errno))
				 : 0;
}

/* ---- the verb ---- */

static int block_signals(struct serve *serve)
{
	sigset_t set;

	/* Blocked before anything is made that they would leave behind. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
	    sigemptyset(&set) < 0 || sigaddset(&set, SIGINT) < 0 ||
	    sigaddset(&set, SIGTERM) < 0 || sigaddset(&set, SIGHUP) < 0 ||
	    sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return cli_fail(EXIT_OUR_FAULT, "serve: signals: %s", strerror(errno));
	serve->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return serve->signals < 0
		       ? cli_fail(EXIT_OUR_FAULT, "serve: signalfd: %s", strerror(errno))
		       : 0;
}

static int start_forward(const struct serve *serve, struct log_forward **ret)
{
	const json_t *targets = json_object_get(json_object_get(serve->plan, "journal"),
						"forward");
	struct sbx_err err = { 0 };

	return log_forward_start(targets, serve->journal_fd, serve->key_fd, ret, &err) < 0
		       ? cli_fail(EXIT_WRONG_USAGE, "serve: %s", err.msg)
		       : 0;
}

int cli_serve(int argc, char **argv)
{
	struct log_forward *forward = NULL;
	struct serve serve = { .options = json_object(),
			       .pythons = json_array(),
			       .grace_ms = 30000,
			       .journal_fd = -1,
			       .key_fd = -1,
			       .signals = -1 };
	int code;

	code = serve.options && serve.pythons ? block_signals(&serve) : no_memory();
	notify_begin();
	if (code == 0)
		code = parse(&serve, argc, argv);
	if (code == 0)
		code = listen_handed(&serve.listeners);
	if (code == 0)
		code = serve_configure(&serve);
	if (code == 0)
		code = open_journal(&serve);
	if (code == 0 && !serve.handed_only)
		code = open_unix(&serve);
	if (code == 0 && !serve.handed_only)
		code = open_tcp(&serve);
	if (code == 0)
		code = check_exposed(&serve);
	if (code == 0)
		code = need_token(&serve);
	if (code == 0)
		code = start_forward(&serve, &forward);
	if (code == 0)
		code = serve_supervise(&serve);
	log_forward_stop(&forward);
	listen_end(&serve.listeners);
	explicit_bzero(serve.made_token, sizeof(serve.made_token));
	config_file_clear(&serve.file);
	json_decref(serve.options);
	json_decref(serve.pythons);
	json_decref(serve.plan);
	json_decref(serve.tls);
	json_decref(serve.tokens);
	fd_close(&serve.journal_fd);
	fd_close(&serve.key_fd);
	fd_close(&serve.signals);
	return code;
}
