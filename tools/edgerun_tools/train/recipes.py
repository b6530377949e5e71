"""What is trained, on which data, with which hyperparameters: one frozen `Recipe` a zoo model."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerun_tools import data
from edgerun_tools.train import nets


@dataclass(frozen=True)
class Phase:
    """Part of a run: up to this fraction of the epochs, crops of `crop` pixels in batches of `batch`."""
    until: float
    crop: int
    batch: int


@dataclass(frozen=True)
class Splits:
    """uint8 images [N,H,W,C] and int64 labels [N] of each split; class names in label order."""
    train: tuple[np.ndarray, np.ndarray]
    calibration: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    classes: list[str]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run; `lr` is the peak for batches of 128 and scales with the batch size."""
    name: str
    title: str
    net: Callable[[], nets.ExitNet]
    read: Callable[[Path, Path | None], Splits]
    shape: tuple[int, int, int]         # C, H, W
    color: str                          # L or RGB
    mean: tuple[float, ...]             # of pixels scaled to [0,1], per channel
    std: tuple[float, ...]
    epochs: int
    phases: tuple[Phase, ...]
    augment: str                        # crop (padded crop + flip) or warp (affine + elastic)
    lr: float
    warmup: float = 0.2                 # fraction of the run spent rising to the peak
    weight_decay: float = 5e-4
    momentum: float = 0.9
    smoothing: float = 0.1              # label smoothing
    distil: float = 0.5                 # share of the early exits' loss that comes from the last exit
    distil_from: float = 0.12           # fraction of the run after which distillation starts
    temperature: float = 3.0
    replicas: int = 2                   # data-parallel replicas, one core each
    seed: int = 2026

    def phase(self, epoch: int, epochs: int) -> Phase:
        """The phase that epoch number `epoch` (from 0) of `epochs` belongs to."""
        return next(p for p in self.phases if (epoch + 0.5) / epochs <= p.until)


def read_cifar10(root: Path, cache: Path | None = None) -> Splits:
    """CIFAR-10 JPEG copy: ``sets/cifar10_train.tar.gz`` (training + calibration) and ``sets/cifar10_test_5k.npz``.

    cache: folder in which the decoded training images are kept, so that a resumed run does not decode again."""
    kept = cache / "cifar10_train.npz" if cache else None
    if kept and kept.exists():
        x, y, classes = data.load_uniform(kept)
    else:
        x, y, classes = data.load_uniform(root / "sets" / "cifar10_train.tar.gz")
        if kept:
            np.savez(kept, x=x, y=y, classes=np.array(classes))
    train, calibration = data.cifar_split(len(x))
    xt, yt, _ = data.load_uniform(root / "sets" / "cifar10_test_5k.npz")
    return Splits((x[train], y[train]), (x[calibration], y[calibration]), (xt, yt), classes)


def read_mnist(root: Path, cache: Path | None = None) -> Splits:
    """The 10,000 MNIST test-set images, split by index (see `data.MNIST_RANGES`)."""
    x, y, classes = data.load_uniform(root / "sets" / "mnist")
    parts = {k: (x[data.mnist_split(k)], y[data.mnist_split(k)]) for k in data.MNIST_RANGES}
    return Splits(parts["train"], parts["calibration"], parts["test"], classes)


_CIFAR: dict[str, Any] = {"read": read_cifar10, "shape": (3, 32, 32), "color": "RGB", "augment": "crop",
                          "mean": (0.4913, 0.4821, 0.4465), "std": (0.2452, 0.2428, 0.2606)}

RECIPES = {r.name: r for r in (
    Recipe("mnist_alexnet", "AlexNet-like, MNIST, 3 exits", nets.mnist_alexnet, read_mnist, (1, 28, 28), "L",
           mean=(0.1307,), std=(0.3081,), epochs=18, phases=(Phase(1.0, 28, 128),), augment="warp", lr=0.05,
           smoothing=0.05),
    Recipe("cifar10_resnet18", "ResNet-18 at half width, CIFAR-10, 4 exits", nets.cifar10_resnet18, epochs=15, lr=0.06,
           phases=(Phase(0.2, 20, 128), Phase(0.54, 24, 128), Phase(0.8, 28, 96), Phase(1.0, 32, 64)), **_CIFAR),
    Recipe("cifar10_alexnet", "AlexNet-like, CIFAR-10, 4 exits", nets.cifar10_alexnet, epochs=8, lr=0.05,
           phases=(Phase(1.0, 32, 128),), **_CIFAR),
)}
