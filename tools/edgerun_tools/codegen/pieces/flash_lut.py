"""lut_x8 with its table in program memory; verified where the function is symmetric."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_tools.codegen.site import Site, Write

Array = np.ndarray[Any, Any]
SYMMETRIC = frozenset({"Sigmoid", "Tanh"})
"""Operators f with f(x) + f(-x) constant."""
FEWEST, STEPS = 32, 8
"""Pairs of bytes that must show it, and steps of the grid that they must span: where a function is flat it is symmetric anyway."""


def lut(site: Site) -> None:
    """x table → y."""
    table = site.constant(1).view(np.uint8).reshape(-1)
    arguments = site.x(0), site.out().elements
    signed = table.astype(np.int64) if site.out().dtype == "u8" else table.view(np.int8).astype(np.int64)
    order = np.roll(signed, 128) if site.slot(0).dtype == "i8" else signed
    total = total_of(order) if site.program.maed and site.step.op in SYMMETRIC else None
    if total is not None:
        both = np.concatenate([signed, total - signed]).astype(np.uint8)
        site.guard("lut_mirror.c", "er_lut_mirror", *arguments, site.table("tables", "uint8_t", both, paged=True), total % 256, site.y())
        return
    site.call("lut_flash.c", "er_lut_flash", *arguments, site.table("table", "uint8_t", table, paged=True), site.y())


def total_of(table: Array) -> int | None:
    """What f(x) and f(-x) add up to in steps of the grid, from the table's entries [256] alone: the best sum over all zero points of x, if
    no pair is more than a step off (both are rounded); None where there is no such symmetry. Entries in the order of x."""
    best: tuple[float, int] | None = None
    for zero in range(256):
        reach = min(zero, 255 - zero)
        seen = table[zero - reach:zero + reach + 1]
        if reach < FEWEST or seen.max() - seen.min() < STEPS:
            continue
        sums = seen + seen[::-1]
        middle = round(float(sums.mean()))
        off = np.abs(sums - middle)
        if off.max() <= 1 and (best is None or off.mean() < best[0]):
            best = float(off.mean()), middle
    return None if best is None else best[1]


PIECES: dict[str, Write] = {"lut_x8": lut}
