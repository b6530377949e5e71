"""A real network in two parts, with real features: the zoo's MNIST network on scikit-learn's digits, which need no data set."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

ZOO = Path(__file__).resolve().parents[2] / "models" / "zoo"
POINT = "/segments.1/segments.1.2/Relu_output_0"


@pytest.fixture(scope="session")
def split_digits():
    """cut; tail (PyTorch); sent: features of 1,200 digits [N,96,7,7] and exits [N,1,10]; fresh: of 120 others; labels of fresh."""
    pytest.importorskip("sklearn")
    torch = pytest.importorskip("torch")
    from edgerun_tools import data
    from edgerun_tools.detect.features_of import run_head
    from edgerun_tools.detect.tail import TorchTail
    from edgerun_tools.split.cut import Splitter

    torch.set_num_threads(1)
    cut = Splitter(str(ZOO / "mnist_alexnet" / "model.onnx")).cut([POINT])
    train, test = data.digits("train"), data.digits("test")
    return SimpleNamespace(cut=cut, tail=TorchTail(cut.tail), sent=run_head(cut, train[0]), fresh=run_head(cut, test[0][:120]),
                           labels=test[1][:120])
