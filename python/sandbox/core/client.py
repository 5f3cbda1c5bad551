# SPDX-License-Identifier: MIT
"""HTTP to a server: kept-alive connections that threads share, one call at a time on each."""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import threading
import time
import urllib.parse
import weakref
from typing import Any, Iterator, Mapping

from sandbox.exceptions import SandboxError, ServerGone, problem

__all__ = ["Call", "Client", "ServerGone"]

_CONNECT_S = 10.0
_IDLE_S = 30.0  # the server ends idle connections after 60 s
_JSON = ("application/json", "application/problem+json")
_IDLE_MAX = 32  # connections kept; more are made as needed and closed after use


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(_CONNECT_S)
            sock.connect(self._path)
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


class _TcpConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _wait_as_long_as_it_takes(self.sock)


class _TlsConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _wait_as_long_as_it_takes(self.sock)


def _wait_as_long_as_it_takes(sock: socket.socket) -> None:
    """The server keeps the limits of time; here only a dead peer must not be waited for."""
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Call:
    """One request that another thread may give up: the server then stops the program."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self.given_up = False

    def attach(self, connection: http.client.HTTPConnection | None) -> None:
        """Names the connection to cut, None once it is in use by nobody any more."""
        with self._lock:
            self._connection = connection
            if connection is not None and self.given_up:
                raise ServerGone("the call was given up")

    def give_up(self) -> None:
        """From any thread, at any time, more than once."""
        with self._lock:
            self.given_up = True
            sock = self._connection.sock if self._connection is not None else None
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads; close() would not
                except OSError:
                    pass


class Client:
    """A server's address and the connections to it. Threads may share it; a forked child begins with none."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """url: ``unix:PATH``, ``http://host:port`` or ``https://host:port``. token: for ``Authorization``."""
        self.url = url
        #: Whether the server sees the files of this machine, so that paths mean the same to both.
        self.local = url.startswith("unix:")
        self._parts = _parse(url)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        _clients.add(self)

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None, call: Call | None = None
    ) -> tuple[int, Any]:
        """The status and the decoded JSON of the answer (None for an empty one). body: JSON, or bytes as they are.

        A problem document with a ``Retry-After`` has it as ``retry_after``, in seconds. Raises :class:`ServerGone`,
        and :class:`SandboxError` for a body or an answer that is no JSON.
        """
        connection, response = self._send(method, path, body, "application/json", call)
        text = self._read(connection, response, call)
        if response.status == 204:
            return 204, None
        return response.status, self._decoded(response, text)

    def post(self, path: str, body: Mapping[str, Any], call: Call | None = None) -> tuple[int, Any]:
        return self.call("POST", path, body, call)

    def get(self, path: str) -> tuple[int, Any]:
        return self.call("GET", path)

    def download(self, path: str) -> bytes:
        """A file. Raises what a problem document in its place stands for (:func:`sandbox.exceptions.problem`)."""
        connection, response = self._send("GET", path, None, "*/*", None)
        data = self._read(connection, response, None)
        if response.status != 200:
            raise problem(response.status, self._decoded(response, data))
        return data

    def stream(
        self, path: str, body: Mapping[str, Any], call: Call | None = None
    ) -> Iterator[tuple[int, Any]]:
        """The status with each line of an NDJSON answer, or once with a plain one.

        Closing the iterator before its end ends the connection, and with it the program.
        """
        connection, response = self._send("POST", path, body, "application/x-ndjson", call)
        if response.getheader("Content-Type", "") != "application/x-ndjson":
            yield response.status, self._decoded(response, self._read(connection, response, call))
            return
        whole = False
        try:
            while True:
                try:
                    line = response.readline()
                except (OSError, http.client.HTTPException) as exc:
                    raise ServerGone(f"the server ended during the stream: {exc!r}") from exc
                if not line:
                    break
                yield response.status, _decode(line)
            whole = call is None or not call.given_up
        finally:
            if call is not None:
                call.attach(None)
            if whole:
                self._put_back(connection, response)
            else:
                connection.close()

    def close(self) -> None:
        """Closes what is idle. The client can be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | bytes | None, accept: str, call: Call | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        headers = {"Accept": accept, **self._headers}
        data: bytes | None = None
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/octet-stream"
            data = body
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = _encode(body)
        connection = self._take()
        try:
            if connection.sock is None:
                connection.connect()
            if call is not None:
                call.attach(connection)
            try:
                connection.request(method, path, data, headers)
            except (BrokenPipeError, ConnectionResetError):
                # A body that is refused early: the answer is there to be read.
                if connection.sock is None:
                    raise
            return connection, connection.getresponse()
        except BaseException as exc:
            connection.close()
            if call is not None:
                call.attach(None)
            if isinstance(exc, (OSError, http.client.HTTPException)):
                gone = ServerGone(f"no answer from the sandbox server at {self.url}: {exc!r}")
                gone.unseen = isinstance(exc, (ConnectionRefusedError, FileNotFoundError))
                raise gone from exc
            raise

    def _read(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, call: Call | None
    ) -> bytes:
        """The whole body; the connection goes back to the others."""
        try:
            text = response.read()
        except BaseException as exc:
            connection.close()
            if isinstance(exc, (OSError, http.client.HTTPException)):
                raise ServerGone(f"the server at {self.url} ended in the middle of its answer") from exc
            raise
        finally:
            if call is not None:
                call.attach(None)
        if call is None or not call.given_up:
            self._put_back(connection, response)
        else:
            connection.close()
        return text

    def _decoded(self, response: http.client.HTTPResponse, text: bytes) -> Any:
        kind = response.getheader("Content-Type", "").partition(";")[0].strip()
        if kind not in _JSON:
            raise SandboxError(f"the server at {self.url} answered {response.status} and no JSON")
        answer = _decode(text)
        after = response.getheader("Retry-After", "")
        if isinstance(answer, dict) and "name" in answer and after.isascii() and after.isdigit():
            answer["retry_after"] = float(after)
        return answer

    def _take(self) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                if not self._idle:
                    return self._make()
                since, connection = self._idle.pop()
            if time.monotonic() - since < _IDLE_S and _is_quiet(connection.sock):
                return connection
            connection.close()

    def _put_back(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        with self._lock:
            if not response.will_close and connection.sock is not None and len(self._idle) < _IDLE_MAX:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def _make(self) -> http.client.HTTPConnection:
        kind, where, port = self._parts
        if kind == "unix":
            return _UnixConnection(where)
        if kind == "https":
            return _TlsConnection(where, port, timeout=_CONNECT_S)
        return _TcpConnection(where, port, timeout=_CONNECT_S)

    def _after_fork(self) -> None:
        # The descriptors are copies: closing them says nothing to the server. The lock may be held by a thread that
        # does not exist here.
        self._lock = threading.Lock()
        self.close()


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _parse(url: str) -> tuple[str, str, int | None]:
    if url.startswith("unix:"):
        path = url[len("unix:") :]
        if path.startswith("//"):
            path = "/" + path.lstrip("/")
        if not path:
            raise SandboxError("unix: needs the path of a socket")
        return "unix", path, None
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise SandboxError(f"{url!r} is no address of a server: {exc}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise SandboxError(f"{url!r} is no address of a server: use unix:PATH or http://host:port")
    return parts.scheme, parts.hostname, port


def _is_quiet(sock: socket.socket | None) -> bool:
    """Nothing to read: data would be an answer to nobody, an end of file a server that closed it."""
    if sock is None or sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as exc:
        raise SandboxError(f"the request cannot be written as JSON: {exc}") from exc


def _decode(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise SandboxError(f"the server's answer is no JSON: {exc}") from exc
