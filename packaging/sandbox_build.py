# SPDX-License-Identifier: MIT
"""The build backend of this tree (PEP 517, PEP 660). Standard library only.

A wheel holds ``python/sandbox`` and the built command as ``sandbox/_bin/sandbox``, which has its helpers (the jailer
and the extension module) inside it. The command is built by ``./dev build`` where ``build/sandbox`` is not there yet.
An editable wheel is a path to ``python/``. Wheels and sdists of the same tree are the same, byte for byte.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import platform
import re
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path
from typing import IO, Any, Mapping, cast

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "sandbox"
BINARY = ROOT / "build" / "sandbox"
NAME = "interpreter_sandbox"
SDIST_NAME = "interpreter-sandbox"
COMMAND = "[console_scripts]\nsandbox = sandbox.__main__:main\n"
BUILT = {"build", "dist", "node_modules", "__pycache__"}

Config = Mapping[str, Any] | None


def get_requires_for_build_wheel(config_settings: Config = None) -> list[str]:
    return []


def get_requires_for_build_sdist(config_settings: Config = None) -> list[str]:
    return []


def get_requires_for_build_editable(config_settings: Config = None) -> list[str]:
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Config = None) -> str:
    return _write_info(metadata_directory, _wheel_tag())


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Config = None) -> str:
    return _write_info(metadata_directory, "py3-none-any")


def build_wheel(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    _build()
    files = {f"sandbox/{path.relative_to(PACKAGE)}": path.read_bytes() for path in _package_files()}
    files["sandbox/_bin/sandbox"] = BINARY.read_bytes()
    return _write_wheel(wheel_directory, _wheel_tag(), files, {"sandbox/_bin/sandbox"})


def build_editable(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    _build()
    path = f"{PACKAGE.parent}\n".encode()
    return _write_wheel(wheel_directory, "py3-none-any", {f"{NAME}.pth": path}, set())


def build_sdist(sdist_directory: str, config_settings: Config = None) -> str:
    top = f"{SDIST_NAME}-{_version()}"
    name = f"{top}.tar.gz"
    with open(Path(sdist_directory) / name, "wb") as out:
        with gzip.GzipFile("", "wb", fileobj=out, mtime=_time()) as packed:
            with tarfile.open(mode="w", fileobj=cast(IO[bytes], packed), format=tarfile.PAX_FORMAT) as tar:
                _add(tar, f"{top}/PKG-INFO", _metadata(), 0o644)
                for path in _source_files():
                    mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                    _add(tar, f"{top}/{path.relative_to(ROOT)}", path.read_bytes(), mode)
    return name


# What goes in


def _build() -> None:
    if not BINARY.is_file():
        subprocess.run(["./dev", "build"], cwd=ROOT, check=True)
    if not BINARY.is_file():
        raise RuntimeError("./dev build did not make build/sandbox")


def _package_files() -> list[Path]:
    return sorted(
        path
        for path in PACKAGE.rglob("*")
        if path.is_file()
        and not (BUILT | {"_bin"}) & set(path.relative_to(PACKAGE).parts)
        and path.suffix not in (".pyc", ".pyo")
    )


def _source_files() -> list[Path]:
    """What git tracks; in a tree without git, everything that was not built."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        found = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
    except (OSError, subprocess.CalledProcessError):
        found = [path for path in ROOT.rglob("*") if ".git" not in path.relative_to(ROOT).parts]
    return sorted(
        path
        for path in set(found)
        if path.is_file()
        and not path.is_symlink()
        and not BUILT & set(path.relative_to(ROOT).parts)
        and path.name != "PKG-INFO"
    )


def _version() -> str:
    found = re.search(r'^__version__ = "([^"]+)"$', (PACKAGE / "__init__.py").read_text("utf-8"), re.MULTILINE)
    if not found:
        raise RuntimeError("python/sandbox/__init__.py names no version")
    return found.group(1)


def _metadata() -> bytes:
    text = (ROOT / "packaging" / "METADATA").read_text("utf-8").replace("@VERSION@", _version())
    readme = ROOT / "README.md"
    if readme.is_file():
        text += "\n" + readme.read_text("utf-8")
    return text.encode()


def _wheel_tag() -> str:
    return f"py3-none-linux_{platform.machine()}"


# How it is written


def _time() -> int:
    """1980 is the first year that a zip file knows."""
    return max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315532800)


def _info(tag: str) -> dict[str, bytes]:
    pure = "true" if tag.endswith("-any") else "false"
    wheel = f"Wheel-Version: 1.0\nGenerator: sandbox_build\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    info = {
        "METADATA": _metadata(),
        "WHEEL": wheel.encode(),
        "entry_points.txt": COMMAND.encode(),
        "top_level.txt": b"sandbox\n",
    }
    licence = ROOT / "LICENSE"
    if licence.is_file():
        info["LICENSE"] = licence.read_bytes()
    return {f"{NAME}-{_version()}.dist-info/{name}": data for name, data in info.items()}


def _write_info(directory: str, tag: str) -> str:
    for name, data in _info(tag).items():
        path = Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return f"{NAME}-{_version()}.dist-info"


def _write_wheel(directory: str, tag: str, files: dict[str, bytes], executable: set[str]) -> str:
    name = f"{NAME}-{_version()}-{tag}.whl"
    record = f"{NAME}-{_version()}.dist-info/RECORD"
    # The archive's own information comes last (PEP 427), its record at the very end.
    entries = sorted(files.items()) + sorted(_info(tag).items())
    lines = [f"{entry},{_hash(data)},{len(data)}" for entry, data in entries] + [f"{record},,"]
    entries.append((record, "".join(f"{line}\n" for line in lines).encode()))
    date = _zip_date()
    with zipfile.ZipFile(Path(directory) / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries:
            item = zipfile.ZipInfo(entry, date)
            item.create_system = 3
            item.external_attr = (0o100755 if entry in executable else 0o100644) << 16
            item.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(item, data)
    return name


def _zip_date() -> tuple[int, int, int, int, int, int]:
    moment = time.gmtime(_time())
    return (moment.tm_year, moment.tm_mon, moment.tm_mday, moment.tm_hour, moment.tm_min, moment.tm_sec)


def _hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    item = tarfile.TarInfo(name)
    item.size = len(data)
    item.mode = mode
    item.mtime = _time()
    tar.addfile(item, io.BytesIO(data))
