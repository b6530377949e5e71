"""What a detector file says about itself: metadata `edgerun.detector`, schema "edgerun.detector/1"."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgerun.errors import ModelFormatError

KEY = "edgerun.detector"
SCHEMA = "edgerun.detector/1"
INPUTS = ("features", "exit_scores", "tail_scores")
"""Inputs of the file: float32 [N, …] the tensor that travels, [N, classes] logits of the head's last exit and of the tail. What is not
known is fed as zeros; the modes that would need it are then not looked at."""
MODES = ("features", "exit", "tail", "both")
"""What a score was computed from: the features alone, and the answers of the head's exit, of the tail, of both."""
TOGETHER = ("scores", "parts")
"""Outputs of files that were made before modes had outputs of their own (see `output_of`) and that are read, too: float32 [N, 4] in the
order of MODES, and [N, parts] in that of `About.parts`."""
COLUMNS = {"features": ("shape",), "exit": ("shape", "own"), "tail": ("shape", "tail"), "both": ("shape", "exit")}
"""The parts that a mode looks at."""


def output_of(mode: str) -> str:
    """Name of the file's output for a mode: float32 [N, 1 + parts], the score, greater for what looks manipulated, then its parts."""
    return f"score_{mode}"


def mode_of(has_exit: bool, has_tail: bool) -> str:
    """The mode for what is at hand."""
    return MODES[int(has_exit) + 2 * int(has_tail)]


@dataclass(frozen=True)
class About:
    """tensor, shape: what travels, shape of one sample's batch of 1. classes: scores of an answer. exit: the head's exit whose scores are
    compared, "" where there is none. thresholds: {mode: {nominal false-positive rate as text: score}}. parts: names of all parts.
    calibration: on what the thresholds were found. head, tail: sha256 of the files that it belongs to, "" where not known."""

    tensor: str
    shape: tuple[int, ...]
    classes: int
    exit: str
    kind: str
    parts: tuple[str, ...]
    thresholds: Mapping[str, Mapping[str, float]]
    calibration: Mapping[str, Any] = field(default_factory=dict)
    head: str = ""
    tail: str = ""

    def dumps(self) -> str:
        """The text of the metadata entry."""
        return json.dumps({"schema": SCHEMA, **asdict(self)})

    @classmethod
    def loads(cls, text: str, name: str) -> About:
        """Checked. ModelFormatError with `name` of the file."""
        try:
            raw = json.loads(text)
            if not isinstance(raw, dict) or raw.pop("schema", None) != SCHEMA:
                raise ValueError(f"another schema than {SCHEMA}")
            found = cls(**raw | {"shape": tuple(raw["shape"]), "parts": tuple(raw["parts"])})
            if not found.shape or found.shape[0] != 1 or not all(isinstance(d, int) and d > 0 for d in found.shape):
                raise ValueError(f"shape {raw['shape']}")
            if not isinstance(found.classes, int) or found.classes < 2:
                raise ValueError(f"classes {found.classes!r}")
            told = [t for m in found.thresholds.values() for t in m.values()]
            if not set(found.thresholds) <= set(MODES) or not told or not all(math.isfinite(t) for t in told):
                raise ValueError(f"thresholds {raw['thresholds']}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise ModelFormatError(f"{name}: metadata {KEY}: expected what `edgerun detect train` writes ({SCHEMA}); found: {e}") from e
        return found

    def threshold(self, mode: str, rate: float) -> float | None:
        """The score above which a share `rate` of the benign calibration inputs lay; None where that was not calibrated."""
        return next((t for r, t in self.thresholds.get(mode, {}).items() if math.isclose(float(r), rate, rel_tol=1e-6)), None)

    @property
    def rates(self) -> tuple[float, ...]:
        """Nominal false-positive rates that there are thresholds for, in every mode."""
        each = [{float(r) for r in m} for m in self.thresholds.values()]
        return tuple(sorted(set.intersection(*each)))
