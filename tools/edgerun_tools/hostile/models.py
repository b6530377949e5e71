"""The small models that hostile cases start from: each is legal but for the one thing its case is about.

Nothing here is checked, and outputs have a rank but symbolic sizes, so that no rule but the wanted one is broken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .case import Array

F, I64, BOOL = int(TensorProto.FLOAT), int(TensorProto.INT64), int(TensorProto.BOOL)
IR_VERSION = 10
Dims = Sequence["int | str"]
Port = tuple[str, int, Dims]


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    """A node that is named after its operator."""
    return helper.make_node(op, inputs, outputs, name=f"the_{op.lower()}", **attributes)


def free(rank: int) -> list[str]:
    """Symbolic sizes."""
    return [f"d{k}" for k in range(rank)]


def info(port: Port) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(*port)


def graph(nodes: Sequence[onnx.NodeProto], inputs: Sequence[Port], outputs: Sequence[Port],
          constants: Mapping[str, Array] | None = None, name: str = "g") -> onnx.GraphProto:
    """A graph; `constants` become initializers."""
    initializers = [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()]
    return helper.make_graph(list(nodes), name, [info(p) for p in inputs], [info(p) for p in outputs], initializers)


def model(nodes: Sequence[onnx.NodeProto], inputs: Sequence[Port], outputs: Sequence[Port],
          constants: Mapping[str, Array] | None = None, *, opset: int = 17,
          functions: Sequence[onnx.FunctionProto] = (), domains: Sequence[str] = ()) -> onnx.ModelProto:
    """A model; `domains` are imported in version 1, or 3 for ai.onnx.ml."""
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 3 if d == "ai.onnx.ml" else 1) for d in domains)]
    return helper.make_model(graph(nodes, inputs, outputs, constants), functions=list(functions), opset_imports=imports,
                             ir_version=IR_VERSION)


def one(op: str, x: Dims | None, *constants: Any, rank: int, first: Sequence[str] = (), outputs: int = 1,
        dtypes: tuple[int, int] = (F, F), opset: int = 17, domain: str = "", **attributes: Any) -> onnx.ModelProto:
    """A model of one node: y = op(x, constants …), or y = op(constants …) where x is None.

    x: shape of the input; rank: of the outputs; dtypes: of x and of the (first) output, the others are int64; first:
    names of the node's inputs where x is not the first ("c0", "c1" … are the constants; None stands for an absent one).
    """
    named = {f"c{k}": np.asarray(c) for k, c in enumerate(constants) if c is not None}
    order = [f"c{k}" if c is not None else "" for k, c in enumerate(constants)]
    results = ["y", *(f"y{k}" for k in range(1, outputs))]
    made = node(op, list(first) or ([] if x is None else ["x"]) + order, results, **attributes)
    made.domain = domain
    ports = [("y", dtypes[1], free(rank)), *((name, I64, free(rank)) for name in results[1:])]
    return model([made], [] if x is None else [("x", dtypes[0], x)], ports, named, opset=opset,
                 domains=[domain] if domain else [])


def simple() -> onnx.ModelProto:
    """y = Relu(x), x [4]."""
    return one("Relu", (4,), rank=1)


def add(weight: onnx.TensorProto, x: Dims = (4,), opset: int = 17) -> onnx.ModelProto:
    """y = x + weight, for a weight made by hand."""
    made = model([node("Add", ["x", weight.name], ["y"])], [("x", F, x)], [("y", F, free(len(x)))], opset=opset)
    made.graph.initializer.append(weight)
    return made


def tensor(dims: Sequence[int] = (4,), dtype: int = F, name: str = "w", **fields: Any) -> onnx.TensorProto:
    """A TensorProto with exactly these fields (raw_data, float_data, …)."""
    made = TensorProto(name=name, data_type=dtype, **fields)
    made.dims.extend(dims)
    return made


def raw(*values: float) -> bytes:
    """Little-endian float32."""
    return np.asarray(values, "<f4").tobytes()


def normal(*shape: int) -> Array:
    """Reproducible weights."""
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)
