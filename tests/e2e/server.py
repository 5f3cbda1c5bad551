# SPDX-License-Identifier: MIT
"""A `sandbox serve` of a test's own, and a few lines of HTTP to it."""
from __future__ import annotations

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from runner import BINARY

READY_S = 60.0


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float = 60) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status: int, headers: dict, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class Server:
    """With --socket below `directory`, unless `socket_option` is false."""

    def __init__(self, directory: pathlib.Path, *args: str, env: dict | None = None, socket_option: bool = True,
                 prefix: tuple = (), **popen: object) -> None:
        self.socket = str(directory / "s.sock")
        self.log = directory / "serve.log"
        own = ("--socket", self.socket) if socket_option else ()
        # Nobody's own configuration is the tests'.
        env = {**os.environ, "XDG_CONFIG_HOME": str(directory / "none"), "XDG_RUNTIME_DIR": str(directory),
               **(env or {})}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*prefix, BINARY, "serve", *own, *args], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log, env=env, **popen)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, what: str, count: int = 1, seconds: float = READY_S) -> None:
        end = time.monotonic() + seconds
        while self.text().count(what) < count:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.text()}"
            assert time.monotonic() < end, f"no {what!r} in: {self.text()}"
            time.sleep(0.01)

    def ready(self) -> "Server":
        self.wait_for("listening on ")
        return self

    def urls(self) -> list[str]:
        """HOST:PORT of each TCP listener."""
        return [line.split("://", 1)[1].split(" ")[0] for line in self.text().splitlines()
                if line.startswith("listening on http")]

    def ask(self, method: str, path: str, body: object = None, *, host: str | None = None, token: str | None = None,
            timeout: float = 60) -> Answer:
        """Over the unix socket, or over TCP to `host`."""
        connection = http.client.HTTPConnection(host, timeout=timeout) if host else \
            UnixConnection(self.socket, timeout)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def run(self, code: str, **keys: object) -> dict:
        answer = self.ask("POST", "/v1/executions", {"code": code, **keys})
        assert answer.status == 200, answer.body
        return answer.json

    def children(self, of: int | None = None) -> list[int]:
        """The direct children of a process of its, its own by default."""
        of, found = of or self.process.pid, []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                rest = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(rest[1]) == of and rest[0] != "Z":
                found.append(int(stat.parent.name))
        return sorted(found)

    def process_of(self, role: str) -> int:
        """broker, engine, jailer or zygote: each is the only child of the one before."""
        pid = self.process.pid
        for name in ("broker", "engine", "jailer", "zygote"):
            pid = self.children(pid)[0]
            if name == role:
                return pid
        raise ValueError(role)

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(timeout)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
