# SPDX-License-Identifier: MIT
"""Runs of the command itself. Everything here works as root and as an ordinary user."""
from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SANDBOX_BIN", str(TOP / "build" / "sandbox"))


class Ran:
    """What one `sandbox run` did."""

    def __init__(self, done: subprocess.CompletedProcess, seconds: float) -> None:
        self.exit = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr
        self.seconds = seconds

    @property
    def result(self) -> dict:
        return json.loads(self.stdout)


def run_command(*args: str, stdin: str | bytes | None = None, timeout: float = 60, cwd: str | None = None,
                env: dict | None = None) -> Ran:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    start = time.monotonic()
    done = subprocess.run([BINARY, *args], input=data if data is not None else None,
                          stdin=subprocess.DEVNULL if data is None else None,
                          capture_output=True, timeout=timeout, cwd=cwd, env=env)
    ran = Ran(done, time.monotonic() - start)
    ran.stdout = done.stdout.decode("utf-8", "replace")
    ran.stderr = done.stderr.decode("utf-8", "replace")
    return ran


def settings(**fields: object) -> list[str]:
    out: list[str] = []
    for key, value in fields.items():
        out += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return out


def run_program(code: str, *, preset: str | None = None, stdin: str | None = None, cwd: str | None = None,
                timeout: float = 60, **fields: object) -> dict:
    """The result object of `sandbox run --json` with these fields of the policy."""
    args = ["run", "--json"]
    if preset:
        args += ["--preset", preset]
    ran = run_command(*args, *settings(**fields), "-c", code, stdin=stdin, cwd=cwd, timeout=timeout)
    assert ran.stdout, f"no result: exit {ran.exit}, {ran.stderr}"
    result = ran.result
    if result["status"] == "fault":
        print("fault:", result["error"], ran.stderr)  # pytest shows it where the test fails
    result["_exit"] = ran.exit
    result["_seconds"] = ran.seconds
    return result


def have(module: str) -> bool:
    """Whether Debian's interpreter, which a run uses by default, has the module."""
    return subprocess.run(["/usr/bin/python3", "-I", "-c", f"import {module}"], capture_output=True).returncode == 0


def pythons() -> list[str]:
    """Every CPython from 3.10 on of this machine that a worker's uid can read."""
    found = []
    places = [*pathlib.Path("/usr/bin").glob("python3.1?"), *pathlib.Path("/opt").glob("*/bin/python3.1?"),
              *pathlib.Path.home().glob(".pyenv/versions/3.1?.*/bin/python3")]
    for place in sorted(places):
        try:
            out = subprocess.run([str(place), "-c", "import sys; print(sys.version_info >= (3, 10))"],
                                 capture_output=True, text=True, timeout=20)
        except OSError:
            continue
        if out.stdout.strip() == "True":
            found.append(str(place))
    return found or [sys.executable]
