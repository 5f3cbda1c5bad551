/* SPDX-License-Identifier: MIT
 * numpy's arrays and scalars, pandas' frames, series and indexes as tagged values
 * (docs/results.md).
 *
 * Worker, after the program. Only the libraries' own types are read, never subclasses;
 * their methods may still be replaced by the program, so every answer is checked for its
 * type. Sizes are looked at before anything is copied. */
#include "runtime/value.h"

#include <string.h>

#define ARRAY_BYTES_MAX (VALUE_MAX / 4 * 3) /* as base64 it fills VALUE_MAX */
#define DESCR_DEPTH_MAX 16

static bool has_type(const struct writer *w, PyObject *value, enum value_known known)
{
	return w->known[known] && (PyObject *)Py_TYPE(value) == w->known[known];
}

/* A whole number (numpy's too) that an attribute has. -1: it is none, negative, or too
 * large; no exception is left. */
static long long get_size(PyObject *value, const char *name)
{
	_cleanup_py_ PyObject *found = PyObject_GetAttrString(value, name);
	_cleanup_py_ PyObject *number = found ? PyNumber_Index(found) : NULL;
	long long size = number ? PyLong_AsLongLong(number) : -1;

	PyErr_Clear();
	return size < 0 ? -1 : size;
}

/* The one character of dtype.kind, 0 if it has none. */
static char get_kind(PyObject *dtype)
{
	_cleanup_py_ PyObject *kind = PyObject_GetAttrString(dtype, "kind");
	const char *text = kind && PyUnicode_Check(kind)
				   ? PyUnicode_AsUTF8AndSize(kind, NULL)
				   : NULL;
	char c = text ? text[0] : 0;

	PyErr_Clear();
	return c;
}

static bool is_true(PyObject *value, const char *name)
{
	_cleanup_py_ PyObject *flag = PyObject_GetAttrString(value, name);

	PyErr_Clear();
	return flag == Py_True;
}

/* The descr of a structured type: lists for lists and tuples, names, formats and
 * shapes. */
static int put_descr(struct writer *w, PyObject *descr, int depth)
{
	bool list = PyList_CheckExact(descr);

	if (PyUnicode_CheckExact(descr))
		return value_text(w, descr);
	if (PyLong_CheckExact(descr))
		return value_put(w, descr) ? PUT_DONE : PUT_FAILED;
	if (depth >= DESCR_DEPTH_MAX || !(list || PyTuple_CheckExact(descr)))
		return PUT_FAILED;
	json_lit(w->json, "[");
	for (Py_ssize_t i = 0; i < (list ? PyList_Size(descr) : PyTuple_Size(descr));
	     i++) {
		PyObject *item = list ? PyList_GetItem(descr, i)
				      : PyTuple_GetItem(descr, i);

		if (i)
			json_lit(w->json, ",");
		if (!item || put_descr(w, item, depth + 1) < 0)
			return PUT_FAILED;
	}
	json_lit(w->json, "]");
	return PUT_DONE;
}

/* ,"dtype":"<f8" or, with fields, the list that numpy.dtype() takes */
static int put_dtype(struct writer *w, PyObject *dtype)
{
	_cleanup_py_ PyObject *names = PyObject_GetAttrString(dtype, "names");
	_cleanup_py_ PyObject *descr = NULL;

	if (!names)
		return PUT_FAILED;
	descr = PyObject_GetAttrString(dtype, names == Py_None ? "str" : "descr");
	if (!descr)
		return PUT_FAILED;
	json_lit(w->json, ",\"dtype\":");
	return put_descr(w, descr, 0);
}

/* ,"data":base64 of value.tobytes(), in C order */
static int put_data(struct writer *w, PyObject *value)
{
	_cleanup_py_ PyObject *bytes = NULL;

	if (get_size(value, "nbytes") < 0 ||
	    get_size(value, "nbytes") > (long long)ARRAY_BYTES_MAX)
		return PUT_FAILED;
	bytes = PyObject_CallMethod(value, "tobytes", NULL);
	if (!bytes || !PyBytes_CheckExact(bytes))
		return PUT_FAILED;
	json_lit(w->json, ",\"data\":");
	json_base64(w->json, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes));
	return PUT_DONE;
}

/* Arrays of objects, also inside a structure, are a flat list. */
static int put_objects(struct writer *w, PyObject *array)
{
	_cleanup_py_ PyObject *flat = NULL;
	long long size = get_size(array, "size");

	if (size < 0 || size > (long long)VALUE_MAX / 2)
		return PUT_FAILED;
	flat = PyObject_CallMethod(array, "ravel", NULL);
	if (!flat)
		return PUT_FAILED;
	json_lit(w->json, ",\"dtype\":\"object\"");
	return value_member_whole(w, "items", PyObject_CallMethod(flat, "tolist", NULL));
}

static int put_shape(struct writer *w, PyObject *array)
{
	_cleanup_py_ PyObject *shape = PyObject_GetAttrString(array, "shape");

	if (!shape || !PyTuple_CheckExact(shape))
		return PUT_FAILED;
	json_lit(w->json, ",\"shape\":");
	return put_descr(w, shape, 0);
}

static int put_array(struct writer *w, PyObject *array)
{
	_cleanup_py_ PyObject *dtype = PyObject_GetAttrString(array, "dtype");
	int r;

	if (!dtype)
		return PUT_FAILED;
	value_tag(w, "numpy.ndarray", NULL);
	if (put_shape(w, array) < 0)
		return PUT_FAILED;
	if (is_true(dtype, "hasobject"))
		r = put_objects(w, array);
	else
		r = put_dtype(w, dtype) < 0 ? PUT_FAILED : put_data(w, array);
	json_lit(w->json, "}");
	return r;
}

/* Readable where Python has the same value, else its bytes: long doubles, dates and
 * times, structures. */
static int put_scalar(struct writer *w, PyObject *scalar, PyObject *dtype)
{
	long long itemsize = get_size(dtype, "itemsize");
	char kind = get_kind(dtype);
	bool same = kind && (strchr("biuSU", kind) || (kind == 'f' && itemsize <= 8) ||
			     (kind == 'c' && itemsize <= 16));

	value_tag(w, "numpy.scalar", NULL);
	if (put_dtype(w, dtype) < 0)
		return PUT_FAILED;
	if (same) {
		if (value_member_whole(w, "value",
				       PyObject_CallMethod(scalar, "item", NULL)) < 0)
			return PUT_FAILED;
	} else if (put_data(w, scalar) < 0) {
		return PUT_FAILED;
	}
	json_lit(w->json, "}");
	return PUT_DONE;
}

int value_put_numpy(struct writer *w, PyObject *value, bool *ret_mine)
{
	_cleanup_py_ PyObject *dtype = NULL, *type = NULL;
	PyObject *generic = w->known[KNOWN_GENERIC];

	*ret_mine = true;
	if (has_type(w, value, KNOWN_NDARRAY))
		return put_array(w, value);
	if (generic && PyType_IsSubtype(Py_TYPE(value), (PyTypeObject *)generic)) {
		/* numpy's own type has itself as the dtype's; a subclass of the program's
		 * has not */
		dtype = PyObject_GetAttrString(value, "dtype");
		type = dtype ? PyObject_GetAttrString(dtype, "type") : NULL;
		if (type == (PyObject *)Py_TYPE(value) && !is_true(dtype, "hasobject"))
			return put_scalar(w, value, dtype);
		PyErr_Clear();
	}
	*ret_mine = false;
	return PUT_FAILED;
}

static int put_column(struct writer *w, PyObject *column);

/* "dtype":"category","codes":array,"ordered":bool,"categories":column */
static int put_categories(struct writer *w, PyObject *column)
{
	_cleanup_py_ PyObject *array = PyObject_GetAttrString(column, "array"),
			      *categories = NULL;

	if (!array)
		return PUT_FAILED;
	categories = PyObject_GetAttrString(array, "categories");
	if (!categories)
		return PUT_FAILED;
	json_lit(w->json, "\"dtype\":\"category\"");
	if (value_member_whole(w, "codes", PyObject_GetAttrString(array, "codes")) < 0 ||
	    value_member_whole(w, "ordered", PyObject_GetAttrString(array, "ordered")) <
		    0)
		return PUT_FAILED;
	json_lit(w->json, ",\"categories\":{");
	if (put_column(w, categories) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

/* The members of one column, a series' or an index's values: "dtype" and "values".
 * Numbers, dates and times are a numpy array (dates with a zone as UTC), all else a
 * list. */
static int put_column(struct writer *w, PyObject *column)
{
	_cleanup_py_ PyObject *dtype = PyObject_GetAttrString(column, "dtype"),
			      *name = NULL;
	PyObject *numpy_dtype = w->known[KNOWN_DTYPE];
	const char *text;
	bool plain;
	int r;

	if (!dtype || get_size(column, "size") > (long long)VALUE_MAX / 2)
		return PUT_FAILED;
	name = PyObject_Str(dtype);
	text = name ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
	if (!text)
		return PUT_FAILED;
	if (strcmp(text, "category") == 0) {
		if (w->depth >= VALUE_DEPTH_MAX)
			return PUT_FAILED;
		w->above[w->depth++] =
			column; /* bounds categories that answer themselves */
		r = put_categories(w, column);
		w->depth--;
		return r;
	}
	json_lit(w->json, "\"dtype\":");
	if (value_text(w, name) < 0)
		return PUT_FAILED;
	plain = numpy_dtype &&
		PyType_IsSubtype(Py_TYPE(dtype), (PyTypeObject *)numpy_dtype);
	if (plain && get_kind(dtype) != 'O')
		return value_member_whole(w, "values",
					  PyObject_CallMethod(column, "to_numpy", NULL));
	if (!plain && get_kind(dtype) == 'M')
		return value_member_whole(
			w, "values",
			PyObject_CallMethod(column, "to_numpy", "s", "M8[ns]"));
	return value_member_whole(w, "values",
				  PyObject_CallMethod(column, "tolist", NULL));
}

static int put_range_index(struct writer *w, PyObject *index)
{
	static const char *const names[] = { "start", "stop", "step", NULL };

	json_lit(w->json, "{\"kind\":\"range\"");
	for (const char *const *name = names; *name; name++)
		if (value_member_whole(w, *name, PyObject_GetAttrString(index, *name)) <
		    0)
			return PUT_FAILED;
	if (value_member_new(w, "name", PyObject_GetAttrString(index, "name")) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

static int put_multi_index(struct writer *w, PyObject *index)
{
	_cleanup_py_ PyObject *names = PyObject_GetAttrString(index, "names");
	long long levels = get_size(index, "nlevels");

	if (!names || levels < 0 || levels > VALUE_DEPTH_MAX)
		return PUT_FAILED;
	json_lit(w->json, "{\"kind\":\"multi\"");
	if (value_member_whole(w, "names", PySequence_List(names)) < 0)
		return PUT_FAILED;
	json_lit(w->json, ",\"levels\":[");
	for (long long i = 0; i < levels; i++) {
		_cleanup_py_ PyObject *level = PyObject_CallMethod(
			index, "get_level_values", "L", i);

		json_lit(w->json, i ? ",{" : "{");
		if (!level || put_column(w, level) < 0)
			return PUT_FAILED;
		json_lit(w->json, "}");
	}
	json_lit(w->json, "]}");
	return PUT_DONE;
}

static int put_index(struct writer *w, PyObject *index)
{
	if (has_type(w, index, KNOWN_RANGE_INDEX))
		return put_range_index(w, index);
	if (has_type(w, index, KNOWN_MULTI_INDEX))
		return put_multi_index(w, index);
	json_lit(w->json, "{\"kind\":\"index\"");
	if (value_member_new(w, "name", PyObject_GetAttrString(index, "name")) < 0)
		return PUT_FAILED;
	json_lit(w->json, ",");
	if (put_column(w, index) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

/* ,"name":{index} */
static int put_axis(struct writer *w, PyObject *value, const char *name)
{
	_cleanup_py_ PyObject *index = PyObject_GetAttrString(value, name);

	if (!index)
		return PUT_FAILED;
	json_lit(w->json, ",\"");
	json_lit(w->json, name);
	json_lit(w->json, "\":");
	return put_index(w, index);
}

static int put_frame(struct writer *w, PyObject *frame)
{
	_cleanup_py_ PyObject *items = NULL;
	long long size = get_size(frame, "size");
	bool first = true;

	if (size < 0 || size > (long long)VALUE_MAX / 2)
		return PUT_FAILED;
	value_tag(w, "pandas.DataFrame", NULL);
	if (put_axis(w, frame, "index") < 0 || put_axis(w, frame, "columns") < 0)
		return PUT_FAILED;
	json_lit(w->json, ",\"data\":[");
	items = PyObject_CallMethod(frame, "items", NULL);
	while (items && PyIter_Check(items)) {
		_cleanup_py_ PyObject *pair = PyIter_Next(items);

		if (!pair)
			break;
		json_lit(w->json, first ? "{" : ",{");
		first = false;
		if (!PyTuple_CheckExact(pair) || PyTuple_Size(pair) != 2 ||
		    !has_type(w, PyTuple_GetItem(pair, 1), KNOWN_SERIES) ||
		    put_column(w, PyTuple_GetItem(pair, 1)) < 0)
			return PUT_FAILED;
		json_lit(w->json, "}");
		if (w->json->error)
			return PUT_FAILED;
	}
	json_lit(w->json, "]}");
	return items && !PyErr_Occurred() ? PUT_DONE : PUT_FAILED;
}

static int put_series(struct writer *w, PyObject *series)
{
	value_tag(w, "pandas.Series", NULL);
	if (value_member_new(w, "name", PyObject_GetAttrString(series, "name")) < 0 ||
	    put_axis(w, series, "index") < 0)
		return PUT_FAILED;
	json_lit(w->json, ",\"data\":{");
	if (put_column(w, series) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}}");
	return PUT_DONE;
}

static int put_timestamp(struct writer *w, PyObject *value, const char *type)
{
	_cleanup_py_ PyObject *zone = NULL, *name = NULL;

	value_tag(w, type, NULL);
	if (value_member_whole(w, "value",
			       PyObject_CallMethod(value, "isoformat", NULL)) < 0)
		return PUT_FAILED;
	if (has_type(w, value, KNOWN_TIMESTAMP)) {
		zone = PyObject_GetAttrString(value, "tzinfo");
		name = zone && zone != Py_None ? PyObject_Str(zone) : NULL;
		if (!zone ||
		    (zone != Py_None && (!name || value_member(w, "zone", name) < 0)))
			return PUT_FAILED;
	}
	json_lit(w->json, "}");
	return PUT_DONE;
}

/* Index and the kinds of it that pandas itself defines. */
static bool is_index(const struct writer *w, PyObject *value)
{
	_cleanup_py_ PyObject *module = NULL;
	const char *text;
	bool ours;

	if (!w->known[KNOWN_INDEX] ||
	    !PyType_IsSubtype(Py_TYPE(value), (PyTypeObject *)w->known[KNOWN_INDEX]))
		return false;
	module = PyObject_GetAttrString((PyObject *)Py_TYPE(value), "__module__");
	text = module && PyUnicode_Check(module) ? PyUnicode_AsUTF8AndSize(module, NULL)
						 : NULL;
	ours = text && strncmp(text, "pandas.", 7) == 0;
	PyErr_Clear();
	return ours;
}

int value_put_pandas(struct writer *w, PyObject *value, bool *ret_mine)
{
	*ret_mine = true;
	if (has_type(w, value, KNOWN_FRAME))
		return put_frame(w, value);
	if (has_type(w, value, KNOWN_SERIES))
		return put_series(w, value);
	if (has_type(w, value, KNOWN_TIMESTAMP))
		return put_timestamp(w, value, "pandas.Timestamp");
	if (has_type(w, value, KNOWN_PANDAS_TIMEDELTA))
		return put_timestamp(w, value, "pandas.Timedelta");
	if (value == w->known[KNOWN_NAT] || value == w->known[KNOWN_NA]) {
		value_tag(w, value == w->known[KNOWN_NA] ? "pandas.NA" : "pandas.NaT",
			  NULL);
		json_lit(w->json, "}");
		return PUT_DONE;
	}
	if (is_index(w, value)) {
		value_tag(w, "pandas.Index", NULL);
		json_lit(w->json, ",\"index\":");
		if (put_index(w, value) < 0)
			return PUT_FAILED;
		json_lit(w->json, "}");
		return PUT_DONE;
	}
	*ret_mine = false;
	return PUT_FAILED;
}
