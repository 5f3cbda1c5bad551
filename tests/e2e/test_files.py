# SPDX-License-Identifier: MIT
"""Files into a run and out of it. A program's working directory is hostile: any names, types, depth and size."""
import base64
import json
import os
import subprocess
import time

import pytest
import runner

OPEN = {"allowed_modules": "*", "allow_file_operations": True}


def by_path(result):
    return {f["path"]: f for f in result["files"]}


def run_files(tmp_path, code, *args, **fields):
    """The result, and the directory that --files made."""
    out = tmp_path / "out"
    ran = runner.run_command("run", "--json", *runner.settings(**{**OPEN, **fields}), "--files", str(out), *args, "-c", code)
    assert ran.stdout, ran.stderr
    return ran.result, out, ran


def test_files_come_back_with_names_sizes_and_kinds(program):
    result = program("""
import os
open('a.csv', 'w').write('1,2\\n')
os.makedirs('d/e')
open('d/e/plot.png', 'wb').write(b'x' * 5000)
open('/tmp/not-this', 'w').write('x')
""", **OPEN)
    assert [(f["path"], f["size"], f["mime"]) for f in result["files"]] == [
        ("a.csv", 4, "text/csv"), ("d/e/plot.png", 5000, "image/png")]
    assert result["truncated"]["files"] == 0


def test_nothing_left_is_an_empty_list(program):
    result = program("1", **OPEN)
    assert result["files"] == [] and result["truncated"]["files"] == 0
    result = program("open('x', 'w').close()\nimport os\nos.remove('x')", **OPEN)
    assert result["files"] == []


def test_contents_are_written_out(tmp_path):
    code = "import os\nos.mkdir('d')\nopen('d/x', 'wb').write(bytes(range(256)) * 1000)\nopen('empty', 'w').close()"
    result, out, ran = run_files(tmp_path, code)
    assert ran.exit == 0 and len(result["files"]) == 2
    assert (out / "d/x").read_bytes() == bytes(range(256)) * 1000
    assert (out / "empty").read_bytes() == b""
    assert os.stat(out / "d/x").st_mode & 0o111 == 0 and os.stat(out / "d/x").st_uid == os.getuid()


def test_only_regular_files_with_one_name_come_out(tmp_path):
    """CVE-2024-28185, 28189: what a collector must not follow."""
    result, out, ran = run_files(tmp_path, """
import os, socket
os.symlink('/etc/passwd', 'link')
os.symlink('/usr', 'dirlink')
os.mkfifo('fifo')
open('twice', 'w').write('x')
os.link('twice', 'again')
s = socket.socketpair()
open('plain', 'w').write('control')
os.chmod('plain', 0o755)
""")
    assert result["status"] == "ok" and ran.exit == 0
    assert list(by_path(result)) == ["plain"]
    assert result["truncated"]["files"] == 5
    assert os.listdir(out) == ["plain"] and os.stat(out / "plain").st_mode & 0o111 == 0


def test_sparse_petabyte(tmp_path):
    result, out, ran = run_files(tmp_path, """
import os
fd = os.open('huge', os.O_CREAT | os.O_RDWR)
size = 0
for shift in range(60, 20, -1):
    try:
        os.ftruncate(fd, 1 << shift)
        size = 1 << shift
        break
    except OSError:
        pass
open('small', 'w').write('control')
size
""")
    files = by_path(result)
    assert files["huge"]["size"] == result["result"] >= 1 << 21
    assert files["huge"]["stored_bytes"] == 0
    assert (out / "small").read_text() == "control"
    assert ran.seconds < 20


def test_sparse_file_larger_than_the_budget_is_listed_only(tmp_path):
    result, out, _ = run_files(tmp_path, "open('big', 'wb').truncate(100 << 20)\nopen('x', 'w').write('1')", max_disk_mb=200)
    assert by_path(result)["big"]["size"] == 100 << 20
    assert os.listdir(out) == ["x"]


def test_depth_of_a_thousand(program):
    result = program("""
import os
open('top', 'w').write('x')
for i in range(1000):
    os.mkdir('d')
    os.chdir('d')
    if i in (20, 40):
        open('deep', 'w').write('x')
open('deepest', 'w').write('x')
""", **OPEN)
    assert result["status"] == "ok"
    assert sorted(by_path(result)) == ["/".join(["d"] * 21 + ["deep"]), "top"]
    assert result["truncated"]["files"] == 1


def test_names_that_are_not_utf8(tmp_path):
    result, out, ran = run_files(tmp_path, """
import os
for name in (b'x\\xff.txt', b'new\\nline', b'esc\\x1b[31m', 'ü.txt'.encode()):
    open(name, 'w').write('x')
""")
    files = by_path(result)
    assert sorted(files) == sorted(["x\ufffd.txt", "new\nline", "esc\x1b[31m", "ü.txt"])
    assert base64.b64decode(files["x\ufffd.txt"]["path_bytes"]) == b"x\xff.txt"
    assert "path_bytes" not in files["ü.txt"]
    assert sorted(os.listdir(os.fsencode(out))) == sorted(
        [b"x\xff.txt", b"new\nline", b"esc\x1b[31m", "ü.txt".encode()])


def test_a_thousand_files_are_listed_and_the_rest_counted(program):
    result = program("for i in range(1500): open(f'f{i}', 'w').close()", **OPEN)
    assert result["status"] == "ok"
    assert len(result["files"]) == 1000 and result["truncated"]["files"] == 500


def test_unreadable_files_are_listed(tmp_path):
    result, out, _ = run_files(tmp_path, "import os\nopen('no', 'w').write('x')\nos.chmod('no', 0)\nos.mkdir('shut', 0)")
    assert by_path(result)["no"]["size"] == 1 and result["truncated"]["files"] == 1
    assert os.listdir(out) == []


@pytest.mark.parametrize("code, fields, status", [
    ("while True: pass", {"max_execution_time": 0.5}, "timeout"),
    ("x = []\nwhile True: x.append(bytearray(1 << 20))", {"max_memory_mb": 50}, "memory"),
    ("raise ValueError", {}, "error"),
    ("import os\nos._exit(3)", {}, "error"),
])
def test_files_of_a_run_that_did_not_end_well(program, code, fields, status):
    result = program("open('kept', 'w').write('abc')\n" + code, **{**OPEN, **fields})
    assert result["status"] == status
    assert by_path(result)["kept"]["size"] == 3


def test_a_child_that_goes_on_writing_cannot_race(tmp_path):
    """Everything in the jail is gone before the collector looks: nothing changes under it."""
    result, out, ran = run_files(tmp_path, """
import os, time
open('a', 'w').write('good')
if os.fork() == 0:
    while True:
        for i in range(50):
            try:
                os.remove('a')
            except OSError: pass
            os.symlink('/etc/passwd', 'a')
            os.remove('a')
            open('a', 'w').write('good')
time.sleep(0.2)
""", max_processes=8)
    assert ran.seconds < 20
    if (out / "a").exists():
        assert (out / "a").read_text() in ("good", "") and not (out / "a").is_symlink()


def test_out_directory_is_new_or_empty(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    ran = runner.run_command("run", "--files", str(tmp_path / "full"), "-c", "open('x','w').write('theirs')")
    assert ran.exit == 2 and "not an empty directory" in ran.stderr
    assert (tmp_path / "full" / "x").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    ran = runner.run_command("run", *runner.settings(**OPEN), "--files", str(tmp_path / "empty"), "-c", "open('x','w').write('y')")
    assert ran.exit == 0 and (tmp_path / "empty" / "x").read_text() == "y"


# ---- given ----

def test_given_files_are_there(tmp_path):
    (tmp_path / "in.txt").write_text("hello")
    (tmp_path / "raw").write_bytes(b"\xff\x00\xfe")
    ran = runner.run_command("run", "--json", *runner.settings(**OPEN), "--file", str(tmp_path / "in.txt"), "--file",
                             f"sub/dir/raw.bin={tmp_path / 'raw'}", "-c",
                             "import os\n(open('in.txt').read(), open('sub/dir/raw.bin','rb').read(), os.getcwd(), os.stat('in.txt').st_uid)")
    assert ran.result["status"] == "ok", ran.result["error"]
    assert ran.result["result_repr"] == repr(("hello", b"\xff\x00\xfe", "/work", 1000))
    assert ran.result["files"] == [], "nobody wrote to them"


def test_given_files_that_were_written_to_come_back(tmp_path):
    (tmp_path / "a").write_text("12345")
    (tmp_path / "b").write_text("12345")
    result, out, _ = run_files(tmp_path, "f = open('a', 'r+')\nf.write('X')\nf.close()", "--file", str(tmp_path / "a"),
                               "--file", str(tmp_path / "b"))
    assert [f["path"] for f in result["files"]] == ["a"]
    assert (out / "a").read_text() == "X2345"


def test_given_file_replaced_by_another(tmp_path):
    (tmp_path / "a").write_text("1")
    result, out, _ = run_files(tmp_path, "import os\nos.remove('a')\nopen('b', 'w').write('2')", "--file", str(tmp_path / "a"))
    assert [f["path"] for f in result["files"]] == ["b"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", "a//b", ".", "..", "a/", "x" * 300, "a\nb", ""])
def test_names_that_are_refused(tmp_path, name):
    request = {"code": "1", "files": {name: "x"}}
    answer = serve_once(tmp_path, [request])[0]
    assert answer["name"] == "UsageError" and answer["field"] == "files", answer


def test_files_over_http(tmp_path):
    policy = {"allowed_modules": ["*"], "allow_file_operations": True}
    answers = serve_once(tmp_path, [
        {"code": "open('a/t').read() + str(len(open('b', 'rb').read()))", "policy": policy,
         "files": {"a/t": "hé", "b": {"base64": base64.b64encode(bytes(1000)).decode()}}},
        {"code": "1", "files": {"b": {"base64": "@@@@"}}},
        {"code": "1", "files": {"b": 3}},
        {"code": "1", "files": {f"f{i}": "" for i in range(257)}},
        {"code": "1", "file_contents": True},
        {"code": "1", "files": {"big": "x" * (3 << 20)}, "policy": {"max_disk_mb": 1}},
        {"code": "1", "files": {"d": "x", "d/e": "y"}},
        {"code": "import os\nlen(os.listdir('.'))", "files": {f"f{i}": "" for i in range(256)}, "policy": policy},
    ])
    assert answers[0]["result"] == "hé1000"
    for answer in answers[1:7]:
        assert answer["name"] == "UsageError", answer
    assert "max_disk_mb" in answers[5]["detail"]
    assert answers[7]["result"] == 256


def serve_once(tmp_path, requests):
    """Answers of a private server on a unix socket."""
    import http.client
    import socket
    path = str(tmp_path / "s")
    server = subprocess.Popen([runner.BINARY, "serve", "--socket", path], stderr=subprocess.PIPE)
    try:
        for _ in range(400):
            if os.path.exists(path):
                break
            time.sleep(0.025)
        answers = []
        for request in requests:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(path)
            connection.request("POST", "/v1/executions", json.dumps(request), {"Content-Type": "application/json"})
            answers.append(json.loads(connection.getresponse().read()))
            connection.close()
        return answers
    finally:
        server.terminate()
        server.wait(20)
