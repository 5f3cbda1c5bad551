/* SPDX-License-Identifier: MIT
 * Purpose: a program's values as plain JSON, for the MIME types that are JSON, and its
 * frames as columns.
 * Process: a worker (display.h). Trusts: nothing of the values.
 * Invariants: nesting is bounded; what is written is what a strict reader takes: no nan,
 *   no integer beyond 64 bits, every key once but for what a program's own keys make
 *   equal. */
#include "runtime/display.h"

#include <errno.h>
#include <string.h>

#define DEPTH_MAX 64
#define FRAME_MAX (2u << 20) /* as JSON */
#define FRAME_MIME "application/vnd.sandbox.frame+json"

static int put_double(struct json *json, double number)
{
	char *text;

	if (number - number != 0) { /* nan, inf: JSON has none */
		json_lit(json, "null");
		return 0;
	}
	text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
	if (!text)
		return -1;
	json_lit(json, text);
	PyMem_Free(text);
	return 0;
}

static int put_int(struct json *json, PyObject *value)
{
	int overflow;
	long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
	double large;

	if (!overflow) {
		json_long(json, number);
		return PyErr_Occurred() ? -1 : 0;
	}
	large = PyLong_AsDouble(value);
	if (PyErr_Occurred())
		return -1;
	return put_double(json, large);
}

static int put_str(struct json *json, PyObject *text)
{
	_cleanup_py_ PyObject *bytes = NULL;
	Py_ssize_t len = PyUnicode_GetLength(text);
	char *data;

	if (len > (Py_ssize_t)DISPLAY_MAX) {
		json->error = EMSGSIZE;
		return 0;
	}
	bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
	if (!bytes || PyBytes_AsStringAndSize(bytes, &data, &len) < 0)
		return -1;
	json_text(json, data, (size_t)len);
	return 0;
}

static int put_items(struct json *json, PyObject *value, int depth)
{
	bool list = PyList_Check(value);

	json_lit(json, "[");
	for (Py_ssize_t i = 0; i < (list ? PyList_Size(value) : PyTuple_Size(value));
	     i++) {
		_cleanup_py_ PyObject *item = list ? PyList_GetItem(value, i)
						   : PyTuple_GetItem(value, i);

		if (!item)
			return -1;
		Py_INCREF(item);
		json_lit(json, i ? "," : "");
		if (data_json(json, item, depth + 1) < 0)
			return -1;
		if (json->error)
			return 0;
	}
	json_lit(json, "]");
	return 0;
}

static int put_dict(struct json *json, PyObject *value, int depth)
{
	_cleanup_py_ PyObject *copy = PyDict_Copy(value);
	PyObject *key, *item;
	Py_ssize_t at = 0;
	bool first = true;

	if (!copy)
		return -1;
	json_lit(json, "{");
	while (PyDict_Next(copy, &at, &key, &item)) {
		_cleanup_py_ PyObject *name = key, *own = item, *text = NULL;

		Py_INCREF(name);
		Py_INCREF(own);
		json_lit(json, first ? "" : ",");
		first = false;
		if (!PyUnicode_Check(key)) {
			if (!PyLong_Check(key) && !PyFloat_Check(key) && key != Py_None) {
				PyErr_SetString(PyExc_TypeError,
						"keys of JSON have to be str");
				return -1;
			}
			text = PyObject_Str(key);
			if (!text)
				return -1;
		}
		if (put_str(json, text ? text : key) < 0)
			return -1;
		json_lit(json, ":");
		if (data_json(json, item, depth + 1) < 0)
			return -1;
		if (json->error)
			return 0;
	}
	json_lit(json, "}");
	return 0;
}

/* What is none of JSON's: numpy's arrays and scalars by their tolist(). */
static int put_other(struct json *json, PyObject *value, int depth)
{
	_cleanup_py_ PyObject *module = PyObject_GetAttrString((PyObject *)Py_TYPE(value),
							       "__module__");
	_cleanup_py_ PyObject *plain = NULL, *name = NULL;

	if (module && PyUnicode_Check(module) &&
	    PyUnicode_CompareWithASCIIString(module, "numpy") == 0)
		plain = PyObject_CallMethod(value, "tolist", NULL);
	if (plain && plain != value)
		return data_json(json, plain, depth + 1);
	PyErr_Clear();
	name = PyObject_GetAttrString((PyObject *)Py_TYPE(value), "__name__");
	if (name)
		PyErr_Format(PyExc_TypeError, "%.100S is not JSON", name);
	return -1;
}

int data_json(struct json *json, PyObject *value, int depth)
{
	if (depth > DEPTH_MAX) {
		PyErr_SetString(PyExc_ValueError, "JSON nested too deep");
		return -1;
	}
	if (json->error)
		return 0;
	if (value == Py_None || value == Py_True || value == Py_False)
		json_lit(json, value == Py_None   ? "null"
			       : value == Py_True ? "true"
						  : "false");
	else if (PyUnicode_Check(value))
		return put_str(json, value);
	else if (PyLong_Check(value))
		return put_int(json, value);
	else if (PyFloat_Check(value))
		return put_double(json, PyFloat_AsDouble(value));
	else if (PyList_Check(value) || PyTuple_Check(value))
		return put_items(json, value, depth);
	else if (PyDict_Check(value))
		return put_dict(json, value, depth);
	else
		return put_other(json, value, depth);
	return 0;
}

/* ---- frames ---- */

static bool is_frame(PyObject *value)
{
	static const char *const names[] = { "DataFrame", "Series" };
	_cleanup_py_ PyObject *pandas = display_module("pandas");
	bool found = false;

	for (size_t i = 0; pandas && !found && i < 2; i++) {
		_cleanup_py_ PyObject *type = PyObject_GetAttrString(pandas, names[i]);

		found = type == (PyObject *)Py_TYPE(value);
	}
	PyErr_Clear();
	return found;
}

/* The whole of it, or as much of its head as fits; then the object says how long it is. */
int data_put_frame(struct bundle *bundle, PyObject *value)
{
	static const int heads[] = { 0, 10000, 1000, 100, 10 };
	struct json *json = &bundle->json;
	Py_ssize_t rows;
	size_t max = json->max;
	bool done = false;

	if (!is_frame(value) || !bundle_begin(bundle, FRAME_MIME))
		return 0;
	rows = PyObject_Size(value);
	if (json->max - json->len > FRAME_MAX)
		json->max = json->len + FRAME_MAX;
	json->max -= 64;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]) && rows >= 0; i++) {
		_cleanup_py_ PyObject *head = NULL;

		if (heads[i] > rows)
			continue;
		if (heads[i] == 0) {
			done = value_write_whole(json, value);
		} else {
			head = PyObject_CallMethod(value, "head", "i", heads[i]);
			done = head && value_write_whole(json, head);
		}
		if (PyErr_Occurred())
			break;
		if (done && heads[i] > 0) {
			json->len--;
			json->max += 64;
			json_lit(json, ",\"truncated\":{\"rows\":");
			json_long(json, rows);
			json_lit(json, "}}");
		}
		if (done)
			break;
	}
	json->max = max;
	if (!done) {
		bundle_take_back(bundle);
		return display_failed();
	}
	(void)bundle_end(bundle);
	return 0;
}
