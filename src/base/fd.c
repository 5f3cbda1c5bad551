/* SPDX-License-Identifier: MIT
 * Purpose: whole reads and writes of descriptors (fd.h).
 * Process: any, any thread; what fd.h calls child-safe uses system calls only.
 * Trusts: nothing about lengths: each read has a ceiling.
 * Invariants: what is opened here is close-on-exec and closed again before return. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

void freep_(void *p)
{
	void *held;

	/* p points to a pointer of any type. */
	memcpy(&held, p, sizeof(held));
	free(held);
}

int fd_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL), want;

	if (flags < 0)
		return -errno;
	want = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	if (want != flags && fcntl(fd, F_SETFL, want) < 0)
		return -errno;
	return 0;
}

int fd_write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t fd_read_all(int fd, void *data, size_t max)
{
	char *at = data;
	size_t len = 0;

	while (len < max) {
		ssize_t n = read(fd, at + len, max - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* Grows while reading: the size that stat tells is 0 for the kernel's own files and may
 * change for others. */
int fd_read_file(int dirfd, const char *path, size_t max, char **ret_data,
		 size_t *ret_len)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_free_ char *data = NULL;
	size_t len = 0, cap = 0;

	if (fd < 0)
		return -errno;
	if (max > SIZE_MAX / 4)
		return -EINVAL;
	for (;;) {
		size_t want = cap == 0 ? 4096 : cap * 2;
		char *grown;
		ssize_t n;

		/* Room for one byte over max, which tells a file that is too long, and
		 * for the NUL. */
		if (want > max + 2)
			want = max + 2;
		grown = realloc(data, want);
		if (!grown)
			return -ENOMEM;
		data = grown;
		cap = want;
		n = fd_read_all(fd, data + len, cap - 1 - len);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (len < cap - 1)
			break;
	}
	data[len] = '\0';
	*ret_data = data;
	data = NULL;
	if (ret_len)
		*ret_len = len;
	return 0;
}

/* The kernel's files take a value in one piece; a part of it would be another value. */
int fd_write_file(int dirfd, const char *path, const char *text)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = write(fd, text, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int fd_pidfd_host_pid(int pidfd, pid_t *ret_pid)
{
	char path[sizeof("/proc/self/fdinfo/") + 12] = "/proc/self/fdinfo/", text[1024],
						 digits[12];
	size_t at = strlen(path), count = 0;
	unsigned number = (unsigned)pidfd;
	_cleanup_fd_ int fd = -1;
	const char *line;
	char *end;
	ssize_t n;
	long pid;

	if (pidfd < 0)
		return -EBADF;
	do
		digits[count++] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	while (count > 0)
		path[at++] = digits[--count];
	path[at] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = fd_read_all(fd, text, sizeof(text) - 1);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	line = strstr(text, "\nPid:");
	if (!line)
		return -EBADF; /* not a pidfd */
	errno = 0;
	pid = strtol(line + 5, &end, 10);
	if (end == line + 5 || *end != '\n' || errno || pid > INT32_MAX)
		return -EBADF;
	/* -1: waited for already; 0: not of our pid namespace. Nothing to be named by a
	 * number either way. */
	if (pid <= 0)
		return -ESRCH;
	*ret_pid = (pid_t)pid;
	return 0;
}
