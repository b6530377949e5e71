"""Which operators exist: ONNX operators with their legaliser, internal operators with their lowering.

An operator file registers itself with the three decorators; `edgerun.ops` imports every file of this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from .graph import Unsupported, dtype_of, make
from .widen import detach, in_float32


class Legal:
    """What a legaliser sees: the ONNX node, its opset version, and `emit` to write internal nodes in its place."""

    def __init__(self, node: ir.Node, opset: int, asked: ir.Node | None = None) -> None:
        """asked: the model's node where `node` is a twin of it, see widen.py."""
        self.node, self._asked = node, asked or node
        self.opset = opset
        self.emitted: list[ir.Node] = []

    def input(self, index: int) -> ir.Value | None:
        """Operand, or None when it is absent."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def required(self, index: int) -> ir.Value:
        value = self.input(index)
        if value is None:
            raise Unsupported(f"input {index} is absent")
        return value

    def output_used(self, index: int) -> bool:
        if index >= len(self._asked.outputs):
            return False
        value = self._asked.outputs[index]
        return bool(value.uses()) or value.is_graph_output()

    def emit(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        shape: Sequence[int],
        dtype: Any,
        attrs: Mapping[str, Any] | None = None,
    ) -> ir.Value:
        """Append an internal node with one output and return that output."""
        return self.emit_many(op, inputs, [(tuple(shape), dtype)], attrs)[0]

    def emit_many(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        outputs: Sequence[tuple[tuple[int, ...], Any]],
        attrs: Mapping[str, Any] | None = None,
    ) -> Sequence[ir.Value]:
        node = make(op, inputs, attrs or {}, outputs, like=self.node)
        self.emitted.append(node)
        return node.outputs


class Lowering(Protocol):
    """What `lower` sees (planner.select implements it). Slots are integers; -1 marks an absent operand."""

    def use(self, value: ir.Value | None) -> int:
        """Slot of a value (a constant becomes a constant slot; None becomes -1)."""

    def const(self, array: np.ndarray, name: str = "") -> int:
        """Slot of a new constant."""

    def between(self, value: ir.Value) -> int:
        """Slot for a result between two steps of a node, of a value's shape and type. No step writes over its operands by itself:
        it could not be computed again (`in_place` of planner.make_plan)."""

    def view(self, slot: int, shape: Sequence[int]) -> int:
        """Slot with the same bytes and another shape."""

    def step(
        self,
        kernel: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        attrs: Mapping[str, Any] | None = None,
        macs: int = 0,
    ) -> None:
        """Append a kernel call."""


Legaliser = Callable[[Legal], "Sequence[ir.Value] | ir.Value"]
Lower = Callable[[ir.Node, Lowering], None]
Remap = Callable[[ir.Node, tuple[int, ...]], "tuple[dict[str, Any], tuple[int, ...]] | None"]

LEGALISERS: dict[str, Legaliser] = {}
LOWERINGS: dict[str, Lower] = {}
REMAPS: dict[str, Remap] = {}
ELEMENTWISE: set[str] = set()


def legalises(*onnx_ops: str) -> Callable[[Legaliser], Legaliser]:
    """Registers how ONNX operators (default domain) are rewritten into internal nodes: returns the values that
    replace the outputs."""

    def register(function: Legaliser) -> Legaliser:
        for name in onnx_ops:
            LEGALISERS[name] = function
        return function

    return register


def lowers(*ops: str) -> Callable[[Lower], Lower]:
    """Registers how internal operators become steps."""

    def register(function: Lower) -> Lower:
        for name in ops:
            LOWERINGS[name] = function
        return function

    return register


def remaps(*ops: str) -> Callable[[Remap], Remap]:
    """Registers how an operator moves in front of a Transpose of its first input (all inputs, for concat).

    The function gets the node and the permutation of its input and returns (changed attributes, permutation of its
    outputs),
    or None where that is not possible: node(transpose(x, perm)) == transpose(node'(x), returned permutation).
    """

    def register(function: Remap) -> Remap:
        for name in ops:
            REMAPS[name] = function
        return function

    return register


def elementwise(*ops: str) -> None:
    """Registers broadcasting elementwise operators whose kernel is called `<op>_<dtype of the first operand>`."""
    ELEMENTWISE.update(ops)
    for name in ops:
        LOWERINGS.setdefault(name, lower_elementwise)


def lower_elementwise(node: ir.Node, ctx: Lowering) -> None:
    kernel = f"{node.op_type}_{dtype_of(node.inputs[0])}"  # type: ignore[arg-type]
    ctx.step(
        kernel,
        [ctx.use(v) for v in node.inputs],
        [ctx.use(v) for v in node.outputs],
        {name: attr.value for name, attr in node.attributes.items()},
    )


def legalise(node: ir.Node, opset: int) -> tuple[list[ir.Node], list[ir.Value]]:
    """Internal nodes for an ONNX node and the values that replace its outputs; what has no kernel for float16 or bfloat16 is
    computed in float32. Raises Unsupported."""
    if node.domain not in ("", "ai.onnx"):
        raise Unsupported(f"domain '{node.domain}' has no kernels")
    if node.op_type not in LEGALISERS:
        raise Unsupported("no kernel")
    try:
        return _legalise(Legal(node, opset))
    except Unsupported:
        found = in_float32(node, lambda twin: _legalise(Legal(twin, opset, node)))
        if found is None:
            raise
        return found


def _legalise(legal: Legal) -> tuple[list[ir.Node], list[ir.Value]]:
    try:
        result = LEGALISERS[legal.node.op_type](legal)
    except (Unsupported, ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
        detach(legal.emitted)
        if isinstance(error, Unsupported):
            raise
        # A node whose attributes and operands contradict each other in a way that nobody thought of: the reference says what
        # is wrong with it. For good models the conformance tests see to it that nothing ends here.
        raise Unsupported(f"attributes and operands do not fit: {type(error).__name__}: {error}") from error
    return legal.emitted, [result] if isinstance(result, ir.Value) else list(result)
