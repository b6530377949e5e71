"""Trials in forked processes: what crashes or hangs is a result, and cannot touch other trials.

A batch runs in one fork. Its results count only if the fork also ends well: after the last trial clean runs must still give the right
answer. Otherwise the batch is taken apart: what ran before a crash again without the culprit, the culprit alone, the rest for itself;
after a stain every trial alone. So a result does not depend on what shared a batch.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = dict[str, Any]
Attempt = Callable[[Sequence[Item]], tuple[list[Result], str]]
"""Runs a batch once: the results in order until it ended, and how: SOUND, STAINED, a signal's name, "exit N" or HANG."""
SOUND, STAINED, HANG = "sound", "stained", "hang"
ALONE = 4
"""Times the limit that a trial gets which is tried alone, before it counts as hanging."""
DEFECT = 70
"""Exit code of a fork that failed on our side."""


def run(items: Sequence[Item], attempt: Attempt[Item], lost: Callable[[Item, str], Result]) -> list[Result]:
    """A result for every item, in order. lost(item, how): the result of an item that ends the process."""
    if not items:
        return []
    got, end = attempt(items)
    if end == SOUND:
        return got
    if len(items) == 1:
        return [got[0] | {"stained": True}] if end == STAINED else [lost(items[0], end)]
    if end == STAINED or len(got) == len(items):
        return [r for item in items for r in run([item], attempt, lost)]
    parts = items[: len(got)], items[len(got): len(got) + 1], items[len(got) + 1:]
    return [r for part in parts for r in run(part, attempt, lost)]


def forked(work: Callable[[Item], Result], verify: Callable[[], bool], limit: float) -> Attempt[Item]:
    """Attempts in forks of this process. verify: whether the fork is still sound after the last item. limit: seconds an item may take."""

    def attempt(items: Sequence[Item]) -> tuple[list[Result], str]:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            in_fork(lambda: iter(items), work, verify, writer)
        os.close(writer)
        try:
            lines = list(Lines(reader).until_end(patience(limit, len(items))))
        finally:
            os.close(reader)
        hung = bool(lines) and lines[-1] == {"end": HANG}
        if hung:
            os.kill(child, signal.SIGKILL)
        return ended(lines, os.waitpid(child, 0)[1])

    return attempt


def patience(limit: float, items: int) -> float:
    """Seconds to wait for the next result of a batch."""
    return limit * ALONE if items == 1 else limit


def in_fork(items: Callable[[], Iterator[Item]], work: Callable[[Item], Result], verify: Callable[[], bool], writer: int) -> None:
    """Do a batch and end the process; the parent's buffers and handlers are not its business."""
    code, words = DEFECT, os.dup(2)
    try:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the C library's last words
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for item in items():
            say(writer, work(item))
        say(writer, {"end": SOUND if verify() else STAINED})
        code = 0
    except BaseException:  # not the engine's: `work` catches what a run raises
        os.write(words, traceback.format_exc().encode())
    finally:
        os._exit(code)


def ended(lines: list[Result], status: int) -> tuple[list[Result], str]:
    """What an attempt came to, from its lines and how its process ended."""
    if lines and "end" in lines[-1]:
        return lines[:-1], str(lines[-1]["end"])
    if os.WIFSIGNALED(status):
        return lines, signal.Signals(os.WTERMSIG(status)).name
    return lines, f"exit {os.WEXITSTATUS(status)}"


def say(writer: int, value: Result) -> None:
    """Write one JSON line to a file descriptor, whole."""
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(writer, data):]


class Lines:
    """JSON lines as they come out of a file descriptor."""

    def __init__(self, reader: int) -> None:
        self._reader, self._held = reader, b""

    def next(self, limit: float | None = None) -> Result | None:
        """The next line; None where none came for `limit` seconds, {} at the end of the stream. What a killed writer left half
        is skipped."""
        until = None if limit is None else time.monotonic() + limit
        while True:
            line, found, rest = self._held.partition(b"\n")
            if found:
                self._held = rest
                try:
                    value: Result = json.loads(line)
                    return value
                except ValueError:
                    continue
            ready, _, _ = select.select([self._reader], [], [], None if until is None else max(0.0, until - time.monotonic()))
            if not ready:
                return None
            data = os.read(self._reader, 1 << 16)
            if not data:
                return {}
            self._held += data

    def until_end(self, limit: float) -> Iterator[Result]:
        """Lines up to the end of the stream or of the batch ("end", "status"), which is the last one; {"end": HANG} where none came in
        time."""
        while value := self.next(limit):
            yield value
            if "end" in value or "status" in value:
                return
        if value is None:
            yield {"end": HANG}
