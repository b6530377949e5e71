"""Faults in the middle of runs: what strikes, where and when, and what becomes of it."""

from __future__ import annotations

import firmware_case as case
import numpy as np
import pytest

from edgerun.errors import OptionError
from edgerun_tools import boards
from edgerun_tools.boards.inject import Fault, check

CORTEX = [case.board(n) for n in ("mps2-an386", "mps3-an547", "microbit")]
EMULATED = [*CORTEX, case.board("atmega328p")]
COUNTER = """
#include <stdint.h>
volatile uint32_t f_counter, f_mark;
int f_run(const uint32_t *x, uint32_t *y) {
  f_mark = 0;
  for (f_counter = 0; f_counter < x[0];) f_counter = f_counter + 1;
  y[0] = f_mark;
  return 0;
}
"""
ONE = ([("x", "uint32", [1])], [("y", "uint32", [1])])


def difference(results: boards.Results, x: np.ndarray) -> np.ndarray:
    """[samples, 10]: what the faults did to the answers."""
    return results.outputs().reshape(-1, 10) - case.dense_answers(x).reshape(-1, 10)


@pytest.mark.parametrize("name", EMULATED)
def test_a_weight_flips_and_is_mended(name, tmp_path):
    """Bit 6 of weight 2 of the first row: the first answer changes by ±64 x[2] in that run, and in no other where weights are in flash."""
    x = case.dense_inputs(4)
    results = boards.run(case.dense(tmp_path / "f"), name, x, faults=[Fault(1, 0, "f_weights+2", 0x40)], timeout=60)
    got, want = difference(results, x), np.zeros((4, 10), int)
    sign = -1 if int(case.dense_weights()[0, 2]) & 0x40 else 1
    in_flash = name != "atmega328p"  # whose compiler puts constants into RAM
    for sample in (1,) if in_flash else (1, 2, 3):
        want[sample, 0] = sign * 0x40 * int(x[sample, 0, 2])
    np.testing.assert_array_equal(got, want)
    (hit,) = results.hits
    assert hit.before == int(case.dense_weights()[0, 2]) & 0xFF
    assert hit.after == hit.before ^ 0x40


@pytest.mark.parametrize("name", [case.board("atmega328p")])
@pytest.mark.parametrize(("how", "after"), [("flip", 0b10), ("set", 0b11), ("clear", 0)])
def test_bits_that_flip_or_stick(name, how, after, tmp_path):
    """The lowest two bits of what the loop counts, 1 at its second turn."""
    folder = case.write(tmp_path / "f", COUNTER, *ONE)
    results = boards.run(folder, name, np.full((1, 1), 5, np.uint32), faults=[Fault(0, 0, "f_mark", 1), Fault(0, 60, "f_mark", 3, how=how)],
                         timeout=60)
    first, second = sorted(results.hits, key=lambda h: h.fault.at)
    assert (first.before, first.after) == (0, 1)
    assert second.after == {"flip": second.before ^ 3, "set": second.before | 3, "clear": second.before & ~3}[how]


@pytest.mark.parametrize(("how", "place"), [("set", "f_mark"), ("flip", "instruction"), ("melt", "f_mark")])
def test_what_only_an_avr_can(how, place):
    with pytest.raises(OptionError, match="faults on mps2-an386: expected bits that flip"):
        check([Fault(0, 1, place, 1, how=how)], boards.BOARDS["mps2-an386"])


@pytest.mark.parametrize("name", CORTEX)
def test_a_weight_that_stays_flipped(name, tmp_path):
    x = case.dense_inputs(4)
    results = boards.run(case.dense(tmp_path / "f"), name, x, faults=[Fault(1, 0, "f_weights+2", 0x40, stays=True)], timeout=60)
    assert difference(results, x).any(axis=1).tolist() == [False, True, True, True]


@pytest.mark.parametrize("name", EMULATED)
@pytest.mark.parametrize("at", [1000, 5000, 40000])
def test_it_strikes_when_it_should(name, at, tmp_path):
    """A counter in RAM tells how far the run was: its value is the time so far over the time of a turn, known from two clean runs."""
    folder = case.write(tmp_path / "f", COUNTER, *ONE)
    x = np.array([[1000], [9000], [9000]], np.uint32)
    clean = boards.run(folder, name, x, timeout=60)
    per_turn = (clean.samples[1].count - clean.samples[0].count) / 8000
    faults = [Fault(1, at, "f_counter", 1 << 20), Fault(1, at, "f_mark", 1 << 20)]
    results = boards.run(folder, name, x, faults=faults, timeout=60)
    hit = results.hits[0]  # may be lost, between the counter's load and its store
    assert (hit.before ^ hit.after, len(results.hits)) == (1 << 20, 2)
    tolerance = 2 * per_turn + (0 if name == "atmega328p" else 2 * 62.5 + 40)
    assert abs(hit.before * per_turn - at) <= tolerance
    assert results.outputs().ravel().tolist() == [0, 1 << 20, 0]


@pytest.mark.parametrize("name", EMULATED)
def test_it_strikes_the_same_every_time(name, tmp_path):
    """Also on an image that is there already."""
    folder, x = case.dense(tmp_path / "f"), case.dense_inputs(2)
    image = boards.run(folder, name, x, timeout=60, keep=tmp_path / "kept").image
    runs = [boards.run(folder, name, x, faults=[Fault(1, 777, "f_arena", 0x10)], timeout=60, image=i) for i in (None, image)]
    assert runs[0].hits == runs[1].hits
    assert len(runs[0].hits) == 1
    np.testing.assert_array_equal(runs[0].outputs(), runs[1].outputs())


@pytest.mark.parametrize("name", CORTEX)
def test_a_register_flips(name, tmp_path):
    """The loop's counter is a register: 2^12 fewer turns."""
    code = """
#include <stdint.h>
int f_run(const uint32_t *x, uint32_t *y) {
  uint32_t n = x[0], done = 0;
  __asm__ volatile(".syntax unified\\n\\tmov r4, %0\\n\\tmovs r5, #0\\n"
                   "1:\\tadds r5, r5, #1\\n\\tsubs r4, r4, #1\\n\\tbne 1b\\n\\tmov %1, r5"
                   : "+l"(n), "=l"(done)::"r4", "r5", "cc");
  y[0] = done;
  return 0;
}
"""
    x = np.array([[0x1F00]] * 3, np.uint32)
    results = boards.run(case.write(tmp_path / "f", code, *ONE), name, x, faults=[Fault(1, 1000, "register r4", 0x1000)], timeout=60)
    assert results.outputs().ravel().tolist() == [0x1F00, 0x0F00, 0x1F00]
    (hit,) = results.hits
    assert 0x1F00 - hit.before == pytest.approx(1000 / 3, abs=60)


@pytest.mark.parametrize("name", [case.board("mps2-an386"), case.board("mps3-an547")])
def test_a_float_register_flips(name, tmp_path):
    code = """
int f_run(const float *x, float *y) {
  float sum = x[0];
  __asm__ volatile("vmov s8, %0\\n\\tmov r4, #2000\\n1:\\tsubs r4, r4, #1\\n\\tbne 1b\\n\\tvmov %0, s8" : "+r"(sum)::"s8", "r4", "cc");
  y[0] = sum;
  return 0;
}
"""
    folder = case.write(tmp_path / "f", code, [("x", "float32", [1])], [("y", "float32", [1])])
    x = np.array([[1.5]] * 3, np.float32)
    results = boards.run(folder, name, x, faults=[Fault(1, 900, "register d4", 1 << 31)], timeout=60)
    assert results.outputs().ravel().tolist() == [1.5, -1.5, 1.5]


@pytest.mark.parametrize("name", CORTEX)
def test_at_the_entry_of_a_function(name, tmp_path):
    code = """
#include <stdint.h>
static uint32_t f_value;
__attribute__((noinline)) uint32_t f_step(uint32_t x) { __asm__ volatile(""); return x + f_value; }
int f_run(const uint32_t *x, uint32_t *y) {
  f_value = x[0];
  y[0] = f_step(x[0]);
  f_value = x[0];
  return 0;
}
"""
    x = np.array([[8], [8]], np.uint32)
    results = boards.run(case.write(tmp_path / "f", code, *ONE), name, x, faults=[Fault(0, "f_step", "f_value", 0x100)], timeout=60)
    assert results.outputs().ravel().tolist() == [8 + 8 + 0x100, 16]


@pytest.mark.parametrize("name", CORTEX)
def test_a_lost_program_counter_ends_as_data(name, tmp_path):
    folder, x = case.dense(tmp_path / "f"), case.dense_inputs(4)
    results = boards.run(folder, name, x, faults=[Fault(2, 500, "register pc", 1 << 31)], timeout=20)
    assert results.end in ("fault", "lockup")
    assert len(results.samples) == 2


@pytest.mark.parametrize("name", CORTEX)
def test_a_jump_onto_a_call_of_the_emulator_ends_as_data(name, tmp_path):
    """The program lands on a semihosting breakpoint with whatever number stands in r0, for which QEMU aborts."""
    code = """
#include <stdint.h>
int f_run(const uint32_t *x, uint32_t *y) {
  y[0] = x[0];
  if (x[0] == 7) __asm__ volatile("movs r0, #0\\n\\tbkpt 0xab" ::: "r0");
  return 0;
}
"""
    results = boards.run(case.write(tmp_path / "f", code, *ONE), name, np.array([[6], [7], [8]], np.uint32), timeout=60)
    assert results.end == "exit"
    assert [s.outputs["y"].tolist() for s in results.samples] == [[6]]


@pytest.mark.parametrize("name", EMULATED)
def test_a_run_that_hangs_after_its_fault_is_ended(name, tmp_path):
    """The counter's upper bits flip: two thousand million turns to go, but for the limit. Where that falls between the counter's load
    and its store nothing comes of it, so several runs are hit, at different places of the loop."""
    x = np.array([[5000]] * 6, np.uint32)
    folder = case.write(tmp_path / "f", COUNTER.replace("f_counter < x[0]", "f_counter != x[0]"), *ONE)
    clean = boards.run(folder, name, x, timeout=60, keep=tmp_path / "kept")
    count = int(clean.samples[0].count)
    faults = [Fault(i, count // 2 + 50 * i, "f_counter", 0xC0000000) for i in range(1, 6)]
    results = boards.run(folder, name, x, faults=faults, limit=2 * count, timeout=60, image=clean.image)
    assert results.end == "timeout"
    assert "limit" in results.fault["why"]
    assert 1 <= len(results.samples) == len(results.hits) < 6


@pytest.mark.parametrize("name", [case.board("mps2-an386")])
def test_a_fault_after_the_end_does_not_strike(name, tmp_path):
    x = case.dense_inputs(2)
    results = boards.run(case.dense(tmp_path / "f"), name, x, faults=[Fault(0, 10**6, "f_arena", 1)], timeout=60)
    assert results.hits == []
    assert not difference(results, x).any()


@pytest.mark.parametrize(("name", "faults", "what"), [
    (case.board("mps2-an386").values[0], [Fault(0, 0, "f_nowhere", 1)], "f_nowhere"),
    (case.board("mps2-an386").values[0], [Fault(0, 0, "f_arena", 0)], "mask"),
    (case.board("mps2-an386").values[0], [Fault(0, 5, "f_arena", 1), Fault(0, 6, "f_arena", 1)], "one moment"),
    (case.board("mps2-an386").values[0], [Fault(0, 10**12, "f_arena", 1)], "at most"),
    ("host", [Fault(0, 0, "f_arena", 1)], "emulated"),
])
@pytest.mark.skipif(bool(case.missing("mps2-an386")), reason=case.missing("mps2-an386"))
def test_faults_that_cannot_be(name, faults, what, tmp_path):
    with pytest.raises(OptionError, match=what):
        boards.run(case.dense(tmp_path / "f"), name, case.dense_inputs(1), faults=faults, timeout=30)
