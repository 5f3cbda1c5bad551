/* SPDX-License-Identifier: MIT
 * What `sandbox run` shows, with a session or without: the program's output byte for byte,
 * a summary; and the signals that stop it. The command's process, single thread. */
#ifndef SBX_CLI_OUTPUT_H
#define SBX_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Readable after the first signal, or when nobody reads the output any more. A second
 * signal ends the process at once. */
extern int cli_cancel_fd;
int cli_catch_signals(void); /* 0 or -errno */
int cli_caught(void);        /* the signal, 0: none */

struct cli_output {
	bool closed[3];  /* by stream: nobody reads it any more */
	int failed;      /* errno of another failure, 0: none */
	bool is_pipe[3]; /* a write of more than PIPE_SAFE may block */
	char last;       /* byte written */
};
void cli_output_begin(struct cli_output *output);
/* stream: 1 or 2. arg: the struct cli_output, as sbx_request wants it. */
void cli_output_write(void *arg, int stream, const void *data, size_t len);
/* On standard error, behind the program's output. */
void cli_output_summary(const struct cli_output *output, const json_t *result);

#endif
