"""The features that a device would send: a model's head run over CIFAR-10's fixed splits by edgerun itself, kept as .npy files.

Which images train, calibrate and test is decided in `edgerun_tools.data` and nowhere else.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.errors import OptionError
from edgerun.preprocess import Preprocess
from edgerun_tools import data
from edgerun_tools.split.cut import Cut, Splitter

Array = np.ndarray[Any, Any]
PARTS = ("train", "calibration", "test")
BATCH = 50
POINTS = {
    "cifar10_vgg": ("/segments.1/segments.1.0/MaxPool_output_0", "/segments.2/segments.2.0/MaxPool_output_0"),
    "cifar10_resnet18": ("/segments.2/segments.2.1/relu/Relu_output_0", "/segments.3/segments.3.1/relu/Relu_output_0"),
    "cifar10_mobilenet": ("/segments.1/segments.1.2/Add_output_0", "/segments.2/segments.2.2/body/body.2/body.2.0/Conv_output_0"),
}
"""The zoo's networks and two places each, one in the middle and one near the end, behind at least one exit: cut there, the device
sends 4,096 and 2,048 (VGG), 8,192 and 4,096 (ResNet), 2,560 and 1,792 numbers (MobileNet)."""


@dataclass(frozen=True)
class Features:
    """x: float32 [N, …] the tensor that travels. y: int64 [N] the image's class. exits: float32 [N, E, classes] logits of the head's E
    exits in order, E 0 where the cut lies before the first."""

    x: Array
    y: Array
    exits: Array

    def __len__(self) -> int:
        return len(self.x)

    def part(self, which: Any) -> Features:
        """Those of an index, a slice or a mask."""
        return Features(self.x[which], self.y[which], self.exits[which])


@functools.lru_cache(maxsize=2)
def images(part: str, root: Path) -> tuple[Array, Array]:
    """uint8 [N, 32, 32, 3] and labels int64 [N] of a part of CIFAR-10, in an order fixed by a seed. root: the folder with sets/.
    OptionError for an unknown part, DataError where the set is not there."""
    if part not in PARTS:
        raise OptionError(f"part: expected one of {', '.join(PARTS)}; found {part!r}")
    if part == "test":
        x, y, _ = data.load_uniform(root / "sets" / "cifar10_test_5k.npz")
        order = np.random.default_rng(data.SPLIT_SEED).permutation(len(x))
    else:
        x, y, _ = data.load_uniform(root / "sets" / "cifar10_train.tar.gz")
        order = data.cifar_split(len(x))[PARTS.index(part)]
    return x[order], y[order]


def run_head(cut: Cut, x: Array, threads: int = 1) -> tuple[Array, Array]:
    """(features [N, …] float32, exits [N, E, classes] float32) of images uint8 [N, H, W, C], by edgerun's engine.

    The head's metadata says how pixels become its input; no exit is taken, so that every image has features."""
    feature = cut.tensors[0]["name"]
    with Session(cut.head.SerializeToString(), threads=threads, exit_policy="none") as session:
        prepare, given = Preprocess.of(session.metadata), session.inputs[0].name
        parts: list[Array] = []
        scored: list[Array] = []
        for i in range(0, len(x), BATCH):
            batch = np.concatenate([prepare.apply(image) for image in x[i:i + BATCH]])
            out = session.run({given: batch}).outputs
            parts.append(out[feature])
            if cut.head_exits:
                scored.append(np.stack([out[e] for e in cut.head_exits], axis=1))
    features = np.concatenate(parts)
    return features, np.concatenate(scored) if scored else np.zeros((len(features), 0, 0), np.float32)


def features(model: str | Path, tensor: str, part: str, cache: Path, root: Path | None = None, count: int | None = None,
             threads: int = 1) -> Features:
    """Features of the first `count` images (None: all) of a part, from `cache` where they were computed before.

    model: a zoo file; tensor: where it is cut. Files in `cache` are named after the model's digest, the tensor, the part and the count, so
    a model trained anew does not meet the features of the old one. Raises ModelError, OptionError, DataError."""
    said = hashlib.sha256(Path(model).read_bytes() + tensor.encode()).hexdigest()[:16]
    stem = cache / f"{said}-{part}-{'all' if count is None else count}"
    files = [stem.with_name(f"{stem.name}-{what}.npy") for what in ("x", "y", "exits")]
    if all(f.exists() for f in files):
        return Features(*(np.load(f) for f in files))
    x, y = images(part, root or data.data_root())
    x, y = x[:count], y[:count]
    sent, exits = run_head(Splitter(str(model)).cut([tensor]), x, threads)
    found = Features(sent, y, exits)
    cache.mkdir(parents=True, exist_ok=True)
    for file, array in zip(files, (found.x, found.y, found.exits), strict=True):
        partial = file.with_suffix(".tmp")
        with partial.open("wb") as out:
            np.save(out, array)
        partial.replace(file)
    return found

