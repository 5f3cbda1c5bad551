/* SPDX-License-Identifier: MIT
 * Purpose: the extension module _sbx: one function, which arms the fork server (boot.h).
 * Process: the zygote, as the interpreter starts; from here on everything is C.
 * Trusts: boot.h's line of Python.
 * Invariants: no name of ours stays in sys.modules or in sys once the fork server
 * runs. */
#include "runtime/runtime.h"

#include <string.h>

#define VERSION_MIN 0x030A0000 /* what the limited API was chosen for */

static struct {
	int control_fd;
	PyObject *preload;
	PyObject *module; /* kept: the code of the running hook belongs to it */
} armed;

/* Called by CPython itself, with no frame of Python beneath
 * (pymain_run_interactive_hook). */
static PyObject *interactive_hook(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	if (PySys_SetObject("__interactivehook__", NULL) < 0)
		PyErr_Clear();
	zygote_serve(armed.control_fd, armed.preload);
}

static PyMethodDef hook_def = { "serve", interactive_hook, METH_NOARGS, NULL };

static PyObject *arm(PyObject *self, PyObject *args)
{
	_cleanup_py_ PyObject *hook = NULL;
	PyObject *names, *version = PySys_GetObject("hexversion");
	int fd;

	if (!version || PyLong_AsLong(version) < VERSION_MIN) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_ImportError,
					"Python 3.10 or newer is needed");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "iO!:arm", &fd, &PyList_Type, &names))
		return NULL;
	hook = PyCFunction_NewEx(&hook_def, self, NULL);
	if (!hook || PySys_SetObject("__interactivehook__", hook) < 0)
		return NULL;
	Py_INCREF(self);
	Py_INCREF(names);
	armed.control_fd = fd;
	armed.preload = names;
	armed.module = self;
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{ "arm", arm, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

/* Two-phase: so that _imp.create_dynamic() enters it nowhere. */
static PyModuleDef_Slot slots[] = { { 0, NULL } };

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_sbx",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__sbx(void);

PyMODINIT_FUNC PyInit__sbx(void)
{
	/* Its objects have another layout, which the stable ABI does not cover. */
	if (strstr(Py_GetVersion(), "free-threading")) {
		PyErr_SetString(PyExc_ImportError,
				"free-threaded Pythons are not supported");
		return NULL;
	}
	return PyModuleDef_Init(&definition);
}
