# SPDX-License-Identifier: MIT
"""sandbox policy suggest: from a program's denials to the smallest policy that lets it run."""
import json
import os
import pty
import subprocess

from runner import BINARY, run_command

PROGRAM = """import os, json
try:
    import decimal
except ImportError:
    decimal = None
open('x.txt', 'w').write('1')
print(json.dumps(os.getcwd()))
"""


def suggest(*args, timeout=120):
    return run_command("policy", "suggest", *args, timeout=timeout)


def test_the_smallest_policy(tmp_path):
    file = tmp_path / "p.py"
    file.write_text(PROGRAM)
    ran = suggest("--yes", str(file))
    assert ran.exit == 0, ran.stderr
    lines = dict(line.split(": ", 1) for line in ran.stdout.splitlines())
    assert set(lines) == {"allow_file_operations", "allowed_modules"}, "only what differs from the preset"
    assert json.loads(lines["allowed_modules"]) == ["math", "random", "os", "json", "decimal"]
    assert lines["allow_file_operations"] == "true"
    # It is a policy, and lets the program run.
    policy = tmp_path / "p.yaml"
    policy.write_text(ran.stdout)
    assert run_command("run", str(file)).exit == 4, "the control"
    again = run_command("run", "--json", "--policy", str(policy), str(file))
    assert again.exit == 0 and again.result["events"] == []


def test_json(tmp_path):
    ran = suggest("--yes", "--json", "-c", "import os")
    told = json.loads(ran.stdout)
    assert ran.exit == 0 and told["clean"] is True and told["status"] == "ok" and told["runs"] == 2
    assert told["policy"] == {"allowed_modules": ["math", "random", "os"]}
    assert told["asked"] == [{"change": {"field": "allowed_modules", "add": "os"}, "accepted": True}]
    assert ran.stderr == ""


def test_nothing_to_suggest():
    ran = suggest("--yes", "-c", "1 + 1")
    assert ran.exit == 0 and ran.stdout == "preset: strict\n"


def test_over_a_preset_and_settings():
    ran = suggest("--yes", "--preset", "data", "--set", "max_memory_mb=2000", "-c", "import os\nos.system('true')")
    assert ran.exit == 0, ran.stderr
    assert ran.stdout.splitlines() == ["preset: data", "max_memory_mb: 2000", "allow_subprocess: true"]


def test_nobody_to_ask():
    ran = suggest("-c", "import os")
    assert ran.exit == 2 and "--yes" in ran.stderr and ran.stdout == ""


def test_wrong_usage():
    assert suggest("--yes").exit == 2
    assert suggest("--yes", "-c", "1", "x.py").exit == 2
    assert suggest("--yes", "/no/such/file.py").exit == 2
    assert suggest("--yes", "--nonsense", "-c", "1").exit == 2
    assert suggest("--yes", "--set", "no_field=1", "-c", "1").exit == 2


def test_ten_runs_at_most():
    code = "\n".join(f"import {name}" for name in ("os", "json", "re", "decimal", "statistics", "textwrap", "string", "bisect",
                                                     "heapq", "calendar", "fractions", "operator"))
    told = json.loads(suggest("--yes", "--json", "-c", code).stdout)
    assert told["runs"] == 10 and told["clean"] is False and told["status"] == "denied"


def test_what_no_policy_allows_is_not_suggested():
    code = "import ctypes\nctypes.CDLL(None).syscall(101, 0, 0, 0, 0)"  # ptrace
    told = json.loads(suggest("--yes", "--json", "-c", code).stdout)
    assert told["policy"] == {"allowed_modules": ["math", "random", "ctypes"]} and told["runs"] == 2
    assert told["clean"] is False and told["events"][0]["change"] is None


def test_forged_events_widen_nothing_but_known_fields():
    code = """
import os, json, struct
for event in ({"kind": "x", "rule": "max_memory_mb", "subject": "1"}, {"kind": "x", "rule": "degraded", "subject": "allow"},
              {"kind": "x", "rule": "python", "subject": "/tmp/evil"}, {"kind": "x", "rule": "allowed_modules", "subject": "*"},
              {"kind": "x", "rule": "allowed_hosts", "subject": "*"}, {"kind": "x", "rule": "allowed_directories", "subject": "/"},
              {"kind": "x", "rule": "allowed_directories", "subject": "/x"}, {"kind": "x", "rule": "environment", "subject": "A=1"},
              {"kind": "x", "rule": "allowed_modules", "subject": "a b; c", "change": {"field": "degraded", "set": "allow"}}):
    data = json.dumps(event).encode()
    os.write(3, struct.pack('II', 32, len(data)) + data)
"""
    ran = suggest("--yes", "--json", "--set", "allowed_modules=os,json,struct", "-c", code)
    told = json.loads(ran.stdout)
    assert told["policy"] == {"allowed_modules": ["os", "json", "struct"]} and told["asked"] == []
    assert len(told["events"]) == 9, "they came through"


def test_asked_on_a_terminal():
    leader, follower = pty.openpty()
    asked = subprocess.Popen([BINARY, "policy", "suggest", "-c", "import os\nimport json"], stdin=follower,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.write(leader, b"y\nn\n")
    out, err = asked.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert "[y/N]" in err and 'add "os"' in err
    assert out.splitlines() == ['allowed_modules: ["math", "random", "os"]']
    assert asked.returncode == 4, "the second was declined"
