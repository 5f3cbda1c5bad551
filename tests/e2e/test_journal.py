# SPDX-License-Identifier: MIT
"""The journal of `run` and `serve`: what was promised of a record holds, whatever ends the engine."""
from __future__ import annotations

import glob
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from runner import BINARY, run_command

ROUNDS = int(os.environ.get("JOURNAL_KILLS", "20"))


@pytest.fixture
def place():
    """A directory for a journal and a socket, with short names, and for its owner alone."""
    path = tempfile.mkdtemp(prefix="sbx-journal-")
    yield pathlib.Path(path)
    subprocess.run(["chmod", "-R", "u+rwX", path], check=False)
    shutil.rmtree(path)


def run(place: pathlib.Path, code: str, *options: str) -> dict:
    ran = run_command("run", "--journal", str(place / "j"), "--json", *options, "-c", code)
    assert ran.stdout, f"exit {ran.exit}: {ran.stderr}"
    result = ran.result
    result["_exit"] = ran.exit
    return result


def log(place: pathlib.Path, *words: str) -> list[dict]:
    ran = run_command("log", *words, "--json", "--journal", str(place / "j"))
    assert ran.exit == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.strip()]


def verify(place: pathlib.Path) -> dict:
    ran = run_command("log", "verify", "--json", "--journal", str(place / "j"))
    assert ran.stdout, ran.stderr
    report = json.loads(ran.stdout)
    assert report["ok"], report["finding"]
    assert ran.exit == 0
    return report


def statuses(place: pathlib.Path) -> dict[str, str]:
    return {row["id"]: row["status"] for row in log(place, "list", "--limit", "100000")}


def children(pid: int) -> list[int]:
    out: list[int] = []
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(task) as f:
                out += map(int, f.read().split())
        except OSError:
            pass
    return out


def engine_of(process: subprocess.Popen) -> int | None:
    """The engine below a command of ours: the broker's only child with its name."""
    for broker in children(process.pid):
        for pid in children(broker):
            try:
                with open(f"/proc/{pid}/comm") as f:
                    if f.read().strip() == "sandbox-engine":
                        return pid
            except OSError:
                pass
    return None


class Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class Server:
    def __init__(self, place: pathlib.Path, *options: str) -> None:
        self.socket = str(place / "s")
        self.process = subprocess.Popen(
            [BINARY, "serve", "--socket", self.socket, "--journal", str(place / "j"), *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + 20
        while not os.path.exists(self.socket):
            assert self.process.poll() is None and time.monotonic() < end, self.process.stderr.read()
            time.sleep(0.01)

    def post(self, code: str) -> dict:
        connection = Unix(self.socket)
        try:
            connection.request("POST", "/v1/executions", json.dumps({"code": code}),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return {"_http": answer.status, **json.loads(answer.read())}
        finally:
            connection.close()

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stderr.close()


def config(place: pathlib.Path, **journal: object) -> list[str]:
    path = place / "sandbox.yaml"
    path.write_text(json.dumps({"journal": journal}))
    return ["--config", str(path)]


def test_a_run_is_in_the_record(place):
    result = run(place, "print('to be found')\nopen('left.txt', 'w').write('x')",
                 "--set", "allow_file_operations=true", "--set", 'environment={"SECRET": "very secret value"}')
    assert result["recorded"] is True and "record_error" not in result
    [row] = log(place, "list")
    assert row["id"] == result["id"] and row["status"] == "ok"
    verify(place)
    inside = b"".join(p.read_bytes() for p in (place / "j").rglob("*") if p.is_file())
    assert b"to be found" in inside
    assert b"very secret value" not in inside
    for path in (place / "j").rglob("*"):
        mode, owner = path.stat().st_mode & 0o777, path.stat().st_uid
        assert owner == os.geteuid(), path
        assert mode == (0o644 if path.name == "journal.pub" else 0o700 if path.is_dir() else 0o600), path


def test_nothing_is_written_without(place):
    ran = run_command("run", "--no-journal", "--json", "-c", "1", env={**os.environ, "XDG_STATE_HOME": str(place)})
    assert ran.result["recorded"] is False and "record_error" not in ran.result
    assert list(place.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root's default is /var/lib, which a test leaves alone")
def test_default_directory(place):
    env = {**os.environ, "XDG_STATE_HOME": str(place / "state")}
    env.pop("SANDBOX_JOURNAL", None)
    ran = run_command("run", "--json", "-c", "1", env=env)
    assert ran.result["recorded"] is True
    assert (place / "state/interpreter-sandbox/journal/journal.db").stat().st_mode & 0o777 == 0o600


def test_required_or_not(place):
    (place / "j").mkdir(0o700)
    (place / "j" / "journal.db").write_bytes(b"no database" * 100)
    result = run(place, "print('ran')")
    assert result["status"] == "ok" and result["recorded"] is False and result["record_error"]
    ran = run_command("run", "--journal", str(place / "j"), "--journal-required", "--json", "-c", "print('ran')")
    assert ran.exit == 125 and "journal" in ran.stderr
    assert '"ran' not in ran.stdout
    assert not ran.stdout or ran.result["error"]["name"] == "JournalError"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write a directory of mode 0500")
def test_read_only_directory(place):
    (place / "j").mkdir(0o500)
    result = run(place, "print('ran')")
    assert result["status"] == "ok" and result["recorded"] is False
    assert "ermission" in result["record_error"] or "ead-only" in result["record_error"]
    ran = run_command("run", "--journal", str(place / "j"), "--journal-required", "--json", "-c", "print('ran')")
    assert ran.exit == 125


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a mount")
def test_full_disk(place):
    """A journal on a small disk that fills up: runs go on and say so; with `required` none does."""
    (place / "j").mkdir(0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k,mode=0700", "sbx-test", str(place / "j")], check=True)
    try:
        code = "import random\nprint(random.Random().randbytes(20000).hex())"
        results = []
        server = Server(place, *config(place, dir=str(place / "j")))
        try:
            for _ in range(80):
                results.append(server.post(code))
                if not results[-1]["recorded"]:
                    break
        finally:
            server.end()
        assert results[0]["recorded"] and not results[-1]["recorded"]
        assert "No space left" in results[-1]["record_error"]
        assert results[-1]["status"] == "ok" and len(results[-1]["stdout"]) == 40001
        recorded = {r["id"] for r in results if r["recorded"]}
        ran = run_command("run", "--journal", str(place / "j"), "--journal-required", "--json", "-c", code)
        assert ran.exit == 125 and (not ran.stdout or ran.result["stdout"] == "")
        verify(place)
        assert recorded <= set(statuses(place))
    finally:
        subprocess.run(["umount", str(place / "j")], check=True)


def test_two_at_once(place):
    server = Server(place)
    try:
        answers = []
        threads = [threading.Thread(target=lambda n=n: answers.append(run(place, f"print({n})"))) for n in range(6)]
        for thread in threads:
            thread.start()
        for n in range(10):
            answers.append(server.post(f"print({n})"))
        for thread in threads:
            thread.join()
    finally:
        server.end()
    assert all(a["recorded"] for a in answers), [a.get("record_error") for a in answers]
    verify(place)
    assert {a["id"] for a in answers} == set(statuses(place))


def test_a_caller_that_goes_away_leaves_a_verdict(place):
    server = Server(place)
    try:
        connection = Unix(server.socket)
        connection.request("POST", "/v1/executions", json.dumps({"code": "while True: pass"}),
                           {"Content-Type": "application/json"})
        time.sleep(0.7)
        connection.close()
        end = time.monotonic() + 10
        while list(statuses(place).values()) != ["killed"] and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        server.end()
    assert list(statuses(place).values()) == ["killed"]
    verify(place)


def test_what_a_dead_engine_began_is_lost(place):
    process = subprocess.Popen([BINARY, "run", "--journal", str(place / "j"), "-c", "while True: pass"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while not (place / "j" / "journal.db").exists() or list(statuses(place).values()) != ["running"]:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.05)
        os.kill(engine_of(process), signal.SIGKILL)
    finally:
        process.wait(20)
    assert list(statuses(place).values()) == ["lost"]
    other = run(place, "1")
    assert statuses(place) == {other["id"]: "ok", **{i: "lost" for i in statuses(place) if i != other["id"]}}
    verify(place)


def load(server: Server, told: dict, code: str, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            answer = server.post(code)
        except (OSError, http.client.HTTPException, ValueError):
            return
        if answer.get("recorded"):
            told[answer["id"]] = answer["status"]


def test_killed_at_random_moments(place):
    """SIGKILL of the engine under load: it opens, verifies, and what was acknowledged under `full` is there."""
    chance = random.Random(4)
    told: dict[str, str] = {}
    for n in range(ROUNDS):
        server = Server(place, *config(place, dir=str(place / "j"), durability="full", required=True))
        stop = threading.Event()
        codes = ["print(1)", "print('y' * 9000)", "1/0"]
        threads = [threading.Thread(target=load, args=(server, told, code, stop)) for code in codes]
        try:
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.05, 0.6))
            engine = engine_of(server.process)
            if engine:
                os.kill(engine, signal.SIGKILL)
        finally:
            stop.set()
            server.end()
            for thread in threads:
                thread.join()
        if n % 5 == 4 or n == ROUNDS - 1:
            verify(place)
    found = statuses(place)
    assert len(told) >= ROUNDS, "the load was too small to say anything"
    assert told.items() <= found.items()


def test_sessions_are_recorded(place):
    server = Server(place)
    try:
        def ask(method: str, path: str, body: dict | None = None) -> dict:
            connection = Unix(server.socket)
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"})
            answer = connection.getresponse().read()
            connection.close()
            return json.loads(answer) if answer else {}

        session = ask("POST", "/v1/sessions", {})["id"]
        first = ask("POST", "/v1/executions", {"code": "x = 41", "session": session})
        second = ask("POST", "/v1/executions", {"code": "x + 1", "session": session})
        ask("DELETE", f"/v1/sessions/{session}")
        time.sleep(0.5)
    finally:
        server.end()
    assert second["result"] == 42 and first["recorded"] and second["recorded"]
    assert {row["id"] for row in log(place, "list", "--session", session)} == {first["id"], second["id"]}
    rows = subprocess.run(["/usr/bin/python3", "-c", "import sqlite3, sys\nfor r in sqlite3.connect(sys.argv[1]).execute("
                           "'SELECT id, what FROM sessions ORDER BY seq'): print(*r)", str(place / "j" / "journal.db")],
                          capture_output=True, text=True, check=True).stdout.split("\n")
    assert rows[:2] == [f"{session} created", f"{session} ended"]
    verify(place)


def test_serve_keeps_one_by_default(place):
    """In the directory that run and log take; none with --no-journal and `journal: false`."""
    env = {**os.environ, "SANDBOX_JOURNAL": str(place / "j"), "XDG_CONFIG_HOME": str(place)}

    def served(*options: str) -> dict:
        before = os.environ.copy()
        os.environ.update(env)
        try:
            server = Server.__new__(Server)
            server.socket = str(place / "s")
            server.process = subprocess.Popen([BINARY, "serve", "--socket", server.socket, *options],
                                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                              stderr=subprocess.PIPE)
            end = time.monotonic() + 20
            while not os.path.exists(server.socket):
                assert server.process.poll() is None and time.monotonic() < end
                time.sleep(0.01)
            try:
                return server.post("1")
            finally:
                server.end()
        finally:
            os.environ.clear()
            os.environ.update(before)

    (place / "off.yaml").write_text("journal: false\n")
    for options in (("--no-journal",), ("--config", str(place / "off.yaml"))):
        assert served(*options)["recorded"] is False
        assert not (place / "j").exists()
    answer = served()
    assert answer["recorded"] is True and set(statuses(place)) == {answer["id"]}
    ran = run_command("serve", "--no-journal", "--journal", str(place / "j"))
    assert ran.exit == 2 and "--no-journal" in ran.stderr


def test_a_default_that_cannot_be_is_told(place):
    (place / "file").write_text("")
    env = {**os.environ, "SANDBOX_JOURNAL": str(place / "file")}
    result = run_command("run", "--json", "-c", "1", env=env).result
    assert result["status"] == "ok" and result["recorded"] is False
    assert "file" in result["record_error"]


def test_the_key_elsewhere(place):
    """run, serve and log take it; without it nothing is verified, and no second one is made."""
    first = run(place, "1")
    key = place / "key"
    os.rename(place / "j" / "journal.key", key)
    assert run(place, "2")["recorded"] is False
    assert not (place / "j" / "journal.key").exists()
    second = run(place, "3", "--journal-key", str(key))
    assert second["recorded"] is True
    server = Server(place, "--journal-key", str(key))
    try:
        third = server.post("4")
    finally:
        server.end()
    assert third["recorded"] is True
    assert run_command("log", "verify", "--journal", str(place / "j")).exit == 125
    ran = run_command("log", "verify", "--json", "--journal", str(place / "j"), "--journal-key", str(key))
    assert ran.exit == 0 and json.loads(ran.stdout)["ok"]
    ran = run_command("log", "list", "--json", "--journal", str(place / "j"), "--journal-key", str(key))
    assert {json.loads(line)["id"] for line in ran.stdout.splitlines()} == {first["id"], second["id"], third["id"]}


def test_public_key(place):
    """Signed from the first commit on, and at each end: the right key says ok of all rows, a wrong one never."""
    run(place, "1")
    run(place, "2")
    public = (place / "j" / "journal.pub").read_text().strip()
    wrong = "".join("%x" % (int(c, 16) ^ 1) for c in public)
    good = run_command("log", "verify", "--json", "--journal", str(place / "j"), "--public-key", public)
    assert good.exit == 0 and json.loads(good.stdout)["signatures"] >= 2
    bad = run_command("log", "verify", "--journal", str(place / "j"), "--public-key", wrong)
    assert bad.exit == 1 and "not one of this public key" in bad.stdout


def test_a_session_that_ends_with_its_server(place):
    server = Server(place)
    try:
        connection = Unix(server.socket)
        connection.request("POST", "/v1/sessions", "{}", {"Content-Type": "application/json"})
        session = json.loads(connection.getresponse().read())["id"]
        connection.close()
        time.sleep(0.5)
    finally:
        server.end()
    rows = subprocess.run(["/usr/bin/python3", "-c", "import sqlite3, sys\nfor r in sqlite3.connect(sys.argv[1]).execute("
                           "'SELECT id, what FROM sessions ORDER BY seq'): print(*r)", str(place / "j" / "journal.db")],
                          capture_output=True, text=True, check=True).stdout.split("\n")
    assert rows[:2] == [f"{session} created", f"{session} ended"]
    verify(place)
