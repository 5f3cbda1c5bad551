# SPDX-License-Identifier: MIT
"""The sandbox: a thin client of the server that runs the programs."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import os
import threading
import weakref
from types import TracebackType
from typing import Any, Callable, Iterator, Mapping, TypeVar

from sandbox.config.settings import DEFAULT_SETTINGS, SandboxSettings
from sandbox.core.client import Call, Client, ServerGone
from sandbox.core.result import LIMITS, Display, Result
from sandbox.core.server import Lease
from sandbox.exceptions import ResourceLimitExceeded, SandboxError, SecurityError

__all__ = ["Sandbox"]

_T = TypeVar("_T")
_EXECUTIONS = "/v1/executions"

_log = logging.getLogger("sandbox")
_log.addHandler(logging.NullHandler())


class Sandbox:
    """Runs programs, each in a fresh jail, under one set of settings.

    Threads may share one. Programs run on a private server that all sandboxes of a process share and that ends with
    it, or on the one that the environment names: ``SANDBOX_URL`` (``unix:PATH``, ``http://host:port``) with
    ``SANDBOX_TOKEN``.
    """

    def __init__(self, settings: SandboxSettings | None = None, enable_logging: bool = True) -> None:
        """settings: the defaults if None. enable_logging: record every program in the journal of this user
        (see :mod:`sandbox.logging.security_logger`) and tell the logger ``sandbox`` of it (INFO). False writes nothing
        at all; on the server that ``SANDBOX_URL`` names its operator decides what is recorded.

        Nothing is started yet. Raises :class:`SandboxError` for a malformed ``SANDBOX_URL``.
        """
        self.settings = copy.deepcopy(DEFAULT_SETTINGS) if settings is None else settings
        self.enable_logging = enable_logging
        self._within_limits = True
        url = os.environ.get("SANDBOX_URL")
        self._remote = Client(url, os.environ.get("SANDBOX_TOKEN")) if url else None
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._detach: Callable[[], object] | None = None

    # running

    def execute(self, code: str, files: Mapping[str, str | bytes] | None = None) -> Any:
        """Runs the program and returns the value of ``__result__``, None if it set none.

        files: name (a plain relative path) to contents, put into the program's working directory ``/work``.

        Raises :class:`ResourceLimitExceeded` where a limit ended it, :class:`SecurityError` where the exception of
        a denied operation did, :class:`SandboxError` for anything else that it raised, and for a program that could
        not be run; ``.result`` has all that is known.
        """
        return _value(self.run(code, files))

    def run(self, code: str, files: Mapping[str, str | bytes] | None = None) -> Result:
        """Runs the program and returns everything about it, whatever its verdict. files: as :meth:`execute`.

        Raises :class:`SandboxError` only where none was formed: the request was refused, or no server is there.
        """
        return self._run(self._request(code, files), None)

    async def execute_async(self, code: str, files: Mapping[str, str | bytes] | None = None) -> Any:
        """:meth:`execute` without blocking the event loop. Cancelling the task stops the program."""
        request = self._request(code, files)
        call = Call()
        try:
            return _value(await _in_thread(lambda: self._run(request, call)))
        except asyncio.CancelledError:
            call.give_up()
            raise

    async def run_async(self, code: str, files: Mapping[str, str | bytes] | None = None) -> Result:
        """:meth:`run` without blocking the event loop. Cancelling the task stops the program."""
        request = self._request(code, files)
        call = Call()
        try:
            return await _in_thread(lambda: self._run(request, call))
        except asyncio.CancelledError:
            call.give_up()
            raise

    def stream(
        self, code: str, files: Mapping[str, str | bytes] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields what happens, as it happens; closing the iterator stops the program.

        Objects by their ``type``: ``start`` (``id``), ``stdout`` and ``stderr`` (``text``), ``display`` (``bundle``: a
        :class:`Display`), ``event`` and ``sample`` (members as in the result), and at last ``result``, whose ``result`` is a :class:`Result`. Raises as
        :meth:`run` does.
        """
        return self._stream(self._request(code, files))

    # settings

    def update_settings(self, settings: SandboxSettings) -> None:
        """For the programs that are started from now on."""
        if not isinstance(settings, SandboxSettings):
            raise TypeError(f"settings have to be SandboxSettings, not {type(settings).__name__}")
        self.settings = settings

    def is_path_allowed(self, path: str | os.PathLike[str]) -> bool:
        """Whether the settings let a program open the path: what they say, not whether it exists."""
        if not self.settings.allow_file_operations:
            return False
        real = os.path.realpath(path)
        for entry in self.settings.allowed_directories:
            granted = os.fspath(entry)
            if granted.endswith((":ro", ":rw")):
                granted = granted[:-3]
            top = os.path.realpath(granted)
            if real == top or real.startswith(top.rstrip("/") + "/"):
                return True
        return False

    def allow_network_access(self) -> bool:
        return self.settings.network_access

    def allow_file_operations(self) -> bool:
        return self.settings.allow_file_operations

    def check_resources(self) -> bool:
        """True while within limits: False if a limit ended the last program."""
        return self._within_limits

    # life

    def cleanup(self) -> None:
        """Ends the server if no other sandbox of this process uses it. The sandbox can be used again."""
        self._release(linger=False)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The next sandbox of a loop finds the server still warm.
        self._release(linger=True)

    def _release(self, linger: bool) -> None:
        with self._lock:
            lease, self._lease = self._lease, None
            if self._detach is not None:
                self._detach()
                self._detach = None
        if lease is not None:
            lease.release()
            if not linger:
                lease.end()
        if self._remote is not None:
            self._remote.close()

    # inside

    def _client(self) -> Client:
        if self._remote is not None:
            return self._remote
        with self._lock:
            if self._lease is None:
                self._lease = Lease(self.enable_logging)
                forget = weakref.finalize(self, self._lease.release)
                forget.atexit = False  # the server ends then anyway
                self._detach = forget.detach
            lease = self._lease
        return lease.client()

    def _request(self, code: str, files: Mapping[str, str | bytes] | None = None) -> dict[str, Any]:
        if not isinstance(code, str):
            raise TypeError(f"code has to be str, not {type(code).__name__}")
        request: dict[str, Any] = {"code": code, "policy": self.settings.to_policy()}
        if files:
            request["files"] = {name: _file(name, data) for name, data in files.items()}
        if self._remote is None or self._remote.local:
            try:
                request["cwd"] = os.getcwd()
            except OSError:
                pass  # it was removed: relative paths are then refused, absolute ones are not
        return request

    def _run(self, request: dict[str, Any], call: Call | None) -> Result:
        client = self._client()
        try:
            status, answer = client.post(_EXECUTIONS, request, call)
        except ServerGone as exc:
            # A private server that was killed stops listening a moment before it is seen to have ended.
            if not exc.unseen or self._lease is None or not self._lease.await_end(client):
                raise self._gone(exc) from exc
            try:
                status, answer = self._client().post(_EXECUTIONS, request, call)
            except ServerGone as again:
                raise self._gone(again) from again
        return self._result(status, answer)

    def _stream(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            for status, item in self._client().stream(_EXECUTIONS, request):
                if status != 200 or not isinstance(item, dict) or item.get("type", "error") == "error":
                    # The request was refused: a plain answer, or the line of a stream that had begun.
                    yield {"type": "result", "result": self._result(status, item)}
                elif item["type"] == "result":
                    yield {"type": "result", "result": self._result(status, item.get("result"))}
                elif item["type"] == "display":
                    bundle = item.get("bundle")
                    yield {"type": "display", "bundle": Display(bundle if isinstance(bundle, dict) else {})}
                else:
                    yield item
        except ServerGone as exc:
            raise self._gone(exc) from exc

    def _gone(self, exc: ServerGone) -> SandboxError:
        lease = self._lease
        return SandboxError(f"{exc}{lease.last_words() if lease is not None else ''}", name="ServerGone")

    def _result(self, status: int, answer: Any) -> Result:
        if isinstance(answer, dict) and isinstance(answer.get("status"), str):
            result = Result.from_json(answer)
            self._within_limits = result.status not in LIMITS
            self._tell(result)
            return result
        # A problem document (RFC 9457), by itself or as the last line of a stream.
        error = answer.get("error", answer) if isinstance(answer, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("name"), str):
            raise SandboxError(f"the server answered {status} and no result")
        name, field = error.get("name"), error.get("field")
        raise SandboxError(
            str(error.get("detail") or name or status),
            name=name if isinstance(name, str) else None,
            field=field if isinstance(field, str) else None,
        )

    def _tell(self, result: Result) -> None:
        if self.enable_logging and _log.isEnabledFor(logging.INFO):
            usage = result.usage
            _log.info(
                "execution %s: %s, %.0f ms, %.0f ms of CPU, %d bytes, %d events",
                result.id,
                result.status,
                usage.wall_ms,
                usage.cpu_ms,
                usage.memory_peak_bytes,
                len(result.events),
            )


def _file(name: str, data: str | bytes) -> str | dict[str, str]:
    if isinstance(data, str):
        return data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(data).decode("ascii")}
    raise TypeError(f"the contents of {name!r} have to be str or bytes, not {type(data).__name__}")


def _value(result: Result) -> Any:
    if result.status == "ok":
        return result.result if result.result_source == "__result__" else None
    message = _message(result)
    if result.status in LIMITS:
        raise ResourceLimitExceeded(message, result)
    name = result.error.name if result.error is not None else None
    if result.status == "denied":
        raise SecurityError(message, result, name=name)
    raise SandboxError(message, result, name=name)


def _message(result: Result) -> str:
    error = result.error
    said = ": ".join(part for part in (error.name, error.value) if part) if error is not None else ""
    limit = LIMITS.get(result.status)
    if limit is not None:
        if error is not None and limit in error.value:
            return error.value
        return f"{limit} was exceeded: {said}" if said else f"{limit} was exceeded"
    if said and error is not None and error.line is not None:
        said += f" (line {error.line})"
    remedy = result.events[-1].remedy if result.status == "denied" and result.events else ""
    if remedy and remedy not in said:
        said += f"; to allow it: {remedy}"
    return said or f"the program ended with {result.status}"


async def _in_thread(work: Callable[[], _T]) -> _T:
    """A thread for each call: an executor's few would make programs wait for each other."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def main() -> None:
        value: _T | None = None
        error: BaseException | None = None
        try:
            value = work()
        except BaseException as exc:
            error = exc
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            pass  # the loop was closed: nobody waits

    threading.Thread(target=main, name="sandbox", daemon=True).start()
    return await future
