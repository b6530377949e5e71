"""Calibration in metadata, and policies by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from edgerun.errors import PolicyError
from edgerun.exits import REGISTRY, difficulty, make
from edgerun.exits.metrics import daes
from edgerun.exits.policies import register
from edgerun.exits.store import Calibration, dumps, loads
from edgerun.planner.plan import Policy

DART = Policy("dart", thresholds=(0.7, 2.0), beta=0.15, coeff=((1.0, 0.9), (1.1, 1.0)), mix=0.4,
              temperature=(0.5, 1.5, 1.0))
CALIBRATION = Calibration("ab" * 32, difficulty.DifficultyConfig(0.5, (0.0, 0.1, 0.2), (0.5, 0.6, 0.7)),
                          {"dart": DART, "confidence": Policy("confidence", thresholds=(0.9, 0.8)),
                           "patience": Policy("patience", patience=2)},
                          (100.0, 200.0, 300.0), (0.2, 0.5, 1.0), {"threads": 1}, {"sha256": "x"}, {}, {})


def test_round_trip() -> None:
    assert loads(dumps(CALIBRATION), 3, "ab" * 32) == CALIBRATION


def spoil(**changes: object) -> str:
    raw = json.loads(dumps(CALIBRATION))
    for key, value in changes.items():
        outer, _, inner = key.partition("__")
        if inner:
            raw[outer][inner] = value
        elif value is None:
            del raw[outer]
        else:
            raw[outer] = value
    return json.dumps(raw)


@pytest.mark.parametrize(("text", "says"), [
    ("{", "JSON object"), ("[]", "version 1"), (spoil(version=2), "version 1"), (spoil(difficulty=None), "difficulty"),
    (spoil(model_sha256="cd"), "another graph"), (spoil(dart__thresholds=[0.5]), "dart: thresholds"),
    (spoil(dart__thresholds=[0.5, "x"]), "finite number"), (spoil(dart__beta=-0.1), "beta"),
    (spoil(dart__temperature=[1, 0, 1]), "temperatures"), (spoil(dart__kind="magic"), "magic"),
    (spoil(dart__surprise=1), "surprise"), (spoil(costs=[0.5, 1.0]), "3 exits"),
    (spoil(dart__table=[[0.5], [0.5, 0.6]]), "table"), (spoil(difficulty__high=[0, 0, 0]), "difficulty.high"),
    (spoil(dart__coeff=[[1.0]]), "class factors"),
])
def test_damage_is_a_policy_error(text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says) as error:
        loads(text, 3, "ab" * 32)
    assert "edgerun calibrate" in str(error.value)


def test_every_policy_of_the_plan_is_registered() -> None:
    assert list(REGISTRY) == ["none", "confidence", "entropy", "patience", "deadline", "dart"]


def test_dart_needs_calibration_and_says_how() -> None:
    with pytest.raises(PolicyError, match="edgerun calibrate MODEL --data"):
        make("dart").tables(None, 3)


@pytest.mark.parametrize("name", ["confidence", "patience", "dart"])
def test_calibrated_tables_are_used(name: str) -> None:
    assert make(name).tables(CALIBRATION, 3) == CALIBRATION.policies[name]


@pytest.mark.parametrize(("name", "parameters", "policy"), [
    ("none", {}, Policy()),
    ("confidence", {}, Policy("confidence", thresholds=(0.9, 0.9))),
    ("confidence", {"thresholds": (0.7,)}, Policy("confidence", thresholds=(0.7, 0.7))),
    ("entropy", {"thresholds": (0.7, 0.6)}, Policy("entropy", thresholds=(0.7, 0.6))),
    ("patience", {"patience": 3}, Policy("patience", patience=3)),
])
def test_parameters_without_calibration(name: str, parameters: dict, policy: Policy) -> None:
    assert make(name, **parameters).tables(None, 3) == policy


def test_deadline_uses_measured_segments() -> None:
    policy = make("deadline", budget_ms=1.5).tables(CALIBRATION, 3)
    assert policy == Policy("deadline", budget_ns=1_500_000, segment_ns=(100.0, 200.0, 300.0))


def test_dart_parameters_override_the_tables() -> None:
    assert make("dart", beta=0.3).tables(CALIBRATION, 3) == replace(DART, beta=0.3)
    assert make("dart", thresholds=(0.5,)).tables(CALIBRATION, 3) == replace(DART, thresholds=(0.5, 0.5))


@pytest.mark.parametrize(("name", "parameters", "says"), [
    ("magic", {}, "expected one of none, confidence"), ("confidence", {"thresholds": (0.1, 0.2, 0.3)}, "1 or 2 thresholds"),
    ("patience", {"patience": 0}, "at least 1"), ("deadline", {}, "budget_ms"), ("none", {"patience": 1}, "patience"),
    ("dart", {"beta": -1.0}, "beta >= 0"), ("dart", {"beta": float("nan")}, "beta >= 0"),
    ("deadline", {"budget_ms": float("inf")}, "at most"), ("deadline", {"budget_ms": 1e300}, "at most"),
    ("deadline", {"budget_ms": float("nan")}, "budget_ms"), ("patience", {"patience": 9_999_999_999}, "at most"),
    ("confidence", {"thresholds": (float("nan"),)}, "finite"), ("entropy", {"thresholds": (float("inf"), 1)}, "finite"),
    ("dart", {"thresholds": (float("nan"),)}, "finite"),
])
def test_wrong_parameters(name: str, parameters: dict, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        make(name, **parameters).tables(CALIBRATION, 3)


def test_a_new_policy_is_one_class() -> None:
    @register("first")
    @dataclass(frozen=True)
    class First:
        def tables(self, calibration: Calibration | None, exits: int) -> Policy:
            return Policy("confidence", thresholds=(0.0,) + (2.0,) * (exits - 2))

    try:
        assert make("first").tables(None, 3).thresholds == (0.0, 2.0)
    finally:
        del REGISTRY["first"]


@pytest.mark.parametrize(("accuracy", "speedup", "energy", "alpha", "table"), [
    (0.9897, 1.0, 1.0, 0.76, 0.562), (0.8829 + 0.0003, 1.0, 1.0, 0.85, 0.477), (0.9931, 3.0, 5.13, 0.76, 8.684)])
def test_daes_reproduces_the_papers_table(accuracy: float, speedup: float, energy: float, alpha: float, table: float) -> None:
    assert daes(accuracy, speedup, energy, alpha) == pytest.approx(table, abs=0.002)
