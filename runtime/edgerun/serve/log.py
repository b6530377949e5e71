"""One line of JSON a message, and one for each thing that happens to the server."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any, TextIO

from edgerun.serve.events import Event

_DIGITS = {"time": 3, "latency_ms": 3, "queue_ms": 3, "compute_ms": 3, "difficulty": 5, "attack_score": 6, "threshold": 6}
_KEPT = ("difficulty", "attack_score", "threshold")


class JsonLog:
    """An observer. stream: where lines go; None: stderr. Fields that say nothing (0, "", None) are left out; a score or a
    difficulty of 0 is said."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        held = {k: round(v, _DIGITS[k]) if k in _DIGITS and v is not None else v for k, v in asdict(event).items()}
        self._write({"event": "request", **{k: v for k, v in held.items() if v not in (None, "", 0, ()) or (v == 0 and k in _KEPT)}})

    def say(self, event: str, **values: Any) -> None:
        """A line about the server: "ready", "draining", "stopped"."""
        self._write({"event": event, "time": round(time.time(), 3), **values})

    def _write(self, line: dict[str, Any]) -> None:
        stream = self._stream or sys.stderr
        stream.write(json.dumps(line) + "\n")
        stream.flush()
