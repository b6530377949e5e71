"""ONNX in, checked graph with static shapes out."""

from __future__ import annotations

from .load import Graph, InputPort, load

__all__ = ["Graph", "InputPort", "load"]
