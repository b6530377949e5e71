"""The detector's ONNX graph in few steps: at these sizes a step of an engine takes as long as its numbers do.

What is folded, against the network that was trained (`network`):

    layout             maps are transposed once, to channels last; the transposes back in front of poolings and convolutions cost nothing
                       in an engine that computes them channels last
    scaling            a BatchNormalization, and the clipping behind it
    mean of the code   linear, so what reads it is multiplied by its matrix
    tanh r             2 sigmoid(2 r) - 1, beside the counts, which are sigmoids of |r|: a PRelu with slopes -1 and 1 serves all four
    log sum exp e      max e - max log_softmax e
    scores             surprises are sums of ramps of the parts, and so are their sums: a Gemm with a ReLU, and a Gemm
    parts              relu(x) - relu(-x), beside the ramps

Every mode has an output of its own, so that a session of one of them computes nothing else: the witness is not run where both answers are
known. `tests/detect/test_lean.py` shows that all modes are those of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import nn

from edgerun.detect.about import COLUMNS, INPUTS, MODES, output_of
from edgerun_tools.detect.agreement import Witness
from edgerun_tools.detect.decision import LIMIT as FAR
from edgerun_tools.detect.decision import Mixture
from edgerun_tools.detect.nodes import Array, Nodes
from edgerun_tools.detect.statistics import LIMIT, Residuals, Summary

if TYPE_CHECKING:
    from edgerun_tools.detect.network import DetectorNet, Surprise

OPSET, IR = 17, 8
FEATURES, EXIT, TAIL = INPUTS
LEAST, TINY = 1e-6, 1e-12
"""Mean squares and probabilities are clipped here in front of roots and logarithms."""


def model_of(net: DetectorNet, names: Sequence[str], rare: float) -> onnx.ModelProto:
    """Of a network in evaluation mode; inputs as INPUTS says, an output for each of MODES, batch left open. names: of its parts. rare:
    beside answers, the shape counts as far as it is rarer."""
    g = Nodes()
    last = g.put("Transpose", FEATURES, perm=(0, 2, 3, 1)) if len(net.shape) == 4 else FEATURES
    density = _density(g, net.decision, _statistics(g, net.residuals, _summary(g, net.summary, net.shape, last)))
    witness = _witness(g, net.witness, net.shape, last)
    pairs = {"own": (witness, EXIT), "tail": (witness, TAIL), "exit": (EXIT, TAIL)}
    for mode in MODES:
        answers = [_terms(g, net.classes, *pairs[p]) for p in COLUMNS[mode][1:]]
        ramps = [_ramps(net.surprise, names.index(p)) for p in COLUMNS[mode]]
        if answers:
            ramps[0] = _beyond(*ramps[0], -float(np.log(rare)))
        _score(g, g.put("Concat", *density, *answers, axis=1), ramps, net.classes, output_of(mode))
    ends = (net.shape[1:], (net.classes,), (net.classes,))
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *s]) for n, s in zip(INPUTS, ends, strict=True)]
    outputs = [helper.make_tensor_value_info(output_of(m), TensorProto.FLOAT, ["batch", 1 + len(COLUMNS[m])]) for m in MODES]
    graph = helper.make_graph(g.nodes, "detector", inputs, outputs, g.constants)
    return helper.make_model(graph, ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgerun_tools.detect")


def _first(g: Nodes, x: str) -> str:
    """[N, H, W, C] -> [N, C, H, W]."""
    return g.put("Transpose", x, perm=(0, 3, 1, 2))


def _summary(g: Nodes, s: Summary, shape: tuple[int, ...], x: str) -> str:
    """[N, size], scaled and clipped. x: features, maps channels last."""
    if s.map:
        raw = _moments(g, s.rough, all(d % 2 == 0 for d in shape[2:]), g.clip(x, s.low, s.high))
    else:
        raw = g.put("Flatten", g.clip(FEATURES, s.low, s.high))
    scale, centre = _array(s.scale), _array(s.centre)
    return g.clip(g.scaled(raw, 1 / scale, -centre / scale), -LIMIT, LIMIT)


def _moments(g: Nodes, rough: bool, even: bool, x: str) -> str:
    """Mean, root mean square and (rough) the root of what neighbours' means lose of it, of the channels of x [N, H, W, C]; in a row.
    even: 2 x 2 neighbours leave no element out, so the mean of their means is that of all."""
    def squares(y: str) -> str:
        return g.put("GlobalAveragePool", _first(g, g.put("Mul", y, y)))

    energies, average = [squares(x)], _first(g, x)
    if rough:
        smooth = g.put("AveragePool", average, kernel_shape=(2, 2), strides=(2, 2))
        energies.append(g.put("Sub", energies[0], g.put("GlobalAveragePool", g.put("Mul", smooth, smooth))))
        average = smooth if even else average
    roots = g.put("Sqrt", g.clip(g.put("Concat", *energies, axis=1), LEAST))
    return g.put("Flatten", g.put("Concat", g.put("GlobalAveragePool", average), roots, axis=1))


def _statistics(g: Nodes, r: Residuals, v: str) -> str:
    """Scaled summaries v [N, size] -> the statistics of `Residuals`, [N, 6], but for tanh r, which is left as sigmoid(2 r)."""
    vae, inner = r.vae, v
    for weight, bias in _layers(vae.encoder):
        inner = g.linear(inner, weight, bias, relu=True)
    mean, (into, *between, out), (turn, moved) = *_layers(vae.mean), _layers(vae.decoder), _layers(vae.transformer)
    again = inner
    for weight, bias in (_behind(mean, into), *between):
        again = g.linear(again, weight, bias, relu=True)
    left = g.put("Add", g.linear(again, -out[0], -out[1]), v)
    levels = _array(r.levels)
    steep = np.array([2 / levels[1], *(4 / levels)])[:, None]
    bent = g.put("PRelu", g.put("Mul", g.shaped(left, -1, 1, len(out[1])), steep), np.array([[1.0], [-1.0], [-1.0], [-1.0]]))
    counts = g.put("ReduceMean", g.put("Sigmoid", g.put("Add", bent, np.array([[0.0], [-4.0], [-4.0], [-4.0]]))), axes=(2,), keepdims=0)

    white, size = _array(r.white), len(mean[1])
    turned = g.linear(inner, *_behind(mean, turn), relu=True)
    distance = mean[0] @ white, (mean[1] - _array(r.middle)) @ white
    code = g.linear(inner, np.concatenate([mean[0], distance[0]], 1), np.concatenate([mean[1] - moved[1], distance[1]]))
    code = g.put("Add", code, g.put("MatMul", turned, np.concatenate([-moved[0], np.zeros((size, size))], 1)))
    square = g.clip(g.put("Mul", code, code), -np.inf, 9.0)
    logs = g.put("Log", g.clip(g.linear(square, np.repeat(np.eye(2), size, 0) / size, np.zeros(2)), LEAST))
    return g.put("Concat", logs, counts, axis=1)


def _density(g: Nodes, d: Mixture, s: str) -> tuple[str, str]:
    """Two columns [N, 1], the first less the second being minus the logarithm of the density of statistics s [N, 6]."""
    scale, centre = _array(d.scale), _array(d.centre)
    factor, shift = 1 / scale, -centre / scale
    factor[2], shift[2] = 2 / scale[2], (-1 - centre[2]) / scale[2]
    scaled = g.clip(g.scaled(s, factor, shift), -FAR, FAR)
    white = g.linear(scaled, _array(d.roots), -_array(d.shift))
    each = g.linear(g.put("Mul", white, white), np.repeat(-0.5 * np.eye(d.components), d.size, 0), _array(d.weights))
    return g.put("ReduceMax", g.put("LogSoftmax", each, axis=1), axes=(1,)), g.put("ReduceMax", each, axes=(1,))


def _witness(g: Nodes, w: Witness, shape: tuple[int, ...], x: str) -> str:
    """Its logits. x: features, maps channels last."""
    x = g.clip(x, w.low, w.high)
    x = _first(g, x) if len(shape) == 4 else x
    layers = list(w.body)
    for k, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            x = g.put("Conv", x, *_folded(layer, layers[k + 1]), pads=2 * tuple(layer.padding))  # type: ignore[arg-type]
        elif isinstance(layer, nn.Linear):
            x = g.linear(x, *_layers(layer)[0])
        elif isinstance(layer, (nn.AvgPool2d, nn.MaxPool2d)):
            size = (layer.kernel_size, layer.kernel_size)
            x = g.put("AveragePool" if isinstance(layer, nn.AvgPool2d) else "MaxPool", x, kernel_shape=size, strides=size)
        elif not isinstance(layer, nn.BatchNorm2d):  # which is folded in
            x = g.put({nn.ReLU: "Relu", nn.AdaptiveAvgPool2d: "GlobalAveragePool", nn.Flatten: "Flatten"}[type(layer)], x)
    return x


def _terms(g: Nodes, classes: int, a: str, b: str) -> str:
    """p log p of the classes of p, q and their mean, [N, 3 classes], with p and q the softmax of logits a and b."""
    softmax = g.put("Softmax", g.shaped(g.put("Concat", a, b, axis=1), -1, 2, classes), axis=2)
    blend = np.kron([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], np.eye(classes))
    p = g.clip(g.linear(g.shaped(softmax, -1, 2 * classes), blend, np.zeros(3 * classes)), TINY)
    return g.put("Mul", p, g.put("Log", p))


def _ramps(s: Surprise, part: int) -> tuple[Array, Array]:
    """Knots and changes of slope of one part's surprise."""
    return _array(s.knots)[:, part], _array(s.slopes)[:, part]


def _beyond(knots: Array, slopes: Array, level: float) -> tuple[Array, Array]:
    """Of max(y - level, 0) for the broken line y that rises from 0 with these knots and changes of slope."""
    heights = np.maximum(knots[:, None] - knots, 0) @ slopes
    k = int(np.flatnonzero(heights <= level + 1e-5)[-1])  # float32 rounds a knot at the level itself to either side
    steep = float(slopes[:k + 1].sum())
    return np.array([knots[k] + (level - heights[k]) / steep, *knots[k + 1:]]), np.array([steep, *slopes[k + 1:]])


def _score(g: Nodes, columns: str, ramps: Sequence[tuple[Array, Array]], classes: int, name: str) -> None:
    """The output: sum of the ramps of parts, and the parts. columns: those of `_density`, and of `_terms` where there are answers."""
    terms = np.repeat([0.5, 0.5, -1.0], classes) if len(ramps) > 1 else np.zeros(0)
    forms = np.zeros((len(ramps), 2 + len(terms)))
    forms[0, :2], forms[1:, 2:] = (1, -1), terms
    first = [np.concatenate([np.repeat(f[:, None], len(k), 1), f[:, None], -f[:, None]], 1) for f, (k, _) in zip(forms, ramps, strict=True)]
    bias = [np.concatenate([-k, [0.0, 0.0]]) for k, _ in ramps]
    second = []
    for part, (_, slopes) in enumerate(ramps):
        block = np.zeros((len(slopes) + 2, 1 + len(ramps)))
        block[:-2, 0], block[-2:, 1 + part] = slopes, (1, -1)
        second.append(block)
    bent = g.linear(columns, np.concatenate(first, 1), np.concatenate(bias), relu=True)
    g.put("Gemm", bent, np.concatenate(second), name=name)


def _layers(module: nn.Module) -> list[tuple[Array, Array]]:
    """(weight [in, out], bias) of the linear layers in order."""
    return [(_array(m.weight).T, _array(m.bias)) for m in module.modules() if isinstance(m, nn.Linear)]


def _behind(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """Two linear layers as one."""
    return first[0] @ second[0], first[1] @ second[0] + second[1]


def _folded(conv: nn.Conv2d, norm: nn.Module) -> tuple[Array, Array]:
    """Weight and bias of a convolution with the BatchNorm behind it."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    scale = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
    return _array(conv.weight) * scale[:, None, None, None], _array(norm.bias) - _array(norm.running_mean) * scale


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().numpy(), np.float64)
