# SPDX-License-Identifier: MIT
"""Limits that the kernel keeps, each with a verdict of its own."""
import pytest

from runner import settings


def test_memory_is_the_programs_own(program):
    assert program("x = bytearray(2 << 20)", max_memory_mb=10)["status"] == "ok"
    over = program("x = bytearray(11 << 20)", max_memory_mb=10)
    assert over["status"] == "memory" and over["_exit"] == 3
    assert program("x = bytearray(200 << 20)", max_memory_mb=50)["status"] == "memory"


def test_memory_in_many_small_parts(program):
    over = program("x = []\nwhile True: x.append('y' * 1000 + str(len(x)))", max_memory_mb=40, max_execution_time=20)
    assert over["status"] == "memory"
    assert over["usage"]["memory_peak_bytes"] > 20 << 20
    assert [e for e in over["events"] if e["rule"] == "max_memory_mb" and e["source"] == "supervisor"]


def test_memory_of_children_counts(program):
    code = """
import os, time
keep = []
for i in range(6):
    if os.fork() == 0:
        mine = bytearray(12 << 20)
        time.sleep(3)
        os._exit(0)
time.sleep(3)
"""
    assert program(code, allowed_modules="os,time", max_memory_mb=40, max_execution_time=10)["status"] == "memory"


def test_files_in_the_private_disk_count_as_memory(program):
    code = "f = open('/tmp/x', 'wb')\nfor i in range(60): f.write(bytes(1 << 20))"
    over = program(code, allow_file_operations=True, max_memory_mb=30, max_disk_mb=200)
    assert over["status"] == "memory"


def test_a_caught_memory_error_is_no_verdict(program):
    result = program("try:\n    x = ' ' * (1 << 62)\nexcept MemoryError:\n    print('caught')")
    assert result["status"] == "ok" and result["stdout"] == "caught\n"


@pytest.mark.parametrize("code", [
    "while True: pass",
    "import time; time.sleep(100)",
    "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass",
    "import os\nos.fork()\nos.setsid() if os.getpid() != 2 else None\nwhile True: pass",
    "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "sum(range(10**18))",
    "import threading, time\nfor i in range(8): threading.Thread(target=time.sleep, args=(100,)).start()",
    "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
])
def test_wall_time_whatever_it_does(program, code):
    result = program(code, allowed_modules="*", max_execution_time=0.5)
    assert result["status"] == "timeout" and result["_exit"] == 3
    assert 500 <= result["usage"]["wall_ms"] < 800
    assert result["_seconds"] < 5


def test_cpu_share_is_kept(program):
    code = "import time\nend = time.monotonic() + 2\nn = 0\nwhile time.monotonic() < end: n += 1"
    for share in (20, 100):
        result = program(code, allowed_modules="time", max_cpu_percent=share, max_execution_time=10)
        used = result["usage"]["cpu_ms"] / result["usage"]["wall_ms"] * 100
        assert result["status"] == "ok"
        assert used < share * 1.5 + 5
        if share == 20:
            assert used > 5


def test_cpu_share_is_kept_over_many_processes(program):
    code = """
import os, time
for i in range(4):
    if os.fork() == 0:
        while True: pass
time.sleep(2)
"""
    result = program(code, allowed_modules="os,time", max_cpu_percent=30, max_execution_time=10)
    assert result["status"] == "ok"
    assert result["usage"]["cpu_ms"] / result["usage"]["wall_ms"] < 0.5


def test_cpu_time(program):
    result = program("while True: pass", max_cpu_time=0.3, max_cpu_percent=100, max_execution_time=10)
    assert result["status"] == "cpu" and result["_exit"] == 3
    assert 250 < result["usage"]["cpu_ms"] < 2000


def test_processes(program):
    code = "import os, time\nfor i in range(100):\n    if os.fork() == 0: time.sleep(5); os._exit(0)\n"
    result = program(code, allowed_modules="os,time", max_processes=10, max_cpu_percent=100)
    assert result["status"] == "processes"
    assert result["usage"]["processes_peak"] <= 10


def test_threads_count(program):
    code = "import threading, time\nfor i in range(100): threading.Thread(target=time.sleep, args=(2,)).start()"
    assert program(code, allowed_modules="*", max_processes=10)["status"] == "processes"


@pytest.mark.parametrize("code", [
    "import os\nwhile True: os.fork()",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
])
def test_fork_bomb(program, code):
    result = program(code, allowed_modules="os", max_execution_time=3)
    assert result["status"] in ("processes", "memory", "timeout")
    assert result["_seconds"] < 10


def test_output_keeps_head_and_tail(program):
    result = program("for i in range(5000): print(i)", max_output_bytes=1000, max_cpu_percent=100)
    assert result["status"] == "ok"
    assert result["stdout"].startswith("0\n1\n") and result["stdout"].endswith("4999\n")
    assert len(result["stdout"]) <= 1000
    assert result["truncated"]["stdout"] == sum(len(f"{i}\n") for i in range(5000)) - len(result["stdout"])


def test_output_flood_ends(program):
    result = program("while True: print('x' * 10000)", max_output_bytes=10000, max_cpu_percent=100, max_execution_time=20)
    assert result["status"] == "output" and result["_exit"] == 3


def test_disk_bytes(program):
    code = "f = open('/tmp/x', 'wb')\nwhile True: f.write(bytes(1 << 16)); f.flush()"
    result = program(code, allow_file_operations=True, max_disk_mb=5)
    assert result["status"] == "disk" and result["_exit"] == 3


def test_disk_is_one_for_all_its_places(program):
    code = """
for i, place in enumerate(('/tmp', '/dev/shm', '/work')):
    with open(place + '/x', 'wb') as f:
        for k in range(4): f.write(bytes(1 << 20))
"""
    assert program(code, allow_file_operations=True, max_disk_mb=20)["status"] == "ok"
    assert program(code, allow_file_operations=True, max_disk_mb=10)["status"] == "disk"


def test_inodes(program):
    code = "i = 0\nwhile True:\n    open(f'/tmp/{i}', 'w').close(); i += 1"
    assert program(code, allow_file_operations=True, max_disk_mb=1, max_open_files=64,
                   max_execution_time=20)["status"] == "disk"


def test_open_files(program):
    code = "f = []\ntry:\n    while True: f.append(open('/dev/null'))\nexcept OSError as e: print(e.errno, len(f))"
    result = program(code, allow_file_operations=True, max_open_files=50)
    number, count = map(int, result["stdout"].split())
    assert number == 24 and count < 50


def test_sparse_file_is_stopped(program):
    code = "f = open('/tmp/x', 'wb')\nf.seek(1 << 50)\nf.write(b'x')\nf.flush()"
    assert program(code, allow_file_operations=True)["status"] in ("error", "disk")


def test_samples_and_usage_are_plausible(program):
    result = program("x = bytearray(20 << 20)\nimport time; time.sleep(0.1)", allowed_modules="time")
    assert 19 << 20 <= result["usage"]["memory_peak_bytes"] < 40 << 20
    assert 100 <= result["usage"]["wall_ms"] < 3000
    assert result["usage"]["processes_peak"] == 1


def test_written_bytes(program):
    result = program("f = open('/tmp/x', 'wb')\nf.write(bytes(3 << 20))\nf.close()", allow_file_operations=True)
    assert result["usage"]["written_bytes"] >= 3 << 20


def test_each_limit_is_named_in_the_summary(command):
    ran = command("run", *settings(max_execution_time=0.2), "-c", "while True: pass")
    assert ran.exit == 3 and "max_execution_time" in ran.stderr
