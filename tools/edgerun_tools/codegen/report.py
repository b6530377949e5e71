"""What a program needs on its core, measured before it is flashed: the target's compiler says size and stack."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgerun.errors import OptionError, PlanError
from edgerun_tools.codegen.generate import Firmware
from edgerun_tools.codegen.targets import PACKAGES, WARNINGS, Target

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \(([a-z,]+)\)')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
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
    """Compiles for the target. OptionError where its compiler is not installed, PlanError where it does not take the C (our defect)."""
    if shutil.which(target.compiler) is None:
        raise OptionError(f"--report: expected {target.compiler} on the path, which compiles for {target.name}; found none; install it "
                          f"(Debian: apt install {PACKAGES[target.compiler]}), or leave --report out")
    with tempfile.TemporaryDirectory() as folder:
        firmware.write(folder)
        said = _run([target.compiler, *target.flags, *WARNINGS, optimise, "-fcallgraph-info=su", "-c", f"{firmware.prefix}.c",
                     "-o", "model.o"], folder)
        if said.returncode != 0:
            raise PlanError(f"{target.compiler} refuses the generated C: {said.stderr.strip()[:1000]}; a defect of edgerun, please "
                            "report it")
        size = _run([target.compiler.replace("gcc", "size"), "-A", "model.o"], folder).stdout
        graph = next(Path(folder).glob("*.ci"))
        return _measured(target, size, graph.read_text(encoding="utf-8"), firmware.prefix)


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)


def _measured(target: Target, size: str, graph: str, prefix: str) -> Measured:
    sections = {m[1]: int(m[2]) for m in re.finditer(r"^(\.\S+)\s+(\d+)\s", size, re.MULTILINE)}

    def total(*names: str) -> int:
        return sum(v for k, v in sections.items() if k.startswith(names))

    code, constants, data = total(".text"), total(".rodata", ".srodata"), total(".data", ".sdata")  # RISC-V keeps small data apart
    return Measured(target.compiler, code + constants + data, code, data + total(".bss", ".sbss"), deepest(graph, f"{prefix}_run"))


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
