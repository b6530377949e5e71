"""Used sequence numbers in a file of SQLite: one row a key, its window. Processes of one machine may share the file.

One thread writes. It takes all that wait, judges them in one transaction, commits, and only then answers: under load many messages
share the price of one commit. What was answered FRESH survives kill -9 of this process, and with power_safe a loss of power, too.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edgerun.errors import OptionError, StoreError
from edgerun.splits.replay import SIZE, Verdict, Window

VERSION = 1
BATCH = 256
_BYTES = SIZE // 8
_TABLE = ("CREATE TABLE IF NOT EXISTS window (device TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL, top BLOB NOT NULL, "
          "seen BLOB NOT NULL, PRIMARY KEY (device, key)) WITHOUT ROWID")


@dataclass(eq=False)
class _Asked:
    device: str
    key: str
    epoch: int
    seq: int
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __post_init__(self) -> None:
        self.answer: asyncio.Future[Verdict] = self.loop.create_future()

    def resolve(self, outcome: Verdict | StoreError) -> None:
        """From the writing thread. The one who asked may be gone, with its loop."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._set, outcome)

    def _set(self, outcome: Verdict | StoreError) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, Verdict):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)


class SqliteReplay:
    """A ReplayStore in the file at `path`, made where it is absent. power_safe: each commit waits for the disk (PRAGMA synchronous=FULL);
    without it a loss of power, not of the process, may forget what the system had not written yet, the last half minute or
    so. OptionError for a file that is not ours."""

    def __init__(self, path: str | Path, power_safe: bool = False) -> None:
        self.path = Path(path)
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._closed = False
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(self.path, timeout=5, isolation_level=None, check_same_thread=False)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise OptionError(f"{self.path}: expected a replay store of version {VERSION}; found {version}; name another file, and "
                                  "give the devices new keys")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if power_safe else 'NORMAL'}")
            self._db.execute(_TABLE)
            self._db.execute(f"PRAGMA user_version={VERSION}")
        except (OSError, sqlite3.Error) as e:
            raise OptionError(f"{self.path}: expected a replay store, or a place for one; found: {e}") from e
        self._writer = threading.Thread(target=self._write, name="edgerun-replay", daemon=True)
        self._writer.start()

    async def accept(self, device: str, key: str, epoch: int, seq: int) -> Verdict:
        """FRESH once it is committed. StoreError where the file fails, or is closed."""
        asked = _Asked(device, key, epoch, seq)
        if self._closed:
            raise StoreError("replay store: expected an open one; found it closed")
        self._asked.put(asked)
        return await asked.answer

    async def close(self) -> None:
        """After what was asked is answered."""
        if not self._closed:
            self._closed = True
            self._asked.put(None)
            await asyncio.to_thread(self._writer.join)

    def _write(self) -> None:
        going = True
        while going:
            batch = [self._asked.get()]
            with suppress(queue.Empty):
                while len(batch) < BATCH:
                    batch.append(self._asked.get_nowait())
            going = None not in batch
            asked = [a for a in batch if a is not None]
            try:
                outcomes: Sequence[Verdict | StoreError] = self._judge(asked)
            except Exception as e:  # whatever it is, those who wait get an answer, and it is no
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                outcomes = [StoreError(f"replay store: expected to write {self.path.name}; found: {e}")] * len(asked)
            for one, outcome in zip(asked, outcomes, strict=True):
                one.resolve(outcome)
        self._db.close()

    def _judge(self, asked: Sequence[_Asked]) -> list[Verdict]:
        """One transaction, which holds the file from its first reading on."""
        self._db.execute("BEGIN IMMEDIATE")
        verdicts = []
        for a in asked:
            row = self._db.execute("SELECT epoch, top, seen FROM window WHERE device = ? AND key = ?", (a.device, a.key)).fetchone()
            window = Window(SIZE, row[0], int.from_bytes(row[1], "big"), int.from_bytes(row[2], "big")) if row else Window(SIZE)
            verdicts.append(window.accept(a.epoch, a.seq))
            if verdicts[-1] is Verdict.FRESH:
                self._db.execute("INSERT OR REPLACE INTO window VALUES (?, ?, ?, ?, ?)",
                                 (a.device, a.key, window.epoch, window.top.to_bytes(8, "big"), window.seen.to_bytes(_BYTES, "big")))
        self._db.execute("COMMIT")
        return verdicts
