/* SPDX-License-Identifier: MIT
 * Files in a jail's working directory: those that a request gives are put there before
 * the seal, those that a program leaves are found after its end. Init; child-safe. */
#ifndef SBX_JAIL_FILES_H
#define SBX_JAIL_FILES_H

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
/* Tells of what lies in /work, by one packet for each file and FOUND_END. To be called
 * when no other process of the jail is left. Gives up where the other end does. */
void files_collect(int out_fd, uint32_t flags, const struct files_given *given,
		   uint64_t until_us);
uint64_t files_now_us(void);

#endif
