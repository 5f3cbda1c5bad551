/* SPDX-License-Identifier: MIT
 * `sandbox run`'s files: those that it gives to the program (--file), and where it puts
 * those that the program leaves (--files). */
#ifndef SBX_CLI_FILES_H
#define SBX_CLI_FILES_H

#include "sbx.h"

struct cli_files {
	struct sbx_file *given; /* name and data are owned */
	size_t given_count;
	const char *out; /* a directory's path, NULL: not asked for */
	int out_fd;
	size_t written;
	char failed[256]; /* the first file that could not be written, and why */
};

/* As cli_value(), for --file and --files. */
int cli_files_option(struct cli_files *files, int argc, char **argv, int *i);
/* Makes the directory, or sees that it is an empty one. 0, or an exit code after a
 * message. */
int cli_files_begin(struct cli_files *files);
/* Writes one file that the program left, below that directory and never over anything. */
void cli_files_write(struct cli_files *files, const char *path, const void *data,
		     size_t len);
void cli_files_clear(struct cli_files *files);

#endif
