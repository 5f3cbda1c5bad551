/* SPDX-License-Identifier: MIT
 * The polite refusals: what the policy keeps from a program is refused where it asks,
 * with the field to change.
 *
 * Worker, inside the program's own interpreter. This is no wall. A program that wants to
 * can reach a loaded module through another (random._os), or name its frames like a
 * library's; it then meets the kernel. So a refusal that may be wrong is never made: what
 * cannot be told apart from a library's doing is let through.
 *
 * Who asks is told by frames. Code is the program's if its file is; code made by exec()
 * or eval() ("<string>") belongs to whoever made it; os, pathlib and kin, and where they
 * import what they are told to, importlib, pkgutil and kin, belong to who calls them; all
 * else is a library's, which the policy does not speak of: modules that
 * an allowed one needs are imported, and pandas may open what the kernel lets it.
 *
 * Invariants: the audit hook cannot be removed by Python, and costs a look at an event's
 * name unless the event is one that it judges; every refusal is one event to the engine
 * and an exception that gate_raised() knows. */
#include "runtime/gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FRAMES_MAX 100       /* looked at to find out who asks */
#define LINE_FRAMES_MAX 4096 /* and to find the program's line */
#define PROBE_FRAMES_MAX 12

typedef int audit_hook(const char *event, PyObject *args, void *data);

static struct {
	/* from the zygote */
	PyObject *co_filename, *co_code, *f_back, *f_globals, *f_lasti,
		*name; /* attributes' names */
	PyObject *
		mark; /* an attribute of our exceptions; its value is the policy's field, one of these: */
	PyObject *allow_imports, *allowed_modules, *allow_file_operations,
		*allow_subprocess;
	long import_name; /* the opcode, -1 where unknown */
	/* from the request */
	PyObject *filenames;     /* a set: of the program, or of a session's programs */
	PyObject *import_module; /* importlib's own */
	const char *modules, *files; /* words, each with its NUL */
	size_t modules_len, files_len;
	uint32_t flags;
	bool judging; /* in the hook: what it does itself is not judged */
} gate = { .import_name = -1, .flags = RUN_NETWORK };

bool gate_has_network(void)
{
	return gate.flags & RUN_NETWORK;
}

/* ---- who asks ---- */

enum asker {
	ASKER_PROGRAM,
	ASKER_LIBRARY,
	ASKER_CALLER, /* whoever called this frame */
};

/* What is asked for: other modules are helpers. */
enum asking {
	FOR_A_FILE,
	FOR_A_MODULE,
};

static bool is_programs(PyObject *file)
{
	return gate.filenames && PyUnicode_CheckExact(file) &&
	       PySet_Contains(gate.filenames, file) == 1;
}

/* The frame's module calls itself one of these. */
static bool is_module(PyObject *frame, const char *const *modules)
{
	_cleanup_py_ PyObject *globals = PyObject_GetAttr(frame, gate.f_globals);
	PyObject *name = globals && PyDict_Check(globals)
				 ? PyDict_GetItemWithError(globals, gate.name)
				 : NULL;

	for (; name && PyUnicode_CheckExact(name) && *modules; modules++)
		if (PyUnicode_CompareWithASCIIString(name, *modules) == 0)
			return true;
	return false;
}

static bool is_function(PyObject *frame, const char *name)
{
	_cleanup_py_ PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
	_cleanup_py_ PyObject *own = PyObject_GetAttrString(code, "co_name");

	return own && PyUnicode_CheckExact(own) &&
	       PyUnicode_CompareWithASCIIString(own, name) == 0;
}

/* The standard library's ways to a file: their openings are their caller's. Where
 * tempfile tries directories it takes a refusal for a missing one; what it then makes for
 * the program is refused. */
static bool is_helper(PyObject *frame)
{
	static const char *const helpers[] = {
		"os",        "pathlib", "pathlib._local", "pathlib._abc",
		"io",        "_pyio",   "shutil",         "glob",
		"fileinput", "codecs",  "genericpath",    "posixpath",
		NULL
	};
	static const char *const temporary[] = { "tempfile", NULL };

	return is_module(frame, helpers) || (is_module(frame, temporary) &&
					     !is_function(frame, "_get_default_tempdir"));
}

/* The instruction that the frame is at is an import statement's. Leaves no exception. */
static bool is_at_import(PyObject *frame)
{
	_cleanup_py_ PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
	_cleanup_py_ PyObject *bytes = PyObject_GetAttr(code, gate.co_code);
	_cleanup_py_ PyObject *at = PyObject_GetAttr(frame, gate.f_lasti);
	long offset = at && bytes && PyBytes_Check(bytes) ? PyLong_AsLong(at) : -1;

	PyErr_Clear();
	return gate.import_name >= 0 && offset >= 0 && offset < PyBytes_Size(bytes) &&
	       (unsigned char)PyBytes_AsString(bytes)[offset] == gate.import_name;
}

/* The standard library's ways to a module by its name. What they need for themselves they
 * import by statement. */
static bool is_import_helper(PyObject *frame)
{
	static const char *const helpers[] = {
		"importlib", "importlib.util", "importlib.resources",
		"pkgutil",   "runpy",          "pydoc",
		"imp",       "zipimport",      "unittest.loader",
		NULL
	};

	return is_module(frame, helpers) && !is_at_import(frame);
}

static PyObject *file_of(PyObject *frame)
{
	_cleanup_py_ PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);

	return PyObject_GetAttr(code, gate.co_filename);
}

static enum asker asker_of(PyObject *frame, enum asking asking)
{
	_cleanup_py_ PyObject *file = file_of(frame);

	if (!file || !PyUnicode_Check(file))
		return ASKER_LIBRARY;
	if (is_programs(file))
		return ASKER_PROGRAM;
	/* "<string>", not "<frozen os>" */
	if (PyUnicode_GetLength(file) > 0 && PyUnicode_ReadChar(file, 0) == '<' &&
	    (PyUnicode_GetLength(file) < 2 || PyUnicode_ReadChar(file, 1) != 'f'))
		return ASKER_CALLER;
	return (asking == FOR_A_FILE ? is_helper(frame) : is_import_helper(frame))
		       ? ASKER_CALLER
		       : ASKER_LIBRARY;
}

/* The frame of the program's that asks, or NULL where a library does. Own reference;
 * leaves no exception. */
static PyObject *program_frame(enum asking asking)
{
	PyObject *frame = (PyObject *)PyEval_GetFrame(), *back;
	enum asker asker = ASKER_LIBRARY;

	Py_XINCREF(frame);
	for (int i = 0; frame && frame != Py_None && i < FRAMES_MAX; i++) {
		asker = asker_of(frame, asking);
		if (asker != ASKER_CALLER)
			break;
		back = PyObject_GetAttr(frame, gate.f_back);
		Py_DECREF(frame);
		frame = back;
	}
	PyErr_Clear();
	if (asker == ASKER_PROGRAM)
		return frame;
	Py_XDECREF(frame);
	return NULL;
}

static bool program_asks(enum asking asking)
{
	PyObject *frame = program_frame(asking);

	Py_XDECREF(frame);
	return frame != NULL;
}

long gate_program_line(void)
{
	PyObject *frame = (PyObject *)PyEval_GetFrame(), *back;
	long line = 0;

	if (!gate.filenames)
		return 0;
	Py_XINCREF(frame);
	for (int i = 0; frame && frame != Py_None && i < LINE_FRAMES_MAX; i++) {
		_cleanup_py_ PyObject *file = file_of(frame);

		if (file && is_programs(file)) {
			line = PyFrame_GetLineNumber((PyFrameObject *)frame);
			break;
		}
		back = PyObject_GetAttr(frame, gate.f_back);
		Py_DECREF(frame);
		frame = back;
	}
	Py_XDECREF(frame);
	PyErr_Clear();
	return line > 0 ? line : 0;
}

/* ---- refusing ---- */

/* Raises error, marked as ours. */
static void raise_marked(PyObject *error, PyObject *field)
{
	if (error && PyObject_SetAttr(error, gate.mark, field) == 0)
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
}

bool gate_raised(PyObject *exception)
{
	_cleanup_py_ PyObject *field = gate.mark ? PyObject_GetAttr(exception, gate.mark)
						 : NULL;

	PyErr_Clear();
	/* our own objects, not equal ones */
	return field &&
	       (field == gate.allow_imports || field == gate.allowed_modules ||
		field == gate.allow_file_operations || field == gate.allow_subprocess);
}

static void report(const char *kind, PyObject *subject, PyObject *field, PyObject *remedy)
{
	const char *rule = PyUnicode_AsUTF8AndSize(field, NULL);
	const char *text = remedy ? PyUnicode_AsUTF8AndSize(remedy, NULL) : NULL;

	PyErr_Clear();
	worker_event(kind, subject, rule ? rule : "", gate_program_line(), text);
}

static void refuse_import(PyObject *name, PyObject *top)
{
	PyObject *field = gate.flags & RUN_IMPORTS ? gate.allowed_modules
						   : gate.allow_imports;
	_cleanup_py_ PyObject *remedy = NULL, *message = NULL, *args = NULL,
			      *keywords = NULL, *error = NULL;

	if (field == gate.allowed_modules)
		remedy = PyUnicode_FromFormat("add \"%U\" to allowed_modules", top);
	else
		remedy = PyUnicode_FromString("set allow_imports to true");
	report("import", top, field, remedy);
	if (!remedy)
		return;
	message = PyUnicode_FromFormat(
		"module \"%U\" is not allowed by the policy (%U); %U", top, field,
		remedy);
	args = message ? PyTuple_Pack(1, message) : NULL;
	keywords = args ? Py_BuildValue("{sO}", "name", name) : NULL;
	error = keywords ? PyObject_Call(PyExc_ImportError, args, keywords) : NULL;
	raise_marked(error, field);
}

/* path: what a PermissionError of the kernel would name, or NULL. */
static int refuse_operation(const char *kind, const char *operation, PyObject *path,
			    PyObject *field, bool reported)
{
	_cleanup_py_ PyObject *remedy = PyUnicode_FromFormat("set %U to true", field);
	_cleanup_py_ PyObject *subject = NULL, *message = NULL, *error = NULL;

	if (path && PyUnicode_CheckExact(path)) {
		Py_INCREF(path);
		subject = path;
	} else if (path && PyBytes_CheckExact(path)) {
		subject = PyUnicode_DecodeFSDefaultAndSize(PyBytes_AsString(path),
							   PyBytes_Size(path));
	}
	PyErr_Clear();
	if (reported)
		report(kind, subject, field, remedy);
	if (remedy)
		message = PyUnicode_FromFormat("%s is not allowed by the policy (%U); %U",
					       operation, field, remedy);
	if (message && subject)
		error = PyObject_CallFunction(PyExc_PermissionError, "iOO", EACCES,
					      message, subject);
	else if (message)
		error = PyObject_CallFunction(PyExc_PermissionError, "iO", EACCES,
					      message);
	raise_marked(error, field);
	return -1;
}

/* ---- imports ---- */

/* The first component of a dotted name, NULL with exception. */
static PyObject *top_of(PyObject *name)
{
	Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, PyUnicode_GetLength(name), 1);

	if (dot == -2)
		return NULL;
	return PyUnicode_Substring(name, 0, dot < 0 ? PyUnicode_GetLength(name) : dot);
}

static bool is_listed(const char *module, size_t len)
{
	const char *end = gate.modules + gate.modules_len;

	for (const char *at = gate.modules; at < end; at += strlen(at) + 1)
		if (strcspn(at, ".") == len &&
		    memcmp(at, module, len) == 0) /* a dotted item counts as its top */
			return true;
	return false;
}

/* 0: the program may import name. -1 with exception. */
static int judge_import(PyObject *name)
{
	_cleanup_py_ PyObject *top = top_of(name);
	Py_ssize_t len;
	const char *text = top ? PyUnicode_AsUTF8AndSize(top, &len) : NULL;

	if (!text)
		return -1;
	/* a directive to the compiler, and the program itself */
	if (strcmp(text, "__future__") == 0 || strcmp(text, "__main__") == 0)
		return 0;
	if ((gate.flags & RUN_IMPORTS) && is_listed(text, (size_t)len))
		return 0;
	refuse_import(name, top);
	return -1;
}

/* What a relative import starts from, as CPython finds it: own reference or NULL. */
static PyObject *package_of(PyObject *globals)
{
	_cleanup_py_ PyObject *parent = NULL;
	PyObject *package, *spec;

	if (!globals || !PyDict_Check(globals))
		return NULL;
	package = PyDict_GetItemString(globals, "__package__");
	if (!package || package == Py_None) {
		spec = PyDict_GetItemString(globals, "__spec__");
		parent = spec && spec != Py_None ? PyObject_GetAttrString(spec, "parent")
						 : NULL;
		package = parent ? parent : PyDict_GetItemString(globals, "__name__");
	}
	PyErr_Clear();
	if (!package || !PyUnicode_Check(package))
		return NULL;
	Py_INCREF(package);
	return package;
}

/* builtins.__import__. C code imports through it too, in whatever frame is innermost
 * (time.strptime, pickle): CPython's PyImport_Import() passes an empty list, which no
 * import statement does. */
static PyObject *gate_import(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "name", "globals", "locals", "fromlist", "level", NULL };
	PyObject *name, *globals = NULL, *locals = NULL, *from = NULL;
	_cleanup_py_ PyObject *package = NULL;
	int level = 0;
	bool by_c;

	(void)self;
	if (!PyArg_ParseTupleAndKeywords(args, keywords, "U|OOOi:__import__", names,
					 &name, &globals, &locals, &from, &level))
		return NULL;
	by_c = from && PyList_CheckExact(from) && PyList_Size(from) == 0;
	package = level > 0 ? package_of(globals) : NULL;
	if ((level == 0 || package) && !by_c && program_asks(FOR_A_MODULE) &&
	    judge_import(package ? package : name) < 0)
		return NULL;
	return PyImport_ImportModuleLevelObject(name, globals, locals, from, level);
}

/* importlib.import_module */
static PyObject *gate_import_module(PyObject *self, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "name", "package", NULL };
	PyObject *name, *package = NULL, *asked;

	(void)self;
	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O:import_module", names,
					 &name, &package))
		return NULL;
	asked = name;
	if (PyUnicode_Check(name) && PyUnicode_GetLength(name) > 0 &&
	    PyUnicode_ReadChar(name, 0) == '.')
		asked = package;
	if (asked && PyUnicode_Check(asked) && program_asks(FOR_A_MODULE) &&
	    judge_import(asked) < 0)
		return NULL;
	return PyObject_Call(gate.import_module, args, keywords);
}

/* An import statement of the program's that did not come through gate_import(): it found
 * the original. Cython's modules import from C without it and without a frame of their
 * own, hence the look at the instruction. */
static int judge_import_event(PyObject *args)
{
	PyObject *name = PyTuple_GetItem(args, 0);
	_cleanup_py_ PyObject *frame = gate.import_name >= 0 ? program_frame(FOR_A_MODULE)
							     : NULL;

	if (!frame || !name || !PyUnicode_Check(name) || !is_at_import(frame))
		return 0;
	return judge_import(name);
}

/* ---- the audit hook ---- */

static const struct {
	const char *event;
	enum { FILES, FILES_SQLITE, PROGRAMS } what;
} judged[] = {
	{ "open", FILES },
	{ "os.listdir", FILES },
	{ "os.scandir", FILES },
	{ "os.mkdir", FILES },
	{ "os.remove", FILES },
	{ "os.rename", FILES },
	{ "os.rmdir", FILES },
	{ "os.link", FILES },
	{ "os.symlink", FILES },
	{ "os.truncate", FILES },
	{ "os.chmod", FILES },
	{ "os.chown", FILES },
	{ "os.utime", FILES },
	{ "os.setxattr", FILES },
	{ "os.getxattr", FILES },
	{ "os.listxattr", FILES },
	{ "os.removexattr", FILES },
	{ "sqlite3.connect", FILES_SQLITE },
	{ "subprocess.Popen", PROGRAMS },
	{ "os.system", PROGRAMS },
	{ "os.exec", PROGRAMS },
	{ "os.posix_spawn", PROGRAMS },
	{ "pty.spawn", PROGRAMS },
};

/* zoneinfo opens its files from C, in whatever frame is innermost. */
static bool reads_zone(PyObject *path, PyObject *args)
{
	const char *text = PyUnicode_AsUTF8AndSize(path, NULL);
	PyObject *mode = PyTuple_Size(args) > 1 ? PyTuple_GetItem(args, 1) : NULL;

	return text && strstr(text, "/zoneinfo/") && !strstr(text, "/../") && mode &&
	       PyUnicode_Check(mode) &&
	       (PyUnicode_CompareWithASCIIString(mode, "rb") == 0 ||
		PyUnicode_CompareWithASCIIString(mode, "r") == 0);
}

/* A file that came with the request, opened for reading by the name that it was given, or
 * by its path in /work. The kernel judges it again. */
static bool is_given(PyObject *path, PyObject *args)
{
	_cleanup_py_ PyObject *text = NULL;
	PyObject *mode = PyTuple_Size(args) > 1 ? PyTuple_GetItem(args, 1) : NULL;
	const char *name, *how, *end = gate.files + gate.files_len;

	if (PyBytes_Check(path))
		text = PyUnicode_DecodeFSDefaultAndSize(PyBytes_AsString(path),
							PyBytes_Size(path));
	else
		Py_INCREF(text = path);
	name = text ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
	/* os.open() has no mode; it has flags, of which the access mode is the lowest. */
	if (mode && PyUnicode_Check(mode)) {
		how = PyUnicode_AsUTF8AndSize(mode, NULL);
		if (!how || how[strspn(how, "rbtU")] != '\0')
			return false;
	} else {
		PyObject *flags = PyTuple_Size(args) > 2 ? PyTuple_GetItem(args, 2)
							 : NULL;
		long bits = flags && PyLong_Check(flags) ? PyLong_AsLong(flags) : -1;

		if (bits < 0 || (bits & (O_ACCMODE | O_CREAT | O_TRUNC)) != O_RDONLY)
			return false;
	}
	if (!name)
		return false;
	if (strncmp(name, "/work/", 6) == 0)
		name += 6;
	while (strncmp(name, "./", 2) == 0)
		name += 2;
	for (const char *at = gate.files; at < end; at += strlen(at) + 1)
		if (strcmp(at, name) == 0)
			return true;
	return false;
}

/* A descriptor is open already; the program's own source is read to show its lines. */
static bool is_harmless(PyObject *path, PyObject *args, bool sqlite)
{
	if (!path || PyLong_Check(path))
		return true;
	if (sqlite && PyBytes_Check(path)) /* 3.10 */
		return PyBytes_Size(path) == 0 ||
		       strcmp(PyBytes_AsString(path), ":memory:") == 0;
	if (!PyUnicode_Check(path))
		return false;
	if (sqlite && (PyUnicode_GetLength(path) == 0 ||
		       PyUnicode_CompareWithASCIIString(path, ":memory:") == 0))
		return true;
	return is_programs(path) || reads_zone(path, args);
}

/* These libraries try a program to learn of the machine and do as well without: no denial
 * that anyone would want to read of, or to grant. */
static bool is_probe(void)
{
	static const char *const probes[] = { "platform", "ctypes.util", "uuid",
					      "matplotlib.font_manager", NULL };
	PyObject *frame = (PyObject *)PyEval_GetFrame(), *back;
	bool found = false;

	Py_XINCREF(frame);
	for (int i = 0; frame && frame != Py_None && i < PROBE_FRAMES_MAX && !found;
	     i++) {
		found = is_module(frame, probes);
		back = PyObject_GetAttr(frame, gate.f_back);
		Py_DECREF(frame);
		frame = back;
	}
	Py_XDECREF(frame);
	PyErr_Clear();
	return found;
}

static int judge_event(size_t i, PyObject *args)
{
	PyObject *subject = PyTuple_GetItem(args, 0);
	bool sqlite = judged[i].what == FILES_SQLITE, harmless;

	PyErr_Clear();
	if (judged[i].what == PROGRAMS) {
		if (gate.flags & RUN_SUBPROCESS)
			return 0;
		return refuse_operation("exec", judged[i].event, subject,
					gate.allow_subprocess, !is_probe());
	}
	if (gate.flags & RUN_FILE_OPERATIONS) {
		bool opens = strcmp(judged[i].event, "open") == 0;

		if ((opens || strcmp(judged[i].event, "os.listdir") == 0 ||
		     strcmp(judged[i].event, "os.scandir") == 0) &&
		    subject && program_asks(FOR_A_FILE))
			paths_note(subject, args, opens);
		PyErr_Clear();
		return 0;
	}
	harmless = is_harmless(subject, args, sqlite) ||
		   (strcmp(judged[i].event, "open") == 0 && gate.files_len > 0 &&
		    (PyUnicode_Check(subject) || PyBytes_Check(subject)) &&
		    is_given(subject, args));
	PyErr_Clear();
	if (harmless || !program_asks(FOR_A_FILE))
		return 0;
	return refuse_operation("open", judged[i].event, subject,
				gate.allow_file_operations, true);
}

/* Any thread with the GIL; for every event of the interpreter. -1 with exception
 * refuses. */
static int gate_hook(const char *event, PyObject *args, void *data)
{
	int r = 0;

	(void)data;
	/* "open", "os.*", "import", "s*", "pty.spawn" */
	if ((event[0] != 'o' && event[0] != 'i' && event[0] != 's' && event[0] != 'p') ||
	    gate.judging)
		return 0;
	gate.judging = true;
	if (strcmp(event, "import") == 0) {
		if (gate.import_module)
			r = judge_import_event(args);
	} else {
		for (size_t i = 0; i < sizeof(judged) / sizeof(*judged); i++) {
			if (strcmp(event, judged[i].event) == 0) {
				r = judge_event(i, args);
				break;
			}
		}
	}
	gate.judging = false;
	return r;
}

/* ---- setting it up ---- */

static int intern(PyObject **ret, const char *text)
{
	*ret = PyUnicode_InternFromString(text);
	return *ret ? 0 : -1;
}

/* A str of our own, so that its identity is a mark. */
static int own(PyObject **ret, const char *text)
{
	*ret = PyUnicode_FromString(text);
	return *ret ? 0 : -1;
}

int gate_init(void)
{
	_cleanup_py_ PyObject *opcode = NULL, *map = NULL;
	PyObject *number;

	if (intern(&gate.co_filename, "co_filename") < 0 ||
	    intern(&gate.co_code, "co_code") < 0 || intern(&gate.f_back, "f_back") < 0 ||
	    intern(&gate.f_globals, "f_globals") < 0 ||
	    intern(&gate.f_lasti, "f_lasti") < 0 || intern(&gate.name, "__name__") < 0 ||
	    intern(&gate.mark, "policy_field") < 0 ||
	    own(&gate.allow_imports, "allow_imports") < 0 ||
	    own(&gate.allowed_modules, "allowed_modules") < 0 ||
	    own(&gate.allow_file_operations, "allow_file_operations") < 0 ||
	    own(&gate.allow_subprocess, "allow_subprocess") < 0)
		return -1;
	opcode = PyImport_ImportModule("opcode");
	map = opcode ? PyObject_GetAttrString(opcode, "opmap") : NULL;
	number = map && PyDict_Check(map) ? PyDict_GetItemString(map, "IMPORT_NAME")
					  : NULL;
	if (number)
		gate.import_name = PyLong_AsLong(number);
	PyErr_Clear();
	return 0;
}

static int install_imports(void)
{
	static PyMethodDef import = { "__import__",
				      (PyCFunction)(void (*)(void))gate_import,
				      METH_VARARGS | METH_KEYWORDS, "Import a module." };
	static PyMethodDef import_module = {
		"import_module", (PyCFunction)(void (*)(void))gate_import_module,
		METH_VARARGS | METH_KEYWORDS, "Import a module."
	};
	_cleanup_py_ PyObject *builtins = PyImport_ImportModule("builtins");
	_cleanup_py_ PyObject *importlib = builtins ? PyImport_ImportModule("importlib")
						    : NULL;
	_cleanup_py_ PyObject *name = PyUnicode_FromString("builtins");
	_cleanup_py_ PyObject *own_import = NULL, *own_import_module = NULL;

	if (!importlib || !name)
		return -1;
	gate.import_module = PyObject_GetAttrString(importlib, "import_module");
	own_import = PyCFunction_NewEx(&import, NULL, name);
	own_import_module = PyCFunction_NewEx(&import_module, NULL, name);
	if (!gate.import_module || !own_import || !own_import_module ||
	    PyObject_SetAttrString(builtins, "__import__", own_import) < 0 ||
	    PyObject_SetAttrString(importlib, "import_module", own_import_module) < 0 ||
	    PyObject_SetAttrString(importlib, "__import__", own_import) < 0)
		return -1;
	return 0;
}

int gate_install(const struct program *program)
{
	/* not in the limited API, and exported by every CPython since 3.8 */
	int (*add)(audit_hook *, void *) = NULL;
	const uint32_t all = RUN_FILE_OPERATIONS | RUN_IMPORTS | RUN_SUBPROCESS;
	bool any_module;

	gate.filenames = PySet_New(NULL);
	if (!gate.filenames)
		return -1;
	gate.modules = program->modules;
	gate.modules_len = program->run.modules_len;
	gate.flags = program->run.flags;
	any_module = (gate.flags & RUN_IMPORTS) && is_listed("*", 1);
	if (any_module && (gate.flags & all) == all)
		return 0;
	if (!any_module && install_imports() < 0)
		return -1;
	*(void **)&add = dlsym(RTLD_DEFAULT, "PySys_AddAuditHook");
	if (!add) {
		PyErr_SetString(PyExc_RuntimeError,
				"this interpreter has no audit hooks");
		return -1;
	}
	if (add(gate_hook, NULL) < 0) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_RuntimeError, "an audit hook was refused");
		return -1;
	}
	return 0;
}

int gate_admit(const struct program *program)
{
	gate.files = program->files;
	gate.files_len = program->cell.files_len;
	return PySet_Add(gate.filenames, program->filename);
}
