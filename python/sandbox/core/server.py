# SPDX-License-Identifier: MIT
"""The private server: one ``sandbox serve`` for all sandboxes of this process that are recorded, one for the others.

It is started when the first program is to run, and ends

* at once by :meth:`Lease.end` (``Sandbox.cleanup()``) of the last sandbox that uses it,
* half a minute after the last one was left or forgotten, so that sandboxes made one after the other share it,
* with this process, however that ends: its stdin is a pipe whose other end only we hold.

A forked child does not use its parent's server and does not keep it alive; it starts one of its own.
"""

from __future__ import annotations

import atexit
import collections
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from sandbox.core.client import Client, ServerGone
from sandbox.exceptions import SandboxError

if sys.platform != "win32":  # where Sandbox takes a container, and nothing here is called
    import fcntl

__all__ = ["Lease", "find_binary", "journal_directory", "shutdown"]

_log = logging.getLogger("sandbox")

_START_S = 60.0
_END_S = 10.0
_LINGER_S = 30.0
_PREFIX = "sandbox-sdk-"
_SOCKET_PATH_MAX = 100  # of 107, the rest for the socket's own name
_STALE_UNLOCKED_S = 3600.0

_PACKAGE = Path(__file__).resolve().parent.parent


def find_binary() -> str:
    """The ``sandbox`` command: SANDBOX_BIN, in the wheel, in the checkout's build/, on PATH.

    Raises :class:`SandboxError` where there is none.
    """
    named = os.environ.get("SANDBOX_BIN")
    if named:
        if not os.access(named, os.X_OK) or os.path.isdir(named):
            raise SandboxError(f"SANDBOX_BIN is {named!r}, which is no program")
        return os.path.abspath(named)
    for path in (_PACKAGE / "_bin" / "sandbox", _PACKAGE.parent.parent / "build" / "sandbox"):
        if os.access(path, os.X_OK) and path.is_file():
            return str(path)
    for directory in os.get_exec_path():
        found = os.path.join(directory or ".", "sandbox")
        if os.access(found, os.X_OK) and os.path.isfile(found) and _is_elf(found):
            return os.path.abspath(found)
    raise SandboxError(
        "the `sandbox` command is not built: run `./dev build` in the checkout, or set SANDBOX_BIN to it"
    )


def _is_elf(path: str) -> bool:
    """The command that a wheel puts on PATH is a script that would look for the binary again."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


class _Server:
    """A running ``sandbox serve``, its directory and its lifeline. Belongs to the process that made it."""

    def __init__(self, recorded: bool) -> None:
        binary = find_binary()
        journal = _journal() if recorded else None
        self.wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.directory = _make_directory()
        self._held = _hold(self.directory)
        self._stderr: IO[bytes] = tempfile.TemporaryFile()
        path = os.path.join(self.directory, "s")
        try:
            self.process = subprocess.Popen(
                [binary, "serve", "--socket", path, "--exit-with-stdin",
                 *(["--no-journal"] if journal is None else ["--journal", journal])],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                start_new_session=True,  # an interrupt of the terminal is ours to handle
            )
        except OSError as exc:
            self._forget()
            raise SandboxError(f"{binary} cannot be started: {exc}") from exc
        self.client = Client(f"unix:{path}")
        try:
            self._wait(path)
        except BaseException:
            self.stop()
            raise

    def _wait(self, path: str) -> None:
        deadline = time.monotonic() + _START_S
        pause = 0.002
        while True:
            if self.process.poll() is not None:
                raise SandboxError(f"the sandbox server did not start: {self.last_words()}")
            if os.path.exists(path):
                try:
                    status, health = self.client.get("/v1/health")
                except ServerGone:
                    pass  # not listening yet, or about to end, which poll() tells
                else:
                    if status == 200:
                        return
                    raise SandboxError(f"the sandbox server is not well: {health}")
            if time.monotonic() > deadline:
                raise SandboxError(f"the sandbox server did not start within {_START_S:g} s: {self.last_words()}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def alive(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        """The end of what it wrote to stderr, for a message."""
        size = os.fstat(self._stderr.fileno()).st_size
        text = os.pread(self._stderr.fileno(), 2000, max(0, size - 2000)).decode("utf-8", "replace").strip()
        status = self.process.poll()
        if status is not None and status < 0:
            text += f" (ended by signal {-status})"
        elif status is not None:
            text += f" (exit status {status})"
        return text or "it said nothing"

    def stop(self) -> None:
        """Ends it and waits; everything that it started ends with it."""
        self.client.close()
        _close(self.process.stdin)
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            # Its engine and workers hang on a pipe of its own: they end with it, too.
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._forget()

    def _forget(self) -> None:
        self._stderr.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._held)

    def disown(self) -> None:
        """In a forked child: lets go of the descriptors, touches nothing else."""
        _close(self.process.stdin)
        self.process.returncode = 0  # not ours to wait for
        self._stderr.close()
        os.close(self._held)


def _journal() -> str | None:
    """The directory of the default journal, made if it is not there; None where it cannot be had, which is told."""
    directory = journal_directory()
    try:
        if directory is None:
            raise OSError("neither SANDBOX_JOURNAL nor XDG_STATE_HOME nor HOME is set")
        os.makedirs(os.path.dirname(directory), mode=0o700, exist_ok=True)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass
        state = os.stat(directory)
        if state.st_uid != os.geteuid() or state.st_mode & 0o077:
            raise OSError(f"{directory} has to be yours alone (chmod 700)")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise OSError(f"{directory} cannot be written")
    except OSError as exc:
        _log.warning("programs are not recorded: %s", exc)
        return None
    return directory


def journal_directory() -> str | None:
    """Where `sandbox run` and `sandbox log` have it, too: SANDBOX_JOURNAL, as root below /var/lib, else below
    XDG_STATE_HOME or ~/.local/state. None: nothing says where."""
    named = os.environ.get("SANDBOX_JOURNAL")
    if named:
        return os.path.abspath(named)
    if os.geteuid() == 0:
        return "/var/lib/interpreter-sandbox/journal"
    state, home = os.environ.get("XDG_STATE_HOME", ""), os.environ.get("HOME", "")
    if not state.startswith("/"):
        state = os.path.join(home, ".local/state") if home.startswith("/") else ""
    return os.path.join(state, "interpreter-sandbox/journal") if state else None


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        try:
            stream.close()
        except OSError:
            pass


def _make_directory() -> str:
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) + len(_PREFIX) + 10 > _SOCKET_PATH_MAX:
        base = "/tmp"
    _sweep(base)
    return tempfile.mkdtemp(prefix=_PREFIX, dir=base)


def _hold(directory: str) -> int:
    """A lock that says that the directory is in use, for as long as this process lives."""
    fd = os.open(os.path.join(directory, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _sweep(base: str) -> None:
    """Removes directories of processes that were killed."""
    try:
        found = [entry for entry in os.scandir(base) if entry.name.startswith(_PREFIX)]
    except OSError:
        return
    for entry in found:
        try:
            state = entry.stat(follow_symlinks=False)
            if state.st_uid != os.geteuid() or not entry.is_dir(follow_symlinks=False):
                continue
            try:
                fd = os.open(os.path.join(entry.path, "lock"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                # Between mkdtemp and the lock, unless it is old.
                if time.time() - state.st_mtime > _STALE_UNLOCKED_S:
                    shutil.rmtree(entry.path, ignore_errors=True)
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(fd)
        except OSError:
            continue  # in use, or gone


class _Shared:
    """A server of this process and who uses it. recorded: its programs go into the journal."""

    def __init__(self, recorded: bool) -> None:
        self._recorded = recorded
        self.lock = threading.Lock()
        self.server: _Server | None = None
        self._users = 0
        self._left: collections.deque[None] = collections.deque()  # each one a user that is not counted out yet

    def client(self) -> Client:
        with self.lock:
            if self.server is not None and not self.server.alive():
                self._stop()
            if self.server is None:
                server = _Server(self._recorded)
                self.server = server
                threading.Thread(target=self._tend, args=(server,), name="sandbox-server", daemon=True).start()
            return self.server.client

    def await_end(self, client: Client) -> bool:
        with self.lock:
            server = self.server
        if server is None or server.client is not client:
            return True
        try:
            server.process.wait(2.0)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        with self.lock:
            if self.server is None or self.server.alive():
                return ""
            return f": {self.server.last_words()}"

    def enter(self) -> None:
        with self.lock:
            self._users += 1

    def leave(self) -> None:
        """Takes no lock: it runs as a finalizer, in whatever the collector interrupted."""
        self._left.append(None)
        server = self.server
        if server is not None:
            server.wake.put(None)

    def stop_if_unused(self) -> None:
        with self.lock:
            if self._count() == 0:
                self._stop()

    def stop(self) -> None:
        with self.lock:
            self._stop()

    def _count(self) -> int:
        while self._left:
            self._left.popleft()
            self._users -= 1
        return self._users

    def _stop(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            server.stop()
            server.wake.put(None)

    def _tend(self, server: _Server) -> None:
        """A thread for each server: ends it when it has had no user for a while."""
        patience: float | None = None
        while True:
            try:
                server.wake.get(timeout=patience)
                waited = False
            except queue.Empty:
                waited = True
            with self.lock:
                if self.server is not server:
                    return
                unused = self._count() == 0
                if unused and waited:
                    self._stop()
                    return
            patience = _LINGER_S if unused else None


class Lease:
    """One sandbox's claim on the server."""

    def __init__(self, recorded: bool = True) -> None:
        """recorded: on a server whose programs go into the default journal."""
        self._recorded = recorded
        self._shared = _of(recorded)
        self._shared.enter()

    def client(self) -> Client:
        """Starts the server if it does not run (any more). Raises :class:`SandboxError`."""
        if self._shared is not _of(self._recorded):  # in a forked child: another server
            self._shared = _of(self._recorded)
            self._shared.enter()
        return self._shared.client()

    def await_end(self, client: Client) -> bool:
        """Whether the server of this client has ended or does so within two seconds."""
        return self._shared.await_end(client)

    def last_words(self) -> str:
        return self._shared.last_words()

    def release(self) -> None:
        """To be called once. The server lingers. Takes no lock: fit for a finalizer."""
        if self._shared is _of(self._recorded):
            self._shared.leave()

    def end(self) -> None:
        """After release(): the server does not linger if nobody else uses it."""
        if self._shared is _of(self._recorded):
            self._shared.stop_if_unused()


_shared = _Shared(True)
_unrecorded = _Shared(False)


def _of(recorded: bool) -> _Shared:
    return _shared if recorded else _unrecorded


def shutdown() -> None:
    """Ends the servers now, whoever uses them; the next program starts a new one."""
    _shared.stop()
    _unrecorded.stop()


def _after_fork() -> None:
    global _shared, _unrecorded
    servers = (_shared.server, _unrecorded.server)
    _shared, _unrecorded = _Shared(True), _Shared(False)
    for server in servers:
        if server is not None:
            server.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(shutdown)
