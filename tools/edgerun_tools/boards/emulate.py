"""Run an image: under QEMU, in simavr, or on this machine; watch the results grow; end it when time is up."""

from __future__ import annotations

import functools
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgerun_tools.boards.build import PACKAGES, C, Image, tool
from edgerun_tools.boards.errors import BoardError, ToolMissing
from edgerun_tools.boards.table import Board

Tick = Callable[[int], None]
"""Told the bytes of out.bin so far."""
LOCKUP, NO_SUCH_CALL = "Lockup", "Unsupported SemiHosting SWI"
"""What QEMU says on stderr before it gives up."""
LONGEST_WORDS = 400
POLL = 0.05


@dataclass(frozen=True)
class End:
    """How a run ended (results.Results.end), and in the emulator's words."""

    how: str
    words: str = ""


def command(board: Board, image: Image, *, gdb: str | None = None, limit: int = 0) -> list[str]:
    """The emulator's command line. gdb: path of a socket where QEMU waits for a debugger before the first instruction.
    limit: cycles of a call on an AVR, 0 for any number."""
    if board.kind == "host":
        return [str(image.path.absolute())]
    if board.kind == "avr":
        return [str(simulator(image.path.parent)), str(image.path.absolute()), board.machine, str(limit)]
    wait = ["-S", "-chardev", f"socket,id=gdb,path={gdb},server=on,wait=off", "-gdb", "chardev:gdb"] if gdb else []
    # shift=0: an instruction takes 1 ns of the board's time, whatever it costs here
    return [tool("qemu-system-arm"), "-M", board.machine, "-nodefaults", "-nic", "none", "-display", "none", "-monitor", "none",
            "-serial", "none", "-semihosting-config", "enable=on,target=native", "-icount", "shift=0",
            "-kernel", str(image.path.absolute()), *wait]


def simulator(work: Path) -> Path:
    """Compile the simulator of AVRs; ToolMissing where libsimavr is."""
    path, source = work.absolute() / "avr_simulator", C / "avr_simulator.c"
    if path.exists() and path.stat().st_mtime > source.stat().st_mtime:
        return path
    done = subprocess.run([tool("cc"), "-O2", f"-I{C}", str(source), "-o", str(path), "-lsimavr", "-lelf"],
                          capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        missing = "simavr/" in done.stderr or "-lsimavr" in done.stderr or "elf" in done.stderr
        raise ToolMissing(f"libsimavr: expected the library and its headers; not found. On Debian: apt-get install "
                          f"{PACKAGES['libsimavr']}") if missing else BoardError(f"avr_simulator.c: {done.stderr[:LONGEST_WORDS]}")
    return path


def missing(board: Board) -> list[str]:
    """Debian packages without which a board cannot be used here; those of the C library are not looked for."""
    tools = [board.compiler, *{"cortex-m": ["qemu-system-arm"], "avr": ["cc"]}.get(board.kind, [])]
    found = [PACKAGES[t] for t in tools if shutil.which(t) is None]
    if board.kind == "avr" and shutil.which("cc"):
        seen = subprocess.run([tool("cc"), "-xc", "-E", "-"], input="#include <simavr/sim_avr.h>", capture_output=True, text=True)
        found += [PACKAGES["libsimavr"]] if seen.returncode != 0 else []
    return found


@functools.cache
def version(board: Board) -> str:
    """The emulator's name and version."""
    if board.kind == "host":
        return "none"
    if board.kind == "avr":
        return "libsimavr"
    return subprocess.run([tool("qemu-system-arm"), "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def emulate(board: Board, image: Image, work: Path, *, timeout: float, limit: int = 0, tick: Tick | None = None) -> End:
    """Run to the end, at most `timeout` seconds; in.bin, out.bin, fault.bin lie in `work`. BoardError where the emulator fails."""
    process = start(board, image, work, limit=limit)
    return watch(process, board, work, timeout=timeout, tick=tick)


def start(board: Board, image: Image, work: Path, *, gdb: str | None = None, limit: int = 0) -> subprocess.Popen[str]:
    """The emulator as a process in the folder `work`, where the image finds its files."""
    for name in ("out.bin", "fault.bin"):
        (work / name).unlink(missing_ok=True)
    words = command(board, image, gdb=gdb, limit=limit)
    with (work / "stdout.txt").open("w") as stdout, (work / "stderr.txt").open("w") as stderr:  # no pipe, which could run full
        try:
            return subprocess.Popen(words, cwd=work, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True)
        except OSError as e:
            raise BoardError(f"{words[0]}: expected a program that starts; found: {e}") from e


def stop(process: subprocess.Popen[str]) -> None:
    """End the emulator, if it still runs."""
    process.kill()
    process.wait()


def watch(process: subprocess.Popen[str], board: Board, work: Path, *, timeout: float, tick: Tick | None = None) -> End:
    """Wait for the end, and say which it was. The process is gone afterwards, whatever happens."""
    results, until = work / "out.bin", time.monotonic() + timeout
    try:
        while process.poll() is None:
            if time.monotonic() > until:
                return End("timeout", f"after {timeout:g} s")
            if tick is not None and results.exists():
                tick(results.stat().st_size)
            try:
                process.wait(POLL)
            except subprocess.TimeoutExpired:
                continue
    finally:
        stop(process)
    if tick is not None and results.exists():
        tick(results.stat().st_size)
    return _end(process.returncode, board, work)


def _end(code: int, board: Board, work: Path) -> End:
    words = "\n".join(line for line in (work / "stderr.txt").read_text(errors="replace").splitlines() if "has no peer" not in line)
    if board.kind == "avr" and code == 0:
        printed = (work / "stdout.txt").read_text(errors="replace")
        how, _, value = (printed.strip().splitlines() or [""])[-1].partition(" ")  # libsimavr prints lines of its own before
        where = f"program counter {int(value):#06x}" if value.isdigit() else words[-LONGEST_WORDS:]
        late = "a call took longer than its limit, " if how == "timeout" else ""
        return End(how or "emulator", "" if how == "ok" else late + where)
    if (work / "fault.bin").exists():
        return End("timeout" if code == 4 else "fault", "a call took longer than its limit" if code == 4 else "")
    if code == 0:
        return End("ok")
    if LOCKUP in words:
        return End("lockup", words[:LONGEST_WORDS])
    if NO_SUCH_CALL in words:
        return End("exit", "the program called the emulator with a number that means nothing; did a jump go astray?")
    if code == 2:
        return End("exit", "the harness could not read its inputs or write its results; were its registers or its stack damaged?")
    if board.kind == "host" and code < 0:
        return End("crash", f"signal {-code}")
    raise BoardError(f"{board.name}: expected the emulator to run; it ended with {code}: {words[-LONGEST_WORDS:] or 'no word'}")
