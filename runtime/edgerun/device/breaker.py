"""When to stop asking a server that does not answer, and when to try again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits between attempts: drawn from 0 to min(most, first 2^k), "full jitter", so that devices that lost a server together do not
    come back together. Seconds."""

    first: float = 0.05
    most: float = 2.0

    def wait(self, attempt: int) -> float:
        """Before attempt 1, 2, … after the first (0)."""
        return random.uniform(0, min(self.most, self.first * 2 ** min(attempt, 30)))


class Breaker:
    """After `failures` calls in a row that failed it is open: no call is let through for a pause, which doubles from pause_s to most_s
    (each time drawn from half of it to all of it). Then one call may try; an answer closes it, a failure begins the next pause. Threads
    may share it."""

    def __init__(self, failures: int = 5, pause_s: float = 1.0, most_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures, self._first, self._most, self._clock = failures, pause_s, most_s, clock
        self._lock = threading.Lock()
        self._failed = 0
        self._pause = pause_s
        self._until: float | None = None
        self._trying = False

    def allow(self) -> bool:
        """Whether a call may be made now; every True is followed by `ended`."""
        with self._lock:
            if self._until is None:
                return True
            if self._trying or self._clock() < self._until:
                return False
            self._trying = True
            return True

    def ended(self, ok: bool) -> None:
        with self._lock:
            self._trying = False
            if ok:
                self._failed, self._until, self._pause = 0, None, self._first
                return
            self._failed += 1
            if self._until is not None or self._failed >= self._failures:
                self._until = self._clock() + random.uniform(self._pause / 2, self._pause)
                self._pause = min(2 * self._pause, self._most)

    @property
    def open(self) -> bool:
        """Whether calls are held back now."""
        with self._lock:
            return self._until is not None and (self._trying or self._clock() < self._until)
