# SPDX-License-Identifier: MIT
"""`sandbox log`: what was run is found again, and nothing that a program wrote does anything to who looks."""
from __future__ import annotations

import csv
import fcntl
import glob
import http.client
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
import termios
import time

import pytest
import runner

# Whatever is not text in one line: escapes, controls, bidi, invisible, not assigned to anybody.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")

HOSTILE = r'''import sys
print("\x1b[2J\x1b]0;owned\x07\u202eevil\u200b\x9b31m")
print("2026-11-24 00:00:00  ok  0000000000000000  forged")
print('{"record": "verdict", "status": "ok", "id": "forged"}')
sys.stdout.buffer.write(b"\xff\xfe\xc0\x80\n")
print("=cmd|'/C calc'!A1")
'''


class Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


@pytest.fixture(scope="module")
def journal():
    """A directory with a few runs of each kind."""
    place = tempfile.mkdtemp(prefix="sandbox-log-")
    directory = os.path.join(place, "journal")
    env = {**os.environ, "SANDBOX_JOURNAL": directory}
    for code in ("print('first apple')", "import os\n", "raise ValueError('second pear')", HOSTILE):
        done = runner.run_command("run", "--set", "allowed_modules=math,random,sys", "--set", "max_execution_time=60",
                                  "-c", code, env=env)
        assert done.exit in (0, 1, 4), (done.exit, done.stderr)
    yield directory
    shutil.rmtree(place)


def log(journal: str, *args: str, **more) -> runner.Ran:
    return runner.run_command("log", *args, "--journal", journal, **more)


def rows(journal: str, *args: str) -> list[dict]:
    ran = log(journal, *args, "--json")
    assert ran.exit == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def on_terminal(*args: str, columns: int = 80, env: dict | None = None, until: str = "", times: int = 0) -> str:
    """What a terminal of this width gets. Interrupted when a text has come so many times."""
    main, sub = pty.openpty()
    fcntl.ioctl(sub, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen([runner.BINARY, *args], stdin=subprocess.DEVNULL, stdout=sub, stderr=sub,
                               env={**clean, "TERM": "xterm", **(env or {})})
    os.close(sub)
    out = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 1)[0]:
            continue
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        out += part
        if until and out.count(until.encode()) >= times:
            process.send_signal(signal.SIGINT)
            until = ""
    os.close(main)
    assert process.wait(30) == 0
    return out.decode("utf-8").replace("\r\n", "\n")


def test_list_and_filters(journal: str) -> None:
    every = rows(journal, "list")
    assert [row["status"] for row in every] == ["ok", "error", "denied", "ok"]
    assert [row["seq"] for row in every] == [4, 3, 2, 1]
    assert every[3]["code"] == "print('first apple')" and every[3]["caller"] == "command"
    assert [row["seq"] for row in rows(journal, "list", "--reverse")] == [1, 2, 3, 4]
    assert [row["seq"] for row in rows(journal, "list", "--limit", "2")] == [4, 3]
    assert [row["seq"] for row in rows(journal, "list", "--before", "3")] == [2, 1]
    assert [row["seq"] for row in rows(journal, "list", "--reverse", "--after", "3")] == [4]
    assert [row["seq"] for row in rows(journal, "list", "--status", "denied")] == [2]
    assert [row["seq"] for row in rows(journal, "list", "--event", "import")] == [2]
    assert [row["seq"] for row in rows(journal, "list", "--text", "apple")] == [1]
    assert [row["seq"] for row in rows(journal, "list", "--text", "second pear")] == [3]
    assert [row["seq"] for row in rows(journal, "list", "--text", '"apple first"')] == []
    assert len(rows(journal, "list", "--since", "1h")) == 4
    assert rows(journal, "list", "--until", "1h") == []
    assert rows(journal, "list", "--since", "2000-01-01", "--until", "2001-01-01T10:00Z") == []
    assert len(rows(journal, "list", "--caller", "command", "--since", "@1")) == 4


@pytest.mark.parametrize("filters", [
    ("--status", "' OR 1=1 --"), ("--caller", '"; DROP TABLE executions; --'), ("--text", "apple) OR (pear"),
    ("--text", "code:apple NEAR( "), ("--text", '"""'), ("--session", "\u202e\x1b[2J"), ("--event", "import' --"),
])
def test_filters_are_values(journal: str, filters: tuple[str, str]) -> None:
    ran = log(journal, "list", *filters, "--json")
    assert (ran.exit, ran.stdout) in ((0, ""), (2, "")), ran.stderr
    assert not UNSAFE.search(ran.stderr)
    assert len(rows(journal, "list")) == 4


@pytest.mark.parametrize("args", [
    ("list", "--limit", "0"), ("list", "--limit", "1e9"), ("list", "--limit", "99999999999999999999"),
    ("list", "--since", "tomorrow"), ("list", "--since", "5"), ("list", "--before", "-1"), ("list", "--stats", "x"),
    ("list", "more"), ("show",), ("lst",), ("export", "--format", "xml"), ("verify", "--public-key", "short"),
    ("prune", "--older-than", "1h"), ("prune", "--larger-than", "x"), ("show", "%"), (),
    ("list", "--status", "nonsense"), ("follow", "--status", "OK"),
])
def test_wrong_usage(journal: str, args: tuple[str, ...]) -> None:
    ran = log(journal, *args) if args else runner.run_command("log")
    assert ran.exit == 2 and ran.stdout == "" and ran.stderr.startswith("sandbox: log")


@pytest.mark.parametrize("args", [("log", "list", "--help"), ("log", "show", "-h"), ("policy", "check", "--help"),
                                  ("policy", "suggest", "--yes", "--help")])
def test_help_of_a_verb_of_a_verb(args: tuple[str, ...]) -> None:
    ran = runner.run_command(*args)
    assert ran.exit == 0 and ran.stderr == "" and ran.stdout.startswith(f"usage: sandbox {args[0]}")


def test_no_journal(tmp_path) -> None:
    ran = log(str(tmp_path / "none"), "list")
    assert ran.exit == 2 and "there is none" in ran.stderr
    assert not (tmp_path / "none").exists()
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert log(str(open_to_all), "list").exit == 2


def test_show(journal: str) -> None:
    denied = rows(journal, "list", "--status", "denied")[0]["id"]
    whole = rows(journal, "show", denied[:12])[0]
    assert whole["id"] == denied and whole["code"] == "import os\n" and "allowed_modules" in whole["stderr"]
    assert whole["events"][0]["kind"] == "import" and whole["events"][0]["subject"] == "os"
    assert whole["policy"]["max_memory_mb"] == 100 and whole["missing"] == {}
    text = log(journal, "show", denied).stdout
    assert "status     denied: ImportError" in text and "  | import os\n" in text
    assert "import os at line 1 - add \"os\" to allowed_modules" in text
    ran = log(journal, "show", "ffffffffffffffffffffffffffffffff")
    assert ran.exit == 1 and ran.stdout == "" and "no execution" in ran.stderr


def test_nothing_reaches_the_terminal(journal: str) -> None:
    """As text, as JSON and as CSV, on a terminal and in a pipe; ours are the colours of the table alone."""
    hostile = rows(journal, "list", "--limit", "1")[0]["id"]
    for args in (("list",), ("show", hostile), ("export",), ("export", "--format", "csv"), ("list", "--json"),
                 ("show", hostile, "--json"), ("stats",), ("verify",), ("head",)):
        for text in (log(journal, *args).stdout, on_terminal("log", *args, "--journal", journal)):
            found = UNSAFE.search(re.sub(r"\x1b\[(3[0-9]|0)m", "", text).replace("\r\n", "\n"))
            assert not found, (args, found)
    plain = on_terminal("log", "list", "--journal", journal, env={"NO_COLOR": "1"})
    assert "\x1b" not in plain
    assert "\x1b[31m" in on_terminal("log", "list", "--journal", journal)
    # What the bytes were is said, in JSON as the very value.
    assert "\\x1b[2J" in log(journal, "show", hostile).stdout
    assert rows(journal, "show", hostile)[0]["stdout"].startswith("\x1b[2J\x1b]0;owned\x07\u202eevil\u200b\x9b31m\n")


EVIL = "\x1b[2J\x1b]0;owned\x07\u202e\u2066\u200b\x9b31m\x7f\r\v\u2028\n2026-11-24 00:00:00  ok  0000  forged\n"


def evil_programs(place: str) -> list[tuple[list[str], str | None]]:
    """Every field that a program or its caller can fill, with what would do something to a terminal."""
    named = os.path.join(place, "evil\x1b[2J\u202e\n2026 ok forged.py")
    with open(named, "w") as file:
        file.write("1/0")
    text = ascii(EVIL)
    long = f"{text} * 20000"  # over 1 MB
    return [
        (["-"], f"x = 1 # {EVIL.splitlines()[0]}\ny = '''{EVIL}'''\nprint(y)"),
        (["-"], f"y = '''{EVIL * 20000}'''"),
        ([named], None),
        (["-c", f"raise ValueError({text})"], None),
        (["-c", f"raise ValueError({long})"], None),
        (["-c", long], None),
        (["-c", f"__import__({text})"], None),
        (["-c", f"__import__({long})"], None),
        (["-c", f"open({text})"], None),
        (["-c", f"raise type({ascii('E' + EVIL)}, (Exception,), {{}})(1)"], None),
        (["-c", f"import sys\nsys.stdout.buffer.write(b'\\xff\\xfe\\xc0\\x80\\xed\\xa0\\x80\\x9b2J\\n' * 100)\n"
                f"sys.stderr.write({text})\nprint({long})"], None),
        (["-c", f"open('a' + {ascii(EVIL.replace('/', ''))}, 'w').write('left')"], None),
    ]


@pytest.fixture(scope="module")
def evil():
    place = tempfile.mkdtemp(prefix="sandbox-log-")
    directory = os.path.join(place, "journal")
    for args, stdin in evil_programs(place):
        done = runner.run_command("run", "--set", "allowed_modules=sys", "--set", "allow_file_operations=true",
                                  "--set", "max_output_bytes=4000000", "--quiet", *args, stdin=stdin,
                                  env={**os.environ, "SANDBOX_JOURNAL": directory})
        assert done.exit in (0, 1, 4), (args[0][:40], done.exit, done.stderr[:300])
    yield directory
    shutil.rmtree(place)


def check_harmless(text: str, args: tuple[str, ...]) -> None:
    text = text.replace("\r\n", "\n")  # of CSV
    found = UNSAFE.search(re.sub(r"\x1b\[(3[0-9]|0)m", "", text))
    assert not found, (args, found, text[max(0, found.start() - 80):found.end() + 20])
    assert not [line for line in text.splitlines() if line.startswith("2026-11-24 00:00:00")], args


def test_evil_fields_on_a_terminal(evil: str) -> None:
    """Newlines, escapes, bidi, invalid UTF-8 and fields of a megabyte, in code, names, errors, subjects and output."""
    every = rows(evil, "list")
    assert len(every) == 12 and {"ok", "error", "denied"} <= {row["status"] for row in every}
    looks = [("list",), ("list", "--json"), ("export",), ("export", "--format", "csv"), ("stats",)]
    looks += [("show", row["id"], *more) for row in every for more in ((), ("--json",))]
    for args in looks:
        check_harmless(on_terminal("log", *args, "--journal", evil), args)
    assert len(on_terminal("log", "list", "--journal", evil).splitlines()) == 1 + len(every)
    # All that was recorded, as it is followed: the last verdict is the newest execution's.
    newest = every[0]["id"]
    for more, times in (((), 2), (("--json",), 2)):
        args = ("log", "follow", "--after", "0", *more)
        text = on_terminal(*args, "--journal", evil, until=newest, times=times)
        check_harmless(text, args)
        assert all(row["id"] in text for row in every)
    assert log(evil, "verify").exit == 0


def test_forged_records(journal: str) -> None:
    """A program that prints what looks like a record is seen to have printed it."""
    hostile = rows(journal, "list", "--limit", "1")[0]["id"]
    text = log(journal, "show", hostile).stdout
    forged = [line for line in text.splitlines() if "forged" in line]
    assert forged and all(line.startswith("  | ") for line in forged)
    assert all("forged" not in row["id"] for row in rows(journal, "list"))
    assert len(log(journal, "export").stdout.splitlines()) == 4


@pytest.mark.parametrize("columns", [20, 40, 80, 131])
def test_tables_fit(journal: str, columns: int) -> None:
    text = on_terminal("log", "list", "--journal", journal, columns=columns, env={"NO_COLOR": "1"})
    lines = text.splitlines()
    assert len(lines) == 5
    if columns >= 40:
        assert all(len(line) <= columns for line in lines)


def test_wide_characters(tmp_path) -> None:
    directory = str(tmp_path / "j")
    runner.run_command("run", "--quiet", "-c", "print('" + "\u4e2d" * 300 + "')",
                       env={**os.environ, "SANDBOX_JOURNAL": directory})
    line = on_terminal("log", "list", "--journal", directory, columns=100, env={"NO_COLOR": "1"}).splitlines()[1]
    assert "\u4e2d" in line and sum(2 if char == "\u4e2d" else 1 for char in line) <= 100


def test_export(journal: str) -> None:
    lines = [json.loads(line) for line in log(journal, "export").stdout.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert lines[3]["code"] == HOSTILE and lines[1]["events"][0]["subject"] == "os"
    text = log(journal, "export", "--format", "csv").stdout
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["seq"] for row in table] == ["1", "2", "3", "4"]
    assert all(not row["code"].startswith(("=", "+", "-", "@")) for row in table)
    assert [row["seq"] for row in rows(journal, "export", "--status", "ok", "--reverse")] == [4, 1]


def test_formulas(tmp_path) -> None:
    directory = str(tmp_path / "j")
    for code in ("=1+1", "@x\ndef f(): pass", "-1", "+1"):
        runner.run_command("run", "--quiet", "-c", code, env={**os.environ, "SANDBOX_JOURNAL": directory})
    table = list(csv.DictReader(io.StringIO(log(directory, "export", "--format", "csv").stdout, newline="")))
    assert [row["code"][:2] for row in table] == ["'=", "'@", "'-", "'+"]


def test_long_fields(tmp_path) -> None:
    directory = str(tmp_path / "j")
    code = "x = '" + "a" * (1 << 20) + "'\nprint(x)"
    assert runner.run_command("run", "--quiet", "-", stdin=code,
                              env={**os.environ, "SANDBOX_JOURNAL": directory}).exit == 0
    row = rows(directory, "list")[0]
    assert row["code_bytes"] == len(code)
    whole = rows(directory, "show", row["id"])[0]
    assert len(whole["code"]) == 1 << 20 and whole["code"] == code[:1 << 20]
    text = log(directory, "show", row["id"]).stdout
    assert len(text) < 20000


def test_verify_and_head(journal: str, tmp_path) -> None:
    assert log(journal, "verify").stdout.startswith("ok: ")
    head = log(journal, "head").stdout
    assert "executions" in head
    signed = json.loads(log(journal, "head", "--json").stdout)
    assert len(signed["signature"]) == 128 and len(signed["public_key"]) == 64
    assert signed["signature"] in log(journal, "head", "--signed").stdout
    noted = tmp_path / "noted"
    noted.write_text(head)
    for given in (head, str(noted)):
        assert log(journal, "verify", "--head", given).exit == 0
    for key in (signed["public_key"], os.path.join(journal, "journal.pub")):
        assert log(journal, "verify", "--public-key", key).exit == 0
    altered = str(tmp_path / "altered")
    shutil.copytree(journal, altered)
    # A start is signed soon after it, not before its first run.
    for _ in range(20):
        if json.loads(log(altered, "verify", "--json").stdout)["signatures"] > 0:
            break
        runner.run_command("run", "--quiet", "-c", "1", env={**os.environ, "SANDBOX_JOURNAL": altered})
    assert log(altered, "verify", "--public-key", "0" * 64).exit == 1
    db = sqlite3.connect(os.path.join(altered, "journal.db"))
    db.execute("UPDATE executions SET caller = 'somebody else' WHERE seq = 2")
    db.commit()
    db.close()
    ran = log(altered, "verify")
    assert ran.exit == 1 and "executions" in ran.stdout and "2" in ran.stdout
    assert json.loads(log(altered, "verify", "--json").stdout)["ok"] is False


def test_verify_of_what_cannot_be_opened(journal: str, tmp_path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(journal, damaged)
    for path in damaged.glob("journal.db-*"):
        path.unlink()
    with open(damaged / "journal.db", "r+b") as file:
        file.write(bytes(range(256)) * 12)
    ran = log(str(damaged), "verify")
    assert ran.exit == 1 and ran.stdout.startswith("altered: journal.db")
    assert json.loads(log(str(damaged), "verify", "--json").stdout)["ok"] is False
    assert log(str(damaged), "list").exit == 125


def test_prune(journal: str, tmp_path) -> None:
    copy = str(tmp_path / "copy")
    shutil.copytree(journal, copy)
    assert "would remove 0" in log(copy, "prune", "--older-than", "30d", "--dry-run").stdout
    assert json.loads(log(copy, "prune", "--older-than", "30d", "--json").stdout)["executions"] == 0
    would = json.loads(log(copy, "prune", "--larger-than", "1K", "--dry-run", "--json").stdout)
    assert would["executions"] > 0 and len(rows(copy, "list")) == 4
    assert json.loads(log(copy, "prune", "--larger-than", "1K", "--json").stdout)["executions"] > 0
    assert len(rows(copy, "list")) < 4
    assert log(copy, "verify").exit == 0


def test_stats(journal: str) -> None:
    figures = rows(journal, "stats")[0]
    assert figures["executions"] == 4 and figures["status"] == {"denied": 1, "error": 1, "ok": 2}
    assert figures["events"] == {"import": 1} and figures["open"] == 0
    assert "denied" in log(journal, "stats").stdout


def follow(journal: str, *args: str) -> subprocess.Popen:
    process = subprocess.Popen([runner.BINARY, "log", "follow", "--json", "--journal", journal, *args],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline()) == {"record": "following"}
    return process


def test_follow(tmp_path) -> None:
    """What another process records, while it does; a signal and a reader that goes away end it."""
    directory = str(tmp_path / "j")
    env = {**os.environ, "SANDBOX_JOURNAL": directory}
    runner.run_command("run", "--quiet", "-c", "1", env=env)
    process = follow(directory)
    try:
        runner.run_command("run", "--quiet", "-c", "import os", env=env)
        records = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [record["record"] for record in records] == ["begin", "event", "verdict"]
        assert records[0]["status"] == "running" and records[1]["subject"] == "os"
        assert records[1]["execution"] == records[2]["id"] and records[2]["status"] == "denied"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == "" and process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    gone = follow(directory, "--status", "ok")
    try:
        gone.stdout.close()
        assert gone.wait(20) == 0
        assert gone.stderr.read() == ""
    finally:
        gone.kill()
        gone.wait()
        gone.stderr.close()


def test_beside_a_run(tmp_path) -> None:
    """Two processes at once: one runs, the other looks."""
    directory = str(tmp_path / "j")
    env = {**os.environ, "SANDBOX_JOURNAL": directory}
    runner.run_command("run", "--quiet", "-c", "1", env=env)
    process = subprocess.Popen([runner.BINARY, "run", "--quiet", "--set", "allowed_modules=time", "-c",
                                "import time\nprint(1, flush=True)\ntime.sleep(4)"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=env)
    try:
        assert process.stdout.readline() == b"1\n"
        assert [row["status"] for row in rows(directory, "list")] == ["running", "ok"]
        assert len(rows(directory, "list", "--status", "running")) == 1
        assert rows(directory, "list", "--status", "lost") == []
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while rows(directory, "list", "--status", "running") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(rows(directory, "list", "--status", "lost")) == 1
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_many(tmp_path) -> None:
    """A million executions with ten million samples (SANDBOX_TEST_LONG=1; else a hundredth of it): a page in under
    50 ms of the whole command's 20 to 50 or, on a busy machine, generously more."""
    directory = str(tmp_path / "j")
    runner.run_command("run", "--quiet", "-c", "1", env={**os.environ, "SANDBOX_JOURNAL": directory})
    count = 1_000_000 if os.environ.get("SANDBOX_TEST_LONG") else 10_000
    db = sqlite3.connect(os.path.join(directory, "journal.db"))
    db.execute("PRAGMA synchronous = OFF")
    block = b"".join(struct.pack("<IIQQ", i * 20, 1, 1 << 20, i * 1000) for i in range(10))
    policy, = db.execute("SELECT policy_object FROM executions").fetchone()
    db.execute("""WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        INSERT INTO executions SELECT i, printf('%032x', i * 2654435761), at_us + i, start, caller, door, session,
        filename, preset, template, python, code_bytes, code, code_object, policy_object, mac FROM n, executions
        WHERE seq = 1""", (count,))
    db.execute("""INSERT INTO verdicts SELECT e.seq, e.seq, e.at_us + 5, CASE e.seq % 1000 WHEN 7 THEN 'memory'
        ELSE 'ok' END, v.error, v.wall_us, v.cpu_us, v.memory_peak_bytes, v.processes_peak, v.written_bytes, v.events,
        v.samples_dropped, v.result, v.result_object, v.stdout_bytes, v.stdout, v.stdout_object, v.stderr_bytes,
        v.stderr, v.stderr_object, v.mac FROM executions e, verdicts v WHERE e.seq > 1 AND v.seq = 1""")
    db.execute("DELETE FROM samples")
    db.execute("INSERT INTO samples SELECT seq, seq, 0, 10, ?, mac FROM executions", (block,))
    db.commit()
    db.close()
    assert policy
    for args, expected in ((("list",), 50), (("list", "--status", "memory"), min(50, count // 1000)),
                           (("list", "--since", "1d", "--until", "1m"), 0),
                           (("list", "--status", "lost"), 0), (("list", "--status", "running"), 0),
                           (("show", f"{7 * 2654435761:032x}"), 1)):
        seconds = []
        for _ in range(3):
            start = time.monotonic()
            found = rows(directory, *args)
            seconds.append(time.monotonic() - start)
            assert len(found) == expected, args
        assert min(seconds) < 2, (args, seconds)
    assert len(rows(directory, "show", f"{7 * 2654435761:032x}")[0]["samples"]) == 10
    figures = rows(directory, "stats")[0]
    assert figures["executions"] == count and figures["samples"] == 10 * count


def test_forward(tmp_path) -> None:
    """What a server records goes to the places of its configuration as well, a file and a syslog of ours."""
    place = tempfile.mkdtemp(prefix="sandbox-fw-")
    process = None
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        heard.bind(os.path.join(place, "log"))
        heard.settimeout(20)
        config = os.path.join(place, "sandbox.yaml")
        with open(config, "w") as file:
            file.write(f"journal:\n  dir: {place}/journal\n  forward: ['file:{place}/records.jsonl', "
                       f"'syslog:{place}/log']\n")
        process = subprocess.Popen([runner.BINARY, "serve", "--config", config, "--socket", f"{place}/s",
                                    "--exit-with-stdin"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert b"listening" in process.stderr.readline()
        connection = Unix(f"{place}/s")
        connection.request("POST", "/v1/executions", json.dumps({"code": "import os"}),
                           {"Content-Type": "application/json"})
        result = json.loads(connection.getresponse().read())
        connection.close()
        assert result["status"] == "denied"
        told = []
        while not any('"record":"verdict"' in text for text in told):
            told.append(heard.recv(65536).decode())
        assert all(re.match(r"<8[46]>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d sandbox\[\d+\]: \{", text) for text in told)
        deadline = time.monotonic() + 20
        records: list[dict] = []
        while "verdict" not in [record["record"] for record in records] and time.monotonic() < deadline:
            time.sleep(0.05)
            with open(f"{place}/records.jsonl") as file:
                records = [json.loads(line) for line in file]
        own = [record for record in records if result["id"] in (record.get("id"), record.get("execution"))]
        assert [record["record"] for record in own] == ["begin", "event", "verdict"]
        process.stdin.close()
        assert process.wait(30) == 0
    finally:
        if process:
            process.kill()
            process.wait()
            process.stderr.close()
        heard.close()
        shutil.rmtree(place)


def descendants(pid: int) -> list[int]:
    out: list[int] = []
    for name in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(name) as file:
                below = [int(word) for word in file.read().split()]
        except OSError:
            continue
        out += below + [deep for child in below for deep in descendants(child)]
    return out


def reader_of(process: subprocess.Popen) -> int | None:
    """The engine that only reads the journal, for the forwarding."""
    for pid in descendants(process.pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if b"--role=engine" in words and b"--reader" in words:
            return pid
    return None


def test_forward_after_its_reader_died(tmp_path) -> None:
    """That something may be missing is told in its place, and what comes after it is forwarded as before."""
    place = tempfile.mkdtemp(prefix="sandbox-fw-")
    process = None
    try:
        with open(f"{place}/sandbox.yaml", "w") as file:
            file.write(f"journal:\n  dir: {place}/journal\n  forward: ['file:{place}/records.jsonl']\n")
        process = subprocess.Popen([runner.BINARY, "serve", "--config", f"{place}/sandbox.yaml", "--socket",
                                    f"{place}/s", "--exit-with-stdin"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert b"listening" in process.stderr.readline()

        def execute() -> str:
            connection = Unix(f"{place}/s")
            connection.request("POST", "/v1/executions", json.dumps({"code": "1"}), {"Content-Type": "application/json"})
            result = json.loads(connection.getresponse().read())
            connection.close()
            assert result["status"] == "ok" and result["recorded"]
            return result["id"]

        def records_until(record: str, id: str | None = None) -> list[dict]:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                if os.path.exists(f"{place}/records.jsonl"):
                    with open(f"{place}/records.jsonl") as file:
                        records = [json.loads(line) for line in file]
                    if any(row["record"] == record and row.get("id") == id for row in records):
                        return records
                time.sleep(0.05)
            raise AssertionError(f"no {record} of {id}")

        assert not any(row["record"] == "gap" for row in records_until("verdict", execute()))
        reader = reader_of(process)
        assert reader, "the forwarding has no reader"
        os.kill(reader, signal.SIGKILL)
        records = records_until("gap")
        assert [row["why"] for row in records if row["record"] == "gap"] == ["the journal's reader was started again"]
        last = execute()
        records = records_until("verdict", last)
        gap = [row["record"] for row in records].index("gap")
        assert [row["record"] for row in records[gap:] if row.get("id") == last] == ["begin", "verdict"]
        process.stdin.close()
        assert process.wait(30) == 0
    finally:
        if process:
            process.kill()
            process.wait()
            process.stderr.close()
        shutil.rmtree(place)


def test_forward_to_nowhere(tmp_path) -> None:
    for target in ("nonsense", "file:/proc/none/x", "file:relative"):
        config = tmp_path / "sandbox.yaml"
        config.write_text(f"journal:\n  dir: {tmp_path}/j\n  forward: ['{target}']\n")
        ran = runner.run_command("serve", "--config", str(config), "--socket", str(tmp_path / "s"))
        assert ran.exit == 2 and "journal.forward" in ran.stderr
