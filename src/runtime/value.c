/* SPDX-License-Identifier: MIT
 * A program's result as tagged JSON (docs/results.md).
 *
 * Worker, after the program; its walls are up and this code is on the program's side of
 * them. The value is hostile: its classes may raise, loop or change containers while
 * these are read. So contents are read through the built-in types' own C functions,
 * whatever a subclass overrides; borrowed references are owned before anything else runs;
 * and what fails becomes its repr.
 *
 * Invariants: no exception leaves; one value writes at most VALUE_MAX bytes and at most
 * twice that much in all attempts; nesting beyond VALUE_DEPTH_MAX and cycles become
 * reprs; a plain object never has the key "$type", nor one key twice (the reader refuses
 * both). */
#include "runtime/value.h"

#include <string.h>

#define TAG "$type"

static const struct {
	const char *module, *name;
} known_names[KNOWN_COUNT] = {
	[KNOWN_DATETIME] = { "datetime", "datetime" },
	[KNOWN_DATE] = { "datetime", "date" },
	[KNOWN_TIME] = { "datetime", "time" },
	[KNOWN_TIMEDELTA] = { "datetime", "timedelta" },
	[KNOWN_ZONEINFO] = { "zoneinfo", "ZoneInfo" },
	[KNOWN_DECIMAL] = { "decimal", "Decimal" },
	[KNOWN_FRACTION] = { "fractions", "Fraction" },
	[KNOWN_NDARRAY] = { "numpy", "ndarray" },
	[KNOWN_GENERIC] = { "numpy", "generic" },
	[KNOWN_DTYPE] = { "numpy", "dtype" },
	[KNOWN_FRAME] = { "pandas", "DataFrame" },
	[KNOWN_SERIES] = { "pandas", "Series" },
	[KNOWN_INDEX] = { "pandas", "Index" },
	[KNOWN_RANGE_INDEX] = { "pandas", "RangeIndex" },
	[KNOWN_MULTI_INDEX] = { "pandas", "MultiIndex" },
	[KNOWN_TIMESTAMP] = { "pandas", "Timestamp" },
	[KNOWN_PANDAS_TIMEDELTA] = { "pandas", "Timedelta" },
	[KNOWN_NAT] = { "pandas", "NaT" },
	[KNOWN_NA] = { "pandas", "NA" },
};

/* A module that is not in sys.modules has no instances to write; none is imported for
 * this. */
static void known_find(struct writer *w)
{
	PyObject *modules = PyImport_GetModuleDict();

	for (int i = 0; i < KNOWN_COUNT; i++) {
		PyObject *module = PyDict_GetItemString(modules, known_names[i].module);
		PyObject *found;

		if (!module)
			continue;
		Py_INCREF(module);
		found = PyObject_GetAttrString(module, known_names[i].name);
		Py_DECREF(module);
		if (!found)
			PyErr_Clear();
		else if (i != KNOWN_NAT && i != KNOWN_NA && !PyType_Check(found))
			Py_CLEAR(found);
		w->known[i] = found;
	}
	PyErr_Clear();
}

/* Written as base64 where JSON cannot say it: lone surrogates, and U+0000, which no C
 * reader takes. */
static int put_str(struct writer *w, PyObject *value)
{
	_cleanup_py_ PyObject *bytes = NULL;
	Py_ssize_t len;
	const char *utf8;
	char *data;

	if (PyUnicode_GetLength(value) > (Py_ssize_t)VALUE_MAX)
		return PUT_FAILED;
	utf8 = PyUnicode_AsUTF8AndSize(value, &len);
	if (utf8 && !memchr(utf8, 0, (size_t)len)) {
		if (PyUnicode_CheckExact(value)) {
			json_text(w->json, utf8, (size_t)len);
			return PUT_DONE;
		}
		value_tag(w, "str", value);
		json_lit(w->json, ",\"value\":");
		json_text(w->json, utf8, (size_t)len);
		json_lit(w->json, "}");
		return PUT_DONE;
	}
	PyErr_Clear();
	bytes = PyUnicode_AsEncodedString(value, "utf-8", "surrogatepass");
	if (!bytes || PyBytes_AsStringAndSize(bytes, &data, &len) < 0)
		return PUT_FAILED;
	value_tag(w, "str", PyUnicode_CheckExact(value) ? NULL : value);
	json_lit(w->json, ",\"base64\":");
	json_base64(w->json, data, (size_t)len);
	json_lit(w->json, "}");
	return PUT_DONE;
}

int value_text(struct writer *w, PyObject *text)
{
	Py_ssize_t len;
	const char *utf8 = PyUnicode_CheckExact(text)
				   ? PyUnicode_AsUTF8AndSize(text, &len)
				   : NULL;

	if (!utf8 || memchr(utf8, 0, (size_t)len))
		return PUT_FAILED;
	json_text(w->json, utf8, (size_t)len);
	return PUT_DONE;
}

void value_tag(struct writer *w, const char *type, PyObject *subclass_of)
{
	_cleanup_py_ PyObject *name = NULL;
	Py_ssize_t len;
	const char *utf8;

	json_lit(w->json, "{\"" TAG "\":\"");
	json_lit(w->json, type);
	json_lit(w->json, "\"");
	if (!subclass_of)
		return;
	name = value_class_name(subclass_of);
	utf8 = name ? PyUnicode_AsUTF8AndSize(name, &len) : NULL;
	PyErr_Clear();
	json_lit(w->json, ",\"class\":");
	json_text_cut(w->json, utf8 ? utf8 : "?", utf8 ? (size_t)len : 1, 200);
}

static void put_name(struct writer *w, const char *name)
{
	json_lit(w->json, ",\"");
	json_lit(w->json, name);
	json_lit(w->json, "\":");
}

int value_member(struct writer *w, const char *name, PyObject *value)
{
	put_name(w, name);
	return value_put(w, value) ? PUT_DONE : PUT_FAILED;
}

int value_member_new(struct writer *w, const char *name, PyObject *stolen)
{
	int r = stolen ? value_member(w, name, stolen) : PUT_FAILED;

	Py_XDECREF(stolen);
	return r;
}

int value_member_whole(struct writer *w, const char *name, PyObject *stolen)
{
	int r = PUT_FAILED;

	put_name(w, name);
	if (stolen)
		r = value_put_whole(w, stolen);
	Py_XDECREF(stolen);
	return r;
}

#define EXACT_INT ((1LL << 53) - 1)

static int put_int(struct writer *w, PyObject *value)
{
	_cleanup_py_ PyObject *text = NULL;
	PyObject *subclass = PyLong_CheckExact(value) ? NULL : value;
	int overflow;
	long long small = PyLong_AsLongLongAndOverflow(value, &overflow), bits;

	if (!overflow && small >= -EXACT_INT && small <= EXACT_INT && !subclass) {
		json_long(w->json, small);
		return PUT_DONE;
	}
	value_tag(w, "int", subclass);
	json_lit(w->json, ",\"value\":");
	if (!overflow) {
		json_lit(w->json, "\"");
		json_long(w->json, small);
		json_lit(w->json, "\"}");
		return PUT_DONE;
	}
	bits = value_int_bits(value);
	if (bits < 0 || bits / 4 > (long long)VALUE_MAX)
		return PUT_FAILED;
	text = PyNumber_ToBase(value, bits > VALUE_DECIMAL_BITS ? 16 : 10);
	if (!text || value_text(w, text) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

static int put_double(struct writer *w, double number, PyObject *subclass)
{
	char *text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
	bool finite = number - number == 0;

	if (!text)
		return PUT_FAILED;
	if (!finite || subclass) {
		value_tag(w, "float", subclass);
		json_lit(w->json, ",\"value\":\"");
	}
	json_lit(w->json, text);
	if (!finite || subclass)
		json_lit(w->json, "\"}");
	PyMem_Free(text);
	return PUT_DONE;
}

static int put_complex(struct writer *w, PyObject *value)
{
	value_tag(w, "complex", PyComplex_CheckExact(value) ? NULL : value);
	json_lit(w->json, ",\"real\":");
	if (put_double(w, PyComplex_RealAsDouble(value), NULL) < 0)
		return PUT_FAILED;
	json_lit(w->json, ",\"imag\":");
	if (put_double(w, PyComplex_ImagAsDouble(value), NULL) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

static int put_bytes(struct writer *w, PyObject *value)
{
	bool array = PyByteArray_Check(value);
	bool exact = array ? PyByteArray_CheckExact(value) : PyBytes_CheckExact(value);

	value_tag(w, array ? "bytearray" : "bytes", exact ? NULL : value);
	json_lit(w->json, ",\"value\":");
	if (array)
		json_base64(w->json, PyByteArray_AsString(value),
			    (size_t)PyByteArray_Size(value));
	else
		json_base64(w->json, PyBytes_AsString(value),
			    (size_t)PyBytes_Size(value));
	json_lit(w->json, "}");
	return PUT_DONE;
}

/* A list may shrink and grow while its items are written. */
static int put_items(struct writer *w, PyObject *value)
{
	bool list = PyList_Check(value);

	json_lit(w->json, "[");
	for (Py_ssize_t i = 0; i < (list ? PyList_Size(value) : PyTuple_Size(value));
	     i++) {
		PyObject *item = list ? PyList_GetItem(value, i)
				      : PyTuple_GetItem(value, i);
		bool ok;

		if (!item)
			return PUT_FAILED;
		Py_INCREF(item);
		if (i)
			json_lit(w->json, ",");
		ok = value_put(w, item);
		Py_DECREF(item);
		if (!ok)
			return PUT_FAILED;
	}
	json_lit(w->json, "]");
	return PUT_DONE;
}

static int put_sequence(struct writer *w, PyObject *value)
{
	if (PyList_CheckExact(value))
		return put_items(w, value);
	value_tag(w, PyList_Check(value) ? "list" : "tuple",
		  PyTuple_CheckExact(value) ? NULL : value);
	json_lit(w->json, ",\"items\":");
	if (put_items(w, value) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

/* set.__iter__ and not the class's own: a subclass may override it. It raises when the
 * set changes. */
static int put_set(struct writer *w, PyObject *value)
{
	bool frozen = PyObject_TypeCheck(value, &PyFrozenSet_Type);
	PyObject *base = (PyObject *)(frozen ? &PyFrozenSet_Type : &PySet_Type);
	_cleanup_py_ PyObject *iterator = PyObject_CallMethod(base, "__iter__", "O",
							      value);
	PyObject *item;
	bool first = true;

	if (!iterator)
		return PUT_FAILED;
	value_tag(w, frozen ? "frozenset" : "set",
		  (PyObject *)Py_TYPE(value) == base ? NULL : value);
	json_lit(w->json, ",\"items\":[");
	while ((item = PyIter_Next(iterator))) {
		bool ok;

		if (!first)
			json_lit(w->json, ",");
		first = false;
		ok = value_put(w, item);
		Py_DECREF(item);
		if (!ok)
			return PUT_FAILED;
	}
	json_lit(w->json, "]}");
	return PyErr_Occurred() ? PUT_FAILED : PUT_DONE;
}

static bool is_scalar(PyObject *value)
{
	return value == Py_None || PyBool_Check(value) || PyLong_CheckExact(value) ||
	       PyFloat_CheckExact(value) || PyUnicode_CheckExact(value) ||
	       PyBytes_CheckExact(value);
}

static bool is_plain_key(PyObject *key)
{
	Py_ssize_t len;
	const char *utf8 = PyUnicode_CheckExact(key) ? PyUnicode_AsUTF8AndSize(key, &len)
						     : NULL;

	if (!utf8)
		PyErr_Clear();
	return utf8 && !memchr(utf8, 0, (size_t)len) && strcmp(utf8, TAG) != 0;
}

/* Writing a scalar runs no code of the program's. Where a value may, a copy is read: the
 * original could show one key twice. */
static PyObject *settle_dict(PyObject *dict, bool *ret_plain)
{
	PyObject *key, *value;
	Py_ssize_t at = 0;
	bool scalars = PyDict_CheckExact(dict), plain = scalars;

	while ((scalars || plain) && PyDict_Next(dict, &at, &key, &value)) {
		scalars = scalars && is_scalar(key) && is_scalar(value);
		plain = plain && is_plain_key(key);
	}
	*ret_plain = plain;
	if (!scalars)
		return PyDict_Copy(dict);
	Py_INCREF(dict);
	return dict;
}

static int put_pair(struct writer *w, PyObject *key, PyObject *value, bool plain)
{
	if (plain) {
		/* the program can find the copy too, through gc */
		if (!is_plain_key(key) || value_text(w, key) < 0)
			return PUT_FAILED;
		json_lit(w->json, ":");
		return value_put(w, value) ? PUT_DONE : PUT_FAILED;
	}
	json_lit(w->json, "[");
	if (!value_put(w, key))
		return PUT_FAILED;
	json_lit(w->json, ",");
	if (!value_put(w, value))
		return PUT_FAILED;
	json_lit(w->json, "]");
	return PUT_DONE;
}

static int put_dict(struct writer *w, PyObject *value)
{
	_cleanup_py_ PyObject *dict = NULL;
	PyObject *key, *item;
	Py_ssize_t at = 0, size;
	bool plain, first = true;

	/* "":1, is the least that one takes: no copy of what cannot fit */
	if (PyDict_Size(value) > (Py_ssize_t)(VALUE_MAX / 5))
		return PUT_FAILED;
	dict = settle_dict(value, &plain);
	if (!dict)
		return PUT_FAILED;
	size = PyDict_Size(dict);
	if (!plain) {
		value_tag(w, "dict", PyDict_CheckExact(value) ? NULL : value);
		json_lit(w->json, ",\"items\":[");
	} else {
		json_lit(w->json, "{");
	}
	while (PyDict_Next(dict, &at, &key, &item)) {
		int r;

		Py_INCREF(key);
		Py_INCREF(item);
		if (!first)
			json_lit(w->json, ",");
		first = false;
		r = put_pair(w, key, item, plain);
		Py_DECREF(key);
		Py_DECREF(item);
		if (r < 0 || PyDict_Size(dict) != size)
			return PUT_FAILED;
	}
	json_lit(w->json, plain ? "}" : "]}");
	return PUT_DONE;
}

static int put_attributes(struct writer *w, PyObject *value, const char *type,
			  const char *const *names)
{
	value_tag(w, type, NULL);
	for (; *names; names++)
		if (value_member_whole(w, *names, PyObject_GetAttrString(value, *names)) <
		    0)
			return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

/* The name of the zone too, where it has one: an offset alone says nothing of other
 * days. */
static int put_zone(struct writer *w, PyObject *value)
{
	_cleanup_py_ PyObject *zone = PyObject_GetAttrString(value, "tzinfo"),
			      *key = NULL, *fold = NULL;

	if (!zone)
		return PUT_FAILED;
	fold = PyObject_GetAttrString(value, "fold");
	if (!fold)
		return PUT_FAILED;
	if (PyLong_CheckExact(fold) && PyLong_AsLong(fold) == 1)
		json_lit(w->json, ",\"fold\":1");
	if ((PyObject *)Py_TYPE(zone) != w->known[KNOWN_ZONEINFO])
		return PUT_DONE;
	key = PyObject_GetAttrString(zone, "key");
	if (!key)
		return PUT_FAILED;
	return key == Py_None ? PUT_DONE : value_member(w, "zone", key);
}

static int put_iso(struct writer *w, PyObject *value, enum value_known known,
		   const char *type)
{
	PyObject *base = w->known[known];
	_cleanup_py_ PyObject *text = PyObject_CallMethod(base, "isoformat", "O", value);

	if (!text)
		return PUT_FAILED;
	value_tag(w, type, (PyObject *)Py_TYPE(value) == base ? NULL : value);
	json_lit(w->json, ",\"value\":");
	if (value_text(w, text) < 0)
		return PUT_FAILED;
	if (known != KNOWN_DATE && put_zone(w, value) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

static int put_decimal(struct writer *w, PyObject *value)
{
	value_tag(w, "Decimal", NULL);
	if (value_member_whole(w, "value", PyObject_Str(value)) < 0)
		return PUT_FAILED;
	json_lit(w->json, "}");
	return PUT_DONE;
}

static bool is_a(struct writer *w, PyObject *value, enum value_known known)
{
	PyObject *type = w->known[known];

	return type && PyType_IsSubtype(Py_TYPE(value), (PyTypeObject *)type);
}

static bool is_exactly(struct writer *w, PyObject *value, enum value_known known)
{
	return w->known[known] && (PyObject *)Py_TYPE(value) == w->known[known];
}

/* Types of the standard library that are not built in. *ret_mine as in
 * value_put_numpy(). */
static int put_library(struct writer *w, PyObject *value, bool *ret_mine)
{
	static const char *const timedelta[] = { "days", "seconds", "microseconds",
						 NULL };
	static const char *const fraction[] = { "numerator", "denominator", NULL };

	*ret_mine = true;
	if (is_a(w, value, KNOWN_DATETIME))
		return put_iso(w, value, KNOWN_DATETIME, "datetime");
	if (is_a(w, value, KNOWN_DATE))
		return put_iso(w, value, KNOWN_DATE, "date");
	if (is_a(w, value, KNOWN_TIME))
		return put_iso(w, value, KNOWN_TIME, "time");
	if (is_exactly(w, value, KNOWN_TIMEDELTA))
		return put_attributes(w, value, "timedelta", timedelta);
	if (is_exactly(w, value, KNOWN_DECIMAL))
		return put_decimal(w, value);
	if (is_exactly(w, value, KNOWN_FRACTION))
		return put_attributes(w, value, "Fraction", fraction);
	*ret_mine = false;
	return PUT_FAILED;
}

static int put_built_in(struct writer *w, PyObject *value)
{
	static const char *const range[] = { "start", "stop", "step", NULL };

	if (PyLong_Check(value))
		return put_int(w, value);
	if (PyFloat_Check(value))
		return put_double(w, PyFloat_AsDouble(value),
				  PyFloat_CheckExact(value) ? NULL : value);
	if (PyUnicode_Check(value))
		return put_str(w, value);
	if (PyList_Check(value) || PyTuple_Check(value))
		return put_sequence(w, value);
	if (PyDict_Check(value))
		return put_dict(w, value);
	if (PyBytes_Check(value) || PyByteArray_Check(value))
		return put_bytes(w, value);
	if (PyObject_TypeCheck(value, &PySet_Type) ||
	    PyObject_TypeCheck(value, &PyFrozenSet_Type))
		return put_set(w, value);
	if (PyComplex_Check(value))
		return put_complex(w, value);
	if (Py_IS_TYPE(value, &PyRange_Type))
		return put_attributes(w, value, "range", range);
	return PUT_FAILED;
}

static int put(struct writer *w, PyObject *value)
{
	bool mine = false;
	int r;

	if (value == Py_None || value == Py_True || value == Py_False) {
		json_lit(w->json, value == Py_None   ? "null"
				  : value == Py_True ? "true"
						     : "false");
		return PUT_DONE;
	}
	if (is_scalar(value) || PyList_CheckExact(value) || PyDict_CheckExact(value))
		return put_built_in(w, value);
	/* before the built-in ones: numpy.float64 is a float, pandas.Timestamp a
	 * datetime */
	r = value_put_numpy(w, value, &mine);
	if (!mine)
		r = value_put_pandas(w, value, &mine);
	if (!mine)
		r = put_library(w, value, &mine);
	return mine ? r : put_built_in(w, value);
}

static void put_repr(struct writer *w, PyObject *value)
{
	_cleanup_py_ PyObject *text = display_repr(value);
	Py_ssize_t len = 0;
	const char *utf8 = text ? PyUnicode_AsUTF8AndSize(text, &len) : NULL;

	PyErr_Clear();
	value_tag(w, "repr", value);
	json_lit(w->json, ",\"value\":");
	json_text(w->json, utf8 ? utf8 : "?", utf8 ? (size_t)len : 1);
	json_lit(w->json, "}");
}

static void take_back(struct writer *w, size_t len)
{
	w->undone += w->json->len - len;
	w->json->len = len;
	w->json->error = 0;
}

static bool is_above(const struct writer *w, PyObject *value)
{
	for (int i = 0; i < w->depth; i++)
		if (w->above[i] == value)
			return true;
	return false;
}

int value_put_whole(struct writer *w, PyObject *value)
{
	int depth = w->depth, r = PUT_FAILED;

	if (w->json->error || w->undone > VALUE_MAX)
		return PUT_FAILED;
	if (is_scalar(value)) {
		r = put(w, value);
	} else if (depth < VALUE_DEPTH_MAX && !is_above(w, value)) {
		w->above[w->depth++] = value;
		r = put(w, value);
		w->depth = depth;
	}
	return w->json->error ? PUT_FAILED : r;
}

bool value_put(struct writer *w, PyObject *value)
{
	size_t start = w->json->len;
	int r;

	if (w->json->error)
		return false;
	r = value_put_whole(w, value);
	PyErr_Clear();
	if (r == PUT_DONE)
		return true;
	take_back(w, start);
	/* the whole gets another try in value_write() */
	if (w->undone > VALUE_MAX)
		return false;
	put_repr(w, value);
	if (!w->json->error)
		return true;
	take_back(w, start);
	return false;
}

int value_init(void)
{
	return 0;
}

bool value_write_whole(struct json *json, PyObject *value)
{
	struct writer w = { .json = json };
	size_t start = json->len;
	int r;

	known_find(&w);
	r = value_put_whole(&w, value);
	if (r != PUT_DONE)
		take_back(&w, start);
	for (int i = 0; i < KNOWN_COUNT; i++)
		Py_CLEAR(w.known[i]);
	PyErr_Clear();
	return r == PUT_DONE;
}

void value_write(struct json *json, PyObject *value)
{
	struct writer w = { .json = json };
	size_t start = json->len, max = json->max;

	if (json->error)
		return;
	if (max - start > VALUE_MAX)
		json->max = start + VALUE_MAX;
	known_find(&w);
	if (!value_put(&w, value)) {
		w.depth = 0;
		put_repr(&w, value);
	}
	for (int i = 0; i < KNOWN_COUNT; i++)
		Py_CLEAR(w.known[i]);
	PyErr_Clear();
	json->max = max;
}
