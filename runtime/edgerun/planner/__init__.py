"""Graph → Plan."""

from __future__ import annotations

from .make import make_plan

__all__ = ["make_plan"]
