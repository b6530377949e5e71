"""Readers of labelled image sets and the fixed splits."""
from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgerun
from edgerun_tools import data


def _picture(seed: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> bytes:
    rng, out = np.random.default_rng(seed), io.BytesIO()
    shape = (*size, 3) if mode == "RGB" else size
    Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode).save(out, "PNG")
    return out.getvalue()


def _tree(root: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(_picture(i))
    return root


def _idx(folder: Path, images: np.ndarray, labels: np.ndarray, zipped: bool) -> Path:
    pack, end = (gzip.compress, ".gz") if zipped else (bytes, "")
    head = b"\0\0\x08\3" + b"".join(int(v).to_bytes(4, "big") for v in images.shape)
    (folder / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(head + images.tobytes()))
    tail = b"\0\0\x08\1" + len(labels).to_bytes(4, "big") + labels.tobytes()
    (folder / f"t10k-labels-idx1-ubyte{end}").write_bytes(pack(tail))
    return folder


def test_npz_round_trip(tmp_path):
    x, y = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3), np.array([1, 0])
    np.savez(tmp_path / "a.npz", x=x, y=y, classes=np.array(["cat", "dog"]))
    got_x, got_y, names = data.load(tmp_path / "a.npz")
    assert np.array_equal(got_x, x)
    assert np.array_equal(got_y, y)
    assert names == ["cat", "dog"]
    assert got_y.dtype == np.int64


def test_npz_of_grey_images_gets_a_channel(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 8, 8), np.uint8), y=np.array([0, 2, 1]))
    x, _, names = data.load(tmp_path / "a.npz")
    assert x.shape == (3, 8, 8, 1)
    assert names == ["0", "1", "2"]


def test_folder_and_tar_give_the_same_in_name_order(tmp_path):
    root = _tree(tmp_path / "t", ["train/dog/2.png", "train/cat/9.png", "train/cat/1.png"])
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as tar:
        for f in sorted(root.rglob("*.png"), reverse=True):
            tar.add(f, f.relative_to(root).as_posix())
    (x, y, names), (tx, ty, tnames) = data.load(root), data.load(tmp_path / "t.tar.gz")
    assert names == tnames == ["cat", "dog"]
    assert y.tolist() == ty.tolist() == [0, 0, 1]
    assert x.shape == (3, 6, 5, 3)
    assert np.array_equal(x, tx)


def test_images_of_different_sizes_come_as_a_list(tmp_path):
    for name, size in (("a/1.png", (4, 4)), ("b/1.png", (5, 7))):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(_picture(0, size, "L"))
    x, y, _ = data.load(tmp_path)
    assert [i.shape for i in x] == [(4, 4, 1), (5, 7, 1)]
    assert y.tolist() == [0, 1]


def _sixteen_bits() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(4).integers(0, 65536, (6, 5), np.uint16)).save(out, "PNG")
    return out.getvalue()


def _turned() -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (20, 28, 3), np.uint8)).save(out, "JPEG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("blob", [_sixteen_bits(), _turned()], ids=["16 bits", "camera turned"])
def test_pixels_are_those_that_run_sees(tmp_path, blob):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(blob)
    x, _, _ = data.load(tmp_path)
    assert np.array_equal(x[0], edgerun.read_image(blob))


def test_names_with_a_dot_are_left_out(tmp_path):
    root = _tree(tmp_path / "t", ["cat/1.png", ".hidden/2.png"])
    (root / "cat" / "._1.png").write_bytes(b"a Mac's notes about 1.png")
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(root, ".")
    assert [data.load(p)[2] for p in (root, tmp_path / "t.tar")] == [["cat"], ["cat"]]
    assert [len(data.load(p)[0]) for p in (root, tmp_path / "t.tar")] == [1, 1]


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_pair(tmp_path, zipped):
    images, labels = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8), np.array([3, 1, 4, 1], np.uint8)
    x, y, names = data.load(_idx(tmp_path, images, labels, zipped))
    assert np.array_equal(x[..., 0], images)
    assert y.tolist() == [3, 1, 4, 1]
    assert names == data.MNIST_CLASSES


def _no_such(p: Path) -> Path:
    return p / "none.npz"


def _empty_folder(p: Path) -> Path:
    return p


def _no_y(p: Path) -> Path:
    np.savez(p / "a.npz", x=np.zeros((1, 4, 4, 3), np.uint8))
    return p / "a.npz"


def _float_x(p: Path) -> Path:
    np.savez(p / "a.npz", x=np.zeros((1, 4, 4, 3), np.float32), y=np.zeros(1, np.int64))
    return p / "a.npz"


def _short_y(p: Path) -> Path:
    np.savez(p / "a.npz", x=np.zeros((2, 4, 4, 3), np.uint8), y=np.zeros(1, np.int64))
    return p / "a.npz"


def _not_a_zip(p: Path) -> Path:
    (p / "a.npz").write_bytes(b"not a zip")
    return p / "a.npz"


def _damaged_npz(p: Path) -> Path:
    np.savez_compressed(p / "a.npz", x=np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8), y=np.zeros(50, np.int64))
    blob = bytearray((p / "a.npz").read_bytes())
    blob[60:400] = b"\xff" * 340  # inside the compressed stream of x: zlib.error
    (p / "a.npz").write_bytes(blob)
    return p / "a.npz"


def _cut_npz(p: Path) -> Path:
    np.savez(p / "a.npz", x=np.zeros((50, 8, 8, 3), np.uint8), y=np.zeros(50, np.int64))
    (p / "a.npz").write_bytes((p / "a.npz").read_bytes()[:-100])
    return p / "a.npz"


def _endless_npz(p: Path) -> Path:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**48 * 25, 4, 4)})
    with zipfile.ZipFile(p / "a.npz", "w") as z:
        z.writestr("x.npy", header.getvalue())
    return p / "a.npz"


def _no_arrays_npz(p: Path) -> Path:
    with zipfile.ZipFile(p / "a.npz", "w") as z:
        z.writestr("x", b"text")
        z.writestr("y", b"text")
    return p / "a.npz"


def _long_name(p: Path) -> Path:
    return p / ("x" * 300)


def _damaged_gzip(p: Path) -> Path:
    _idx(p, np.random.default_rng(0).integers(0, 256, (9, 28, 28), np.uint8), np.zeros(9, np.uint8), True)
    blob = bytearray((p / "t10k-images-idx3-ubyte.gz").read_bytes())
    blob[20:200] = b"\xff" * 180
    (p / "t10k-images-idx3-ubyte.gz").write_bytes(blob)
    return p


def _not_a_tar(p: Path) -> Path:
    (p / "a.tar.gz").write_bytes(b"not a tar")
    return p / "a.tar.gz"


def _not_an_image(p: Path) -> Path:
    (p / "cat").mkdir()
    (p / "cat" / "1.png").write_bytes(b"not an image")
    return p


def _no_class_folder(p: Path) -> Path:
    return _tree(p, ["1.png"])


def _cut_idx(p: Path) -> Path:
    _idx(p, np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8), False)
    f = p / "t10k-images-idx3-ubyte"
    f.write_bytes(f.read_bytes()[:-1])
    return p


def _text_file(p: Path) -> Path:
    (p / "a.csv").write_text("1,2")
    return p / "a.csv"


@pytest.mark.parametrize("make", [_no_such, _empty_folder, _no_y, _float_x, _short_y, _not_a_zip, _not_a_tar,
                                  _not_an_image, _no_class_folder, _cut_idx, _text_file,
                                  _damaged_npz, _cut_npz, _endless_npz, _no_arrays_npz, _long_name, _damaged_gzip])
def test_bad_sets_are_typed_errors_naming_expected_and_found(tmp_path, make):
    with pytest.raises(data.DataError, match=r"expected .*found") as e:
        data.load(make(tmp_path))
    assert isinstance(e.value, ValueError)


@pytest.mark.parametrize("make", [lambda p: _tree(p, ["cat/1.png"]), _short_y], ids=["folder", "npz"])
def test_files_that_must_not_be_read(tmp_path, monkeypatch, make):
    spec = make(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # the tests may run as root, who may read everything
    monkeypatch.setattr("numpy.load", refuse)
    with pytest.raises(data.DataError, match="Permission denied"):
        data.load(spec)


def test_cifar_split_is_fixed_and_disjoint():
    train, calibration = data.cifar_split()
    assert len(train) == 45000
    assert len(calibration) == 5000
    assert len(np.union1d(train, calibration)) == 50000
    again = data.cifar_split()
    assert np.array_equal(train, again[0])
    assert np.array_equal(calibration, again[1])
    with pytest.raises(data.DataError):
        data.cifar_split(100)


def test_mnist_ranges_tile_the_set():
    parts = [data.mnist_split(p) for p in ("train", "calibration", "test")]
    assert [(s.start, s.stop) for s in parts] == [(0, 7000), (7000, 8000), (8000, 10000)]
    with pytest.raises(data.DataError, match="expected one of"):
        data.mnist_split("validation")
