"""The process in which one case runs: forked from a warm server, limited, measured, and gone afterwards."""

from __future__ import annotations

import os
import resource
import time
import traceback
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import EdgeRunError

from . import corpus
from .case import Array, Oracle
from .subject import Feeds, Subject, Unfeedable

MAX_MESSAGE = 400
"""Characters of an error's text that are reported."""
RTOL, ATOL = 1e-5, 1e-6


def main(pipe: Connection, name: str, folder: str, path: str, headroom: int, subject: Subject) -> None:
    """Send the bytes that are resident when idle, then one report {kind, error, message, seconds, peak_mib} of case `name`.

    kind: "error" (typed), "untyped", "answer" (right, or there is none), "wrong". headroom: bytes of addresses above
    what the idle process has.
    """
    os.setsid()  # so that the runner can end whatever this process may start
    _mute()
    from . import warm  # noqa: F401  (loaded in the server already, where this process was forked from)

    os.chdir(folder)
    warnings.simplefilter("ignore")
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + headroom, limit[1]))
    idle = _reset_peak()
    pipe.send(idle)
    started, before = time.perf_counter(), waited()
    answer: tuple[Feeds, list[Array | None]] | None = None
    report: dict[str, Any] = {}
    try:
        answer = subject(Path(path))
    except EdgeRunError as error:
        report = _said("error", error)
    except BaseException as error:  # whatever else comes out is what we are looking for
        report = _said("untyped", error)
    # What the kernel let others run meanwhile is not the model's doing.
    seconds = time.perf_counter() - started - (waited() - before)
    peak = _status("VmHWM") - idle
    resource.setrlimit(resource.RLIMIT_AS, limit)
    if answer is not None:
        report = judged(corpus()[name].oracle, *answer)
    pipe.send(report | {"seconds": seconds, "peak_mib": peak / (1 << 20)})
    pipe.close()


def judged(oracle: Oracle | None, feeds: Feeds, outputs: Sequence[Array | None]) -> dict[str, Any]:
    """Whether the outputs are right; without an oracle there is nothing to compare with."""
    difference = "" if oracle is None else differing(oracle(feeds), outputs)
    return {"kind": "wrong" if difference else "answer", "error": "", "message": difference}


def differing(expected: Sequence[Array], found: Sequence[Array | None]) -> str:
    """What is wrong with the outputs, or ""."""
    if len(expected) != len(found):
        return f"expected {len(expected)} outputs; found {len(found)}"
    for k, (right, got) in enumerate(zip(expected, found, strict=True)):
        if got is None or got.shape != right.shape or got.dtype != right.dtype:
            what = "none" if got is None else f"{got.dtype.name} {list(got.shape)}"
            return f"output {k}: expected {right.dtype.name} {list(right.shape)}; found {what}"
        if not np.allclose(got, right, RTOL, ATOL, equal_nan=True):
            return f"output {k}: expected {right.ravel()[:4]}; found {got.ravel()[:4]}"
    return ""


def _said(kind: str, error: BaseException) -> dict[str, Any]:
    name = type(error).__name__
    if kind == "untyped" and not isinstance(error, Unfeedable):
        where = traceback.extract_tb(error.__traceback__)
        name += f" in {Path(where[-1].filename).name}:{where[-1].lineno}" if where else ""
    try:
        text = " ".join(str(error).split())
    except Exception as broken:  # an error whose own text cannot be made
        text = f"<no text: {type(broken).__name__}>"
    return {"kind": kind, "error": name, "message": text[:MAX_MESSAGE]}


def _mute() -> None:
    """What native code prints is no answer."""
    with open(os.devnull, "w") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)


def _status(field: str) -> int:
    """A field of /proc/self/status in bytes; where there is no such file, the largest size so far."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(f"{field}:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _reset_peak() -> int:
    """Let the peak of the resident size start again; returns the size now."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:  # not allowed: a forked process starts with its own peak anyhow
        pass
    return _status("VmRSS")


def waited(process: int | str = "self") -> float:
    """Seconds in which a process (its number) could have run but the cores served others."""
    try:
        with open(f"/proc/{process}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
