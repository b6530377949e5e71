"""Events on disk until they are delivered: a bounded queue in SQLite.

An event has the id (device, boot, n): `boot` is a random number of this start, n counts from 1. `put` returns when it is on disk
(WAL, synchronous=FULL), so neither kill -9 nor a power cut takes it back. Where the queue is full the *oldest* events are dropped, and
counted; the count travels with every later event. A file that cannot be read is set aside, and a new one begun.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from edgerun.errors import DataError, InputError

EVENT_MOST = 64 * 1024
"""Bytes of one event."""
_TABLES = """
CREATE TABLE IF NOT EXISTS events(row INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL,
                                  UNIQUE(boot, n));
CREATE TABLE IF NOT EXISTS counts(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counts VALUES ('dropped', 0);
"""


@dataclass(frozen=True)
class Entry:
    """row: place in the queue; body: what is sent."""

    row: int
    boot: str
    n: int
    body: bytes


class Spool:
    """max_bytes, max_events: what is kept at most. Threads may share it."""

    def __init__(self, path: str | os.PathLike[str], device: str, *, max_bytes: int = 16 << 20, max_events: int = 100_000) -> None:
        """DataError where no database can be made here."""
        self.device, self.boot = device, secrets.token_hex(8)
        self.max_bytes, self.max_events = max_bytes, max_events
        self._lock = threading.RLock()
        self._n = 0
        self.set_aside: Path | None = None
        try:
            self._db = self._open(Path(path))
        except sqlite3.DatabaseError:
            self.set_aside = _set_aside(Path(path))
            try:
                self._db = self._open(Path(path))
            except sqlite3.Error as e:
                raise DataError(f"{path}: expected a place for a database of events; found: {e}") from e
        self._bytes, self._count = self._db.execute("SELECT coalesce(sum(length(body)), 0), count(*) FROM events").fetchone()

    def _open(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA journal_size_limit=1048576")
            size = db.execute("PRAGMA page_size").fetchone()[0]
            db.execute(f"PRAGMA max_page_count={(2 * self.max_bytes + (1 << 20)) // size}")  # pages hold less than they measure
            if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("damaged")
            db.executescript(_TABLES)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def put(self, event: Mapping[str, Any]) -> int:
        """n of the event, which is on disk. InputError: no JSON, or too large; DataError: the disk is full or fails (nothing is kept)."""
        with self._lock:
            n = self._n + 1
            body = self._body(event, n)
            try:
                self._db.execute("BEGIN IMMEDIATE")
                gone = self._make_room(len(body))
                self._db.execute("INSERT INTO events(boot, n, body) VALUES (?, ?, ?)", (self.boot, n, body))
                self._db.execute("COMMIT")
            except sqlite3.Error as e:
                self._back(e)
            self._n = n
            self._bytes += len(body) - sum(size for _, size in gone)
            self._count += 1 - len(gone)
            return n

    def _body(self, event: Mapping[str, Any], n: int) -> bytes:
        page = {"device": self.device, "boot": self.boot, "n": n, "time": round(time.time(), 3), "dropped": self.dropped, "event": event}
        try:
            body = json.dumps(page, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as e:
            raise InputError(f"event: expected JSON values; found: {e}") from e
        if len(body) > min(EVENT_MOST, self.max_bytes):
            raise InputError(f"event: expected at most {min(EVENT_MOST, self.max_bytes)} bytes; found {len(body)}")
        return body

    def _make_room(self, size: int) -> Sequence[tuple[int, int]]:
        """Drops the oldest events, as many as have to go; within the transaction."""
        gone: list[tuple[int, int]] = []
        too_many = self._count + 1 - self.max_events
        excess = self._bytes + size - self.max_bytes
        if too_many <= 0 and excess <= 0:
            return gone
        for row, length in self._db.execute("SELECT row, length(body) FROM events ORDER BY row"):
            if too_many <= 0 and excess <= 0:
                break
            gone.append((row, length))
            too_many, excess = too_many - 1, excess - length
        self._db.executemany("DELETE FROM events WHERE row = ?", [(row,) for row, _ in gone])
        self._drop(len(gone))
        return gone

    def after(self, row: int, limit: int) -> list[Entry]:
        """The next events behind a row (0: from the first), in order."""
        with self._lock:
            return [Entry(*found) for found in self._db.execute(
                "SELECT row, boot, n, body FROM events WHERE row > ? ORDER BY row LIMIT ?", (row, limit))]

    def remove(self, rows: Sequence[int]) -> None:
        """Delivered: forget them. Those that are gone already are left out. DataError: the disk fails, nothing was forgotten."""
        self._remove(rows, dropped=False)

    def discard(self, row: int) -> None:
        """An event that nobody will take: drop it, and count it. DataError."""
        self._remove([row], dropped=True)

    def rows_of(self, boot: str, numbers: Sequence[int]) -> list[int]:
        """The rows of the events with these ids that are still here."""
        with self._lock:
            return [found[0] for n in numbers
                    for found in self._db.execute("SELECT row FROM events WHERE boot = ? AND n = ?", (boot, n))]

    def _remove(self, rows: Sequence[int], dropped: bool) -> None:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                gone = [length for row in rows for (length,) in self._db.execute(
                    "DELETE FROM events WHERE row = ? RETURNING length(body)", (row,)).fetchall()]
                if dropped:
                    self._drop(len(gone))
                self._db.execute("COMMIT")
            except sqlite3.Error as e:
                self._back(e)
            self._bytes -= sum(gone)
            self._count -= len(gone)

    def _drop(self, count: int) -> None:
        self._db.execute("UPDATE counts SET value = value + ? WHERE name = 'dropped'", (count,))

    def _back(self, e: sqlite3.Error) -> NoReturn:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        raise DataError(f"events: expected room on the disk; found: {e}") from e

    @property
    def dropped(self) -> int:
        """Events that were given up for want of room since this file was begun."""
        with self._lock:
            return int(self._db.execute("SELECT value FROM counts WHERE name = 'dropped'").fetchone()[0])

    def __len__(self) -> int:
        with self._lock:
            return int(self._count)

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _set_aside(path: Path) -> Path | None:
    """Renames a damaged database (and its log), so that somebody may look at it."""
    aside = path.with_name(f"{path.name}.damaged")
    for tail in ("", "-wal", "-shm"):
        file = path.with_name(path.name + tail)
        if file.exists():
            os.replace(file, aside.with_name(aside.name + tail))
    return aside if aside.exists() else None
