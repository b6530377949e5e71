"""Kernel selection: a legalised graph becomes a linear list of draft steps over draft slots (no offsets yet)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgerun.errors import EdgeRunWarning, PlanError, ShapeError, UnsupportedOpError
from edgerun.importer.resolve import CONTROL_FLOW
from edgerun.importer.single import operands, single
from edgerun.importer.sizing import check_work
from edgerun.ops.dtypes import bits
from edgerun.ops.graph import DOMAIN, PLAN_DTYPES, Unsupported, dtype_of, elements, get, is_op, origin, shape_of
from edgerun.ops.registry import ELEMENTWISE, LEGALISERS, LOWERINGS

from .plan import ABSENT, DTYPES, Floats, Ints, Place

FALLBACK = "onnx_reference"
"""Kernel name of a step that onnx.reference runs, see edgerun.executors.fallback."""
GRAPH = "onnx_graph"
"""Kernel name of a step that edgerun.executors.dynamic runs node by node: a Loop, a Scan, or a whole model whose shapes depend
on data. Its inputs and outputs are as those of FALLBACK."""
RESOLVED = frozenset({
    "If", "Constant", "Shape", "Size", "Identity", *CONTROL_FLOW,
    "BlackmanWindow", "Compress", "ConstantOfShape", "HammingWindow", "HannWindow", "MelWeightMatrix", "NonMaxSuppression", "NonZero",
    "Range", "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence",
})
"""Operators that edgerun.executors.dynamic does itself, in any graph whose shapes depend on data."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_NOT_IN_PLACE = frozenset({"cast", "where", "prelu"})


@dataclass
class DraftSlot:
    """A tensor without an address; `root` is the slot whose bytes it shares (itself, unless it is a view)."""

    name: str
    dtype: str
    shape: Ints
    place: Place
    index: int
    root: int

    @property
    def nbytes(self) -> int:
        return elements(self.shape) * DTYPES[self.dtype].itemsize


@dataclass
class DraftStep:
    kernel: str
    inputs: list[int]
    outputs: list[int]
    attrs: dict[str, Ints | Floats]
    node: str = ""
    op: str = ""
    segment: int = 0
    macs: int = 0
    in_place: bool = False


@dataclass
class Draft:
    """Implements ops.registry.Lowering. `int8`: step → why it is in float, "" where it is not (passes.quantise)."""

    opsets: dict[str, int]
    strict: bool = False
    slots: list[DraftSlot] = field(default_factory=list)
    steps: list[DraftStep] = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)
    fallbacks: list[tuple[int, str, str, str]] = field(default_factory=list)
    int8: dict[int, str] = field(default_factory=dict)
    segment: int = 0
    _of_value: dict[ir.Value, int] = field(default_factory=dict)
    _of_array: dict[tuple[int, Ints], int] = field(default_factory=dict)
    _node: ir.Node | None = None

    # -- slots --------------------------------------------------------------------------------------------------------

    def add(
        self, name: str, dtype: str, shape: Sequence[int], place: Place, index: int = -1, root: int | None = None
    ) -> int:
        self.slots.append(DraftSlot(name, dtype, tuple(shape), place, index, len(self.slots) if root is None else root))
        return len(self.slots) - 1

    def input(self, value: ir.Value, index: int) -> int:
        self._of_value[value] = slot = self.add(value.name or "", dtype_of(value), shape_of(value), "input", index)
        return slot

    def use(self, value: ir.Value | None) -> int:
        if value is None:
            return ABSENT
        slot = self._of_value.get(value)
        if slot is None:
            if value.const_value is not None:
                slot = self.const(value.const_value.numpy(), value.name or "")
            else:
                slot = self.add(value.name or "", dtype_of(value), shape_of(value), "arena")
            self._of_value[value] = slot
        return slot

    def const(self, array: np.ndarray, name: str = "") -> int:
        dtype = _NAMES.get(array.dtype)
        if dtype is None:
            raise Unsupported(f"constant '{name}' has element type {array.dtype}")
        key = (id(array), array.shape)
        if key not in self._of_array:
            kept = np.ascontiguousarray(array).reshape(array.shape)
            kept.setflags(write=False)
            self.constants.append(kept)
            self._of_array[key] = self.add(name, dtype, array.shape, "const", len(self.constants) - 1)
            self._alive.append(array)
        return self._of_array[key]

    _alive: list[np.ndarray] = field(default_factory=list)  # keys are ids: the arrays must outlive them

    def between(self, value: ir.Value) -> int:
        return self.add(value.name or "", dtype_of(value), shape_of(value), "arena")

    def view(self, slot: int, shape: Sequence[int]) -> int:
        viewed = self.slots[slot]
        if viewed.shape == tuple(shape):
            return slot
        if prod(viewed.shape) != prod(shape):
            raise ShapeError(f"'{viewed.name}': expected a shape of {prod(viewed.shape)} elements for {list(viewed.shape)}, "
                             f"found {list(shape)}")
        return self.add(viewed.name, viewed.dtype, shape, viewed.place, viewed.index, viewed.root)

    # -- steps --------------------------------------------------------------------------------------------------------

    def step(
        self,
        kernel: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        attrs: Mapping[str, Any] | None = None,
        macs: int = 0,
    ) -> None:
        node, op = origin(self._node) if self._node is not None else ("", "")
        self.steps.append(
            DraftStep(
                kernel,
                list(inputs),
                list(outputs),
                {k: _tuple(v) for k, v in (attrs or {}).items()},
                node,
                op,
                self.segment,
                macs,
                self._may_overwrite(),
            )
        )

    def _may_overwrite(self) -> bool:
        node = self._node
        return node is not None and is_op(node, *ELEMENTWISE) and node.op_type not in _NOT_IN_PLACE

    def lower(self, node: ir.Node) -> None:
        """Append the steps of one node."""
        self._node = node
        for value in node.inputs:
            if value is not None and value.producer() is not None and value not in self._of_value:
                name, op = origin(node)
                raise PlanError(f"{op}, node '{name}': reads '{value.name}' before it is computed; a defect of edgerun, "
                                "please report it with the model")
        if node.domain != DOMAIN:
            if node.op_type == "If" and "reason" not in node.meta:
                self._branches(node)
            else:
                self._fallback(node, node.meta.get("reason", "no kernel"))
        elif node.op_type == "reshape" and node.outputs[0] not in self._of_value:
            self._of_value[node.outputs[0]] = self.view(self.use(node.inputs[0]), shape_of(node.outputs[0]))
        else:
            if "int8" in node.meta:
                self.int8[len(self.steps)] = node.meta["int8"]
            LOWERINGS[node.op_type](node, self)

    def copy(self, source: int, target: int, value: ir.Value) -> None:
        self.step(f"copy_{bits(value)}", [self.view(source, self.slots[target].shape)], [target])

    def _fallback(self, node: ir.Node, reason: str) -> None:
        name, op = origin(node)
        if op in RESOLVED and op != "If" and node.domain in ("", "ai.onnx"):
            self._graph(node)
            return
        if self.strict:
            raise UnsupportedOpError(
                f"{op}, node '{name}': expected an operator with a kernel, found none ({reason}); "
                "without strict the slow onnx.reference fallback runs it"
            )
        inputs = operands(node)
        model = single(node, self.opsets)
        check_work(model.graph.node[0], {v.name or "": shape_of(v) for v in inputs})
        try:
            ReferenceEvaluator(model)
        except Exception as error:  # the reference raises many types for what it lacks
            raise UnsupportedOpError(
                f"{op}, node '{name}': neither a kernel nor onnx.reference runs it "
                f"({reason}; {str(error).splitlines()[0]})"
            ) from error
        warnings.warn(
            f"{op}, node '{name}': no kernel ({reason}); the slow onnx.reference fallback runs it",
            EdgeRunWarning,
            stacklevel=4,
        )
        blob = self.const(np.frombuffer(model.SerializeToString(), np.uint8), "node")
        self.fallbacks.append((len(self.steps), name, op, reason))
        self.step(FALLBACK, [blob, *(self.use(v) for v in inputs)], [self.use(v) for v in node.outputs if v.name])

    def _graph(self, node: ir.Node) -> None:
        """A step for a Loop, a Scan, or what else the dynamic executor does itself."""
        bodies = [a.value for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
        missing = without_kernels(n for body in bodies for n in body.all_nodes())
        if missing and self.strict:
            raise UnsupportedOpError(f"{node.op_type}, node '{node.name}': expected operators with kernels, found none for "
                                     f"{', '.join(dict.fromkeys(op for _, op in missing))}")
        inputs = operands(node)
        blob = self.const(np.frombuffer(single(node, self.opsets).SerializeToString(), np.uint8), "node")
        self.fallbacks += [(len(self.steps), name, op, "no kernel") for name, op in missing]
        self.step(GRAPH, [blob, *(self.use(v) for v in inputs)], [self.use(v) for v in node.outputs if v.name])

    # -- If -----------------------------------------------------------------------------------------------------------

    def _branches(self, node: ir.Node) -> None:
        """branch (to else when false) · then-steps · jump (to end) · else-steps; both write the If's own output
        slots."""
        outputs = [self.use(v) for v in node.outputs]
        self.step("branch", [self.use(node.inputs[0])], [])
        branch = self.steps[-1]
        self._branch(get(node, "then_branch"), outputs)
        self._node = node
        self.step("jump", [], [])
        jump = self.steps[-1]
        branch.attrs["target"] = (len(self.steps),)
        self._branch(get(node, "else_branch"), outputs)
        self._node = node
        jump.attrs["target"] = (len(self.steps),)

    def _branch(self, graph: ir.Graph, outputs: Sequence[int]) -> None:
        local = set(graph)
        for value, slot in zip(graph.outputs, outputs, strict=True):
            if value.producer() in local and value not in self._of_value:
                self._of_value[value] = slot
        for inner in graph:
            self.lower(inner)
        for value, slot in zip(graph.outputs, outputs, strict=True):
            source = self.use(value)
            if source != slot:
                self.copy(source, slot, value)


def without_kernels(nodes: Iterable[ir.Node]) -> list[tuple[str, str]]:
    """(node, operator) of the ONNX nodes whose operator neither a kernel nor the interpreter of graphs serves."""
    return list(dict.fromkeys(
        (n.name or "", n.op_type) for n in nodes
        if n.domain not in ("", "ai.onnx") or (n.op_type not in LEGALISERS and n.op_type not in RESOLVED)
    ))


def _tuple(value: Any) -> Ints | Floats:
    if isinstance(value, (tuple, list)):
        return tuple(value)
    return (float(value),) if isinstance(value, (float, np.floating)) else (int(value),)


def plan_dtype(dtype: ir.DataType | None) -> str:
    """Plan dtype of a model input or output that only the fallback sees; "u8" for what has no plan dtype."""
    return PLAN_DTYPES.get(dtype, "u8") if dtype is not None else "u8"
