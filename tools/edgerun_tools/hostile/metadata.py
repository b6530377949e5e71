"""Damaged entries of our own in the model's metadata: exits, labels, preprocessing, calibration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from edgerun.exits import store

from .case import Array, Case, Family
from .models import F, model, node

_of = Family("metadata")
EXITS = {"edgerun.exits": '["early", "late"]'}
DEEP = "[" * 200_000
Content = Callable[[], onnx.ModelProto]


def two_exits() -> onnx.ModelProto:
    """x [1, 4] → Relu → early → Neg → late."""
    return model([node("Relu", ["x"], ["early"]), node("Neg", ["early"], ["late"])], [("x", F, (1, 4))],
                 [("early", F, (1, 4)), ("late", F, (1, 4))])


def both(feeds: Mapping[str, Array]) -> list[Array]:
    """What `two_exits` answers."""
    early = np.maximum(feeds["x"], 0)
    return [early, -early]


def _with(**entries: str) -> Content:
    """A model of two exits with these entries; `exits` etc. are short for edgerun.exits etc."""

    def content() -> onnx.ModelProto:
        made = two_exits()
        for key, value in (EXITS | {f"edgerun.{k}": v for k, v in entries.items()}).items():
            made.metadata_props.add(key=key, value=value)
        return made

    return content


def _recipe(**changes: Any) -> Content:
    legal = {"layout": "NCHW", "color": "L", "size": [1, 4]}
    return _with(preprocess=json.dumps(legal | changes))


def _calibrated(**changes: Any) -> Content:
    """A calibration that is right but for `changes`."""

    def content() -> onnx.ModelProto:
        legal = {"version": store.VERSION, "model_sha256": store.graph_digest(two_exits()),
                 "difficulty": {"tau_edge": 0.1, "low": [0, 0, 0], "high": [1, 1, 1], "weights": [1, 1, 1]},
                 "confidence": {"kind": "confidence", "thresholds": [0.5]}, "segment_ns": [1, 1], "costs": [0.5, 1]}
        return _with(exit_policy=json.dumps(legal | changes))()

    return content


def _confidence(**changes: Any) -> Content:
    return _calibrated(confidence={"kind": "confidence", "thresholds": [0.5]} | changes)


def _cases() -> tuple[Case, ...]:
    e = _of.error
    return (
        e("exits-no-json", "A list of exits that is no JSON.", _with(exits='["early", "la')),
        e("exits-200-000-deep", "A list of exits of 200,000 brackets.", _with(exits=DEEP)),
        e("exits-unknown", "An exit that is no output.", _with(exits='["early", "ghost"]')),
        e("exits-twice", "The same exit twice.", _with(exits='["late", "late"]')),
        e("exits-of-numbers", "Exits that are numbers out of range.", _with(exits="[0, 99]")),
        e("labels-200-000-deep", "Labels of 200,000 brackets.", _with(labels=DEEP)),
        e("labels-count", "Three labels for four classes.", _with(labels='["a", "b", "c"]')),
        e("preprocess-200-000-deep", "A preprocessing recipe of 200,000 brackets.", _with(preprocess=DEEP)),
        e("preprocess-list", "A preprocessing recipe that is a list.", _with(preprocess="[1, 2]")),
        e("preprocess-std-0", "A preprocessing recipe that divides by 0.", _recipe(std=0)),
        e("preprocess-scale-nan", "A preprocessing recipe with a scale that is no number.", _recipe(scale=float("nan"))),
        e("preprocess-mean-nan", "A preprocessing recipe with a mean that is no number.", _recipe(mean=float("nan"))),
        e("preprocess-size-infinite", "A preprocessing recipe with an infinite size.", _recipe(size=[float("inf"), 4])),
        _of.either("preprocess-size-2-40", "A preprocessing recipe of 2^40 x 2^40 pixels, which no image here needs.",
                   _recipe(size=[1 << 40, 1 << 40]), both),
        e("calibration-200-000-deep", "A calibration of 200,000 brackets.", _with(exit_policy=DEEP)),
        e("calibration-version", "A calibration of an unknown version.", _calibrated(version=99)),
        e("calibration-other-graph", "A calibration of another graph.", _calibrated(model_sha256="0" * 64)),
        e("calibration-nan", "A threshold that is no number.", _confidence(thresholds=[float("nan")])),
        e("calibration-1e400", "A threshold of 400 digits.", _confidence(thresholds=[10**400])),
        e("calibration-exits", "Thresholds for five exits of two.", _confidence(thresholds=[0.5] * 5)),
        e("calibration-patience-infinite", "An infinite patience.", _calibrated(
            patience={"kind": "patience", "patience": float("inf")})),
        e("calibration-low-above-high", "A range of difficulty that ends before it begins.", _calibrated(
            difficulty={"tau_edge": 0.1, "low": [2, 2, 2], "high": [1, 1, 1], "weights": [1, 1, 1]})),
        e("calibration-no-costs", "A calibration without costs.", _calibrated(costs=[])),
    )


CASES = _cases()
