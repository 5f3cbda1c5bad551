# SPDX-License-Identifier: MIT
"""smolagents, LangChain and OpenAI's tools, against stand-ins of their base classes' shape; and the page's starter."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import pytest

from sandbox import SandboxSettings
from sandbox.core import server as server_module
from sandbox.integration.tools import PythonTool

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module", autouse=True)
def no_server_stays() -> Iterator[None]:
    yield
    server_module.shutdown()


def modules(monkeypatch: pytest.MonkeyPatch, **members: dict[str, Any]) -> None:
    for name, content in members.items():
        module = types.ModuleType(name.replace("__", "."))
        module.__dict__.update(content, __path__=[])
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)


@dataclass
class CodeOutput:
    output: Any
    logs: str
    is_final_answer: bool


class AgentError(Exception):
    def __init__(self, message: str, logger: Any) -> None:
        super().__init__(message)
        logger.log_error(message)


class RemotePythonExecutor:
    FINAL_ANSWER_EXCEPTION = "FinalAnswerException"

    def __init__(self, additional_imports: list[str], logger: Any, allow_pickle: bool = False) -> None:
        self.logger, self.allow_pickle = logger, allow_pickle
        self.logger.log("Initializing executor, hold on...")
        self.installed_packages: list[str] = []

    @staticmethod
    def _deserialize_final_answer(value: str, allow_pickle: bool = False) -> Any:
        assert value.startswith("safe:") and not allow_pickle
        return json.loads(value[5:])

    def send_variables(self, variables: dict[str, Any]) -> None:
        text = repr(json.dumps(variables))
        self.run_code_raise_errors(f"import json\nlocals().update(json.loads({text}))")  # type: ignore[attr-defined]

    def __call__(self, code: str) -> CodeOutput:
        return self.run_code_raise_errors(code)  # type: ignore[attr-defined, no-any-return]


def test_smolagents(own_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modules(
        monkeypatch,
        smolagents={},
        smolagents__local_python_executor={"CodeOutput": CodeOutput},
        smolagents__remote_executors={"RemotePythonExecutor": RemotePythonExecutor},
        smolagents__utils={"AgentError": AgentError},
    )
    from sandbox.integration.smolagents import executor

    made = executor(additional_imports=["json"])
    try:
        assert made.installed_packages == ["json"]
        made.send_variables({"x": 20})
        assert made("print('seen'); x + 1") == CodeOutput(21, "seen\n", False)
        with pytest.raises(AgentError, match="ZeroDivisionError"):
            made("1 / 0")
        with pytest.raises(AgentError, match="There is no network"):
            made("import socket; socket.socket()")
        final = "class FinalAnswerException(BaseException): pass\nprint('so')\nraise FinalAnswerException('safe:[1, 2]')"
        assert made(final) == CodeOutput([1, 2], "so\n", True)
        with pytest.raises(AgentError, match="are gone"):
            made("import os; os._exit(1)")
        with pytest.raises(AgentError, match="NameError"):
            made("x")
    finally:
        made.cleanup()
    with pytest.raises(AgentError, match="no_such_module"):
        executor(additional_imports=["no-such-module"])


def test_langchain(own_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class StructuredTool:
        @classmethod
        def from_function(cls, func: Any, name: str, description: str) -> Any:
            return types.SimpleNamespace(func=func, name=name, description=description)

    modules(monkeypatch, langchain_core={}, langchain_core__tools={"StructuredTool": StructuredTool})
    with PythonTool() as tool:
        made = tool.langchain()
        assert made.name == "run_python" and "There is no network" in made.description
        assert made.func("6 * 7") == "42"
        assert made.func.__annotations__["code"] in (str, "str")


def test_openai(own_server: str) -> None:
    def call(**function: Any) -> dict[str, Any]:
        return {"id": "c1", "type": "function", "function": {"name": "run_python", **function}}

    with PythonTool(SandboxSettings(max_execution_time=20), limit=1000) as tool:
        assert tool.openai()["function"]["parameters"]["required"] == ["code"]
        assert tool.openai(responses=True)["name"] == "run_python"
        assert tool.answer(call(arguments='{"code": "x = 20; print(x)"}')) == {
            "role": "tool", "tool_call_id": "c1", "content": "20",
        }
        flat = types.SimpleNamespace(name="run_python", call_id="c2", arguments='{"code": "x + 1"}')
        assert tool.answer(flat) == {"type": "function_call_output", "call_id": "c2", "output": "21"}
        for arguments in ("", "[]", '{"code": 1}', "{"):
            assert "have to be" in tool.answer(call(arguments=arguments))["content"]
        assert "no tool" in tool.answer({"id": "c", "function": {"name": "rm", "arguments": "{}"}})["content"]
        assert "Only these modules" in tool.run("import socket")
        long = tool.run("print('HEAD', 'x' * 5000, 'TAIL')")
        assert long.startswith("HEAD") and long.endswith("TAIL") and "left out" in long and len(long) < 1100


def test_the_page_is_served_until_it_is_interrupted(own_server: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.web.app", "--port", "0"],
        env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            pytest.fail("it told no address")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) in (0, 130)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
