"""Activations that exporters spell out: SiLU, HardSwish, HardSigmoid, Gelu (erf and tanh form)."""

from __future__ import annotations

import math
from typing import TypeAlias

import onnx_ir as ir

from edgerun.ops.graph import dtype_of, get, is_op, make, producer, scalar_of, shape_of

from .edit import before, drop, only_use, replace, sweep

_CLOSE = 1e-5  # 0.79788 for sqrt(2 / pi) is the same function; 0.7979 is another
_NAMES = {"silu": "SiLU", "hard_swish": "HardSwish", "hard_sigmoid": "HardSigmoid", "gelu": "Gelu"}


def spell_activations(model: ir.Model) -> int:
    """Replace each pattern by one node. Returns how many were found."""
    count = 0
    for graph in model.graphs():
        for node in list(graph):
            if is_op(node, "mul", "div") and not get(node, "activation", 0) and dtype_of(node.outputs[0]) == "f32":
                count += _match(node)
    return count + (sweep(model.graph) and 0)


def _match(node: ir.Node) -> int:
    for rule in (_hard_sigmoid, _hard_swish_div, _gated, _gelu):
        found = rule(node)
        if found is None:
            continue
        op, x, attrs = found
        if shape_of(x) != shape_of(node.outputs[0]):
            continue
        new = make(op, [x], attrs, [(shape_of(x), x.dtype)], like=node)
        new.meta["op"] = _NAMES[op]
        replace(node.outputs[0], before(node, new))
        drop(node)
        return 1
    return 0


Found: TypeAlias = "tuple[str, ir.Value, dict[str, float]] | None"
"""(internal operator, its operand, its attributes)"""


def _near(value: ir.Value | None, number: float) -> bool:
    scalar = scalar_of(value)
    return scalar is not None and math.isclose(scalar, number, rel_tol=_CLOSE)


def _other(node: ir.Node, number: float) -> ir.Value | None:
    """The operand of a commutative node whose other operand is (about) this number."""
    for k in (0, 1):
        if _near(node.inputs[k], number):
            return node.inputs[1 - k]
    return None


def _relu6_of_x_plus_3(value: ir.Value | None) -> ir.Value | None:
    clip = producer(value)
    if not is_op(clip, "clip") or clip is None or get(clip, "act_alpha") != 0.0 or get(clip, "act_beta") != 6.0:
        return None
    add = producer(clip.inputs[0])
    return _other(add, 3.0) if is_op(add, "add") and add is not None else None


def _scaled_by_sixth(node: ir.Node) -> ir.Value | None:
    if is_op(node, "div"):
        return node.inputs[0] if _near(node.inputs[1], 6.0) else None
    return _other(node, 1 / 6)


def _hard_sigmoid(node: ir.Node) -> Found:
    """clip(x + 3, 0, 6) / 6."""
    x = _relu6_of_x_plus_3(_scaled_by_sixth(node))
    return None if x is None else ("hard_sigmoid", x, {"act_alpha": 1 / 6, "act_beta": 0.5})


def _hard_swish_div(node: ir.Node) -> Found:
    """x · clip(x + 3, 0, 6) / 6."""
    product = producer(_scaled_by_sixth(node))
    if not is_op(product, "mul") or product is None:
        return None
    for k in (0, 1):
        x = _relu6_of_x_plus_3(product.inputs[k])
        if x is not None and x is product.inputs[1 - k] and only_use(product.outputs[0], node):
            return "hard_swish", x, {}
    return None


def _gated(node: ir.Node) -> Found:
    """x · sigmoid(x) and x · hard_sigmoid(x; 1/6, 1/2)."""
    if not is_op(node, "mul"):
        return None
    for k in (0, 1):
        gate, x = producer(node.inputs[k]), node.inputs[1 - k]
        if gate is None or x is None or not is_op(gate, "sigmoid", "hard_sigmoid") or gate.inputs[0] is not x:
            continue
        if is_op(gate, "sigmoid"):
            return "silu", x, {}
        if math.isclose(get(gate, "act_alpha"), 1 / 6, rel_tol=1e-6) and get(gate, "act_beta") == 0.5:
            return "hard_swish", x, {}
    return None


def _factors(node: ir.Node) -> list[ir.Value]:
    """Factors of a product of products that nothing else uses."""
    result: list[ir.Value] = []
    for value in node.inputs:
        inner = producer(value)
        if (
            inner is not None
            and is_op(inner, "mul")
            and not get(inner, "activation", 0)
            and only_use(inner.outputs[0], node)
        ):
            result += _factors(inner)
        elif value is not None:
            result.append(value)
    return result


def _gelu(node: ir.Node) -> Found:
    """x · ½ · (1 + erf(x / √2)) or x · ½ · (1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    if not is_op(node, "mul"):
        return None
    factors = _factors(node)
    if len(factors) != 3 or not any(_near(f, 0.5) for f in factors):
        return None
    rest = [f for f in factors if not _near(f, 0.5)]
    for k in (0, 1):
        add = producer(rest[k]) if len(rest) == 2 else None
        if add is None or not is_op(add, "add"):
            continue
        x, inner = rest[1 - k], producer(_other(add, 1.0))
        if inner is not None and is_op(inner, "erf") and _is_scaled(inner.inputs[0], x):
            return "gelu", x, {"tanh": 0}
        if inner is not None and is_op(inner, "tanh") and _is_tanh_argument(inner.inputs[0], x):
            return "gelu", x, {"tanh": 1}
    return None


def _is_scaled(value: ir.Value | None, x: ir.Value) -> bool:
    node = producer(value)
    if node is not None and is_op(node, "div"):
        return node.inputs[0] is x and _near(node.inputs[1], math.sqrt(2))
    return node is not None and is_op(node, "mul") and _other(node, math.sqrt(0.5)) is x


def _is_tanh_argument(value: ir.Value | None, x: ir.Value) -> bool:
    product = producer(value)
    total = producer(_other(product, math.sqrt(2 / math.pi))) if product is not None and is_op(product, "mul") else None
    if total is None or not is_op(total, "add") or x not in total.inputs:
        return False
    cubic = producer(total.inputs[1] if total.inputs[0] is x else total.inputs[0])
    if cubic is None or not is_op(cubic, "mul"):
        return False
    power = producer(_other(cubic, 0.044715))
    if power is not None and is_op(power, "pow"):
        return power.inputs[0] is x and _near(power.inputs[1], 3.0)
    if power is None or not is_op(power, "mul"):
        return False
    factors = _factors_of_product(power)
    return len(factors) == 3 and all(f is x for f in factors)


def _factors_of_product(node: ir.Node) -> list[ir.Value | None]:
    """Of a product of two values, either of which may be such a product itself."""
    result: list[ir.Value | None] = []
    for value in node.inputs:
        inner = producer(value)
        result += list(inner.inputs) if inner is not None and is_op(inner, "mul") else [value]
    return result
