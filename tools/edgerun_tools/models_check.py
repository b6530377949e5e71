"""One row of the table of `python -m edgerun_tools.models`: does a model run, is it right, and how much of it in 8 bits?"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgerun import Session
from edgerun.errors import EdgeRunError, EdgeRunWarning
from edgerun.executors import engine
from edgerun.planner import int8
from edgerun_tools.compare_layers import Report
from edgerun_tools.compare_layers import layers as compare_layers
from edgerun_tools.compare_numbers import Bounds, Difference, grains_of
from edgerun_tools.compare_sides import OnnxRuntime, Ours
from edgerun_tools.defined import defined, is_quantised
from edgerun_tools.models_inputs import SHAPES, Feeds, Inputs, inputs_of

FLOAT_BOUND = 1e-4
"""Largest accepted difference of a float32 model, relative to the output's scale."""
SHARE_BOUND = 0.999
"""Least accepted share of an 8-bit model's outputs within one step, unless every layer by itself is within STEPS_BOUND: a number
between two steps may go either way, and the layers behind amplify that, also from float32 to float32."""
POINTS_BOUND = 0.3
"""Points of accuracy that our answers may lose against ONNX Runtime's; against the model as defined, two standard errors of the
difference more: a few hundred images do not tell 0.3 points from none."""
OUTPUTS, MOST_INPUTS = 50_000, 500
"""More than the fewest inputs are tried until there are so many outputs, or inputs."""
STEPS_BOUND = 1
"""Largest accepted difference of a layer of an 8-bit model that goes on from our tensors, in steps."""
LAYER_INPUTS = 3
"""Inputs on which every layer is compared by itself."""
Run = Callable[[Feeds], list[np.ndarray]]


@dataclass
class Row:
    """What was found. worst: fp32: relative to the output's scale; int8: steps. share: of outputs within one step, ort_share:
    the same of ONNX Runtime with its own 8-bit kernels, float_share of the same model in float32 with its graph optimised (another
    order of sums: two right answers that share most of their rounding). layer_steps: the worst difference of a layer that goes
    on from our tensors. accuracy: right answers of each side, and of how many. bits: inputs on
    which engine and Python executor had equal bits, and all. int8_layers, other_layers: None where the plan is made at run
    time. reasons: why the row fails; it is right where there are none."""

    model: str
    kind: str = "?"
    threads: tuple[int, ...] = ()
    inputs: str = ""
    count: int = 0
    runs: bool = False
    worst: float | None = None
    share: float | None = None
    ort_share: float | None = None
    float_share: float | None = None
    layer_steps: float | None = None
    accuracy: dict[str, Any] | None = None
    bits: tuple[int, int] | None = None
    int8_layers: int | None = None
    other_layers: int | None = None
    fallbacks: dict[str, int] = field(default_factory=dict)
    findings: int = 0
    reasons: list[str] = field(default_factory=list)


def check(path: Path, data: Path, threads: Sequence[int], *, fewest: int = 5, bits: int = 100, images: int | None = None) -> Row:
    """Everything about one model. Never raises: what goes wrong is the row's reason. images: labelled ones at most."""
    row = Row(path.stem, threads=tuple(threads))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EdgeRunWarning)
            _fill(row, path, data, fewest, bits, images)
    except EdgeRunError as e:
        row.reasons.append(f"{type(e).__name__}: {e}")
    except Exception as e:  # ONNX Runtime's own kinds, and whatever an executor in the making raises
        row.reasons.append(f"{type(e).__name__}: {' '.join(str(e).split())[:300]}")
    return row


def _fill(row: Row, path: Path, data: Path, fewest: int, bits: int, images: int | None) -> None:
    model = onnx.load(path)
    quantised = is_quantised(model)
    row.kind = "int8" if quantised else "fp32"
    shapes = SHAPES.get(path.stem, {})
    with Session(path, threads=row.threads[0], shapes=shapes) as session:
        inputs = inputs_of(path.stem, session, data)
        row.inputs = inputs.what
        row.fallbacks = dict(Counter(op for _, _, op, _ in session.plan.fallbacks))
        if quantised:
            found = int8.layers(session.plan)
            row.int8_layers = sum(layer.int8 for layer in found)
            row.other_layers = len(found) - row.int8_layers
        outputs = session.run(inputs.feeds(0)).outputs
        row.runs = True
        size = sum(a.size for a in outputs.values())
        numbers = inputs.spread(max(fewest, min(MOST_INPUTS, OUTPUTS // max(1, size))))
        row.count = len(numbers)
        meaning = defined(model) if quantised else model
        sides = Sides(meaning, path, row.threads[0])
    for count in row.threads:
        with Session(path, threads=count, shapes=shapes) as session:
            _compare(row, session, inputs, numbers, sides)
    if quantised:
        _layers(row, path, shapes, inputs, meaning)
    _judge(row)
    if inputs.labels is not None:
        with Session(path, threads=row.threads[0], shapes=shapes) as session:
            _accuracy(row, session, inputs, images, {"ort": sides.ort} | ({"defined": sides.defined} if quantised else {}))
    if quantised and bits:
        _bits(row, path, shapes, inputs, bits)
    if row.findings:
        row.reasons.append(f"{row.findings} findings of the checks on clean inputs")


# -- the other side ---------------------------------------------------------------------------------------------------


class Sides:
    """What a model is compared with. meaning: the model, quantised operators written out; path: as users run it.

    ort: ONNX Runtime as it comes, with its own 8-bit kernels. defined: the meaning in float32, node by node; again: likewise with
    its graph optimised. steps: of each output, see `output_steps`. Without quantised operators all three are ort.
    """

    def __init__(self, meaning: onnx.ModelProto, path: Path, threads: int) -> None:
        self.quantised = is_quantised(meaning)
        self.ort = self.defined = self.again = onnx_runtime(path, threads)
        self.steps = output_steps(meaning)
        if self.quantised:
            blob = meaning.SerializeToString()
            self.defined, self.again = (onnx_runtime(blob, threads, optimised=o, in_float=True) for o in (False, True))


def onnx_runtime(model: Path | bytes, threads: int, *, optimised: bool = True, in_float: bool = False) -> Run:
    """A model in ONNX Runtime on the CPU. optimised: with all its graph optimisations; in_float: but for those that put 8-bit
    kernels in the place of float operators between DequantizeLinear and QuantizeLinear."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", str(int(in_float)))
    session = ort.InferenceSession(str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"])
    return lambda feeds: list(session.run(None, feeds))


def output_steps(model: onnx.ModelProto) -> list[float]:
    """What one step of each output is worth: 1 for integers, else the (largest) scale of the last quantised tensors in front
    of it, 0 where there are none. The model's quantised operators must be written out (`defined`)."""
    makers = {name: node for node in model.graph.node for name in node.output}
    held = {i.name: i for i in model.graph.initializer}

    def behind(name: str, seen: set[str]) -> float:
        node = makers.get(name)
        if node is None or name in seen:
            return 0.0
        seen.add(name)
        if node.op_type in ("DequantizeLinear", "QuantizeLinear") and node.input[0] not in held and node.input[1] in held:
            return float(np.abs(numpy_helper.to_array(held[node.input[1]])).max(initial=0))
        return max((behind(i, seen) for i in node.input), default=0.0)

    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return [behind(o.name, set()) if o.type.tensor_type.elem_type in floats else 1.0 for o in model.graph.output]


# -- ours -------------------------------------------------------------------------------------------------------------


def _compare(row: Row, session: Session, inputs: Inputs, numbers: Sequence[int], sides: Sides) -> None:
    """Worst difference; of an 8-bit model also the shares within one step, against the model as defined."""
    worst, outputs, inside = 0.0, 0, np.zeros(3)
    for k in numbers:
        feeds = inputs.feeds(k)
        result = session.run(feeds)
        row.findings += len(result.checks.findings)
        ours = [result.outputs[o.name] for o in session.outputs]
        expected = sides.defined(feeds)
        if not sides.quantised:
            worst = max([worst, *(Difference.of(a, b).max_rel for a, b in zip(ours, expected, strict=True))])
            continue
        answers = (ours, sides.ort(feeds), sides.again(feeds))
        for o, (meant, step) in enumerate(zip(expected, sides.steps, strict=True)):
            d = Difference.of(ours[o], meant)
            step = step or d.scale / 127
            worst, outputs = max(worst, d.max_abs / step), outputs + meant.size
            inside += [_within(a[o], meant, step) for a in answers]
    row.worst = max(row.worst or 0.0, worst)
    if sides.quantised:
        shares = inside / outputs
        row.share = min(1.0 if row.share is None else row.share, float(shares[0]))
        row.ort_share, row.float_share = float(shares[1]), float(shares[2])


def _within(a: np.ndarray, b: np.ndarray, step: float) -> float:
    """How many numbers are at most one step apart."""
    if a.shape != b.shape:
        return 0.0
    return float((np.abs(a.astype(np.float64) - b.astype(np.float64)) <= step * 1.001).sum())  # the step's own rounding


def _judge(row: Row) -> None:
    assert row.worst is not None
    if row.kind == "fp32" and not row.worst <= FLOAT_BOUND:
        row.reasons.append(f"differs from ONNX Runtime by {row.worst:.1e} of the output's scale; bound {FLOAT_BOUND:.0e}")
    if row.layer_steps is not None and not row.layer_steps <= STEPS_BOUND and not (row.share or 0.0) >= SHARE_BOUND:
        row.reasons.append(f"{100 * (row.share or 0.0):.2f} % of the outputs are within one step of the model as defined (worst "
                           f"{row.worst:.1f} steps); bound {100 * SHARE_BOUND} %, and a layer by itself differs by "
                           f"{row.layer_steps:.1f} steps (edgerun compare names it)")


def _layers(row: Row, path: Path, shapes: Mapping[str, tuple[int, ...]], inputs: Inputs, meaning: onnx.ModelProto) -> None:
    """The worst difference of any layer in steps, each going on from our tensors."""
    options: dict[str, Any] = {"threads": row.threads[0], "tune": False}
    feeds = [inputs.feeds(k) for k in inputs.spread(LAYER_INPUTS)]
    with Session(path, shapes=shapes, **options) as session:
        ours = Ours(session, "edgerun", options, feeds[0])
        report = Report(path.stem, ours, "", [], Bounds(steps=STEPS_BOUND, grains=grains_of(meaning.graph)), isolated=True)
        compare_layers(report, OnnxRuntime(meaning, ours.types, row.threads[0], False), feeds)
    row.layer_steps = max((r.steps for r in report.rows if r.steps is not None), default=0.0)
    row.findings += ours.findings


def _accuracy(row: Row, session: Session, inputs: Inputs, images: int | None, others: dict[str, Run]) -> None:
    """Right answers on labelled inputs, ours and theirs."""
    assert inputs.labels is not None
    numbers = inputs.spread(images or inputs.count)
    name = session.outputs[0].name
    right: dict[str, list[bool]] = {who: [] for who in ("ours", *others)}
    for k in numbers:
        feeds = inputs.feeds(k)
        label = inputs.labels[k]
        right["ours"].append(bool(session.run(feeds).outputs[name].argmax() == label))
        for other, call in others.items():
            right[other].append(bool(call(feeds)[0].argmax() == label))
    row.accuracy = {"set": inputs.what, "images": len(numbers), **{who: sum(r) for who, r in right.items()}}
    for other in others:
        apart = np.array(right[other], int) - np.array(right["ours"], int)
        lost, error = 100 * apart.mean(), 100 * float(np.sqrt(np.abs(apart).sum())) / len(numbers)
        bound = POINTS_BOUND + (2 * error if other == "defined" else 0.0)
        if lost > bound:
            row.reasons.append(f"{lost:.2f} points less accurate than ONNX Runtime{' in float32' if other == 'defined' else ''}; "
                               f"bound {bound:.2f}")


def _bits(row: Row, path: Path, shapes: Mapping[str, tuple[int, ...]], inputs: Inputs, count: int) -> None:
    """Whether both executors have the same bits."""
    if not engine.available():
        row.reasons.append("the C++ engine is not built: its bits cannot be compared")
        return
    numbers = inputs.spread(count)
    with (Session(path, executor="engine", threads=row.threads[-1], shapes=shapes) as ours,
          Session(path, executor="python", shapes=shapes) as definition):
        if ours.executor_name != "engine":
            row.reasons.append("the engine cannot run it (a step without a kernel of its own)")
            return
        equal = 0
        for k in numbers:
            a, b = (s.run(inputs.feeds(k)).outputs for s in (ours, definition))
            equal += all(a[n].dtype == b[n].dtype and a[n].tobytes() == b[n].tobytes() for n in b)
    row.bits = (equal, len(numbers))
    if equal < len(numbers) and not row.other_layers:  # float32 kernels may differ in the last place
        row.reasons.append(f"engine and Python executor have other bits on {len(numbers) - equal} of {len(numbers)} inputs")
