"""Firmware on every board: answers, reports, stack, sizes, and what a fault of the firmware becomes."""

from __future__ import annotations

import json

import firmware_case as case
import numpy as np
import pytest

from edgerun.errors import InputError, OptionError
from edgerun_tools import boards
from edgerun_tools.boards import build

ALL = [case.board(n) for n in boards.BOARDS]
EMULATED = [case.board(n) for n, b in boards.BOARDS.items() if b.kind != "host"]
CORTEX = [case.board(n) for n, b in boards.BOARDS.items() if b.kind == "cortex-m"]
ONE = ([("x", "int32", [1, 4])], [("y", "int32", [1, 4])])
SECOND = np.array([[0] * 4, [1] * 4], np.int32)
"""The first sample is harmless, the second sets the trap off."""


@pytest.mark.parametrize("name", ALL)
def test_answers_report_and_self_test(name, tmp_path):
    x = case.dense_inputs(5)
    x[4] = 0
    results = boards.run(case.dense(tmp_path / "f"), name, x, timeout=60)
    want = case.dense_answers(x)
    assert results.ok
    assert results.selftest == 0
    np.testing.assert_array_equal(results.outputs(), want)
    assert [s.report for s in results.samples] == [{"exit_taken": int(y[0, 0] > 0), "checks_passed": 70000, "faults": 0} for y in want]
    assert [s.status for s in results.samples] == [0, 0, 0, 0, 7]
    assert all(0 < s.stack < results.stack_limit for s in results.samples)
    assert all(s.count > 0 for s in results.samples) or name == "host"  # time, of which an empty call's is taken off
    assert 640 < results.image.firmware.flash < 5000
    assert results.image.firmware.ram <= results.image.whole.ram


@pytest.mark.parametrize("name", EMULATED)
def test_repeats_exactly(name, tmp_path):
    folder, x = case.dense(tmp_path / "f"), case.dense_inputs(3)
    first, second = (boards.run(folder, name, x, timeout=60) for _ in range(2))
    assert [(s.count, s.stack) for s in first.samples] == [(s.count, s.stack) for s in second.samples]


@pytest.mark.parametrize("name", ALL)
def test_several_inputs_outputs_and_dtypes(name, tmp_path):
    code = """
#include <stdint.h>
void f_run(const float *a, const int16_t *b, float *sum, uint8_t *positive) {
  for (int i = 0; i < 3; i++) {
    sum[i] = a[i] + (float)b[i];
    positive[i] = sum[i] > 0;
  }
}
"""
    outputs = [("sum", "float32", [3]), ("positive", "bool", [3])]
    folder = case.write(tmp_path / "f", code, [("a", "float32", [3]), ("b", "int16", [3])], outputs,
                        run={"symbol": "f_run", "returns": "void"})
    rng = np.random.default_rng(0)
    feed = {"b": rng.integers(-9, 9, (4, 3), dtype=np.int16), "a": rng.standard_normal((4, 3)).astype(np.float32)}
    results = boards.run(folder, name, feed, timeout=60)
    np.testing.assert_array_equal(results.outputs(0), feed["a"] + feed["b"].astype(np.float32))
    np.testing.assert_array_equal(results.outputs(1), results.outputs(0) > 0)
    assert results.outputs(1).dtype == bool


@pytest.mark.parametrize("name", CORTEX)
@pytest.mark.parametrize(("code", "why"), [
    ("__asm__ volatile(\".short 0xde00\");", "undefined instruction"),
    ("((void (*)(void))0x38000001)();", "instruction fetch"),
    ("y[0] = deep(x[0]);", "stack overflow"),
])
def test_exceptions_are_told(name, code, why, tmp_path):
    deep = "int deep(volatile int n) { volatile int a[64]; a[n & 63] = n; return deep(n + 1) + a[3]; }\n"
    folder = case.write(tmp_path / "f", f"{deep}int f_run(const int *x, int *y) {{ if (x[0]) {{ {code} }} y[0] = 5; return 0; }}", *ONE)
    results = boards.run(folder, name, SECOND, timeout=60)
    assert results.end == "fault"
    assert [s.outputs["y"][0, 0] for s in results.samples] == [5]
    assert results.fault["sample"] == 1
    assert why in results.fault["why"] or results.fault["why"] == "this core does not tell"
    assert len(results.fault["registers"]) == 22
    with pytest.raises(boards.BoardError, match="found: fault"):
        results.outputs()


@pytest.mark.parametrize("name", [case.board("microbit"), case.board("mps2-an386")])
def test_only_a_real_m0_refuses_unaligned_words(name, tmp_path):
    code = "int f_run(const int *x, int *y) { volatile unsigned a = (unsigned)x + 1u; y[0] = *(volatile int *)a; return 0; }"
    assert boards.run(case.write(tmp_path / "f", code, *ONE), name, SECOND, timeout=60).ok == (name != "microbit")


@pytest.mark.parametrize("name", [case.board(n) for n in ("mps2-an386", "atmega328p", "host")])
def test_a_loop_without_end_is_ended(name, tmp_path):
    folder = case.write(tmp_path / "f", "int f_run(const long *x, long *y) { while (x[0]) *(volatile long *)y; return 0; }", *ONE)
    results = boards.run(folder, name, SECOND, timeout=3)
    assert results.end == "timeout"
    assert len(results.samples) == 1


@pytest.mark.parametrize("name", EMULATED)
def test_a_call_past_its_limit_is_ended_the_same_every_time(name, tmp_path):
    code = "int f_run(const long *x, long *y) { while (x[0]) *(volatile long *)y; return 0; }"
    first, second = (boards.run(case.write(tmp_path / "f", code, *ONE), name, SECOND, limit=500_000, timeout=60) for _ in range(2))
    assert first.end == "timeout"
    assert len(first.samples) == 1
    assert first.fault == second.fault
    assert "limit" in first.fault["why"]
    long_enough = boards.run(case.dense(tmp_path / "g"), name, case.dense_inputs(2), limit=500_000, timeout=60)
    assert long_enough.ok


@pytest.mark.parametrize(("code", "end"), [("((void (*)(void))0)();", "restart"), ("y[0] = deep(x[0]);", "crash"),
                                           ("__asm__ volatile(\"cli\\n\\tsleep\");", "sleep")])
@pytest.mark.parametrize("name", [case.board("atmega328p")])
def test_an_avr_that_goes_astray(name, code, end, tmp_path):
    deep = "long deep(volatile long n) { volatile long a[64]; a[n & 63] = n; return deep(n + 1) + a[3]; }\n"
    more = "__asm__ volatile(\"ldi r16, 1\\n\\tout 0x33, r16\" ::: \"r16\"); " if end == "sleep" else ""  # SMCR: sleep enable
    folder = case.write(tmp_path / "f", f"{deep}int f_run(const long *x, long *y) {{ if (x[0]) {{ {more}{code} }} return 0; }}", *ONE)
    results = boards.run(folder, name, SECOND, timeout=30)
    assert results.end == end
    assert len(results.samples) == 1


@pytest.mark.parametrize("name", EMULATED)
def test_the_stack_is_measured(name, tmp_path):
    code = """
static long touch(long bytes) {
  volatile char block[bytes];
  for (long i = 0; i < bytes; i++) block[i] = (char)i;
  return block[bytes - 1];
}
long (*volatile f_touch)(long) = touch;
int f_run(const long *x, long *y) { y[0] = f_touch(x[0]); return 0; }
"""
    x = np.array([[64] * 4, [64 + 512] * 4], np.int32)
    results = boards.run(case.write(tmp_path / "f", code, *ONE), name, x, timeout=60)
    assert results.samples[1].stack - results.samples[0].stack == 512
    assert 64 <= results.samples[0].stack <= 64 + 100


@pytest.mark.parametrize("name", [case.board("mps3-an547")])
def test_mve_is_emulated_right(name, tmp_path):
    """Integer and float vectors, predicated tails, gathers, widening sums: what kernels use, on random numbers."""
    code = """
#include <arm_mve.h>
int f_run(const int8_t *a, const int8_t *b, const float *u, const float *v, int32_t *dot, int32_t *shifted, float *sum, int8_t *table) {
  int32_t s = 0;
  for (int i = 0; i < 100; i += 16) {
    mve_pred16_t p = vctp8q((uint32_t)(100 - i));
    s = vmladavaq_p_s8(s, vldrbq_z_s8(a + i, p), vldrbq_z_s8(b + i, p), p);
  }
  dot[0] = s;
  for (int i = 0; i < 100; i += 4) { /* a doubling high multiply and a rounding shift: int8 requantisation */
    int32x4_t w = vmulq_s32(vldrbq_s32(a + i), vldrbq_s32(b + i));
    w = vrshlq_s32(vqrdmulhq_n_s32(vshlq_n_s32(w, 10), 0x5a827999), vdupq_n_s32(-3));
    vst1q_s32(shifted + i, w);
  }
  float32x4_t t = vdupq_n_f32(0);
  for (int i = 0; i < 100; i += 4) t = vfmaq_f32(t, vld1q_f32(u + i), vld1q_f32(v + i));
  vst1q_f32(sum, t);
  for (int i = 0; i < 96; i += 16) {
    uint8x16_t offsets = vandq_u8(vreinterpretq_u8_s8(vldrbq_s8(b + i)), vdupq_n_u8(63));
    vstrbq_s8(table + i, vldrbq_gather_offset_s8(a, offsets));
  }
  return 0;
}
"""
    names = [("a", "int8", [100]), ("b", "int8", [100]), ("u", "float32", [100]), ("v", "float32", [100])]
    folder = case.write(tmp_path / "f", code, names, [("dot", "int32", [1]), ("shifted", "int32", [100]), ("sum", "float32", [4]),
                                                      ("table", "int8", [96])])
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-128, 128, (8, 100), dtype=np.int8) for _ in range(2))
    u, v = (rng.standard_normal((8, 100)).astype(np.float32) for _ in range(2))
    results = boards.run(folder, name, {"a": a, "b": b, "u": u, "v": v}, timeout=60)
    product = a.astype(np.int64) * b
    np.testing.assert_array_equal(results.outputs(0)[:, 0], product.sum(axis=1))
    high = (2 * (product << 10) * 0x5A827999 + (1 << 31)) >> 32
    np.testing.assert_array_equal(results.outputs(1), (high + 4) >> 3)
    lanes = (u.astype(float) * v).reshape(8, 25, 4)
    assert (abs(results.outputs(2) - lanes.sum(axis=1)) <= 25 * 2.0**-24 * abs(lanes).sum(axis=1)).all()
    np.testing.assert_array_equal(results.outputs(3), np.take_along_axis(a, (b[:, :96].astype(np.uint8) & 63).astype(int), axis=1))


@pytest.mark.parametrize("name", [case.board("mps2-an386")])
@pytest.mark.parametrize(("bad", "what"), [(np.zeros((1, 64), np.float32), "expected int8"), (np.zeros((2, 63), np.int8), "63"),
                                           ({"z": np.zeros((1, 64), np.int8)}, "expected inputs x")])
def test_inputs_that_do_not_fit(name, bad, what, tmp_path):
    with pytest.raises(InputError, match=what):
        boards.run(case.dense(tmp_path / "f"), name, bad)


@pytest.mark.parametrize("name", EMULATED)
@pytest.mark.parametrize(("code", "what"), [
    ("int f_run(const long *x, long *y) { return z; }", "undeclared"),
    ("int g(void); int f_run(const long *x, long *y) { return g(); }", "undefined reference"),
    ("static char a[900000000]; int f_run(const long *x, long *y) { for (long i = 0; i < 900000000; i++) a[i] = (char)x[0]; return a[7]; }",
     "overflow|too large|not within region|truncated"),
])
def test_c_that_does_not_build(name, code, what, tmp_path):
    if boards.BOARDS[name].kind == "avr":
        code = code.replace("900000000", "3000")
    with pytest.raises(boards.FirmwareError, match=what):
        boards.run(case.write(tmp_path / "f", code, *ONE), name, SECOND)


@pytest.mark.parametrize(("change", "what"), [
    ({"schema": "other"}, "edgerun.firmware/1"), ({"sources": ["nowhere.c"]}, "nowhere.c"), ({"inputs": [{"name": "x"}]}, "dtype"),
    ({"run": {"symbol": "a b"}}, "'a b'"), ({"report": {"type": "r", "fields": []}}, "header"), ({"sources": []}, "0 sources"),
    ({"inputs": [{"name": "x", "dtype": "complex64", "shape": [1]}]}, "complex64"),
    ({"inputs": [{"name": "x", "dtype": "i8", "shape": [1]}]}, "'i8'"), ({"inputs": [{"name": "x", "dtype": "int8", "shape": [-1]}]}, "-1"),
])
def test_manifests_that_are_wrong(change, what, tmp_path):
    folder = case.write(tmp_path / "f", "", *ONE)
    path = folder / "firmware.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(boards.FirmwareError, match=what):
        boards.read_firmware(folder)


def test_no_manifest(tmp_path):
    with pytest.raises(boards.FirmwareError, match="edgerun codegen"):
        boards.read_firmware(tmp_path)


def test_unknown_board(tmp_path):
    with pytest.raises(OptionError, match="mps2-an386"):
        boards.run(case.dense(tmp_path / "f"), "arduino", case.dense_inputs(1))


@pytest.mark.parametrize("name", list(boards.BOARDS))
def test_missing_tools_name_their_package(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(boards.ToolMissing, match=f"apt-get install {build.PACKAGES[boards.BOARDS[name].compiler]}"):
        boards.run(case.dense(tmp_path / "f"), name, case.dense_inputs(1))
