"""Trilu: one triangle of each matrix; the other becomes zero (also where it held NaN, as the definition selects)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .axes import ints_input
from .compose import Compose, room
from .dtypes import bits
from .graph import Unsupported, constant, get, shape_of
from .registry import Legal, legalises


@legalises("Trilu")
def trilu(legal: Legal) -> ir.Value:
    x, c = legal.required(0), Compose(legal)
    bits(x)
    shape = shape_of(x)
    if len(shape) < 2:
        raise Unsupported(f"rank {len(shape)}")
    offset = (ints_input(legal, 1, "k") or (0,))[0]
    rows, columns = shape[-2:]
    room(rows * columns)
    distance = np.arange(columns) - np.arange(rows)[:, None]
    kept = distance >= offset if get(legal.node, "upper", 1) else distance <= offset
    return x if kept.all() else c.apply("where", constant(kept), x, 0)
