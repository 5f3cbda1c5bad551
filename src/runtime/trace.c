/* SPDX-License-Identifier: MIT
 * An uncaught exception: its text as CPython prints it, its line in the program, its
 * cause as the interpreter sees it.
 *
 * Worker, after the program; taken in the zygote. The exception is the program's and
 * hostile, and so may be its traceback module by then: the text is made by a copy of
 * traceback and linecache that no name leads to. They share linecache's cache, where
 * program.c put the program's own lines.
 *
 * Invariants: no exception leaves; the text has at most TRACE_MAX bytes and a note;
 * chains and tracebacks are followed for a bounded number of steps. */
#include "runtime/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MAX (64u << 10)
#define HALF (TRACE_MAX / 2)
#define LINE_CUT_MAX 400 /* bytes given up so that the cut falls between lines */
#define CHAIN_MAX 64     /* exceptions followed through __cause__ and __context__ */
#define GROUP_MAX 64     /* members of a group looked at */
#define GROUP_DEPTH_MAX 4
#define FRAMES_ALL_MAX 5000 /* beyond this many frames */
#define FRAMES_KEPT 2000    /* only so many innermost ones are shown */
#define FALLBACK_FRAMES 50

static PyObject *exception_class; /* traceback.TracebackException of our copy */

/* ---- names and text ---- */

PyObject *trace_name(PyObject *exception)
{
	_cleanup_py_ PyObject *name = PyObject_GetAttrString(
		(PyObject *)Py_TYPE(exception), "__name__");

	PyErr_Clear();
	if (!name || !PyUnicode_CheckExact(name))
		return PyUnicode_FromString("Exception");
	Py_INCREF(name);
	return name;
}

PyObject *trace_str(PyObject *exception)
{
	PyObject *text = PyObject_Str(exception);

	if (!text) {
		PyErr_Clear();
		text = PyUnicode_FromString("<exception str() failed>");
		PyErr_Clear();
	}
	return text;
}

/* ---- a text of which head and tail are kept ---- */

struct kept {
	size_t total;
	char head[HALF], tail[HALF]; /* tail is a ring over what is behind the head */
};

static void keep(struct kept *kept, const char *data, size_t len)
{
	size_t take = 0;

	if (kept->total < HALF) {
		take = HALF - kept->total < len ? HALF - kept->total : len;
		memcpy(kept->head + kept->total, data, take);
		kept->total += take;
	}
	if (len - take > HALF) { /* nothing of the front would survive */
		kept->total += len - take - HALF;
		take = len - HALF;
	}
	for (; take < len; take++, kept->total++)
		kept->tail[(kept->total - HALF) % HALF] = data[take];
}

static void keep_str(struct kept *kept, PyObject *text)
{
	_cleanup_py_ PyObject *bytes = NULL;
	Py_ssize_t len;
	char *data = NULL;
	const char *utf8 = PyUnicode_Check(text) ? PyUnicode_AsUTF8AndSize(text, &len)
						 : NULL;

	if (!utf8 && PyUnicode_Check(text)) {
		PyErr_Clear();
		bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
		if (bytes && PyBytes_AsStringAndSize(bytes, &data, &len) == 0)
			utf8 = data;
	}
	if (utf8)
		keep(kept, utf8, (size_t)len);
	PyErr_Clear();
}

/* The tail in order, from the first whole line, or at least character, on. */
static size_t tail_text(const struct kept *kept, char *out)
{
	size_t behind = kept->total - HALF, len = behind < HALF ? behind : HALF, from = 0;

	for (size_t i = 0; i < len; i++)
		out[i] = kept->tail[(behind - len + i) % HALF];
	if (len == behind)
		return len; /* nothing was lost */
	for (size_t i = 0; i < LINE_CUT_MAX && !from; i++)
		from = out[i] == '\n' ? i + 1 : 0;
	while (!from && ((unsigned char)*out & 0xc0) == 0x80 && len > 0) {
		memmove(out, out + 1, --len);
	}
	memmove(out, out + from, len - from);
	return len - from;
}

static size_t head_text(const struct kept *kept)
{
	size_t len = HALF;

	for (size_t i = 0; i < LINE_CUT_MAX; i++)
		if (kept->head[HALF - 1 - i] == '\n')
			return HALF - i;
	/* not into a character: back to its first byte */
	while (len > 0 && ((unsigned char)kept->head[len - 1] & 0xc0) == 0x80)
		len--;
	return len > 0 && (unsigned char)kept->head[len - 1] >= 0xc0 ? len - 1 : len;
}

static PyObject *kept_str(const struct kept *kept)
{
	char *text = malloc(TRACE_MAX + 100);
	size_t head, tail;
	PyObject *ret;
	int note;

	if (!text)
		return NULL;
	if (kept->total <= TRACE_MAX) {
		head = kept->total < HALF ? kept->total : HALF;
		memcpy(text, kept->head, head);
		tail = kept->total > HALF ? tail_text(kept, text + head) : 0;
		ret = PyUnicode_DecodeUTF8(text, (Py_ssize_t)(head + tail), "replace");
	} else {
		head = head_text(kept);
		memcpy(text, kept->head, head);
		note = snprintf(text + head, 100, "%s  [... %zu bytes left out ...]\n",
				head > 0 && text[head - 1] != '\n' ? "\n" : "",
				kept->total - TRACE_MAX);
		head += (size_t)note;
		tail = tail_text(kept, text + head);
		ret = PyUnicode_DecodeUTF8(text, (Py_ssize_t)(head + tail), "replace");
	}
	free(text);
	return ret;
}

/* ---- chains ---- */

/* The exception that this one was raised from, or while handling which it was raised: own
 * reference or NULL. */
static PyObject *before(PyObject *exception, bool explicit_only)
{
	PyObject *cause = PyException_GetCause(exception);
	_cleanup_py_ PyObject *suppressed = NULL;

	if (cause || explicit_only)
		return cause;
	suppressed = PyObject_GetAttrString(exception, "__suppress_context__");
	PyErr_Clear();
	return suppressed == Py_True ? NULL : PyException_GetContext(exception);
}

/* The next entry of a traceback; takes the reference to this one. */
static PyObject *next_entry(PyObject *entry)
{
	PyObject *next = PyObject_GetAttrString(entry, "tb_next");

	Py_DECREF(entry);
	if (next == Py_None)
		Py_CLEAR(next);
	PyErr_Clear();
	return next;
}

static long count_frames(PyObject *exception)
{
	PyObject *entry = PyException_GetTraceback(exception);
	long count = 0;

	for (; entry; entry = next_entry(entry))
		count++;
	return count;
}

static long longest_trace(PyObject *exception)
{
	PyObject *at = exception, *next;
	long longest = 0, count;

	Py_INCREF(at);
	for (int i = 0; at && i < CHAIN_MAX; i++) {
		count = count_frames(at);
		longest = count > longest ? count : longest;
		next = before(at, false);
		Py_DECREF(at);
		at = next;
	}
	Py_XDECREF(at);
	return longest;
}

/* ---- the traceback ---- */

/* The pieces of the text, or NULL with exception. */
static PyObject *format_pieces(PyObject *exception, long frames)
{
	_cleanup_py_ PyObject *trace = PyException_GetTraceback(exception);
	_cleanup_py_ PyObject *args = NULL, *keywords = NULL, *made = NULL;

	args = PyTuple_Pack(3, (PyObject *)Py_TYPE(exception), exception,
			    trace ? trace : Py_None);
	if (!args)
		return NULL;
	if (frames > FRAMES_ALL_MAX)
		keywords = Py_BuildValue("{sOsi}", "compact", Py_True, "limit",
					 -FRAMES_KEPT);
	else
		keywords = Py_BuildValue("{sO}", "compact", Py_True);
	if (!keywords)
		return NULL;
	made = PyObject_Call(exception_class, args, keywords);
	return made ? PyObject_CallMethod(made, "format", NULL) : NULL;
}

/* Without Python's help, for want of memory or because the exception upsets it. */
static void format_plainly(struct kept *kept, PyObject *exception)
{
	PyObject *entry = PyException_GetTraceback(exception);
	_cleanup_py_ PyObject *name = NULL, *text = NULL, *last = NULL;
	long skip = count_frames(exception) - FALLBACK_FRAMES;

	if (entry)
		keep(kept, "Traceback (most recent call last):\n", 35);
	for (; entry; entry = next_entry(entry)) {
		_cleanup_py_ PyObject *frame = NULL, *code = NULL, *file = NULL;
		_cleanup_py_ PyObject *function = NULL, *number = NULL, *line = NULL;

		if (skip-- > 0)
			continue;
		frame = PyObject_GetAttrString(entry, "tb_frame");
		number = PyObject_GetAttrString(entry, "tb_lineno");
		code = frame ? PyObject_GetAttrString(frame, "f_code") : NULL;
		file = code ? PyObject_GetAttrString(code, "co_filename") : NULL;
		function = code ? PyObject_GetAttrString(code, "co_name") : NULL;
		if (file && function && number)
			line = PyUnicode_FromFormat("  File \"%S\", line %S, in %S\n",
						    file, number, function);
		PyErr_Clear();
		if (line)
			keep_str(kept, line);
	}
	name = trace_name(exception);
	text = trace_str(exception);
	if (name && text)
		last = PyUnicode_FromFormat(
			PyUnicode_GetLength(text) ? "%U: %S\n" : "%U%S\n", name, text);
	PyErr_Clear();
	if (last)
		keep_str(kept, last);
}

PyObject *trace_format(PyObject *exception)
{
	struct kept *kept = calloc(1, sizeof(*kept));
	long frames = longest_trace(exception);
	_cleanup_py_ PyObject *pieces = NULL;
	PyObject *piece, *text;
	char note[100];

	if (!kept)
		return NULL;
	if (frames > FRAMES_ALL_MAX) {
		(void)snprintf(note, sizeof(note),
			       "[of %ld frames the innermost %d are shown]\n", frames,
			       FRAMES_KEPT);
		keep(kept, note, strlen(note));
	}
	pieces = format_pieces(exception, frames);
	while (pieces && (piece = PyIter_Next(pieces))) {
		keep_str(kept, piece);
		Py_DECREF(piece);
	}
	if (!pieces || PyErr_Occurred()) {
		PyErr_Clear();
		memset(kept, 0, sizeof(*kept));
		format_plainly(kept, exception);
	}
	text = kept_str(kept);
	free(kept);
	PyErr_Clear();
	return text;
}

/* ---- the line ---- */

static bool is_file(PyObject *owner, const char *attribute, PyObject *filename)
{
	_cleanup_py_ PyObject *file = owner ? PyObject_GetAttrString(owner, attribute)
					    : NULL;
	bool same = file && PyUnicode_CheckExact(file) &&
		    PyUnicode_Compare(file, filename) == 0;

	PyErr_Clear();
	return same;
}

static long get_long(PyObject *owner, const char *attribute)
{
	_cleanup_py_ PyObject *number = PyObject_GetAttrString(owner, attribute);
	long value = number && PyLong_Check(number) ? PyLong_AsLong(number) : 0;

	PyErr_Clear();
	return value;
}

/* *ret_last_is: the innermost frame of all is the program's. */
static long innermost_line(PyObject *exception, PyObject *filename, bool *ret_last_is)
{
	PyObject *entry = PyException_GetTraceback(exception);
	long line = 0;

	*ret_last_is = !entry;
	for (; entry; entry = next_entry(entry)) {
		_cleanup_py_ PyObject *frame = PyObject_GetAttrString(entry, "tb_frame");
		_cleanup_py_ PyObject *code = frame ? PyObject_GetAttrString(frame,
									     "f_code")
						    : NULL;

		*ret_last_is = is_file(code, "co_filename", filename);
		if (*ret_last_is)
			line = get_long(entry, "tb_lineno");
	}
	PyErr_Clear();
	return line;
}

long trace_line(PyObject *exception, PyObject *filename)
{
	bool last;
	long line = 0;

	/* the program's own syntax, not that of what it compiles itself */
	if (PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_SyntaxError) &&
	    is_file(exception, "filename", filename))
		line = get_long(exception, "lineno");
	if (line <= 0)
		line = innermost_line(exception, filename, &last);
	return line > 0 ? line : 0;
}

/* ---- the cause ---- */

static bool is_a(PyObject *exception, PyObject *type)
{
	return PyType_IsSubtype(Py_TYPE(exception), (PyTypeObject *)type);
}

/* An exception of a C module's, where that is loaded. */
static bool is_from(PyObject *exception, const char *module_name, const char *name)
{
	PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), module_name);
	_cleanup_py_ PyObject *type = NULL;

	Py_XINCREF(module);
	type = module ? PyObject_GetAttrString(module, name) : NULL;
	Py_XDECREF(module);
	PyErr_Clear();
	return type && PyType_Check(type) && is_a(exception, type);
}

static bool says(PyObject *exception, const char *text)
{
	_cleanup_py_ PyObject *said = PyObject_Str(exception);
	bool same = said && PyUnicode_CompareWithASCIIString(said, text) == 0;

	PyErr_Clear();
	return same;
}

static const char *cause_of_errno(PyObject *exception)
{
	switch (get_long(exception, "errno")) {
	case EACCES:
	case EPERM:
	case EROFS:
	case EAFNOSUPPORT:
		return "denied";
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return "disk";
	case EAGAIN:
		return "processes";
	default:
		return NULL;
	}
}

/* Of this exception alone. */
static const char *cause_of_one(PyObject *exception)
{
	if (gate_raised(exception))
		return "denied";
	if (is_a(exception, PyExc_MemoryError))
		return "memory";
	if (is_a(exception, PyExc_OSError)) {
		if (is_from(exception, "_socket", "gaierror"))
			return gate_has_network() ? NULL : "denied";
		return cause_of_errno(exception);
	}
	if (is_a(exception, PyExc_RuntimeError) &&
	    says(exception, "can't start new thread"))
		return "processes";
	if (is_from(exception, "_sqlite3", "OperationalError") &&
	    says(exception, "database or disk is full"))
		return "disk";
	return NULL;
}

static const char *cause_of(PyObject *exception, PyObject *filename, int depth);

/* What all members of a group have in common. */
static const char *cause_of_group(PyObject *exception, PyObject *filename, int depth)
{
	_cleanup_py_ PyObject *members = PyObject_GetAttrString(exception, "exceptions");
	const char *common = NULL, *cause;

	PyErr_Clear();
	if (!members || !PyTuple_CheckExact(members) || depth >= GROUP_DEPTH_MAX)
		return NULL;
	for (Py_ssize_t i = 0; i < PyTuple_Size(members) && i < GROUP_MAX; i++) {
		PyObject *member = PyTuple_GetItem(members, i);

		if (!PyExceptionInstance_Check(member))
			return NULL;
		cause = cause_of(member, filename, depth + 1);
		if (!cause || (common && strcmp(cause, common) != 0))
			return NULL;
		common = cause;
	}
	return common;
}

/* "raise X from Y" is Y's doing. "During handling of Y" is so only if a library raised X:
 * urllib wraps an OSError in its own. A program that handles a denial and then fails on
 * its own account has failed on its own account. */
static const char *cause_of(PyObject *exception, PyObject *filename, int depth)
{
	PyObject *at = exception, *next;
	const char *cause = NULL;
	bool own = false;

	Py_INCREF(at);
	for (int i = 0; at && i < CHAIN_MAX; i++) {
		cause = cause_of_one(at);
		if (!cause)
			cause = cause_of_group(at, filename, depth);
		if (cause)
			break;
		(void)innermost_line(at, filename, &own);
		next = before(at, own);
		Py_DECREF(at);
		at = next;
	}
	Py_XDECREF(at);
	return cause;
}

const char *trace_cause(PyObject *exception, PyObject *filename)
{
	const char *cause = cause_of(exception, filename, 0);

	PyErr_Clear();
	return cause;
}

/* ---- the zygote ---- */

/* A module's code run a second time, in a module that is in no table. */
static PyObject *copy_module(const char *name)
{
	_cleanup_py_ PyObject *module = PyImport_ImportModule(name);
	_cleanup_py_ PyObject *importlib = module ? PyImport_ImportModule(
							    "_frozen_importlib")
						  : NULL;
	_cleanup_py_ PyObject *spec = importlib
					      ? PyObject_GetAttrString(module, "__spec__")
					      : NULL;
	_cleanup_py_ PyObject *loader = spec ? PyObject_GetAttrString(spec, "loader")
					     : NULL;
	_cleanup_py_ PyObject *copy = NULL, *done = NULL;
	PyObject *ret;

	if (!loader)
		return NULL;
	copy = PyObject_CallMethod(importlib, "module_from_spec", "O", spec);
	done = copy ? PyObject_CallMethod(loader, "exec_module", "O", copy) : NULL;
	if (!done)
		return NULL;
	ret = copy;
	copy = NULL;
	return ret;
}

/* traceback imports what it needs for carets and suggestions when it first needs it:
 * here, and not in a worker. */
static int rehearse(PyObject *cache, const char *source)
{
	_cleanup_py_ PyObject *entry = Py_BuildValue("iO[s]s", 10, Py_None, source,
						     "<none>");
	_cleanup_py_ PyObject *code = Py_CompileString(source, "<none>", Py_file_input);
	_cleanup_py_ PyObject *globals = code ? Py_BuildValue("{sO}", "__builtins__",
							      PyEval_GetBuiltins())
					      : NULL;
	_cleanup_py_ PyObject *done = NULL, *text = NULL;
	PyObject *type, *value, *trace;

	if (!entry || !globals ||
	    PyObject_SetItem(cache, PyTuple_GetItem(entry, 3), entry) < 0)
		return -1;
	done = PyEval_EvalCode(code, globals, globals);
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (value && trace && PyException_SetTraceback(value, trace) == 0)
		text = trace_format(value);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
	return PyObject_DelItem(cache, PyTuple_GetItem(entry, 3));
}

int trace_init(void)
{
	_cleanup_py_ PyObject *linecache = PyImport_ImportModule("linecache");
	_cleanup_py_ PyObject *cache = linecache ? PyObject_GetAttrString(linecache,
									  "cache")
						 : NULL;
	_cleanup_py_ PyObject *lines = cache ? copy_module("linecache") : NULL;
	_cleanup_py_ PyObject *traceback = lines ? copy_module("traceback") : NULL;
	_cleanup_py_ PyObject *tokenize = NULL;

	if (!traceback || PyObject_SetAttrString(lines, "cache", cache) < 0 ||
	    PyObject_SetAttrString(traceback, "linecache", lines) < 0)
		return -1;
	exception_class = PyObject_GetAttrString(traceback, "TracebackException");
	if (!exception_class || gate_init() < 0)
		return -1;
	tokenize = PyImport_ImportModule(
		"tokenize"); /* linecache's, for libraries' lines */
	if (!tokenize)
		return -1;
	/* carets, and a suggestion for a name */
	return rehearse(cache, "x = 1 / 0\n") < 0 || rehearse(cache, "x = lem\n") < 0 ? -1
										      : 0;
}
