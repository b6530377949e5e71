"""One line of JSON a message, and one for each thing that happens to the server."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import Any, TextIO

from edgerun.serve.events import Event
from edgerun.serve.status import REASONS

_DIGITS = {"time": 3, "latency_ms": 3, "queue_ms": 3, "compute_ms": 3, "difficulty": 5, "attack_score": 6, "threshold": 6}
_KEPT = ("difficulty", "attack_score", "threshold")


LATER = frozenset(name for name, status in REASONS.items() if status.http in (429, 503))
"""Reasons of refusals that come in crowds."""


class JsonLog:
    """An observer. stream: where lines go; None: stderr. Fields that say nothing (0, "", None) are left out; a score or a difficulty of 0
    is said. crowd: lines a second about messages that are to come again later (429, 503); beyond, one line "omitted" counts them by reason,
    before the next line of another second."""

    def __init__(self, stream: TextIO | None = None, crowd: int = 20) -> None:
        self._stream, self._crowd = stream, crowd
        self._second, self._told = 0, 0
        self._omitted: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        if (second := int(event.time)) != self._second:
            self._tell_omitted()
            self._second, self._told = second, 0
        if event.reason in LATER:
            self._told += 1
            if self._told > self._crowd:
                self._omitted[event.reason] += 1
                return
        held = {k: round(v, _DIGITS[k]) if k in _DIGITS and v is not None else v for k, v in asdict(event).items()}
        self._write({"event": "request", **{k: v for k, v in held.items() if v not in (None, "", 0, ()) or (v == 0 and k in _KEPT)}})

    def say(self, event: str, **values: Any) -> None:
        """A line about the server: "ready", "draining", "stopped"."""
        self._tell_omitted()
        self._write({"event": event, "time": round(time.time(), 3), **values})

    def _tell_omitted(self) -> None:
        if self._omitted:
            omitted, self._omitted = dict(self._omitted), Counter()
            self._write({"event": "omitted", "time": self._second, "reasons": omitted})

    def _write(self, line: dict[str, Any]) -> None:
        stream = self._stream or sys.stderr
        stream.write(json.dumps(line) + "\n")
        stream.flush()
