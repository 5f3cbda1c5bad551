# SPDX-License-Identifier: MIT
"""Admission from outside: so many at once, a bounded queue, turns between callers, memory promised once. Counts, no
timings."""
from __future__ import annotations

import json
import threading
import time

from server import Server, UnixConnection

WAIT = "import time\ntime.sleep({})\n"


def serve(place, text: str, *args: str) -> Server:
    config = place / "c.yaml"
    config.write_text(text)
    return Server(place, "--config", str(config), *args).ready()


def admission(server: Server) -> dict:
    return server.ask("GET", "/v1/health").json["admission"]


def until(server: Server, **wanted: int) -> None:
    end = time.monotonic() + 60
    while {key: admission(server)[key] for key in wanted} != wanted:
        assert time.monotonic() < end, admission(server)
        time.sleep(0.01)


def in_background(server: Server, body: dict, answers: list, **how: str) -> threading.Thread:
    def ask() -> None:
        answers.append(server.ask("POST", "/v1/executions", body, **how))
    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_never_more_than_so_many(tmp_path):
    with serve(tmp_path, "admission: {executions: 2}\n") as server:
        answers: list = []
        threads = [in_background(server, {"code": WAIT.format(0.05) + str(i), "preset": "data"}, answers)
                   for i in range(20)]
        most = 0
        while any(thread.is_alive() for thread in threads):
            most = max(most, admission(server)["running"])
        assert most <= 2
        assert [answer.status for answer in answers] == [200] * 20
        assert sorted(answer.json["result"] for answer in answers) == list(range(20))
        until(server, running=0, waiting=0, promised_bytes=0)


def test_a_full_queue_is_said(tmp_path):
    with serve(tmp_path, "admission: {executions: 1, queue: 2}\n", "--grace", "0") as server:
        answers: list = []
        threads = [in_background(server, {"code": WAIT.format(20), "preset": "data"}, answers)]
        until(server, running=1)
        threads += [in_background(server, {"code": WAIT.format(20), "preset": "data"}, answers) for _ in range(2)]
        until(server, running=1, waiting=2)
        refused = server.ask("POST", "/v1/executions", {"code": "1"})
        assert refused.status == 429 and refused.json["name"] == "Busy"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        server.stop()
        for thread in threads:
            thread.join()
    assert [answer.json["status"] for answer in answers] == ["killed"] * 3


def test_a_caller_that_goes_away_waits_no_more(tmp_path):
    with serve(tmp_path, "admission: {executions: 1}\n", "--grace", "0") as server:
        answers: list = []
        first = in_background(server, {"code": WAIT.format(20), "preset": "data"}, answers)
        until(server, running=1)
        connection = UnixConnection(server.socket)
        connection.request("POST", "/v1/executions", json.dumps({"code": "1"}), {"Content-Type": "application/json"})
        until(server, running=1, waiting=1)
        connection.close()
        until(server, running=1, waiting=0)
        server.stop()
        first.join()
        assert answers[0].json["status"] == "killed"


def test_turns(tmp_path):
    """One token has many waiting; another's few come in between, not behind."""
    text = ("admission: {executions: 1}\ntokens:\n" +
            "".join(f"  - {{name: {n}, file: {tmp_path}/{n}}}\n" for n in ("many", "few")))
    with serve(tmp_path, text, "--listen", "127.0.0.1:0") as server:
        host, order, answers = server.urls()[0], [], []
        lock = threading.Lock()
        tokens = {name: (tmp_path / name).read_text().strip() for name in ("many", "few")}

        def ask(name: str) -> None:
            answer = server.ask("POST", "/v1/executions", {"code": WAIT.format(0.05), "preset": "data"}, host=host,
                                token=tokens[name])
            with lock:
                order.append(name)
                answers.append(answer.status)
        gate = in_background(server, {"code": WAIT.format(1.5), "preset": "data"}, [])
        until(server, running=1)
        threads = [threading.Thread(target=ask, args=("many",)) for _ in range(12)]
        for thread in threads:
            thread.start()
        until(server, waiting=12)
        late = [threading.Thread(target=ask, args=("few",)) for _ in range(3)]
        for thread in late:
            thread.start()
        until(server, waiting=15, callers_waiting=2)
        for thread in [*threads, *late, gate]:
            thread.join()
        assert answers == [200] * 15
        # Turns: many, few, many, few, many, few, and then the rest of the many. One place is left for an answer
        # that another one passes on its way out.
        assert max(i for i, name in enumerate(order) if name == "few") <= 6, order


def test_memory_is_promised_once(tmp_path):
    with serve(tmp_path, "admission: {memory_mb: 300}\n") as server:
        never = server.ask("POST", "/v1/executions", {"code": "1", "policy": {"max_memory_mb": 400}})
        assert never.status == 403 and never.json["field"] == "max_memory_mb"
        answers: list = []
        body = {"code": WAIT.format(0.2), "preset": "data", "policy": {"max_memory_mb": 120}}
        threads = [in_background(server, body, answers) for _ in range(6)]
        most = 0
        while any(thread.is_alive() for thread in threads):
            now = admission(server)
            most = max(most, now["running"])
            assert now["promised_bytes"] <= now["memory_bytes"] == 300 << 20
        assert most <= 2
        assert [answer.status for answer in answers] == [200] * 6


def make_session(server: Server, **policy: object) -> str:
    made = server.ask("POST", "/v1/sessions", {"preset": "data", "policy": policy})
    assert made.status == 201, made.body
    return made.json["id"]


def test_programs_of_sessions_take_places(tmp_path):
    """So many at once, whether in sessions or alone; all have their turn, and a place comes back from each end."""
    with serve(tmp_path, "admission: {executions: 2, queue: 64}\n") as server:
        names = [make_session(server) for _ in range(6)]
        answers: list = []
        threads = [in_background(server, {"session": name, "code": WAIT.format(0.05) + str(i)}, answers)
                   for i in range(2) for name in names]
        threads += [in_background(server, {"code": WAIT.format(0.05) + "7", "preset": "data"}, answers) for _ in range(4)]
        most, waited = 0, 0
        while any(thread.is_alive() for thread in threads):
            now = admission(server)
            most, waited = max(most, now["running"]), max(waited, now["waiting"])
        assert most == 2 and waited > 0
        assert [answer.status for answer in answers] == [200] * 16
        assert sorted(answer.json["result"] for answer in answers) == [0] * 6 + [1] * 6 + [7] * 4
        until(server, running=0, waiting=0)


def test_a_session_that_waits_for_a_place(tmp_path):
    """Refused where the queue is full; stopped while it waits; its place is the next one's; idle time goes on."""
    with serve(tmp_path, "admission: {executions: 1, queue: 1}\nsessions: {idle_timeout: 2}\n") as server:
        one, other = make_session(server), make_session(server)
        answers: list = []
        slow = in_background(server, {"session": one, "code": WAIT.format(60)}, answers)
        until(server, running=1)
        waiting = UnixConnection(server.socket)
        waiting.request("POST", "/v1/executions", json.dumps({"session": other, "code": "x = 1"}),
                        {"Content-Type": "application/json"})
        until(server, running=1, waiting=1)
        for body in ({"session": other, "code": "2"}, {"code": "3"}):
            refused = server.ask("POST", "/v1/executions", body)
            assert refused.status == 429 and refused.json["name"] == "Busy" and refused.headers["Retry-After"]
        waiting.close()
        until(server, running=1, waiting=0)
        assert server.ask("POST", f"/v1/sessions/{one}/interrupt").status in (200, 202, 204)
        slow.join()
        assert "KeyboardInterrupt" in str(answers[0].json["error"])
        end = time.monotonic() + 30
        while server.ask("GET", "/v1/sessions").json["sessions"]:
            assert time.monotonic() < end, "they were idle, one of them after it had waited in vain"
            time.sleep(0.05)
        until(server, running=0, waiting=0, sessions=0, promised_bytes=0)


def test_sessions_memory_is_promised_once(tmp_path):
    """A restart keeps what was promised, also where the old jail's and the new one's together are too much."""
    with serve(tmp_path, "admission: {memory_mb: 300}\n") as server:
        name = make_session(server, max_memory_mb=200)
        until(server, sessions=1)
        answers: list = []
        late = in_background(server, {"code": "1", "policy": {"max_memory_mb": 120}}, answers)
        until(server, sessions=1, waiting=1)
        end = time.monotonic() + 30
        while server.ask("GET", f"/v1/sessions/{name}").json["state"] != "idle":
            assert time.monotonic() < end
            time.sleep(0.01)
        assert server.ask("POST", f"/v1/sessions/{name}/restart").status < 300
        result = server.ask("POST", "/v1/executions", {"session": name, "code": "5"})
        assert result.status == 200 and result.json["result"] == 5, result.body
        now = admission(server)
        assert now["waiting"] == 1 and now["promised_bytes"] <= now["memory_bytes"]
        assert server.ask("DELETE", f"/v1/sessions/{name}").status < 300
        late.join()
        assert answers[0].status == 200
