/* SPDX-License-Identifier: MIT
 * The inside door: the command (libsbx) and its engine, over one stream of frames
 * (base/wire.h). One run at a time; the next DOOR_RUN follows a DOOR_RESULT or
 * DOOR_ERROR. Closing the stream stops what runs. `sandbox serve` sends no DOOR_RUN: it
 * begins with DOOR_CONFIG, and nothing listens before. */
#ifndef SBX_DAEMON_DOOR_H
#define SBX_DAEMON_DOOR_H

#include "daemon/service.h"

enum door_frame {
	/* command -> engine */
	DOOR_RUN = 1,       /* JSON, daemon/request.h; at most REQUEST_MAX */
	DOOR_STDIN = 2,     /* bytes for the program's stdin, at most DOOR_CHUNK */
	DOOR_STDIN_END = 3, /* no more of them */
	DOOR_CANCEL = 4,
	DOOR_CONFIG =
		5, /* JSON, daemon/config.h; at most CONFIG_FRAME_MAX; once more to reload */
	DOOR_STOP =
		6, /* struct door_stop: what was accepted is finished, nothing new begins */
	DOOR_PING = 7, /* is answered by DOOR_PONG when the loop comes to it */
	DOOR_LOG = 8,  /* JSON {"verb", "filter"} (docs/log.md), one at a time, at most
			* DOOR_LOG_MAX; beside a run */
	DOOR_GRANTS =
		9, /* started as root, before DOOR_RUN: for each of allowed_directories, in order,
		    * the number of its offer to the broker (uint32_t) and its real path with its
		    * NUL; at most DOOR_GRANTS_MAX */
	/* engine -> command */
	DOOR_STARTED = 16, /* the execution's id as text; before any output */
	DOOR_STDOUT = 17,  /* bytes, at most DOOR_CHUNK */
	DOOR_STDERR = 18,
	DOOR_EVENT = 19,  /* JSON, one event of the result's shape, as it happens */
	DOOR_RESULT = 20, /* JSON, the whole result; ends the run */
	DOOR_ERROR = 21,  /* struct sbx_err: the request was refused; ends the run */
	DOOR_STDIN_TAKEN =
		22, /* uint32_t: bytes of DOOR_STDIN that the program's pipe took; a command keeps at
				* most DOOR_STDIN_WINDOW bytes under way */
	DOOR_FILE =
		23, /* struct door_file, then the path: with "file_contents", before DOOR_RESULT */
	DOOR_FILE_DATA =
		24, /* the bytes of the last DOOR_FILE, in order, at most DOOR_CHUNK */
	DOOR_LOG_ROW = 40, /* JSON object, at most DOOR_LOG_ROW_MAX */
	DOOR_LOG_END =
		41, /* struct sbx_err, stage 0: all rows have come; ends the answer */
	DOOR_CONFIG_DONE =
		25, /* it holds from now on; text: the changed keys that take a restart, or nothing. A
			* DOOR_ERROR instead: nothing has changed. */
	DOOR_READY = 26, /* the listeners are served; after the first DOOR_CONFIG_DONE */
	DOOR_STOPPED = 27, /* everything that was accepted is answered */
	DOOR_PONG = 28,    /* struct door_pong */
};
struct door_pong {
	uint32_t live;  /* executions and sessions that are there now */
	uint32_t begun; /* those that were begun, ever; may wrap */
};
struct door_stop {
	uint32_t grace_ms; /* after it what still runs is ended, `killed` */
};
struct door_file {
	uint64_t
		size; /* what DOOR_FILE_DATA will bring; all files FILES_LEFT_BYTES at most */
};
#define DOOR_GRANTS_MAX (POLICY_GRANTS_MAX * (4096u + 4u))
#define DOOR_PATH_MAX 1024u
#define DOOR_CHUNK (64u << 10)
#define DOOR_STDIN_WINDOW (256u << 10)
#define DOOR_RESULT_MAX (512u << 20)
#define DOOR_LOG_MAX (64u << 10)
#define DOOR_LOG_ROW_MAX (64u << 20)

/* Engine: serves the door on fd (taken), until its end of file, when closed() is
 * called. service NULL: only DOOR_LOG. */
int door_open(struct loop *loop, struct service *service, int fd,
	      void (*closed)(void *arg), void *arg, struct sbx_err *err);

#endif
