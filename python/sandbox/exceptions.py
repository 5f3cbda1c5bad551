# SPDX-License-Identifier: MIT
"""What the SDK raises: :class:`SandboxError`, and below it one class for each kind of reason.

>>> from sandbox import Sandbox, SandboxError
>>> try:
...     Sandbox().execute("1 / 0")
... except SandboxError as exc:
...     print(exc.name, exc.result.error.line)
ZeroDivisionError 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING:
    from sandbox.core.result import Result

__all__ = [
    "AccessError",
    "BusyError",
    "NotFoundError",
    "PROBLEMS",
    "ResourceLimitExceeded",
    "SandboxError",
    "SecurityError",
    "ServerError",
    "ServerGone",
    "SessionEnded",
    "SettingsError",
    "problem",
]


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
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.result = result
        #: Of the program's exception, or of the kind of problem.
        self.name = name
        self.field = field
        #: Seconds after which it is worth another try, where the server said so.
        self.retry_after = retry_after


class ResourceLimitExceeded(SandboxError):
    """A limit of the settings ended the program: time, memory, CPU, processes, output or disk."""


class SecurityError(SandboxError):
    """The program was ended by the exception of an operation that the settings deny."""


class SettingsError(SandboxError):
    """The settings cannot be used: a field, a directory, an interpreter, or more than the operator allows."""


class AccessError(SandboxError):
    """The server does not know this caller, or the caller may not do that: see ``SANDBOX_TOKEN``."""


class NotFoundError(SandboxError):
    """There is no such execution, session or file, or nothing was recorded of it."""


class SessionEnded(SandboxError):
    """The session is no more: it was closed, was idle for too long, or a program took its process along."""


class BusyError(SandboxError):
    """The server has too much to do, or is about to stop; ``retry_after`` says when to try again, in seconds."""


class ServerError(SandboxError):
    """A failure of ours, never the program's: a wall that cannot stand here, an interpreter that does not start."""


class ServerGone(ServerError):
    """No connection to the server, or it ended before it answered."""

    #: The request was certainly not seen by a server: nobody listened.
    unseen: bool = False


#: The ``name`` of a problem document (``docs/api.md``) to what is raised; a name that is not here is a SandboxError.
PROBLEMS: Mapping[str, type[SandboxError]] = {
    "UsageError": SandboxError,
    "PolicyError": SettingsError,
    "GrantRefused": SettingsError,
    "InterpreterError": SettingsError,
    "CeilingExceeded": SettingsError,
    "Unauthorized": AccessError,
    "Forbidden": AccessError,
    "WrongOrigin": AccessError,
    "WrongHost": AccessError,
    "NotFound": NotFoundError,
    "NotRecorded": NotFoundError,
    "SessionExists": SandboxError,
    "MethodNotAllowed": SandboxError,
    "UnsupportedMediaType": SandboxError,
    "TooLarge": SandboxError,
    "Busy": BusyError,
    "Stopping": BusyError,
    "WallMissing": ServerError,
    "JournalError": ServerError,
    "JailError": ServerError,
    "ZygoteError": ServerError,
    "WorkerError": ServerError,
    "EngineError": ServerError,
}


def problem(status: int, answer: Any) -> SandboxError:
    """The exception that an answer without a result stands for: a problem document (RFC 9457), or anything else."""
    name = answer.get("name") if isinstance(answer, dict) else None
    if not isinstance(name, str):
        return SandboxError(f"the server answered {status} and no result")
    field, detail, after = answer.get("field"), answer.get("detail"), answer.get("retry_after")
    return PROBLEMS.get(name, SandboxError)(
        detail if isinstance(detail, str) and detail else f"{name} ({status})",
        name=name,
        field=field if isinstance(field, str) else None,
        retry_after=after if isinstance(after, float) else None,
    )
