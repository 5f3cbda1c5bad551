# SPDX-License-Identifier: MIT
"""Sessions, asynchronous streams, files, errors and presets of the SDK, against a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any, Iterator

import pytest

import sandbox.exceptions
from sandbox import (
    AccessError,
    BusyError,
    Display,
    NotFoundError,
    ResourceLimitExceeded,
    Result,
    Sandbox,
    SandboxError,
    SandboxSettings,
    SecurityError,
    ServerError,
    ServerGone,
    SessionEnded,
    SettingsError,
)
from sandbox.config.settings import PRESETS
from sandbox.core import server as server_module

ROOT = Path(__file__).resolve().parent.parent.parent


def settings(**changes: Any) -> SandboxSettings:
    base = SandboxSettings(max_execution_time=20, max_cpu_percent=100, allow_file_operations=True, allowed_modules=["*"])
    return dataclasses.replace(base, **changes)


@pytest.fixture(scope="module", autouse=True)
def no_server_stays() -> Iterator[None]:
    yield
    gc.collect()  # exceptions that were looked at hold their sandboxes
    server_module.shutdown()


@pytest.fixture
def box(own_server: str) -> Iterator[Sandbox]:
    with Sandbox(settings(), enable_logging=False) as made:
        yield made


def have(module: str) -> bool:
    return subprocess.run(["/usr/bin/python3", "-I", "-c", f"import {module}"], capture_output=True).returncode == 0


# Sessions


def test_state_stays(box: Sandbox) -> None:
    with box.session() as session:
        assert session.execute("import math\nx = 20") is None
        assert session.execute("__result__ = math.sqrt(16) + x") == 24.0
        assert session.execute("y = 1") is None, "a value is of its own program"
        result = session.run("x + 1")
        assert (result.result, result.session, result.execution_count) == (21, session.id, 4)
        assert session.describe()["state"] == "idle"
    with pytest.raises(SessionEnded, match="closed"):
        session.run("1")
    session.close()


def test_it_is_made_at_its_first_use(box: Sandbox) -> None:
    session = box.session()
    assert session._id is None
    box.update_settings(settings(max_memory_mb=33))
    assert session.run("1").policy["max_memory_mb"] == 100, "the settings are those of when it was asked for"
    assert session.id in [item["id"] for item in box._client().get("/v1/sessions")[1]["sessions"]]
    session.close()


def test_verdicts(box: Sandbox) -> None:
    with Sandbox(settings(allowed_modules=["time"], max_execution_time=1), False).session() as session:
        session.execute("kept = 1")
        with pytest.raises(SandboxError, match="ZeroDivisionError.*line 2"):
            session.execute("1\n1/0")
        with pytest.raises(SecurityError):
            session.execute("import os")
        with pytest.raises(ResourceLimitExceeded, match="max_execution_time"):
            session.execute("import time\ntime.sleep(20)")
        with pytest.raises(ResourceLimitExceeded):
            session.execute("import time\ntime.sleep(0.9)", timeout=0.1)
        assert session.execute("__result__ = kept") == 1


def test_its_end_is_told(box: Sandbox) -> None:
    session = box.session()
    result = session.run("import os\nos._exit(3)")
    assert result.session_ended is not None and "status 3" in result.session_ended
    with pytest.raises(SessionEnded, match="status 3"):
        session.run("1")
    other = box.session()
    identity = other.id
    box._client().call("DELETE", f"/v1/sessions/{identity}")
    deadline = time.monotonic() + 10
    while True:  # it takes a moment to be gone, and says so meanwhile
        with pytest.raises(SandboxError) as caught:
            other.run("1")
        if isinstance(caught.value, SessionEnded) or time.monotonic() > deadline:
            break
    assert isinstance(caught.value, SessionEnded)
    with pytest.raises(SessionEnded):
        other.variables()


def test_interrupt_from_another_thread(box: Sandbox) -> None:
    with box.session() as session:
        session.execute("import time")
        timer = threading.Timer(0.5, session.interrupt)
        timer.start()
        began = time.monotonic()
        with pytest.raises(SandboxError, match="KeyboardInterrupt"):
            session.execute("time.sleep(15)")
        timer.join()
        assert time.monotonic() - began < 10
        session.interrupt()
        assert session.execute("__result__ = 3") == 3


def test_restart_keeps_files(box: Sandbox) -> None:
    with box.session() as session:
        session.files.put("b.bin", b"\x00\xff")
        session.execute("v = 1; _ = open('made', 'w').write('m')")
        session.restart()
        assert session.run("v").error.name == "NameError"  # type: ignore[union-attr]
        assert session.files.get("b.bin") == b"\x00\xff" and session.files.get("made") == b"m"
        assert session.describe()["state"] == "idle"


def test_variables_and_completion(box: Sandbox) -> None:
    with box.session() as session:
        session.execute("numbers = [1, 2, 3]\nname = 'x'")
        found = {item.name: item for item in session.variables()}
        assert found["numbers"].size == 3 and found["numbers"].type == "list"
        assert session.complete("numb").matches == ["numbers"]
        assert session.complete("numb + 1", 4) == session.complete("numb")
        with pytest.raises(SandboxError):
            session.complete("x", -1)
        running = threading.Thread(target=session.run, args=("import time\ntime.sleep(1.5)",))
        running.start()
        time.sleep(0.5)
        with pytest.raises(BusyError):
            session.variables()
        running.join()


def test_files(box: Sandbox) -> None:
    with box.session() as session:
        session.files.put("d/ä b.txt", "text")
        session.files.put("raw", bytearray(b"\x00\x01"))
        assert session.run("open('d/ä b.txt').read()").result == "text"
        assert [(item.path, item.size) for item in session.files.list()] == [("d/ä b.txt", 4), ("raw", 2)]
        assert session.files.get("raw") == b"\x00\x01"
        session.files.delete("raw")
        for call in (session.files.get, session.files.delete):
            with pytest.raises(NotFoundError):
                call("raw")
        with pytest.raises(TypeError):
            session.files.put("x", 5)  # type: ignore[arg-type]
        for path in ("../x", "/etc/passwd", "a/../../b"):
            with pytest.raises(SandboxError):
                session.files.get(path)
        assert session.run("1").ok, "what is not there says nothing of the session"


def test_names(box: Sandbox) -> None:
    first, second = box.session("shared"), Sandbox(settings(), enable_logging=False).session("shared")
    first.execute("x = 1")
    assert second.id == first.id and second.run("x").result == 1
    other = Sandbox(settings(max_memory_mb=64), enable_logging=False).session("shared")
    with pytest.raises(SandboxError) as caught:
        other.run("1")
    assert caught.value.name == "SessionExists" and caught.value.field == "max_memory_mb"
    with pytest.raises(SandboxError) as caught:
        box.session("not a name").run("1")
    assert caught.value.field == "name"
    first.close()


def test_displays_and_values(box: Sandbox) -> None:
    if not have("pandas") or not have("matplotlib"):
        pytest.skip("Debian's interpreter has no pandas or matplotlib here")
    data = Sandbox(SandboxSettings.preset("data"), enable_logging=False)
    with data.session() as session:
        session.execute("import pandas as pd\nimport matplotlib.pyplot as plt\nframe = pd.DataFrame({'a': [1, 2]})")
        result = session.run("plt.plot([1, 2])\nframe")
        assert result.displays[0].data("image/png").startswith(b"\x89PNG")
        chart = result.displays[0].chart
        assert chart is not None and chart["axes"][0]["series"][0]["y"] == [1, 2]
        try:
            import pandas
        except ImportError:
            assert result.result == {"a": [1, 2]}
        else:
            pandas.testing.assert_frame_equal(result.result, pandas.DataFrame({"a": [1, 2]}))


# Asynchronous


def test_async_forms(box: Sandbox) -> None:
    async def main() -> None:
        async with box.session() as session:
            await session.execute_async("x = 5")
            assert [item.name for item in await session.variables_async()] == ["x"]
            await session.files.put_async("f", "1")
            assert await session.files.get_async("f") == b"1"
            assert [item.path for item in await session.files.list_async()] == ["f"]
            await session.files.delete_async("f")
            assert (await session.complete_async("x.bit_c")).matches == ["bit_count"]
            items = [item async for item in session.stream_async("print(x)\nx")]
            assert items[0]["type"] == "start" and items[-1]["result"].result == 5
            task = asyncio.ensure_future(session.run_async("import time\ntime.sleep(15)"))
            await asyncio.sleep(0.5)
            await session.interrupt_async()
            assert (await task).error.name == "KeyboardInterrupt"  # type: ignore[union-attr]
            await session.restart_async()
            assert (await session.run_async("x")).error.name == "NameError"  # type: ignore[union-attr]
            assert (await session.describe_async())["executions"] == 1
        with pytest.raises(SessionEnded):
            await session.run_async("1")

    asyncio.run(main())


def test_leaving_an_async_stream_stops_the_program(box: Sandbox) -> None:
    client = box._client()

    async def main() -> None:
        stream = box.stream_async("print('now', flush=True)\nimport time\ntime.sleep(15)")
        async for item in stream:
            if item["type"] == "stdout":
                break
        assert client.get("/v1/health")[1]["running"] == 1
        await stream.aclose()  # type: ignore[attr-defined]
        task = asyncio.ensure_future(consume())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def consume() -> None:
        async for _ in box.stream_async("import time\ntime.sleep(15)"):
            pass

    asyncio.run(main())
    deadline = time.monotonic() + 5
    while client.get("/v1/health")[1]["running"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert client.get("/v1/health")[1]["running"] == 0


def test_async_stream_raises(box: Sandbox) -> None:
    async def main() -> None:
        box.update_settings(settings(max_memory_mb=-1))
        async for _ in box.stream_async("1"):
            pass

    with pytest.raises(SettingsError, match="max_memory_mb"):
        asyncio.run(main())


# One program


def test_stdin_and_timeout(box: Sandbox) -> None:
    assert box.execute("__result__ = input() + input()", stdin="a\nb\n") == "ab"
    began = time.monotonic()
    with pytest.raises(ResourceLimitExceeded):
        box.execute("import time\ntime.sleep(15)", timeout=0.3)
    assert time.monotonic() - began < 10
    with pytest.raises(SandboxError):
        box.run("1", timeout=-1)


def test_files_of_a_program(own_server: str, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = box.run("open('left', 'w').write('x')")
    with pytest.raises(NotFoundError) as caught:
        box.file(result, "left")
    assert caught.value.name == "NotRecorded" and not result.recorded
    monkeypatch.setenv("SANDBOX_JOURNAL", str(tmp_path / "journal"))
    server_module._shared.stop()
    recorded = Sandbox(settings())
    result = recorded.run("open('left', 'wb').write(bytes(range(256)))")
    assert result.recorded and recorded.file(result, "left") == bytes(range(256))
    assert recorded.file(result.id, "left") == bytes(range(256))
    with pytest.raises(NotFoundError):
        recorded.file(result, "other")
    server_module._shared.stop()


def test_without_logging_nothing_is_written(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_JOURNAL", str(tmp_path / "journal"))
    assert box.run("1").ok
    assert not (tmp_path / "journal").exists()


def test_a_notebook_shows_results(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[object] = []
    module = types.ModuleType("IPython.display")
    module.display = shown.append  # type: ignore[attr-defined]
    result = Result.from_json({"status": "ok", "stdout": "out\n", "displays": [{"text/plain": "t", "text/html": "<b>"}]})
    result.show()
    assert capsys.readouterr().out == "out\nt\n"
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    result._ipython_display_()
    assert shown == result.displays and capsys.readouterr().out == "out\n"
    assert isinstance(shown[0], Display) and shown[0]._repr_mimebundle_()["text/html"] == "<b>"


# Settings, and what is refused


def command(binary: str, *args: str) -> Any:
    return json.loads(subprocess.run([binary, *args, "--json"], capture_output=True, check=True, timeout=60).stdout)


@pytest.mark.parametrize("name", ["strict", "data", "open"])
def test_presets_are_the_c_sides(own_server: str, name: str) -> None:
    """Names, types, defaults and presets of the dataclass are those of the field table in C."""
    table = command(own_server, "policy", "show", "--preset", name)
    assert SandboxSettings.preset(name).to_policy() == table
    assert {item["name"] for item in command(own_server, "policy", "presets")} == set(PRESETS)
    for field in dataclasses.fields(SandboxSettings):
        if field.name == "check_interval":
            continue
        kind = str(field.type).partition("[")[0]
        wanted = {"int": int, "float": (int, float), "bool": bool, "str": str, "list": list, "dict": dict}[kind]
        assert isinstance(table[field.name], wanted), field.name


def test_presets_are_copies() -> None:
    SandboxSettings.preset("data").preload.append("os")
    assert "os" not in SandboxSettings.preset("data").preload
    assert SandboxSettings.preset("open", network_access=False) == SandboxSettings.preset("data", allow_subprocess=True)
    with pytest.raises(ValueError, match="strict, data, open"):
        SandboxSettings.preset("none")
    with pytest.raises(TypeError):
        SandboxSettings.preset("data", nonsense=1)


def test_every_documented_problem_is_in_the_table() -> None:
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    rows = re.search(r"\| status \| `name` \|\n(.*?)\n\n", text, re.DOTALL)
    assert rows is not None
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", rows[1])) - {"Retry"}
    assert named == set(sandbox.exceptions.PROBLEMS)


def test_problems_become_exceptions(box: Sandbox) -> None:
    cases = [
        (settings(max_memory_mb=-1), SettingsError, "max_memory_mb"),
        (settings(python="/nowhere/python3"), SettingsError, None),
        (settings(allowed_directories=["/no/such/directory"]), SettingsError, None),
    ]
    for wrong, kind, field in cases:
        box.update_settings(wrong)
        with pytest.raises(kind) as caught:
            box.execute("1")
        assert field is None or caught.value.field == field
    answer = sandbox.exceptions.problem(429, {"name": "Busy", "detail": "full", "retry_after": 2.0})
    assert isinstance(answer, BusyError) and answer.retry_after == 2.0 and str(answer) == "full"
    assert type(sandbox.exceptions.problem(500, [1])) is SandboxError
    assert isinstance(sandbox.exceptions.problem(503, {"name": "WallMissing"}), ServerError)


def test_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_URL", f"unix:{tmp_path}/none")
    for call in (Sandbox().run, Sandbox().session().run, lambda code: list(Sandbox().stream(code))):
        with pytest.raises(ServerGone, match="none"):
            call("1")


# TCP, TLS


def test_https_with_a_token(own_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key, token = (tmp_path / name for name in ("c.pem", "k.pem", "token"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out",
         str(certificate)], check=True, capture_output=True)
    key.chmod(0o600)
    process = subprocess.Popen(
        [own_server, "serve", "--listen", "127.0.0.1:0", "--socket", str(tmp_path / "s"), "--token-file", str(token),
         "--tls-certificate", str(certificate), "--tls-key", str(key), "--exit-with-stdin"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)})
    try:
        assert process.stderr is not None and process.stdin is not None
        url = ""
        while "https://" not in url:
            line = process.stderr.readline()
            assert line, "it did not start"
            url = line.split()[-1] if line.startswith("listening on https") else ""
        monkeypatch.setenv("SANDBOX_URL", url)
        monkeypatch.setenv("SANDBOX_TOKEN", token.read_text().strip())
        with pytest.raises(ServerGone, match="(?i)certificate"):
            Sandbox().run("1")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert ssl.get_default_verify_paths().cafile == str(certificate)
        remote = Sandbox(SandboxSettings(max_execution_time=20))
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(remote.execute("__result__ = 7"))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [7] * 4
        with remote.session() as session:
            assert session.run("1 + 1").result == 2
        with pytest.raises(SandboxError):
            Sandbox(settings(allowed_directories=[str(tmp_path)])).run("1")
        monkeypatch.setenv("SANDBOX_TOKEN", "wrong")
        with pytest.raises(AccessError):
            Sandbox().run("1")
    finally:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.close()
        process.wait(20)
        process.stderr.close()
