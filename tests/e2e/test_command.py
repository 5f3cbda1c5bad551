# SPDX-License-Identifier: MIT
"""`sandbox run`: what goes in, what comes out, exit codes."""
import json
import os
import signal
import subprocess
import time

import pytest

from runner import BINARY, settings

SHAPE = {"id", "status", "result", "result_repr", "stdout", "stderr", "truncated", "error", "displays", "files", "usage",
         "events", "enforced", "policy", "template"}


def test_result_has_the_whole_shape(command):
    ran = command("run", "--json", "-c", "__result__ = 1 + 1")
    assert ran.exit == 0
    assert ran.stdout.count("\n") <= 1, "exactly one object"
    result = ran.result
    assert result["status"] == "ok" and result["result"] == 2
    assert SHAPE <= set(result)
    assert set(result["usage"]) == {"wall_ms", "cpu_ms", "memory_peak_bytes", "processes_peak", "written_bytes",
                                    "connections", "sent_bytes", "received_bytes"}
    assert set(result["truncated"]) == {"stdout", "stderr", "files"}
    kept = result["enforced"]
    for limit in ("memory", "cpu", "processes"):
        assert kept[limit] in ("cgroup2", "cgroup1", "rlimit+supervised")
    for promise in ("wall_time", "output", "disk", "open_files", "filesystem", "network", "syscalls", "privileges",
                    "isolation"):
        assert kept[promise] != "none"


def test_last_expression_and_explicit_result(program):
    assert program("1\n2 + 3")["result"] == 5
    assert program("__result__ = 7\n2 + 3")["result"] == 7
    assert program("x = 1")["result"] is None


def test_numbers_come_back_as_they_were(program):
    assert program("[0.1, 1e300, 1.0, 10**15, True, None, 'ä']")["result"] == [0.1, 1e300, 1.0, 10**15, True, None, "ä"]


@pytest.mark.parametrize("code, status, code_out", [
    ("print('x')", "ok", 0),
    ("raise SystemExit(0)", "ok", 0),
    ("1/0", "error", 1),
    ("raise SystemExit(3)", "error", 1),
    ("def f(:", "error", 1),
    ("while True: pass", "timeout", 3),
    ("import os", "denied", 4),
])
def test_exit_codes(program, code, status, code_out):
    result = program(code, max_execution_time=1)
    assert (result["status"], result["_exit"]) == (status, code_out)


def test_system_exit_and_signals_have_their_number(program):
    assert program("raise SystemExit(3)")["error"] | {"traceback": None, "line": None} == {
        "name": "SystemExit", "value": "3", "traceback": None, "line": None}
    died = program("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", allowed_modules="*")
    assert died["status"] == "error" and died["error"]["name"] == "Signal" and died["error"]["value"] == "11"


def test_error_has_its_line_and_no_frame_of_ours(program):
    result = program("def f():\n    return 1/0\n\nf()\n")
    assert result["error"]["name"] == "ZeroDivisionError" and result["error"]["line"] == 2
    trace = result["error"]["traceback"]
    assert 'File "<program>", line 4' in trace and "return 1/0" in trace
    assert trace.count("File ") == 2 and result["stderr"].strip() == trace.strip()
    assert program("x = (\n")["error"]["name"] == "SyntaxError"


def test_file_and_stdin(command, tmp_path):
    path = tmp_path / "prog.py"
    path.write_text("import sys\nprint(sys.stdin.read().upper())\n")
    ran = command("run", *settings(allowed_modules="sys"), str(path), stdin="abc")
    assert (ran.exit, ran.stdout.strip()) == (0, "ABC")
    ran = command("run", "-", stdin="print(6 * 7)")
    assert (ran.exit, ran.stdout.strip()) == (0, "42")


def test_much_stdin_flows(command):
    data = "x" * 5_000_000
    ran = command("run", *settings(allowed_modules="sys", max_memory_mb=200), "-c",
                  "import sys; print(len(sys.stdin.read()))", stdin=data)
    assert ran.stdout.strip() == "5000000"


def test_unread_stdin_does_not_hang(command):
    assert command("run", "-c", "print(1)", stdin="x" * 3_000_000).exit == 0


def test_output_streams_while_it_runs():
    code = "import time\nprint('first')\ntime.sleep(1.5)\nprint('second')"
    child = subprocess.Popen([BINARY, "run", "--set", "allowed_modules=time", "-c", code], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    start = time.monotonic()
    assert child.stdout.readline() == "first\n"
    first = time.monotonic() - start
    assert child.stdout.readline() == "second\n"
    assert time.monotonic() - start - first > 1, "the first line came with the second"
    assert child.wait(10) == 0


def test_stderr_and_c_level_output_are_apart(program):
    result = program("import os, sys\nprint('o')\nprint('e', file=sys.stderr)\nos.write(1, b'raw')\nos.write(2, b'RAW')",
                     allowed_modules="os,sys")
    assert result["stdout"] == "o\nraw" and result["stderr"] == "e\nRAW"


def test_output_that_is_not_utf8_is_replaced(program):
    result = program("import os; os.write(1, b'a\\xff\\xc3b\\x00c')", allowed_modules="os")
    assert result["stdout"] == "a\ufffd\ufffdb\0c"


def test_interrupt_ends_the_run():
    child = subprocess.Popen([BINARY, "run", "--set", "max_execution_time=30", "-c", "print('go')\nwhile True: pass"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout.readline() == "go\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(5) == 130


def test_a_closed_output_ends_the_run():
    child = subprocess.Popen([BINARY, "run", "--quiet", "-c", "while True: print('x' * 100)"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
    child.stdout.read(1000)
    child.stdout.close()
    assert child.wait(5) != 0


@pytest.mark.parametrize("args, words", [
    (["--set", "nonsense=1", "-c", "1"], ["nonsense"]),
    (["--set", "max_memory_mb=-5", "-c", "1"], ["max_memory_mb"]),
    (["--set", "max_memory_mb=lots", "-c", "1"], ["max_memory_mb"]),
    (["--set", "allow_imports=7", "-c", "1"], ["allow_imports"]),
    (["--set", "python=/no/such/python", "-c", "1"], ["python", "/no/such/python"]),
    (["--set", "python=/bin/ls", "-c", "1"], ["python"]),
    (["--set", "allowed_directories=/no/such/dir", "-c", "1"], ["allowed_directories", "/no/such/dir"]),
    (["--preset", "nonsense", "-c", "1"], ["nonsense"]),
    (["--policy", "/no/such/file", "-c", "1"], ["/no/such/file"]),
    (["/no/such/program.py"], ["/no/such/program.py"]),
    ([], ["program"]),
    (["--nonsense"], ["nonsense"]),
])
def test_wrong_input_is_exit_2_and_names_the_fault(command, args, words):
    ran = command("run", *args)
    assert ran.exit == 2, ran.stderr
    for word in words:
        assert word.lower() in ran.stderr.lower()
    assert ran.stdout == ""


def test_help_has_every_option(command):
    usage = command("run", "--help").stdout
    for option in ("--preset", "--policy", "--set", "--template", "--config", "--file", "--files", "--journal",
                   "--no-journal", "--journal-required", "--journal-full", "--json", "--quiet", "-c"):
        assert f"{option} " in usage or f"{option}]" in usage, option


def test_code_that_is_not_utf8(command, tmp_path):
    path = tmp_path / "bad.py"
    path.write_bytes(b"x = '\xff'\n")
    ran = command("run", str(path))
    assert ran.exit == 2 and "UTF-8" in ran.stderr


def test_policy_file_and_settings_over_it(command, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("preset: strict\nmax_memory_mb: 60\nallowed_modules: [math, json]\n")
    ran = command("run", "--json", "--policy", str(path), "--set", "max_memory_mb=70", "-c", "import json; json.dumps(1)")
    assert ran.result["policy"]["max_memory_mb"] == 70
    assert ran.result["policy"]["allowed_modules"] == ["math", "json"]
    assert ran.result["result"] == "1"


def test_environment_is_the_policys_and_nothing_else(program):
    os.environ["SECRET_OF_THE_CALLER"] = "1"
    got = program("import os; dict(os.environ)", allowed_modules="os", environment='{"A": "b"}')["result"]
    assert got["A"] == "b" and "SECRET_OF_THE_CALLER" not in got
    assert json.dumps(got).find(os.environ.get("USER", "no-user-name-here")) < 0 or os.environ.get("USER") == "user"


def test_doctor(command):
    ran = command("doctor", "--json")
    assert ran.exit in (0, 1)
    walls = ran.result["walls"]
    assert len(walls) >= 12
    for wall in walls:
        assert wall["probed_with"] and ("stands" in wall or "ok" in wall)
    assert command("doctor").stdout.count("\n") >= 12


def test_policy_and_version(command):
    assert "max_memory_mb: 100" in command("policy", "show").stdout
    assert {"strict", "data", "open"} <= set(command("policy", "presets").stdout.split())
    assert command("version").stdout.strip()
    assert command("nonsense").exit == 2
