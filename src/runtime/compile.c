/* SPDX-License-Identifier: MIT
 * Purpose: a program's text into code: what it runs, and its last expression, whose value
 *   is the result, by itself; and its lines for tracebacks.
 * Process: a worker. What is needed is imported and captured in the zygote.
 * Trusts: nothing of the program's text. */
#include "runtime/runtime.h"

#include <stdlib.h>
#include <string.h>

/* The tree of a program as Python objects takes hundreds of bytes a token: beyond this
 * only its last line can be an expression whose value is the result. */
#define AST_SOURCE_MAX (64 << 10)

static struct {
	PyObject *compile;
	PyObject *expr, *expression; /* classes of _ast */
	PyObject *string_io;
	PyObject *linecache; /* its cache, a dict */
	long only_ast, future_flags, await_flag;
} have;

/* The compiler's flags of all `from __future__` imports, which the second half of a
 * program inherits. */
static int find_future_flags(void)
{
	_cleanup_py_ PyObject *future = PyImport_ImportModule("__future__");
	_cleanup_py_ PyObject *names = future ? PyObject_GetAttrString(
							future, "all_feature_names")
					      : NULL;
	Py_ssize_t i, count = names ? PySequence_Size(names) : -1;

	for (i = 0; i < count; i++) {
		_cleanup_py_ PyObject *name = PySequence_GetItem(names, i);
		_cleanup_py_ PyObject *feature = name ? PyObject_GetAttr(future, name)
						      : NULL;
		_cleanup_py_ PyObject *flag = feature ? PyObject_GetAttrString(
								feature, "compiler_flag")
						      : NULL;

		if (!flag)
			return -1;
		have.future_flags |= PyLong_AsLong(flag);
	}
	return count < 0 || PyErr_Occurred() ? -1 : 0;
}

static long flags_always; /* that awaits are allowed, in a session */

static PyObject *compile_as(PyObject *source, PyObject *filename, const char *mode,
			    long flags)
{
	return PyObject_CallFunction(have.compile, "OOsli", source, filename, mode,
				     flags | flags_always, 1);
}

static long future_of(PyObject *code)
{
	_cleanup_py_ PyObject *flags = PyObject_GetAttrString(code, "co_flags");
	long value = flags ? PyLong_AsLong(flags) : 0;

	PyErr_Clear();
	return value & have.future_flags;
}

/* Splits the last statement off where it is an expression. *ret_last stays NULL where it
 * is not. */
static int compile_small(PyObject *source, PyObject *filename, PyObject **ret_body,
			 PyObject **ret_last)
{
	_cleanup_py_ PyObject *tree = compile_as(source, filename, "exec", have.only_ast);
	_cleanup_py_ PyObject *body = tree ? PyObject_GetAttrString(tree, "body") : NULL;
	_cleanup_py_ PyObject *value = NULL, *expression = NULL, *code = NULL;
	Py_ssize_t count = body ? PyList_Size(body) : -1;
	PyObject *last;
	int is_expression = 0;

	if (count < 0)
		return -1;
	if (count > 0) {
		last = PyList_GetItem(body, count - 1);
		is_expression = PyObject_IsInstance(last, have.expr);
		value = is_expression > 0 ? PyObject_GetAttrString(last, "value") : NULL;
	}
	if (is_expression < 0 || (is_expression && !value))
		return -1;
	if (value && PyList_SetSlice(body, count - 1, count, NULL) < 0)
		return -1;
	code = compile_as(tree, filename, "exec", 0);
	if (!code)
		return -1;
	if (value) {
		expression = PyObject_CallFunctionObjArgs(have.expression, value, NULL);
		*ret_last = expression ? compile_as(expression, filename, "eval",
						    future_of(code))
				       : NULL;
		if (!*ret_last)
			return -1;
	}
	*ret_body = code;
	code = NULL;
	return 0;
}

/* The last line that is neither blank, a comment, nor indented, if it compiles as an
 * expression by itself and what is above it by itself as well. Blank lines stand for what
 * is above, so that line numbers are right. */
static void split_large(PyObject *source, PyObject *filename, PyObject **ret_body,
			PyObject **ret_last)
{
	Py_ssize_t len = 0, at, start = 0, lines = 0, i;
	const char *text = PyUnicode_AsUTF8AndSize(source, &len);
	_cleanup_py_ PyObject *above = NULL, *code = NULL, *below = NULL;
	char *padded;

	for (at = text ? len : 0; at > 0; at = start) {
		for (start = at - 1; start > 0 && text[start - 1] != '\n'; start--)
			;
		if (!strchr("\r\n#", text[start]))
			break;
	}
	if (at == 0 || start == 0 || strchr(" \t\f)]}", text[start]))
		goto none;
	for (i = 0; i < start; i++)
		lines += text[i] == '\n';
	padded = malloc((size_t)(lines + len - start));
	if (!padded)
		goto none;
	memset(padded, '\n', (size_t)lines);
	memcpy(padded + lines, text + start, (size_t)(len - start));
	below = PyUnicode_DecodeUTF8(padded, lines + len - start, "strict");
	free(padded);
	above = PyUnicode_DecodeUTF8(text, start, "strict");
	code = above && below ? compile_as(above, filename, "exec", 0) : NULL;
	*ret_last = code ? compile_as(below, filename, "eval", future_of(code)) : NULL;
	if (*ret_last) {
		*ret_body = code;
		code = NULL;
	}
none:
	PyErr_Clear();
}

int compile_program(PyObject *source, PyObject *filename, bool may_await,
		    PyObject **ret_body, PyObject **ret_last)
{
	flags_always = may_await ? have.await_flag : 0;
	if (PyUnicode_GetLength(source) <= AST_SOURCE_MAX)
		return compile_small(source, filename, ret_body, ret_last);
	split_large(source, filename, ret_body, ret_last);
	if (!*ret_body)
		*ret_body = compile_as(source, filename, "exec", 0);
	return *ret_body ? 0 : -1;
}

/* The lines for linecache, as it would have read them from a file. */
int compile_remember(PyObject *source, PyObject *filename)
{
	_cleanup_py_ PyObject *file = PyObject_CallFunction(have.string_io, "OO", source,
							    Py_None);
	_cleanup_py_ PyObject *lines = file ? PyObject_CallMethod(file, "readlines", NULL)
					    : NULL;
	_cleanup_py_ PyObject *entry = NULL, *ended = NULL;
	Py_ssize_t count = lines ? PyList_Size(lines) : -1;

	if (count > 0) {
		PyObject *last = PyList_GetItem(lines, count - 1);
		Py_ssize_t len = PyUnicode_GetLength(last);

		if (len > 0 && PyUnicode_ReadChar(last, len - 1) != '\n') {
			ended = PyUnicode_FromFormat("%U\n", last);
			if (!ended || PyList_SetItem(lines, count - 1, ended) < 0)
				return -1;
			ended = NULL; /* stolen */
		}
	}
	entry = count >= 0 ? Py_BuildValue("nOOO", PyUnicode_GetLength(source), Py_None,
					   lines, filename)
			   : NULL;
	return entry ? PyDict_SetItem(have.linecache, filename, entry) : -1;
}

/* The compiler looks for the faulty line in a file of that name; there is none. */
void compile_mend_error(PyObject *error, PyObject *filename)
{
	_cleanup_py_ PyObject *text = PyObject_GetAttrString(error, "text");
	_cleanup_py_ PyObject *line = PyObject_GetAttrString(error, "lineno");
	_cleanup_py_ PyObject *file = PyObject_GetAttrString(error, "filename");
	PyObject *entry = PyDict_GetItem(have.linecache, filename);
	PyObject *lines = entry ? PyTuple_GetItem(entry, 2) : NULL;
	long number = line && PyLong_Check(line) ? PyLong_AsLong(line) : 0;

	if (text == Py_None && file && lines &&
	    PyObject_RichCompareBool(file, filename, Py_EQ) == 1 && number > 0 &&
	    number <= PyList_Size(lines))
		(void)PyObject_SetAttrString(error, "text",
					     PyList_GetItem(lines, number - 1));
	PyErr_Clear();
}

int compile_forget(PyObject *filename)
{
	return PyDict_DelItem(have.linecache, filename);
}

int compile_init(void)
{
	_cleanup_py_ PyObject *only_ast = program_take("_ast", "PyCF_ONLY_AST");
	_cleanup_py_ PyObject *await_flag = program_take("_ast",
							 "PyCF_ALLOW_TOP_LEVEL_AWAIT");

	have.compile = program_take("builtins", "compile");
	have.expr = program_take("_ast", "Expr");
	have.expression = program_take("_ast", "Expression");
	have.string_io = program_take("_io", "StringIO");
	have.linecache = program_take("linecache", "cache");
	if (!have.compile || !have.expr || !have.expression || !only_ast || !await_flag ||
	    !have.string_io || !have.linecache)
		return -1;
	if (!PyDict_Check(have.linecache)) {
		PyErr_SetString(PyExc_TypeError, "linecache.cache is not a dict");
		return -1;
	}
	have.only_ast = PyLong_AsLong(only_ast);
	have.await_flag = PyLong_AsLong(await_flag);
	return PyErr_Occurred() || find_future_flags() < 0 ? -1 : 0;
}
