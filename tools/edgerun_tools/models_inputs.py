"""What the models of the data folder are fed: real images, features, or numbers in the range that its INDEX.md tells."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from edgerun import Session, read_image
from edgerun.errors import DataError
from edgerun.feeds import TensorInfo
from edgerun.preprocess import Preprocess
from edgerun_tools import data as sets
from edgerun_tools import sounds
from edgerun_tools.compare_inputs import probe

CIFAR, MNIST, KWS, IMAGENET = "cifar10_test_5k.npz", "mnist", "kws_500.npz", "imagenet_500"
MOVES = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How a model is fed. set: file or folder in sets/ whose items are used; "" for uniform numbers in low..high (None: what
    `compare_inputs.probe` finds). tensor = (pixel · scale − mean) / std. labels: class of label 0, None where the set's labels
    are not what the model tells. sound: network of `sounds` whose spectra are taken where recordings are at hand, instead of numbers."""

    pattern: str
    set: str = ""
    color: str = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    labels: int | None = None
    sound: str = ""
    low: float | None = None
    high: float = 1.0


RECIPES = (
    Recipe("atheena_*", MNIST, "L", labels=0),
    Recipe("ort_mnist8", MNIST, "L", 1.0, labels=0),
    Recipe("mnist-net*", MNIST, "L", labels=0),
    Recipe("cifar_deep_kw", CIFAR, mean=(0.485, 0.456, 0.406), std=(0.225,), labels=0),
    Recipe("vit_cifar10*", CIFAR, mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616), labels=0),
    Recipe("mlperf_resnet8*", CIFAR, scale=1.0, labels=0),
    Recipe("mlperf_dscnn_kws*", KWS, labels=0),
    Recipe("mlperf_vww96*", IMAGENET),
    Recipe("coral_*", IMAGENET, scale=1 / 127.5, mean=(1.0,), labels=1),
    Recipe("st_mobilenet*", IMAGENET, scale=1 / 127.5, mean=(1.0,), labels=0),
    Recipe("deeplab_v3", IMAGENET, scale=1 / 127.5, mean=(1.0,)),
    Recipe("ultraface*", IMAGENET, scale=1 / 128, mean=(127 / 128,)),
    Recipe("yolox_nano*", IMAGENET, "BGR", 1.0),
    Recipe("yunet_*", IMAGENET, "BGR", 1.0),
    Recipe("sci_*", IMAGENET),
    Recipe("onnxtut_super_resolution*", IMAGENET, "L"),
    Recipe("mlperf_ad01_fp32", sound="ad01", low=-85.0, high=15.0),  # decibels: what the input of its int8 twin can represent
    Recipe("mlperf_ad01*", sound="ad01"),
    Recipe("mlperf_strww*", sound="strww"),
    Recipe("dtln_2", low=-1.0),
    Recipe("handgesture*", low=-1.0),
)
SPECTRUM = {"ad01": 640, "strww": 1200}
"""Numbers in an input of these networks."""
SHAPES = {"yunet_s_dynamic": {"input": (1, 3, 320, 320)}}
"""Models whose height and width are symbolic → the shapes they are run with."""


@dataclass(frozen=True)
class Inputs:
    """`inputs.feeds(k)` for k below `count`; labels [count] as the model counts classes, or None; what: in words."""

    what: str
    count: int
    feeds: Callable[[int], Feeds]
    labels: np.ndarray | None = None

    def spread(self, count: int) -> list[int]:
        """Numbers of `count` inputs (at most all there are), evenly spread."""
        return np.linspace(0, self.count - 1, min(count, self.count)).astype(int).tolist()


def inputs_of(name: str, session: Session, data: Path) -> Inputs:
    """Inputs of the model `name` (its file's stem). DataError where the set it wants is not in data/sets."""
    recipe = next((r for r in RECIPES if fnmatch(name, r.pattern)), Recipe(name))
    info = session.fixed_inputs[0]
    if recipe.set:
        items, labels = _items(data / "sets" / recipe.set)
        if recipe.labels is not None and labels is not None:
            labels = labels + recipe.labels
        prepare = _features(items) if recipe.set == KWS else _images(items, recipe, info)
        quantised = _quantised(session.proto.graph, info)
        return Inputs(recipe.set, len(items), lambda k: {info.name: quantised(prepare(k))},
                      labels if recipe.labels is not None else None)
    if recipe.sound and math.prod(d if isinstance(d, int) else 1 for d in info.shape) == SPECTRUM[recipe.sound] and sounds.present():
        return _spoken(recipe.sound, session, info)
    if recipe.low is None:
        return Inputs(probe(session, 0)[0].replace("seed 0", "seeds 0…"), 1000, lambda k: probe(session, k)[1])
    return Inputs(f"random in {recipe.low:g}…{recipe.high:g}", 1000, lambda k: _uniform(session, recipe, k))


def _spoken(network: str, session: Session, info: TensorInfo) -> Inputs:
    """Spectra of recorded speech."""
    seconds, spectrum = (1.0, sounds.wake_word) if network == "strww" else (0.2, sounds.anomaly)
    found = [spectrum(p) for p in sounds.pieces(seconds)]
    shape = tuple(d if isinstance(d, int) else 1 for d in info.shape)
    quantised = _quantised(session.proto.graph, info)
    return Inputs(f"recorded speech ({len(found)} pieces of {seconds:g} s)", len(found),
                  lambda k: {info.name: quantised(found[k]).reshape(shape)})


def _uniform(session: Session, recipe: Recipe, seed: int) -> Feeds:
    rng, low = np.random.default_rng(seed), recipe.low or 0.0
    return {i.name: rng.uniform(low, recipe.high, [d if isinstance(d, int) else 1 for d in i.shape]).astype(i.dtype)
            for i in session.fixed_inputs}


@cache
def _items(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Images uint8 [N,H,W,C], or float32 features [N,…], and labels."""
    if not path.exists():
        raise DataError(f"{path}: expected the set that INDEX.md of the data folder names; found nothing there")
    if path.name == KWS:
        with np.load(path) as z:
            return (z["x_int8"].astype(np.float32) - np.float32(z["zero_point"])) * z["scale"], z["y"].astype(np.int64)
    if path.name == IMAGENET:
        with (path / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return np.stack([read_image(path / r["file"]) for r in rows]), np.array([int(r["class_0_999"]) for r in rows])
    images, labels, _ = sets.load_uniform(path)
    return images, labels


def _images(items: np.ndarray, recipe: Recipe, info: TensorInfo) -> Callable[[int], np.ndarray]:
    """Pixels as float32 tensors of the input's shape."""
    shape = tuple(d if isinstance(d, int) else 1 for d in info.shape)
    guess = Preprocess.guess(shape) or Preprocess("NCHW", recipe.color, items.shape[1:3])
    prepared = replace(guess, color=recipe.color, scale=recipe.scale, mean=recipe.mean, std=recipe.std)
    return lambda k: prepared.apply(items[k]).reshape(shape)


def _features(items: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda k: items[k:k + 1]


def _quantised(graph: onnx.GraphProto, info: TensorInfo) -> Callable[[np.ndarray], np.ndarray]:
    """Real numbers to what the input stores: rounded with the parameters of the DequantizeLinear that reads it."""
    if info.dtype.kind == "f":
        return lambda x: x
    held = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    name = info.name
    while True:
        reader = next((n for n in graph.node if name in n.input[:1]), None)
        if reader is None or reader.op_type not in MOVES:
            break
        name = reader.output[0]
    if reader is None or reader.op_type != "DequantizeLinear":
        raise DataError(f"{info}: expected that a DequantizeLinear reads it, and tells what its numbers stand for; found "
                        f"{reader.op_type if reader else 'none'}")
    scale, zero = (float(held[n].reshape(-1)[0]) for n in reader.input[1:3])
    limits = np.iinfo(info.dtype)
    return lambda x: np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(info.dtype)
