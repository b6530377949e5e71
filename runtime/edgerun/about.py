"""Version and build: which executor serves here and what it was made with."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import edgerun_kernels

__version__ = "0.1.0"


@cache
def engine_error() -> str:
    """"" where the C++ engine can be loaded, else why not."""
    try:
        importlib.import_module("edgerun._engine")
    except ImportError as e:
        return str(e)
    return ""


def build_info() -> dict[str, Any]:
    """version, executor ("engine" or "python"), engine_error, isa ("" without C++ kernels), compiler."""
    missing = engine_error()
    compiler = ""
    if not missing:
        compiler = str(getattr(importlib.import_module("edgerun._engine"), "COMPILER", ""))
    return {"version": __version__, "executor": "python" if missing else "engine", "engine_error": missing,
            "isa": edgerun_kernels.isa(), "compiler": compiler}
