"""Builds generated C on the host and feeds it: outputs as arrays, with the sanitizers watching."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerun.executors.python import PythonExecutor
from edgerun.planner.plan import DTYPES, Plan, Policy
from edgerun_tools.codegen import exits, golden
from edgerun_tools.codegen.emit import Golden, emit
from edgerun_tools.codegen.generate import Firmware
from edgerun_tools.codegen.targets import WARNINGS

Array = np.ndarray[Any, Any]
SANITIZED = ("-O1", "-g0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
DSP = (*SANITIZED, "-D__ARM_FEATURE_DSP=1", f"-I{Path(__file__).parent / 'acle'}", "-Wno-unused-function")
"""The paths for Arm's DSP instructions, with these written in C."""
RELATIVE, ABSOLUTE = 2e-4, 1e-6
"""Bound of a difference of floats: as tests/conformance/test_models.py holds the executors to."""
MAIN = """#include <stdio.h>
#include <stdlib.h>
#include "{prefix}.h"
{arrays}
int main(int argc, char **argv) {{
  long left = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
  if (argc < 3 && {prefix}_selftest() != {big}_OK) return 90;
  for (; left > 0; --left) {{
    {prefix}_report report;
{reads}
    int32_t said[7];
    said[0] = {prefix}_run({arguments}, &report);
    said[1] = report.exit_taken, said[2] = (int32_t)report.checks_passed, said[3] = report.faults, said[4] = report.recomputed;
    said[5] = report.first_step, said[6] = report.first_check;
{writes}
    if (fwrite(said, 1, sizeof said, stdout) != sizeof said) return 94;
  }}
  return 0;
}}
"""


def of_plan(plan: Plan, title: str = "a test", reaction: str = "flag", target: str = "host", maed: bool = False) -> Firmware:
    """C for a plan, with the Python executor's answer in its self-test."""
    inputs = golden.feeds(plan)
    runner = PythonExecutor(replace(plan, policy=Policy()))
    outputs = [a for a in runner.run(inputs).outputs if a is not None]
    made = emit(plan, "net", title, Golden(inputs, outputs, golden.tolerance(outputs)), target, reaction=reaction, maed=maed)
    return Firmware("net", made, plan, target)


@dataclass(frozen=True)
class Said:
    """What one run returned, and its report."""

    status: int
    exit_taken: int
    checks_passed: int
    faults: int
    recomputed: int
    first_step: int
    first_check: int


@dataclass(frozen=True)
class Built:
    """A compiled program."""

    plan: Plan
    path: Path

    def run(self, feeds: Sequence[Sequence[Array]], selftest: bool = True) -> list[list[Array]]:
        """Outputs for each set of inputs; none has a finding."""
        found = self.reported(feeds, selftest)
        assert all(said.status == said.faults == 0 for _, said in found), [said for _, said in found]
        return [outputs for outputs, _ in found]

    def reported(self, feeds: Sequence[Sequence[Array]], selftest: bool = True) -> list[tuple[list[Array], Said]]:
        """Outputs and report for each set of inputs; the self-test comes first, unless it is left out. An output that a run does not write
        keeps what the run before wrote."""
        data = b"".join(np.ascontiguousarray(a).tobytes() for one in feeds for a in one)
        command = [self.path, str(len(feeds)), *([] if selftest else ["-"])]
        done = subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, (done.returncode, done.stderr.decode()[:2000])
        found, at = [], 0
        for _ in feeds:
            one = []
            for port in exits.outputs(self.plan):
                slot = self.plan.slots[port.slot]
                one.append(np.frombuffer(done.stdout, DTYPES[slot.dtype], slot.elements, at).reshape(slot.shape))
                at += slot.nbytes
            found.append((one, Said(*struct.unpack_from("<7i", done.stdout, at))))
            at += 28
        assert at == len(done.stdout)
        return found


def build(firmware: Firmware, folder: Path, compiler: str = "gcc", flags: Sequence[str] = SANITIZED) -> Built:
    """Compiles without a warning, self-test included. Skips without the compiler."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    firmware.write(folder)
    plan, p = firmware.plan, firmware.prefix
    arrays, reads, writes, names = [], [], [], []
    for kind, ports in (("in", plan.inputs), ("out", exits.outputs(plan))):
        for k, port in enumerate(ports):
            slot, name = plan.slots[port.slot], f"{kind}{k}"
            names.append(name)
            arrays.append(f"static {_ctype(slot.dtype)} {name}[{max(slot.elements, 1)}];")
            if kind == "in":
                reads.append(f"    if (fread({name}, 1, {slot.nbytes}, stdin) != {slot.nbytes}) return 92;")
            else:
                writes.append(f"    if (fwrite({name}, 1, {slot.nbytes}, stdout) != {slot.nbytes}) return 93;")
    main = MAIN.format(prefix=p, big=p.upper(), arrays="\n".join(arrays), reads="\n".join(reads), writes="\n".join(writes),
                       arguments=", ".join(names))
    (folder / "main.c").write_text(main, encoding="ascii")
    command = [compiler, *WARNINGS, *flags, f"{p}.c", "main.c", "-lm", "-o", "program"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stderr == "", done.stderr[:3000]
    return Built(plan, folder / "program")


def _ctype(dtype: str) -> str:
    from edgerun_tools.codegen.text import C_TYPES

    return C_TYPES[dtype]


def agree(found: Array, truth: Array, relative: float = RELATIVE, absolute: float = ABSOLUTE) -> bool:
    """Equal; floats within the bound, NaN and infinities in the same places."""
    if truth.dtype.kind != "f":
        return bool(np.array_equal(found, truth))
    finite = np.isfinite(truth)
    if not np.array_equal(found[~finite], truth[~finite], equal_nan=True):
        return False
    largest = float(np.abs(truth[finite]).max(initial=0.0))
    return bool(np.all(np.abs(found[finite].astype(np.float64) - truth[finite]) <= relative * largest + absolute))
