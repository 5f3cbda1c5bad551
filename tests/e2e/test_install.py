# SPDX-License-Identifier: MIT
"""`./dev install` and `./dev uninstall`, into a directory of their own, and the unit as systemd reads it."""
from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest
from runner import TOP

pytestmark = pytest.mark.skipif(not (TOP / "build" / "build.ninja").exists() or not os.access(TOP / "build", os.W_OK),
                                reason="needs the checkout that was built")


@pytest.fixture(autouse=True)
def prefix_stays():
    """The build directory keeps the prefix that it was configured with."""
    yield
    subprocess.run(["meson", "configure", "build", "-Dprefix=/usr/local"], cwd=TOP, capture_output=True, timeout=120,
                   env={**os.environ, "PATH": "/usr/bin:" + os.environ["PATH"]})


def dev(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(TOP / "dev"), *args], capture_output=True, text=True, timeout=600,
                          env={**os.environ, "SANDBOX_BUILD_DIR": "build"})


def files(top: pathlib.Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


def test_install_and_uninstall(tmp_path):
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "usr/lib/other.so").write_text("somebody else's")
    before = files(root)
    where = ("--prefix", "/usr", "--destdir", str(root))

    for _ in range(2):  # over itself, too
        done = dev("install", *where)
        assert done.returncode == 0, done.stderr
    for path in ("usr/bin/sandbox", "usr/lib/libsbx.so.0", "usr/include/sbx.h", "usr/lib/systemd/system/sandbox.service",
                 "usr/lib/systemd/system/sandbox.socket", "usr/lib/sysusers.d/interpreter-sandbox.conf",
                 "etc/interpreter-sandbox/sandbox.yaml", "usr/share/doc/interpreter-sandbox/configuration.md"):
        assert (root / path).exists(), path
    version = subprocess.run([root / "usr/bin/sandbox", "version"], capture_output=True, text=True)
    assert version.stdout.startswith("sandbox ")
    checked = subprocess.run([root / "usr/bin/sandbox", "policy", "check", root / "etc/interpreter-sandbox/sandbox.yaml"],
                             capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    done = dev("uninstall", *where)
    assert done.returncode == 0, done.stderr
    assert files(root) == before
    assert dev("uninstall", *where).returncode != 0  # there is nothing any more


def test_a_changed_configuration_stays(tmp_path):
    where = ("--prefix", "/usr", "--destdir", str(tmp_path))
    mine = tmp_path / "etc/interpreter-sandbox/sandbox.yaml"
    assert dev("install", *where).returncode == 0
    mine.write_text("redact: [mine]\n")
    assert dev("install", *where).returncode == 0
    assert mine.read_text() == "redact: [mine]\n"
    done = dev("uninstall", *where)
    assert "kept" in done.stderr and mine.read_text() == "redact: [mine]\n"
    assert {path for path in files(tmp_path) if (tmp_path / path).is_file()} == {"etc/interpreter-sandbox/sandbox.yaml"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_the_unit_is_understood(tmp_path):
    for name in ("sandbox.service", "sandbox.socket"):
        text = (TOP / "deploy" / name).read_text().replace("@BINDIR@", str(TOP / "build"))
        (tmp_path / name).write_text(text.replace("@DOCDIR@", str(TOP / "docs")))
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / "sandbox.service"),
                           str(tmp_path / "sandbox.socket")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr
    broken = tmp_path / "broken.service"
    broken.write_text((tmp_path / "sandbox.service").read_text().replace("Type=notify", "Type=nonsense"))
    assert subprocess.run(["systemd-analyze", "verify", str(broken)], capture_output=True, text=True,
                          timeout=60).stderr  # it can fail
