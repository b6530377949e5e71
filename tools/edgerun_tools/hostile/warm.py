"""Import this to have a process in which edgerun has already run: what every case is measured against.

One small model on each executor, and a fallback step, so that no case pays for libraries, caches or compiled kernels
that any honest model would need too. Nothing here starts threads, which a fork would lose.
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np

import edgerun

from .models import F, free, model, node


def _run_once(executor: str, *more: str) -> None:
    """Relu, Add, and more operators of one input."""
    names = ["a", *(f"v{k}" for k in range(1, len(more))), "y"] if more else ["y"]
    nodes = [node("Relu", ["x"], ["r"]), node("Add", ["r", "w"], names[:1]),
             *(node(op, [a], [b]) for op, (a, b) in zip(more, pairwise(names), strict=True))]
    made = model(nodes, [("x", F, (1, 4))], [("y", F, free(2))], {"w": np.ones(4, np.float32)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with edgerun.Session(made.SerializeToString(), threads=1, executor=executor) as session:
            session.run(np.ones((1, 4), np.float32))


_run_once("auto")
_run_once("python", "RandomNormalLike")  # which only onnx.reference knows
