"""Bit flips in the weights of a hardened model under ONNX Runtime, and what becomes of them.

Where a flip strikes: "file", a weight of the model before ONNX Runtime reads it (so everything that it folds and rearranges is made
from the wrong weight); or "memory": a weight of the model as ONNX Runtime has optimised it, rearranged copies included, which
is what a running session holds.
"""

from __future__ import annotations

import importlib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgerun.errors import OptionError
from edgerun_tools.hardening.graph import PREFIX
from edgerun_tools.hardening.verdict import FAULT

LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED", "all": "ORT_ENABLE_ALL"}
BITS = (31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20)
"""Sign, exponent, and the three highest bits of the mantissa."""
NOTICEABLE = 1e-3
"""A change of the outputs, relative to their largest value."""
Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Flip:
    """One injected fault and what it did. outcome: "answer" (the highest score is another one, or not finite, for some input),
    "noticeable" (beyond NOTICEABLE), "small", or "refused" (ONNX Runtime would not load or run the model: told, like a flag).
    silent: inputs whose answer changed without a flag."""

    tensor: str
    element: int
    bit: int
    outcome: str
    flagged: bool
    silent: int


def session(model: bytes, level: str = "all", dump: str | None = None) -> Any:
    """An onnxruntime.InferenceSession on one thread. OptionError without onnxruntime or for an unknown level."""
    try:
        ort: Any = importlib.import_module("onnxruntime")
    except ImportError as e:
        raise OptionError(f"expected the Python package onnxruntime; found: {e}. Install it with pip install onnxruntime") from e
    if level not in LEVELS:
        raise OptionError(f"level: expected {', '.join(LEVELS)}; found {level!r}")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[level])
    if dump is not None:
        options.optimized_model_filepath = dump
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def optimised(model: onnx.ModelProto, level: str) -> onnx.ModelProto:
    """The model as ONNX Runtime runs it at a level."""
    with tempfile.TemporaryDirectory(prefix="edgerun-harden-") as folder:
        path = str(Path(folder) / "optimised.onnx")
        session(model.SerializeToString(), level, path)
        return onnx.load(path)


def clean(model: onnx.ModelProto, inputs: Sequence[Feeds], level: str = "all") -> int:
    """How many fault-free runs said fault: there must be none."""
    runner = session(model.SerializeToString(), level)
    return sum(bool(runner.run([FAULT], dict(feeds))[0]) for feeds in inputs)


def campaign(model: onnx.ModelProto, inputs: Sequence[Feeds], flips: int, *, where: str = "memory", level: str = "all",
             seed: int = 0) -> list[Flip]:
    """Flip one random bit at a time. Half of the flips choose a tensor first (small ones are as likely as large), half an element
    of all. Golden copies, which hardening added, are left alone: a flip there raises a flag without doing harm."""
    if where not in ("file", "memory"):
        raise OptionError(f"where: expected file or memory; found {where!r}")
    target = model if where == "file" else optimised(model, level)
    target = _copied(target)
    level = level if where == "file" else "none"
    tensors = [t for t in target.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) >= 1
               and not t.name.startswith(PREFIX)]
    outputs = [o.name for o in target.graph.output]
    runner = session(target.SerializeToString(), level)
    expected = [_outputs(runner, outputs, feeds) for feeds in inputs]
    rng = np.random.default_rng(seed)
    sizes = np.array([np.prod(t.dims) for t in tensors], float)
    found = []
    for k in range(flips):
        tensor = tensors[rng.choice(len(tensors), p=sizes / sizes.sum() if k % 2 else None)]
        kept = tensor.SerializeToString()
        element, bit = _flip(tensor, rng)
        try:
            faulty = session(target.SerializeToString(), level)
            found.append(_judged(tensor.name, element, bit, expected, [_outputs(faulty, outputs, f) for f in inputs]))
        except Exception as e:  # a scale of Resize that makes no sense, say; its exceptions have no common class
            if not type(e).__module__.startswith("onnxruntime"):
                raise
            found.append(Flip(tensor.name, element, bit, "refused", flagged=True, silent=0))
        tensor.ParseFromString(kept)
    return found


def summary(flips: Sequence[Flip]) -> dict[str, Any]:
    """{outcome: [flagged, all]} and the number of runs whose answer changed in silence."""
    flagged, every = Counter(f.outcome for f in flips if f.flagged), Counter(f.outcome for f in flips)
    return {o: [flagged[o], every[o]] for o in ("answer", "noticeable", "small")} | {"silent": sum(f.silent for f in flips)}


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _outputs(runner: Any, names: list[str], feeds: Feeds) -> dict[str, np.ndarray]:
    return dict(zip(names, runner.run(names, dict(feeds)), strict=True))


def _flip(tensor: onnx.TensorProto, rng: np.random.Generator) -> tuple[int, int]:
    values = np.array(numpy_helper.to_array(tensor))
    bits = values.reshape(-1).view(np.uint32)
    element, bit = int(rng.integers(bits.size)), int(rng.choice(BITS))
    bits[element] ^= np.uint32(1 << bit)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return element, bit


def _judged(tensor: str, element: int, bit: int, expected: list[dict[str, np.ndarray]],
            found: list[dict[str, np.ndarray]]) -> Flip:
    answers, flags, worst = [], [], 0.0
    for a, b in zip(expected, found, strict=True):
        pairs = [(x, b[n]) for n, x in a.items() if x.dtype.kind == "f"]
        whole = [(x.astype(np.float64), y.astype(np.float64)) for x, y in pairs if x.shape == y.shape and np.isfinite(y).all()]
        answers.append(len(whole) < len(pairs) or any(int(x.argmax()) != int(y.argmax()) for x, y in whole))
        flags.append(bool(b[FAULT]))
        worst = max([worst, *(float(np.abs(x - y).max() / (np.abs(x).max() + 1e-30)) for x, y in whole)])
    outcome = "answer" if any(answers) else "noticeable" if worst > NOTICEABLE else "small"
    return Flip(tensor, element, bit, outcome, any(flags), sum(a and not f for a, f in zip(answers, flags, strict=True)))
