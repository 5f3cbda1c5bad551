# SPDX-License-Identifier: MIT
"""Ways around an import list, as jail contests collect them (shared/walls.md, lesson 13).

The gate is no wall, and several of these get past it. What is asserted of each is that nothing comes of it: no file of the
host's is read, no program runs, no connection is made, and no system call that the filter records goes without its event.
"""
import socket

import pytest

from runner import have

#: get(name) tries to reach the module of that name; the module is then put to use.
USE = """
SECRET = {secret!r}
PORT = {port}
def use(m):
    try:
        fd = m.open(SECRET, 0); print('read', m.read(fd, 100))
    except BaseException as e: print('open refused', type(e).__name__)
    try: print(m.listdir({place!r}))
    except BaseException as e: print('list refused', type(e).__name__)
    try: m.system('echo EXEC''UTED')
    except BaseException as e: print('system refused', type(e).__name__)
    try:
        pid = m.fork()
        if pid == 0:
            try: m.execv('/bin/echo', ['echo', 'EXEC' 'UTED'])
            except BaseException as e: print('exec refused', type(e).__name__, flush=True)
            m._exit(0)
        m.waitpid(pid, 0)
    except BaseException as e: print('fork refused', type(e).__name__)
def connect(m):
    try:
        s = m.socket(m.AF_INET, m.SOCK_STREAM); print('socket made')
        s.connect(('127.0.0.1', PORT)); print('connected')
    except BaseException as e: print('socket refused', type(e).__name__)
for name, then in (('posix', use), ('_socket', connect)):
    try: m = get(name)
    except BaseException as e: print('stopped', name, type(e).__name__, e)
    else:
        print('got', name, type(m).__name__)
        if m is not None: then(m)
"""

PACK = """
class Pack:
    def __init__(self, names): self.__dict__.update(names)
"""

WAYS = {
    # name: (allowed modules, code, whether the gate itself is expected to stop it)
    "import": ("math", "def get(name):\n    exec('import ' + name)\n    return locals()[name]", True),
    "from_import": ("math", "def get(name):\n    exec('from ' + name + ' import *')\n    return Pack(locals())", True),
    "dunder_import": ("math", "def get(name): return __import__(name)", True),
    "dunder_import_fromlist": ("math", "def get(name): return __import__(name, fromlist=['x'])", True),
    "eval": ("math", "def get(name): return eval('__import__(name)')", True),
    "exec_in_fresh_globals": ("math", "def get(name):\n    g = {}\n    exec('import ' + name, g)\n    return g[name]", True),
    "lambda_in_class": ("math", "class C:\n    get = staticmethod(lambda name: __import__(name))\nget = C.get", True),
    "import_module": ("importlib", "import importlib\ndef get(name): return importlib.import_module(name)", True),
    "importlib_dunder": ("importlib", "import importlib\ndef get(name): return importlib.__import__(name)", True),
    "unicode_name": ("math", "def get(name):\n    exec('import ' + ''.join(chr(0xfee0 + ord(c)) if c.isalpha() else c for c in name))\n"
                             "    return locals()[name]", True),
    "builtins_of_build_class": ("math", "def get(name): return __build_class__.__self__.__import__(name)", True),
    "copyreg": ("math", "def get(name): return (lambda f: f.__globals__['__builtins__']['__import__'])(object().__reduce_ex__(2)[0])(name)", True),
    "generator_frame": ("math", "def get(name):\n    def g(): yield\n    return g().gi_frame.f_builtins['__import__'](name)", True),
    "coroutine_frame": ("math", "def get(name):\n    async def c(): pass\n    k = c()\n    i = k.cr_frame.f_builtins['__import__']\n    k.close()\n    return i(name)", True),
    "traceback_frame": ("math", "def get(name):\n    try: 1 / 0\n    except Exception as e: return e.__traceback__.tb_frame.f_builtins['__import__'](name)", True),
    "monkeypatched_error": ("math", "class Quiet(BaseException): pass\n__builtins__.ImportError = Quiet\n__builtins__.PermissionError = Quiet\n"
                                    "def get(name): return __import__(name)", True),
    "mutated_builtins": ("math", "def get(name):\n    for key in ('__import__',): __builtins__.__dict__.pop(key)\n    exec('import ' + name)\n    return locals()[name]", False),
    "thread": ("threading", "import threading\ndef get(name):\n    out = []\n    t = threading.Thread(target=lambda: out.append(__import__(name)))\n"
                            "    threading.excepthook = lambda a: out.append(a.exc_value)\n    t.start(); t.join()\n"
                            "    if isinstance(out[0], BaseException): raise out[0]\n    return out[0]", True),
    "resolve_name": ("pkgutil", "import pkgutil\ndef get(name): return pkgutil.resolve_name(name)", True),
    "wrap_close": ("math", "def get(name):\n    c = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]\n"
                           "    g = c.__init__.__globals__\n    return Pack(g) if name == 'posix' else g['sys'].modules[name]", False),
    "builtin_importer": ("math", "def get(name):\n    c = [c for c in object.__subclasses__() if c.__name__ == 'BuiltinImporter'][0]\n    return c.load_module(name)", False),
    "loader_of_math": ("math", "import math\ndef get(name): return (math.__loader__ or math.__spec__.loader).load_module(name)", False),
    "spec_of_builtins": ("math", "def get(name): return __builtins__.__spec__.loader.load_module(name)", False),
    "frozen_bootstrap": ("math", "def get(name): return __builtins__.__spec__.__init__.__globals__['_gcd_import'](name)", False),
    "random_os": ("random", "import random\ndef get(name): return random._os if name == 'posix' else random._os.sys.modules[name]", False),
    "random_dict": ("random", "import random\ndef get(name): return random.__dict__['_os'] if name == 'posix' else random.__dict__['_os'].__dict__['sys'].modules[name]", False),
    "help": ("math", "def get(name): return type(help).__repr__.__globals__['sys'].modules[name]", False),
    "license": ("math", "def get(name): return license._Printer__setup.__globals__['sys'].modules[name]", False),
    "help_called": ("math", "def get(name):\n    help('modules')\n    return None", False),
    "breakpoint": ("math", "def get(name):\n    breakpoint()\n    return None", False),
    "codec": ("codecs", "import codecs\ndef get(name): return codecs.builtins.__import__(name) if name == 'posix' else codecs.sys.modules[name]", False),
    "pickle": ("pickle", "import pickle\ndef get(name):\n    class R:\n        def __reduce__(self): return (__builtins__.__import__, (name,))\n"
                         "    return pickle.loads(b'c' + name.encode() + b'\\n' + (b'__dict__' if 0 else b'__doc__') + b'\\n.') and pickle.sys.modules[name]", False),
    "pickle_system": ("pickle", "import pickle\ndef get(name):\n    pickle.loads(b\"cposix\\nsystem\\n(S'echo EXEC'\\ntR.\")\n    return None", False),
    "gc": ("gc", "import gc\ndef get(name): return [o for o in gc.get_objects() if type(o).__name__ == 'module' and o.__name__ == name][0]", False),
    "sys_modules": ("sys", "import sys\ndef get(name): return sys.modules[name]", False),
    "settrace": ("sys", "import sys\ndef get(name):\n    seen = []\n    def tracer(frame, event, arg):\n        seen.append(frame.f_globals.get('sys'))\n        return tracer\n"
                        "    sys.settrace(tracer)\n    try: import sys as again; type(help).__repr__(help)\n    finally: sys.settrace(None)\n"
                        "    return [s for s in seen if s][0].modules[name]", False),
    "audit_hook": ("sys", "import sys\ndef get(name):\n    def hook(event, args): raise RuntimeError('no hooks any more')\n"
                          "    try: sys.addaudithook(hook)\n    except BaseException: pass\n    return __import__(name)", True),
    "recursion_in_the_hook": ("sys", "import sys\ndef get(name):\n    def deep(n):\n        try: return __import__(name)\n        except RecursionError: raise\n"
                                     "        except ImportError: return deep(n + 1)\n    return deep(0)", True),
    "code_of_a_library": ("types", "import types\ndef f(name): return __import__(name)\n"
                                   "g = types.FunctionType(f.__code__.replace(co_filename='/usr/lib/python3/os.py'), globals())\ndef get(name): return g(name)", False),
    "compiled_as_a_library": ("math", "def get(name):\n    n = {}\n    exec(compile('import ' + name, '/usr/lib/python3.11/os.py', 'exec'), n)\n    return n[name]", False),
    "machinery": ("importlib", "import importlib.machinery\ndef get(name): return importlib.machinery.BuiltinImporter.load_module(name)", False),
    "spec_and_exec": ("importlib", "import importlib.util\ndef get(name):\n    s = importlib.util.find_spec(name)\n    m = importlib.util.module_from_spec(s)\n    s.loader.exec_module(m)\n    return m", False),
    "source_loader": ("importlib", "import importlib.util, importlib.machinery\ndef get(name):\n    l = importlib.machinery.SourceFileLoader('o', '/usr/lib/python3.11/os.py')\n"
                                   "    m = importlib.util.module_from_spec(importlib.util.spec_from_loader('o', l))\n    l.exec_module(m)\n    return m if name == 'posix' else m.sys.modules[name]", False),
    "runpy": ("runpy", "import runpy\ndef get(name):\n    d = runpy.run_module('os')\n    return Pack(d) if name == 'posix' else d['sys'].modules[name]", False),
    "zipimport": ("zipimport", "import zipimport\ndef get(name): return zipimport.sys.modules[name]", False),
    "wrapped_in_str_format": ("random", "import random\ndef get(name):\n    print('{0._os.environ}'.format(random))\n    return random._os if name == 'posix' else None", False),
    "at_the_end": ("random", "import random\nclass Last:\n    def __del__(self, o=random._os, p=print):\n        try: p(o.listdir('/'))\n        except BaseException as e: p('list refused')\nlast = Last()\ndef get(name): return None", False),
}


class Listener:
    """A server of the host's that nothing in a jail may reach."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        return self

    def __exit__(self, *unused):
        self.socket.close()

    @property
    def port(self) -> int:
        return self.socket.getsockname()[1]

    def reached(self) -> bool:
        try:
            self.socket.accept()
            return True
        except TimeoutError:
            return False


def attempt(program, tmp_path, code, disguised=False, **policy):
    tmp_path.chmod(0o755)
    secret = tmp_path / "secret"
    secret.write_text("THE-HOSTS-SECRET")
    with Listener() as listener:
        use = USE.format(secret=str(secret), port=listener.port, place=str(tmp_path))
        if disguised:  # as code of a library's, of which the gate asks nothing
            use = f"exec(compile({use!r}, '/usr/lib/python3.11/os.py', 'exec'), {{**globals(), '__name__': 'library'}})"
        result = program(PACK + code + "\n" + use,
                         max_execution_time=20, max_memory_mb=300, **policy)
        result["_reached"] = listener.reached()
    return result


def check(result):
    said = result["stdout"] + result["stderr"] + str(result["result_repr"])
    assert result["status"] in ("ok", "error", "denied"), result["error"]
    assert "THE-HOSTS-SECRET" not in said, "a file of the host's was read"
    assert "EXECUTED" not in said, "a program ran"
    assert not result["_reached"] and "connected" not in said and "socket made" not in said
    kinds = {event["kind"] for event in result["events"] if event["source"] == "kernel"}
    if "socket refused" in said:
        assert "socket" in kinds, "a recorded call without its event"
    return said


@pytest.mark.parametrize("disguised", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_comes_of(program, tmp_path, way, disguised):
    allowed, code, stopped = WAYS[way]
    result = attempt(program, tmp_path, code, disguised, allowed_modules=allowed)
    said = check(result)
    if stopped:
        assert "stopped posix" in said and "got posix" not in said, said
        assert any(e["kind"] == "import" and e["source"] == "python" and e["rule"] == "allowed_modules"
                   for e in result["events"]), result["events"]


@pytest.mark.parametrize("way", ["wrap_close", "builtin_importer", "random_os", "code_of_a_library", "machinery"])
def test_the_ways_past_the_gate_are_real(program, tmp_path, way):
    """Else the tests above would test nothing."""
    allowed, code, _ = WAYS[way]
    result = attempt(program, tmp_path, code, allowed_modules=allowed)
    assert "got posix" in result["stdout"], result["stdout"]
    assert "got _socket" in result["stdout"] or way in ("wrap_close", "random_os"), "it is not loaded: nothing to find"


def test_control_what_is_allowed_is_seen_by_the_checks(program, tmp_path):
    result = attempt(program, tmp_path, "def get(name): return __import__(name)", allowed_modules="*",
                     allow_file_operations=True, allow_subprocess=True, allowed_directories=f"{tmp_path}:ro")
    assert "THE-HOSTS-SECRET" in result["stdout"] and result["stdout"].count("EXECUTED") == 2, result["stdout"]


@pytest.mark.skipif(not have("numpy"), reason="numpy is not installed (./dev data)")
@pytest.mark.parametrize("code", [
    "import numpy\ndef get(name): return numpy.lib.npyio.os if name == 'posix' else numpy.lib.npyio.os.sys.modules[name]",
    "import numpy\ndef get(name): return numpy.core._internal.ctypes._os if name == 'posix' else __import__('numpy').sys.modules[name]",
])
def test_modules_of_an_allowed_package(program, tmp_path, code):
    check(attempt(program, tmp_path, code, allowed_modules="numpy"))


@pytest.mark.skipif(not have("numpy"), reason="numpy is not installed (./dev data)")
@pytest.mark.parametrize("number, arguments, kind", [(59, "b'/bin/echo', None, None", "exec"), (41, "2, 1, 0", "socket"),
                                                    (101, "0, 0, 0, 0", "ptrace"), (165, "b'x', b'/tmp', b'tmpfs', 0, 0", "mount")])
def test_ctypes_through_numpy(program, number, arguments, kind):
    """An allowed package that brings ctypes brings raw system calls: each that is recorded leaves the kernel's event."""
    result = program("import numpy\nfrom numpy import ctypeslib\nc = ctypeslib.ctypes.CDLL(None, use_errno=True)\n"
                     f"c.syscall({number}, {arguments})", allowed_modules="numpy", max_memory_mb=300, max_execution_time=20)
    assert result["status"] == "ok", result["stderr"]
    assert result["result"] == -1
    assert [e for e in result["events"] if e["source"] == "kernel" and e["kind"] == kind], result["events"]
