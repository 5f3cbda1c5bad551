/* SPDX-License-Identifier: MIT
 * Sessions: one jail and one worker in which programs run one after the other, state
 * kept. engine_submit() with request.session queues a program. Engine, on its loop. */
#ifndef SBX_ENGINE_SESSION_H
#define SBX_ENGINE_SESSION_H

#include "engine/engine.h"

#define SESSION_QUEUE_MAX 64u
#ifndef SESSIONS_MAX
#define SESSIONS_MAX 256u /* unless engine_session_limits() says otherwise */
#endif
#define SESSION_IDLE_S 1800u

struct session_request {
	const struct sbx_policy *policy; /* checked; copied */
	const char *
		cwd; /* this, and whose rights grants are opened with: as of an execution */
	const struct execution_file *files;
	size_t file_count;
	int peer_fd;
	bool remote;
	const char *caller;      /* whose turn it is; NULL: the starter */
	uint32_t idle_timeout_s; /* 0: the engine's */
};

/* From the loop. Each may be NULL. After ended() the session is gone. */
struct session_events {
	void (*changed)(void *arg, struct session *session); /* its state */
	void (*ended)(void *arg, struct session *session, const char *reason);
	void *arg;
};

/* The id is known at once, the state is "starting". Errors as of engine_submit(), and
 * WALL. */
int session_new(struct engine *engine, const struct session_request *request,
		const struct session_events *events, struct session **ret,
		struct sbx_err *err);
/* KeyboardInterrupt in the program that runs now, if any. */
void session_interrupt(struct session *session);
/* A new jail under the same id. What lies in /work comes along as far as it can be told
 * of (1,000 files, 64 MiB); programs that run or wait are stopped. */
int session_restart(struct session *session, struct sbx_err *err);
void session_end(struct session *session, const char *reason); /* copied */

bool session_is_ending(const struct session *session); /* it takes no program any more */
const char *session_id(const struct session *session);
bool session_takes(const struct session *session); /* programs: it has not ended */
const struct sbx_policy *session_policy(const struct session *session);
void *session_arg(const struct session *session); /* of its session_events */
struct session *engine_session(struct engine *engine, const char *id); /* or NULL */
/* fn is called for each; it may not end one. */
void engine_sessions(struct engine *engine,
		     void (*fn)(void *arg, struct session *session), void *arg);
/* New reference: {"id", "state": "starting" | "idle" | "busy" | "ended", "created_at",
 * "used_at", "executions", "idle_timeout_s", "policy", "template", "memory_bytes"}. */
json_t *session_describe(struct session *session);

/* What is answered later: once, from the loop; not at the engine's end. Either answer (of
 * the caller's until the call returns) or err is NULL. A call that fails at once says so
 * by its return value and err, and calls nothing. */
typedef void (*session_fn)(void *arg, json_t *answer, const struct sbx_err *err);
/* "variables", args NULL: {"variables": [{"name", "type", "size", "preview"}]}.
 * "complete", args {"code", "cursor"}: {"matches": [..], "start": n, "end": n}, in
 * characters. Of an idle session only, else BUSY. Claims, bounded. */
int session_inspect(struct session *session, const char *what, json_t *args,
		    session_fn fn, void *arg, struct sbx_err *err);
/* Files in /work, whatever is running. path: plain and relative, any bytes but NUL. */
int session_file_put(struct session *session, const char *path, const void *data,
		     size_t len, session_fn fn, void *arg,
		     struct sbx_err *err); /* {"path", "size"} */
int session_file_list(struct session *session, session_fn fn, void *arg,
		      struct sbx_err *err); /* {"files": [..], "omitted": n} */
int session_file_delete(struct session *session, const char *path, session_fn fn,
			void *arg, struct sbx_err *err); /* {} */
/* A regular file, open for reading, the callee's; its size when it was opened, which a
 * program may change. */
typedef void (*session_get_fn)(void *arg, int fd, uint64_t size,
			       const struct sbx_err *err);
int session_file_get(struct session *session, const char *path, session_get_fn fn,
		     void *arg, struct sbx_err *err);

#endif
