"""What an attacker on the way between the parts has in hand, and the attacks' registry.

An attack is `attack(context, x, target, rng) -> x_adv`: x float32 [n, …] the features that the device sent, target int64 [n] the class that
the server is to answer, rng the only source of chance, x_adv float32 [n, …] what the server gets. Batches are the attack's own business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgerun.errors import OptionError
from edgerun_tools.detect.noise import Reference
from edgerun_tools.detect.tail import TorchTail

Array = np.ndarray[Any, Any]
Score = Callable[[Tensor], Tensor]
"""A detector as the adaptive attacker sees it: float32 [n, …] -> float32 [n], greater for what looks manipulated, differentiable."""
BATCH = 250


@dataclass
class AttackContext:
    """tail: the attacker's copy of the server's part. reference: scale and range of benign features. pool, labels: features [M, …] that the
    attacker intercepted before, and the classes that the tail gives them; none of them may be among the features attacked. score: the
    detector, for an attacker that knows it. budget: the greatest change of one element in units of `reference.scale` (gradient attacks).
    kept: what an attack learned from the pool and may use again."""

    tail: TorchTail
    reference: Reference
    pool: Array
    labels: Array
    score: Score | None = None
    budget: float = 1.0
    kept: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(tail: TorchTail, pool: Array, **more: Any) -> AttackContext:
        """With the reference and the labels of the pool itself: an attacker on the way knows no true class, and needs none."""
        return AttackContext(tail, Reference.of(pool), pool, tail.predict(pool), **more)

    def of_class(self, target: int) -> Array:
        """Indices into the pool of what the tail takes for `target`. OptionError where the attacker intercepted none."""
        found = np.flatnonzero(self.labels == target)
        if not len(found):
            raise OptionError(f"attack: expected intercepted features of class {target}; found none among {len(self.pool)}")
        return found

    def inside(self, x: Tensor) -> Tensor:
        """x moved into the benign features' range: beyond it a comparison would find it."""
        return x.clamp(self.reference.least, self.reference.greatest)


Attack = Callable[[AttackContext, Array, Array, np.random.Generator], Array]
REGISTRY: dict[str, Attack] = {}
GOALS: dict[str, str] = {}


def register(name: str, goal: str) -> Callable[[Attack], Attack]:
    """Enter an attack under a name. goal: "target" where the server is to answer a chosen class, "harm" where any harm will do."""
    def enter(function: Attack) -> Attack:
        REGISTRY[name], GOALS[name] = function, goal
        return function
    return enter


def in_batches(x: Array, target: Array, work: Callable[[Tensor, Tensor], Tensor]) -> Array:
    """`work` on tensors of up to BATCH samples at a time, the results put together: float32 [n, …]."""
    parts = [work(torch.from_numpy(x[i:i + BATCH]), torch.from_numpy(target[i:i + BATCH])).detach().numpy()
             for i in range(0, len(x), BATCH)]
    return np.concatenate(parts).astype(np.float32) if parts else x.copy()
