"""Exact checksums of the int8 products and the check of rescaling: silent on clean runs, and never silent when a sum is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_case import DTYPES, call, each_isa, sample
from test_qconv import CONVS, DEPTHWISE, PRODUCTS, conv_shape, factors

from edgerun_kernels.checks import Sink
from edgerun_kernels.registry import KERNELS

CHECKSUM, RESCALED = 16, 8
LANES = {"avx512": 16, "avx512vnni": 16, "avx2": 8, "avxvnni": 8}
MORE = [  # n, h, w, ci, co, kernel, stride, dilation, pads, group
    (2, 9, 11, 3, 8, (3, 3), (2, 2), (1, 1), (0, 0, 1, 1), 1),
    (1, 13, 40, 3, 5, (7, 7), (2, 2), (1, 1), (3, 3, 3, 3), 1),
    (2, 7, 9, 40, 9, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (1, 10, 9, 33, 7, (3, 3), (1, 1), (3, 2), (3, 2, 3, 2), 1),
    (1, 1, 300, 2, 6, (1, 40), (1, 3), (1, 1), (0, 7, 0, 0), 1),
    (2, 5, 4, 6, 9, (3, 3), (4, 3), (1, 1), (2, 1, 0, 2), 3),
    (1, 19, 21, 16, 24, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (2, 6, 7, 72, 17, (3, 3), (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (1, 3, 200, 64, 8, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
]


class Product:
    """One product: what to call, its constants, and which lane each of its sums is added to."""

    def __init__(self, kind: str, case: Any, dtype: str, wide: bool = False) -> None:
        rng = np.random.default_rng(7)
        self.kind, self.dtype, self.name = kind, dtype, f"{kind}_{dtype}"
        zero = {"u8": 131, "i8": -7}[dtype]
        if kind == "qmatmul":
            a, b, _ = case
            x, w, self.shape = sample(a, DTYPES[dtype], 1), sample(b, np.int8, 2), (*a[:-1], b[-1])
            self.attrs: dict[str, Any] = {"a_zero": (zero,)}
            self.group, self.terms = 1, b[0]
        else:
            n, h, width, ci, co, kernel, *_, group = case
            self.shape, self.attrs = conv_shape(case)
            x = sample((n, h, width, ci), DTYPES[dtype], 1)
            w = sample((*kernel, co) if kind == "qconv2d_dw" else (co, *kernel, ci // group), np.int8, 2)
            self.attrs |= {"x_zero": (zero,)} | ({} if kind == "qconv2d_dw" else {"group": (group,)})
            self.group, self.terms = 1 if kind == "qconv2d_dw" else group, kernel[0] * kernel[1] * (ci // group)
        if wide:
            w = (w.astype(np.int16) * 2).clip(-255, 255)
        self.columns = self.shape[-1]
        self.tiles = kind == "qconv2d" and case[5:8] == ((3, 3), (1, 1), (1, 1)) and self.group == 1
        """Winograd's algorithm may be used: a fault goes through a tile, and outputs are weighed."""
        self.inputs = [x, w, rng.integers(-2000, 2000, self.columns).astype(np.int32)]

    def run(self, isa: str, scale: np.ndarray | None = None, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Sums without `scale`, bytes with it; audited unless told otherwise."""
        extra = options.pop("attrs", {})
        dtype = np.int32 if scale is None else DTYPES[self.dtype]
        inputs = self.inputs + ([] if scale is None else [scale])
        options = {"audit": True, "constants": list(range(1, len(inputs)))} | options
        outs, seen = call(self.name, inputs, {**self.attrs, "abft": (1,), **extra}, [self.shape], dtype, isa, **options)
        return outs[0], seen

    def lanes(self, isa: str) -> np.ndarray:
        """The lane of each output channel."""
        return np.arange(self.columns) % (self.columns // self.group) % LANES.get(isa, 4)


def by_lane(sums: np.ndarray, lanes: np.ndarray) -> list[int]:
    total = np.zeros(16, np.uint64)
    np.add.at(total, lanes, sums.reshape(-1, sums.shape[-1]).astype(np.int64).sum(axis=0).astype(np.uint64))
    return (total & 0xFFFFFFFF).tolist()


def of_tiles(shape: tuple[int, ...]) -> list[np.ndarray]:
    """What each output may weigh in the checksum: without tiles, in tiles of 2 and of 4 (checksum_i8.h)."""
    axes = [[np.resize(w, n) for n in shape[1:3]] for w in ([1], [1, 3, -1, -3], [1, 1, 1, -1])]
    return [(high[:, None] * wide)[None, :, :, None].astype(np.int64) for high, wide in axes]


def alarmed(seen: dict[str, Any]) -> bool:
    return any(seen["checksum"]["difference"]) or bool(seen["flags"] & CHECKSUM)


def every_product() -> list[Any]:
    cases = [("qconv2d", c) for c in CONVS + MORE]
    cases += [("qconv2d_dw", (n, h, w, c, c * m, k, s, d, p, c)) for n, h, w, c, m, k, s, d, p in DEPTHWISE]
    cases += [("qmatmul", c) for c in PRODUCTS if c[2] and np.prod(c[0]) > 0 and np.prod(c[1]) > 0]
    return [pytest.param(*c, id=f"{c[0]}-{c[1]}") for c in cases]


ALL = pytest.mark.parametrize(("kind", "case"), every_product())
FEW = pytest.mark.parametrize(("kind", "case"), [
    ("qconv2d", CONVS[1]), ("qconv2d", CONVS[4]), ("qconv2d", CONVS[5]), ("qconv2d", CONVS[8]), ("qconv2d", CONVS[10]),
    ("qconv2d", MORE[7]), ("qconv2d_dw", (2, 9, 8, 19, 19, (3, 3), (2, 2), (1, 1), (0, 0, 1, 1), 19)),
    ("qconv2d_dw", (1, 8, 8, 16, 32, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 16)),
    ("qconv2d_dw", (1, 6, 10, 40, 40, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 40)),
    ("qconv2d_dw", (2, 6, 8, 8, 8, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 8)),
    ("qconv2d_dw", (2, 32, 1, 40, 40, (5, 1), (2, 1), (1, 1), (2, 0, 1, 0), 40)), ("qmatmul", ((30, 7), (7, 16), True)),
    ("qmatmul", ((2, 3, 4, 50), (50, 37), True)),
], ids=str)


@each_isa
@pytest.mark.parametrize("dtype", ["i8", "u8"])
@pytest.mark.parametrize("form", ["plain", "wide_weights", "large", "raw"])
@ALL
def test_clean_runs_give_zero(kind: str, case: Any, form: str, dtype: str, isa: str) -> None:
    p = Product(kind, case, dtype, form == "wide_weights")
    scale = None if form == "raw" else factors(p.columns, p.terms, 4, form == "large")
    want = np.empty(p.shape, np.int32 if form == "raw" else DTYPES[dtype])
    KERNELS[p.name](p.inputs + ([] if scale is None else [scale]), p.attrs, [want], None)
    for parts in (1, 3):
        got, seen = p.run(isa, scale, parts=parts, attrs={"verify_rescale": (1,)})
        np.testing.assert_array_equal(got, want)
        assert seen["checksum"]["units"] > 0 and seen["checksum"]["bound"] == 0
        assert seen["checksum"]["difference"] == [0] * 16 and seen["flags"] == 0
        assert seen["checked"] == (0 if form == "raw" else got.size)


@each_isa
@FEW
def test_a_flip_in_an_accumulator_is_seen(kind: str, case: Any, isa: str) -> None:
    p, rng = Product(kind, case, "u8"), np.random.default_rng(11)
    clean, _ = p.run(isa)
    lanes, changed = p.lanes(isa), 0
    for _ in range(300):
        index, bit = int(rng.integers(clean.size)), int(rng.integers(32))
        got, seen = p.run(isa, fault=(index, 1 << bit, "accumulator"))
        assert alarmed(seen) == bool((got != clean).any()), (index, bit)
        changed += int((got != clean).any())
        if not p.tiles:
            assert seen["checksum"]["difference"] == by_lane(got.astype(np.int64) - clean, lanes)
    assert changed > 270


@each_isa
@FEW
def test_a_changed_constant_is_seen(kind: str, case: Any, isa: str) -> None:
    """Bits flipped in the packed weights and biases: an alarm if a sum over all pixels changes by it, and only if something does."""
    p, rng = Product(kind, case, "i8"), np.random.default_rng(13)
    clean, _ = p.run(isa)
    plain = p.run(isa, attrs={"abft": (0,)}, audit=False)[1]["packed"]
    table = 0 if kind == "qconv2d_dw" else -(-8 * (1 if kind == "qmatmul" else p.inputs[1].shape[1] * p.inputs[1].shape[2]) // 64) * 64
    lanes, changed = p.lanes(isa), 0
    padded = p.columns // p.group % (2 * LANES.get(isa, 4)) != 0  # the weights of columns that do not exist are 0, or something is wrong
    for _ in range(300):
        at, mask = int(rng.integers(table, plain)), 1 << int(rng.integers(8))
        got, seen = p.run(isa, damage=[(at, mask)])
        far = got.astype(np.int64) - clean
        sums = [by_lane(far * weights, lanes) for weights in (of_tiles(p.shape) if p.tiles else [1])]
        if not (got != clean).any():
            assert not alarmed(seen) or padded, at
        elif all(any(s) for s in sums):
            assert alarmed(seen), at
            changed += 1
    assert changed > 50


@each_isa
@FEW
def test_work_left_out_is_seen(kind: str, case: Any, isa: str) -> None:
    p = Product(kind, case, "u8")
    units = p.run(isa)[1]["units"]
    for k in range(units):
        _, seen = p.run(isa, skip=(k, k + 1))
        assert alarmed(seen), k


@each_isa
@pytest.mark.parametrize("high", [False, True])
def test_no_fault_hides_in_a_tile_of_winograd(high: bool, isa: str) -> None:
    """One tile, so that nothing else is in the sums: every bit of every plane that a fault can reach, with sums of every sign."""
    p = Product("qconv2d", (1, 4, 4, 64, 16, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1), "u8")
    if high:
        p.inputs[0][:] = np.where(np.arange(4)[:, None, None] % 2, 255, 0)
    clean, _ = p.run(isa)
    for pixel in range(16):
        for bit in range(32):
            got, seen = p.run(isa, fault=(pixel * 16 + bit % 16, 1 << bit, "accumulator"))
            assert alarmed(seen) == bool((got != clean).any()), (pixel, bit)


@each_isa
@FEW
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("site", ["rescaled", "result"])
def test_a_fault_in_rescaling_is_seen(kind: str, case: Any, site: str, large: bool, isa: str) -> None:
    p, rng = Product(kind, case, "u8"), np.random.default_rng(17)
    scale, attrs = factors(p.columns, p.terms, 4, large), {"verify_rescale": (1,), "y_zero": (119,), "low": (7,), "high": (240,)}
    sums, _ = p.run(isa)
    clean, _ = p.run(isa, scale, attrs=attrs)
    # An exact tie may be rounded either way without being noticed.
    most = (np.int64(1) << (31 - scale[1].astype(np.int64))) - 1
    real = np.clip(sums, -most, most) * scale[0].astype(np.float64) * 2.0 ** (scale[1] - 31.0)
    tie = np.abs(real - np.floor(real) - 0.5) < 2.0**-10
    changed = 0
    for _ in range(200):
        index, bit = int(rng.integers(clean.size)), int(rng.integers(8))
        got, seen = p.run(isa, scale, attrs=attrs, fault=(index, 1 << bit, site))
        far = np.abs(got.astype(int) - clean).reshape(-1)
        assert (np.delete(far, index) == 0).all() and not alarmed(seen)
        if far[index] > (1 if tie.reshape(-1)[index] else 0):
            assert seen["flags"] == RESCALED and seen["first_index"] == index and seen["got"] == got.reshape(-1)[index]
            changed += 1
        else:
            assert seen["flags"] == 0 or far[index] == 1
    assert changed > 20


@each_isa
@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_rescaling_raises_no_false_alarm(dtype: str, rows: int, isa: str) -> None:
    """Every factor and shift, sums over all of int32, ties, and bounds of every kind."""
    rng, n = np.random.default_rng(19), 4096
    for trial in range(60 if rows == 3 else 12):
        left = rng.integers(0, 31, n)
        m = rng.integers(0, 1 << 30, n) >> rng.integers(0, 30, n)
        if trial % 3 == 0:
            left[:] = 0
        if trial % 4 == 1:
            m = np.int64(1) << rng.integers(0, 30, n)  # ties
        w = np.zeros((1, n), np.int8)
        bias = (rng.integers(-(1 << 31) + 1, 1 << 31, n) >> rng.integers(0, 31, n)).astype(np.int32)
        bounds = np.sort(rng.integers(np.iinfo(DTYPES[dtype]).min, np.iinfo(DTYPES[dtype]).max + 1, 2))
        attrs = {"low": (int(bounds[0]),), "high": (int(bounds[1]),), "verify_rescale": (1,),
                 "y_zero": (int(rng.integers(np.iinfo(DTYPES[dtype]).min, np.iinfo(DTYPES[dtype]).max + 1)),)}
        inputs = [np.zeros((rows, 1), DTYPES[dtype]), w, bias, np.stack([m, left]).astype(np.int32)]
        outs, seen = call(f"qmatmul_{dtype}", inputs, attrs, [(rows, n)], DTYPES[dtype], isa, constants=[1, 2, 3], checks=True)
        want = np.empty((rows, n), DTYPES[dtype])
        KERNELS[f"qmatmul_{dtype}"](inputs, attrs, [want], None)
        np.testing.assert_array_equal(outs[0], want)
        assert seen["flags"] == 0 and seen["checked"] == rows * n, (trial, seen)


@each_isa
@pytest.mark.parametrize("site", ["rescaled", "result"])
def test_a_fault_is_seen_beside_a_column_on_a_half(site: str, isa: str) -> None:
    """A column without weights whose bias float32 rounds to the other side in every row: the exact way is taken for all tiles."""
    rows, columns, half = 40, 24, 12
    bias = np.full(columns, 1000, np.int32)
    bias[half] = (1 << 30) - 64
    m = np.full(columns, 1 << 20, np.int32)
    m[half] = 1
    inputs = [np.zeros((rows, 1), np.int8), np.zeros((1, columns), np.int8), bias, np.stack([m, np.zeros_like(m)])]
    for index in range(rows * columns):
        outs, seen = call("qmatmul_i8", inputs, {"verify_rescale": (1,)}, [(rows, columns)], np.int8, isa, constants=[1, 2, 3],
                          checks=True, fault=(index, 1 << 6, site))
        assert outs[0].flat[index] & 64
        assert seen["flags"] == RESCALED and seen["first_index"] == index and seen["got"] == outs[0].flat[index]


@pytest.mark.parametrize("site", ["accumulator", "rescaled", "result", ""])
@pytest.mark.parametrize("dtype", ["i8", "u8"])
@FEW
def test_the_python_kernels_see_the_same(kind: str, case: Any, dtype: str, site: str) -> None:
    p, rng = Product(kind, case, dtype), np.random.default_rng(23)
    scale = factors(p.columns, p.terms, 4)
    attrs = {**p.attrs, "abft": (1,), "verify_rescale": (1,), "y_zero": (3,)}
    clean = np.empty(p.shape, DTYPES[dtype])
    KERNELS[p.name]([*p.inputs, scale], attrs, [clean], None)
    flags = set()
    for _ in range(20 if site else 1):
        sink = Sink(fault=(int(rng.integers(clean.size)), 1 << int(rng.integers(8))) if site else None, site=site)
        got = np.empty(p.shape, DTYPES[dtype])
        KERNELS[p.name]([*p.inputs, scale], attrs, [got], sink)
        assert sink.checked == got.size and sink.injected == bool(site)
        assert (sink.flags != 0) == (site == "accumulator" or bool((got != clean).any()))
        flags.add(sink.flags)
    assert flags == {"accumulator": {CHECKSUM}, "": {0}}.get(site, flags) and flags <= {0, CHECKSUM, RESCALED}
