# SPDX-License-Identifier: MIT
"""The short forms of `./dev soak`: hundreds of runs through one server leave nothing (INV-5)."""
import os
import pathlib
import subprocess
import sys

from runner import BINARY


def test_hundreds_of_runs_through_one_server():
    script = pathlib.Path(__file__).resolve().parents[1] / "soak.py"
    done = subprocess.run([sys.executable, str(script), "600"], env={**os.environ, "SANDBOX_BIN": BINARY},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_many_callers_and_sessions_over_http():
    script = pathlib.Path(__file__).resolve().parents[1] / "soak_http.py"
    done = subprocess.run([sys.executable, str(script), "300", "40"], env={**os.environ, "SANDBOX_BIN": BINARY},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every result is right" in done.stdout
