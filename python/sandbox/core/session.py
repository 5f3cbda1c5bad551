# SPDX-License-Identifier: MIT
"""A session: one jail in which programs run one after the other and keep their state."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, List, Mapping
from urllib.parse import quote

from sandbox.core.client import Call, Client
from sandbox.core.programs import Files, Programs, files_of, in_thread
from sandbox.core.result import Result
from sandbox.exceptions import NotFoundError, SandboxError, SessionEnded, problem

if TYPE_CHECKING:
    from sandbox.core.sandbox import Sandbox

__all__ = ["Completion", "File", "Session", "SessionFiles", "Variable"]

_SESSIONS = "/v1/sessions"


@dataclass(frozen=True)
class Variable:
    """One of a session's variables: what its interpreter says of it, which is a claim."""

    name: str
    type: str
    #: What ``len()`` says, or None.
    size: int | None
    #: The beginning of its ``repr``.
    preview: str


@dataclass(frozen=True)
class Completion:
    """How a name could go on: each of ``matches`` in the place of the characters ``start`` to ``end``."""

    matches: list[str]
    start: int
    end: int


@dataclass(frozen=True)
class File:
    """A file in the working directory: path below ``/work``, size in bytes, type by the ending of its name."""

    path: str
    size: int
    mime: str


class Session(Programs):
    """Programs that run one after the other in one jail: variables, imports and files stay. Made by
    :meth:`Sandbox.session`; a context manager, also an asynchronous one. The jail is made at the first use.

    >>> from sandbox import Sandbox
    >>> with Sandbox().session() as session:
    ...     session.execute("x = 20")
    ...     session.run("x + 1").result
    21

    A limit ends the program and, where it can be interrupted, leaves the session as it is; else ``session_ended`` of
    the result says why the session is no more, and what comes after it raises :class:`SessionEnded`.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        name: str | None = None,
        files: Files | None = None,
        idle_timeout: int | None = None,
    ) -> None:
        """See :meth:`Sandbox.session`."""
        self._sandbox = sandbox
        self._enable_logging = sandbox.enable_logging
        self._wanted: dict[str, Any] = dict(sandbox._target())
        for key, value in (("name", name), ("idle_timeout", idle_timeout)):
            if value is not None:
                self._wanted[key] = value
        if files:
            self._wanted["files"] = files_of(files)
        self.name = name
        self._lock = threading.Lock()
        self._id: str | None = None
        self._ended: str | None = None

    @property
    def id(self) -> str:
        """Its id; makes it if it is not there yet. Raises :class:`SandboxError` where it cannot be made."""
        with self._lock:
            if self._ended is not None:
                raise SessionEnded(f"the session has ended: {self._ended}")
            if self._id is None:
                status, answer = self._sandbox._post(_SESSIONS, self._wanted, None)
                found = answer.get("id") if isinstance(answer, dict) else None
                if status not in (200, 201) or not isinstance(found, str):
                    raise problem(status, answer)
                self._id = found
            return self._id

    @property
    def files(self) -> SessionFiles:
        """Its files."""
        return SessionFiles(self)  # made anew: kept, it would be a cycle, and the server would outlive its last user

    def describe(self) -> Mapping[str, Any]:
        """``state`` (``starting``, ``idle``, ``busy``), ``executions``, ``memory_bytes``, ``idle_timeout_s``,
        ``policy`` and the rest of what the server says of it."""
        answer = self._ask("GET", "")
        return answer if isinstance(answer, dict) else {}

    def interrupt(self) -> None:
        """KeyboardInterrupt in the program that runs now, from any thread. The session stays. Nothing where none runs."""
        self._ask("POST", "/interrupt")

    def restart(self) -> None:
        """A new interpreter: variables are gone. Files stay, but not those given to :meth:`Sandbox.session` that no
        program wrote to: put them there again."""
        self._ask("POST", "/restart")

    def variables(self) -> list[Variable]:
        """What its programs defined. Raises :class:`BusyError` while one runs.

        >>> from sandbox import Sandbox
        >>> with Sandbox().session() as session:
        ...     _ = session.run("numbers = [1, 2, 3]")
        ...     session.variables()
        [Variable(name='numbers', type='list', size=3, preview='[1, 2, 3]')]
        """
        answer = self._ask("GET", "/variables")
        return [
            Variable(
                str(item.get("name", "")),
                str(item.get("type", "")),
                item["size"] if isinstance(item.get("size"), int) else None,
                str(item.get("preview", "")),
            )
            for item in _items(answer, "variables")
        ]

    def complete(self, code: str, cursor: int | None = None) -> Completion:
        """How the name before the cursor (the end if None; in characters) could go on.

        Raises :class:`BusyError` while a program runs.
        """
        body: dict[str, Any] = {"code": code}
        if cursor is not None:
            body["cursor"] = cursor
        answer = self._ask("POST", "/complete", body)
        if not isinstance(answer, dict):
            answer = {}
        matches, start, end = answer.get("matches"), answer.get("start"), answer.get("end")
        return Completion(
            [str(match) for match in matches] if isinstance(matches, list) else [],
            start if isinstance(start, int) else len(code),
            end if isinstance(end, int) else len(code),
        )

    def close(self) -> None:
        """Ends it, with what runs in it. More than once does nothing."""
        with self._lock:
            found, self._id = self._id, None
            ended, self._ended = self._ended, self._ended or "it was closed"
        if found is None or ended is not None:
            return
        try:
            status, answer = self._client().call("DELETE", f"{_SESSIONS}/{found}")
        except SandboxError:
            return  # the server is gone, and all its sessions with it
        if status not in (204, 404):
            raise problem(status, answer)

    async def interrupt_async(self) -> None:
        """:meth:`interrupt` without blocking the event loop; so the other ``_async``."""
        await in_thread(self.interrupt)

    async def restart_async(self) -> None:
        await in_thread(self.restart)

    async def variables_async(self) -> list[Variable]:
        return await in_thread(self.variables)

    async def complete_async(self, code: str, cursor: int | None = None) -> Completion:
        return await in_thread(lambda: self.complete(code, cursor))

    async def describe_async(self) -> Mapping[str, Any]:
        return await in_thread(self.describe)

    async def close_async(self) -> None:
        await in_thread(self.close)

    def __enter__(self) -> Session:
        self.id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Session:
        await in_thread(lambda: self.id)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await in_thread(self.close)

    # inside

    def _target(self) -> Mapping[str, Any]:
        return {"session": self.id}

    def _client(self) -> Client:
        return self._sandbox._client()

    def _post(self, path: str, body: Mapping[str, Any], call: Call | None) -> tuple[int, Any]:
        return self._sandbox._post(path, body, call)

    def _explained(self, exc: SandboxError) -> SandboxError:
        if isinstance(exc, NotFoundError) and exc.field == "session":
            return self._gone("its server does not have it any more")
        return self._sandbox._explained(exc)

    def _gone(self, why: str) -> SessionEnded:
        with self._lock:
            self._ended = self._ended or why
            return SessionEnded(f"the session has ended: {self._ended}", name="SessionEnded")

    def _noted(self, result: Result) -> None:
        if result.session_ended is not None:
            with self._lock:
                self._ended = self._ended or result.session_ended
        self._sandbox._noted(result)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None) -> Any:
        status, answer = self._client().call(method, f"{_SESSIONS}/{self.id}{path}", body)
        if 200 <= status < 300:
            return answer
        raise self._lost(problem(status, answer), path)

    def _lost(self, exc: SandboxError, path: str) -> SandboxError:
        """Of a file or of the session: only looking tells."""
        if isinstance(exc, NotFoundError) and path and self._client().get(f"{_SESSIONS}/{self._id}")[0] != 404:
            return exc
        return self._gone("its server does not have it any more") if isinstance(exc, NotFoundError) else exc


class SessionFiles:
    """The files of a session: what lies in its working directory ``/work``, whatever runs there.

    >>> from sandbox import Sandbox, SandboxSettings
    >>> with Sandbox(SandboxSettings(allow_file_operations=True)).session() as session:
    ...     session.files.put("in.txt", "hello")
    ...     _ = session.run("open('out.txt', 'w').write(open('in.txt').read().upper())")
    ...     session.files.get("out.txt")
    b'HELLO'
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, path: str, data: str | bytes) -> None:
        """Puts it in the place of what is there. path: plain and relative. data: text (UTF-8) or bytes."""
        if not isinstance(data, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"the contents of {path!r} have to be str or bytes, not {type(data).__name__}")
        self._session._ask("PUT", _place(path), data.encode() if isinstance(data, str) else bytes(data))

    def get(self, path: str) -> bytes:
        """Its contents. Raises :class:`NotFoundError` where there is no such regular file."""
        place = _place(path)
        try:
            return self._session._client().download(f"{_SESSIONS}/{self._session.id}{place}")
        except NotFoundError as exc:
            raise self._session._lost(exc, place) from None

    def list(self) -> List[File]:
        """All of them, sorted by path; 1,000 at most."""
        return [
            File(str(item.get("path", "")), int(item.get("size") or 0), str(item.get("mime") or ""))
            for item in _items(self._session._ask("GET", "/files"), "files")
        ]

    def delete(self, path: str) -> None:
        """Raises :class:`NotFoundError` where there is none."""
        self._session._ask("DELETE", _place(path))

    async def put_async(self, path: str, data: str | bytes) -> None:
        """:meth:`put` without blocking the event loop; so the other ``_async``."""
        await in_thread(lambda: self.put(path, data))

    async def get_async(self, path: str) -> bytes:
        return await in_thread(lambda: self.get(path))

    async def list_async(self) -> List[File]:
        return await in_thread(self.list)

    async def delete_async(self, path: str) -> None:
        await in_thread(lambda: self.delete(path))


def _place(path: str) -> str:
    return f"/files/{quote(path)}"


def _items(answer: Any, key: str) -> list[dict[str, Any]]:
    found = answer.get(key) if isinstance(answer, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
