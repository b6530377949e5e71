"""Honest files that look like hostile ones: a loader that refuses everything does not pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from .bombs import loop
from .case import Array, Case, Family, counted, relu
from .external import DATA, external
from .metadata import both, two_exits
from .models import F, add, model, node, one, raw, simple, tensor
from .nesting import doubling, if_answer, nested_if

_of = Family("benign")
INT4 = int(onnx.TensorProto.INT4)


def _beside(folder: Path) -> Path:
    """Weights in a folder below that of the model, behind an offset."""
    (folder / "weights").mkdir()
    (folder / "weights" / "w.bin").write_bytes(bytes(64) + DATA + bytes(64))
    path = folder / "model.onnx"
    entries: dict[str, object] = {"location": "weights/w.bin", "offset": 64, "length": 16}
    path.write_bytes(external(entries).SerializeToString())
    return path


def _plus(*values: float) -> Array:
    return np.array(values, np.float32)


def _ten_more(feeds: Mapping[str, Array]) -> list[Array]:
    total = feeds["x"]
    for _ in range(10):
        total = total + np.float32(1)
    return [total]


def _packed() -> onnx.ModelProto:
    made = model([node("Cast", ["w"], ["f"], to=F), node("Add", ["x", "f"], ["y"])], [("x", F, (5,))], [("y", F, (5,))],
                 opset=21)
    made.graph.initializer.append(tensor((5,), INT4, raw_data=b"\x21\x43\x05"))
    return made


def _mask() -> onnx.ModelProto:
    """Minus infinity in a constant, as attention masks have it."""
    return model([node("Add", ["x", "w"], ["a"]), node("Softmax", ["a"], ["y"])], [("x", F, (1, 4))], [("y", F, (1, 4))],
                 {"w": _plus(0, 0, -np.inf, -np.inf)})


def _masked(feeds: Mapping[str, Array]) -> list[Array]:
    e = np.exp(feeds["x"] + _plus(0, 0, -np.inf, -np.inf))
    return [e / e.sum()]


def _exits() -> onnx.ModelProto:
    made = two_exits()
    made.metadata_props.add(key="edgerun.exits", value='["early", "late"]')
    return made


CASES = (
    _of.runs("plain", "y = Relu(x).", simple, relu),
    _of.runs("two-exits", "A model with two exits.", _exits, both),
    _of.runs("if-depth-3", "Three If nodes inside each other.", lambda: nested_if(3), if_answer),
    _of.runs("function-doubling-4", "Functions that expand to 16 nodes.", lambda: doubling(4), relu),
    _of.runs("loop-10", "A Loop of ten trips.", lambda: loop(10, node("Add", ["v", "one"], ["w"])), _ten_more),
    _of.runs("fill-1-mib", "ConstantOfShape of 1 MiB.",
             lambda: one("ConstantOfShape", None, np.array([256, 1024]), rank=2), lambda _: [np.zeros((256, 1024), np.float32)]),
    _of.runs("float-data", "A weight in float_data.", lambda: add(tensor(float_data=[1, 2, 3, 4])), counted),
    _of.runs("raw-data", "A weight in raw_data.", lambda: add(tensor(raw_data=raw(1, 2, 3, 4))), counted),
    _of.runs("int4", "Five 4-bit integers in three bytes.", _packed, lambda f: [f["x"] + _plus(1, 2, 3, 4, 5)]),
    _of.runs("infinite-mask", "A mask with minus infinity.", _mask, _masked),
    Case("external-beside", "benign", "Weights in a file below the model's folder.", _beside, "runs", counted),
)
