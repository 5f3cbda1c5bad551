# SPDX-License-Identifier: MIT
"""examples/verify_journal.py, which knows docs/journal.md alone, agrees with `log verify` on what was written and what was
altered."""
from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import pytest
from runner import run_command

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "verify_journal.py"
SIGNED = importlib.util.find_spec("cryptography") is not None


@pytest.fixture(scope="module")
def journal():
    """Every kind of row, objects, a beginning that was pruned, and everything on disk."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="sbx-example-"))

    def run(code: str, *options: str) -> None:
        run_command("run", "--quiet", *options, "--journal", str(place / "j"), "--journal-full", "-c", code)

    for number in range(3):
        run(f"print('pruned', {number})")
    pruned = run_command("log", "prune", "--larger-than", "1K", "--journal", str(place / "j"), "--json")
    assert json.loads(pruned.stdout)["executions"] > 0
    run("open('x', 'w').write('y' * 9000); print('z' * 9000)", "--preset", "data")
    for code in ("import time", "open('/etc/shadow')", "print('\\udcff\u202e')"):
        run(code)
    yield place / "j"
    shutil.rmtree(place)


def example(directory: pathlib.Path, *options: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(EXAMPLE), str(directory), *options], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1) and not done.stderr, done
    return done.returncode, done.stdout


def test_as_it_was_written(journal: pathlib.Path) -> None:
    report = json.loads(run_command("log", "verify", "--deep", "--journal", str(journal), "--json").stdout)
    assert report["ok"] and report["words"] > 0
    code, text = example(journal)
    assert code == 0 and text.startswith(f"ok: {sum(report['rows'].values())} records, {report['objects']} objects")
    assert example(journal, "--public-key")[0] == (0 if SIGNED else 1)


ALTERATIONS = {
    "value": "UPDATE executions SET caller = 'nobody' WHERE seq = (SELECT max(seq) FROM executions)",
    "end": "DELETE FROM verdicts WHERE seq = (SELECT max(seq) FROM verdicts)",
    "beginning": "DELETE FROM starts WHERE seq = (SELECT min(seq) FROM starts)",
    "middle": "DELETE FROM starts WHERE seq = (SELECT max(seq) - 1 FROM starts)",
    "exchange": "UPDATE events SET seq = -seq",
    "mac": "UPDATE executions SET mac = zeroblob(32)",
    "signature": "UPDATE signatures SET signature = zeroblob(64)",
    "head": "UPDATE head SET statement = replace(statement, 'commit ', 'commit 1')",
    "meta": "INSERT INTO meta VALUES ('more', 'x')",
    "search": "UPDATE search_data SET block = block || x'00' WHERE id = (SELECT max(id) FROM search_data)",
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_altered(journal: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    copy = tmp_path / "j"
    shutil.copytree(journal, copy)
    db = sqlite3.connect(copy / "journal.db")
    assert db.execute(ALTERATIONS[name]).rowcount > 0
    db.commit()
    db.close()
    assert run_command("log", "verify", "--journal", str(copy)).exit == 1
    code, text = example(copy)
    assert code == 1 and text.startswith("altered: ")


def test_object_removed(journal: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "j"
    shutil.copytree(journal, copy)
    os.unlink(next(path for path in (copy / "objects").rglob("*") if path.is_file()))
    assert run_command("log", "verify", "--journal", str(copy)).exit == 1
    assert example(copy)[0] == 1


@pytest.mark.skipif(not SIGNED, reason="no `cryptography` package")
def test_altered_with_the_public_key(journal: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Who has the public key alone sees that a row is not the one that was signed."""
    copy = tmp_path / "j"
    shutil.copytree(journal, copy)
    db = sqlite3.connect(copy / "journal.db")
    db.execute("UPDATE executions SET caller = 'nobody' WHERE seq = (SELECT min(seq) FROM executions)")
    db.commit()
    db.close()
    code, text = example(copy, "--public-key")
    assert code == 1 and "signed" in text
