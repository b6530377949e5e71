"""Axes of an operator, which newer opsets pass as an input and older ones as an attribute."""

from __future__ import annotations

from .graph import Unsupported, array_of, get
from .registry import Legal


def axes_of(legal: Legal, rank: int, index: int = 1) -> tuple[int, ...] | None:
    """Non-negative axes from attribute `axes` or constant input `index`; None when neither is given."""
    axes = get(legal.node, "axes")
    value = legal.input(index)
    if axes is None and value is not None:
        array = array_of(value)
        if array is None:
            raise Unsupported("axes are not constant")
        axes = array.reshape(-1).tolist()
    return None if axes is None else tuple(int(a) % rank if rank else int(a) for a in axes)


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
