# SPDX-License-Identifier: MIT
"""What a program must not reach. Each attack has its control: the same act where it is allowed."""
import os
import subprocess

import pytest

OPEN = {"allowed_modules": "*", "allow_file_operations": True}


def events(result, source, kind=None):
    return [e for e in result["events"] if e["source"] == source and (kind is None or e["kind"] == kind)]


def test_namespaces_differ_from_ours(program):
    code = "import os\n{n: os.readlink(f'/proc/self/ns/{n}') for n in ('user','pid','mnt','net','ipc','uts','cgroup','time')}"
    inside = program(code, **OPEN)["result"]
    for name, value in inside.items():
        assert value != os.readlink(f"/proc/self/ns/{name}"), name


def test_identity_says_nothing_of_the_host(program):
    code = """
import os, socket, pwd, getpass, platform
[os.getuid(), os.getgid(), platform.node(), pwd.getpwuid(os.getuid()).pw_name, os.uname().nodename,
 [p.pw_name for p in pwd.getpwall()]]
"""
    uid, gid, node, name, nodename, users = program(code, **OPEN)["result"]
    assert (uid, gid, node, nodename, name) == (1000, 1000, "sandbox", "sandbox", "sandbox")
    assert users == ["root", "sandbox"]
    assert os.uname().nodename != "sandbox"


def test_no_capability_no_new_privs_filter_on(program):
    status = program("open('/proc/self/status').read()", **OPEN)["result"]
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert int(dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines()
                    if ":\t" in line)["CapBnd"], 16) != 0, "the control"


def test_only_four_descriptors(program):
    code = "import os\nsorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}') or int(n) < 4)"
    assert set(program(code, **OPEN)["result"]) <= {0, 1, 2, 3}


def test_no_controlling_terminal(program):
    result = program("import os\nos.open('/dev/tty', os.O_RDWR)", **OPEN)
    assert result["status"] in ("error", "denied")
    assert program("open('/dev/null').close()", **OPEN)["status"] == "ok"


def test_root_is_small_and_read_only(program):
    code = """
import os
wrong = []
for path in ('/x', '/usr/x', '/etc/x', '/bin/x', '/dev/x', '/proc/x', '/lib/x'):
    try:
        open(path, 'w').close(); wrong.append(path)
    except OSError: pass
open('/tmp/ok', 'w').close(); open('/dev/shm/ok', 'w').close(); open('ok', 'w').close()
[sorted(os.listdir('/')), wrong]
"""
    result = program(code, **OPEN)
    assert result["status"] == "ok", result["stderr"]
    listing, wrong = result["result"]
    assert wrong == []
    assert not {"home", "root", "var", "sys", "run", "boot", "srv", "mnt", "old", "trees"} & set(listing)


def test_no_file_of_the_hosts_users(program, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    code = f"open({str(secret)!r}).read()"
    assert program(code, **OPEN)["status"] == "error"
    granted = program(code, **OPEN, allowed_directories=f"{tmp_path}:ro")
    assert granted["result"] == "the host's", granted["stderr"]


def test_grants_are_what_they_say(program, tmp_path):
    (tmp_path / "in").write_text("1")
    write = f"open({str(tmp_path / 'out')!r}, 'w').write('from inside')"
    assert program(write, **OPEN, allowed_directories=f"{tmp_path}:ro")["status"] != "ok"
    assert not (tmp_path / "out").exists()
    assert program(write, **OPEN, allowed_directories=f"{tmp_path}:rw")["status"] == "ok"
    assert (tmp_path / "out").read_text() == "from inside"
    assert (tmp_path / "out").stat().st_uid == os.getuid()


def test_relative_grant_and_working_directory(program, tmp_path):
    (tmp_path / "data.txt").write_text("here")
    result = program("open('data.txt').read()", **OPEN, allowed_directories="./", cwd=str(tmp_path))
    assert result["result"] == "here"


def test_proc_is_private(program):
    code = """
import os
pids = [n for n in os.listdir('/proc') if n.isdigit()]
there = [n for n in ('sys', 'kcore', 'kallsyms', 'meminfo', 'cmdline', 'mounts', 'modules', 'keys') if os.path.exists('/proc/' + n)]
[len(pids), there]
"""
    count, there = program(code, **OPEN)["result"]
    assert count <= 3 and there in ([], ["mounts"])


def test_mountinfo_tells_no_path_of_ours(program):
    text = program("open('/proc/self/mountinfo').read()", **OPEN)["result"]
    assert "/sandbox-" not in text and "/home" not in text


@pytest.mark.parametrize("number, args, name", [
    (101, "0, 0, 0, 0", "ptrace"),
    (165, "b'x', b'/tmp', b'tmpfs', 0, 0", "mount"),
    (272, "0x10000000", "unshare"),
    (308, "3, 0", "setns"),
    (321, "0, 0, 0", "bpf"),
    (298, "0, 0, -1, -1, 0", "perf_event_open"),
    (323, "0", "userfaultfd"),
    (250, "0, 0, 0, 0, 0", "keyctl"),
    (425, "8, 0", "io_uring_setup"),
    (317, "0, 0, 0", "seccomp"),
    (444, "0, 0, 0", "landlock_create_ruleset"),
    (155, "b'/', b'/'", "pivot_root"),
    (161, "b'/tmp'", "chroot"),
    (310, "1, 0, 0, 0, 0, 0", "process_vm_readv"),
    (313, "0, b'', 0", "finit_module"),
    (246, "0, 0, 0, 0", "kexec_load"),
    (227, "0, 0", "clock_settime"),
    (304, "0, 0, 0", "open_by_handle_at"),
])
def test_denied_calls_are_kernel_events(program, number, args, name):
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
r = libc.syscall({number}, {args})
[r, ctypes.get_errno()]
"""
    result = program(code, **OPEN)
    assert result["status"] == "ok", result["stderr"]
    value = result["result"]
    assert value[0] == -1 and value[1] in (1, 38, 13)
    seen = events(result, "kernel")
    assert seen, f"{name} left no event"
    assert seen[0]["rule"]


def test_control_a_harmless_call_is_neither_denied_nor_recorded(program):
    code = "import ctypes\nctypes.CDLL(None).syscall(39)"  # getpid
    result = program(code, **OPEN)
    assert result["result"] > 0 and result["events"] == []


def test_tiocsti_with_high_bits(program):
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
out = []
for request in (0x5412, 0x5412 | (1 << 40), 0x541c, 0x541c | (1 << 33)):
    r = libc.syscall(16, 0, ctypes.c_ulong(request), ctypes.c_char_p(b'x'))
    out.append((r, ctypes.get_errno()))
[list(o) for o in out]
"""
    result = program(code, **OPEN)
    assert [r for r, _ in result["result"]] == [-1] * 4
    assert all(e == 1 for _, e in result["result"])
    assert events(result, "kernel")


def test_int80_and_x32_kill(program):
    code = """
import ctypes, mmap
code = bytes.fromhex('b814000000cd80c3')
m = mmap.mmap(-1, 4096, prot=7)
m.write(code)
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
print('alive')
"""
    result = program(code, **OPEN)
    assert "alive" not in result["stdout"] and result["status"] == "error"
    x32 = program("import ctypes\nctypes.CDLL(None).syscall(0x40000000 | 39)\nprint('alive')", **OPEN)
    assert "alive" not in x32["stdout"] and x32["status"] == "error"


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"])
def test_sockets(program, family):
    result = program(f"import socket\nsocket.socket(socket.{family}, socket.SOCK_STREAM)", **OPEN)
    assert result["status"] in ("denied", "error")
    assert events(result, "kernel"), family
    if family.startswith("AF_INET"):
        assert result["error"]["name"] == "PermissionError"


def test_socketpair_works(program):
    assert program("import socket\na, b = socket.socketpair()\na.send(b'x')\nb.recv(1)", **OPEN)["status"] == "ok"


def test_exec(program):
    code = "import os\nos.execv('/bin/true', ['true'])"
    denied = program(code, **OPEN)
    assert denied["status"] == "denied" and denied["error"]["name"] == "PermissionError"
    assert program(code, **OPEN, allow_subprocess=True)["status"] == "ok"
    got = program("import subprocess\nsubprocess.run(['echo', 'hi'], capture_output=True, text=True).stdout", **OPEN,
                  allow_subprocess=True)
    assert got["result"] == "hi\n"


def test_raw_exec_past_the_interpreter_is_a_kernel_event(program):
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
args = (ctypes.c_char_p * 2)(b'true', None)
libc.syscall(59, b'/bin/true', args, None)
"""
    result = program(code, **OPEN)
    assert result["result"] == -1 and events(result, "kernel", "exec")


def test_other_processes_are_out_of_reach(program):
    code = """
import os, signal
seen = []
for pid in (1, os.getppid() or 1):
    for path in (f'/proc/{pid}/mem', f'/proc/{pid}/environ', f'/proc/{pid}/maps', f'/proc/{pid}/io'):
        try:
            open(path, 'rb').read(10)
            seen.append(path)
        except OSError: pass
    for path in (f'/proc/{pid}/exe', f'/proc/{pid}/root', f'/proc/{pid}/cwd', *(f'/proc/{pid}/fd/{n}' for n in range(64))):
        try:
            os.readlink(path)
            seen.append(path)
        except OSError: pass
seen
"""
    assert program(code, **OPEN)["result"] == []


def test_interpreter_cannot_be_overwritten(program):
    for path in ("/proc/self/exe", "/usr/bin/python3", "/proc/1/exe"):
        result = program(f"open({path!r}, 'r+b')", **OPEN)
        assert result["status"] != "ok", path


def test_no_core_dump_and_no_setuid(program):
    assert program("import resource\nlist(resource.getrlimit(resource.RLIMIT_CORE))", **OPEN)["result"] in ([1, 1], [0, 0])
    code = "import os\nos.chmod('/tmp/x', 0o4755) if not open('/tmp/x', 'w').close() else 0\nprint(1)\nos.setuid(0)"
    assert program(code, **OPEN)["status"] != "ok"


def test_forged_reports_stay_claims(program):
    code = """
import os, json, struct
def frame(kind, data): os.write(3, struct.pack('II', kind, len(data)) + data)
frame(32, json.dumps({"kind": "ptrace", "subject": "forged", "rule": "always", "source": "kernel"}).encode())
frame(33, json.dumps({"outcome": "ok", "result": "forged", "result_repr": "'forged'", "error": None}).encode())
raise SystemExit(7)
"""
    result = program(code, **OPEN)
    assert not events(result, "kernel")
    assert result["status"] == "error" and result["error"]["value"] == "7"


def test_garbage_on_the_channel_is_no_fault_of_ours(program):
    for data in ("b'\\xff' * 100000", "b'\\x21\\0\\0\\0\\xff\\xff\\xff\\xff'", "b'\\x20\\0\\0\\0\\x02\\0\\0\\0{]' * 5000"):
        result = program(f"import os\nos.write(3, {data})\nprint('on')", **OPEN)
        assert result["status"] in ("ok", "error"), data


def test_million_denials_cost_little_and_are_counted(program):
    code = """
import ctypes
libc = ctypes.CDLL(None)
for i in range(100000): libc.syscall(101, 0, 0, 0, 0)
"""
    result = program(code, **OPEN, max_cpu_percent=100, max_execution_time=30)
    assert result["status"] == "ok"
    assert sum(e["count"] for e in events(result, "kernel")) + sum(
        e["count"] for e in events(result, "supervisor")) >= 1
    assert len(result["events"]) < 300


@pytest.mark.skipif(os.getuid() != 0, reason="host uids of workers are given only when started as root")
def test_each_worker_has_a_host_uid_of_its_own():
    from runner import BINARY, settings
    children = [subprocess.Popen([BINARY, "run", *settings(allowed_modules="time"), "-c", "print('up', flush=True)\nimport time; time.sleep(3)"],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    for child in children:
        assert child.stdout.readline() == "up\n"
    uids = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                uid = os.stat(f"/proc/{name}").st_uid
                if uid >= 2_000_000_000 and "python3" in open(f"/proc/{name}/cmdline").read():
                    uids.add(uid)
            except OSError:
                pass
    for child in children:
        child.wait(20)
    assert len(uids) >= 4, "two zygotes, two workers"
    assert 65534 not in uids
