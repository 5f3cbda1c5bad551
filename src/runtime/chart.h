/* SPDX-License-Identifier: MIT
 * Between chart.c (axes, arrays, writing) and chart_series.c (kinds of series). Worker,
 * with the GIL. Functions that ask objects return -1 or NULL with an exception. */
#ifndef SBX_RUNTIME_CHART_H
#define SBX_RUNTIME_CHART_H

#include "runtime/display.h"

struct chart {
	struct json *json;
	bool first; /* no series of these axes yet */
	bool truncated;
	int series;
	long long written, points; /* of all series: told of, and there */
	long long others;          /* artists of these axes that are no series we know */
};
struct chart_axis {
	bool dates;
	PyObject *places, *texts; /* lists, of ticks that somebody named; or NULL */
};

PyObject *chart_call(PyObject *object, const char *name);
double chart_number(PyObject *object, const char *name); /* look at PyErr_Occurred() */
bool chart_is_class(PyObject *object, const char *name);
bool chart_is_name(PyObject *label); /* a str that somebody gave; label may be NULL */
/* {"type":type,"label":... -1 without an exception: no more of them. */
int chart_begin(struct chart *c, const char *type, PyObject *artist);
void chart_end(struct chart *c, long long count, long long step);
/* Every how-manyth of count points may be told; counts them. */
long long chart_step(struct chart *c, long long count);
void chart_member(struct chart *c, const char *name);
int chart_put_list(struct chart *c, const char *name, PyObject *list);
PyObject *chart_array(PyObject *values);
PyObject *chart_list(PyObject *array, long long step);
int chart_axis_open(PyObject *axes, const char *name, struct chart_axis *ret);
void chart_axis_close(struct chart_axis *axis);
PyObject *chart_axis_values(const struct chart_axis *axis, PyObject *numbers);

/* ---- chart_series.c ---- */
int chart_series(struct chart *c, PyObject *axes, const struct chart_axis *x,
		 const struct chart_axis *y);

#endif
