/* SPDX-License-Identifier: MIT
 * Purpose: finds and reads sandbox.yaml with the rights of whoever typed the command, and
 *   has it parsed by somebody without them (config_file.h).
 * Process: the command; for parsing a fork of it that dropped everything.
 * Trusts: the file's place. Of its text nothing: the command, which may be root, sees only
 *   the plan that comes back, a small JSON object of texts.
 * Invariants: a file that is there and cannot be read or understood is an error, never
 *   passed over. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/jsontext.h"
#include "cli/cli.h"
#include "cli/config_file.h"
#include "daemon/config.h"
#include "jail/caps.h"
#include "jail/filter.h"
#include "jail/seccomp.h"

#define PLAN_MAX (1u << 20)
#define PARSE_SECONDS 10
#define NOBODY 65534

static void default_place(char *ret, size_t size)
{
	const char *dir = secure_getenv("XDG_CONFIG_HOME"), *home = secure_getenv("HOME");
	int n = 0;

	if (geteuid() == 0)
		n = snprintf(ret, size, "/etc/interpreter-sandbox/sandbox.yaml");
	else if (dir && dir[0] == '/')
		n = snprintf(ret, size, "%s/interpreter-sandbox/sandbox.yaml", dir);
	else if (home && home[0] == '/')
		n = snprintf(ret, size, "%s/.config/interpreter-sandbox/sandbox.yaml",
			     home);
	if (n <= 0 || (size_t)n >= size)
		ret[0] = '\0';
}

/* As root, what others may write is not taken as the operator's word. */
static int check(int fd, const char **why)
{
	struct stat st;

	*why = NULL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		*why = "it is no regular file";
	else if (geteuid() == 0 && (st.st_uid != 0 || (st.st_mode & 022)))
		*why = "others than root can write to it";
	return *why ? -EPERM : 0;
}

int config_file_read(struct config_file *file, const char *verb)
{
	_cleanup_fd_ int fd = -1;
	const char *why = NULL;
	struct buf text = { .max = POLICY_DOCUMENT_MAX };
	char chunk[16384];
	ssize_t n = 0;
	int r;

	if (file->given)
		(void)snprintf(file->path, sizeof(file->path), "%s", file->given);
	else
		default_place(file->path, sizeof(file->path));
	if (!file->path[0])
		return 0;
	fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && !file->given && (errno == ENOENT || errno == ENOTDIR)) {
		file->path[0] = '\0';
		return 0;
	}
	if (fd < 0)
		return cli_fail(EXIT_WRONG_USAGE, "%s: %s: %s", verb, file->path,
				strerror(errno));
	r = check(fd, &why);
	while (r == 0 && (n = read(fd, chunk, sizeof(chunk))) > 0)
		r = buf_add(&text, chunk, (size_t)n);
	if (r == 0 && n < 0)
		r = -errno;
	if (r == 0)
		r = buf_add(&text, "", 0);
	if (r < 0) {
		buf_free(&text);
		return cli_fail(EXIT_WRONG_USAGE, "%s: %s: %s", verb, file->path,
				why              ? why
				: r == -EMSGSIZE ? "it is longer than 1 MiB"
						 : strerror(-r));
	}
	file->len = text.len;
	file->text = text.data ? text.data : strdup("");
	return file->text ? 0 : cli_fail(EXIT_OUR_FAULT, "out of memory");
}

void config_file_clear(struct config_file *file)
{
	free(file->text);
	*file = (struct config_file){ 0 };
}

/* ---- the process that parses ---- */

static int drop_everything(int keep, struct sbx_err *err)
{
	const struct rlimit cpu = { PARSE_SECONDS, PARSE_SECONDS };
	_cleanup_buf_ struct buf filter = { 0 };
	int listener, r;

	if (dup2(keep, 3) != 3 || syscall(SYS_close_range, 4, ~0u, 0) < 0 ||
	    setrlimit(RLIMIT_CPU, &cpu) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_set(err, SBX_AT_ENGINE, errno, "dropping rights");
	/* Capabilities outlive the change of ids, so that caps_keep() can empty the bounding
	 * set, too. A root of a namespace that has no other id keeps it, without any. */
	if (geteuid() == 0 &&
	    (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0 ||
	     setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	     setresuid(NOBODY, NOBODY, NOBODY) < 0) &&
	    errno != EINVAL && errno != EPERM)
		return err_set(err, SBX_AT_ENGINE, errno, "dropping rights");
	/* An ordinary user has none, and may not touch the bounding set either. */
	r = caps_effective() ? caps_keep(0, err) : 0;
	if (r == 0)
		r = filter_engine(&filter, err);
	if (r == 0)
		r = caps_no_new_privs(err);
	if (r == 0)
		r = seccomp_apply(filter.data, filter.len, false, &listener, err);
	return r;
}

struct answer {
	struct sbx_err err;
	bool of_file; /* it is the file's fault */
};

/* The answer, then the plan. */
static _Noreturn void parse(const struct config_file *file, const json_t *options,
			    int out)
{
	struct answer answer = { 0 };
	struct config config;
	json_t *plan = NULL;
	char *text = NULL;
	int r;

	r = drop_everything(out, &answer.err);
	config_init(&config);
	if (r == 0 && file->text) {
		r = config_set_document(&config, file->text, file->len, &answer.err);
		answer.of_file = r < 0;
	}
	if (r == 0 && options)
		r = config_set_object(&config, options, NULL, &answer.err);
	if (r == 0)
		r = config_check(&config, &answer.err);
	if (r == 0) {
		plan = config_plan(&config);
		text = plan ? jsontext(plan, NULL) : NULL;
		if (!text)
			(void)err_set(&answer.err, SBX_AT_ENGINE, ENOMEM,
				      "configuration");
	}
	if (fd_write_all(3, &answer, sizeof(answer)) < 0 ||
	    (text && fd_write_all(3, text, strlen(text)) < 0))
		_exit(1);
	_exit(0);
}

static int take(const struct config_file *file, int in, json_t **ret, const char *verb)
{
	struct answer answer;
	_cleanup_free_ char *text = malloc(sizeof(answer) + PLAN_MAX);
	ssize_t n;

	if (!text)
		return cli_fail(EXIT_OUR_FAULT, "out of memory");
	n = fd_read_all(in, text, sizeof(answer) + PLAN_MAX);
	if (n < (ssize_t)sizeof(answer))
		return cli_fail(EXIT_OUR_FAULT, "%s: parsing the configuration failed",
				verb);
	memcpy(&answer.err, text, sizeof(answer.err));
	answer.of_file = text[offsetof(struct answer, of_file)] != 0;
	err_sanitize(&answer.err);
	if (answer.err.stage != SBX_AT_NONE)
		return cli_fail(err_kind(answer.err.stage)->exit_code, "%s: %s%s%s", verb,
				answer.of_file ? file->path : "",
				answer.of_file ? ": " : "", answer.err.msg);
	*ret = json_loadb(text + sizeof(answer), (size_t)n - sizeof(answer),
			  JSON_REJECT_DUPLICATES, NULL);
	return *ret ? 0
		    : cli_fail(EXIT_OUR_FAULT, "%s: parsing the configuration failed",
			       verb);
}

int config_file_plan(const struct config_file *file, const json_t *options, json_t **ret,
		     const char *verb)
{
	int fds[2], code;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return cli_fail(EXIT_OUR_FAULT, "%s: pipe: %s", verb, strerror(errno));
	pid = fork();
	if (pid == 0)
		parse(file, options, fds[1]);
	(void)close(fds[1]);
	if (pid < 0) {
		(void)close(fds[0]);
		return cli_fail(EXIT_OUR_FAULT, "%s: fork: %s", verb, strerror(errno));
	}
	code = take(file, fds[0], ret, verb);
	(void)close(fds[0]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return code;
}

const char *plan_text(const json_t *plan, const char *key, const char *inner)
{
	const json_t *value = json_object_get(plan, key);
	const char *text;

	if (inner)
		value = json_object_get(value, inner);
	text = json_string_value(value);
	return text ? text : "";
}
