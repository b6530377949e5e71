"""One message before the detector: batches, scores of the wrong number, values that JSON cannot hold."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import InputError, ModelFormatError, OptionError, Refused
from edgerun.serve.oip import Array

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Verdict:
    """value: of the sample that looks most manipulated, finite (LARGEST stands for infinity)."""

    value: float
    threshold: float
    attack: bool


class Judge:
    """`edgerun.detect.Detector` for one worker. blob: of the ONNX file; name: its path; rate: of false alarms; tail: SHA-256 of the model
    that is judged. Raises ModelError, OptionError."""

    def __init__(self, blob: bytes, name: str, rate: float, tail: str) -> None:
        try:
            make = importlib.import_module("edgerun.detect").Detector
        except ImportError as e:
            raise OptionError(f"{name}: expected edgerun.detect for this detector; found none: {e}") from e
        try:
            self._detector: Any = make(blob, rate=rate)
        except OptionError as e:
            raise OptionError(f"{name}: {str(e).removeprefix('model bytes: ')} (--fpr)") from e
        if self._detector.about.tail and not self._detector.belongs_to(tail):
            raise ModelFormatError(f"{name}: expected the detector of the model with sha256 {tail[:12]}…; found one of "
                                   f"{self._detector.about.tail[:12]}…; train one: edgerun detect train")

    def score(self, features: Array, exit_scores: Array | None, tail_scores: Array | None) -> Verdict:
        """features float32 [n, …]; scores of n samples in any shape. Refused("input") for scores of another number than it has classes."""
        count = len(features)
        exits, tails = (self._rows(s, count) for s in (exit_scores, tail_scores))
        try:
            found = [self._detector.score(features[k:k + 1], exits[k], tails[k]) for k in range(count)]
        except InputError as e:
            raise Refused("input", "the features, or the scores of an exit, are not what the detector of this model takes") from e
        worst = max(found, key=lambda s: s.value - s.threshold)
        value = min(worst.value, LARGEST) if not math.isnan(worst.value) else LARGEST
        return Verdict(float(value), float(worst.threshold), any(s.attack for s in found))

    @staticmethod
    def _rows(scores: Array | None, count: int) -> list[Array | None]:
        if scores is None:
            return [None] * count
        if scores.size % count:
            raise Refused("input", f"exit_scores: expected as many for each of {count} samples; found {scores.size}")
        return list(scores.astype(np.float32, copy=False).reshape(count, -1))

    def close(self) -> None:
        self._detector.close()
