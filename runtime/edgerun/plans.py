"""The plans of one model, one per combination of input shapes, each with the executor that serves it."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgerun import importer, planner
from edgerun.describe import Description
from edgerun.errors import EdgeRunWarning, InputError, PlanError
from edgerun.executors import engine, reaction
from edgerun.executors.base import Executor, Finding, RawRun
from edgerun.executors.dynamic import DynamicExecutor
from edgerun.exits import Calibration
from edgerun.exits.adaptive import Adaptive
from edgerun.importer.read import Checked
from edgerun.options import Options, default_threads
from edgerun.planner.decide import NEVER
from edgerun.planner.plan import Plan, Policy
from edgerun.planner.whole import is_whole_model
from edgerun.result import ExitTaken

TUNE_AFTER = (3, 30, 300, 1000, 3000)
"""Runs of a plan after which the threads of its steps are measured: not at the first, which may be the only one, and
more than once, so that a moment in which other programs had the cores does not stay."""
Shapes = tuple[tuple[int, ...], ...]


@dataclass
class Ready:
    """A plan with its executor (`kind`: "engine" or "python"), and what a result needs of it.

    work: multiply-accumulates up to each exit, or of the whole plan; names: of the outputs; taken: one entry per exit, at
    least one; audit: an executor that decides nothing and runs to the last exit, for adaptive thresholds; untuned: runs
    until the threads of the steps are measured next, 0 when that is done or not wanted; tuned: how often that happened;
    on_fault: one of options.REACTIONS. pinned: somebody holds on to it, so it stays until `close`, beside the `plan_cache` others.
    """

    plan: Plan
    executor: Executor
    kind: str
    work: tuple[int, ...]
    names: tuple[str, ...]
    taken: tuple[ExitTaken, ...]
    audit: Executor | None = None
    untuned: int = 0
    tuned: int = 0
    on_fault: str = "flag"
    pinned: bool = False

    def run(self, arrays: Sequence[np.ndarray], executor: Executor | None = None) -> RawRun:
        """One answer of `executor`, or of the plan's own. What is done about findings the engine does itself."""
        chosen = executor or self.executor
        return chosen.run(arrays) if self.kind == "engine" else reaction.run(chosen, arrays, self.on_fault)

    def tune(self, arrays: Sequence[np.ndarray]) -> None:
        """Count a run; at the right one, measure which steps gain from several threads. Answers do not change."""
        self.untuned -= 1
        if self.untuned == 0 and isinstance(self.executor, engine.EngineExecutor):
            self.executor.tune(arrays)
            self.tuned += 1
            if self.tuned < len(TUNE_AFTER):
                self.untuned = TUNE_AFTER[self.tuned] - TUNE_AFTER[self.tuned - 1]

    def close(self) -> None:
        self.executor.close()
        if self.audit is not None:
            self.audit.close()


class Plans:
    """Makes plans when they are asked for and keeps the last `Options.plan_cache` ones. Not thread-safe."""

    def __init__(self, checked: Checked, said: Description, options: Options, policy: Policy,
                 calibration: Calibration | None, adaptive: Adaptive | None) -> None:
        self._checked, self._name, self._said, self._options = checked, checked.name, said, options
        self._policy, self._calibration, self._adaptive = policy, calibration, adaptive
        self._threads = options.threads or default_threads()
        self._held: OrderedDict[Shapes, Ready] = OrderedDict()
        self._current: tuple[Shapes, Ready] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._held)

    @property
    def latest(self) -> Ready | None:
        """What was asked for last."""
        return self._current[1] if self._current else None

    def ready(self, shapes: Shapes) -> Ready:
        """The plan for inputs of these shapes, with its executor. Raises PlanError, ModelError, PolicyError, InputError
        (an empty batch through a model with exits)."""
        if self._current is not None and self._current[0] == shapes:
            return self._current[1]
        if self._closed:
            raise PlanError(f"{self._name}: expected an open session; found it closed")
        found = self._held.get(shapes)
        if found is None:
            found = self._held[shapes] = self._serve(self._make(shapes))
            for old in [s for s, r in self._held.items() if not r.pinned][:-self._options.plan_cache]:
                self._held.pop(old).close()
        self._held.move_to_end(shapes)
        self._current = shapes, found
        return found

    def set_coefficients(self, coeff: Sequence[Sequence[float]]) -> None:
        """Hand adaptive factors to every executor."""
        for held in self._held.values():
            held.executor.set_coefficients(coeff)

    def scrub(self) -> tuple[Finding, ...]:
        """What does not hold of the weights and tables of every executor."""
        return tuple(f for held in self._held.values() for f in held.executor.scrub())

    def close(self) -> None:
        """Close every executor; `ready` refuses from now on."""
        self._closed, self._current = True, None
        while self._held:
            self._held.popitem()[1].close()

    def _make(self, shapes: Shapes) -> Plan:
        named = {i.name: s for i, s in zip(self._said.inputs, shapes, strict=True)}
        empty = [f"{n} {list(s)}" for n, s in named.items() if self._said.exits and s and s[0] == 0]
        if empty:
            raise InputError(f"{self._name}: expected batches of at least one sample; found {', '.join(empty)}")
        single = all(len(s) == 0 or s[0] == 1 for s in shapes)  # an exit decides for one sample
        return planner.make_plan(importer.load(self._checked, shapes=named), policy=self._policy if single else Policy(),
                                 calibration=self._calibration, strict=self._options.strict, checks=self._options.checks,
                                 in_place=self._options.reaction == "flag")

    def _serve(self, plan: Plan) -> Ready:
        wanted = self._options.executor
        if is_whole_model(plan):
            return self._ready(plan, DynamicExecutor(plan, self._part, **self._bounds()), "python")
        reason = engine.unsupported(plan) if wanted != "python" else "asked for"
        if wanted == "engine" and reason:
            raise PlanError(f"{self._name}: executor engine: {reason}; use executor auto or python")
        if wanted == "auto" and reason and engine.available() and not plan.fallbacks:  # fallbacks were warned of already
            warnings.warn(f"{self._name}: {reason}; the slower Python executor serves", EdgeRunWarning, stacklevel=5)
        executor, audit = self._executor(plan, reason), None
        if self._adaptive is not None and plan.exits:
            never = replace(plan.policy, thresholds=(NEVER,) * (len(plan.exits) - 1), table=(), bin_edges=())
            audit = self._executor(replace(plan, policy=never), reason)
            executor.set_coefficients(self._adaptive.coefficients())
        return self._ready(plan, executor, "python" if reason else "engine", audit)

    def _ready(self, plan: Plan, executor: Executor, kind: str, audit: Executor | None = None) -> Ready:
        tune = self._options.tune and kind == "engine" and self._threads > 1
        return Ready(plan, executor, kind, tuple(e.macs for e in plan.exits) or (plan.macs,),
                     tuple(p.name for p in plan.outputs), self._taken(plan), audit, TUNE_AFTER[0] if tune else 0,
                     on_fault=self._options.reaction)

    def _part(self, plan: Plan) -> Executor:
        """The executor of one node of a model that runs node by node: the engine's where that is built."""
        return self._executor(plan, "asked for" if self._options.executor == "python" else engine.unsupported(plan))

    def _bounds(self) -> dict[str, Any]:
        o = self._options
        return {"name": self._name, "checks": o.checks, "budget": self._checked.budget, "limits": o.limits, "native": o.strict}

    def _taken(self, plan: Plan) -> tuple[ExitTaken, ...]:
        """Where a run may end; a batch through a model with exits decides nothing and ends at the last one."""
        names = [e.name for e in plan.exits]
        if names:
            return tuple(ExitTaken(k, len(names), name) for k, name in enumerate(names))
        exits, outputs = self._said.exits, self._said.outputs
        if exits:
            return (ExitTaken(len(exits) - 1, len(exits), exits[-1]),)
        return (ExitTaken(0, 1, outputs[0].name if outputs else ""),)

    def _executor(self, plan: Plan, reason: str) -> Executor:
        if reason:
            from edgerun.executors.python import PythonExecutor  # not at the top: Numba takes a second to import

            return PythonExecutor(plan, self._part, scrub_bytes=self._options.scrub_bytes or 0, **self._bounds())
        return engine.EngineExecutor(plan, self._threads, self._options.checks != "off", seconds=self._options.timeout,
                                     scrub_bytes=self._options.scrub_bytes or 0, on_fault=self._options.reaction)
