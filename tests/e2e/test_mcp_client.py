# SPDX-License-Identifier: MIT
"""The official MCP clients (npm), the one of `initialize` and the one of 2026-07-28, over stdio and HTTP."""
from __future__ import annotations

import json
import pathlib
import shutil
import subprocess

import pytest
import runner
from http_server import Server

CHECK = pathlib.Path(__file__).resolve().parent.parent / "mcp"
TOOLS = ["run_python", "session_new", "session_reset", "session_list", "session_end", "files_list", "files_read",
         "files_write", "policy_show", "journal_list", "journal_show"]


def check(**wanted: object) -> dict:
    assert shutil.which("node"), "node is not there: ./dev test installs it"
    done = subprocess.run(["node", "check.mjs", json.dumps(wanted)], cwd=CHECK, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def judge(seen: dict) -> None:
    assert seen["tools"] == TOOLS and seen["schemas"]
    assert seen["plain"]["structuredContent"]["result"] == 42
    assert [block["text"] for block in seen["plain"]["content"]] == ["one\n", "42"]
    assert seen["failed"]["isError"] and seen["failed"]["structuredContent"]["status"] == "error"
    assert "".join(p["message"] for p in seen["progress"]) == "line 0\nline 1\nline 2\n"
    assert [p["progress"] for p in seen["progress"]] == list(range(1, len(seen["progress"]) + 1))
    assert seen["kept"]["structuredContent"]["result"] == "given"
    assert seen["files"] == ["b.txt", "in.txt"] and seen["read"]["structuredContent"]["text"] == "written"
    assert seen["sessions"] and seen["reset"]["structuredContent"]["error"]["name"] == "NameError"
    assert seen["policy"]["allowed_modules"] == ["*"] and seen["policy"]["network_access"] is False
    assert seen["plain"]["structuredContent"]["id"] in [e["id"] for e in seen["listed"]["executions"]]
    shown = seen["shown"]
    assert (shown["stdout"] if seen["listed"]["recorded"] else shown["result"]["stdout"]) == "one\n"
    assert "enough" in seen["cancelled"]
    assert seen["after"]["structuredContent"]["result"] == "free" and seen["after_ms"] < 30_000
    assert seen["gone"]["isError"]


@pytest.mark.parametrize("client", [{"client": 1}, {"client": 2}, {"client": 2, "version": "2026-07-28"}])
def test_stdio(client: dict) -> None:
    judge(check(command=runner.BINARY, args=["mcp"], **client))


@pytest.mark.parametrize("client", [{"client": 1}, {"client": 2}, {"client": 2, "version": "2026-07-28"}])
def test_http(client: dict, tmp_path: pathlib.Path) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 43)
    token.chmod(0o600)
    with Server("--listen", "127.0.0.1:0", "--token-file", str(token)) as server:
        url = server.await_line("listening on http://").split(" on ")[1].split(" ")[0]
        judge(check(url=f"{url}/mcp", token="t" * 43, **client))
