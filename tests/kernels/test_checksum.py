"""Checksums of the float products: silent whatever the data are, and not when a product, a weight or a unit of work is wrong by more
than rounding. int8: test_checksum_int8.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_case import call, each_isa

U = 2.0**-24
OVERFLOW = 1e38
"""Above this magnitude the engine says nothing (session_audit.cpp)."""


class Product:
    """One product with random operands: what to call, and its shapes."""

    def __init__(self, kind: str, x: tuple[int, ...], w: tuple[int, ...], **attrs: tuple[int, ...]) -> None:
        self.kind, self.x, self.w, self.attrs = kind, x, w, attrs
        if kind == "matmul_f32":
            self.shape, self.columns = (*x[:-1], w[-1]), w[-1]
            return
        self.attrs = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)} | attrs
        taps = w[:2] if kind == "conv2d_dw_f32" else w[1:3]
        self.columns = w[2] if kind == "conv2d_dw_f32" else w[0]
        pads, strides, dilations = (self.attrs[k] for k in ("pads", "strides", "dilations"))
        size = [(x[1 + a] + pads[a] + pads[a + 2] - dilations[a] * (taps[a] - 1) - 1) // strides[a] + 1 for a in (0, 1)]
        self.shape = (x[0], *size, self.columns)

    def run(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, isa: str, residual: np.ndarray | None = None,
            **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        attrs = {**self.attrs, "abft": (1,), **options.pop("attrs", {})}
        inputs = [np.asarray(v, np.float32) if v is not None else None for v in (x, w, bias, residual)]
        while inputs[-1] is None:
            inputs.pop()
        options = {"audit": True, "checks": True, "constants": [1, 2] if bias is not None else [1]} | options
        outs, seen = call(self.kind, inputs, attrs, [self.shape], np.float32, isa, **options)
        return outs[0], seen

    def __str__(self) -> str:
        return f"{self.kind}-{self.x}-{self.w}"


def ratio(seen: dict[str, Any]) -> float:
    """How much of its bound the worst sum uses; above 1 it raises an alarm."""
    c = seen["checksum"]
    far = np.abs(np.array(c["seen"]) - np.array(c["expected"])).max()
    bound = c["bound"] * c["magnitude"]
    return 0.0 if far == 0 else float(far / bound) if bound > 0 else np.inf


def moved(p: Product, got: np.ndarray, clean: np.ndarray) -> float:
    """By how much the column sum that changed most did, whichever tiles the kernel used: their outputs have weights (tile_sums.h)."""
    far = got.astype(np.float64) - clean
    if p.kind == "matmul_f32":
        return float(np.abs(far.reshape(-1, p.columns).sum(0)).max())
    found = []
    for tile in ([1], [1, 2, -1, -2], [1, 1, 1, -1]) if p.attrs == {"strides": (1, 1), "dilations": (1, 1), **SAME} else ([1],):
        high, wide = (np.resize(tile, n) for n in p.shape[1:3])
        found.append(np.abs(np.einsum("nhwc,h,w->c", far, high, wide)).max())
    return float(min(found))


SAME = {"pads": (1, 1, 1, 1)}
PRODUCTS = [
    Product("conv2d_f32", (1, 16, 16, 16), (16, 3, 3, 16), **SAME),  # Winograd's algorithm
    Product("conv2d_f32", (1, 7, 9, 64), (40, 3, 3, 64), **SAME),
    Product("conv2d_f32", (2, 13, 11, 24), (40, 3, 3, 24), pads=(1, 1, 1, 1), strides=(2, 2)),
    Product("conv2d_f32", (1, 20, 20, 3), (8, 5, 5, 3), pads=(2, 2, 2, 2)),
    Product("conv2d_f32", (1, 14, 14, 32), (48, 1, 1, 32)),
    Product("conv2d_f32", (1, 12, 12, 12), (24, 3, 3, 4), pads=(2, 2, 2, 2), dilations=(2, 2), group=(3,)),
    Product("conv2d_f32", (1, 49, 10, 1), (64, 10, 4, 1), pads=(4, 1, 5, 2), strides=(2, 2)),
    Product("conv2d_dw_f32", (1, 16, 16, 24), (3, 3, 24), **SAME),
    Product("conv2d_dw_f32", (2, 9, 8, 19), (3, 3, 19), pads=(0, 0, 1, 1), strides=(2, 2)),
    Product("conv2d_dw_f32", (1, 8, 8, 5), (5, 5, 15), pads=(2, 2, 2, 2)),
    Product("matmul_f32", (1, 640), (640, 128)),
    Product("matmul_f32", (1, 4096), (4096, 8)),
    Product("matmul_f32", (33, 50), (50, 37)),
]
each_product = pytest.mark.parametrize("p", PRODUCTS, ids=str)


def families(rng: np.random.Generator) -> dict[str, Callable[[tuple[int, ...]], np.ndarray]]:
    """Operands that make rounding errors large, alike or one-sided."""
    def spikes(shape: tuple[int, ...]) -> np.ndarray:
        v = np.zeros(shape)
        v.reshape(-1)[rng.integers(v.size, size=max(1, v.size // 50))] = 1e6
        return v

    return {
        "normal": lambda s: rng.normal(size=s),
        "positive": lambda s: np.abs(rng.normal(size=s)),
        "one value": lambda s: np.full(s, rng.normal()),
        "thirds": lambda s: np.full(s, 1 / 3) * (1 + 1e-7 * rng.integers(0, 3, size=s)),
        "alternating": lambda s: ((np.indices(s).sum(0) % 2) * 2 - 1) * rng.uniform(0.5, 2),
        "spikes": spikes,
        "wide": lambda s: rng.normal(size=s) * 10.0 ** rng.uniform(-15, 15, size=s),
        "huge": lambda s: rng.normal(size=s) * 1e17,
        "denormal": lambda s: rng.normal(size=s) * 1e-40,
        "zero": lambda s: np.zeros(s),
    }


@each_isa
@each_product
def test_clean_runs_stay_within_the_bound(p: Product, isa: str) -> None:
    rng = np.random.default_rng(5)
    made = families(rng)
    worst = 0.0
    for of_x, of_w in itertools.product(made, made):
        x, w = made[of_x](p.x).astype(np.float32), made[of_w](p.w).astype(np.float32)
        bias = (rng.normal(size=p.columns) * np.abs(x).max()).astype(np.float32)
        for parts in (1, 3):
            got, seen = p.run(x, w, bias, isa, parts=parts)
            c = seen["checksum"]
            assert c["units"] > 0 and seen["flags"] == 0 and np.isfinite(got).all()
            if c["magnitude"] > OVERFLOW:
                continue
            floor = 1.5e-45 * 2 * got.size * int(np.prod(p.w)) // p.columns  # as the engine's, where everything underflows
            if np.abs(np.array(c["seen"]) - np.array(c["expected"])).max() > floor:
                worst = max(worst, ratio(seen))
                assert worst <= 0.5, (of_x, of_w)


@each_isa
@each_product
def test_the_magnitude_is_not_less_than_any_result(p: Product, isa: str) -> None:
    """What the check range goes by (planner/reach.py)."""
    rng = np.random.default_rng(9)
    made = families(rng)
    for of_x, of_w in itertools.product(made, made):
        x, w = made[of_x](p.x).astype(np.float32), made[of_w](p.w).astype(np.float32)
        got, seen = p.run(x, w, rng.normal(size=p.columns), isa)
        c = seen["checksum"]
        assert np.abs(got.astype(np.float64)).max() <= 1.001 * c["magnitude"] + 1e-30
        size = np.abs(x.astype(np.float64)).sum()
        assert c["size"] == pytest.approx(size, rel=1e-3, abs=1e-30) or (p.attrs.get("strides", (1, 1)) != (1, 1) and c["size"] < size)


@each_isa
@pytest.mark.parametrize("channels", [(8, 8), (16, 16)], ids=str)
@pytest.mark.parametrize("size", [8, 7])
def test_winograd_is_not_amplified_beyond_its_bound(size: int, channels: tuple[int, int], isa: str) -> None:
    """Part of the search behind winograd_roundings: single pixels under single taps, and patterns that repeat as tiles do."""
    rng, (ci, co) = np.random.default_rng(3), channels
    p = Product("conv2d_f32", (1, size, size, ci), (co, 3, 3, ci), **SAME)
    signs = [np.array(v) for v in itertools.product((-1, 1, 2, -4, 0.25), repeat=3)]
    worst = 0.0
    for i, j, tap in itertools.product(range(6), range(6), range(9)):
        x, w = np.zeros(p.x), np.zeros(p.w)
        x[0, i, j] = rng.uniform(0.5, 1, size=ci)
        w[:, tap // 3, tap % 3] = rng.uniform(0.5, 1, size=(co, ci))
        worst = max(worst, ratio(p.run(x, w, None, isa)[1]))
    for _ in range(200):
        a, b, c, d = (signs[k] for k in rng.integers(len(signs), size=4))
        x = np.outer(np.resize(a, size), np.resize(b, size))[None, :, :, None] * rng.uniform(0.9, 1.1, size=(1, 1, 1, ci))
        w = np.outer(c, d)[None, :, :, None] * rng.uniform(0.9, 1.1, size=(co, 1, 1, ci))
        worst = max(worst, ratio(p.run(x, w, None, isa)[1]))
    assert 0 < worst <= 0.5


@each_isa
@each_product
def test_an_accumulator_that_is_wrong_is_seen(p: Product, isa: str) -> None:
    """By any change that is a tenth of the sum of magnitudes of the results it hides among, or more."""
    rng = np.random.default_rng(11)
    x, w, bias = rng.normal(size=p.x), rng.normal(size=p.w), rng.normal(size=p.columns)
    clean, seen = p.run(x, w, bias, isa)
    limit = seen["checksum"]["bound"] * seen["checksum"]["magnitude"]
    assert limit < 0.1 * np.abs(clean.astype(np.float64)).sum()
    told = 0
    for _ in range(600):
        index, bit = int(rng.integers(clean.size)), int(rng.integers(32))
        got, seen = p.run(x, w, bias, isa, fault=(index, 1 << bit, "accumulator"))
        with np.errstate(over="ignore", invalid="ignore"):
            far = moved(p, got, clean)
        loud = not ratio(seen) <= 1 or seen["flags"] != 0
        if not far <= 2 * limit:
            assert loud, (index, bit, far, limit)
            told += 1
        elif np.array_equal(got, clean):
            assert not loud
    assert told > 10


@each_isa
@each_product
@pytest.mark.parametrize("residual", [False, True])
def test_a_result_without_an_activation_is_in_the_sum(p: Product, residual: bool, isa: str) -> None:
    rng = np.random.default_rng(13)
    x, w, bias = rng.normal(size=p.x), rng.normal(size=p.w), rng.normal(size=p.columns)
    added = 3 * rng.normal(size=p.shape) if residual else None
    clean, seen = p.run(x, w, bias, isa, residual=added)
    assert ratio(seen) <= 0.5
    limit = seen["checksum"]["bound"] * seen["checksum"]["magnitude"]
    for _ in range(60):
        index, bit = int(rng.integers(clean.size)), int(rng.integers(23, 32))
        got, seen = p.run(x, w, bias, isa, residual=added, fault=(index, 1 << bit, "result"))
        before, after = clean.reshape(-1)[index], got.reshape(-1)[index]
        assert np.array([before], np.float32).view(np.uint32)[0] ^ np.array([after], np.float32).view(np.uint32)[0] == 1 << bit
        with np.errstate(over="ignore", invalid="ignore"):
            if not abs(float(after) - float(before)) <= 2 * limit:
                assert not ratio(seen) <= 1 or seen["flags"], (index, bit)


@each_isa
@each_product
def test_a_packed_weight_that_is_wrong_is_seen(p: Product, isa: str) -> None:
    """Bits of the packed copy, which the checksums do not use: whatever moves the sums beyond their bound."""
    rng = np.random.default_rng(17)
    x, w, bias = np.abs(rng.normal(size=p.x)), rng.normal(size=p.w), rng.normal(size=p.columns)
    clean, first = p.run(x, w, bias, isa)
    plain = p.run(x, w, bias, isa, attrs={"abft": (0,)}, audit=False)[1]["packed"]
    limit = first["checksum"]["bound"] * first["checksum"]["magnitude"]
    told = 0
    for _ in range(200):
        at = int(rng.integers(first["table"] // 4, plain // 4)) * 4 + 3
        got, seen = p.run(x, w, bias, isa, damage=[(at, 1 << int(rng.integers(5, 8)))])
        with np.errstate(over="ignore", invalid="ignore"):
            far = moved(p, got, clean)
        if not far <= 2 * limit:
            assert not ratio(seen) <= 1 or seen["flags"], at
            told += 1
    assert told > 20


@each_isa
@each_product
def test_work_left_out_is_seen(p: Product, isa: str) -> None:
    rng = np.random.default_rng(19)
    x, w, bias = np.abs(rng.normal(size=p.x)), np.abs(rng.normal(size=p.w)), rng.normal(size=p.columns)
    units = p.run(x, w, bias, isa)[1]["units"]
    for k in range(units):
        assert not ratio(p.run(x, w, bias, isa, skip=(k, k + 1))[1]) <= 1, k


@each_isa
@pytest.mark.parametrize("size", [4, 8, 7])
def test_no_fault_hides_in_a_plane_of_winograds_tiles(size: int, isa: str) -> None:
    """The products of every plane, at every place of the tile: one made much larger shows, whichever outputs it enters with which sign."""
    rng = np.random.default_rng(23)
    p = Product("conv2d_f32", (1, size, size, 64), (16, 3, 3, 64), **SAME)
    x, w, bias = np.abs(rng.normal(size=p.x)), rng.normal(size=p.w), rng.normal(size=p.columns)
    clean, _ = p.run(x, w, bias, isa)
    for pixel in range(size * size):
        for channel in (0, 7, 15):
            got, seen = p.run(x, w, bias, isa, fault=(pixel * 16 + channel, 0x7F000000, "accumulator"))
            with np.errstate(over="ignore", invalid="ignore"):
                far = np.abs(got.astype(np.float64) - clean).max()
            if not far <= 1e3 * np.abs(clean).max():
                assert not ratio(seen) <= 1 or seen["flags"], pixel
