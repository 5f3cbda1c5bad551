# SPDX-License-Identifier: MIT
"""Alterations of a copy by somebody who knows SQLite and nothing of our schema: verify finds each.

100 of them; JOURNAL_ALTERATIONS=1000 for as many as the promise says."""
from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import tempfile

import pytest

import runner

COUNT = int(os.environ.get("JOURNAL_ALTERATIONS", "100"))
PROGRAM = "print('x' * {size})\nopen('left-{n}.txt', 'w').write('{n}' * 10)\n"


@pytest.fixture(scope="module")
def original():
    """A journal with rows in its tables, and its head as it was noted elsewhere."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="sbx-altered-"))
    for n in range(8):
        code = PROGRAM.format(n=n, size=9000 if n % 3 == 0 else n) if n % 4 else "import os\n"
        runner.run_command("run", "--quiet", "--journal", str(place / "j"), "--set", "allow_file_operations=true",
                           "-c", code)
    noted = runner.run_command("log", "head", "--journal", str(place / "j"))
    assert noted.exit == 0, noted.stderr
    (place / "head").write_text(noted.stdout)
    yield place
    shutil.rmtree(place)


def content(directory: pathlib.Path) -> object:
    """All that can be read of the database, with its rowids and its header; None: nothing can."""
    try:
        db = sqlite3.connect(f"file:{directory}/journal.db?mode=ro", uri=True)
        try:
            names = [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
            rows = [(name, db.execute(f'SELECT * FROM "{name}"').fetchall()) for name in names if name != "search"]
            header = [db.execute(f"PRAGMA {name}").fetchall() for name in ("user_version", "application_id")]
            schema = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()
            check = db.execute("PRAGMA integrity_check(1)").fetchall()
            return rows, header, schema, check
        finally:
            db.close()
    except (sqlite3.Error, UnicodeDecodeError):
        return None


def other(value: object, chance: random.Random) -> object:
    """A value of the same kind that is not this one."""
    if value is None:
        return chance.choice([0, "", b"x"])
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(40)
    if isinstance(value, float):
        return value + 1
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    if not raw:
        return "x" if isinstance(value, str) else b"x"
    how = chance.randrange(3)
    at = chance.randrange(len(raw))
    if how == 0:
        raw[at] ^= 1 << chance.randrange(7)
    elif how == 1:
        del raw[at]
    else:
        raw.insert(at, 65)
    return raw.decode(errors="replace") if isinstance(value, str) else bytes(raw)


def in_database(directory: pathlib.Path, chance: random.Random) -> str:
    """One change of a random kind in a random table with rows."""
    db = sqlite3.connect(directory / "journal.db", isolation_level=None)
    try:
        tables = [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
                  if not name.startswith("sqlite_") and name != "search" and
                  db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]]
        table = chance.choice(tables)
        columns = [row[1] for row in db.execute(f'PRAGMA table_info("{table}")')]
        keys = [tuple(row) for row in db.execute(f'SELECT * FROM "{table}"')]
        where = " AND ".join(f'"{c}" IS ?' for c in columns)
        what = chance.choice(["value", "delete", "head", "tail", "double", "swap", "move"])
        row = {"head": keys[0], "tail": keys[-1]}.get(what, chance.choice(keys))
        try:
            if what == "value":
                at = chance.randrange(len(columns))
                db.execute(f'UPDATE "{table}" SET "{columns[at]}" = ? WHERE {where}', (other(row[at], chance), *row))
            elif what in ("delete", "head", "tail"):
                db.execute(f'DELETE FROM "{table}" WHERE {where}', row)
            elif what == "double":
                top = db.execute(f'SELECT max("{columns[0]}") FROM "{table}"').fetchone()[0]
                new = top + 1 if isinstance(top, int) else f"{top}x"
                marks = ",".join("?" * len(columns))
                db.execute(f'INSERT INTO "{table}" VALUES ({marks})', (new, *row[1:]))
            elif what == "swap":
                with_ = chance.choice(keys)
                a, b = row[0], with_[0]
                rest = ",".join(f'"{c}" = ?' for c in columns[1:])
                for key, values in ((a, with_[1:]), (b, row[1:])):
                    db.execute(f'UPDATE "{table}" SET {rest} WHERE "{columns[0]}" IS ?', (*values, key))
            else:
                db.execute(f'UPDATE "{table}" SET "{columns[0]}" = 1000000 WHERE {where}', row)
        except sqlite3.Error:
            return "refused by SQLite"
        return f"{what} of {table}"
    finally:
        db.close()


def flip(directory: pathlib.Path, chance: random.Random) -> str:
    path = directory / "journal.db"
    raw = bytearray(path.read_bytes())
    at = chance.randrange(len(raw))
    raw[at] ^= 1 << chance.randrange(8)
    path.write_bytes(raw)
    return f"flip at {at}"


def beside(directory: pathlib.Path, chance: random.Random) -> str:
    """Objects and the public key."""
    objects = sorted(p for p in (directory / "objects").rglob("*") if p.is_file())
    what = chance.choice(["exchange", "remove", "byte", "cut", "key"])
    one = chance.choice(objects)
    if what == "exchange":
        two = chance.choice([p for p in objects if p != one])
        a, b = one.read_bytes(), two.read_bytes()
        one.write_bytes(b)
        two.write_bytes(a)
    elif what == "remove":
        one.unlink()
    elif what == "byte":
        raw = bytearray(one.read_bytes())
        # Not the frame's header, some of whose bits say nothing of the content.
        raw[chance.randrange(len(raw) // 2, len(raw))] ^= 1 << chance.randrange(8)
        one.write_bytes(raw)
    elif what == "cut":
        one.write_bytes(one.read_bytes()[:-1])
    else:
        (directory / "journal.pub").write_text("%064x\n" % chance.getrandbits(256))
    return f"{what} of {one.name[:8]}"


def cut_wal(directory: pathlib.Path, chance: random.Random) -> str:
    wal = directory / "journal.db-wal"
    size = wal.stat().st_size
    os.truncate(wal, chance.randrange(size // 2))
    return "the WAL's end"


def alter(original: pathlib.Path, seed: int) -> str | None:
    """None: found; "nothing": nothing was changed; else what was not found. Below 0: a copy as it is, None: good."""
    chance = random.Random(seed)
    place = pathlib.Path(tempfile.mkdtemp(prefix="sbx-altered-"))
    try:
        directory = place / "j"
        shutil.copytree(original / "j", directory, copy_function=shutil.copy2)
        os.chmod(directory, 0o700)
        if seed < 0:
            ran = runner.run_command("log", "verify", "--journal", str(directory))
            return None if ran.exit == 0 else ran.stdout + ran.stderr
        kind = chance.choice([in_database] * 5 + [flip] * 2 + [beside, cut_wal])
        words = ["--head", str(original / "head")] if kind is cut_wal else []
        if kind is not cut_wal:
            db = sqlite3.connect(directory / "journal.db")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
        before = content(directory)
        what = kind(directory, chance)
        if kind is not beside and content(directory) == before:
            return "nothing"
        ran = runner.run_command("log", "verify", "--json", "--journal", str(directory), *words)
        found = ran.exit == 1 and json.loads(ran.stdout)["finding"] is not None or \
            ran.exit in (2, 125) and ran.stdout == "" and "journal" in ran.stderr
        return None if found else f"seed {seed}: {what}: exit {ran.exit}: {ran.stdout[:300]}{ran.stderr[:300]}"
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(place)], check=False)
        shutil.rmtree(place)


def test_each_is_found(original):
    control = runner.run_command("log", "verify", "--json", "--journal", str(original / "j"), "--head",
                                 str(original / "head"))
    assert control.exit == 0, control.stdout
    assert alter(original, -1) is None, "a copy that is not altered"
    made = 0
    seed, lost = 0, []
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        while made < COUNT and seed < 20 * COUNT:
            for outcome in pool.map(lambda s: alter(original, s), range(seed, seed + 50)):
                made += outcome != "nothing"
                if outcome not in (None, "nothing"):
                    lost.append(outcome)
            seed += 50
    assert not lost, (len(lost), made, lost[:10])
    assert made >= COUNT
