# SPDX-License-Identifier: MIT
"""The few calls of the Docker API that are needed, on the socket of Docker or podman."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any
from urllib.parse import urlencode, urlsplit

from sandbox.exceptions import SandboxError

__all__ = ["DockerError", "Engine", "find_engine"]

_VERSION = "/v1.40"  # Docker 19.03, podman 3
_TIMEOUT_S = 60.0


class DockerError(SandboxError):
    """The engine is not there, or refused a call."""


def find_engine() -> str:
    """The address of the engine: ``DOCKER_HOST``, Docker's socket, podman's. Raises :class:`DockerError`."""
    named = os.environ.get("DOCKER_HOST")
    if named:
        return named
    home, runtime = os.path.expanduser("~"), os.environ.get("XDG_RUNTIME_DIR", "")
    places = ["/var/run/docker.sock", f"{home}/.docker/run/docker.sock", "/run/podman/podman.sock"]
    if runtime:
        places[1:1] = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"]
    for path in places:
        if os.access(path, os.R_OK | os.W_OK):
            return f"unix://{path}"
    raise DockerError(
        "neither Docker nor podman can be reached: start one (`podman system service` for podman's socket), or set "
        "DOCKER_HOST; looked for " + ", ".join(places)
    )


class Engine:
    """An engine's address. Each call has a connection of its own. Threads may share it."""

    def __init__(self, address: str) -> None:
        """address: ``unix://PATH``, ``tcp://HOST:PORT``. Raises :class:`DockerError` for another."""
        self.address = address
        parts = urlsplit(address)
        if not (parts.scheme == "unix" and parts.path or parts.scheme in ("tcp", "http") and parts.hostname):
            raise DockerError(f"{address!r} is no address of an engine: use unix://PATH or tcp://HOST:PORT")
        self._parts = parts

    def call(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """The decoded answer. Raises :class:`DockerError` for anything but a success."""
        connection = self._connect()
        try:
            data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
            kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
            target = f"{_VERSION}{path}" + (f"?{urlencode(query)}" if query else "")
            try:
                connection.request(method, target, data, {"Content-Type": kind} if data is not None else {})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as exc:
                raise DockerError(f"no answer from the engine at {self.address}: {exc!r}") from exc
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise DockerError(f"{method} {path}: {_message(text)} ({answer.status})", name=str(answer.status))
        if "json" in answer.getheader("Content-Type", "") and text:
            try:
                return json.loads(text)
            except ValueError as exc:
                raise DockerError(f"{method} {path}: the answer is no JSON") from exc
        return text

    def attach(self, container: str) -> socket.socket:
        """Its standard input, to be called before it is started; the caller closes it."""
        connection = self._connect()
        path = f"{_VERSION}/containers/{container}/attach?stream=1&stdin=1"
        try:
            connection.request("POST", path, headers={"Connection": "Upgrade", "Upgrade": "tcp"})
            answer = connection.getresponse()
            if answer.status not in (101, 200):
                raise DockerError(f"attach: {_message(answer.read())} ({answer.status})")
            held: socket.socket = connection.sock.dup()
        except (OSError, http.client.HTTPException) as exc:
            raise DockerError(f"no answer from the engine at {self.address}: {exc!r}") from exc
        finally:
            connection.close()
        return held

    def _connect(self) -> http.client.HTTPConnection:
        parts = self._parts
        connection = http.client.HTTPConnection(parts.hostname or "localhost", parts.port or 2375, timeout=_TIMEOUT_S)
        try:
            if parts.scheme == "unix":
                connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.sock.settimeout(_TIMEOUT_S)
                connection.sock.connect(parts.path)
            else:
                connection.connect()
        except OSError as exc:
            connection.close()
            raise DockerError(f"the engine at {self.address} cannot be reached: {exc}") from exc
        return connection


def _message(text: bytes) -> str:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if isinstance(said, dict):
        return str(said.get("message") or said.get("cause") or said)
    return text.decode("utf-8", "replace").strip() or "no reason was given"
