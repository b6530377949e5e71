"""Run a detector: one ONNX file with encoder, decoder, statistics of residuals and decision, beside the tail of a split model."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.detect.about import INPUTS, KEY, MODES, OUTPUTS, About, mode_of
from edgerun.errors import InputError, ModelFormatError, OptionError
from edgerun.feeds import is_finite
from edgerun.session import Session

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Score:
    """value: greater for what looks manipulated, infinite for what is not finite. threshold: of the chosen false-positive rate in this
    mode. attack: value > threshold, or not a number. parts: what the value is made of, by name. mode: one of `edgerun.detect.MODES`."""

    value: float
    threshold: float
    attack: bool
    parts: Mapping[str, float]
    mode: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; numbers that are not finite become null."""
        return {"value": _plain(self.value), "threshold": self.threshold, "attack": self.attack, "mode": self.mode,
                "parts": {k: _plain(v) for k, v in self.parts.items()}}


class Detector:
    """A detector that `edgerun detect train` wrote.

        with Detector("detector.onnx", rate=0.01) as detector:
            score = detector.score(features)                                   # before the tail runs
            score = detector.score(features, exit_scores, tail_scores)         # surer: the answers have to agree
            if score.attack: ...

    model: path or the file's bytes. rate: nominal share of benign inputs that are taken for attacks, one of `about.rates`.
    options: those of `edgerun.Session`; threads is 1 unless given, the work is a few microseconds. Any number of threads may call it.
    Raises ModelError, OptionError.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, *, rate: float = 0.05, **options: Any) -> None:
        settings: dict[str, Any] = {"threads": 1, "nonfinite": "allow"} | options
        self.session = Session(model, **settings)
        name = self.session.name
        if KEY not in self.session.metadata:
            raise ModelFormatError(f"{name}: expected a detector, with metadata {KEY}; found none; `edgerun detect train` makes one")
        self.about = About.loads(self.session.metadata[KEY], name)
        wanted = (self.about.shape, (1, self.about.classes), (1, self.about.classes))
        found = {i.name: i.shape[1:] for i in self.session.fixed_inputs}
        made = {o.name for o in self.session.outputs}
        if found != {n: s[1:] for n, s in zip(INPUTS, wanted, strict=True)} or tuple(found) != INPUTS or made != set(OUTPUTS):
            raise ModelFormatError(f"{name}: expected inputs {', '.join(INPUTS)} and outputs {', '.join(OUTPUTS)} as metadata {KEY} says; "
                                   f"found {', '.join(map(str, self.session.inputs))} and {', '.join(sorted(made))}")
        self.rate = rate
        self._threshold = {m: t for m in self.about.thresholds if (t := self.about.threshold(m, rate)) is not None}
        if set(self._threshold) != set(self.about.thresholds):
            raise OptionError(f"{name}: rate: expected one of {', '.join(f'{r:g}' for r in self.about.rates)}, it was calibrated for; "
                              f"found {rate!r}")
        order = [o.name for o in self.session.outputs]
        self._at = [order.index(n) for n in OUTPUTS]
        self._nothing = np.zeros((1, self.about.classes), np.float32)

    def belongs_to(self, tail_sha256: str) -> bool:
        """Whether it was made for the tail of this digest; a detector that does not say belongs to none."""
        return bool(self.about.tail) and self.about.tail == tail_sha256

    def score(self, features: Array, exit_scores: Array | Sequence[float] | None = None,
              tail_scores: Array | Sequence[float] | None = None) -> Score:
        """Of one message: features float32 of `about.shape`; logits of the head's last exit and of the tail, [classes] or [1, classes].

        InputError where dtype or shape do not fit. What is not finite is an attack: nothing benign is, whatever the noise."""
        scores = [None if s is None else self._answer(n, s) for n, s in (("exit_scores", exit_scores), ("tail_scores", tail_scores))]
        if not isinstance(features, np.ndarray) or features.dtype != np.float32 or features.shape != self.about.shape:
            found = f"{features.dtype} {list(features.shape)}" if isinstance(features, np.ndarray) else type(features).__name__
            raise InputError(f"features '{self.about.tensor}': expected float32 {list(self.about.shape)}; found {found}")
        mode = mode_of(scores[0] is not None, scores[1] is not None)
        if mode not in self._threshold:
            raise InputError(f"detector: expected what one of its modes needs ({', '.join(self._threshold)}); found {mode}")
        if not all(s is None or is_finite(s) for s in (features, *scores)):
            return Score(math.inf, self._threshold[mode], True, {}, mode)
        given = [self._nothing if s is None else s for s in scores]
        outputs = self.session.run_raw([np.ascontiguousarray(features), *given]).outputs
        value = float(outputs[self._at[0]][0, MODES.index(mode)])  # type: ignore[index]
        threshold = self._threshold[mode]
        parts = dict(zip(self.about.parts, outputs[self._at[1]][0].tolist(), strict=True))  # type: ignore[index]
        return Score(value if math.isfinite(value) else math.inf, threshold, not value <= threshold, parts, mode)

    def scores(self, features: Array, exit_scores: Array | None = None, tail_scores: Array | None = None) -> Array:
        """Of many messages, [N, …] and [N, classes]: values float64 [N] in the mode of what is given, infinite for what is not finite."""
        mode, none = mode_of(exit_scores is not None, tail_scores is not None), np.zeros((len(features), self.about.classes), np.float32)
        given = (features, none if exit_scores is None else exit_scores, none if tail_scores is None else tail_scores)
        bad = np.any([~np.isfinite(g.reshape(len(g), -1)).all(1) for g in given], axis=0)
        kept = {n: np.ascontiguousarray(np.where(np.isfinite(g), g, 0), np.float32) for n, g in zip(INPUTS, given, strict=True)}
        value = self.session.run(kept).outputs["scores"][:, MODES.index(mode)].astype(np.float64)
        return np.where(bad | ~np.isfinite(value), np.inf, value)

    def threshold(self, mode: str) -> float:
        """Of the chosen rate in a mode. InputError for a mode that it was not calibrated for."""
        if mode not in self._threshold:
            raise InputError(f"mode: expected one of {', '.join(self._threshold)}; found {mode!r}")
        return self._threshold[mode]

    def _answer(self, name: str, scores: Array | Sequence[float]) -> Array:
        try:
            found = np.asarray(scores, np.float32)
        except (ValueError, TypeError) as e:
            raise InputError(f"{name}: expected {self.about.classes} numbers; found {type(scores).__name__}") from e
        if found.size != self.about.classes or found.ndim > 2:
            raise InputError(f"{name}: expected {self.about.classes} numbers; found shape {list(found.shape)}")
        return found.reshape(1, -1)

    def close(self) -> None:
        """Give memory back; the detector must not be used afterwards."""
        self.session.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
