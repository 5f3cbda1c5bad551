# SPDX-License-Identifier: MIT
"""An engine that speaks the part of Docker's API that DockerSandbox uses, whose containers are processes: the command
of the image with the paths of the host. What a container's flags do is tested by ./dev test-docker."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any


class Container:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None
        self.own = tempfile.mkdtemp(prefix="fake-container-")
        self.removed = threading.Event()

    def place(self) -> str:
        """What is /run/sandbox inside."""
        for bind in self.config["HostConfig"]["Binds"]:
            if bind.endswith(":/run/sandbox:rw"):
                return str(bind.split(":")[0])
        return self.own

    def start(self, binary: str) -> None:
        command = [word.replace("/run/sandbox", self.place()) for word in self.config["Cmd"]]
        for bindings in self.config["HostConfig"].get("PortBindings", {}).values():
            command = [word.replace("0.0.0.0:5000", f"0.0.0.0:{bindings[0]['HostPort']}") for word in command]
        self.process = subprocess.Popen([binary, *command], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def remove(self) -> None:
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(20)
        shutil.rmtree(self.own, ignore_errors=True)
        self.removed.set()


class FakeEngine:
    def __init__(self, binary: str, podman: bool = False) -> None:
        self.binary, self.podman = binary, podman
        self.images = {"interpreter-sandbox"}
        self.containers: list[Container] = []
        self.servers: list[Any] = []

    def listen(self, path: str | None) -> str:
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def address_string(self) -> str:
                return "client"

            def log_message(self, *text: Any) -> None:
                pass

            def handle_one(self) -> None:
                engine.answer(self)

            do_GET = do_POST = do_PUT = do_DELETE = handle_one

        if path is None:
            server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            address = f"tcp://127.0.0.1:{server.server_address[1]}"
        else:
            server = type("Unix", (ThreadingMixIn, UnixStreamServer), {"daemon_threads": True})(path, Handler)
            address = f"unix://{path}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.servers.append(server)
        return address

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()
        for container in self.containers:
            if not container.removed.is_set():
                container.remove()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = request.path.partition("?")[0].removeprefix("/v1.40")
        parts = path.strip("/").split("/")

        def say(status: int, value: Any = None) -> None:
            text = b"" if value is None else json.dumps(value).encode()
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(text)))
            request.end_headers()
            request.wfile.write(text)

        if path == "/version":
            return say(200, {"Components": [{"Name": "Podman Engine" if self.podman else "Engine"}]})
        if path == "/info":
            return say(200, {"SecurityOptions": ["name=seccomp"]})
        if path == "/containers/create":
            config = json.loads(body)
            if config["Image"] not in self.images:
                return say(404, {"message": f"No such image: {config['Image']}"})
            self.containers.append(Container(config))
            return say(201, {"Id": str(len(self.containers) - 1)})
        container = self.containers[int(parts[1])]
        if request.command == "DELETE":
            if not container.removed.is_set():
                container.remove()
            return say(204)
        if parts[2] == "archive":
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                for member in archive:
                    member.uid = member.gid = -1
                    archive.extract(member, container.place())
            return say(200)
        if parts[2] == "attach":
            request.send_response(101)
            request.end_headers()
            request.wfile.flush()
            request.rfile.read()  # until its other end is closed
            if not container.removed.is_set():
                container.remove()
            request.close_connection = True
            return None
        if parts[2] == "start":
            container.start(self.binary)
            return say(204)
        if parts[2] == "json":
            process = container.process
            running = process is not None and process.poll() is None
            return say(200, {"State": {"Running": running, "ExitCode": 0 if running or not process else process.returncode}})
        return say(404, {"message": path})
