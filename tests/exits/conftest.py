"""Real records: the 1,797 handwritten digits that scikit-learn bundles, three classifiers of growing strength as exits.

digits.npz is `sklearn.datasets.load_digits()` (pixel values times 15), the test half of UCI's "Optical Recognition of
Handwritten Digits" by E. Alpaydin and C. Kaynak, CC BY 4.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgerun.exits import difficulty
from edgerun.exits.records import Records

FILE = Path(__file__).parent / "digits.npz"
TRAIN, CALIBRATION = slice(0, 700), slice(700, 1300)
TEST = slice(1300, None)
COSTS = (0.15, 0.45, 1.0)


@dataclass(frozen=True)
class Digits:
    """images uint8 [N,8,8,1]; labels [N]; Gemm weights and biases: `first` on 2x2 means, `second` on the pixels, `hidden` and
    `last` with a ReLU between; difficulty constants; the records of both splits."""

    images: np.ndarray
    labels: np.ndarray
    first: tuple[np.ndarray, np.ndarray]
    second: tuple[np.ndarray, np.ndarray]
    hidden: tuple[np.ndarray, np.ndarray]
    last: tuple[np.ndarray, np.ndarray]
    config: difficulty.DifficultyConfig
    calibration: Records
    test: Records


def pooled(x: np.ndarray) -> np.ndarray:
    """[N,64] → [N,16], means of 2×2 pixels."""
    return x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(x), 16)


def least_squares(x: np.ndarray, y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Linear classifier [D,10] and bias [10]: ridge regression on one-hot labels, scaled so that scores act as logits."""
    a = np.c_[x, np.ones(len(x))]
    w = np.linalg.solve(a.T @ a + ridge * np.eye(a.shape[1]), a.T @ np.eye(10)[y]) * 8
    return w[:-1].astype(np.float32), w[-1].astype(np.float32)


@pytest.fixture(scope="session")
def digits() -> Digits:
    with np.load(FILE) as stored:
        rng = np.random.default_rng(5)
        order = rng.permutation(len(stored["y"]))
        images, y = stored["x"][order, ..., 0], stored["y"][order].astype(np.int64)
    x = images.reshape(len(y), 64) / 255.0
    first, second = least_squares(pooled(x)[TRAIN], y[TRAIN], 0.1), least_squares(x[TRAIN], y[TRAIN], 1.0)
    hidden = (rng.normal(0, 0.7, (64, 400)).astype(np.float32), rng.uniform(-1, 1, 400).astype(np.float32))
    features = np.maximum(x @ hidden[0] + hidden[1], 0)
    last = least_squares(features[TRAIN], y[TRAIN], 10.0)
    logits = np.stack([pooled(x) @ first[0] + first[1], x @ second[0] + second[1], features @ last[0] + last[1]])
    config = difficulty.fit(images[CALIBRATION][..., None])
    alpha = config.alpha(difficulty.components(images[..., None], config.tau_edge))

    def records(part: slice) -> Records:
        return Records(logits[:, part], y[part], alpha[part], np.asarray(COSTS))

    return Digits(images[..., None], y, first, second, hidden, last, config, records(CALIBRATION), records(TEST))
