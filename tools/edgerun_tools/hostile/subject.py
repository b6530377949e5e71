"""What is put to the test: edgerun loads a file and runs it once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import edgerun
from edgerun.feeds import TensorInfo, random_feeds

from .case import Array

MAX_FEED = 1 << 26
"""Elements of the largest input that is fed; one that is larger should not have been accepted."""
Feeds = dict[str, Array]
Subject = Callable[[Path], tuple[Feeds, list[Array | None]]]


class Unfeedable(Exception):
    """The model was accepted, but no honest caller could feed it."""


def load_and_run(path: Path) -> tuple[Feeds, list[Array | None]]:
    """(feeds, outputs in the model's order). Floats in [-0.5, 0.5), integers 0..255, booleans by coin.

    Raises Unfeedable for inputs of more than MAX_FEED elements, and whatever edgerun raises.
    """
    with edgerun.Session(path, threads=1) as session:
        large = [str(i) for i in session.fixed_inputs if _elements(i) > MAX_FEED]
        if large:
            raise Unfeedable(f"accepted inputs of more than {MAX_FEED} elements: {', '.join(large)}")
        feeds = {n: x - x.dtype.type(0.5) if x.dtype.kind == "f" else x
                 for n, x in random_feeds(session.fixed_inputs).items()}
        result = session.run(feeds)
        return feeds, [result.outputs.get(o.name) for o in session.outputs]


def _elements(info: TensorInfo) -> int:
    return math.prod(d if isinstance(d, int) else 1 for d in info.shape)
