"""adaptive: an attacker with the tail AND the detector at hand (its weights, its features, everything but the threshold's use).

Projected gradient descent inside the budget. Where the tail does not yet answer the target by a margin, a step follows the tail's loss,
after the first third of the steps plus LAMBDA times the detector's score; where it does, the score alone, made orthogonal to the tail's
gradient so that a step toward the unsuspicious does not undo the success (Bryniarski et al. 2021, arXiv 2106.15023). Both gradients are
of unit length, so the score's units do not matter. Of all points visited, the least suspicious that succeeds is sent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgerun.errors import OptionError
from edgerun_tools.detect.context import AttackContext, Score, in_batches, register
from edgerun_tools.detect.gradient import margin, toward

Array = np.ndarray[Any, Any]
STEPS = 60
LAMBDA = 0.5
MARGIN = 0.5
"""Logits by which the target leads before the attacker turns to the detector."""


@register("adaptive", "target")
def adaptive(context: AttackContext, x: Array, target: Array, rng: np.random.Generator) -> Array:
    if context.score is None:
        raise OptionError("adaptive attack: expected the detector as AttackContext.score; found none")
    score, limit = context.score, context.budget * context.reference.scale

    def work(sent: Tensor, wanted: Tensor) -> Tensor:
        each = (slice(None), *[None] * (sent.ndim - 1))
        found = sent.clone()
        best, least = sent.clone(), torch.full((len(sent),), torch.inf)
        near, ahead = sent.clone(), torch.full((len(sent),), torch.inf)
        for step in range(STEPS + 1):
            suspicion, seen = _suspicion(score, found)
            slope, logits = toward(context, found, wanted)
            missed = margin(logits, wanted)
            better = (missed < 0) & (seen < least)
            best, least = torch.where(better[each], found, best), torch.where(better, seen, least)
            nearer = missed < ahead
            near, ahead = torch.where(nearer[each], found, near), torch.where(nearer, missed, ahead)
            if step == STEPS:
                break
            slope, suspicion = _unit(slope), _unit(suspicion)
            along = (slope * suspicion).flatten(1).sum(1)
            aside = suspicion - along.clamp_max(0)[each] * slope  # only what would undo the success is taken away
            aside = aside / aside.flatten(1).abs().amax(1).clamp_min(1e-12)[each]
            both = slope + (LAMBDA if step >= STEPS // 3 else 0.0) * suspicion
            size = limit * (0.02 + 0.18 * (1 - step / STEPS))
            moved = found - size * torch.where((missed < -MARGIN)[each], aside, both.sign())
            found = context.inside(sent + (moved - sent).clamp(-limit, limit))
        return torch.where(torch.isinf(least)[each], near, best)
    return in_batches(x, target, work)


def _suspicion(score: Score, x: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient of the summed score with respect to x, score [n])."""
    x = x.detach().requires_grad_()
    seen = score(x)
    (slope,) = torch.autograd.grad(seen.sum(), x)
    return slope.nan_to_num(0.0, 0.0, 0.0), seen.detach()


def _unit(slope: Tensor) -> Tensor:
    return slope / slope.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, *[1] * (slope.ndim - 1))
