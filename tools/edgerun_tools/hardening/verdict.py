"""From what the checks found to the two outputs `edgerun_fault` and `edgerun_fault_steps`.

A node costs ONNX Runtime about a microsecond however little it does, which is much beside the layers of a small network. So checks hand
in their few numbers, and they are put together here and compared at once: a dozen nodes for all checks of a model.
Every comparison is "not (difference < bound)" of single numbers before anything is reduced: NaN is always a fault, and no maximum
can lose it. Bounds are at least float32's smallest normal number, so "equal" is kept by a difference of zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import onnx

from edgerun_tools.hardening.graph import Graph
from edgerun_tools.hardening.rounding import TINY, up

FAULT, STEPS = "edgerun_fault", "edgerun_fault_steps"
ONE = ("number", 1)
"""The batch of values of shape [1, …]."""

Value = tuple[str, int]
"""Name and rank of a tensor [batch, width, 1, …]."""
Batch = tuple[str, object]
"""What two tensors have in common that have the same first dimension at run time."""


@dataclass(frozen=True)
class Check:
    """One element of `edgerun_fault_steps`: the layer it belongs to, its operator, and what is checked."""

    layer: str
    operator: str
    kind: str


@dataclass
class _Bounded:
    check: int
    values: tuple[Value, ...]  # one, or two whose sum is compared
    norm: Value | None
    square: bool
    factor: np.ndarray
    floor: np.ndarray


@dataclass
class _Exact:
    check: int
    dtype: str
    found: Value
    expected: Value
    width: int


@dataclass
class _Bucket:
    pairs: list[_Bounded] = field(default_factory=list)
    singles: list[_Bounded] = field(default_factory=list)
    exact: list[_Exact] = field(default_factory=list)


class Verdict:
    """Collects comparisons; `finish` adds the nodes that decide, and the outputs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.checks: list[Check] = []
        self._buckets: dict[Batch, _Bucket] = {}

    def bounded(self, check: Check, batch: Batch, values: Sequence[Value], factor: np.ndarray, floor: np.ndarray,
                norm: Value | None = None, *, square: bool = False) -> None:
        """Fault unless |v| < factor·norm + floor for every column, v being the sum of `values` (one or two), [batch, width].

        factor, floor: [width], rounded up to float32. norm [batch, 1] ≥ 0, or its square; without it factor does not count, and
        batch is ONE.
        """
        factor, floor = np.broadcast_arrays(np.atleast_1d(factor), np.atleast_1d(floor))
        item = _Bounded(self._new(check), tuple(values), norm, square, up(factor), up(np.maximum(floor, TINY)))
        bucket = self._buckets.setdefault(batch, _Bucket())
        (bucket.pairs if len(values) == 2 else bucket.singles).append(item)

    def exact(self, check: Check, batch: Batch, found: Value, expected: Value, width: int, dtype: str = "int32") -> None:
        """Fault unless all columns of two tensors [batch, width] of this type are equal."""
        self._buckets.setdefault(batch, _Bucket()).exact.append(_Exact(self._new(check), dtype, found, expected, width))

    def _new(self, check: Check) -> int:
        self.checks.append(check)
        return len(self.checks) - 1

    def finish(self) -> None:
        """Add the outputs. There must be a check."""
        g = self.graph
        g.at_end()
        found: list[str] = []
        widths: list[tuple[int, int]] = []
        for bucket in self._buckets.values():
            parts = [self._bounds(bucket.pairs, bucket.singles)] if bucket.pairs or bucket.singles else []
            kinds = dict.fromkeys(e.dtype for e in bucket.exact)
            parts += [self._equals([e for e in bucket.exact if e.dtype == kind]) for kind in kinds]
            for wrong, columns in parts:
                found.append(wrong)
                widths += columns
        steps = self._steps(found, widths)
        worst = g.reduce("ReduceMax", steps, None, keepdims=0)
        g.add_output(FAULT, "Cast", [worst], (), to=onnx.TensorProto.BOOL)
        g.add_output(STEPS, "Cast", [steps], (len(self.checks),), to=onnx.TensorProto.BOOL)

    def _bounds(self, pairs: list[_Bounded], singles: list[_Bounded]) -> tuple[str, list[tuple[int, int]]]:
        """(int32 [width], 1 where a bound is not kept; (check, width) of its parts)."""
        g = self.graph
        pairs = sorted(pairs, key=lambda i: (i.values[0][1], i.values[1][1]))
        singles = sorted(singles, key=lambda i: i.values[0][1])
        items = pairs + singles
        values = []
        if pairs:
            values.append(g.add("Add", [self._columns([i.values[k] for i in pairs]) for k in (0, 1)]))
        if singles:
            values.append(self._columns([i.values[0] for i in singles]))
        size = g.add("Abs", [g.add("Concat", values, axis=1) if len(values) > 1 else values[0]])
        limit = self._limits(items)
        wrong = g.add("Not", [g.add("Less", [size, limit])])
        return self._any(wrong), [(i.check, len(i.factor)) for i in items]

    def _limits(self, items: list[_Bounded]) -> str:
        """factor·norm + floor, [batch, width]."""
        g = self.graph
        floors = g.add_constant(np.concatenate([i.floor for i in items]), "floors")
        plain, squared = (list(dict.fromkeys(i.norm for i in items if i.norm and i.square == square)) for square in (False, True))
        if not plain and not squared:
            return floors
        held = [self._columns(plain)] if plain else []
        held += [g.add("Sqrt", [self._columns(squared)])] if squared else []
        if any(i.norm is None for i in items):
            held.append(g.add_constant(np.zeros((1, 1), np.float32), "zero", shared=True))
        norms = g.add("Concat", held, axis=1) if len(held) > 1 else held[0]
        place = {(n, square): k for k, (n, square) in enumerate([(n, False) for n in plain] + [(n, True) for n in squared])}
        index = np.concatenate([np.full(len(i.factor), place[i.norm, i.square] if i.norm else len(place)) for i in items])
        factors = np.concatenate([i.factor if i.norm else np.zeros_like(i.factor) for i in items])
        spread = g.add("Gather", [norms, g.add_constant(index.astype(np.int64), "index")], axis=1)
        return g.add("Add", [g.add("Mul", [spread, g.add_constant(factors, "factors")]), floors])

    def _equals(self, items: list[_Exact]) -> tuple[str, list[tuple[int, int]]]:
        g = self.graph
        items = sorted(items, key=lambda i: (i.found[1], i.expected[1]))
        sides = [self._columns([i.found for i in items]), self._columns([i.expected for i in items])]
        return self._any(g.add("Not", [g.add("Equal", sides)])), [(i.check, i.width) for i in items]

    def _any(self, wrong: str) -> str:
        """Over the batch: int32 [width]."""
        cast = self.graph.add("Cast", [wrong], to=onnx.TensorProto.INT32)
        return self.graph.reduce("ReduceMax", cast, [0], keepdims=0)

    def _columns(self, values: Sequence[Value]) -> str:
        """Tensors [batch, width, 1, …] of several ranks side by side, as [batch, sum of the widths]."""
        g = self.graph
        parts = []
        for rank, run in groupby(values, key=lambda v: v[1]):
            names = [name for name, _ in run]
            joined = g.add("Concat", names, axis=1) if len(names) > 1 else names[0]
            parts.append(joined if rank == 2 else g.add("Flatten", [joined], axis=1))
        return g.add("Concat", parts, axis=1) if len(parts) > 1 else parts[0]

    def _steps(self, found: list[str], widths: list[tuple[int, int]]) -> str:
        """int32 [checks]: how many columns of each check are wrong."""
        g = self.graph
        flags = g.add("Concat", found, axis=0) if len(found) > 1 else found[0]
        if all(width == 1 for _, width in widths):
            order = np.argsort([check for check, _ in widths])
            return g.add("Gather", [flags, g.add_constant(order.astype(np.int64), "order")], axis=0)
        ends = np.cumsum([width for _, width in widths])
        order = np.argsort([check for check, _ in widths])
        axis = g.add_constant(np.array(0, np.int64), "axis", shared=True)
        last = g.add_constant((ends - 1)[order].astype(np.int64), "last")
        first = g.add_constant((ends - [width for _, width in widths])[order].astype(np.int64), "first")
        upto = g.add("Gather", [g.add("CumSum", [flags, axis]), last], axis=0)
        before = g.add("Gather", [g.add("CumSum", [flags, axis], exclusive=1), first], axis=0)
        return g.add("Sub", [upto, before])

