"""Thresholds that follow the data while running: coefficients c[i,k] in Eq. 19 (DART, arXiv 2603.12269, Eq. 13-15).

    temporal     c_i <- d c_i + (1 - d) clip(1 + kappa (A_target - A_i), 0.5, 2)            d = 0.95
    class-aware  c_k <- clip(c_k + eta (A_target - A_k), 0.1, 2)                             k = the predicted class
    strategy     one of {none, temporal, class-aware, both} by UCB1 on a windowed accuracy-cost reward in [0,1]

A is measured, not assumed: a small seeded share of the runs ("audit") goes on to the last exit, whose answer is the label
for what the exits before it said. An exit judged by its own confident answers would always look better than it is.
Each (exit, class) remembers its last 1000 audited answers. All state is plain numbers; a seed makes it repeatable.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgerun.errors import PolicyError
from edgerun.exits.store import COMMAND, Calibration
from edgerun.planner.decide import should_stop
from edgerun.planner.plan import Floats, Policy

STRATEGIES = ("none", "temporal", "class-aware", "both")
CLASS_LOW, CLASS_HIGH = 0.1, 2.0
STATE_VERSION = 1
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class AdaptiveConfig:
    """target: accuracy against the last exit that is aimed at (A_target); decay, kappa: temporal rule; eta: class rule;
    window: answers remembered per exit and class; audit: share of runs that go to the last exit; beta_opt: price of a
    full run in the reward; trial: audited runs a strategy is tried for before it is judged; seed."""

    target: float = 0.95
    decay: float = 0.95
    kappa: float = 0.5
    eta: float = 0.02
    window: int = 1000
    audit: float = 0.02
    beta_opt: float = 0.1
    trial: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Observation:
    """What a run tells: class and score of each exit that was reached, the input's difficulty, and whether the run was an
    audit (all exits reached, whatever the policy said)."""

    classes: tuple[int, ...]
    scores: tuple[float, ...]
    alpha: float
    audit: bool


class Adaptive:
    """Coefficients for one stream of inputs. Use, for each input: `want_audit()`, run (to the end when it said so),
    `observe(...)`; when that returns True hand `coefficients()` to the executor."""

    def __init__(self, policy: Policy, costs: Floats, classes: int, config: AdaptiveConfig = AdaptiveConfig()) -> None:
        """policy: the calibrated tables; costs: cumulative, last = 1; classes: number of classes."""
        if policy.kind not in ("dart", "confidence", "entropy"):
            raise PolicyError(f"adaptive coefficients: expected policy dart, confidence or entropy, found {policy.kind}")
        early = len(costs) - 1
        self.config, self.policy, self.costs, self.classes = config, policy, tuple(costs), classes
        self._base = [list(row) for row in policy.coeff] or [[1.0] * classes for _ in range(early)]
        self._temporal = [1.0] * early
        self._class = [1.0] * classes
        self._hits: list[list[deque[bool]]] = [[deque(maxlen=config.window) for _ in range(classes)] for _ in range(early)]
        self._rewards: list[deque[float]] = [deque(maxlen=config.window) for _ in STRATEGIES]
        self._pulls = [0] * len(STRATEGIES)
        self._strategy, self._left, self._runs, self._audits = 0, config.trial, 0, 0

    @property
    def strategy(self) -> str:
        """The strategy in force."""
        return STRATEGIES[self._strategy]

    @classmethod
    def of(cls, calibration: Calibration, classes: int, **settings: Any) -> Adaptive:
        """For a calibrated model's dart tables. settings: fields of AdaptiveConfig; the target defaults to how often the
        tables' early answers agreed with the last exit when they were cross-validated, so that nothing moves as long as
        the data stay as they were."""
        if "dart" not in calibration.policies:
            raise PolicyError(f"adaptive coefficients: expected a calibrated model, found no dart tables; run {COMMAND}")
        expected = calibration.expected.get("dart", {})
        settings.setdefault("target", float(expected.get("agreement", AdaptiveConfig.target)))
        return cls(calibration.policies["dart"], calibration.costs, classes, AdaptiveConfig(**settings))

    def want_audit(self) -> bool:
        """Whether the next run should go to the last exit. Depends on the seed and the number of runs observed only."""
        return _uniform(self.config.seed, self._runs) < self.config.audit

    def coefficients(self, strategy: str | None = None) -> tuple[Floats, ...]:
        """c[i][k] for the early exits under a strategy (default: the one in force), calibrated factors included."""
        name = strategy or self.strategy
        time = self._temporal if name in ("temporal", "both") else [1.0] * len(self._temporal)
        kind = self._class if name in ("class-aware", "both") else [1.0] * self.classes
        return tuple(tuple(b * t * c for b, c in zip(row, kind, strict=True))
                     for row, t in zip(self._base, time, strict=True))

    def observe(self, run: Observation) -> bool:
        """Learn from a run; True when the coefficients changed. Runs that were not audited only count."""
        self._runs += 1
        if not run.audit:
            return False
        if len(run.classes) != len(self.costs):
            raise PolicyError(f"adaptive coefficients: expected an audited run to reach {len(self.costs)} exits, found "
                              f"{len(run.classes)}")
        self._audits += 1
        answer = run.classes[-1]
        left = self._leaves_at(run)
        self._reward(run.classes[left] == answer, self.costs[left])
        if left + 1 < len(self.costs):
            self._hits[left][run.classes[left]].append(run.classes[left] == answer)
            self._update(left, run.classes[left])
        return True

    def _leaves_at(self, run: Observation) -> int:
        """The exit at which the run would have left under the coefficients in force."""
        now = self.coefficients()
        for i in range(len(self.costs) - 1):
            if should_stop(self.policy, i, run.scores[:i + 1], run.classes[:i + 1], alpha=run.alpha, coeff=now):
                return i
        return len(self.costs) - 1

    def _update(self, i: int, k: int) -> None:
        c = self.config
        seen = [hit for window in self._hits[i] for hit in window]
        accuracy = sum(seen) / len(seen)
        factor = min(max(1 + c.kappa * (c.target - accuracy), 0.5), 2.0)
        self._temporal[i] = c.decay * self._temporal[i] + (1 - c.decay) * factor
        own = [hit for row in self._hits for hit in row[k]]
        self._class[k] = min(max(self._class[k] + c.eta * (c.target - sum(own) / len(own)), CLASS_LOW), CLASS_HIGH)

    def _reward(self, right: bool, cost: float) -> None:
        """UCB1 (Auer et al. 2002) on correct - beta_opt * cost, rescaled from [-beta_opt, 1] to [0,1]."""
        b = self.config.beta_opt
        self._rewards[self._strategy].append((float(right) - b * cost + b) / (1 + b))
        self._pulls[self._strategy] += 1
        self._left -= 1
        if self._left > 0:
            return
        self._left = self.config.trial
        untried = [s for s, pulls in enumerate(self._pulls) if pulls == 0]
        if untried:
            self._strategy = untried[0]
            return
        total = sum(self._pulls)
        bounds = [sum(r) / len(r) + math.sqrt(2 * math.log(total) / n)
                  for r, n in zip(self._rewards, self._pulls, strict=True)]
        self._strategy = int(np.argmax(bounds))

    def state_dict(self) -> dict[str, Any]:
        """Everything learned, as JSON values."""
        return {"version": STATE_VERSION, "config": asdict(self.config), "temporal": list(self._temporal),
                "class": list(self._class), "hits": [[[int(h) for h in w] for w in row] for row in self._hits],
                "rewards": [list(r) for r in self._rewards], "pulls": list(self._pulls), "strategy": self._strategy,
                "left": self._left, "runs": self._runs, "audits": self._audits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state of a model with the same exits and classes; PolicyError otherwise."""
        try:
            if state["version"] != STATE_VERSION:
                raise PolicyError(f"adaptive state: expected version {STATE_VERSION}, found {state['version']}")
            shape = (len(state["temporal"]), len(state["class"]), len(state["hits"]), {len(r) for r in state["hits"]})
            expected = (len(self._temporal), self.classes, len(self._temporal), {self.classes})
            if shape != expected:
                raise PolicyError(f"adaptive state: expected {expected[0]} early exits and {self.classes} classes, found "
                                  f"{shape[0]} and {shape[1]}")
            config = AdaptiveConfig(**state["config"])
            temporal, classes = _floats(state["temporal"]), _floats(state["class"])
            hits = [[deque((bool(h) for h in w), maxlen=config.window) for w in row] for row in state["hits"]]
            rewards = [deque(_floats(r), maxlen=config.window) for r in state["rewards"]]
            pulls = [int(p) for p in state["pulls"]]
            counters = [int(state[k]) for k in ("strategy", "left", "runs", "audits")]
            if len(rewards) != len(STRATEGIES) or len(pulls) != len(STRATEGIES) or counters[0] not in range(len(STRATEGIES)):
                raise PolicyError(f"adaptive state: expected {len(STRATEGIES)} strategies, found {len(rewards)}")
        except (KeyError, TypeError, ValueError) as e:
            if isinstance(e, PolicyError):
                raise
            raise PolicyError(f"adaptive state: expected what state_dict() returned, found a bad or missing field: {e}"
                              ) from e
        self.config, self._temporal, self._class, self._hits = config, temporal, classes, hits
        self._rewards, self._pulls = rewards, pulls
        self._strategy, self._left, self._runs, self._audits = counters


def _uniform(seed: int, count: int) -> float:
    """Number in [0,1) that depends on its arguments only (SplitMix64, Steele et al. 2014): cheap enough for every run."""
    z = (seed * 0x9E3779B97F4A7C15 + (count + 1) * 0xD1B54A32D192ED03) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) / 2.0 ** 64


def _floats(values: Sequence[Any]) -> list[float]:
    return [float(v) for v in values]
