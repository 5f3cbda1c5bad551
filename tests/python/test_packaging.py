# SPDX-License-Identifier: MIT
"""The package as it is installed: fresh virtual environments, no network. Slow (about a second or ten each)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 240

CHECK = """
import os, sandbox
from sandbox.core.server import find_binary
print(os.path.realpath(sandbox.__file__))
print(os.path.realpath(find_binary()))
with sandbox.Sandbox(sandbox.SandboxSettings(max_execution_time=20)) as box:
    print(box.execute("__result__ = 6 * 7"))
"""


@pytest.fixture(scope="module")
def tree(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with the built command, so that nothing is built here and nothing left there."""
    top = tmp_path_factory.mktemp("tree")
    for name in ("python", "packaging"):
        shutil.copytree(ROOT / name, top / name, ignore=shutil.ignore_patterns("__pycache__", "_bin"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, top / name)
    (top / "build").mkdir()
    shutil.copy(binary, top / "build" / "sandbox")
    return top


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SANDBOX_", "PIP_", "PYTHON"))}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"), cwd=tmp_path)
    return tmp_path / "venv" / "bin"


def check(venv: Path, package: Path, binary: Path, away: Path) -> None:
    where, found, value = run(str(venv / "python"), "-c", CHECK, cwd=away).split()
    assert Path(where).is_relative_to(package.resolve())
    assert Path(found) == binary.resolve()
    assert value == "42"
    assert run(str(venv / "sandbox"), "version", cwd=away)


def test_install(tree: Path, venv: Path, tmp_path: Path) -> None:
    run(str(venv / "pip"), "install", "--no-index", ".", cwd=tree)
    check(venv, venv.parent, next(venv.parent.glob("lib*/python3*/site-packages/sandbox/_bin/sandbox")), tmp_path)
    run(str(venv / "pip"), "check", cwd=tmp_path)
    run(str(venv / "pip"), "uninstall", "-y", "interpreter-sandbox", cwd=tmp_path)
    assert not list(venv.parent.glob("lib*/python3*/site-packages/*sandbox*"))


def test_install_editable(tree: Path, venv: Path, tmp_path: Path) -> None:
    run(str(venv / "pip"), "install", "--no-index", "-e", ".", cwd=tree)
    check(venv, tree / "python", tree / "build" / "sandbox", tmp_path)


def test_requirements(tree: Path, venv: Path, tmp_path: Path) -> None:
    if not (tree / "requirements.txt").exists():
        pytest.skip("this copy of the checkout has no requirements.txt")
    run(str(venv / "pip"), "install", "--no-index", "-r", "requirements.txt", cwd=tree)
    run(str(venv / "python"), "-c", "import sandbox", cwd=tmp_path)


def backend(tree: Path, hook: str, into: Path) -> Path:
    code = f"import sys; sys.path.insert(0, 'packaging'); import sandbox_build as b; print(b.{hook}(sys.argv[1]))"
    into.mkdir()
    return into / run(sys.executable, "-c", code, str(into), cwd=tree).split()[-1]


def test_wheel(tree: Path, tmp_path: Path) -> None:
    wheel = backend(tree, "build_wheel", tmp_path / "a")
    again = backend(tree, "build_wheel", tmp_path / "b")
    assert wheel.read_bytes() == again.read_bytes()
    assert "-py3-none-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(record).decode()))}
        assert set(rows) == set(names) and names[-1] == record
        for name, (digest, size) in rows.items():
            if name == record:
                continue
            data = archive.read(name)
            wanted = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={wanted}" and int(size) == len(data)
        assert "sandbox/py.typed" in names and "sandbox/core/sandbox.py" in names
        assert not [name for name in names if "__pycache__" in name]
        mode = archive.getinfo("sandbox/_bin/sandbox").external_attr >> 16
        assert stat.S_ISREG(mode) and mode & 0o777 == 0o755


def test_sdist(tree: Path, tmp_path: Path) -> None:
    sdist = backend(tree, "build_sdist", tmp_path / "a")
    assert sdist.read_bytes() == backend(tree, "build_sdist", tmp_path / "b").read_bytes()
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    top = sdist.name.removesuffix(".tar.gz")
    assert all(name.startswith(f"{top}/") for name in names)
    for name in ("PKG-INFO", "pyproject.toml", "packaging/sandbox_build.py", "python/sandbox/__init__.py"):
        assert f"{top}/{name}" in names
    assert not [name for name in names if "/build/" in name or "__pycache__" in name]
