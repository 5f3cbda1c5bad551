# SPDX-License-Identifier: MIT
"""What of the installed packages a template's jails show, for a set of allowed modules.

Runs once in a zygote, after its preloads and before its first fork, in a namespace that is thrown away (packages.c).
Reads the metadata and the sources of installed packages, never a program. What it answers is checked by the engine and
the jailer, and can only hide.

Shown are the allowed packages and all that they need: by the Requires-Dist of their metadata, and, where a distribution
has removed that (Debian's egg-info) or there is none, by the imports that the sources make when they are imported.
"""
import os
import re
import sys

LINES = re.compile(rb"\n([ \t]*)((?:from|import)[ \t][^\n]*)")
#: What a line without indentation can begin with for those below it to run when the module is imported, and for not.
BLOCKS = (b"\ntry", b"\nif ", b"\nelif ", b"\nelse", b"\nexcept", b"\nfinally", b"\nwith ", b"\nfor ")
BODIES = (b"\ndef ", b"\nclass ", b"\nasync ", b"\n@")
FROM = re.compile(rb"from[ \t]+([A-Za-z_]\w*)")
IMPORT = re.compile(rb"import[ \t]+([^#;\n]*)")
REQUIRES = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?([^;]*);?(.*)", re.S)
EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)")
INFO = (".dist-info", ".egg-info")
#: Tools that sources import to test or to build themselves: nothing that runs needs them, and they need everything.
TOOLS = {"IPython", "Cython", "_distutils_hack", "_pytest", "distutils", "hypothesis", "ipykernel", "ipywidgets", "mypy",
         "nose", "pip", "pkg_resources", "py", "pytest", "setuptools", "sphinx", "wheel"}
#: Directories and files of a package that are not part of its work.
SKIPPED = {"tests", "test", "testing", "__pycache__", "conftest.py", "setup.py"}
FILE_MAX = 4 << 20
FILES_MAX = 20000


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read(FILE_MAX)
    except OSError:
        return b""


def text(path):
    return read(path).decode("utf-8", "replace")


def listing(path):
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def places():
    """The directories of packages on the path, and others of their kind, from which nothing is shown."""
    on_path = []
    for entry in sys.path:
        real = os.path.realpath(entry) if entry else ""
        if not os.path.isdir(real) or real in on_path or os.path.basename(real) == "lib-dynload":
            continue
        if os.path.isfile(os.path.join(real, "os.py")):
            continue  # the standard library
        on_path.append(real)
    others = []
    for prefix in ("/usr", "/usr/local", sys.base_prefix, sys.prefix):
        for lib in ("lib", "lib64"):
            for version in listing(os.path.join(prefix, lib)):
                if not version.startswith("python3"):
                    continue
                for kind in ("site-packages", "dist-packages"):
                    real = os.path.realpath(os.path.join(prefix, lib, version, kind))
                    # A venv's lib64 is its lib, by another mount: the same directory, which is hidden once.
                    if listing(real) and not any(os.path.samefile(real, other) for other in on_path + others):
                        others.append(real)
    return on_path, others


def module_of(entry):
    """The top-level module that a file or directory of a packages' directory is, or None."""
    name = entry.split(".", 1)[0]
    if not name.isidentifier():
        return None
    return name if "." not in entry or entry.endswith((".py", ".pyc", ".so")) else None


class Distribution:
    def __init__(self, place, entry):
        self.place, self.entry = place, entry
        path = os.path.join(place, entry)
        # Debian's and other distributions' own tools take the requirements out of an egg-info.
        self.complete = entry.endswith(".dist-info")
        header = ""
        for name in ("METADATA", "PKG-INFO", ""):
            header = text(os.path.join(path, name) if name else path).split("\n\n", 1)[0].replace("\r", "")
            if header:
                break
        found = re.search(r"^Name:\s*(\S+)", header, re.M)
        self.name = normal(found[1] if found else entry.rsplit(".", 1)[0].split("-")[0])
        self.requires = re.findall(r"^Requires-Dist:(.*)$", header, re.M)
        section = ""
        for line in text(os.path.join(path, "requires.txt")).splitlines():
            line = line.strip()
            if line.startswith("["):
                section = line.strip("[]").split(":")[0]
            elif line:
                self.requires.append(line + (f'; extra == "{section}"' if section else ""))
        self.tops = set(text(os.path.join(path, "top_level.txt")).split())
        self.entries = set()
        for line in text(os.path.join(path, "RECORD")).splitlines():
            top = line.split(",", 1)[0].strip('"').split("/")
            if top[0] and top[0] not in ("..", ".", "__pycache__"):
                self.entries.add(top[0])
        self.entries.discard(entry)
        self.tops.update(filter(None, map(module_of, self.entries)))
        if not self.tops:
            self.tops = {self.name.replace("-", "_")}

    def needs(self, extras):
        for line in self.requires:
            found = REQUIRES.match(line)
            if not found:
                continue
            wanted = EXTRA.findall(found[4])
            if not wanted or any(normal(name) in extras for name in wanted):
                yield normal(found[1]), {normal(name) for name in (found[2] or "").split(",") if name.strip()}


def sources(path):
    if path.endswith(".py"):
        yield path
    for root, directories, files in os.walk(path):
        directories[:] = [name for name in directories if name not in SKIPPED]
        for name in files:
            if name.endswith(".py") and name not in SKIPPED:
                yield os.path.join(root, name)


def names_of(line):
    top = FROM.match(line)
    if top:
        return [top[1].decode()]
    several = IMPORT.match(line)
    return [part.strip().split(b" ")[0].split(b".")[0].decode("utf-8", "replace")
            for part in several[1].split(b",")] if several else []


def imported(path):
    """Top-level names that the sources at path import when they are imported themselves, also if they can do without.
    What functions import late is not looked for: too much of what looks like it is documentation."""
    names = set()
    for count, file in enumerate(sources(path)):
        if count == FILES_MAX:
            break
        data = b"\n" + read(file)
        for found in LINES.finditer(data):
            if found[1]:
                at = found.start()
                if max(data.rfind(head, 0, at) for head in BODIES) >= max(data.rfind(head, 0, at) for head in BLOCKS):
                    continue
            names.update(names_of(found[2]))
    return names - TOOLS


class Shown:
    def __init__(self, on_path):
        self.on_path = on_path
        self.show = {place: set() for place in on_path}
        self.modules = {}  # top-level name: [(place, entry)]
        infos = []
        for place in on_path:
            for entry in listing(place):
                if entry.endswith(INFO):
                    infos.append((place, entry))
                elif module_of(entry):
                    self.modules.setdefault(module_of(entry), []).append((place, entry))
        self.infos = infos
        self.by_name, self.by_module = {}, {}
        self.seen_modules, self.seen = set(), {}

    def load(self):
        for place, entry in self.infos:
            distribution = Distribution(place, entry)
            self.by_name.setdefault(distribution.name, []).append(distribution)
            for top in distribution.tops:
                self.by_module.setdefault(top, []).append(distribution)

    def add_entry(self, place, entry):
        self.show[place].add(entry)
        if entry.endswith(".py"):
            compiled = f"__pycache__/{entry[:-3]}.{sys.implementation.cache_tag}.pyc"
            if os.path.isfile(os.path.join(place, compiled)):
                self.show[place].add(compiled)

    def add_distribution(self, distribution, extras):
        done = self.seen.setdefault((distribution.place, distribution.entry), set())
        if done and extras <= done:
            return
        done.update(extras, {""})
        self.show[distribution.place].add(distribution.entry)
        # auditwheel puts shared libraries beside the package.
        for entry in (*distribution.entries, *(f"{top}.libs" for top in (*distribution.tops, distribution.name))):
            if os.path.lexists(os.path.join(distribution.place, entry)):
                self.add_entry(distribution.place, entry)
        for top in distribution.tops:
            self.add_module(top)
        for name, more in distribution.needs(extras):
            for needed in self.by_name.get(name, ()):
                self.add_distribution(needed, more)

    def add_module(self, name):
        if name in self.seen_modules or name not in self.modules:
            return
        self.seen_modules.add(name)
        owners = self.by_module.get(name, ())
        for place, entry in self.modules[name]:
            self.add_entry(place, entry)
            if not any(owner.complete and entry in owner.entries for owner in owners):
                for other in sorted(imported(os.path.join(place, entry))):
                    self.add_module(other)
        for owner in owners:
            self.add_distribution(owner, set())


def view(spec):
    """spec: "numpy,pandas,!_ctypes,mmap," (src/engine/modules.c). Answers records of "D" and a directory that shows
    only the "+" names after it, or "F" and a file that is not there; a NUL ends each."""
    allowed, hidden = ([name for name in part.split(",") if name] for part in spec.split("!", 1))
    on_path, others = places()
    shown = Shown(on_path)
    allowed = [name for name in allowed if name in shown.modules]
    if allowed:
        shown.load()
        for name in allowed:
            shown.add_module(name)
        # What a package does in its own code cannot be told from here: only what nobody needs is hidden then.
        hidden = [name for name in hidden if name.startswith(("_test", "_xx", "xxlimited", "_ctypes_test"))]
    out = []
    for place in on_path:
        names = {name for name in shown.show[place] if ".." not in name}
        if set(listing(place)) - names:
            out.append("D" + place)
            out += ["+" + name for name in sorted(names)]
    out += ["D" + place for place in others]
    for directory in sys.path:
        for name in listing(directory) if os.path.basename(directory) == "lib-dynload" else ():
            if name.endswith(".so") and name.split(".", 1)[0] in hidden:
                out.append("F" + os.path.join(os.path.realpath(directory), name))
    return b"".join(os.fsencode(record) + b"\0" for record in out)
