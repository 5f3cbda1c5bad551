# SPDX-License-Identifier: MIT
"""A `sandbox serve` of the tests' own, and raw callers. Works as root and as an ordinary user."""
from __future__ import annotations

import http.client
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile
import time

import runner

JSON = {"Content-Type": "application/json"}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float = 30) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def type(self) -> str | None:
        value = self.headers.get("Content-Type")
        return value.partition(";")[0] if value else None

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """Ends with its stdin, so that a test that is killed leaves none."""

    def __init__(self, *args: str, cwd: str | None = None) -> None:
        self.dir = tempfile.mkdtemp(prefix="sandbox-http.")
        self.socket = f"{self.dir}/s"
        self.log = open(f"{self.dir}/log", "w+b")
        self.process = subprocess.Popen(
            [runner.BINARY, "serve", "--socket", self.socket, "--exit-with-stdin",
             *([] if {"--journal", "--config", "--no-journal"} & {*args} else ["--no-journal"]), *args],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.log, cwd=cwd)
        self.await_line("listening on unix:")

    def said(self) -> str:
        self.log.flush()
        return pathlib.Path(self.dir, "log").read_text(errors="replace")

    def await_line(self, text: str, seconds: float = 30) -> str:
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            for line in self.said().splitlines():
                if text in line:
                    return line
            time.sleep(0.01)
        raise AssertionError(f"the server did not say {text!r}: {self.said()}")

    def connect(self, timeout: float = 30) -> UnixConnection:
        return UnixConnection(self.socket, timeout)

    def raw(self, timeout: float = 10) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(self.socket)
        return sock

    def ask(self, method: str, path: str, body=None, headers: dict | None = None,
            connection: http.client.HTTPConnection | None = None) -> Answer:
        own = connection or self.connect()
        data, headers = body, dict(headers or {})
        if isinstance(body, (dict, list)):
            data = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            own.request(method, path, data, headers)
            return Answer(own.getresponse())
        finally:
            if connection is None:
                own.close()

    def run(self, code: str, **more) -> dict:
        answer = self.ask("POST", "/v1/executions", {"code": code, **more})
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.log.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()


def until(condition, seconds: float = 10):
    """The first true value of condition(), or its last."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.02)


def read_to_end(sock: socket.socket, seconds: float = 10) -> bytes:
    """All that comes until the other side ends the connection; AssertionError if it does not."""
    data, end = b"", time.monotonic() + seconds
    while True:
        if not select.select([sock], [], [], max(0, end - time.monotonic()))[0]:
            raise AssertionError(f"left open after {data[:300]!r}")
        try:
            part = sock.recv(65536)
        except ConnectionError:
            return data
        if not part:
            return data
        data += part
