/* SPDX-License-Identifier: MIT
 * Purpose: matplotlib's figures as pictures: at plt.show(), by display(), and every open
 * one at the end, once.
 * Process: a worker (display.h). Matplotlib is spoken to only where the program has
 * imported it (sys.modules), and is never imported here.
 * Trusts: nothing: a figure may fail to draw, or be of any size.
 * Invariants: a picture has at most PIXELS_MAX pixels a side, and its file at most
 *   FILE_MAX bytes while it is written, not after. */
#include "runtime/display.h"

#include <errno.h>
#include <string.h>

#define PIXELS_MAX 4096.0
#define FILE_MAX (4u << 20)
#define SVG_POINTS_MAX \
	20000 /* above it the picture alone: an SVG grows with its points */
#define SVG_MAX (2u << 20)
#define TIGHT_MAX \
	1.6 /* what lies outside is shown up to so many times the figure's size */
#define CHART_MIME "application/vnd.sandbox.chart+json"

/* ---- a file that takes so much and no more ---- */

struct sink {
	PyObject_HEAD struct json bytes;
};

static PyObject *sink_write(PyObject *self, PyObject *data)
{
	struct sink *sink = (struct sink *)self;
	_cleanup_py_ PyObject *bytes = PyBytes_FromObject(data);
	Py_ssize_t len;

	if (PyUnicode_Check(data))
		PyErr_SetString(PyExc_TypeError, "bytes are needed");
	if (!bytes || PyErr_Occurred())
		return NULL;
	len = PyBytes_Size(bytes);
	json_raw(&sink->bytes, PyBytes_AsString(bytes), (size_t)len);
	if (sink->bytes.error == ENOMEM)
		return PyErr_NoMemory();
	if (sink->bytes.error)
		return PyErr_Format(PyExc_ValueError, "the picture is larger than %u MiB",
				    (unsigned)(sink->bytes.max >> 20));
	return PyLong_FromSsize_t(len);
}

static PyObject *sink_flush(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	Py_RETURN_NONE;
}

/* Looked for by matplotlib to know a file, and not used. */
static PyObject *sink_seek(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	PyErr_SetString(PyExc_OSError, "not seekable");
	return NULL;
}

static void sink_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	json_free(&((struct sink *)self)->bytes);
	release(self);
	Py_DECREF(type);
}

static PyObject *sink_new(size_t max)
{
	static PyMethodDef methods[] = {
		{ "write", sink_write, METH_O, NULL },
		{ "flush", sink_flush, METH_NOARGS, NULL },
		{ "seek", sink_seek, METH_VARARGS, NULL },
		{ NULL, NULL, 0, NULL },
	};
	static PyType_Slot slots[] = {
		{ Py_tp_methods, methods },
		{ Py_tp_dealloc, sink_dealloc },
		{ 0, NULL },
	};
	static PyType_Spec spec = {
		.name = "builtins.picture",
		.basicsize = sizeof(struct sink),
		.flags = Py_TPFLAGS_DEFAULT,
		.slots = slots,
	};
	static PyObject *type;
	allocfunc alloc;
	PyObject *self;

	if (!type)
		type = PyType_FromSpec(&spec);
	if (!type)
		return NULL;
	alloc = (allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc);
	self = alloc((PyTypeObject *)type, 0);
	if (self)
		((struct sink *)self)->bytes = (struct json){ .max = max };
	return self;
}

/* ---- a figure ---- */

bool figure_is(PyObject *value)
{
	_cleanup_py_ PyObject *module = display_module("matplotlib.figure");
	_cleanup_py_ PyObject *type = module ? PyObject_GetAttrString(module, "Figure")
					     : NULL;
	bool is = type && PyType_Check(type) &&
		  PyType_IsSubtype(Py_TYPE(value), (PyTypeObject *)type);

	PyErr_Clear();
	return is;
}

static double get_double(PyObject *object, const char *name, double otherwise)
{
	_cleanup_py_ PyObject *found = PyObject_GetAttrString(object, name);
	double number = found ? PyFloat_AsDouble(found) : otherwise;

	if (PyErr_Occurred()) {
		PyErr_Clear();
		return otherwise;
	}
	return number > 0 && number < 1e9 ? number : otherwise;
}

static void get_inches(PyObject *figure, double *ret_width, double *ret_height)
{
	_cleanup_py_ PyObject *box = PyObject_GetAttrString(figure, "bbox_inches");

	PyErr_Clear();
	*ret_width = box ? get_double(box, "width", 6.4) : 6.4;
	*ret_height = box ? get_double(box, "height", 4.8) : 4.8;
}

/* As notebooks do, with what lies outside of the axes, unless something lies so far
 * outside that the picture would be mostly that. */
static bool wants_tight(PyObject *figure, double width, double height)
{
	_cleanup_py_ PyObject *canvas = PyObject_GetAttrString(figure, "canvas");
	_cleanup_py_ PyObject *renderer = canvas ? PyObject_CallMethod(
							   canvas, "get_renderer", NULL)
						 : NULL;
	_cleanup_py_ PyObject *box = renderer ? PyObject_CallMethod(figure,
								    "get_tightbbox", "O",
								    renderer)
					      : NULL;

	return box && get_double(box, "width", 1e9) <= width * TIGHT_MAX &&
	       get_double(box, "height", 1e9) <= height * TIGHT_MAX;
}

static int put_picture(struct bundle *bundle, PyObject *figure, const char *format,
		       double dpi, bool tight)
{
	bool png = strcmp(format, "png") == 0;
	_cleanup_py_ PyObject *sink = sink_new(png ? FILE_MAX : SVG_MAX);
	_cleanup_py_ PyObject *save = PyObject_GetAttrString(figure, "savefig");
	_cleanup_py_ PyObject *args = sink && save ? PyTuple_Pack(1, sink) : NULL;
	_cleanup_py_ PyObject *keywords = args ? Py_BuildValue("{sssd}", "format", format,
							       "dpi", dpi)
					       : NULL;
	_cleanup_py_ PyObject *how = keywords && tight ? PyUnicode_FromString("tight")
						       : NULL;
	_cleanup_py_ PyObject *saved = NULL, *data = NULL;
	const struct json *bytes;

	if (how && PyDict_SetItemString(keywords, "bbox_inches", how) < 0)
		return display_failed();
	saved = keywords ? PyObject_Call(save, args, keywords) : NULL;
	if (!saved)
		return display_failed();
	bytes = &((struct sink *)sink)->bytes;
	data = png ? PyBytes_FromStringAndSize(bytes->data, (Py_ssize_t)bytes->len)
		   : PyUnicode_DecodeUTF8(bytes->data, (Py_ssize_t)bytes->len, "replace");
	if (!data)
		return display_failed();
	return bundle_put(bundle, png ? "image/png" : "image/svg+xml", data);
}

int figure_put(struct bundle *bundle, PyObject *figure)
{
	double width, height, dpi = get_double(figure, "dpi", 100);
	long long points = 0;
	bool tight;
	int r;

	get_inches(figure, &width, &height);
	tight = wants_tight(figure, width, height);
	if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
		return -1;
	PyErr_Clear(); /* the picture itself will tell */
	if (width * dpi > PIXELS_MAX)
		dpi = PIXELS_MAX / width;
	if (height * dpi > PIXELS_MAX)
		dpi = PIXELS_MAX / height;
	r = put_picture(bundle, figure, "png", dpi, tight);
	if (r < 0 || !PyDict_GetItemString(bundle->seen, "image/png"))
		return r;
	if (bundle_begin(bundle, CHART_MIME)) {
		if (chart_write(&bundle->json, figure, &points) < 0) {
			bundle_take_back(bundle);
			if (display_failed() < 0)
				return -1;
		} else {
			(void)bundle_end(bundle);
		}
	}
	if (points > SVG_POINTS_MAX)
		return 0;
	return put_picture(bundle, figure, "svg", dpi, tight);
}

void figure_shown(PyObject *figure)
{
	/* Matplotlib sets it again when something changes. */
	(void)PyObject_SetAttrString(figure, "stale", Py_False);
	(void)PyObject_SetAttrString(figure, "_displayed", Py_True);
	PyErr_Clear();
}

static bool was_shown(PyObject *figure)
{
	_cleanup_py_ PyObject *displayed = PyObject_GetAttrString(figure, "_displayed");
	_cleanup_py_ PyObject *stale = displayed ? PyObject_GetAttrString(figure, "stale")
						 : NULL;
	bool shown = displayed == Py_True && stale == Py_False;

	PyErr_Clear();
	return shown;
}

/* ---- all of them ---- */

/* Shows and closes; `except` stays. */
static int show_manager(PyObject *manager, PyObject *except)
{
	_cleanup_py_ PyObject *canvas = PyObject_GetAttrString(manager, "canvas");
	_cleanup_py_ PyObject *figure = canvas ? PyObject_GetAttrString(canvas, "figure")
					       : NULL;
	_cleanup_py_ PyObject *helpers = display_module("matplotlib._pylab_helpers");
	_cleanup_py_ PyObject *number = NULL, *all = NULL, *closed = NULL;
	int r;

	if (!figure || !helpers)
		return display_failed();
	if (figure == except)
		return 0;
	r = was_shown(figure) ? 0 : display_show(figure, true, NULL);
	if (r < 0)
		return -1;
	number = PyObject_GetAttrString(manager, "num");
	all = number ? PyObject_GetAttrString(helpers, "Gcf") : NULL;
	closed = all ? PyObject_CallMethod(all, "destroy", "O", number) : NULL;
	return closed ? 0 : display_failed();
}

/* In the order of their numbers, which is that of their making. New list. */
static PyObject *open_managers(PyObject *helpers)
{
	_cleanup_py_ PyObject *all = PyObject_GetAttrString(helpers, "Gcf");
	_cleanup_py_ PyObject *managers = all ? PyObject_CallMethod(
							all, "get_all_fig_managers", NULL)
					      : NULL;
	_cleanup_py_ PyObject *list = managers ? PySequence_List(managers) : NULL;
	PyObject *pairs = list ? PyList_New(0) : NULL;

	for (Py_ssize_t i = 0; pairs && i < PyList_Size(list); i++) {
		PyObject *manager = PyList_GetItem(list, i);
		_cleanup_py_ PyObject *number = PyObject_GetAttrString(manager, "num");
		_cleanup_py_ PyObject *pair = number ? Py_BuildValue("OnO", number, i,
								     manager)
						     : NULL;

		if (!pair || PyList_Append(pairs, pair) < 0)
			Py_CLEAR(pairs);
	}
	if (pairs && PyList_Sort(pairs) < 0)
		Py_CLEAR(pairs);
	return pairs;
}

int figures_show(PyObject *except)
{
	_cleanup_py_ PyObject *helpers = display_module("matplotlib._pylab_helpers");
	_cleanup_py_ PyObject *pairs = NULL;

	if (!helpers || !worker_is_self())
		return 0;
	pairs = open_managers(helpers);
	if (!pairs)
		return display_failed();
	for (Py_ssize_t i = 0; i < PyList_Size(pairs); i++)
		if (show_manager(PyTuple_GetItem(PyList_GetItem(pairs, i), 2), except) <
		    0)
			return -1;
	return 0;
}

/* FigureManagerBase.show(self): plt.show() calls it for each open figure, and
 * fig.show(). */
static PyObject *manager_show(PyObject *self, PyObject *unused)
{
	(void)unused;
	if (show_manager(self, NULL) < 0)
		return NULL;
	Py_RETURN_NONE;
}

void figure_patch(void)
{
	static PyMethodDef definition = { "show", manager_show, METH_NOARGS,
					  "show($self, /)\n--\n\nDisplay the figure." };
	static bool patched;
	_cleanup_py_ PyObject *module = NULL, *type = NULL, *method = NULL;

	if (patched)
		return;
	module = display_module("matplotlib.backend_bases");
	type = module ? PyObject_GetAttrString(module, "FigureManagerBase") : NULL;
	if (type && PyType_Check(type))
		method = PyDescr_NewMethod((PyTypeObject *)type, &definition);
	patched = method && PyObject_SetAttrString(type, "show", method) == 0;
	PyErr_Clear();
}
