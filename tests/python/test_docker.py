# SPDX-License-Identifier: MIT
"""DockerSandbox against a stand-in for the engine (fake_engine.py); with real ones: ./dev test-docker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from fake_engine import FakeEngine

from sandbox import Sandbox, SandboxSettings, SecurityError
from sandbox.docker.api import DockerError, Engine
from sandbox.docker.executor import run_code
from sandbox.docker.manager import DockerSandbox

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = SandboxSettings(max_execution_time=20, max_cpu_percent=100)


@pytest.fixture
def engine(own_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeEngine]:
    made = FakeEngine(own_server)
    monkeypatch.delenv("SANDBOX_IMAGE", raising=False)
    monkeypatch.setenv("DOCKER_HOST", made.listen(str(tmp_path / "d.sock")))
    # The container's user is no user of a process.
    monkeypatch.setattr(os, "chown", lambda *_: None)
    yield made
    made.close()


def test_programs_run_and_nothing_stays(engine: FakeEngine) -> None:
    with DockerSandbox(SETTINGS) as box:
        assert box.execute("__result__ = 6 * 7") == 42
        with pytest.raises(SecurityError):
            box.execute("import socket")
        with box.session() as session:
            session.run("x = 1")
            assert session.run("x + 1").result == 2
        assert len(engine.containers) == 1
        directory = engine.containers[0].place()
        assert os.path.exists(f"{directory}/sandbox.sock")
    assert engine.containers[0].removed.wait(20)
    assert not os.path.exists(directory)
    assert run_code("__result__ = 1", SETTINGS) == 1


def test_the_flags_are_those_of_the_documents(engine: FakeEngine) -> None:
    with DockerSandbox(SETTINGS) as box:
        box.run("1")
    config = engine.containers[0].config
    host = config["HostConfig"]
    assert host["CapDrop"] == ["ALL"] and host["ReadonlyRootfs"] and host["NetworkMode"] == "none" and host["AutoRemove"]
    assert host["MaskedPaths"] == [] and "Privileged" not in host and len(host["Binds"]) == 1
    assert config["User"].split(":")[0] not in ("0", "root")
    profile = json.loads(next(item for item in host["SecurityOpt"] if item.startswith("seccomp="))[len("seccomp=") :])
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    allowed = {name for group in profile["syscalls"] if "args" not in group for name in group["names"]}
    assert not allowed & {"bpf", "ptrace", "kexec_load", "keyctl", "io_uring_setup", "init_module", "open_by_handle_at"}
    assert (ROOT / "deploy" / "docker" / "seccomp.json").exists() or not (ROOT / "deploy").exists()


def test_podman_gets_the_profile_by_its_path(engine: FakeEngine) -> None:
    engine.podman = True
    with DockerSandbox(SETTINGS) as box:
        box.run("1")
    options = engine.containers[0].config["HostConfig"]["SecurityOpt"]
    path = next(item for item in options if item.startswith("seccomp=/"))
    assert os.path.exists(path[len("seccomp=") :]) and "unmask=ALL" in options


def test_grants_are_mounted_and_new_ones_take_a_new_container(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    with DockerSandbox(SETTINGS) as box:
        box.run("1")
        box.update_settings(SandboxSettings(allow_file_operations=True, allowed_directories=["./:ro"], max_execution_time=20))
        assert box.run("print(open('in.txt').read())").stdout == "hello\n"
        assert [container.removed.is_set() for container in engine.containers] == [True, False]
        assert f"{tmp_path.resolve()}:{tmp_path.resolve()}:ro" in engine.containers[1].config["HostConfig"]["Binds"]


def test_through_a_port_with_a_token(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.listen(None))
    with DockerSandbox(SETTINGS) as box:
        assert box.execute("__result__ = 2") == 2
    host = engine.containers[0].config["HostConfig"]
    assert host["PortBindings"]["5000/tcp"][0]["HostIp"] == "127.0.0.1"


def test_a_callback_in_a_thread(engine: FakeEngine) -> None:
    got: list[dict[str, Any]] = []
    with DockerSandbox(SETTINGS) as box:
        for code in ("__result__ = 3", "1 / 0"):
            thread = box.execute_async(code, lambda **said: got.append({**said, "in": threading.current_thread()}))
            thread.join(60)
            assert got[-1]["in"] is thread
    assert got[0]["result"] == 3 and got[0]["error"] is None
    assert got[1]["result"] is None and got[1]["error"].name == "ZeroDivisionError"


def test_a_process_that_is_killed_leaves_no_container(engine: FakeEngine) -> None:
    code = (
        "import os, signal, sys\nfrom sandbox.docker.manager import DockerSandbox\n"
        "os.chown = lambda *_: None\nDockerSandbox().run('1')\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == -9
    assert engine.containers[0].removed.wait(20)


def test_failures_say_what_to_do(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SANDBOX_IMAGE", "nothing")
    with pytest.raises(DockerError, match="build the image"):
        DockerSandbox(SETTINGS).run("1")
    monkeypatch.delenv("SANDBOX_IMAGE")
    engine.binary = "/bin/false"
    with pytest.raises(DockerError, match="container ended"):
        DockerSandbox(SETTINGS).run("1")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    with pytest.raises(DockerError, match="cannot be reached"):
        DockerSandbox(SETTINGS).run("1")
    with pytest.raises(DockerError, match="no address"):
        Engine("ssh://somewhere")


def test_other_systems_than_linux_take_a_container(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(Sandbox()) is Sandbox
    monkeypatch.setattr(sys, "platform", "darwin")
    with Sandbox(SETTINGS) as box:
        assert type(box) is DockerSandbox
        assert box.execute("__result__ = 5") == 5
    monkeypatch.setenv("SANDBOX_URL", "http://127.0.0.1:1")
    assert type(Sandbox()) is Sandbox
