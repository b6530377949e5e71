"""exit: whether a run leaves here (plan.Policy; docs/early-exit.md). The engine's rule, in float32."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from edgerun.planner.decide import NEVER
from edgerun.planner.plan import ExitPoint, Policy
from edgerun_tools.codegen.site import Site, Write
from edgerun_tools.codegen.text import number


def exit_(site: Site) -> None:
    """`if (leave && …) return i;`, or nothing that does anything where the policy never leaves here."""
    index, policy = site.integer("index"), site.plan.policy
    if policy.kind == "patience":
        _patience(site, index, policy.patience)
    elif policy.kind in ("confidence", "entropy", "dart"):
        _threshold(site, index, policy)


def _patience(site: Site, index: int, patience: int) -> None:
    """The scores of earlier exits are still there, so that no history need be kept."""
    if index < patience:
        _stay(site)
        return
    classes = [_class(site, e) for e in site.plan.exits[index - patience:index + 1]]
    _leave(site, "\n      && ".join(f"{a} == {b}" for a, b in pairwise(classes)), index)


def _class(site: Site, point: ExitPoint) -> str:
    site.needs("exit_class.h")
    return f"er_exit_class({_scores(site, point)}, {site.plan.slots[point.slot].elements})"


def _scores(site: Site, point: ExitPoint) -> str:
    return site.pointer(site.plan.slots[point.slot])


def _threshold(site: Site, index: int, policy: Policy) -> None:
    bases = policy.table[index][:len(policy.bin_edges) + 1] if policy.kind == "dart" and policy.table else (policy.thresholds[index],)
    if min(bases) > 1.0:
        _stay(site)
        return
    needs_class, needs_alpha = index < len(policy.coeff), policy.beta != 0.0 or len(bases) > 1
    if policy.kind != "dart":
        limit = " > " + number(_down(bases[0]), "float")
    elif not needs_class and not needs_alpha:
        limit = " > " + number(_down(min(max(bases[0], 0.0), 1.0)), "float")
    else:
        limit = "\n      > " + _dart(site, index, policy, bases, needs_class, needs_alpha)
    _leave(site, _score(site, index, policy) + limit, index)


def _dart(site: Site, index: int, policy: Policy, bases: tuple[float, ...], needs_class: bool, needs_alpha: bool) -> str:
    """Call of the threshold that depends on class or difficulty."""
    site.needs("exit_threshold.c")
    factors = policy.coeff[index] if needs_class else ()
    thresholds = [NEVER if b > 1.0 else _down(b) for b in bases]
    edges = [_up(e) for e in policy.bin_edges[:len(bases) - 1]]
    table = site.table("thresholds", "float", np.array([*thresholds, *edges, *factors]))
    sizes = site.record("exit", "er_exit_table", bins=len(bases), classes=len(factors), beta=float(policy.beta))
    predicted = _class(site, site.plan.exits[index]) if needs_class else "0"
    alpha = "0.0f"
    if needs_alpha:
        assert site.plan.difficulty is not None  # refused before: exits.refuse
        alpha = f"arena.f32[{site.plan.slots[site.plan.difficulty.slot].offset // 4}]"
    return f"er_exit_threshold({sizes}, {table}, {predicted}, {alpha})"


def _score(site: Site, index: int, policy: Policy) -> str:
    """Call that gives the exit's score; a statement before it makes its probabilities, where the entropy needs them."""
    point = site.plan.exits[index]
    n = site.plan.slots[point.slot].elements
    mix = 1.0 if policy.kind == "entropy" else policy.mix
    temperature = float(np.float32(policy.temperature[index])) if index < len(policy.temperature) else 1.0
    soft = point.logits or temperature != 1.0
    logs, probabilities = soft and not point.logits, soft and mix != 0.0
    room = site.scratch("f32", 4 * n * (logs + probabilities)) if logs or probabilities else ""
    values = _scores(site, point)
    if logs:
        site.call("exit_log.c", "er_exit_log", values, n, room)
        values, room = room, f"{room} + {n}"
    if not soft and mix == 0.0:
        return f"({values})[{_class(site, point)}]"
    if mix == 0.0:
        site.needs("exit_confidence.c")
        return f"er_exit_confidence({values}, {n}, {number(temperature, 'float')})"
    if probabilities:
        site.call("exit_softmax.c", "er_exit_softmax", values, n, number(temperature, "float"), room)
        values = room
    site.needs("exit_score.c")
    return f"er_exit_score({values}, {n}, {number(mix, 'float')}, {number(1 / math.log(n) if n > 1 else 0.0, 'float')})"


def _leave(site: Site, condition: str, index: int) -> None:
    site.statement(f"if (leave && {condition}) return {index};")


def _stay(site: Site) -> None:
    site.statement("(void)leave; /* never here */")


def _down(value: float) -> float:
    """The largest float32 not above a value: a float32 exceeds both or neither."""
    rounded = np.float32(value)
    return float(np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > value else rounded)


def _up(value: float) -> float:
    """The smallest float32 not below a value: a float32 reaches both or neither."""
    return -_down(-value)


PIECES: dict[str, Write] = {"exit": exit_}
