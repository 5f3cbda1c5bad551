/* SPDX-License-Identifier: MIT
 * The repr of a program's value, at most VALUE_REPR_MAX bytes of UTF-8.
 *
 * Worker, after the program. Like repr() where that is short. What is long is cut while
 * it is made, not after: the whole repr of a result that nearly fills the program's
 * memory would end the program. Only the repr of a class of its own is made whole. No
 * exception leaves value_repr(). */
#include "runtime/value.h"

#include <string.h>

#define DEPTH_MAX 100
#define NOTE_MAX 64

struct text {
	struct json out; /* as a bounded buffer of UTF-8 */
	bool full;
	int depth;
};

static void add(struct text *t, const char *utf8, size_t len)
{
	size_t room = VALUE_REPR_MAX - NOTE_MAX - t->out.len;

	if (t->full)
		return;
	if (len > room) {
		for (len = room; len > 0 && ((unsigned char)utf8[len] & 0xc0) == 0x80;
		     len--)
			;
		t->full = true;
	}
	json_raw(&t->out, utf8, len);
	if (t->out.error)
		t->full = true;
}

static void add_lit(struct text *t, const char *lit)
{
	add(t, lit, strlen(lit));
}

/* Lone surrogates are spelled out: what leaves here is UTF-8. */
static void add_str(struct text *t, PyObject *text)
{
	_cleanup_py_ PyObject *bytes = NULL;
	Py_ssize_t len;
	const char *utf8 = PyUnicode_AsUTF8AndSize(text, &len);
	char *data;

	if (utf8) {
		add(t, utf8, (size_t)len);
		return;
	}
	PyErr_Clear();
	bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
	if (bytes && PyBytes_AsStringAndSize(bytes, &data, &len) == 0)
		add(t, data, (size_t)len);
	else
		add_lit(t, "?");
	PyErr_Clear();
}

PyObject *value_class_name(PyObject *value)
{
	PyObject *type = (PyObject *)Py_TYPE(value);
	_cleanup_py_ PyObject *name = PyObject_GetAttrString(type, "__qualname__"),
			      *module = NULL;

	if (!name)
		return NULL;
	if (!PyUnicode_CheckExact(name)) {
		PyErr_SetString(PyExc_TypeError, "a class without a name");
		return NULL;
	}
	module = PyObject_GetAttrString(type, "__module__");
	if (!module || !PyUnicode_CheckExact(module) ||
	    PyUnicode_CompareWithASCIIString(module, "builtins") == 0) {
		PyErr_Clear();
		Py_INCREF(name);
		return name;
	}
	return PyUnicode_FromFormat("%U.%U", module, name);
}

/* An exception is set: says in its place what happened. */
static void add_failure(struct text *t, PyObject *value)
{
	PyObject *type, *error, *trace;
	_cleanup_py_ PyObject *class_name = NULL, *error_name = NULL;

	PyErr_Fetch(&type, &error, &trace);
	class_name = value_class_name(value);
	PyErr_Clear();
	if (type)
		error_name = PyObject_GetAttrString(type, "__name__");
	PyErr_Clear();
	add_lit(t, "<");
	if (class_name)
		add_str(t, class_name);
	else
		add_lit(t, "?");
	add_lit(t, " object: its repr failed with ");
	if (error_name && PyUnicode_CheckExact(error_name))
		add_str(t, error_name);
	else
		add_lit(t, "an exception");
	add_lit(t, ">");
	Py_XDECREF(type);
	Py_XDECREF(error);
	Py_XDECREF(trace);
	PyErr_Clear();
}

long long value_int_bits(PyObject *integer)
{
	_cleanup_py_ PyObject *bits = PyObject_CallMethod((PyObject *)&PyLong_Type,
							  "bit_length", "O", integer);

	return bits ? PyLong_AsLongLong(bits) : -1;
}

/* Decimal up to where CPython itself writes it, then hexadecimal as far as it goes. */
static PyObject *int_repr(PyObject *value)
{
	long long bits = value_int_bits(value);
	PyObject *text;

	if (bits < 0)
		return NULL;
	if (bits / 4 > VALUE_REPR_MAX)
		return PyUnicode_FromFormat("<int of %lld bits>", bits);
	text = bits < 14000 ? PyObject_Repr(value) : NULL;
	if (text)
		return text;
	PyErr_Clear();
	return PyNumber_ToBase(value, 16);
}

/* A part of what is too long, so that its repr fills the room and no more. */
static PyObject *shortened(PyObject *value)
{
	const Py_ssize_t max = VALUE_REPR_MAX;

	if (PyUnicode_CheckExact(value) && PyUnicode_GetLength(value) > max)
		return PyUnicode_Substring(value, 0, max);
	if (PyBytes_CheckExact(value) && PyBytes_Size(value) > max)
		return PyBytes_FromStringAndSize(PyBytes_AsString(value), max);
	if (PyByteArray_CheckExact(value) && PyByteArray_Size(value) > max)
		return PyByteArray_FromStringAndSize(PyByteArray_AsString(value), max);
	Py_INCREF(value);
	return value;
}

static void add_leaf(struct text *t, PyObject *value)
{
	_cleanup_py_ PyObject *part = NULL, *text = NULL;

	if (PyLong_CheckExact(value)) {
		text = int_repr(value);
	} else {
		part = shortened(value);
		if (part)
			text = PyObject_Repr(part);
	}
	if (text && PyUnicode_Check(text))
		add_str(t, text);
	else
		add_failure(t, value);
}

static void add_value(struct text *t, PyObject *value);

static void add_dict(struct text *t, PyObject *dict)
{
	PyObject *key, *value;
	Py_ssize_t at = 0, size = PyDict_Size(dict);
	bool first = true;

	add_lit(t, "{");
	while (!t->full && PyDict_Next(dict, &at, &key, &value)) {
		Py_INCREF(key);
		Py_INCREF(value);
		add_lit(t, first ? "" : ", ");
		first = false;
		add_value(t, key);
		add_lit(t, ": ");
		add_value(t, value);
		Py_DECREF(key);
		Py_DECREF(value);
		if (PyDict_Size(dict) != size) {
			add_lit(t, ", <changed>");
			break;
		}
	}
	add_lit(t, "}");
}

static void add_items(struct text *t, PyObject *value, const char *open,
		      const char *close)
{
	bool list = PyList_CheckExact(value);
	Py_ssize_t i;

	add_lit(t, open);
	for (i = 0; !t->full && i < (list ? PyList_Size(value) : PyTuple_Size(value));
	     i++) {
		PyObject *item = list ? PyList_GetItem(value, i)
				      : PyTuple_GetItem(value, i);

		if (!item)
			break;
		Py_INCREF(item);
		add_lit(t, i ? ", " : "");
		add_value(t, item);
		Py_DECREF(item);
	}
	PyErr_Clear();
	if (!list && i == 1)
		add_lit(t, ",");
	add_lit(t, close);
}

static void add_set(struct text *t, PyObject *set)
{
	bool frozen = Py_IS_TYPE(set, &PyFrozenSet_Type);
	_cleanup_py_ PyObject *iterator = PyObject_GetIter(set);
	PyObject *item;
	bool first = true;

	if (PySet_Size(set) == 0) {
		add_lit(t, frozen ? "frozenset()" : "set()");
		return;
	}
	add_lit(t, frozen ? "frozenset({" : "{");
	while (iterator && !t->full && (item = PyIter_Next(iterator))) {
		add_lit(t, first ? "" : ", ");
		first = false;
		add_value(t, item);
		Py_DECREF(item);
	}
	PyErr_Clear();
	add_lit(t, frozen ? "})" : "}");
}

static void add_container(struct text *t, PyObject *value)
{
	int again = Py_ReprEnter(value);

	if (again < 0) {
		add_failure(t, value);
		return;
	}
	if (again || t->depth >= DEPTH_MAX) {
		add_lit(t, PyDict_CheckExact(value)    ? "{...}"
			   : PyTuple_CheckExact(value) ? "(...)"
			   : PyList_CheckExact(value)  ? "[...]"
						       : "set(...)");
		if (!again)
			Py_ReprLeave(value);
		return;
	}
	t->depth++;
	if (PyDict_CheckExact(value))
		add_dict(t, value);
	else if (PyList_CheckExact(value))
		add_items(t, value, "[", "]");
	else if (PyTuple_CheckExact(value))
		add_items(t, value, "(", ")");
	else
		add_set(t, value);
	t->depth--;
	Py_ReprLeave(value);
}

static void add_value(struct text *t, PyObject *value)
{
	if (t->full)
		return;
	if (PyDict_CheckExact(value) || PyList_CheckExact(value) ||
	    PyTuple_CheckExact(value) || Py_IS_TYPE(value, &PySet_Type) ||
	    Py_IS_TYPE(value, &PyFrozenSet_Type))
		add_container(t, value);
	else
		add_leaf(t, value);
}

PyObject *value_repr(PyObject *value)
{
	struct text t = { .out = { .max = VALUE_REPR_MAX } };
	PyObject *text;

	add_value(&t, value);
	PyErr_Clear();
	if (t.full && !t.out.error)
		json_lit(&t.out, "... [cut]");
	text = t.out.error ? NULL
			   : PyUnicode_DecodeUTF8(t.out.data, (Py_ssize_t)t.out.len,
						  "replace");
	json_free(&t.out);
	PyErr_Clear();
	return text;
}
