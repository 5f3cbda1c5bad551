/* SPDX-License-Identifier: MIT
 * Purpose: sys.stdin, sys.stdout and sys.stderr of a program, over descriptors 0, 1 and
 * 2.
 * Process: a worker. What C code and child processes write goes to the same descriptors
 * without us.
 * Trusts: nothing: the program may replace, close or break every object here.
 * Invariants: nothing that fails here raises past this file but in stdio_open(). */
#include "runtime/runtime.h"

#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* One stream as CPython's create_stdio() makes it with -X utf8, and line buffered, so
 * that output is seen as it comes. */
static PyObject *open_one(PyObject *io, int fd, const char *name, const char *errors)
{
	bool reads = fd == 0;
	_cleanup_py_ PyObject *raw = NULL, *buffer = NULL, *text = NULL, *title = NULL,
			      *mode = NULL;

	raw = PyObject_CallMethod(io, "FileIO", "isi", fd, reads ? "rb" : "wb", 0);
	title = PyUnicode_FromString(name);
	mode = PyUnicode_FromString(reads ? "r" : "w");
	if (!raw || !title || !mode || PyObject_SetAttrString(raw, "name", title) < 0)
		return NULL;
	buffer = PyObject_CallMethod(io, reads ? "BufferedReader" : "BufferedWriter", "O",
				     raw);
	if (!buffer)
		return NULL;
	/* encoding, errors, newline, line_buffering, write_through */
	text = PyObject_CallMethod(io, "TextIOWrapper", "Osssii", buffer, "utf-8", errors,
				   reads ? NULL : "\n", 1, 0);
	if (!text || PyObject_SetAttrString(text, "mode", mode) < 0)
		return NULL;
	Py_INCREF(text);
	return text;
}

int stdio_open(void)
{
	static const struct {
		const char *file, *attribute, *original, *errors;
	} streams[] = {
		{ "<stdin>", "stdin", "__stdin__", "surrogateescape" },
		{ "<stdout>", "stdout", "__stdout__", "surrogateescape" },
		{ "<stderr>", "stderr", "__stderr__", "backslashreplace" },
	};
	_cleanup_py_ PyObject *io = PyImport_ImportModule("_io");
	int fd;

	if (!io)
		return -1;
	for (fd = 0; fd < 3; fd++) {
		_cleanup_py_ PyObject *stream = open_one(io, fd, streams[fd].file,
							 streams[fd].errors);

		if (!stream || PySys_SetObject(streams[fd].attribute, stream) < 0 ||
		    PySys_SetObject(streams[fd].original, stream) < 0)
			return -1;
	}
	return 0;
}

int stdio_open_input(void)
{
	_cleanup_py_ PyObject *io = PyImport_ImportModule("_io");
	_cleanup_py_ PyObject *stream = io ? open_one(io, 0, "<stdin>", "surrogateescape")
					   : NULL;

	return stream ? PySys_SetObject("stdin", stream) : -1;
}

static bool flush_one(const char *attribute)
{
	_cleanup_py_ PyObject *stream = PySys_GetObject(attribute);
	_cleanup_py_ PyObject *closed = NULL, *flushed = NULL;
	int is_closed;

	if (!stream)
		return true;
	Py_INCREF(
		stream); /* the reference was borrowed, and flush() runs the program's code */
	if (stream == Py_None)
		return true;
	closed = PyObject_GetAttrString(stream, "closed");
	is_closed = closed ? PyObject_IsTrue(closed) : 0;
	PyErr_Clear();
	if (is_closed != 0)
		return true;
	flushed = PyObject_CallMethod(stream, "flush", NULL);
	if (flushed)
		return true;
	/* As CPython: said for stdout, since stderr is where it would be said. */
	if (strstr(attribute, "out"))
		PyErr_WriteUnraisable(stream);
	PyErr_Clear();
	return false;
}

bool stdio_flush(void)
{
	static const char *const all[] = { "stdout", "stderr", "__stdout__",
					   "__stderr__" };
	bool good = true;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		PyObject *stream = PySys_GetObject(all[i]);

		/* The originals only where the program put others in their place. */
		if (i >= 2 && stream == PySys_GetObject(all[i - 2]))
			continue;
		if (!flush_one(all[i]) && i == 0)
			good = false;
	}
	return good;
}

void stdio_error_text(PyObject *text)
{
	_cleanup_py_ PyObject *stream = PySys_GetObject("stderr");
	_cleanup_py_ PyObject *bytes = NULL;
	char *data;
	Py_ssize_t len;

	if (stream)
		Py_INCREF(stream);
	if (stream && stream != Py_None &&
	    PyFile_WriteObject(text, stream, Py_PRINT_RAW) == 0) {
		(void)flush_one("stderr");
		return;
	}
	PyErr_Clear();
	bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
	if (bytes && PyBytes_AsStringAndSize(bytes, &data, &len) == 0)
		(void)fd_write_all(2, data, (size_t)len);
	PyErr_Clear();
}
