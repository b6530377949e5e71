"""Settings of a session, checked once, and the number of threads that suits this machine."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from edgerun.errors import OptionError, PolicyError
from edgerun.limits import Limits

CHECKS = {
    "maed": "activations by their identities, results for being finite",
    "maed-paper": "relu, sigmoid, tanh and exp by the identities as published, for comparison; raises false alarms",
    "abft": "checksums over convolutions and matrix products",
    "range": "operands of convolutions and matrix products against what the products before them can have given; needs abft",
    "weights": "weights, constants and the engine's tables by CRC-32C, some in every run",
    "flow": "that the steps ran in order, each once and to its end",
    "buffers": "intermediate results, inputs and outputs by sums: unchanged from where they are written to where they are read",
    "duplicate": "steps that no checksum covers by computing them twice",
}
"""Kind of check → what it verifies (docs/checks.md)."""
PRESETS: dict[str, tuple[str, ...]] = {
    "off": (),
    "maed": ("maed",),
    "standard": ("maed", "abft", "range", "weights", "flow"),
    "full": ("maed", "abft", "range", "weights", "flow", "buffers", "duplicate"),
}
"""Name → kinds of checks."""
REACTIONS = ("flag", "retry", "abort", "exit-early", "restrict")
"""What is done about a finding, in the engine's order: see Options.on_fault and docs/checks.md."""
EXECUTORS = ("auto", "engine", "python")


@dataclass(frozen=True)
class Options:
    """What a session is asked to do. Wrong values raise OptionError (or PolicyError) with the legal ones.

    exit_policy   name of a policy in `edgerun.exits.REGISTRY`: none, confidence, entropy, patience, deadline, dart
    checks        a preset ("off", "maed" (default), "standard", "full") or kinds of checks, "maed,abft"; see CHECKS
    on_fault      what is done about a finding: "flag" reports it; the others compute the step again, with weights made again if
                  need be, then the whole run, and if that does not help "retry" reports it, "abort" raises FaultError, and
                  "exit-early" gives the answer of the last exit before it (FaultError without one), "restrict" cuts the step's
                  values off at the range seen in calibration (`edgerun ranges`) and goes on. None: "flag" where checks is
                  "off" or "maed", else "retry"
    fault_log     file to which every finding is appended as one line of JSON, flushed to the disk; at 1 MiB it is renamed to
                  FILE.1, at most three such files are kept. None: none
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
    scrub_bytes   weights that check "weights" verifies in every run; None: as many as fit into about 1 % of its time
    tune          after a few runs measure which steps gain from several threads (some dozen runs' time, three times a plan)
    plan_cache    how many plans (one per combination of input shapes) are kept
    nonfinite     "error": NaN or infinity in an input raises InputError, NaN in a weight ModelFormatError; "allow": it is
                  computed with

    Bounds on what a model may ask for (LimitError beyond them; see `edgerun.limits`):

    max_memory    bytes of weights and intermediate results; None: 192 MiB and four times the size of the model
    timeout       seconds that loading, and every run, may take (DeadlineExceeded); None: no bound
    max_file      bytes of the model file, and of each external data file
    max_nodes     nodes of the graph, subgraphs and called functions
    max_depth     graphs within graphs, functions within functions
    max_name      bytes of a name in the model
    max_trips     iterations of all Loop and Scan nodes in one run
    allowed_ops   the only operators that may occur ("Conv", "ai.onnx.ml.Scaler"); None: all that are known
    """

    exit_policy: str = "none"
    checks: str = "maed"
    on_fault: str | None = None
    fault_log: str | os.PathLike[str] | None = None
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
    scrub_bytes: int | None = None
    tune: bool = True
    plan_cache: int = 8
    nonfinite: str = "error"
    max_memory: int | None = None
    timeout: float | None = None
    max_file: int = Limits.file
    max_nodes: int = Limits.nodes
    max_depth: int = Limits.depth
    max_name: int = Limits.name
    max_trips: int = Limits.trips
    allowed_ops: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        kinds_of(self.checks)
        if self.on_fault is not None:
            _one_of("on_fault", self.on_fault, REACTIONS)
        if self.fault_log is not None and not isinstance(self.fault_log, (str, os.PathLike)):
            raise OptionError(f"fault_log: expected the path of a file; found {self.fault_log!r}")
        _one_of("executor", self.executor, EXECUTORS)
        _one_of("nonfinite", self.nonfinite, ("error", "allow"))
        if self.threads is not None:
            self._set("threads", _whole("threads", self.threads))
            if not 1 <= self.threads <= 1024:
                raise OptionError(f"threads: expected 1 to 1024, or None for the physical cores; found {self.threads}")
        self._set("plan_cache", _whole("plan_cache", self.plan_cache))
        if self.plan_cache < 1:
            raise OptionError(f"plan_cache: expected at least 1 plan; found {self.plan_cache}")
        if self.patience is not None:
            self._set("patience", _whole("patience", self.patience))
        if self.budget_ms is not None:
            self._set("budget_ms", _number("budget_ms", self.budget_ms))
        if self.thresholds is not None:
            self._set("thresholds", tuple(_number("thresholds", t) for t in _listed("thresholds", self.thresholds)))
        if self.outputs is not None:
            self._set("outputs", _listed("outputs", self.outputs))
        self._set("shapes", {name: tuple(_size(f"shapes: {name!r}", d) for d in _listed(f"shapes: {name!r}", shape))
                             for name, shape in _named("shapes", self.shapes)})
        self._set("dimensions", {name: _size(f"dimensions: {name!r}", d)
                                 for name, d in _named("dimensions", self.dimensions)})
        for bound in ("scrub_bytes", "max_memory", "max_file", "max_nodes", "max_depth", "max_name", "max_trips"):
            if getattr(self, bound) is not None:
                self._set(bound, _size(bound, getattr(self, bound)))
        if self.timeout is not None:
            self._set("timeout", _number("timeout", self.timeout))
            if not self.timeout > 0:
                raise OptionError(f"timeout: expected a number of seconds above 0, or None; found {self.timeout:g}")
        if self.allowed_ops is not None:
            self._set("allowed_ops", _listed("allowed_ops", self.allowed_ops))
        if self.adaptive and self.exit_policy != "dart":
            raise PolicyError(f"adaptive belongs to exit_policy 'dart'; found policy {self.exit_policy!r}")

    @property
    def reaction(self) -> str:
        """What `on_fault` comes to, one of REACTIONS."""
        if self.on_fault is not None:
            return self.on_fault
        return "flag" if set(kinds_of(self.checks)) <= {"maed"} else "retry"

    @property
    def limits(self) -> Limits:
        """The bounds among the settings, as importer and executors take them."""
        allowed = None if self.allowed_ops is None else frozenset(self.allowed_ops)
        return Limits(self.max_memory, self.timeout, self.max_file, self.max_nodes, self.max_depth, self.max_name,
                      self.max_trips, allowed)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def kinds_of(checks: str) -> tuple[str, ...]:
    """The kinds of a preset, or of a list such as "maed,abft". Raises OptionError naming what there is."""
    if checks in PRESETS:
        return PRESETS[checks]
    names = tuple(dict.fromkeys(part.strip() for part in checks.split(","))) if isinstance(checks, str) else (checks,)
    for name in names:
        if name not in CHECKS:
            raise OptionError(f"checks: expected one of {', '.join(PRESETS)}, or a list of {', '.join(CHECKS)}; found {name!r}")
    return names


def _one_of(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise OptionError(f"{name}: expected one of {', '.join(legal)}; found {value!r}")


def _whole(name: str, value: Any) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # NumPy's integers too
    except TypeError:
        pass
    raise OptionError(f"{name}: expected a whole number; found {value!r}")


def _size(name: str, value: Any) -> int:
    size = _whole(name, value)
    if size < 0:
        raise OptionError(f"{name}: expected 0 or more; found {size}")
    return size


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(f"{name}: expected a number; found {value!r}")
    return float(value)


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise OptionError(f"{name}: expected a tuple or list; found {values!r}")
    return tuple(values)


def _named(name: str, values: Any) -> Iterable[tuple[Any, Any]]:
    if not isinstance(values, Mapping):
        raise OptionError(f"{name}: expected {{name: value}}; found {values!r}")
    return values.items()


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
