"""The C++ engine behind the Executor protocol: the plan is stored, loaded and run without Python in the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgerun.errors import DeadlineExceeded, FaultError, InputError, PlanError, PolicyError
from edgerun.executors.base import (
    ACTIONS,
    KERNEL_SITES,
    MODES,
    SITES,
    Fault,
    Finding,
    RawRun,
    check_feeds,
    check_site,
    fault_error,
)
from edgerun.limits import Clock
from edgerun.options import REACTIONS
from edgerun.planner.checks import struck_within
from edgerun.planner.plan import CONTROL, Plan
from edgerun.planner.serialize import to_buffer

try:
    from edgerun import _engine
except ImportError:  # built without a C++ compiler
    _engine = None  # type: ignore[assignment]

FLAGS = ((2, "finite"), (128, "weights"), (256, "flow"), (64, "buffers"), (32, "duplicate"), (4, "range"), (16, "abft"), (1 | 8, "maed"))
"""CheckFlag bits of kernels/cpp/kernel.h and the checks they stand for; the first that is set names the finding."""


native_finite: Callable[[np.ndarray], bool | None] = _engine.is_finite if _engine else lambda _: None
"""Whether an array holds neither NaN nor infinity; None where it is no plain float array, or the engine is not built."""


def available() -> bool:
    """Whether the C++ engine is built."""
    return _engine is not None


def unsupported(plan: Plan) -> str:
    """Why the engine cannot run this plan, or "" when it can."""
    if _engine is None:
        return "the C++ engine is not built (no compiler was found when edgerun was installed)"
    known = set(_engine.kernel_names()) | CONTROL
    missing = sorted({s.kernel for s in plan.steps} - known)
    return f"the engine has no kernel {', '.join(missing)}" if missing else ""


class EngineExecutor:
    """Runs a plan in the C++ engine; see base.Executor.

    threads: 0 means the physical cores this process may use. checks: whether the plan's checks are performed.
    spin_us: microseconds that idle workers spin after a run before they sleep.
    seconds: time a run may take (DeadlineExceeded beyond it); None: no limit.
    scrub_bytes: what the check weights verifies in every run; 0: as much as its share of the time allows.
    on_fault: what is done about findings, see options.REACTIONS; FaultError with "abort" (and "exit-early" before any exit).
    share: an executor of the same plan whose packed constants are used again (for one executor per Python thread).
    Raises PlanError for a plan the engine refuses.
    """

    def __init__(
        self, plan: Plan, threads: int = 0, checks: bool = True, spin_us: int = 30, share: EngineExecutor | None = None,
        seconds: float | None = None, scrub_bytes: int = 0, on_fault: str = "flag",
    ) -> None:
        reason = unsupported(plan)
        if reason:
            raise PlanError(f"{reason}; use the Python executor")
        self.plan = plan
        self._seconds = seconds
        self._reacts = on_fault != "flag"
        self._sites: tuple[Mapping[str, int], ...] | None = None
        timeout_ns = 0 if seconds is None else max(1, int(min(seconds * 1e9, 2**62)))
        try:
            self._loaded: _engine.Plan = _engine.Plan(to_buffer(plan)) if share is None else share._loaded
            self._session = _engine.Session(self._loaded, threads, checks, spin_us, timeout_ns, scrub_bytes, REACTIONS.index(on_fault))
        except (_engine.EnginePlanError, MemoryError) as e:
            raise PlanError(str(e) or "the plan needs more memory than there is") from e
        except RuntimeError as e:  # std::system_error: no more threads to be had
            raise PlanError(f"{threads} threads: expected the system to start them, found: {e}; use fewer") from e

    @property
    def threads(self) -> int:
        """Threads that a run may use."""
        return int(self._session.threads)

    @property
    def step_threads(self) -> tuple[int, ...]:
        """Threads that each step uses."""
        return tuple(self._session.step_threads)

    def run(self, feeds: Sequence[np.ndarray]) -> RawRun:
        """Compute one answer; see base.Executor."""
        try:
            raw = self._session.run(feeds)
        except Exception as e:
            return self._failed(e, feeds)
        return self._told(raw, feeds)

    def light(self, count: Callable[[], object], ran: Callable[..., None]) -> Callable[[Sequence[np.ndarray]], Sequence[Any] | None]:
        """A function that runs as `run` does and gives the outputs alone, or None where a float input is not finite (it is not run
        then). count: called after a run without findings, ran: after another, with these and how often the run was begun again."""
        run = self._session.run

        def call(feeds: Sequence[np.ndarray]) -> Sequence[Any] | None:
            try:
                found = run(feeds, True, True)
            except ValueError:
                found = self._call(run, feeds, True, True)
            except Exception as e:
                found = self._failed(e, feeds)
            if found is None:
                return None
            if found.__class__ is tuple:
                count()
                return found  # type: ignore[no-any-return]
            raw = self._told(found, feeds) if isinstance(found, dict) else found
            ran(raw.findings, raw.reruns)
            return raw.outputs
        return call

    def _failed(self, error: Exception, feeds: Sequence[np.ndarray]) -> RawRun:
        """What comes of a run that the engine refused or left."""
        if isinstance(error, ValueError):  # not exactly what the plan wants: convert what can be, name what cannot
            return self._told(self._call(self._session.run, feeds), feeds)
        if isinstance(error, IndexError):
            raise InputError(str(error)) from None
        if isinstance(error, TimeoutError):
            raise self._late(error) from None
        if isinstance(error, _engine.EngineFault):
            return self._recovered(feeds, self._fault(error))
        raise error

    def _told(self, raw: dict[str, Any], feeds: Sequence[np.ndarray]) -> RawRun:
        if raw["findings"]:
            raw["findings"] = tuple(map(self._finding, raw["findings"]))
            if self._reacts and not all(f.cured for f in raw["findings"]):
                return self._recovered(feeds, RawRun(**raw))
        # The engine's dict holds exactly RawRun's fields; taking it over costs a tenth of calling the constructor.
        answer = object.__new__(RawRun)
        object.__setattr__(answer, "__dict__", raw)
        return answer

    def profile(self, feeds: Sequence[np.ndarray], repeats: int = 10) -> tuple[float, ...]:
        """Mean nanoseconds of each step over `repeats` full runs; 0 for steps that did not run."""
        result: tuple[float, ...] = self._call(self._session.profile, feeds, repeats)
        return result

    def tune(self, feeds: Sequence[np.ndarray], rounds: int = 5) -> None:
        """Measure every step on one and on several threads and keep what is faster; answers do not change."""
        self._call(self._session.tune, feeds, rounds)

    def arm_fault(self, step: int, index: int, mask: int) -> None:
        """XOR `mask` into output `index` of step `step` before it is checked, in the next run only; a kernel that checks no
        results ignores it."""
        self._arm(Fault("result", step, index, mask))

    def arm(self, fault: Fault) -> None:
        """Put a fault into the runs to come; see base.Executor."""
        check_site(fault, self.sites())
        self._arm(fault)

    def heal(self) -> None:
        """Disarm, and give memory that was struck its bytes back."""
        self._session.heal()

    def sites(self) -> tuple[Mapping[str, int], ...]:
        """Per step: site → how many values an index may take; see base.Executor."""
        if self._sites is None:
            self._sites = tuple(
                {name: n for name, n in zip(SITES, sizes, strict=True)
                 if n > 0 and (name not in KERNEL_SITES or name in struck_within(step.kernel, step.attrs))}
                for step, sizes in zip(self.plan.steps, self._session.sites(), strict=True))
        return self._sites

    def capture(self, step: int) -> None:
        """Let the next run keep what `step` computes."""
        defect = self._session.capture(step)
        if defect:
            raise PlanError(defect)

    def captured(self) -> bytes:
        """The bytes of the captured step's outputs."""
        return self._session.captured()

    def _arm(self, fault: Fault) -> None:
        defect = self._session.arm(SITES.index(fault.site), fault.step, fault.index, fault.mask, MODES.index(fault.mode), fault.runs)
        if defect:
            raise PlanError(defect)

    def scrub(self) -> tuple[Finding, ...]:
        """Verify all that the check weights covers, now; see base.Executor."""
        return tuple(map(self._finding, self._session.scrub()))

    @property
    def memory(self) -> int:
        """Bytes that the session and its plan hold beyond the plan's constants."""
        return int(self._session.memory)

    @property
    def scrub_runs(self) -> int:
        """Runs in which all of it is verified once, at the rate of the latest; 0: nothing is."""
        return int(self._session.scrub_runs)

    def restore(self, step: int) -> bool:
        """Make the weights of `step` again; see base.Executor."""
        if not 0 <= step < len(self.plan.steps):
            raise PlanError(f"restore: step: expected 0 to {len(self.plan.steps) - 1}; found {step}")
        found = self._session.restore(step)
        if found == "lost":  # the constants, too: there is one more copy of them, here
            found = self._session.restore(step, to_buffer(self.plan))
        return found != "lost"

    def set_coefficients(self, coeff: Sequence[Sequence[float]]) -> None:
        """Replace Policy.coeff for the following runs."""
        try:
            self._session.set_coefficients([[float(v) for v in row] for row in coeff])
        except ValueError as e:
            raise PolicyError(str(e)) from None

    def close(self) -> None:
        """Give the memory back."""
        del self._session

    def _call(self, method: Any, feeds: Sequence[np.ndarray], *count: int) -> Any:
        try:
            return method(check_feeds(self.plan, feeds), *count)
        except IndexError as e:
            raise InputError(str(e)) from None
        except TimeoutError as e:
            raise self._late(e) from None
        except _engine.EngineFault as e:
            raise self._fault(e) from None

    def _recovered(self, feeds: Sequence[np.ndarray], first: RawRun | FaultError) -> RawRun:
        """The last rung, for weights and constants that nothing in the engine's memory could mend: the executor's plan has them
        once more. Then the run again; where they were not what is wrong, `first` as it is."""
        wrong = {f.step for f in first.findings if not f.cured and (f.permanent or f.check == "weights")}
        mended = [self._reread(step) for step in sorted(wrong)] if self._reacts else []
        if not any(mended):
            if isinstance(first, FaultError):
                raise first from None
            return first
        self._reacts = False  # once is enough
        try:
            again = self.run(feeds)
        finally:
            self._reacts = True
        before = tuple(f if f.cured else replace(f, action="restored") for f in first.findings)
        return replace(again, findings=(*before, *again.findings), reruns=again.reruns + 1)

    def _reread(self, step: int) -> bool:
        """Whether something was wrong with the weights of `step` and is no more."""
        found = self._session.restore(step)
        return (self._session.restore(step, to_buffer(self.plan)) if found == "lost" else found) == "restored"

    def _fault(self, error: Exception) -> FaultError:
        where, raw = error.args
        findings = tuple(map(self._finding, raw))
        return fault_error(where, findings)

    def _late(self, error: TimeoutError) -> DeadlineExceeded:
        return Clock(self._seconds).late("the plan", f"at {error}")

    def _finding(self, raw: tuple[int, int, int, float, float, float, int, bool]) -> Finding:
        index, flags, position, expected, got, bound, action, permanent = raw
        step = self.plan.steps[index]
        check = next(name for bit, name in FLAGS if flags & bit)
        return Finding(index, step.node, step.op, step.kernel, check, position, expected, got, bound, ACTIONS[action], permanent)


__all__ = ["EngineExecutor", "available", "unsupported"]
