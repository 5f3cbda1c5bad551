/* SPDX-License-Identifier: MIT
 * What display.c (bundles, the builtin), display_data.c (values as JSON and frames as
 * data), figure.c, chart.c (matplotlib) and ipython.c (its module's names) share. Worker,
 * with the GIL; every object is the program's.
 *
 * A function that runs code of the program's returns 0, or -1 with an exception that has
 * to pass (KeyboardInterrupt, SystemExit: what is no Exception). Any other was told on
 * stderr, as Jupyter does, and what it was about is left out. */
#ifndef SBX_RUNTIME_DISPLAY_H
#define SBX_RUNTIME_DISPLAY_H

#include "runtime/json.h"
#include "runtime/runtime.h"

#define BUNDLE_MIMES_MAX 32

struct bundle {
	struct json json;
	PyObject *seen; /* dict: the MIME types that it has */
	size_t start;   /* of the member that is being written */
	const char *mime;
};

/* Begins a member. False: it has one of that type, or as many as it may. */
bool bundle_begin(struct bundle *bundle, const char *mime);
/* Ends it; taken back, and told, where it did not fit. */
bool bundle_end(struct bundle *bundle);
void bundle_take_back(struct bundle *bundle);
/* A whole member from what a _repr_*_ or a mime bundle gave. */
int bundle_put(struct bundle *bundle, const char *mime, PyObject *value);
/* A set exception: 0 (told), or -1 (it passes). */
int display_failed(void);
void display_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Builds value's bundle and sends it. *ret_index, where given: its number, -1: left out. */
int display_show(PyObject *value, bool wait, long *ret_index);
/* PyDict_GetItemString(sys.modules, name), owned; NULL without an exception. */
PyObject *display_module(const char *name);

/* ---- display_data.c ---- */
/* Plain JSON, nothing tagged; -1 with exception where it cannot be said. */
int data_json(struct json *json, PyObject *value, int depth);
/* A frame's or series' columns; nothing for any other value. */
int data_put_frame(struct bundle *bundle, PyObject *value);

/* ---- figure.c ---- */
bool figure_is(PyObject *value);
int figure_put(struct bundle *bundle, PyObject *figure);
void figure_shown(PyObject *figure); /* once is enough, until it changes */
/* Every open one but `except`, then closed. */
int figures_show(PyObject *except);
/* Once matplotlib's base of managers is loaded: plt.show() shows. Never raises. */
void figure_patch(void);

/* ---- chart.c ---- */
/* The object of application/vnd.sandbox.chart+json. *ret_points: how many points it has
 * in all, the left out ones too. */
int chart_write(struct json *json, PyObject *figure, long long *ret_points);

/* ---- ipython.c ---- */
/* Puts the finder first in sys.meta_path; display: the builtin. 0 or -1 with
 * exception. */
int ipython_init(PyObject *display);

#endif
