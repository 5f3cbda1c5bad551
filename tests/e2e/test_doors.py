# SPDX-License-Identifier: MIT
"""Other programs' interfaces, asked as their own clients ask: over the unix socket, and on ports of their own with and
without a token. docs/doors.md."""
from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import time
import urllib.parse

import http_server
import pytest
import runner

KEY = "e2b_" + "7d" * 32
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
DATA = runner.have("matplotlib")


def b64(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


class Place:
    """Where a door is: a unix socket, or a port with or without a token."""

    def __init__(self, name: str, connect, headers: dict | None = None) -> None:
        self.name, self.connect, self.headers = name, connect, headers or {}

    def __repr__(self) -> str:
        return self.name

    def ask(self, method: str, path: str, body=None, headers: dict | None = None) -> http_server.Answer:
        connection = self.connect()
        data, headers = body, {**self.headers, **(headers or {})}
        if isinstance(body, (dict, list)):
            data = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, data, headers)
            return http_server.Answer(connection.getresponse())
        finally:
            connection.close()


def ports(server: http_server.Server) -> list[int]:
    found = re.findall(r"listening on http://127\.0\.0\.1:(\d+)", server.said())
    return [int(port) for port in found]


NAMES = ["first", "e2b", "sandboxfusion", "snekbox"]


@contextlib.contextmanager
def serving(tmp, *more: str):
    token = tmp / "token"
    token.write_text(KEY + "\n")
    token.chmod(0o600)
    args = ["--token-file", str(token)]
    for name in NAMES:
        args += ["--door", f"{name}=127.0.0.1:0"]
    with http_server.Server(*args, *more) as server:
        assert http_server.until(lambda: len(ports(server)) == len(NAMES)), server.said()
        yield server


def of_port(port: int, headers: dict | None = None) -> Place:
    return Place(f"port{'+token' if headers else ''}",
                 lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=30), headers)


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("doors")) as server:
        yield server


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("doors"), "--door-open") as server:
        yield server


@pytest.fixture(params=["unix", "token", "open"])
def place(request):
    """A function from a door's name to its place."""
    server = request.getfixturevalue("opened" if request.param == "open" else "closed")

    def find(name: str) -> Place:
        if request.param == "unix":
            return Place("unix", server.connect)
        header = {"Authorization": f"Bearer {KEY}"} if request.param == "token" else None
        return of_port(ports(server)[NAMES.index(name)], header)
    return find


# ---- the first version's form ----

def form(place: Place, code: str, **fields: str) -> http_server.Answer:
    return place.ask("POST", "/execute", urllib.parse.urlencode({"code": code, **fields}), FORM)


def test_first_runs_a_form(place):
    door = place("first")
    answer = form(door, "import math\r\n__result__ = math.sqrt(16)", max_memory_mb="100", max_cpu_percent="50",
                  max_execution_time="5", allow_file_operations="false", network_access="false", allow_imports="true",
                  allowed_modules="math, random")
    assert (answer.status, answer.type) == (200, "application/json")
    got = answer.json
    assert set(got) == {"id", "status", "result", "error", "execution_time"}
    assert (got["status"], got["result"], got["error"]) == ("成功", "4.0", None)
    assert form(door, "__result__ = 'text'").json["result"] == "text"
    denied = form(door, "import socket", allowed_modules="math").json
    assert (denied["status"], denied["result"]) == ("执行失败", None) and "socket" in denied["error"]
    late = form(door, "import time\ntime.sleep(9)", max_execution_time="0.3", allowed_modules="time").json
    assert late["status"] == "执行失败" and "TimeLimit" in late["error"]


def test_first_remembers(place):
    door = place("first")
    got = form(door, "import time\nprint('<script>alert(1)</script>')\ntime.sleep(0.5)\n__result__ = '<b>&'",
               allowed_modules="time").json
    samples = door.ask("GET", f"/resource_data/{got['id']}").json
    assert samples and set(samples[0]) == {"timestamp", "memory_mb", "cpu_percent", "elapsed_time"}
    assert abs(samples[0]["timestamp"] - time.time()) < 120 and 0 <= samples[-1]["elapsed_time"] < 60
    page = door.ask("GET", f"/history/{got['id']}")
    text = page.body.decode()
    assert (page.status, page.type) == (200, "text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "<script>" not in text and "&lt;script&gt;" in text and "&lt;b&gt;&amp;" in text
    for path in ("resource_data", "history"):
        missing = door.ask("GET", f"/{path}/{'0' * 32}")
        assert missing.status == 404 and missing.json["status"] == "执行失败"


def test_first_refuses_in_its_shape(place):
    door = place("first")
    for fields in ({"max_memory_mb": "lots"}, {"allow_imports": "perhaps"}, {"max_execution_time": "-1"}):
        answer = form(door, "1", **fields)
        assert answer.status == 400 and answer.json["status"] == "执行失败", answer.body
        assert next(iter(fields)) in answer.json["error"]
    assert door.ask("POST", "/execute", "a=1", FORM).status == 400
    assert door.ask("POST", "/execute", "code=1&code=2", FORM).status == 400


def test_first_takes_forms_of_its_own_pages_only(opened):
    port = ports(opened)[NAMES.index("first")]
    door = of_port(port)
    body = urllib.parse.urlencode({"code": "__result__ = 1"})
    own = door.ask("POST", "/execute", body, {**FORM, "Origin": f"http://127.0.0.1:{port}"})
    assert own.json["result"] == "1"
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}", f"https://127.0.0.1:{port}"):
        answer = door.ask("POST", "/execute", body, {**FORM, "Origin": origin})
        assert answer.status == 403 and answer.json["status"] == "执行失败", origin
    assert door.ask("POST", "/execute", body, {**FORM, "Host": "evil.example"}).status == 421
    assert door.ask("POST", "/execute", body, {"Content-Type": "text/plain"}).status == 415


# ---- E2B ----

class Execution:
    """What E2B's Python client makes of the lines."""

    def __init__(self) -> None:
        self.results: list[dict] = []
        self.stdout, self.stderr, self.types = "", "", []
        self.error = self.count = None

    def take(self, line: bytes) -> None:
        data = json.loads(line)
        kind = data.pop("type")
        self.types.append(kind)
        if kind == "result":
            assert set(data) <= {"text", "html", "markdown", "svg", "png", "jpeg", "pdf", "latex", "json", "javascript",
                                 "data", "chart", "extra", "is_main_result"}
            self.results.append(data)
        elif kind in ("stdout", "stderr"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", data["timestamp"])
            setattr(self, kind, getattr(self, kind) + data["text"])
        elif kind == "error":
            assert isinstance(data["traceback"], str)
            self.error = data
        elif kind == "number_of_executions":
            self.count = data["execution_count"]

    @property
    def text(self):
        return next((result["text"] for result in self.results if result["is_main_result"]), None)


class Sandbox:
    """As `Sandbox.create()` of e2b_code_interpreter does with E2B_API_URL and E2B_SANDBOX_URL: the key goes to the
    control API, the tokens that it answers go with what follows."""

    def __init__(self, place: Place) -> None:
        self.place = Place(place.name, place.connect)  # no Authorization: E2B's own headers
        made = self.place.ask("POST", "/sandboxes", {"templateID": "code-interpreter-v1", "timeout": 300,
                                                     "metadata": {}, "envVars": {}, "secure": True,
                                                     "allow_internet_access": True}, {"X-API-Key": KEY})
        assert made.status == 201, made.body
        self.made = made.json
        assert {"templateID", "sandboxID", "clientID", "envdVersion"} <= set(self.made)
        self.place.headers = {"E2b-Sandbox-Id": self.made["sandboxID"], "E2b-Sandbox-Port": "49999"}
        for key, header in (("envdAccessToken", "X-Access-Token"), ("trafficAccessToken", "E2B-Traffic-Access-Token")):
            if key in self.made:
                self.place.headers[header] = self.made[key]

    def run(self, code: str, context: str | None = None, language: str | None = None, envs: dict | None = None):
        connection = self.place.connect()
        connection.request("POST", "/execute", json.dumps({"code": code, "context_id": context, "language": language,
                                                           "env_vars": envs}),
                           {**self.place.headers, "Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        execution = Execution()
        for line in response:
            execution.take(line)
        connection.close()
        assert execution.types[-1] in ("end_of_execution", "unexpected_end_of_execution")
        return execution

    def context(self, **body) -> str:
        answer = self.place.ask("POST", "/contexts", body)
        assert answer.status == 200, answer.body
        assert set(answer.json) == {"id", "language", "cwd"} and answer.json["language"] == "python"
        return answer.json["id"]

    def contexts(self) -> list[str]:
        return [context["id"] for context in self.place.ask("GET", "/contexts").json]

    def kill(self) -> None:
        assert self.place.ask("DELETE", f"/sandboxes/{self.made['sandboxID']}", None, {"X-API-Key": KEY}).status == 204


@pytest.fixture
def sandbox(place):
    made = Sandbox(place("e2b"))
    yield made
    made.kill()


def test_e2b_keeps_state(sandbox):
    assert sandbox.place.ask("GET", "/health").json == "OK"
    first = sandbox.run("import sys\nx = 41\nprint('out')\nprint('err', file=sys.stderr)")
    assert (first.stdout, first.stderr, first.error, first.results) == ("out\n", "err\n", None, [])
    second = sandbox.run("x + 1", language="python")
    assert (second.text, second.count, second.types[-1]) == ("42", first.count + 1, "end_of_execution")
    assert sandbox.run("'words'").text == "words"
    failed = sandbox.run("1/0")
    assert failed.error["name"] == "ZeroDivisionError" and "1/0" in failed.error["traceback"]
    assert sandbox.run("x").text == "41"


def test_e2b_contexts_are_apart(sandbox):
    one, two = sandbox.context(), sandbox.context(language="python", cwd="/home/user", env_vars={"WHO": "two"})
    sandbox.run("x = 1", one)
    assert sandbox.run("x", two).error["name"] == "NameError"
    assert sandbox.run("x").error["name"] == "NameError"
    assert sandbox.run("import os; os.environ.get('WHO')", two).text == "two"
    assert {one, two} < set(sandbox.contexts()) and len(sandbox.contexts()) == 3
    assert sandbox.place.ask("POST", f"/contexts/{one}/restart", "", {"Content-Type": "application/json"}).status == 200
    assert sandbox.run("x", one).error["name"] == "NameError"
    assert sandbox.place.ask("DELETE", f"/contexts/{two}").status == 200
    gone = http_server.until(lambda: sandbox.place.ask("POST", "/execute", {"code": "1", "context_id": two}))
    assert gone.status == 404 and gone.type == "text/plain" and b"not found" in gone.body
    assert sandbox.place.ask("DELETE", "/contexts/nothing").status == 404


def test_e2b_sandboxes_are_apart(sandbox, place):
    other = Sandbox(place("e2b"))
    context = sandbox.context()
    sandbox.run("x = 1")
    assert other.run("x").error["name"] == "NameError"
    assert other.place.ask("POST", "/execute", {"code": "1", "context_id": context}).status == 404
    assert context not in other.contexts()
    other.kill()
    assert sandbox.run("x").text == "1"


def test_e2b_variables_hold_for_one_run(sandbox):
    odd = "it's \"ü\" \U0001f600\n\\"
    assert sandbox.run("import os; os.environ['A']", envs={"A": odd, "B": "b"}).text == repr(odd)[1:-1]
    assert sandbox.run("import os; [os.environ.get('A'), os.environ.get('B')]").text == "[None, None]"


def test_e2b_results(sandbox):
    html = sandbox.run("class A:\n    def _repr_html_(self): return '<i>a</i>'\ndisplay(A())\nprint('between')\nA()")
    assert [result["is_main_result"] for result in html.results] == [False, True]
    assert html.results[1]["html"] == "<i>a</i>" and "A object" in html.text


@pytest.mark.skipif(not DATA, reason="matplotlib is not installed")
def test_e2b_shows_plots(sandbox):
    line = sandbox.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [4, 5, 6], label='growth')\n"
                       "plt.title('T'); plt.xlabel('Time (s)'); plt.ylabel('y')\nplt.show()")
    assert line.error is None, line.error
    (result,) = line.results
    assert base64.b64decode(result["png"]).startswith(b"\x89PNG") and not result["is_main_result"]
    chart = result["chart"]
    assert (chart["type"], chart["title"], chart["x_label"], chart["x_unit"]) == ("line", "T", "Time (s)", "s")
    assert chart["elements"] == [{"label": "growth", "points": [[1, 4], [2, 5], [3, 6]]}]
    assert {"x_ticks", "x_tick_labels", "x_scale", "y_ticks", "y_tick_labels", "y_scale", "y_unit"} <= set(chart)
    two = sandbox.run("f, (a, b) = plt.subplots(1, 2)\na.bar(['x', 'y'], [1, 2])\nb.pie([1, 3], labels=['p', 'q'])\n"
                      "plt.show()")
    chart = two.results[0]["chart"]
    assert chart["type"] == "superchart" and [part["type"] for part in chart["elements"]] == ["bar", "pie"]
    bar, pie = (part["elements"] for part in chart["elements"])
    assert [(b["label"], b["value"]) for b in bar] == [("x", 1), ("y", 2)] and all("group" in b for b in bar)
    assert [(p["label"], round(p["angle"])) for p in pie] == [("p", 90), ("q", 270)]


def test_e2b_other_languages_and_wrong_bodies(sandbox):
    ask = sandbox.place.ask
    for language in ("javascript", "r", "x" * 100000, "\u0000"):
        answer = ask("POST", "/execute", {"code": "1", "language": language})
        assert answer.status == 400 and answer.type == "text/plain" and b"python" in answer.body
        assert ask("POST", "/contexts", {"language": language}).status == 400
    both = ask("POST", "/execute", {"code": "1", "language": "python", "context_id": "a"})
    assert both.status == 400 and both.body.startswith(b"Only one of context_id or language")
    for body in ({}, {"code": 1}, {"code": "1", "context_id": 5}, {"code": "1", "env_vars": []},
                 {"code": "1", "env_vars": {"A": 1}}, {"code": "1", "env_vars": {"A=B": "1"}},
                 {"code": "1", "env_vars": {str(i): "" for i in range(300)}}):
        answer = ask("POST", "/execute", body)
        assert answer.status == 422 and answer.json["detail"][0]["loc"][0] == "body", (body, answer.body)
    assert ask("POST", "/execute", "{", {"Content-Type": "application/json"}).status == 422
    assert ask("POST", "/contexts", {"cwd": "/etc"}).status == 400
    assert ask("POST", "/execute", {"code": "1"}, {"E2b-Sandbox-Id": "../x"}).status == 422
    wrong = ask("POST", "/sandboxes", {"envVars": {"A": "b"}}, {"X-API-Key": KEY})
    assert wrong.status == 400 and set(wrong.json) == {"code", "message"}
    nul = ask("POST", "/execute", {"code": "a\u0000b"})
    assert nul.status == 422 and nul.json["detail"], nul.body


def test_e2b_a_caller_that_goes_interrupts(sandbox):
    sandbox.run("import time\nx = 5\nseen = []")
    connection = sandbox.place.connect()
    connection.request("POST", "/execute", json.dumps({
        "code": "try:\n    print('begun', flush=True)\n    time.sleep(30)\nexcept KeyboardInterrupt:\n    seen.append(1)\n"
                "    raise"}), {**sandbox.place.headers, "Content-Type": "application/json"})
    response = connection.getresponse()
    assert b"begun" in response.readline()
    begun = time.monotonic()
    response.close()
    connection.sock and connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    assert sandbox.run("[x, seen]").text == "[5, [1]]"
    assert time.monotonic() - begun < 20


def test_e2b_says_when_a_context_has_ended(sandbox):
    ended = sandbox.run("import os\nos._exit(3)")
    assert ended.types[-1] == "unexpected_end_of_execution" and ended.error
    assert sandbox.run("1 + 1").text == "2"


# ---- SandboxFusion ----

def fusion(place: Place, code: str, **more) -> dict:
    answer = place.ask("POST", "/run_code", {"code": code, "language": "python", **more})
    assert answer.status == 200, answer.body
    got = answer.json
    assert {"status", "message", "compile_result", "run_result", "executor_pod_name", "files"} == set(got)
    assert got["compile_result"] is None
    return got


def test_fusion_runs(place):
    door = place("sandboxfusion")
    got = fusion(door, "print(input())", stdin="hello\n", compile_timeout=10, run_timeout=10, memory_limit_MB=-1,
                 files={}, fetch_files=[])
    assert (got["status"], got["message"], got["files"]) == ("Success", "", {})
    run = got["run_result"]
    assert (run["status"], run["return_code"], run["stdout"], run["stderr"]) == ("Finished", 0, "hello\n", "")
    assert 0 <= run["execution_time"] < 20
    failed = fusion(door, "import sys; sys.exit(3)")
    assert (failed["status"], failed["run_result"]["return_code"]) == ("Failed", 3)
    raised = fusion(door, "1/0")
    assert raised["run_result"]["return_code"] == 1 and "ZeroDivisionError" in raised["run_result"]["stderr"]
    late = fusion(door, "print('so far', flush=True)\nimport time; time.sleep(30)", run_timeout=0.5)
    assert late["status"] == "Failed" and late["run_result"]["status"] == "TimeLimitExceeded"
    assert late["run_result"]["return_code"] is None and late["run_result"]["stdout"] == "so far\n"
    large = fusion(door, "x = bytearray(300 << 20)", memory_limit_MB=100)
    assert large["status"] == "Failed" and large["run_result"]["return_code"] != 0


def test_fusion_files(place):
    door = place("sandboxfusion")
    got = fusion(door, "import helper\nopen('out/a.bin', 'wb').write(bytes(range(256)))\nopen('in.txt', 'a').write('!')",
                 files={"helper.py": b64("import os; os.makedirs('out')"), "./in.txt": b64("given"), "same": b64("s"),
                        "none": None},
                 fetch_files=["out/a.bin", "./in.txt", "same", "missing", "../../etc/passwd", "/etc/passwd"])
    assert got["status"] == "Success", got
    assert {name: base64.b64decode(data) for name, data in got["files"].items()} == {
        "out/a.bin": bytes(range(256)), "./in.txt": b"given!", "same": b"s"}


def test_fusion_refuses_in_its_shape(place):
    door = place("sandboxfusion")
    for more in ({"language": "cpp"}, {"language": "nonsense" * 9}, {"files": {"../a": b64("x")}},
                 {"files": {"/etc/a": b64("x")}}, {"files": {"a": "!!"}}, {"files": {"a": 1}}, {"run_timeout": 1e9},
                 {"run_timeout": -1}, {"memory_limit_MB": 1 << 40}):
        got = fusion(door, "1", **more)
        assert got["status"] == "SandboxError" and got["message"] and got["run_result"] is None, (more, got)
    for body in ({"language": "python"}, {"code": 1, "language": "python"}, {"code": "1"},
                 {"code": "1", "language": "python", "files": []}, {"code": "1", "language": "python", "stdin": 1},
                 {"code": "1", "language": "python", "fetch_files": ["a"] * 300},
                 {"code": "1", "language": "python", "memory_limit_MB": "1"}):
        answer = door.ask("POST", "/run_code", body)
        assert answer.status == 422 and answer.json["detail"][0]["msg"], (body, answer.body)
    assert door.ask("GET", "/v1/ping").json == "pong"


# ---- snekbox ----

def snek(place: Place, **body) -> dict:
    answer = place.ask("POST", "/eval", body)
    assert answer.status == 200, answer.body
    assert set(answer.json) == {"stdout", "returncode", "files"}
    return answer.json


def test_snekbox_evaluates(place):
    door = place("snekbox")
    assert snek(door, input="print('Hello')") == {"stdout": "Hello\n", "returncode": 0, "files": []}
    raised = snek(door, input="print('a')\n1/0")
    assert raised["returncode"] == 1 and raised["stdout"].startswith("a\nTraceback")
    assert snek(door, input="import sys; sys.exit(7)")["returncode"] == 7
    assert snek(door, input="import os; os.kill(os.getpid(), 11)")["returncode"] == 139
    assert snek(door, input="x = bytearray(3 << 30)\nx[:] = x")["returncode"] in (1, 137)
    assert snek(door, input="import os; os.write(1, b'\\xff')")["returncode"] is None


def test_snekbox_arguments(place):
    door = place("snekbox")
    assert snek(door, args=["-c", "print(1)"])["stdout"] == "1\n"
    assert snek(door, args=["-X", "utf8", "-c"], input="print(2)")["stdout"] == "2\n"
    assert snek(door, args=["-c", "import sys; print(sys.argv)", "a b", "it's"])["stdout"] == "['-c', 'a b', \"it's\"]\n"
    main = {"path": "main.py", "content": b64("import sys, lib\nprint(sys.argv, lib.x, __name__)")}
    got = snek(door, args=["main.py", "ü"], files=[main, {"path": "lib.py", "content": b64("x = 1")}])
    assert got == {"stdout": "['main.py', 'ü'] 1 __main__\n", "returncode": 0, "files": []}
    assert "best of" in snek(door, args=["-m", "timeit", "-n", "1", "-r", "1", "pass"])["stdout"]


def test_snekbox_files(place):
    door = place("snekbox")
    got = snek(door, input="import os\nopen('out.txt', 'w').write('o' + open('in.txt').read())\nopen('_no', 'w').close()\n"
                           "os.mkdir('d'); open('d/b', 'wb').write(b'\\xff')",
               files=[{"path": "in.txt", "content": b64("given")}, {"path": "empty"}])
    assert got["files"] == [{"path": "d/b", "size": 1, "content": b64(b"\xff")},
                            {"path": "out.txt", "size": 6, "content": b64("ogiven")}]


def test_snekbox_stops_too_much_output(place):
    got = snek(place("snekbox"), input="while True: print('é' * 1000)")
    assert got["returncode"] == 143 and 990000 < len(got["stdout"].encode()) <= 1000000


def test_snekbox_refuses_in_its_shape(place):
    door = place("snekbox")
    for body in ({}, {"input": 1}, {"args": "x"}, {"args": [1]}, {"args": ["-c"]}, {"args": ["a"] * 300},
                 {"input": "1", "files": {}}, {"input": "1", "files": [{}]}, {"input": "1", "files": [1]},
                 {"input": "1", "files": [{"path": "../x"}]}, {"input": "1", "files": [{"path": "/x"}]},
                 {"input": "1", "files": [{"path": "a/../../x"}]}, {"input": "1", "files": [{"path": "a", "content": "?"}]},
                 {"input": "1", "files": [{"path": "a"}, {"path": "a"}]}, {"input": "1", "executable_path": "/bin/sh"},
                 {"input": "a\u0000b"}):
        answer = door.ask("POST", "/eval", body)
        assert answer.status == 400 and set(answer.json) == {"title", "description"}, (body, answer.body)
    connection = door.connect()
    connection.putrequest("POST", "/eval")
    for header, value in {**door.headers, "Content-Type": "application/json", "Content-Length": str(25 << 20)}.items():
        connection.putheader(header, value)
    connection.endheaders()  # it is refused before it is sent
    huge = http_server.Answer(connection.getresponse())
    connection.close()
    assert huge.status == 413 and "title" in huge.json


# ---- who may ----

ASKS = {"first": ("/execute", "code=1", FORM, "error"), "e2b": ("/execute", '{"code": "1"}', http_server.JSON, None),
        "sandboxfusion": ("/run_code", '{"code": "1", "language": "python"}', http_server.JSON, "detail"),
        "snekbox": ("/eval", '{"input": "1"}', http_server.JSON, "description")}


@pytest.mark.parametrize("name", NAMES)
def test_a_port_wants_its_token_and_has_one_interface(closed, name):
    port = ports(closed)[NAMES.index(name)]
    path, body, headers, member = ASKS[name]
    for more in ({}, {"Authorization": "Bearer " + "x" * 40}):
        answer = of_port(port).ask("POST", path, body, {**headers, **more})
        assert answer.status == 401, answer.body
        assert member in answer.json if member else answer.type == "text/plain"
    known = of_port(port, {"Authorization": f"Bearer {KEY}"})
    assert known.ask("GET", "/v1/executions").status == 404
    other = ASKS["snekbox" if name != "snekbox" else "e2b"]
    assert known.ask("POST", other[0], other[1], other[2]).status == 404
    missing = known.ask("GET", "/nothing")
    assert missing.status == 404 and (member in missing.json if member else missing.type == "text/plain")
    assert known.ask("POST", path, body, {**headers, "Origin": "http://evil.example"}).status == 403


def test_e2b_takes_its_clients_headers(closed):
    door = of_port(ports(closed)[NAMES.index("e2b")])
    for header in ("X-API-Key", "X-Access-Token", "E2B-Traffic-Access-Token"):
        assert door.ask("GET", "/contexts", None, {header: KEY}).status == 200
        assert door.ask("GET", "/contexts", None, {header: "e2b_" + "0" * 64}).status == 401
    made = door.ask("POST", "/sandboxes", {"templateID": "base"}, {"X-API-Key": KEY}).json
    assert made["envdAccessToken"] == made["trafficAccessToken"] == KEY
    snekbox = of_port(ports(closed)[NAMES.index("snekbox")])
    assert snekbox.ask("POST", "/eval", {"input": "1"}, {"X-API-Key": KEY}).status == 401


def test_an_open_port_asks_for_none(opened):
    door = of_port(ports(opened)[NAMES.index("e2b")])
    assert door.ask("GET", "/contexts").status == 200
    # Clients have to have some key; a wrong one is told where it is meant for this server alone.
    made = door.ask("POST", "/sandboxes", {}, {"X-API-Key": "e2b_00"})
    assert made.status == 201 and "envdAccessToken" not in made.json
    assert door.ask("GET", "/contexts", None, {"Authorization": "Bearer " + "x" * 40}).status == 401


def test_ceilings_hold(tmp_path):
    config = tmp_path / "sandbox.yaml"
    config.write_text("defaults:\n  max_execution_time: 2\nceilings:\n  max_memory_mb: 200\n"
                      "  max_execution_time: 3\n")
    with http_server.Server("--config", str(config)) as server:
        door = Place("unix", server.connect)
        assert fusion(door, "print(1)")["status"] == "Success"
        over = fusion(door, "1", memory_limit_MB=500)
        assert over["status"] == "SandboxError" and "max_memory_mb" in over["message"]
        assert snek(door, input="print(1)")["stdout"] == "1\n"
        assert "max_execution_time" in form(door, "1", max_execution_time="9").json["error"]
        late = fusion(door, "import time; time.sleep(20)")
        assert late["run_result"]["status"] == "TimeLimitExceeded"


def test_there_is_no_other_door(tmp_path):
    ran = runner.run_command("serve", "--socket", str(tmp_path / "s"), "--door", "nothing=127.0.0.1:0", timeout=30)
    assert ran.exit != 0 and "nothing" in ran.stderr and "sandboxfusion" in ran.stderr
