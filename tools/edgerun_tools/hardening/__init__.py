"""Checks written into a model as standard ONNX operators, for runtimes that know nothing of them: `edgerun harden`.

`harden.py` offers every node to the checks; `layers.py` finds the form of ABFT for a layer (`conv.py`, `conv_filters.py`, `matmul.py`,
`integers.py`); `activations.py` (MAED), `weights.py`, `finite.py`, `ranges.py` are the others; `verdict.py` brings their numbers together;
`rounding.py` says what bounds float32 allows.
"""

from edgerun_tools.hardening.harden import CHECKS, KEY, SCHEMA, Hardened, Row, harden_model
from edgerun_tools.hardening.verdict import FAULT, STEPS, Check

__all__ = ["CHECKS", "FAULT", "KEY", "SCHEMA", "STEPS", "Check", "Hardened", "Row", "harden_model"]
