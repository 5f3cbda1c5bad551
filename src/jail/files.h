/* SPDX-License-Identifier: MIT
 * Files in a jail's working directory: those that a request gives are put there before
 * the seal, those that a program leaves are found after its end; and of a session's, at
 * any time, whatever its programs are doing. Init; child-safe. */
#ifndef SBX_JAIL_FILES_H
#define SBX_JAIL_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "sbx.h"
#include "zygote/messages.h"

/* How a given file is known again that nobody wrote to. */
struct files_given {
	uint32_t count;
	struct {
		uint64_t inode, size;
		int64_t modified_s;
	} files[FILES_MAX];
};

/* Puts the files of the memfd (INIT_FILES) into /work, never over anything. */
int files_put(int archive_fd, struct files_given *given, struct sbx_err *err);
struct files_look {
	int out_fd;
	bool contents; /* of what was changed since then */
	uint64_t since_ns;
	const struct files_given *given; /* those are not told of; NULL: all are */
};
/* Tells of what lies in /work, by one packet for each file and FOUND_END. Gives up where
 * the other end does. */
void files_collect(const struct files_look *look, uint64_t until_us);
/* An archive like files_put()'s, each in the place of what has its name, at once or not at
 * all. */
int files_replace(int archive_fd, struct sbx_err *err);
/* A regular file with one name, for reading. The descriptor, or -errno with err filled. */
int files_open(const char *path, uint64_t *ret_size, struct sbx_err *err);
int files_delete(const char *path, struct sbx_err *err); /* no directory */
uint64_t files_now_us(void);

#endif
