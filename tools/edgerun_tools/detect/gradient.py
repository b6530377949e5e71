"""White-box attacks on the tail by gradients with respect to the features, all toward a chosen class.

fgsm   one step of the whole budget along the gradient's sign (Goodfellow et al. 2015, arXiv 1412.6572, toward a target)
pgd    20 steps of a sixth of the budget from a random start, cut back to the budget after each (Madry et al. 2018, arXiv 1706.06083)
cw     least squared change with max_i z_i - z_target + kappa <= 0, three rounds of Adam with a weight that grows tenfold where it failed
       (Carlini, Wagner 2017, arXiv 1608.04644, L2; their change of variables is replaced by clamping to the benign range)

The budget is the greatest change of one element in units of the benign features' robust scale; cw needs none. `least_budget` is how an
attacker chooses it: the least of a ladder that succeeds on what he intercepted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgerun_tools.detect.context import REGISTRY, AttackContext, in_batches, register

Array = np.ndarray[Any, Any]
PGD_STEPS = 20
CW_STEPS, CW_ROUNDS, CW_KAPPA, CW_WEIGHT = 30, 3, 1.0, 30.0
LADDER = (0.25, 0.5, 1.0, 2.0, 4.0)


def toward(context: AttackContext, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient of the summed cross-entropy toward `target` with respect to x, logits [n, classes])."""
    x = x.detach().requires_grad_()
    logits = context.tail.logits(x)
    (slope,) = torch.autograd.grad(F.cross_entropy(logits, target, reduction="sum"), x)
    return slope, logits.detach()


def margin(logits: Tensor, target: Tensor) -> Tensor:
    """Greatest other logit minus the target's, [n]: negative where the target is answered."""
    wanted = logits.gather(1, target[:, None])[:, 0]
    return logits.scatter(1, target[:, None], -torch.inf).amax(1) - wanted


@register("fgsm", "target")
def fgsm(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    limit = context.budget * context.reference.scale

    def work(sent: Tensor, wanted: Tensor) -> Tensor:
        return context.inside(sent - limit * toward(context, sent, wanted)[0].sign())
    return in_batches(x, target, work)


@register("pgd", "target")
def pgd(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    limit = context.budget * context.reference.scale

    def work(sent: Tensor, wanted: Tensor) -> Tensor:
        start = torch.from_numpy(rng.uniform(-limit, limit, sent.shape).astype(np.float32))
        found = context.inside(sent + start)
        for _ in range(PGD_STEPS):
            moved = found - limit / 6 * toward(context, found, wanted)[0].sign()
            found = context.inside(sent + (moved - sent).clamp(-limit, limit))
        return found
    return in_batches(x, target, work)


@register("cw", "target")
def cw(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    def work(sent: Tensor, wanted: Tensor) -> Tensor:
        each = (slice(None), *[None] * (sent.ndim - 1))
        best, least = sent.clone(), torch.full((len(sent),), torch.inf)
        weight = torch.full((len(sent),), CW_WEIGHT)
        for _ in range(CW_ROUNDS):
            change = torch.zeros_like(sent, requires_grad=True)
            steps = torch.optim.Adam([change], lr=0.1 * context.reference.scale)
            for _ in range(CW_STEPS):
                found = context.inside(sent + change)
                far = ((found - sent) / context.reference.scale).square().flatten(1).sum(1)
                missed = margin(context.tail.logits(found), wanted)
                better = (missed.detach() < 0) & (far.detach() < least)
                best = torch.where(better[each], found.detach(), best)
                least = torch.where(better, far.detach(), least)
                steps.zero_grad()
                (far + weight * (missed + CW_KAPPA).clamp_min(0)).sum().backward()
                steps.step()
            weight = torch.where(torch.isinf(least), weight * 10, weight)
        return best
    return in_batches(x, target, work)


def least_budget(context: AttackContext, name: str = "pgd", goal: float = 0.95, samples: int = 50, seed: int = 0) -> float:
    """The least budget of LADDER with which the attack `name` turns at least a share `goal` of `samples` features of the pool to random
    targets; where none does, the one that turns most."""
    rng = np.random.default_rng(seed)
    pick = rng.choice(len(context.pool), min(samples, len(context.pool)), replace=False)
    x, answered = context.pool[pick], context.labels[pick]
    wanted = (answered + rng.integers(1, int(context.labels.max()) + 1, len(pick))) % (int(context.labels.max()) + 1)
    reached: dict[float, float] = {}
    for budget in LADDER:
        tried = replace(context, budget=budget)
        reached[budget] = float((context.tail.predict(REGISTRY[name](tried, x, wanted, rng)) == wanted).mean())
        if reached[budget] >= goal:
            return budget
    return max(reached, key=lambda b: reached[b])
