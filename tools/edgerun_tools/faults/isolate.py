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
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = dict[str, Any]
ALONE = 4
"""Times the limit that a trial gets which is tried alone, before it counts as hanging."""


def run(items: Sequence[Item], work: Callable[[Item], Result], verify: Callable[[], bool], lost: Callable[[Item, str], Result],
        limit: float) -> list[Result]:
    """`work(item)` for every item, in order. verify: whether the process is still sound after them. lost(item, how): the
    result of an item that ends the process: a signal's name, "exit N" or "hang". limit: seconds that one item may take."""
    if not items:
        return []
    got, end = _attempt(items, work, verify, limit * (ALONE if len(items) == 1 else 1))
    if end == "sound":
        return got
    if len(items) == 1:
        return [got[0] | {"stained": True}] if end == "stained" else [lost(items[0], end)]
    if end == "stained" or len(got) == len(items):
        return [r for item in items for r in run([item], work, verify, lost, limit)]
    parts = items[: len(got)], items[len(got): len(got) + 1], items[len(got) + 1:]
    return [r for part in parts for r in run(part, work, verify, lost, limit)]


def _attempt(items: Sequence[Item], work: Callable[[Item], Result], verify: Callable[[], bool],
             limit: float) -> tuple[list[Result], str]:
    """Results in order until the fork ended, and how: "sound", "stained", a signal's name, "exit N" or "hang"."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(items, work, verify, writer)
    os.close(writer)
    lines: list[Result] = []
    hung = True
    try:
        hung = not _collect(reader, lines, limit)
    finally:
        os.close(reader)
        if hung:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    if lines and "end" in lines[-1]:
        return lines[:-1], str(lines[-1]["end"])
    if hung:
        return lines, "hang"
    return lines, signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def _child(items: Sequence[Item], work: Callable[[Item], Result], verify: Callable[[], bool], writer: int) -> None:
    """Never returns: the parent's buffers and handlers are not this process's business."""
    code, words = 70, os.dup(2)
    try:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the C library's last words
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for item in items:
            _say(writer, work(item))
        _say(writer, {"end": "sound" if verify() else "stained"})
        code = 0
    except BaseException:  # not the engine's: `work` catches what a run raises
        os.write(words, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _say(writer: int, value: Result) -> None:
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(writer, data):]


def _collect(reader: int, lines: list[Result], limit: float) -> bool:
    """Append lines as they come; False where none came for `limit` seconds."""
    held, until = b"", time.monotonic() + limit
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return False
        data = os.read(reader, 1 << 16)
        if not data:
            return True
        *whole, held = (held + data).split(b"\n")
        if whole:
            lines += map(json.loads, whole)
            until = time.monotonic() + limit
