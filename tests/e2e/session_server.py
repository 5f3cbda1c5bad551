# SPDX-License-Identifier: MIT
"""Sessions of a `sandbox serve` of a test's own."""
from __future__ import annotations

import contextlib
import json
import time
from urllib.parse import quote

import http_server


class Server:
    def __init__(self, http: http_server.Server) -> None:
        self.http = http

    def raw(self, method: str, url: str, body: object = None, timeout: float = 60) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/octet-stream"} if isinstance(body, bytes) else {}
        connection = self.http.connect(timeout)
        try:
            answer = self.http.ask(method, url, body, headers, connection)
            return answer.status, answer.body
        finally:
            connection.close()

    def call(self, method: str, url: str, body: object = None, timeout: float = 60) -> tuple[int, object]:
        status, data = self.raw(method, url, body, timeout)
        return status, json.loads(data) if data else None

    def session(self, *, preset: str | None = None, idle_timeout: int | None = None, files: dict | None = None,
                **fields: object) -> "Session":
        body: dict = {"policy": fields}
        if preset:
            body["preset"] = preset
        if idle_timeout:
            body["idle_timeout"] = idle_timeout
        if files:
            body["files"] = files
        status, made = self.call("POST", "/v1/sessions", body)
        assert status == 201, (status, made)
        return Session(self, made["id"])


class Session:
    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.id = name

    def run(self, code: str, timeout: float = 60, **keys: object) -> dict:
        status, result = self.server.call("POST", "/v1/executions", {"session": self.id, "code": code, **keys}, timeout)
        assert status == 200, (status, result)
        return result

    def value(self, code: str) -> object:
        result = self.run(code)
        assert result["status"] == "ok", (result["error"], result["session_ended"])
        return result["result"]

    def describe(self) -> dict | None:
        status, found = self.server.call("GET", f"/v1/sessions/{self.id}")
        return found if status == 200 else None

    def wait_for(self, state: str | None, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.describe()
            if (found["state"] if found else None) == state:
                return
            time.sleep(0.01)
        raise AssertionError(f"the session did not become {state}: {found}")

    def post(self, what: str, body: object = None) -> tuple[int, object]:
        return self.server.call("POST", f"/v1/sessions/{self.id}/{what}", body)

    def end(self) -> None:
        self.server.raw("DELETE", f"/v1/sessions/{self.id}")

    def file(self, method: str, path: str, data: bytes | None = None) -> tuple[int, bytes]:
        return self.server.raw(method, f"/v1/sessions/{self.id}/files/{quote(path)}", data)

    def files(self) -> dict[str, int]:
        status, found = self.server.call("GET", f"/v1/sessions/{self.id}/files")
        assert status == 200, found
        return {file["path"]: file["size"] for file in found["files"]}


@contextlib.contextmanager
def serving(*options: str):
    with http_server.Server(*options) as http:
        yield Server(http)
