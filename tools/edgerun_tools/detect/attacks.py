"""All attacks by name: `attack("pgd")(context, x, target, rng)`; what they get and give is said in `edgerun_tools.detect.context`.

name      goal     needs           what
inject    target   pool            a genuine feature of the target class in the message's place
blend     target   pool, labels    the least share of one that does, the rest of what was sent
vae       target   pool, labels    made by the attacker's own conditional autoencoder
fgsm      target   tail            one signed step
pgd       target   tail            20 steps within the budget
cw        target   tail            least squared change
adaptive  target   tail, score     PGD that also lowers the detector's score
replay    harm     pool            an old message of any class
random    harm     -               numbers of the right range
impulse   harm     -               10 % of the elements at the ends of the range
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun.errors import OptionError
from edgerun_tools.detect import adaptive, generated, gradient, substitution
from edgerun_tools.detect.context import GOALS, REGISTRY, Attack, AttackContext

__all__ = ["ATTACKS", "GOALS", "Attack", "AttackContext", "attack", "succeeded", "targets"]
Array = np.ndarray[Any, Any]
ATTACKS = tuple(REGISTRY)
_LOADED = (adaptive, generated, gradient, substitution)  # what fills the registry


def attack(name: str) -> Attack:
    """The attack of that name. OptionError for an unknown one."""
    if name not in REGISTRY:
        raise OptionError(f"attack: expected one of {', '.join(REGISTRY)}; found {name!r}")
    return REGISTRY[name]


def targets(answered: Array, classes: int, rng: np.random.Generator) -> Array:
    """A wanted class for every message, int64 [n], uniform over those that are not `answered` (int64 [n])."""
    return (answered + rng.integers(1, classes, len(answered))) % classes


def succeeded(context: AttackContext, name: str, changed: Array, answered: Array, target: Array) -> Array:
    """Where the attack reached its goal, bool [n]: the target is answered, or, for "harm", something else than was `answered`."""
    got = context.tail.predict(changed)
    return got == target if GOALS[name] == "target" else got != answered
