"""What devices report of themselves by MQTT (`edgerun device --mqtt`), for the page: where their answers came from, spells without the
server, faults that checks on the device found. In bounded memory; the collector's database has all of it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from edgerun.serve.collector import Collector, Reported
from edgerun.serve.condition import OTHERS
from edgerun.serve.metrics import KINDS
from edgerun.serve.rings import Names, Ring

OFFLINE = frozenset({"unreachable", "timeout", "tls", "circuit_open", "bad_answer"})
"""Reasons of a fallback that say that no server answered; others (refused:…, features, no_server) say that it did, or was not asked."""
SERVER, FALLBACK, FINDINGS, SPELLS, FIRST_EXIT = range(5)
"""Columns of a device's ring; its exits follow."""
EXITS, SHOWN = 14, 50
LONGEST_TEXT = 64
WINDOWS = {"60s": (12, 5.0), "15min": (15, 60.0)}


class _Row:
    """since: when, by the device's clock, the spell began in which it is; None: the server answered last."""

    def __init__(self) -> None:
        self.rings = {w: Ring(slots, step, FIRST_EXIT + EXITS + 1) for w, (slots, step) in WINDOWS.items()}
        self.seen, self.at = 0.0, 0.0
        self.since: float | None = None
        self.reason = ""
        self.dropped = 0
        self.checks: set[str] = set()


class Reports:
    """`Collector(on_event=server.monitor.reports)`. Windows are of the arrival here, so what waited on a device while the broker was away
    counts when it comes; lengths of spells are by the device's clock. Thread-safe.

    collector: who is asked for counts and connection at each snapshot; None: nobody collects, and there is nothing to show until
    something comes.
    devices: how many are kept; the one silent for longest makes room. clock: seconds that never go back (tests)."""

    def __init__(self, devices: int = 128, clock: Callable[[], float] = time.monotonic) -> None:
        self.collector: Collector | None = None
        self._most, self._clock = devices, clock
        self._exits = Names(EXITS, OTHERS)
        self._rows: OrderedDict[str, _Row] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, reported: Reported) -> None:
        """Count one event. What it says comes from the wire, and may be of any type."""
        event = reported.event
        where, reason = (str(event.get(k) or "")[:LONGEST_TEXT] for k in ("where", "reason"))
        found = event.get("findings")
        findings = [f if isinstance(f, str) and f in KINDS else "other" for f in found[:100]] if isinstance(found, list) else []
        with self._lock:
            now, row = self._clock(), self._row(reported.device)
            column = {"server": SERVER, "fallback": FALLBACK}.get(where)
            if column is None:
                column = FIRST_EXIT + self._exits.column(where or "(none)")
            begun, ended = self._spell(row, column, reason, reported.time)
            counts = [(column, 1), (FINDINGS, len(findings)), (SPELLS, int(begun))]
            for ring in row.rings.values():
                ring.count(now, counts, ended)
            row.seen, row.at, row.dropped = now, reported.time, min(reported.dropped, 2**53)
            row.checks.update(findings)

    @staticmethod
    def _spell(row: _Row, column: int, reason: str, at: float) -> tuple[bool, float]:
        """(whether a spell without the server begins with this answer, seconds of the one that ends with it). An answer by an exit that
        was sure enough says nothing about the server."""
        if column == FALLBACK and reason in OFFLINE:
            row.reason, begun = reason, row.since is None
            row.since = at if row.since is None else row.since
            return begun, 0.0
        if column not in (SERVER, FALLBACK) or row.since is None:
            return False, 0.0
        lasted, row.since = max(0.0, at - row.since), None
        return False, lasted

    def _row(self, name: str) -> _Row:
        row = self._rows.get(name)
        if row is None:
            if len(self._rows) >= self._most:
                self._rows.popitem(last=False)
            row = self._rows[name] = _Row()
        self._rows.move_to_end(name)
        return row

    def snapshot(self, window: str) -> dict[str, Any] | None:
        """The part "reports" of edgerun.status/1 (docs/monitoring.md); None where nobody collects and nothing came."""
        collector = self.collector
        with self._lock:
            if collector is None and not self._rows:
                return None
            now = self._clock()
            listed = [self._listed(name, row, window, now) for name, row in self._rows.items()]
        listed.sort(key=lambda d: (not d["offline"]["now"], -d["findings"], -d["offline"]["spells"], -d["reports"], d["device"]))
        return {"connected": collector.connected if collector else None, "collected": collector.counts if collector else {},
                "devices_seen": len(listed), "devices": listed[:SHOWN]}

    def _listed(self, name: str, row: _Row, window: str, now: float) -> dict[str, Any]:
        ring = row.rings[window]
        total = ring.table(now).sum(axis=0, dtype=np.int64)
        exits = [{"exit": n, "count": int(total[FIRST_EXIT + c])} for n, c in self._exits.items() if total[FIRST_EXIT + c]]
        since = row.since
        offline = {"now": since is not None, "for_s": None if since is None else round(max(0.0, row.at - since), 1),
                   "spells": int(total[SPELLS]), "longest_s": round(float(ring.highest(now).max()), 1), "reason": row.reason}
        return {"device": name, "reports": int(total[SERVER] + total[FALLBACK] + total[FIRST_EXIT:].sum()), "exits": exits,
                "server": int(total[SERVER]), "fallback": int(total[FALLBACK]), "findings": int(total[FINDINGS]),
                "checks": sorted(row.checks), "offline": offline, "dropped": row.dropped, "age_s": round(now - row.seen, 1)}


__all__ = ["OFFLINE", "Reports"]
