/* SPDX-License-Identifier: MIT
 * Purpose: gives a worker's random generators states of its own. All workers of a zygote
 * begin as copies of it.
 * Process: a worker, before any request. Only modules that the template has loaded
 *   already are looked at: one that is imported later seeds itself from the kernel.
 * Trusts: the template's modules.
 * Invariants: a generator that is there and cannot be reseeded ends the worker. */
#include "runtime/runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/err.h"

static int fresh(void *data, size_t len)
{
	return getrandom(data, len, 0) == (ssize_t)len
		       ? 0
		       : -1; /* never short up to 256 bytes, getrandom(2) */
}

/* A loaded module by name: new reference, or NULL without an exception. */
static PyObject *loaded(const char *name)
{
	PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), name);

	if (!module || module == Py_None)
		return NULL;
	Py_INCREF(module);
	return module;
}

/* CPython's own fork hook has seeded `random` by now; seeding it again costs less than
 * knowing whether a preloaded module undid the hook. numpy has no hook. Both take the
 * kernel's entropy when called without arguments. */
static int reseed_by_call(const char *name)
{
	_cleanup_py_ PyObject *module = loaded(name);
	_cleanup_py_ PyObject *done = NULL;

	if (!module)
		return 0;
	done = PyObject_CallMethod(module, "seed", NULL);
	return done ? 0 : -1;
}

/* OpenSSL knows a fork by the change of pid, and every worker has the same one. */
static int reseed_openssl(void)
{
	_cleanup_py_ PyObject *module = loaded("_ssl");
	_cleanup_py_ PyObject *done = NULL;
	char bytes[64];

	if (!module)
		return 0;
	if (fresh(bytes, sizeof(bytes)) < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	done = PyObject_CallMethod(module, "RAND_add", "y#d", bytes,
				   (Py_ssize_t)sizeof(bytes), (double)sizeof(bytes));
	return done ? 0 : -1;
}

/* Its generator of names looks at the pid as well. */
static int reseed_tempfile(void)
{
	_cleanup_py_ PyObject *module = loaded("tempfile");

	return module ? PyObject_SetAttrString(module, "_name_sequence", Py_None) : 0;
}

/* The key by which a program's own processes know each other. */
static int reseed_multiprocessing(void)
{
	_cleanup_py_ PyObject *module = loaded("multiprocessing.process");
	_cleanup_py_ PyObject *process = NULL, *key = NULL;
	char bytes[32];

	if (!module)
		return 0;
	if (fresh(bytes, sizeof(bytes)) < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	process = PyObject_CallMethod(module, "current_process", NULL);
	key = PyBytes_FromStringAndSize(bytes, sizeof(bytes));
	return process && key ? PyObject_SetAttrString(process, "authkey", key) : -1;
}

int reseed_all(struct sbx_err *err)
{
	unsigned seeds[2];
	const char *what;

	if (fresh(seeds, sizeof(seeds)) < 0)
		return err_set(err, SBX_AT_WORKER, errno, "getrandom");
	srandom(seeds[0]);
	srand48((long)seeds[1]);
	if (what = "random", reseed_by_call(what) < 0)
		goto failed;
	if (what = "numpy.random", reseed_by_call(what) < 0)
		goto failed;
	if (what = "ssl", reseed_openssl() < 0)
		goto failed;
	if (what = "tempfile", reseed_tempfile() < 0)
		goto failed;
	if (what = "multiprocessing", reseed_multiprocessing() < 0)
		goto failed;
	return 0;
failed:
	PyErr_Clear();
	return err_set(err, SBX_AT_WORKER, 0,
		       "the generator of %s could not be given a state of its own", what);
}
