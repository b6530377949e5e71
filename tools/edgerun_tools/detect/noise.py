"""What the environment does to features on their way: noise that is not an attack, and must not look like one.

    kind       what happens to a tensor                                                       none  low    mid    high
    alpha      symmetric alpha-stable noise (a = 1.5) on a share of the elements:      share  0     0.02   0.05   0.1
               impulsive, without a variance                                           gamma  0     0.25   0.5    1
    gaussian   normal noise on every element                                           sigma  0     0.1    0.25   0.5
    loss       packets of 1,400 bytes of the payload that never come, read as zeros    each   0     0.02   0.08   0.2
    laplace    noise of Laplace's distribution on every element                        sigma  0     0.1    0.25   0.5
    drift      gain and every channel's offset off by a normal share, then rounded     share  0     0.03   0.08   0.15
               to few bits of the sample's range                                       bits   -     8      6      5
    bursts     runs of 16 elements stuck at the 0.5 % or 99.5 % quantile               share  0     0.005  0.015  0.04

gamma, sigma and the offset's share are in units of the benign features' robust scale, quantiles are theirs (`Reference`). `TRAINED` kinds
may be shown to a detector in training; `HELD_OUT` ones are for measuring what it does about noise that it has not met, and must not be.

Alpha-stable noise: Chambers, Mallows, Stuck 1976, "A method for simulating stable random variables", JASA 71; with U uniform on
(-pi/2, pi/2) and W exponential of mean 1, X = sin(aU) / cos(U)^(1/a) (cos(U - aU) / W)^((1-a)/a). a = 2 gives a normal of variance 2, a = 1
Cauchy's distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import InputError, OptionError

Array = np.ndarray[Any, Any]
STRENGTHS = ("none", "low", "mid", "high")
ALPHA = 1.5
PACKET = 1400
"""Bytes of payload in a packet: what an Ethernet frame of 1,500 leaves after the headers of IP, TCP and TLS."""
BURST = 16
"""Elements of a run that is stuck: 64 bytes of float32, a line of cache or of a memory's row buffer."""


@dataclass(frozen=True)
class Reference:
    """What benign features are like, measured on clean ones of the training split.

    scale: their robust scale, the standard deviation after everything outside the 0.5 % and 99.5 % quantiles was moved to them (the median
    absolute deviation is 0 behind a ReLU, where most elements are). low, high: these quantiles. least, greatest: the ends of the range."""

    scale: float
    low: float
    high: float
    least: float
    greatest: float

    @staticmethod
    def of(benign: Array) -> Reference:
        """benign [N, …] float32. InputError where they are empty, not finite or all the same."""
        if benign.size == 0 or not np.isfinite(benign).all():
            raise InputError(f"benign features: expected finite numbers; found {benign.size} elements, "
                             f"{int((~np.isfinite(benign)).sum())} of them not finite")
        flat = benign.reshape(-1)
        few = flat[:: max(1, flat.size // 4_000_000)]  # quantiles of 4 million are those of all
        a, b = np.quantile(few, [0.005, 0.995])
        scale = float(np.std(np.clip(few, a, b), dtype=np.float64))
        if scale == 0.0:
            raise InputError("benign features: expected more than one value; found the same everywhere")
        return Reference(scale, float(a), float(b), float(flat.min()), float(flat.max()))


def alpha_stable(alpha: float, size: int, rng: np.random.Generator) -> Array:
    """`size` standard symmetric alpha-stable numbers (gamma 1, delta 0), float64. OptionError unless 0 < alpha <= 2."""
    if not 0 < alpha <= 2:
        raise OptionError(f"alpha: expected a number in (0, 2]; found {alpha}")
    u = rng.uniform(-np.pi / 2, np.pi / 2, size)
    if alpha == 1:
        return np.tan(u)
    w = rng.standard_exponential(size)
    return np.sin(alpha * u) / np.cos(u) ** (1 / alpha) * (np.cos(u - alpha * u) / w) ** ((1 - alpha) / alpha)


def apply(x: Array, kind: str, strength: str, reference: Reference, rng: np.random.Generator, element_bytes: int = 4) -> Array:
    """Features as they arrive: x float32 [N, …] (each sample a message) under noise of one kind and strength; a new array.

    element_bytes: of the encoding that travels (4: fp32, 2: fp16, 1: int8), which decides how many elements are lost with a packet."""
    if kind not in _KINDS or strength not in STRENGTHS:
        raise OptionError(f"noise: expected one of {', '.join(_KINDS)} and one of {', '.join(STRENGTHS)}; found {kind!r}, {strength!r}")
    out = np.array(x, np.float32, order="C")
    if strength == "none" or not len(out):
        return out
    level = STRENGTHS.index(strength) - 1
    return _KINDS[kind](out, level, reference, rng, max(1, PACKET // element_bytes))


def mixture(x: Array, reference: Reference, rng: np.random.Generator, kinds: Sequence[str] | None = None,
            strengths: Sequence[str] = STRENGTHS, element_bytes: int = 4) -> Array:
    """As `apply`, each sample under a kind (default: those of `TRAINED`) and a strength of its own, drawn uniformly."""
    kinds = TRAINED if kinds is None else kinds
    out = np.array(x, np.float32, order="C")
    which = rng.integers(0, len(kinds), len(out)), rng.integers(0, len(strengths), len(out))
    for i, kind in enumerate(kinds):
        for j, strength in enumerate(strengths):
            chosen = np.flatnonzero((which[0] == i) & (which[1] == j))
            out[chosen] = apply(out[chosen], kind, strength, reference, rng, element_bytes)
    return out


def _alpha(x: Array, level: int, reference: Reference, rng: np.random.Generator, _elements: int) -> Array:
    share, gamma = ((0.02, 0.25), (0.05, 0.5), (0.1, 1.0))[level]
    flat = x.reshape(-1)
    hit = np.flatnonzero(rng.random(flat.size, np.float32) < share)
    noise = gamma * reference.scale * alpha_stable(ALPHA, hit.size, rng)
    flat[hit] += np.clip(noise, -1e30, 1e30).astype(np.float32)  # tails without a variance stay within float32
    return x


def _gaussian(x: Array, level: int, reference: Reference, rng: np.random.Generator, _elements: int) -> Array:
    return x + np.float32((0.1, 0.25, 0.5)[level] * reference.scale) * rng.standard_normal(x.shape, np.float32)


def _laplace(x: Array, level: int, reference: Reference, rng: np.random.Generator, _elements: int) -> Array:
    sigma = (0.1, 0.25, 0.5)[level] * reference.scale
    return x + rng.laplace(0.0, sigma / np.sqrt(2), x.shape).astype(np.float32)


def _loss(x: Array, level: int, _reference: Reference, rng: np.random.Generator, elements: int) -> Array:
    rows = x.reshape(len(x), -1)
    lost = rng.random((len(x), -(-rows.shape[1] // elements))) < (0.02, 0.08, 0.2)[level]
    rows[np.repeat(lost, elements, axis=1)[:, :rows.shape[1]]] = 0
    return x


def _drift(x: Array, level: int, reference: Reference, rng: np.random.Generator, _elements: int) -> Array:
    by, bits = ((0.03, 8), (0.08, 6), (0.15, 5))[level]
    channels = x.reshape(len(x), x.shape[1] if x.ndim > 2 else 1, -1)
    gain = 1 + by * rng.standard_normal((len(x), 1, 1), np.float32)
    offset = by * reference.scale * rng.standard_normal((*channels.shape[:2], 1), np.float32)
    moved = channels * gain + offset
    low, high = moved.min((1, 2), keepdims=True), moved.max((1, 2), keepdims=True)
    step = np.maximum((high - low) / (2 ** bits - 1), np.float32(1e-30))
    return (low + step * np.rint((moved - low) / step)).astype(np.float32).reshape(x.shape)


def _bursts(x: Array, level: int, reference: Reference, rng: np.random.Generator, _elements: int) -> Array:
    rows = x.reshape(len(x), -1)
    runs = -(-rows.shape[1] // BURST)
    hit = np.repeat(rng.random((len(x), runs)) < (0.005, 0.015, 0.04)[level], BURST, axis=1)[:, :rows.shape[1]]
    stuck = np.repeat(np.where(rng.random((len(x), runs)) < 0.5, reference.low, reference.high), BURST, axis=1)[:, :rows.shape[1]]
    rows[hit] = stuck[hit].astype(np.float32)
    return x


_KINDS: dict[str, Callable[[Array, int, Reference, np.random.Generator, int], Array]] = {
    "alpha": _alpha, "gaussian": _gaussian, "loss": _loss, "laplace": _laplace, "drift": _drift, "bursts": _bursts}
TRAINED = ("alpha", "gaussian", "loss")
HELD_OUT = ("laplace", "drift", "bursts")
