"""Axes of an operator, which newer opsets pass as an input and older ones as an attribute."""

from __future__ import annotations

from edgerun.errors import ShapeError

from .graph import Unsupported, array_of, get
from .registry import Legal


def axes_of(legal: Legal, rank: int, index: int = 1) -> tuple[int, ...] | None:
    """Non-negative axes from attribute `axes` or constant input `index`; None when neither is given. Raises ShapeError for axes
    that are out of range (old opsets do not check them) or given twice."""
    axes = get(legal.node, "axes")
    value = legal.input(index)
    if axes is None and value is not None:
        array = array_of(value)
        if array is None:
            raise Unsupported("axes are not constant")
        axes = array.reshape(-1).tolist()
    if axes is None or not rank:
        return None if axes is None else tuple(int(a) for a in axes)
    for a in axes:
        if not -rank <= a < rank:
            raise _refused(legal, f"expected axes from {-rank} to {rank - 1}, found {a}")
    found = tuple(int(a) % rank for a in axes)
    if len(set(found)) != len(found):
        raise _refused(legal, f"expected every axis once, found {[int(a) for a in axes]}")
    return found


def _refused(legal: Legal, reason: str) -> ShapeError:
    return ShapeError(f"{legal.node.op_type}, node '{legal.node.name or ''}': axes: {reason}")


def ints_input(legal: Legal, index: int, what: str) -> tuple[int, ...] | None:
    """A constant integer input as a tuple; None when it is absent."""
    value = legal.input(index)
    if value is None:
        return None
    array = array_of(value)
    if array is None:
        raise Unsupported(f"{what} are not constant")
    return tuple(int(v) for v in array.reshape(-1))


def without(perm: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Permutation that is left when the (source) axes disappear."""
    kept = [p for p in perm if p not in axes]
    ranks = {p: k for k, p in enumerate(sorted(kept))}
    return tuple(ranks[p] for p in kept)
