"""Ranges of intermediate results over calibration inputs, or from a file that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edgerun import Session
from edgerun.errors import DataError
from edgerun_tools.defined import defined
from edgerun_tools.hardening import activations, layers
from edgerun_tools.hardening.graph import Graph
from edgerun_tools.hardening.ranges import KEY, Ranges

_LAYERS = layers.OPERATORS | activations.OPERATORS | {"Add", "BatchNormalization", "Mul"}


def watched(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every float32 result of a layer as an output besides its own."""
    graph = Graph(defined(model))
    names = [n.output[0] for n in graph.nodes if n.op_type in _LAYERS and not n.domain and graph.is_float(n.output[0])
             and graph.constant(n.output[0]) is None]
    graph.graph.output.extend(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, graph.shape(n)) for n in names
                              if n not in graph.outputs)
    return graph.finish({})


def calibrate(model: onnx.ModelProto, rows: Iterable[Mapping[str, np.ndarray]], **options: Any) -> dict[str, tuple[float, float]]:
    """Lowest and highest element of every layer's result over these inputs, by our runtime. options: of its session."""
    found: dict[str, tuple[float, float]] = {}
    with Session(watched(model).SerializeToString(), **options) as session:
        for row in rows:
            for name, value in session.run(row).outputs.items():
                if value.dtype == np.float32 and value.size:
                    low, high = found.get(name, (np.inf, -np.inf))
                    found[name] = min(low, float(value.min())), max(high, float(value.max()))
    return found


def read(path: str) -> dict[str, tuple[float, float]]:
    """{value: [lowest, highest]} from a JSON file. DataError for anything else."""
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        return parsed(held, f"--ranges {path}")
    except (OSError, ValueError) as e:
        if isinstance(e, DataError):
            raise
        raise DataError(f"--ranges {path}: expected a JSON file; found: {e}") from e


def of_metadata(model: onnx.ModelProto) -> Ranges | None:
    """Those that the model brings along, or None. DataError where they are malformed."""
    text = next((p.value for p in model.metadata_props if p.key == KEY), None)
    if text is None:
        return None
    try:
        return parsed(json.loads(text), f"metadata {KEY}")
    except ValueError as e:
        raise DataError(f"metadata {KEY}: expected JSON; found: {e}") from e


def parsed(held: Any, where: str) -> dict[str, tuple[float, float]]:
    """Checked ranges. DataError names the entry."""
    if not isinstance(held, dict) or not held:
        raise DataError(f"{where}: expected a JSON object {{value: [lowest, highest]}}; found {type(held).__name__}")
    ranges = {}
    for name, pair in held.items():
        numbers = isinstance(pair, list) and len(pair) == 2 and all(isinstance(v, (int, float)) for v in pair)
        if not numbers or not np.isfinite(pair).all() or pair[0] > pair[1]:
            raise DataError(f"{where}: {name}: expected two finite numbers, the lower one first; found {pair!r}")
        ranges[name] = float(pair[0]), float(pair[1])
    return ranges
