"""Exit policies by name. A policy is its parameters and `tables`: what an executor needs to decide (`plan.Policy`).

A new rule costs one class here (and its line in `planner.decide` when no present rule can express it).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from edgerun.errors import PolicyError
from edgerun.exits.store import COMMAND, Calibration
from edgerun.planner.plan import Policy


class ExitPolicy(Protocol):
    """Parameters of one policy."""

    def tables(self, calibration: Calibration | None, exits: int) -> Policy:
        """The decision tables for a model with `exits` exits (last one included). `calibration` is None when the model
        carries none; PolicyError when the policy cannot do without, or its parameters do not fit."""


MOST_PATIENCE = 2**31 - 1
MOST_MS = 1e9
"""Bounds of what a plan can store, in round numbers: 1e9 ms are eleven days."""
REGISTRY: dict[str, type[Any]] = {}
_P = TypeVar("_P", bound=type)


def register(name: str) -> Callable[[_P], _P]:
    """Make a policy known under a name."""

    def add(policy: _P) -> _P:
        REGISTRY[name] = policy
        return policy

    return add


def make(name: str, **parameters: Any) -> ExitPolicy:
    """The policy of that name. Parameters that are None are left at their defaults; PolicyError for unknown ones."""
    if name not in REGISTRY:
        raise PolicyError(f"exit policy: expected one of {', '.join(REGISTRY)}; found {name!r}")
    given = {k: v for k, v in parameters.items() if v is not None}
    known = list(REGISTRY[name].__dataclass_fields__)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise PolicyError(f"exit policy {name}: expected parameters among {known or 'none'}; found {unknown}")
    policy: ExitPolicy = REGISTRY[name](**given)
    return policy


@register("none")
@dataclass(frozen=True)
class RunToTheEnd:
    """Never leaves early."""

    def tables(self, calibration: Calibration | None, exits: int) -> Policy:
        """Empty tables."""
        return Policy()


def _thresholds(name: str, given: tuple[float, ...] | None, calibration: Calibration | None, exits: int,
                otherwise: float) -> Policy:
    if given is not None:
        if len(given) not in (1, exits - 1):
            raise PolicyError(f"exit policy {name}: expected 1 or {exits - 1} thresholds, found {len(given)}")
        if not all(map(math.isfinite, given)):
            raise PolicyError(f"exit policy {name}: expected finite thresholds, found {list(given)}; 2 never leaves")
        values = tuple(map(float, given)) * (exits - 1 if len(given) == 1 else 1)
        return Policy(kind=name, thresholds=values)  # type: ignore[arg-type]
    if calibration is not None and name in calibration.policies:
        return calibration.policies[name]
    return Policy(kind=name, thresholds=(otherwise,) * (exits - 1))  # type: ignore[arg-type]


@register("confidence")
@dataclass(frozen=True)
class Confidence:
    """Leaves when the largest probability exceeds a threshold. thresholds: one for all early exits, or one each; None:
    the calibrated ones, or 0.9 where the model carries none."""

    thresholds: tuple[float, ...] | None = None

    def tables(self, calibration: Calibration | None, exits: int) -> Policy:
        """Thresholds by exit."""
        return _thresholds("confidence", self.thresholds, calibration, exits, 0.9)


@register("entropy")
@dataclass(frozen=True)
class Entropy:
    """Leaves when 1 - H(p)/log K exceeds a threshold (BranchyNet, Teerapittayanon et al. 2016: entropy below T, here on a
    scale where 1 is certain). thresholds: as for confidence; the default without calibration is 0.85."""

    thresholds: tuple[float, ...] | None = None

    def tables(self, calibration: Calibration | None, exits: int) -> Policy:
        """Thresholds by exit."""
        return _thresholds("entropy", self.thresholds, calibration, exits, 0.85)


@register("patience")
@dataclass(frozen=True)
class Patience:
    """Leaves when `patience` + 1 exits in a row give the same class (Zhou et al. 2020, PABEE)."""

    patience: int | None = None

    def tables(self, calibration: Calibration | None, exits: int) -> Policy:
        """The count; the calibrated one, or 1, when none was given."""
        if self.patience is None and calibration is not None and "patience" in calibration.policies:
            return calibration.policies["patience"]
        count = 1 if self.patience is None else self.patience
        if not 1 <= count <= MOST_PATIENCE:
            raise PolicyError(f"exit policy patience: expected at least 1 and at most {MOST_PATIENCE}, found {count}")
        return Policy(kind="patience", patience=count)


@register("deadline")
@dataclass(frozen=True)
class Deadline:
    """Leaves at the last exit that can be reached within `budget_ms`, by the segments' times measured at calibration."""

    budget_ms: float | None = None

    def tables(self, calibration: Calibration | None, exits: int) -> Policy:
        """Budget and segment times in nanoseconds."""
        if self.budget_ms is None or not 0 < self.budget_ms <= MOST_MS:
            raise PolicyError(f"exit policy deadline: expected a budget_ms above 0 and at most {MOST_MS:g}, found "
                              f"{self.budget_ms}")
        if calibration is None:
            raise PolicyError("exit policy deadline: expected measured segment times in the model, found no calibration; "
                              f"run {COMMAND}")
        return Policy(kind="deadline", budget_ns=int(self.budget_ms * 1e6), segment_ns=calibration.segment_ns)


@register("dart")
@dataclass(frozen=True)
class Dart:
    """Joint difficulty-aware thresholds (arXiv 2603.12269). beta: slope over difficulty instead of the calibrated one;
    thresholds: base thresholds instead of the calibrated ones."""

    thresholds: tuple[float, ...] | None = None
    beta: float | None = None

    def tables(self, calibration: Calibration | None, exits: int) -> Policy:
        """The calibrated tables; there is no sensible default without calibration."""
        if calibration is None or "dart" not in calibration.policies:
            raise PolicyError(f"exit policy dart: expected a calibrated model, found no calibration in it; run {COMMAND}")
        policy = calibration.policies["dart"]
        if self.thresholds is not None:
            base = _thresholds("dart", self.thresholds, None, exits, 0.0)
            policy = replace(policy, thresholds=base.thresholds, table=(), bin_edges=())
        if self.beta is not None:
            if not 0 <= self.beta < math.inf:
                raise PolicyError(f"exit policy dart: expected beta >= 0 (Eq. 19), found {self.beta}")
            policy = replace(policy, beta=float(self.beta))
        return policy
