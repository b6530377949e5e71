"""The constants of a product's checksum (kernels/c/abft_i8.c, abft_f32.c), from the plan's own weights, not from the packed ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun.executors.guarding import asks
from edgerun_tools.codegen.pieces._quant import flip
from edgerun_tools.codegen.pieces._window import Window
from edgerun_tools.codegen.site import Site
from edgerun_tools.codegen.text import number

Array = np.ndarray[Any, Any]
ROUNDOFF = 2.0**-24
Axis = list[tuple[tuple[int, ...], int, int, int]]
"""Runs of positions: the taps that meet them, first position, step, count."""


def dense(w: Array, g: Window) -> Array:
    """w [outputs, kernel_h · kernel_w · inputs of a group] → [kernel_h, kernel_w, in_c], summed over outputs."""
    each = w.reshape(g.group, g.out_c // g.group, g.kernel_h, g.kernel_w, g.in_c // g.group).sum(axis=1)
    return np.asarray(each.transpose(1, 2, 0, 3).reshape(g.kernel_h, g.kernel_w, g.in_c))


def depthwise(w: Array, g: Window) -> Array:
    """w [kernel_h, kernel_w, out_c] → [kernel_h, kernel_w, in_c], summed over the outputs of a channel."""
    return np.asarray(w.reshape(g.kernel_h, g.kernel_w, g.in_c, -1).sum(axis=3))


def runs(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> Axis:
    """The positions of an axis by the taps that meet them, in arithmetic progressions; those that no tap meets are left out."""
    by_taps: dict[tuple[int, ...], list[int]] = {}
    for at in range(size):
        starts = [(i, at + pad - i * dilation) for i in range(kernel)]
        taps = tuple(i for i, s in starts if s % stride == 0 and 0 <= s // stride < out)
        if taps:
            by_taps.setdefault(taps, []).append(at)
    found = []
    for taps, places in by_taps.items():
        while places:
            step = places[1] - places[0] if len(places) > 1 else 1
            count = 1
            while count < len(places) and places[count] == places[0] + count * step:
                count += 1
            found.append((taps, places[0], step, count))
            places = places[count:]
    return found


def inside(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> Array:
    """For each tap, how many outputs see it in the image."""
    at = np.arange(out)[None] * stride + np.arange(kernel)[:, None] * dilation - pad
    return np.asarray(((at >= 0) & (at < size)).sum(axis=1))


def _axes(g: Window) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return ((g.in_h, g.out_h, g.kernel_h, g.stride_h, g.dilation_h, g.pad_top),
            (g.in_w, g.out_w, g.kernel_w, g.stride_w, g.dilation_w, g.pad_left))


def _flat(g: Window) -> Window:
    return g.in_rows(g.batch * g.in_h * g.in_w) if g.is_pixelwise else g


def _tables(site: Site, g: Window, by_tap: Array) -> tuple[Axis, Axis, list[str], Array]:
    """Runs of rows and columns, their tables, and by_tap summed over the taps of each: [rows, columns, in_c]."""
    down, across = (runs(*axis) for axis in _axes(g))
    sums = np.stack([np.stack([by_tap[np.ix_(r[0], c[0])].sum(axis=(0, 1)) for c in across]) for r in down])
    names = [site.table(name, "int32_t", np.array([r[1:] for r in axis])) for name, axis in (("rows", down), ("columns", across))]
    return down, across, names, sums


def _wanted(site: Site, g: Window) -> bool:
    return asks(site.step, "abft") and not site.is_constant(0) and site.slot(0).elements > 0 and min(g.out_h, g.out_w, g.out_c) > 0


def int8(site: Site, g: Window, by_tap: Array, bias: Array, x_zero: int, padded: bool) -> None:
    """The checksum of a product of bytes. by_tap: `dense` or `depthwise`; bias: of every output, as the kernel adds it; x_zero as int8;
    padded: taps beside the image count as x_zero, and else x - x_zero is what is multiplied, in the image only."""
    if not _wanted(site, g):
        return
    rows, columns = _axes(g)
    seen = np.outer(inside(*rows), inside(*columns))
    of_zero = ((g.out_h * g.out_w - seen if padded else -seen) * by_tap.sum(axis=2, dtype=np.int64)).sum()
    constant = g.batch * (int(of_zero) * x_zero + g.out_h * g.out_w * int(bias.sum()))
    g = _flat(g)
    down, across, names, sums = _tables(site, g, by_tap)
    wide = bool(np.abs(sums).max(initial=0) >= 2**15)
    record = site.record("audit", "er_audit_i8", rows=len(down), columns=len(across), width=g.in_w, channels=g.in_c, batch=g.batch,
                         image=g.in_h * g.in_w * g.in_c, wide=int(wide), flip=f"0x{flip(site.slot(0).dtype) * 0x01010101:08x}u",
                         constant=f"{constant & 0xFFFFFFFF}u")
    table = site.table("sums", "int32_t" if wide else "int16_t", sums)
    site.check("abft", "abft_i8.c", "er_abft_i8", record, *names, table, site.x(0))


def float32(site: Site, g: Window, by_tap: Array, size_by_tap: Array, terms: int) -> None:
    """The checksum of a float32 product. by_tap, size_by_tap: of the weights and of their sizes, in float64; terms: products a result is
    summed of. Not where the bias is computed."""
    if not _wanted(site, g) or (site.has(2) and not site.is_constant(2)):
        return
    pixels = g.batch * g.out_h * g.out_w
    bias = site.constant(2).astype(np.float64) if site.has(2) else np.zeros(1)
    g = _flat(g)
    down, across, names, sums = _tables(site, g, by_tap)
    of_kernel = terms + 2 + max(g.out_c, g.out_w) + 8  # of a result, then of those that a tile adds up
    of_check = max(r[3] for r in down) + max(c[3] for c in across) + 12
    record = site.record(
        "audit", "er_audit_f32", rows=len(down), columns=len(across), width=g.in_w, channels=g.in_c, batch=g.batch,
        image=g.in_h * g.in_w * g.in_c, sure=site.integer("nonnegative"), bias=float(pixels * bias.sum()),
        bias_size=float(pixels * np.abs(bias).sum()), unit=1.01 * ROUNDOFF * (of_kernel + of_check),
        elements=float(site.slot(0).elements))
    tables = [site.table("sums", "float", sums), site.table("sizes", "float", size_by_tap.sum(axis=(0, 1)))]
    site.check("abft", "abft_f32.c", "er_abft_f32", record, *names, *tables, site.x(0), f"&er_sizes[{site.index}]", _reach(site))


def _reach(site: Site) -> str:
    """C expression of the bound of |x| that the products before give (planner/reach.py)."""
    by, of = site.step.attrs.get("range_by"), site.ints("range_of")
    if not asks(site.step, "range") or by is None:
        return "INFINITY"
    words = [f"{number(factor, 'float')} * er_sizes[{k}]" for k, factor in zip(of, by, strict=False)]
    return " + ".join([*words, number(by[-1], "float")])
