"""The file's graph computes what the network in PyTorch does, whatever the shape of the features, and only what a mode needs."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

pytest.importorskip("torch", reason="needs the extra detect")
pytest.importorskip("sklearn", reason="needs the extra detect")

import torch

from edgerun import Session
from edgerun.detect import COLUMNS, MODES, About, Detector, output_of
from edgerun_tools.detect import network, noise
from edgerun_tools.detect.agreement import Witness
from edgerun_tools.detect.decision import Mixture
from edgerun_tools.detect.statistics import NAMES, Residuals, Summary
from edgerun_tools.detect.vae import SIZES, AdVae
from edgerun_tools.detect.vae import fit as fit_vae

SHAPES = {"even": lambda x: x[:, :16, :6, :6], "odd": lambda x: x[:, :16], "large": lambda x: np.tile(x[:, :6], (1, 1, 3, 3)),
          "points": lambda x: x[:, :, :1, :1], "flat": lambda x: x[:, :, 3, 3]}
"""Of features [N, 96, 7, 7]."""


@pytest.fixture(scope="module", params=[*SHAPES, "published"])
def made(request, split_digits):
    """(network fitted to real features of a shape, noisy features, logits of the exit and of the tail)."""
    cut_down = SHAPES.get(request.param, SHAPES["even"])
    x, exits = split_digits.sent
    rng = np.random.default_rng(0)
    tail, exits = split_digits.tail.logits(torch.from_numpy(x)).detach().numpy(), exits[:, -1]
    x = np.ascontiguousarray(cut_down(x))
    reference = noise.Reference.of(x)
    noisy = noise.mixture(x, reference, rng)
    torch.manual_seed(0)
    widths = SIZES["paper" if request.param == "published" else "compact"]
    summary = Summary(x.shape, reference.low, reference.high, request.param == "published")
    summary.fit(torch.from_numpy(x))
    v = summary(torch.from_numpy(noisy))
    vae = fit_vae(AdVae(summary.size, widths), lambda: (v[:200], v[:200]), 20)
    residuals = Residuals(vae, summary.size, widths[-1])
    residuals.fit(v)
    with torch.no_grad():
        decision = Mixture(len(NAMES)).fit(residuals(v))
        witness = Witness(x.shape, 10, reference.low, reference.high)
        witness(torch.from_numpy(noisy))  # BatchNorm's averages become those of features
    net = network.DetectorNet(summary, residuals, decision, witness, x.shape, 10).eval()
    net.surprise.fit(net.run(noisy, exits, tail)[1])
    return net, noisy[600:800], exits[600:800], tail[600:800]


def about(net) -> About:
    return About("t", (1, *net.shape[1:]), 10, "e", "test", network.PARTS, {m: {"0.05": 1.0} for m in MODES})


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_that_of_the_network(made, mode):
    net, x, exits, tail = made
    with torch.no_grad():  # in float64: float32 is off by as much as the file may be
        scores, parts = (y.numpy() for y in deepcopy(net).double()(*(torch.from_numpy(a).double() for a in (x, exits, tail))))
    with Session(network.export(net, about(net)), threads=1, outputs=(output_of(mode),)) as session:
        found = session.run({"features": x, "exit_scores": exits, "tail_scores": tail}).outputs[output_of(mode)]
    columns = [network.PARTS.index(p) for p in COLUMNS[mode]]
    np.testing.assert_allclose(found[:, 0], scores[:, MODES.index(mode)], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[:, 1:], parts[:, columns], rtol=1e-4, atol=1e-4)
    assert np.ptp(found[:, 0]) > 1 and len(np.unique(found[:, 0] > 0)) == 2  # below and above the first knot


def test_another_runtime_computes_the_same(made):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra test")
    net, x, exits, tail = made
    file, feeds = network.export(net, about(net)), {"features": x, "exit_scores": exits, "tail_scores": tail}
    theirs = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run([output_of(m) for m in MODES], feeds)
    with Session(file, threads=1) as session:
        ours = session.run(feeds).outputs
    for mode, found in zip(MODES, theirs, strict=True):
        np.testing.assert_allclose(ours[output_of(mode)], found, rtol=1e-3, atol=1e-3)  # both are in float32


def test_with_both_answers_the_witness_is_not_run(made):
    net = made[0]
    file = network.export(net, about(net))
    assert onnx.load_from_string(file).ByteSize() == len(file)
    steps = {}
    for mode in ("both", "tail"):
        with Session(file, threads=1, outputs=(output_of(mode),)) as session:
            steps[mode] = [s.kernel for s in session.plan.steps]
    convolved = [k for k in steps["tail"] if "conv" in k]
    assert len(steps["both"]) < len(steps["tail"]) and not [k for k in steps["both"] if "conv" in k]
    assert bool(convolved) == (len(net.shape) == 4)


@pytest.mark.parametrize("mode", MODES)
def test_a_detector_tells_parts_of_its_mode(made, mode):
    net, x, exits, tail = made
    column = MODES.index(mode)
    given = exits[0] if column % 2 else None, tail[:1] if column > 1 else None
    with Detector(network.export(net, about(net))) as detector:
        one = detector.score(x[:1], *given)
        many = detector.scores(x, exits if column % 2 else None, tail if column > 1 else None)
    assert one.mode == mode and tuple(one.parts) == COLUMNS[mode] and one.attack == (one.value > 1)
    np.testing.assert_allclose(many, net.run(x, exits, tail)[0][:, column], rtol=1e-4, atol=1e-4)
    assert one.value == pytest.approx(many[0], rel=1e-5, abs=1e-5)


def together(file: bytes) -> bytes:
    """The file with the outputs that files had before modes had their own."""
    model = onnx.load_from_string(file)
    graph, made = model.graph, [output_of(m) for m in MODES]
    graph.initializer.extend(numpy_helper.from_array(np.array([k]), n) for k, n in enumerate(("zero", "one", "two")))
    graph.node.extend([*(helper.make_node("Gather", [o, "zero"], [f"{o}/value"], axis=1) for o in made),
                       helper.make_node("Concat", [f"{o}/value" for o in made], ["scores"], axis=1),
                       helper.make_node("Gather", ["score_features", "one"], ["shape"], axis=1),
                       *(helper.make_node("Gather", [output_of(m), "two"], [m], axis=1) for m in MODES[1:]),
                       helper.make_node("Concat", ["shape", *MODES[1:]], ["parts"], axis=1)])
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["batch", 4]) for n in ("parts", "scores"))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("mode", MODES)
def test_files_with_one_output_for_all_modes_are_read(made, mode):
    net, x, exits, tail = made
    column, file = MODES.index(mode), network.export(net, about(net))
    given = exits if column % 2 else None, tail if column > 1 else None
    with Detector(file) as new, Detector(together(file)) as old:
        for k in range(3):
            one = [None if g is None else g[k] for g in given]
            found = old.score(x[k:k + 1], *one)
            assert found.value == pytest.approx(new.score(x[k:k + 1], *one).value, rel=1e-5, abs=1e-5)
            assert tuple(found.parts) == network.PARTS and found.mode == mode
        np.testing.assert_allclose(old.scores(x, *given), new.scores(x, *given), rtol=1e-5, atol=1e-5)


def test_features_that_do_not_lie_in_one_piece_are_looked_at_all_the_same(made):
    net, x, exits, tail = made
    apart = np.repeat(x[:1], 2, axis=-1)[..., ::2]
    assert not apart.flags.c_contiguous or apart.size == 1
    with Detector(network.export(net, about(net))) as detector:
        assert detector.score(apart, exits[0], tail[0]).value == detector.score(x[:1], exits[0], tail[0]).value
        apart.reshape(-1)[0] = apart[(0,) * apart.ndim] = np.nan
        found = detector.score(apart, exits[0], tail[0])
    assert found.attack and found.value == np.inf and found.parts == {}


def test_broken_lines_begin_where_they_reach_a_level():
    from edgerun_tools.detect.lean import _beyond

    knots, slopes = np.array([0.0, 1.0, 3.0]), np.array([1.0, 1.0, 2.0])  # 0, 1, 5, then 4 more for each step
    for level in (0.5, 1.0, 2.0, 5.0, 9.0):
        begin, change = _beyond(knots, slopes, level)
        for x in np.linspace(-1, 8, 181):
            line = np.maximum(x - knots, 0) @ slopes
            assert np.maximum(x - begin, 0) @ change == pytest.approx(max(line - level, 0), abs=1e-9)
