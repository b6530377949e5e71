"""Small firmware folders of the form that `edgerun codegen` writes, with real arithmetic in them, and what runs them here."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from edgerun_tools.boards import BOARDS, emulate


@functools.cache
def missing(name: str) -> str:
    """Why a board cannot be used here, or nothing."""
    packages = emulate.missing(BOARDS[name])
    return f"{name} needs the Debian packages {' '.join(packages)}" if packages else ""


def board(name: str):
    """A parameter that is skipped, with the reason, where the board's tools are absent."""
    return pytest.param(name, marks=pytest.mark.skipif(bool(missing(name)), reason=missing(name)))


def write(folder: Path, code: str, inputs: list, outputs: list, header: str = "", **more) -> Path:
    """A folder with firmware.json; inputs, outputs: (name, dtype, shape). `f_run` is the function."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "f.c").write_text(code)
    if header:
        (folder / "f.h").write_text(header)
    tensors = {g: [{"name": n, "dtype": d, "shape": s} for n, d, s in group] for g, group in (("inputs", inputs), ("outputs", outputs))}
    (folder / "firmware.json").write_text(json.dumps({
        "schema": "edgerun.firmware/1", "prefix": "f", "target": "any", "sources": ["f.c"], "header": "f.h" if header else None,
        "run": {"symbol": "f_run", "returns": "int"}, "report": None, "selftest": None, **tensors, **more}))
    return folder


DENSE_HEADER = """
#include <stdint.h>
typedef struct { int16_t exit_taken; uint32_t checks_passed; uint16_t faults; } f_report;
int f_run(const int8_t *x, int32_t *y, f_report *report);
int f_selftest(void);
"""
DENSE = """
#include "f.h"
#include <string.h>
static int32_t f_arena[10];
static const int8_t f_weights[10][64] = {%s};
int f_run(const int8_t *x, int32_t *y, f_report *report) {
  for (int i = 0; i < 10; i++) {
    f_arena[i] = 0;
    for (int k = 0; k < 64; k++) f_arena[i] += f_weights[i][k] * x[k];
  }
  for (int i = 0; i < 10; i++) y[i] = f_arena[i];
  if (report) {
    report->exit_taken = (int16_t)(y[0] > 0);
    report->checks_passed = 70000u;
    report->faults = 0;
  }
  return y[1] == y[2] ? 7 : 0;
}
int f_selftest(void) {
  int8_t ones[64];
  int32_t y[10];
  memset(ones, 1, sizeof ones);
  f_run(ones, y, 0);
  return y[0] == %d ? 0 : 1;
}
"""


def dense_weights() -> np.ndarray:
    return np.random.default_rng(3).integers(-128, 128, (10, 64), dtype=np.int8)


def dense(folder: Path) -> Path:
    """y = W x on integers, with a report and a self-test."""
    w = dense_weights()
    code = DENSE % (", ".join("{" + ", ".join(map(str, row)) + "}" for row in w), w[0].astype(int).sum())
    return write(folder, code, [("x", "int8", [1, 64])], [("y", "int32", [1, 10])], DENSE_HEADER,
                 run={"symbol": "f_run", "returns": "int", "arguments": ["inputs", "outputs", "report"]},
                 report={"type": "f_report", "fields": ["exit_taken", "checks_passed", "faults"]}, selftest="f_selftest")


def dense_inputs(count: int) -> np.ndarray:
    return np.random.default_rng(4).integers(-128, 128, (count, 1, 64), dtype=np.int8)


def dense_answers(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int64) @ dense_weights().T.astype(np.int64)
