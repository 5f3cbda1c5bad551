# SPDX-License-Identifier: MIT
"""What a model is told: the policy before it writes a program, and after one what was denied and what to do instead."""

from __future__ import annotations

from typing import Iterable

from sandbox.config.settings import SandboxSettings
from sandbox.core.result import LIMITS, Event, Result

__all__ = ["HeadTail", "outcome", "policy", "summary"]

_SHOWN = 5  # denials told one by one


def policy(settings: SandboxSettings) -> str:
    """The settings in words for a system message."""
    lines = [
        "Python runs in a sandbox, not on the user's machine itself. State is kept from one block to the next. "
        f"One block may take {settings.max_execution_time:g} seconds and {settings.max_memory_mb} MB of memory.",
        _modules(settings),
        _files(settings),
        _network(settings),
        "Other programs (subprocess, pip, shell commands) can be run."
        if settings.allow_subprocess
        else "Other programs cannot be run: no subprocess, no shell, no pip; only what is installed can be imported.",
        "These rules are kept by the kernel and cannot be got around. Where one is in the way, find another way within "
        "them, or tell the user which setting would have to be changed.",
    ]
    return "\n".join(lines)


def _modules(settings: SandboxSettings) -> str:
    if not settings.allow_imports:
        return "Nothing can be imported."
    if "*" in settings.allowed_modules:
        return "Every installed module can be imported."
    return f"Only these modules can be imported: {', '.join(settings.allowed_modules) or 'none'}."


def _files(settings: SandboxSettings) -> str:
    if not settings.allow_file_operations:
        return "Files cannot be opened."
    granted = f" and these of the user's: {', '.join(settings.allowed_directories)}" if settings.allowed_directories else ""
    return f"Files can be used in the working directory{granted}. No other files of the user can be seen."


def _network(settings: SandboxSettings) -> str:
    if not settings.network_access:
        return "There is no network: nothing can be downloaded, no service can be reached."
    hosts = "public hosts" if settings.allowed_hosts == ["*"] else ", ".join(settings.allowed_hosts) or "no host"
    return f"The network can be used for: {hosts}."


def outcome(result: Result, settings: SandboxSettings) -> str:
    """What the program's own output does not say of its end: denials, a limit, a lost session. Empty: nothing."""
    lines = [_denied(event, settings) for event in _denials(result.events)[:_SHOWN]]
    more = len(_denials(result.events)) - _SHOWN
    if more > 0:
        lines.append(f"[sandbox] {more} more operations were not allowed.")
    limit = LIMITS.get(result.status)
    if limit is not None:
        lines.append(f"[sandbox] {_limit(result.status, settings)} (The limit is the setting {limit}.)")
    elif result.status == "killed":
        lines.append("[sandbox] The program was stopped.")
    elif result.status == "fault":
        said = result.error.value if result.error is not None else ""
        lines.append(f"[sandbox] The sandbox failed, not the program: {said}. Tell the user.")
    if result.session_ended is not None:
        lines.append(
            f"[sandbox] The session ended ({result.session_ended}): variables, imports and files in the working "
            "directory are gone. Define again what you need."
        )
    return "\n".join(lines)


def _denials(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.kind not in ("connection", "limit")]


def _denied(event: Event, settings: SandboxSettings) -> str:
    at = f" (line {event.line})" if event.line is not None else ""
    if event.kind == "import":
        instead = _modules(settings) + " Do it without, or with the standard library where that is allowed."
    elif event.kind in ("open", "path", "write", "list"):
        instead = _files(settings) + " Use those, or ask the user to grant the directory."
    elif event.kind in ("socket", "connect", "name"):
        instead = _network(settings) + " Work with data that is there, or ask the user for it."
    elif event.kind in ("exec", "subprocess"):
        instead = "Other programs cannot be run. Do it in Python." if not settings.allow_subprocess else ""
    else:
        instead = "Do it another way."
    remedy = f" (The user could allow it: {event.remedy}.)" if event.remedy else ""
    return f"[sandbox] Not allowed: {event.kind} {event.subject}{at}. {instead}{remedy}"


def _limit(status: str, settings: SandboxSettings) -> str:
    return {
        "timeout": f"Stopped after {settings.max_execution_time:g} seconds. Do less at once: a part of the data, a "
        "better algorithm, or several blocks.",
        "memory": f"Stopped: it needed more than {settings.max_memory_mb} MB of memory. Work on smaller parts, and "
        "delete what is not needed any more.",
        "cpu": f"Stopped after {settings.max_cpu_time:g} seconds of CPU. Do less at once.",
        "processes": f"More than {settings.max_processes} threads and processes. Use fewer.",
        "output": "Stopped: far too much output. Print a summary, or write to a file in the working directory.",
        "disk": f"The {settings.max_disk_mb} MB of the private disk are full. Delete files, or write less.",
    }[status]


class HeadTail:
    """Cuts a text that comes in pieces: what fits at its head goes through at once, of the rest the end is kept."""

    def __init__(self, head: int, tail: int) -> None:
        """head, tail: characters, tail at least 1."""
        self._room = head
        self._keep = tail
        self._tail = ""
        self._seen = 0  # behind the head

    def feed(self, text: str) -> str:
        """What of it is to be shown now."""
        now, rest = text[: self._room], text[self._room :]
        self._room -= len(now)
        self._seen += len(rest)
        self._tail = (self._tail + rest)[-self._keep :]
        return now

    @property
    def omitted(self) -> int:
        """Characters between head and tail."""
        return self._seen - len(self._tail)

    @property
    def tail(self) -> str:
        return self._tail


def summary(result: Result, settings: SandboxSettings, limit: int = 2800) -> str:
    """All of a result as one text of about so many characters: output, value, error, outcome."""
    parts = [result.stdout, result.stderr]
    if result.result_source is not None and result.result_repr is not None:
        parts.append(result.result_repr)
    elif result.result_display is not None and result.result_display < len(result.displays):
        parts.append(result.displays[result.result_display].text)
    if result.error is not None and result.status in ("error", "denied"):
        if result.error.traceback.strip() not in result.stderr:
            parts.append(result.error.traceback or f"{result.error.name}: {result.error.value}")
    end = outcome(result, settings)[: limit // 2]
    room = limit - len(end)
    cut = HeadTail(room // 2, max(1, room - room // 2))
    text = cut.feed("\n".join(part.rstrip("\n") for part in parts if part))
    if cut.omitted:
        text += f"\n[... {cut.omitted} characters left out ...]\n"
    text += cut.tail
    return "\n".join(part for part in (text, end) if part) or "(no output)"
