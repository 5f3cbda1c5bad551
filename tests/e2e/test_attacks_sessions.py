# SPDX-License-Identifier: MIT
"""Attacks on sessions that once worked. Each with what shows that the test would see it."""
from __future__ import annotations

import session_server as server

OPEN = {"allowed_modules": ["*"], "allow_file_operations": True}


def test_a_session_that_ends_while_its_files_are_carried_over():
    """After a restart its files are put into the new jail; its end met a jail that was gone, and the engine ended."""
    with server.serving() as serve:
        bystander = serve.session()
        bystander.run("kept = 1")
        for _ in range(3):
            session = serve.session(**OPEN, max_disk_mb=256, max_memory_mb=512, max_execution_time=30)
            made = session.run("for i in range(48): open(f'f{i}', 'wb').write(bytes(1 << 20))")
            assert made["status"] == "ok", made["error"]
            assert session.post("restart")[0] == 200
            while session.describe()["state"] == "starting":
                pass
            session.end()
            session.wait_for(None)
        assert bystander.value("kept") == 1
        assert "unexpectedly" not in serve.http.said()


def test_what_waits_for_a_session_is_bounded():
    """Programs, and files whose senders are gone, while the session waits for memory that its owner holds himself."""
    with server.serving() as serve:
        session = serve.session(max_execution_time=60)
        big = {"session": session.id, "code": "#" * (12 << 20), "detach": True}
        assert serve.call("POST", "/v1/executions", {**big, "code": "while True: pass"})[0] == 202
        answers = [serve.call("POST", "/v1/executions", big)[0] for _ in range(7)]
        assert answers[0] == 202 and answers[-1] == 429, answers
        session.end()
        session.wait_for(None)
        all_mb = serve.call("GET", "/v1/health")[1]["admission"]["memory_bytes"] >> 20
        sessions = [serve.session(max_memory_mb=all_mb * 6 // 10) for _ in range(2)]
        body = bytes(12 << 20)
        for i in range(7):
            sock = serve.http.raw()
            sock.sendall(f"PUT /v1/sessions/{sessions[1].id}/files/f{i} HTTP/1.1\r\nHost: localhost\r\n"
                         f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            sock.settimeout(1)
            try:
                answer = sock.recv(4096)
            except TimeoutError:
                answer = b""
            sock.close()
            if answer:
                break
        assert answer.startswith(b"HTTP/1.1 429") and i >= 4, (i, answer[:200])
        for one in sessions:
            one.end()
        for one in sessions:
            one.wait_for(None)
        assert serve.session(files={"a": "x"}).run("1")["status"] == "ok"
