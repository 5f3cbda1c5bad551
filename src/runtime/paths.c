/* SPDX-License-Identifier: MIT
 * Purpose: tells of paths that a program asks for and does not get (gate.h): with file
 *   operations on, the walls decide, and their refusal is a bare FileNotFoundError or
 *   PermissionError that names no policy.
 * Process: the worker, before the program's own call; it asks the kernel the same question
 *   first. What it tells is a claim: it decides nothing, and a program that goes another
 *   way is not told of.
 * Trusts: nothing in the path. Never raises. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/gate.h"
#include "runtime/runtime.h"

#define PATH_TEXT_MAX 4096

/* Of open(): a mode as text, or os.open()'s flags in the third place. */
static bool is_writing(PyObject *args)
{
	PyObject *mode = PyTuple_Size(args) > 1 ? PyTuple_GetItem(args, 1) : NULL;
	PyObject *flags = PyTuple_Size(args) > 2 ? PyTuple_GetItem(args, 2) : NULL;
	const char *text = NULL;
	long bits = 0;

	if (mode && PyUnicode_Check(mode))
		text = PyUnicode_AsUTF8AndSize(mode, NULL);
	else if (flags && PyLong_Check(flags))
		bits = PyLong_AsLong(flags);
	PyErr_Clear();
	return text ? strpbrk(text, "wax+") != NULL : (bits & O_ACCMODE) != O_RDONLY;
}

/* Cuts the last part off; false at the top. */
static bool to_parent(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || strcmp(path, "/") == 0)
		return false;
	slash[slash == path] = '\0';
	return true;
}

/* What is missing lies in the bare root, where only what a policy shows has a place; a file
 * that is missing in a directory of the program's, or of /usr, is just not there. */
static bool is_not_shown(const char *path)
{
	char above[PATH_TEXT_MAX];
	struct stat root, st;

	if (strlen(path) >= sizeof(above) || stat("/", &root) < 0)
		return false;
	strcpy(above, path);
	while (to_parent(above))
		if (stat(above, &st) == 0)
			return st.st_dev == root.st_dev;
	return false;
}

/* 0: the kernel would let it; else the errno. */
static int refusal(const char *path, bool writing)
{
	char above[PATH_TEXT_MAX];

	if (faccessat(AT_FDCWD, path, writing ? W_OK : R_OK, AT_EACCESS) == 0)
		return 0;
	if (!writing || errno != ENOENT || strlen(path) >= sizeof(above))
		return errno;
	/* A file to be made. */
	strcpy(above, path);
	if (!to_parent(above) || faccessat(AT_FDCWD, above, W_OK, AT_EACCESS) == 0)
		return 0;
	return errno;
}

void paths_note(PyObject *subject, PyObject *args, bool opens)
{
	_cleanup_py_ PyObject *text = NULL;
	bool writing = opens && is_writing(args);
	char path[PATH_TEXT_MAX], parent[PATH_TEXT_MAX], remedy[PATH_TEXT_MAX + 64];
	const char *name = NULL;
	int r;

	if (PyBytes_Check(subject))
		text = PyUnicode_DecodeFSDefaultAndSize(PyBytes_AsString(subject),
							PyBytes_Size(subject));
	else if (PyUnicode_Check(subject))
		Py_INCREF(text = subject);
	name = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	PyErr_Clear();
	/* Relative ones are below the program's own directory. */
	if (!name || name[0] != '/' || strlen(name) >= sizeof(path))
		return;
	strcpy(path, name);
	r = refusal(path, writing);
	if (r != EACCES && r != EPERM && r != EROFS &&
	    !((r == ENOENT || r == ENOTDIR) && is_not_shown(path)))
		return;
	strcpy(parent, path);
	if (opens)
		(void)to_parent(parent);
	/* What no grant can open gets no remedy. */
	if (strcmp(parent, "/") == 0 || strncmp(path, "/proc/", 6) == 0 ||
	    strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/usr/", 5) == 0)
		remedy[0] = '\0';
	else
		(void)snprintf(remedy, sizeof(remedy),
			       "add \"%s:%s\" to allowed_directories", parent,
			       writing ? "rw" : "ro");
	worker_event(writing ? "write" : "open", text, "allowed_directories",
		     gate_program_line(), remedy[0] ? remedy : NULL);
	PyErr_Clear();
}
