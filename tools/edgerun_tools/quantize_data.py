"""What `edgerun quantize` feeds a model: calibration inputs and labelled inputs, made when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.errors import DataError, InputError
from edgerun.feeds import TensorInfo, guessed, read_samples
from edgerun.preprocess import IMAGE_SUFFIXES, Preprocess
from edgerun_tools import common, exit_runs

Feeds = Mapping[str, np.ndarray]
Maker = Callable[[], Feeds]


@dataclass(frozen=True)
class Rows:
    """Inputs of one model: `rows[i]` is {input: array}, checked. labels: int64 [N], None where there are none.

    Reading a row raises InputError or DataError where it does not fit the model's inputs.
    """

    session: Session
    makers: Sequence[Maker]
    labels: np.ndarray | None
    source: str

    def __len__(self) -> int:
        return len(self.makers)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        with common.naming(self.source):
            arrays = self.session.check(self.makers[i]())
        return {t.name: a for t, a in zip(self.session.inputs, arrays, strict=True)}


def load(session: Session, spec: str, part: str = "all", limit: int | None = None, *, labelled: bool = False) -> Rows:
    """What `spec` names, as inputs of a model; images are prepared as its metadata say.

    spec: a folder of images, .npy and .npz; an .npz with one array [N, …] per input, or with `x` (uint8 images [N,H,W(,C)], or tensors);
    or any set of `edgerun_tools.data` (`part`: one of its splits). limit: only so many, spread evenly. labelled: the set must
    have labels (`y` in an .npz, else the folders' names). DataError.
    """
    path = Path(spec)
    if path.suffix == ".npz" and part == "all" and path.is_file():
        makers, labels = _npz(session, path, labelled)
    elif path.is_dir() and not any(path.glob("*idx3*")) and part == "all" and not labelled:
        makers, labels = _folder(session, path), None
    else:
        found = exit_runs.load(spec, part)
        makers, labels = _images(session, found.images, spec), found.labels
    if not makers:
        raise DataError(f"{spec}: expected at least one input of {session.name}; found none")
    keep = np.arange(len(makers))
    if limit is not None and limit < len(makers):
        keep = np.linspace(0, len(makers) - 1, limit).astype(int)
    return Rows(session, [makers[i] for i in keep], labels[keep] if labelled and labels is not None else None,
                path.name + ("" if part == "all" else f", part {part}"))


def digest(feeds: Feeds) -> bytes:
    """What tells one input from others."""
    held = hashlib.blake2b(digest_size=16)
    for name in sorted(feeds):
        held.update(np.ascontiguousarray(feeds[name]).tobytes())
    return held.digest()


def _images(session: Session, images: Any, spec: str) -> list[Maker]:
    if len(session.inputs) != 1:
        raise DataError(f"{spec}: holds images, but {session.name} has {len(session.inputs)} inputs; give an .npz with one "
                        "array for each")
    info = session.inputs[0]
    recipe = session.preprocess or guessed(info, spec)
    return [partial(_image, recipe, info, image) for image in images]


def _image(recipe: Preprocess, info: TensorInfo, pixels: np.ndarray) -> Feeds:
    return {info.name: recipe.apply(pixels, info.dtype)}


def _folder(session: Session, path: Path) -> list[Maker]:
    """One maker an image; .npy and .npz files may hold several inputs."""
    try:
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES | {".npy", ".npz"} and f.is_file()
                       and not any(p.startswith(".") for p in f.relative_to(path).parts))
    except OSError as e:
        raise DataError(f"{path}: expected a folder that can be read; found: {e.strerror}") from e
    makers: list[Maker] = []
    for file in files:
        if file.suffix == ".npz":
            makers += _npz(session, file, labelled=False)[0]
        else:
            makers.append(partial(_only, session, str(file)))
    return makers


def _only(session: Session, file: str) -> Feeds:
    found = list(read_samples([file], session.inputs, session.preprocess))
    if len(found) != 1:
        raise DataError(f"{file}: expected one input in one file; found {len(found)}; put them into an .npz as x")
    return found[0].feeds


def _npz(session: Session, path: Path, labelled: bool) -> tuple[list[Maker], np.ndarray | None]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            held = {k: a for k in stored.files if isinstance(a := stored[k], np.ndarray)}
    except Exception as e:  # NumPy, zipfile and the decompressors raise a dozen types for damaged files
        raise DataError(f"{path}: expected a NumPy .npz archive without pickles; found: {e or type(e).__name__}") from e
    names = [i.name for i in session.inputs]
    if not set(names) <= set(held):
        if "x" not in held or len(names) != 1:
            raise DataError(f"{path}: expected arrays named {', '.join(names)}" + (" or x" if len(names) == 1 else "")
                            + f"; found {', '.join(sorted(held)) or 'none'}")
        held[names[0]] = held["x"]
    info, x = session.inputs[0], held[names[0]]
    if len(names) == 1 and x.dtype == np.uint8 and (info.dtype != np.uint8 or session.preprocess is not None):
        makers = _images(session, x, str(path))
    else:
        makers = _tensors(session.inputs, held, path)
    return makers, _labels(held.get("y"), len(makers), path) if labelled else None


def _labels(y: np.ndarray | None, count: int, path: Path) -> np.ndarray:
    if y is None or y.shape != (count,) or y.dtype.kind not in "iu" or (count and int(y.min()) < 0):
        found = "none" if y is None else f"{y.dtype}{list(y.shape)}"
        raise DataError(f"{path}: expected y, one whole, non-negative label for each of {count} inputs; found {found}")
    return y.astype(np.int64)


def _tensors(inputs: Sequence[TensorInfo], held: Mapping[str, np.ndarray], path: Path) -> list[Maker]:
    """[N, …] of every input, cut into single inputs: along the batch where the model has one, else along a dimension more."""
    counts = set()
    for i in inputs:
        a, rank = held[i.name], len(i.shape)
        if a.ndim not in (rank, rank + 1) or a.dtype != i.dtype:
            raise InputError(f"{path}: expected {i}, or many of them along a first dimension; found {a.dtype}{list(a.shape)}")
        counts.add(len(a) if a.ndim > rank or _batched(i) else 1)
    if len(counts) != 1:
        raise InputError(f"{path}: expected as many of every input; found {sorted(counts)}")
    return [partial(_cut, inputs, held, k) for k in range(counts.pop())]


def _batched(info: TensorInfo) -> bool:
    return bool(info.shape) and (info.shape[0] == 1 or not isinstance(info.shape[0], int))


def _cut(inputs: Sequence[TensorInfo], held: Mapping[str, np.ndarray], k: int) -> Feeds:
    feeds = {}
    for i in inputs:
        a = held[i.name]
        feeds[i.name] = a[k] if a.ndim > len(i.shape) else a[k:k + 1] if _batched(i) else a
    return feeds
