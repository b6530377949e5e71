"""The cores that C is generated for: compiler, flags, and what a reference board of each has. One table."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from edgerun.errors import OptionError

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic")
"""What generated C is compiled with without a word."""


@dataclass(frozen=True)
class Target:
    """compiler: command (prefix of the binutils included); flags: of the core; flash, ram: bytes of the board meant, 0 for no bound;
    harvard: whether constants lie in program memory, where ordinary loads do not reach; mve: whether products of bytes are laid out for
    Arm's MVE (Helium)."""

    name: str
    compiler: str
    flags: tuple[str, ...]
    board: str
    flash: int = 0
    ram: int = 0
    harvard: bool = False
    mve: bool = False


_ARM = "arm-none-eabi-gcc"
_AVR = "avr-gcc"
_FPU5 = ("-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")
_FPU4 = ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
TARGETS: dict[str, Target] = {
    t.name: t
    for t in (
        Target("host", "gcc", (), "this computer"),
        Target("cortex-m0plus", _ARM, ("-mthumb", "-mcpu=cortex-m0plus"), "RP2040", 2048 * 1024, 264 * 1024),
        Target("cortex-m3", _ARM, ("-mthumb", "-mcpu=cortex-m3"), "mps2-an385", 4096 * 1024, 4096 * 1024),
        Target("cortex-m4", _ARM, ("-mthumb", "-mcpu=cortex-m4", *_FPU4), "mps2-an386", 4096 * 1024, 4096 * 1024),
        Target("cortex-m7", _ARM, ("-mthumb", "-mcpu=cortex-m7", *_FPU5), "mps2-an500", 4096 * 1024, 4096 * 1024),
        Target("cortex-m55", _ARM, ("-mthumb", "-mcpu=cortex-m55", "-mfloat-abi=hard"), "mps3-an547", 16384 * 1024, 4096 * 1024,
               mve=True),
        Target("rv32imac", "riscv64-unknown-elf-gcc", ("-march=rv32imac", "-mabi=ilp32", "--specs=picolibc.specs"), "any"),
        Target("avr-atmega328p", _AVR, ("-mmcu=atmega328p",), "atmega328p", 32 * 1024, 2 * 1024, harvard=True),
    )
}
"""Name → target. `ram` and `flash` are bounds for --max-ram and --max-flash where the caller gives none."""


PACKAGES = {"gcc": "gcc libc6-dev", _ARM: "gcc-arm-none-eabi libnewlib-arm-none-eabi", _AVR: "gcc-avr avr-libc",
            "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf"}
"""Compiler → its Debian packages, C library included."""


def target(name: str) -> Target:
    """The target of a name. OptionError."""
    if name not in TARGETS:
        raise OptionError(f"--target: expected one of {', '.join(TARGETS)}; found {name!r}")
    return TARGETS[name]


def missing(target: Target) -> str:
    """What of the target's tools is not installed: its compiler's name, or its C library (Debian packs the two apart); "" for nothing."""
    if shutil.which(target.compiler) is None:
        return f"{target.compiler} on the path"
    asked = [target.compiler, *target.flags, "-E", "-x", "c", "-"]
    done = subprocess.run(asked, input=b"#include <math.h>\n#include <string.h>\n", capture_output=True, timeout=60, check=False)
    return "" if done.returncode == 0 else f"a C library for {target.compiler}"
