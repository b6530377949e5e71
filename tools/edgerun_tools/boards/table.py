"""The boards that generated C is run on: compiler, flags, emulator, memory, and the counter that tells instructions or cycles."""

from __future__ import annotations

from dataclasses import dataclass

from edgerun.errors import OptionError
from edgerun_tools.codegen.targets import TARGETS

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Timer:
    """A counter of an emulated board. kind: which of boards/c/timer.h; hertz: under `-icount shift=0` an instruction takes 1 ns of
    the board's time, so that a tick is 10⁹ / hertz instructions."""

    kind: str
    base: int
    hertz: int
    defines: tuple[str, ...] = ()

    @property
    def per_tick(self) -> float:
        """Instructions a tick."""
        return 1e9 / self.hertz


@dataclass(frozen=True)
class Board:
    """What is needed to build for a board and to emulate it. Sizes in bytes; `stack` is the part of RAM kept for the stack."""

    name: str
    core: str
    what: str
    compiler: str
    flags: tuple[str, ...]
    kind: str = "cortex-m"
    machine: str = ""
    timer: Timer | None = None
    vectors: int = 0
    flash: tuple[int, int] = (0, 0)
    ram: tuple[int, int] = (0, 0)
    stack: int = 64 * KIB
    unit: str = "instructions"
    cpu_hertz: int = 0
    """The clock that SysTick counts."""
    target: str = "host"
    """Of `edgerun codegen --target`."""

    def alarm_ticks(self, instructions: int) -> int:
        """Ticks of SysTick, which has 24 bits, in so many instructions, at least one. OptionError where they are too many."""
        ticks = max(1, round(instructions * self.cpu_hertz / 1e9))
        if ticks >= 1 << 24:
            raise OptionError(f"{instructions} instructions on {self.name}: expected at most {((1 << 24) - 1) * 1e9 / self.cpu_hertz:.0f}, "
                              "which its timer can count")
        return ticks


_AVR = TARGETS["avr-atmega328p"]
_CMSDK = Timer("CMSDK", 0x40000000, 25_000_000)
_SSE = Timer("SSE", 0x58100000, 32_000_000, ("BOARD_TIMER_SSE_STATUS=0x48101000u",))
_MPS2 = {"timer": _CMSDK, "flash": (0x400, 4 * MIB - 0x400), "ram": (0x20000000, 4 * MIB), "cpu_hertz": 25_000_000}


def _arm(name: str, core: str, what: str, target: str, machine: str, **more: object) -> Board:
    """A board whose core C is generated for: it is compiled as that target."""
    made = TARGETS[target]
    return Board(name, core, what, made.compiler, made.flags, machine=machine, target=target, **more)  # type: ignore[arg-type]


BOARDS = {b.name: b for b in (
    _arm("mps2-an385", "Cortex-M3", "Arm MPS2, FPGA image AN385", "cortex-m3", "mps2-an385", **_MPS2),
    _arm("mps2-an386", "Cortex-M4F", "Arm MPS2, FPGA image AN386", "cortex-m4", "mps2-an386", **_MPS2),
    _arm("mps2-an500", "Cortex-M7F", "Arm MPS2, FPGA image AN500", "cortex-m7", "mps2-an500", **_MPS2),
    _arm("mps3-an547", "Cortex-M55", "Arm MPS3, FPGA image AN547: FPU and MVE", "cortex-m55",
         "mps3-an547", timer=_SSE, flash=(0x60000000, 16 * MIB), ram=(0x21000000, 4 * MIB), cpu_hertz=32_000_000),
    _arm("mps2-an385-m0plus", "Cortex-M0+", "code for a Cortex-M0+ on the Cortex-M3 of mps2-an385, whose memory holds any model",
         "cortex-m0plus", "mps2-an385", **_MPS2),
    Board("microbit", "Cortex-M0", "BBC micro:bit: 256 KiB flash, 16 KiB RAM, refuses what a Cortex-M0 cannot do (unaligned words)",
          TARGETS["cortex-m0plus"].compiler, ("-mthumb", "-mcpu=cortex-m0"), machine="microbit", timer=Timer("NRF", 0x40008000, 16_000_000),
         flash=(0x400, 256 * KIB - 0x400), ram=(0x20000000, 16 * KIB), stack=4 * KIB, cpu_hertz=16_000_000, target="cortex-m0plus"),
    Board("atmega328p", "ATmega328P", "8-bit AVR, 32 KiB flash, 2 KiB RAM: MAED's platform, cycles are exact",
          _AVR.compiler, _AVR.flags, "avr", "atmega328p", flash=(0, 32 * KIB), ram=(0x100, 2 * KIB), stack=0, unit="cycles",
          target="avr-atmega328p"),
    Board("host", "this machine", "the machine itself: no emulator, time instead of instructions", "cc", ("-pthread",), "host",
          unit="nanoseconds"),
)}


def board_of(name: str) -> Board:
    """The board with a name; OptionError lists them."""
    if name not in BOARDS:
        raise OptionError(f"--board {name}: expected one of {', '.join(BOARDS)}")
    return BOARDS[name]
