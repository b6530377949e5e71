"""Ranges of intermediate results over calibration inputs, or from a file that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edgerun import Session
from edgerun.errors import DataError
from edgerun.planner.ranges import KEY, Ranges, loads
from edgerun_tools.defined import defined
from edgerun_tools.hardening import activations, layers
from edgerun_tools.hardening.graph import Graph

_LAYERS = layers.OPERATORS | activations.OPERATORS | {"Add", "BatchNormalization", "Mul"}


def watched(model: onnx.ModelProto, every: bool = False) -> onnx.ModelProto:
    """The model with every float32 result of a layer (every: of a node) as an output besides its own."""
    graph = Graph(defined(model))
    names = [name for n in graph.nodes if every or (n.op_type in _LAYERS and not n.domain) for name in (n.output if every else n.output[:1])
             if name and graph.is_float(name) and graph.constant(name) is None]
    graph.graph.output.extend(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, graph.shape(n)) for n in names
                              if n not in graph.outputs)
    return graph.finish({})


def calibrate(model: onnx.ModelProto, rows: Iterable[Mapping[str, np.ndarray]], every: bool = False, **options: Any
              ) -> dict[str, tuple[float, float]]:
    """Lowest and highest element of every layer's (every: node's) result over these inputs, by our runtime. options: of its session.

    DataError names a result that is not finite."""
    found: dict[str, tuple[float, float]] = {}
    with Session(watched(model, every).SerializeToString(), **options) as session:
        for index, row in enumerate(rows):
            for name, value in session.run(row).outputs.items():
                if value.dtype == np.float32 and value.size:
                    low, high = found.get(name, (np.inf, -np.inf))
                    found[name] = min(low, float(value.min())), max(high, float(value.max()))
                    if not np.isfinite(found[name]).all():
                        raise DataError(f"input {index}: {name!r}: expected finite values, found {value.min():g} to {value.max():g}")
    return found


def read(path: str) -> dict[str, tuple[float, float]]:
    """{value: [lowest, highest]} from a JSON file. DataError for anything else."""
    try:
        return _some(loads(Path(path).read_text(encoding="utf-8"), f"--ranges {path}"), f"--ranges {path}")
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"--ranges {path}: expected a JSON file; found: {e}") from e


def of_metadata(model: onnx.ModelProto) -> Ranges | None:
    """Those that the model brings along, or None. DataError where they are malformed."""
    text = next((p.value for p in model.metadata_props if p.key == KEY), None)
    return None if text is None else _some(loads(text), f"metadata {KEY}")


def _some(ranges: dict[str, tuple[float, float]], where: str) -> dict[str, tuple[float, float]]:
    if not ranges:
        raise DataError(f"{where}: expected a range; found none")
    return ranges
