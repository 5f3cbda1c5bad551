# SPDX-License-Identifier: MIT
"""`sandbox serve` as a service: sockets, tokens, configuration, reload, an orderly end, and what happens when one of
its processes is killed."""
from __future__ import annotations

import grp
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from runner import BINARY, run_command
from server import Server

SLOW = {"preset": "data"}
TOKEN = "t" * 43


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    """Short enough for a unix socket."""
    return tmp_path


def refused(*args: str, env: dict | None = None) -> str:
    ran = run_command("serve", *args, env={**os.environ, "XDG_CONFIG_HOME": "/nonexistent", **(env or {})})
    assert ran.exit == 2, (ran.exit, ran.stderr)
    assert "Traceback" not in ran.stderr
    return ran.stderr


# ---- sockets ----

def test_socket_alone_means_no_tcp(place):
    with Server(place).ready() as server:
        assert server.urls() == []
        assert server.run("6 * 7")["result"] == 42
        assert os.stat(server.socket).st_mode & 0o777 == 0o600
        assert server.stop() == 0
    assert not os.path.exists(server.socket)


def test_tcp_takes_the_printed_token(place):
    with Server(place, "--listen", "127.0.0.1:0", "--listen", "[::1]:0").ready() as server:
        server.wait_for("open http", 2)
        token = server.text().split("#token=")[1].split()[0]
        assert len(token) == 43
        v4, v6 = server.urls()
        assert v6.startswith("[::1]:")
        for host in (v4, v6):
            assert server.ask("POST", "/v1/executions", {"code": "1"}, host=host).status == 401
            assert server.ask("POST", "/v1/executions", {"code": "1"}, host=host, token="x" * 43).status == 401
            assert server.ask("POST", "/v1/executions", {"code": "1"}, host=host, token=token).json["result"] == 1
        assert server.ask("GET", "/v1/health").status == 200  # the socket, too


def test_the_port_is_taken(place):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        at = "127.0.0.1:%d" % other.getsockname()[1]
        said = refused("--listen", at, "--socket", str(place / "a.sock"))
    assert f"{at}: another program listens there" in said
    assert not (place / "a.sock").exists()


@pytest.mark.parametrize("listen, said", [
    ("0.0.0.0:0", "can be reached from other machines"),
    ("[::]:0", "can be reached from other machines"),
    ("5000", "expected ADDRESS:PORT"),
    ("example.org:80", "expected ADDRESS:PORT"),
])
def test_tcp_that_is_refused(place, listen, said):
    assert said in refused("--listen", listen, "--socket", str(place / "a.sock"))


def test_insecure_is_explicit(place):
    with Server(place, "--listen", "0.0.0.0:0", "--insecure", "--token-file", str(place / "t")).ready() as server:
        port = server.urls()[0].rpartition(":")[2]
        assert int(port) > 0


def test_tls(place):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", "k.pem", "-out", "c.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1"], cwd=place, check=True, capture_output=True)
    args = ("--listen", "127.0.0.1:0", "--tls-certificate", str(place / "c.pem"), "--tls-key", str(place / "k.pem"),
            "--token-file", str(place / "t"))
    os.chmod(place / "k.pem", 0o644)
    assert "k.pem can be read by others" in refused(*args, "--socket", str(place / "a.sock"))
    os.chmod(place / "k.pem", 0o600)
    with Server(place, *args).ready() as server:
        import ssl
        import urllib.request
        context = ssl.create_default_context(cafile=str(place / "c.pem"))
        with urllib.request.urlopen(f"https://{server.urls()[0]}/v1/health", context=context, timeout=30) as got:
            assert json.load(got)["live"] is True
    assert "expected text" not in server.text()


def test_a_second_server_does_not_take_the_socket(place):
    with Server(place).ready() as server:
        assert "listening on" in refused("--socket", server.socket)
        assert server.run("1")["result"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to any group")
def test_socket_group(place):
    with Server(place, "--socket-group", "games").ready() as server:
        st = os.stat(server.socket)
        assert st.st_mode & 0o777 == 0o660 and st.st_gid == grp.getgrnam("games").gr_gid
    assert "no group" in refused("--socket", str(place / "b"), "--socket-group", "no-such-group")


@pytest.fixture
def both():
    """A directory of uid 1000's that whoever is in the group games may enter."""
    with tempfile.TemporaryDirectory(prefix="sandbox-both.") as name:
        os.chown(name, 1000, grp.getgrnam("games").gr_gid)
        os.chmod(name, 0o750)
        yield pathlib.Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes two users")
def test_of_a_users_server_others_get_nothing_of_the_users(both):
    """An ordinary server opens with its user's rights only: whom a group lets in is granted none of them."""
    own, shared = both / "own", both / "shared"
    for directory in (own, shared):
        directory.mkdir()
        directory.chmod(0o700)
        (directory / "f").write_text("secret")
        os.chown(directory / "f", 1000, 1000)
        os.chown(directory, 1000, 1000)
    games = grp.getgrnam("games").gr_gid
    prefix = ("setpriv", "--reuid", "1000", "--regid", "1000", "--groups", str(games))
    with Server(both, "--socket-group", "games", "--grantable", f"{shared}:ro",
                prefix=prefix).ready() as server:
        def ask(uid: int, path: str, url: str = "/v1/executions") -> tuple[int, dict]:
            body = {"policy": {"allowed_directories": [path], "allow_file_operations": True},
                    "code": f"open({str(path).removesuffix(':ro') + '/f'!r}).read()"}
            if url == "/v1/sessions":
                del body["code"]
            os.setegid(games)
            os.seteuid(uid)
            try:
                answer = server.ask("POST", url, body)
            finally:
                os.seteuid(0)
                os.setegid(0)
            return answer.status, answer.json

        status, result = ask(1000, str(own))
        assert status == 200 and result["result"] == "secret", result
        for url in ("/v1/executions", "/v1/sessions"):
            for path in (str(own), "/home", ".", f"{shared}", f"{shared}/../own"):
                status, problem = ask(1001, path, url)
                assert status in (400, 403) and problem["field"] == "allowed_directories", (path, status, problem)
                assert "secret" not in str(problem)
        status, problem = ask(1001, str(own))
        assert problem["name"] == "CeilingExceeded" and "grantable_directories" in problem["detail"], problem
        status, result = ask(1001, f"{shared}:ro")
        assert status == 200 and result["result"] == "secret", result


# ---- tokens ----

def test_token_file_is_made(place):
    path = place / "token"
    args = ("--listen", "127.0.0.1:0", "--token-file", str(path))
    with Server(place, *args).ready() as server:
        token = path.read_text().strip()
        assert path.stat().st_mode & 0o777 == 0o600 and len(token) == 43
        assert server.ask("POST", "/v1/executions", {"code": "1"}, host=server.urls()[0], token=token).status == 200
        assert token not in server.text()
        cmdlines = b"".join(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in
                            [server.process.pid, server.process_of("broker"), server.process_of("engine")])
        assert token.encode() not in cmdlines
    with Server(place, *args).ready():
        assert path.read_text().strip() == token  # it stays


@pytest.mark.parametrize("mode, text, said", [
    (0o644, TOKEN, "can be read by others"),
    (0o640, TOKEN, "can be read by others"),
    (0o600, "short", "a token has 32 to 512 characters"),
    (0o600, TOKEN + "\n" + TOKEN, "a token has"),
    (0o600, TOKEN + " " + TOKEN, "printable characters"),
])
def test_token_file_that_is_refused(place, mode, text, said):
    path = place / "token"
    path.write_text(text)
    path.chmod(mode)
    ran = run_command("serve", "--listen", "127.0.0.1:0", "--socket", str(place / "a"), "--token-file", str(path))
    assert ran.exit == 2 and (said in ran.stderr or "token" in ran.stderr), ran.stderr
    assert TOKEN not in ran.stderr


def test_named_tokens_have_their_ceilings(place):
    config = place / "c.yaml"
    config.write_text(f"""
tokens:
  - {{name: small, file: {place}/small, ceilings: {{max_memory_mb: 100, max_execution_time: 5}}}}
  - {{name: large, file: {place}/large}}
ceilings: {{max_memory_mb: 512}}
""")
    with Server(place, "--listen", "127.0.0.1:0", "--config", str(config)).ready() as server:
        small, large = ((place / name).read_text().strip() for name in ("small", "large"))
        host = server.urls()[0]
        assert "#token=" not in server.text()

        def ask(token, memory):
            return server.ask("POST", "/v1/executions", {"code": "1", "policy": {"max_memory_mb": memory}}, host=host,
                              token=token)
        assert ask(small, 100).status == 200
        over = ask(small, 200)
        assert over.status == 403 and over.json["name"] == "CeilingExceeded"
        assert over.json["field"] == "max_memory_mb"
        assert ask(large, 200).status == 200
        assert ask(large, 1024).status == 403


# ---- the configuration ----

@pytest.mark.parametrize("text, said", [
    ("listen: []\nbogus: 1\n", "line 2: unknown key \"bogus\""),
    ("admission: {queue: -1}\n", "line 1: admission.queue"),
    ("ceilings:\n  max_memory: 1\n", "line 2: unknown field \"max_memory\""),
    ("ceilings: {max_memory_mb: 50}\n", "defaults: max_memory_mb"),
    ("- a\n", "expected a mapping"),
    ("a: [\n", "not valid YAML"),
    ("a: \"\\xff\"\n".replace("\\xff", "\x01"), "not valid YAML"),
])
def test_wrong_files(place, text, said):
    config = place / "c.yaml"
    config.write_text(text)
    assert said in refused("--socket", str(place / "a"), "--config", str(config))
    checked = run_command("policy", "check", str(config))
    assert checked.exit == 2
    if not text.startswith(("-", "a")):
        assert said in checked.stderr


def test_files_that_are_none(place):
    (place / "dir").mkdir()
    os.mkfifo(place / "fifo")
    (place / "large").write_bytes(b"#" * (1 << 20) + b"##")
    assert "no regular file" in refused("--socket", str(place / "a"), "--config", str(place / "dir"))
    assert "no regular file" in refused("--socket", str(place / "a"), "--config", str(place / "fifo"))
    assert "longer than 1 MiB" in refused("--socket", str(place / "a"), "--config", str(place / "large"))
    assert "No such file" in refused("--socket", str(place / "a"), "--config", str(place / "absent"))


@pytest.mark.skipif(os.geteuid() != 0, reason="about root's own file")
def test_root_takes_nobody_elses_word(place):
    config = place / "c.yaml"
    config.write_text("redact: []\n")
    config.chmod(0o666)
    assert "others than root can write" in refused("--socket", str(place / "a"), "--config", str(config))


def test_defaults_ceilings_and_templates(place):
    config = place / "c.yaml"
    config.write_text("defaults: {max_memory_mb: 77, allowed_modules: [json, sys]}\n"
                      "ceilings: {max_memory_mb: 200, network_access: false}\n"
                      "templates: {warm: {preload: [json]}}\n")
    with Server(place, "--config", str(config)).ready() as server:
        assert server.run("1")["policy"]["max_memory_mb"] == 77
        assert server.run("1", preset="strict")["policy"]["max_memory_mb"] == 100
        asked = server.ask("POST", "/v1/executions", {"code": "1", "policy": {"network_access": True}})
        assert asked.status == 403 and asked.json["field"] == "network_access"
        warm = server.run("import sys; 'json' in sys.modules", template="warm")
        assert warm["policy"]["preload"] == ["json"] and warm["result"] is True
        assert server.ask("POST", "/v1/executions", {"code": "1", "template": "none"}).status == 400
    # and the command, without a server
    ran = run_command("run", "--json", "--config", str(config), "--template", "warm", "-c", "1")
    assert ran.result["policy"]["preload"] == ["json"] and ran.result["policy"]["max_memory_mb"] == 77
    ran = run_command("run", "--config", str(config), "--set", "max_memory_mb=201", "-c", "1")
    assert ran.exit == 2 and "more than the operator allows" in ran.stderr


def test_reload(place):
    config = place / "c.yaml"
    config.write_text("ceilings: {max_memory_mb: 200}\n")
    with Server(place, "--config", str(config)).ready() as server:
        def status(memory):
            return server.ask("POST", "/v1/executions", {"code": "1", "policy": {"max_memory_mb": memory}}).status
        pid = server.process_of("engine")
        assert (status(150), status(300)) == (200, 403)
        config.write_text("ceilings: {max_memory_mb: 400}\nlisten: [\"127.0.0.1:1\"]\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("configuration reloaded; these keys take a restart: listen")
        assert (status(300), status(500)) == (200, 403)
        for wrong in ("bogus: 1\n", "ceilings: {max_memory_mb: 0}\n", "{\n"):
            count = server.text().count("holds on")
            config.write_text(wrong)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("the configuration that held holds on", count + 1)
        assert (status(300), status(500)) == (200, 403)
        assert server.process_of("engine") == pid


# ---- the end ----

def run_many(server: Server, count: int, body: dict) -> list:
    """Threads, each with an answer or an exception in its place."""
    answers: list = [None] * count

    def one(i: int) -> None:
        try:
            answers[i] = server.ask("POST", "/v1/executions", body)
        except OSError as error:
            answers[i] = error
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    answers.append(threads)
    return answers


def wait_running(server: Server, count: int) -> None:
    end = time.monotonic() + 60
    while server.ask("GET", "/v1/health").json["running"] < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_graceful_stop_loses_nothing(place):
    config = place / "c.yaml"
    config.write_text("admission: {executions: 4}\n")  # so that some still wait for their turn
    with Server(place, "--config", str(config)).ready() as server:
        answers = run_many(server, 12, {"code": "import time\ntime.sleep(0.3)\nprint('done')", **SLOW})
        wait_running(server, 12)
        assert server.stop() == 0
        for thread in answers.pop():
            thread.join()
        for answer in answers:
            assert not isinstance(answer, Exception), answer
            assert answer.status == 200 and answer.json["stdout"] == "done\n", answer.body
    assert not os.path.exists(server.socket)


def test_the_grace_ends(place):
    with Server(place, "--grace", "0.5").ready() as server:
        answers = run_many(server, 3, {"code": "import time\ntime.sleep(50)", **SLOW})
        wait_running(server, 3)
        assert server.stop() == 0
        for thread in answers.pop():
            thread.join()
        assert [answer.json["status"] for answer in answers] == ["killed"] * 3


def test_a_second_signal_ends_at_once(place):
    with Server(place, "--grace", "600").ready() as server:
        answers = run_many(server, 1, {"code": "import time\ntime.sleep(50)", **SLOW})
        wait_running(server, 1)
        server.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 20
        while os.path.exists(server.socket):  # the first one has come
            assert time.monotonic() < end
            time.sleep(0.01)
        assert server.process.poll() is None
        assert server.stop() == 0
        answers.pop()[0].join()
        assert isinstance(answers[0], Exception) or answers[0].json["status"] == "killed"


# ---- killed ----

@pytest.mark.parametrize("role", ["broker", "engine", "jailer", "zygote"])
def test_a_killed_process_is_replaced(place, role):
    with Server(place, "--grace", "0").ready() as server:
        assert server.run("6 * 7")["result"] == 42
        # of the same template
        answers = run_many(server, 2, {"code": "import time\ntime.sleep(3)\n'finished'",
                                       "policy": {"allowed_modules": ["time"], "max_execution_time": 60}})
        wait_running(server, 2)
        time.sleep(0.3)
        os.kill(server.process_of(role), signal.SIGKILL)
        # It is served again, without the caller's doing anything; generous, since the machine may be busy.
        start = time.monotonic()
        while True:
            try:
                answer = server.ask("POST", "/v1/executions", {"code": "40 + 2"})
            except OSError:
                answer = None
            if answer and answer.status == 200 and answer.json["status"] == "ok":
                break
            assert time.monotonic() - start < 30
        assert answer.json["result"] == 42
        if role in ("broker", "engine"):
            assert server.text().count("starting it again") == 1
        assert server.text().count("listening on") == 1
        assert server.process.poll() is None
        for thread in answers.pop():
            thread.join()
        for got in answers:
            if isinstance(got, Exception) or got.json["status"] in ("fault", "killed"):
                continue
            # Never a false success: one that had not begun yet is begun anew, and then it ran to its end.
            assert got.json["status"] == "ok" and got.json["result"] == "finished" and role in ("jailer", "zygote")
            assert got.json["usage"]["wall_ms"] >= 2900


def test_nothing_is_left(place):
    with Server(place).ready() as server:
        server.run("1")
        engine = server.process_of("engine")
        os.kill(server.process_of("broker"), signal.SIGKILL)
        server.wait_for("starting it again")
        assert server.run("2")["result"] == 2
        end = time.monotonic() + 20
        while os.path.exists(f"/proc/{engine}"):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert server.stop() == 0


# ---- systemd, without systemd ----

ACTIVATE = """
import os, socket, sys
kinds, names, command = sys.argv[1].split(","), sys.argv[2], sys.argv[3:]
held = []
for i, kind in enumerate(kinds):
    s = socket.socket(socket.AF_UNIX if kind.startswith("/") else socket.AF_INET)
    s.bind(kind if kind.startswith("/") else ("127.0.0.1", 0))
    if kind != "deaf":
        s.listen()
    held.append(s)
high = [os.dup(s.fileno()) for s in held for _ in (0,)]
for i, fd in enumerate(high):
    os.dup2(fd, 50 + i)
for i in range(len(high)):
    os.dup2(50 + i, 3 + i)
    os.set_inheritable(3 + i, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""


def test_socket_activation(place):
    path = str(place / "activated.sock")
    with Server(place, "--token-file", str(place / "t"), socket_option=False,
                prefix=(sys.executable, "-c", ACTIVATE, f"{path},tcp", "sandbox.socket:http"), close_fds=False) as server:
        server.socket = path
        server.ready()
        assert len(server.urls()) == 1
        assert server.run("6 * 7")["result"] == 42
        token = (place / "t").read_text().strip()
        assert server.ask("POST", "/v1/executions", {"code": "1"}, host=server.urls()[0], token=token).status == 200
        assert server.text().count("listening on") == 2  # none of its own besides
        assert server.stop() == 0
    assert os.path.exists(path)  # it is systemd's


def test_what_is_handed_over_has_to_listen(place):
    ran = subprocess.run([sys.executable, "-c", ACTIVATE, "deaf", "x", BINARY, "serve", "--socket", str(place / "a")],
                         capture_output=True, text=True, timeout=60, close_fds=False)
    assert ran.returncode == 2 and "no listening stream socket" in ran.stderr


def test_notify(place):
    config = place / "c.yaml"
    config.write_text("redact: []\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place / "notify"))
        manager.settimeout(60)
        said: list[str] = []

        def hear(word: str) -> None:
            while not any(word in line for line in said):
                said.extend(manager.recv(4096).decode().splitlines())
        env = {"NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": "200000"}
        with Server(place, "--config", str(config), env=env) as server:
            hear("READY=1")
            hear("WATCHDOG=1")
            assert server.run("1")["result"] == 1
            said.clear()
            server.process.send_signal(signal.SIGHUP)
            hear("RELOADING=1")
            hear("MONOTONIC_USEC=")
            hear("READY=1")
            # An engine that does not answer does not feed the watchdog.
            os.kill(server.process_of("engine"), signal.SIGSTOP)
            time.sleep(0.3)
            manager.settimeout(0.001)
            try:
                while manager.recv(4096):
                    pass
            except TimeoutError:
                pass
            manager.settimeout(0.7)
            with pytest.raises(TimeoutError):
                while True:
                    assert b"WATCHDOG=1" not in manager.recv(4096)
            os.kill(server.process_of("engine"), signal.SIGCONT)
            manager.settimeout(60)
            said.clear()
            hear("WATCHDOG=1")
            server.process.send_signal(signal.SIGTERM)
            hear("STOPPING=1")
            assert server.process.wait(60) == 0


def test_no_token_into_a_log(place):
    """systemd's journal is told from a terminal by JOURNAL_STREAM."""
    with open(place / "log", "wb") as log:
        st = os.fstat(log.fileno())
        env = {**os.environ, "JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino}", "XDG_CONFIG_HOME": "/nonexistent"}
        done = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0", "--socket", str(place / "a")], stderr=log,
                              stdin=subprocess.DEVNULL, env=env, timeout=60)
    assert done.returncode == 2
    text = (place / "log").read_text()
    assert "--token-file" in text and "#token" not in text
