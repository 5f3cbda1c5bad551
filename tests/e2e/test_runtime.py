# SPDX-License-Identifier: MIT
"""Interpreters, preloads, generators: what the program runs in."""
import os
import pathlib
import subprocess
import sys

import pytest

from runner import BINARY, have, pythons

DATA = ("numpy", "pandas", "matplotlib")


@pytest.mark.parametrize("python", pythons())
def test_every_python(program, python):
    code = """
import sys, json, math, random, decimal, datetime, threading, sqlite3 if False else 0
"""
    code = """
import sys, json, math, random, decimal, datetime, threading, asyncio, re, collections, hashlib, os
async def main():
    await asyncio.sleep(0)
    return 5
found = []
t = threading.Thread(target=lambda: found.append(1)); t.start(); t.join()
__result__ = [asyncio.run(main()), found, sys.version_info[:2][0], json.loads('[1]'), hashlib.sha256(b'').hexdigest()[:4]]
"""
    result = program(code, allowed_modules="*", python=python)
    assert result["status"] == "ok", result["error"] or result["stderr"]
    assert result["result"] == [5, [1], 3, [1], "e3b0"]
    assert result["events"] == []
    error = program("x = 1\n1/0", python=python)
    assert error["error"]["line"] == 2 and error["status"] == "error"


def test_venv(program, tmp_path):
    venv = tmp_path / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(venv)], check=True)
    tmp_path.chmod(0o755)
    site = next((venv / "lib").glob("python3*/site-packages"))
    (site / "only_here.py").write_text("VALUE = 42\n")
    result = program("import only_here, sys\n[only_here.VALUE, sys.prefix]", allowed_modules="*",
                     python=str(venv / "bin" / "python"))
    assert result["result"] == [42, str(venv)], result["error"]


@pytest.mark.skipif(not all(map(have, DATA)), reason="numpy, pandas and matplotlib are not installed (./dev data)")
def test_data_preset_is_denied_nothing(program):
    code = """
import numpy, pandas, matplotlib.pyplot as plt, threading, asyncio, sqlite3, os, multiprocessing, tempfile, concurrent.futures
a = numpy.random.default_rng(1).normal(size=(100, 100))
numpy.linalg.inv(a)
frame = pandas.DataFrame({'a': [1, 2, 3], 'b': list('xyz')})
frame.to_csv('x.csv'); back = pandas.read_csv('x.csv')
plt.plot([1, 2, 3]); plt.savefig('plot.png'); plt.savefig('plot.svg')
db = sqlite3.connect('x.db'); db.execute('create table t (a)'); db.execute('insert into t values (1)'); db.commit()
with tempfile.TemporaryDirectory() as d: open(d + '/x', 'w').close()
async def main():
    await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(10)))
    return (await asyncio.to_thread(lambda: 3))
with concurrent.futures.ThreadPoolExecutor(4) as pool: threads = list(pool.map(abs, range(-5, 0)))
with multiprocessing.Pool(2) as pool: squares = pool.map(abs, [-1, -2, -3])
__result__ = [int(back.a.sum()), db.execute('select * from t').fetchall()[0][0], asyncio.run(main()), threads, squares,
              sorted(os.listdir('.'))]
"""
    result = program(code, preset="data")
    assert result["status"] == "ok", result["stderr"]
    assert result["result"] == [6, 1, 3, [5, 4, 3, 2, 1], [1, 2, 3], ["plot.png", "plot.svg", "x.csv", "x.db"]]
    assert result["events"] == []


@pytest.mark.skipif(not have("numpy"), reason="numpy is not installed (./dev data)")
def test_generators_differ_between_runs(program):
    code = "import random, numpy, uuid, os, ssl\n[random.random(), float(numpy.random.random()), str(uuid.uuid4()), os.urandom(8).hex(), ssl.RAND_bytes(8).hex()]"
    runs = [program(code, allowed_modules="*", preload="numpy,random,ssl,uuid")["result"] for _ in range(2)]
    for a, b in zip(*runs):
        assert a != b


def test_hash_seed_differs_between_templates(program):
    assert len({program("str(hash('x'))")["result"] for _ in range(3)}) > 1


def test_preload_that_does_not_exist(command):
    ran = command("run", "--json", "--set", "preload=no_such_module", "--set", "allowed_modules=*", "-c", "1")
    assert ran.exit in (2, 125) and "no_such_module" in ran.stdout + ran.stderr


def test_main_is_clean(program):
    names = program("sorted(k for k in globals())", allowed_modules="*")["result"]
    assert set(names) <= {"__name__", "__doc__", "__package__", "__loader__", "__spec__", "__builtins__", "__file__",
                          "__annotations__", "__cached__"}
    assert program("__name__")["result"] == "__main__"
    assert program("import sys\n[m for m in sys.modules if 'sbx' in m or 'sandbox' in m]", allowed_modules="sys")["result"] == []


def test_deep_recursion_is_an_error_not_a_crash(program):
    result = program("def f(n): return f(n + 1)\nf(0)")
    assert result["status"] == "error" and result["error"]["name"] == "RecursionError"
    assert len(result["error"]["traceback"]) < 70000


def test_typed_results(program):
    result = program("(1, {2: b'x'}, {3})", allowed_modules="*")
    assert isinstance(result["result"], dict), "a tuple is tagged"
    unusual = program("object()")
    assert "object object" in unusual["result_repr"] and unusual["status"] == "ok"


def test_huge_result_is_bounded(program):
    result = program("'x' * (50 << 20)", max_memory_mb=500, max_cpu_percent=100, max_execution_time=20)
    assert result["status"] == "ok" and len(str(result["result"])) < 20 << 20


def test_imports_are_gated(program):
    for code in ("import os", "from os import path", "__import__('os')", "import importlib; importlib.import_module('os')",
                 "exec('import os')", "def f():\n    import os\nf()"):
        result = program(code, allowed_modules="math,importlib")
        assert result["status"] == "denied", code
        assert result["error"]["name"] == "ImportError" and "allowed_modules" in result["error"]["value"]
        event = [e for e in result["events"] if e["kind"] == "import"][0]
        assert event["source"] == "python" and "os" in event["remedy"] and event["line"] >= 1
    assert program("import math, random\nmath.sqrt(4)")["result"] == 2.0
    assert program("import math", allow_imports=False)["status"] == "denied"


def test_file_operations_are_refused_politely(program):
    result = program("open('x', 'w')")
    assert result["status"] == "denied" and result["error"]["name"] == "PermissionError"
    assert "allow_file_operations" in result["error"]["value"]


def test_program_code_is_not_in_the_zygote(program):
    """INV-6: what one run defines is not there in the next."""
    program("import builtins; builtins.leak = 1; import math; math.leak = 1", allowed_modules="*")
    result = program("import builtins, math\n[hasattr(builtins, 'leak'), hasattr(math, 'leak')]", allowed_modules="*")
    assert result["result"] == [False, False]


def test_modules_beside_the_program(program, tmp_path):
    (tmp_path / "helper_here.py").write_text("VALUE = 5\n")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong one')\n")
    granted = {"allow_file_operations": True, "allowed_directories": "./", "cwd": str(tmp_path)}
    result = program("import helper_here, json\n[helper_here.VALUE, json.dumps(1)]", allowed_modules="*", **granted)
    assert result["result"] == [5, "1"], result["error"]
    assert program("import helper_here", **granted)["status"] == "denied"
    assert program("import helper_here", allowed_modules="*", cwd=str(tmp_path))["status"] == "error"


def test_a_template_is_replaced_by_count():
    """Hash seed and layout do not stay: the runs of one server come from several zygotes, and none is lost at a change."""
    script = """
import sys; sys.path.insert(0, sys.argv[1])
from sandbox import Sandbox, SandboxSettings
box = Sandbox(SandboxSettings(), enable_logging=False)
runs = [box.run("str(hash('x'))") for _ in range(60)]
assert all(r.status == "ok" for r in runs), [r.error for r in runs if r.status != "ok"]
print(len({r.result for r in runs}))
box.cleanup()
"""
    python = str(pathlib.Path(__file__).resolve().parents[2] / "python")
    counts = {}
    for forks in ("8", ""):
        done = subprocess.run([sys.executable, "-c", script, python], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "SANDBOX_BIN": BINARY, "SANDBOX_TEMPLATE_FORKS": forks})
        assert done.returncode == 0, done.stderr
        counts[forks] = int(done.stdout)
    assert counts[""] == 1 and counts["8"] > 1, counts
