"""What the page shows: the last minute and the last quarter of an hour, as a whole and by device, in bounded memory.

An observer of events. Times are told by the monotonic clock of this machine, so a stepped clock does not tear the windows. JSON schema
edgerun.status/1: docs/monitoring.md."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from edgerun.errors import OptionError
from edgerun.serve.condition import OTHERS, UNKNOWN, UNVERIFIED, Asked, device_of
from edgerun.serve.events import OUTCOMES, Event
from edgerun.serve.reports import Reports
from edgerun.serve.rings import BUCKETS, Names, Ring, bucket
from edgerun.serve.scores import Scores
from edgerun.serve.snapshot import FINDINGS, FIRST_BUCKET, FIRST_NAME, Row, rounded, window_of
from edgerun.serve.status import REASONS

WINDOWS = {"60s": (60, 1.0, 12, 5.0), "15min": (90, 10.0, 15, 60.0)}
"""name: slots and their length in seconds, as a whole; the same for each device, where coarser ones do."""
EXITS, MODELS, RECENT = 16, 16, 40
"""Exits told apart; models whose scores are kept; refusals, attacks and faults that are listed."""
FRESH_S = 0.5
"""A snapshot is made at most this often: many pages cost no more than one."""


class Stats:
    """Counts every `Event` given to it. Thread-safe.

    condition: asked for every snapshot. devices: how many are kept apart; the one silent for longest makes room for a new one.
    clock: seconds that never go back (tests). reports: what devices report by MQTT, for snapshots."""

    def __init__(self, condition: Asked, devices: int = 128, clock: Callable[[], float] = time.monotonic,
                 reports: Reports | None = None) -> None:
        self._condition, self._most, self._clock, self._reports = condition, devices, clock, reports
        self._lock = threading.Lock()
        self._since = clock()
        self._exits = Names(EXITS)
        first = FIRST_NAME + len(self._exits)
        self._reasons = {name: first + k for k, name in enumerate(REASONS)}
        self._whole = {w: Ring(slots, step, first + len(REASONS)) for w, (slots, step, _, _) in WINDOWS.items()}
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._scores: dict[str, dict[str, Scores]] = {}
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._made: dict[str, tuple[float, dict[str, Any]]] = {}
        self._models: frozenset[str] = frozenset()
        self._asked = -math.inf

    def __call__(self, event: Event) -> None:
        """Count one request."""
        outcome = OUTCOMES.index(event.outcome) if event.outcome in OUTCOMES else OUTCOMES.index("error")
        name = device_of(event.device, event.outcome, event.reason)
        ran = event.outcome == "ok" or event.compute_ms > 0
        counts = [(outcome, 1)]
        if event.findings > 0:
            counts.append((FINDINGS, event.findings))
        if ran:
            counts.append((FIRST_BUCKET + bucket(event.latency_ms), 1))
        with self._lock:
            now = self._clock()
            row = self._row(name)
            named = []
            if ran and event.exit:
                named.append((FIRST_NAME + self._exits.column(event.exit), 1))
            if event.reason:
                reason = event.reason if event.reason in self._reasons else "internal"
                named.append((self._reasons[reason], 1))
                self._remember(event, name, reason, now)
            highest = event.latency_ms if ran else 0.0
            for ring in self._whole.values():
                ring.count(now, (*counts, *named), highest)
            for ring in row.rings.values():
                ring.count(now, counts, highest)
            row.saw(event, now)
            if event.attack_score is not None and event.threshold is not None and math.isfinite(event.attack_score):
                self._score(event.model, now, event.attack_score, event.threshold)

    def _row(self, name: str) -> Row:
        """The row of a device; the one silent for longest makes room where there are as many as are kept."""
        row = self._rows.get(name)
        if row is None:
            if len(self._rows) >= self._most:
                self._rows.popitem(last=False)
            row = self._rows[name] = Row({w: Ring(slots, step, FIRST_BUCKET + BUCKETS) for w, (_, _, slots, step) in WINDOWS.items()})
        self._rows.move_to_end(name)
        return row

    def _score(self, model: str, now: float, score: float, threshold: float) -> None:
        if model not in self._scores:
            if not self._served(model, now) or len(self._scores) >= MODELS:
                return
            self._scores[model] = {w: Scores(slots, step) for w, (slots, step, _, _) in WINDOWS.items()}
        for scores in self._scores[model].values():
            scores.add(now, score, threshold)

    def _served(self, model: str, now: float) -> bool:
        """Whether that is one of our models; who makes names up does not make us ask more than twice a second."""
        if model not in self._models and now - self._asked >= FRESH_S:
            self._models, self._asked = frozenset(self._condition().models), now
        return model in self._models

    def _remember(self, event: Event, device: str, reason: str, now: float) -> None:
        model = event.model if self._served(event.model, now) else UNKNOWN if event.model else ""
        self._recent.append({"at": now, "device": device, "model": model, "outcome": event.outcome, "reason": reason,
                             "meaning": REASONS[reason].meaning, "transport": event.transport})

    def snapshot(self, window: str = "60s") -> dict[str, Any]:
        """One window as plain JSON values, schema edgerun.status/1. OptionError for one that is not kept."""
        if window not in WINDOWS:
            raise OptionError(f"status: window: expected {' or '.join(WINDOWS)}; found {window[:20]!r}")
        condition = self._condition()
        with self._lock:
            now = self._clock()
            made = self._made.get(window)
            if made is None or now - made[0] >= FRESH_S:
                exits, reasons = [(n, FIRST_NAME + c) for n, c in self._exits.items()], list(self._reasons.items())
                made = now, window_of(window, self._whole[window], self._rows, self._scores, self._recent, exits, reasons, now, self._since)
                self._made[window] = made
        models = {name: {"ready": m.ready, "detector": m.detector, "scrub_age_s": rounded(m.scrub_age_s), "exits": list(m.exits)}
                  for name, m in condition.models.items()}
        server = {"ready": condition.ready, "draining": condition.draining, "inflight": condition.inflight, "pending": condition.pending,
                  "workers": condition.workers, "uptime_s": round(now - self._since, 1), "models": models}
        return {"schema": "edgerun.status/1", "time": round(time.time(), 3), "server": server, "windows": list(WINDOWS),
                "reports": self._reports.snapshot(window) if self._reports else None, **made[1]}

    def json(self, window: str = "60s") -> bytes:
        """`snapshot` as JSON."""
        return json.dumps(self.snapshot(window), allow_nan=False, separators=(",", ":")).encode()


__all__ = ["EXITS", "OTHERS", "UNVERIFIED", "WINDOWS", "Stats"]
