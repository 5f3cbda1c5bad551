# sudo python3 examples/verify_journal.py /var/lib/interpreter-sandbox/journal [--public-key]
# SPDX-License-Identifier: MIT
"""Verifies a security journal without the sandbox: Python's standard library and docs/journal.md alone.

With the key every row, the head and the search index's sum; with --public-key (journal.pub) what was signed. Not
the database's own indexes, nor `running`: `sandbox log verify` does.
Signatures need the `cryptography` package. Objects: that they are there, and with the `zstandard` package (or Python
3.14) their content. Exit code 0: as it was written; 1: not."""
from __future__ import annotations

import argparse
import hashlib
import os
import sqlite3
import struct
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError:
    Ed25519PublicKey = None

TABLES = ("starts", "executions", "verdicts", "events", "samples", "sessions", "files", "cuts", "signatures")
OBJECT_MAX = 256 << 20


class Altered(Exception):
    pass


class Text(bytes):
    """Text as it is stored, valid UTF-8 or not."""


def h(data: bytes, key: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=32, key=key).digest()


def subkey(master: bytes, number: int) -> bytes:
    """libsodium's crypto_kdf_derive_from_key()."""
    return hashlib.blake2b(digest_size=32, key=master, salt=struct.pack("<Q8x", number),
                           person=b"sbxjourn" + bytes(8)).digest()


def encoded(value) -> bytes:
    if value is None:
        return b"\x05"
    if isinstance(value, int):
        return b"\x01" + struct.pack("<q", value)
    if not isinstance(value, bytes):
        raise Altered(f"a value of a type that no column has: {value!r}")
    return (b"\x03" if isinstance(value, Text) else b"\x04") + struct.pack("<Q", len(value)) + value


def row_bytes(table: str, values) -> bytes:
    return table.encode() + b"\0" + b"".join(map(encoded, values))


def parse_head(text: str) -> dict:
    lines = text.split("\n")
    if lines[0] != "sandbox-journal 1" or len(lines) != 7 + len(TABLES) + 1 or lines[-1]:
        raise Altered("the head is no head")
    words = [line.split(" ") for line in lines[1:-1]]
    if [line[0] for line in words] != ["id", "commit", "at_us", "synced", "meta", "search", *TABLES]:
        raise Altered("the head is no head")
    tables = {name: {"first": int(first), "before": (bytes.fromhex(mac), bytes.fromhex(digest)), "last": int(last),
                     "at": (bytes.fromhex(last_mac), bytes.fromhex(last_digest))}
              for name, first, mac, digest, last, last_mac, last_digest in words[6:]}
    return {"id": words[0][1], "commit": int(words[1][1]), "synced": [int(word) for word in words[3][1:]],
            "meta": bytes.fromhex(words[4][1]), "indexed": int(words[5][1]), "sum": bytes.fromhex(words[5][2]),
            "tables": tables}


class Journal:
    def __init__(self, directory: str, public_only: bool) -> None:
        self.directory = directory
        self.db = sqlite3.connect(f"file:{os.path.join(directory, 'journal.db')}?mode=ro", uri=True)
        self.db.text_factory = Text
        self.db.execute("BEGIN")
        with open(os.path.join(directory, "journal.pub")) as file:
            self.public = bytes.fromhex(file.read().strip())
        self.key = self.index_key = None
        if not public_only:
            with open(os.path.join(directory, "journal.key")) as file:
                label, digits = file.read().splitlines()
            if label != "sandbox-journal-key 1":
                raise Altered("journal.key is no key of a journal")
            master = bytes.fromhex(digits)
            self.key, self.index_key = subkey(master, 1), subkey(master, 3)
            if Ed25519PublicKey:
                own = Ed25519PrivateKey.from_private_bytes(subkey(master, 2)).public_key()
                if own.public_bytes(Encoding.Raw, PublicFormat.Raw) != self.public:
                    raise Altered("journal.pub is not the public key of journal.key")
        self.rows = 0
        self.notes: list[str] = []
        self.points: dict[str, dict[int, bytes]] = {name: {} for name in TABLES}
        self.objects: dict[bytes, bool] = {}
        self.lost: set[bytes] = set()

    def check_head(self) -> None:
        (statement, mac), = self.db.execute("SELECT statement, mac FROM head")
        if self.key and h(b"head\0" + statement, self.key) != mac:
            raise Altered("head: it was altered")
        self.head = parse_head(statement.decode())
        meta = b"".join(b"3 %d %b" % (len(value), value)
                        for row in self.db.execute("SELECT key, value FROM meta ORDER BY key") for value in row)
        if h(b"meta\0" + meta) != self.head["meta"]:
            raise Altered("meta: it was altered")

    def check_signatures(self) -> None:
        """Collects what the signed heads say of the chains."""
        count = 0
        for seq, statement, signature in self.db.execute("SELECT seq, statement, signature FROM signatures"):
            if Ed25519PublicKey:
                try:
                    Ed25519PublicKey.from_public_bytes(self.public).verify(
                        signature, b"sandbox-journal-signature\n" + statement)
                except InvalidSignature:
                    raise Altered(f"signatures {seq}: not one of this public key") from None
            for name, table in parse_head(statement.decode())["tables"].items():
                self.points[name][table["last"]] = table["at"][1]
            count += 1
        if not self.key and not (count and Ed25519PublicKey):
            raise Altered("signatures: there is none, or no `cryptography` package to check them with")
        if not Ed25519PublicKey:
            self.notes.append("signatures were not checked: there is no `cryptography` package")

    def check_table(self, name: str) -> None:
        head = self.head["tables"][name]
        columns = [row[1].decode() for row in self.db.execute(f"PRAGMA table_info({name})")]
        if columns[0] != "seq" or columns[-1] != "mac":
            raise Altered(f"{name}: its columns are others")
        mac, digest = head["before"]
        if head["first"] == 1:
            genesis = b"genesis\0" + f"{self.head['id']} {name}".encode()
            if digest != h(genesis) or (self.key and mac != h(genesis, self.key)):
                raise Altered(f"{name}: its chain does not begin as it has to")
        at = head["first"] - 1
        points, key = self.points[name], self.key
        for row in self.db.execute(f"SELECT {', '.join(columns)} FROM {name} ORDER BY seq"):
            at += 1
            if row[0] != at:
                raise Altered(f"{name} {at}: the row is missing, or another stands there")
            data = row_bytes(name, row[:-1])
            digest = h(digest + data)
            if key:
                mac = h(mac + data, key)
                if mac != row[-1]:
                    raise Altered(f"{name} {at}: the row was altered")
            if points.get(at, digest) != digest:
                raise Altered(f"{name} {at}: not the rows that were signed")
            self.names(name, columns, row)
            self.rows += 1
        if at != head["last"] or digest != head["at"][1] or (key and mac != head["at"][0]):
            raise Altered(f"{name}: the end is not the one that the head names")
        if any(seq > at for seq in points):
            raise Altered(f"{name}: the end was cut off: more was signed")

    def names(self, table: str, columns: list[str], row: tuple) -> None:
        """The objects that a row names, and whether each has to be there."""
        synced = {"executions": self.head["synced"][0], "verdicts": self.head["synced"][1]}.get(table, 0)
        for column, value in zip(columns, row):
            if value is not None and (column.endswith("_object") or (table, column) == ("files", "object")):
                self.objects[value] = self.objects.get(value, False) or row[0] <= synced
        if table == "cuts" and row[columns.index("name")] == b"object":
            self.lost.add(row[columns.index("before_mac")])

    def check_search(self) -> None:
        total = 0
        for table in ("search_data", "search_idx", "search_config"):
            for row in self.db.execute(f"SELECT * FROM {table}"):
                total += int.from_bytes(h(row_bytes(table, row), self.index_key), "little")
        if (total % (1 << 256)).to_bytes(32, "little") != self.head["sum"]:
            raise Altered("search: the index was altered")

    def check_objects(self) -> None:
        decompress = decompressor()
        for name, synced in self.objects.items():
            path = os.path.join(self.directory, "objects", name.hex()[:2], name.hex()[2:])
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                if synced and name not in self.lost:
                    raise Altered(f"object {name.hex()}: it is not there") from None
                self.notes.append(f"object {name.hex()} was not on disk when the machine stopped")
                continue
            if decompress and h(decompress(data)) != name:
                raise Altered(f"object {name.hex()}: it was altered")
        if not decompress:
            self.notes.append("the content of objects was not checked: there is no zstd")

    def check(self) -> None:
        self.check_head()
        self.check_signatures()
        for name in TABLES:
            self.check_table(name)
        if self.key:
            self.check_search()
        self.check_objects()


def decompressor():
    try:
        from compression.zstd import decompress
    except ImportError:
        try:
            from zstandard import ZstdDecompressor
        except ImportError:
            return None
        return lambda data: ZstdDecompressor().decompress(data, max_output_size=OBJECT_MAX)
    return decompress


def main() -> int:
    parser = argparse.ArgumentParser(description="verifies a security journal")
    parser.add_argument("directory")
    parser.add_argument("--public-key", action="store_true", help="without the secret key")
    options = parser.parse_args()
    try:
        journal = Journal(options.directory, options.public_key)
        journal.check()
    except (Altered, sqlite3.DatabaseError, ValueError) as error:
        print(f"altered: {error}")
        return 1
    print(f"ok: {journal.rows} records, {len(journal.objects)} objects")
    for note in journal.notes[:20]:
        print(f"  {note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
