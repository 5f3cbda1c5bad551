# SPDX-License-Identifier: MIT
"""A stand-in for Open Interpreter 0.4: how it makes languages, pulls their chunks, joins and cuts messages, and what it
runs by itself. Written from the facts in the project's notes on that interface; the package itself is in no Debian."""

from __future__ import annotations

import threading
from typing import Any, Iterator


class Computer:
    def __init__(self, interpreter: Any) -> None:
        self.interpreter = interpreter
        self.import_computer_api = False
        self.import_skills = False
        self.languages: list[Any] = []
        self.active: dict[str, Any] = {}

    def get_language(self, name: str) -> Any:
        for language in self.languages:
            if name.lower() in [language.name.lower(), *(alias.lower() for alias in language.aliases)]:
                return language
        return None

    def run(self, name: str, code: str) -> Iterator[dict[str, Any]]:
        if name not in self.active:
            language = self.get_language(name)
            takes = language.__init__.__code__.co_argcount
            self.active[name] = language(self) if takes > 1 else language()
        try:
            for chunk in self.active[name].run(code):
                if chunk["type"] == "console" and chunk.get("format") == "output":
                    content = chunk["content"]
                    if content.startswith("@@@RECIPIENT:"):
                        chunk["recipient"] = content
                    if "@@@HIDE_TRACEBACK@@@" in content:
                        chunk["content"] = "Stopping execution." + content.split("@@@HIDE_TRACEBACK@@@")[-1]
                yield chunk
        except GeneratorExit:
            for language in self.active.values():
                language.stop()

    def terminate(self) -> None:
        for name in list(self.active):
            self.active.pop(name).terminate()


class OpenInterpreter:
    """``script`` is what the model says, one block of code or text after the other."""

    made: list[OpenInterpreter] = []

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.computer = Computer(self)
        self.sync_computer = False
        self.stop_event = threading.Event()
        self.messages: list[dict[str, Any]] = []
        self.system_message = "Run anything."
        self.llm = type("Llm", (), {"model": "default", "api_base": None, "api_key": None})()
        self.script: list[tuple[str, str]] = [("python", "print(6 * 7)"), ("text", "The task is done.")]
        self.seen: list[str] = []
        OpenInterpreter.made.append(self)

    def system(self) -> str:
        return "\n\n".join([self.system_message, *(language.system_message for language in self.computer.languages)])

    def chat(self, message: str, display: bool = True, stream: bool = False) -> list[dict[str, Any]]:
        self.messages.append({"role": "user", "type": "message", "content": message})
        first = len(self.messages)
        for language, text in self.script:
            self.seen.append(self.system())
            if language == "text":
                self.messages.append({"role": "assistant", "type": "message", "content": text})
                continue
            self.messages.append({"role": "assistant", "type": "code", "format": language, "content": text})
            self.store({"role": "computer", **chunk} for chunk in self.computer.run(language, text))
            assert self.messages[-1]["type"] != "code" or self.messages[-1]["role"] != "computer", "it would be run"
        return self.messages[first:]

    def store(self, chunks: Any) -> None:
        base: tuple[Any, ...] | None = None
        for chunk in chunks:
            assert chunk["content"] is not None
            if chunk["content"] == "" or chunk.get("format") == "active_line":
                continue
            this = (chunk["role"], chunk["type"], chunk["format"])
            if this == base:
                self.messages[-1]["content"] += chunk["content"]
            else:
                self.messages.append(dict(chunk))
            base = this
            if chunk["type"] == "console":
                text = self.messages[-1]["content"]
                self.messages[-1]["content"] = text if len(text) <= 2800 else "Output truncated." + text[-2800:]
