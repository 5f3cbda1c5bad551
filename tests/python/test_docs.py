# SPDX-License-Identifier: MIT
"""Examples run: those in docstrings, and the Python blocks of the documents, with what they say that they print."""

from __future__ import annotations

import contextlib
import doctest
import gc
import importlib
import io
import re
from pathlib import Path

import pytest

import sandbox
from sandbox.core import server as server_module

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = ["sandbox", "sandbox.config.settings", "sandbox.core.programs", "sandbox.core.sandbox", "sandbox.core.session",
           "sandbox.exceptions", "sandbox.integration.tools", "sandbox.logging.security_logger"]
PAGES = ["docs/sdk.md", "README.md"]


@pytest.fixture(autouse=True)
def place(own_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A journal and a working directory of this test's own."""
    server_module.shutdown()
    monkeypatch.setenv("SANDBOX_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.chdir(tmp_path)
    yield
    gc.collect()  # what an example left behind is nobody's any more
    server_module.shutdown()


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0 and found.failed == 0


def test_every_public_method_has_a_docstring_of_its_own_or_its_synchronous_one() -> None:
    for cls in (sandbox.Sandbox, sandbox.Session, sandbox.SandboxSettings, sandbox.Result):
        for name, member in vars(cls).items():
            if callable(member) and not name.startswith("_") and not name.endswith("_async"):
                assert member.__doc__ or name in ("ok", "from_json", "allow_network_access", "allow_file_operations"), name


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def promised(code: str) -> list[str]:
    """What the comments behind print() say, in no order: a loop may come to them in another."""
    return sorted(found[1].strip() for line in code.splitlines()
                  if (found := re.search(r"\bprint\(.*\) +# (.*)$", line)))


@pytest.mark.parametrize("page", PAGES)
def test_pages(page: str) -> None:
    found = blocks(page)
    assert found, f"{page} has no examples"
    names: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(found, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{page} block {number}", "exec"), names)
        assert sorted(" ".join(line.split()) for line in printed.getvalue().splitlines()) == [
            " ".join(line.split()) for line in promised(code)], code


def test_the_check_finds_what_is_wrong() -> None:
    assert promised("print(1)   # 1\nprint('x')  # two words\nx = 1  # no print") == ["1", "two words"]
