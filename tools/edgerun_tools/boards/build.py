"""A test image of a firmware folder: compile its C and the harness for a board, link, and take its sizes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgerun.errors import OptionError
from edgerun_tools.boards.case import case_source
from edgerun_tools.boards.errors import BoardError, FirmwareError, ToolMissing
from edgerun_tools.boards.manifest import Firmware
from edgerun_tools.boards.table import Board
from edgerun_tools.codegen import targets

C = Path(__file__).parent / "c"
PACKAGES = targets.PACKAGES | {"cc": targets.PACKAGES["gcc"], "qemu-system-arm": "qemu-system-arm",
                               "libsimavr": f"libsimavr-dev libelf-dev {targets.PACKAGES['gcc']}"}
"""Debian packages by what they bring."""
OPTIMISATIONS = ("0", "1", "2", "3", "s", "g")
PLATFORM = {"cortex-m": ("cortex_m.c", "cortex_m_run.c"), "avr": ("avr.c",), "host": ("host.c",)}
LONGEST_ERROR = 1500
TELLING = ("error", "overflow", "undefined reference", "region")
"""In the lines of a compiler or linker that say what is wrong."""
SECONDS = 600
"""A compiler may take so long for one file."""


@dataclass(frozen=True)
class Sizes:
    """Bytes: flash is code, constants and the first values of variables; ram is variables, without the stack."""

    flash: int
    ram: int


@dataclass(frozen=True)
class Image:
    """A linked test image. firmware: its own objects before linking, without the libraries; whole: with harness and libraries."""

    path: Path
    tool: str
    """Path of the compiler's companions without their names, as in …/arm-none-eabi-."""
    compiler: str
    flags: tuple[str, ...]
    firmware: Sizes
    whole: Sizes


def tool(name: str) -> str:
    """The path of a program; ToolMissing says which Debian package has it."""
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name}: expected on PATH; not found. On Debian: apt-get install {PACKAGES[name]}")
    return found


def build(firmware: Firmware, board: Board, work: Path, *, opt: str = "3") -> Image:
    """Compile and link in the folder `work`. opt: of the compiler's -O, for the firmware; the harness always has -O2.
    ToolMissing, FirmwareError (does not compile, does not fit), OptionError."""
    if opt not in OPTIMISATIONS:
        raise OptionError(f"--opt {opt}: expected one of {', '.join(OPTIMISATIONS)}")
    compiler = tool(board.compiler)
    _require_library(board, compiler)
    work.mkdir(parents=True, exist_ok=True)
    (work / "case.c").write_text(case_source(firmware), encoding="utf-8")
    common = [compiler, "-std=c99", *board.flags, "-ffunction-sections", "-fdata-sections", "-g1",
              *(f"-I{(firmware.folder / i).absolute()}" for i in (".", *firmware.includes)), f"-I{C}"]
    own = [f"-O{opt}", *(f"-D{d}" for d in firmware.defines), *firmware.flags]
    objects = [_compile([*common, *own], firmware.folder.absolute() / s, work / f"firmware{i}.o")
               for i, s in enumerate(firmware.sources)]
    shell = [_compile([*common, "-O2", *_defines(board)], source, work / f"{source.stem}.o")
             for source in (work.absolute() / "case.c", C / "main.c", *(C / f for f in PLATFORM[board.kind]))]
    path = work / "image.elf"
    _do([compiler, *board.flags, "-g1", *shell, *objects, *_link(board), "-lm", "-o", path], "link")
    tools = compiler.removesuffix("gcc").removesuffix("cc")
    image = Image(path, tools, _version(compiler), (*board.flags, f"-O{opt}", *firmware.flags), _sizes(tools, objects),
                  _sizes(tools, [path], board.stack if board.kind == "cortex-m" else 0))
    if board.kind == "avr" and image.whole.ram > board.ram[1]:  # avr-libc's linker script allows 64 KiB of RAM
        raise FirmwareError(f"{firmware.folder}: expected variables of at most {board.ram[1]} bytes, which {board.name} has; found "
                            f"{image.whole.ram}")
    return image


def _require_library(board: Board, compiler: str) -> None:
    """ToolMissing where the compiler has no C library: Debian packs the two apart."""
    if board.kind != "host":
        found = _do([compiler, *board.flags, "-print-file-name=libm.a"], "find the C library").strip()
        if not Path(found).is_absolute():
            raise ToolMissing(f"{board.compiler}: expected a C library for {board.core}; found none. On Debian: apt-get install "
                              f"{PACKAGES[board.compiler]}")


def _defines(board: Board) -> list[str]:
    timer = board.timer
    return [] if timer is None else [f"-DBOARD_TIMER_{timer.kind}={timer.base:#x}u", *(f"-D{d}" for d in timer.defines)]


def _link(board: Board) -> list[str | Path]:
    if board.kind != "cortex-m":
        return ["-Wl,--gc-sections"]
    places = {"vectors_at": board.vectors, "flash_at": board.flash[0], "flash_bytes": board.flash[1], "ram_at": board.ram[0],
              "ram_bytes": board.ram[1], "stack_bytes_wanted": board.stack}
    # --defsym before -T: the script uses the symbols in MEMORY
    symbols = (f"-Wl,--defsym=board_{k}={v}" for k, v in places.items())
    return [*symbols, f"-Wl,-T,{C / 'cortex_m.ld'}", "-nostartfiles", "-Wl,--gc-sections"]


def _compile(command: Sequence[str | Path], source: Path, target: Path) -> Path:
    _do([*command, "-c", source, "-o", target], f"compile {source.name}")
    return target


def _do(command: Sequence[str | Path], what: str) -> str:
    """What a tool prints; FirmwareError with the beginning of what it complains about."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise BoardError(f"{what}: expected {command[0]} to run and end; found: {e}") from e
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if any(w in line for w in TELLING) and "collect2" not in line]
        raise FirmwareError(f"{what}: expected C that {Path(command[0]).name} takes and that fits the board; found: "
                            f"{chr(10).join(lines or [done.stderr])[:LONGEST_ERROR]}")
    return done.stdout


def _version(compiler: str) -> str:
    return _do([compiler, "--version"], "ask for the version").splitlines()[0]


def _sizes(tools: str, files: Sequence[Path], stack: int = 0) -> Sizes:
    rows = [list(map(int, line.split()[:3])) for line in _do([f"{tools}size", "-B", "-d", *files], "take sizes").splitlines()[1:]]
    text, data, bss = (sum(column) for column in zip(*rows, strict=True))
    return Sizes(text + data, data + bss - stack)
