"""Early exits in generated C: what a policy needs, which outputs a run has with one, and what becomes of the exit taken.

With a policy the exits' outputs are one, `scores`: those of the exit taken. Outputs that are no exit's are written where they were computed
before the run left, as by the engine, and else left as they were. With policy none nothing of this is in the C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgerun.errors import PolicyError, ShapeError
from edgerun.planner.plan import Plan, Port, Step
from edgerun_tools.codegen.text import identifier, remark

Ports = Sequence[tuple[Port, str]]
"""Ports with their names in C."""
SUPPORTED = ("none", "confidence", "entropy", "patience", "dart")


def active(plan: Plan) -> bool:
    """Whether a run may leave early."""
    return plan.policy.kind != "none"


def refuse_policy(name: str) -> None:
    """PolicyError for what generated C cannot decide by."""
    if name == "deadline":
        raise PolicyError(f"exit policy deadline: generated C has no clock, and segment times measured where the model was calibrated say "
                          f"nothing of the core: expected one of {', '.join(SUPPORTED)}; found deadline; on one core every run to an exit "
                          "takes the same instructions (edgerun board run counts them), so name the exit that is in time: exit policy "
                          "confidence, thresholds 2 before it and -1 from it on")


def refuse(plan: Plan) -> None:
    """PolicyError, or ShapeError where exits give scores of different numbers of classes."""
    refuse_policy(plan.policy.kind)
    if not active(plan):
        return
    classes = {e.name: plan.slots[e.slot].elements for e in plan.exits}
    if len(set(classes.values())) != 1:
        raise ShapeError(f"exit policy {plan.policy.kind}: generated C has one array of scores: expected exits of equally many classes; "
                         f"found {', '.join(f'{n}: {c}' for n, c in classes.items())}; generate it with exit policy none")
    if plan.policy.kind == "dart" and plan.difficulty is None and (plan.policy.beta or plan.policy.table):
        raise PolicyError("exit policy dart: expected a plan that estimates the difficulty; found one without; a defect of edgerun, please "
                          "report it")


def outputs(plan: Plan) -> tuple[Port, ...]:
    """What `run` has parameters for: the plan's outputs, or `scores` and those that are no exit's."""
    if not active(plan):
        return plan.outputs
    slots = {e.slot for e in plan.exits}
    others = tuple(p for p in plan.outputs if p.slot not in slots)
    name = "scores"
    while name in {p.name for p in (*plan.inputs, *others)}:
        name = f"exit_{name}"
    last = plan.exits[-1].slot
    return (Port(name, last, next(p.onnx_shape for p in plan.outputs if p.slot == last)), *others)


def reached(plan: Plan, slot: int) -> int:
    """The first exit at which an output is there."""
    found = plan.slots[slot]
    low, high = found.offset, found.offset + found.nbytes

    def writes(index: int) -> bool:
        s = plan.slots[index]
        return index == slot or (s.place == "arena" and found.place == "arena" and s.offset < high and low < s.offset + s.nbytes)

    last = max((k for k, s in enumerate(plan.steps) if any(writes(i) for i in s.outputs)), default=-1)
    return sum(1 for s in plan.steps[:last + 1] if s.kernel == "exit")


def name(plan: Plan, step: Step) -> str:
    """For comments: the exit at which a step decides."""
    return remark(plan.exits[int(step.attrs["index"][0])].name)


def called(plan: Plan, port: Port) -> str:
    """For the header: what a parameter is in the model."""
    if active(plan) and port == outputs(plan)[0]:
        return "of the exit taken"
    return f"in the model '{remark(port.name)}'"


def order(plan: Plan) -> str:
    """For the header: the parameters of run behind the inputs."""
    return "the scores of the exit taken, other outputs in the model's order" if active(plan) else "outputs in the model's order"


def described(plan: Plan) -> list[str]:
    """For the header: the policy, and what lies before each exit."""
    if not active(plan):
        return []
    lines = [f" * Leaves early by policy {plan.policy.kind}; a run answers with the scores of the exit that report->exit_taken names:"]
    for k, e in enumerate(plan.exits):
        kind = "logits" if e.logits else "probabilities"
        lines.append(f" *   {k}: '{remark(e.name)}', {kind}, after {e.macs} multiply-accumulates")
    late = [p for p in outputs(plan)[1:] if reached(plan, p.slot)]
    lines += [f" *   '{remark(p.name)}' is written from exit {reached(plan, p.slot)} on, and else left as it was" for p in late]
    return [*lines, " *"]


# -- the text of infer, run and selftest ----------------------------------------------------------------------------------


class Through:
    """Policy none: infer computes every step, run hands out the plan's outputs."""

    names: frozenset[str] = frozenset()
    """In infer and run, which inputs and outputs must not have."""
    does = "All steps"
    result = "void"
    parameters: tuple[str, ...] = ()
    """Of infer, behind the inputs."""
    whole: tuple[str, ...] = ()
    """The arguments for them with which it goes to the end."""
    end: tuple[str, ...] = ()
    """Its last line."""
    give_up = "return;"
    """How it ends before."""
    declared: tuple[str, ...] = ()
    """First lines of run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.taken = str(max(len(plan.exits) - 1, 0))
        """C expression of the exit taken."""

    def call(self, inputs: str) -> str:
        """How run calls infer."""
        return f"infer({inputs});"

    def begun(self, inputs: str, reports: list[str]) -> list[str]:
        """How run begins without checks. reports: what fills the report."""
        return [*reports, f"  {self.call(inputs)}"]

    def copies(self, ports: Ports, held: Mapping[int, str]) -> list[str]:
        """How run hands results out. held: slot → C expression of where it lies."""
        return self.each(ports, lambda slot, n: [f"  memcpy({n}, {held[slot]}, {self.plan.slots[slot].nbytes});"])

    def each(self, ports: Ports, lines: Callable[[int, str], list[str]]) -> list[str]:
        """Statements about every result that is handed out, by its slot and the parameter that takes it."""
        return [line for port, n in ports for line in lines(port.slot, n)]

    def tested(self, ports: Ports) -> Ports:
        """The plan's outputs, with names for the self-test."""
        return ports


class Leaving(Through):
    """Any other policy: infer returns the exit taken, run hands out its scores."""

    names = frozenset({"leave", "taken"})
    does = "Up to the exit taken, which it returns; to the last where not `leave`"
    result = "int16_t"
    parameters = ("int leave",)
    whole = ("0",)
    give_up = "return 0;"
    declared = ("  int16_t taken;",)

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.end = (f"  return {len(plan.exits) - 1};",)
        self.taken = "taken"

    def call(self, inputs: str) -> str:
        return f"taken = infer({inputs}, 1);"

    def begun(self, inputs: str, reports: list[str]) -> list[str]:
        return [f"  {self.call(inputs)}", *reports]

    def each(self, ports: Ports, lines: Callable[[int, str], list[str]]) -> list[str]:
        found = ["  switch (taken) {"]
        for k, e in enumerate(self.plan.exits):
            label = f"case {k}" if k < len(self.plan.exits) - 1 else "default"
            found.append(f"    {label}: {' '.join(line.strip() for line in lines(e.slot, ports[0][1]))} break;")
        found.append("  }")
        for port, n in ports[1:]:
            first = reached(self.plan, port.slot)
            found += [(f"  if (taken >= {first}) " if first else "  ") + line.strip() for line in lines(port.slot, n)]
        return found

    def tested(self, ports: Ports) -> Ports:
        taken = {n for _, n in ports}
        return [(p, identifier(p.name, taken)) for p in self.plan.outputs]


def way(plan: Plan) -> Through:
    """How a plan is run."""
    return Leaving(plan) if active(plan) else Through(plan)
