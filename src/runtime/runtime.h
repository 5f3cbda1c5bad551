/* SPDX-License-Identifier: MIT
 * What the files of the extension share. The extension runs inside the template's jail
 * (zygote) and then inside a program's jail (worker), in an interpreter that we do not
 * build: limited API 3.10 only, no library but libc. Everything here needs the GIL and
 * runs on the main thread unless it says otherwise. */
#ifndef SBX_RUNTIME_RUNTIME_H
#define SBX_RUNTIME_RUNTIME_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030A0000
#endif
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sbx.h"
#include "zygote/messages.h"

static inline void py_clearp(PyObject **p)
{
	Py_CLEAR(*p);
}
#define _cleanup_py_ __attribute__((cleanup(py_clearp)))

/* ---- zygote.c: the fork server ---- */
/* Preloads, locks itself in and serves requests on fd. Never returns: the process ends,
 * or it is a worker. */
_Noreturn void zygote_serve(int fd, PyObject *preload);

/* ---- packages.c: what the jails show of the installed packages ---- */
/* A sealed memfd of the records that ZYGOTE_READY tells of. -errno: with err filled, or
 * with a Python exception. spec: struct template_spec.view. */
int packages_view(const char *spec, struct sbx_err *err);

/* ---- worker.c: one fork of the zygote, one program or one session's ---- */
_Noreturn void worker_main(int init_pidfd, int channel_fd, unsigned walls);

/* A program's request, as worker.c read and checked it. run, environment and modules are
 * those of the worker, the rest changes with the program. */
struct program {
	struct worker_run run;
	struct worker_cell cell;
	PyObject *source;      /* str */
	PyObject *filename;    /* str */
	PyObject *environment; /* dict of str */
	const char *
		modules; /* allowed_modules, run.modules_len bytes, each with its NUL; kept for good */
	const char *
		files; /* names below /work that were given, cell.files_len bytes, the same way */
};

/* A claim to the engine. Bounded and counted: the first of its kind at once, the number
 * of its repetitions by worker_events_flush(). subject: str or NULL. Never raises. */
void worker_event(const char *kind, PyObject *subject, const char *rule, long line,
		  const char *remedy);
void worker_events_flush(void);
/* The program's own code comes next: from here on an interrupt is its. */
void worker_interruptible(void);
/* With RUN_LOOK: has the supervisor look at what the program holds, before it is let go.
 * Waits 200 ms at most. */
void worker_look(void);
/* One bundle, bounded by the caller. With wait, until the engine has it, so that what is
 * written next is behind it; a second at most. False: it cannot be told. */
bool worker_display(const char *json, size_t len, bool wait);
/* False in a process that the program forked: it speaks to nobody. */
bool worker_is_self(void);
/* False between a session's programs, too, where threads that they left behind may run. */
bool worker_in_program(void);

/* ---- reseed.c: nothing random is shared between siblings ---- */
int reseed_all(struct sbx_err *err);

/* ---- program.c: from source to the text of WORKER_DONE ---- */
struct json;
int program_init(
	void); /* zygote: what every run needs is imported and captured. 0 or -1 with exception */
int program_prepare(
	void); /* worker, before the request: the fresh __main__. 0 or -1 with exception */
int program_environ(const struct program *program); /* 0 or -1 with exception */
/* Runs it. done gets the JSON. Returns the exit code. Leaves its streams flushed. */
int program_run(const struct program *program, struct json *done);
/* Its very end: threads, atexit, flush. Returns the exit code, or another one. */
int program_finish(int exit_code);
PyObject *program_take(const char *module,
		       const char *name); /* an attribute; NULL with exception */
PyObject *program_globals(void);          /* borrowed: the namespace of __main__ */

/* ---- compile.c: a program's text into code ---- */
int compile_init(void); /* zygote. 0 or -1 with exception */
/* *ret_last stays NULL where the last statement is no expression. 0 or -1 with exception. */
int compile_program(PyObject *source, PyObject *filename, bool may_await,
		    PyObject **ret_body, PyObject **ret_last);
int compile_remember(PyObject *source, PyObject *filename); /* its lines, for linecache */
int compile_forget(PyObject *filename);
void compile_mend_error(PyObject *error, PyObject *filename); /* its line's text */

/* ---- session.c: what a session's programs have besides, and what is asked of it ---- */
int session_init(void);  /* zygote. 0 or -1 with exception */
int session_begin(void); /* the names in __main__. 0 or -1 with exception */
int session_enter(const struct program *program); /* In, and no old __result__ */
void session_leave(const struct program *program, PyObject *value); /* Out, _; or NULL */
/* A coroutine that a cell's code has become, to its end, on the session's event loop. New
 * reference or NULL with exception. */
PyObject *session_await(PyObject *coroutine);
void session_answer(uint32_t what, const char *text, size_t len, struct json *answer);

/* ---- display.c: what a program shows, docs/displays.md ---- */
/* Zygote, after the preload: the builtin display() and what imports look at. 0 or -1
 * with exception. */
int display_init(void);
void display_begin(void); /* of a program: what it may show is counted anew */
/* What is left to be shown when a program has ended: its open figures, then the value of its last expression (NULL: none) unless that is None. -1 with the
 * exception of the program's that has to end it (KeyboardInterrupt, SystemExit). */
int display_end(PyObject *value);
long display_result_index(void); /* of the value's display among all; -1: none */
/* As value_repr(); not made anew where display_end() has made it. */
PyObject *display_repr(PyObject *value);
void display_forget(void); /* the value and its repr */

/* ---- stdio.c ---- */
int stdio_open(void); /* sys.stdin, stdout, stderr over 0, 1, 2. 0 or -1 with exception */
int stdio_open_input(void); /* sys.stdin anew: descriptor 0 is another file now */
bool stdio_flush(void);     /* false: something could not be written. Clears exceptions */
void stdio_error_text(
	PyObject *text); /* to sys.stderr, else to descriptor 2. Never raises */

/* ---- gate.c: the polite refusals ---- */
int gate_install(const struct program *program); /* 0 or -1 with exception */
int gate_admit(const struct program *program);   /* the same, before each program */
bool gate_raised(PyObject *exception);           /* an ImportError of ours */
long gate_program_line(void); /* of the innermost frame of the program, 0: none */

/* ---- trace.c ---- */
int trace_init(void); /* zygote */
PyObject *trace_format(
	PyObject *exception); /* str; NULL without an exception where it cannot be had */
long trace_line(PyObject *exception, PyObject *filename); /* 0: none */
const char *trace_cause(PyObject *exception,
			PyObject *filename); /* "denied", "disk", ... or NULL */
PyObject *trace_str(
	PyObject *
		exception); /* str(exception), or a note that it failed. NULL on no memory */
PyObject *trace_name(PyObject *exception); /* its type's name */

/* ---- value.c: tagged values, docs/results.md ---- */
#define VALUE_MAX (16u << 20)
#define VALUE_DEPTH_MAX 64
#define VALUE_REPR_MAX (64u << 10)
int value_init(void); /* zygote */
void value_write(
	struct json *json,
	PyObject *value); /* never raises; a json error only for lack of memory */
/* False: it cannot cross as it is, or not within json->max; then nothing is written. */
bool value_write_whole(struct json *json, PyObject *value);
PyObject *value_repr(
	PyObject *value); /* str; a note where repr() raised. NULL on no memory */

#endif
