# SPDX-License-Identifier: MIT
"""The HTTP door on TCP: a token, TLS, places, and that a program never reaches it."""
from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess

import pytest
from http_server import Answer, Server, until


class Tcp(Server):
    def __init__(self, tmp_path, *args: str, tls: bool = False) -> None:
        self.tls = None
        self.token_file = tmp_path / "token"
        options = ["--listen", "127.0.0.1:0", "--token-file", str(self.token_file), *args]
        if tls:
            certificate(tmp_path)
            options += ["--tls-certificate", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
            self.tls = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        super().__init__(*options)
        self.port = int(re.search(r":(\d+)", self.await_line("listening on http").partition("//")[2])[1])
        self.token = self.token_file.read_text().strip()
        self.host = f"127.0.0.1:{self.port}"

    def tcp(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask_tcp(self, method: str, path: str, body=None, headers: dict | None = None, token: bool = True) -> Answer:
        headers = dict(headers or {})
        if token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        connection = self.tcp()
        try:
            return self.ask(method, path, body, headers, connection)
        finally:
            connection.close()


def certificate(where) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", str(where / "key.pem"), "-out", str(where / "cert.pem")], check=True, capture_output=True)
    os.chmod(where / "key.pem", 0o600)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Tcp(tmp_path_factory.mktemp("tcp")) as server:
        yield server


def test_a_token_and_only_it(server: Tcp) -> None:
    assert len(server.token) >= 43 and server.token_file.stat().st_mode & 0o777 == 0o600
    refused = server.ask_tcp("POST", "/v1/executions", {"code": "1"}, token=False)
    assert refused.status == 401 and refused.headers["WWW-Authenticate"].startswith("Bearer ")
    assert refused.type == "application/problem+json"
    for value in ("Bearer x", f"Basic {server.token}", f"Bearer {server.token}x", f"Bearer {server.token[:-1]}"):
        assert server.ask_tcp("POST", "/v1/executions", {"code": "1"}, {"Authorization": value}).status == 401
    assert server.ask_tcp("POST", "/v1/executions", {"code": "6 * 7"}).json["result"] == 42
    assert server.ask_tcp("GET", "/", token=False).status == 200
    assert server.token not in server.said()


def test_places(server: Tcp) -> None:
    for host in ("evil.example", "127.0.0.1", f"evil.example:{server.port}", f"127.0.0.1:{server.port + 1}"):
        assert server.ask_tcp("GET", "/v1/policy", headers={"Host": host}).status == 421, host
    assert server.ask_tcp("GET", "/v1/policy", headers={"Host": f"localhost:{server.port}"}).status == 200
    for origin in ("null", "https://evil.example", f"https://{server.host}", f"http://evil.example:{server.port}"):
        assert server.ask_tcp("GET", "/v1/policy", headers={"Origin": origin}).status == 403, origin
    assert server.ask_tcp("GET", "/v1/policy", headers={"Origin": f"http://{server.host}"}).status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.ask_tcp("POST", "/v1/executions", "code=1", form).status == 415
    assert server.ask_tcp("POST", "/v1/executions", '{"code": "1"}', {"Content-Type": "text/plain"}).status == 415


def test_grants_and_templates(server: Tcp, tmp_path) -> None:
    for policy, field in (({"allowed_directories": [str(tmp_path)]}, "allowed_directories"),
                          ({"allowed_directories": ["./"]}, "allowed_directories"),
                          ({"preload": ["json"]}, "preload"), ({"python": "/usr/bin/python3"}, "python")):
        refused = server.ask_tcp("POST", "/v1/executions", {"code": "1", "policy": policy, "cwd": str(tmp_path)})
        assert refused.status in (400, 403) and refused.json["field"] == field, refused.body
    assert server.run("1", policy={"preload": ["json"]})["status"] == "ok"  # the control: its own user's socket


def test_a_caller_that_goes_ends_its_run(server: Tcp) -> None:
    for accept in ("application/json", "text/event-stream"):
        body = json.dumps({"code": "while True: pass", "policy": {"max_execution_time": 60}})
        connection = server.tcp()
        connection.request("POST", "/v1/executions", body, {"Authorization": f"Bearer {server.token}", "Accept": accept,
                                                           "Content-Type": "application/json"})
        assert until(lambda: server.ask("GET", "/v1/health").json["running"] == 1)
        connection.close()
        assert until(lambda: server.ask("GET", "/v1/health").json["running"] == 0)


DIAL = """
import socket
said = []
for host in {hosts}:
    sock = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
    sock.settimeout(3)
    try:
        sock.connect((host, {port}))
        sock.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
        said.append(sock.recv(100).decode('latin-1')[:12])
    except OSError as exc:
        said.append(type(exc).__name__)
    sock.close()
__result__ = said
"""


def addresses() -> list[str]:
    """Of this machine, by which its port could be reached, too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
            return [sock.getsockname()[0]]
        except OSError:
            return []


def test_a_program_cannot_reach_the_port(server: Tcp) -> None:
    hosts = ["127.0.0.1", "127.0.0.9", "0.0.0.0", "::ffff:127.0.0.1", "localhost", *addresses()]
    code = DIAL.format(hosts=hosts, port=server.port)
    base = {"allowed_modules": ["socket"], "max_execution_time": 30}
    for allowed in (None, [], ["*"], ["127.0.0.1"], [f"127.0.0.1:{server.port}", "localhost"],
                    ["0.0.0.0/0", "::/0", "localhost"]):
        policy = {**base, "network_access": allowed is not None}
        if allowed is not None:
            policy["allowed_hosts"] = allowed
        result = server.run(code, policy=policy)
        assert "HTTP/1.1 200" not in str(result["result"]) and "HTTP" not in result["stdout"], (allowed, result["result"])
    # Where all else is allowed, its own server is what was in the way, and the record says so.
    denied = [event for event in result["events"] if event["rule"] == "this server"]
    assert denied and denied[0]["kind"] == "connect" and denied[0]["subject"].endswith(f":{server.port}")
    # The control: another port of this machine is reached under the same policy.
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = server.run(f"import socket\n__result__ = socket.create_connection(('127.0.0.1', {port}), 3) is not None",
                            policy={**base, "network_access": True, "allowed_hosts": ["127.0.0.1"]})
        assert result["result"] is True, result["error"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls(tmp_path) -> None:
    with Tcp(tmp_path, tls=True) as server:
        answer = server.ask_tcp("POST", "/v1/executions", {"code": "6 * 7"})
        assert answer.status == 200 and answer.json["result"] == 42
        stream = server.ask_tcp("POST", "/v1/executions", {"code": "print('x' * 100000)"}, {"Accept": "application/x-ndjson"})
        assert json.loads(stream.body.splitlines()[-1])["result"]["status"] == "ok"
        assert server.ask_tcp("GET", "/v1/policy", token=False).status == 401
        with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not plain.recv(1000).startswith(b"HTTP/1.1 200")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port), 5) as sock:
            old.wrap_socket(sock)


def test_a_line_for_each_request_and_no_secret(tmp_path) -> None:
    (tmp_path / "sandbox.yaml").write_text("log_level: info\n")
    with Tcp(tmp_path, "--config", str(tmp_path / "sandbox.yaml")) as server:
        server.ask_tcp("POST", "/v1/executions", {"code": "'secret-code'"}, {"X": "secret-header"})
        server.ask_tcp("GET", "/v1/secret-path", token=False)
        server.await_line("status=401")
        said = server.said()
        line = next(line for line in said.splitlines() if "route=run" in line)
        fields = dict(part.split("=", 1) for part in line.split(" ") if "=" in part)
        assert fields["level"] == "info" and fields["what"] == "request" and fields["method"] == "POST"
        assert fields["status"] == "200" and float(fields["ms"]) > 0 and int(fields["in"]) > 10 and int(fields["out"]) > 100
        assert 'caller="token' in line and server.token not in said and "secret" not in said


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_a_short_hammer(server: Tcp) -> None:
    done = subprocess.run(["wrk", "-t2", "-c64", "-d1s", "-H", f"Authorization: Bearer {server.token}",
                           f"http://{server.host}/v1/health"], capture_output=True, text=True, timeout=30)
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
    assert float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1]) > 100
    assert server.ask_tcp("POST", "/v1/executions", {"code": "1"}).json["status"] == "ok"
