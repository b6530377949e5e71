"""A tail in PyTorch computes what edgerun's engine computes."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from edgerun import Session  # noqa: E402
from edgerun.errors import UnsupportedOpError  # noqa: E402
from edgerun_tools.detect.features_of import POINTS  # noqa: E402
from edgerun_tools.detect.tail import TorchTail  # noqa: E402
from edgerun_tools.split.cut import Splitter  # noqa: E402

ZOO = Path(__file__).resolve().parents[2] / "models" / "zoo"


@pytest.mark.parametrize(("name", "point"), [(n, p) for n, points in POINTS.items() for p in points])
def test_tails_of_the_zoo_agree_with_the_engine(name, point):
    """On features of the head, whose inputs are noise of the preprocessed images' own spread."""
    cut = Splitter(str(ZOO / name / "model.onnx")).cut([point])
    image = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32)
    with Session(cut.head.SerializeToString(), threads=1) as head, Session(cut.tail.SerializeToString(), threads=1) as tail:
        sent = head.run(image).outputs[point]
        expected = tail.run(sent).outputs
    found = TorchTail(cut.tail)(torch.from_numpy(sent))
    assert list(found) == list(cut.tail_exits)
    for output, values in expected.items():
        np.testing.assert_allclose(found[output].numpy(), values, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_tail(split_digits):
    """Central differences of the engine's own logits along a direction."""
    tail, x = split_digits.tail, split_digits.fresh[0][:1]
    way = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    way /= np.linalg.norm(way)
    at = torch.from_numpy(x.copy()).requires_grad_()
    tail.logits(at)[0, 3].backward()
    slope = float((at.grad.numpy() * way).sum())
    with Session(split_digits.cut.tail.SerializeToString(), threads=1) as session:
        up, down = (float(session.run((x + s * way).astype(np.float32)).outputs["final"][0, 3]) for s in (0.01, -0.01))
    assert (up - down) / 0.02 == pytest.approx(slope, rel=0.05, abs=0.005)


def test_unknown_operators_are_named():
    node = onnx.helper.make_node("Erf", ["x"], ["y"])
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 4]) for n in "xy"]
    with pytest.raises(UnsupportedOpError, match="Erf"):
        TorchTail(onnx.helper.make_model(onnx.helper.make_graph([node], "g", info[:1], info[1:])))
