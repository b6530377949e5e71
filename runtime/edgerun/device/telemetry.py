"""Events to a server by MQTT, QoS 1: nothing that `emit` took is lost, whatever is killed, and everything comes in order.

Topics: `<prefix>/<device>/events` carries them, one JSON object each; `<prefix>/<device>/stored` brings back the ids that the collector has
committed. confirm="collector" (the default) keeps an event on disk until that: a broker's PUBACK says that the *broker* has it, and a
broker that is killed forgets what it had not yet passed on. confirm="broker" is for other subscribers: PUBACK is then the end of it.
Whoever may publish on `stored` can make a device forget: give that right to the collector alone (docs/device.md has the broker's list).
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgerun.broker import Broker
from edgerun.device.spool import Spool
from edgerun.errors import DataError, OptionError

CONFIRM = ("collector", "broker")
LONGEST_S = 300.0
"""Longest wait before events that nobody confirmed are sent again."""
NOBODY = 0x10
"""PUBACK: no matching subscribers. The broker took the event, and has thrown it away."""


@dataclass(frozen=True)
class Delivery:
    """sent: publications, repeats included; delivered: events whose place on the disk was given back; refused: PUBACKs that said no;
    unheard: PUBACKs that said that nobody listens."""

    sent: int = 0
    delivered: int = 0
    refused: int = 0
    unheard: int = 0


class Telemetry:
    """Publishes what is in a spool. window: events under way at once; patience_s: after so long without
    confirmation all are sent again, then after twice as long, up to five minutes.

    with Telemetry(spool, Broker.parse("mqtts://broker.lan")) as telemetry:
        telemetry.emit({"exit": "exit1", "latency_ms": 1.3})
    """

    def __init__(self, spool: Spool, broker: Broker, *, prefix: str = "edgerun", confirm: str = "collector", window: int = 64,
                 patience_s: float = 10.0) -> None:
        if confirm not in CONFIRM:
            raise OptionError(f"confirm: expected one of {', '.join(CONFIRM)}; found {confirm!r}")
        self.spool, self.broker, self.prefix = spool, broker, prefix.rstrip("/")
        self._confirm, self._window, self._patience = confirm, window, patience_s
        self._inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._counts = Delivery()
        self._under_way: dict[int, int] = {}  # number of a publication without PUBACK -> row
        self._flying: dict[int, float] = {}  # row -> when it was sent
        self._done: list[int] = []
        self._cursor, self._again = 0, 0.0
        self._wait = patience_s  # doubles while nothing is confirmed
        self._connected = False
        self._most = 0
        self._client = broker.client(f"edgerun-{spool.device}", window=window)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_publish, self._client.on_message = self._on_publish, self._on_message
        self._pump = threading.Thread(target=self._run, name="edgerun-telemetry", daemon=True)
        self._client.loop_start()
        self._pump.start()

    def emit(self, event: Mapping[str, Any]) -> int:
        """Number of the event in this start; it is on disk. InputError, DataError: see `Spool.put`."""
        n = self.spool.put(event)
        self._inbox.put(("new",))
        return n

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def counts(self) -> Delivery:
        return self._counts

    def drain(self, timeout_s: float) -> bool:
        """Wait until the spool is empty; whether it is."""
        end = time.monotonic() + timeout_s
        while len(self.spool) and time.monotonic() < end:
            time.sleep(0.02)
        return not len(self.spool)

    def close(self, drain_s: float = 0.0) -> None:
        """Stop; what is not delivered stays in the spool for the next start. The spool is the caller's to close."""
        if drain_s:
            self.drain(drain_s)
        self._inbox.put(("stop",))
        self._pump.join()
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- paho's thread: it holds locks of its own here, so it only leaves word -------------------------------------------

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            return
        if self._confirm == "collector":
            client.subscribe(f"{self.prefix}/{self.spool.device}/stored", qos=1)
        self._inbox.put(("connected", getattr(properties, "MaximumPacketSize", 0)))

    def _on_disconnect(self, *_: Any) -> None:
        self._inbox.put(("gone",))

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._inbox.put(("puback", mid, reason.value))

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        confirmed = read_ids(message.payload)
        if confirmed is not None:  # else retained by somebody, or not ours: what nobody can use must not stop what is behind it
            self._inbox.put(("stored", *confirmed))

    # -- the pump: the only one who publishes and deletes ----------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                word = self._inbox.get(timeout=0.2)
                while word[0] != "stop":
                    self._take(word)
                    word = self._inbox.get_nowait()
                return
            except queue.Empty:
                pass
            try:
                self._settle()
                self._publish_some()
            except DataError:  # the disk; what is not deleted is sent once more, and dropped where it is collected
                time.sleep(0.5)

    def _take(self, word: tuple[Any, ...]) -> None:
        kind, *said = word
        if kind == "connected":
            self._connected, self._most = True, said[0]
        elif kind == "gone":
            self._connected = False
        elif kind == "stored":
            self._done += self.spool.rows_of(*said)
        elif kind == "puback":
            row = self._under_way.pop(said[0], None)
            if row is None:
                return
            if said[1] >= 0x80 or said[1] == NOBODY:
                self._count(**{"unheard" if said[1] == NOBODY else "refused": 1})
                self._again = time.monotonic() + self._wait
            elif self._confirm == "broker":
                self._done.append(row)

    def _settle(self) -> None:
        """Give the place of what was delivered back; begin anew where something was lost."""
        if self._done:
            self.spool.remove(self._done)
            for row in self._done:
                self._flying.pop(row, None)
            self._count(delivered=len(self._done))
            self._wait = self._patience
            self._done = []
        now = time.monotonic()
        late = self._connected and self._flying and min(self._flying.values()) + self._wait < now
        if late or 0 < self._again <= now:  # from the first event on; the collector drops what it has already
            self._again, self._cursor = 0.0, 0
            self._flying.clear()
            self._wait = min(2 * self._wait, LONGEST_S)

    def _publish_some(self) -> None:
        room = self._window - max(len(self._flying), len(self._under_way))
        if not self._connected or room <= 0 or self._again:
            return
        for entry in self.spool.after(self._cursor, room):
            self._cursor = entry.row
            if self._most and len(entry.body) + 256 > self._most:  # the broker would hang up on it, each time
                self.spool.discard(entry.row)
                continue
            info = self._client.publish(f"{self.prefix}/{self.spool.device}/events", entry.body, qos=1)
            self._under_way[info.mid] = entry.row
            self._flying[entry.row] = time.monotonic()
            self._count(sent=1)

    def _count(self, **more: int) -> None:
        self._counts = Delivery(**{k: v + more.get(k, 0) for k, v in vars(self._counts).items()})


def read_ids(payload: bytes) -> tuple[str, list[int]] | None:
    """(boot, numbers) of a confirmation {"boot": "…", "n": [1, 2]}; None for anything else."""
    try:
        page = json.loads(payload)
        boot, numbers = page["boot"], page["n"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    fits = isinstance(boot, str) and isinstance(numbers, list) and all(type(n) is int and 0 < n < 2**63 for n in numbers)
    return (boot, numbers) if fits else None
