# SPDX-License-Identifier: MIT
"""The SDK against a real server: each promise of the design's Python face."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from sandbox import (
    DEFAULT_SETTINGS,
    ResourceLimitExceeded,
    Result,
    Sandbox,
    SandboxError,
    SandboxSettings,
    SecurityError,
)
from sandbox.core import server as server_module
from sandbox.core.client import Client, ServerGone

ROOT = Path(__file__).resolve().parent.parent.parent


def settings(**changes: Any) -> SandboxSettings:
    """The defaults with more time, for machines that are busy with other tests."""
    return dataclasses.replace(SandboxSettings(max_execution_time=20, max_cpu_percent=100), **changes)


@pytest.fixture
def box(own_server: str) -> Iterator[Sandbox]:
    with Sandbox(settings()) as sandbox:
        yield sandbox


@pytest.fixture(scope="module", autouse=True)
def no_server_stays() -> Iterator[None]:
    yield
    server_module.shutdown()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):  # the latter: it went between open and read
        return False


def wait_until(condition: Any, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def server_pid() -> int:
    running = server_module._shared.server
    assert running is not None
    return running.process.pid


# Without a server


def test_names_that_people_write_against() -> None:
    import sandbox.config.settings
    import sandbox.core.sandbox
    import sandbox.exceptions

    assert sandbox.core.sandbox.Sandbox is Sandbox
    assert sandbox.config.settings.SandboxSettings is SandboxSettings
    assert issubclass(sandbox.exceptions.ResourceLimitExceeded, SandboxError)
    assert issubclass(sandbox.exceptions.SecurityError, SandboxError)
    assert sandbox.exceptions.SandboxError("x").result is None


def test_defaults_are_not_shared() -> None:
    Sandbox().settings.allowed_modules.append("os")
    SandboxSettings().allowed_modules.append("os")
    assert DEFAULT_SETTINGS == SandboxSettings()
    assert DEFAULT_SETTINGS.allowed_modules == ["math", "random"]
    assert SandboxSettings(check_interval=0.5).max_execution_time == 5


def test_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="max_memory_gb"):
        SandboxSettings(max_memory_gb=1)  # type: ignore[call-arg]


def test_what_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Sandbox(SandboxSettings(allowed_directories=[f"{tmp_path}/a:ro", "./"], allow_file_operations=True))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    assert box.allow_file_operations() and not box.allow_network_access()
    assert box.is_path_allowed(tmp_path / "a" / "x") and box.is_path_allowed("new.txt")
    assert not box.is_path_allowed("/etc/passwd")
    assert not box.is_path_allowed("../x")
    assert not box.is_path_allowed("out/passwd")
    assert not box.is_path_allowed(f"{tmp_path}x")
    box.update_settings(SandboxSettings(network_access=True))
    assert box.allow_network_access() and not box.is_path_allowed(tmp_path / "a")
    with pytest.raises(TypeError):
        box.update_settings({"network_access": True})  # type: ignore[arg-type]
    assert box.check_resources()


def test_result_from_anything() -> None:
    result = Result.from_json({"usage": 1, "events": [1, {"kind": "x", "line": "3"}], "error": []})
    assert result.status == "fault" and not result.ok
    assert result.events[0].kind == "x" and result.events[0].line is None


@pytest.mark.parametrize("url", ["ftp://x", "unix:", "http://", "http://x:99999", "nonsense", "http://x/path"])
def test_malformed_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_URL", url)
    with pytest.raises(SandboxError):
        Sandbox()


def test_no_server_at_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_URL", f"unix:{tmp_path}/none")
    with pytest.raises(SandboxError, match="none"):
        Sandbox().run("1")


def test_no_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SANDBOX_URL", raising=False)
    monkeypatch.setenv("SANDBOX_BIN", str(tmp_path / "sandbox"))
    server_module.shutdown()
    with pytest.raises(SandboxError, match="SANDBOX_BIN"):
        Sandbox().run("1")
    broken = tmp_path / "sandbox"
    broken.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(SandboxError, match="out of luck"):
        Sandbox().run("1")
    assert server_module._shared.server is None


# Values


def test_execute_returns_what_the_program_set(box: Sandbox) -> None:
    assert box.execute("__result__ = 1 + 1") == 2
    assert box.execute("1 + 1") is None
    assert box.execute("x = 5") is None
    assert box.execute("") is None
    assert box.execute("__result__ = None\n7") is None
    assert box.execute("import math\n__result__ = [math.pi, 'ü', None, True]") == [3.141592653589793, "ü", None, True]
    value = {"t": (1, 2), "s": {1, 2}, "b": b"\x00\xff", "c": 1 + 2j, 5: 10**40}
    assert box.execute(f"__result__ = {value!r}") == value


def test_run_has_the_whole_shape(box: Sandbox) -> None:
    result = box.run("print('out')\nimport math\n6 * 7")
    assert result.ok and result.status == "ok" and result.error is None
    assert result.result == 42 and result.result_repr == "42" and result.result_source == "expression"
    assert result.stdout == "out\n" and result.stderr == ""
    assert result.truncated.stdout == 0 and result.events == []
    # Memory of a short run is what a sampling supervisor happened to see, where there is no cgroup.
    assert result.id and result.usage.wall_ms > 0 and result.usage.memory_peak_bytes >= 0
    assert result.enforced["memory"] and result.raw["id"] == result.id
    assert result.displays == [{"text/plain": "42"}] and result.result_display == 0 and result.files == []


def test_settings_are_those_of_the_table(box: Sandbox) -> None:
    """The field table of the C side is where names and defaults come from."""
    box.update_settings(SandboxSettings())
    policy = dict(box.run("").policy)
    policy.pop("check_interval", None)
    wanted = SandboxSettings().to_policy()
    assert set(policy) == set(wanted)
    wanted.pop("python")
    policy.pop("python")
    assert policy == wanted


def test_every_run_is_fresh(box: Sandbox) -> None:
    box.execute("import math\nmath.leak = secret = 1")
    with pytest.raises(SandboxError, match="NameError"):
        box.execute("secret")
    assert box.execute("import math\n__result__ = hasattr(math, 'leak')") is False


# Verdicts


def test_errors_of_the_program(box: Sandbox) -> None:
    with pytest.raises(SandboxError, match="ZeroDivisionError.*line 2") as caught:
        box.execute("print('before')\n1 / 0")
    assert type(caught.value) is SandboxError and caught.value.name == "ZeroDivisionError"
    result = caught.value.result
    assert result is not None and result.status == "error" and result.stdout == "before\n"
    assert result.error is not None and result.error.line == 2 and "1 / 0" in result.error.traceback
    with pytest.raises(SandboxError, match="SyntaxError"):
        box.execute("x = (")
    with pytest.raises(SandboxError, match="SystemExit"):
        box.execute("raise SystemExit(3)")
    assert box.execute("__result__ = 4\nraise SystemExit(0)") == 4
    assert box.check_resources()


def test_time(own_server: str) -> None:
    box = Sandbox(SandboxSettings(max_execution_time=0.5, allowed_modules=["time"]))
    assert box.execute("__result__ = 1") == 1
    began = time.monotonic()
    with pytest.raises(ResourceLimitExceeded, match="max_execution_time") as caught:
        box.execute("import time\ntime.sleep(20)")
    assert time.monotonic() - began < 5
    assert caught.value.result is not None and caught.value.result.status == "timeout"
    assert not box.check_resources()
    box.execute("1")
    assert box.check_resources()


def test_memory(box: Sandbox) -> None:
    box.update_settings(settings(max_memory_mb=10))
    assert box.execute("__result__ = len(bytearray(2 << 20))") == 2 << 20
    with pytest.raises(ResourceLimitExceeded) as caught:
        box.execute("x = bytearray(11 << 20)\n__result__ = 1")
    assert caught.value.result is not None and caught.value.result.status == "memory"


def test_cpu_time(box: Sandbox) -> None:
    box.update_settings(settings(max_cpu_time=0.2))
    with pytest.raises(ResourceLimitExceeded, match="max_cpu_time"):
        box.execute("while True: pass")


def test_denials(box: Sandbox) -> None:
    for code in (
        "import socket",
        "open('/etc/hostname')",
        "import subprocess",
    ):
        with pytest.raises(SecurityError) as caught:
            box.execute(code)
        assert caught.value.result is not None and caught.value.result.status == "denied"
        assert caught.value.result.events, code
    box.update_settings(settings(allowed_modules=["socket"]))
    with pytest.raises(SandboxError):
        box.execute("import socket\nsocket.create_connection(('1.1.1.1', 80))")
    # Caught by the program, it is an event and no verdict.
    result = box.run("try:\n    import os\nexcept ImportError as e:\n    print(e)")
    assert result.status == "ok" and result.events


def test_bad_settings_are_refused_by_name(box: Sandbox) -> None:
    for field, value in (
        ("max_memory_mb", -1),
        ("max_memory_mb", "much"),
        ("max_execution_time", float("nan")),
        ("allowed_modules", "math\0"),
        ("degraded", "perhaps"),
        ("python", "/nowhere/python3"),
        ("allowed_directories", ["/no/such/directory"]),
    ):
        box.update_settings(settings(allow_file_operations=True, **{field: value}))
        with pytest.raises(SandboxError) as caught:
            box.execute("__result__ = 1")
        assert not isinstance(caught.value, (ResourceLimitExceeded, SecurityError)), field
        assert str(caught.value), field
    with pytest.raises(TypeError):
        box.execute(b"1")  # type: ignore[arg-type]
    box.update_settings(settings())
    with pytest.raises(SandboxError):
        box.execute("'\ud800'")
    with pytest.raises(SandboxError):
        box.execute("x = '\0'")
    assert box.execute("__result__ = 1") == 1


def test_files_beside_the_caller(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "data.txt").write_text("from outside")
    box.update_settings(settings(allow_file_operations=True, allowed_directories=["./"]))
    assert box.execute("__result__ = open('data.txt').read()") == "from outside"
    box.execute("open('new.txt', 'w').write('from inside')")
    assert (tmp_path / "new.txt").read_text() == "from inside"
    assert (tmp_path / "new.txt").stat().st_uid == os.getuid()
    box.update_settings(settings(allow_file_operations=True, allowed_directories=[f"{tmp_path}:ro"]))
    with pytest.raises(SandboxError):
        box.execute("open('data.txt', 'w')")
    assert (tmp_path / "data.txt").read_text() == "from outside"


# Together


def test_async_programs_run_together(box: Sandbox) -> None:
    box.update_settings(settings(allowed_modules=["time"]))
    box.execute("")
    code = "import time\ntime.sleep(1)\n__result__ = {}"

    async def five() -> list[Any]:
        return await asyncio.gather(*(box.execute_async(code.format(i)) for i in range(5)))

    began = time.monotonic()
    assert asyncio.run(five()) == [0, 1, 2, 3, 4]
    assert time.monotonic() - began < 3


def test_async_raises_too(box: Sandbox) -> None:
    with pytest.raises(SandboxError, match="ValueError"):
        asyncio.run(box.execute_async("raise ValueError('no')"))
    assert asyncio.run(box.run_async("1")).result == 1


def test_cancelled_task_stops_the_program(box: Sandbox) -> None:
    box.update_settings(settings(allowed_modules=["time"]))
    box.execute("")
    client = box._client()

    async def cancelled() -> None:
        task = asyncio.ensure_future(box.execute_async("import time\ntime.sleep(15)"))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert wait_until(lambda: client.get("/v1/health")[1]["running"] == 0, 3)


def test_threads_share_a_sandbox(box: Sandbox) -> None:
    found: dict[int, Any] = {}

    def work(n: int) -> None:
        for i in range(4):
            found[n * 10 + i] = box.execute(f"__result__ = {n * 10 + i}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n * 10 + i: n * 10 + i for n in range(8) for i in range(4)}


def test_stream(box: Sandbox) -> None:
    items = list(box.stream("print('ä' * 3)\nimport sys\ntry:\n    import os\nexcept ImportError: pass\n5"))
    assert items[0]["type"] == "start" and items[0]["id"]
    assert "".join(item["text"] for item in items if item["type"] == "stdout") == "äää\n"
    assert items[-1]["type"] == "result"
    result = items[-1]["result"]
    assert isinstance(result, Result) and result.id == items[0]["id"]
    assert any(item["type"] == "event" for item in items)
    box.update_settings(settings(max_memory_mb=-1))
    with pytest.raises(SandboxError, match="max_memory_mb"):
        list(box.stream("1"))


def test_stream_comes_as_it_happens_and_closing_it_stops_the_program(box: Sandbox) -> None:
    box.update_settings(settings(allowed_modules=["time"]))
    stream = box.stream("print('now', flush=True)\nimport time\ntime.sleep(15)")
    began = time.monotonic()
    assert any(item["type"] == "stdout" for item in stream)
    assert time.monotonic() - began < 10
    client = box._client()
    assert client.get("/v1/health")[1]["running"] == 1
    stream.close()  # type: ignore[attr-defined]
    assert wait_until(lambda: client.get("/v1/health")[1]["running"] == 0, 3)


def test_logging(box: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sandbox"):
        box.execute("1")
        assert any(": ok" in line for line in caplog.messages)
        caplog.clear()
        quiet = Sandbox(settings(), enable_logging=False)
        quiet.execute("1")
        assert caplog.messages == []


# Life of the server


def test_cleanup_ends_the_server(own_server: str) -> None:
    gc.collect()  # of other tests
    server_module.shutdown()
    first, second = Sandbox(settings()), Sandbox(settings())
    assert first.execute("__result__ = 1") == 1
    running = server_module._shared.server
    assert running is not None
    pid, directory = running.process.pid, running.directory
    assert os.stat(directory).st_mode & 0o777 == 0o700
    second.execute("1")
    first.cleanup()
    first.cleanup()
    assert alive(pid)
    second.cleanup()
    assert not alive(pid) and not os.path.exists(directory)
    assert first.execute("__result__ = 2") == 2
    assert server_pid() != pid
    first.cleanup()


def test_sandboxes_in_a_row_share_the_server(own_server: str) -> None:
    with Sandbox(settings()) as box:
        box.execute("1")
    pid = server_pid()
    Sandbox(settings()).execute("1")
    assert server_pid() == pid


def test_forgotten_sandboxes_let_the_server_go(own_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # of other tests
    server_module.shutdown()
    monkeypatch.setattr(server_module, "_LINGER_S", 0.3)
    box = Sandbox(settings())
    box.execute("1")
    pid = server_pid()
    time.sleep(1)
    assert alive(pid)
    del box
    assert wait_until(lambda: not alive(pid))


def test_a_server_that_was_killed_is_replaced(own_server: str) -> None:
    box = Sandbox(settings(allowed_modules=["time"]))
    box.execute("1")
    pid = server_pid()
    killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(SandboxError):
        box.execute("import time\ntime.sleep(15)")
    killer.join()
    assert box.execute("__result__ = 3") == 3
    assert server_pid() != pid


def test_fork(own_server: str) -> None:
    box = Sandbox(settings())
    box.execute("1")
    pid = server_pid()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert box.execute("__result__ = 4") == 4
            os.write(writer, str(server_pid()).encode())
            box.cleanup()
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    theirs = int(os.read(reader, 100))
    os.close(reader)
    assert theirs != pid and not alive(theirs)
    assert alive(pid) and box.execute("__result__ = 5") == 5


SCRIPT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from sandbox import Sandbox
from sandbox.core import server
box = Sandbox()
box.execute("1")
if sys.argv[2] == "fork" and os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print(server._shared.server.process.pid, server._shared.server.directory, flush=True)
if sys.argv[2] != "exit":
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["exit", "kill", "fork"])
def test_the_server_ends_with_the_process(own_server: str, how: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT / "python"), how],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )
    try:
        assert parent.stdout is not None
        assert select.select([parent.stdout], [], [], 60)[0]
        pid, directory = parent.stdout.readline().split()
        if how != "exit":
            parent.kill()
        parent.wait(20)
        assert wait_until(lambda: not alive(int(pid)))
        if how == "exit":
            assert not os.path.exists(directory)
    finally:
        # The forked child, too: they are a session of their own.
        try:
            os.killpg(parent.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if parent.stdout is not None:
            parent.stdout.close()
        parent.wait()


def test_directories_of_killed_processes_are_swept(own_server: str) -> None:
    stale = Path(server_module._make_directory())
    os.close(server_module._hold(str(stale)))
    young = Path(server_module._make_directory())
    assert not stale.exists() and young.exists()
    young.rmdir()


def test_url_of_a_server(own_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{server_module._make_directory()}/s"
    process = subprocess.Popen(
        [own_server, "serve", "--socket", path, "--exit-with-stdin"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        client = Client(f"unix:{path}")

        def answers() -> bool:
            try:
                return client.get("/v1/health")[0] == 200
            except ServerGone:
                return False

        assert wait_until(answers, 30)
        client.close()
        monkeypatch.setenv("SANDBOX_URL", f"unix:{path}")
        monkeypatch.setenv("SANDBOX_TOKEN", "a-token")
        server_module.shutdown()
        box = Sandbox(settings())
        assert box.execute("__result__ = 6") == 6
        assert server_module._shared.server is None
        box.cleanup()
        assert process.poll() is None
    finally:
        assert process.stdin is not None
        process.stdin.close()
        status = process.wait(20)
        assert not os.path.exists(path)
        os.rmdir(os.path.dirname(path))
    assert status == 0


def test_many_in_a_row_leave_nothing(box: Sandbox) -> None:
    box.execute("1")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        box.execute("__result__ = 1")
    assert len(os.listdir("/proc/self/fd")) == before


def test_python_as_a_module(own_server: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "version"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    from sandbox import __version__

    assert __version__ in done.stdout


def test_first_example_of_the_design(own_server: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(
            """
            from sandbox import Sandbox, SandboxSettings

            box = Sandbox(SandboxSettings(max_memory_mb=100, max_execution_time=5))
            print(box.execute("__result__ = sum(range(10))"))
            """
        )],
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "45\n", done.stderr
