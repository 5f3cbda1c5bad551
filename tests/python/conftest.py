# SPDX-License-Identifier: MIT
"""What the Python tests share: the package on the path, and the built command.

Every test that runs a program needs ``build/sandbox`` (or what SANDBOX_BIN names): without it these tests fail, since
a run that skips them says nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "python"))


@pytest.fixture(scope="session", autouse=True)
def default_journal() -> Iterator[str]:
    """What tests run is recorded in a place of theirs."""
    with tempfile.TemporaryDirectory(prefix="sandbox-tests-", ignore_cleanup_errors=True) as place:
        os.environ["SANDBOX_JOURNAL"] = f"{place}/journal"
        yield os.environ["SANDBOX_JOURNAL"]
        os.environ.pop("SANDBOX_JOURNAL", None)


@pytest.fixture(scope="session")
def binary() -> str:
    """The command under test."""
    named = os.environ.get("SANDBOX_BIN") or str(ROOT / "build" / "sandbox")
    if not os.access(named, os.X_OK):
        pytest.fail(f"{named} is not there: run `./dev build` first, or `./dev test`", pytrace=False)
    return named


@pytest.fixture
def own_server(binary: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The SDK with a private server, whatever the environment of the tests says."""
    monkeypatch.setenv("SANDBOX_BIN", binary)
    monkeypatch.delenv("SANDBOX_URL", raising=False)
    monkeypatch.delenv("SANDBOX_TOKEN", raising=False)
    return binary
