# SPDX-License-Identifier: MIT
"""Open Interpreter (the Python program, 0.2 to 0.4) whose every block runs in the sandbox.

Its package is imported by :meth:`InterpreterSandbox.chat` only. With an interpreter of your own::

    from interpreter import interpreter
    from sandbox.integration.interpreter import InterpreterSandbox

    InterpreterSandbox().attach(interpreter)
    interpreter.chat("Plot the first ten squares.")
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any, Iterator

from sandbox.config.settings import SandboxSettings
from sandbox.core.result import Display, Result
from sandbox.core.sandbox import Sandbox
from sandbox.core.session import Session
from sandbox.exceptions import SandboxError, SessionEnded
from sandbox.integration import report

__all__ = ["InterpreterSandbox"]

_SHOWN = 2800  # characters: of more Open Interpreter drops the head
_HEAD = 1000
_OUTCOME = 900
_POLL_S = 0.05
_INTERRUPTED_S = 10.0

_SYSTEM = (
    "You are Open Interpreter. You reach the user's goal by writing Python and running it. Work in small steps: run a "
    "block, look at its output, go on. Write to the user in Markdown."
)


class InterpreterSandbox:
    """One conversation with Open Interpreter, and the one session that its blocks run in.

    The model is the one that ``INTERPRETER_MODEL``, ``INTERPRETER_API_BASE`` and ``INTERPRETER_API_KEY`` name, where
    they are set. Neither they nor anything else of the environment reaches a program.
    """

    def __init__(self, settings: SandboxSettings | None = None, enable_logging: bool = True) -> None:
        """settings: kept as given; the preset ``data`` if None. enable_logging: as of :class:`Sandbox`."""
        self._sandbox = Sandbox(SandboxSettings.preset("data") if settings is None else settings, enable_logging)
        self._terminal = _Terminal(self._sandbox)
        self._interpreter: Any = None
        #: The class for ``interpreter.computer.languages``.
        self.language = _language(self._terminal)

    @property
    def settings(self) -> SandboxSettings:
        return self._sandbox.settings

    def attach(self, interpreter: Any) -> None:
        """Makes this sandbox the only place where that interpreter runs code: Python here, nothing else anywhere.

        Raises :class:`SandboxError` if it is set to put the host's code into programs: ``import_computer_api``,
        ``import_skills``, ``sync_computer``.
        """
        refused = _injections(interpreter.computer)
        if refused:
            raise SandboxError(f"{refused} of the interpreter has to be off: it would put the host's code in")
        interpreter.computer.terminate()
        interpreter.computer.languages = [self.language]

    def chat(self, message: str, display: bool = False) -> dict[str, Any]:
        """Sends the message; the model's blocks run here, without asking, until it is done.

        ``{"type": "success", "result": MESSAGES}``, Open Interpreter's messages that are new, or ``{"type": "error",
        "error": NAME, "message": TEXT}``, without its package, too. display: show it on the terminal, too.
        """
        try:
            return {"type": "success", "result": self._ready().chat(message, display=display, stream=False)}
        except Exception as exc:
            return {"type": "error", "error": type(exc).__name__, "message": str(exc) or repr(exc)}

    def update_settings(self, settings: SandboxSettings) -> None:
        """From the next block on, which begins with a new session: variables and files of the old one are gone."""
        self._sandbox.update_settings(settings)
        self.language.system_message = report.policy(settings)
        self._terminal.renew("the settings were changed")

    def is_path_allowed(self, path: str | os.PathLike[str]) -> bool:
        return self._sandbox.is_path_allowed(path)

    def allow_network_access(self) -> bool:
        return self._sandbox.allow_network_access()

    def allow_file_operations(self) -> bool:
        return self._sandbox.allow_file_operations()

    def cleanup(self) -> None:
        """Ends the session, and the server if nobody else uses it. Can be used again."""
        self._terminal.terminate()
        self._sandbox.cleanup()

    def __enter__(self) -> InterpreterSandbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cleanup()

    def _ready(self) -> Any:
        if self._interpreter is None:
            try:
                from interpreter import OpenInterpreter  # type: ignore[import-not-found, unused-ignore]
            except ImportError as exc:
                raise SandboxError(
                    f"Open Interpreter is not installed ({exc}): pip install 'open-interpreter>=0.2,<0.5'"
                ) from exc
            made = OpenInterpreter(auto_run=True, disable_telemetry=True, conversation_history=False)
            self.attach(made)
            made.system_message = _SYSTEM
            for name, key in (("model", "MODEL"), ("api_base", "API_BASE"), ("api_key", "API_KEY")):
                value = os.environ.get(f"INTERPRETER_{key}")
                if value:
                    setattr(made.llm, name, value)
            self._interpreter = made
        return self._interpreter


def _injections(computer: Any) -> str:
    """Which of the settings is on that put the host's code into programs."""
    on = [name for name in ("import_computer_api", "import_skills") if getattr(computer, name, False)]
    if getattr(getattr(computer, "interpreter", None), "sync_computer", False):
        on.append("sync_computer")
    return ", ".join(on)


def _language(terminal: _Terminal) -> Any:
    """The class: a new one for each sandbox, since Open Interpreter makes the instances, one for each name used."""

    class Python:
        name = "Python"
        file_extension = "py"
        aliases = ["py", "python3"]
        system_message = report.policy(terminal.sandbox.settings)

        # Open Interpreter counts the parameters: a second one gets the computer.
        def __init__(self, computer: Any = None) -> None:
            self.computer = computer

        def run(self, code: str) -> Iterator[dict[str, Any]]:
            refused = _injections(self.computer)
            if refused:
                yield _text(f"[sandbox] Not run: {refused} has to be off, it would put the host's code in.")
                return
            yield from terminal.run(code, getattr(self.computer, "interpreter", None))

        def stop(self) -> None:
            terminal.stop()

        def terminate(self) -> None:
            terminal.terminate()

    return Python


class _Terminal:
    """The session that all names of the language share, and the one block that may run in it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._running = self._stopping = False
        self._note = ""
        self._count = 0

    def run(self, code: str, interpreter: Any) -> Iterator[dict[str, Any]]:
        with self._lock:
            session = self._session
            if session is None:
                session = self._session = self.sandbox.session()
            note, self._note = self._note, ""
            self._count += 1
            chunks = _Chunks(self.sandbox.settings, f"output-{self._count}.txt")
            self._running = True
        items: queue.Queue[Any] = queue.Queue(64)
        reader = threading.Thread(target=_read, args=(session, code, items), name="sandbox-block", daemon=True)
        reader.start()
        ended = False
        try:
            if note:
                yield _text(note)
            yield {"type": "console", "format": "active_line", "content": _first_line(code)}
            while True:
                event = getattr(interpreter, "stop_event", None)
                try:
                    item = items.get(timeout=_POLL_S)
                except queue.Empty:
                    if self._stopping or (event is not None and event.is_set()):
                        # Again and again: one that comes before the program has begun is lost.
                        self.stop()
                    continue
                if isinstance(item, BaseException):
                    ended = True
                    yield from chunks.failed(item)
                    break
                yield from chunks.of(item)
                if item["type"] == "result":
                    ended = True
                    yield from chunks.end(item["result"], session)
                    break
        finally:
            over = ended or self._end(items, reader)
            with self._lock:
                self._running = self._stopping = False
                lost = chunks.lost or not over
                if self._session is session and lost:
                    self._session = None
            if lost:
                session.close()

    def _end(self, items: queue.Queue[Any], reader: threading.Thread) -> bool:
        """Waits until a block that nobody looks at any more is over: the next must not meet its output."""
        deadline = time.monotonic() + _INTERRUPTED_S
        while reader.is_alive() and time.monotonic() < deadline:
            self.stop()
            while not items.empty():
                items.get_nowait()
            reader.join(_POLL_S * 4)
        return not reader.is_alive()

    def stop(self) -> None:
        """Interrupts the block that runs, if any; the state is kept."""
        with self._lock:
            session = self._session if self._running else None
            self._stopping = session is not None
        if session is not None:
            try:
                session.interrupt()
            except SandboxError:
                pass  # its session or server has ended, and the block with it

    def terminate(self) -> None:
        """Ends the session; the next block begins a new one."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def renew(self, why: str) -> None:
        with self._lock:
            had = self._session is not None
        self.terminate()
        if had:
            self._note = f"[sandbox] A new session, since {why}: earlier variables, imports and files are gone.\n"


def _read(session: Session, code: str, items: queue.Queue[Any]) -> None:
    """A thread: what happens in the session, for a reader that may look away."""
    try:
        for item in session.stream(code):
            if item["type"] in ("stdout", "stderr", "display", "event", "result"):
                items.put(item)
    except BaseException as exc:
        items.put(exc)


def _first_line(code: str) -> int:
    for number, line in enumerate(code.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            return number
    return 1


def _text(content: str) -> dict[str, Any]:
    return {"type": "console", "format": "output", "content": content}


def _harmless(text: str) -> str:
    """Without the marks that a program could steer Open Interpreter with; it looks for them in each chunk."""
    return text.replace("@@@RECIPIENT:", "@@ @RECIPIENT:").replace("@@@HIDE_TRACEBACK@@@", "@@ @HIDE_TRACEBACK@@ @")


class _Chunks:
    """What happens in a session as Open Interpreter's chunks. Never two images in a row, which it would join into a
    broken one; never HTML at the end, which it would run; no content that is empty or None."""

    def __init__(self, settings: SandboxSettings, rest: str) -> None:
        """rest: name of the file for the output that is not shown."""
        self._settings = settings
        self._rest = rest
        self._cut = report.HeadTail(_HEAD, _SHOWN - _HEAD - _OUTCOME - 200)
        self._last = "console"
        #: The session is no more.
        self.lost = False

    def of(self, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind = item["type"]
        if kind in ("stdout", "stderr"):
            yield from self._say(self._cut.feed(item["text"]))
        elif kind == "display":
            yield from self._show(item["bundle"])
        elif kind == "event" and isinstance(item.get("line"), int):
            yield {"type": "console", "format": "active_line", "content": item["line"]}

    def end(self, result: Result, session: Session) -> Iterator[dict[str, Any]]:
        if result.error is not None and result.error.line is not None:
            yield {"type": "console", "format": "active_line", "content": result.error.line}
        if self._cut.omitted:
            yield from self._say(f"\n[... {self._cut.omitted} characters left out{self._keep(result, session)} ...]\n")
        yield from self._say(self._cut.tail)
        told = report.outcome(result, self._settings)
        if told:
            yield from self._say("\n" + (told if len(told) <= _OUTCOME else told[: _OUTCOME - 4] + " ..."))
        if self._last == "html":
            yield from self._say("\n")
        self.lost = result.session_ended is not None

    def failed(self, exc: BaseException) -> Iterator[dict[str, Any]]:
        if isinstance(exc, SessionEnded):
            self.lost = True
            yield from self._say(
                f"[sandbox] Not run: {exc}. Variables, imports and files are gone. Run again what you need."
            )
        else:
            # A server that is gone has no session either.
            self.lost = not (isinstance(exc, SandboxError) and exc.name == "Busy")
            yield from self._say(f"[sandbox] Not run: {exc}. This is no fault of the program: tell the user.")

    def _say(self, text: str) -> Iterator[dict[str, Any]]:
        if text:
            self._last = "console"
            yield _text(_harmless(text))

    def _show(self, bundle: Display) -> Iterator[dict[str, Any]]:
        for mime in ("image/png", "image/jpeg"):
            data = bundle.get(mime)
            if isinstance(data, str) and data:
                if self._last == "image":
                    yield from self._say("\n")
                self._last = "image"
                yield {"type": "image", "format": "base64." + mime[len("image/") :], "content": "".join(data.split())}
                return
        html = bundle.get("text/html")
        if isinstance(html, str) and html:
            if self._last == "html":  # they would be joined, too
                yield from self._say("\n")
            self._last = "html"
            yield {"type": "code", "format": "html", "content": html}
        yield from self._say(self._cut.feed(bundle.text + "\n" if bundle.text else ""))

    def _keep(self, result: Result, session: Session) -> str:
        """Puts the whole where the model can read it; says where."""
        if self._settings.allow_file_operations and result.session_ended is None:
            try:
                session.files.put(self._rest, result.stdout + result.stderr)
                return f"; all of it is in the file {self._rest} of the working directory"
            except SandboxError:
                pass  # the disk is full, or the server is gone: said below
        return f"; the record of execution {result.id} has them" if result.recorded else "; print less at once"
