"""Attacks that put something genuine, or plain rubbish, in place of the features: no gradients.

inject   a genuine feature that the tail answers with the target class, intercepted before, takes the message's place: for statistics of
         the features alone it IS benign; only what else the message says (signature, sequence number, the device's own early answer) can
         tell. blend: the least share of it (of SHARES) that the tail still answers so, the rest of what was sent.
replay   a genuine message of any class, sent before, sent again.
random   every element replaced by a number drawn uniformly from the benign range's middle 99 %.
impulse  10 % of the elements set to the ends of the benign range.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun_tools.detect.context import AttackContext, register

Array = np.ndarray[Any, Any]
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
IMPULSES = 0.1


def _genuine(context: AttackContext, target: Array, rng: np.random.Generator) -> Array:
    """One feature of the pool for each wanted class, [n, …]."""
    return context.pool[np.array([rng.choice(context.of_class(int(t))) for t in target], np.int64)]


@register("inject", "target")
def inject(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    return _genuine(context, target, rng).copy()


@register("blend", "target")
def blend(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    genuine, found = _genuine(context, target, rng), x.copy()
    left = np.arange(len(x))
    for share in SHARES:
        found[left] = np.float32(1 - share) * x[left] + np.float32(share) * genuine[left]
        left = left[context.tail.predict(found[left]) != target[left]] if len(left) else left
    return found


@register("replay", "harm")
def replay(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    return context.pool[rng.integers(0, len(context.pool), len(x))].copy()


@register("random", "harm")
def random(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    return np.asarray(rng.uniform(context.reference.low, context.reference.high, x.shape), np.float32)


@register("impulse", "harm")
def impulse(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    hit, up = rng.random(x.shape) < IMPULSES, rng.random(x.shape) < 0.5
    ends = np.where(up, np.float32(context.reference.greatest), np.float32(context.reference.least))
    return np.where(hit, ends, x).astype(np.float32)
