"""Features of the fixed splits: what the head sends, what its exits say, from the cache what was computed."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgerun import Session
from edgerun.errors import OptionError
from edgerun.preprocess import Preprocess
from edgerun_tools.detect import features_of

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("EDGERUN_DATA", ROOT.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "sets" / "cifar10_test_5k.npz").exists(), reason=f"no CIFAR-10 below {DATA}")


@needs_data
@pytest.mark.parametrize("name", sorted(features_of.POINTS))
def test_head_and_whole_model_say_the_same(name, tmp_path):
    model = ROOT / "models" / "zoo" / name / "model.onnx"
    x, y = features_of.images("test", DATA)
    point = features_of.POINTS[name][0]
    found = features_of.features(model, point, "test", tmp_path, DATA, count=20)
    assert len(found) == 20 and np.array_equal(found.y, y[:20])
    with Session(model, threads=1) as whole:
        prepare = Preprocess.of(whole.metadata)
        out = whole.run(np.concatenate([prepare.apply(i) for i in x[:20]])).outputs
    for k in range(found.exits.shape[1]):
        np.testing.assert_allclose(found.exits[:, k], out[f"exit{k + 1}"], rtol=1e-4, atol=1e-4)
    assert (found.exits[:, -1].argmax(1) == found.y).mean() > 0.4
    assert sorted(f.suffix for f in tmp_path.iterdir()) == [".npy"] * 3
    again = features_of.features(model, point, "test", tmp_path, tmp_path / "no data here", count=20)
    assert np.array_equal(again.x, found.x) and np.array_equal(again.exits, found.exits)


def test_features_of_digits(split_digits):
    """Without a data set: the head of the MNIST network reads most of scikit-learn's digits."""
    sent, exits = split_digits.fresh
    assert sent.shape == (120, 96, 7, 7) and exits.shape == (120, 1, 10)
    assert (split_digits.tail.predict(sent) == split_digits.labels).mean() > 0.5


def test_unknown_parts_are_refused():
    with pytest.raises(OptionError, match="train, calibration, test"):
        features_of.images("exam", DATA)
