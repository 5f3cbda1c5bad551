# SPDX-License-Identifier: MIT
"""Sessions: state from one program to the next, and what ends a program without ending its session. ARCHITECTURE.md
INV-3, INV-4, INV-5 and INV-7; docs/api.md."""
from __future__ import annotations

import concurrent.futures
import http.client
import os
import threading
import time

import pytest
import runner
import session_server as server

OPEN = {"allowed_modules": ["*"], "allow_file_operations": True}


@pytest.fixture(scope="module")
def serve():
    with server.serving() as running:
        yield running


@pytest.fixture
def make(serve):
    made = []

    def make_one(**fields):
        made.append(serve.session(**{**OPEN, **fields}))
        return made[-1]

    yield make_one
    for session in made:
        session.end()


def later(seconds: float, call, *args):
    timer = threading.Timer(seconds, call, args)
    timer.start()
    return timer


# ---- state ----

def test_state_is_kept(make):
    session = make()
    first = session.run("x = [1]\ndef add(n):\n    x.append(n)\n    return x\nprint('made')")
    assert (first["status"], first["stdout"], first["result"]) == ("ok", "made\n", None)
    assert (first["session"], first["execution_count"], first["session_ended"]) == (session.id, 1, None)
    second = session.run("add(2)")
    assert (second["result"], second["stdout"], second["execution_count"]) == ([1, 2], "", 2)
    assert session.describe()["executions"] == 2


def test_a_run_without_a_session_says_so():
    result = runner.run_program("1")
    assert (result["session"], result["execution_count"], result["session_ended"]) == (None, None, None)


def test_last_values_have_names(make):
    session = make()
    for code in ("10", "None", "x = 3", "20", "30"):
        session.run(code)
    assert session.value("[_, __, ___, _1, _5, sorted(Out), In[1], len(In)]") == [30, 20, 10, 10, 30, [1, 4, 5], "10", 7]


def test_result_is_per_program(make):
    session = make()
    assert session.value("__result__ = 7") == 7
    result = session.run("1 + 1")
    assert (result["result"], result["result_source"]) == (2, "expression")
    assert session.run("y = 1")["result"] is None


def test_await_outside_of_functions(make):
    session = make()
    assert session.value("import asyncio\nawait asyncio.sleep(0, 'slept')") == "slept"
    session.run("lock = asyncio.Lock()\ntask = asyncio.get_event_loop().create_task(asyncio.sleep(0, 5))")
    assert session.value("async with lock:\n    found = await task\nfound") == 5
    failed = session.run("await asyncio.sleep(0)\n1/0")
    assert (failed["error"]["name"], failed["error"]["line"]) == ("ZeroDivisionError", 2)
    assert session.value("await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))") == [1, 2]


def test_without_a_session_await_is_a_syntax_error():
    assert runner.run_program("import asyncio\nawait asyncio.sleep(0)", **OPEN)["error"]["name"] == "SyntaxError"


def test_errors_name_the_line_of_their_program(make):
    session = make()
    session.run("def broken():\n    return 1/0")
    result = session.run("\n\nbroken()")
    assert result["error"]["line"] == 3
    assert "<cell 1>" in result["error"]["traceback"] and "return 1/0" in result["error"]["traceback"]


def test_exit_ends_the_program_only(make):
    session = make()
    session.run("x = 1")
    result = session.run("import sys\nsys.exit(3)")
    assert (result["status"], result["error"]["name"], result["error"]["value"]) == ("error", "SystemExit", "3")
    assert session.run("sys.exit()")["status"] == "ok"
    assert session.value("x") == 1


def test_stdin_is_per_program(make):
    session = make()
    assert session.run("input()", stdin="one\nleft over\n")["result"] == "one"
    assert session.run("import sys\nsys.stdin.read()", stdin="two")["result"] == "two"
    assert session.run("sys.stdin.read()")["result"] == ""
    assert session.run("input()")["error"]["name"] == "EOFError"


def test_programs_wait_for_their_turn(make):
    session = make()
    session.run("import time\nseen = []")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = []
        for i in range(8):
            runs.append(pool.submit(session.run, f"seen.append({i})\ntime.sleep(0.02)\nlen(seen)"))
        counts = sorted(run.result()["result"] for run in runs)
    assert counts == list(range(1, 9))


def test_output_stays_with_its_program(make):
    session = make()
    session.run("import threading, time, sys, os")
    result = session.run("print('out'); print('err', file=sys.stderr); os.write(1, b'raw\\n'); sys.stdout.write('no end')")
    assert result["stdout"] == "out\nraw\nno end" and result["stderr"] == "err\n"
    session.run("go = threading.Event()\ndef work():\n    go.wait()\n    print('late')\n    done.set()\n"
                "done = threading.Event()\nthreading.Thread(target=work, daemon=True).start()")
    quiet = session.run("threading.Timer(0.1, go.set).start()")
    assert quiet["stdout"] == ""
    time.sleep(0.4)
    assert session.run("done.wait()")["stdout"] == "late\n"


def test_figures_are_of_the_program(make):
    session = make(max_cpu_percent=100)
    heavy = session.run("n = 0\nfor i in range(3000000): n += i\nprint('x' * 100000)")
    light = session.run("1")
    assert heavy["usage"]["cpu_ms"] > 4 * light["usage"]["cpu_ms"]
    assert light["usage"]["written_bytes"] < 1000 <= heavy["usage"]["written_bytes"]


@pytest.mark.skipif(not runner.have("pandas"), reason="Debian's interpreter has no pandas")
def test_a_frame_over_fifty_programs(make):
    session = make(preset="data")
    session.run("import pandas as pd, numpy as np, time\nframe = pd.DataFrame({'n': np.arange(10)})")
    for i in range(50):
        if i == 25:
            later(0.3, session.post, "interrupt")
            assert session.run("time.sleep(20)")["error"]["name"] == "KeyboardInterrupt"
        session.run(f"frame['c{i}'] = frame['n'] * {i}")
    assert session.value("int(frame['c49'].sum()) + frame.shape[1]") == 45 * 49 + 51
    found = {v["name"]: v for v in session.server.call("GET", f"/v1/sessions/{session.id}/variables")[1]["variables"]}
    assert found["frame"]["preview"] == "shape (10, 51)" and found["frame"]["size"] == 10


# ---- interrupts and limits ----

@pytest.mark.parametrize("code", ["while True: pass", "import time\ntime.sleep(30)",
                                  "import asyncio\nawait asyncio.sleep(30)",
                                  "import threading\nthreading.Event().wait(30)"])
def test_interrupt(make, code):
    session = make(max_execution_time=30)
    session.run("x = 1")
    later(0.3, session.post, "interrupt")
    result = session.run(code)
    assert (result["status"], result["error"]["name"]) == ("error", "KeyboardInterrupt")
    assert session.value("x") == 1


def test_interrupt_of_an_idle_session_is_nothing(make):
    session = make()
    session.run("x = 1")
    for _ in range(5):
        assert session.post("interrupt")[0] == 204
    assert session.value("x") == 1


def test_interrupt_before_it_has_begun(make):
    """From the moment at which it is accepted, also while its session starts; and never the program behind it."""
    for turn in range(60):
        if turn % 10 == 0:
            session = make(max_execution_time=30)
        status, begun = session.server.call("POST", "/v1/executions", {"session": session.id, "detach": True,
                                                                       "code": "while True: pass"})
        assert status == 202 and session.post("interrupt")[0] == 204
        assert session.value("1") == 1
        assert session.server.call("GET", f"/v1/executions/{begun['id']}")[1]["result"]["error"]["name"] == "KeyboardInterrupt"


@pytest.mark.parametrize("code", ["while True: pass", "import time\ntime.sleep(30)",
                                  "for _ in range(2):\n    try:\n        while True: pass\n    except BaseException: pass"])
def test_time_limit_keeps_the_session(make, code):
    session = make(max_execution_time=0.3)
    session.run("x = 1")
    result = session.run(code)
    assert (result["status"], result["session_ended"]) == ("timeout", None)
    assert session.value("x") == 1


def test_time_limit_of_one_program(make):
    session = make(max_execution_time=30)
    status, result = session.server.call("POST", "/v1/executions",
                                         {"session": session.id, "code": "while True: pass", "timeout": 0.2})
    assert status == 200 and result["status"] == "timeout" and result["error"]["value"].endswith("0.2 s")


@pytest.mark.parametrize("code", [
    "import time\nwhile True:\n    try: time.sleep(9)\n    except BaseException: pass",
    "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "sum(range(10**12))"])
def test_what_cannot_be_interrupted_ends_the_session(make, code):
    session = make(max_execution_time=0.3, max_memory_mb=300)
    session.run("x = 1")
    result = session.run(code)
    assert result["status"] == "timeout"
    assert result["session_ended"] == "the program could not be interrupted at its limit"
    session.wait_for(None)


def test_cpu_limit_keeps_the_session(make):
    session = make(max_cpu_time=0.5, max_cpu_percent=100, max_execution_time=20)
    assert session.run("while True: pass")["status"] == "cpu"
    assert session.run("n = 0\nfor i in range(100000): n += i")["status"] == "ok"


def test_output_flood_keeps_the_session(make):
    session = make(max_output_bytes=2048, max_execution_time=20, max_cpu_percent=100)
    assert session.run("while True: print('x' * 1000)")["status"] == "output"
    assert session.run("print('y')")["stdout"] == "y\n"


def test_memory_limit_ends_the_session_where_it_was_hit(make):
    session = make(max_memory_mb=60)
    result = session.run("keep = []\nwhile True: keep.append(bytearray(1 << 20))")
    assert result["status"] == "memory"
    if result["session_ended"]:
        session.wait_for(None)
    else:
        assert session.value("len(keep) > 1 and keep.clear()") is None


def test_disk_limit_keeps_the_session(make):
    session = make(max_disk_mb=2)
    session.run("x = 1")
    assert session.run("open('big', 'wb').write(bytes(8 << 20))")["status"] == "disk"
    assert session.value("import os\nos.unlink('big')\nx") == 1


def test_stopped_program_keeps_the_session(make):
    session = make(max_execution_time=30)
    session.run("import time")

    def stop():
        for row in session.server.call("GET", "/v1/executions")[1]["executions"]:
            if row["status"] == "running":
                session.server.raw("DELETE", f"/v1/executions/{row['id']}")

    later(0.4, stop)
    result = session.run("time.sleep(30)")
    assert (result["status"], result["session_ended"]) == ("killed", None)
    assert session.value("time.sleep(0) is None") is True


def test_caller_that_goes_away(make):
    session = make(max_execution_time=30)
    session.run("x = 1")
    with pytest.raises(OSError):
        session.run("while True: pass", timeout=0.3)
    session.wait_for("idle")
    assert session.value("x") == 1


# ---- ends ----

@pytest.mark.parametrize("code, why", [
    ("import os\nos._exit(3)", "status 3"), ("import os\nos.kill(os.getpid(), 9)", "signal 9"),
    ("import os\nos.abort()", "signal 6"), ("import os\nos.close(3)", "status 0")])
def test_programs_that_end_their_process(make, code, why):
    session = make()
    result = session.run(code)
    assert why in result["session_ended"]
    session.wait_for(None)
    assert session.server.call("POST", "/v1/executions", {"session": session.id, "code": "1"})[0] == 404


def test_queue_is_told_when_a_session_ends(make):
    session = make(max_execution_time=30)
    session.run("import time, os")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(session.run, "time.sleep(0.4)\nos._exit(0)")
        time.sleep(0.15)
        second = pool.submit(session.server.call, "POST", "/v1/executions", {"session": session.id, "code": "1"})
        assert first.result()["session_ended"]
        status, problem = second.result()
    assert status == 400 and "the session has ended" in problem["detail"]


def test_delete(make):
    session = make(max_execution_time=30)
    later(0.3, session.end)
    result = session.run("while True: pass")
    assert (result["status"], result["session_ended"]) == ("killed", "it was ended by its owner")
    session.wait_for(None)


def test_idle_time_out(make):
    session = make(idle_timeout=1)
    session.run("1")
    session.wait_for("idle")
    session.wait_for(None, 10)


def test_children_outlive_a_program_but_not_the_session(make):
    session = make()
    child = session.value("import os, time\npid = os.fork()\nif pid == 0:\n    time.sleep(60)\n    os._exit(0)\npid")
    assert session.value(f"os.kill({child}, 0) is None") is True
    forked = session.run("if os.fork() == 0:\n    print('child')\nelse:\n    os.wait()\n    print('parent')")
    assert forked["stdout"] == "child\nparent\n" and forked["session_ended"] is None
    assert session.value("1") == 1


def test_restart(make):
    session = make(max_execution_time=30, files={"given": "as it was"})
    session.run("import os\nx = 1\nos.makedirs('d')\nopen('d/kept', 'w').write('here')\nos.mkfifo('pipe')")
    assert session.post("restart")[0] == 200
    result = session.run("open('d/kept').read()")
    assert (result["result"], result["execution_count"]) == ("here", 1)
    assert session.run("x")["error"]["name"] == "NameError"
    assert session.value("open('given').read()") == "as it was"
    later(0.3, session.post, "restart")
    assert session.run("while True: pass")["status"] == "killed"
    assert session.value("open('d/kept').read()") == "here"


# ---- one from another ----

def test_many_at_once_are_apart(serve):
    sessions = [serve.session(**OPEN) for _ in range(50)]
    try:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: sessions[i].run(f"mine = {i}\nopen('mine', 'w').write('{i}')"), range(50)))
            found = list(pool.map(lambda i: sessions[i].value("[mine, open('mine').read(), sorted(__import__('os').listdir())]"),
                                  range(50)))
        assert found == [[i, str(i), ["mine"]] for i in range(50)]
    finally:
        for session in sessions:
            session.end()


def test_events_are_of_their_program(make):
    session = make(allowed_modules=["math"], allow_file_operations=False)
    for _ in range(2):
        denied = session.run("import socket")
        assert denied["status"] == "denied" and [e["subject"] for e in denied["events"]] == ["socket"]
    assert session.run("import math")["events"] == []
    opened = session.run("open('/etc/passwd')")
    assert opened["status"] == "denied" and opened["events"][0]["rule"] == "allow_file_operations"
    kernel = make().run("import socket\nsocket.socket()")
    assert any(e["source"] == "kernel" for e in kernel["events"])


# ---- what is asked besides ----

def test_variables_and_completion(make):
    session = make()
    session.run("import math\nnumber = 5\ntext = 'a' * 100000\nitems = [1, [2], object()]\nclass Own:\n"
                "    number_of = 1\n    def __repr__(self): raise SystemExit\nown = Own()")
    found = {v["name"]: v for v in session.server.call("GET", f"/v1/sessions/{session.id}/variables")[1]["variables"]}
    assert found["number"] == {"name": "number", "type": "int", "size": None, "preview": "5"}
    assert found["text"]["size"] == 100000 and len(found["text"]["preview"]) < 300
    assert found["items"]["preview"] == "[1, <list>, <object>]" and found["own"]["preview"] is None
    assert "math" not in found and "In" not in found
    status, answer = session.post("complete", {"code": "é = number + numb * 2", "cursor": 17})
    assert (status, answer) == (200, {"matches": ["number"], "start": 13, "end": 17})
    assert session.post("complete", {"code": "own.number_"})[1]["matches"] == ["number_of"]
    assert "sqrt" in session.post("complete", {"code": "math.sq"})[1]["matches"]
    assert "whi" not in session.post("complete", {"code": "whi"})[1]["matches"]
    assert "while" in session.post("complete", {"code": "whi"})[1]["matches"]


def test_questions_are_for_idle_sessions(make):
    session = make(max_execution_time=30)
    session.run("1")
    later(1, session.post, "interrupt")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(session.run, "while True: pass")
        session.wait_for("busy")
        assert session.server.call("GET", f"/v1/sessions/{session.id}/variables")[0] == 429
        running.result()
    assert session.server.call("GET", f"/v1/sessions/{session.id}/variables")[0] == 200


def test_a_question_that_is_not_answered(make):
    session = make(max_execution_time=30)
    session.run("class Trap:\n    def __dir__(self):\n        while True: pass\ntrap = Trap()\nx = 1")
    assert session.post("complete", {"code": "trap."})[1]["matches"] == []
    assert session.value("x") == 1


# ---- files ----

def test_files(make):
    session = make()
    assert session.file("PUT", "in/data.csv", b"1,2")[0] == 200
    assert session.value("open('in/data.csv').read()") == "1,2"
    assert session.file("PUT", "in/data.csv", b"3")[0] == 200
    assert session.value("open('in/data.csv').read()") == "3"
    session.run("open('out', 'w').write('x' * 5)")
    assert session.files() == {"in/data.csv": 1, "out": 5}
    assert session.file("GET", "out") == (200, b"xxxxx")
    assert session.file("DELETE", "out")[0] == 204
    assert session.file("GET", "out")[0] == 404 and session.file("DELETE", "out")[0] == 404
    assert session.files() == {"in/data.csv": 1}


def test_given_files_are_readable_without_file_operations(make):
    session = make(allow_file_operations=False, files={"first": "1"})
    session.file("PUT", "second", b"2")
    assert session.run("open('first').read() + open('second').read()")["result"] == "12"
    assert session.run("open('third')", files={"third": "3"})["status"] == "ok"
    assert session.run("open('fourth')")["status"] == "denied"


def test_result_has_what_changed(make):
    session = make(files={"given": "1"})

    def changed(code: str, **keys: object) -> list[str]:
        return [file["path"] for file in session.run(code, **keys)["files"]]

    assert changed("1") == []
    assert changed("open('a', 'w').write('1')") == ["a"]
    assert changed("1") == []
    assert changed("open('b', 'w').write('1')\nopen('a', 'w').write('2')") == ["a", "b"]
    session.file("PUT", "c", b"1")
    assert changed("1", files={"d": "1"}) == []
    assert changed("open('given', 'w').write('2')\nopen('d', 'a').write('2')") == ["d", "given"]


def test_hostile_files(make):
    session = make(max_disk_mb=8)
    session.run("import os\nos.mkfifo('fifo')\nos.symlink('/etc/passwd', 'link')\nos.symlink('/', 'root')\n"
                "open('one', 'w').close()\nos.link('one', 'two')\n"
                "with open('sparse', 'wb') as f: f.truncate(6 << 20)\n"
                "open(b'bad\\xff', 'w').write('1')\nos.makedirs('/'.join('d' * 60))\n"
                "open('shut', 'w').write('1')\nos.chmod('shut', 0)")
    listed = session.files()
    assert listed["sparse"] == 6 << 20 and "fifo" not in listed and "link" not in listed and "one" not in listed
    for name in ("fifo", "link", "root/etc/passwd", "one", "d"):
        assert session.file("GET", name)[0] in (400, 404), name
    for name in ("../x", "a/../b", "/etc/passwd", ".", "a//b"):
        assert session.server.raw("GET", f"/v1/sessions/{session.id}/files/{name}")[0] in (400, 404), name
    assert session.file("PUT", "root/etc/evil", b"1")[0] in (400, 404)
    assert session.file("PUT", "link", b"mine")[0] == 200
    assert session.value("[os.path.islink('link'), open('link').read()]") == [False, "mine"]
    assert session.file("PUT", "fifo", b"mine")[0] == 200
    assert session.file("GET", "fifo") == (200, b"mine")
    assert session.file("PUT", "large", bytes(16 << 20))[0] == 400
    assert session.value("'large' in os.listdir() or '.sandbox-put' in os.listdir()") is False


def test_files_while_a_program_plays_with_them(make):
    session = make(max_execution_time=30, max_cpu_percent=100)
    session.run("import os, time")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(session.run, """
end = time.time() + 2
while time.time() < end:
    for make in (lambda: open('f', 'w').write('inside'), lambda: os.symlink('/etc/passwd', 'f'), lambda: os.mkfifo('f'),
                 lambda: os.mkdir('f')):
        try: make()
        except OSError: pass
        try: os.rmdir('f') if os.path.isdir('f') and not os.path.islink('f') else os.unlink('f')
        except OSError: pass
""")
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            try:
                status, data = session.file("GET", "f")
            except http.client.IncompleteRead:  # it was made shorter meanwhile, and the answer was cut
                continue
            assert status in (200, 400, 404), data
            assert status != 200 or data in (b"", b"inside", b"outside"), data
            assert session.file("PUT", "f", b"outside")[0] in (200, 400)
            session.files()
        assert running.result()["status"] == "ok"


# ---- how many ----

def test_unknown_sessions(serve):
    assert serve.call("GET", "/v1/sessions/nope")[0] == 404
    assert serve.call("POST", "/v1/executions", {"session": "nope", "code": "1"})[0] == 404
    assert serve.call("POST", "/v1/sessions", {"code": "1"})[0] == 400
    assert serve.call("POST", "/v1/sessions", {"idle_timeout": 0})[0] == 400


def test_cap(tmp_path):
    config = tmp_path / "sandbox.yaml"
    config.write_text("sessions:\n  max: 2\n")
    with server.serving("--config", str(config)) as few:
        first, second = few.session(**OPEN), few.session(**OPEN)
        assert few.call("POST", "/v1/sessions", {})[0] == 429
        assert second.value("1") == 1
        first.end()
        first.wait_for(None)
        assert few.session(**OPEN).value("2") == 2


def jails() -> dict[str, list[int]]:
    """Processes by pid namespace, as far as we may look."""
    found: dict[str, list[int]] = {}
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                found.setdefault(os.readlink(f"/proc/{pid}/ns/pid"), []).append(int(pid))
            except OSError:
                pass
    return found


def test_ended_sessions_leave_nothing(make):
    """INV-5: of an ended session's jail there is no process left, whatever it forked."""
    before = jails()
    session = make(max_processes=16)
    session.run("import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)")
    # The init, the worker and its children. The jail itself may have been waiting.
    mine = [jail for jail, pids in jails().items() if len(pids) >= 7 > len(before.get(jail, []))]
    if not mine:
        pytest.skip("namespaces of other users' processes cannot be read here")
    session.end()
    session.wait_for(None)
    time.sleep(0.1)
    assert not set(mine) & set(jails())
