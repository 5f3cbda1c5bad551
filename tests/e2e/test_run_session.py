# SPDX-License-Identifier: MIT
"""`sandbox run --session` and `sandbox session`: by name, over the unix socket, with a server that starts by itself."""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import pytest

import http_server
from runner import BINARY, run_command

TIMES = ["--set", "max_execution_time=30", "--set", "max_cpu_percent=100"]


class Place:
    """A socket's path; whatever server was started there is ended."""

    def __init__(self) -> None:
        self.dir = tempfile.mkdtemp(prefix="sandbox-run.", dir="/tmp")
        self.socket = f"{self.dir}/s"
        self.env = {**os.environ, "XDG_STATE_HOME": f"{self.dir}/state", "XDG_CONFIG_HOME": f"{self.dir}/none"}
        self.env.pop("SANDBOX_JOURNAL", None)
        if os.geteuid() == 0:
            self.env["SANDBOX_JOURNAL"] = f"{self.dir}/journal"

    def run(self, *args: str, session: str = "s", **more):
        return run_command("run", "--session", session, "--socket", self.socket, *args, env=self.env, **more)

    def session(self, *args: str):
        return run_command("session", *args, "--socket", self.socket, env=self.env)

    def listed(self) -> list[dict]:
        ran = self.session("list", "--json")
        assert ran.exit == 0, ran.stderr
        return json.loads(ran.stdout)

    def server(self) -> int | None:
        """The process that listens there."""
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(self.socket)
            except OSError:
                return None
            return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def close(self) -> None:
        pid = self.server()
        if pid:
            os.kill(pid, signal.SIGTERM)
            assert http_server.until(lambda: not alive(pid), 40), "the server stays"
        shutil.rmtree(self.dir, ignore_errors=True)


def alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def place():
    with contextlib.closing(Place()) as made:
        yield made


@pytest.fixture
def fresh():
    with contextlib.closing(Place()) as made:
        yield made


def test_a_server_is_started_and_stays(fresh):
    assert fresh.session("list").exit == 2 and fresh.server() is None
    first = fresh.run(*TIMES, "-c", "x = 41\nprint('hi')")
    assert (first.exit, first.stdout) == (0, "hi\n"), first.stderr
    pid = fresh.server()
    assert pid and os.getsid(pid) == pid
    held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1)}
    assert held == {"/dev/null"} and os.readlink(f"/proc/{pid}/cwd") == "/"
    second = fresh.run("--json", "-c", "x + 1")
    assert second.result["result"] == 42 and second.result["execution_count"] == 2
    assert second.result["recorded"] is True
    assert fresh.server() == pid


def test_sessions_are_apart_and_by_name(place):
    for name in ("one", "two"):
        assert place.run("-c", f"me = '{name}'", session=name).exit == 0
    assert place.run("--json", "-c", "me", session="one").result["result"] == "one"
    assert {item["name"] for item in place.listed()} >= {"one", "two"}
    text = place.session("list").stdout
    assert "one" in text and "idle" in text
    assert place.run("--end", session="two").exit == 0
    assert http_server.until(lambda: "two" not in {item["name"] for item in place.listed() if item["state"] != "ended"})
    assert place.run("--end", session="two").exit == 1
    assert place.run("--end", "--json", "-c", "me", session="one").result["result"] == "one"
    assert place.run("-c", "me", session="one").exit == 1, "it has begun again"
    assert place.session("end", "one").exit == 0


@pytest.mark.parametrize("code, exit_code", [
    ("1", 0), ("1/0", 1), ("import os", 4), ("while True: pass", 3), ("raise SystemExit(3)", 1),
])
def test_exit_codes(place, code, exit_code):
    assert place.run("--set", "max_execution_time=1", "-c", code, session="codes").exit == exit_code


def test_usage(place):
    for args in (["--journal", "/x", "-c", "1"], ["--config", "/x", "-c", "1"], ["--no-journal", "-c", "1"], []):
        assert place.run(*args).exit == 2, args
    assert place.run("-c", "1", session="a/b").exit == 2
    assert place.run("-c", "1", session="x" * 65).exit == 2
    assert place.run("--set", "max_memory_mb=-1", "-c", "1", session="new").exit == 2
    assert run_command("run", "--end", "-c", "1").exit == 2
    assert run_command("session", "nonsense").exit == 2
    assert place.session("interrupt", "nobody").exit == 1


def test_another_policy_is_refused(place):
    assert place.run("--set", "max_memory_mb=80", "-c", "1", session="policy").exit == 0
    ran = place.run("--set", "max_memory_mb=60", "-c", "print('ran')", session="policy")
    assert ran.exit == 2 and "max_memory_mb" in ran.stderr and ran.stdout == ""
    assert place.run("--set", "max_memory_mb=80", "-c", "1", session="policy").exit == 0
    assert place.run("-c", "1", session="policy").exit == 0


def test_relative_directories_are_those_of_where_it_began(place, tmp_path):
    tmp_path.chmod(0o755)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    options = ["--set", "allow_file_operations=true", "--set", "allowed_directories=./"]
    ran = place.run(*options, "--json", "-c", "open('f').read()", session="cwd", cwd=str(tmp_path / "a"))
    assert ran.result["result"] == "a"
    ran = place.run(*options, "-c", "1", session="cwd", cwd=str(tmp_path / "b"))
    assert ran.exit == 2 and "cwd" in ran.stderr


def test_output_comes_while_it_runs(place):
    process = subprocess.Popen(
        [BINARY, "run", "--session", "stream", "--socket", place.socket, *TIMES, "--set", "allowed_modules=sys,time", "-c",
         "import sys, time\nprint('first', flush=True)\nprint('err', file=sys.stderr, flush=True)\n"
         "time.sleep(20)"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=place.env, text=True)
    try:
        assert process.stdout.readline() == "first\n"
        assert process.stderr.readline() == "err\n"
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 130 and "KeyboardInterrupt" in said
    finally:
        process.kill()
        process.wait()
    ran = place.run("--json", "-c", "'it is still there'", session="stream")
    assert ran.result["execution_count"] == 2


def test_interrupt_and_restart_from_elsewhere(place):
    assert place.run(*TIMES, "--set", "allowed_modules=time", "-c", "x = 1", session="verbs").exit == 0
    process = subprocess.Popen(
        [BINARY, "run", "--session", "verbs", "--socket", place.socket, "--json", "-c",
         "import time\ntime.sleep(25)"], stdout=subprocess.PIPE, env=place.env, text=True)
    try:
        assert http_server.until(lambda: any(s["name"] == "verbs" and s["state"] == "busy" for s in place.listed()))
        time.sleep(0.2)
        assert place.session("interrupt", "verbs").exit == 0
        result = json.loads(process.communicate(timeout=20)[0])
        assert result["error"]["name"] == "KeyboardInterrupt"
    finally:
        process.kill()
        process.wait()
    assert place.session("restart", "verbs").exit == 0
    assert place.run("-c", "x", session="verbs").exit == 1


def test_files_go_in_and_out(place, tmp_path):
    given = tmp_path / "in.bin"
    given.write_bytes(bytes(range(256)))
    out = tmp_path / "out"
    ran = place.run("--set", "allow_file_operations=true", "--file", f"d/in.bin={given}", "--files", str(out), "-c",
                    "data = open('d/in.bin', 'rb').read()\nimport os\n", session="files")
    assert ran.exit == 4, "the directory is made all the same"
    ran = place.run("--files", str(tmp_path / "out2"), "-c", "_ = open('a b', 'wb').write(data[::-1])", session="files")
    assert ran.exit == 0, ran.stderr
    assert (tmp_path / "out2" / "a b").read_bytes() == bytes(range(256))[::-1]


def test_a_program_from_a_file_and_from_stdin(place, tmp_path):
    program = tmp_path / "p.py"
    program.write_text("y = 6\n1/0\n")
    ran = place.run(str(program), session="text")
    assert ran.exit == 1 and "p.py" in ran.stderr
    assert place.run("--json", "-", stdin="y * 7", session="text").result["result"] == 42


def test_displays_are_told_of(place):
    ran = place.run("-c", "display({'text/plain': 'shown', 'text/html': '<b>shown</b>'}, raw=True)", session="shows")
    assert ran.exit == 0 and "shown" in ran.stderr and "text/html" in ran.stderr


def test_a_session_that_ends_says_why(place):
    ran = place.run("--preset", "data", "-c", "import os; os._exit(7)", session="ends")
    assert "the session has ended" in ran.stderr and "status 7" in ran.stderr
    assert place.run("--preset", "data", "--json", "-c", "1", session="ends").result["execution_count"] == 1


def test_names_are_of_their_caller(place):
    """The name is looked for among the caller's own sessions; over the socket a uid is a caller."""
    assert place.run("-c", "1", session="mine").exit == 0
    assert [s["name"] for s in place.listed()].count("mine") == 1


def test_two_at_once_share_one_server(fresh):
    processes = [subprocess.Popen([BINARY, "run", "--session", "race", "--socket", fresh.socket, "--json", "-c", "1"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=fresh.env, text=True)
                 for _ in range(3)]
    counts = []
    for process in processes:
        out, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        counts.append(json.loads(out)["execution_count"])
    assert sorted(counts) == [1, 2, 3]


def test_a_server_that_does_not_start_says_why(fresh):
    pathlib.Path(fresh.socket).write_text("no socket")
    ran = fresh.run("-c", "1")
    assert ran.exit == 125 and "is no socket" in ran.stderr
    os.unlink(fresh.socket)


def test_idle_exit():
    with http_server.Server("--idle-exit", "1") as server:
        made = server.ask("POST", "/v1/sessions", {"name": "holds"}).json
        time.sleep(2.5)
        assert server.process.poll() is None, "a session holds it"
        server.ask("DELETE", f"/v1/sessions/{made['id']}")
        assert server.process.wait(20) == 0
        assert not os.path.exists(server.socket)


def test_names_over_http():
    with http_server.Server() as server:
        first = server.ask("POST", "/v1/sessions", {"name": "n", "policy": {"max_memory_mb": 70}})
        assert first.status == 201 and first.json["name"] == "n"
        again = server.ask("POST", "/v1/sessions", {"name": "n", "policy": {"max_memory_mb": 70}})
        assert again.status == 200 and again.json["id"] == first.json["id"]
        assert server.ask("POST", "/v1/sessions", {"name": "n"}).json["id"] == first.json["id"]
        other = server.ask("POST", "/v1/sessions", {"name": "n", "preset": "data"})
        assert (other.status, other.json["name"], other.json["field"]) == (409, "SessionExists", "max_memory_mb")
        assert server.ask("POST", "/v1/sessions", {}).json["name"] is None
        for name in ("", "a b", "ü", "x" * 65, 5, "a\n"):
            answer = server.ask("POST", "/v1/sessions", {"name": name})
            assert (answer.status, answer.json["field"]) == (400, "name"), name
        assert server.ask("DELETE", f"/v1/sessions/{first.json['id']}").status == 204
        assert http_server.until(lambda: server.ask("POST", "/v1/sessions", {"name": "n"}).status == 201)
