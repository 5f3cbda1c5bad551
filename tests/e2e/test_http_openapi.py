# SPDX-License-Identifier: MIT
"""/openapi.json is what a validator from npm takes for OpenAPI 3.1, and every operation answers what it says."""
from __future__ import annotations

import json
import pathlib
import shutil
import subprocess

import pytest
import runner
from http_server import Server, until

CHECK = pathlib.Path(__file__).resolve().parent.parent / "openapi"


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


def check(document: dict, answers: list) -> list[str]:
    done = subprocess.run(["node", "check.mjs"], cwd=CHECK, capture_output=True, text=True, timeout=60,
                          input=json.dumps({"document": document, "answers": answers}))
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return done.stdout.splitlines()


def record(answers: list, method: str, pattern: str, answer) -> None:
    body = answer.json if answer.type and answer.type.endswith("json") else None
    answers.append({"method": method, "path": pattern, "status": answer.status,
                    "type": answer.type if answer.body else None, "body": body})


def bodies(server: Server) -> dict:
    """What makes each operation with a body do its work; the others are asked as they are."""
    return {"run": {"code": "print(1)\n{'a': 1}"}, "makeSession": {}, "completeInSession": {"code": "pri"},
            "mcp": {"jsonrpc": "2.0", "id": 1, "method": "ping"}}


def session(server: Server) -> str:
    id_ = server.ask("POST", "/v1/sessions", {"files": {"a/b.txt": "x"}}).json["id"]
    assert until(lambda: server.ask("GET", f"/v1/sessions/{id_}").json["state"] == "idle")
    return id_


def test_every_operation_answers_what_the_document_says(server: Server) -> None:
    assert shutil.which("node"), "node is not there: ./dev test installs it"
    document = server.ask("GET", "/openapi.json").json
    answers: list = []
    one = server.run("import os\nopen('left.txt', 'w').write('x')", preset="data")
    done = server.ask("POST", "/v1/executions", {"code": "while True: pass", "detach": True})
    record(answers, "POST", "/v1/executions", done)
    assert done.status == 202
    known = bodies(server)
    count = 0
    for pattern, item in document["paths"].items():
        for method, operation in item.items():
            count += 1
            ids = [one["id"], done.json["id"], "nobody"] if "{id}" in pattern else [""]
            if "/sessions/" in pattern:
                ids = [session(server), "nobody"]
            for id_ in ids:
                path = pattern.replace("{id}", id_).replace("{path}", "a/b.txt")
                content = operation.get("requestBody", {}).get("content", {})
                body, headers = None, {}
                if "application/json" in content:
                    body = known[operation["operationId"]]
                elif content:
                    body, headers = "x", {"Content-Type": next(iter(content))}
                record(answers, method.upper(), pattern, server.ask(method.upper(), path, body, headers))
                if "/sessions/" in pattern and id_ != "nobody":
                    assert answers[-1]["status"] in (200, 204), answers[-1]
                if method == "get":
                    head = server.ask("HEAD", path)
                    assert head.body == b"" and head.status == answers[-1]["status"], path
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                path = pattern.replace("{id}", "nobody")
                for wrong, headers in (("{", {"Content-Type": "application/json"}), ("{}", {"Content-Type": "text/plain"})):
                    record(answers, method.upper(), pattern, server.ask(method.upper(), path, wrong, headers))
                    assert answers[-1]["status"] in (400, 404, 415)
            if "/sessions/" in pattern and method != "delete":
                server.ask("DELETE", f"/v1/sessions/{ids[0]}")
    server.ask("DELETE", f"/v1/executions/{done.json['id']}")
    assert count >= 16
    assert check(document, answers) == []


def test_streams_are_of_their_schema(server: Server) -> None:
    document = server.ask("GET", "/openapi.json").json
    answer = server.ask("POST", "/v1/executions", {"code": "print('x')\nimport socket"}, {"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["type"] for line in lines][:1] == ["start"] and lines[-1]["type"] == "result"
    # The lines of a stream, each as if it were the answer.
    document["paths"]["/line"] = {"get": {"responses": {"200": {"description": "x", "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/StreamLine"}}}}}}}
    assert check(document, [{"method": "GET", "path": "/line", "status": 200, "type": "application/json", "body": line}
                            for line in lines]) == []


def test_the_check_finds_what_is_wrong(server: Server) -> None:
    document = server.ask("GET", "/openapi.json").json
    good = {"method": "GET", "path": "/v1/health", "status": 200, "type": "application/json",
            "body": server.ask("GET", "/v1/health").json}
    assert check(document, [good]) == []
    for change in ({"status": 299}, {"path": "/v1/nothing"}, {"type": "text/html"}, {"body": {"live": 1}}):
        assert len(check(document, [{**good, **change}])) == 1, change
    broken = {**document, "paths": {"/x": {"get": {"responses": {"200": {}}}}}}
    assert check(broken, []) != []
    dangling = json.loads(json.dumps(document).replace("#/components/schemas/Result", "#/components/schemas/Gone"))
    assert check(dangling, []) != []


def test_the_policy_in_the_document_is_the_table(server: Server) -> None:
    fields = server.ask("GET", "/openapi.json").json["components"]["schemas"]["Policy"]["properties"]
    table = {field["name"]: field for field in server.ask("GET", "/v1/policy").json["fields"]}
    assert set(fields) == set(table) | {"preset"}
    assert fields["max_memory_mb"]["type"] == "integer" and fields["degraded"]["enum"] == ["refuse", "allow"]
    assert table["max_memory_mb"]["default"] == 100 and table["max_memory_mb"]["meaning"]["zh"]


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((CHECK / "package-lock.json").read_text())
    assert all("resolved" not in package and ("integrity" in package or not name)
               for name, package in lock["packages"].items())
    assert runner.TOP.joinpath("tests/openapi/package.json").is_file()
