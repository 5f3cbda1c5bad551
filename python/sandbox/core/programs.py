# SPDX-License-Identifier: MIT
"""What a sandbox and a session have in common: programs run in them, waited for, streamed or awaited."""

from __future__ import annotations

import asyncio
import base64
import logging
import threading
from typing import Any, AsyncIterator, Callable, Iterator, Mapping, TypeVar

from sandbox.core.client import Call, Client
from sandbox.core.result import LIMITS, Display, Result
from sandbox.exceptions import PROBLEMS, ResourceLimitExceeded, SandboxError, SecurityError, ServerError, problem

__all__ = ["EXECUTIONS", "Files", "Programs", "in_thread"]

_T = TypeVar("_T")
#: The path of a request.
EXECUTIONS = "/v1/executions"

#: Name (a plain relative path) to contents.
Files = Mapping[str, "str | bytes"]

_log = logging.getLogger("sandbox")
_log.addHandler(logging.NullHandler())


class Programs:
    """Runs programs. Threads may share one."""

    _enable_logging = True

    def execute(
        self, code: str, files: Files | None = None, *, stdin: str | None = None, timeout: float | None = None
    ) -> Any:
        """Runs the program and returns the value of ``__result__``, None if it set none.

        files: name (a plain relative path) to contents, put into the program's working directory ``/work``. stdin:
        what it reads there; nothing by default. timeout: seconds; lowers ``max_execution_time`` for this program.

        Raises :class:`ResourceLimitExceeded` where a limit ended it, :class:`SecurityError` where the exception of
        a denied operation did, :class:`SandboxError` for anything else that it raised, and for a program that could
        not be run (:mod:`sandbox.exceptions`); ``.result`` has all that is known.

        >>> from sandbox import Sandbox
        >>> Sandbox().execute("import math; __result__ = [math.sqrt(4), (1, 2)]")
        [2.0, (1, 2)]
        """
        return value_of(self.run(code, files, stdin=stdin, timeout=timeout))

    def run(
        self, code: str, files: Files | None = None, *, stdin: str | None = None, timeout: float | None = None
    ) -> Result:
        """Runs the program and returns everything about it, whatever its verdict. Arguments: as :meth:`execute`.

        Raises :class:`SandboxError` only where none was formed: the request was refused, or no server is there.

        >>> from sandbox import Sandbox
        >>> result = Sandbox().run("print('hello'); 6 * 7")
        >>> result.status, result.stdout, result.result
        ('ok', 'hello\\n', 42)
        """
        return self._run(self._request(code, files, stdin, timeout), None)

    def stream(
        self, code: str, files: Files | None = None, *, stdin: str | None = None, timeout: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields what happens, as it happens; closing the iterator stops the program. Arguments: as :meth:`execute`.

        Objects by their ``type``: ``start`` (``id``), ``stdout`` and ``stderr`` (``text``), ``display`` (``bundle``: a
        :class:`Display`), ``event`` and ``sample`` (members as in the result), and at last ``result``, whose
        ``result`` is a :class:`Result`. Raises as :meth:`run` does.

        >>> from sandbox import Sandbox
        >>> for item in Sandbox().stream("print('now')"):
        ...     if item["type"] == "stdout":
        ...         print(item["text"], end="")
        now
        """
        return self._stream(self._request(code, files, stdin, timeout), None)

    async def execute_async(
        self, code: str, files: Files | None = None, *, stdin: str | None = None, timeout: float | None = None
    ) -> Any:
        """:meth:`execute` without blocking the event loop. Cancelling the task stops the program."""
        return value_of(await self.run_async(code, files, stdin=stdin, timeout=timeout))

    async def run_async(
        self, code: str, files: Files | None = None, *, stdin: str | None = None, timeout: float | None = None
    ) -> Result:
        """:meth:`run` without blocking the event loop. Cancelling the task stops the program."""
        call = Call()
        try:
            return await in_thread(lambda: self._run(self._request(code, files, stdin, timeout), call))
        except asyncio.CancelledError:
            call.give_up()
            raise

    async def stream_async(
        self, code: str, files: Files | None = None, *, stdin: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """:meth:`stream` without blocking the event loop. Leaving it early stops the program."""
        call = Call()
        items = self._stream(self._request(code, files, stdin, timeout), call)
        try:
            while True:
                item = await in_thread(lambda: next(items, None))
                if item is None:
                    break
                yield item
        finally:
            call.give_up()

    # inside

    def _target(self) -> Mapping[str, Any]:
        """The members of a request that say where and under what it runs."""
        raise NotImplementedError

    def _client(self) -> Client:
        raise NotImplementedError

    def _post(self, path: str, body: Mapping[str, Any], call: Call | None) -> tuple[int, Any]:
        raise NotImplementedError

    def _explained(self, exc: SandboxError) -> SandboxError:
        """The same failure, with what is known here."""
        return exc

    def _noted(self, result: Result) -> None:
        """A program has ended."""

    def _request(
        self, code: str, files: Files | None = None, stdin: str | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        if not isinstance(code, str):
            raise TypeError(f"code has to be str, not {type(code).__name__}")
        request: dict[str, Any] = {"code": code, **self._target()}
        if files:
            request["files"] = files_of(files)
        if stdin is not None:
            request["stdin"] = stdin
        if timeout is not None:
            request["timeout"] = timeout
        return request

    def _run(self, request: Mapping[str, Any], call: Call | None) -> Result:
        return self._result(*self._post(EXECUTIONS, request, call))

    def _stream(self, request: Mapping[str, Any], call: Call | None) -> Iterator[dict[str, Any]]:
        try:
            for status, item in self._client().stream(EXECUTIONS, request, call):
                kind = item.get("type") if status == 200 and isinstance(item, dict) else None
                if kind is None or kind == "error":
                    # The request was refused: a plain answer, or the line of a stream that had begun.
                    yield {"type": "result", "result": self._result(status, item)}
                elif kind == "result":
                    yield {"type": "result", "result": self._result(status, item.get("result"))}
                elif kind == "display":
                    bundle = item.get("bundle")
                    yield {"type": "display", "bundle": Display(bundle if isinstance(bundle, dict) else {})}
                else:
                    yield item
        except ServerError as exc:
            raise self._explained(exc) from exc

    def _result(self, status: int, answer: Any) -> Result:
        if isinstance(answer, dict) and isinstance(answer.get("status"), str):
            result = Result.from_json(answer)
            self._noted(result)
            self._tell(result)
            return result
        # A problem document (RFC 9457), by itself or as the last line of a stream.
        inner = answer.get("error") if isinstance(answer, dict) else None
        raise self._explained(problem(status, inner if isinstance(inner, dict) else answer))

    def _tell(self, result: Result) -> None:
        if self._enable_logging and _log.isEnabledFor(logging.INFO):
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


def files_of(files: Files) -> dict[str, Any]:
    """Files as a request carries them. Raises TypeError for contents that are neither text nor bytes."""
    return {name: _file(name, data) for name, data in files.items()}


def _file(name: str, data: object) -> str | dict[str, str]:
    if isinstance(data, str):
        return data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(data).decode("ascii")}
    raise TypeError(f"the contents of {name!r} have to be str or bytes, not {type(data).__name__}")


def value_of(result: Result) -> Any:
    """The value of ``__result__``, or the exception that the verdict stands for."""
    if result.status == "ok":
        return result.result if result.result_source == "__result__" else None
    message = _message(result)
    if result.status in LIMITS:
        raise ResourceLimitExceeded(message, result)
    name = result.error.name if result.error is not None else None
    if result.status == "denied":
        raise SecurityError(message, result, name=name)
    if result.status == "fault":
        raise PROBLEMS.get(name or "", ServerError)(message, result, name=name)
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


async def in_thread(work: Callable[[], _T]) -> _T:
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
