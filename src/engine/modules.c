/* SPDX-License-Identifier: MIT
 * Purpose: from allowed_modules to what a template preloads and shows (modules.h).
 * Process: the engine. Trusts: the policy's checked items.
 * Invariants: a name that may be a third-party package's is never left out of a view; a
 * view says what is allowed, so that what it forgets is hidden. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "engine/modules.h"

/* Modules of the standard library in every version from 3.10 to 3.13: no package of this
 * name is ever found, for the library comes first on the path. Those that `system` below
 * speaks of are not here. In order. */
/* clang-format off */
static const char *const standard[] = {
	"abc", "antigravity", "argparse", "array", "ast", "atexit", "base64", "bdb",
	"binascii", "bisect", "builtins", "bz2", "cProfile", "calendar", "cmath",
	"codecs", "codeop", "collections", "colorsys", "compileall", "configparser",
	"contextlib", "contextvars", "copy", "copyreg", "csv", "dataclasses",
	"datetime", "decimal", "difflib", "dis", "doctest", "email", "encodings",
	"ensurepip", "enum", "errno", "faulthandler", "fcntl", "filecmp", "fileinput",
	"fnmatch", "fractions", "ftplib", "functools", "gc", "genericpath", "getopt",
	"gettext", "glob", "graphlib", "grp", "gzip", "hashlib", "heapq", "hmac",
	"html", "http", "imaplib", "importlib", "inspect", "io", "ipaddress",
	"itertools", "json", "keyword", "linecache", "locale", "logging", "lzma",
	"mailbox", "marshal", "math", "mimetypes", "modulefinder", "msvcrt", "netrc",
	"nt", "ntpath", "nturl2path", "numbers", "opcode", "operator", "optparse",
	"os", "pathlib", "pickle", "pickletools", "pkgutil", "platform", "plistlib",
	"poplib", "posix", "posixpath", "pprint", "profile", "pstats", "pwd",
	"py_compile", "pyclbr", "pydoc", "pydoc_data", "pyexpat", "queue", "quopri",
	"random", "re", "reprlib", "runpy", "sched", "secrets", "select", "selectors",
	"shlex", "shutil", "signal", "site", "smtplib", "socket", "socketserver",
	"sqlite3", "sre_compile", "sre_constants", "sre_parse", "ssl", "stat",
	"statistics", "string", "stringprep", "struct", "subprocess", "symtable",
	"sys", "sysconfig", "tabnanny", "tarfile", "tempfile", "textwrap", "this",
	"threading", "time", "timeit", "token", "tokenize", "trace", "traceback",
	"tracemalloc", "types", "typing", "unicodedata", "unittest", "urllib", "venv",
	"warnings", "wave", "weakref", "webbrowser", "winreg", "winsound", "wsgiref",
	"xml", "xmlrpc", "zipapp", "zipfile", "zipimport", "zlib", "zoneinfo",
};
/* clang-format on */

/* Extension modules that only serve to reach the system, or to test the interpreter from
 * within, with the modules of the standard library that do not work without. They are
 * hidden where they are files and none of these, nor they themselves, are allowed. */
static const struct {
	const char *extension, *users;
} system_reaching[] = {
	{ "_ctypes", "ctypes multiprocessing uuid" },
	{ "_ctypes_test", "" },
	{ "_curses", "curses" },
	{ "_curses_panel", "curses" },
	{ "_crypt", "crypt" },
	{ "_dbm", "dbm shelve" },
	{ "_gdbm", "dbm shelve" },
	{ "_interpchannels", "concurrent" },
	{ "_interpqueues", "concurrent" },
	{ "_interpreters", "concurrent" },
	{ "_multiprocessing", "asyncio concurrent multiprocessing" },
	{ "_posixshmem", "multiprocessing" },
	{ "_testbuffer", "" },
	{ "_testcapi", "" },
	{ "_testclinic", "" },
	{ "_testclinic_limited", "" },
	{ "_testexternalinspection", "" },
	{ "_testimportmultiple", "" },
	{ "_testinternalcapi", "" },
	{ "_testlimitedcapi", "" },
	{ "_testmultiphase", "" },
	{ "_testsinglephase", "" },
	{ "_tkinter", "idlelib tkinter turtle turtledemo" },
	{ "_xxinterpchannels", "concurrent" },
	{ "_xxsubinterpreters", "concurrent" },
	{ "_xxtestfuzz", "" },
	{ "mmap", "multiprocessing" },
	{ "nis", "" },
	{ "ossaudiodev", "" },
	{ "readline", "cmd code pdb rlcompleter" },
	{ "resource", "" },
	{ "spwd", "" },
	{ "syslog", "" },
	{ "termios", "curses getpass pty tty" },
	{ "xxlimited", "" },
	{ "xxlimited_35", "" },
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_standard(const char *name)
{
	return bsearch(&name, standard, sizeof(standard) / sizeof(*standard),
		       sizeof(*standard), compare);
}

bool modules_preloads(const struct sbx_policy *policy, const char *preload)
{
	char name[256];
	size_t len = strlen(preload);

	if (len > 0 && preload[len - 1] == '?')
		len--;
	if (len >= sizeof(name))
		return false;
	memcpy(name, preload, len);
	name[len] = '\0';
	return policy_module_allowed(policy, name);
}

static bool is_needed(const struct sbx_policy *policy, const char *extension,
		      const char *users)
{
	char name[64];

	if (policy_module_allowed(policy, extension))
		return true;
	for (const char *at = users; *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");

		if (len >= sizeof(name))
			return true;
		memcpy(name, at, len);
		name[len] = '\0';
		if (policy_module_allowed(policy, name))
			return true;
		at += len;
	}
	return false;
}

/* The top-level names that may be packages, sorted, each once, behind commas. */
static int add_packages(const struct sbx_policy *policy, struct buf *out)
{
	const struct policy_list *list = &policy->allowed_modules;
	char **names = calloc(list->count + 1, sizeof(*names));
	size_t count = 0;
	int r = names ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && policy->allow_imports && i < list->count; i++) {
		names[count] = strndup(list->items[i], strcspn(list->items[i], "."));
		if (!names[count])
			r = -ENOMEM;
		else if (is_standard(names[count]))
			free(names[count]);
		else
			count++;
	}
	if (count > 1)
		qsort(names, count, sizeof(*names), compare);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (i > 0 && strcmp(names[i], names[i - 1]) == 0)
			continue;
		r = buf_add(out, names[i], strlen(names[i]));
		if (r == 0)
			r = buf_add(out, ",", 1);
	}
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
	return r;
}

int modules_view(const struct sbx_policy *policy, char **ret, struct sbx_err *err)
{
	struct buf out = { 0 };
	int r;

	if (policy_module_allowed(policy, "*")) {
		*ret = NULL;
		return 0;
	}
	r = add_packages(policy, &out);
	if (r == 0)
		r = buf_add(&out, "!", 1);
	for (size_t i = 0;
	     r == 0 && i < sizeof(system_reaching) / sizeof(*system_reaching); i++) {
		const char *extension = system_reaching[i].extension;

		if (is_needed(policy, extension, system_reaching[i].users))
			continue;
		r = buf_add(&out, extension, strlen(extension));
		if (r == 0)
			r = buf_add(&out, ",", 1);
	}
	if (r == 0)
		r = buf_add(&out, "", 1);
	if (r < 0 || out.len > MODULES_VIEW_MAX) {
		buf_free(&out);
		return r < 0 ? err_set(err, SBX_AT_ENGINE, -r, "allowed_modules")
			     : err_set_field(err, SBX_AT_POLICY, 0, "allowed_modules",
					     "allowed_modules: the names of packages "
					     "take more than %u bytes; allow \"*\"",
					     MODULES_VIEW_MAX);
	}
	*ret = out.data;
	return 0;
}
