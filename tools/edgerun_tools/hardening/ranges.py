"""Ranger (arXiv 2003.13874) as detection: no element of a layer's result is outside what calibration inputs showed.

The answer is not clamped; a flag is raised. Calibrated ranges say nothing about inputs that were not among them, so bounds are made
wider by the range's own width times `MARGIN` on either side: faults of exponent bits go beyond by powers of two.
"""

from __future__ import annotations

import numpy as np

from edgerun.errors import DataError
from edgerun_tools.hardening.graph import Graph
from edgerun_tools.hardening.verdict import ONE, Check, Verdict

KIND = "range"
MARGIN = 1.0


def check(graph: Graph, name: str, low: float, high: float, verdict: Verdict, layer: str, operator: str) -> None:
    """Add the two checks of one float32 value: its maximum and its minimum."""
    graph.after(graph.producer[name])
    if not (np.isfinite([low, high]).all() and low <= high):
        raise DataError(f"ranges: {name}: expected two finite numbers, the lower one first; found {low}, {high}")
    width = max(high - low, 2.0**-20)
    for op, sign, bound in (("ReduceMax", 1.0, high), ("ReduceMin", -1.0, low)):
        found = graph.reshape(graph.reduce(op, name, None, keepdims=0), [1, 1])
        limit = graph.add_constant(np.array([[-(bound + sign * MARGIN * width)]], np.float32), "limit")
        beyond = graph.add("Add", [found, limit])  # ≤ 0 above, ≥ 0 below
        zero = graph.add_constant(np.zeros((1, 1), np.float32), "zero", shared=True)
        beyond = graph.add("Max" if sign > 0 else "Min", [beyond, zero])
        kind = f"{KIND} above" if sign > 0 else f"{KIND} below"
        verdict.bounded(Check(layer, operator, kind), ONE, ((beyond, 2),), np.zeros(1), np.zeros(1))
