"""What travels comes back, within the loss that is stated; what cannot travel, or does not fit, is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgerun.errors import InputError, OptionError
from edgerun.splits import ENCODINGS, pack, unpack
from edgerun.splits.wire import bytes_for


def _features(seed: int = 0, shape: tuple[int, ...] = (1, 8, 7, 5)) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 3
    return np.maximum(x, 0) if seed % 2 else x


BOUNDS = {"fp32": lambda x, p: 0, "fp16": lambda x, p: np.maximum(2.0**-11 * np.abs(x), 2.0**-25),
          "int8": lambda x, p: p.scale / 2 * (1 + 1e-6)}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_loss_is_what_is_stated(encoding, seed):
    x = _features(seed)
    p = pack(x, encoding)
    y = unpack(p)
    assert y.dtype == np.float32 and y.shape == x.shape and y.flags.writeable
    assert np.all(np.abs(y.astype(np.float64) - x) <= BOUNDS[encoding](x.astype(np.float64), p))
    assert np.all(y[x == 0] == 0)  # what a ReLU made zero stays zero
    assert len(p.payload) == bytes_for(x.shape, x.dtype, encoding)


@pytest.mark.parametrize("value", [0.0, 1.0, -7.5, 1e-40, 3e38])
def test_constant_tensors(value):
    x = np.full((2, 3), value, np.float32)
    y = unpack(pack(x, "int8"))
    assert np.allclose(y, x, rtol=1 / 255, atol=1e-38)


@pytest.mark.parametrize("shape", [(), (0,), (1, 0, 4)])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_elements_and_scalars(encoding, shape):
    assert unpack(pack(np.zeros(shape, np.float32), encoding)).shape == shape


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("encoding", ["fp16", "int8"])
def test_not_finite(encoding, bad):
    x = _features()
    x[0, 0, 0, 0] = bad
    with pytest.raises(InputError, match=f"'act'.*encoding {encoding}.*finite"):
        pack(x, encoding, "act")
    assert np.array_equal(unpack(pack(x, "fp32")), x, equal_nan=True)


def test_too_large_for_half():
    with pytest.raises(InputError, match="65,504"):
        pack(np.array([7e4], np.float32), "fp16")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_, np.float16, np.float64])
def test_other_types_travel_as_they_are(dtype):
    x = (_features() * 10).astype(dtype)
    p = pack(x, "int8")
    assert p.encoding == "raw" and unpack(p).dtype == x.dtype and np.array_equal(unpack(p), x)


@pytest.mark.parametrize("change", [
    {"payload": b"123"}, {"shape": (1, 8, 7, 6)}, {"shape": (-1, 8)}, {"encoding": "zip"}, {"scale": float("nan")}, {"scale": 0.0},
    {"zero": 256}, {"encoding": "raw", "dtype": "object"}, {"encoding": "raw", "dtype": "no type"}, {"dtype": "float64"}])
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(InputError, match="'features'"):
        unpack(replace(pack(_features(), "int8"), **change))


def test_unknown_encoding():
    with pytest.raises(OptionError, match="fp32, fp16, int8"):
        pack(_features(), "fp8")
