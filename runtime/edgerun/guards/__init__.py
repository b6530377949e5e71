"""What is verified while a plan runs. The planner marks the steps (`planner.checks`); kernels verify; executors
report."""

from __future__ import annotations

from .annotate import annotate

__all__ = ["annotate"]
