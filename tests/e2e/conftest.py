# SPDX-License-Identifier: MIT
import os
import tempfile
from typing import Iterator

import pytest
import runner


@pytest.fixture(scope="session", autouse=True)
def binary() -> str:
    if not os.access(runner.BINARY, os.X_OK):
        pytest.exit(f"{runner.BINARY} is not there: run ./dev build, or set SANDBOX_BIN", 1)
    return runner.BINARY


@pytest.fixture(scope="session", autouse=True)
def default_journal() -> Iterator[str]:
    """What tests run is recorded in a place of theirs."""
    with tempfile.TemporaryDirectory(prefix="sandbox-tests-") as place:
        os.environ["SANDBOX_JOURNAL"] = f"{place}/journal"
        yield os.environ["SANDBOX_JOURNAL"]
        os.environ.pop("SANDBOX_JOURNAL", None)


@pytest.fixture
def command():
    return runner.run_command


@pytest.fixture
def program():
    return runner.run_program
