"""Constants at rest that no checksum of a layer covers: compared while the model runs with copies from the clean file.

ABFT covers the weights and biases of the layers it checks, as they are used. What is left: additions and scales of their own, slopes,
normalisations that could not be merged, recurrent weights, anchors, tables. An operator that reads only constants is folded into
another constant when a session is made, and would compare copies that nothing uses. So every comparison takes part in something that
only exists at run time: a zero made of the model's first input, Cast(a < min(a, b)) of two of its elements.

    one dimension          Concat of that zero and all of them, which must equal the copy (numbers; −0 and +0 are one)
    more, float32          products with a vector v + zero of random weights between 0.5 and 1.5, row by row, against sums made here:
                           |difference| ≤ γ(2n)·Σ|w||v| for rows of n (`rounding.py`): every sign, every exponent bit, and of a number as
                           large as the mean of its row all mantissa bits but the last log₂(n²) or so
    scalars                several are added up, those of like size together: |difference| ≤ γ(2n)·Σ|s|

Not compared: zero points and shapes that are scalars, and everything inside sub-graphs. Where an operator keeps a rearranged copy of a
weight (recurrent layers do), a fault in that copy is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import helper

from edgerun_tools.hardening.graph import Graph
from edgerun_tools.hardening.rounding import TINY, UNIT, gamma
from edgerun_tools.hardening.verdict import ONE, Check, Verdict
from edgerun_tools.hardening.windows import WEIGHT_BITS

KIND = "weights"
_VECTORS = frozenset({np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.int64)})
_DECADE = 4
"""Scalars of sizes within 2⁴ of each other are added up together."""
Held = tuple[str, np.ndarray]


def check(graph: Graph, names: Iterable[str], verdict: Verdict) -> dict[str, str]:
    """Add the comparisons of these initializers; {name: why not} of those that are not compared."""
    held = [(n, v) for n in names if (v := graph.constant(n)) is not None and v.size]
    vectors = [h for h in held if h[1].ndim == 1 and h[1].dtype in _VECTORS]
    arrays = [h for h in held if h[1].ndim > 1 and h[1].dtype == np.float32 and np.isfinite(h[1]).all()]
    scalars = [h for h in held if h[1].ndim == 0 and h[1].dtype == np.float32 and np.isfinite(h[1])]
    covered = {n for n, _ in (*vectors, *arrays, *scalars)}
    if graph.numeric_input() is None:
        return {n: "the model has no numeric input that could keep a comparison from being folded" for n, _ in held}
    if covered:
        graph.at_end()
        zero = _zero(graph)
        _vectors(graph, vectors, zero, verdict)
        _arrays(graph, arrays, zero, verdict)
        _scalars(graph, scalars, zero, verdict)
    return {n: f"{v.dtype} of {v.ndim} dimensions" for n, v in held if n not in covered}


def _zero(graph: Graph) -> str:
    """[1]: 0.0 in every run, which nothing can know before."""
    flat = graph.add("Flatten", [graph.numeric_input() or ""], axis=0)
    ends = [graph.add("Gather", [flat, graph.add_constant(np.array([k], np.int64), shared=True)], axis=1) for k in (0, -1)]
    first, last = (graph.reshape(graph.add("Cast", [e], to=onnx.TensorProto.FLOAT), [1]) for e in ends)
    return graph.add("Cast", [graph.add("Less", [first, graph.add("Min", [first, last])])], "zero", to=onnx.TensorProto.FLOAT)


def _vectors(graph: Graph, held: Sequence[Held], zero: str, verdict: Verdict) -> None:
    for dtype in dict.fromkeys(v.dtype for _, v in held):
        same = [h for h in held if h[1].dtype == dtype]
        own = zero if dtype == np.float32 else graph.add("Cast", [zero], to=helper.np_dtype_to_tensor_dtype(dtype))
        found = graph.add("Concat", [own, *(n for n, _ in same)], "kept", axis=0)
        copy = np.concatenate([np.zeros(1, dtype), *(v for _, v in same)])
        verdict.exact(Check(", ".join(n for n, _ in same), "Constant", KIND), ONE, (graph.reshape(found, [1, -1]), 2),
                      (graph.add_constant(copy[None], "copy"), 2), copy.size, str(dtype))


def _arrays(graph: Graph, held: Sequence[Held], zero: str, verdict: Verdict) -> None:
    mixed: dict[int, tuple[np.ndarray, str]] = {}
    for name, value in held:
        length = value.shape[-1]
        if length not in mixed:
            steps = 1 << WEIGHT_BITS
            v = np.random.default_rng(length).integers(steps // 2, steps + steps // 2, (length, 1)) / steps
            mixed[length] = v, graph.add("Add", [graph.add_constant(v.astype(np.float32), "mix"), zero])
        v, node = mixed[length]
        sums = graph.reshape(graph.add("MatMul", [name, node], "sums"), [1, -1])
        exact = value.astype(np.float64) @ v
        floor = gamma(2 * length + 2) * (np.abs(value).astype(np.float64) @ v) + length * TINY
        golden = graph.add_constant(-exact.astype(np.float32).reshape(1, -1), "golden")
        verdict.bounded(Check(name, "Constant", KIND), ONE, ((sums, 2), (golden, 2)), np.zeros(floor.size),
                        floor.reshape(-1) + UNIT * np.abs(exact).reshape(-1))


def _scalars(graph: Graph, held: Sequence[Held], zero: str, verdict: Verdict) -> None:
    decades: dict[int, list[Held]] = {}
    for name, value in held:
        decades.setdefault(math.frexp(float(value))[1] // _DECADE, []).append((name, value))
    for same in decades.values():
        total = float(sum(float(v) for _, v in same))
        size = float(sum(abs(float(v)) for _, v in same))
        sums = graph.reshape(graph.add("Sum", [zero, *(n for n, _ in same)], "sums"), [1, 1])
        golden = graph.add_constant(np.array([[-total]], np.float32), "golden")
        verdict.bounded(Check(", ".join(n for n, _ in same), "Constant", KIND), ONE, ((sums, 2), (golden, 2)), np.zeros(1),
                        np.array([gamma(2 * len(same) + 2) * size + TINY]))


