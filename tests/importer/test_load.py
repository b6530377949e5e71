"""Files and models that cannot be read give one typed error each; shapes become static; constants are folded."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgerun
from edgerun.errors import ModelFormatError, ModelNotFoundError, ShapeError, UnsupportedOpError
from edgerun.importer import load

F = TensorProto.FLOAT


def relu(model_of, shape=("n", 3)):
    return model_of([helper.make_node("Relu", ["x"], ["y"], "relu")], [("x", F, list(shape))], [("y", F, list(shape))])


def test_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"nowhere\.onnx"):
        load(tmp_path / "nowhere.onnx")


def test_a_missing_file_is_also_a_file_not_found_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("data", [b"", b"not a protobuf at all", bytes(64), b"\x08\x08"], ids=["empty", "text", "zeros", "headless"])
def test_bytes_that_are_no_model(data: bytes) -> None:
    with pytest.raises(ModelFormatError, match="ONNX"):
        load(data)


def test_a_folder_is_no_model(tmp_path) -> None:
    with pytest.raises(ModelFormatError, match="folder"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["too long", "zero byte"])
def test_names_of_no_file(name: str) -> None:
    with pytest.raises((ModelNotFoundError, ModelFormatError), match=name[:3]):
        load(name)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch) -> None:
    def refused(path, flags):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("edgerun.importer.files.os.open", refused)
    with pytest.raises(ModelFormatError, match=r"locked\.onnx: .*Permission denied"):
        load(tmp_path / "locked.onnx")


def test_a_truncated_file(tmp_path, exit_bytes: bytes) -> None:
    path = tmp_path / "short.onnx"
    path.write_bytes(exit_bytes[: len(exit_bytes) // 2])
    with pytest.raises(ModelFormatError, match=r"short\.onnx"):
        load(path)


def test_an_unknown_operator_is_named(model_of) -> None:
    model = relu(model_of)
    model.graph.node[0].op_type = "Frobnicate"
    with pytest.raises(UnsupportedOpError, match=r"relu.*Frobnicate"):
        load(model)


def test_a_custom_domain_is_named(model_of) -> None:
    model = relu(model_of)
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedOpError, match=r"com\.example\.Relu"):
        load(model)


def test_an_undefined_input_is_against_the_rules(model_of) -> None:
    model = relu(model_of)
    model.graph.node[0].input[0] = "ghost"
    with pytest.raises(ModelFormatError, match="ghost"):
        load(model)


def test_an_opset_that_is_too_old(model_of) -> None:
    model = helper.make_model(
        helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"], broadcast=1)], "g",
                          [helper.make_tensor_value_info("x", F, [1])], [helper.make_tensor_value_info("y", F, [1])]),
        opset_imports=[helper.make_opsetid("", 6)])
    with pytest.raises(ModelFormatError, match="opset 7"):
        load(model)


def test_a_symbolic_batch_is_one(model_of) -> None:
    assert load(relu(model_of)).model.graph.inputs[0].shape.numpy() == (1, 3)


def test_a_given_shape_wins(model_of) -> None:
    assert load(relu(model_of), shapes={"x": (5, 3)}).model.graph.outputs[0].shape.numpy() == (5, 3)


def test_declared_shapes_stay_known(model_of) -> None:
    assert load(relu(model_of)).inputs[0].onnx_shape == ("n", 3)


def test_another_symbolic_dimension_must_be_given(model_of) -> None:
    with pytest.raises(ShapeError, match=r"'x'.*width.*--shape x="):
        load(relu(model_of, ("n", 3, "width")))


def test_a_shape_that_does_not_fit(model_of) -> None:
    with pytest.raises(ShapeError, match=r"'x'.*found \[5, 4\]"):
        load(relu(model_of), shapes={"x": (5, 4)})


def test_a_shape_for_no_input(model_of) -> None:
    with pytest.raises(ShapeError, match="'z'"):
        load(relu(model_of), shapes={"z": (1,)})


def test_one_symbol_is_one_size(add_bytes: bytes) -> None:
    with pytest.raises(ShapeError, match="'n'"):
        load(add_bytes, shapes={"a": (2, 3), "b": (4, 3)})


def test_a_symbol_given_for_one_input_holds_for_the_other(add_bytes: bytes) -> None:
    assert load(add_bytes, shapes={"a": (4, 3)}).model.graph.inputs[1].shape.numpy() == (4, 3)


def test_shapes_that_contradict_each_other(model_of) -> None:
    model = model_of([helper.make_node("MatMul", ["a", "b"], ["y"], "product")], [("a", F, [2, 3]), ("b", F, ["k", 2])],
                     [("y", F, [2, 2])])
    with pytest.raises(ShapeError, match="do not fit"):
        load(model, shapes={"b": (4, 2)})


def test_shape_arithmetic_is_folded(model_of) -> None:
    """Reshape(x, Concat(Gather(Shape(x), 0), -1)): what exporters write for flattening."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["u"]), helper.make_node("Concat", ["u", "minus"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "minus": np.array([-1])}
    graph = load(model_of(nodes, [("x", F, ["n", 2, 3])], [("y", F, ["n", "k"])], constants)).model.graph
    assert [n.op_type for n in graph] == ["Reshape"]
    assert graph.outputs[0].shape.numpy() == (1, 6)


def test_large_results_are_not_folded(model_of) -> None:
    model = model_of([helper.make_node("Expand", ["c", "s"], ["e"]), helper.make_node("Add", ["x", "e"], ["y"])],
                     [("x", F, [64, 64])], [("y", F, [64, 64])], {"c": np.ones((1, 1), np.float32), "s": np.array([64, 64])})
    assert [n.op_type for n in load(model, max_fold_bytes=1024).model.graph] == ["Expand", "Add"]


def test_random_operators_are_not_folded(model_of) -> None:
    model = model_of([helper.make_node("RandomNormal", [], ["r"], shape=[3]), helper.make_node("Add", ["x", "r"], ["y"])],
                     [("x", F, [3])], [("y", F, [3])])
    assert [n.op_type for n in load(model).model.graph] == ["RandomNormal", "Add"]


def test_initializers_that_are_listed_as_inputs_are_constants(model_of) -> None:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [("x", F, [3]), ("w", F, [3])], [("y", F, [3])],
                     {"w": np.ones(3, np.float32)})
    assert [p.name for p in load(model).inputs] == ["x"]


def test_functions_are_inlined(model_of) -> None:
    body = helper.make_function("local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                                [helper.make_opsetid("", 17)])
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="local")], "g",
                              [helper.make_tensor_value_info("x", F, [3])], [helper.make_tensor_value_info("y", F, [3])])
    model = helper.make_model(graph, functions=[body], ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])
    assert [n.op_type for n in load(model).model.graph] == ["Add"]


@pytest.mark.parametrize(("condition", "kept"), [(True, "Relu"), (False, "Neg")])
def test_an_if_with_a_constant_condition_is_its_branch(model_of, condition: bool, kept: str) -> None:
    branches = {
        name: helper.make_graph([helper.make_node(op, ["x"], [f"{name}_y"])], name, [],
                                [helper.make_tensor_value_info(f"{name}_y", F, [3])])
        for name, op in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    model = model_of([helper.make_node("If", ["c"], ["y"], **branches)], [("x", F, [3])], [("y", F, [3])],
                     {"c": np.array(condition)})
    assert [n.op_type for n in load(model).model.graph] == [kept]


def test_external_data_is_read(tmp_path, model_of) -> None:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [("x", F, [600])], [("y", F, [600])],
                     {"w": np.arange(600, dtype=np.float32)})
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    add = next(iter(load(tmp_path / "m.onnx").model.graph))
    np.testing.assert_array_equal(add.inputs[1].const_value.numpy(), np.arange(600, dtype=np.float32))


def test_external_data_that_is_missing(tmp_path, model_of) -> None:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [("x", F, [600])], [("y", F, [600])],
                     {"w": np.arange(600, dtype=np.float32)})
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ModelFormatError, match=r"external data"):
        load(tmp_path / "m.onnx")


def test_a_window_larger_than_its_input_is_a_shape_error() -> None:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "x"], ["c"], dilations=[2, 2]), helper.make_node("Relu", ["c"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ShapeError, match=r"Conv.*'c'.*expected sizes of 0 and more"):
        load(model.SerializeToString())


@pytest.mark.parametrize(("axes", "found"), [([1, 64], "found 64"), ([1, -1], r"every axis once, found \[1, -1\]")])
def test_axes_that_old_opsets_do_not_check(axes: list[int], found: str) -> None:
    graph = helper.make_graph([helper.make_node("ReduceMean", ["x"], ["y"], axes=axes, keepdims=0)], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 1)], ir_version=8)
    with pytest.raises(ShapeError, match=f"ReduceMean.*{found}"):
        edgerun.Session(model.SerializeToString(), executor="python")


@pytest.mark.parametrize("op", ["LessOrEqual", "GreaterOrEqual"])
@pytest.mark.parametrize("opset", [12, 15, 16])
def test_comparisons_that_onnx_tells_no_shape_of_are_planned(op, opset):
    """Opset 12 to 15 infers their type only: the model would run node by node."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node(op, ["r", "c"], ["b"]), helper.make_node("Cast", ["b"], ["y"], to=1)]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 8]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], [helper.make_tensor("c", TensorProto.FLOAT, [8], [0.5] * 8)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    with edgerun.Session(model.SerializeToString()) as session:
        assert not any(s.kernel == "onnx_graph" for s in session.plan.steps)
        x = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
        want = np.maximum(x, 0) <= 0.5 if op == "LessOrEqual" else np.maximum(x, 0) >= 0.5
        np.testing.assert_array_equal(session.run({"x": x}).outputs["y"], want.astype(np.float32))
