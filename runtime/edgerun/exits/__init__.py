"""Early exit: how hard an input is, when to stop, and how both are learned from a calibration split (docs/early-exit.md)."""

from edgerun.exits.difficulty import DifficultyConfig
from edgerun.exits.policies import REGISTRY, ExitPolicy, make, register
from edgerun.exits.store import KEY, Calibration

__all__ = ["KEY", "REGISTRY", "Calibration", "DifficultyConfig", "ExitPolicy", "make", "register"]
