#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many runs through one server: descriptors, mounts, groups, processes and memory are where they were.

usage: soak.py [RUNS]        (10,000; a part of them kills, floods, forks and fills on purpose)
Needs the built binary (SANDBOX_BIN or build/sandbox). Prints a line a thousand runs and figures at the end; exit 1
when something stayed.
"""
from __future__ import annotations

import glob
import os
import pathlib
import re
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "python"))

from sandbox import Sandbox, SandboxSettings  # noqa: E402
from sandbox.core import server  # noqa: E402

# What the engine may have grown; a sanitizer keeps freed memory for a while and needs more.
RSS_KIB = int(os.environ.get("SOAK_RSS_KIB", "32768"))
PLAIN = SandboxSettings()
WILD = SandboxSettings(allowed_modules=["*"], allow_file_operations=True, max_execution_time=0.3, max_memory_mb=40)
PROGRAMS = [
    ("__result__ = {n}", PLAIN, "ok"), ("print({n})", PLAIN, "ok"), ("1/0", PLAIN, "error"), ("import os", PLAIN, "denied"),
    ("x = 'y' * 1000", PLAIN, "ok"),
]
RARE = [
    ("while True: pass", WILD, "timeout"), ("import os; os._exit(3)", WILD, "error"),
    ("import os\nfor i in range(5):\n    if os.fork() == 0: os.setsid(); import time; time.sleep(9)", WILD, "ok"),
    ("x = bytearray(60 << 20)", WILD, "memory"), ("import ctypes; ctypes.string_at(0)", WILD, "error"),
    ("import os\nwhile True: os.fork()", WILD, None), ("import os; os.closerange(0, 99)", WILD, "ok"),
    ("f = open('/tmp/x', 'wb')\nfor i in range(20): f.write(bytes(1 << 20))", WILD, "ok"),
]


def children(pid: int) -> list[int]:
    out: list[int] = []
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        with open(task) as f:
            out += map(int, f.read().split())
    return out


def tree(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        try:
            todo += children(one)
        except OSError:
            pass
    return found


def groups(pid: int) -> list[str]:
    """The jails' groups of the instance whose processes are below `pid`; none where it has no cgroup."""
    names = set()
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/cgroup") as f:
                names |= set(re.findall(r"/(sandbox-[^/\n]+)", f.read()))
        except OSError:
            pass
    return [group for name in names for group in glob.glob(f"/sys/fs/cgroup/**/{name}/j*", recursive=True)]


def state(pid: int) -> dict[str, int]:
    """Of the server: processes below it, its engine's descriptors, memory in KiB, mounts; its groups."""
    broker = children(pid)[0]
    engine = children(broker)[0]
    with open(f"/proc/{engine}/status") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    with open(f"/proc/{engine}/mountinfo") as f:
        mounts = sum(1 for _ in f)
    zombies = 0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/stat") as f:
                zombies += f.read().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            pass
    return {"processes": len(tree(pid)), "fds": len(os.listdir(f"/proc/{engine}/fd")),
            "broker_fds": len(os.listdir(f"/proc/{broker}/fd")), "rss_kib": rss, "mounts": mounts, "zombies": zombies,
            "groups": len(groups(pid))}


def main(runs: int) -> int:
    boxes = [Sandbox(PLAIN, enable_logging=False), Sandbox(WILD, enable_logging=False)]
    for box in boxes:
        for _ in range(20):
            box.run("1")
    pid = server._unrecorded.server.process.pid
    wrong: list[str] = []

    def work(first: int, step: int) -> None:
        own = {id(PLAIN): Sandbox(PLAIN, enable_logging=False), id(WILD): Sandbox(WILD, enable_logging=False)}
        for n in range(first, runs, step):
            rare = n % 50 == 7
            code, settings, status = RARE[n // 50 % len(RARE)] if rare else PROGRAMS[n % len(PROGRAMS)]
            result = own[id(settings)].run(code.replace("{n}", str(n)))
            if status and result.status != status:
                wrong.append(f"{n}: {code!r}: {result.status} {result.error}")
            if n % 1000 == 0:
                print(n, state(pid), flush=True)

    time.sleep(1)
    before = state(pid)
    start = time.monotonic()
    threads = [threading.Thread(target=work, args=(i, 4)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    time.sleep(1.5)
    after = state(pid)
    print("before", before)
    print("after ", after)
    print(f"{runs} runs, {runs / seconds:.0f} a second")
    for key in ("mounts", "zombies"):
        if after[key] > before[key]:
            wrong.append(f"{key}: {before[key]} before, {after[key]} after")
    # The pool may have grown by what demand made it keep: each worker is three processes' worth of descriptors.
    for key, slack in (("fds", 120), ("broker_fds", 0), ("processes", 40), ("groups", 128), ("rss_kib", RSS_KIB)):
        if after[key] > before[key] + slack:
            wrong.append(f"{key}: {before[key]} before, {after[key]} after")
    print("\n".join(wrong[:20]) if wrong else "nothing stayed")
    for box in boxes:
        box.cleanup()
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10000))
