"""One case, one process: build the file, run it, and say whether that was as it should be."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from . import child
from .case import Case, Skip
from .subject import Subject, load_and_run

Result = Literal["typed error", "right answer", "accepted", "refused", "wrong answer", "untyped exception", "crash", "hang",
                 "over memory", "over time", "skipped"]
PASSED: tuple[Result, ...] = ("typed error", "right answer")
PATIENCE = 6
START_S = 120.0
"""Seconds until the first process has loaded its libraries; later ones take milliseconds."""


@dataclass(frozen=True)
class Limits:
    """seconds: from the start of loading to the answer, without the time in which other processes had the cores;
    memory_mib: resident, above the idle process; kill_s: such seconds after which it counts as hanging; headroom: bytes
    of addresses above the idle process, which protects the machine."""

    seconds: float = 2.0
    memory_mib: float = 256.0
    kill_s: float = 20.0
    headroom: int = 4 << 30


@dataclass(frozen=True)
class Outcome:
    """What became of a case. error: class of the exception, with its place where it is none of ours; message: its text,
    the reason of a skip, or what is wrong with the answer."""

    case: str
    family: str
    result: Result
    error: str = ""
    message: str = ""
    seconds: float | None = None
    peak_mib: float | None = None

    @property
    def passed(self) -> bool:
        """A typed error, or a correct run, where the case expects it and within the limits."""
        return self.result in PASSED


def run_case(case: Case, limits: Limits | None = None, keep: Path | None = None, subject: Subject = load_and_run) -> Outcome:
    """Build `case` and run it in a fresh process. keep: folder in which its files stay, in a folder of its name."""
    folder = Path(tempfile.mkdtemp(prefix="edgerun-hostile-")) if keep is None else keep / case.name
    if keep is not None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        path = case.build(folder)
        return _judge(case, *_watched(case.name, folder, path, limits or Limits(), subject), limits or Limits())
    except Skip as reason:
        return Outcome(case.name, case.family, "skipped", message=str(reason))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _judge(case: Case, end: Result | None, report: dict[str, Any], limits: Limits) -> Outcome:
    """end: how the process ended where it ended badly."""
    seconds, peak = report.get("seconds"), report.get("peak_mib")
    kinds: dict[str, Result] = {"untyped": "untyped exception", "wrong": "wrong answer",
                                "error": "refused" if case.expected == "runs" else "typed error",
                                "answer": "accepted" if case.expected == "error" else "right answer"}
    result = end or kinds[report["kind"]]
    if result in PASSED and peak is not None and peak > limits.memory_mib:
        result = "over memory"
    elif result in PASSED and seconds is not None and seconds > limits.seconds:
        result = "over time"
    return Outcome(case.name, case.family, result, report.get("error", ""), report.get("message", ""), seconds, peak)


def _watched(name: str, folder: Path, path: Path, limits: Limits, subject: Subject) -> tuple[Result | None, dict[str, Any]]:
    """The end (None: an orderly one) and the report of a process that runs the case."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = _server().Process(target=child.main, args=(theirs, name, str(folder), str(path), limits.headroom, subject),
                                daemon=True)
    process.start()
    theirs.close()
    with ours:
        try:
            if not ours.poll(START_S):
                raise RuntimeError(f"hostile case {name}: expected a process that starts within {START_S:g} s; found none")
            idle = ours.recv()
            seconds = _until(ours, process, limits.kill_s)
            if seconds is not None:
                return "hang", {"message": "killed", "seconds": seconds, "peak_mib": _peak(process, idle)}
            report = _received(ours)
            process.join(limits.kill_s)
            if process.exitcode is None:
                return "hang", report | {"message": "the process does not end"}
            if process.exitcode or not report:
                return "crash", report | {"message": _ended(process.exitcode)}
            return None, report
        except EOFError:
            process.join(limits.kill_s)
            return "crash", {"message": f"before the model was loaded: {_ended(process.exitcode)}"}
        finally:
            _end(process)


def _until(pipe: Connection, process: BaseProcess, kill_s: float) -> float | None:
    """Wait for the report; the seconds that passed where none came in time. Time in which others had the cores does not
    count, but no case waits for more than PATIENCE times as long."""
    started, before = time.perf_counter(), child.waited(process.pid or 0)
    while not pipe.poll(min(kill_s, 0.5)):
        elapsed = time.perf_counter() - started
        seconds = elapsed - (child.waited(process.pid or 0) - before)
        if seconds > kill_s or elapsed > PATIENCE * kill_s:
            return seconds
    return None


def _received(pipe: Connection) -> dict[str, Any]:
    try:
        report: dict[str, Any] = pipe.recv()
    except EOFError:
        return {}
    return report


@cache
def _server() -> ForkServerContext:
    """Processes are forked from one that has loaded and run edgerun, and does nothing else: a clean, warm start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["edgerun_tools.hostile.warm", "edgerun_tools.hostile.child"])
    return context


def _peak(process: BaseProcess, idle: int) -> float | None:
    """MiB above `idle` bytes that a process held at most which can no longer say it itself."""
    with contextlib.suppress(OSError, StopIteration), open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:")) - idle / (1 << 20)
    return None


def _ended(code: int | None) -> str:
    if code is None or code >= 0:
        return f"the process ended without an answer (exit code {code})"
    return f"killed by {signal.Signals(-code).name}"


def _end(process: BaseProcess) -> None:
    """Kill the process and all that it started."""
    if process.pid is not None and process.exitcode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    process.close()
