"""How hard an input is, from its pixels alone (DART, arXiv 2603.12269, Eq. 1-8), scaled batch-independently.

    gray  = 0.299 R + 0.587 G + 0.114 B          (one channel: itself), pixels in [0,1], borders replicated
    edge  = share of pixels with sqrt(Gx^2 + Gy^2) > tau_edge            (Sobel 3x3, not normalised)
    var   = mean over channels of the spatial variance
    lap   = mean |gray * [[0,-1,0],[-1,4,-1],[0,-1,0]]|
    alpha = clip(sum_j w_j * clip((v_j - low_j) / (high_j - low_j), 0, 1), 0, 1)

The paper leaves tau_edge and the scaling open. Here tau_edge = mean + 1 std of the Sobel magnitude over the
calibration images, and low/high are the 1 % and 99 % quantiles of each component on them: constants, so an image has
the same alpha alone and in any company. Kernel `difficulty_f32` computes the same at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgerun.errors import PolicyError
from edgerun.exits.records import Array, folds

Three = tuple[float, float, float]
PAPER_WEIGHTS: Three = (0.4, 0.3, 0.3)
GRAY: Three = (0.299, 0.587, 0.114)
_BATCH_VALUES = 2_000_000
"""Pixel values converted to float64 at a time."""


@dataclass(frozen=True)
class DifficultyConfig:
    """Frozen constants of the estimate; component order: edge, variance, laplacian. high > low in every component."""

    tau_edge: float
    low: Three
    high: Three
    weights: Three = PAPER_WEIGHTS

    def alpha(self, components: Array) -> Array:
        """Difficulty of raw components [N,3] → [N] in [0,1]."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        scaled = np.clip((np.asarray(components, np.float64) - low) / (high - low), 0.0, 1.0)
        return np.asarray(np.clip(sum(w * scaled[:, j] for j, w in enumerate(self.weights)), 0.0, 1.0))


def fit(images: NDArray[np.generic], weights: Three = PAPER_WEIGHTS) -> DifficultyConfig:
    """Constants from calibration images: uint8 or float pixels in [0,1], [N,H,W,C] with 1 or 3 channels."""
    _check(images)
    total, squares, count = 0.0, 0.0, 0
    for batch in _batches(images):
        g = _sobel(_gray(batch))
        total, squares, count = total + float(g.sum()), squares + float((g * g).sum()), count + g.size
    mean = total / count
    tau = mean + float(np.sqrt(max(squares / count - mean * mean, 0.0)))
    raw = components(images, tau)
    low, high = np.quantile(raw, 0.01, axis=0), np.quantile(raw, 0.99, axis=0)
    high = np.maximum(high, low + 1e-6)  # a component that never varies says nothing, and must not divide by zero
    return DifficultyConfig(tau, _three(low), _three(high), weights)


def components(images: NDArray[np.generic], tau_edge: float) -> Array:
    """Raw (edge, variance, laplacian) of each image, float64 [N,3]; images as in `fit`."""
    _check(images)
    rows = []
    for batch in _batches(images):
        gray = _gray(batch)
        channels = [np.ascontiguousarray(batch[..., c]).reshape(len(batch), -1) for c in range(batch.shape[-1])]
        variance = sum(c.var(axis=1) for c in channels) / len(channels)
        edge, laplacian = _sobel(gray) > tau_edge, np.abs(_laplacian(gray))
        rows.append(np.stack([edge.reshape(len(batch), -1).mean(axis=1), variance,
                              laplacian.reshape(len(batch), -1).mean(axis=1)], axis=1))
    return np.concatenate(rows)


def search_weights(config: DifficultyConfig, raw: Array, wrong: NDArray[np.bool_], *, tries: int = 300, seed: int = 0,
                   progress: Callable[[int, int], None] | None = None) -> tuple[DifficultyConfig, float, float]:
    """Weights under which alpha best ranks the images that the first exit gets wrong.

    raw: components [N,3]; wrong: bool [N]. Random search on the simplex; each candidate's AUC is averaged over five
    folds for the choice, and the choice made on four folds must beat the paper's weights on the fifth by more than one
    standard error, otherwise the paper's stay. Returns (config, AUC held out, AUC of the given weights).
    """
    if not 0 < wrong.sum() < len(wrong):
        return config, 0.5, 0.5
    rng = np.random.default_rng(seed)
    candidates = [np.asarray(config.weights), *rng.dirichlet(np.ones(3), tries), *np.eye(3)]
    span = np.asarray(config.high) - np.asarray(config.low)
    scaled = np.clip((raw - np.asarray(config.low)) / span, 0.0, 1.0)
    parts = [held for _, held in folds(len(wrong), 5, seed)]
    table = np.empty((len(candidates), len(parts)))
    for c, w in enumerate(candidates):
        table[c] = [auc(scaled[p] @ w, wrong[p]) for p in parts]
        if progress:
            progress(c + 1, len(candidates))
    chosen = [int(np.argmax(np.delete(table, f, axis=1).mean(axis=1))) for f in range(len(parts))]
    gain = np.array([table[c, f] - table[0, f] for f, c in enumerate(chosen)])
    held, given = float(np.mean([table[c, f] for f, c in enumerate(chosen)])), float(table[0].mean())
    if gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):
        return config, given, given
    best = candidates[int(np.argmax(table.mean(axis=1)))]
    return DifficultyConfig(config.tau_edge, config.low, config.high, _three(best)), held, given


def auc(score: Array, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive outranks a negative (ties count half); 0.5 when one of the groups is empty."""
    n = int(positive.sum())
    if n in (0, len(positive)):
        return 0.5
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def _check(images: NDArray[np.generic]) -> None:
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0:
        raise PolicyError(f"difficulty: expected images [N >= 1,H,W,1 or 3], found {list(images.shape)}")


def _batches(images: NDArray[np.generic]) -> Iterator[Array]:
    """float64 pixels in [0,1], some images at a time."""
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    step = max(1, _BATCH_VALUES // int(np.prod(images.shape[1:])))
    for i in range(0, len(images), step):
        yield np.asarray(images[i:i + step], np.float64) / scale


def _gray(x: Array) -> Array:
    r, g, b = GRAY
    gray = x[..., 0] if x.shape[-1] == 1 else r * x[..., 0] + g * x[..., 1] + b * x[..., 2]
    return np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")


def _sobel(p: Array) -> Array:
    """Gradient magnitude [N,H,W] of padded gray images [N,H+2,W+2]."""
    gx = (p[:, :-2, 2:] - p[:, :-2, :-2]) + 2 * (p[:, 1:-1, 2:] - p[:, 1:-1, :-2]) + (p[:, 2:, 2:] - p[:, 2:, :-2])
    gy = (p[:, 2:, :-2] - p[:, :-2, :-2]) + 2 * (p[:, 2:, 1:-1] - p[:, :-2, 1:-1]) + (p[:, 2:, 2:] - p[:, :-2, 2:])
    return np.asarray(np.sqrt(gx * gx + gy * gy))


def _laplacian(p: Array) -> Array:
    return 4 * p[:, 1:-1, 1:-1] - p[:, :-2, 1:-1] - p[:, 2:, 1:-1] - p[:, 1:-1, :-2] - p[:, 1:-1, 2:]


def _three(v: NDArray[np.generic]) -> Three:
    return float(v[0]), float(v[1]), float(v[2])
