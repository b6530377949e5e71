"""A model whose shapes depend on data becomes one step, which edgerun.executors.dynamic runs node by node."""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir

from edgerun.errors import EdgeRunWarning, UnsupportedOpError
from edgerun.importer.load import Graph

from .plan import Plan, Port, Slot, Step
from .select import GRAPH, plan_dtype, without_kernels


def is_whole_model(plan: Plan) -> bool:
    """Whether the plan is one step for a model whose shapes depend on data (edgerun.executors.dynamic runs it).

    Then its slots say nothing about shapes, and outputs may be of any shape and type."""
    return len(plan.steps) == 1 and plan.steps[0].kernel == GRAPH and plan.steps[0].op == "model"


def whole_model(graph: Graph, reason: str, strict: bool) -> Plan:
    """One onnx_graph step for the whole model; slots have the shape () where it is not known. `fallbacks` lists the
    operators that no kernel serves. Raises UnsupportedOpError for these with `strict`."""
    model = ir.from_proto(graph.proto)
    missing = without_kernels(model.graph.all_nodes())
    names = ", ".join(dict.fromkeys(op for _, op in missing))
    if strict and missing:
        raise UnsupportedOpError(
            f"{graph.name}: expected operators with kernels, found none for {names}; without strict the slow onnx.reference "
            "fallback runs them"
        )
    by_reference = f" and {names} by the slow onnx.reference fallback" if missing else ""
    warnings.warn(f"{graph.name}: {reason}; the model runs node by node{by_reference}", EdgeRunWarning, stacklevel=3)
    blob = np.frombuffer(graph.proto.SerializeToString(), np.uint8)
    slots = [Slot("model", "u8", blob.shape, "const", 0)]
    values = {v.name: v for v in model.graph.inputs}
    for k, port in enumerate(graph.inputs):
        slots.append(Slot(port.name, plan_dtype(values[port.name].dtype), _known(port.onnx_shape), "input", k))
    offset = 0
    for k, name in enumerate(graph.outputs):
        slot = Slot(name, plan_dtype(model.graph.outputs[k].dtype), _known(graph.output_shapes[k]), "arena", offset)
        offset += -(-max(slot.nbytes, 1) // 64) * 64
        slots.append(slot)
    n = len(graph.inputs)
    step = Step(GRAPH, tuple(range(n + 1)), tuple(range(n + 1, len(slots))), {}, graph.proto.graph.name, "model")
    return Plan(
        tuple(slots),
        (step,),
        (blob,),
        tuple(Port(p.name, k + 1, p.onnx_shape) for k, p in enumerate(graph.inputs)),
        tuple(Port(name, n + 1 + k, graph.output_shapes[k]) for k, name in enumerate(graph.outputs)),
        offset,
        fallbacks=tuple((0, node, op, "no kernel") for node, op in missing),
        metadata=dict(graph.metadata),
    )


def _known(shape: tuple[int | str | None, ...]) -> tuple[int, ...]:
    return tuple(d for d in shape if isinstance(d, int)) if all(isinstance(d, int) for d in shape) else ()
