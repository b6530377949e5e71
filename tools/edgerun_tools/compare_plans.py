"""Which tensors between the steps of a plan can be handed out without changing what the plan computes.

A tensor asked for as a further output stops the passes from fusing across it, and a fault that sits in a fused kernel
would go. So only such tensors are asked for after which the plan still has every step it had, with the same operands;
`same_steps` verifies that, and says which step makes each tensor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from edgerun.importer.load import Graph
from edgerun.planner.plan import ABSENT, Plan, Step
from edgerun.planner.whole import is_whole_model

MOVES = ("transpose_", "copy_")
"""Kernels that only move bytes; between an intermediate tensor's step and a further output there may be such."""
LAYERS_THAT_MOVE = frozenset({"Transpose", "Identity"})
"""Operators of the model that such kernels serve; all other moves are the planner's own."""


def tensor_types(graph: Graph) -> dict[str, onnx.ValueInfoProto]:
    """Type and shape of every tensor of numbers that a node of the model's own graph (no branch) computes."""
    known = {}
    for node in graph.model.graph:
        for value in node.outputs:
            numbers = isinstance(value.type, ir.TensorType) and value.type.dtype != ir.DataType.STRING
            if value.name and numbers and value.shape is not None:
                dims = [d if isinstance(d, int) else d.value for d in value.shape]
                known[value.name] = onnx.helper.make_tensor_value_info(value.name, int(value.type.dtype), dims)
    return known


def boundaries(plan: Plan, known: Iterable[str]) -> list[str]:
    """Names among `known` that the steps of a plan compute, in the order of the steps."""
    if is_whole_model(plan):
        return list(known)
    made = dict.fromkeys(plan.slots[o].name for s in plan.steps for o in s.outputs if o != ABSENT)
    wanted = set(known)
    return [name for name in made if name in wanted]


def exposing(model: onnx.ModelProto, types: Mapping[str, onnx.ValueInfoProto], names: Iterable[str]) -> onnx.ModelProto:
    """A copy of the model with these tensors as outputs after its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(types[n] for n in names)
    return copy


@dataclass(frozen=True)
class Source:
    """Who wrote some bytes: kind "input", "const", "step" (of the plan without further outputs) or "move" (a step that
    serves a further output; `of` is what it moved)."""

    kind: str
    index: int
    part: object = 0
    of: Source | None = None


class _Flow:
    """The latest writer of every arena offset while the steps are followed in order. Views have the offset of what they
    view, so the offset says all."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.writers: dict[int, Source] = {}
        self.moved: dict[int, Source | None] = {}
        self._digests: dict[int, bytes] = {}

    def source(self, index: int) -> Source | None:
        if index == ABSENT:
            return None
        slot = self.plan.slots[index]
        if slot.place == "input":
            return Source("input", slot.offset)
        if slot.place == "const":
            return Source("const", 0, self._digest(slot.offset))
        return self.writers.get(slot.offset)

    def facts(self, step: Step) -> tuple[object, ...]:
        """Everything that decides what a step computes. (Where a branch leads is known by the steps that follow.)"""
        slots = [self.plan.slots[k] if k != ABSENT else None for k in (*step.inputs, *step.outputs)]
        attrs = {k: v for k, v in step.attrs.items() if k != "target"}
        return (step.kernel, step.op, step.node, attrs, [(s.dtype, s.shape) if s else None for s in slots],
                [self.source(k) for k in step.inputs])

    def write(self, step: Step, kind: str, index: int, of: Source | None) -> None:
        if kind == "step" and step.kernel.startswith(MOVES) and step.op not in LAYERS_THAT_MOVE:
            self.moved[index] = of
        for part, out in enumerate(step.outputs):
            if out != ABSENT:
                self.writers[self.plan.slots[out].offset] = Source(kind, index, part, of if kind == "move" else None)

    def maker(self, slot: int) -> int | None:
        """The step that computed a slot's numbers, moves left out; None for inputs and constants."""
        found = self.source(slot)
        while found is not None and (found.kind == "move" or (found.kind == "step" and found.index in self.moved)):
            before = found.of if found.kind == "move" else self.moved[found.index]
            if before is None or before.kind not in ("move", "step"):
                break  # a moved input: the move is all that is computed
            found = before
        return found.index if found is not None and found.kind == "step" else None

    def _digest(self, index: int) -> bytes:
        if index not in self._digests:
            self._digests[index] = hashlib.sha256(self.plan.constants[index].tobytes()).digest()
        return self._digests[index]


def same_steps(plain: Plan, exposed: Plan) -> dict[str, int] | None:
    """Output name → index of the step of `plain` that computes it; None where the plans do not compute the same.

    They do when `exposed` has every step of `plain`, in order, with the same kernel, attributes, constants and operands,
    and beside them only steps that move bytes to further outputs. Outputs that no step computes are left out.
    """
    if is_whole_model(plain) and is_whole_model(exposed):
        return {port.name: 0 for port in exposed.outputs}
    left, right = _Flow(plain), _Flow(exposed)
    k = 0
    for j, step in enumerate(exposed.steps):
        of = right.source(step.inputs[0]) if step.inputs else None
        if k < len(plain.steps) and left.facts(plain.steps[k]) == right.facts(step):
            left.write(plain.steps[k], "step", k, of)
            right.write(step, "step", k, of)
            k += 1
        elif step.kernel.startswith(MOVES):
            right.write(step, "move", j, of)
        else:
            return None
    if k < len(plain.steps):
        return None
    made = {port.name: right.maker(port.slot) for port in exposed.outputs}
    return {name: step for name, step in made.items() if step is not None}
