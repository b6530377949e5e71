"""What callers feed, checked against the model's inputs; files, folders and standard input as feeds."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import DataError, EdgeRunWarning, InputError
from edgerun.executors.engine import native_finite
from edgerun.preprocess import IMAGE_SUFFIXES, Preprocess, read_image

SMALL = 8192
"""Elements up to which searching a copy of the flags is quicker than calling NumPy once more."""
Dims = tuple[int | str | None, ...]


@dataclass(frozen=True)
class TensorInfo:
    """A model input or output: `shape` has symbolic dimensions as strings, unknown ones as None; `dtype` is NumPy's."""

    name: str
    shape: Dims
    dtype: np.dtype[Any]

    @property
    def type(self) -> str:
        """ONNX Runtime's spelling, as in "tensor(float)"."""
        return f"tensor({ORT_NAMES.get(self.dtype.name, self.dtype.name)})"

    @property
    def fixed(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    def __str__(self) -> str:
        return f"{self.name} {self.dtype.name}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


ORT_NAMES = {"float32": "float", "float64": "double", "bool": "bool", "float16": "float16", "object": "string"}


class FeedChecker:
    """`check_feeds` for one session: feeds shaped like the last good ones pass in a few hundred nanoseconds."""

    def __init__(self, inputs: Sequence[TensorInfo], finite: bool) -> None:
        self._inputs, self._finite = inputs, finite
        self._last: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...] = ()

    def __call__(self, feeds: Any) -> list[np.ndarray]:
        """The feeds in the order of the inputs; InputError as `check_feeds`."""
        last = self._last
        if type(feeds) is np.ndarray and len(last) == 1:
            feeds = {last[0][0]: feeds}
        if last and type(feeds) is dict and len(feeds) == len(last):
            arrays = []
            for name, dtype, shape in last:
                x = feeds.get(name)
                if type(x) is not np.ndarray or x.dtype != dtype or x.shape != shape:
                    break
                flags = x.flags
                if not (flags.c_contiguous and flags.aligned) or (self._finite and not is_finite(x)):
                    break
                arrays.append(x)
            else:
                return arrays
        arrays = check_feeds(self._inputs, feeds, finite=self._finite)
        self._last = tuple((i.name, i.dtype, x.shape) for i, x in zip(self._inputs, arrays, strict=True))
        return arrays


def check_feeds(inputs: Sequence[TensorInfo], feeds: Any, *, finite: bool = True) -> list[np.ndarray]:
    """The feeds in the order of the inputs, contiguous; InputError names the input, what was expected and found.

    feeds: {name: array}, or one array where the model has one input. Arrays must have the input's dtype and rank and
    its fixed dimensions; equal symbolic names must get equal sizes. Plain Python numbers and lists are converted.
    finite: refuse NaN and infinity.
    """
    if not isinstance(feeds, Mapping):
        if len(inputs) != 1:
            raise InputError(f"expected {len(inputs)} inputs as {{name: array}} ({_listed(inputs)}); found one "
                             f"{type(feeds).__name__}")
        feeds = {inputs[0].name: feeds}
    missing = [i.name for i in inputs if i.name not in feeds]
    unknown = [n for n in feeds if n not in {i.name for i in inputs}]
    if missing or unknown:
        raise InputError(f"expected the inputs {_listed(inputs)}; " + "; ".join(
            f"{what} {', '.join(map(repr, names))}" for what, names in (("missing", missing), ("unknown", unknown))
            if names))
    sizes: dict[str, int] = {}
    return [_checked(i, feeds[i.name], sizes, finite) for i in inputs]


def _checked(info: TensorInfo, feed: Any, sizes: dict[str, int], finite: bool) -> np.ndarray:
    if isinstance(feed, np.ndarray):
        x = feed
    else:
        try:
            x = np.asarray(feed)
            x = x.astype(info.dtype) if isinstance(feed, (list, tuple, int, float)) else x
        except (ValueError, TypeError) as e:
            raise InputError(f"input {info}: expected an array; found {type(feed).__name__} ({e})") from e
    if x.dtype != info.dtype:
        raise InputError(f"input {info}: expected dtype {info.dtype.name}; found {x.dtype}; convert it with "
                         f".astype(np.{info.dtype.name})")
    expected = info.shape
    if x.shape != expected:
        fits, before = len(x.shape) == len(expected), dict(sizes)
        for want, got in zip(expected, x.shape, strict=True) if fits else ():
            if isinstance(want, str):
                fits &= sizes.setdefault(want, got) == got
            elif want is not None:
                fits &= want == got
        if not fits:
            known = ", ".join(f"{k}={v}" for k, v in before.items() if k in expected)
            raise InputError(f"input {info}: expected shape {_dims(expected)}{f' with {known}' if known else ''}; "
                             f"found {list(x.shape)}")
    if finite and not is_finite(x):
        bad = int(np.argmin(np.isfinite(x)))
        where = [int(i) for i in np.unravel_index(bad, x.shape)]
        raise InputError(f"input {info}: expected finite numbers; found {x[tuple(where)]} at {where}")
    return x if x.flags.c_contiguous and x.flags.aligned else np.ascontiguousarray(x)


def is_finite(x: np.ndarray) -> bool:
    """Whether an array holds neither NaN nor infinity; integers and booleans always do not."""
    found = native_finite(x)
    if found is not None:
        return found
    if x.dtype.kind != "f" or x.size == 0:
        return True
    finite = np.isfinite(x)
    return b"\0" not in finite.tobytes() if x.size <= SMALL else bool(finite.all())


def _listed(inputs: Sequence[TensorInfo]) -> str:
    return ", ".join(str(i) for i in inputs) or "none"


def _dims(shape: Dims) -> str:
    return f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


@dataclass(frozen=True)
class Sample:
    """One run's feeds and where they came from."""

    source: str
    feeds: dict[str, np.ndarray]


def random_feeds(inputs: Sequence[TensorInfo], seed: int = 0) -> dict[str, np.ndarray]:
    """Uniform numbers in [0, 1) (integers 0..255 within their type, booleans by coin); symbolic dimensions become 1.

    InputError for types of which there are no such numbers (strings).
    """
    rng = np.random.default_rng(seed)
    out = {}
    for info in inputs:
        shape = tuple(d if isinstance(d, int) else 1 for d in info.shape)
        if info.dtype.kind == "f" or info.dtype.name == "bfloat16":
            out[info.name] = rng.random(shape, np.float32).astype(info.dtype)
        elif info.dtype.kind == "b":
            out[info.name] = rng.random(shape) < 0.5
        elif info.dtype.kind in "iu":
            high = min(255, np.iinfo(info.dtype).max)
            out[info.name] = rng.integers(0, high, shape, endpoint=True).astype(info.dtype)
        else:
            raise InputError(f"random input: expected inputs of numbers or booleans; found {info.name} "
                             f"({info.type}); feed real data")
    return out


def read_samples(specs: Sequence[str], inputs: Sequence[TensorInfo], preprocess: Preprocess | None) -> Iterator[Sample]:
    """Samples from what `--input` takes: an image, .npy, .npz, a folder of them, "-" (standard input), or NAME=FILE.

    All NAME=FILE specs together make one sample. An .npz holds one array per input, or images as `x` [N, H, W(, C)]
    uint8. Images need `preprocess`, or an input shaped like one image (`Preprocess.guess`, with an EdgeRunWarning).
    Names that start with a dot are left out of folders. DataError where nothing can be read.
    """
    names = {i.name for i in inputs}
    named = {}
    for spec in specs:
        name, equals, path = spec.partition("=")
        if equals and name in names:
            named[name] = path
    if named:
        feeds: dict[str, np.ndarray] = {}
        for name, path in named.items():
            info = next(i for i in inputs if i.name == name)
            found = list(_one(path, [info], preprocess))
            if len(found) != 1:
                raise DataError(f"{path}: expected one tensor for input {info}; found {len(found)}")
            feeds |= found[0].feeds
        yield Sample(", ".join(f"{k}={v}" for k, v in named.items()), feeds)
    for spec in specs:
        if spec.partition("=")[0] not in named:
            yield from _one(spec, inputs, preprocess)


def _one(spec: str, inputs: Sequence[TensorInfo], preprocess: Preprocess | None) -> Iterator[Sample]:
    if spec == "-":
        yield from _decoded(sys.stdin.buffer.read(), "standard input", inputs, preprocess)
        return
    for file in _files(spec):
        try:
            blob = file.read_bytes()
        except OSError as e:
            raise DataError(f"{file}: expected a file that can be read; found: {e.strerror}") from e
        yield from _decoded(blob, spec if file == Path(spec) else str(file), inputs, preprocess)


def _files(spec: str) -> list[Path]:
    """The file (or pipe) itself, or what a folder holds."""
    if not spec:
        raise DataError("input: expected an image, .npy, .npz or a folder; found an empty name")
    path = Path(spec)
    try:
        if path.is_file() or path.is_fifo():
            return [path]
        if not path.is_dir():
            raise DataError(f"{spec}: expected an image, .npy, .npz or a folder; found nothing there")
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES | {".npy", ".npz"}
                       and not any(part.startswith(".") for part in f.relative_to(path).parts) and f.is_file())
    except OSError as e:
        raise DataError(f"{spec}: expected a file or a folder that can be read; found: {e.strerror}") from e
    if not files:
        raise DataError(f"{spec}: expected a folder with images or .npy/.npz files; found none in it")
    return files


def _decoded(blob: bytes, source: str, inputs: Sequence[TensorInfo], preprocess: Preprocess | None) -> Iterator[Sample]:
    if blob[:6] == b"\x93NUMPY" or blob[:2] == b"PK":
        try:
            loaded = np.load(io.BytesIO(blob), allow_pickle=False)
            held = {k: loaded[k] for k in loaded.files} if blob[:2] == b"PK" else None
        except Exception as e:  # NumPy, zipfile and the decompressors raise a dozen types for damaged files
            raise DataError(f"{source}: expected NumPy arrays without pickles; found: {e or type(e).__name__}") from e
        if held is None:
            yield from _array(loaded, source, inputs, preprocess)
            return
        arrays = {k: a for k, a in held.items() if isinstance(a, np.ndarray)}  # other members of an archive are bytes
        if all(i.name in arrays for i in inputs):
            yield Sample(source, {i.name: arrays[i.name] for i in inputs})
        elif "x" in arrays:
            yield from _array(arrays["x"], source, inputs, preprocess)
        elif len(arrays) == 1:
            yield from _array(next(iter(arrays.values())), source, inputs, preprocess)
        else:
            raise DataError(f"{source}: expected arrays for the inputs {_listed(inputs)}; found {sorted(arrays)}")
        return
    yield from _array(read_image(blob, source), source, inputs, preprocess)


def _array(a: np.ndarray, source: str, inputs: Sequence[TensorInfo], preprocess: Preprocess | None) -> Iterator[Sample]:
    """One array for the model's one input: a tensor as it is, or (uint8 that does not fit the input) images."""
    if len(inputs) != 1:
        raise DataError(f"{source}: holds one array, but the model has {len(inputs)} inputs ({_listed(inputs)}); name "
                        "each one: --input NAME=FILE")
    info = inputs[0]
    image = preprocess is not None and a.dtype == np.uint8 and a.ndim in (2, 3)
    if a.dtype == info.dtype and (_fits(info.shape, a.shape) or (a.ndim == len(info.shape) and not image)):
        yield Sample(source, {info.name: a})
    elif a.dtype == info.dtype and _fits(info.shape, (1, *a.shape)):
        yield Sample(source, {info.name: a[None]})
    elif a.dtype != np.uint8:
        raise InputError(f"{source}: expected {info}; found {a.dtype}{list(a.shape)}")
    elif a.size == 0:
        raise DataError(f"{source}: expected at least one image; found {a.dtype}{list(a.shape)}")
    else:
        recipe = preprocess or guessed(info, source)
        if a.ndim == 4 or (a.ndim == 3 and a.shape[-1] not in (1, 3, 4)):
            for k, pixels in enumerate(a):
                yield Sample(f"{source}[{k}]", {info.name: recipe.apply(pixels, info.dtype)})
        else:
            yield Sample(source, {info.name: recipe.apply(a, info.dtype)})


def guessed(info: TensorInfo, source: str) -> Preprocess:
    """How an image becomes this input where the model does not say; DataError where its shape does not tell either."""
    recipe = Preprocess.guess(info.shape) if info.dtype == np.uint8 or info.dtype.kind == "f" else None
    if recipe is None:
        raise DataError(f"{source}: an image, but the model does not say how images become {info} (metadata "
                        "edgerun.preprocess); feed .npy tensors instead")
    pixels = "0..255" if info.dtype == np.uint8 else "scaled to 0..1"
    warnings.warn(f"the model does not say how images become {info} (metadata edgerun.preprocess); it is fed "
                  f"{recipe.color} pixels {pixels}", EdgeRunWarning, stacklevel=2)
    return recipe


def _fits(expected: Dims, shape: tuple[int, ...]) -> bool:
    return len(expected) == len(shape) and all(not isinstance(e, int) or e == s
                                               for e, s in zip(expected, shape, strict=True))
