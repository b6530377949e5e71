"""What callers feed: accepted exactly when it fits, otherwise an error that says expected and found."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import onnx
import pytest
from PIL import Image

from edgerun.errors import DataError, EdgeRunWarning, InputError
from edgerun.feeds import TensorInfo, check_feeds, is_finite, random_feeds, read_samples
from edgerun.preprocess import Preprocess

F32, U8 = np.dtype(np.float32), np.dtype(np.uint8)
X = TensorInfo("x", ("n", 3, 4, 4), F32)
Y = TensorInfo("y", ("n", 2), F32)
RECIPE = Preprocess("NCHW", "RGB", (4, 4))
GOOD = np.ones((2, 3, 4, 4), np.float32)


def test_one_input_takes_the_bare_array():
    assert check_feeds([X], GOOD)[0] is GOOD


def test_order_follows_the_inputs():
    y = np.zeros((2, 2), np.float32)
    assert check_feeds([X, Y], {"y": y, "x": GOOD})[1] is y


def test_lists_are_converted():
    assert check_feeds([Y], [[1, 2], [3, 4]])[0].dtype == F32


def test_other_strides_are_made_contiguous():
    strided = np.ones((2, 4, 4, 3), np.float32).transpose(0, 3, 1, 2)
    got = check_feeds([X], strided)[0]
    assert got.flags.c_contiguous
    assert np.array_equal(got, strided)


@pytest.mark.parametrize(("feeds", "message"), [
    ({"z": GOOD}, r"missing 'x'.*unknown 'z'"),
    ({}, "missing 'x'"),
    (GOOD.astype(np.float64), "expected dtype float32; found float64"),
    (GOOD[0], r"expected shape \[n, 3, 4, 4\]; found \[3, 4, 4\]"),
    (GOOD[:, :2], r"found \[2, 2, 4, 4\]"),
    ("text", "expected"),
    (object(), "expected"),
], ids=["name", "none", "dtype", "rank", "size", "text", "object"])
def test_what_does_not_fit_is_an_input_error(feeds, message):
    with pytest.raises(InputError, match=message):
        check_feeds([X], feeds)


def test_one_symbol_has_one_size():
    with pytest.raises(InputError, match="n=2"):
        check_feeds([X, Y], {"x": GOOD, "y": np.zeros((3, 2), np.float32)})


@pytest.mark.parametrize("size", [4, 64, 4096, 10000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_are_found_anywhere(size, bad):
    x = np.zeros(size, np.float32)
    x[size // 3] = bad
    info = TensorInfo("x", (size,), F32)
    assert not is_finite(x)
    with pytest.raises(InputError, match=rf"expected finite numbers; found .* at \[{size // 3}\]"):
        check_feeds([info], x)
    assert check_feeds([info], x, finite=False)[0] is x


def test_largest_floats_are_finite():
    assert is_finite(np.full(5000, np.finfo(np.float32).max, np.float32))


def test_random_feeds_fit_and_repeat():
    infos = [X, TensorInfo("b", (5,), np.dtype(np.bool_)), TensorInfo("i", (None, 2), np.dtype(np.int64)),
             TensorInfo("u", (9,), U8)]
    one, two = (random_feeds(infos, 3) for _ in range(2))
    check_feeds(infos, one)
    assert all(np.array_equal(one[k], two[k]) for k in one)


# -- files ------------------------------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "b.png")
    np.save(tmp_path / "a.npy", GOOD)
    (tmp_path / "readme.txt").write_text("not data")
    return tmp_path


def feeds_of(*specs, inputs=(X,), recipe=RECIPE):
    return list(read_samples([str(s) for s in specs], inputs, recipe))


def test_folders_are_read_in_order_of_names(folder):
    assert [s.source.rsplit("/", 1)[-1] for s in feeds_of(folder)] == ["a.npy", "b.png"]


def test_images_are_prepared(folder):
    np.testing.assert_array_equal(feeds_of(folder / "b.png")[0].feeds["x"], RECIPE.apply(PIXELS))


def test_arrays_are_taken_as_they_are(folder):
    np.testing.assert_array_equal(feeds_of(folder / "a.npy")[0].feeds["x"], GOOD)


def test_missing_batch_dimension_is_added(tmp_path):
    np.save(tmp_path / "x.npy", GOOD[0])
    assert feeds_of(tmp_path / "x.npy")[0].feeds["x"].shape == (1, 3, 4, 4)


def test_uint8_arrays_are_images(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    np.testing.assert_array_equal(feeds_of(tmp_path / "x.npy")[0].feeds["x"], RECIPE.apply(PIXELS))


def test_uint8_images_for_uint8_inputs_are_resized(tmp_path):
    info = TensorInfo("x", (1, 4, 4, 3), U8)
    np.save(tmp_path / "x.npy", PIXELS)
    recipe = Preprocess("NHWC", "RGB", (4, 4))
    np.testing.assert_array_equal(feeds_of(tmp_path / "x.npy", inputs=[info], recipe=recipe)[0].feeds["x"],
                                  recipe.apply(PIXELS, np.uint8))


def test_npz_with_input_names_is_one_run(tmp_path):
    np.savez(tmp_path / "x.npz", x=GOOD, y=np.zeros((2, 2), np.float32))
    assert [sorted(s.feeds) for s in feeds_of(tmp_path / "x.npz", inputs=[X, Y])] == [["x", "y"]]


def test_npz_of_images_is_many_runs(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.stack([PIXELS] * 3), y=np.arange(3))
    found = feeds_of(tmp_path / "x.npz", inputs=[TensorInfo("image", X.shape, F32)])
    assert len(found) == 3
    assert found[2].source.endswith("x.npz[2]")


def test_named_files_make_one_run(tmp_path):
    np.save(tmp_path / "x.npy", GOOD)
    np.save(tmp_path / "y.npy", np.zeros((2, 2), np.float32))
    found = feeds_of(f"x={tmp_path / 'x.npy'}", f"y={tmp_path / 'y.npy'}", inputs=[X, Y])
    assert [sorted(s.feeds) for s in found] == [["x", "y"]]


@pytest.mark.parametrize("kind", ["png", "npy"])
def test_standard_input(monkeypatch, folder, kind):
    blob = (folder / {"png": "b.png", "npy": "a.npy"}[kind]).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(blob)))
    expected = RECIPE.apply(PIXELS) if kind == "png" else GOOD
    np.testing.assert_array_equal(feeds_of("-")[0].feeds["x"], expected)


def test_empty_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="found none"):
        feeds_of(tmp_path)


def test_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png.*found nothing"):
        feeds_of(tmp_path / "gone.png")


def test_unreadable_image_names_the_file(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"bad\.png"):
        feeds_of(tmp_path / "bad.png")


def test_broken_npy_names_the_file(tmp_path):
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(DataError, match=r"bad\.npy"):
        feeds_of(tmp_path / "bad.npy")


def test_pickles_are_refused(tmp_path):
    np.save(tmp_path / "bad.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="without pickles"):
        feeds_of(tmp_path / "bad.npy")


def test_image_without_recipe_says_what_is_missing(folder):
    with pytest.raises(DataError, match=r"edgerun\.preprocess"):
        feeds_of(folder / "b.png", inputs=[TensorInfo("x", (1, 48), F32)], recipe=None)


@pytest.mark.parametrize(("info", "recipe"), [
    (X, Preprocess("NCHW", "RGB", (4, 4))),
    (TensorInfo("x", (1, 4, 4, 1), U8), Preprocess("NHWC", "L", (4, 4))),
], ids=["float32", "uint8"])
def test_image_without_recipe_is_guessed_from_the_shape(folder, info, recipe):
    with pytest.warns(EdgeRunWarning, match=r"edgerun\.preprocess"):
        found = feeds_of(folder / "b.png", inputs=[info], recipe=None)
    np.testing.assert_array_equal(found[0].feeds["x"], recipe.apply(PIXELS, info.dtype))


def test_dot_files_and_dot_folders_are_left_out(folder):
    (folder / "._b.png").write_bytes(b"a Mac's")
    (folder / ".cache").mkdir()
    np.save(folder / ".cache" / "c.npy", GOOD)
    assert [s.source.rsplit("/", 1)[-1] for s in feeds_of(folder)] == ["a.npy", "b.png"]


def test_a_pipe_is_read(folder):
    read, write = os.pipe()
    os.write(write, (folder / "a.npy").read_bytes())
    os.close(write)
    try:
        np.testing.assert_array_equal(feeds_of(f"/dev/fd/{read}")[0].feeds["x"], GOOD)
    finally:
        os.close(read)


@pytest.mark.parametrize("name", ["", "x" * 300], ids=["empty", "too long"])
def test_names_of_no_file_are_data_errors(name):
    with pytest.raises(DataError, match="expected"):
        feeds_of(name)


@pytest.mark.parametrize("spec", ["a.npy", ""], ids=["file", "folder"])
def test_files_that_may_not_be_read_are_data_errors(folder, monkeypatch, spec):
    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    with pytest.raises(DataError, match=r"a\.npy: .*Permission denied"):
        feeds_of(folder / spec)


def zipped(kind: str) -> bytes:
    """An .npz of GOOD, damaged in one way."""
    buffer = io.BytesIO()
    if kind == "no arrays":
        with zipfile.ZipFile(buffer, "w") as z:
            z.writestr("photo.txt", "text")
        return buffer.getvalue()
    np.savez_compressed(buffer, x=GOOD)
    blob = bytearray(buffer.getvalue())
    if kind == "cut off":
        return bytes(blob[: len(blob) // 2])
    blob[60:90] = bytes(30)  # inside the compressed data
    return bytes(blob)


@pytest.mark.parametrize("kind", ["cut off", "spoilt", "no arrays"])
def test_broken_npz_names_the_file(tmp_path, kind):
    (tmp_path / "bad.npz").write_bytes(zipped(kind))
    with pytest.raises(DataError, match=r"bad\.npz"):
        feeds_of(tmp_path / "bad.npz")


def test_npy_that_claims_more_than_memory_names_the_file(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (10**14,)})
    (tmp_path / "bad.npy").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"bad\.npy"):
        feeds_of(tmp_path / "bad.npy")


def test_no_images_are_a_data_error(tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 28, 28), np.uint8))
    with pytest.raises(DataError, match=r"none\.npy: expected at least one image; found uint8\[0, 28, 28\]"):
        feeds_of(tmp_path / "none.npy")


def test_random_feeds_know_bfloat16():
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    assert random_feeds([TensorInfo("x", (2, 3), dtype)])["x"].dtype == dtype


def test_random_feeds_refuse_strings():
    with pytest.raises(InputError, match=r"expected inputs of numbers.*text"):
        random_feeds([TensorInfo("text", (1,), np.dtype(object))])


def test_wrong_dtype_array_says_expected_and_found(tmp_path):
    np.save(tmp_path / "x.npy", GOOD.astype(np.float64))
    with pytest.raises(InputError, match=r"expected x float32.*found float64"):
        feeds_of(tmp_path / "x.npy")


def test_one_array_cannot_feed_two_inputs(folder):
    with pytest.raises(DataError, match="NAME=FILE"):
        feeds_of(folder / "a.npy", inputs=[X, Y])
