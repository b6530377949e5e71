"""A window of the rings, as the plain values of edgerun.status/1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgerun.serve.condition import UNVERIFIED
from edgerun.serve.events import OUTCOMES, Event
from edgerun.serve.rings import BUCKETS, Ring, percentile
from edgerun.serve.scores import Scores
from edgerun.serve.status import REASONS

FINDINGS = len(OUTCOMES)
FIRST_BUCKET = FINDINGS + 1
FIRST_NAME = FIRST_BUCKET + BUCKETS
"""Columns of a ring: outcomes, findings, latencies by bucket; as a whole also exits and reasons."""
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
SHOWN = 50
"""Devices in a snapshot: those with trouble first, then the busiest."""


class Row:
    """What is kept of a device besides its rings."""

    def __init__(self, rings: Mapping[str, Ring]) -> None:
        self.rings = rings
        self.seen = 0.0
        self.reason = ""
        self.exit = ""
        self.score: float | None = None
        self.threshold: float | None = None

    def saw(self, event: Event, now: float) -> None:
        """Take down the latest."""
        self.seen = now
        self.reason = event.reason or self.reason
        self.exit = event.exit or self.exit
        if event.attack_score is not None:
            self.score, self.threshold = event.attack_score, event.threshold


def window_of(name: str, ring: Ring, rows: Mapping[str, Row], scores: Mapping[str, Mapping[str, Scores]],
              recent: Iterable[Mapping[str, Any]], exits: Sequence[tuple[str, int]], reasons: Sequence[tuple[str, int]],
              now: float, since: float) -> dict[str, Any]:
    """The part of a snapshot that hangs on the window: sums, series from the oldest slot to the running one, devices.
    exits, reasons: (name, column of the ring)."""
    table, highest = ring.table(now), ring.highest(now)
    covered = ring.covered_s(now, since)
    total = table.sum(axis=0, dtype=np.int64)
    taken = [(n, c) for n, c in exits if total[c]]
    answered = int(sum(total[c] for _, c in taken))
    series: dict[str, Any] = {o: table[:, k].tolist() for k, o in enumerate(OUTCOMES)}
    series["findings"] = table[:, FINDINGS].tolist()
    latencies = table[:, FIRST_BUCKET:FIRST_NAME]
    series["latency_ms"] = {p: [rounded(percentile(row, share)) for row in latencies] for p, share in SHARES.items() if p != "p999"}
    series["exits"] = {n: table[:, c].tolist() for n, c in taken}
    listed = [device(n, r, name, now) for n, r in rows.items()]
    listed = [d for d in listed if d["requests"]]
    listed.sort(key=lambda d: (-(d["attack"] + d["fault"] + d["error"] + d["findings"]), -d["requests"], d["device"]))
    return {
        "window": {"name": name, "slots": ring.slots, "step_s": ring.step_s, "covered_s": round(covered, 3),
                   "running_s": round(now % ring.step_s, 3)},
        "requests": int(total[:FINDINGS].sum()), "rate_per_s": round(float(total[:FINDINGS].sum()) / covered, 3),
        "outcomes": {o: int(total[k]) for k, o in enumerate(OUTCOMES)}, "findings": int(total[FINDINGS]),
        "latency_ms": latency(total[FIRST_BUCKET:FIRST_NAME], float(highest.max())),
        "exits": [{"exit": n, "count": int(total[c]), "share": round(int(total[c]) / answered, 4)} for n, c in taken],
        "reasons": [{"reason": n, "count": int(total[c]), "meaning": REASONS[n].meaning}
                    for n, c in sorted(reasons, key=lambda r: -int(total[r[1]])) if total[c]],
        "series": series,
        "attack": {model: judged(kept[name], now) for model, kept in scores.items()},
        "devices": listed[:SHOWN], "devices_seen": len([d for d in listed if d["device"] != UNVERIFIED]),
        "recent": [{**{k: v for k, v in r.items() if k != "at"}, "age_s": round(now - r["at"], 1)} for r in recent][::-1],
    }


def latency(counts: np.ndarray, highest: float) -> dict[str, float | None]:
    """Percentiles and maximum in ms of the requests that ran; None without any. counts: [BUCKETS]."""
    out = {p: percentile(counts, share) for p, share in SHARES.items()}
    known = {p: None if v is None else min(v, highest) for p, v in out.items()}
    return {p: rounded(v) for p, v in {**known, "max": highest if counts.any() else None}.items()}


def device(name: str, row: Row, window: str, now: float) -> dict[str, Any]:
    """One line of the table."""
    ring = row.rings[window]
    total = ring.table(now).sum(axis=0, dtype=np.int64)
    times = latency(total[FIRST_BUCKET:], float(ring.highest(now).max()))
    return {"device": name, "requests": int(total[:FINDINGS].sum()), **{o: int(total[k]) for k, o in enumerate(OUTCOMES)},
            "findings": int(total[FINDINGS]), "p50_ms": times["p50"], "p99_ms": times["p99"], "age_s": round(now - row.seen, 1),
            "last_reason": row.reason, "last_exit": row.exit, "last_score": rounded(row.score), "threshold": rounded(row.threshold)}


def judged(scores: Scores, now: float) -> dict[str, Any]:
    """The scores of a model: sums, and by slot the highest, the threshold and a fair sample."""
    slots = scores.window(now)
    thresholds = [s.threshold for s in slots if s.threshold is not None]
    return {"scored": sum(s.scored for s in slots), "above": sum(s.above for s in slots),
            "threshold": rounded(thresholds[-1]) if thresholds else None,
            "highest": [rounded(s.highest) for s in slots], "thresholds": [rounded(s.threshold) for s in slots],
            "above_by_slot": [s.above for s in slots], "sample": [[rounded(v) for v in s.sample] for s in slots]}


def rounded(value: float | None) -> float | None:
    """Four significant digits: what a page can show; None where it is no finite number."""
    return float(f"{value:.4g}") if value is not None and np.isfinite(value) else None


__all__ = ["FINDINGS", "FIRST_BUCKET", "FIRST_NAME", "SHOWN", "Row", "device", "judged", "latency", "rounded", "window_of"]
