/* SPDX-License-Identifier: MIT
 * Purpose: runs packages.py in a zygote: which of the installed packages the template's
 * jails show.
 * Process: the zygote, before it locks itself in. Trusts: the engine's spec; installed
 *   packages' metadata, which can only hide or show packages.
 * Invariants: no name of it stays anywhere; what it answers goes to the engine in memory
 * that nobody changes any more. */
#include "runtime/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

extern const char packages_text[];

static int keep(const char *data, size_t len, struct sbx_err *err)
{
	int fd = memfd_create("sbx-view", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return err_set(err, SBX_AT_ZYGOTE, errno, "memory for the packages");
	r = fd_write_all(fd, data, len);
	if (r == 0 && fcntl(fd, F_ADD_SEALS,
			    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		r = -errno;
	if (r < 0) {
		(void)close(fd);
		return err_set(err, SBX_AT_ZYGOTE, -r, "telling of the packages");
	}
	return fd;
}

int packages_view(const char *spec, struct sbx_err *err)
{
	_cleanup_py_ PyObject *globals = PyDict_New();
	_cleanup_py_ PyObject *code = Py_CompileString(packages_text, "<sandbox>",
						       Py_file_input);
	_cleanup_py_ PyObject *ran = NULL, *records = NULL;
	PyObject *view;
	char *data;
	Py_ssize_t len;

	if (globals && code &&
	    PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0 &&
	    PyDict_SetItemString(globals, "__name__", Py_None) == 0)
		ran = PyEval_EvalCode(code, globals, globals);
	view = ran ? PyDict_GetItemString(globals, "view") : NULL;
	records = view ? PyObject_CallFunction(view, "s", spec) : NULL;
	if (!records || PyBytes_AsStringAndSize(records, &data, &len) < 0)
		return -EINVAL;
	PyDict_Clear(globals); /* functions hold it, and it holds them */
	return keep(data, (size_t)len, err);
}
