# SPDX-License-Identifier: MIT
"""A sandbox, its sessions and results, and the way to the server that runs the programs."""

from sandbox.core.result import Result
from sandbox.core.sandbox import Sandbox
from sandbox.core.session import Session

__all__ = ["Result", "Sandbox", "Session"]
