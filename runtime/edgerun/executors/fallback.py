"""Steps without a kernel of ours: one ONNX node, run by onnx.reference.

The first input of such a step is a u8 constant, the serialized ModelProto of the node; the others are the model's inputs in
order, and the step's outputs are the model's outputs in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgerun.errors import EdgeRunError, ShapeError, UnsupportedOpError
from edgerun.planner.plan import Step

Array = np.ndarray[Any, Any]

class Reference:
    """One fallback step, ready to be called; the ONNX model in it is read once."""

    def __init__(self, step: Step, model: Array) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        self._step = step
        try:
            self._evaluator = ReferenceEvaluator(onnx.ModelProto.FromString(model.tobytes()))
        except Exception as e:  # onnx.reference raises many kinds
            raise UnsupportedOpError(f"{self._where()}: no kernel, and onnx.reference cannot run it: {e}") from e
        self._names = list(self._evaluator.input_names)

    def __call__(self, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        """Compute the outputs. Raises UnsupportedOpError where the node fails, ShapeError where the plan disagrees."""
        write_results(self._step, self.evaluate(inputs), outputs)

    def evaluate(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """The model's outputs as they come: any shape and type, sequences as lists. Raises UnsupportedOpError."""
        feeds = {name: copied(x) for name, x in zip(self._names, inputs, strict=False)}
        try:
            with np.errstate(all="ignore"):
                return tuple(_array(v) for v in self._evaluator.run(None, feeds))
        except EdgeRunError:
            raise
        except Exception as e:
            raise UnsupportedOpError(f"{self._where()}: onnx.reference failed: {type(e).__name__}: {e}") from e

    def _where(self) -> str:
        return f"operator {self._step.op}, node '{self._step.node}'"


def write_results(step: Step, results: Sequence[Any], outputs: Sequence[Array]) -> None:
    """Put what a node gave into its output slots. ShapeError where it does not fit them."""
    for y, result in zip(outputs, results, strict=False):
        found = np.asarray(result)
        if found.shape != y.shape:
            raise ShapeError(
                f"operator {step.op}, node '{step.node}': the plan expects shape {list(y.shape)}, the node gave "
                f"{list(found.shape)}; its output shape depends on data, which a plan cannot hold"
            )
        y[...] = found.astype(y.dtype, copy=False)


def copied(value: Any) -> Any:
    """A copy of an array: the arena may be written over while somebody still holds a view of it."""
    return value.copy() if isinstance(value, np.ndarray) else value


def _array(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_array(v) for v in value]
    return value if value is None else np.asarray(value)
