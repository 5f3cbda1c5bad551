# SPDX-License-Identifier: MIT
"""Results of programs: tagged JSON to Python values and back (``docs/results.md``).

What JSON has is plain; everything else is an object whose ``"$type"`` names it. The text comes from a program that
nobody trusts, so :func:`decode` builds values of known types only, checks every member, runs nothing that the
text names, and never raises for what it reads: a tagged object that it cannot take becomes a :class:`Foreign`.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import fractions
import importlib
import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any, Callable, Iterable

__all__ = ["DEPTH_MAX", "Foreign", "decode", "encode"]

TAG = "$type"

#: Levels of JSON that are read. A worker writes at most 64 levels of containers, each up to four levels of JSON.
DEPTH_MAX = 300

_EXACT_INT = 2**53 - 1
_DECIMAL_DIGITS_MAX = 640  # CPython converts so many whatever its limit; longer ones come in hexadecimal
_FOREIGN_TEXT_MAX = 64 << 10
_DIMENSIONS_MAX = 32

_DTYPE = re.compile(r"[<>|=][biufcmMSUV]\d{0,9}(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)(/\d{1,9})?\])?")
_PANDAS_DTYPE = re.compile(r"u?int\d+|float\d+|complex\d+|bool|U?Int\d+|Float\d+|boolean|string|str|object")
_ZONED_DTYPE = re.compile(r"datetime64\[(?:s|ms|us|ns), ([\w/+:-]{1,64})\]")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}")


@dataclass(frozen=True)
class Foreign:
    """A value that could not cross: what its class was called, and its ``repr``.

    Both texts are the program's own claim.
    """

    class_name: str
    text: str

    def __repr__(self) -> str:
        return self.text


class _Malformed(ValueError):
    """A tagged object that no worker of ours would have written."""


def decode(tagged: Any) -> Any:
    """The Python value of a result, as ``json.loads`` gave it.

    numpy arrays and pandas frames need these libraries here; without them they are nested lists and dicts of
    columns. Never raises for a malformed or hostile text: such a part becomes a :class:`Foreign`.
    """
    return _decode(tagged, DEPTH_MAX)


def _decode(tagged: Any, depth: int) -> Any:
    if depth <= 0:
        return Foreign("nested", "...")
    if isinstance(tagged, list):
        return [_decode(item, depth - 1) for item in tagged]
    if not isinstance(tagged, dict):
        return tagged
    if TAG not in tagged:
        return {key: _decode(item, depth - 1) for key, item in tagged.items()}
    name = tagged[TAG]
    reader = _READERS.get(name) if isinstance(name, str) else None
    if reader is not None:
        try:
            return reader(tagged, depth - 1)
        except Exception:  # numpy and pandas raise what they like for what they cannot take
            pass
    return _malformed(tagged)


def _malformed(tagged: dict[str, Any]) -> Foreign:
    try:
        text = json.dumps(tagged)[:_FOREIGN_TEXT_MAX]
    except (ValueError, TypeError, RecursionError):
        text = "..."
    return Foreign("malformed", text)


def _get(tagged: dict[str, Any], key: str, kind: type) -> Any:
    value = tagged.get(key)
    if type(value) is not kind:
        raise _Malformed(key)
    return value


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise _Malformed("base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _Malformed("base64") from exc


def _items(tagged: dict[str, Any], depth: int) -> list[Any]:
    return [_decode(item, depth) for item in _get(tagged, "items", list)]


def _read_int(tagged: dict[str, Any], depth: int) -> int:
    text = _get(tagged, "value", str)
    if re.fullmatch(r"-?0x[0-9a-f]+", text):
        return int(text, 16)
    if len(text) > _DECIMAL_DIGITS_MAX or not re.fullmatch(r"-?[0-9]+", text):
        raise _Malformed("int")
    return int(text)


def _read_float(tagged: dict[str, Any], depth: int) -> float:
    text = _get(tagged, "value", str)
    if not re.fullmatch(r"nan|-?inf|-?[0-9]{1,400}(\.[0-9]{1,400})?(e[+-]?[0-9]{1,4})?", text):
        raise _Malformed("float")
    return float(text)


def _read_str(tagged: dict[str, Any], depth: int) -> str:
    if "base64" in tagged:
        return _bytes(tagged["base64"]).decode("utf-8", "surrogatepass")
    text: str = _get(tagged, "value", str)
    return text


def _number(tagged: Any, depth: int) -> float:
    value = _decode(tagged, depth)
    if type(value) not in (int, float):
        raise _Malformed("number")
    return float(value)


def _whole(tagged: Any, depth: int) -> int:
    value = _decode(tagged, depth)
    if type(value) is not int:
        raise _Malformed("int")
    return value


def _read_dict(tagged: dict[str, Any], depth: int) -> dict[Any, Any]:
    value: dict[Any, Any] = {}
    pairs: list[tuple[Any, Any]] = []
    for pair in _get(tagged, "items", list):
        if not isinstance(pair, list) or len(pair) != 2:
            raise _Malformed("pair")
        pairs.append((_decode(pair[0], depth - 1), _decode(pair[1], depth - 1)))
    _check_hashes(key for key, _ in pairs)
    value.update(pairs)
    return value


#: Different keys that may share one hash: a program can choose integers so that all do, and a set or dict of them
#: takes quadratic time of the caller's interpreter.
_SAME_HASH_MAX = 64


def _check_hashes(keys: Iterable[Any]) -> None:
    seen: dict[int, int] = {}
    for key in keys:
        slot = hash(key)
        seen[slot] = seen.get(slot, 0) + 1
        if seen[slot] > _SAME_HASH_MAX:
            raise _Malformed("keys")


def _hashable(tagged: dict[str, Any], depth: int) -> list[Any]:
    items = _items(tagged, depth)
    _check_hashes(items)
    return items


def _zone(tagged: dict[str, Any]) -> datetime.tzinfo | None:
    """The named zone, if this machine knows it: the offset in the value is right without it."""
    name = tagged.get("zone")
    if not isinstance(name, str) or not _ZONE.fullmatch(name):
        return None
    try:
        zone: datetime.tzinfo = importlib.import_module("zoneinfo").ZoneInfo(name)
    except (ImportError, LookupError, ValueError, OSError):
        return None
    return zone


def _read_datetime(tagged: dict[str, Any], depth: int) -> datetime.datetime:
    value = datetime.datetime.fromisoformat(_get(tagged, "value", str))
    zone = _zone(tagged)
    if zone is not None and value.tzinfo is not None:
        value = value.replace(tzinfo=zone)
    return value.replace(fold=1) if tagged.get("fold") == 1 else value


def _read_time(tagged: dict[str, Any], depth: int) -> datetime.time:
    value = datetime.time.fromisoformat(_get(tagged, "value", str))
    zone = _zone(tagged)
    if zone is not None:
        value = value.replace(tzinfo=zone)
    return value.replace(fold=1) if tagged.get("fold") == 1 else value


def _read_timedelta(tagged: dict[str, Any], depth: int) -> datetime.timedelta:
    return datetime.timedelta(*(_get(tagged, key, int) for key in ("days", "seconds", "microseconds")))


def _read_decimal(tagged: dict[str, Any], depth: int) -> decimal.Decimal:
    return decimal.Decimal(_get(tagged, "value", str))


def _read_fraction(tagged: dict[str, Any], depth: int) -> fractions.Fraction:
    return fractions.Fraction(
        _whole(tagged.get("numerator"), depth), _whole(tagged.get("denominator"), depth)
    )


def _read_range(tagged: dict[str, Any], depth: int) -> range:
    return range(*(_whole(tagged.get(key), depth) for key in ("start", "stop", "step")))


def _read_repr(tagged: dict[str, Any], depth: int) -> Foreign:
    return Foreign(_get(tagged, "class", str), _get(tagged, "value", str))


# numpy


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _shape(tagged: dict[str, Any]) -> list[int]:
    shape: list[int] = _get(tagged, "shape", list)
    if len(shape) > _DIMENSIONS_MAX or any(type(n) is not int or n < 0 for n in shape):
        raise _Malformed("shape")
    return shape


def _descr(descr: Any, depth: int = 16) -> Any:
    """A dtype in numpy's own notation; no name in it is looked up anywhere."""
    if isinstance(descr, str):
        if not _DTYPE.fullmatch(descr):
            raise _Malformed("dtype")
        return descr
    if depth <= 0 or not isinstance(descr, list) or len(descr) > 1000:
        raise _Malformed("dtype")
    fields = []
    for field in descr:
        if not isinstance(field, list) or not 2 <= len(field) <= 3:
            raise _Malformed("dtype")
        name = tuple(field[0]) if isinstance(field[0], list) else field[0]
        shape = (tuple(_shape({"shape": field[2]})),) if len(field) == 3 else ()
        fields.append((name, _descr(field[1], depth - 1), *shape))
    return fields


def _dtype(numpy: Any, tagged: dict[str, Any]) -> Any:
    descr = _descr(tagged.get("dtype"))
    return numpy.dtype(descr) if isinstance(descr, str) else numpy.lib.format.descr_to_dtype(descr)


def _nested(items: list[Any], shape: list[int]) -> Any:
    if not shape:
        return items[0]
    if len(shape) == 1:
        return items
    step = math.prod(shape[1:])
    return [_nested(items[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _unpack(descr: Any, data: bytes) -> list[Any]:
    """The items of a flat array of a simple type, for where there is no numpy."""
    text = _descr(descr)
    moment = re.fullmatch(r"[<>][mM]8\[(ns|us|ms|s|m|h|D)\]", text) if isinstance(text, str) else None
    if moment:
        counts = [item[0] for item in struct.iter_unpack(text[0] + "q", data)]
        return [_moment(text[1], moment.group(1), count) for count in counts]
    if not isinstance(text, str) or not text[2:].isdigit():
        raise _Malformed("this type needs numpy")
    order, kind, size = text[0].replace("|", "<"), text[1], int(text[2:])
    if kind == "S" and size:
        return [data[i : i + size].rstrip(b"\0") for i in range(0, len(data), size)]
    if kind == "U" and size:
        codec = "utf-32-le" if order in "<=" else "utf-32-be"
        step = 4 * size
        return [
            data[i : i + step].decode(codec, "surrogatepass").rstrip("\0")
            for i in range(0, len(data), step)
        ]
    codes = {"b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I"}
    codes.update({"u8": "Q", "f2": "e", "f4": "f", "f8": "d", "c8": "ff", "c16": "dd"})
    values = list(struct.iter_unpack(order + codes[f"{kind}{size}"], data))
    return [complex(*value) if kind == "c" else value[0] for value in values]


def _moment(kind: str, unit: str, count: int) -> datetime.datetime | datetime.timedelta | None:
    """numpy's time, to a microsecond. Not a time: None."""
    if count == -(2**63):
        return None
    scale = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "D": 86400 * 10**6}
    span = datetime.timedelta(microseconds=count // 1000 if unit == "ns" else count * scale[unit])
    return datetime.datetime(1970, 1, 1) + span if kind == "M" else span


def _check_count(shape: list[int], count: int) -> None:
    # an empty array may have any other dimensions: numpy itself refuses those that overflow
    if math.prod(shape) != count or any(n > max(count, 1 << 31) for n in shape):
        raise _Malformed("shape")


def _read_array(tagged: dict[str, Any], depth: int) -> Any:
    numpy = _library("numpy")
    shape = _shape(tagged)
    if tagged.get("dtype") == "object":
        items = _items(tagged, depth)
        _check_count(shape, len(items))
        if numpy is None:
            _check_lists(shape)
            return _nested(items, shape)
        flat = numpy.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            flat[i] = item
        return flat.reshape(shape)
    data = _bytes(tagged.get("data"))
    if numpy is None:
        items = _unpack(tagged.get("dtype"), data)
        _check_count(shape, len(items))
        _check_lists(shape)
        return _nested(items, shape)
    dtype = _dtype(numpy, tagged)
    if not dtype.itemsize:
        if data:
            raise _Malformed("data")
        if math.prod(shape) > 1 << 20:
            raise _Malformed("shape")
        return numpy.zeros(shape, dtype)
    if len(data) % dtype.itemsize or dtype.hasobject:
        raise _Malformed("data")
    _check_count(shape, len(data) // dtype.itemsize)
    return numpy.frombuffer(data, dtype).reshape(shape).copy()


def _check_lists(shape: list[int]) -> None:
    """[1000000000, 0] has no items, but a billion lists."""
    lists = 1
    for n in shape[:-1]:
        lists *= n
        if lists > 1 << 20:
            raise _Malformed("shape")


def _read_scalar(tagged: dict[str, Any], depth: int) -> Any:
    numpy = _library("numpy")
    if "value" in tagged:
        value = _decode(tagged["value"], depth)
        if type(value) not in (bool, int, float, complex, str, bytes):
            raise _Malformed("value")
        if numpy is None:
            return value
        dtype = _dtype(numpy, tagged)
        # the item's size is in the text's hands, and 0 means as long as the value
        if dtype.itemsize > 64 + 4 * (len(value) if isinstance(value, (str, bytes)) else 0):
            raise _Malformed("dtype")
        return numpy.array(value, dtype)[()]
    data = _bytes(tagged.get("data"))
    if numpy is None:
        return _unpack(tagged.get("dtype"), data)[0]
    dtype = _dtype(numpy, tagged)
    if dtype.itemsize != len(data) or dtype.hasobject or not data:
        raise _Malformed("data")
    return numpy.frombuffer(data, dtype).copy()[0]


# pandas


def _column_list(column: Any, depth: int) -> list[Any]:
    """A column's values as a list, for where there is no pandas."""
    if not isinstance(column, dict):
        raise _Malformed("column")
    if column.get("dtype") == "category":
        names = _column_list(column.get("categories"), depth - 1)
        return [None if code < 0 else names[code] for code in _list(column.get("codes"), depth)]
    return _list(column.get("values"), depth)


def _list(tagged: Any, depth: int) -> list[Any]:
    values = _decode(tagged, depth)
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, list):
        raise _Malformed("values")
    return values


def _column(pandas: Any, column: Any, depth: int) -> Any:
    """A column as what pandas makes a series or an index of."""
    if depth <= 0 or not isinstance(column, dict):
        raise _Malformed("column")
    dtype = _get(column, "dtype", str)
    if dtype == "category":
        return pandas.Categorical.from_codes(
            _decode(column.get("codes"), depth),
            categories=pandas.Index(_column(pandas, column.get("categories"), depth - 1)),
            ordered=_get(column, "ordered", bool),
        )
    values = _decode(column.get("values"), depth)
    zoned = _ZONED_DTYPE.fullmatch(dtype)
    if zoned:
        return pandas.DatetimeIndex(values).tz_localize("UTC").tz_convert(zoned.group(1))
    if isinstance(values, list):
        if not _PANDAS_DTYPE.fullmatch(dtype):
            dtype = "object"
        return pandas.array(values, dtype=dtype) if dtype != "object" else pandas.Series(values, dtype=object)
    return values


def _index_list(index: Any, depth: int) -> list[Any]:
    if not isinstance(index, dict):
        raise _Malformed("index")
    if index.get("kind") == "range":
        found = _read_range(index, depth)
        if len(found) > 1 << 24:
            raise _Malformed("range")
        return list(found)
    if index.get("kind") == "multi":
        return list(zip(*(_column_list(level, depth - 1) for level in _get(index, "levels", list))))
    return _column_list(index, depth)


def _index(pandas: Any, index: Any, depth: int) -> Any:
    if not isinstance(index, dict):
        raise _Malformed("index")
    kind = index.get("kind")
    if kind == "range":
        return pandas.RangeIndex(_read_range(index, depth), name=_decode(index.get("name"), depth))
    if kind == "multi":
        levels = [_column(pandas, level, depth - 1) for level in _get(index, "levels", list)]
        return pandas.MultiIndex.from_arrays(levels, names=_decode(_get(index, "names", list), depth))
    values = _column(pandas, index, depth)
    dtype = object if index.get("dtype") == "object" else None
    return pandas.Index(values, dtype=dtype, name=_decode(index.get("name"), depth))


def _read_frame(tagged: dict[str, Any], depth: int) -> Any:
    pandas = _library("pandas")
    data = _get(tagged, "data", list)
    if pandas is None:
        labels = _index_list(tagged.get("columns"), depth)
        if len(labels) != len(data):
            raise _Malformed("columns")
        return {label: _column_list(column, depth - 1) for label, column in zip(labels, data)}
    index = _index(pandas, tagged.get("index"), depth)
    columns = _index(pandas, tagged.get("columns"), depth)
    if len(columns) != len(data):
        raise _Malformed("columns")
    series = {i: _series(pandas, column, index, depth) for i, column in enumerate(data)}
    frame = pandas.DataFrame(series, index=index)
    frame.columns = columns
    return frame


def _series(pandas: Any, column: Any, index: Any, depth: int) -> Any:
    values = _column(pandas, column, depth - 1)
    if len(values) != len(index):
        raise _Malformed("length")
    if isinstance(values, (pandas.Series, pandas.Index)):
        values = values.array
    return pandas.Series(values, index=index, dtype=object if column["dtype"] == "object" else None)


def _read_series(tagged: dict[str, Any], depth: int) -> Any:
    pandas = _library("pandas")
    if pandas is None:
        return _column_list(tagged.get("data"), depth)
    index = _index(pandas, tagged.get("index"), depth)
    series = _series(pandas, tagged.get("data"), index, depth)
    series.name = _decode(tagged.get("name"), depth)
    return series


def _read_index(tagged: dict[str, Any], depth: int) -> Any:
    pandas = _library("pandas")
    if pandas is None:
        return _index_list(tagged.get("index"), depth)
    return _index(pandas, tagged.get("index"), depth)


def _read_timestamp(tagged: dict[str, Any], depth: int) -> Any:
    pandas = _library("pandas")
    text = _get(tagged, "value", str)
    if len(text) > 64:
        raise _Malformed("value")
    if pandas is None:
        return datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    value = pandas.Timestamp(text)
    zone = tagged.get("zone")
    if value.tzinfo is not None and isinstance(zone, str) and _ZONE.fullmatch(zone):
        value = value.tz_convert(zone)
    return value


def _read_pandas_timedelta(tagged: dict[str, Any], depth: int) -> Any:
    pandas = _library("pandas")
    text = _get(tagged, "value", str)
    if len(text) > 64:
        raise _Malformed("value")
    return text if pandas is None else pandas.Timedelta(text)


def _read_nat(tagged: dict[str, Any], depth: int) -> Any:
    pandas = _library("pandas")
    return None if pandas is None else pandas.NaT


def _read_na(tagged: dict[str, Any], depth: int) -> Any:
    pandas = _library("pandas")
    return None if pandas is None else pandas.NA


_READERS: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "int": _read_int,
    "float": _read_float,
    "str": _read_str,
    "bytes": lambda tagged, depth: _bytes(tagged.get("value")),
    "bytearray": lambda tagged, depth: bytearray(_bytes(tagged.get("value"))),
    "complex": lambda tagged, depth: complex(
        _number(tagged.get("real"), depth), _number(tagged.get("imag"), depth)
    ),
    "list": _items,
    "tuple": lambda tagged, depth: tuple(_items(tagged, depth)),
    "set": lambda tagged, depth: set(_hashable(tagged, depth)),
    "frozenset": lambda tagged, depth: frozenset(_hashable(tagged, depth)),
    "dict": _read_dict,
    "range": _read_range,
    "datetime": _read_datetime,
    "date": lambda tagged, depth: datetime.date.fromisoformat(_get(tagged, "value", str)),
    "time": _read_time,
    "timedelta": _read_timedelta,
    "Decimal": _read_decimal,
    "Fraction": _read_fraction,
    "repr": _read_repr,
    "numpy.ndarray": _read_array,
    "numpy.scalar": _read_scalar,
    "pandas.DataFrame": _read_frame,
    "pandas.Series": _read_series,
    "pandas.Index": _read_index,
    "pandas.Timestamp": _read_timestamp,
    "pandas.Timedelta": _read_pandas_timedelta,
    "pandas.NaT": _read_nat,
    "pandas.NA": _read_na,
}


# The other way, for values of Python's own types.


def encode(value: Any) -> Any:
    """What a worker would write for ``value``, for ``json.dumps``.

    Python's own types and the standard library's in the scheme; numpy and pandas are left to the worker. Anything
    else becomes its ``repr``. Raises ``RecursionError`` for a value that contains itself.
    """
    if value is None or isinstance(value, bool):
        return value
    writer = _WRITERS.get(type(value))
    if writer is not None:
        return writer(value)
    name = type(value).__qualname__
    module = type(value).__module__
    return {TAG: "repr", "class": name if module == "builtins" else f"{module}.{name}", "value": repr(value)}


def _write_int(value: int) -> Any:
    if -_EXACT_INT <= value <= _EXACT_INT:
        return value
    return {TAG: "int", "value": hex(value) if value.bit_length() > 2048 else str(value)}


def _write_float(value: float) -> Any:
    return value if math.isfinite(value) else {TAG: "float", "value": repr(value)}


def _is_plain(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _write_str(value: str) -> Any:
    if _is_plain(value):
        return value
    return {TAG: "str", "base64": _base64(value.encode("utf-8", "surrogatepass"))}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _write_dict(value: dict[Any, Any]) -> Any:
    if all(type(key) is str and key != TAG and _is_plain(key) for key in value):
        return {key: encode(item) for key, item in value.items()}
    return {TAG: "dict", "items": [[encode(key), encode(item)] for key, item in value.items()]}


def _write_items(name: str) -> Callable[[Iterable[Any]], Any]:
    return lambda value: {TAG: name, "items": [encode(item) for item in value]}


def _write_attributes(name: str, *keys: str) -> Callable[[Any], Any]:
    return lambda value: {TAG: name, **{key: encode(getattr(value, key)) for key in keys}}


def _write_moment(name: str) -> Callable[[Any], Any]:
    def write(value: Any) -> Any:
        tagged = {TAG: name, "value": value.isoformat()}
        if value.fold:
            tagged["fold"] = 1
        zone = getattr(value.tzinfo, "key", None)
        return tagged if zone is None else {**tagged, "zone": zone}

    return write


_WRITERS: dict[type, Callable[[Any], Any]] = {
    int: _write_int,
    float: _write_float,
    str: _write_str,
    bytes: lambda value: {TAG: "bytes", "value": _base64(value)},
    bytearray: lambda value: {TAG: "bytearray", "value": _base64(bytes(value))},
    complex: _write_attributes("complex", "real", "imag"),
    list: lambda value: [encode(item) for item in value],
    dict: _write_dict,
    tuple: _write_items("tuple"),
    set: _write_items("set"),
    frozenset: _write_items("frozenset"),
    range: _write_attributes("range", "start", "stop", "step"),
    datetime.datetime: _write_moment("datetime"),
    datetime.date: lambda value: {TAG: "date", "value": value.isoformat()},
    datetime.time: _write_moment("time"),
    datetime.timedelta: _write_attributes("timedelta", "days", "seconds", "microseconds"),
    decimal.Decimal: lambda value: {TAG: "Decimal", "value": str(value)},
    fractions.Fraction: _write_attributes("Fraction", "numerator", "denominator"),
}
