# SPDX-License-Identifier: MIT
"""The result of one program: the shape of ``docs/api.md`` with names and types."""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping

from sandbox.values import decode

__all__ = ["LIMITS", "Display", "Event", "ProgramError", "Result", "Truncated", "Usage"]

#: Verdicts that say that a limit ended the program, with the setting that each belongs to.
LIMITS: Mapping[str, str] = {
    "timeout": "max_execution_time",
    "memory": "max_memory_mb",
    "cpu": "max_cpu_time",
    "processes": "max_processes",
    "output": "max_output_bytes",
    "disk": "max_disk_mb",
}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) else 0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _words(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


@dataclass(frozen=True)
class ProgramError:
    """What ended the program. Where it comes from the interpreter inside it is the program's own claim."""

    name: str
    value: str
    traceback: str
    #: Of the program's text, from 1; None if there is none.
    line: int | None


@dataclass(frozen=True)
class Truncated:
    """Bytes that were dropped out of the middle."""

    stdout: int
    stderr: int


@dataclass(frozen=True)
class Usage:
    """What the program used, as the kernel counted it."""

    wall_ms: float
    cpu_ms: float
    memory_peak_bytes: int
    processes_peak: int
    written_bytes: int
    connections: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True)
class Event:
    """One operation that was denied, or a limit that was met."""

    at_ms: int
    #: ``kernel`` or ``supervisor``; ``python`` is a claim of the interpreter inside.
    source: str
    kind: str
    subject: str
    rule: str
    #: Of the program's text, where known; always the interpreter's claim.
    line: int | None
    #: The smallest change of the settings that would allow it, for people.
    remedy: str
    #: The same for programs, ``{"field": NAME, "add": ITEM}`` or ``{"field": NAME, "set": VALUE}``; None if no
    #: setting would allow it.
    change: Mapping[str, Any] | None
    #: How often it happened.
    count: int
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Event:
        line = raw.get("line")
        change = raw.get("change")
        return cls(
            at_ms=_whole(raw.get("at_ms")),
            source=_text(raw.get("source")),
            kind=_text(raw.get("kind")),
            subject=_text(raw.get("subject")),
            rule=_text(raw.get("rule")),
            line=line if isinstance(line, int) else None,
            remedy=_text(raw.get("remedy")),
            change=change if isinstance(change, dict) else None,
            count=_whole(raw.get("count")) or 1,
            raw=raw,
        )


class Display(Dict[str, Any]):
    """One object that the program showed: MIME type to data, as ``docs/displays.md`` has them.

    The data is text; base64 for pictures and PDF; whatever JSON says for types that are JSON. In a notebook the object
    shows itself. It is the program's: a browser has to take its HTML, SVG and JavaScript for hostile.
    """

    @property
    def mime(self) -> list[str]:
        """The types that it has."""
        return list(self)

    @property
    def text(self) -> str:
        return _text(self.get("text/plain"))

    @property
    def chart(self) -> dict[str, Any] | None:
        """What a figure says, as data; None for anything else."""
        chart = self.get("application/vnd.sandbox.chart+json")
        return chart if isinstance(chart, dict) else None

    @property
    def frame(self) -> Any:
        """A data frame or series (its head, where the member has ``truncated``); None for anything else."""
        return decode(self.get("application/vnd.sandbox.frame+json"))

    def data(self, mime: str) -> bytes:
        """The bytes of one type, to be written to a file. Raises KeyError, and ValueError for what are no bytes."""
        value = self[mime]
        if not isinstance(value, str):
            raise ValueError(f"{mime} is JSON, not bytes")
        if mime.startswith(("image/", "audio/", "video/", "application/pdf")) and mime != "image/svg+xml":
            return base64.b64decode(value, validate=True)
        return value.encode()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return dict(self)


@dataclass(frozen=True)
class Result:
    """Everything about one execution."""

    id: str
    #: ``ok``, ``error``, ``timeout``, ``memory``, ``cpu``, ``processes``, ``output``, ``disk``, ``denied``,
    #: ``killed`` or ``fault`` (our failure, never the program's).
    status: str
    #: The value of ``__result__`` if the program set it, else of a last bare expression.
    result: Any
    result_repr: str | None
    #: ``__result__``, ``expression`` or None.
    result_source: str | None
    stdout: str
    stderr: str
    truncated: Truncated
    error: ProgramError | None
    #: What the program showed, in order: figures, ``display(x)``, the value of its last expression.
    displays: list[Display]
    files: list[dict[str, Any]]
    usage: Usage
    events: list[Event]
    #: What kept each limit and each wall.
    enforced: Mapping[str, Any]
    policy: Mapping[str, Any]
    template: Any
    #: The JSON object as it came.
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    #: Index in ``displays`` of the value of the last expression, or None.
    result_display: int | None = None
    #: Id of the session, None for a program in a jail of its own.
    session: str | None = None
    #: How many programs the session has run, this one included.
    execution_count: int | None = None
    #: Why the session ended with this program, in words; None: it goes on.
    session_ended: str | None = None
    #: Whether the journal has it.
    recorded: bool = False

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def show(self) -> None:
        """Shows it to a person: output and displays in a notebook, their text elsewhere."""
        sys.stdout.write(self.stdout)
        sys.stderr.write(self.stderr)
        notebook = sys.modules.get("IPython.display")
        for item in self.displays:
            if notebook is not None:
                notebook.display(item)
            elif item.text:
                print(item.text)
        if self.error is not None:
            sys.stderr.write(self.error.traceback or f"{self.error.name}: {self.error.value}\n")

    def _ipython_display_(self) -> None:
        self.show()

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Result:
        """Never raises for a missing or an unknown member."""
        truncated = _mapping(raw.get("truncated"))
        usage = _mapping(raw.get("usage"))
        error = raw.get("error")
        place = raw.get("result_display")
        return cls(
            id=_text(raw.get("id")),
            status=_text(raw.get("status")) or "fault",
            result=decode(raw.get("result")),
            result_repr=_words(raw.get("result_repr")),
            result_source=_words(raw.get("result_source")),
            stdout=_text(raw.get("stdout")),
            stderr=_text(raw.get("stderr")),
            truncated=Truncated(_whole(truncated.get("stdout")), _whole(truncated.get("stderr"))),
            error=_program_error(error) if isinstance(error, dict) else None,
            displays=[Display(item) for item in _objects(raw.get("displays"))],
            files=_objects(raw.get("files")),
            usage=Usage(
                wall_ms=_number(usage.get("wall_ms")),
                cpu_ms=_number(usage.get("cpu_ms")),
                memory_peak_bytes=_whole(usage.get("memory_peak_bytes")),
                processes_peak=_whole(usage.get("processes_peak")),
                written_bytes=_whole(usage.get("written_bytes")),
                connections=_whole(usage.get("connections")),
                sent_bytes=_whole(usage.get("sent_bytes")),
                received_bytes=_whole(usage.get("received_bytes")),
            ),
            events=[Event.from_json(event) for event in _objects(raw.get("events"))],
            enforced=_mapping(raw.get("enforced")),
            policy=_mapping(raw.get("policy")),
            template=raw.get("template"),
            raw=raw,
            result_display=_count(place),
            session=_words(raw.get("session")),
            execution_count=_count(raw.get("execution_count")),
            session_ended=_words(raw.get("session_ended")),
            recorded=raw.get("recorded") is True,
        )


def _program_error(raw: Mapping[str, Any]) -> ProgramError:
    line = raw.get("line")
    value = raw.get("value")
    return ProgramError(
        name=_text(raw.get("name")),
        value=value if isinstance(value, str) else "" if value is None else str(value),
        traceback=_text(raw.get("traceback")),
        line=line if isinstance(line, int) else None,
    )
