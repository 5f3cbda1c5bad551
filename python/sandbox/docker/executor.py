# SPDX-License-Identifier: MIT
"""One program in a container of its own."""

from __future__ import annotations

from typing import Any

from sandbox.config.settings import SandboxSettings
from sandbox.docker.manager import DockerSandbox

__all__ = ["run_code"]


def run_code(code: str, settings: SandboxSettings | None = None) -> Any:
    """The value of ``__result__``; raises as :meth:`Sandbox.execute`. For more than one program a
    :class:`DockerSandbox` is faster: its container stays."""
    with DockerSandbox(settings) as box:
        return box.execute(code)
