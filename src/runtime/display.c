/* SPDX-License-Identifier: MIT
 * Purpose: what a program shows (docs/displays.md): display(), the value of the last
 * expression, and the bundles {mime: data} that are made of them.
 * Process: a worker, in the program's interpreter and on its side of the wall.
 * Trusts: nothing: an object's methods may raise, print, loop, return anything or be of
 * any size.
 * Invariants: a bundle has at most DISPLAY_MAX bytes, all of a run DISPLAYS_BYTES_MAX and
 *   DISPLAYS_MAX bundles; what is left out is said on stderr; an Exception of the
 *   program's ends here, any other passes. */
#include "runtime/display.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct {
	unsigned count;
	size_t bytes;
	bool full;              /* told */
	long result;            /* index, -1: none */
	PyObject *value, *repr; /* of the last expression, and its repr */
} sent = { .result = -1 };

PyObject *display_module(const char *name)
{
	PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), name);

	if (module == Py_None)
		module = NULL;
	Py_XINCREF(module);
	return module;
}

void display_note(const char *format, ...)
{
	_cleanup_py_ PyObject *text = NULL;
	PyObject *type, *value, *trace;
	char line[400];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	PyErr_Fetch(&type, &value, &trace);
	text = PyUnicode_FromFormat("display: %s\n", line);
	if (text)
		stdio_error_text(text);
	PyErr_Clear();
	PyErr_Restore(type, value, trace);
}

int display_failed(void)
{
	PyObject *type = NULL, *value = NULL, *trace = NULL;
	_cleanup_py_ PyObject *text = NULL;

	if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
		PyErr_Clear();
		return 0;
	}
	if (!PyErr_ExceptionMatches(PyExc_Exception))
		return -1;
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (value && trace)
		(void)PyException_SetTraceback(value, trace);
	PyErr_Clear();
	text = value ? trace_format(value) : NULL;
	PyErr_Clear();
	if (text)
		stdio_error_text(text);
	else
		display_note("an object could not be shown");
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
	PyErr_Clear();
	return 0;
}

/* ---- members ---- */

bool bundle_begin(struct bundle *bundle, const char *mime)
{
	if (PyDict_GetItemString(bundle->seen, mime) ||
	    PyDict_Size(bundle->seen) >= BUNDLE_MIMES_MAX)
		return false;
	bundle->start = bundle->json.len;
	bundle->mime = mime;
	json_lit(&bundle->json, bundle->json.len > 1 ? "," : "");
	json_text(&bundle->json, mime, strlen(mime));
	json_lit(&bundle->json, ":");
	return true;
}

void bundle_take_back(struct bundle *bundle)
{
	bundle->json.len = bundle->start;
	bundle->json.error = 0;
}

bool bundle_end(struct bundle *bundle)
{
	int error = bundle->json.error;

	if (!error && PyDict_SetItemString(bundle->seen, bundle->mime, Py_True) == 0)
		return true;
	PyErr_Clear();
	bundle_take_back(bundle);
	display_note("%.127s is left out: %s", bundle->mime,
		     error == EMSGSIZE ? "it is too large" : "no memory");
	return false;
}

static void put_text(struct bundle *bundle, PyObject *text)
{
	_cleanup_py_ PyObject *bytes = NULL;
	Py_ssize_t len = PyUnicode_GetLength(text);
	const char *utf8;
	char *data;

	if (len > (Py_ssize_t)DISPLAY_MAX) {
		bundle->json.error = EMSGSIZE;
		return;
	}
	utf8 = PyUnicode_AsUTF8AndSize(text, &len);
	if (utf8) {
		json_text(&bundle->json, utf8, (size_t)len);
		return;
	}
	PyErr_Clear();
	bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
	if (bytes && PyBytes_AsStringAndSize(bytes, &data, &len) == 0)
		json_text(&bundle->json, data, (size_t)len);
	else
		bundle->json.error = ENOMEM;
	PyErr_Clear();
}

/* Text is base64 already, lines of it too. */
static void put_base64_text(struct bundle *bundle, PyObject *text)
{
	Py_ssize_t len = PyUnicode_GetLength(text), from = 0, i;
	const char *utf8 = len > 2 * (Py_ssize_t)DISPLAY_MAX
				   ? NULL
				   : PyUnicode_AsUTF8AndSize(text, &len);

	if (!utf8) {
		PyErr_Clear();
		bundle->json.error = EMSGSIZE;
		return;
	}
	json_lit(&bundle->json, "\"");
	for (i = 0; i <= len; i++) {
		if (i < len && (unsigned char)utf8[i] > ' ' && utf8[i] != '"' &&
		    utf8[i] != '\\')
			continue;
		json_raw(&bundle->json, utf8 + from, (size_t)(i - from));
		from = i + 1;
	}
	json_lit(&bundle->json, "\"");
}

static bool ends(const char *text, const char *with)
{
	size_t len = strlen(text), tail = strlen(with);

	return len >= tail && strcmp(text + len - tail, with) == 0;
}

static bool is_binary(const char *mime)
{
	return (strncmp(mime, "image/", 6) == 0 && strcmp(mime, "image/svg+xml") != 0) ||
	       strncmp(mime, "audio/", 6) == 0 || strncmp(mime, "video/", 6) == 0 ||
	       strcmp(mime, "application/pdf") == 0;
}

static int put_value(struct bundle *bundle, const char *mime, PyObject *value)
{
	bool binary = is_binary(mime);

	if (ends(mime, "/json") || ends(mime, "+json"))
		return data_json(&bundle->json, value, 0);
	if (binary && PyBytes_Check(value))
		json_base64(&bundle->json, PyBytes_AsString(value),
			    (size_t)PyBytes_Size(value));
	else if (binary && PyByteArray_Check(value))
		json_base64(&bundle->json, PyByteArray_AsString(value),
			    (size_t)PyByteArray_Size(value));
	else if (binary && PyUnicode_Check(value))
		put_base64_text(bundle, value);
	else if (!binary && PyUnicode_Check(value))
		put_text(bundle, value);
	else {
		_cleanup_py_ PyObject *name = PyObject_GetAttrString(
			(PyObject *)Py_TYPE(value), "__name__");

		if (name)
			PyErr_Format(PyExc_TypeError, "%.127s has to be %s, not %.100S",
				     mime, binary ? "bytes" : "str", name);
		return -1;
	}
	return 0;
}

int bundle_put(struct bundle *bundle, const char *mime, PyObject *value)
{
	if (!bundle_begin(bundle, mime))
		return 0;
	if (put_value(bundle, mime, value) < 0) {
		bundle_take_back(bundle);
		return display_failed();
	}
	(void)bundle_end(bundle);
	return 0;
}

/* ---- an object's own representations ---- */

/* *ret: what the method gives, of (data, metadata) the data; NULL: nothing. */
static int call(PyObject *value, const char *name, PyObject *keywords, PyObject **ret)
{
	_cleanup_py_ PyObject *method = PyObject_GetAttrString(value, name);
	_cleanup_py_ PyObject *none = NULL;
	PyObject *given, *data;

	*ret = NULL;
	if (!method || !PyCallable_Check(method)) {
		if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
			return -1;
		PyErr_Clear();
		return 0;
	}
	none = PyTuple_New(0);
	given = none ? PyObject_Call(method, none, keywords) : NULL;
	if (!given)
		return display_failed();
	if (PyTuple_Check(given) && PyTuple_Size(given) == 2) {
		data = PyTuple_GetItem(given, 0);
		Py_INCREF(data);
		Py_DECREF(given);
		given = data;
	}
	if (given == Py_None)
		Py_CLEAR(given);
	*ret = given;
	return 0;
}

static int put_dict(struct bundle *bundle, PyObject *dict)
{
	_cleanup_py_ PyObject *copy = PyDict_Check(dict) ? PyDict_Copy(dict) : NULL;
	PyObject *key, *value;
	Py_ssize_t at = 0;

	if (!copy) {
		PyErr_Clear();
		display_note("a mime bundle has to be a dict");
		return 0;
	}
	while (PyDict_Next(copy, &at, &key, &value)) {
		_cleanup_py_ PyObject *name = key, *data = value;
		const char *mime;

		Py_INCREF(name);
		Py_INCREF(data);
		mime = PyUnicode_Check(key) ? PyUnicode_AsUTF8AndSize(key, NULL) : NULL;
		PyErr_Clear();
		if (!mime || !strchr(mime, '/') || strlen(mime) > 127) {
			display_note("a key of a mime bundle is no MIME type");
			continue;
		}
		if (value != Py_None && bundle_put(bundle, mime, value) < 0)
			return -1;
	}
	return 0;
}

static int put_mimebundle(struct bundle *bundle, PyObject *value)
{
	_cleanup_py_ PyObject *keywords = Py_BuildValue("{sOsO}", "include", Py_None,
							"exclude", Py_None);
	_cleanup_py_ PyObject *given = NULL;

	if (!keywords || call(value, "_repr_mimebundle_", keywords, &given) < 0)
		return keywords ? -1 : display_failed();
	return given ? put_dict(bundle, given) : 0;
}

static int put_reprs(struct bundle *bundle, PyObject *value)
{
	static const struct {
		const char *method, *mime;
	} all[] = {
		{ "_repr_html_", "text/html" },
		{ "_repr_markdown_", "text/markdown" },
		{ "_repr_latex_", "text/latex" },
		{ "_repr_json_", "application/json" },
		{ "_repr_javascript_", "application/javascript" },
		{ "_repr_svg_", "image/svg+xml" },
		{ "_repr_png_", "image/png" },
		{ "_repr_jpeg_", "image/jpeg" },
		{ "_repr_pdf_", "application/pdf" },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		_cleanup_py_ PyObject *given = NULL;

		if (PyDict_GetItemString(bundle->seen, all[i].mime))
			continue;
		/* PIL's images have both: the picture crosses once. */
		if (strcmp(all[i].mime, "image/jpeg") == 0 &&
		    PyDict_GetItemString(bundle->seen, "image/png"))
			continue;
		if (call(value, all[i].method, NULL, &given) < 0)
			return -1;
		if (given && bundle_put(bundle, all[i].mime, given) < 0)
			return -1;
	}
	return 0;
}

/* What answers to every name (mocks, proxies) has no representation, nor has a class. */
static bool has_methods(PyObject *value)
{
	_cleanup_py_ PyObject *any = NULL;

	if (PyType_Check(value))
		return false;
	any = PyObject_GetAttrString(value, "_ipython_canary_method_should_not_exist_");
	if (!any && PyErr_ExceptionMatches(PyExc_Exception))
		PyErr_Clear();
	return !any && !PyErr_Occurred();
}

static int make(struct bundle *bundle, PyObject *value, PyObject **ret_repr)
{
	bool methods = has_methods(value), figure = false;

	if (PyErr_Occurred())
		return -1;
	figure = methods && figure_is(value);
	if (methods && !figure && put_mimebundle(bundle, value) < 0)
		return -1;
	if (!PyDict_GetItemString(bundle->seen, "text/plain")) {
		*ret_repr = value_repr(value);
		if (!*ret_repr)
			PyErr_Clear();
		else if (bundle_put(bundle, "text/plain", *ret_repr) < 0)
			return -1;
	}
	if (figure)
		return figure_put(bundle, value);
	if (methods &&
	    (put_reprs(bundle, value) < 0 || data_put_frame(bundle, value) < 0))
		return -1;
	return 0;
}

/* ---- sending ---- */

static int flush_streams(void)
{
	static const char *const names[] = { "stdout", "stderr" };

	for (size_t i = 0; i < 2; i++) {
		PyObject *stream = PySys_GetObject(names[i]);
		_cleanup_py_ PyObject *own = stream, *flushed = NULL;

		if (!stream || stream == Py_None) {
			own = NULL;
			continue;
		}
		Py_INCREF(own);
		flushed = PyObject_CallMethod(own, "flush", NULL);
		if (!flushed) {
			if (!PyErr_ExceptionMatches(PyExc_Exception))
				return -1;
			PyErr_Clear();
		}
	}
	(void)fflush(stdout);
	return 0;
}

/* In a process that the program forked nobody listens, nor does anybody to a thread that
 * goes on between a session's programs: the text goes the way of print(). */
static int print_plain(PyObject *repr)
{
	PyObject *stream = PySys_GetObject("stdout");
	_cleanup_py_ PyObject *own = stream;

	if (!stream || stream == Py_None || !repr) {
		own = NULL;
		return 0;
	}
	Py_INCREF(own);
	if (PyFile_WriteObject(repr, own, Py_PRINT_RAW) < 0 ||
	    PyFile_WriteString("\n", own) < 0)
		return display_failed();
	return 0;
}

static int send_bundle(struct bundle *bundle, PyObject *repr, bool wait, long *ret_index)
{
	if (!worker_in_program())
		return print_plain(repr);
	if (flush_streams() < 0)
		return -1;
	if (sent.count >= DISPLAYS_MAX ||
	    bundle->json.len > DISPLAYS_BYTES_MAX - sent.bytes) {
		if (!sent.full)
			display_note("the rest is left out: one run shows at most %u "
				     "objects and %u MiB",
				     DISPLAYS_MAX, DISPLAYS_BYTES_MAX >> 20);
		sent.full = true;
		return 0;
	}
	if (!worker_display(bundle->json.data, bundle->json.len, wait))
		return 0;
	sent.bytes += bundle->json.len;
	if (ret_index)
		*ret_index = (long)sent.count;
	sent.count++;
	return 0;
}

static int show(PyObject *value, bool raw, bool wait, PyObject **ret_repr,
		long *ret_index)
{
	/* one byte for the closing brace */
	struct bundle bundle = { .json = { .max = DISPLAY_MAX - 1 },
				 .seen = PyDict_New() };
	int r;

	if (!bundle.seen)
		return display_failed();
	json_lit(&bundle.json, "{");
	r = raw ? put_dict(&bundle, value) : make(&bundle, value, ret_repr);
	bundle.json.max++;
	json_lit(&bundle.json, "}");
	if (r == 0 && !bundle.json.error && PyDict_Size(bundle.seen) > 0)
		r = send_bundle(&bundle, *ret_repr, wait, ret_index);
	json_free(&bundle.json);
	Py_DECREF(bundle.seen);
	return r;
}

int display_show(PyObject *value, bool wait, long *ret_index)
{
	_cleanup_py_ PyObject *repr = NULL;
	int r = show(value, false, wait, &repr, ret_index);

	if (r == 0 && figure_is(value))
		figure_shown(value);
	return r;
}

/* ---- the builtin ---- */

static PyObject *display(PyObject *self, PyObject *args, PyObject *keywords)
{
	PyObject *raw = keywords ? PyDict_GetItemString(keywords, "raw") : NULL;
	int is_raw = raw ? PyObject_IsTrue(raw) : 0;
	Py_ssize_t count = PyTuple_Size(args), i;

	(void)self;
	if (is_raw < 0)
		return NULL;
	for (i = 0; i < count; i++) {
		PyObject *value = PyTuple_GetItem(args, i);
		_cleanup_py_ PyObject *repr = NULL;

		if (is_raw ? show(value, true, true, &repr, NULL) < 0
			   : display_show(value, true, NULL) < 0)
			return NULL;
	}
	Py_RETURN_NONE;
}

int display_init(void)
{
	static PyMethodDef definition = {
		"display", (PyCFunction)(void (*)(void))display,
		METH_VARARGS | METH_KEYWORDS,
		"display(*objects)\n--\n\n"
		"Show objects beside the text: pictures, tables, figures."
	};
	_cleanup_py_ PyObject *builtins = PyImport_ImportModule("builtins");
	_cleanup_py_ PyObject *name = PyUnicode_FromString("builtins");
	_cleanup_py_ PyObject *function = name ? PyCFunction_NewEx(&definition, NULL,
								   name)
					       : NULL;

	if (!builtins || !function ||
	    PyObject_SetAttrString(builtins, "display", function) < 0 ||
	    ipython_init(function) < 0)
		return -1;
	figure_patch();
	return 0;
}

/* ---- the end ---- */

void display_begin(void)
{
	sent.count = 0;
	sent.bytes = 0;
	sent.full = false;
	sent.result = -1;
	display_forget();
}

void display_forget(void)
{
	Py_CLEAR(sent.value);
	Py_CLEAR(sent.repr);
}

int display_end(PyObject *value)
{
	int r = 0;

	if (figures_show(value) < 0)
		return -1;
	if (!value || value == Py_None)
		return 0;
	r = show(value, false, false, &sent.repr, &sent.result);
	if (r == 0 && figure_is(value)) {
		figure_shown(value);
		r = figures_show(NULL); /* closes it */
	}
	Py_INCREF(value);
	sent.value = value;
	return r;
}

long display_result_index(void)
{
	return sent.result;
}

PyObject *display_repr(PyObject *value)
{
	PyObject *repr = value == sent.value ? sent.repr : NULL;

	Py_XINCREF(repr);
	return repr ? repr : value_repr(value);
}
