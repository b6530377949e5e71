"""What devices report by MQTT, stored once each: the other end of `edgerun.device.telemetry`.

A message is acknowledged to the broker, and confirmed to its device, after it was committed to SQLite; until then the broker keeps it (the
session is ours for a day). UNIQUE(device, boot, n) makes of a repeat nothing but a count. What is not an event of the topic's device is
counted, acknowledged and left: a poisoned retained message comes once at each subscription, and stops nobody.
"""

from __future__ import annotations

import json
import os
import queue
import re
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgerun.broker import Broker
from edgerun.errors import DataError

PAYLOAD_MOST = 128 * 1024
BATCH = 256
"""Messages of one commit."""
_TABLES = """
CREATE TABLE IF NOT EXISTS events(device TEXT NOT NULL, boot TEXT NOT NULL, n INTEGER NOT NULL, time REAL, received REAL NOT NULL,
                                  dropped INTEGER NOT NULL, event TEXT NOT NULL, UNIQUE(device, boot, n));
CREATE INDEX IF NOT EXISTS by_arrival ON events(received);
"""
_BOOT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Reported:
    """An event of a device. dropped: how many it has given up for want of room. event: what it reported; text: the same as JSON."""

    device: str
    boot: str
    n: int
    time: float
    dropped: int
    event: Mapping[str, Any]
    text: str


class Collector:
    """Subscribes, stores, confirms; runs in threads of its own until `close`.

    path: the SQLite file. name: of the session at the broker; one collector a name. on_event: called once for each event that is new,
    after the commit, from the writer's thread. counts: stored, repeated and refused messages by reason (a copy).
    """

    def __init__(self, path: str | os.PathLike[str], broker: Broker, *, prefix: str = "edgerun", name: str = "edgerun-collector",
                 on_event: Callable[[Reported], object] | None = None) -> None:
        """DataError: no database can be made here; OptionError: no paho, certificates."""
        self.prefix, self._on_event = prefix.rstrip("/"), on_event
        self._topic = re.compile(rf"{re.escape(self.prefix)}/([A-Za-z0-9._-]{{1,64}})/events")
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
        except sqlite3.Error as e:
            raise DataError(f"{path}: expected a place for a database of events; found: {e}") from e
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._connection = 0
        self._client = broker.client(name, keep_session=True, window=BATCH)
        self._client.on_connect, self._client.on_message = self._on_connect, self._on_message
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._writer = threading.Thread(target=self._run, name="edgerun-collector", daemon=True)
        self._writer.start()
        self._client.loop_start()

    @property
    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    @property
    def connected(self) -> bool:
        """Whether the broker is reached now."""
        return bool(self._client.is_connected())

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether the broker has taken the subscription."""
        return self._ready.wait(timeout_s)

    def close(self) -> None:
        """Stop. What was not committed was not acknowledged: the broker keeps it."""
        self._stopping.set()
        self._waiting.put(None)
        self._writer.join()
        self._client.disconnect()
        self._client.loop_stop()
        self._db.close()

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- paho's thread ---------------------------------------------------------------------------------------------------

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            self._connection += 1
            client.subscribe(f"{self.prefix}/+/events", qos=1)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        self._waiting.put((message, self._connection))  # at most the receive maximum: the broker sends no more until we acknowledge

    # -- the writer's thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            batch = [self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get())
            self._store([m for m in batch if m is not None])

    def _store(self, messages: Sequence[tuple[Any, int]]) -> None:
        read = [(m, *self._read(m)) for m, _ in messages]
        events = [e for _, e, _ in read if e is not None]
        new = self._commit(events)
        if new is None:
            return  # stopping: nothing was acknowledged
        for (m, _, refused), (_, connection) in zip(read, messages, strict=True):
            if m.qos and connection == self._connection:  # a broker that forgot the session gives the number to another message
                self._client.ack(m.mid, m.qos)
            if refused:
                self._count(f"refused_{refused}")
        self._count("stored", len(new))
        self._count("repeated", len(events) - len(new))
        self._confirm(events)
        for event in new:
            if self._on_event is not None:
                try:
                    self._on_event(event)
                except Exception:  # of the caller's making, and no reason to lose the events behind it
                    self._count("observer_failed")

    def _read(self, message: Any) -> tuple[Reported | None, str]:
        """(event, "") or (None, why not)."""
        try:
            topic = self._topic.fullmatch(message.topic)
        except UnicodeDecodeError:
            topic = None
        if topic is None:
            return None, "topic"
        if len(message.payload) > PAYLOAD_MOST:
            return None, "size"
        try:
            page = json.loads(message.payload, parse_constant=_no_constant)
            found = Reported(page["device"], page["boot"], page["n"], page["time"], page["dropped"], page["event"],
                             json.dumps(page["event"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None, "syntax"
        numbers = type(found.n) is int and 0 < found.n < 2**63 and type(found.dropped) is int and 0 <= found.dropped < 2**63
        if not (numbers and isinstance(found.boot, str) and _BOOT.fullmatch(found.boot) and isinstance(found.event, dict)
                and type(found.time) in (int, float) and 0 <= found.time < 1e12):
            return None, "syntax"
        return (found, "") if found.device == topic[1] else (None, "device")

    def _commit(self, events: Sequence[Reported]) -> list[Reported] | None:
        """Those that are new; tries until the disk takes them. None: closed while it did not."""
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                new = [e for e in events if self._db.execute(
                    "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (e.device, e.boot, e.n, float(e.time), time.time(), e.dropped, e.text)).rowcount]
                self._db.execute("COMMIT")
                return new
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._count("store_failed")
                if self._stopping.wait(0.5):
                    return None

    def _confirm(self, events: Sequence[Reported]) -> None:
        by_start: dict[tuple[str, str], list[int]] = defaultdict(list)
        for e in events:
            by_start[e.device, e.boot].append(e.n)
        for (device, boot), numbers in by_start.items():
            self._client.publish(f"{self.prefix}/{device}/stored", json.dumps({"boot": boot, "n": numbers}), qos=1)

    def _count(self, name: str, more: int = 1) -> None:
        with self._lock:
            self._counts[name] += more


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
