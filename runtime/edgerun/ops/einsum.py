"""Einsum: operands joined two at a time, by a matrix product (f32) or, where nothing is summed, a product of elements."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from .compose import Compose
from .dtypes import N, bits, require
from .graph import Unsupported, get, shape_of
from .registry import Legal, legalises

_MAX_RANK = 8
Term = tuple[str, ...]
"""Labels of the dimensions of an operand; the ellipsis is "0", "1" …"""


@legalises("Einsum")
def einsum(legal: Legal) -> ir.Value:
    c, values = Compose(legal), [legal.required(k) for k in range(len(legal.node.inputs))]
    for value in values:
        bits(value)
        if 0 in shape_of(value):
            raise Unsupported("an operand without elements")
    terms, result = _parse(get(legal.node, "equation", ""), [len(shape_of(v)) for v in values])
    operands = [_diagonal(c, value, term) for value, term in zip(values, terms, strict=True)]
    left, term = operands[0]
    for k, (right, other) in enumerate(operands[1:], 1):
        kept = {*result, *(label for _, t in operands[k + 1 :] for label in t)}
        left, term = _join(c, left, term, right, other, kept)
    left, term = _summed(c, left, term, result)
    return c.transpose(left, [term.index(label) for label in result])


def _parse(equation: str, ranks: list[int]) -> tuple[list[Term], Term]:
    source, arrow, target = equation.replace(" ", "").partition("->")
    sources = source.split(",")
    if len(sources) != len(ranks):
        raise Unsupported(f"equation '{equation}' for {len(ranks)} operands")
    dots = {rank - len(text) + 3 for text, rank in zip(sources, ranks, strict=True) if "..." in text}
    if len(dots) > 1 or (dots and min(dots) < 0):
        raise Unsupported("ellipses of different numbers of dimensions")
    shared = tuple(str(k) for k in range(max(dots, default=0)))
    terms = [_term(text, shared) for text in sources]
    if any(len(t) != rank for t, rank in zip(terms, ranks, strict=True)):
        raise Unsupported(f"equation '{equation}' for operands of rank {ranks}")
    counts = Counter(label for t in terms for label in t)
    if not arrow:
        return terms, (*shared, *sorted(label for label, n in counts.items() if n == 1 and label not in shared))
    result = _term(target, shared)
    if len(set(result)) != len(result) or not set(result) <= set(counts) or not set(shared) <= set(result):
        raise Unsupported(f"result '{target}' of equation '{equation}'")
    return terms, result


def _term(text: str, shared: Term) -> Term:
    before, dots, after = text.partition("...")
    if not (before + after).isalpha() and before + after:
        raise Unsupported(f"term '{text}'")
    return (*before, *(shared if dots else ()), *after)


def _diagonal(c: Compose, x: ir.Value, term: Term) -> tuple[ir.Value, Term]:
    """Each letter once: of [n, n] as [n²], every (n + 1)th element is on the diagonal."""
    for label, count in Counter(term).items():
        for _ in range(count - 1):
            first = term.index(label)
            second = term.index(label, first + 1)
            others = [d for d in range(len(term)) if d not in (first, second)]
            shape, n = [shape_of(x)[d] for d in others], shape_of(x)[first]
            if shape_of(x)[second] != n:
                raise Unsupported("a letter of two sizes")
            x = c.reshape(c.transpose(x, (*others, first, second)), (*shape, n * n))
            x, term = c.slice(x, -1, 0, n * n, n + 1), (*(term[d] for d in others), label)
    return x, term


def _summed(c: Compose, x: ir.Value, term: Term, kept: Collection[str]) -> tuple[ir.Value, Term]:
    """Without the labels that nothing else needs."""
    axes = tuple(d for d, label in enumerate(term) if label not in kept)
    if axes:
        require(x, frozenset({"f32", "i32", "i64"}))
    return c.reduce("sum", x, axes, keepdims=False), tuple(label for label in term if label in kept)


def _join(c: Compose, a: ir.Value, ta: Term, b: ir.Value, tb: Term, kept: Collection[str]) -> tuple[ir.Value, Term]:
    a, ta = _summed(c, a, ta, {*kept, *tb})
    b, tb = _summed(c, b, tb, {*kept, *ta})
    sa, sb = dict(zip(ta, shape_of(a), strict=True)), dict(zip(tb, shape_of(b), strict=True))
    both = [label for label in ta if label in sb]
    inner = [label for label in both if label not in kept]
    batch = [label for label in both if label in kept]
    rows, columns = [label for label in ta if label not in sb], [label for label in tb if label not in sa]
    if any(sa[k] != sb[k] and (k in inner or 1 not in (sa[k], sb[k])) for k in both):
        raise Unsupported("a letter of two sizes")
    a = c.transpose(a, [ta.index(label) for label in (*batch, *rows, *inner)])
    b = c.transpose(b, [tb.index(label) for label in (*batch, *inner, *columns)])
    term = (*batch, *rows, *columns)
    of_a, of_b = [sa[k] for k in batch], [sb[k] for k in batch]
    if len(term) > _MAX_RANK or len(batch) + 2 > _MAX_RANK:
        raise Unsupported(f"{len(term)} dimensions on the way; kernels take up to {_MAX_RANK}")
    m, n = [sa[k] for k in rows], [sb[k] for k in columns]
    if not inner:
        require(a, N)
        return c.apply("mul", c.reshape(a, (*of_a, *m, *(1,) * len(n))), c.reshape(b, (*of_b, *(1,) * len(m), *n))), term
    require(a, frozenset({"f32"}))
    depth = math.prod(sa[k] for k in inner)
    product = c.matmul(c.reshape(a, (*of_a, math.prod(m), depth)), c.reshape(b, (*of_b, depth, math.prod(n))))
    return c.reshape(product, (*np.broadcast_shapes(tuple(of_a), tuple(of_b)), *m, *n)), term
