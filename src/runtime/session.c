/* SPDX-License-Identifier: MIT
 * Purpose: what the programs of a session have besides each other's state: In, Out and
 *   the underscores, an event loop for `await` outside of functions; and answers to what
 *   is asked between programs: which variables there are, how a name could go on.
 * Process: a worker with RUN_SESSION.
 * Trusts: nothing: every object is the program's, every answer a claim.
 * Invariants: an answer is bounded in names and in text, and calls no method of a class of
 *   the program's but __dir__; no exception leaves this file but where it says so. */
#include "runtime/runtime.h"

#include <stdio.h>
#include <string.h>

#include "runtime/value.h"

#define KEPT_MAX 1000L /* values in Out, as IPython keeps them */
#define VARIABLES_MAX 500
#define MATCHES_MAX 500
#define PREVIEW_MAX 200u /* bytes */
#define PREVIEW_ITEMS 10
#define PREVIEW_ITEM_MAX 60
#define PATH_MAX_PARTS 16

static struct {
	PyObject *keywords;
	PyObject *inputs, *outputs, *last[3]; /* last: borrowed of nobody, owned */
	PyObject *loop;
	PyObject *getattr_static;
} own;

/* ---- names of a session ---- */

int session_init(void)
{
	_cleanup_py_ PyObject *keyword = PyImport_ImportModule("keyword");

	own.keywords = keyword ? PyObject_GetAttrString(keyword, "kwlist") : NULL;
	return own.keywords && PyList_Check(own.keywords) ? 0 : -1;
}

int session_begin(void)
{
	PyObject *globals = program_globals();
	_cleanup_py_ PyObject *empty = PyUnicode_FromString("");

	own.inputs = empty ? Py_BuildValue("[O]", empty) : NULL;
	own.outputs = PyDict_New();
	if (!own.inputs || !own.outputs ||
	    PyDict_SetItemString(globals, "In", own.inputs) < 0 ||
	    PyDict_SetItemString(globals, "Out", own.outputs) < 0 ||
	    PyDict_SetItemString(globals, "_", empty) < 0 ||
	    PyDict_SetItemString(globals, "__", empty) < 0 ||
	    PyDict_SetItemString(globals, "___", empty) < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		Py_INCREF(own.last[i] = empty);
	return 0;
}

int session_enter(const struct program *program)
{
	PyObject *globals = program_globals();

	if (PyDict_GetItemString(globals, "__result__") &&
	    PyDict_DelItemString(globals, "__result__") < 0)
		PyErr_Clear();
	return PyList_Append(own.inputs, program->source);
}

static void forget_old(long count)
{
	char name[24];
	_cleanup_py_ PyObject *key = PyLong_FromLong(count);

	(void)snprintf(name, sizeof(name), "_%ld", count);
	if (!key || PyDict_DelItem(own.outputs, key) < 0)
		PyErr_Clear();
	if (PyDict_DelItemString(program_globals(), name) < 0)
		PyErr_Clear();
}

void session_leave(const struct program *program, PyObject *value)
{
	static const char *const names[] = { "_", "__", "___" };
	const long count = (long)program->cell.count;
	PyObject *globals = program_globals();
	_cleanup_py_ PyObject *key = PyLong_FromLong(count);
	char name[24];

	if (count > KEPT_MAX)
		forget_old(count - KEPT_MAX);
	if (!value || value == Py_None || value == own.outputs || !key)
		goto out;
	(void)snprintf(name, sizeof(name), "_%ld", count);
	Py_CLEAR(own.last[2]);
	own.last[2] = own.last[1];
	own.last[1] = own.last[0];
	Py_INCREF(own.last[0] = value);
	(void)PyDict_SetItem(own.outputs, key, value);
	(void)PyDict_SetItemString(globals, name, value);
	for (int i = 0; i < 3; i++)
		if (own.last[i])
			(void)PyDict_SetItemString(globals, names[i], own.last[i]);
out:
	PyErr_Clear();
}

/* ---- await ---- */

static PyObject *event_loop(void)
{
	_cleanup_py_ PyObject *closed = own.loop ? PyObject_CallMethod(own.loop,
								       "is_closed", NULL)
						 : NULL;
	_cleanup_py_ PyObject *asyncio = NULL, *set = NULL;

	if (closed && closed == Py_False)
		return own.loop;
	PyErr_Clear();
	Py_CLEAR(own.loop);
	asyncio = PyImport_ImportModule("asyncio");
	own.loop = asyncio ? PyObject_CallMethod(asyncio, "new_event_loop", NULL) : NULL;
	set = own.loop ? PyObject_CallMethod(asyncio, "set_event_loop", "O", own.loop)
		       : NULL;
	if (!set)
		Py_CLEAR(own.loop);
	return own.loop;
}

/* An interrupted program's task would go on in the next one's await. */
static void cancel(PyObject *loop, PyObject *task)
{
	PyObject *type, *value, *trace;
	_cleanup_py_ PyObject *done = NULL, *asked = NULL, *over = NULL;

	PyErr_Fetch(&type, &value, &trace);
	done = PyObject_CallMethod(task, "done", NULL);
	if (done == Py_False) {
		asked = PyObject_CallMethod(task, "cancel", NULL);
		over = asked ? PyObject_CallMethod(loop, "run_until_complete", "O", task)
			     : NULL;
	}
	PyErr_Clear();
	PyErr_Restore(type, value, trace);
}

PyObject *session_await(PyObject *coroutine)
{
	PyObject *loop = event_loop(), *result;
	_cleanup_py_ PyObject *task = loop ? PyObject_CallMethod(loop, "create_task", "O",
								 coroutine)
					   : NULL;

	if (!task)
		return NULL;
	result = PyObject_CallMethod(loop, "run_until_complete", "O", task);
	if (!result)
		cancel(loop, task);
	return result;
}

/* ---- variables ---- */

static bool is_scalar(PyObject *value)
{
	return value == Py_None || PyBool_Check(value) || PyLong_CheckExact(value) ||
	       PyFloat_CheckExact(value) || PyComplex_CheckExact(value) ||
	       PyUnicode_CheckExact(value) || PyBytes_CheckExact(value);
}

static bool is_container(PyObject *value)
{
	return PyList_CheckExact(value) || PyTuple_CheckExact(value) ||
	       PyAnySet_CheckExact(value) || PyDict_CheckExact(value);
}

/* numpy's and pandas' types, by where they say they come from. */
static bool is_array(PyObject *value)
{
	_cleanup_py_ PyObject *from = PyObject_GetAttrString((PyObject *)Py_TYPE(value),
							     "__module__");
	const char *text = from && PyUnicode_Check(from)
				   ? PyUnicode_AsUTF8AndSize(from, NULL)
				   : NULL;

	PyErr_Clear();
	return text &&
	       (strncmp(text, "numpy", 5) == 0 || strncmp(text, "pandas.", 7) == 0);
}

static void add_text(struct json *out, PyObject *text, size_t max)
{
	Py_ssize_t len = 0;
	const char *utf8 = text ? PyUnicode_AsUTF8AndSize(text, &len) : NULL;

	if (!utf8)
		return;
	if ((size_t)len > max) {
		for (len = (Py_ssize_t)max;
		     len > 0 && ((unsigned char)utf8[len] & 0xc0) == 0x80; len--)
			;
		json_raw(out, utf8, (size_t)len);
		json_lit(out, "...");
		return;
	}
	json_raw(out, utf8, (size_t)len);
}

static void add_item(struct json *out, PyObject *value)
{
	_cleanup_py_ PyObject *text = is_scalar(value) ? value_repr(value)
						       : value_class_name(value);

	if (!is_scalar(value))
		json_lit(out, "<");
	add_text(out, text, PREVIEW_ITEM_MAX);
	if (!is_scalar(value))
		json_lit(out, ">");
	PyErr_Clear();
}

static void add_items(struct json *out, PyObject *value)
{
	bool dict = PyDict_CheckExact(value);
	_cleanup_py_ PyObject *iterator = dict ? NULL : PyObject_GetIter(value);
	PyObject *key, *item;
	Py_ssize_t at = 0;
	int count = 0;

	json_lit(out, PyList_CheckExact(value)    ? "["
		      : PyTuple_CheckExact(value) ? "("
						  : "{");
	while (out->len < PREVIEW_MAX) {
		_cleanup_py_ PyObject *held = NULL;

		if (dict) {
			if (!PyDict_Next(value, &at, &key, &item))
				break;
		} else {
			item = held = iterator ? PyIter_Next(iterator) : NULL;
			if (!item)
				break;
		}
		if (count > 0)
			json_lit(out, ", ");
		if (count++ == PREVIEW_ITEMS) {
			json_lit(out, "...");
			break;
		}
		if (dict) {
			add_item(out, key);
			json_lit(out, ": ");
		}
		add_item(out, item);
	}
	json_lit(out, PyList_CheckExact(value)    ? "]"
		      : PyTuple_CheckExact(value) ? ")"
						  : "}");
	PyErr_Clear();
}

static void write_preview(struct json *answer, PyObject *value, bool array)
{
	struct json out = { .max = 4096 };

	if (is_scalar(value)) {
		_cleanup_py_ PyObject *text = value_repr(value);

		add_text(&out, text, PREVIEW_MAX);
	} else if (is_container(value)) {
		add_items(&out, value);
	} else if (array) {
		_cleanup_py_ PyObject *shape = PyObject_GetAttrString(value, "shape");
		_cleanup_py_ PyObject *text = shape && PyTuple_CheckExact(shape)
						      ? value_repr(shape)
						      : NULL;

		if (text) {
			json_lit(&out, "shape ");
			add_text(&out, text, PREVIEW_MAX);
		}
		PyErr_Clear();
	}
	if (out.len > 0 && !out.error)
		json_text_cut(answer, out.data, out.len, PREVIEW_MAX + 64);
	else
		json_lit(answer, "null");
	json_free(&out);
}

static void write_variable(struct json *answer, const char *name, PyObject *value)
{
	_cleanup_py_ PyObject *type = value_class_name(value);
	const char *text = type ? PyUnicode_AsUTF8AndSize(type, NULL) : NULL;
	bool array = is_array(value);
	Py_ssize_t size = -1;

	if (array || is_container(value) || PyUnicode_CheckExact(value) ||
	    PyBytes_CheckExact(value))
		size = PyObject_Size(value);
	PyErr_Clear();
	json_lit(answer, "{\"name\":");
	json_text_cut(answer, name, strlen(name), 256);
	json_lit(answer, ",\"type\":");
	json_text_cut(answer, text ? text : "object", strlen(text ? text : "object"),
		      256);
	json_lit(answer, ",\"size\":");
	if (size >= 0)
		json_long(answer, size);
	else
		json_lit(answer, "null");
	json_lit(answer, ",\"preview\":");
	write_preview(answer, value, array);
	json_lit(answer, "}");
}

static void variables(struct json *answer)
{
	_cleanup_py_ PyObject *globals = PyDict_Copy(program_globals());
	PyObject *key, *value;
	Py_ssize_t at = 0;
	int count = 0;

	json_lit(answer, "{\"variables\":[");
	while (globals && count < VARIABLES_MAX &&
	       PyDict_Next(globals, &at, &key, &value)) {
		const char *name = PyUnicode_CheckExact(key)
					   ? PyUnicode_AsUTF8AndSize(key, NULL)
					   : NULL;

		PyErr_Clear();
		if (!name || name[0] == '_' || value == own.inputs ||
		    value == own.outputs || PyModule_Check(value))
			continue;
		if (count++ > 0)
			json_lit(answer, ",");
		write_variable(answer, name, value);
	}
	json_lit(answer, "]}");
}

/* ---- completion ---- */

static bool goes_on(unsigned char c)
{
	return c == '_' || c == '.' || c >= 0x80 || (c >= '0' && c <= '9') ||
	       (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Adds those of names (any iterable of str) that begin like it. */
static void add_matches(PyObject *matches, PyObject *names, const char *begin)
{
	_cleanup_py_ PyObject *iterator = names ? PyObject_GetIter(names) : NULL;
	size_t len = strlen(begin);

	while (iterator && PySet_Size(matches) < MATCHES_MAX) {
		_cleanup_py_ PyObject *name = PyIter_Next(iterator);
		const char *text;

		if (!name)
			break;
		text = PyUnicode_CheckExact(name) ? PyUnicode_AsUTF8AndSize(name, NULL)
						  : NULL;
		if (text && strlen(text) < 256 && strncmp(text, begin, len) == 0 &&
		    (text[0] != '_' || begin[0] == '_'))
			(void)PySet_Add(matches, name);
		PyErr_Clear();
	}
	PyErr_Clear();
}

/* The object that a dotted path names, as far as that can be told without running any
 * code. New reference or NULL. */
static PyObject *find(char *path)
{
	_cleanup_py_ PyObject *inspect = NULL;
	PyObject *at = NULL, *next;
	char *rest = NULL, *part = strtok_r(path, ".", &rest);

	if (!part)
		return NULL;
	at = PyDict_GetItemString(program_globals(), part);
	if (!at) {
		PyObject *builtins = PyDict_GetItemString(program_globals(),
							  "__builtins__");

		at = builtins && PyModule_Check(builtins)
			     ? PyDict_GetItemString(PyModule_GetDict(builtins), part)
			     : NULL;
	}
	Py_XINCREF(at);
	if (at && !own.getattr_static) {
		inspect = PyImport_ImportModule("inspect");
		own.getattr_static = inspect ? PyObject_GetAttrString(inspect,
								      "getattr_static")
					     : NULL;
	}
	for (int i = 0; at && own.getattr_static && i < PATH_MAX_PARTS; i++) {
		part = strtok_r(NULL, ".", &rest);
		if (!part)
			break;
		next = PyObject_CallFunction(own.getattr_static, "Os", at, part);
		Py_DECREF(at);
		at = next;
	}
	PyErr_Clear();
	return at;
}

static bool is_import(const char *text, size_t len)
{
	while (len > 0 && text[len - 1] != '\n' && text[len - 1] != ';')
		len--;
	text += len;
	text += strspn(text, " \t");
	return strncmp(text, "import ", 7) == 0 || strncmp(text, "from ", 5) == 0;
}

/* begin: what a match replaces the whole of. */
static void find_matches(PyObject *matches, char *path, const char *begin, bool import)
{
	PyObject *globals = program_globals();

	if (path[0]) {
		_cleanup_py_ PyObject *object = find(path);
		_cleanup_py_ PyObject *names = object ? PyObject_Dir(object) : NULL;

		PyErr_Clear();
		add_matches(matches, names, begin);
	} else if (import) {
		add_matches(matches, PySys_GetObject("stdlib_module_names"), begin);
		add_matches(matches, PyImport_GetModuleDict(), begin);
	} else {
		_cleanup_py_ PyObject *copy = PyDict_Copy(globals);
		PyObject *builtins = PyDict_GetItemString(globals, "__builtins__");

		add_matches(matches, copy, begin);
		add_matches(matches, own.keywords, begin);
		if (builtins && PyModule_Check(builtins))
			add_matches(matches, PyModule_GetDict(builtins), begin);
	}
}

static void complete(const char *text, size_t len, struct json *answer)
{
	size_t start = len, last, chars = 0;
	_cleanup_py_ PyObject *matches = PySet_New(NULL);
	_cleanup_py_ PyObject *sorted = NULL;
	char path[1024] = "", begin[256] = "";

	while (start > 0 && goes_on((unsigned char)text[start - 1]))
		start--;
	for (last = len; last > start && text[last - 1] != '.'; last--)
		;
	if (len - last < sizeof(begin) && last - start < sizeof(path)) {
		memcpy(begin, text + last, len - last);
		memcpy(path, text + start, last - start);
	}
	for (size_t i = 0; i < last; i++)
		chars += ((unsigned char)text[i] & 0xc0) != 0x80;
	if (matches)
		find_matches(matches, path, begin, is_import(text, start));
	sorted = matches ? PySequence_List(matches) : NULL;
	if (sorted && PyList_Sort(sorted) < 0)
		PyErr_Clear();
	json_lit(answer, "{\"matches\":[");
	for (Py_ssize_t i = 0; sorted && i < PyList_Size(sorted); i++) {
		const char *name = PyUnicode_AsUTF8AndSize(PyList_GetItem(sorted, i),
							   NULL);

		if (i > 0)
			json_lit(answer, ",");
		json_text(answer, name ? name : "", name ? strlen(name) : 0);
		PyErr_Clear();
	}
	json_lit(answer, "],\"start\":");
	json_long(answer, (long long)chars);
	json_lit(answer, "}");
}

void session_answer(uint32_t what, const char *text, size_t len, struct json *answer)
{
	if (what == ASK_COMPLETE)
		complete(text, len, answer);
	else
		variables(answer);
	PyErr_Clear();
}
