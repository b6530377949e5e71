"""Run a detector: one ONNX file with encoder, decoder, statistics of residuals and decision, beside the tail of a split model."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from edgerun.detect.about import INPUTS, KEY, MODES, TOGETHER, About, mode_of, output_of
from edgerun.detect.lane import Lane
from edgerun.errors import InputError, ModelFormatError, OptionError
from edgerun.session import Session

Array = np.ndarray[Any, Any]


class Score(NamedTuple):
    """value: greater for what looks manipulated, infinite for what is not finite. threshold: of the chosen false-positive rate in this
    mode. attack: value > threshold, or not a number. mode: one of `edgerun.detect.MODES`. numbers: the value, then its parts, of names
    `names`; nothing where the features are not finite."""

    value: float
    threshold: float
    attack: bool
    mode: str
    names: tuple[str, ...] = ()
    numbers: Sequence[float] = ()

    @property
    def parts(self) -> dict[str, float]:
        """What the value is made of, by name."""
        return dict(zip(self.names, self.numbers[1:], strict=True))

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
    options: those of `edgerun.Session`; threads is 1 unless given, the work is a few microseconds, and checks "off": a score that is not
    finite is an attack anyway, and other findings only `on_finding` and `fault_log` would tell. Any number of threads may call it.
    Raises ModelError, OptionError.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, *, rate: float = 0.05, **options: Any) -> None:
        settings: dict[str, Any] = {"threads": 1, "nonfinite": "allow", "checks": "off"} | options
        self._options, whole = settings, Session(model, **settings)
        self.name, self._proto = whole.name, whole.proto
        if KEY not in whole.metadata:
            raise ModelFormatError(f"{self.name}: expected a detector, with metadata {KEY}; found none; `edgerun detect train` makes one")
        self.about = About.loads(whole.metadata[KEY], self.name)
        wanted = (self.about.shape, (1, self.about.classes), (1, self.about.classes))
        found = {i.name: i.shape[1:] for i in whole.fixed_inputs}
        made, each = {o.name for o in whole.outputs}, set(map(output_of, MODES))
        if found != {n: s[1:] for n, s in zip(INPUTS, wanted, strict=True)} or tuple(found) != INPUTS or made not in (set(TOGETHER), each):
            raise ModelFormatError(f"{self.name}: expected inputs {', '.join(INPUTS)} and outputs {', '.join(map(output_of, MODES))} as "
                                   f"metadata {KEY} says; found {', '.join(map(str, whole.inputs))} and {', '.join(sorted(made))}")
        self.rate = rate
        self._threshold = {m: t for m in self.about.thresholds if (t := self.about.threshold(m, rate)) is not None}
        if set(self._threshold) != set(self.about.thresholds):
            raise OptionError(f"{self.name}: rate: expected one of {', '.join(f'{r:g}' for r in self.about.rates)}, it was calibrated "
                              f"for; found {rate!r}")
        self._lanes: list[Lane | None] = [None] * len(MODES)
        self._making = threading.Lock()
        if made == set(TOGETHER):
            self._lanes = [Lane(whole, self.about, m, self._threshold[m]) if m in self._threshold else None for m in MODES]
        else:
            whole.close()
        self._nothing = np.zeros((1, self.about.classes), np.float32)

    def belongs_to(self, tail_sha256: str) -> bool:
        """Whether it was made for the tail of this digest; a detector that does not say belongs to none."""
        return bool(self.about.tail) and self.about.tail == tail_sha256

    def score(self, features: Array, exit_scores: Array | Sequence[float] | None = None,
              tail_scores: Array | Sequence[float] | None = None) -> Score:
        """Of one message: features float32 of `about.shape`; logits of the head's last exit and of the tail, [classes] or [1, classes].

        InputError where dtype or shape do not fit. What is not finite is an attack: nothing benign is, whatever the noise."""
        known = (exit_scores is not None) + 2 * (tail_scores is not None)
        lane, nothing = self._lanes[known] or self._lane(MODES[known]), self._nothing
        feeds: Any = features, nothing if exit_scores is None else exit_scores, nothing if tail_scores is None else tail_scores
        try:
            outputs = lane.run(feeds)  # which looks at types and shapes itself
        except (InputError, AttributeError):
            outputs = lane.run(self._checked(*feeds))
        if outputs is None:
            return Score(math.inf, lane.threshold, True, lane.mode)
        found = outputs[0].tolist()[0] if lane.own else lane.read(outputs)
        value = found[0]
        if not -math.inf < value < math.inf:
            return Score(math.inf, lane.threshold, True, lane.mode)
        told = value, lane.threshold, value > lane.threshold, lane.mode, lane.parts, found
        return tuple.__new__(Score, told)  # half the time of Score(…)

    def scores(self, features: Array, exit_scores: Array | None = None, tail_scores: Array | None = None) -> Array:
        """Of many messages, [N, …] and [N, classes]: values float64 [N] in the mode of what is given, infinite for what is not finite."""
        lane = self._lane(mode_of(exit_scores is not None, tail_scores is not None))
        none = np.zeros((len(features), self.about.classes), np.float32)
        given = (features, none if exit_scores is None else exit_scores, none if tail_scores is None else tail_scores)
        bad = np.any([~np.isfinite(g.reshape(len(g), -1)).all(1) for g in given], axis=0)
        value = lane.many([np.ascontiguousarray(np.where(np.isfinite(g), g, 0), np.float32) for g in given])
        return np.where(bad | ~np.isfinite(value), np.inf, value)

    def threshold(self, mode: str) -> float:
        """Of the chosen rate in a mode. InputError for a mode that it was not calibrated for."""
        if mode not in self._threshold:
            raise InputError(f"mode: expected one of {', '.join(self._threshold)}; found {mode!r}")
        return self._threshold[mode]

    def _lane(self, mode: str) -> Lane:
        """Made when it is asked for first. InputError for a mode that it was not calibrated for."""
        if mode not in self._threshold:
            raise InputError(f"detector: expected what one of its modes needs ({', '.join(self._threshold)}); found {mode}")
        with self._making:
            lane = self._lanes[MODES.index(mode)]
            if lane is None:
                session = Session(self._proto.SerializeToString(), **(self._options | {"outputs": (output_of(mode),)}))
                lane = self._lanes[MODES.index(mode)] = Lane(session, self.about, mode, self._threshold[mode])
            return lane

    def _checked(self, features: object, *answers: object) -> tuple[Array, ...]:
        """What does not fit as it is, converted, or refused by name."""
        if not isinstance(features, np.ndarray) or features.dtype != np.float32 or features.shape != self.about.shape:
            found = f"{features.dtype} {list(features.shape)}" if isinstance(features, np.ndarray) else type(features).__name__
            raise InputError(f"features '{self.about.tensor}': expected float32 {list(self.about.shape)}; found {found}")
        return features, *(self._answer(n, a) for n, a in zip(INPUTS[1:], answers, strict=True))

    def _answer(self, name: str, scores: Any) -> Array:
        try:
            found = np.asarray(scores, np.float32)
        except (ValueError, TypeError) as e:
            raise InputError(f"{name}: expected {self.about.classes} numbers; found {type(scores).__name__}") from e
        if found.size != self.about.classes or found.ndim > 2:
            raise InputError(f"{name}: expected {self.about.classes} numbers; found shape {list(found.shape)}")
        return found.reshape(1, -1)

    def close(self) -> None:
        """Give memory back; the detector must not be used afterwards."""
        for lane in self._lanes:
            if lane is not None:
                lane.session.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
