"""The measurements of edgerun_tools.maed_faults, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import track

from edgerun_tools import common, maed_engine, maed_terms
from edgerun_tools.maed_words import MODELS, cases
from edgerun_tools.rates import Rate

SCHEMA = "edgerun.maed_faults/1"
PARTS = ("terms", "relu", "engine")
STRUCK = (1, 3, 6)
"""Faulty terms."""
DTYPES = ("float64", "float32")
SPREADS = (3, 5, 10)
"""Clean operands are uniform in ± one of these; those with faults in ±3, as in the paper."""
CLEAN_PER_TRIAL = 10


@dataclass(frozen=True)
class Terms:
    """One cell of the terms: masked share; alarms of all, of effective (> 1e-15) and of those beyond our bound; and the share that
    the paper reports, 1 - undetected/N with masked faults counted as covered."""

    dtype: str
    function: str
    method: str
    model: str
    bits: int
    struck: int
    masked: Rate
    found: Rate
    effective: Rate
    beyond: Rate
    reported: Rate


@dataclass(frozen=True)
class Clean:
    """Alarms on clean operands, uniform in ±spread."""

    dtype: str
    function: str
    method: str
    spread: int
    alarms: Rate


@dataclass(frozen=True)
class Engine:
    """One cell of the engine: findings of all faults, of those that changed the value, of those beyond our bound."""

    op: str
    checks: str
    shape: str
    model: str
    width: int
    found: Rate
    changed: Rate
    beyond: Rate


@dataclass(frozen=True)
class Alarms:
    """Findings of the engine on clean tensors of one value, uniform in ±spread."""

    op: str
    checks: str
    spread: int
    alarms: Rate


Row = Any  # one of the above, or maed_engine.ReluRow


def methods(dtype: str) -> tuple[str, ...]:
    """The checks that make sense: the simulator's thresholds are below float32's resolution."""
    return maed_terms.METHODS if dtype == "float64" else ("program", "ours")


def terms_rows(trials: int, seed: int) -> Iterator[Row]:
    """Every cell of faults in terms, then the clean operands."""
    rng = np.random.default_rng([seed, 1])
    every = [(d, f, m) for d in DTYPES for f in maed_terms.FUNCTIONS for m in methods(d)]
    for dtype, function, method in track(every, "terms", console=common.errors, transient=True):
        for (model, bits), struck in ((c, s) for c in cases() for s in STRUCK):
            x = rng.uniform(-SPREADS[0], SPREADS[0], trials).astype(dtype)
            seen = maed_terms.trial(method, function, x, rng, model, bits, struck)
            with np.errstate(all="ignore"):
                off = np.abs(seen.faulty.astype(np.float64) - seen.clean.astype(np.float64))
                effective = ~(off < maed_terms.EFFECT)
                beyond = ~(off <= maed_terms.bound(dtype) * np.abs(seen.clean.astype(np.float64)))
            yield Terms(dtype, function, method, model, bits, struck, Rate.count(~effective), Rate.count(seen.alarm),
                        Rate.count(seen.alarm, effective), Rate.count(seen.alarm, beyond), Rate.count(seen.alarm | ~effective))
    for dtype, function, method in every:
        for spread in SPREADS:
            x = rng.uniform(-spread, spread, trials * CLEAN_PER_TRIAL).astype(dtype)
            yield Clean(dtype, function, method, spread, Rate.count(maed_terms.trial(method, function, x, rng).alarm))


def engine_rows(trials: int, seed: int) -> Iterator[Row]:
    """Every activation with our checks in tensors; those with a published identity also alone, with either check."""
    rng = np.random.default_rng([seed, 3])
    jobs = [(a, "maed", "tensor") for a in maed_engine.ACTIVATIONS]
    jobs += [(a, c, "value") for a in maed_engine.ACTIVATIONS if a.op in maed_engine.PUBLISHED for c in ("maed", "maed-paper")]
    for a, checks, shape in track(jobs, "engine", console=common.errors, transient=True):
        for model, width in ((m, w) for w in (23, 32) for m in MODELS):
            seen = maed_engine.engine_trials(a, model, trials, rng, width=width, single=shape == "value", checks=checks)
            yield Engine(a.op, checks, shape, model, width, Rate.count(seen.found), Rate.count(seen.found, seen.changed),
                         Rate.count(seen.found, seen.beyond))
        if shape == "value":
            for spread in SPREADS:
                yield Alarms(a.op, checks, spread, maed_engine.false_alarms(a, trials, rng, checks, spread))


def measure(parts: Sequence[str], trials: int, seed: int) -> Iterator[Row]:
    """All rows of the parts, in order."""
    if "terms" in parts:
        yield from terms_rows(trials, seed)
    if "relu" in parts:
        yield from maed_engine.relu_rows(trials * CLEAN_PER_TRIAL, np.random.default_rng([seed, 2]))
    if "engine" in parts:
        yield from engine_rows(trials, seed)


def to_dict(row: Row) -> dict[str, Any]:
    """One line of --json."""
    fields = {k: v.to_dict() if isinstance(v, Rate) else v for k, v in vars(row).items()}
    return {"schema": SCHEMA, "row": type(row).__name__.lower(), **fields}
