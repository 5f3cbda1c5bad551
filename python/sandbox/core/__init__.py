# SPDX-License-Identifier: MIT
"""A sandbox, its results, and the way to the server that runs the programs."""

from sandbox.core.result import Result
from sandbox.core.sandbox import Sandbox

__all__ = ["Result", "Sandbox"]
