# SPDX-License-Identifier: MIT
"""The HTTP door of a real server: runs, streams, detached runs, metrics, callers that go away or are slow or hostile."""
from __future__ import annotations

import concurrent.futures
import json
import re
import shutil
import socket
import subprocess
import time

import pytest
from http_server import Server, read_to_end, until

LOOP = "while True: pass"
LONG = {"max_execution_time": 60}


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


def head(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def events_of(data: bytes) -> list[tuple[str, str, dict]]:
    """(event, id, data) of a stream of server-sent events."""
    out = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if fields:
            out.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return out


def running(server: Server) -> int:
    return server.ask("GET", "/v1/health").json["running"]


# ---- runs ----

def test_a_run_and_where_its_time_went(server: Server) -> None:
    answer = server.ask("POST", "/v1/executions", {"code": "print('hi')\n6 * 7"})
    assert answer.status == 200 and answer.json["result"] == 42 and answer.json["stdout"] == "hi\n"
    timing = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
    assert list(timing) == ["queue", "setup", "run", "total"]
    assert sum(float(timing[k]) for k in ("queue", "setup", "run")) <= float(timing["total"]) + 0.01
    for name, value in (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
                        ("Cross-Origin-Resource-Policy", "same-origin"), ("Cache-Control", "no-store")):
        assert answer.headers[name] == value
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_problems_name_the_field_at_fault(server: Server) -> None:
    answer = server.ask("POST", "/v1/executions", {"code": "1", "policy": {"max_memory_mb": -1}})
    assert answer.status == 400 and answer.type == "application/problem+json"
    problem = answer.json
    assert problem["field"] == "max_memory_mb" and problem["name"] == "PolicyError" and problem["status"] == 400
    assert problem["type"] == "urn:interpreter-sandbox:problem:PolicyError" and problem["title"] and problem["detail"]
    for body, field in (({}, "code"), ({"code": 1}, "code"), ({"code": "1", "bogus": 2}, "bogus")):
        assert server.ask("POST", "/v1/executions", body).json["field"] == field
    filtered = server.ask("GET", "/v1/executions?status=nonsense")
    assert filtered.status == 400 and filtered.json["field"] == "status"
    late = server.ask("POST", "/v1/executions", {"code": "1", "policy": {"allowed_directories": ["/nowhere/at/all"]}})
    assert late.status == 400 and late.json["name"] == "GrantRefused" and late.json["field"] == "allowed_directories"


def test_timeout_lowers_the_limit_and_never_raises_it(server: Server) -> None:
    short = server.run(LOOP, timeout=0.2)
    assert short["status"] == "timeout" and short["policy"]["max_execution_time"] == 0.2
    assert server.run("1", timeout=600)["policy"]["max_execution_time"] == 5


def test_server_sent_events_say_the_same_as_ndjson(server: Server) -> None:
    body = {"code": "import sys\nprint('a: b\\n\\ndata: x')\nprint('é', file=sys.stderr)\nimport socket",
            "policy": {"allowed_modules": ["sys"]}}
    sse = server.ask("POST", "/v1/executions", body, {"Accept": "text/event-stream"})
    lines = server.ask("POST", "/v1/executions", body, {"Accept": "application/x-ndjson"})
    assert sse.type == "text/event-stream" and lines.type == "application/x-ndjson"
    events = events_of(sse.body)
    assert [int(id_) for _, id_, _ in events] == list(range(len(events)))
    assert all(name == data["type"] for name, _, data in events)
    assert events[0][0] == "start" and events[-1][0] == "result"
    plain = [json.loads(line) for line in lines.body.splitlines()]

    def text(items: list[dict], stream: str) -> str:
        return "".join(item["text"] for item in items if item["type"] == stream)

    for items in ([data for _, _, data in events], plain):
        assert text(items, "stdout") == "a: b\n\ndata: x\n" and text(items, "stderr").startswith("é\n")
        assert items[-1]["result"]["status"] == "denied" and any(item["type"] == "event" for item in items)


def test_a_refused_stream_is_a_problem(server: Server) -> None:
    answer = server.ask("POST", "/v1/executions", {"code": 1}, {"Accept": "text/event-stream"})
    assert answer.status == 400 and answer.type == "application/problem+json"


# ---- detached runs ----

def test_a_detached_run_outlives_its_caller(server: Server) -> None:
    code = "import time\nprint('begun')\ntime.sleep(0.6)\n__result__ = 'done'"
    answer = server.ask("POST", "/v1/executions", {"code": code, "detach": True, "policy": {"allowed_modules": ["time"]}})
    assert answer.status == 202 and answer.json["status"] == "running"
    where = answer.headers["Location"]
    assert where == f"/v1/executions/{answer.json['id']}"
    seen = server.ask("GET", where).json
    assert seen["status"] == "running" and seen["detached"] and "result" not in seen
    done = until(lambda: (now := server.ask("GET", where).json)["status"] != "running" and now)
    assert done["status"] == "ok" and done["result"]["result"] == "done" and done["result"]["stdout"] == "begun\n"
    assert isinstance(server.ask("GET", where + "/samples").json["samples"], list)
    assert server.ask("GET", where + "/events").json == {"events": []}
    listed = server.ask("GET", "/v1/executions?limit=1000").json["executions"]
    assert answer.json["id"] in [row["id"] for row in listed]


def test_a_detached_run_is_watched_and_stopped(server: Server) -> None:
    answer = server.ask("POST", "/v1/executions", {"code": LOOP, "detach": True, "policy": LONG})
    where = answer.headers["Location"]
    assert until(lambda: len(server.ask("GET", where + "/samples").json["samples"]) > 2)
    assert server.ask("GET", "/v1/executions?status=running").json["executions"][0]["id"] == answer.json["id"]
    assert server.ask("DELETE", where).status == 204
    assert until(lambda: server.ask("GET", where).json["status"] == "killed")
    assert server.ask("DELETE", where).status == 404


def test_stopping_a_run_answers_its_caller(server: Server) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(server.socket)
        sock.sendall(head("POST", "/v1/executions", "Content-Type: application/json", "Connection: close",
                          body=json.dumps({"code": LOOP, "policy": LONG}).encode()))
        rows = until(lambda: server.ask("GET", "/v1/executions?status=running").json["executions"])
        assert server.ask("DELETE", f"/v1/executions/{rows[0]['id']}").status == 204
        assert b'"status":"killed"' in read_to_end(sock)


def test_pages_of_the_list(server: Server) -> None:
    ids = [server.run(str(i))["id"] for i in range(5)]
    first = server.ask("GET", "/v1/executions?limit=2").json["executions"]
    assert [row["id"] for row in first] == ids[:2:-1]
    second = server.ask("GET", f"/v1/executions?limit=2&before={first[-1]['id']}").json["executions"]
    assert [row["id"] for row in second] == ids[2:0:-1]
    for query in ("limit=0", "limit=x", "limit=1001", "unknown=1", "limit=1&limit=2", "status=%00", "status=%zz"):
        assert server.ask("GET", f"/v1/executions?{query}").status == 400, query
    for id_ in ("0" * 32, "x", "%41"):
        missing = server.ask("GET", f"/v1/executions/{id_}")
        assert missing.status == 404 and missing.json["name"] == "NotRecorded"


# ---- callers that go away, or are slow ----

@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson", "text/event-stream"])
def test_a_caller_that_goes_ends_its_run(server: Server, accept: str) -> None:
    sock = server.raw()
    sock.sendall(head("POST", "/v1/executions", "Content-Type: application/json", f"Accept: {accept}",
                      body=json.dumps({"code": "while True: print('x' * 1000)", "policy": LONG}).encode()))
    assert until(lambda: running(server) == 1)
    sock.close()
    assert until(lambda: running(server) == 0)


def test_a_slow_reader_holds_its_program_and_nobody_else(server: Server) -> None:
    sock = server.raw()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(head("POST", "/v1/executions", "Content-Type: application/json", "Accept: text/event-stream",
                      body=json.dumps({"code": "for i in range(20000): print('x' * 100)",
                                       "policy": {**LONG, "max_output_bytes": 1 << 20}}).encode()))
    assert until(lambda: running(server) == 1)
    before = time.monotonic()
    for _ in range(5):
        assert server.run("1")["status"] == "ok"
    assert time.monotonic() - before < 20 and running(server) == 1
    data = b""
    while b'"type":"result"' not in data or not data.rstrip().endswith(b"0"):
        part = sock.recv(1 << 20)
        assert part
        data += part
    sock.close()
    assert data.count(b"x" * 100) >= 20000


def test_garbage_does_no_harm(server: Server) -> None:
    refused = (b"GET / HTTP/1.1\r\n" * 50, b"\r\n" * 100 + b"GET\r\n\r\n", head("GET", "/" + "a" * 40000),
               head("GET", "/", "X: " + "a" * 40000), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
               head("TRACE", "/", "Connection: close"), head("A" * 100, "/", "Connection: close"),
               b"get / http/1.1\r\nHost: x\r\n\r\n")
    # More could still come: these wait, for a minute at most (test_http.c has it shorter), and cost nobody else.
    unfinished = (b"\x00" * 5000, b"\x16\x03\x01\x00\xa5\x01",
                  head("POST", "/v1/executions", "Content-Type: application/json", "Content-Length: 5") + b"{")
    waiting = []
    for data in unfinished:
        waiting.append(server.raw())
        waiting[-1].sendall(data)
    for data in refused:
        with server.raw() as sock:
            try:
                sock.sendall(data)
            except OSError:
                pass
            assert b"HTTP/1.1 200" not in read_to_end(sock), data[:40]
    assert server.run("1")["status"] == "ok"
    for sock in waiting:
        sock.close()


def test_a_smuggled_request_is_not_answered(server: Server) -> None:
    inner = head("DELETE", "/v1/executions/x")
    chunked = b"0\r\n\r\n" + inner
    for raw in (
        head("POST", "/v1/executions", "Content-Type: application/json", "Transfer-Encoding: chunked",
             f"Content-Length: {len(chunked)}") + chunked,
        head("POST", "/v1/executions", "Content-Type: application/json", "Content-Length: 0", f"Content-Length: {len(inner)}") + inner,
        head("GET", "/v1/health", "Transfer-Encoding: chunked", f"Content-Length: {len(chunked)}") + chunked,
        head("GET", "http://x/v1/health") + inner,
        head("CONNECT", "x:80") + inner,
        head("GET", "/v1/%2e%2e/v1/health") + inner,
        head("GET", "/v1/health%00") + inner,
        head("GET", "/v1/health\xff") + inner,
    ):
        with server.raw() as sock:
            sock.sendall(raw)
            data = read_to_end(sock)
        assert len(re.findall(rb"^HTTP/1\.[01] ", data, re.M)) <= 1 and (not data or b" 400 " in data[:20]), (raw, data)
    with server.raw() as sock:  # and the same two, honestly
        sock.sendall(head("GET", "/v1/health") + head("DELETE", "/v1/executions/x", "Connection: close"))
        assert re.findall(rb"HTTP/1\.1 (\d+)", read_to_end(sock)) == [b"200", b"404"]


def test_another_origin_is_refused_on_the_socket_too(server: Server) -> None:
    assert server.ask("POST", "/v1/executions", {"code": "1"}, {"Origin": "https://evil.example"}).status == 403
    assert server.ask("POST", "/v1/executions", {"code": "1"}, {"Origin": "null"}).status == 403
    answer = server.ask("OPTIONS", "/v1/executions", headers={"Access-Control-Request-Method": "POST"})
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD, POST"
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


# ---- files ----

def test_a_file_is_never_shown(server: Server) -> None:
    id_ = server.ask("POST", "/v1/sessions", {}).json["id"]
    assert until(lambda: server.ask("GET", f"/v1/sessions/{id_}").json["state"] == "idle")
    where = f"/v1/sessions/{id_}/files/"
    for name, type_ in (("a.html", "application/octet-stream"), ("b.svg", "application/octet-stream"),
                        ("c.txt", "text/plain; charset=utf-8"), ("d.png", "image/png"),
                        ("%C3%A9%20%22x.js", "application/octet-stream")):
        text = b"<script>alert(1)</script>" * 10
        assert server.ask("PUT", where + name, text, {"Content-Type": "application/octet-stream"}).status == 200
        answer = server.ask("GET", where + name)
        assert answer.body == text and answer.headers["Content-Type"] == type_, name
        assert answer.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''")
        assert answer.headers["Content-Security-Policy"].endswith("; sandbox")
        assert "\"" not in answer.headers["Content-Disposition"]
    for path in ("../x", "a//b", "%2e%2e/x", "a%2fb", "a%00b", ".", ""):
        assert server.ask("GET", where + path).status in (400, 404), path
    server.ask("DELETE", f"/v1/sessions/{id_}")


# ---- what the server says of itself ----

def samples(text: str) -> dict[str, float]:
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}


def test_metrics_count(server: Server) -> None:
    def read() -> dict[str, float]:
        answer = server.ask("GET", "/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return samples(answer.body.decode())

    before = read()
    server.run("1")
    server.run("1 / 0")
    server.run("import socket")
    server.ask("GET", "/nothing")
    after = read()

    def grew(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert grew('sandbox_executions_total{status="ok"}') == 1
    assert grew('sandbox_executions_total{status="error"}') == 1
    assert grew('sandbox_executions_total{status="denied"}') == 1
    assert grew('sandbox_denials_total{kind="import"}') == 1
    assert grew('sandbox_http_requests_total{operation="run",status="2xx"}') == 3
    assert grew('sandbox_http_requests_total{operation="none",status="4xx"}') == 1
    for name in ("queue", "setup", "run", "reap"):
        assert grew(f"sandbox_execution_{name}_seconds_count") == 3
        assert grew(f'sandbox_execution_{name}_seconds_bucket{{le="+Inf"}}') == 3
        assert grew(f"sandbox_execution_{name}_seconds_sum") > 0
    assert grew("sandbox_http_received_bytes_total") > 20 and grew("sandbox_http_sent_bytes_total") > 500
    assert any(name.startswith("sandbox_pool_waiting{") for name in after)
    assert {"sandbox_sessions", "sandbox_admission_waiting", "sandbox_executions_running"} <= set(after)
    assert 'sandbox_build_info{version="0.1.0"}' in after


def test_metrics_are_well_formed(server: Server) -> None:
    text = server.ask("GET", "/metrics").body.decode()
    assert text.endswith("\n")
    typed = set(re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)$", text, re.M))
    for line in text.splitlines():
        if line.startswith("# "):
            continue
        match = re.fullmatch(r'([a-z_0-9]+)(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})? -?[0-9.e+]+', line)
        assert match, line
        name = match[1]
        assert name in typed or re.sub(r"_(bucket|sum|count)$", "", name) in typed, line


def test_policy_doctor_page(server: Server) -> None:
    policy = server.ask("GET", "/v1/policy").json
    assert {preset["name"] for preset in policy["presets"]} == {"strict", "data", "open"}
    doctor = server.ask("GET", "/v1/doctor").json
    assert doctor["walls"] and all({"name", "stands", "remedy"} <= set(wall) for wall in doctor["walls"])
    page = server.ask("GET", "/")
    assert page.status == 200 and page.type == "text/html"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert server.ask("GET", "/assets/nothing.js").status == 404


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl(server: Server) -> None:
    done = subprocess.run(["curl", "-sS", "--unix-socket", server.socket, "http://localhost/v1/executions", "-H",
                           "Content-Type: application/json", "-d", '{"code": "6 * 7"}'], capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["result"] == 42


def test_many_at_once_are_each_right(server: Server) -> None:
    def one(i: int) -> bool:
        return server.run(f"{i} * 2")["result"] == 2 * i

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(200)))
    assert until(lambda: running(server) == 0)
