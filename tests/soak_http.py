#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many executions at once, and many sessions alive, over HTTP to one server.

usage: soak_http.py [EXECUTIONS [SESSIONS]]        (10,000 and 1,000)
64 callers at a time; each result is compared with what it has to be. Prints figures; exit 1 when something was wrong.
Needs the built binary (SANDBOX_BIN or build/sandbox).
"""
from __future__ import annotations

import http.client
import json
import pathlib
import queue
import resource
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(TOP / "e2e"))

from server import Server, UnixConnection  # noqa: E402

CALLERS = 64
PATIENCE_S = 300.0


class Callers:
    """What each of CALLERS connections did: their answers are checked where they are asked for."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.wrong: list[str] = []
        self.seconds: list[float] = []

    def all(self, count: int, one) -> float:
        """one(ask, n) for each n below count; seconds for all of them. It raises AssertionError where it is wrong."""
        work: queue.SimpleQueue[int] = queue.SimpleQueue()
        for n in range(count):
            work.put(n)
        self.seconds = []

        def caller() -> None:
            connection = UnixConnection(self.server.socket, PATIENCE_S)

            def ask(method: str, path: str, body: object = None) -> tuple[int, object]:
                start = time.monotonic()
                connection.request(method, path, None if body is None else json.dumps(body),
                                   {"Content-Type": "application/json"} if body is not None else {})
                answer = connection.getresponse()
                data = answer.read()
                self.seconds.append(time.monotonic() - start)
                return answer.status, json.loads(data) if data else None

            while True:
                try:
                    n = work.get_nowait()
                except queue.Empty:
                    break
                try:
                    one(ask, n)
                except (AssertionError, OSError, http.client.HTTPException, KeyError) as error:
                    self.wrong.append(f"{n}: {type(error).__name__} {error}"[:300])
                    connection.close()
            connection.close()

        start = time.monotonic()
        threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - start

    def say(self, what: str, count: int, seconds: float) -> None:
        each = sorted(self.seconds) or [0.0]
        print(f"{what}: {count} in {seconds:.1f} s, {count / seconds:.0f} a second; an answer took "
              f"p50 {each[len(each) // 2] * 1e3:.1f} ms, p99 {each[len(each) * 99 // 100] * 1e3:.1f} ms, "
              f"most {each[-1] * 1e3:.0f} ms", flush=True)


def executions(callers: Callers, count: int) -> None:
    def one(ask, n: int) -> None:
        if n % 100 == 13:
            status, got = ask("POST", "/v1/executions", {"code": f"{n}/0"})
            assert status == 200 and got["status"] == "error" and "ZeroDivisionError" in str(got["error"]), got
        else:
            status, got = ask("POST", "/v1/executions", {"code": f"print({n})\n{n} * 3"})
            assert status == 200 and got["status"] == "ok", (status, got)
            assert got["result"] == n * 3 and got["stdout"] == f"{n}\n", got

    callers.say("executions", count, callers.all(count, one))


def pss_kib(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def tree(server: Server) -> list[int]:
    found, todo = [], [server.process.pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            pass
    return found


def sessions(callers: Callers, count: int) -> None:
    names: dict[int, str] = {}
    before = pss_kib(tree(callers.server))

    def make(ask, n: int) -> None:
        status, made = ask("POST", "/v1/sessions", {"policy": {"max_memory_mb": 32}})
        assert status == 201, (status, made)
        names[n] = made["id"]
        run(ask, n, f"x = {n}\nx", n)

    def run(ask, n: int, code: str, wanted: object) -> None:
        status, got = ask("POST", "/v1/executions", {"session": names[n], "code": code})
        assert status == 200 and got["status"] == "ok" and got["result"] == wanted, (status, got)

    def end(ask, n: int) -> None:
        status, got = ask("DELETE", f"/v1/sessions/{names[n]}")
        assert status in (200, 204), (status, got)

    callers.say("sessions made, and their first program", count, callers.all(count, make))
    alive = tree(callers.server)
    rss = pss_kib(alive)
    print(f"{len(names)} sessions alive, {len(alive)} processes, {(rss - before) / max(1, len(names)):.0f} KiB each "
          "(proportional set size of all that came)", flush=True)
    for step in range(1, 4):
        seconds = callers.all(len(names), lambda ask, n: run(ask, n, "x += 1\nx", n + step))
        callers.say("a program in each", len(names), seconds)
    callers.say("sessions ended", len(names), callers.all(len(names), end))


def main(count: int, session_count: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="soak.") as name:
        place = pathlib.Path(name)
        # Memory is promised by what sessions may take, not by what they do.
        (place / "c.yaml").write_text(f"admission: {{memory_mb: {(session_count + 200) * 160}}}\n"
                                      f"sessions: {{max: {max(session_count, 1)}}}\n")
        with Server(place, "--config", str(place / "c.yaml")).ready() as server:
            callers = Callers(server)
            if count:
                executions(callers, count)
            if session_count:
                sessions(callers, session_count)
            wait = time.monotonic() + 30
            while (left := server.ask("GET", "/v1/health").json["admission"]) and time.monotonic() < wait and \
                    (left["running"] or left["waiting"] or left["sessions"] or left["promised_bytes"]):
                time.sleep(0.05)
            if left["running"] or left["waiting"] or left["sessions"] or left["promised_bytes"]:
                callers.wrong.append(f"left: {left}")
            if server.stop() != 0:
                callers.wrong.append("the server ended badly")
            if callers.wrong:
                print(server.text()[-2000:], file=sys.stderr)
    print("\n".join([f"{len(callers.wrong)} wrong", *callers.wrong[:20]]) if callers.wrong else "every result is right")
    return bool(callers.wrong)


if __name__ == "__main__":
    sys.exit(main(*(int(sys.argv[i]) if len(sys.argv) > i else most for i, most in ((1, 10000), (2, 1000)))))
