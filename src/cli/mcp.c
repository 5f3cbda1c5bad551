/* SPDX-License-Identifier: MIT
 * Purpose: `sandbox mcp`: the Model Context Protocol on standard input and output, with a
 *   server of its own that ends with it, or the one on a socket.
 * Process: the command's, with its user's rights. The protocol is the server's (src/mcp);
 *   here is its start, the user's settings and a pump (mcp_pump.h).
 * Trusts: its arguments and who wrote the policy file.
 * Invariants: its own server's socket has no name in any directory once it runs, so that
 *   nobody else finds it and nothing is left behind, whatever this process dies of. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/mcp_pump.h"
#include "policy/policy.h"

#define TARGET_MAX 24000u /* of the 32 KiB that a head may have */
#define ARGS_MAX (24u + 2 * POLICY_GRANTS_MAX)

struct mcp {
	struct cli_policy policy;
	const char *preset; /* NULL: none given */
	const char *template, *socket, *journal, *config;
	char *cwd;
	char *grants[POLICY_GRANTS_MAX];
	size_t grant_count;
	bool no_journal;
};

static const char *const option_names[] = { CLI_POLICY_OPTIONS, "--template",
					    "--socket",         "--journal",
					    "--config",         "--no-journal",
					    "--help",           NULL };

static int parse(struct mcp *mcp, int argc, char **argv)
{
	const struct {
		const char *name, **value;
	} options[] = { { "--template", &mcp->template },
			{ "--socket", &mcp->socket },
			{ "--journal", &mcp->journal },
			{ "--config", &mcp->config } };

	for (int i = 1; i < argc; i++) {
		int r = cli_policy_option(&mcp->policy, argc, argv, &i);

		for (size_t j = 0; r == 0 && j < sizeof(options) / sizeof(options[0]);
		     j++)
			r = cli_value(argc, argv, &i, options[j].name, options[j].value);
		if (r < 0)
			return EXIT_WRONG_USAGE;
		if (r == 0 && strcmp(argv[i], "--no-journal") == 0)
			mcp->no_journal = true;
		else if (r == 0)
			return cli_unknown("mcp", argv[i], option_names);
	}
	if (mcp->socket && (mcp->journal || mcp->config || mcp->no_journal))
		return cli_fail(
			EXIT_WRONG_USAGE,
			"mcp: --journal, --no-journal and --config are for a server of its own, "
			"not for the one at --socket");
	mcp->preset = mcp->policy.preset;
	if (!mcp->policy.preset)
		mcp->policy.preset =
			"data"; /* the server's own choice then, see make_target() */
	mcp->cwd = getcwd(NULL, 0);
	return 0;
}

/* What is wrong with the policy is said now, not at the first program. As root the server has
 * to be handed what it may grant. */
static int check(struct mcp *mcp)
{
	struct policy_grant grant;
	struct sbx_policy policy;
	struct sbx_err err;
	int code;

	policy_init(&policy);
	code = cli_policy_make(&mcp->policy, &policy);
	for (size_t i = 0; code == 0 && geteuid() == 0 &&
			   i < policy.allowed_directories.count && i < POLICY_GRANTS_MAX;
	     i++) {
		char path[4096], *item = NULL;

		if (policy_grant_parse(policy.allowed_directories.items[i], &grant,
				       &err) < 0 ||
		    policy_grant_join(&grant, mcp->cwd, path, &err) < 0)
			code = cli_fail(EXIT_WRONG_USAGE, "mcp: %s", err.msg);
		else if (asprintf(&item, "%s:%s", path, grant.writable ? "rw" : "ro") < 0)
			code = cli_fail(EXIT_OUR_FAULT, "mcp: out of memory");
		else
			mcp->grants[mcp->grant_count++] = item;
	}
	policy_clear(&policy);
	return code;
}

/* ---- the address ---- */

static int add_query(struct buf *target, const char *name, const char *value)
{
	int r = buf_addf(target, "%c%s=", strchr(target->data, '?') ? '&' : '?', name);

	for (; r == 0 && *value; value++) {
		unsigned char c = (unsigned char)*value;
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			     (c >= 'A' && c <= 'Z') || strchr("-._~", c);

		r = plain ? buf_add(target, value, 1) : buf_addf(target, "%%%02X", c);
	}
	return r;
}

static int add_json(struct buf *target, const char *name, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_ENSURE_ASCII | JSON_ENCODE_ANY |
						       JSON_COMPACT)
			   : NULL;
	int r = text ? add_query(target, name, text) : -ENOMEM;

	free(text);
	json_decref(value);
	return r;
}

static int make_target(const struct mcp *mcp, struct buf *target)
{
	const struct cli_policy *policy = &mcp->policy;
	json_t *settings = json_array();
	int r = buf_add(target, "/mcp", 4);

	/* What was not asked for is lowered to the ceilings, not refused. */
	if (r == 0 && mcp->preset)
		r = add_query(target, "preset", mcp->preset);
	if (r == 0 && mcp->template)
		r = add_query(target, "template", mcp->template);
	if (r == 0 && mcp->cwd)
		r = add_query(target, "cwd", mcp->cwd);
	if (r == 0 && policy->text)
		r = add_json(target, "policy", json_stringn(policy->text, policy->len));
	for (size_t i = 0; r == 0 && i < policy->setting_count; i++)
		if (json_array_append_new(settings,
					  json_pack("[s,s]", policy->settings[i].key,
						    policy->settings[i].value)) < 0)
			r = -ENOMEM;
	if (r == 0 && policy->setting_count)
		r = add_json(target, "settings", json_incref(settings));
	json_decref(settings);
	if (r == -EMSGSIZE)
		return cli_fail(
			EXIT_WRONG_USAGE,
			"mcp: the policy is too long: together with --set it has to "
			"fit into %u bytes",
			TARGET_MAX);
	return r < 0 ? cli_fail(EXIT_OUR_FAULT, "mcp: %s", strerror(-r)) : 0;
}

/* ---- a server of its own ---- */

/* A listening socket, and its inode to connect to by /proc/self/fd; its name is gone. */
static int listen_nowhere(int *ret_listen, int *ret_inode)
{
	const char *dir = getenv("TMPDIR");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char place[64];
	int fd, r = 0;

	(void)snprintf(place, sizeof(place), "%s/sandbox-mcp.XXXXXX",
		       dir && *dir == '/' && strlen(dir) < 40 ? dir : "/tmp");
	if (!mkdtemp(place))
		return -errno;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", place);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 128) < 0)
		r = -errno;
	if (r == 0) {
		*ret_inode = open(address.sun_path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
		r = *ret_inode < 0 ? -errno : 0;
	}
	(void)unlink(address.sun_path);
	(void)rmdir(place);
	if (r < 0)
		fd_close(&fd);
	else
		*ret_listen = fd;
	return r;
}

static void serve(const struct mcp *mcp, int listen_fd, int life)
{
	const char *args[ARGS_MAX] = { "sandbox",       "serve",   "--exit-with-stdin",
				       "--handed-only", "--grace", "0" };
	size_t n = 6;
	char pid[16];
	int null;

	if (mcp->journal) {
		args[n++] = "--journal";
		args[n++] = mcp->journal;
	}
	if (mcp->no_journal)
		args[n++] = "--no-journal";
	if (mcp->config) {
		args[n++] = "--config";
		args[n++] = mcp->config;
	}
	for (size_t i = 0; i < mcp->grant_count; i++) {
		args[n++] = "--grantable";
		args[n++] = mcp->grants[i];
	}
	args[n] = NULL;
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	/* Out of the way of the three and of 3 itself. */
	listen_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 10);
	life = fcntl(life, F_DUPFD_CLOEXEC, 10);
	if (listen_fd < 0 || life < 0 || null < 0 || dup2(life, 0) < 0 ||
	    dup2(null, 1) < 0 || dup2(listen_fd, 3) < 0 ||
	    setenv("LISTEN_FDS", "1", 1) < 0 || setenv("LISTEN_PID", pid, 1) < 0 ||
	    unsetenv("LISTEN_FDNAMES") < 0 || unsetenv("NOTIFY_SOCKET") < 0)
		_exit(EXIT_OUR_FAULT);
	(void)execv("/proc/self/exe", (char **)(uintptr_t)args);
	_exit(EXIT_OUR_FAULT);
}

/* *ret_life: the server ends when it is closed. */
static int start(const struct mcp *mcp, pid_t *ret_pid, int *ret_life, int *ret_inode)
{
	int fds[2] = { -1, -1 }, listen_fd = -1, r;

	r = pipe2(fds, O_CLOEXEC) < 0 ? -errno : listen_nowhere(&listen_fd, ret_inode);
	if (r == 0) {
		*ret_pid = fork();
		if (*ret_pid == 0)
			serve(mcp, listen_fd, fds[0]);
		r = *ret_pid < 0 ? -errno : 0;
	}
	fd_close(&fds[0]);
	fd_close(&listen_fd);
	if (r < 0) {
		fd_close(&fds[1]);
		return cli_fail(EXIT_OUR_FAULT, "mcp: starting a server: %s",
				strerror(-r));
	}
	*ret_life = fds[1];
	return 0;
}

int cli_mcp(int argc, char **argv)
{
	_cleanup_buf_ struct buf target = { .max = TARGET_MAX };
	_cleanup_fd_ int life = -1, inode = -1;
	struct mcp mcp = { .cwd = NULL };
	char place[32];
	pid_t server = -1;
	int code, status;

	code = parse(&mcp, argc, argv);
	if (code == 0)
		code = check(&mcp);
	if (code == 0)
		code = make_target(&mcp, &target);
	if (code == 0 && !mcp.socket) {
		code = start(&mcp, &server, &life, &inode);
		(void)snprintf(place, sizeof(place), "/proc/self/fd/%d", inode);
	}
	if (code == 0)
		code = mcp_pump(mcp.socket ? mcp.socket : place, target.data);
	fd_close(&life);
	/* One that did not end because it was to has said why. */
	if (server > 0 && waitpid(server, &status, 0) == server && code == 0 && status)
		code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_OUR_FAULT;
	for (size_t i = 0; i < mcp.grant_count; i++)
		free(mcp.grants[i]);
	free(mcp.cwd);
	cli_policy_clear(&mcp.policy);
	return code;
}
