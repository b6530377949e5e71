"""Counts the instructions that convolution and matmul kernels execute on Arm (aarch64), float32 against int8.

    python tools/dev/count_instructions.py

Needs g++-aarch64-linux-gnu and qemu-user (the dynamic one: qemu-user-static loads no plugins; $QEMU_AARCH64 names another path).
Builds the kernels with the preset `aarch64`, runs every layer of count/run_kernel.cpp N and no times under qemu with count/plugin.c,
and prints, for each, the instructions per multiply-add of the direct definition. These are counts, not times: no
cache, no latency, and a load counts as much as 32 products in one instruction. One thread, no checks, ReLU.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNT = ROOT / "tools/dev/count"
RUNS = 4
# column: dtype of the layer, instruction set
COLUMNS = {"float32": ("f32", "neon"), "int8 neon": ("i8", "neon"), "neondot": ("i8", "neondot"), "neoni8mm": ("i8", "neoni8mm")}


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT, env=os.environ | environment, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done


def build(folder: Path) -> tuple[Path, Path]:
    """The program for Arm, and the plugin for this machine."""
    run("cmake", "--preset", "aarch64")
    run("cmake", "--build", "--preset", "aarch64", "--target", "edgerun_kernels")
    program, plugin = folder / "run_kernel", folder / "plugin.so"
    run("aarch64-linux-gnu-g++", "-static", "-O3", "-std=gnu++17", "-Ikernels/cpp", "-Itests/engine", COUNT / "run_kernel.cpp",
        "build/aarch64/libedgerun_kernels.a", "-o", program)
    run("gcc", "-shared", "-fPIC", "-O2", COUNT / "plugin.c", "-o", plugin)
    return program, plugin


def main() -> None:
    qemu = os.environ.get("QEMU_AARCH64", "qemu-aarch64")
    with tempfile.TemporaryDirectory() as folder:
        program, plugin = build(Path(folder))

        def executed(layer: str, column: str, runs: int) -> int:
            dtype, isa = COLUMNS[column]
            return int(run(qemu, "-cpu", "max", "-plugin", f"file={plugin}", program, layer, dtype, str(runs), EDGERUN_ISA=isa).stderr)

        print("| layer |", " | ".join(COLUMNS), "| float32 / neon | / neondot | / neoni8mm |")
        print("|---" * (len(COLUMNS) + 4) + "|")
        for line in run(qemu, program).stdout.splitlines():
            layer, macs = line.split("\t")
            each = [(executed(layer, c, RUNS) - executed(layer, c, 0)) / RUNS / int(macs) for c in COLUMNS]
            print(f"| {layer} |", " | ".join(f"{n:.3f}" for n in each), "|", " | ".join(f"{each[0] / n:.2f}" for n in each[1:]), "|",
                  flush=True)


if __name__ == "__main__":
    main()
