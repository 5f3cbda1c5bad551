/* SPDX-License-Identifier: MIT
 * Purpose: a sandbox under a configuration: tells the engine before the first run
 *   (internal.h).
 * Process: the command. Trusts: the engine to follow the door's protocol no further than
 *   this: frames of known types and bounded lengths. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/err.h"
#include "base/wire.h"
#include "daemon/door.h"
#include "lib/internal.h"

#define ANSWER_S 30

/* One answer. 1: it is all; 0: more follows; -errno. */
static int take_answer(int door, struct sbx_err *err)
{
	char text[4096];
	struct wire_frame frame;
	struct sbx_err theirs;
	int r;

	r = wire_read(door, &frame, sizeof(frame));
	if (r == 0 && frame.len > sizeof(text))
		r = -EBADMSG;
	if (r == 0 && frame.len > 0)
		r = wire_read(door, text, frame.len);
	if (r < 0)
		return err_set(err, SBX_AT_ENGINE, -r, "configuring the engine");
	if (frame.type == DOOR_READY)
		return 1;
	if (frame.type == DOOR_CONFIG_DONE)
		return 0;
	if (frame.type != DOOR_ERROR || frame.len != sizeof(theirs))
		return err_set(err, SBX_AT_ENGINE, EBADMSG, "configuring the engine");
	memcpy(&theirs, text, sizeof(theirs));
	err_sanitize(&theirs);
	if (err)
		*err = theirs;
	return -EINVAL;
}

int sbx_open_with(const struct spawn_options *options, const char *config, size_t len,
		  struct sbx **ret_box, struct sbx_err *err)
{
	const struct timeval patience = { .tv_sec = ANSWER_S }, none = { 0 };
	struct spawned spawned;
	int r;

	r = spawn_broker(options, &spawned, err);
	if (r < 0)
		return r;
	if (config) {
		(void)setsockopt(spawned.door, SOL_SOCKET, SO_RCVTIMEO, &patience,
				 sizeof(patience));
		r = wire_send_frame(spawned.door, DOOR_CONFIG, config, len, NULL, 0);
		if (r < 0)
			r = err_set(err, SBX_AT_ENGINE, -r, "configuring the engine");
		while (r == 0)
			r = take_answer(spawned.door, err);
		(void)setsockopt(spawned.door, SOL_SOCKET, SO_RCVTIMEO, &none,
				 sizeof(none));
	}
	if (r < 0) {
		(void)spawn_end(&spawned);
		return r;
	}
	return sbx_over(&spawned, ret_box, err);
}
