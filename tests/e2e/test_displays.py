# SPDX-License-Identifier: MIT
"""What a program shows: docs/displays.md. Bundles, figures, charts, frames; hostile ones; their order with the output."""
from __future__ import annotations

import base64
import http.client
import json
import socket
import struct
import subprocess
import sys
import time

import pytest
from runner import BINARY, TOP, have, pythons, run_command, run_program, settings

sys.path.insert(0, str(TOP / "python"))

CHART = "application/vnd.sandbox.chart+json"
FRAME = "application/vnd.sandbox.frame+json"

needs_matplotlib = pytest.mark.skipif(not have("matplotlib"), reason="matplotlib is not installed")
needs_pandas = pytest.mark.skipif(not have("pandas"), reason="pandas is not installed")
needs_pillow = pytest.mark.skipif(not have("PIL"), reason="Pillow is not installed")


def shown(code: str, **fields: object) -> list[dict]:
    result = run_program(code, **fields)
    assert result["status"] == "ok", (result["error"], result["stderr"])
    for bundle in result["displays"]:
        assert isinstance(bundle["text/plain"], str)
    return result["displays"]


def charted(code: str, **fields: object) -> list[dict]:
    """The series of the only figure's only axes."""
    (bundle,) = shown("import matplotlib.pyplot as plt\n" + code + "\npass", preset="data", **fields)
    (axes,) = bundle[CHART]["axes"]
    return axes["series"]


# ---- bundles ----

ALL = """
class Rich:
    def __repr__(self): return "rich"
    def _repr_html_(self): return "<b>h</b>"
    def _repr_markdown_(self): return "*m*", {"meta": 1}
    def _repr_latex_(self): return "$l$"
    def _repr_json_(self): return {"a": [1, 2.5, float("nan"), None, True, "\\u00e9"], 3: ()}
    def _repr_javascript_(self): return "j()"
    def _repr_svg_(self): return "<svg/>"
    def _repr_png_(self): return b"\\x89PNG"
    def _repr_jpeg_(self): raise AssertionError("asked beside a PNG")
    def _repr_pdf_(self): return b"%PDF"
display(Rich())
class Picture:
    def _repr_jpeg_(self): return b"\\xff\\xd8\\xff"
    def _repr_png_(self): return None
display(Picture())
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "own", "application/vnd.plotly.v1+json": {"data": [{"x": (1, 2)}]}, "text/html": "first"}
    def _repr_html_(self): return "second"
display(Bundle(), 7)
display({"text/html": "raw", "image/png": "QUJD\\n"}, raw=True)
Bundle()
"""


@pytest.mark.parametrize("python", pythons())
def test_every_kind_of_representation(python):
    result = run_program(ALL, python=python)
    assert result["status"] == "ok" and result["stderr"] == "", result
    rich, picture, bundle, seven, raw, last = result["displays"]
    assert rich == {
        "text/plain": "rich", "text/html": "<b>h</b>", "text/markdown": "*m*", "text/latex": "$l$",
        "application/json": {"a": [1, 2.5, None, None, True, "\u00e9"], "3": []},
        "application/javascript": "j()", "image/svg+xml": "<svg/>",
        "image/png": base64.b64encode(b"\x89PNG").decode(), "application/pdf": base64.b64encode(b"%PDF").decode(),
    }
    assert picture["image/jpeg"] == base64.b64encode(b"\xff\xd8\xff").decode() and "image/png" not in picture
    assert bundle == {"text/plain": "own", "application/vnd.plotly.v1+json": {"data": [{"x": [1, 2]}]}, "text/html": "first"}
    assert seven == {"text/plain": "7"}
    assert raw == {"text/html": "raw", "image/png": "QUJD", "text/plain": ""}
    assert last == bundle and result["result_display"] == 5


@pytest.mark.parametrize("python", pythons())
def test_ipython_stands_in_where_the_policy_allows_it(python):
    code = ("from IPython.display import display, HTML, Image, Markdown, JSON, SVG, Math, clear_output\n"
            "import IPython, sys\n"
            "assert IPython.get_ipython() is None\n"
            "class Mine(HTML): pass\n"
            "display(HTML('<i>'), Markdown(data='*'), JSON({'a': 1}), SVG('<svg/>'), Math('x'), Image(data=b'\\x89PNG'), Mine('m'))\n"
            "clear_output(wait=True)\n"
            "HTML('<p>')")
    found = shown(code, python=python, allowed_modules=["IPython", "sys"])
    assert [{k: v for k, v in bundle.items() if k != "text/plain"} for bundle in found] == [
        {"text/html": "<i>"}, {"text/markdown": "*"}, {"application/json": {"a": 1}}, {"image/svg+xml": "<svg/>"},
        {"text/latex": "$\\displaystyle x$"}, {"image/png": base64.b64encode(b"\x89PNG").decode()}, {"text/html": "m"},
        {"text/html": "<p>"}]
    refused = run_program("from IPython.display import display", python=python)
    assert refused["status"] == "denied" and refused["events"][0]["change"] == {"field": "allowed_modules", "add": "IPython"}
    # What nobody asked for is not there.
    assert run_program("import sys\n'IPython' in sys.modules", python=python, allowed_modules=["sys"])["result"] is False


def test_a_picture_is_read_with_the_programs_rights():
    code = "from IPython.display import Image\nImage('/usr/share/no-such-picture.png')"
    result = run_program(code, allowed_modules=["IPython"])
    assert result["status"] == "denied" and result["error"]["name"] == "PermissionError"


def test_the_value_of_the_last_expression():
    result = run_program("6 * 7")
    assert result["displays"] == [{"text/plain": "42"}] and result["result_display"] == 0 and result["result_repr"] == "42"
    for code in ("x = 1", "None", "print(1)", "__result__ = 5"):
        result = run_program(code)
        assert result["displays"] == [] and result["result_display"] is None, code
    # Its repr is made once.
    result = run_program("class A:\n    def __repr__(self):\n        print('made')\n        return 'A'\nA()")
    assert result["stdout"] == "made\n" and result["result_repr"] == "A"


# ---- hostile ones ----

def test_what_fails_is_told_and_left_out():
    code = ("class Bad:\n"
            "    def __repr__(self): raise ValueError('no repr')\n"
            "    def _repr_html_(self): raise ValueError('no html')\n"
            "    def _repr_png_(self): return {'not': 'bytes'}\n"
            "    def _repr_svg_(self): return b'<svg/>'\n"
            "    def _repr_json_(self): return {'a': object()}\n"
            "    def _repr_latex_(self): raise NotImplementedError\n"
            "    def _repr_markdown_(self): return '\\ud800 ok'\n"
            "display(Bad())\n"
            "class Keys:\n"
            "    def _repr_mimebundle_(self, **k): return {'nomime': 'x', 5: 'y', 'a/b/c': 'z', 'a/b c': 'z', '/x': 'z',"
            " 'text/html': 'good', 'image/png': '<script>', 'application/json': [[]]}\n"
            "display(Keys())\n"
            "class Any:\n"
            "    def __getattr__(self, name): return lambda *a, **k: 'anything'\n"
            "    def __repr__(self): return 'any'\n"
            "display(Any(), Bad)\n"
            "loop = []\nloop.append(loop)\n"
            "class Loop:\n"
            "    def _repr_json_(self): return loop\n"
            "display(Loop())\n"
            "class Wrong:\n"
            "    def _repr_mimebundle_(self, **k): return 3\n"
            "    def __repr__(self): return 'wrong'\n"
            "display(Wrong())\n"
            "print('alive')")
    result = run_program(code)
    assert result["status"] == "ok" and result["stdout"] == "alive\n"
    bad, keys, any_name, a_class, loop, wrong = result["displays"]
    assert set(bad) == {"text/plain", "text/markdown"} and bad["text/markdown"] == "\\ud800 ok"
    assert "its repr failed with ValueError" in bad["text/plain"]
    assert set(keys) == {"text/plain", "text/html", "application/json"}
    assert any_name == {"text/plain": "any"} and set(a_class) == {"text/plain"} and set(loop) == {"text/plain"}
    assert wrong == {"text/plain": "wrong"}
    for told in ("no html", "image/png has to be bytes, not dict", "image/svg+xml has to be str", "object is not JSON",
                 "no MIME type", "nested too deep", "has to be a dict"):
        assert told in result["stderr"], told
    assert "NotImplementedError" not in result["stderr"]


def test_interrupts_and_exits_pass():
    text = "class A:\n    def _repr_html_(self): raise {}\n{}\nprint('not here')"
    for how in ("display(A())", "A()"):
        code = text.format("KeyboardInterrupt", how).replace("\nprint('not here')", "" if how == "A()" else "\nprint('not here')")
        result = run_program(code)
        assert result["status"] == "error" and result["error"]["name"] == "KeyboardInterrupt" and result["stdout"] == ""
    result = run_program("class A:\n    def _repr_html_(self): raise SystemExit(3)\nA()")
    assert result["error"]["name"] == "SystemExit" and result["error"]["value"] == "3"


def test_a_display_that_loops_meets_the_time_limit():
    result = run_program("class A:\n    def _repr_html_(self):\n        while True: pass\nA()", max_execution_time=0.5)
    assert result["status"] == "timeout"


def test_sizes_are_bounded():
    code = ("class Big:\n"
            "    def __init__(self, n): self.n = n\n"
            "    def __repr__(self): return 'big'\n"
            "    def _repr_html_(self): return 'x' * self.n\n"
            "    def _repr_png_(self): return bytes(self.n)\n"
            "    def _repr_json_(self): return ['x' * 1000] * (self.n // 1000)\n"
            "display(Big(100 << 20))\n"
            "for i in range(9): display(Big(3 << 20))\n")
    result = run_program(code, max_memory_mb=600, max_cpu_percent=100, max_execution_time=30)
    assert result["status"] == "ok", result["error"]
    assert result["displays"][0] == {"text/plain": "big"}
    total = sum(len(json.dumps(bundle)) for bundle in result["displays"])
    assert 12 << 20 < total <= 24 << 20
    assert max(len(json.dumps(bundle)) for bundle in result["displays"]) <= 8 << 20
    assert "text/html is left out: it is too large" in result["stderr"] and "the rest is left out" in result["stderr"]
    result = run_program("for i in range(300): display(i)\nprint('end')", max_execution_time=20)
    assert [bundle["text/plain"] for bundle in result["displays"]] == [str(i) for i in range(256)]
    assert result["stdout"] == "end\n" and result["stderr"].count("at most 256") == 1


FORGE = """
import os, struct
def frame(data, kind=36):
    data = data if isinstance(data, bytes) else data.encode()
    os.write(3, struct.pack("=II", kind, len(data)) + data)
"""


def test_forged_frames():
    """INV: what a program writes to its channel itself is checked as well, and hurts nobody."""
    bundles = ['{"text/html": "forged"}', '[1]', 'no json', '{}', '{"text/plain": "a", "text/plain": "b"}',
               '{"image/png": "<script>", "text/html": 5, "nomime": "x", "a/b": "fine", "image/svg+xml": ["x"]}',
               '{"text/html": "\\ud800"}', '{"text/html": "' + "x" * 100 + '"', '{"x/json": ' + "[" * 5000 + "]" * 5000 + "}",
               '{"image/png": "AB=="}', '{"image/png": "A"}']
    code = FORGE + f"for text in {bundles!r}: frame(text)\nframe(b'{{\"text/html\": \"\\xff\"}}')\nprint('end')"
    result = run_program(code, allowed_modules=["os", "struct"])
    assert result["status"] == "ok" and result["stdout"] == "end\n"
    assert result["displays"] == [{"text/html": "forged", "text/plain": ""}, {"a/b": "fine", "text/plain": ""},
                                  {"image/png": "AB==", "text/plain": ""}]
    # Nor more of them than a run may show, nor larger ones: the channel closes, the run has a verdict.
    code = FORGE + "for i in range(400): frame('{\"text/html\": \"x\"}')\nprint('end')"
    result = run_program(code, allowed_modules=["os", "struct"])
    assert result["status"] == "ok" and len(result["displays"]) == 256 and result["stdout"] == "end\n"
    code = FORGE + "os.write(3, struct.pack('=II', 36, 9 << 20))\nprint('end')"
    result = run_program(code, allowed_modules=["os", "struct"])
    assert result["status"] in ("ok", "error") and result["displays"] == []
    # A million lists: what they would cost is counted before it is paid.
    code = FORGE + "frame('{\"x/json\": [' + '[],' * 1500000 + '1]}')\nprint('end')"
    result = run_program(code, allowed_modules=["os", "struct"], max_memory_mb=300)
    assert result["status"] == "ok" and result["displays"] == []
    # The claim of which one is the value of the last expression.
    for claim in ("5", "-1", '"0"', "1e300"):
        code = FORGE + f"frame('{{\"outcome\":\"ok\",\"result\":1,\"result_display\":{claim}}}', 33)"
        assert run_program(code, allowed_modules=["os", "struct"])["result_display"] is None


def test_a_forked_process_prints():
    code = "import os\npid = os.fork()\nif pid == 0:\n    display('child')\n    os._exit(0)\nos.waitpid(pid, 0)\ndisplay('parent')"
    result = run_program(code, allowed_modules=["os"])
    assert result["stdout"] == "'child'\n" and result["displays"] == [{"text/plain": "'parent'"}]


# ---- order ----

class Server:
    def __init__(self, tmp_path) -> None:
        self.path = str(tmp_path / "s")
        self.process = subprocess.Popen([BINARY, "serve", "--socket", self.path], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        for _ in range(400):
            probe = socket.socket(socket.AF_UNIX)
            try:
                probe.connect(self.path)
                break
            except OSError:
                time.sleep(0.05)
            finally:
                probe.close()

    def stream(self, body: dict) -> list[dict]:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.path)
        connection.request("POST", "/v1/executions", json.dumps(body),
                           {"Content-Type": "application/json", "Accept": "application/x-ndjson"})
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("displays"))
    yield server
    server.end()


def test_text_and_displays_come_in_their_order(server):
    code = "for i in range(100):\n    print('text', i)\n    display(i)\nprint('end')\n'last'"
    lines = server.stream({"code": code})
    seen, at = [], ""
    for line in lines:
        if line["type"] == "stdout":
            at += line["text"]
        elif line["type"] == "display":
            seen.append((at, line["bundle"]["text/plain"]))
    text = ""
    for i in range(100):
        text += f"text {i}\n"
        assert seen[i] == (text, str(i))
    assert seen[100] == (text + "end\n", "'last'") and len(seen) == 101
    result = lines[-1]["result"]
    assert [bundle["text/plain"] for bundle in result["displays"]] == [plain for _, plain in seen]


def test_the_sdk(tmp_path):
    from sandbox import Display, Sandbox, SandboxSettings
    with Sandbox(SandboxSettings()) as box:
        result = box.run("class P:\n    def _repr_png_(self): return b'\\x89PNG'\ndisplay(P())\n5")
        picture, value = result.displays
        assert isinstance(picture, Display) and picture.mime == ["text/plain", "image/png"]
        assert picture.data("image/png") == b"\x89PNG" and picture._repr_mimebundle_() == dict(picture)
        assert value.text == "5" and result.result_display == 1 and value.chart is None and value.frame is None
        streamed = [item["bundle"] for item in box.stream("display(1)") if item["type"] == "display"]
        assert streamed == [{"text/plain": "1"}] and isinstance(streamed[0], Display)


def test_the_command_tells_briefly():
    ran = run_command("run", "-c", "class P:\n    def __repr__(self): return '<P>'\n    def _repr_html_(self): return 'x' * 10\n"
                                   "display(P())\nprint('t')\n3")
    assert ran.stdout == "t\n" and "1 display: --json has it\n    <P> [text/html 10 bytes]\n" in ran.stderr
    assert "result: 3" in ran.stderr
    assert "display" not in run_command("run", "-c", "3").stderr


# ---- matplotlib ----

@needs_matplotlib
def test_figures_are_shown_once_and_closed():
    code = ("import matplotlib.pyplot as plt\n"
            "plt.plot([1, 2]); plt.show(); plt.show(); print(plt.get_fignums())\n"
            "fig, ax = plt.subplots(); ax.set_title('second'); display(fig)\n"
            "fig3, ax3 = plt.subplots(); ax3.set_title('third'); display(fig3); ax3.set_title('changed')\n"
            "plt.figure(); plt.title('left open'); pass\n")
    result = run_program(code, preset="data")
    assert result["status"] == "ok" and result["stdout"] == "[]\n" and result["stderr"] == "", result["stderr"]
    titles = [bundle[CHART]["axes"][0]["title"] for bundle in result["displays"]]
    assert titles == [None, "second", "third", "changed", "left open"]
    for bundle in result["displays"]:
        png = base64.b64decode(bundle["image/png"])
        assert png.startswith(b"\x89PNG") and bundle["text/plain"].startswith("<Figure size 640x480")
        assert "<svg" in bundle["image/svg+xml"]
    # The value of the last expression: once too, and the last.
    result = run_program("import matplotlib.pyplot as plt\nplt.figure()\nplt.figure()", preset="data")
    assert len(result["displays"]) == 2 and result["result_display"] == 1
    # After an error as well; and one that was chosen by use() shows as well.
    result = run_program("import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nplt.plot([1])\n1/0", preset="data")
    assert result["status"] == "error" and len(result["displays"]) == 1


@needs_matplotlib
def test_without_a_preload_and_with_few_modules():
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nprint(plt.get_fignums(), plt.get_backend().lower())"
    result = run_program(code, allowed_modules=["matplotlib"], max_cpu_percent=100, max_execution_time=30, max_memory_mb=400)
    assert result["status"] == "ok" and result["stdout"] == "[] agg\n" and len(result["displays"]) == 1, result


@needs_matplotlib
def test_a_figure_that_cannot_be_drawn_is_told_of():
    code = "import matplotlib.pyplot as plt\nplt.title('$\\\\nonsense{$')\nplt.show()\nprint('on')\nplt.figure()\n5"
    result = run_program(code, preset="data")
    assert result["status"] == "ok" and result["stdout"] == "on\n" and "Traceback" in result["stderr"]
    assert [sorted(bundle) for bundle in result["displays"]][0] == ["text/plain"]
    assert "image/png" in result["displays"][1] and result["displays"][2] == {"text/plain": "5"}


@needs_matplotlib
def test_pictures_are_bounded():
    code = ("import matplotlib.pyplot as plt\nimport numpy as np\n"
            "plt.figure(figsize=(200, 3)); plt.plot([1, 2]); plt.show()\n"
            "plt.plot([1, 2]); plt.text(1e3, 1, 'far away'); plt.show()\n"
            "plt.scatter(*np.random.rand(2, 30000)); plt.show()\n")
    wide, far, many = shown(code, preset="data")
    for bundle in (wide, far, many):
        width, height = struct.unpack(">II", base64.b64decode(bundle["image/png"])[16:24])
        assert width <= 1.7 * 4096 and height <= 1.7 * 4096
    assert struct.unpack(">II", base64.b64decode(far["image/png"])[16:24]) == (640, 480)
    assert "image/svg+xml" not in many and "image/svg+xml" in far
    (series,) = many[CHART]["axes"][0]["series"]
    assert series["truncated"] is True and series["points"] == 30000 and len(series["x"]) == 5000 == len(series["y"])


@needs_matplotlib
def test_nothing_of_matplotlib_is_imported_for_others():
    code = "import sys\ndisplay(1)\n[m for m in sys.modules if m.startswith(('matplotlib', 'numpy', 'IPython'))]"
    assert run_program(code, allowed_modules=["sys"])["result"] == []


# ---- charts ----

@needs_matplotlib
def test_chart_of_lines():
    code = ("import datetime\n"
            "fig, ax = plt.subplots()\n"
            "fig.suptitle('all'); ax.set_title('one'); ax.set_xlabel('x'); ax.set_ylabel('y'); ax.set_yscale('log')\n"
            "ax.plot([1, 2, 3], [4.5, float('nan'), 6], label='a'); ax.plot([1, 2], [1, 2], 'o'); ax.axhline(3)\n"
            "ax.plot([], []); pass\n")
    (bundle,) = shown("import matplotlib.pyplot as plt\n" + code, preset="data")
    assert bundle[CHART] == {"title": "all", "axes": [{
        "series": [{"type": "line", "label": "a", "x": [1, 2, 3], "y": [4.5, None, 6.0]},
                   {"type": "scatter", "label": None, "x": [1, 2], "y": [1, 2]},
                   {"type": "reference", "label": None, "x": [0, 1], "y": [3, 3]}],
        "title": "one", "x_label": "x", "y_label": "y", "x_scale": "linear", "y_scale": "log"}]}
    dates = charted("import datetime\nplt.plot([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)], [1, 2])")
    assert dates[0]["x"][0].startswith("2024-01-01") and dates[0]["y"] == [1, 2]
    names = charted("plt.plot(['a', 'b'], [1, 2])")
    assert names[0]["x"] == ["a", "b"]


@needs_matplotlib
def test_chart_of_bars():
    assert charted("plt.bar(['a', 'b'], [3, 4.5], label='n')") == [
        {"type": "bar", "label": "n", "x": ["a", "b"], "y": [3.0, 4.5]}]
    assert charted("plt.barh(['a', 'b'], [3, 4])") == [{"type": "bar", "label": None, "y": ["a", "b"], "x": [3.0, 4.0]}]
    assert charted("plt.bar([1, 2], [3, 4]); plt.gca().set_xticks([1, 2], ['p', 'q'])")[0]["x"] == ["p", "q"]
    assert charted("plt.bar([1, 2], [3, 4])")[0]["x"] == [1.0, 2.0]
    dates = charted("import datetime\nplt.bar([datetime.date(2024, 1, 1), datetime.date(2024, 1, 3)], [1, 2])")
    assert [x[:10] for x in dates[0]["x"]] == ["2024-01-01", "2024-01-03"]


@needs_matplotlib
def test_chart_of_histograms_and_pies():
    assert charted("plt.hist([1, 1, 2, 4], bins=[1, 2, 3, 4], label='h')") == [
        {"type": "histogram", "label": "h", "edges": [1.0, 2.0, 3.0, 4.0], "y": [2.0, 1.0, 1.0]}]
    (pie,) = charted("plt.pie([1, 3], labels=['p', 'q'])")
    assert pie["type"] == "pie" and pie["x"] == ["p", "q"] and pie["y"] == pytest.approx([0.25, 0.75], abs=1e-6)


@needs_matplotlib
def test_chart_of_scatters_boxes_and_images():
    assert charted("plt.scatter([1, 2], [3, 4], label='s')") == [
        {"type": "scatter", "label": "s", "x": [1.0, 2.0], "y": [3.0, 4.0]}]
    for patch in ("False", "True"):
        boxes = charted(f"plt.boxplot([[1, 2, 3, 4, 100], [2, 3, 4, 5, 6]], patch_artist={patch})")
        assert boxes == [
            {"type": "box", "label": None, "x": [1.0], "low": 1.0, "q1": 2.0, "median": 3.0, "q3": 4.0, "high": 4.0,
             "outliers": [100]},
            {"type": "box", "label": None, "x": [2.0], "low": 2.0, "q1": 3.0, "median": 4.0, "q3": 5.0, "high": 6.0,
             "outliers": []}], patch
    named = charted("plt.boxplot([[1, 2, 3]]); plt.xticks([1], ['only'])")
    assert named[0]["x"] == ["only"]
    lying = charted("plt.boxplot([[1, 2, 3, 4, 5]], vert=False)")
    assert lying[0]["median"] == 3.0 and lying[0]["y"] == [1.0] and "x" not in lying[0]
    assert charted("plt.imshow([[1, 2, 3], [4, 5, 6]])") == [{"type": "image", "label": None, "shape": [2, 3]}]
    code = "import matplotlib.pyplot as plt\nplt.imshow([[1, 2]]); plt.colorbar()\nplt.fill_between([1, 2], [3, 4]); pass\n"
    (bundle,) = shown(code, preset="data")
    assert len(bundle[CHART]["axes"]) == 1 and bundle[CHART]["axes"][0]["others"] == 1


@needs_matplotlib
def test_charts_are_bounded():
    (bundle,) = shown("import matplotlib.pyplot as plt\nfor i in range(130): plt.plot(range(2000))", preset="data")
    chart = bundle[CHART]
    assert chart["truncated"] is True and len(chart["axes"][0]["series"]) <= 100
    assert sum(len(series["x"]) for series in chart["axes"][0]["series"]) <= 100_200


# ---- pandas, Pillow ----

@needs_pandas
def test_frames_as_html_and_as_data():
    from sandbox.values import decode
    code = ("import pandas as pd\n"
            "frame = pd.DataFrame({'a': [1, 2], 'b': ['x', None], 't': pd.to_datetime(['2024-01-01', '2024-01-02'])})\n"
            "display(frame['a'])\n__result__ = frame\nframe")
    result = run_program(code, preset="data")
    series, frame = result["displays"]
    assert "<table" in frame["text/html"] and frame[FRAME] == result["result"]
    assert frame[FRAME]["$type"] == "pandas.DataFrame" and series[FRAME]["$type"] == "pandas.Series"
    assert list(decode(frame[FRAME])["a"]) == [1, 2]
    big = "import pandas as pd\nimport numpy as np\npd.DataFrame({'n': np.arange(500000), 's': ['some text'] * 500000})"
    (bundle,) = shown(big, preset="data")
    assert bundle[FRAME]["truncated"] == {"rows": 500000}
    assert bundle[FRAME]["index"]["stop"] == 10000 and len(json.dumps(bundle[FRAME])) <= 2 << 20


@needs_pandas
@needs_matplotlib
def test_a_plot_of_pandas():
    code = "import pandas as pd\npd.DataFrame({'v': [1, 2, 3]}, index=['a', 'b', 'c']).plot.bar()"
    figure, axes = shown(code, preset="data")
    (series,) = figure[CHART]["axes"][0]["series"]
    assert series["label"] == "v" and series["x"] == ["a", "b", "c"] and series["y"] == [1.0, 2.0, 3.0]
    assert set(axes) == {"text/plain"}


@needs_pillow
def test_pillow_images():
    (bundle,) = shown("from PIL import Image\nImage.new('RGB', (5, 4))", preset="data")
    assert struct.unpack(">II", base64.b64decode(bundle["image/png"])[16:24]) == (5, 4) and "image/jpeg" not in bundle
