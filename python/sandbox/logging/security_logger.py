# SPDX-License-Identifier: MIT
"""The security journal: what ran, what it used, what it tried.

The journal itself is written by the engine and chained with a key that no program and no SDK has. This module reads
and follows it, and keeps the text file of the first version beside it:

>>> from sandbox import Sandbox
>>> from sandbox.logging.security_logger import SecurityLogger
>>> with Sandbox() as box:
...     _ = box.run("import os")
>>> for record in SecurityLogger(log_dir=None).records(limit=1):
...     print(record["status"], record["code"])
denied import os
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import threading
import time
import unicodedata
import urllib.parse
from pathlib import Path
from types import TracebackType
from typing import Any, Iterator, TextIO

from sandbox.core.client import Client
from sandbox.core.server import find_binary
from sandbox.exceptions import SandboxError

__all__ = ["Record", "SecurityLogger"]

#: One record of the journal: the members of docs/log.md.
Record = dict[str, Any]

_POLL_S = 0.5
_PAGE = 200
_FIELD_MAX = 500
_END_S = 5.0


class SecurityLogger:
    """Reads and follows the journal; writes ``security-YYYYmmdd-HHMMSS.log`` into ``log_dir``.

    The journal is that of ``SANDBOX_URL`` if it is set, else the one in ``journal``, else the default one of this
    user, which sandboxes with ``enable_logging=True`` are recorded in. Threads may share one logger.

    >>> logger = SecurityLogger(log_dir="./logs")       # doctest: +SKIP
    >>> for record in logger.follow():                  # doctest: +SKIP
    ...     print(record["record"], record.get("status"))
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None = "./logs",
                 journal: str | os.PathLike[str] | None = None) -> None:
        """log_dir: where the text file goes, made with its first line; None: there is none. journal: a directory.

        Nothing is opened yet. Raises :class:`SandboxError` for a malformed ``SANDBOX_URL``.
        """
        self.log_dir = None if log_dir is None else Path(log_dir)
        #: The text file, once it is there.
        self.log_file: Path | None = None
        self._journal = None if journal is None else os.fspath(journal)
        url = os.environ.get("SANDBOX_URL") if journal is None else None
        self._client = Client(url, os.environ.get("SANDBOX_TOKEN")) if url else None
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._execution: str | None = None
        self._started = 0.0

    # reading the journal

    def records(self, *, limit: int = 50, status: str | None = None, since: str | None = None,
                until: str | None = None, text: str | None = None, session: str | None = None,
                event: str | None = None) -> Iterator[Record]:
        """The newest executions that all filters fit, newest first; at most ``limit``.

        since, until: as of ``sandbox log list``: ``2h`` ago, ``2026-11-24``, ``2026-11-24T16:20``. text: words in
        code, output or subjects. Raises :class:`SandboxError` where the journal cannot be read.
        """
        filters = {"status": status, "since": since, "until": until, "text": text, "session": session, "event": event}
        given = {name: value for name, value in filters.items() if value is not None}
        if self._client is None:
            words = [f"--{name}={value}" for name, value in given.items()]
            return self._command("list", f"--limit={limit}", *words)
        for name in ("since", "until"):
            if name in given:
                given[name] = _moment(given[name])
        return self._pages(self._client, limit, given)

    def __iter__(self) -> Iterator[Record]:
        return self.records(limit=1_000_000)

    def show(self, execution: str) -> Record:
        """Everything about one execution: code, verdict, result, output, events, samples, files.

        Raises :class:`SandboxError` where there is no such execution.
        """
        if self._client is not None:
            return _checked(self._client.get(f"/v1/executions/{urllib.parse.quote(execution, safe='')}"))
        if execution.startswith("-"):
            raise SandboxError(f"{execution!r} is no id of an execution")
        for record in self._command("show", execution):
            return record
        raise SandboxError(f"there is no execution {execution}")

    def verify(self) -> Record:
        """Whether the journal is as it was written: ``{"ok": bool, "finding": ..., ...}``. Local journals only."""
        if self._client is not None:
            raise SandboxError("a journal is verified where it lies: run `sandbox log verify` there")
        for record in self._command("verify", may_find=True):
            return record
        raise SandboxError("verifying gave no answer")

    def follow(self, *, after: int | None = None) -> Iterator[Record]:
        """New records as they are committed, without end: ``record`` is ``begin``, ``event``, ``verdict`` or
        ``session`` (over HTTP only ``verdict``). Each goes into the text file, too.

        after: begin behind the execution of this ``seq`` instead of now. Closing the iterator ends it.
        """
        source = self._poll(self._client, after) if self._client is not None else self._command(
            "follow", *([] if after is None else [f"--after={after}"]))
        try:
            for record in source:
                if record.get("record") != "following":
                    self._write_record(record)
                    yield record
        finally:
            source.close()  # type: ignore[attr-defined]

    def _command(self, verb: str, *words: str, may_find: bool = False) -> Iterator[Record]:
        journal = [] if self._journal is None else [f"--journal={self._journal}"]
        process = subprocess.Popen(
            [find_binary(), "log", verb, "--json", *journal, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )
        assert process.stdout is not None and process.stderr is not None
        said: list[bytes] = []
        listener = threading.Thread(target=_drain, args=(process.stderr, said), daemon=True)
        listener.start()
        whole = False
        try:
            for line in process.stdout:
                yield _record(line)
            whole = True
        finally:
            if not whole:
                process.terminate()
            process.stdout.close()
            try:
                process.wait(_END_S if not whole else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            listener.join()
            process.stderr.close()
        if process.returncode not in ((0, 1) if may_find else (0,)):
            words_said = b"".join(said).decode("utf-8", "replace").strip().removeprefix("sandbox: ")
            raise SandboxError(words_said or f"`sandbox log {verb}` ended with {process.returncode}")

    def _pages(self, client: Client, limit: int, given: dict[str, str]) -> Iterator[Record]:
        before: int | None = None
        while limit > 0:
            query: dict[str, str] = {**given, "limit": str(min(limit, _PAGE))}
            if before is not None:
                query["before"] = str(before)
            page = _list(client, query)
            for record in page:
                yield record
            limit -= len(page)
            if len(page) < int(query["limit"]) or not page:
                return
            before = int(page[-1]["seq"])

    def _poll(self, client: Client, after: int | None) -> Iterator[Record]:
        newest = _list(client, {"limit": "1"})
        seen = after if after is not None else (int(newest[0]["seq"]) if newest else 0)
        open_: set[int] = set()
        while True:
            # What is still running is looked at again until it has its verdict.
            fresh: list[Record] = []
            least = min(open_, default=seen + 1)
            before: int | None = None
            while True:
                query = {"limit": str(_PAGE)}
                if before is not None:
                    query["before"] = str(before)
                page = _list(client, query)
                fresh += [record for record in page if int(record["seq"]) >= least]
                if len(page) < _PAGE or int(page[-1]["seq"]) <= least:
                    break
                before = int(page[-1]["seq"])
            for record in reversed(fresh):
                number = int(record["seq"])
                if number <= seen and number not in open_:
                    continue
                if record.get("status") == "running":
                    open_.add(number)
                else:
                    open_.discard(number)
                    yield {**record, "record": "verdict"}
                seen = max(seen, number)
            time.sleep(_POLL_S)

    # the text file of the first version

    def start_execution(self, code: str, execution_id: str | None = None) -> str:
        """A program is about to run. Returns its id: the given one, else one that is made up."""
        self._execution = execution_id or os.urandom(16).hex()
        self._started = time.monotonic()
        self._write("INFO", "execution started", id=self._execution, code=code)
        return self._execution

    def log_resource_usage(self, memory_mb: float, cpu_percent: float) -> None:
        """memory_mb: MiB in use. cpu_percent: of one core."""
        self._write("INFO", "resource usage", memory_mb=f"{memory_mb:.2f}", cpu_percent=f"{cpu_percent:.1f}")

    def log_file_access(self, path: str | os.PathLike[str], mode: str = "r", allowed: bool = True) -> None:
        self._write(_level(allowed), "file access", path=os.fspath(path), mode=mode, allowed=allowed)

    def log_network_access(self, host: str, port: int | None = None, allowed: bool = True) -> None:
        self._write(_level(allowed), "network access", host=host, port=port, allowed=allowed)

    def log_module_import(self, module: str, allowed: bool = True) -> None:
        self._write(_level(allowed), "module import", module=module, allowed=allowed)

    def log_error(self, error: BaseException | str) -> None:
        name = type(error).__name__ if isinstance(error, BaseException) else "error"
        self._write("ERROR", "error", name=name, value=str(error))

    def end_execution(self, status: str | bool = "ok", result: object = None) -> None:
        """status: a verdict's name; True is ``ok``, False ``error``."""
        word = status if isinstance(status, str) else "ok" if status else "error"
        self._write("INFO" if word == "ok" else "WARNING", "execution ended", status=word,
                    seconds=f"{time.monotonic() - self._started:.3f}" if self._started else None,
                    result=None if result is None else repr(result))
        self._execution, self._started = None, 0.0

    def close(self) -> None:
        """Closes the text file; the next line begins a new one."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def __enter__(self) -> SecurityLogger:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def _write_record(self, record: Record) -> None:
        kind = record.get("record")
        if kind == "begin":
            self._write("INFO", "execution started", id=record.get("id"), caller=record.get("caller"),
                        code=record.get("code"))
        elif kind == "verdict":
            status = record.get("status")
            self._write("INFO" if status == "ok" else "WARNING", "execution ended", id=record.get("id"), status=status,
                        wall_ms=record.get("wall_ms"), cpu_ms=record.get("cpu_ms"),
                        memory_peak_bytes=record.get("memory_peak_bytes"), error=record.get("error"))
        elif kind == "event":
            name = {"import": "module import", "module": "module import", "open": "file access", "path": "file access",
                    "connect": "network access", "host": "network access",
                    "connection": "network access"}.get(str(record.get("kind")), str(record.get("kind")))
            reached = record.get("kind") == "connection"
            self._write(_level(reached), name, id=record.get("execution"), subject=record.get("subject"),
                        source=record.get("source"), allowed=reached)
        else:
            self._write("INFO", f"session {record.get('what')}", id=record.get("id"))

    def _write(self, level: str, what: str, **fields: object) -> None:
        if self.log_dir is None:
            return
        now = datetime.datetime.now()
        parts = "".join(f" {key}={_field(value)}" for key, value in fields.items() if value is not None)
        line = f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03d} - {level} - {_plain(what)}{parts}\n"
        with self._lock:
            if self._file is None:
                self._file = self._open(self.log_dir, now)
            self._file.write(line)
            self._file.flush()

    def _open(self, directory: Path, now: datetime.datetime) -> TextIO:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log_file = directory / f"security-{now:%Y%m%d-%H%M%S}.log"
        # Loggers of the same second share the file: a line is one write.
        fd = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace")


def _level(allowed: bool) -> str:
    return "INFO" if allowed else "WARNING"


_UNSAFE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufeff]")


def _plain(text: str) -> str:
    """The text in one line that neither a terminal nor a reader takes for another."""
    out = []
    for character in text:
        if unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp") \
                or _UNSAFE.match(character):
            out.append(character.encode("unicode_escape").decode("ascii"))
        else:
            out.append(character)
    return "".join(out)


def _field(value: object) -> str:
    """What a program wrote is in quotes, so that it ends no field and no line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value}"
    text = str(value)
    short = text[:_FIELD_MAX]
    quoted = json.dumps(short, ensure_ascii=False)
    return _plain(quoted) + ("..." if len(text) > _FIELD_MAX else "")


def _moment(text: str) -> str:
    """A time as `sandbox log` takes it, in seconds since 1970, which HTTP takes."""
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if match:
        return str(time.time() - int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[match[2]])
    if re.fullmatch(r"@\d{1,12}", text):
        return text[1:]
    try:
        when = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError as exc:
        raise SandboxError(f"{text!r} is neither a time nor a length of time") from exc
    return str(when.timestamp())


def _drain(stream: Any, into: list[bytes]) -> None:
    for line in stream:
        if sum(map(len, into)) < 8192:
            into.append(line)


def _record(line: bytes) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise SandboxError(f"the journal's answer is no JSON: {exc}") from exc
    if not isinstance(record, dict):
        raise SandboxError("the journal's answer is no record")
    return record


def _checked(answer: tuple[int, Any]) -> Record:
    status, body = answer
    if status == 200 and isinstance(body, dict):
        return body
    words = body.get("detail") or body.get("title") or body if isinstance(body, dict) else body
    raise SandboxError(f"the server answered {status}: {str(words)[:_FIELD_MAX]}")


def _list(client: Client, query: dict[str, str]) -> list[Record]:
    body = _checked(client.get("/v1/executions?" + urllib.parse.urlencode(query)))
    page = body.get("executions")
    if not isinstance(page, list):
        raise SandboxError("the server's answer has no executions")
    return [record for record in page if isinstance(record, dict)]
