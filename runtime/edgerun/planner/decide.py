"""The decision at an exit, as a pure function of plan data: stop here, or go on?

Executors run it, calibration searches with it; both must see the same rule (plan.Policy, DART Eq. 19).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgerun.planner.plan import Policy

NEVER = 2.0
"""A base threshold above 1 means "never leave here"; it is stored as this value and is not clipped."""


def score(values: np.ndarray, *, logits: bool, mix: float = 0.0, temperature: float = 1.0) -> tuple[int, float]:
    """(predicted class, score in [0, 1]) of one exit: (1 - mix) * max p + mix * (1 - H(p) / ln K).

    values: scores of the classes, any shape with `classes` elements, float32; logits: a softmax is still to be applied.
    p = softmax(z / temperature), z the logits, or the logarithm of the values. The lowest index wins ties; a NaN
    anywhere gives a NaN score, which no threshold lets stop.
    """
    p = np.asarray(values, np.float32).reshape(-1)
    predicted = int(np.argmax(p))
    with np.errstate(all="ignore"):
        if logits or temperature != 1.0:
            z = (p if logits else np.log(p)) / np.float32(temperature)
            e = np.exp(z - z.max())
            p = e / e.sum()
        if mix == 0.0:
            return predicted, float(p.max())
        if p.size < 2:
            return predicted, 1.0
        # p ln p tends to 0 with p; a NaN stays a NaN.
        plogp = np.where(p == 0, np.float32(0), p * np.log(p))
        certainty = 1.0 + float(plogp.sum()) / math.log(p.size)
        return predicted, (1.0 - mix) * float(p.max()) + mix * certainty


def exit_score(policy: Policy, exit_index: int, values: np.ndarray, *, logits: bool) -> tuple[int, float]:
    """`score` with the policy's mix (1 for kind "entropy") and its temperature at this exit (1 where it has none)."""
    mix = 1.0 if policy.kind == "entropy" else policy.mix
    temperature = policy.temperature[exit_index] if exit_index < len(policy.temperature) else 1.0
    return score(values, logits=logits, mix=mix, temperature=temperature)


def difficulty_bin(bin_edges: Sequence[float], alpha: float) -> int:
    """Index of alpha's bin: the number of (ascending, inner) edges that are <= alpha."""
    return sum(1 for e in bin_edges if alpha >= e)


def threshold(
    policy: Policy, exit_index: int, predicted: int, alpha: float, coeff: Sequence[Sequence[float]] = ()
) -> float:
    """The score that must be exceeded to stop at this exit, for the threshold policies.

    coeff: adaptive factors [exit][class] in place of policy.coeff; empty rows and exits mean 1.
    """
    if policy.kind == "dart" and policy.table:
        base = policy.table[exit_index][difficulty_bin(policy.bin_edges, alpha)]
    else:
        base = policy.thresholds[exit_index]
    if base > 1.0:
        return NEVER
    if policy.kind != "dart":
        return base
    rows = coeff or policy.coeff
    row = rows[exit_index] if exit_index < len(rows) else ()
    factor = row[predicted] if predicted < len(row) else 1.0
    return min(max(factor * base + policy.beta * alpha, 0.0), 1.0)


def should_stop(
    policy: Policy,
    exit_index: int,
    scores: Sequence[float],
    classes: Sequence[int],
    *,
    alpha: float = 0.0,
    elapsed_ns: int = 0,
    coeff: Sequence[Sequence[float]] = (),
) -> bool:
    """Whether a run stops at exit `exit_index` (never called for the last one).

    scores, classes: of the exits reached so far, this one last (see `score`). alpha: the input's difficulty in [0, 1].
    elapsed_ns: time since the run began.
    """
    if policy.kind == "none":
        return False
    if policy.kind == "patience":
        last = classes[-(policy.patience + 1):]
        return len(last) == policy.patience + 1 and len(set(last)) == 1
    if policy.kind == "deadline":
        return elapsed_ns + policy.segment_ns[exit_index + 1] > policy.budget_ns
    return scores[-1] > threshold(policy, exit_index, classes[-1], alpha, coeff)
