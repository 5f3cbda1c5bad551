/* SPDX-License-Identifier: MIT
 * What the files of `sandbox serve` share: serve.c (options, start, reload, end) and
 * supervise.c (the engine's life). The command. */
#ifndef SBX_CLI_SERVE_H
#define SBX_CLI_SERVE_H

#include "cli/config_file.h"
#include "cli/listen.h"
#include "lib/spawn.h"

struct serve {
	/* options */
	json_t *options; /* of the configuration's keys, over the file */
	json_t *pythons; /* of --python */
	const char *config, *token_file;
	bool insecure, with_stdin, no_journal;
	bool handed_only; /* no socket but those handed over, whatever the file says */
	uint32_t grace_ms;
	uint32_t idle_exit_ms; /* unused for so long it ends; 0: it stays */
	/* what they came to */
	struct config_file file;
	json_t *plan, *tls, *tokens; /* tokens: for DOOR_CONFIG */
	struct listen_set listeners;
	int journal_fd, key_fd, signals; /* key_fd: of the journal; -1: its own */
	char journal_error[512];         /* why there is none where there should be */
	char made_token[64];             /* printed at the start, in no file; "": none */
	/* the engine */
	struct spawned spawned;
	bool running; /* spawned is one */
	uint64_t started_ms;
	char in[8192]; /* what came of its frames */
	size_t in_len;
};

/* Reads the configuration, and the secrets that it names. 0, or an exit code after a
 * message; then nothing has changed. */
int serve_configure(struct serve *serve);
/* DOOR_CONFIG's text; malloc, NULL: no memory. */
char *serve_frame(const struct serve *serve);

/* Starts the engine, configures it, and keeps it alive until the end is asked for. Returns
 * the exit code. */
int serve_supervise(struct serve *serve);

#endif
