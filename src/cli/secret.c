/* SPDX-License-Identifier: MIT
 * Purpose: token files and certificates (secret.h).
 * Process: the command. Trusts: the files' places, which its user named.
 * Invariants: no secret gets into a message, an argument or an environment; a token's file
 *   appears whole, with mode 0600, or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/secret.h"
#include "daemon/config.h"

int secret_make(char ret[SECRET_TOKEN_CHARS + 1])
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned char bytes[33] = { 0 };
	size_t at = 0;

	if (getrandom(bytes, 32, 0) != 32)
		return cli_fail(EXIT_OUR_FAULT, "serve: getrandom: %s", strerror(errno));
	for (size_t i = 0; i < 33; i += 3) {
		unsigned long bits = (unsigned long)bytes[i] << 16 |
				     (unsigned long)bytes[i + 1] << 8 | bytes[i + 2];

		for (int shift = 18; shift >= 0 && at < SECRET_TOKEN_CHARS; shift -= 6)
			ret[at++] = letters[bits >> shift & 63];
	}
	ret[at] = '\0';
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}

static int make_file(const char *path)
{
	char token[SECRET_TOKEN_CHARS + 2], beside[4096];
	_cleanup_fd_ int fd = -1;
	int code, r;

	code = secret_make(token);
	if (code != 0)
		return code;
	if ((size_t)snprintf(beside, sizeof(beside), "%s.%d", path, (int)getpid()) >=
	    sizeof(beside))
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: the path is too long",
				path);
	fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: making %s: %s", path,
				strerror(errno));
	token[SECRET_TOKEN_CHARS] = '\n';
	r = fd_write_all(fd, token, SECRET_TOKEN_CHARS + 1);
	explicit_bzero(token, sizeof(token));
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	/* Not rename(2): another server may have made one meanwhile, which then counts. */
	if (r == 0 && link(beside, path) < 0 && errno != EEXIST)
		r = -errno;
	(void)unlink(beside);
	return r < 0 ? cli_fail(EXIT_WRONG_USAGE, "serve: making %s: %s", path,
				strerror(-r))
		     : 0;
}

/* A file of the user's own (or root's), not readable by those in `others`. *ret: malloc. */
static int read_private(const char *path, mode_t others, size_t max, char **ret,
			size_t *ret_len)
{
	_cleanup_fd_ int fd = -1;
	_cleanup_free_ char *text = malloc(max + 1);
	struct stat st;
	ssize_t n;

	if (!text)
		return cli_fail(EXIT_OUR_FAULT, "out of memory");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s is no regular file", path);
	if (st.st_mode & others)
		return cli_fail(
			EXIT_WRONG_USAGE,
			"serve: %s can be read by others (mode %04o): chmod 600 it", path,
			(unsigned)(st.st_mode & 07777));
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s belongs to somebody else",
				path);
	n = fd_read_all(fd, text, max);
	if (n < 0)
		return cli_fail(EXIT_WRONG_USAGE, "serve: %s: %s", path,
				strerror((int)-n));
	text[n] = '\0';
	*ret_len = (size_t)n;
	*ret = text;
	text = NULL;
	return 0;
}

int secret_token_file(const char *path, char **ret)
{
	char *text = NULL;
	size_t len = 0;
	int code = 0;

	if (access(path, F_OK) < 0 && errno == ENOENT)
		code = make_file(path);
	if (code == 0)
		code = read_private(path, 077, CONFIG_SECRET_MAX + 2, &text, &len);
	if (code != 0)
		return code;
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	if (len < CONFIG_SECRET_MIN || len > CONFIG_SECRET_MAX || strlen(text) != len) {
		explicit_bzero(text, len);
		free(text);
		return cli_fail(EXIT_WRONG_USAGE,
				"serve: %s: a token has %u to %u characters, on one line",
				path, CONFIG_SECRET_MIN, CONFIG_SECRET_MAX);
	}
	*ret = text;
	return 0;
}

int secret_tls(const char *certificate, const char *key, json_t **ret)
{
	_cleanup_free_ char *chain = NULL, *secret = NULL;
	size_t len = 0;
	int code;

	code = read_private(certificate, 0, 1u << 20, &chain, &len);
	if (code == 0)
		code = read_private(key, 007, 1u << 16, &secret, &len);
	if (code == 0 && (!strstr(chain, "-----BEGIN CERTIFICATE") ||
			  !strstr(secret, "PRIVATE KEY-----")))
		code = cli_fail(
			EXIT_WRONG_USAGE,
			"serve: %s and %s have to be a certificate and its key in PEM",
			certificate, key);
	if (code == 0) {
		*ret = json_pack("{s:s,s:s}", "certificate", chain, "key", secret);
		if (!*ret)
			code = cli_fail(EXIT_OUR_FAULT, "out of memory");
	}
	if (secret)
		explicit_bzero(secret, len);
	return code;
}
