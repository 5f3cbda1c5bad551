/* SPDX-License-Identifier: MIT
 * Between value.c (the scheme, Python's own types) and value_numpy.c (numpy's and
 * pandas'). Worker, with the GIL; every value is the program's. */
#ifndef SBX_RUNTIME_VALUE_H
#define SBX_RUNTIME_VALUE_H

#include "runtime/json.h"
#include "runtime/runtime.h"

/* Types that live in modules, as the program's sys.modules has them now. */
enum value_known {
	KNOWN_DATETIME,
	KNOWN_DATE,
	KNOWN_TIME,
	KNOWN_TIMEDELTA,
	KNOWN_ZONEINFO,
	KNOWN_DECIMAL,
	KNOWN_FRACTION,
	KNOWN_NDARRAY,
	KNOWN_GENERIC,
	KNOWN_DTYPE,
	KNOWN_FRAME,
	KNOWN_SERIES,
	KNOWN_INDEX,
	KNOWN_RANGE_INDEX,
	KNOWN_MULTI_INDEX,
	KNOWN_TIMESTAMP,
	KNOWN_PANDAS_TIMEDELTA,
	KNOWN_NAT,
	KNOWN_NA,
	KNOWN_COUNT
};

/* json->len goes back in value_put() only. undone counts the bytes that it took back:
 * past VALUE_MAX of them nothing but the repr of the whole is tried, so the work is
 * bounded too. */
struct writer {
	struct json *json;
	PyObject *known[KNOWN_COUNT]; /* owned; NULL where there is none */
	PyObject *above
		[VALUE_DEPTH_MAX]; /* borrowed: the containers being written, outermost first */
	int depth;
	size_t undone;
};

/* What a kind's function answers: written, or not (an exception may be set; what was
 * written is taken back). */
#define PUT_DONE 0
#define PUT_FAILED (-1)

/* Writes value, or its repr where it cannot cross. False: there is no room for either,
 * nothing was written. Never leaves an exception. */
bool value_put(struct writer *w, PyObject *value);
/* The same without the way out: PUT_*. For a part without which the thing around it means
 * nothing. */
int value_put_whole(struct writer *w, PyObject *value);
/* ,"name":value; PUT_*. _new and _whole take a new reference, and NULL with an exception
 * as PUT_FAILED. */
int value_member(struct writer *w, const char *name, PyObject *value);
int value_member_new(struct writer *w, const char *name, PyObject *stolen);
int value_member_whole(struct writer *w, const char *name, PyObject *stolen);
/* {"$type":"type" ; with the class of value where it is a subclass of that type */
void value_tag(struct writer *w, const char *type, PyObject *subclass_of);
/* A str that JSON has, quoted. PUT_FAILED for any other value. */
int value_text(struct writer *w, PyObject *text);

/* value_numpy.c. *ret_mine: the value is of a type known there. */
int value_put_numpy(struct writer *w, PyObject *value, bool *ret_mine);
int value_put_pandas(struct writer *w, PyObject *value, bool *ret_mine);

/* value_repr.c */
PyObject *value_class_name(PyObject *value); /* str; NULL with exception */
/* More than this is written in hexadecimal: decimal takes quadratic time, and CPython
 * refuses it from 640 digits on where the program says so. */
#define VALUE_DECIMAL_BITS 2048
long long value_int_bits(PyObject *integer); /* -1 with exception */

#endif
