"""Attention: softmax(scale·Q Kᵀ + bias) V from matrix products and softmax. The scores' mask: attention_mask.py."""

from __future__ import annotations

import math

import onnx_ir as ir

from .attention_mask import Mask, mask_of
from .compose import Compose
from .graph import Unsupported, get, shape_of
from .registry import Legal, legalises

_SCORES, _CAPPED, _BIASED, _PROBABILITIES = range(4)
"""qk_matmul_output_mode: what the fourth output holds."""


@legalises("Attention")
def attention(legal: Legal) -> list[ir.Value]:
    """Q[B,Hq,Sq,D] or [B,Sq,Hq·D]; K, V alike with Hkv heads, of which each serves Hq/Hkv neighbouring heads of Q."""
    c, node = Compose(legal), legal.node
    mode, capping = get(node, "qk_matmul_output_mode", 0), get(node, "softcap", 0.0)
    if get(node, "softmax_precision", 0) == ir.DataType.DOUBLE:
        raise Unsupported("softmax in float64")
    q, k, v = (_heads(c, legal.required(n), "kv_num_heads" if n else "q_num_heads") for n in range(3))
    keys, values = (_joined(c, legal.input(n), new) for n, new in ((4, k), (5, v)))
    (batch, heads, queries, size), shape = shape_of(q), shape_of(keys)
    shared, total = shape[1], shape[2]
    if (legal.input(4) is None) != (legal.input(5) is None):
        raise Unsupported("past_key without past_value, or the reverse")
    if shape != (batch, shared, total, size) or shape_of(values)[:3] != shape[:3]:
        raise Unsupported(f"Q {shape_of(q)}, K {shape} and V {shape_of(values)} do not fit")
    if 0 in (*shape_of(q), *shape, *shape_of(values)):
        raise Unsupported("no queries, keys or values")
    if heads % shared:
        raise Unsupported(f"{heads} heads of Q for {shared} heads of K")
    scale = get(node, "scale", 1 / math.sqrt(size))
    if not scale > 0:
        raise Unsupported(f"scale {scale}")
    # Heads that share keys become more queries of these keys, so nothing is repeated.
    rows = (batch, shared, heads // shared * queries)
    together = c.reshape(c.enter(q), (*rows, size))
    scores = c.matmul(together, c.transpose(c.enter(keys), (0, 1, 3, 2)), alpha=scale)
    stages = {_SCORES: c.reshape(scores, (batch, heads, queries, total))}
    capped = stages[_SCORES]
    if capping > 0:
        capped = c.apply("mul", c.apply("tanh", c.apply("div", capped, capping)), capping)
    stages[_CAPPED] = capped
    mask = mask_of(c, (batch, heads, queries, total), shape_of(k)[2])
    stages[_BIASED] = mask.add_to(capped)
    stages[_PROBABILITIES] = _softmax(c, stages[_BIASED], mask)
    if mode not in stages:
        raise Unsupported(f"qk_matmul_output_mode {mode}")
    product = c.matmul(c.reshape(stages[_PROBABILITIES], (*rows, total)), c.enter(values))
    y = c.reshape(product, (batch, heads, queries, shape_of(v)[3]))
    if len(shape_of(legal.required(0))) == 3:
        y = c.reshape(c.transpose(y, (0, 2, 1, 3)), (batch, queries, heads * shape_of(v)[3]))
    shown = stages[mode] if legal.output_used(3) else y
    return [y, keys, values, shown][: len(node.outputs)]


def _heads(c: Compose, x: ir.Value, count: str) -> ir.Value:
    """[B, S, H·D] as [B, H, S, D]."""
    shape = shape_of(x)
    if len(shape) == 4:
        return x
    heads = get(c.legal.node, count, 0)
    if len(shape) != 3 or heads < 1 or shape[2] % heads:
        raise Unsupported(f"'{x.name}' of shape {shape} with {count} {heads}")
    return c.transpose(c.reshape(x, (shape[0], shape[1], heads, shape[2] // heads)), (0, 2, 1, 3))


def _joined(c: Compose, past: ir.Value | None, new: ir.Value) -> ir.Value:
    if past is None:
        return new
    if past.dtype != new.dtype or len(shape_of(past)) != 4:
        raise Unsupported(f"past of {past.dtype} {shape_of(past)}")
    (batch, heads, _, size), (b, h, _, s) = shape_of(past), shape_of(new)
    if (batch, heads, size) != (b, h, s):
        raise Unsupported(f"past {shape_of(past)} before {shape_of(new)}")
    return c.concat([past, new], 2)


def _softmax(c: Compose, scores: ir.Value, mask: Mask) -> ir.Value:
    """Rows without any key that may be seen are zero, where softmax alone would give NaN."""
    dead = mask.dead
    if dead is None:
        return c.softmax(scores, -1)
    return c.apply("where", dead, 0.0, c.softmax(c.apply("where", dead, 0.0, scores), -1))
