"""The hardened model against the one it was made from, before it is written: same outputs, no fault."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from edgerun import Session
from edgerun_tools.compare_inputs import probe
from edgerun_tools.hardening.ranges import KIND as RANGE
from edgerun_tools.hardening.verdict import FAULT, STEPS, Check

Feeds = Mapping[str, np.ndarray]
Run = Callable[[Feeds], dict[str, np.ndarray]]
INPUTS = 3


def trial(before: onnx.ModelProto, after: onnx.ModelProto, checks: list[Check], **options: Any) -> dict[str, Any]:
    """Run both on the same random inputs, here and in ONNX Runtime where it is installed.

    Returns {runtime: {"worst": largest difference relative to the output's largest value, "equal": bits, "flags": names of
    checks that said fault}}; options: of our sessions. Calibrated ranges do not count: random numbers may leave them.
    """
    sources = [m.SerializeToString() for m in (before, after)]
    with Session(sources[0], **options) as first, Session(sources[1], **options) as second:
        feeds = [probe(first, seed)[1] for seed in range(INPUTS)]
        found = {"edgerun": _compared(_ours(first), _ours(second), feeds, checks)}
    theirs = [_theirs(s) for s in sources]
    if theirs[0] is not None and theirs[1] is not None:
        found["onnxruntime"] = _compared(theirs[0], theirs[1], feeds, checks)
    return found


def _compared(first: Run, second: Run, inputs: list[dict[str, np.ndarray]], checks: list[Check]) -> dict[str, Any]:
    worst, equal, flags = 0.0, True, dict[str, None]()
    for feeds in inputs:
        a, b = first(feeds), second(feeds)
        for name, x in a.items():
            y = b[name]
            equal = equal and np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
            if x.dtype.kind == "f" and x.size and np.isfinite(x).all():
                scale = float(np.abs(x).max()) or 1.0
                worst = max(worst, float(np.abs(x - y).max()) / scale)
        named = [checks[k] for k in np.flatnonzero(b[STEPS])]
        flags.update((f"{c.layer}: {c.kind}", None) for c in named if not c.kind.startswith(RANGE))
        if bool(b[FAULT]) != bool(b[STEPS].any()):
            flags[FAULT] = None
    return {"worst": worst, "equal": equal, "flags": list(flags)}


def _ours(session: Session) -> Run:
    return lambda feeds: dict(session.run(feeds).outputs)


def _theirs(model: bytes) -> Run | None:
    try:
        ort: Any = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))
