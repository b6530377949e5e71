"""What came back from a board: the files out.bin and fault.bin that boards/c/main.c and cortex_m.c write, and what they mean."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerun_tools.boards.build import Image
from edgerun_tools.boards.errors import BoardError
from edgerun_tools.boards.inject import Hit
from edgerun_tools.boards.manifest import Firmware
from edgerun_tools.boards.table import Board

MAGIC = 0x31425245
NO_SELFTEST = -(1 << 31)
CALIBRATION = 4096
"""Ticks over which main.c counts turns of its waiting loop."""
_HEAD = struct.Struct("<iiiiIIIII")
_MEASURE = struct.Struct("<iIII")
FAULT = ("exception", "sample", "sp", "exc_return", "cfsr", "hfsr", "mmfar", "bfar", "r0", "r1", "r2", "r3", "r12", "lr", "pc", "xpsr",
         "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")
"""Words of fault.bin."""
EXCEPTIONS = {2: "NMI", 3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault", 7: "SecureFault", 11: "SVCall", 14: "PendSV",
              15: "limit"}
CFSR = {0: "instruction fetch not allowed", 1: "data access not allowed", 3: "unstacking: not allowed", 4: "stacking: not allowed",
        8: "instruction fetch failed", 9: "data access failed", 10: "data access failed, address not exact", 11: "unstacking failed",
        12: "stacking failed", 16: "undefined instruction", 17: "illegal state", 18: "illegal return from an exception",
        19: "coprocessor (FPU) off", 20: "stack overflow", 24: "unaligned access", 25: "division by zero"}
"""Bits of the Configurable Fault Status Register (Armv8-M Architecture Reference Manual, D1.2.20)."""


@dataclass(frozen=True)
class Sample:
    """One run of the function. status: what it returned. count: in the board's unit (instructions, cycles, nanoseconds).
    stack: bytes below the harness that were written. report: its fields by name."""

    outputs: dict[str, np.ndarray]
    status: int
    count: float
    stack: int
    report: dict[str, int]


@dataclass(frozen=True)
class Results:
    """All runs of one image. end: "ok", or "fault" (an exception of the core), "lockup" (an exception in the handler), "timeout",
    "crash", "restart", "sleep" (AVR), "exit" (the harness could not go on), "emulator" (that failed); samples up to there.
    fault: its registers and `why`. error: the count may be off by so much either way."""

    board: Board
    firmware: Firmware
    image: Image
    samples: list[Sample]
    end: str
    fault: dict[str, Any] | None
    selftest: int | None
    error: float
    stack_limit: int
    emulator: str
    hits: list[Hit] = field(default_factory=list)
    """Faults that were injected and struck."""

    @property
    def ok(self) -> bool:
        return self.end == "ok"

    def outputs(self, index: int = 0) -> np.ndarray:
        """One output of all samples, stacked along a new first axis, [samples, …]; BoardError unless all ran."""
        if not self.ok:
            raise BoardError(f"{self.board.name}: expected a run to the end; found: {self.end}" + (f", {self.fault}" if self.fault else ""))
        return np.stack([list(s.outputs.values())[index] for s in self.samples])


def sample_bytes(firmware: Firmware) -> int:
    """Bytes of out.bin a run."""
    return _MEASURE.size + 4 * len(firmware.report_fields) + sum(t.bytes for t in firmware.outputs)


def parse(blob: bytes, firmware: Firmware, board: Board) -> tuple[list[Sample], int | None, float, int]:
    """(samples, self-test, error of the counts, stack limit) of out.bin; what is incomplete at its end is left out."""
    if len(blob) < _HEAD.size:
        return [], None, 0.0, 0
    magic, selftest, fields, _, ticks, polls, _, turns, limit = _HEAD.unpack_from(blob)
    if magic != MAGIC or fields != len(firmware.report_fields):
        raise BoardError(f"out.bin: expected a head {MAGIC:#x} with {len(firmware.report_fields)} fields; found {magic:#x}, {fields}")
    per_tick = board.timer.per_tick if board.timer else 1.0
    # Whole, but for what the start and the end of the calibration and the rounding of ticks to ns inside QEMU add
    per_turn = round(CALIBRATION * per_tick / turns) if turns else 0
    empty = ticks * per_tick - polls * per_turn
    found, at = [], _HEAD.size
    while at + sample_bytes(firmware) <= len(blob):
        status, ticks, polls, stack = _MEASURE.unpack_from(blob, at)
        at += _MEASURE.size
        report = dict(zip(firmware.report_fields, struct.unpack_from(f"<{fields}i", blob, at), strict=True))
        at += 4 * fields
        outputs = {}
        for t in firmware.outputs:
            outputs[t.name] = np.frombuffer(blob, t.dtype, t.elements, at).reshape(t.shape).copy()
            at += t.bytes
        found.append(Sample(outputs, status, max(0.0, ticks * per_tick - polls * per_turn - empty), stack, report))
    return found, None if selftest == NO_SELFTEST else selftest, 2 * per_turn, limit


def parse_fault(blob: bytes, board: Board) -> dict[str, Any]:
    """The registers of fault.bin, hexadecimal but for `sample`, and what they say."""
    words = dict(zip(FAULT, struct.unpack(f"<{len(FAULT)}I", blob[: 4 * len(FAULT)]), strict=True))
    why = [text for bit, text in CFSR.items() if words["cfsr"] >> bit & 1]
    if words["exception"] == 15:
        why = ["a call took longer than its limit"]
    if words["sp"] < board.ram[0] and "stack overflow" not in why:
        why.append("stack overflow")
    sample = words.pop("sample")
    return {"exception": EXCEPTIONS.get(words["exception"], str(words["exception"])), "why": ", ".join(why) or "this core does not tell",
            "sample": sample - (sample >> 31 << 32), "registers": {k: f"{v:#010x}" for k, v in words.items() if k != "exception"}}
