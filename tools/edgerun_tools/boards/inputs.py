"""Inputs of a firmware as arrays: checked, in the order of the function's arguments, and as the bytes of in.bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgerun.errors import InputError
from edgerun_tools.boards.manifest import Firmware, Tensor

Feed = Mapping[str, np.ndarray] | Sequence[np.ndarray] | np.ndarray
"""One array a input by name or in order; with one input, the array alone. [samples, *shape], or [*shape] for one sample; a leading
1 of the shape may be left out."""


def samples_of(firmware: Firmware, feed: Feed) -> list[np.ndarray]:
    """One array [samples, elements] an input, in the manifest's dtype. InputError names what does not fit; values are never cast."""
    if isinstance(feed, np.ndarray):
        feed = [feed]
    if isinstance(feed, Mapping):
        names = [t.name for t in firmware.inputs]
        if set(feed) != set(names):
            raise InputError(f"{firmware.prefix}: expected inputs {', '.join(names)}; found {', '.join(feed) or 'none'}")
        feed = [feed[n] for n in names]
    if len(feed) != len(firmware.inputs):
        raise InputError(f"{firmware.prefix}: expected {len(firmware.inputs)} inputs; found {len(feed)}")
    found = [_rows(t, np.asarray(a)) for t, a in zip(firmware.inputs, feed, strict=True)]
    counts = {len(a) for a in found}
    if len(counts) > 1:
        raise InputError(f"{firmware.prefix}: expected as many samples of every input; found {sorted(counts)}")
    return found


def _rows(tensor: Tensor, given: np.ndarray) -> np.ndarray:
    if given.dtype != tensor.dtype:
        raise InputError(f"input {tensor.name}: expected {tensor.dtype}, found {given.dtype}")
    shapes = {tensor.shape, tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape}
    one = given.shape in shapes
    if not one and given.shape[1:] not in shapes:
        raise InputError(f"input {tensor.name}: expected {list(tensor.shape)}, or several of them; found {list(given.shape)}")
    return np.ascontiguousarray(given).reshape(1 if one else len(given), tensor.elements)


def random_samples(firmware: Firmware, count: int, seed: int) -> list[np.ndarray]:
    """Numbers to count instructions with: normal for floats, the whole range for integers."""
    rng = np.random.default_rng(seed)
    return [_random(rng, t.dtype, (count, t.elements)) for t in firmware.inputs]


def _random(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, int]) -> np.ndarray:
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    limits: Any = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def as_bytes(samples: Sequence[np.ndarray]) -> bytes:
    """The inputs in in.bin: the samples one after the other, each with all its inputs, little endian."""
    if not samples:
        return b""
    rows = zip(*(a.astype(a.dtype.newbyteorder("<"), copy=False) for a in samples), strict=True)
    return b"".join(part.tobytes() for row in rows for part in row)
