/* SPDX-License-Identifier: MIT
 * Purpose: files into and out of `sandbox run` (files.h).
 * Process: the command's, with its user's rights.
 * Trusts: the user's own arguments. The paths and contents of what comes back are the
 *   program's: a path may be any bytes.
 * Invariants: nothing outside the directory of --files is written, nothing in it is
 *   written over, no symlink is followed there, and what is made is a plain file that is
 *   not executable. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "lib/internal.h"

#define FILE_MAX (18u << 20) /* a request is 24 MiB, and base64 needs a third more */
#define COUNT_MAX 256u

/* NAME=PATH, or PATH, whose last part is the name. A path that is there wins, so that one
 * with '=' in it needs no name. */
static int add(struct cli_files *files, const char *word)
{
	const char *equals = strchr(word, '='), *path = word, *slash = strrchr(word, '/');
	struct sbx_file *grown, file = { 0 };
	char *data = NULL;
	int r;

	if (equals && equals != word && access(word, F_OK) < 0) {
		file.name = strndup(word, (size_t)(equals - word));
		path = equals + 1;
	} else {
		file.name = strdup(slash ? slash + 1 : word);
	}
	if (files->given_count == COUNT_MAX)
		r = -E2BIG;
	else
		r = file.name ? fd_read_file(AT_FDCWD, path, FILE_MAX, &data, &file.len)
			      : -ENOMEM;
	grown = r < 0 ? NULL
		      : realloc(files->given, (files->given_count + 1) * sizeof(*grown));
	if (!grown) {
		free((char *)file.name);
		free(data);
		return cli_fail(EXIT_WRONG_USAGE, "--file %s: %s", path,
				r == -EFBIG ? "longer than 18 MiB"
					    : strerror(r < 0 ? -r : ENOMEM));
	}
	file.data = data;
	files->given = grown;
	files->given[files->given_count++] = file;
	return 0;
}

int cli_files_option(struct cli_files *files, int argc, char **argv, int *i)
{
	const char *word;
	int r = cli_value(argc, argv, i, "--files", &word);

	if (r > 0 && files->out) {
		(void)cli_fail(0, "--files: one directory");
		return -1;
	}
	if (r > 0)
		files->out = word;
	if (r != 0)
		return r;
	r = cli_value(argc, argv, i, "--file", &word);
	if (r > 0 && add(files, word) != 0)
		return -1;
	return r;
}

/* 1: yes, 0: no, -errno. */
static int is_empty(int dir)
{
	char buf[4096];
	long n;

	/* "." and ".." are 24 bytes each and come first or last: more than these two is a
	 * file. */
	n = syscall(SYS_getdents64, dir, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	return n <= 48;
}

int cli_files_begin(struct cli_files *files)
{
	int r;

	files->out_fd = -1;
	if (!files->out)
		return 0;
	if (mkdir(files->out, 0777) < 0 && errno != EEXIST)
		return cli_fail(EXIT_WRONG_USAGE, "--files %s: %s", files->out,
				strerror(errno));
	files->out_fd = open(files->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = files->out_fd < 0 ? -errno : is_empty(files->out_fd);
	if (r < 0)
		return cli_fail(EXIT_WRONG_USAGE, "--files %s: %s", files->out,
				strerror(-r));
	if (r == 0)
		return cli_fail(EXIT_WRONG_USAGE, "--files %s: not an empty directory",
				files->out);
	return 0;
}

static int open_below(int dir, const char *path, uint64_t flags, uint64_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how)); /* 5.6 */
}

/* The directory of the path's last part. Each step is opened by its name alone. */
static int open_parent(int top, const char *path, const char **ret_last)
{
	int dir = fcntl(top, F_DUPFD_CLOEXEC, 0);
	char part[256];

	for (;;) {
		size_t len = strcspn(path, "/");
		int inner;

		if (dir < 0 || !path[len]) {
			*ret_last = path;
			return dir;
		}
		if (len == 0 || len >= sizeof(part)) {
			(void)close(dir);
			return errno = EINVAL, -1;
		}
		memcpy(part, path, len);
		part[len] = '\0';
		if (strcmp(part, "..") == 0) /* mkdirat would look at it */
			inner = (errno = EINVAL, -1);
		else if (mkdirat(dir, part, 0777) < 0 && errno != EEXIST)
			inner = -1;
		else
			inner = open_below(dir, part, O_PATH | O_DIRECTORY, 0);
		(void)close(dir);
		dir = inner;
		path += len + 1;
	}
}

void cli_files_write(struct cli_files *files, const char *path, const void *data,
		     size_t len)
{
	_cleanup_fd_ int dir = -1, fd = -1;
	_cleanup_free_ char *line = NULL;
	const char *name = path;
	int r = 0;

	if (files->out_fd < 0)
		return;
	dir = open_parent(files->out_fd, path, &name);
	if (dir >= 0)
		fd = open_below(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW,
				0666);
	r = fd < 0 ? -errno : fd_write_all(fd, data, len);
	if (r == 0) {
		files->written++;
		return;
	}
	line = summary_line(path, strlen(path), 100);
	if (!files->failed[0])
		(void)snprintf(files->failed, sizeof(files->failed), "%s: %s",
			       line ? line : "?", strerror(-r));
}

void cli_files_clear(struct cli_files *files)
{
	for (size_t i = 0; i < files->given_count; i++) {
		free((char *)files->given[i].name);
		free((void *)files->given[i].data);
	}
	free(files->given);
	if (files->out)
		fd_close(&files->out_fd);
}
