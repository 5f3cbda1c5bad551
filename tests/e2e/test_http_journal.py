# SPDX-License-Identifier: MIT
"""What /v1/executions says where a journal is kept."""
from __future__ import annotations

import pytest
from http_server import Server, until
from test_http_openapi import check, record
from test_http_tcp import Tcp


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Tcp(tmp_path_factory.mktemp("journal"), "--journal", str(tmp_path_factory.mktemp("records"))) as server:
        yield server


def test_a_run_is_found_again(server: Server) -> None:
    result = server.run("open('left.txt', 'w').write('x' * 5000)\nprint('said')\nimport os", preset="data",
                        policy={"allowed_modules": ["math"]})
    assert result["status"] == "denied" and result["recorded"] is True
    where = f"/v1/executions/{result['id']}"
    one = server.ask("GET", where).json
    assert one["status"] == "denied" and one["stdout"] == "said\n" and one["preset"] == "data" and one["door"] == "http"
    assert [event["kind"] for event in server.ask("GET", where + "/events").json["events"]] == ["import"]
    assert [file["path"] for file in server.ask("GET", where + "/files").json["files"]] == ["left.txt"]
    file = server.ask("GET", where + "/files/left.txt")
    assert file.body == b"x" * 5000 and file.headers["Content-Disposition"] == "attachment; filename*=UTF-8''left.txt"
    assert server.ask("GET", where + "/files/other").status == 404
    assert server.ask("GET", where[:-1]).status == 404  # not by the beginning of an id


def test_filters_and_pages(server: Server) -> None:
    ids = [server.run(f"{i}  # page{i}")["id"] for i in range(4)] + [server.run("1 / 0")["id"]]
    first = server.ask("GET", "/v1/executions?limit=2").json
    assert [row["id"] for row in first["executions"]] == ids[:2:-1] and first["recorded"] is True
    second = server.ask("GET", f"/v1/executions?limit=2&before={first['next']}").json
    assert [row["id"] for row in second["executions"]] == ids[2:0:-1]

    def found(query: str) -> list[str]:
        return [row["id"] for row in server.ask("GET", f"/v1/executions?{query}").json["executions"]]

    assert found("status=error")[0] == ids[4] and ids[0] not in found("status=error")
    assert until(lambda: found("text=page3") == [ids[3]])  # the index is filled in batches
    assert found("until=2020-01-01T00:00:00Z") == [] and ids[0] in found("since=2020-01-01T00:00:00Z")
    assert ids[0] in found("since=1577836800") and found("session=nobody") == [] and found("event=nothing") == []
    for wrong in ("since=x", "since=2020-01-01T00:00:00", "before=x", "before=-1"):
        answer = server.ask("GET", f"/v1/executions?{wrong}")
        assert answer.status == 400 and answer.json["field"] == wrong.partition("=")[0], wrong


def test_a_detached_run_runs_and_is_recorded(server: Server) -> None:
    code = "import time\ntime.sleep(1.5)\n__result__ = 7"
    answer = server.ask("POST", "/v1/executions", {"code": code, "detach": True, "policy": {"allowed_modules": ["time"]}})
    where = answer.headers["Location"]
    assert server.ask("GET", where).json["status"] == "running"
    rows = until(lambda: server.ask("GET", "/v1/executions?status=running").json["executions"])
    assert [row["id"] for row in rows] == [answer.json["id"]]
    done = until(lambda: (now := server.ask("GET", where).json)["status"] != "running" and now)
    assert done["status"] == "ok" and done["result"]["result"] == 7 and done["seq"] > 0


def test_answers_are_of_the_document(server: Server) -> None:
    document = server.ask("GET", "/openapi.json").json
    id_ = server.run("open('a.txt', 'w').write('x')", preset="data")["id"]
    answers: list = []
    for pattern in ("/v1/executions", "/v1/executions/{id}", "/v1/executions/{id}/samples", "/v1/executions/{id}/events",
                    "/v1/executions/{id}/files", "/v1/executions/{id}/files/{path}", "/v1/journal/head"):
        for one in (id_, "0" * 32):
            path = pattern.replace("{id}", one).replace("{path}", "a.txt")
            record(answers, "GET", pattern, server.ask("GET", path))
    assert [answer["status"] for answer in answers if "{id}" in answer["path"]] == [200, 404] * 5
    assert check(document, answers) == []


def test_the_head(server: Server) -> None:
    assert "head" in server.ask("GET", "/v1/journal/head").json
