"""Graphs that break the rules of graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .case import Array, Family, relu, same
from .models import BOOL, I64, IR_VERSION, F, graph, model, node, one, simple

_of = Family("structure")
X, Y = ("x", F, (4,)), ("y", F, (4,))


def _changed(change: Callable[[onnx.ModelProto], object]) -> Callable[[], onnx.ModelProto]:
    """y = Relu(x) after `change`."""

    def content() -> onnx.ModelProto:
        made = simple()
        change(made)
        return made

    return content


def _set_opset(version: int) -> Callable[[onnx.ModelProto], None]:
    return lambda made: setattr(made.opset_import[0], "version", version)


def _nodes(*nodes: onnx.NodeProto, **constants: Array) -> Callable[[], onnx.ModelProto]:
    return lambda: model(nodes, [X], [Y], constants)


def _no_graph() -> onnx.ModelProto:
    return onnx.ModelProto(ir_version=IR_VERSION, opset_import=[helper.make_opsetid("", 17)])


def _with_domain(domain: str) -> Callable[[], onnx.ModelProto]:
    return lambda: one("Relu", (4,), rank=1, domain=domain)


def _duplicate_initializer() -> onnx.ModelProto:
    made = model([node("Add", ["x", "w"], ["y"])], [X], [Y], {"w": np.ones(4, np.float32)})
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(4, np.float32), "w"))
    return made


def _attribute(op: str, **attributes: Any) -> Callable[[], onnx.ModelProto]:
    return lambda: one(op, (2, 3), rank=2, **attributes)


def _attribute_twice() -> onnx.ModelProto:
    made = one("Softmax", (2, 3), rank=2, axis=0)
    made.graph.node[0].attribute.append(helper.make_attribute("axis", 1))
    return made


def _branches_disagree() -> onnx.ModelProto:
    then = graph([node("Relu", ["x"], ["t"])], [], [("t", F, (4,))], name="then")
    other = graph([node("Cast", ["x"], ["e"], to=I64)], [], [("e", I64, (4,))], name="else")
    return model([node("If", ["c"], ["y"], then_branch=then, else_branch=other)], [("c", BOOL, ()), X], [Y])


def _branch_with_input() -> onnx.ModelProto:
    then = graph([node("Relu", ["z"], ["t"])], [("z", F, (4,))], [("t", F, (4,))], name="then")
    other = graph([node("Neg", ["x"], ["e"])], [], [("e", F, (4,))], name="else")
    return model([node("If", ["c"], ["y"], then_branch=then, else_branch=other)], [("c", BOOL, ()), X], [Y])


def _loop_body_input_is_initializer() -> onnx.ModelProto:
    body = graph([node("Add", ["v", "v"], ["w"]), node("Identity", ["c"], ["d"])],
                 [("i", I64, ()), ("c", BOOL, ()), ("v", F, (4,))], [("d", BOOL, ()), ("w", F, (4,))],
                 {"v": np.ones(4, np.float32)})
    return model([node("Loop", ["n", "", "x"], ["y"], body=body)], [X], [Y], {"n": np.array(3)})


def _unsorted(feeds: Mapping[str, Array]) -> list[Array]:
    return [-np.maximum(feeds["x"], 0)]


def _two_hundred_thousand() -> onnx.ModelProto:
    names = ["x", *(f"v{k}" for k in range(1, 200_000)), "y"]
    made = model([], [X], [Y])
    made.graph.node.extend(onnx.NodeProto(op_type="Neg", input=[a], output=[b])
                           for a, b in pairwise(names))
    return made


def _million_value_infos() -> onnx.ModelProto:
    made = simple()
    made.graph.value_info.extend([onnx.ValueInfoProto()] * 1_000_000)
    return made


def _named(name: str) -> Callable[[], onnx.ModelProto]:
    return _nodes(node("Relu", ["x"], [name]), node("Identity", [name], ["y"]))


def _not_utf8() -> bytes:
    return one("Relu", (4,), rank=1).SerializeToString().replace(b"the_relu", b"the_\xff\xfe\xc0\x80")


CASES = (
    _of.error("no-graph", "A model without a graph.", _no_graph),
    _of.either("empty-graph", "A graph without anything in it.", lambda: model([], [], []), lambda _: []),
    _of.error("ir-version-999", "A format version that does not exist.", _changed(lambda m: setattr(m, "ir_version", 999))),
    _of.error("no-opset", "No operator set is imported.", _changed(lambda m: m.ClearField("opset_import"))),
    _of.error("opset-9999", "An operator set version that does not exist.", _changed(_set_opset(9999))),
    _of.error("opset-negative", "A negative operator set version.", _changed(_set_opset(-1))),
    _of.error("opset-twice", "Two versions of the same operator set.",
              _changed(lambda m: m.opset_import.append(helper.make_opsetid("", 9)))),
    _of.error("unknown-operator", "An operator that does not exist.", _nodes(node("Frobnicate", ["x"], ["y"]))),
    _of.error("empty-operator", "A node without an operator.", _nodes(node("", ["x"], ["y"]))),
    _of.error("unknown-domain", "An operator of a domain that nobody knows.", _with_domain("com.example")),
    _of.error("name-assigned-twice", "Two nodes make the same value.",
              _nodes(node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"]))),
    _of.error("cycle", "Two nodes wait for each other.", _nodes(node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]),
                                                                node("Neg", ["b"], ["y"]))),
    _of.error("input-undefined", "A node's input comes from nowhere.", _nodes(node("Add", ["x", "ghost"], ["y"]))),
    _of.error("output-undefined", "The graph's output is made by no node.", _nodes(node("Relu", ["x"], ["z"]))),
    _of.error("input-declared-twice", "Two inputs have the same name.",
              lambda: model([node("Relu", ["x"], ["y"])], [X, ("x", F, (9,))], [Y])),
    _of.error("input-without-type", "An input has no type.", _changed(lambda m: m.graph.input[0].ClearField("type"))),
    _of.error("initializer-twice", "Two constants have the same name and differ.", _duplicate_initializer),
    _of.error("initializer-is-node-output", "A constant and a node's output have the same name.",
              _nodes(node("Relu", ["x"], ["y"]), y=np.ones(4, np.float32))),
    _of.either("unsorted", "A node comes before the one whose result it needs.",
               _nodes(node("Neg", ["r"], ["y"]), node("Relu", ["x"], ["r"])), _unsorted),
    _of.error("too-many-inputs", "Relu with three inputs.", _nodes(node("Relu", ["x", "x", "x"], ["y"]))),
    _of.error("too-few-inputs", "Add with one input.", _nodes(node("Add", ["x"], ["y"]))),
    _of.error("node-without-output", "A node that makes nothing.",
              _nodes(node("Relu", ["x"], []), node("Relu", ["x"], ["y"]))),
    _of.error("attribute-wrong-type", "Softmax with an axis of 1.5.", _attribute("Softmax", axis=1.5)),
    _of.error("attribute-missing", "Concat without its axis.", _attribute("Concat")),
    _of.error("attribute-unknown", "Relu with an attribute it does not have.", _attribute("Relu", leak=0.5)),
    _of.error("attribute-twice", "Softmax along axis 0 and, in the same node, along axis 1.", _attribute_twice),
    _of.error("graph-on-relu", "Relu with a graph as attribute.",
              lambda: one("Relu", (4,), rank=1, body=simple().graph)),
    _of.error("if-branches-disagree", "One branch of If makes floats, the other integers.", _branches_disagree),
    _of.error("if-branch-with-input", "A branch of If has an input of its own.", _branch_with_input),
    _of.error("loop-input-is-initializer", "An input of a Loop's body is a constant of the body as well.",
              _loop_body_input_is_initializer),
    _of.either("name-10-mib", "A value with a name of 10 MiB.", _named("n" * (10 << 20)), relu),
    _of.either("name-control-characters", "A value whose name moves the cursor of a terminal and holds a zero byte.",
               _named("\x1b[2J\x1b[1;1H\0../../etc"), relu),
    _of.either("name-not-utf8", "A node's name is no UTF-8.", _not_utf8, relu),
    _of.either("nodes-200-000", "A chain of 200,000 nodes.", _two_hundred_thousand, same),
    _of.either("value-infos-1-000-000", "A million empty descriptions of values in two bytes each.",
               _million_value_infos, relu),
)
