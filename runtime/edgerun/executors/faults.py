"""Fault injection for the Python executor: arrays are struck around the kernels, which know only a flipped result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgerun.errors import PlanError
from edgerun.executors.base import Fault
from edgerun.planner.checks import struck_within
from edgerun.planner.plan import ABSENT, CONTROL, Plan

Array = np.ndarray[Any, Any]


class Injector:
    """One executor's fault. `slots`: the executor's arrays by slot index, which are replaced where a fault needs a copy."""

    def __init__(self, plan: Plan, slots: list[Array | None]) -> None:
        self._plan, self._slots = plan, slots
        self._fault: Fault | None = None
        self._left = 0
        self._capture = -1
        self._live = False
        self.captured = b""
        self._own: dict[int, Array | None] = {}  # slots whose constants are struck copies: what they held before

    def sites(self) -> tuple[Mapping[str, int], ...]:
        """As base.Executor.sites; steps of control have none."""
        return tuple(self._sites(k) for k in range(len(self._plan.steps)))

    def _sites(self, index: int) -> Mapping[str, int]:
        step = self._plan.steps[index]
        if step.kernel in CONTROL:
            return {}
        constants = sum(self._plan.slots[s].nbytes for s in self._operands(index, True))
        found = {"buffer": sum(self._plan.slots[s].nbytes for s in step.outputs),
                 "input": sum(self._plan.slots[s].nbytes for s in self._operands(index, False)),
                 "weights": constants, "constants": constants, "skip": 1}
        if "result" in struck_within(step.kernel, step.attrs):
            found = {"result": self._plan.slots[step.outputs[0]].elements, **found}
        return {site: size for site, size in found.items() if size}

    def _operands(self, index: int, constant: bool) -> list[int]:
        return [s for s in self._plan.steps[index].inputs if s != ABSENT and (self._plan.slots[s].place == "const") == constant]

    def arm(self, fault: Fault) -> None:
        """Take a fault whose site and index `sites` allows."""
        if fault.site == "result" and fault.mode != "flip":
            raise PlanError("fault injection: mode: expected flip for a result in the Python executor; use a buffer fault to set or "
                            f"clear bits; found {fault.mode}")
        self._fault, self._left = fault, fault.runs
        if fault.site not in ("weights", "constants"):
            return
        self._left = 0
        operands = self._operands(fault.step, True)
        struck = {self._plan.slots[s].offset: self._array(s).copy() for s in operands}
        for k, slot in enumerate(self._plan.slots):
            if slot.place == "const" and slot.offset in struck:
                self._own.setdefault(k, self._slots[k])
                self._slots[k] = struck[slot.offset].reshape(slot.shape)
        self._strike([self._array(s) for s in operands])

    def heal(self) -> None:
        """Disarm, and give struck constants back."""
        self._fault, self._left = None, 0
        for k, array in self._own.items():
            self._slots[k] = array
        self._own.clear()

    def capture(self, step: int) -> None:
        """Keep the outputs of `step` in the next run."""
        if not 0 <= step < len(self._plan.steps) or self._plan.steps[step].kernel in CONTROL:
            raise PlanError(f"capture: step: expected a kernel step among 0 to {len(self._plan.steps) - 1}; found {step}")
        self._capture, self.captured = step, b""

    # -- around the steps of a run ------------------------------------------------------------------------------------

    def within(self, step: int) -> tuple[int, int] | None:
        """What the kernel of this step is to flip in its result: (index, mask)."""
        fault = self._here(step, "result")
        return (fault.index, fault.mask) if fault else None

    def skips(self, step: int) -> bool:
        """Whether the step is left out."""
        return self._here(step, "skip") is not None

    def before(self, step: int) -> None:
        """Strike the operands of the step."""
        if self._here(step, "input") is None:
            return
        operands = self._operands(step, False)
        given = {self._plan.slots[s].offset for s in operands if self._plan.slots[s].place == "input"}
        copies: dict[int, Array] = {}  # a caller's array is never changed; all views of an input share its copy
        for k, slot in enumerate(self._plan.slots):
            if slot.place == "input" and slot.offset in given:
                whole = copies.setdefault(slot.offset, self._array(k).copy())
                self._slots[k] = whole.reshape(slot.shape)
        self._strike([self._array(s) for s in operands])

    def after(self, step: int) -> None:
        """Keep what the step computed, then strike it."""
        outputs = [self._array(s) for s in self._plan.steps[step].outputs]
        if self._live and step == self._capture:
            self.captured = b"".join(y.tobytes() for y in outputs)
        if self._here(step, "buffer"):
            self._strike(outputs)

    def __enter__(self) -> None:
        """A run begins in which faults strike."""
        self._live = True

    def __exit__(self, *error: object) -> None:
        self._live = False
        self._left = max(self._left - 1, 0)
        self._capture = -1

    def _here(self, step: int, site: str) -> Fault | None:
        fault = self._fault
        return fault if self._live and self._left and fault is not None and fault.step == step and fault.site == site else None

    def _array(self, slot: int) -> Array:
        array = self._slots[slot]
        assert array is not None
        return array

    def _strike(self, arrays: list[Array]) -> None:
        """Strike byte `index` of arrays laid one after another; a mask that reaches beyond the end of one is cut there."""
        fault = self._fault
        assert fault is not None
        at = fault.index
        for array in arrays:
            if at >= array.nbytes:
                at -= array.nbytes
                continue
            flat = array.reshape(-1).view(np.uint8)
            mask = np.frombuffer(fault.mask.to_bytes(8, "little"), np.uint8)[:flat.size - at]
            here = flat[at:at + len(mask)]
            here[...] = {"flip": here ^ mask, "set": here | mask, "clear": here & ~mask}[fault.mode]
            return


__all__ = ["Injector"]
