# SPDX-License-Identifier: MIT
"""The security journal as Python sees it."""

from sandbox.logging.security_logger import Record, SecurityLogger

__all__ = ["Record", "SecurityLogger"]
