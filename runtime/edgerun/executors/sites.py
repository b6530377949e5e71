"""One node of a model whose shapes depend on data, evaluated for the operands that it gets.

Where kernels of ours serve the node, it becomes a plan of its own for every combination of operand shapes, and the last ones
are kept; where none does, onnx.reference evaluates it.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgerun import planner
from edgerun.errors import EdgeRunError, LimitError, UnsupportedOpError
from edgerun.executors.base import Executor, RawRun
from edgerun.importer.load import load
from edgerun.importer.read import Checked
from edgerun.importer.single import operands, single
from edgerun.importer.sizing import SIZES, SMALL, TEXT, check_room, result_bytes, typed
from edgerun.limits import Clock, Limits, short
from edgerun.ops.registry import LEGALISERS
from edgerun.planner.plan import Plan
from edgerun.planner.whole import is_whole_model
from edgerun.watch import watched

Serve = Callable[[Plan], Executor]
PLANS_KEPT = 16
CHANGING = 64
"""Plans made for one node after which its operands count as changing all the time: small ones then go to the reference."""
LITTLE = 1 << 14
"""Bytes of operands below which planning costs more than it gives."""


@dataclass(frozen=True)
class Setting:
    """What all nodes of a model share. serve: makes the executor of a plan; native: refuse what has no kernel."""

    name: str
    opsets: dict[str, int]
    serve: Serve
    checks: str
    native: bool
    budget: int
    limits: Limits


class Site:
    """A node and what was prepared for it. `run` is called with its operands in the order of `single.operands`."""

    def __init__(self, node: ir.Node, setting: Setting) -> None:
        self.node, self.setting = node, setting
        self.operands = operands(node)
        self.outputs = [v for v in node.outputs if v.name != ""]
        self.where = f"{setting.name}: operator {node.op_type}, node '{short(node.name or '')}'"
        self.fell_back = 0
        self._names = [v.name or "" for v in self.operands]
        self._constant = {k for k, v in enumerate(self.operands) if v.const_value is not None}
        self._plans: OrderedDict[Any, tuple[Executor, list[int]]] = OrderedDict()
        self._needs: dict[Any, float] = {}
        self._made = 0
        self._bind = False  # whether small operands have to be constants of the plan
        self._kernel = node.domain in ("", "ai.onnx") and node.op_type in LEGALISERS
        self._reference: Any = None

    def run(self, arrays: Sequence[Any], room: float, clock: Clock) -> tuple[Sequence[Any], RawRun | None]:
        """The outputs that have a name; the raw run where kernels computed them. Raises LimitError, UnsupportedOpError,
        ShapeError, DeadlineExceeded."""
        if self._kernel and all(isinstance(a, np.ndarray) and a.dtype.kind not in TEXT for a in arrays):
            small = sum(a.nbytes for a in arrays) < LITTLE
            if self.setting.native or not (small and self._made > CHANGING):
                found = self._planned(arrays, room)
                if found is not None:
                    executor, fed = found
                    raw = executor.run([arrays[k] for k in fed])
                    return list(raw.outputs), raw
        return self._by_reference(arrays, room, clock), None

    # -- kernels ------------------------------------------------------------------------------------------------------

    def _planned(self, arrays: Sequence[np.ndarray], room: float) -> tuple[Executor, list[int]] | None:
        while self._kernel:
            bound = {k for k, a in enumerate(arrays) if k in self._constant or (self._bind and k and a.size <= SMALL)}
            key = tuple((a.dtype.char, a.shape, a.tobytes() if k in bound and k not in self._constant else b"")
                        for k, a in enumerate(arrays))
            found = self._plans.get(key)
            if found is not None:
                self._plans.move_to_end(key)
                return found
            found = self._plan(arrays, bound, room)
            if found is not None:
                self._made += 1
                self._plans[key] = found
                while len(self._plans) > PLANS_KEPT:
                    self._plans.popitem(last=False)[1][0].close()
                return found
            if self._bind or len(arrays) < 2:
                self._kernel = False
            self._bind = True
        return None

    def _plan(self, arrays: Sequence[np.ndarray], bound: set[int], room: float) -> tuple[Executor, list[int]] | None:
        model = single(self.node, self.setting.opsets)
        names = self._names = [p.name for p in model.graph.input]
        model = typed(model, dict(zip(names, arrays, strict=True)), {names[k]: arrays[k] for k in bound})
        held = sum(arrays[k].nbytes for k in bound)
        # The result exists twice for a moment, in the plan's arena and as what is handed out.
        checked = Checked(model, self.setting.name, int(max(room, 0)) // 2 + 2 * held, self.setting.limits)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                plan = planner.make_plan(load(checked), checks=self.setting.checks, strict=True)
        except LimitError:
            raise
        except EdgeRunError:  # no kernel for this form: the reference judges it
            return None
        if is_whole_model(plan):
            return None
        return self.setting.serve(plan), [k for k in range(len(arrays)) if k not in bound]

    # -- onnx.reference -----------------------------------------------------------------------------------------------

    def _by_reference(self, arrays: Sequence[Any], room: float, clock: Clock) -> Sequence[Any]:
        if self.setting.native:
            raise UnsupportedOpError(f"{self.where}: expected an operator with a kernel, found none for these operands; "
                                     "without strict the slow onnx.reference fallback runs it")
        copies = sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))
        check_room(self._need(arrays) + copies, room, self.where, self.setting.budget)
        if self._reference is None:
            self._prepare()
        self.fell_back += 1
        feeds = {n: a.copy() if isinstance(a, np.ndarray) else a for n, a in zip(self._names, arrays, strict=True)}
        try:
            with np.errstate(all="ignore"):
                found = watched(clock, self.setting.name, f"in {self.node.op_type}", lambda: self._reference.run(None, feeds))
            return [_array(v) for v in found]
        except EdgeRunError:
            raise
        except Exception as e:  # onnx.reference raises many kinds
            raise UnsupportedOpError(f"{self.where}: onnx.reference failed: {type(e).__name__}: {short(str(e))}") from e

    def _prepare(self) -> None:
        from onnx.reference import ReferenceEvaluator

        model = single(self.node, self.setting.opsets)
        self._names = [p.name for p in model.graph.input]
        try:
            self._reference = ReferenceEvaluator(model)
        except Exception as e:
            raise UnsupportedOpError(f"{self.where}: no kernel, and onnx.reference cannot run it: {short(str(e))}") from e

    def _need(self, arrays: Sequence[Any]) -> float:
        shown = self.node.op_type in SIZES
        key = tuple((a.dtype.char, a.shape, a.tobytes() if shown and a.size <= SMALL else b"")
                    if isinstance(a, np.ndarray) and a.dtype.kind not in TEXT else None for a in arrays)
        if None in key or key not in self._needs:
            if len(self._needs) > CHANGING:
                self._needs.clear()
            model = single(self.node, self.setting.opsets)
            self._names = [p.name for p in model.graph.input]
            self._needs[key] = result_bytes(model, dict(zip(self._names, arrays, strict=True)))
        return self._needs[key]

    def close(self) -> None:
        """Give the memory back."""
        while self._plans:
            self._plans.popitem()[1][0].close()


def _array(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_array(v) for v in value]
    return value if value is None else np.asarray(value)
