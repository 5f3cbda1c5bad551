/* SPDX-License-Identifier: MIT
 * Descriptors: cleanup attributes and whole reads and writes. Everything made here is
 * close-on-exec. */
#ifndef SBX_BASE_FD_H
#define SBX_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

static inline void fd_closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}
#define _cleanup_fd_ __attribute__((cleanup(fd_closep)))

/* Closes and sets -1; takes -1. */
static inline void fd_close(int *fd)
{
	fd_closep(fd);
	*fd = -1;
}
static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

void freep_(void *p);
#define _cleanup_free_ __attribute__((cleanup(freep_)))

int fd_nonblock(int fd, bool on); /* 0 or -errno */
int fd_write_all(int fd, const void *data,
		 size_t len); /* blocking; 0 or -errno; child-safe */
ssize_t fd_read_all(int fd, void *data,
		    size_t max); /* to EOF or max; bytes or -errno; child-safe */
int fd_read_file(int dirfd, const char *path, size_t max, char **ret_data,
		 size_t *ret_len);
/* malloc, NUL added; -EFBIG
							       * over max */
int fd_write_file(int dirfd, const char *path,
		  const char *text); /* one write(2); child-safe */
int fd_pidfd_host_pid(int pidfd,
		      pid_t *ret_pid); /* from /proc/self/fdinfo; -ESRCH if dead */

#endif
