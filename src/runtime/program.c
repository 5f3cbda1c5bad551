/* SPDX-License-Identifier: MIT
 * Purpose: one program from its source to the text of WORKER_DONE: compile, run as
 *   __main__, judge how it ended, and end the interpreter as CPython would, short of
 *   tearing it down.
 * Process: a worker. What is needed is imported and captured in the zygote, before a
 * program can replace it.
 * Trusts: the request's numbers. Of the program's objects nothing: each may raise, print,
 * fork or end the process.
 * Invariants: no frame or module of ours is in the program's sight, and no name but
 *   display() (display.c) and the finder in sys.meta_path (ipython.c); an exception of
 *   the program's never leaves this file. */
#include "runtime/runtime.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/json.h"

/* Address space for reporting a MemoryError: not touched, so that nothing is charged for
 * it, and mapped before RLIMIT_DATA is set from what the worker has. */
#define RESERVE_BYTES (4u << 20)
#define EXIT_FLUSH_FAILED 120 /* as CPython */
#define EXIT_INTERRUPTED 130
#define CODE_COROUTINE 0x80 /* inspect.CO_COROUTINE */

static struct {
	PyObject *builtins;
	PyObject *gc_collect, *exit_handlers;
	PyObject *signal, *on_interrupt; /* of _signal */
	PyObject *main;                  /* the module */
	PyObject *globals;               /* borrowed of it */
	void *reserve;
} have;

static bool in_session; /* a program may await outside of a function */

PyObject *program_globals(void)
{
	return have.globals;
}

/* ---- ahead of the request ---- */

PyObject *program_take(const char *module, const char *name)
{
	_cleanup_py_ PyObject *from = PyImport_ImportModule(module);

	return from ? PyObject_GetAttrString(from, name) : NULL;
}

/* -i is how the zygote was started, and no business of the program's. */
static int hide_interactive(void)
{
	PyObject *flags = PySys_GetObject("flags");
	_cleanup_py_ PyObject *copy = NULL;
	_cleanup_py_ PyObject *fields = NULL;
	Py_ssize_t i, count;

	fields = flags ? PyObject_GetAttrString((PyObject *)Py_TYPE(flags), "n_fields")
		       : NULL;
	count = fields ? PyLong_AsSsize_t(fields) : -1;
	copy = count > 0 ? PyStructSequence_New(Py_TYPE(flags)) : NULL;
	if (!copy)
		return -1;
	for (i = 0; i < count; i++) {
		PyObject *item = PyStructSequence_GetItem(flags, i);

		Py_INCREF(item);
		PyStructSequence_SetItem(copy, i, item);
	}
	/* debug, inspect, interactive: the first three since 3.2 */
	for (i = 1; i < 3; i++) {
		PyObject *old = PyStructSequence_GetItem(copy, i);

		PyStructSequence_SetItem(copy, i, PyLong_FromLong(0));
		Py_DECREF(old);
	}
	return PySys_SetObject("flags", copy);
}

static PyObject *new_main(void)
{
	PyObject *module = PyModule_New("__main__");
	PyObject *globals = module ? PyModule_GetDict(module) : NULL;
	_cleanup_py_ PyObject *annotations = PyDict_New();

	if (!globals || !annotations ||
	    PyDict_SetItemString(globals, "__builtins__", have.builtins) < 0 ||
	    PyDict_SetItemString(globals, "__annotations__", annotations) < 0 ||
	    PyDict_SetItemString(globals, "__cached__", Py_None) < 0 ||
	    PyDict_SetItemString(PyImport_GetModuleDict(), "__main__", module) < 0)
		Py_CLEAR(module);
	return module;
}

/* ---- init ---- */

int program_init(void)
{
	_cleanup_py_ PyObject *main_module = NULL;

	have.builtins = PyImport_ImportModule("builtins");
	have.gc_collect = program_take("gc", "collect");
	have.exit_handlers = program_take("atexit", "_run_exitfuncs");
	have.signal = program_take("_signal", "signal");
	have.on_interrupt = program_take("_signal", "default_int_handler");
	if (!have.builtins || !have.gc_collect || !have.exit_handlers || !have.signal ||
	    !have.on_interrupt || compile_init() < 0 || hide_interactive() < 0 ||
	    session_init() < 0)
		return -1;
	/* In place of the one that held boot.h's names; each worker makes another. */
	main_module = new_main();
	return main_module ? 0 : -1;
}

static int set_variable(PyObject *variables, const char *name, const char *value)
{
	_cleanup_py_ PyObject *key = PyUnicode_FromString(name);
	_cleanup_py_ PyObject *text = PyUnicode_FromString(value);

	return key && text ? PyObject_SetItem(variables, key, text) : -1;
}

int program_environ(const struct program *program)
{
	static const char *const fixed[][2] = {
		{ "PATH", "/usr/local/bin:/usr/bin:/bin" },
		{ "HOME", "/work" },
		{ "LANG", "C.UTF-8" },
		{ "TMPDIR", "/tmp" },
		{ "MPLBACKEND", "Agg" },
		{ "MPLCONFIGDIR", "/tmp/.matplotlib" },
		{ "PLOTLY_RENDERER", "plotly_mimetype" },
	};
	static const char *const counts[] = {
		"OPENBLAS_NUM_THREADS",
		"OMP_NUM_THREADS",
		"MKL_NUM_THREADS",
		"NUMEXPR_NUM_THREADS",
	};
	_cleanup_py_ PyObject *environ_map = program_take("os", "environ");
	_cleanup_py_ PyObject *cleared = environ_map ? PyObject_CallMethod(environ_map,
									   "clear", NULL)
						     : NULL;
	PyObject *key, *value;
	Py_ssize_t at = 0;
	char number[16];
	size_t i;

	if (!cleared)
		return -1;
	/* What os.environ does not know. */
	if (clearenv() != 0) {
		PyErr_NoMemory();
		return -1;
	}
	for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (set_variable(environ_map, fixed[i][0], fixed[i][1]) < 0)
			return -1;
	(void)snprintf(number, sizeof(number), "%u",
		       program->run.cpu_threads > 0 ? program->run.cpu_threads : 1);
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (set_variable(environ_map, counts[i], number) < 0)
			return -1;
	while (PyDict_Next(program->environment, &at, &key, &value))
		if (PyObject_SetItem(environ_map, key, value) < 0)
			return -1;
	return 0;
}

/* ---- the verdict ---- */

struct verdict {
	const char *outcome;
	int exit_code;   /* of the process */
	PyObject *value; /* the result, or NULL: none */
	const char *value_source;
	PyObject *error; /* the exception, normalized, with its traceback; or NULL */
	PyObject *trace; /* its text, or NULL */
};

/* str(), whose failure is a note; at most max bytes of it. */
static void write_text(struct json *done, PyObject *text, size_t max)
{
	_cleanup_py_ PyObject *bytes = NULL;
	char *data;
	Py_ssize_t len;

	if (text && PyUnicode_Check(text))
		bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
	if (bytes && PyBytes_AsStringAndSize(bytes, &data, &len) == 0)
		json_text_cut(done, data, (size_t)len, max);
	else
		json_lit(done, text ? "\"(not enough memory to show it)\"" : "null");
	PyErr_Clear();
}

static void write_error(const struct verdict *verdict, PyObject *filename,
			struct json *done)
{
	_cleanup_py_ PyObject *name = trace_name(verdict->error);
	_cleanup_py_ PyObject *value = trace_str(verdict->error);
	const char *cause = trace_cause(verdict->error, filename);
	long line = trace_line(verdict->error, filename);

	PyErr_Clear();
	json_lit(done, ",\"error\":{\"name\":");
	if (name)
		write_text(done, name, 256);
	else
		json_lit(done, "\"Exception\"");
	json_lit(done, ",\"value\":");
	if (value)
		write_text(done, value, VALUE_REPR_MAX);
	else
		json_lit(done, "\"\"");
	json_lit(done, ",\"traceback\":");
	write_text(done, verdict->trace, VALUE_REPR_MAX);
	json_lit(done, ",\"line\":");
	if (line > 0)
		json_long(done, line);
	else
		json_lit(done, "null");
	json_lit(done, "},\"cause\":");
	if (cause)
		json_text(done, cause, strlen(cause));
	else
		json_lit(done, "null");
}

static void write_done(const struct verdict *verdict, PyObject *filename, bool with_value,
		       struct json *done)
{
	_cleanup_py_ PyObject *repr = NULL;

	json_lit(done, "{\"outcome\":\"");
	json_lit(done, verdict->outcome);
	json_lit(done, "\"");
	if (strcmp(verdict->outcome, "exit") == 0) {
		json_lit(done, ",\"exit_code\":");
		json_long(done, verdict->exit_code);
	}
	json_lit(done, ",\"result\":");
	if (verdict->value && with_value)
		value_write(done, verdict->value);
	else
		json_lit(done, "null");
	json_lit(done, ",\"result_source\":");
	json_lit(done, verdict->value && with_value ? verdict->value_source : "null");
	json_lit(done, ",\"result_repr\":");
	/* A last call that returns nothing has no result to show, as at a prompt. */
	if (verdict->value && with_value &&
	    (verdict->value != Py_None || verdict->value_source[1] == '_'))
		repr = display_repr(verdict->value);
	PyErr_Clear();
	write_text(done, repr, VALUE_REPR_MAX);
	if (verdict->error)
		write_error(verdict, filename, done);
	else
		json_lit(done, ",\"error\":null,\"cause\":null");
	json_lit(done, ",\"result_display\":");
	if (display_result_index() >= 0)
		json_long(done, display_result_index());
	else
		json_lit(done, "null");
	json_lit(done, "}");
}

/* For each program anew; without it a MemoryError may be told of in fewer words. */
static void make_reserve(void)
{
	if (have.reserve)
		return;
	have.reserve = mmap(NULL, RESERVE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (have.reserve == MAP_FAILED)
		have.reserve = NULL;
}

static void release_reserve(void)
{
	if (have.reserve)
		(void)munmap(have.reserve, RESERVE_BYTES);
	have.reserve = NULL;
}

/* For pdb.pm() and its like in atexit handlers; NULL takes them back. */
static void set_last(PyObject *type, PyObject *value, PyObject *trace)
{
	if (PySys_SetObject("last_type", type) < 0 ||
	    PySys_SetObject("last_value", value) < 0 ||
	    PySys_SetObject("last_traceback", trace) < 0)
		PyErr_Clear();
}

/* A program that has a hook of its own wants it called; otherwise, and where that fails
 * too, as CPython prints. */
static void print_error(const struct verdict *verdict)
{
	PyObject *hook = PySys_GetObject("excepthook"),
		 *original = PySys_GetObject("__excepthook__");
	_cleanup_py_ PyObject *trace = PyException_GetTraceback(verdict->error);
	_cleanup_py_ PyObject *called = NULL, *own = NULL;
	PyObject *type = (PyObject *)Py_TYPE(verdict->error);

	set_last(type, verdict->error, trace ? trace : Py_None);
	if (hook && hook != original && hook != Py_None) {
		own = hook;
		Py_INCREF(own);
		called = PyObject_CallFunctionObjArgs(own, type, verdict->error,
						      trace ? trace : Py_None, NULL);
		if (called)
			return;
		if (PyErr_ExceptionMatches(PyExc_SystemExit)) {
			PyErr_Clear();
			return;
		}
		PyErr_WriteUnraisable(own);
	}
	if (verdict->trace)
		stdio_error_text(verdict->trace);
}

/* SystemExit: nothing is 0, a number itself, anything else is printed and 1. */
static void judge_exit(PyObject *error, struct verdict *verdict)
{
	_cleanup_py_ PyObject *code = PyObject_GetAttrString(error, "code");
	_cleanup_py_ PyObject *text = NULL, *line = NULL;

	verdict->outcome = "exit";
	verdict->exit_code = 0;
	if (!code || code == Py_None)
		goto out;
	if (PyLong_Check(code)) {
		long number = PyLong_AsLong(
			code); /* -1 when too large, as CPython takes it */

		verdict->exit_code = (int)(number & 0xff);
		goto out;
	}
	verdict->exit_code = 1;
	text = PyObject_Str(code);
	line = text ? PyUnicode_FromFormat("%U\n", text) : NULL;
	if (line)
		stdio_error_text(line);
out:
	PyErr_Clear();
}

static void judge_exception(struct verdict *verdict, PyObject *filename)
{
	_cleanup_py_ PyObject *type = NULL, *trace = NULL;
	PyObject *value = NULL;

	PyErr_Fetch(&type, &value, &trace);
	if (PyErr_GivenExceptionMatches(type, PyExc_MemoryError))
		release_reserve();
	PyErr_NormalizeException(&type, &value, &trace);
	if (trace && value)
		(void)PyException_SetTraceback(value, trace);
	PyErr_Clear();
	if (value && PyErr_GivenExceptionMatches(value, PyExc_SystemExit)) {
		judge_exit(value, verdict);
		Py_DECREF(value);
		return;
	}
	verdict->outcome = "error";
	verdict->exit_code = 1;
	verdict->error = value;
	if (!value)
		return;
	if (PyErr_GivenExceptionMatches(value, PyExc_KeyboardInterrupt))
		verdict->exit_code = EXIT_INTERRUPTED;
	if (PyErr_GivenExceptionMatches(value, PyExc_SyntaxError))
		compile_mend_error(value, filename);
	verdict->trace = trace_format(value);
	PyErr_Clear();
	print_error(verdict);
	PyErr_Clear();
}

static void find_value(struct verdict *verdict, PyObject *last)
{
	PyObject *named = PyDict_GetItemString(have.globals, "__result__");

	if (named) {
		Py_INCREF(named);
		verdict->value = named;
		verdict->value_source = "\"__result__\"";
	} else if (last) {
		Py_INCREF(last);
		verdict->value = last;
		verdict->value_source = "\"expression\"";
	}
	PyErr_Clear();
}

/* ---- the end ---- */

/* What Py_FinalizeEx does first: wait for threads that are no daemons, then the atexit
 * handlers. */
static void run_exit_handlers(void)
{
	PyObject *modules = PyImport_GetModuleDict();
	PyObject *threading = PyDict_GetItemString(modules, "threading");
	_cleanup_py_ PyObject *waited = NULL, *called = NULL;

	if (threading && threading != Py_None) {
		waited = PyObject_CallMethod(threading, "_shutdown", NULL);
		if (!waited)
			PyErr_WriteUnraisable(threading);
	}
	called = PyObject_CallNoArgs(have.exit_handlers);
	if (!called)
		PyErr_WriteUnraisable(have.exit_handlers);
	PyErr_Clear();
}

/* By their frames, of which this thread has none: _thread._count() still counts those
 * that a fork left behind. */
static bool has_threads(void)
{
	PyObject *current = PySys_GetObject("_current_frames");
	_cleanup_py_ PyObject *frames = current ? PyObject_CallNoArgs(current) : NULL;
	bool more = !frames || PyDict_Size(frames) != 0;

	PyErr_Clear();
	return more;
}

/* Files that the program left open are flushed, and its finalizers called, when its
 * objects die with __main__. */
static void drop_main(void)
{
	_cleanup_py_ PyObject *weak = NULL, *collected = NULL;
	PyObject *key, *value, *module;
	Py_ssize_t at = 0;

	/* CPython stops daemon threads before; we cannot, and they would meet a world
	 * half gone. */
	if (has_threads())
		return;
	set_last(NULL, NULL, NULL);
	if (PySys_SetObject("last_exc", NULL) < 0)
		PyErr_Clear();
	weak = PyWeakref_NewRef(have.main, NULL);
	if (PyDict_DelItemString(PyImport_GetModuleDict(), "__main__") < 0)
		PyErr_Clear();
	have.globals = NULL;
	Py_CLEAR(have.main);
	collected = PyObject_CallNoArgs(have.gc_collect);
	PyErr_Clear();
	module = weak ? PyWeakref_GetObject(weak) : NULL;
	if (module && module != Py_None) {
		_cleanup_py_ PyObject *globals = PyDict_Copy(PyModule_GetDict(module));

		/* Held from somewhere: its names go one by one. */
		while (globals && PyDict_Next(globals, &at, &key, &value))
			if (PyUnicode_Check(key) &&
			    PyUnicode_CompareWithASCIIString(key, "__builtins__") != 0)
				(void)PyDict_SetItem(PyModule_GetDict(module), key,
						     Py_None);
	}
	PyErr_Clear();
}

int program_finish(int exit_code)
{
	bool flushed;

	run_exit_handlers();
	flushed = stdio_flush();
	drop_main();
	flushed = stdio_flush() && flushed;
	(void)fflush(NULL); /* C's own streams, of extension modules */
	return flushed || exit_code != 0 ? exit_code : EXIT_FLUSH_FAILED;
}

/* ---- the run ---- */

static int set_argv(PyObject *filename)
{
	PyObject *executable = PySys_GetObject("executable");
	_cleanup_py_ PyObject *argv = Py_BuildValue("[O]", filename);
	_cleanup_py_ PyObject *whole = Py_BuildValue(
		"[OO]", executable ? executable : Py_None, filename);

	if (!argv || !whole || PySys_SetObject("argv", argv) < 0 ||
	    PySys_SetObject("orig_argv", whole) < 0)
		return -1;
	return PyDict_SetItemString(have.globals, "__file__", filename);
}

/* Modules beside the program, where it may read files at all. Last, so that a file there
 * takes no other module's place; the gate asks for their names as for any other. */
static int add_directory(const struct program *program)
{
	PyObject *path = PySys_GetObject("path");
	_cleanup_py_ PyObject *here = PyUnicode_FromString("");

	if (!(program->run.flags & RUN_FILE_OPERATIONS) || !path || !PyList_Check(path))
		return 0;
	return here ? PyList_Append(path, here) : -1;
}

/* A session's code with an await in it is a coroutine function's. */
static PyObject *evaluate(PyObject *code)
{
	_cleanup_py_ PyObject *flags = in_session
					       ? PyObject_GetAttrString(code, "co_flags")
					       : NULL;
	_cleanup_py_ PyObject *ran = NULL;

	PyErr_Clear();
	ran = PyEval_EvalCode(code, have.globals, have.globals);
	if (ran && flags && (PyLong_AsLong(flags) & CODE_COROUTINE))
		return session_await(ran);
	Py_XINCREF(ran);
	return ran;
}

static int begin(const struct program *program)
{
	if (set_argv(program->filename) < 0)
		return -1;
	/* Once is enough for a session. */
	if (program->cell.count <= 1 && add_directory(program) < 0)
		return -1;
	return compile_remember(program->source, program->filename);
}

/* Compiles and runs: 0 with *ret_last the last expression's value or NULL; -1 with the
 * exception. */
static int execute(const struct program *program, PyObject **ret_last)
{
	_cleanup_py_ PyObject *body = NULL, *last = NULL, *ran = NULL;

	if (begin(program) < 0 || compile_program(program->source, program->filename,
						  in_session, &body, &last) < 0)
		return -1;
	worker_interruptible();
	ran = evaluate(body);
	if (!ran)
		return -1;
	if (last) {
		*ret_last = evaluate(last);
		if (!*ret_last)
			return -1;
	}
	return 0;
}

int program_run(const struct program *program, struct json *done)
{
	struct verdict verdict = { .outcome = "ok" };
	PyObject *last = NULL;

	in_session = program->run.flags & RUN_SESSION;
	make_reserve();
	display_begin();
	if ((in_session && session_enter(program) < 0) || execute(program, &last) < 0)
		judge_exception(&verdict, program->filename);
	if (display_end(last) < 0) {
		if (!verdict.error)
			judge_exception(&verdict, program->filename);
		PyErr_Clear();
	}
	worker_look();
	/* Whatever the program still holds, there is room to tell of it. */
	release_reserve();
	/* A program that raised has no result. */
	if (!verdict.error)
		find_value(&verdict, last);
	write_done(&verdict, program->filename, true, done);
	if (done->error) {
		/* Too long, or no memory after all: what is certain, without the
		 * value. */
		json_free(done);
		*done = (struct json){ .max = done->max };
		write_done(&verdict, program->filename, false, done);
	}
	display_forget();
	if (in_session && worker_is_self())
		session_leave(program, last);
	Py_CLEAR(last);
	Py_CLEAR(verdict.value);
	Py_CLEAR(verdict.error);
	Py_CLEAR(verdict.trace);
	return verdict.exit_code;
}

/* ---- ahead of the request, in the worker ---- */

/* A whole small run, so that lazily made state exists and the pages that every run writes
 * are this process's own: it halves the time from request to result. Its output goes to
 * /dev/null; its main module, linecache entry and argv are taken back or replaced. */
static int rehearse(void)
{
	static const char text[] = "import sys\n"
				   "class A:\n"
				   "\tdef f(self, x):\n"
				   "\t\treturn [str(i) for i in range(x)]\n"
				   "try:\n"
				   "\tA().f('')\n"
				   "except TypeError as e:\n"
				   "\tprint('%s' % (e,), {1: 2.5})\n"
				   "A().f(9)\n";
	_cleanup_py_ PyObject *source = PyUnicode_FromString(text);
	_cleanup_py_ PyObject *filename = PyUnicode_FromString("<none>");
	_cleanup_py_ PyObject *environment = PyDict_New();
	const struct program program = { .source = source,
					 .filename = filename,
					 .environment = environment };
	struct verdict verdict = { .outcome = "ok" };
	struct json json = { .max = 1u << 20 };
	PyObject *last = NULL;

	if (!source || !filename || !environment || program_environ(&program) < 0 ||
	    stdio_open() < 0 || execute(&program, &last) < 0)
		return -1;
	find_value(&verdict, last);
	write_done(&verdict, filename, true, &json);
	json_free(&json);
	Py_CLEAR(last);
	Py_CLEAR(verdict.value);
	(void)stdio_flush();
	drop_main();
	return compile_forget(filename);
}

/* The engine ignores SIGINT, and so does an interpreter that is started below it. */
static int take_interrupts(void)
{
	_cleanup_py_ PyObject *old = PyObject_CallFunction(have.signal, "iO", SIGINT,
							   have.on_interrupt);

	return old ? 0 : -1;
}

int program_prepare(void)
{
	have.main = new_main();
	have.globals = have.main ? PyModule_GetDict(have.main) : NULL;
	if (!have.main || take_interrupts() < 0 || rehearse() < 0)
		return -1;
	Py_CLEAR(have.main);
	have.main = new_main();
	if (!have.main)
		return -1;
	have.globals = PyModule_GetDict(have.main);
	make_reserve();
	if (!have.reserve) {
		PyErr_NoMemory();
		return -1;
	}
	return 0;
}
