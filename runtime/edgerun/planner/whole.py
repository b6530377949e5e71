"""The last resort: a model whose shapes depend on data becomes one step that onnx.reference runs."""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir

from edgerun.errors import EdgeRunWarning, UnsupportedOpError
from edgerun.importer.load import Graph

from .plan import Plan, Port, Slot, Step
from .select import FALLBACK, plan_dtype


def whole_model(graph: Graph, reason: str, strict: bool) -> Plan:
    """One onnx_reference step for the whole model; slots have the shape () where it is not known."""
    if strict:
        raise UnsupportedOpError(
            f"{graph.name}: expected shapes known ahead of time, found that {reason}; without strict the slow "
            "onnx.reference fallback runs the whole model"
        )
    warnings.warn(
        f"{graph.name}: {reason}; the slow onnx.reference fallback runs the whole model", EdgeRunWarning, stacklevel=3
    )
    blob = np.frombuffer(graph.proto.SerializeToString(), np.uint8)
    slots = [Slot("model", "u8", blob.shape, "const", 0)]
    values = {v.name: v for v in ir.from_proto(graph.proto).graph.inputs}
    for k, port in enumerate(graph.inputs):
        value = values[port.name]
        slots.append(Slot(port.name, plan_dtype(value.dtype), _known(port.onnx_shape), "input", k))
    offset = 0
    for k, name in enumerate(graph.outputs):
        value = ir.from_proto(graph.proto).graph.outputs[k]
        slot = Slot(name, plan_dtype(value.dtype), _known(graph.output_shapes[k]), "arena", offset)
        offset += -(-max(slot.nbytes, 1) // 64) * 64
        slots.append(slot)
    n = len(graph.inputs)
    step = Step(FALLBACK, tuple(range(n + 1)), tuple(range(n + 1, len(slots))), {}, graph.proto.graph.name, "model")
    inputs = tuple(Port(p.name, k + 1, p.onnx_shape) for k, p in enumerate(graph.inputs))
    outputs = tuple(Port(name, n + 1 + k, graph.output_shapes[k]) for k, name in enumerate(graph.outputs))
    return Plan(
        tuple(slots),
        (step,),
        (blob,),
        inputs,
        outputs,
        offset,
        fallbacks=((0, graph.proto.graph.name, "model", reason),),
        metadata=dict(graph.metadata),
    )


def _known(shape: tuple[int | str | None, ...]) -> tuple[int, ...]:
    return tuple(d for d in shape if isinstance(d, int)) if all(isinstance(d, int) for d in shape) else ()
