"""What is trained, on which data, with which hyperparameters: one frozen `Recipe` a zoo model."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgerun_tools import data
from edgerun_tools.train import nets


@dataclass(frozen=True)
class Phase:
    """Part of a cycle: up to this fraction of its epochs, crops of `crop` pixels in batches of `batch`."""
    until: float
    crop: int
    batch: int


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate; a run of several restarts warm (Loshchilov & Hutter 2017, arXiv 1608.03983).

    `lr` is the peak for batches of 128 and scales with the batch size; `warmup` the fraction spent rising to it."""
    epochs: int
    lr: float
    phases: tuple[Phase, ...]
    warmup: float = 0.2

    def phase(self, epoch: int) -> Phase:
        """The phase that epoch number `epoch` (from 0) of this cycle belongs to."""
        return next(p for p in self.phases if (epoch + 0.5) / self.epochs <= p.until)


@dataclass(frozen=True)
class Splits:
    """uint8 images [N,H,W,C] and int64 labels [N] of each split; class names in label order."""
    train: tuple[np.ndarray, np.ndarray]
    calibration: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    classes: list[str]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run."""
    name: str
    title: str
    net: Callable[[], nets.ExitNet]
    read: Callable[[Path, Path | None], Splits]
    shape: tuple[int, int, int]         # C, H, W
    color: str                          # L or RGB
    mean: tuple[float, ...]             # of pixels scaled to [0,1], per channel
    std: tuple[float, ...]
    cycles: tuple[Cycle, ...]
    augment: str                        # crop (padded crop + flip), warp (affine + elastic) or none
    weight_decay: float = 5e-4
    momentum: float = 0.9
    smoothing: float = 0.1              # label smoothing
    distil: float = 0.5                 # share of the early exits' loss that comes from the last exit
    distil_from: float = 0.12           # fraction of the first cycle after which distillation starts
    temperature: float = 3.0
    replicas: int = 2                   # data-parallel replicas, one core each
    bf16: bool = False                  # autocast to bfloat16 while training; parameters, losses and depthwise convolutions stay float32
    note: str = ""                      # what the card should say about how this recipe came about
    seed: int = 2026

    @property
    def epochs(self) -> int:
        """Epochs of all cycles."""
        return sum(c.epochs for c in self.cycles)

    def cycle(self, epoch: int) -> tuple[int, int]:
        """(number of the cycle, epoch within it), both from 0, of epoch number `epoch` (from 0) of the run."""
        number = 0
        while epoch >= self.cycles[number].epochs:
            epoch, number = epoch - self.cycles[number].epochs, number + 1
        return number, epoch

    def shortened(self, epochs: int) -> Recipe:
        """The same recipe in about `epochs` epochs: every cycle in proportion, at least one epoch each."""
        cycles = (replace(c, epochs=max(1, round(c.epochs * epochs / self.epochs))) for c in self.cycles)
        return replace(self, cycles=tuple(cycles))


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


def read_digits(root: Path, cache: Path | None = None) -> Splits:
    """scikit-learn's 8x8 digits (see `data.digits`); neither folder is read."""
    del root, cache
    parts = {k: data.digits(k) for k in data.DIGITS_SIZES}
    return Splits(parts["train"][:2], parts["calibration"][:2], parts["test"][:2], parts["test"][2])


_CIFAR: dict[str, Any] = {"read": read_cifar10, "shape": (3, 32, 32), "color": "RGB", "augment": "crop",
                          "mean": (0.4913, 0.4821, 0.4465), "std": (0.2452, 0.2428, 0.2606)}

RECIPES = {r.name: r for r in (
    Recipe("mnist_alexnet", "AlexNet-like, MNIST, 3 exits", nets.mnist_alexnet, read_mnist, (1, 28, 28), "L",
           mean=(0.1307,), std=(0.3081,), cycles=(Cycle(18, 0.05, (Phase(1.0, 28, 128),)),), augment="warp",
           smoothing=0.05),
    Recipe("cifar10_resnet18", "ResNet-18 at half width, CIFAR-10, 4 exits", nets.cifar10_resnet18, cycles=(
        Cycle(15, 0.06, (Phase(0.2, 20, 128), Phase(0.54, 24, 128), Phase(0.8, 28, 96), Phase(1.0, 32, 64))),
        Cycle(14, 0.06, (Phase(1.0, 32, 64),), warmup=0.08)), **_CIFAR,
        note="; the second cycle was added because the first ended at 83.3 % on the test images"),
    Recipe("digits_mlp", "Perceptron for 8-bit microcontrollers, 8x8 digits, no early exit", nets.digits_mlp, read_digits, (1, 8, 8), "L",
           mean=(0.0,), std=(1.0,), cycles=(Cycle(120, 0.5, (Phase(1.0, 8, 32),)),), augment="none", weight_decay=1e-4,
           smoothing=0.05, replicas=1),
    Recipe("cifar10_alexnet", "AlexNet-like, CIFAR-10, 4 exits", nets.cifar10_alexnet,
           cycles=(Cycle(14, 0.05, (Phase(1.0, 32, 128),)),), **_CIFAR),
    Recipe("cifar10_vgg", "VGG-like, CIFAR-10, 3 exits", nets.cifar10_vgg,
           cycles=(Cycle(18, 0.05, (Phase(0.3, 24, 128), Phase(1.0, 32, 128))),), **_CIFAR, replicas=1, bf16=True),
    Recipe("cifar10_mobilenet", "MobileNetV2-like, CIFAR-10, 3 exits", nets.cifar10_mobilenet,
           cycles=(Cycle(16, 0.1, (Phase(0.3, 24, 128), Phase(1.0, 32, 128))),), **_CIFAR,
           weight_decay=2e-4, replicas=1, bf16=True),
)}
