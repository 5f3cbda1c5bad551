/* SPDX-License-Identifier: MIT
 * Purpose: the series of one pair of axes: lines, boxes, bars, histograms, scatters,
 * pies; images and areas as what they are and how large.
 * Process: a worker (display.h, chart.h). Trusts: nothing of the program's objects.
 * Invariants: those of chart.c. */
#include "runtime/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ARTISTS_MAX 2000 /* of a kind, looked at */
#define CORNERS 5        /* points of a box that is drawn as a line */

/* A list of axes.name, of ARTISTS_MAX at most. */
static PyObject *artists(PyObject *axes, const char *name)
{
	_cleanup_py_ PyObject *found = PyObject_GetAttrString(axes, name);
	PyObject *list = found ? PySequence_List(found) : NULL;

	if (list && PyList_Size(list) > ARTISTS_MAX &&
	    PyList_SetSlice(list, ARTISTS_MAX, PyList_Size(list), NULL) < 0)
		Py_CLEAR(list);
	return list;
}

/* ---- lines ---- */

struct line {
	PyObject *artist; /* borrowed of the list */
	int n;            /* -1: more points than are looked at, or no numbers */
	double x[CORNERS], y[CORNERS];
};

static int read_few(PyObject *artist, const char *method, double ret[CORNERS])
{
	_cleanup_py_ PyObject *data = chart_call(artist, method);
	_cleanup_py_ PyObject *array = data ? chart_array(data) : NULL;
	_cleanup_py_ PyObject *list = NULL;
	Py_ssize_t n = array ? PyObject_Size(array) : -1;

	if (n < 0 || n > CORNERS)
		return -1;
	list = chart_list(array, 1);
	for (Py_ssize_t i = 0; list && i < n; i++) {
		ret[i] = PyFloat_AsDouble(PyList_GetItem(list, i));
		if (PyErr_Occurred())
			return -1;
	}
	return list ? (int)n : -1;
}

static int read_line(PyObject *artist, struct line *ret)
{
	int x = read_few(artist, "get_xdata", ret->x);
	int y = x < 0 ? -1 : read_few(artist, "get_ydata", ret->y);

	ret->artist = artist;
	ret->n = x == y ? x : -1;
	if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
		return -1;
	PyErr_Clear();
	return 0;
}

static bool same(double a, double b)
{
	return fabs(a - b) <= 1e-9 * (1 + fabs(a) + fabs(b));
}

/* boxplot() draws, for each box, two whiskers, two caps and a median, each a line of two
 * points, and before them the box where that is no patch. at: the first whisker. */
static bool is_box(const struct line *l, size_t left, bool *ret_upright)
{
	if (left < 5)
		return false;
	for (size_t i = 0; i < 5; i++)
		if (l[i].n != 2)
			return false;
	for (int upright = 1; upright >= 0; upright--) {
		const double *wx = upright ? l[0].x : l[0].y,
			     *low = upright ? l[0].y : l[0].x;
		const double *vx = upright ? l[1].x : l[1].y,
			     *high = upright ? l[1].y : l[1].x;
		const double *cap1 = upright ? l[2].y : l[2].x,
			     *cap2 = upright ? l[3].y : l[3].x,
			     *median = upright ? l[4].y : l[4].x;

		if (same(wx[0], wx[1]) && same(vx[0], vx[1]) && same(wx[0], vx[0]) &&
		    same(cap1[0], cap1[1]) && same(cap1[0], low[1]) &&
		    same(cap2[0], cap2[1]) && same(cap2[0], high[1]) &&
		    same(median[0], median[1]) && low[0] <= median[0] &&
		    median[0] <= high[0]) {
			*ret_upright = upright;
			return true;
		}
	}
	return false;
}

static bool is_rectangle(const struct line *l)
{
	return l->n == CORNERS && same(l->x[0], l->x[4]) && same(l->y[0], l->y[4]);
}

static void put_number(struct chart *c, const char *name, double number)
{
	_cleanup_py_ PyObject *value = PyFloat_FromDouble(number);

	chart_member(c, name);
	if (!value || data_json(c->json, value, 0) < 0)
		json_lit(c->json, "null");
	PyErr_Clear();
}

static bool has_no_line(PyObject *artist)
{
	_cleanup_py_ PyObject *style = chart_call(artist, "get_linestyle");
	bool none = style && PyUnicode_Check(style) &&
		    (PyUnicode_CompareWithASCIIString(style, "None") == 0 ||
		     PyUnicode_CompareWithASCIIString(style, "none") == 0);

	PyErr_Clear();
	return none;
}

/* ,"outliers":[...] */
static int put_outliers(struct chart *c, PyObject *artist, bool upright)
{
	_cleanup_py_ PyObject *data = chart_call(artist,
						 upright ? "get_ydata" : "get_xdata");
	_cleanup_py_ PyObject *array = data ? chart_array(data) : NULL;
	_cleanup_py_ PyObject *list = NULL;
	Py_ssize_t n = array ? PyObject_Size(array) : -1;

	if (n < 0)
		return -1;
	list = chart_list(array, chart_step(c, n));
	return list ? chart_put_list(c, "outliers", list) : -1;
}

/* l: the first whisker; *ret_used: lines that belong to it. */
static int put_box(struct chart *c, const struct line *l, size_t left, bool upright,
		   const struct chart_axis *across, size_t *ret_used)
{
	double place = upright ? l[0].x[0] : l[0].y[0];
	_cleanup_py_ PyObject *number = Py_BuildValue("[d]", place);
	_cleanup_py_ PyObject *names = number ? chart_axis_values(across, number) : NULL;
	size_t used = 5;

	if (!names || !PyList_Check(names))
		return -1;
	*ret_used = used;
	if (chart_begin(c, "box", l[4].artist) < 0)
		return PyErr_Occurred() ? -1 : 0;
	if (chart_put_list(c, upright ? "x" : "y", names) < 0)
		return -1;
	put_number(c, "low", upright ? l[0].y[1] : l[0].x[1]);
	put_number(c, "q1", upright ? l[0].y[0] : l[0].x[0]);
	put_number(c, "median", upright ? l[4].y[0] : l[4].x[0]);
	put_number(c, "q3", upright ? l[1].y[0] : l[1].x[0]);
	put_number(c, "high", upright ? l[1].y[1] : l[1].x[1]);
	(void)chart_step(c, 5);
	if (left > used && has_no_line(l[used].artist)) {
		if (put_outliers(c, l[used].artist, upright) < 0)
			return -1;
		*ret_used = used + 1;
	}
	chart_end(c, 0, 1);
	return 0;
}

/* What artist.method() says is not the axes' own data coordinates: of axhline() and its
 * like one of the two is of the axes, and what contourf() draws has no places. */
static bool is_elsewhere(PyObject *axes, PyObject *artist, const char *method)
{
	_cleanup_py_ PyObject *data = PyObject_GetAttrString(axes, "transData");
	_cleanup_py_ PyObject *own = data ? chart_call(artist, method) : NULL;
	bool other = own && PyObject_RichCompareBool(own, data, Py_EQ) == 0;

	PyErr_Clear();
	return other;
}

/* A whole series of x, y and, where there is one, z; each anything that makes an array. */
static int put_points(struct chart *c, const char *type, PyObject *artist,
		      PyObject *const values[3], const struct chart_axis *const axis[3])
{
	static const char *const names[] = { "x", "y", "z" };
	Py_ssize_t n = -1;
	long long step = 1;
	PyObject *arrays[3] = { NULL, NULL, NULL };
	int r = 0;

	for (int i = 0; r == 0 && i < 3 && values[i]; i++) {
		arrays[i] = chart_array(values[i]);
		n = arrays[i] ? PyObject_Size(arrays[i]) : -1;
		r = n < 0 ? -1 : 0;
	}
	if (r < 0 || n == 0 || chart_begin(c, type, artist) < 0)
		goto out;
	step = chart_step(c, n);
	for (int i = 0; r == 0 && i < 3 && arrays[i]; i++) {
		_cleanup_py_ PyObject *list = chart_list(arrays[i], step);
		_cleanup_py_ PyObject *named = list && axis[i]
						       ? chart_axis_values(axis[i], list)
						       : NULL;

		if (!list || (axis[i] && (!named || !PyList_Check(named))))
			r = -1;
		else
			r = chart_put_list(c, names[i], named ? named : list);
	}
	chart_end(c, n, step);
out:
	for (int i = 0; i < 3; i++)
		Py_XDECREF(arrays[i]);
	return r;
}

/* The parts of (x, y) or (x, y, z). */
static int put_tuple(struct chart *c, const char *type, PyObject *artist, PyObject *parts)
{
	const struct chart_axis *const none[3] = { NULL, NULL, NULL };
	_cleanup_py_ PyObject *tuple = PySequence_Tuple(parts);
	PyObject *values[3] = { NULL, NULL, NULL };
	Py_ssize_t n = tuple ? PyTuple_Size(tuple) : -1;

	if (n < 2 || n > 3)
		return tuple ? 0 : -1;
	for (Py_ssize_t i = 0; i < n; i++)
		values[i] = PyTuple_GetItem(tuple, i);
	return put_points(c, type, artist, values, none);
}

static int put_line(struct chart *c, PyObject *axes, PyObject *artist)
{
	const char *type = has_no_line(artist)                           ? "scatter"
			   : is_elsewhere(axes, artist, "get_transform") ? "reference"
									 : "line";
	_cleanup_py_ PyObject *solid = NULL, *data = NULL;

	if (chart_is_class(artist, "Line3D")) {
		solid = chart_call(artist, "get_data_3d");
		return solid ? put_tuple(c, type, artist, solid) : -1;
	}
	data = chart_call(artist, "get_data");
	return data ? put_tuple(c, type, artist, data) : -1;
}

static int put_lines(struct chart *c, PyObject *axes, const struct chart_axis *x,
		     const struct chart_axis *y)
{
	_cleanup_py_ PyObject *list = artists(axes, "lines");
	size_t count = list ? (size_t)PyList_Size(list) : 0, i, used = 0;
	struct line *lines;
	bool upright;
	int r = 0;

	if (!list)
		return -1;
	lines = calloc(count + 1, sizeof(*lines));
	if (!lines) {
		PyErr_NoMemory();
		return -1;
	}
	for (i = 0; r == 0 && i < count; i++)
		r = read_line(PyList_GetItem(list, (Py_ssize_t)i), &lines[i]);
	for (i = 0; r == 0 && i < count; i += used) {
		const struct line *l = &lines[i];

		used = 1;
		if (is_rectangle(l) && is_box(l + 1, count - i - 1, &upright)) {
			r = put_box(c, l + 1, count - i - 1, upright, upright ? x : y,
				    &used);
			used++;
		} else if (is_box(l, count - i, &upright)) {
			r = put_box(c, l, count - i, upright, upright ? x : y, &used);
		} else {
			r = put_line(c, axes, l->artist);
		}
	}
	free(lines);
	return r;
}

/* ---- bars and histograms ---- */

static bool touch(double end, double from, double width)
{
	return fabs(end - from) <= 1e-6 * width;
}

static int append_double(PyObject *list, double number)
{
	_cleanup_py_ PyObject *value = PyFloat_FromDouble(number);

	return value && !PyErr_Occurred() ? PyList_Append(list, value) : -1;
}

/* Matplotlib does not say which of the two drew them: bins touch each other. */
static bool is_histogram(PyObject *bars, bool upright)
{
	Py_ssize_t n = PyTuple_Size(bars);
	double end = 0, from, width;

	for (Py_ssize_t i = 0; i < n; i++) {
		PyObject *bar = PyTuple_GetItem(bars, i);

		from = chart_number(bar, upright ? "get_x" : "get_y");
		width = chart_number(bar, upright ? "get_width" : "get_height");
		if (PyErr_Occurred() || !(width > 0) || (i && !touch(end, from, width)))
			return false;
		end = from + width;
	}
	return n > 1;
}

/* across: centers of bars, or edges of bins (one more); along: their lengths. */
static int read_bars(PyObject *bars, bool upright, bool edges, long long step,
		     PyObject *across, PyObject *along)
{
	Py_ssize_t n = PyTuple_Size(bars);
	double from = 0, width = 0, length;

	for (Py_ssize_t i = 0; i < n; i += (Py_ssize_t)step) {
		PyObject *bar = PyTuple_GetItem(bars, i);

		from = chart_number(bar, upright ? "get_x" : "get_y");
		if (PyErr_Occurred())
			return -1;
		width = chart_number(bar, upright ? "get_width" : "get_height");
		if (PyErr_Occurred())
			return -1;
		length = chart_number(bar, upright ? "get_height" : "get_width");
		if (append_double(across, edges ? from : from + width / 2) < 0 ||
		    append_double(along, length) < 0)
			return -1;
	}
	return edges && n > 0 ? append_double(across, from + width) : 0;
}

/* hist() names its first bar, bar() the container. */
static PyObject *named_one(PyObject *container, PyObject *bars)
{
	_cleanup_py_ PyObject *label = chart_call(container, "get_label");
	bool named = chart_is_name(label);

	PyErr_Clear();
	return named ? container : PyTuple_GetItem(bars, 0);
}

/* seaborn draws one bar of nan to take its colour from. */
static bool is_nothing(PyObject *bars)
{
	double width = chart_number(PyTuple_GetItem(bars, 0), "get_width");

	PyErr_Clear();
	return PyTuple_Size(bars) == 1 && isnan(width);
}

static int put_bars(struct chart *c, PyObject *container, const struct chart_axis *x,
		    const struct chart_axis *y)
{
	_cleanup_py_ PyObject *bars = PySequence_Tuple(container);
	_cleanup_py_ PyObject *way = PyObject_GetAttrString(container, "orientation");
	_cleanup_py_ PyObject *across = PyList_New(0), *along = PyList_New(0),
			      *names = NULL;
	Py_ssize_t n = bars ? PyTuple_Size(bars) : -1;
	bool upright, histogram;
	long long step;

	PyErr_Clear();
	if (n <= 0 || !across || !along || is_nothing(bars))
		return 0;
	upright = !way || !PyUnicode_Check(way) ||
		  PyUnicode_CompareWithASCIIString(way, "horizontal") != 0;
	histogram = is_histogram(bars, upright);
	if (PyErr_Occurred())
		return -1;
	if (chart_begin(c, histogram ? "histogram" : "bar", named_one(container, bars)) <
	    0)
		return 0;
	step = chart_step(c, n);
	if (read_bars(bars, upright, histogram, step, across, along) < 0)
		return -1;
	names = chart_axis_values(upright ? x : y, across);
	if (!names || !PyList_Check(names) ||
	    chart_put_list(c,
			   histogram ? "edges"
			   : upright ? "x"
				     : "y",
			   names) < 0 ||
	    chart_put_list(c, upright ? "y" : "x", along) < 0)
		return -1;
	chart_end(c, n, step);
	return 0;
}

/* *ret_patches: how many of the axes' patches they hold. */
static int put_containers(struct chart *c, PyObject *axes, const struct chart_axis *x,
			  const struct chart_axis *y, Py_ssize_t *ret_patches)
{
	_cleanup_py_ PyObject *list = artists(axes, "containers");

	*ret_patches = 0;
	for (Py_ssize_t i = 0; list && i < PyList_Size(list); i++) {
		PyObject *container = PyList_GetItem(list, i);

		if (!chart_is_class(container, "BarContainer"))
			continue;
		*ret_patches += PyObject_Size(container);
		if (put_bars(c, container, x, y) < 0)
			return -1;
	}
	return list ? 0 : -1;
}

/* ---- pies ---- */

/* The shares of the whole, in the order in which they were given. */
static int put_pie(struct chart *c, PyObject *axes, Py_ssize_t in_bars)
{
	_cleanup_py_ PyObject *list = artists(axes, "patches"), *names = PyList_New(0),
			      *shares = PyList_New(0);
	Py_ssize_t count = list ? PyList_Size(list) : 0, wedges = 0;

	if (!list || !names || !shares)
		return -1;
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *patch = PyList_GetItem(list, i);
		_cleanup_py_ PyObject *from = NULL, *to = NULL, *label = NULL;
		double share;

		if (!chart_is_class(patch, "Wedge"))
			continue;
		from = PyObject_GetAttrString(patch, "theta1");
		to = from ? PyObject_GetAttrString(patch, "theta2") : NULL;
		label = to ? chart_call(patch, "get_label") : NULL;
		if (!label)
			return -1;
		share = fabs(PyFloat_AsDouble(to) - PyFloat_AsDouble(from)) / 360;
		if (append_double(shares, share) < 0 || PyList_Append(names, label) < 0)
			return -1;
		wedges++;
	}
	if (count - wedges > in_bars)
		c->others += count - wedges - in_bars;
	if (wedges == 0 || chart_begin(c, "pie", axes) < 0)
		return PyErr_Occurred() ? -1 : 0;
	(void)chart_step(c, wedges);
	if (chart_put_list(c, "x", names) < 0 || chart_put_list(c, "y", shares) < 0)
		return -1;
	chart_end(c, wedges, 1);
	return 0;
}

/* ---- scatters, areas, meshes, images ---- */

static int put_scatter(struct chart *c, PyObject *axes, PyObject *artist,
		       const struct chart_axis *x, const struct chart_axis *y)
{
	const struct chart_axis *const both[3] = { x, y, NULL };
	_cleanup_py_ PyObject *offsets = NULL, *turned = NULL, *xs = NULL, *ys = NULL;

	if (is_elsewhere(axes, artist, "get_offset_transform")) {
		c->others++;
		return 0;
	}
	offsets = chart_call(artist, "get_offsets");
	turned = offsets ? PyObject_GetAttrString(offsets, "T") : NULL;
	xs = turned ? PySequence_GetItem(turned, 0) : NULL;
	ys = xs ? PySequence_GetItem(turned, 1) : NULL;
	if (!ys)
		return -1;
	return put_points(c, "scatter", artist, (PyObject *const[3]){ xs, ys, NULL },
			  both);
}

/* {"type","label","shape":[...]} of what get_array() has. */
static int put_shape(struct chart *c, const char *type, PyObject *artist)
{
	_cleanup_py_ PyObject *array = chart_call(artist, "get_array");
	_cleanup_py_ PyObject *shape = NULL, *list = NULL, *size = NULL;
	long long points;

	if (!array)
		return -1;
	if (array == Py_None) {
		c->others++;
		return 0;
	}
	shape = PyObject_GetAttrString(array, "shape");
	list = shape ? PySequence_List(shape) : NULL;
	size = list ? PyObject_GetAttrString(array, "size") : NULL;
	points = size ? PyLong_AsLongLong(size) : -1;
	if (points < 0)
		return -1;
	if (chart_begin(c, type, artist) < 0)
		return 0;
	if (strcmp(type, "mesh") == 0)
		c->points += points; /* each is a path of the SVG */
	if (chart_put_list(c, "shape", list) < 0)
		return -1;
	chart_end(c, 0, 1);
	return 0;
}

static int put_collections(struct chart *c, PyObject *axes, const struct chart_axis *x,
			   const struct chart_axis *y)
{
	_cleanup_py_ PyObject *list = artists(axes, "collections");
	int r = list ? 0 : -1;

	for (Py_ssize_t i = 0; r == 0 && i < PyList_Size(list); i++) {
		PyObject *artist = PyList_GetItem(list, i);
		_cleanup_py_ PyObject *paths = NULL;

		if (chart_is_class(artist, "PathCollection")) {
			r = put_scatter(c, axes, artist, x, y);
			continue;
		}
		if (chart_is_class(artist, "Path3DCollection")) {
			paths = PyObject_GetAttrString(artist, "_offsets3d");
			r = paths ? put_tuple(c, "scatter", artist, paths) : -1;
			continue;
		}
		if (chart_is_class(artist, "QuadMesh")) {
			r = put_shape(c, "mesh", artist);
			continue;
		}
		paths = chart_call(artist, "get_paths");
		c->points += paths ? PyObject_Size(paths) : 0;
		c->others++;
		if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
			return -1;
		PyErr_Clear();
	}
	return r;
}

static int put_images(struct chart *c, PyObject *axes)
{
	_cleanup_py_ PyObject *list = artists(axes, "images");
	int r = list ? 0 : -1;

	for (Py_ssize_t i = 0; r == 0 && i < PyList_Size(list); i++)
		r = put_shape(c, "image", PyList_GetItem(list, i));
	return r;
}

int chart_series(struct chart *c, PyObject *axes, const struct chart_axis *x,
		 const struct chart_axis *y)
{
	Py_ssize_t in_bars;

	if (put_lines(c, axes, x, y) < 0 || put_containers(c, axes, x, y, &in_bars) < 0 ||
	    put_pie(c, axes, in_bars) < 0 || put_collections(c, axes, x, y) < 0)
		return -1;
	return put_images(c, axes);
}
