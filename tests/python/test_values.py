# SPDX-License-Identifier: MIT
"""Typed results (docs/results.md): the reader on its own, hostile text included, and round trips through a jail."""

from __future__ import annotations

import datetime
import decimal
import fractions
import importlib.util
import json
import math
import os
import pathlib
import shutil
import sys
import time
import zoneinfo
from typing import Any, Iterator

import pytest

from sandbox import values
from sandbox.values import Foreign, decode, encode

ROOT = pathlib.Path(__file__).resolve().parents[2]

#: Values, the JSON of each, and code that makes it in a program.
PYTHON_TYPES: list[tuple[Any, str, str]] = [
    (None, "null", "None"),
    (True, "true", "True"),
    (2, "2", "1 + 1"),
    (1.0, "1.0", "1.0"),
    (-0.0, "-0.0", "-0.0"),
    (1e300, "1e+300", "1e300"),
    (2**53 - 1, "9007199254740991", "2**53 - 1"),
    (2**53, '{"$type": "int", "value": "9007199254740992"}', "2**53"),
    (-(2**64), '{"$type": "int", "value": "-18446744073709551616"}', "-2**64"),
    (1 << 4096, '{"$type": "int", "value": "' + hex(1 << 4096) + '"}', "1 << 4096"),
    (math.inf, '{"$type": "float", "value": "inf"}', "float('inf')"),
    ("x\n\u00e9\U0001f600", json.dumps("x\n\u00e9\U0001f600"), "'x\\n\\u00e9\\U0001f600'"),
    ("a\0b", '{"$type": "str", "base64": "YQBi"}', "'a\\0b'"),
    ("\ud800", '{"$type": "str", "base64": "7aCA"}', "'\\ud800'"),
    (b"\0\xff", '{"$type": "bytes", "value": "AP8="}', "b'\\0\\xff'"),
    (bytearray(b"x"), '{"$type": "bytearray", "value": "eA=="}', "bytearray(b'x')"),
    ([1, None], "[1, null]", "[1, None]"),
    ((1, (2,)), '{"$type": "tuple", "items": [1, {"$type": "tuple", "items": [2]}]}', "(1, (2,))"),
    ({1}, '{"$type": "set", "items": [1]}', "{1}"),
    (frozenset([1]), '{"$type": "frozenset", "items": [1]}', "frozenset([1])"),
    ({"a": [1]}, '{"a": [1]}', "{'a': [1]}"),
    ({"$type": "x"}, '{"$type": "dict", "items": [["$type", "x"]]}', "{'$type': 'x'}"),
    ({1: {2: 3}}, '{"$type": "dict", "items": [[1, {"$type": "dict", "items": [[2, 3]]}]]}', "{1: {2: 3}}"),
    (range(1, 9, 2), '{"$type": "range", "start": 1, "stop": 9, "step": 2}', "range(1, 9, 2)"),
    (3 - 4j, '{"$type": "complex", "real": 3.0, "imag": -4.0}', "3 - 4j"),
    (
        datetime.datetime(2020, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("UTC"), fold=1),
        '{"$type": "datetime", "value": "2020-10-25T02:30:00+00:00", "fold": 1, "zone": "UTC"}',
        "import datetime, zoneinfo\n"
        "datetime.datetime(2020, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo('UTC'), fold=1)",
    ),
    (
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
        '{"$type": "datetime", "value": "2020-01-02T03:04:05.000006"}',
        "import datetime\ndatetime.datetime(2020, 1, 2, 3, 4, 5, 6)",
    ),
    (
        datetime.date(2020, 1, 2),
        '{"$type": "date", "value": "2020-01-02"}',
        "import datetime\ndatetime.date(2020, 1, 2)",
    ),
    (
        datetime.time(1, 2, fold=1),
        '{"$type": "time", "value": "01:02:00", "fold": 1}',
        "import datetime\ndatetime.time(1, 2, fold=1)",
    ),
    (
        datetime.timedelta(-1, 5, 7),
        '{"$type": "timedelta", "days": -1, "seconds": 5, "microseconds": 7}',
        "import datetime\ndatetime.timedelta(-1, 5, 7)",
    ),
    (
        decimal.Decimal("1.50"),
        '{"$type": "Decimal", "value": "1.50"}',
        "import decimal\ndecimal.Decimal('1.50')",
    ),
    (
        fractions.Fraction(1, 3),
        '{"$type": "Fraction", "numerator": 1, "denominator": 3}',
        "import fractions\nfractions.Fraction(1, 3)",
    ),
]


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and repr(a) == repr(b) and a == b


@pytest.mark.parametrize(("value", "text", "code"), PYTHON_TYPES, ids=lambda x: str(x)[:30])
def test_scheme(value: Any, text: str, code: str) -> None:
    assert same(decode(json.loads(text)), value)
    assert encode(value) == json.loads(text)


def test_nan() -> None:
    assert math.isnan(decode({"$type": "float", "value": "nan"}))
    assert encode(math.nan) == {"$type": "float", "value": "nan"}


def test_subclasses_are_their_base() -> None:
    assert same(decode({"$type": "int", "class": "m.Colour", "value": "1"}), 1)
    assert same(decode({"$type": "float", "class": "m.F", "value": "1.5e-07"}), 1.5e-07)
    assert same(decode({"$type": "str", "class": "m.S", "value": "x"}), "x")
    assert same(decode({"$type": "list", "class": "m.L", "items": [1]}), [1])
    assert same(decode({"$type": "dict", "class": "collections.Counter", "items": [["a", 2]]}), {"a": 2})


def test_what_cannot_cross() -> None:
    value = decode([{"$type": "repr", "class": "m.C", "value": "<C>"}])[0]
    assert value == Foreign("m.C", "<C>")
    assert repr(value) == "<C>"
    assert encode(Ellipsis) == {"$type": "repr", "class": "ellipsis", "value": "Ellipsis"}


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: list[Any] = [
    {"$type": None},
    {"$type": ["int"]},
    {"$type": "__import__", "value": "os"},
    {"$type": "os.system", "value": "true"},
    {"$type": "int"},
    {"$type": "int", "value": 5},
    {"$type": "int", "value": "9" * 5_000_000},
    {"$type": "int", "value": "1_000"},
    {"$type": "int", "value": "0x"},
    {"$type": "float", "value": "1" * 100_000},
    {"$type": "float", "value": [1]},
    {"$type": "str", "base64": "////"},
    {"$type": "str"},
    {"$type": "bytes", "value": "not base64"},
    {"$type": "bytes", "value": 5},
    {"$type": "tuple", "items": "abc"},
    {"$type": "set", "items": [[1]]},
    {"$type": "dict", "items": [[1]]},
    {"$type": "dict", "items": [[[1], 2]]},
    {"$type": "dict", "items": {"a": 1}},
    {"$type": "range", "start": 0, "stop": 5, "step": 0},
    {"$type": "range", "start": 0.5, "stop": 5, "step": 1},
    {"$type": "complex", "real": "1", "imag": 0},
    {"$type": "complex", "real": {"$type": "int", "value": "1" + "0" * 600}, "imag": 0},
    {"$type": "datetime", "value": "yesterday"},
    {"$type": "date", "value": "9999-99-99"},
    {"$type": "timedelta", "days": 10**15, "seconds": 0, "microseconds": 0},
    {"$type": "Decimal", "value": "one"},
    {"$type": "Fraction", "numerator": 1, "denominator": 0},
    {"$type": "repr", "class": 5, "value": "x"},
    {"$type": "numpy.ndarray"},
    {"$type": "numpy.ndarray", "dtype": "<f8", "shape": [2], "data": ""},
    {"$type": "numpy.ndarray", "dtype": "<f8", "shape": [-1], "data": "AAAAAAAAAAA="},
    {"$type": "numpy.ndarray", "dtype": "<f8", "shape": [10**18, 10**18], "data": ""},
    {"$type": "numpy.ndarray", "dtype": "<f8", "shape": [10**30, 0], "data": ""},
    {"$type": "numpy.ndarray", "dtype": "<f8", "shape": [True], "data": "AAAAAAAAAAA="},
    {"$type": "numpy.ndarray", "dtype": "<f8", "shape": [1] * 100, "data": "AAAAAAAAAAA="},
    {"$type": "numpy.ndarray", "dtype": "|O", "shape": [1], "data": "AAAAAAAAAAA="},
    {"$type": "numpy.ndarray", "dtype": "O", "shape": [1], "data": "AAAAAAAAAAA="},
    {"$type": "numpy.ndarray", "dtype": [["a", "|O"]], "shape": [1], "data": "AAAAAAAAAAA="},
    {"$type": "numpy.ndarray", "dtype": [["a"]], "shape": [1], "data": "AAAAAAAAAAA="},
    {"$type": "numpy.ndarray", "dtype": [["a", "<f8", [10**12]]], "shape": [1], "data": "AAAAAAAAAAA="},
    {"$type": "numpy.ndarray", "dtype": "f8,(1000000000,)f8", "shape": [1], "data": ""},
    {"$type": "numpy.ndarray", "dtype": "<U999999999", "shape": [1], "data": "AAAA"},
    {"$type": "numpy.ndarray", "dtype": "|S0", "shape": [10**9], "data": ""},
    {"$type": "numpy.ndarray", "dtype": "object", "shape": [10**9, 0, 10**9], "items": [1]},
    {"$type": "numpy.ndarray", "dtype": "object", "shape": [2], "items": [1]},
    {"$type": "numpy.scalar", "dtype": "<f8", "value": [1]},
    {"$type": "numpy.scalar", "dtype": "<M8[ns]", "data": ""},
    {"$type": "pandas.Series", "name": None, "index": 5, "data": []},
    {
        "$type": "pandas.DataFrame",
        "index": {"kind": "range", "start": 0, "stop": 10**12, "step": 1, "name": None},
        "columns": {"kind": "index", "name": None, "dtype": "object", "values": ["a"]},
        "data": [{"dtype": "object", "values": [1]}],
    },
    {"$type": "pandas.DataFrame", "index": {}, "columns": {}, "data": [1]},
    {"$type": "pandas.Index", "index": {"kind": "index", "name": None, "dtype": "category"}},
    {"$type": "pandas.Timestamp", "value": "now or never"},
    {"$type": "pandas.Timedelta", "value": "1" * 1000},
]


@pytest.mark.parametrize("tagged", HOSTILE, ids=lambda x: json.dumps(x)[:60])
@pytest.mark.parametrize("libraries", [True, False], ids=["as-installed", "without-libraries"])
def test_hostile(tagged: Any, libraries: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not libraries:
        monkeypatch.setattr(values, "_library", lambda name: None)
    start = time.monotonic()
    value = decode([tagged])[0]
    assert time.monotonic() - start < 2
    library = str(tagged["$type"]).partition(".")[0]
    if library not in ("numpy", "pandas") or (libraries and importlib.util.find_spec(library)):
        assert isinstance(value, Foreign), value
        assert value.class_name == "malformed"


def test_depth_is_bounded() -> None:
    decode(deep(900))
    tagged: Any = {}
    for kind in ("tuple", "set", "dict") * 200:
        tagged = {"$type": kind, "items": [tagged if kind != "dict" else [1, tagged]]}
    decode(tagged)
    # what a worker writes at most comes through whole
    assert decode(deep(64)) == deep(64)


def test_a_zone_names_no_file() -> None:
    tagged = {"$type": "datetime", "value": "2020-01-01T00:00:00+00:00", "zone": "../../../etc/passwd"}
    assert decode(tagged) == datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


def test_numpy_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_library", lambda name: None)
    array = {"$type": "numpy.ndarray", "shape": [2, 1], "dtype": "<f8", "data": "AAAAAAAA8D8AAAAAAAAAQA=="}
    assert decode(array) == [[1.0], [2.0]]
    frame = {
        "$type": "pandas.DataFrame",
        "index": {"kind": "range", "start": 0, "stop": 2, "step": 1, "name": None},
        "columns": {"kind": "index", "name": None, "dtype": "object", "values": ["a"]},
        "data": [{"dtype": "float64", "values": {**array, "shape": [2]}}],
    }
    assert decode(frame) == {"a": [1.0, 2.0]}


def test_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    array = {"$type": "numpy.ndarray", "shape": [2, 1], "dtype": "<f8", "data": "AAAAAAAA8D8AAAAAAAAAQA=="}
    value = decode(array)
    assert value.dtype == numpy.dtype("<f8") and value.tolist() == [[1.0], [2.0]]
    value[0, 0] = 5  # its own memory
    scalar = decode({"$type": "numpy.scalar", "dtype": "<f4", "value": 0.5})
    assert type(scalar) is numpy.float32 and scalar == 0.5


# Through a jail.


def binary() -> str | None:
    for path in (os.environ.get("SANDBOX_BIN"), ROOT / "build" / "sandbox", shutil.which("sandbox")):
        if path and os.access(path, os.X_OK):
            return str(path)
    return None


@pytest.fixture(scope="module")
def box() -> Iterator[Any]:
    if binary() is None:
        pytest.skip("no sandbox binary: not in SANDBOX_BIN, build/ or on PATH (./dev build makes it)")
    from sandbox import Sandbox, SandboxSettings

    settings = SandboxSettings(allowed_modules=["*"], max_memory_mb=512, max_cpu_percent=100, max_execution_time=30)
    with Sandbox(settings) as made:
        yield made


@pytest.mark.parametrize(("value", "text", "code"), PYTHON_TYPES, ids=lambda x: str(x)[:30])
def test_round_trip(box: Any, value: Any, text: str, code: str) -> None:
    assert same(box.run(code).result, value)


def test_not_everything_crosses(box: Any) -> None:
    value = box.run("import enum\nclass C(enum.Enum): A = 1\nclass I(enum.IntEnum): A = 1\n[C.A, I.A, print]").result
    assert value[0] == Foreign("__main__.C", "<C.A: 1>")
    assert value[1] == 1
    assert isinstance(value[2], Foreign)


def test_cycles_depth_and_size(box: Any) -> None:
    assert box.run("x = [1]; x.append(x); x").result == [1, Foreign("list", "[1, [...]]")]
    value = box.run("x = []\nfor i in range(1000): x = [x]\nx").result
    for _ in range(64):
        assert isinstance(value, list)
        value = value[0]
    assert isinstance(value, Foreign)
    value = box.run("{'a': 1, 'b': b'x' * 20_000_000}").result
    assert value["a"] == 1 and isinstance(value["b"], Foreign) and len(value["b"].text) <= 64 << 10
    value = box.run("list(range(5_000_000))").result
    assert isinstance(value, Foreign) and value.text.endswith("... [cut]")


def test_hostile_objects(box: Any) -> None:
    result = box.run(
        "class R:\n"
        "    def __repr__(self): raise KeyboardInterrupt\n"
        "class Deep:\n"
        "    def __repr__(self): return repr(self)\n"
        "class M(type):\n"
        "    def __getattribute__(cls, name): raise SystemExit\n"
        "class N(metaclass=M): pass\n"
        "class L(list):\n"
        "    def __len__(self): raise ValueError\n"
        "    def __iter__(self): raise ValueError\n"
        "shrinking = [1, 2, 3]\n"
        "class Shrink:\n"
        "    def __repr__(self): shrinking.clear(); return 'gone'\n"
        "shrinking.insert(0, Shrink())\n"
        "twice = {'a': 1}\n"
        "class Twice:\n"
        "    def __repr__(self): twice['a'] = twice.pop('a'); return 'twice'\n"
        "twice['b'] = Twice()\n"
        "__result__ = [R(), Deep(), N(), L([1, 2]), shrinking, twice]"
    )
    assert result.status == "ok"
    raising, deep_one, nameless, overridden, shrunk, twice = result.result
    assert "KeyboardInterrupt" in raising.text
    assert "RecursionError" in deep_one.text
    assert isinstance(nameless, Foreign)
    assert overridden == [1, 2]
    assert shrunk == [Foreign("__main__.Shrink", "gone")]
    assert twice["a"] == 1


def test_round_trip_numpy(box: Any) -> None:
    numpy = pytest.importorskip("numpy")
    if box.run("import numpy").status != "ok":
        pytest.skip("the sandbox's interpreter has no numpy")
    value = box.run("import numpy as np\n[np.arange(6).reshape(2, 3), np.float32(0.5), np.zeros((0, 3))]").result
    assert value[0].tolist() == [[0, 1, 2], [3, 4, 5]] and type(value[1]) is numpy.float32
    assert value[2].shape == (0, 3)


def test_round_trip_pandas(box: Any) -> None:
    pandas = pytest.importorskip("pandas")
    if box.run("import pandas").status != "ok":
        pytest.skip("the sandbox's interpreter has no pandas")
    code = (
        "frame = pd.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': pd.Categorical(['u', 'v']),\n"
        "  'd': pd.to_datetime(['2020', '2021']).tz_localize('Europe/Berlin'),\n"
        "  'e': pd.array([1, None], dtype='Int64')}).set_index('a')\n"
    )
    names = {"pd": pandas}
    exec(code, names)  # the same, made here
    value = box.run("import pandas as pd\n" + code + "frame").result
    pandas.testing.assert_frame_equal(value, names["frame"])


def test_denials_name_the_field(box: Any) -> None:
    from sandbox import Sandbox, SandboxSettings

    with Sandbox(SandboxSettings(allowed_modules=["math"])) as strict:
        result = strict.run("import math\n\nimport os")
        assert result.status == "denied"
        assert result.error.name == "ImportError" and result.error.line == 3
        assert '"os"' in result.error.value and "allowed_modules" in result.error.value
        result = strict.run("try:\n    import os\nexcept ImportError:\n    pass\n1 / 0")
        assert result.status == "error" and result.error.name == "ZeroDivisionError"
        result = strict.run("open('/etc/passwd')")
        assert result.status == "denied" and "allow_file_operations" in result.error.value


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
