# SPDX-License-Identifier: MIT
"""The policy as a dataclass. Names and defaults are those of the field table of the C side (``docs/policy.md``).

Values are not checked here: the server does, for all its callers alike, and refuses by the field's name.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any, Mapping

__all__ = ["DEFAULT_SETTINGS", "PRESETS", "SandboxSettings"]

_DATA: dict[str, Any] = {
    "max_memory_mb": 1024,
    "max_cpu_percent": 100,
    "max_execution_time": 60,
    "max_processes": 128,
    "max_disk_mb": 512,
    "max_open_files": 1024,
    "allow_file_operations": True,
    "allowed_modules": ["*"],
    "preload": ["numpy?", "pandas?", "matplotlib?", "matplotlib.pyplot?"],
}

#: What each preset has other than the defaults; a test holds it to the C side's.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "strict": {},
    "data": _DATA,
    "open": {**_DATA, "network_access": True, "allow_subprocess": True},
}


@dataclass
class SandboxSettings:
    """Limits and permissions of one program. The defaults are the preset ``strict``."""

    #: MiB that the program itself uses; the warm interpreter it is forked from is not charged.
    max_memory_mb: int = 100
    #: Share of one core, 100 is one full core. The program slows down, it is not ended.
    max_cpu_percent: float = 50
    #: Seconds of CPU after which it is ended; 0 is none.
    max_cpu_time: float = 0
    #: Seconds of wall time, fractions allowed.
    max_execution_time: float = 5
    #: Threads and processes together.
    max_processes: int = 32
    #: Bytes of stdout and of stderr that are kept, head and tail; beyond 64 times this the program is ended.
    max_output_bytes: int = 1 << 20
    #: MiB of its private /tmp, /dev/shm and working directory, all together.
    max_disk_mb: int = 64
    #: Descriptors.
    max_open_files: int = 256
    #: The program's own ``open``, ``listdir`` and their kin.
    allow_file_operations: bool = False
    #: ``PATH`` (as ``PATH:rw``), ``PATH:ro`` or ``PATH:rw``; relative to the caller's working directory.
    allowed_directories: list[str] = field(default_factory=list)
    #: May open connections at all.
    network_access: bool = False
    #: ``host``, ``*.host``, ``host:port`` or CIDR; empty denies all, ``*`` is every public address.
    allowed_hosts: list[str] = field(default_factory=lambda: ["*"])
    #: May import at all.
    allow_imports: bool = True
    #: Top-level modules; ``*`` is all.
    allowed_modules: list[str] = field(default_factory=lambda: ["math", "random"])
    #: May execute other programs.
    allow_subprocess: bool = False
    #: Modules that are imported once, before any program is forked.
    preload: list[str] = field(default_factory=list)
    #: Interpreter, 3.10 or newer, virtual environments included; empty is the server's default.
    python: str = ""
    #: Variables; nothing is inherited.
    environment: dict[str, str] = field(default_factory=dict)
    #: ``refuse`` or ``allow`` a missing wall.
    degraded: str = "refuse"
    #: Of the first version; accepted and ignored.
    check_interval: float = 0.1

    @classmethod
    def preset(cls, name: str, **changes: Any) -> SandboxSettings:
        """The settings of a preset: ``strict``, ``data`` (numpy, pandas and matplotlib as far as they are installed,
        every module, files in the working directory) or ``open`` (and the public network and other programs).

        changes: fields that differ. Raises ValueError for another name, TypeError for a field that there is none of.

        >>> SandboxSettings.preset("data", max_execution_time=10).max_memory_mb
        1024
        """
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}: there are {', '.join(PRESETS)}")
        return cls(**{**copy.deepcopy(PRESETS[name]), **changes})

    def to_policy(self) -> dict[str, Any]:
        """The fields as a request carries them: paths as text, the ignored field left out."""
        policy: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
            elif isinstance(value, (list, tuple, set, frozenset)):
                value = [os.fspath(entry) if isinstance(entry, os.PathLike) else entry for entry in value]
            policy[item.name] = value
        del policy["check_interval"]
        return policy


#: The preset ``strict``. Shared: make a copy (``dataclasses.replace``) to change it.
DEFAULT_SETTINGS = SandboxSettings()
