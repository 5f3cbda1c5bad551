# SPDX-License-Identifier: MIT
"""The sandbox as one tool, ``run_python``: for LangChain, and for models that are called by OpenAI's protocol."""

from __future__ import annotations

import json
from typing import Any, Mapping

from sandbox.config.settings import SandboxSettings
from sandbox.core.sandbox import Sandbox
from sandbox.core.session import Session
from sandbox.exceptions import SandboxError, SessionEnded
from sandbox.integration import report

__all__ = ["PythonTool"]


class PythonTool:
    """One session, and the texts that a model needs to use it. A context manager.

    >>> from sandbox import SandboxSettings
    >>> with PythonTool(SandboxSettings()) as tool:
    ...     tool.run("x = 20")
    ...     tool.run("print(x + 1)")
    '(no output)'
    '21'
    """

    name = "run_python"

    def __init__(self, settings: SandboxSettings | None = None, limit: int = 20000) -> None:
        """settings: the preset ``data`` if None. limit: characters of an answer, about."""
        self._sandbox = Sandbox(SandboxSettings.preset("data") if settings is None else settings)
        self._session: Session | None = None
        self._limit = limit

    @property
    def description(self) -> str:
        return "Runs Python and returns what it prints and the value of its last expression.\n" + report.policy(
            self._sandbox.settings
        )

    def run(self, code: str) -> str:
        """What a model is to read of it. Raises nothing that the program did, nor what the sandbox could not do."""
        if self._session is None:
            self._session = self._sandbox.session()
        try:
            result = self._session.run(code)
        except SessionEnded as exc:
            self._session = None
            return f"[sandbox] Not run: {exc}. Variables and files are gone. Run again what you need."
        except SandboxError as exc:
            return f"[sandbox] Not run: {exc}. This is no fault of the program: tell the user."
        if result.session_ended is not None:
            self._session = None
        return report.summary(result, self._sandbox.settings, self._limit)

    def langchain(self) -> Any:
        """A ``StructuredTool``. Raises ImportError where langchain-core is not installed."""
        from langchain_core.tools import StructuredTool  # type: ignore[import-not-found, unused-ignore]

        def run_python(code: str) -> str:
            """Runs Python."""
            return self.run(code)

        return StructuredTool.from_function(func=run_python, name=self.name, description=self.description)

    def openai(self, responses: bool = False) -> dict[str, Any]:
        """The tool for ``tools=[...]`` of a chat completion; responses: in the shape of the Responses API."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string", "description": "Python"}},
                "required": ["code"],
                "additionalProperties": False,
            },
        }
        return {"type": "function", **function} if responses else {"type": "function", "function": function}

    def answer(self, call: Any) -> dict[str, Any]:
        """The message that answers a model's call (an item of ``message.tool_calls`` or of a response's ``output``, as
        an object or as JSON): runs its program."""
        flat = _get(call, "function") is None
        function = call if flat else _get(call, "function")
        try:
            arguments = json.loads(_get(function, "arguments") or "")
            code = arguments["code"]
        except (ValueError, KeyError, TypeError):
            code = None
        if _get(function, "name") != self.name:
            text = f"There is no tool {_get(function, 'name')!r}, only {self.name}."
        elif not isinstance(code, str):
            text = 'The arguments have to be {"code": TEXT}.'
        else:
            text = self.run(code)
        if flat:
            return {"type": "function_call_output", "call_id": _get(call, "call_id"), "output": text}
        return {"role": "tool", "tool_call_id": _get(call, "id"), "content": text}

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        self._sandbox.cleanup()

    def __enter__(self) -> PythonTool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
