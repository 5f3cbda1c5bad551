# SPDX-License-Identifier: MIT
"""Attacks that once worked. Each with what shows that the test would see it."""
import os
import shutil
import subprocess
import time

import pytest

from runner import BINARY, run_command, settings

OPEN = {"allowed_modules": "*", "allow_file_operations": True}


def kernel(result):
    return {e["kind"] for e in result["events"] if e["source"] == "kernel"}


def test_a_child_of_the_zygote_does_not_keep_the_jail(program):
    """clone(CLONE_PARENT): the zombie would be the zygote's, which waits for its workers only."""
    code = """
import ctypes, time
libc = ctypes.CDLL(None)
if libc.syscall(56, {flags}, 0, 0, 0, 0) == 0: libc.syscall(231, 0)
time.sleep(.1)
"""
    result = program(code.replace("{flags}", hex(0x8000 | 17)), **OPEN)
    assert result["status"] == "ok" and "namespace" in kernel(result), result["error"]
    control = program(code.replace("{flags}", "17"), **OPEN)
    assert control["status"] == "ok" and not kernel(control)


@pytest.mark.parametrize("frame", ["<II', 34, 0", "<II', 18, 0", "<II', 32, 2) + b'{}' + struct.pack('<II', 32, 0"])
def test_frames_do_not_hold_the_engine(program, frame):
    code = f"""
import os, struct, time
b = (struct.pack('{frame})) * 100000
for k in range(4):
    if os.fork() == 0:
        os.close(1); os.close(2)
        while True: os.write(3, b)
time.sleep(.3); os._exit(0)
"""
    result = program(code, **OPEN, max_execution_time=5, max_cpu_percent=200)
    assert result["status"] in ("ok", "error") and result["usage"]["wall_ms"] < 3000
    assert result["_seconds"] < 8


def test_claims_and_repeats_do_not_hide_what_the_kernel_saw(program):
    code = """
import ctypes, os, struct, json
for i in range(400):
    data = json.dumps({'kind': 'import', 'rule': 'x' + chr(97 + i % 26) + chr(97 + i // 26), 'subject': str(i)}).encode()
    os.write(3, struct.pack('<II', 32, len(data)) + data)
libc = ctypes.CDLL(None)
for i in range(300): libc.syscall(165, b'x', b'/x%d' % i, b'', 0, 0)
libc.syscall(101, 0, 0, 0, 0)
libc.syscall(321, 0, 0, 0)
"""
    result = program(code, **OPEN)
    names = {e["subject"].split("(")[0] for e in result["events"] if e["source"] == "kernel"}
    assert {"mount", "ptrace"} <= kernel(result), result["events"][:3]
    assert any("bpf" in n for n in names) or "kernel" in kernel(result)
    assert len(result["events"]) <= 402


def test_a_foreign_call_of_a_child_is_recorded(program):
    code = "import ctypes, os\nif os.fork() == 0: ctypes.CDLL(None).syscall(0x40000000 | 39); os._exit(0)\nos.wait()[1]"
    result = program(code, **OPEN)
    assert result["result"] in (9, 31), "the child dies"
    assert kernel(result)


def test_a_tight_umask_of_the_caller():
    done = subprocess.run(["sh", "-c", f"umask 077; exec {BINARY} run -c 'print(1)'"], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 0, done.stderr


def test_nothing_that_was_preloaded_remembers_the_hosts_name(program):
    result = program("import platform\n[platform.node(), platform.uname().node]", allowed_modules="*", preload="platform,uuid")
    assert result["result"] == ["sandbox", "sandbox"]


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed")
def test_root_of_a_small_user_namespace():
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    done = subprocess.run(["unshare", "-Ur", BINARY, "run", "-c", "print(1)"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout == "1\n", done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="a network namespace of its own takes root")
def test_an_instance_in_another_network_namespace_leaves_the_others_alone():
    other = subprocess.Popen([BINARY, "run", "--quiet", *settings(allowed_modules="time"), "-c",
                              "print('up', flush=True)\nimport time; time.sleep(1.5)\nprint('done')"],
                             stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "up\n"
    assert subprocess.run(["unshare", "-n", BINARY, "run", "--quiet", "-c", "1"], timeout=30).returncode == 0
    assert other.stdout.read() == "done\n" and other.wait(10) == 0


def test_names_cannot_be_taken_away(command):
    """Abstract sockets were anybody's; the claims are files in a directory of the starter's own."""
    squatter = subprocess.Popen(["/usr/bin/python3", "-c", """
import socket, time
held = []
for i in range(200):
    for name in (f'r{i}', f'u1000-{i}'):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try: s.bind('\\0interpreter-sandbox/' + name)
        except OSError: pass
        held.append(s)
print('held', flush=True)
time.sleep(30)
"""], stdout=subprocess.PIPE, text=True)
    assert squatter.stdout.readline() == "held\n"
    try:
        assert command("run", "-c", "1").exit == 0
    finally:
        squatter.kill()
        squatter.wait()


def test_kernel_memory_without_a_cgroup(program):
    probe = program("1")
    if probe["enforced"]["memory"] != "rlimit+supervised":
        pytest.skip("a cgroup counts it here")
    code = "import mmap\nfor i in range(100):\n    m = mmap.mmap(-1, 2 << 20)\n    m[:] = bytes(2 << 20)\n    keep = m"
    assert program(code, **OPEN, max_memory_mb=60)["status"] != "ok"
    code = """
import socket
held = []
for i in range(100):
    a, b = socket.socketpair(); a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20); held.append((a, b))
"""
    assert program(code, **OPEN)["status"] != "ok"
    page_tables = """
import ctypes
libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p
p = libc.mmap(None, ctypes.c_size_t(200 << 30), 1, 0x4022, -1, 0)
for i in range(0, 200 << 30, 2 << 20): ctypes.c_char.from_address(p + i).value
import time; time.sleep(.2)
"""
    assert program(page_tables, **OPEN, max_memory_mb=60, max_cpu_percent=100, max_execution_time=10)["status"] != "ok"


def test_a_forged_memory_error_is_not_the_supervisors_word(program):
    result = program("raise MemoryError")
    assert not [e for e in result["events"] if e["source"] == "supervisor"]


def test_hash_collisions_do_not_hold_the_caller():
    import sys
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "python"))
    from sandbox.values import decode

    prime = 2**61 - 1
    items = [[{"$type": "int", "value": str(k * prime)}, 1] for k in range(20000)]
    start = time.monotonic()
    decode({"$type": "dict", "items": items})
    assert time.monotonic() - start < 3
    assert decode({"$type": "dict", "items": [[1, 2], [{"$type": "int", "value": str(prime)}, 3]]}) == {1: 2, prime: 3}


def test_output_of_the_last_moment_counts(program):
    code = "import os\nfor i in range(70): os.write(1, b'x' * 1000)\nos._exit(0)"
    assert program(code, **OPEN, max_output_bytes=1000)["status"] == "output"


def test_run_command_leaves_no_file_in_tmp():
    """Claims are one directory of mode 0700; nothing else is left behind."""
    run_command("run", "-c", "1")
    for place in ("/run/interpreter-sandbox", f"/tmp/interpreter-sandbox-{os.getuid()}"):
        if os.path.isdir(place):
            assert os.stat(place).st_mode & 0o077 == 0


@pytest.mark.skipif(os.getuid() != 0, reason="mounts of a namespace of its own take root")
def test_nothing_is_mounted_on_a_host_whose_mounts_are_shared(tmp_path):
    """systemd makes every mount shared: a copy of one is its peer, and what is mounted in the copy shows on the host."""
    (tmp_path / "in" / "inner").mkdir(parents=True)
    script = f"""
mount --make-rshared / || exit 9
before=$(cat /proc/self/mountinfo)
{BINARY} run --quiet -c 'import math' || exit 8
{BINARY} run --quiet --set allow_file_operations=true --set allowed_directories={tmp_path}/in:ro,{tmp_path}/in/inner:rw \
    -c 'open("{tmp_path}/in/inner/x", "w").close()' || exit 7
{BINARY} run --quiet --set allowed_modules=os,time --set max_execution_time=9 -c 'import time; time.sleep(1.5)' &
sleep 1
during=$(cat /proc/self/mountinfo)
wait
[ "$before" = "$during" ] || {{ echo "$during"; exit 6; }}
"""
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
