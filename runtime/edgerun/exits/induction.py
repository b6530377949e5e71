"""Joint thresholds by backward induction over (exit, difficulty bin, confidence bin) (DART, arXiv 2603.12269, Eq. 10-12).

The reward is the paper's objective J = sum_i pi_i (A_i - beta_opt C_i) taken apart by state:

    Q_exit(i,a,k) = P(correct | i,a,k) - beta_opt C_i
    Q_cont(i,a,k) = sum_k' P(k' at i+1 | k at i, a) V(i+1,a,k')        V = max(Q_exit, Q_cont), last exit: V = Q_exit

with every probability counted on the calibration split and gamma = 1, so that the value equals J. (The authors' published
code rewards leaving without looking at confidence or difficulty and therefore leaves everywhere; it is not followed.)
A sample's difficulty never changes, so a is constant along its way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgerun.exits.records import Array
from edgerun.planner.decide import NEVER

CONF_QUANTILES = tuple(q / 10 for q in range(1, 10))
_PRIOR = 2.0
"""Weight, in samples, of the estimate that a bin falls back on where it has few of its own."""


@dataclass(frozen=True)
class Chances:
    """Counted probabilities. correct[i,a,k]; move[i,a,k,k'] (exit i → i+1); conf_edges[i,k] inner edges of the
    confidence bins; alpha_edges inner edges, alpha_mean[a], alpha_share[a] of the difficulty bins; weight[i,a,k] samples."""

    correct: Array
    move: Array
    weight: Array
    conf_edges: Array
    alpha_edges: Array
    alpha_mean: Array
    alpha_share: Array


def count(scores: Array, correct: Array, alpha: Array, alpha_bins: int = 6) -> Chances:
    """Estimate the chances from scores [E,N], correct [E,N] (0 or 1, or a probability), alpha [N].

    Bins are quantile bins. Laplace smoothing with back-off: a cell of few samples leans on the same confidence bin over
    all difficulties, which leans on the exit's mean. P(correct) is then made non-decreasing in confidence.
    """
    exits, n = scores.shape
    conf_edges = np.quantile(scores, CONF_QUANTILES, axis=1).T
    alpha_edges = np.unique(np.quantile(alpha, np.arange(1, alpha_bins) / alpha_bins))
    a = np.searchsorted(alpha_edges, alpha, side="right")
    k = np.stack([np.searchsorted(conf_edges[i], scores[i], side="left") for i in range(exits)])
    n_a, n_k = len(alpha_edges) + 1, conf_edges.shape[1] + 1
    p = np.empty((exits, n_a, n_k))
    weight = np.zeros((exits, n_a, n_k))
    move = np.empty((exits - 1, n_a, n_k, n_k))
    for i in range(exits):
        hits = np.zeros((n_a, n_k))
        np.add.at(hits, (a, k[i]), correct[i])
        np.add.at(weight[i], (a, k[i]), 1.0)
        over_all = (hits.sum(0) + _PRIOR * correct[i].mean()) / (weight[i].sum(0) + _PRIOR)
        p[i] = (hits + _PRIOR * over_all) / (weight[i] + _PRIOR)
        p[i] = np.stack([isotonic(row, w + 1e-9) for row, w in zip(p[i], weight[i], strict=True)])
        if i + 1 < exits:
            steps = np.zeros((n_a, n_k, n_k))
            np.add.at(steps, (a, k[i], k[i + 1]), 1.0)
            pooled = (steps.sum(0) + 1.0 / n_k) / (steps.sum(0).sum(-1, keepdims=True) + 1.0)
            move[i] = (steps + _PRIOR * pooled) / (steps.sum(-1, keepdims=True) + _PRIOR)
    mean = np.array([alpha[a == b].mean() if (a == b).any() else 0.0 for b in range(n_a)])
    return Chances(p, move, weight, conf_edges, alpha_edges, mean, np.bincount(a, minlength=n_a) / n)


def solve(chances: Chances, costs: Array, beta_opt: float) -> tuple[Array, float]:
    """Optimal thresholds tau [E-1,A] and the value J of following them.

    tau[i,a] is the lower edge of the first confidence bin from which leaving is best, also in every bin above it: 0 when
    that is the lowest bin, NEVER when there is none.
    """
    exits, n_a, n_k = chances.correct.shape
    value = chances.correct[-1] - beta_opt * costs[-1]
    tau = np.full((exits - 1, n_a), NEVER)
    for i in range(exits - 2, -1, -1):
        stay = chances.correct[i] - beta_opt * costs[i]
        go = np.einsum("akl,al->ak", chances.move[i], value)
        leave = np.logical_and.accumulate((stay >= go)[:, ::-1], axis=1)[:, ::-1]
        lower = np.concatenate([[0.0], chances.conf_edges[i]])
        for a in range(n_a):
            first = n_k - int(leave[a].sum())
            if first < n_k:
                tau[i, a] = lower[first]
        value = np.where(leave, stay, go)
    start = chances.weight[0] / chances.weight[0].sum()
    return tau, float((start * value).sum())


def fit_line(tau: Array, chances: Chances) -> tuple[Array, float]:
    """Base thresholds [E-1] and one shared slope beta >= 0 with tau[i,a] ≈ base_i + beta * mean alpha of bin a (Eq. 19).

    Weighted least squares; the weight of a bin is its share of samples. "Never" counts as 1, or makes the whole exit
    NEVER where it holds in every bin.
    """
    w, x = chances.alpha_share, chances.alpha_mean
    closed = (tau > 1.0).all(axis=1)
    y = np.minimum(tau, 1.0)
    x_mean = float(w @ x)
    y_mean = y @ w
    spread = float(w @ (x - x_mean) ** 2) * int((~closed).sum())
    slope = float(((y[~closed] - y_mean[~closed, None]) * (x - x_mean) * w).sum()) / spread if spread > 0 else 0.0
    slope = max(slope, 0.0)
    return np.where(closed, NEVER, np.clip(y_mean - slope * x_mean, 0.0, 1.0)), slope


def isotonic(values: Array, weights: Array) -> Array:
    """Closest non-decreasing sequence in weighted least squares (pool adjacent violators)."""
    level: list[list[float]] = []  # mean, weight, length
    for v, w in zip(values, weights, strict=True):
        level.append([float(v), float(w), 1.0])
        while len(level) > 1 and level[-2][0] > level[-1][0]:
            v2, w2, n2 = level.pop()
            v1, w1, n1 = level[-1]
            level[-1] = [(v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2]
    return np.concatenate([np.full(int(length), mean) for mean, _, length in level])
