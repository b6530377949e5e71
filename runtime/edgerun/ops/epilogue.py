"""The activation that a producing kernel applies in its last pass."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from .graph import get


def epilogue(node: ir.Node) -> dict[str, Any]:
    """Attributes activation, act_alpha, act_beta of a node whose kernel takes them; empty when there is no
    activation."""
    code = get(node, "activation", 0)
    if not code:
        return {}
    return {
        "activation": (code,),
        "act_alpha": (get(node, "act_alpha", 0.0),),
        "act_beta": (get(node, "act_beta", 0.0),),
    }
