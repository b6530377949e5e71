"""What is known of a request once it is answered, and who is told. Every request ends in exactly one `Event`."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass

OUTCOMES = ("ok", "rejected", "attack", "fault", "error")
"""rejected: refused before the model ran; attack: the detector said so; fault: checks of the run found something that was not cured,
and the answer was withheld; error: a defect of the server."""


@dataclass(frozen=True, slots=True)
class Event:
    """time: seconds since 1970, of the answer. transport: "http" | "grpc". reason: a key of `status.REASONS`, "" where outcome is ok.
    latency_ms: from the first byte of the body's arrival in the application to the answer; queue_ms: waiting for a worker; compute_ms:
    in it. exit: name of the exit taken, "" for none. findings: of the checks in this run. attack_score, threshold: of the detector,
    None without one. bytes_in, bytes_out: of the bodies."""

    time: float
    device: str
    model: str
    transport: str
    outcome: str
    reason: str = ""
    latency_ms: float = 0.0
    queue_ms: float = 0.0
    compute_ms: float = 0.0
    exit: str = ""
    difficulty: float | None = None
    findings: int = 0
    attack_score: float | None = None
    threshold: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    checks: tuple[str, ...] = ()
    """Names of the checks that found something ("maed", "abft", …), one for each finding."""
    request_id: str = ""
    peer: str = ""


Observer = Callable[[Event], object]


class Observers:
    """Calls each observer with each event, in the order they were added. One that raises is reported on stderr and called again next time:
    telemetry must not fail requests."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)
        self._lock = threading.Lock()

    def add(self, observer: Observer) -> None:
        with self._lock:
            self._observers = [*self._observers, observer]

    def __call__(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                traceback.print_exc(file=sys.stderr)
