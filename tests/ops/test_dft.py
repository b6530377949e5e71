"""DFT and STFT against NumPy's transforms in float64, short and long, cut off and filled up."""

from __future__ import annotations

import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgerun

each_executor = pytest.mark.parametrize("executor", ["auto", "python"])


def run(op, x, constants, executor, opset=20, **attrs):
    """op of x and of constants (by position), on kernels alone."""
    names = ["x", *(f"c{k}" if k in constants else "" for k in range(1, 1 + max(constants, default=0)))]
    shapes = {"x": x.shape, "y": [f"d{k}" for k in range(x.ndim + (op == "STFT"))]}
    given, made = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, s)] for n, s in shapes.items())
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attrs)], "g", given, made,
                              [numpy_helper.from_array(np.asarray(v), f"c{k}") for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10).SerializeToString()
    with edgerun.Session(model, executor=executor, strict=True) as session:
        return session.run(x).outputs["y"]


def as_complex(x):
    return x[..., 0] + (1j * x[..., 1] if x.shape[-1] == 2 else 0)


def as_pairs(z):
    return np.stack([z.real, z.imag], axis=-1)


def agree(got, want, points):
    """Within the rounding of float32 sums of so many terms of size about 1."""
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=4e-7 * points**0.5 * max(1.0, np.abs(want).max()))


@each_executor
@pytest.mark.parametrize(("parts", "half"), [(1, 0), (1, 1), (2, 0)])
@pytest.mark.parametrize(("shape", "axis", "n"), [((2, 1), 1, None), ((2, 16), 1, None), ((1, 31), 1, None), ((2, 5, 3), 1, None),
                                                  ((2, 5, 3), 2, None), ((2, 12), 1, 9), ((2, 12), 1, 20), ((1, 1536), 1, None),
                                                  ((1, 3000), 1, 4096), ((1, 4096), 1, 3000)])
def test_dft(executor, shape, axis, n, parts, half):
    x = np.random.default_rng(0).standard_normal((*shape, parts)).astype(np.float32)
    want = np.fft.fft(as_complex(x), n, axis)
    if half:
        want = np.take(want, range(want.shape[axis] // 2 + 1), axis)
    constants = {2: np.int64(axis)} | ({1: np.int64(n)} if n else {})
    agree(run("DFT", x, constants, executor, onesided=half), as_pairs(want), want.shape[axis])


@each_executor
@pytest.mark.parametrize("n", [1, 8, 31, 2048])
def test_inverse(executor, n):
    x = np.random.default_rng(0).standard_normal((2, n, 2)).astype(np.float32)
    agree(run("DFT", x, {2: np.int64(1)}, executor, inverse=1), as_pairs(np.fft.ifft(as_complex(x), axis=1)), n)


@each_executor
@pytest.mark.parametrize(("bins", "n"), [(5, 8), (5, 9), (5, None), (9, 8), (3, 12), (1, 1)])
def test_inverse_to_real_numbers(executor, bins, n):
    x = np.random.default_rng(0).standard_normal((2, bins, 2)).astype(np.float32)
    got = run("DFT", x, {2: np.int64(1)} | ({1: np.int64(n)} if n else {}), executor, inverse=1, onesided=1)
    agree(got, np.fft.irfft(as_complex(x), n, axis=1)[..., None], bins)


@pytest.mark.parametrize("n", [2**61 - 1, 2**31 - 1, 2**25 + 1, 0, -3])
def test_a_length_that_nobody_can_compute_is_refused_at_once(n):
    begin = time.perf_counter()
    with pytest.raises(edgerun.EdgeRunError):
        run("DFT", np.zeros((1, 8, 1), np.float32), {1: np.int64(n), 2: np.int64(1)}, "auto")
    assert time.perf_counter() - begin < 10


@each_executor
def test_dft_of_opset_17_has_its_axis_as_an_attribute(executor):
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 1)).astype(np.float32)
    agree(run("DFT", x, {}, executor, opset=17, axis=2), as_pairs(np.fft.fft(x[..., 0], axis=2)), 6)


@each_executor
@pytest.mark.parametrize(("parts", "half"), [(1, 1), (1, 0), (2, 0)])
@pytest.mark.parametrize(("window", "n"), [(16, None), (16, 16), (None, 16)])
def test_stft(executor, parts, half, window, n):
    x = np.random.default_rng(0).standard_normal((2, 100, parts)).astype(np.float32)
    shape = np.hanning(window).astype(np.float32) if window else np.ones(n, np.float32)
    length = n or window
    frames = np.stack([as_complex(x)[:, k * 10 : k * 10 + len(shape)] * shape for k in range(1 + (100 - length) // 10)], axis=1)
    want = np.fft.fft(frames, length, axis=2)[..., : length // 2 + 1 if half else length]
    constants = {1: np.int64(10)} | ({2: shape} if window else {}) | ({3: np.int64(n)} if n else {})
    got = run("STFT", x, constants, executor, opset=17, **({} if half else {"onesided": 0}))
    agree(got, as_pairs(want), length)
