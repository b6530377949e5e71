"""C for an RV32IMAC compiles with Debian's cross compiler, and its self-test passes under QEMU's user mode."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from firmware import of_plan
from test_cores import float_plan, int8_plan

from edgerun_tools.codegen.targets import TARGETS, WARNINGS, missing

TARGET = TARGETS["rv32imac"]
EMULATOR = "qemu-riscv32-static"
RAN = 40
START = """
#include "net.h"
void _start(void);
void _start(void) {
  register long code __asm__("a0") = %d + net_selftest();
  register long leave __asm__("a7") = 93;
  __asm__ volatile("ecall" : : "r"(code), "r"(leave));
  for (;;) continue;
}
"""
PLACES = ("__flash=0x10000", "__flash_size=8M", "__ram=0x1000000", "__ram_size=8M")
LACKS = missing(TARGET) or ("" if shutil.which(EMULATOR) else EMULATOR)


def selftest(source: str, header: str, folder: Path) -> int:
    """What the self-test returns there, plus RAN."""
    for name, text in (("net.c", source), ("net.h", header), ("start.c", START % RAN)):
        (folder / name).write_text(text, encoding="ascii")
    symbols = [f"-Wl,--defsym={p}" for p in PLACES]
    command = [TARGET.compiler, *TARGET.flags, *WARNINGS, "-O1", "-nostartfiles", "-Wl,--no-relax", *symbols, "net.c", "start.c",
               "-lm", "-o", "net.elf"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return subprocess.run([EMULATOR, "./net.elf"], cwd=folder, timeout=60, check=False).returncode


@pytest.mark.skipif(bool(LACKS), reason=f"not installed: {LACKS}")
@pytest.mark.parametrize("make", [int8_plan, pytest.param(float_plan, marks=pytest.mark.slow)])
def test_the_selftest_passes(make, tmp_path):
    sources = of_plan(make(), target="rv32imac").sources
    assert selftest(sources.source, sources.header, tmp_path) == RAN


@pytest.mark.slow
@pytest.mark.skipif(bool(LACKS), reason=f"not installed: {LACKS}")
def test_the_selftest_sees_a_changed_byte(tmp_path):
    sources = of_plan(int8_plan(), target="rv32imac").sources
    head, name, rest = sources.source.partition("golden_y_dense[")
    values = rest.partition("{\n  ")[2]
    first = values.partition(",")[0]
    changed = head + name + rest.replace("{\n  " + first, "{\n  " + str(int(first) ^ 1), 1)
    assert selftest(changed, sources.header, tmp_path) == RAN + 2
