"""Readers for labelled image sets, and the project's fixed splits.

`load` takes what `--data` of the commands takes and returns images as they are stored (uint8, HxWxC,
RGB or one grey channel, values 0..255), integer labels and class names; scaling to a network's input is
the preprocessing's business, described in the model's metadata.  The splits below are the only place
where it is decided which images train, which calibrate and which test.
"""
from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath, PurePosixPath

import numpy as np

from edgerun import read_image
from edgerun.errors import DataError
from edgerun.preprocess import IMAGE_SUFFIXES

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MNIST_CLASSES = [str(d) for d in range(10)]
SPLIT_SEED = 20260
CIFAR_CALIBRATION = 5000
DIGITS_SIZES = {"train": 1200, "calibration": 200, "test": 397}
MNIST_RANGES = {"train": (0, 7000), "calibration": (7000, 8000), "test": (8000, 10000)}

Images = np.ndarray | list[np.ndarray]
Entry = tuple[str, str, bytes]  # name inside the set, class, file contents


def data_root() -> Path:
    """Folder that holds the shared data: environment variable EDGERUN_DATA, else ``../shared/data``."""
    return Path(os.environ.get("EDGERUN_DATA", "../shared/data"))


def load(spec: str | os.PathLike[str]) -> tuple[Images, np.ndarray, list[str]]:
    """Read a labelled image set.

    spec: an ``.npz`` with arrays ``x`` (uint8 [N,H,W,C] or [N,H,W]) and ``y`` ([N]), optionally ``classes``;
    a folder tree or ``.tar``/``.tar.gz``/``.tgz`` of images, the parent folder naming the class (classes sorted
    alphabetically, names that start with a dot left out); or a folder with one MNIST-style ``*images*idx3*`` /
    ``*labels*idx1*`` pair (``.gz`` or plain).

    Returns (x, y, class_names): x uint8 [N,H,W,C] or, when sizes differ, a list of uint8 [H,W,C];
    y int64 [N]; class_names in label order. Pixels are those of `edgerun.read_image`. DataError says what cannot be read.
    """
    path = Path(spec)
    try:
        return _load(path)
    except OSError as e:
        raise DataError(f"data set {path}: expected files that can be read, found: {e}") from e


def _load(path: Path) -> tuple[Images, np.ndarray, list[str]]:
    if not path.exists():
        raise DataError(f"data set {path}: expected an .npz, a folder or a .tar(.gz), found nothing there")
    if path.is_dir():
        return _load_idx(path) if any(path.glob("*idx3*")) else _load_tree(_folder_entries(path), path)
    if path.suffix == ".npz":
        return _load_npz(path)
    if path.name.endswith((".tar", ".tar.gz", ".tgz")):
        return _load_tree(_tar_entries(path), path)
    raise DataError(f"data set {path}: expected an .npz, a folder or a .tar(.gz), found a file ending in "
                    f"{path.suffix or 'nothing'!r}")


def load_uniform(spec: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """As `load`, for sets whose images must all have one size: x is always uint8 [N,H,W,C]."""
    x, y, names = load(spec)
    if isinstance(x, list):
        raise DataError(f"data set {spec}: expected images of one size, found {sorted({i.shape for i in x})[:4]}")
    return x, y, names


def _load_npz(path: Path) -> tuple[Images, np.ndarray, list[str]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as z:
            found = list(z.files)
            held = {k: a for k in found if k in ("x", "y", "classes") and isinstance(a := z[k], np.ndarray)}
    except Exception as e:  # NumPy, zipfile and the decompressors raise a dozen types for damaged files
        raise DataError(f"data set {path}: expected a NumPy .npz archive without pickles, found: "
                        f"{e or type(e).__name__}") from e
    if "x" not in held or "y" not in held:
        raise DataError(f"data set {path}: expected arrays 'x' and 'y', found {sorted(found)}")
    x, y = held["x"], held["y"]
    if x.dtype != np.uint8 or x.ndim not in (3, 4):
        raise DataError(f"data set {path}: expected x as uint8 [N,H,W,C] or [N,H,W], found {x.dtype} {list(x.shape)}")
    if x.ndim == 3:
        x = x[..., None]
    if x.shape[-1] not in (1, 3):
        raise DataError(f"data set {path}: expected 1 or 3 channels last, found x {list(x.shape)}")
    y = _labels(y, len(x), path)
    names = [str(c) for c in held["classes"]] if "classes" in held else _default_names(x, y)
    if len(names) <= int(y.max()):
        raise DataError(f"data set {path}: expected a class name for every label, found {len(names)} names and "
                        f"label {int(y.max())}")
    return x, y, names


def _labels(y: np.ndarray, n: int, path: Path) -> np.ndarray:
    if y.ndim != 1 or len(y) != n or n == 0 or not np.issubdtype(y.dtype, np.integer) or int(y.min()) < 0:
        raise DataError(f"data set {path}: expected one whole, non-negative label for each of {n} images (at least "
                        f"one), found y {y.dtype} {list(y.shape)}")
    return y.astype(np.int64)


def _default_names(x: np.ndarray, y: np.ndarray) -> list[str]:
    if x.shape[1:] == (32, 32, 3) and y.max() <= 9:
        return list(CIFAR10_CLASSES)
    return [str(i) for i in range(int(y.max()) + 1)]


def _folder_entries(root: Path) -> Iterator[Entry]:
    for f in sorted(root.rglob("*")):
        name = f.relative_to(root)
        if f.suffix.lower() in IMAGE_SUFFIXES and not _hidden(name) and f.is_file():
            yield name.as_posix(), f.parent.name if f.parent != root else "", f.read_bytes()


def _tar_entries(path: Path) -> Iterator[Entry]:
    try:
        with tarfile.open(path) as tar:
            for m in tar:
                p = PurePosixPath(m.name)
                if p.suffix.lower() in IMAGE_SUFFIXES and not _hidden(p) and m.isfile():
                    held = tar.extractfile(m)
                    if held is not None:
                        yield m.name, p.parent.name, held.read()
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as e:
        raise DataError(f"data set {path}: expected a readable tar archive, found: {e}") from e


def _hidden(name: PurePath) -> bool:
    """Whether a file, or a folder on the way to it, starts with a dot, as the ._* files of Macs do."""
    return any(part.startswith(".") and part != ".." for part in name.parts)


def _load_tree(entries: Iterable[Entry], path: Path) -> tuple[Images, np.ndarray, list[str]]:
    rows = []
    for name, label, blob in entries:
        if not label:
            raise DataError(f"data set {path}: expected images in one folder a class, found {name} in none")
        rows.append((name, label, read_image(blob, f"data set {path}: {name}")))
    if not rows:
        raise DataError(f"data set {path}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in one folder a "
                        "class, found none")
    rows.sort(key=lambda r: r[0])  # order of the names, not of the archive: splits must not depend on packing
    classes = sorted({r[1] for r in rows})
    index = {c: i for i, c in enumerate(classes)}
    y = np.array([index[r[1]] for r in rows], np.int64)
    images = [r[2] for r in rows]
    if len({i.shape for i in images}) == 1:
        return np.stack(images), y, classes
    return images, y, classes


def _load_idx(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    images, labels = sorted(folder.glob("*images*idx3*")), sorted(folder.glob("*labels*idx1*"))
    if len(images) != 1 or len(labels) != 1:
        raise DataError(f"data set {folder}: expected one images-idx3 file and one labels-idx1 file, found "
                        f"{[p.name for p in images]} and {[p.name for p in labels]}")
    x = _read_idx(images[0])
    if x.ndim != 3:
        raise DataError(f"data set {images[0]}: expected images [N,H,W], found {list(x.shape)}")
    y = _labels(_read_idx(labels[0]).astype(np.int64), len(x), labels[0])
    return x[..., None], y, list(MNIST_CLASSES) if y.max() <= 9 else [str(i) for i in range(int(y.max()) + 1)]


def _read_idx(path: Path) -> np.ndarray:
    """Read one idx file of unsigned bytes (format: yann.lecun.com/exdb/mnist), gzipped or plain."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"data set {path}: expected a gzip file, found: {e}") from e
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DataError(f"data set {path}: expected an idx file of unsigned bytes, found header {raw[:4].hex()}")
    ndim = raw[3]
    shape = tuple(int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(ndim))
    if len(raw) - 4 - 4 * ndim != int(np.prod(shape)):
        raise DataError(f"data set {path}: expected {int(np.prod(shape))} bytes for {list(shape)}, found "
                        f"{len(raw) - 4 - 4 * ndim}")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def cifar_split(n: int = 50000) -> tuple[np.ndarray, np.ndarray]:
    """Indices (train, calibration) into the name-sorted CIFAR-10 training images: after one shuffle seeded with
    SPLIT_SEED the last 5,000 are the calibration split and are never trained on."""
    if n <= CIFAR_CALIBRATION:
        raise DataError(f"CIFAR-10 training set: expected more than {CIFAR_CALIBRATION} images, found {n}")
    order = np.random.default_rng(SPLIT_SEED).permutation(n)
    return order[:-CIFAR_CALIBRATION], order[-CIFAR_CALIBRATION:]


def mnist_split(part: str) -> slice:
    """Slice of the 10,000 MNIST test-set images that `part` ('train', 'calibration', 'test') stands for."""
    if part not in MNIST_RANGES:
        raise DataError(f"MNIST split: expected one of {sorted(MNIST_RANGES)}, found {part!r}")
    return slice(*MNIST_RANGES[part])


def digits(part: str = "all") -> tuple[np.ndarray, np.ndarray, list[str]]:
    """scikit-learn's bundled 8x8 digits (the test set of UCI's): x uint8 [N,8,8,1], their 0..16 stretched to 0..255, y int64 [N], names.

    part: all 1,797 in their order, or of one shuffle seeded with SPLIT_SEED the first 1,200 (train), the next 200 (calibration) or the
    last 397 (test). DataError without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise DataError(f"digits: expected scikit-learn, which brings these images; found: {e}; pip install 'edgerun[train]'") from e
    if part not in ("all", *DIGITS_SIZES):
        raise DataError(f"digits split: expected one of {sorted(('all', *DIGITS_SIZES))}, found {part!r}")
    held = load_digits()
    x, y = np.rint(held.images * (255 / 16)).astype(np.uint8)[..., None], held.target.astype(np.int64)
    if part != "all":
        names = list(DIGITS_SIZES)
        begin = sum(DIGITS_SIZES[n] for n in names[:names.index(part)])
        chosen = np.random.default_rng(SPLIT_SEED).permutation(len(x))[begin:begin + DIGITS_SIZES[part]]
        x, y = x[chosen], y[chosen]
    return x, y, list(MNIST_CLASSES)
