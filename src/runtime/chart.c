/* SPDX-License-Identifier: MIT
 * Purpose: what a figure says, as data beside its picture: titles, axes and series, so
 * that a model can read the plot (docs/displays.md).
 * Process: a worker (display.h). Reads matplotlib's own objects by their documented
 * methods, and numpy's arrays.
 * Trusts: nothing: every answer may be of any type. What is not understood is counted.
 * Invariants: at most AXES_MAX axes, SERIES_MAX series, POINTS_MAX points of one and
 *   POINTS_ALL_MAX of all; a series that has more is thinned evenly and says so. */
#include "runtime/chart.h"

#include <math.h>
#include <string.h>

#define AXES_MAX 64
#define SERIES_MAX 100
#define POINTS_MAX 5000
#define POINTS_ALL_MAX 100000
#define TEXT_MAX 500u

/* ---- asking objects ---- */

PyObject *chart_call(PyObject *object, const char *name)
{
	return PyObject_CallMethod(object, name, NULL);
}

double chart_number(PyObject *object, const char *name)
{
	_cleanup_py_ PyObject *found = chart_call(object, name);

	return found ? PyFloat_AsDouble(found) : -1;
}

bool chart_is_class(PyObject *object, const char *name)
{
	_cleanup_py_ PyObject *own = PyObject_GetAttrString((PyObject *)Py_TYPE(object),
							    "__name__");
	bool is = own && PyUnicode_Check(own) &&
		  PyUnicode_CompareWithASCIIString(own, name) == 0;

	PyErr_Clear();
	return is;
}

static bool class_has(PyObject *object, const char *part)
{
	_cleanup_py_ PyObject *own = PyObject_GetAttrString((PyObject *)Py_TYPE(object),
							    "__name__");
	const char *text = own && PyUnicode_Check(own)
				   ? PyUnicode_AsUTF8AndSize(own, NULL)
				   : NULL;
	bool has = text && strstr(text, part);

	PyErr_Clear();
	return has;
}

/* ---- writing ---- */

static void put_text(struct chart *c, PyObject *text)
{
	_cleanup_py_ PyObject *bytes = NULL;
	char *data;
	Py_ssize_t len;

	if (text && PyUnicode_Check(text))
		bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
	if (bytes && PyBytes_AsStringAndSize(bytes, &data, &len) == 0)
		json_text_cut(c->json, data, (size_t)len, TEXT_MAX);
	else
		json_lit(c->json, "null");
	PyErr_Clear();
}

void chart_member(struct chart *c, const char *name)
{
	json_lit(c->json, ",\"");
	json_lit(c->json, name);
	json_lit(c->json, "\":");
}

/* ,"name":text of object.method(); null where there is none */
static int put_text_of(struct chart *c, const char *name, PyObject *object,
		       const char *method)
{
	_cleanup_py_ PyObject *text = chart_call(object, method);

	if (!text)
		return -1;
	chart_member(c, name);
	if (PyUnicode_Check(text) && PyUnicode_GetLength(text) > 0)
		put_text(c, text);
	else
		json_lit(c->json, "null");
	return 0;
}

/* Matplotlib's own names for what has none begin with "_". */
bool chart_is_name(PyObject *label)
{
	return label && PyUnicode_Check(label) && PyUnicode_GetLength(label) > 0 &&
	       PyUnicode_ReadChar(label, 0) != '_';
}

int chart_begin(struct chart *c, const char *type, PyObject *artist)
{
	_cleanup_py_ PyObject *label = chart_call(artist, "get_label");

	PyErr_Clear();
	if (c->series >= SERIES_MAX) {
		c->truncated = true;
		return -1;
	}
	json_lit(c->json, c->first ? "{\"type\":\"" : ",{\"type\":\"");
	json_lit(c->json, type);
	json_lit(c->json, "\",\"label\":");
	if (chart_is_name(label))
		put_text(c, label);
	else
		json_lit(c->json, "null");
	c->first = false;
	c->series++;
	return 0;
}

void chart_end(struct chart *c, long long count, long long step)
{
	if (step > 1) {
		json_lit(c->json, ",\"truncated\":true,\"points\":");
		json_long(c->json, count);
		json_lit(c->json, ",\"step\":");
		json_long(c->json, step);
		c->truncated = true;
	}
	json_lit(c->json, "}");
}

long long chart_step(struct chart *c, long long count)
{
	long long room = POINTS_ALL_MAX - c->written;

	c->points += count;
	if (room > POINTS_MAX)
		room = POINTS_MAX;
	if (room < 1)
		room = 1;
	count = count > 0 ? count : 1;
	c->written += count < room ? count : room;
	return (count + room - 1) / room;
}

/* JSON's own kinds as they are, dates in ISO, anything else as its text. */
static int put_scalar(struct chart *c, PyObject *value)
{
	_cleanup_py_ PyObject *text = NULL;

	if (value == Py_None || PyBool_Check(value) || PyLong_Check(value) ||
	    PyFloat_Check(value))
		return data_json(c->json, value, 0);
	if (PyUnicode_Check(value)) {
		put_text(c, value);
		return 0;
	}
	text = PyObject_CallMethod(value, "isoformat", NULL);
	if (!text) {
		if (!PyErr_ExceptionMatches(PyExc_Exception))
			return -1;
		PyErr_Clear();
		text = PyObject_Str(value);
		if (!text)
			return -1;
	}
	put_text(c, text);
	return 0;
}

int chart_put_list(struct chart *c, const char *name, PyObject *list)
{
	chart_member(c, name);
	json_lit(c->json, "[");
	for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
		_cleanup_py_ PyObject *item = PyList_GetItem(list, i);

		if (!item)
			return -1;
		Py_INCREF(item);
		json_lit(c->json, i ? "," : "");
		if (put_scalar(c, item) < 0)
			return -1;
		if (c->json->error)
			return 0;
	}
	json_lit(c->json, "]");
	return 0;
}

/* ---- arrays ---- */

/* Flat, of whatever can be made an array; new reference. */
PyObject *chart_array(PyObject *values)
{
	_cleanup_py_ PyObject *numpy = display_module("numpy");
	_cleanup_py_ PyObject *array = numpy ? PyObject_CallMethod(numpy, "asanyarray",
								   "O", values)
					     : NULL;

	if (!numpy)
		PyErr_SetString(PyExc_ImportError, "numpy is not loaded");
	return array ? chart_call(array, "ravel") : NULL;
}

/* Every step-th item as a list. Nanoseconds would be whole numbers. */
PyObject *chart_list(PyObject *array, long long step)
{
	_cleanup_py_ PyObject *number = PyLong_FromLongLong(step);
	_cleanup_py_ PyObject *slice = number ? PySlice_New(NULL, NULL, number) : NULL;
	_cleanup_py_ PyObject *part = slice ? PyObject_GetItem(array, slice) : NULL;
	_cleanup_py_ PyObject *dtype = part ? PyObject_GetAttrString(part, "dtype")
					    : NULL;
	_cleanup_py_ PyObject *kind = dtype ? PyObject_GetAttrString(dtype, "kind")
					    : NULL;
	PyObject *list;

	if (kind && PyUnicode_Check(kind) &&
	    PyUnicode_CompareWithASCIIString(kind, "M") == 0) {
		PyObject *whole = PyObject_CallMethod(part, "astype", "s", "M8[us]");

		Py_DECREF(part);
		part = whole;
	}
	list = kind && part ? chart_call(part, "tolist") : NULL;
	if (list && !PyList_Check(list)) {
		Py_DECREF(list);
		PyErr_SetString(PyExc_TypeError, "not a list");
		return NULL;
	}
	return list;
}

/* ---- axes ---- */

/* The texts at the ticks, where somebody gave them: categories, set_xticklabels(). */
static int read_ticks(PyObject *axis, struct chart_axis *ret)
{
	_cleanup_py_ PyObject *formatter = chart_call(axis, "get_major_formatter");
	_cleanup_py_ PyObject *places = NULL, *texts = NULL, *list = NULL;

	if (!formatter)
		return -1;
	if (!chart_is_class(formatter, "FixedFormatter") &&
	    !chart_is_class(formatter, "FuncFormatter") &&
	    !chart_is_class(formatter, "StrCategoryFormatter"))
		return 0;
	places = chart_call(axis, "get_majorticklocs");
	list = places ? PySequence_List(places) : NULL;
	texts = list ? PyObject_CallMethod(formatter, "format_ticks", "O", list) : NULL;
	if (!texts || !PyList_Check(texts))
		return -1;
	ret->places = list;
	ret->texts = texts;
	list = texts = NULL;
	return 0;
}

int chart_axis_open(PyObject *axes, const char *name, struct chart_axis *ret)
{
	_cleanup_py_ PyObject *axis = PyObject_GetAttrString(axes, name);
	_cleanup_py_ PyObject *converter = NULL;

	*ret = (struct chart_axis){ 0 };
	if (!axis)
		return -1;
	converter = PyObject_GetAttrString(axis, "_converter");
	if (!converter) {
		PyErr_Clear();
		converter = PyObject_GetAttrString(axis, "converter");
	}
	PyErr_Clear();
	ret->dates = converter && class_has(converter, "Date");
	return ret->dates ? 0 : read_ticks(axis, ret);
}

void chart_axis_close(struct chart_axis *axis)
{
	Py_CLEAR(axis->places);
	Py_CLEAR(axis->texts);
}

/* The text at that place, borrowed, or NULL. */
static PyObject *text_at(const struct chart_axis *axis, double place)
{
	for (Py_ssize_t i = 0; axis->places && i < PyList_Size(axis->places); i++) {
		double at = PyFloat_AsDouble(PyList_GetItem(axis->places, i));
		PyObject *text = PyList_GetItem(axis->texts, i);

		if (!text || PyErr_Occurred()) {
			PyErr_Clear();
			return NULL;
		}
		if (fabs(at - place) < 1e-6 && PyUnicode_Check(text) &&
		    PyUnicode_GetLength(text) > 0)
			return text;
	}
	return NULL;
}

/* Numbers of an axis as what they stand for there: dates, names. New list. */
PyObject *chart_axis_values(const struct chart_axis *axis, PyObject *numbers)
{
	_cleanup_py_ PyObject *dates = NULL;
	PyObject *list;

	if (axis->dates) {
		dates = display_module("matplotlib.dates");
		if (dates)
			return PyObject_CallMethod(dates, "num2date", "O", numbers);
	}
	list = PySequence_List(numbers);
	for (Py_ssize_t i = 0; list && axis->places && i < PyList_Size(list); i++) {
		double place = PyFloat_AsDouble(PyList_GetItem(list, i));
		PyObject *text = PyErr_Occurred() ? NULL : text_at(axis, place);

		PyErr_Clear();
		if (text) {
			Py_INCREF(text);
			if (PyList_SetItem(list, i, text) < 0)
				Py_CLEAR(list);
		}
	}
	return list;
}

static int put_axes(struct chart *c, PyObject *axes)
{
	struct chart_axis x, y = { 0 };
	int r;

	json_lit(c->json, "{\"series\":[");
	c->first = true;
	c->others = 0;
	r = chart_axis_open(axes, "xaxis", &x);
	if (r == 0)
		r = chart_axis_open(axes, "yaxis", &y);
	if (r == 0)
		r = chart_series(c, axes, &x, &y);
	chart_axis_close(&x);
	chart_axis_close(&y);
	if (r < 0)
		return -1;
	json_lit(c->json, "]");
	if (put_text_of(c, "title", axes, "get_title") < 0 ||
	    put_text_of(c, "x_label", axes, "get_xlabel") < 0 ||
	    put_text_of(c, "y_label", axes, "get_ylabel") < 0 ||
	    put_text_of(c, "x_scale", axes, "get_xscale") < 0 ||
	    put_text_of(c, "y_scale", axes, "get_yscale") < 0)
		return -1;
	if (c->others > 0) {
		chart_member(c, "others");
		json_long(c->json, c->others);
	}
	json_lit(c->json, "}");
	return 0;
}

static bool is_colorbar(PyObject *axes)
{
	_cleanup_py_ PyObject *label = chart_call(axes, "get_label");
	bool is = label && PyUnicode_Check(label) &&
		  PyUnicode_CompareWithASCIIString(label, "<colorbar>") == 0;

	PyErr_Clear();
	return is;
}

static void put_title(struct chart *c, PyObject *figure)
{
	_cleanup_py_ PyObject *title = PyObject_GetAttrString(figure, "_suptitle");
	_cleanup_py_ PyObject *text = title && title != Py_None
					      ? chart_call(title, "get_text")
					      : NULL;

	PyErr_Clear();
	json_lit(c->json, "{\"title\":");
	put_text(c, text);
}

int chart_write(struct json *json, PyObject *figure, long long *ret_points)
{
	struct chart c = { .json = json };
	_cleanup_py_ PyObject *axes = PyObject_GetAttrString(figure, "axes");
	_cleanup_py_ PyObject *list = axes ? PySequence_List(axes) : NULL;
	Py_ssize_t count = list ? PyList_Size(list) : -1, i, written = 0;

	if (count < 0)
		return -1;
	put_title(&c, figure);
	json_lit(json, ",\"axes\":[");
	for (i = 0; i < count && written < AXES_MAX; i++) {
		PyObject *one = PyList_GetItem(list, i);

		if (is_colorbar(one))
			continue;
		json_lit(json, written++ ? "," : "");
		if (put_axes(&c, one) < 0)
			return -1;
	}
	json_lit(json, "]");
	if (i < count || c.truncated)
		json_lit(json, ",\"truncated\":true");
	json_lit(json, "}");
	*ret_points = c.points;
	return 0;
}
