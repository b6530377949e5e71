"""Faults in the middle of a run: bits of RAM, flash or registers flip after so many instructions, under QEMU through its debugger stub,
in simavr by the simulator itself.

On a Cortex-M the harness arms SysTick when the call begins, and its handler is where the debugger stops: so a fault strikes after a
given number of instructions, to within a tick (40 instructions of the MPS2 boards) and the entry of the handler, and at the same
instruction in every repetition, because counted time and not this machine's drives the emulation. On an AVR cycles are exact.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgerun.errors import OptionError
from edgerun_tools.boards import emulate
from edgerun_tools.boards.build import Image, tool
from edgerun_tools.boards.gdb import Ended, Gdb
from edgerun_tools.boards.table import Board

AVR_DATA = 0x800000
"""Added to addresses of an AVR's RAM by its linker; below lies flash."""
SKIP = "instruction"
HOW = ("flip", "set", "clear")
_AVR_REGISTERS = {f"r{i}": i for i in range(32)} | {"spl": 0x5D, "sph": 0x5E, "sreg": 0x5F}


@dataclass(frozen=True)
class Fault:
    """Bits that change once, in one run. sample: which run, from 0. at: after so many instructions (AVR: cycles) of the call, 0 for just
    before it; or the name of a function, on the first entry; on an AVR, any place in the code, with "#n" behind it for the n-th time that
    the core comes there. place: an address, a symbol, "symbol+offset" (bytes), "register NAME", or on an AVR "instruction": the one that
    would come next is skipped. mask: the bits, of the little-endian number that begins there; how: they flip, or on an AVR become 1
    ("set") or 0 ("clear"). stays: flash is not mended after the run."""

    sample: int
    at: int | str
    place: int | str
    mask: int = 1
    stays: bool = False
    how: str = "flip"

    @property
    def register(self) -> str | None:
        return self.place.removeprefix("register ") if isinstance(self.place, str) and self.place.startswith("register ") else None

    @property
    def size(self) -> int:
        return max(1, (self.mask.bit_length() + 7) // 8)


@dataclass(frozen=True)
class Hit:
    """A fault that struck: the program counter there, and the value before and after."""

    fault: Fault
    pc: int
    before: int
    after: int


def symbols(image: Image) -> dict[str, int]:
    """Address of every object and function of an image, static ones too."""
    nm = tool(Path(image.tool).name + "nm")
    printed = subprocess.run([nm, str(image.path)], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in printed.splitlines()]
    return {r[2]: int(r[0], 16) for r in rows if len(r) == 3}


def address_of(place: int | str, known: dict[str, int]) -> int:
    """The address that a place means; OptionError for a symbol that is not there."""
    if isinstance(place, int):
        return place
    name, _, offset = place.partition("+")
    if name not in known:
        raise OptionError(f"{place}: expected a symbol of the image; found none (the compiler may have inlined or removed it)")
    return known[name] + (int(offset, 0) if offset else 0)


def check(faults: Sequence[Fault], board: Board) -> None:
    """OptionError for what a board cannot do."""
    if board.kind == "host" and faults:
        raise OptionError("--board host: expected a board that is emulated, for faults")
    for sample in {f.sample for f in faults} if board.kind == "cortex-m" else ():
        moments = {f.at for f in faults if f.sample == sample and f.at != 0}
        if len(moments) > 1:
            raise OptionError(f"sample {sample}: expected faults at one moment after its beginning; found {sorted(map(str, moments))}")
    for fault in faults:
        if fault.how not in HOW or (board.kind != "avr" and (fault.how != "flip" or fault.place == SKIP)):
            able = "flip, set or clear" if board.kind == "avr" else "flip"
            raise OptionError(f"faults on {board.name}: expected bits that {able}; found {fault.how!r} of {fault.place!r}")
    if any(f.mask <= 0 for f in faults):
        raise OptionError("faults: expected a mask of at least one bit")


# -- AVR ----------------------------------------------------------------------------------------------------------------


def write_avr_faults(faults: Sequence[Fault], image: Image, work: Path) -> list[Fault]:
    """faults.txt for boards/c/avr_simulator.c, sorted as it wants; returns the fault of every line."""
    known, rows = symbols(image), []
    for fault in faults:
        moment = _avr_moment(fault.at, known)
        if fault.place == SKIP:
            rows.append((fault.sample, *moment, "p", 0, 0, 0, 0, fault))
            continue
        if fault.register is not None:
            if fault.register not in _AVR_REGISTERS:
                raise OptionError(f"register {fault.register}: expected one of {', '.join(_AVR_REGISTERS)}")
            address = AVR_DATA + _AVR_REGISTERS[fault.register]
        else:
            address = address_of(fault.place, known)
        space, base = ("d", address - AVR_DATA) if address >= AVR_DATA else ("f", address)
        for i, byte in enumerate(fault.mask.to_bytes(fault.size, "little")):
            keep, flip = 255 if fault.how == "flip" else 255 & ~byte, 0 if fault.how == "clear" else byte
            rows.append((fault.sample, *moment, space, base + i, keep, flip, int(fault.stays), fault))
    rows.sort(key=lambda r: (r[0], r[2] == 0, r[1]))
    (work / "faults.txt").write_text("".join(" ".join(map(str, r[:8])) + "\n" for r in rows))
    return [r[8] for r in rows]


def _avr_moment(at: int | str, known: dict[str, int]) -> tuple[int, int]:
    """(cycle, 0), or (address of an instruction, which arrival there)."""
    if isinstance(at, int):
        return at, 0
    place, _, count = at.partition("#")
    return address_of(int(place, 0) if place[:1].isdigit() else place, known), int(count or 1)


def avr_hits(lines: Sequence[Fault], work: Path) -> list[Hit]:
    """What struck, from the simulator's hits.txt, which has a line a byte: line of faults.txt, program counter, before, after."""
    found: dict[Fault, Hit] = {}
    size: Counter[Fault] = Counter()
    for line in (work / "hits.txt").read_text().splitlines():
        index, pc, before, after = map(int, line.split())
        fault, shift = lines[index], 8 * size[lines[index]]
        whole = found.get(fault, Hit(fault, pc, 0, 0))
        found[fault] = Hit(fault, whole.pc, whole.before | before << shift, whole.after | after << shift)
        size[fault] += 1
    return list(found.values())


# -- Cortex-M -----------------------------------------------------------------------------------------------------------


def run_with_faults(board: Board, image: Image, work: Path, faults: Sequence[Fault], *, timeout: float) -> tuple[emulate.End, list[Hit]]:
    """Run an image under QEMU with faults; (how it ended, what struck)."""
    with tempfile.TemporaryDirectory(prefix="edgerun-") as short:  # a socket's path has 107 bytes, `work` may have more
        return _with_debugger(board, image, work, faults, timeout, Path(short) / "gdb")


def _with_debugger(board: Board, image: Image, work: Path, faults: Sequence[Fault], timeout: float,
                   path: Path) -> tuple[emulate.End, list[Hit]]:
    process = emulate.start(board, image, work, gdb=str(path))
    hits: list[Hit] = []
    try:
        gdb = Gdb(path, timeout=timeout)
        started = time.monotonic()
        try:
            _Injection(gdb, board, image, faults, hits).follow()
        except Ended:
            pass
        finally:
            gdb.let_go()
    except TimeoutError:
        emulate.stop(process)
        return emulate.End("timeout", f"after {timeout:g} s"), hits
    except BaseException:
        emulate.stop(process)
        raise
    return emulate.watch(process, board, work, timeout=max(0.0, timeout - (time.monotonic() - started))), hits


class _Injection:
    """Follows a run from call to call, and strikes."""

    def __init__(self, gdb: Gdb, board: Board, image: Image, faults: Sequence[Fault], hits: list[Hit]) -> None:
        self.gdb, self.board, self.faults, self.hits = gdb, board, faults, hits
        self.known = symbols(image)

    def follow(self) -> None:
        """Through all runs that have faults; what comes after them goes on by itself."""
        begin, last = self.known["board_run_begin"], max(f.sample for f in self.faults)
        self.gdb.set_breakpoint(begin)
        sample = -1
        while sample < last:
            self.gdb.go()
            sample = self.gdb.read(self.known["board_sample"], 4)
            sample -= (sample >> 31) << 32
            mine = [f for f in self.faults if f.sample == sample]
            if mine:
                self.one(mine)
        self.gdb.clear_breakpoint(begin)

    def one(self, faults: Sequence[Fault]) -> None:
        """One run with its faults, from board_run_begin to board_run_end."""
        end = self.known["board_run_end"]
        struck = [self.strike(f) for f in faults if f.at == 0]
        later = [f for f in faults if f.at != 0]
        self.gdb.set_breakpoint(end)
        if later and self.reach(later[0].at):
            struck += [self.strike(f) for f in later]
        while self.gdb.read_register("pc") != end:
            self.gdb.go()
        self.gdb.clear_breakpoint(end)
        for hit in reversed(struck):
            self.mend(hit)

    def reach(self, at: int | str) -> bool:
        """Go on to the moment of a fault; False when the run was over before."""
        if isinstance(at, str):
            stop = address_of(at, self.known)
        else:
            stop = self.known["board_alarm_hit"]
            self.gdb.write(self.known["board_alarm_ticks"], self.board.alarm_ticks(at), 4)
        self.gdb.set_breakpoint(stop)
        reached = self.gdb.go() == stop
        self.gdb.clear_breakpoint(stop)
        if reached and not isinstance(at, str):
            self.gdb.step()  # out of the handler: registers are the interrupted function's again
        return reached

    def strike(self, fault: Fault) -> Hit:
        pc = self.gdb.read_register("pc")
        if fault.register is not None:
            before = self.gdb.read_register(fault.register)
            self.gdb.write_register(fault.register, before ^ fault.mask)
            after = self.gdb.read_register(fault.register)
        else:
            address = address_of(fault.place, self.known)
            before = self.gdb.read(address, fault.size)
            self.gdb.write(address, before ^ fault.mask, fault.size)
            after = self.gdb.read(address, fault.size)
        self.hits.append(Hit(fault, pc, before, after))
        return self.hits[-1]

    def mend(self, hit: Hit) -> None:
        """Flash back as it was. RAM and registers have moved on since, and are the next run's business."""
        if hit.fault.stays or hit.fault.register is not None:
            return
        address = address_of(hit.fault.place, self.known)
        if self.board.flash[0] <= address < self.board.flash[0] + self.board.flash[1]:
            self.gdb.write(address, self.gdb.read(address, hit.fault.size) ^ hit.fault.mask, hit.fault.size)
