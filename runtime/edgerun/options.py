"""Settings of a session, checked once, and the number of threads that suits this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgerun.errors import OptionError, PolicyError

CHECKS = ("maed", "off")
EXECUTORS = ("auto", "engine", "python")


@dataclass(frozen=True)
class Options:
    """What a session is asked to do. Wrong values raise OptionError (or PolicyError) with the legal ones.

    exit_policy   name of a policy in `edgerun.exits.REGISTRY`: none, confidence, entropy, patience, deadline, dart
    checks        "maed" (default): activations verified by their identities, results tested for being finite; "off"
    threads       worker threads; None: the physical cores this process may use
    executor      "engine" (C++), "python" (Numba/NumPy), "auto": the engine where it is built
    shapes        fixed input shapes by name, for inputs with symbolic dimensions
    dimensions    fixed sizes of symbolic dimensions by their name ("batch")
    outputs       compute only these outputs (and what they need); early exits are then not available
    strict        refuse operators that only the reference fallback can run
    adaptive      let the exit thresholds adapt while running (policy "dart" only)
    budget_ms     time budget of one run in milliseconds (policy "deadline")
    thresholds    one threshold for all exits but the last, or one each, instead of those in the model
    patience      agreeing exits after the first that policy "patience" asks for
    tune          after a few runs measure which steps gain from several threads (some dozen runs' time, three times a plan)
    plan_cache    how many plans (one per combination of input shapes) are kept
    nonfinite     "error": NaN or infinity in an input raises InputError; "allow": it is computed with
    """

    exit_policy: str = "none"
    checks: str = "maed"
    threads: int | None = None
    executor: str = "auto"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dimensions: Mapping[str, int] = field(default_factory=dict)
    outputs: tuple[str, ...] | None = None
    strict: bool = False
    adaptive: bool = False
    budget_ms: float | None = None
    thresholds: tuple[float, ...] | None = None
    patience: int | None = None
    tune: bool = True
    plan_cache: int = 8
    nonfinite: str = "error"

    def __post_init__(self) -> None:
        _one_of("checks", self.checks, CHECKS)
        _one_of("executor", self.executor, EXECUTORS)
        _one_of("nonfinite", self.nonfinite, ("error", "allow"))
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise OptionError(f"threads: expected 1 to 1024, or None for the physical cores; found {self.threads}")
        if self.plan_cache < 1:
            raise OptionError(f"plan_cache: expected at least 1 plan; found {self.plan_cache}")
        for name, shape in self.shapes.items():
            if not all(isinstance(d, int) and d >= 0 for d in shape):
                raise OptionError(f"shapes: expected whole, non-negative dimensions for {name!r}; found {list(shape)}")
        if self.adaptive and self.exit_policy != "dart":
            raise PolicyError(f"adaptive belongs to exit_policy 'dart'; found policy {self.exit_policy!r}")


def _one_of(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise OptionError(f"{name}: expected one of {', '.join(legal)}; found {value!r}")


def default_threads() -> int:
    """Physical cores this process may use (hyper-threads of one core count once), at least 1."""
    try:
        usable = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    cores = set()
    for cpu in usable:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            cores.add((topology / "thread_siblings_list").read_text().strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))
