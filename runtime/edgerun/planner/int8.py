"""Which steps of a quantised model compute in int8, and why the others do not: kept in the plan's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .plan import Plan

KEY = "edgerun.int8"
"""Metadata entry: JSON object, step index → "" (int8) or the reason for float. Absent where nothing is quantised."""


@dataclass(frozen=True)
class Layer:
    """A step that computes. reason: why it is in float, "" where it is in int8."""

    step: int
    reason: str

    @property
    def int8(self) -> bool:
        return not self.reason


def entry(reasons: Mapping[int, str]) -> dict[str, str]:
    """The metadata entry for these steps; nothing for none."""
    return {KEY: json.dumps({str(step): reason for step, reason in reasons.items()}, ensure_ascii=False)} if reasons else {}


def layers(plan: Plan) -> tuple[Layer, ...]:
    """Steps that compute, in order; empty for a model in which nothing is quantised."""
    return tuple(Layer(int(step), reason) for step, reason in json.loads(plan.metadata.get(KEY, "{}")).items())


def summary(plan: Plan) -> str:
    """ "31 of 33 layers in int8", or "" for a model in which nothing is quantised."""
    found = layers(plan)
    return f"{sum(layer.int8 for layer in found)} of {len(found)} layers in int8" if found else ""
