# SPDX-License-Identifier: MIT
"""Everything ends (INV-5): after each run, and when a part of us is killed half-way."""
import ctypes
import fcntl
import glob
import os
import signal
import subprocess
import time

import pytest

from runner import BINARY, run_command, settings


def children(pid: int) -> list[int]:
    out: list[int] = []
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(task) as f:
                out += map(int, f.read().split())
        except OSError:
            pass
    return out


def descendants(others: set[int]) -> dict[int, str]:
    """Everything that came from this test, orphans included, since it adopts them (PR_SET_CHILD_SUBREAPER). Not what
    `others`, children of this process from before it, have made: a server of another file's fixture, the SDK's."""
    found, todo = {}, [pid for pid in children(os.getpid()) if pid not in others]
    while todo:
        pid = todo.pop()
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                found[pid] = f.read().replace("\0", " ")
        except OSError:
            continue
        todo += children(pid)
    return found


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def orphaned_groups() -> set[str]:
    """Groups of instances that live no more: their names are `sandbox-<id>`, and a live one holds a file with its id."""
    alive = set()
    for claim in [*glob.glob("/run/interpreter-sandbox/*"), *glob.glob("/tmp/interpreter-sandbox-*/*")]:
        try:
            with open(claim) as f:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            with open(claim) as f:
                alive.add(f.read())
        except OSError:
            pass
    return {g for g in glob.glob("/sys/fs/cgroup/**/sandbox-*", recursive=True)
            if os.path.basename(g).removeprefix("sandbox-") not in alive}


def mounts() -> int:
    with open("/proc/self/mountinfo") as f:
        return sum(1 for _ in f)


@pytest.fixture
def nothing_stays():
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    before, before_groups, before_mounts = set(children(os.getpid())), orphaned_groups(), mounts()
    yield
    end = time.monotonic() + 3
    while time.monotonic() < end and (descendants(before) or orphaned_groups() - before_groups):
        reap()
        time.sleep(0.02)
    reap()
    assert not descendants(before)
    assert not orphaned_groups() - before_groups
    assert mounts() == before_mounts


PROGRAMS = {
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "setsid": "import os\nfor i in range(5):\n    if os.fork() == 0:\n        os.setsid()\n        while True: pass",
    "double fork": "import os, time\nif os.fork() == 0:\n    if os.fork() == 0: time.sleep(100)\n    os._exit(0)",
    "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "closes all": "import os\nos.closerange(0, 1000)\nwhile True: pass",
    "closes all and ends": "import os\nos.closerange(0, 1000)",
    "fills its disk": "f = open('/tmp/x', 'wb')\nwhile True: f.write(bytes(1 << 20))",
    "floods": "while True: print('x' * 100000)",
    "recursion": "def f(): f()\nf()",
    "C recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "segfault": "import ctypes\nctypes.string_at(0)",
    "os._exit": "import os\nos._exit(0)",
    "kills its parent": "import os, signal\nos.kill(os.getppid() or 1, signal.SIGKILL)\nos.kill(1, signal.SIGKILL)",
    "kills everybody": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "loop in C": "sum(range(10**18))",
    "ignores signals": "import signal\nfor s in range(1, 64):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass",
    "vfork and hang": "import ctypes\nlibc = ctypes.CDLL(None)\nif libc.fork() == 0: libc.pause()\nlibc.pause()",
    "threads": "import threading, time\nfor i in range(20): threading.Thread(target=time.sleep, args=(100,), daemon=True).start()",
    "many children, then ends": "import os, time\nfor i in range(10):\n    if os.fork() == 0: time.sleep(100)",
    "deep tree": "import os\nfor i in range(500):\n    os.mkdir('d'); os.chdir('d')",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_stays_whatever_it_does(program, nothing_stays, name):
    result = program(PROGRAMS[name], allowed_modules="*", allow_file_operations=True, max_execution_time=1, timeout=30)
    assert result["status"] != "fault", result["error"]
    assert result["_seconds"] < 10


def victim(role: str, child: subprocess.Popen) -> int:
    """The process of a role below `child`."""
    broker = children(child.pid)[0]
    if role == "broker":
        return broker
    engine = children(broker)[0]
    if role == "engine":
        return engine
    jailer = children(engine)[0]
    if role == "jailer":
        return jailer
    for pid in children(jailer):
        if "python" in open(f"/proc/{pid}/cmdline").read():
            return pid
    raise AssertionError("no zygote")


@pytest.mark.parametrize("role", ["broker", "engine", "jailer", "zygote", "command"])
def test_killed_half_way(nothing_stays, role):
    child = subprocess.Popen([BINARY, "run", "--json", *settings(allowed_modules="time,os", max_execution_time=30), "-c",
                              "import os, time\nos.fork()\nprint('up', flush=True)\ntime.sleep(30)"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(0.7)
    target = child.pid if role == "command" else victim(role, child)
    start = time.monotonic()
    os.kill(target, signal.SIGKILL)
    out, _ = child.communicate(timeout=15)
    assert time.monotonic() - start < 5
    assert child.returncode != 0, "never a false success"
    assert '"status":"ok"' not in out.replace(" ", "")
    if role == "command" and os.getuid() == 0:
        # Nobody was left to see it; the next start sweeps.
        run_command("run", "-c", "1")


def test_many_runs_leave_nothing(program, nothing_stays):
    for _ in range(30):
        assert program("1")["status"] == "ok"
