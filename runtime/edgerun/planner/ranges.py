"""Ranges of values seen in calibration, inside the model file: JSON {tensor: [lowest, highest]} in the metadata, key `edgerun.ranges`.

`edgerun ranges` and `edgerun harden --data` write it. The reaction "restrict" cuts what stays wrong off at it (Ranger: Chen et al., DSN
2021), and hardened models verify it. The file stays valid for every other ONNX tool.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from edgerun.errors import DataError

KEY = "edgerun.ranges"
LARGEST = 3.4028234663852886e38
"""Of float32."""

Ranges = Mapping[str, tuple[float, float]]


def dumps(ranges: Ranges) -> str:
    """The JSON text that goes into the metadata."""
    return json.dumps({name: list(pair) for name, pair in ranges.items()})


def loads(text: str, where: str = f"metadata {KEY}") -> dict[str, tuple[float, float]]:
    """What `dumps` wrote. DataError where it is anything else, naming the tensor."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"{where}: expected JSON; found: {e}") from e
    if not isinstance(held, dict):
        raise DataError(f"{where}: expected a JSON object {{tensor: [lowest, highest]}}; found {type(held).__name__}")
    return {name: _pair(name, pair, where) for name, pair in held.items()}


def of(metadata: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """The ranges in a model's metadata, {} where there are none."""
    return loads(metadata[KEY]) if KEY in metadata else {}


def _pair(name: str, pair: Any, where: str) -> tuple[float, float]:
    numbers = isinstance(pair, list) and len(pair) == 2 and all(type(v) in (int, float) for v in pair)
    low, high = (float(v) if abs(v) <= LARGEST else math.nan for v in pair) if numbers else (math.nan, math.nan)
    if not low <= high:
        raise DataError(f"{where}: {name}: expected two finite numbers, the lower one first; found {str(pair)[:60]}")
    return low, high
