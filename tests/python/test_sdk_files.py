# SPDX-License-Identifier: MIT
"""Files through the Python face."""
from __future__ import annotations

import pytest

from sandbox import Sandbox, SandboxSettings
from sandbox.exceptions import SandboxError

SETTINGS = SandboxSettings(allow_file_operations=True, allowed_modules=["*"])


def test_given_and_left() -> None:
    with Sandbox(SETTINGS) as box:
        result = box.run("x = open('a.txt').read()\ny = open('d/b', 'rb').read()\nopen('out.csv', 'w').write('1')\n(x, y)",
                         files={"a.txt": "é", "d/b": b"\x00\xff"})
        assert result.result == ("é", b"\x00\xff")
        assert [(f["path"], f["size"], f["mime"]) for f in result.files] == [("out.csv", 1, "text/csv")]
        assert box.execute("__result__ = open('a').read()", files={"a": "1"}) == "1"


def test_what_no_file_can_be() -> None:
    with Sandbox(SETTINGS) as box:
        with pytest.raises(TypeError):
            box.run("1", files={"a": 1})  # type: ignore[dict-item]
        with pytest.raises(SandboxError, match="no plain relative path"):
            box.run("1", files={"../a": "1"})
