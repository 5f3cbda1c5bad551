# SPDX-License-Identifier: MIT
"""The sandbox: a thin client of the server that runs the programs."""

from __future__ import annotations

import copy
import os
import sys
import threading
import weakref
from types import TracebackType
from typing import Any, Callable, Mapping
from urllib.parse import quote

from sandbox.config.settings import DEFAULT_SETTINGS, SandboxSettings
from sandbox.core.client import Call, Client
from sandbox.core.programs import EXECUTIONS, Files, Programs
from sandbox.core.result import LIMITS, Result
from sandbox.core.server import Lease
from sandbox.core.session import Session
from sandbox.exceptions import SandboxError, ServerGone

__all__ = ["Sandbox"]


class Sandbox(Programs):
    """Runs programs, each in a fresh jail, under one set of settings.

    Threads may share one. Programs run on a private server that all sandboxes of a process share and that ends with
    it, or on the one that the environment names: ``SANDBOX_URL`` (``unix:PATH``, ``http://host:port``,
    ``https://host:port``; certificates as OpenSSL finds them, ``SSL_CERT_FILE``) with ``SANDBOX_TOKEN``.

    >>> from sandbox import Sandbox, SandboxSettings
    >>> box = Sandbox(SandboxSettings(max_memory_mb=50, allowed_modules=["json"]))
    >>> box.execute("import json; __result__ = json.loads('[1, 2]')")
    [1, 2]
    """

    def __new__(cls, *arguments: Any, **options: Any) -> Sandbox:
        """On other systems than Linux, and where ``SANDBOX_URL`` names no server, one whose server is in a container."""
        if cls is Sandbox and not sys.platform.startswith("linux") and not os.environ.get("SANDBOX_URL"):
            from sandbox.docker.manager import DockerSandbox

            cls = DockerSandbox
        return super().__new__(cls)

    def __init__(self, settings: SandboxSettings | None = None, enable_logging: bool = True) -> None:
        """settings: the defaults if None. enable_logging: record every program in the journal of this user
        (see :mod:`sandbox.logging.security_logger`) and tell the logger ``sandbox`` of it (INFO). False writes nothing
        at all; on the server that ``SANDBOX_URL`` names its operator decides what is recorded.

        Nothing is started yet. Raises :class:`SandboxError` for a malformed ``SANDBOX_URL``.
        """
        self.settings = copy.deepcopy(DEFAULT_SETTINGS) if settings is None else settings
        self.enable_logging = self._enable_logging = enable_logging
        self._within_limits = True
        url = os.environ.get("SANDBOX_URL")
        self._remote = Client(url, os.environ.get("SANDBOX_TOKEN")) if url else None
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._detach: Callable[[], object] | None = None

    # sessions and files

    def session(
        self, name: str | None = None, *, files: Files | None = None, idle_timeout: int | None = None
    ) -> Session:
        """A jail in which programs run one after the other and keep their state, under the settings of now.

        name: letters, digits, ``.``, ``_`` and ``-``, 64 at most. A session of this caller that has the name already
        is gone on with, if its settings are the same (else :class:`SandboxError`, name ``SessionExists``); so other
        processes can share one on the server that ``SANDBOX_URL`` names. files: as of :meth:`execute`, put there at
        its beginning. idle_timeout: seconds without use after which it ends; by default the server's (an hour).

        Use it as a context manager, or :meth:`~Session.close` it. Nothing is started before its first use.
        """
        return Session(self, name, files, idle_timeout)

    def file(self, execution: Result | str, path: str) -> bytes:
        """The contents of a file that a program left in ``/work`` (``Result.files``), out of the journal.

        Raises :class:`NotFoundError` where there is none, and where nothing is recorded (``enable_logging=False``).

        >>> from sandbox import Sandbox, SandboxSettings
        >>> box = Sandbox(SandboxSettings(allow_file_operations=True))
        >>> result = box.run("open('a.txt', 'w').write('hello')")
        >>> [item["path"] for item in result.files], box.file(result, "a.txt")
        (['a.txt'], b'hello')
        """
        found = execution.id if isinstance(execution, Result) else execution
        return self._client().download(f"{EXECUTIONS}/{quote(found, safe='')}/files/{quote(path)}")

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

    def _target(self) -> Mapping[str, Any]:
        request: dict[str, Any] = {"policy": self.settings.to_policy()}
        if self._remote is None or self._remote.local:
            try:
                request["cwd"] = os.getcwd()
            except OSError:
                pass  # it was removed: relative paths are then refused, absolute ones are not
        return request

    def _post(self, path: str, body: Mapping[str, Any], call: Call | None) -> tuple[int, Any]:
        client = self._client()
        try:
            return client.post(path, body, call)
        except ServerGone as exc:
            # A private server that was killed stops listening a moment before it is seen to have ended.
            if not exc.unseen or self._lease is None or not self._lease.await_end(client):
                raise self._explained(exc) from exc
            try:
                return self._client().post(path, body, call)
            except ServerGone as again:
                raise self._explained(again) from again

    def _explained(self, exc: SandboxError) -> SandboxError:
        lease = self._lease
        if not isinstance(exc, ServerGone) or lease is None:
            return exc
        said = ServerGone(f"{exc}{lease.last_words()}", name="ServerGone")
        said.unseen = exc.unseen
        return said

    def _noted(self, result: Result) -> None:
        self._within_limits = result.status not in LIMITS
