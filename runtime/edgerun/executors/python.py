"""The Python executor: a plain loop over the plan's steps with the Python kernels; the readable definition."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgerun.errors import PlanError
from edgerun.executors.base import Fault, Finding, RawRun, check_feeds, check_site, index_error
from edgerun.executors.dynamic import Interpreter
from edgerun.executors.fallback import Reference, copied, write_results
from edgerun.executors.faults import Injector
from edgerun.executors.guarding import Buffers, Flow, Weights, asks, differing, finding
from edgerun.executors.magnitudes import Ranges
from edgerun.executors.sites import Serve
from edgerun.limits import Clock, Limits
from edgerun.planner.decide import exit_score, should_stop
from edgerun.planner.plan import ABSENT, ALIGNMENT, CONTROL, DTYPES, Plan, Step
from edgerun.planner.select import FALLBACK, GRAPH
from edgerun.watch import watched
from edgerun_kernels.checks import CHECKSUM, NON_FINITE, Sink
from edgerun_kernels.registry import KERNELS
from edgerun_kernels.types import BadIndex

Array = np.ndarray[Any, Any]


class PythonExecutor:
    """Runs a plan in Python; see base.Executor. Raises PlanError for a plan it cannot run.

    scrub_bytes: what the check weights verifies in every run; 0: as much as its share of the time allows.
    serve: makes the executors for the nodes of loops (default: this class); limits: what these may use, and the time of a
    run; settings: further ones of dynamic.Interpreter."""

    def __init__(self, plan: Plan, serve: Serve | None = None, limits: Limits | None = None, scrub_bytes: int = 0,
                 **settings: Any) -> None:
        self.plan = plan
        self._limits = limits or Limits()
        self._graphs: dict[int, Interpreter] = {}
        self._coeff: Sequence[Sequence[float]] = ()
        self._references: dict[int, Reference] = {}
        for k, step in enumerate(plan.steps):
            _check_step(plan, k, step)
            if step.kernel in (FALLBACK, GRAPH):
                model = plan.constants[plan.slots[step.inputs[0]].offset]
                if step.kernel == FALLBACK:
                    self._references[k] = Reference(step, model)
                else:
                    self._graphs[k] = Interpreter(model.tobytes(), serve or PythonExecutor, limits=self._limits, **settings)
        raw = np.zeros(plan.arena_bytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        self._arena = raw[start : start + plan.arena_bytes]
        # Input slots are bound in every run, all others once.
        self._slots: list[Array | None] = [self._bind(k) for k in range(len(plan.slots))]
        self._producers = [_producer(plan, port.slot) for port in plan.outputs]
        self._faults = Injector(plan, self._slots)
        self._weights = Weights(plan, self._slots, scrub_bytes)
        self._flow, self._buffers = Flow(plan), Buffers(plan, self._slots, self._arena)
        self._ranges = Ranges(plan, self._slots)
        self._last_ns = 0

    @property
    def fell_back(self) -> int:
        """How often onnx.reference had to evaluate a node inside of a loop."""
        return sum(g.fell_back for g in self._graphs.values())

    def run(self, feeds: Sequence[Array]) -> RawRun:
        """Compute one answer; see base.Executor."""
        with self._faults:
            return self._run(feeds, None)

    def profile(self, feeds: Sequence[Array], repeats: int = 10) -> tuple[float, ...]:
        """Mean nanoseconds of each step over `repeats` full runs; 0 for steps that did not run."""
        spent = [0] * len(self.plan.steps)
        for _ in range(repeats):
            self._run(feeds, spent)
        return tuple(ns / max(repeats, 1) for ns in spent)

    def arm_fault(self, step: int, index: int, mask: int) -> None:
        """XOR `mask` into output `index` of step `step` before it is checked, in the next run only; a kernel that checks no
        results ignores it."""
        outputs = self.plan.steps[step].outputs if 0 <= step < len(self.plan.steps) else ()
        if not outputs or not 0 <= index < self.plan.slots[outputs[0]].elements:
            raise PlanError(f"fault injection: no kernel step {step} with an output element {index}")
        self._faults.arm(Fault("result", step, index, mask))

    def arm(self, fault: Fault) -> None:
        """Put a fault into the runs to come; see base.Executor. Kernels here read constants as they are: weights are the same."""
        check_site(fault, self.sites())
        self._faults.arm(fault)

    def heal(self) -> None:
        """Disarm, and read the plan's own constants again."""
        self._faults.heal()

    def sites(self) -> tuple[Mapping[str, int], ...]:
        """Per step: site → how many values an index may take; see base.Executor."""
        return self._faults.sites()

    def capture(self, step: int) -> None:
        """Let the next run keep what `step` computes."""
        self._faults.capture(step)

    def captured(self) -> bytes:
        """The bytes of the captured step's outputs."""
        return self._faults.captured

    def scrub(self) -> tuple[Finding, ...]:
        """Verify all constants now; see base.Executor."""
        return tuple(self._weights.all())

    def restore(self, step: int) -> bool:
        """Read the plan's own constants again where `step` reads others. Whether they hold."""
        if not 0 <= step < len(self.plan.steps):
            raise PlanError(f"restore: step: expected 0 to {len(self.plan.steps) - 1}; found {step}")
        return self._weights.restore(step)

    def set_coefficients(self, coeff: Sequence[Sequence[float]]) -> None:
        """Replace Policy.coeff for the following runs."""
        self._coeff = tuple(tuple(float(c) for c in row) for row in coeff)

    def close(self) -> None:
        """Give the memory back."""
        self._slots.clear()
        self._references.clear()
        for graph in self._graphs.values():
            graph.close()

    def _bind(self, index: int) -> Array | None:
        slot = self.plan.slots[index]
        if slot.place == "input":
            return None
        if slot.place == "const":
            return self.plan.constants[slot.offset].reshape(slot.shape)
        flat = self._arena[slot.offset : slot.offset + slot.nbytes]
        return flat.view(DTYPES[slot.dtype]).reshape(slot.shape)

    def _run(self, feeds: Sequence[Array], spent: list[int] | None) -> RawRun:
        plan, slots = self.plan, self._slots
        arrays = check_feeds(plan, feeds)
        for k, slot in enumerate(plan.slots):
            if slot.place == "input":
                slots[k] = arrays[slot.offset].reshape(slot.shape)
        faults = self._faults
        findings: list[Finding] = []
        flow, buffers = self._flow, self._buffers
        scores: list[float] = []
        classes: list[int] = []
        checked = steps_run = pc = 0
        exit_index = len(plan.exits) - 1
        clock = Clock(self._limits.seconds)
        begin = time.perf_counter_ns()
        findings += self._weights.some(self._last_ns)
        flow.begin()
        buffers.begin(arrays)
        while pc < len(plan.steps):
            step = plan.steps[pc]
            if clock.over:
                raise clock.late("the plan", f"at step {pc}, {step.op or step.kernel}, node '{step.node}'")
            before = time.perf_counter_ns() if spent is not None else 0
            steps_run += 1
            following = pc + 1
            if step.kernel in CONTROL:
                findings += buffers.before(pc)
                flow.did(pc)
            if step.kernel == "branch":
                taken = bool(self._array(step.inputs[0]).reshape(-1)[0])
                following = pc + 1 if taken else int(step.attrs["target"][0])
                flow.went(pc, following)
            elif step.kernel == "jump":
                following = int(step.attrs["target"][0])
                flow.went(pc, following)
            elif step.kernel == "exit":
                index = int(step.attrs["index"][0])
                findings += flow.check(pc, pc + 1)
                self._judge(index, scores, classes)
                elapsed = time.perf_counter_ns() - begin
                if spent is None and should_stop(
                    plan.policy, index, scores, classes, alpha=self._alpha(), elapsed_ns=elapsed, coeff=self._coeff
                ):
                    exit_index = index
                    break
            else:
                faults.before(pc)
                in_kernel = any(asks(step, kind) for kind in ("maed", "maed_paper", "abft"))
                sink = Sink(fault=faults.within(pc)) if in_kernel or faults.within(pc) else None
                if not faults.skips(pc):
                    findings += buffers.before(pc)
                    findings += self._ranges.before(pc)
                    again = self._again(pc, step, clock) if asks(step, "duplicate") else None
                    self._call(pc, step, sink, clock)
                    self._ranges.after(pc, sink)
                    flow.did(pc)
                    outputs = [self._array(k) for k in step.outputs]
                    if again is not None and (wrong := differing(again, outputs)) is not None:
                        findings.append(finding(plan, "duplicate", pc, *wrong))
                    findings += buffers.after(pc)
                faults.after(pc)
                if pc in self._graphs:
                    checked += self._graphs[pc].checked
                    findings.extend(replace(f, step=pc) for f in self._graphs[pc].findings)
                if sink is not None and in_kernel:
                    checked += sink.checked
                    findings.extend(_findings(pc, step, sink))
            if spent is not None:
                spent[pc] += time.perf_counter_ns() - before
            pc = following
        else:
            if plan.steps:
                findings += flow.check(len(plan.steps) - 1, len(plan.steps))
            if plan.exits:
                self._judge(exit_index, scores, classes)
        for port, producer in zip(plan.outputs, self._producers, strict=True):
            if producer < pc:
                findings += buffers.output(port.slot)
        self._last_ns = elapsed = time.perf_counter_ns() - begin
        return RawRun(
            outputs=tuple(
                self._array(port.slot).copy() if producer < pc else None
                for port, producer in zip(plan.outputs, self._producers, strict=True)
            ),
            exit_index=exit_index,
            n_exits=len(plan.exits),
            difficulty=tuple(map(float, self._array(plan.difficulty.slot))) if plan.difficulty else None,
            scores=tuple(scores),
            classes=tuple(classes),
            steps_run=steps_run,
            values_checked=checked,
            findings=tuple(findings),
            elapsed_ns=elapsed,
        )

    def _array(self, slot: int) -> Array:
        array = self._slots[slot]
        assert array is not None
        return array

    def _alpha(self) -> float:
        return float(self._array(self.plan.difficulty.slot)[0]) if self.plan.difficulty else 0.0

    def _judge(self, index: int, scores: list[float], classes: list[int]) -> None:
        point = self.plan.exits[index]
        predicted, value = exit_score(self.plan.policy, index, self._array(point.slot), logits=point.logits)
        scores.append(value)
        classes.append(predicted)

    def _again(self, index: int, step: Step, clock: Clock) -> list[Array]:
        """The step's results, in arrays of their own; before it is done, since its result may be written over an operand."""
        outputs = [np.empty_like(self._array(k)) for k in step.outputs]
        self._call(index, step, None, clock, outputs)
        return outputs

    def _call(self, index: int, step: Step, sink: Sink | None, clock: Clock, outputs: list[Array] | None = None) -> None:
        inputs = [None if k == ABSENT else self._array(k) for k in step.inputs]
        outputs = [self._array(k) for k in step.outputs] if outputs is None else outputs
        if step.kernel == FALLBACK:
            reference = self._references[index]
            watched(clock, "the plan", f"in {step.op}, node '{step.node}'", lambda: reference(inputs[1:], outputs))
            return
        if step.kernel == GRAPH:
            write_results(step, self._graphs[index].run([copied(x) for x in inputs[1:]], clock), outputs)
            return
        try:
            KERNELS[step.kernel](inputs, step.attrs, outputs, sink)
        except BadIndex as e:
            raise index_error(step, e) from None
        except (IndexError, ValueError) as e:  # what shape inference let pass; the engine's kernels refuse it ahead of time
            shapes = ", ".join("none" if x is None else str(list(x.shape)) for x in inputs)
            raise PlanError(f"{step.op}, node '{step.node}': kernel {step.kernel} finds operands that do not fit each other, "
                            f"inputs {shapes} ({e})") from e
        except (ArithmeticError, TypeError) as e:
            raise PlanError(f"{step.op}, node '{step.node}': kernel {step.kernel} met operands it was not made for ({e}); a defect of "
                            "edgerun, please report it with the model") from e


def _check_step(plan: Plan, index: int, step: Step) -> None:
    where = f"step {index} ({step.kernel}, node '{step.node}')"
    if step.kernel in ("branch", "jump"):
        target = int(step.attrs["target"][0])
        if not index < target <= len(plan.steps):
            raise PlanError(f"{where}: expected a target in [{index + 1}, {len(plan.steps)}], found {target}")
    elif step.kernel not in (*CONTROL, FALLBACK, GRAPH) and step.kernel not in KERNELS:
        raise PlanError(f"{where}: there is no such Python kernel; expected a name of docs/kernels.md")


def _producer(plan: Plan, slot: int) -> int:
    """Index of the last step that writes the bytes of a slot, -1 for inputs and constants.

    Outputs keep their bytes to the end of the plan, so that step is the one that makes them (or their other branch).
    """
    wanted = plan.slots[slot]
    if wanted.place != "arena":
        return -1
    last = -1
    for k, step in enumerate(plan.steps):
        for out in step.outputs:
            s = plan.slots[out] if out != ABSENT else None
            if s and s.offset < wanted.offset + max(wanted.nbytes, 1) and wanted.offset < s.offset + max(s.nbytes, 1):
                last = k
    return last


def _findings(index: int, step: Step, sink: Sink) -> list[Finding]:
    if not sink.flags:
        return []
    check = "finite" if sink.flags & NON_FINITE else "abft" if sink.flags & CHECKSUM else "maed"
    numbers = sink.first_index, sink.expected, sink.got, sink.bound
    return [Finding(index, step.node, step.op, step.kernel, check, *numbers)]


__all__ = ["PythonExecutor"]
