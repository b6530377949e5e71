"""Steps without a kernel of ours: one ONNX node, run by onnx.reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgerun.errors import EdgeRunError, ShapeError, UnsupportedOpError
from edgerun.planner.plan import Plan, Step

Array = np.ndarray[Any, Any]

FALLBACK = "onnx_reference"
"""Kernel name of such a step. Its first input is a u8 constant, the serialized ModelProto of the node; the others are
the model's inputs in order, and the step's outputs are the model's outputs in order."""


def is_whole_model(plan: Plan) -> bool:
    """Whether the plan is one fallback step for a model whose shapes depend on data.

    Then its slots say nothing about shapes, and outputs may be of any shape and type.
    """
    return len(plan.steps) == 1 and plan.steps[0].kernel == FALLBACK and plan.steps[0].op == "model"


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
        for y, result in zip(outputs, self.evaluate(inputs), strict=False):
            found = np.asarray(result)
            if found.shape != y.shape:
                raise ShapeError(
                    f"{self._where()}: the plan expects shape {list(y.shape)}, the node gave {list(found.shape)}; "
                    "its output shape depends on data, which a plan cannot hold"
                )
            y[...] = found.astype(y.dtype, copy=False)

    def evaluate(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """The model's outputs as they come: any shape and type, sequences as lists. Raises UnsupportedOpError."""
        feeds = {name: _copied(x) for name, x in zip(self._names, inputs, strict=False)}
        try:
            with np.errstate(all="ignore"):
                return tuple(_array(v) for v in self._evaluator.run(None, feeds))
        except EdgeRunError:
            raise
        except Exception as e:
            raise UnsupportedOpError(f"{self._where()}: onnx.reference failed: {type(e).__name__}: {e}") from e

    def _where(self) -> str:
        return f"operator {self._step.op}, node '{self._step.node}'"


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _array(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_array(v) for v in value]
    return value if value is None else np.asarray(value)
