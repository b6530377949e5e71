"""Strides of tensors, and loops of at most four dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from edgerun_tools.codegen.site import Site

LOOPS = 4


def strides(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each dimension of a dense tensor."""
    found = [1] * len(shape)
    for k in range(len(shape) - 2, -1, -1):
        found[k] = found[k + 1] * shape[k + 1]
    return found


def four(site: Site, dims: Sequence[int], *steps: Sequence[int]) -> list[list[int]]:
    """The loops [dims, steps, …] joined where neighbouring dimensions lie one behind the other in every operand, and filled up to four."""
    rows = [[d, *s] for d, *s in zip(dims, *steps, strict=True) if d != 1]
    joined: list[list[int]] = []
    for row in rows:
        if joined and all(outer == row[0] * inner for outer, inner in zip(joined[-1][1:], row[1:], strict=True)):
            joined[-1] = [joined[-1][0] * row[0], *row[1:]]
        else:
            joined.append(row)
    if len(joined) > LOOPS:
        site.refuse(f"operands that {LOOPS} loops go through", f"{len(joined)} dimensions that cannot be joined")
    joined = [[1] + [0] * len(steps)] * (LOOPS - len(joined)) + joined
    return [list(column) for column in zip(*joined, strict=True)]
