# SPDX-License-Identifier: MIT
"""SecurityLogger: reads and follows the journal, writes the text file of the first version."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Iterator

import pytest

import sandbox.core.server as server_module
from sandbox import Sandbox, SandboxSettings
from sandbox.exceptions import SandboxError
from sandbox.logging.security_logger import SecurityLogger

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (INFO|WARNING|ERROR) - \S.*")


@pytest.fixture
def journal(own_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A default journal that is the test's own, and servers that know it."""
    directory = tmp_path / "journal"
    monkeypatch.setenv("SANDBOX_JOURNAL", str(directory))
    server_module.shutdown()
    yield str(directory)
    server_module.shutdown()


def lines_of(logger: SecurityLogger) -> list[str]:
    assert logger.log_file is not None
    return logger.log_file.read_text(encoding="utf-8").splitlines()


def test_runs_are_recorded(journal: str) -> None:
    with Sandbox(SandboxSettings()) as box:
        first = box.run("print('apple')")
        denied = box.run("import os")
        logger = SecurityLogger(log_dir=None)
        assert [record["id"] for record in logger.records()] == [denied.id, first.id]
        assert [record["id"] for record in logger] == [denied.id, first.id]
        assert [record["id"] for record in logger.records(status="denied", since="1h")] == [denied.id]
        assert [record["id"] for record in logger.records(text="apple")] == [first.id]
        assert [record["id"] for record in logger.records(limit=1)] == [denied.id]
        whole = logger.show(denied.id)
        assert whole["code"] == "import os" and whole["events"][0]["subject"] == "os"
        assert logger.verify()["ok"] is True
    with pytest.raises(SandboxError, match="no execution"):
        logger.show("f" * 32)
    with pytest.raises(SandboxError):
        logger.show("--journal=/")
    with pytest.raises(SandboxError, match="--since"):
        list(logger.records(since="nonsense"))


def test_nothing_is_recorded(journal: str) -> None:
    with Sandbox(SandboxSettings(), enable_logging=False) as box:
        assert box.execute("__result__ = 1") == 1
    assert not os.path.exists(journal)
    with pytest.raises(SandboxError, match="there is none"):
        list(SecurityLogger(log_dir=None).records())


def test_both_at_once(journal: str) -> None:
    """Each on a server of its own, so that one's silence is not the other's."""
    with Sandbox(SandboxSettings()) as loud, Sandbox(SandboxSettings(), enable_logging=False) as quiet:
        loud.run("'loud'")
        quiet.run("'quiet'")
        loud.run("'loud again'")
    assert [record["code"] for record in SecurityLogger(log_dir=None)] == ["'loud again'", "'loud'"]


def test_a_journal_that_cannot_be(own_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  caplog: pytest.LogCaptureFixture) -> None:
    """Programs run, and that they are not recorded is told."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setenv("SANDBOX_JOURNAL", str(in_the_way / "journal"))
    server_module.shutdown()
    with Sandbox(SandboxSettings()) as box:
        assert box.execute("__result__ = 2") == 2
    assert "not recorded" in caplog.text


def test_follow(journal: str, tmp_path: Path) -> None:
    with Sandbox(SandboxSettings()) as box:
        box.run("1")
        logger = SecurityLogger(log_dir=tmp_path / "logs")
        records = logger.follow()
        seen: list[dict[str, object]] = []
        done = threading.Event()

        def read() -> None:
            for record in records:
                seen.append(record)
                if record["record"] == "verdict":
                    break
            done.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        # Its first record may be of any of these: it begins when the command does.
        while not done.wait(0.2):
            box.run("import os")
        reader.join()
        records.close()  # type: ignore[attr-defined]
    assert seen[-1]["status"] == "denied"
    lines = lines_of(logger)
    assert len(lines) == len(seen) and all(LINE.fullmatch(line) for line in lines)
    assert "execution ended" in lines[-1] and 'status="denied"' in lines[-1]


def test_over_http(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of the server that SANDBOX_URL names."""
    with Sandbox(SandboxSettings()) as box:
        ids = [box.run(f"print('number{n}')").id for n in range(3)] + [box.run("import os").id]
        assert server_module._shared.server is not None
        monkeypatch.setenv("SANDBOX_URL", server_module._shared.server.client.url)
        logger = SecurityLogger(log_dir=None)
        assert [record["id"] for record in logger.records()] == ids[::-1]
        assert [record["id"] for record in logger.records(limit=2)] == ids[:1:-1]
        assert [record["id"] for record in logger.records(status="denied", since="1h")] == ids[3:]
        assert [record["id"] for record in logger.records(until="1h")] == []
        assert [record["id"] for record in logger.records(text="number1", since="2001-01-01T10:00Z")] == [ids[1]]
        assert logger.show(ids[3])["id"] == ids[3]
        with pytest.raises(SandboxError):
            logger.show("f" * 32)
        with pytest.raises(SandboxError):
            list(logger.records(since="nonsense"))
        with pytest.raises(SandboxError):
            logger.verify()
        follower = logger.follow(after=0)
        assert [next(follower)["id"] for _ in ids] == ids
        again = box.run("'again'")
        record = next(follower)
        assert (record["record"], record["id"], record["status"]) == ("verdict", again.id, "ok")
        follower.close()  # type: ignore[attr-defined]


def test_text_file(tmp_path: Path) -> None:
    with SecurityLogger(log_dir=tmp_path / "deep" / "logs") as logger:
        assert not (tmp_path / "deep").exists()
        identity = logger.start_execution("print(1)\nprint(2)")
        logger.log_resource_usage(12.345, 50)
        logger.log_file_access("/etc/shadow", "r", allowed=False)
        logger.log_network_access("example.org", 443)
        logger.log_module_import("os", allowed=False)
        logger.log_error(ValueError("no\nnewline"))
        logger.end_execution("error", result={"a": 1})
    assert logger.log_file is not None and logger.log_file.parent == tmp_path / "deep" / "logs"
    assert re.fullmatch(r"security-\d{8}-\d{6}\.log", logger.log_file.name)
    assert logger.log_file.stat().st_mode & 0o777 == 0o600
    lines = lines_of(logger)
    assert len(lines) == 7 and all(LINE.fullmatch(line) for line in lines)
    assert identity in lines[0] and r"print(1)\nprint(2)" in lines[0]
    assert "memory_mb=" in lines[1] and '"/etc/shadow"' in lines[2] and "WARNING" in lines[2]
    assert 'host="example.org" port=443' in lines[3] and 'module="os"' in lines[4]
    assert "ERROR" in lines[5] and 'status="error"' in lines[6]


def test_hostile_text(tmp_path: Path) -> None:
    """No field ends its line, its quotes, or does anything to a terminal."""
    hostile = "\x1b[2J\r\n2026-01-01 00:00:00,000 - INFO - forged\u202e\u200b\x9b\ud800\u2028\"" + "x" * 10000
    with SecurityLogger(log_dir=tmp_path) as logger:
        logger.start_execution(hostile, execution_id=hostile)
        logger.log_error(hostile)
        logger.log_module_import(hostile)
    lines = lines_of(logger)
    assert len(lines) == 3 and all(LINE.fullmatch(line) for line in lines)
    assert all(len(line) < 4000 for line in lines)
    for line in lines:
        assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff]", line)


def test_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SecurityLogger(log_dir=None).log_error("x")
    assert list(tmp_path.iterdir()) == []
    SecurityLogger().log_error("x")
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
