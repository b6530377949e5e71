"""Bounds on what a model may ask for: each refuses with the number, the limit and the option that raises it."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgerun.errors import DeadlineExceeded, LimitError, ModelFormatError, ShapeError, UnsupportedOpError
from edgerun.importer import load
from edgerun.importer.read import read
from edgerun.importer.wire import scan
from edgerun.limits import Clock, Limits, short, size
from edgerun.planner import make_plan

F, I64 = TensorProto.FLOAT, TensorProto.INT64


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, **attrs)


def chain(length: int = 1, shape=(1, 4), constants=(), opset: int = 17) -> onnx.ModelProto:
    names = [f"t{k}" for k in range(length + 1)]
    nodes = [node("Relu", [a], [b], name=f"relu{k}") for k, (a, b) in enumerate(pairwise(names))]
    return helper.make_model(helper.make_graph(nodes, "g", [helper.make_tensor_value_info("t0", F, shape)],
                                               [helper.make_tensor_value_info(names[-1], F, shape)], list(constants)),
                             opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def nested(depth: int) -> onnx.ModelProto:
    """An If in an If in an If …"""
    def branch(level: int) -> onnx.GraphProto:
        out = f"o{level}"
        inner = [node("Identity", ["x"], [out])] if level == 0 else [
            node("If", ["c"], [out], then_branch=branch(level - 1), else_branch=simple(level))]
        return helper.make_graph(inner, f"b{level}", [], [helper.make_tensor_value_info(out, F, [2])])

    def simple(level: int) -> onnx.GraphProto:
        return helper.make_graph([node("Identity", ["x"], [f"e{level}"])], f"e{level}", [],
                                 [helper.make_tensor_value_info(f"e{level}", F, [2])])

    graph = helper.make_graph([node("If", ["c"], ["y"], then_branch=branch(depth - 1), else_branch=simple(depth))], "g",
                              [helper.make_tensor_value_info("c", TensorProto.BOOL, []), helper.make_tensor_value_info("x", F, [2])],
                              [helper.make_tensor_value_info("y", F, [2])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(chain(50).SerializeToString())
    with pytest.raises(LimitError, match=r"size of the file: expected at most 100 B, found .*max_file="):
        read(path, Limits(file=100))
    assert read(path, Limits(file=path.stat().st_size)).proto.graph.node


@pytest.mark.parametrize("as_bytes", [True, False], ids=["scan", "structure"])
def test_the_number_of_nodes(as_bytes: bool) -> None:
    model = chain(30)
    with pytest.raises(LimitError, match=r"number of nodes: expected at most 29.*max_nodes="):
        read(model.SerializeToString() if as_bytes else model, Limits(nodes=29))
    assert len(read(model, Limits(nodes=30)).proto.graph.node) == 30


@pytest.mark.parametrize("as_bytes", [True, False], ids=["scan", "structure"])
def test_graphs_within_graphs(as_bytes: bool) -> None:
    model = nested(6)
    with pytest.raises(LimitError, match=r"graphs within graphs: .*at most 5.*max_depth="):
        read(model.SerializeToString() if as_bytes else model, Limits(depth=5))
    read(model, Limits(depth=6))


def test_names() -> None:
    model = chain()
    model.graph.node[0].name = "n" * 200
    with pytest.raises(LimitError, match=r"length of the name 'n+…n+': expected at most 100, found 200"):
        read(model, Limits(name=100))


def test_allowed_operators() -> None:
    read(chain(), Limits(operators=frozenset({"Relu"})))
    with pytest.raises(UnsupportedOpError, match="operator Relu is not among the allowed ones"):
        read(chain(), Limits(operators=frozenset({"Conv"})))


def test_memory_of_a_plan() -> None:
    graph = load(read(chain(3, (1, 1 << 20)), Limits(memory=6 << 20)))  # 4 MiB input, 4 MiB of results in place
    assert make_plan(graph).arena_bytes == 4 << 20
    with pytest.raises(LimitError, match=r"found (4 MiB|one of 4 MiB).*max_memory="):
        make_plan(load(read(chain(3, (1, 1 << 20)), Limits(memory=3 << 20))))


def test_memory_grows_with_the_model() -> None:
    assert Limits().budget(1 << 30) - Limits().budget(0) == 4 << 30
    assert Limits(memory=5).budget(1 << 30) == 5


def test_a_constant_too_large_to_fold_stays_for_the_run() -> None:
    graph = helper.make_graph([node("ConstantOfShape", ["s"], ["z"]), node("Add", ["x", "z"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", F, [1])], [helper.make_tensor_value_info("y", F, ["n"])],
                              [helper.make_tensor("s", I64, [1], [1 << 40])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(LimitError, match=r"ConstantOfShape.*4 TiB.*max_memory="):
        load(model)


def test_sizes_that_wrap_around_are_refused() -> None:
    graph = helper.make_graph([node("Tile", ["x", "r"], ["y"])], "g", [helper.make_tensor_value_info("u", F, [1])],
                              [helper.make_tensor_value_info("y", F, ["n"])],
                              [helper.make_tensor("x", F, [4], [0.0] * 4), helper.make_tensor("r", I64, [1], [1 << 62])])
    with pytest.raises((ShapeError, LimitError)):
        load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_the_clock_is_looked_at_while_importing() -> None:
    with pytest.raises(DeadlineExceeded, match=r"within 1e-09 s.*timeout="):
        load(chain(20), clock=Clock(1e-9))


# -- functions ----------------------------------------------------------------------------------------------------------


def doubling(levels: int) -> onnx.ModelProto:
    """Function k calls function k - 1 twice: 2^levels nodes when written out."""
    functions = []
    for k in range(levels):
        nodes = [node("Relu", ["a"], ["b"])] if k == 0 else [
            node(f"f{k - 1}", ["a"], ["m"], domain="own"), node(f"f{k - 1}", ["m"], ["b"], domain="own")]
        functions.append(helper.make_function("own", f"f{k}", ["a"], ["b"], nodes,
                                              [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]))
    graph = helper.make_graph([node(f"f{levels - 1}", ["x"], ["y"], domain="own")], "g",
                              [helper.make_tensor_value_info("x", F, [4])], [helper.make_tensor_value_info("y", F, [4])])
    return helper.make_model(graph, functions=functions, ir_version=8,
                             opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)])


def test_functions_are_counted_written_out() -> None:
    with pytest.raises(LimitError, match="number of nodes"):
        read(doubling(30))
    assert make_plan(load(doubling(5))).steps


def test_a_function_that_calls_itself() -> None:
    model = doubling(2)
    model.functions[0].node[0].op_type, model.functions[0].node[0].domain = "f1", "own"
    with pytest.raises(ModelFormatError, match="calls itself"):
        read(model)


# -- tensors ------------------------------------------------------------------------------------------------------------


def with_constant(**fields) -> onnx.ModelProto:
    tensor = onnx.TensorProto(**{"name": "w", "data_type": F, "dims": [2], **fields})
    model = chain(constants=[tensor])
    model.graph.node.append(node("Add", ["t1", "w"], ["sum"]))
    return model


RAW = np.zeros(2, np.float32).tobytes()


@pytest.mark.parametrize(("fields", "message"), [
    ({"raw_data": RAW, "float_data": [0, 0]}, "one field, found float_data and raw_data"),
    ({"raw_data": RAW[:7]}, "expected 8 bytes .* found 7"),
    ({"raw_data": RAW + b"x"}, "expected 8 bytes .* found 9"),
    ({"float_data": [1.0]}, "expected 2 values in float_data .* found 1"),
    ({"int64_data": [1, 2]}, "expected the data of FLOAT in float_data, found it in int64_data"),
    ({}, "expected 2 elements .* found none"),
    ({"data_type": 0, "raw_data": RAW}, "expected an ONNX element type, found number 0"),
    ({"data_type": 999, "raw_data": RAW}, "expected an ONNX element type, found number 999"),
    ({"dims": [-1], "raw_data": RAW}, "dimensions of 0 or more"),
    ({"dims": [1] * 100, "raw_data": RAW}, "at most 32 dimensions, found 100"),
    ({"dims": [1 << 32, 1 << 32], "raw_data": RAW}, "max_memory="),
    ({"dims": [1 << 62, 8], "raw_data": RAW}, "max_memory="),
    ({"raw_data": np.array([1, np.nan], np.float32).tobytes()}, "found NaN"),
    ({"float_data": [np.nan, 1]}, "found NaN"),
    ({"data_type": TensorProto.INT4, "dims": [3], "raw_data": b"x"}, "expected 2 bytes .* found 1"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_tensors(fields: dict, message: str) -> None:
    with pytest.raises((ModelFormatError, ShapeError), match=message):
        read(with_constant(**fields))


def test_weights_with_nan_on_request_and_infinity_always() -> None:
    read(with_constant(float_data=[np.nan, 1]), allow_nan=True)
    read(with_constant(float_data=[-np.inf, 1]))  # attention masks are made of it


@pytest.mark.parametrize(("scale", "found"), [(0.0, "0.0"), (np.nan, "nan"), (-1.0, "-1.0"), (np.inf, "inf")])
def test_scales_of_quantisation(scale: float, found: str) -> None:
    graph = helper.make_graph([node("QuantizeLinear", ["x", "s"], ["y"], name="q")], "g", [helper.make_tensor_value_info("x", F, [2])],
                              [helper.make_tensor_value_info("y", TensorProto.UINT8, [2])],
                              [numpy_helper.from_array(np.float32(scale), "s")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelFormatError, match=rf"QuantizeLinear, node 'q': scale.*found {found}"):
        load(read(model, allow_nan=True))


# -- attributes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "attrs", "message"), [
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [0, 1]}, "strides: expected 1 or more, found 0"),
    ("MaxPool", {"kernel_shape": [0, 2]}, "kernel_shape: expected 1 or more, found 0"),
    ("MaxPool", {"kernel_shape": [2, 2], "pads": [0, 0, 2**40, 0]}, "pads: expected a value within 31 bits"),
    ("DepthToSpace", {"blocksize": 0}, "blocksize: expected 1 or more"),
    ("Transpose", {"perm": [0, 0, 1, 2]}, "perm: expected each of 0 to 3 once"),
    ("Elu", {"alpha": float("nan")}, "alpha: expected a finite number"),
    ("Elu", {"note": b"\xff"}, "note: expected text in UTF-8"),
    ("Einsum", {"equation": "...->->i,,"}, "equation: expected terms"),
    ("Einsum", {"equation": "ij->k"}, "different letters of the inputs"),
    ("Einsum", {"equation": "ij,jk->ik"}, "a term for each of 1 inputs, found 2"),
])
def test_attributes(op: str, attrs: dict, message: str) -> None:
    graph = helper.make_graph([node(op, ["x"], ["y"], name="bad", **attrs)], "g",
                              [helper.make_tensor_value_info("x", F, [1, 4, 4, 4])], [helper.make_tensor_value_info("y", F, None)])
    with pytest.raises(ModelFormatError, match=rf"'bad' \({op}\).*{message}"):
        read(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


# -- the scan -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "message"), [
    (b"\x0a\xff\xff\xff\xff\x07", "a field of 2147483647 bytes where 0 are left"),
    (b"\x0a", "a number that does not end"),
    (b"\xff" * 20, "a number that does not end"),
    (b"\x0b\x0c", "wire type 3"),
    (b"\x09\x00", "a field of 8 bytes where 1 are left"),
])
def test_bytes_that_are_no_message(data: bytes, message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        scan(data, "m", Limits())


def test_empty_messages_by_the_million_are_not_parsed() -> None:
    """Two bytes each in the file, a hundred in memory."""
    inputs = b"\x5a\x00" * 3_000_000  # GraphProto.input
    length = len(inputs)
    varint = bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21])
    with pytest.raises(LimitError, match=r"messages in the file: .*max_memory="):
        scan(b"\x3a" + varint + inputs, "m", Limits())
    with pytest.raises(ModelFormatError, match="more fields than a model has"):
        scan(b"\x3a" + varint + inputs, "m", Limits(memory=1 << 40))


# -- external data ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(b"\0" * 4 + RAW)
    (tmp_path / "secret").write_bytes(RAW)
    return tmp_path / "model"


def external(folder: Path, **entries: str) -> Path:
    model = with_constant(data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        model.graph.initializer[0].external_data.add(key=key, value=value)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_in_the_folder(folder: Path) -> None:
    proto = read(external(folder, location="w.bin", offset="4", length="8")).proto
    assert proto.graph.initializer[0].raw_data == RAW


@pytest.mark.parametrize(("entries", "message"), [
    ({"location": "../secret"}, "in the model's folder"),
    ({"location": "/etc/hostname"}, "in the model's folder"),
    ({"location": ""}, "in the model's folder"),
    ({"location": "nowhere"}, "No such file"),
    ({"location": "link"}, "found: "),
    ({"location": "linked/secret"}, "found: "),
    ({"location": "hard"}, "2 names"),
    ({"location": "pipe"}, "found a pipe"),
    ({"location": "sub"}, "found a folder"),
    ({"location": "w.bin", "offset": "8"}, "expected 8 bytes from byte 8 on, found a file of 12 bytes"),
    ({"location": "w.bin", "offset": str(2**63)}, "offset: expected a whole number"),
    ({"location": "w.bin", "offset": "-4"}, "offset: expected a whole number"),
    ({"location": "w.bin", "offset": "abc"}, "offset: expected a whole number"),
    ({"location": "w.bin", "length": "4"}, "expected length 8 .*, found 4"),
    ({"location": "w.bin", "length": str(1 << 60)}, "length: expected a whole number|expected length 8"),
    ({"location": "w.bin", "raw_data": "x"}, "expected location, offset, length once each"),
    ({}, "expected location"),
])
def test_external_data_elsewhere(folder: Path, entries: dict, message: str) -> None:
    (folder / "link").symlink_to(folder / "w.bin")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "sub").mkdir()
    (folder / "other").write_bytes(RAW)
    os.link(folder / "other", folder / "hard")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ModelFormatError, match=message):
        read(external(folder, **entries))


def test_external_data_of_a_model_without_folder(folder: Path) -> None:
    with pytest.raises(ModelFormatError, match="whose folder holds the data"):
        read(external(folder, location="w.bin").read_bytes())


# -- words --------------------------------------------------------------------------------------------------------------


def test_sizes_and_names_in_messages() -> None:
    assert [size(n) for n in (7, 2048, 3 << 20, 1 << 41)] == ["7 B", "2 KiB", "3 MiB", "2 TiB"]
    assert len(short("x" * 500)) < 90
    assert "\x1b" not in short("a\x1b[31mb")
    assert short(b"a\xff") == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("place", ["node", "graph", "input", "attribute"])
def test_text_that_is_no_utf8(place: str) -> None:
    """protobuf lets it pass and hands it on as bytes."""
    model = chain()
    model.graph.node[0].attribute.append(helper.make_attribute("note", 1))
    owner = {"node": model.graph.node[0], "graph": model.graph, "input": model.graph.input[0],
             "attribute": model.graph.node[0].attribute[0]}[place]
    owner.doc_string = "@@mark@@"
    data = model.SerializeToString().replace(b"@@mark@@", b"\xff" * 8)
    with pytest.raises(ModelFormatError, match="UTF-8"):
        read(data)


def test_an_empty_input_of_impossible_dimensions() -> None:
    with pytest.raises(LimitError, match="max_memory="):
        load(chain(shape=(0, 1 << 62, 8)))
