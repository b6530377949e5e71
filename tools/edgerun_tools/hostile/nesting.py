"""Graphs within graphs and functions within functions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from . import wire
from .case import Array, Case, Family, relu
from .models import BOOL, F, model, node

_of = Family("nesting")
DOMAIN = "local"


def nested_if(depth: int) -> bytes:
    """If c: If c: … Relu(x), else Neg(x); `depth` Ifs inside each other, written inside out."""
    def port(name: str) -> bytes:
        return wire.port(name, F, [4])

    inner = wire.graph([wire.node("Relu", ["x"], ["r"])], [], [port("r")], "then")
    for level in range(depth):
        other = wire.graph([wire.node("Neg", ["x"], [f"n{level}"])], [], [port(f"n{level}")], "else")
        made = wire.node("If", ["c"], [f"y{level}"], then_branch=inner, else_branch=other)
        inputs = [wire.port("c", BOOL, []), port("x")] if level == depth - 1 else []
        inner = wire.graph([made], inputs, [port(f"y{level}")], "then")
    return wire.model(inner)


def if_answer(feeds: Mapping[str, Array]) -> list[Array]:
    return [np.maximum(feeds["x"], 0) if feeds["c"] else -feeds["x"]]


def function(name: str, *calls: str) -> onnx.FunctionProto:
    """A function of one input that applies operators of its own domain, or Relu where there is none of that name."""
    nodes = [helper.make_node(op, [f"v{k}"], [f"v{k + 1}"], domain="" if op == "Relu" else DOMAIN, name=f"call{k}")
             for k, op in enumerate(calls)]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_function(DOMAIN, name, ["v0"], [f"v{len(calls)}"], nodes, imports)


def calling(name: str, *functions: onnx.FunctionProto) -> onnx.ModelProto:
    """y = name(x)."""
    call = node(name, ["x"], ["y"])
    call.domain = DOMAIN
    return model([call], [("x", F, [4])], [("y", F, [4])], functions=functions, domains=[DOMAIN])


def doubling(depth: int) -> onnx.ModelProto:
    """f1 calls f0 twice, f2 calls f1 twice, …: 2^depth nodes once all is written out."""
    chain = [function(f"f{k}", f"f{k - 1}", f"f{k - 1}") for k in range(1, depth + 1)]
    return calling(f"f{depth}", function("f0", "Relu"), *chain)


def _if(depth: int) -> Case:
    return _of.either(f"if-depth-{depth}", f"{depth} If nodes inside each other.", lambda: nested_if(depth), if_answer)


def _bomb(depth: int) -> Case:
    return _of.either(f"function-doubling-{depth}", f"A function expansion bomb: {depth} functions that call the one "
                      f"before twice, 2^{depth} nodes.", lambda: doubling(depth), relu)


def _calls_in_a_row(depth: int) -> onnx.ModelProto:
    chain = [function(f"f{k}", f"f{k - 1}") for k in range(1, depth + 1)]
    return calling(f"f{depth}", function("f0", "Relu"), *chain)


def _two_of_a_name() -> onnx.ModelProto:
    return calling("f", function("f", "Relu"), function("f", "Relu", "Relu"))


CASES = (
    *(_if(depth) for depth in (20, 30, 32, 64, 200, 3000)),
    *(_bomb(depth) for depth in (16, 24, 30)),
    _of.error("function-calls-itself", "A function calls itself.", lambda: calling("f", function("f", "f"))),
    _of.error("functions-call-each-other", "Two functions call each other.",
              lambda: calling("f", function("f", "g"), function("g", "f"))),
    _of.error("function-defined-twice", "Two functions have the same name.", _two_of_a_name),
    _of.either("function-chain-2000", "2,000 functions, each calling the one before once.",
               lambda: _calls_in_a_row(2000), relu),
)
