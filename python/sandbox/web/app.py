# SPDX-License-Identifier: MIT
"""``python -m sandbox.web.app [--host HOST] [--port PORT]``: the server with its page, until it is interrupted."""

from __future__ import annotations

import argparse
import subprocess
import sys

from sandbox.core.server import find_binary
from sandbox.exceptions import SandboxError

__all__ = ["main", "run_server"]


def run_server(host: str = "127.0.0.1", port: int = 5000) -> int:
    """Runs ``sandbox serve`` there and prints the address that opens the page, its token included. Returns the exit
    status when the server has ended; an interrupt (Ctrl-C) ends it in order.

    port: 0 takes a free one. An address that other machines reach is refused by the server: use ``sandbox serve``
    with TLS. Raises :class:`SandboxError` where the command is missing.
    """
    where = f"[{host}]" if ":" in host else host
    # It prints the addresses itself, on standard error, when it is ready.
    server = subprocess.Popen([find_binary(), "serve", "--listen", f"{where}:{port}"], stdin=subprocess.DEVNULL)
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            continue  # the terminal has sent it to the server, too, which finishes what runs
        except BaseException:
            server.terminate()
            server.wait()
            raise


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.web.app", description="The sandbox's page.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    options = parser.parse_args(arguments)
    try:
        return run_server(options.host, options.port)
    except SandboxError as exc:
        print(f"sandbox: {exc}", file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
