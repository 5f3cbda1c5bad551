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
from sandbox.core.session import Completion, File, Session, Variable
from sandbox.exceptions import (
    AccessError,
    BusyError,
    NotFoundError,
    ResourceLimitExceeded,
    SandboxError,
    SecurityError,
    ServerError,
    ServerGone,
    SessionEnded,
    SettingsError,
)

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_SETTINGS",
    "AccessError",
    "BusyError",
    "Completion",
    "Display",
    "Event",
    "File",
    "NotFoundError",
    "ProgramError",
    "ResourceLimitExceeded",
    "Result",
    "Sandbox",
    "SandboxError",
    "SandboxSettings",
    "SecurityError",
    "ServerError",
    "ServerGone",
    "Session",
    "SessionEnded",
    "SettingsError",
    "Truncated",
    "Usage",
    "Variable",
    "__version__",
]
