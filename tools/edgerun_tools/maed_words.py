"""MAED's eight fault models on floating-point words, after the authors' simulation (arXiv 2603.18120, Simulation/main.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MODELS = ("skip", "flip", "stuck-at-1", "stuck-at-0", "burst flip", "burst stuck-at-1", "burst stuck-at-0", "alter")
BITS = (2, 5)
"""Bits that a fault strikes in one word; skip and alter take the whole word."""
WHOLE = ("skip", "alter")
MANTISSA: dict[Any, int] = {np.dtype(np.float32): 23, np.dtype(np.float64): 52}
_WORD: dict[Any, Any] = {np.dtype(np.float32): np.dtype(np.uint32), np.dtype(np.float64): np.dtype(np.uint64)}


def cases() -> list[tuple[str, int]]:
    """(model, bits) of every case; bits are 0 for the models that take the whole word."""
    return [(m, b) for m in MODELS for b in ((0,) if m in WHOLE else BITS)]


def corrupt(values: Array, model: str, bits: int, rng: np.random.Generator, *, width: int = 0) -> Array:
    """A copy of the float32 or float64 array with one fault in each value.

    bits strike the low `width` bits of the word, by default the mantissa, as in the paper. Random bits are drawn with replacement
    (as there), so two flips may cancel; a burst lies within the width. "alter" is a normal deviate times the value's power of ten.
    """
    if model not in MODELS:
        raise ValueError(f"model: expected one of {', '.join(MODELS)}; found {model!r}")
    if model == "skip":
        return np.zeros_like(values)
    if model == "alter":
        with np.errstate(divide="ignore"):
            decade = np.where(values == 0, 0.0, 10.0 ** np.floor(np.log10(np.abs(values.astype(np.float64)))))
        return np.asarray(rng.standard_normal(values.shape) * decade, values.dtype)
    width = width or MANTISSA[values.dtype]
    word = _WORD[values.dtype]
    if model.startswith("burst"):
        start = rng.integers(0, width - bits + 1, values.shape).astype(word)
        mask = np.left_shift(word.type((1 << bits) - 1), start)
        return _strike(values, model.removeprefix("burst "), mask, word)
    struck = values
    for _ in range(bits):
        mask = np.left_shift(word.type(1), rng.integers(0, width, values.shape).astype(word))
        struck = _strike(struck, model, mask, word)
    return struck


def _strike(values: Array, how: str, mask: Array, word: np.dtype[Any]) -> Array:
    raw = np.ascontiguousarray(values).view(word)
    struck = raw ^ mask if how == "flip" else raw | mask if how == "stuck-at-1" else raw & ~mask
    return np.asarray(struck, word).view(values.dtype)
