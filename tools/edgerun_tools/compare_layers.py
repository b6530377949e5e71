"""Every tensor between two steps of our plan, compared with the other side's, a few at a time so that memory stays small."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from edgerun.errors import OptionError
from edgerun.importer.structure import all_nodes
from edgerun.planner.plan import CONTROL
from edgerun.planner.whole import is_whole_model
from edgerun_tools.compare_numbers import Bounds, Difference
from edgerun_tools.compare_plans import LAYERS_THAT_MOVE, MOVES
from edgerun_tools.compare_sides import GIVEN, Feeds, Opened, Ours, Side, Values

GROUP_BYTES = 128 << 20
"""Tensors handed out by one run, about; more of them take more runs."""
TOGETHER = "handing it out together with those before it would change the plan"


@dataclass(frozen=True)
class Row:
    """One tensor: the step that makes it, how far it is from the other side's (`steps`: in quantisation steps, None for
    numbers that were not quantised), and whether that is accepted."""

    step: int
    node: str
    op: str
    kernel: str
    tensor: str
    difference: Difference
    bound: float
    within: bool
    output: bool
    steps: float | None = None


@dataclass
class Report:
    """What a comparison found.

    isolated: the other side went on from our tensors. rows: in the order of our steps, model outputs among them.
    left_out: tensor → why it could not be compared. reproduced: whether the model's outputs kept every bit while tensors
    were handed out.
    """

    model: str
    ours: Ours
    other: str
    inputs: list[str]
    bounds: Bounds
    isolated: bool = False
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    reproduced: bool = True

    @property
    def first(self) -> Row | None:
        """The first row that differs by more than its bound."""
        return next((r for r in self.rows if not r.within), None)

    @property
    def unseen(self) -> list[int]:
        """Steps that compute something of which no row tells."""
        seen = {r.step for r in self.rows}
        return [k for k, s in enumerate(self.ours.plan.steps) if k not in seen and s.kernel not in CONTROL
                and not (s.kernel.startswith(MOVES) and s.op not in LAYERS_THAT_MOVE)]

    @property
    def suspects(self) -> list[int]:
        """Unseen steps between the first row that differs and the one before it: the cause may be there too."""
        if self.first is None:
            return []
        before = max((r.step for r in self.rows if r.step < self.first.step), default=-1)
        return [k for k in self.unseen if before < k < self.first.step]


def layers(report: Report, theirs: Side, feeds: Sequence[Feeds]) -> None:
    """Fill a report: outputs of the model as planned, then the tensors between the steps, group by group.

    Raises OptionError where the other side refuses the model, or is another model without a tensor of the same name.
    """
    ours = report.ours
    plain, reference = ours.open(()), theirs.open(())
    assert plain is not None and reference is not None  # the plan is that of the session
    found = _Found(report)
    own: list[Values] = []
    try:
        for given in feeds:
            own.append(plain.call(given))
            found.add(own[-1], reference.call(given), plain)
        other = theirs if isinstance(theirs, Ours) else None
        missing = [n for n in ours.names if other is not None and n not in other.types]
        report.left_out.update(dict.fromkeys(missing, f"{theirs.label} has no tensor of this name"))
        names = [n for n in ours.names if n not in report.left_out]
        if report.isolated:
            names = _handed_out(report, names)
            groups = _groups(ours, names)
            last = [o.name for o in ours.session.outputs]
            for k, group in enumerate(groups):
                wanted = [*group, *last] if k == len(groups) - 1 else group
                if not _run(found, theirs, group, feeds, own, _feeding(ours, wanted, set(names)) - set(group)):
                    report.left_out.update(dict.fromkeys(group, TOGETHER))
        else:
            _bisected(report, names, lambda some: _run(found, theirs, some, feeds, own))
    finally:
        plain.close()
        reference.close()
    report.rows = found.rows()
    if not report.rows:
        raise OptionError(f"compare: expected tensors of the same names on both sides; {theirs.label} has none of the "
                          f"outputs {', '.join(o.name for o in ours.session.outputs)} and no other tensor of our plan")


def _bisected(report: Report, names: Sequence[str], tried: Callable[[Sequence[str]], bool]) -> None:
    """Try groups of tensors, and their halves where that fails; what fails alone is left out of the report."""
    pending = deque(_groups(report.ours, names))
    while pending:
        some = pending.popleft()
        if tried(some):
            continue
        if len(some) == 1:
            report.left_out[some[0]] = "handing it out would change the plan"
        else:
            half = len(some) // 2
            pending.extendleft((some[half:], some[:half]))


def _handed_out(report: Report, names: Sequence[str]) -> list[str]:
    """Those tensors that our side can hand out."""

    def opens(some: Sequence[str]) -> bool:
        opened = report.ours.open(some)
        if opened is not None:
            opened.close()
        return opened is not None

    _bisected(report, names, opens)
    return [n for n in names if n not in report.left_out]


def _feeding(ours: Ours, wanted: Iterable[str], known: set[str]) -> set[str]:
    """The known tensors from which the wanted ones are computed without another known one between: what a layer by itself
    has to go on from."""
    makers = {name: node for node in ours.session.proto.graph.node for name in node.output}
    found: set[str] = set()
    seen: set[str] = set()
    pending = [makers[n] for n in wanted if n in makers]
    while pending:
        for name in (i for n in all_nodes([pending.pop()]) for i in n.input):
            if name in known:
                found.add(name)
            elif name in makers and name not in seen:
                seen.add(name)
                pending.append(makers[name])
    return found


def _run(found: _Found, theirs: Side, names: Sequence[str], feeds: Sequence[Feeds], own: Sequence[Values],
         before: Iterable[str] = ()) -> bool:
    """Compare these tensors in all runs; False where either side cannot hand them out together. before: further tensors that
    the other side goes on from."""
    handed = [*before, *names]
    left = found.report.ours.open(handed)
    if left is None:
        return False
    right = theirs.open(handed)
    if right is None:
        left.close()
        return False
    if right.given:
        found.forget(own[0])  # the model's outputs, made from its own tensors
    try:
        for given, plain in zip(feeds, own, strict=True):
            a = left.call(given)
            b = right.call({**given, **{n + GIVEN: a[n] for n in right.given}})
            found.report.reproduced &= all(a[n].tobytes() == plain[n].tobytes() for n in plain)
            found.add({n: a[n] for n in (*names, *(plain if right.given else ()))}, b, left)
    finally:
        left.close()
        right.close()
    return True


def _groups(ours: Ours, names: Iterable[str]) -> list[list[str]]:
    """Names in order, cut where a group would hold more than GROUP_BYTES."""
    groups: list[list[str]] = []
    held = GROUP_BYTES
    for name in names:
        size = ours.size(name)
        if held + size > GROUP_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
    return groups


class _Found:
    """Differences gathered over groups and runs."""

    def __init__(self, report: Report) -> None:
        self.report, self._ours = report, report.ours
        self._differences: dict[str, Difference] = {}
        self._makers: dict[str, int] = {}
        self._nodes = {name: node for node in self._ours.session.proto.graph.node for name in node.output}

    def add(self, ours: Values, theirs: Values, opened: Opened) -> None:
        """Take in the tensors of one run that both sides have."""
        for name, a in ours.items():
            if name not in theirs:
                self.report.left_out[name] = "the other side has no tensor of this name"
            elif name in opened.makers:
                difference = Difference.of(a, theirs[name])
                self._makers[name] = opened.makers[name]
                if name in self._differences:
                    self._differences[name].join(difference)
                else:
                    self._differences[name] = difference

    def forget(self, names: Iterable[str]) -> None:
        """Leave out what was found for these tensors."""
        for name in names:
            self._differences.pop(name, None)

    def rows(self) -> list[Row]:
        """In the order of the steps; of one step's tensors, in the order of the model's nodes."""
        order = {name: k for k, name in enumerate(self._nodes)}
        names = sorted(self._differences, key=lambda n: (self._makers[n], order.get(n, -1)))
        return [self._row(name) for name in names]

    def _row(self, name: str) -> Row:
        plan, bounds, difference = self._ours.plan, self.report.bounds, self._differences[name]
        step = plan.steps[self._makers[name]]
        node, op = step.node, step.op
        if is_whole_model(plan) and name in self._nodes:  # one step for all: the model's own words say more
            node, op = self._nodes[name].name, self._nodes[name].op_type
        return Row(self._makers[name], node, op, step.kernel, name, difference, bounds.bound(name, difference),
                   bounds.within(name, difference), name in {o.name for o in self._ours.session.outputs},
                   bounds.steps_of(name, difference))
