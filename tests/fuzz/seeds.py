"""Writes the seed corpus: small ONNX models of every kind of graph, and the plans that are made of them.

    python tests/fuzz/seeds.py tests/fuzz/corpus

Everything is made here; nothing is copied from anyone's model.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.serialize import to_buffer

F, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
RNG = np.random.default_rng(7)


def node(op: str, inputs: list[str], outputs: list[str], **attrs: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, **attrs)


def value(name: str, shape: list[int | str], kind: int = F) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name)


def ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def scalars(**values: float) -> list[onnx.TensorProto]:
    """float32 scalars, and uint8 ones for names that end in z."""
    return [numpy_helper.from_array(np.array(v, np.uint8 if k.endswith("z") else np.float32), k) for k, v in values.items()]


def bytes_of(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RNG.integers(-90, 90, shape).astype(np.int8), name)


def model(nodes: list, inputs: list, outputs: list, constants: list = [], functions: list = []) -> onnx.ModelProto:  # noqa: B006
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid("own", 1)] if functions else []),
              *([helper.make_opsetid("com.microsoft", 1)] if any(n.domain == "com.microsoft" for n in nodes) else [])]
    made = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(made, data_prop=True)  # outputs must declare a shape
    for mine, found in zip(made.graph.output, inferred.graph.output, strict=True):
        if found.type.tensor_type.HasField("shape"):
            mine.CopyFrom(found)
    return made


def quantised(x: list, flat: list, y: list) -> dict[str, onnx.ModelProto]:
    """Models that run on integers."""
    near = {"s": 0.03, "z": 128, "t": 0.05, "tz": 100, "w": 0.01}
    zero = numpy_helper.from_array(np.int8(0), "w0")
    return {
        "qdq": model(
            [
                node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                node("DequantizeLinear", ["q", "s", "z"], ["d"]),
                node("DequantizeLinear", ["k", "w", "w0"], ["kd"]),
                node("Conv", ["d", "kd"], ["c"], pads=[1, 1, 1, 1]),
                node("QuantizeLinear", ["c", "t", "tz"], ["cq"]),
                node("DequantizeLinear", ["cq", "t", "tz"], ["c_"]),
                node("Sigmoid", ["c_"], ["g"]),
                node("Mul", ["c_", "g"], ["m"]),
                node("QuantizeLinear", ["m", "t", "tz"], ["mq"]),
                node("DequantizeLinear", ["mq", "t", "tz"], ["md"]),
                node("MaxPool", ["md"], ["p"], kernel_shape=[2, 2]),
                node("QuantizeLinear", ["p", "t", "tz"], ["pq"]),
                node("DequantizeLinear", ["pq", "t", "tz"], ["y"]),
            ],
            x, y, [*scalars(**near), bytes_of("k", 8, 2, 3, 3), zero],
        ),
        "qlinear": model(
            [
                node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                node("QLinearConv", ["q", "s", "z", "k", "w", "w0", "t", "tz"], ["c"], group=2, strides=[2, 2]),
                node("QLinearAdd", ["c", "t", "tz", "c", "t", "tz", "s", "z"], ["a"], domain="com.microsoft"),
                node("DequantizeLinear", ["a", "s", "z"], ["d"]),
                node("AveragePool", ["d"], ["p"], kernel_shape=[2, 2]),
                node("QuantizeLinear", ["p", "s", "z"], ["pq"]),
                node("Flatten", ["pq"], ["f"]),
                node("QLinearMatMul", ["f", "s", "z", "m", "w", "w0", "t", "tz"], ["mq"]),
                node("DequantizeLinear", ["mq", "t", "tz"], ["md"]),
                node("Softmax", ["md"], ["y"], axis=-1),
            ],
            x, [value("y", [1, 5])], [*scalars(**near), bytes_of("k", 2, 1, 3, 3), zero, bytes_of("m", 2, 5)],
        ),
        "integer": model(
            [
                node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
                node("MatMulInteger", ["q", "m", "z"], ["i"]),
                node("Cast", ["i"], ["f"], to=F),
                node("Mul", ["f", "s"], ["y"]),
            ],
            flat, y, [bytes_of("m", 6, 5)],
        ),
    }


def models() -> dict[str, onnx.ModelProto]:
    """Name → model, each a few hundred bytes."""
    x, y = [value("x", [1, 2, 6, 6])], [value("y", [])]
    y[0].type.Clear()
    flat = [value("x", [2, 6])]
    made = {
        "conv": model(
            [node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]), node("Relu", ["c"], ["y"])],
            x,
            y,
            [weights("w", 3, 2, 3, 3), weights("b", 3)],
        ),
        "depthwise": model(
            [node("Conv", ["x", "w"], ["c"], group=2, dilations=[2, 2]), node("Clip", ["c", "lo", "hi"], ["y"])],
            x,
            y,
            [weights("w", 2, 1, 3, 3), weights("lo"), weights("hi")],
        ),
        "conv_transpose": model(
            [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_padding=[1, 1])], x, y, [weights("w", 2, 2, 3, 3)]
        ),
        "batch_norm": model(
            [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])],
            x,
            y,
            [weights("s", 2), weights("b", 2), weights("m", 2), numpy_helper.from_array(np.ones(2, np.float32), "v")],
        ),
        "pools": model(
            [
                node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
                node("GlobalAveragePool", ["p"], ["g"]),
                node("Flatten", ["g"], ["y"]),
            ],
            x,
            y,
        ),
        "average": model([node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], auto_pad="SAME_UPPER", count_include_pad=1)], x, y),
        "gemm": model(
            [node("Gemm", ["x", "w", "b"], ["g"], transB=1), node("Softmax", ["g"], ["y"], axis=-1)],
            flat,
            y,
            [weights("w", 4, 6), weights("b", 4)],
        ),
        "matmul": model(
            [node("MatMul", ["x", "w"], ["m"]), node("LayerNormalization", ["m", "s"], ["y"])],
            flat,
            y,
            [weights("w", 6, 5), weights("s", 5)],
        ),
        "shapes": model(
            [
                node("Shape", ["x"], ["s"]),
                node("Gather", ["s", "i"], ["n"]),
                node("Concat", ["n", "one"], ["t"], axis=0),
                node("Reshape", ["x", "t"], ["y"]),
            ],
            flat,
            y,
            [ints("i", 0), ints("one", -1)],
        ),
        "slices": model(
            [node("Slice", ["x", "a", "b", "c", "d"], ["s"]), node("Pad", ["s", "p"], ["q"]), node("Transpose", ["q"], ["y"], perm=[1, 0])],
            flat,
            y,
            [ints("a", 5), ints("b", -10), ints("c", 1), ints("d", -2), ints("p", 0, 1, 1, 0)],
        ),
        "resize": model(
            [node("Resize", ["x", "", "scales"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel")],
            x,
            y,
            [numpy_helper.from_array(np.array([1, 1, 2, 1.5], np.float32), "scales")],
        ),
        "reduce": model([node("ReduceMean", ["x"], ["r"], axes=[1], keepdims=0), node("ArgMax", ["r"], ["y"])], flat, y),
        "where": model([node("Greater", ["x", "z"], ["c"]), node("Where", ["c", "x", "z"], ["y"])], flat, y, [weights("z", 6)]),
        "gather": model([node("Gather", ["table", "x"], ["y"], axis=0)], [value("x", [3], INT)], y, [weights("table", 4, 5)]),
        "non_zero": model([node("NonZero", ["x"], ["n"]), node("Cast", ["n"], ["y"], to=F)], flat, y),
        "einsum": model([node("Einsum", ["x", "w"], ["y"], equation="ab,bc->ac")], flat, y, [weights("w", 6, 3)]),
        "quantised": model(
            [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])],
            flat,
            y,
            [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.uint8(3), "z")],
        ),
        **quantised(x, flat, y),
        "lstm": model(
            [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2)],
            [value("x", [3, 1, 2])],
            y,
            [weights("w", 1, 8, 2), weights("r", 1, 8, 2)],
        ),
        "function": model(
            [node("twice", ["x"], ["y"], domain="own")],
            flat,
            y,
            functions=[helper.make_function("own", "twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)])],
        ),
    }
    branch = [helper.make_graph([node(op, ["x"], [f"{op}_y"])], op, [], [value(f"{op}_y", [2, 6])]) for op in ("Relu", "Tanh")]
    made["if"] = model([node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1])], [value("c", [], BOOL), *flat], y)
    body = helper.make_graph(
        [node("Add", ["a", "a"], ["a_out"]), node("Identity", ["on"], ["on_out"]), node("Identity", ["a_out"], ["seen"])],
        "body",
        [value("i", [], INT), value("on", [], BOOL), value("a", [2, 6])],
        [value("on_out", [], BOOL), value("a_out", [2, 6]), value("seen", [2, 6])],
    )
    made["loop"] = model(
        [node("Loop", ["trips", "", "x"], ["y", "all"], body=body)],
        flat,
        [value("y", [2, 6]), value("all", ["t", 2, 6])],
        [numpy_helper.from_array(np.int64(3), "trips")],
    )
    step = helper.make_graph(
        [node("Add", ["s", "row"], ["s_out"]), node("Identity", ["s_out"], ["seen"])],
        "step",
        [value("s", [6]), value("row", [6])],
        [value("s_out", [6]), value("seen", [6])],
    )
    made["scan"] = model(
        [node("Scan", ["start", "x"], ["y", "all"], body=step, num_scan_inputs=1)],
        flat,
        [value("y", [6]), value("all", [2, 6])],
        [weights("start", 6)],
    )
    return made


def main(folder: Path) -> None:
    """Write models/*.onnx and plans/*.plan."""
    warnings.simplefilter("ignore")
    for name in ("models", "plans"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, made in models().items():
        (folder / "models" / f"{name}.onnx").write_bytes(made.SerializeToString())
        plan = make_plan(load(made))
        if not any(s.kernel.startswith("onnx_") for s in plan.steps):
            (folder / "plans" / f"{name}.plan").write_bytes(bytes(to_buffer(plan)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
