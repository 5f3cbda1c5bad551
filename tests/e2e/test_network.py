# SPDX-License-Identifier: MIT
"""The network of a program: what is reached, what is not, and that everything else behaves as without a broker.

Servers are real ones on the loopback of the host, or in a network namespace of the test's own (root), where they can
have public addresses. Names are answered by a server of the test's, which the engine is told of by
SANDBOX_NAMESERVERS.
"""
from __future__ import annotations

import http.client as http_client
import json
import os
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
import uuid

import pytest
import runner

NET = {"allowed_modules": "*", "network_access": True, "max_execution_time": 20, "max_cpu_percent": 100}
BODY = b"hello from outside\n"


def run(code: str, *, hosts: list[str], names: "Names | None" = None, prefix: tuple[str, ...] = (),
        timeout: float = 60, **fields: object) -> dict:
    env = dict(os.environ)
    if names is not None:
        env["SANDBOX_NAMESERVERS"] = names.address
    policy = {**NET, "allowed_hosts": hosts, **fields}
    done = subprocess.run([*prefix, runner.BINARY, "run", "--json", *runner.settings(**policy), "-c", code],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, env=env)
    assert done.stdout, f"no result: exit {done.returncode}, {done.stderr}"
    return json.loads(done.stdout)


def events(result: dict, kind: str) -> list[dict]:
    return [e for e in result["events"] if e["kind"] == kind]


def denied(result: dict) -> list[tuple[str, str]]:
    assert all(e["source"] == "supervisor" for e in events(result, "connect"))
    return [(e["subject"], e["remedy"]) for e in events(result, "connect")]


def ok(result: dict) -> object:
    assert result["status"] == "ok", (result["status"], result["stderr"], result["error"], result["events"])
    return result["result"]


# ---- servers ----

class Server:
    """Threads that answer each connection with `serve(connection)`."""

    def __init__(self, serve, address: str = "127.0.0.1", family: int = socket.AF_INET) -> None:
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.accepted.append(self.client_address)
                serve(self.request)

        class Threads(socketserver.ThreadingTCPServer):
            address_family = family
            daemon_threads = True
            request_queue_size = 128
            allow_reuse_address = True

            def handle_error(self, request, client_address) -> None:
                pass

        self.accepted: list = []
        self.server = Threads((address, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def http(connection: socket.socket) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        got = connection.recv(4096)
        if not got:
            return
        request += got
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY)


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


class Names:
    """A name server: {name: addresses, or a function of how often it was asked}."""

    def __init__(self, table: dict) -> None:
        self.table = table
        self.asked: list[tuple[str, int]] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                data, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            reply = self.answer(data)
            if reply:
                try:
                    self.socket.sendto(reply, peer)
                except OSError:
                    return

    def answer(self, data: bytes) -> bytes | None:
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode())
            at += data[at] + 1
        name, (kind,) = ".".join(labels), struct.unpack_from(">H", data, at + 1)
        question = data[12:at + 5]
        self.asked.append((name, kind))
        found = self.table.get(name)
        if callable(found):
            found = found(sum(1 for n, k in self.asked if n == name and k == kind))
        if found is None:
            return data[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + question
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        records = [b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(raw)) + raw
                   for raw in (socket.inet_pton(family, a) for a in found
                               if family and (":" in a) == (family == socket.AF_INET6))]
        return data[:2] + struct.pack(">HHHHH", 0x8180, 1, len(records), 0, 0) + question + b"".join(records)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def server():
    made: list[Server] = []

    def make(serve=echo, **where) -> Server:
        made.append(Server(serve, **where))
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture
def names():
    made: list[Names] = []

    def make(table: dict) -> Names:
        made.append(Names(table))
        return made[-1]
    yield make
    for one in made:
        one.close()


def closed_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


CONNECT = """
import socket
s = socket.create_connection(({host!r}, {port}))
s.sendall(b'ping')
got = s.recv(100)
s.close()
got
"""


# ---- who is reached ----

def test_by_address(server):
    there, other = server(), server()
    code = CONNECT.format(host="127.0.0.1", port=there.port)
    result = run(code, hosts=[f"127.0.0.1:{there.port}"])
    assert ok(result) == {"$bytes": "cGluZw=="} or ok(result) is not None
    assert len(there.accepted) == 1
    refused = run(code, hosts=[f"127.0.0.1:{other.port}"])
    assert refused["status"] == "denied" and refused["error"]["name"] == "PermissionError"
    assert denied(refused) == [(f"127.0.0.1:{there.port}", f'add "127.0.0.1:{there.port}" to allowed_hosts')]
    assert len(there.accepted) == 1 and other.accepted == []


def test_the_remedy_is_enough(server):
    there = server()
    code = CONNECT.format(host="127.0.0.1", port=there.port)
    remedy = denied(run(code, hosts=[]))[0][1]
    assert run(code, hosts=[remedy.split('"')[1]])["status"] == "ok"


@pytest.mark.parametrize("hosts", [[], ["*"], ["10.0.0.0/8"], ["*.example.org"], ["::1"], ["127.0.0.2"]])
def test_loopback_needs_naming(server, hosts):
    there = server()
    result = run(CONNECT.format(host="127.0.0.1", port=there.port), hosts=hosts)
    assert result["status"] == "denied" and there.accepted == []


@pytest.mark.parametrize("hosts", [["127.0.0.0/8"], ["localhost"], ["0.0.0.0/0"]])
def test_loopback_named(server, hosts):
    there = server()
    assert run(CONNECT.format(host="127.0.0.1", port=there.port), hosts=hosts)["status"] == "ok"
    assert len(there.accepted) == 1


def test_localhost_by_name(server):
    there = server()
    result = run(CONNECT.format(host="localhost", port=there.port), hosts=[f"localhost:{there.port}"])
    assert result["status"] == "ok", result["stderr"]


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "::ffff:127.0.0.1",
                                  "0.0.0.0", "::", "127.0.0.1"])
def test_loopback_in_other_dress(server, host):
    """The C library, or the kernel, makes 127.0.0.1 or ::1 of all of these."""
    there = server()
    result = run(CONNECT.format(host=host, port=there.port), hosts=["*"])
    assert result["status"] == "denied", result
    assert there.accepted == []
    control = run(CONNECT.format(host=host, port=there.port), hosts=["127.0.0.1", "::1"])
    if host != "::":
        assert control["status"] == "ok", (host, control["stderr"])


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "10.0.0.1", "192.168.1.1", "100.64.0.1",
                                     "224.0.0.1", "255.255.255.255", "fe80::1", "fd00:ec2::254", "64:ff9b::7f00:1",
                                     "::127.0.0.1", "2002:7f00:1::", "::ffff:10.0.0.1", "240.0.0.1"])
def test_what_is_not_public_is_denied_under_any(address):
    result = run(f"import socket\nsocket.create_connection(({address!r}, 80), 2)", hosts=["*"])
    assert result["status"] == "denied", (address, result["status"], result["stderr"])
    assert len(events(result, "connect")) == 1


def test_ipv6(server):
    try:
        there = server(family=socket.AF_INET6, address="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    code = CONNECT.format(host="::1", port=there.port)
    assert run(code, hosts=["::1"])["status"] == "ok"
    result = run(code, hosts=["127.0.0.1"])
    assert denied(result) == [(f"[::1]:{there.port}", f'add "[::1]:{there.port}" to allowed_hosts')]
    assert len(there.accepted) == 1


# ---- names ----

def test_by_name(server, names):
    there = server()
    table = names({"api.test": ["127.0.0.1"]})
    code = CONNECT.format(host="api.test", port=there.port)
    result = run(code, hosts=["api.test", "127.0.0.1"], names=table)
    assert result["status"] == "ok", result["stderr"]
    assert events(result, "connection")[0]["subject"] in (f"api.test:{there.port} (127.0.0.1)",
                                                          f"127.0.0.1:{there.port}")
    asked = len(table.asked)
    refused = run(code, hosts=["other.test"], names=table)
    assert refused["status"] == "denied" and refused["error"]["name"] == "PermissionError"
    assert denied(refused) == [(f"api.test:{there.port}", f'add "api.test:{there.port}" to allowed_hosts')]
    assert len(table.asked) == asked, "a name that is not allowed left the machine"


@pytest.mark.parametrize("name", ["notgood.com", "good.com.evil", "good.co", "xgood.com", "www.good.com", "good.comm",
                                  "goo\u0434.com"])
def test_names_that_look_like_it(names, name):
    table = names({name: ["127.0.0.1"], "good.com": ["127.0.0.1"]})
    result = run(f"import socket\nsocket.create_connection(({name!r}, 80), 2)", hosts=["good.com", "127.0.0.1"],
                 names=table)
    assert result["status"] in ("denied", "error") and table.asked == []
    assert events(result, "connection") == []


@pytest.mark.parametrize("name", ["good.com", "GOOD.com", "good.com."])
def test_names_that_are_it(server, names, name):
    there = server()
    table = names({"good.com": ["127.0.0.1"]})
    result = run(CONNECT.format(host=name, port=there.port), hosts=["Good.com", "127.0.0.1"], names=table)
    assert result["status"] == "ok", result["stderr"]
    assert {n for n, _ in table.asked} == {"good.com"}


def test_suffix(server, names):
    there = server()
    table = names({"a.b.example.org": ["127.0.0.1"], "example.org": ["127.0.0.1"]})
    hosts = ["*.example.org", "127.0.0.1"]
    assert run(CONNECT.format(host="a.b.example.org", port=there.port), hosts=hosts, names=table)["status"] == "ok"
    assert run(CONNECT.format(host="example.org", port=there.port), hosts=hosts, names=table)["status"] == "denied"


def test_nul_in_a_name(names):
    table = names({"good.com": ["127.0.0.1"]})
    result = run("import socket\nsocket.create_connection(('good.com\\0.evil.com', 80), 2)", hosts=["good.com"], names=table)
    # Python cuts it off at the NUL: what is asked, judged and dialled is one and the same name.
    assert result["status"] != "ok" and {n for n, _ in table.asked} <= {"good.com"}


def test_a_public_name_that_leads_inside(server, names):
    there = server()
    table = names({"evil.test": ["127.0.0.1"], "meta.test": ["169.254.169.254"]})
    result = run(CONNECT.format(host="evil.test", port=there.port), hosts=["*"], names=table)
    assert result["status"] == "denied" and there.accepted == []
    assert denied(result) == [(f"evil.test:{there.port} (127.0.0.1)", f'add "127.0.0.1:{there.port}" to allowed_hosts')]
    looked_up = run("import socket\nsocket.gethostbyname('evil.test')", hosts=["*"], names=table)
    assert ok(looked_up).startswith("240.0.0."), "an address that may not be dialled is not handed out"
    result = run("import socket\nsocket.create_connection(('meta.test', 80), 2)", hosts=["meta.test"], names=table)
    assert denied(result) == [("meta.test:80 (169.254.169.254)", 'add "169.254.169.254:80" to allowed_hosts')]


def test_a_name_that_changes_its_answer(server, names):
    """First a public address, then loopback: what is dialled was judged, each time."""
    there = server()
    table = names({"rebind.test": lambda n: ["93.184.216.34"] if n == 1 else ["127.0.0.1"]})
    result = run(f"""
import socket
first = socket.getaddrinfo('rebind.test', {there.port}, socket.AF_INET)[0][4][0]
try:
    socket.create_connection(('rebind.test', {there.port}), 2)
    second = 'connected'
except PermissionError:
    second = 'denied'
[first, second]
""", hosts=["*"], names=table)
    assert ok(result) == ["93.184.216.34", "denied"] and there.accepted == []


def test_a_look_up_alone_is_told_of(names):
    table = names({"good.com": ["93.184.216.34"]})
    result = run("import socket\n[socket.gethostbyname('good.com'), socket.gethostbyname('bad.com')]", hosts=["good.com"],
                 names=table)
    assert ok(result)[0] == "93.184.216.34" and ok(result)[1].startswith("240.0.0.")
    assert [(e["subject"], e["remedy"]) for e in events(result, "resolve")] == \
        [("bad.com", 'add "bad.com" to allowed_hosts')]


def test_a_name_that_nobody_has(names):
    result = run("import socket\nsocket.create_connection(('nobody.test', 80))", hosts=["*"], names=names({}))
    assert result["status"] == "error" and result["error"]["name"] == "gaierror"


def test_no_name_server(names):
    silent = names({})
    silent.close()
    result = run("import socket\nsocket.create_connection(('nobody.test', 80))", hosts=["*"], names=silent)
    assert result["status"] == "error" and result["error"]["name"] == "gaierror"


def test_hostile_answers(names):
    """Whatever a name server sends, nobody crashes and the next name is answered."""
    replies = [b"", b"\0" * 11, None, b"\xff" * 600,
               b"\x81\x80" + struct.pack(">HHHH", 1, 9999, 0, 0) + b"\x01x\x00\0\x01\0\x01" + b"\xc0\x0c" * 20,
               b"\x81\x80" + struct.pack(">HHHH", 1, 1, 0, 0) + b"\x01x\x00\0\x01\0\x01" + b"\xc0\x14" +
               b"\0\x01\0\x01\0\0\0\0\0\x04\x5d\xb8"]
    table = names({"good.com": ["93.184.216.34"]})
    plain = table.answer

    def answer(data: bytes) -> bytes | None:
        if b"good" in data:
            return plain(data)
        reply = replies[len(table.asked) % len(replies)]
        table.asked.append(("x", 0))
        return reply if reply is None or len(reply) < 12 else data[:2] + reply
    table.answer = answer
    result = run("""
import socket, threading
def ask(i):
    try: socket.gethostbyname('x')
    except OSError: pass
threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
[t.start() for t in threads]
socket.gethostbyname('good.com')
""", hosts=["*"], names=table, max_execution_time=10)
    assert ok(result) == "93.184.216.34"


def test_hostile_questions(names):
    table = names({"good.com": ["93.184.216.34"]})
    result = run("""
import socket, os
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
def ask(data):
    s.sendto(data, ('127.0.0.1', 53))
question = b'\\x04good\\x03com\\0'
head = lambda flags, n: b'ab' + flags.to_bytes(2, 'big') + n.to_bytes(2, 'big') + bytes(6)
for data in (b'', b'x', bytes(12), os.urandom(40), head(0, 1), head(0, 1) + b'\\x3f', head(0, 1) + b'\\xc0\\x0c\\0\\1\\0\\1',
             head(0, 2) + question, head(0x8000, 1) + question + b'\\0\\1\\0\\1', head(0, 1) + b'\\x01x' * 200 + b'\\0',
             head(0x2800, 1) + question + b'\\0\\1\\0\\1', bytes(60000), head(0, 1) + question + b'\\0\\xff\\0\\1'):
    ask(data)
answers = []
try:
    s.settimeout(0.3)
    while True: answers.append(s.recv(600))
except TimeoutError: pass
[socket.gethostbyname('good.com'), len(answers), max(len(a) for a in answers)]
""", hosts=["good.com"], names=table)
    address, count, longest = ok(result)
    assert address == "93.184.216.34" and 1 <= count <= 13 and longest <= 512


# ---- it behaves like a socket ----

def test_urllib_http(server):
    there = server(http)
    result = run(f"import urllib.request\nurllib.request.urlopen('http://localhost:{there.port}/').read().decode()",
                 hosts=["localhost"])
    assert ok(result) == BODY.decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate for api.test and localhost, signed by itself; and a context that has it."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    base = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", base / "key.pem", "-out", base / "cert.pem", "-days", "2", "-subj", "/CN=api.test",
                    "-addext", "subjectAltName=DNS:api.test,DNS:localhost"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(base / "cert.pem", base / "key.pem")
    return (base / "cert.pem").read_text(), context


def tls(context: ssl.SSLContext, inner):
    def serve(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as wrapped:
                inner(wrapped)
        except OSError:
            pass
    return serve


def test_urllib_https(server, names, authority):
    cert, context = authority
    there = server(tls(context, http))
    result = run(f"""
import ssl, urllib.request
context = ssl.create_default_context(cadata={cert!r})
urllib.request.urlopen('https://api.test:{there.port}/', context=context).read().decode()
""", hosts=["api.test", "127.0.0.1"], names=names({"api.test": ["127.0.0.1"]}))
    assert ok(result) == BODY.decode()


@pytest.mark.skipif(not runner.have("requests"), reason="requests is not installed for /usr/bin/python3")
def test_requests_https(server, names, authority):
    cert, context = authority
    there = server(tls(context, http))
    result = run(f"""
import requests
open('/tmp/ca.pem', 'w').write({cert!r})
requests.get('https://api.test:{there.port}/', verify='/tmp/ca.pem').text
""", hosts=["api.test", "127.0.0.1"], names=names({"api.test": ["127.0.0.1"]}), allow_file_operations=True)
    assert ok(result) == BODY.decode()


def test_asyncio_fifty_at_once(server):
    there = server(http)
    result = run(f"""
import asyncio
async def get():
    r, w = await asyncio.open_connection('localhost', {there.port})
    w.write(b'GET / HTTP/1.0\\r\\n\\r\\n')
    await w.drain()
    data = await r.read()
    w.close()
    await w.wait_closed()
    return len(data)
async def main():
    return await asyncio.gather(*(get() for _ in range(50)))
asyncio.run(main())
""", hosts=["localhost"])
    assert len(set(ok(result))) == 1 and len(there.accepted) == 50
    assert result["usage"]["connections"] == 50


def test_asyncio_tls(server, authority):
    cert, context = authority
    there = server(tls(context, http))
    result = run(f"""
import asyncio, ssl
async def main():
    r, w = await asyncio.open_connection('localhost', {there.port}, ssl=ssl.create_default_context(cadata={cert!r}))
    w.write(b'GET / HTTP/1.0\\r\\n\\r\\n')
    data = await r.read()
    w.close()
    return data.decode()
asyncio.run(main())
""", hosts=["localhost"])
    assert ok(result).endswith(BODY.decode())


def test_with_and_without_a_timeout(server):
    there = server()
    result = run(f"""
import socket
out = []
for timeout in (None, 5, 0.5):
    s = socket.create_connection(('127.0.0.1', {there.port}), timeout)
    out.append([s.gettimeout(), s.getblocking()])
    s.sendall(b'x' * 100000)
    got = 0
    while got < 100000: got += len(s.recv(65536))
    s.close()
out
""", hosts=["127.0.0.1"])
    assert ok(result) == [[None, True], [5.0, True], [0.5, True]]


def test_refused(server):
    port = closed_port()
    result = run(f"""
import socket, errno
out = []
for timeout in (None, 5):
    try: socket.create_connection(('127.0.0.1', {port}), timeout)
    except ConnectionRefusedError as e: out.append(e.errno == errno.ECONNREFUSED)
s = socket.socket()
out.append(s.connect_ex(('127.0.0.1', {port})) == errno.ECONNREFUSED)
out
""", hosts=["127.0.0.1"])
    assert ok(result) == [True, True, True]
    assert events(result, "connection") == [] and result["usage"]["connections"] == 0


def test_the_descriptor_stays_what_it_was(server):
    """Options, duplicates, an epoll registration made before the connection, O_NONBLOCK, close-on-exec."""
    there = server()
    result = run(f"""
import socket, select, os, errno
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
copy = os.dup(s.fileno())
ep = select.epoll()
ep.register(s.fileno(), select.EPOLLOUT)
s.setblocking(False)
r = s.connect_ex(('127.0.0.1', {there.port}))
ready = ep.poll(5)
out = [r in (0, errno.EINPROGRESS), ready == [(s.fileno(), select.EPOLLOUT)],
       s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
       s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), os.get_blocking(s.fileno()),
       os.get_inheritable(s.fileno()), s.getpeername()[1] == {there.port}]
os.set_blocking(copy, True)
os.write(copy, b'ping')
ep.modify(s.fileno(), select.EPOLLIN)
out += [len(ep.poll(5)), os.read(copy, 10) == b'ping']
out
""", hosts=["127.0.0.1"])
    assert ok(result) == [True, True, 0, 1, 1, False, False, True, 1, True]


def test_connect_twice_and_again_after_unspec(server):
    there, other = server(), server()
    result = run(f"""
import socket, ctypes, errno
s = socket.socket()
out = [s.connect_ex(('127.0.0.1', {there.port})), s.connect_ex(('127.0.0.1', {there.port})) == errno.EISCONN]
libc = ctypes.CDLL(None, use_errno=True)
out.append(libc.connect(s.fileno(), (ctypes.c_char * 16)(), 16))       # AF_UNSPEC: dissolved
out.append(s.connect_ex(('127.0.0.1', {other.port})) == errno.EACCES)  # judged again
out.append(s.connect_ex(('127.0.0.1', {there.port})))
s.sendall(b'x')
out.append(len(s.recv(1)))
out
""", hosts=[f"127.0.0.1:{there.port}"])
    assert ok(result) == [0, True, 0, True, 0, 1] and other.accepted == []
    assert len(there.accepted) == 2


def test_threads(server):
    there = server()
    result = run(f"""
import socket, threading
out = []
def one():
    for _ in range(5):
        s = socket.create_connection(('127.0.0.1', {there.port}))
        s.sendall(b'x' * 1000)
        n = 0
        while n < 1000: n += len(s.recv(1000))
        s.close()
        out.append(n)
threads = [threading.Thread(target=one) for _ in range(10)]
[t.start() for t in threads]
[t.join() for t in threads]
len(out)
""", hosts=["127.0.0.1"], max_memory_mb=300)
    assert ok(result) == 50
    assert result["usage"]["connections"] == 50
    assert result["usage"]["sent_bytes"] == 50_000
    # The kernel counts the end of a stream as one byte.
    assert 50_000 <= result["usage"]["received_bytes"] <= 50_050


def test_close_closes(server):
    """The engine keeps nothing: the other side sees the end when the program closes, not at the end of the run."""
    ended: list[float] = []

    def serve(connection: socket.socket) -> None:
        while connection.recv(100):
            pass
        ended.append(time.monotonic())
    there = server(serve)
    result = run(f"""
import socket, time
s = socket.create_connection(('127.0.0.1', {there.port}))
s.sendall(b'x')
s.close()
time.sleep(1)
""", hosts=["127.0.0.1"])
    over = time.monotonic()
    assert result["status"] == "ok" and ended and over - ended[0] > 0.8


def test_children(server):
    there = server()
    result = run(f"""
import os, socket
r, w = os.pipe()
if os.fork() == 0:
    s = socket.create_connection(('127.0.0.1', {there.port}))
    s.sendall(b'ping')
    os.write(w, s.recv(10))
    os._exit(0)
os.wait()
os.read(r, 10).decode()
""", hosts=["127.0.0.1"])
    assert ok(result) == "ping"


@pytest.mark.parametrize("tool", ["python", "curl"])
def test_other_programs(server, tool):
    there = server(http)
    other = server(http)
    if tool == "curl" and not os.access("/usr/bin/curl", os.X_OK):
        pytest.skip("curl is not installed")
    command = f"['/usr/bin/curl', '-sS', '-m', '5', url]" if tool == "curl" else \
        "['/usr/bin/python3', '-c', 'import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())', url]"
    result = run(f"""
import subprocess
out = []
for port in ({there.port}, {other.port}):
    url = f'http://localhost:{{port}}/'
    out.append(subprocess.run({command}, capture_output=True, text=True).stdout)
out
""", hosts=[f"localhost:{there.port}"], allow_subprocess=True, max_memory_mb=300)
    assert ok(result) == [BODY.decode(), ""] and other.accepted == []
    assert denied(result)[0][0].endswith(f":{other.port}")


# ---- what stays shut ----

def test_servers_are_refused():
    result = run("""
import socket
out = []
for act in (lambda s: s.bind(('127.0.0.1', 0)), lambda s: s.listen(), lambda s: s.accept()):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(socket.AF_INET, kind)
        try: act(s); out.append('done')
        except OSError as e: out.append(type(e).__name__)
out
""", hosts=["*"])
    assert ok(result) == ["PermissionError"] * 6
    assert {e["subject"] for e in events(result, "socket") if e["source"] == "kernel"} >= {"bind", "listen"} or \
        len(events(result, "socket")) >= 3


def test_listen_on_a_connecting_socket(server):
    """connect, shutdown, listen once made a listener on the host of a connecting socket."""
    there = server()
    result = run(f"""
import socket
s = socket.socket()
s.setblocking(False)
s.connect_ex(('127.0.0.1', {there.port}))
port = s.getsockname()[1]
s.shutdown(socket.SHUT_RDWR)
try: s.listen(); out = 'listens'
except PermissionError: out = 'refused'
out
""", hosts=["127.0.0.1"])
    assert ok(result) == "refused"


def test_ways_around_connect(server):
    """A fast open, a send with an address, options that would do the same: none reaches a port that is not allowed."""
    there = server()
    result = run(f"""
import socket
where = ('127.0.0.1', {there.port})
out = []
def attempt(act):
    s = socket.socket()
    s.settimeout(1)
    try: out.append(str(act(s)))
    except OSError as e: out.append(type(e).__name__)
    s.close()
attempt(lambda s: s.sendto(b'x', 0x20000000, where))
attempt(lambda s: s.sendmsg([b'x'], [], 0x20000000, where))
attempt(lambda s: s.sendto(b'x', where))
attempt(lambda s: s.sendmsg([b'x'], [], 0, where))
attempt(lambda s: s.setsockopt(6, 30, 1))
attempt(lambda s: s.setsockopt(6, 23, 1))
attempt(lambda s: s.setsockopt(socket.SOL_SOCKET, 25, b'lo'))
attempt(lambda s: s.setsockopt(6, 19, 1))
out
""", hosts=["1.2.3.4"])
    assert all(o in ("PermissionError", "BrokenPipeError", "OSError", "TimeoutError") for o in ok(result)), ok(result)
    assert there.accepted == []


def test_interfaces_stay_unknown():
    result = run("""
import socket, fcntl, array
s = socket.socket()
out = []
for request in (0x8912, 0x8915, 0x8927, 0x8933, 0x890b):
    try: fcntl.ioctl(s.fileno(), request, bytearray(64)); out.append('done')
    except OSError as e: out.append(type(e).__name__)
try: out.append(str(socket.if_nameindex()))
except OSError as e: out.append(type(e).__name__)
out
""", hosts=["*"])
    assert all(o in ("PermissionError", "OSError") for o in ok(result))


def test_closing_cannot_be_made_to_wait(server):
    """SO_LINGER would make the last to close wait for the other side, and that may be the engine."""
    there = server()
    code = f"""
import socket, struct
s = socket.create_connection(('127.0.0.1', {there.port}))
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 100))
"""
    result = run(code, hosts=["127.0.0.1"])
    assert result["status"] == "denied" and len(events(result, "socket")) == 1
    control = code.replace("SO_LINGER, struct.pack('ii', 1, 100)", "SO_KEEPALIVE, 1")
    assert run(control, hosts=["127.0.0.1"])["status"] == "ok"


@pytest.mark.parametrize("made", ["socket.AF_INET, socket.SOCK_RAW, 1", "socket.AF_INET, socket.SOCK_DGRAM, 1",
                                  "socket.AF_INET, socket.SOCK_STREAM, 262", "socket.AF_PACKET, socket.SOCK_RAW",
                                  "socket.AF_NETLINK, socket.SOCK_RAW, 4", "socket.AF_VSOCK, socket.SOCK_STREAM",
                                  "socket.AF_UNIX, socket.SOCK_STREAM", "socket.AF_INET, socket.SOCK_SEQPACKET, 132"])
def test_other_sockets(made):
    result = run(f"import socket\nsocket.socket({made})", hosts=["*"])
    assert result["status"] == "denied", result
    assert len(events(result, "socket")) == 1


def test_datagrams_stay_inside():
    """A server of the host's on UDP hears nothing; the jail's own loopback has nobody but the names."""
    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    there.bind(("0.0.0.0", 0))
    port = there.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9)) if os.path.exists("/proc/net/route") else None
        mine = probe.getsockname()[0]
    result = run(f"""
import socket
out = []
for host in ('127.0.0.1', {mine!r}, '8.8.8.8'):
    for way in ('sendto', 'connect'):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(0.3)
        try:
            if way == 'sendto': s.sendto(b'x', (host, {port}))
            else: s.connect((host, {port})); s.send(b'x')
            s.recv(10)
        except OSError as e: out.append(type(e).__name__)
out
""", hosts=["0.0.0.0/0"])
    there.settimeout(0.2)
    with pytest.raises(TimeoutError):
        there.recv(10)
    there.close()
    assert len(ok(result)) == 6


def test_the_address_is_copied_once(server):
    """Another thread changes the address while it is judged: what is dialled was judged."""
    good, bad = server(), server()
    result = run(f"""
import ctypes, socket, struct, threading
libc = ctypes.CDLL(None, use_errno=True)
def sockaddr(port): return struct.pack('=H', 2) + struct.pack('>H', port) + socket.inet_aton('127.0.0.1') + bytes(8)
good, bad = sockaddr({good.port}), sockaddr({bad.port})
buffer = (ctypes.c_char * 16)(*good)
stop = False
def swap():
    while not stop:
        ctypes.memmove(buffer, bad, 16)
        ctypes.memmove(buffer, good, 16)
t = threading.Thread(target=swap)
t.start()
done = 0
for i in range(300):
    s = socket.socket()
    if libc.connect(s.fileno(), buffer, 16) == 0:
        done += 1
        assert s.getpeername()[1] == {good.port}
    s.close()
stop = True
t.join()
done
""", hosts=[f"127.0.0.1:{good.port}"], max_cpu_percent=200)
    assert ok(result) > 0 and bad.accepted == []
    end = time.monotonic() + 5  # the server's own thread may be behind
    while len(good.accepted) < ok(result) and time.monotonic() < end:
        time.sleep(0.01)
    assert len(good.accepted) >= ok(result)


def test_the_descriptor_is_swapped_meanwhile(server):
    """dup2 of another socket over the number that is being connected: only what was judged is connected."""
    good, bad = server(), server()
    result = run(f"""
import os, socket, threading
stop = False
a, b = socket.socket(), socket.socket()
number = os.dup(a.fileno())
def swap():
    while not stop:
        os.dup2(b.fileno(), number); os.dup2(a.fileno(), number)
t = threading.Thread(target=swap)
t.start()
codes = set()
for i in range(200):
    s = socket.socket(fileno=os.dup(number))
    codes.add(s.connect_ex(('127.0.0.1', {bad.port})))
    s.close()
stop = True
t.join()
sorted(codes)
""", hosts=[f"127.0.0.1:{good.port}"], max_cpu_percent=200)
    assert ok(result) == [13] and bad.accepted == []


def test_empty_list_denies_all(server, names):
    there = server()
    table = names({"a.test": ["127.0.0.1"]})
    for host in ("127.0.0.1", "a.test", "8.8.8.8"):
        result = run(CONNECT.format(host=host, port=there.port), hosts=[], names=table)
        assert result["status"] == "denied", host
    assert there.accepted == [] and table.asked == []


def test_many_denials_are_counted(server):
    port = closed_port()
    result = run(f"""
import socket
for i in range(3000):
    s = socket.socket()
    assert s.connect_ex(('127.0.0.1', {port})) == 13
    s.close()
""", hosts=["1.1.1.1"])
    assert result["status"] == "ok", result["stderr"]
    told = sum(e["count"] for e in result["events"])
    assert told == 3000 and len(result["events"]) <= 2


def test_without_network_access_nothing_changes(server):
    there = server()
    result = runner.run_program(CONNECT.format(host="127.0.0.1", port=there.port), allowed_modules="*",
                                allowed_hosts=["127.0.0.1"])
    assert result["status"] == "denied" and there.accepted == []
    assert result["events"][0]["rule"] == "network_access"


# ---- the end of a run ----

def listening_but_full() -> tuple[socket.socket, list[socket.socket]]:
    """A port whose connects hang: nobody accepts, and the queue is full."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    fillers = []
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(s.getsockname())
        fillers.append(c)
    time.sleep(0.1)
    return s, fillers


def connections_to(port: int) -> int:
    with open("/proc/net/tcp") as f:
        return sum(1 for line in f if f":{port:04X}" in line.split()[2] and line.split()[3] == "02")


def test_a_hanging_connect_ends_with_the_run():
    s, fillers = listening_but_full()
    port = s.getsockname()[1]
    before = connections_to(port)
    start = time.monotonic()
    result = run(f"""
import socket, threading
threads = [threading.Thread(target=lambda: socket.socket().connect(('127.0.0.1', {port})), daemon=True) for _ in range(5)]
[t.start() for t in threads]
socket.socket().connect(('127.0.0.1', {port}))
""", hosts=["127.0.0.1"], max_execution_time=1)
    assert result["status"] == "timeout" and time.monotonic() - start < 5
    assert connections_to(port) <= before
    for one in (s, *fillers):
        one.close()


class Unix(http_client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


@pytest.fixture
def service(tmp_path):
    """A server of ours: run(code, hosts, **policy) gives the result; pid() is its engine's."""
    path = str(tmp_path / "s")
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # a name server that never answers
    silent.bind(("127.0.0.1", 0))
    process = subprocess.Popen([runner.BINARY, "serve", "--socket", path, "--exit-with-stdin"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "SANDBOX_NAMESERVERS": "127.0.0.1:%d" % silent.getsockname()[1]})
    deadline = time.monotonic() + 10
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.02)

    class Service:
        @staticmethod
        def run(code: str, hosts: list[str], **policy: object) -> dict:
            connection = Unix(path, timeout=60)
            body = {"code": code, "policy": {**NET, "allowed_modules": ["*"], "allowed_hosts": hosts, **policy}}
            connection.request("POST", "/v1/executions", json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())

        @staticmethod
        def sockets() -> int | None:
            """Sockets and other descriptors of the engine, None where that may not be seen."""
            todo = [process.pid]
            while todo:
                pid = todo.pop()
                try:
                    with open(f"/proc/{pid}/comm") as f:
                        if f.read().strip() == "sandbox-engine":
                            return len(os.listdir(f"/proc/{pid}/fd"))
                    for task in os.listdir(f"/proc/{pid}/task"):
                        with open(f"/proc/{pid}/task/{task}/children") as f:
                            todo += map(int, f.read().split())
                except OSError:
                    pass
            return None
    yield Service
    process.stdin.close()
    process.wait(20)
    silent.close()


def test_nothing_of_a_run_stays_in_a_server(service):
    """Hanging connects, look-ups without an answer, open sockets: after the run the engine has what it had before."""
    s, fillers = listening_but_full()
    port = s.getsockname()[1]
    code = f"""
import socket, threading
def hang(): socket.socket().connect(('127.0.0.1', {port}))
for _ in range(10): threading.Thread(target=hang, daemon=True).start()
for i in range(5): threading.Thread(target=socket.gethostbyname, args=(f'n{{i}}.test',), daemon=True).start()
kept = [socket.socket() for _ in range(20)]
hang()
"""
    for _ in range(2):
        assert service.run("1", [])["status"] == "ok"
    time.sleep(1)
    before, waiting = service.sockets(), connections_to(port)
    for _ in range(3):
        result = service.run(code, ["127.0.0.1", "*"], max_execution_time=0.5, max_processes=64)
        assert result["status"] == "timeout", result
    assert service.run("1", [])["status"] == "ok"
    assert connections_to(port) <= waiting
    if before is None:
        pytest.skip("the descriptors of the engine are not ours to see")
    deadline = time.monotonic() + 1.5
    # Jails that wait for the next run have some each; what a run left would be 30 and more.
    while service.sockets() > before + 12 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert service.sockets() <= before + 12
    for one in (s, *fillers):
        one.close()


def test_two_runs_at_once_keep_apart(service, server):
    """What one run may reach, and has looked up, is nothing to another."""
    one, other = server(), server()
    code = CONNECT.format(host="127.0.0.1", port="{}")
    results: dict = {}

    def start(name: str, port: int, hosts: list[str]) -> None:
        results[name] = service.run("import time\ntime.sleep(0.2)\n" + code.format(port), hosts)["status"]
    threads = [threading.Thread(target=start, args=a) for a in (
        ("mine", one.port, [f"127.0.0.1:{one.port}"]), ("theirs", one.port, [f"127.0.0.1:{other.port}"]))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert results == {"mine": "ok", "theirs": "denied"}


def test_a_timeout_while_connecting():
    s, fillers = listening_but_full()
    result = run(f"""
import socket, time
start = time.monotonic()
try: socket.create_connection(('127.0.0.1', {s.getsockname()[1]}), 0.3)
except TimeoutError: out = round(time.monotonic() - start, 1)
t = socket.socket()
t.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, (0).to_bytes(8, 'little') + (300000).to_bytes(8, 'little'))
start = time.monotonic()
[out, t.connect_ex(('127.0.0.1', {s.getsockname()[1]})) in (115, 11), round(time.monotonic() - start, 1)]
""", hosts=["127.0.0.1"])
    first, code, second = ok(result)
    assert 0.3 <= first < 1 and code and 0.3 <= second < 1
    for one in (s, *fillers):
        one.close()


def test_nobody_makes_the_engine_wait(server):
    """A thread takes O_NONBLOCK off as fast as it can while others connect to where it hangs: the engine goes on."""
    s, fillers = listening_but_full()
    there = server()
    result = run(f"""
import fcntl, os, socket, threading, time
current, slowest = [0], 0
def flip():
    while True:
        try: fcntl.fcntl(current[0], fcntl.F_SETFL, 0)
        except OSError: pass
threading.Thread(target=flip, daemon=True).start()
kept = []
for _ in range(60):
    t = socket.socket()
    kept.append(t)
    threading.Thread(target=lambda: t.connect_ex(('127.0.0.1', {s.getsockname()[1]})), daemon=True).start()
    current[0] = t.fileno()
    time.sleep(0.005)
    t = socket.socket()
    start = time.monotonic()
    t.connect(('127.0.0.1', {there.port}))
    slowest = max(slowest, time.monotonic() - start)
    t.close()
print(slowest < 0.5, flush=True)
os._exit(0)
""", hosts=["127.0.0.1"], max_cpu_percent=200, max_processes=100, max_memory_mb=300)
    assert result["stdout"] == "True\n", (result["status"], result["stdout"], result["stderr"])
    for one in (s, *fillers):
        one.close()


# ---- with public addresses: a namespace of the test's own ----

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"),
                                reason="making a network namespace takes root and ip(8)")
PUBLIC, OTHER = "93.184.216.34", "93.184.216.35"

SERVICE = """
import socket, sys, threading
def serve(address, port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((address, port)); s.listen(50)
    while True:
        c, _ = s.accept()
        c.sendall(address.encode()); c.close()
def names():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 53))
    table = {b'\\x03api\\x04test': %r, b'\\x05other\\x04test': %r}
    while True:
        data, peer = s.recvfrom(2000)
        end = data.index(b'\\0', 12)
        found = table.get(data[12:end]) if data[end + 1:end + 3] == b'\\0\\1' else None
        answer = b'\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4' + socket.inet_aton(found) if found else b''
        s.sendto(data[:2] + b'\\x81\\x80\\0\\1\\0' + bytes([bool(found)]) + bytes(4) + data[12:end + 5] + answer, peer)
for address in sys.argv[1:]:
    for port in (80, 443): threading.Thread(target=serve, args=(address, port), daemon=True).start()
print('ready', flush=True)
names()
""" % (PUBLIC, OTHER)


@pytest.fixture(scope="module")
def public():
    """A namespace where two public addresses are its own; black-holed: 93.184.216.99."""
    name = f"sbx-test-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    inside = ("ip", "netns", "exec", name)
    service = None
    try:
        for command in ("link set lo up", f"addr add {PUBLIC}/32 dev lo", f"addr add {OTHER}/32 dev lo",
                        "link add hole type veth peer name bottom", "link set hole up", "link set bottom up",
                        "addr add 10.99.0.1/24 dev hole",
                        "route add 93.184.216.99 dev hole", "neigh add 93.184.216.99 lladdr 02:00:00:00:00:01 dev hole"):
            subprocess.run([*inside, "ip", *command.split()], check=True)
        service = subprocess.Popen([*inside, sys.executable, "-c", SERVICE, PUBLIC, OTHER, "127.0.0.1", "10.99.0.1"],
                                   stdout=subprocess.PIPE)
        assert service.stdout.readline() == b"ready\n"
        yield inside
    finally:
        if service:
            service.kill()
            service.wait()
        subprocess.run(["ip", "netns", "del", name], check=True)


class Inside:
    address = "127.0.0.1"


READ = "import socket\nsocket.create_connection(({!r}, {}), 3).recv(100).decode()"


@needs_root
@pytest.mark.parametrize("host,port,hosts,reached", [
    ("api.test", 80, ["api.test"], True),
    ("api.test", 443, ["api.test:443"], True),
    ("api.test", 80, ["api.test:443"], False),
    ("api.test", 80, ["*"], True),
    ("other.test", 80, ["*.test"], True),
    ("other.test", 80, ["api.test"], False),
    (PUBLIC, 80, ["*"], True),
    (PUBLIC, 80, ["api.test"], False),  # an address that no look-up of this run found
    (PUBLIC, 80, ["93.184.216.0/24"], True),
    (OTHER, 80, [PUBLIC], False),
    ("10.99.0.1", 80, ["*"], False),
    ("10.99.0.1", 80, ["10.0.0.0/8"], True),
    ("127.0.0.1", 80, ["*", "api.test"], False),
])
def test_public_addresses(public, host, port, hosts, reached):
    result = run(READ.format(host, port), hosts=hosts, names=Inside, prefix=public)
    if reached:
        assert ok(result) in (PUBLIC, OTHER, "10.99.0.1")
        assert len(events(result, "connection")) == 1 and events(result, "connection")[0]["subject"].startswith(host)
    else:
        assert result["status"] == "denied" and len(denied(result)) == 1
        assert denied(result)[0][1] == f'add "{host}:{port}" to allowed_hosts'


@needs_root
def test_a_name_opens_its_address_and_no_other(public):
    result = run(f"""
import socket
out = []
for host in ({PUBLIC!r}, 'api.test', {PUBLIC!r}, {OTHER!r}):
    try: out.append(socket.create_connection((host, 80), 3).recv(100).decode())
    except OSError as e: out.append(type(e).__name__)
out
""", hosts=["api.test"], names=Inside, prefix=public)
    assert ok(result) == ["PermissionError", PUBLIC, PUBLIC, "PermissionError"]


@needs_root
@pytest.mark.parametrize("linked", [False, True])
def test_the_hosts_own_files(public, tmp_path, linked):
    """/etc/resolv.conf and /etc/hosts of the machine, also where the first is a link to what a service writes."""
    (tmp_path / "resolv.conf").write_text("# comment\nsearch example.org\nnameserver 127.0.0.1\noptions edns0\n")
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost\n{OTHER} Hosted.test alias.test # and so on\n")
    put = "mount -t tmpfs none /mnt && cp -a /etc/. /mnt && rm -f /mnt/resolv.conf /mnt/hosts && " \
        f"cp {tmp_path}/hosts /mnt/hosts && chmod 644 /mnt/hosts && "
    put += f"mkdir -m 755 /run/sbx-test-$$ && cp {tmp_path}/resolv.conf /run/sbx-test-$$/r && " \
        "ln -s ../run/sbx-test-$$/r /mnt/resolv.conf && " if linked else f"cp {tmp_path}/resolv.conf /mnt/ && "
    prefix = (*public, "unshare", "-m", "sh", "-c", "mount -t tmpfs none /run && " + put +
              'mount --bind /mnt /etc && "$@"', "sh")
    for host, there in (("api.test", PUBLIC), ("hosted.test", OTHER), ("alias.test", OTHER)):
        result = run(READ.format(host, 80), hosts=["*"], prefix=prefix)
        assert ok(result) == there


@needs_root
def test_preset_open_reaches_the_public(public):
    env = {**os.environ, "SANDBOX_NAMESERVERS": Inside.address}
    done = subprocess.run([*public, runner.BINARY, "run", "--json", "--preset", "open", "-c", READ.format("api.test", 80)],
                          capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL)
    assert ok(json.loads(done.stdout)) == PUBLIC


@needs_root
def test_a_black_hole_leaves_nothing(public):
    result = run("""
import socket, threading
for _ in range(5): threading.Thread(target=lambda: socket.socket().connect(('93.184.216.99', 80)), daemon=True).start()
t = socket.socket(); t.setblocking(False); t.connect_ex(('93.184.216.99', 443))
socket.socket().connect(('93.184.216.99', 80))
""", hosts=["*"], names=Inside, prefix=public, max_execution_time=1)
    assert result["status"] == "timeout" and result["usage"]["wall_ms"] < 2500
    left = subprocess.run([*public, "ss", "-tanH"], capture_output=True, text=True).stdout
    assert "93.184.216.99" not in left
