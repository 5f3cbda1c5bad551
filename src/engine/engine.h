/* SPDX-License-Identifier: MIT
 * The engine's inside door: everything that runs a program comes through engine_submit().
 * One thread, on the engine's loop. Used by the doors in src/daemon/ (the command's,
 * HTTP). Runs unprivileged. */
#ifndef SBX_ENGINE_ENGINE_H
#define SBX_ENGINE_ENGINE_H

#include <jansson.h>
#include <sys/types.h>

#include "base/loop.h"
#include "engine/admission.h"
#include "policy/policy.h"

struct engine;
struct execution;
struct session;

/* Receives the broker's hello, probes the walls. The descriptors are those of
 * daemon/broker.h; taken. */
int engine_new(struct loop *loop, int broker_fd, int mover_fd, struct engine **ret,
	       struct sbx_err *err);
void engine_free(
	struct engine **
		engine); /* ends everything that it started; sets NULL, takes a pointer to NULL */

/* Called on the loop. Data is valid during the call only. done is called exactly once and
 * is the last call; the execution is gone after it. result is one object of the shape in
 * the design (borrowed reference). Any but done may be NULL. */
struct execution_sink {
	void (*output)(void *arg, int stream, const char *data,
		       size_t len); /* stream 1 or 2 */
	void (*event)(void *arg, const json_t *event);
	/* One {mime: data}, in order with the output. */
	void (*display)(void *arg, const json_t *bundle);
	void (*sample)(
		void *arg,
		const json_t *sample); /* {at_ms, memory_bytes, cpu_ms, processes} */
	void (*stdin_taken)(
		void *arg,
		size_t len); /* the program's pipe took so much of execution_stdin() */
	/* Asks for the contents of what the program leaves in /work; called for each file
	 * (64 MiB together at most) right before done(). path: relative, any bytes. */
	void (*file)(void *arg, const char *path, const char *data, size_t len);
	/* Instead of done(): found only now to be the caller's fault (stages USAGE to
	 * INTERPRETER, and BUSY). NULL: such a run ends with done() and status
	 * "fault". */
	void (*refused)(void *arg, const struct sbx_err *err);
	/* Not NULL: before done() or refused(), with what they will be called with (result or
	 * err, the other is NULL). They come after execution_conclude(), which may be called
	 * from inside this; members may be added to result until then. */
	void (*outcome)(void *arg, json_t *result, const struct sbx_err *err);
	void (*done)(void *arg, json_t *result);
	void *arg;
};

struct execution_file {
	const char *name; /* plain and relative, below /work */
	const char *data;
	size_t len;
};

struct execution_offer {
	uint32_t number;  /* the broker's */
	const char *path; /* real */
};
struct execution_request {
	const struct sbx_policy *policy; /* checked; copied */
	const char *code; /* copied; UTF-8 without NUL, checked by engine_submit */
	size_t code_len;
	const char *filename;   /* NULL: "<program>" */
	const char *cwd;        /* the caller's working directory, absolute; NULL: none */
	const char *stdin_data; /* copied */
	size_t stdin_len;
	bool stdin_open;                    /* more will come by execution_stdin() */
	const struct execution_file *files; /* put into /work; copied */
	size_t file_count;
	const char *caller; /* whose turn it is where programs wait; NULL: the starter */
	/* What the policy was made from, for the record; NULL: neither was named. */
	const char *preset, *template;
	int peer_fd; /* the caller's connection, or -1: the command that started the engine */
	/* He came over TCP, or is another user than an ordinary starter, and has no rights here:
	 * the door has checked that what he is granted is grantable. Started as root the broker
	 * opens nothing else for him. */
	bool remote;
	/* Without one, started as root: what the command opened for allowed_directories, in
	 * order. Copied. */
	const struct execution_offer *offers;
	size_t offer_count;
	bool hold_start; /* set up everything, but start it only after execution_start() */
	/* In which it has its turn, under the session's policy, with the session's cwd;
	 * files are put into its /work. NULL: a jail of its own. */
	struct session *session;
	double timeout_s; /* lowers max_execution_time; 0: the policy's */
};

/* Starts the execution. Errors that are the caller's fault (stages USAGE to INTERPRETER,
 * and BUSY) come back here or, if found later, as done() with status "fault". 0: done()
 * will be called, never from inside this. */
int engine_submit(struct engine *engine, const struct execution_request *request,
		  const struct execution_sink *sink, struct execution **ret_execution,
		  struct sbx_err *err);
int execution_stdin(struct execution *execution, const char *data,
		    size_t len); /* -ENOBUFS over 1 MiB unread */
void execution_stdin_close(struct execution *execution);
/* While held, the program's output is not read and its writes block: for a caller that
 * reads too slowly. */
void execution_hold_output(struct execution *execution, bool hold);
void execution_cancel(
	struct execution *execution); /* status "killed"; done() still comes */
void execution_start(struct execution *execution); /* with hold_start */
/* Before execution_start(): ends it as fault, or as refused. */
void execution_fail(struct execution *execution, const struct sbx_err *err);
void execution_conclude(struct execution *execution);  /* after outcome(); once */
/* KeyboardInterrupt in a session's program; one that has not begun gets it at its start. */
void execution_interrupt(struct execution *execution);
void engine_cancel_all(struct engine *engine);         /* execution_cancel() of each */
const char *execution_id(const struct execution *execution);

/* When it came to what (loop_now_us()); 0: it has not. Also from done(). */
struct execution_times {
	uint64_t submitted_us, taken_us, started_us, ended_us;
};
void execution_times(const struct execution *execution, struct execution_times *ret);

/* How many sessions there may be, and after how long without use one ends. */
void engine_session_limits(struct engine *engine, size_t max, uint32_t idle_s);

struct loop *engine_loop(struct engine *engine);
struct admission *engine_admission(struct engine *engine); /* admission.h */
uid_t engine_starter_uid(const struct engine *engine);     /* whose server this is */
/* Executions and sessions that are there now, and those that were begun, ever (it may wrap). */
void engine_use(const struct engine *engine, uint32_t *ret_live, uint32_t *ret_begun);
json_t *engine_health(
	struct engine
		*engine); /* {"status": "ok", "templates": [...], "running": n} new ref */
/* A TCP listener of this server, which its programs then cannot reach. 0 or -errno. */
int engine_own_listener(struct engine *engine, int listen_fd);
/* Which walls stand, as `sandbox doctor --json` has them: {"ok", "walls": [{name, stands,
 * enforced, probed_with, detail, remedy}], "limits", "root"}; new reference. */
json_t *engine_doctor(const struct engine *engine);

#endif
