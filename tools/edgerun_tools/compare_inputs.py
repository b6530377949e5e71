"""Random inputs in the range that a model was made for, as far as it says."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edgerun import Session
from edgerun.feeds import TensorInfo, random_feeds
from edgerun.preprocess import CHANNELS


def probe(session: Session, seed: int) -> tuple[str, dict[str, np.ndarray]]:
    """(what it is, feeds) for one run, the same for the same seed.

    An input with metadata edgerun.preprocess gets random pixels, prepared as an image is; one that only QuantizeLinear
    reads, numbers over the range that its scale and zero point can represent; 8-bit integers all of theirs; others are
    `edgerun.feeds.random_feeds`.
    """
    feeds = random_feeds(session.fixed_inputs, seed)
    kinds = set()
    rng = np.random.default_rng(seed)
    for info in session.fixed_inputs:
        low, high = _range(session.proto.graph, info.name) or (0.0, 0.0)
        pixels = _pixels(session, info, rng)
        if pixels is not None:
            feeds[info.name] = pixels
            kinds.add("pixels")
        elif low < high and info.dtype == np.float32:
            feeds[info.name] = rng.uniform(low, high, feeds[info.name].shape).astype(np.float32)
            kinds.add("in the quantised range")
        elif info.dtype in (np.int8, np.uint8):
            limits = np.iinfo(info.dtype)
            shape = feeds[info.name].shape
            feeds[info.name] = rng.integers(limits.min, limits.max, shape, info.dtype, endpoint=True)
            kinds.add(str(info.dtype))
        else:
            kinds.add("in [0, 1)" if info.dtype.kind == "f" else str(info.dtype))
    return f"random, seed {seed} ({', '.join(sorted(kinds))})", feeds


def _pixels(session: Session, info: TensorInfo, rng: np.random.Generator) -> np.ndarray | None:
    """Noise as an image of the model's size, prepared; None where the model does not take one image."""
    recipe = session.preprocess
    if recipe is None or len(session.fixed_inputs) != 1:
        return None
    image = rng.integers(0, 256, (*recipe.size, 1 if CHANNELS[recipe.color] == 1 else 3), dtype=np.uint8)
    x = recipe.apply(image, info.dtype)
    return x if x.shape == info.shape else None


def _range(graph: onnx.GraphProto, name: str) -> tuple[float, float] | None:
    """Smallest and largest number that the QuantizeLinear reading an input can represent, where it alone reads it."""
    readers = [n for n in graph.node if name in n.input]
    constants = {i.name: i for i in graph.initializer}
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or readers[0].input[1] not in constants:
        return None
    scale = numpy_helper.to_array(constants[readers[0].input[1]])
    zero = np.zeros((), np.uint8)
    if len(readers[0].input) > 2:
        if readers[0].input[2] not in constants:
            return None
        zero = numpy_helper.to_array(constants[readers[0].input[2]])
    if scale.size != 1 or zero.dtype.kind not in "iu":
        return None
    limits, step, middle = np.iinfo(zero.dtype), float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0])
    return (int(limits.min) - middle) * step, (int(limits.max) - middle) * step
