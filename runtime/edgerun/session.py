"""A model, ready to run: with `plans`, the only place where importer, planner, executors and exits are put together."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np

from edgerun import exits
from edgerun.describe import class_count, describe, restricted
from edgerun.errors import FaultError, InputError, ModelFormatError, OptionError, PolicyError, ShapeError
from edgerun.executors.base import Fault, Finding, RawRun
from edgerun.executors.engine import EngineExecutor
from edgerun.exits import store
from edgerun.exits.adaptive import Adaptive, Observation
from edgerun.feeds import FeedChecker, TensorInfo, check_feeds, is_finite
from edgerun.importer.read import read
from edgerun.ledger import Counters, Ledger
from edgerun.options import Options, default_threads
from edgerun.planner.plan import Plan, Policy
from edgerun.plans import Plans, Ready
from edgerun.result import CheckReport, Result
from edgerun.stream import Stream, pair_states

Light = Callable[[Sequence[np.ndarray]], Sequence[Any] | None]
"""See `Session.light`."""


@dataclass(frozen=True)
class StepTime:
    """Mean time of one step in microseconds, and what it computes."""

    step: int
    kernel: str
    op: str
    node: str
    us: float
    macs: int


class Session:
    """Load an ONNX model and run it.

        with edgerun.Session("model.onnx", exit_policy="dart") as session:
            result = session.run(x)                  # one input: the array; several: {name: array}
            print(result.top, result.exit, result.checks)

    model: path, or the file's bytes. Keyword arguments are the fields of `edgerun.options.Options`; `labels` replaces
    the class names in the model; `on_finding` is called with every `Finding`, after the run and while nothing is locked (what it
    raises, `run` raises). Raises ModelError (file, operators, shapes), PolicyError, OptionError.

    Input shapes may differ from run to run where the model's dimensions are symbolic; one plan per combination of
    shapes is kept, the last `plan_cache` ones. Any number of sessions may run at once; calls of one session queue up.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, *, labels: Sequence[str] | None = None,
                 on_finding: Callable[[Finding], object] | None = None, **options: Any) -> None:
        unknown = sorted(set(options) - set(Options.__dataclass_fields__))
        if unknown:
            known = ", ".join(["labels", "on_finding", *Options.__dataclass_fields__])
            raise OptionError(f"Session: expected options among {known}; found {', '.join(unknown)}")
        self.options = Options(**options)
        self.threads = self.options.threads or default_threads()
        self.refuses_nonfinite = self.options.nonfinite == "error"
        checked = read(model, self.options.limits, allow_nan=not self.refuses_nonfinite)
        if self.options.outputs is not None:
            checked = replace(checked, proto=restricted(checked.proto, checked.name, self.options.outputs))
        self.proto, self.name = checked.proto, checked.name
        said = describe(self.proto, self.name)
        self.inputs, self.outputs, self.metadata = said.inputs, said.outputs, said.metadata
        self.exits, self.preprocess, self.features = said.exits, said.preprocess, said.features
        self.labels = self._labels_of(labels, said.labels)
        self._named_by_caller = labels is not None
        self._probabilities = said.probabilities
        self.calibration = self._calibration()
        self.policy = self._policy()
        self.adaptive = self._adaptive()
        self.check = FeedChecker(self.inputs, self.refuses_nonfinite)
        self._lock = threading.RLock()
        self._ledger = Ledger(self.name, on_finding, self.options.fault_log)
        self._plans = Plans(checked, said, self.options, self.policy, self.calibration, self.adaptive)
        self.fixed_inputs = self._fixed_inputs()
        if all(i.fixed for i in self.fixed_inputs):  # say now, not at the first run, what cannot be planned
            self._plans.ready(tuple(i.shape for i in self.fixed_inputs))  # type: ignore[misc]

    def _labels_of(self, given: Sequence[str] | None, stored: tuple[str, ...]) -> tuple[str, ...]:
        """The caller's labels, else the model's. OptionError (or ModelFormatError) where they do not fit the outputs."""
        if isinstance(given, str) or (given is not None and not all(isinstance(v, str) for v in given)):
            raise OptionError(f"labels: expected a list of class names; found {given!r}")
        labels = stored if given is None else tuple(given)
        if given is None and not (stored and self.exits):  # a detector's labels, say, fit no output
            return labels
        scored = [o for o in self.outputs if (not self.exits or o.name in self.exits) and o.name != self.features]
        fits = [len(labels) > 0 and class_count(o) in (None, len(labels)) for o in scored]
        if not (all(fits) if self.exits else any(fits)):
            error = ModelFormatError if given is None else OptionError
            raise error(f"{self.name}: labels: expected one for each score of {', '.join(map(str, scored))}; found "
                        f"{len(labels)}")
        return labels

    def _calibration(self) -> exits.Calibration | None:
        if exits.KEY not in self.metadata or not self.exits:
            return None
        return store.loads(self.metadata[exits.KEY], len(self.exits), store.graph_digest(self.proto))

    def _policy(self) -> Policy:
        o = self.options
        policy = exits.make(o.exit_policy, thresholds=o.thresholds, patience=o.patience, budget_ms=o.budget_ms)
        if o.exit_policy != "none" and not self.exits:
            raise PolicyError(f"exit policy {o.exit_policy}: expected a model with exits (metadata edgerun.exits lists "
                              f"their output names); found outputs {', '.join(t.name for t in self.outputs)} and no "
                              "such list; use exit policy none")
        return policy.tables(self.calibration, len(self.exits))

    def _adaptive(self) -> Adaptive | None:
        if not self.options.adaptive or self.calibration is None:
            return None
        last = next(o for o in self.outputs if o.name == self.exits[-2 if self.features else -1])
        return Adaptive.of(self.calibration, class_count(last) or len(self.labels))

    def _fixed_inputs(self) -> tuple[TensorInfo, ...]:
        """The inputs with the caller's shapes and dimensions put in, and a symbolic first dimension of 1."""
        o = self.options
        known = {i.name: i for i in self.inputs}
        sizes = dict(o.dimensions)
        symbols = dict.fromkeys(d for i in self.inputs for d in i.shape if isinstance(d, str))
        unknown = [repr(d) for d in sizes if d not in symbols]
        if unknown:
            raise OptionError(f"dimensions: expected symbolic dimensions of the inputs ({', '.join(symbols) or 'none'}); "
                              f"found {', '.join(unknown)}")
        for name, shape in o.shapes.items():
            if name not in known:
                raise OptionError(f"shapes: expected an input among {', '.join(known)}; found {name!r}")
            want = known[name].shape
            if len(want) != len(shape) or any(isinstance(w, int) and w != s for w, s in zip(want, shape, strict=True)):
                raise ShapeError(f"shapes: expected one that fits {known[name]}; found {list(shape)}")
            sizes |= {d: s for d, s in zip(want, shape, strict=True) if isinstance(d, str)}
            known[name] = replace(known[name], shape=tuple(shape))
        fixed = []
        for i in known.values():
            dims = tuple(sizes.get(d, d) if isinstance(d, str) else d for d in i.shape)
            if dims and not isinstance(dims[0], int):
                dims = (1, *dims[1:])
            fixed.append(replace(i, shape=dims))
        return tuple(fixed)

    # -- plans --------------------------------------------------------------------------------------------------------

    def _default(self) -> Ready:
        unknown = [str(i) for i in self.fixed_inputs if not i.fixed]
        if unknown:
            raise ShapeError(f"{self.name}: expected the shape of {', '.join(unknown)}; give shapes={{name: (…)}} "
                             "(--shape NAME=1x3x224x224)")
        return self._plans.ready(tuple(i.shape for i in self.fixed_inputs))  # type: ignore[misc]

    @property
    def plan(self) -> Plan:
        """The plan for the model's own shapes (or the option `shapes`); ShapeError where these are not all known."""
        with self._lock:
            return self._default().plan

    @property
    def opset(self) -> int:
        """Version of the default ONNX operator set that the model was written for."""
        return max((o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx")), default=0)

    def plan_for(self, feeds: Any) -> Plan:
        """The plan that `run(feeds)` executes."""
        arrays = check_feeds(self.inputs, feeds, finite=False)
        with self._lock:
            return self._plans.ready(tuple(a.shape for a in arrays)).plan

    @property
    def executor_name(self) -> str:
        """"engine" or "python": what runs the model (for the model's own shapes, or the latest run)."""
        with self._lock:
            return (self._plans.latest or self._default()).kind

    # -- runs ---------------------------------------------------------------------------------------------------------

    def run_raw(self, arrays: Sequence[np.ndarray], learn: bool = False) -> RawRun:
        """Execute checked arrays in the order of the inputs; for callers that need no Result. learn: adaptive
        thresholds learn from this run."""
        try:
            with self._lock:
                ready = self._plans.ready(tuple([a.shape for a in arrays]))
                adaptive = self.adaptive if learn and ready.plan.policy.kind != "none" else None
                raw = ready.run(arrays) if adaptive is None else self._adapt(adaptive, ready, arrays)
                if ready.untuned:
                    ready.tune(arrays)
        except FaultError as e:
            self._aborted(e)
            raise
        self._ledger.ran(raw.findings, raw.reruns)
        return raw

    def light(self) -> Light:
        """`run_raw` of the model's own shapes as a function that gives the outputs alone, or None where a float input is not finite (it
        is not run then): for models of a few microseconds, nothing is looked up in a call. A vector [n] will do for an input [1, n].
        Any number of threads may call it, until the session is closed. ShapeError where shapes are not known."""
        with self._lock:
            ready = self._default()
            ready.pinned = True
        if isinstance(ready.executor, EngineExecutor) and not ready.untuned and self.policy.kind == "none":
            run = ready.executor.light(self._ledger.count, self._ledger.ran)
            return self._aborting(run) if self.options.reaction in ("abort", "exit-early") else run

        def each(arrays: Sequence[np.ndarray]) -> Sequence[Any] | None:
            full = check_feeds(self.fixed_inputs, {i.name: a[None] if np.ndim(a) == 1 and len(i.shape) == 2 else a
                                                   for i, a in zip(self.fixed_inputs, arrays, strict=True)}, finite=False)
            return self.run_raw(full).outputs if all(map(is_finite, full)) else None
        return each

    def _aborting(self, run: Light) -> Light:
        def call(arrays: Sequence[np.ndarray]) -> Sequence[Any] | None:
            try:
                return run(arrays)
            except FaultError as e:
                self._aborted(e)
                raise
        return call

    def run(self, feeds: Any) -> Result:
        """One run: an array where the model has one input, else {name: array}.

        Arrays must have the inputs' dtypes and fit their shapes (InputError otherwise; NaN and infinity too, unless
        nonfinite="allow"). With an exit policy, batches run sample by sample: each leaves at its own exit.
        """
        started = time.perf_counter_ns()
        arrays = self.check(feeds)
        if self.policy.kind != "none" and any(a.ndim and a.shape[0] != 1 for a in arrays):
            return self._run_each(arrays, started)
        try:
            with self._lock:
                ready = self._plans.ready(tuple([a.shape for a in arrays]))
                raw = ready.run(arrays) if self.adaptive is None else self._adapt(self.adaptive, ready, arrays)
                result = self._result(ready, raw, started)
                if ready.untuned:
                    ready.tune(arrays)
        except FaultError as e:
            self._aborted(e)
            raise
        self._ledger.ran(raw.findings, raw.reruns)
        return result

    def _aborted(self, error: FaultError) -> None:
        self._ledger.ran(error.findings, int(any(f.action == "rerun" for f in error.findings)), aborted=True)

    @property
    def counters(self) -> Counters:
        """What the checks found since the session was opened, and what became of it."""
        return self._ledger.counters

    def stream(self, state: Mapping[str, str] | None = None, initial: Mapping[str, np.ndarray] | None = None) -> Stream:
        """Run a model with state frame by frame, see `edgerun.stream.Stream`.

        state: {input: output} of the state; None: found by shape and type (`pair_states`). initial: arrays to begin with by
        input name, zeros without. OptionError where the state cannot be told, PolicyError with an exit policy, which could
        leave before the new state is computed."""
        if self.policy.kind != "none":
            raise PolicyError(f"stream: expected exit policy none, found {self.policy.kind}: an early exit leaves the state behind")
        return Stream(self.run, self.fixed_inputs, pair_states(self.inputs, self.outputs, state), initial)

    def _adapt(self, adaptive: Adaptive, ready: Ready, arrays: Sequence[np.ndarray]) -> RawRun:
        """One run whose exits teach the thresholds; now and then, as an audit, it goes on to the last exit."""
        audit = adaptive.want_audit() and ready.audit is not None
        raw = ready.run(arrays, ready.audit if audit else None)
        alpha = raw.difficulty[0] if raw.difficulty else 0.0
        if adaptive.observe(Observation(raw.classes, raw.scores, alpha, audit)):
            self._plans.set_coefficients(adaptive.coefficients())
        return raw

    def _result(self, ready: Ready, raw: RawRun, started: int) -> Result:
        index = raw.exit_index
        outputs = {n: a for n, a in zip(ready.names, raw.outputs, strict=True) if a is not None}
        taken = ready.taken[index]
        scored = taken.name if taken.of > 1 else self._only_scores(outputs) if self.labels else ""
        scores = None if scored == self.features else outputs.get(scored)
        logits = ready.plan.exits[index].logits if index >= 0 else scored not in self._probabilities
        return Result(outputs, taken, (time.perf_counter_ns() - started) / 1e6,
                      CheckReport(self.options.checks, raw.values_checked, raw.findings), scores,
                      raw.difficulty[0] if raw.difficulty else None, ready.work[index], ready.work[-1], logits,
                      self.labels)

    def _only_scores(self, outputs: Mapping[str, np.ndarray]) -> str:
        """Name of the output that holds one score per label, where the model (or the caller) names its classes; ""
        where there is no such output, or more than one."""
        fitting = [n for n, a in outputs.items() if a.ndim >= 2 and a.size == a.shape[0] * len(self.labels)]
        if not fitting and self._named_by_caller:  # the model does not declare how many classes there are
            raise OptionError(f"{self.name}: labels: expected one for each score of "
                              f"{', '.join(f'{n} {list(a.shape)}' for n, a in outputs.items())}; found "
                              f"{len(self.labels)}")
        return fitting[0] if len(fitting) == 1 else ""

    def _run_each(self, arrays: Sequence[np.ndarray], started: int) -> Result:
        sizes = {a.shape[0] for a in arrays if a.ndim}
        if len(sizes) != 1 or any(a.ndim == 0 for a in arrays) or 0 in sizes:
            raise InputError(f"exit policy {self.policy.kind}: expected one common batch size of at least 1; found "
                             f"{', '.join(str(list(a.shape)) for a in arrays)}")
        samples = tuple(self.run({i.name: a[k:k + 1] for i, a in zip(self.inputs, arrays, strict=True)})
                        for k in range(sizes.pop()))
        deepest = max(samples, key=lambda s: s.exit.index)
        shared = [n for n in deepest.outputs if all(n in s.outputs for s in samples)]
        hard = [s.difficulty for s in samples if s.difficulty is not None]
        found = tuple(f for s in samples for f in s.checks.findings)
        scores = [s.scores for s in samples if s.scores is not None]
        return Result({n: np.concatenate([s.outputs[n] for s in samples]) for n in shared}, deepest.exit,
                      (time.perf_counter_ns() - started) / 1e6,
                      CheckReport(self.options.checks, sum(s.checks.run for s in samples), found),
                      np.concatenate(scores) if len(scores) == len(samples) else None,
                      float(np.mean(hard)) if hard else None, sum(s.macs for s in samples),
                      sum(s.macs_total for s in samples), deepest.logits, self.labels, samples)

    def profile(self, feeds: Any, repeats: int = 10) -> list[StepTime]:
        """Mean time of every step over `repeats` runs that never leave early."""
        arrays = self.check(feeds)
        with self._lock:
            ready = self._plans.ready(tuple(a.shape for a in arrays))
            times = ready.executor.profile(arrays, repeats)
        return [StepTime(k, s.kernel, s.op, s.node, ns / 1e3, s.macs)
                for k, (s, ns) in enumerate(zip(ready.plan.steps, times, strict=True))]

    def arm_fault(self, step: int, index: int, mask: int) -> None:
        """For tests of the checks: in the next run (of the model's own shapes) XOR `mask` into the float32 bits of
        output `index` of plan step `step`, before it is checked."""
        with self._lock:
            self._default().executor.arm_fault(step, index, mask)

    def inject(self, fault: Fault) -> None:
        """Put a fault into the runs (of the model's own shapes) to come, see `edgerun.executors.base.Fault`. Raises PlanError
        naming what the step, or this executor, lacks."""
        with self._lock:
            self._default().executor.arm(fault)

    def sites(self) -> tuple[Mapping[str, int], ...]:
        """For each step of the plan (of the model's own shapes) the sites where a fault can strike, see `Executor.sites`."""
        with self._lock:
            return self._default().executor.sites()

    def heal(self) -> None:
        """Disarm, and give memory that was struck its bytes back."""
        with self._lock:
            self._default().executor.heal()

    def scrub(self) -> tuple[Finding, ...]:
        """Verify now, in every plan that is kept, all that the check "weights" verifies in turns; () without that check."""
        with self._lock:
            return self._plans.scrub()

    # -- end ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give memory and threads back; the session must not be used afterwards. Closing twice is harmless."""
        with self._lock:
            self._plans.close()
        self._ledger.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        ports = " → ".join(", ".join(map(str, side)) for side in (self.inputs, self.outputs))
        return f"<edgerun.Session {self.name}: {ports}>"
