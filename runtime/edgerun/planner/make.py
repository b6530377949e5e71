"""Graph → Plan: legalise, optimise, select kernels, place memory, mark exits and checks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import onnx_ir as ir

from edgerun import passes
from edgerun.errors import ModelFormatError, PlanError, PolicyError
from edgerun.importer.load import Graph
from edgerun.limits import refuse, size
from edgerun.ops.graph import Unsupported, is_op, producer, shape_of
from edgerun.options import kinds_of

from . import int8, memory, paper
from .difficulty import DifficultySource, difficulty_attrs
from .plan import Difficulty, ExitPoint, Plan, Policy, Port, Slot, Step
from .protect import protect
from .schedule import exit_outputs, segments
from .select import Draft
from .whole import whole_model


def make_plan(
    graph: Graph,
    *,
    policy: Policy | None = None,
    difficulty: DifficultySource | None = None,
    checks: str = "maed",
    strict: bool = False,
    optimize: bool = True,
    without: Collection[str] = (),
    calibration: Any = None,
    in_place: bool = True,
) -> Plan:
    """The plan of an imported model. The graph is used up: import again for another plan.

    policy: tables of the exit policy. difficulty: constants of the estimate, wanted where the policy needs them;
    `calibration` (an object with `.difficulty`) stands for it with policy "dart".
    checks: a preset or a list of kinds (edgerun.options). strict: UnsupportedOpError where only onnx.reference could run a node
    (otherwise an EdgeRunWarning). in_place: whether results may be written over operands that nobody needs any more; such a step
    cannot be computed again. optimize, without: passes to leave out (for tests).
    Raises PlanError, OptionError, PolicyError, ModelFormatError, UnsupportedOpError, LimitError.
    """
    policy = policy or Policy()
    if paper.MODE in kinds_of(checks):
        without = {*without, *paper.APART}
    if difficulty is None and calibration is not None and policy.kind == "dart":
        difficulty = calibration.difficulty
    exits = exit_outputs(graph)
    if policy.kind != "none" and not exits:
        raise PolicyError(f"{graph.name}: exit policy {policy.kind} needs a model with exits (metadata edgerun.exits)")
    if graph.dynamic and policy.kind != "none":
        raise PolicyError(f"{graph.name}: exit policy {policy.kind} needs shapes known ahead of time; {graph.dynamic}")
    if graph.dynamic:
        return whole_model(graph, graph.dynamic, strict)
    if graph.model.graph.meta.get("used"):
        raise PlanError(f"{graph.name}: this graph was already made into a plan; import the model again")
    graph.model.graph.meta["used"] = True
    try:
        return _Maker(graph, policy, exits, strict, in_place).make(difficulty, checks, optimize, without)
    except Unsupported as refusal:
        return whole_model(graph, refusal.reason, strict)


class _Maker:
    def __init__(self, graph: Graph, policy: Policy, exits: list[int], strict: bool, in_place: bool) -> None:
        self.graph, self.policy, self.exits, self.in_place = graph, policy, exits, in_place
        self.root = graph.model.graph
        self.draft = Draft(dict(self.root.opset_imports), strict)
        self.outputs: dict[int, int] = {}
        self.points: list[ExitPoint] = []

    def make(self, difficulty: DifficultySource | None, checks: str, optimize: bool, without: Collection[str]) -> Plan:
        for index, value in enumerate(self.root.inputs):
            self.draft.input(value, index)
        passes.run(self.graph.model, optimize=optimize, without=without)
        estimate = self._difficulty(difficulty) if difficulty is not None else None
        for number, nodes in enumerate(segments(self.root, self.exits)):
            self.draft.segment = number
            for node in nodes:
                self.draft.lower(node)
            if self.exits:
                self._exit(number)
        for index in range(len(self.root.outputs)):
            self._output(index)
        if self.exits:
            self._point(len(self.exits) - 1)
        return self._assemble(estimate, checks)

    # -- outputs and exits --------------------------------------------------------------------------------------------

    def _output(self, index: int) -> int:
        """Slot of a model output: bytes of its own, in the arena."""
        if index in self.outputs:
            return self.outputs[index]
        draft, value = self.draft, self.root.outputs[index]
        slot = draft.use(value)
        roots = {draft.slots[s].root for s in self.outputs.values()}
        if draft.slots[slot].place != "arena" or draft.slots[slot].root in roots:
            source, slot = slot, draft.add(self.graph.outputs[index], draft.slots[slot].dtype, shape_of(value), "arena")
            draft._node = None
            draft.copy(source, slot, value)
        self.outputs[index] = slot
        return slot

    def _exit(self, number: int) -> None:
        self._output(self.exits[number])
        if number < len(self.exits) - 1:
            self._point(number)
            self.draft._node = None
            self.draft.step("exit", [], [], {"index": (number,)})

    def _point(self, number: int) -> None:
        draft, index = self.draft, self.exits[number]
        slot = self.outputs[index]
        name = self.graph.outputs[index]
        if draft.slots[slot].dtype != "f32":
            raise ModelFormatError(
                f"{self.graph.name}: exit '{name}': expected float32 scores, found {draft.slots[slot].dtype}"
            )
        self.points.append(
            ExitPoint(
                name,
                slot,
                not _is_softmax(self.root.outputs[index]),
                sum(s.macs for s in draft.steps),
                len(draft.steps),
            )
        )

    # -- difficulty ---------------------------------------------------------------------------------------------------

    def _difficulty(self, source: DifficultySource) -> Difficulty:
        draft = self.draft
        image = draft.use(self.root.inputs[0])
        attrs = difficulty_attrs(self.graph, draft.slots[image].shape, draft.slots[image].dtype)
        slot = draft.add("difficulty", "f32", (4,), "arena")
        low, high, weights = (tuple(float(v) for v in triple) for triple in (source.low, source.high, source.weights))
        tau = float(source.tau_edge)
        draft.step(
            "difficulty_f32",
            [image],
            [slot],
            {**attrs, "tau_edge": (tau,), "low": low, "high": high, "weights": weights},
        )
        return Difficulty(slot, weights, low, high, tau)  # type: ignore[arg-type]

    # -- the end ------------------------------------------------------------------------------------------------------

    def _assemble(self, estimate: Difficulty | None, checks: str) -> Plan:
        draft = self.draft
        kept = [*self.outputs.values(), *([estimate.slot] if estimate else [])]
        offsets, arena, _ = memory.place(draft.slots, draft.steps, kept, self.in_place)
        need = arena + sum(c.nbytes for c in draft.constants)
        if need > self.graph.budget:
            raise refuse(self.graph.name, "memory of weights and intermediate results", size(need), size(self.graph.budget),
                         "max_memory= (--max-memory)")
        used = {s for step in draft.steps for s in (*step.inputs, *step.outputs) if s >= 0} | set(kept)
        used |= set(range(len(self.root.inputs)))
        number = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
        slots = []
        for old in sorted(used):
            s = draft.slots[old]
            slots.append(Slot(s.name, s.dtype, s.shape, s.place, offsets[s.root] if s.place == "arena" else s.index))
        steps = tuple(
            Step(
                s.kernel,
                tuple(number[i] for i in s.inputs),
                tuple(number[i] for i in s.outputs),
                s.attrs,
                s.node,
                s.op,
                (),
                s.segment,
                s.macs,
            )
            for s in draft.steps
        )
        points = tuple(ExitPoint(p.name, number[p.slot], p.logits, p.macs, p.step) for p in self.points)
        if estimate is not None:
            estimate = Difficulty(
                number[estimate.slot], estimate.weights, estimate.low, estimate.high, estimate.tau_edge
            )
        inputs = tuple(Port(p.name, number[k], p.onnx_shape) for k, p in enumerate(self.graph.inputs))
        outputs = tuple(
            Port(name, number[self.outputs[k]], self.graph.output_shapes[k])
            for k, name in enumerate(self.graph.outputs)
        )
        return protect(Plan(
            tuple(slots),
            steps,
            tuple(draft.constants),
            inputs,
            outputs,
            arena,
            points,
            self.policy,
            estimate,
            tuple(draft.fallbacks),
            {**{k: v for k, v in self.graph.metadata.items() if k != int8.KEY}, **int8.entry(draft.int8)},
        ), checks)


def _is_softmax(value: ir.Value) -> bool:
    node = producer(value)
    while node is not None and is_op(node, "reshape"):
        node = producer(node.inputs[0])
    return is_op(node, "softmax", "qsoftmax")
