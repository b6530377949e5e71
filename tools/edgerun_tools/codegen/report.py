"""What a program needs on its core, measured before it is flashed: the target's compiler says size and stack."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgerun.errors import OptionError, PlanError
from edgerun_tools.codegen.generate import Firmware
from edgerun_tools.codegen.targets import PACKAGES, WARNINGS, Target, missing

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \(([a-z,]+)\)')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_RETURN = 2
"""Bytes of an AVR's return address, which its compiler leaves out."""
SECONDS = 600
"""That a compiler may take."""


@dataclass(frozen=True)
class Measured:
    """Bytes on the target. flash: code and constants; ram: what is static; stack: of the deepest chain of calls from run, what functions of
    the C library take of their own not included."""

    compiler: str
    flash: int
    code: int
    ram: int
    stack: int


def measure(firmware: Firmware, target: Target, optimise: str = "-O3") -> Measured:
    """Compiles for the target. OptionError where its compiler or C library is not installed, PlanError where it does not take the C: our
    defect."""
    if lacks := missing(target):
        raise OptionError(f"--report: expected {lacks}, to compile for {target.name}; found none; install it "
                          f"(Debian: apt install {PACKAGES[target.compiler]}), or leave --report out")
    with tempfile.TemporaryDirectory() as folder:
        firmware.write(folder)
        told = ("-fstack-usage", "-ffunction-sections") if target.harvard else ("-fcallgraph-info=su",)
        said = _run([target.compiler, *target.flags, *WARNINGS, optimise, *told, "-c", f"{firmware.prefix}.c", "-o", "model.o"], folder)
        if said.returncode != 0:
            raise PlanError(f"{target.compiler} refuses the generated C: {said.stderr.strip()[:1000]}; a defect of edgerun, please "
                            "report it")
        size = _run([target.compiler.replace("gcc", "size"), "-A", "model.o"], folder).stdout
        graph = _avr_graph(target, folder) if target.harvard else next(Path(folder).glob("*.ci")).read_text(encoding="utf-8")
        return _measured(target, size, graph, firmware.prefix)


def _avr_graph(target: Target, folder: str) -> str:
    """What newer compilers tell with -fcallgraph-info=su, from what avr-gcc 5 tells of each function, and the calls in the object's
    relocations. Clones of a function count as one; a call adds its return address."""
    usage = next(Path(folder).glob("*.su")).read_text(encoding="utf-8")
    frames: dict[str, int] = {}
    for m in re.finditer(r"^\S+:\d+:\d+:(\S+)\t(\d+)\t", usage, re.MULTILINE):
        name = m[1].partition(".")[0]
        frames[name] = max(frames.get(name, 0), int(m[2]) + _RETURN)
    code = _run([target.compiler.replace("gcc", "objdump"), "-dr", "model.o"], folder).stdout
    lines = [f'node: {{ title: "{name}" label: "{name}\\n{size} bytes (static)" }}' for name, size in frames.items()]
    for section in code.split("Disassembly of section .text.")[1:]:
        inside = section.partition(":")[0].partition(".")[0]
        called = re.findall(r"R_AVR_(?:CALL|13_PCREL)\s+(?:\.text\.)?(\w+)", section)
        lines += [f'edge: {{ sourcename: "{inside}" targetname: "{name}" }}' for name in {*called} - {inside} if name in frames]
    return "\n".join(lines)


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)


def _measured(target: Target, size: str, graph: str, prefix: str) -> Measured:
    sections = {m[1]: int(m[2]) for m in re.finditer(r"^(\.\S+)\s+(\d+)\s", size, re.MULTILINE)}

    def total(*names: str) -> int:
        return sum(v for k, v in sections.items() if k.startswith(names))

    code, constants = total(".text"), total(".rodata", ".srodata", ".progmem")
    data = total(".data", ".sdata")  # RISC-V keeps small data apart
    ram = data + total(".bss", ".sbss") + (total(".rodata") if target.harvard else 0)
    return Measured(target.compiler, code + constants + data, code, ram, deepest(graph, f"{prefix}_run"))


def deepest(graph: str, root: str) -> int:
    """Bytes of stack of the deepest chain of calls from `root`, by GCC's -fcallgraph-info=su; a function that comes back counts once."""
    frames = {m[1]: int(m[2]) for m in _NODE.finditer(graph)}
    calls: dict[str, set[str]] = {}
    for m in _EDGE.finditer(graph):
        calls.setdefault(m[1], set()).add(m[2])

    def depth(name: str, above: frozenset[str]) -> int:
        inner = [depth(c, above | {name}) for c in calls.get(name, ()) if c not in above]
        return frames.get(name, 0) + max(inner, default=0)

    return max((depth(n, frozenset({n})) for n in frames if n.rpartition(":")[2] == root), default=0)
