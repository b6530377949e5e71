"""Images become exactly the tensor that the metadata describes."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from edgerun.errors import DataError, ModelFormatError
from edgerun.preprocess import METADATA_KEY, Preprocess, read_image

RGB = Preprocess("NCHW", "RGB", (2, 3), scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def test_values_follow_the_formula():
    expected = ((PIXELS.astype(np.float64) / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]).transpose(2, 0, 1)[None]
    got = RGB.apply(PIXELS)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_layout_nhwc_is_the_same_numbers():
    nhwc = Preprocess("NHWC", "RGB", (2, 3), mean=RGB.mean, std=RGB.std)
    np.testing.assert_array_equal(nhwc.apply(PIXELS).transpose(0, 3, 1, 2), RGB.apply(PIXELS))


def test_bgr_swaps_channels():
    bgr, rgb = (Preprocess("NHWC", c, (2, 3)) for c in ("BGR", "RGB"))
    np.testing.assert_array_equal(bgr.apply(PIXELS), rgb.apply(PIXELS)[..., ::-1])


def test_grey_is_what_pillow_computes():
    grey = Preprocess("NCHW", "L", (2, 3), scale=1.0)
    expected = np.asarray(Image.fromarray(PIXELS).convert("L"), np.float32)
    assert np.abs(grey.apply(PIXELS)[0, 0] - expected).max() <= 1


def test_uint8_inputs_get_the_pixels():
    assert np.array_equal(Preprocess("NHWC", "RGB", (2, 3)).apply(PIXELS, np.uint8), PIXELS[None])


def test_resizes_to_the_models_size():
    assert Preprocess("NCHW", "RGB", (7, 5)).apply(PIXELS).shape == (1, 3, 7, 5)


def test_resize_none_refuses_another_size():
    with pytest.raises(DataError, match=r"expected 7x5 .* found 2x3"):
        Preprocess("NCHW", "RGB", (7, 5), resize="none").apply(PIXELS)


def test_json_round_trip():
    assert Preprocess.from_json(RGB.to_json()) == RGB


def test_scalars_serve_as_mean_and_std():
    text = json.dumps({"layout": "NCHW", "color": "L", "size": [2, 2], "mean": 0.5, "std": 0.25})
    assert Preprocess.from_json(text).mean == (0.5,)


@pytest.mark.parametrize("change", [
    {"layout": "CHWN"}, {"color": "CMYK"}, {"size": [3]}, {"size": [0, 3]}, {"resize": "magic"}, {"mean": [1, 2]},
    {"std": [0, 1, 1]}, {"scale": "big"}, {"typo": 1},
], ids=str)
def test_bad_metadata_is_refused(change):
    with pytest.raises(ModelFormatError, match=METADATA_KEY):
        Preprocess.from_json(json.dumps(json.loads(RGB.to_json()) | change))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "{}"])
def test_metadata_that_is_no_object_is_refused(text):
    with pytest.raises(ModelFormatError, match=METADATA_KEY):
        Preprocess.from_json(text)


def test_missing_metadata_is_named():
    with pytest.raises(ModelFormatError, match=METADATA_KEY):
        Preprocess.of({"other": "x"})


@pytest.mark.parametrize(("shape", "expected"), [
    ((1, 3, 8, 9), Preprocess("NCHW", "RGB", (8, 9))),
    (("n", 1, 8, 9), Preprocess("NCHW", "L", (8, 9))),
    ((1, 8, 9, 3), Preprocess("NHWC", "RGB", (8, 9))),
    ((1, 3, "h", "w"), None),
    ((1, 40), None),
    ((1, 7, 8, 9), None),
], ids=str)
def test_guess_by_shape(shape, expected):
    assert Preprocess.guess(shape) == expected


@pytest.mark.parametrize("pixels", [np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), np.zeros((0, 2, 3), np.uint8)],
                         ids=["float", "two channels", "empty"])
def test_arrays_that_are_no_image_are_refused(pixels):
    with pytest.raises(DataError, match="expected uint8"):
        RGB.apply(pixels)


def test_reads_png_exactly(tmp_path):
    (tmp_path / "a.png").write_bytes(png(PIXELS))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PIXELS)
    np.testing.assert_array_equal(read_image(png(PIXELS)), PIXELS)


def test_grey_files_have_one_channel():
    assert read_image(png(PIXELS[..., 0])).shape == (2, 3, 1)


def test_transparency_is_dropped():
    rgba = np.dstack([PIXELS, np.full((2, 3), 255, np.uint8)])
    np.testing.assert_array_equal(read_image(png(rgba)), PIXELS)


def test_sixteen_bits_keep_the_high_byte():
    wide = (np.arange(6, dtype=np.uint16).reshape(2, 3) * 10000)
    np.testing.assert_array_equal(read_image(png(wide))[..., 0], wide >> 8)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(dtype):
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 3), 255, dtype)).save(buffer, "tiff")
    with pytest.raises(DataError, match=r"x\.tif: expected pixels of 8 or 16 bits"):
        read_image(buffer.getvalue(), "x.tif")


def test_sixteen_bit_portable_greymaps_keep_the_high_byte():
    wide = np.array([[0, 256, 65535]], ">u2")
    np.testing.assert_array_equal(read_image(b"P5 3 1 65535\n" + wide.tobytes())[..., 0], [[0, 1, 255]])


@pytest.mark.parametrize("blob", [b"", b"not an image", png(PIXELS)[:40]], ids=["empty", "text", "cut off"])
def test_unreadable_images_are_typed_errors(blob):
    with pytest.raises(DataError, match="expected a readable image"):
        read_image(blob, "x.png")


def test_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png"):
        read_image(tmp_path / "gone.png")


def test_names_too_long_for_a_file_are_typed_errors():
    with pytest.raises(DataError, match="expected a"):
        read_image("x" * 300)
