"""Where a policy would have left, on records: the executors' rule (`planner.plan.Policy`), for many images at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgerun.errors import PolicyError
from edgerun.exits.records import Array, Records
from edgerun.planner.decide import NEVER
from edgerun.planner.plan import Policy


@dataclass(frozen=True)
class Outcome:
    """What a policy does to a set of records.

    leave: int [N], index of the exit taken; correct: bool [N]; accuracy in [0,1]; cost: mean cost, last exit = 1;
    shares: [E], fraction of images that leave at each exit.
    """

    leave: NDArray[np.int64]
    correct: NDArray[np.bool_]
    accuracy: float
    cost: float
    shares: tuple[float, ...]


def simulate(policy: Policy, records: Records) -> Outcome:
    """Apply a policy to records. `deadline` depends on the clock and cannot be simulated (PolicyError)."""
    return outcome(leave_at(policy, records), records)


def outcome(leave: NDArray[np.int64], records: Records) -> Outcome:
    """Accuracy and cost when image n leaves at exit leave[n]."""
    correct = records.correct[leave, np.arange(len(records))]
    shares = np.bincount(leave, minlength=records.exits) / len(records)
    return Outcome(leave, correct, float(correct.mean()), float(records.costs[leave].mean()), tuple(map(float, shares)))


def leave_at(policy: Policy, records: Records) -> NDArray[np.int64]:
    """Exit that each image leaves at, int [N]."""
    if policy.kind == "deadline":
        raise PolicyError("policy deadline: depends on the clock, so it can be measured but not simulated on records")
    if policy.kind == "patience":
        stop = _patient(records.predicted, policy.patience)
    elif policy.kind == "none":
        stop = np.zeros((records.exits - 1, len(records)), bool)
    else:
        mix = 1.0 if policy.kind == "entropy" else policy.mix
        scores = records.scores(mix, policy.temperature)[:-1]
        stop = scores > effective(policy, records.predicted[:-1], records.alpha)
    last = np.ones((1, stop.shape[1]), bool)
    return np.asarray(np.argmax(np.concatenate([stop, last]), axis=0))


def effective(policy: Policy, predicted: NDArray[np.int64], alpha: Array) -> Array:
    """Threshold that each image meets at each early exit, [E-1,N]; predicted [E-1,N], alpha [N] (DART Eq. 19)."""
    early, n = predicted.shape
    if policy.kind != "dart":
        return np.broadcast_to(np.asarray(policy.thresholds, np.float64)[:, None], (early, n))
    if policy.table:
        column = np.searchsorted(np.asarray(policy.bin_edges), alpha, side="right")
        base = np.asarray(policy.table, np.float64)[:, column]
    else:
        base = np.repeat(np.asarray(policy.thresholds, np.float64)[:, None], n, axis=1)
    scaled = base
    if policy.coeff:
        scaled = np.take_along_axis(np.asarray(policy.coeff, np.float64), predicted, axis=1) * base
    clipped = np.clip(scaled + policy.beta * alpha, 0.0, 1.0)
    return np.where(base > 1.0, NEVER, clipped)


def _patient(predicted: NDArray[np.int64], patience: int) -> NDArray[np.bool_]:
    """Whether the last `patience` + 1 exits agree, for each early exit, [E-1,N]."""
    stop = np.zeros((predicted.shape[0] - 1, predicted.shape[1]), bool)
    streak = np.zeros(predicted.shape[1], np.int64)
    for i in range(1, predicted.shape[0] - 1):
        streak = np.where(predicted[i] == predicted[i - 1], streak + 1, 0)
        stop[i] = streak >= patience
    return stop
