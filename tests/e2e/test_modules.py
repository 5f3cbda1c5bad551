# SPDX-License-Identifier: MIT
"""allow_imports, allowed_modules, and what of the installed packages a policy shows."""
import os
import subprocess
import textwrap

import pytest

from runner import have, pythons

PLACE = "/usr/lib/python3/dist-packages"
ROOM = {"max_memory_mb": 700, "max_execution_time": 50, "max_cpu_percent": 100}


def imports(result):
    return [e for e in result["events"] if e["kind"] == "import"]


# ---- the gate ----

@pytest.mark.parametrize("code", [
    "import os", "import os.path", "from os import path", "from os.path import join", "import math, os", "__import__('os')",
    "__import__('os.path')", "import importlib\nimportlib.import_module('os')", "import importlib\nimportlib.import_module('.path', 'os')",
    "exec('import os')", "eval('__import__(\"os\")')", "def f():\n    import os\nf()", "class C:\n    import os",
    "[__import__(n) for n in ['os']]", "__package__ = 'os'\nfrom . import path", "__package__ = 'os'\nfrom .path import join",
    "import pkgutil\npkgutil.resolve_name('os:getpid')",
])
def test_every_way_to_import_meets_the_gate(program, code):
    result = program(code, allowed_modules="math,importlib,pkgutil")
    assert result["status"] == "denied", result["error"] or result["stderr"]
    assert result["error"]["name"] == "ImportError"
    assert '"os"' in result["error"]["value"] and "allowed_modules" in result["error"]["value"]
    event = imports(result)[0]
    assert (event["source"], event["subject"], event["rule"]) == ("python", "os", "allowed_modules")
    assert event["change"] == {"field": "allowed_modules", "add": "os"} and event["line_source"] == "python"
    assert event["line"] == result["error"]["line"]
    assert program(code, allowed_modules="math,importlib,pkgutil,os")["status"] in ("ok", "error"), "the control"


def test_no_imports_at_all(program):
    result = program("import math", allow_imports=False)
    assert result["status"] == "denied" and imports(result)[0]["change"] == {"field": "allow_imports", "set": True}
    assert program("from __future__ import annotations\n1 + 1", allow_imports=False)["result"] == 2


def test_what_an_allowed_module_imports_is_not_asked_for(program):
    result = program("import statistics, json, decimal\nstatistics.mean([1, 3])", allowed_modules="statistics,json,decimal")
    assert result["result"] == 2 and result["events"] == []


def test_an_import_that_is_caught_is_still_an_event(program):
    result = program("try:\n    import os\nexcept ImportError as e:\n    print(e.name)\n1", allowed_modules="math")
    assert result["status"] == "ok" and result["stdout"] == "os\n" and imports(result)[0]["line"] == 2


def test_a_preload_that_is_not_allowed_is_not_there(program):
    code = "import sys\n'decimal' in sys.modules"
    hidden = program(code, allowed_modules="sys", preload="decimal")
    assert hidden["result"] is False and hidden["template"]["preload"] == []
    shown = program(code, allowed_modules="sys,decimal", preload="decimal")
    assert shown["result"] is True and shown["template"]["preload"] == ["decimal"]


# ---- lines of the kernel's denials ----

def test_the_line_of_a_kernel_event_that_ended_the_program(program):
    result = program("import socket\n\nsocket.socket()", allowed_modules="socket")
    assert result["status"] == "denied"
    event = [e for e in result["events"] if e["source"] == "kernel"][-1]
    assert (event["line"], event["line_source"]) == (3, "python")
    assert event["change"] == {"field": "network_access", "set": True}


def test_a_kernel_event_that_was_caught_has_no_line(program):
    result = program("import socket\ntry: socket.socket()\nexcept OSError: pass\n1 / 0", allowed_modules="socket")
    event = [e for e in result["events"] if e["source"] == "kernel"][-1]
    assert result["status"] == "error" and event["line"] is None and event["line_source"] is None


# ---- hidden packages ----

LIST = "import os, sys\n[sorted(os.listdir(p)) for p in sys.path if p.endswith('-packages') and os.path.isdir(p)]"
SEE = {"allow_file_operations": True}


def test_nothing_of_third_parties_is_readable_by_default(program):
    listings = program(LIST, allowed_modules="os,sys", **SEE)["result"]
    assert listings and not any(listings)
    assert any(program(LIST, allowed_modules="*", **SEE)["result"]), "the control"


@pytest.mark.skipif(not os.path.exists(f"{PLACE}/six.py"), reason="python3-six is not installed")
def test_an_allowed_package_is_shown_and_no_other(program):
    code = LIST.replace("import os, sys", "import os, sys, six")
    names = {name for listing in program(code, allowed_modules="os,sys,six", **SEE)["result"] for name in listing}
    assert "six.py" in names and all(n.startswith("six") or n == "__pycache__" for n in names), names
    read = f"len(open('{PLACE}/six.py').read()) > 0"
    assert program(read, allowed_modules="math", **SEE)["error"]["name"] == "FileNotFoundError"
    assert program(read, allowed_modules="six", **SEE)["result"] is True


@pytest.mark.parametrize("python", pythons())
def test_debians_packages_are_hidden_from_other_interpreters_too(program, python):
    code = f"import os\n[p for p in ('{PLACE}', '/usr/local/lib/python3.11/dist-packages') if os.path.isdir(p) and os.listdir(p)]"
    assert program(code, allowed_modules="os", python=python, **SEE)["result"] == []


@pytest.mark.parametrize("python", pythons())
def test_extension_modules_that_reach_the_system(program, python):
    find = "import importlib.util as u\n{n: u.find_spec(n) is not None for n in ('_ctypes', '_testcapi', 'resource', '_json', 'math')}"
    found = program(find, allowed_modules="importlib", python=python)["result"]
    built_in = program("import sys\nlist(sys.builtin_module_names)", allowed_modules="sys", python=python)["result"]
    for name in ("_ctypes", "_testcapi", "resource"):
        assert found[name] is False or name in built_in, name
    assert found["_json"] and found["math"]
    assert program(find, allowed_modules="importlib,ctypes", python=python)["result"]["_ctypes"], "the control"
    assert program("import ctypes\nctypes.sizeof(ctypes.c_int)", allowed_modules="ctypes", python=python)["result"] == 4


def test_a_hidden_extension_is_not_readable(program):
    path = "/usr/lib/python3.11/lib-dynload/_ctypes.cpython-311-x86_64-linux-gnu.so"
    if not os.path.exists(path):
        pytest.skip("this interpreter has no _ctypes as a file there")
    code = f"open({path!r}, 'rb').read(4)"
    assert program(code, allowed_modules="math", **SEE)["status"] in ("error", "denied")
    assert program(code, allowed_modules="*", **SEE)["status"] == "ok"


USES = {
    "numpy": "import numpy\nnumpy.linalg.inv(numpy.eye(3)); numpy.random.default_rng(1).normal(); numpy.fft.fft([1, 2]); numpy.polynomial.Polynomial([1])\n"
             "float(numpy.ma.array([1, 2]).sum())",
    "pandas": "import pandas\nf = pandas.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\nf.groupby('b').a.sum(); f.to_json(); f.to_html(); "
              "f.describe(); pandas.to_datetime('2024-01-02'); pandas.date_range('2024', periods=3, tz='Europe/Berlin')\nfloat(f.a.sum())",
    "matplotlib": "import matplotlib.pyplot as p, io\nfor kind in ('png', 'svg', 'pdf'):\n    b = io.BytesIO(); p.plot([1, 2]); p.title('$x^2$'); p.savefig(b, format=kind)\n"
                  "from mpl_toolkits.mplot3d import Axes3D\nfloat(len(b.getvalue()) > 100) * 3",
    "scipy": "import scipy, scipy.optimize, scipy.stats, scipy.linalg, scipy.signal, scipy.sparse, scipy.integrate\n"
             "round(float(scipy.optimize.minimize(lambda x: (x[0] - 3) ** 2, [0]).x[0]), 2)",
    "sklearn": "from sklearn.linear_model import LinearRegression\nfrom sklearn.ensemble import RandomForestClassifier\nimport sklearn.cluster, sklearn.datasets\n"
               "sklearn.datasets.load_iris(); RandomForestClassifier(3).fit([[0], [1]], [0, 1])\n"
               "round(float(LinearRegression().fit([[0], [1]], [0, 3]).predict([[1]])[0]), 2)",
    "sympy": "import sympy\nx = sympy.Symbol('x'); sympy.latex(sympy.integrate(sympy.sin(x), x)); sympy.lambdify(x, x + 1, 'math')(1)\n"
             "float(sympy.Integer(3))",
    "PIL": "from PIL import Image, ImageDraw, ImageFilter\nimport io\ni = Image.new('RGB', (9, 9)); ImageDraw.Draw(i).line((0, 0, 5, 5)); b = io.BytesIO()\n"
           "for kind in ('PNG', 'JPEG', 'GIF', 'BMP', 'TIFF'): i.save(b, kind)\ni.filter(ImageFilter.BLUR)\n3.0",
    "requests": "import requests\nrequests.Request('GET', 'http://x.invalid/', params={'a': 1}).prepare().url\n3.0",
}


@pytest.mark.parametrize("module", USES)
def test_an_allowed_package_works_with_all_that_it_needs(program, module):
    if not have(module):
        pytest.skip(f"{module} is not installed for /usr/bin/python3")
    result = program(USES[module], allowed_modules=f"{module},io,mpl_toolkits", **ROOM)
    assert result["status"] == "ok", result["stderr"]
    assert result["result"] == 3.0
    assert [e for e in result["events"] if e["kind"] == "import"] == []


@pytest.mark.skipif(not have("numpy") or not os.path.exists(f"{PLACE}/six.py"), reason="numpy and six are not installed")
def test_a_package_that_nothing_allowed_needs_is_not_found(program):
    code = "import numpy, importlib.util as u\n[n for n in ('numpy', 'pandas', 'six', 'matplotlib', 'pip', 'yaml') if u.find_spec(n)]"
    assert program(code, allowed_modules="numpy,importlib", **ROOM)["result"] == ["numpy"]


# ---- packages in a venv ----

@pytest.fixture
def venv(tmp_path):
    top = tmp_path / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(top)], check=True)
    tmp_path.chmod(0o755)
    site = next((top / "lib").glob("python3*/site-packages"))

    def add(name, files, requires=(), tops=None):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
                                       + "".join(f"Requires-Dist: {r}\n" for r in requires) + "\nRequires-Dist: body-is-no-header\n")
        for file, text in files.items():
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_text(textwrap.dedent(text))
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files) + f"{name}-1.0.dist-info/METADATA,,\n../../../bin/x,,\n")
        if tops:
            (info / "top_level.txt").write_text(tops)

    add("App", {"app/__init__.py": "def late():\n    import helper\n    return helper.VALUE\n", "app/sub.py": "from . import late\n"},
        ["helper-lib>=1 ; python_version > '3'", "opt ; extra == 'more'", "with-extra[fast] (>=1)"])
    add("Helper_Lib", {"helper.py": "import deep\nVALUE = deep.VALUE\n", "helper_data/x.txt": "data"}, ["deep"])
    add("deep", {"deep/__init__.py": "VALUE = 42\n"})
    add("with.extra", {"with_extra.py": ""}, ["fastlib; extra == \"fast\"", "slowlib; extra == 'slow'"])
    for name in ("opt", "fastlib", "slowlib", "body-is-no-header", "unrelated"):
        add(name, {f"{name.replace('-', '_')}.py": ""})
    return str(top / "bin" / "python")


def test_a_venvs_packages(program, venv):
    names = ("app", "helper", "deep", "with_extra", "fastlib", "slowlib", "opt", "unrelated", "body_is_no_header")
    code = f"import app.sub, importlib.util as u\n[app.late(), [n for n in {names!r} if u.find_spec(n)]]"
    result = program(code, allowed_modules="app,importlib", python=venv)
    assert result["result"] == [42, ["app", "helper", "deep", "with_extra", "fastlib"]], result["stderr"]
    assert program("import unrelated", allowed_modules="app", python=venv)["status"] == "denied"
    assert program("import unrelated", allowed_modules="*", python=venv)["status"] == "ok", "the control"
    data = "import os, app\nos.path.isfile(os.path.join(os.path.dirname(app.__file__), '..', 'helper_data', 'x.txt'))"
    assert program(data, allowed_modules="app,os", python=venv, **SEE)["result"] is True


def test_a_plain_module_of_a_venv(program, venv, tmp_path):
    site = next((tmp_path / "venv" / "lib").glob("python3*/site-packages"))
    (site / "plain.py").write_text("import deep\ntry:\n    import fastlib\nexcept ImportError: pass\nVALUE = deep.VALUE\n")
    assert program("import plain\nplain.VALUE", allowed_modules="plain", python=venv)["result"] == 42
    # hostile metadata hides or shows packages, no more
    (site / "evil-1.dist-info").mkdir()
    (site / "evil-1.dist-info" / "METADATA").write_bytes(b"Name: ../../..\nRequires-Dist: \xff\xfe[;;\n" + b"A" * 100000)
    (site / "evil-1.dist-info" / "RECORD").write_text("../../../../etc/passwd,,\n/etc/shadow,,\n..,,\n")
    (site / "evil-1.dist-info" / "top_level.txt").write_text("plain\n../..\n")
    assert program("import plain\nplain.VALUE", allowed_modules="plain", python=venv)["result"] == 42
