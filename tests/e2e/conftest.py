# SPDX-License-Identifier: MIT
import os

import pytest
import runner


@pytest.fixture(scope="session", autouse=True)
def binary() -> str:
    if not os.access(runner.BINARY, os.X_OK):
        pytest.exit(f"{runner.BINARY} is not there: run ./dev build, or set SANDBOX_BIN", 1)
    return runner.BINARY


@pytest.fixture
def command():
    return runner.run_command


@pytest.fixture
def program():
    return runner.run_program
