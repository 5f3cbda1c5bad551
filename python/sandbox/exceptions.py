# SPDX-License-Identifier: MIT
"""What :meth:`sandbox.Sandbox.execute` raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.core.result import Result


class SandboxError(Exception):
    """The program raised, was stopped, or could not be run at all.

    ``result`` is the whole :class:`~sandbox.core.result.Result` of a program that ran, and None where none did: the
    request was refused (then ``name`` says by which kind of error, ``field`` which setting was at fault) or no
    server could be had.
    """

    def __init__(
        self,
        message: str,
        result: Result | None = None,
        *,
        name: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.result = result
        self.name = name
        self.field = field


class ResourceLimitExceeded(SandboxError):
    """A limit of the settings ended the program: time, memory, CPU, processes, output or disk."""


class SecurityError(SandboxError):
    """The program was ended by the exception of an operation that the settings deny."""
