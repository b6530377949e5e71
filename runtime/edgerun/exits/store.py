"""Calibration inside the model file: one JSON object in the ONNX metadata, key `edgerun.exit_policy`.

    {"version": 1, "model_sha256": …, "difficulty": {…}, "dart": {…}, "confidence": {…}, "entropy": {…}, "patience": {…},
     "segment_ns": […], "costs": […], "calibrated_on": {…}, "data": {…}, "expected": {…}, "front": {…}}

The file stays valid for every other ONNX tool. Reading checks everything that executors rely on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edgerun.errors import PolicyError
from edgerun.exits.difficulty import DifficultyConfig
from edgerun.planner.plan import Policy

KEY = "edgerun.exit_policy"
VERSION = 1
TABLES = ("dart", "confidence", "entropy", "patience")
COMMAND = "edgerun calibrate MODEL --data …"
_SPARE = Policy()


@dataclass(frozen=True)
class Calibration:
    """What `edgerun calibrate` found out about a model.

    model_sha256: digest of the graph (`graph_digest`), so that tables of another model are noticed. difficulty: frozen
    constants of the estimate. policies: tables by policy name. segment_ns: measured nanoseconds of each segment on the
    machine that calibrated; costs: cumulative cost of leaving at each exit, last = 1. calibrated_on: machine, threads.
    data: name, digest and size of the calibration set. expected: cross-validated accuracy, cost and loss by policy.
    front: operating points by policy, each {"knob", "accuracy", "cost", "loss", "policy"}.
    """

    model_sha256: str
    difficulty: DifficultyConfig
    policies: Mapping[str, Policy]
    segment_ns: tuple[float, ...]
    costs: tuple[float, ...]
    calibrated_on: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    front: Mapping[str, Any] = field(default_factory=dict)


def graph_digest(model: Any) -> str:
    """SHA-256 of an onnx.ModelProto's graph; metadata, producer and the like do not count."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def dumps(calibration: Calibration) -> str:
    """The JSON text that goes into the metadata."""
    c = calibration
    out: dict[str, Any] = {"version": VERSION, "model_sha256": c.model_sha256, "difficulty": asdict(c.difficulty)}
    out |= {name: policy_to_json(p) for name, p in c.policies.items()}
    out |= {"segment_ns": list(c.segment_ns), "costs": list(c.costs), "calibrated_on": dict(c.calibrated_on),
            "data": dict(c.data), "expected": dict(c.expected), "front": dict(c.front)}
    return json.dumps(_rounded(out), separators=(",", ":"))


def loads(text: str, exits: int, digest: str | None = None) -> Calibration:
    """Read the metadata entry of a model with `exits` exits. PolicyError when it is damaged, of another version, made for
    another graph (digest given) or does not fit the exits."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise PolicyError(f"metadata {KEY}: expected a JSON object, found text that is none ({e}); run {COMMAND}") from e
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        found = raw.get("version") if isinstance(raw, dict) else type(raw).__name__
        raise PolicyError(f"metadata {KEY}: expected version {VERSION}, found {found!r}; run {COMMAND}")
    if digest is not None and raw.get("model_sha256") != digest:
        raise PolicyError(f"metadata {KEY}: calibrated for another graph (expected sha256 {digest[:12]}…, found "
                          f"{str(raw.get('model_sha256'))[:12]}…): the model changed since; run {COMMAND}")
    try:
        d = raw["difficulty"]
        config = DifficultyConfig(_number(d["tau_edge"]), *(_three(d[k]) for k in ("low", "high", "weights")))
        policies = {name: policy_from_json(raw[name]) for name in TABLES if name in raw}
        calibration = Calibration(str(raw["model_sha256"]), config, policies, _numbers(raw["segment_ns"]),
                                  _numbers(raw["costs"]), *(dict(raw.get(k) or {}) for k in
                                                            ("calibrated_on", "data", "expected", "front")))
    except (KeyError, TypeError, ValueError, OverflowError) as e:
        raise PolicyError(f"metadata {KEY}: expected the fields of version {VERSION}, found a bad or missing one: {e}; "
                          f"run {COMMAND}") from e
    _check(calibration, exits)
    return calibration


def _check(c: Calibration, exits: int) -> None:
    def bad(what: str, expected: object, found: object) -> PolicyError:
        return PolicyError(f"metadata {KEY}: expected {what} {expected}, found {found}; run {COMMAND}")

    if any(h <= low for low, h in zip(c.difficulty.low, c.difficulty.high, strict=True)):
        raise bad("difficulty.high above", list(c.difficulty.low), list(c.difficulty.high))
    if len(c.costs) != exits or len(c.segment_ns) != exits:
        raise bad("one cost and segment for each of", f"{exits} exits", f"{len(c.costs)} and {len(c.segment_ns)}")
    for name, p in c.policies.items():
        if p.kind in ("confidence", "entropy", "dart") and len(p.thresholds) != exits - 1:
            raise bad(f"{name}: thresholds", exits - 1, len(p.thresholds))
        if p.table and (len(p.table) != exits - 1 or any(len(row) != len(p.bin_edges) + 1 for row in p.table)):
            raise bad(f"{name}: a table of", f"{exits - 1} x {len(p.bin_edges) + 1}", [len(row) for row in p.table])
        if p.coeff and (len(p.coeff) != exits - 1 or len({len(row) for row in p.coeff}) != 1):
            raise bad(f"{name}: class factors for", f"{exits - 1} exits", [len(row) for row in p.coeff])
        if p.temperature and (len(p.temperature) != exits or min(p.temperature) <= 0):
            raise bad(f"{name}: positive temperatures for", f"{exits} exits", list(p.temperature))
        if p.beta < 0:
            raise bad(f"{name}: beta", ">= 0 (DART Eq. 19)", p.beta)


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """A policy's fields that differ from the defaults, and its kind."""
    return {"kind": policy.kind} | {f.name: getattr(policy, f.name) for f in fields(policy)
                                    if getattr(policy, f.name) != getattr(_SPARE, f.name)}


def policy_from_json(raw: Mapping[str, Any]) -> Policy:
    """The inverse of policy_to_json; ValueError, TypeError or KeyError on anything else."""
    known = {f.name for f in fields(Policy)}
    if not set(raw) <= known:
        raise ValueError(f"unknown policy field {sorted(set(raw) - known)}")
    if raw["kind"] not in ("none", "confidence", "entropy", "patience", "deadline", "dart"):
        raise ValueError(f"unknown policy kind {raw['kind']!r}")
    values: dict[str, Any] = {"kind": raw["kind"]}
    for name, value in raw.items():
        if name in ("thresholds", "bin_edges", "segment_ns", "temperature"):
            values[name] = _numbers(value)
        elif name in ("table", "coeff"):
            values[name] = tuple(_numbers(row) for row in value)
        elif name in ("beta", "mix"):
            values[name] = _number(value)
        elif name in ("patience", "budget_ns"):
            values[name] = int(value)
    return Policy(**values)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, found {value!r}")
    return float(value)


def _numbers(values: Any) -> tuple[float, ...]:
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"expected a list of numbers, found {values!r}")
    return tuple(_number(v) for v in values)


def _three(values: Any) -> tuple[float, float, float]:
    a, b, c = _numbers(values)
    return a, b, c


def _rounded(value: Any) -> Any:
    """Nine significant digits: every float32 survives, in half of the text."""
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return value
