/* SPDX-License-Identifier: MIT
 * Purpose: `from IPython.display import display, HTML, ...` where IPython is not
 * installed, and the moment at which matplotlib can be told how to show: a finder.
 * Process: made in the zygote, used in a worker, in the program's imports.
 * Trusts: nothing of the program's.
 * Invariants: the import gate is asked before it, as before any finder; where IPython is
 *   installed that one is found; nothing is imported, and nothing of IPython's is in
 *   sys.modules, until the program asks. */
#include "runtime/display.h"

#include <string.h>

#define DATA_ATTRIBUTE "data"

static struct {
	PyObject *finder, *display, *module_spec;
	PyObject *base; /* DisplayObject */
} have;

/* ---- HTML, Image, ... ---- */

static const struct {
	const char *name, *mime, *method;
} classes[] = {
	{ "HTML", "text/html", "_repr_html_" },
	{ "Markdown", "text/markdown", "_repr_markdown_" },
	{ "Latex", "text/latex", "_repr_latex_" },
	{ "Math", "text/latex", "_repr_latex_" },
	{ "SVG", "image/svg+xml", "_repr_svg_" },
	{ "JSON", "application/json", "_repr_json_" },
	{ "Javascript", "application/javascript", "_repr_javascript_" },
	{ "Image", "image/png", NULL },
	{ "Pretty", "text/plain", NULL },
	{ "Code", "text/plain", NULL },
};

/* The file's bytes, through open(): the gate and the kernel judge it as the program's
 * doing. */
static PyObject *read_file(PyObject *name)
{
	_cleanup_py_ PyObject *io = PyImport_ImportModule("_io");
	_cleanup_py_ PyObject *file = io ? PyObject_CallMethod(io, "open", "Os", name,
							       "rb")
					 : NULL;
	PyObject *data = file ? PyObject_CallMethod(file, "read", "I", DISPLAY_MAX + 1)
			      : NULL;
	PyObject *closed = data ? PyObject_CallMethod(file, "close", NULL) : NULL;

	if (data && !closed)
		Py_CLEAR(data);
	Py_XDECREF(closed);
	return data;
}

static bool is_class(PyObject *self, const char *name)
{
	_cleanup_py_ PyObject *own = PyObject_GetAttrString(self, "_kind");
	bool is = own && PyUnicode_Check(own) &&
		  PyUnicode_CompareWithASCIIString(own, name) == 0;

	PyErr_Clear();
	return is;
}

/* *data: owned, replaced. */
static int load(PyObject *self, PyObject **data, PyObject *filename)
{
	bool binary = is_class(self, "Image");
	PyObject *bytes, *text;

	if (filename == Py_None && binary && PyUnicode_Check(*data))
		filename = *data;
	if (filename == Py_None)
		return 0;
	bytes = read_file(filename);
	if (!bytes)
		return -1;
	if (!binary) {
		text = PyUnicode_FromEncodedObject(bytes, "utf-8", "replace");
		Py_DECREF(bytes);
		bytes = text;
		if (!bytes)
			return -1;
	}
	Py_DECREF(*data);
	*data = bytes;
	return 0;
}

static PyObject *object_init(PyObject *self, PyObject *args, PyObject *keywords)
{
	PyObject *data = Py_None, *filename = NULL, *url = NULL;
	int r;

	if (PyTuple_Size(args) > 0)
		data = PyTuple_GetItem(args, 0);
	else if (keywords && PyDict_GetItemString(keywords, "data"))
		data = PyDict_GetItemString(keywords, "data");
	if (keywords) {
		filename = PyDict_GetItemString(keywords, "filename");
		url = PyDict_GetItemString(keywords, "url");
	}
	if (url && url != Py_None) {
		PyErr_SetString(PyExc_ValueError,
				"url= is not supported here: fetch it and give data=");
		return NULL;
	}
	Py_INCREF(data);
	r = load(self, &data, filename ? filename : Py_None);
	if (r == 0)
		r = PyObject_SetAttrString(self, DATA_ATTRIBUTE, data);
	Py_DECREF(data);
	if (r < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *object_data(PyObject *self, PyObject *unused)
{
	PyObject *data = PyObject_GetAttrString(self, DATA_ATTRIBUTE);
	PyObject *math;

	(void)unused;
	if (!data || !is_class(self, "Math"))
		return data;
	math = PyUnicode_FromFormat("$\\displaystyle %S$", data);
	Py_DECREF(data);
	return math;
}

/* What the first bytes say. */
static const char *image_mime(PyObject *data)
{
	const char *bytes = PyBytes_Check(data) ? PyBytes_AsString(data) : "";
	Py_ssize_t len = PyBytes_Check(data) ? PyBytes_Size(data) : 0;

	if (len > 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
		return "image/jpeg";
	if (len > 6 && memcmp(bytes, "GIF8", 4) == 0)
		return "image/gif";
	if (len > 12 && memcmp(bytes, "RIFF", 4) == 0 &&
	    memcmp(bytes + 8, "WEBP", 4) == 0)
		return "image/webp";
	return "image/png";
}

static PyObject *object_bundle(PyObject *self, PyObject *args, PyObject *keywords)
{
	_cleanup_py_ PyObject *mime = PyObject_GetAttrString(self, "_mime");
	_cleanup_py_ PyObject *data = mime ? object_data(self, NULL) : NULL;
	PyObject *bundle = data ? PyDict_New() : NULL;

	(void)args;
	(void)keywords;
	if (bundle && data != Py_None && is_class(self, "Image")) {
		Py_DECREF(mime);
		mime = PyUnicode_FromString(image_mime(data));
		if (!mime)
			Py_CLEAR(bundle);
	}
	if (bundle && data != Py_None && PyDict_SetItem(bundle, mime, data) < 0)
		Py_CLEAR(bundle);
	return bundle;
}

static PyObject *object_repr(PyObject *self, PyObject *unused)
{
	_cleanup_py_ PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(self),
							     "__name__");

	(void)unused;
	return name ? PyUnicode_FromFormat("<IPython.core.display.%S object>", name)
		    : NULL;
}

static PyMethodDef init_def = { "__init__", (PyCFunction)(void (*)(void))object_init,
				METH_VARARGS | METH_KEYWORDS, NULL };
static PyMethodDef bundle_def = { "_repr_mimebundle_",
				  (PyCFunction)(void (*)(void))object_bundle,
				  METH_VARARGS | METH_KEYWORDS, NULL };
static PyMethodDef repr_def = { "__repr__", object_repr, METH_NOARGS, NULL };

/* type(name, bases, {}) and a method of ours in it. */
static PyObject *new_class(const char *name, PyObject *bases)
{
	return PyObject_CallFunction((PyObject *)&PyType_Type, "sO{ssss}", name, bases,
				     "__module__", "IPython.core.display", "_kind", name);
}

static int set_method(PyObject *type, PyMethodDef *definition)
{
	_cleanup_py_ PyObject *method = PyDescr_NewMethod((PyTypeObject *)type,
							  definition);

	return method ? PyObject_SetAttrString(type, definition->ml_name, method) : -1;
}

static int make_base(void)
{
	_cleanup_py_ PyObject *bases = PyTuple_New(0);

	if (have.base)
		return 0;
	have.base = bases ? new_class("DisplayObject", bases) : NULL;
	if (have.base && set_method(have.base, &init_def) == 0 &&
	    set_method(have.base, &bundle_def) == 0 &&
	    set_method(have.base, &repr_def) == 0)
		return 0;
	Py_CLEAR(have.base);
	return -1;
}

static int add_classes(PyObject *module)
{
	static PyMethodDef data_defs[sizeof(classes) / sizeof(classes[0])];
	_cleanup_py_ PyObject *bases = NULL;

	if (make_base() < 0)
		return -1;
	bases = PyTuple_Pack(1, have.base);
	if (!bases || PyObject_SetAttrString(module, "DisplayObject", have.base) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		_cleanup_py_ PyObject *type = new_class(classes[i].name, bases);
		_cleanup_py_ PyObject *mime = PyUnicode_FromString(classes[i].mime);

		data_defs[i] = (PyMethodDef){ classes[i].method, object_data, METH_NOARGS,
					      NULL };
		if (!type || !mime || PyObject_SetAttrString(type, "_mime", mime) < 0 ||
		    (classes[i].method && set_method(type, &data_defs[i]) < 0) ||
		    PyObject_SetAttrString(module, classes[i].name, type) < 0)
			return -1;
	}
	return 0;
}

/* ---- the modules ---- */

static PyObject *nothing(PyObject *self, PyObject *args, PyObject *keywords)
{
	(void)self;
	(void)args;
	(void)keywords;
	Py_RETURN_NONE;
}

static int add_nothing(PyObject *module, PyMethodDef *definition)
{
	_cleanup_py_ PyObject *function = PyCFunction_NewEx(definition, NULL, NULL);

	return function ? PyObject_SetAttrString(module, definition->ml_name, function)
			: -1;
}

/* Fills a module that was just made for one of the names below. */
static PyObject *exec_module(PyObject *self, PyObject *module)
{
	static PyMethodDef get_ipython = { "get_ipython",
					   (PyCFunction)(void (*)(void))nothing,
					   METH_VARARGS | METH_KEYWORDS, NULL };
	static PyMethodDef clear_output = { "clear_output",
					    (PyCFunction)(void (*)(void))nothing,
					    METH_VARARGS | METH_KEYWORDS, NULL };
	_cleanup_py_ PyObject *name = PyObject_GetAttrString(module, "__name__");
	const char *text = name && PyUnicode_Check(name)
				   ? PyUnicode_AsUTF8AndSize(name, NULL)
				   : NULL;
	_cleanup_py_ PyObject *version = NULL;

	(void)self;
	if (!text)
		return NULL;
	if (strcmp(text, "IPython") == 0) {
		version = Py_BuildValue("(iii)", 8, 0, 0);
		if (!version ||
		    PyObject_SetAttrString(module, "version_info", version) < 0 ||
		    add_nothing(module, &get_ipython) < 0)
			return NULL;
	}
	if (strstr(text, "display") &&
	    (add_classes(module) < 0 || add_nothing(module, &clear_output) < 0 ||
	     PyObject_SetAttrString(module, "display", have.display) < 0))
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *create_module(PyObject *self, PyObject *spec)
{
	(void)self;
	(void)spec;
	Py_RETURN_NONE;
}

/* Some other finder has it. 0, 1, or -1 with exception. */
static int is_installed(PyObject *name)
{
	PyObject *finders = PySys_GetObject("meta_path");
	_cleanup_py_ PyObject *list = finders ? PySequence_List(finders) : NULL;

	for (Py_ssize_t i = 0; list && i < PyList_Size(list); i++) {
		PyObject *finder = PyList_GetItem(list, i);
		_cleanup_py_ PyObject *spec = NULL;

		if (finder == have.finder)
			continue;
		spec = PyObject_CallMethod(finder, "find_spec", "OOO", name, Py_None,
					   Py_None);
		if (!spec)
			return -1;
		if (spec != Py_None)
			return 1;
	}
	return list ? 0 : -1;
}

/* The real one prints text outside of a notebook: where it is used, it shows by ours. */
static void mend_installed(void)
{
	_cleanup_py_ PyObject *functions = PyImport_ImportModule(
		"IPython.core.display_functions");

	if (functions)
		(void)PyObject_SetAttrString(functions, "display", have.display);
	PyErr_Clear();
}

/* Ours has an empty path, a package of files has not. */
static bool is_in_ours(PyObject *path)
{
	return path && PyList_Check(path) && PyList_Size(path) == 0;
}

static PyObject *find_spec(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "fullname", "path", "target", NULL };
	PyObject *name, *path = NULL, *target = NULL;
	const char *text;
	bool top, package;
	int installed;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "U|OO:find_spec", names, &name,
					 &path, &target))
		return NULL;
	text = PyUnicode_AsUTF8AndSize(name, NULL);
	if (!text) {
		PyErr_Clear();
		Py_RETURN_NONE;
	}
	if (strncmp(text, "matplotlib.", 11) == 0)
		figure_patch();
	top = strcmp(text, "IPython") == 0;
	package = top || strcmp(text, "IPython.core") == 0;
	if (!package && strcmp(text, "IPython.display") != 0 &&
	    strcmp(text, "IPython.core.display") != 0)
		Py_RETURN_NONE;
	if (!top && !is_in_ours(path)) {
		if (strcmp(text, "IPython.display") == 0)
			mend_installed();
		Py_RETURN_NONE;
	}
	installed = top ? is_installed(name) : 0;
	if (installed < 0)
		return NULL;
	if (installed)
		Py_RETURN_NONE;
	{
		_cleanup_py_ PyObject *spec_args = PyTuple_Pack(2, name, self);
		_cleanup_py_ PyObject *spec_keywords = Py_BuildValue(
			"{sO}", "is_package", package ? Py_True : Py_False);

		return spec_args && spec_keywords
			       ? PyObject_Call(have.module_spec, spec_args, spec_keywords)
			       : NULL;
	}
}

int ipython_init(PyObject *display)
{
	static PyMethodDef methods[] = {
		{ "find_spec", (PyCFunction)(void (*)(void))find_spec,
		  METH_VARARGS | METH_KEYWORDS, NULL },
		{ "create_module", create_module, METH_O, NULL },
		{ "exec_module", exec_module, METH_O, NULL },
		{ NULL, NULL, 0, NULL },
	};
	static PyType_Slot slots[] = {
		{ Py_tp_methods, methods },
		{ 0, NULL },
	};
	static PyType_Spec spec = {
		.name = "builtins.DisplayFinder",
		.basicsize = sizeof(PyObject),
		.flags = Py_TPFLAGS_DEFAULT,
		.slots = slots,
	};
	_cleanup_py_ PyObject *type = PyType_FromSpec(&spec);
	_cleanup_py_ PyObject *machinery = PyImport_ImportModule("_frozen_importlib");
	PyObject *finders = PySys_GetObject("meta_path");

	have.module_spec = machinery ? PyObject_GetAttrString(machinery, "ModuleSpec")
				     : NULL;
	have.finder = type ? PyObject_CallNoArgs(type) : NULL;
	Py_INCREF(display);
	have.display = display;
	if (!have.module_spec || !have.finder || !finders || !PyList_Check(finders))
		return -1;
	return PyList_Insert(finders, 0, have.finder);
}
