"""The one call: firmware folder, board, inputs → results."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgerun.errors import OptionError
from edgerun_tools.boards import emulate, inject
from edgerun_tools.boards.build import Image, build
from edgerun_tools.boards.inputs import Feed, as_bytes, samples_of
from edgerun_tools.boards.manifest import Firmware, read
from edgerun_tools.boards.results import Results, parse, parse_fault, sample_bytes
from edgerun_tools.boards.table import Board, board_of

TIMEOUT = 600.0


def run(folder: str | Path | Firmware, board: str | Board, inputs: Feed, *, opt: str = "3", timeout: float = TIMEOUT, limit: int = 0,
        faults: Sequence[inject.Fault] = (), image: Image | None = None, keep: str | Path | None = None,
        tick: Callable[[str, int, int], None] | None = None) -> Results:
    """Build a firmware folder for a board, run it there on every sample of `inputs`, and return what came of it.

    inputs: see `inputs.Feed`. timeout: seconds of this machine for all runs; what is past it ends as "timeout", as any fault of the
    firmware is data in the results and no error. limit: instructions or cycles that a call may take, 0 for any number; past it, it
    ends as "timeout", the same on every machine. faults: bits that flip while it runs (`inject.Fault`). image: of earlier results with
    `keep`, so that nothing is compiled. keep: a folder for sources, image and files (else a temporary one). tick: told (what, done,
    of). ToolMissing, FirmwareError, InputError, OptionError, BoardError.
    """
    firmware = folder if isinstance(folder, Firmware) else read(folder)
    target = board_of(board) if isinstance(board, str) else board
    samples = samples_of(firmware, inputs)
    inject.check(faults, target)
    if limit and target.kind == "host":
        raise OptionError("--limit: expected a board that is emulated; found host")
    with contextlib.nullcontext(keep) if keep is not None else tempfile.TemporaryDirectory(prefix="edgerun-board-") as place:
        work = Path(place)
        made = image or build(firmware, target, work, opt=opt)
        work.mkdir(parents=True, exist_ok=True)
        return _run(firmware, target, made, samples, work, timeout, limit, faults, tick)


def _run(firmware: Firmware, board: Board, image: Image, samples: list[np.ndarray], work: Path, timeout: float, limit: int,
         faults: Sequence[inject.Fault], tick: Callable[[str, int, int], None] | None) -> Results:
    ticks = struct.pack("<I", board.alarm_ticks(limit) if limit else 0) if board.kind == "cortex-m" else b""
    (work / "in.bin").write_bytes(ticks + as_bytes(samples))
    (work / "faults.txt").unlink(missing_ok=True)
    count, step = len(samples[0]) if samples else 0, sample_bytes(firmware)
    grown = None if tick is None else lambda size: tick(board.name, min(count, size // step), count)
    hits: list[inject.Hit] = []
    if faults and board.kind == "cortex-m":
        end, hits = inject.run_with_faults(board, image, work, faults, timeout=timeout)
    else:
        lines = inject.write_avr_faults(faults, image, work) if faults else []
        end = emulate.emulate(board, image, work, timeout=timeout, limit=limit, tick=grown)
        hits = inject.avr_hits(lines, work) if faults else []
    return _collect(firmware, board, image, work, end, hits)


def _collect(firmware: Firmware, board: Board, image: Image, work: Path, end: emulate.End, hits: list[inject.Hit]) -> Results:
    """What the files in `work` say."""
    blob = (work / "out.bin").read_bytes() if (work / "out.bin").exists() else b""
    found, selftest, error, limit = parse(blob, firmware, board)
    fault = None
    if (work / "fault.bin").exists():
        fault = parse_fault((work / "fault.bin").read_bytes(), board)
    elif end.how != "ok":
        fault = {"why": end.words}
    return Results(board, firmware, image, found, end.how, fault, selftest, error, limit, emulate.version(board), hits)
