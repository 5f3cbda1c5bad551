# SPDX-License-Identifier: MIT
"""What the programs of a session show (docs/displays.md): each its own, in order with its output, over every kind of
stream; and what a journal has of it."""
from __future__ import annotations

import base64
import json
import threading
import time

import pytest
import runner
import session_server

CHART = "application/vnd.sandbox.chart+json"
FRAME = "application/vnd.sandbox.frame+json"
OPEN = {"allowed_modules": ["*"], "allow_file_operations": True, "max_memory_mb": 1024, "max_execution_time": 60}

needs_matplotlib = pytest.mark.skipif(not runner.have("matplotlib"), reason="matplotlib is not installed")
needs_pandas = pytest.mark.skipif(not runner.have("pandas"), reason="pandas is not installed")


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    with session_server.serving("--journal", str(tmp_path_factory.mktemp("records"))) as running:
        yield running


@pytest.fixture
def session(serve):
    made = serve.session(**OPEN)
    yield made
    made.end()


def plain(result: dict) -> list[str]:
    assert result["session_ended"] is None, result
    return [bundle["text/plain"] for bundle in result["displays"]]


def streamed(session, code: str, kind: str) -> list[dict]:
    answer = session.server.http.ask("POST", "/v1/executions", {"session": session.id, "code": code}, {"Accept": kind})
    assert answer.status == 200, answer.body
    lines = answer.body.decode().splitlines()
    if kind == "text/event-stream":
        lines = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(line) for line in lines]


@needs_matplotlib
@needs_pandas
def test_a_frame_over_fifty_executions_an_interrupt_and_its_plot(session):
    made = session.run("import pandas as pd, time\nimport matplotlib.pyplot as plt\n"
                       "df = pd.DataFrame({'n': range(50), 'square': [0] * 50})\ndf.head(2)")
    (bundle,) = made["displays"]
    assert made["result_display"] == 0 and {"text/plain", "text/html", FRAME} <= bundle.keys()
    for n in range(50):
        if n == 25:
            timer = threading.Timer(0.7, session.post, ("interrupt",))
            timer.start()
            stopped = session.run("display('before')\ndf.loc[0, 'square'] = 7\ntime.sleep(50)\ndf = None")
            timer.join()
            assert (stopped["status"], stopped["error"]["name"]) == ("error", "KeyboardInterrupt")
            assert plain(stopped) == ["'before'"] and stopped["result_display"] is None
        result = session.run(f"df.loc[{n}, 'square'] = {n} ** 2\ndisplay({n})\nint(df.square.sum())")
        assert (result["status"], result["result_display"]) == ("ok", 1), result["error"]
        assert plain(result) == [str(n), str(result["result"])]
    squares = [7] + [n * n for n in range(1, 50)]  # the 7 is the interrupted one's
    assert result["result"] == sum(squares) and result["execution_count"] == 52
    shown = session.run("fig, ax = plt.subplots()\nax.plot(df.n, df.square, label='n²')\nax.set_title('squares')\npass")
    (bundle,) = shown["displays"]
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG\r\n")
    assert "<svg" in bundle["image/svg+xml"]
    (axes,) = bundle[CHART]["axes"]
    (series,) = axes["series"]
    assert axes["title"] == "squares" and series["y"] == squares and series["label"] == "n²"


@needs_matplotlib
def test_figures_are_each_programs_own(session):
    first = session.run("import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.set_title('one')\nax.plot([1, 2])\npass")
    assert [b[CHART]["axes"][0]["title"] for b in first["displays"]] == ["one"]
    assert session.run("plt.get_fignums()")["result"] == []  # it was shown, and closed
    again = session.run("ax.set_title('two')\nfig")
    assert [b[CHART]["axes"][0]["title"] for b in again["displays"]] == ["two"] and again["result_display"] == 0
    assert plain(session.run("1 + 1")) == ["2"]
    # One that fails shows what it has drawn; the next begins with nothing of it.
    failed = session.run("plt.plot([3])\n1 / 0")
    assert failed["status"] == "error" and len(failed["displays"]) == 1 and "image/png" in failed["displays"][0]
    assert session.run("pass")["displays"] == []
    _, shown = session.run("plt.plot([1])\nplt.show()\nplt.plot([2])\nplt.show()\nplt.show()")["displays"]
    assert shown[CHART]["axes"][0]["series"][0]["y"] == [2]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/event-stream"])
def test_streams_have_displays_in_their_order(session, kind):
    for round_ in range(3):
        lines = streamed(session, "import sys\nfor i in range(40):\n    print('text', i)\n    display(i)\n"
                                  f"print('end')\n'last{round_}'", kind)
        seen, text = [], ""
        for line in lines:
            if line["type"] == "stdout":
                text += line["text"]
            elif line["type"] == "display":
                seen.append((text, line["bundle"]["text/plain"]))
        so_far = ["".join(f"text {i}\n" for i in range(n + 1)) for n in range(40)]
        assert seen == [*zip(so_far, map(str, range(40))), (so_far[-1] + "end\n", f"'last{round_}'")]
        result = lines[-1]["result"]
        assert plain(result) == [text for _, text in seen] and result["result_display"] == 40


def test_what_may_be_shown_is_counted_anew(session):
    many = "for i in range(300): display(i)\n"
    for _ in range(3):
        result = session.run(many)
        assert result["status"] == "ok" and len(result["displays"]) == 256 and "the rest is left out" in result["stderr"]
    large = "for i in range(4): display({'text/html': 'x' * 7_000_000}, raw=True)\n"
    for _ in range(2):
        result = session.run(large)
        assert result["status"] == "ok" and len(result["displays"]) == 3 and "the rest is left out" in result["stderr"]
    assert plain(session.run("'small'")) == ["'small'"]


def test_no_answer_is_left_for_the_next(session):
    """The last value's display is not waited for: its answer is read before the next program, and none is missed."""
    begin = time.monotonic()
    for i in range(60):
        assert plain(session.run(f"display('a'); display('b')\n{i}")) == ["'a'", "'b'", str(i)]
        status, found = session.server.call("GET", f"/v1/sessions/{session.id}/variables")
        assert status == 200 and isinstance(found["variables"], list)
    assert time.monotonic() - begin < 30  # one that waits for what does not come waits a second


def test_threads_that_go_on_between_programs_print(session):
    code = ("import threading, time\n"
            "def late(n):\n    while not go: time.sleep(0.01)\n    for i in range(n): display('late')\n    done.append(n)\n"
            "go, done = [], []\nthread = threading.Thread(target=late, args=(20,))\nthread.start()\n"
            "threading.Timer(0.3, go.append, (1,)).start()\n'first'")
    assert plain(session.run(code)) == ["'first'"]
    time.sleep(1)
    after = session.run("thread.join()\ndone")
    assert plain(after) == ["[20]"] and after["stdout"] == "'late'\n" * 20
    inside = session.run("thread = threading.Thread(target=late, args=(3,))\nthread.start()\nthread.join()\n'end'")
    assert plain(inside) == ["'late'"] * 3 + ["'end'"]
    # What is asked between programs runs a class's __dir__.
    session.run("class A:\n    def __dir__(self):\n        display('asked')\n        return ['name_of_it']\na = A()")
    status, found = session.post("complete", {"code": "a.", "cursor": 2})
    assert status == 200 and found["matches"] == ["name_of_it"], found
    assert plain(session.run("4")) == ["4"]


def test_an_interrupt_while_something_is_shown(session):
    session.run("import time\nclass Slow:\n    def _repr_html_(self):\n        print('at it', flush=True)\n        time.sleep(50)")
    timer = threading.Timer(0.7, session.post, ("interrupt",))
    timer.start()
    stopped = session.run("display(1)\nSlow()")
    timer.join()
    assert stopped["status"] == "error" and stopped["error"]["name"] == "KeyboardInterrupt"
    assert plain(stopped) == ["1"] and stopped["result_display"] is None
    assert plain(session.run("'goes on'")) == ["'goes on'"]


def test_forged_frames_of_a_session(session):
    """A program that writes to the channel itself: bounded, checked, and the next program has its own."""
    forge = ("import os, struct\ndef frame(text, kind=36):\n    data = text.encode()\n"
             "    os.write(3, struct.pack('=II', kind, len(data)) + data)\n")
    result = session.run(forge + "frame('{\"text/html\": \"forged\"}')\nframe('no json')\n"
                                 "frame('{\"image/png\": \"<script>\"}')\nprint('end')")
    assert result["stdout"] == "end\n" and result["displays"] == [{"text/html": "forged", "text/plain": ""}]
    assert plain(session.run("display(1)\n2")) == ["1", "2"]
    late = session.run("import threading\nthreading.Timer(0.2, frame, ('{\"text/html\": \"late\"}',)).start()\n'now'")
    assert plain(late) == ["'now'"]
    time.sleep(0.5)
    assert plain(session.run("'next'")) == ["'next'"]


def test_a_lone_programs_value_is_finalized():
    result = runner.run_program("class A:\n    def __del__(self): print('gone')\n    def __repr__(self): return 'a'\nA()")
    assert result["stdout"] == "gone\n" and result["displays"] == [{"text/plain": "a"}]


def test_the_journal_has_what_was_shown(serve, session):
    code = ("import os\ndisplay('small')\n"
            "for i in range(5): display({'image/png': os.urandom(3_000_000)}, raw=True)\n'end'")
    result = session.run(code)
    assert result["status"] == "ok" and result["recorded"] is True, result.get("record_error")
    assert len(result["displays"]) == 7
    status, found = serve.call("GET", f"/v1/executions/{result['id']}")
    assert status == 200 and found["missing"] == {}
    assert found["result"]["displays"] == result["displays"] and found["result"]["result_display"] == 6
    # One that no answer would hold: everything else of it is shown.
    parts = session.run("list(range(1_500_000))")
    assert parts["status"] == "ok" and len(parts["result"]) == 1_500_000
    status, found = serve.call("GET", f"/v1/executions/{parts['id']}")
    assert status == 200 and found["result"] is None and "too large" in found["missing"]["result"]
    assert found["code"] == "list(range(1_500_000))" and found["status"] == "ok"
