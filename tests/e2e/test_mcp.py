# SPDX-License-Identifier: MIT
"""MCP by hand: `sandbox mcp` on its standard streams and /mcp over HTTP, with messages that no client would send."""
from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import pathlib
import queue
import re
import subprocess
import threading
import time

import pytest
import runner
from http_server import Server, until

MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
DOC = pathlib.Path(__file__).resolve().parents[2] / "docs" / "mcp.md"


class Mcp:
    """`sandbox mcp`, and what it writes line by line."""

    def __init__(self, *args: str, **popen: object) -> None:
        self.process = subprocess.Popen([runner.BINARY, "mcp", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, **popen)
        self.lines: queue.Queue = queue.Queue()
        self.kept: list = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def raw(self, data: bytes) -> None:
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, method: str, id_: object = None, **params: object) -> None:
        message: dict = {"jsonrpc": "2.0", "method": method, "params": params}
        if id_ is not None:
            message["id"] = id_
        self.raw(json.dumps(message).encode() + b"\n")

    def next(self, seconds: float = 60) -> dict:
        line = self.lines.get(timeout=seconds)
        assert line is not None, "it ended"
        return json.loads(line)

    def answer(self, id_: object, seconds: float = 60) -> dict:
        """The answer to that id; what comes before it is kept."""
        while True:
            message = self.next(seconds)
            if "method" not in message and message.get("id") == id_:
                return message
            self.kept.append(message)

    def call(self, name: str, id_: object = 1, meta: dict | None = None, **arguments: object) -> dict:
        params: dict = {"name": name, "arguments": arguments}
        if meta is not None:
            params["_meta"] = meta
        self.send("tools/call", id_, **params)
        answer = self.answer(id_)
        assert "result" in answer, answer
        return answer["result"]

    def end(self, seconds: float = 30) -> int:
        self.process.stdin.close()
        return self.process.wait(seconds)


@contextlib.contextmanager
def mcp(*args: str, **popen: object):
    one = Mcp(*args, **popen)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.stdin.close()
            try:
                one.process.wait(20)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()


@pytest.fixture(scope="module")
def shared():
    with mcp("--no-journal") as one:
        yield one


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


def post(server: Server, message: object, headers: dict | None = None, path: str = "/mcp"):
    body = message if isinstance(message, (bytes, str)) else json.dumps(message)
    return server.ask("POST", path, body, {"Content-Type": "application/json", "Accept": "application/json",
                                           **(headers or {})})


def request(method: str, id_: object = 1, **params: object) -> dict:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def modern(method: str, name: str | None = None, **params: object) -> tuple[dict, dict]:
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    if name:
        headers["Mcp-Name"] = name
        params["name"] = name
    return request(method, **params, _meta=MODERN), headers


# ---- the generation with initialize ----

@pytest.mark.parametrize("asked, given", [("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"),
                                          ("2024-11-05", "2025-11-25"), ("2026-07-28", "2025-11-25")])
def test_initialize(shared: Mcp, asked: str, given: str) -> None:
    shared.send("initialize", 1, protocolVersion=asked, capabilities={}, clientInfo={"name": "t", "version": "1"})
    result = shared.answer(1)["result"]
    assert result["protocolVersion"] == given
    assert result["capabilities"] == {"tools": {}} and result["serverInfo"]["name"] == "interpreter-sandbox"
    assert "resultType" not in result


def test_ping_and_notifications(shared: Mcp) -> None:
    shared.send("notifications/initialized")
    shared.send("notifications/nobody/knows")
    shared.send("ping", "p")
    assert shared.answer("p")["result"] == {}
    assert all(message.get("method") == "notifications/progress" for message in shared.kept)


def test_http_session_id_is_of_the_first_generation(server: Server) -> None:
    began = post(server, request("initialize", protocolVersion="2025-11-25"))
    assert began.status == 200 and re.fullmatch("[0-9a-f]{32}", began.headers["Mcp-Session-Id"])
    message, headers = modern("server/discover")
    assert post(server, message, headers).headers["Mcp-Session-Id"] is None
    assert post(server, {"jsonrpc": "2.0", "method": "notifications/initialized"}).status == 202
    assert post(server, request("ping"), {"MCP-Protocol-Version": "2025-06-18"}).json["result"] == {}
    assert server.ask("GET", "/mcp").status == 405
    assert server.ask("DELETE", "/mcp").status == 405


# ---- 2026-07-28 ----

def test_discover_and_list(server: Server, shared: Mcp) -> None:
    message, headers = modern("server/discover")
    result = post(server, message, headers).json["result"]
    assert result["supportedVersions"] == ["2026-07-28", "2025-11-25", "2025-06-18"]
    assert result["resultType"] == "complete" and result["capabilities"] == {"tools": {}}
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "interpreter-sandbox"
    message, headers = modern("tools/list")
    listed = post(server, message, headers).json["result"]
    assert listed["cacheScope"] == "public" and listed["ttlMs"] >= 0
    shared.send("tools/list", "l", _meta=MODERN)
    assert shared.answer("l")["result"]["tools"] == listed["tools"]
    assert [tool["name"] for tool in listed["tools"]][:2] == ["run_python", "session_new"]
    for tool in listed["tools"]:
        assert tool["inputSchema"]["additionalProperties"] is False and tool["outputSchema"]["type"] == "object"


def test_a_modern_call(server: Server) -> None:
    message, headers = modern("tools/call", "run_python", arguments={"code": "6 * 7"})
    result = post(server, message, headers).json["result"]
    assert result["resultType"] == "complete" and result["structuredContent"]["result"] == 42
    headers["Mcp-Name"] = "=?base64?" + base64.b64encode(b"run_python").decode() + "?="
    assert post(server, message, headers).json["result"]["isError"] is False


def without(headers: dict, name: str, value: str | None = None) -> dict:
    return {key: value if key == name else old for key, old in headers.items() if key != name or value}


@pytest.mark.parametrize("change, status, code", [
    (lambda m, h: (m, without(h, "MCP-Protocol-Version")), 400, -32020),
    (lambda m, h: (m, without(h, "MCP-Protocol-Version", "2025-11-25")), 400, -32020),
    (lambda m, h: (m, without(h, "Mcp-Method")), 400, -32020),
    (lambda m, h: (m, without(h, "Mcp-Method", "tools/list")), 400, -32020),
    (lambda m, h: (m, without(h, "Mcp-Name")), 400, -32020),
    (lambda m, h: (m, without(h, "Mcp-Name", "policy_show")), 400, -32020),
    (lambda m, h: (m, without(h, "Mcp-Name", "=?base64?!!?=")), 400, -32020),
    (lambda m, h: ({**m, "params": {"name": "run_python"}}, h), 400, -32602),
    (lambda m, h: ({**m, "params": {**m["params"], "_meta": {list(MODERN)[0]: "2026-07-28"}}}, h), 400, -32602),
    (lambda m, h: ({**m, "params": {**m["params"], "_meta": {**MODERN, list(MODERN)[0]: "1900-01-01"}}},
                   without(h, "MCP-Protocol-Version", "1900-01-01")), 400, -32022),
    (lambda m, h: ({**m, "method": "ping"}, without(h, "Mcp-Method", "ping")), 404, -32601),
    (lambda m, h: ({**m, "method": "initialize"}, without(h, "Mcp-Method", "initialize")), 404, -32601),
])
def test_what_a_modern_request_has_to_say(server: Server, change, status: int, code: int) -> None:
    message, headers = modern("tools/call", "run_python", arguments={"code": "1"})
    assert post(server, message, headers).status == 200
    answer = post(server, *change(message, headers))
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.json["id"] == 1
    if code == -32022:
        assert "2026-07-28" in answer.json["error"]["data"]["supported"]
        assert answer.json["error"]["data"]["requested"] == "1900-01-01"


def test_an_unknown_version_without_meta(server: Server) -> None:
    answer = post(server, request("tools/list"), {"MCP-Protocol-Version": "2025-03-26"})
    assert (answer.status, answer.json["error"]["code"]) == (400, -32022)


# ---- malformed ----

@pytest.mark.parametrize("body, code", [
    (b"nonsense", -32700), (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700), (b'{"a":"\xff"}', -32700),
    (b"[" * 100 + b"]" * 100, -32700), (b"[" + b"1," * 70000 + b"1]", -32700), (b"{} {}", -32700), (b"\x00", -32700),
    (b"[]", -32600), (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600), (b"7", -32700), (b"{}", -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600), (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"a\\u0000b"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":3}}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"resources/list"}', -32601),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_python","arguments":[]}}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}', -32602),
])
def test_malformed(server: Server, shared: Mcp, body: bytes, code: int) -> None:
    answer = post(server, body)
    assert answer.json["error"]["code"] == code, answer.body
    assert answer.status in (200, 400)
    shared.raw(body + b"\n")
    while True:
        message = shared.next()
        if "error" in message:
            break
    assert message["error"]["code"] == code
    shared.send("ping", "alive")
    assert shared.answer("alive")["result"] == {}


def test_a_line_that_is_too_long(shared: Mcp) -> None:
    shared.raw(b'{"x":"' + b"a" * (25 << 20) + b'"}\n')
    shared.send("ping", "alive")
    first = shared.next()
    assert first["error"]["code"] == -32600 and first["id"] is None
    assert shared.answer("alive")["result"] == {}


@pytest.mark.parametrize("name, arguments, words", [
    ("run_python", {}, 'needs "code"'), ("run_python", {"code": 7}, '"code" has to be of type string'),
    ("run_python", {"code": "1", "preset": "open"}, 'takes no argument "preset"'),
    ("run_python", {"code": "1", "policy": {"network_access": True}}, 'takes no argument "policy"'),
    ("run_python", {"code": "1", "session": "nobody"}, "no session with this id"),
    ("run_python", {"code": "1", "files": {"../x": "y"}}, "../x"),
    ("run_python", {"code": "1", "timeout": -1}, "timeout"),
    ("session_new", {"idle_timeout": 0}, "from 1 to"), ("session_end", {"session": "nobody"}, "no session"),
    ("journal_show", {"id": "../../etc"}, "no execution"), ("journal_show", {"id": "00ff"}, "no execution"),
    ("journal_list", {"limit": 1000}, "from 1 to 100"), ("journal_list", {"text": "x"}, "no journal"),
])
def test_wrong_arguments_are_told_to_the_model(shared: Mcp, name: str, arguments: dict, words: str) -> None:
    result = shared.call(name, **arguments)
    assert result["isError"] is True and "structuredContent" not in result
    assert words in result["content"][0]["text"], result


# ---- programs ----

def texts(result: dict) -> str:
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


def test_verdicts_and_denials(shared: Mcp) -> None:
    raised = shared.call("run_python", code="{}['x']")
    assert raised["isError"] and raised["structuredContent"]["error"]["name"] == "KeyError"
    assert "KeyError" in texts(raised)
    denied = shared.call("run_python", code="import socket\nsocket.create_connection(('192.0.2.1', 80))")
    assert denied["isError"] and denied["structuredContent"]["status"] == "denied"
    assert "set network_access to true" in texts(denied) and "Denied by the sandbox: " in texts(denied)
    slow = shared.call("run_python", code="import time; time.sleep(30)", timeout=0.3)
    assert slow["isError"] and slow["structuredContent"]["status"] == "timeout" and "timeout" in texts(slow)
    left = shared.call("run_python", code="open('a.txt', 'w').write('abc')", files={"in.csv": "1,2"})
    assert "a.txt (3 bytes)" in texts(left) and left["structuredContent"]["files"][0]["path"] == "a.txt"
    assert texts(shared.call("run_python", code="x = 1")) == "(no output)"


def test_hostile_output(shared: Mcp) -> None:
    code = "print('\\x1b]0;title\\x07\\x00\\u202eabc\\r\\nnext\\rlast\\x9b')\nprint('m' * 900_000)\nprint('the end')"
    result = shared.call("run_python", code=code, meta={"progressToken": "t"})
    said = json.dumps(result, ensure_ascii=False) + json.dumps(shared.kept, ensure_ascii=False)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said)
    for escape in ("\\u0000", "\\u001b", "\\u0007", "\\r"):
        assert escape not in said
    out = result["content"][0]["text"]
    assert len(out) < 25_000 and "bytes are left out here" in out and out.endswith("the end\n")
    assert "abc\nnext\nlast" in out
    assert len(result["structuredContent"]["stdout"]) < 25_000
    told = [m["params"] for m in shared.kept if m.get("method") == "notifications/progress"
            and m["params"]["progressToken"] == "t"]
    shared.kept.clear()
    assert [p["progress"] for p in told] == list(range(1, len(told) + 1))
    assert sum(len(p["message"]) for p in told) < 300_000 and "left to the result" in told[-1]["message"]


def test_a_large_value_is_left_to_its_repr(shared: Mcp) -> None:
    result = shared.call("run_python", code="list(range(100_000))")["structuredContent"]
    assert result["result"] is None and len(result["result_repr"]) < 10_000


def test_progress_comes_while_it_runs(shared: Mcp) -> None:
    shared.send("tools/call", "run", name="run_python", _meta={"progressToken": 5}, arguments={
        "code": "import time\nprint('first', flush=True)\ntime.sleep(20)"})
    message = shared.next()
    assert message["method"] == "notifications/progress" and message["params"]["message"] == "first\n"
    assert message["params"]["progressToken"] == 5
    shared.send("notifications/cancelled", requestId="run", reason="enough")
    shared.send("ping", "q")
    assert shared.answer("q")["result"] == {}


def test_cancelled_calls_get_no_answer_and_stop(server: Server) -> None:
    with mcp("--socket", server.socket) as one:
        session = one.call("session_new")["structuredContent"]["id"]
        one.send("tools/call", 9, name="run_python", arguments={"session": session, "code": "import time\ntime.sleep(50)"})
        assert until(lambda: server.ask("GET", f"/v1/sessions/{session}").json["state"] == "busy")
        one.send("notifications/cancelled", requestId=9)
        assert until(lambda: server.ask("GET", f"/v1/sessions/{session}").json["state"] == "idle")
        assert one.call("run_python", 10, session=session, code="1")["structuredContent"]["status"] == "ok"
        assert not [m for m in one.kept if m.get("id") == 9]


def test_nobody_cancels_anothers_call(server: Server) -> None:
    with mcp("--socket", server.socket) as one, mcp("--socket", server.socket) as two:
        one.send("tools/call", 1, name="run_python", arguments={"code": "import time\ntime.sleep(1)\n'whole'"})
        assert until(lambda: server.ask("GET", "/v1/executions?status=running").json["executions"])
        two.send("notifications/cancelled", requestId=1)
        two.send("ping", 2)
        two.answer(2)
        assert one.answer(1)["result"]["structuredContent"]["result"] == "whole"


def test_a_connection_that_closes_stops_its_run(server: Server) -> None:
    message, headers = modern("tools/call", "run_python", arguments={"code": "import time\ntime.sleep(50)"})
    connection = server.connect()
    connection.request("POST", "/mcp", json.dumps(message), {
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers})
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    running = server.ask("GET", "/v1/executions?status=running").json["executions"]
    connection.close()
    response.close()
    ended = until(lambda: server.ask("GET", f"/v1/executions/{running[0]['id']}").json.get("result"))
    assert ended["status"] == "killed"


def test_events_have_neither_names_nor_ids(server: Server) -> None:
    message, headers = modern("tools/call", "run_python", arguments={"code": "print('a\\n\\ndata: b')"})
    message["params"]["_meta"] = {**MODERN, "progressToken": 1}
    answer = post(server, message, {**headers, "Accept": "application/json, text/event-stream"})
    assert answer.headers["X-Accel-Buffering"] == "no"
    events = [line for line in answer.body.decode().split("\n\n") if line and not line.startswith(":")]
    assert len(events) >= 2 and all(re.fullmatch("data: [^\n]*", event) for event in events)
    told = [json.loads(event[6:])["params"]["message"] for event in events[:-1]]
    assert "".join(told) == "a\n\ndata: b\n", told
    assert json.loads(events[-1][6:])["result"]["structuredContent"]["stdout"] == "a\n\ndata: b\n"


# ---- whose ----

def test_over_tcp_callers_own_what_they_make(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name * 40)
        (tmp_path / name).chmod(0o600)
    config = tmp_path / "sandbox.yaml"
    config.write_text(f"tokens:\n- name: a\n  file: {tmp_path}/a\n- name: b\n  file: {tmp_path}/b\n")
    with Server("--listen", "127.0.0.1:0", "--config", str(config)) as server:
        host = server.await_line("listening on http://").split("://")[1]

        def ask(token: str | None, message: dict, **headers: str):
            connection = http.client.HTTPConnection(host, timeout=60)
            given = {"Content-Type": "application/json", "Accept": "application/json", **headers}
            if token:
                given["Authorization"] = f"Bearer {token * 40}"
            try:
                connection.request("POST", "/mcp", json.dumps(message), given)
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            finally:
                connection.close()

        def tool(token: str, name: str, **arguments: object) -> dict:
            return ask(token, request("tools/call", name=name, arguments=arguments))[1]["result"]

        session = tool("a", "session_new")["structuredContent"]["id"]
        assert tool("a", "run_python", session=session, code="1")["isError"] is False
        assert tool("b", "run_python", session=session, code="1")["isError"] is True
        assert tool("b", "session_end", session=session)["isError"] is True
        assert tool("b", "session_list")["structuredContent"]["sessions"] == []
        assert [s["id"] for s in tool("a", "session_list")["structuredContent"]["sessions"]] == [session]
        assert ask(None, request("ping"))[0] == 401
        assert ask("a", request("ping"), Origin="http://evil.example")[0] == 403
        assert ask("a", request("ping"), Host="evil.example")[0] == 421
        assert ask("a", request("ping"))[0] == 200


# ---- the command ----

def test_the_settings_of_the_command_hold(tmp_path: pathlib.Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a.txt").write_text("from outside")
    (tmp_path / "policy.yaml").write_text("# mine\nmax_execution_time: 7\nmax_memory_mb: 300\n")
    for path in (tmp_path, tmp_path / "given"):
        path.chmod(0o755)
    with mcp("--policy", "policy.yaml", "--set", "allowed_directories=./given:ro", "--set", "max_memory_mb=256",
             "--journal", str(tmp_path / "journal"), cwd=tmp_path) as one:
        policy = one.call("policy_show")["structuredContent"]["policy"]
        assert (policy["max_execution_time"], policy["max_memory_mb"]) == (7, 256)
        assert policy["allowed_modules"] == ["*"]
        result = one.call("run_python", code=f"open({str(tmp_path / 'given' / 'a.txt')!r}).read()")
        assert result["structuredContent"]["result"] == "from outside", result
        assert result["structuredContent"]["recorded"] is True
        id_ = result["structuredContent"]["id"]
        shown = one.call("journal_show", id=id_)["structuredContent"]["execution"]
        assert shown["id"] == id_ and shown["door"] == "mcp" and "a.txt" in shown["code"]
        assert [e["id"] for e in one.call("journal_list")["structuredContent"]["executions"]] == [id_]
        assert one.call("journal_list", text="nowhere")["structuredContent"]["executions"] == []


def test_strict_when_told_so() -> None:
    with mcp("--preset", "strict") as one:
        result = one.call("run_python", code="import os")
        assert result["isError"] and "allowed_modules" in texts(result)


def test_a_configuration_holds_but_for_what_it_listens_on(tmp_path: pathlib.Path) -> None:
    with Server("--listen", "127.0.0.1:0", "--insecure") as other:
        taken = other.await_line("listening on http://").split("://")[1]
        config = tmp_path / "sandbox.yaml"
        config.write_text(f"listen: ['{taken}']\nsocket: {other.socket}\n"
                          "defaults: {max_execution_time: 3}\nceilings: {max_execution_time: 3}\n")
        with mcp("--config", str(config)) as one:
            assert one.call("policy_show")["structuredContent"]["policy"]["max_execution_time"] == 3
            assert one.call("run_python", code="1")["isError"] is False


def test_a_server_that_does_not_start(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "sandbox.yaml"
    config.write_text("nonsense: 1\n")
    with mcp("--config", str(config)) as one:
        one.send("ping", 1)
        assert one.answer(1)["error"]["code"] == -32603
        assert one.end() == 2


@pytest.mark.parametrize("args, words", [(("--set", "max_memory_mb=x"), "max_memory_mb"), (("--nothing",), "unknown"),
                                         (("--preset", "nobody"), "nobody"), (("x",), "unexpected"),
                                         (("--socket", "/x", "--journal", "/y"), "--journal")])
def test_wrong_usage(args: tuple, words: str) -> None:
    done = subprocess.run([runner.BINARY, "mcp", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 2 and words in done.stderr and not done.stdout


def test_nobody_listens_there(tmp_path: pathlib.Path) -> None:
    with mcp("--socket", str(tmp_path / "none")) as one:
        one.send("ping", 1)
        assert one.answer(1)["error"]["code"] == -32603


def test_all_is_answered_before_its_end_and_nothing_is_left(tmp_path: pathlib.Path) -> None:
    with mcp(env={**os.environ, "TMPDIR": str(tmp_path)}) as one:
        one.send("tools/call", 1, name="run_python", arguments={"code": "import time\ntime.sleep(0.5)\n'late'"})
        children = until(lambda: pathlib.Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children").read_text())
        assert one.end() == 0
        assert one.answer(1)["result"]["structuredContent"]["result"] == "late"
    assert list(tmp_path.iterdir()) == []
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in children.split())


def test_its_server_ends_with_it_when_it_is_killed(tmp_path: pathlib.Path) -> None:
    with mcp(env={**os.environ, "TMPDIR": str(tmp_path)}) as one:
        one.call("run_python", code="1")
        children = pathlib.Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children").read_text().split()
        assert children
        one.process.kill()
        one.process.wait()
    assert until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in children))
    assert list(tmp_path.iterdir()) == []


def test_plots_are_images(shared: Mcp) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    session = shared.call("session_new")["structuredContent"]["id"]
    shared.call("run_python", session=session, code="import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('p.png')")
    image = shared.call("files_read", session=session, path="p.png")["content"][0]
    assert image["type"] == "image" and image["mimeType"] == "image/png"
    assert base64.b64decode(image["data"]).startswith(b"\x89PNG")
    shown = shared.call("run_python", session=session, code="plt.plot([3, 4])\nplt.show()")
    images = [block for block in shown["content"] if block["type"] == "image"]
    assert len(images) == 1 and base64.b64decode(images[0]["data"]).startswith(b"\x89PNG")
    shared.call("session_end", session=session)


def test_bytes_of_files(shared: Mcp) -> None:
    session = shared.call("session_new")["structuredContent"]["id"]
    data = bytes(range(256))
    shared.call("files_write", session=session, path="d/raw", base64=base64.b64encode(data).decode())
    read = shared.call("files_read", session=session, path="d/raw")["structuredContent"]
    assert base64.b64decode(read["base64"]) == data and read["size"] == 256
    part = shared.call("files_read", session=session, path="d/raw", offset=65, limit=3)["structuredContent"]
    assert part["text"] == "ABC"
    assert shared.call("files_write", session=session, path="x")["isError"]
    assert shared.call("files_write", session=session, path="x", base64="!")["isError"]
    assert shared.call("files_write", session=session, path="../x", text="y")["isError"]
    assert shared.call("files_read", session=session, path="nothing")["isError"]
    shared.call("session_end", session=session)


# ---- docs/mcp.md ----

def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOC.read_text(), re.M | re.S)


def test_the_documented_configurations_parse_and_start() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has tomllib")
    servers = []
    for text in blocks("json"):
        found = json.loads(text)
        servers += (found.get("mcpServers") or found.get("servers")).values()
    for text in blocks("toml"):
        servers += tomllib.loads(text)["mcp_servers"].values()
    assert len(servers) >= 5
    commands = {tuple([one["command"], *one["args"]]) for one in servers if "command" in one}
    commands |= {tuple(line.split(" -- ")[1].split()) for text in blocks("sh") for line in text.splitlines()
                 if " -- " in line}
    assert len(commands) >= 2
    for command in commands:
        assert command[:2] == ("sandbox", "mcp")
        done = subprocess.run([runner.BINARY, *command[1:]], input=json.dumps(request("ping")) + "\n", text=True,
                              capture_output=True, timeout=60, cwd="/tmp")
        assert json.loads(done.stdout)["result"] == {}, (command, done.stderr)
    for one in servers:
        assert "command" in one or one["url"] == "http://127.0.0.1:5000/mcp"


def test_the_documented_tools_are_the_tools(shared: Mcp) -> None:
    shared.send("tools/list", "l")
    listed = [tool["name"] for tool in shared.answer("l")["result"]["tools"]]
    assert re.findall(r"^\| `(\w+)` \|", DOC.read_text(), re.M) == listed


def test_the_documented_exchange(shared: Mcp) -> None:
    sent, got = blocks("jsonl")
    for line in sent.splitlines():
        shared.raw(line.encode() + b"\n")
    for line in got.splitlines():
        wanted = json.loads(line)
        answer = shared.answer(wanted["id"])
        assert answer["result"]["content"] == wanted["result"]["content"], answer
