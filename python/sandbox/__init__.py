# SPDX-License-Identifier: MIT
"""Run Python that you do not trust, behind walls that the kernel keeps.

>>> from sandbox import Sandbox, SandboxSettings
>>> with Sandbox(SandboxSettings(max_execution_time=2)) as box:
...     box.execute("__result__ = 6 * 7")
42
"""

from sandbox.config.settings import DEFAULT_SETTINGS, SandboxSettings
from sandbox.core.result import Display, Event, ProgramError, Result, Truncated, Usage
from sandbox.core.sandbox import Sandbox
from sandbox.exceptions import ResourceLimitExceeded, SandboxError, SecurityError

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_SETTINGS",
    "Display",
    "Event",
    "ProgramError",
    "ResourceLimitExceeded",
    "Result",
    "Sandbox",
    "SandboxError",
    "SandboxSettings",
    "SecurityError",
    "Truncated",
    "Usage",
    "__version__",
]
