"""Tensors whose dimensions, type and data contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

from .case import Case, Family, counted, relu
from .models import I64, F, add, graph, model, node, raw, simple, tensor

_of = Family("tensors")
DATA = raw(1, 2, 3, 4)
Content = Callable[[], onnx.ModelProto]


def _weight(dims: Sequence[int] = (4,), dtype: int = F, **fields: Any) -> Content:
    """x + w for a weight with exactly these fields."""
    return lambda: add(tensor(dims, dtype, **fields))


def _cast(dims: Sequence[int], dtype: int, **fields: Any) -> Content:
    """x + Cast(w), x [5]."""

    def content() -> onnx.ModelProto:
        made = model([node("Cast", ["w"], ["f"], to=F), node("Add", ["x", "f"], ["y"])], [("x", F, (5,))], [("y", F, (5,))],
                     opset=21)
        made.graph.initializer.append(tensor(dims, dtype, **fields))
        return made

    return content


def _constant_node() -> onnx.ModelProto:
    wrong = tensor(((1 << 62) + 1, 4), raw_data=DATA)
    return model([node("Constant", [], ["k"], value=wrong), node("Add", ["x", "k"], ["y"])], [("x", F, (4,))],
                 [("y", F, ("a", "b"))])


def _in_branch() -> onnx.ModelProto:
    """A tensor that lacks data, inside the branch of an If."""
    then = graph([node("Add", ["x", "w"], ["t"])], [], [("t", F, (4,))], name="then")
    then.initializer.append(tensor((4,), raw_data=DATA[:4]))
    other = graph([node("Neg", ["x"], ["e"])], [], [("e", F, (4,))], name="else")
    return model([node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
                 [("c", int(TensorProto.BOOL), ()), ("x", F, (4,))], [("y", F, (4,))])


def _sparse(dense: Sequence[int], indices: Sequence[int], values: int = 1) -> Content:
    """x + w for a sparse weight of `values` values at `indices`."""

    def content() -> onnx.ModelProto:
        made = model([node("Add", ["x", "w"], ["y"])], [("x", F, (4,))], [("y", F, ("a",))])
        held = made.graph.sparse_initializer.add()
        held.values.CopyFrom(tensor((values,), raw_data=raw(*[1.0] * values)))
        held.indices.CopyFrom(tensor((len(indices),), I64, "", int64_data=indices))
        held.dims.extend(dense)
        return made

    return content


def _declared(port: str, dtype: int, shape: Sequence[int]) -> Content:
    """x [4] → Relu → r → Identity → y, where one of the ports is declared otherwise."""

    def content() -> onnx.ModelProto:
        made = model([node("Relu", ["x"], ["r"]), node("Identity", ["r"], ["y"])], [("x", F, (4,))], [("y", F, (4,))])
        made.graph.value_info.append(helper.make_tensor_value_info("r", F, (4,)))
        ports = {p.name: p for p in (*made.graph.value_info, *made.graph.output)}
        ports[port].CopyFrom(helper.make_tensor_value_info(port, dtype, shape))
        return made

    return content


def _input(*shape: int) -> Content:
    return lambda: model([node("Relu", ["x"], ["y"])], [("x", F, shape)], [("y", F, [f"d{k}" for k in range(len(shape))])])


def _five_million_strings() -> onnx.ModelProto:
    made = simple()
    held = tensor((5_000_000,), int(TensorProto.STRING), string_data=[b""] * 5_000_000)
    made.graph.initializer.append(held)
    return made


def _cases() -> tuple[Case, ...]:
    e = _of.error
    int4, float16, int8 = int(TensorProto.INT4), int(TensorProto.FLOAT16), int(TensorProto.INT8)
    return (
        e("dim-negative", "A dimension of -1.", _weight((-1,), raw_data=DATA)),
        e("dims-product-2-66", "Dimensions whose product does not fit into 64 bits.", _weight((1 << 33, 1 << 33), raw_data=DATA)),
        e("dims-wrap-to-4", "Dimensions whose product wraps around to the 4 elements that are there.",
          _weight(((1 << 62) + 1, 4), raw_data=DATA)),
        e("dims-wrap-to-0", "Dimensions whose product wraps around to 0.", _weight((1 << 32, 1 << 32), raw_data=b"")),
        e("bytes-wrap", "2^62 elements, whose size in bytes wraps around to 0.", _weight((1 << 62,), raw_data=b"")),
        e("more-dims-than-data", "Four elements, data for two.", _weight(raw_data=DATA[:8])),
        e("more-data-than-dims", "Four elements, data for eight.", _weight(raw_data=DATA * 2)),
        e("no-data", "Four elements, no data.", _weight()),
        e("float-data-too-short", "Four elements, two numbers in float_data.", _weight(float_data=[1, 2])),
        e("float-data-too-long", "Four elements, five numbers in float_data.", _weight(float_data=[1, 2, 3, 4, 5])),
        e("raw-and-float-data", "Two different contents: raw_data and float_data.",
          _weight(raw_data=DATA, float_data=[5, 6, 7, 8])),
        e("data-of-other-type", "Floats whose data are in int64_data.", _weight(int64_data=[1, 2, 3, 4])),
        e("strings-as-floats", "Floats whose data are strings.", _weight(string_data=[b"1", b"2", b"3", b"4"])),
        e("data-type-0", "A tensor of no type.", _weight(dtype=0, raw_data=DATA)),
        e("data-type-999", "A tensor of a type that does not exist.", _weight(dtype=999, raw_data=DATA)),
        e("data-type-negative", "A tensor of the type -1.", _weight(dtype=-1, raw_data=DATA)),
        e("raw-not-a-multiple", "15 bytes of four-byte floats.", _weight(raw_data=DATA[:15])),
        e("elements-2-41", "2^41 elements and no data.", _weight((1 << 41,))),
        e("rank-100-000", "A tensor with 100,000 dimensions of 1.", _weight((1,) * 100_000, raw_data=raw(1))),
        _of.either("segment", "A tensor that claims to be one segment of a larger one.",
                   _weight(raw_data=DATA, segment=TensorProto.Segment(begin=-5, end=1 << 60)), counted),
        e("int4-too-short", "Five 4-bit integers in two bytes.", _cast((5,), int4, raw_data=b"\x21\x43")),
        e("int4-too-long", "Five 4-bit integers in nine bytes.", _cast((5,), int4, raw_data=b"\x21" * 9)),
        e("int4-int32-data", "Five 4-bit integers in one number of int32_data.", _cast((5,), int4, int32_data=[0x21])),
        e("int8-out-of-range", "8-bit integers up to 300.", _cast((5,), int8, int32_data=[1, 2, 300, -300, 5])),
        e("float16-out-of-range", "16-bit floats whose bits need 20.", _cast((5,), float16, int32_data=[1 << 20] * 5)),
        e("constant-node-wraps", "A Constant node whose dimensions wrap around to the 4 elements that are there.",
          _constant_node),
        e("branch-more-dims-than-data", "A tensor that lacks data, inside a branch.", _in_branch),
        e("sparse-index", "A sparse tensor with a value at index 9 of 4.", _sparse((4,), (9,))),
        e("sparse-index-negative", "A sparse tensor with a value at index -9.", _sparse((4,), (-9,))),
        e("sparse-index-count", "A sparse tensor with one value and three indices.", _sparse((4,), (0, 1, 2))),
        e("sparse-index-unsorted", "A sparse tensor with two values at the same index.", _sparse((4,), (1, 1), values=2)),
        e("sparse-4-tb", "A sparse tensor of 2^40 elements, one of them given.", _sparse((1 << 40,), (0,))),
        e("input-2-62-squared", "An input of 2^62 x 2^62.", _input(1 << 62, 1 << 62)),
        e("input-2-40", "An input of 2^40 elements.", _input(1 << 40)),
        e("input-negative", "An input of size -5.", _input(-5)),
        _of.either("declared-shape", "A value of 4 elements that is declared as 7.", _declared("r", F, (7,)), relu),
        e("declared-output-shape", "An output of 4 elements that is declared as 9.", _declared("y", F, (9,))),
        e("declared-output-type", "An output of floats that is declared as integers.", _declared("y", I64, (4,))),
        _of.either("strings-5-000-000", "Five million empty strings in two bytes each, which nobody uses.",
                   _five_million_strings, relu),
    )


CASES = _cases()
