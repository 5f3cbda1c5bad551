# SPDX-License-Identifier: MIT
"""DockerSandbox on the engine that DOCKER_HOST names. Fails by an assertion. Run by tests/docker/run."""

from __future__ import annotations

import os
import tempfile

from sandbox import ResourceLimitExceeded, SandboxSettings, SecurityError
from sandbox.docker.executor import run_code
from sandbox.docker.manager import DockerSandbox


def fails(kind: type[Exception], box: DockerSandbox, code: str) -> None:
    try:
        box.execute(code)
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}: {code}")


with DockerSandbox(SandboxSettings.preset("data", max_execution_time=20)) as box:
    assert box.execute("import json; __result__ = json.loads('[6, 7]')") == [6, 7]
    result = box.run("import os; print(os.getpid(), os.listdir('/proc'))")
    assert result.ok, result.raw
    assert result.enforced["filesystem"] == "mount namespace+landlock", result.enforced
    assert result.enforced["isolation"] == "namespaces" and "none" not in result.enforced.values(), result.enforced
    fails(SecurityError, box, "import socket; socket.socket()")
    fails(SecurityError, box, "import subprocess; subprocess.run(['ls'])")
    with box.session() as session:
        session.run("x = 20")
        assert session.run("x + 1").result == 21
    got: list[object] = []
    box.execute_async("__result__ = 1", lambda result, error: got.append((result, error))).join(60)
    assert got == [(1, None)], got
    box.update_settings(SandboxSettings(max_execution_time=1))
    fails(ResourceLimitExceeded, box, "while True: pass")

with tempfile.TemporaryDirectory(dir="/tmp") as place:
    os.chmod(place, 0o777)  # a server that root started is uid 10001
    os.chdir(place)
    with open("in.txt", "w") as file:
        file.write("hello")
    grant = SandboxSettings(allow_file_operations=True, allowed_directories=["./"], max_execution_time=20)
    assert run_code("open('out.txt', 'w').write(open('in.txt').read().upper()); __result__ = 1", grant) == 1
    with open("out.txt") as file:
        assert file.read() == "HELLO"
    os.chdir("/")
print("ok: DockerSandbox as uid", os.geteuid(), os.environ["DOCKER_HOST"].rpartition("/")[2])
