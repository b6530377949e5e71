"""Finite outputs: the sum of the absolute values of every float32 output is a number below float32's largest."""

from __future__ import annotations

import numpy as np

from edgerun_tools.hardening.graph import Graph
from edgerun_tools.hardening.verdict import ONE, Check, Verdict


def check(graph: Graph, name: str, verdict: Verdict, label: Check) -> None:
    """Add the check of one output, of any rank."""
    if name in graph.producer:
        graph.after(graph.producer[name])
    else:
        graph.at_start()
    size = graph.reshape(graph.reduce("ReduceL1", name, None, keepdims=0), [1, 1])
    verdict.bounded(label, ONE, ((size, 2),), np.zeros(1), np.full(1, np.finfo(np.float32).max))
