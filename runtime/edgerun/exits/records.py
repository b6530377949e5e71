"""What a model's exits said about labelled images: the raw material of every calibration.

Scores follow `planner.plan.Policy`: p = softmax(z / T_i), s_i = (1 - mix) * max p + mix * (1 - H(p) / log K).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgerun.errors import PolicyError

Array = NDArray[np.float64]

SCORE_STEP = 2.0**-16
"""Scores and the thresholds between them are told apart in steps of this. Many scores lie near 1, about as many in each
decade of 1 - s; a threshold there would be decided by the rounding of a float32 softmax, some 1e-7."""


@dataclass(frozen=True)
class Records:
    """N images seen by E exits of a K-class model.

    logits: float [E,N,K] (log-probabilities where the exit ends in a softmax); labels: int [N]; alpha: float [N],
    difficulty in [0,1]; costs: [E], the cost of a run that leaves at each exit, cumulative, costs[-1] = 1.
    """

    logits: Array
    labels: NDArray[np.int64]
    alpha: Array
    costs: Array

    def __post_init__(self) -> None:
        if self.logits.ndim != 3 or self.logits.shape[0] < 2:
            raise PolicyError(f"records: expected logits [exits >= 2, images, classes], found {self.logits.shape}")
        e, n, _ = self.logits.shape
        if self.labels.shape != (n,) or self.alpha.shape != (n,) or self.costs.shape != (e,):
            raise PolicyError(f"records: expected labels [{n}], alpha [{n}], costs [{e}], found {self.labels.shape}, "
                              f"{self.alpha.shape}, {self.costs.shape}")
        if not np.isfinite(self.logits).all():
            raise PolicyError("records: expected finite logits, found NaN or infinity: check the model's preprocessing")

    @property
    def exits(self) -> int:
        return int(self.logits.shape[0])

    def __len__(self) -> int:
        return int(self.logits.shape[1])

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class answered at each exit, [E,N]."""
        return np.asarray(self.logits.argmax(axis=2))

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each exit's answer is the label, [E,N]."""
        return np.asarray(self.predicted == self.labels)

    def rightness(self, trust: float = 0.5) -> Array:
        """How right each exit's answer is, [E,N] in [0,1]: trust * (it is the label) + (1 - trust) * q(it), with q the last
        exit's probabilities after temperature fitting. Errors are few, so thresholds fitted on labels alone follow single
        images; q says the same on average (it is calibrated) and says it for every image."""
        last = self.logits[-1] / _temperature(self.logits[-1], self.labels)
        q = softmax(last)
        soft = np.stack([q[np.arange(len(self)), k] for k in self.predicted])
        return np.asarray(trust * self.correct + (1 - trust) * soft)

    def scores(self, mix: float = 0.0, temperature: Sequence[float] = ()) -> Array:
        """Confidence s of each exit, [E,N], in [0,1]; an empty `temperature` is 1 everywhere. Rounded to SCORE_STEP: scores that
        differ less are one to executors, who decide in float32, and must not look different to the search."""
        t = np.asarray(temperature or [1.0] * self.exits, np.float64)[:, None, None]
        p = softmax(self.logits / t)
        best = p.max(axis=2)
        if mix == 0:
            return _on_steps(best)
        entropy = -np.sum(p * np.log(np.maximum(p, 1e-300)), axis=2)
        score = (1 - mix) * best + mix * (1 - entropy / np.log(p.shape[2]))
        return _on_steps(score)

    def take(self, index: NDArray[np.int64]) -> Records:
        """The records of some of the images."""
        return replace(self, logits=self.logits[:, index], labels=self.labels[index], alpha=self.alpha[index])


def _on_steps(score: Array) -> Array:
    return np.asarray(np.round(score / SCORE_STEP) * SCORE_STEP)


def softmax(z: Array) -> Array:
    """Softmax over the last axis, in float64, shifted by the maximum."""
    e = np.exp(np.asarray(z, np.float64) - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def folds(n: int, k: int, seed: int = 0) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """`k` pairs (fit, held out) of index arrays over n records; every record is held out once."""
    order = np.random.default_rng(seed).permutation(n)
    for part in np.array_split(order, k):
        yield np.setdiff1d(order, part), np.sort(part)


def temperatures(records: Records) -> tuple[float, ...]:
    """Temperature of each exit that minimises the cross-entropy of its answers (Guo et al. 2017, arXiv 1706.04599).

    Golden-section search over log T in [1/16, 16]; cross-entropy is convex in 1/T, so the search cannot get stuck.
    """
    return tuple(_temperature(z, records.labels) for z in records.logits)


def _temperature(z: Array, y: NDArray[np.int64]) -> float:
    z = np.asarray(z, np.float64) - z.max(axis=1, keepdims=True)
    own = z[np.arange(len(y)), y]

    def loss(log_t: float) -> float:
        scale = np.exp(-log_t)
        return float(np.mean(np.log(np.exp(z * scale).sum(axis=1)) - own * scale))

    low, high, ratio = -np.log(16.0), np.log(16.0), (np.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    loss_a, loss_b = loss(a), loss(b)
    while high - low > 5e-3:
        if loss_a < loss_b:
            high, b, loss_b = b, a, loss_a
            a = high - ratio * (high - low)
            loss_a = loss(a)
        else:
            low, a, loss_a = a, b, loss_b
            b = low + ratio * (high - low)
            loss_b = loss(b)
    return float(np.exp((low + high) / 2))
