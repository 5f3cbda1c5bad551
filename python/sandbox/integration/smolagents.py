# SPDX-License-Identifier: MIT
"""smolagents: an executor whose code runs in a session of the sandbox.

    agent = CodeAgent(tools=[], model=model, executor=executor(SandboxSettings.preset("data")))
"""

from __future__ import annotations

import base64
import io
import logging
from typing import Any, Sequence

from sandbox.config.settings import SandboxSettings
from sandbox.core.result import Result
from sandbox.core.sandbox import Sandbox
from sandbox.core.session import Session
from sandbox.exceptions import SessionEnded
from sandbox.integration import report

__all__ = ["executor"]


def executor(
    settings: SandboxSettings | None = None, additional_imports: Sequence[str] = (), logger: Any = None
) -> Any:
    """A ``RemotePythonExecutor``. settings: the preset ``data`` if None. additional_imports: modules that have to be
    there already; nothing is installed into a sandbox. logger: the agent's, with ``log`` and ``log_error``.

    Final answers cross as data, never as pickles. Raises ImportError where smolagents is not installed.
    """
    from smolagents.local_python_executor import CodeOutput  # type: ignore[import-not-found, unused-ignore]
    from smolagents.remote_executors import RemotePythonExecutor  # type: ignore[import-not-found, unused-ignore]
    from smolagents.utils import AgentError  # type: ignore[import-not-found, unused-ignore]

    class SandboxExecutor(RemotePythonExecutor):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__(list(additional_imports), logger if logger is not None else _Logger())
            self.sandbox = Sandbox(SandboxSettings.preset("data") if settings is None else settings)
            self.session: Session | None = None
            self.installed_packages = self.install_packages(list(additional_imports))

        def run_code_raise_errors(self, code: str) -> Any:
            if self.session is None:
                self.session = self.sandbox.session()
            try:
                result = self.session.run(code)
            except SessionEnded as exc:
                self.session = None
                raise AgentError(f"{exc}. Variables are gone: define them again.", self.logger) from exc
            if result.session_ended is not None:
                self.session = None
            error = result.error
            if error is not None and error.name == self.FINAL_ANSWER_EXCEPTION:
                answer = self._deserialize_final_answer(error.value)
                return CodeOutput(output=answer, logs=result.stdout, is_final_answer=True)
            if not result.ok:
                raise AgentError(report.summary(result, self.sandbox.settings), self.logger)
            logs = "\n".join(part for part in (result.stdout, report.outcome(result, self.sandbox.settings)) if part)
            return CodeOutput(output=_picture(result) or result.result, logs=logs, is_final_answer=False)

        def install_packages(self, additional_imports: list[str]) -> list[str]:
            """Checks that they are there. Raises AgentError for one that is not, or not allowed."""
            for name in additional_imports:
                module = name.split("[")[0].replace("-", "_")
                if not module.isidentifier():
                    raise AgentError(f"{name!r} is no name of a module", self.logger)
                self.run_code_raise_errors(f"import {module}")
            return list(additional_imports)

        def cleanup(self) -> None:
            if self.session is not None:
                self.session.close()
                self.session = None
            self.sandbox.cleanup()

    return SandboxExecutor()


def _picture(result: Result) -> Any:
    if result.result_display is None or result.result_display >= len(result.displays):
        return None
    data = result.displays[result.result_display].get("image/png")
    if not isinstance(data, str):
        return None
    try:
        from PIL import Image  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    return Image.open(io.BytesIO(base64.b64decode(data)))


class _Logger:
    """For an executor that is made before its agent."""

    def log(self, *text: Any, **options: Any) -> None:
        logging.getLogger("sandbox").debug("%s", " ".join(map(str, text)))

    def log_error(self, text: str) -> None:
        logging.getLogger("sandbox").debug("%s", text)
