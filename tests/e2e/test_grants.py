# SPDX-License-Identifier: MIT
"""Directories of the host's in a jail: exactly what was granted, with its owner, and nothing that executes."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest
import runner
from test_files import serve_once

OPEN = {"allowed_modules": "*", "allow_file_operations": True}
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def place():
    """A directory that every user can reach, outside /tmp's private twin in the jail."""
    for parent in ("/var/tmp", "/tmp"):
        try:
            made = tempfile.mkdtemp(dir=parent, prefix="grant-")
            break
        except OSError:
            continue
    os.chmod(made, 0o755)
    yield pathlib.Path(os.path.realpath(made))
    subprocess.run(["chmod", "-R", "u+rwx", made], check=False)
    shutil.rmtree(made, ignore_errors=True)


def refused(*grants, code="1", cwd=None, **fields):
    ran = runner.run_command("run", "--json", *runner.settings(**{**OPEN, **fields, "allowed_directories": list(grants)}),
                             "-c", code, cwd=cwd)
    assert ran.exit == 2 and ran.stdout == "", (ran.exit, ran.stdout, ran.stderr)
    return ran.stderr


def test_read_only_and_writable_at_the_same_path(program, place):
    (place / "in.txt").write_text("host")
    code = f"""
p = {str(place)!r}
text = open(p + '/in.txt').read()
try:
    open(p + '/new', 'w').write('x')
    wrote = True
except OSError as e:
    wrote = type(e).__name__
(text, wrote)
"""
    result = program(code, allowed_directories=[f"{place}:ro"], **OPEN)
    assert result["result_repr"] in (repr(("host", "OSError")), repr(("host", "PermissionError")))
    assert not (place / "new").exists()
    result = program(code, allowed_directories=[f"{place}:rw"], **OPEN)
    assert result["result_repr"] == repr(("host", True))
    assert (place / "new").read_text() == "x"
    assert os.stat(place / "new").st_uid == os.stat(place).st_uid == os.getuid(), "new files are the owner's"
    assert [f["path"] for f in result["files"]] == [], "a grant is the host's own and is not collected"


def test_not_granted_is_not_there(program, place):
    (place / "in.txt").write_text("host")
    result = program(f"open('{place}/in.txt').read()", **OPEN)
    assert result["status"] == "error" and result["error"]["name"] in ("FileNotFoundError", "PermissionError")
    for path in ("/etc/shadow", "/root", "/home", "/var", "/srv", "/mnt", "/boot", "/opt/none"):
        assert program(f"import os\nos.path.exists({path!r})", **OPEN)["result"] is False, path


def test_private_files_of_the_owner_open(program, place):
    (place / "mine").write_text("secret")
    os.chmod(place / "mine", 0o600)
    assert program(f"open('{place}/mine').read()", allowed_directories=[str(place) + ":ro"], **OPEN)["result"] == "secret"


def test_cwd_inside_a_grant_is_where_the_program_starts(program, place):
    (place / "sub").mkdir()
    (place / "sub" / "x").write_text("1")
    result = program("import os\n(os.getcwd(), open('x').read())", cwd=str(place / "sub"), allowed_directories=[f"{place}:ro"], **OPEN)
    assert result["result_repr"] == repr((str(place / "sub"), "1"))
    result = program("open('x').read()", cwd=str(place / "sub"), allowed_directories=["./"], **OPEN)
    assert result["result"] == "1"
    result = program("import os\nos.getcwd()", cwd="/", allowed_directories=[f"{place}:ro"], **OPEN)
    assert result["result"] == "/work"


def test_mount_flags(program, place):
    def flags(exec_, mode):
        info = program("open('/proc/self/mountinfo').read()", allowed_directories=[f"{place}:{mode}"], allow_subprocess=exec_, **OPEN)
        for line in info["result"].splitlines():
            fields = line.split()
            if fields[4] == str(place):
                return set(fields[5].split(","))
        raise AssertionError(info)
    assert flags(False, "rw") >= {"rw", "nosuid", "nodev", "noexec"}
    assert flags(False, "ro") >= {"ro", "nosuid", "nodev", "noexec"}
    with_programs = flags(True, "rw")
    assert with_programs >= {"rw", "nosuid", "nodev"} and "noexec" not in with_programs


def test_no_set_uid_bits(program, place):
    (place / "f").write_text("x")
    code = f"""
import os, stat
p = {str(place)!r}
said = []
for act in (lambda: os.chmod(p + '/f', 0o4755), lambda: os.chmod(p + '/f', 0o2755),
            lambda: os.close(os.open(p + '/made', os.O_CREAT | os.O_WRONLY, 0o4755)),
            lambda: os.mknod(p + '/node', 0o4755 | stat.S_IFREG)):
    try:
        act()
        said.append('done')
    except OSError as e:
        said.append(type(e).__name__)
os.chmod(p + '/f', 0o755)
said
"""
    result = program(code, allowed_directories=[f"{place}:rw"], **OPEN)
    assert result["result"] == ["PermissionError"] * 4, result["error"]
    for path in place.iterdir():
        assert os.stat(path).st_mode & 0o7000 == 0, path
    assert os.stat(place / "f").st_mode & 0o777 == 0o755, "the control: an ordinary mode is set"


@root_only
def test_no_devices(program, place):
    os.mknod(place / "zero", 0o666 | 0o020000, os.makedev(1, 5))
    result = program(f"open('{place}/zero', 'rb').read(1)", allowed_directories=[f"{place}:ro"], **OPEN)
    assert result["error"]["name"] == "PermissionError"
    assert program("open('/dev/zero', 'rb').read(1)", **OPEN)["status"] == "ok"


def test_nothing_executes_unless_programs_are_allowed(program, place):
    tool = place / "tool"
    tool.write_text("#!/bin/sh\necho ran\n")
    tool.chmod(0o755)
    code = f"import subprocess\nsubprocess.run([{str(tool)!r}], capture_output=True, text=True).stdout"
    assert program(code, allowed_directories=[f"{place}:ro"], **OPEN)["status"] != "ok"
    result = program(code, allowed_directories=[f"{place}:ro"], allow_subprocess=True, max_processes=16, **OPEN)
    assert result["result"] == "ran\n", result["error"]


@pytest.mark.parametrize("outer, inner", [("ro", "rw"), ("rw", "ro")])
@pytest.mark.parametrize("order", [0, 1])
def test_a_grant_inside_another(program, place, outer, inner, order):
    (place / "in").mkdir()
    grants = [f"{place}:{outer}", f"{place / 'in'}:{inner}"]
    code = f"""
said = []
for p in ({str(place / 'a')!r}, {str(place / 'in' / 'b')!r}):
    try:
        open(p, 'w').close()
        said.append('rw')
    except OSError:
        said.append('ro')
said
"""
    result = program(code, allowed_directories=grants[::-1] if order else grants, **OPEN)
    assert result["result"] == [outer, inner]
    assert (place / "a").exists() == (outer == "rw") and (place / "in" / "b").exists() == (inner == "rw")


def test_the_inner_grant_cannot_be_moved_away(program, place):
    (place / "d" / "in").mkdir(parents=True)
    (place / "d" / "in" / "f").write_text("1")
    code = f"""
import os
os.rename('{place}/d', '{place}/e')
try:
    open('{place}/e/in/f', 'w').write('2')
except OSError as e:
    said = type(e).__name__
said
"""
    program(code, allowed_directories=[f"{place}:rw", f"{place}/d/in:ro"], **OPEN)
    assert [p.read_text() for p in place.rglob("f")] == ["1"]


def test_a_single_file(program, place):
    (place / "f").write_text("one")
    (place / "other").write_text("two")
    code = f"""
import os
p = {str(place)!r}
try:
    open(p + '/f', 'a').write('!')
    wrote = True
except OSError:
    wrote = False
(open(p + '/f').read(), os.listdir(p), wrote)
"""
    result = program(code, allowed_directories=[f"{place / 'f'}:ro"], **OPEN)
    assert result["result_repr"] == repr(("one", ["f"], False)), result["error"]
    result = program(code, allowed_directories=[f"{place / 'f'}:rw"], **OPEN)
    assert result["result_repr"] == repr(("one!", ["f"], True)), result["error"]
    assert (place / "f").read_text() == "one!"


def test_symlinks_of_a_grant_lead_nowhere_else(program, place):
    (place / "g").mkdir()
    (place / "secret").write_text("no")
    (place / "g" / "up").symlink_to("../secret")
    (place / "g" / "abs").symlink_to(place / "secret")
    (place / "g" / "here").symlink_to("own")
    (place / "g" / "own").write_text("yes")
    code = f"""
said = []
for name in ('up', 'abs', 'here'):
    try:
        said.append(open('{place}/g/' + name).read())
    except OSError as e:
        said.append(type(e).__name__)
said
"""
    assert program(code, allowed_directories=[f"{place}/g:ro"], **OPEN)["result"] == ["FileNotFoundError", "FileNotFoundError", "yes"]


def test_places_that_cannot_be_granted(place):
    assert "cannot be granted as a whole" in refused("/")
    for path in ("/tmp", "/usr"):
        assert "cannot be granted as a whole" in refused(path), path
    if os.path.islink("/bin"):
        assert "symbolic link" in refused("/bin")
    for path in ("/usr/lib", "/usr/share/doc"):
        assert "cannot be granted for writing" in refused(path) if os.geteuid() == 0 else refused(path), path
    for path in ("/proc", "/proc/self", "/dev", "/dev/shm", "/dev/null", "/sys"):
        if os.path.exists(path):
            assert "can be granted" in refused(path + ":ro"), path
    assert "cannot be granted" in refused(str(place / "missing"))
    os.mkfifo(place / "fifo")
    assert "neither directory nor file" in refused(str(place / "fifo"))
    (place / "l").symlink_to("/")
    assert "cannot be granted" in refused(str(place / "l"))
    assert "same directory" in refused(f"{place}:ro", f"{place}:rw")
    (place / "m").symlink_to(place)
    (place / "real").mkdir()
    for named in (place / "m", place / "m" / "real"):
        assert "symbolic link" in refused(f"{named}:ro") and str(place) in refused(f"{named}:ro")
    assert ".." in refused("/var/../etc")
    for name in (b"/var/\xff", b"/va\nr"):
        done = subprocess.run([runner.BINARY, "run", "--set", b"allowed_directories=" + name, "-c", "1"], capture_output=True)
        assert done.returncode == 2 and done.stdout == b"", done


def test_relative_grants_begin_at_the_callers_directory(program, place):
    (place / "a").mkdir()
    (place / "a" / "x").write_text("1")
    assert program(f"open('{place}/a/x').read()", cwd=str(place), allowed_directories=["a:ro"], **OPEN)["result"] == "1"


def test_odd_names(program, place):
    for name in ("with space", "ü", "a:b", "quote'\"", "x" * 200):
        (place / name).mkdir()
        (place / name / "f").write_text(name)
        result = program(f"open({str(place / name / 'f')!r}).read()", allowed_directories=[f"{place / name}:ro"], **OPEN)
        assert result["result"] == name, result["error"]


def test_beneath_the_own_places(program):
    for parent in ("/tmp", "/work"):
        if not os.access(parent, os.W_OK):
            continue
        made = tempfile.mkdtemp(dir=parent, prefix="grant-")
        try:
            os.chmod(made, 0o755)
            with open(f"{made}/f", "w") as file:
                file.write("host")
            result = program(f"open('{made}/f', 'a').write('!')\nopen('/tmp/own', 'w').close()\nopen('{made}/f').read()",
                             allowed_directories=[f"{made}:rw"], **OPEN)
            assert result["result"] == "host!", result["error"]
            assert result["files"] == [] and open(f"{made}/f").read() == "host!"
        finally:
            shutil.rmtree(made)


def test_beneath_usr_read_only_is_there_already(program):
    result = program("import os, json.scanner\nlen(os.listdir('/usr/lib')) > 0", allowed_directories=["/usr/lib:ro"], **OPEN)
    assert result["result"] is True
    if runner.have("numpy"):
        where = os.path.realpath("/usr/lib/python3/dist-packages")
        assert program("import numpy\nint(numpy.ones(3).sum())", allowed_directories=[f"{where}:ro"], **OPEN)["result"] == 3


def test_a_venv_inside_a_granted_project(program, place):
    """Its libraries have to load although the grant around it executes nothing."""
    done = subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(place / ".venv")], capture_output=True)
    if done.returncode != 0:
        pytest.skip("no venv module here")
    site = next((place / ".venv" / "lib").glob("python3*")) / "site-packages"
    (site / "ours.py").write_text("x = 7")
    (place / "data").write_text("d")
    result = program(f"import ours, sys\nopen('{place}/new', 'w').close()\n(ours.x, open('data').read(), sys.prefix)", cwd=str(place),
                     allowed_directories=["."], python=str(place / ".venv/bin/python3"), **OPEN)
    assert result["result_repr"] == repr((7, "d", str(place / ".venv"))), result["error"]
    result = program(f"open('{site}/ours.py', 'w').write('x = 8')", cwd=str(place), allowed_directories=["."],
                     python=str(place / ".venv/bin/python3"), **OPEN)
    assert result["status"] == "denied" and (site / "ours.py").read_text() == "x = 7"


def test_many_grants(program, place):
    for i in range(64):
        (place / f"d{i}").mkdir()
        (place / f"d{i}" / "f").write_text(str(i))
    result = program(f"sum(int(open(f'{place}/d{{i}}/f').read()) for i in range(64))",
                     allowed_directories=[f"{place}/d{i}:{'ro' if i % 2 else 'rw'}" for i in range(64)], **OPEN)
    assert result["result"] == sum(range(64)), result["error"]


def test_unreadable(place):
    if os.geteuid() == 0:
        pytest.skip("root reads everything; test_rights_are_the_callers has another user")
    assert refused("/etc/shadow:ro")
    assert refused("/etc:rw"), "not writable for us"


def test_a_source_swapped_for_a_symlink_shows_nothing_else(place):
    """CVE-2025-52565: between the look at the path and the opening of it."""
    real, link, secret, at = place / "real", place / "link", place / "secret", place / "at"
    for directory, text in ((real, "granted"), (secret, "SECRET")):
        directory.mkdir()
        (directory / "f").write_text(text)
    link.symlink_to(secret)
    real.rename(at)
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            os.rename(at, real)
            os.rename(link, at)
            os.rename(at, link)
            os.rename(real, at)

    thread = threading.Thread(target=swap)
    thread.start()
    seen, fields = set(), {**OPEN, "allowed_directories": [f"{at}:ro"]}
    try:
        for _ in range(25):
            ran = runner.run_command("run", "--json", *runner.settings(**fields), "-c", f"open('{at}/f').read()")
            seen.add(ran.result["result"] if ran.exit == 0 else "refused" if ran.exit == 2 else ran.result["error"]["name"])
    finally:
        stop.set()
        thread.join()
    assert "SECRET" not in seen and seen <= {"granted", "refused", "FileNotFoundError"}, seen
    assert runner.run_command("run", "--json", *runner.settings(**fields), "-c", f"open('{at}/f').read()").result["result"] == "granted"


# ---- as root: id maps, and callers of another uid ----

@root_only
def test_files_keep_their_owner(program, place):
    os.chown(place, 4321, 4321)
    result = program(f"open('{place}/new', 'w').close()\nimport os\nos.stat('{place}/new').st_uid", allowed_directories=[f"{place}:rw"], **OPEN)
    assert result["result"] == 1000, "inside it is the worker's"
    assert (os.stat(place / "new").st_uid, os.stat(place / "new").st_gid) == (4321, 4321)


@root_only
def test_a_file_system_without_id_maps():
    """Read-only it is shown as it is; writable it is a missing wall."""
    at = tempfile.mkdtemp(dir="/var/tmp", prefix="grant-")
    os.chmod(at, 0o755)
    script = """
mount -t ramfs -o mode=755 none "$1" || exit 77
echo host > "$1/f"; chmod 777 "$1"
"$2" run --json --set allow_file_operations=true --set "allowed_directories=[\\"$1:ro\\"]" -c "open('$1/f').read()"; echo "exit $?"
"$2" run --json --set allow_file_operations=true --set "allowed_directories=[\\"$1:rw\\"]" -c "open('$1/f').read()"; echo "exit $?"
"$2" run --json --set allow_file_operations=true --set degraded=allow --set "allowed_directories=[\\"$1:rw\\"]" -c "open('$1/f').read()"; echo "exit $?"
"""
    try:
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", at, runner.BINARY], capture_output=True, text=True, timeout=60)
    finally:
        os.rmdir(at)
    if done.returncode == 77:
        pytest.skip("no ramfs here")
    lines = done.stdout.splitlines()
    assert json.loads(lines[0])["result"] == "host\n" and lines[1] == "exit 0"
    wall = json.loads(lines[2])
    assert wall["status"] == "fault" and wall["error"]["name"] == "WallMissing" and lines[3] == "exit 125", wall
    assert json.loads(lines[4])["status"] == "ok"


@root_only
def test_rights_are_the_callers(tmp_path, place):
    """A server that runs as root opens what a caller on its socket may open, and nothing else."""
    (place / "theirs").mkdir()
    (place / "theirs" / "f").write_text("theirs")
    os.chown(place / "theirs", 1000, 1000)
    os.chmod(place / "theirs", 0o700)
    (place / "roots").mkdir()
    (place / "roots" / "f").write_text("root's")
    os.chmod(place / "roots", 0o700)
    (place / "seen").mkdir()
    (place / "seen" / "f").write_text("seen")
    sock = str(place / "s")
    server = subprocess.Popen([runner.BINARY, "serve", "--socket", sock], stderr=subprocess.DEVNULL)
    client = """
import http.client, json, socket, sys
sock, *grants = sys.argv[1:]
for grant in grants:
    c = http.client.HTTPConnection('localhost'); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sock)
    path = grant.rsplit(':', 1)[0]
    c.request('POST', '/v1/executions', json.dumps({'code': f"open('{path}/f').read()", 'policy': {'allow_file_operations': True,
              'allowed_directories': [grant]}}), {'Content-Type': 'application/json'})
    a = json.loads(c.getresponse().read())
    print(a.get('result') or a['name'] + ' ' + a['detail'])
"""
    try:
        for _ in range(400):
            if os.path.exists(sock):
                break
            threading.Event().wait(0.025)
        os.chmod(sock, 0o666)
        grants = [f"{place}/theirs:rw", f"{place}/roots:ro", f"{place}/seen:ro", f"{place}/seen:rw", f"{place}/roots/none:ro"]
        said = subprocess.run(["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "/usr/bin/python3", "-c", client, sock,
                               *grants], capture_output=True, text=True, timeout=60)
        lines = said.stdout.splitlines()
        assert len(lines) == 5, said.stderr
        assert lines[0] == "theirs" and lines[2] == "seen"
        assert all(lines[i].startswith("GrantRefused") for i in (1, 3, 4)), lines
        assert "No such file" not in lines[4], "what lies where the caller may not look is not told"
        own = subprocess.run(["/usr/bin/python3", "-c", client, sock, f"{place}/roots:ro"], capture_output=True, text=True, timeout=60)
        assert own.stdout == "root's\n", "the control: root's own rights"
    finally:
        server.terminate()
        server.wait(20)


def test_a_path_that_is_not_granted_is_told_of(program, tmp_path):
    """With file operations on the walls refuse with a bare errno: the interpreter tells what would allow it."""
    place = tmp_path.resolve()
    code = "import os\n" + "\n".join(f"try: {act}\nexcept OSError: pass" for act in (
        "open('/var/nothing/x')", "open('/usr/x', 'w')", "open('/proc/1/environ')", "os.listdir('/home')",
        "open('/etc/shadow')", "open('/proc/self/exe', 'r+b')", "open('/tmp/missing')", "open('/usr/missing')",
        "open('/tmp/made', 'w').close()", "open('/dev/null').close()"))
    events = program(code, allow_file_operations=True, allowed_modules="os")["events"]
    told = {e["subject"]: e for e in events if e["rule"] == "allowed_directories"}
    # For an ordinary user the init's files are its own by mode, and shut by ptrace's rule, which no access(2) sees.
    mode_only = {"/proc/1/environ"} if os.geteuid() else set()
    assert set(told) | mode_only == {"/var/nothing/x", "/usr/x", "/proc/1/environ", "/home", "/etc/shadow",
                                     "/proc/self/exe"}
    assert all(e["source"] == "python" and e["line"] for e in told.values())
    assert told["/var/nothing/x"]["change"] == {"field": "allowed_directories", "add": "/var/nothing:ro"}
    assert told["/usr/x"]["kind"] == "write" and told["/proc/self/exe"]["remedy"] is None
    granted = program(f"open('{place}/x', 'w').close()", allow_file_operations=True,
                      allowed_directories=f"{place}:ro")
    assert granted["events"] and granted["events"][0]["kind"] == "write"
    assert not program(f"open('{place}/x', 'w').close()", allow_file_operations=True,
                       allowed_directories=f"{place}:rw")["events"], "the control"


def test_a_link_that_a_program_planted_leads_the_next_run_nowhere(program, place):
    victim, project = place / "victim", place / "project"
    for directory in (victim, project, project / "data"):
        directory.mkdir()
    (victim / "key").write_text("secret")
    planted = program(f"import os\nos.rename('{project}/data', '{project}/old')\nos.symlink('{victim}', '{project}/data')",
                      allowed_directories=[f"{project}:rw"], **OPEN)
    assert planted["status"] == "ok" and (project / "data").is_symlink()
    ran = runner.run_command("run", *runner.settings(allowed_directories=[f"{project}/data:rw"], **OPEN), "-c",
                             f"print(open('{victim}/key').read())")
    assert ran.exit == 2 and "symbolic link" in ran.stderr and "secret" not in ran.stdout
    control = program(f"open('{project}/old/x', 'w').close()", allowed_directories=[f"{project}/old:rw"], **OPEN)
    assert control["status"] == "ok"
