"""The counts of instructions and cycles against loops of known length, and against QEMU's own count through a plugin."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import firmware_case as case
import numpy as np
import pytest

from edgerun_tools import boards
from edgerun_tools.boards import emulate, inject

CORTEX = [case.board(n) for n, b in boards.BOARDS.items() if b.kind == "cortex-m"]
LOOP = """
#include <stdint.h>
int f_run(const uint32_t *x, uint32_t *y) {
  uint32_t n = x[0];
  __asm__ volatile(".syntax unified\\n1:\\tsubs %0, %0, #1\\n\\tbne 1b" : "+l"(n)::"cc");
  y[0] = n;
  return 0;
}
"""
AVR_LOOP = """
#include <stdint.h>
int f_run(const uint32_t *x, uint32_t *y) {
  uint16_t n = (uint16_t)x[0];
  __asm__ volatile("1:\\tsbiw %0, 1\\n\\tbrne 1b" : "+w"(n)::"cc");
  y[0] = n;
  return 0;
}
"""
ONE = ([("x", "uint32", [1])], [("y", "uint32", [1])])
TURNS = np.array([[1], [2], [19], [20], [21], [1000], [65000], [1_000_003], [20_000_000]], np.uint32)


@pytest.mark.parametrize("name", CORTEX)
def test_a_loop_of_two_instructions(name, tmp_path):
    results = boards.run(case.write(tmp_path / "f", LOOP, *ONE), name, TURNS, timeout=120)
    counts = np.array([s.count for s in results.samples])
    extra = counts - 2.0 * TURNS[:, 0]  # the call, its arguments, the load and the store
    assert 0 < results.error <= 16
    assert extra.min() >= 5 - results.error
    assert extra.max() <= 16 + results.error
    assert np.ptp(extra) <= 2 * results.error


@pytest.mark.parametrize("name", [case.board("atmega328p")])
def test_a_loop_of_four_cycles(name, tmp_path):
    turns = TURNS[TURNS < 65536]
    results = boards.run(case.write(tmp_path / "f", AVR_LOOP, *ONE), name, turns.reshape(-1, 1), timeout=120)
    counts = np.array([s.count for s in results.samples])
    assert results.error == 0
    assert set(np.diff(counts) - 4 * np.diff(turns.astype(np.int64))) == {0}


@pytest.mark.parametrize("name", CORTEX)
def test_qemu_counts_the_same(name, tmp_path):
    """A plugin counts what the core executes from the call to the return, on a function with branches, divisions and calls."""
    plugin, source = tmp_path / "count.so", Path(__file__).with_name("count_plugin.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(source), "-o", str(plugin)], check=True)
    code = """
#include <stdint.h>
int f_run(const uint32_t *x, uint32_t *y) {
  uint32_t n = x[0], steps = 0;
  while (n > 1) {
    n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    steps += 1 + n / 1000;
  }
  y[0] = steps;
  return 0;
}
"""
    x = np.array([[1], [7], [27], [97], [871], [6171], [77031], [837799]], np.uint32)
    work = tmp_path / "work"
    results = boards.run(case.write(tmp_path / "f", code, *ONE), name, x, timeout=60, keep=work)
    image = results.image
    call = inject.symbols(image)["board_call"]
    command = emulate.command(boards.BOARDS[name], image)
    listing = subprocess.run([f"{image.tool}objdump", "-d", str(image.path)], capture_output=True, text=True, check=True).stdout
    harness = listing.split("<board_run>:")[1].split("\n\n")[0]
    returns = [int(a, 16) for a in re.findall(r"\tblx\t[^\n]*\n *([0-9a-f]+):", harness)]
    counted: list[int] = []
    for back in returns:  # board_run has a call for runs with an alarm, and one for those without
        done = subprocess.run([*command, "-plugin", f"{plugin},from={call:#x},to={back:#x}"], cwd=work, capture_output=True, text=True,
                              timeout=120, check=True)
        counted += [int(n) for n in re.findall(r"counted (\d+)", done.stderr)]
    assert len(counted) == len(x)
    # counted: after board_call's first instruction, to the one after the call; the call itself and the first make up for the last
    want = np.array(counted) - 1 + 2
    empty = 4  # blx, movs, bx and the jump of the harness: taken off every count
    assert abs(np.array([s.count for s in results.samples]) - (want - empty)).max() <= results.error
