"""What a session's checks found over its life: counters, the caller's callback, and a log on the disk."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging import LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler
from typing import Any

from edgerun.errors import EdgeRunWarning, OptionError
from edgerun.executors.base import Finding
from edgerun.result import describe

LOG_BYTES, LOG_FILES = 1 << 20, 3
"""Size at which a log is renamed to FILE.1 (FILE.1 to FILE.2 …), and how many such files are kept."""


@dataclass(frozen=True)
class Counters:
    """Sums over a session. findings: by check ("abft": 3); corrected, restored: by their action; reruns: runs begun again;
    permanent: findings of faults that stayed; aborted: runs that ended with FaultError."""

    runs: int
    findings: Mapping[str, int]
    corrected: int
    restored: int
    reruns: int
    permanent: int
    aborted: int


class Ledger:
    """Takes down the findings of runs. Thread-safe; the callback is called by the thread that ran, while nothing is locked.

    name: the model's, for the log. log: path of a file, see `Options.fault_log`. OptionError where it cannot be opened."""

    def __init__(self, name: str, callback: Callable[[Finding], object] | None, log: str | os.PathLike[str] | None) -> None:
        if callback is not None and not callable(callback):
            raise OptionError(f"on_finding: expected a function that takes a Finding; found {callback!r}")
        self._name, self._callback = name, callback
        self._log = None if log is None else FaultLog(log)
        self._lock = threading.Lock()
        self._runs, self._looks = itertools.count(1), 0  # next() is atomic, and a third of a lock; to look at it counts, too
        self.count = self._runs.__next__  # a run is over in which nothing was found
        self._reruns = self._permanent = self._aborted = 0
        self._checks: Counter[str] = Counter()
        self._actions: Counter[str] = Counter()

    @property
    def counters(self) -> Counters:
        """As they are now."""
        with self._lock:
            self._looks += 1
            return Counters(self.count() - self._looks, dict(self._checks), self._actions["corrected"], self._actions["restored"],
                            self._reruns, self._permanent, self._aborted)

    def ran(self, findings: Sequence[Finding], reruns: int = 0, aborted: bool = False) -> None:
        """A run is over. An exception of the callback is the caller's."""
        if not findings:
            self.count()
            return
        with self._lock:
            run = self.count() - self._looks
            self._reruns += reruns
            self._aborted += aborted
            for f in findings:
                self._checks[f.check] += 1
                self._actions[f.action] += 1
                self._permanent += f.permanent
        if self._log is not None:
            self._log.write([{"model": self._name, "run": run, **describe(f)} for f in findings])
        if self._callback is not None:
            for f in findings:
                self._callback(f)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()


class FaultLog(RotatingFileHandler):
    """Appends lines of JSON to `path`. Each is flushed and synchronised (fsync): findings are rare, and the power may fail next.

    A log that can no longer be written warns once and never stops the model."""

    def __init__(self, path: str | os.PathLike[str], limit: int = LOG_BYTES, files: int = LOG_FILES) -> None:
        self._warned = False
        try:
            super().__init__(path, maxBytes=limit, backupCount=files, encoding="utf-8")
        except (OSError, ValueError) as e:
            raise OptionError(f"fault_log: expected a file that can be appended to; found: {e}") from e

    def write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """One line for each, with the time (seconds since 1970, UTC) in front."""
        for entry in entries:
            self.handle(makeLogRecord({"msg": json.dumps({"time": round(time.time(), 3), **entry}, allow_nan=False)}))

    def format(self, record: LogRecord) -> str:
        """The line as it is."""
        return str(record.msg)

    def emit(self, record: LogRecord) -> None:
        """Append, and wait until it is on the disk."""
        super().emit(record)
        try:
            os.fsync(self.stream.fileno())  # type: ignore[union-attr]
        except (OSError, ValueError, AttributeError):  # the last two: closed
            self.handleError(record)

    def close(self) -> None:
        """Close the file; what could not be written is lost, as was told."""
        with contextlib.suppress(OSError):
            super().close()

    def handleError(self, record: LogRecord) -> None:
        """Say so, once."""
        if not self._warned:
            self._warned = True
            warnings.warn(f"fault_log {self.baseFilename}: findings can no longer be written there", EdgeRunWarning, stacklevel=8)


__all__ = ["LOG_BYTES", "LOG_FILES", "Counters", "FaultLog", "Ledger"]
