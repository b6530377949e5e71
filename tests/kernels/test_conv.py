"""conv2d_f32, conv2d_dw_f32, conv_transpose2d_f32 against float64, on every instruction set this CPU has."""

from __future__ import annotations

import numpy as np
import pytest
from gemm_oracle import CODES, ISAS, activate, activation_attrs, assert_close, call, conv2d, conv_transpose2d

RNG = np.random.default_rng


def normal(shape, seed: int) -> np.ndarray:
    return RNG(seed).standard_normal(shape).astype(np.float32)


# batch, height, width, channels in, channels out, kernel, strides, pads, dilations, group
SHAPES = {
    "pointwise": (1, 7, 5, 16, 32, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "pointwise_batch": (3, 5, 3, 8, 24, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "pointwise_strided": (2, 9, 8, 8, 17, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    "same_3x3": (1, 8, 8, 32, 32, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "same_3x3_batch": (2, 6, 9, 16, 40, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "same_3x3_odd": (1, 11, 7, 64, 72, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "valid_3x3": (1, 9, 9, 16, 16, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "tf_same_stride2": (1, 12, 12, 3, 8, (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 1),
    "first_layer": (1, 16, 16, 3, 16, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "one_channel_5x5": (1, 14, 14, 1, 24, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 1),
    "tall_kernel": (1, 49, 10, 1, 64, (10, 4), (2, 2), (4, 1, 5, 1), (1, 1), 1),
    "one_dimensional": (2, 1, 31, 6, 10, (1, 5), (1, 2), (0, 2, 0, 2), (1, 1), 1),
    "dilated": (1, 13, 12, 8, 20, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 1),
    "grouped": (2, 8, 7, 12, 20, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4),
    "few_outputs": (1, 5, 4, 256, 6, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "deep_small": (1, 4, 4, 128, 128, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "classifier": (1, 1, 1, 64, 1000, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "wide_margin": (1, 2, 2, 4, 8, (3, 3), (1, 1), (4, 3, 2, 5), (1, 1), 1),
    "empty_batch": (0, 8, 8, 4, 8, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
}


def conv_case(name: str, bias: bool = True, residual: bool = True):
    n, h, w, ci, co, kernel, strides, pads, dilations, group = SHAPES[name]
    x, weights = normal((n, h, w, ci), 1), normal((co, *kernel, ci // group), 2)
    b = normal((co,), 3) if bias else None
    geometry = {"strides": strides, "pads": pads, "dilations": dilations, "group": group}
    exact, magnitude = conv2d(x, weights, b, None, **geometry)
    r = normal(exact.shape, 4) if residual else None
    if residual:
        exact, magnitude = exact + r, magnitude + np.abs(r)
    attrs = geometry | {"group": (group,)}
    return [x, weights, b, r], attrs, exact, magnitude, kernel[0] * kernel[1] * ci // group


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", SHAPES)
def test_conv2d(name, isa):
    inputs, attrs, exact, magnitude, terms = conv_case(name)
    got, info = call("conv2d_f32", inputs, attrs | activation_attrs("relu"), exact.shape, isa)
    assert_close(got, activate("relu", exact), magnitude, terms)
    assert info["flags"] == 0 and info["checked"] == exact.size


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("activation", CODES)
@pytest.mark.parametrize("name", ["tf_same_stride2", "same_3x3_odd"])
def test_conv2d_activations(name, activation, checks, isa):
    inputs, attrs, exact, magnitude, terms = conv_case(name, residual=False)
    got, info = call("conv2d_f32", inputs, attrs | activation_attrs(activation), exact.shape, isa, checks=checks)
    assert_close(got, activate(activation, exact), magnitude * 1.5, terms)
    assert info["flags"] == 0 and info["checked"] == (exact.size if checks else 0)


EDGES = [1, 5, 6, 7, 8, 9, 13, 15, 16, 17, 24, 31, 32, 33, 65]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("pixels", EDGES)
@pytest.mark.parametrize("channels", EDGES)
def test_conv2d_tile_edges(pixels, channels, isa):
    x, w, b = normal((1, 1, pixels, 5), 1), normal((channels, 1, 1, 5), 2), normal((channels,), 3)
    exact, magnitude = conv2d(x, w, b)
    got, info = call("conv2d_f32", [x, w, b], {}, exact.shape, isa)
    assert_close(got, exact, magnitude, 5)
    assert info["flags"] == 0 and info["checked"] == exact.size


@pytest.mark.parametrize("isa", ISAS)
def test_conv2d_bias_known_only_at_run_time(isa):
    inputs, attrs, exact, magnitude, terms = conv_case("same_3x3")
    got, _ = call("conv2d_f32", inputs, attrs, exact.shape, isa, constants=[1])
    assert_close(got, exact, magnitude, terms)


@pytest.mark.parametrize("isa", ISAS)
def test_conv2d_nan_and_inf_are_kept_and_reported(isa):
    inputs, attrs, exact, *_ = conv_case("pointwise", residual=False)
    inputs[0][0, 2, 3, 4] = np.nan
    inputs[0][0, 6, 4, 1] = np.inf
    got, info = call("conv2d_f32", inputs, attrs | activation_attrs("relu"), exact.shape, isa)
    assert np.isnan(got[0, 2, 3]).all()
    assert info["flags"] & 2
    assert 0 <= info["first_index"] <= (2 * 5 + 3) * 32
    assert np.isfinite(np.delete(got.reshape(-1, 32), [13, 34], axis=0)).all()


CHECKED = ["relu", "clip", "leaky_relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu", "elu"]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("index", [0, 7, 101, 1023, 2303])
@pytest.mark.parametrize("activation", CHECKED)
def test_conv2d_flipped_bit_is_found(activation, index, isa):
    inputs, attrs, exact, *_ = conv_case("deep_small", residual=False)
    inputs[1] *= np.float32(0.05)
    clean, _ = call("conv2d_f32", inputs, attrs | activation_attrs(activation), exact.shape, isa)
    got, info = call("conv2d_f32", inputs, attrs | activation_attrs(activation), exact.shape, isa,
                     fault=(index % exact.size, 1 << 30))
    assert (got != clean).sum() == 1 and got.flat[index % exact.size] != clean.flat[index % exact.size]
    assert info["flags"]  # a flip that makes the exponent all ones counts as non-finite
    assert info["first_index"] <= index


DEPTHWISE = {
    "same": (1, 10, 13, 24, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "small": (2, 3, 3, 40, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "six": (1, 6, 6, 16, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "stride2": (1, 12, 26, 16, 1, (3, 3), (2, 2), (0, 0, 1, 1), (1, 1)),
    "stride2_same": (1, 15, 20, 32, 1, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    "mixed_stride": (1, 9, 23, 16, 1, (3, 3), (2, 1), (1, 1, 1, 1), (1, 1)),
    "odd_channels": (1, 8, 19, 13, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "three_channels": (1, 8, 9, 3, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "multiplier": (2, 7, 8, 5, 3, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "multiplier_one_channel": (1, 9, 8, 1, 8, (3, 3), (2, 2), (0, 0, 1, 1), (1, 1)),
    "five": (1, 9, 12, 16, 1, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1)),
    "dilated": (1, 11, 14, 16, 1, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    "row": (1, 1, 33, 8, 1, (1, 3), (1, 1), (0, 1, 0, 1), (1, 1)),
    "margin_only": (1, 2, 1, 8, 1, (3, 3), (1, 1), (3, 4, 3, 4), (1, 1)),
}


def depthwise_case(name: str, residual: bool):
    n, h, w, c, m, kernel, strides, pads, dilations = DEPTHWISE[name]
    x, weights, b = normal((n, h, w, c), 1), normal((*kernel, c * m), 2), normal((c * m,), 3)
    grouped = np.moveaxis(weights, -1, 0)[..., None]
    attrs = {"strides": strides, "pads": pads, "dilations": dilations}
    exact, magnitude = conv2d(x, grouped, b, None, strides, pads, dilations, c)
    r = normal(exact.shape, 4) if residual else None
    if residual:
        exact, magnitude = exact + r, magnitude + np.abs(r)
    return [x, weights, b, r], attrs, exact, magnitude, kernel[0] * kernel[1]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", ["none", "relu", "clip", "silu"])
@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise(name, activation, isa):
    inputs, attrs, exact, magnitude, terms = depthwise_case(name, residual=activation == "relu")
    got, info = call("conv2d_dw_f32", inputs, attrs | activation_attrs(activation), exact.shape, isa)
    assert_close(got, activate(activation, exact), magnitude * 1.5, terms)
    assert info["flags"] == 0 and info["checked"] == exact.size


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 17, 18, 19])
@pytest.mark.parametrize("channels", [1, 7, 8, 9, 17, 33])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_depthwise_edges(width, channels, stride, isa):
    x, w = normal((1, 4, width, channels), 1), normal((3, 3, channels), 2)
    geometry = ((stride, stride), (1, 1, 1, 1), (1, 1))
    exact, magnitude = conv2d(x, np.moveaxis(w, -1, 0)[..., None], None, None, *geometry, channels)
    attrs = dict(zip(("strides", "pads", "dilations"), geometry, strict=True))
    got, info = call("conv2d_dw_f32", [x, w], attrs, exact.shape, isa, constants=[1])
    assert_close(got, exact, magnitude, 9)
    assert info["checked"] == exact.size


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("index", [0, 15, 400, 3000])
@pytest.mark.parametrize("activation", CHECKED)
def test_depthwise_flipped_bit_is_found(activation, index, isa):
    inputs, attrs, exact, *_ = depthwise_case("same", residual=False)
    inputs[1] *= np.float32(0.2)
    _, info = call("conv2d_dw_f32", inputs, attrs | activation_attrs(activation), exact.shape, isa,
                   fault=(index, 1 << 30))
    assert info["flags"]  # a flip that makes the exponent all ones counts as non-finite
    assert info["first_index"] <= index


TRANSPOSED = {
    "upscale2": (1, 5, 6, 8, 12, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), 1, (0, 0)),
    "stride2_3x3": (2, 5, 4, 8, 17, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1, (1, 1)),
    "stride1": (1, 6, 5, 4, 8, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, (0, 0)),
    "stride3_k2": (1, 4, 5, 4, 8, (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 1, (0, 0)),
    "dilated": (1, 4, 5, 6, 8, (3, 3), (2, 2), (0, 1, 1, 0), (2, 2), 1, (0, 0)),
    "grouped": (1, 5, 5, 8, 12, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 4, (0, 0)),
    "one_dimensional": (1, 1, 9, 3, 5, (1, 4), (1, 2), (0, 1, 0, 1), (1, 1), 1, (0, 0)),
    "cropped": (1, 3, 3, 2, 2, (3, 3), (1, 1), (2, 2, 2, 2), (1, 1), 1, (0, 0)),
}


def transposed_case(name: str):
    n, h, w, ci, co, kernel, strides, pads, dilations, group, extra = TRANSPOSED[name]
    size = [(d - 1) * s + (k - 1) * e + 1 - pads[i] - pads[i + 2] + o
            for i, (d, s, k, e, o) in enumerate(zip((h, w), strides, kernel, dilations, extra, strict=True))]
    x, weights, b = normal((n, h, w, ci), 1), normal((co // group, *kernel, ci), 2), normal((co,), 3)
    exact, magnitude = conv_transpose2d(x, weights, b, (n, *size, co), strides, pads, dilations, group)
    attrs = {"strides": strides, "pads": pads, "dilations": dilations, "group": (group,)}
    return [x, weights, b], attrs, exact, magnitude, kernel[0] * kernel[1] * ci // group


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", ["none", "relu", "tanh"])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose(name, activation, isa):
    inputs, attrs, exact, magnitude, terms = transposed_case(name)
    got, info = call("conv_transpose2d_f32", inputs, attrs | activation_attrs(activation), exact.shape, isa)
    assert_close(got, activate(activation, exact), magnitude, terms)
    assert info["flags"] == 0 and info["checked"] == exact.size


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("index", [0, 65, 900])
def test_conv_transpose_flipped_bit_is_found(index, isa):
    inputs, attrs, exact, *_ = transposed_case("stride2_3x3")
    got, info = call("conv_transpose2d_f32", inputs, attrs | activation_attrs("relu"), exact.shape, isa, fault=(index, 1 << 30))
    clean, _ = call("conv_transpose2d_f32", inputs, attrs | activation_attrs("relu"), exact.shape, isa)
    assert np.flatnonzero(got != clean).tolist() == [index]
    assert info["flags"] and info["first_index"] <= index


@pytest.mark.parametrize(("change", "reason"), [
    ({"strides": (0, 1)}, "bad_attribute"), ({"pads": (1, 1, 1)}, "bad_attribute"), ({"pads": (-1, 0, 0, 0)}, "bad_attribute"),
    ({"dilations": (1, 0)}, "bad_attribute"), ({"group": (3,)}, "bad_shape"), ({"strides": (2, 2)}, "bad_shape"),
    ({"activation": (99,)}, "bad_attribute"),
])
def test_conv2d_refuses(change, reason):
    inputs, attrs, exact, *_ = conv_case("same_3x3")
    with pytest.raises(ValueError, match=reason):
        call("conv2d_f32", inputs, attrs | change, exact.shape, "")


def test_conv2d_refuses_unknown_weights():
    inputs, attrs, exact, *_ = conv_case("same_3x3")
    with pytest.raises(ValueError, match="not_constant"):
        call("conv2d_f32", inputs, attrs, exact.shape, "", constants=[])
