# SPDX-License-Identifier: MIT
"""A sandbox whose server runs in a container: for macOS and Windows, and for hosts where nothing else may be installed."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import socket
import sys
import tarfile
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Mapping

from sandbox.config.settings import SandboxSettings
from sandbox.core.client import Client
from sandbox.core.programs import Files
from sandbox.core.sandbox import Sandbox
from sandbox.docker.api import DockerError, Engine, find_engine
from sandbox.exceptions import SandboxError, ServerGone

__all__ = ["DockerSandbox"]

_IMAGE = "interpreter-sandbox"
_USER = 10001  # the image's
_START_S = 90.0
_LABEL = "interpreter-sandbox"
_SOCKET = "/run/sandbox/sandbox.sock"


class DockerSandbox(Sandbox):
    """As :class:`Sandbox`, with its server in a container of Docker or podman (``DOCKER_HOST``, or their usual
    sockets). The image is the one that ``SANDBOX_IMAGE`` names, else ``interpreter-sandbox``; ``docs/docker.md`` says
    how it is built. The container is started by the first program and ends with :meth:`cleanup` or with this process,
    whatever that ends of. It sees of the host's files what ``allowed_directories`` grants, and has a network only with
    ``network_access``. Nothing is recorded.
    """

    def __init__(self, settings: SandboxSettings | None = None, enable_logging: bool = False) -> None:
        super().__init__(settings, enable_logging)
        self._remote = None
        self._container: _Container | None = None

    def execute_async(self, code: str, callback: Any = None, files: Files | None = None, **options: Any) -> Any:
        """With a callback: runs in a thread, which is returned, and calls ``callback(result=VALUE, error=None)`` or
        ``callback(result=None, error=EXCEPTION)`` there. Without: a coroutine, as :meth:`Sandbox.execute_async`."""
        if not callable(callback):
            return super().execute_async(code, callback if files is None else files, **options)

        def work() -> None:
            try:
                value = self.execute(code, files, **options)
            except Exception as exc:
                callback(result=None, error=exc)
            else:
                callback(result=value, error=None)

        thread = threading.Thread(target=work, name="sandbox-docker", daemon=True)
        thread.start()
        return thread

    def _client(self) -> Client:
        with self._lock:
            wanted = _shape(self.settings)
            found = self._container
            if found is not None and (found.shape != wanted or not found.alive()):
                self._container = None
                found.end()
                found = None
            if found is None:
                found = self._container = _Container(wanted)
                weakref.finalize(self, found.end)
            return found.client

    def _target(self) -> Mapping[str, Any]:
        policy = self.settings.to_policy()
        grants = _grants(self.settings)
        policy["allowed_directories"] = [f"{path}:{mode}" for path, mode in grants]
        request: dict[str, Any] = {"policy": policy}
        here = os.path.realpath(os.getcwd())
        if any(here == path or here.startswith(path.rstrip("/") + "/") for path, _ in grants):
            request["cwd"] = here
        return request

    def _release(self, linger: bool) -> None:
        with self._lock:
            found, self._container = self._container, None
        if found is not None:
            found.end()


def _grants(settings: SandboxSettings) -> list[tuple[str, str]]:
    grants = []
    for entry in settings.allowed_directories:
        path, mode = os.fspath(entry), "rw"
        if path.endswith((":ro", ":rw")):
            path, mode = path[:-3], path[-2:]
        grants.append((os.path.realpath(path), mode))
    return grants


def _shape(settings: SandboxSettings) -> tuple[Any, ...]:
    """What is fixed when a container is started."""
    return (os.environ.get("SANDBOX_IMAGE") or _IMAGE, tuple(_grants(settings)), settings.network_access)


class _Container:
    """A running container and the way to its server: a unix socket in a directory that both see, else a port."""

    def __init__(self, shape: tuple[Any, ...]) -> None:
        self.shape = shape
        self._engine = Engine(find_engine())
        self._id: str | None = None
        self._input: socket.socket | None = None
        self._directory: str | None = None
        # A virtual machine's kernel lies between: sockets do not pass it, ports do.
        self._by_port = not sys.platform.startswith("linux") or not self._engine.address.startswith("unix:")
        try:
            self._start()
            self._wait()
        except BaseException:
            self.end()
            raise

    def _start(self) -> None:
        image, grants, network = self.shape
        host: dict[str, Any] = {
            "AutoRemove": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": self._security(),
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "Binds": [f"{path}:{path}:{mode}" for path, mode in grants],
        }
        config: dict[str, Any] = {
            "Image": image,
            "Labels": {_LABEL: str(os.getpid())},
            "OpenStdin": True,
            "StdinOnce": True,
            "AttachStdin": True,
            "User": f"{_USER}:{_USER}",
            "HostConfig": host,
        }
        upload = None
        if self._by_port:
            upload = self._through_port(config, host)
        else:
            self._through_socket(config, host, network)
        try:
            made = self._engine.call("POST", "/containers/create", config)
        except DockerError as exc:
            if exc.name == "404":
                raise DockerError(f"{exc}: build the image first (docs/docker.md), or name one in SANDBOX_IMAGE") from exc
            raise
        self._id = str(made["Id"])
        if upload is not None:
            self._engine.call("PUT", f"/containers/{self._id}/archive", upload, path="/run/sandbox")
        # Its server ends when this connection does, and with it the container.
        self._input = self._engine.attach(self._id)
        self._engine.call("POST", f"/containers/{self._id}/start")

    def _security(self) -> list[str]:
        """What Docker's and podman's defaults withhold from the walls, and no more."""
        options = ["no-new-privileges", "apparmor=unconfined"]
        profile = Path(__file__).with_name("seccomp.json")
        if not self._podman():
            return [*options, "seccomp=" + profile.read_text(encoding="utf-8")]
        # podman takes the path of a file of its own machine.
        return [*options, "unmask=ALL", f"seccomp={'unconfined' if self._by_port else profile}"]

    def _podman(self) -> bool:
        parts = self._engine.call("GET", "/version").get("Components") or []
        return any("Podman" in str(part.get("Name")) for part in parts)

    def _through_socket(self, config: dict[str, Any], host: dict[str, Any], network: bool) -> None:
        self._directory = tempfile.mkdtemp(prefix="sandbox-docker-", dir="/tmp")
        uid, gid = os.geteuid(), os.getegid()
        if uid == 0:
            os.chown(self._directory, _USER, _USER)
        else:
            config["User"] = f"{uid}:{gid}"
            if self._rootless():
                host["UsernsMode"] = "keep-id"
        host["Binds"].append(f"{self._directory}:/run/sandbox:rw")
        host["ReadonlyRootfs"] = True
        host["Tmpfs"] = {"/tmp": "mode=1777"}
        if not network:
            host["NetworkMode"] = "none"
        config["Cmd"] = ["serve", "--exit-with-stdin", "--socket", _SOCKET]
        self.client = Client(f"unix:{self._directory}/sandbox.sock")

    def _through_port(self, config: dict[str, Any], host: dict[str, Any]) -> bytes:
        """The configuration and the token, as an archive for /run/sandbox."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        where = self._engine.address
        name = "127.0.0.1" if where.startswith("unix:") else where.split("://", 1)[1].rsplit(":", 1)[0]
        host["PortBindings"] = {"5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
        config["ExposedPorts"] = {"5000/tcp": {}}
        config["Cmd"] = [
            "serve", "--exit-with-stdin", "--config", "/run/sandbox/sandbox.yaml", "--socket", _SOCKET,
            "--listen", "0.0.0.0:5000", "--insecure", "--token-file", "/run/sandbox/token",
        ]
        token = secrets.token_hex(32)
        self.client = Client(f"http://{name}:{port}", token)
        directories = [f"{path}:{mode}" for path, mode in self.shape[1]]
        settings = json.dumps({"hosts": [f"{name}:{port}"], "grantable_directories": directories})
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            for file, text in (("sandbox.yaml", settings), ("token", token + "\n")):
                member = tarfile.TarInfo(file)
                member.uid = member.gid = _USER
                member.mode, member.size = 0o600, len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return data.getvalue()

    def _rootless(self) -> bool:
        info = self._engine.call("GET", "/info")
        return any("rootless" in str(item) for item in info.get("SecurityOptions") or [])

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                if self.client.get("/v1/health")[0] == 200:
                    return
            except (ServerGone, SandboxError):
                pass
            state = self._state()
            if not state.get("Running"):
                raise DockerError(f"the container ended: {self._last_words(state)}")
            if time.monotonic() > deadline:
                raise DockerError(f"the container's server did not start within {_START_S:g} s: {self._last_words(state)}")
            time.sleep(0.05)

    def _state(self) -> dict[str, Any]:
        try:
            return dict(self._engine.call("GET", f"/containers/{self._id}/json")["State"])
        except DockerError as exc:
            return {"Running": False, "Error": str(exc)}

    def alive(self) -> bool:
        return bool(self._state().get("Running"))

    def _last_words(self, state: Mapping[str, Any]) -> str:
        try:
            text = self._engine.call("GET", f"/containers/{self._id}/logs", stderr=1, stdout=1, tail=20)
        except DockerError:
            text = b""
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else ""
        words = "".join(char for char in said if char.isprintable() or char == "\n").strip()
        return words or str(state.get("Error") or f"exit status {state.get('ExitCode')}")

    def end(self) -> None:
        """From any thread, more than once."""
        found, self._id = self._id, None
        if self._input is not None:
            self._input.close()
            self._input = None
        if found is not None:
            self.client.close()
            try:
                self._engine.call("DELETE", f"/containers/{found}", force=1, v=1)
            except DockerError:
                pass  # it has removed itself
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
