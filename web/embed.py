#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the C table of the page's files: embed.py DIST OUTPUT.

DIST is what build.mjs made. Where there is none, the table is empty and the server shows a line of text in the page's
place. The output is written only when it changes, so that a build without a new page compiles nothing.
"""
import json
import pathlib
import sys

HEAD = """/* Made by web/embed.py. */
#include "daemon/asset.h"

"""


def quote(text: str) -> str:
    return json.dumps(text)


def table(dist: pathlib.Path) -> str:
    manifest = dist / "manifest.json"
    assets = json.loads(manifest.read_text("utf-8")) if manifest.exists() else []
    parts = [HEAD]
    rows = []
    for i, asset in enumerate(assets):
        for what, name in (("file", asset["file"]), ("gzip", asset["gzip"])):
            path = (dist / name).resolve()
            symbol = f"web_{what}_{i}"
            parts.append(
                f'__asm__(".section .rodata\\n{symbol}:\\n.incbin \\"{path}\\"\\n{symbol}_end:\\n.byte 0\\n'
                f'.previous\\n"); /* {asset["etag"]} */\n'
                f"extern const unsigned char {symbol}[], {symbol}_end[];\n"
            )
        rows.append(
            f'\t{{ {quote(asset["path"])}, {quote(asset["type"])}, web_file_{i}, {(dist / asset["file"]).stat().st_size}, '
            f'web_gzip_{i}, {(dist / asset["gzip"]).stat().st_size}, {"true" if asset["immutable"] else "false"},\n'
            f'\t  {quote(asset["csp"]) if "csp" in asset else "NULL"} }},\n'
        )
    parts.append(f"\nconst struct asset web_assets[] = {{\n{''.join(rows)}\t{{ NULL, NULL, NULL, 0, NULL, 0, false, NULL }},\n}};\n")
    return "".join(parts)


def main() -> None:
    dist, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    text = table(dist)
    if not output.exists() or output.read_text("utf-8") != text:
        output.write_text(text, "utf-8")


main()
