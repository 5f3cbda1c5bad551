# SPDX-License-Identifier: MIT
"""``python -m sandbox``, and the ``sandbox`` command of an installed wheel: the binary, in this process's place."""

from __future__ import annotations

import os
import sys

from sandbox.core.server import find_binary
from sandbox.exceptions import SandboxError


def main() -> int:
    """Does not return but for a missing binary (exit status 125)."""
    try:
        binary = find_binary()
    except SandboxError as exc:
        print(f"sandbox: {exc}", file=sys.stderr)
        return 125
    os.execv(binary, [binary, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
